//! The log: what was appended, what was handed over, and what is durable.
//!
//! As the real one: what is handed over at once becomes durable at once, with the state that belongs to it, in order. A crash
//! loses what was appended and not handed over, and what was handed over and is not durable yet, from some place on. Fragments
//! of a group without its end are never seen, and are gone after a crash. A log that is full takes no frame until the slowest sink goes
//! on. Frames that are trimmed are kept here, for the checks, and no sink may ask for them.

use std::collections::{BTreeMap, VecDeque};

use replicator::codec::state::State;
use replicator::error::Failure;
use replicator::ingest::ledger::Log;
use wal::{GroupEnd, Lsn};

use super::truth::Truth;

/// A frame.
#[derive(Clone, Debug)]
pub struct Stored {
    pub lsn: Lsn,
    pub payload: Vec<u8>,
    pub ends: bool,
}

/// Values by key.
#[derive(Clone, Debug, Default)]
pub struct Values(BTreeMap<Vec<u8>, Vec<u8>>);

/// What becomes durable at once.
#[derive(Clone, Debug)]
struct Batch {
    frames: Vec<Stored>,
    end: Option<Lsn>,
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What is so once this is durable.
    truth: Truth,
}

#[derive(Debug)]
pub struct SimLog {
    /// Durable groups.
    frames: Vec<Stored>,
    /// Durable fragments of a group whose end is not.
    hidden: Vec<Stored>,
    values: Values,
    truth: Truth,
    handed_over: VecDeque<Batch>,
    appended: Vec<Stored>,
    settled: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The last group that has ended, if its end was not handed over.
    end: Option<Lsn>,
    next: Lsn,
    /// The first frame of the open group.
    open: Option<Lsn>,
    /// Frames that it takes beyond those that are applied.
    room: usize,
    /// Frames that every sink has applied.
    applied: usize,
    /// Frames that are trimmed.
    trimmed: usize,
}

impl SimLog {
    /// A new log, with what a first start stores in it, that takes so many frames beyond those that are applied.
    pub fn new(values: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, room: usize) -> Self {
        Self {
            frames: Vec::new(),
            hidden: Vec::new(),
            values: Values(values.into_iter().collect()),
            truth: Truth::default(),
            handed_over: VecDeque::new(),
            appended: Vec::new(),
            settled: BTreeMap::new(),
            end: None,
            next: Lsn::FIRST,
            open: None,
            room,
            applied: 0,
            trimmed: 0,
        }
    }

    /// Hands over everything that was appended, as one step.
    pub fn flush(&mut self, truth: &Truth) {
        let batch = Batch {
            frames: std::mem::take(&mut self.appended),
            end: self.end.take(),
            values: std::mem::take(&mut self.settled),
            truth: truth.clone(),
        };
        if !batch.frames.is_empty() || !batch.values.is_empty() {
            self.handed_over.push_back(batch);
        }
    }

    /// Steps that are handed over and not durable.
    pub fn waiting(&self) -> usize {
        self.handed_over.len()
    }

    /// So many frames are applied by every sink; they may be trimmed, and are at times.
    pub fn applied(&mut self, applied: usize, is_trimmed: bool) {
        self.applied = applied;
        if is_trimmed {
            self.trimmed = self.trimmed.max(applied);
        }
    }

    /// How many frames are trimmed.
    pub fn trimmed(&self) -> usize {
        self.trimmed
    }

    /// Makes the next step durable, unless the log is full.
    pub fn sync(&mut self) {
        if self.is_full() {
            return;
        }
        let Some(batch) = self.handed_over.pop_front() else { return };
        self.hidden.extend(batch.frames);
        if let Some(end) = batch.end {
            let ended = self.hidden.partition_point(|frame| frame.lsn <= end);
            self.frames.extend(self.hidden.drain(..ended));
        }
        for (key, value) in batch.values {
            self.values.put(key, value);
        }
        self.truth = batch.truth;
    }

    /// Stores records beside the groups, durable at once, after everything handed over that the log takes.
    pub fn store(&mut self, records: Vec<(Vec<u8>, Vec<u8>)>) {
        while !self.handed_over.is_empty() && !self.is_full() {
            self.sync();
        }
        for (key, value) in records {
            self.values.put(key, Some(value));
        }
    }

    /// Changes records of a log that nobody writes, durable at once.
    pub fn change(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        for (key, value) in changes {
            self.values.put(key, value);
        }
    }

    /// Whether it has room for reads that nobody has asked for: it is not more than half full.
    pub fn has_room(&self) -> bool {
        self.frames.len() - self.applied + self.hidden.len() <= self.room / 2
    }

    /// How many frames are where, in a trace.
    pub fn shape(&self) -> String {
        let (frames, hidden, batches) = (self.frames.len(), self.hidden.len(), self.handed_over.len());
        let first = self.handed_over.front().map(|batch| batch.frames.len());
        let (applied, appended, room) = (self.applied, self.appended.len(), self.room);
        format!(
            "{frames} durable, {applied} applied, {hidden} hidden, {batches} handed over ({first:?}), {appended} appended, room {room}"
        )
    }

    /// What is left after a crash.
    pub fn crash(&mut self) {
        self.handed_over.clear();
        self.appended.clear();
        self.hidden.clear();
        self.settled.clear();
        self.end = None;
        self.open = None;
        self.next = self.durable().next();
    }

    /// The durable groups' frames.
    pub fn frames(&self) -> &[Stored] {
        &self.frames
    }

    /// The durable state.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// What has to be true of what is durable.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }
}

impl Log for SimLog {
    fn append(&mut self, parts: &[&[u8]], end: GroupEnd) -> Result<Lsn, Failure> {
        let (lsn, ends) = (self.next, end == GroupEnd::Ends);
        self.appended.push(Stored { lsn, payload: parts.concat(), ends });
        self.next = lsn.next();
        if ends {
            self.open = None;
            self.end = Some(lsn);
        } else {
            self.open.get_or_insert(lsn);
        }
        Ok(lsn)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.settled.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }

    fn abort(&mut self) -> Result<(), Failure> {
        if let Some(first) = self.open.take() {
            self.appended.retain(|frame| frame.lsn < first);
            self.hidden.retain(|frame| frame.lsn < first);
            for batch in &mut self.handed_over {
                batch.frames.retain(|frame| frame.lsn < first);
            }
            self.next = first;
        }
        Ok(())
    }

    fn next_lsn(&self) -> Lsn {
        self.next
    }

    fn durable(&self) -> Lsn {
        self.frames.last().map_or(Lsn::ZERO, |frame| frame.lsn)
    }

    fn is_full(&self) -> bool {
        let live = self.frames.len() - self.applied + self.hidden.len();
        self.handed_over.front().is_some_and(|batch| live > 0 && live + batch.frames.len() > self.room)
    }

    fn pending_bytes(&self) -> usize {
        self.appended.iter().map(|frame| frame.payload.len()).sum()
    }

    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.values.0.get(key).cloned())
    }
}

impl Values {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.0.insert(key, value),
            None => self.0.remove(&key),
        };
    }
}

impl State for Values {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, wal::Error> {
        Ok(self.0.get(key).cloned())
    }

    fn under(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, wal::Error> {
        let from = self.0.range(prefix.to_vec()..);
        Ok(from
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
