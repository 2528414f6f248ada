//! What the snapshot shows of itself.

use std::time::Instant;

use serde::Serialize;

use crate::model::TableName;

/// Every table that a job has been given for, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotStatus {
    /// The tables.
    pub tables: Vec<TableStatus>,
}

/// One table's snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct TableStatus {
    /// The table.
    pub table: TableName,
    /// Where it stands.
    pub state: TableState,
    /// Rows placed in the log.
    pub rows: u64,
    /// Rows the server thinks there are; 0: not asked yet.
    pub estimated_rows: u64,
    /// Rows a second since the job was started in this process.
    pub rate: f64,
    /// Seconds to go at this rate; `None`: not known, or not running.
    pub eta_seconds: Option<u64>,
    /// Why it failed, or what it is retrying after.
    pub error: Option<String>,
}

/// Where a table's snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableState {
    /// It waits for its turn.
    Pending,
    /// It is being read.
    Running,
    /// Every row stands in the log.
    Done,
    /// It cannot be read; it is tried again at the next start.
    Failed,
}

impl SnapshotStatus {
    /// Whether no table waits or runs. With no job given yet, that is so too.
    pub fn is_settled(&self) -> bool {
        self.tables.iter().all(|table| matches!(table.state, TableState::Done | TableState::Failed))
    }

    /// Whether the table's last job failed.
    pub fn has_failed(&self, table: &TableName) -> bool {
        self.tables.iter().any(|entry| entry.table == *table && entry.state == TableState::Failed)
    }

    /// The first table that failed.
    pub fn first_failed(&self) -> Option<&TableStatus> {
        self.tables.iter().find(|table| table.state == TableState::Failed)
    }

    /// Puts back what was shown of a table before a job that came to nothing; `None`: nothing was.
    pub(super) fn restore(&mut self, table: &TableName, before: Option<TableStatus>) {
        match (before, self.tables.iter_mut().find(|entry| entry.table == *table)) {
            (Some(before), Some(entry)) => *entry = before,
            (Some(before), None) => self.tables.push(before),
            (None, _) => self.tables.retain(|entry| entry.table != *table),
        }
    }

    /// The entry of a table, made if there is none.
    pub(super) fn entry(&mut self, table: &TableName) -> Option<&mut TableStatus> {
        if !self.tables.iter().any(|entry| entry.table == *table) {
            self.tables.push(TableStatus {
                table: table.clone(),
                state: TableState::Pending,
                rows: 0,
                estimated_rows: 0,
                rate: 0.0,
                eta_seconds: None,
                error: None,
            });
        }
        self.tables.iter_mut().find(|entry| entry.table == *table)
    }
}

impl TableStatus {
    /// As it is once its job has ended.
    pub(super) fn done(self) -> Self {
        Self { state: TableState::Done, eta_seconds: None, error: None, ..self }
    }

    /// Takes in that `rows` have been placed in all, `fresh` of them since `since`.
    pub(super) fn advance(&mut self, rows: u64, fresh: u64, since: Instant) {
        self.rows = rows;
        let seconds = since.elapsed().as_secs_f64();
        self.rate = if seconds > 0.0 { approximate(fresh) / seconds } else { 0.0 };
        let left = self.estimated_rows.saturating_sub(rows);
        self.eta_seconds = (self.rate > 0.0)
            .then(|| std::time::Duration::try_from_secs_f64(approximate(left) / self.rate).ok())
            .flatten()
            .map(|eta| eta.as_secs());
    }
}

/// A count as a fraction's operand; it is shown, so the nearest is enough.
fn approximate(count: u64) -> f64 {
    let high = u32::try_from(count >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
