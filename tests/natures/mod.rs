//! What is no table that can be copied, recognised wherever it arises, and statements that only seem to change a table: down and live, at
//! every kind of sink.

mod merges; // rows that are written through a MERGE table
mod names; // renames that change nothing, and definitions that come without a row
mod no_tables; // views and sequences
mod temporary; // temporary tables that have a table's name
mod versioned; // MariaDB's system versioning, BLACKHOLE

use serde_json::Value;

use crate::support::compare::{Compared, View, assert_mirrored_as};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

async fn world(kind: Kind, arguments: &[&str]) -> Sandbox {
    let options = arguments.iter().fold(ServerOptions::new(kind), |options, argument| options.argument(argument));
    Sandbox::with_every_sink_on(options.start().await).await
}

/// Runs statements in the database that is captured, in one session.
async fn exec(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// Runs `before` of two prefixes, copies it, then `later` of one while nobody reads and of the other while the stream is read. Every
/// sink goes on, the verdict is ok, and the mirrors are equal to the source but for the tables `left_out`. Returns the last status.
async fn down_and_live(
    sandbox: &Sandbox,
    before: impl Fn(&str) -> String,
    later: impl Fn(&str) -> String,
    left_out: &[&str],
) -> (Value, Compared) {
    let left_out: Vec<String> =
        ["a_", "b_"].iter().flat_map(|prefix| left_out.iter().map(move |table| format!("{prefix}{table}"))).collect();
    for prefix in ["a_", "b_"] {
        exec(sandbox, &before(prefix)).await;
    }
    sandbox.run_once();
    exec(sandbox, &later("a_")).await;
    sandbox.run_once();
    assert_mirrors(sandbox, &left_out).await;

    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    exec(sandbox, &later("b_")).await;
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
    let compared = assert_mirrors(sandbox, &left_out).await;
    // Nothing is left that a start would do otherwise.
    sandbox.run_once();
    assert_eq!(assert_mirrors(sandbox, &left_out).await, compared);
    (status, compared)
}

async fn assert_mirrors(sandbox: &Sandbox, left_out: &[String]) -> Compared {
    let view = View { left_out: left_out.to_vec(), ..View::default() };
    let compared = assert_mirrored_as(&view, &sandbox.server, DATABASE, &sandbox.sqlite()).await;
    if sandbox.has_clickhouse() {
        assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await, compared);
    }
    compared
}

/// The tables of `shop` that have a state, without their prefix.
fn stated<'a>(status: &'a Value, prefix: &str) -> Vec<&'a str> {
    let tables = status["tables"].as_array().unwrap().iter().filter(|table| !table["state"].is_null());
    let tables = tables.filter_map(|table| table["table"].as_str());
    let named = |table: &'a str| table.strip_prefix(DATABASE)?.strip_prefix('.')?.strip_prefix(prefix);
    tables.filter_map(named).collect()
}

/// Asks for a table to be read, which is refused; returns why.
fn refused(sandbox: &Sandbox, table: &str) -> String {
    let output = sandbox.run(&["backfill", "--database", DATABASE, "--table", table]);
    assert!(!output.status.success(), "{table} is read");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
