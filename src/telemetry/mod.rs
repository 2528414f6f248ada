//! What the daemon tells about itself: live state for `status`, metrics, logs.
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
mod snapshot;
mod status;
mod table_status;

pub use live::{
    BatchesLive, Live, SinkLive, SinkPhase, SinkTableLive, SourceLive, SourcePhase, SourceRows, StoppedTableLive,
    TableLive, WaitingLive, now_micros,
};
pub use report::Reporter;
pub use snapshot::{SnapshotLive, SnapshotPhase, SnapshotTable};
pub use status::{
    BatchStatus, Position, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus, Status, StoppedTableStatus,
    WaitingStatus, WalStatus,
};
pub use table_status::{SinkRowsStatus, TableStatus};

use live::{lock, seconds_between};
