//! Keys that the stream changes while snapshot chunks are read.
//!
//! A key is noted by a 128-bit hash: two keys of one window would have to collide for a row to be left out wrongly, which
//! at a billion keys has a chance of about 10^-21.

use std::collections::{HashMap, HashSet};

use crate::model::TableName;
use crate::source::mysql::snapshot::handoff::WindowId;

/// Keys a window notes at most, 16 bytes each; beyond, its chunk is read again rather than memory grown.
const MAX_KEYS: usize = 1_000_000;

/// One open window.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) keys: HashSet<u128>,
    /// False once its chunk can no longer be placed.
    pub(super) valid: bool,
}

/// All open windows.
#[derive(Debug, Default)]
pub(super) struct Windows {
    open: HashMap<WindowId, (TableName, Window)>,
}

impl Windows {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn open(&mut self, id: WindowId, table: TableName) {
        self.open.insert(id, (table, Window { keys: HashSet::new(), valid: true }));
    }

    pub(super) fn close(&mut self, id: WindowId) -> Option<Window> {
        self.open.remove(&id).map(|(_, window)| window)
    }

    /// Whether a chunk read in the window can still be placed.
    pub(super) fn is_valid(&self, id: WindowId) -> bool {
        self.open.get(&id).is_some_and(|(_, window)| window.valid)
    }

    pub(super) fn watches(&self, table: &TableName) -> bool {
        self.open.values().any(|(name, window)| name == table && window.valid)
    }

    /// Notes a changed key in every window of the table.
    pub(super) fn note(&mut self, table: &TableName, key: u128) {
        for (name, window) in self.open.values_mut() {
            if name == table && window.valid {
                window.keys.insert(key);
                if window.keys.len() > MAX_KEYS {
                    window.valid = false;
                    window.keys = HashSet::new();
                }
            }
        }
    }

    /// The table changed in a way that keys do not tell.
    pub(super) fn invalidate(&mut self, table: &TableName) {
        for (_, window) in self.open.values_mut().filter(|(name, _)| name == table) {
            window.valid = false;
            window.keys = HashSet::new();
        }
    }

    /// The stream was opened anew.
    pub(super) fn invalidate_all(&mut self) {
        for (_, window) in self.open.values_mut() {
            window.valid = false;
            window.keys = HashSet::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_notes_only_its_own_table_and_only_until_it_is_invalid() {
        let (a, b) = (TableName::new("d", "a"), TableName::new("d", "b"));
        let mut windows = Windows::default();
        windows.open(WindowId(1), a.clone());
        windows.open(WindowId(2), b.clone());
        windows.note(&a, 7);
        windows.invalidate(&b);
        windows.note(&b, 8);
        assert!(windows.watches(&a) && !windows.watches(&b));
        let first = windows.close(WindowId(1)).unwrap();
        assert!(first.valid && first.keys.contains(&7) && first.keys.len() == 1);
        let second = windows.close(WindowId(2)).unwrap();
        assert!(!second.valid && second.keys.is_empty());
        assert!(windows.is_empty());
    }
}
