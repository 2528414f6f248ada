//! How far the changes of definitions have come, table by table: what makes a replay of them harmless at a target where they do not commit with the
//! round.
//!
//! A table's line in the registry carries the LSN of the last change that was done to it, and is written as the last step of that change. Before
//! its first step the line says that the change is begun. So when the log is read again from the cursor:
//!
//! - a change up to the LSN that is done is skipped: what it acts on may have another content, or another table, by now;
//! - a change that was begun is repeated from its first step, and a table that differs from its line until then is no surprise;
//! - rows before a change that was begun or done are stored, because they were flushed before it, and are left out.
//!
//! A name keeps its LSN when its table is gone. The sink reads this from its target; where changes commit with the round, it stays empty.

use std::collections::BTreeMap;

use wal::Lsn;

use crate::model::TableName;

/// Progress of the changes of all tables of a sink.
#[derive(Debug, Default)]
pub(super) struct Changes {
    done: BTreeMap<TableName, Lsn>,
    /// At or before `done` when the change that was begun is done.
    begun: BTreeMap<TableName, Lsn>,
    /// Versions of the lines of stopped tables, as far as they are written.
    stops: BTreeMap<TableName, Lsn>,
}

impl Changes {
    /// The last change that was done to the table of this name.
    pub(super) fn done(&self, table: &TableName) -> Lsn {
        self.done.get(table).copied().unwrap_or(Lsn::ZERO)
    }

    /// Rows before this LSN are stored.
    pub(super) fn stored_before(&self, table: &TableName) -> Lsn {
        self.begun.get(table).copied().unwrap_or(Lsn::ZERO).max(self.done(table))
    }

    /// Whether a change was begun that is not known to be done.
    pub(super) fn is_unfinished(&self, table: &TableName) -> bool {
        self.stored_before(table) > self.done(table)
    }

    /// Whether the line says that the change at `lsn` is begun.
    pub(super) fn has_begun(&self, table: &TableName, lsn: Lsn) -> bool {
        self.begun.get(table).is_some_and(|begun| *begun == lsn)
    }

    /// Whether the table was stopped before `lsn` and not since, as far as that is written.
    pub(super) fn was_stopped_before(&self, table: &TableName, lsn: Lsn) -> bool {
        self.stops.get(table).is_some_and(|stop| *stop < lsn)
    }

    /// Version of the line of the table's stop, or of its end.
    pub(super) fn stop(&self, table: &TableName) -> Lsn {
        self.stops.get(table).copied().unwrap_or(Lsn::ZERO)
    }

    /// The line says that the change is begun.
    pub(super) fn note_begun(&mut self, table: &TableName, lsn: Lsn) {
        self.begun.insert(table.clone(), lsn);
    }

    /// The line says that the change is done.
    pub(super) fn note_done(&mut self, table: &TableName, lsn: Lsn) {
        self.done.insert(table.clone(), lsn);
    }

    /// The line of the table's stop, or of its end, is written.
    pub(super) fn note_stop(&mut self, table: &TableName, version: Lsn) {
        self.stops.insert(table.clone(), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_before_a_change_that_was_begun_are_stored_and_the_change_is_not_done() {
        let (mut changes, table) = (Changes::default(), TableName::new("shop", "t"));
        assert_eq!((changes.done(&table), changes.is_unfinished(&table)), (Lsn::ZERO, false));
        changes.note_done(&table, Lsn::new(5));
        changes.note_begun(&table, Lsn::new(9));
        assert_eq!((changes.done(&table), changes.stored_before(&table)), (Lsn::new(5), Lsn::new(9)));
        assert!(changes.is_unfinished(&table));
        changes.note_done(&table, Lsn::new(9));
        assert_eq!((changes.done(&table), changes.is_unfinished(&table)), (Lsn::new(9), false));
    }

    #[test]
    fn a_stop_is_ended_only_by_what_came_after_it() {
        let (mut changes, table) = (Changes::default(), TableName::new("shop", "t"));
        assert!(!changes.was_stopped_before(&table, Lsn::new(9)));
        changes.note_stop(&table, Lsn::new(7));
        assert!(changes.was_stopped_before(&table, Lsn::new(8)));
        assert!(!changes.was_stopped_before(&table, Lsn::new(7)));
    }
}
