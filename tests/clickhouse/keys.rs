//! What identifies a row changes: here keys are bytes, at the source they may be equal in two spellings.

use super::watch::stopped;
use crate::support::sandbox::{DATABASE, Sandbox};

both_servers! {
    async fn a_key_that_changes_in_case_only_leaves_one_row(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT);
             INSERT INTO t VALUES ('abc', 1), ('\u{e9}t\u{e9}', 2), ('other', 3)"
        )).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for change in [
            "UPDATE t SET id = 'ABC' WHERE id = 'abc'",
            "UPDATE t SET id = 'ETE', v = v + 10 WHERE v = 2",
            "REPLACE INTO t VALUES ('OTHER', 30)",
            "INSERT INTO t VALUES ('aBc', 5) ON DUPLICATE KEY UPDATE id = 'aBc', v = 50",
        ] {
            sandbox.server.exec(format!("USE {DATABASE}; {change}")).await;
            sandbox.caught_up(&mut daemon).await;
            sandbox.assert_mirrored_to_clickhouse().await;
        }
        daemon.stop();

        let rows = sandbox.clickhouse().query("SELECT id, v FROM replica.t FINAL ORDER BY v").await;
        assert_eq!(rows, "ETE\t12\nOTHER\t30\naBc\t50\n");
    }

    async fn keys_that_move_swap_and_return_are_followed_in_one_transaction_and_in_many(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (a INT, b VARBINARY(8), v INT, PRIMARY KEY (b, a));
             INSERT INTO t VALUES (1, 'x', 1), (2, 'x', 2), (3, x'00', 3)"
        )).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for change in [
            "UPDATE t SET a = a + 10",
            "START TRANSACTION; UPDATE t SET b = 'tmp' WHERE v = 1; UPDATE t SET a = 11 WHERE v = 2;
             UPDATE t SET b = 'x', a = 12 WHERE v = 1; COMMIT",
            "START TRANSACTION; DELETE FROM t WHERE v = 3; INSERT INTO t VALUES (13, x'00', 4); DELETE FROM t WHERE v = 4;
             INSERT INTO t VALUES (13, x'0000', 5), (13, x'00', 6); COMMIT",
            "DELETE FROM t WHERE v = 6",
            "INSERT INTO t VALUES (13, x'00', 7)",
        ] {
            sandbox.server.exec(format!("USE {DATABASE}; {change}")).await;
            sandbox.caught_up(&mut daemon).await;
            sandbox.assert_mirrored_to_clickhouse().await;
        }
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 4);
    }

    async fn a_changed_primary_key_is_followed(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, v TEXT, PRIMARY KEY (a));
             INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two');
             CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO other VALUES (1)"
        )).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for change in [
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b)",
            "INSERT INTO t VALUES (1, 30, 'three'); UPDATE t SET a = 5 WHERE b = 20; INSERT INTO other VALUES (2)",
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)",
            "INSERT INTO t VALUES (1, 40, 'four'); DELETE FROM t WHERE b = 10",
            "ALTER TABLE t MODIFY a BIGINT NOT NULL",
            "INSERT INTO t VALUES (9000000000, 50, 'five')",
            "ALTER TABLE t RENAME COLUMN b TO c",
            "INSERT INTO t VALUES (6, 60, 'six')",
        ] {
            sandbox.server.exec(format!("USE {DATABASE}; {change}")).await;
            let status = sandbox.caught_up(&mut daemon).await;
            assert_eq!(stopped(&status), [""; 0], "{change}: {status:#}");
            sandbox.assert_mirrored_to_clickhouse().await;
        }
        daemon.stop();

        let key = sandbox.clickhouse().query("SELECT sorting_key FROM system.tables WHERE database = 'replica' AND name = 't'").await;
        assert_eq!(key, "a, c\n");
    }
}
