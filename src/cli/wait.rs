//! Waits until tables are complete: what `--wait` does. It asks the daemon for its status, which is all that there is to know.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::log_access;
use super::output::count;
use crate::config::Plan;
use crate::control::Request;
use crate::error::Failure;
use crate::model::TableName;
use crate::table::State;
use crate::telemetry::{SinkPhase, SnapshotTableStatus, Status, TableStatus};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines of progress, where stderr is no terminal.
const SAY: Duration = Duration::from_secs(10);

/// What is known of one table that is waited for.
enum Seen {
    /// It is complete at every sink.
    Complete,
    /// It is still read, or on its way to a sink; in words.
    Coming(String),
}

/// Waits until each of the tables is complete at every sink. With each, the number of the read that is to make it so.
///
/// # Errors
/// Why one of them does not become complete: its read has failed or was cancelled, a sink does not take it, or the daemon has ended.
pub(super) fn until_complete(plan: &Plan, tables: Vec<(TableName, Option<u32>)>) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    let mut left: Vec<(TableName, Option<u32>, Option<u64>)> =
        tables.into_iter().map(|(table, read)| (table, read, None)).collect();
    loop {
        let Some(client) = log_access::daemon(&plan.wal.path)? else {
            return Err(Failure::fatal("the daemon has ended before the tables were complete")
                .hint("what was asked for is stored: the next `replicator start` continues; replicator status shows it")
                .into());
        };
        let status: Status = client.ask_one(&Request::Status)?;
        let mut lines = Vec::new();
        let mut still = Vec::new();
        for (table, read, mut end) in left {
            match look(&status, (&table, read), &mut end)? {
                Seen::Complete => {}
                Seen::Coming(line) => {
                    lines.push(line);
                    still.push((table, read, end));
                }
            }
        }
        if still.is_empty() {
            progress.end();
            return Ok(());
        }
        left = still;
        progress.show(&lines);
        std::thread::sleep(LOOK);
    }
}

/// What the status says of a table. `end`: the end of the log when no read of it was wanted any more.
fn look(status: &Status, (table, read): (&TableName, Option<u32>), end: &mut Option<u64>) -> Result<Seen, Failure> {
    let name = status.source.names.table(table.clone()).to_string();
    let named = |shown: &&TableStatus| shown.table == name;
    let Some(shown) = status.tables.iter().find(named) else {
        return Ok(Seen::Coming(format!("{name}: waits")));
    };
    if let (Some(read), Some(cancelled)) = (read, shown.cancelled_read)
        && cancelled >= read
    {
        return Err(Failure::fatal(format!("the read of table \"{name}\" was cancelled")));
    }
    if let Some(running) = status.snapshot.tables.iter().find(|read| read.table == name) {
        *end = None;
        if let (State::Unreadable, Some(error)) = (running.state, &running.error) {
            let why = shown.stated.why.as_ref().unwrap_or(error);
            return Err(Failure::fatal(format!("table \"{name}\" cannot be read: {why}"))
                .hint("it is tried again every minute; replicator status shows it"));
        }
        return Ok(Seen::Coming(words(running)));
    }
    let end = *end.get_or_insert(status.wal.durable_lsn);
    if let (true, Some(why)) = (shown.stated.state == Some(State::LeftOut), &shown.stated.why) {
        return Err(Failure::fatal(format!("table \"{name}\" is left out: {why}")));
    }
    let mut coming = None;
    for sink in &status.sinks {
        let Some(at) = shown.sinks.get(&sink.name) else { continue };
        if at.stated.state == Some(State::Complete) || at.stated.by_nature {
            continue;
        }
        let ended = matches!(sink.state, SinkPhase::Failed | SinkPhase::Detached | SinkPhase::Paused);
        if ended {
            let why = sink.error.as_deref().unwrap_or("see replicator status");
            let state = sink.state.as_str();
            return Err(Failure::fatal(format!(
                "every row of \"{name}\" is in the log, and sink {} is {state}: {why}",
                sink.name
            )));
        }
        if at.stated.state == Some(State::Stopped) && sink.applied_lsn >= end {
            let why = at.stated.why.as_deref().unwrap_or("see replicator status");
            return Err(Failure::fatal(format!("table \"{name}\" is stopped at sink {}: {why}", sink.name)));
        }
        coming.get_or_insert_with(|| format!("{name}: on its way to sink {}", sink.name));
    }
    let is_complete = shown.states().all(|at| at.state == Some(State::Complete) || at.by_nature);
    match coming {
        None if is_complete => Ok(Seen::Complete),
        None => Ok(Seen::Coming(format!("{name}: waits"))),
        Some(line) => Ok(Seen::Coming(line)),
    }
}

fn words(read: &SnapshotTableStatus) -> String {
    if !read.running {
        return format!("{}: waits to be read", read.table);
    }
    let rate = read.rows_per_second.map_or(String::new(), |rate| format!(", {rate:.0} rows/s"));
    let left = read.eta_seconds.map_or(String::new(), |eta| format!(", {eta} s left"));
    let error = read.error.as_ref().map_or(String::new(), |error| format!("; tried again: {error}"));
    format!("{}: {} of about {} rows{rate}{left}{error}", read.table, count(read.rows), count(read.estimated_rows))
}

/// Lines of progress on stderr: the last one in place on a terminal, one now and then elsewhere.
struct Progress {
    is_terminal: bool,
    said: Option<(Instant, String)>,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), said: None }
    }

    fn show(&mut self, lines: &[String]) {
        let Some(first) = lines.first() else { return };
        let more = if lines.len() > 1 { format!(" (and {} more tables)", lines.len() - 1) } else { String::new() };
        let line = format!("{first}{more}");
        let is_due = match &self.said {
            None => true,
            Some((_, said)) if *said == line => false,
            Some((at, _)) => self.is_terminal || at.elapsed() >= SAY,
        };
        if !is_due {
            return;
        }
        let text = if self.is_terminal { format!("\r\x1b[2K{line}") } else { format!("{line}\n") };
        // Without a stderr no one follows it.
        drop(std::io::stderr().write_all(text.as_bytes()));
        self.said = Some((Instant::now(), line));
    }

    fn end(&mut self) {
        if self.is_terminal && self.said.is_some() {
            drop(std::io::stderr().write_all(b"\r\x1b[2K"));
        }
    }
}
