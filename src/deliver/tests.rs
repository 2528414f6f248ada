//! The delivery loop over a real log and a target in memory whose failures are scripted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wal::{Appender, GroupEnd, LogId, Lsn, Options, Wal};

use super::applied::Applied;
use super::*;
use crate::codec::catalog::{Catalog, SchemaRecord};
use crate::codec::frame::{Audience, Frame, FrameHeader, RowOp, RowsHeader, Section, TableChange, encode_header};
use crate::codec::stored::{SCHEMA, SINK_ROWS, encode};
use crate::codec::version::{Epoch, FramePlace};
use crate::error::Failure;
use crate::model::{BinlogPlace, Gtid, Origin, SchemaId, SourcePlace, TableName, TableSchema};
use crate::sink::{HandOver, RoundLimits, Schemas, Sink, StoppedTable, TargetState};
use crate::telemetry::{SinkLive, SinkPhase};

/// What a scripted sink does instead of succeeding.
enum Fault {
    /// Refuses the write of this LSN once.
    Write(Lsn, Failure),
    /// Commits at the target, then loses the answer.
    AfterCommit(Failure),
    /// Does not commit.
    Commit(Failure),
    /// Never answers a commit.
    Hangs,
    /// Commits without this table's rows, and leaves the table out from here on.
    Stops(TableName),
}

#[derive(Default)]
struct Target {
    rows: Vec<(Lsn, Vec<u8>)>,
    commits: Vec<Lsn>,
    /// Ends of rounds, those of failed commits included.
    tried: Vec<Lsn>,
    cursor: Option<(LogId, Lsn)>,
    opened: usize,
}

struct Memory {
    target: Arc<Mutex<Target>>,
    faults: VecDeque<Fault>,
    round: Vec<(Lsn, Vec<u8>)>,
    log: Option<LogId>,
    kind: (HandOver, RoundLimits),
    stopped: BTreeMap<TableName, StoppedTable>,
}

#[async_trait]
impl Sink for Memory {
    fn hand_over(&self) -> HandOver {
        self.kind.0
    }

    fn limits(&self) -> RoundLimits {
        self.kind.1
    }

    fn stopped(&self) -> &BTreeMap<TableName, StoppedTable> {
        &self.stopped
    }

    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure> {
        self.log = Some(log);
        let mut target = self.target.lock().unwrap();
        target.opened += 1;
        Ok(target.cursor.map_or(TargetState::Fresh, |(log, applied)| TargetState::At {
            log,
            epoch: Epoch::FIRST,
            applied,
        }))
    }

    fn write(&mut self, place: FramePlace, frame: &Frame<'_>, schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        if matches!(self.faults.front(), Some(Fault::Write(at, _)) if *at == place.lsn)
            && let Some(Fault::Write(_, failure)) = self.faults.pop_front()
        {
            return Err(failure);
        }
        for (section, body, _) in frame.sections() {
            schemas.get(section.schema)?;
            self.round.push((place.lsn, body.to_vec()));
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    async fn spill(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn change(&mut self, _: FramePlace, _: &Origin, _: &TableChange, _: &mut Schemas<'_>) -> Result<(), Failure> {
        Ok(())
    }

    async fn commit(&mut self, end: Lsn) -> Result<(), Failure> {
        if matches!(self.faults.front(), Some(Fault::Hangs)) {
            std::future::pending::<()>().await;
        }
        let mut target = self.target.lock().unwrap();
        target.tried.push(end);
        if matches!(self.faults.front(), Some(Fault::Commit(_)))
            && let Some(Fault::Commit(failure)) = self.faults.pop_front()
        {
            return Err(failure);
        }
        if matches!(self.faults.front(), Some(Fault::Stops(_)))
            && let Some(Fault::Stops(table)) = self.faults.pop_front()
        {
            self.round.clear();
            self.stopped.insert(table, StoppedTable { since: Lsn::new(1), reason: "it was altered".to_owned() });
        }
        target.rows.append(&mut self.round);
        target.commits.push(end);
        target.cursor = self.log.map(|log| (log, end));
        if matches!(self.faults.front(), Some(Fault::AfterCommit(_)))
            && let Some(Fault::AfterCommit(failure)) = self.faults.pop_front()
        {
            return Err(failure);
        }
        Ok(())
    }

    async fn rollback(&mut self) {
        self.round.clear();
    }

    async fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

fn table() -> TableName {
    TableName::new("d", "t")
}

fn origin() -> Origin {
    let place = SourcePlace::MySql(BinlogPlace { file_number: 1, pos: 4, gtid: Gtid::Anonymous });
    Origin { commit_micros: 7, place }
}

/// The header of a frame of one row.
fn one_row(body: &[u8]) -> Vec<u8> {
    let section = Section { schema: SchemaId(1), op: RowOp::Insert, rows: 1, bytes: body.len().try_into().unwrap() };
    let mut header = Vec::new();
    let rows = RowsHeader { origin: origin(), audience: Audience::All, sections: vec![section] };
    encode_header(&FrameHeader::Rows(rows), &mut header).unwrap();
    header
}

/// A log with one-frame groups of the given bodies, one row each, and a group of three fragments at the end.
async fn log(directory: &std::path::Path, bodies: &[&[u8]]) -> (Wal, Appender, Lsn) {
    let (wal, mut appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
    let schema = TableSchema { name: table(), columns: Vec::new(), key: None };
    let mut put = |body: &[u8], end| appender.append(&[&one_row(body), body], end).unwrap();
    for body in bodies {
        put(body, GroupEnd::Ends);
    }
    put(b"f1", GroupEnd::More);
    put(b"f2", GroupEnd::More);
    let last = put(b"f3", GroupEnd::Ends);
    appender.put_state(&SCHEMA.of_number(1), Some(&encode(&SchemaRecord::Known(schema)).unwrap()));
    appender.flush_durable().await.unwrap();
    (wal, appender, last)
}

/// A [`Memory`] that stores a round while rows of the next one are taken.
struct Overlapping {
    memory: Memory,
    /// End and rows of the round on its way.
    sent: Option<(Lsn, Vec<(Lsn, Vec<u8>)>)>,
    seen: Arc<Mutex<Seen>>,
}

/// What an [`Overlapping`] met.
#[derive(Default)]
struct Seen {
    /// Rows of the next round that had been taken when a round settled.
    ahead: Vec<usize>,
    /// Per change: its LSN, whether a round was on its way, and what had been committed.
    changes: Vec<(Lsn, bool, Vec<Lsn>)>,
}

#[async_trait]
impl Sink for Overlapping {
    fn hand_over(&self) -> HandOver {
        self.memory.hand_over()
    }

    fn limits(&self) -> RoundLimits {
        self.memory.limits()
    }

    fn overlaps(&self) -> bool {
        true
    }

    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure> {
        assert!(self.sent.is_none() && self.memory.round.is_empty(), "a failed round was not forgotten");
        self.memory.open(log).await
    }

    fn write(&mut self, place: FramePlace, frame: &Frame<'_>, schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        self.memory.write(place, frame, schemas)
    }

    fn pending_bytes(&self) -> usize {
        self.memory.pending_bytes()
    }

    async fn spill(&mut self) -> Result<(), Failure> {
        self.memory.spill().await
    }

    async fn change(
        &mut self,
        place: FramePlace,
        _: &Origin,
        _: &TableChange,
        _: &mut Schemas<'_>,
    ) -> Result<(), Failure> {
        let commits = self.memory.target.lock().unwrap().commits.clone();
        self.seen.lock().unwrap().changes.push((place.lsn, self.sent.is_some(), commits));
        Ok(())
    }

    async fn commit(&mut self, _: Lsn) -> Result<(), Failure> {
        panic!("a sink that overlaps is sent its rounds")
    }

    async fn send(&mut self, end: Lsn) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.memory.round);
        assert!(self.sent.replace((end, rows)).is_none(), "two rounds are on their way");
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        let (end, rows) = self.sent.take().unwrap();
        let next = std::mem::replace(&mut self.memory.round, rows);
        self.seen.lock().unwrap().ahead.push(next.len());
        let done = self.memory.commit(end).await;
        self.memory.round = next;
        done
    }

    async fn rollback(&mut self) {
        self.sent = None;
        self.memory.rollback().await;
    }

    async fn close(&mut self) -> Result<(), Failure> {
        self.memory.close().await
    }
}

/// Delivers rounds of `rows` to a sink that overlaps.
async fn deliver_overlapping(wal: &Wal, rows: u64, faults: Vec<Fault>, goal: Lsn) -> (Run, Arc<Mutex<Seen>>) {
    wal.create_cursor("m", Lsn::ZERO).await.unwrap();
    let live = Arc::new(SinkLive::new("m", "memory"));
    let (target, seen) = (Arc::<Mutex<Target>>::default(), Arc::<Mutex<Seen>>::default());
    let memory = Memory {
        target: Arc::clone(&target),
        faults: faults.into(),
        round: Vec::new(),
        log: None,
        kind: (HandOver::RecordedBatches, rounds_of(rows)),
        stopped: BTreeMap::new(),
    };
    let sink = Overlapping { memory, sent: None, seen: Arc::clone(&seen) };
    let (_keep, goal) = watch::channel(Goal::Reach(goal));
    let delivery = Delivery::new(Box::new(sink), wal.clone(), Arc::clone(&live), CancellationToken::new(), goal);
    let result = delivery.run().await;
    (Run { target, live, result }, seen)
}

struct Run {
    target: Arc<Mutex<Target>>,
    live: Arc<SinkLive>,
    result: Result<(), Failure>,
}

async fn deliver(wal: &Wal, target: &Arc<Mutex<Target>>, faults: Vec<Fault>, goal: Lsn) -> Run {
    deliver_by((HandOver::TargetTransaction, RoundLimits::default()), wal, target, faults, goal).await
}

async fn deliver_by(
    kind: (HandOver, RoundLimits),
    wal: &Wal,
    target: &Arc<Mutex<Target>>,
    faults: Vec<Fault>,
    goal: Lsn,
) -> Run {
    run(CancellationToken::new(), kind, wal, target, faults, goal).await
}

async fn deliver_until(
    shutdown: CancellationToken,
    kind: (HandOver, RoundLimits),
    wal: &Wal,
    faults: Vec<Fault>,
    goal: Lsn,
) -> Run {
    run(shutdown, kind, wal, &Arc::default(), faults, goal).await
}

async fn run(
    shutdown: CancellationToken,
    kind: (HandOver, RoundLimits),
    wal: &Wal,
    target: &Arc<Mutex<Target>>,
    faults: Vec<Fault>,
    goal: Lsn,
) -> Run {
    wal.create_cursor("m", Lsn::ZERO).await.unwrap();
    let live = Arc::new(SinkLive::new("m", "memory"));
    let sink = Memory {
        target: Arc::clone(target),
        faults: faults.into(),
        round: Vec::new(),
        log: None,
        kind,
        stopped: BTreeMap::new(),
    };
    let (_keep, goal) = watch::channel(Goal::Reach(goal));
    let delivery = Delivery::new(Box::new(sink), wal.clone(), Arc::clone(&live), shutdown, goal);
    let result = delivery.run().await;
    Run { target: Arc::clone(target), live, result }
}

/// What the log holds of the sink's rows: (table, applied, skipped).
fn applied_and_skipped(reader: &wal::Reader) -> Vec<(TableName, u64, u64)> {
    let stored = sink_rows(reader, "m").unwrap();
    stored.into_iter().map(|(table, counts)| (table, counts.applied(), counts.skipped)).collect()
}

fn expected(bodies: &[&[u8]]) -> Vec<(Lsn, Vec<u8>)> {
    let all = bodies.iter().copied().chain([&b"f1"[..], b"f2", b"f3"]);
    (1..).zip(all).map(|(lsn, body)| (Lsn::new(lsn), body.to_vec())).collect()
}

#[tokio::test]
async fn every_frame_is_applied_once_in_order_and_the_cursor_follows() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b"]).await;
    let run = deliver(&wal, &Arc::default(), vec![], last).await;
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().rows, expected(&[b"a", b"b"]));
    assert_eq!(run.live.applied_lsn(), last);
    assert_eq!(run.live.state().0, SinkPhase::Stopped);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_round_that_failed_is_applied_again_from_its_start_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b"]).await;
    let faults = vec![Fault::Write(Lsn::new(4), Failure::retry("try later"))];
    let run = deliver(&wal, &Arc::default(), faults, last).await;
    run.result.unwrap();
    let target = run.target.lock().unwrap();
    assert_eq!(target.rows, expected(&[b"a", b"b"]));
    assert_eq!((target.opened, run.live.errors()), (2, 1));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated_and_still_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b"]).await;
    let faults = vec![Fault::AfterCommit(Failure::retry("answer lost"))];
    let run = deliver(&wal, &Arc::default(), faults, last).await;
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().rows, expected(&[b"a", b"b"]));
    assert_eq!(applied_and_skipped(&wal.reader()), [(table(), 5, 0)]);
    let cursor = wal.cursors().into_iter().find(|cursor| cursor.name == "m").unwrap();
    assert_eq!(cursor.lsn, last);
}

#[tokio::test]
async fn a_transaction_in_fragments_is_never_committed_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a"]).await;
    let run = deliver(&wal, &Arc::default(), vec![], last).await;
    run.result.unwrap();
    let inside = [Lsn::new(2), Lsn::new(3)];
    assert!(run.target.lock().unwrap().commits.iter().all(|end| !inside.contains(end)));
}

#[tokio::test]
async fn a_fatal_failure_stops_the_sink_and_leaves_the_cursor_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a"]).await;
    let faults = vec![Fault::Write(Lsn::new(1), Failure::fatal("no such type").hint("exclude it"))];
    let run = deliver(&wal, &Arc::default(), faults, last).await;
    assert_eq!(run.result.unwrap_err().message, "no such type");
    let (phase, error) = run.live.state();
    assert_eq!(phase, SinkPhase::Failed);
    assert_eq!(error.unwrap(), "no such type (exclude it)");
    assert!(run.target.lock().unwrap().rows.is_empty());
    assert_eq!(wal.cursors().first().unwrap().lsn, Lsn::ZERO);
}

#[tokio::test]
async fn a_second_run_goes_on_where_the_target_stands() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b"]).await;
    let first = deliver(&wal, &Arc::default(), vec![], last).await;
    let second = deliver(&wal, &first.target, vec![], last).await;
    second.result.unwrap();
    assert_eq!(second.target.lock().unwrap().rows, expected(&[b"a", b"b"]));
}

/// Rounds of so many rows.
fn rounds_of(rows: u64) -> RoundLimits {
    RoundLimits { rows, ..RoundLimits::default() }
}

#[tokio::test]
async fn a_batch_that_may_have_been_sent_is_the_same_batch_again_whatever_the_limits_are_now() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b", b"c"]).await;
    let lost = vec![Fault::Commit(Failure::fatal("the process ends here"))];
    let first = deliver_by((HandOver::RecordedBatches, rounds_of(2)), &wal, &Arc::default(), lost, last).await;
    first.result.unwrap_err();
    let second = deliver_by((HandOver::RecordedBatches, rounds_of(100)), &wal, &first.target, vec![], last).await;
    second.result.unwrap();
    let target = second.target.lock().unwrap();
    assert_eq!(target.tried, [Lsn::new(2), Lsn::new(2), last]);
    assert_eq!(target.rows, expected(&[b"a", b"b", b"c"]));
}

#[tokio::test]
async fn rows_of_a_table_that_its_sink_stopped_are_counted_as_skipped_and_the_end_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b"]).await;
    let faults = vec![Fault::Stops(table())];
    let run = deliver_by((HandOver::RecordedBatches, rounds_of(100)), &wal, &Arc::default(), faults, last).await;
    assert_eq!(run.result.unwrap_err().message, "table 'd.t' is not written: it was altered");
    // The counters go with the cursor, which nobody waits for; this is behind it.
    wal.put_state(Vec::new()).await.unwrap();
    assert_eq!(applied_and_skipped(&wal.reader()), [(table(), 0, 5)]);
    assert_eq!(run.live.table_rows()[&table()], (0, 5));
    assert_eq!(run.live.stopped_tables()[0].reason, "it was altered");
}

#[tokio::test]
async fn a_round_that_waits_for_more_ends_at_once_when_nothing_more_will_come() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a"]).await;
    let limits = RoundLimits { linger: Duration::from_hours(1), age: Duration::from_hours(1), ..rounds_of(100) };
    let run = deliver_by((HandOver::RecordedBatches, limits), &wal, &Arc::default(), vec![], last).await;
    run.result.unwrap();
    assert_eq!(run.target.lock().unwrap().commits, [last]);
}

#[tokio::test]
async fn a_target_that_never_answers_does_not_hold_up_a_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a"]).await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let run = deliver_until(shutdown, (HandOver::RecordedBatches, rounds_of(100)), &wal, vec![Fault::Hangs], last);
    let run = tokio::time::timeout(Duration::from_secs(9), run).await.unwrap();
    run.result.unwrap();
    assert_eq!(run.live.state().0, SinkPhase::Stopped);
    assert_eq!(wal.cursors().first().unwrap().lsn, Lsn::ZERO);
    // The next start brings what is left.
    let second = deliver_by((HandOver::RecordedBatches, rounds_of(100)), &wal, &run.target, vec![], last).await;
    second.result.unwrap();
    assert_eq!(second.target.lock().unwrap().rows, expected(&[b"a"]));
}

#[tokio::test]
async fn a_gap_in_which_tables_stopped_counts_their_rows_up_to_there_as_applied() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b"]).await;
    let reader = wal.reader();
    for (since, applied, skipped) in [(1, 0, 5), (3, 2, 3), (5, 4, 1), (6, 5, 0)] {
        let mut counters = Applied::load(&reader, "m").unwrap();
        let mut catalog = Catalog::new(reader.clone());
        let stop = |since| StoppedTable { since: Lsn::new(since), reason: "it was altered".to_owned() };
        let stopped = BTreeMap::from([(table(), stop(since)), (TableName::new("d", "another"), stop(2))]);

        let state = counters.add_gap(&reader, (Lsn::ZERO, last), &mut catalog, &stopped).unwrap();

        assert_eq!(counters.totals()[&table()], (applied, skipped), "stopped since {since}");
        wal.put_state(state).await.unwrap();
        assert_eq!(applied_and_skipped(&reader), [(table(), applied, skipped)], "stopped since {since}");
        wal.put_state(vec![(SINK_ROWS.of_sink_table("m", &table()), None)]).await.unwrap();
    }
}

#[tokio::test]
async fn a_round_that_fails_while_the_next_one_is_taken_is_sent_again_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender, last) = log(directory.path(), &[b"a", b"b", b"c", b"d"]).await;
    let faults = vec![Fault::Commit(Failure::retry("the answer is no"))];

    let (run, seen) = deliver_overlapping(&wal, 2, faults, last).await;

    // The counters go with the cursor, which nobody waits for; this is behind it.
    wal.put_state(Vec::new()).await.unwrap();
    run.result.unwrap();
    assert_eq!(seen.lock().unwrap().ahead.first(), Some(&2), "rows were taken while the failing round was stored");
    let target = run.target.lock().unwrap();
    assert_eq!(target.tried, [Lsn::new(2), Lsn::new(2), Lsn::new(4), last]);
    assert_eq!(target.rows, expected(&[b"a", b"b", b"c", b"d"]));
    assert_eq!((target.opened, run.live.errors(), run.live.applied_lsn()), (2, 1, last));
    assert_eq!(applied_and_skipped(&wal.reader()), [(table(), 7, 0)]);
    assert_eq!(run.live.table_rows()[&table()], (7, 0));
    assert_eq!(wal.cursors().first().unwrap().lsn, last);
}

#[tokio::test]
async fn a_change_finds_every_round_before_it_stored_and_none_of_the_rows_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender, _) = log(directory.path(), &[b"a"]).await;
    let mut change = Vec::new();
    let truncate = TableChange::Truncate { table: table() };
    encode_header(&FrameHeader::Change { origin: origin(), audience: Audience::All, change: truncate }, &mut change)
        .unwrap();
    let at = appender.append(&[&change], GroupEnd::Ends).unwrap();
    let last = appender.append(&[&one_row(b"z"), b"z"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();

    let (run, seen) = deliver_overlapping(&wal, 1, vec![], last).await;

    wal.put_state(Vec::new()).await.unwrap();
    run.result.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.changes, [(at, false, vec![Lsn::new(1), Lsn::new(4)])]);
    let target = run.target.lock().unwrap();
    assert_eq!(target.commits, [Lsn::new(1), Lsn::new(4), at, last]);
    let rows: Vec<_> = expected(&[b"a"]).into_iter().chain([(last, b"z".to_vec())]).collect();
    assert_eq!(target.rows, rows);
    assert_eq!(applied_and_skipped(&wal.reader()), [(table(), 5, 0)]);
    assert_eq!(wal.cursors().first().unwrap().lsn, last);
}
