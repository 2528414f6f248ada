//! Tables that cannot be copied by what they become, and back.

use super::{exec, refused, world};
use crate::support::compare::{View, assert_mirrored_as};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::table_of;

/// Runs each statement of two prefixes: of one while nobody reads, of the other live.
async fn step(sandbox: &Sandbox, sql: impl Fn(&str) -> String) -> serde_json::Value {
    exec(sandbox, &sql("a_")).await;
    sandbox.run_once();
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    exec(sandbox, &sql("b_")).await;
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
    status
}

fn assert_left_out(status: &serde_json::Value, tables: &[&str], by: &str) {
    for table in ["a_", "b_"].iter().flat_map(|prefix| tables.iter().map(move |table| format!("{prefix}{table}"))) {
        let row = table_of(status, &format!("{DATABASE}.{table}"));
        assert_eq!(row["state"], "left_out", "{table}: {row:#}");
        assert!(row["why"].as_str().unwrap().contains(by), "{table}: {row:#}");
    }
}

async fn assert_mirrors(sandbox: &Sandbox, left_out: &[&str]) -> usize {
    let left_out = ["a_", "b_"].iter().flat_map(|prefix| left_out.iter().map(move |table| format!("{prefix}{table}")));
    let view = View { left_out: left_out.collect(), ..View::default() };
    let compared = assert_mirrored_as(&view, &sandbox.server, DATABASE, &sandbox.sqlite()).await;
    assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await, compared);
    compared.rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versioned_tables_are_left_out_however_they_become_it_and_come_back_on_mariadb() {
    let sandbox = world(Kind::MariaDb, &[]).await;
    let made = |p: &str| {
        format!(
            "CREATE TABLE {p}kept (c INT PRIMARY KEY); INSERT INTO {p}kept VALUES (1);
             CREATE TABLE {p}becomes (c INT PRIMARY KEY, v INT); INSERT INTO {p}becomes VALUES (1, 1), (2, 2);
             CREATE TABLE {p}returns (c INT PRIMARY KEY, v INT); INSERT INTO {p}returns VALUES (1, 1), (2, 2)"
        )
    };
    step(&sandbox, made).await;
    let versioned = ["becomes", "column", "like", "commented", "exact", "created"];
    let status = step(&sandbox, |p| {
        format!(
            "ALTER TABLE {p}becomes ADD SYSTEM VERSIONING; UPDATE {p}becomes SET v = 20; DELETE FROM {p}becomes WHERE c = 1;
             ALTER TABLE {p}returns ADD SYSTEM VERSIONING; DELETE FROM {p}returns WHERE c = 1; ALTER TABLE {p}returns DROP SYSTEM VERSIONING; INSERT INTO {p}returns VALUES (3, 3);
             CREATE TABLE {p}column (c INT PRIMARY KEY, v INT WITH SYSTEM VERSIONING); INSERT INTO {p}column VALUES (1, 1); UPDATE {p}column SET v = 2; DELETE FROM {p}column;
             CREATE TABLE {p}like LIKE {p}becomes; INSERT INTO {p}like VALUES (1, 1); DELETE FROM {p}like;
             CREATE TABLE {p}commented (c INT PRIMARY KEY) /*!100301 WITH SYSTEM VERSIONING */; INSERT INTO {p}commented VALUES (1); DELETE FROM {p}commented;
             CREATE TABLE {p}exact (c INT PRIMARY KEY, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END,
                 PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING; INSERT INTO {p}exact (c) VALUES (1); UPDATE {p}exact SET c = 2; DELETE FROM {p}exact;
             CREATE TABLE {p}created (c INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING; INSERT INTO {p}created VALUES (1, 1); UPDATE {p}created SET v = 2; DELETE FROM {p}created;
             INSERT INTO {p}kept VALUES (2)"
        )
    })
    .await;
    assert_left_out(&status, &versioned, "system-versioned");
    assert_eq!(assert_mirrors(&sandbox, &versioned).await, 2 * (2 + 2));
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let why = refused(&sandbox, "a_becomes");
    assert!(why.contains("system-versioned"), "{why}");
    daemon.stop();

    let status = step(&sandbox, |p| {
        format!(
            "ALTER TABLE {p}becomes DROP SYSTEM VERSIONING; INSERT INTO {p}becomes VALUES (3, 3); ALTER TABLE {p}column DROP SYSTEM VERSIONING;
             ALTER TABLE {p}like RENAME TO {p}renamed; DELETE FROM {p}kept WHERE c = 1"
        )
    })
    .await;
    assert_left_out(&status, &["renamed"], "system-versioned");
    assert_eq!(assert_mirrors(&sandbox, &["renamed", "commented", "exact", "created"]).await, 2 * (1 + 2 + 2));
}

both_servers! {
    async fn a_table_whose_engine_keeps_no_rows_is_left_out_and_comes_back(kind: Kind) {
        let sandbox = world(kind, if kind == Kind::MariaDb { &["--plugin-load-add=ha_blackhole"] } else { &[] }).await;
        step(&sandbox, |p| format!("CREATE TABLE {p}t (c INT PRIMARY KEY); INSERT INTO {p}t VALUES (1); CREATE TABLE {p}u (c INT PRIMARY KEY); INSERT INTO {p}u VALUES (1)")).await;
        let status = step(&sandbox, |p| format!(
            "ALTER TABLE {p}t ENGINE=BLACKHOLE; INSERT INTO {p}t VALUES (2); ALTER TABLE {p}u COMMENT 'x' ENGINE BLACKHOLE; INSERT INTO {p}u VALUES (2); ALTER TABLE {p}u ENGINE=InnoDB; INSERT INTO {p}u VALUES (3);
             CREATE TABLE {p}like LIKE {p}t; INSERT INTO {p}like VALUES (5)"
        )).await;
        assert_left_out(&status, &["t", "like"], "BLACKHOLE");
        assert_eq!(assert_mirrors(&sandbox, &["t", "like"]).await, 2);
        let log = std::fs::read_to_string(sandbox.path("replicator.log")).unwrap();
        let said = log.lines().filter(|line| line.contains("b_t") && line.contains("it is left out: its engine is BLACKHOLE")).count();
        assert_eq!(said, 1, "{log}");
        step(&sandbox, |p| format!("ALTER TABLE {p}t ENGINE=InnoDB; INSERT INTO {p}t VALUES (4)")).await;
        assert_eq!(assert_mirrors(&sandbox, &["like"]).await, 2 * (1 + 1));
    }
}
