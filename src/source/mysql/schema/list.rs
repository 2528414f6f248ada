//! Which tables are captured.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::failure::query_failure;
use crate::config::TableFilter;
use crate::error::Failure;
use crate::model::TableName;

/// The base tables that the filter captures, in order of their names. Views, sequences and temporary tables are none.
///
/// # Errors
/// The server's, and one that names a captured system-versioned table: its history rows stand in the stream under hidden
/// columns, and this version does not tell them from current ones.
pub async fn list_tables(conn: &mut Conn, filter: &TableFilter) -> Result<Vec<TableName>, Failure> {
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES \
               WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_SCHEMA, TABLE_NAME";
    let rows: Vec<(String, String, String)> =
        conn.query(sql).await.map_err(|error| query_failure("list the tables of the source", error))?;
    let mut tables = Vec::new();
    for (database, table, kind) in rows {
        if !filter.captures(&database, &table) {
            continue;
        }
        let name = TableName::new(database, table);
        if kind == "SYSTEM VERSIONED" {
            return Err(Failure::fatal(format!("table \"{name}\" is system-versioned, which is not supported"))
                .hint("name it in source.exclude"));
        }
        tables.push(name);
    }
    tables.sort();
    Ok(tables)
}
