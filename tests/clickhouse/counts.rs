//! What the sink says became of its rows is what the engine says, whatever happens between them.

use replicator::codec::frame::{RowOp, TableChange};
use replicator::error::ErrorClass;
use replicator::model::{RowCounts, TableName};
use replicator::sink::{Sink, TargetState};
use serde_json::json;

use super::rig::{Rig, table};
use crate::support::clickhouse::{ClickHouse, url};
use crate::support::proxy::Proxy;

const DAY: &str = "2024-02-29";
/// It names no day, and its column takes no NULL.
const NO_DAY: &str = "0000-00-00";

/// Rows as they were sent: neither an INSERT nor a merge takes one of them away.
fn raw() -> serde_json::Value {
    json!({ "settings": { "optimize_on_insert": "0" } })
}

/// Rows of a table at the target, superseded ones and tombstones included.
async fn raw_rows(server: &ClickHouse, table: &str) -> u64 {
    server.query(format!("SELECT count() FROM replica.{table}")).await.trim().parse().unwrap()
}

async fn final_rows(server: &ClickHouse, table: &str) -> String {
    server.query(format!("SELECT id, v FROM replica.{table} FINAL ORDER BY id")).await
}

fn stored(taken: u64, split: u64) -> RowCounts {
    RowCounts { taken, split, acknowledged: taken + split, ..RowCounts::default() }
}

fn skipped(taken: u64) -> RowCounts {
    RowCounts { taken, skipped: taken, ..RowCounts::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_key_is_split_and_duplicates_of_a_round_are_all_acknowledged() {
    for settings in [raw(), json!({})] {
        let server = ClickHouse::start().await;
        server.exec("SYSTEM STOP MERGES").await;
        let mut rig = Rig::new(&server.url(), settings.clone()).await;
        let t = rig.schema(table("t")).await;
        let frames = [
            rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY], &["2", "b", DAY], &["3", "c", DAY]])]),
            // The same key three times, then another one; then it goes.
            rig.frame(&[(t, RowOp::Update, &[&["1", "a", DAY], &["1", "A", DAY], &["1", "A", DAY], &["9", "~", DAY]])]),
            rig.frame(&[(t, RowOp::Delete, &[&["9", "~", DAY]]), (t, RowOp::Insert, &[&["1", "new", DAY]])]),
        ];

        let counts = rig.round(&frames).await;

        assert_eq!(counts["t"], stored(7, 1), "{settings}");
        if settings == raw() {
            assert_eq!(raw_rows(&server, "t").await, 8);
        }
        assert_eq!(final_rows(&server, "t").await, "1\tnew\n2\tb\n3\tc\n");
        assert!(rig.counts().is_empty(), "they are told once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelogs_line_has_its_version_as_key_and_its_place_beside_it() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({ "mode": "history" })).await;
    let (t, u) = (rig.schema(table("t")).await, rig.schema(table("u")).await);
    let first = rig
        .frame(&[(u, RowOp::Insert, &[&["7", "x", DAY], &["8", "x", DAY]]), (t, RowOp::Insert, &[&["1", "a", DAY]])]);
    let second = rig
        .frame(&[(t, RowOp::Update, &[&["1", "a", DAY], &["2", "b", DAY]]), (t, RowOp::Delete, &[&["2", "b", DAY]])]);

    let counts = rig.round(&[first.clone(), second.clone()]).await;
    let truncate = rig.change(&TableChange::Truncate { table: TableName::new("shop", "t") }).await;
    rig.commit().await.unwrap();

    // A change of key is one line.
    assert_eq!((counts["t"], counts["u"]), (stored(3, 0), stored(2, 0)));
    assert!(rig.counts().is_empty(), "a line of the whole table is no row change");
    let line = |op: &str, lsn: u64, ordinal: u64, position: u64| {
        format!("{op}\t{lsn}\t{ordinal}\t{}\n", (1 << 56) + position + ordinal)
    };
    let expected = [
        line("insert", first.lsn(), 2, first.position()),
        line("update", second.lsn(), 0, second.position()),
        line("delete", second.lsn(), 1, second.position()),
        line("truncate", truncate.lsn.raw(), 0, truncate.position),
    ];
    let lines = server.query("SELECT _op, _lsn, _ordinal, _version FROM replica.t FINAL ORDER BY _version").await;
    assert_eq!(lines, expected.concat());
    let key = server.query("SELECT sorting_key FROM system.tables WHERE database = 'replica' AND name = 't'").await;
    assert_eq!(key.trim_matches(['(', ')', '\n']), "_version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_stops_inside_a_round_has_skipped_all_of_it_and_what_follows() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let (bad, good) = (rig.schema(table("bad")).await, rig.schema(table("good")).await);
    let begun = rig.frame(&[(bad, RowOp::Insert, &[&["1", "a", DAY]]), (good, RowOp::Insert, &[&["1", "a", DAY]])]);
    assert_eq!(rig.round(&[begun]).await["bad"], stored(1, 0));
    let frames = [
        rig.frame(&[(bad, RowOp::Insert, &[&["2", "b", DAY]]), (good, RowOp::Insert, &[&["2", "b", DAY]])]),
        rig.frame(&[(bad, RowOp::Insert, &[&["3", "c", DAY], &["4", "d", NO_DAY], &["5", "e", DAY]])]),
        rig.frame(&[(bad, RowOp::Delete, &[&["2", "b", DAY]]), (good, RowOp::Delete, &[&["1", "a", DAY]])]),
    ];

    let counts = rig.round(&frames).await;
    let next = rig.frame(&[(bad, RowOp::Insert, &[&["6", "f", DAY], &["7", "g", DAY]])]);
    let after = rig.round(&[next]).await;

    assert_eq!(rig.stopped(), ["bad"]);
    assert_eq!((counts["bad"], counts["good"]), (skipped(5), stored(2, 0)));
    assert_eq!((after["bad"], after.contains_key("good")), (skipped(2), false));
    assert_eq!(raw_rows(&server, "bad").await, 1);
    assert_eq!(final_rows(&server, "good").await, "2\tb\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_the_server_refuses_has_skipped_the_round_on_its_way_and_the_next_one() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let (bad, good) = (rig.schema(table("bad")).await, rig.schema(table("good")).await);
    let begun = rig.frame(&[(bad, RowOp::Insert, &[&["1", "a", DAY]]), (good, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(&[begun]).await;
    server.exec("ALTER TABLE replica.bad ADD CONSTRAINT small CHECK id < 100").await;
    let sent = rig.frame(&[
        (bad, RowOp::Insert, &[&["2", "b", DAY], &["200", "b", DAY]]),
        (good, RowOp::Insert, &[&["2", "b", DAY]]),
    ]);
    rig.write(&sent).await.unwrap();
    rig.sink.store(wal::Lsn::new(sent.lsn())).await.unwrap();
    // Rows of the next round come before the first one has settled.
    let next = rig.frame(&[(bad, RowOp::Insert, &[&["3", "c", DAY]]), (good, RowOp::Insert, &[&["3", "c", DAY]])]);
    rig.write(&next).await.unwrap();
    rig.sink.settle().await.unwrap();
    let counts = rig.counts();
    rig.commit().await.unwrap();
    let after = rig.counts();

    assert_eq!((counts["bad"], counts["good"]), (skipped(2), stored(1, 0)));
    assert_eq!((after["bad"], after["good"]), (skipped(1), stored(1, 0)));
    assert_eq!(final_rows(&server, "bad").await, "1\ta\n");
    assert_eq!(final_rows(&server, "good").await, "1\ta\n2\tb\n3\tc\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_whose_answer_is_lost_is_stored_twice_and_counted_once() {
    let server = ClickHouse::start().await;
    server.exec("SYSTEM STOP MERGES").await;
    let proxy = Proxy::to(server.port()).await;
    let mut rig = Rig::new(&url(proxy.port()), raw()).await;
    let t = rig.schema(table("t")).await;
    let first = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    assert_eq!(rig.round(&[first]).await["t"], stored(1, 0));
    let frames = [
        rig.frame(&[(t, RowOp::Insert, &[&["2", "b", DAY], &["3", "c", DAY]])]),
        rig.frame(&[(t, RowOp::Update, &[&["2", "b", DAY], &["4", "d", DAY]])]),
    ];
    for frame in &frames {
        rig.write(frame).await.unwrap();
    }
    proxy.lose_answer(1);
    let lost = rig.commit().await.unwrap_err();
    assert_eq!(lost.class, ErrorClass::Retry, "{}", lost.chain());
    assert!(!proxy.loss_is_waiting());
    assert!(rig.counts().is_empty());

    let state = rig.open().await.unwrap();
    let counts = rig.round(&frames).await;

    assert!(matches!(state, TargetState::At { applied, .. } if applied.raw() == 1), "{state:?}");
    assert_eq!(counts["t"], stored(3, 1));
    assert_eq!(raw_rows(&server, "t").await, 1 + 4 + 4, "both INSERTs are stored");
    assert_eq!(final_rows(&server, "t").await, "1\ta\n3\tc\n4\td\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_is_given_up_counts_nothing_and_stores_nothing() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let t = rig.schema(table("t")).await;
    // Enough that its INSERT has begun: a chunk is a mebibyte.
    let text = "x".repeat(50);
    let ids: Vec<String> = (0..40_000).map(|id: u32| id.to_string()).collect();
    let rows: Vec<[&str; 3]> = ids.iter().map(|id| [id.as_str(), text.as_str(), DAY]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(|row| &row[..]).collect();
    let large = rig.frame(&[(t, RowOp::Insert, &rows)]);
    rig.write(&large).await.unwrap();

    assert_eq!(rig.open().await.unwrap(), TargetState::Fresh);
    assert!(rig.counts().is_empty());
    assert_eq!(raw_rows(&server, "t").await, 0);
    assert_eq!(rig.round(&[large]).await["t"], stored(40_000, 0));
    assert_eq!(raw_rows(&server, "t").await, 40_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_stored_before_a_change_that_was_cut_off_are_recovered() {
    let server = ClickHouse::start().await;
    let proxy = Proxy::to(server.port()).await;
    let mut rig = Rig::new(&url(proxy.port()), json!({})).await;
    let t = rig.schema(table("t")).await;
    let mut wider = table("t");
    wider.columns.push(replicator::model::Column { name: "w".into(), nullable: true, ..wider.columns[0].clone() });
    let to = rig.schema(wider).await;
    let first = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(&[first]).await;
    let before = rig.frame(&[(t, RowOp::Insert, &[&["2", "b", DAY], &["3", "c", DAY]])]);
    let name = TableName::new("shop", "t");
    let change = TableChange::Schema { table: name, from: Some(t), to, renamed: Vec::new(), lost: false };
    rig.write(&before).await.unwrap();
    let at = rig.change(&change).await;
    let after = rig.frame(&[(to, RowOp::Insert, &[&["4", "d", DAY, "4"]])]);

    // The rows before it were flushed; the round they are in is not stored.
    rig.open().await.unwrap();
    assert!(rig.counts().is_empty());
    rig.write(&before).await.unwrap();
    rig.change_again(at, &change).await.unwrap();
    let counts = rig.round(&[after]).await;

    let expected = RowCounts { taken: 3, acknowledged: 1, recovered: 2, ..RowCounts::default() };
    assert_eq!(counts["t"], expected);
    assert_eq!(final_rows(&server, "t").await, "1\ta\n2\tb\n3\tc\n4\td\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_of_a_large_transaction_counts_with_the_round_that_it_ends_in() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let t = rig.schema(table("t")).await;
    let (piece, rest) = (
        rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY], &["2", "b", DAY]])]),
        rig.frame(&[(t, RowOp::Update, &[&["1", "a", DAY], &["3", "c", DAY]])]),
    );
    rig.write(&piece).await.unwrap();
    rig.sink.spill().await.unwrap();
    assert!(rig.counts().is_empty());

    assert_eq!(rig.round(&[rest]).await["t"], stored(3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_materialized_views_are_not_counted() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let t = rig.schema(table("t")).await;
    let first = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(&[first]).await;
    server
        .exec(
            "CREATE MATERIALIZED VIEW replica.twice ENGINE = MergeTree ORDER BY n AS SELECT arrayJoin([id, id]) AS n FROM replica.t",
        )
        .await;
    for ids in [["2", "3"], ["4", "5"]] {
        let frame = rig.frame(&[(t, RowOp::Insert, &[&[ids[0], "b", DAY], &[ids[1], "c", DAY]])]);
        // The server does not tell the rows of the table from those of the view.
        assert_eq!(rig.round(&[frame]).await["t"], RowCounts { sent: 2, ..stored(2, 0) });
    }
    assert_eq!(server.query("SELECT count() FROM replica.twice").await, "8\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_rows_arrive_and_are_counted() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({ "compression": "lz4" })).await;
    let t = rig.schema(table("t")).await;
    let ids: Vec<String> = (0..40_000).map(|id: u32| id.to_string()).collect();
    let rows: Vec<[&str; 3]> = ids.iter().map(|id| [id.as_str(), "the same text again and again", DAY]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(|row| &row[..]).collect();
    let frame = rig.frame(&[(t, RowOp::Insert, &rows)]);

    assert_eq!(rig.round(&[frame]).await["t"], stored(40_000, 0));

    let sums = server.query("SELECT count(), sum(id), uniqExact(v), any(v) FROM replica.t").await;
    assert_eq!(sums, "40000\t799980000\t1\tthe same text again and again\n");
}
