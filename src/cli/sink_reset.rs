//! `replicator sink reset`.

use anyhow::Context;

use super::args::SinkResetArgs;
use super::log_access;
use super::output::Output;
use crate::config::Plan;
use crate::control::Request;
use crate::error::Failure;
use crate::inspect;

pub(super) fn run(plan: &Plan, arguments: &SinkResetArgs) -> anyhow::Result<()> {
    let name = &arguments.name;
    require_configured(plan, name)?;
    let said = match log_access::daemon(&plan.wal.path)? {
        Some(client) => {
            client.ask(&Request::ResetSink { name: name.clone() }, |_| true)?;
            "every table is read again for it; replicator status shows the progress"
        }
        None => {
            // Opened for reading first: a log that is not there is not made by this.
            inspect::may_reset(&log_access::open_stopped(&plan.wal.path)?, name)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("cannot start the runtime")?.block_on(reset_in_stopped(plan, name))?;
            "the next replicator start reads every table again for it"
        }
    };
    Output::new().line(&format!("sink \"{name}\" is reset: {said}")).map(drop)
}

/// That a sink of the name is configured.
pub(super) fn require_configured(plan: &Plan, name: &str) -> Result<(), Failure> {
    if plan.sinks.iter().any(|sink| sink.name == name) {
        return Ok(());
    }
    let names: Vec<_> = plan.sinks.iter().map(|sink| format!("\"{}\"", sink.name)).collect();
    Err(Failure::fatal(format!("no sink \"{name}\" is configured")).hint(format!(
        "the sinks are {}; the cursor of one that is not configured any more goes by `replicator wal drop-cursor {name}`",
        names.join(", ")
    )))
}

async fn reset_in_stopped(plan: &Plan, name: &str) -> anyhow::Result<()> {
    let (wal, _appender) = log_access::open_to_write(plan)?;
    let stored = inspect::ask_for_reset(&wal, name).await;
    wal.shutdown().await.context("cannot close the log")?;
    Ok(stored?)
}
