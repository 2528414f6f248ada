//! `replicator backfill`.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::args::{BackfillArgs, Format, LogArgs, table_names};
use super::by_hand::operator;
use super::failure::Misuse;
use super::output::Output;
use super::table_skip::daemon;
use super::{log_access, start, wait};
use crate::config::Plan;
use crate::control::{BackfillJob, BackfillTaken, Request, TableTaken};
use crate::error::table_resume;
use crate::model::{TableName, as_word};
use crate::pipeline::StartOptions;

/// The tables that the arguments name.
pub(super) fn jobs(arguments: &BackfillArgs) -> anyhow::Result<Vec<BackfillJob>> {
    if let Some(file) = &arguments.tables {
        return read_file(file);
    }
    let job = |TableName { database, table }| BackfillJob {
        database,
        table,
        condition: arguments.condition.clone(),
        batch_size: arguments.batch_size,
        replace: arguments.replace,
    };
    Ok(table_names(arguments.database.as_deref(), &arguments.table)?.into_iter().map(job).collect())
}

fn read_file(file: &Path) -> anyhow::Result<Vec<BackfillJob>> {
    let misuse = |error: String| Misuse(format!("\"{}\" is not a list of tables: {error}", file.display()));
    let text =
        fs::read_to_string(file).map_err(|error| Misuse(format!("cannot read \"{}\": {error}", file.display())))?;
    let jobs: Vec<BackfillJob> = serde_norway::from_str(&text).map_err(|error| misuse(error.to_string()))?;
    if jobs.is_empty() {
        return Err(misuse("it is empty".to_owned()).into());
    }
    if let Some(job) = jobs.iter().find(|job| job.replace && job.condition.is_some()) {
        return Err(
            misuse(format!("\"{}\" has both where and replace: a part cannot replace the whole", job.name())).into()
        );
    }
    Ok(jobs)
}

/// That the configuration captures the tables, under some rule for names; the daemon knows which one the source has.
fn require_captured(plan: &Plan, jobs: &[BackfillJob]) -> Result<(), Misuse> {
    match jobs.iter().map(BackfillJob::name).find(|table| !plan.source.filter.may_capture(table)) {
        Some(table) => {
            Err(Misuse(format!("\"{table}\" is not copied: source.include and source.exclude leave it out")))
        }
        None => Ok(()),
    }
}

/// Reads the tables, or has the daemon read them; waits for that if it `waits`.
pub(super) fn run(plan: Plan, jobs: Vec<BackfillJob>, waits: bool) -> anyhow::Result<()> {
    require_captured(&plan, &jobs)?;
    let count = jobs.len();
    let tables = if count == 1 { "1 table".to_owned() } else { format!("{count} tables") };
    if let Some(client) = log_access::daemon(&plan.wal.path)? {
        let names: Vec<TableName> = jobs.iter().map(BackfillJob::name).collect();
        let taken: BackfillTaken =
            client.ask_one(&Request::Backfill { jobs }).context("the daemon did not take the tables")?;
        let mut output = Output::new();
        for table in taken.queued {
            let line = "waits for a free place (source.snapshot.parallel); a daemon that stops before it is running forgets it";
            output.line(&format!("{table} {line}"))?;
        }
        if waits {
            let read = |table: &TableName| taken.reads.iter().find(|(name, _)| name == table).map(|(_, read)| *read);
            wait::until_complete(&plan, names.iter().map(|table| (table.clone(), read(table))).collect())?;
            return output.line(&format!("{tables} read again, and complete at every sink")).map(drop);
        }
        return output.line(&format!("{tables} handed to the daemon; replicator status shows the progress")).map(drop);
    }
    let bars = start::start_logs(&plan, &LogArgs { log_format: Format::Text, log_level: None })?;
    let options = StartOptions { resume: true, once: true, backfills: jobs, ..StartOptions::default() };
    start::run_pipeline(plan, options, bars)?;
    Output::new().line(&format!("{tables} read again")).map(drop)
}

/// Gives up the reads of the tables that operators have asked for.
pub(super) fn cancel(plan: &Plan, jobs: &[BackfillJob]) -> anyhow::Result<()> {
    require_captured(plan, jobs)?;
    let mut output = Output::new();
    for table in jobs.iter().map(BackfillJob::name) {
        let resume = table_resume(&as_word(&table.to_string()));
        let why = format!("{} cancelled a read of it, without which its rows are not known", operator());
        let taken: TableTaken = daemon(plan)?.ask_one(&Request::CancelReads { table: table.clone(), why })?;
        output.line(&match taken.left_out {
            None => format!("the read of {table} is cancelled; the table is as complete as it was"),
            Some(why) => {
                format!("the read of {table} is cancelled, and the table is left out: {why}; `{resume}` reads it")
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn from_file(text: &str) -> anyhow::Result<Vec<BackfillJob>> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("backfill.yaml");
        fs::write(&file, text).unwrap();
        read_file(&file)
    }

    #[test]
    fn a_file_lists_tables_with_their_conditions() {
        let jobs = from_file(
            "- { database: shop, table: users, replace: true }\n- { database: shop, table: orders, where: 'id > 5', batch_size: 7 }",
        );
        let job = |table: &str, condition: Option<&str>, batch_size, replace| BackfillJob {
            database: "shop".into(),
            table: table.into(),
            condition: condition.map(str::to_owned),
            batch_size,
            replace,
        };
        assert_eq!(
            jobs.unwrap(),
            [job("users", None, None, true), job("orders", Some("id > 5"), NonZeroU32::new(7), false)]
        );
    }

    #[test]
    fn a_file_that_says_something_else_is_misuse() {
        for text in [
            "",
            "[]",
            "database: shop",
            "- { database: shop }",
            "- { database: a, table: b, wher: c }",
            "- { database: a, table: b, where: c, replace: true }",
        ] {
            let error = from_file(text).unwrap_err();
            assert!(error.is::<Misuse>(), "{text}: {error}");
        }
    }
}
