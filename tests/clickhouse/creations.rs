//! Many tables are made between two commits: in how few requests, and what a crash or a refusal leaves.

use replicator::codec::frame::{RowOp, TableChange};
use replicator::model::{SchemaId, TableName};
use serde_json::json;

use super::rig::{Rig, Sent, table};
use crate::support::clickhouse::ClickHouse;

const TABLES: usize = 20;

/// The definitions of [`TABLES`] tables, each with a row behind it.
async fn schemas(rig: &mut Rig) -> Vec<SchemaId> {
    let mut ids = Vec::new();
    for number in 0..TABLES {
        ids.push(rig.schema(table(&format!("t{number}"))).await);
    }
    ids
}

fn made(number: usize, to: SchemaId) -> TableChange {
    let table = TableName::new("shop", format!("t{number}"));
    TableChange::Schema { table, from: None, to, renamed: Vec::new(), lost: false }
}

fn row(rig: &mut Rig, schema: SchemaId) -> Sent {
    rig.frame(&[(schema, RowOp::Snapshot, &[&["1", "a", "2024-02-29"]])])
}

async fn inserts(server: &ClickHouse) -> u64 {
    server.query("SELECT sum(value) FROM system.events WHERE event = 'InsertQuery'").await.trim().parse().unwrap()
}

/// How many tables have their row, and how many have a line.
async fn counts(server: &ClickHouse) -> String {
    server
        .query(
            "SELECT (SELECT count() FROM merge('replica', '^t[0-9]+$') WHERE id = 1), \
             (SELECT count() FROM replica._replicator_tables FINAL)",
        )
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_the_tables_of_a_round_are_one_insert() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let ids = schemas(&mut rig).await;
    let before = inserts(&server).await;

    for (number, id) in ids.iter().enumerate() {
        rig.change(&made(number, *id)).await;
        let frame = row(&mut rig, *id);
        rig.write(&frame).await.unwrap();
    }
    rig.commit().await.unwrap();

    // Each table's row, the lines, the cursor.
    assert_eq!(inserts(&server).await - before, 20 + 1 + 1);
    assert_eq!(counts(&server).await, "20\t20\n");
    assert_eq!(rig.counts().values().map(|counts| counts.acknowledged).sum::<u64>(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_is_cut_off_makes_its_tables_once() {
    let mut server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let ids = schemas(&mut rig).await;
    let mut sent = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let place = rig.change(&made(number, *id)).await;
        let frame = row(&mut rig, *id);
        rig.write(&frame).await.unwrap();
        sent.push((place, frame));
    }
    // What of it is at the server by now depends on the moment. The second time all of it is, but for the cursor.
    for is_stored in [false, true] {
        if is_stored {
            rig.spill().await;
        }
        server.kill();
        server.start_again().await;
        rig.open().await.unwrap();
        for (number, (place, frame)) in sent.iter().enumerate() {
            rig.change_again(*place, &made(number, ids[number])).await.unwrap();
            rig.write(frame).await.unwrap();
        }
    }
    rig.commit().await.unwrap();

    assert_eq!(rig.stopped(), [""; 0]);
    assert_eq!(counts(&server).await.split('\t').next_back(), Some("20\n"));
    assert_eq!(server.query("SELECT count() FROM replica.t7 FINAL").await, "1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_made_stops_alone() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({ "create_views": true })).await;
    server.exec("CREATE TABLE replica.t3 (id Int32, v String, d Date32) ENGINE = MergeTree ORDER BY id").await;
    server.exec("CREATE TABLE replica.t5_current (id Int32) ENGINE = MergeTree ORDER BY id").await;
    let ids = schemas(&mut rig).await;

    for (number, id) in ids.iter().enumerate() {
        rig.change(&made(number, *id)).await;
        let frame = row(&mut rig, *id);
        rig.write(&frame).await.unwrap();
    }
    rig.commit().await.unwrap();

    assert_eq!(rig.stopped(), ["t3", "t5"]);
    assert!(rig.stop_reason("t3").contains("did not make for shop.t3"), "{}", rig.stop_reason("t3"));
    assert_eq!(counts(&server).await, "18\t18\n");
    let counted = rig.counts();
    assert_eq!((counted["t3"].skipped, counted["t4"].acknowledged), (1, 1));
}
