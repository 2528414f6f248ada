use wal::{CursorInfo, Lsn};

use super::*;
use crate::telemetry::{SinkRowsStatus, SnapshotStatus, SourceStatus, WalStatus};

/// A daemon that reads, with a sink `local` that runs and a table `shop.users` that is complete.
pub(crate) fn healthy() -> Status {
    let mut sink = SinkStatus::nothing_applied("local", Some("sqlite"), SinkPhase::Running);
    sink.backlog_bytes = 5;
    let mut status = Status {
        version: "1".into(),
        running: true,
        health: Health::default(),
        pid: Some(1),
        uptime_seconds: 1,
        source: SourceStatus {
            state: SourcePhase::Streaming,
            since: Some("2026-01-01T00:00:00.000Z".into()),
            server: None,
            names: crate::model::Names::Exact,
            position: None,
            lag_seconds: Some(0.0),
            last_success_seconds: Some(0.0),
            error: None,
            events: 0,
            filtered_events: 0,
            reconnects: 0,
            asking: Vec::new(),
            waits_for: Vec::new(),
        },
        wal: WalStatus::default(),
        snapshot: SnapshotStatus::default(),
        sinks: vec![sink],
        tables: vec![TableStatus { table: "shop.users".into(), ..TableStatus::default() }],
        schema_changes: BTreeMap::new(),
        errors: Vec::new(),
    };
    let at = SinkRowsStatus { stated: stated(State::Complete, 5), ..SinkRowsStatus::default() };
    status.tables[0].stated = stated(State::Complete, 3);
    status.tables[0].sinks.insert("local".into(), at);
    status
}

fn stated(state: State, since: u64) -> StateStatus {
    let why = (state != State::Complete).then(|| "why".to_owned());
    StateStatus { state: Some(state), since_lsn: Some(since), why, ..StateStatus::default() }
}

/// With the table in this state at the source, and so at the sink.
fn everywhere(status: &mut Status, stated: StateStatus) {
    status.tables[0].stated = stated.clone();
    at_sink(status).stated = stated;
}

fn at_sink(status: &mut Status) -> &mut SinkRowsStatus {
    status.tables[0].sinks.get_mut("local").unwrap()
}

fn cursor_of(name: &str, backlog_bytes: u64) -> CursorInfo {
    CursorInfo {
        name: name.to_owned(),
        lsn: Lsn::new(3),
        token: Vec::new(),
        backlog_bytes,
        backlog_groups: 2,
        detached: false,
    }
}

fn left_over(name: &str, backlog_bytes: u64) -> SinkStatus {
    SinkStatus::of_cursor(&cursor_of(name, backlog_bytes), None, SinkPhase::Unconfigured)
}

/// A case of the table: what is so, the verdict, and the reasons.
type Case = (&'static str, fn(&mut Status), Verdict, &'static [&'static str]);

const CASES: [Case; 30] = [
    ("a complete table", |_| {}, Verdict::Ok, &[]),
    ("a table that is being read", |status| everywhere(status, stated(State::Reading, 3)), Verdict::Ok, &[]),
    (
        "a table that is not captured",
        |status| {
            everywhere(status, StateStatus::default());
            at_sink(status).doubt = Some("1 is not 2".into());
            status.sinks[0].stopped_tables = vec![crate::telemetry::StoppedTableStatus {
                table: "shop.users".into(),
                since_lsn: 3,
                reason: "it was altered".into(),
            }];
        },
        Verdict::Ok,
        &[],
    ),
    (
        "a table that is left out by nature",
        |status| everywhere(status, StateStatus { by_nature: true, ..stated(State::LeftOut, 3) }),
        Verdict::Ok,
        &[],
    ),
    ("a sink that opens", |status| status.sinks[0].state = SinkPhase::Opening, Verdict::Ok, &[]),
    ("a sink that was stopped", |status| status.sinks[0].state = SinkPhase::Stopped, Verdict::Ok, &[]),
    ("a sink that has not run yet", |status| status.sinks[0].state = SinkPhase::NotStarted, Verdict::Ok, &[]),
    ("a source that was stopped", |status| status.source.state = SourcePhase::Stopped, Verdict::Ok, &[]),
    (
        "a sink that is tried again",
        |status| {
            status.sinks[0].state = SinkPhase::Retrying;
            status.sinks[0].error = Some("disk full".into());
        },
        Verdict::Degraded,
        &["sink local: retrying: disk full"],
    ),
    (
        "a sink with dead letters",
        |status| status.sinks[0].dead_letters.count = 2,
        Verdict::Degraded,
        &["sink local: dead_letters: 2 row changes could not be written (remedy: replicator dlq list --sink local)"],
    ),
    (
        "a sink that was stopped while it was tried again",
        |status| {
            status.sinks[0].state = SinkPhase::Stopped;
            status.sinks[0].error = Some("disk full".into());
        },
        Verdict::Degraded,
        &["sink local: stopped: disk full"],
    ),
    (
        "a source that was never reached",
        |status| status.source.state = SourcePhase::Connecting,
        Verdict::Degraded,
        &["source: connecting since 2026-01-01T00:00:00.000Z: it was not reached yet"],
    ),
    (
        "a source that was never reached, with its error",
        |status| {
            status.source.state = SourcePhase::Connecting;
            status.source.error = Some("refused".into());
        },
        Verdict::Degraded,
        &["source: connecting since 2026-01-01T00:00:00.000Z: refused"],
    ),
    (
        "a source that is lost",
        |status| {
            status.source.state = SourcePhase::Reconnecting;
            status.source.error = Some("refused".into());
        },
        Verdict::Degraded,
        &["source: reconnecting since 2026-01-01T00:00:00.000Z: refused"],
    ),
    (
        "a source that was stopped while it was lost",
        |status| {
            status.source.state = SourcePhase::Stopped;
            status.source.error = Some("refused".into());
        },
        Verdict::Degraded,
        &["source: stopped since 2026-01-01T00:00:00.000Z: refused"],
    ),
    (
        "a doubt of the source that waits",
        |status| everywhere(status, StateStatus { waiting_doubt: true, ..stated(State::Reading, 3) }),
        Verdict::Degraded,
        &["table shop.users: in_doubt since lsn 3: why"],
    ),
    (
        "a doubt of a sink",
        |status| {
            at_sink(status).stated = StateStatus { waiting_doubt: true, ..stated(State::Reading, 3) };
            at_sink(status).doubt = Some("1 is not 2".into());
        },
        Verdict::Degraded,
        &["table shop.users at sink local: in_doubt since lsn 3: 1 is not 2"],
    ),
    (
        "a doubt of a sink whose read has begun and has not come to it",
        |status| {
            everywhere(status, stated(State::Reading, 3));
            at_sink(status).doubt = Some("1 is not 2".into());
        },
        Verdict::Degraded,
        &["table shop.users at sink local: in_doubt since lsn 3: 1 is not 2"],
    ),
    (
        "a cursor that is left over",
        |status| status.sinks.push(left_over("old", 9)),
        Verdict::Degraded,
        &[
            "sink old: unconfigured: the log keeps what this cursor has not applied, and no sink of this name is configured \
           (remedy: replicator wal drop-cursor old)",
        ],
    ),
    (
        "a full log",
        |status| status.wal.full = true,
        Verdict::Degraded,
        &["log: full: the source waits for room, and sink local is the slowest"],
    ),
    (
        "a full log that a failed sink holds",
        |status| {
            status.wal.full = true;
            status.sinks[0].state = SinkPhase::Failed;
            status.sinks[0].error = Some("disk gone".into());
        },
        Verdict::Failed,
        &[
            "sink local: failed: disk gone",
            "log: full: the source waits for room, and sink local, which has failed, holds most: disk gone (remedy: fix it and restart \
             the daemon: nothing is lost; or replicator sink reset local, which gives up what the log keeps for the sink and reads its tables again)",
        ],
    ),
    (
        "a sink that was detached",
        |status| {
            let cursor = CursorInfo { detached: true, ..cursor_of("local", 9) };
            status.sinks[0] = SinkStatus::of_cursor(&cursor, None, SinkPhase::Detached);
        },
        Verdict::Failed,
        &[
            "sink local: detached: it was detached from the full log, which does not keep what follows for it (remedy: replicator sink reset local)",
        ],
    ),
    (
        "a full log, of which a cursor that is left over holds most",
        |status| {
            status.source.state = SourcePhase::LogFull;
            status.sinks.push(left_over("old", 9));
        },
        Verdict::Degraded,
        &[
            "log: full since 2026-01-01T00:00:00.000Z: the source waits for room, and cursor old of a sink that is not \
             configured holds most (remedy: replicator wal drop-cursor old)",
            "sink old: unconfigured: the log keeps what this cursor has not applied, and no sink of this name is \
             configured (remedy: replicator wal drop-cursor old)",
        ],
    ),
    (
        "a table that is left out by doubt",
        |status| everywhere(status, stated(State::LeftOut, 3)),
        Verdict::Failed,
        &["table shop.users: left_out since lsn 3: why \
           (remedy: replicator backfill --replace --table shop.users)"],
    ),
    (
        "a table that cannot be read",
        |status| everywhere(status, stated(State::Unreadable, 3)),
        Verdict::Failed,
        &["table shop.users: unreadable since lsn 3: why"],
    ),
    (
        "a table that the sink has stopped",
        |status| at_sink(status).stated = stated(State::Stopped, 7),
        Verdict::Failed,
        &["table shop.users at sink local: stopped since lsn 7: why \
           (remedy: replicator backfill --replace --table shop.users)"],
    ),
    (
        "a sink that has failed, whatever else is only tried again",
        |status| {
            status.source.state = SourcePhase::Reconnecting;
            status.source.error = Some("refused".into());
            status.sinks[0].state = SinkPhase::Failed;
            status.sinks[0].error = Some("its thread panicked: boom".into());
        },
        Verdict::Failed,
        &[
            "sink local: failed: its thread panicked: boom",
            "source: reconnecting since 2026-01-01T00:00:00.000Z: refused",
        ],
    ),
    (
        "a source that has failed",
        |status| {
            status.source.state = SourcePhase::Failed;
            status.source.error = Some("denied".into());
        },
        Verdict::Failed,
        &["source: failed since 2026-01-01T00:00:00.000Z: denied"],
    ),
    (
        "a log out of service",
        |status| status.wal.error = Some("no space".into()),
        Verdict::Failed,
        &["log: out_of_service: no space"],
    ),
    (
        "no daemon",
        |status| {
            status.running = false;
            status.source.state = SourcePhase::Stopped;
            status.sinks[0].state = SinkPhase::Stopped;
        },
        Verdict::Failed,
        &["daemon: not_running: no daemon is running on this log"],
    ),
];

#[test]
fn every_row_of_the_table_of_verdicts_holds() {
    for (what, change, verdict, reasons) in CASES {
        let mut status = healthy();
        change(&mut status);
        let health = Health::of(&status);
        let said: Vec<String> = health.reasons.iter().map(Reason::to_string).collect();
        assert_eq!(
            (health.status, said.iter().map(String::as_str).collect::<Vec<_>>()),
            (verdict, reasons.to_vec()),
            "{what}"
        );
        assert_eq!(health.is_failed(), verdict == Verdict::Failed, "{what}");
    }
}

#[test]
fn a_run_that_was_to_bring_everything_has_not_if_a_table_failed_or_is_still_to_be_read() {
    for (what, change, verdict, _) in CASES {
        let mut status = healthy();
        change(&mut status);
        status.health = Health::of(&status);
        let reads = status.tables[0].states().any(|stated| stated.state == Some(State::Reading));
        let ended = status.has_brought_everything();
        assert_eq!(ended.is_err(), verdict == Verdict::Failed || reads, "{what}: {ended:?}");
    }
    let mut status = healthy();
    status.sinks[0].state = SinkPhase::Paused;
    at_sink(&mut status).stated = stated(State::Reading, 3);
    status.health = Health::of(&status);
    status.has_brought_everything().expect("a paused sink is passed over");
    status.tables[0].stated = stated(State::Reading, 3);
    assert!(status.has_brought_everything().is_err(), "the log does not have all of the table");
    let mut status = healthy();
    status.tables[0].stated = stated(State::Unreadable, 3);
    at_sink(&mut status).stated = stated(State::Stopped, 7);
    status.sinks[0].state = SinkPhase::Failed;
    status.health = Health::of(&status);
    let error = status.has_brought_everything().unwrap_err();
    assert_eq!(error.message, "sink local: failed, and 1 more reasons: see replicator status");
}

#[test]
fn a_table_that_is_worse_at_one_sink_is_named_at_each() {
    let mut status = healthy();
    everywhere(&mut status, stated(State::LeftOut, 3));
    let stopped = SinkRowsStatus { stated: stated(State::Stopped, 2), ..SinkRowsStatus::default() };
    status.tables[0].sinks.insert("ch".into(), stopped);
    let said: Vec<_> = Health::of(&status).reasons.into_iter().map(|reason| (reason.sink, reason.state)).collect();
    let expected = [("ch", "stopped"), ("local", "left_out")];
    assert_eq!(said, expected.map(|(sink, state)| (Some(sink.to_owned()), state.to_owned())));
}

#[test]
fn without_a_sink_the_state_in_the_log_counts() {
    let mut status = healthy();
    status.sinks.clear();
    status.tables[0].sinks.clear();
    status.tables[0].stated = stated(State::Unreadable, 3);
    assert_eq!(Health::of(&status).reasons[0].to_string(), "table shop.users: unreadable since lsn 3: why");
}

#[test]
fn of_many_tables_the_first_are_named_and_the_others_counted() {
    let mut status = healthy();
    everywhere(&mut status, stated(State::Unreadable, 3));
    let table = status.tables[0].clone();
    status.tables = (0..10_000).map(|n| TableStatus { table: format!("shop.t{n}"), ..table.clone() }).collect();
    let health = Health::of(&status);
    assert_eq!(health.reasons.len(), NAMED + 1);
    let last = health.reasons.last().unwrap();
    assert_eq!(
        last.to_string(),
        "more tables: unreadable: 9990 more tables (remedy: replicator status --state unreadable)"
    );
    status.tables.truncate(NAMED);
    assert_eq!(Health::of(&status).reasons.len(), NAMED);
}

#[test]
fn a_name_is_quoted_where_a_shell_would_take_it_apart() {
    assert_eq!(read_again("shop.users"), "replicator backfill --replace --table shop.users");
    let quoted = "replicator backfill --replace --table 'my shop.it'\\''s'";
    assert_eq!(read_again("my shop.it's"), quoted);
}
