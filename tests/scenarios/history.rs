//! Every change of a row is one line of its changelog, and the lines give the source's content.

use super::target::{Mode, Target, World, keyed_shapes};
use crate::support::cells::Cell;
use crate::support::copies::Copied;
use crate::support::sandbox::DATABASE;
use crate::support::status::stopped;
use crate::support::workload::Workload;

/// The given columns of each line of a changelog, in order.
async fn lines<T: Target>(world: &World<T>, table: &str, columns: &[&str]) -> Vec<Vec<Cell>> {
    let place = ["_lsn", "_ordinal"];
    let names: Vec<String> = place.iter().chain(columns).map(|name| (*name).to_owned()).collect();
    let mut lines = world.target.copy(Mode::History).rows(table, &names).await;
    lines.sort();
    lines.into_iter().map(|mut line| line.split_off(place.len())).collect()
}

async fn operations<T: Target>(world: &World<T>, table: &str) -> Vec<Vec<Cell>> {
    lines(world, table, &["_op"]).await
}

fn texts<const N: usize>(operations: [&str; N]) -> Vec<Vec<Cell>> {
    operations.iter().map(|operation| vec![Cell::text(operation)]).collect()
}

every_sink! { mysql_first:
    async fn a_changelog_that_is_written_while_it_is_read_has_no_gap_and_no_duplicate<T: Target>(kind: Kind) {
        let world = World::<T>::history(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed_shapes());
        workload.create(&world.server, 200).await;

        let writing = workload.start(&world.server);
        let mut daemon = world.start();
        for _ in 0..2 {
            writing.progressed_by(300).await;
            daemon.kill();
            daemon = world.start();
        }
        writing.stop().await;
        world.caught_up(&mut daemon).await;
        daemon.stop();

        for table in workload.tables() {
            let lines = world.assert_logged(&table.name).await;
            assert!(lines > 200, "{} has {lines} lines", table.name);
        }
    }
}

every_sink! { mariadb_first:
    async fn a_line_has_the_row_before_and_after_its_change<T: Target>(kind: Kind) {
        let world = World::<T>::history(kind).await;
        world.sql("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9)); INSERT INTO t VALUES (1, 'a'), (2, NULL)").await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        world.sql(
            "BEGIN; INSERT INTO t VALUES (3, 'c'), (4, 'd'); UPDATE t SET v = 'b' WHERE id IN (1, 2); UPDATE t SET id = 5 WHERE id = 4;
             DELETE FROM t WHERE id = 3; COMMIT; BEGIN; INSERT INTO t VALUES (9, 'no'); ROLLBACK; TRUNCATE TABLE t; INSERT INTO t VALUES (1, 'z')"
        ).await;
        world.caught_up(&mut daemon).await;
        daemon.stop();

        let columns = ["_op", "before_id", "before_v", "after_id", "after_v"];
        let line = |op: &str, before: Option<(i64, Option<&str>)>, after: Option<(i64, Option<&str>)>| {
            let side = |row: Option<(i64, Option<&str>)>| match row {
                Some((id, v)) => [Cell::Integer(id), v.map_or(Cell::Null, Cell::text)],
                None => [Cell::Null, Cell::Null],
            };
            [vec![Cell::text(op)], side(before).to_vec(), side(after).to_vec()].concat()
        };
        let (a, b) = (Some("a"), Some("b"));
        let expected = [
            line("snapshot", None, Some((1, a))),
            line("snapshot", None, Some((2, None))),
            line("insert", None, Some((3, Some("c")))),
            line("insert", None, Some((4, Some("d")))),
            line("update", Some((1, a)), Some((1, b))),
            line("update", Some((2, None)), Some((2, b))),
            line("update", Some((4, Some("d"))), Some((5, Some("d")))),
            line("delete", Some((3, Some("c"))), None),
            line("truncate", None, None),
            line("insert", None, Some((1, Some("z")))),
        ];
        assert_eq!(lines(&world, "t", &columns).await, expected);
        assert_eq!(world.assert_logged("t").await, expected.len());
    }

    async fn a_changelog_keeps_its_lines_over_every_change_of_a_definition<T: Target>(kind: Kind) {
        let world = World::<T>::history(kind).await;
        for table in ["added", "dropped", "renamed", "retyped", "emptied", "gone"] {
            world.sql(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v INT); INSERT INTO {table} VALUES (1, 10), (2, 20)")).await;
        }
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        world.sql(
            "ALTER TABLE added ADD COLUMN w INT DEFAULT 5; INSERT INTO added VALUES (3, 30, 6);
             ALTER TABLE dropped DROP COLUMN v; INSERT INTO dropped VALUES (3);
             ALTER TABLE renamed CHANGE v w INT; INSERT INTO renamed VALUES (3, 30);
             ALTER TABLE retyped MODIFY v BIGINT; INSERT INTO retyped VALUES (3, 1099511627776);
             TRUNCATE TABLE emptied; INSERT INTO emptied VALUES (3, 30); DROP TABLE gone"
        ).await;
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        for table in ["added", "dropped", "renamed", "retyped"] {
            assert_eq!(operations(&world, table).await, texts(["snapshot", "snapshot", "insert"]), "{table}");
        }
        assert_eq!(operations(&world, "emptied").await, texts(["snapshot", "snapshot", "truncate", "insert"]));
        assert_eq!(operations(&world, "gone").await, texts(["snapshot", "snapshot", "drop"]));
        let numbers = |rows: &[&[i64]]| -> Vec<Vec<Cell>> {
            rows.iter().map(|row| row.iter().map(|number| Cell::Integer(*number)).collect()).collect()
        };
        assert_eq!(lines(&world, "added", &["after_id", "after_v"]).await, numbers(&[&[1, 10], &[2, 20], &[3, 30]]));
        let added = lines(&world, "added", &["after_w"]).await;
        assert_eq!(added.last(), Some(&vec![Cell::Integer(6)]));
        // A dropped column stays with its lines.
        let dropped = lines(&world, "dropped", &["after_id", "after_v"]).await;
        assert_eq!(dropped[..2], numbers(&[&[1, 10], &[2, 20]]));
        assert_eq!(dropped[2], [Cell::Integer(3), Cell::Null]);
        assert_eq!(lines(&world, "renamed", &["after_id", "after_w"]).await, numbers(&[&[1, 10], &[2, 20], &[3, 30]]));
        let retyped = numbers(&[&[1, 10], &[2, 20], &[3, 1_099_511_627_776]]);
        assert_eq!(lines(&world, "retyped", &["after_id", "after_v"]).await, retyped);
    }
}
