//! The shape of a table in the file: what of [`Layout`](layout::Layout) is SQLite's own.

use super::retype::conversion;
use super::types::Storage;
use crate::config::Mode;
use crate::error::Failure;
use crate::model::{Column, TableName, kept_types};
use crate::sink::columns::NameRule;
use crate::sink::layout::{self, Dialect, Place, RESERVED, Retype, TargetType, after, before};

/// A target table.
pub(super) type Layout = layout::Layout<Storage>;

/// A column of a target table.
pub(super) type TargetColumn = layout::TargetColumn<Storage>;

/// Columns a table may have (`SQLITE_MAX_COLUMN` as SQLite is built here).
const MAX_COLUMNS: usize = 2000;

/// Columns that every line of a changelog has besides those of the source.
pub(super) const HISTORY_COLUMNS: [&str; 5] = ["_version", "_lsn", "_ordinal", "_op", "_commit_time"];

/// A changelog's column for the reason of a gap; NULL in every other line.
pub(super) const REASON: &str = "_reason";

/// Types and names of SQLite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sqlite;

impl Dialect for Sqlite {
    type Type = Storage;

    const COLUMNS: NameRule = NameRule::AsciiCaseFolds;
    const TABLES: NameRule = NameRule::AsciiCaseFolds;
    const RENAMES_KEYS: bool = true;
    const MIRRORS_KEYLESS: bool = true;

    fn type_of(&self, table: &TableName, column: &Column, _place: Place) -> Result<Storage, Failure> {
        Storage::of(&column.ty).ok_or_else(|| {
            Failure::row(format!("column \"{}\" of {table} has a type that is not supported yet", column.name))
                .hint("leave the table out with `source.exclude`")
        })
    }

    fn is_reserved(&self, target: &str) -> bool {
        let folded = target.to_ascii_lowercase();
        folded.starts_with("sqlite_") || folded.starts_with(RESERVED)
    }

    fn check(&self, table: &TableName, layout: &Layout) -> Result<(), Failure> {
        let columns = layout.columns.len();
        let count = if layout.mode == Mode::History { columns * 2 + HISTORY_COLUMNS.len() + 1 } else { columns + 1 };
        if count > MAX_COLUMNS {
            return Err(Failure::row(format!(
                "{table} needs {count} columns in the target, SQLite holds {MAX_COLUMNS}"
            ))
            .hint("leave columns out with `drop`"));
        }
        Ok(())
    }

    fn column_names(&self, layout: &Layout) -> Vec<String> {
        layout.column_names()
    }

    /// A changelog's columns have no declared type: each value is as it was.
    fn retype(&self, mode: Mode, (old, from): (&Column, &Storage), (new, to): (&Column, &Storage)) -> Retype {
        if mode == Mode::Mirror
            && (from != to || conversion("", kept_types(&old.ty, &new.ty)).is_some_and(|how| how.alters))
        {
            Retype::Rewrite
        } else {
            Retype::Nothing
        }
    }
}

impl TargetType for Storage {
    fn text(&self) -> String {
        self.name().to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|storage| storage.name() == text)
    }
}

impl Layout {
    /// Whether the key is SQLite's own row number: one column of integers that fit.
    pub(super) fn rowid_key(&self) -> bool {
        match self.key.as_slice() {
            [only] => self.columns.get(*only).is_some_and(|column| column.ty == Storage::Integer),
            _ => false,
        }
    }

    /// A name for SQLite's row number that no column hides.
    pub(super) fn rowid_name(&self) -> Option<&'static str> {
        let soft = self.soft.as_deref();
        ["rowid", "_rowid_", "oid"].into_iter().find(|name| {
            !self.columns.iter().map(|column| column.name.as_str()).chain(soft).any(|column| same_name(column, name))
        })
    }

    /// Every column the target must have, besides what a changelog keeps of former schemas.
    pub(super) fn column_names(&self) -> Vec<String> {
        let names = self.columns.iter().map(|column| column.name.as_str());
        match self.mode {
            Mode::Mirror => names.chain(self.soft.as_deref()).map(str::to_owned).collect(),
            Mode::History => {
                let own = HISTORY_COLUMNS.into_iter().chain([REASON]).map(str::to_owned);
                own.chain(names.flat_map(|name| [before(name), after(name)])).collect()
            }
        }
    }

    /// The statement that creates it as `name`, with the [mark] of the sink.
    pub(super) fn create_statement(&self, name: &str, sink: &str) -> String {
        let mut parts = Vec::new();
        let mut tail = "";
        match self.mode {
            Mode::History => {
                parts.extend(
                    [
                        "\"_version\" INTEGER PRIMARY KEY",
                        "\"_lsn\" INTEGER NOT NULL",
                        "\"_ordinal\" INTEGER NOT NULL",
                        "\"_op\" TEXT NOT NULL",
                        "\"_commit_time\" TEXT NOT NULL",
                        "\"_reason\" TEXT",
                    ]
                    .map(str::to_owned),
                );
                for column in &self.columns {
                    parts.push(quoted(&before(&column.name)));
                    parts.push(quoted(&after(&column.name)));
                }
            }
            Mode::Mirror => {
                let rowid_key = self.rowid_key();
                for (place, column) in self.columns.iter().enumerate() {
                    let mut part = quoted(&column.name);
                    if !column.ty.declared().is_empty() {
                        part.push(' ');
                        part.push_str(column.ty.declared());
                    }
                    if self.key.contains(&place) {
                        part.push_str(if rowid_key { " PRIMARY KEY" } else { " NOT NULL" });
                    }
                    parts.push(part);
                }
                if let Some(soft) = &self.soft {
                    parts.push(format!("{} INTEGER NOT NULL DEFAULT 0", quoted(soft)));
                }
                if !self.key.is_empty() && !rowid_key {
                    let key: Vec<_> = self.key_columns().map(|column| quoted(&column.name)).collect();
                    parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
                    tail = " WITHOUT ROWID";
                }
            }
        }
        format!("CREATE TABLE {} ({} {}){tail}", quoted(name), mark(sink), parts.join(", "))
    }
}

/// What says that a sink made a table: SQLite keeps the comments of a definition, also when it is altered.
pub(super) fn mark(sink: &str) -> String {
    format!("/* replicator sink {sink} */")
}

/// A name as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether SQLite takes two names for one: it folds ASCII letters only.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Deletion, TableOptions};
    use crate::model::TableSchema;
    use crate::sink::sqlite::testing::{int, key, options, schema, text};

    #[test]
    fn a_single_integer_key_is_the_row_number_and_every_other_key_is_without_one() {
        let of = |schema: &TableSchema| {
            Layout::new(&Sqlite, schema, &options(Mode::Mirror), "t".into())
                .unwrap()
                .create_statement("t", "s")
                .replace("/* replicator sink s */ ", "")
        };
        let one = schema(vec![int("id"), text("name")], key(&[0]));
        assert_eq!(of(&one), r#"CREATE TABLE "t" ("id" INTEGER PRIMARY KEY, "name" TEXT)"#);
        let two = schema(vec![int("id"), text("na\"me")], key(&[1, 0]));
        assert_eq!(
            of(&two),
            r#"CREATE TABLE "t" ("id" INTEGER NOT NULL, "na""me" TEXT NOT NULL, PRIMARY KEY ("na""me", "id")) WITHOUT ROWID"#
        );
        let none = schema(vec![int("id")], None);
        assert_eq!(of(&none), r#"CREATE TABLE "t" ("id" INTEGER)"#);
    }

    #[test]
    fn what_the_configuration_makes_ambiguous_is_refused_by_name() {
        let table = schema(vec![int("id"), text("Name"), text("label")], key(&[0]));
        let refuse = |change: &dyn Fn(&mut TableOptions)| {
            let mut options = options(Mode::Mirror);
            change(&mut options);
            Layout::new(&Sqlite, &table, &options, "t".into()).unwrap_err().message
        };
        assert_eq!(
            refuse(&|o| o.rename = vec![("label".into(), "NAME".into())]),
            "two columns of shop.t would be named \"NAME\" in the target"
        );
        assert_eq!(refuse(&|o| o.drop = vec!["ID".into()]), "`drop` names \"id\", which is part of the key of shop.t");
        assert_eq!(
            refuse(&|o| {
                o.deletion = Deletion::Soft;
                o.soft_delete_column = "Label".into();
            }),
            "shop.t has a column named \"Label\", as the soft-delete column"
        );
        let reserved = Layout::new(&Sqlite, &table, &options(Mode::Mirror), "SQLite_x".into()).unwrap_err().message;
        assert_eq!(reserved, "shop.t would be written to a table named \"SQLite_x\", which is reserved");
    }

    #[test]
    fn a_dropped_column_leaves_and_a_renamed_one_has_its_new_name() {
        let table = schema(vec![int("id"), text("a"), text("b")], key(&[0]));
        let mut options = options(Mode::Mirror);
        options.drop = vec!["A".into()];
        options.rename = vec![("b".into(), "bb".into())];
        let layout = Layout::new(&Sqlite, &table, &options, "t".into()).unwrap();
        assert_eq!(
            layout.create_statement("t", "s"),
            r#"CREATE TABLE "t" (/* replicator sink s */ "id" INTEGER PRIMARY KEY, "bb" TEXT)"#
        );
        assert_eq!(layout.wanted(3), [true, false, true]);
        options.mode = Mode::History;
        options.drop = vec!["id".into()];
        let layout = Layout::new(&Sqlite, &table, &options, "t".into()).unwrap();
        assert_eq!(
            layout.column_names(),
            [
                "_version",
                "_lsn",
                "_ordinal",
                "_op",
                "_commit_time",
                "_reason",
                "before_a",
                "after_a",
                "before_bb",
                "after_bb"
            ]
        );
    }
}
