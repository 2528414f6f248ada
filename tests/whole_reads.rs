//! A table without a key that chunks can be made of is read in one piece, beside the stream: nothing waits for it but its own rows.

use serde_json::{Value, json};

use crate::support::cells::{open_sqlite, sqlite_rows};
use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::{read_of, table_of};

/// Rows of the table that is read whole, and how many of them are read a second: a read of some seconds.
const ROWS: u32 = 3_000;
const A_SECOND: u32 = 200;

/// A mirror and a changelog of a table without a key, which is read slowly, and of one with a key.
async fn sandbox(kind: Kind) -> Sandbox {
    let mut sandbox = Sandbox::new(kind).await;
    sandbox.with_changelog();
    run(
        &sandbox,
        &format!(
            "CREATE TABLE free (id INT PRIMARY KEY AUTO_INCREMENT, v INT);
             CREATE TABLE whole (v INT, w VARCHAR(100));
             INSERT INTO whole WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
             SELECT k % 500, RPAD(k % 500, 100, 'x') FROM n"
        ),
    )
    .await;
    sandbox.set("/source/snapshot", json!({ "max_rows_per_second": A_SECOND }));
    sandbox
}

async fn run(sandbox: &Sandbox, sql: &str) {
    // A session's limit of recursion is lower than the rows.
    let limit = match sandbox.server.kind() {
        Kind::MySql => "SET SESSION cte_max_recursion_depth = 100000",
        Kind::MariaDb => "SET SESSION max_recursive_iterations = 100000",
    };
    sandbox.server.exec(format!("USE {DATABASE}; {limit}; {sql}")).await;
}

/// Rows of a table of the mirror.
fn copied(sandbox: &Sandbox, table: &str) -> usize {
    sqlite_rows(&open_sqlite(&sandbox.sqlite()), table, &["v".to_owned()], "1").len()
}

fn is_read_in_part(status: &Value) -> bool {
    let read = read_of(status, "shop.whole");
    let rows = read["rows"].as_u64();
    read["running"] == true && rows > Some(0) && rows < Some(ROWS.into())
}

async fn read_in_part(daemon: &mut Daemon) {
    daemon.wait_until("the table is read in part", is_read_in_part).await;
}

/// Everything that may happen to rows of the table, some of it beside another table, and some of it taken back.
async fn write(sandbox: &Sandbox, number: u32) {
    run(
        sandbox,
        &format!(
            "INSERT INTO whole VALUES ({number}, 'new'), ({number}, 'new'), ({number}, 'twice');
             DELETE FROM whole WHERE v = {number} + 100 LIMIT 2;
             UPDATE whole SET w = 'changed' WHERE v = {number} + 200;
             BEGIN; INSERT INTO free (v) VALUES ({number}); UPDATE whole SET v = -v WHERE v = {number} + 300; COMMIT;
             BEGIN; INSERT INTO whole VALUES ({number}, 'kept'); SAVEPOINT a; DELETE FROM whole WHERE v < 300; ROLLBACK TO a;
             INSERT INTO whole VALUES ({number}, 'kept too'); COMMIT;
             BEGIN; DELETE FROM whole; ROLLBACK"
        ),
    )
    .await;
}

both_servers! {
    async fn other_tables_go_on_while_a_table_without_a_key_is_read_and_written(kind: Kind) {
        let sandbox = sandbox(kind).await;
        let mut daemon = sandbox.start();
        read_in_part(&mut daemon).await;
        for number in 1..=2 {
            write(&sandbox, number).await;
        }
        let mut was_reading = false;
        daemon
            .wait_until("the other table's rows are copied", |status| {
                let has_all = copied(&sandbox, "free") == 2;
                was_reading = has_all && is_read_in_part(status) && table_of(status, "shop.whole")["state"] == "reading";
                has_all
            })
            .await;
        assert!(was_reading, "the rows of another table have waited for the read");
        assert_eq!(copied(&sandbox, "whole"), 0, "the copy is placed at its end");
        for number in 3..=21 {
            write(&sandbox, number).await;
        }
        sandbox.caught_up(&mut daemon).await;
        let status = daemon.status().unwrap();
        write(&sandbox, 22).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let counted = |name: &str| table_of(&status, "shop.whole")[name].as_u64().unwrap();
        assert!(counted("left_out") > 0, "no row has waited");
        assert_eq!(counted("read"), counted("appended") + counted("left_out"), "{status}");
        assert_eq!(sandbox.assert_mirrored().await.tables, 2);
        sandbox.assert_logged("free").await;
        sandbox.assert_logged("whole").await;
    }

    async fn a_statement_about_a_table_that_is_read_whole_begins_its_read_again(kind: Kind) {
        let sandbox = sandbox(kind).await;
        let mut daemon = sandbox.start();
        read_in_part(&mut daemon).await;
        write(&sandbox, 1).await;
        run(&sandbox, "ALTER TABLE whole ADD x INT NOT NULL DEFAULT 5; UPDATE whole SET x = 6 WHERE v = 7").await;
        write_after(&sandbox).await;
        sandbox.caught_up(&mut daemon).await;
        write_after(&sandbox).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.tables, 2);
    }

    async fn a_table_that_does_not_fit_into_the_spool_is_unreadable_by_name_and_loses_no_row(kind: Kind) {
        let mut sandbox = sandbox(kind).await;
        sandbox.set("/source/spool_max", json!("64KiB"));
        let mut daemon = sandbox.start();
        read_in_part(&mut daemon).await;
        write(&sandbox, 1).await;
        let status = daemon
            .wait_until("the table is unreadable", |status| table_of(status, "shop.whole")["state"] == "unreadable")
            .await;
        let why = table_of(&status, "shop.whole")["why"].to_string();
        assert!(why.contains("shop.whole") && why.contains("source.spool_max, 64KiB"), "{why}");
        // Rows that waited are given back: the lines of the changelog are all there.
        daemon.wait_until("the other table's rows are copied", |_| copied(&sandbox, "free") == 1).await;
        let lines = || {
            let copy = open_sqlite(&sandbox.changelog());
            sqlite_rows(&copy, "whole", &["_op".to_owned()], "after_w = 'new' AND after_v = 1").len()
        };
        daemon.wait_until("the rows that waited are logged", |_| lines() == 2).await;
        daemon.stop();

        sandbox.set("/source/spool_max", json!("1GiB"));
        let mut daemon = sandbox.start();
        write(&sandbox, 2).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.tables, 2);
    }

    async fn a_kill_while_a_table_is_read_whole_leaves_it_equal_after_the_next_start(kind: Kind) {
        let sandbox = sandbox(kind).await;
        for number in 1..=2 {
            let mut daemon = sandbox.start();
            read_in_part(&mut daemon).await;
            write(&sandbox, number).await;
            let rows: usize = sandbox.server.query_one(format!("SELECT COUNT(*) FROM {DATABASE}.free")).await;
            daemon.wait_until("the other table's rows are copied", |_| copied(&sandbox, "free") == rows).await;
            daemon.kill();
            write(&sandbox, number + 50).await;
        }
        let mut daemon = sandbox.start();
        write(&sandbox, 3).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.tables, 2);
        let spool = std::fs::read_dir(sandbox.wal_directory().join("spool")).unwrap();
        assert_eq!(spool.count(), 0, "a spool outlives its process");
    }
}

/// Rows of the table's later definition.
async fn write_after(sandbox: &Sandbox) {
    run(sandbox, "INSERT INTO whole VALUES (1, 'after', 8), (1, 'after', 8); DELETE FROM whole WHERE v = 9 LIMIT 1")
        .await;
}
