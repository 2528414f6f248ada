//! What nobody knows of a table: a line of its changelog, and rows of which only the key is known.

use replicator::codec::frame::{RowOp, TableChange};
use replicator::model::TableName;
use serde_json::{Value, json};

use super::rig::{Rig, table};
use crate::support::clickhouse::ClickHouse;

const DAY: &str = "2024-02-29";

fn gap(table: &str, reason: &str) -> TableChange {
    TableChange::Gap { table: TableName::new("shop", table), reason: reason.into() }
}

fn history() -> Value {
    json!({ "mode": "history" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_a_line_with_its_reason_and_the_same_line_when_its_round_is_repeated() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), history()).await;
    let t = rig.schema(table("t")).await;
    let first = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(std::slice::from_ref(&first)).await;

    // Inside a transaction that is cut off after the gap.
    let before = rig.frame(&[(t, RowOp::Insert, &[&["2", "b", DAY]])]);
    rig.write(&before).await.unwrap();
    let reason = "it's 'MINIMAL' \\ here";
    let place = rig.change(&gap("t", reason)).await;
    rig.open().await.unwrap();
    rig.write(&before).await.unwrap();
    rig.change_again(place, &gap("t", reason)).await.unwrap();
    let left_out = TableChange::LeftOut { table: TableName::new("shop", "t"), reason: "it cannot be read".into() };
    let end = rig.change(&left_out).await;
    let after = rig.frame(&[(t, RowOp::Snapshot, &[&["1", "a", DAY]])]);
    rig.round(std::slice::from_ref(&after)).await;

    let line = |op: &str, reason: &str, lsn: u64, position: u64| {
        format!("{op}\t{reason}\t{lsn}\t0\t{}\t2026-11-21 09:00:00.000001\n", (1 << 56) + position)
    };
    let expected = [
        line("insert", "\\N", first.lsn(), first.position()),
        line("insert", "\\N", before.lsn(), before.position()),
        line("gap", "it\\'s \\'MINIMAL\\' \\\\ here", place.lsn.raw(), place.position),
        line("gap", "it cannot be read", end.lsn.raw(), end.position),
        line("snapshot", "\\N", after.lsn(), after.position()),
    ];
    let sql = "SELECT _op, _reason, _lsn, _ordinal, _version, _commit_time FROM replica.t FINAL ORDER BY _version";
    assert_eq!(server.query(sql).await, expected.concat());
    assert_eq!(rig.stopped(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_of_a_mirror_of_a_table_never_seen_and_of_a_stopped_changelog_changes_nothing() {
    let server = ClickHouse::start().await;
    let mut mirror = Rig::new(&server.url(), json!({})).await;
    let t = mirror.schema(table("t")).await;
    let frame = mirror.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    mirror.round(&[frame]).await;
    let frame = mirror.frame(&[(t, RowOp::Insert, &[&["2", "b", DAY]])]);
    mirror.write(&frame).await.unwrap();
    mirror.change(&gap("t", "why")).await;
    mirror.change(&gap("never_seen", "why")).await;
    let rows = "SELECT count() FROM replica.t";
    assert_eq!(server.query(rows).await, "1\n", "the transaction is not stored in parts");
    mirror.commit().await.unwrap();
    assert_eq!(server.query(rows).await, "2\n");
    assert_eq!(mirror.stopped(), [""; 0]);

    let mut rig =
        Rig::new(&server.url(), json!({ "mode": "history", "name": "log", "table_name": "{table}_log" })).await;
    let t = rig.schema(table("t")).await;
    let frame = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(&[frame]).await;
    server.exec("ALTER TABLE replica.t_log DROP COLUMN after_v").await;
    rig.open().await.unwrap();
    assert_eq!(rig.stopped(), ["t"]);
    rig.change(&gap("t", "why")).await;
    rig.commit().await.unwrap();
    assert_eq!(server.query("SELECT _op FROM replica.t_log FINAL").await, "insert\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_of_a_build_that_wrote_no_reasons_stops_by_name_and_is_not_changed() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), history()).await;
    let t = rig.schema(table("t")).await;
    let frame = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(&[frame]).await;
    server.exec("ALTER TABLE replica.t DROP COLUMN _reason").await;

    rig.open().await.unwrap();

    assert_eq!(rig.stopped(), ["t"]);
    let why = rig.stop_reason("t");
    assert!(why.contains("has no column \"_reason\""), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_gone_by_its_key_leaves_every_kind_of_copy() {
    let gone: [&[&str]; 2] = [&["1", "~", "~"], &["9", "~", "~"]];
    for (keys, sql, expected) in [
        (json!({}), "SELECT id, v, d FROM replica.t FINAL ORDER BY id", "2\tb\t2024-02-29\n"),
        (
            json!({ "deletion": "soft" }),
            "SELECT id, v, d, is_deleted FROM replica.t FINAL ORDER BY id",
            "1\t\\N\t1970-01-01\t1\n2\tb\t2024-02-29\t0\n9\t\\N\t1970-01-01\t1\n",
        ),
        (
            history(),
            "SELECT before_id, before_v, before_d, after_id, after_v, after_d FROM replica.t FINAL WHERE _op = 'delete' ORDER BY _version",
            "1\t\\N\t\\N\t\\N\t\\N\t\\N\n9\t\\N\t\\N\t\\N\t\\N\t\\N\n",
        ),
    ] {
        let server = ClickHouse::start().await;
        let mut rig = Rig::new(&server.url(), keys.clone()).await;
        let t = rig.schema(table("t")).await;
        let frames = [
            rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY], &["2", "b", DAY]])]),
            rig.frame(&[(t, RowOp::DeleteByKey, &gone)]),
        ];

        let counts = rig.round(&frames).await;

        assert_eq!((counts["t"].taken, counts["t"].acknowledged), (4, 4), "{keys}");
        assert_eq!(server.query(sql).await, expected, "{keys}");
        assert_eq!(rig.stopped(), [""; 0], "{keys}");
    }
}
