//! Kill it anywhere: signal 9 at random moments of snapshot and stream, then the same content, no gap and no duplicate.
//!
//! `REPLICATOR_KILLS` says how many kills (50 unless it does), `REPLICATOR_KILL_SEED` which moments,
//! `REPLICATOR_ROW_METADATA` which row metadata the servers log.

use std::env;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::support::history::assert_history;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions};
use crate::support::workload::{Shape, Workload};

const KILLS: u32 = 50;

fn kills() -> u32 {
    env::var("REPLICATOR_KILLS").map_or(KILLS, |text| text.parse().unwrap())
}

fn seeded() -> StdRng {
    let seed = env::var("REPLICATOR_KILL_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("kills: REPLICATOR_KILL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn server(kind: Kind) -> Server {
    ServerOptions::new(kind).with_row_metadata_of_environment().start().await
}

/// Starts and kills the daemon at random moments while the workload writes; the last one is left to catch up.
async fn kill_again_and_again(sandbox: &Sandbox, workload: &Workload) {
    let mut moments = seeded();
    let writing = workload.start(&sandbox.server);
    for round in 0..kills() {
        let mut daemon = sandbox.start();
        // Some die while they start, some inside the snapshot, some in the stream.
        let life = Duration::from_millis(moments.random_range(5..700));
        tokio::time::sleep(life).await;
        if let Some(status) = daemon.poll() {
            panic!("round {round}: the daemon ended by itself with {status}\n{}", daemon.log());
        }
        daemon.kill();
    }
    writing.stop().await;
    let mut daemon = sandbox.start();
    // The more kills, the more has gathered: a daemon that starts again and again falls behind writers that never stop.
    sandbox.caught_up_within(Duration::from_secs(3) * kills().max(KILLS), &mut daemon).await;
}

both_servers! {
    async fn a_mirror_is_equal_after_kills_at_random_moments(kind: Kind) {
        let mut sandbox = Sandbox::on(server(kind).await).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 500, "parallel": 2 }));
        let workload = Workload::new(DATABASE).with_ddl();
        workload.create(&sandbox.server, 3000).await;

        kill_again_and_again(&sandbox, &workload).await;

        sandbox.assert_mirrored().await;
    }

    async fn a_history_has_no_gap_and_no_duplicate_after_kills_at_random_moments(kind: Kind) {
        let mut sandbox = Sandbox::on(server(kind).await).await;
        sandbox.set("/sinks/0/mode", json!("history"));
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 500, "parallel": 2 }));
        let keyed: Vec<Shape> = Shape::ALL.iter().copied().filter(|shape| shape.has_primary_key()).collect();
        let workload = Workload::new(DATABASE).with_shapes(&keyed);
        workload.create(&sandbox.server, 1000).await;

        kill_again_and_again(&sandbox, &workload).await;

        let mut changes = 0;
        for table in crate::support::cells::source_tables(&sandbox.server, DATABASE).await {
            changes += assert_history(&sandbox.server, DATABASE, &table, &sandbox.sqlite()).await;
        }
        assert!(changes > 1000);
    }
}
