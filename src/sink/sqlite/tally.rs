//! What became of the rows of a section: those taken from the log on one side, what SQLite reports on the other.
//!
//! `taken` grows with each row change that is walked, `acknowledged` with the number of changed rows that SQLite
//! reports for each statement. A statement that had to change a row and changed none (a trigger on the copy can do
//! that) acknowledges nothing, so the two sides differ.

use crate::model::RowCounts;

/// Counts of the section that is being written.
#[derive(Debug, Default)]
pub(super) struct Tally(RowCounts);

impl Tally {
    /// A row change was walked.
    pub(super) fn take(&mut self) {
        self.0.taken += 1;
    }

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

    /// The row change is a delete and an insert.
    pub(super) fn split(&mut self) {
        self.0.split += 1;
    }

    /// The counts.
    pub(super) fn counts(self) -> RowCounts {
        self.0
    }
}
