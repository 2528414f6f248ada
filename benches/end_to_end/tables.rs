//! Many small tables read for the first time: into ClickHouse and without a sink, where what is left is a CREATE and an
//! INSERT for each; and into SQLite, against the server's own dump of them. And a restart with very many tables that
//! are known.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::binlog::{self, once, without_tls};
use crate::clickhouse::{count, forget, sandbox};
use crate::measure::{Run, Table, best, peak_memory_mb, run as measured};
use crate::support::http::get;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, PASSWORD, ServerOptions, USER};
use crate::support::{daemon, programs};

const TABLES: u32 = 300;
const ROWS: u32 = 100;
const RUNS: u32 = 5;

pub async fn run(kind: Kind, table: &mut Table) {
    let mut sandbox = sandbox(kind).await;
    for number in 0..TABLES {
        let fill = format!(
            "USE {DATABASE}; CREATE TABLE small_{number} (id INT PRIMARY KEY, a VARCHAR(40), b DECIMAL(10, 2), c DATETIME);
             INSERT INTO small_{number} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
             SELECT k, CONCAT('row ', k), k / 3, NOW() FROM n"
        );
        sandbox.server.exec(fill).await;
    }
    let sinks = sandbox.config()["sinks"].clone();

    let (mut with, mut without) = (Vec::new(), Vec::new());
    // In turns: the machine's own speed moves while this runs.
    for _ in 0..RUNS {
        for (sinks, runs) in [(json!([]), &mut without), (sinks.clone(), &mut with)] {
            forget(&sandbox).await;
            sandbox.set("/sinks", sinks);
            runs.push(once(&sandbox));
        }
        let mut rows = 0;
        for number in 0..TABLES {
            rows += count(&sandbox, &format!("small_{number}")).await;
        }
        assert_eq!(rows, u64::from(TABLES * ROWS));
    }
    let (with, without) = (best(with.into_iter()), best(without.into_iter()));
    let what = format!("{TABLES} small tables to ClickHouse, {kind}");
    table.ratio(&what, with.seconds, ("the same without a sink", without.seconds), 1.3);
}

/// Tables of [`dump`], and rows of each.
const MANY: u32 = 2000;
const FEW: u32 = 3;

/// Into SQLite, against `mysqldump`, which is there for MariaDB alone.
pub async fn dump(kind: Kind, table: &mut Table) {
    if kind == Kind::MySql {
        eprintln!("small_tables is measured on mariadb alone: the installed MySQL has no mysqldump");
        return;
    }
    let sandbox = Sandbox::new(kind).await;
    for number in 0..MANY {
        let fill = format!(
            "USE {DATABASE}; CREATE TABLE small_{number} (id INT PRIMARY KEY, a VARCHAR(40), b DECIMAL(10, 2), c DATETIME);
             INSERT INTO small_{number} VALUES (1, 'one', 1.5, NOW()), (2, 'two', 2.5, NULL), (3, NULL, 3.5, NOW())"
        );
        sandbox.server.exec(fill).await;
    }
    let (mut ours, mut references) = (Vec::new(), Vec::new());
    // In turns: the machine's own speed moves while this runs.
    for _ in 0..RUNS {
        references.push(dumped(&sandbox));
        binlog::forget(&sandbox);
        ours.push(once(&sandbox));
        let compared = sandbox.assert_mirrored().await;
        assert_eq!(
            (compared.tables, compared.rows),
            (usize::try_from(MANY).unwrap(), usize::try_from(MANY * FEW).unwrap())
        );
    }
    let (ours, reference) = (best(ours.into_iter()), best(references.into_iter()));
    let what = format!("{MANY} small tables to SQLite, {kind}");
    table.ratio(&what, ours.seconds, ("mysqldump", reference.seconds), 2.0);
    table.value(&format!("{what}: peak memory"), ours.peak_mb, "MB", 150.0);
}

fn dumped(sandbox: &Sandbox) -> Run {
    let mut command = Command::new(programs::dumper());
    command
        .args(["--no-defaults", "--single-transaction", "--host=127.0.0.1"])
        .arg(format!("--port={}", sandbox.server.port()))
        .arg(format!("--user={USER}"))
        .arg(format!("--password={PASSWORD}"))
        .args(without_tls(Kind::MariaDb))
        .arg(format!("--result-file={}", sandbox.path("dump.sql").display()))
        .arg(DATABASE);
    measured(&mut command, &sandbox.path("reference.log"))
}

/// Tables of [`known`].
const KNOWN: u32 = 10_000;

/// A restart with very many tables that are known: until it answers and reads, what `status` and `/metrics` take, and
/// the memory after them.
pub async fn known(kind: Kind, table: &mut Table) {
    // One file for all: ten thousand take minutes to make.
    let server = ServerOptions::new(kind).argument("--innodb-file-per-table=OFF").start().await;
    let sandbox = Sandbox::on(server).await;
    for number in 0..KNOWN {
        let fill = format!(
            "USE {DATABASE}; CREATE TABLE small_{number} (id INT PRIMARY KEY, a VARCHAR(40), b DECIMAL(10, 2), c DATETIME);
             INSERT INTO small_{number} VALUES (1, 'one', 1.5, NOW())"
        );
        sandbox.server.exec(fill).await;
    }
    once(&sandbox);
    let what = format!("{KNOWN} known tables, {kind}");
    let (mut starts, mut statuses, mut scrapes, mut peak) = (f64::MAX, f64::MAX, f64::MAX, 0.0_f64);
    for _ in 0..FEW {
        let begun = Instant::now();
        let mut daemon = sandbox.start();
        while !has_started(&sandbox).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        starts = starts.min(begun.elapsed().as_secs_f64());
        let mut status = daemon::program();
        status.args(["status", "--json", "--config"]).arg(sandbox.written_config());
        statuses = statuses.min(measured(&mut status, &sandbox.path("status.log")).seconds);
        let begun = Instant::now();
        let metrics = get(&sandbox.http(), "/metrics").await;
        scrapes = scrapes.min(begun.elapsed().as_secs_f64());
        assert!(metrics.lines().count() > usize::try_from(KNOWN).unwrap() * 20);
        peak = peak.max(peak_memory_mb(daemon.id()).unwrap());
        daemon.stop();
    }
    table.value(&format!("{what}: restart until source and sink are served"), starts, "s", 1.0);
    table.value(&format!("{what}: status --json"), statuses, "s", 1.0);
    table.value(&format!("{what}: /metrics"), scrapes, "s", 1.0);
    table.value(&format!("{what}: peak memory after both"), peak, "MB", 150.0);
}

/// Whether the stream is read and the sink is open, as the daemon's log says.
async fn has_started(sandbox: &Sandbox) -> bool {
    let log = fs::read_to_string(sandbox.path("replicator.log")).unwrap_or_default();
    let last = log.rsplit_once("starting version").map_or("", |(_, last)| last);
    last.contains("reading the binlog")
        && last.contains("sink opened")
        && TcpStream::connect(sandbox.http()).await.is_ok()
}
