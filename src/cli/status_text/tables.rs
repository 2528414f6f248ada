//! The tables of a status: how many are in each state, what is being read, and the tables themselves.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LISTED;
use crate::cli::output::{count, table};
use crate::table::State;
use crate::telemetry::{
    SinkPhase, SnapshotTableStatus, StateStatus, Status, TableSelection, TableStatus, count_states,
};

/// How many captured tables are in each state, by sink.
pub(super) fn summary(status: &Status, lines: &mut Vec<String>) {
    let configured = status.sinks.iter().filter(|sink| sink.state != SinkPhase::Unconfigured);
    let mut counts: Vec<(String, BTreeMap<State, u64>)> =
        configured.map(|sink| (format!("at {}", sink.name), sink.tables.clone())).collect();
    if counts.is_empty() {
        let states = status.tables.iter().filter_map(|table| table.stated.state);
        counts.push(("in the log".to_owned(), count_states(states)));
    }
    if counts.iter().all(|(_, counts)| counts.is_empty()) {
        return;
    }
    let is_seen = |state: &State| *state == State::Complete || counts.iter().any(|(_, at)| at.contains_key(state));
    let states: Vec<State> = State::ALL.into_iter().filter(is_seen).collect();
    let headings: Vec<&str> = std::iter::once("tables").chain(states.iter().map(|state| state.as_str())).collect();
    let numbers: Vec<usize> = (1..headings.len()).collect();
    let mut rows = table(&headings, &numbers);
    for (sink, counts) in counts {
        let numbers = states.iter().map(|state| count(counts.get(state).copied().unwrap_or_default()));
        rows.add_row(std::iter::once(sink).chain(numbers));
    }
    lines.push(String::new());
    lines.push(rows.to_string());
}

/// What is being read.
pub(super) fn reads(status: &Status, lines: &mut Vec<String>) {
    let reads = &status.snapshot.tables;
    if reads.is_empty() {
        return;
    }
    let mut rows = table(&["being read", "for", "rows", "of about", "rows/s", "left"], &[2, 3, 4, 5]);
    for read in reads.iter().take(LISTED) {
        rows.add_row([
            read.table.clone(),
            read.sinks.as_ref().map_or("all sinks".to_owned(), |sinks| sinks.join(", ")),
            if read.running { count(read.rows) } else { "waits".to_owned() },
            count(read.estimated_rows),
            read.rows_per_second.map_or(String::new(), |rate| format!("{rate:.0}")),
            read.eta_seconds.map_or(String::new(), |eta| {
                humantime::format_duration(std::time::Duration::from_secs(eta)).to_string()
            }),
        ]);
    }
    lines.push(String::new());
    lines.push(rows.to_string());
    if let Some(more) = reads.len().checked_sub(LISTED).filter(|more| *more > 0) {
        lines.push(format!("and {} more: replicator status --state reading --json has all", count(more_of(more))));
    }
    let tried_again =
        |read: &SnapshotTableStatus| Some(format!("{}: tried again: {}", read.table, read.error.clone()?));
    lines.extend(reads.iter().take(LISTED).filter_map(tried_again));
}

/// A column of the tables: its heading, and a table's rows at all sinks together.
type Seldom = (&'static str, fn(&TableStatus) -> u64);

pub(super) const SELDOM: [Seldom; 6] = [
    ("left out", |table| table.left_out),
    ("skipped", |table| table.skipped.values().sum()),
    ("left out at sinks", |table| table.sinks.values().map(|rows| rows.left_out).sum()),
    ("for other sinks", |table| table.sinks.values().map(|rows| rows.not_theirs).sum()),
    ("counted as sent", |table| table.sinks.values().map(|rows| rows.sent).sum()),
    ("unmatched", |table| table.sinks.values().map(|rows| rows.unmatched).sum()),
];

/// The tables, the worst first; without a filter, the first of them.
pub(super) fn tables(status: &Status, selection: &TableSelection, lines: &mut Vec<String>) {
    let mut tables: Vec<&TableStatus> = status.tables.iter().collect();
    tables.sort_by_key(|table| Reverse(table.worst().severity()));
    let listed = if selection.is_all() { LISTED } else { tables.len() };
    let (shown, more) = tables.split_at(listed.min(tables.len()));
    let Some(first) = shown.first() else {
        if !selection.is_all() {
            lines.push(String::new());
            lines.push("no table matches".to_owned());
        }
        return;
    };
    let sinks: Vec<&String> = first.sinks.keys().collect();
    let mut headings = vec!["table".to_owned()];
    match &sinks[..] {
        [] | [_] => headings.push("state".to_owned()),
        many => headings.extend(many.iter().map(|sink| format!("at {sink}"))),
    }
    headings.extend(["rows read", "appended", "filtered"].map(str::to_owned));
    let numbers = headings.len() - 3;
    headings.extend(sinks.iter().map(|sink| format!("applied to {sink}")));
    // Columns that are 0 in a copy without trouble are shown only where they are not.
    let seldom: Vec<&Seldom> = SELDOM.iter().filter(|(_, rows)| shown.iter().any(|at| rows(at) > 0)).collect();
    headings.extend(seldom.iter().map(|(heading, _)| (*heading).to_owned()));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (numbers..headings.len()).collect();
    let mut rows = table(&headings, &numbers);
    for table in shown {
        let mut row = vec![table.table.clone()];
        row.extend(table.states().map(word));
        row.extend([table.read, table.appended, table.filtered].map(count));
        row.extend(sinks.iter().map(|sink| count(table.applied.get(sink).copied().unwrap_or(0))));
        row.extend(seldom.iter().map(|(_, rows)| count(rows(table))));
        rows.add_row(row);
    }
    lines.push(String::new());
    lines.push(rows.to_string());
    if !more.is_empty() {
        lines.push(format!(
            "and {} more: replicator status --table GLOB or --state WORD shows others, --json has all",
            count(more_of(more.len()))
        ));
    }
    lines.extend(shown.iter().filter_map(|table| note(table)));
    lines.extend(shown.iter().flat_map(|table| old_copies(table)));
}

/// Where readers see an old copy of a table.
fn old_copies(table: &TableStatus) -> impl Iterator<Item = String> {
    let at_sinks = table.sinks.iter().filter_map(|(sink, at)| Some((sink, at.stated.old_copy_lsn?)));
    at_sinks.map(|(sink, lsn)| {
        format!(
            "{} at {sink}: readers see the copy as it was at lsn {lsn}, until the new one beside it is whole",
            table.table
        )
    })
}

fn word(stated: &StateStatus) -> String {
    stated.state.map_or("not captured", State::as_str).to_owned()
}

/// Why a table is what it is, where the reasons of the verdict do not say so.
fn note(table: &TableStatus) -> Option<String> {
    let stated = table.worst();
    let state = stated.state.filter(|state| *state != State::Complete)?;
    let is_reason = stated.is_failed() || stated.waiting_doubt;
    let why = stated.why.as_ref().filter(|_| !is_reason)?;
    Some(format!("{}: {}: {why}", table.table, state.as_str()))
}

fn more_of(tables: usize) -> u64 {
    u64::try_from(tables).unwrap_or(u64::MAX)
}
