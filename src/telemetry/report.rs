//! Makes a [`Status`] out of the live numbers and the log's own.
//!
//! What is behind is read before what is ahead (applied before durable, the source's position before the log's end),
//! so that progress in between never shows a position beyond the one that bounds it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use wal::{CursorInfo, Lsn, Wal};

use super::counters::class_word;
use super::live::rfc3339;
use super::status::{
    BatchStatus, DETACHED, ErrorsStatus, LettersStatus, Position, SinkStatus, SnapshotStatus, SnapshotTableStatus,
    SourceStatus, Status, StoppedTableStatus, WaitingStatus, WalStatus,
};
use super::tables::Tables;
use super::{
    BatchesLive, Errors, Health, Live, SinkLive, SinkPhase, StoppedTableLive, WaitingLive, now_micros, seconds_between,
};
use crate::codec::stored::{SOURCE_LSN, SOURCE_POSITION, SourceLsn, StoredPosition, get, source_names};
use crate::error::{sink_reset, sink_resume};
use crate::model::{Names, TableName};

/// Reports on the daemon.
#[derive(Clone, Debug)]
pub struct Reporter {
    live: Arc<Live>,
    wal: Wal,
    path: String,
    started: Instant,
    started_micros: i64,
}

impl Reporter {
    /// Over the live numbers and the log in directory `path`; uptime counts from here.
    pub fn new(live: Arc<Live>, wal: Wal, path: &Path) -> Self {
        let path = path.display().to_string();
        Self { live, wal, path, started: Instant::now(), started_micros: now_micros() }
    }

    /// The daemon now.
    pub fn status(&self) -> Status {
        let now = now_micros();
        let cursors = self.wal.cursors();
        let cursor_of = |name: &str| cursors.iter().find(|cursor| cursor.name == name);
        let applied = |sink: &SinkLive| match (sink.applied_lsn(), cursor_of(&sink.name)) {
            // Before the sink was opened, only the log knows how far it is.
            (Lsn::ZERO, Some(cursor)) => cursor.lsn,
            (applied, _) => applied,
        };
        let sinks: Vec<(Arc<SinkLive>, Lsn)> =
            self.live.sinks().into_iter().map(|sink| (Arc::clone(&sink), applied(&sink))).collect();
        // The position first: whoever sees it sees what was made of the tables before it.
        let source = self.source(now);
        self.live.durable(self.wal.positions().borrow().durable.max(self.durable_with_position()));
        let shown = Tables::of(&self.live, &sinks);
        // Again: what a cursor has not applied is measured against the end of the log.
        let cursors = self.wal.cursors();
        let wal = self.log();
        let mut sink_rows: Vec<SinkStatus> = sinks
            .iter()
            .map(|(sink, applied)| {
                let cursor = cursors.iter().find(|cursor| cursor.name == sink.name);
                self.sink(sink, *applied, cursor, wal.durable_lsn, now)
            })
            .collect();
        for sink in &mut sink_rows {
            sink.tables = shown.counts(&sink.name);
            let incomplete = shown.incomplete_since(&sink.name).map(|since| since.max(self.started_micros));
            if let Some(since) = incomplete {
                let least = sink.lag_seconds.take().unwrap_or_default();
                sink.lag_at_least_seconds = Some(least.max(seconds_between(since, now)));
            }
        }
        let left_over = cursors.iter().filter(|cursor| !sinks.iter().any(|(sink, _)| sink.name == cursor.name));
        sink_rows.extend(left_over.map(|cursor| SinkStatus::of_cursor(cursor, None, SinkPhase::Unconfigured)));
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: true,
            health: Health::default(),
            pid: Some(std::process::id()),
            uptime_seconds: self.started.elapsed().as_secs(),
            source,
            wal,
            snapshot: SnapshotStatus { tables: self.live.reads().into_iter().map(SnapshotTableStatus::from).collect() },
            sinks: sink_rows,
            tables: shown.into_rows(),
            schema_changes: self.schema_changes(),
            errors: self.errors(),
        };
        for (sink, _) in &sinks {
            if let Some(letters) = sink.letters() {
                status.add_letters(&sink.name, letters.sum(), letters.sums());
            }
        }
        status.health = Health::of(&status);
        status
    }

    fn schema_changes(&self) -> BTreeMap<String, u64> {
        self.live.schema_changes().counts().map(|(kind, count)| (kind.as_str().to_owned(), count)).collect()
    }

    fn errors(&self) -> Vec<ErrorsStatus> {
        let sinks = self.live.sinks();
        let mut shown = errors_status("source", [self.live.source.errors()]);
        shown.extend(errors_status("sink", sinks.iter().map(|sink| sink.errors())));
        shown.extend(errors_status("read", [self.live.read_errors()]));
        shown
    }

    fn source(&self, now: i64) -> SourceStatus {
        let source = &self.live.source;
        let (events, filtered_events, reconnects) = source.counts();
        let seldom = source.snapshot();
        SourceStatus {
            state: seldom.phase,
            since: Some(rfc3339(seldom.since_micros)),
            server: Some(seldom.server).filter(|server| !server.is_empty()),
            names: self.names(),
            position: self.durable_position(),
            lag_seconds: Some(seconds_between(self.source_until(), now)),
            last_success_seconds: Some(seconds_between(source.heard_micros().max(self.started_micros), now)),
            error: seldom.error,
            events,
            filtered_events,
            reconnects,
            asking: self.asked_tables(),
            waits_for: source.waited_for(),
        }
    }

    /// Tables that the server is asked about. A table is named until what its answer made is durable.
    fn asked_tables(&self) -> Vec<String> {
        let durable = self.wal.positions().borrow().durable;
        self.live.source.asked_tables(durable).iter().map(ToString::to_string).collect()
    }

    /// The position as it stands in the log, in the commit of the frames before it: never ahead of what is durable.
    fn durable_position(&self) -> Option<Position> {
        match get::<StoredPosition>(&self.wal.reader(), SOURCE_POSITION.key()) {
            Ok(at) => at.map(|StoredPosition::MySql(at)| Position::from(at)),
            Err(failure) => {
                tracing::warn!(error = %failure.chain(), "the status has no source position");
                None
            }
        }
    }

    /// The source's rule for names, once the log has it.
    fn names(&self) -> Names {
        source_names(&self.wal.reader()).unwrap_or_else(|failure| {
            tracing::warn!(error = %failure.chain(), "the status takes names as they are written");
            Names::default()
        })
    }

    /// The last LSN that the stored position stands behind. The log publishes what is durable a moment after its
    /// commit, which a reader of the position may already see.
    fn durable_with_position(&self) -> Lsn {
        match get::<SourceLsn>(&self.wal.reader(), SOURCE_LSN.key()) {
            // A log whose source has appended nothing yet has no such entry.
            Ok(last) => last.map_or(Lsn::ZERO, |SourceLsn(last)| last),
            Err(failure) => {
                tracing::warn!(error = %failure.chain(), "the status has only what the log has published as durable");
                Lsn::ZERO
            }
        }
    }

    /// Everything that the source committed before this is in the log. Before the first word from the server it is
    /// the start of this process: a lag that is at least so long, and grows.
    fn source_until(&self) -> i64 {
        match self.live.source.current_as_of() {
            0 => self.started_micros,
            micros => micros,
        }
    }

    fn log(&self) -> WalStatus {
        let mut error = self.wal.check().err().map(|error| error_chain(&error));
        let stats = self.wal.stats().unwrap_or_else(|failure| {
            error.get_or_insert_with(|| error_chain(&failure));
            wal::Stats::default()
        });
        WalStatus {
            path: self.path.clone(),
            id: self.wal.id().to_string(),
            first_lsn: stats.first_lsn.raw(),
            durable_lsn: stats.durable_lsn.max(self.durable_with_position()).raw(),
            bytes: stats.live_bytes,
            capacity_bytes: stats.capacity_bytes,
            disk_bytes: stats.disk_bytes,
            max_bytes: stats.max_bytes,
            full: stats.full,
            commits: stats.commits,
            error,
        }
    }

    fn sink(&self, sink: &SinkLive, applied: Lsn, cursor: Option<&CursorInfo>, durable: u64, now: i64) -> SinkStatus {
        let inner = sink.inner();
        let phase = inner.phase;
        let is_detached = cursor.is_some_and(|cursor| cursor.detached);
        let complete = applied.raw() >= durable;
        // A sink that has everything is as late as the source itself.
        let applied_until = match sink.applied_commit_micros() {
            0 => self.started_micros,
            micros => micros,
        };
        let until = if complete { applied_until.max(self.source_until()) } else { applied_until };
        // The cursor follows the target within moments; what the target has is no backlog.
        let backlog = cursor.filter(|_| !complete);
        let lag = seconds_between(until, now);
        // With nothing to apply, being there is all there is to succeed in.
        let is_idle = complete && inner.phase == SinkPhase::Running;
        let last_success = if is_idle { now } else { sink.succeeded_micros().max(self.started_micros) };
        SinkStatus {
            name: sink.name.clone(),
            kind: Some(sink.kind.to_owned()),
            state: if is_detached { SinkPhase::Detached } else { inner.phase },
            since: Some(rfc3339(inner.since_micros)).filter(|_| !is_detached || inner.phase == SinkPhase::Detached),
            delivered_lsn: sink.delivered_lsn().max(applied).raw(),
            applied_lsn: applied.raw(),
            backlog_bytes: backlog.map_or(0, |cursor| cursor.backlog_bytes),
            backlog_transactions: backlog.map_or(0, |cursor| cursor.backlog_groups),
            lag_seconds: Some(lag),
            lag_at_least_seconds: Some(lag),
            last_success_seconds: Some(seconds_between(last_success, now)),
            tables: BTreeMap::new(),
            error: inner.error.or_else(|| is_detached.then(|| DETACHED.to_owned())),
            remedy: match phase {
                _ if is_detached => Some(sink_reset(&sink.name)),
                SinkPhase::Paused => Some(sink_resume(&sink.name)),
                _ => None,
            },
            errors: sink.errors().all(),
            passed_over_frames: sink.frames_passed_over(),
            waiting: sink.waiting().map(waiting_status),
            stopped_tables: sink.stopped_tables().into_iter().map(stopped_status).collect(),
            dead_letters: LettersStatus::default(),
            batches: sink.batches().into_iter().map(|(table, sent)| batch_status(&table, sent)).collect(),
        }
    }
}

fn errors_status<'e>(kind: &str, errors: impl IntoIterator<Item = &'e Errors>) -> Vec<ErrorsStatus> {
    let mut shown: Vec<ErrorsStatus> = Vec::new();
    for (class, count) in errors.into_iter().flat_map(Errors::counts) {
        let class = class_word(class);
        match shown.iter_mut().find(|known| known.class == class) {
            Some(known) => known.count += count,
            None => shown.push(ErrorsStatus { kind: kind.to_owned(), class: class.to_owned(), count }),
        }
    }
    shown
}

fn waiting_status(waiting: WaitingLive) -> WaitingStatus {
    let WaitingLive { table, schema, lsn, since_micros } = waiting;
    let since = rfc3339(since_micros);
    WaitingStatus { table: table.to_string(), schema: schema.0, lsn: lsn.raw(), since }
}

fn stopped_status(stopped: StoppedTableLive) -> StoppedTableStatus {
    let StoppedTableLive { table, since, reason } = stopped;
    StoppedTableStatus { table: table.to_string(), since_lsn: since.raw(), reason }
}

fn batch_status(table: &TableName, sent: BatchesLive) -> BatchStatus {
    let BatchesLive { batches, rows, bytes, seconds, parts } = sent;
    BatchStatus { table: table.to_string(), batches, rows, bytes, seconds, parts }
}

fn error_chain(error: &wal::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
