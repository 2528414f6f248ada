//! The main job: what is at the source is at the sink, whenever it was written.

use std::time::Duration;

use serde_json::json;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};
use crate::support::workload::{Shape, Workload};

both_servers! {
    async fn a_table_without_rows_is_at_the_sink_with_its_columns(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE keyed (id INT PRIMARY KEY, a VARCHAR(9), b DATETIME(3)); CREATE TABLE loose (a INT, b TEXT);
                 CREATE TABLE emptied (id INT PRIMARY KEY); INSERT INTO emptied VALUES (1), (2); DELETE FROM emptied"
            ))
            .await;

        sandbox.run_once();

        let compared = sandbox.assert_mirrored().await;
        assert_eq!((compared.tables, compared.rows), (3, 0));
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.keyed VALUES (1, 'x', NULL); INSERT INTO {DATABASE}.loose VALUES (1, 'y')")).await;
        sandbox.run_once();
        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }

    async fn rows_written_before_during_and_after_the_snapshot_are_all_there(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 200, "parallel": 3 }));
        let workload = Workload::new(DATABASE).with_connections(3);
        workload.create(&sandbox.server, 2000).await;

        let writing = workload.start(&sandbox.server);
        writing.progressed_by(50).await;
        let mut daemon = sandbox.start();
        writing.progressed_by(400).await;
        daemon.wait_until("the snapshot is done", |status| {
            let tables = status["snapshot"]["tables"].as_array();
            tables.is_some_and(|tables| tables.len() == Shape::ALL.len() && tables.iter().all(|table| table["state"] == "done"))
        }).await;
        writing.progressed_by(200).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;

        let compared = sandbox.assert_mirrored().await;
        assert_eq!(compared.tables, Shape::ALL.len());
        daemon.terminate();
        assert_eq!(daemon.wait(Duration::from_secs(10)), 0, "SIGTERM drains and stops within 10 s");
    }

    async fn definitions_changed_while_rows_are_written_are_followed(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE).with_ddl();
        workload.create(&sandbox.server, 300).await;
        let mut daemon = sandbox.start();

        workload.run(&sandbox.server, 1200).await;
        sandbox.caught_up(&mut daemon).await;

        sandbox.assert_mirrored().await;
    }

    async fn a_run_to_the_end_copies_all_and_a_second_one_only_what_came_since(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 500).await;

        sandbox.run_once();
        sandbox.assert_mirrored().await;
        workload.run(&sandbox.server, 300).await;
        sandbox.run_once();

        sandbox.assert_mirrored().await;
    }

    async fn the_stream_goes_on_after_the_server_was_killed_restarted_and_rotated(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 200).await;
        let mut daemon = sandbox.start();

        workload.run(&sandbox.server, 150).await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.server.kill();
        sandbox.server.start_again().await;
        workload.run(&sandbox.server, 150).await;
        sandbox.server.exec("FLUSH BINARY LOGS").await;
        workload.run(&sandbox.server, 150).await;
        sandbox.server.restart().await;
        workload.run(&sandbox.server, 150).await;
        sandbox.caught_up(&mut daemon).await;

        sandbox.assert_mirrored().await;
    }

    async fn the_stream_goes_on_after_connections_were_cut_anywhere(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let proxy = sandbox.behind_proxy().await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 500).await;
        let mut daemon = sandbox.start();

        let writing = workload.start(&sandbox.server);
        for bytes in [100, 5_000, 20_000, 50_000, 333] {
            proxy.cut_after(bytes);
            writing.progressed_by(60).await;
        }
        proxy.cut();
        writing.progressed_by(60).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;

        assert!(proxy.cuts() >= 2, "the proxy cut {} times", proxy.cuts());
        sandbox.assert_mirrored().await;
    }

    async fn counters_balance_table_by_table(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 400).await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 400).await;
        let status = sandbox.caught_up(&mut daemon).await;

        let tables = status["tables"].as_array().unwrap();
        assert_eq!(tables.len(), Shape::ALL.len());
        for table in tables {
            let number = |key: &str| table[key].as_u64().unwrap_or_else(|| panic!("{key} in {table}"));
            assert!(number("appended") >= 100, "{table}");
            assert_eq!(number("read"), number("appended") + number("filtered"), "{table}");
            assert_eq!(table["applied"]["local"].as_u64(), Some(number("appended")), "{table}");
        }
    }
}

/// A semi-synchronous master writes a transaction to its binlog and shows it in the engine only when a replica has confirmed it, or
/// after the timeout: so long, it stands in front of a position that a start takes, and no read sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_in_the_binlog_and_not_yet_visible_when_the_snapshot_begins_is_not_missed_on_mariadb() {
    let server = ServerOptions::new(Kind::MariaDb)
        .argument("--rpl-semi-sync-master-enabled=ON")
        .argument("--rpl-semi-sync-master-wait-point=AFTER_SYNC")
        .argument("--rpl-semi-sync-master-timeout=1")
        .start()
        .await;
    let sandbox = Sandbox::on(server).await;
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)"))
        .await;
    sandbox.server.exec("SET GLOBAL rpl_semi_sync_master_timeout = 4000").await;
    // A timeout turns the waiting off until a replica comes; this turns it on again.
    sandbox
        .server
        .exec("SET GLOBAL rpl_semi_sync_master_enabled = OFF; SET GLOBAL rpl_semi_sync_master_enabled = ON")
        .await;
    let (_, before) = sandbox.server.position().await;
    let mut writer = sandbox.server.connect().await;
    let held = tokio::spawn(async move {
        mysql_async::prelude::Queryable::query_drop(&mut writer, format!("INSERT INTO {DATABASE}.t VALUES (1000)"))
            .await
            .unwrap();
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    while sandbox.server.position().await.1 == before {
        assert!(std::time::Instant::now() < deadline, "the transaction is not in the binlog");
    }
    let seen: Vec<u32> = sandbox.server.query(format!("SELECT MAX(id) FROM {DATABASE}.t")).await;
    assert_eq!(seen, [2], "the transaction is held: it is in the binlog and not visible");

    sandbox.run_once();
    held.await.unwrap();

    assert_eq!(sandbox.assert_mirrored().await.rows, 3);
}
