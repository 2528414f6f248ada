//! Kill it anywhere: signal 9 to the daemon, and to the target's server where there is one, at random moments of snapshot and stream;
//! then the same content, no gap and no duplicate.
//!
//! `REPLICATOR_KILLS` says how many kills of a target without a server (50 unless it does), and a variable of its own those of
//! another (`REPLICATOR_CLICKHOUSE_KILLS`, 20); `REPLICATOR_KILL_SEED` which moments, `REPLICATOR_ROW_METADATA` which row metadata the
//! servers log.

use std::env;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::target::{Mode, Target, World, keyed_shapes, mirrored_shapes};
use crate::support::cells::source_tables;
use crate::support::daemon::Daemon;
use crate::support::sandbox::DATABASE;
use crate::support::server::{Kind, ServerOptions};
use crate::support::status::stopped;
use crate::support::workload::Workload;

/// How long the daemon may take to catch up after as many kills as there are unless somebody asks for more.
const CATCH_UP: Duration = Duration::from_mins(3);

fn kills<T: Target>() -> u32 {
    let (variable, kills) = T::KILLS;
    env::var(variable).map_or(kills, |text| text.parse().unwrap())
}

fn seeded() -> StdRng {
    let seed = env::var("REPLICATOR_KILL_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("kills: REPLICATOR_KILL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn world<T: Target>(kind: Kind, mode: Mode) -> World<T> {
    let server = ServerOptions::new(kind).start().await;
    let mut world = World::on(server, &[mode]).await;
    world.set("/source/snapshot", json!({ "chunk_rows": 500, "parallel": 2 }));
    world
}

/// What an operator does amid kills.
#[derive(Clone, Copy)]
enum Amid {
    Nothing,
    /// Has tables replaced, and changes one of them meanwhile.
    Replaces,
}

/// What overtakes the replace of a table `once`, or of `twice`, as it is called for a while.
const OVERTAKING: [&str; 6] = [
    "RENAME TABLE once TO twice",
    "ALTER TABLE twice ADD COLUMN n INT DEFAULT 3; UPDATE twice SET n = 4 WHERE id % 3 = 0",
    "RENAME TABLE twice TO once",
    "ALTER TABLE once DROP PRIMARY KEY, ADD PRIMARY KEY (id, m)",
    "TRUNCATE TABLE once; INSERT INTO once (id, m, v) SELECT * FROM more",
    "DROP TABLE once; CREATE TABLE once LIKE more; INSERT INTO once SELECT * FROM more",
];

/// Asks a daemon that answers to replace a table, and sometimes overtakes that.
async fn replace<T: Target>(world: &World<T>, daemon: &Daemon, tables: &[String], round: u32, moments: &mut StdRng) {
    let overtaking = OVERTAKING[usize::try_from(round).unwrap() / 2 % OVERTAKING.len()];
    let name = |index: usize| match tables.get(index) {
        Some(table) => table.as_str(),
        None => {
            if overtaking.contains("TABLE twice") {
                "twice"
            } else {
                "once"
            }
        }
    };
    if daemon.status().is_ok() {
        // It may be about to end a replace of before, and refuse nothing: only one that cannot be asked fails.
        let table = name(moments.random_range(0..=tables.len()));
        world.run(&["backfill", "--replace", "--database", DATABASE, "--table", table]);
    }
    if round % 2 == 1 {
        world.sql(overtaking).await;
    }
}

/// Kills one side or the other at random moments while the workload writes; in the end both are left to catch up.
async fn kill_again_and_again<T: Target>(world: &mut World<T>, workload: &Workload, amid: Amid) {
    let tables: Vec<String> = workload.tables().iter().map(|table| table.name.clone()).collect();
    let sides: &[(bool, bool)] =
        if T::HAS_SERVER { &[(true, false), (false, true), (true, true)] } else { &[(true, false)] };
    let mut moments = seeded();
    let writing = workload.start(&world.server);
    let mut daemon = world.start();
    for round in 0..kills::<T>() {
        // Some kills fall into a start, some into the snapshot, some into a commit or a change of definition.
        tokio::time::sleep(Duration::from_millis(moments.random_range(5..700))).await;
        if let Some(status) = daemon.poll() {
            panic!("round {round}: the daemon ended by itself with {status}\n{}", daemon.log());
        }
        if let Amid::Replaces = amid {
            replace(world, &daemon, &tables, round, &mut moments).await;
            tokio::time::sleep(Duration::from_millis(moments.random_range(0..300))).await;
        }
        let (of_daemon, of_target) = sides[moments.random_range(0..sides.len())];
        if of_target {
            world.target.kill();
        }
        if of_daemon {
            daemon.kill();
        }
        if of_target {
            // Time enough for some tries to find nobody.
            tokio::time::sleep(Duration::from_millis(moments.random_range(0..150))).await;
            world.target.start_again().await;
        }
        if of_daemon {
            daemon = world.start();
        }
    }
    writing.stop().await;
    // The more kills, the more has gathered: what is down half of the time falls behind writers that never stop.
    let limit = CATCH_UP * kills::<T>().div_ceil(T::KILLS.1).max(1);
    let status = world.caught_up_within(limit, &mut daemon).await;
    assert_eq!(stopped(&status), [""; 0], "{status:#}");
    daemon.stop();
}

every_sink! { other_in_drill:
    async fn a_mirror_is_equal_after_kills_at_random_moments<T: Target>(kind: Kind) {
        let mut world = world::<T>(kind, Mode::Mirror).await;
        let workload = Workload::new(DATABASE).with_shapes(&mirrored_shapes::<T>());
        workload.create(&world.server, 3000).await;

        kill_again_and_again(&mut world, &workload, Amid::Nothing).await;

        assert!(world.assert_mirrored().await.rows > 400);
        world.target.assert_sound(&source_tables(&world.server, DATABASE).await).await;
    }

    async fn a_mirror_is_equal_after_kills_amid_changes_of_definitions<T: Target>(kind: Kind) {
        let mut world = world::<T>(kind, Mode::Mirror).await;
        let workload = Workload::new(DATABASE).with_shapes(&mirrored_shapes::<T>()).with_ddl();
        workload.create(&world.server, 3000).await;

        kill_again_and_again(&mut world, &workload, Amid::Nothing).await;

        world.assert_mirrored().await;
    }

    async fn a_mirror_is_equal_after_kills_amid_replaces<T: Target>(kind: Kind) {
        let mut world = world::<T>(kind, Mode::Mirror).await;
        let workload = Workload::new(DATABASE).with_shapes(&mirrored_shapes::<T>());
        workload.create(&world.server, 1000).await;
        world
            .sql(
                "CREATE TABLE more (id INT, m INT NOT NULL, v VARCHAR(9), PRIMARY KEY (id));
                 INSERT INTO more WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900) SELECT id, id % 7, 'v' FROM n;
                 CREATE TABLE once LIKE more; INSERT INTO once SELECT * FROM more",
            )
            .await;

        kill_again_and_again(&mut world, &workload, Amid::Replaces).await;

        world.assert_mirrored().await;
    }

    async fn a_changelog_has_no_gap_and_no_duplicate_after_kills_at_random_moments<T: Target>(kind: Kind) {
        let mut world = world::<T>(kind, Mode::History).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed_shapes());
        workload.create(&world.server, 1000).await;

        kill_again_and_again(&mut world, &workload, Amid::Nothing).await;

        for table in workload.tables() {
            let lines = world.assert_logged(&table.name).await;
            assert!(lines > 500, "{} has {lines} lines", table.name);
        }
    }
}
