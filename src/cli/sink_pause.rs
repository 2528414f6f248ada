//! `replicator sink pause` and `replicator sink resume`.

use anyhow::Context;
use serde::Serialize;

use super::args::{SinkPauseArgs, SinkResumeArgs};
use super::by_hand::operator;
use super::log_access;
use super::output::Output;
use super::sink_reset::require_configured;
use crate::config::Plan;
use crate::control::Request;
use crate::inspect::{self, PausedSink};
use crate::telemetry::now_micros;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    sink: &'a str,
    paused: bool,
    /// A daemon has done it; false: the next start begins with it.
    running: bool,
}

pub(super) fn pause(plan: &Plan, arguments: &SinkPauseArgs) -> anyhow::Result<()> {
    let SinkPauseArgs { name, reason, json } = arguments;
    require_configured(plan, name)?;
    let request = Request::PauseSink { name: name.clone(), by: operator(), why: reason.clone() };
    let record = PausedSink { since_micros: now_micros(), by: operator(), why: reason.clone() };
    let running = ask(plan, name, &request, Some(&record))?;
    let when = if running { "" } else { "; the next start begins with it paused" };
    print(
        &Printed { sink: name, paused: true, running },
        &format!(
            "sink \"{name}\" is paused{when}; the log keeps everything for it until `replicator sink resume {name}`"
        ),
        *json,
    )
}

pub(super) fn resume(plan: &Plan, arguments: &SinkResumeArgs) -> anyhow::Result<()> {
    let SinkResumeArgs { name, json } = arguments;
    require_configured(plan, name)?;
    let running = ask(plan, name, &Request::ResumeSink { name: name.clone() }, None)?;
    let when = if running { "where it stopped" } else { "where it stopped with the next start" };
    print(&Printed { sink: name, paused: false, running }, &format!("sink \"{name}\" continues {when}"), *json)
}

fn print(printed: &Printed<'_>, text: &str, json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if json { output.document(printed).map(drop) } else { output.line(text).map(drop) }
}

/// Asks the daemon, or stores it in the log of a stopped one; says whether there is a daemon.
fn ask(plan: &Plan, name: &str, request: &Request, pause: Option<&PausedSink>) -> anyhow::Result<bool> {
    if let Some(client) = log_access::daemon(&plan.wal.path)? {
        client.ask(request, |_| true)?;
        return Ok(true);
    }
    // Opened for reading first: a log that is not there is not made by this.
    inspect::may_pause(&log_access::open_stopped(&plan.wal.path)?, name, pause.is_some())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(store_in_stopped(plan, name, pause))?;
    Ok(false)
}

async fn store_in_stopped(plan: &Plan, name: &str, pause: Option<&PausedSink>) -> anyhow::Result<()> {
    let (wal, _appender) = log_access::open_to_write(plan)?;
    let stored = inspect::store_pause(&wal, name, pause).await;
    wal.shutdown().await.context("cannot close the log")?;
    Ok(stored?)
}
