//! MariaDB without `gtid_strict_mode`: a domain may go back in its sequence, and that is no reset of its binlogs.

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

/// Writes a row under this GTID of domain 0.
async fn write(sandbox: &Sandbox, server: u32, sequence: u32) {
    sandbox
        .server
        .exec(format!(
            "SET SESSION server_id = {server}; SET SESSION gtid_seq_no = {sequence};
             INSERT INTO {DATABASE}.t (server, sequence) VALUES ({server}, {sequence})"
        ))
        .await;
    assert_eq!(sandbox.server.gtid().await, format!("0-{server}-{sequence}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_goes_back_is_no_reset_on_mariadb() {
    let server = ServerOptions::new(Kind::MariaDb).argument("--gtid-strict-mode=OFF").start().await;
    let sandbox = Sandbox::on(server).await;
    sandbox
        .server
        .exec(format!(
            "CREATE TABLE {DATABASE}.t (id INT AUTO_INCREMENT PRIMARY KEY, server INT NOT NULL, sequence INT NOT NULL)"
        ))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    // While the stream runs: another server, and then the first one again.
    for (server, sequence) in [(1, 1000), (2, 500), (1, 1001), (2, 501), (1, 2000)] {
        write(&sandbox, server, sequence).await;
        sandbox.caught_up(&mut daemon).await;
    }
    // Between two runs: after 0-1-2000 comes 0-2-600; after 0-2-600, 0-3-7; and after 0-3-7, 0-3-5, which no server should write.
    for (server, sequence) in [(2, 600), (3, 7), (3, 5)] {
        daemon.stop();
        write(&sandbox, server, sequence).await;
        daemon = sandbox.start();
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(status["source"]["error"], serde_json::Value::Null);
    }
    daemon.stop();
    assert_eq!(sandbox.assert_mirrored().await.rows, 8);
}
