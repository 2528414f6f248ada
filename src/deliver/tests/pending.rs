//! Schemas that are decided while a sink waits, and those that are left out.

use super::*;

fn pending_record() -> SchemaRecord {
    SchemaRecord::Pending { seen: schema_of(table()), unknown: vec![0], before: Some(SchemaId(1)) }
}

fn left_out_after(before: Option<u32>) -> SchemaRecord {
    SchemaRecord::LeftOut { seen: schema_of(table()), before: before.map(SchemaId), reason: "no answer".into() }
}

fn known() -> SchemaRecord {
    SchemaRecord::Known(schema_of(table()))
}

/// A delivery on its way.
struct Under {
    live: Arc<SinkLive>,
    target: Arc<Mutex<Target>>,
    shutdown: CancellationToken,
    run: tokio::task::JoinHandle<Run>,
}

impl Under {
    fn way(serve: Serve, wal: &Wal) -> Self {
        let (live, target, shutdown) = (Arc::clone(&serve.live), Arc::clone(&serve.target), serve.shutdown.clone());
        let wal = wal.clone();
        // Sinks of this test need no other thread.
        let run = tokio::spawn(async move { serve.run(&wal).await });
        Self { live, target, shutdown, run }
    }

    /// Until the sink waits for a schema; its id and the frame.
    async fn waits(&self) -> (SchemaId, Lsn) {
        loop {
            if let Some(waiting) = self.live.waiting() {
                return (waiting.schema, waiting.lsn);
            }
            assert!(!self.run.is_finished(), "it did not wait");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn rows_wait_for_their_schema_and_what_was_read_before_them_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    let before = log.rows(&[(2, 1)]);
    let waiting = log.rows(&[(3, 2)]);
    let last = log.rows(&[(1, 1)]);
    log.flush().await;

    let under = Under::way(Serve::until(last).in_batches_of(100), &log.wal);
    assert_eq!(under.waits().await, (SchemaId(3), waiting));
    assert_eq!(under.live.waiting().unwrap().table, table());
    assert_eq!(under.target.lock().unwrap().commits, [before]);
    assert_eq!(under.live.applied_lsn(), before);
    log.decide(3, known()).await;
    let run = under.run.await.unwrap();

    run.result.unwrap();
    assert_eq!(run.live.waiting(), None);
    assert_eq!(run.target.lock().unwrap().rows.len(), 3);
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { delivered: 3, sink: applied(3), ..SinkRows::default() });
}

#[tokio::test]
async fn a_group_waits_before_its_first_frame() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    let before = log.rows(&[(2, 1)]);
    log.rows_for(Audience::All, &[(1, 1)], GroupEnd::More);
    let waiting = log.rows_for(Audience::All, &[(1, 1), (3, 2)], GroupEnd::More);
    let last = log.rows(&[(1, 1)]);
    log.flush().await;

    let under = Under::way(Serve::until(last), &log.wal);
    assert_eq!(under.waits().await, (SchemaId(3), waiting));
    assert_eq!((under.live.applied_lsn(), under.live.delivered_lsn()), (before, before));
    log.decide(3, known()).await;

    under.run.await.unwrap().result.unwrap();
    assert_eq!(under.target.lock().unwrap().commits, [before, last]);
}

#[tokio::test]
async fn rows_under_a_schema_that_could_not_be_known_are_left_out_and_the_others_keep_their_ordinals() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    log.rows(&[(1, 2), (3, 4), (2, 1), (3, 1), (1, 1)]);
    let last = log.rows(&[(3, 1)]);
    log.flush().await;

    let under = Under::way(Serve::until(last), &log.wal);
    under.waits().await;
    log.decide(3, left_out_after(Some(1))).await;
    let run = under.run.await.unwrap();

    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().ordinals, [0, 6, 8]);
    let rows = SinkRows { delivered: 3, left_out: 6, sink: applied(3), ..SinkRows::default() };
    assert_eq!(log.at_sink(&table()).await.rows, rows);
    assert_eq!(rows.pending(9), 0);
    assert_eq!(run.doubts, []);
}

#[tokio::test]
async fn a_table_of_which_rows_were_left_out_is_not_complete_even_where_its_read_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, left_out_after(None)).await;
    log.read_whole(1);
    let lost = log.rows(&[(3, 1)]);
    log.flush().await;
    let first = Serve::until(lost).run(&log.wal).await;
    first.result.unwrap();
    assert_eq!(log.at_sink(&table()).await.whole_since, None);
    log.mark(Mark::SnapshotBegun { table: table(), whole: true });
    log.rows(&[(3, 1)]);
    // It ends the round, so that the read ends in a round that has lost nothing.
    log.rows(&[(2, 1)]);
    let last = log.mark(Mark::SnapshotFinished { table: table(), rows: 1 });
    log.flush().await;

    let run = Serve::until(last).to(&first.target).in_rounds_of(1).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(log.at_sink(&table()).await.whole_since, None);
}

#[tokio::test]
async fn a_table_of_which_rows_were_left_out_is_complete_where_a_read_that_replaces_it_ends_also_in_the_same_round() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, left_out_after(None)).await;
    log.mark(Mark::SnapshotBegun { table: table(), whole: true });
    log.rows(&[(3, 1)]);
    log.change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) });
    log.rows(&[(1, 1)]);
    let whole = log.mark(Mark::SnapshotFinished { table: table(), rows: 1 });
    log.flush().await;

    let run = Serve::until(whole).in_rounds_of(100).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(log.at_sink(&table()).await.whole_since, Some(whole));
}

#[tokio::test]
async fn a_change_to_a_left_out_schema_is_passed_over_and_the_next_one_comes_from_the_last_that_is_known() {
    let column = |name: &str| crate::model::Column {
        name: name.into(),
        ty: crate::model::ColumnType::Year,
        nullable: true,
        default: crate::model::ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let one = TableSchema { columns: vec![column("a"), column("b")], ..schema_of(table()) };
    log.decide(5, SchemaRecord::Known(one)).await;
    log.decide(6, left_out_after(Some(5))).await;
    log.decide(7, left_out_after(Some(6))).await;
    log.decide(8, known()).await;
    log.decide(9, left_out_after(None)).await;
    let schema = |from: Option<u32>, to, renamed: &[(&str, &str)]| TableChange::Schema {
        table: table(),
        from: from.map(SchemaId),
        to: SchemaId(to),
        renamed: renamed.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect(),
        lost: false,
    };
    log.change(schema(Some(5), 6, &[("b", "c")]));
    log.change(schema(Some(6), 7, &[]));
    log.change(schema(Some(7), 8, &[("c", "d"), ("a", "e")]));
    let last = log.change(schema(Some(9), 8, &[("x", "y")]));
    log.flush().await;

    let run = Serve::until(last).run(&log.wal).await;

    run.result.unwrap();
    let mut expected = [schema(Some(5), 8, &[("a", "e")]), schema(None, 8, &[])];
    if let TableChange::Schema { lost, .. } = &mut expected[0] {
        // The read that the rows under the left-out schema need brings every row.
        *lost = true;
    }
    assert_eq!(run.target.lock().unwrap().changes, expected);
    assert_eq!(run.live.frames_passed_over(), 2);
}

#[tokio::test]
async fn a_replace_under_a_left_out_schema_is_passed_over_and_a_rename_to_one_is_the_end_of_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(6, left_out_after(Some(1))).await;
    log.change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(6) });
    let last = log.change(TableChange::Rename { from: other_table(), to: table(), schema: SchemaId(6) });
    log.flush().await;

    let run = Serve::until(last).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().changes, [TableChange::Drop { table: other_table() }]);
}

#[tokio::test]
async fn every_change_that_names_an_undecided_schema_waits_for_it() {
    let schema = |from: Option<u32>, to| TableChange::Schema {
        table: table(),
        from: from.map(SchemaId),
        to: SchemaId(to),
        renamed: Vec::new(),
        lost: false,
    };
    for change in [
        schema(Some(1), 3),
        schema(Some(3), 1),
        // The schema before the one that is left out.
        schema(Some(4), 1),
        TableChange::Rename { from: other_table(), to: table(), schema: SchemaId(3) },
        TableChange::ReplaceBegin { table: table(), schema: SchemaId(3) },
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::new(directory.path()).await;
        log.decide(3, pending_record()).await;
        log.decide(4, left_out_after(Some(3))).await;
        let last = log.change(change.clone());
        log.flush().await;

        let under = Under::way(Serve::until(last), &log.wal);
        assert_eq!(under.waits().await, (SchemaId(3), last), "{change:?}");
        assert_eq!(under.target.lock().unwrap().changes, []);
        log.decide(3, known()).await;
        under.run.await.unwrap().result.unwrap();
        assert_eq!(under.target.lock().unwrap().changes.len(), 1, "{change:?}");
    }
}

#[tokio::test]
async fn a_frame_for_other_sinks_waits_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    let others = Audience::Sinks(vec!["x".into()]);
    log.rows_for(others.clone(), &[(3, 1)], GroupEnd::More);
    log.rows_for(others.clone(), &[(3, 1)], GroupEnd::Ends);
    let last = log.change_for(others, TableChange::ReplaceBegin { table: table(), schema: SchemaId(3) });
    log.flush().await;

    let run = Serve::until(last).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { not_theirs: 2, ..SinkRows::default() });
}

#[tokio::test]
async fn a_shutdown_ends_a_wait_and_the_next_start_waits_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    let before = log.rows(&[(1, 1)]);
    let last = log.rows(&[(3, 1)]);
    log.flush().await;

    let under = Under::way(Serve { goal: Goal::Forever, ..Serve::until(last) }, &log.wal);
    under.waits().await;
    under.shutdown.cancel();
    let first = under.run.await.unwrap();

    first.result.unwrap();
    assert_eq!((first.live.waiting(), first.live.applied_lsn()), (None, before));
    log.decide(3, known()).await;
    let second = Serve::until(last).to(&first.target).run(&log.wal).await;
    second.result.unwrap();
    assert_eq!(second.target.lock().unwrap().rows.len(), 2);
}

#[tokio::test]
async fn a_goal_before_the_waiting_frame_ends_the_wait() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    let goal = log.rows(&[(1, 1)]);
    log.rows(&[(3, 1)]);
    log.flush().await;

    let run = Serve::until(goal).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.live.applied_lsn(), goal);
}

#[tokio::test]
async fn a_schema_that_stays_undecided_after_the_source_has_ended_stops_the_sink_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.decide(3, pending_record()).await;
    let last = log.rows(&[(3, 1)]);
    log.flush().await;

    let run = Serve { patience: Some(Duration::ZERO), ..Serve::until(last) }.run(&log.wal).await;

    let expected = "the source has ended without deciding schema 3 of \"d.t\"";
    assert_eq!(run.result.unwrap_err().message, expected);
}
