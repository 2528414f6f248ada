//! What is wrong with one table at a sink stops that table there, at every kind of sink: the others go on, and the way back that is printed
//! brings it back.

use serde_json::{Value, json};

use super::{assert_copied_but, remedies, replicator, said};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// The tables that each sink has stopped.
fn stops(status: &Value) -> Vec<(String, Vec<String>)> {
    let sinks = status["sinks"].as_array().unwrap();
    let tables = |sink: &Value| {
        let stopped = sink["stopped_tables"].as_array().unwrap();
        stopped.iter().map(|stop| stop["table"].as_str().unwrap().to_owned()).collect()
    };
    sinks.iter().map(|sink| (sink["name"].as_str().unwrap().to_owned(), tables(sink))).collect()
}

/// Whether every sink is open, and has stopped these tables and no others.
fn are_stopped(status: &Value, tables: &[&str]) -> bool {
    let is_open = |sink: &Value| sink["state"] == "running";
    status["sinks"].as_array().unwrap().iter().all(is_open)
        && stops(status).iter().all(|(_, stopped)| stopped == tables)
}

/// The reason of the only stop of a sink.
fn reason(status: &Value, sink: usize) -> &str {
    status["sinks"][sink]["stopped_tables"][0]["reason"].as_str().unwrap()
}

both_servers! {
    /// Half of a surrogate pair: the server takes it, also in strict mode.
    async fn a_value_that_no_sink_can_hold_stops_its_table_alone_until_it_is_fixed_and_read_again(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE bad (id INT PRIMARY KEY, c VARCHAR(10) CHARACTER SET ucs2);
                 CREATE TABLE other (id INT PRIMARY KEY, v INT);
                 INSERT INTO bad VALUES (1, 'a'), (2, 'b'); INSERT INTO other VALUES (1, 1)"
            ))
            .await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; BEGIN; INSERT INTO other VALUES (2, 2); INSERT INTO bad VALUES (3, 'c'), (4, 0xD800);
                 INSERT INTO other VALUES (3, 3); COMMIT; DELETE FROM bad WHERE id = 1; UPDATE other SET v = 10 WHERE id = 1"
            ))
            .await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert!(are_stopped(&status, &["shop.bad"]), "{status:#}");
        assert_copied_but(&sandbox, &["bad"]).await;
        daemon.stop();
        // It is known after a restart, and why.
        let mut daemon = sandbox.start();
        let status = daemon.wait_until("it is stopped at every sink", |status| are_stopped(status, &["shop.bad"])).await;
        for sink in 0..4 {
            let reason = reason(&status, sink);
            assert!(reason.contains("\"c\"") && reason.contains("ucs2"), "{reason}");
        }
        sandbox.server.exec(format!("UPDATE {DATABASE}.bad SET c = 'd' WHERE id = 4")).await;
        let commands = remedies(&status);
        let command = format!("replicator backfill --replace --table {DATABASE}.bad");
        assert!(commands.contains(&command), "{commands:?}");
        let output = replicator(&sandbox, &command);
        assert!(output.status.success(), "{}", said(&output));
        daemon.wait_until("no table is stopped", |status| are_stopped(status, &[])).await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
        assert_copied_but(&sandbox, &[]).await;

        // Stopped again, it leaves the configuration, and is no stop any more; it comes back with what it has then.
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.bad VALUES (5, 0xD800)")).await;
        daemon.wait_until("it is stopped at every sink", |status| are_stopped(status, &["shop.bad"])).await;
        daemon.stop();
        sandbox.set("/source/exclude", json!([format!("{DATABASE}.bad")]));
        let mut daemon = sandbox.start();
        let status = daemon.wait_until("no table is stopped", |status| are_stopped(status, &[])).await;
        assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
        sandbox.server.exec(format!("UPDATE {DATABASE}.bad SET c = 'e' WHERE id = 5")).await;
        // The row as it was before would stop a changelog again.
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.set("/source/exclude", json!([]));
        let mut daemon = sandbox.start();
        daemon.wait_until("no table is stopped", |status| are_stopped(status, &[])).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_copied_but(&sandbox, &[]).await;
    }
}

#[tokio::test]
async fn a_stopped_table_whose_mode_is_changed_is_read_again_by_itself_on_mysql() {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MySql).await;
    let sql = format!("CREATE TABLE {DATABASE}.k (a INT, b INT); INSERT INTO {DATABASE}.k VALUES (1, 1), (2, 2)");
    sandbox.server.exec(sql).await;
    let mut daemon = sandbox.start();
    let status = sandbox.caught_up(&mut daemon).await;
    assert!(are_stopped(&status, &["shop.k"]) && reason(&status, 0).contains("`mode: history`"), "{status:#}");
    daemon.stop();
    sandbox.set("/tables", json!([{ "database": DATABASE, "table": "k", "mode": "history" }]));
    let mut daemon = sandbox.start();
    daemon.wait_until("no table is stopped", |status| are_stopped(status, &[])).await;
    sandbox.server.exec(format!("INSERT INTO {DATABASE}.k VALUES (3, 3)")).await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    let lines =
        sandbox.clickhouse().query("SELECT _op, after_a FROM replica.k FINAL ORDER BY after_a".to_owned()).await;
    assert_eq!(lines, "snapshot\t1\nsnapshot\t2\ninsert\t3\n");
}

#[tokio::test]
async fn of_two_tables_whose_names_sqlite_takes_for_one_the_second_is_stopped_on_mariadb() {
    let mut sandbox = Sandbox::with_every_sink(Kind::MariaDb).await;
    let sql = format!(
        "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE T (id INT PRIMARY KEY); CREATE TABLE other (id INT PRIMARY KEY);
         INSERT INTO t VALUES (1); INSERT INTO T VALUES (2); INSERT INTO other VALUES (3)"
    );
    sandbox.server.exec(sql).await;
    let mut daemon = sandbox.start();
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    let stopped: Vec<usize> = stops(&status).iter().map(|(_, tables)| tables.len()).collect();
    assert_eq!(stopped, [1, 1, 0, 0], "{status:#}");
    assert!(reason(&status, 0).contains("table_name"), "{}", reason(&status, 0));
    let rows = sandbox
        .clickhouse()
        .query("SELECT id FROM (SELECT id FROM replica.t UNION ALL SELECT id FROM replica.`T`) ORDER BY id".to_owned())
        .await;
    assert_eq!(rows, "1\n2\n");
    // The way out that the reason names.
    for sink in 0..2 {
        sandbox.set(&format!("/sinks/{sink}/table_name"), json!("{database}_{table}"));
    }
    let output = sandbox.run(&["check", "--json"]);
    assert!(said(&output).contains("will be stopped at the next start"), "{}", said(&output));
}
