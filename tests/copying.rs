//! The main job: what is at the source is at the sink, whenever it was written.

use std::time::Duration;

use serde_json::json;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::{all_complete, reads_nothing};
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
            reads_nothing(status) && all_complete(status) == Some(Shape::ALL.len())
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
            assert_eq!(number("read"), number("appended") + number("filtered") + number("left_out"), "{table}");
            assert_eq!(table["applied"]["local"].as_u64(), Some(number("appended")), "{table}");
            let at_sink = |key: &str| table["sinks"]["local"][key].as_u64().unwrap_or_else(|| panic!("{key} in {table}"));
            assert_eq!((at_sink("delivered"), at_sink("taken")), (number("appended"), number("appended")), "{table}");
            assert_eq!(at_sink("taken") + at_sink("split"), at_sink("acknowledged") + at_sink("netted"), "{table}");
            // A change of a row that the snapshot has not brought yet finds none; that is no doubt.
            assert_eq!(table["sinks"]["local"]["doubt"], serde_json::Value::Null, "{table}");
        }
    }
}
