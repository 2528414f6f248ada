//! What a sink knows of its tables, and keeps at the target beside them: which source table each one copies, by which schema it was last
//! shaped, and under which options. The sink stores the [`Line`]s; what they mean is here.
//!
//! A line is compared with the configuration when the target is opened. A difference stops its table: nothing is altered to fit a changed
//! configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::layout::{Dialect, Layout, TargetColumn, TargetType, options_for};
use super::values::are_told_otherwise;
use crate::config::{Deletion, HashKey, Mode, SinkPlan, SourceTag, TableOptions};
use crate::model::{ColumnDefault, TableName, TableSchema, same_column};

/// A target table as the sink last left it.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    /// The source's schema.
    pub(super) schema: TableSchema,
    /// What it was made under.
    pub(super) options: StoredOptions,
    /// The columns that are written, as they are at the target.
    pub(super) layout: Layout<T>,
    /// The copy that readers see, while this one is built beside it. Few tables have one, and it is as large as the
    /// rest.
    pub(super) old: Option<Box<OldCopy<T>>>,
}

/// A copy that is not written any more, and that readers see until the one that is built beside it takes its place.
#[derive(Clone, Debug)]
pub(super) struct OldCopy<T> {
    /// It has no change from this LSN on.
    pub(super) since: Lsn,
    /// The new copy is defined as this one is, so that what somebody has put on this one fits it as well.
    pub(super) is_alike: bool,
    /// The new copy lacks rows that only another replace brings: the end of the one that is under way does not put it in its place.
    pub(super) lacks_rows: bool,
    /// The source's schema there.
    pub(super) schema: TableSchema,
    /// What it was made under.
    pub(super) options: StoredOptions,
    /// Its columns.
    pub(super) layout: Layout<T>,
}

/// The tables of one sink, by their names at the source.
pub(super) type Tables<T> = BTreeMap<TableName, Table<T>>;

/// Tables whose new copy is built beside an old one, and since when that stands still.
pub(super) fn old_copies<T>(tables: &Tables<T>) -> Vec<(TableName, Lsn)> {
    tables.iter().filter_map(|(name, table)| Some((name.clone(), table.old.as_ref()?.since))).collect()
}

/// Whether the new copy of a table is built beside an old one.
pub(super) fn is_replaced<T>(tables: &Tables<T>, name: &TableName) -> bool {
    tables.get(name).is_some_and(|table| table.old.is_some())
}

/// Options that decide a table's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredOptions {
    history: bool,
    soft_delete_column: Option<String>,
    rename: Vec<(String, String)>,
    drop: Vec<String>,
    table_name: String,
    /// Columns of which a hash is written, and the fingerprint of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<(Vec<String>, String)>,
    /// The conditions on its rows, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows: Vec<String>,
    /// The column that says of which source a row is, and the source's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_tag: Option<(String, String)>,
    /// What becomes of values that the target does not hold, in words: another policy may be why a table that stopped can be written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    values: String,
    /// What is done without a key: another word may be why a table that stopped can be written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyless: String,
    /// Settings of the sink's own that decide types, by their keys in the configuration.
    types: BTreeMap<String, String>,
}

impl StoredOptions {
    /// What the configuration says for a table now, by whose `options` it is written.
    pub(super) fn of(plan: &SinkPlan, types: BTreeMap<String, String>, options: TableOptions) -> Self {
        let TableOptions { mode, deletion, soft_delete_column, rename, drop, hash, rows, values, keyless } = options;
        let soft = mode == Mode::Mirror && deletion == Deletion::Soft;
        let fingerprint = plan.hash_key.as_ref().map(HashKey::fingerprint).unwrap_or_default();
        Self {
            history: mode == Mode::History,
            soft_delete_column: soft.then_some(soft_delete_column),
            rename,
            drop,
            table_name: plan.table_name.clone(),
            hash: (!hash.is_empty()).then(|| (hash, fingerprint.to_owned())),
            rows: rows.iter().map(ToString::to_string).collect(),
            source_tag: plan.source_tag.clone().map(|SourceTag { column, source }| (column, source)),
            values: values.to_string(),
            keyless: keyless.as_str().to_owned(),
            types,
        }
    }

    /// The column that says of which source a row is, and the source's name.
    pub(super) fn tag(&self) -> Option<SourceTag> {
        self.source_tag.clone().map(|(column, source)| SourceTag { column, source })
    }

    /// State or changelog.
    pub(super) fn mode(&self) -> Mode {
        if self.history { Mode::History } else { Mode::Mirror }
    }

    /// Whether `drop` leaves a column of the source out.
    pub(super) fn drops(&self, column: &str) -> bool {
        self.drop.iter().any(|name| same_column(name, column))
    }

    /// Whether a mirror's rows are told by values that another policy writes otherwise.
    fn are_rows_told_otherwise(&self, now: &Self, schema: &TableSchema) -> bool {
        let is_kept = |column: &str| !self.drops(column);
        !self.history && are_told_otherwise(schema, is_kept, (&self.values, &now.values))
    }

    /// The first difference, in words; of those about columns, of `schema` if there is one.
    pub(super) fn difference(&self, now: &Self, schema: Option<&TableSchema>) -> Option<String> {
        let say = |what: &str, is: String, wanted: String| {
            Some(format!("`{what}: {is}`, and the configuration now says `{wanted}`"))
        };
        let json = |value: &[(String, String)]| serde_json::to_string(value).unwrap_or_default();
        if self.history != now.history {
            let word = |history| if history { "history" } else { "mirror" }.to_owned();
            return say("mode", word(self.history), word(now.history));
        }
        if self.soft_delete_column != now.soft_delete_column {
            let word =
                |column: &Option<String>| column.clone().map_or("hard".to_owned(), |column| format!("soft, {column}"));
            return say("deletion", word(&self.soft_delete_column), word(&now.soft_delete_column));
        }
        if self.table_name != now.table_name {
            return say("table_name", self.table_name.clone(), now.table_name.clone());
        }
        // What names no column of the table makes no difference to it.
        let has = |column: &str| schema.is_none_or(|schema| schema.column_index(column).is_some());
        let renamed =
            |options: &Self| -> Vec<_> { options.rename.iter().filter(|(column, _)| has(column)).cloned().collect() };
        if renamed(self) != renamed(now) {
            return say("rename", json(&self.rename), json(&now.rename));
        }
        let dropped =
            |options: &Self| -> Vec<_> { options.drop.iter().filter(|column| has(column)).cloned().collect() };
        if !are_same_columns(&dropped(self), &dropped(now)) {
            return say("drop", self.drop.join(", "), now.drop.join(", "));
        }
        let hashed = |options: &Self| {
            let columns = options.hash.iter().flat_map(|(columns, _)| columns).filter(|column| has(column));
            columns.cloned().collect::<Vec<_>>()
        };
        let (are_hashed, to_be_hashed) = (hashed(self), hashed(now));
        if !are_same_columns(&are_hashed, &to_be_hashed) {
            return say("hash", are_hashed.join(", "), to_be_hashed.join(", "));
        }
        if let (Some((_, is)), Some((_, wanted))) = (&self.hash, &now.hash)
            && is != wanted
            && !are_hashed.is_empty()
        {
            return Some(format!("the hash key {is}, and the key is now {wanted}"));
        }
        if self.rows != now.rows {
            return say("rows", self.rows.join("; "), now.rows.join("; "));
        }
        if self.source_tag != now.source_tag {
            let word = |tag: &Option<(String, String)>| {
                tag.as_ref().map_or_else(String::new, |(column, source)| format!("{column} of {source}"))
            };
            return say("source_tag", word(&self.source_tag), word(&now.source_tag));
        }
        // Rows that were written under another policy are what they were. Where they are told by what it wrote, the next
        // change would not find them.
        if self.values != now.values && schema.is_none_or(|schema| self.are_rows_told_otherwise(now, schema)) {
            return say("values", self.values.clone(), now.values.clone());
        }
        if schema.is_none() && self.keyless != now.keyless {
            return say("keyless", self.keyless.clone(), now.keyless.clone());
        }
        let (key, is) = self.types.iter().find(|(key, is)| now.types.get(*key) != Some(*is))?;
        say(key, is.clone(), now.types.get(key).cloned().unwrap_or_default())
    }
}

/// Whether two lists name the same columns, in whatever order and case.
fn are_same_columns(one: &[String], other: &[String]) -> bool {
    let has = |list: &[String], name: &String| list.iter().any(|named| same_column(named, name));
    one.iter().all(|name| has(other, name)) && other.iter().all(|name| has(one, name))
}

/// The tables whose configuration is another one than they were made under, and what is different.
pub(super) fn unfit<D: Dialect>(
    tables: &Tables<D::Type>,
    plan: &SinkPlan,
    types: &BTreeMap<String, String>,
) -> Vec<(TableName, String)> {
    let unfit = |(name, table): (&TableName, &Table<D::Type>)| {
        let options = options_for::<D>(plan, name, Some(&table.schema));
        let now = StoredOptions::of(plan, types.clone(), options);
        let difference = table.options.difference(&now, Some(&table.schema))?;
        // What no read brings again is not thrown away for a setting.
        let first = if table.layout.is_kept() {
            "; set the configuration back, or have it read again, which keeps the copy that is there under another name"
        } else {
            ""
        };
        Some((name.clone(), format!("{name} is written with {difference}{first}")))
    };
    tables.iter().filter_map(unfit).collect()
}

/// What the next start does about tables whose configuration is another one, in words, for `check`: those that it reads again, if any, and the
/// first that it stops.
pub(super) fn at_next_start<T: TargetType>(
    tables: &Tables<T>,
    unfit: Vec<(TableName, String)>,
) -> (Option<String>, Option<(TableName, String)>) {
    let is_kept = |table: &TableName| tables.get(table).is_some_and(|table| table.seen().is_kept());
    let (stopped, again): (Vec<_>, Vec<_>) = unfit.into_iter().partition(|(table, _)| is_kept(table));
    let shown: Vec<_> = again.iter().take(SHOWN).map(|(_, why)| why.clone()).collect();
    let more = again.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let said = format!("the next start reads again, in place of what is there: {}{more}", shown.join("; "));
    ((!again.is_empty()).then_some(said), stopped.into_iter().next())
}

/// Tables that `check` names.
const SHOWN: usize = 10;
/// What an operator does who does not want tables to be read again.
pub(super) const SET_BACK: &str = "set the configuration back to keep the copies as they are";

/// Why a table is stopped whose line in the registry cannot be read.
pub(super) fn not_readable(table: &TableName) -> String {
    format!("the line of {table} in \"_replicator_tables\" is not readable; drop or rename the copy at the target")
}

/// A table's line as it is stored, but for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Name of the target table.
    pub(super) target: String,
    /// The options it was made under, JSON.
    pub(super) options: String,
    /// The columns that are written, JSON: (source, target, type).
    pub(super) columns: String,
    /// The source's schema as last applied, JSON.
    pub(super) source_schema: String,
    /// The copy that readers see while this one is built beside it, JSON; empty if there is none.
    pub(super) old: String,
}

/// The line of an old copy as it is stored within another line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OldLine {
    since_lsn: u64,
    is_alike: bool,
    lacks_rows: bool,
    target: String,
    options: StoredOptions,
    columns: Vec<StoredColumn>,
    source_schema: TableSchema,
}

/// A column as it is stored: (source, target, type).
type StoredColumn = (String, String, String);

impl<T: TargetType> Table<T> {
    /// One that no other copy stands beside.
    pub(super) fn new(schema: TableSchema, options: StoredOptions, layout: Layout<T>) -> Self {
        Self { schema, options, layout, old: None }
    }

    /// Its line.
    pub(super) fn line(&self) -> serde_json::Result<Line> {
        let old = match &self.old {
            None => String::new(),
            Some(old) => serde_json::to_string(&OldLine {
                since_lsn: old.since.raw(),
                is_alike: old.is_alike,
                lacks_rows: old.lacks_rows,
                target: old.layout.target.clone(),
                options: old.options.clone(),
                columns: stored_columns(&old.schema, &old.layout),
                source_schema: without_defaults(&old.schema),
            })?,
        };
        Ok(Line {
            target: self.layout.target.clone(),
            options: serde_json::to_string(&self.options)?,
            columns: serde_json::to_string(&stored_columns(&self.schema, &self.layout))?,
            source_schema: serde_json::to_string(&without_defaults(&self.schema))?,
            old,
        })
    }

    /// The table of a line; `None` for one that no version of this program wrote.
    pub(super) fn read(name: &TableName, line: &Line) -> Option<Self> {
        let options: StoredOptions = serde_json::from_str(&line.options).ok()?;
        let schema: TableSchema = serde_json::from_str(&line.source_schema).ok()?;
        let columns: Vec<StoredColumn> = serde_json::from_str(&line.columns).ok()?;
        if schema.name != *name {
            return None;
        }
        let layout = layout_of(&schema, &options, line.target.clone(), columns)?;
        let old = match line.old.as_str() {
            "" => None,
            text => Some(Box::new(OldCopy::read(serde_json::from_str(text).ok()?)?)),
        };
        Some(Self { schema, options, layout, old })
    }

    /// Whether rows of `schema` are what the table is shaped for.
    pub(super) fn has_shape(&self, schema: &TableSchema) -> bool {
        self.schema.same_image(schema) && self.schema.key == schema.key
    }

    /// The columns of the copy that readers see.
    pub(super) fn seen(&self) -> &Layout<T> {
        self.old.as_ref().map_or(&self.layout, |old| &old.layout)
    }

    /// The copy that readers see, as a table that is written.
    pub(super) fn shown(&self) -> Self {
        match self.old.clone() {
            None => self.clone(),
            Some(old) => {
                let OldCopy { schema, options, layout, .. } = *old;
                Self { schema, options, layout, old: None }
            }
        }
    }

    /// This copy as one that is not written from `since` on. `is_alike`: the new one is defined as it is.
    pub(super) fn into_old(self, since: Lsn, is_alike: bool) -> Box<OldCopy<T>> {
        let Self { schema, options, layout, old: _ } = self;
        Box::new(OldCopy { since, is_alike, lacks_rows: false, schema, options, layout })
    }

    /// The names of its tables at the target.
    pub(super) fn targets(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.layout.target).chain(self.old.iter().map(|old| &old.layout.target))
    }
}

impl<T: TargetType> OldCopy<T> {
    fn read(line: OldLine) -> Option<Self> {
        let OldLine { since_lsn, is_alike, lacks_rows, target, options, columns, source_schema: schema } = line;
        let layout = layout_of(&schema, &options, target, columns)?;
        Some(Self { since: Lsn::new(since_lsn), is_alike, lacks_rows, schema, options, layout })
    }
}

/// Defaults only mean something at the moment a column is added.
fn without_defaults(schema: &TableSchema) -> TableSchema {
    let mut schema = schema.clone();
    for column in &mut schema.columns {
        column.default = ColumnDefault::Unknown;
    }
    schema
}

fn stored_columns<T: TargetType>(schema: &TableSchema, layout: &Layout<T>) -> Vec<StoredColumn> {
    let source = |column: &TargetColumn<T>| schema.columns.get(column.source).map(|source| source.name.clone());
    let columns = layout.columns.iter();
    columns.filter_map(|column| Some((source(column)?, column.name.clone(), column.ty.text()))).collect()
}

fn layout_of<T: TargetType>(
    schema: &TableSchema,
    options: &StoredOptions,
    target: String,
    stored: Vec<StoredColumn>,
) -> Option<Layout<T>> {
    let columns = stored
        .into_iter()
        .map(|(source, name, ty)| {
            Some(TargetColumn { source: schema.column_index(&source)?, name, ty: T::parse(&ty)? })
        })
        .collect::<Option<Vec<_>>>()?;
    let (mode, soft) = (options.mode(), options.soft_delete_column.clone());
    let key = match (mode, &schema.key) {
        (Mode::Mirror, Some(key)) => {
            let place = |source: &u16| columns.iter().position(|column| column.source == usize::from(*source));
            key.columns.iter().map(place).collect::<Option<Vec<_>>>()?
        }
        _ => Vec::new(),
    };
    Some(Layout { target, mode, soft, columns, key })
}
