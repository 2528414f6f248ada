//! The dead letters of all sinks together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytesize::ByteSize;
use wal::Wal;

use super::letters::Letters;

/// No letter more fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dead letters of all sinks take {}, which is all that they may have ({} by `dead_letters.max_bytes`, and at most a quarter of `wal.max_size`)", ByteSize::b(*.bytes), ByteSize::b(*.most))]
pub struct Full {
    /// What they take.
    pub bytes: u64,
    /// What they may take.
    pub most: u64,
}

/// What is to be done about [`Full`].
pub(crate) const MAKE_ROOM: &str =
    "see `replicator dlq list`; retry or discard some of them, or set a larger `dead_letters.max_bytes`";

/// The letters of all sinks, and the bytes that they may have.
#[derive(Debug)]
pub struct Hub {
    wal: Option<Wal>,
    most: AtomicU64,
    sinks: Mutex<Sinks>,
}

#[derive(Debug, Default)]
struct Sinks {
    letters: BTreeMap<String, Letters>,
    bytes: BTreeMap<String, u64>,
}

impl Hub {
    /// Of a log, whose letters may take so many bytes.
    pub fn new(wal: Wal, most: u64) -> Arc<Self> {
        let hub = Self { wal: Some(wal), most: AtomicU64::default(), sinks: Mutex::default() };
        hub.limit(most);
        Arc::new(hub)
    }

    /// Without a log: letters are gone with the process.
    pub(crate) fn in_memory(most: u64) -> Arc<Self> {
        Arc::new(Self { wal: None, most: AtomicU64::new(most), sinks: Mutex::default() })
    }

    /// From here on they may take so many bytes.
    pub fn limit(&self, most: u64) {
        // Letters are not trimmed: a log that is full of them would never take anything more.
        let quarter = self.wal.as_ref().and_then(|wal| wal.stats().ok()).map_or(u64::MAX, |stats| stats.max_bytes / 4);
        self.most.store(most.min(quarter), Ordering::Relaxed);
    }

    /// The letters of a sink.
    pub fn of(self: &Arc<Self>, sink: &str) -> Letters {
        let mut sinks = self.lock();
        let made = || Letters::new(Arc::clone(self), sink);
        sinks.letters.entry(sink.to_owned()).or_insert_with(made).clone()
    }

    /// Takes so many bytes for a sink, if there is room.
    pub(super) fn take(&self, sink: &str, bytes: u64) -> Result<(), Full> {
        let mut sinks = self.lock();
        let all: u64 = sinks.bytes.values().sum();
        let most = self.most.load(Ordering::Relaxed);
        if all.saturating_add(bytes) > most {
            return Err(Full { bytes: all, most });
        }
        *sinks.bytes.entry(sink.to_owned()).or_default() += bytes;
        Ok(())
    }

    /// The letters of a sink take so many bytes.
    pub(super) fn set(&self, sink: &str, bytes: u64) {
        self.lock().bytes.insert(sink.to_owned(), bytes);
    }

    pub(super) fn wal(&self) -> Option<&Wal> {
        self.wal.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
