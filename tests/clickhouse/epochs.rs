//! Which log a target belongs to, and under which epoch its rows are written: what the target itself says of it.

use replicator::codec::frame::{RowOp, TableChange};
use replicator::codec::version::Epoch;
use replicator::model::TableName;
use replicator::sink::{Lost, Sink as _, TargetState};
use serde_json::json;

use super::rig::{Rig, table};
use crate::support::clickhouse::ClickHouse;

const DAY: &str = "2024-02-29";

/// Epochs in the versions of a table's rows, the lowest first.
async fn epochs(server: &ClickHouse, table: &str) -> String {
    let sql = format!(
        "SELECT arrayStringConcat(arraySort(groupUniqArray(bitShiftRight(_version, 56))), ' ') FROM replica.{table}"
    );
    server.query(sql).await.trim().to_owned()
}

/// The sink's cursors, of the last claim of each epoch: (epoch, format, lsn).
async fn cursors(server: &ClickHouse) -> String {
    server
        .query("SELECT epoch, argMax(format, claim), argMax(lsn, claim) FROM replica._replicator_cursors FINAL WHERE sink = 'ch' GROUP BY epoch ORDER BY epoch")
        .await
}

/// Makes the target one that has been taken over four times.
async fn set_epoch_to_five(server: &ClickHouse) {
    server.exec("INSERT INTO replica._replicator_cursors SELECT * REPLACE (5 AS epoch) FROM replica._replicator_cursors FINAL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_epoch_of_a_target_outlives_openings_and_kills_and_is_in_every_version() {
    for keys in [json!({ "deletion": "soft" }), json!({ "mode": "history" })] {
        let mut server = ClickHouse::start().await;
        let mut rig = Rig::new(&server.url(), keys).await;
        assert_eq!(cursors(&server).await, "1\t4\t0\n", "it is claimed before anything is made");
        let t = rig.schema(table("t")).await;
        let first = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY], &["2", "b", DAY]])]);
        rig.round(&[first]).await;
        set_epoch_to_five(&server).await;
        server.kill();
        server.start_again().await;

        let at = rig.open().await.unwrap();
        let second = rig.frame(&[
            (t, RowOp::Update, &[&["1", "a", DAY], &["9", "c", DAY]]),
            (t, RowOp::Delete, &[&["2", "b", DAY]]),
        ]);
        rig.round(&[second]).await;
        server.kill();
        server.start_again().await;
        let again = rig.open().await.unwrap();
        rig.change(&TableChange::Truncate { table: TableName::new("shop", "t") }).await;
        rig.commit().await.unwrap();

        let epoch = Epoch::new(5).unwrap();
        assert!(
            matches!(at, TargetState::At { log, epoch: of, applied } if (log, of, applied.raw()) == (rig.log(), epoch, 1)),
            "{at:?}"
        );
        assert!(
            matches!(again, TargetState::At { epoch: of, applied, .. } if (of, applied.raw()) == (epoch, 2)),
            "{again:?}"
        );
        assert_eq!(epochs(&server, "t").await, "1 5");
        // Every row but those of before: an update and a delete, and what the truncation marks.
        assert_eq!(cursors(&server).await, "1\t4\t1\n5\t4\t3\n");
        let marks = server.query("SELECT min(bitShiftRight(_version, 56)) FROM replica.t FINAL WHERE _version > bitShiftLeft(toUInt64(5), 56)").await;
        assert_eq!(marks, "5\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_after_one_that_stored_nothing_begins_with_the_next_epoch() {
    let server = ClickHouse::start().await;
    let mut first = Rig::new(&server.url(), json!({})).await;
    let mut second = Rig::new(&server.url(), json!({})).await;
    assert_eq!(cursors(&server).await, "1\t4\t0\n2\t4\t0\n");
    let t = second.schema(table("t")).await;
    let frame = second.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    // Before it has stored a round, it is fresh to its own log alone.
    second.write(&frame).await.unwrap();
    assert_eq!(second.open().await.unwrap(), TargetState::Fresh);
    let seen = first.open().await.unwrap_err();
    assert!(seen.message.contains(&format!("a daemon with log {}", second.log())), "{seen:?}");

    second.round(&[frame]).await;

    assert_eq!(epochs(&server, "t").await, "2");
    let seen = second.open().await.unwrap();
    assert!(
        matches!(seen, TargetState::At { log, applied, .. } if (log, applied.raw()) == (second.log(), 1)),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_for_which_no_epoch_is_left_is_refused_by_name() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    server
        .exec(
            "INSERT INTO replica._replicator_cursors (sink, epoch, writer, log, format, lsn) \
             SELECT sink, 127, writer, leftPad('1', length(log), '0'), format, 4 FROM replica._replicator_cursors",
        )
        .await;

    let refused = rig.open().await.unwrap_err();

    assert!(refused.message.contains("epoch 127, and there is no later one"), "{}", refused.chain());
    assert_eq!(refused.hint.as_deref(), Some("set another, empty target for the sink: it begins at epoch 1 again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_its_cursor_says_so_and_is_not_claimed() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    let t = rig.schema(table("t")).await;
    let frame = rig.frame(&[(t, RowOp::Insert, &[&["1", "a", DAY]])]);
    rig.round(&[frame]).await;
    server.exec("TRUNCATE TABLE replica._replicator_cursors").await;

    let log = rig.log();
    assert_eq!(rig.sink.open(log).await.unwrap(), TargetState::Lost(Lost::Gone));
    assert_eq!(cursors(&server).await, "", "nothing is claimed");
}
