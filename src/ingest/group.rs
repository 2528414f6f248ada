//! The open group: everything that one source transaction, one statement or one snapshot chunk does.
//!
//! Frames, definitions, row counts, changed keys, re-reads: all of it is here until the group commits, and only here. A
//! group that is dropped leaves nothing. [`super::core`] commits it; there is no other way from here to the log, to the
//! tables, or to the snapshot windows.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use crate::codec::frame::TableChange;

use super::frames::{Frames, FramesMark};
use super::ledger::Changes;
use super::pending::Waiter;
use super::state::Counts;
use super::tables::Definition;
use super::xa::XaPart;
use crate::source::mysql::follow::FateChange;

/// Changed keys that a group notes at most, 16 bytes each. Beyond, the windows of its tables are discarded when it commits.
const MAX_KEYS: usize = 1_000_000;

/// Savepoints that a group remembers, each with the counts of its tables. A transaction may set any number, and MariaDB does not say
/// which it gives up. What is taken back to one that was forgotten is read again.
pub(super) const MAX_SAVEPOINTS: usize = 1_000;

/// Everything that the open group does.
#[derive(Debug)]
pub(super) struct OpenGroup {
    pub(super) frames: Frames,
    /// Records that are not a table's definition or counter.
    pub(super) changes: Changes,
    /// Definitions of the tables that the group redefines, by index.
    pub(super) definitions: BTreeMap<usize, Definition>,
    counts: FxHashMap<usize, Counts>,
    /// Keys that the group changes, by table, while a snapshot window watches the table.
    keys: Vec<(usize, u128)>,
    /// Tables whose windows the group discards.
    discards: Vec<usize>,
    /// Events with rows that wait for the copy of their table, by table.
    diverted: BTreeMap<usize, u64>,
    /// Schema ids that the group uses before they are known.
    pub(super) pending: Vec<Waiter>,
    /// What its statements do to ids of earlier groups that are pending.
    pub(super) fates: Vec<FateChange>,
    /// Records to be stored once the group is durable.
    pub(super) decided: Vec<(Vec<u8>, Vec<u8>)>,
    /// The last frame of the rows that `decided` is about.
    pub(super) decided_rows: wal::Lsn,
    /// The doubts of a group that has such records, as they are stored beside it.
    pub(super) asked_beside: Vec<(Vec<u8>, Vec<u8>)>,
    /// Changes of tables that it logs.
    pub(super) changed: Vec<TableChange>,
    savepoints: VecDeque<(String, Mark)>,
    /// There were more savepoints, before these.
    forgot_savepoints: bool,
    /// Tables whose rows were taken back to a savepoint.
    cut_back: Vec<usize>,
    /// Tables whose rows may have been written through a MERGE table.
    beside: Vec<usize>,
    /// Two-phase transactions that it opens, prepares or ends.
    pub(super) xa: XaPart,
    /// Set when a savepoint could not be cut back to: the rest of the group is read and left out.
    dropped: bool,
}

/// Where a savepoint was set.
#[derive(Debug)]
struct Mark {
    frames: FramesMark,
    counts: FxHashMap<usize, Counts>,
    keys: usize,
    diverted: BTreeMap<usize, u64>,
}

impl OpenGroup {
    pub(super) fn new(frame_bytes: usize) -> Self {
        Self {
            frames: Frames::new(frame_bytes),
            changes: Changes::new(),
            definitions: BTreeMap::new(),
            counts: FxHashMap::default(),
            keys: Vec::new(),
            discards: Vec::new(),
            diverted: BTreeMap::new(),
            pending: Vec::new(),
            fates: Vec::new(),
            decided: Vec::new(),
            decided_rows: wal::Lsn::ZERO,
            asked_beside: Vec::new(),
            changed: Vec::new(),
            savepoints: VecDeque::new(),
            forgot_savepoints: false,
            cut_back: Vec::new(),
            beside: Vec::new(),
            xa: XaPart::default(),
            dropped: false,
        }
    }

    /// Whether nothing happened in it.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
            && self.changes.is_empty()
            && self.definitions.is_empty()
            && self.counts.is_empty()
            && self.discards.is_empty()
            && self.fates.is_empty()
            && self.xa.is_empty()
            && !self.dropped
    }

    /// Forgets everything; buffers stay for the next group.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.changes.clear();
        self.definitions.clear();
        self.counts.clear();
        self.keys.clear();
        self.keys.shrink_to(1024);
        self.discards.clear();
        self.diverted.clear();
        self.pending.clear();
        self.fates.clear();
        self.decided.clear();
        self.decided_rows = wal::Lsn::ZERO;
        self.asked_beside.clear();
        self.changed.clear();
        self.savepoints.clear();
        self.forgot_savepoints = false;
        self.cut_back.clear();
        self.beside.clear();
        self.xa.clear();
        self.dropped = false;
    }

    /// Stores a record with the group.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.push((key, value));
    }

    /// Counts rows of a table.
    #[inline]
    pub(super) fn count(&mut self, table: usize, counts: Counts) {
        self.counts.entry(table).or_default().add(counts);
    }

    /// Tables with rows in the group.
    pub(super) fn touched(&self) -> impl Iterator<Item = usize> {
        self.counts.keys().copied()
    }

    /// Whether the group has rows of a table.
    pub(super) fn touches(&self, table: usize) -> bool {
        self.counts.contains_key(&table)
    }

    /// The row counts of the group.
    pub(super) fn counts(&self) -> impl Iterator<Item = (usize, Counts)> {
        self.counts.iter().map(|(table, counts)| (*table, *counts))
    }

    /// Notes a changed key of a table that a window watches.
    pub(super) fn note_key(&mut self, table: usize, key: u128) {
        if self.keys.len() < MAX_KEYS {
            self.keys.push((table, key));
        } else if !self.discards.contains(&table) {
            self.discards.push(table);
        }
    }

    /// The keys that the group changed.
    pub(super) fn keys(&self) -> &[(usize, u128)] {
        &self.keys
    }

    /// The table changes in a way that its keys do not show: its windows are worthless once the group commits.
    pub(super) fn discard_windows(&mut self, table: usize) {
        if !self.discards.contains(&table) {
            self.discards.push(table);
        }
    }

    /// What changes in the table was known where its copy was read.
    pub(super) fn keep_windows(&mut self, table: usize) {
        self.discards.retain(|discarded| *discarded != table);
    }

    /// Rows of an event wait for the copy of their table.
    pub(super) fn diverts(&mut self, table: usize) {
        *self.diverted.entry(table).or_default() += 1;
    }

    /// How many events of a table wait.
    pub(super) fn diverted(&self, table: usize) -> u64 {
        self.diverted.get(&table).copied().unwrap_or_default()
    }

    /// How many events of each table wait.
    pub(super) fn all_diverted(&self) -> Vec<(usize, u64)> {
        self.diverted.iter().map(|(table, events)| (*table, *events)).collect()
    }

    /// Whether any rows wait.
    pub(super) fn has_diverted(&self) -> bool {
        !self.diverted.is_empty()
    }

    /// Forgets the rows of a table that wait. False: there are none.
    pub(super) fn forget_diverted(&mut self, table: usize) -> bool {
        self.diverted.remove(&table).is_some()
    }

    /// The tables with rows that wait; they are forgotten.
    pub(super) fn take_diverted(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.diverted).into_keys().collect()
    }

    /// Tables whose windows the group discards.
    pub(super) fn discards(&self) -> &[usize] {
        &self.discards
    }

    /// Sets a savepoint. An earlier one of the same name stays: one that a trigger sets looks in the binlog like it, and the source
    /// takes back to the earlier one. The binlog of MariaDB has no RELEASE SAVEPOINT.
    pub(super) fn set_savepoint(&mut self, name: &str) {
        let diverted = self.diverted.clone();
        let mark = Mark { frames: self.frames.mark(), counts: self.counts.clone(), keys: self.keys.len(), diverted };
        if self.savepoints.len() == MAX_SAVEPOINTS {
            self.savepoints.pop_front();
            self.forgot_savepoints = true;
        }
        self.savepoints.push_back((name.to_owned(), mark));
    }

    /// Takes back what was done since a savepoint.
    ///
    /// Where frames have left since, or where it cannot be said which savepoint is meant, the whole group is dropped: the caller
    /// aborts it at the ledger, and what is still to come of it is left out.
    pub(super) fn roll_back_to(&mut self, name: &str) -> RolledBack {
        let mut meant = self.savepoints.iter().enumerate().filter(|(_, (there, _))| may_be_same(there, name));
        let (first, last) = (meant.next(), meant.next_back());
        let differs = |counts: &FxHashMap<usize, Counts>| -> Vec<usize> {
            let changed = |(table, now): (&usize, &Counts)| counts.get(table).is_none_or(|then| then != now);
            self.counts.iter().filter(|entry| changed(*entry)).map(|(table, _)| *table).collect()
        };
        let Some((first, (there, mark))) = first else {
            if self.counts.is_empty() {
                return RolledBack::Cut;
            }
            self.dropped = true;
            return RolledBack::Dropped;
        };
        let last = last.map_or(first, |(last, _)| last);
        let tables = differs(&mark.counts);
        // One that was forgotten may have had the same name, and is meant where a trigger has set this one.
        let is_certain = last == first && there.eq_ignore_ascii_case(name) && !self.forgot_savepoints;
        let (frames, counts, keys) = (mark.frames, mark.counts.clone(), mark.keys);
        let diverted = mark.diverted.clone();
        if !tables.is_empty() && (self.dropped || !is_certain || !self.frames.cut_back(frames)) {
            self.dropped = true;
            return RolledBack::Dropped;
        }
        // Savepoints after it are gone; it stays. Which of several it is does not matter here: what they hold is the same.
        self.savepoints.truncate(last + 1);
        if !tables.is_empty() {
            self.counts = counts;
            self.keys.truncate(keys);
            self.diverted = diverted;
            self.cut_back.extend(tables);
        }
        RolledBack::Cut
    }

    /// Tables whose rows were taken back to a savepoint. Their engines are asked whether they did that, however the group ends.
    pub(super) fn take_cut_back(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.cut_back)
    }

    /// Rows of a table may have been written through a MERGE table.
    pub(super) fn written_beside(&mut self, table: usize) {
        if !self.beside.contains(&table) {
            self.beside.push(table);
        }
    }

    /// Tables whose rows may have been written through a MERGE table. If the group is taken back, their engines are asked whether they did
    /// that.
    pub(super) fn beside(&self) -> &[usize] {
        &self.beside
    }

    /// Whether the rest of the group is left out.
    pub(super) fn is_dropped(&self) -> bool {
        self.dropped
    }

    /// The group was aborted at the ledger: only what has to be known of it at its end is left. Its rows were read, and are not in
    /// the log.
    pub(super) fn keep_only_doubts(&mut self) {
        let mut cut_back = self.take_cut_back();
        cut_back.append(&mut self.beside);
        let mut touched = std::mem::take(&mut self.counts);
        for counts in touched.values_mut() {
            *counts = Counts { read: counts.read, left_out: counts.read, ..Counts::default() };
        }
        self.clear();
        self.counts = touched;
        self.cut_back = cut_back;
        self.dropped = true;
    }
}

/// Whether two names of savepoints may be the same to the server, which compares them by its collation: without case, and
/// perhaps without accents.
pub(super) fn may_be_same(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() { a.eq_ignore_ascii_case(b) } else { true }
}

/// What rolling back to a savepoint came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RolledBack {
    /// The group is as it was at the savepoint.
    Cut,
    /// Frames have left: the group is dropped as a whole.
    Dropped,
}
