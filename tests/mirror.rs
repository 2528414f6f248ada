//! The copy equals the source, whatever happens on the way: the shortest form of what the product promises.

use serde_json::json;

use crate::support::history::assert_history;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::workload::{Shape, Workload};

both_servers! {
    async fn once_copies_what_is_there_then_what_came_after(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 400).await;

        sandbox.run_once();
        let first = sandbox.assert_mirrored().await;
        workload.run(&sandbox.server, 500).await;
        sandbox.run_once();
        let second = sandbox.assert_mirrored().await;

        assert_eq!((first.tables, first.rows), (Shape::ALL.len(), 400 * Shape::ALL.len()));
        assert!(second.rows > 400, "{second:?}");
    }

    async fn writers_during_the_snapshot_and_after_it_are_followed(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE).with_connections(3);
        workload.create(&sandbox.server, 600).await;
        // Chunks small enough for writers to meet the snapshot in the middle of every table.
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 50, "parallel": 2 }));

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        writing.progressed_by(1500).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(sandbox.assert_mirrored().await.rows > 400);
    }

    async fn definitions_that_change_are_followed(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE).with_ddl();
        workload.create(&sandbox.server, 100).await;

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        workload.run(&sandbox.server, 1000).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored().await;
    }

    async fn older_rows_hold_the_default_of_an_added_column(kind: Kind) {
        let added = [
            "INT NULL DEFAULT 7", "INT NOT NULL DEFAULT -7", "INT NOT NULL", "INT NULL", "BIGINT UNSIGNED NULL DEFAULT 18446744073709551615",
            "VARCHAR(20) NULL DEFAULT 'by default'", "VARCHAR(20) NOT NULL", "DECIMAL(8, 2) NULL DEFAULT 1.50",
            "DATETIME(3) NULL DEFAULT '2020-01-02 03:04:05.678'", "ENUM('p', 'q') NOT NULL DEFAULT 'q'", "ENUM('p', 'q') NOT NULL",
            "SET('p', 'q') NULL DEFAULT 'p,q'", "VARBINARY(8) NULL DEFAULT x'00ff'", "BINARY(4) NOT NULL DEFAULT 'a'", "DOUBLE NULL DEFAULT 0.1",
            "FLOAT NULL DEFAULT 0.1", "BIT(9) NULL DEFAULT b'101010101'", "DATE NULL DEFAULT '2024-02-29'", "TIME(2) NULL DEFAULT '-12:34:56.78'",
            "YEAR NULL DEFAULT 2001", "TIMESTAMP NULL DEFAULT '2020-06-07 12:00:00'", "CHAR(3) NULL DEFAULT 'x'", "TEXT NULL",
            "BOOLEAN NOT NULL DEFAULT TRUE",
        ];
        let sandbox = Sandbox::new(kind).await;
        for number in 0..added.len() {
            sandbox.server.exec(format!(
                "USE {DATABASE}; CREATE TABLE keyed_{number} (id INT PRIMARY KEY); CREATE TABLE loose_{number} (id INT);
                 INSERT INTO keyed_{number} VALUES (1), (2); INSERT INTO loose_{number} VALUES (1), (1), (2)"
            )).await;
        }
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for (number, definition) in added.iter().enumerate() {
            for table in ["keyed", "loose"] {
                sandbox.server.exec(format!("ALTER TABLE {DATABASE}.{table}_{number} ADD COLUMN added {definition}")).await;
            }
        }
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored().await.rows, 5 * added.len());
    }

    async fn a_killed_daemon_goes_on_where_its_log_ends(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
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

        assert!(sandbox.assert_mirrored().await.rows > 400);
    }

    async fn a_restarted_server_and_cut_connections_leave_no_trace(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 100).await;
        let proxy = sandbox.behind_proxy().await;

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        for bytes in [10, 5_000, 70_000] {
            writing.progressed_by(100).await;
            proxy.cut_after(bytes);
        }
        writing.progressed_by(100).await;
        sandbox.server.restart().await;
        sandbox.server.exec("FLUSH BINARY LOGS").await;
        writing.progressed_by(100).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(proxy.cuts() > 0);
        assert!(sandbox.assert_mirrored().await.rows > 100);
    }

    async fn a_changelog_has_no_gap_and_no_duplicate(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let keyed = [Shape::Integer, Shape::Unsigned, Shape::Composite, Shape::Text, Shape::Binary];
        let workload = Workload::new(DATABASE).with_shapes(&keyed);
        workload.create(&sandbox.server, 200).await;
        sandbox.set("/sinks/0/mode", json!("history"));

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        for _ in 0..2 {
            writing.progressed_by(200).await;
            daemon.kill();
            daemon = sandbox.start();
        }
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        for table in workload.tables() {
            let entries = assert_history(&sandbox.server, DATABASE, &table.name, &sandbox.sqlite()).await;
            assert!(entries > 200, "{} has {entries} entries", table.name);
        }
    }
}
