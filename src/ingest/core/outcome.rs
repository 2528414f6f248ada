//! How two-phase transactions end that were prepared.
//!
//! At the `XA COMMIT` the rows come back piece by piece and go the way of any rows, as one group, with the place and the time of the commit:
//! they are counted, note their keys, wait for the copy of a table that is read whole. They have the schema that their table had when the
//! transaction was prepared, and prepared transactions keep their tables from being changed. Where a table has another schema all the same, or a
//! statement was about it, its rows are of no use, and it is read again; rows of other tables are appended.
//!
//! A transaction that was committed and of which the log knows nothing was prepared before the log began: what it changed nobody knows, and
//! every captured table is read again.
//!
//! **MariaDB.** A snapshot may lack the rows of an `XA COMMIT` that its position counts (seen in 6 of 2,947). So the keys of such a commit
//! are noted in windows that open up to 30 s after it. That is right while the copy that is read for has these rows from the log: not
//! for a read that begins after the commit, and not where the keys are not known. Then a window opens only when the 30 s are over, and so
//! does a read of a whole table.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;
use wal::Lsn;

use super::Core;
use super::rows::Rows;
use crate::codec::frame::Section;
use crate::codec::stored::{SOURCE_XA, decode, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::ingest::xa::{LastXaCommit, Listing, Prepared, Replay, XaPiece, XaRecord, forget, piece_key};
use crate::model::{FilePos, Origin, TableName, Xid};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::schema::Flavour;

impl<L: Log> Core<L> {
    /// A transaction that was prepared before has ended. The caller calls [`Core::replay`] until it has no more, and commits the group.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn outcome(&mut self, xid: &Xid, commits: bool, origin: &Origin) -> Result<(), Failure> {
        self.decide_overdue()?;
        let Some(prepared) = self.xa.prepared.get(xid) else {
            if commits {
                let why = format!("transaction {xid}, which was prepared before the log began, was committed");
                self.doubt_every_table(&why, origin)?;
            }
            return Ok(());
        };
        let (record, after) = (prepared.record.clone(), prepared.after);
        let last = prepared.kept.clone().filter(|_| commits);
        self.group.changes.extend(forget(&record));
        self.group.xa.ended.push(xid.clone());
        if !commits {
            return Ok(());
        }
        if record.unread {
            let why = format!("transaction {xid}, which was prepared before the log began, was committed");
            return self.doubt_every_table(&why, origin);
        }
        let stored = record.pieces - u32::from(last.is_some()).min(record.pieces);
        let mut replay =
            Replay { xid: xid.clone(), tables: Vec::new(), stored, next: 0, last, after, void: BTreeMap::new() };
        for table in &record.tables {
            let index = self.tables.index(&table.table);
            replay.tables.push(index);
            if let Some(why) = &table.void {
                self.count_left_out(index, table.rows);
                replay.void.insert(index, why.clone());
            }
        }
        self.group.xa.replay = Some(replay);
        Ok(())
    }

    /// Whether the log has to be made durable before [`Core::replay`]: what it gives back is read from it.
    pub fn needs_durable(&self) -> bool {
        self.group.xa.replay.as_ref().is_some_and(|replay| {
            replay.stored > 0 && replay.after.is_some_and(|after| self.ledger.log().durable() <= after)
        })
    }

    /// Gives a piece of the transaction back that has committed. False: there is none left.
    ///
    /// # Errors
    /// When the log is out of service, or a piece is damaged.
    pub fn replay(&mut self, origin: &Origin) -> Result<bool, Failure> {
        let Some(replay) = &mut self.group.xa.replay else { return Ok(false) };
        let piece = if replay.next < replay.stored {
            let key = piece_key(&replay.xid, replay.next);
            replay.next += 1;
            match self.ledger.log().stored(&key)? {
                Some(found) => Some(decode::<XaPiece>(&found)?),
                None => {
                    // Another transaction of its name had begun, and was cut off.
                    for table in &replay.tables {
                        let why = "the log has lost rows of a prepared transaction that had changed it";
                        replay.void.entry(*table).or_insert_with(|| why.to_owned());
                    }
                    None
                }
            }
        } else {
            replay.last.take()
        };
        if let Some(piece) = piece {
            for (section, body) in piece.sections() {
                let body =
                    body.ok_or_else(|| Failure::fatal("rows of a prepared transaction in the log are damaged"))?;
                self.replay_rows(section, body, origin)?;
            }
            return Ok(true);
        }
        let void = self.group.xa.replay.take().map(|replay| replay.void).unwrap_or_default();
        for (table, why) in void {
            self.doubt_of_xa(table, &why, origin)?;
        }
        Ok(false)
    }

    fn replay_rows(&mut self, section: Section, images: &[u8], origin: &Origin) -> Result<(), Failure> {
        let Section { schema: id, op, rows, .. } = section;
        let read = u64::from(rows);
        let Some(table) = self.tables.of_schema(id) else {
            return Err(Failure::fatal(format!("the log holds no schema {id} of a prepared transaction")));
        };
        let is_void = |replay: &Replay| replay.void.contains_key(&table);
        if self.group.xa.replay.as_ref().is_some_and(is_void) {
            // They were counted with their table.
            return Ok(());
        }
        if !self.captures(&self.tables.at(table).name) {
            return Ok(());
        }
        let current = self.followed(table).current().filter(|current| current.id == id).cloned();
        let Some(current) = current.filter(|_| self.life(table).left_out.is_none()) else {
            self.count_left_out(table, read);
            if let Some(replay) = &mut self.group.xa.replay {
                let why = "its definition changed while a transaction was prepared that had changed its rows";
                replay.void.insert(table, why.to_owned());
            }
            return Ok(());
        };
        let is_mariadb = self.facts.flavour == Flavour::MariaDb;
        let watched = self.windows.watches(table) && !is_on(Mutant::XaKeysNotedAtPrepare);
        match &current.schema.key {
            Some(key) if watched || is_mariadb => {
                let hashes = current.plan.key_hashes(&key.columns, images).map_err(|error| {
                    Failure::fatal(format!("a key of '{}' cannot be read from its rows", current.schema.name))
                        .caused_by(error)
                })?;
                for hash in hashes {
                    if watched {
                        self.group.note_key(table, hash);
                    }
                    if is_mariadb {
                        self.group.xa.recent.note(table, hash);
                    }
                }
            }
            None if is_mariadb => {
                self.group.xa.recent.unknown.insert(table);
            }
            Some(_) | None => {}
        }
        if self.diversions.has(table) {
            let rows = Rows { op, rows, columns: current.plan.columns(), images };
            self.divert_rows(table, id, rows, origin);
            return Ok(());
        }
        self.group.count(table, Counts { read, ..Counts::default() });
        self.group.frames.rows(&mut self.ledger, (id, op, rows), images, origin)
    }

    /// Rows of a transaction that has committed, and that nobody has.
    pub(super) fn count_left_out(&mut self, table: usize, rows: u64) {
        if self.captures(&self.tables.at(table).name) {
            self.group.count(table, Counts { read: rows, left_out: rows, ..Counts::default() });
        }
    }

    /// What a transaction that has committed made of a table is not known.
    fn doubt_of_xa(&mut self, table: usize, why: &str, origin: &Origin) -> Result<(), Failure> {
        if self.facts.flavour == Flavour::MariaDb {
            self.group.xa.recent.unknown.insert(table);
        }
        let life = self.life(table);
        if !life.is_captured() || life.left_out.is_some() || !self.captures(&self.tables.at(table).name) {
            return Ok(());
        }
        warn!(table = %self.tables.at(table).name, %why, "rows of a two-phase transaction are left out, and their table is read again");
        self.doubt(table, why, origin)
    }

    fn doubt_every_table(&mut self, why: &str, origin: &Origin) -> Result<(), Failure> {
        let tables: Vec<usize> = self.tables.iter().map(|(index, _)| index).collect();
        tables.into_iter().try_for_each(|table| self.doubt_of_xa(table, why, origin))
    }

    /// A prepared transaction is gone, and nobody knows how it ended.
    pub(super) fn has_vanished(&mut self, record: &XaRecord, how: &str, origin: &Origin) -> Result<(), Failure> {
        warn!(xid = %record.xid, "a prepared transaction is given up: it {how}");
        self.group.changes.extend(forget(record));
        self.group.xa.ended.push(record.xid.clone());
        let why = format!("transaction {}, which was prepared, {how}", record.xid);
        if record.unread {
            return self.doubt_every_table(&why, origin);
        }
        for table in &record.tables {
            let index = self.tables.index(&table.table);
            self.doubt_of_xa(index, &why, origin)?;
        }
        Ok(())
    }

    /// The open group ends: what a start has to know of a transaction that it commits.
    pub(super) fn settle_recent(&mut self) -> Result<(), Failure> {
        if !self.group.xa.recent.is_empty() {
            self.group.put(SOURCE_XA.key().to_vec(), Some(encode(&LastXaCommit(self.wall))?));
        }
        Ok(())
    }

    /// Removes what is left of transactions that were never prepared.
    pub(super) fn remove_orphans(&mut self) {
        for key in std::mem::take(&mut self.xa.orphans) {
            self.ledger.put_beside(&key, None);
        }
    }

    /// Names of prepared transactions of which nothing is known, because they were prepared before the log began.
    pub fn unread_transactions(&self) -> Vec<Xid> {
        self.xa
            .prepared
            .values()
            .filter(|prepared| prepared.record.unread)
            .map(|prepared| prepared.record.xid.clone())
            .collect()
    }

    /// The transactions that are prepared, as of the last group: their names, and which of each name.
    pub fn prepared_transactions(&self) -> Vec<(Xid, Lsn)> {
        self.xa.prepared.values().map(Prepared::identity).collect()
    }

    /// Those of them whose end may show nowhere but in the source's list: of which nothing is known, or that it did not list.
    pub fn looked_for(&self) -> Vec<(Xid, Lsn)> {
        let is_looked_for = |prepared: &&Prepared| prepared.record.unread || prepared.missed.is_some();
        self.xa.prepared.values().filter(is_looked_for).map(Prepared::identity).collect()
    }

    /// Whether the source has to be asked once more, or what it has listed waits for the stream.
    pub fn has_to_look_for_transactions(&self) -> bool {
        self.xa.listing.is_some() || !self.looked_for().is_empty()
    }

    /// What the source lists of prepared transactions, and where its binlog ended after that: what it does not list, and did not end up to
    /// there, has vanished. `asked`: those that the log knew before the source was asked; `at`: when that was, by the core's clock.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn listed(
        &mut self,
        asked: Vec<(Xid, Lsn)>,
        listed: Vec<Xid>,
        (end, at): (FilePos, u64),
    ) -> Result<(), Failure> {
        // An earlier list may know of more, and its place comes first.
        if self.xa.listing.is_none() {
            let (known, listed) = (BTreeSet::from_iter(asked), BTreeSet::from_iter(listed));
            self.xa.listing = Some(Listing { known, listed, end, at });
        }
        self.pass_listing()
    }

    /// The stream has come to another place: whether what the source lists can be compared.
    pub(super) fn pass_listing(&mut self) -> Result<(), Failure> {
        let Some(listing) = &self.xa.listing else { return Ok(()) };
        if !self.ledger.reaches(&listing.end)? {
            return Ok(());
        }
        let Some(listing) = self.xa.listing.take() else { return Ok(()) };
        let origin = self.ledger.origin(self.wall);
        for record in self.xa.gone(listing) {
            self.has_vanished(
                &record,
                "is no longer listed by the source, whose binlog does not say how it ended",
                &origin,
            )?;
        }
        self.commit_here()
    }

    /// Whether a window of a table has to wait: what may be missing in a view of it is not known.
    pub fn window_waits(&self, table: &TableName) -> bool {
        let Some(index) = self.tables.find(table) else { return false };
        self.xa.recent.has_unknown(index, self.now)
    }

    /// Whether a window of a table has to wait whose read begins with it. What is known of rows that a view may lack is known for what the
    /// log has of the table before, which does not count for a new read.
    pub fn window_of_new_read_waits(&self, table: &TableName) -> bool {
        self.tables.find(table).is_some_and(|index| self.xa.recent.has(index, self.now))
    }

    /// Whether the copy of a whole table, read at a place, may lack rows that its place counts.
    pub fn may_lack_rows(&self, table: &TableName, at: &FilePos) -> bool {
        self.tables.find(table).is_some_and(|index| self.diversions.may_lack_rows(index, at))
    }
}
