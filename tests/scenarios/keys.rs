//! What identifies a row changes. At a sink keys are bytes; at the source two spellings may be equal.

use super::target::{Mode, Target, World};
use crate::support::cells::Cell;
use crate::support::copies::Copied;
use crate::support::daemon::Daemon;
use crate::support::status::stopped;

/// Makes each change while the daemon runs, and compares after each.
async fn follow<T: Target>(world: &World<T>, daemon: &mut Daemon, changes: &[&str]) {
    for change in changes {
        world.sql(change).await;
        let status = world.caught_up(daemon).await;
        assert_eq!(stopped(&status), [""; 0], "{change}: {status:#}");
        world.assert_mirrored().await;
    }
}

every_sink! { mysql_first:
    async fn a_key_that_changes_in_case_only_leaves_one_row<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        world.sql(
            "CREATE TABLE t (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT);
             INSERT INTO t VALUES ('abc', 1), ('\u{e9}t\u{e9}', 2), ('other', 3)"
        ).await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        follow(&world, &mut daemon, &[
            "UPDATE t SET id = 'ABC' WHERE id = 'abc'",
            "UPDATE t SET id = 'ETE', v = v + 10 WHERE v = 2",
            "REPLACE INTO t VALUES ('OTHER', 30)",
            "INSERT INTO t VALUES ('aBc', 5) ON DUPLICATE KEY UPDATE id = 'aBc', v = 50",
        ]).await;
        daemon.stop();

        let mut rows = world.target.copy(Mode::Mirror).rows("t", &["v", "id"].map(str::to_owned)).await;
        rows.sort();
        let expected = [(12, "ETE"), (30, "OTHER"), (50, "aBc")].map(|(v, id)| vec![Cell::Integer(v), Cell::text(id)]);
        assert_eq!(rows, expected);
    }
}

every_sink! { mariadb_first:
    async fn keys_that_move_swap_and_return_are_followed_in_one_transaction_and_in_many<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        world.sql(
            "CREATE TABLE t (a INT, b VARBINARY(8), v INT, PRIMARY KEY (b, a));
             INSERT INTO t VALUES (1, 'x', 1), (2, 'x', 2), (3, x'00', 3)"
        ).await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        follow(&world, &mut daemon, &[
            "UPDATE t SET a = a + 10",
            "START TRANSACTION; UPDATE t SET b = 'tmp' WHERE v = 1; UPDATE t SET a = 11 WHERE v = 2;
             UPDATE t SET b = 'x', a = 12 WHERE v = 1; COMMIT",
            "START TRANSACTION; DELETE FROM t WHERE v = 3; INSERT INTO t VALUES (13, x'00', 4); DELETE FROM t WHERE v = 4;
             INSERT INTO t VALUES (13, x'0000', 5), (13, x'00', 6); COMMIT",
            "DELETE FROM t WHERE v = 6",
            "INSERT INTO t VALUES (13, x'00', 7)",
        ]).await;
        daemon.stop();

        assert_eq!(world.assert_mirrored().await.rows, 4);
    }

    async fn a_changed_primary_key_is_followed<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        world.sql(
            "CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, v TEXT, PRIMARY KEY (a));
             INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two');
             CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO other VALUES (1)"
        ).await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        follow(&world, &mut daemon, &[
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b)",
            "INSERT INTO t VALUES (1, 30, 'three'); UPDATE t SET a = 5 WHERE b = 20; INSERT INTO other VALUES (2)",
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)",
            "INSERT INTO t VALUES (1, 40, 'four'); DELETE FROM t WHERE b = 10",
            "ALTER TABLE t MODIFY a BIGINT NOT NULL",
            "INSERT INTO t VALUES (9000000000, 50, 'five')",
            "ALTER TABLE t RENAME COLUMN b TO c",
            "INSERT INTO t VALUES (6, 60, 'six')",
        ]).await;
        daemon.stop();

        assert_eq!(world.target.key("t").await, ["a", "c"]);
    }
}
