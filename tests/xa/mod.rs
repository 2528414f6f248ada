//! Two-phase transactions on captured tables: the copy has nothing of one before its `XA COMMIT`, and all of it after.

mod between; // what happens to a table between prepare and commit
mod ended; // kills of the daemon and of the server between prepare and commit
mod first; // transactions that were prepared before the log began, and those that vanish
mod outcomes; // commit, rollback, one phase, many at once
mod reads; // reads of tables while transactions are prepared and end
mod sizes; // transactions of many pieces, and those that are too large

use mysql_async::prelude::Queryable as _;

use crate::support::daemon::Daemon;
use crate::support::process::POLL;
use crate::support::sandbox::{DATABASE, Sandbox};

/// The tables of the tests: with a key, with two columns of one, without one, and one that is not captured.
const TABLES: &str = "CREATE DATABASE other; CREATE TABLE other.x (id INT PRIMARY KEY);
     CREATE TABLE a (id INT PRIMARY KEY, v INT); INSERT INTO a VALUES (1, 1), (2, 2), (3, 3), (4, 4);
     CREATE TABLE b (id INT, c VARCHAR(20), v TEXT, PRIMARY KEY (id, c)); INSERT INTO b VALUES (1, 'one', 'x');
     CREATE TABLE loose (v INT, w VARCHAR(20)); INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (2, 'y')";

/// Runs a script in one session, inside `shop`.
async fn run(sandbox: &Sandbox, sql: impl AsRef<str>) {
    sandbox.server.exec(format!("USE {DATABASE}; {}", sql.as_ref())).await;
}

/// Prepares a transaction of these statements under a name, and leaves its session.
async fn prepare(sandbox: &Sandbox, xid: &str, statements: &str) {
    run(sandbox, format!("XA START {xid}; {statements}; XA END {xid}; XA PREPARE {xid}")).await;
}

/// Ends a prepared transaction. For a moment it may still be the one of the session that has prepared it.
async fn end(sandbox: &Sandbox, how: &str, xid: &str) {
    let mut connection = sandbox.server.connect().await;
    for _ in 0..500 {
        match connection.query_drop(format!("XA {how} {xid}")).await {
            Ok(()) => return,
            Err(error) if error.to_string().contains("XAER_NOTA") => tokio::time::sleep(POLL).await,
            Err(error) => panic!("XA {how} {xid}: {error}"),
        }
    }
    panic!("XA {how} {xid}: the transaction stays with its session");
}

/// Everything that the source has is in the copy, and in the changelogs of these tables.
async fn assert_copied(sandbox: &Sandbox, daemon: &mut Daemon, tables: &[&str]) {
    sandbox.caught_up(daemon).await;
    sandbox.assert_mirrored().await;
    for table in tables {
        sandbox.assert_logged(table).await;
    }
}

/// The prepared transactions that a source lists.
async fn listed(sandbox: &Sandbox) -> usize {
    sandbox.server.query::<mysql_async::Row>("XA RECOVER").await.len()
}

/// Row changes of every table: read, and left out.
fn counted(daemon: &Daemon) -> (u64, u64) {
    let status = daemon.status().unwrap();
    let tables = status["tables"].as_array().unwrap();
    let sum = |what: &str| tables.iter().map(|table| table[what].as_u64().unwrap()).sum();
    (sum("read"), sum("left_out"))
}
