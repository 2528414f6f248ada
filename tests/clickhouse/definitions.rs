//! Changes of definitions under the engine's own conditions, and what `ddl: ignore` leaves. The rest is in `tests/scenarios/`.

use serde_json::json;

use super::watch::{stop_of, stop_reason, stopped};
use crate::support::compare::View;
use crate::support::sandbox::{DATABASE, Sandbox};

/// One table per kind of change, what is done to it, and what is written to it afterwards.
const CHANGES: [(&str, &str, &str); 6] = [
    ("add", "ALTER TABLE t_add ADD COLUMN w INT DEFAULT 5", "INSERT INTO t_add VALUES (3, 30, 6)"),
    ("drop", "ALTER TABLE t_drop DROP COLUMN v", "INSERT INTO t_drop VALUES (3)"),
    ("rename", "ALTER TABLE t_rename CHANGE v w INT", "INSERT INTO t_rename VALUES (3, 30)"),
    ("retype", "ALTER TABLE t_retype MODIFY v BIGINT", "INSERT INTO t_retype VALUES (3, 1099511627776)"),
    ("truncate", "TRUNCATE TABLE t_truncate", "INSERT INTO t_truncate VALUES (3, 30)"),
    ("drop_table", "DROP TABLE t_drop_table", "SELECT 1"),
];

async fn scene(sandbox: &Sandbox) {
    for (kind, _, _) in CHANGES {
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE t_{kind} (id INT PRIMARY KEY, v INT); INSERT INTO t_{kind} VALUES (1, 10), (2, 20)"
            ))
            .await;
    }
}

fn policy(action: &str) -> serde_json::Value {
    CHANGES.iter().map(|(kind, _, _)| ((*kind).to_owned(), json!(action))).collect::<serde_json::Map<_, _>>().into()
}

both_servers! {
    async fn a_policy_of_ignore_leaves_the_target_and_goes_on_with_the_rows(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/ddl", policy("ignore"));
        scene(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for (_, statement, rows) in CHANGES {
            sandbox.server.exec(format!("USE {DATABASE}; {statement}; {rows}")).await;
        }
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let rows = |table: &str| {
            let sql = format!("SELECT * EXCEPT (_version, _is_deleted) FROM replica.{table} FINAL ORDER BY id FORMAT TSVWithNames");
            let clickhouse = sandbox.clickhouse();
            async move { clickhouse.query(sql).await }
        };
        // A column that is not there takes no values; one that was dropped is NULL in rows written since.
        assert_eq!(rows("t_add").await, "id\tv\n1\t10\n2\t20\n3\t30\n");
        assert_eq!(rows("t_drop").await, "id\tv\n1\t10\n2\t20\n3\t\\N\n");
        assert_eq!(rows("t_truncate").await, "id\tv\n1\t10\n2\t20\n3\t30\n");
        assert_eq!(rows("t_drop_table").await, "id\tv\n1\t10\n2\t20\n");
        // A value beyond the type that was kept stops the table; it is not cut.
        assert!(stopped(&status).contains(&"shop.t_retype".to_owned()), "{status:#}");
        assert_eq!(rows("t_retype").await, "id\tv\n1\t10\n2\t20\n");
    }

    async fn a_stopped_table_that_is_dropped_and_created_again_goes_on_with_a_policy_of_ignore(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/ddl", json!({ "drop_table": "ignore", "truncate": "stop" }));
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 10)")).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        sandbox.server.exec(format!("USE {DATABASE}; TRUNCATE TABLE t; INSERT INTO t VALUES (2, 20)")).await;
        stop_of(&mut daemon, "shop.t").await;
        sandbox.server.exec(format!("DROP TABLE {DATABASE}.t")).await;
        daemon.wait_until("a table that is gone is not stopped", |status| stopped(status).is_empty()).await;
        assert_eq!(sandbox.clickhouse().query("SELECT id, v FROM replica.t FINAL").await, "1\t10\n");
        daemon.stop();
        let mut daemon = sandbox.start();
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (3, 30)")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        assert_eq!(sandbox.clickhouse().query("SELECT id, v FROM replica.t FINAL ORDER BY id").await, "1\t10\n3\t30\n");
    }

    async fn a_dropped_table_that_stopped_comes_back_by_a_backfill_or_goes_with_its_copy(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/ddl", json!({ "drop_table": "stop", "truncate": "stop" }));
        for table in ["back", "gone", "stopped_before", "other"] {
            sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE {table} (id INT PRIMARY KEY); INSERT INTO {table} VALUES (1)")).await;
        }
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; TRUNCATE TABLE stopped_before; DROP TABLE stopped_before; DROP TABLE back; DROP TABLE gone; INSERT INTO other VALUES (2)"
        )).await;
        let reason = stop_of(&mut daemon, "shop.gone").await;
        assert!(reason.contains("`ddl.drop_table`") && reason.contains("drop or rename the copy"), "{reason}");
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(stopped(&status), ["shop.back", "shop.gone", "shop.stopped_before"]);
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE back (id INT PRIMARY KEY); INSERT INTO back VALUES (5)")).await;
        daemon.wait_until("the reason says that the table is back", |status| {
            stop_reason(status, "shop.back").is_some_and(|reason| reason.contains("there is another one at the source"))
        }).await;
        daemon.stop();

        // The copy of `back` is missed: there is a table at the source that it has nothing of.
        for table in ["back", "gone", "stopped_before"] {
            sandbox.clickhouse().exec(format!("RENAME TABLE replica.{table} TO replica.old_{table}")).await;
        }
        let mut daemon = sandbox.start();
        sandbox.server.exec(format!("USE {DATABASE}; INSERT INTO other VALUES (3)")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(stopped(&status), ["shop.back"], "{status:#}");
        let output = sandbox.run(&["backfill", "--replace", "--database", DATABASE, "--table", "back"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE gone (id INT PRIMARY KEY); INSERT INTO gone VALUES (7)")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        let additional = ["old_back", "old_gone", "old_stopped_before"].map(str::to_owned).to_vec();
        let view = View { additional, ..View::default() };
        assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows, 5);
    }

    async fn a_dropped_table_whose_copy_cannot_be_dropped_stops_until_the_copy_is_gone(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE other (id INT PRIMARY KEY)"
        )).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.clickhouse().exec(
            "CREATE DICTIONARY replica.needs_t (id UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(DB 'replica' TABLE 't')) LAYOUT(FLAT()) LIFETIME(0)"
        ).await;

        sandbox.server.exec(format!("USE {DATABASE}; DROP TABLE t; INSERT INTO other VALUES (1)")).await;
        let reason = stop_of(&mut daemon, "shop.t").await;
        assert!(reason.contains("DROP TABLE") && reason.contains("drop or rename the copy at the target"), "{reason}");
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.clickhouse().exec("DROP DICTIONARY replica.needs_t").await;
        sandbox.clickhouse().exec("DROP TABLE replica.t").await;
        let mut daemon = sandbox.start();
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (7)")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 2);
    }

    async fn columns_that_a_policy_of_ignore_has_left_keep_their_values_when_the_table_is_rebuilt(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/ddl", json!({ "drop": "ignore" }));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, first INT NOT NULL, second TEXT, third INT);
             INSERT INTO t VALUES (1, 10, 100, 'a', 7), (2, 20, 200, NULL, 8)"
        )).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        sandbox.server.exec(format!(
            "USE {DATABASE}; ALTER TABLE t ADD COLUMN fourth INT; ALTER TABLE t DROP COLUMN first;
             INSERT INTO t VALUES (3, 30, 'c', 9, 5);
             ALTER TABLE t DROP COLUMN second, DROP COLUMN fourth, DROP PRIMARY KEY, ADD PRIMARY KEY (k); INSERT INTO t VALUES (4, 40, 10)"
        )).await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        let rows = async |columns: &str| sandbox.clickhouse().query(format!("SELECT {columns} FROM replica.t FINAL ORDER BY k")).await;
        assert_eq!(
            rows("id, k, third, first, second, fourth").await,
            "1\t10\t7\t100\ta\t\\N\n2\t20\t8\t200\t\\N\t\\N\n3\t30\t9\t0\tc\t5\n4\t40\t10\t0\t\\N\t\\N\n"
        );

        // A column that is written takes the name of one that was left.
        sandbox.server.exec(format!(
            "USE {DATABASE}; ALTER TABLE t ADD COLUMN first INT NOT NULL DEFAULT 6, DROP PRIMARY KEY, ADD PRIMARY KEY (id); INSERT INTO t VALUES (5, 50, 11, 12)"
        )).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        let until = sandbox.clickhouse().query(
            "SELECT name FROM system.columns WHERE database = 'replica' AND table = 't' AND name LIKE 'first\\_until%'"
        ).await;
        assert_eq!(rows(&format!("id, first, {}", until.trim())).await, "1\t6\t100\n2\t6\t200\n3\t6\t0\n4\t6\t0\n5\t12\t0\n");
    }

    async fn many_columns_change_in_few_statements(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let every = |what: fn(u32) -> String, from: u32| (from..150).map(what).collect::<Vec<_>>().join(", ");
        for (mode, statements) in [("mirror", [1, 1, 1, 1]), ("history", [1, 1, 1, 0])] {
            let table = format!("wide_{mode}");
            sandbox.set("/tables", json!([{ "database": DATABASE, "table": table, "mode": mode }]));
            sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE {table} (id INT PRIMARY KEY); INSERT INTO {table} VALUES (1)")).await;
            sandbox.run_once();
            for (change, wanted) in [
                every(|n| format!("ADD c{n} INT DEFAULT {n}"), 0),
                every(|n| format!("CHANGE c{n} d{n} INT"), 0),
                every(|n| format!("MODIFY d{n} BIGINT"), 0),
                every(|n| format!("DROP d{n}"), 1),
            ].into_iter().zip(statements) {
                sandbox.server.exec(format!("USE {DATABASE}; ALTER TABLE {table} {change}; INSERT INTO {table} (id) SELECT MAX(id) + 1 FROM {table}")).await;
                let output = sandbox.run(&["start", "--once"]);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{said}");
                assert!(said.matches("altering sink").count() <= wanted, "{mode}: {said}");
            }
        }
        let kept = sandbox.clickhouse().query("SELECT id, d0 FROM replica.wide_mirror FINAL ORDER BY id").await;
        assert_eq!(kept, "1\t0\n2\t0\n3\t\\N\n4\t\\N\n5\t\\N\n");
    }

    async fn a_soft_mirror_keeps_the_rows_of_truncated_and_dropped_tables(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/deletion", json!("soft"));
        scene(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        sandbox.server.exec(format!(
            "USE {DATABASE}; TRUNCATE TABLE t_truncate; INSERT INTO t_truncate VALUES (2, 200); DROP TABLE t_drop_table"
        )).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let soft = ["t_add", "t_drop", "t_rename", "t_retype", "t_truncate"];
        let soft_deleted = soft.iter().map(|table| ((*table).to_owned(), "is_deleted".to_owned())).collect();
        let view = View { soft_deleted, additional: vec!["t_drop_table".to_owned()], ..View::default() };
        sandbox.assert_mirrored_to_clickhouse_as(&view).await;
        let kept = sandbox.clickhouse().query(
            "SELECT * FROM (SELECT id, v, is_deleted FROM replica.t_truncate FINAL
                            UNION ALL SELECT id + 100, v, is_deleted FROM replica.t_drop_table FINAL) ORDER BY id"
        ).await;
        assert_eq!(kept, "1\t10\t1\n2\t200\t0\n101\t10\t1\n102\t20\t1\n");
    }
}
