use serde_json::json;

use super::{json, refused, well};
use crate::support::daemon::Daemon;
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;
use crate::support::status::{read_of, table_of};

const ROWS: u32 = 400;

/// A daemon that reads tables slowly, with two tables that it has copied.
async fn slow() -> (Sandbox, Daemon) {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    for (table, key) in [("keyed", "PRIMARY KEY"), ("loose", "NOT NULL")] {
        sandbox
            .server
            .exec(format!(
                "USE shop; CREATE TABLE {table} (id INT {key}, v VARCHAR(20));
                 INSERT INTO {table} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
                 SELECT k, CONCAT('v', k) FROM n"
            ))
            .await;
    }
    sandbox.run_once();
    sandbox.set("/source/snapshot", json!({ "chunk_rows": 20, "parallel": 1, "max_rows_per_second": 100 }));
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    (sandbox, daemon)
}

async fn is_read(daemon: &mut Daemon, table: &str) {
    daemon.wait_until("the read has begun", |status| read_of(status, table)["running"] == true).await;
}

#[tokio::test]
async fn a_backfill_that_is_waited_for_ends_when_the_table_is_complete_and_says_when_it_is_cancelled_on_mariadb() {
    let (sandbox, mut daemon) = slow().await;
    well(&sandbox, &["backfill", "--table", "shop.keyed", "--where", "id <= 60", "--wait"]);
    let status = daemon.status().unwrap();
    assert_eq!(
        (&status["snapshot"]["tables"], &table_of(&status, "shop.keyed")["state"]),
        (&json!([]), &json!("complete"))
    );

    let config = sandbox.written_config();
    let waiting = std::thread::spawn(move || {
        let arguments = ["backfill", "--table", "shop.keyed", "--wait"];
        crate::support::daemon::run(&config, &arguments, crate::support::daemon::LIMIT)
    });
    is_read(&mut daemon, "shop.keyed").await;
    well(&sandbox, &["backfill", "--table", "shop.keyed", "--cancel"]);
    let ended = waiting.join().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the read of table \"shop.keyed\" was cancelled"), "{said}");
    assert!(refused(&sandbox, 1, &["backfill", "--table", "shop.keyed", "--cancel"]).contains("nothing to cancel"));
    daemon.stop();
}

#[tokio::test]
async fn a_cancelled_read_leaves_a_complete_table_complete_and_one_that_was_being_replaced_left_out_on_mariadb() {
    let (sandbox, mut daemon) = slow().await;
    for arguments in [&["--where", "id < 300"][..], &[]] {
        well(&sandbox, &[&["backfill", "--table", "shop.keyed"], arguments].concat());
        is_read(&mut daemon, "shop.keyed").await;
        well(&sandbox, &["backfill", "--table", "shop.keyed", "--cancel"]);
        sandbox.server.exec("UPDATE shop.keyed SET v = CONCAT(v, 'x') WHERE id % 7 = 0").await;
        let status = sandbox.caught_up(&mut daemon).await;
        let at = &table_of(&status, "shop.keyed")["sinks"]["local"];
        assert_eq!((&at["state"], &status["health"]["status"]), (&json!("complete"), &json!("ok")), "{status:#}");
    }
    sandbox.assert_mirrored().await;

    // The copy that readers see stands still from the begin of a replace on; the rows of a table without a key wait for its copy.
    for table in ["shop.keyed", "shop.loose"] {
        well(&sandbox, &["backfill", "--table", table, "--replace"]);
        is_read(&mut daemon, table).await;
        well(&sandbox, &["backfill", "--table", table, "--cancel"]);
        let status = daemon.wait_until("it is left out", |status| table_of(status, table)["state"] == "left_out").await;
        assert_eq!(
            (&table_of(&status, table)["by_operator"], &status["health"]["status"]),
            (&json!(true), &json!("degraded"))
        );
        sandbox
            .server
            .exec(format!("UPDATE {table} SET v = 'changed' WHERE id = 5; DELETE FROM {table} WHERE id = 6"))
            .await;
        well(&sandbox, &["table", "resume", table, "--wait"]);
    }
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(status["health"]["status"], "ok");
    let shown = json(&sandbox, &["table", "show", "shop.keyed", "--json"]);
    assert_eq!(shown["record"]["reads"], json!([]));
    daemon.stop();
    sandbox.assert_mirrored().await;
}
