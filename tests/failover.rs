//! The source dies and a replica of it takes its place: the daemon goes on there by GTID, and nothing is missing or twice.

use serde_json::json;

use crate::support::history::assert_history;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, PASSWORD, Server, ServerOptions, USER};
use crate::support::workload::{Shape, Workload};

/// A server that replicates another from its beginning, and logs what it replicates.
pub async fn replica_of(source: &Server, kind: Kind) -> Server {
    let options = ServerOptions::new(kind).argument("--server-id=2").argument("--log-slave-updates");
    let replica = options.start().await;
    let port = source.port();
    replica
        .exec(match kind {
            Kind::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = '{USER}',
                 SOURCE_PASSWORD = '{PASSWORD}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA"
            ),
            Kind::MariaDb => format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{USER}',
                 MASTER_PASSWORD = '{PASSWORD}', MASTER_USE_GTID = slave_pos; START SLAVE"
            ),
        })
        .await;
    replica
}

/// Waits until the replica has all of the source's transactions, and makes it a source of its own.
pub async fn promote(replica: &Server, source: &Server) {
    let all = source.gtid().await;
    let (wait, stop) = match source.kind() {
        Kind::MySql => (format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{all}', 60)"), "STOP REPLICA; RESET REPLICA ALL"),
        Kind::MariaDb => (format!("SELECT MASTER_GTID_WAIT('{all}', 60)"), "STOP SLAVE; RESET SLAVE ALL"),
    };
    assert_eq!(replica.query_one::<i64>(wait).await, 0, "the replica has not come to {all}");
    replica.exec(stop).await;
}

/// Puts the replica in the place of the source, which dies. The daemon is behind at that moment.
async fn fail_over(sandbox: &mut Sandbox, mut replica: Server) {
    promote(&replica, &sandbox.server).await;
    sandbox.server.kill();
    std::mem::swap(&mut sandbox.server, &mut replica);
    sandbox.set("/source/url", json!(sandbox.server.url()));
}

both_servers! {
    async fn a_mirror_goes_on_at_the_replica_that_takes_over(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let replica = replica_of(&sandbox.server, kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 300).await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 200).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        // Definitions change too, and are read at the replica alone.
        Workload::new(DATABASE).with_ddl().run(&sandbox.server, 200).await;
        fail_over(&mut sandbox, replica).await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 200).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored().await;
    }

    async fn a_running_daemon_goes_on_when_its_address_moves_to_the_replica(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let replica = replica_of(&sandbox.server, kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 300).await;
        let proxy = sandbox.behind_proxy().await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 200).await;

        let address = sandbox.config()["source"]["url"].clone();
        let target = replica.port();
        fail_over(&mut sandbox, replica).await;
        sandbox.set("/source/url", address);
        proxy.move_to(target);
        workload.run(&sandbox.server, 200).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(status["source"]["reconnects"].as_u64().unwrap() > 0, "{status:#}");
        sandbox.assert_mirrored().await;
    }

    async fn a_changelog_has_every_change_once_across_a_failover(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/sinks/0/mode", json!("history"));
        let replica = replica_of(&sandbox.server, kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]);
        workload.create(&sandbox.server, 300).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let writing = workload.start(&sandbox.server);
        writing.progressed_by(100).await;
        // In the middle of the stream.
        daemon.kill();
        writing.stop().await;

        fail_over(&mut sandbox, replica).await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 100).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        for table in workload.tables() {
            assert_history(&sandbox.server, DATABASE, &table.name, &sandbox.sqlite()).await;
        }
    }
}
