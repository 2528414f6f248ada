//! What the daemon says about itself while it runs.
//!
//! - [`Live`]: the numbers the loops write, each with one atomic store; nobody waits for a reader.
//! - [`Status`]: a document of all of them at one moment, made by [`Reporter`]; `status`, `/health` and the metrics all
//!   come from it, so that they cannot disagree.
//! - [`metrics`]: names and help of the metrics, and how a status becomes them.
//! - [`http`]: `/metrics` and `/health`.
//! - [`logs`]: where log lines go. No line, metric or status holds a row value or a secret.

pub mod http;
mod live;
pub mod logs;
pub mod metrics;
mod report;
mod sink_live;
mod source_live;
mod status;

pub use live::{Live, SnapshotPhase, SnapshotTable};
pub use report::Reporter;
pub use sink_live::{SinkLive, SinkPhase};
pub use source_live::{SourceLive, SourcePhase, TableLive};
pub use status::{
    Position, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus, Status, TableStatus, WalStatus,
};

/// Microseconds since the epoch. Lag compares it with the source's commit times, so a clock that is off shows as lag.
fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A lock that a panic elsewhere has poisoned still holds plain numbers.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
