//! `replicator backfill`.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::args::{BackfillArgs, Format, LogArgs, table_names};
use super::failure::Misuse;
use super::output::Output;
use super::{log_access, start};
use crate::config::Plan;
use crate::control::{BackfillJob, BackfillTaken, Request};
use crate::model::TableName;
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

pub(super) fn run(plan: Plan, jobs: Vec<BackfillJob>) -> anyhow::Result<()> {
    // Under no rule for names; the daemon knows which one the source has.
    if let Some(table) = jobs.iter().map(BackfillJob::name).find(|table| !plan.source.filter.may_capture(table)) {
        return Err(Misuse(format!("\"{table}\" is not copied: source.include and source.exclude leave it out")).into());
    }
    let count = jobs.len();
    let tables = if count == 1 { "1 table".to_owned() } else { format!("{count} tables") };
    if let Some(client) = log_access::daemon(&plan.wal.path)? {
        let taken: BackfillTaken =
            client.ask_one(&Request::Backfill { jobs }).context("the daemon did not take the tables")?;
        let mut output = Output::new();
        for table in taken.queued {
            let line = "waits for a free place (source.snapshot.parallel); a daemon that stops before it is running forgets it";
            output.line(&format!("{table} {line}"))?;
        }
        return output.line(&format!("{tables} handed to the daemon; replicator status shows the progress")).map(drop);
    }
    let bars = start::start_logs(&LogArgs { log_format: Format::Text, log_level: None })?;
    let options = StartOptions { resume: true, once: true, backfills: jobs, ..StartOptions::default() };
    start::run_pipeline(plan, options, bars)?;
    Output::new().line(&format!("{tables} read again")).map(drop)
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
