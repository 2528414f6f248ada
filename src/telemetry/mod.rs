//! What the daemon says about itself: live state for `status`, metrics, logs.
//!
//! - [`Live`]: the numbers that the loops write, once a batch; no loop waits for a reader.
//! - [`Status`]: a document of all of them at one moment, made by [`Reporter`]; `status`, `/health` and the metrics all
//!   come from it, so that they cannot disagree.
//! - [`Health`]: the one verdict on a status, with its reasons. Exit codes come from it too.
//! - `records` has the records of the tables as ingest wrote them down last; [`StateStatus`] is what they come to at a sink.
//! - [`metrics`]: names and help of the metrics; [`Exporter`] makes them of a status.
//! - [`http`]: `/metrics` and `/health`.
//! - [`logs`]: where log lines go. No line, metric or status holds a row value or a secret.

mod by_sink;
mod counters;
mod exporter;
mod filter;
pub mod http;
mod live;
pub mod logs;
pub mod metrics;
mod records;
mod report;
mod sink_live;
mod source_live;
mod stated;
mod status;
mod table_status;
mod tables;
mod verdict;

pub use by_sink::BySink;
pub use counters::{Errors, SchemaChange, SchemaChanges};
pub use exporter::Exporter;
pub use filter::TableSelection;
pub(crate) use live::rfc3339;
pub use live::{Live, SourceRows, TableLive, now_micros};
pub use records::{ReadLive, ReadShown, RecordLive, RecordsLive};
pub use report::Reporter;
pub use sink_live::{BatchesLive, SinkInner, SinkLive, SinkPhase, SinkTableLive, StoppedTableLive, WaitingLive};
pub use source_live::{SourceInner, SourceLive, SourcePhase};
pub use stated::StateStatus;
pub use status::{
    BatchStatus, ErrorsStatus, LettersStatus, Position, SinkStatus, SnapshotStatus, SnapshotTableStatus, SourceStatus,
    Status, StoppedTableStatus, WaitingStatus, WalStatus,
};
pub use table_status::{SinkRowsStatus, TableStatus};
pub(crate) use tables::count_states;
#[cfg(test)]
pub(crate) use verdict::tests::healthy;
pub use verdict::{Health, Reason, Verdict, What, remedy_of};

use live::{lock, seconds_between};
