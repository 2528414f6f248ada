//! Numbers about a log, for status and metrics.
//!
//! Promises: a snapshot as of the last commit; the sizes of the file are taken when asked. Does not measure rates.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::Error;
use crate::lsn::Lsn;

/// Bytes of a block of `stat(2)`, whatever the file system uses.
pub(crate) const STAT_BLOCK: u64 = 512;

/// Numbers about a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The first frame that the log holds, or the next one if it holds none.
    pub first_lsn: Lsn,
    /// The last frame of the last complete, durable group.
    pub durable_lsn: Lsn,
    /// Frame bytes appended and durable since the log was created.
    pub appended_bytes: u64,
    /// Groups appended and durable since the log was created.
    pub appended_groups: u64,
    /// What the blocks take, rounded up as redb stores them, those of an unfinished group included. At most `capacity`.
    pub live_bytes: u64,
    /// What `live_bytes` may become before the log is full. Less than `max_bytes`.
    pub capacity_bytes: u64,
    /// `max_size` of the options; 0 for a log that is open for reading only.
    pub max_bytes: u64,
    /// What the file takes on disk; 0 if the log is not in a file. At most `max_bytes`, and at most
    /// [`most_on_disk`](crate::most_on_disk) of the largest `live_bytes` that there was.
    pub disk_bytes: u64,
    /// The length of the file, holes included.
    pub file_bytes: u64,
    /// Appends wait for the log to be trimmed.
    pub full: bool,
    /// Commits since the log was opened.
    pub commits: u64,
}

impl Stats {
    /// Whether the log holds more than half of what it can.
    pub const fn is_more_than_half_full(&self) -> bool {
        self.full || self.live_bytes > self.capacity_bytes / 2
    }
}

/// The length of the file at `path` and what it takes on disk.
pub(crate) fn file_sizes(path: &Path) -> Result<(u64, u64), Error> {
    let metadata =
        path.metadata().map_err(|source| Error::Io { action: "read the size of", path: path.to_owned(), source })?;
    Ok((metadata.len(), metadata.blocks().saturating_mul(STAT_BLOCK)))
}
