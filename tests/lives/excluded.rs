//! Tables that leave the configuration and come back.

use serde_json::json;

use super::{
    assert_copied_but, assert_health, assert_lines, assert_stated, once, operations, remedies, replicator, said,
    states, stopped,
};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::table_of;

const AWAY: [&str; 6] = ["t", "wide", "gone", "gone_later", "moved", "again"];

both_servers! {
    async fn a_table_that_comes_back_is_read_again_in_place_of_what_the_sinks_have(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        for table in AWAY.iter().chain(&["kept"]) {
            sandbox
                .server
                .exec(format!(
                    "USE {DATABASE}; CREATE TABLE {table} (id INT PRIMARY KEY, v INT, w INT);
                     INSERT INTO {table} VALUES (1, 10, 1), (2, 20, 2), (3, 30, 3)"
                ))
                .await;
        }
        once(&sandbox, 0);
        let exclude: Vec<String> = AWAY.iter().map(|table| format!("{DATABASE}.{table}")).collect();

        // Some things happen while it runs without them.
        sandbox.set("/source/exclude", json!(exclude));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; DELETE FROM t WHERE id = 1; UPDATE t SET v = 21 WHERE id = 2; INSERT INTO t VALUES (4, 40, 4);
                 ALTER TABLE wide DROP COLUMN w, ADD COLUMN x VARCHAR(10) NOT NULL DEFAULT 'x'; INSERT INTO wide VALUES (4, 40, 'four');
                 DROP TABLE gone; RENAME TABLE moved TO arrived; INSERT INTO arrived VALUES (4, 40, 4);
                 DROP TABLE again; CREATE TABLE again (id INT PRIMARY KEY, v INT, w INT); INSERT INTO again VALUES (7, 70, 7);
                 INSERT INTO kept VALUES (4, 40, 4)"
            ))
            .await;
        let status = sandbox.caught_up(&mut daemon).await;
        for table in AWAY {
            assert_eq!(states(&status, table).0, json!(null), "{table}: {status:#}");
            let told = format!("table={DATABASE}.{table}");
            let log = daemon.log();
            let named = log.lines().any(|line| line.contains(&told) && line.contains("it is no longer captured"));
            assert!(named, "{table}: {log}");
        }
        daemon.stop();
        // And others before it is started with them again.
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; INSERT INTO t VALUES (5, 50, 5); DELETE FROM t WHERE id = 3; DROP TABLE gone_later;
                 INSERT INTO again VALUES (8, 80, 8)"
            ))
            .await;

        sandbox.set("/source/exclude", json!([]));
        let said = once(&sandbox, 0);

        for table in ["t", "wide", "again"] {
            let told = format!("table={DATABASE}.{table}");
            let named = said.lines().any(|line| line.contains(&told) && line.contains("it is read again in place of"));
            assert!(named, "{table}: {said}");
        }
        let status = stopped(&sandbox);
        for table in ["t", "wide", "again", "arrived", "kept"] {
            assert_stated(&status, table, "complete");
        }
        for table in ["gone", "gone_later", "moved"] {
            assert_eq!(states(&status, table).0, json!(null), "{table}: {status:#}");
        }
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 3 + 4 + 2 + 4 + 4);
        for table in ["t", "again", "arrived", "kept"] {
            assert_lines(&sandbox, table).await;
        }
        assert_eq!(operations(&sandbox, "t").await["replace"], 1);
        assert!(!operations(&sandbox, "kept").await.contains_key("replace"));
        for table in ["gone", "gone_later"] {
            assert_eq!(operations(&sandbox, table).await["drop"], 1, "{table}");
        }
    }

    async fn a_table_that_comes_back_where_no_rows_are_read_is_left_out_until_the_command_that_it_names(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.set("/source/startup_mode", json!("latest"));
        for table in ["t", "u"] {
            sandbox
                .server
                .exec(format!("CREATE TABLE {DATABASE}.{table} (id INT PRIMARY KEY); INSERT INTO {DATABASE}.{table} VALUES (1)"))
                .await;
        }
        once(&sandbox, 0);
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2); INSERT INTO {DATABASE}.u VALUES (2)")).await;
        once(&sandbox, 0);
        let why = assert_stated(&stopped(&sandbox), "t", "complete");
        assert!(why.contains("source.startup_mode"), "{why}");

        sandbox.set("/source/exclude", json!([format!("{DATABASE}.t"), format!("{DATABASE}.u")]));
        once(&sandbox, 0);
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (3); INSERT INTO {DATABASE}.u VALUES (3)")).await;
        once(&sandbox, 0);
        sandbox.set("/source/exclude", json!([]));
        once(&sandbox, 1);

        let status = stopped(&sandbox);
        for table in ["t", "u"] {
            let why = assert_stated(&status, table, "left_out");
            assert!(why.contains("it was not captured from LSN") && why.contains("backfill --replace"), "{why}");
        }
        // One without a daemon, one with it.
        let remedies = remedies(&status);
        assert_eq!(remedies.len(), 2, "{status:#}");
        let output = replicator(&sandbox, &remedies[0]);
        assert_eq!(output.status.code(), Some(1), "the other one is left out still: {}", said(&output));
        let mut daemon = sandbox.start();
        let status = sandbox.caught_up(&mut daemon).await;
        assert_stated(&status, "t", "complete");
        assert_stated(&status, "u", "left_out");
        let output = replicator(&sandbox, &remedies[1]);
        assert!(output.status.success(), "{}", said(&output));
        let status = sandbox.caught_up(&mut daemon).await;
        assert_stated(&status, "u", "complete");
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 6);
        assert_eq!(table_of(&status, &format!("{DATABASE}.t"))["reads"], 1);
    }
}
