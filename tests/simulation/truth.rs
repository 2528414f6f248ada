//! What has to be true of the log, counted by the model and not by the core.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use replicator::model::FilePos;
use wal::Lsn;

use super::tables::Name;

/// Snapshot rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRows {
    pub read: u64,
    pub filtered: u64,
}

/// What the driver has seen placed, or kept. Other rows of the stream are not here: these follow from the position and the binlog.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    placed: BTreeMap<Name, SnapshotRows>,
    /// Groups of which rows of a table wait, or have waited, for its copy: the table, and the boundary after the group.
    diverted: BTreeSet<(Name, u64, u64)>,
    /// Frames with which the copy of a whole table begins: its rows are those of an earlier place.
    copies: Vec<Range<Lsn>>,
}

impl Truth {
    pub fn placed(&mut self, name: Name, rows: SnapshotRows) {
        let sum = self.placed.entry(name).or_default();
        sum.read += rows.read;
        sum.filtered += rows.filtered;
    }

    /// Rows of a table wait, of the group before a boundary.
    pub fn diverted(&mut self, name: Name, end: &FilePos) {
        self.diverted.insert((name, end.file_number().unwrap_or(0), end.pos));
    }

    /// These frames begin the copy of a whole table.
    pub fn copy(&mut self, frames: Range<Lsn>) {
        self.copies.push(frames);
    }

    /// Whether a frame is one of those.
    pub fn is_of_copy(&self, frame: Lsn) -> bool {
        self.copies.iter().any(|frames| frames.contains(&frame))
    }

    /// Whether rows of a table wait, or have waited, of the group before a boundary.
    pub fn was_diverted(&self, name: Name, (file, pos): (u64, u64)) -> bool {
        self.diverted.contains(&(name, file, pos))
    }

    pub fn of(&self, name: Name) -> SnapshotRows {
        self.placed.get(&name).copied().unwrap_or_default()
    }
}
