//! The target is gone and comes back, dies in a commit, or refuses one table: nothing is lost, nothing comes twice, and what is wrong
//! with one table is that table's alone.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::Value;

use super::target::{Mode, Target, World, mirrored_shapes};
use crate::support::cells::Cell;
use crate::support::copies::Copied;
use crate::support::daemon::{Daemon, LIMIT};
use crate::support::sandbox::DATABASE;
use crate::support::status::{error_with, stop_of, stopped};
use crate::support::workload::{Shape, Workload, Writing};

const BAD: &str = "shop.bad";

/// How often the target dies in a commit.
const DEATHS: u32 = 6;

/// One transaction over three tables, which gives each of them rows of its own and changes them.
async fn commit<T: Target>(world: &World<T>, number: u32) {
    let first = number * 1_000;
    let rows: Vec<String> = (first..first + 1_000).map(|id| format!("({id}, REPEAT('x', 200))")).collect();
    let rows = rows.join(", ");
    world
        .sql(format!(
            "BEGIN; INSERT INTO a VALUES {rows}; INSERT INTO b VALUES {rows}; INSERT INTO loose SELECT id % 7, v FROM a WHERE id >= {first};
             UPDATE a SET v = 'y' WHERE id % 2; UPDATE b SET v = 'y' WHERE id >= {first}; DELETE FROM a WHERE id % 3 = 0;
             DELETE FROM loose WHERE v <> 'y' AND n = 3 LIMIT 50; COMMIT"
        ))
        .await;
}

/// A running daemon that mirrors busy tables, and one that is about to go bad.
struct Scene<T> {
    world: World<T>,
    daemon: Daemon,
    writing: Writing,
}

impl<T: Target> Scene<T> {
    async fn set(kind: crate::support::server::Kind) -> Self {
        let world = World::<T>::mirror(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]);
        workload.create(&world.server, 200).await;
        world.sql("CREATE TABLE bad (id INT PRIMARY KEY, v TEXT); INSERT INTO bad VALUES (1, 'a'), (2, 'b')").await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;
        world.assert_mirrored().await;
        let writing = workload.start(&world.server);
        writing.progressed_by(100).await;
        Self { world, daemon, writing }
    }

    /// Waits until the bad table alone is stopped, lets the writers go on, and asserts that the others have everything. The stop outlives a
    /// restart. Gives its reason.
    async fn others_go_on(mut self) -> (World<T>, Daemon, String) {
        stop_of(&mut self.daemon, BAD).await;
        self.writing.progressed_by(100).await;
        self.writing.stop().await;
        let status = self.world.caught_up(&mut self.daemon).await;
        assert_eq!(stopped(&status), [BAD]);
        assert!(self.world.assert_mirrored_but(&["bad"]).await.rows > 100);
        self.daemon.stop();
        let mut daemon = self.world.start();
        let reason = stop_of(&mut daemon, BAD).await;
        (self.world, daemon, reason)
    }
}

/// A read of the whole table ends its stop.
async fn is_ended_by_a_backfill<T: Target>(world: &World<T>, mut daemon: Daemon) {
    let output = world.run(&["backfill", "--replace", "--table", &format!("{DATABASE}.bad")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
    world.sql("INSERT INTO bad (id) VALUES (1000)").await;
    world.caught_up(&mut daemon).await;
    daemon.stop();
    world.assert_mirrored().await;
}

every_sink! { mysql_first:
    async fn a_target_that_is_gone_is_waited_for<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&mirrored_shapes::<T>());
        workload.create(&world.server, 100).await;
        // Gone before it was ever met, and gone amid writers.
        world.target.go_away().await;
        let mut daemon = world.start();
        error_with(&mut daemon, &world.target.away_error()).await;
        workload.run(&world.server, 100).await;
        world.target.come_back().await;
        world.caught_up(&mut daemon).await;
        world.assert_mirrored().await;

        let writing = workload.start(&world.server);
        writing.progressed_by(50).await;
        world.target.go_away().await;
        error_with(&mut daemon, &world.target.away_error()).await;
        writing.progressed_by(100).await;
        world.target.come_back().await;
        writing.progressed_by(50).await;
        writing.stop().await;
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        world.assert_mirrored().await;
    }

    async fn a_table_dropped_by_hand_is_stopped_until_a_backfill<T: Target>(kind: Kind) {
        let scene = Scene::<T>::set(kind).await;

        scene.world.target.exec(&format!("DROP TABLE {}", scene.world.target.named("bad"))).await;
        scene.world.sql("INSERT INTO bad VALUES (3, 'c')").await;

        let (world, daemon, reason) = scene.others_go_on().await;
        assert!(reason.contains("bad") && reason.contains("backfill"), "{reason}");
        is_ended_by_a_backfill(&world, daemon).await;
    }
}

every_sink! { mariadb_first:
    async fn a_column_dropped_by_hand_stops_its_table<T: Target>(kind: Kind) {
        let scene = Scene::<T>::set(kind).await;

        scene.world.target.exec(&format!("ALTER TABLE {} DROP COLUMN v", scene.world.target.named("bad"))).await;
        scene.world.sql("INSERT INTO bad VALUES (3, 'c')").await;

        let (world, daemon, reason) = scene.others_go_on().await;
        assert!(reason.contains("bad") && reason.contains('v'), "{reason}");
        let mut ids = world.target.copy(Mode::Mirror).rows("bad", &["id".to_owned()]).await;
        ids.sort();
        assert_eq!(ids, [[Cell::Integer(1)], [Cell::Integer(2)]], "nothing of what came after it");
        world.target.exec(&format!("DROP TABLE {}", world.target.named("bad"))).await;
        is_ended_by_a_backfill(&world, daemon).await;
    }

    /// A target without a server dies with the daemon.
    async fn a_target_that_dies_in_a_commit_has_each_transaction_once<T: Target>(kind: Kind) {
        let mut world = World::<T>::both(kind).await;
        // A row that is stored twice shows in the table without a key.
        world.sql("CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(300)); CREATE TABLE b LIKE a; CREATE TABLE loose (n INT, v VARCHAR(300))").await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;
        // How long a commit takes here, from the log to the last sink.
        commit(&world, 0).await;
        world.logged_within(LIMIT, &mut daemon).await;
        let begun = Instant::now();
        world.caught_up(&mut daemon).await;
        let longest = u64::try_from(begun.elapsed().as_millis()).unwrap();

        let (mut moments, mut tries, mut in_a_commit) = (rand::rng(), 0, 0);
        while in_a_commit < DEATHS {
            assert!(tries < 10 * DEATHS, "only {in_a_commit} of {tries} deaths fell before the end of a commit");
            tries += 1;
            commit(&world, tries).await;
            world.logged_within(LIMIT, &mut daemon).await;
            tokio::time::sleep(Duration::from_millis(moments.random_range(0..=longest))).await;
            if T::HAS_SERVER {
                world.target.kill();
            } else {
                daemon.kill();
            }
            let status: Value = serde_json::from_slice(&world.run(&["status", "--json"]).stdout).unwrap();
            let durable = status["wal"]["durable_lsn"].as_u64().unwrap();
            let behind = |sink: &Value| sink["applied_lsn"].as_u64().unwrap() < durable;
            in_a_commit += u32::from(status["sinks"].as_array().unwrap().iter().any(behind));
            if T::HAS_SERVER {
                world.target.start_again().await;
            } else {
                daemon = world.start();
            }
        }
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        let (expected, left_out): (&[&str], &[&str]) = if T::HOLDS_KEYLESS { (&[], &[]) } else { (&["shop.loose"], &["loose"]) };
        assert_eq!(stopped(&status), expected, "{status:#}");
        assert!(world.assert_mirrored_but(left_out).await.rows > 3_000);
        for table in ["a", "b", "loose"] {
            assert!(world.assert_logged(table).await > 3_000, "{table}");
        }
    }
}
