//! The live state: written by the loops once per batch, read by `status`, the metrics sampler and `/health`.
//!
//! Nothing here decides anything; what must survive a restart is in the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::{SinkLive, SnapshotLive};
use crate::model::TableName;
use crate::table::TableRecord;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not take the status down with it; every value is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePhase {
    /// Connecting for the first time, checking the server.
    Connecting,
    /// Reading the dump.
    Streaming,
    /// Waiting for room in the log: a sink is behind.
    LogFull,
    /// Standing still while a table without a usable key is read whole.
    ReadingTable,
    /// Lost the server, trying again.
    Reconnecting,
    /// Stopped on request, or done.
    Stopped,
    /// Stopped by an error.
    Failed,
}

impl SourcePhase {
    /// Every phase.
    pub const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Streaming,
        Self::LogFull,
        Self::ReadingTable,
        Self::Reconnecting,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word used in `status`, metrics and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::LogFull => "log_full",
            Self::ReadingTable => "reading_table",
            Self::Reconnecting => "reconnecting",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// The source's live state.
#[derive(Debug)]
pub struct SourceLive {
    inner: Mutex<SourceInner>,
    events: AtomicU64,
    filtered_events: AtomicU64,
    reconnects: AtomicU64,
    asking: Mutex<Asking>,
    /// Commit time of the last transaction read, microseconds since the epoch; 0: none yet.
    commit_micros: AtomicI64,
    /// When the stream last said anything, heartbeats included, microseconds since the epoch.
    heard_micros: AtomicI64,
    /// When the loop last stood at the end of what the server has, microseconds since the epoch; 0: never.
    caught_up_micros: AtomicI64,
}

/// The tables whose definition the server is asked for.
#[derive(Debug, Default)]
struct Asking {
    tables: Vec<TableName>,
    /// Those of before, until what their answers made is durable.
    before: Vec<TableName>,
    /// The last frame that an answer made.
    until: Lsn,
}

/// What changes seldom about the source.
#[derive(Clone, Debug)]
pub struct SourceInner {
    /// What it is doing.
    pub phase: SourcePhase,
    /// Version and identity of the server, for people.
    pub server: String,
    /// The error behind the phase.
    pub error: Option<String>,
}

impl Default for SourceLive {
    fn default() -> Self {
        let inner = SourceInner { phase: SourcePhase::Connecting, server: String::new(), error: None };
        Self {
            inner: Mutex::new(inner),
            events: AtomicU64::new(0),
            filtered_events: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            asking: Mutex::new(Asking::default()),
            commit_micros: AtomicI64::new(0),
            heard_micros: AtomicI64::new(0),
            caught_up_micros: AtomicI64::new(0),
        }
    }
}

impl SourceLive {
    /// The tables whose definition the server is asked for now. What earlier answers made ends at the frame `until`.
    pub fn asking(&self, tables: Vec<TableName>, until: Lsn) {
        let mut asking = lock(&self.asking);
        let mut before = std::mem::replace(&mut asking.tables, tables);
        asking.before.append(&mut before);
        asking.before.sort();
        asking.before.dedup();
        asking.until = until;
    }

    /// The tables whose definition is asked for, or whose answer is not in the log up to `durable`.
    pub fn asked_tables(&self, durable: Lsn) -> Vec<TableName> {
        let mut asking = lock(&self.asking);
        if durable >= asking.until {
            asking.before.clear();
        }
        let mut tables: Vec<TableName> = asking.tables.iter().chain(&asking.before).cloned().collect();
        tables.sort();
        tables.dedup();
        tables
    }

    /// A change of phase, with the error behind it.
    pub fn phase(&self, phase: SourcePhase, error: Option<String>) {
        let mut inner = lock(&self.inner);
        inner.phase = phase;
        inner.error = error;
    }

    /// Which server it is.
    pub fn server(&self, server: String) {
        lock(&self.inner).server = server;
    }

    /// The connection was lost.
    pub fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Events were read, of which some were of tables that are not captured.
    pub fn events(&self, read: u64, filtered: u64) {
        self.events.fetch_add(read, Ordering::Relaxed);
        self.filtered_events.fetch_add(filtered, Ordering::Relaxed);
    }

    /// A transaction with this commit time has been read at this time of ours.
    pub fn read(&self, commit_micros: i64, now_micros: i64) {
        self.commit_micros.store(commit_micros, Ordering::Relaxed);
        self.heard_micros.store(now_micros, Ordering::Relaxed);
    }

    /// The server has nothing more at this time of ours.
    pub fn caught_up(&self, now_micros: i64) {
        self.heard_micros.store(now_micros, Ordering::Relaxed);
        self.caught_up_micros.store(now_micros, Ordering::Relaxed);
    }

    /// What changes seldom.
    pub fn snapshot(&self) -> SourceInner {
        lock(&self.inner).clone()
    }

    /// (events read, of which filtered, reconnects).
    pub fn counts(&self) -> (u64, u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.events), get(&self.filtered_events), get(&self.reconnects))
    }

    /// Seconds that the read position is behind the server: zero-based at the last moment the loop had read
    /// everything the server had, or the age of the last transaction read, whichever is smaller. It grows while the
    /// loop stalls. `None` before the first word from the server.
    pub fn lag_seconds(&self, now_micros: i64) -> Option<f64> {
        let caught_up = self.caught_up_micros.load(Ordering::Relaxed);
        let commit = self.commit_micros.load(Ordering::Relaxed);
        let newest = caught_up.max(commit);
        (newest > 0).then(|| seconds_between(newest, now_micros))
    }

    /// When everything up to the last transaction read was current, microseconds since the epoch.
    pub fn current_as_of(&self) -> i64 {
        self.caught_up_micros.load(Ordering::Relaxed).max(self.commit_micros.load(Ordering::Relaxed))
    }
}

/// Seconds from one time in microseconds to another, never negative: clocks of two machines may disagree.
pub(super) fn seconds_between(from_micros: i64, to_micros: i64) -> f64 {
    let micros = u64::try_from(to_micros.saturating_sub(from_micros)).unwrap_or(0);
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// Row changes of one captured table on the side of the source: `read = appended + filtered + left_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceRows {
    /// Row changes that came from the source.
    pub read: u64,
    /// Row changes that are in the log.
    pub appended: u64,
    /// Snapshot rows that are not in the log because the stream had a newer state.
    pub filtered: u64,
    /// Row changes that are not in the log because their table is left out.
    pub left_out: u64,
}

/// The live row counters of one captured table.
#[derive(Debug, Default)]
pub struct TableLive(Mutex<SourceRows>);

impl TableLive {
    /// Sets the counters as of the last finished source transaction.
    pub fn set(&self, rows: SourceRows) {
        *lock(&self.0) = rows;
    }

    /// The counters, all as of one transaction.
    pub fn get(&self) -> SourceRows {
        *lock(&self.0)
    }
}

/// The whole live state of a daemon.
#[derive(Debug, Default)]
pub struct Live {
    /// The source.
    pub source: SourceLive,
    /// The snapshot.
    pub snapshot: SnapshotLive,
    sinks: Mutex<Vec<Arc<SinkLive>>>,
    tables: Mutex<BTreeMap<TableName, Arc<TableLive>>>,
    records: Mutex<BTreeMap<TableName, TableRecord>>,
}

impl Live {
    /// Sets the record of a table. One that says nothing removes the table.
    pub fn record(&self, table: &TableName, record: TableRecord) {
        lock(&self.records).insert(table.clone(), record);
    }

    /// Adds a sink.
    pub fn add_sink(&self, sink: Arc<SinkLive>) {
        lock(&self.sinks).push(sink);
    }

    /// The sinks in the order of the configuration.
    pub fn sinks(&self) -> Vec<Arc<SinkLive>> {
        lock(&self.sinks).clone()
    }

    /// The counters of a table, made if it is new.
    pub fn table(&self, name: &TableName) -> Arc<TableLive> {
        Arc::clone(lock(&self.tables).entry(name.clone()).or_default())
    }

    /// All tables.
    pub fn tables(&self) -> Vec<(TableName, Arc<TableLive>)> {
        lock(&self.tables).iter().map(|(name, table)| (name.clone(), Arc::clone(table))).collect()
    }
}

/// Microseconds since the epoch, now.
pub fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
