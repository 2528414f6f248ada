//! Copying a mirror's rows into a table of a new shape, inside the round's transaction.
//!
//! Columns that the sink does not write are copied too: those that a user added, and those that `ddl` left there. Indexes and triggers that a user
//! put on the table are made again; one that no longer fits stops the table by name.
//! Softly deleted rows that have no place under a new key (a NULL in it, or the key of a live row) are left out: the row they remember cannot
//! be told any more.

use rusqlite::Connection;
use rusqlite::types::Value;
use wal::Lsn;

use super::layout::{quoted, same_name};
use super::retype::{conversion, near};
use super::types::Storage;
use crate::config::DdlAction;
use crate::model::Kept;
use crate::sink::definitions::Rebuild;
use crate::sink::layout::until;
use crate::sink::reshape::Origin;

/// Name of the new table until it takes the old one's place.
const NEW: &str = "_replicator_rebuild";

/// Copies the rows of a table into its new shape. `defaults` are what older rows hold in each column of the schema if it is new; `drop` says
/// what becomes of columns that the source has dropped.
pub(super) fn rebuild(
    connection: &Connection,
    lsn: Lsn,
    rebuild: &Rebuild<'_, Storage>,
    defaults: &[Value],
    (sink, drop): (&str, DdlAction),
) -> rusqlite::Result<()> {
    let (old, new) = (&rebuild.old.layout, rebuild.layout);
    let extras = extras(connection, &old.target)?;
    let left = left_columns(connection, lsn, rebuild, drop)?;
    connection.execute_batch(&new.create_statement(NEW, sink))?;
    for left in &left {
        connection.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {}", quoted(NEW), left.definition))?;
    }
    if rebuild.is_filled {
        copy(connection, rebuild, defaults, &left)?;
    }
    connection.execute_batch(&format!("DROP TABLE {}", quoted(&old.target)))?;
    rename(connection, NEW, &new.target)?;
    for sql in extras {
        connection.execute_batch(&sql)?;
    }
    Ok(())
}

/// A column of the target alone.
struct LeftColumn {
    name: String,
    /// From here on, because a column that is written may have its name.
    new_name: String,
    definition: String,
}

/// Columns that are written neither from here on nor dropped.
fn left_columns(
    connection: &Connection,
    lsn: Lsn,
    Rebuild { old, layout, origins, .. }: &Rebuild<'_, Storage>,
    drop: DdlAction,
) -> rusqlite::Result<Vec<LeftColumn>> {
    let is_kept = |at: usize| origins.iter().any(|origin| matches!(origin, Origin::Kept { place, .. } if *place == at));
    let mut gone: Vec<&str> = old.layout.soft.as_deref().into_iter().collect();
    for (place, column) in old.layout.columns.iter().enumerate() {
        if is_kept(place) || drop != DdlAction::Ignore {
            gone.push(&column.name);
        }
    }
    let written = layout.column_names();
    let mut statement =
        connection.prepare("SELECT \"name\", \"type\", \"dflt_value\" FROM pragma_table_info(?1) ORDER BY \"cid\"")?;
    let mut rows = statement.query([&old.layout.target])?;
    let mut left = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, ty): (String, String) = (row.get(0)?, row.get(1)?);
        if gone.iter().any(|gone| same_name(gone, &name)) {
            continue;
        }
        let is_written = written.iter().any(|written| same_name(written, &name));
        let new_name = if is_written { until(&name, lsn) } else { name.clone() };
        let default = row.get::<_, Option<String>>(2)?.map_or(String::new(), |default| format!(" DEFAULT ({default})"));
        left.push(LeftColumn { definition: format!("{} {ty}{default}", quoted(&new_name)), name, new_name });
    }
    Ok(left)
}

fn copy(
    connection: &Connection,
    rebuild: &Rebuild<'_, Storage>,
    defaults: &[Value],
    left: &[LeftColumn],
) -> rusqlite::Result<()> {
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
    for left in left {
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
fn extras(connection: &Connection, target: &str) -> rusqlite::Result<Vec<String>> {
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
