use serde_json::{Value, json};

use super::tables::SELDOM;
use super::*;
use crate::table::State;
use crate::telemetry::Health;

/// A status with one sink `s` and one table `d.t`, with more said of each.
fn status(more: &Value, more_of_sink: &Value, more_of_table: &Value) -> Status {
    let mut sink = json!({
        "name": "s", "type": "sqlite", "state": "running", "delivered_lsn": 1, "applied_lsn": 1, "backlog_bytes": 0,
        "backlog_transactions": 0, "lag_seconds": 0.0, "error": null, "errors": 0, "tables": {"complete": 1},
    });
    let mut table = json!({
        "table": "d.t", "state": "complete", "read": 1, "appended": 1, "filtered": 0, "applied": {"s": 1},
        "pending": {"s": 0}, "sinks": {"s": at_sink("complete")},
    });
    let source = json!({
        "state": "streaming", "server": null, "position": null, "lag_seconds": 0.0, "error": null, "events": 0,
        "filtered_events": 0, "reconnects": 0,
    });
    let wal = serde_json::to_value(crate::telemetry::WalStatus::default()).unwrap();
    extend(&mut sink, more_of_sink);
    extend(&mut table, more_of_table);
    let mut all = json!({
        "version": "1", "running": true, "health": {"status": "ok", "reasons": []}, "pid": 1, "uptime_seconds": 1,
        "source": source, "wal": wal, "snapshot": {"tables": []}, "sinks": [sink], "tables": [table],
    });
    extend(&mut all, more);
    let mut status: Status = serde_json::from_value(all).unwrap();
    status.health = Health::of(&status);
    status
}

fn extend(item: &mut Value, more: &Value) {
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

fn at_sink(state: &str) -> Value {
    json!({
        "state": state, "delivered": 2, "taken": 1, "acknowledged": 1, "netted": 0, "split": 0, "unmatched": 0,
        "left_out": 4, "not_theirs": 0, "recovered": 0, "sent": 3, "doubt": null,
    })
}

fn text(mut status: Status) -> String {
    render(&mut status, &TableSelection::default()).join("\n")
}

fn has_line(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[test]
fn a_waiting_sink_and_a_table_in_doubt_are_said_in_words() {
    let waiting = json!({"table": "d.t", "schema": 3, "lsn": 9, "since": "2026-01-01T00:00:00.000Z"});
    let mut rows = at_sink("reading");
    extend(&mut rows, &json!({"waiting_doubt": true, "doubt": "2 is not 1"}));
    let text = text(status(&json!({}), &json!({"waiting": waiting}), &json!({"sinks": {"s": rows}})));
    has_line(&text, "sink s: waits since 2026-01-01T00:00:00.000Z for the schema of table d.t");
    has_line(&text, "health   degraded");
    has_line(&text, "         table d.t at sink s: in_doubt: 2 is not 1");
    has_line(&text, "progress current, but for what health names");
    assert!(
        text.contains("left out at sinks") && text.contains("counted as sent") && !text.contains("unmatched"),
        "{text}"
    );
}

#[test]
fn dead_letters_of_a_sink_are_said_with_the_command_that_shows_them() {
    let letters = json!({"dead_letters": {"count": 1200, "bytes": 2048}});
    let text = text(status(&json!({}), &letters, &json!({"sinks": {}})));
    has_line(&text, "sink s: 1,200 dead letters, 2.0 KiB: see replicator dlq list");
    has_line(&text, "health   degraded");
}

#[test]
fn a_copy_without_trouble_shows_no_column_of_trouble() {
    let text = text(status(&json!({}), &json!({}), &json!({"sinks": {}})));
    for heading in SELDOM.iter().map(|(heading, _)| *heading).chain(["in doubt", "waits", "unknown", "stopped"]) {
        assert!(!text.contains(heading), "{heading} is in\n{text}");
    }
    has_line(&text, "health   ok");
    has_line(&text, "progress current");
}

#[test]
fn an_error_of_any_length_widens_no_table() {
    let why = "x".repeat(500);
    let read = json!({
        "table": "d.t", "state": "reading", "running": true, "why": why, "sinks": null, "rows": 1, "estimated_rows": 2,
        "rows_per_second": null, "eta_seconds": null, "error": why,
    });
    let mut stopped = at_sink("stopped");
    extend(&mut stopped, &json!({"why": why}));
    let sink = json!({"state": "retrying", "error": why});
    let text = text(status(&json!({"snapshot": {"tables": [read]}}), &sink, &json!({"sinks": {"s": stopped}})));
    for line in text.lines().filter(|line| line.len() > 200) {
        assert!(line.trim_start().starts_with(|first: char| first.is_alphabetic()) && line.contains(": "), "{line}");
        assert!(!line.trim_end().ends_with(' ') && line.matches(&why).count() == 1, "{line}");
    }
    assert_eq!(text.matches(&why).count(), 3, "the sink's, the table's and the read's");
}

#[test]
fn the_cursor_that_holds_most_is_named_when_the_log_is_full() {
    let mut all = status(&json!({}), &json!({}), &json!({}));
    let left_over = json!({
        "name": "old", "type": null, "state": "unconfigured", "delivered_lsn": 1, "applied_lsn": 1,
        "backlog_bytes": 900, "backlog_transactions": 9, "lag_seconds": null, "error": "left over", "errors": 0,
        "remedy": "replicator wal drop-cursor old",
    });
    all.sinks.push(serde_json::from_value(left_over).unwrap());
    all.wal.full = true;
    all.health = Health::of(&all);
    let text = text(all);
    has_line(
        &text,
        "progress the log is full and the source waits: cursor old of a sink that is not configured holds most",
    );
    has_line(&text, "         sink old: unconfigured: left over (remedy: replicator wal drop-cursor old)");
    let full = "         log: full: the source waits for room, and cursor old of a sink that is not configured holds most \
                (remedy: replicator wal drop-cursor old)";
    has_line(&text, full);
}

#[test]
fn a_lag_is_unknown_while_tables_are_being_read() {
    let sink = json!({"lag_seconds": null, "lag_at_least_seconds": 12.0, "tables": {"reading": 1200, "complete": 3}});
    let text = text(status(&json!({}), &sink, &json!({})));
    assert!(text.contains("unknown: 1,200 tables are being read"), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().eq(["tables", "complete", "reading"])), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().eq(["at", "s", "3", "1,200"])), "{text}");
}

/// Ten thousand tables at two sinks.
fn large() -> Status {
    let mut all = status(&json!({}), &json!({}), &json!({}));
    let table = all.tables.pop().unwrap();
    for number in 0..10_000 {
        let mut table = table.clone();
        table.table = format!("d.t{number:05}");
        let at = table.sinks.get_mut("s").unwrap();
        at.stated.state = Some(match number {
            7_000..7_030 => State::Stopped,
            8_000..8_005 => State::Reading,
            _ => State::Complete,
        });
        at.stated.why = Some("why".to_owned());
        all.tables.push(table);
    }
    all.health = Health::of(&all);
    all
}

#[test]
fn ten_thousand_tables_stay_readable_the_worst_first() {
    let text = text(large());
    assert!(text.lines().count() < 100, "{text}");
    let listed: Vec<&str> = text.lines().filter(|line| line.starts_with(" d.t") || line.starts_with("d.t")).collect();
    assert_eq!(listed.len(), LISTED, "{listed:?}");
    assert!(listed.iter().all(|line| line.contains("stopped")), "{listed:?}");
    has_line(&text, "and 9,980 more: replicator status --table GLOB or --state WORD shows others, --json has all");
    has_line(
        &text,
        "         more tables at sink s: stopped: 20 more tables (remedy: replicator status --state stopped)",
    );
}

#[test]
fn tables_are_selected_by_name_and_state() {
    let glob = |text: &str| crate::config::table_glob(text).unwrap().compile_matcher();
    let selection = TableSelection { names: vec![glob("d.t*5")], states: vec![State::Reading, State::Stopped] };
    let mut all = large();
    let lines = render(&mut all, &selection);
    let names: Vec<&str> = all.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(names, ["d.t07005", "d.t07015", "d.t07025"]);
    assert_eq!(all.health.status, Verdict::Failed, "the verdict is on everything");
    assert!(lines.iter().all(|line| !line.contains(" more: ")), "{lines:#?}");
    let other_case = TableSelection { names: vec![glob("D.T07005")], states: Vec::new() };
    let mut folded = large();
    folded.source.names = crate::model::Names::Folded;
    other_case.apply(&mut folded);
    assert_eq!(folded.tables.len(), 1, "the source compares names without case");
    let none = TableSelection { names: vec![glob("other.*")], states: Vec::new() };
    assert!(render(&mut all, &none).iter().any(|line| line == "no table matches"));
}
