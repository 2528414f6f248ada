//! What ends the daemon, or its connection, while it asks about a table: what was read before that comes once, and what
//! was open comes once.

use super::run;
use crate::support::locks::{self, Locks};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

/// What is in the stream when the daemon comes to a table that is locked. `#` is the number of the round.
const BEFORE_A_LOCK: [&str; 4] = [
    "ALTER TABLE locked ADD COLUMN added_# INT NOT NULL DEFAULT 5",
    "RENAME TABLE locked TO moved; RENAME TABLE moved TO locked; ALTER TABLE locked MODIFY v VARCHAR(1#0)",
    "DROP TABLE locked; CREATE TABLE locked (id INT PRIMARY KEY, v VARCHAR(20), made_# INT)",
    // Its unique key is told nowhere but in the catalogue. The question about it comes inside a transaction.
    "DROP TABLE locked; CREATE TABLE locked LIKE other.template;
     BEGIN; INSERT INTO k VALUES (#); INSERT INTO locked VALUES ('0123456789#'); INSERT INTO k VALUES (#); COMMIT",
];

/// How the daemon's wait ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Stop,
    Kill,
    CutConnections,
    CutThenStop,
}

both_servers! {
    async fn what_ends_the_daemon_while_a_table_is_locked_doubles_no_row(kind: Kind) {
        let options = match kind {
            Kind::MySql => ServerOptions::new(kind).argument("--binlog-transaction-compression=ON"),
            Kind::MariaDb => ServerOptions::new(kind).argument("--log-bin-compress=1").argument("--log-bin-compress-min-len=10"),
        };
        let mut sandbox = Sandbox::on(options.start().await).await;
        sandbox.with_changelog();
        let proxy = sandbox.behind_proxy().await;
        run(
            &sandbox,
            "CREATE DATABASE other; CREATE TABLE other.template (c VARCHAR(40) NOT NULL, UNIQUE (c(10)));
             CREATE TABLE k (v INT); INSERT INTO k VALUES (0); CREATE TABLE locked (id INT PRIMARY KEY, v VARCHAR(20))",
        )
        .await;
        sandbox.run_once();

        let (mut round, mut rows) = (0, sandbox.assert_logged("k").await);
        for change in BEFORE_A_LOCK {
            for ending in [Ending::Stop, Ending::Kill, Ending::CutConnections, Ending::CutThenStop] {
                round += 1;
                eprintln!("{kind}, round {round}: {ending:?} after {change}");
                for _ in 0..6 {
                    run(&sandbox, format!("INSERT INTO k VALUES ({round})")).await;
                }
                run(&sandbox, change.replace('#', &round.to_string())).await;
                rows += if change.contains("INTO k") { 8 } else { 6 };
                let locks = Locks::write(&sandbox.server, DATABASE, &["locked"]).await;
                let mut daemon = sandbox.start();
                sandbox.asking(&mut daemon).await;
                match ending {
                    Ending::Stop => daemon.stop(),
                    Ending::Kill => daemon.kill(),
                    Ending::CutConnections => proxy.cut(),
                    Ending::CutThenStop => {
                        proxy.cut();
                        locks::end_waiting(&sandbox.server).await;
                        sandbox.asking(&mut daemon).await;
                        daemon.stop();
                    }
                }
                locks.release().await;
                if daemon.poll().is_some() {
                    daemon = sandbox.start();
                }
                run(&sandbox, format!("INSERT INTO k VALUES ({round}); INSERT INTO k VALUES ({round})")).await;
                rows += 2;
                sandbox.caught_up(&mut daemon).await;
                daemon.stop();

                sandbox.assert_mirrored().await;
                assert_eq!(sandbox.assert_logged("k").await, rows, "entries in the changelog of k");
            }
        }
    }
}
