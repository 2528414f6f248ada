//! Many small tables are read together: each is as exact as if it were read by itself, and they share the commits of
//! the log.

use std::fs;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::{all_complete, reads_nothing, table_of};
use crate::support::workload::Workload;

both_servers! {
    async fn small_tables_that_are_read_together_are_exact_amid_writers_and_kills(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE).with_tables(48).with_connections(3);
        workload.create(&sandbox.server, 40).await;
        let changing = workload.clone().with_ddl().start(&sandbox.server);
        changing.progressed_by(50).await;
        for _ in 0..4 {
            let mut daemon = sandbox.start();
            tokio::time::sleep(Duration::from_millis(rand::random_range(20..1500))).await;
            daemon.kill();
        }
        let mut daemon = sandbox.start();
        changing.progressed_by(100).await;
        changing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;

        // Once more, in place of what the sink has, while rows alone change.
        let writing = workload.start(&sandbox.server);
        let asked = sandbox.run(&["resync"]);
        assert!(asked.status.success(), "{asked:?}");
        writing.progressed_by(100).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;

        sandbox.assert_mirrored().await;
    }
}

#[tokio::test]
async fn small_tables_share_the_commits_of_the_log_and_none_waits_for_one_that_is_locked_on_mariadb() {
    const TABLES: usize = 80;
    let sandbox = Sandbox::new(Kind::MariaDb).await;
    for number in 0..TABLES {
        let create = format!(
            "USE {DATABASE}; CREATE TABLE t{number} (id INT PRIMARY KEY, v TEXT); INSERT INTO t{number} VALUES (1, 'a'), (2, 'b'), (3, NULL)"
        );
        sandbox.server.exec(create).await;
    }
    let mut locking = sandbox.server.connect().await;
    locking.query_drop(format!("LOCK TABLES {DATABASE}.t7 WRITE")).await.unwrap();
    let mut daemon = sandbox.start();
    let others = daemon
        .wait_until("every other table is complete", |status| {
            let tables = status["tables"].as_array().unwrap();
            tables.iter().filter(|table| table["state"] == "complete").count() == TABLES - 1
        })
        .await;
    assert_ne!(table_of(&others, &format!("{DATABASE}.t7"))["state"], "complete");
    locking.query_drop("UNLOCK TABLES").await.unwrap();
    let status = daemon.wait_until("it is complete, too", |status| all_complete(status) == Some(TABLES)).await;

    let commits = others["wal"]["commits"].as_u64().unwrap();
    assert!(commits < u64::try_from(TABLES).unwrap(), "{commits} commits for {TABLES} tables");
    assert!(reads_nothing(&status), "{status:#}");
    sandbox.caught_up(&mut daemon).await;
    sandbox.assert_mirrored().await;
    let said = fs::read_to_string(sandbox.path("replicator.log")).unwrap();
    let read = said.lines().filter(|line| line.contains("a table was read"));
    let exact = read.filter(|line| line.contains(" rows=3 ") && line.contains(" seconds="));
    assert_eq!(exact.count(), TABLES, "{said}");
    assert!(said.lines().count() < TABLES + 40, "{said}");
}

#[tokio::test]
async fn a_source_that_writes_nothing_for_the_log_makes_hardly_a_commit_of_it_on_mariadb() {
    let sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox
        .server
        .exec(format!("CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY); INSERT INTO {DATABASE}.t VALUES (1)"))
        .await;
    sandbox.server.exec("CREATE DATABASE other; CREATE TABLE other.beats (id INT PRIMARY KEY, at INT)").await;
    let mut daemon = sandbox.start();
    let commits = |status: &serde_json::Value| status["wal"]["commits"].as_u64().unwrap();
    let events = |status: &serde_json::Value| status["source"]["events"].as_u64().unwrap();

    // No event but heartbeats, of which one comes a second.
    let done = sandbox.caught_up(&mut daemon).await;
    // What the sink has acknowledged, and the position after it, are stored a moment later.
    let idle = daemon.wait_until("three heartbeats have come", |status| events(status) >= events(&done) + 3).await;
    let later = daemon.wait_until("four heartbeats have come", |status| events(status) >= events(&idle) + 4).await;
    assert_eq!(commits(&later), commits(&idle), "{later:#}");

    // Transactions of tables that are not captured.
    let begun = std::time::Instant::now();
    let mut writing = sandbox.server.connect().await;
    for beat in 0..60 {
        writing.query_drop(format!("REPLACE INTO other.beats VALUES (1, {beat})")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let beaten = daemon.wait_until("they were read", |status| events(status) >= events(&later) + 60).await;
    let most = 6 + begun.elapsed().as_secs() / 10;
    assert!(commits(&beaten) - commits(&later) <= most, "{} of at most {most}", commits(&beaten) - commits(&later));
    // The position follows all the same.
    sandbox.caught_up(&mut daemon).await;
}
