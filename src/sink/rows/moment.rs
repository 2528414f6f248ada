//! Where and when the rows of a section were changed: what every row that is written of them carries.

use crate::codec::row_image::ImageError;
use crate::codec::version::{Epoch, FramePlace, row_version};

/// Of the rows of one section.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct Moment {
    /// The target's.
    pub(in crate::sink) epoch: Epoch,
    /// The frame.
    pub(in crate::sink) frame: FramePlace,
    /// Ordinal of the section's first row in it.
    pub(in crate::sink) first_ordinal: u32,
    /// When its transaction was committed, in microseconds since 1970.
    pub(in crate::sink) commit_micros: i64,
}

impl Moment {
    /// The place in its frame of row `row` of the section.
    pub(in crate::sink) fn ordinal(self, row: u32) -> Result<u32, ImageError> {
        self.first_ordinal.checked_add(row).ok_or(ImageError::TooManyRows)
    }

    /// The version of the row at this place of its frame.
    pub(in crate::sink) fn version(self, ordinal: u32) -> u64 {
        row_version(self.epoch, self.frame, ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::Lsn;

    #[test]
    fn rows_count_on_from_the_sections_before_theirs_and_their_version_has_the_targets_epoch() {
        let frame = FramePlace { lsn: Lsn::new(9), position: 700 };
        let moment = Moment { epoch: Epoch::new(3).unwrap(), frame, first_ordinal: 40, commit_micros: 0 };
        let ordinal = moment.ordinal(2).unwrap();
        assert_eq!(ordinal, 42);
        assert_eq!(moment.version(ordinal), (3 << 56) + 742);
        let last = Moment { first_ordinal: u32::MAX, ..moment };
        assert_eq!(last.ordinal(1), Err(ImageError::TooManyRows));
    }
}
