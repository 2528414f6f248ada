//! Copying a mirror's rows into a table of a new shape, inside the round's transaction.
//!
//! Indexes and triggers that a user put on the table are made again; one that no longer fits stops the sink by name.
//! Softly deleted rows that have no place under a new key (a NULL in it, or the key of a live row) are left behind: the row
//! they remember cannot be told any more.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::layout::{Layout, quoted};
use super::reshape::{Origin, Reshape};

/// Name of the new table until it takes the old one's place.
const NEW: &str = "_replicator_rebuild";

/// Copies the rows of `old` into its new shape.
pub(super) fn rebuild(connection: &Connection, old: &Layout, new: &Layout, way: &Reshape) -> rusqlite::Result<()> {
    let extras = extras(connection, &old.target)?;
    connection.execute_batch(&new.create_statement(NEW))?;
    if !way.keys_lost {
        copy(connection, old, new, way)?;
    }
    connection.execute_batch(&format!("DROP TABLE {}", quoted(&old.target)))?;
    rename(connection, NEW, &new.target)?;
    for sql in extras {
        connection.execute_batch(&sql)?;
    }
    Ok(())
}

fn copy(connection: &Connection, old: &Layout, new: &Layout, way: &Reshape) -> rusqlite::Result<()> {
    let mut names = Vec::new();
    let mut values = Vec::new();
    let mut parameters: Vec<&Value> = Vec::new();
    for (column, origin) in new.columns.iter().zip(&way.origins) {
        names.push(quoted(&column.name));
        match origin {
            Origin::Kept { conversion, .. } => values.push(conversion.expression.clone()),
            Origin::Added { default } => {
                parameters.push(default);
                values.push(format!("?{}", parameters.len()));
            }
        }
    }
    let (mut verb, mut tail) = ("INSERT", String::new());
    if let (Some(old_soft), Some(new_soft)) = (&old.soft, &new.soft) {
        names.push(quoted(new_soft));
        values.push(quoted(old_soft));
        if !new.key.is_empty() {
            let nulls: Vec<_> = (new.key.iter())
                .filter_map(|place| values.get(*place))
                .map(|value| format!("{value} IS NOT NULL"))
                .collect();
            let soft = quoted(old_soft);
            // Live rows come last and take the place of deleted ones.
            verb = "INSERT OR REPLACE";
            tail = format!(" WHERE {soft} = 0 OR ({}) ORDER BY {soft} DESC", nulls.join(" AND "));
        }
    }
    let sql = format!(
        "{verb} INTO {} ({}) SELECT {} FROM {}{tail}",
        quoted(NEW),
        names.join(", "),
        values.join(", "),
        quoted(&old.target)
    );
    connection.execute(&sql, rusqlite::params_from_iter(parameters)).map(|_| ())
}

/// Statements that make a table's indexes and triggers; those SQLite makes itself have none.
fn extras(connection: &Connection, target: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT \"sql\" FROM \"sqlite_schema\"
         WHERE \"tbl_name\" = ?1 COLLATE NOCASE AND \"type\" IN ('index', 'trigger') AND \"sql\" IS NOT NULL",
    )?;
    let statements = statement.query_map([target], |row| row.get(0))?;
    statements.collect()
}

/// Gives the new table its name without a look at views: they name the table they always named, which is gone for a moment.
fn rename(connection: &Connection, from: &str, to: &str) -> rusqlite::Result<()> {
    connection.pragma_update(None, "legacy_alter_table", "ON")?;
    let renamed = connection.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(to)));
    connection.pragma_update(None, "legacy_alter_table", "OFF")?;
    renamed
}
