//! Views of users that are broken, because a table that they name is gone.
//!
//! `ALTER TABLE` looks at every view of the file, and refuses where one is broken, of whatever table it is. So broken views step aside: they are
//! dropped, and made again as they were when the table is altered. `CREATE VIEW` looks at no table.

use rusqlite::Connection;

use super::layout::quoted;

/// Alters a table, with the broken views out of the way if they hinder it.
pub(super) fn aside(
    connection: &Connection,
    alter: impl Fn(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    const POINT: &str = "_replicator_alter";
    connection.execute_batch(&format!("SAVEPOINT {POINT}"))?;
    let altered = alter(connection).or_else(|error| {
        if connection.is_autocommit() {
            return Err(error);
        }
        connection.execute_batch(&format!("ROLLBACK TO {POINT}"))?;
        let broken = broken(connection)?;
        if broken.is_empty() {
            return Err(error);
        }
        for view in &broken {
            connection.execute_batch(&format!("DROP VIEW {}", quoted(&view.name)))?;
        }
        alter(connection)?;
        broken.iter().flat_map(|view| &view.statements).try_for_each(|sql| connection.execute_batch(sql))
    });
    // The whole round is taken back, and the savepoint with it.
    if connection.is_autocommit() {
        return altered;
    }
    if altered.is_err() {
        connection.execute_batch(&format!("ROLLBACK TO {POINT}"))?;
    }
    connection.execute_batch(&format!("RELEASE {POINT}"))?;
    altered
}

/// A view, and the statements that make it and its triggers.
struct View {
    name: String,
    statements: Vec<String>,
}

/// The views that cannot be read.
fn broken(connection: &Connection) -> rusqlite::Result<Vec<View>> {
    let names: Vec<String> = connection
        .prepare("SELECT \"name\" FROM \"sqlite_schema\" WHERE \"type\" = 'view'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut broken = Vec::new();
    for name in names {
        if connection.prepare(&format!("SELECT * FROM {}", quoted(&name))).is_ok() {
            continue;
        }
        // The view before its triggers.
        let statements = connection
            .prepare(
                "SELECT \"sql\" FROM \"sqlite_schema\" WHERE (\"name\" = ?1 AND \"type\" = 'view') OR (\"tbl_name\" = ?1 AND \"type\" = 'trigger')
                 ORDER BY \"type\" DESC",
            )?
            .query_map([&name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        broken.push(View { name, statements });
    }
    Ok(broken)
}
