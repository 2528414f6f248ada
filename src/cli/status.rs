//! `replicator status`.

use super::args::StatusArgs;
use super::failure::{NeedsOperator, Said};
use super::output::Output;
use super::{log_access, status_text};
use crate::config::Plan;
use crate::control::Request;
use crate::inspect;
use crate::telemetry::{Status, TableSelection};

/// The status of the daemon, or what the log says without one.
pub(super) fn of(plan: &Plan) -> anyhow::Result<Status> {
    Ok(match log_access::daemon(&plan.wal.path)? {
        Some(client) => client.ask_one(&Request::Status)?,
        None => inspect::stopped_status(&log_access::open_stopped(&plan.wal.path)?, plan)?,
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
