//! A row's version: which of two rows of a key is the newer one, at every sink.
//!
//! | bits | field |
//! |---|---|
//! | 8 | the [`Epoch`] of the target |
//! | 56 | byte position of the row's frame since the log's creation, plus the row's ordinal in its frame |
//!
//! It grows with the order of the log and never with a clock: every row has at least one byte in its frame, so the rows of
//! a frame end before the next frame's position. 56 bits last for 72 PB of log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bits of a version that are the row's place in the log.
const POSITION_BITS: u32 = 56;

/// How often a target was taken over by another log. A log that takes a target over writes under the next epoch, so that
/// its rows are never older than those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(u8);

impl Epoch {
    /// The epoch of a target that no log has written to before.
    pub const FIRST: Self = Self(1);
    /// The last one: a version must fit a signed 64-bit integer.
    pub const LAST: Self = Self(127);

    /// From its number; `None` outside 1 to 127.
    pub fn new(number: u64) -> Option<Self> {
        let epoch = Self(u8::try_from(number).ok()?);
        (Self::FIRST..=Self::LAST).contains(&epoch).then_some(epoch)
    }

    /// The epoch of a [row's version](row_version); `None` for what is none.
    pub fn of_version(version: u64) -> Option<Self> {
        Self::new(version >> POSITION_BITS)
    }

    /// Its number, 1 to 127.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The epoch after this one; `None` after the last.
    pub fn next(self) -> Option<Self> {
        Self::new(u64::from(self.0) + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a frame in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Its LSN.
    pub lsn: wal::Lsn,
    /// Frame bytes in the log before it, since the log's creation.
    pub position: u64,
}

/// The version of a row: the `ordinal`th, from 0 across its sections, of the frame at `place`, at a target of this epoch.
/// It is at most `i64::MAX`.
#[inline]
pub fn row_version(epoch: Epoch, place: FramePlace, ordinal: u32) -> u64 {
    let position = place.position + u64::from(ordinal);
    debug_assert!(position >> POSITION_BITS == 0, "72 PB of log");
    (u64::from(epoch.0) << POSITION_BITS) | (position & ((1 << POSITION_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(position: u64) -> FramePlace {
        FramePlace { lsn: wal::Lsn::new(1), position }
    }

    #[test]
    fn a_later_row_and_a_later_epoch_have_the_greater_version() {
        let second = Epoch::FIRST.next().unwrap();
        let rows = [
            row_version(Epoch::FIRST, place(0), 0),
            row_version(Epoch::FIRST, place(0), 9),
            row_version(Epoch::FIRST, place(10), 0),
            row_version(Epoch::FIRST, place((1 << 56) - 1), 0),
            row_version(second, place(0), 0),
            row_version(Epoch::LAST, place((1 << 56) - 1), 0),
        ];
        assert!(rows.is_sorted_by(|a, b| a < b), "{rows:?}");
        assert_eq!(rows[5], i64::MAX.cast_unsigned());
    }

    #[test]
    fn epochs_end() {
        assert_eq!(Epoch::new(0), None);
        assert_eq!(Epoch::new(128), None);
        assert_eq!(Epoch::LAST.next(), None);
    }

    #[test]
    fn a_version_says_its_epoch() {
        for epoch in [Epoch::FIRST, Epoch::LAST] {
            assert_eq!(Epoch::of_version(row_version(epoch, place((1 << 56) - 1), 0)), Some(epoch));
        }
        assert_eq!(Epoch::of_version((1 << 56) - 1), None);
    }
}
