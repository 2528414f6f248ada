//! A transaction that is in the binlog and not yet visible: no read of the source sees it, and the copy has it all the same.
//!
//! A semi-synchronous source writes a transaction to its binlog, and sends it, and shows it in the engine only when a replica has
//! confirmed it, or after the timeout. The daemon confirms nothing, so the timeout is how long the transaction is held.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

/// How the servers call the variables.
fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::MySql => "rpl_semi_sync_source",
        Kind::MariaDb => "rpl_semi_sync_master",
    }
}

/// A server that can hold transactions, with a table of the rows 1 and 2.
async fn sandbox_with(options: ServerOptions, kind: Kind) -> Sandbox {
    let prefix = prefix(kind);
    let options = match kind {
        Kind::MySql => options.argument("--plugin-load-add=semisync_source.so"),
        Kind::MariaDb => options,
    };
    let options = options.argument(&format!("--{prefix}_enabled=ON")).argument(&format!("--{prefix}_timeout=1"));
    let sandbox = Sandbox::on(options.argument(&format!("--{prefix}_wait_point=AFTER_SYNC")).start().await).await;
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)"))
        .await;
    sandbox
}

/// Inserts the row 1000, which for four seconds is in the binlog and not visible.
async fn hold(sandbox: &Sandbox, kind: Kind) -> JoinHandle<()> {
    let prefix = prefix(kind);
    // A timeout turns the waiting off until a replica comes; this turns it on again.
    sandbox
        .server
        .exec(format!(
            "SET GLOBAL {prefix}_timeout = 4000; SET GLOBAL {prefix}_enabled = OFF; SET GLOBAL {prefix}_enabled = ON"
        ))
        .await;
    let before = sandbox.server.position().await;
    let mut writer = sandbox.server.connect().await;
    let held = tokio::spawn(async move {
        writer.query_drop(format!("INSERT INTO {DATABASE}.t VALUES (1000)")).await.unwrap();
    });
    let deadline = Instant::now() + Duration::from_secs(3);
    while sandbox.server.position().await == before {
        assert!(Instant::now() < deadline, "the transaction is not in the binlog");
    }
    assert_is_held(sandbox).await;
    held
}

async fn assert_is_held(sandbox: &Sandbox) {
    let seen: u32 = sandbox.server.query_one(format!("SELECT MAX(id) FROM {DATABASE}.t")).await;
    assert_eq!(seen, 2, "the transaction is in the binlog and not visible");
}

async fn held_at_the_start(options: ServerOptions, kind: Kind) {
    let sandbox = sandbox_with(options, kind).await;
    let held = hold(&sandbox, kind).await;

    sandbox.run_once();
    held.await.unwrap();

    assert_eq!(sandbox.assert_mirrored().await.rows, 3);
}

async fn held_when_a_table_is_read_again(options: ServerOptions, kind: Kind) {
    let sandbox = sandbox_with(options, kind).await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    let held = hold(&sandbox, kind).await;
    // The stream has told of the row before any read can.
    sandbox.caught_up(&mut daemon).await;
    let arguments = ["backfill", "--database", DATABASE, "--table", "t", "--replace"];
    let output = sandbox.run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_is_held(&sandbox).await;
    held.await.unwrap();
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert_eq!(sandbox.assert_mirrored().await.rows, 3);
}

both_servers! {
    async fn a_row_that_is_not_yet_visible_when_the_snapshot_begins_is_not_missed(kind: Kind) {
        held_at_the_start(ServerOptions::new(kind), kind).await;
    }

    async fn a_row_that_is_not_yet_visible_when_a_table_is_replaced_is_not_missed(kind: Kind) {
        held_when_a_table_is_read_again(ServerOptions::new(kind), kind).await;
    }
}

/// There the snapshot stands on positions and locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_not_yet_visible_is_not_missed_without_gtids_on_mysql() {
    let options = ServerOptions::new(Kind::MySql).without_gtid();
    Box::pin(held_at_the_start(options.clone(), Kind::MySql)).await;
    Box::pin(held_when_a_table_is_read_again(options, Kind::MySql)).await;
}
