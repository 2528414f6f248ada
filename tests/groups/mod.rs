//! A transaction counts whole or not at all: what it took back, what a savepoint took back, and what was open when
//! the daemon stopped leaves no trace.
//!
//! MariaDB writes a transaction that was rolled back to its binlog, with its rows, when a temporary table was made or
//! dropped in it. It writes the rows that a `ROLLBACK TO` took back, and the `ROLLBACK TO`, when that happened after
//! the savepoint. In row format MySQL writes neither, whatever the transaction holds.

mod ended; // the daemon, or its connection, ends while a table is asked about
mod savepoints; // rows that a savepoint took back
mod sizes; // savepoints in large transactions, and the memory of a transaction of many changes
mod windows; // rows that were taken back, while their tables are read in chunks
mod without_transactions; // tables without transactions among the others

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// What makes MariaDB write what a transaction takes back.
const SHOWN: &str = "CREATE TEMPORARY TABLE scratch (a INT)";

/// For tests that are about what MariaDB writes.
async fn on_mariadb() -> Sandbox {
    Sandbox::new(Kind::MariaDb).await
}

/// Runs a script in one session, inside `shop`. `SHOWN` in it is [`SHOWN`].
async fn run(sandbox: &Sandbox, sql: impl AsRef<str>) {
    sandbox.server.exec(format!("USE {DATABASE}; {}", sql.as_ref().replace("SHOWN", SHOWN))).await;
}

/// A case with keys of its own: `#` in it is the number, `a+1` inserts the row of the key `#1` into `a`, `m+1` into
/// `m`, and so on to 9.
fn case(sql: &str, number: usize) -> String {
    let mut sql = sql.to_owned();
    for table in ["a", "m"] {
        for row in 1..=9 {
            sql = sql.replace(&format!("{table}+{row}"), &format!("INSERT INTO {table} VALUES (#{row}, 1)"));
        }
    }
    sql.replace('#', &number.to_string())
}
