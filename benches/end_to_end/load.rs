//! What the source holds: one table of 11 columns, about 120 bytes a row, and the two ways it is filled.

use std::env;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions};

const TABLE: &str = "
    CREATE TABLE orders (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        customer_id INT NOT NULL, status ENUM('new', 'paid', 'shipped', 'done') NOT NULL,
        email VARCHAR(64) NOT NULL, note VARCHAR(255) NULL, amount DECIMAL(12, 2) NOT NULL,
        qty SMALLINT NOT NULL, is_gift TINYINT(1) NOT NULL DEFAULT 0,
        created_at DATETIME(6) NOT NULL, updated_at TIMESTAMP(3) NOT NULL, score DOUBLE NULL)";

/// Transactions of `n` rows each.
const BULK: &str = "
    CREATE PROCEDURE bulk(batches INT, n INT)
    BEGIN
        DECLARE i INT DEFAULT 0;
        WHILE i < batches DO
            INSERT INTO orders (customer_id, status, email, note, amount, qty, is_gift, created_at, updated_at, score)
            WITH RECURSIVE numbers (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM numbers WHERE k < n)
            SELECT FLOOR(RAND() * 1000000), ELT(1 + FLOOR(RAND() * 4), 'new', 'paid', 'shipped', 'done'),
                CONCAT(LEFT(SHA2(RAND(), 256), 32), '@example.com'), IF(RAND() < 0.3, NULL, REPEAT('x', FLOOR(RAND() * 80))),
                ROUND(RAND() * 10000, 2), FLOOR(RAND() * 100), RAND() < 0.1, NOW(6), NOW(3), RAND() FROM numbers;
            SET i = i + 1;
        END WHILE;
    END";

/// Transactions of one insert and one update: three row images each.
const SMALL: &str = "
    CREATE PROCEDURE small(n INT, existing INT)
    BEGIN
        DECLARE i INT DEFAULT 0;
        WHILE i < n DO
            START TRANSACTION;
            INSERT INTO orders (customer_id, status, email, note, amount, qty, is_gift, created_at, updated_at, score)
                VALUES (i, 'new', CONCAT('u', i, '@example.com'), NULL, 12.50, 1, 0, NOW(6), NOW(3), 0.5);
            UPDATE orders SET status = 'paid', amount = amount + 1 WHERE id = 1 + (i * 7919 MOD existing);
            COMMIT;
            SET i = i + 1;
        END WHILE;
    END";

/// Rows of the bulk load.
pub fn rows() -> u64 {
    env::var("REPLICATOR_BENCH_ROWS").map_or(1_000_000, |text| text.parse().expect("REPLICATOR_BENCH_ROWS is a number"))
}

/// A sandbox whose server has the empty table; its binary log never ends a file inside a measurement.
pub async fn sandbox(kind: Kind) -> Sandbox {
    let server = ServerOptions::new(kind)
        .argument("--max-binlog-size=1073741824")
        .argument("--innodb-buffer-pool-size=512M")
        .argument("--max-allowed-packet=1073741824")
        .start()
        .await;
    let sandbox = Sandbox::on(server).await;
    let mut connection = connect(&sandbox.server).await;
    for statement in [TABLE, BULK, SMALL] {
        connection.query_drop(statement).await.unwrap();
    }
    connection.disconnect().await.unwrap();
    sandbox
}

/// Fills the table with [`rows`] rows, in transactions of 1,000.
pub async fn bulk(server: &Server) {
    call(server, &format!("CALL bulk({}, 1000)", rows() / 1000)).await;
}

/// Runs a fifth as many transactions of three row images over the rows that are there.
pub async fn small(server: &Server) {
    call(server, &format!("CALL small({}, {})", rows() / 5, rows())).await;
}

/// Runs one loading statement with nothing waiting for the disk: loading is not what is measured.
pub async fn call(server: &Server, statement: &str) {
    let mut connection = connect(server).await;
    let limit = match server.kind() {
        Kind::MySql => "cte_max_recursion_depth",
        Kind::MariaDb => "max_recursive_iterations",
    };
    connection
        .query_drop(format!(
            "SET GLOBAL sync_binlog = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 0; SET SESSION {limit} = 10000000"
        ))
        .await
        .unwrap();
    connection.query_drop(statement).await.unwrap();
    connection.query_drop("SET GLOBAL sync_binlog = 1; SET GLOBAL innodb_flush_log_at_trx_commit = 1").await.unwrap();
    connection.disconnect().await.unwrap();
}

async fn connect(server: &Server) -> Conn {
    Conn::new(server.root().db_name(Some(DATABASE))).await.unwrap()
}
