//! The sinks of a status.

use crate::cli::output::{bytes, count, duration, table};
use crate::table::State;
use crate::telemetry::{SinkPhase, SinkStatus, Status};

pub(super) fn sinks(status: &Status, lines: &mut Vec<String>) {
    if status.sinks.is_empty() {
        lines.push(String::new());
        lines.push("no sinks: the log keeps everything".to_owned());
        return;
    }
    let mut rows = table(&["sink", "type", "state", "behind", "applied lsn", "backlog", "transactions"], &[4, 5, 6]);
    for sink in &status.sinks {
        rows.add_row([
            sink.name.clone(),
            sink.kind.clone().unwrap_or_else(|| "none".to_owned()),
            sink.state.as_str().to_owned(),
            behind(sink),
            count(sink.applied_lsn),
            bytes(sink.backlog_bytes),
            count(sink.backlog_transactions),
        ]);
    }
    lines.push(String::new());
    lines.push(rows.to_string());
    for sink in &status.sinks {
        if sink.state == SinkPhase::NotStarted {
            lines.push(format!("sink {} is configured and has not run yet", sink.name));
        }
        if sink.dead_letters.count > 0 {
            let (letters, size) = (count(sink.dead_letters.count), bytes(sink.dead_letters.bytes));
            lines.push(format!("sink {}: {letters} dead letters, {size}: see replicator dlq list", sink.name));
        }
        if let Some(waiting) = &sink.waiting {
            let (table, since) = (&waiting.table, &waiting.since);
            lines.push(format!("sink {}: waits since {since} for the schema of table {table}", sink.name));
        }
    }
}

/// How late it is, which is not known while a table is being read for it.
fn behind(sink: &SinkStatus) -> String {
    match (sink.lag_seconds, sink.tables.get(&State::Reading)) {
        (Some(lag), _) => duration(lag),
        (None, Some(1)) => "unknown: 1 table is being read".to_owned(),
        (None, Some(reading)) => format!("unknown: {} tables are being read", count(*reading)),
        (None, None) => String::new(),
    }
}
