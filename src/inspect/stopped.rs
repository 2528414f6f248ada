//! The status of a daemon that is not running, as far as its log says.

use std::collections::{BTreeMap, HashMap};

use wal::{CursorInfo, Lsn, Reader};

use crate::codec::stored::source_names;
use crate::config::Plan;
use crate::dead::{Book, letters_of};
use crate::deliver::{paused, tables_at};
use crate::error::Failure;
use crate::ingest::{counts, stored_position};
use crate::model::TableName;
use crate::table::{self, TableRecord};
use crate::telemetry::{
    Health, Live, Position, SinkPhase, SinkStatus, SinkTableLive, SnapshotStatus, SnapshotTableStatus, SourcePhase,
    SourceRows, SourceStatus, StateStatus, Status, TableStatus, WalStatus, count_states, rfc3339,
};

/// The status that a log gives while nothing runs.
///
/// # Errors
/// Fatal, when the log cannot be read.
pub fn stopped_status(reader: &Reader, plan: &Plan) -> Result<Status, Failure> {
    let position = stored_position(reader)?;
    let stats = reader.stats().map_err(|error| Failure::fatal("cannot read the log's size").caused_by(error))?;
    let cursors = reader.cursors();
    let records: BTreeMap<TableName, TableRecord> = table::records(reader)?.into_iter().collect();
    let applied = |name: &str| cursors.iter().find(|cursor| cursor.name == name).map_or(Lsn::ZERO, |cursor| cursor.lsn);
    let configured = plan.sinks.iter().map(|sink| (sink.name.clone(), applied(&sink.name)));
    let tables = tables(reader, configured, &records)?.into_iter().map(|(_, table)| table).collect::<Vec<_>>();
    let mut sinks = sinks(reader, plan, &cursors)?;
    for sink in &mut sinks {
        let states = tables.iter().filter_map(|table| table.sinks.get(&sink.name)?.stated.state);
        sink.tables = count_states(states);
    }
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        running: false,
        health: Health::default(),
        pid: None,
        uptime_seconds: 0,
        source: SourceStatus {
            state: SourcePhase::Stopped,
            since: None,
            server: position.as_ref().map(|at| at.server.to_string()),
            names: source_names(reader)?,
            position: position.map(Position::from),
            lag_seconds: None,
            last_success_seconds: None,
            error: None,
            events: 0,
            filtered_events: 0,
            reconnects: 0,
            asking: Vec::new(),
            waits_for: Vec::new(),
        },
        wal: WalStatus {
            path: plan.wal.path.display().to_string(),
            id: reader.id().to_string(),
            first_lsn: stats.first_lsn.raw(),
            durable_lsn: stats.durable_lsn.raw(),
            bytes: stats.live_bytes,
            capacity_bytes: stats.capacity_bytes,
            disk_bytes: stats.disk_bytes,
            max_bytes: plan.wal.max_size,
            full: false,
            commits: 0,
            error: None,
        },
        snapshot: reads(records),
        sinks,
        tables,
        schema_changes: BTreeMap::new(),
        errors: Vec::new(),
    };
    for cursor in &cursors {
        let book = Book::new(letters_of(reader, &cursor.name)?, Lsn::new(u64::MAX));
        status.add_letters(&cursor.name, book.sum(), book.sums());
    }
    status.health = Health::of(&status);
    Ok(status)
}

/// What is to be read once a daemon runs.
fn reads(records: BTreeMap<TableName, TableRecord>) -> SnapshotStatus {
    let live = Live::default();
    for (table, record) in records {
        live.record(&table, record);
    }
    SnapshotStatus { tables: live.reads().into_iter().map(SnapshotTableStatus::from).collect() }
}

/// The sinks of the configuration, then the cursors that have none.
fn sinks(reader: &Reader, plan: &Plan, cursors: &[CursorInfo]) -> Result<Vec<SinkStatus>, Failure> {
    let mut shown = Vec::new();
    for sink in &plan.sinks {
        let kind = Some(sink.settings.type_name());
        shown.push(match cursors.iter().find(|cursor| cursor.name == sink.name) {
            Some(cursor) if cursor.detached => SinkStatus::of_cursor(cursor, kind, SinkPhase::Detached),
            Some(cursor) => match paused(reader, &sink.name)? {
                None => SinkStatus::of_cursor(cursor, kind, SinkPhase::Stopped),
                Some(pause) => SinkStatus {
                    since: Some(rfc3339(pause.since_micros)),
                    error: Some(pause.shown()),
                    ..SinkStatus::of_cursor(cursor, kind, SinkPhase::Paused)
                },
            },
            None => SinkStatus::nothing_applied(&sink.name, kind, SinkPhase::NotStarted),
        });
    }
    let left_over = cursors.iter().filter(|cursor| !plan.sinks.iter().any(|sink| sink.name == cursor.name));
    shown.extend(left_over.map(|cursor| SinkStatus::of_cursor(cursor, None, SinkPhase::Unconfigured)));
    Ok(shown)
}

/// What the log says of its tables. With each sink, what it has applied.
pub(super) fn tables(
    reader: &Reader,
    sinks: impl IntoIterator<Item = (String, Lsn)>,
    records: &BTreeMap<TableName, TableRecord>,
) -> Result<Vec<(TableName, TableStatus)>, Failure> {
    let mut at_sinks: Vec<(String, Lsn, HashMap<TableName, SinkTableLive>)> = Vec::new();
    for (sink, applied) in sinks {
        let tables = tables_at(reader, &sink)?.into_iter().map(|(name, at)| (name, at.shown())).collect();
        at_sinks.push((sink, applied, tables));
    }
    let mut rows: BTreeMap<TableName, SourceRows> =
        counts(reader)?.into_iter().map(|(name, counts)| (name, counts.shown())).collect();
    for name in records.keys() {
        rows.entry(name.clone()).or_default();
    }
    let table = |(name, rows): (TableName, SourceRows)| {
        let record = records.get(&name);
        let at_sinks = at_sinks.iter().map(|(sink, applied, tables)| {
            let live = tables.get(&name).cloned().unwrap_or_default();
            let stated = StateStatus::at_sink(record, (sink, *applied), &live, None);
            (sink.clone(), live, stated)
        });
        let status = TableStatus::new(&name, rows, StateStatus::of(record), at_sinks);
        let reads = record.map_or(0, |record| record.reads);
        (name, TableStatus { reads, ..status })
    };
    Ok(rows.into_iter().map(table).collect())
}
