//! Keys that the stream changes while snapshot chunks are read.
//!
//! A key is noted by a 128-bit hash: two keys of one window would have to collide for a row to be left out wrongly, which
//! at a billion keys has a chance of about 10^-21.

use std::collections::{HashMap, HashSet};

use crate::source::mysql::snapshot::handoff::WindowId;

/// Keys a window notes at most, 16 bytes each; beyond, its chunk is read again rather than memory grown.
const MAX_KEYS: usize = 1_000_000;

/// One open window.
#[derive(Debug)]
pub(super) struct Window {
    /// Index of its table.
    table: usize,
    /// `None` once its chunk can no longer be placed.
    keys: Option<HashSet<u128>>,
}

impl Window {
    /// Whether its chunk can be placed.
    pub(super) fn is_valid(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether the stream has changed no key of the table since it was opened.
    pub(super) fn is_untouched(&self) -> bool {
        self.keys.as_ref().is_some_and(HashSet::is_empty)
    }

    /// Whether the stream has changed the key since it was opened.
    pub(super) fn has(&self, key: u128) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&key))
    }
}

/// All open windows.
#[derive(Debug, Default)]
pub(super) struct Windows {
    open: HashMap<WindowId, Window>,
}

impl Windows {
    pub(super) fn open(&mut self, id: WindowId, table: usize) {
        self.open.insert(id, Window { table, keys: Some(HashSet::new()) });
    }

    pub(super) fn close(&mut self, id: WindowId) -> Option<Window> {
        self.open.remove(&id)
    }

    /// Whether a chunk read in the window can still be placed.
    pub(super) fn is_valid(&self, id: WindowId) -> bool {
        self.open.get(&id).is_some_and(Window::is_valid)
    }

    /// Whether any chunk of the table is being read.
    #[inline]
    pub(super) fn watches(&self, table: usize) -> bool {
        !self.open.is_empty() && self.open.values().any(|window| window.table == table && window.is_valid())
    }

    /// Notes a changed key in every window of the table.
    pub(super) fn note(&mut self, table: usize, key: u128) {
        for window in self.open.values_mut().filter(|window| window.table == table) {
            let Some(keys) = &mut window.keys else { continue };
            keys.insert(key);
            if keys.len() > MAX_KEYS {
                window.keys = None;
            }
        }
    }

    /// Notes keys that the stream has changed before the window was opened.
    pub(super) fn begin_with(&mut self, id: WindowId, before: impl Iterator<Item = u128>) {
        if let Some(keys) = self.open.get_mut(&id).and_then(|window| window.keys.as_mut()) {
            keys.extend(before);
        }
    }

    /// The table changed in a way that keys do not show.
    pub(super) fn discard(&mut self, table: usize) {
        for window in self.open.values_mut().filter(|window| window.table == table) {
            window.keys = None;
        }
    }

    /// The stream was opened again.
    pub(super) fn discard_all(&mut self) {
        for window in self.open.values_mut() {
            window.keys = None;
        }
    }

    /// A fault: see [`crate::mutants::Mutant::WindowKeysForgottenAtReconnect`].
    pub(super) fn forget_keys(&mut self) {
        for window in self.open.values_mut() {
            if let Some(keys) = &mut window.keys {
                keys.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_notes_only_its_own_table_and_only_until_it_is_discarded() {
        let (a, b) = (0, 1);
        let mut windows = Windows::default();
        windows.open(WindowId(1), a);
        windows.open(WindowId(2), b);
        windows.note(a, 7);
        windows.discard(b);
        windows.note(b, 8);
        assert!(windows.watches(a) && !windows.watches(b));
        let first = windows.close(WindowId(1)).unwrap();
        assert!(first.is_valid() && first.has(7) && !first.has(8) && !first.is_untouched());
        let second = windows.close(WindowId(2)).unwrap();
        assert!(!second.is_valid() && !second.is_untouched());
    }
}
