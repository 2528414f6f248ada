//! Doubts: where it is not known what a table's rows are, that table is read again, or left out by name, and the others go on.

mod paced; // when the reads of doubts begin, and what says so
mod random; // a doubt of any kind now and then, for minutes, under writers
mod storms; // sessions that raise doubts all the time
mod written; // each kind of doubt by itself

use serde_json::Value;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::table_of;

/// What makes a session log statements in place of rows.
pub const AS_STATEMENT: &str = "SET SESSION binlog_format = 'STATEMENT'";
/// What makes it log rows.
pub const AS_ROWS: &str = "SET SESSION binlog_format = 'ROW'";

/// A row of the status of a table of `shop`.
fn of<'s>(status: &'s Value, table: &str) -> &'s Value {
    table_of(status, &format!("{DATABASE}.{table}"))
}

/// Runs statements in the database of the sandbox, in one session.
async fn exec(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// A daemon over tables `t` and `other` of three rows each, which it has copied.
async fn copied(kind: Kind) -> Sandbox {
    let sandbox = Sandbox::new(kind).await;
    exec(
        &sandbox,
        "CREATE TABLE t (id INT PRIMARY KEY, a INT); CREATE TABLE other (id INT PRIMARY KEY, a INT);
         INSERT INTO t VALUES (1, 1), (2, 2), (3, 3); INSERT INTO other VALUES (1, 1), (2, 2), (3, 3)",
    )
    .await;
    sandbox.run_once();
    sandbox
}
