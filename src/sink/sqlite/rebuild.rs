//! Copying a mirror's rows into a table of a new shape, inside the round's transaction.
//!
//! Columns that the sink does not write are copied too: those that a user added, and those that `ddl` left there. Indexes and triggers that a user
//! put on the table are made again; one that no longer fits stops the table by name.
//! Softly deleted rows that have no place under a new key (a NULL in it, or the key of a live row) are left out: the row they remember cannot
//! be told any more.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::layout::quoted;
use super::retype::{conversion, near};
use super::types::Storage;
use crate::model::Kept;
use crate::sink::definitions::Rebuild;
use crate::sink::reshape::Origin;

/// Name of the new table until it takes the old one's place.
const NEW: &str = "_replicator_rebuild";

/// Copies the rows of a table into its new shape. `defaults` are what older rows hold in each column of the schema if it is new.
pub(super) fn rebuild(
    connection: &Connection,
    rebuild: &Rebuild<'_, Storage>,
    defaults: &[Value],
    sink: &str,
) -> rusqlite::Result<()> {
    let (old, new) = (&rebuild.old.layout, rebuild.layout);
    let extras = extras(connection, &old.target)?;
    connection.execute_batch(&new.create_statement(NEW, sink))?;
    for left in &rebuild.left {
        let (table, name) = (quoted(NEW), quoted(&left.new_name));
        connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {name} {}", left.definition))?;
    }
    if rebuild.is_filled {
        copy(connection, rebuild, defaults)?;
    }
    connection.execute_batch(&format!("DROP TABLE {}", quoted(&old.target)))?;
    rename(connection, NEW, &new.target)?;
    for sql in extras {
        connection.execute_batch(&sql)?;
    }
    Ok(())
}

/// The columns of a table that are not generated.
pub(super) fn columns(connection: &Connection, target: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement =
        connection.prepare("SELECT \"name\", \"type\", \"dflt_value\" FROM pragma_table_info(?1) ORDER BY \"cid\"")?;
    let columns = statement.query_map([target], |row| {
        let (name, ty): (String, String) = (row.get(0)?, row.get(1)?);
        let default = row.get::<_, Option<String>>(2)?.map_or(String::new(), |default| format!(" DEFAULT ({default})"));
        Ok((name, format!("{ty}{default}")))
    })?;
    columns.collect()
}

fn copy(connection: &Connection, rebuild: &Rebuild<'_, Storage>, defaults: &[Value]) -> rusqlite::Result<()> {
    let (old, new) = (&rebuild.old.layout, rebuild.layout);
    let mut names = Vec::new();
    let mut values = Vec::new();
    let mut parameters: Vec<&Value> = Vec::new();
    for (column, origin) in new.columns.iter().zip(rebuild.origins) {
        names.push(quoted(&column.name));
        match origin {
            Origin::Kept { place, kept } => values.push(converted(rebuild, *place, column.ty, *kept)),
            Origin::Added => {
                parameters.push(defaults.get(column.source).unwrap_or(&Value::Null));
                values.push(format!("?{}", parameters.len()));
            }
        }
    }
    for left in &rebuild.left {
        names.push(quoted(&left.new_name));
        values.push(quoted(&left.name));
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

/// The old column at `place` as a column of `ty` holds its values. Those that a read brings are not copied, but for rows that no read brings:
/// softly deleted ones.
fn converted(rebuild: &Rebuild<'_, Storage>, place: usize, ty: Storage, kept: Kept) -> String {
    let Some(before) = rebuild.old.layout.columns.get(place) else { return "NULL".to_owned() };
    match conversion(&before.name, kept) {
        Some(how) => how.expression,
        None if rebuild.layout.soft.is_some() => near(&before.name, before.ty, ty),
        None => "NULL".to_owned(),
    }
}

/// Statements that make a table's indexes and triggers; those SQLite makes itself have none.
pub(super) fn extras(connection: &Connection, target: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT \"sql\" FROM \"sqlite_schema\"
         WHERE \"tbl_name\" = ?1 COLLATE NOCASE AND \"type\" IN ('index', 'trigger') AND \"sql\" IS NOT NULL",
    )?;
    let statements = statement.query_map([target], |row| row.get(0))?;
    statements.collect()
}

/// Gives a table its name without a look at views: they name the table they always named, which is gone for a moment, and one that is broken
/// hinders nothing.
pub(super) fn rename(connection: &Connection, from: &str, to: &str) -> rusqlite::Result<()> {
    connection.pragma_update(None, "legacy_alter_table", "ON")?;
    let renamed = connection.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(to)));
    connection.pragma_update(None, "legacy_alter_table", "OFF")?;
    renamed
}
