//! `replicator table show`.

use anyhow::Context;
use serde::Serialize;

use super::args::TableShowArgs;
use super::log_access::LogAccess;
use super::output::{Output, count, table};
use super::{log_access, status};
use crate::config::Plan;
use crate::control::Request;
use crate::error::Failure;
use crate::inspect::{self, TableShown};
use crate::model::as_word;
use crate::telemetry::{BySink, StateStatus, TableStatus, remedy_of};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed {
    /// Its state, at each sink too, and its row counters, as `status` has them.
    status: TableStatus,
    /// What the log holds of it.
    #[serde(flatten)]
    shown: TableShown,
    /// The command that helps.
    remedy: Option<String>,
}

pub(super) fn run(plan: &Plan, arguments: &TableShowArgs) -> anyhow::Result<()> {
    let shown: TableShown = match log_access::look(&plan.wal.path)? {
        LogAccess::Daemon(client) => client.ask_one(&Request::Table { table: arguments.table.clone() })?,
        LogAccess::Stopped(path) => inspect::table_shown(&log_access::open_stopped(&path)?, &arguments.table)?,
        LogAccess::Unreadable(why) => return Err(log_access::unreadable(&why)),
    };
    let status = status::of(plan)?.tables.into_iter().find(|table| table.table == shown.table);
    let Some(status) = status else {
        return Err(Failure::fatal(format!("the log knows no table \"{}\"", shown.table))
            .hint("replicator table list has the captured tables; source.include and source.exclude say which are")
            .into());
    };
    let remedy = std::iter::once(&status.stated)
        .chain(status.sinks.values().map(|at| &at.stated))
        .find_map(|stated| remedy_of(stated, &status.table));
    let printed = Printed { status, shown, remedy };
    let mut output = Output::new();
    if arguments.json {
        return output.document(&printed).map(drop).context("cannot print the table");
    }
    for line in lines(&printed) {
        output.line(&line)?;
    }
    Ok(())
}

fn lines(printed: &Printed) -> Vec<String> {
    let Printed { status, shown, remedy } = printed;
    let mut lines = vec![format!("table    {}", status.table), format!("state    {}", stated(&status.stated))];
    for (sink, at) in status.sinks.iter() {
        lines.push(format!("at {sink}: {}", stated(&at.stated)));
    }
    if let Some(remedy) = remedy {
        lines.push(format!("remedy   {remedy}"));
    }
    lines.push(String::new());
    match (&shown.schema, &shown.schema_known_by) {
        (Some(schema), by) => {
            let key =
                if schema.key.is_empty() { "no key".to_owned() } else { format!("key {}", schema.key.join(", ")) };
            let by = by.as_deref().unwrap_or_default();
            lines.push(format!("schema {}, {}, known by {by}, {key}:", schema.id, schema.state));
            lines.extend(schema.columns.iter().map(|column| format!("  {column}")));
        }
        (None, _) => lines.push("no schema of it is known yet".to_owned()),
    }
    if let Some(record) = &shown.record {
        lines.push(String::new());
        let facts = [
            record.captured_since_lsn.map(|lsn| format!("captured since lsn {lsn}")),
            record.excluded_since_lsn.map(|lsn| format!("excluded by the configuration since lsn {lsn}")),
            record.complete_since_lsn.map(|lsn| {
                let what =
                    if record.changes_only { "every change, and no earlier row," } else { "every row and change" };
                format!("{what} in the log for every sink since lsn {lsn}")
            }),
            record.left_out.as_ref().map(|fault| {
                format!("left out by {} since {} (lsn {}): {}", fault.by, fault.since, fault.since_lsn, fault.why)
            }),
            record
                .unreadable
                .as_ref()
                .map(|fault| format!("cannot be read since {} (lsn {}): {}", fault.since, fault.since_lsn, fault.why)),
            record.awaits.as_ref().map(|place| format!("waits for the stream to come to {place}")),
        ];
        lines.extend(facts.into_iter().flatten());
        for read in &record.reads {
            let sinks = read.sinks.as_ref().map_or("all sinks".to_owned(), |sinks| sinks.join(", "));
            let until = read.until.as_ref().map_or(String::new(), |until| format!(", not before {until}"));
            lines.push(format!(
                "read {} of {} for {sinks}, {}, {} rows placed, asked for by {} at {}{until}: {}",
                read.number,
                read.reach,
                read.stage,
                count(read.rows),
                read.asked_by,
                read.since,
                read.why
            ));
        }
    }
    lines.push(String::new());
    lines.push(counts(status));
    for (sink, at) in status.sinks.iter().filter(|(_, at)| at.dead_letters > 0) {
        let letters = count(at.dead_letters);
        let command = format!("replicator dlq show --sink {} --table {}", as_word(sink), as_word(&status.table));
        lines.push(format!("{letters} dead letters at {sink}: {command}"));
    }
    for (sink, at) in status.sinks.iter() {
        if let Some(doubt) = &at.doubt {
            lines.push(format!("in doubt at {sink}: {doubt}"));
        }
    }
    lines
}

/// A state in one line.
fn stated(stated: &StateStatus) -> String {
    let Some(state) = stated.state else { return "not captured".to_owned() };
    let since = match (&stated.since, stated.since_lsn) {
        (Some(since), Some(lsn)) => format!(" since {since} (lsn {lsn})"),
        (None, Some(lsn)) => format!(" since lsn {lsn}"),
        (Some(since), None) => format!(" since {since}"),
        (None, None) => String::new(),
    };
    let why = stated.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    format!("{}{since}{why}", state.as_str())
}

fn counts(status: &TableStatus) -> String {
    let TableStatus { read, appended, filtered, left_out, .. } = status;
    let mut rows = table(
        &["rows", "read", "appended", "filtered", "left out", "applied", "pending", "skipped"],
        &[1, 2, 3, 4, 5, 6, 7],
    );
    let mut source: Vec<String> = vec!["in the log".to_owned()];
    source.extend([read, appended, filtered, left_out].map(|rows| count(*rows)));
    source.resize(8, String::new());
    rows.add_row(source);
    for (sink, at) in status.sinks.iter() {
        let of = |by_sink: &BySink<u64>| count(by_sink.get(sink).copied().unwrap_or_default());
        rows.add_row([
            format!("at {sink}"),
            String::new(),
            String::new(),
            String::new(),
            count(at.left_out),
            of(&status.applied),
            of(&status.pending),
            of(&status.skipped),
        ]);
    }
    rows.to_string()
}
