//! Sinks in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use wal::{LogId, Lsn};

use crate::codec::frame::{Frame, TableChange};
use crate::codec::row_image::Plan;
use crate::codec::version::{Epoch, FramePlace};
use crate::dead::{DeadLetter, LetterId, Letters};
use crate::error::Failure;
use crate::model::{Origin, RowCounts, TableName};
use crate::sink::{
    Captured, HandOver, Notes, RoundLimits, Schemas, Settled, Sink, StoppedTable, TakeOver, TargetState,
};

/// What a scripted sink does instead of succeeding.
pub(super) enum Fault {
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
    /// Commits, and reports this of the table in place of what it has counted.
    Reports(TableName, RowCounts),
    /// Commits, and nothing more: what comes first in the script is of a later round.
    None,
}

#[derive(Default)]
pub(super) struct Target {
    pub(super) rows: Vec<(Lsn, Vec<u8>)>,
    /// Ordinals of the rows' sections.
    pub(super) ordinals: Vec<u32>,
    pub(super) commits: Vec<Lsn>,
    /// Ends of rounds, those of failed commits included.
    pub(super) tried: Vec<Lsn>,
    pub(super) changes: Vec<TableChange>,
    pub(super) cursor: Option<(LogId, Lsn)>,
    pub(super) opened: usize,
    /// Where it was taken over.
    pub(super) taken_over: Vec<Lsn>,
    /// Up to where it is durable, until it is let go of; `None`: wherever it is applied.
    pub(super) durable: Option<Lsn>,
    /// Whether an error takes from it what is not durable.
    pub(super) loses_at_error: bool,
    /// What it says of itself, whatever it is.
    pub(super) says: Option<Settled>,
    /// Cursors of tables that have more than the rest.
    pub(super) ahead: BTreeMap<TableName, Lsn>,
    /// What it wishes to be read again whenever it is opened.
    pub(super) wished: Vec<(TableName, String)>,
    /// Whether the end of each round is written as a note, before it is stored.
    pub(super) has_notes: bool,
    /// Rows at these places become dead letters; a section with one has one row.
    pub(super) refused: BTreeSet<Lsn>,
}

pub(super) struct Memory {
    target: Arc<Mutex<Target>>,
    faults: VecDeque<Fault>,
    round: Vec<(Lsn, Vec<u8>, u32)>,
    /// Rows of the round.
    taken: BTreeMap<TableName, u64>,
    /// Rows that their table has already.
    recovered: BTreeMap<TableName, u64>,
    settled: Vec<(TableName, RowCounts)>,
    log: Option<LogId>,
    kind: (HandOver, RoundLimits),
    /// Limits of single tables.
    pub(super) own: BTreeMap<TableName, RoundLimits>,
    stopped: BTreeMap<TableName, StoppedTable>,
    notes: Option<Notes>,
    letters: Letters,
    /// Rows of the round that are letters.
    dead: BTreeMap<TableName, u64>,
}

impl Memory {
    pub(super) fn new(target: &Arc<Mutex<Target>>, faults: VecDeque<Fault>, kind: (HandOver, RoundLimits)) -> Self {
        Self {
            target: Arc::clone(target),
            faults,
            round: Vec::new(),
            taken: BTreeMap::new(),
            recovered: BTreeMap::new(),
            settled: Vec::new(),
            log: None,
            kind,
            own: BTreeMap::new(),
            stopped: BTreeMap::new(),
            notes: None,
            letters: Letters::in_memory(),
            dead: BTreeMap::new(),
        }
    }

    fn fault(&mut self, is_this: impl Fn(&Fault) -> bool) -> Option<Fault> {
        if self.faults.front().is_some_and(is_this) { self.faults.pop_front() } else { None }
    }
}

#[async_trait]
impl Sink for Memory {
    fn hand_over(&self) -> HandOver {
        self.kind.0
    }

    fn limits(&self) -> RoundLimits {
        self.kind.1
    }

    fn limits_for(&self, table: &TableName) -> Option<RoundLimits> {
        self.own.get(table).copied()
    }

    fn stopped(&self) -> &BTreeMap<TableName, StoppedTable> {
        &self.stopped
    }

    fn take_counts(&mut self) -> Vec<(TableName, RowCounts)> {
        std::mem::take(&mut self.settled)
    }

    async fn review(&mut self, _: &Captured) -> Result<Vec<(TableName, String)>, Failure> {
        Ok(self.target.lock().unwrap().wished.clone())
    }

    fn keep_notes(&mut self, notes: Notes) {
        self.notes = Some(notes);
    }

    fn keep_letters(&mut self, letters: Letters) {
        self.letters = letters;
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

    async fn take_over(&mut self, taking: TakeOver<'_>) -> Result<(), Failure> {
        let TakeOver { log, at, .. } = taking;
        self.log = Some(log);
        let mut target = self.target.lock().unwrap();
        target.taken_over.push(at);
        target.cursor = Some((log, at));
        Ok(())
    }

    fn write(&mut self, place: FramePlace, frame: &Frame<'_>, schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        if let Some(Fault::Write(_, failure)) =
            self.fault(|fault| matches!(fault, Fault::Write(at, _) if *at == place.lsn))
        {
            return Err(failure);
        }
        for (section, body, ordinal) in frame.sections() {
            let table = schemas.get(section.schema)?.name.clone();
            if self.target.lock().unwrap().ahead.get(&table).is_some_and(|cursor| place.lsn <= *cursor) {
                *self.recovered.entry(table).or_default() += u64::from(section.rows);
                continue;
            }
            *self.taken.entry(table.clone()).or_default() += u64::from(section.rows);
            let schema = schemas.get(section.schema)?;
            if let Some(key) = &schema.key {
                let key = Plan::walker(&schema).unwrap().key_hash(&key.columns, body).unwrap();
                let is_refused = self.target.lock().unwrap().refused.contains(&place.lsn);
                let mut book = self.letters.open();
                if is_refused {
                    let letter = DeadLetter {
                        table: table.clone(),
                        schema: section.schema,
                        op: section.op,
                        position: place.position,
                        commit_micros: 0,
                        at_micros: 0,
                        reason: "it is refused".into(),
                        keys: vec![key],
                        image_bytes: section.bytes,
                    };
                    book.add(LetterId { lsn: place.lsn, ordinal }, letter, body).unwrap();
                    *self.dead.entry(table).or_default() += 1;
                    continue;
                }
                book.written(&table, key);
            }
            self.round.push((place.lsn, body.to_vec(), ordinal));
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    async fn spill(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn is_barrier(&self, _: Lsn, _: &TableChange) -> bool {
        self.kind.0 == HandOver::RecordedBatches
    }

    async fn change(
        &mut self,
        _: FramePlace,
        _: &Origin,
        change: &TableChange,
        _: &mut Schemas<'_>,
    ) -> Result<(), Failure> {
        self.target.lock().unwrap().changes.push(change.clone());
        Ok(())
    }

    async fn store(&mut self, end: Lsn) -> Result<(), Failure> {
        let has_notes = self.target.lock().unwrap().has_notes;
        if let Some(notes) = self.notes.as_ref().filter(|_| has_notes) {
            notes.write(&[("end", Some(end.raw().to_string().as_bytes()))]).await?;
        }
        if matches!(self.faults.front(), Some(Fault::Hangs)) {
            std::future::pending::<()>().await;
        }
        self.target.lock().unwrap().tried.push(end);
        self.letters.close(end);
        self.letters.store().await?;
        if let Some(Fault::Commit(failure)) = self.fault(|fault| matches!(fault, Fault::Commit(_))) {
            return Err(failure);
        }
        if let Some(Fault::Stops(table)) = self.fault(|fault| matches!(fault, Fault::Stops(_))) {
            self.round.clear();
            self.stopped.insert(table, StoppedTable { since: Lsn::new(1), reason: "it was altered".to_owned() });
        }
        let mut settled = Vec::new();
        for (table, taken) in std::mem::take(&mut self.taken) {
            let counts = RowCounts { taken, ..RowCounts::default() };
            let counts = if self.stopped.contains_key(&table) {
                RowCounts { skipped: taken, ..counts }
            } else {
                let dead_lettered = self.dead.remove(&table).unwrap_or_default();
                RowCounts { acknowledged: taken - dead_lettered, dead_lettered, ..counts }
            };
            settled.push((table, counts));
        }
        for (table, recovered) in std::mem::take(&mut self.recovered) {
            settled.push((table, RowCounts { taken: recovered, recovered, ..RowCounts::default() }));
        }
        if let Some(Fault::Reports(table, counts)) = self.fault(|fault| matches!(fault, Fault::Reports(..))) {
            settled.retain(|(name, _)| *name != table);
            settled.push((table, counts));
        }
        self.fault(|fault| matches!(fault, Fault::None));
        let mut target = self.target.lock().unwrap();
        for (lsn, body, ordinal) in self.round.drain(..) {
            target.rows.push((lsn, body));
            target.ordinals.push(ordinal);
        }
        target.commits.push(end);
        target.cursor = self.log.map(|log| (log, end));
        drop(target);
        if let Some(Fault::AfterCommit(failure)) = self.fault(|fault| matches!(fault, Fault::AfterCommit(_))) {
            return Err(failure);
        }
        self.settled.append(&mut settled);
        Ok(())
    }

    async fn settle(&mut self) -> Result<Settled, Failure> {
        let target = self.target.lock().unwrap();
        let applied = target.cursor.map_or(Lsn::ZERO, |(_, applied)| applied);
        if let Some(says) = target.says {
            return Ok(says);
        }
        Ok(Settled { applied, durable: target.durable.map_or(applied, |durable| durable.min(applied)) })
    }

    async fn rollback(&mut self) {
        let mut target = self.target.lock().unwrap();
        if let Some(durable) = target.durable.filter(|_| target.loses_at_error) {
            target.rows.retain(|(lsn, _)| *lsn <= durable);
            target.cursor = target.cursor.map(|(log, applied)| (log, applied.min(durable)));
        }
        drop(target);
        self.round.clear();
        self.taken.clear();
        self.dead.clear();
        self.recovered.clear();
    }

    async fn close(&mut self) -> Result<(), Failure> {
        self.target.lock().unwrap().durable = None;
        Ok(())
    }
}

/// A [`Memory`] that stores a round while rows of the next one are taken.
pub(super) struct Overlapping {
    memory: Memory,
    /// End and content of the round on its way.
    sent: Option<Sent>,
    seen: Arc<Mutex<Seen>>,
}

struct Sent {
    end: Lsn,
    round: Vec<(Lsn, Vec<u8>, u32)>,
    taken: BTreeMap<TableName, u64>,
}

/// What an [`Overlapping`] met.
#[derive(Default)]
pub(super) struct Seen {
    /// Rows of the next round that had been taken when a round settled.
    pub(super) ahead: Vec<usize>,
    /// Per change: its LSN, whether a round was on its way, and what had been committed.
    pub(super) changes: Vec<(Lsn, bool, Vec<Lsn>)>,
}

impl Overlapping {
    pub(super) fn new(memory: Memory, seen: &Arc<Mutex<Seen>>) -> Self {
        Self { memory, sent: None, seen: Arc::clone(seen) }
    }
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

    fn take_counts(&mut self) -> Vec<(TableName, RowCounts)> {
        self.memory.take_counts()
    }

    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure> {
        assert!(self.sent.is_none() && self.memory.round.is_empty(), "a failed round was not forgotten");
        self.memory.open(log).await
    }

    async fn take_over(&mut self, taking: TakeOver<'_>) -> Result<(), Failure> {
        self.memory.take_over(taking).await
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

    fn is_barrier(&self, lsn: Lsn, change: &TableChange) -> bool {
        self.memory.is_barrier(lsn, change)
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

    async fn store(&mut self, end: Lsn) -> Result<(), Failure> {
        let round = std::mem::take(&mut self.memory.round);
        let taken = std::mem::take(&mut self.memory.taken);
        assert!(self.sent.replace(Sent { end, round, taken }).is_none(), "two rounds are on their way");
        Ok(())
    }

    async fn settle(&mut self) -> Result<Settled, Failure> {
        let Some(Sent { end, round, taken }) = self.sent.take() else { return self.memory.settle().await };
        let next = std::mem::replace(&mut self.memory.round, round);
        let next_taken = std::mem::replace(&mut self.memory.taken, taken);
        self.seen.lock().unwrap().ahead.push(next.len());
        let done = self.memory.store(end).await;
        self.memory.round = next;
        self.memory.taken = next_taken;
        done?;
        self.memory.settle().await
    }

    async fn rollback(&mut self) {
        self.sent = None;
        self.memory.rollback().await;
    }

    async fn close(&mut self) -> Result<(), Failure> {
        self.memory.close().await
    }
}
