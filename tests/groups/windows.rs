//! While a table is read in chunks, rows that changed are left out of a chunk, because the stream has them. Rows whose
//! change was taken back have not changed: nobody else has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{SHOWN, on_mariadb, run};
use crate::support::daemon::LIMIT;
use crate::support::process::POLL;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Server;
use crate::support::status::{all_complete, reads_nothing};

/// A session that runs one script after the other until it is stopped.
struct Repeating {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Repeating {
    /// The script of each round comes from its number. Between two rounds the machine is left to the daemon for a moment.
    async fn start(server: &Server, script: impl Fn(u32) -> String + Send + 'static) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut connection = server.connect().await;
        connection.query_drop(format!("USE {DATABASE}")).await.unwrap();
        let (told, count) = (Arc::clone(&stop), Arc::clone(&done));
        let task = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let script = script(count.load(Ordering::Relaxed)).replace("SHOWN", SHOWN);
                let sql = format!("{script}; DO SLEEP(0.005)");
                connection.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
                count.fetch_add(1, Ordering::Relaxed);
            }
            connection.disconnect().await.unwrap();
        });
        Self { stop, done, task }
    }

    /// Waits until so many rounds are done.
    async fn did(&self, rounds: u32) {
        let deadline = Instant::now() + LIMIT;
        while self.done.load(Ordering::Relaxed) < rounds {
            assert!(Instant::now() < deadline && !self.task.is_finished(), "the session has not done {rounds} rounds");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it after its round; gives the number of rounds.
    async fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.done.load(Ordering::Relaxed)
    }
}

/// Rows of a table that is read in chunks while transactions are taken back.
const ROWS: u32 = 40_000;

/// Two tables of [`ROWS`] rows, read 200 rows at a time over some seconds.
async fn two_large_tables() -> Sandbox {
    let mut sandbox = on_mariadb().await;
    run(
        &sandbox,
        format!(
            "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL); INSERT INTO t SELECT seq, 0 FROM seq_1_to_{ROWS};
             CREATE TABLE u LIKE t; INSERT INTO u SELECT * FROM t"
        ),
    )
    .await;
    sandbox.set("/source/snapshot", json!({ "chunk_rows": 200, "parallel": 2, "max_rows_per_second": 20_000 }));
    sandbox
}

/// `id BETWEEN ..` over so many rows, another place with every number.
fn range(number: u32, width: u32) -> String {
    let first = number.wrapping_mul(7919) % (ROWS - width) + 1;
    format!("id BETWEEN {first} AND {}", first + width - 1)
}

/// The counters of a table of `shop`.
fn counters<'s>(status: &'s Value, table: &str) -> &'s Value {
    let name = format!("{DATABASE}.{table}");
    let tables = status["tables"].as_array().expect("status has tables");
    tables.iter().find(|counters| counters["table"] == name.as_str()).unwrap_or_else(|| panic!("no counters of {name}"))
}

fn count(counters: &Value, name: &str) -> u64 {
    counters[name].as_u64().unwrap_or_else(|| panic!("{counters} has no {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_transaction_took_back_do_not_count_as_changed_on_mariadb() {
    let sandbox = two_large_tables().await;
    // Some change the whole table: more than is kept in memory before the end is known.
    let taking_back = Repeating::start(&sandbox.server, |number| {
        let width = if number % 32 == 7 { ROWS - 1 } else { 301 };
        let (in_t, in_u, kept) = (range(number, width), range(number + 1, 301), range(number + 2, 20));
        format!(
            "BEGIN; UPDATE t SET v = v + 1 WHERE {in_t}; SHOWN; ROLLBACK; DROP TEMPORARY TABLE scratch;
             BEGIN; UPDATE u SET v = v + 1 WHERE {in_u}; DELETE FROM u WHERE {kept}; SHOWN; ROLLBACK; DROP TEMPORARY TABLE scratch;
             UPDATE u SET v = v + 1 WHERE {kept}"
        )
    })
    .await;
    taking_back.did(3).await;

    let mut daemon = sandbox.start();
    daemon.wait_until("the snapshot is done", is_read).await;
    let rounds = taking_back.stop().await;
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert!(rounds > 20, "only {rounds} rounds");
    let compared = sandbox.assert_mirrored().await;
    assert_eq!((compared.tables, compared.rows), (2, 80_000));
    // Nothing but the snapshot wrote t: each of its rows came once, and nothing was left out for a change that never
    // was.
    let of_t = counters(&status, "t");
    let rows = u64::from(ROWS);
    assert_eq!(
        (count(of_t, "read"), count(of_t, "appended"), count(of_t, "filtered"), count(&of_t["applied"], "local")),
        (rows, rows, 0, rows),
        "{of_t:#}"
    );
    let of_u = counters(&status, "u");
    assert_eq!(count(of_u, "read"), count(of_u, "appended") + count(of_u, "filtered"), "{of_u:#}");
    assert_eq!(count(of_u, "appended"), count(&of_u["applied"], "local"), "{of_u:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_savepoint_took_back_do_not_count_as_changed_on_mariadb() {
    let sandbox = two_large_tables().await;
    let taking_back = Repeating::start(&sandbox.server, |number| {
        let (kept, gone, later) = (range(number, 20), range(number + 1, 301), range(number + 2, 20));
        format!(
            "BEGIN; UPDATE t SET v = v + 1 WHERE {kept}; SAVEPOINT s; UPDATE t SET v = v + 1 WHERE {gone};
             UPDATE u SET v = v + 1 WHERE {gone}; DELETE FROM u WHERE {later}; SHOWN; ROLLBACK TO s;
             UPDATE u SET v = v + 1 WHERE {later}; COMMIT; DROP TEMPORARY TABLE scratch"
        )
    })
    .await;
    taking_back.did(3).await;

    let mut daemon = sandbox.start();
    daemon.wait_until("the snapshot is done", is_read).await;
    let rounds = taking_back.stop().await;
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert!(rounds > 20, "only {rounds} rounds");
    let compared = sandbox.assert_mirrored().await;
    assert_eq!((compared.tables, compared.rows), (2, 80_000));
    for table in ["t", "u"] {
        let counters = counters(&status, table);
        assert_eq!(
            count(counters, "read"),
            count(counters, "appended") + count(counters, "filtered") + count(counters, "left_out"),
            "{counters:#}"
        );
        assert_eq!(count(counters, "appended"), count(&counters["applied"], "local"), "{counters:#}");
    }
}

/// Whether there was something to read, and all of it is read.
fn is_read(status: &Value) -> bool {
    reads_nothing(status) && all_complete(status).is_some_and(|tables| tables > 0)
}
