//! Each kind of doubt by itself: the table is read again and equal, its status has said why, and the others went on.

use serde_json::{Value, json};

use super::{AS_ROWS, AS_STATEMENT, copied, exec, of};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::reads_nothing;

/// Whether a daemon has read a table.
fn is_read(log: &str, table: &str) -> bool {
    log.lines().any(|line| line.contains("a table is read") && line.contains(&format!("table={DATABASE}.{table} ")))
}

both_servers! {
    async fn rows_that_are_written_as_a_statement_are_read_again(kind: Kind) {
        let sandbox = copied(kind).await;
        exec(
            &sandbox,
            "CREATE TABLE u (id INT PRIMARY KEY, a INT); INSERT INTO u VALUES (1, 1); CREATE TABLE n (a INT); INSERT INTO n VALUES (1), (1)"
        ).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        // In one transaction with rows of another table, of two tables at once, of a table without a key.
        exec(&sandbox, &format!(
            "SET SESSION binlog_format = 'MIXED'; BEGIN; INSERT INTO other SELECT 4, 4 LIMIT 1; UPDATE t SET a = a + 10 WHERE id < 3;
             INSERT INTO other SELECT 5, 5 LIMIT 1; COMMIT; {AS_STATEMENT}; UPDATE t, u SET t.a = 7, u.a = 8 WHERE t.id = u.id;
             DELETE FROM n LIMIT 1; {AS_ROWS}; INSERT INTO t VALUES (9, 9); UPDATE t SET a = 10 WHERE id = 9"
        )).await;
        sandbox.caught_up(&mut daemon).await;
        let log = daemon.log();
        for (table, is_doubted) in [("t", true), ("u", true), ("n", true), ("other", false)] {
            assert_eq!(is_read(&log, table), is_doubted, "{table}: {log}");
        }
        assert!(log.contains("statement format"), "{log}");
        daemon.stop();
        sandbox.assert_mirrored().await;
    }

    async fn rows_that_a_routine_writes_under_a_statement_are_read_again_whatever_table_they_are_of(kind: Kind) {
        let sandbox = copied(kind).await;
        exec(&sandbox, "CREATE FUNCTION f() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN UPDATE t SET a = a + 100; RETURN 1; END").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        exec(&sandbox, &format!("{AS_STATEMENT}; DO f()")).await;

        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert!(daemon.log().contains("a routine was called in statement format"), "{}", daemon.log());
        sandbox.assert_mirrored().await;
    }

    async fn a_rollback_takes_a_doubt_back(kind: Kind) {
        let sandbox = copied(kind).await;
        let mut daemon = sandbox.start();
        let before = sandbox.caught_up(&mut daemon).await;

        exec(&sandbox, &format!("{AS_STATEMENT}; BEGIN; UPDATE t SET a = 5 WHERE id = 1; ROLLBACK; {AS_ROWS}; INSERT INTO other VALUES (4, 4)")).await;

        let after = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(of(&after, "t")["reads"], of(&before, "t")["reads"], "{after:#}");
        sandbox.assert_mirrored().await;
    }

    async fn with_stop_table_the_table_is_left_out_by_name_until_the_command_reads_it(kind: Kind) {
        let mut sandbox = copied(kind).await;
        sandbox.set("/tables", json!([{ "database": DATABASE, "table": "t", "on_doubt": "stop_table" }]));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        exec(&sandbox, &format!(
            "{AS_STATEMENT}; UPDATE t SET a = 5 WHERE id = 1; UPDATE other SET a = 5 WHERE id = 1; {AS_ROWS};
             INSERT INTO t VALUES (4, 4); INSERT INTO other VALUES (4, 4)"
        )).await;
        let left_out = |status: &Value| of(status, "t")["state"] == "left_out" && of(status, "other")["state"] == "complete";
        let status = daemon.wait_until("the table is left out, and the other is read again", |status| left_out(status) && reads_nothing(status)).await;
        let why = of(&status, "t")["why"].as_str().unwrap().to_owned();
        assert!(why.contains("statement format") && why.contains("on_doubt"), "{why}");
        let reason = &status["health"]["reasons"][0];
        assert_eq!((reason["state"].as_str(), reason["status"].as_str()), (Some("left_out"), Some("failed")), "{status:#}");

        // It stays so over a restart, and the command that the status names settles it.
        daemon.stop();
        let mut daemon = sandbox.start();
        let status = daemon.wait_until("it is left out after a restart", left_out).await;
        let remedy = status["health"]["reasons"][0]["remedy"].as_str().unwrap();
        let words: Vec<&str> = remedy.split(' ').skip(1).collect();
        let output = sandbox.run(&words);
        assert!(output.status.success(), "{remedy}: {}", String::from_utf8_lossy(&output.stderr));
        daemon.wait_until("it is complete", |status| of(status, "t")["state"] == "complete").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.assert_mirrored().await;
    }
}

#[tokio::test]
async fn a_table_of_which_only_changes_are_wanted_is_left_out_by_name_on_mariadb() {
    // Without names in the binlog the key of the table's very first rows would have to be asked for.
    let options = crate::support::server::ServerOptions::new(crate::support::server::Kind::MariaDb);
    let mut sandbox = Sandbox::on(options.with_row_metadata("FULL").start().await).await;
    exec(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY, a INT); CREATE TABLE k (id INT PRIMARY KEY, a INT, b INT); INSERT INTO t VALUES (1, 1); INSERT INTO k VALUES (1, 1, 1), (2, 2, 2)").await;
    sandbox.set("/source/startup_mode", json!("latest"));
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    exec(
        &sandbox,
        &format!(
            "INSERT INTO t VALUES (2, 2); {AS_STATEMENT}; UPDATE t SET a = 5; {AS_ROWS};
         SET SESSION binlog_row_image = 'MINIMAL'; UPDATE k SET a = 5 WHERE id = 1"
        ),
    )
    .await;

    let status = daemon
        .wait_until("one is left out, and of the other the key is read", |status| {
            of(status, "t")["state"] == "left_out"
                && of(status, "k")["state"] == "complete"
                && of(status, "k")["applied"]["local"] == 1
        })
        .await;
    let why = of(&status, "t")["why"].as_str().unwrap();
    assert!(why.contains("never copied whole") && why.contains("replicator backfill --replace"), "{why}");
    daemon.stop();
    let copy = crate::support::cells::open_sqlite(&sandbox.sqlite());
    let rows = crate::support::cells::sqlite_rows(&copy, "k", &["id".to_owned(), "a".to_owned(), "b".to_owned()], "1");
    assert_eq!(rows.len(), 1, "the row that has changed, whole: {rows:?}");
}
