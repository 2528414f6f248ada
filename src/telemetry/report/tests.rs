use wal::{GroupEnd, Options};

use super::*;
use crate::codec::frame::TableChange;
use crate::error::ErrorClass;
use crate::model::{RowCounts, SchemaId, ServerIdentity, SinkRows, SourcePosition};
use crate::table::{Ask, At, Event, Reach, State, TableRecord, step};
use crate::telemetry::{ReadLive, SinkTableLive, SourcePhase, SourceRows};

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
        ..RowCounts::default()
    };
    let rows = SinkRows { delivered: 6, not_theirs: 1, left_out: 1, sink: counts, before: 1 };
    let at_sink = |rows, doubt: &str| SinkTableLive { rows, doubt: Some(doubt.to_owned()), ..SinkTableLive::default() };
    sink.load_tables([(users.clone(), at_sink(SinkRows::default(), "3 of 4"))]);
    sink.table(&users, at_sink(rows, "5 of 6"));
    sink.passed_over();
    sink.waits(Some(WaitingLive { table: users.clone(), schema: SchemaId(7), lsn: Lsn::new(3), since_micros: 1_500 }));
    sink.stopped([(users.clone(), Lsn::new(2), "it is gone".to_owned())]);
    wal.ack("local", Lsn::new(1), b"", Vec::new()).await.unwrap();
    let at = At::new(Lsn::new(1), 0);
    let (met, _) = step(&TableRecord::default(), Event::Met { initial: true }, at);
    live.record(&users, step(&met, Event::Begun { number: 1, at_once: false, is_known: true }, at).0);
    live.reader(
        &users,
        Some(ReadLive {
            estimated_rows: 50,
            spooled_rows: 0,
            rows_per_second: Some(2.5),
            eta: Some(std::time::Duration::from_secs(18)),
            error: Some("lost".into()),
        }),
    );
    live.schema_changed(&TableChange::Truncate { table: users.clone() });
    sink.failed(ErrorClass::Retry);

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
    assert_eq!(sink.lag_at_least_seconds, Some(lag), "a table that the sink has stopped does not count");
    let json = serde_json::to_value(&status).unwrap();
    let at_sink = serde_json::json!({
        "state": "stopped", "since_lsn": 2, "why": "it is gone", "delivered": 6, "taken": 6, "acknowledged": 4, "netted": 1, "split": 2, "unmatched": 1, "left_out": 1,
        "not_theirs": 1, "recovered": 1, "ruled_out": 0, "dead_lettered": 0, "sent": 3, "before": 1, "doubt": "5 of 6",
    });
    let table = serde_json::json!({
        "table": "shop.users", "state": "reading", "why": "it was never read", "reads": 1, "read": 12, "appended": 9, "filtered": 1, "left_out": 2,
        "applied": {"local": 4}, "skipped": {"local": 2}, "pending": {"local": 0}, "sinks": {"local": at_sink},
    });
    assert_eq!(json["tables"], serde_json::json!([table]));
    let snapshot = serde_json::json!({
        "table": "shop.users", "state": "reading", "running": true, "why": "it was never read", "sinks": null, "rows": 0,
        "estimated_rows": 50, "rows_per_second": 2.5, "eta_seconds": 18, "error": "lost",
    });
    assert_eq!(json["snapshot"]["tables"], serde_json::json!([snapshot]));
    assert_eq!(json["sinks"][0]["type"], "sqlite");
    assert_eq!(json["sinks"][0]["tables"], serde_json::json!({"stopped": 1}));
    assert_eq!(json["health"]["status"], "failed");
    assert_eq!(json["health"]["reasons"][0]["table"], "shop.users");
    assert_eq!(json["schema_changes"]["truncate"], 1);
    assert!(
        json["errors"].as_array().unwrap().contains(&serde_json::json!({"type": "sink", "class": "retry", "count": 1}))
    );
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

/// The record of a table that was read whole up to LSN 1.
fn read_whole() -> TableRecord {
    let at = At::new(Lsn::new(1), 0);
    let (met, _) = step(&TableRecord::default(), Event::Met { initial: true }, at);
    let (begun, _) = step(&met, Event::Begun { number: 1, at_once: false, is_known: true }, at);
    step(&begun, Event::Finished { number: 1 }, at).0
}

#[tokio::test]
async fn a_lag_is_unknown_while_a_table_is_being_read_and_what_it_is_at_least_grows() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    let (live, sink) = live_with_one_sink();
    let mut reporter = Reporter::new(Arc::clone(&live), wal.clone(), directory.path());
    sink.applied(Lsn::new(1), Some(now_micros()));
    live.source.caught_up(now_micros());
    let at = At::new(Lsn::new(1), 0);
    let table = TableName::new("shop", "users");
    let lags = |reporter: &Reporter| {
        let status = reporter.status();
        (status.sinks[0].lag_seconds, status.sinks[0].lag_at_least_seconds.unwrap(), status.sinks[0].tables.clone())
    };

    live.record(&table, step(&TableRecord::default(), Event::Met { initial: true }, at).0);
    let (lag, least, tables) = lags(&reporter);
    assert_eq!((lag, tables), (None, BTreeMap::from([(State::Reading, 1)])));
    assert!(least < 60.0, "{least}");
    // A read that an earlier run began is incomplete since the start of this one.
    live.record(&table, TableRecord::default());
    live.record_at(&table, step(&TableRecord::default(), Event::Met { initial: true }, at).0, 0);
    reporter.started_micros = now_micros() - 100_000_000;
    let (_, least, _) = lags(&reporter);
    assert!((100.0..160.0).contains(&least), "{least}");

    // The log has all of it, and the sink has not.
    live.record(&table, read_whole());
    assert_eq!(lags(&reporter).0, None);
    sink.table(&table, SinkTableLive { whole_since: Some(Lsn::new(1)), ..SinkTableLive::default() });
    let (lag, least, tables) = lags(&reporter);
    assert!(lag.unwrap() < 60.0);
    assert_eq!((lag, tables), (Some(least), BTreeMap::from([(State::Complete, 1)])));

    // A read for another sink is none for this one.
    let other = Event::Asked(Ask::new(Reach::Whole, "new").of_sink("other"));
    live.record(&table, step(&read_whole(), other, at).0);
    assert!(lags(&reporter).0.is_some());
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_cursor_of_a_sink_that_is_not_configured_is_a_row_with_its_backlog_and_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    for name in ["local", "old"] {
        wal.create_cursor(name, Lsn::ZERO).await.unwrap();
    }
    appender.append(&[b"frame"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal.ack("local", Lsn::new(1), b"", Vec::new()).await.unwrap();
    let (live, sink) = live_with_one_sink();
    sink.phase(SinkPhase::Running, None);
    sink.applied(Lsn::new(1), None);
    live.source.phase(SourcePhase::Streaming, None);
    let table = TableName::new("shop", "users");
    live.record(&table, read_whole());

    let status = Reporter::new(live, wal.clone(), directory.path()).status();

    let rows: Vec<_> = status.sinks.iter().map(|sink| (sink.name.as_str(), sink.kind.as_deref(), sink.state)).collect();
    assert_eq!(rows, [("local", Some("sqlite"), SinkPhase::Running), ("old", None, SinkPhase::Unconfigured)]);
    assert!(status.sinks[1].backlog_bytes > 0);
    assert_eq!(status.slowest().unwrap().name, "old");
    assert_eq!(status.sinks[1].remedy.as_deref(), Some("replicator wal drop-cursor old"));
    assert_eq!(status.health.status, crate::telemetry::Verdict::Degraded);
    assert_eq!(status.tables[0].sinks.keys().collect::<Vec<_>>(), ["local"]);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn seconds_since_the_last_success_are_none_for_an_idle_sink_and_grow_for_one_that_does_not_get_on() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    let (live, sink) = live_with_one_sink();
    let mut reporter = Reporter::new(live, wal.clone(), directory.path());
    reporter.started_micros -= 100_000_000;
    let since = |reporter: &Reporter| reporter.status().sinks[0].last_success_seconds.unwrap();
    sink.phase(SinkPhase::Running, None);
    assert!(since(&reporter) < 60.0, "there is nothing to apply");
    appender.append(&[b"frame"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    assert!(since(&reporter) >= 100.0);
    sink.applied(Lsn::ZERO, None);
    assert!(since(&reporter) < 60.0);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_sink_that_has_not_been_opened_has_what_the_log_says_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    for _ in 0..9 {
        appender.append(&[b"frame"], GroupEnd::Ends).unwrap();
    }
    appender.flush_durable().await.unwrap();
    wal.ack("local", Lsn::new(9), b"", Vec::new()).await.unwrap();
    let (live, sink) = live_with_one_sink();
    let table = TableName::new("shop", "users");
    let created = step(&TableRecord::default(), Event::Created, At::new(Lsn::new(7), 0)).0;
    live.record(&table, created);
    sink.load_tables([(table, SinkTableLive { whole_since: Some(Lsn::new(7)), ..SinkTableLive::default() })]);
    sink.phase(SinkPhase::Retrying, Some("refused".into()));

    let status = Reporter::new(live, wal.clone(), directory.path()).status();

    assert_eq!(status.sinks[0].applied_lsn, 9);
    assert_eq!(status.tables[0].sinks["local"].stated.state, Some(State::Complete));
    wal.shutdown().await.unwrap();
}
