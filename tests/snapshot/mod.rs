//! The snapshot at its seam: the coordinator against real servers, with an ingest loop that only keeps what it is given.

mod fake_loop;

use std::sync::{Arc, Mutex};

use replicator::config::SnapshotPlan;
use replicator::model::TableName;
use replicator::source::mysql::snapshot::handoff::SnapshotMark;
use replicator::source::mysql::snapshot::{Backfill, Job, TableState, initial_progress};

use self::fake_loop::{Log, Run, SMALL};
use crate::support::cells::source_rows;
use crate::support::compare::rows_differ;
use crate::support::server::{Kind, PASSWORD, Server, ServerOptions};

fn table(name: &str) -> TableName {
    TableName::new("d", name)
}

fn initial(names: &[&str]) -> Vec<Job> {
    names.iter().map(|name| Job::Initial(table(name))).collect()
}

fn log() -> Arc<Mutex<Log>> {
    Arc::default()
}

/// Every row of the table, by value, exactly once.
async fn assert_copied(server: &Server, log: &Mutex<Log>, name: &str) {
    let source = source_rows(server, "d", name, &[]).await;
    let found = log.lock().unwrap().rows(&table(name), &source.columns);
    let differences = rows_differ(&source, found);
    assert!(differences.is_empty(), "{} {name}:\n{differences}", server.kind());
}

/// A table and 100 rows of it, by the number n.
async fn fill(server: &Server, create: &str, insert: &str) {
    server
        .exec(format!(
            "CREATE DATABASE IF NOT EXISTS d; USE d; SET sql_mode = 'ALLOW_INVALID_DATES'; SET NAMES utf8mb4; \
             CREATE TEMPORARY TABLE n AS WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100) SELECT n FROM s; \
             {create}; {insert}"
        ))
        .await;
}

both_servers! {
    async fn a_table_of_an_integer_key_is_read_in_chunks(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO t SELECT n * 3 - 150, CONCAT('v', n) FROM n").await;

        let run = Run::start(&server, SMALL, log(), initial(&["t"]));
        let status = run.settle().await;
        let log = run.end().await;

        assert_copied(&server, &log, "t").await;
        assert_eq!((status.tables[0].state, status.tables[0].rows), (TableState::Done, 100), "{status:?}");
        let log = log.lock().unwrap();
        assert!(log.chunks.len() >= 15 && log.chunks.iter().all(|(_, images)| images.rows <= 7));
        let table = table("t");
        assert_eq!(log.marks, [SnapshotMark::Begun { table: table.clone() }, SnapshotMark::Finished { table, rows: 100 }]);
    }
}
