//! Tables that are read whole beside the stream: their rows do not go to the log at their place, but wait in a spool until the copy is
//! placed.
//!
//! From the boundary at which a diversion begins ([`Core::divert`]) every row of the table goes to the driver ([`Spooling`]) in place of the
//! log, by the groups of the stream. Once the stream has come to the place *P* of the copy, the driver gives back, between other groups:
//! the groups that ended at or before P, the copy ([`Core::begin_whole`]), the groups after P ([`Core::diverted`]), and, when none is left,
//! the end ([`Core::end_whole`]), which ends the diversion as well. So the log has the table's rows in the order of the stream, and the copy
//! where it is exact.
//!
//! A read that fails gives its rows back without a copy: nothing is lost ([`Core::give_back`]). Where that is not possible, because a
//! statement about the table has come, the stream was opened again, or the process was, they are lost, which the log says
//! ([`TableChange::Gap`]), and the table is read again for every sink ([`Event::RowsLost`]).
//!
//! Rows are counted as left out where they are diverted, and as read once more where they are given back.

use std::collections::BTreeMap;

use tracing::warn;

use super::Core;
use super::rows::Rows;
use crate::codec::frame::{Audience, RowOp, TableChange};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::model::{FilePos, Origin, SchemaId, SourcePosition, TableName, TableSchema};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::Current;
use crate::table::{Event, Stage};

/// Tables whose rows wait for the copy.
#[derive(Debug, Default)]
pub(super) struct Diversions {
    tables: BTreeMap<usize, Diversion>,
    /// What the driver has to do with the spools.
    queue: Vec<Spooling>,
    /// Tables whose rows may have been in the spool of a process that has ended.
    unfinished: Vec<usize>,
}

/// One table's.
#[derive(Debug)]
struct Diversion {
    /// The read that it is for.
    number: u32,
    /// Rows of groups that have ended were diverted.
    has_rows: bool,
    /// The rows come to the log without a copy.
    is_given_back: bool,
    /// Ends of two-phase transactions that have changed it since, on a server whose views may lack the rows of the last ones.
    unseen: Vec<FilePos>,
    /// The schema that rows were diverted under, and the one that took its place with the copy.
    renamed: Option<(SchemaId, SchemaId)>,
}

/// Rows of one event that wait for the copy of their table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DivertedRows {
    /// Their schema.
    pub schema: SchemaId,
    /// What happened to them.
    pub op: RowOp,
    /// How many.
    pub rows: u32,
    /// Their images back to back; pairs for updates.
    pub images: Vec<u8>,
    /// Where they are from.
    pub origin: Origin,
}

/// What the driver has to do with a table's spool, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spooling {
    /// Keep rows of the open group.
    Rows {
        /// The table.
        table: TableName,
        /// The rows.
        rows: DivertedRows,
    },
    /// Of the open group, keep the rows of so many events.
    CutBack {
        /// The table.
        table: TableName,
        /// Events.
        events: u64,
    },
    /// The open group has ended.
    Committed {
        /// The table.
        table: TableName,
        /// The boundary before the group.
        from: FilePos,
        /// The boundary after it.
        end: FilePos,
    },
    /// The open group is gone, and its rows with it.
    CutOff {
        /// The table.
        table: TableName,
    },
    /// The copy is no longer wanted: what waits is given back without it.
    Unwanted {
        /// The table.
        table: TableName,
    },
    /// The diversion has ended, and what waits is worth nothing.
    Lost {
        /// The table.
        table: TableName,
    },
}

/// What became of the wish to divert a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diverting {
    /// Every row after this place is diverted.
    Begun(SourcePosition),
    /// Not now: rows of an earlier read are still given back, the driver has something to do with spools first, or the table's definition
    /// is asked for.
    Busy,
    /// Not now: a view may lack the rows of a two-phase transaction.
    Unseen,
    /// The read is no longer wanted.
    Unwanted,
}

impl Diversions {
    /// Of a process that has just started.
    pub(super) fn after_start(unfinished: Vec<usize>) -> Self {
        Self { unfinished, ..Self::default() }
    }

    /// Whether rows of a table are diverted.
    #[inline]
    pub(super) fn has(&self, table: usize) -> bool {
        !self.tables.is_empty() && self.tables.contains_key(&table)
    }

    /// Whether a copy that was read at a place may lack rows of a two-phase transaction that ended before.
    pub(super) fn may_lack_rows(&self, table: usize, at: &FilePos) -> bool {
        let unseen = self.tables.get(&table).map(|diversion| &diversion.unseen);
        unseen.is_some_and(|unseen| unseen.iter().any(|end| at.reaches(end) == Some(true)))
    }
}

impl<L: Log> Core<L> {
    /// Begins to divert the rows of a table for a read. Between groups only.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn divert(&mut self, name: &TableName, number: u32) -> Result<Diverting, Failure> {
        self.decide_overdue()?;
        let table = self.tables.index(name);
        if self.wanted(table, number).is_none_or(|read| read.stage != Stage::Whole) {
            return Ok(Diverting::Unwanted);
        }
        let is_asked = self.followed(table).current().is_some_and(|current| self.is_pending(table, current.id));
        // An earlier diversion may have ended just now: its spool goes before this one's comes.
        if is_asked || self.diversions.has(table) || self.has_spooling() {
            return Ok(Diverting::Busy);
        }
        if self.xa.recent.has(table, self.now) {
            return Ok(Diverting::Unseen);
        }
        let diversion = Diversion { number, has_rows: false, is_given_back: false, unseen: Vec::new(), renamed: None };
        self.diversions.tables.insert(table, diversion);
        // Durable before the position goes past rows that are not in the log.
        self.redefine(table).waits = true;
        self.commit_here()?;
        Ok(Diverting::Begun(self.ledger.position()))
    }

    /// Whether rows of a table are diverted.
    pub fn is_diverted(&self, name: &TableName) -> bool {
        self.tables.find(name).is_some_and(|table| self.diversions.has(table))
    }

    /// Whether there is something to do with a spool.
    pub fn has_spooling(&self) -> bool {
        !self.diversions.queue.is_empty()
    }

    /// What there is to do with the spools. The caller takes all of it, also inside a group.
    pub fn take_spooling(&mut self) -> Vec<Spooling> {
        std::mem::take(&mut self.diversions.queue)
    }

    /// Rows of the open group wait for the copy.
    pub(super) fn divert_rows(&mut self, table: usize, schema: SchemaId, rows: Rows<'_>, origin: &Origin) {
        let read = u64::from(rows.rows);
        self.group.count(table, Counts { read, left_out: read, ..Counts::default() });
        self.group.diverts(table);
        let Rows { op, rows, images, .. } = rows;
        let rows = DivertedRows { schema, op, rows, images: images.to_vec(), origin: origin.clone() };
        let table = self.tables.at(table).name.clone();
        self.diversions.queue.push(Spooling::Rows { table, rows });
    }

    /// The open group was cut back to a savepoint: so many events of each table are left of what it has diverted. `before`: those that
    /// there were.
    pub(super) fn diverted_are_cut_back(&mut self, before: &[(usize, u64)]) {
        for (table, events) in before {
            let left = self.group.diverted(*table);
            if left != *events && !is_on(Mutant::DivertedRowsKept) {
                let table = self.tables.at(*table).name.clone();
                self.diversions.queue.push(Spooling::CutBack { table, events: left });
            }
        }
    }

    /// The open group is dropped: so are the rows that it has diverted.
    pub(super) fn diverted_are_cut_off(&mut self) {
        for table in self.group.take_diverted() {
            let table = self.tables.at(table).name.clone();
            if !is_on(Mutant::DivertedRowsKept) {
                self.diversions.queue.push(Spooling::CutOff { table });
            }
        }
    }

    /// The open group ends: what it makes of the tables whose rows wait, before it is handed to the log.
    pub(super) fn settle_diversions(&mut self, origin: &Origin) -> Result<(), Failure> {
        if self.diversions.tables.is_empty() {
            return Ok(());
        }
        for table in self.diversions.tables.keys().copied().collect::<Vec<_>>() {
            if self.group.discards().contains(&table) {
                self.lose(table, "a statement about the table came while it was read whole", origin)?;
                continue;
            }
            let Some(diversion) = self.diversions.tables.get(&table) else { continue };
            let (number, has_rows) = (diversion.number, diversion.has_rows || self.group.diverted(table) > 0);
            let is_wanted = self.wanted(table, number).is_some_and(|read| read.stage == Stage::Whole);
            if is_wanted || diversion.is_given_back {
                continue;
            }
            if has_rows {
                self.is_given_back(table);
                let table = self.tables.at(table).name.clone();
                self.diversions.queue.push(Spooling::Unwanted { table });
            } else {
                // Nothing waits, and the rows that come have nothing to wait for.
                self.lose(table, "its read is no longer wanted", origin)?;
            }
        }
        Ok(())
    }

    /// The open group has ended, between these boundaries.
    pub(super) fn diverted_are_committed(&mut self, from: &SourcePosition) {
        let diverted = self.group.take_diverted();
        if diverted.is_empty() {
            return;
        }
        let end = self.ledger.position();
        let from = FilePos { file: from.file.clone(), pos: from.pos };
        let end = FilePos { file: end.file, pos: end.pos };
        for table in diverted {
            let Some(diversion) = self.diversions.tables.get_mut(&table) else { continue };
            diversion.has_rows = true;
            if self.group.xa.recent.has(table) {
                diversion.unseen.push(end.clone());
            }
            let table = self.tables.at(table).name.clone();
            self.diversions.queue.push(Spooling::Committed { table, from: from.clone(), end: end.clone() });
        }
    }

    /// What waits of a table's rows is given back without a copy: its read has failed, or is no longer wanted. Between groups only.
    pub fn give_back(&mut self, name: &TableName) {
        let table = self.tables.index(name);
        self.is_given_back(table);
    }

    fn is_given_back(&mut self, table: usize) {
        if let Some(diversion) = self.diversions.tables.get_mut(&table) {
            diversion.is_given_back = true;
        }
    }

    /// A group that was diverted comes to the log: rows of it, with the open group. False: they cannot be given back, and the diversion has
    /// ended. Between groups of the stream only, until [`Core::end_diverted`].
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn diverted(&mut self, name: &TableName, rows: &DivertedRows) -> Result<bool, Failure> {
        let table = self.tables.index(name);
        let Some(diversion) = self.diversions.tables.get(&table) else { return Ok(false) };
        let renamed = diversion.renamed;
        let current = self.followed(table).current().map(|current| current.id);
        let schema = match (current, renamed) {
            (Some(current), _) if current == rows.schema => current,
            (Some(current), Some((from, to))) if from == rows.schema && to == current => current,
            _ => {
                self.lose_here(name, "the table has another schema than its rows had while it was read whole")?;
                return Ok(false);
            }
        };
        let DivertedRows { op, rows: count, images, origin, .. } = rows;
        self.group.count(table, Counts { read: u64::from(*count), ..Counts::default() });
        self.group.frames.rows(&mut self.ledger, (schema, *op, *count), images, origin)?;
        Ok(true)
    }

    /// Every row of that group is given back.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn end_diverted(&mut self, origin: &Origin) -> Result<(), Failure> {
        self.end_group(origin, None)
    }

    /// Every row that was diverted is given back: from here on the table's rows are logged at their place.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn end_giving_back(&mut self, name: &TableName) -> Result<(), Failure> {
        let table = self.tables.index(name);
        self.end_diversion(table);
        self.commit_here()
    }

    /// The copy is placed, and every row after it.
    pub(super) fn end_diversion(&mut self, table: usize) {
        self.diversions.tables.remove(&table);
        self.redefine(table).waits = false;
    }

    /// The copy takes the place of what there is, with its own schema. Rows that were diverted under `before` have that one from here on, if
    /// their images are the same.
    pub(super) fn diverted_have_schema(&mut self, table: usize, before: Option<&Current>, schema: &TableSchema) {
        self.group.keep_windows(table);
        let current = self.followed(table).current().map(|current| current.id);
        let Some(diversion) = self.diversions.tables.get_mut(&table) else { return };
        let before = before.filter(|before| before.has_images_of(schema)).map(|before| before.id);
        diversion.renamed = before.zip(current).filter(|(before, current)| before != current);
    }

    /// What waits of a table's rows cannot be given back. Between groups only; a group that was begun with [`Core::diverted`] is dropped.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn lose_here(&mut self, name: &TableName, why: &str) -> Result<(), Failure> {
        let table = self.tables.index(name);
        let origin = self.ledger.origin(self.wall);
        self.abort()?;
        self.lose(table, why, &origin)?;
        self.commit_here()
    }

    /// What waits of any table's rows is lost: the stream is gone.
    pub(super) fn lose_every(&mut self, why: &str) -> Result<(), Failure> {
        let origin = self.ledger.origin(self.wall);
        for table in self.diversions.tables.keys().copied().collect::<Vec<_>>() {
            self.lose(table, why, &origin)?;
        }
        self.commit_here()
    }

    /// The process before this one may have had rows of these tables in its spool.
    pub(super) fn lose_unfinished(&mut self) -> Result<(), Failure> {
        let origin = self.ledger.origin(self.wall);
        for table in std::mem::take(&mut self.diversions.unfinished) {
            self.redefine(table).waits = false;
            self.rows_are_lost(table, "the daemon ended while the table was read whole", &origin)?;
        }
        self.commit_here()
    }

    fn lose(&mut self, table: usize, why: &str, origin: &Origin) -> Result<(), Failure> {
        let Some(diversion) = self.diversions.tables.remove(&table) else { return Ok(()) };
        self.redefine(table).waits = false;
        let has_rows = diversion.has_rows || self.group.forget_diverted(table);
        self.diversions.queue.push(Spooling::Lost { table: self.tables.at(table).name.clone() });
        if has_rows { self.rows_are_lost(table, why, origin) } else { Ok(()) }
    }

    fn rows_are_lost(&mut self, table: usize, why: &str, origin: &Origin) -> Result<(), Failure> {
        let name = self.tables.at(table).name.clone();
        warn!(table = %name, %why, "row changes that waited for the copy of the table are not in the log; it is read again");
        let change = TableChange::Gap { table: name, reason: why.to_owned() };
        self.change_for(origin, Audience::All, change)?;
        self.happens(table, Event::RowsLost { why: why.to_owned() }, origin)
    }
}
