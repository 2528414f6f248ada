//! What a delivery knows of its sink's letters: which there are, which rows they are about, and what the rounds on their way do to them. Pure.
//!
//! A round adds letters, and ends others: rows that are written again, or are gone. What it adds is stored before the target commits it. What it
//! ends goes with the acknowledgement of the round: until then the target may not have it.
//!
//! Letters after the place where the target was opened are of a round that comes again. It says of each once more whether it is one; those that
//! it does not say it of are removed with what the round adds.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use wal::Lsn;

use super::letter::{DeadLetter, LetterId};
use crate::codec::frame::TableChange;
use crate::model::TableName;

/// How many letters there are, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Letters.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The letters of one sink.
#[derive(Debug, Default)]
pub struct Book {
    tables: HashMap<TableName, OfTable>,
    /// Of a round that comes again.
    unproven: BTreeMap<LetterId, (TableName, Entry)>,
    /// All of them.
    sum: Sum,
    open: Round,
    /// Rounds that have ended, and are not acknowledged.
    closed: VecDeque<(Lsn, Round)>,
}

/// The letters of one table.
#[derive(Debug, Default)]
struct OfTable {
    letters: BTreeMap<LetterId, Entry>,
    by_key: HashMap<u128, Vec<LetterId>>,
}

#[derive(Debug)]
struct Entry {
    keys: Vec<u128>,
    bytes: u64,
}

/// What a round does to letters.
#[derive(Debug, Default)]
struct Round {
    /// New ones that are not stored yet, with their images.
    added: BTreeMap<LetterId, (DeadLetter, Vec<u8>)>,
    /// Bytes of these.
    added_bytes: u64,
    /// Those of them that are stored since an earlier try of the round.
    again: BTreeSet<LetterId>,
    /// Stored ones that have ended.
    ended: BTreeSet<LetterId>,
    /// Stored ones of which the table or the keys have changed.
    changed: BTreeSet<LetterId>,
}

/// What is to be stored of a letter that is stored and has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The letter.
    pub id: LetterId,
    /// Its table.
    pub table: TableName,
    /// Its keys.
    pub keys: Vec<u128>,
}

/// What a round has to have stored before the target commits it.
#[derive(Debug, Default)]
pub struct Due {
    /// New letters.
    pub added: Vec<(LetterId, DeadLetter, Vec<u8>)>,
    /// Letters that an earlier try of the round has left, and that are none.
    pub removed: Vec<LetterId>,
}

/// What goes with the acknowledgement of a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Letters that have ended.
    pub ended: Vec<LetterId>,
    /// Letters that have changed.
    pub changed: Vec<Changed>,
}

impl Book {
    /// The letters that the log has, of a target that has everything up to `at`.
    pub fn new(letters: Vec<(LetterId, DeadLetter)>, at: Lsn) -> Self {
        let mut book = Self::default();
        for (id, letter) in letters {
            if id.lsn > at {
                let bytes = letter.bytes();
                book.sum.add(bytes);
                book.unproven.insert(id, (letter.table, Entry { keys: letter.keys, bytes }));
            } else {
                let bytes = letter.bytes();
                book.insert(id, &letter.table, letter.keys, bytes);
            }
        }
        book
    }

    /// Whether a table has letters.
    pub fn has(&self, table: &TableName) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether there is a letter of any table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.unproven.is_empty()
    }

    /// Whether the row of a key is not current because of a letter.
    pub fn has_key(&self, table: &TableName, key: u128) -> bool {
        self.tables.get(table).is_some_and(|of| of.by_key.contains_key(&key))
    }

    /// How many letters a table has between two places, without the second.
    pub fn count(&self, table: &TableName, (from, to): (LetterId, LetterId)) -> u64 {
        let count = self.tables.get(table).map_or(0, |of| of.letters.range(from..to).count());
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Bytes of images that wait to be stored.
    pub fn waiting_bytes(&self) -> u64 {
        self.open.added_bytes
    }

    /// All letters.
    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// The letters of each table that has some.
    pub fn sums(&self) -> BTreeMap<TableName, Sum> {
        let sum = |of: &OfTable| {
            let mut sum = Sum::default();
            of.letters.values().for_each(|entry| sum.add(entry.bytes));
            sum
        };
        self.tables.iter().map(|(table, of)| (table.clone(), sum(of))).collect()
    }

    /// A row change becomes a letter. An older one that is about the same row alone ends: the row is what this one says.
    pub fn add(&mut self, id: LetterId, letter: DeadLetter, images: Vec<u8>) {
        for key in &letter.keys {
            self.written_before(&letter.table, *key, id);
        }
        // Said once more by the round that comes again, it is the letter that is stored.
        if self.drop_unproven(id) {
            self.open.again.insert(id);
        }
        let bytes = letter.bytes();
        self.insert(id, &letter.table, letter.keys.clone(), bytes);
        self.open.added_bytes = self.open.added_bytes.saturating_add(bytes);
        self.open.added.insert(id, (letter, images));
    }

    /// As [`Book::add`], of a row change of a round that has ended and is not stored.
    pub fn add_late(&mut self, id: LetterId, letter: DeadLetter, images: Vec<u8>) {
        self.add(id, letter, images);
        if let Some((_, round)) = self.closed.iter_mut().find(|(end, _)| id.lsn <= *end)
            && let Some((letter, images)) = self.open.added.remove(&id)
        {
            if self.open.again.remove(&id) {
                round.again.insert(id);
            }
            self.open.added_bytes = self.open.added_bytes.saturating_sub(letter.bytes());
            round.added.insert(id, (letter, images));
        }
    }

    /// Rows between two places, without the second, are at the target since an earlier try of the round: those of them that are letters stay so.
    pub fn keep(&mut self, from: LetterId, to: LetterId) {
        let kept: Vec<_> = self.unproven.range(from..to).map(|(id, _)| *id).collect();
        for id in kept {
            if let Some((table, Entry { keys, bytes })) = self.unproven.remove(&id) {
                self.sum.remove(bytes);
                self.insert(id, &table, keys, bytes);
            }
        }
    }

    /// The row of a key is current at the target.
    pub fn written(&mut self, table: &TableName, key: u128) {
        let ids = self.tables.get_mut(table).and_then(|of| of.by_key.remove(&key)).unwrap_or_default();
        self.are_current(table, key, &ids, None);
    }

    /// The same by the row change at this place, which was committed: it ends letters before it, or is one itself and takes their place.
    pub fn written_before(&mut self, table: &TableName, key: u128, at: LetterId) {
        let Some(ids) = self.tables.get_mut(table).and_then(|of| of.by_key.get_mut(&key)) else { return };
        let (before, later): (Vec<_>, Vec<_>) = ids.iter().partition(|id| **id < at);
        *ids = later;
        self.are_current(table, key, &before, Some(at));
        if let Some(of) = self.tables.get_mut(table)
            && of.by_key.get(&key).is_some_and(Vec::is_empty)
        {
            of.by_key.remove(&key);
        }
    }

    /// Letters that no longer say anything about the row of a key, because of a row change at this place; `None`: in the open round.
    fn are_current(&mut self, table: &TableName, key: u128, ids: &[LetterId], at: Option<LetterId>) {
        let Some(of) = self.tables.get_mut(table) else { return };
        let closed = at.and_then(|at| self.closed.iter_mut().find(|(end, _)| at.lsn <= *end));
        // A letter of an earlier round is stored with that round, which leaves its row out, and ends with this one.
        let round = closed.map_or(&mut self.open, |(_, round)| round);
        for id in ids.iter().copied() {
            let Some(entry) = of.letters.get_mut(&id) else { continue };
            entry.keys.retain(|other| *other != key);
            if !entry.keys.is_empty() {
                match round.added.get_mut(&id) {
                    Some((letter, _)) => letter.keys.retain(|other| *other != key),
                    None => round.change(id),
                }
                continue;
            }
            self.sum.remove(entry.bytes);
            of.letters.remove(&id);
            round.end(id);
        }
        if of.letters.is_empty() {
            self.tables.remove(table);
        }
    }

    /// What a change of a table means for its letters: those of rows end where the rows go or come again. Lines of a history are missing still.
    /// `before`: those of a place after it are of rows that came later, because the change is looked at once more.
    pub fn follow(&mut self, change: &TableChange, before: Option<LetterId>) {
        let is_before = |id: LetterId| before.is_none_or(|at| id < at);
        match change {
            TableChange::Truncate { table } | TableChange::Drop { table } | TableChange::ReplaceBegin { table, .. } => {
                self.end(table, |id, entry| is_before(id) && !entry.keys.is_empty());
            }
            TableChange::Rename { from, to, .. } => self.rename(from, to, is_before),
            TableChange::Schema { .. }
            | TableChange::ReplaceEnd { .. }
            | TableChange::Gap { .. }
            | TableChange::LeftOut { .. } => {}
        }
    }

    /// The copy of a table is gone, with whatever it was.
    pub fn forget(&mut self, table: &TableName) {
        self.end(table, |_, _| true);
    }

    /// Letters of a table from this place on, which is in a round on its way, do not count: the rows are left out with their table.
    pub fn take_back(&mut self, table: &TableName, from: LetterId) {
        let Some(of) = self.tables.get(table) else { return };
        let added: Vec<_> = of.letters.range(from..).map(|(id, _)| *id).collect();
        for id in added {
            self.drop_entry(table, id);
            let of_round = self.closed.iter_mut().find(|(end, _)| id.lsn <= *end);
            of_round.map_or(&mut self.open, |(_, round)| round).end(id);
        }
    }

    /// Whether a letter is stored of an earlier try of the round that comes again.
    pub fn is_unproven(&self, id: LetterId) -> bool {
        self.unproven.contains_key(&id)
    }

    /// These letters are gone from the log, and nothing is to be stored of them.
    pub fn discard(&mut self, ids: &BTreeSet<LetterId>) {
        let tables: Vec<_> = self.tables.keys().cloned().collect();
        for (table, id) in tables.iter().flat_map(|table| ids.iter().map(move |id| (table, *id))) {
            self.drop_entry(table, id);
        }
        for round in std::iter::once(&mut self.open).chain(self.closed.iter_mut().map(|(_, round)| round)) {
            round.changed.retain(|id| !ids.contains(id));
            for id in ids {
                round.forget(*id);
            }
        }
        for id in ids {
            self.drop_unproven(*id);
        }
    }

    /// The round ends here.
    pub fn close(&mut self, end: Lsn) {
        self.closed.push_back((end, std::mem::take(&mut self.open)));
    }

    /// What has to be stored before a target commits the rounds that have ended.
    pub fn due(&mut self) -> Due {
        let mut due = Due::default();
        let Some((last, _)) = self.closed.back() else { return due };
        let later = self.unproven.split_off(&LetterId { lsn: last.next(), ordinal: 0 });
        for (id, (_, entry)) in std::mem::replace(&mut self.unproven, later) {
            self.sum.remove(entry.bytes);
            due.removed.push(id);
        }
        for (_, round) in &mut self.closed {
            due.added.extend(round.take_added());
        }
        due
    }

    /// What the open round has to store so far, where it is larger than the memory that it may have.
    pub fn due_early(&mut self) -> Due {
        Due { added: self.open.take_added().collect(), removed: Vec::new() }
    }

    /// What goes with the acknowledgement of the rounds up to `end`.
    pub fn acknowledge(&mut self, end: Lsn) -> Outcome {
        let mut outcome = Outcome::default();
        while self.closed.front().is_some_and(|(of, _)| *of <= end) {
            let Some((_, round)) = self.closed.pop_front() else { break };
            outcome.ended.extend(round.ended);
            outcome.changed.extend(round.changed.into_iter().filter_map(|id| self.changed(id)));
        }
        outcome
    }

    fn changed(&self, id: LetterId) -> Option<Changed> {
        self.tables.iter().find_map(|(table, of)| {
            let keys = of.letters.get(&id)?.keys.clone();
            Some(Changed { id, table: table.clone(), keys })
        })
    }

    fn insert(&mut self, id: LetterId, table: &TableName, keys: Vec<u128>, bytes: u64) {
        let of = self.tables.entry(table.clone()).or_default();
        for key in &keys {
            of.by_key.entry(*key).or_default().push(id);
        }
        of.letters.insert(id, Entry { keys, bytes });
        self.sum.add(bytes);
    }

    fn drop_unproven(&mut self, id: LetterId) -> bool {
        let dropped = self.unproven.remove(&id);
        if let Some((_, entry)) = &dropped {
            self.sum.remove(entry.bytes);
        }
        dropped.is_some()
    }

    fn drop_entry(&mut self, table: &TableName, id: LetterId) {
        let Some(of) = self.tables.get_mut(table) else { return };
        let Some(entry) = of.letters.remove(&id) else { return };
        self.sum.remove(entry.bytes);
        for key in entry.keys {
            if let Some(ids) = of.by_key.get_mut(&key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    of.by_key.remove(&key);
                }
            }
        }
        if of.letters.is_empty() {
            self.tables.remove(table);
        }
    }

    fn end(&mut self, table: &TableName, ends: impl Fn(LetterId, &Entry) -> bool) {
        let Some(of) = self.tables.get(table) else { return };
        let ended: Vec<_> = of.letters.iter().filter(|(id, entry)| ends(**id, entry)).map(|(id, _)| *id).collect();
        for id in ended {
            self.drop_entry(table, id);
            self.open.end(id);
        }
    }

    fn rename(&mut self, from: &TableName, to: &TableName, is_before: impl Fn(LetterId) -> bool) {
        let Some(of) = self.tables.get(from) else { return };
        let moved: Vec<_> = of.letters.keys().copied().filter(|id| is_before(*id)).collect();
        // The source has no other table of the name: what there is of one is of a table that is gone.
        self.end(to, |id, _| is_before(id));
        for id in moved {
            let Some(entry) = self.tables.get(from).and_then(|of| of.letters.get(&id)) else { continue };
            let (keys, bytes) = (entry.keys.clone(), entry.bytes);
            self.drop_entry(from, id);
            self.insert(id, to, keys, bytes);
            match self.open.added.get_mut(&id) {
                Some((letter, _)) => letter.table.clone_from(to),
                None => self.open.change(id),
            }
        }
    }
}

impl Round {
    /// A letter ends: one that is not stored never was.
    fn end(&mut self, id: LetterId) {
        self.changed.remove(&id);
        let is_stored = self.again.contains(&id) || !self.added.contains_key(&id);
        self.forget(id);
        if is_stored {
            self.ended.insert(id);
        }
    }

    /// Nothing is stored of a letter.
    fn forget(&mut self, id: LetterId) {
        self.again.remove(&id);
        if let Some((letter, _)) = self.added.remove(&id) {
            self.added_bytes = self.added_bytes.saturating_sub(letter.bytes());
        }
    }

    fn change(&mut self, id: LetterId) {
        self.changed.insert(id);
    }

    fn take_added(&mut self) -> impl Iterator<Item = (LetterId, DeadLetter, Vec<u8>)> + use<> {
        self.added_bytes = 0;
        self.again.clear();
        std::mem::take(&mut self.added).into_iter().map(|(id, (letter, images))| (id, letter, images))
    }
}

#[cfg(test)]
mod tests;
