//! `replicator check` on a ClickHouse sink: each finding, and the statement that mends it.

use serde_json::{Value, json};

use super::watch::stopped;
use crate::support::clickhouse::ClickHouseOptions;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};
use crate::support::workload::{Shape, Workload};

/// What docs/clickhouse.md says the user needs.
const ENOUGH: [&str; 5] = [
    "SELECT, INSERT, ALTER COLUMN, CREATE TABLE, DROP TABLE, TRUNCATE ON replica.*",
    "TABLE ENGINE ON ReplacingMergeTree",
    "CREATE VIEW, DROP VIEW ON replica.*",
    "SELECT ON system.parts",
    "SELECT ON system.disks",
];

async fn sandbox(options: ClickHouseOptions) -> Sandbox {
    let server = Server::start(Kind::MariaDb).await;
    Sandbox::with_clickhouse_on(server, options.start().await).await
}

/// What `check --json` says about the sink.
fn findings(sandbox: &Sandbox) -> Vec<Value> {
    let output = sandbox.run(&["check", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    let items = all.as_array().or_else(|| all["checks"].as_array()).expect("a list of findings");
    items.iter().filter(|item| item["name"].as_str().is_some_and(|name| name.starts_with("sink ch"))).cloned().collect()
}

/// The findings that are not as they should be: status, detail and mend in one line each.
fn complaints(sandbox: &Sandbox) -> Vec<String> {
    let items = findings(sandbox);
    assert!(!items.is_empty(), "check says nothing about the sink");
    let complaints = items.iter().filter(|item| item["status"] != "ok");
    let line = |item: &Value| {
        let part = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {}; {}", part("status"), part("detail"), part("mend"))
    };
    complaints.map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_fit_is_said_to_be_on_mariadb() {
    let sandbox = sandbox(ClickHouseOptions::default()).await;

    assert_eq!(complaints(&sandbox), [""; 0]);
    let names: Vec<String> = findings(&sandbox).iter().map(|item| item["name"].to_string()).collect();
    for what in ["version", "privileges", "settings", "disk"] {
        assert!(names.iter().any(|name| name.contains(what)), "nothing about {what} in {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn least_privileges_suffice_and_each_missing_one_is_named_with_its_grant_on_mariadb() {
    let some = ["SELECT, CREATE TABLE ON replica.*", "SELECT ON system.*", "TABLE ENGINE ON *"];
    let options = ClickHouseOptions::default().user("enough", "", &ENOUGH).user("less", "", &some);
    let mut sandbox = sandbox(options).await;

    sandbox.set("/sinks/0/user", json!("enough"));
    assert_eq!(complaints(&sandbox), [""; 0]);
    sandbox.set("/sinks/0/user", json!("less"));
    let complaints = complaints(&sandbox).join("\n");

    for privilege in ["INSERT", "ALTER COLUMN", "DROP TABLE", "TRUNCATE"] {
        assert!(complaints.contains(privilege), "nothing about {privilege} in {complaints}");
    }
    assert!(complaints.contains("GRANT ") && complaints.contains(" ON `replica`.* TO `less`"), "{complaints}");
    assert!(!complaints.contains("CREATE TABLE"), "{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_privileges_are_enough_for_every_change_on_mariadb() {
    let mut sandbox = sandbox(ClickHouseOptions::default().user("writer", "", &ENOUGH)).await;
    sandbox.set("/sinks/0/user", json!("writer"));
    sandbox.set("/sinks/0/create_views", json!(true));
    let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]).with_ddl();
    workload.create(&sandbox.server, 50).await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    workload.run(&sandbox.server, 200).await;
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE k (a INT NOT NULL PRIMARY KEY, b INT NOT NULL); INSERT INTO k VALUES (1, 2);
             ALTER TABLE k DROP PRIMARY KEY, ADD PRIMARY KEY (b); RENAME TABLE k TO l; TRUNCATE TABLE l; DROP TABLE l"
        ))
        .await;
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert_eq!(stopped(&status), [""; 0], "{status:#}");
    sandbox.assert_mirrored_to_clickhouse().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_mended_by_its_statement_on_mariadb() {
    let sandbox = sandbox(ClickHouseOptions::default()).await;
    sandbox.clickhouse().exec("DROP DATABASE replica SYNC").await;

    let said = complaints(&sandbox).join("\n");

    assert!(said.contains("fail: ") && said.contains("CREATE DATABASE `replica`"), "{said}");
    sandbox.clickhouse().exec("CREATE DATABASE `replica`").await;
    assert_eq!(complaints(&sandbox), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_server_that_is_not_there_fail_on_mariadb() {
    let mut sandbox = sandbox(ClickHouseOptions::default().user("writer", "sesame", &["ALL ON *.*"])).await;
    sandbox.set("/sinks/0/user", json!("writer"));
    let wrong = complaints(&sandbox).join("\n");
    sandbox.clickhouse_mut().stop();
    let gone = complaints(&sandbox).join("\n");

    assert!(
        wrong.contains("fail: ") && wrong.contains("writer") && wrong.contains("REPLICATOR_SINK_CH_PASSWORD"),
        "{wrong}"
    );
    assert!(gone.contains("fail: ") && gone.contains(&sandbox.clickhouse().port().to_string()), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_only_reads_and_a_setting_that_is_not_known_fail_on_mariadb() {
    let mut sandbox = sandbox(ClickHouseOptions::default().read_only_user("reader")).await;
    sandbox.set("/sinks/0/user", json!("reader"));
    let reads = complaints(&sandbox).join("\n");
    sandbox.set("/sinks/0/user", json!("default"));
    sandbox.set("/sinks/0/settings", json!({ "max_thraeds": 1 }));
    let unknown = complaints(&sandbox).join("\n");

    assert!(reads.contains("fail: ") && reads.contains("readonly"), "{reads}");
    assert!(unknown.contains("fail: ") && unknown.contains("max_thraeds"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_is_named_on_mariadb() {
    let full = "<storage_configuration><disks><default><keep_free_space_bytes>1000000000000000</keep_free_space_bytes></default></disks></storage_configuration>";
    let sandbox = sandbox(ClickHouseOptions::default().configuration(full)).await;

    let said = complaints(&sandbox).join("\n");

    assert!(said.contains("0 B free on \"default\""), "{said}");
}
