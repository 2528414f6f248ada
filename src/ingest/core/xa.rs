//! Two-phase transactions up to their `XA PREPARE`.
//!
//! A table's definition is a fact, whatever becomes of the transaction that showed it: what table maps and statements say is stored with the
//! group, as that of any other. Rows are not: they gather in pieces beside the groups ([`crate::ingest::xa`]), are not counted, note no key
//! and wait for no copy. All of that happens at the `XA COMMIT` ([`super::outcome`]). What is not known of the rows of a table makes the
//! table one that is read again there.
//!
//! Whether a transaction commits in one phase MySQL says only at its end: then its rows are given back at once.

use std::collections::BTreeMap;

use super::Core;
use super::rows::{Bound, Rows, Slot};
use crate::codec::stored::encode;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::xa::{OpenXa, PIECE_BYTES, Prepared, Replay, Touched, XaRecord, XaTable, forget, piece_key, put};
use crate::model::{Origin, TableName, Xid};
use crate::mutants::{Mutant, is_on};

/// Why rows of a prepared transaction are of no use that were left out when it was prepared.
pub(super) const LEFT_OUT: &str = "rows of a prepared transaction were left out with its other rows";

impl<L: Log> Core<L> {
    /// A two-phase transaction opens.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn begin_xa(&mut self, xid: Xid, origin: &Origin) -> Result<(), Failure> {
        if let Some(prepared) = self.xa.prepared.get(&xid) {
            let record = prepared.record.clone();
            if record.unread {
                // It was listed, and is read from here on: the log began before it was prepared.
                self.group.changes.extend(forget(&record));
                self.group.xa.ended.push(record.xid);
            } else {
                // The source lets no two have one name: the earlier one has ended, and nothing said so.
                // Its pieces go first: those of the new one have the same keys, and leave before the group ends.
                for piece in 0..record.pieces {
                    self.ledger.put_beside(&piece_key(&record.xid, piece), None);
                }
                let record = XaRecord { pieces: 0, ..record };
                self.has_vanished(&record, "ended unseen, and another transaction has its name", origin)?;
            }
        }
        self.group.xa.open = Some(OpenXa::new(xid));
        Ok(())
    }

    /// Whether a two-phase transaction is open.
    #[inline]
    pub(super) fn is_in_xa(&self) -> bool {
        self.group.xa.open.is_some()
    }

    /// Rows of the two-phase transaction that is open.
    pub(super) fn xa_rows(&mut self, slot: usize, rows: Rows<'_>) -> Result<(), Failure> {
        let Slot { table, bound, .. } = self.slot(slot)?;
        let table = *table;
        let read = u64::from(rows.rows);
        let id = match bound {
            Bound::NoTable => return Ok(()),
            Bound::LeftOut => {
                self.xa_lose(table, read, LEFT_OUT);
                return Ok(());
            }
            Bound::Logged { id, plan, key, .. } => {
                let id = *id;
                if is_on(Mutant::XaKeysNotedAtPrepare)
                    && self.windows.watches(table)
                    && let Some(key) = key
                {
                    let hashes = plan.key_hashes(&key.columns, rows.images).unwrap_or_default();
                    for hash in hashes {
                        self.group.note_key(table, hash);
                    }
                }
                id
            }
        };
        let others = self.xa.bytes;
        let room = self.settings.xa_bytes.saturating_sub(others);
        let Some(open) = &mut self.group.xa.open else { return Ok(()) };
        if let Some((number, piece)) = open.full_piece(rows.images.len(), self.settings.xa_piece_bytes.min(PIECE_BYTES))
        {
            let key = piece_key(&open.xid, number);
            self.ledger.put_beside(&key, Some(&encode(&piece)?));
        }
        if let Some(why) = open.rows(table, (id, rows.op, rows.rows), rows.images, room) {
            self.xa_lose_all(why);
        }
        Ok(())
    }

    /// Nothing is known of rows of the open transaction but that there are some.
    pub(super) fn xa_lose(&mut self, table: usize, rows: u64, why: &str) {
        if let Some(open) = &mut self.group.xa.open {
            open.lose(table, rows, why);
        }
    }

    /// Nothing is kept of the open transaction but the names of its tables.
    fn xa_lose_all(&mut self, why: &str) {
        let Some(open) = &mut self.group.xa.open else { return };
        tracing::warn!(xid = %open.xid, "rows of a two-phase transaction are not kept: {why}");
        let left = open.lose_all(why);
        let keys: Vec<Vec<u8>> = (0..left).map(|piece| piece_key(&open.xid, piece)).collect();
        for key in keys {
            self.ledger.put_beside(&key, None);
        }
    }

    /// A savepoint is set inside the open transaction. False: it is no two-phase one.
    pub(super) fn xa_set_savepoint(&mut self, name: &str) -> bool {
        let open = self.group.xa.open.as_mut();
        open.map(|open| open.set_savepoint(name)).is_some()
    }

    /// The source took back what was done since a savepoint. False: it is no two-phase transaction.
    pub(super) fn xa_roll_back_to(&mut self, name: &str) -> bool {
        let Some(open) = &mut self.group.xa.open else { return false };
        if let Some(why) = open.roll_back_to(name) {
            self.xa_lose_all(why);
        }
        true
    }

    /// The open transaction is gone: so are the pieces that have left for the log.
    pub(super) fn xa_is_cut_off(&mut self) {
        let Some(open) = self.group.xa.open.take() else { return };
        for piece in 0..open.pieces {
            self.ledger.put_beside(&piece_key(&open.xid, piece), None);
        }
    }

    /// The open transaction is prepared, or has committed in one phase: then [`Core::replay`] gives its rows back. The caller commits the
    /// group after that.
    ///
    /// # Errors
    /// When a record cannot be stored.
    pub fn prepare(&mut self, one_phase: bool) -> Result<(), Failure> {
        let Some(mut open) = self.group.xa.open.take() else { return Ok(()) };
        let last = open.take_piece();
        let tables = open.tables().map(|(table, rows, void)| (table, rows, void.cloned()));
        let tables: Vec<(usize, u64, Option<String>)> = tables.collect();
        if one_phase {
            let left = XaRecord { xid: open.xid.clone(), pieces: open.pieces, ..XaRecord::default() };
            self.group.changes.extend(forget(&left));
            let (mut all, mut void) = (Vec::new(), BTreeMap::new());
            for (table, rows, why) in tables {
                all.push(table);
                if let Some(why) = why {
                    self.count_left_out(table, rows);
                    void.insert(table, why);
                }
            }
            let after = Some(wal::Lsn::new(u64::MAX));
            self.group.xa.replay =
                Some(Replay { xid: open.xid, tables: all, stored: open.pieces, next: 0, last, after, void });
            return Ok(());
        }
        let named = |(table, rows, void): (usize, u64, Option<String>)| XaTable {
            table: self.tables.at(table).name.clone(),
            rows,
            void,
        };
        let mut record = XaRecord {
            xid: open.xid,
            unread: false,
            since: self.ledger.log().next_lsn(),
            pieces: open.pieces,
            bytes: open.bytes,
            tables: tables.into_iter().map(named).collect(),
        };
        let mut kept = None;
        if let Some(piece) = last {
            self.group.put(piece_key(&record.xid, record.pieces), Some(encode(&piece)?));
            record.pieces += 1;
            kept = (record.pieces == 1).then_some(piece);
        }
        self.group.changes.push(put(&record)?);
        self.group.xa.prepared = Some(Prepared { kept, ..Prepared::of(record) });
        Ok(())
    }

    /// A statement is about a table: what prepared transactions did to its rows before is of no use.
    pub(super) fn xa_touch(&mut self, table: &TableName, why: &'static str) {
        self.xa_touches(Touched { table: table.clone(), now: table.clone(), why, adds: false });
    }

    /// [`Core::xa_touch`], of a table that has another name after it.
    pub(super) fn xa_rename(&mut self, from: &TableName, to: &TableName) {
        let why = "it was renamed while a transaction was prepared that had changed it";
        let adds = !self.captures(from);
        self.xa_touches(Touched { table: from.clone(), now: to.clone(), why, adds });
    }

    fn xa_touches(&mut self, touched: Touched) {
        if !self.xa.prepared.is_empty() {
            self.group.xa.touched.push(touched);
        }
    }

    /// The open group ends: the records of prepared transactions whose tables it is about.
    pub(super) fn settle_touched(&mut self) -> Result<(), Failure> {
        if self.group.xa.touched.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.group.xa.touched);
        for prepared in self.xa.prepared.values() {
            if self.group.xa.ended.contains(&prepared.record.xid) {
                continue;
            }
            let mut record = prepared.record.clone();
            let changes: Vec<bool> = touched.iter().map(|touched| touched.changes(&mut record)).collect();
            if changes.contains(&true) {
                self.group.changes.push(put(&record)?);
                self.group.xa.changed.push(record);
            }
        }
        Ok(())
    }
}
