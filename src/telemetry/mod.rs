//! What the daemon says about itself: live state for `status`, metrics, logs.
//!
//! - [`Live`]: the numbers that the loops write, once a batch; no loop waits for a reader.
//! - [`Status`]: a document of all of them at one moment, made by [`Reporter`]; `status`, `/health` and the metrics all
//!   come from it, so that they cannot disagree.
//! - [`metrics`]: names and help of the metrics; [`Exporter`] makes them of a status.
//! - [`http`]: `/metrics` and `/health`.
//! - [`logs`]: where log lines go. No line, metric or status holds a row value or a secret.

mod exporter;
pub mod http;
mod live;
pub mod logs;
pub mod metrics;
mod report;
mod sink_live;
mod snapshot;
mod status;
mod table_status;

pub use exporter::Exporter;
pub use live::{Live, SourceLive, SourcePhase, SourceRows, TableLive, now_micros};
pub use report::Reporter;
pub use sink_live::{BatchesLive, SinkLive, SinkPhase, SinkTableLive, StoppedTableLive, WaitingLive};
pub use snapshot::{SnapshotLive, SnapshotPhase, SnapshotTable};
pub use status::{
    BatchStatus, Position, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus, Status, StoppedTableStatus,
    WaitingStatus, WalStatus,
};
pub use table_status::{SinkRowsStatus, TableStatus};

use live::{lock, seconds_between};
