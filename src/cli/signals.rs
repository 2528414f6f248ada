//! SIGTERM and SIGINT: the first asks, the second insists.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long the daemon has to stop after the first signal. What is cut off by it is what a crash would cut off: nothing is
/// lost or repeated.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells `shutdown` at the first signal, and ends the process at the second, or when the time is up.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    pub(super) async fn watch(mut self, shutdown: CancellationToken) {
        let first = self.next().await;
        info!(signal = first, "stopping; a second signal stops at once");
        shutdown.cancel();
        tokio::select! {
            second = self.next() => warn!(signal = second, "stopped at once; the next start goes on from what is durable"),
            () = tokio::time::sleep(PATIENCE) => {
                error!(seconds = PATIENCE.as_secs(), "not stopped in time, ended; the next start goes on from what is durable");
            }
        }
        std::process::exit(1);
    }
}
