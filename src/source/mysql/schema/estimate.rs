//! How large the server thinks a table is. Estimates only: they size chunks and progress bars.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::failure::query_failure;
use super::nature::Relation;
use super::quote::text_literal;
use crate::error::Failure;
use crate::model::TableName;

/// The size of a table, as the server estimates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows.
    pub rows: u64,
    /// Bytes a row takes in the engine; 0: not known.
    pub row_bytes: u64,
}

/// Asks for the estimate of a table; all zero when it does not exist.
pub async fn estimate(conn: &mut Conn, table: &TableName) -> Result<Estimate, Failure> {
    let sql = format!(
        "SELECT COALESCE(TABLE_ROWS, 0), COALESCE(AVG_ROW_LENGTH, 0) FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&table.database),
        text_literal(&table.table)
    );
    let row: Option<(u64, u64)> =
        conn.query_first(sql).await.map_err(|error| query_failure(&format!("size table \"{table}\""), error))?;
    Ok(row.map_or_else(Estimate::default, |(rows, row_bytes)| Estimate { rows, row_bytes }))
}

/// What each of these tables of a database is, and how large; by the catalogue's names.
pub(super) async fn relations(
    conn: &mut Conn,
    database: &str,
    tables: &[&str],
) -> Result<Vec<(String, Relation, Estimate)>, Failure> {
    let listed: Vec<String> = tables.iter().map(|table| text_literal(table)).collect();
    let sql = format!(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, COALESCE(TABLE_ROWS, 0), COALESCE(AVG_ROW_LENGTH, 0) \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({})",
        text_literal(database),
        listed.join(", ")
    );
    let purpose = format!("look up the tables of \"{database}\"");
    let rows: Vec<(String, String, Option<String>, u64, u64)> =
        conn.query(sql).await.map_err(|error| query_failure(&purpose, error))?;
    let relation = |(name, kind, engine, rows, row_bytes): (String, String, Option<String>, u64, u64)| {
        (name, Relation::new(&kind, engine.as_deref()), Estimate { rows, row_bytes })
    };
    Ok(rows.into_iter().map(relation).collect())
}

/// Whether the table's engine reads by consistent views; every other engine needs a lock for that.
pub(in crate::source::mysql) async fn is_transactional(conn: &mut Conn, table: &TableName) -> Result<bool, Failure> {
    Ok(engine_is_transactional(conn, table).await?.unwrap_or(false))
}

/// Whether the table's engine has transactions; `None`: there is no such table.
pub(in crate::source::mysql) async fn engine_is_transactional(
    conn: &mut Conn,
    table: &TableName,
) -> Result<Option<bool>, Failure> {
    let sql = format!(
        "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&table.database),
        text_literal(&table.table)
    );
    let engine: Option<Option<String>> = conn
        .query_first(sql)
        .await
        .map_err(|error| query_failure(&format!("ask for the engine of table \"{table}\""), error))?;
    Ok(engine.map(|engine| {
        engine.is_some_and(|engine| ["InnoDB", "ROCKSDB"].iter().any(|name| engine.eq_ignore_ascii_case(name)))
    }))
}
