//! A SQLite file that somebody removes, moves away or replaces while the daemon writes it: nothing is acknowledged into a file that
//! has no name any more, and the sink says which file it misses.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::http::get;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

const FILES: [&str; 3] = ["replica.db", "replica.db-wal", "replica.db-shm"];

async fn copied(kind: Kind) -> (Sandbox, Daemon, u64) {
    let sandbox = Sandbox::new(kind).await;
    sandbox
        .server
        .exec(format!("CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY); INSERT INTO {DATABASE}.t VALUES (1)"))
        .await;
    let mut daemon = sandbox.start();
    let applied = sandbox.caught_up(&mut daemon).await["sinks"][0]["applied_lsn"].as_u64().unwrap();
    (sandbox, daemon, applied)
}

async fn failed(daemon: &mut Daemon) -> Value {
    let failed = |status: &Value| status["sinks"][0]["state"] == "failed";
    let status = daemon.wait_until("the sink has failed", failed).await;
    status["sinks"][0].clone()
}

both_servers! {
    async fn a_file_that_was_removed_takes_no_row_and_its_sink_can_have_a_new_copy(kind: Kind) {
        let (mut sandbox, mut daemon, applied) = copied(kind).await;
        for file in FILES {
            fs::remove_file(sandbox.path(file)).unwrap();
        }
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2)")).await;

        let sink = failed(&mut daemon).await;

        let why = sink["error"].as_str().unwrap();
        assert!(why.contains("replica.db\" was removed while it was in use"), "{why}");
        assert_eq!(sink["applied_lsn"], applied, "{sink:#}");
        let health = get(&sandbox.http(), "/health").await;
        assert!(health.starts_with("HTTP/1.1 503") && health.contains("was removed"), "{health}");
        daemon.stop();

        // As the hint says.
        sandbox.set("/sinks/0/name", json!("again"));
        sandbox.run_once();
        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }

    async fn a_file_that_was_moved_away_is_missed_without_a_row_and_can_be_put_back(kind: Kind) {
        let (sandbox, mut daemon, _) = copied(kind).await;
        let away = |file: &str| sandbox.path(&format!("away-{file}"));
        for file in FILES {
            fs::rename(sandbox.path(file), away(file)).unwrap();
        }

        let sink = failed(&mut daemon).await;

        let why = sink["error"].as_str().unwrap();
        assert!(why.contains("replica.db\" was removed while it was in use"), "{why}");
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2)")).await;
        daemon.stop();
        for file in FILES {
            fs::rename(away(file), sandbox.path(file)).unwrap();
        }
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }

    async fn a_file_that_was_replaced_is_left_alone(kind: Kind) {
        let (sandbox, mut daemon, applied) = copied(kind).await;
        let other = sandbox.path("other.db");
        let connection = rusqlite::Connection::open(&other).unwrap();
        connection.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (7)").unwrap();
        connection.close().unwrap();
        fs::rename(&other, sandbox.sqlite()).unwrap();
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2)")).await;

        let sink = failed(&mut daemon).await;

        let why = sink["error"].as_str().unwrap();
        assert!(why.contains("replica.db\" was replaced by another file"), "{why}");
        assert_eq!(sink["applied_lsn"], applied, "{sink:#}");
        daemon.stop();
        for companion in ["replica.db-wal", "replica.db-shm"] {
            fs::remove_file(sandbox.path(companion)).unwrap();
        }
        let connection = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        let mine: i64 = connection.query_row("SELECT a FROM mine", [], |row| row.get(0)).unwrap();
        assert_eq!((tables, mine), (1, 7));
    }
}
