//! The sink's own tables in the file, beside those that it keeps: what it knows of each, and which are stopped.
//!
//! | table `_replicator_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the primary key |
//! | `target` | name of the target table |
//! | `options` | the options it was made under, JSON |
//! | `columns` | the columns that are written, JSON: (source, target, storage) |
//! | `source_schema` | the source's schema as last applied, JSON |
//! | `old` | the copy that readers see while this one is built beside it, JSON; empty if there is none |
//!
//! | table `_replicator_stopped_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the primary key |
//! | `since_lsn`, `reason` | its changes from here on are left out, and why |
//! | `is_dropped` | 1 while the source does not have the table any more |
//! | `options` | what the configuration said of the table when it stopped, JSON |
//!
//! They are written in the transaction of the rows. What the lines mean is [`crate::sink::registry`]'s to say.

use rusqlite::{Connection, OptionalExtension as _, params};
use wal::Lsn;

use super::layout::same_name;
use super::types::Storage;
use crate::config::Mode;
use crate::model::TableName;
use crate::sink::StoppedTable;
use crate::sink::definitions::Stop;
use crate::sink::registry::{self, Line, StoredOptions};
use crate::sink::stops::Stops;

/// A target table as the sink last left it.
pub(super) type Table = registry::Table<Storage>;

/// The tables of one sink.
pub(super) type Tables = registry::Tables<Storage>;

/// Creates the tables if there are none.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    const KEY: &str = "\"sink\" TEXT NOT NULL, \"source_database\" TEXT NOT NULL, \"source_table\" TEXT NOT NULL";
    const TAIL: &str = "PRIMARY KEY (\"sink\", \"source_database\", \"source_table\")) STRICT, WITHOUT ROWID";
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS \"_replicator_tables\" ({KEY}, \"target\" TEXT NOT NULL, \"options\" TEXT NOT NULL,
           \"columns\" TEXT NOT NULL, \"source_schema\" TEXT NOT NULL, \"old\" TEXT NOT NULL, {TAIL};
         CREATE TABLE IF NOT EXISTS \"_replicator_stopped_tables\" ({KEY}, \"since_lsn\" INTEGER NOT NULL, \"reason\" TEXT NOT NULL,
           \"is_dropped\" INTEGER NOT NULL, \"options\" TEXT NOT NULL, {TAIL}"
    ))
}

/// Whether the table of tables is there.
pub(super) fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    connection.table_exists(None, "_replicator_tables")
}

/// Whether the sink has a table.
pub(super) fn has_any(connection: &Connection, sink: &str) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT EXISTS (SELECT 1 FROM \"_replicator_tables\" WHERE \"sink\" = ?1)", [sink], |row| row.get(0))
}

/// Makes the stops older than everything of a log that takes the file over: its LSNs are others.
pub(super) fn date_back_stops(connection: &Connection, sink: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE \"_replicator_stopped_tables\" SET \"since_lsn\" = 0 WHERE \"sink\" = ?1";
    connection.execute(sql, [sink]).map(|_| ())
}

/// Writes a table's line.
pub(super) fn save(connection: &Connection, sink: &str, table: &Table) -> rusqlite::Result<()> {
    let Line { target, options, columns, source_schema, old } = table.line().map_err(unwritable)?;
    let name = &table.schema.name;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO \"_replicator_tables\"
           (\"sink\", \"source_database\", \"source_table\", \"target\", \"options\", \"columns\", \"source_schema\", \"old\")
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let line = params![sink, name.database, name.table, target, options, columns, source_schema, old];
    statement.execute(line).map(|_| ())
}

fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// Removes a table's line.
pub(super) fn forget(connection: &Connection, sink: &str, table: &TableName) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM \"_replicator_tables\" WHERE \"sink\" = ?1 AND \"source_database\" = ?2 AND \"source_table\" = ?3",
            params![sink, table.database, table.table],
        )
        .map(|_| ())
}

/// Notes that a table is stopped.
pub(super) fn stop(connection: &Connection, sink: &str, table: &TableName, stop: &Stop<'_>) -> rusqlite::Result<()> {
    let Stop { why, is_dropped, options } = stop;
    let options = serde_json::to_string(options).map_err(unwritable)?;
    let since =
        i64::try_from(why.since.raw()).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .execute(
            "INSERT OR REPLACE INTO \"_replicator_stopped_tables\"
               (\"sink\", \"source_database\", \"source_table\", \"since_lsn\", \"reason\", \"is_dropped\", \"options\")
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![sink, table.database, table.table, since, why.reason, is_dropped, options],
        )
        .map(|_| ())
}

/// Notes that a table is written again.
pub(super) fn revive(connection: &Connection, sink: &str, table: &TableName) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM \"_replicator_stopped_tables\" WHERE \"sink\" = ?1 AND \"source_database\" = ?2 AND \"source_table\" = ?3",
            params![sink, table.database, table.table],
        )
        .map(|_| ())
}

/// The stopped tables.
pub(super) fn load_stops(connection: &Connection, sink: &str) -> rusqlite::Result<Stops> {
    let mut stops = Stops::default();
    let mut statement = connection.prepare(
        "SELECT \"source_database\", \"source_table\", \"since_lsn\", \"reason\", \"is_dropped\", \"options\"
         FROM \"_replicator_stopped_tables\" WHERE \"sink\" = ?1",
    )?;
    let mut rows = statement.query([sink])?;
    while let Some(row) = rows.next()? {
        let table = TableName::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        // A number that is no LSN says of no row that it was written.
        let since = Lsn::new(u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default());
        // Of a line that cannot be read it is not known whether the configuration has changed since: nothing is released.
        let options: Option<StoredOptions> = serde_json::from_str(&row.get::<_, String>(5)?).ok();
        stops.load(table, StoppedTable { since, reason: row.get(3)? }, row.get(4)?, options);
    }
    Ok(stops)
}

/// Every line of the sink; those that cannot be read by their names alone.
pub(super) fn load(connection: &Connection, sink: &str) -> rusqlite::Result<(Tables, Vec<TableName>)> {
    let (mut tables, mut unreadable) = (Tables::new(), Vec::new());
    let mut statement = connection.prepare(
        "SELECT \"source_database\", \"source_table\", \"target\", \"options\", \"columns\", \"source_schema\", \"old\"
         FROM \"_replicator_tables\" WHERE \"sink\" = ?1",
    )?;
    let mut rows = statement.query([sink])?;
    while let Some(row) = rows.next()? {
        let name = TableName::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        let line = Line {
            target: row.get(2)?,
            options: row.get(3)?,
            columns: row.get(4)?,
            source_schema: row.get(5)?,
            old: row.get(6)?,
        };
        match Table::read(&name, &line) {
            Some(table) => drop(tables.insert(name, table)),
            None => unreadable.push(name),
        }
    }
    Ok((tables, unreadable))
}

/// What has a name in the file: `table`, `view` or `index`, and the statement that made it, empty where SQLite did. A trigger takes nobody's name.
pub(super) fn under_name(connection: &Connection, target: &str) -> rusqlite::Result<Option<(String, String)>> {
    connection
        .prepare_cached(
            "SELECT \"type\", coalesce(\"sql\", '') FROM \"sqlite_schema\" WHERE \"name\" = ?1 COLLATE NOCASE AND \"type\" <> 'trigger'",
        )?
        .query_row([target], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The names of a table's columns, generated ones left out.
pub(super) fn columns(connection: &Connection, target: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT \"name\" FROM pragma_table_info(?1)")?;
    let names = statement.query_map([target], |row| row.get(0))?;
    names.collect()
}

/// Tables that are not as the sink left them, with what is different.
pub(super) fn altered(connection: &Connection, tables: &Tables) -> rusqlite::Result<Vec<(TableName, String)>> {
    let mut altered = Vec::new();
    for (name, table) in tables {
        let layout = &table.layout;
        let found = columns(connection, &layout.target)?;
        if found.is_empty() {
            altered.push((name.clone(), format!("the table \"{}\" of {name} is gone from the file", layout.target)));
            continue;
        }
        let has = |wanted: &str| found.iter().any(|column| same_name(column, wanted));
        if let Some(missing) = layout.column_names().iter().find(|column| !has(column)) {
            let kind = if layout.mode == Mode::History { "changelog" } else { "table" };
            altered.push((
                name.clone(),
                format!(
                    "the {kind} \"{}\" was altered by somebody else: it has no column \"{missing}\"",
                    layout.target
                ),
            ));
        }
    }
    Ok(altered)
}
