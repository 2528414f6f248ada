//! Makes a [`Status`] out of the live numbers and the log's own.
//!
//! What is behind is read before what is ahead (applied before durable, the source's position before the log's end),
//! so that progress in between never shows a position beyond the one that bounds it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use wal::{CursorInfo, Lsn, Wal};

use super::status::{
    BatchStatus, Position, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus, Status, StoppedTableStatus,
    WaitingStatus, WalStatus,
};
use super::{
    BatchesLive, Live, SinkLive, SinkPhase, SinkTableLive, SourceRows, StoppedTableLive, TableStatus, WaitingLive,
    now_micros, seconds_between,
};
use crate::codec::stored::{SOURCE_LSN, SOURCE_POSITION, SourceLsn, StoredPosition, get};
use crate::model::TableName;

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
        let sinks: Vec<(Arc<SinkLive>, Lsn)> =
            self.live.sinks().into_iter().map(|sink| (Arc::clone(&sink), sink.applied_lsn())).collect();
        let tables = self.tables();
        let snapshot = self.snapshot();
        let source = self.source(now);
        let cursors = self.wal.cursors();
        let wal = self.log();
        let sinks = sinks
            .iter()
            .map(|(sink, applied)| {
                let cursor = cursors.iter().find(|cursor| cursor.name == sink.name);
                self.sink(sink, *applied, cursor, wal.durable_lsn, now)
            })
            .collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: true,
            pid: Some(std::process::id()),
            uptime_seconds: self.started.elapsed().as_secs(),
            source,
            wal,
            snapshot,
            sinks,
            tables,
        }
    }

    fn source(&self, now: i64) -> SourceStatus {
        let source = &self.live.source;
        let (events, filtered_events, reconnects) = source.counts();
        let seldom = source.snapshot();
        SourceStatus {
            state: seldom.phase,
            server: Some(seldom.server).filter(|server| !server.is_empty()),
            position: self.durable_position(),
            lag_seconds: Some(seconds_between(self.source_until(), now)),
            error: seldom.error,
            events,
            filtered_events,
            reconnects,
            asking: self.asked_tables(),
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

    fn snapshot(&self) -> SnapshotStatus {
        let tables = self.live.snapshot.tables().into_iter().map(|table| SnapshotTableStatus {
            table: table.table.to_string(),
            state: table.phase,
            rows: table.rows,
            estimated_rows: table.estimated_rows,
            rows_per_second: table.rows_per_second,
            eta_seconds: table.eta.map(|eta| eta.as_secs()),
            error: table.error,
        });
        SnapshotStatus { tables: tables.collect() }
    }

    fn sink(&self, sink: &SinkLive, applied: Lsn, cursor: Option<&CursorInfo>, durable: u64, now: i64) -> SinkStatus {
        let (state, error) = sink.state();
        // Before the sink was opened, only the log knows how far it is.
        let applied = if applied == Lsn::ZERO { cursor.map_or(applied, |cursor| cursor.lsn) } else { applied };
        let complete = applied.raw() >= durable;
        // A sink that has everything is as late as the source itself.
        let applied_until = match sink.applied_commit_micros() {
            0 => self.started_micros,
            micros => micros,
        };
        let until = if complete { applied_until.max(self.source_until()) } else { applied_until };
        // The cursor follows the target within moments; what the target has is no backlog.
        let backlog = cursor.filter(|_| !complete);
        SinkStatus {
            name: sink.name.clone(),
            kind: sink.kind.to_owned(),
            state: if cursor.is_some_and(|cursor| cursor.detached) { SinkPhase::Detached } else { state },
            delivered_lsn: sink.delivered_lsn().max(applied).raw(),
            applied_lsn: applied.raw(),
            backlog_bytes: backlog.map_or(0, |cursor| cursor.backlog_bytes),
            backlog_transactions: backlog.map_or(0, |cursor| cursor.backlog_groups),
            lag_seconds: Some(seconds_between(until, now)),
            error,
            errors: sink.errors(),
            passed_over_frames: sink.frames_passed_over(),
            waiting: sink.waiting().map(waiting_status),
            stopped_tables: sink.stopped_tables().into_iter().map(stopped_status).collect(),
            batches: sink.batches().into_iter().map(|(table, sent)| batch_status(&table, sent)).collect(),
        }
    }

    fn tables(&self) -> Vec<TableStatus> {
        // What is applied is read before what is appended.
        let sinks: Vec<_> = self.live.sinks().iter().map(|sink| (sink.name.clone(), sink.tables())).collect();
        let mut tables: BTreeMap<TableName, SourceRows> =
            self.live.tables().into_iter().map(|(name, counts)| (name, counts.get())).collect();
        // A table of which this process has read nothing may still have rows on their way.
        for name in sinks.iter().flat_map(|(_, tables)| tables.keys()) {
            tables.entry(name.clone()).or_default();
        }
        let at_sinks = |name: &TableName| {
            let of = |(sink, tables): &(String, BTreeMap<TableName, SinkTableLive>)| {
                (sink.clone(), tables.get(name).cloned().unwrap_or_default())
            };
            sinks.iter().map(of).collect::<Vec<_>>()
        };
        tables.into_iter().map(|(name, rows)| TableStatus::new(&name, rows, at_sinks(&name))).collect()
    }
}

fn waiting_status(waiting: WaitingLive) -> WaitingStatus {
    let WaitingLive { table, schema, lsn, since_micros } = waiting;
    let since = std::time::Duration::from_micros(u64::try_from(since_micros).unwrap_or(0));
    let since = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string();
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
mod tests {
    use super::*;
    use crate::model::{RowCounts, SchemaId, ServerIdentity, SinkRows, SourcePosition};
    use crate::telemetry::{SnapshotPhase, SnapshotTable, SourcePhase};
    use wal::{GroupEnd, Options};

    fn live_with_one_sink() -> (Arc<Live>, Arc<SinkLive>) {
        let live = Arc::new(Live::default());
        let sink = Arc::new(SinkLive::new("local", "sqlite"));
        live.add_sink(Arc::clone(&sink));
        (live, sink)
    }

    #[tokio::test]
    async fn a_status_holds_what_the_loops_and_the_log_say() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        wal.create_cursor("local", Lsn::ZERO).await.unwrap();
        for _ in 0..3 {
            appender.append(&[b"frame"], GroupEnd::Ends).unwrap();
        }
        appender.flush_durable().await.unwrap();
        let (live, sink) = live_with_one_sink();
        let users = TableName::new("shop", "users");
        live.source.phase(SourcePhase::Streaming, None);
        live.source.server("MySQL 9.7.0".into());
        let position = SourcePosition {
            server: ServerIdentity::MySql { server_uuid: "u".into() },
            file: "binlog.000002".into(),
            pos: 99,
            file_created: 0,
            gtid: "u:1-3".into(),
        };
        let value = crate::codec::stored::encode(&StoredPosition::MySql(position)).unwrap();
        wal.put_state(vec![(SOURCE_POSITION.key().to_vec(), Some(value))]).await.unwrap();
        live.table(&users).set(SourceRows { read: 12, appended: 9, filtered: 1, left_out: 2 });
        sink.phase(SinkPhase::Running, None);
        sink.delivered(Lsn::new(2));
        sink.applied(Lsn::new(1), Some(now_micros() - 5_000_000));
        let counts = RowCounts {
            taken: 6,
            acknowledged: 4,
            netted: 1,
            split: 2,
            unmatched: 1,
            skipped: 2,
            recovered: 1,
            sent: 3,
        };
        let rows = SinkRows { delivered: 6, not_theirs: 1, left_out: 1, sink: counts, before: 1 };
        sink.load_tables([(users.clone(), SinkRows::default(), Some("3 of 4".to_owned()))]);
        sink.table(&users, rows, Some("5 of 6"));
        sink.passed_over();
        sink.waits(Some(WaitingLive {
            table: users.clone(),
            schema: SchemaId(7),
            lsn: Lsn::new(3),
            since_micros: 1_500,
        }));
        sink.stopped([(users.clone(), Lsn::new(2), "it is gone".to_owned())]);
        wal.ack("local", Lsn::new(1), b"", Vec::new()).await.unwrap();
        live.snapshot.set(vec![SnapshotTable {
            table: users,
            phase: SnapshotPhase::Running,
            rows: 5,
            estimated_rows: 50,
            rows_per_second: Some(2.5),
            eta: Some(std::time::Duration::from_secs(18)),
            error: None,
        }]);

        let status = Reporter::new(live, wal.clone(), directory.path()).status();

        assert_eq!(status.source.state, SourcePhase::Streaming);
        let position = Position { file: Some("binlog.000002".into()), pos: Some(99), gtid: "u:1-3".into() };
        assert_eq!(status.source.position, Some(position));
        assert_eq!((status.wal.first_lsn, status.wal.durable_lsn, status.wal.max_bytes), (1, 3, 64 << 20));
        assert_eq!(status.wal.error, None);
        let [sink] = &status.sinks[..] else { panic!("one sink") };
        assert_eq!((sink.applied_lsn, sink.delivered_lsn, sink.backlog_transactions), (1, 2, 2));
        assert_eq!(sink.backlog_bytes, wal.cursors()[0].backlog_bytes);
        assert!(sink.backlog_bytes > 0);
        let lag = sink.lag_seconds.unwrap();
        assert!((5.0..60.0).contains(&lag), "{lag}");
        let json = serde_json::to_value(&status).unwrap();
        let at_sink = serde_json::json!({
            "delivered": 6, "taken": 6, "acknowledged": 4, "netted": 1, "split": 2, "unmatched": 1, "left_out": 1,
            "not_theirs": 1, "recovered": 1, "sent": 3, "before": 1, "doubt": "5 of 6",
        });
        let table = serde_json::json!({
            "table": "shop.users", "read": 12, "appended": 9, "filtered": 1, "left_out": 2,
            "applied": {"local": 4}, "skipped": {"local": 2}, "pending": {"local": 0}, "sinks": {"local": at_sink},
        });
        assert_eq!(json["tables"], serde_json::json!([table]));
        let snapshot = serde_json::json!({
            "table": "shop.users", "state": "running", "rows": 5, "estimated_rows": 50,
            "rows_per_second": 2.5, "eta_seconds": 18, "error": null,
        });
        assert_eq!(json["snapshot"]["tables"], serde_json::json!([snapshot]));
        assert_eq!(json["sinks"][0]["type"], "sqlite");
        assert_eq!(json["sinks"][0]["passed_over_frames"], 1);
        let waiting =
            serde_json::json!({ "table": "shop.users", "schema": 7, "lsn": 3, "since": "1970-01-01T00:00:00.001Z" });
        assert_eq!(json["sinks"][0]["waiting"], waiting);
        let stopped = serde_json::json!([{ "table": "shop.users", "since_lsn": 2, "reason": "it is gone" }]);
        assert_eq!(json["sinks"][0]["stopped_tables"], stopped);
        wal.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_sink_that_has_everything_is_as_late_as_the_source_and_no_later() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        wal.create_cursor("local", Lsn::ZERO).await.unwrap();
        appender.append(&[b"frame"], GroupEnd::Ends).unwrap();
        appender.flush_durable().await.unwrap();
        let (live, sink) = live_with_one_sink();
        let reporter = Reporter::new(Arc::clone(&live), wal.clone(), directory.path());
        let hour_ago = now_micros() - 3_600_000_000;
        // The last transaction is an hour old, and the source has said since that there is nothing newer.
        sink.applied(Lsn::new(1), Some(hour_ago));
        live.source.caught_up(now_micros());
        assert!(reporter.status().sinks[0].lag_seconds.unwrap() < 60.0);
        assert_eq!(reporter.status().sinks[0].backlog_bytes, 0);
        // The source stalls: the sink is as late, although it has all there is.
        live.source.caught_up(hour_ago);
        assert!(reporter.status().sinks[0].lag_seconds.unwrap() >= 3600.0);
        // More stands in the log: what the source has said since says nothing about the sink.
        live.source.caught_up(now_micros());
        appender.append(&[b"frame"], GroupEnd::Ends).unwrap();
        appender.flush_durable().await.unwrap();
        assert!(reporter.status().sinks[0].lag_seconds.unwrap() >= 3600.0);
        wal.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn lag_grows_from_the_start_of_the_process_while_the_source_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let (live, _) = live_with_one_sink();
        let mut reporter = Reporter::new(live, wal.clone(), directory.path());
        reporter.started_micros -= 7_000_000;
        let status = reporter.status();
        assert!(status.source.lag_seconds.unwrap() >= 7.0);
        assert!(status.sinks[0].lag_seconds.unwrap() >= 7.0);
        wal.shutdown().await.unwrap();
    }
}
