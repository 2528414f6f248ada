//! Frames that are not for this sink, and frames that no sink acts on.

use super::*;

fn for_others() -> Audience {
    Audience::Sinks(vec!["x".into(), "y".into()])
}

fn for_us() -> Audience {
    Audience::Sinks(vec!["x".into(), "m".into()])
}

#[tokio::test]
async fn rows_for_other_sinks_are_passed_over_and_counted_as_not_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.rows(&[(1, 1)]);
    log.rows_for(for_others(), &[(1, 5), (2, 3)], GroupEnd::Ends);
    let ours = log.rows_for(for_us(), &[(1, 2)], GroupEnd::Ends);
    let last = log.rows_for(for_others(), &[(1, 4)], GroupEnd::Ends);
    log.flush().await;

    let run = Serve::until(last).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().rows, [(Lsn::new(1), b"r".to_vec()), (ours, b"rr".to_vec())]);
    assert_eq!((run.live.applied_lsn(), run.live.frames_passed_over()), (last, 2));
    let expected = SinkRows { delivered: 3, not_theirs: 9, sink: applied(3), ..SinkRows::default() };
    assert_eq!(log.at_sink(&table()).await.rows, expected);
    assert_eq!(expected.pending(12), 0);
    assert_eq!(log.at_sink(&other_table()).await.rows, SinkRows { not_theirs: 3, ..SinkRows::default() });
    assert_eq!(run.doubts, []);
}

#[tokio::test]
async fn rows_for_other_sinks_alone_move_the_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let last = log.rows_for(for_others(), &[(1, 5)], GroupEnd::Ends);
    log.flush().await;

    let run = Serve::until(last).in_batches_of(1).run(&log.wal).await;

    run.result.unwrap();
    log.wal.put_state(Vec::new()).await.unwrap();
    assert_eq!(log.wal.cursors().first().unwrap().lsn, last);
    assert!(run.target.lock().unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_change_for_other_sinks_does_not_reach_this_one_and_says_nothing_about_its_copy() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let whole = log.read_whole(1);
    let replace = |schema| TableChange::ReplaceBegin { table: table(), schema };
    log.change_for(for_others(), replace(SchemaId(1)));
    let last = log.change_for(for_us(), TableChange::Truncate { table: other_table() });
    log.flush().await;

    let run = Serve::until(last).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().changes, [TableChange::Truncate { table: other_table() }]);
    assert_eq!(log.at_sink(&table()).await.whole_since, Some(whole));
    assert_eq!(run.live.frames_passed_over(), 1);
}

#[tokio::test]
async fn the_end_of_a_replace_a_gap_and_a_left_out_table_reach_the_sink() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let reason = || "why".to_owned();
    log.read_whole(1);
    log.change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) });
    let end = TableChange::ReplaceEnd { table: table() };
    log.change(end.clone());
    let gap = TableChange::Gap { table: other_table(), reason: reason() };
    log.change(gap.clone());
    let left_out = TableChange::LeftOut { table: table(), reason: reason() };
    let last = log.change(left_out.clone());
    log.flush().await;

    let run = Serve::until(last).in_batches_of(100).run(&log.wal).await;

    run.result.unwrap();
    let begin = TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) };
    assert_eq!(run.target.lock().unwrap().changes, [begin, end, gap, left_out]);
    assert_eq!(run.live.frames_passed_over(), 0);
    assert_eq!(log.at_sink(&table()).await.whole_since, None);
}

#[tokio::test]
async fn a_check_for_this_sink_stops_it_by_name_and_one_for_others_is_passed_over() {
    for (audience, stops) in [(for_others(), false), (for_us(), true), (Audience::All, true)] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::new(directory.path()).await;
        let check = crate::codec::frame::CheckHeader {
            origin: origin(),
            audience,
            table: table(),
            schema: SchemaId(1),
            range: crate::codec::frame::KeyRange::default(),
            left_out: Vec::new(),
            rows: 0,
            bytes: 0,
        };
        let last = log.header(&FrameHeader::Check(check));
        log.flush().await;

        let run = Serve::until(last).run(&log.wal).await;

        if stops {
            let failure = run.result.unwrap_err();
            assert_eq!(failure.message, "a check frame at lsn 1 is newer than this program");
            assert_eq!(failure.hint.unwrap(), "start the version that wrote it");
        } else {
            run.result.unwrap();
            assert_eq!(run.live.frames_passed_over(), 1);
        }
    }
}
