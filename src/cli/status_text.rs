//! A status for people: what runs, how late it is, what holds it up, and the rows by table.

use super::output::{bytes, count, duration, table};
use crate::telemetry::{SinkPhase, SinkStatus, SnapshotPhase, SourcePhase, Status, TableStatus};

/// Tables listed by name; a schema with more is read with `--json`.
const MAX_TABLES: usize = 50;
/// A lag below this is no more than the time between two heartbeats of an idle source.
const CURRENT: f64 = 5.0;

/// The lines.
pub(super) fn render(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    match (status.running, status.pid) {
        (true, pid) => lines.push(format!(
            "replicator {} running{}, up {}",
            status.version,
            pid.map_or(String::new(), |pid| format!(" as process {pid}")),
            humantime::format_duration(std::time::Duration::from_secs(status.uptime_seconds)),
        )),
        (false, _) => lines.push("replicator is not running; this is what its log says".to_owned()),
    }
    lines.push(String::new());
    source(status, &mut lines);
    log(status, &mut lines);
    lines.push(format!("state    {}", bottleneck(status)));
    snapshot(status, &mut lines);
    sinks(status, &mut lines);
    tables(status, &mut lines);
    lines
}

fn source(status: &Status, lines: &mut Vec<String>) {
    let source = &status.source;
    let server = source.server.as_deref().unwrap_or("not reached yet");
    let lag = source.lag_seconds.map_or(String::new(), |lag| format!(", {} behind", duration(lag)));
    lines.push(format!("source   {}, {server}{lag}", source.state.as_str()));
    if let Some(at) = &source.position {
        lines.push(format!("         at {at}"));
    }
    if let Some(error) = &source.error {
        lines.push(format!("         {error}"));
    }
}

fn log(status: &Status, lines: &mut Vec<String>) {
    let wal = &status.wal;
    let held = if wal.first_lsn > wal.durable_lsn {
        format!("empty after lsn {}", wal.durable_lsn)
    } else {
        format!("lsn {} to {}, {}", wal.first_lsn, wal.durable_lsn, bytes(wal.bytes))
    };
    let full = if wal.full { ", full" } else { "" };
    lines.push(format!("log      {held}, {} of {} on disk{full}", bytes(wal.disk_bytes), bytes(wal.max_bytes)));
    lines.push(format!("         in {}", wal.path));
    if let Some(error) = &wal.error {
        lines.push(format!("         out of service: {error}"));
    }
}

/// Which stage holds the others up.
fn bottleneck(status: &Status) -> String {
    if !status.running {
        return "stopped".to_owned();
    }
    if status.wal.error.is_some() {
        return "the log is out of service".to_owned();
    }
    let stopped =
        |sink: &&SinkStatus| matches!(sink.state, SinkPhase::Failed | SinkPhase::Detached | SinkPhase::Stopped);
    if let Some(sink) = status.sinks.iter().find(stopped) {
        return format!("sink {} has stopped", sink.name);
    }
    if status.source.state == SourcePhase::Failed {
        return "the source has failed".to_owned();
    }
    let slowest = status.sinks.iter().max_by_key(|sink| sink.backlog_bytes);
    if status.wal.full {
        let sink = slowest.map_or(String::new(), |sink| format!(": sink {} is the slowest", sink.name));
        return format!("the log is full and the source waits{sink}");
    }
    let running = |table: &&crate::telemetry::SnapshotTableStatus| {
        matches!(table.state, SnapshotPhase::Pending | SnapshotPhase::Running)
    };
    let left = status.snapshot.tables.iter().filter(running).count();
    if left > 0 {
        return format!("snapshot under way, {left} of {} tables left", status.snapshot.tables.len());
    }
    if matches!(status.source.state, SourcePhase::Connecting | SourcePhase::Reconnecting) {
        return "waiting for the source".to_owned();
    }
    if let Some(sink) =
        slowest.filter(|sink| sink.backlog_bytes > 0 && sink.lag_seconds.is_some_and(|lag| lag > CURRENT))
    {
        return format!("sink {} is behind the log by {}", sink.name, bytes(sink.backlog_bytes));
    }
    if status.source.lag_seconds.is_some_and(|lag| lag > CURRENT) {
        return "catching up with the source".to_owned();
    }
    "current".to_owned()
}

fn snapshot(status: &Status, lines: &mut Vec<String>) {
    let unfinished: Vec<_> = status.snapshot.tables.iter().filter(|table| table.state != SnapshotPhase::Done).collect();
    if unfinished.is_empty() {
        return;
    }
    let mut rows = table(&["snapshot of", "state", "rows", "of about", "rows/s", "left"], &[2, 3, 4, 5]);
    for table in unfinished.iter().take(MAX_TABLES) {
        rows.add_row([
            table.table.clone(),
            table.state.as_str().to_owned() + &table.error.as_ref().map_or(String::new(), |error| format!(": {error}")),
            count(table.rows),
            count(table.estimated_rows),
            table.rows_per_second.map_or(String::new(), |rate| format!("{rate:.0}")),
            table.eta_seconds.map_or(String::new(), |eta| {
                humantime::format_duration(std::time::Duration::from_secs(eta)).to_string()
            }),
        ]);
    }
    lines.push(String::new());
    lines.push(rows.to_string());
    more(unfinished.len(), lines);
}

fn sinks(status: &Status, lines: &mut Vec<String>) {
    if status.sinks.is_empty() {
        lines.push(String::new());
        lines.push("no sinks: the log keeps everything".to_owned());
        return;
    }
    let mut rows = table(&["sink", "type", "state", "behind", "applied lsn", "backlog", "transactions"], &[3, 4, 5, 6]);
    for sink in &status.sinks {
        rows.add_row([
            sink.name.clone(),
            sink.kind.clone(),
            sink.state.as_str().to_owned(),
            sink.lag_seconds.map_or(String::new(), duration),
            count(sink.applied_lsn),
            bytes(sink.backlog_bytes),
            count(sink.backlog_transactions),
        ]);
    }
    lines.push(String::new());
    lines.push(rows.to_string());
    for sink in &status.sinks {
        if let Some(error) = &sink.error {
            lines.push(format!("sink {}: {error}", sink.name));
        }
        if let Some(waiting) = &sink.waiting {
            let (table, since) = (&waiting.table, &waiting.since);
            lines.push(format!("sink {}: waits since {since} for the schema of table {table}", sink.name));
        }
        for stopped in sink.stopped_tables.iter().take(MAX_TABLES) {
            let (table, since) = (&stopped.table, stopped.since_lsn);
            lines.push(format!("sink {}: table {table} is stopped since lsn {since}: {}", sink.name, stopped.reason));
        }
        more(sink.stopped_tables.len(), lines);
        let doubt = |table: &TableStatus| Some((table.table.clone(), table.sinks.get(&sink.name)?.doubt.clone()?));
        let doubted: Vec<(String, String)> = status.tables.iter().filter_map(doubt).collect();
        for (table, why) in doubted.iter().take(MAX_TABLES) {
            lines.push(format!("sink {}: table {table} is in doubt: {why}; it is read again with replace", sink.name));
        }
        more(doubted.len(), lines);
    }
}

/// A column of the tables: its heading, and a table's rows at all sinks together.
type Seldom = (&'static str, fn(&TableStatus) -> u64);

const SELDOM: [Seldom; 6] = [
    ("left out", |table| table.left_out),
    ("skipped", |table| table.skipped.values().sum()),
    ("left out at sinks", |table| table.sinks.values().map(|rows| rows.left_out).sum()),
    ("for other sinks", |table| table.sinks.values().map(|rows| rows.not_theirs).sum()),
    ("counted as sent", |table| table.sinks.values().map(|rows| rows.sent).sum()),
    ("unmatched", |table| table.sinks.values().map(|rows| rows.unmatched).sum()),
];

fn tables(status: &Status, lines: &mut Vec<String>) {
    if status.tables.is_empty() {
        return;
    }
    let sinks: Vec<&String> = status.tables.first().map(|table| table.applied.keys().collect()).unwrap_or_default();
    let mut headings = vec!["table".to_owned(), "rows read".to_owned(), "appended".to_owned(), "filtered".to_owned()];
    headings.extend(sinks.iter().map(|sink| format!("applied to {sink}")));
    // Columns that are 0 in a copy without trouble are shown only where they are not.
    let seldom: Vec<&Seldom> = SELDOM.iter().filter(|(_, rows)| status.tables.iter().any(|at| rows(at) > 0)).collect();
    headings.extend(seldom.iter().map(|(heading, _)| (*heading).to_owned()));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (1..headings.len()).collect();
    let mut rows = table(&headings, &numbers);
    for table in status.tables.iter().take(MAX_TABLES) {
        let mut row = vec![table.table.clone(), count(table.read), count(table.appended), count(table.filtered)];
        row.extend(sinks.iter().map(|sink| count(table.applied.get(*sink).copied().unwrap_or(0))));
        row.extend(seldom.iter().map(|(_, rows)| count(rows(table))));
        rows.add_row(row);
    }
    lines.push(String::new());
    lines.push(rows.to_string());
    more(status.tables.len(), lines);
}

fn more(all: usize, lines: &mut Vec<String>) {
    if all > MAX_TABLES {
        lines.push(format!("and {} more; --json has all", all - MAX_TABLES));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(more_of_sink: &serde_json::Value, more_of_table: &serde_json::Value) -> Status {
        let mut sink = json!({
            "name": "s", "type": "sqlite", "state": "running", "delivered_lsn": 1, "applied_lsn": 1, "backlog_bytes": 0,
            "backlog_transactions": 0, "lag_seconds": 0.0, "error": null, "errors": 0,
        });
        let mut table = json!({
            "table": "d.t", "read": 1, "appended": 1, "filtered": 0, "applied": {"s": 1}, "pending": {"s": 0},
        });
        for (item, more) in [(&mut sink, more_of_sink), (&mut table, more_of_table)] {
            item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        let source = json!({
            "state": "streaming", "server": null, "position": null, "lag_seconds": 0.0, "error": null, "events": 0,
            "filtered_events": 0, "reconnects": 0,
        });
        let wal = serde_json::to_value(crate::telemetry::WalStatus::default()).unwrap();
        serde_json::from_value(json!({
            "version": "1", "running": true, "pid": 1, "uptime_seconds": 1, "source": source, "wal": wal,
            "snapshot": {"tables": []}, "sinks": [sink], "tables": [table],
        }))
        .unwrap()
    }

    #[test]
    fn a_waiting_sink_and_a_table_in_doubt_are_said_in_words() {
        let waiting = json!({"table": "d.t", "schema": 3, "lsn": 9, "since": "2026-01-01T00:00:00.000Z"});
        let rows = json!({
            "delivered": 2, "taken": 1, "acknowledged": 1, "netted": 0, "split": 0, "unmatched": 0, "left_out": 4,
            "not_theirs": 0, "recovered": 0, "sent": 3, "doubt": "2 is not 1",
        });
        let text = render(&status(&json!({"waiting": waiting}), &json!({"sinks": {"s": rows}}))).join("\n");
        for line in [
            "sink s: waits since 2026-01-01T00:00:00.000Z for the schema of table d.t",
            "sink s: table d.t is in doubt: 2 is not 1; it is read again with replace",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains("left out at sinks") && text.contains("counted as sent") && !text.contains("unmatched"),
            "{text}"
        );
    }

    #[test]
    fn a_copy_without_trouble_shows_no_column_of_trouble() {
        let text = render(&status(&json!({}), &json!({}))).join("\n");
        for heading in SELDOM.iter().map(|(heading, _)| *heading).chain(["in doubt", "waits"]) {
            assert!(!text.contains(heading), "{heading} is in\n{text}");
        }
    }
}
