//! What stands under a name of the catalogue: a table that is copied, a table that cannot be copied by its nature, or no table.
//!
//! A table is copied when the binlog has every change of its rows. Three kinds of tables are not:
//! - A BLACKHOLE table holds no rows; the binlog has what was written to it all the same.
//! - The rows of a MERGE table are those of other tables, and those of FEDERATED, CONNECT and such engines are elsewhere: in other
//!   tables, in files, at other servers. The binlog has what was written through the table, and not what was written there.
//! - A system-versioned table keeps its old rows under hidden columns, and the binlog has them as rows like any other.

use std::fmt;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::failure::query_failure;
use super::quote::text_literal;
use crate::error::Failure;
use crate::model::TableName;

/// What the catalogue has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A base table.
    Table(Nature),
    /// No base table: the word for what it is, such as "view" or "sequence".
    NoTable(String),
}

/// Whether a base table can be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It can.
    Copied,
    /// It cannot, whatever the privileges and settings are. The display of the reason is a sentence without its subject.
    LeftOut(LeftOutBy),
}

/// Why a table cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOutBy {
    /// Engine BLACKHOLE.
    Blackhole,
    /// Engine MERGE, also called `MRG_MyISAM`.
    Merge {
        /// The tables that it consists of, where they are known.
        members: Option<Vec<TableName>>,
    },
    /// Another engine that reads rows from elsewhere.
    Elsewhere {
        /// The engine as the server spells it.
        engine: String,
    },
    /// `WITH SYSTEM VERSIONING`.
    SystemVersioned,
}

impl fmt::Display for LeftOutBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blackhole => f.write_str("its engine is BLACKHOLE, which holds no rows"),
            Self::Merge { .. } => f.write_str(
                "its engine is MERGE: its rows are in other tables, which are copied where they are captured",
            ),
            Self::Elsewhere { engine } => {
                write!(f, "its engine is {engine}: its rows are elsewhere, and the binlog does not have their changes")
            }
            Self::SystemVersioned => f.write_str("it is system-versioned, which is not supported"),
        }
    }
}

/// What the server shows under a name in the place of a table that can be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// A table that cannot be copied.
    LeftOut(LeftOutBy),
    /// No base table: the word for what it is.
    NoTable(String),
    /// Nothing: there is no table of that name.
    Nothing,
}

/// Engines that read rows which the server's own binlog does not have.
const ELSEWHERE: [&str; 5] = ["FEDERATED", "CONNECT", "SPIDER", "OQGRAPH", "SPHINX"];

impl Relation {
    /// What there is in the place of a table that can be copied; `None`: it is one.
    pub fn instead(&self) -> Option<Instead> {
        match self {
            Self::Table(Nature::Copied) => None,
            Self::Table(Nature::LeftOut(by)) => Some(Instead::LeftOut(by.clone())),
            Self::NoTable(kind) => Some(Instead::NoTable(kind.clone())),
        }
    }

    /// From `TABLE_TYPE` and `ENGINE` of `information_schema.TABLES`.
    pub(super) fn new(kind: &str, engine: Option<&str>) -> Self {
        match kind {
            "BASE TABLE" => Self::Table(Nature::of(engine.unwrap_or_default())),
            "SYSTEM VERSIONED" => Self::Table(Nature::LeftOut(LeftOutBy::SystemVersioned)),
            other => Self::NoTable(other.to_ascii_lowercase()),
        }
    }
}

impl Nature {
    fn of(engine: &str) -> Self {
        LeftOutBy::engine(engine).map_or(Self::Copied, Self::LeftOut)
    }
}

impl LeftOutBy {
    /// Engine MERGE, of which no more is known.
    pub fn merge() -> Self {
        Self::Merge { members: None }
    }

    /// Why a table of this engine cannot be copied; `None`: it can.
    pub fn engine(engine: &str) -> Option<Self> {
        let is = |name: &str| engine.eq_ignore_ascii_case(name);
        if is("BLACKHOLE") {
            Some(Self::Blackhole)
        } else if is("MRG_MyISAM") || is("MERGE") {
            Some(Self::merge())
        } else {
            ELSEWHERE.into_iter().any(is).then(|| Self::Elsewhere { engine: engine.to_owned() })
        }
    }
}

/// What the catalogue has under this name; `None`: nothing that the account may see.
///
/// # Errors
/// The server's.
pub async fn relation(conn: &mut Conn, table: &TableName) -> Result<Option<Relation>, Failure> {
    let sql = format!(
        "SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&table.database),
        text_literal(&table.table)
    );
    let row: Option<(String, Option<String>)> =
        conn.query_first(sql).await.map_err(|error| query_failure(&format!("look up table \"{table}\""), error))?;
    Ok(row.map(|(kind, engine)| Relation::new(&kind, engine.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_whose_rows_the_binlog_does_not_have_are_told_from_those_that_are_copied() {
        let relation = |engine| Relation::new("BASE TABLE", Some(engine));
        for engine in ["InnoDB", "MyISAM", "Aria", "CSV", "ARCHIVE", "MEMORY", "ROCKSDB"] {
            assert_eq!(relation(engine), Relation::Table(Nature::Copied), "{engine}");
        }
        for (engine, by) in [
            ("BLACKHOLE", LeftOutBy::Blackhole),
            ("MRG_MYISAM", LeftOutBy::merge()),
            ("MRG_MyISAM", LeftOutBy::merge()),
            ("FEDERATED", LeftOutBy::Elsewhere { engine: "FEDERATED".into() }),
            ("CONNECT", LeftOutBy::Elsewhere { engine: "CONNECT".into() }),
        ] {
            assert_eq!(relation(engine), Relation::Table(Nature::LeftOut(by)), "{engine}");
        }
        // An engine that is not loaded has no name. Its table cannot be read, which is another state than left out by nature.
        assert_eq!(Relation::new("BASE TABLE", None), Relation::Table(Nature::Copied));
    }

    #[test]
    fn views_and_sequences_are_no_tables() {
        assert_eq!(Relation::new("VIEW", None), Relation::NoTable("view".into()));
        assert_eq!(Relation::new("SEQUENCE", Some("InnoDB")), Relation::NoTable("sequence".into()));
        let versioned = Relation::new("SYSTEM VERSIONED", Some("InnoDB"));
        assert_eq!(versioned, Relation::Table(Nature::LeftOut(LeftOutBy::SystemVersioned)));
    }
}
