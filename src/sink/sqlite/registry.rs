//! What the sink knows of its tables, kept in the target beside them: which source table each one copies, by which schema
//! it was last shaped, and under which options.
//!
//! | table `_replicator_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the primary key |
//! | `target` | name of the target table |
//! | `mode` | `mirror` or `history` |
//! | `options` | the other options, JSON |
//! | `source_schema` | the schema as last applied, JSON |
//!
//! [`load`] compares each line with the configuration and with the table itself. A difference stops the sink with the way
//! out; nothing is altered to fit a changed configuration, and nothing is written into a table that others made or changed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, quoted, same_name};
use crate::config::{Deletion, Mode, SinkPlan, TableOptions};
use crate::error::Failure;
use crate::model::{ColumnDefault, TableName, TableSchema};

/// A target table as the sink last left it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The source's schema.
    pub(super) schema: TableSchema,
    /// The options it was made under.
    pub(super) options: TableOptions,
    /// The shape that follows from both.
    pub(super) layout: Layout,
}

/// The tables of one sink.
pub(super) type Tables = HashMap<TableName, Table>;

/// An error of SQLite, or one of the sink.
pub(super) type Outcome<T> = rusqlite::Result<Result<T, Failure>>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredOptions {
    soft_delete_column: Option<String>,
    rename: Vec<(String, String)>,
    drop: Vec<String>,
}

/// Creates the table if there is none.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS \"_replicator_tables\" (
           \"sink\" TEXT NOT NULL,
           \"source_database\" TEXT NOT NULL,
           \"source_table\" TEXT NOT NULL,
           \"target\" TEXT NOT NULL,
           \"mode\" TEXT NOT NULL,
           \"options\" TEXT NOT NULL,
           \"source_schema\" TEXT NOT NULL,
           PRIMARY KEY (\"sink\", \"source_database\", \"source_table\")
         ) STRICT, WITHOUT ROWID",
    )
}

/// Writes a table's line.
pub(super) fn save(connection: &Connection, sink: &str, table: &Table) -> rusqlite::Result<()> {
    let options = StoredOptions {
        soft_delete_column: table.layout.soft.clone(),
        rename: table.options.rename.clone(),
        drop: table.options.drop.clone(),
    };
    // Defaults only mean something at the moment a column is added.
    let mut schema = table.schema.clone();
    for column in &mut schema.columns {
        column.default = ColumnDefault::Unknown;
    }
    let json = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let options = serde_json::to_string(&options).map_err(json)?;
    let schema_text = serde_json::to_string(&schema).map_err(json)?;
    connection
        .execute(
            "INSERT OR REPLACE INTO \"_replicator_tables\"
               (\"sink\", \"source_database\", \"source_table\", \"target\", \"mode\", \"options\", \"source_schema\")
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                sink,
                schema.name.database,
                schema.name.table,
                table.layout.target,
                mode_name(table.layout.mode),
                options,
                schema_text
            ],
        )
        .map(|_| ())
}

/// Removes a table's line.
pub(super) fn forget(connection: &Connection, sink: &str, table: &TableName) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM \"_replicator_tables\"
             WHERE \"sink\" = ?1 AND \"source_database\" = ?2 AND \"source_table\" = ?3",
            params![sink, table.database, table.table],
        )
        .map(|_| ())
}

/// Reads every line of the sink, each checked against the configuration and against its table.
pub(super) fn load(connection: &Connection, plan: &SinkPlan) -> Outcome<Tables> {
    let mut tables = Tables::new();
    let mut statement = connection.prepare(
        "SELECT \"source_database\", \"source_table\", \"target\", \"mode\", \"options\", \"source_schema\"
         FROM \"_replicator_tables\" WHERE \"sink\" = ?1",
    )?;
    let mut rows = statement.query([&plan.name])?;
    while let Some(row) = rows.next()? {
        let name = TableName::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        let (target, mode): (String, String) = (row.get(2)?, row.get(3)?);
        let (options, schema): (String, String) = (row.get(4)?, row.get(5)?);
        let Some(table) = read(plan, &name, &target, &mode, &options, &schema) else {
            return Ok(Err(Failure::fatal(format!("the line of {name} in \"_replicator_tables\" is not readable"))
                .hint(way_out(plan, &name, &target))));
        };
        let checked = table.and_then(|table| check_configuration(plan, &table).map(|()| table));
        let table = match checked {
            Ok(table) => table,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(failure) = check_columns(connection, plan, &table)? {
            return Ok(Err(failure));
        }
        tables.insert(name, table);
    }
    Ok(Ok(tables))
}

/// Whether anything in the file has the name of a table that is about to be made.
pub(super) fn is_taken(connection: &Connection, target: &str) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT 1 FROM \"sqlite_schema\" WHERE \"name\" = ?1 COLLATE NOCASE", [target], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

/// The names of a table's columns, generated ones left out.
pub(super) fn columns(connection: &Connection, target: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT \"name\" FROM pragma_table_info(?1)")?;
    let names = statement.query_map([target], |row| row.get(0))?;
    names.collect()
}

/// How an operator lets the sink make a table anew.
pub(super) fn way_out(plan: &SinkPlan, table: &TableName, target: &str) -> String {
    let text = |value: &str| format!("'{}'", value.replace('\'', "''"));
    format!(
        "to make it anew, stop the replicator, run `DROP TABLE IF EXISTS {}; DELETE FROM \"_replicator_tables\" WHERE \"sink\" = {} AND \
         \"source_database\" = {} AND \"source_table\" = {};` on the file, start again and run `replicator backfill --database {} --table {}`",
        quoted(target),
        text(&plan.name),
        text(&table.database),
        text(&table.table),
        table.database,
        table.table
    )
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Mirror => "mirror",
        Mode::History => "history",
    }
}

fn read(
    plan: &SinkPlan,
    name: &TableName,
    target: &str,
    mode: &str,
    options: &str,
    schema: &str,
) -> Option<Result<Table, Failure>> {
    let stored: StoredOptions = serde_json::from_str(options).ok()?;
    let schema: TableSchema = serde_json::from_str(schema).ok().filter(|schema: &TableSchema| schema.name == *name)?;
    let mode = [Mode::Mirror, Mode::History].into_iter().find(|known| mode_name(*known) == mode)?;
    let options = TableOptions {
        mode,
        deletion: if stored.soft_delete_column.is_some() { Deletion::Soft } else { Deletion::Hard },
        soft_delete_column: stored.soft_delete_column.unwrap_or_else(|| plan.options_for(name).soft_delete_column),
        rename: stored.rename,
        drop: stored.drop,
    };
    let layout = Layout::new(&schema, &options, target.to_owned());
    Some(layout.map(|layout| Table { schema, options, layout }))
}

/// The configuration must lay the table out as it was laid out.
fn check_configuration(plan: &SinkPlan, table: &Table) -> Result<(), Failure> {
    let name = &table.schema.name;
    let wanted = Layout::new(&table.schema, &plan.options_for(name), plan.target_name(name))?;
    let Some(difference) = difference(&table.layout, &wanted) else { return Ok(()) };
    Err(Failure::fatal(format!("{name} is written with {difference}"))
        .hint(format!("set the configuration back, or {}", way_out(plan, name, &table.layout.target))))
}

/// What is different between a table as it is and as the configuration says, in words.
pub(super) fn difference(is: &Layout, wanted: &Layout) -> Option<String> {
    if is.mode != wanted.mode {
        return Some(format!(
            "`mode: {}`, and the configuration now says {}",
            mode_name(is.mode),
            mode_name(wanted.mode)
        ));
    }
    if is.target != wanted.target {
        return Some(format!("\"{}\" as its target, and the configuration now says \"{}\"", is.target, wanted.target));
    }
    if is.soft != wanted.soft {
        let say = |soft: &Option<String>| match soft {
            Some(column) => format!("soft deletion in \"{column}\""),
            None => "hard deletion".to_owned(),
        };
        return Some(format!("{}, and the configuration now says {}", say(&is.soft), say(&wanted.soft)));
    }
    if is.columns != wanted.columns {
        let names = |layout: &Layout| {
            let names: Vec<_> = layout.columns.iter().map(|column| column.name.as_str()).collect();
            names.join(", ")
        };
        return Some(format!("the columns ({}), and `rename` and `drop` now ask for ({})", names(is), names(wanted)));
    }
    None
}

fn check_columns(connection: &Connection, plan: &SinkPlan, table: &Table) -> Outcome<()> {
    let layout = &table.layout;
    let name = &table.schema.name;
    let found = columns(connection, &layout.target)?;
    if found.is_empty() {
        return Ok(Err(Failure::fatal(format!("the table \"{}\" of {name} is gone from the file", layout.target))
            .hint(way_out(plan, name, &layout.target))));
    }
    let expected = layout.column_names();
    let missing = expected.iter().find(|column| !found.iter().any(|other| same_name(other, column)));
    // A changelog keeps the columns of former schemas.
    let foreign = (layout.mode == Mode::Mirror)
        .then(|| found.iter().find(|column| !expected.iter().any(|other| same_name(other, column))))
        .flatten();
    let change = match (missing, foreign) {
        (Some(column), _) => format!("it has no column \"{column}\""),
        (None, Some(column)) => format!("it has a foreign column \"{column}\""),
        (None, None) => return Ok(Ok(())),
    };
    Ok(Err(Failure::fatal(format!("the table \"{}\" of {name} was altered by somebody else: {change}", layout.target))
        .hint(way_out(plan, name, &layout.target))))
}
