//! How a reader gets on. Which tables are wanted, and why, is in their records.

use std::time::{Duration, Instant};

use crate::telemetry::ReadLive;

/// One table's reader.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TableStatus {
    /// Rows the server thinks there are; 0: not asked yet.
    pub(super) estimated_rows: u64,
    /// Rows that wait for their place.
    pub(super) spooled_rows: u64,
    /// Rows a second since the reader began in this process.
    pub(super) rate: f64,
    /// Seconds to go at this rate; `None`: not known, or not running.
    pub(super) eta_seconds: Option<u64>,
    /// What is tried again.
    pub(super) error: Option<String>,
}

impl TableStatus {
    /// As the status shows it.
    pub(super) fn shown(&self) -> ReadLive {
        ReadLive {
            estimated_rows: self.estimated_rows,
            spooled_rows: self.spooled_rows,
            rows_per_second: (self.rate > 0.0).then_some(self.rate),
            eta: self.eta_seconds.map(Duration::from_secs),
            error: self.error.clone(),
        }
    }

    /// Takes in that `rows` have been placed in all, `fresh` of them since `since`.
    pub(super) fn advance(&mut self, rows: u64, fresh: u64, since: Instant) {
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
