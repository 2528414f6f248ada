//! The copy equals the source, whatever happens on the way: the shortest form of what the product promises.

use serde_json::json;

use crate::support::compare::{View, assert_mirrored_as};
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

    /// A server sends a dump by GTIDs no start times, which otherwise tell that it went down.
    async fn a_dump_by_gtids_goes_on_over_files_that_end_because_the_server_was_stopped(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let gtid = sandbox.server.gtid().await;
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY); INSERT INTO {DATABASE}.t VALUES (1)")).await;
        sandbox.server.restart().await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2)")).await;
        sandbox.set("/source/startup_mode", json!("specific")).set("/source/specific", json!({ "gtid": gtid }));
        sandbox.run_once();

        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }

    /// MySQL's first file after a crash says no more in a dump by GTIDs than the first one after a reset, but for the GTIDs before it.
    async fn a_dump_by_gtids_goes_on_over_files_that_end_in_a_crash_of_the_server(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let gtid = sandbox.server.gtid().await;
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY)")).await;
        for row in 1..4 {
            sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES ({row})")).await;
            sandbox.server.kill();
            sandbox.server.start_again().await;
        }
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (4)")).await;
        sandbox.set("/source/startup_mode", json!("specific")).set("/source/specific", json!({ "gtid": gtid }));
        sandbox.run_once();

        assert_eq!(sandbox.assert_mirrored().await.rows, 4);
    }

    async fn soft_deletion_and_renamed_and_left_out_columns_hold_every_value(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/sinks/0/soft_delete_column", json!("gone"));
        let shape = json!({ "database": DATABASE, "table": "shaped", "rename": { "id": "key", "v": "value" }, "drop": ["secret"] });
        let mut soft = shape.clone();
        soft["table"] = json!("soft");
        soft["deletion"] = json!("soft");
        sandbox.set("/tables", json!([shape, soft]));
        for table in ["shaped", "soft", "plain"] {
            sandbox.server.exec(format!(
                "USE {DATABASE}; CREATE TABLE {table} (id INT PRIMARY KEY, secret TEXT, v VARCHAR(20), n DECIMAL(9, 2));
                 INSERT INTO {table} VALUES (1, 's', 'one', 1.5), (2, 's', 'two', NULL), (3, NULL, NULL, -3), (4, 's', 'four', 4)"
            )).await;
        }
        sandbox.run_once();
        for table in ["shaped", "soft", "plain"] {
            sandbox.server.exec(format!(
                "USE {DATABASE}; DELETE FROM {table} WHERE id IN (1, 2); UPDATE {table} SET v = 'third', secret = 't' WHERE id = 3;
                 INSERT INTO {table} VALUES (2, 's', 'again', 22); UPDATE {table} SET id = 40 WHERE id = 4;
                 ALTER TABLE {table} ADD w INT NOT NULL DEFAULT 7; INSERT INTO {table} VALUES (5, 's', 'five', 5, 55)"
            )).await;
        }
        sandbox.run_once();

        let of = |table: &str, from: &str, to: &str| (table.to_owned(), from.to_owned(), to.to_owned());
        let view = View {
            renamed: ["shaped", "soft"].iter().flat_map(|table| [of(table, "id", "key"), of(table, "v", "value")]).collect(),
            dropped: ["shaped", "soft"].map(|table| (table.to_owned(), "secret".to_owned())).to_vec(),
            soft_deleted: vec![("soft".to_owned(), "gone".to_owned())],
            ..View::default()
        };
        let compared = assert_mirrored_as(&view, &sandbox.server, DATABASE, &sandbox.sqlite()).await;
        assert_eq!((compared.tables, compared.rows), (3, 12));
        let copy = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
        let mut rows = copy.prepare("SELECT key, value, gone FROM soft ORDER BY key").unwrap();
        let rows: Vec<(i64, Option<String>, i64)> =
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect();
        let row = |key, value: &str, gone| (key, Some(value.to_owned()), gone);
        let expected =
            [row(1, "one", 1), row(2, "again", 0), row(3, "third", 0), row(4, "four", 1), row(5, "five", 0), row(40, "four", 0)];
        assert_eq!(rows, expected);
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
