//! The live state of the source.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::live::{now_micros, seconds_between};
use super::{Errors, lock};
use crate::error::ErrorClass;
use crate::model::TableName;

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
    /// Lost the server, trying again.
    Reconnecting,
    /// Stopped on request, or done.
    Stopped,
    /// Stopped by an error.
    Failed,
}

impl SourcePhase {
    /// Every phase.
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::Streaming, Self::LogFull, Self::Reconnecting, Self::Stopped, Self::Failed];

    /// The word used in `status`, metrics and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::LogFull => "log_full",
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
    errors: Errors,
    events: AtomicU64,
    filtered_events: AtomicU64,
    reconnects: AtomicU64,
    asking: Mutex<Asking>,
    /// Names of two-phase transactions that reads wait for.
    waits_for: Mutex<Vec<String>>,
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
    /// Since when it is doing that, microseconds since the epoch.
    pub since_micros: i64,
}

impl Default for SourceLive {
    fn default() -> Self {
        let inner = SourceInner {
            phase: SourcePhase::Connecting,
            server: String::new(),
            error: None,
            since_micros: now_micros(),
        };
        Self {
            inner: Mutex::new(inner),
            errors: Errors::default(),
            events: AtomicU64::new(0),
            filtered_events: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            asking: Mutex::new(Asking::default()),
            waits_for: Mutex::new(Vec::new()),
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

    /// The two-phase transactions that reads wait for.
    pub fn waits_for(&self, names: Vec<String>) {
        *lock(&self.waits_for) = names;
    }

    /// Their names.
    pub fn waited_for(&self) -> Vec<String> {
        lock(&self.waits_for).clone()
    }

    /// A change of phase, with the error behind it. A failed attempt to connect and the final failure count as errors.
    pub fn phase(&self, phase: SourcePhase, error: Option<String>) {
        let mut inner = lock(&self.inner);
        let is_new = inner.phase != phase;
        if error.is_some() && phase == SourcePhase::Connecting {
            self.errors.count(ErrorClass::Retry);
        } else if is_new && phase == SourcePhase::Failed {
            self.errors.count(ErrorClass::Fatal);
        }
        if is_new {
            inner.since_micros = now_micros();
        }
        inner.phase = phase;
        inner.error = error;
    }

    /// Errors so far.
    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// Which server it is.
    pub fn server(&self, server: String) {
        lock(&self.inner).server = server;
    }

    /// The connection was lost, or could not be made again.
    pub fn reconnected(&self) {
        self.errors.count(ErrorClass::Retry);
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

    /// When the source last sent anything, heartbeats included, microseconds since the epoch; 0: never.
    pub fn heard_micros(&self) -> i64 {
        self.heard_micros.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_counts_once_however_often_it_is_shown() {
        let source = SourceLive::default();
        source.phase(SourcePhase::Connecting, None);
        source.phase(SourcePhase::Connecting, Some("refused".into()));
        source.phase(SourcePhase::Streaming, None);
        source.reconnected();
        source.phase(SourcePhase::Reconnecting, Some("lost".into()));
        source.phase(SourcePhase::LogFull, None);
        source.phase(SourcePhase::Reconnecting, Some("lost".into()));
        source.phase(SourcePhase::Failed, Some("denied".into()));
        source.phase(SourcePhase::Failed, Some("denied".into()));
        let counts = source.errors().counts();
        assert_eq!(counts, [(ErrorClass::Retry, 2), (ErrorClass::Row, 0), (ErrorClass::Fatal, 1)]);
    }
}
