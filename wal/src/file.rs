//! The log's file as redb sees it, with room on disk reserved ahead of what it writes.
//!
//! Promises: what redb asks for is what the file gets. Pages written where the file system has reserved blocks already
//! cost it less work than pages whose blocks it has to find one by one (about a seventh of the CPU time of filling a
//! log, on ext4). It is reserved in steps of [`STEP`] and lies within the length of the file, so that what the file
//! takes on disk is never more than its length ([`capacity`](crate::capacity) says what follows). None is reserved in
//! the upper half of `max_size`, so that the log keeps its limit. Where the file system cannot reserve, nothing is
//! reserved and nothing else changes.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::{FallocateFlags, fallocate};

use crate::error::{Error, storage};
use crate::open::io as failed;
use crate::stats::STAT_BLOCK;

/// How far ahead room is reserved.
const STEP: u64 = 8 * 1024 * 1024;

/// redb's file, and where the next room is to be reserved.
#[derive(Debug)]
pub(crate) struct LogFile {
    backend: FileBackend,
    file: File,
    ahead: Mutex<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    /// What lies below is reserved or was written. At most `length`.
    end: u64,
    /// The length of the file, which only [`LogFile::set_len`] changes.
    length: u64,
    /// Nothing is reserved beyond.
    most: u64,
}

impl LogFile {
    /// Opens the file of a log that may take `max_size` on disk.
    pub(crate) fn open(path: &Path, max_size: u64) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
        let metadata = file.metadata().map_err(failed("read the size of", path))?;
        let length = metadata.len();
        if length == 0 {
            // redb would begin a new database in it.
            return Err(failed("open", path)(io::Error::new(io::ErrorKind::InvalidData, "the file is empty")));
        }
        // redb fills a file from its beginning, and pages are not given back to the file system.
        let end = metadata.blocks().saturating_mul(STAT_BLOCK).min(length);
        let handle = file.try_clone().map_err(failed("open", path))?;
        let backend = FileBackend::new(file).map_err(storage("open the log file"))?;
        Ok(Self { backend, file: handle, ahead: Mutex::new(Ahead { end, length, most: max_size / 2 }) })
    }

    /// Reserves the next room when a write of `length` bytes at `offset` goes beyond what there is. A write far ahead,
    /// as redb makes at the end of the file, moves nothing.
    fn reserve(&self, offset: u64, length: u64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let write_end = offset.saturating_add(length);
        if write_end <= ahead.end || offset > ahead.end.saturating_add(STEP) {
            return;
        }
        let from = offset.max(ahead.end);
        if write_end.saturating_add(STEP) > ahead.most {
            return;
        }
        let end = write_end.saturating_add(STEP).min(ahead.length);
        let step = end.saturating_sub(from);
        if step == 0 {
            return;
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, step) {
            Ok(()) => ahead.end = end,
            Err(error) => {
                // The write says whether the disk is full.
                tracing::debug!(%error, "no room is reserved ahead in the log's file");
                ahead.most = 0;
            }
        }
    }
}

impl StorageBackend for LogFile {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // Truncation gives up what is reserved beyond the new end.
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.end = ahead.end.min(len);
        ahead.length = len;
        drop(ahead);
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.reserve(offset, u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn on_disk(path: &Path) -> u64 {
        path.metadata().unwrap().blocks() * STAT_BLOCK
    }

    /// A file of 1 GiB, all of it a hole.
    fn sparse(directory: &Path, max_size: u64) -> (LogFile, std::path::PathBuf) {
        let path = directory.join("log");
        File::create(&path).unwrap().set_len(1024 * MIB).unwrap();
        (LogFile::open(&path, max_size).unwrap(), path)
    }

    #[test]
    fn room_is_reserved_ahead_of_writes_that_follow_each_other_and_the_length_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (file, path) = sparse(directory.path(), 1024 * MIB);
        // redb's own at the end of the file.
        file.write(1000 * MIB, &[1; 4096]).unwrap();
        assert!(on_disk(&path) < MIB, "{}", on_disk(&path));
        file.write(0, &[1; 4096]).unwrap();
        file.sync_data().unwrap();
        let reserved = on_disk(&path);
        assert!((STEP..STEP + MIB).contains(&reserved), "{reserved}");
        file.write(4096, &[2; 4096]).unwrap();
        file.sync_data().unwrap();
        assert!(on_disk(&path) <= reserved + 4096);
        assert_eq!(file.len().unwrap(), 1024 * MIB);
        // A commit that gives back the end of the file gives back what is reserved there.
        file.set_len(4 * MIB).unwrap();
        assert!(on_disk(&path) <= 4 * MIB, "{}", on_disk(&path));
        let mut read = [9; 8192 + 1];
        file.read(0, &mut read).unwrap();
        assert_eq!((read[4095], read[4096], read[8192]), (1, 2, 0));
    }

    #[test]
    fn nothing_is_reserved_beyond_the_length_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (file, path) = sparse(directory.path(), 1024 * MIB);
        for length in [MIB, 2 * MIB, 4 * MIB, 20 * MIB] {
            file.set_len(length).unwrap();
            for at in [length / 2, length - 4096] {
                file.write(at, &[1; 4096]).unwrap();
                file.sync_data().unwrap();
                assert!(on_disk(&path) <= length, "{} of {length}", on_disk(&path));
            }
        }
    }

    #[test]
    fn nothing_is_reserved_in_the_upper_half_of_max_size() {
        let directory = tempfile::tempdir().unwrap();
        let (file, path) = sparse(directory.path(), 32 * MIB);
        for written in 0..32 {
            file.write(written * MIB, &vec![1; 1 << 20]).unwrap();
            file.sync_data().unwrap();
            let most = (16 * MIB).max((written + 1) * MIB);
            assert!(on_disk(&path) <= most + MIB / 16, "{} after {written} MiB", on_disk(&path));
        }
    }

    #[test]
    fn an_empty_file_is_no_log_to_begin() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        File::create(&path).unwrap();
        let error = LogFile::open(&path, 32 * MIB).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.to_string() == "the file is empty"), "{error}");
    }
}
