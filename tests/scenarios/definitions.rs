//! Definitions change: while the daemon runs, and while nobody reads, when the server shows only the last state and the statements show
//! the way.

use serde_json::json;

use super::target::{Mode, Target, World, mirrored_shapes};
use crate::support::cells::Cell;
use crate::support::copies::Copied;
use crate::support::sandbox::DATABASE;
use crate::support::status::{stop_of, stopped};
use crate::support::workload::Workload;

/// One table per kind of change, as `ddl` names it, what is done to it, and what is written to it afterwards.
const CHANGES: [(&str, &str, &str); 6] = [
    ("add", "ALTER TABLE t_add ADD COLUMN w INT DEFAULT 5", "INSERT INTO t_add VALUES (3, 30, 6)"),
    ("drop", "ALTER TABLE t_drop DROP COLUMN v", "INSERT INTO t_drop VALUES (3)"),
    ("rename", "ALTER TABLE t_rename CHANGE v w INT", "INSERT INTO t_rename VALUES (3, 30)"),
    // To a type that no sink keeps in the same way.
    ("retype", "ALTER TABLE t_retype MODIFY v VARCHAR(20)", "INSERT INTO t_retype VALUES (3, 'thirty')"),
    ("truncate", "TRUNCATE TABLE t_truncate", "INSERT INTO t_truncate VALUES (3, 30)"),
    ("drop_table", "DROP TABLE t_drop_table", "SELECT 1"),
];

async fn scene<T: Target>(world: &World<T>) {
    for (change, _, _) in CHANGES {
        world
            .sql(format!(
                "CREATE TABLE t_{change} (id INT PRIMARY KEY, v INT); INSERT INTO t_{change} VALUES (1, 10), (2, 20)"
            ))
            .await;
    }
}

every_sink! { mysql_first:
    async fn random_changes_under_writers_are_followed<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        let workload = Workload::new(DATABASE).with_ddl().with_shapes(&mirrored_shapes::<T>());
        workload.create(&world.server, 100).await;

        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;
        workload.run(&world.server, 1000).await;
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        world.assert_mirrored().await;
    }

    async fn changes_made_while_nobody_was_reading_are_followed_in_their_order<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        scene(&world).await;
        world.run_once();

        for (_, change, rows) in CHANGES {
            world.sql(format!("{change}; {rows}")).await;
        }
        world.sql(
            "ALTER TABLE t_add DROP COLUMN w, ADD COLUMN w2 VARCHAR(9) NOT NULL DEFAULT 'it''s';
             ALTER TABLE t_rename CHANGE w v BIGINT; ALTER TABLE t_rename ADD w INT DEFAULT 3; RENAME TABLE t_drop TO t_gone"
        ).await;
        world.run_once();

        assert_eq!(world.assert_mirrored().await.tables, CHANGES.len() - 1);
    }
}

every_sink! { mariadb_first:
    async fn altered_truncated_renamed_dropped_and_created_tables_are_followed<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        scene(&world).await;
        for table in ["a", "b", "c", "d"] {
            world.sql(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v TEXT); INSERT INTO {table} VALUES (1, '{table}'), (2, 'x')")).await;
        }
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        let kinds = CHANGES.map(|(_, change, rows)| format!("{change}; {rows}"));
        let more = [
            "ALTER TABLE t_add MODIFY v BIGINT; INSERT INTO t_add VALUES (4, 1099511627776, 7)",
            "TRUNCATE TABLE a; INSERT INTO a VALUES (2, 'again')",
            "RENAME TABLE b TO b2; INSERT INTO b2 VALUES (3, 'after')",
            "DROP TABLE c",
            "CREATE TABLE c (id BIGINT UNSIGNED PRIMARY KEY, w DECIMAL(10, 2)); INSERT INTO c VALUES (18446744073709551615, 1.5)",
            "RENAME TABLE a TO tmp, d TO a, tmp TO d",
            "INSERT INTO a VALUES (7, 'was d'); INSERT INTO d VALUES (8, 'was a'); DELETE FROM a WHERE id = 1",
            "TRUNCATE TABLE a; TRUNCATE TABLE a; INSERT INTO a VALUES (1, 'new')",
            "CREATE TABLE e LIKE a; INSERT INTO e SELECT * FROM a; DROP TABLE a",
            "ALTER TABLE e RENAME TO f, ADD COLUMN w TIME(3) NULL DEFAULT '-01:02:03.5', MODIFY v VARCHAR(10)",
            "INSERT INTO f VALUES (9, 'nine', '838:59:58.999')",
        ];
        for change in kinds.iter().map(String::as_str).chain(more) {
            world.sql(change).await;
            let status = world.caught_up(&mut daemon).await;
            assert_eq!(stopped(&status), [""; 0], "{change}: {status:#}");
            world.assert_mirrored().await;
        }
        daemon.stop();
    }

    async fn a_policy_of_stop_stops_the_table_before_the_change<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        let policy: serde_json::Map<_, _> = CHANGES.iter().map(|(change, _, _)| ((*change).to_owned(), json!("stop"))).collect();
        world.set("/sinks/0/ddl", json!(policy));
        scene(&world).await;
        world.sql("CREATE TABLE other (id INT PRIMARY KEY)").await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        for (number, (change, statement, rows)) in CHANGES.into_iter().enumerate() {
            world.sql(format!("{statement}; {rows}; INSERT INTO other VALUES ({number})")).await;
            let reason = stop_of(&mut daemon, &format!("shop.t_{change}")).await;
            assert!(reason.contains(&format!("`ddl.{change}`")), "{change}: {reason}");
        }
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status).len(), CHANGES.len());
        let columns = ["id", "v"].map(str::to_owned);
        let before = [[1, 10], [2, 20]].map(|row| row.map(Cell::Integer).to_vec());
        for (change, _, _) in CHANGES {
            let mut rows = world.target.copy(Mode::Mirror).rows(&format!("t_{change}"), &columns).await;
            rows.sort();
            assert_eq!(rows, before, "{change}");
        }
        let stopped_tables = CHANGES.map(|(change, _, _)| format!("t_{change}"));
        let stopped_tables: Vec<&str> = stopped_tables.iter().map(String::as_str).collect();
        assert_eq!(world.assert_mirrored_but(&stopped_tables).await.rows, CHANGES.len());
    }
}
