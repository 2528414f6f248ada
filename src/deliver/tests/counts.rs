//! Counts of rows on both sides of the hand-over, and the doubts where they differ.

use std::collections::BTreeMap;

use super::*;
use crate::codec::catalog::Catalog;
use crate::deliver::gap::Gap;
use crate::deliver::tables::Tables;
use crate::model::{Column, ColumnDefault, ColumnType, Key, KeyKind};
use crate::sink::StoppedTable;

/// [`table`] with a column for the key and another one.
pub(super) fn keyed() -> TableSchema {
    let column = |name: &str| Column {
        name: name.into(),
        ty: ColumnType::Year,
        nullable: false,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    let key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
    TableSchema { columns: vec![column("id"), column("v")], key, ..schema_of(table()) }
}

#[tokio::test]
async fn rows_are_counted_as_handed_over_and_as_the_sink_reports_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.rows(&[(1, 3), (2, 1), (1, 2)]);
    let last = log.rows(&[(1, 1)]);
    log.flush().await;
    let reported = RowCounts { taken: 5, acknowledged: 5, netted: 1, split: 1, unmatched: 1, ..RowCounts::default() };
    let faults = vec![Fault::Reports(table(), reported)];

    let run = Serve::until(last).in_rounds_of(5).with(faults).run(&log.wal).await;

    run.result.unwrap();
    let mut sink = reported;
    sink.add(applied(1));
    let rows = SinkRows { delivered: 6, sink, ..SinkRows::default() };
    assert_eq!(log.at_sink(&table()).await, TableAtSink { rows, ..TableAtSink::default() });
    assert_eq!(log.at_sink(&other_table()).await.rows.sink, applied(1));
    assert_eq!(run.live.tables()[&table()].rows, rows);
    assert_eq!(run.doubts, []);
}

#[tokio::test]
async fn rows_that_the_sink_did_not_take_put_their_table_in_doubt_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.rows(&[(1, 3)]);
    log.rows(&[(2, 1), (1, 2)]);
    let last = log.rows(&[(1, 1)]);
    log.flush().await;
    let faults = vec![Fault::Reports(table(), applied(2)), Fault::Reports(table(), applied(3)), Fault::None];

    let run = Serve::until(last).in_rounds_of(1).with(faults).run(&log.wal).await;

    let why = "3 row changes were delivered and the sink took 2".to_owned();
    run.result.unwrap();
    assert_eq!(run.doubts, [Doubt { sink: "m".into(), table: table(), why: why.clone(), is_configured: false }]);
    assert_eq!(run.live.tables()[&table()].doubt, Some(why.clone()));
    assert_eq!(run.live.tables()[&other_table()].doubt, None);
    assert_eq!(log.at_sink(&table()).await.doubt, Some(why.clone()));
    assert_eq!(log.doubts("m"), [(table(), why)]);
}

#[tokio::test]
async fn a_doubt_is_in_the_log_before_it_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let last = log.rows(&[(1, 3)]);
    log.flush().await;

    let run = Serve::until(last).with(vec![Fault::Reports(table(), applied(2))]).run(&log.wal).await;

    // Nothing was written to the log since.
    let [(stored, at)] = &tables_at(&log.wal.reader(), "m").unwrap()[..] else { panic!("no table is stored") };
    assert_eq!((run.doubts.len(), stored, at.doubt.is_some()), (1, &table(), true));
}

#[tokio::test]
async fn rows_that_the_target_did_not_acknowledge_put_their_table_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let last = log.rows(&[(1, 3)]);
    log.flush().await;
    let reported = RowCounts { acknowledged: 2, ..applied(3) };

    let run = Serve::until(last).with(vec![Fault::Reports(table(), reported)]).run(&log.wal).await;

    let [doubt] = &run.doubts[..] else { panic!("one doubt and not {:?}", run.doubts) };
    assert!(doubt.why.starts_with("of 3 row changes taken the target acknowledged 2"), "{doubt:?}");
    assert_eq!(run.live.tables()[&table()].rows.pending(3), 1);
}

#[tokio::test]
async fn a_change_that_found_no_row_is_a_doubt_only_after_a_whole_read_and_while_no_read_is_under_way() {
    let unmatched = |rows| Fault::Reports(table(), RowCounts { unmatched: 1, ..applied(rows) });
    for (name, doubted) in [
        ("never read", false),
        ("read in part", false),
        ("read whole", true),
        ("being read", false),
        ("being replaced", false),
        ("with a gap", false),
        ("with keys that are lost", false),
        ("with another column", true),
        ("renamed to it", true),
        ("dropped since", false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::new(directory.path()).await;
        let (begun, finished) =
            (|whole| Mark::SnapshotBegun { table: table(), whole }, Mark::SnapshotFinished { table: table(), rows: 1 });
        match name {
            "never read" => {}
            "read in part" => {
                log.mark(begun(false));
                log.mark(finished);
            }
            "being read" => {
                log.read_whole(0);
                log.mark(begun(true));
            }
            "being replaced" => {
                log.read_whole(0);
                log.change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) });
            }
            "with a gap" => {
                log.read_whole(0);
                log.change(TableChange::Gap { table: table(), reason: "lost".into() });
            }
            "with keys that are lost" | "with another column" => {
                log.read_whole(0);
                let lost = name == "with keys that are lost";
                let mut after = keyed();
                after.columns[usize::from(!lost)].ty = ColumnType::Date;
                log.decide(3, SchemaRecord::Known(keyed())).await;
                log.decide(4, SchemaRecord::Known(after)).await;
                let (from, to) = (Some(SchemaId(3)), SchemaId(4));
                log.change(TableChange::Schema { table: table(), from, to, renamed: Vec::new(), lost });
            }
            "renamed to it" => {
                log.mark(Mark::SnapshotBegun { table: other_table(), whole: true });
                log.mark(Mark::SnapshotFinished { table: other_table(), rows: 0 });
                log.change(TableChange::Rename { from: other_table(), to: table(), schema: SchemaId(1) });
            }
            "dropped since" => {
                log.read_whole(0);
                log.change(TableChange::Drop { table: table() });
            }
            _ => drop(log.read_whole(0)),
        }
        log.flush().await;
        let before = log.wal.positions().borrow().durable;
        // What came before is a run of its own, so the rows are a round of their own, and the table's standing comes
        // from the log.
        let first = Serve::until(before).run(&log.wal).await;
        first.result.unwrap();
        let last = log.rows(&[(1, 2)]);
        log.flush().await;

        let run = Serve::until(last).to(&first.target).with(vec![unmatched(2)]).run(&log.wal).await;

        assert_eq!(run.doubts.len(), usize::from(doubted), "{name}: {:?}", run.doubts);
        run.result.unwrap();
        assert_eq!(log.at_sink(&table()).await.rows.sink.unmatched, 1, "{name}");
    }
}

#[tokio::test]
async fn a_change_that_found_no_row_is_no_doubt_in_a_round_in_which_the_table_was_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let whole = log.read_whole(2);
    log.flush().await;
    let first = Serve::until(whole).run(&log.wal).await;
    log.change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) });
    let last = log.read_whole(2);
    log.flush().await;
    let reported = RowCounts { unmatched: 1, ..applied(2) };

    let run = Serve::until(last).to(&first.target).with(vec![Fault::Reports(table(), reported)]).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().commits, [whole, last]);
    assert_eq!((run.doubts, log.at_sink(&table()).await.whole_since), (Vec::new(), Some(last)));
}

#[tokio::test]
async fn a_doubt_outlives_the_run_and_ends_where_the_table_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let middle = log.rows(&[(1, 3)]);
    log.flush().await;
    let first = Serve::until(middle).with(vec![Fault::Reports(table(), applied(2))]).run(&log.wal).await;
    assert_eq!(first.doubts.len(), 1);
    let later = log.rows(&[(1, 1)]);
    log.flush().await;

    let second = Serve::until(later).to(&first.target).run(&log.wal).await;

    assert!(second.live.tables()[&table()].doubt.is_some());
    second.result.unwrap();
    assert_eq!(second.doubts, [], "the wiring asks for the read before the delivery starts");
    log.change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) });
    log.read_whole(4);
    let last = log.change(TableChange::ReplaceEnd { table: table() });
    log.flush().await;

    let third = Serve::until(last).to(&first.target).run(&log.wal).await;

    third.result.unwrap();
    assert_eq!(third.live.tables()[&table()].doubt, None);
    assert_eq!(log.at_sink(&table()).await.doubt, None);
    assert_eq!(log.doubts("m"), []);
}

#[tokio::test]
async fn a_stopped_table_is_not_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    let last = log.rows(&[(1, 3)]);
    log.flush().await;
    let faults = vec![Fault::Stops(table()), Fault::Reports(table(), RowCounts { taken: 3, ..RowCounts::default() })];

    let run = Serve::until(last).with(faults).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(run.doubts, []);
}

#[tokio::test]
async fn rows_that_were_applied_before_a_crash_are_taken_and_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    log.rows(&[(1, 3)]);
    log.rows_for(Audience::Sinks(vec!["x".into()]), &[(1, 5)], GroupEnd::Ends);
    let last = log.read_whole(2);
    log.flush().await;
    let faults = vec![Fault::AfterCommit(Failure::retry("the answer was lost"))];

    let run = Serve::until(last).with(faults).run(&log.wal).await;

    run.result.unwrap();
    let at = log.at_sink(&table()).await;
    let sink = RowCounts { taken: 5, recovered: 5, ..RowCounts::default() };
    assert_eq!(at.rows, SinkRows { delivered: 5, not_theirs: 5, sink, ..SinkRows::default() });
    assert_eq!((sink.applied(), sink.balance()), (5, true));
    assert_eq!(at.whole_since, Some(last));
    assert_eq!(run.doubts, []);
    assert_eq!(run.live.tables()[&table()].rows, at.rows);
}

#[tokio::test]
async fn a_target_restored_from_an_older_copy_is_brought_up_without_counting_its_rows_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    // It keeps the log from being trimmed.
    log.wal.create_cursor("slow", Lsn::ZERO).await.unwrap();
    let older = log.rows(&[(1, 3)]);
    log.flush().await;
    let first = Serve::until(older).run(&log.wal).await;
    log.rows(&[(1, 2)]);
    let acknowledged = log.rows(&[(1, 4)]);
    log.flush().await;
    let copy = first.target.lock().unwrap().cursor;
    Serve::until(acknowledged).to(&first.target).run(&log.wal).await.result.unwrap();
    first.target.lock().unwrap().cursor = copy;
    let last = log.rows(&[(1, 6)]);
    log.flush().await;

    let run = Serve::until(last).to(&first.target).in_rounds_of(100).run(&log.wal).await;

    run.result.unwrap();
    assert_eq!(log.at_sink(&table()).await.rows, SinkRows { delivered: 15, sink: applied(15), ..SinkRows::default() });
    // A round ends where counting begins again.
    assert!(run.target.lock().unwrap().commits.ends_with(&[acknowledged, last]));
}

#[tokio::test]
async fn a_gap_in_which_tables_stopped_counts_their_rows_up_to_there_as_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path()).await;
    for _ in 0..5 {
        log.rows(&[(1, 1)]);
    }
    log.flush().await;
    let reader = log.wal.reader();
    for (since, recovered, skipped) in [(1, 0, 5), (3, 2, 3), (5, 4, 1), (6, 5, 0)] {
        let mut tables = Tables::load(&reader, "m").unwrap();
        let mut catalog = Catalog::new(reader.clone());
        let stop = |since| StoppedTable { since: Lsn::new(since), reason: "it was altered".to_owned() };
        let stopped = BTreeMap::from([(table(), stop(since)), (other_table(), stop(2))]);

        let letters = crate::dead::Letters::in_memory();
        let sink = Memory::new(&Arc::default(), VecDeque::new(), (HandOver::TargetTransaction, RoundLimits::default()));
        let gap = Gap {
            name: "m",
            sink: &sink,
            tables: &mut tables,
            catalog: &mut catalog,
            stopped: &stopped,
            letters: &letters,
        };
        let state = gap.count(&reader, (Lsn::ZERO, Lsn::new(5))).unwrap();

        let sink = RowCounts { taken: 5, recovered, skipped, ..RowCounts::default() };
        assert_eq!(tables.get(&table()).unwrap().rows, SinkRows { delivered: 5, sink, ..SinkRows::default() });
        assert_eq!(state.len(), 1, "stopped since {since}");
        let stored = crate::codec::stored::decode::<TableAtSink>(state[0].1.as_ref().unwrap()).unwrap();
        assert_eq!(&stored, tables.get(&table()).unwrap(), "stopped since {since}");
    }
}
