//! What waits for the log: handing over, with and without patience, and what is decided meanwhile. While the log is full,
//! the status says so. A stop ends every wait.
//!
//! Delivery may be waiting for a decision of the core, and a full log for delivery. So whatever waits here looks now and then whether
//! there is something to decide ([`super::core::Core::decide_beside`]).

use std::time::Duration;

use tracing::warn;
use wal::Reader;

use super::core::Records;
use super::run::Ingest;
use crate::error::Failure;
use crate::telemetry::{Live, SourcePhase};

/// What a log that is not full takes at most for what was handed over. Behind it a stop does not wait for the log.
const GRACE: Duration = Duration::from_secs(1);
/// A wait on the log that is longer is shown, if the log is full.
const FULL_AFTER: Duration = Duration::from_millis(200);

/// Time between two looks at rows that wait for an answer, while the log is full.
const LOOK_WHILE_FULL: Duration = Duration::from_millis(500);

/// How long what was read may wait for a log that is full.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// Until told to stop, and [`GRACE`].
    UntilStopped,
    /// [`GRACE`].
    Moment,
}

impl Ingest {
    /// Hands what has gathered to the log; waits while the log is full.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let shutdown = self.shutdown.clone();
        let stopped = async move {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(stopped);
        loop {
            let looks = self.core.has_to_look();
            tokio::select! {
                done = show_full(&self.live, &self.reader, self.core.log_mut().flush()) => return done,
                () = &mut stopped => return Err(Failure::retry("stopped while the log was full")),
                () = tokio::time::sleep(LOOK_WHILE_FULL), if looks => {}
            }
            self.look_while_full().await?;
        }
    }

    /// The log is full, perhaps because delivery waits for what the core has to decide: that is decided beside the groups.
    async fn look_while_full(&mut self) -> Result<(), Failure> {
        if !self.reader.positions().full || !self.core.has_to_look() {
            return Ok(());
        }
        self.set_time();
        for records in self.core.decide_beside()? {
            self.store(records).await?;
        }
        Ok(())
    }

    /// The stream is not at a boundary, or stands still: what delivery waits for is decided beside the groups.
    pub(super) async fn decide_beside(&mut self) -> Result<(), Failure> {
        if !self.core.has_to_look() {
            return Ok(());
        }
        self.set_time();
        let stores = self.core.decide_beside()?;
        if !stores.is_empty() {
            self.flush_unless_full().await?;
        }
        for records in stores {
            self.store(records).await?;
        }
        Ok(())
    }

    /// Decides what delivery waits for until the future is there.
    pub(super) async fn deciding_beside<T>(&mut self, until: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::pin!(until);
        loop {
            let looks = self.core.has_to_look();
            tokio::select! {
                // What is done often must not keep the look from its turn.
                biased;
                () = tokio::time::sleep_until(self.looked + LOOK_WHILE_FULL), if looks => {
                    self.looked = tokio::time::Instant::now();
                    self.decide_beside().await?;
                }
                done = &mut until => return Ok(done),
            }
        }
    }

    /// Hands over what has ended, so that what is stored after it is durable after it. A full log takes it later.
    pub(super) async fn flush_unless_full(&mut self) -> Result<(), Failure> {
        self.show_lives();
        self.core.seal()?;
        let reader = self.reader.clone();
        let is_full = async move {
            while !reader.positions().full {
                tokio::time::sleep(FULL_AFTER).await;
            }
        };
        tokio::select! {
            done = self.core.log_mut().flush() => done,
            () = is_full => Ok(()),
        }
    }

    /// Makes what has ended durable, with its position, unless the log does not take it in time. Then it is still at the source, after
    /// the position in the log.
    pub(super) async fn make_durable(&mut self, patience: Patience) -> Result<(), Failure> {
        self.show_lives();
        self.core.seal()?;
        let shutdown = self.shutdown.clone();
        let enough = async move {
            match patience {
                Patience::UntilStopped => shutdown.cancelled().await,
                Patience::Moment => {}
            }
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(enough);
        loop {
            let looks = self.core.has_to_look();
            tokio::select! {
                done = show_full(&self.live, &self.reader, self.core.log_mut().flush_durable()) => return done,
                () = &mut enough => {
                    warn!("the log has not taken what was read last, so it is left to the next start");
                    return Ok(());
                }
                () = tokio::time::sleep(LOOK_WHILE_FULL), if looks => {}
            }
            self.look_while_full().await?;
        }
    }

    /// Waits until everything handed over is durable.
    pub(super) async fn durable(&mut self) -> Result<(), Failure> {
        let shutdown = self.shutdown.clone();
        loop {
            let looks = self.core.has_to_look();
            tokio::select! {
                done = show_full(&self.live, &self.reader, self.core.log_mut().flush_durable()) => return done,
                () = shutdown.cancelled() => return Err(Failure::retry("stopped before the log was durable")),
                () = tokio::time::sleep(LOOK_WHILE_FULL), if looks => {}
            }
            self.look_while_full().await?;
        }
    }

    /// Stores records at once, also while the log is full.
    pub(super) async fn store(&self, records: Records) -> Result<(), Failure> {
        let records = records.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.wal.put_state(records).await.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))
    }
}

/// Waits for the log, and shows it while the log is full. What was shown before comes back also when the wait is given up.
async fn show_full<T>(live: &Live, reader: &Reader, wait: impl Future<Output = T>) -> T {
    tokio::pin!(wait);
    if let Ok(done) = tokio::time::timeout(FULL_AFTER, &mut wait).await {
        return done;
    }
    if !reader.positions().full {
        return wait.await;
    }
    let slowest =
        reader.cursors().into_iter().filter(|cursor| !cursor.detached).max_by_key(|cursor| cursor.backlog_bytes);
    let slowest = slowest.map(|cursor| cursor.name).unwrap_or_default();
    warn!(%slowest, "the log is full: reading waits until the slowest sink has caught up (wal.max_size)");
    let _shown = ShownFull::new(live);
    wait.await
}

/// Shows a full log until it is dropped. A source that has failed stays shown as that.
struct ShownFull<'a> {
    live: &'a Live,
    before: (SourcePhase, Option<String>),
}

impl<'a> ShownFull<'a> {
    fn new(live: &'a Live) -> Self {
        let before = live.source.snapshot();
        if before.phase != SourcePhase::Failed {
            live.source.phase(SourcePhase::LogFull, None);
        }
        Self { live, before: (before.phase, before.error) }
    }
}

impl Drop for ShownFull<'_> {
    fn drop(&mut self) {
        let (phase, error) = &mut self.before;
        self.live.source.phase(*phase, error.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_shown_while_it_is_waited_for_and_never_over_a_failure() {
        let live = Live::default();
        let shown = || {
            let source = live.source.snapshot();
            (source.phase, source.error)
        };
        live.source.phase(SourcePhase::Streaming, None);
        let full = ShownFull::new(&live);
        assert_eq!(shown(), (SourcePhase::LogFull, None));
        drop(full);
        assert_eq!(shown(), (SourcePhase::Streaming, None));

        live.source.phase(SourcePhase::Failed, Some("why".to_owned()));
        let full = ShownFull::new(&live);
        assert_eq!(shown(), (SourcePhase::Failed, Some("why".to_owned())));
        drop(full);
        assert_eq!(shown(), (SourcePhase::Failed, Some("why".to_owned())));
    }
}
