//! The life of a captured table as an operator meets it, at a state and a changelog in each kind of target: what is
//! stated of it, what the copies hold, and what an operator does about it.

mod columns; // tables with a column that cannot be read
mod created; // tables whose whole life is in the stream
mod denied; // tables that the account may not read
mod doubted; // a table that one sink doubts
mod excluded; // tables that leave the configuration and come back
mod interrupted; // tables that something happens to while they are read
mod natures; // tables that cannot be copied
mod others; // what is written to tables that are not captured, or that no server can open
mod requested; // reads that an operator asks for
mod resynced; // every table again: on request, and where the position is gone
mod sinks; // sinks that come, go, and leave their cursor
mod stops; // what is wrong with one table at a sink

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use serde_json::Value;

use crate::support::cells::open_sqlite;
use crate::support::compare::{Compared, View, assert_mirrored_as};
use crate::support::history::{assert_history, assert_history_in_clickhouse_of};
use crate::support::http::get;
use crate::support::sandbox::{CHANGELOG, DATABASE, Sandbox};
use crate::support::server::{Server, USER};
use crate::support::status::table_of;

/// The sinks of [`Sandbox::with_every_sink`].
const SINKS: [&str; 4] = ["local", "changelog", "ch", "ch_changelog"];

/// Leaves the product's account what it needs for the binlog, and what `grants` say.
async fn limited_to(server: &Server, grants: &str) {
    server
        .exec(format!(
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM {USER}@'%';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {USER}@'%'; {grants}"
        ))
        .await;
}

fn grant(table: &str) -> String {
    format!("GRANT SELECT ON `{DATABASE}`.`{table}` TO '{USER}'@'%'")
}

/// What lets the account see a table and not its rows.
fn seen(table: &str) -> String {
    format!("GRANT INSERT ON `{DATABASE}`.`{table}` TO '{USER}'@'%'")
}

/// Runs to the end with this exit code; returns what it said.
fn once(sandbox: &Sandbox, code: i32) -> String {
    let output = sandbox.run(&["start", "--once"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the log of a stopped daemon says.
fn stopped(sandbox: &Sandbox) -> Value {
    let output = sandbox.run(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(1), "no daemon runs: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The state of a table of `shop` as far as source and log go, and those that it has at the sinks.
fn states(status: &Value, table: &str) -> (Value, BTreeSet<String>) {
    let row = table_of(status, &format!("{DATABASE}.{table}"));
    let at_sinks = row["sinks"].as_object().into_iter().flatten();
    (row["state"].clone(), at_sinks.map(|(_, at)| at["state"].as_str().unwrap_or("null").to_owned()).collect())
}

/// Whether a table has this state for all of it.
fn is_stated(status: &Value, table: &str, state: &str) -> bool {
    states(status, table) == (state.into(), BTreeSet::from([state.to_owned()]))
}

/// Asserts that a table has this state for all of it, and returns why.
fn assert_stated(status: &Value, table: &str, state: &str) -> String {
    assert!(is_stated(status, table, state), "{table} is not {state}: {status:#}");
    table_of(status, &format!("{DATABASE}.{table}"))["why"].as_str().unwrap_or_default().to_owned()
}

/// Asserts what the one verdict is, in `/health` too.
async fn assert_health(sandbox: &Sandbox, status: &Value, verdict: &str) {
    assert_eq!(status["health"]["status"], verdict, "{:#}", status["health"]);
    let answer = get(&sandbox.http(), "/health").await;
    let code = if verdict == "failed" { "HTTP/1.1 503" } else { "HTTP/1.1 200" };
    assert!(answer.starts_with(code) && answer.contains(&format!("\"status\":\"{verdict}\"")), "{answer}");
}

/// Asserts that both mirrors have all of `shop` but these tables.
async fn assert_copied_but(sandbox: &Sandbox, left_out: &[&str]) -> Compared {
    let left_out = left_out.iter().map(|table| (*table).to_owned()).collect();
    let view = View { left_out, ..View::default() };
    let compared = assert_mirrored_as(&view, &sandbox.server, DATABASE, &sandbox.sqlite()).await;
    assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await, compared);
    compared
}

/// Asserts that both changelogs of a table fit and end in the table; returns the number of their lines.
async fn assert_lines(sandbox: &Sandbox, table: &str) -> usize {
    let lines = assert_history(&sandbox.server, DATABASE, table, &sandbox.changelog()).await;
    let target = (sandbox.clickhouse(), CHANGELOG);
    assert_eq!(assert_history_in_clickhouse_of(&sandbox.server, DATABASE, table, target).await, lines, "{table}");
    lines
}

/// How many lines of each kind the changelogs of a table have, which is the same in both.
async fn operations(sandbox: &Sandbox, table: &str) -> BTreeMap<String, i64> {
    let connection = open_sqlite(&sandbox.changelog());
    let mut statement = connection.prepare(&format!("SELECT _op, COUNT(*) FROM {table} GROUP BY _op")).unwrap();
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let counts: BTreeMap<String, i64> = counts.map(Result::unwrap).collect();
    let lines =
        sandbox.clickhouse().query(format!("SELECT _op, COUNT(*) FROM {CHANGELOG}.{table} FINAL GROUP BY _op")).await;
    let count = |line: &str| {
        let (op, count) = line.split_once('\t').unwrap();
        (op.to_owned(), count.parse().unwrap())
    };
    assert_eq!(lines.lines().map(count).collect::<BTreeMap<_, _>>(), counts, "{table} in ClickHouse and in SQLite");
    counts
}

/// The commands that the verdict names.
fn remedies(status: &Value) -> Vec<String> {
    let reasons = status["health"]["reasons"].as_array().unwrap();
    reasons.iter().filter_map(|reason| reason["remedy"].as_str()).map(str::to_owned).collect()
}

/// Runs a command as it is printed.
fn replicator(sandbox: &Sandbox, command: &str) -> Output {
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "replicator", "{command}");
    sandbox.run(&words[1..])
}
