//! What `ALTER TABLE` changes: which columns come, go or change their name, and which operations change rows that no event
//! shows.

use super::columns::TypeName;
use super::default::AddedDefault;
use super::definition::Definition;
use super::stated::Stated;
use crate::model::{TableName, same_column};

/// An operation that changes the rows of a table without any row event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnseenChange {
    /// `EXCHANGE PARTITION`: rows change places with another table.
    ExchangePartition,
    /// MariaDB's `CONVERT PARTITION ... TO TABLE` and `CONVERT TABLE ... TO PARTITION`.
    ConvertPartition,
    /// `TRUNCATE PARTITION`.
    TruncatePartition,
    /// `DROP PARTITION`.
    DropPartition,
    /// `DISCARD TABLESPACE`.
    DiscardTablespace,
    /// `IMPORT TABLESPACE`.
    ImportTablespace,
    /// `ALTER IGNORE TABLE`: rows that do not fit the new definition are left out.
    AlterIgnore,
}

/// One change that `ALTER TABLE` makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterOp {
    /// `ADD COLUMN`.
    AddColumn {
        /// Its name.
        name: String,
        /// `FIRST` or `AFTER`: it does not come last.
        position_given: bool,
        /// What the rows that are there get.
        default: AddedDefault,
        /// Its type.
        ty: TypeName,
        /// `IF NOT EXISTS`: it may have been there, and stays then as it was.
        if_not_exists: bool,
        /// What else its definition says.
        definition: Box<Definition>,
        /// What its definition alone makes of it; `None`: something else decides it.
        stated: Option<Box<Stated>>,
    },
    /// `DROP COLUMN`.
    DropColumn {
        /// Its name.
        name: String,
    },
    /// `RENAME COLUMN`: values and type stay.
    RenameColumn {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// `CHANGE COLUMN`: perhaps a new name, perhaps a new type, perhaps another place.
    ChangeColumn {
        /// Old name.
        from: String,
        /// New name; may be the same.
        to: String,
        /// Its type from now on.
        ty: TypeName,
        /// `IF EXISTS`: it may not have been there, and then nothing is changed.
        if_exists: bool,
        /// What else its definition says.
        definition: Box<Definition>,
        /// What its definition alone makes of it; `None`: something else decides it.
        stated: Option<Box<Stated>>,
    },
    /// `MODIFY COLUMN`: perhaps a new type, perhaps another place.
    ModifyColumn {
        /// Its name.
        name: String,
        /// Its type from now on.
        ty: TypeName,
        /// `IF EXISTS`: it may not have been there, and then nothing is changed.
        if_exists: bool,
        /// What else its definition says.
        definition: Box<Definition>,
        /// What its definition alone makes of it; `None`: something else decides it.
        stated: Option<Box<Stated>>,
    },
    /// `CONVERT TO CHARACTER SET`: every text column may change its type.
    ConvertCharset,
    /// `RENAME TO`.
    RenameTo(TableName),
    /// The primary key comes, goes or changes.
    PrimaryKeyChanged,
    /// An index that may be unique comes or goes.
    IndexChanged,
    /// MariaDB's `PERIOD`: its columns are not null.
    Period,
    /// `ADD` or `DROP SYSTEM VERSIONING`: columns may come or go that the statement does not name.
    SystemVersioningChanged {
        /// `ADD`.
        added: bool,
    },
    /// `ENGINE`: neither rows, nor columns, nor keys change, but where the rows are may.
    Engine(String),
    /// MariaDB's option `SEQUENCE`: it is a sequence from now on, or a table. Neither columns nor rows change.
    Sequence(bool),
    /// `UNION`: the tables that a MERGE table consists of.
    Union(Vec<TableName>),
    /// Rows of the table change and no event shows them.
    RowsChangedUnseen {
        /// How.
        what: UnseenChange,
        /// The other table whose rows change with it.
        other: Option<TableName>,
    },
    /// Changes neither rows, nor columns, nor keys.
    Other,
}

/// What `ALTER TABLE` changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterOps {
    /// Every change, in the order of the statement; empty when it makes none.
    Known(Vec<AlterOp>),
    /// At least one part was not understood.
    Unreadable,
}

impl AlterOps {
    /// Names of the columns after the statement when `before` are those before it; their order means nothing.
    ///
    /// Names in the statement are those before it, so two columns may change their names with each other. A column that
    /// is to be dropped and is not there, or is to be added and is, was meant with `IF [NOT] EXISTS`. `None` when it
    /// cannot be told.
    pub fn column_names_after(&self, before: &[String]) -> Option<Vec<String>> {
        let Self::Known(ops) = self else { return None };
        let mut after = before.iter().map(|name| Some(name.clone())).collect::<Vec<_>>();
        let mut added = Vec::new();
        for op in ops {
            let (of, becomes) = match op {
                AlterOp::DropColumn { name } => (name, None),
                AlterOp::RenameColumn { from, to } | AlterOp::ChangeColumn { from, to, .. } => (from, Some(to)),
                AlterOp::AddColumn { name, .. } => {
                    added.push(name);
                    continue;
                }
                AlterOp::SystemVersioningChanged { .. } => return None,
                AlterOp::ModifyColumn { .. }
                | AlterOp::ConvertCharset
                | AlterOp::RenameTo(_)
                | AlterOp::PrimaryKeyChanged
                | AlterOp::IndexChanged
                | AlterOp::Period
                | AlterOp::RowsChangedUnseen { .. }
                | AlterOp::Engine(_)
                | AlterOp::Sequence(_)
                | AlterOp::Union(_)
                | AlterOp::Other => continue,
            };
            for (name, after) in before.iter().zip(&mut after) {
                if same_column(name, of) {
                    *after = becomes.cloned();
                }
            }
        }
        let mut after = after.into_iter().flatten().collect::<Vec<_>>();
        for name in added {
            if !after.iter().any(|there| same_column(there, name)) {
                after.push(name.clone());
            }
        }
        Some(after)
    }
}

#[cfg(test)]
mod tests {
    use crate::source::mysql::ddl::{SqlMode, Statement, parse};

    fn after(sql: &str, before: &[&str]) -> Option<Vec<String>> {
        let before = before.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        match parse(sql, "d", SqlMode::default()) {
            Statement::AlterTable { ops, .. } => ops.column_names_after(&before),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn the_names_after_an_alter_follow_from_the_names_before() {
        let before = ["id", "a", "B"];
        for (sql, expected) in [
            ("ALTER TABLE t", &["id", "a", "B"][..]),
            ("ALTER TABLE t ADD c INT FIRST, DROP COLUMN a", &["id", "B", "c"]),
            ("ALTER TABLE t ADD (c INT, d INT), ADD KEY (c)", &["id", "a", "B", "c", "d"]),
            ("ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a", &["id", "b", "a"]),
            ("ALTER TABLE t CHANGE a b INT, CHANGE b a INT", &["id", "b", "a"]),
            ("ALTER TABLE t DROP a, ADD a TEXT", &["id", "B", "a"]),
            ("ALTER TABLE t DROP a, CHANGE b a TEXT", &["id", "a"]),
            ("ALTER TABLE t ADD COLUMN IF NOT EXISTS A INT", &["id", "a", "B"]),
            ("ALTER TABLE t DROP COLUMN IF EXISTS x, CHANGE IF EXISTS y z INT", &["id", "a", "B"]),
            ("ALTER TABLE t MODIFY a TEXT, CONVERT TO CHARACTER SET utf8mb4, RENAME TO u", &["id", "a", "B"]),
            ("ALTER TABLE t CHANGE ID Id BIGINT", &["Id", "a", "B"]),
            ("ALTER TABLE t TRUNCATE PARTITION p0, p1", &["id", "a", "B"]),
        ] {
            let expected = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(after(sql, &before), Some(expected), "{sql}");
        }
    }

    #[test]
    fn the_names_after_are_not_told_when_they_cannot_be_known() {
        for sql in
            ["ALTER TABLE t ADD SYSTEM VERSIONING", "ALTER TABLE t DROP SYSTEM VERSIONING", "ALTER TABLE t frob a"]
        {
            assert_eq!(after(sql, &["a"]), None, "{sql}");
        }
    }

    #[test]
    fn column_names_compare_without_case_beyond_ascii_too() {
        assert_eq!(after("ALTER TABLE t DROP \u{c9}t\u{e9}", &["id", "\u{e9}t\u{e9}"]), Some(vec!["id".to_owned()]));
    }
}
