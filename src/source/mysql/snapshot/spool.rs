//! Rows that wait on disk: the copy of a table that was read whole, and what the stream says of the table meanwhile.
//!
//! The files are in `<wal.path>/spool`. A file has no name once it is open, so that it goes with the process, however that ends; what a
//! crash leaves between the two is removed at the next start. All of them together take at most `source.spool_max`.
//!
//! Rows gather in memory before they are written; writing and reading is done beside the tasks.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::handoff::Images;
use crate::config::show_size;
use crate::error::Failure;
use crate::model::TableName;

/// Bytes that are written or read at once: enough to cost little, few enough to be nothing in memory.
const BLOCK: usize = 1 << 20;
/// Bytes before the images of a piece: how many rows, and how many bytes.
const PIECE_HEADER: usize = 12;

/// The room for rows that wait.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// The most that all files take.
    limit: u64,
    used: AtomicU64,
    /// Numbers the files.
    files: AtomicU64,
}

impl Spool {
    /// The spool of the log in this directory, empty.
    ///
    /// # Errors
    /// When its directory cannot be made or emptied.
    pub fn open(wal: &Path, limit: u64) -> Result<Arc<Self>, Failure> {
        let directory = wal.join("spool");
        let emptied = fs::create_dir_all(&directory).and_then(|()| {
            for entry in fs::read_dir(&directory)? {
                fs::remove_file(entry?.path())?;
            }
            Ok(())
        });
        emptied.map_err(|error| {
            Failure::fatal(format!("cannot empty the spool in '{}'", directory.display())).caused_by(error)
        })?;
        Ok(Arc::new(Self { directory, limit, used: AtomicU64::new(0), files: AtomicU64::new(0) }))
    }

    /// A new file for rows of a table.
    ///
    /// # Errors
    /// Names the table and the disk's error.
    pub fn file(self: &Arc<Self>, table: &TableName) -> Result<SpoolFile, Failure> {
        let path = self.directory.join(self.files.fetch_add(1, Ordering::Relaxed).to_string());
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = opened.and_then(|file| fs::remove_file(&path).map(|()| file));
        let file = file.map_err(|error| on_disk(table, error))?;
        Ok(SpoolFile {
            table: table.clone(),
            spool: Arc::clone(self),
            file: Arc::new(file),
            taken: 0,
            written: 0,
            buffer: Vec::new(),
        })
    }
}

/// A file of rows that wait. Its room is free again when it is dropped.
#[derive(Debug)]
pub struct SpoolFile {
    table: TableName,
    spool: Arc<Spool>,
    file: Arc<File>,
    /// Its share of what is used.
    taken: u64,
    /// Bytes in the file; those in the buffer come after them.
    written: u64,
    buffer: Vec<u8>,
}

impl SpoolFile {
    /// How long it is.
    pub fn len(&self) -> u64 {
        self.written + as_u64(self.buffer.len())
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so many bytes more fit into the spool.
    ///
    /// # Errors
    /// Names the table and the limit, if they do not.
    pub fn require_room(&self, bytes: u64) -> Result<(), Failure> {
        if self.spool.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.spool.limit {
            return Ok(());
        }
        let limit = show_size(self.spool.limit);
        Err(Failure::fatal(format!(
            "table \"{}\" is read whole, and what has to wait for that does not fit into source.spool_max, {limit}",
            self.table
        ))
        .hint("set source.spool_max to more, give the table a primary key, or leave it out with source.exclude"))
    }

    /// Whether it is longer by itself than everything may be.
    pub fn is_beyond_limit(&self) -> bool {
        self.taken > self.spool.limit
    }

    /// Adds bytes, whatever the limit is.
    ///
    /// # Errors
    /// Names the table and the disk's error.
    pub async fn append(&mut self, parts: &[&[u8]]) -> Result<(), Failure> {
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        let bytes = parts.iter().map(|part| as_u64(part.len())).sum();
        self.spool.used.fetch_add(bytes, Ordering::Relaxed);
        self.taken += bytes;
        if self.buffer.len() >= BLOCK { self.flush().await } else { Ok(()) }
    }

    /// Writes what has gathered.
    ///
    /// # Errors
    /// As [`SpoolFile::append`].
    pub async fn flush(&mut self) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (buffer, at) = (std::mem::take(&mut self.buffer), self.written);
        let mut buffer = self
            .beside(move |file| {
                file.write_all_at(&buffer, at)?;
                Ok(buffer)
            })
            .await?;
        self.written += as_u64(buffer.len());
        buffer.clear();
        // One huge row must not keep its memory.
        buffer.shrink_to(2 * BLOCK);
        self.buffer = buffer;
        Ok(())
    }

    /// Writes over bytes that are there.
    ///
    /// # Errors
    /// As [`SpoolFile::append`].
    pub async fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), Failure> {
        if at < self.written {
            self.flush().await?;
            let bytes = bytes.to_vec();
            return self.beside(move |file| file.write_all_at(&bytes, at)).await;
        }
        let start = usize::try_from(at - self.written).unwrap_or(usize::MAX);
        let place = start.checked_add(bytes.len()).and_then(|end| self.buffer.get_mut(start..end));
        match place {
            Some(place) => place.copy_from_slice(bytes),
            None => return Err(self.short()),
        }
        Ok(())
    }

    /// Cuts off everything from a place on.
    ///
    /// # Errors
    /// As [`SpoolFile::append`].
    pub async fn truncate(&mut self, len: u64) -> Result<(), Failure> {
        let gone = self.len().saturating_sub(len);
        if len < self.written {
            self.buffer.clear();
            self.written = len;
            self.beside(move |file| file.set_len(len)).await?;
        } else {
            self.buffer.truncate(usize::try_from(len - self.written).unwrap_or(usize::MAX));
        }
        self.taken -= gone;
        self.spool.used.fetch_sub(gone, Ordering::Relaxed);
        Ok(())
    }

    async fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, Failure> {
        self.beside(move |file| {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        })
        .await
    }

    /// Does I/O on a thread that may block.
    async fn beside<T: Send + 'static>(
        &self,
        io: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || io(&file)).await;
        let done = done.map_err(|error| {
            Failure::fatal(format!("the spool of table \"{}\" ended by a fault of its own", self.table))
                .caused_by(error)
        })?;
        done.map_err(|error| on_disk(&self.table, error))
    }

    fn short(&self) -> Failure {
        Failure::fatal(format!("the spool of table \"{}\" is shorter than what was written to it", self.table))
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.spool.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

fn on_disk(table: &TableName, error: io::Error) -> Failure {
    Failure::fatal(format!("rows of table \"{table}\" cannot wait on the disk of wal.path while it is read whole"))
        .caused_by(error)
        .hint("see that the disk has room; source.spool_max is the most that waits there")
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A place in a file that is read forward.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The place of the next byte.
    at: u64,
    /// Bytes that were read, of which `used` are behind the place.
    block: Vec<u8>,
    used: usize,
}

impl Cursor {
    /// Where it is.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes; nothing from `end` on is read.
    ///
    /// # Errors
    /// When the file is shorter, or cannot be read.
    pub async fn take(&mut self, file: &mut SpoolFile, len: usize, end: u64) -> Result<&[u8], Failure> {
        if self.block.len() - self.used < len {
            let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            if left < len {
                return Err(file.short());
            }
            file.flush().await?;
            self.block = file.read(self.at, left.min(len.max(BLOCK))).await?;
            self.used = 0;
        }
        let start = self.used;
        self.used += len;
        self.at += as_u64(len);
        self.block.get(start..self.used).ok_or_else(|| file.short())
    }
}

/// The copy of a table, piece by piece.
#[derive(Debug)]
pub struct WholeCopy {
    file: SpoolFile,
    cursor: Cursor,
    rows: u64,
}

impl WholeCopy {
    /// An empty copy.
    ///
    /// # Errors
    /// As [`Spool::file`].
    pub fn new(spool: &Arc<Spool>, table: &TableName) -> Result<Self, Failure> {
        Ok(Self { file: spool.file(table)?, cursor: Cursor::default(), rows: 0 })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// Names the table, and the limit that is reached or the disk's error.
    pub async fn push(&mut self, images: &Images) -> Result<(), Failure> {
        let bytes = as_u64(images.bytes.len());
        self.file.require_room(bytes)?;
        self.rows += u64::from(images.rows);
        self.file.append(&[&images.rows.to_le_bytes(), &bytes.to_le_bytes(), &images.bytes]).await
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next piece, and `None` after the last one.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub async fn next(&mut self) -> Result<Option<Images>, Failure> {
        let end = self.file.len();
        if self.cursor.at() == end {
            return Ok(None);
        }
        let header = self.cursor.take(&mut self.file, PIECE_HEADER, end).await?;
        let (rows, bytes) = header.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let rows = u32::from_le_bytes(*rows);
        let bytes = bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let bytes = self.cursor.take(&mut self.file, bytes, end).await?.to_vec();
        Ok(Some(Images { bytes, rows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(bytes: usize) -> Images {
        Images { bytes: vec![7; bytes], rows: 1 }
    }

    #[tokio::test]
    async fn a_copy_comes_back_as_it_was_written_and_its_room_is_free_again() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), 8 << 20).unwrap();
        let mut copy = WholeCopy::new(&spool, &TableName::new("d", "t")).unwrap();
        for bytes in [1, 5, BLOCK + 3, 100] {
            copy.push(&images(bytes)).await.unwrap();
        }
        let mut sizes = Vec::new();
        while let Some(piece) = copy.next().await.unwrap() {
            assert!(piece.rows == 1 && piece.bytes.iter().all(|byte| *byte == 7));
            sizes.push(piece.bytes.len());
        }
        assert_eq!(sizes, [1, 5, BLOCK + 3, 100]);
        assert_eq!(copy.rows(), 4);
        assert!(spool.used.load(Ordering::Relaxed) > 0);
        drop(copy);
        assert_eq!(spool.used.load(Ordering::Relaxed), 0);
        assert_eq!(fs::read_dir(directory.path().join("spool")).unwrap().count(), 0, "a file in use has no name");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), 1 << 20).unwrap();
        let mut copy = WholeCopy::new(&spool, &TableName::new("d", "t")).unwrap();
        copy.push(&images(1 << 19)).await.unwrap();
        let refused = copy.push(&images(1 << 20)).await.unwrap_err().chain();
        assert!(refused.contains("d.t") && refused.contains("source.spool_max, 1MiB"), "{refused}");
    }

    #[tokio::test]
    async fn a_file_is_cut_back_and_patched_wherever_its_end_is() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), 8 << 20).unwrap();
        for flushed in [false, true] {
            let mut file = spool.file(&TableName::new("d", "t")).unwrap();
            file.append(&[b"abcdef"]).await.unwrap();
            if flushed {
                file.flush().await.unwrap();
            }
            file.append(&[b"ghi"]).await.unwrap();
            file.patch(1, b"XY").await.unwrap();
            file.truncate(4).await.unwrap();
            file.append(&[b"z"]).await.unwrap();
            let mut cursor = Cursor::default();
            assert_eq!(cursor.take(&mut file, 5, 5).await.unwrap(), b"aXYdz", "{flushed}");
            assert!(cursor.take(&mut file, 1, 5).await.is_err());
        }
    }

    #[test]
    fn what_a_crash_has_left_is_removed_at_a_start() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("spool")).unwrap();
        fs::write(directory.path().join("spool/3"), "rows").unwrap();
        Spool::open(directory.path(), 1).unwrap();
        assert_eq!(fs::read_dir(directory.path().join("spool")).unwrap().count(), 0);
    }
}
