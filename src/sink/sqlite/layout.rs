//! The shape of a target table: which columns it has, under which names, and what its key is.
//!
//! A layout follows from the source's schema, the table's options and the target's name alone, so that a restart can compute
//! the layout of a table it finds and see whether the configuration still means the same. What cannot be laid out is
//! refused by name here, before anything is created.

use super::types::Storage;
use crate::config::{Deletion, Mode, TableOptions};
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::columns::{Kept, NameRule, check_names, kept, key_of, marks};

/// Columns a table may have (`SQLITE_MAX_COLUMN` as SQLite is built here).
const MAX_COLUMNS: usize = 2000;

/// Columns that every line of a changelog has besides those of the source.
pub(super) const HISTORY_COLUMNS: [&str; 5] = ["_version", "_lsn", "_ordinal", "_op", "_commit_time"];

/// A changelog's column for the reason of a gap; NULL in every other line.
pub(super) const REASON: &str = "_reason";

/// Names that begin so are the sink's own.
pub(super) const RESERVED: &str = "_replicator_";

/// A target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Its name.
    pub(super) target: String,
    /// State or changelog.
    pub(super) mode: Mode,
    /// The column that marks softly deleted rows.
    pub(super) soft: Option<String>,
    /// The columns that are kept, in the source's order.
    pub(super) columns: Vec<TargetColumn>,
    /// Places of the key's columns in `columns`, in key order; empty: rows are told apart by all their values.
    pub(super) key: Vec<usize>,
}

/// A column of a target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetColumn {
    /// Its place in the source's schema.
    pub(super) source: usize,
    /// Its name in the target.
    pub(super) name: String,
    /// How its values are kept.
    pub(super) storage: Storage,
}

impl Layout {
    /// Lays out `schema`.
    pub(super) fn new(schema: &TableSchema, options: &TableOptions, target: String) -> Result<Self, Failure> {
        let table = &schema.name;
        check_target_name(table, &target)?;
        let mut columns = Vec::with_capacity(schema.columns.len());
        for Kept { source, column, name } in kept(schema, options) {
            let Some(storage) = Storage::of(&column.ty) else {
                return Err(Failure::row(format!(
                    "column \"{}\" of {table} has a type that is not supported yet",
                    column.name
                ))
                .hint("leave the table out with `source.exclude`"));
            };
            columns.push(TargetColumn { source, name, storage });
        }
        let soft = (options.mode == Mode::Mirror && options.deletion == Deletion::Soft)
            .then(|| options.soft_delete_column.clone());
        let names = columns.iter().map(|column| column.name.as_str());
        check_names(table, names, soft.as_deref(), NameRule::AsciiCaseFolds)?;
        let history = options.mode == Mode::History;
        let sources: Vec<usize> = columns.iter().map(|column| column.source).collect();
        let key = if history { Vec::new() } else { key_of(schema, &sources)? };
        let count = if history { columns.len() * 2 + HISTORY_COLUMNS.len() + 1 } else { columns.len() + 1 };
        if count > MAX_COLUMNS {
            return Err(Failure::row(format!(
                "{table} needs {count} columns in the target, SQLite holds {MAX_COLUMNS}"
            ))
            .hint("leave columns out with `drop`"));
        }
        Ok(Self { target, mode: options.mode, soft, columns, key })
    }

    /// Whether the key is SQLite's own row number: one column of integers that fit.
    pub(super) fn rowid_key(&self) -> bool {
        match self.key.as_slice() {
            [only] => self.columns.get(*only).is_some_and(|column| column.storage == Storage::Integer),
            _ => false,
        }
    }

    /// The key's columns in key order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &TargetColumn> {
        self.key.iter().filter_map(|place| self.columns.get(*place))
    }

    /// Marks the source's columns that are kept.
    pub(super) fn wanted(&self, source_columns: usize) -> Vec<bool> {
        marks(self.columns.iter().map(|column| column.source), source_columns)
    }

    /// Marks the source's columns that make the key.
    pub(super) fn wanted_key(&self, source_columns: usize) -> Vec<bool> {
        marks(self.key_columns().map(|column| column.source), source_columns)
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

    /// The statement that creates it as `name`.
    pub(super) fn create_statement(&self, name: &str) -> String {
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
                    if !column.storage.declared().is_empty() {
                        part.push(' ');
                        part.push_str(column.storage.declared());
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
        format!("CREATE TABLE {} ({}){tail}", quoted(name), parts.join(", "))
    }
}

/// A changelog's column for the value before the change.
pub(super) fn before(column: &str) -> String {
    format!("before_{column}")
}

/// A changelog's column for the value after the change.
pub(super) fn after(column: &str) -> String {
    format!("after_{column}")
}

/// A name as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether SQLite takes two names for one: it folds ASCII letters only.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn check_target_name(table: &TableName, target: &str) -> Result<(), Failure> {
    let folded = target.to_ascii_lowercase();
    if target.is_empty() || folded.starts_with("sqlite_") || folded.starts_with(RESERVED) || target.contains('\0') {
        return Err(Failure::fatal(format!(
            "{table} would be written to a table named \"{target}\", which is reserved"
        ))
        .hint("set another `table_name` for the sink, for example \"copy_{table}\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sqlite::testing::{int, key, options, schema, text};

    #[test]
    fn a_single_integer_key_is_the_row_number_and_every_other_key_is_without_one() {
        let of = |schema: &TableSchema| {
            Layout::new(schema, &options(Mode::Mirror), "t".into()).unwrap().create_statement("t")
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
            Layout::new(&table, &options, "t".into()).unwrap_err().message
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
        let reserved = Layout::new(&table, &options(Mode::Mirror), "SQLite_x".into()).unwrap_err().message;
        assert_eq!(reserved, "shop.t would be written to a table named \"SQLite_x\", which is reserved");
    }

    #[test]
    fn a_dropped_column_leaves_and_a_renamed_one_has_its_new_name() {
        let table = schema(vec![int("id"), text("a"), text("b")], key(&[0]));
        let mut options = options(Mode::Mirror);
        options.drop = vec!["A".into()];
        options.rename = vec![("b".into(), "bb".into())];
        let layout = Layout::new(&table, &options, "t".into()).unwrap();
        assert_eq!(layout.create_statement("t"), r#"CREATE TABLE "t" ("id" INTEGER PRIMARY KEY, "bb" TEXT)"#);
        assert_eq!(layout.wanted(3), [true, false, true]);
        options.mode = Mode::History;
        options.drop = vec!["id".into()];
        let layout = Layout::new(&table, &options, "t".into()).unwrap();
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
