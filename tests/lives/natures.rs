//! Tables that cannot be copied by what they are: listed, no fault, and nobody else's matter.

use serde_json::{Value, json};

use super::{assert_copied_but, assert_health, assert_stated, once, states, stopped};
use crate::support::cells::{open_sqlite, sqlite_tables};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};
use crate::support::status::table_of;

async fn world(kind: Kind) -> Sandbox {
    let options = ServerOptions::new(kind);
    // MariaDB has the engine as a plug-in.
    let options = if kind == Kind::MariaDb { options.argument("--plugin-load-add=ha_blackhole") } else { options };
    Sandbox::with_every_sink_on(options.start().await).await
}

fn assert_left_out(status: &Value, table: &str, by: &str) {
    let why = assert_stated(status, table, "left_out");
    assert!(why.contains(by), "{table}: {why}");
    assert_eq!(table_of(status, &format!("{DATABASE}.{table}"))["by_nature"], json!(true), "{status:#}");
}

both_servers! {
    async fn tables_without_rows_of_their_own_are_left_out_and_the_others_go_on(kind: Kind) {
        let sandbox = world(kind).await;
        let make = |prefix: &str| format!(
            "USE {DATABASE}; CREATE TABLE {prefix}part (c INT PRIMARY KEY) ENGINE=MyISAM; INSERT INTO {prefix}part VALUES (1);
             CREATE TABLE {prefix}merged (c INT PRIMARY KEY) ENGINE=MERGE UNION=({prefix}part) INSERT_METHOD=LAST;
             CREATE TABLE {prefix}hole (c INT PRIMARY KEY) ENGINE=BLACKHOLE"
        );
        let write = |prefix: &str, id: u32| format!(
            "USE {DATABASE}; INSERT INTO {prefix}hole VALUES ({id}); INSERT INTO {prefix}part VALUES ({id}); INSERT INTO kept VALUES ({id})"
        );
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.kept (c INT PRIMARY KEY); {}", make("a_"))).await;
        let assert = |status: &Value, prefixes: &[&str]| {
            for prefix in prefixes {
                assert_left_out(status, &format!("{prefix}hole"), "BLACKHOLE");
                assert_left_out(status, &format!("{prefix}merged"), "MERGE");
                assert_stated(status, &format!("{prefix}part"), "complete");
            }
            assert_stated(status, "kept", "complete");
        };
        // There at the first start.
        once(&sandbox, 0);
        assert(&stopped(&sandbox), &["a_"]);
        // Made and written while nobody reads, then while the stream is read.
        sandbox.server.exec(format!("{}; {}; {}", write("a_", 10), make("b_"), write("b_", 11))).await;
        once(&sandbox, 0);
        assert(&stopped(&sandbox), &["a_", "b_"]);
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.server.exec(format!("{}; {}; {}", make("c_"), write("c_", 12), write("a_", 13))).await;
        let status = sandbox.caught_up(&mut daemon).await;

        assert(&status, &["a_", "b_", "c_"]);
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        let left_out: Vec<String> = ["a_", "b_", "c_"].iter().flat_map(|prefix| [format!("{prefix}hole"), format!("{prefix}merged")]).collect();
        let left_out: Vec<&str> = left_out.iter().map(String::as_str).collect();
        assert_eq!(assert_copied_but(&sandbox, &left_out).await.rows, 4 + 3 + 2 + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_system_versioned_table_reach_no_copy_on_mariadb() {
    let sandbox = world(Kind::MariaDb).await;
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE kept (c INT PRIMARY KEY); INSERT INTO kept VALUES (1);
             CREATE TABLE there (c INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING; INSERT INTO there VALUES (1, 1);
             CREATE TABLE becomes (c INT PRIMARY KEY, v INT); INSERT INTO becomes VALUES (1, 1), (2, 2)"
        ))
        .await;
    once(&sandbox, 0);
    assert_left_out(&stopped(&sandbox), "there", "system-versioned");
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; UPDATE there SET v = 2; DELETE FROM there; INSERT INTO kept VALUES (2);
             CREATE TABLE comes (c INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING; INSERT INTO comes VALUES (1, 1); DELETE FROM comes"
        ))
        .await;
    once(&sandbox, 0);
    for table in ["there", "comes"] {
        assert_left_out(&stopped(&sandbox), table, "system-versioned");
    }

    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; ALTER TABLE becomes ADD SYSTEM VERSIONING; UPDATE becomes SET v = 20 WHERE c = 2; DELETE FROM becomes WHERE c = 1;
             CREATE TABLE later (c INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING; INSERT INTO later VALUES (1, 1); DELETE FROM later;
             INSERT INTO kept VALUES (3)"
        ))
        .await;
    let status = sandbox.caught_up(&mut daemon).await;
    for table in ["there", "comes", "becomes", "later"] {
        assert_left_out(&status, table, "system-versioned");
        assert_eq!(
            table_of(&status, &format!("{DATABASE}.{table}"))["applied"]["local"].as_u64().unwrap_or(0),
            if table == "becomes" { 2 } else { 0 }
        );
    }
    assert_health(&sandbox, &status, "ok").await;
    // What it was before stays as it was; of the others there is nothing.
    let copied = sqlite_tables(&open_sqlite(&sandbox.sqlite()));
    assert_eq!(copied, ["becomes", "kept"]);

    // Without versions it is a table like any other.
    sandbox
        .server
        .exec(format!(
            "ALTER TABLE {DATABASE}.becomes DROP SYSTEM VERSIONING; INSERT INTO {DATABASE}.becomes VALUES (3, 3)"
        ))
        .await;
    let status = sandbox.caught_up(&mut daemon).await;
    assert_stated(&status, "becomes", "complete");
    daemon.stop();
    assert_eq!(states(&status, "kept").0, "complete");
    assert_eq!(assert_copied_but(&sandbox, &["there", "comes", "later"]).await.rows, 3 + 2);
}
