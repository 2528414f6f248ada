//! Two daemons on one target: the later one writes, the earlier one finds it out and says so.

use replicator::codec::frame::RowOp;
use replicator::error::{ErrorClass, Failure};
use replicator::sink::clickhouse::ClickHouseSink;
use replicator::sink::{Sink, TargetState};
use serde_json::json;
use tokio::runtime::Handle;
use wal::Lsn;

use super::rig::{Rig, Rows, plan, table};
use crate::support::clickhouse::ClickHouse;

const DAY: &str = "2024-02-29";

/// The sink of another daemon, with the same name and target.
fn another(server: &ClickHouse) -> ClickHouseSink {
    ClickHouseSink::new(plan(&server.url(), &json!({})), Handle::current()).unwrap()
}

/// Writes rows of `shop.t` and commits them.
async fn write(rig: &mut Rig, rows: Rows<'_>) -> Result<(), Failure> {
    let t = rig.schema(table("t")).await;
    let frame = rig.frame(&[(t, RowOp::Insert, rows)]);
    rig.write(&frame).await?;
    rig.commit().await
}

/// Ends a round without a row.
async fn commit(sink: &mut ClickHouseSink, end: Lsn) -> Result<(), Failure> {
    sink.store(end).await?;
    sink.settle().await.map(drop)
}

fn assert_refused(done: Result<(), Failure>, says: &str) {
    let failure = done.unwrap_err();
    assert_eq!(failure.class, ErrorClass::Fatal, "{}", failure.chain());
    assert!(failure.message.contains(says), "{}", failure.chain());
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("`database`")), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_logs_the_one_that_came_first_is_refused_and_no_row_of_it_is_in_the_others_table() {
    let server = ClickHouse::start().await;
    let mut first = Rig::new(&server.url(), json!({})).await;
    let mut second = Rig::new(&server.url(), json!({})).await;
    let names = format!("a daemon with log {}", second.log());

    write(&mut second, &[&["1", "second", DAY]]).await.unwrap();
    assert_refused(write(&mut first, &[&["2", "first", DAY]]).await, &names);

    // Nor does it take the target back, and one that is started later is refused as the delivery loop does it.
    assert_refused(first.open().await.map(drop), &names);
    let seen = another(&server).open(first.log()).await.unwrap();
    assert!(matches!(seen, TargetState::At { log, .. } if log == second.log()), "{seen:?}");
    let t = second.schema(table("t")).await;
    let frame = second.frame(&[(t, RowOp::Insert, &[&["3", "second", DAY]])]);
    second.round(&[frame]).await;
    assert_eq!(server.query("SELECT id, v FROM replica.t FINAL ORDER BY id").await, "1\tsecond\n3\tsecond\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_another_log_made_is_not_taken_for_ones_own() {
    let server = ClickHouse::start().await;
    let mut first = Rig::new(&server.url(), json!({})).await;
    let t = first.schema(table("t")).await;
    let frame = first.frame(&[(t, RowOp::Insert, &[&["1", "first", DAY]])]);
    // Its table is there, and nothing says how far it is.
    first.write(&frame).await.unwrap();
    server.exec("TRUNCATE TABLE replica._replicator_tables").await;
    let mut second = Rig::new(&server.url(), json!({})).await;

    write(&mut second, &[&["2", "second", DAY]]).await.unwrap();

    let reason = second.stop_reason("t");
    assert!(reason.contains(&format!("log {} did", first.log())), "{reason}");
    assert_eq!(server.query("SELECT count() FROM replica.t WHERE v = 'second'").await, "0\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_daemons_with_one_log_the_later_one_goes_on_from_a_cursor_that_only_it_moves() {
    let server = ClickHouse::start().await;
    let mut rig = Rig::new(&server.url(), json!({})).await;
    write(&mut rig, &[&["1", "a", DAY]]).await.unwrap();
    let applied = |state| match state {
        TargetState::At { applied, .. } => applied,
        TargetState::Fresh | TargetState::Lost(_) => Lsn::ZERO,
    };

    let mut copy = another(&server);
    assert_eq!(applied(copy.open(rig.log()).await.unwrap()), Lsn::new(1));
    assert_refused(write(&mut rig, &[&["2", "b", DAY]]).await, "another daemon with a copy of log");
    assert_refused(rig.open().await.map(drop), "another daemon with a copy of log");
    commit(&mut copy, Lsn::new(1)).await.unwrap();

    // The next start, of either of them, is a later opening.
    let mut next = another(&server);
    assert_eq!(applied(next.open(rig.log()).await.unwrap()), Lsn::new(1), "the refused round is not in the cursor");
    assert_refused(commit(&mut copy, Lsn::new(1)).await, "another daemon with a copy of log");
    commit(&mut next, Lsn::new(5)).await.unwrap();
    // Opened again by the same daemon, as after an error.
    assert_eq!(applied(next.open(rig.log()).await.unwrap()), Lsn::new(5));
    commit(&mut next, Lsn::new(6)).await.unwrap();
    assert_eq!(applied(another(&server).open(rig.log()).await.unwrap()), Lsn::new(6));
}
