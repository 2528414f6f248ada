//! Live numbers of one sink.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::lock;
use crate::model::TableName;

/// What a sink is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkPhase {
    /// Connecting and finding out what the target holds. The state of a new process.
    Opening,
    /// Applying what the log holds.
    Running,
    /// It failed and is tried again; the error says why.
    Retrying,
    /// Ended in good order.
    Stopped,
    /// It failed for good and the others go on; the error says why.
    Failed,
    /// It lost its claim on a full log and needs a new snapshot.
    Detached,
}

impl SinkPhase {
    /// Every phase.
    pub const ALL: [Self; 6] =
        [Self::Opening, Self::Running, Self::Retrying, Self::Stopped, Self::Failed, Self::Detached];

    /// As status and metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Detached => "detached",
        }
    }
}

/// Rows of one table at one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SinkRows {
    pub(super) applied: u64,
    pub(super) dead_lettered: u64,
}

/// Live numbers of one sink.
#[derive(Debug)]
pub struct SinkLive {
    name: String,
    kind: &'static str,
    phase: Mutex<(SinkPhase, Option<String>)>,
    delivered: AtomicU64,
    applied: AtomicU64,
    complete_until: AtomicI64,
    batches: AtomicU64,
    errors: AtomicU64,
    rows: Mutex<BTreeMap<TableName, SinkRows>>,
}

impl SinkLive {
    pub(super) fn new(name: &str, kind: &'static str, now_micros: i64) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            phase: Mutex::new((SinkPhase::Opening, None)),
            delivered: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            complete_until: AtomicI64::new(now_micros),
            batches: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            rows: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What it is doing now, and the error that brought it there.
    pub fn phase(&self, phase: SinkPhase, error: Option<String>) {
        *lock(&self.phase) = (phase, error);
    }

    /// What it is doing, with the error.
    pub fn current_phase(&self) -> (SinkPhase, Option<String>) {
        lock(&self.phase).clone()
    }

    /// The sink has taken a frame.
    pub fn delivered(&self, lsn: Lsn) {
        self.delivered.store(lsn.raw(), Ordering::Relaxed);
    }

    /// Everything up to `lsn` is durable at the target. `commit_micros` is when the source committed the last of it; without it, the
    /// sink was opened here. Until the first commit, lag counts from the start of the process, which is the least it can be.
    pub fn applied(&self, lsn: Lsn, commit_micros: Option<i64>) {
        self.applied.store(lsn.raw(), Ordering::Relaxed);
        if let Some(micros) = commit_micros {
            self.complete_until.store(micros, Ordering::Relaxed);
            self.batches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A write or a commit failed.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows were applied.
    pub fn rows(&self, table: &TableName, rows: u64) {
        self.count(table, |counts| counts.applied += rows);
    }

    /// Rows were put aside.
    pub fn dead_lettered(&self, table: &TableName, rows: u64) {
        self.count(table, |counts| counts.dead_lettered += rows);
    }

    /// Sets what earlier processes applied and put aside.
    pub fn restore(&self, table: &TableName, applied: u64, dead_lettered: u64) {
        self.count(table, |counts| *counts = SinkRows { applied, dead_lettered });
    }

    /// Last LSN taken by the sink; zero before the first of this process.
    pub fn delivered_lsn(&self) -> Lsn {
        Lsn::new(self.delivered.load(Ordering::Relaxed))
    }

    /// Last LSN durable at the target; zero before the sink was opened.
    pub fn applied_lsn(&self) -> Lsn {
        Lsn::new(self.applied.load(Ordering::Relaxed))
    }

    /// Everything that the source committed before this instant was applied when that was last known.
    pub fn complete_until(&self) -> i64 {
        self.complete_until.load(Ordering::Relaxed)
    }

    /// Commits at the target since the start of the process.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Failed writes and commits since the start of the process.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(super) fn table(&self, table: &TableName) -> SinkRows {
        lock(&self.rows).get(table).copied().unwrap_or_default()
    }

    pub(super) fn tables(&self) -> Vec<TableName> {
        lock(&self.rows).keys().cloned().collect()
    }

    fn count(&self, table: &TableName, change: impl FnOnce(&mut SinkRows)) {
        let mut rows = lock(&self.rows);
        if let Some(counts) = rows.get_mut(table) {
            change(counts);
        } else {
            change(rows.entry(table.clone()).or_default());
        }
    }
}
