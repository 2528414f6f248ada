//! A target on which what is applied is durable later: the log keeps what it may lose.

use super::*;
use crate::deliver::doubts as doubts_in;
use crate::sink::{Notes, Settled};

/// A log of so many transactions of one row.
async fn log(directory: &std::path::Path, transactions: usize) -> (Log, Lsn) {
    let mut log = Log::new(directory).await;
    let mut last = Lsn::ZERO;
    for _ in 0..transactions {
        last = log.rows(&[(1, 1)]);
    }
    log.flush().await;
    (log, last)
}

fn durable_up_to(lsn: Lsn) -> Arc<Mutex<Target>> {
    Arc::new(Mutex::new(Target { durable: Some(lsn), ..Target::default() }))
}

async fn cursor(log: &Log) -> Lsn {
    log.wal.put_state(Vec::new()).await.unwrap();
    log.wal.cursors().into_iter().find(|cursor| cursor.name == "m").unwrap().lsn
}

#[tokio::test]
async fn what_a_target_loses_is_in_the_log_and_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), 5).await;
    let target = durable_up_to(Lsn::new(2));
    let faults = vec![Fault::None, Fault::None, Fault::None, Fault::Commit(Failure::fatal("the power fails here"))];

    let run = Serve::until(last).in_rounds_of(1).to(&target).with(faults).run(&log.wal).await;

    run.result.unwrap_err();
    assert_eq!(target.lock().unwrap().commits, [1, 2, 3].map(Lsn::new));
    assert_eq!(run.live.applied_lsn(), Lsn::new(3), "what is applied is shown");
    assert_eq!(cursor(&log).await, Lsn::new(2), "and what is durable is acknowledged");
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { delivered: 2, sink: applied(2), ..SinkRows::default() });

    // The target comes back without what was not durable.
    {
        let mut lost = target.lock().unwrap();
        lost.rows.truncate(2);
        lost.cursor = lost.cursor.map(|(log, _)| (log, Lsn::new(2)));
        lost.durable = None;
    }
    Serve::until(last).in_rounds_of(1).to(&target).run(&log.wal).await.result.unwrap();

    let lsns: Vec<Lsn> = target.lock().unwrap().rows.iter().map(|(lsn, _)| *lsn).collect();
    assert_eq!(lsns, [1, 2, 3, 4, 5].map(Lsn::new));
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { delivered: 5, sink: applied(5), ..SinkRows::default() });
}

#[tokio::test]
async fn what_becomes_durable_later_is_acknowledged_without_another_round() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), 3).await;
    let target = durable_up_to(Lsn::ZERO);
    let shutdown = CancellationToken::new();
    let mut serve = Serve::until(last).in_rounds_of(1).to(&target);
    serve.goal = Goal::Forever;
    serve.shutdown = shutdown.clone();
    let (live, wal) = (Arc::clone(&serve.live), log.wal.clone());
    let running = tokio::spawn(async move { serve.run(&wal).await });
    while live.applied_lsn() < last {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cursor(&log).await, Lsn::ZERO);

    target.lock().unwrap().durable = Some(last);

    let waited = async {
        while cursor(&log).await < last {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("what is durable is acknowledged");
    shutdown.cancel();
    running.await.unwrap().result.unwrap();
    assert_eq!(target.lock().unwrap().commits.len(), 3);
}

#[tokio::test]
async fn a_target_that_is_let_go_of_has_made_durable_what_it_applied() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), 3).await;

    Serve::until(last).in_rounds_of(2).to(&durable_up_to(Lsn::ZERO)).run(&log.wal).await.result.unwrap();

    assert_eq!(cursor(&log).await, last);
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { delivered: 3, sink: applied(3), ..SinkRows::default() });
}

#[tokio::test]
async fn a_doubt_about_rows_that_the_target_may_lose_waits_until_they_are_durable() {
    for is_durable in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (log, last) = log(directory.path(), 3).await;
        let target = durable_up_to(if is_durable { Lsn::new(1) } else { Lsn::ZERO });
        // The second round has rows of the table in doubt, and no doubt of its own. The first `None` is of the first round.
        let end = Fault::Commit(Failure::fatal("the end"));
        let faults = vec![Fault::Reports(table(), RowCounts::default()), Fault::None, Fault::None, end];

        let run = Serve::until(last).in_rounds_of(1).to(&target).with(faults).run(&log.wal).await;

        run.result.unwrap_err();
        let known = usize::from(is_durable);
        assert_eq!(run.doubts.len(), known);
        assert_eq!(doubts_in(&log.wal.reader(), "m", (Lsn::ZERO, last)).unwrap().len(), known);
        let is_shown = run.live.tables().get(&table()).is_some_and(|at| at.doubt.is_some());
        assert_eq!(is_shown, is_durable, "nothing is shown that a crash would forget");
    }
}

#[tokio::test]
async fn a_doubt_outlives_an_error_of_the_target_where_the_round_does() {
    // Whether the target still has the round when it is opened again.
    for has_it in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let (log, last) = log(directory.path(), 2).await;
        let target = durable_up_to(Lsn::ZERO);
        target.lock().unwrap().loses_at_error = !has_it;
        let faults = vec![Fault::Reports(table(), RowCounts::default()), Fault::Commit(Failure::retry("try later"))];

        let run = Serve::until(last).in_rounds_of(1).to(&target).with(faults).run(&log.wal).await;

        run.result.unwrap();
        assert_eq!(run.doubts.len(), usize::from(has_it), "what was lost is applied and judged again");
        assert_eq!(log.doubts("m").len(), usize::from(has_it));
        assert_eq!(cursor(&log).await, last);
        assert_eq!(log.at_sink(&table()).await.rows.delivered, 2);
    }
}

#[tokio::test]
async fn positions_that_cannot_be_stop_the_sink_and_move_no_cursor() {
    let unlike = |applied, durable| Settled { applied: Lsn::new(applied), durable: Lsn::new(durable) };
    for (says, hand_over) in [
        (unlike(0, 0), HandOver::TargetTransaction),
        (unlike(1, 2), HandOver::TargetTransaction),
        (unlike(1, 0), HandOver::RecordedBatches),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (log, last) = log(directory.path(), 1).await;
        let target = Arc::new(Mutex::new(Target { says: Some(says), ..Target::default() }));
        let mut serve = Serve::until(last).in_rounds_of(1).to(&target);
        serve.kind.0 = hand_over;

        let failure = serve.run(&log.wal).await.result.unwrap_err();

        assert!(failure.message.starts_with("sink 'm' "), "{failure:?}");
        assert_eq!(cursor(&log).await, Lsn::ZERO, "{says:?}");
    }
}

#[tokio::test]
async fn a_note_is_in_the_log_before_its_round_is_stored_and_goes_with_the_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let (log, last) = log(directory.path(), 2).await;
    let target = Arc::new(Mutex::new(Target { has_notes: true, ..Target::default() }));
    let faults = vec![Fault::None, Fault::Commit(Failure::fatal("the process ends here"))];

    Serve::until(last).in_rounds_of(1).to(&target).with(faults).run(&log.wal).await.result.unwrap_err();

    let notes = Notes::new(log.wal.clone(), "m".to_owned());
    assert_eq!(target.lock().unwrap().commits, [Lsn::new(1)]);
    assert_eq!(notes.get("end").unwrap().unwrap(), b"2");

    let dropped = state_of_dropped_sink(&log.wal.reader(), "m").unwrap();
    log.wal.put_state(dropped).await.unwrap();
    assert_eq!(notes.get("end").unwrap(), None);
}

#[tokio::test]
async fn a_target_with_a_cursor_for_each_table_passes_over_what_a_table_has_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.rows(&[(1, 2), (2, 1)]);
    log.rows(&[(1, 3)]);
    let last = log.rows(&[(1, 1), (2, 4)]);
    log.flush().await;
    // One table was committed up to the second transaction before the process ended; the least cursor is at the start.
    let ahead = [(table(), Lsn::new(2))].into();
    let target = Arc::new(Mutex::new(Target { ahead, ..Target::default() }));

    let run = Serve::until(last).in_rounds_of(2).to(&target).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.doubts, []);
    let written: Vec<_> = target.lock().unwrap().rows.iter().map(|(lsn, body)| (lsn.raw(), body.len())).collect();
    assert_eq!(written, [(1, 1), (3, 1), (3, 4)]);
    let recovered = RowCounts { taken: 6, acknowledged: 1, recovered: 5, ..RowCounts::default() };
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { delivered: 6, sink: recovered, ..SinkRows::default() });
    assert_eq!(log.at_sink(&other_table()).await.rows.sink, applied(5));
}
