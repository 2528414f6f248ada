//! Reads that an operator asks for: what cannot be read is refused and leaves nothing.

use serde_json::{Value, json};

use super::{assert_copied_but, assert_health, assert_lines, assert_stated, once, operations, said, states};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

/// What a request says of one table, and what a refusal has to name.
const REFUSED: [(&str, &[&str], &str); 6] = [
    ("missing", &[], "does not exist at the source"),
    ("v", &[], "is a view"),
    ("hole", &[], "BLACKHOLE"),
    ("t", &["--where", "idd > 3"], "idd"),
    ("t", &["--where", "id >"], "syntax"),
    ("t", &["--where", "id > 3", "--replace"], "--where"),
];

both_servers! {
    async fn a_request_that_cannot_be_met_is_refused_and_leaves_nothing(kind: Kind) {
        let options = ServerOptions::new(kind);
        let options = if kind == Kind::MariaDb { options.argument("--plugin-load-add=ha_blackhole") } else { options };
        let sandbox = Sandbox::with_every_sink_on(options.start().await).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (5); CREATE VIEW v AS SELECT * FROM t;
                 CREATE TABLE hole (id INT PRIMARY KEY) ENGINE=BLACKHOLE"
            ))
            .await;
        once(&sandbox, 0);
        let lines = operations(&sandbox, "t").await;

        let mut daemon = sandbox.start();
        let before = sandbox.caught_up(&mut daemon).await;
        for (table, more, named) in REFUSED {
            let output = sandbox.run(&[&["backfill", "--database", DATABASE, "--table", table], more].concat());
            let said = said(&output);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{table} {more:?}: {said}");
            assert!(said.contains(named), "{table} {more:?}: {said}");
        }
        let after = sandbox.caught_up(&mut daemon).await;
        assert_eq!((&after["tables"], &after["snapshot"]), (&before["tables"], &json!({ "tables": [] })));
        assert_health(&sandbox, &after, "ok").await;
        daemon.stop();

        // The same without a daemon: the run does the rest, and fails.
        for (table, more, named) in REFUSED {
            let output = sandbox.run(&[&["backfill", "--database", DATABASE, "--table", table], more].concat());
            let said = said(&output);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{table} {more:?}: {said}");
            assert!(said.contains(named), "{table} {more:?}: {said}");
        }
        once(&sandbox, 0);
        assert_eq!(operations(&sandbox, "t").await, lines);
        // What can be met is met.
        let output = sandbox.run(&["backfill", "--database", DATABASE, "--table", "t", "--where", "id > 3"]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(operations(&sandbox, "t").await["snapshot"], lines["snapshot"] + 1);
        assert_eq!(assert_copied_but(&sandbox, &["hole"]).await.rows, 2);
    }
}

/// Waits for what is tried again every minute, so everything that waits for it is here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_stated_and_read_within_a_minute_of_its_fix_on_mariadb() {
    let sandbox = Sandbox::with_every_sink(Kind::MariaDb).await;
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE kept (id INT PRIMARY KEY); INSERT INTO kept VALUES (1);
             CREATE TABLE denied (id INT PRIMARY KEY); INSERT INTO denied VALUES (1), (2);
             CREATE TABLE dropped (id INT PRIMARY KEY); INSERT INTO dropped VALUES (1);
             CREATE TABLE altered (id INT PRIMARY KEY, a VARCHAR(100) COMPRESSED); INSERT INTO altered VALUES (1, 'a')"
        ))
        .await;
    let grants: Vec<String> =
        ["kept", "altered"].map(super::grant).into_iter().chain(["denied", "dropped"].map(super::seen)).collect();
    super::limited_to(&sandbox.server, &grants.join("; ")).await;
    let mut daemon = sandbox.start();
    let status = daemon
        .wait_until("two tables cannot be read, and one is left out", |status| {
            ["denied", "dropped"].iter().all(|table| super::is_stated(status, table, "unreadable"))
                && super::is_stated(status, "altered", "left_out")
                && super::is_stated(status, "kept", "complete")
        })
        .await;
    assert_stated(&status, "kept", "complete");
    for table in ["denied", "dropped"] {
        let why = assert_stated(&status, table, "unreadable");
        assert!(why.contains(&super::grant(table)), "{why}");
    }
    let why = assert_stated(&status, "altered", "left_out");
    assert!(why.contains("COMPRESSED"), "{why}");
    assert_health(&sandbox, &status, "failed").await;

    sandbox
        .server
        .exec(format!(
            "{}; USE {DATABASE}; INSERT INTO denied VALUES (3); DROP TABLE dropped; ALTER TABLE altered MODIFY a VARCHAR(100);
             INSERT INTO altered VALUES (2, 'b')",
            super::grant("denied")
        ))
        .await;

    let status = daemon
        .wait_until_within(std::time::Duration::from_secs(150), "all is well", |status| {
            status["health"]["status"] == "ok" && status["snapshot"]["tables"] == json!([])
        })
        .await;
    assert_eq!(states(&status, "dropped").0, Value::Null, "{status:#}");
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    for table in ["kept", "denied", "altered"] {
        assert_stated(&status, table, "complete");
        assert_lines(&sandbox, table).await;
    }
    assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 1 + 3 + 2);
}
