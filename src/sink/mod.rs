//! Sinks: where the log's changes go. A sink knows no source.
//!
//! # The contract
//! The delivery loop calls one sink from one task, in log order, and never twice at once.
//!
//! - [`Sink::open`] comes first and again after every error. It connects, creates what it needs, and says the cursor
//!   that the target itself holds: the truth about what is applied.
//! - [`Sink::take_over`] may follow, where an operator has allowed it: the target is given to this log.
//! - [`Sink::review`] follows: tables that cannot be written as they are stop, and stops that have lost their reason end.
//! - Then any number of rounds: [`Sink::write`] and [`Sink::change`] in log order, closed by one [`Sink::store`], which
//!   begins to store the round, and one [`Sink::settle`], which waits until it is stored.
//!   Nothing of a round may become visible before its `store`, except to a sink that has no transactions
//!   ([`HandOver::RecordedBatches`]); a round always ends at the end of a source transaction.
//! - Rows of the next round come between the two only to a sink that [overlaps](Sink::overlaps). Nothing of them may be
//!   stored before the round before them has settled.
//! - When `settle` returns, every change up to the end of the round is applied: a reader of the target sees it, and a target
//!   with transactions holds that end as its cursor, stored in the same transaction. `settle` says besides up to where the
//!   target is durable against power loss ([`Settled`]): the log is trimmed on that word. Where the two differ, the rounds
//!   between them are kept in the log, and `settle` is called again, with no round stored since, until they are durable.
//!   Rows of an open round may have been written by then. With [`HandOver::RecordedBatches`] the two never differ.
//! - What [`Sink::open`] says is applied is durable as well.
//! - The cursor is the sink's own affair. A target that commits table by table may keep one for each: it says the least
//!   of them, and passes over rows and changes that a table has already. It counts such rows as recovered.
//! - A sink may keep [notes](Notes) in the log. It writes a note before its `store` returns. After a crash a note may be
//!   ahead of the target, and it is ahead of a target that was restored from an older copy.
//! - Whether a change of a definition ends a round is a question of its own ([`Sink::is_barrier`]).
//! - After an error the loop drops the round: [`Sink::rollback`], then `open`, then the changes after the cursor again. A
//!   [`Sink::close`] inside a round, as at a shutdown, drops it as well. A sink with [`HandOver::RecordedBatches`] gets the
//!   same rounds with the same bounds again; versions ([`crate::codec::version::row_version`]) make applying twice
//!   applying once.
//! - A sink gets what it has to act on: no frame for other sinks and no mark. Every schema id that reaches it is known. Rows under an id that could not be known do not come ([`Frame::sections`] passes them over),
//!   and a change that comes from such an id comes from the last one before it that was known.
//! - A replace does not empty a copy. From its begin ([`TableChange::ReplaceBegin`]) the new one is built beside the old one, and takes the changes;
//!   the old one stays as it was there, until the end ([`TableChange::ReplaceEnd`]) puts the new one in its place at once
//!   ([`Sink::old_copies`]). What an operator has put on the old one is on the new one. A history gets a line and goes on.
//! - A gap and a table that is left out ([`TableChange::Gap`], [`TableChange::LeftOut`]) are a line of a history, with
//!   their reason, and nothing to a mirror. They may stand inside a source transaction.
//! - Of a row that is [gone by its key](crate::codec::frame::RowOp::DeleteByKey) nothing but the key is known: the
//!   other columns of its image are NULL, also those that are declared NOT NULL, and say nothing of the row. A mirror
//!   takes the row of that key away; with soft deletion it marks that row. A history has the key before the change.
//! - Rows are counted on both sides. A sink counts what it takes from a frame, and what its target reports of it
//!   ([`Sink::take_counts`]); the loop counts what it hands over. Where the two differ, or the sink's own counts do
//!   not balance, the table is read again with replace.
//! - What is wrong with one table need not stop the sink: it may stop that table alone ([`Sink::stopped`]). The stop
//!   is durable at the target not later than the round that leaves out the table's rows; the table comes back with
//!   [`TableChange::ReplaceBegin`].
//! - What is wrong with one row need not stop its table: the row change may become a dead letter ([`Sink::keep_letters`]).
//! - Futures may be dropped at shutdown; what that leaves must look like a crash.

mod adopt;
mod batches;
mod changes;
mod checking;
mod claim;
mod clash;
pub mod clickhouse;
mod columns;
mod counts;
mod definitions;
mod epoch;
mod follow;
mod kinds;
mod layout;
mod left;
mod notes;
mod refusals;
mod registry;
mod reshape;
mod rows;
mod rules;
pub mod sqlite;
mod stops;
#[cfg(test)]
mod testing;
mod values;

pub use checking::{Against, Checked};
pub use clash::{CLASH_HINT, Clash, clashes};
pub use kinds::{check, make, types};
pub use notes::{Note, Notes};
pub use rules::{NOT_TAKEN, RowKeys, missing_columns};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wal::{LogId, Lsn};

use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, TableChange};
use crate::codec::version::{Epoch, FramePlace};
use crate::dead::{DeadLetter, LetterId, Letters};
use crate::error::Failure;
use crate::model::{Origin, RowCounts, SchemaId, TableName, TableSchema};
use crate::telemetry::BatchesLive;

/// How a sink's cursor and rows come to agree after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// The cursor is in the target, in the transaction of the rows.
    TargetTransaction,
    /// The bounds of every round are durable in the log before it is written, so that a retry is the same round.
    RecordedBatches,
}

/// What a target says about itself when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It has never been written to by this sink.
    Fresh,
    /// It holds every change of log `log` up to `applied`. What it holds of later ones is as if it was not there: the sink passes over it, or
    /// row versions make it harmless.
    At {
        /// The log its cursor belongs to.
        log: LogId,
        /// The epoch of its rows' versions.
        epoch: Epoch,
        /// Last LSN applied.
        applied: Lsn,
    },
    /// It has been written to by this sink, and does not say how far.
    Lost(Lost),
}

/// Why a target does not say how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It has tables of the sink, and no cursor.
    Gone,
    /// Its cursor cannot be read.
    Unreadable,
}

impl TargetState {
    /// The last LSN applied.
    fn applied(self) -> Lsn {
        match self {
            Self::Fresh | Self::Lost(_) => Lsn::ZERO,
            Self::At { applied, .. } => applied,
        }
    }

    /// Whether this log may write to it without taking it over.
    fn is_for(self, log: LogId) -> bool {
        match self {
            Self::Fresh => true,
            Self::At { log: holder, .. } => holder == log,
            Self::Lost(_) => false,
        }
    }
}

/// How a target is taken over.
#[derive(Clone, Copy, Debug)]
pub struct TakeOver<'t> {
    /// By this log.
    pub log: LogId,
    /// The last LSN that counts as applied.
    pub at: Lsn,
    /// It was taken over for this before, and has got nothing since: it stays in its epoch.
    pub is_again: bool,
    /// The tables that the log captures, or is about to.
    pub captured: &'t [TableName],
}

/// How far a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Every change up to it is visible at the target.
    pub applied: Lsn,
    /// Every change up to it is there after a loss of power; not after `applied`.
    pub durable: Lsn,
}

impl Settled {
    /// Of a target on which what is visible is durable.
    pub fn both(applied: Lsn) -> Self {
        Self { applied, durable: applied }
    }
}

/// When a round is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundLimits {
    /// Bytes of the log, and bytes that the sink holds in memory.
    pub bytes: usize,
    /// Row changes.
    pub rows: u64,
    /// Time since its first frame, while there is more to read.
    pub age: Duration,
    /// Time since its first frame for which a round waits for more when there is nothing more to read.
    pub linger: Duration,
    /// Bytes that the sink may hold of a source transaction that is larger than a round, before it has to spill.
    pub spill_bytes: usize,
}

impl Default for RoundLimits {
    /// Large enough that a catch-up pays one sync for tens of thousands of rows, small enough that a reader of the
    /// target sees progress several times a second and a crash repeats little.
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            rows: 100_000,
            age: Duration::from_millis(500),
            linger: Duration::ZERO,
            spill_bytes: 32 << 20,
        }
    }
}

/// Why a table is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedTable {
    /// Changes from this LSN on are left out; those before it may be there or not.
    pub since: Lsn,
    /// The error, with the remedy.
    pub reason: String,
}

/// What was sent of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct SentBatch {
    /// The table.
    pub table: TableName,
    /// What it took.
    pub batch: BatchesLive,
}

/// Schemas for the frames of a round.
#[derive(Debug)]
pub struct Schemas<'a> {
    catalog: &'a mut Catalog,
}

impl<'a> Schemas<'a> {
    /// Over a catalog.
    pub fn new(catalog: &'a mut Catalog) -> Self {
        Self { catalog }
    }

    /// The schema of `id`.
    ///
    /// # Errors
    /// A fatal [`Failure`] when the log does not hold it.
    pub fn get(&mut self, id: SchemaId) -> Result<Arc<TableSchema>, Failure> {
        self.catalog.get(id)
    }
}

/// A line of a history that is kept as a dead letter.
#[derive(Clone, Copy, Debug)]
pub struct Line<'l> {
    /// Its place.
    pub id: LetterId,
    /// The letter.
    pub letter: &'l DeadLetter,
    /// The images of its row change.
    pub images: &'l [u8],
}

/// Whether a table is captured.
pub type Captured = dyn Fn(&TableName) -> bool + Send + Sync;

/// A place changes go to. The module's docs are the contract.
#[async_trait]
pub trait Sink: Send {
    /// How cursor and rows agree.
    fn hand_over(&self) -> HandOver;

    /// When its rounds are closed.
    fn limits(&self) -> RoundLimits {
        RoundLimits::default()
    }

    /// When a round that has rows of this table is closed, if that is earlier.
    fn limits_for(&self, _table: &TableName) -> Option<RoundLimits> {
        None
    }

    /// Tables whose changes are left out, as of the last round that has settled.
    fn stopped(&self) -> &BTreeMap<TableName, StoppedTable> {
        static NONE: BTreeMap<TableName, StoppedTable> = BTreeMap::new();
        &NONE
    }

    /// Tables whose new copy is built beside an old one, which readers see as it was before this LSN.
    fn old_copies(&self) -> Vec<(TableName, Lsn)> {
        Vec::new()
    }

    /// What became of the rows of the rounds that have settled since the last call, by table of the source. The sink
    /// counts `taken` while it takes rows out of a frame, and the rest from what the target reports; each round
    /// balances ([`RowCounts::balance`]). Called after each settled round. What a round counted that failed is
    /// forgotten with it ([`Sink::rollback`]): the loop counts it again, from the log if the target turns out to have
    /// it.
    ///
    /// `unmatched` is of copies that hold the current rows. A history has no row to find, and a target that does not
    /// say leaves it 0.
    fn take_counts(&mut self) -> Vec<(TableName, RowCounts)> {
        Vec::new()
    }

    /// What has been sent since the last call, by table.
    fn take_sent(&mut self) -> Vec<SentBatch> {
        Vec::new()
    }

    /// Whether a table reaches the sink at all, by its name.
    fn takes(&self, _table: &TableName) -> bool {
        true
    }

    /// By which keys the target has rows of a schema; `None`: they have none.
    ///
    /// # Errors
    /// Of class `Row`, where what is configured for the table cannot be followed.
    fn row_keys(&self, schema: &TableSchema) -> Result<Option<RowKeys>, Failure> {
        RowKeys::plain(schema)
    }

    /// Why a table of this schema does not reach the sink: it is configured so. `None`: it does.
    fn leaves_out(&self, _schema: &TableSchema) -> Option<&'static str> {
        None
    }

    /// Whether the target has a copy of the table, or the sink has stopped it. Asked of an open target.
    fn holds(&self, _table: &TableName) -> bool {
        true
    }

    /// Why what the sink's rules made of a table's rows under one schema is not what they make of them under another one.
    fn distrusts(&self, _before: &TableSchema, _after: &TableSchema) -> Option<String> {
        None
    }

    /// The table does not reach the sink from the frame after `lsn` on: it is configured so. A stop of it ends.
    async fn let_go(&mut self, _lsn: Lsn, _table: &TableName) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether rows of the table are ruled out one by one. Then the loop says of a frame where a copy is
    /// [filled from nothing](Frame::is_filled).
    fn rules_rows_out(&self, _table: &TableName) -> bool {
        false
    }

    /// Whether rows of the next round may be written while a round is being stored.
    fn overlaps(&self) -> bool {
        false
    }

    /// Gives the sink the place of its notes, once, before anything else. One that has none lets it go.
    fn keep_notes(&mut self, _notes: Notes) {}

    /// Gives the sink its dead letters, once, before anything else. One that makes none lets them go.
    ///
    /// One that makes some [stores](Letters::store) those of a round before the target commits the round: no row is left out without.
    fn keep_letters(&mut self, _letters: Letters) {}

    /// Connects, creates what the sink needs of its own, and says what the target holds.
    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure>;

    /// Opens the target and takes it over, whatever it holds, also where [`Sink::open`] would fail for its cursor. Its cursor is of this log
    /// from then on, up to `at`, under the [next epoch](crate::codec::version); that is durable on return, and nothing else is written before it.
    /// What it has of tables stays, also which of them are stopped, as of before everything of this log. A table that this log does not capture
    /// stops: what the target has of it may be of a table that is gone.
    async fn take_over(&mut self, taking: TakeOver<'_>) -> Result<(), Failure>;

    /// Stops captured tables that are not as the sink left them, or are configured otherwise than they were made. Ends the stops of tables that are
    /// not captured any more. Says which stopped tables are configured otherwise than when they stopped, and what is different: they are to be read
    /// again, in place of what the sink has. Called once after each [`Sink::open`] whose state was accepted, and before any row.
    async fn review(&mut self, _captured: &Captured) -> Result<Vec<(TableName, String)>, Failure> {
        Ok(Vec::new())
    }

    /// Sees to it that the sink can make its copies of these tables at its target: none of their names is taken by what
    /// it did not make. Asked of an open, fresh target, before anything is read for it.
    async fn can_make(&mut self, _tables: &[TableName]) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether rows of a schema can be taken at once; else [`Sink::prepare`] comes first.
    fn is_prepared(&self, _schema: SchemaId) -> bool {
        true
    }

    /// Prepares for rows of a schema, which frame `lsn` is the first to have.
    async fn prepare(&mut self, _lsn: Lsn, _schema: SchemaId, _schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes the rows of one frame ([`FrameHeader::Rows`](crate::codec::frame::FrameHeader::Rows)): its
    /// [sections](Frame::sections), and not what its header lists.
    fn write(&mut self, place: FramePlace, frame: &Frame<'_>, schemas: &mut Schemas<'_>) -> Result<(), Failure>;

    /// Bytes held in memory by [`Sink::write`] since the last store or spill.
    fn pending_bytes(&self) -> usize;

    /// Called inside a source transaction that is larger than a batch: brings `pending_bytes` down, without showing
    /// anything if the target has transactions.
    async fn spill(&mut self) -> Result<(), Failure>;

    /// Whether a round has to end before a change, the frame `lsn`, and another one after it; asked right before the change. One that
    /// is no barrier is a part of its round. Where the cursor is says nothing of it: a target may have transactions, and commit them when a
    /// definition changes.
    fn is_barrier(&self, lsn: Lsn, change: &TableChange) -> bool;

    /// Writes a line of a history that is kept as a dead letter, between two rounds; it is durable at the target on return. Says whether it is
    /// there. A line that was there already is, and nothing is counted.
    async fn try_line(&mut self, _line: Line<'_>, _schemas: &mut Schemas<'_>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Applies a change of a table's definition or whole content. The round ends before and after one that
    /// [is a barrier](Sink::is_barrier).
    async fn change(
        &mut self,
        place: FramePlace,
        origin: &Origin,
        change: &TableChange,
        schemas: &mut Schemas<'_>,
    ) -> Result<(), Failure>;

    /// Begins to store the round, with `end` as the cursor.
    async fn store(&mut self, end: Lsn) -> Result<(), Failure>;

    /// Waits until the round that was stored last is applied; without one it waits for nothing. Says how far the target is.
    async fn settle(&mut self) -> Result<Settled, Failure>;

    /// Looks whether the target is still the one that was opened. Called about once a second while there is nothing to write, and
    /// never inside a round. A failure ends the sink, or is retried, as one of a commit is.
    async fn probe(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Forgets the round, and the one that was stored and has not settled.
    async fn rollback(&mut self);

    /// Makes what is applied durable, drops the open round, and lets go of the target.
    async fn close(&mut self) -> Result<(), Failure>;
}
