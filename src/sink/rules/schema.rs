//! The schema that a target is shown.

use std::sync::Arc;

use crate::codec::row_image::{Plan, Scratch};
use crate::config::{HashKey, SinkPlan, SourceTag};
use crate::error::Failure;
use crate::model::{Attributes, Charset, Column, ColumnDefault, ColumnType, TableName, TableSchema, same_column};
use crate::sink::layout::{Dialect, options_for};
use crate::sink::rules::rewrite::hash_cell;

/// Bytes of a tag: two names of 64 characters each, and a dot.
const TAG_BYTES: u16 = 1024;
/// Hexadecimal digits of a hash.
const HASH_BYTES: u16 = 64;

/// The schema as a target is shown it: the tag in front, as a part of the key if there is one, and text in the place of what is hashed.
pub(in crate::sink) fn shown_schema(plan: &SinkPlan, schema: Arc<TableSchema>) -> Arc<TableSchema> {
    let hash = plan.options_for(&schema.name).hash;
    let is_hashed = |column: &Column| hash.iter().any(|name| same_column(name, &column.name));
    if plan.source_tag.is_none() && !schema.columns.iter().any(is_hashed) {
        return schema;
    }
    let mut shown = TableSchema::clone(&schema);
    for (place, column) in shown.columns.iter_mut().enumerate() {
        if is_hashed(column) {
            *column = hashed(&schema, place, column, plan.hash_key.as_ref());
        }
    }
    if let Some(tag) = &plan.source_tag {
        add_tag(&mut shown, tag);
    }
    Arc::new(shown)
}

/// Why what the rules made of rows of a table before a change of its definition is not what they make of them after it: a column by which rows are
/// ruled out, or that is hashed, is defined otherwise. `None`: it is the same.
pub(in crate::sink) fn distrusts<D: Dialect>(
    plan: &SinkPlan,
    before: &TableSchema,
    after: &TableSchema,
) -> Option<String> {
    let options = plan.options_for(&after.name);
    if options_for::<D>(plan, &after.name, Some(before)).mode != options_for::<D>(plan, &after.name, Some(after)).mode {
        return Some("its key has changed, and `keyless` keeps it in another mode".to_owned());
    }
    let named = (options.rows.iter().map(|condition| ("rows", &condition.column)))
        .chain(options.hash.iter().map(|column| ("hash", column)));
    let ty = |of: &TableSchema, name: &str| Some(of.columns.get(of.column_index(name)?)?.ty.clone());
    for (key, column) in named {
        if ty(before, column) != ty(after, column) && ty(after, column).is_some() {
            return Some(format!("column \"{column}\", which `{key}` names, is defined otherwise"));
        }
    }
    None
}

/// Refuses a definition in which a column that a rule hides or hashes has, or may have, another name: its values would be shown. `renamed` are the
/// columns that are known to have kept their values; `None`: it is not known what became of the columns.
///
/// # Errors
/// Of class `Row`, where a column of the rule is gone from the table and may be there under another name.
pub(in crate::sink) fn hides_on(
    plan: &SinkPlan,
    (old, new): (&TableSchema, &TableSchema),
    renamed: Option<&[(String, String)]>,
) -> Result<(), Failure> {
    let options = plan.options_for(&new.name);
    let names = |named: &str, of: &TableSchema| of.column_index(named).is_some();
    for (key, column) in
        (options.hash.iter().map(|column| ("hash", column))).chain(options.drop.iter().map(|column| ("drop", column)))
    {
        // Of `drop` the lineage of columns says so, where it is known.
        let is_known = key == "drop" && renamed.is_some();
        if is_known || !names(column, old) || names(column, new) {
            continue;
        }
        let is_named = |name: &str| options.hash.iter().chain(&options.drop).any(|rule| same_column(rule, name));
        let now = match renamed {
            Some(renamed) => renamed.iter().find(|(before, _)| same_column(before, column)).map(|(_, now)| now.clone()),
            None => Some("another one, perhaps".to_owned()),
        };
        if let Some(now) = now.filter(|now| !is_named(now)) {
            return Err(Failure::row(format!(
                "column \"{column}\" of {}, which `{key}` names, has another name: {now}",
                new.name
            ))
            .hint(format!(
                "name the column in `{key}` as the source does, or take \"{column}\" out of it, then start again"
            )));
        }
    }
    Ok(())
}

/// Columns that the rules of a table name and that it does not have, each with the key that names it.
pub fn missing_columns(plan: &SinkPlan, schema: &TableSchema) -> Vec<(&'static str, String)> {
    let options = plan.options_for(&schema.name);
    let named = (options.drop.iter().map(|name| ("drop", name)))
        .chain(options.hash.iter().map(|name| ("hash", name)))
        .chain(options.rename.iter().map(|(name, _)| ("rename", name)))
        .chain(options.rows.iter().map(|condition| ("rows", &condition.column)));
    let is_missing = |(_, name): &(&str, &String)| schema.column_index(name).is_none();
    named.filter(is_missing).map(|(key, name)| (key, name.clone())).collect()
}

pub(super) fn hash_key<'p>(plan: &'p SinkPlan, table: &TableName) -> Result<&'p HashKey, Failure> {
    plan.hash_key.as_ref().ok_or_else(|| {
        Failure::row(format!("columns of {table} are to be hashed, and there is no key for that"))
            .hint("name its file in `hash_key_file`, or set REPLICATOR_HASH_KEY")
    })
}

/// A column in the place of which its hash is written. What a row has in it that was there before the column is hashed as well, or is not known.
fn hashed(schema: &TableSchema, place: usize, column: &Column, key: Option<&HashKey>) -> Column {
    let of_cell = |cell: &[u8]| {
        let plan = Plan::all(schema).ok()?;
        let mut hash = Vec::new();
        hash_cell(&plan, (place, cell), key?, &mut Scratch::default(), &mut hash).ok()?;
        Some(ColumnDefault::Value(hash))
    };
    let default = match &column.default {
        ColumnDefault::Value(cell) => of_cell(cell).unwrap_or(ColumnDefault::Unknown),
        other => other.clone(),
    };
    Column { default, ..text(&column.name, HASH_BYTES, "ascii", column.nullable) }
}

/// Puts the tag in front. A column of its name is refused where names are ([`check_names`](crate::sink::columns::check_names)).
fn add_tag(schema: &mut TableSchema, tag: &SourceTag) {
    schema.columns.insert(0, text(&tag.column, TAG_BYTES, "utf8mb4", false));
    if let Some(key) = &mut schema.key {
        for place in &mut key.columns {
            *place = place.saturating_add(1);
        }
        key.columns.insert(0, 0);
    }
}

fn text(name: &str, max_bytes: u16, charset: &str, nullable: bool) -> Column {
    Column {
        name: name.to_owned(),
        ty: ColumnType::VarChar { max_bytes, charset: Charset::new(charset) },
        nullable,
        default: ColumnDefault::Unknown,
        attributes: Some(Attributes::default()),
        collation: None,
    }
}

/// The tag of a table's rows.
pub(in crate::sink) fn tag_of(tag: &SourceTag, table: &TableName) -> String {
    format!("{}.{}", tag.source, table.database)
}
