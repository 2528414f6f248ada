//! Making a new log.
//!
//! The file is made under another name, synced once when it is whole, and then renamed: the loss of power leaves a log or none. So
//! nothing in between needs a sync of its own, of which redb makes a dozen.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use crate::error::{Error, storage};
use crate::lsn::LogId;
use crate::open::{CACHE_BYTES, builder, io as failed};
use crate::tables::{self, BLOCKS, CURSORS, IDENTITY, LOG, STATE, TAIL, Tail};

/// The file with a log that is being made.
const UNFINISHED_FILE: &str = "log.redb.new";

/// Makes the file at `path` in `directory`. What an earlier attempt left under the other name is not a log yet.
pub(crate) fn file(directory: &Path, path: &Path) -> Result<(), Error> {
    let unfinished = directory.join(UNFINISHED_FILE);
    match std::fs::remove_file(&unfinished) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &unfinished)(source)),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&unfinished)
        .map_err(failed("create", &unfinished))?;
    let whole = file.try_clone().map_err(failed("open", &unfinished))?;
    let backend = Unsynced(FileBackend::new(file).map_err(storage("create the log file"))?);
    let database = builder(CACHE_BYTES).create_with_backend(backend).map_err(storage("create the log file"))?;
    tables(&database)?;
    drop(database);
    whole.sync_all().map_err(failed("sync", &unfinished))?;
    std::fs::rename(&unfinished, path).map_err(failed("rename", &unfinished))?;
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(directory).map_err(failed("sync", directory))?;
    // The directory may be new as well.
    match directory.canonicalize().map_err(failed("find", directory))?.parent() {
        Some(parent) => sync(parent).map_err(failed("sync", parent)),
        None => Ok(()),
    }
}

/// Makes the tables and the identity of a new log, in one transaction.
pub(crate) fn tables(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write().map_err(storage("create the log"))?;
    {
        let mut log = transaction.open_table(LOG).map_err(storage("create the log"))?;
        let identity = tables::encode_identity(LogId::random());
        log.insert(IDENTITY, identity.as_slice()).map_err(storage("create the log"))?;
        let tail = tables::encode("log", TAIL, &Tail::of_a_new_log())?;
        log.insert(TAIL, tail.as_slice()).map_err(storage("create the log"))?;
        transaction.open_table(BLOCKS).map_err(storage("create the log"))?;
        transaction.open_table(CURSORS).map_err(storage("create the log"))?;
        transaction.open_table(STATE).map_err(storage("create the log"))?;
    }
    transaction.commit().map_err(storage("create the log"))
}

/// A file that is synced by somebody else.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
