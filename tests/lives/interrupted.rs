//! Tables that something happens to while they are read: the read is over, or begins again, and is never stuck.

use serde_json::{Value, json};

use super::{assert_copied_but, assert_health, assert_stated, is_stated, once, states, stopped};
use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::read_of;

/// Tables named by what happens to them.
const TABLES: [&str; 9] =
    ["excluded", "dropped", "recreated", "moved", "narrowed", "widened", "rekeyed", "unkeyed", "truncated"];
const ROWS: u32 = 400;

/// The tables, read so slowly that all of them are under way at once.
async fn reading(kind: crate::support::server::Kind) -> (Sandbox, Daemon) {
    let mut sandbox = Sandbox::with_every_sink(kind).await;
    for table in TABLES {
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE {table} (id INT PRIMARY KEY, v INT NOT NULL, w INT);
                 INSERT INTO {table} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
                 SELECT k, k, k FROM n"
            ))
            .await;
    }
    sandbox.set("/source/snapshot", json!({ "chunk_rows": 10, "parallel": TABLES.len(), "max_rows_per_second": 400 }));
    let mut daemon = sandbox.start();
    daemon
        .wait_until("every table is read in part", |status| TABLES.iter().all(|table| is_in_part(status, table)))
        .await;
    (sandbox, daemon)
}

fn is_in_part(status: &Value, table: &str) -> bool {
    let read = read_of(status, &format!("{DATABASE}.{table}"));
    read["running"] == true && read["rows"].as_u64() > Some(0)
}

async fn change(sandbox: &Sandbox) {
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; DELETE FROM excluded WHERE id % 2 = 0; DROP TABLE dropped;
             DROP TABLE recreated; CREATE TABLE recreated (id INT PRIMARY KEY, other VARCHAR(10)); INSERT INTO recreated VALUES (1, 'one');
             RENAME TABLE moved TO arrived; INSERT INTO arrived VALUES (1000, 1, 1);
             ALTER TABLE narrowed DROP COLUMN w; UPDATE narrowed SET v = -1 WHERE id < 10;
             ALTER TABLE widened ADD COLUMN x INT NOT NULL DEFAULT 7; UPDATE widened SET x = 8 WHERE id < 10;
             ALTER TABLE rekeyed DROP PRIMARY KEY, ADD PRIMARY KEY (v); UPDATE rekeyed SET id = -1 WHERE v < 10;
             TRUNCATE TABLE truncated; INSERT INTO truncated VALUES (5, 5, 5)"
        ))
        .await;
}

/// Without a key there is no mirror in ClickHouse, which stops the table there.
const KEYLESS: &str = "ALTER TABLE shop.unkeyed DROP PRIMARY KEY; DELETE FROM shop.unkeyed WHERE id = 3; INSERT INTO shop.unkeyed VALUES (1, 1, 1)";

fn assert_ended(status: &Value) {
    for table in ["recreated", "arrived", "narrowed", "widened", "rekeyed", "truncated"] {
        assert_stated(status, table, "complete");
    }
    for table in ["dropped", "moved"] {
        assert_eq!(states(status, table).0, Value::Null, "{table}: {status:#}");
    }
    assert_eq!(status["snapshot"]["tables"], json!([]), "{status:#}");
}

fn rows(excluded: u32, unkeyed: u32) -> usize {
    usize::try_from(excluded + 1 + (ROWS + 1) + 3 * ROWS + unkeyed + 1).unwrap()
}

both_servers! {
    async fn reads_of_tables_that_change_while_no_daemon_runs_end_and_never_fail(kind: Kind) {
        let (mut sandbox, mut daemon) = reading(kind).await;
        daemon.kill();
        change(&sandbox).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 50, "parallel": 4 }));
        sandbox.set("/source/exclude", json!(["shop.excluded", "shop.unkeyed"]));

        let said = once(&sandbox, 0);

        assert!(!said.contains("Z ERROR"), "{said}");
        let status = stopped(&sandbox);
        assert_ended(&status);
        for table in ["excluded", "unkeyed"] {
            assert_eq!(states(&status, table).0, Value::Null, "{status:#}");
        }
        // What was read of it stays, until it comes back.
        assert_copied_but(&sandbox, &["excluded", "unkeyed"]).await;
        sandbox.set("/source/exclude", json!(["shop.unkeyed"]));
        let mut daemon = sandbox.start();
        let status = sandbox.caught_up(&mut daemon).await;
        assert_stated(&status, "excluded", "complete");
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        assert_eq!(assert_copied_but(&sandbox, &["unkeyed"]).await.rows, rows(ROWS / 2, 0));
    }

    async fn reads_of_tables_that_change_under_them_end_and_never_fail(kind: Kind) {
        let (sandbox, mut daemon) = reading(kind).await;

        change(&sandbox).await;

        let status = sandbox.caught_up(&mut daemon).await;
        assert_ended(&status);
        for table in ["excluded", "unkeyed"] {
            assert_stated(&status, table, "complete");
        }
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        assert!(!daemon.log().contains("Z ERROR"), "{}", daemon.log());
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, rows(ROWS / 2, ROWS));
    }

    async fn the_read_of_a_table_that_loses_its_key_begins_again_at_one_position(kind: Kind) {
        for is_running in [true, false] {
            let mut sandbox = Sandbox::new(kind).await;
            sandbox.with_changelog();
            sandbox
                .server
                .exec(format!(
                    "USE {DATABASE}; CREATE TABLE unkeyed (id INT PRIMARY KEY, v INT NOT NULL, w INT);
                     INSERT INTO unkeyed WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
                     SELECT k, k, k FROM n"
                ))
                .await;
            sandbox.set("/source/snapshot", json!({ "chunk_rows": 10, "parallel": 1, "max_rows_per_second": 400 }));
            let mut daemon = sandbox.start();
            daemon.wait_until("it is read in part", |status| is_in_part(status, "unkeyed")).await;
            if !is_running {
                daemon.kill();
            }

            sandbox.server.exec(KEYLESS).await;

            if !is_running {
                sandbox.set("/source/snapshot", json!({ "chunk_rows": 10 }));
                daemon = sandbox.start();
            }
            let status = sandbox.caught_up(&mut daemon).await;
            assert_stated(&status, "unkeyed", "complete");
            assert_health(&sandbox, &status, "ok").await;
            daemon.stop();
            assert_eq!(sandbox.assert_mirrored().await.rows, usize::try_from(ROWS).unwrap());
        }
    }

    /// The stream never says what became of the table, so a reader looks again, but not all the time.
    async fn a_table_that_is_gone_without_a_statement_is_looked_for_now_and_then(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let fill = |table: &str| format!(
            "USE {DATABASE}; CREATE TABLE {table} (id INT PRIMARY KEY, v INT NOT NULL, w INT);
             INSERT INTO {table} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS}) SELECT k, k, k FROM n"
        );
        sandbox.server.exec(fill("vanished")).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 10, "parallel": 1, "max_rows_per_second": 200 }));
        let mut daemon = sandbox.start();
        daemon.wait_until("it is read in part", |status| is_in_part(status, "vanished")).await;

        sandbox.server.exec(format!("SET SESSION sql_log_bin = 0; DROP TABLE {DATABASE}.vanished")).await;

        let status = daemon.wait_until("it cannot be read", |status| is_stated(status, "vanished", "unreadable")).await;
        let why = assert_stated(&status, "vanished", "unreadable");
        assert!(why.contains("the source has no such table"), "{why}");
        // A hundred transactions later it was still looked for only a few times.
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.other (id INT PRIMARY KEY)")).await;
        for id in 0..100 {
            sandbox.server.exec(format!("INSERT INTO {DATABASE}.other VALUES ({id})")).await;
        }
        sandbox.logged_within(crate::support::daemon::LIMIT, &mut daemon).await;
        let looked = daemon.log().lines().filter(|line| line.contains("has no such table, the stream is to say")).count();
        assert!((1..10).contains(&looked), "looked for {looked} times");
        daemon.stop();
    }
}
