//! Every table again: on request, and where the source cannot go on from the log's position any more.

use std::process::Command;

use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

use super::{assert_copied_but, assert_lines, assert_stated, once, operations, said, states, stopped};
use crate::support::cells::open_sqlite;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions, USER};
use crate::support::status::table_of;

/// Tables that are copied.
async fn tables(server: &Server) {
    for (table, key) in [
        ("kept", "PRIMARY KEY"),
        ("wide", "PRIMARY KEY"),
        ("gone", "PRIMARY KEY"),
        ("moved", "PRIMARY KEY"),
        ("again", "PRIMARY KEY"),
        ("loose", "NOT NULL UNIQUE"),
    ] {
        server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE {table} (id INT {key}, v INT, w INT);
                 INSERT INTO {table} VALUES (1, 10, 1), (2, 20, 2), (3, 30, 3)"
            ))
            .await;
    }
    let key = "(id INT PRIMARY KEY, a VARCHAR(20) NOT NULL, b VARCHAR(20) NOT NULL, v INT)";
    server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE keys_of {key}; INSERT INTO keys_of VALUES (1, 'a', 'x', 1), (2, 'b', 'y', 2)"
        ))
        .await;
}

/// What happens while nobody reads: rows come, change and go, and so do tables and columns.
async fn gap(server: &Server) {
    server
        .exec(format!(
            "USE {DATABASE}; DELETE FROM kept WHERE id = 1; UPDATE kept SET v = 21 WHERE id = 2; INSERT INTO kept VALUES (4, 40, 4);
             DELETE FROM loose WHERE id = 1; INSERT INTO loose VALUES (6, 60, 6);
             ALTER TABLE wide DROP COLUMN w, ADD COLUMN x VARCHAR(10) NOT NULL DEFAULT 'x'; INSERT INTO wide VALUES (4, 40, 'four');
             DROP TABLE gone; RENAME TABLE moved TO arrived; INSERT INTO arrived VALUES (4, 40, 4);
             DROP TABLE again; CREATE TABLE again (id INT PRIMARY KEY, v INT, w INT); INSERT INTO again VALUES (7, 70, 7);
             ALTER TABLE keys_of DROP PRIMARY KEY, DROP COLUMN id, ADD PRIMARY KEY (a); UPDATE keys_of SET b = 'z' WHERE a = 'b';
             CREATE TABLE made (id INT PRIMARY KEY); INSERT INTO made VALUES (1), (2)"
        ))
        .await;
}

/// What comes after the gap.
async fn after(server: &Server) {
    server
        .exec(format!(
            "USE {DATABASE}; INSERT INTO kept VALUES (5, 50, 5); UPDATE wide SET v = 41 WHERE id = 4; DELETE FROM made WHERE id = 1"
        ))
        .await;
}

async fn reset(server: &Server) {
    server
        .exec(match server.kind() {
            Kind::MySql => "RESET BINARY LOGS AND GTIDS",
            Kind::MariaDb => "RESET MASTER",
        })
        .await;
}

/// Runs a command that has to end well.
fn well(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.run(arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    said
}

/// The start is refused, with the command that is the remedy.
fn assert_refused(sandbox: &Sandbox, words: &[&str]) {
    let said = once(sandbox, 1);
    for words in words.iter().chain(&["`replicator start --resync` continues"]) {
        assert!(said.contains(words), "{words:?}: {said}");
    }
}

fn reads(status: &Value, table: &str) -> u64 {
    table_of(status, &format!("{DATABASE}.{table}"))["reads"].as_u64().unwrap()
}

/// Everything is as at the source, the changelogs have it, and nothing more is to be done.
async fn assert_resynced(sandbox: &Sandbox, why: &str) {
    let status = stopped(sandbox);
    for table in ["kept", "wide", "again", "arrived", "loose", "made", "keys_of"] {
        assert_stated(&status, table, "complete");
    }
    for table in ["gone", "moved"] {
        assert_eq!(states(&status, table).0, json!(null), "{table}: {status:#}");
        assert_eq!(operations(sandbox, table).await["drop"], 1, "{table}");
    }
    assert_eq!(status["health"]["reasons"].as_array().unwrap().len(), 1, "{:#}", status["health"]);
    assert_copied_but(sandbox, &[]).await;
    for table in ["kept", "again", "arrived", "loose", "made"] {
        assert_lines(sandbox, table).await;
    }
    for table in ["kept", "wide", "again", "loose"] {
        assert_eq!(operations(sandbox, table).await["replace"], 1, "{table}");
    }
    let changelog = open_sqlite(&sandbox.changelog());
    let gaps: Vec<String> = changelog
        .prepare("SELECT _reason FROM kept WHERE _op = 'gap'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(gaps.len() == 1 && gaps[0].contains(why) && gaps[0].contains("so it was not captured from"), "{gaps:?}");
    // A start after it finds nothing to do, whatever it is allowed.
    let before = reads(&status, "kept");
    well(sandbox, &["start", "--once", "--resync"]);
    assert_eq!(reads(&stopped(sandbox), "kept"), before);
    assert_copied_but(sandbox, &[]).await;
}

both_servers! {
    async fn purged_binlogs_are_followed_by_a_resync_that_a_kill_does_not_undo(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        tables(&sandbox.server).await;
        once(&sandbox, 0);
        gap(&sandbox.server).await;
        sandbox.server.purge_binlogs().await;
        assert_refused(&sandbox, &["purged", "keep binlogs longer"]);

        sandbox.set("/source/snapshot", json!({ "chunk_rows": 1, "max_rows_per_second": 20 }));
        let mut daemon = sandbox.start_with(&["--resync"]);
        daemon.wait_until("it streams", |status| status["source"]["state"] == "streaming").await;
        daemon.kill();
        after(&sandbox.server).await;
        once(&sandbox, 0);

        assert_resynced(&sandbox, "purged").await;
    }

    async fn purged_binlogs_are_followed_by_a_resync_by_itself_where_the_configuration_says_so(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        tables(&sandbox.server).await;
        once(&sandbox, 0);
        // Nothing is read for a resync only where the mode of a start says so.
        sandbox.set("/source/startup_mode", json!("latest")).set("/source/on_purged", json!("resync"));
        gap(&sandbox.server).await;
        sandbox.server.purge_binlogs().await;
        after(&sandbox.server).await;

        once(&sandbox, 0);

        assert_resynced(&sandbox, "purged").await;
        // Binlogs that were reset are not for it.
        reset(&sandbox.server).await;
        assert_refused(&sandbox, &["reset"]);
        let taken: Value = serde_json::from_str(&String::from_utf8(sandbox.run(&["resync", "--json"]).stdout).unwrap()).unwrap();
        assert_eq!(taken, json!({ "tables": 7, "sinks": null, "done": true, "failed_sinks": [], "paused_sinks": [] }));
        assert_copied_but(&sandbox, &[]).await;
    }

    async fn binlogs_that_were_reset_are_followed_by_a_resync(kind: Kind) {
        let sandbox = Sandbox::with_every_sink(kind).await;
        tables(&sandbox.server).await;
        once(&sandbox, 0);
        gap(&sandbox.server).await;
        reset(&sandbox.server).await;
        after(&sandbox.server).await;
        assert_refused(&sandbox, &["reset"]);

        let said = well(&sandbox, &["resync"]);

        assert!(said.contains("7 tables read again"), "{said}");
        assert_resynced(&sandbox, "reset").await;
    }

    async fn a_table_without_a_key_is_read_whole_by_a_resync(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        let rows = "INSERT INTO loose VALUES (1, 10), (1, 10), (2, 20)";
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE loose (id INT, v INT); {rows}")).await;
        once(&sandbox, 0);
        sandbox.server.exec(format!("USE {DATABASE}; DELETE FROM loose WHERE id = 2; INSERT INTO loose VALUES (3, 30), (3, 30)")).await;
        reset(&sandbox.server).await;
        sandbox.server.exec(format!("USE {DATABASE}; UPDATE loose SET v = 31 WHERE id = 3 LIMIT 1")).await;
        assert_refused(&sandbox, &["reset"]);

        well(&sandbox, &["start", "--once", "--resync"]);

        sandbox.server.exec(format!("INSERT INTO {DATABASE}.loose VALUES (4, 40)")).await;
        once(&sandbox, 0);
        assert_eq!(sandbox.assert_mirrored().await.rows, 5);
        sandbox.assert_logged("loose").await;
        assert_eq!(operations_of_sqlite(&sandbox, "loose"), 2, "the first read replaces as well");
    }

    async fn another_server_is_followed_by_a_resync(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        tables(&sandbox.server).await;
        once(&sandbox, 0);
        let mut other = ServerOptions::new(kind).argument("--server-id=7").start().await;
        other.exec(format!("CREATE DATABASE {DATABASE}")).await;
        tables(&other).await;
        gap(&other).await;
        std::mem::swap(&mut sandbox.server, &mut other);
        sandbox.set("/source/url", json!(sandbox.server.url()));
        // Numbers of MariaDB's GTIDs that are as high do not say that they are others; the dump does.
        let why = match kind {
            Kind::MySql => "lacks transactions that the log has read from",
            Kind::MariaDb => "which is not in the master's binlog",
        };
        assert_refused(&sandbox, &[why]);

        well(&sandbox, &["start", "--once", "--resync"]);

        assert_resynced(&sandbox, why).await;
    }

    async fn a_server_that_was_restored_is_followed_by_a_resync(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        tables(&sandbox.server).await;
        once(&sandbox, 0);
        sandbox.server.stop();
        let (data, backup) = (sandbox.server.data_directory(), sandbox.path("backup"));
        let copy = |from: &std::path::Path, to: &std::path::Path| {
            assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
        };
        copy(&data, &backup);
        sandbox.server.start_again().await;
        sandbox
            .server
            .exec(format!("USE {DATABASE}; INSERT INTO kept VALUES (9, 90, 9); CREATE TABLE lost (id INT PRIMARY KEY); DELETE FROM loose"))
            .await;
        once(&sandbox, 0);
        sandbox.server.stop();
        std::fs::remove_dir_all(&data).unwrap();
        copy(&backup, &data);
        sandbox.server.start_again().await;
        gap(&sandbox.server).await;
        // On MySQL, as many transactions as were lost have their GTIDs since.
        let why = match kind {
            Kind::MySql => "was created at",
            Kind::MariaDb => "or the server was restored",
        };
        assert_refused(&sandbox, &[why]);

        well(&sandbox, &["start", "--once", "--resync"]);

        assert_eq!(states(&stopped(&sandbox), "lost").0, json!(null));
        assert_resynced(&sandbox, why).await;
    }

    async fn a_resync_follows_transactions_that_are_prepared_across_it(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.set("/source/xa_wait", json!("1s"));
        if kind == Kind::MySql {
            sandbox.server.exec(format!("GRANT XA_RECOVER_ADMIN ON *.* TO {USER}@'%'")).await;
        }
        tables(&sandbox.server).await;
        once(&sandbox, 0);
        let mut client = sandbox.server.connect().await;
        client
            .query_drop(format!("XA START 'x'; INSERT INTO {DATABASE}.kept VALUES (8, 80, 8); XA END 'x'; XA PREPARE 'x'"))
            .await
            .unwrap();
        gap(&sandbox.server).await;
        sandbox.server.exec("FLUSH BINARY LOGS; CREATE DATABASE later; FLUSH BINARY LOGS").await;
        let (file, _) = sandbox.server.position().await;
        sandbox.server.exec(format!("PURGE BINARY LOGS TO '{file}'")).await;
        well(&sandbox, &["start", "--once", "--resync"]);
        client.query_drop("XA COMMIT 'x'").await.unwrap();
        // What was prepared before the new position is not known.
        well(&sandbox, &["start", "--once"]);

        assert_copied_but(&sandbox, &[]).await;
    }

    async fn a_running_daemon_reads_what_is_asked_for_again_and_refuses_what_it_does_not_know(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.set("/source/on_doubt", json!("stop_table"));
        tables(&sandbox.server).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox
            .server
            .exec(format!("USE {DATABASE}; SET SESSION binlog_format = 'STATEMENT'; UPDATE kept SET v = 77; SET SESSION binlog_format = 'ROW'"))
            .await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_stated(&status, "kept", "left_out");
        for (arguments, words) in [
            (["resync", "--table", "shop.nothing"], "the log knows no table \"shop.nothing\""),
            (["resync", "--sink", "nowhere"], "no sink \"nowhere\""),
            (["resync", "--table", "crm.users"], "\"crm.users\" is not copied"),
        ] {
            let output = sandbox.run(&arguments);
            assert!(!output.status.success() && said(&output).contains(words), "{arguments:?}: {}", said(&output));
        }
        let before = sandbox.caught_up(&mut daemon).await;
        assert_eq!(before["snapshot"]["tables"], json!([]), "what is refused leaves nothing");

        let output = sandbox.run(&["resync", "--json"]);
        let taken: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(taken, json!({ "tables": 7, "sinks": null, "done": false, "failed_sinks": [], "paused_sinks": [] }));
        let status = sandbox.caught_up(&mut daemon).await;
        for table in ["kept", "wide", "gone", "moved", "again", "loose", "keys_of"] {
            assert_stated(&status, table, "complete");
            assert_eq!(reads(&status, table), reads(&before, table) + 1, "{table}");
            assert_eq!(operations(&sandbox, table).await["replace"], 1, "{table}");
        }

        let said = well(&sandbox, &["resync", "--table", "shop.wide", "--table", "shop.again", "--sink", "ch"]);
        assert!(said.contains("2 tables handed to the daemon"), "{said}");
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(operations_of_sqlite(&sandbox, "wide"), 1, "it was for another sink");
        assert!(table_of(&status, "shop.wide")["sinks"]["local"]["not_theirs"].as_u64() >= Some(3), "{status:#}");
        assert_copied_but(&sandbox, &[]).await;
    }
}

/// How often the changelog in SQLite was replaced.
fn operations_of_sqlite(sandbox: &Sandbox, table: &str) -> i64 {
    let changelog = open_sqlite(&sandbox.changelog());
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE _op = 'replace'");
    changelog.query_row(&sql, [], |row| row.get(0)).unwrap()
}
