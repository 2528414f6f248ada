//! The copy equals the source, whatever happens on the way: the shortest form of what the product promises.

use serde_json::json;

use crate::support::history::assert_history;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
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
