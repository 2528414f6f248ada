//! The rows of the round on their way: an INSERT per table, or two for a table that fills half of the round.
//!
//! Of two the server stores one on one core while it stores the other on another. Both end with the round, so that nothing of it is
//! stored before its bounds are written down and the round before it is stored; and what is given up before was never there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::batch::{Batch, Stored};
use super::client::Client;
use super::error::Refused;
use super::halving::Kept;
use super::writer::Opening;
use crate::config::BatchPlan;
use crate::model::{RowCounts, TableName};
use crate::sink::counts::Counts;

/// INSERTs that may be open before their round ends. What a connection more brings is parsing by one more core of the server.
const EARLY: usize = 8;
/// The server gives up a body of which it has heard nothing for 30 s; a round that may wait longer begins no INSERT early.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

/// A body that is smaller is not worth a part of its own.
const HALF_AT_LEAST: u64 = 8 << 20;

/// INSERTs that have ended. Dropping it gives them up; what becomes of them is not known then.
pub(super) type Ended = JoinSet<EndedInsert>;

/// An INSERT that is stored or refused.
pub(super) struct EndedInsert {
    pub(super) table: TableName,
    /// Row changes in it.
    pub(super) taken: RowCounts,
    /// These, where the sink takes dead letters.
    pub(super) kept: Vec<Kept>,
    pub(super) opening: Arc<Opening>,
    pub(super) stored: Result<Stored, Refused>,
}

/// The rows of the round on their way.
pub(super) struct RoundRows {
    open: BTreeMap<TableName, Batch>,
    /// First halves: whole but for their end.
    halves: BTreeMap<TableName, Batch>,
    /// INSERTs that have begun.
    early: usize,
    early_limit: usize,
    /// From here on a table's rows go on in a second INSERT.
    half_rows: u64,
    half_bytes: u64,
}

impl RoundRows {
    /// None yet.
    pub(super) fn new(limits: BatchPlan) -> Self {
        Self {
            open: BTreeMap::new(),
            halves: BTreeMap::new(),
            early: 0,
            early_limit: if limits.max_delay > LONGEST_IDLE { 0 } else { EARLY },
            half_rows: u64::from(limits.max_rows) / 2,
            half_bytes: limits.max_bytes / 2,
        }
    }

    /// Where rows of a table go, whose INSERT begins so.
    pub(super) fn of(&mut self, table: &TableName, opening: &Arc<Opening>) -> &mut Batch {
        self.open.entry(table.clone()).or_insert_with(|| Batch::new(Arc::clone(opening)))
    }

    /// Sends what is whole of a table's rows.
    pub(super) fn send_full(&mut self, client: &Client, table: &TableName) {
        let Some(batch) = self.open.get_mut(table) else { return };
        if batch.has_full() && (batch.is_sending() || self.early < self.early_limit) {
            self.early += usize::from(!batch.is_sending());
            batch.send_full(client);
        }
        let (rows, bytes) = (batch.chunks.rows(), batch.chunks.bytes());
        let is_half = bytes >= HALF_AT_LEAST && (rows >= self.half_rows || bytes >= self.half_bytes);
        if is_half
            && batch.is_sending()
            && !self.halves.contains_key(table)
            && let Some((table, mut half)) = self.open.remove_entry(table)
        {
            half.chunks.finish();
            half.send_full(client);
            self.halves.insert(table, half);
        }
    }

    /// The row changes of a table, where the sink takes dead letters.
    pub(super) fn kept(&self, table: &TableName) -> impl Iterator<Item = &Kept> {
        self.halves.get(table).into_iter().chain(self.open.get(table)).flat_map(Batch::kept)
    }

    /// Bytes of the round's rows.
    pub(super) fn bytes(&self) -> u64 {
        self.open.values().chain(self.halves.values()).map(|batch| batch.chunks.bytes()).sum()
    }

    /// Gives up a table's INSERTs, of which nothing is stored yet; says how many row changes they had.
    pub(super) fn drop_table(&mut self, table: &TableName) -> u64 {
        let mut taken = 0;
        for batch in self.open.remove(table).into_iter().chain(self.halves.remove(table)) {
            self.early -= usize::from(batch.is_sending());
            taken += batch.taken();
        }
        taken
    }

    /// Ends every INSERT of the round, with what became of rows of which none is sent. The next one begins without rows.
    pub(super) fn end_all(&mut self, client: &Client, counts: &mut Counts) -> Ended {
        self.early = 0;
        let mut ended = JoinSet::new();
        for (table, mut batch) in std::mem::take(&mut self.halves).into_iter().chain(std::mem::take(&mut self.open)) {
            if batch.chunks.rows() == 0 {
                counts.add(&table, batch.unsent());
                continue;
            }
            let taken = batch.unsent();
            let (kept, opening) = batch.take_kept();
            let connection = client.clone();
            let insert = async move {
                let stored = batch.finish(&connection).await;
                EndedInsert { table, taken, kept, opening, stored }
            };
            ended.spawn_on(insert, client.runtime());
        }
        ended
    }
}
