//! SIGTERM and SIGINT: the first asks, the second insists. SIGHUP asks for the configuration to be read again, and ends nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long the daemon has to stop after the first signal. What is cut off by it is what a crash would cut off: nothing is
/// lost or repeated.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells `shutdown` at the first signal, and ends the process at the second, or when the time is up.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self, reload: Option<&Notify>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => match reload {
                    Some(reload) => reload.notify_one(),
                    None => info!(signal = "SIGHUP", "this command reads its configuration once"),
                },
            }
        }
    }

    pub(super) async fn watch(mut self, shutdown: CancellationToken, reload: Option<Arc<Notify>>) {
        let first = self.next(reload.as_deref()).await;
        info!(signal = first, "stopping; a second signal stops at once");
        shutdown.cancel();
        tokio::select! {
            second = self.next(None) => warn!(signal = second, "stopped at once; the next start continues from what is durable"),
            () = tokio::time::sleep(PATIENCE) => {
                error!(seconds = PATIENCE.as_secs(), "not stopped in time, ended; the next start continues from what is durable");
            }
        }
        std::process::exit(1);
    }
}
