//! Opening a log: the lock, the identity, and recovery.
//!
//! Promises: at most one writer per directory, and whoever is refused learns which process holds it. What a crash left behind
//! the visible end (the fragments of a group that never finished) is removed before the first frame is appended. A file that is not a log, or a
//! log in another format, is not touched.
//!
//! Recovery trusts one fact: the tail record, which every commit writes together with what it describes. redb itself goes back
//! to its last complete commit.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableError, TableHandle,
};

use crate::append::Appender;
use crate::capacity::Limits;
use crate::commit::{Batch, LogState, StateBytes};
use crate::create;
use crate::cursor::CursorRecord;
use crate::error::{Error, storage};
use crate::file::LogFile;
use crate::guard::{Guarded, guard};
use crate::handle::Handle;
use crate::lsn::LogId;
use crate::tables::{self, BLOCKS, CURSORS, IDENTITY, LOG, PIECES, STATE, TAIL, Tail};
use crate::tail::{Published, Shared, Store};
use crate::writer;

/// The file with the log, in the directory of the log.
pub(crate) const LOG_FILE: &str = "log.redb";
/// The file that is locked by whoever has the log open.
const LOCK_FILE: &str = "lock";
/// redb's cache: half of it collects what a commit writes, the rest serves readers near the end of the log.
pub(crate) const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// How to open a log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most that the file may take on disk, in bytes; at least 16 MiB. The log is full when it holds three quarters of
    /// that, because the rest goes to fragmentation, and one group may take three eighths. A log opened with a lower limit than before keeps its file.
    pub max_size: u64,
    /// Memory for redb's cache, in bytes. Less makes commits of more than half of it slower.
    pub cache_bytes: usize,
}

impl Options {
    /// Options with this `max_size` and a cache of 16 MiB.
    pub fn new(max_size: u64) -> Self {
        Self { max_size, cache_bytes: CACHE_BYTES }
    }
}

pub(crate) fn open(directory: &Path, options: Options) -> Result<(Arc<Handle>, Appender), Error> {
    let limits = Limits::new(options.max_size)?;
    create_directory(directory).map_err(io("create", directory))?;
    let lock = take_lock(&directory.join(LOCK_FILE))?;
    let path = directory.join(LOG_FILE);
    if !path.try_exists().map_err(io("look for", &path))? {
        create::file(directory, &path)?;
    }
    let file = LogFile::open(&path, options.max_size)?;
    guard("open the log file", || {
        let database = builder(options.cache_bytes).create_with_backend(file).map_err(storage("open the log file"))?;
        let store = Store { database: Guarded::new(database), path: Some(path), read_only: false, _lock: Some(lock) };
        start(store, limits)
    })
}

/// Makes the directory of the log if it is missing, for its owner alone: the log holds rows. One that is there stays as it is.
fn create_directory(directory: &Path) -> std::io::Result<()> {
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder.recursive(true).create(directory)
}

pub(crate) fn open_with_backend(
    backend: impl StorageBackend,
    options: Options,
) -> Result<(Arc<Handle>, Appender), Error> {
    let limits = Limits::new(options.max_size)?;
    let database = builder(options.cache_bytes).create_with_backend(backend).map_err(storage("open the log file"))?;
    let store = Store { database: Guarded::new(database), path: None, read_only: false, _lock: None };
    start(store, limits)
}

pub(crate) fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(|repair| {
        tracing::info!(progress = repair.progress(), "checking the log after an unclean stop");
    });
    builder
}

/// Recovers the log and starts its writer thread.
fn start(store: Store, limits: Limits) -> Result<(Arc<Handle>, Appender), Error> {
    if is_new(&store.database)? {
        create::tables(&store.database)?;
    }
    let (id, mut log) = load(&store)?;
    discard_unfinished(&store.database, &mut log)?;
    let published = Published { tail: log.tail, cursors: log.cursors.clone(), ..Published::default() };
    let tail = log.tail;
    let shared = Arc::new(Shared::new(id, limits, store, published));
    let (sender, commands) = mpsc::channel();
    let for_writer = Arc::clone(&shared);
    let store = shared.store()?;
    let join = std::thread::Builder::new()
        .name("wal-writer".to_owned())
        .spawn(move || writer::run(&for_writer, store, log, &commands))
        .map_err(Error::Thread)?;
    let handle = Arc::new(Handle::new(shared, sender, join));
    let appender = Appender::new(Arc::clone(&handle), &tail);
    Ok((handle, appender))
}

/// Whether the database has no tables at all, as after its creation.
fn is_new(database: &Database) -> Result<bool, Error> {
    let transaction = database.begin_read().map_err(storage("begin reading the log"))?;
    let mut tables = transaction.list_tables().map_err(storage("list the tables"))?;
    match tables.next() {
        None => Ok(true),
        Some(first) => {
            let known = [BLOCKS.name(), PIECES.name(), LOG.name(), CURSORS.name(), STATE.name()];
            if known.contains(&first.name()) { Ok(false) } else { Err(Error::NotALog("it has other tables")) }
        }
    }
}

/// Reads identity, tail, cursors, and what the state takes.
pub(crate) fn load(store: &Store) -> Result<(LogId, LogState), Error> {
    load_from(&store.begin_read()?)
}

/// As [`load`], as of this transaction.
pub(crate) fn load_from(transaction: &ReadTransaction) -> Result<(LogId, LogState), Error> {
    let log = transaction.open_table(LOG).map_err(not_a_log)?;
    let identity =
        log.get(IDENTITY).map_err(storage("read the identity"))?.ok_or(Error::NotALog("it has no identity"))?;
    let id = tables::decode_identity(identity.value())?;
    let tail = log.get(TAIL).map_err(storage("read the tail"))?.ok_or(Error::NotALog("it has no tail"))?;
    let tail: Tail = tables::decode("log", TAIL, tail.value())?;
    let mut cursors = BTreeMap::new();
    let table = transaction.open_table(CURSORS).map_err(not_a_log)?;
    for entry in table.iter().map_err(storage("read the cursors"))? {
        let (name, record) = entry.map_err(storage("read a cursor"))?;
        let record: CursorRecord = tables::decode("cursors", name.value(), record.value())?;
        cursors.insert(name.value().to_owned(), record);
    }
    let mut state = StateBytes::default();
    let table = transaction.open_table(STATE).map_err(not_a_log)?;
    for entry in table.iter().map_err(storage("read the state"))? {
        let (key, value) = entry.map_err(storage("read the state"))?;
        state.add(key.value(), value.value());
    }
    Ok((id, LogState { tail, cursors, state }))
}

/// A table that is missing or has other types means another kind of file; anything else is a failure of storage.
pub(crate) fn not_a_log(error: TableError) -> Error {
    match error {
        TableError::Storage(_) => storage("open a table")(error),
        _ => Error::NotALog("a table is missing or of another kind"),
    }
}

/// Removes the blocks behind the visible end.
fn discard_unfinished(database: &Database, log: &mut LogState) -> Result<(), Error> {
    let transaction = database.begin_write().map_err(storage("begin recovery"))?;
    let end = log.tail.end;
    let mut batch = Batch::begin(&transaction, log)?;
    batch.abort(end)?;
    if batch.finish()? {
        transaction.commit().map_err(storage("commit recovery"))?;
        tracing::info!(after = %end, "removed an unfinished transaction from the log");
        Ok(())
    } else {
        transaction.abort().map_err(storage("end recovery"))
    }
}

fn take_lock(path: &Path) -> Result<File, Error> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked(path, file)),
        Err(TryLockError::Error(source)) => return Err(io("lock", path)(source)),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(io("write", path))?;
    Ok(file)
}

/// Takes the lock beside the log file of a stopped daemon, shared with other readers; `None` if there is no lock file, as beside a
/// copy.
pub(crate) fn take_reader_lock(directory: &Path) -> Result<Option<File>, Error> {
    let path = directory.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io("open", &path)(source)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(locked(&path, file)),
        Err(TryLockError::Error(source)) => Err(io("lock", &path)(source)),
    }
}

fn locked(path: &Path, mut file: File) -> Error {
    let mut holder = String::new();
    // The process id is a courtesy: a lock file that cannot be read is still locked.
    let pid = match file.read_to_string(&mut holder) {
        Ok(_) => holder.trim().parse().ok(),
        Err(_) => None,
    };
    Error::Locked { path: path.to_owned(), pid }
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::Io { action, path, source }
}
