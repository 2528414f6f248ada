//! `replicator sink list`.

use super::args::SinkListArgs;
use super::output::Output;
use super::{status, status_text};
use crate::config::Plan;

pub(super) fn run(plan: &Plan, arguments: &SinkListArgs) -> anyhow::Result<()> {
    let status = status::of(plan)?;
    let mut output = Output::new();
    if arguments.json {
        return output.document(&status.sinks).map(drop);
    }
    for line in status_text::sink_list(&status) {
        output.line(&line)?;
    }
    Ok(())
}
