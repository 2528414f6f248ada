//! What stands under a name of the catalogue: a table that is copied, a table that cannot be copied by its nature, or no table.
//!
//! A table is copied when the binlog has every change of its rows. Three kinds of tables are not:
//! - A BLACKHOLE table holds no rows; the binlog has what was written to it all the same.
//! - The rows of a MERGE table are those of other tables, and those of FEDERATED, CONNECT and such engines are elsewhere: in other
//!   tables, in files, at other servers. The binlog has what was written through the table, and not what was written there.
//! - A system-versioned table keeps its old rows under hidden columns, and the binlog has them as rows like any other.
//!
//! A table is not copied either while it has a column whose bytes this version does not read, or one whose name the server gives to
//! columns of its own, so that nobody can tell which of them a row has.

use std::fmt;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::failure::query_failure;
use super::flavour::Flavour;
use super::hidden::looks_hidden;
use super::quote::text_literal;
use crate::codec::row_image::{Plan, PlanError};
use crate::error::Failure;
use crate::model::{ColumnType, TableName, TableSchema};

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
    /// A column, which another definition of the table may not have.
    Column {
        /// Its name.
        column: String,
        /// What is wrong with it: a sentence whose subject is the column.
        is: String,
        /// What makes the table one that is copied.
        remedy: String,
    },
}

impl fmt::Display for LeftOutBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blackhole => f.write_str("its engine is BLACKHOLE, which holds no rows; it is read after ALTER TABLE .. ENGINE = InnoDB"),
            Self::Merge { .. } => f.write_str(
                "its engine is MERGE: its rows are in other tables, which are copied where they are captured; \
                 it is read after ALTER TABLE .. ENGINE = InnoDB",
            ),
            Self::Elsewhere { engine } => {
                write!(f, "its engine is {engine}: its rows are elsewhere, and the binlog does not have their changes")
            }
            Self::SystemVersioned => {
                f.write_str("it is system-versioned, which is not supported; it is read after ALTER TABLE .. DROP SYSTEM VERSIONING")
            }
            Self::Column { column, is, remedy } => write!(f, "its column \"{column}\" {is}; it is read after {remedy}"),
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

    /// Why a table with these columns cannot be copied; `None`: it can, as far as they go.
    ///
    /// Of a schema that the catalogue describes: a `TABLE_MAP` has the server's own columns too.
    pub fn described_columns(schema: &TableSchema, flavour: Flavour) -> Option<Self> {
        let own_name = || schema.columns.last().filter(|last| flavour == Flavour::MariaDb && looks_hidden(last));
        Self::columns(schema).or_else(|| own_name().map(|column| Self::name_of_the_server(&column.name)))
    }

    /// Why rows of this schema cannot be read; `None`: they can.
    pub fn columns(schema: &TableSchema) -> Option<Self> {
        if let Some((column, _)) = schema.first_unsupported() {
            return Some(Self::unsupported_column(&column.name, &column.ty));
        }
        let error = Plan::all(schema).err()?;
        let (column, is) = match error {
            PlanError::Charset { column, charset } => return Some(Self::unsupported_charset(column, &charset)),
            PlanError::Shape { column, problem } => (column, format!("has an impossible type ({problem})")),
            PlanError::Unsupported { column, type_name } => {
                (column, format!("has the type {type_name}, which is not supported"))
            }
            PlanError::Columns { .. } | PlanError::Wanted { .. } => {
                (String::new(), format!("is one of too few or too many ({error})"))
            }
        };
        Some(Self::Column { column, is, remedy: OTHER_TYPE.to_owned() })
    }

    /// A column of a character set that nobody here knows.
    pub(in crate::source::mysql) fn unsupported_charset(column: String, charset: &str) -> Self {
        let is = format!("has the character set {charset}, which is not supported");
        Self::Column { column, is, remedy: OTHER_TYPE.to_owned() }
    }

    /// A column of a collation that the server does not list: it was of another version when it wrote the rows.
    pub(in crate::source::mysql) fn unknown_collation(column: String, id: u64) -> Self {
        let is = format!("has the collation {id}, which the server does not list");
        Self::Column { column, is, remedy: OTHER_TYPE.to_owned() }
    }

    /// A column of a type that is not read.
    pub(in crate::source::mysql) fn unsupported_column(column: &str, ty: &ColumnType) -> Self {
        let (code, name) = match ty {
            ColumnType::Unsupported { code, name } => (*code, name.clone()),
            other => (0, format!("{other:?}")),
        };
        let (is, remedy) = match code {
            BLOB_COMPRESSED | VARCHAR_COMPRESSED => (
                "is COMPRESSED, which is not supported".to_owned(),
                format!("ALTER TABLE .. MODIFY {column} .. without COMPRESSED"),
            ),
            OLD_TIMESTAMP | OLD_TIME | OLD_DATETIME => (
                format!("is a {name}, which is not supported"),
                "ALTER TABLE .. FORCE, while mysql56_temporal_format is ON".to_owned(),
            ),
            _ => (format!("has the type {name}, which is not supported"), OTHER_TYPE.to_owned()),
        };
        Self::Column { column: column.to_owned(), is, remedy }
    }

    fn name_of_the_server(column: &str) -> Self {
        Self::Column {
            column: column.to_owned(),
            is: "has a name that the server gives to columns of its own, which stand in the binlog like it".to_owned(),
            remedy: format!("ALTER TABLE .. RENAME COLUMN {column} TO .."),
        }
    }
}

/// What the protocol calls types of which the catalogue has another word, or that are not read (`enum_field_types`).
pub(in crate::source::mysql) const OLD_TIMESTAMP: u8 = 7;
pub(in crate::source::mysql) const OLD_TIME: u8 = 11;
pub(in crate::source::mysql) const OLD_DATETIME: u8 = 12;
/// MariaDB: `TEXT` and `BLOB` with the `COMPRESSED` attribute.
pub(in crate::source::mysql) const BLOB_COMPRESSED: u8 = 140;
/// MariaDB: `VARCHAR` and `VARBINARY` with the `COMPRESSED` attribute.
pub(in crate::source::mysql) const VARCHAR_COMPRESSED: u8 = 141;

const OTHER_TYPE: &str = "a change of the column's type";

/// A type that is not read. Both the binlog and the catalogue come here, so that they say the same of it.
pub(in crate::source::mysql) fn unsupported(code: u8) -> ColumnType {
    let name = match code {
        0 => "DECIMAL in the format of MySQL 4".to_owned(),
        6 => "NULL".to_owned(),
        OLD_TIMESTAMP => "TIMESTAMP in the format of before MySQL 5.6".to_owned(),
        OLD_TIME => "TIME in the format of before MySQL 5.6".to_owned(),
        OLD_DATETIME => "DATETIME in the format of before MySQL 5.6".to_owned(),
        BLOB_COMPRESSED => "BLOB COMPRESSED".to_owned(),
        VARCHAR_COMPRESSED => "VARCHAR COMPRESSED".to_owned(),
        other => format!("code {other}"),
    };
    ColumnType::Unsupported { code, name }
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
