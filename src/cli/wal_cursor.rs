//! `replicator wal drop-cursor`.

use anyhow::Context;

use super::args::DropCursorArgs;
use super::log_access;
use super::output::Output;
use crate::config::Plan;
use crate::control::{Request, forget_sink};
use crate::error::Failure;

pub(super) fn run(plan: &Plan, arguments: &DropCursorArgs) -> anyhow::Result<()> {
    let name = &arguments.name;
    if plan.sinks.iter().any(|sink| sink.name == *name) {
        return Err(Failure::fatal(format!("sink \"{name}\" is configured: its cursor is in use"))
            .hint("take the sink out of the configuration and restart the daemon first")
            .into());
    }
    match log_access::daemon(&plan.wal.path)? {
        Some(client) => client.ask(&Request::DropCursor { name: name.clone() }, |_| true)?,
        None => {
            // Opened for reading first: a log that is not there is not made by removing something from it.
            drop(log_access::open_stopped(&plan.wal.path)?);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("cannot start the runtime")?.block_on(drop_in_stopped(plan, name))?;
        }
    }
    Output::new().line(&format!("cursor \"{name}\" dropped")).map(drop)
}

async fn drop_in_stopped(plan: &Plan, name: &str) -> anyhow::Result<()> {
    let (wal, _appender) = log_access::open_to_write(plan)?;
    let dropped = forget_sink(&wal, name).await;
    wal.shutdown().await.context("cannot close the log")?;
    Ok(dropped?)
}
