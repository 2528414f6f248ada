//! Values as the SQLite sink must hold them, and rows of them from either side.
//!
//! This is a second statement of the type table in docs/sqlite.md, by other means than the product's: the server itself
//! prints every value (text protocol, session in UTC, utf8mb4), and this file only says which storage class it has.

use std::fmt::{self, Write as _};
use std::path::Path;

use mysql_async::Value;
use mysql_async::prelude::Queryable;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::server::Server;

/// One value, by SQLite's storage classes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    Null,
    Integer(i64),
    /// The bits of an `f64`; both zeros are the positive one, because SQLite keeps no negative zero in a REAL column.
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    pub fn real(value: f64) -> Self {
        Cell::Real(if value == 0.0 { 0 } else { value.to_bits() })
    }

    pub fn text(value: &str) -> Self {
        Cell::Text(value.as_bytes().to_vec())
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("NULL"),
            Cell::Integer(value) => write!(f, "{value}"),
            Cell::Real(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Cell::Text(bytes) => write!(f, "{:?}", shorten(&String::from_utf8_lossy(bytes))),
            Cell::Blob(bytes) => {
                let mut hex = String::with_capacity(2 * bytes.len());
                for byte in bytes {
                    write!(hex, "{byte:02x}")?;
                }
                write!(f, "x'{}'", shorten(&hex))
            }
        }
    }
}

/// The start of a long value: a difference must fit a screen.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    let start: String = text.chars().take(80).collect();
    format!("{start}... ({} bytes)", text.len())
}

/// A table's content. The key's columns come first; `key` says how many they are (0: no key).
pub struct Content {
    pub columns: Vec<String>,
    pub key: usize,
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a source table, and how its values become cells.
struct SourceColumn {
    name: String,
    expression: String,
    rule: Rule,
}

#[derive(Clone, Copy)]
enum Rule {
    /// Digits: INTEGER, or TEXT above `i64::MAX`.
    Integer,
    /// A number with every digit that it needs.
    Real,
    /// As the server prints it.
    Text,
    /// As the server sends it.
    Blob,
}

/// How values of a type are asked for and what they become. `None`: the type has no place in SQLite.
fn rule(data_type: &str, quoted: &str) -> Option<(String, Rule)> {
    let plain = quoted.to_owned();
    Some(match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => (plain, Rule::Integer),
        "bit" => (format!("CAST({quoted} AS UNSIGNED)"), Rule::Integer),
        // A FLOAT prints six digits; the DOUBLE of the same value prints as many as it takes.
        "float" | "double" => (format!("CAST({quoted} AS DOUBLE)"), Rule::Real),
        "decimal" | "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "date" | "time"
        | "datetime" | "timestamp" | "enum" | "set" | "json" | "uuid" | "inet6" | "inet4" => (plain, Rule::Text),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" | "geometry" | "point"
        | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
        | "geomcollection" => (plain, Rule::Blob),
        _ => return None,
    })
}

fn cell(rule: Rule, value: Value) -> Cell {
    let bytes = match value {
        Value::NULL => return Cell::Null,
        Value::Bytes(bytes) => bytes,
        other => panic!("the text protocol sent {other:?}"),
    };
    let text = || std::str::from_utf8(&bytes).expect("a number in ASCII");
    match rule {
        Rule::Integer => text().parse().map_or_else(|_| Cell::Text(bytes.clone()), Cell::Integer),
        Rule::Real => Cell::real(text().parse().expect("a number")),
        Rule::Text => Cell::Text(bytes),
        Rule::Blob => Cell::Blob(bytes),
    }
}

/// The base tables of a database, sorted.
pub async fn source_tables(server: &Server, database: &str) -> Vec<String> {
    let mut tables: Vec<String> = server
        .query(format!(
            "SELECT table_name FROM information_schema.tables
             WHERE table_schema = '{database}' AND table_type = 'BASE TABLE'"
        ))
        .await;
    tables.sort();
    tables
}

/// Every row of a source table, less the columns in `dropped`.
pub async fn source_rows(server: &Server, database: &str, table: &str, dropped: &[String]) -> Content {
    let key: Vec<String> = server
        .query(format!(
            "SELECT column_name FROM information_schema.statistics
             WHERE table_schema = '{database}' AND table_name = '{table}' AND index_name = 'PRIMARY' ORDER BY seq_in_index"
        ))
        .await;
    let mut described: Vec<(String, String)> = server
        .query(format!(
            "SELECT column_name, data_type FROM information_schema.columns
             WHERE table_schema = '{database}' AND table_name = '{table}' ORDER BY ordinal_position"
        ))
        .await;
    assert!(!described.is_empty(), "{database}.{table} has no columns");
    described.retain(|(name, _)| !dropped.contains(name));
    described.sort_by_key(|(name, _)| key.iter().position(|part| part == name).unwrap_or(key.len()));

    let columns: Vec<SourceColumn> = described
        .into_iter()
        .map(|(name, data_type)| {
            let (expression, rule) = rule(&data_type, &format!("`{}`", name.replace('`', "``")))
                .unwrap_or_else(|| panic!("{database}.{table}.{name}: no rule for the type '{data_type}'"));
            SourceColumn { name, expression, rule }
        })
        .collect();
    let list = columns.iter().map(|column| column.expression.as_str()).collect::<Vec<_>>().join(", ");

    let mut connection = server.connect().await;
    connection.query_drop("SET time_zone = '+00:00'").await.unwrap();
    let mut result = connection.query_iter(format!("SELECT {list} FROM `{database}`.`{table}`")).await.unwrap();
    let mut rows = Vec::new();
    while let Some(row) = result.next().await.unwrap() {
        let values = row.unwrap();
        rows.push(values.into_iter().zip(&columns).map(|(value, column)| cell(column.rule, value)).collect());
    }
    drop(result);
    connection.disconnect().await.unwrap();
    Content { columns: columns.into_iter().map(|column| column.name).collect(), key: key.len(), rows }
}

/// Opens the sink's file as any other reader would.
pub fn open_sqlite(path: &Path) -> Connection {
    // Read-write, because after a kill the first reader has to recover SQLite's own log; never creating a file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

/// The tables of the sink that are not its own bookkeeping, sorted.
pub fn sqlite_tables(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table'
             AND (name NOT LIKE '\\_replicator\\_%' ESCAPE '\\' OR name LIKE '\\_replicator\\_new\\_%' ESCAPE '\\') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )
        .unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

/// The columns of a sink's table in its order.
pub fn sqlite_columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid").unwrap();
    let names = statement.query_map([table], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

/// The given columns of every row of a sink's table for which `condition` holds.
pub fn sqlite_rows(connection: &Connection, table: &str, columns: &[String], condition: &str) -> Vec<Vec<Cell>> {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let list = columns.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {list} FROM {} WHERE {condition}", quote(table));
    let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut found = statement.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let cells = (0..columns.len()).map(|column| match row.get_ref(column).unwrap() {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Real(value) => Cell::real(value),
            ValueRef::Text(bytes) => Cell::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
        });
        rows.push(cells.collect());
    }
    rows
}
