//! Sessions that raise doubts all the time: each storm converges, the log does not fill, and the other tables go on.

use serde_json::json;

use super::{AS_STATEMENT, copied, exec, of};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// Statements of a storm.
const STATEMENTS: u32 = 400;

/// Writes a storm, beside rows of another table, and gives what the status says then and once everything is applied.
async fn storm(mut sandbox: Sandbox, session: &str, statement: impl Fn(u32) -> String) {
    sandbox.set("/source/reread_pause", json!("1s"));
    let mut daemon = sandbox.start();
    let before = sandbox.caught_up(&mut daemon).await;
    let mut conn = sandbox.server.connect().await;
    let mut other = sandbox.server.connect().await;
    let query = async |conn: &mut mysql_async::Conn, sql: String| {
        mysql_async::prelude::Queryable::query_drop(conn, sql).await.unwrap();
    };
    query(&mut conn, format!("USE {DATABASE}")).await;
    query(&mut conn, session.to_owned()).await;
    for number in 0..STATEMENTS {
        query(&mut conn, statement(number)).await;
        query(&mut other, format!("INSERT INTO {DATABASE}.other VALUES ({}, 1)", number + 10)).await;
        if number == STATEMENTS / 2 {
            // In the middle of it the other table is as far as it was a moment ago.
            daemon
                .wait_until("the other table goes on", |status| {
                    of(status, "other")["applied"]["local"].as_u64().unwrap() >= u64::from(number)
                })
                .await;
        }
    }
    let after = sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored().await;
    assert_eq!(of(&after, "other")["state"], "complete", "{after:#}");
    let bytes = |status: &serde_json::Value| status["wal"]["disk_bytes"].as_u64().unwrap();
    assert!(
        bytes(&after) < bytes(&before) + (64 << 20),
        "the log has grown from {} to {}",
        bytes(&before),
        bytes(&after)
    );
}

both_servers! {
    async fn checksums_that_are_written_as_statements_converge(kind: Kind) {
        let sandbox = copied(kind).await;
        exec(&sandbox, "CREATE TABLE checksums (tbl VARCHAR(40), chunk INT, crc INT UNSIGNED, PRIMARY KEY (tbl, chunk))").await;
        storm(sandbox, AS_STATEMENT, |number| {
            format!("REPLACE INTO checksums SELECT 't', {}, CRC32(GROUP_CONCAT(a)) + {number} FROM t", number % 50)
        }).await;
    }

    async fn a_session_that_always_writes_minimal_images_converges(kind: Kind) {
        let sandbox = copied(kind).await;
        exec(&sandbox, "CREATE TABLE m (id INT PRIMARY KEY, a INT NOT NULL, b VARCHAR(40) NOT NULL DEFAULT 'b')").await;
        storm(sandbox, "SET SESSION binlog_row_image = 'MINIMAL'", |number| match number % 4 {
            0 | 1 => format!("INSERT INTO m (id, a) VALUES ({number}, {number})"),
            2 => format!("UPDATE m SET a = {number} WHERE id % 3 = 0"),
            _ => format!("DELETE FROM m WHERE id % 17 = {}", number % 17),
        }).await;
    }
}

#[tokio::test]
async fn an_application_that_writes_parts_of_json_converges_on_mysql() {
    let sandbox = copied(Kind::MySql).await;
    let long = "x".repeat(200);
    exec(&sandbox, &format!("CREATE TABLE j (id INT PRIMARY KEY, doc JSON); INSERT INTO j SELECT id, JSON_OBJECT('a', 1, 'b', '{long}') FROM t")).await;
    storm(sandbox, "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'", |number| {
        format!("UPDATE j SET doc = JSON_SET(doc, '$.a', {number}) WHERE id = {}", number % 3 + 1)
    })
    .await;
}
