//! Sinks: where the log's changes go. A sink knows no source.
//!
//! # The contract
//! The delivery loop calls one sink from one task, in log order, and never twice at once.
//!
//! - [`Sink::open`] comes first and again after every error. It connects, creates what it needs, and says the cursor that
//!   the target itself holds: the truth about what is applied.
//! - Then any number of rounds: [`Sink::write`] and [`Sink::change`] in log order, closed by one [`Sink::commit`].
//!   Nothing of a round may become visible before its commit, except to a sink that has no transactions ([`HandOver::RecordedBatches`]);
//!   a round always ends at the end of a source transaction.
//! - When `commit(end)` returns, every change up to `end` is durable at the target against power loss, and a target
//!   with transactions holds `end` as its cursor, stored in the same transaction: the log is trimmed on that word.
//! - After an error, or on shutdown inside a round, the loop drops the round: [`Sink::rollback`], then `open`, then the
//!   changes after the cursor again. A sink with [`HandOver::RecordedBatches`] gets the same rounds with the same bounds
//!   again; versions ([`crate::codec::frame::row_version`]) make applying twice applying once.
//! - Futures may be dropped at shutdown; what that leaves must look like a crash.

pub mod clickhouse;
mod columns;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use wal::{LogId, Lsn};

use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, TableChange};
use crate::error::Failure;
use crate::model::{Origin, SchemaId, TableSchema};

/// How a sink's cursor and rows come to agree after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// The cursor stands in the target, in the transaction of the rows.
    TargetTransaction,
    /// The bounds of every round are durable in the log before it is written, so that a retry is the same round.
    RecordedBatches,
}

/// What a target says about itself when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It has never been written to by this sink.
    Fresh,
    /// It holds every change of log `log` up to `applied`, and none after it.
    At {
        /// The log its cursor belongs to.
        log: LogId,
        /// Last LSN applied.
        applied: Lsn,
    },
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
        self.catalog
            .get(id)
            .map_err(|error| Failure::fatal(format!("schema {id} of a frame is not in the log")).caused_by(error))
    }
}

/// A place changes go to. The module's docs are the contract.
#[async_trait]
pub trait Sink: Send {
    /// How cursor and rows agree.
    fn hand_over(&self) -> HandOver;

    /// Connects, creates what the sink needs of its own, and says what the target holds.
    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure>;

    /// Takes the rows of one frame ([`FrameHeader::Rows`](crate::codec::frame::FrameHeader::Rows)).
    fn write(&mut self, lsn: Lsn, frame: &Frame<'_>, schemas: &mut Schemas<'_>) -> Result<(), Failure>;

    /// Bytes held in memory by [`Sink::write`] since the last commit or spill.
    fn pending_bytes(&self) -> usize;

    /// Called inside a source transaction that is larger than a batch: brings `pending_bytes` down, without showing anything
    /// if the target has transactions.
    async fn spill(&mut self) -> Result<(), Failure>;

    /// Applies a change of a table's definition or whole content. A sink without transactions is committed before and after it.
    async fn change(
        &mut self,
        lsn: Lsn,
        origin: &Origin,
        change: &TableChange,
        schemas: &mut Schemas<'_>,
    ) -> Result<(), Failure>;

    /// Makes the round durable and visible, with `end` as the cursor.
    async fn commit(&mut self, end: Lsn) -> Result<(), Failure>;

    /// Forgets the round.
    async fn rollback(&mut self);

    /// Lets go of the target.
    async fn close(&mut self) -> Result<(), Failure>;
}
