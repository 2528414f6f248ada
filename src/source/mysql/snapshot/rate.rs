//! The limit on rows read per second, over all readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A limit on rows per second.
#[derive(Debug)]
pub(super) struct Rate {
    /// 0: no limit.
    per_second: AtomicU64,
    /// When the next row may be read.
    next: Mutex<Instant>,
}

impl Rate {
    pub(super) fn new(per_second: u64) -> Self {
        Self { per_second: AtomicU64::new(per_second), next: Mutex::new(Instant::now()) }
    }

    /// From here on it is another one.
    pub(super) fn set(&self, per_second: u64) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    fn per_second(&self) -> u64 {
        self.per_second.load(Ordering::Relaxed)
    }

    /// Waits until `rows` more may be read.
    pub(super) async fn take(&self, rows: u64) {
        if self.per_second() > 0 {
            tokio::time::sleep_until(self.reserve(Instant::now(), rows)).await;
        }
    }

    /// Rows a chunk may have so that it is read within a few seconds: a window that stays open long collects keys.
    pub(super) fn chunk_limit(&self) -> u64 {
        match self.per_second() {
            0 => u64::MAX,
            per_second => per_second.saturating_mul(2).max(100),
        }
    }

    fn reserve(&self, now: Instant, rows: u64) -> Instant {
        let nanos = rows.saturating_mul(1_000_000_000).checked_div(self.per_second()).unwrap_or(0);
        // Nothing can be left half done under this lock.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*next).max(now);
        *next = start + Duration::from_nanos(nanos);
        *next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_let_through_at_the_rate_over_all_callers() {
        let rate = Rate::new(1000);
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(rate.reserve(now, 500) - now, Duration::from_millis(500));
        assert_eq!(rate.reserve(now, 500) - now, Duration::from_secs(1));
        let later = now + Duration::from_secs(9);
        assert_eq!(
            rate.reserve(later, 100) - later,
            Duration::from_millis(100),
            "time that was not used is not saved up"
        );
    }
}
