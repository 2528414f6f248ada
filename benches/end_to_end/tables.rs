//! Many small tables read for the first time: into ClickHouse and without a sink, where what is left is a CREATE and an
//! INSERT for each; and into SQLite, against the server's own dump of them.

use std::process::Command;

use serde_json::json;

use crate::binlog::{self, once, without_tls};
use crate::clickhouse::{count, forget, sandbox};
use crate::measure::{Run, Table, best, run as measured};
use crate::support::programs;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, PASSWORD, USER};

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
