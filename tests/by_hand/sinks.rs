use serde_json::{Value, json};

use super::{json, refused, remedy_of, well};
use crate::support::http;
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;

fn sink<'s>(status: &'s Value, name: &str) -> &'s Value {
    status["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == name).unwrap()
}

#[tokio::test]
async fn a_paused_sink_stays_paused_over_a_restart_and_continues_where_it_stopped_on_mysql() {
    let mut sandbox = Sandbox::new(Kind::MySql).await;
    sandbox.with_changelog();
    sandbox
        .server
        .exec("CREATE TABLE shop.a (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.a VALUES (1, 'one')")
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    well(&sandbox, &["sink", "pause", "changelog", "--reason", "the disk is changed"]);
    let paused_at = sink(&daemon.status().unwrap(), "changelog")["applied_lsn"].clone();
    let applied = |status: &Value| sink(status, "local")["applied_lsn"].as_u64() > paused_at.as_u64();
    sandbox.server.exec("INSERT INTO shop.a VALUES (2, 'two')").await;
    daemon.wait_until("the other sink goes on", applied).await;
    daemon.stop();
    let shown = json(&sandbox, &["sink", "list", "--json"]);
    assert_eq!((&shown[1]["state"], &shown[0]["state"]), (&json!("paused"), &json!("stopped")), "{shown:#}");

    let mut daemon = sandbox.start();
    sandbox.server.exec("UPDATE shop.a SET v = 'changed'").await;
    let at_least = sandbox.logged_within(crate::support::daemon::LIMIT, &mut daemon).await;
    let durable = at_least["wal"]["durable_lsn"].as_u64();
    let status = daemon
        .wait_until("the other sink has everything", |status| sink(status, "local")["applied_lsn"].as_u64() >= durable)
        .await;
    let paused = sink(&status, "changelog");
    assert_eq!((&paused["state"], &paused["applied_lsn"]), (&json!("paused"), &paused_at), "{paused:#}");
    let error = paused["error"].as_str().unwrap();
    assert!(error.contains("the disk is changed") && error.contains("keeps everything"), "{error}");
    assert!(paused["backlog_bytes"].as_u64() > Some(0));
    assert_eq!(status["health"]["status"], "degraded");
    assert_eq!(remedy_of(&status, "paused", "changelog"), Some("replicator sink resume changelog"));
    let metrics = http::get(&sandbox.http(), "/metrics").await;
    assert!(metrics.contains("replicator_sink_state{sink=\"changelog\",state=\"paused\"} 1"), "{metrics}");
    for (arguments, said) in [
        (&["sink", "pause", "changelog"][..], "is paused already"),
        (&["sink", "reset", "changelog"], "replicator sink resume changelog"),
        (&["sink", "resume", "local"], "is not paused"),
        (&["sink", "pause", "elsewhere"], "no sink \"elsewhere\" is configured"),
    ] {
        let refusal = refused(&sandbox, 1, arguments);
        assert!(refusal.contains(said), "{refusal}");
    }

    well(&sandbox, &["sink", "resume", "changelog"]);
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(status["health"]["status"], "ok", "{status:#}");
    daemon.stop();
    sandbox.assert_mirrored().await;
    // The read, the insert, and an update of both rows: each once.
    assert_eq!(sandbox.assert_logged("a").await, 4);

    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    well(&sandbox, &["sink", "pause", "local"]);
    // The table stays complete at the sink, which has none of the rows of the read.
    let said = refused(&sandbox, 1, &["backfill", "--table", "shop.a", "--where", "id = 1", "--wait"]);
    assert!(said.contains("sink local is paused"), "{said}");
    let taken = json(&sandbox, &["resync", "--table", "shop.a", "--json"]);
    assert_eq!((&taken["paused_sinks"], &taken["failed_sinks"]), (&json!(["local"]), &json!([])), "{taken:#}");
    well(&sandbox, &["sink", "resume", "local"]);
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored().await;

    well(&sandbox, &["sink", "pause", "local"]);
    assert!(well(&sandbox, &["sink", "list"]).contains("paused"));
    // A new table is complete at the other sink alone, which is all that such a run is to bring.
    sandbox.server.exec("CREATE TABLE shop.b (id INT PRIMARY KEY)").await;
    sandbox.run_once();
    well(&sandbox, &["sink", "resume", "local"]);
    sandbox.run_once();
}
