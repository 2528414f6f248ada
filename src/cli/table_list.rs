//! `replicator table list`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;

use super::args::TableListArgs;
use super::output::{Output, table};
use super::sink_reset::require_configured;
use super::status;
use crate::config::Plan;
use crate::table::State;
use crate::telemetry::{StateStatus, Status, TableSelection, TableStatus, remedy_of};

/// One table, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    table: String,
    #[serde(flatten)]
    stated: StateStatus,
    /// Its state at the sinks where that is another one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sinks: BTreeMap<String, StateStatus>,
    /// The command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

pub(super) fn run(plan: &Plan, arguments: &TableListArgs) -> anyhow::Result<()> {
    let TableListArgs { tables, states, sink, json } = arguments;
    if let Some(sink) = sink {
        require_configured(plan, sink)?;
    }
    let mut status = status::of(plan)?;
    let names = TableSelection { names: tables.clone(), states: Vec::new() };
    names.apply(&mut status);
    let lines = lines(&status, sink.as_deref(), states);
    let mut output = Output::new();
    if *json {
        return output.document(&lines).map(drop).context("cannot print the tables");
    }
    if lines.is_empty() {
        return output.line("no table matches").map(drop);
    }
    let mut shown = table(&["table", "state", "since lsn", "at"], &[2]);
    let mut reasons = Vec::new();
    for line in &lines {
        let everywhere = sink.clone().unwrap_or_default();
        let mut row = |stated: &StateStatus, at: &str| {
            let since = stated.since_lsn.map_or(String::new(), |lsn| lsn.to_string());
            shown.add_row([line.table.clone(), word(stated), since, at.to_owned()]);
            if let Some(why) = stated.why.as_ref().filter(|_| stated.state != Some(State::Complete)) {
                let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
                reasons.push(format!("{}{at}: {}: {why}", line.table, word(stated)));
            }
        };
        row(&line.stated, &everywhere);
        for (sink, stated) in &line.sinks {
            row(stated, sink);
        }
    }
    output.line(&shown.to_string())?;
    for reason in reasons {
        output.line(&reason)?;
    }
    Ok(())
}

fn word(stated: &StateStatus) -> String {
    match stated.state {
        Some(State::LeftOut) if stated.by_operator => "left_out (skipped)".to_owned(),
        Some(state) => state.as_str().to_owned(),
        None => "not captured".to_owned(),
    }
}

/// The captured tables, trouble first.
fn lines(status: &Status, sink: Option<&str>, states: &[State]) -> Vec<Line> {
    let mut tables: Vec<&TableStatus> = status.tables.iter().filter(|table| table.stated.state.is_some()).collect();
    tables.sort_by_key(|table| Reverse(table.worst().severity()));
    let mut lines = Vec::new();
    for table in tables {
        let (stated, sinks) = match sink {
            Some(sink) => match table.sinks.get(sink) {
                Some(at) => (at.stated.clone(), BTreeMap::new()),
                None => continue,
            },
            None => {
                let differs = |at: &StateStatus| (at.state, &at.why) != (table.stated.state, &table.stated.why);
                let at_sinks = table.sinks.iter().filter(|(_, at)| differs(&at.stated));
                (table.stated.clone(), at_sinks.map(|(sink, at)| (sink.clone(), at.stated.clone())).collect())
            }
        };
        let mut all = std::iter::once(&stated).chain(sinks.values()).filter_map(|stated: &StateStatus| stated.state);
        if !states.is_empty() && !all.any(|state| states.contains(&state)) {
            continue;
        }
        let remedy = std::iter::once(&stated).chain(sinks.values()).find_map(|at| remedy_of(at, &table.table));
        lines.push(Line { table: table.table.clone(), stated, sinks, remedy });
    }
    lines
}
