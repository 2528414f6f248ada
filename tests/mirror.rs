//! The copy equals the source, whatever happens to the source and to the connection on the way. What is asked of every sink is in
//! `tests/scenarios/`.

use serde_json::json;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::workload::Workload;

both_servers! {
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
}
