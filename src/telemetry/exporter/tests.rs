use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::ReplacedValues;
use crate::table::State;
use crate::telemetry::status::{
    BatchStatus, ErrorsStatus, LettersStatus, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus,
    StoppedTableStatus, WaitingStatus, WalStatus,
};
use crate::telemetry::{BySink, Health, SinkRowsStatus, StateStatus, TableStatus};

fn at_sink() -> SinkRowsStatus {
    SinkRowsStatus {
        stated: StateStatus { state: Some(State::Stopped), ..StateStatus::default() },
        delivered: 31,
        taken: 32,
        acknowledged: 33,
        netted: 34,
        split: 35,
        unmatched: 36,
        left_out: 37,
        not_theirs: 38,
        recovered: 39,
        ruled_out: 42,
        dead_lettered: 43,
        dead_letters: 0,
        replaced: ReplacedValues { zero_dates: 44, invalid_text: 45, unconvertible: 46 },
        sent: 40,
        before: 41,
        doubt: Some("31 is not 32".into()),
    }
}

fn sample() -> Status {
    let one = |value: u64| BySink::from([("local".to_owned(), value)]);
    Status {
        version: "9.9.9".into(),
        running: true,
        health: Health { status: Verdict::Degraded, reasons: Vec::new() },
        pid: Some(1),
        uptime_seconds: 60,
        source: SourceStatus {
            state: SourcePhase::Streaming,
            since: None,
            server: None,
            names: crate::model::Names::Exact,
            position: None,
            lag_seconds: Some(1.5),
            last_success_seconds: Some(2.5),
            error: None,
            events: 11,
            filtered_events: 12,
            reconnects: 13,
            asking: Vec::new(),
            waits_for: Vec::new(),
        },
        wal: WalStatus { bytes: 14, max_bytes: 15, durable_lsn: 16, full: true, ..WalStatus::default() },
        snapshot: SnapshotStatus {
            tables: vec![SnapshotTableStatus {
                table: "shop.users".into(),
                state: State::Reading,
                running: true,
                why: "it was never read".into(),
                sinks: None,
                rows: 17,
                estimated_rows: 18,
                rows_per_second: None,
                eta_seconds: None,
                error: None,
            }],
        },
        sinks: vec![SinkStatus {
            name: "local".into(),
            kind: Some("sqlite".into()),
            state: SinkPhase::Retrying,
            since: None,
            delivered_lsn: 10,
            applied_lsn: 9,
            backlog_bytes: 19,
            backlog_transactions: 20,
            lag_seconds: None,
            lag_at_least_seconds: Some(21.0),
            last_success_seconds: Some(22.0),
            tables: BTreeMap::from([(State::Reading, 3), (State::Stopped, 1)]),
            error: None,
            remedy: None,
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
            dead_letters: LettersStatus { count: 50, bytes: 51 },
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
            stated: StateStatus { state: Some(State::Reading), ..StateStatus::default() },
            reads: 1,
            cancelled_read: None,
            read: 56,
            appended: 50,
            filtered: 1,
            left_out: 5,
            applied: one(20),
            skipped: one(4),
            pending: one(2),
            sinks: BySink::from([("local".to_owned(), at_sink())]),
        }],
        schema_changes: BTreeMap::from([("alter".to_owned(), 42)]),
        errors: vec![ErrorsStatus { kind: "read".into(), class: "retry".into(), count: 43 }],
    }
}

#[test]
fn every_metric_is_exported_with_its_labels_and_no_other_is() {
    let text = Exporter::new(true).render(&sample());
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
    let exporter = Exporter::new(true);
    let mut status = sample();
    status.sinks[0].lag_at_least_seconds = Some(3.0);
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
        "replicator_rows_ruled_out_total{sink=\"local\",table=\"shop.users\"} 42",
        "replicator_rows_dead_lettered_total{sink=\"local\",table=\"shop.users\"} 43",
        "replicator_values_replaced_total{sink=\"local\",table=\"shop.users\",policy=\"zero_dates\"} 44",
        "replicator_values_replaced_total{sink=\"local\",table=\"shop.users\",policy=\"invalid_text\"} 45",
        "replicator_values_replaced_total{sink=\"local\",table=\"shop.users\",policy=\"unconvertible\"} 46",
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
        "replicator_tables{sink=\"local\",state=\"reading\"} 3",
        "replicator_tables{sink=\"local\",state=\"unreadable\"} 0",
        "replicator_table_state{sink=\"local\",table=\"shop.users\",state=\"stopped\"} 1",
        "replicator_sink_stopped_tables{sink=\"local\"} 1",
        "replicator_health{status=\"degraded\"} 1",
        "replicator_health{status=\"ok\"} 0",
        "replicator_schema_changes_total{kind=\"alter\"} 42",
        "replicator_errors_total{type=\"read\",class=\"retry\"} 43",
        "replicator_source_last_success_seconds 2.5",
        "replicator_sink_last_success_seconds{sink=\"local\"} 22",
        "# TYPE replicator_rows_processed_total counter",
        "# HELP replicator_wal_full 1 while the source waits for room in the log",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn without_series_for_each_table_the_sums_are_exported() {
    let mut status = sample();
    let mut other = status.tables[0].clone();
    other.table = "shop.orders".into();
    status.tables.push(other);
    let text = Exporter::new(false).render(&status);
    assert!(!text.contains("table=\""), "{text}");
    for line in [
        "replicator_rows_read_total 112",
        "replicator_rows_processed_total{sink=\"local\"} 40",
        "replicator_rows_delivered_total{sink=\"local\"} 62",
        "replicator_snapshot_rows 17",
        "replicator_sink_table_parts{sink=\"local\"} 29",
        "replicator_tables{sink=\"local\",state=\"stopped\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("replicator_table_state{"), "{text}");
}

#[test]
fn what_is_gone_has_no_series_any_more() {
    let exporter = Exporter::new(true);
    let mut status = sample();
    assert!(exporter.render(&status).contains("shop.users"));
    status.tables.clear();
    status.snapshot.tables.clear();
    status.sinks[0].batches.clear();
    let text = exporter.render(&status);
    assert!(!text.contains("shop.users"), "{text}");
}
