//! `replicator dlq`.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value};

use super::args::{DiscardArgs, DlqVerb, LettersArgs};
use super::failure::Misuse;
use super::log_access::{self, LogAccess};
use super::output::{Output, bytes, count, table};
use crate::config::Plan;
use crate::control::{LettersTaken, Request, settle_letters};
use crate::dead::Hub;
use crate::error::Failure;
use crate::inspect::{self, LetterItem, LetterQuery};

pub(super) fn run(plan: &Plan, verb: &DlqVerb) -> anyhow::Result<()> {
    match verb {
        DlqVerb::List(arguments) => list(plan, arguments),
        DlqVerb::Show(arguments) => show(plan, arguments),
        DlqVerb::Retry(arguments) => settle(plan, arguments, false),
        DlqVerb::Discard(DiscardArgs { letters, all }) => {
            if !all && letters.sink.is_none() && letters.table.is_none() && letters.reason.is_none() {
                let why = "say which letters: --sink, --table, --reason, or --all";
                return Err(Misuse(why.to_owned()).into());
            }
            settle(plan, letters, true)
        }
    }
}

fn query(arguments: &LettersArgs, rows: bool) -> LetterQuery {
    LetterQuery {
        sink: arguments.sink.clone(),
        table: arguments.table.as_ref().map(|table| (table.database.clone(), table.table.clone())),
        reason: arguments.reason.clone(),
        rows,
    }
}

/// Gives each letter to `take`, whose first error ends it.
fn each(
    plan: &Plan,
    query: LetterQuery,
    mut take: impl FnMut(LetterItem) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut taken = Ok(());
    let mut go_on = |more: anyhow::Result<bool>| {
        more.unwrap_or_else(|error| {
            taken = Err(error);
            false
        })
    };
    match log_access::look(&plan.wal.path)? {
        LogAccess::Stopped(path) => {
            let reader = log_access::open_stopped(&path)?;
            inspect::letters(&reader, &query, &mut |item| go_on(take(item.clone())))?;
        }
        LogAccess::Unreadable(why) => return Err(log_access::unreadable(&why)),
        LogAccess::Daemon(client) => client.ask(&Request::Letters { query }, |item| {
            let item = serde_json::from_value(item).context("the daemon sent a letter that this version does not know");
            go_on(item.and_then(&mut take))
        })?,
    }
    taken
}

/// Letters of one sink, table and reason.
#[derive(Debug, Serialize)]
struct Line {
    sink: String,
    table: String,
    reason: String,
    letters: u64,
    bytes: u64,
    /// Of those that are to be tried again.
    retry: u64,
    oldest: String,
    oldest_lsn: u64,
}

fn list(plan: &Plan, arguments: &LettersArgs) -> anyhow::Result<()> {
    let mut lines: BTreeMap<(String, String, String), Line> = BTreeMap::new();
    each(plan, query(arguments, false), |item| {
        let LetterItem { sink, reason, bytes, retry, changed_at, lsn, .. } = item;
        let name = format!("{}.{}", item.database, item.table);
        let line = lines.entry((sink.clone(), name.clone(), reason.clone())).or_insert_with(|| Line {
            sink,
            table: name,
            reason,
            letters: 0,
            bytes: 0,
            retry: 0,
            oldest: changed_at,
            oldest_lsn: lsn,
        });
        line.letters += 1;
        line.bytes += bytes;
        line.retry += u64::from(retry);
        Ok(true)
    })?;
    let lines: Vec<_> = lines.into_values().collect();
    let mut output = Output::new();
    if arguments.json {
        return output.document(&lines).map(drop);
    }
    if lines.is_empty() {
        return output.line("no dead letters").map(drop);
    }
    let mut shown = table(&["sink", "table", "letters", "size", "oldest", "reason"], &[2, 3]);
    for line in lines {
        let number = match line.retry {
            0 => count(line.letters),
            retry => format!("{} ({} to be tried again)", count(line.letters), count(retry)),
        };
        shown.add_row([line.sink, line.table, number, bytes(line.bytes), line.oldest, line.reason]);
    }
    output.line(&shown.to_string()).map(drop)
}

fn show(plan: &Plan, arguments: &LettersArgs) -> anyhow::Result<()> {
    let mut output = Output::new();
    let mut is_first = true;
    each(plan, query(arguments, true), |mut item| {
        let sink = plan.sinks.iter().find(|sink| sink.name == item.sink);
        match sink {
            Some(sink) => item.as_at(sink),
            None => item.hide_values(),
        }
        if arguments.json {
            return output.json(&item);
        }
        if !std::mem::take(&mut is_first) {
            output.line("")?;
        }
        shown(&mut output, &item, sink.is_some())
    })?;
    if is_first && !arguments.json {
        output.line("no dead letters")?;
    }
    Ok(())
}

fn shown(output: &mut Output, item: &LetterItem, is_configured: bool) -> anyhow::Result<bool> {
    let LetterItem { sink, database, table, lsn, ordinal, op, .. } = item;
    let again = if item.retry { ", to be tried again" } else { "" };
    output.line(&format!("{sink}  {database}.{table}  lsn {lsn} row {ordinal}  {op} of {}{again}", item.changed_at))?;
    if !is_configured {
        output
            .line("  values  not shown: the configuration has no such sink, so which of them it hides is not known")?;
    }
    let rows = [("key", &item.key), ("before", &item.before), ("after", &item.after)];
    for (what, values) in rows {
        if let Some(values) = values {
            output.line(&format!("  {what:<7} {}", in_words(values)))?;
        }
    }
    output.line(&format!("  reason  {}", item.reason))
}

fn in_words(values: &Map<String, Value>) -> String {
    let words: Vec<_> = values.iter().map(|(column, value)| format!("{column}={value}")).collect();
    words.join(" ")
}

fn settle(plan: &Plan, arguments: &LettersArgs, discard: bool) -> anyhow::Result<()> {
    let query = query(arguments, false);
    let (taken, has_daemon) = match log_access::daemon(&plan.wal.path)? {
        Some(client) => (client.ask_one(&Request::Settle { query, discard })?, true),
        None => {
            // Opened for reading first: a log that is not there is not made by this.
            drop(log_access::open_stopped(&plan.wal.path)?);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let settled = settle_in_stopped(plan, query, discard);
            (runtime.context("cannot start the runtime")?.block_on(settled)?, false)
        }
    };
    let LettersTaken { letters } = taken;
    let mut output = Output::new();
    if arguments.json {
        output.document(&taken)?;
    }
    if letters == 0 {
        return Err(Failure::fatal("no dead letter matches").hint("replicator dlq list shows which there are").into());
    }
    if arguments.json {
        return Ok(());
    }
    let number = if letters == 1 { "1 dead letter".to_owned() } else { format!("{} dead letters", count_of(letters)) };
    let said = match (discard, has_daemon) {
        (true, _) => "removed",
        (false, true) => "tried again; replicator dlq list shows what is left",
        (false, false) => "tried again at the next replicator start",
    };
    output.line(&format!("{number} {said}")).map(drop)
}

fn count_of(letters: usize) -> String {
    count(u64::try_from(letters).unwrap_or(u64::MAX))
}

async fn settle_in_stopped(plan: &Plan, query: LetterQuery, discard: bool) -> anyhow::Result<LettersTaken> {
    let (wal, _appender) = log_access::open_to_write(plan)?;
    let dead = Hub::new(wal.clone(), plan.dead_letters.max_bytes);
    let settled = settle_letters((&wal, &dead), query, discard).await;
    wal.shutdown().await.context("cannot close the log")?;
    Ok(settled?)
}
