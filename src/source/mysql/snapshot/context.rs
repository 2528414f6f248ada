//! What every part of a running snapshot shares.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::handoff::MayLackRows;
use super::ingest::{Ingest, StreamLost};
use super::rate::Rate;
use super::session::Sessions;
use super::slots::Slots;
use super::spool::Spool;
use super::status::TableStatus;
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;
use crate::source::mysql::connect;
use crate::telemetry::Live;

/// Bytes that all chunks in work buffer together, at most, but for single rows that are larger.
const BUFFERS: usize = 24 << 20;
/// Bytes of one chunk, at most: above this a chunk gains nothing.
const CHUNK_BYTES: usize = 8 << 20;

/// How long something that is about one table is tried again before the table says that it cannot be read.
const PATIENCE: Duration = Duration::from_mins(1);

/// What every part of a running snapshot shares.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) sessions: Sessions,
    pub(super) slots: Slots,
    pub(super) ingest: Ingest,
    pub(super) spool: Arc<Spool>,
    pub(super) rate: Rate,
    pub(super) chunk_rows: u32,
    pub(super) parallel: usize,
    reread_keyless_rows: AtomicU64,
    readers: Mutex<HashMap<TableName, TableStatus>>,
    /// Tables that a reader did not find, until the loop has said what is due of them.
    missing: Mutex<HashSet<TableName>>,
    live: Arc<Live>,
}

impl Context {
    pub(super) fn new(
        sessions: Sessions,
        ingest: Ingest,
        spool: Arc<Spool>,
        settings: &crate::config::SnapshotPlan,
        reread_keyless_rows: u64,
        live: Arc<Live>,
    ) -> Self {
        let parallel = usize::from(settings.parallel.max(1));
        Self {
            slots: Slots::new(sessions.clone(), parallel),
            sessions,
            ingest,
            spool,
            rate: Rate::new(settings.max_rows_per_second),
            chunk_rows: settings.chunk_rows.max(1),
            parallel,
            reread_keyless_rows: AtomicU64::new(reread_keyless_rows),
            readers: Mutex::default(),
            missing: Mutex::default(),
            live,
        }
    }

    /// Bytes one chunk may buffer.
    pub(super) fn chunk_bytes(&self) -> usize {
        CHUNK_BYTES.min(BUFFERS / self.parallel)
    }

    /// The limits are others from here on.
    pub(super) fn limit(&self, max_rows_per_second: u64, reread_keyless_rows: u64) {
        self.rate.set(max_rows_per_second);
        self.reread_keyless_rows.store(reread_keyless_rows, Ordering::Relaxed);
    }

    /// A table without a key for chunks that has more rows is read only where that is asked for.
    pub(super) fn reread_keyless_rows(&self) -> u64 {
        self.reread_keyless_rows.load(Ordering::Relaxed)
    }

    /// A reader has not found the table.
    pub(super) fn is_missing(&self, table: &TableName) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone());
    }

    /// Whether a reader has not found the table; that is forgotten.
    pub(super) fn was_missing(&self, table: &TableName) -> bool {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(table)
    }

    /// Shows nothing of a table any more.
    pub(super) fn hide(&self, table: &TableName) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
        self.live.reader(table, None);
    }

    /// Shows how a reader gets on.
    pub(super) fn show(&self, table: &TableName, change: impl FnOnce(&mut TableStatus)) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = readers.entry(table.clone()).or_default();
        change(reader);
        self.live.reader(table, Some(reader.shown()));
    }

    /// Counts a failure of a read.
    pub(super) fn failed(&self, failure: &Failure) {
        self.live.read_failed(failure.class);
    }
}

/// Decides, of one piece of work, whether and when a failure is tried again.
#[derive(Debug)]
pub(super) struct Retry {
    delays: backon::ExponentialBackoff,
    /// When a failure that is about the table came first.
    since: Option<Instant>,
}

impl Retry {
    pub(super) fn new() -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build();
        Self { delays, since: None }
    }

    /// Shows the failure and waits; gives it back when it is time to say that the table cannot be read.
    pub(super) async fn after(
        &mut self,
        context: &Context,
        table: &TableName,
        failure: Failure,
    ) -> Result<(), Failure> {
        context.failed(&failure);
        context.show(table, |entry| entry.error = Some(failure.chain()));
        self.pause(table, failure).await
    }

    /// Waits; gives the failure back when it is time to say that the table cannot be read.
    pub(super) async fn pause(&mut self, table: &TableName, failure: Failure) -> Result<(), Failure> {
        if is_about_the_source(&failure) {
            self.since = None;
        } else {
            let since = *self.since.get_or_insert_with(Instant::now);
            if failure.class == ErrorClass::Fatal || since.elapsed() >= PATIENCE {
                return Err(failure);
            }
        }
        tracing::warn!(%table, error = failure.chain(), "the read of a table is tried again");
        tokio::time::sleep(self.delays.next().unwrap_or(Duration::from_secs(5))).await;
        Ok(())
    }
}

/// Whether a failure says nothing about the table: the server does not answer anybody, the stream is not there, or there are two-phase
/// transactions.
fn is_about_the_source(failure: &Failure) -> bool {
    let cause = failure.source.as_ref();
    connect::is_about_the_server(failure)
        || cause.is_some_and(|cause| cause.is::<StreamLost>() || cause.is::<MayLackRows>())
}
