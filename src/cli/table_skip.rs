//! `replicator table skip` and `replicator table resume`.

use serde::Serialize;

use super::args::{TableResumeArgs, TableSkipArgs};
use super::by_hand::{operator, skipped};
use super::output::Output;
use super::{log_access, wait};
use crate::config::Plan;
use crate::control::{Client, Request, TableTaken};
use crate::error::{Failure, table_resume};
use crate::model::as_word;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed {
    table: String,
    skipped: bool,
    /// Why it is left out.
    why: Option<String>,
    /// It is complete at every sink.
    complete: bool,
}

pub(super) fn skip(plan: &Plan, arguments: &TableSkipArgs) -> anyhow::Result<()> {
    let TableSkipArgs { table, reason, json } = arguments;
    let why = skipped(reason.as_deref());
    let taken: TableTaken = daemon(plan)?.ask_one(&Request::SkipTable { table: table.clone(), why })?;
    let resume = table_resume(&as_word(&table.to_string()));
    let printed = Printed { table: table.to_string(), skipped: true, why: taken.left_out, complete: false };
    print(&printed, &format!("{table} is left out from here on; `{resume}` reads it again"), *json)
}

pub(super) fn resume(plan: &Plan, arguments: &TableResumeArgs) -> anyhow::Result<()> {
    let TableResumeArgs { table, wait: waits, json } = arguments;
    let why = format!("{} resumed it", operator());
    let taken: TableTaken = daemon(plan)?.ask_one(&Request::ResumeTable { table: table.clone(), why })?;
    let printed = |complete| Printed { table: table.to_string(), skipped: false, why: None, complete };
    if !waits {
        let line =
            format!("{table} is read again in place of what the sinks have; replicator status shows the progress");
        return print(&printed(false), &line, *json);
    }
    wait::until_complete(plan, vec![(table.clone(), taken.read)])?;
    print(&printed(true), &format!("{table} is complete at every sink"), *json)
}

/// The daemon, which alone can do that to a table: its place in the stream counts.
pub(super) fn daemon(plan: &Plan) -> anyhow::Result<Client> {
    match log_access::daemon(&plan.wal.path)? {
        Some(client) => Ok(client),
        None => Err(Failure::fatal(format!("no daemon is running on the log in \"{}\"", plan.wal.path.display()))
            .hint("run `replicator start`, and ask again while it runs; without a daemon, source.exclude leaves a table out from the next start on")
            .into()),
    }
}

fn print(printed: &Printed, text: &str, json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if json { output.document(printed).map(drop) } else { output.line(text).map(drop) }
}
