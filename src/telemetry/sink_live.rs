//! The live state of one sink.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::{Errors, lock, now_micros};
use crate::dead::Letters;
use crate::error::ErrorClass;
use crate::model::{SchemaId, SinkRows, TableName};

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
    /// An operator has stopped its delivery, until one lets it continue.
    Paused,
    /// It lost its claim on a full log, and comes back by a reset.
    Detached,
    /// It is configured, and the log has no cursor of it yet: it has never run.
    NotStarted,
    /// The log has a cursor of it, and the configuration has no such sink.
    Unconfigured,
}

impl SinkPhase {
    /// Every phase.
    pub const ALL: [Self; 9] = [
        Self::Opening,
        Self::Running,
        Self::Retrying,
        Self::Stopped,
        Self::Failed,
        Self::Paused,
        Self::Detached,
        Self::NotStarted,
        Self::Unconfigured,
    ];

    /// The word used in `status`, metrics and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Detached => "detached",
            Self::NotStarted => "not_started",
            Self::Unconfigured => "unconfigured",
        }
    }
}

/// One sink's live state.
#[derive(Debug)]
pub struct SinkLive {
    /// Name of the sink and of its cursor.
    pub name: String,
    /// Type as the configuration spells it.
    pub kind: &'static str,
    inner: Mutex<SinkInner>,
    delivered: AtomicU64,
    applied: AtomicU64,
    applied_commit_micros: AtomicI64,
    /// When it was last opened or last applied something, microseconds since the epoch; 0: never.
    succeeded_micros: AtomicI64,
    errors: Errors,
    passed_over: AtomicU64,
    waiting: Mutex<Option<WaitingLive>>,
    tables: Mutex<BTreeMap<TableName, SinkTableLive>>,
    stopped: Mutex<Vec<StoppedTableLive>>,
    old_copies: Mutex<BTreeMap<TableName, Lsn>>,
    batches: Mutex<BTreeMap<TableName, BatchesLive>>,
    letters: OnceLock<Letters>,
}

/// What changes seldom about a sink.
#[derive(Clone, Debug)]
pub struct SinkInner {
    /// What it is doing.
    pub phase: SinkPhase,
    /// The error behind the phase.
    pub error: Option<String>,
    /// Since when it is doing that, microseconds since the epoch.
    pub since_micros: i64,
}

/// What sending the batches of one table took, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchesLive {
    /// Batches acknowledged.
    pub batches: u64,
    /// Rows sent in them.
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
    /// Where the read ended after which the sink has every row.
    pub whole_since: Option<Lsn>,
    /// A read that the sink has seen begin and not end, or a gap whose read it has not seen begin.
    pub is_reading: bool,
    /// Why it does not reach the sink, which is configured so.
    pub apart: Option<String>,
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
            inner: Mutex::new(SinkInner { phase: SinkPhase::Opening, error: None, since_micros: now_micros() }),
            delivered: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            applied_commit_micros: AtomicI64::new(0),
            succeeded_micros: AtomicI64::new(0),
            errors: Errors::default(),
            passed_over: AtomicU64::new(0),
            waiting: Mutex::new(None),
            tables: Mutex::new(BTreeMap::new()),
            stopped: Mutex::new(Vec::new()),
            old_copies: Mutex::default(),
            batches: Mutex::new(BTreeMap::new()),
            letters: OnceLock::new(),
        }
    }

    /// Its dead letters are shown from here on.
    pub fn show_letters(&self, letters: Letters) {
        self.letters.get_or_init(|| letters);
    }

    /// Its dead letters.
    pub fn letters(&self) -> Option<&Letters> {
        self.letters.get()
    }

    /// A change of phase, with the error behind it. An attempt to open the sink again is a part of retrying.
    pub fn phase(&self, phase: SinkPhase, error: Option<String>) {
        let mut inner = lock(&self.inner);
        if inner.phase == SinkPhase::Retrying && phase == SinkPhase::Opening {
            return;
        }
        if inner.phase != phase {
            inner.since_micros = now_micros();
        }
        inner.phase = phase;
        inner.error = error;
    }

    /// An operator has paused it then, and says why.
    pub fn paused(&self, since_micros: i64, why: String) {
        *lock(&self.inner) = SinkInner { phase: SinkPhase::Paused, error: Some(why), since_micros };
    }

    /// It has done what there was to do: what was tried again has succeeded.
    pub fn recovered(&self) {
        let mut inner = lock(&self.inner);
        if inner.phase != SinkPhase::Running {
            *inner = SinkInner { phase: SinkPhase::Running, error: None, since_micros: now_micros() };
        }
    }

    /// The phase and the error behind it.
    pub fn state(&self) -> (SinkPhase, Option<String>) {
        let SinkInner { phase, error, .. } = self.inner();
        (phase, error)
    }

    /// What changes seldom.
    pub fn inner(&self) -> SinkInner {
        lock(&self.inner).clone()
    }

    /// A round failed.
    pub fn failed(&self, class: ErrorClass) {
        self.errors.count(class);
    }

    /// Rounds that failed.
    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// The sink has taken everything up to here.
    pub fn delivered(&self, lsn: Lsn) {
        self.delivered.store(lsn.raw(), Ordering::Relaxed);
    }

    /// Everything up to here is durable at the target; with the commit time of the last transaction, microseconds
    /// since the epoch.
    pub fn applied(&self, lsn: Lsn, commit_micros: Option<i64>) {
        self.applied.store(lsn.raw(), Ordering::Relaxed);
        self.succeeded_micros.store(now_micros(), Ordering::Relaxed);
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

    /// When it was last opened or last applied something, microseconds since the epoch; 0: never.
    pub fn succeeded_micros(&self) -> i64 {
        self.succeeded_micros.load(Ordering::Relaxed)
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

    /// Sets what became of a table.
    pub fn table(&self, table: &TableName, shown: SinkTableLive) {
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

    /// Sets the tables from the log.
    pub fn load_tables(&self, tables: impl IntoIterator<Item = (TableName, SinkTableLive)>) {
        *lock(&self.tables) = tables.into_iter().collect();
    }

    /// Sets the tables that are left out.
    pub fn stopped(&self, tables: impl IntoIterator<Item = (TableName, Lsn, String)>) {
        let tables = tables.into_iter().map(|(table, since, reason)| StoppedTableLive { table, since, reason });
        *lock(&self.stopped) = tables.collect();
    }

    /// Sets the tables of which readers see an old copy, and since when that stands still.
    pub fn show_old_copies(&self, tables: impl IntoIterator<Item = (TableName, Lsn)>) {
        *lock(&self.old_copies) = tables.into_iter().collect();
    }

    /// The tables of which readers see an old copy, and since when that stands still.
    pub fn old_copies(&self) -> BTreeMap<TableName, Lsn> {
        lock(&self.old_copies).clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_is_tried_again_stays_retrying_until_it_has_done_what_there_was_to_do() {
        let sink = SinkLive::new("local", "sqlite");
        sink.phase(SinkPhase::Retrying, Some("disk full".into()));
        sink.phase(SinkPhase::Opening, None);
        assert_eq!(sink.state(), (SinkPhase::Retrying, Some("disk full".into())));
        sink.recovered();
        assert_eq!(sink.state(), (SinkPhase::Running, None));
        sink.phase(SinkPhase::Opening, None);
        assert_eq!(sink.state().0, SinkPhase::Opening, "after a stop, not after an error");
    }
}
