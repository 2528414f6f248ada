//! The live state: written by the loops once per batch, read by `status`, the metrics sampler and `/health`.
//!
//! Nothing here decides anything; what must survive a restart is in the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::SnapshotLive;
use crate::model::{SchemaId, SinkRows, TableName};

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

/// What a sink is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkPhase {
    /// Opening the target.
    Opening,
    /// Applying, or idle with nothing to apply.
    Running,
    /// An error that is tried again.
    Retrying,
    /// Stopped on request, or done.
    Stopped,
    /// Stopped by an error.
    Failed,
    /// It lost its claim on a full log and needs a new snapshot.
    Detached,
}

impl SinkPhase {
    /// Every phase.
    pub const ALL: [Self; 6] =
        [Self::Opening, Self::Running, Self::Retrying, Self::Stopped, Self::Failed, Self::Detached];

    /// The word used in `status`, metrics and docs.
    pub const fn as_str(self) -> &'static str {
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

/// The source's live state.
#[derive(Debug)]
pub struct SourceLive {
    inner: Mutex<SourceInner>,
    events: AtomicU64,
    filtered_events: AtomicU64,
    reconnects: AtomicU64,
    /// Commit time of the last transaction read, microseconds since the epoch; 0: none yet.
    commit_micros: AtomicI64,
    /// When the stream last said anything, heartbeats included, microseconds since the epoch.
    heard_micros: AtomicI64,
    /// When the loop last stood at the end of what the server has, microseconds since the epoch; 0: never.
    caught_up_micros: AtomicI64,
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
            commit_micros: AtomicI64::new(0),
            heard_micros: AtomicI64::new(0),
            caught_up_micros: AtomicI64::new(0),
        }
    }
}

impl SourceLive {
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

    /// Seconds that the read position is behind the server: zero-based at the last moment the loop had read everything the
    /// server had, or the age of the last transaction read, whichever is smaller. It grows while the loop stalls. `None`
    /// before the first word from the server.
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

/// One sink's live state.
#[derive(Debug)]
pub struct SinkLive {
    /// Name of the sink and of its cursor.
    pub name: String,
    /// Type as the configuration spells it.
    pub kind: &'static str,
    inner: Mutex<(SinkPhase, Option<String>)>,
    delivered: AtomicU64,
    applied: AtomicU64,
    applied_commit_micros: AtomicI64,
    errors: AtomicU64,
    passed_over: AtomicU64,
    waiting: Mutex<Option<WaitingLive>>,
    tables: Mutex<BTreeMap<TableName, SinkTableLive>>,
    stopped: Mutex<Vec<StoppedTableLive>>,
    batches: Mutex<BTreeMap<TableName, BatchesLive>>,
}

/// What sending the batches of one table took, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchesLive {
    /// Batches acknowledged.
    pub batches: u64,
    /// Rows in them, as the target counts.
    pub rows: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Seconds from the first byte to the acknowledgement, in all.
    pub seconds: f64,
    /// Active parts of the table at the target, as last asked.
    pub parts: Option<u64>,
}

/// What became of one table at a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkTableLive {
    /// Its rows.
    pub rows: SinkRows,
    /// Why it may not be here what it is at the source.
    pub doubt: Option<String>,
}

/// A schema that a sink waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingLive {
    /// The table.
    pub table: TableName,
    /// The schema that the source is still asked for.
    pub schema: SchemaId,
    /// The frame that waits.
    pub lsn: Lsn,
    /// Since when, microseconds since the epoch.
    pub since_micros: i64,
}

/// A table that a sink leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedTableLive {
    /// The table.
    pub table: TableName,
    /// Its changes from here on are left out.
    pub since: Lsn,
    /// The error, with the way out.
    pub reason: String,
}

impl SinkLive {
    /// A sink that has not been opened.
    pub fn new(name: impl Into<String>, kind: &'static str) -> Self {
        Self {
            name: name.into(),
            kind,
            inner: Mutex::new((SinkPhase::Opening, None)),
            delivered: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            applied_commit_micros: AtomicI64::new(0),
            errors: AtomicU64::new(0),
            passed_over: AtomicU64::new(0),
            waiting: Mutex::new(None),
            tables: Mutex::new(BTreeMap::new()),
            stopped: Mutex::new(Vec::new()),
            batches: Mutex::new(BTreeMap::new()),
        }
    }

    /// A change of phase, with the error behind it.
    pub fn phase(&self, phase: SinkPhase, error: Option<String>) {
        *lock(&self.inner) = (phase, error);
    }

    /// The phase and the error behind it.
    pub fn state(&self) -> (SinkPhase, Option<String>) {
        lock(&self.inner).clone()
    }

    /// A round failed.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Rounds that failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The sink has taken everything up to here.
    pub fn delivered(&self, lsn: Lsn) {
        self.delivered.store(lsn.raw(), Ordering::Relaxed);
    }

    /// Everything up to here is durable at the target; with the commit time of the last transaction, microseconds since the epoch.
    pub fn applied(&self, lsn: Lsn, commit_micros: Option<i64>) {
        self.applied.store(lsn.raw(), Ordering::Relaxed);
        if let Some(commit_micros) = commit_micros {
            self.applied_commit_micros.store(commit_micros, Ordering::Relaxed);
        }
    }

    /// Last LSN applied.
    pub fn applied_lsn(&self) -> Lsn {
        Lsn::new(self.applied.load(Ordering::Relaxed))
    }

    /// Last LSN delivered.
    pub fn delivered_lsn(&self) -> Lsn {
        Lsn::new(self.delivered.load(Ordering::Relaxed))
    }

    /// Commit time of the last transaction applied, microseconds since the epoch; 0: none in this run.
    pub fn applied_commit_micros(&self) -> i64 {
        self.applied_commit_micros.load(Ordering::Relaxed)
    }

    /// A frame changed nothing here: it is for other sinks, or of a kind that no sink acts on.
    pub fn passed_over(&self) {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames passed over.
    pub fn frames_passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// It waits for a schema, or no longer.
    pub fn waits(&self, waiting: Option<WaitingLive>) {
        *lock(&self.waiting) = waiting;
    }

    /// What it waits for.
    pub fn waiting(&self) -> Option<WaitingLive> {
        lock(&self.waiting).clone()
    }

    /// Sets what became of a table's rows, and why the table is in doubt if it is.
    pub fn table(&self, table: &TableName, rows: SinkRows, doubt: Option<&str>) {
        let shown = SinkTableLive { rows, doubt: doubt.map(str::to_owned) };
        let mut all = lock(&self.tables);
        match all.get_mut(table) {
            Some(known) => *known = shown,
            None => drop(all.insert(table.clone(), shown)),
        }
    }

    /// The tables, over all runs once the loop has loaded the stored counters.
    pub fn tables(&self) -> BTreeMap<TableName, SinkTableLive> {
        lock(&self.tables).clone()
    }

    /// Sets the tables from the log: rows, and the doubt.
    pub fn load_tables(&self, tables: impl IntoIterator<Item = (TableName, SinkRows, Option<String>)>) {
        let shown = tables.into_iter().map(|(table, rows, doubt)| (table, SinkTableLive { rows, doubt }));
        *lock(&self.tables) = shown.collect();
    }

    /// Sets the tables that are left out.
    pub fn stopped(&self, tables: impl IntoIterator<Item = (TableName, Lsn, String)>) {
        let tables = tables.into_iter().map(|(table, since, reason)| StoppedTableLive { table, since, reason });
        *lock(&self.stopped) = tables.collect();
    }

    /// Adds to what sending took; a number of parts replaces the last one.
    pub fn sent(&self, table: &TableName, batch: BatchesLive) {
        let mut all = lock(&self.batches);
        let total = all.entry(table.clone()).or_default();
        total.batches += batch.batches;
        total.rows += batch.rows;
        total.bytes += batch.bytes;
        total.seconds += batch.seconds;
        total.parts = batch.parts.or(total.parts);
    }

    /// What sending took, by table.
    pub fn batches(&self) -> BTreeMap<TableName, BatchesLive> {
        lock(&self.batches).clone()
    }

    /// The tables that are left out.
    pub fn stopped_tables(&self) -> Vec<StoppedTableLive> {
        lock(&self.stopped).clone()
    }
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
}

impl Live {
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
