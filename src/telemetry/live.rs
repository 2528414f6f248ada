//! Live numbers of the whole daemon: one place that the loops write to and the reporter reads.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{SinkLive, SourceLive, lock, now_micros};
use crate::model::TableName;

/// State of one table's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotPhase {
    /// Not begun.
    Pending,
    /// Chunks are read.
    Running,
    /// Every chunk stands in the log.
    Done,
    /// Given up; the error says why.
    Failed,
}

impl SnapshotPhase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Running, Self::Done, Self::Failed];

    /// As status and metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Progress of one table's snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotTable {
    /// The table.
    pub table: TableName,
    /// How far it is.
    pub phase: SnapshotPhase,
    /// Rows read.
    pub rows: u64,
    /// Rows the server estimates the table to have.
    pub estimated_rows: u64,
    /// Rows read per second, lately.
    pub rows_per_second: Option<f64>,
    /// How long the rest will take at that rate.
    pub eta: Option<Duration>,
    /// Why it failed, or what is tried again.
    pub error: Option<String>,
}

/// Live numbers of the daemon. Made once, shared by all loops.
#[derive(Debug)]
pub struct Live {
    started: Instant,
    source: SourceLive,
    sinks: Vec<Arc<SinkLive>>,
    snapshot: Mutex<Vec<SnapshotTable>>,
}

impl Live {
    /// With the sinks of the plan: (name, type).
    pub fn new<'a>(sinks: impl IntoIterator<Item = (&'a str, &'static str)>) -> Arc<Self> {
        let now = now_micros();
        let sinks = sinks.into_iter().map(|(name, kind)| Arc::new(SinkLive::new(name, kind, now))).collect();
        Arc::new(Self { started: Instant::now(), source: SourceLive::new(now), sinks, snapshot: Mutex::default() })
    }

    /// The source's numbers.
    pub fn source(&self) -> &SourceLive {
        &self.source
    }

    /// A sink's numbers.
    pub fn sink(&self, name: &str) -> Option<Arc<SinkLive>> {
        self.sinks.iter().find(|sink| sink.name() == name).map(Arc::clone)
    }

    /// Every sink in the order of the plan.
    pub fn sinks(&self) -> &[Arc<SinkLive>] {
        &self.sinks
    }

    /// Replaces the progress of the snapshot, all tables at once.
    pub fn set_snapshot(&self, tables: Vec<SnapshotTable>) {
        *lock(&self.snapshot) = tables;
    }

    /// The progress of the snapshot.
    pub fn snapshot(&self) -> Vec<SnapshotTable> {
        lock(&self.snapshot).clone()
    }

    /// How long the daemon has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
