//! The log and the binary log into ClickHouse, against the time the server itself takes to read the same rows from a file.
//!
//! The reference is `INSERT .. SELECT FROM file(.., 'RowBinary')` inside the server: no network, no format to write, into a table
//! with the statement that made the sink's own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::json;
use tempfile::TempDir;

use crate::binlog::{FORGOTTEN, next_file, once};
use crate::load;
use crate::measure::{Run, Table, best};
use crate::support::clickhouse::{ClickHouse, REPLICA};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};

const RUNS: u32 = 5;

pub async fn sandbox(kind: Kind) -> Sandbox {
    let mut sandbox = load::sandbox(kind).await;
    sandbox.attach_clickhouse(ClickHouse::start().await);
    // What is measured is the defaults.
    sandbox.set("/sinks/0/batch", json!({}));
    sandbox
}

/// The log drained, and the binary log of transactions of 100 rows carried all the way.
pub async fn bulk(kind: Kind, table: &mut Table) {
    let mut sandbox = sandbox(kind).await;
    let start = next_file(&sandbox.server).await;
    load::call(&sandbox.server, &format!("CALL bulk({}, 100)", load::rows() / 100)).await;
    sandbox.set("/source/startup_mode", json!("specific")).set("/source/specific", json!({ "file": start, "pos": 4 }));
    let sinks = sandbox.config()["sinks"].clone();

    // A full log, kept aside: a run takes it away.
    sandbox.set("/sinks", json!([]));
    forget(&sandbox).await;
    once(&sandbox);
    let full = sandbox.path("full-log");
    copy(&sandbox.wal_directory(), &full);

    sandbox.set("/sinks", sinks);
    let (mut drains, mut wholes) = (Vec::new(), Vec::new());
    let mut reference: Option<Reference> = None;
    let mut fastest = f64::MAX;
    // In turns: the machine's own speed moves while this runs. Each after a pause, without what the server still does with the
    // tables of the one before, and once more at once, when the server's memory is ready.
    for turn in 0..RUNS {
        tokio::time::sleep(FORGOTTEN).await;
        for _ in 0..2 {
            forget(&sandbox).await;
            copy(&full, &sandbox.wal_directory());
            drains.push(once(&sandbox));
            assert_eq!(count(&sandbox, "orders").await, load::rows());
        }
        if reference.is_none() {
            reference = Some(Reference::of(&sandbox).await);
        }
        forget(&sandbox).await;
        tokio::time::sleep(FORGOTTEN).await;
        for _ in 0..2 {
            fastest = fastest.min(reference.as_ref().unwrap().insert(&sandbox).await);
        }
        forget(&sandbox).await;
        tokio::time::sleep(FORGOTTEN).await;
        for second in 0..2 {
            forget(&sandbox).await;
            // MariaDB lets a reader wait while it still has one of the same id.
            sandbox.set("/source/server_id", json!(5400 + 2 * turn + second));
            wholes.push(once(&sandbox));
            assert_eq!(count(&sandbox, "orders").await, load::rows());
        }
        forget(&sandbox).await;
    }
    for (what, runs, limit) in
        [("draining the log into ClickHouse", drains, 1.3), ("binlog to ClickHouse", wholes, 1.6)]
    {
        let ours = best(runs.into_iter());
        table.ratio(&format!("{what}, {kind}"), ours.seconds, ("ClickHouse from a file", fastest), limit);
        table.value(&format!("{what}, {kind}: peak memory"), ours.peak_mb, "MB", 200.0);
    }
}

/// The rows of the sink's table in a file that the server can read, and the statement that made the table.
struct Reference {
    made: String,
    structure: String,
    file: PathBuf,
    _directory: TempDir,
}

impl Reference {
    async fn of(sandbox: &Sandbox) -> Self {
        let server = sandbox.clickhouse();
        let made = server.query(format!("SHOW CREATE TABLE {REPLICA}.orders FORMAT TSVRaw")).await;
        let structure = server
            .query(format!(
                "SELECT arrayStringConcat(groupArray(concat(name, ' ', type)), ', ') FROM
                 (SELECT name, type FROM system.columns WHERE database = '{REPLICA}' AND table = 'orders' ORDER BY position) FORMAT TSVRaw"
            ))
            .await;
        let structure = structure.trim().replace('\'', "\\'");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("orders.bin");
        server
            .exec(format!(
                "INSERT INTO FUNCTION file('{}', 'RowBinary', '{structure}') SELECT * FROM {REPLICA}.orders FINAL",
                file.display()
            ))
            .await;
        Self { made: made.replacen("orders", "reference", 1), structure, file, _directory: directory }
    }

    /// The seconds that an insert of the file into a new table takes.
    async fn insert(&self, sandbox: &Sandbox) -> f64 {
        let server = sandbox.clickhouse();
        server.exec(format!("DROP TABLE IF EXISTS {REPLICA}.reference SYNC")).await;
        server.exec(&self.made).await;
        let begun = Instant::now();
        server
            .exec(format!(
                "INSERT INTO {REPLICA}.reference SELECT * FROM file('{}', 'RowBinary', '{}')",
                self.file.display(),
                self.structure
            ))
            .await;
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(count(sandbox, "reference").await, load::rows());
        seconds
    }
}

/// Catching up with updates of an indexed column by key, one a transaction, as sysbench's `oltp_update_index` makes them.
pub async fn updates(kind: Kind, table: &mut Table) {
    for tables in [1, 10] {
        let mut sandbox = sandbox(kind).await;
        let rows = load::rows() / 10;
        let updates = load::rows() / 2;
        fill_sysbench(&sandbox.server, tables, rows / tables).await;
        let start = next_file(&sandbox.server).await;
        load::call(&sandbox.server, &format!("CALL {DATABASE}.update_index({updates}, {})", rows / tables)).await;
        sandbox
            .set("/source/startup_mode", json!("specific"))
            .set("/source/specific", json!({ "file": start, "pos": 4 }));
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            forget(&sandbox).await;
            runs.push(once(&sandbox));
        }
        let run: Run = best(runs.into_iter());
        let thousands = f64::from(u32::try_from(updates).unwrap()) / run.seconds / 1000.0;
        let what = format!("catch-up of updates of {tables} tables into ClickHouse, {kind}");
        table.at_least(&what, thousands, "thousand rows/s", 100.0);
        table.value(&format!("{what}: peak memory"), run.peak_mb, "MB", 200.0);
    }
}

/// The tables of sysbench, and its update of an indexed column.
async fn fill_sysbench(server: &Server, tables: u64, rows: u64) {
    let mut connection = Conn::new(server.root().db_name(Some(DATABASE))).await.unwrap();
    let mut body = String::new();
    for number in 1..=tables {
        connection
            .query_drop(format!(
                "CREATE TABLE sbtest{number} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0,
                 c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k))"
            ))
            .await
            .unwrap();
        write!(
            body,
            "WHEN {} THEN UPDATE sbtest{number} SET k = k + 1 WHERE id = 1 + (i * 7919 MOD existing); ",
            number - 1
        )
        .unwrap();
    }
    connection
        .query_drop(format!(
            "CREATE PROCEDURE update_index(n INT, existing INT)
             BEGIN
                 DECLARE i INT DEFAULT 0;
                 WHILE i < n DO
                     CASE i MOD {tables} {body} END CASE;
                     SET i = i + 1;
                 END WHILE;
             END"
        ))
        .await
        .unwrap();
    connection.disconnect().await.unwrap();
    for number in 1..=tables {
        load::call(
            server,
            &format!(
                "INSERT INTO {DATABASE}.sbtest{number} (k, c, pad)
                 WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})
                 SELECT FLOOR(RAND() * {rows}), REPEAT(LEFT(SHA2(n, 256), 40), 3), LEFT(SHA2(n + 1, 256), 60) FROM numbers"
            ),
        )
        .await;
    }
}

/// From the commit's return at the source to the row's being visible in ClickHouse, at 200 transactions a second.
pub async fn latency(kind: Kind, table: &mut Table) {
    const PER_SECOND: u32 = 200;
    const SECONDS: u32 = 10;
    for (batch, name, limit) in
        [(json!({}), "default batch", 1500.0), (json!({ "max_delay": "50ms" }), "max_delay: 50ms", 150.0)]
    {
        let mut sandbox = sandbox(kind).await;
        sandbox.set("/sinks/0/batch", batch);
        sandbox
            .server
            .exec(format!(
                "CREATE TABLE {DATABASE}.ticks (id INT PRIMARY KEY); INSERT INTO {DATABASE}.ticks VALUES (0)"
            ))
            .await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let transactions = PER_SECOND * SECONDS;
        let writing = async {
            let mut connection = Conn::new(sandbox.server.root().db_name(Some(DATABASE))).await.unwrap();
            let mut committed = Vec::new();
            let start = Instant::now();
            for id in 1..=transactions {
                tokio::time::sleep_until((start + Duration::from_secs(1) / PER_SECOND * id).into()).await;
                connection.query_drop(format!("INSERT INTO ticks VALUES ({id})")).await.unwrap();
                committed.push(Instant::now());
            }
            connection.disconnect().await.unwrap();
            committed
        };
        let reading = async {
            let mut visible: Vec<Instant> = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(u64::from(SECONDS) + 60);
            while visible.len() < usize::try_from(transactions).unwrap() {
                let newest = sandbox.clickhouse().query(format!("SELECT max(id) FROM {REPLICA}.ticks")).await;
                let now = Instant::now();
                visible.resize(visible.len().max(newest.trim().parse().unwrap()), now);
                assert!(now < deadline, "only {} of {transactions} rows became visible", visible.len());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            visible
        };
        let (committed, visible) = tokio::join!(writing, reading);
        daemon.stop();

        let delay = |(committed, visible): (&Instant, &Instant)| {
            visible.saturating_duration_since(*committed).as_secs_f64() * 1000.0
        };
        let mut delays: Vec<f64> = committed.iter().zip(&visible).map(delay).collect();
        delays.sort_by(f64::total_cmp);
        let p99 = delays[delays.len() * 99 / 100];
        table.value(&format!("commit to visible in ClickHouse, {name}, {kind}: p99"), p99, "ms", limit);
    }
}

pub async fn count(sandbox: &Sandbox, table: &str) -> u64 {
    sandbox.clickhouse().query(format!("SELECT count() FROM {REPLICA}.{table} FINAL")).await.trim().parse().unwrap()
}

/// Removes the log and the copy, so that the next start is a first start.
pub async fn forget(sandbox: &Sandbox) {
    drop(fs::remove_dir_all(sandbox.wal_directory()));
    assert!(!sandbox.wal_directory().exists());
    sandbox.clickhouse().exec(format!("DROP DATABASE IF EXISTS {REPLICA} SYNC")).await;
    sandbox.clickhouse().exec(format!("CREATE DATABASE {REPLICA}")).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let copied = to.join(entry.file_name());
            fs::copy(entry.path(), &copied).unwrap();
            // The log was durable; writing the copy to the disk is not what is measured.
            fs::File::open(copied).unwrap().sync_all().unwrap();
        }
    }
}
