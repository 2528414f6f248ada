//! `replicator status`.

use super::args::StatusArgs;
use super::failure::Said;
use super::output::Output;
use super::{log_access, status_text};
use crate::config::Plan;
use crate::control::Request;
use crate::inspect;
use crate::telemetry::Status;

pub(super) fn run(plan: &Plan, arguments: &StatusArgs) -> anyhow::Result<()> {
    let status: Status = match log_access::daemon(&plan.wal.path)? {
        Some(client) => client.ask_one(&Request::Status)?,
        None => inspect::stopped_status(&log_access::open_stopped(&plan.wal.path)?, plan)?,
    };
    let mut output = Output::new();
    if arguments.json {
        output.document(&status)?;
    } else {
        for line in status_text::render(&status) {
            output.line(&line)?;
        }
    }
    if status.running {
        return Ok(());
    }
    Err(Said(format!("no daemon is running on the log in \"{}\"", plan.wal.path.display())).into())
}
