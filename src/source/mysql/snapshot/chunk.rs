//! One range of a table, from its window to its place in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex as AsyncMutex;

use super::consistency;
use super::context::{Context, Retry};
use super::handoff::Placed;
use super::progress::{Progress, Stage};
use super::range::Range;
use super::read::{ChunkRead, TableReader};
use super::slots::Slot;
use super::table::left_out;
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::source::mysql::schema::{self, ChunkKey, Described};

/// A table being read in ranges.
#[derive(Debug)]
pub(super) struct RangedTable {
    pub(super) context: Arc<Context>,
    pub(super) table: TableName,
    pub(super) key: ChunkKey,
    pub(super) filter: Option<String>,
    /// The table's state. Its lock is held while a chunk is handed over, so that entries reach the log in the order in
    /// which they build on each other.
    pub(super) progress: AsyncMutex<Progress>,
    started: Instant,
    fresh_rows: AtomicU64,
    /// Bytes of an image, as read so far, or as estimated; never 0.
    row_bytes: AtomicU64,
    compiled: Mutex<Option<Arc<Compiled>>>,
}

/// A description, and what is derived from it.
#[derive(Debug)]
struct Compiled {
    described: Described,
    schema: Arc<TableSchema>,
    reader: TableReader,
}

/// What became of a range.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It stands in the log, but for the rest.
    Placed {
        /// What did not fit into one buffer.
        rest: Option<Range>,
    },
    /// The table has no such key any more: no range of it means anything.
    KeyChanged,
    /// The table cannot be described: it is gone, or may not be read.
    Unseen,
    /// The read is no longer wanted.
    Unwanted,
}

enum Attempt {
    Ended(Outcome),
    Discarded,
}

impl RangedTable {
    pub(super) fn new(context: Arc<Context>, progress: Progress, key: ChunkKey, row_bytes: u64) -> Self {
        Self {
            context,
            table: progress.table.clone(),
            key,
            filter: progress.condition().map(str::to_owned),
            progress: AsyncMutex::new(progress),
            started: Instant::now(),
            fresh_rows: AtomicU64::new(0),
            row_bytes: AtomicU64::new(row_bytes.max(1)),
            compiled: Mutex::new(None),
        }
    }

    /// Rows the next range should have, by count, size and rate.
    pub(super) fn range_rows(&self, chunk_rows: u32) -> u64 {
        let budget = u64::try_from(self.context.chunk_bytes()).unwrap_or(u64::MAX);
        // A tenth is left free, so that a range whose rows are a little larger than those before is not cut.
        let by_size = (budget - budget / 10) / self.row_bytes.load(Ordering::Relaxed).max(1);
        u64::from(chunk_rows).min(by_size).min(self.context.rate.chunk_limit()).max(1)
    }

    /// Reads the range and hands it over, again and again until it is placed.
    ///
    /// # Errors
    /// Final ones only.
    pub(super) async fn read(&self, range: Range) -> Result<Outcome, Failure> {
        let mut retry = Retry::new();
        loop {
            let failure = match self.try_slot(&range).await {
                Ok(Attempt::Ended(outcome)) => return Ok(outcome),
                Ok(Attempt::Discarded) => {
                    tracing::info!(table = %self.table, "a chunk is read again because its table changed under it");
                    continue;
                }
                Err(failure) => failure,
            };
            // What has failed for so long is not tried for as long again.
            let is_final = |failure| Failure { class: ErrorClass::Fatal, ..failure };
            retry.after(&self.context, &self.table, failure).await.map_err(is_final)?;
        }
    }

    async fn try_slot(&self, range: &Range) -> Result<Attempt, Failure> {
        let mut slot = self.context.slots.take().await?;
        match self.attempt(range, &mut slot).await {
            Ok(attempt) => {
                self.context.slots.give_back(slot);
                Ok(attempt)
            }
            Err(failure) => {
                self.context.slots.discard(slot).await;
                Err(failure)
            }
        }
    }

    async fn attempt(&self, range: &Range, slot: &mut Slot) -> Result<Attempt, Failure> {
        let context = &self.context;
        let server = slot.server;
        let (window, stream) = context.ingest.open_window(&self.table).await?;
        slot.require(&stream.server)?;
        if let Err(failure) = consistency::open_view(server, slot, &self.table, &stream).await {
            // A lock is not had on a table that is gone.
            return match schema::describe(&mut slot.control, server.flavour, &self.table).await? {
                None => Ok(Attempt::Ended(Outcome::Unseen)),
                Some(_) => Err(failure),
            };
        }
        let Some(described) = schema::describe(&mut slot.control, server.flavour, &self.table).await? else {
            consistency::close_view(&mut slot.reader).await?;
            return Ok(Attempt::Ended(Outcome::Unseen));
        };
        if left_out(context, &described).await?.is_some() {
            consistency::close_view(&mut slot.reader).await?;
            return Ok(Attempt::Ended(Outcome::Unwanted));
        }
        let compiled = self.compile(described)?;
        if compiled.described.chunk_key.as_ref() != Some(&self.key) {
            consistency::close_view(&mut slot.reader).await?;
            return Ok(Attempt::Ended(Outcome::KeyChanged));
        }
        let sql = compiled.reader.chunk_statement(&self.key, range, self.filter.as_deref());
        let budget = context.chunk_bytes();
        let ChunkRead { images, cut } =
            compiled.reader.read_chunk(&mut slot.reader, &sql, &self.key, budget, budget, &context.rate).await?;
        if cut.is_some() {
            context.slots.renew(slot).await?;
        } else {
            consistency::close_view(&mut slot.reader).await?;
        }
        let high = consistency::binlog_end(&mut slot.control, server).await?;
        self.learn(images.bytes.len(), images.rows);

        let rows = u64::from(images.rows);
        let rest = cut.map(|bound| Range { after: Some(bound), upto: range.upto.clone() });
        let mut progress = self.progress.lock().await;
        let mut next = progress.clone();
        next.rows += rows;
        if let Stage::Ranges(ranges) = &mut next.stage {
            ranges.pending.retain(|pending| pending != range);
            ranges.pending.extend(rest.clone());
        }
        let schema = Arc::clone(&compiled.schema);
        match context.ingest.place(window, schema, images, high, next.account()?).await? {
            Placed::Appended { .. } => {
                let total = next.rows;
                *progress = next;
                let fresh = self.fresh_rows.fetch_add(rows, Ordering::Relaxed) + rows;
                context.show(&self.table, |entry| {
                    entry.error = None;
                    entry.advance(total, fresh, self.started);
                });
                Ok(Attempt::Ended(Outcome::Placed { rest }))
            }
            Placed::Discarded => Ok(Attempt::Discarded),
            Placed::Unwanted => Ok(Attempt::Ended(Outcome::Unwanted)),
        }
    }

    /// Compiles a description, if it is another one than the last.
    fn compile(&self, described: Described) -> Result<Arc<Compiled>, Failure> {
        let mut known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = known.as_ref().filter(|compiled| compiled.described.same_catalogue(&described)) {
            return Ok(Arc::clone(compiled));
        }
        let reader = TableReader::new(&described)?;
        let schema = Arc::new(described.schema.clone());
        let compiled = Arc::new(Compiled { described, schema, reader });
        *known = Some(Arc::clone(&compiled));
        Ok(compiled)
    }

    fn learn(&self, bytes: usize, rows: u32) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(row_bytes) = bytes.checked_div(u64::from(rows)) {
            self.row_bytes.store(row_bytes.max(1), Ordering::Relaxed);
        }
    }
}
