//! A target that is not the one that was left: emptied, restored from an older copy, or another log's.

use std::process::Command;

use serde_json::json;

use super::watch::number;
use crate::support::clickhouse::REPLICA;
use crate::support::replica::replica_tables;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::free_port;
use crate::support::status::reads_nothing;

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

async fn mirrored_once(kind: crate::support::server::Kind) -> Sandbox {
    let sandbox = Sandbox::with_clickhouse(kind).await;
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')"))
        .await;
    sandbox.run_once();
    sandbox.assert_mirrored_to_clickhouse().await;
    sandbox
}

/// Runs to the end, which must be refused; gives what it said.
fn refused(sandbox: &Sandbox) -> String {
    let output = sandbox.run(&["start", "--once"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

both_servers! {
    async fn an_emptied_target_is_recognised_and_not_written_to(kind: Kind) {
        let sandbox = mirrored_once(kind).await;
        sandbox.clickhouse().exec("DROP DATABASE replica SYNC").await;
        sandbox.clickhouse().exec("CREATE DATABASE replica").await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2, 'b')")).await;

        let said = refused(&sandbox);

        assert!(said.contains("the target of sink 'ch' is empty"), "{said}");
        assert_eq!(replica_tables(sandbox.clickhouse(), REPLICA).await, [""; 0]);
    }

    async fn the_target_of_another_log_is_recognised_and_not_written_to(kind: Kind) {
        let mut sandbox = mirrored_once(kind).await;
        let before = sandbox.clickhouse().query("SELECT * FROM replica.t FINAL").await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2, 'b')")).await;
        let other = sandbox.path("other-wal");
        sandbox.set("/wal/path", json!(other));

        let said = refused(&sandbox);

        assert!(said.contains("belongs to log"), "{said}");
        assert_eq!(sandbox.clickhouse().query("SELECT * FROM replica.t FINAL").await, before);
    }

    async fn a_target_of_format_1_is_refused_and_the_hint_leads_to_a_copy(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')")).await;
        let target = sandbox.clickhouse();
        target.exec(
            "CREATE TABLE replica._replicator_cursors (sink String, log String, lsn UInt64, written DateTime64(3, 'UTC') DEFAULT now64(3)) \
             ENGINE = ReplacingMergeTree(lsn) ORDER BY sink",
        ).await;
        target.exec("CREATE TABLE replica.t (id Int32, v Nullable(String), _version UInt64, _is_deleted UInt8) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id").await;
        target.exec(format!("INSERT INTO replica.t VALUES (1, 'old', {}, 0)", u64::MAX)).await;

        let checked = sandbox.run(&["check"]);
        let said = refused(&sandbox);

        let checked = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.contains("of format 1") && checked.contains("create an empty database"), "{checked}");
        assert!(said.contains("database \"replica\" are of format 1, this version writes format 4"), "{said}");
        assert!(said.contains("create an empty database, set the sink's `database` to it, run `replicator sink reset NAME`"), "{said}");
        assert_eq!(target.query("SELECT v FROM replica.t").await, "old\n");
        // As the hint says.
        target.exec("CREATE DATABASE second").await;
        sandbox.set("/sinks/0/database", json!("second"));
        let name = sandbox.config()["sinks"][0]["name"].as_str().unwrap().to_owned();
        assert!(sandbox.run(&["sink", "reset", &name]).status.success());
        sandbox.run_once();
        assert_eq!(sandbox.clickhouse().query("SELECT id, v FROM second.t FINAL").await, "1\ta\n");
        sandbox.clickhouse().exec("DROP DATABASE replica SYNC").await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2, 'b')")).await;
        sandbox.run_once();
        assert_eq!(sandbox.clickhouse().query("SELECT id, v FROM second.t FINAL ORDER BY id").await, "1\ta\n2\tb\n");
    }

    async fn a_restored_target_goes_on_while_the_log_holds_what_it_misses(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        // A sink that never comes up keeps the log.
        let mut absent = sandbox.config()["sinks"][0].clone();
        absent["name"] = json!("absent");
        absent["url"] = json!(format!("http://127.0.0.1:{}", free_port()));
        let present = sandbox.config()["sinks"][0].clone();
        sandbox.set("/sinks", json!([present, absent]));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')"
        )).await;
        let mut daemon = sandbox.start();
        applied_all(&sandbox, &mut daemon).await;
        daemon.stop();
        sandbox.clickhouse_mut().stop();
        let (data, saved) = (sandbox.clickhouse().data_directory(), sandbox.path("saved"));
        copy(&data, &saved);
        sandbox.clickhouse_mut().start_again().await;
        sandbox.server.exec(format!("USE {DATABASE}; UPDATE t SET v = 'A' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 'c')")).await;
        let mut daemon = sandbox.start();
        applied_all(&sandbox, &mut daemon).await;
        daemon.stop();
        sandbox.assert_mirrored_to_clickhouse().await;

        sandbox.clickhouse_mut().stop();
        std::fs::remove_dir_all(&data).unwrap();
        copy(&saved, &data);
        sandbox.clickhouse_mut().start_again().await;
        assert_eq!(number(&sandbox, "SELECT count() FROM replica.t FINAL WHERE v = 'a'").await, 1);
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (4, 'd')")).await;
        let mut daemon = sandbox.start();
        applied_all(&sandbox, &mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_restored_target_that_misses_what_was_trimmed_is_named_and_not_written_to(kind: Kind) {
        let mut sandbox = mirrored_once(kind).await;
        sandbox.clickhouse_mut().stop();
        let (data, saved) = (sandbox.clickhouse().data_directory(), sandbox.path("saved"));
        copy(&data, &saved);
        sandbox.clickhouse_mut().start_again().await;
        // Several blocks of the log, so that some are trimmed.
        for id in 10..20 {
            sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES ({id}, REPEAT('x', 60000))")).await;
        }
        sandbox.run_once();
        for id in 20..30 {
            sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES ({id}, REPEAT('x', 60000))")).await;
        }
        sandbox.run_once();
        sandbox.assert_mirrored_to_clickhouse().await;

        sandbox.clickhouse_mut().stop();
        std::fs::remove_dir_all(&data).unwrap();
        copy(&saved, &data);
        sandbox.clickhouse_mut().start_again().await;
        let said = refused(&sandbox);

        assert!(said.contains("ch") && said.contains("older"), "{said}");
        assert_eq!(number(&sandbox, "SELECT count() FROM replica.t FINAL").await, 1);
    }
}

/// Waits until the first sink has applied what the log holds of the source's transactions up to now.
async fn applied_all(sandbox: &Sandbox, daemon: &mut crate::support::daemon::Daemon) {
    let (file, pos) = sandbox.server.position().await;
    let logged = daemon
        .wait_until("the log has everything", |status| {
            let position = &status["source"]["position"];
            position["file"].as_str() == Some(&file)
                && position["pos"].as_u64().is_some_and(|at| at >= pos)
                && reads_nothing(status)
        })
        .await;
    let durable = logged["wal"]["durable_lsn"].as_u64().unwrap();
    daemon
        .wait_until("the first sink has applied it", |status| {
            status["sinks"][0]["applied_lsn"].as_u64().is_some_and(|applied| applied >= durable)
        })
        .await;
}
