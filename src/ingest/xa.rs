//! Two-phase (XA) transactions that are prepared and have not ended.
//!
//! What such a transaction did to captured tables is true only with its `XA COMMIT`, which may come much later. Until then its rows are in
//! the log's state, in pieces under its name, and a record says which pieces and tables there are. The pieces are stored while the
//! transaction is read, so that no memory of its size is needed; the record is stored with the position after the `XA PREPARE`. Pieces without
//! a record are of a transaction that never came to that, and are removed.
//!
//! `core::xa` takes them in, `core::outcome` gives them back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::group::{MAX_SAVEPOINTS, may_be_same};
use super::ledger::Changes;
use crate::codec::frame::{RowOp, Section};
use crate::codec::state::State;
use crate::codec::stored::{self, Entry, Record, SOURCE_XA, XA, XA_ROWS, encode};
use crate::error::Failure;
use crate::model::{FilePos, SchemaId, TableName, Xid};
use crate::mutants::{Mutant, is_on};

/// Row bytes of a piece at most, unless one event has more: what one read of the log's state gives back. A large value takes the pages of
/// the state up to the next power of two, and its key and sections are in them as well.
pub(super) const PIECE_BYTES: usize = 240 << 10;
/// A transaction with an event of more row bytes counts as too large: a record of the log's state has a limit.
const LARGEST_EVENT: usize = 32 << 20;
/// Bytes of prepared transactions of one piece that are kept in memory as well, so that their `XA COMMIT` need not wait for the log.
pub(super) const KEPT_BYTES: usize = 4 << 20;
/// For how long after an `XA COMMIT` a snapshot on MariaDB may lack its rows although its position counts them, in milliseconds.
pub(super) const UNSEEN: u64 = 30_000;
/// A prepared transaction that the source does not list for so long is gone, in milliseconds.
const GONE_AFTER: u64 = 60_000;
/// Keys of such commits that are kept at most, 16 bytes each.
const MOST_KEYS: usize = 1_000_000;

impl Record for XaRecord {
    const ENTRY: &'static Entry = &XA;
}

impl Record for XaPiece {
    const ENTRY: &'static Entry = &XA_ROWS;
}

impl Record for LastXaCommit {
    const ENTRY: &'static Entry = &SOURCE_XA;
}

/// When a two-phase transaction was committed last that changed captured tables, in microseconds since the epoch: what [`Recent`] knows does
/// not outlive the process. It is stored where a view may lack rows of such a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastXaCommit(pub(super) i64);

/// A two-phase transaction that is prepared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XaRecord {
    /// Its name.
    pub xid: Xid,
    /// It was prepared before the log's first position: what it did is not known.
    pub unread: bool,
    /// The frame that came next when it was prepared: what a reader of the log can place it by.
    pub since: Lsn,
    /// Its rows are in so many pieces.
    pub pieces: u32,
    /// Bytes of the rows in them.
    pub bytes: u64,
    /// The captured tables that it changed.
    pub tables: Vec<XaTable>,
}

/// What a prepared transaction did to one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XaTable {
    /// The table.
    pub table: TableName,
    /// Rows that it changed.
    pub rows: u64,
    /// Why these rows are of no use: if the transaction is committed, the table is read again.
    pub void: Option<String>,
}

/// Rows of a prepared transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XaPiece {
    /// Sections in the order of the source.
    sections: Vec<Section>,
    /// Their bodies, back to back.
    bodies: Vec<u8>,
}

impl XaPiece {
    fn push(&mut self, (schema, op, rows): (SchemaId, RowOp, u32), body: &[u8]) -> Option<()> {
        let bytes = u32::try_from(body.len()).ok()?;
        match self.sections.last_mut() {
            Some(last) if last.schema == schema && last.op == op => {
                last.rows = last.rows.checked_add(rows)?;
                last.bytes = last.bytes.checked_add(bytes)?;
            }
            _ => self.sections.push(Section { schema, op, rows, bytes }),
        }
        self.bodies.extend_from_slice(body);
        Some(())
    }

    /// Its sections with their bodies; `None` in place of a body that is not there.
    pub(super) fn sections(&self) -> impl Iterator<Item = (Section, Option<&[u8]>)> {
        let mut at = 0_usize;
        self.sections.iter().map(move |section| {
            let from = at;
            at = at.saturating_add(usize::try_from(section.bytes).unwrap_or(usize::MAX));
            (*section, self.bodies.get(from..at))
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bodies.len()
    }

    fn clear(&mut self) {
        self.sections.clear();
        self.bodies = Vec::new();
    }
}

/// The key of a piece.
pub(super) fn piece_key(xid: &Xid, piece: u32) -> Vec<u8> {
    [&XA_ROWS.of_bytes(&xid.bytes())[..], &piece.to_be_bytes()].concat()
}

/// The state changes that forget a prepared transaction and its rows.
pub(super) fn forget(record: &XaRecord) -> Changes {
    let pieces = (0..record.pieces).map(|piece| (piece_key(&record.xid, piece), None));
    std::iter::once((XA.of_bytes(&record.xid.bytes()), None)).chain(pieces).collect()
}

/// The state change that stores a record.
pub(super) fn put(record: &XaRecord) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    Ok((XA.of_bytes(&record.xid.bytes()), Some(encode(record)?)))
}

/// The transactions that are prepared at the end of the log.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn prepared(state: &impl State) -> Result<Vec<XaRecord>, Failure> {
    stored::values(state)
}

/// The state changes after which the log knows of the transactions that are prepared at a source of which it has read nothing yet, or
/// nothing from its position on: those of these names, and none that it knew before.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn unread(state: &impl State, listed: &[Xid]) -> Result<Changes, Failure> {
    let mut changes: Changes = prepared(state)?.iter().flat_map(forget).collect();
    for xid in listed {
        changes.push(put(&XaRecord { xid: xid.clone(), unread: true, ..XaRecord::default() })?);
    }
    Ok(changes)
}

/// The state change after which reads know that transactions may have been committed, up to this time in microseconds since the epoch, whose
/// rows a view may lack: the log has a position, and none of their rows.
///
/// # Errors
/// When the record cannot be stored.
pub fn unseen_commits(now: i64) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    Ok((SOURCE_XA.key().to_vec(), Some(encode(&LastXaCommit(now))?)))
}

/// The state changes after which these tables are captured: what transactions that are prepared have changed of them is nowhere.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn captured_from_here(state: &impl State, tables: &[TableName]) -> Result<Changes, Failure> {
    let why = "it was not captured when a transaction was prepared";
    let touched = |name: &TableName| Touched { table: name.clone(), now: name.clone(), why, adds: true };
    let mut changes = Changes::new();
    for mut record in prepared(state)? {
        let changed: Vec<bool> = tables.iter().map(|name| touched(name).changes(&mut record)).collect();
        if changed.contains(&true) {
            changes.push(put(&record)?);
        }
    }
    Ok(changes)
}

/// The two-phase transaction that is open.
#[derive(Debug)]
pub(super) struct OpenXa {
    pub(super) xid: Xid,
    piece: XaPiece,
    /// Pieces that have left for the log.
    pub(super) pieces: u32,
    /// Bytes of rows in all of them, and in the open one.
    pub(super) bytes: u64,
    /// Rows of each table.
    rows: BTreeMap<usize, u64>,
    /// Tables whose rows are of no use, and why.
    void: BTreeMap<usize, String>,
    /// Why the rows of every table are of no use.
    all_void: Option<String>,
    savepoints: VecDeque<(String, Mark)>,
    /// There were more savepoints, before these.
    forgot_savepoints: bool,
}

/// Where a savepoint was set.
#[derive(Clone, Debug)]
struct Mark {
    pieces: u32,
    sections: usize,
    last: Option<Section>,
    bodies: usize,
    bytes: u64,
    rows: BTreeMap<usize, u64>,
    void: BTreeMap<usize, String>,
}

impl OpenXa {
    pub(super) fn new(xid: Xid) -> Self {
        Self {
            xid,
            piece: XaPiece::default(),
            pieces: 0,
            bytes: 0,
            rows: BTreeMap::new(),
            void: BTreeMap::new(),
            all_void: None,
            savepoints: VecDeque::new(),
            forgot_savepoints: false,
        }
    }

    /// Rows of a table of which nothing is kept but that there are some.
    pub(super) fn lose(&mut self, table: usize, rows: u64, why: &str) {
        *self.rows.entry(table).or_default() += rows;
        self.void.entry(table).or_insert_with(|| why.to_owned());
    }

    /// Rows of a table. `room`: bytes that may be kept. Says why nothing is kept of the transaction any more, where that is new.
    pub(super) fn rows(
        &mut self,
        table: usize,
        section: (SchemaId, RowOp, u32),
        body: &[u8],
        room: u64,
    ) -> Option<&'static str> {
        *self.rows.entry(table).or_default() += u64::from(section.2);
        if self.all_void.is_some() || self.void.contains_key(&table) {
            return None;
        }
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let is_too_large = self.bytes.saturating_add(bytes) > room || body.len() > LARGEST_EVENT;
        if is_too_large || self.piece.push(section, body).is_none() {
            return Some("its transaction, prepared with others, was too large to be kept (source.xa_bytes)");
        }
        self.bytes += bytes;
        None
    }

    /// Nothing is kept of the transaction but the names of its tables. Gives the pieces that have left for the log.
    pub(super) fn lose_all(&mut self, why: &str) -> u32 {
        self.all_void = Some(why.to_owned());
        self.piece.clear();
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }

    /// The piece that leaves for the log, with its number, because it has no room for so many bytes more.
    pub(super) fn full_piece(&mut self, bytes: usize, most: usize) -> Option<(u32, XaPiece)> {
        let has_room = self.piece.bytes().saturating_add(bytes) <= most;
        (self.piece.bytes() > 0 && !has_room).then(|| {
            let number = self.pieces;
            self.pieces += 1;
            (number, std::mem::take(&mut self.piece))
        })
    }

    /// The last piece.
    pub(super) fn take_piece(&mut self) -> Option<XaPiece> {
        (self.piece.bytes() > 0).then(|| std::mem::take(&mut self.piece))
    }

    /// Its tables: index, rows, and why they are of no use.
    pub(super) fn tables(&self) -> impl Iterator<Item = (usize, u64, Option<&String>)> {
        self.rows.iter().map(|(table, rows)| (*table, *rows, self.void.get(table).or(self.all_void.as_ref())))
    }

    pub(super) fn set_savepoint(&mut self, name: &str) {
        let mark = Mark {
            pieces: self.pieces,
            sections: self.piece.sections.len(),
            last: self.piece.sections.last().copied(),
            bodies: self.piece.bodies.len(),
            bytes: self.bytes,
            rows: self.rows.clone(),
            void: self.void.clone(),
        };
        if self.savepoints.len() == MAX_SAVEPOINTS {
            self.savepoints.pop_front();
            self.forgot_savepoints = true;
        }
        self.savepoints.push_back((name.to_owned(), mark));
    }

    /// The source took back what was done since a savepoint. Says why nothing is kept of the transaction any more, where that is new: it
    /// cannot be said which savepoint is meant, or pieces have left since.
    pub(super) fn roll_back_to(&mut self, name: &str) -> Option<&'static str> {
        let why = "a large transaction was rolled back in part";
        let mut meant = self.savepoints.iter().enumerate().filter(|(_, (there, _))| may_be_same(there, name));
        let (first, last) = (meant.next(), meant.next_back());
        let Some((first, (there, mark))) = first else {
            return (!self.rows.is_empty() && self.all_void.is_none()).then_some(why);
        };
        let last = last.map_or(first, |(last, _)| last);
        let is_certain = last == first && there.eq_ignore_ascii_case(name) && !self.forgot_savepoints;
        let mark = mark.clone();
        self.savepoints.truncate(last + 1);
        if self.all_void.is_some() || mark.rows == self.rows {
            return None;
        }
        if !is_certain || mark.pieces != self.pieces {
            return Some(why);
        }
        self.piece.sections.truncate(mark.sections);
        if let (Some(last), Some(before)) = (self.piece.sections.last_mut(), mark.last) {
            *last = before;
        }
        self.piece.bodies.truncate(mark.bodies);
        self.bytes = mark.bytes;
        self.rows = mark.rows;
        self.void = mark.void;
        None
    }
}

/// A prepared transaction, as it is known in memory.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) record: XaRecord,
    /// Its one piece, while there is room for it.
    pub(super) kept: Option<XaPiece>,
    /// Its record is durable once a frame after this one is; `None`: it is.
    pub(super) after: Option<Lsn>,
    /// Since when the source does not list it, in milliseconds.
    pub(super) missed: Option<u64>,
}

impl Prepared {
    pub(super) fn of(record: XaRecord) -> Self {
        Self { record, kept: None, after: None, missed: None }
    }

    /// Its name, and which one of this name it is.
    pub(super) fn identity(&self) -> (Xid, Lsn) {
        (self.record.xid.clone(), self.record.since)
    }

    /// The source, asked at a time in milliseconds, did not list it. True: it is gone. Its `XA PREPARE` comes to the binlog before it is
    /// listed, so one look proves nothing; one that was listed before is gone at once.
    fn is_gone(&mut self, at: u64) -> bool {
        self.record.unread || at >= self.missed.get_or_insert(at).saturating_add(GONE_AFTER)
    }

    fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, XaPiece::bytes)
    }
}

/// What a statement, or a start, does to the tables of prepared transactions.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    pub(super) table: TableName,
    /// What it is called now.
    pub(super) now: TableName,
    pub(super) why: &'static str,
    /// Any prepared transaction may have rows of it, which were not captured.
    pub(super) adds: bool,
}

impl Touched {
    /// Whether a record says something else after it.
    pub(super) fn changes(&self, record: &mut XaRecord) -> bool {
        if record.unread {
            return false;
        }
        let mut is_changed = false;
        for table in record.tables.iter_mut().filter(|table| table.table == self.table) {
            is_changed |= table.void.is_none() || table.table != self.now;
            table.void.get_or_insert_with(|| self.why.to_owned());
            table.table.clone_from(&self.now);
        }
        if self.adds && record.tables.iter().all(|table| table.table != self.now) {
            record.tables.push(XaTable { table: self.now.clone(), rows: 0, void: Some(self.why.to_owned()) });
            is_changed = true;
        }
        is_changed
    }
}

/// What the source has said of the transactions that are prepared there.
#[derive(Debug)]
pub(super) struct Listing {
    /// Those that the log knew when it was asked.
    pub(super) known: BTreeSet<(Xid, Lsn)>,
    /// Those that the source listed.
    pub(super) listed: BTreeSet<Xid>,
    /// Where its binlog ended after that.
    pub(super) end: FilePos,
    /// When it was asked, in milliseconds.
    pub(super) at: u64,
}

/// What the open group has to do with two-phase transactions.
#[derive(Debug, Default)]
pub(super) struct XaPart {
    /// The one that is open.
    pub(super) open: Option<OpenXa>,
    /// It is prepared when the group commits.
    pub(super) prepared: Option<Prepared>,
    /// These have ended when the group commits.
    pub(super) ended: Vec<Xid>,
    /// Records that are others when the group commits.
    pub(super) changed: Vec<XaRecord>,
    /// What its statements do to tables of prepared transactions.
    pub(super) touched: Vec<Touched>,
    /// The one whose rows are given back.
    pub(super) replay: Option<Replay>,
    /// Its keys, and tables of which they are not known.
    pub(super) recent: RecentCommit,
}

impl XaPart {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none()
            && self.prepared.is_none()
            && self.ended.is_empty()
            && self.touched.is_empty()
            && self.replay.is_none()
    }

    /// Most groups have nothing to do with them.
    #[inline]
    pub(super) fn clear(&mut self) {
        if !self.is_empty() || !self.recent.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether pieces of it have left for the log.
    pub(super) fn has_left(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.pieces > 0)
    }
}

/// A transaction whose rows are given back.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) xid: Xid,
    /// The tables that it changed.
    pub(super) tables: Vec<usize>,
    /// Pieces in the log.
    pub(super) stored: u32,
    /// Those of them that were given back.
    pub(super) next: u32,
    /// The last piece, where it is in memory.
    pub(super) last: Option<XaPiece>,
    /// Its record is durable once a frame after this one is; `None`: it is.
    pub(super) after: Option<Lsn>,
    /// Tables whose rows are of no use, and why.
    pub(super) void: BTreeMap<usize, String>,
}

/// Keys of a transaction that was committed.
#[derive(Debug, Default)]
pub(super) struct RecentCommit {
    pub(super) keys: Vec<(usize, u128)>,
    /// Tables of which not every key is known.
    pub(super) unknown: BTreeSet<usize>,
    until: u64,
}

impl RecentCommit {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.unknown.is_empty()
    }

    /// Whether it changed rows of a table.
    pub(super) fn has(&self, table: usize) -> bool {
        self.unknown.contains(&table) || self.keys.iter().any(|(of, _)| *of == table)
    }

    pub(super) fn note(&mut self, table: usize, key: u128) {
        if self.keys.len() < MOST_KEYS {
            self.keys.push((table, key));
        } else {
            self.unknown.insert(table);
        }
    }
}

/// Transactions that were committed a short time ago.
#[derive(Debug, Default)]
pub(super) struct Recent {
    commits: VecDeque<RecentCommit>,
    keys: usize,
    /// Until then nothing is known of any table, in milliseconds: an earlier process has read such a commit.
    unknown_until: u64,
}

impl Recent {
    fn push(&mut self, mut commit: RecentCommit, now: u64) {
        self.expire(now);
        if commit.is_empty() {
            return;
        }
        if self.keys + commit.keys.len() > MOST_KEYS {
            let tables = commit.keys.drain(..).map(|(table, _)| table);
            commit.unknown.extend(tables);
        }
        self.keys += commit.keys.len();
        self.commits.push_back(RecentCommit { until: now + UNSEEN, ..commit });
    }

    fn expire(&mut self, now: u64) {
        while let Some(commit) = self.commits.pop_front_if(|commit| commit.until <= now) {
            self.keys -= commit.keys.len();
        }
    }

    /// Keys of a table.
    pub(super) fn keys(&self, table: usize, now: u64) -> impl Iterator<Item = u128> {
        let commits = self.commits.iter().filter(move |commit| commit.until > now);
        commits.flat_map(|commit| &commit.keys).filter(move |(of, _)| *of == table).map(|(_, key)| *key)
    }

    /// A start. `last`: when an earlier process read such a commit, `wall`: what time it is, both in microseconds since the epoch.
    pub(super) fn start(&mut self, last: Option<LastXaCommit>, now: u64, wall: i64) {
        let Some(LastXaCommit(last)) = last else { return };
        // A clock that was set back proves nothing.
        let passed = u64::try_from(wall.saturating_sub(last)).unwrap_or(0) / 1_000;
        self.unknown_until = now + UNSEEN.saturating_sub(passed);
    }

    /// A read of a table begins, or the copy that takes the place of what is there: what the log had before does not count for it.
    pub(super) fn begin_read(&mut self, table: usize) {
        for commit in &mut self.commits {
            let before = commit.keys.len();
            commit.keys.retain(|(of, _)| *of != table);
            if commit.keys.len() < before {
                self.keys -= before - commit.keys.len();
                commit.unknown.insert(table);
            }
        }
    }

    /// Whether one changed rows of the table of which the keys are not known.
    pub(super) fn has_unknown(&self, table: usize, now: u64) -> bool {
        let is_unknown = |commit: &RecentCommit| commit.until > now && commit.unknown.contains(&table);
        self.unknown_until > now || self.commits.iter().any(is_unknown)
    }

    /// Whether one changed rows of the table.
    pub(super) fn has(&self, table: usize, now: u64) -> bool {
        self.has_unknown(table, now) || self.keys(table, now).next().is_some()
    }
}

/// Every two-phase transaction that is prepared.
#[derive(Debug, Default)]
pub(super) struct XaState {
    pub(super) prepared: BTreeMap<Xid, Prepared>,
    /// Bytes of rows of all of them.
    pub(super) bytes: u64,
    /// Those of them that are in memory.
    kept: usize,
    pub(super) recent: Recent,
    pub(super) listing: Option<Listing>,
    /// Keys of pieces of transactions that were never prepared.
    pub(super) orphans: Vec<Vec<u8>>,
    /// What an earlier process has left of the last commit.
    pub(super) last: Option<LastXaCommit>,
}

impl XaState {
    /// What the log says.
    pub(super) fn load(state: &impl State) -> Result<Self, Failure> {
        let mut loaded = Self { last: stored::get(state, SOURCE_XA.key())?, ..Self::default() };
        for record in prepared(state)? {
            if is_on(Mutant::PreparedForgottenAtStart) {
                continue;
            }
            loaded.insert(Prepared::of(record));
        }
        let known: BTreeSet<Vec<u8>> = loaded
            .prepared
            .values()
            .flat_map(|prepared| (0..prepared.record.pieces).map(|piece| piece_key(&prepared.record.xid, piece)))
            .collect();
        let mut orphans = stored::keys(state, &XA_ROWS)?;
        orphans.retain(|key| !known.contains(key));
        loaded.orphans = orphans;
        Ok(loaded)
    }

    pub(super) fn insert(&mut self, mut prepared: Prepared) {
        self.remove(&prepared.record.xid.clone());
        if self.kept + prepared.kept_bytes() > KEPT_BYTES {
            prepared.kept = None;
        }
        self.kept += prepared.kept_bytes();
        self.bytes += prepared.record.bytes;
        self.prepared.insert(prepared.record.xid.clone(), prepared);
    }

    pub(super) fn remove(&mut self, xid: &Xid) {
        if let Some(prepared) = self.prepared.remove(xid) {
            self.bytes = self.bytes.saturating_sub(prepared.record.bytes);
            self.kept = self.kept.saturating_sub(prepared.kept_bytes());
        }
    }

    /// What a source has listed, and the log knows to be right now: the prepared transactions that are gone.
    pub(super) fn gone(&mut self, Listing { known, listed, at, .. }: Listing) -> Vec<XaRecord> {
        let mut gone = Vec::new();
        for prepared in self.prepared.values_mut().filter(|prepared| known.contains(&prepared.identity())) {
            if listed.contains(&prepared.record.xid) {
                prepared.missed = None;
            } else if prepared.is_gone(at) {
                gone.push(prepared.record.clone());
            }
        }
        gone
    }

    /// The open group has committed.
    pub(super) fn committed(&mut self, part: &mut XaPart, after: Lsn, now: u64) {
        if part.is_empty() && part.recent.is_empty() {
            return;
        }
        for xid in part.ended.drain(..) {
            self.remove(&xid);
        }
        for record in part.changed.drain(..) {
            if let Some(prepared) = self.prepared.get_mut(&record.xid) {
                prepared.record = record;
            }
        }
        if let Some(prepared) = part.prepared.take() {
            self.insert(Prepared { after: Some(after), ..prepared });
        }
        self.recent.push(std::mem::take(&mut part.recent), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;

    fn xid(gtrid: &[u8]) -> Xid {
        Xid { format: 1, gtrid: gtrid.to_vec(), bqual: Vec::new() }
    }

    fn section(table: u32, rows: u32) -> (SchemaId, RowOp, u32) {
        (SchemaId(table), RowOp::Insert, rows)
    }

    #[test]
    fn a_prepared_transaction_is_stored_as_committed() {
        let table = |table: &str, rows, void: Option<&str>| XaTable {
            table: TableName::new("shop", table),
            rows,
            void: void.map(str::to_owned),
        };
        let all = XaRecord {
            xid: Xid { format: 2_147_483_647, gtrid: vec![0, 0xff, 0x27], bqual: b"b".to_vec() },
            unread: false,
            since: Lsn::new(300),
            pieces: 2,
            bytes: 70_000,
            tables: vec![table("orders", 1_000, None), table("items", 3, Some("it was truncated"))],
        };
        let unread = XaRecord { xid: xid(b"a"), unread: true, ..XaRecord::default() };
        fixture::check(&[("every_field", all), ("unread", unread)]);
    }

    #[test]
    fn the_last_commit_is_stored_as_committed() {
        fixture::check(&[("late", LastXaCommit(1_795_251_600_123_456)), ("before", LastXaCommit(-1))]);
    }

    #[test]
    fn rows_of_a_prepared_transaction_are_stored_as_committed() {
        let mut piece = XaPiece::default();
        piece.push(section(1, 2), b"abcd").unwrap();
        piece.push((SchemaId(300), RowOp::Update, 1), &[0, 0xff]).unwrap();
        fixture::check(&[("two_sections", piece), ("empty", XaPiece::default())]);
    }

    #[test]
    fn what_a_savepoint_took_back_is_not_kept() {
        let mut open = OpenXa::new(xid(b"a"));
        open.rows(1, section(1, 1), b"one", 100);
        open.set_savepoint("s");
        open.rows(1, section(1, 1), b"two", 100);
        open.rows(2, section(2, 1), b"other", 100);
        assert_eq!(open.roll_back_to("S"), None);
        assert_eq!(open.tables().map(|(table, rows, _)| (table, rows)).collect::<Vec<_>>(), [(1, 1)]);
        let piece = open.take_piece().unwrap();
        assert_eq!(
            piece.sections().map(|(section, body)| (section.rows, body)).collect::<Vec<_>>(),
            [(1, Some(&b"one"[..]))]
        );
        open.rows(1, section(1, 1), b"three", 100);
        assert!(open.roll_back_to("\u{e9}").is_some(), "it may be another one");
    }

    #[test]
    fn a_transaction_that_is_too_large_keeps_the_names_of_its_tables() {
        let mut open = OpenXa::new(xid(b"a"));
        assert_eq!(open.rows(1, section(1, 1), b"abc", 5), None);
        assert!(open.full_piece(3, 6).is_none());
        assert_eq!(open.full_piece(3, 5).map(|(number, piece)| (number, piece.bytes())), Some((0, 3)));
        assert!(open.full_piece(3, 2).is_none(), "an event that is larger has a piece of its own");
        let why = open.rows(2, section(2, 1), b"abc", 5).unwrap();
        assert_eq!(open.lose_all(why), 1, "a piece to be removed");
        assert_eq!(open.rows(3, section(3, 7), b"abc", 5), None);
        assert!(open.tables().all(|(_, _, void)| void.is_some_and(|void| void == why)));
        assert_eq!(open.tables().map(|(table, rows, _)| (table, rows)).collect::<Vec<_>>(), [(1, 1), (2, 1), (3, 7)]);
        assert!(open.take_piece().is_none() && open.bytes == 0);
    }

    #[test]
    fn a_transaction_is_gone_when_two_looks_with_a_minute_between_do_not_list_it() {
        let mut state = XaState::default();
        let record = |name: &[u8], since| XaRecord { xid: xid(name), since: Lsn::new(since), ..XaRecord::default() };
        for record in [record(b"a", 1), record(b"b", 1), XaRecord { unread: true, ..record(b"unread", 0) }] {
            state.insert(Prepared::of(record));
        }
        let known = BTreeSet::from([(xid(b"a"), Lsn::new(1)), (xid(b"b"), Lsn::new(1)), (xid(b"unread"), Lsn::new(0))]);
        let gone = |listed: &[&[u8]], at, state: &mut XaState| {
            let listed = listed.iter().map(|name| xid(name)).collect();
            let end = FilePos { file: "binlog.000001".to_owned(), pos: 4 };
            let gone = state.gone(Listing { known: known.clone(), listed, end, at });
            gone.into_iter().map(|record| record.xid).collect::<Vec<_>>()
        };
        assert_eq!(gone(&[b"unread"], 5, &mut state), []);
        assert_eq!(gone(&[b"b"], 5 + GONE_AFTER - 1, &mut state), [xid(b"unread")]);
        assert_eq!(gone(&[b"unread"], 5 + GONE_AFTER, &mut state), [xid(b"a")], "b was listed in between");
        state.insert(Prepared::of(record(b"a", 2)));
        assert_eq!(gone(&[b"unread", b"b"], 5 + 3 * GONE_AFTER, &mut state), [], "it is another one of this name");
    }

    #[test]
    fn keys_of_a_commit_count_for_thirty_seconds() {
        let mut recent = Recent::default();
        let mut commit = RecentCommit::default();
        commit.note(1, 11);
        commit.note(2, 22);
        commit.unknown.insert(3);
        recent.push(commit, 5);
        assert_eq!(recent.keys(1, 5 + UNSEEN - 1).collect::<Vec<_>>(), [11]);
        assert!(recent.has(2, 6) && recent.has_unknown(3, 6) && !recent.has_unknown(1, 6) && !recent.has(4, 6));
        recent.begin_read(1);
        assert!(recent.keys(1, 6).next().is_none() && recent.has_unknown(1, 6) && !recent.has_unknown(2, 6));
        assert!(!recent.has(1, 5 + UNSEEN) && !recent.has(3, 5 + UNSEEN));
        recent.start(Some(LastXaCommit(7_000_000)), 100, 17_000_000);
        assert!(recent.has_unknown(9, 100 + UNSEEN - 10_001) && !recent.has_unknown(9, 100 + UNSEEN - 10_000));
        recent.start(Some(LastXaCommit(7_000_000)), 0, 6_000_000_000);
        recent.push(RecentCommit::default(), 5 + UNSEEN);
        assert_eq!((recent.commits.len(), recent.keys), (0, 0));
    }
}
