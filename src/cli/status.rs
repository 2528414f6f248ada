//! `replicator status`.

use super::args::StatusArgs;
use super::failure::{NeedsOperator, Said};
use super::log_access::{self, LogAccess};
use super::output::Output;
use super::status_text;
use crate::config::Plan;
use crate::control::Request;
use crate::inspect;
use crate::telemetry::{Status, TableSelection};

/// The status of the daemon, or what the log says without one.
pub(super) fn of(plan: &Plan) -> anyhow::Result<Status> {
    Ok(match log_access::look(&plan.wal.path)? {
        LogAccess::Daemon(client) => client.ask_one(&Request::Status)?,
        LogAccess::Stopped(path) => inspect::stopped_status(&log_access::open_stopped(&path)?, plan)?,
        LogAccess::Unreadable(why) => return Err(log_access::unreadable(&why)),
    })
}

pub(super) fn run(plan: &Plan, arguments: &StatusArgs) -> anyhow::Result<()> {
    let mut status = of(plan)?;
    let selection = TableSelection { names: arguments.tables.clone(), states: arguments.states.clone() };
    let mut output = Output::new();
    if arguments.json {
        selection.apply(&mut status);
        output.document(&status)?;
    } else {
        for line in status_text::render(&mut status, &selection) {
            output.line(&line)?;
        }
    }
    if !status.running {
        return Err(Said(format!("no daemon is running on the log in \"{}\"", plan.wal.path.display())).into());
    }
    if status.health.is_failed() {
        return Err(NeedsOperator.into());
    }
    Ok(())
}
