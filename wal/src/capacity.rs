//! How much a log may hold so that its file takes at most `max_size` on disk, and what it takes below that.
//!
//! # What the file takes on disk
//! - At most `max_size`.
//! - At most its length, and what the file system takes to find its blocks: nothing is reserved beyond it
//!   ([`file`](crate::file)), so the reserve is a part of it.
//! - At most twice the sum of what the log held at its fullest and 4 MiB ([`HEADROOM`]): [`most_on_disk`]. What went
//!   through it does not count.
//!
//! A frame that is larger than a block lies in [`pieces`](crate::pieces), so that it needs no larger free run of pages
//! than a block does.
//!
//! The third follows from what redb does. It doubles a file, from 4 GiB on adds 4 GiB, when it finds no free run of
//! pages for a block, and every commit that finds half of the file free at its end gives half of that back. Where the
//! runs of the longer file lie, it may prefer them to those it has used before, so that the whole file is written once.
//!
//! # When a log is full
//! At three quarters of `max_size`; and when the file nears `max_size` all the same, already at three eighths, where it
//! finds free pages for a block in the file it has. A single group may take three eighths as well, so that a log which
//! holds nothing else always has room for it.

use crate::error::Error;

const MIB: u64 = 1024 * 1024;
/// Room for pages that are in use and hold no block: tree pages, state, and what the last commits trimmed.
const HEADROOM: u64 = 4 * MIB;
/// The least `max_size`: with less, [`HEADROOM`] and the smallest file weigh more than the log.
pub(crate) const MIN_MAX_SIZE: u64 = 16 * MIB;

/// What the file takes on disk at most if the log held `held` stored bytes at its fullest, as [`Stats::live_bytes`]
/// counts them. `max_size` may allow less.
///
/// [`Stats::live_bytes`]: crate::Stats::live_bytes
#[must_use]
pub const fn most_on_disk(held: u64) -> u64 {
    held.saturating_add(HEADROOM).saturating_mul(2)
}

/// What `max_size` allows, in stored bytes of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `max_size` itself.
    pub(crate) max_size: u64,
    /// What the log may hold while the file is well below `max_size`.
    pub(crate) capacity: u64,
    /// What one group may take, and what the log may hold when the file is near `max_size`. Less than `capacity`.
    pub(crate) group: u64,
}

impl Limits {
    pub(crate) fn new(max_size: u64) -> Result<Self, Error> {
        if max_size < MIN_MAX_SIZE {
            return Err(Error::MaxSizeTooSmall { given: max_size, least: MIN_MAX_SIZE });
        }
        Ok(Self { max_size, capacity: max_size / 4 * 3, group: max_size / 8 * 3 })
    }

    /// Those of a log that is only read.
    pub(crate) fn none() -> Self {
        Self { max_size: 0, capacity: 0, group: 0 }
    }

    /// Whether a log that holds `live` bytes, in a file that takes `disk` bytes, has room for `more`. `state`: bytes of large values of
    /// the state, those to come included. They keep no group from an otherwise empty log: who stores such values sees to it that they
    /// stay below a sixteenth of `max_size`.
    pub(crate) fn fits(&self, live: u64, disk: u64, more: u64, state: u64) -> bool {
        let then = live.saturating_add(more);
        let file_has_room = disk.saturating_add(more).saturating_add(HEADROOM) <= self.max_size;
        then <= self.group || (then.saturating_add(state) <= self.capacity && file_has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_max_size_without_room_is_refused_by_name() {
        let error = Limits::new(MIN_MAX_SIZE - 1).unwrap_err();
        assert_eq!(error.to_string(), "wal.max_size is 16777215 bytes, the least is 16777216");
    }

    #[test]
    fn a_log_is_full_earlier_when_its_file_is_large() {
        let limits = Limits::new(64 * MIB).unwrap();
        assert!(limits.fits(40 * MIB, 41 * MIB, 8 * MIB, 0));
        assert!(!limits.fits(40 * MIB, 41 * MIB, 9 * MIB, 0));
        assert!(!limits.fits(40 * MIB, 60 * MIB, MIB, 0));
        assert!(limits.fits(20 * MIB, 64 * MIB, 4 * MIB, 0));
        assert!(!limits.fits(20 * MIB, 64 * MIB, 5 * MIB, 0));
    }

    #[test]
    fn the_largest_group_fits_an_otherwise_empty_log_whatever_its_file() {
        for max_size in [MIN_MAX_SIZE, 64 * MIB, 20 * 1024 * MIB] {
            let limits = Limits::new(max_size).unwrap();
            assert!(limits.group < limits.capacity);
            assert!(limits.fits(0, u64::MAX, limits.group, max_size / 16));
        }
    }

    #[test]
    fn large_values_of_the_state_count() {
        let limits = Limits::new(64 * MIB).unwrap();
        assert!(limits.fits(40 * MIB, 41 * MIB, 4 * MIB, 4 * MIB));
        assert!(!limits.fits(40 * MIB, 41 * MIB, 4 * MIB, 5 * MIB));
    }
}
