//! One table is refused, for the moment, what the server gives the others: parts, memory. The others are stored meanwhile, and go on
//! once it has lasted too long.

use serde_json::{Value, json};

use super::watch::{error_with, number, stop_of, stopped};
use crate::support::compare::View;
use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

const REFUSALS: &str =
    "SELECT ifNull(max(refusals), 0) FROM replica._replicator_refused_tables FINAL WHERE NOT is_gone";

/// Two tables, each with one row, of which `bad` takes no more parts; and a daemon that has copied them.
async fn full_of_parts(kind: Kind, patience: &str) -> (Sandbox, Daemon) {
    let mut sandbox = Sandbox::with_clickhouse(kind).await;
    sandbox.set("/sinks/0/stop_refused_after", json!(patience));
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE bad (id INT PRIMARY KEY, v TEXT); INSERT INTO bad VALUES (1, 'a');
             CREATE TABLE good (id INT PRIMARY KEY, v TEXT); INSERT INTO good VALUES (1, 'a')"
        ))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    sandbox.clickhouse().exec("SYSTEM STOP MERGES replica.bad").await;
    let full = "ALTER TABLE replica.bad MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 0";
    sandbox.clickhouse().exec(full).await;
    (sandbox, daemon)
}

async fn no_more_full(sandbox: &Sandbox) {
    let reset = "ALTER TABLE replica.bad RESET SETTING parts_to_throw_insert, parts_to_delay_insert";
    sandbox.clickhouse().exec(reset).await;
}

/// One source transaction into both tables.
async fn write_both(sandbox: &Sandbox, id: u32) {
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; START TRANSACTION; INSERT INTO bad VALUES ({id}, 'b'); INSERT INTO good VALUES ({id}, 'b'); COMMIT"
        ))
        .await;
}

async fn wait_for(sandbox: &Sandbox, sql: &str, least: u64) {
    let begun = std::time::Instant::now();
    while number(sandbox, sql).await < least {
        assert!(begun.elapsed().as_secs() < 60, "{sql} stays below {least}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Rows for a table with the columns (id, k, name, v), doubled from one on: `v` has as many bytes as asked for.
async fn fill(sandbox: &Sandbox, table: &str, doublings: u32, bytes: u32) {
    sandbox.server.exec(format!("USE {DATABASE}; INSERT INTO {table} VALUES (1, 1, 'n1', REPEAT('x', {bytes}))")).await;
    for doubling in 0..doublings {
        let count = 1_u32 << doubling;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; INSERT INTO {table} SELECT id + {count}, k + {count}, CONCAT('n', id + {count}), v FROM {table}"
            ))
            .await;
    }
}

fn limited(bytes: u64) -> Value {
    json!({ "max_memory_usage": bytes, "max_untracked_memory": 0 })
}

both_servers! {
    async fn the_others_of_a_round_are_stored_while_a_table_is_refused_and_nothing_is_lost(kind: Kind) {
        let (sandbox, mut daemon) = full_of_parts(kind, "1h").await;

        write_both(&sandbox, 2).await;
        error_with(&mut daemon, "252").await;
        wait_for(&sandbox, "SELECT count() FROM replica.good FINAL", 2).await;
        write_both(&sandbox, 3).await;
        wait_for(&sandbox, REFUSALS, 3).await;
        daemon.stop();
        let mut daemon = sandbox.start();
        error_with(&mut daemon, "252").await;
        assert_eq!(number(&sandbox, "SELECT count() FROM replica.bad FINAL").await, 1);
        no_more_full(&sandbox).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0]);
        assert_eq!(number(&sandbox, REFUSALS).await, 0);
        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 6);
    }

    async fn a_table_that_is_refused_for_too_long_is_stopped_and_the_others_go_on(kind: Kind) {
        let (sandbox, mut daemon) = full_of_parts(kind, "1s").await;

        write_both(&sandbox, 2).await;
        let reason = stop_of(&mut daemon, "shop.bad").await;
        write_both(&sandbox, 3).await;
        let status = sandbox.caught_up(&mut daemon).await;

        assert!(reason.contains("252") && reason.contains("backfill"), "{reason}");
        assert_eq!(stopped(&status), ["shop.bad"]);
        let view = View { left_out: vec!["bad".to_owned()], ..View::default() };
        assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows, 3);
        no_more_full(&sandbox).await;
        let output = sandbox.run(&["backfill", "--replace", "--table", &format!("{DATABASE}.bad")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 6);
    }

    async fn refusals_count_on_over_a_restart(kind: Kind) {
        let (mut sandbox, mut daemon) = full_of_parts(kind, "1h").await;
        write_both(&sandbox, 2).await;
        error_with(&mut daemon, "252").await;
        wait_for(&sandbox, REFUSALS, 6).await;
        daemon.kill();
        let before = number(&sandbox, REFUSALS).await;

        sandbox.set("/sinks/0/stop_refused_after", json!("1s"));
        let mut daemon = sandbox.start();
        let reason = stop_of(&mut daemon, "shop.bad").await;
        daemon.stop();

        assert!(reason.contains(&format!("in {} tries", before + 1)), "{before} before: {reason}");
    }

    async fn a_table_that_cannot_be_copied_at_once_is_copied_in_slices(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/batch", json!({ "max_rows": 500_000, "max_bytes": "1MiB", "max_delay": "50ms" }));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE numbered (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, name VARCHAR(20) NOT NULL, v VARCHAR(200));
             CREATE TABLE named (id INT NOT NULL, k INT NOT NULL, name VARCHAR(20) NOT NULL PRIMARY KEY, v VARCHAR(3000))"
        )).await;
        fill(&sandbox, "numbered", 18, 60).await;
        fill(&sandbox, "named", 14, 3000).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        // Keys with superseded rows and with tombstones.
        sandbox.server.exec(format!(
            "USE {DATABASE}; UPDATE numbered SET k = -k WHERE id % 3 = 0; DELETE FROM numbered WHERE id % 5 = 0;
             UPDATE named SET k = -k WHERE id % 3 = 0; DELETE FROM named WHERE id % 5 = 0"
        )).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.set("/sinks/0/settings", limited(40_000_000));
        let mut daemon = sandbox.start();
        sandbox.server.exec(format!(
            "USE {DATABASE}; ALTER TABLE numbered DROP PRIMARY KEY, ADD PRIMARY KEY (k); INSERT INTO numbered VALUES (0, 0, 'n0', 'z');
             ALTER TABLE named DROP PRIMARY KEY, ADD PRIMARY KEY (k); INSERT INTO named VALUES (0, 0, 'n0', 'z')"
        )).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        assert_eq!(daemon.log().matches("copying it in slices").count(), 2, "{}", daemon.log());
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn rows_that_cannot_be_marked_as_deleted_at_once_are_marked_in_slices(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/deletion", json!("soft"));
        sandbox.set("/sinks/0/batch", json!({ "max_rows": 500_000, "max_bytes": "1MiB", "max_delay": "50ms" }));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE named (id INT NOT NULL, k INT NOT NULL, name VARCHAR(20) NOT NULL PRIMARY KEY, v VARCHAR(3000))"
        )).await;
        fill(&sandbox, "named", 14, 3000).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.set("/sinks/0/settings", limited(40_000_000));
        let mut daemon = sandbox.start();
        sandbox.server.exec(format!("USE {DATABASE}; TRUNCATE TABLE named; INSERT INTO named VALUES (1, 1, 'n1', 'z')")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        assert_eq!(daemon.log().matches("copying it in slices").count(), 1, "{}", daemon.log());
        let counts = "SELECT count(), countIf(is_deleted), sum(length(v)), uniqExact(name) FROM replica.named FINAL";
        let (rows, marked, bytes) = (16384, 16383, 16383 * 3000 + 1);
        assert_eq!(sandbox.clickhouse().query(counts).await, format!("{rows}\t{marked}\t{bytes}\t{rows}\n"));
    }

    async fn a_change_that_the_server_never_has_the_memory_for_stops_its_table_with_the_statement(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/stop_refused_after", json!("1s"));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE wide (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, name VARCHAR(20) NOT NULL, v LONGTEXT);
             CREATE TABLE good (id INT PRIMARY KEY); INSERT INTO good VALUES (1)"
        )).await;
        fill(&sandbox, "wide", 4, 4_000_000).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.set("/sinks/0/settings", limited(10_000_000));
        let mut daemon = sandbox.start();
        sandbox.server.exec(format!(
            "USE {DATABASE}; ALTER TABLE wide DROP PRIMARY KEY, ADD PRIMARY KEY (k); INSERT INTO good VALUES (2)"
        )).await;
        let reason = stop_of(&mut daemon, "shop.wide").await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(reason.contains("241") && reason.contains("INSERT INTO `replica`.`wide__rebuild`"), "{reason}");
        // The bounds of a slice are values of keys.
        assert!(reason.contains("slice 2 of 2"), "{reason}");
        assert!(!reason.contains("unhex") && !daemon.log().contains("unhex"), "{reason} {}", daemon.log());
        assert_eq!(stopped(&status), ["shop.wide"]);
        let view = View { left_out: vec!["wide".to_owned()], ..View::default() };
        assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows, 2);
    }
}
