//! Whether what is read is current: the watch beside the stream, and what is shown of it.

use crate::error::Failure;
use crate::source::mysql::binlog::Decoder;
use crate::source::mysql::watch::Watch;
use crate::telemetry::{SourceLive, SourcePhase, now_micros};

/// The watch of one session, as the loop heeds and shows it.
pub(super) struct Current {
    watch: Watch,
    /// Why nothing proves that the stream is current, as it is shown.
    unproven: Option<String>,
}

impl Current {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, unproven: None }
    }

    /// Why the session has to end; never while it may go on. A call that is dropped loses nothing.
    pub(super) async fn verdict(&mut self) -> Failure {
        self.watch.verdict().await
    }

    /// Ends the session where the watch says so, also while there is always something to read.
    pub(super) fn heed(&mut self) -> Result<(), Failure> {
        self.watch.try_verdict().map_or(Ok(()), Err)
    }

    /// The stream is at a boundary; `dry`: it has read all that has come. That it is current is a fact only while the
    /// server confirms that its binlog is the one that is read.
    pub(super) fn stand(&mut self, decoder: &Decoder, dry: bool, shown: &SourceLive) {
        shown.read(decoder.commit_micros(), now_micros());
        self.watch.at(decoder.boundary(), dry);
        if !dry {
            return;
        }
        let unproven = self.watch.unproven();
        if unproven.is_none() {
            shown.caught_up(now_micros());
        }
        if unproven != self.unproven {
            self.unproven = unproven;
            self.streaming(shown);
        }
    }

    /// Shows that the stream is read.
    pub(super) fn streaming(&self, shown: &SourceLive) {
        shown.phase(SourcePhase::Streaming, self.unproven.clone());
    }
}
