//! What a sink begins with.

use super::*;
use crate::codec::stored::{SINK_ROUND, SINK_ROWS};
use crate::table::{Capture, Complete, TableRecord};

#[tokio::test]
async fn a_new_sink_with_a_new_target_inherits_nothing_of_an_earlier_one_of_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.wal.create_cursor("m2", Lsn::ZERO).await.unwrap();
    log.read_whole(2);
    let last = log.rows(&[(1, 3)]);
    log.flush().await;
    let faults = vec![Fault::Reports(table(), applied(2))];
    assert_eq!(Serve::until(last).in_batches_of(9).with(faults).run(&log.wal).await.doubts.len(), 1);
    let of_other = (SINK_ROWS.of_sink_table("m2", &table()), Some(encode(&log.at_sink(&table()).await).unwrap()));
    log.wal.put_state(vec![of_other]).await.unwrap();
    log.wal.drop_cursor("m").await.unwrap();

    let state = state_of_new_sink(&log.wal.reader(), "m", (Lsn::ZERO, last), []).unwrap();
    log.wal.put_state(state).await.unwrap();
    log.wal.create_cursor("m", Lsn::ZERO).await.unwrap();

    let bounds = log.wal.reader().state(&SINK_ROUND.of_sink("m")).unwrap();
    let tables = tables_at(&log.wal.reader(), "m").unwrap();
    let doubt = tables[0].1.doubt.clone();
    assert_eq!((tables, bounds), (vec![(table(), TableAtSink { doubt, ..TableAtSink::default() })], None));
    assert_eq!(tables_at(&log.wal.reader(), "m2").unwrap().len(), 1, "another sink keeps what is stored of it");
    let unmatched = Fault::Reports(table(), RowCounts { unmatched: 1, ..applied(5) });
    let run = Serve::until(last).in_batches_of(9).with(vec![unmatched]).run(&log.wal).await;
    run.result.unwrap();
    let rows = SinkRows { delivered: 5, sink: RowCounts { unmatched: 1, ..applied(5) }, ..SinkRows::default() };
    assert_eq!(
        log.at_sink(&table()).await,
        TableAtSink { rows, whole_since: Some(Lsn::new(3)), ..TableAtSink::default() }
    );
}

#[tokio::test]
async fn nothing_is_pending_at_a_sink_that_is_new_to_a_trimmed_log_once_it_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let trimmed = log.rows(&[(1, 3), (2, 1)]);
    let last = log.rows(&[(1, 4)]);
    log.flush().await;
    let appended = [(table(), 7), (other_table(), 1)];

    let state = state_of_new_sink(&log.wal.reader(), "m", (trimmed, last), appended.clone()).unwrap();
    log.wal.put_state(state).await.unwrap();
    log.wal.drop_cursor("m").await.unwrap();
    log.wal.create_cursor("m", trimmed).await.unwrap();
    assert!(would_read_all(&log.wal.reader(), "m").unwrap());
    assert!(!would_read_all(&log.wal.reader(), "another").unwrap(), "the log has all of it");
    let pending = async |log: &Log| {
        [log.at_sink(&table()).await.rows.pending(7), log.at_sink(&other_table()).await.rows.pending(1)]
    };
    assert_eq!(pending(&log).await, [4, 0]);
    Serve::until(last).run(&log.wal).await.result.unwrap();

    assert_eq!(pending(&log).await, [0, 0]);
    assert!(!would_read_all(&log.wal.reader(), "m").unwrap(), "it was said that they are to be read");
    assert_eq!(log.at_sink(&table()).await.rows.before, 3);
}

#[tokio::test]
async fn a_sink_that_comes_back_with_its_target_has_what_was_whole_and_has_the_rest_read_for_it() {
    let directory = tempfile::tempdir().unwrap();
    for doubted in [false, true] {
        let mut log = Log::new(&directory.path().join(doubted.to_string())).await;
        log.wal.create_cursor("holds_the_log", Lsn::ZERO).await.unwrap();
        let whole = log.read_whole(2);
        let last = log.rows(&[(1, 3)]);
        log.flush().await;
        let captured = TableRecord {
            capture: Capture::Since(Lsn::FIRST),
            complete: Some(Complete::Whole(whole)),
            ..TableRecord::default()
        };
        log.wal.put_state(vec![captured.change(&table()).unwrap()]).await.unwrap();
        let faults = if doubted { vec![Fault::Reports(table(), applied(2))] } else { Vec::new() };
        let first = Serve::until(last).in_batches_of(9).with(faults).run(&log.wal).await;
        log.wal.drop_cursor("m").await.unwrap();
        log.wal.put_state(state_of_dropped_sink(&log.wal.reader(), "m").unwrap()).await.unwrap();
        let state = state_of_new_sink(&log.wal.reader(), "m", (Lsn::ZERO, last), []).unwrap();
        log.wal.put_state(state).await.unwrap();
        log.wal.create_cursor("m", Lsn::ZERO).await.unwrap();

        let again = Serve::until(last).to(&first.target).run(&log.wal).await;

        again.result.unwrap();
        let at = log.at_sink(&table()).await;
        assert_eq!((again.doubts.len(), at.whole_since), if doubted { (1, None) } else { (0, Some(whole)) });
        assert!(!is_new(&log.wal.reader(), "m").unwrap());
    }
}
