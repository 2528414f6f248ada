//! What the sink knows of its tables, kept in the target beside them.
//!
//! | table `_replicator_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `target` | name of the target table |
//! | `options` | the options it was made under, JSON |
//! | `columns` | the columns that are written, JSON: (source, target, type) |
//! | `source_schema` | the source's schema as last applied, JSON |
//! | `old` | the copy that readers see while this one is built beside it, JSON; empty if there is none |
//! | `begun` | LSN of a change whose first step may have been done (see `changes`); 0 on the lines that end a change |
//! | `version`, `is_gone` | [version](super::version) as of the last change that was done; 1 for a table that is no more |
//!
//! | table `_replicator_stopped_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `since_lsn`, `reason` | its changes from here on are left out, and why |
//! | `is_dropped` | 1 while the source does not have the table any more |
//! | `options` | what the configuration said of the table when it stopped, JSON |
//! | `version`, `is_gone` | [version](super::version) as of the stop or of its end; 1 for a table that is written again |
//!
//! What the lines mean is [`crate::sink::registry`]'s to say.

use std::collections::BTreeMap;

use wal::Lsn;

use super::client::Client;
use super::error::Refused;
use super::names::{STOPPED, TABLES, literal, quoted};
use super::version::{LineVersion, is_of};
use crate::codec::version::Epoch;
use crate::error::Failure;
use crate::model::TableName;
use crate::sink::StoppedTable;
use crate::sink::changes::Changes;
use crate::sink::definitions::Stop;
use crate::sink::registry::{self, Line, StoredOptions};
use crate::sink::stops::Stops;

/// A target table as the sink last left it.
pub(super) type Table = registry::Table<String>;

/// Creates both tables if there are none.
pub(super) async fn create(client: &Client) -> Result<(), Refused> {
    const KEY: &str = "sink String, source_database String, source_table String";
    const TAIL: &str = "version UInt64, is_gone UInt8) ENGINE = ReplacingMergeTree(version, is_gone) \
                        ORDER BY (sink, source_database, source_table) \
                        SETTINGS fsync_after_insert = 1, fsync_part_directory = 1";
    let tables = quoted(TABLES);
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {tables} ({KEY}, target String, options String, columns String, source_schema String, old String, begun UInt64, {TAIL}"
    );
    client.execute(&sql, false).await?;
    let stopped = quoted(STOPPED);
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {stopped} ({KEY}, since_lsn UInt64, reason String, is_dropped UInt8, options String, {TAIL}"
    );
    client.execute(&sql, false).await
}

/// A line of one of the sink's tables of tables, as JSON.
pub(super) fn line(sink: &str, name: &TableName, version: u64, mut row: serde_json::Value) -> String {
    if let Some(fields) = row.as_object_mut() {
        fields.insert("sink".into(), sink.into());
        fields.insert("source_database".into(), name.database.clone().into());
        fields.insert("source_table".into(), name.table.clone().into());
        fields.insert("version".into(), version.into());
    }
    row.to_string()
}

/// Appends lines: all of them or none. Of two lines of one table and one version, the later one counts.
pub(super) async fn append(client: &Client, table: &str, lines: &[String]) -> Result<(), Refused> {
    client.insert(&format!("INSERT INTO {} FORMAT JSONEachRow", quoted(table)), lines.join("\n").into_bytes()).await
}

fn table_line(sink: &str, version: LineVersion, table: &Table, begun: Lsn) -> Result<String, Refused> {
    let Line { target, options, columns, source_schema, old } =
        table.line().map_err(|error| Refused::unreadable(&error))?;
    let row = serde_json::json!({
        "target": target, "options": options, "columns": columns, "source_schema": source_schema, "old": old, "begun": begun.raw(), "is_gone": 0
    });
    Ok(line(sink, &table.schema.name, version.raw(), row))
}

fn gone_line(sink: &str, version: LineVersion, table: &TableName) -> String {
    line(sink, table, version.raw(), serde_json::json!({ "is_gone": 1 }))
}

/// Says in a table's line, which is of `version`, that the change at `lsn` is begun.
pub(super) async fn begin(
    client: &Client,
    sink: &str,
    version: LineVersion,
    table: &Table,
    lsn: Lsn,
) -> Result<(), Refused> {
    append(client, TABLES, &[table_line(sink, version, table, lsn)?]).await
}

/// Writes a table's line as of a change, which is done then.
pub(super) async fn save(client: &Client, sink: &str, version: LineVersion, table: &Table) -> Result<(), Refused> {
    append(client, TABLES, &[table_line(sink, version, table, Lsn::ZERO)?]).await
}

/// Writes the lines of tables, each as of the change that made it: all of them or none.
pub(super) async fn save_all(client: &Client, sink: &str, tables: &[(LineVersion, &Table)]) -> Result<(), Refused> {
    let line = |(version, table): &(LineVersion, &Table)| table_line(sink, *version, table, Lsn::ZERO);
    append(client, TABLES, &tables.iter().map(line).collect::<Result<Vec<_>, _>>()?).await
}

/// Removes a table's line, and writes that of `now`, which has taken its place, at once.
pub(super) async fn replace_line(
    client: &Client,
    sink: &str,
    version: LineVersion,
    from: &TableName,
    now: Option<&Table>,
) -> Result<(), Refused> {
    let mut lines = vec![gone_line(sink, version, from)];
    if let Some(table) = now {
        lines.push(table_line(sink, version, table, Lsn::ZERO)?);
    }
    append(client, TABLES, &lines).await
}

/// Notes, as of `version`, that a table is stopped.
pub(super) async fn stop(
    client: &Client,
    sink: &str,
    version: LineVersion,
    table: &TableName,
    stop: &Stop<'_>,
) -> Result<(), Refused> {
    let Stop { why, is_dropped, options } = stop;
    let options = serde_json::to_string(options).map_err(|error| Refused::unreadable(&error))?;
    let row = serde_json::json!({
        "since_lsn": why.since.raw(), "reason": why.reason, "is_dropped": u8::from(*is_dropped), "options": options, "is_gone": 0
    });
    append(client, STOPPED, &[line(sink, table, version.raw(), row)]).await
}

/// Notes that a table is written again.
pub(super) async fn revive(
    client: &Client,
    sink: &str,
    version: LineVersion,
    table: &TableName,
) -> Result<(), Refused> {
    append(client, STOPPED, &[gone_line(sink, version, table)]).await
}

/// The stopped tables. One that was stopped in another epoch than this has been since before everything of this log.
pub(super) async fn load_stops(client: &Client, sink: &str, epoch: Epoch) -> Result<Stops, Refused> {
    let sql = format!(
        "SELECT source_database, source_table, version, since_lsn, reason, is_dropped, options FROM {} FINAL WHERE sink = {}",
        quoted(STOPPED),
        literal(sink)
    );
    let mut stops = Stops::default();
    for (database, table, version, since, reason, is_dropped, options) in
        client.rows::<(String, String, u64, u64, String, u8, String)>(&sql).await?
    {
        let table = TableName::new(database, table);
        // Of a line that cannot be read it is not known whether the configuration has changed since: nothing is released.
        let options: Option<StoredOptions> = serde_json::from_str(&options).ok();
        let since = LineVersion::of(version).lsn_in(epoch).map_or(Lsn::ZERO, |_| Lsn::new(since));
        stops.load(table, StoppedTable { since, reason }, is_dropped == 1, options);
    }
    Ok(stops)
}

/// How far the changes of tables have come in an epoch, of tables that are gone as well.
pub(super) async fn load_changes(client: &Client, sink: &str, epoch: Epoch) -> Result<Changes, Refused> {
    let (sink, is_of_epoch) = (literal(sink), is_of(epoch));
    let of = |what: u8, table: &str, begun: &str| {
        format!(
            "SELECT toUInt8({what}), source_database, source_table, max(version), {begun} FROM {} WHERE sink = {sink} AND {is_of_epoch} \
             GROUP BY source_database, source_table",
            quoted(table)
        )
    };
    let sql = format!("{} UNION ALL {}", of(0, TABLES, "max(begun)"), of(1, STOPPED, "toUInt64(0)"));
    let mut changes = Changes::default();
    for (what, database, table, version, begun) in client.rows::<(u8, String, String, u64, u64)>(&sql).await? {
        let name = TableName::new(database, table);
        let Some(lsn) = LineVersion::of(version).lsn_in(epoch) else { continue };
        if what == 0 {
            changes.note_begun(&name, Lsn::new(begun));
            changes.note_done(&name, lsn);
        } else {
            changes.note_stop(&name, lsn);
        }
    }
    Ok(changes)
}

/// Every line of the sink; those that cannot be read by their names alone.
pub(super) async fn load(client: &Client, sink: &str) -> Result<(BTreeMap<TableName, Table>, Vec<TableName>), Failure> {
    let sql = format!(
        "SELECT source_database, source_table, target, options, columns, source_schema, old FROM {} FINAL WHERE sink = {}",
        quoted(TABLES),
        literal(sink)
    );
    let rows: Vec<(String, String, String, String, String, String, String)> =
        client.rows(&sql).await.map_err(|error| error.failure("read the sink's tables"))?;
    let (mut tables, mut unreadable) = (BTreeMap::new(), Vec::new());
    for (database, table, target, options, columns, source_schema, old) in rows {
        let name = TableName::new(database, table);
        match Table::read(&name, &Line { target, options, columns, source_schema, old }) {
            Some(table) => drop(tables.insert(name, table)),
            None => unreadable.push(name),
        }
    }
    Ok((tables, unreadable))
}

/// The newest epoch of anything that is there of the sink, for a target whose cursor does not say it.
pub(super) async fn newest_epoch(
    client: &Client,
    sink: &str,
    tables: &BTreeMap<TableName, Table>,
    database: &str,
) -> Result<Option<Epoch>, Refused> {
    let name = literal(sink);
    let lines = format!(
        "SELECT max(version) FROM (SELECT version FROM {} WHERE sink = {name} UNION ALL SELECT version FROM {} WHERE sink = {name})",
        quoted(TABLES),
        quoted(STOPPED)
    );
    let mut newest = version_of(client, &lines).await?;
    for table in tables.values() {
        let target = &table.layout.target;
        let has_rows = format!(
            "SELECT count() FROM system.columns WHERE database = {} AND table = {} AND name = '_version'",
            literal(database),
            literal(target)
        );
        if client.rows::<(u64,)>(&has_rows).await?.first().is_some_and(|(count,)| *count > 0) {
            newest = newest.max(version_of(client, &format!("SELECT max(_version) FROM {}", quoted(target))).await?);
        }
    }
    Ok(newest)
}

async fn version_of(client: &Client, sql: &str) -> Result<Option<Epoch>, Refused> {
    let found: Vec<(u64,)> = client.rows(sql).await?;
    Ok(found.first().and_then(|(version,)| LineVersion::of(*version).epoch()))
}
