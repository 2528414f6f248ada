//! Dead letters at a target without transactions: durable before the cursor, and gone where their round is written after all.

use serde_json::{Value, json};

use crate::support::clickhouse::REPLICA;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// How many letters the log has.
fn letters(sandbox: &Sandbox) -> u64 {
    let output = sandbox.run(&["dlq", "list", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    lines.iter().map(|line| line["letters"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_of_a_round_that_is_killed_before_its_cursor_and_written_after_all_is_gone() {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MySql).await;
    let proxy = sandbox.clickhouse_behind_proxy().await;
    sandbox.set("/sinks/0/on_row_error", json!("dead_letter"));
    let server = sandbox.server.exec(format!(
        "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL); INSERT INTO t VALUES (1, 1)"
    ));
    server.await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let constraint = format!("ALTER TABLE {REPLICA}.t ADD CONSTRAINT unlucky CHECK n != 13");
    sandbox.clickhouse().exec(constraint).await;

    proxy.stall("_replicator_cursors");
    sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2, 13), (3, 3)")).await;
    proxy.is_stalled().await;
    assert_eq!(letters(&sandbox), 1, "it is durable before the cursor");
    daemon.kill();
    assert_eq!(letters(&sandbox), 1);

    proxy.go_on();
    sandbox.clickhouse().exec(format!("ALTER TABLE {REPLICA}.t DROP CONSTRAINT unlucky")).await;
    let mut daemon = sandbox.start();
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(letters(&sandbox), 0);
    assert_eq!(status["sinks"][0]["dead_letters"]["count"], 0);
    daemon.stop();
    sandbox.assert_mirrored_to_clickhouse().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_of_a_round_that_is_killed_and_refused_once_more_is_one_letter() {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MariaDb).await;
    let proxy = sandbox.clickhouse_behind_proxy().await;
    sandbox.set("/sinks/0/on_row_error", json!("dead_letter"));
    // A row that cannot be encoded, and no request that is refused.
    sandbox.set("/sinks/0/zero_dates", json!("stop"));
    sandbox
        .server
        .exec(format!("USE {DATABASE}; SET sql_mode = ''; CREATE TABLE t (id INT PRIMARY KEY, d DATE NOT NULL)"))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    proxy.stall("_replicator_cursors");
    let rows = format!("SET sql_mode = ''; INSERT INTO {DATABASE}.t VALUES (1, '2026-01-01'), (2, '0000-00-00')");
    sandbox.server.exec(rows).await;
    proxy.is_stalled().await;
    daemon.kill();
    assert_eq!(letters(&sandbox), 1);

    proxy.go_on();
    let mut daemon = sandbox.start();
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(letters(&sandbox), 1);
    assert_eq!(status["sinks"][0]["stopped_tables"], json!([]));
    let ids = sandbox.clickhouse().query(format!("SELECT id FROM {REPLICA}.t FINAL")).await;
    assert_eq!(ids.trim(), "1");
    daemon.stop();
}
