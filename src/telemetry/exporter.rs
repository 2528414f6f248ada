//! How a [`Status`] becomes Prometheus's text.

use metrics::{Recorder, Unit, counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::metrics::{self as name, Kind, METRICS};
use super::{SinkPhase, SnapshotPhase, SourcePhase, Status, TableStatus};

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
    gauge!(name::BUILD_INFO, "version" => status.version.clone()).set(1.0);
    gauge!(name::UPTIME).set(number(status.uptime_seconds));
    publish_source(status);
    publish_wal(status);
    publish_sinks(status);
    for table in &status.tables {
        publish_table(table);
    }
}

fn publish_table(table: &TableStatus) {
    let label = || table.table.clone();
    counter!(name::ROWS_READ, "table" => label()).absolute(table.read);
    counter!(name::ROWS_APPENDED, "table" => label()).absolute(table.appended);
    counter!(name::ROWS_FILTERED, "table" => label()).absolute(table.filtered);
    counter!(name::ROWS_LEFT_OUT, "table" => label()).absolute(table.left_out);
    for (metric, by_sink) in [(name::ROWS_PROCESSED, &table.applied), (name::ROWS_SKIPPED, &table.skipped)] {
        for (sink, rows) in by_sink {
            counter!(metric, "sink" => sink.clone(), "table" => label()).absolute(*rows);
        }
    }
    for (sink, rows) in &table.sinks {
        for (metric, value) in [
            (name::ROWS_DELIVERED, rows.delivered),
            (name::ROWS_TAKEN, rows.taken),
            (name::ROWS_ACKNOWLEDGED, rows.acknowledged),
            (name::ROWS_NETTED, rows.netted),
            (name::ROWS_SPLIT, rows.split),
            (name::ROWS_UNMATCHED, rows.unmatched),
            (name::ROWS_RECOVERED, rows.recovered),
            (name::ROWS_SENT, rows.sent),
            (name::ROWS_BEFORE, rows.before),
            (name::ROWS_NOT_THEIRS, rows.not_theirs),
            (name::ROWS_UNKNOWN, rows.left_out),
        ] {
            counter!(metric, "sink" => sink.clone(), "table" => label()).absolute(value);
        }
    }
}

fn publish_source(status: &Status) {
    for state in SourcePhase::ALL {
        gauge!(name::SOURCE_STATE, "state" => state.as_str()).set(flag(status.source.state == state));
    }
    if let Some(lag) = status.source.lag_seconds {
        gauge!(name::SOURCE_LAG).set(lag);
    }
    counter!(name::SOURCE_EVENTS).absolute(status.source.events);
    counter!(name::SOURCE_FILTERED).absolute(status.source.filtered_events);
    counter!(name::SOURCE_RECONNECTS).absolute(status.source.reconnects);
    let tables = &status.snapshot.tables;
    for state in SnapshotPhase::ALL {
        let count = tables.iter().filter(|table| table.state == state).count();
        gauge!(name::SNAPSHOT_TABLES, "state" => state.as_str()).set(number(u64::try_from(count).unwrap_or(u64::MAX)));
    }
    for table in tables {
        gauge!(name::SNAPSHOT_ROWS, "table" => table.table.clone()).set(number(table.rows));
        gauge!(name::SNAPSHOT_ESTIMATE, "table" => table.table.clone()).set(number(table.estimated_rows));
    }
}

fn publish_wal(status: &Status) {
    let wal = &status.wal;
    gauge!(name::WAL_BYTES).set(number(wal.bytes));
    gauge!(name::WAL_CAPACITY).set(number(wal.capacity_bytes));
    gauge!(name::WAL_DISK).set(number(wal.disk_bytes));
    gauge!(name::WAL_MAX).set(number(wal.max_bytes));
    gauge!(name::WAL_FULL).set(flag(wal.full));
    gauge!(name::WAL_FIRST).set(number(wal.first_lsn));
    gauge!(name::WAL_DURABLE).set(number(wal.durable_lsn));
    counter!(name::WAL_COMMITS).absolute(wal.commits);
}

fn publish_sinks(status: &Status) {
    for sink in &status.sinks {
        let label = || sink.name.clone();
        for state in SinkPhase::ALL {
            gauge!(name::SINK_STATE, "sink" => label(), "state" => state.as_str()).set(flag(sink.state == state));
        }
        if let Some(lag) = sink.lag_seconds {
            gauge!(name::LAG, "sink" => label()).set(lag);
        }
        gauge!(name::APPLIED, "sink" => label()).set(number(sink.applied_lsn));
        counter!(name::ERRORS, "sink" => label()).absolute(sink.errors);
        gauge!(name::BACKLOG_BYTES, "sink" => label()).set(number(sink.backlog_bytes));
        gauge!(name::BACKLOG_TRANSACTIONS, "sink" => label()).set(number(sink.backlog_transactions));
        let stopped = u64::try_from(sink.stopped_tables.len()).unwrap_or(u64::MAX);
        gauge!(name::TABLE_STOPPED, "sink" => label()).set(number(stopped));
        let in_doubt = |table: &&TableStatus| table.sinks.get(&sink.name).is_some_and(|rows| rows.doubt.is_some());
        let in_doubt = u64::try_from(status.tables.iter().filter(in_doubt).count()).unwrap_or(u64::MAX);
        gauge!(name::TABLE_DOUBTED, "sink" => label()).set(number(in_doubt));
        gauge!(name::SINK_WAITING, "sink" => label()).set(flag(sink.waiting.is_some()));
        counter!(name::PASSED_OVER, "sink" => label()).absolute(sink.passed_over_frames);
        for sent in &sink.batches {
            let table = || sent.table.clone();
            counter!(name::BATCHES, "sink" => label(), "table" => table()).absolute(sent.batches);
            counter!(name::BATCH_ROWS, "sink" => label(), "table" => table()).absolute(sent.rows);
            let seconds = std::time::Duration::from_secs_f64(sent.seconds).as_secs();
            counter!(name::BATCH_SECONDS, "sink" => label(), "table" => table()).absolute(seconds);
            if let Some(parts) = sent.parts {
                gauge!(name::PARTS, "sink" => label(), "table" => table()).set(number(parts));
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
            sent: 40,
            before: 41,
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
                asking: Vec::new(),
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
}
