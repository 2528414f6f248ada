//! Names and help of every metric, the question that each answers, and how a [`Status`] becomes metrics.
//!
//! The metrics are a status document in another form, made when they are asked for: a loop that stalls cannot hold a gauge
//! still. `docs/metrics.md` is this table (a test holds it to that).

use metrics::{Recorder, Unit, counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{SinkPhase, SnapshotPhase, SourcePhase, Status, TableStatus};

/// How a metric's value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How its value behaves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it is.
    pub help: &'static str,
    /// The question it answers.
    pub question: &'static str,
}

macro_rules! metrics_table {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal, $question:literal;)+) => {
        $(const $constant: &str = $name;)+
        /// Every metric, in the order of the flow.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help, question: $question,
        }),+];
    };
}

metrics_table! {
    BUILD_INFO = "replicator_build_info", Gauge, ["version"],
        "1, with the version as a label", "Which version runs here?";
    UPTIME = "replicator_uptime_seconds", Gauge, [],
        "Seconds since the daemon started", "Has it been restarted?";
    SOURCE_STATE = "replicator_source_state", Gauge, ["state"],
        "1 for the state the source is in, 0 for the others", "Is the source being read?";
    SOURCE_LAG = "replicator_source_lag_seconds", Gauge, [],
        "Age of the newest moment up to which the log is known to be complete; grows while the source stalls",
        "How late is the log behind the server?";
    SOURCE_EVENTS = "replicator_source_events_total", Counter, [],
        "Events read from the source since the start", "Does the source send anything?";
    SOURCE_FILTERED = "replicator_source_events_filtered_total", Counter, [],
        "Events read since the start that are of tables which are not captured", "How much of the stream is for nothing?";
    SOURCE_RECONNECTS = "replicator_source_reconnects_total", Counter, [],
        "Connections to the source made again since the start", "Is the connection stable?";
    ROWS_READ = "replicator_rows_read_total", Counter, ["table"],
        "Row changes of captured tables that came from the source", "Which tables change, and how much?";
    ROWS_APPENDED = "replicator_rows_appended_total", Counter, ["table"],
        "Row changes that are in the log", "Does what was read reach the log? read = appended + filtered + left out";
    ROWS_FILTERED = "replicator_rows_filtered_total", Counter, ["table"],
        "Snapshot rows that are not in the log because the stream had a newer state",
        "How many rows did snapshot and stream share?";
    ROWS_LEFT_OUT = "replicator_rows_left_out_total", Counter, ["table"],
        "Row changes that are not in the log because the table is left out", "How much of a table is missing from the log?";
    SNAPSHOT_TABLES = "replicator_snapshot_tables", Gauge, ["state"],
        "Tables by the state of their snapshot", "Is the snapshot done, and has a table failed?";
    SNAPSHOT_ROWS = "replicator_snapshot_rows", Gauge, ["table"],
        "Rows read by the snapshot of the table", "How far is the snapshot?";
    SNAPSHOT_ESTIMATE = "replicator_snapshot_estimated_rows", Gauge, ["table"],
        "Rows that the server estimates the table to have", "How far does the snapshot have to go?";
    WAL_BYTES = "replicator_wal_bytes", Gauge, [],
        "Bytes that the frames in the log take", "How much waits for sinks?";
    WAL_CAPACITY = "replicator_wal_capacity_bytes", Gauge, [],
        "What replicator_wal_bytes may become before the source has to wait", "How much room is left?";
    WAL_DISK = "replicator_wal_disk_bytes", Gauge, [],
        "What the log's file takes on disk", "How much disk does the log use?";
    WAL_MAX = "replicator_wal_max_bytes", Gauge, [],
        "wal.max_size", "How much disk may the log use?";
    WAL_FULL = "replicator_wal_full", Gauge, [],
        "1 while the source waits for room in the log", "Does a sink hold up the source?";
    WAL_FIRST = "replicator_wal_first_lsn", Gauge, [],
        "First frame that the log holds", "Is the log trimmed?";
    WAL_DURABLE = "replicator_wal_durable_lsn", Gauge, [],
        "Last frame that is durable in the log", "Does the log grow?";
    WAL_COMMITS = "replicator_wal_commits_total", Counter, [],
        "Commits of the log since the start", "How often does the log sync?";
    SINK_STATE = "replicator_sink_state", Gauge, ["sink", "state"],
        "1 for the state the sink is in, 0 for the others", "Is the sink being written?";
    ROWS_PROCESSED = "replicator_rows_processed_total", Counter, ["sink", "table"],
        "Row changes that are applied at the sink: acknowledged + netted - split + recovered",
        "Does what was appended arrive? appended = processed + skipped + left out + not theirs + pending";
    ROWS_DELIVERED = "replicator_rows_delivered_total", Counter, ["sink", "table"],
        "Row changes handed to the sink", "Did the sink take what it was handed? delivered = taken";
    ROWS_TAKEN = "replicator_rows_taken_total", Counter, ["sink", "table"],
        "Row changes that the sink took",
        "Is every row accounted for? taken = acknowledged + netted - split + skipped + recovered";
    ROWS_ACKNOWLEDGED = "replicator_rows_acknowledged_total", Counter, ["sink", "table"],
        "Operations that the target acknowledged", "What does the target itself say?";
    ROWS_NETTED = "replicator_rows_netted_total", Counter, ["sink", "table"],
        "Row changes that a later one of the same round made needless", "How much work do rounds save?";
    ROWS_SPLIT = "replicator_rows_split_total", Counter, ["sink", "table"],
        "Operations beyond one for a row change: an update of the key is two", "Why are there more operations than row changes?";
    ROWS_UNMATCHED = "replicator_rows_unmatched_total", Counter, ["sink", "table"],
        "Deletes and updates among the acknowledged that found no row", "Does the copy lack rows?";
    ROWS_RECOVERED = "replicator_rows_recovered_total", Counter, ["sink", "table"],
        "Row changes that were applied before a crash that lost their acknowledgement", "How much did crashes leave unconfirmed?";
    ROWS_NOT_THEIRS = "replicator_rows_not_theirs_total", Counter, ["sink", "table"],
        "Row changes in frames for other sinks", "How much of the log is for other sinks?";
    ROWS_UNKNOWN = "replicator_sink_rows_left_out_total", Counter, ["sink", "table"],
        "Row changes that did not reach the sink because their schema could not be known",
        "How much is missing from a table until it is read again?";
    ROWS_SKIPPED = "replicator_rows_skipped_total", Counter, ["sink", "table"],
        "Row changes left out because the sink has stopped the table", "How much is missing from a stopped table?";
    TABLE_STOPPED = "replicator_sink_stopped_tables", Gauge, ["sink"],
        "Tables that the sink leaves out because something is wrong with them", "Does a table need an operator?";
    TABLE_DOUBTED = "replicator_sink_tables_in_doubt", Gauge, ["sink"],
        "Tables whose counts do not agree and that have not been replaced since", "Does a copy differ from its source?";
    SINK_WAITING = "replicator_sink_waiting", Gauge, ["sink"],
        "1 while the sink waits for a schema that the source is asked for", "Why does the sink stand still?";
    PASSED_OVER = "replicator_sink_frames_passed_over_total", Counter, ["sink"],
        "Frames since the start that changed nothing at the sink: for other sinks, or of a kind that no sink acts on",
        "Does the sink read what is not for it?";
    BATCHES = "replicator_batches_total", Counter, ["sink", "table"],
        "Batches that the target has acknowledged since the start", "How often is a table written to?";
    BATCH_ROWS = "replicator_batch_rows_total", Counter, ["sink", "table"],
        "Rows in those batches, as the target counts", "How large are the batches?";
    BATCH_SECONDS = "replicator_batch_seconds_total", Counter, ["sink", "table"],
        "Seconds from the first byte of those batches to their acknowledgement, whole seconds", "Is the target slow?";
    PARTS = "replicator_sink_table_parts", Gauge, ["sink", "table"],
        "Active parts of the table at the target, as last asked", "Does the target keep up with merging?";
    LAG = "replicator_replication_lag_seconds", Gauge, ["sink"],
        "Age of the newest moment up to which the sink is known to be complete; grows while sink or source stalls",
        "How late is the sink behind the server?";
    APPLIED = "replicator_sink_applied_lsn", Gauge, ["sink"],
        "Last frame that is durable at the sink", "Does the sink get on?";
    ERRORS = "replicator_batch_write_errors_total", Counter, ["sink"],
        "Failed opens, writes and commits of the sink since the start", "Is the target healthy?";
    BACKLOG_BYTES = "replicator_cursor_backlog_bytes", Gauge, ["sink"],
        "Bytes of the log that the sink has not applied", "Which sink holds the log?";
    BACKLOG_TRANSACTIONS = "replicator_cursor_backlog_transactions", Gauge, ["sink"],
        "Transactions of the log that the sink has not applied", "How much work is left for the sink?";
}

/// Turns status documents into Prometheus's text.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Exporter {
    /// With every metric described.
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => recorder.describe_counter(metric.name.into(), None::<Unit>, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(metric.name.into(), None::<Unit>, metric.help.into()),
            }
        }
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    /// The metrics of a status, as Prometheus reads them.
    pub fn render(&self, status: &Status) -> String {
        with_local_recorder(&self.recorder, || publish(status));
        self.handle.run_upkeep();
        self.handle.render()
    }
}

fn publish(status: &Status) {
    gauge!(BUILD_INFO, "version" => status.version.clone()).set(1.0);
    gauge!(UPTIME).set(number(status.uptime_seconds));
    publish_source(status);
    publish_wal(status);
    publish_sinks(status);
    for table in &status.tables {
        publish_table(table);
    }
}

fn publish_table(table: &TableStatus) {
    let name = || table.table.clone();
    counter!(ROWS_READ, "table" => name()).absolute(table.read);
    counter!(ROWS_APPENDED, "table" => name()).absolute(table.appended);
    counter!(ROWS_FILTERED, "table" => name()).absolute(table.filtered);
    counter!(ROWS_LEFT_OUT, "table" => name()).absolute(table.left_out);
    for (metric, by_sink) in [(ROWS_PROCESSED, &table.applied), (ROWS_SKIPPED, &table.skipped)] {
        for (sink, rows) in by_sink {
            counter!(metric, "sink" => sink.clone(), "table" => name()).absolute(*rows);
        }
    }
    for (sink, rows) in &table.sinks {
        for (metric, value) in [
            (ROWS_DELIVERED, rows.delivered),
            (ROWS_TAKEN, rows.taken),
            (ROWS_ACKNOWLEDGED, rows.acknowledged),
            (ROWS_NETTED, rows.netted),
            (ROWS_SPLIT, rows.split),
            (ROWS_UNMATCHED, rows.unmatched),
            (ROWS_RECOVERED, rows.recovered),
            (ROWS_NOT_THEIRS, rows.not_theirs),
            (ROWS_UNKNOWN, rows.left_out),
        ] {
            counter!(metric, "sink" => sink.clone(), "table" => name()).absolute(value);
        }
    }
}

fn publish_source(status: &Status) {
    for state in SourcePhase::ALL {
        gauge!(SOURCE_STATE, "state" => state.as_str()).set(flag(status.source.state == state));
    }
    if let Some(lag) = status.source.lag_seconds {
        gauge!(SOURCE_LAG).set(lag);
    }
    counter!(SOURCE_EVENTS).absolute(status.source.events);
    counter!(SOURCE_FILTERED).absolute(status.source.filtered_events);
    counter!(SOURCE_RECONNECTS).absolute(status.source.reconnects);
    let tables = &status.snapshot.tables;
    for state in SnapshotPhase::ALL {
        let count = tables.iter().filter(|table| table.state == state).count();
        gauge!(SNAPSHOT_TABLES, "state" => state.as_str()).set(number(u64::try_from(count).unwrap_or(u64::MAX)));
    }
    for table in tables {
        gauge!(SNAPSHOT_ROWS, "table" => table.table.clone()).set(number(table.rows));
        gauge!(SNAPSHOT_ESTIMATE, "table" => table.table.clone()).set(number(table.estimated_rows));
    }
}

fn publish_wal(status: &Status) {
    let wal = &status.wal;
    gauge!(WAL_BYTES).set(number(wal.bytes));
    gauge!(WAL_CAPACITY).set(number(wal.capacity_bytes));
    gauge!(WAL_DISK).set(number(wal.disk_bytes));
    gauge!(WAL_MAX).set(number(wal.max_bytes));
    gauge!(WAL_FULL).set(flag(wal.full));
    gauge!(WAL_FIRST).set(number(wal.first_lsn));
    gauge!(WAL_DURABLE).set(number(wal.durable_lsn));
    counter!(WAL_COMMITS).absolute(wal.commits);
}

fn publish_sinks(status: &Status) {
    for sink in &status.sinks {
        let name = || sink.name.clone();
        for state in SinkPhase::ALL {
            gauge!(SINK_STATE, "sink" => name(), "state" => state.as_str()).set(flag(sink.state == state));
        }
        if let Some(lag) = sink.lag_seconds {
            gauge!(LAG, "sink" => name()).set(lag);
        }
        gauge!(APPLIED, "sink" => name()).set(number(sink.applied_lsn));
        counter!(ERRORS, "sink" => name()).absolute(sink.errors);
        gauge!(BACKLOG_BYTES, "sink" => name()).set(number(sink.backlog_bytes));
        gauge!(BACKLOG_TRANSACTIONS, "sink" => name()).set(number(sink.backlog_transactions));
        let stopped = u64::try_from(sink.stopped_tables.len()).unwrap_or(u64::MAX);
        gauge!(TABLE_STOPPED, "sink" => name()).set(number(stopped));
        let in_doubt = |table: &&TableStatus| table.sinks.get(&sink.name).is_some_and(|rows| rows.doubt.is_some());
        let in_doubt = u64::try_from(status.tables.iter().filter(in_doubt).count()).unwrap_or(u64::MAX);
        gauge!(TABLE_DOUBTED, "sink" => name()).set(number(in_doubt));
        gauge!(SINK_WAITING, "sink" => name()).set(flag(sink.waiting.is_some()));
        counter!(PASSED_OVER, "sink" => name()).absolute(sink.passed_over_frames);
        for sent in &sink.batches {
            let table = || sent.table.clone();
            counter!(BATCHES, "sink" => name(), "table" => table()).absolute(sent.batches);
            counter!(BATCH_ROWS, "sink" => name(), "table" => table()).absolute(sent.rows);
            let seconds = std::time::Duration::from_secs_f64(sent.seconds).as_secs();
            counter!(BATCH_SECONDS, "sink" => name(), "table" => table()).absolute(seconds);
            if let Some(parts) = sent.parts {
                gauge!(PARTS, "sink" => name(), "table" => table()).set(number(parts));
            }
        }
    }
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no integers; above 2^53 the last digits go")]
fn number(value: u64) -> f64 {
    value as f64
}

/// The documentation of the metrics, as it is in `docs/metrics.md`.
pub fn documentation() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `http.listen` serves these at `/metrics`. They are computed from the state of the daemon whenever they are asked \
         for, so lag and backlog\nkeep growing while a loop stalls. Row counters go on across restarts; the counters that \
         say \"since the start\" begin at 0.\n\n\
         | metric | type | labels | what it is | the question it answers |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels = metric.labels.join(", ");
        let cells = [&format!("`{}`", metric.name), kind, &labels, metric.help, metric.question];
        text.push_str("| ");
        text.push_str(&cells.join(" | "));
        text.push_str(" |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::telemetry::status::{
        BatchStatus, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus, StoppedTableStatus, WaitingStatus,
        WalStatus,
    };
    use crate::telemetry::{SinkRowsStatus, TableStatus};

    fn at_sink() -> SinkRowsStatus {
        SinkRowsStatus {
            delivered: 31,
            taken: 32,
            acknowledged: 33,
            netted: 34,
            split: 35,
            unmatched: 36,
            left_out: 37,
            not_theirs: 38,
            recovered: 39,
            doubt: Some("31 is not 32".into()),
        }
    }

    pub(in crate::telemetry) fn sample() -> Status {
        let one = |value: u64| BTreeMap::from([("local".to_owned(), value)]);
        Status {
            version: "9.9.9".into(),
            running: true,
            pid: Some(1),
            uptime_seconds: 60,
            source: SourceStatus {
                state: SourcePhase::Streaming,
                server: None,
                position: None,
                lag_seconds: Some(1.5),
                error: None,
                events: 11,
                filtered_events: 12,
                reconnects: 13,
            },
            wal: WalStatus { bytes: 14, max_bytes: 15, durable_lsn: 16, full: true, ..WalStatus::default() },
            snapshot: SnapshotStatus {
                tables: vec![SnapshotTableStatus {
                    table: "shop.users".into(),
                    state: SnapshotPhase::Running,
                    rows: 17,
                    estimated_rows: 18,
                    rows_per_second: None,
                    eta_seconds: None,
                    error: None,
                }],
            },
            sinks: vec![SinkStatus {
                name: "local".into(),
                kind: "sqlite".into(),
                state: SinkPhase::Retrying,
                delivered_lsn: 10,
                applied_lsn: 9,
                backlog_bytes: 19,
                backlog_transactions: 20,
                lag_seconds: Some(21.0),
                error: None,
                errors: 23,
                passed_over_frames: 30,
                waiting: Some(WaitingStatus {
                    table: "shop.users".into(),
                    schema: 3,
                    lsn: 10,
                    since: "1970-01-01T00:00:00.000Z".into(),
                }),
                stopped_tables: vec![StoppedTableStatus {
                    table: "shop.users".into(),
                    since_lsn: 9,
                    reason: "gone".into(),
                }],
                batches: vec![BatchStatus {
                    table: "shop.users".into(),
                    batches: 25,
                    rows: 26,
                    bytes: 27,
                    seconds: 28.0,
                    parts: Some(29),
                }],
            }],
            tables: vec![TableStatus {
                table: "shop.users".into(),
                read: 56,
                appended: 50,
                filtered: 1,
                left_out: 5,
                applied: one(20),
                skipped: one(4),
                pending: one(2),
                sinks: BTreeMap::from([("local".to_owned(), at_sink())]),
            }],
        }
    }

    #[test]
    fn every_metric_is_exported_with_its_labels_and_no_other_is() {
        let text = Exporter::new().render(&sample());
        let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
            found.entry(name).or_default().extend(labels);
        }
        let expected: BTreeMap<&str, BTreeSet<&str>> =
            METRICS.iter().map(|metric| (metric.name, metric.labels.iter().copied().collect())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_status_shows_in_the_metrics_with_its_numbers() {
        let exporter = Exporter::new();
        let mut status = sample();
        status.sinks[0].lag_seconds = Some(3.0);
        exporter.render(&status);
        let text = exporter.render(&sample());
        for line in [
            "replicator_build_info{version=\"9.9.9\"} 1",
            "replicator_rows_processed_total{sink=\"local\",table=\"shop.users\"} 20",
            "replicator_rows_left_out_total{table=\"shop.users\"} 5",
            "replicator_rows_skipped_total{sink=\"local\",table=\"shop.users\"} 4",
            "replicator_rows_delivered_total{sink=\"local\",table=\"shop.users\"} 31",
            "replicator_rows_taken_total{sink=\"local\",table=\"shop.users\"} 32",
            "replicator_rows_acknowledged_total{sink=\"local\",table=\"shop.users\"} 33",
            "replicator_rows_netted_total{sink=\"local\",table=\"shop.users\"} 34",
            "replicator_rows_split_total{sink=\"local\",table=\"shop.users\"} 35",
            "replicator_rows_unmatched_total{sink=\"local\",table=\"shop.users\"} 36",
            "replicator_sink_rows_left_out_total{sink=\"local\",table=\"shop.users\"} 37",
            "replicator_rows_not_theirs_total{sink=\"local\",table=\"shop.users\"} 38",
            "replicator_rows_recovered_total{sink=\"local\",table=\"shop.users\"} 39",
            "replicator_sink_tables_in_doubt{sink=\"local\"} 1",
            "replicator_sink_waiting{sink=\"local\"} 1",
            "replicator_sink_frames_passed_over_total{sink=\"local\"} 30",
            "replicator_replication_lag_seconds{sink=\"local\"} 21",
            "replicator_batch_write_errors_total{sink=\"local\"} 23",
            "replicator_source_lag_seconds 1.5",
            "replicator_wal_full 1",
            "replicator_cursor_backlog_transactions{sink=\"local\"} 20",
            "replicator_sink_state{sink=\"local\",state=\"retrying\"} 1",
            "replicator_sink_state{sink=\"local\",state=\"running\"} 0",
            "replicator_snapshot_tables{state=\"running\"} 1",
            "# TYPE replicator_rows_processed_total counter",
            "# HELP replicator_wal_full 1 while the source waits for room in the log",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        if written != documentation() {
            let fresh = std::env::temp_dir().join("replicator-metrics.md");
            std::fs::write(&fresh, documentation()).unwrap();
            panic!("docs/metrics.md is not what the code says; what it should be is in {}", fresh.display());
        }
    }

    #[test]
    fn names_follow_one_form() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            assert!(metric.name.starts_with("replicator_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(names.insert(metric.name), "{} twice", metric.name);
        }
    }
}
