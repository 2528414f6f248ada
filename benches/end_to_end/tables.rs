//! Many small tables read for the first time, into ClickHouse and without a sink: what is left is a CREATE and an INSERT for each.

use serde_json::json;

use crate::binlog::once;
use crate::clickhouse::{count, forget, sandbox};
use crate::measure::{Table, best};
use crate::support::sandbox::DATABASE;
use crate::support::server::Kind;

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
