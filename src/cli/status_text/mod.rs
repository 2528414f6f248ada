//! A status for people: the verdict and its reasons, what runs, how late it is, what holds it up, and the tables, worst
//! first. A text of any length stands on a line of its own, never in a cell.

mod sinks;
mod tables;
#[cfg(test)]
mod tests;

use super::output::{bytes, duration};
use crate::telemetry::{SinkPhase, SinkStatus, SourcePhase, Status, TableSelection, Verdict};

/// Tables, and reasons, that are listed where no filter asks for more.
const LISTED: usize = 20;
/// A lag below this is no more than the time between two heartbeats of an idle source.
const CURRENT: f64 = 5.0;

/// The lines. Tables that are not selected are taken out of the status.
pub(super) fn render(status: &mut Status, selection: &TableSelection) -> Vec<String> {
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
    health(status, &mut lines);
    lines.push(String::new());
    source(status, &mut lines);
    log(status, &mut lines);
    lines.push(format!("progress {}", progress(status)));
    sinks::sinks(status, &mut lines);
    tables::summary(status, &mut lines);
    selection.apply(status);
    tables::reads(status, &mut lines);
    tables::tables(status, selection, &mut lines);
    lines
}

/// The sinks alone, with what is wrong with each.
pub(super) fn sink_list(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    sinks::sinks(status, &mut lines);
    // Without the empty line that parts them from what comes before.
    lines.remove(0);
    for sink in &status.sinks {
        if let Some(error) = &sink.error {
            let remedy = sink.remedy.as_ref().map_or(String::new(), |remedy| format!(" (remedy: {remedy})"));
            lines.push(format!("sink {}: {}: {error}{remedy}", sink.name, sink.state.as_str()));
        }
    }
    lines
}

fn health(status: &Status, lines: &mut Vec<String>) {
    let reasons = &status.health.reasons;
    lines.push(format!("health   {}", status.health.status.as_str()));
    for reason in reasons.iter().take(LISTED) {
        lines.push(format!("         {reason}"));
    }
    if let Some(more) = reasons.len().checked_sub(LISTED).filter(|more| *more > 0) {
        lines.push(format!("         and {more} more reasons; --json has all"));
    }
}

fn source(status: &Status, lines: &mut Vec<String>) {
    let source = &status.source;
    let server = source.server.as_deref().unwrap_or("not reached yet");
    let lag = source.lag_seconds.map_or(String::new(), |lag| format!(", {} behind", duration(lag)));
    lines.push(format!("source   {}, {server}{lag}", source.state.as_str()));
    if let Some(at) = &source.position {
        lines.push(format!("         at {at}"));
    }
    for xid in source.waits_for.iter().take(LISTED) {
        lines.push(format!("         reads wait for transaction {xid}, which was prepared before the log began"));
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
}

/// Which stage holds the others up.
fn progress(status: &Status) -> String {
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
    let slowest = status.slowest();
    if status.wal.full || status.source.state == SourcePhase::LogFull {
        let what = |sink: &SinkStatus| match sink.state {
            SinkPhase::Unconfigured => format!(": cursor {} of a sink that is not configured holds most", sink.name),
            SinkPhase::Paused => format!(": sink {}, which is paused, holds most", sink.name),
            _ => format!(": sink {} is the slowest", sink.name),
        };
        return format!("the log is full and the source waits{}", slowest.map_or(String::new(), what));
    }
    if matches!(status.source.state, SourcePhase::Connecting | SourcePhase::Reconnecting) {
        return "waiting for the source".to_owned();
    }
    if let Some(sink) = status.sinks.iter().find(|sink| sink.state == SinkPhase::Retrying) {
        return format!("sink {} is tried again", sink.name);
    }
    if let Some(sink) = status.sinks.iter().find(|sink| sink.state == SinkPhase::Paused) {
        return format!("sink {} is paused", sink.name);
    }
    match status.snapshot.tables.len() {
        0 => {}
        1 => return "1 table is being read".to_owned(),
        tables => return format!("{tables} tables are being read"),
    }
    let is_late = |sink: &&SinkStatus| sink.lag_at_least_seconds.is_some_and(|lag| lag > CURRENT);
    if let Some(sink) = slowest.filter(is_late) {
        return format!("sink {} is behind the log by {}", sink.name, bytes(sink.backlog_bytes));
    }
    if status.source.lag_seconds.is_some_and(|lag| lag > CURRENT) {
        return "catching up with the source".to_owned();
    }
    match status.health.status {
        Verdict::Ok => "current".to_owned(),
        Verdict::Degraded | Verdict::Failed => "current, but for what health names".to_owned(),
    }
}
