//! A table is read again in whole: the new copy is built beside the one that readers see, which stays as it was until the new one takes its place.
//! Whatever overtakes the replace, the copy is the table in the end, and nothing of a copy stays.

use std::time::Duration;

use serde_json::{Value, json};

use super::target::{Mode, Target, World};
use crate::support::cells::Cell;
use crate::support::copies::Copied;
use crate::support::daemon::Daemon;
use crate::support::history::assert_history_of;
use crate::support::sandbox::DATABASE;
use crate::support::status::{read_of, reads_nothing, stopped, table_of};

/// A read of so many rows takes some seconds.
const ROWS: u32 = 900;

/// The LSN before which readers see a table of `shop` at the mirror; null if they see it as it is.
fn old_copy<'s>(status: &'s Value, table: &str) -> &'s Value {
    &table_of(status, &format!("{DATABASE}.{table}"))["sinks"]["mirror"]["old_copy_lsn"]
}

/// A daemon that has copied a table `t` and reads slowly from now on.
async fn slow<T: Target>(world: &mut World<T>) -> Daemon {
    world
        .sql(format!(
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), KEY (v));
             INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < {ROWS})
             SELECT id, CONCAT('v', id) FROM n"
        ))
        .await;
    let mut daemon = world.start();
    world.caught_up(&mut daemon).await;
    daemon.stop();
    world.set("/source/snapshot", json!({ "chunk_rows": 50, "parallel": 1, "max_rows_per_second": 300 }));
    let mut daemon = world.start();
    // Only a daemon that answers takes tables.
    world.caught_up(&mut daemon).await;
    daemon
}

/// Asks for a replace of `shop.t`, and waits until readers see an old copy of it while it is read.
async fn begin_replace<T: Target>(world: &World<T>, daemon: &mut Daemon) {
    let output = world.run(&["backfill", "--replace", "--database", DATABASE, "--table", "t"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let is_begun = |status: &Value| !old_copy(status, "t").is_null() && read_of(status, "shop.t")["running"] == true;
    daemon.wait_until("a replace of shop.t has begun", is_begun).await;
}

/// The rows of `shop.t` as readers see them, in order.
async fn seen<T: Target>(world: &World<T>) -> Vec<String> {
    let columns = ["id", "v"].map(str::to_owned);
    let rows: Vec<Vec<Cell>> = world.target.copy(Mode::Mirror).rows("t", &columns).await;
    let mut rows: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

/// Waits until the mirror is the source again, with nothing left of an old copy.
async fn ends_equal<T: Target>(world: &World<T>, mut daemon: Daemon) {
    let status = world.caught_up(&mut daemon).await;
    assert_eq!(stopped(&status), [""; 0], "{status:#}");
    assert!(old_copy(&status, "t").is_null(), "{status:#}");
    daemon.stop();
    world.assert_mirrored().await;
}

every_sink! { mysql_first:
    async fn readers_see_the_old_copy_until_the_new_one_is_whole<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        let mut daemon = slow(&mut world).await;
        let (view, table) = (world.target.named("mine"), world.target.named("t"));
        world.target.exec(&format!("CREATE VIEW {view} AS SELECT max(id) AS most FROM {table}")).await;
        let most = format!("SELECT most FROM {view}");
        let before = seen(&world).await;
        assert_eq!(before.len(), usize::try_from(ROWS).unwrap());

        begin_replace(&world, &mut daemon).await;
        world.sql("UPDATE t SET v = 'changed' WHERE id % 2; DELETE FROM t WHERE id % 5 = 0; INSERT INTO t VALUES (5000, 'new')").await;
        let mut looks = 0;
        let at_once = loop {
            let status = daemon.status().unwrap();
            let (at_view, rows) = (world.target.value(&most).await, seen(&world).await);
            if rows != before {
                break rows;
            }
            assert_eq!(at_view, ROWS.to_string());
            assert!(!old_copy(&status, "t").is_null(), "{status:#}");
            assert_ne!(table_of(&status, "shop.t")["sinks"]["mirror"]["state"], "complete", "{status:#}");
            looks += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(looks > 3, "the replace ended too soon to be seen: {looks}");
        world.caught_up(&mut daemon).await;
        assert_eq!(at_once, seen(&world).await, "nothing was between the old copy and the new one");
        assert_eq!(world.target.value(&most).await, "5000");
        ends_equal(&world, daemon).await;
    }

    async fn a_replace_that_is_overtaken_ends_in_the_table_as_it_is<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        let mut daemon = slow(&mut world).await;
        for overtaken in [
            // A change of the definition, of the key, of the whole content.
            "ALTER TABLE t ADD COLUMN n INT DEFAULT 7, RENAME COLUMN v TO w; INSERT INTO t VALUES (6000, 'n', 8); UPDATE t SET w = 'x' WHERE id < 9",
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, n); UPDATE t SET n = 9 WHERE id = 3",
            "TRUNCATE TABLE t; INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)",
            // Another name and back, another table of the name.
            "RENAME TABLE t TO u; INSERT INTO u VALUES (7000, 'u', 1); RENAME TABLE u TO t; DELETE FROM t WHERE id = 8",
            "DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t VALUES (1, 'again')",
        ] {
            world.sql("REPLACE INTO t (id) WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900) SELECT id FROM n").await;
            world.caught_up(&mut daemon).await;
            begin_replace(&world, &mut daemon).await;
            world.sql(overtaken).await;
            let status = world.caught_up(&mut daemon).await;
            assert!(old_copy(&status, "t").is_null(), "{overtaken}: {status:#}");
            assert_eq!(stopped(&status), [""; 0], "{overtaken}: {status:#}");
            world.assert_mirrored().await;
        }
        world.sql("INSERT INTO t (id) WITH RECURSIVE n AS (SELECT 10 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900) SELECT id FROM n").await;
        world.caught_up(&mut daemon).await;
        // Another replace.
        begin_replace(&world, &mut daemon).await;
        begin_replace(&world, &mut daemon).await;
        daemon.wait_until("nothing is read", reads_nothing).await;
        ends_equal(&world, daemon).await;
    }
}

/// Has every table read again, and waits until none is stopped.
async fn resync<T: Target>(world: &World<T>, daemon: &mut Daemon) {
    let output = world.run(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
    world.caught_up(daemon).await;
}

every_sink! { both_servers:
    async fn a_resync_takes_a_changed_mode_and_keeps_what_no_read_brings_again<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        world.sql("CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'); CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (7)").await;
        world.run_once();
        world.set("/sinks/0/mode", json!("history"));
        let mut daemon = world.start();
        // A read brings all that a mirror has, so it is made without being asked for.
        let is_read = |status: &Value, table: &str, rows: u64| {
            let tables = status["tables"].as_array().unwrap();
            tables.iter().any(|row| row["table"] == format!("{DATABASE}.{table}") && row["read"] == rows)
        };
        daemon.wait_until("both tables are read again", |status| is_read(status, "t", 2 + 2) && is_read(status, "u", 1 + 1)).await;
        world.caught_up(&mut daemon).await;
        world.sql("UPDATE t SET v = 'c' WHERE id = 2; DELETE FROM t WHERE id = 1; INSERT INTO u VALUES (8)").await;
        world.caught_up(&mut daemon).await;
        daemon.stop();
        for (table, lines) in [("t", 4), ("u", 2)] {
            assert_eq!(assert_history_of(&world.target.copy(Mode::Mirror), &world.server, DATABASE, table).await, lines, "{table}");
        }

        world.set("/sinks/0/mode", json!("mirror"));
        let mut daemon = world.start();
        daemon.wait_until("both tables are stopped", |status| stopped(status).len() == 2).await;
        resync(&world, &mut daemon).await;
        world.sql("INSERT INTO t VALUES (3, 'd')").await;
        world.caught_up(&mut daemon).await;
        daemon.stop();
        let kept: Vec<String> = world.target.copy(Mode::Mirror).tables().await.into_iter().filter(|table| table.contains("_until_")).collect();
        assert_eq!(kept.iter().map(|table| table.split_once("_until_").unwrap().0).collect::<Vec<_>>(), ["t", "u"]);
        for table in &kept {
            let named = world.target.named(table);
            let lines = world.target.value(&format!("SELECT count(*) FROM {named}")).await;
            assert_eq!(lines, if table.starts_with("t_") { "4" } else { "2" }, "{table}");
            world.target.exec(&format!("DROP TABLE {named}")).await;
        }
        world.assert_mirrored().await;
    }
}
