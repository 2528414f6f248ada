//! What statements say of MariaDB's `UUID`, `INET6` and `INET4`, and what they only seem to say: parts with a condition that did
//! nothing, and names in quotes.

use serde_json::json;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

async fn run(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// A log that begins behind `before` and has no table in it.
async fn latest(before: &str) -> Sandbox {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox.set("/source/startup_mode", json!("latest"));
    run(&sandbox, before).await;
    sandbox.run_once();
    sandbox
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_there_is_what_it_is_and_not_what_create_if_not_exists_says_on_mariadb() {
    for (before, while_nobody_read) in [
        (
            "CREATE TABLE t (id UUID PRIMARY KEY, v INT)",
            "CREATE TABLE IF NOT EXISTS t (id BINARY(16) PRIMARY KEY, v INT)",
        ),
        (
            "CREATE TABLE t (id BINARY(16) PRIMARY KEY, v INT)",
            "CREATE TABLE IF NOT EXISTS t (id UUID PRIMARY KEY, v INT)",
        ),
        (
            "SELECT 1",
            "CREATE TABLE IF NOT EXISTS t (id BINARY(16) PRIMARY KEY, v INT); INSERT INTO t VALUES ('bytes', 0);
             DELETE FROM t; ALTER TABLE t MODIFY id UUID NOT NULL;
             CREATE TABLE IF NOT EXISTS t (id BINARY(16) PRIMARY KEY, v INT)",
        ),
        (
            "SELECT 1",
            "CREATE TABLE t (id BINARY(16) PRIMARY KEY, v INT); DROP DATABASE shop; CREATE DATABASE shop; USE shop;
             CREATE TABLE IF NOT EXISTS t (id UUID PRIMARY KEY, v INT); INSERT INTO t VALUES (UUID(), 0);
             CREATE TABLE IF NOT EXISTS t (id BINARY(16) PRIMARY KEY, v INT); DELETE FROM t",
        ),
    ] {
        let sandbox = latest(before).await;
        run(&sandbox, while_nobody_read).await;
        run(&sandbox, "INSERT INTO t VALUES (x'123456789abc1ef08234567890abcd01', 1)").await;
        run(&sandbox, "CREATE TABLE IF NOT EXISTS t (id BINARY(16) PRIMARY KEY, v INT)").await;
        run(&sandbox, "INSERT INTO t VALUES (x'0f0f0f0f0f0f4f0f8f0f0f0f0f0f0f02', 2)").await;
        sandbox.run_once();

        assert_eq!(sandbox.assert_mirrored().await.rows, 2, "{while_nobody_read}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_alter_table_that_did_nothing_says_nothing_of_a_type_on_mariadb() {
    for change in [
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS b UUID",
        "ALTER TABLE t MODIFY COLUMN IF EXISTS x UUID; INSERT INTO t VALUES (0, UUID(), 'b'); ALTER TABLE t ADD x BINARY(16) DEFAULT 'x'",
        "ALTER TABLE t CHANGE COLUMN IF EXISTS x u BINARY(16), CHANGE COLUMN IF EXISTS y b UUID",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS u INET6, ADD COLUMN IF NOT EXISTS (x INET6 DEFAULT '::1', b UUID)",
    ] {
        for is_known in [false, true] {
            let sandbox = latest("CREATE TABLE t (id INT PRIMARY KEY, u UUID, b BINARY(16))").await;
            if is_known {
                run(&sandbox, "INSERT INTO t VALUES (1, UUID(), 'before')").await;
                sandbox.run_once();
            }
            run(&sandbox, change).await;
            run(&sandbox, "INSERT INTO t (id, u, b) VALUES (2, UUID(), 'after')").await;
            run(&sandbox, "ALTER TABLE t ADD v INT; INSERT INTO t (id, u, b) VALUES (3, UUID(), 'last')").await;
            sandbox.run_once();

            assert!(sandbox.assert_mirrored().await.rows >= 2, "{change}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_type_may_stand_in_quotes_on_mariadb() {
    let sandbox = latest("CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&sandbox, "INSERT INTO t VALUES (1)").await;
    sandbox.run_once();
    run(&sandbox, "ALTER TABLE t ADD u `uuid`, ADD b `inet4`; INSERT INTO t VALUES (2, UUID(), '1.2.3.4')").await;
    run(
        &sandbox,
        "SET sql_mode = 'ANSI_QUOTES'; ALTER TABLE t ADD \"a\" \"Inet6\"; CREATE TABLE \"other\" (\"u\" \"UUID\" PRIMARY KEY)",
    )
    .await;
    run(&sandbox, "INSERT INTO t VALUES (3, UUID(), NULL, '::1:0'); INSERT INTO other VALUES (UUID())").await;
    // What the server shows at the end is another type, so that the statements alone tell it.
    run(&sandbox, "ALTER TABLE t ADD v INT; ALTER TABLE other MODIFY u VARCHAR(40)").await;
    sandbox.run_once();

    assert_eq!(sandbox.assert_mirrored().await.rows, 4);
}
