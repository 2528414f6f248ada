//! Definitions that changed while nobody was reading: the server shows only the last state, the statements show the way.

use serde_json::json;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alter_in_two_phases_changes_the_copy_once_on_mariadb() {
    let server = ServerOptions::new(Kind::MariaDb).argument("--binlog-alter-two-phase=ON").start().await;
    let sandbox = Sandbox::on(server).await;
    sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)")).await;
    sandbox.run_once();

    sandbox
        .server
        .exec(format!("USE {DATABASE}; ALTER TABLE t ADD a INT DEFAULT 5; INSERT INTO t VALUES (2, 6)"))
        .await;
    sandbox
        .server
        .exec(format!("USE {DATABASE}; ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t ADD a INT DEFAULT 7"))
        .await;
    sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (3, 8, 9)")).await;
    sandbox.run_once();

    assert_eq!(sandbox.assert_mirrored().await.rows, 3);
    let events: Vec<mysql_async::Row> = sandbox.server.query("SHOW BINLOG EVENTS").await;
    let started = |row: &mysql_async::Row| row.get::<String, _>(5).is_some_and(|info| info.contains("START ALTER"));
    assert_eq!(events.iter().filter(|row| started(row)).count(), 3, "the server wrote every ALTER in two phases");
}

/// A sink that comes when the log is trimmed has every table read again but one that is left out, and hears of one without rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_to_the_end_does_not_wait_for_a_table_that_is_left_out_on_mariadb() {
    let mut sandbox = Sandbox::on(Server::start(Kind::MariaDb).await).await;
    sandbox.set("/source/startup_mode", json!("latest"));
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE odd (id INT PRIMARY KEY, v VARCHAR(9) COMPRESSED); CREATE TABLE t (id INT PRIMARY KEY)"
        ))
        .await;
    sandbox.run_once();
    sandbox.server.exec(format!("CREATE TABLE {DATABASE}.no_rows (id INT PRIMARY KEY, v VARCHAR(9))")).await;
    sandbox.run_once();
    for id in 0..3 {
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES ({id})")).await;
        sandbox.run_once();
    }
    let first = sandbox.config()["sinks"][0].clone();
    let second = json!({ "name": "late", "type": "sqlite", "path": sandbox.path("late.db"), "table_name": "{table}" });
    sandbox.set("/sinks", json!([first, second]));

    let output = sandbox.run(&["start", "--once"]);

    // What a table is by nature is listed, and no failure.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("a new sink on a log that was trimmed"), "{said}");
    let status = sandbox.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let odd = status["tables"].as_array().unwrap().iter().find(|table| table["table"] == "shop.odd").unwrap();
    assert_eq!(odd["state"], "left_out", "{odd}");
    assert!(odd["why"].as_str().unwrap().contains("COMPRESSED"), "{odd}");
    let late = rusqlite::Connection::open(sandbox.path("late.db")).unwrap();
    let numbers = |sql: &str| -> Vec<i64> {
        late.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(numbers("SELECT id FROM t ORDER BY id"), [0, 1, 2]);
    assert_eq!(numbers("SELECT id FROM no_rows"), Vec::<i64>::new());
}
