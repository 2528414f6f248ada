//! How much a log may hold so that its file takes at most `max_size` on disk.
//!
//! redb grows a file by doubling it, and from 4 GiB on by one region of 4 GiB. It grows only when no free run of pages fits.
//! While the log holds at most [`capacity`] bytes, the file therefore stays at or below `max_size`: the file that had
//! to grow was no longer than what was in use, which is the log, what was trimmed but may still be read by an open
//! read transaction, and pages of the tree ([`HEADROOM`] covers both).

use crate::error::Error;

const MIB: u64 = 1024 * 1024;
/// One region of redb: the step in which a large file grows.
const REGION: u64 = 4 * 1024 * MIB;
/// Room for pages that are in use and hold no block: tree pages, state, and what the last commits trimmed while a
/// reader still looked at it.
const HEADROOM: u64 = 4 * MIB;
/// The least `max_size`: less leaves no room beside [`HEADROOM`].
pub(crate) const MIN_MAX_SIZE: u64 = 16 * MIB;

/// Stored bytes of blocks that a log with this `max_size` may hold.
pub(crate) fn capacity(max_size: u64) -> Result<u64, Error> {
    if max_size < MIN_MAX_SIZE {
        return Err(Error::MaxSizeTooSmall { given: max_size, least: MIN_MAX_SIZE });
    }
    let before_growth = if max_size <= 2 * REGION { max_size / 2 } else { max_size - REGION };
    Ok(before_growth - HEADROOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_max_size_without_room_is_refused_by_name() {
        let error = capacity(MIN_MAX_SIZE - 1).unwrap_err();
        assert_eq!(error.to_string(), "wal.max_size is 16777215 bytes, the least is 16777216");
    }

    #[test]
    fn a_large_log_gives_up_one_region() {
        assert_eq!(capacity(5 * REGION).unwrap(), 4 * REGION - HEADROOM);
        assert_eq!(capacity(2 * REGION).unwrap(), REGION - HEADROOM);
        assert_eq!(capacity(64 * MIB).unwrap(), 28 * MIB);
    }
}
