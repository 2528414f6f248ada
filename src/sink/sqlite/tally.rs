//! What SQLite reports of the rows of a section.
//!
//! `acknowledged` grows with the number of changed rows that SQLite reports for each statement. A statement that had to change a row and
//! changed none (a trigger on the copy can do that) acknowledges nothing, so it differs from what was taken from the log.

use crate::model::RowCounts;
use crate::sink::rows::Taken;

/// Counts of the section that is being written.
#[derive(Debug, Default)]
pub(super) struct Tally(RowCounts);

impl Tally {
    /// A statement that must change a row changed so many.
    pub(super) fn wrote(&mut self, changed: usize) {
        self.0.acknowledged += u64::try_from(changed).unwrap_or(u64::MAX);
    }

    /// A delete changed so many rows; with none it found no row.
    pub(super) fn deleted(&mut self, changed: usize) {
        if changed == 0 {
            self.0.acknowledged += 1;
            self.missed();
        } else {
            self.wrote(changed);
        }
    }

    /// A delete or an update found no row. The update's row is then inserted, and that is what SQLite acknowledges.
    pub(super) fn missed(&mut self) {
        self.0.unmatched += 1;
    }

    /// How many changes have found no row.
    pub(super) fn unmatched(&mut self) -> &mut u64 {
        &mut self.0.unmatched
    }

    /// The counts, with what was taken.
    pub(super) fn counts(self, taken: Taken) -> RowCounts {
        RowCounts { taken: taken.rows.into(), split: taken.split.into(), dead_lettered: taken.dead.into(), ..self.0 }
    }
}
