//! Waiting between retries: doubling, with jitter, without end.

use std::time::Duration;

use rand::RngExt;

/// First wait.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait: a server that comes back is found within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Gives the waits between attempts.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Waits so far since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It worked: the next failure waits shortly again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait before the next attempt: half of the doubled wait is certain, the other half random, so that many
    /// clients of one server do not come back at once.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        doubled / 2 + (doubled / 2).mul_f64(rand::rng().random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let mut bound = FIRST;
        for _ in 0..40 {
            let wait = backoff.next_wait();
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} not in half of {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
