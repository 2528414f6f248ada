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

/// A table that is waited for.
struct Awaited {
    table: TableName,
    /// The number of the read that is to make it complete.
    read: Option<u32>,
    /// It is, or was, captured.
    was_captured: bool,
    /// The end of the log when no read of it was wanted any more.
    end: Option<u64>,
}

impl Awaited {
    fn new(table: TableName, read: Option<u32>) -> Self {
        // Only a table that is captured has a read.
        Self { table, read, was_captured: read.is_some(), end: None }
    }
}

/// What is known of one table that is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// It is complete at every sink.
    Complete,
    /// It is still read, or on its way to a sink; in words.
    Coming(String),
}

/// Waits until each of the tables is complete at every sink. With each, the number of the read that is to make it so.
///
/// # Errors
/// Why one of them does not become complete: its read has failed or was cancelled, it is no longer captured, a sink does not take it, or the
/// daemon has ended.
pub(super) fn until_complete(plan: &Plan, tables: Vec<(TableName, Option<u32>)>) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    let mut left: Vec<Awaited> = tables.into_iter().map(|(table, read)| Awaited::new(table, read)).collect();
    loop {
        let Some(client) = log_access::daemon(&plan.wal.path)? else {
            return Err(Failure::fatal("the daemon has ended before the tables were complete")
                .hint("what was asked for is stored: the next `replicator start` continues; replicator status shows it")
                .into());
        };
        let status: Status = client.ask_one(&Request::Status)?;
        let mut lines = Vec::new();
        let mut still = Vec::new();
        for mut awaited in left {
            match look(&status, &mut awaited)? {
                Seen::Complete => {}
                Seen::Coming(line) => {
                    lines.push(line);
                    still.push(awaited);
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

/// What the status says of a table.
fn look(status: &Status, awaited: &mut Awaited) -> Result<Seen, Failure> {
    let name = status.source.names.table(awaited.table.clone()).to_string();
    let shown = status.tables.iter().find(|shown| shown.table == name);
    if let (Some(read), Some(cancelled)) = (awaited.read, shown.and_then(|shown| shown.cancelled_read))
        && cancelled >= read
    {
        return Err(Failure::fatal(format!("the read of table \"{name}\" was cancelled")));
    }
    let Some(shown) = shown.filter(|shown| shown.stated.state.is_some()) else {
        if awaited.was_captured {
            return Err(Failure::fatal(format!("table \"{name}\" is no longer captured: it was dropped or renamed"))
                .hint("replicator table list shows the tables that are"));
        }
        return Ok(Seen::Coming(format!("{name}: waits")));
    };
    awaited.was_captured = true;
    if let Some(running) = status.snapshot.tables.iter().find(|read| read.table == name) {
        awaited.end = None;
        if let (State::Unreadable, Some(error)) = (running.state, &running.error) {
            let why = shown.stated.why.as_ref().unwrap_or(error);
            return Err(Failure::fatal(format!("table \"{name}\" cannot be read: {why}"))
                .hint("it is tried again every minute; replicator status shows it"));
        }
        return Ok(Seen::Coming(words(running)));
    }
    let end = *awaited.end.get_or_insert(status.wal.durable_lsn);
    if let (true, Some(why)) = (shown.stated.state == Some(State::LeftOut), &shown.stated.why) {
        return Err(Failure::fatal(format!("table \"{name}\" is left out: {why}")));
    }
    at_sinks(status, shown, end)
}

/// What the status says at the sinks of a table of which every row is in the log up to `end`.
fn at_sinks(status: &Status, shown: &TableStatus, end: u64) -> Result<Seen, Failure> {
    let name = &shown.table;
    let mut coming = None;
    for sink in &status.sinks {
        let Some(at) = shown.sinks.get(&sink.name) else { continue };
        // A table that a sink had before a read stays complete there: the rows of the read are there once the sink is at the end.
        let has_come = sink.applied_lsn >= end;
        if at.stated.by_nature || (at.stated.state == Some(State::Complete) && has_come) {
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
        if at.stated.state == Some(State::Stopped) && has_come {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::healthy;

    const AT: u64 = 7;

    /// A daemon whose log ends at [`AT`]; its sink has what it has applied, and is in this state.
    fn status(applied: u64, state: SinkPhase) -> Status {
        let mut status = healthy();
        status.wal.durable_lsn = AT;
        status.sinks[0].applied_lsn = applied;
        status.sinks[0].state = state;
        status
    }

    fn users(read: Option<u32>) -> Awaited {
        Awaited::new(TableName::new("shop", "users"), read)
    }

    #[test]
    fn a_table_that_was_complete_before_is_so_again_once_the_sink_has_come_to_the_end_of_its_read() {
        let mut awaited = users(Some(2));
        let coming = Seen::Coming("shop.users: on its way to sink local".to_owned());
        assert_eq!(look(&status(AT - 1, SinkPhase::Running), &mut awaited).unwrap(), coming);
        for state in [SinkPhase::Paused, SinkPhase::Failed, SinkPhase::Detached] {
            let failure = look(&status(AT - 1, state), &mut awaited).unwrap_err();
            assert!(failure.message.contains(&format!("sink local is {}", state.as_str())), "{failure}");
        }
        let mut later = status(AT, SinkPhase::Paused);
        later.wal.durable_lsn = AT + 9;
        assert_eq!(look(&later, &mut awaited).unwrap(), Seen::Complete, "what comes after the read is not waited for");
    }

    #[test]
    fn a_table_that_is_no_longer_captured_does_not_become_complete() {
        let dropped: [fn(&mut Status); 2] = [
            |status| status.tables.clear(),
            |status| {
                status.tables[0].stated.state = None;
                status.tables[0].sinks.get_mut("local").unwrap().stated.state = None;
            },
        ];
        for drop_it in dropped {
            let mut gone = status(AT, SinkPhase::Running);
            drop_it(&mut gone);
            let mut seen = users(None);
            assert!(matches!(look(&gone, &mut seen), Ok(Seen::Coming(_))), "the source has not met it yet");
            look(&status(0, SinkPhase::Running), &mut seen).unwrap();
            for mut awaited in [seen, users(Some(1))] {
                let failure = look(&gone, &mut awaited).unwrap_err();
                assert!(failure.message.contains("no longer captured"), "{failure}");
            }
        }
    }
}
