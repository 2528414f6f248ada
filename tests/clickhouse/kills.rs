//! Kill it anywhere: signal 9 to the daemon and to ClickHouse at random moments, then the same content.
//!
//! `REPLICATOR_CLICKHOUSE_KILLS` says how many kills (20 unless it does), `REPLICATOR_KILL_SEED` which moments,
//! `REPLICATOR_ROW_METADATA` which row metadata the servers log.

use std::env;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::watch::{keyed, number, stopped};
use crate::support::clickhouse::ClickHouse;
use crate::support::history::assert_history_in_clickhouse;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};
use crate::support::workload::{Shape, Workload};

const KILLS: u32 = 20;

fn kills() -> u32 {
    env::var("REPLICATOR_CLICKHOUSE_KILLS").map_or(KILLS, |text| text.parse().unwrap())
}

fn seeded() -> StdRng {
    let seed = env::var("REPLICATOR_KILL_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("kills: REPLICATOR_KILL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn sandbox(kind: Kind) -> Sandbox {
    let server = ServerOptions::new(kind).with_row_metadata_of_environment().start().await;
    Sandbox::with_clickhouse_on(server, ClickHouse::start().await).await
}

/// Kills one side or the other at random moments while the workload writes; in the end both are left to catch up.
async fn kill_again_and_again(sandbox: &mut Sandbox, workload: &Workload) {
    let mut moments = seeded();
    let writing = workload.start(&sandbox.server);
    let mut daemon = sandbox.start();
    for round in 0..kills() {
        // Some kills fall into a start, some into the snapshot, some into an insert or a change of definition.
        tokio::time::sleep(Duration::from_millis(moments.random_range(5..700))).await;
        if let Some(status) = daemon.poll() {
            panic!("round {round}: the daemon ended by itself with {status}\n{}", daemon.log());
        }
        let (of_daemon, of_target) = [(true, false), (false, true), (true, true)][moments.random_range(0..3)];
        if of_target {
            sandbox.clickhouse_mut().kill();
        }
        if of_daemon {
            daemon.kill();
        }
        if of_target {
            // Time enough for some tries to find nobody.
            tokio::time::sleep(Duration::from_millis(moments.random_range(0..150))).await;
            sandbox.clickhouse_mut().start_again().await;
        }
        if of_daemon {
            daemon = sandbox.start();
        }
    }
    writing.stop().await;
    // The more kills, the more has gathered: a target that is down half of the time falls behind a writer that never is.
    let status = sandbox.caught_up_within(Duration::from_secs(9) * kills().max(KILLS), &mut daemon).await;
    assert_eq!(stopped(&status), [""; 0], "{status:#}");
    daemon.stop();
}

both_servers! {
    async fn a_mirror_is_equal_after_kills_of_both_sides(kind: Kind) {
        let mut sandbox = sandbox(kind).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 500, "parallel": 2 }));
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 3000).await;

        kill_again_and_again(&mut sandbox, &workload).await;

        assert!(sandbox.assert_mirrored_to_clickhouse().await.rows > 400);
        // However often it was opened, and whatever was under way then.
        assert_eq!(number(&sandbox, "SELECT max(epoch) FROM replica._replicator_cursors").await, 1);
        for table in workload.tables() {
            let sql = format!("SELECT count() FROM replica.{} WHERE bitShiftRight(_version, 56) != 1", table.name);
            assert_eq!(number(&sandbox, &sql).await, 0, "{}", table.name);
        }
    }

    async fn a_mirror_is_equal_after_kills_amid_changes_of_definitions(kind: Kind) {
        let mut sandbox = sandbox(kind).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 500, "parallel": 2 }));
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Composite, Shape::Text]).with_ddl();
        workload.create(&sandbox.server, 500).await;

        kill_again_and_again(&mut sandbox, &workload).await;

        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_changelog_has_no_gap_and_no_duplicate_after_kills_of_both_sides(kind: Kind) {
        let mut sandbox = sandbox(kind).await;
        sandbox.set("/sinks/0/mode", json!("history"));
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 500, "parallel": 2 }));
        let shapes: Vec<Shape> = Shape::ALL.iter().copied().filter(|shape| shape.has_primary_key()).collect();
        let workload = Workload::new(DATABASE).with_shapes(&shapes);
        workload.create(&sandbox.server, 1000).await;

        kill_again_and_again(&mut sandbox, &workload).await;

        for table in workload.tables() {
            let lines = assert_history_in_clickhouse(&sandbox.server, DATABASE, &table.name, sandbox.clickhouse()).await;
            assert!(lines > 500, "{} has {lines} lines", table.name);
        }
    }
}
