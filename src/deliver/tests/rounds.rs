//! Rounds: what is written between two commits, what a failure takes back, and what is applied after it.

use super::*;
use crate::telemetry::SinkPhase;

/// A log with one-frame groups of the given bodies, one row each, and a group of three fragments at the end.
async fn log(directory: &std::path::Path, bodies: &[&[u8]]) -> (Log, Lsn) {
    let mut log = Log::new(directory).await;
    let mut put = |body: &[u8], end| log.appender.append(&[&one_row(body), body], end).unwrap();
    for body in bodies {
        put(body, GroupEnd::Ends);
    }
    put(b"f1", GroupEnd::More);
    put(b"f2", GroupEnd::More);
    let last = put(b"f3", GroupEnd::Ends);
    log.flush().await;
    (log, last)
}

fn expected(bodies: &[&[u8]]) -> Vec<(Lsn, Vec<u8>)> {
    let all = bodies.iter().copied().chain([&b"f1"[..], b"f2", b"f3"]);
    (1..).zip(all).map(|(lsn, body)| (Lsn::new(lsn), body.to_vec())).collect()
}

#[tokio::test]
async fn every_frame_is_applied_once_in_order_and_the_cursor_follows() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b"]).await;
    let run = Serve::until(last).run(&log.wal).await;
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().rows, expected(&[b"a", b"b"]));
    assert_eq!(run.live.applied_lsn(), last);
    assert_eq!(run.live.state().0, SinkPhase::Stopped);
    log.wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_round_that_failed_is_applied_again_from_its_start_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b"]).await;
    let faults = vec![Fault::Write(Lsn::new(4), Failure::retry("try later"))];
    let run = Serve::until(last).with(faults).run(&log.wal).await;
    run.result.unwrap();
    let target = run.target.lock().unwrap();
    assert_eq!(target.rows, expected(&[b"a", b"b"]));
    assert_eq!((target.opened, run.live.errors().all()), (2, 1));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated_and_still_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b"]).await;
    let faults = vec![Fault::AfterCommit(Failure::retry("answer lost"))];
    let run = Serve::until(last).with(faults).run(&log.wal).await;
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().rows, expected(&[b"a", b"b"]));
    assert_eq!(applied_and_skipped(&log.wal.reader()), [(table(), 5, 0)]);
    let cursor = log.wal.cursors().into_iter().find(|cursor| cursor.name == "m").unwrap();
    assert_eq!(cursor.lsn, last);
}

#[tokio::test]
async fn a_transaction_in_fragments_is_never_committed_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a"]).await;
    let run = Serve::until(last).run(&log.wal).await;
    run.result.unwrap();
    let inside = [Lsn::new(2), Lsn::new(3)];
    assert!(run.target.lock().unwrap().commits.iter().all(|end| !inside.contains(end)));
}

#[tokio::test]
async fn a_fatal_failure_stops_the_sink_and_leaves_the_cursor_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a"]).await;
    let faults = vec![Fault::Write(Lsn::new(1), Failure::fatal("no such type").hint("exclude it"))];
    let run = Serve::until(last).with(faults).run(&log.wal).await;
    assert_eq!(run.result.unwrap_err().message, "no such type");
    let (phase, error) = run.live.state();
    assert_eq!(phase, SinkPhase::Failed);
    assert_eq!(error.unwrap(), "no such type (exclude it)");
    assert!(run.target.lock().unwrap().rows.is_empty());
    assert_eq!(log.wal.cursors().first().unwrap().lsn, Lsn::ZERO);
}

#[tokio::test]
async fn a_second_run_continues_where_the_target_is() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b"]).await;
    let first = Serve::until(last).run(&log.wal).await;
    let second = Serve::until(last).to(&first.target).run(&log.wal).await;
    second.result.unwrap();
    assert_eq!(second.target.lock().unwrap().rows, expected(&[b"a", b"b"]));
}

#[tokio::test]
async fn a_batch_that_may_have_been_sent_is_the_same_batch_again_whatever_the_limits_are_now() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b", b"c"]).await;
    let lost = vec![Fault::Commit(Failure::fatal("the process ends here"))];
    let first = Serve::until(last).in_batches_of(2).with(lost).run(&log.wal).await;
    first.result.unwrap_err();
    let second = Serve::until(last).in_batches_of(100).to(&first.target).run(&log.wal).await;
    second.result.unwrap();
    let target = second.target.lock().unwrap();
    assert_eq!(target.tried, [Lsn::new(2), Lsn::new(2), last]);
    assert_eq!(target.rows, expected(&[b"a", b"b", b"c"]));
}

#[tokio::test]
async fn rows_of_a_table_that_its_sink_stopped_are_counted_as_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b"]).await;
    let faults = vec![Fault::Stops(table())];
    let run = Serve::until(last).in_batches_of(100).with(faults).run(&log.wal).await;
    run.result.unwrap();
    // The counters go with the cursor, which no one waits for; this comes after it.
    log.wal.put_state(Vec::new()).await.unwrap();
    assert_eq!(applied_and_skipped(&log.wal.reader()), [(table(), 0, 5)]);
    assert_eq!(run.live.stopped_tables()[0].reason, "it was altered");
}

#[tokio::test]
async fn a_round_that_waits_for_more_ends_at_once_when_nothing_more_will_come() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a"]).await;
    let limits = RoundLimits { linger: Duration::from_hours(1), age: Duration::from_hours(1), ..rounds_of(100) };
    let run = Serve { kind: (HandOver::RecordedBatches, limits), ..Serve::until(last) }.run(&log.wal).await;
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().commits, [last]);
}

#[tokio::test]
async fn a_target_that_never_answers_does_not_hold_up_a_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a"]).await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let run = Serve { shutdown, ..Serve::until(last) }.in_batches_of(100).with(vec![Fault::Hangs]).run(&log.wal);
    let run = tokio::time::timeout(Duration::from_secs(9), run).await.unwrap();
    run.result.unwrap();
    assert_eq!(run.live.state().0, SinkPhase::Stopped);
    assert_eq!(log.wal.cursors().first().unwrap().lsn, Lsn::ZERO);
    // The next start brings what is left.
    let second = Serve::until(last).in_batches_of(100).to(&run.target).run(&log.wal).await;
    second.result.unwrap();
    assert_eq!(second.target.lock().unwrap().rows, expected(&[b"a"]));
}

#[tokio::test]
async fn a_round_that_fails_while_the_next_one_is_taken_is_sent_again_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), &[b"a", b"b", b"c", b"d"]).await;
    let faults = vec![Fault::Commit(Failure::retry("the answer is no"))];

    let (run, seen) = Serve::until(last).in_batches_of(2).with(faults).run_overlapping(&log.wal).await;

    // The counters go with the cursor, which no one waits for; this comes after it.
    log.wal.put_state(Vec::new()).await.unwrap();
    run.result.unwrap();
    assert_eq!(seen.lock().unwrap().ahead.first(), Some(&2), "rows were taken while the failing round was stored");
    let target = run.target.lock().unwrap();
    assert_eq!(target.tried, [Lsn::new(2), Lsn::new(2), Lsn::new(4), last]);
    assert_eq!(target.rows, expected(&[b"a", b"b", b"c", b"d"]));
    assert_eq!((target.opened, run.live.errors().all(), run.live.applied_lsn()), (2, 1, last));
    assert_eq!(applied_and_skipped(&log.wal.reader()), [(table(), 7, 0)]);
    assert_eq!(log.wal.cursors().first().unwrap().lsn, last);
}

#[tokio::test]
async fn a_change_finds_every_round_before_it_stored_and_none_of_the_rows_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _) = log(directory.path(), &[b"a"]).await;
    let mut change = Vec::new();
    let truncate = TableChange::Truncate { table: table() };
    encode_header(&FrameHeader::Change { origin: origin(), audience: Audience::All, change: truncate }, &mut change)
        .unwrap();
    let at = log.appender.append(&[&change], GroupEnd::Ends).unwrap();
    let last = log.appender.append(&[&one_row(b"z"), b"z"], GroupEnd::Ends).unwrap();
    log.flush().await;

    let (run, seen) = Serve::until(last).in_batches_of(1).run_overlapping(&log.wal).await;

    log.wal.put_state(Vec::new()).await.unwrap();
    run.result.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.changes, [(at, false, vec![Lsn::new(1), Lsn::new(4)])]);
    let target = run.target.lock().unwrap();
    assert_eq!(target.commits, [Lsn::new(1), Lsn::new(4), at, last]);
    let rows: Vec<_> = expected(&[b"a"]).into_iter().chain([(last, b"z".to_vec())]).collect();
    assert_eq!(target.rows, rows);
    assert_eq!(applied_and_skipped(&log.wal.reader()), [(table(), 5, 0)]);
    assert_eq!(log.wal.cursors().first().unwrap().lsn, last);
}

/// Where rounds end of a log in which the table comes with one, one and two rows of a byte each, between rows of another one.
async fn round_ends(own: Option<RoundLimits>, serve: impl FnOnce(Serve) -> Serve) -> Vec<u64> {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let mut last = Lsn::ZERO;
    for section in [(2, 5), (1, 1), (2, 5), (1, 1), (2, 5), (2, 5), (1, 2), (2, 5)] {
        last = log.rows(&[section]);
    }
    log.flush().await;
    let own = own.map(|limits| (table(), limits)).into_iter().collect();
    let run = serve(Serve { own, ..Serve::until(last) }).run(&log.wal).await;
    run.result.unwrap();
    let target = run.target.lock().unwrap();
    target.commits.iter().map(|end| end.raw()).collect()
}

#[tokio::test]
async fn rounds_end_where_a_table_with_limits_of_its_own_reaches_them_and_others_do_not() {
    assert_eq!(round_ends(None, |serve| serve.in_rounds_of(100)).await, [8]);
    assert_eq!(round_ends(Some(rounds_of(2)), |serve| serve.in_rounds_of(100)).await, [4, 7, 8]);
    assert_eq!(round_ends(Some(rounds_of(2)), |serve| serve.in_batches_of(100)).await, [4, 7, 8]);
    let three_bytes = RoundLimits { bytes: 3, ..rounds_of(100) };
    assert_eq!(round_ends(Some(three_bytes), |serve| serve.in_rounds_of(100)).await, [7, 8]);
    // The sink's own limits hold as well.
    assert_eq!(round_ends(Some(rounds_of(2)), |serve| serve.in_rounds_of(11)).await, [3, 6, 7, 8]);
}

#[tokio::test]
async fn a_round_waits_no_longer_than_a_table_in_it_allows() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let first = log.rows(&[(1, 1)]);
    log.flush().await;
    let hour = RoundLimits { linger: Duration::from_hours(1), age: Duration::from_hours(1), ..rounds_of(100) };
    let soon = RoundLimits { linger: Duration::from_millis(5), age: Duration::from_millis(5), ..hour };
    // Something is still to come: the round does not end because nothing will.
    let shutdown = CancellationToken::new();
    let serve = Serve {
        kind: (HandOver::RecordedBatches, hour),
        own: vec![(table(), soon)],
        shutdown: shutdown.clone(),
        goal: Goal::Forever,
        ..Serve::until(first)
    };
    let live = Arc::clone(&serve.live);
    let stop = async {
        while live.applied_lsn() < first {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shutdown.cancel();
    };
    let both = async { tokio::join!(serve.run(&log.wal), stop) };
    let (run, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().commits, [first]);
}
