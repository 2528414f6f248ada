use std::time::Instant;

use serde_json::json;

use super::remedy_of;
use crate::support::daemon::{Daemon, LIMIT};
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;
use crate::support::status::table_of;

/// Has the configuration read again, and waits until the log has these words since then.
async fn reload(sandbox: &Sandbox, daemon: &mut Daemon, words: &str) -> String {
    let before = daemon.log().len();
    sandbox.written_config();
    daemon.reload();
    let deadline = Instant::now() + LIMIT;
    loop {
        let said = daemon.log()[before..].to_owned();
        if said.contains(words) {
            return said;
        }
        assert!(daemon.poll().is_none(), "a SIGHUP has ended the daemon");
        assert!(Instant::now() < deadline, "the log has no '{words}': {said}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

const TAKEN: &str = "the configuration was read again";

#[tokio::test]
async fn a_configuration_that_is_read_again_changes_what_is_live_and_names_what_needs_a_restart_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox.server.exec("CREATE TABLE shop.a (id INT PRIMARY KEY, v INT); INSERT INTO shop.a VALUES (1, 1)").await;
    let rule = |on_doubt: &str| json!([{ "database": "shop", "table": "other", "on_doubt": on_doubt }]);
    sandbox.set("/tables", rule("reread"));
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    sandbox
        .set("/tables", json!([{ "database": "shop", "table": "other", "on_doubt": "stop_table", "mode": "history" }]));
    sandbox.set("/source/on_doubt", json!("stop_table"));
    sandbox.set("/source/snapshot", json!({ "parallel": 3, "max_rows_per_second": 1000 }));
    sandbox.set("/sinks/0/mode", json!("history"));
    let said = reload(&sandbox, &mut daemon, "needs a restart").await;
    assert!(said.contains("changed=source.on_doubt, source.snapshot.max_rows_per_second"), "{said}");
    assert!(said.contains("settings=sinks[0].mode, source.snapshot.parallel, tables[0].mode"), "{said}");
    let waits = "setting=tables[0].on_doubt";
    assert!(said.contains(waits), "{said}");
    sandbox.set("/log", json!({ "level": "warn" }));
    let said = reload(&sandbox, &mut daemon, "needs a restart").await;
    assert!(said.contains(waits), "it is named again: {said}");

    // The rule about doubts holds, and the level is another one: the first line is a warning, the second is none.
    let before = daemon.log().len();
    sandbox.server.exec("SET SESSION binlog_format = 'STATEMENT'; UPDATE shop.a SET v = 2").await;
    let status = daemon
        .wait_until("the table is left out by doubt", |status| table_of(status, "shop.a")["state"] == "left_out")
        .await;
    assert!(table_of(&status, "shop.a")["why"].as_str().unwrap().contains("stop_table"));
    assert!(remedy_of(&status, "left_out", "shop.a").unwrap().contains("backfill --replace"));
    let said = daemon.log()[before..].to_owned();
    assert!(said.contains("it is left out") && !said.contains("table changed"), "{said}");

    sandbox.set("/source/on_doubt", json!("no such word"));
    let said = reload(&sandbox, &mut daemon, "nothing is changed").await;
    assert!(said.contains("source.on_doubt") && said.contains("no such word"), "{said}");
    std::fs::write(sandbox.path("replicator.yaml"), "[ not: yaml").unwrap();
    daemon.reload();
    sandbox.set("/source/on_doubt", json!("reread"));
    sandbox.set("/log", json!({ "level": "info" }));
    let said = reload(&sandbox, &mut daemon, TAKEN).await;
    assert!(!said.is_empty());
    sandbox.set("/sinks/0/mode", json!("mirror"));
    sandbox.set("/tables", rule("stop_table"));
    let said = reload(&sandbox, &mut daemon, TAKEN).await;
    assert!(said.contains("changed=tables[0].on_doubt") && !said.contains(waits), "{said}");
    let resumed = sandbox.run(&["table", "resume", "shop.a", "--wait"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored().await;
}
