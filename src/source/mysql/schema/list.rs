//! Which tables are captured, and which names of the configuration capture none.
//!
//! A glob that matches nothing is no finding: tables that match it may come later. A name without a glob
//! ([`TableFilter::literals`]) means one table, so that an operator has to learn when it is not there: it is spelled otherwise, it is
//! a view, or the account may not read it.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::describe::describe_visible;
use super::existence::{Existence, existence};
use super::failure::query_failure;
use super::flavour::Flavour;
use super::nature::{Nature, Relation};
use super::quote::text_literal;
use crate::config::{TableFilter, is_of_the_server};
use crate::error::Failure;
use crate::model::{Names, TableName};

/// Databases that are asked for one by one. Asked for all, MariaDB opens every table there is, its own hundreds included; with more
/// databases than this, the round trips of a question each would add up.
const ONE_BY_ONE: usize = 20;

/// What the filter captures, as the account sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The base tables, in order of their names. Views and sequences are none.
    pub tables: Vec<Listed>,
    /// The literal names of `source.include` that are no base table, in the order of the configuration.
    pub unmatched: Vec<Unmatched>,
}

impl Listing {
    /// The tables that can be copied.
    pub fn copied(&self) -> impl Iterator<Item = &TableName> {
        self.tables.iter().filter(|listed| listed.nature == Nature::Copied).map(|listed| &listed.table)
    }
}

/// A base table that the filter captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub table: TableName,
    /// Whether it can be copied.
    pub nature: Nature,
}

/// A literal name of `source.include` that is no base table which the account sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The name as the configuration spells it.
    pub table: TableName,
    /// What is known about it.
    pub why: Why,
}

/// Why a literal name matches no base table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The account may not read it. MySQL answers the same where it does not exist.
    Denied {
        /// The statement that grants what is missing.
        grant: String,
    },
    /// There is none of that name.
    NoSuchTable,
    /// There is none of that name, but one that differs in upper and lower case alone.
    OtherCase(TableName),
    /// It is no base table: the word for what it is, such as "view".
    NoTable(String),
    /// It is in a database of the server's own, which is never captured.
    OfTheServer,
}

impl Unmatched {
    /// What was found, as a sentence without its full stop.
    pub fn reason(&self) -> String {
        let table = &self.table;
        match &self.why {
            Why::Denied { .. } => format!("the account may not read table \"{table}\", or there is no such table"),
            Why::NoSuchTable => format!("there is no table \"{table}\""),
            Why::OtherCase(other) => format!("there is no table \"{table}\", but one that is spelled \"{other}\""),
            Why::NoTable(kind) => format!("\"{table}\" is a {kind}, and only tables are copied"),
            Why::OfTheServer => format!("table \"{table}\" is the server's own, which is never copied"),
        }
    }

    /// What an operator can do about it.
    pub fn remedy(&self) -> String {
        match &self.why {
            Why::Denied { grant } => grant.clone(),
            Why::NoSuchTable => format!("correct \"{}\" in source.include, or create the table", self.table),
            Why::OtherCase(other) => format!("write \"{other}\" in source.include"),
            Why::NoTable(_) | Why::OfTheServer => format!("take \"{}\" out of source.include", self.table),
        }
    }
}

/// Lists the captured tables.
///
/// # Errors
/// The server's.
pub async fn list(conn: &mut Conn, filter: &TableFilter) -> Result<Listing, Failure> {
    let names = filter.names();
    let visible = visible(conn, names).await?;
    let mut listing = Listing::default();
    for (table, relation) in &visible {
        if let Relation::Table(nature) = relation
            && filter.captures(&table.database, &table.table)
        {
            listing.tables.push(Listed { table: table.clone(), nature: nature.clone() });
        }
    }
    listing.tables.sort_by(|a, b| a.table.cmp(&b.table));
    leave_out_by_columns(conn, &mut listing.tables).await?;
    for literal in filter.literals() {
        if let Some(why) = unmatched(conn, &names.table(literal.clone()), &visible).await? {
            listing.unmatched.push(Unmatched { table: literal.clone(), why });
        }
    }
    Ok(listing)
}

/// Everything that the account sees outside the server's own databases, by the names that it is known by.
pub(super) async fn visible(conn: &mut Conn, names: Names) -> Result<Vec<(TableName, Relation)>, Failure> {
    let purpose = "list the tables of the source";
    // Not SHOW DATABASES, which some servers allow to few.
    let all = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA";
    let databases: Vec<String> = conn.query(all).await.map_err(|error| query_failure(purpose, error))?;
    let databases: Vec<String> = databases.into_iter().filter(|database| !is_of_the_server(database)).collect();
    let base = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES";
    let mut rows: Vec<(String, String, String, Option<String>)> = Vec::new();
    if databases.len() <= ONE_BY_ONE {
        for database in &databases {
            let sql = format!("{base} WHERE TABLE_SCHEMA = ?");
            let listed = conn.exec(sql, (database,)).await.map_err(|error| query_failure(purpose, error))?;
            let listed: Vec<(String, String, String, Option<String>)> = listed;
            // The server's comparison may take `Shop` for `shop`, which is asked for by itself.
            rows.extend(listed.into_iter().filter(|(of, ..)| names.same(of, database)));
        }
    } else {
        rows = conn.query(base).await.map_err(|error| query_failure(purpose, error))?;
        rows.retain(|(database, ..)| !is_of_the_server(database));
    }
    let named = |(database, table, kind, engine): (String, String, String, Option<String>)| {
        (names.table(TableName::new(database, table)), Relation::new(&kind, engine.as_deref()))
    };
    Ok(rows.into_iter().map(named).collect())
}

/// Finds the tables that cannot be copied because of a column. Every type of MySQL is read, so that only MariaDB is asked.
async fn leave_out_by_columns(conn: &mut Conn, tables: &mut [Listed]) -> Result<(), Failure> {
    let purpose = "list the columns of the source's tables";
    let version: Option<String> =
        conn.query_first("SELECT VERSION()").await.map_err(|error| query_failure(purpose, error))?;
    if !version.is_some_and(|version| version.to_ascii_lowercase().contains("mariadb")) {
        return Ok(());
    }
    let mut databases: Vec<&str> = tables.iter().map(|listed| listed.table.database.as_str()).collect();
    databases.dedup();
    let mut suspects: Vec<TableName> = Vec::new();
    for database in databases {
        // More than those that are meant: a label may read like an attribute.
        let sql = format!(
            "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND \
             (COLUMN_TYPE LIKE '%COMPRESSED%' OR COLUMN_TYPE LIKE '%mariadb-5.3%' OR COLUMN_NAME LIKE 'DB\\_ROW\\_HASH\\_%' \
             OR CHARACTER_SET_NAME IS NULL AND LOWER(DATA_TYPE) NOT IN ({READ_WITHOUT_CHARSET}))",
            text_literal(database)
        );
        let rows: Vec<(String, String)> = conn.query(sql).await.map_err(|error| query_failure(purpose, error))?;
        suspects.extend(rows.into_iter().map(|(database, table)| TableName::new(database, table)));
    }
    for table in suspects {
        let Ok(place) = tables.binary_search_by(|listed| listed.table.cmp(&table)) else { continue };
        let Some(listed) = tables.get_mut(place).filter(|listed| listed.nature == Nature::Copied) else { continue };
        if let Some(described) = describe_visible(conn, Flavour::MariaDb, &table).await? {
            listed.nature = described.nature;
        }
    }
    Ok(())
}

/// Types without a character set that are read; all with one are, but for those that are COMPRESSED.
const READ_WITHOUT_CHARSET: &str = "'tinyint','smallint','mediumint','int','bigint','float','double','decimal','year','date',\
    'time','datetime','timestamp','bit','binary','varbinary','tinyblob','blob','mediumblob','longblob','geometry','point',\
    'linestring','polygon','multipoint','multilinestring','multipolygon','geometrycollection','uuid','inet6','inet4'";

/// Why a literal name is no base table; `None`: it is one.
async fn unmatched(
    conn: &mut Conn,
    literal: &TableName,
    visible: &[(TableName, Relation)],
) -> Result<Option<Why>, Failure> {
    if is_of_the_server(&literal.database) {
        return Ok(Some(Why::OfTheServer));
    }
    // A name with more than one dot may be divided at another of them.
    let text = literal.to_string();
    let same = || visible.iter().filter(|(table, _)| table.to_string() == text).map(|(_, relation)| relation);
    if same().any(|relation| matches!(relation, Relation::Table(_))) {
        return Ok(None);
    }
    if let Some(Relation::NoTable(kind)) = same().next() {
        return Ok(Some(Why::NoTable(kind.clone())));
    }
    let folded = text.to_lowercase();
    let other = visible.iter().find(|(table, _)| table.to_string().to_lowercase() == folded);
    if let Some((table, relation)) = other {
        return Ok(Some(match relation {
            Relation::Table(_) => Why::OtherCase(table.clone()),
            Relation::NoTable(kind) => Why::NoTable(kind.clone()),
        }));
    }
    Ok(match existence(conn, literal).await? {
        Existence::Denied { grant } => Some(Why::Denied { grant }),
        Existence::NoSuchTable => Some(Why::NoSuchTable),
        // It came since the list was made: the stream says so, too.
        Existence::Exists | Existence::Broken { .. } => None,
    })
}
