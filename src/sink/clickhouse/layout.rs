//! The shape of a target table: which columns it has, under which names and of which types, and what its key is.
//!
//! A layout follows from the source's schema, the table's options and the target's name alone, so that a restart can compute
//! the layout of a table it finds. What cannot be laid out is refused by name here, before anything is created.
//!
//! A mirror is a `ReplacingMergeTree`: of the rows of one key, the one with the highest `_version` counts, which FINAL shows,
//! and a tombstone (`_is_deleted` 1) hides the key. With soft deletion there are no tombstones: the row stays, marked. A
//! changelog is one too, with its version as the key, so that a batch that is sent twice counts once under FINAL.
//!
//! ClickHouse's column names are told apart by case, and its keys by bytes.

use super::names::{literal, quoted};
use super::types::{target_type, widens};
use crate::config::Mode;
use crate::error::Failure;
use crate::model::{Column, TableName};
use crate::sink::clickhouse::ClickHouseTypes;
use crate::sink::columns::NameRule;
use crate::sink::layout::{self, Dialect, Place, Retype, TargetType, after, before};

/// A target table. The types of its columns are as `DESCRIBE TABLE` prints them.
pub(super) type Layout = layout::Layout<String>;

/// A column of a target table.
pub(super) type TargetColumn = layout::TargetColumn<String>;

/// The version of a row; a changelog's key.
pub(super) const VERSION: &str = "_version";

/// The mark of a mirror's tombstones.
pub(super) const IS_DELETED: &str = "_is_deleted";

/// A changelog's column for the reason of a gap. No row is written with one: it is NULL in every other line.
const REASON: (&str, &str) = ("_reason", "Nullable(String)");

/// What a changelog's row has besides its values, in the order of its bytes.
const HISTORY_COLUMNS: [(&str, &str); 5] = [
    (VERSION, "UInt64"),
    ("_op", "LowCardinality(String)"),
    ("_commit_time", "DateTime64(6, 'UTC')"),
    ("_lsn", "UInt64"),
    ("_ordinal", "UInt32"),
];

impl TargetType for String {
    fn text(&self) -> String {
        self.clone()
    }

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// Types and names of ClickHouse.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClickHouse(pub(super) ClickHouseTypes);

impl Dialect for ClickHouse {
    type Type = String;

    const COLUMNS: NameRule = NameRule::CaseTells;
    const TABLES: NameRule = NameRule::CaseTells;
    const RENAMES_KEYS: bool = false;
    const MIRRORS_KEYLESS: bool = false;

    fn type_of(&self, table: &TableName, column: &Column, place: Place) -> Result<String, Failure> {
        target_type(table, column, self.0, place)
    }

    fn is_reserved(&self, _target: &str) -> bool {
        false
    }

    fn check(&self, table: &TableName, layout: &Layout) -> Result<(), Failure> {
        if layout.mode == Mode::History {
            return Ok(());
        }
        if layout.key.is_empty() {
            return Err(Failure::row(format!("{table} has no primary key, so its rows cannot be mirrored"))
                .hint("set `keyless: history` or `keyless: skip` for the sink, or `mode: history` for the table"));
        }
        check_own_names(table, layout)
    }

    fn column_names(&self, layout: &Layout) -> Vec<String> {
        layout.insert_columns().into_iter().map(|(name, _)| name).collect()
    }

    fn retype(&self, _mode: Mode, (_, from): (&Column, &String), (_, to): (&Column, &String)) -> Retype {
        if from == to {
            Retype::Nothing
        } else if widens(from, to) {
            Retype::InPlace
        } else {
            Retype::Rewrite
        }
    }
}

impl Layout {
    /// The columns as an encoder takes them.
    pub(super) fn sources(&self) -> Vec<(usize, &str)> {
        self.columns.iter().map(|column| (column.source, column.ty.as_str())).collect()
    }

    /// Names and types of the columns of an INSERT, in the order of a row's bytes.
    pub(super) fn insert_columns(&self) -> Vec<(String, String)> {
        match self.mode {
            Mode::Mirror => {
                let own = match &self.soft {
                    Some(soft) => [(soft.clone(), "UInt8"), (VERSION.to_owned(), "UInt64")],
                    None => [(VERSION.to_owned(), "UInt64"), (IS_DELETED.to_owned(), "UInt8")],
                };
                let columns = self.columns.iter().map(|column| (column.name.clone(), column.ty.clone()));
                columns.chain(own.map(|(name, ty)| (name, ty.to_owned()))).collect()
            }
            Mode::History => {
                let side = |name: fn(&str) -> String| {
                    self.columns.iter().map(move |column| (name(&column.name), column.ty.clone()))
                };
                let own = HISTORY_COLUMNS.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned()));
                own.chain(side(before)).chain(side(after)).collect()
            }
        }
    }

    /// The columns of the table, in its own order: a changelog has each column's two sides next to each other.
    pub(super) fn table_columns(&self) -> Vec<(String, String)> {
        match self.mode {
            Mode::Mirror => self.insert_columns(),
            Mode::History => {
                let own =
                    HISTORY_COLUMNS.iter().chain([&REASON]).map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned()));
                let sides = self.columns.iter().flat_map(|column| {
                    [(before(&column.name), column.ty.clone()), (after(&column.name), column.ty.clone())]
                });
                own.chain(sides).collect()
            }
        }
    }

    /// The statement that creates it as `database`.`table`, unless that is there.
    pub(super) fn create_statement(&self, database: &str, table: &str, comment: &str) -> String {
        let columns: Vec<_> = self.table_columns().iter().map(|(name, ty)| format!("{} {ty}", quoted(name))).collect();
        let (engine, order) = match (self.mode, &self.soft) {
            (Mode::Mirror, soft) => {
                let key: Vec<_> = self.key_columns().map(|column| quoted(&column.name)).collect();
                let marked = if soft.is_some() { "" } else { ", `_is_deleted`" };
                (format!("ReplacingMergeTree(`_version`{marked})"), key.join(", "))
            }
            (Mode::History, _) => ("ReplacingMergeTree".to_owned(), quoted(VERSION)),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {}.{} ({}) ENGINE = {engine} ORDER BY ({order}) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1 COMMENT {}",
            quoted(database),
            quoted(table),
            columns.join(", "),
            literal(comment)
        )
    }
}

/// Refuses columns that are named as the mirror's own. A changelog's names all begin otherwise.
fn check_own_names(table: &TableName, layout: &Layout) -> Result<(), Failure> {
    let soft = layout.soft.as_deref();
    let own = |name: &str| name == VERSION || name == IS_DELETED && soft.is_none();
    if let Some(column) = layout.columns.iter().find(|column| own(&column.name)) {
        return Err(Failure::row(format!(
            "{table} has a column named \"{}\", as a column of the sink's own",
            column.name
        ))
        .hint("give it another name with `rename`"));
    }
    match soft {
        Some(soft) if soft == VERSION => {
            Err(Failure::row(format!("the soft-delete column of {table} has the name of the version's, \"{soft}\""))
                .hint("set another `soft_delete_column`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TableOptions;
    use crate::model::TableSchema;
    use crate::sink::clickhouse::row_binary::{TYPES, int, key, nullable_text, options, schema, soft, text};

    fn layout(schema: &TableSchema, options: &TableOptions) -> Result<Layout, Failure> {
        Layout::new(&ClickHouse(TYPES), schema, options, "t".into())
    }

    #[test]
    fn a_mirror_is_replaced_by_version_and_ordered_by_its_key() {
        let table = schema(vec![int("id"), nullable_text("na`me\\"), text("k")], key(&[2, 0]));
        let mirror = layout(&table, &options(Mode::Mirror)).unwrap();
        assert_eq!(
            mirror.create_statement("my db", "tmp", "it's \\ 1"),
            "CREATE TABLE IF NOT EXISTS `my db`.`tmp` (`id` Int32, `na\\`me\\\\` Nullable(String), `k` String, \
             `_version` UInt64, `_is_deleted` UInt8) ENGINE = ReplacingMergeTree(`_version`, `_is_deleted`) \
             ORDER BY (`k`, `id`) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1 COMMENT 'it\\'s \\\\ 1'"
        );
        let soft = layout(&table, &soft()).unwrap();
        assert_eq!(
            soft.create_statement("d", "t", ""),
            "CREATE TABLE IF NOT EXISTS `d`.`t` (`id` Int32, `na\\`me\\\\` Nullable(String), `k` String, \
             `is_deleted` UInt8, `_version` UInt64) ENGINE = ReplacingMergeTree(`_version`) \
             ORDER BY (`k`, `id`) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1 COMMENT ''"
        );
        assert_eq!(soft.insert_columns(), soft.table_columns());
    }

    #[test]
    fn a_changelog_has_both_sides_of_every_column_nullable_and_is_ordered_by_version() {
        let table = schema(vec![int("id"), text("a")], None);
        let history = layout(&table, &options(Mode::History)).unwrap();
        assert_eq!(
            history.create_statement("d", "t", "c"),
            "CREATE TABLE IF NOT EXISTS `d`.`t` (`_version` UInt64, `_op` LowCardinality(String), \
             `_commit_time` DateTime64(6, 'UTC'), `_lsn` UInt64, `_ordinal` UInt32, `_reason` Nullable(String), `before_id` Nullable(Int32), \
             `after_id` Nullable(Int32), `before_a` Nullable(String), `after_a` Nullable(String)) \
             ENGINE = ReplacingMergeTree ORDER BY (`_version`) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1 COMMENT 'c'"
        );
        let names: Vec<_> = history.insert_columns().into_iter().map(|(name, _)| name).collect();
        let own = ["_version", "_op", "_commit_time", "_lsn", "_ordinal"];
        assert_eq!(names[..5], own);
        assert_eq!(names[5..], ["before_id", "before_a", "after_id", "after_a"]);
        let own = schema(vec![int("_reason")], None);
        let columns = layout(&own, &options(Mode::History)).unwrap().table_columns();
        let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[5..], ["_reason", "before__reason", "after__reason"]);
    }

    #[test]
    fn what_the_configuration_makes_ambiguous_is_refused_by_name() {
        let table = schema(vec![int("id"), text("Name"), text("_Version")], key(&[0]));
        let refuse = |change: &dyn Fn(&mut TableOptions)| {
            let mut options = options(Mode::Mirror);
            change(&mut options);
            layout(&table, &options).unwrap_err().chain()
        };
        let rename = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
        assert_eq!(
            refuse(&|o| o.rename = rename("name", "_version")),
            "shop.t has a column named \"_version\", as a column of the sink's own (give it another name with `rename`)"
        );
        assert_eq!(
            refuse(&|o| o.rename = rename("NAME", "_is_deleted")),
            "shop.t has a column named \"_is_deleted\", as a column of the sink's own (give it another name with `rename`)"
        );
        assert_eq!(
            refuse(&|o| o.rename = rename("name", "id")),
            "two columns of shop.t would be named \"id\" in the target (give one of them another name with `rename`)"
        );
        let mut cased = options(Mode::Mirror);
        cased.rename = rename("name", "ID");
        assert_eq!(layout(&table, &cased).unwrap().columns[1].name, "ID");
        let mut version = soft();
        version.soft_delete_column = "_version".into();
        assert_eq!(
            layout(&table, &version).unwrap_err().message,
            "the soft-delete column of shop.t has the name of the version's, \"_version\""
        );
    }

    #[test]
    fn a_mirror_without_a_key_is_refused_and_a_changelog_needs_none() {
        let table = schema(vec![int("id")], None);
        let failure = layout(&table, &options(Mode::Mirror)).unwrap_err();
        assert_eq!(failure.message, "shop.t has no primary key, so its rows cannot be mirrored");
        assert!(failure.hint.unwrap().contains("`mode: history`"));
        assert!(layout(&table, &options(Mode::History)).unwrap().key.is_empty());
        let reserved =
            Layout::new(&ClickHouse(TYPES), &table, &options(Mode::History), "_replicator_x".into()).unwrap_err();
        assert_eq!(reserved.message, "shop.t would be written to a table named \"_replicator_x\", which is reserved");
    }
}
