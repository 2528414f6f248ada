//! The copy equals the source, whatever happens on the way.

use serde_json::json;

use super::watch::{keyed, number, stop_of, stopped};
use crate::support::compare::View;
use crate::support::history::assert_history_in_clickhouse;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::workload::{Shape, Workload};

/// What an added column may hold in the rows that were there before.
const ADDED: [&str; 24] = [
    "INT NULL DEFAULT 7",
    "INT NOT NULL DEFAULT -7",
    "INT NOT NULL",
    "INT NULL",
    "BIGINT UNSIGNED NULL DEFAULT 18446744073709551615",
    "VARCHAR(20) NULL DEFAULT 'by \\\\ default'",
    "VARCHAR(20) NOT NULL",
    "DECIMAL(65, 30) NULL DEFAULT 99999999999999999999999999999999999.000000000000000000000000000001",
    "DATETIME(3) NULL DEFAULT '2020-01-02 03:04:05.678'",
    "ENUM('p', 'q') NOT NULL DEFAULT 'q'",
    "ENUM('p', 'q') NOT NULL",
    "SET('p', 'q') NULL DEFAULT 'p,q'",
    "VARBINARY(8) NULL DEFAULT x'00ff'",
    "BINARY(4) NOT NULL DEFAULT 'a'",
    "DOUBLE NULL DEFAULT 0.1",
    "FLOAT NULL DEFAULT 0.1",
    "BIT(9) NULL DEFAULT b'101010101'",
    "DATE NULL DEFAULT '2024-02-29'",
    "TIME(2) NULL DEFAULT '-12:34:56.78'",
    "YEAR NULL DEFAULT 2001",
    "TIMESTAMP NULL DEFAULT '2020-06-07 12:00:00'",
    "CHAR(3) NULL DEFAULT 'x'",
    "TEXT NULL",
    "BOOLEAN NOT NULL DEFAULT TRUE",
];

both_servers! {
    async fn once_copies_what_is_there_then_what_came_after(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 400).await;

        sandbox.run_once();
        let first = sandbox.assert_mirrored_to_clickhouse().await;
        workload.run(&sandbox.server, 500).await;
        sandbox.run_once();
        let second = sandbox.assert_mirrored_to_clickhouse().await;

        assert_eq!((first.tables, first.rows), (keyed().len(), 400 * keyed().len()));
        assert!(second.rows > 400, "{second:?}");
    }

    async fn writers_during_the_snapshot_and_after_it_are_followed(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_connections(3).with_shapes(&keyed());
        workload.create(&sandbox.server, 600).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 50, "parallel": 2 }));

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        writing.progressed_by(1500).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(sandbox.assert_mirrored_to_clickhouse().await.rows > 400);
    }

    async fn definitions_that_change_are_followed(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_ddl().with_shapes(&keyed());
        workload.create(&sandbox.server, 100).await;

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        workload.run(&sandbox.server, 600).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn older_rows_hold_the_default_of_an_added_column(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        for number in 0..ADDED.len() {
            sandbox.server.exec(format!(
                "USE {DATABASE}; CREATE TABLE keyed_{number} (id INT PRIMARY KEY); INSERT INTO keyed_{number} VALUES (1), (2)"
            )).await;
        }
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for (number, definition) in ADDED.iter().enumerate() {
            sandbox.server.exec(format!("ALTER TABLE {DATABASE}.keyed_{number} ADD COLUMN added {definition}")).await;
        }
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 2 * ADDED.len());
    }

    async fn a_table_without_a_key_is_refused_by_name_and_the_others_are_mirrored(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Keyless]);
        workload.create(&sandbox.server, 100).await;

        let mut daemon = sandbox.start();
        let reason = stop_of(&mut daemon, "shop.without_key").await;
        workload.run(&sandbox.server, 100).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(reason.contains("key") && reason.contains("history"), "{reason}");
        assert_eq!(stopped(&status), ["shop.without_key"]);
        let view = View { left_out: vec!["without_key".to_owned()], ..View::default() };
        assert!(sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows > 50);
    }

    async fn renamed_and_dropped_columns_and_prefixed_tables_are_as_configured(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/table_prefix", json!("p_"));
        sandbox.set("/tables", json!([{
            "database": DATABASE, "table": "t", "rename": { "v": "value `of` v" }, "drop": ["secret"],
        }]));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT, secret TEXT); INSERT INTO t VALUES (1, 'a', 's')"
        )).await;

        sandbox.run_once();

        let all = sandbox.clickhouse().query("SELECT * EXCEPT (_version) FROM replica.p_t FINAL FORMAT TSVWithNames").await;
        assert_eq!(all, "id\tvalue `of` v\t_is_deleted\n1\ta\t0\n");
    }

    async fn a_soft_deleted_row_stays_and_is_marked(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/deletion", json!("soft"));
        sandbox.set("/sinks/0/soft_delete_column", json!("gone"));
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 200).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE moved (id INT PRIMARY KEY, v TEXT); INSERT INTO moved VALUES (1, 'one'), (2, 'two')"
        )).await;

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        workload.run(&sandbox.server, 300).await;
        sandbox.server.exec(format!("USE {DATABASE}; DELETE FROM moved WHERE id = 1; UPDATE moved SET id = 3 WHERE id = 2")).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let mut tables: Vec<String> = workload.tables().iter().map(|table| table.name.clone()).collect();
        tables.push("moved".to_owned());
        let soft_deleted = tables.into_iter().map(|table| (table, "gone".to_owned())).collect();
        let view = View { soft_deleted, ..View::default() };
        assert!(sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows > 400);
        let rows = sandbox.clickhouse().query("SELECT id, v, gone FROM replica.moved FINAL ORDER BY id").await;
        assert_eq!(rows, "1\tone\t1\n2\ttwo\t1\n3\ttwo\t0\n");
    }

    async fn a_view_shows_the_current_rows(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/create_views", json!(true));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')"
        )).await;

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; UPDATE t SET v = 'B' WHERE id = 2; DELETE FROM t WHERE id = 3; ALTER TABLE t ADD w INT DEFAULT 5;
             INSERT INTO t VALUES (4, 'd', 6)"
        )).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let rows = sandbox.clickhouse().query("SELECT id, v, w FROM replica.t_current ORDER BY id").await;
        assert_eq!(rows, "1\ta\t5\n2\tB\t5\n4\td\t6\n");
    }

    async fn counters_balance_and_batches_are_counted_by_table(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 300).await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 300).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let tables = status["tables"].as_array().unwrap();
        assert_eq!(tables.len(), keyed().len());
        let batches = status["sinks"][0]["batches"].as_array().unwrap();
        assert_eq!(batches.len(), keyed().len());
        for (table, batch) in tables.iter().zip(batches) {
            let appended = table["appended"].as_u64().unwrap();
            assert!(appended >= 100, "{table}");
            assert_eq!(table["applied"]["ch"].as_u64(), Some(appended), "{table}");
            assert_eq!(batch["table"], table["table"]);
            assert!(batch["rows"].as_u64().unwrap() >= appended && batch["batches"].as_u64().unwrap() > 0, "{batch}");
        }
        assert_eq!(number(&sandbox, "SELECT count() FROM system.mutations WHERE database = 'replica' AND NOT is_done").await, 0);
    }

    async fn a_killed_daemon_goes_on_where_its_log_ends(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 600).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 20, "parallel": 2 }));

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        for _ in 0..5 {
            writing.progressed_by(150).await;
            daemon.kill();
            daemon = sandbox.start();
        }
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(sandbox.assert_mirrored_to_clickhouse().await.rows > 400);
    }

    async fn a_changelog_of_every_shape_has_no_gap_and_no_duplicate(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 200).await;
        sandbox.set("/sinks/0/mode", json!("history"));

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        for _ in 0..2 {
            writing.progressed_by(300).await;
            daemon.kill();
            daemon = sandbox.start();
        }
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        for table in workload.tables().iter().filter(|table| table.shape.has_primary_key()) {
            let lines = assert_history_in_clickhouse(&sandbox.server, DATABASE, &table.name, sandbox.clickhouse()).await;
            assert!(lines > 200, "{} has {lines} lines", table.name);
        }
        // Without a key the snapshot's rows cannot be told from the stream's: the lines are counted.
        for table in workload.tables().iter().filter(|table| !table.shape.has_primary_key()) {
            assert!(number(&sandbox, &format!("SELECT count() FROM replica.{} FINAL", table.name)).await > 200);
        }
    }
}
