//! `replicator resync`.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use serde::Serialize;

use super::args::{Format, LogArgs, ResyncArgs, table_names};
use super::failure::Misuse;
use super::output::Output;
use super::{log_access, start};
use crate::config::Plan;
use crate::control::{Request, Resync, ResyncTaken};
use crate::error::{sink_reset, sink_resume};
use crate::pipeline::{AskedResync, StartOptions};

/// What the arguments ask for.
pub(super) fn asked(arguments: &ResyncArgs) -> anyhow::Result<Resync> {
    let tables = table_names(arguments.database.as_deref(), &arguments.table)?;
    Ok(Resync { tables, sinks: arguments.sinks.clone() })
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed {
    /// How many tables are, or were, read again.
    tables: usize,
    /// For these sinks; null: all.
    sinks: Option<Vec<String>>,
    /// They are read; false: the daemon reads them.
    done: bool,
    /// Sinks that have failed: nothing reaches them until they are reset, or start again.
    failed_sinks: Vec<String>,
    /// Sinks that are paused: nothing reaches them until they are resumed.
    paused_sinks: Vec<String>,
}

pub(super) fn run(plan: Plan, resync: Resync, json: bool) -> anyhow::Result<()> {
    // Under no rule for names; the daemon knows which one the source has.
    if let Some(table) = resync.tables.iter().find(|table| !plan.source.filter.may_capture(table)) {
        return Err(Misuse(format!("\"{table}\" is not copied: source.include and source.exclude leave it out")).into());
    }
    if let Some(sink) = resync.sinks.iter().find(|name| plan.sinks.iter().all(|sink| sink.name != **name)) {
        return Err(Misuse(format!("no sink \"{sink}\" is configured")).into());
    }
    let sinks = Some(resync.sinks.clone()).filter(|sinks| !sinks.is_empty());
    if let Some(client) = log_access::daemon(&plan.wal.path)? {
        let ResyncTaken { tables, failed_sinks, paused_sinks } =
            client.ask_one(&Request::Resync { resync }).context("the daemon did not take the tables")?;
        return print(&Printed { tables, sinks, done: false, failed_sinks, paused_sinks }, json);
    }
    let bars = start::start_logs(&plan, &LogArgs { log_format: Format::Text, log_level: None })?;
    let taken = Arc::new(OnceLock::new());
    let options = StartOptions {
        // A log that is not there is made by nothing but a start: it may be another directory that is meant.
        resume: true,
        new_position: true,
        once: true,
        resync: Some(AskedResync { resync, taken: Arc::clone(&taken) }),
        ..StartOptions::default()
    };
    start::run_pipeline(plan, options, bars)?;
    let tables = taken.get().copied().unwrap_or_default();
    print(&Printed { tables, sinks, done: true, failed_sinks: Vec::new(), paused_sinks: Vec::new() }, json)
}

fn print(printed: &Printed, json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if json {
        return output.document(printed).map(drop);
    }
    let tables = if printed.tables == 1 { "1 table".to_owned() } else { format!("{} tables", printed.tables) };
    let line = if printed.done {
        format!("{tables} read again")
    } else {
        format!("{tables} handed to the daemon; replicator status shows the progress")
    };
    output.line(&line)?;
    for sink in &printed.failed_sinks {
        let way = "nothing reaches it until it is fixed and the daemon is started again, or until";
        output.line(&format!("sink \"{sink}\" has failed: {way} `{}`", sink_reset(sink)))?;
    }
    for sink in &printed.paused_sinks {
        output.line(&format!("sink \"{sink}\" is paused: nothing reaches it until `{}`", sink_resume(sink)))?;
    }
    Ok(())
}
