//! Which tables are captured.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::failure::query_failure;
use crate::config::{TableFilter, is_of_the_server};
use crate::error::Failure;
use crate::model::TableName;

/// Databases that are asked for one by one. Asked for all, MariaDB opens every table there is, its own hundreds included; with more
/// databases than this, the round trips of a question each would add up.
const ONE_BY_ONE: usize = 20;

/// The base tables that the filter captures, in order of their names. Views, sequences and temporary tables are none.
///
/// # Errors
/// The server's, and one that names a captured system-versioned table: its history rows stand in the stream under hidden
/// columns, and this version does not tell them from current ones.
pub async fn list_tables(conn: &mut Conn, filter: &TableFilter) -> Result<Vec<TableName>, Failure> {
    let purpose = "list the tables of the source";
    // Not SHOW DATABASES, which some servers allow to few.
    let all = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA";
    let databases: Vec<String> = conn.query(all).await.map_err(|error| query_failure(purpose, error))?;
    let databases: Vec<String> = databases.into_iter().filter(|database| !is_of_the_server(database)).collect();
    let base = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES \
                WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')";
    let mut rows: Vec<(String, String, String)> = Vec::new();
    if databases.len() <= ONE_BY_ONE {
        for database in &databases {
            let sql = format!("{base} AND TABLE_SCHEMA = ?");
            let listed = conn.exec(sql, (database,)).await.map_err(|error| query_failure(purpose, error))?;
            let listed: Vec<(String, String, String)> = listed;
            // The server's comparison may take `Shop` for `shop`, which is asked for by itself.
            rows.extend(listed.into_iter().filter(|(of, ..)| of == database));
        }
    } else {
        rows = conn.query(base).await.map_err(|error| query_failure(purpose, error))?;
    }
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
