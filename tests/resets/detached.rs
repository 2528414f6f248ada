//! A full log that a failed sink holds: it is detached after a while, and comes back by a reset.

use serde_json::{Value, json};

use super::{DATABASE, reset};
use crate::support::compare::assert_mirrored;
use crate::support::daemon::LIMIT;
use crate::support::sandbox::Sandbox;

fn sink<'s>(status: &'s Value, name: &str) -> &'s Value {
    status["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == name).unwrap()
}

/// The reason about a sink, or about the log.
fn reason<'s>(status: &'s Value, what: &str) -> &'s Value {
    let reasons = status["health"]["reasons"].as_array().unwrap();
    reasons.iter().find(|reason| reason["what"] == what).unwrap_or(&Value::Null)
}

fn is_complete(status: &Value, name: &str) -> bool {
    status["tables"].as_array().is_some_and(|tables| {
        !tables.is_empty() && tables.iter().all(|table| table["sinks"][name]["state"] == "complete")
    })
}

both_servers! {
    async fn a_failed_sink_is_detached_from_the_full_log_and_comes_back_whole(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/wal/max_size", json!("64MiB"));
        sandbox
            .server
            .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT NOT NULL)"))
            .await;
        let blocked = sandbox.path("blocked");
        std::fs::write(&blocked, "a file in the place of a directory").unwrap();
        let bad = blocked.join("replica.db");
        let good = sandbox.config()["sinks"][0].clone();
        let mut sinks = json!([good, { "name": "bad", "type": "sqlite", "path": bad, "table_name": "{table}" }]);
        sandbox.set("/sinks", sinks.clone());
        let mut daemon = sandbox.start();
        daemon.wait_until("the sink has failed", |status| sink(status, "bad")["state"] == "failed").await;
        for _ in 0..480 {
            sandbox
                .server
                .exec(format!("INSERT INTO {DATABASE}.t (v) VALUES (CONCAT(UUID(), REPEAT('x', 100000)))"))
                .await;
        }

        // The log waits, and says for whom, why, and what to do.
        let status = daemon.wait_until("the log is full", |status| status["source"]["state"] == "log_full").await;
        let full = reason(&status, "log");
        let why = full["why"].as_str().unwrap();
        assert!(why.contains("sink bad") && why.contains("cannot create the directory"), "{full:#}");
        let remedy = full["remedy"].as_str().unwrap();
        assert!(remedy.contains("replicator sink reset bad") && remedy.contains("restart"), "{full:#}");
        daemon.stop();

        sinks[1]["on_full"] = json!("detach");
        sinks[1]["detach_after"] = json!("2s");
        sandbox.set("/sinks", sinks);
        let mut daemon = sandbox.start();
        let status = daemon.wait_until("the sink is detached", |status| sink(status, "bad")["state"] == "detached").await;
        assert_eq!(sink(&status, "bad")["remedy"], "replicator sink reset bad");
        assert!(daemon.log().contains("detached"), "it is not said");
        let durable = sandbox.logged_within(2 * LIMIT, &mut daemon).await["wal"]["durable_lsn"].as_u64();
        daemon.wait_until("the other sink has everything", |status| {
            sink(status, "local")["applied_lsn"].as_u64() >= durable && is_complete(status, "local")
        }).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, 480);

        // A start shows it, and serves the other one.
        let mut daemon = sandbox.start();
        let status = daemon.wait_until("the other sink runs", |status| sink(status, "local")["state"] == "running").await;
        let of_sink = reason(&status, "sink");
        assert_eq!((of_sink["status"].as_str(), of_sink["state"].as_str()), (Some("failed"), Some("detached")), "{of_sink:#}");
        assert_eq!(of_sink["remedy"], "replicator sink reset bad");
        sandbox.server.exec(format!("DELETE FROM {DATABASE}.t WHERE id % 4 = 0")).await;

        std::fs::remove_file(&blocked).unwrap();
        reset(&sandbox, "bad");
        daemon.wait_until("both have everything", |status| is_complete(status, "bad") && is_complete(status, "local")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, 360);
        assert_eq!(assert_mirrored(&sandbox.server, DATABASE, &bad).await.rows, 360);
    }
}
