//! The rows of the round on their way: per table an INSERT that is being made, and those that have ended.
//!
//! An INSERT that is half a round ends at once, so that the server stores it on one core while it reads the next one on another. Nothing
//! rests on where a round is cut: row versions make rows that come again the same rows, and the cursor follows when all of
//! a round's INSERTs are stored.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::task::JoinSet;

use super::batch::Batch;
use super::client::Client;
use super::error::Refused;
use super::writer::Writer;
use crate::config::BatchPlan;
use crate::model::{SchemaId, TableName};
use crate::telemetry::BatchesLive;

/// INSERTs that may be open before their round ends. What a connection more brings is parsing by one more core of the server.
const EARLY: usize = 8;
/// The server gives up a body of which it has heard nothing for 30 s; a round that may wait longer begins no INSERT early.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

/// INSERTs that have ended. Dropping it gives them up; what becomes of them is not known then.
pub(super) type Ended = JoinSet<(TableName, Result<BatchesLive, Refused>)>;

/// The rows of the round on their way.
pub(super) struct RoundRows {
    open: BTreeMap<TableName, (SchemaId, Batch)>,
    /// INSERTs of `open` that have begun.
    early: usize,
    early_limit: usize,
    ended: Ended,
    ended_bytes: u64,
    /// From here on an INSERT ends before its round.
    half_rows: u64,
    half_bytes: u64,
}

impl RoundRows {
    /// None yet.
    pub(super) fn new(limits: BatchPlan) -> Self {
        Self {
            open: BTreeMap::new(),
            early: 0,
            early_limit: if limits.max_delay > LONGEST_IDLE { 0 } else { EARLY },
            ended: JoinSet::new(),
            ended_bytes: 0,
            half_rows: u64::from(limits.max_rows) / 2,
            half_bytes: limits.max_bytes / 2,
        }
    }

    /// Where rows of a table go; `schema` names the writer of its INSERT.
    pub(super) fn of(&mut self, table: &TableName, schema: SchemaId) -> &mut Batch {
        &mut self.open.entry(table.clone()).or_insert_with(|| (schema, Batch::new())).1
    }

    /// Sends what is whole of a table's rows, and ends its INSERT if it is large enough.
    pub(super) fn send_full(&mut self, client: &Client, writer: &Writer) {
        let Some((_, batch)) = self.open.get_mut(&writer.table) else { return };
        if batch.has_full() && (batch.is_sending() || self.early < self.early_limit) {
            self.early += usize::from(!batch.is_sending());
            batch.send_full(client, &writer.sql, &writer.header);
        }
        let is_half = batch.chunks.rows() >= self.half_rows || batch.chunks.bytes() >= self.half_bytes;
        if batch.is_sending()
            && is_half
            && let Some((_, batch)) = self.open.remove(&writer.table)
        {
            self.early -= 1;
            self.ended_bytes += batch.chunks.bytes();
            self.end(client, writer, batch);
        }
    }

    /// Bytes of the round's rows.
    pub(super) fn bytes(&self) -> u64 {
        self.ended_bytes + self.open.values().map(|(_, batch)| batch.chunks.bytes()).sum::<u64>()
    }

    /// Gives up a table's INSERT, of which nothing is stored yet.
    pub(super) fn drop_table(&mut self, table: &TableName) {
        if let Some((_, batch)) = self.open.remove(table) {
            self.early -= usize::from(batch.is_sending());
        }
    }

    /// Ends every INSERT of the round. The next one begins without rows.
    pub(super) fn end_all(&mut self, client: &Client, writers: &HashMap<SchemaId, Writer>) -> Ended {
        self.early = 0;
        self.ended_bytes = 0;
        for (table, (id, batch)) in std::mem::take(&mut self.open) {
            if batch.chunks.rows() == 0 {
                continue;
            }
            match writers.get(&id) {
                Some(writer) => self.end(client, writer, batch),
                None => {
                    self.ended.spawn_on(async move { (table, Err(Refused::abandoned())) }, client.runtime());
                }
            }
        }
        std::mem::take(&mut self.ended)
    }

    fn end(&mut self, client: &Client, writer: &Writer, batch: Batch) {
        let table = writer.table.clone();
        let (connection, sql, header) = (client.clone(), writer.sql.clone(), writer.header.clone());
        let insert = async move {
            let stored = batch.finish(&connection, &sql, &header).await;
            (table, stored)
        };
        self.ended.spawn_on(insert, client.runtime());
    }
}
