//! How far the readers are. Which tables are wanted, and why, is in their records.

use std::time::Instant;

use crate::model::TableName;

/// Every table of which a read is due, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotStatus {
    /// The tables.
    pub tables: Vec<TableStatus>,
}

/// One table's read.
#[derive(Clone, Debug, PartialEq)]
pub struct TableStatus {
    /// The table.
    pub table: TableName,
    /// A reader is at work; otherwise it waits for its turn.
    pub running: bool,
    /// Rows placed in the log.
    pub rows: u64,
    /// Rows the server thinks there are; 0: not asked yet.
    pub estimated_rows: u64,
    /// Rows a second since the reader began in this process.
    pub rate: f64,
    /// Seconds to go at this rate; `None`: not known, or not running.
    pub eta_seconds: Option<u64>,
    /// What is tried again.
    pub error: Option<String>,
}

impl SnapshotStatus {
    /// The entry of a table, made if there is none.
    pub(super) fn entry(&mut self, table: &TableName) -> Option<&mut TableStatus> {
        if !self.tables.iter().any(|entry| entry.table == *table) {
            self.tables.push(TableStatus {
                table: table.clone(),
                running: false,
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
