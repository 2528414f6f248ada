//! What has to be true of the log, counted by the model and not by the core.

use std::collections::BTreeMap;

use super::tables::Name;

/// Snapshot rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRows {
    pub read: u64,
    pub filtered: u64,
}

/// What the driver has seen placed. Rows of the stream are not here: these follow from the position and the binlog.
#[derive(Clone, Debug, Default)]
pub struct Truth(BTreeMap<Name, SnapshotRows>);

impl Truth {
    pub fn placed(&mut self, name: Name, rows: SnapshotRows) {
        let sum = self.0.entry(name).or_default();
        sum.read += rows.read;
        sum.filtered += rows.filtered;
    }

    pub fn of(&self, name: Name) -> SnapshotRows {
        self.0.get(&name).copied().unwrap_or_default()
    }
}
