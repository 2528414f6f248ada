//! A doubt of any kind now and then, under writers, with a short pause: the copies are equal in the end.
//!
//! `REPLICATOR_DOUBTS` is how many seconds it takes: two minutes in `make test`, an hour in `make drill`.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use rand::RngExt as _;
use serde_json::json;

use super::{AS_ROWS, AS_STATEMENT};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::workload::{Shape, Workload};

/// Pause between two doubts.
const EVERY: Duration = Duration::from_secs(10);

fn seconds() -> Duration {
    let text = std::env::var("REPLICATOR_DOUBTS");
    Duration::from_secs(text.map_or(120, |text| text.parse().expect("REPLICATOR_DOUBTS is a number of seconds")))
}

/// Writers for a time, with a doubt about some table every so often.
async fn doubts(sandbox: &mut Sandbox, kind: Kind) {
    // A mirror in ClickHouse takes no table without a key.
    let shapes: Vec<Shape> =
        Shape::ALL.into_iter().filter(|shape| *shape != Shape::Keyless || !sandbox.has_clickhouse()).collect();
    let workload = Workload::new(DATABASE).with_shapes(&shapes);
    workload.create(&sandbox.server, 300).await;
    exec_own_table(sandbox).await;
    sandbox.set("/source/reread_pause", json!("1s"));
    let mut daemon = sandbox.start();
    sandbox.caught_up_within(Duration::from_mins(3), &mut daemon).await;
    let writing = workload.start(&sandbox.server);
    let mut rng = rand::rng();
    let mut conn = sandbox.server.connect().await;
    conn.query_drop(format!("USE {DATABASE}")).await.unwrap();
    let end = Instant::now() + seconds();
    while Instant::now() < end {
        let place = rng.random_range(0..workload.tables().len());
        let table = workload.tables()[place].name.clone();
        for sql in doubt(kind, rng.random_range(0..7), &table, rng.random_range(0..50)) {
            if let Err(error) = conn.query_drop(&sql).await {
                assert!(is_refused(&error), "{sql}: {error}");
            }
        }
        tokio::time::sleep(EVERY.min(end.saturating_duration_since(Instant::now()))).await;
    }
    let done = writing.stop().await;
    let status = sandbox.caught_up_within(Duration::from_mins(5), &mut daemon).await;
    daemon.stop();
    assert!(done.done > 100, "{done:?}");
    assert_eq!(status["source"]["reconnects"], 0, "{}", daemon.log());
}

async fn exec_own_table(sandbox: &Sandbox) {
    let sql = "CREATE TABLE own (id INT PRIMARY KEY, a INT, b TEXT, j JSON); INSERT INTO own VALUES (1, 1, 'x', '{\"a\": 1, \"b\": \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"}')";
    super::exec(sandbox, sql).await;
}

/// Statements that make it unknown what rows of a table are.
fn doubt(kind: Kind, which: u32, table: &str, number: u32) -> Vec<String> {
    let minimal = "SET SESSION binlog_row_image = 'MINIMAL'".to_owned();
    let full = "SET SESSION binlog_row_image = 'FULL'".to_owned();
    let as_statement = |sql: String| vec![AS_STATEMENT.to_owned(), sql, AS_ROWS.to_owned()];
    match which {
        0 => as_statement(format!("DELETE FROM {table} LIMIT 3")),
        1 => vec![minimal, format!("DELETE FROM {table} LIMIT 3"), full],
        2 => vec![
            minimal,
            format!("REPLACE INTO own (id, a) VALUES ({number}, {number})"),
            format!("UPDATE own SET a = a + 1, id = id + 100 WHERE id < {number}"),
            full,
        ],
        3 if kind == Kind::MySql => vec![
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'".to_owned(),
            format!("UPDATE own SET j = JSON_SET(j, '$.a', {number})"),
            "SET SESSION binlog_row_value_options = ''".to_owned(),
        ],
        3 | 4 => {
            vec!["SET SESSION binlog_row_image = 'NOBLOB'".to_owned(), format!("UPDATE own SET a = {number}"), full]
        }
        5 => vec![format!(
            "ALTER TABLE own MODIFY a {}",
            if number.is_multiple_of(2) { "BIGINT UNSIGNED" } else { "INT" }
        )],
        _ => as_statement(format!("UPDATE own SET a = a + {number}, b = 'statement'")),
    }
}

/// Refused for what another connection does.
fn is_refused(error: &mysql_async::Error) -> bool {
    // A deadlock, a lock that was not had in time, a value that is out of range, a key that is there already.
    matches!(error, mysql_async::Error::Server(server) if [1205, 1213, 1264, 1062].contains(&server.code))
}

#[tokio::test]
async fn tables_in_doubt_now_and_then_are_equal_in_the_end_in_sqlite_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    doubts(&mut sandbox, Kind::MariaDb).await;
    sandbox.assert_mirrored().await;
}

#[tokio::test]
async fn tables_in_doubt_now_and_then_are_equal_in_the_end_in_clickhouse_on_mysql() {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MySql).await;
    doubts(&mut sandbox, Kind::MySql).await;
    sandbox.assert_mirrored_to_clickhouse().await;
}
