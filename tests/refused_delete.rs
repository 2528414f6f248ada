//! A row that an SQLite copy does not let go is a dead letter of a delete. No read of its key brings a delete, so a retry reads the table again.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

fn letters(status: &Value) -> u64 {
    status["sinks"][0]["dead_letters"]["count"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_is_refused_is_a_letter_until_its_table_is_read_again_on_mysql() {
    let mut sandbox = Sandbox::new(Kind::MySql).await;
    sandbox.set("/sinks/0/on_row_error", json!("dead_letter"));
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 7), (2, 7), (3, 3)";
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let trigger = "CREATE TRIGGER kept BEFORE DELETE ON t WHEN old.n = 7 BEGIN SELECT RAISE(ABORT, 'kept'); END";
    Connection::open(sandbox.sqlite()).unwrap().execute_batch(trigger).unwrap();

    sandbox
        .server
        .exec(format!("DELETE FROM {DATABASE}.t WHERE id = 1; UPDATE {DATABASE}.t SET id = 4 WHERE id = 2"))
        .await;
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(letters(&status), 2, "{status:#}");
    let count =
        |sql| Connection::open(sandbox.sqlite()).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM t"), 4, "both old rows are there, and the new one");

    Connection::open(sandbox.sqlite()).unwrap().execute_batch("DROP TRIGGER kept").unwrap();
    let output = sandbox.run(&["dlq", "retry"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.wait_until("the letters are gone", |status| letters(status) == 0).await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored().await;
}
