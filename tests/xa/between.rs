//! What happens to a table between prepare and commit. Prepared transactions keep their tables locked against it, but not over a restart of
//! MariaDB.

use mysql_async::prelude::Queryable as _;
use serde_json::json;

use super::{TABLES, counted, end, prepare, run};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// Statements about a table `c` that a prepared transaction has changed.
const STATEMENTS: [&str; 8] = [
    "ALTER TABLE c ADD COLUMN added INT DEFAULT 7",
    "ALTER TABLE c MODIFY v BIGINT",
    "TRUNCATE TABLE c",
    "RENAME TABLE c TO d",
    "DROP TABLE c",
    "DROP TABLE c; CREATE TABLE c (id INT PRIMARY KEY, v INT); INSERT INTO c VALUES (900, 1)",
    "ALTER TABLE c DROP PRIMARY KEY, ADD PRIMARY KEY (id, v)",
    "ALTER TABLE c ALTER COLUMN v SET DEFAULT 5",
];

both_servers! {
    async fn a_table_that_is_changed_while_a_transaction_is_prepared_is_as_at_the_source(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let mut changed = 0;
        for (round, statement) in STATEMENTS.into_iter().enumerate() {
            eprintln!("{statement}");
            run(&sandbox, "DROP TABLE IF EXISTS c, d; CREATE TABLE c (id INT PRIMARY KEY, v INT); INSERT INTO c VALUES (1, 1), (2, 2)").await;
            sandbox.caught_up(&mut daemon).await;
            prepare(&sandbox, "'between'", &format!("INSERT INTO c VALUES (3, 3); UPDATE c SET v = 9 WHERE id = 1; INSERT INTO a VALUES ({}, 1)", 100 + round)).await;
            sandbox.caught_up(&mut daemon).await;
            sandbox.server.restart().await;
            let mut session = sandbox.server.connect().await;
            session.query_drop(format!("USE {DATABASE}; SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")).await.unwrap();
            let mut is_done = true;
            for part in statement.split("; ") {
                is_done = is_done && session.query_drop(part).await.map_err(|error| eprintln!("{error}")).is_ok();
            }
            changed += usize::from(is_done);
            if round % 2 == 0 {
                sandbox.caught_up(&mut daemon).await;
                daemon.kill();
                daemon = sandbox.start();
            }
            end(&sandbox, "COMMIT", "'between'").await;
            sandbox.caught_up(&mut daemon).await;
            sandbox.assert_mirrored().await;
        }
        // What needs no lock of InnoDB, which both keep: MySQL keeps that of the name as well.
        assert_eq!(changed > 0, kind == Kind::MariaDb, "{changed} statements were done in between");
        daemon.stop();
    }

    async fn a_table_that_is_captured_after_the_prepare_is_read_again_at_the_commit(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        run(&sandbox, TABLES).await;
        sandbox.set("/source/exclude", json!(["shop.a"]));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        // The last that the log has before the table is captured.
        prepare(&sandbox, "'before'", "INSERT INTO a VALUES (30, 1); DELETE FROM a WHERE id = 1").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.set("/source/exclude", json!([]));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        end(&sandbox, "COMMIT", "'before'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        daemon.stop();
    }

    async fn rows_of_a_transaction_that_the_binlog_has_as_a_statement_are_read_at_its_commit(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        run(
            &sandbox,
            "SET binlog_format = STATEMENT; XA START 's'; UPDATE a SET v = v + 1; INSERT INTO b VALUES (7, 's', 's'); XA END 's'; XA PREPARE 's'",
        )
        .await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        assert!(!daemon.log().contains("two-phase"), "{}", daemon.log());
        end(&sandbox, "COMMIT", "'s'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        // So are rows of which it has some columns.
        run(&sandbox, "SET binlog_row_image = MINIMAL; XA START 'm'; UPDATE a SET v = v + 1; DELETE FROM b WHERE id = 7; XA END 'm'; XA PREPARE 'm'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        end(&sandbox, "COMMIT", "'m'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        assert!(counted(&daemon).1 > 0);
        daemon.stop();
    }
}
