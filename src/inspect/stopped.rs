//! The status of a daemon that is not running, as far as its log says.

use std::collections::HashMap;

use wal::{CursorInfo, Reader};

use crate::config::Plan;
use crate::deliver::{TableAtSink, tables_at};
use crate::error::Failure;
use crate::ingest::{counts, stored_position};
use crate::model::TableName;
use crate::telemetry::{
    Position, SinkPhase, SinkStatus, SinkTableLive, SnapshotStatus, SourcePhase, SourceStatus, Status, TableStatus,
    WalStatus,
};

/// The status that a log gives while nothing runs.
///
/// # Errors
/// Fatal, when the log cannot be read.
pub fn stopped_status(reader: &Reader, plan: &Plan) -> Result<Status, Failure> {
    let position = stored_position(reader)?;
    let stats = reader.stats().map_err(|error| Failure::fatal("cannot read the log's size").caused_by(error))?;
    let cursors = reader.cursors();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        running: false,
        pid: None,
        uptime_seconds: 0,
        source: SourceStatus {
            state: SourcePhase::Stopped,
            server: position.as_ref().map(|at| at.server.to_string()),
            position: position.map(Position::from),
            lag_seconds: None,
            error: None,
            events: 0,
            filtered_events: 0,
            reconnects: 0,
            asking: Vec::new(),
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
        snapshot: SnapshotStatus::default(),
        sinks: cursors.iter().map(|cursor| sink(plan, cursor)).collect(),
        tables: tables(reader, &cursors)?,
    })
}

fn sink(plan: &Plan, cursor: &CursorInfo) -> SinkStatus {
    let configured = plan.sinks.iter().find(|sink| sink.name == cursor.name);
    SinkStatus {
        name: cursor.name.clone(),
        kind: configured.map_or("not configured", |sink| sink.kind.type_name()).to_owned(),
        state: if cursor.detached { SinkPhase::Detached } else { SinkPhase::Stopped },
        delivered_lsn: cursor.lsn.raw(),
        applied_lsn: cursor.lsn.raw(),
        backlog_bytes: cursor.backlog_bytes,
        backlog_transactions: cursor.backlog_groups,
        lag_seconds: None,
        error: None,
        errors: 0,
        passed_over_frames: 0,
        waiting: None,
        stopped_tables: Vec::new(),
        batches: Vec::new(),
    }
}

fn tables(reader: &Reader, cursors: &[CursorInfo]) -> Result<Vec<TableStatus>, Failure> {
    let mut sinks = Vec::with_capacity(cursors.len());
    for cursor in cursors {
        sinks.push((cursor.name.clone(), at_sink(reader, &cursor.name)?));
    }
    let mut tables = Vec::new();
    for (name, counts) in counts(reader)? {
        let at_sinks =
            sinks.iter().map(|(sink, tables)| (sink.clone(), tables.get(&name).cloned().unwrap_or_default()));
        tables.push(TableStatus::new(&name, counts.shown(), at_sinks));
    }
    Ok(tables)
}

/// What the log says of each table at a sink.
pub(super) fn at_sink(reader: &Reader, sink: &str) -> Result<HashMap<TableName, SinkTableLive>, Failure> {
    let shown = |(name, at): (TableName, TableAtSink)| (name, SinkTableLive { rows: at.rows, doubt: at.doubt });
    Ok(tables_at(reader, sink)?.into_iter().map(shown).collect())
}
