//! Live numbers of the source and of the rows that it gave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::lock;
use crate::model::{SourcePosition, TableName};

/// What the source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourcePhase {
    /// Not connected yet. The state of a new process.
    Connecting,
    /// Reading the stream.
    Streaming,
    /// Connected and waiting for room in the log.
    Blocked,
    /// It failed and is tried again; the error says why.
    Retrying,
    /// Ended in good order.
    Stopped,
    /// It failed for good; the error says why.
    Failed,
}

impl SourcePhase {
    /// Every phase.
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::Streaming, Self::Blocked, Self::Retrying, Self::Stopped, Self::Failed];

    /// As status and metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Blocked => "blocked",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug)]
struct Shown {
    phase: SourcePhase,
    error: Option<String>,
    server: Option<String>,
    position: Option<SourcePosition>,
}

/// Rows of one table on their way into the log: read = appended + filtered.
#[derive(Debug, Default)]
pub struct TableLive {
    read: AtomicU64,
    appended: AtomicU64,
    filtered: AtomicU64,
}

impl TableLive {
    /// Sets the totals since the log was made. They only grow: a smaller number is not taken.
    pub fn set(&self, read: u64, appended: u64, filtered: u64) {
        self.read.fetch_max(read, Ordering::Relaxed);
        self.appended.fetch_max(appended, Ordering::Relaxed);
        self.filtered.fetch_max(filtered, Ordering::Relaxed);
    }

    /// Adds rows.
    pub fn add(&self, read: u64, appended: u64, filtered: u64) {
        self.read.fetch_add(read, Ordering::Relaxed);
        self.appended.fetch_add(appended, Ordering::Relaxed);
        self.filtered.fetch_add(filtered, Ordering::Relaxed);
    }

    /// (read, appended, filtered).
    pub fn totals(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.read), load(&self.appended), load(&self.filtered))
    }
}

/// Live numbers of the source.
#[derive(Debug)]
pub struct SourceLive {
    shown: Mutex<Shown>,
    complete_until: AtomicI64,
    events: AtomicU64,
    bytes: AtomicU64,
    reconnects: AtomicU64,
    tables: Mutex<BTreeMap<TableName, Arc<TableLive>>>,
}

impl SourceLive {
    pub(super) fn new(now_micros: i64) -> Self {
        let shown = Shown { phase: SourcePhase::Connecting, error: None, server: None, position: None };
        Self {
            shown: Mutex::new(shown),
            complete_until: AtomicI64::new(now_micros),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            tables: Mutex::default(),
        }
    }

    /// What it is doing now, and the error that brought it there.
    pub fn set_phase(&self, phase: SourcePhase, error: Option<String>) {
        let mut shown = lock(&self.shown);
        shown.phase = phase;
        shown.error = error;
    }

    /// What it is doing, with the error.
    pub fn phase(&self) -> (SourcePhase, Option<String>) {
        let shown = lock(&self.shown);
        (shown.phase, shown.error.clone())
    }

    /// The server as status names it: flavour, version, identity.
    pub fn set_server(&self, server: impl Into<String>) {
        lock(&self.shown).server = Some(server.into());
    }

    /// The server, once it was reached.
    pub fn server(&self) -> Option<String> {
        lock(&self.shown).server.clone()
    }

    /// The position that is durable in the log. Set after the commit, never before it.
    pub fn set_position(&self, position: &SourcePosition) {
        lock(&self.shown).position = Some(position.clone());
    }

    /// The position that is durable in the log.
    pub fn position(&self) -> Option<SourcePosition> {
        lock(&self.shown).position.clone()
    }

    /// Everything that the source committed before this instant (microseconds since the epoch) is in the log: the commit time of
    /// the last transaction, or the time of a heartbeat that came with nothing left to read. Lag counts from here. Before the
    /// first call it counts from the start of the process, which is the least it can be.
    pub fn set_complete_until(&self, micros: i64) {
        self.complete_until.store(micros, Ordering::Relaxed);
    }

    /// See [`SourceLive::set_complete_until`].
    pub fn complete_until(&self) -> i64 {
        self.complete_until.load(Ordering::Relaxed)
    }

    /// Events and bytes of the stream were read.
    pub fn read(&self, events: u64, bytes: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// (events, bytes) read since the start of the process.
    pub fn totals(&self) -> (u64, u64) {
        (self.events.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// The connection was made anew after a loss.
    pub fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections made anew since the start of the process.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// The counters of a table, to be kept by whoever counts.
    pub fn table(&self, table: &TableName) -> Arc<TableLive> {
        let mut tables = lock(&self.tables);
        if let Some(known) = tables.get(table) {
            return Arc::clone(known);
        }
        let new = Arc::new(TableLive::default());
        tables.insert(table.clone(), Arc::clone(&new));
        new
    }

    /// Every table that was counted, by name.
    pub fn tables(&self) -> Vec<(TableName, Arc<TableLive>)> {
        lock(&self.tables).iter().map(|(name, table)| (name.clone(), Arc::clone(table))).collect()
    }
}
