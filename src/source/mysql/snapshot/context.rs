//! What every part of a running snapshot shares.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::watch;

use super::ingest::Ingest;
use super::rate::Rate;
use super::session::Sessions;
use super::slots::Slots;
use super::status::{SnapshotStatus, TableStatus};
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;

/// Bytes that all chunks in work buffer together, at most, but for single rows that are larger.
const BUFFERS: usize = 24 << 20;
/// Bytes of one chunk, at most: above this a chunk gains nothing.
const CHUNK_BYTES: usize = 8 << 20;

/// Tries of what fails because of a row or a statement: a change of the table's definition between its description and
/// its read looks like that, and is gone with the next description.
const ROW_TRIES: u32 = 4;

/// What every part of a running snapshot shares.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) sessions: Sessions,
    pub(super) slots: Slots,
    pub(super) ingest: Ingest,
    pub(super) rate: Rate,
    pub(super) chunk_rows: u32,
    pub(super) parallel: usize,
    status: watch::Sender<SnapshotStatus>,
}

impl Context {
    pub(super) fn new(
        sessions: Sessions,
        ingest: Ingest,
        settings: &crate::config::SnapshotPlan,
        status: watch::Sender<SnapshotStatus>,
    ) -> Self {
        let parallel = usize::from(settings.parallel.max(1));
        Self {
            slots: Slots::new(sessions.clone(), parallel),
            sessions,
            ingest,
            rate: Rate::new(settings.max_rows_per_second),
            chunk_rows: settings.chunk_rows.max(1),
            parallel,
            status,
        }
    }

    /// Bytes one chunk may buffer.
    pub(super) fn chunk_bytes(&self) -> usize {
        CHUNK_BYTES.min(BUFFERS / self.parallel)
    }

    /// What is shown of a table now.
    pub(super) fn shown(&self, table: &TableName) -> Option<TableStatus> {
        self.status.borrow().tables.iter().find(|entry| entry.table == *table).cloned()
    }

    /// Shows again what was shown of a table before.
    pub(super) fn restore(&self, table: &TableName, before: Option<TableStatus>) {
        self.status.send_modify(|status| status.restore(table, before));
    }

    /// Shows a change of a table's state.
    pub(super) fn show(&self, table: &TableName, change: impl FnOnce(&mut TableStatus)) {
        self.status.send_modify(|status| {
            if let Some(entry) = status.entry(table) {
                change(entry);
            }
        });
    }
}

/// Decides, of one piece of work, whether and when a failure is tried again.
#[derive(Debug)]
pub(super) struct Retry {
    delays: backon::ExponentialBackoff,
    row_tries: u32,
}

impl Retry {
    pub(super) fn new() -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build();
        Self { delays, row_tries: 0 }
    }

    /// Shows the failure and waits; gives it back when it is final.
    pub(super) async fn after(
        &mut self,
        context: &Context,
        table: &TableName,
        failure: Failure,
    ) -> Result<(), Failure> {
        match failure.class {
            ErrorClass::Fatal => return Err(failure),
            ErrorClass::Row => {
                self.row_tries += 1;
                if self.row_tries >= ROW_TRIES {
                    return Err(Failure { class: ErrorClass::Fatal, ..failure });
                }
            }
            ErrorClass::Retry => {}
        }
        tracing::warn!(%table, error = failure.chain(), "the snapshot of a table is tried again");
        context.show(table, |entry| entry.error = Some(failure.chain()));
        tokio::time::sleep(self.delays.next().unwrap_or(Duration::from_secs(5))).await;
        Ok(())
    }
}
