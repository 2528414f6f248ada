//! What the writer thread publishes and everybody reads: positions, cursors, numbers, and the first failure.
//!
//! Promises: what is published is durable; after a failure everything refuses with that failure as the cause. Readers
//! never wait for the writer. Does not decide anything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use redb::ReadableDatabase;
use tokio::sync::{Semaphore, watch};

use crate::capacity::Limits;
use crate::cursor::{CursorInfo, CursorRecord};
use crate::error::{Error, storage};
use crate::guard::Guarded;
use crate::lsn::{LogId, Lsn};
use crate::stats::{Stats, file_sizes};
use crate::tables::Tail;

/// Bytes that may be on the way to the writer thread. What it has taken over into redb's pages no longer counts, so
/// that the next batch comes together while one syncs; as a batch is what was in the queue, at most twice this is in
/// memory. More was measured to be slower, because it no longer stays in the processor's caches; half of it, because of
/// more commits.
pub(crate) const QUEUE_BYTES: u32 = 4 * 1024 * 1024;
/// Block buffers kept for reuse: those of a full queue.
const SPARE_BUFFERS: usize = 32;

/// Where the log begins and ends. `trimmed` < `first` <= `durable` + 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The first frame that the log holds, or the next one if it holds none.
    pub first: Lsn,
    /// The last frame of the last complete group that is durable. Readers see everything up to here and nothing beyond.
    pub durable: Lsn,
    /// The last frame that was trimmed: `first` - 1.
    pub trimmed: Lsn,
    /// Appends wait for the log to be trimmed.
    pub full: bool,
}

/// The open database and what keeps others out of it. The lock goes last.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) database: Guarded,
    /// The file, if the log is in one.
    pub(crate) path: Option<PathBuf>,
    /// Nobody writes the file, this process included.
    pub(crate) read_only: bool,
    pub(crate) _lock: Option<std::fs::File>,
}

impl Store {
    /// The length of the file and what it takes on disk; nothing if the log is not in a file.
    pub(crate) fn sizes(&self) -> Result<(u64, u64), Error> {
        self.path.as_deref().map_or(Ok((0, 0)), file_sizes)
    }

    pub(crate) fn begin_read(&self) -> Result<redb::ReadTransaction, Error> {
        self.database.begin_read().map_err(storage("begin reading the log"))
    }
}

/// The state shared by the writer thread and all handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: LogId,
    pub(crate) limits: Limits,
    /// Permits for bytes on the way to the writer.
    pub(crate) queue: Semaphore,
    store: Mutex<Option<Arc<Store>>>,
    positions: watch::Sender<Positions>,
    published: Mutex<Published>,
    poison: OnceLock<Arc<Error>>,
    /// Whether the writer has ended, well or not.
    down: watch::Sender<bool>,
    spare: Mutex<Vec<Vec<u8>>>,
}

/// The state of the log as of the last commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    pub(crate) tail: Tail,
    pub(crate) cursors: BTreeMap<String, CursorRecord>,
    pub(crate) full: bool,
    pub(crate) commits: u64,
}

impl Published {
    fn positions(&self) -> Positions {
        Positions { first: self.tail.first, durable: self.tail.end, trimmed: self.tail.first.prev(), full: self.full }
    }
}

/// A panic while one of these locks was held leaves nothing half done: each holds a plain value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(id: LogId, limits: Limits, store: Store, published: Published) -> Self {
        let queue = usize::try_from(QUEUE_BYTES).unwrap_or(usize::MAX);
        Self {
            id,
            limits,
            queue: Semaphore::new(queue),
            store: Mutex::new(Some(Arc::new(store))),
            positions: watch::Sender::new(published.positions()),
            published: Mutex::new(published),
            poison: OnceLock::new(),
            down: watch::Sender::new(false),
            spare: Mutex::new(Vec::new()),
        }
    }

    /// The failure that put the log out of service, if one did.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.poison.get() {
            Some(cause) => Err(Error::Poisoned(Arc::clone(cause))),
            None => Ok(()),
        }
    }

    /// Puts the log out of service. The first cause stays.
    pub(crate) fn poison(&self, cause: Error) {
        let cause = self.poison.get_or_init(|| {
            tracing::error!(error = %cause, "the log is out of service");
            Arc::new(cause)
        });
        debug_assert!(Arc::strong_count(cause) > 0);
        self.queue.close();
    }

    /// Why a command was dropped: as [`Shared::gone`], once the writer has ended.
    pub(crate) async fn dropped(&self) -> Error {
        let mut down = self.down.subscribe();
        // An error would say that the sender is gone, but `self` holds it.
        let ended = down.wait_for(|down| *down).await.is_ok();
        debug_assert!(ended);
        self.gone()
    }

    /// Why the writer does not take commands: it failed, or the log was shut down.
    pub(crate) fn gone(&self) -> Error {
        self.check().err().unwrap_or(Error::Closed)
    }

    pub(crate) fn store(&self) -> Result<Arc<Store>, Error> {
        self.check()?;
        lock(&self.store).clone().ok_or(Error::Closed)
    }

    /// Lets go of the database: it closes when the last reader is done with it.
    pub(crate) fn close_store(&self) {
        self.queue.close();
        let store = lock(&self.store).take();
        drop(store);
        self.down.send_replace(true);
    }

    pub(crate) fn publish(&self, published: Published) {
        let positions = published.positions();
        *lock(&self.published) = published;
        self.positions.send_if_modified(|current| {
            let changed = *current != positions;
            *current = positions;
            changed
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Positions> {
        self.positions.subscribe()
    }

    pub(crate) fn positions(&self) -> Positions {
        *self.positions.borrow()
    }

    pub(crate) fn cursors(&self) -> Vec<CursorInfo> {
        let published = lock(&self.published);
        published.cursors.iter().map(|(name, cursor)| cursor.info(name, &published.tail)).collect()
    }

    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let store = lock(&self.store).clone();
        let (file_bytes, disk_bytes) = store.map_or(Ok((0, 0)), |store| store.sizes())?;
        let published = lock(&self.published);
        Ok(Stats {
            first_lsn: published.tail.first,
            durable_lsn: published.tail.end,
            appended_bytes: published.tail.bytes,
            appended_groups: published.tail.groups,
            live_bytes: published.tail.live_bytes,
            capacity_bytes: self.limits.capacity,
            max_bytes: self.limits.max_size,
            disk_bytes,
            file_bytes,
            full: published.full,
            commits: published.commits,
        })
    }

    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_default()
    }

    pub(crate) fn give_buffer(&self, buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        // A buffer that held an oversize block would keep its memory for ever.
        if spare.len() < SPARE_BUFFERS && buffer.capacity() <= 2 * crate::record::BLOCK_BYTES {
            spare.push(buffer);
        }
    }
}
