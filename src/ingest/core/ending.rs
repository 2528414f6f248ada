//! How a group ends: committed as one step, rolled back, cut back to a savepoint, or dropped; and what follows from each.

use super::Core;
use crate::codec::frame::FrameHeader;
use crate::error::Failure;
use crate::ingest::group::{OpenGroup, RolledBack};
use crate::ingest::ledger::{Boundary, Changes, Log};
use crate::ingest::pending::{Decided, Waiter};
use crate::ingest::state::Counts;
use crate::ingest::tables::Tables;
use crate::ingest::xa::OpenXa;
use crate::model::{Gtid, Origin, SchemaId};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::FateChange;
use crate::table::{Ask, Cause, Reach};

impl<L: Log> Core<L> {
    /// Ends the open group at a boundary of the stream.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn commit(&mut self, at: Boundary<'_>, origin: &Origin, gtid: &Gtid) -> Result<(), Failure> {
        let cut_back = self.group.take_cut_back();
        self.ask_engines(&cut_back);
        self.end_group(origin, Some((at, gtid)))?;
        self.passed()
    }

    /// The stream has come to a boundary without a group.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn pass(&mut self, at: Boundary<'_>) -> Result<(), Failure> {
        self.ledger.pass(at);
        self.passed()
    }

    /// What waits for the stream to come here.
    pub(super) fn passed(&mut self) -> Result<(), Failure> {
        if !self.chunks.is_empty() {
            self.decide_overdue()?;
            self.place_chunks()?;
        }
        self.pass_listing()?;
        self.pass_lives()
    }

    /// Ends a group that the core has made itself, where the stream is.
    pub(super) fn commit_here(&mut self) -> Result<(), Failure> {
        if self.group.is_empty() {
            return Ok(());
        }
        let origin = self.ledger.origin(self.wall);
        self.end_group(&origin, None)
    }

    pub(super) fn end_group(&mut self, origin: &Origin, after: Option<(Boundary<'_>, &Gtid)>) -> Result<(), Failure> {
        if self.group.is_empty() {
            // A transaction of tables that are not captured: only the position moves.
            self.group.clear();
            return self.ledger.commit(None, &Changes::new(), after);
        }
        if self.group.is_dropped() {
            self.doubt_dropped(origin)?;
        }
        self.settle_diversions(origin)?;
        self.settle_touched()?;
        self.settle_recent()?;
        let from = self.group.has_diverted().then(|| self.ledger.position());
        for (index, definition) in &self.group.definitions {
            definition.records(&self.tables.at(*index).name, &mut self.group.changes)?;
        }
        let OpenGroup { frames, changes, .. } = &mut self.group;
        let encoded = frames.commit(&mut self.ledger, origin, changes, after)?;
        let appended = AppendedRows::of(encoded, &self.tables);
        let lsn = self.ledger.ended();
        if let Some(from) = from {
            self.diverted_are_committed(&from);
        }
        let mut unbalanced = Vec::new();
        for (table, mut counts) in self.group.counts() {
            counts.appended = appended.of_table(table);
            if is_on(Mutant::LeftOutRowsCountedAsAppended) {
                counts.appended += std::mem::take(&mut counts.left_out);
            }
            if counts.read != counts.appended + counts.filtered + counts.left_out {
                unbalanced.push((table, counts));
            }
            self.tables.count(table, counts);
        }
        for (table, definition) in std::mem::take(&mut self.group.definitions) {
            self.tables.define(table, definition);
        }
        for (table, key) in self.group.keys() {
            self.windows.note(*table, *key);
        }
        for table in self.group.discards() {
            self.windows.discard(*table);
        }
        for FateChange { id, fate, lost } in self.group.fates.drain(..) {
            for waiter in self.waiting.pending.iter_mut().filter(|waiter| waiter.pending.id == id) {
                waiter.pending.meet(fate, &lost);
            }
        }
        self.changed.append(&mut self.group.changed);
        let now = self.now;
        self.xa.committed(&mut self.group.xa, lsn, now);
        self.waiting.pending.extend(self.group.pending.drain(..).map(|waiter| Waiter { lsn, since: now, ..waiter }));
        if !self.group.decided.is_empty() {
            let records = std::mem::take(&mut self.group.decided);
            let asked = std::mem::take(&mut self.group.asked_beside);
            self.waiting.decided.push(Decided { lsn, rows: self.group.decided_rows, records, asked, types: None });
        }
        self.group.clear();
        for (table, counts) in unbalanced {
            let name = &self.tables.at(table).name;
            tracing::error!(table = %name, ?counts, "rows that were read are neither in the log nor left out");
            self.doubt(table, "rows that were read are neither in the log nor left out", origin)?;
        }
        if self.group.is_empty() { Ok(()) } else { self.end_group(origin, None) }
    }

    /// The source took the open group back. Where an engine cannot, its rows are still there: that is asked.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn roll_back(&mut self, at: Boundary<'_>, origin: &Origin, gtid: Option<&Gtid>) -> Result<(), Failure> {
        let mut touched = self.group.take_cut_back();
        touched.extend(self.group.touched());
        touched.extend(self.group.beside());
        touched.extend(self.group.xa.open.iter().flat_map(OpenXa::tables).map(|(table, ..)| table));
        if is_on(Mutant::CountersKeptOnRollback) {
            for (table, counts) in self.group.counts() {
                self.tables.count(table, Counts { appended: counts.read, ..counts });
            }
        }
        self.abort()?;
        self.ask_engines(&touched);
        self.end_group(origin, Some((at, gtid.unwrap_or(&Gtid::Anonymous))))?;
        self.passed()
    }

    /// A savepoint is set inside the open group.
    pub(super) fn set_savepoint(&mut self, name: &str) {
        if !self.xa_set_savepoint(name) {
            self.group.set_savepoint(name);
        }
    }

    /// The source took back what was done since a savepoint.
    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<(), Failure> {
        if self.xa_roll_back_to(name) {
            return Ok(());
        }
        let before: Vec<usize> = self.group.touched().collect();
        let diverted = self.group.all_diverted();
        match self.group.roll_back_to(name) {
            RolledBack::Cut => self.diverted_are_cut_back(&diverted),
            RolledBack::Dropped => {
                self.diverted_are_cut_off();
                self.ledger.abort()?;
                self.group.keep_only_doubts();
                debug_assert!(before.iter().all(|table| self.group.touches(*table)));
            }
        }
        Ok(())
    }

    /// Rows of these tables were taken back at the source, if their engine can do that. Asked once the group has ended.
    pub(super) fn ask_engines(&mut self, tables: &[usize]) {
        for table in tables {
            // What is asked already is about the same engine: a statement in between would have ended it.
            if !self.definition(*table).cut_back {
                self.redefine(*table).cut_back = true;
                self.ask_engine(*table);
            }
        }
    }

    /// Rows of a group that was dropped are not in the log: its tables are read again.
    pub(super) fn doubt_dropped(&mut self, origin: &Origin) -> Result<(), Failure> {
        let tables: Vec<usize> = self.group.touched().collect();
        for table in tables {
            self.doubt(table, "a large transaction was rolled back in part", origin)?;
        }
        Ok(())
    }

    /// What the table's rows are here is not known: its copies are read again, as a whole.
    pub(super) fn doubt(&mut self, table: usize, why: &str, origin: &Origin) -> Result<(), Failure> {
        self.doubt_because(table, Cause::Rows, why, origin)
    }

    /// [`Core::doubt`], because of what is said.
    pub(super) fn doubt_because(
        &mut self,
        table: usize,
        cause: Cause,
        why: &str,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let name = self.tables.at(table).name.clone();
        self.group.discard_windows(table);
        self.want(&name, Ask { leaves_out: true, ..Ask::doubt(Reach::Replace, cause, why) }, origin)
    }

    /// Appends a frame without rows.
    pub(super) fn single(&mut self, header: FrameHeader) -> Result<(), Failure> {
        self.group.frames.single(&mut self.ledger, header)
    }

    /// Drops the open group.
    pub(super) fn abort(&mut self) -> Result<(), Failure> {
        self.ledger.abort()?;
        self.diverted_are_cut_off();
        self.xa_is_cut_off();
        self.group.clear();
        Ok(())
    }
}

/// Rows that went into the log with a group, by table, as the headers of its frames say.
enum AppendedRows {
    /// The usual case: a few runs.
    Few(Vec<(usize, u64)>),
    One(usize, u64),
    None,
}

impl AppendedRows {
    fn of(encoded: &[(SchemaId, u64)], tables: &Tables) -> Self {
        match encoded {
            [] => Self::None,
            [(schema, rows)] => tables.of_schema(*schema).map_or(Self::None, |table| Self::One(table, *rows)),
            many => {
                let mut sums: Vec<(usize, u64)> =
                    many.iter().filter_map(|(schema, rows)| Some((tables.of_schema(*schema)?, *rows))).collect();
                sums.sort_unstable_by_key(|(table, _)| *table);
                sums.dedup_by(|(table, rows), (before, sum)| {
                    let same = table == before;
                    *sum += if same { *rows } else { 0 };
                    same
                });
                Self::Few(sums)
            }
        }
    }

    fn of_table(&self, table: usize) -> u64 {
        match self {
            Self::None => 0,
            Self::One(there, rows) => {
                if *there == table {
                    *rows
                } else {
                    0
                }
            }
            Self::Few(sums) => sums
                .binary_search_by_key(&table, |(table, _)| *table)
                .ok()
                .and_then(|place| sums.get(place))
                .map_or(0, |(_, rows)| *rows),
        }
    }
}
