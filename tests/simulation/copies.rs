//! What a model sink holds of the tables: copies, and the lines of a history.

use std::collections::{BTreeMap, BTreeSet};

use replicator::codec::frame::RowOp;

use super::audit::Audit;
use super::binlog::Change;
use super::captured::Captured;
use super::daemon::Finding;
use super::server::Server;
use super::tables::{Name, Rows, add, row_of, take};

/// A copy of a table.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub rows: Rows,
    /// The place where it was emptied last for a read that replaces.
    pub replaced: usize,
}

/// One row change of the stream, as a history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub entry: usize,
    pub name: Name,
    pub change: Change,
}

/// What a target holds.
#[derive(Debug, Default)]
pub struct Copies {
    pub all: BTreeMap<Name, Copy>,
    pub history: Vec<Line>,
    /// Groups of which rows were left out.
    pub left_out: BTreeSet<(usize, Name)>,
}

impl Copy {
    pub fn change(&mut self, change: Change, op: RowOp, is_keyed: bool) {
        let Change { before, after } = change;
        if let Some(before) = before {
            let there = if is_keyed { row_of(&self.rows, before.0) } else { Some(before) };
            there.map(|row| take(&mut self.rows, row));
        }
        if let Some(after) = after {
            if is_keyed && let Some(there) = row_of(&self.rows, after.0) {
                take(&mut self.rows, there);
            }
            add(&mut self.rows, after);
        }
        debug_assert!(op != RowOp::Snapshot || before.is_none(), "a snapshot row has no row before it");
    }
}

impl Copies {
    /// Compares every copy with its table at the end of the binlog.
    pub fn compare(&self, captured: Captured, server: &Server) -> Result<(), Finding> {
        for name in captured.names() {
            let (table, copy) = (server.now().tables.get(&name), self.all.get(&name));
            match (table, copy) {
                (None, Some(copy)) => return Err(format!("the copy of {name}, which is gone, has {:?}", copy.rows)),
                (Some(table), None) if table.rows.is_empty() => {}
                (Some(_), None) => return Err(format!("there is no copy of {name}")),
                (Some(table), Some(copy)) if *table.rows != copy.rows => {
                    return Err(format!("the copy of {name} differs: {}", difference(&table.rows, &copy.rows)));
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Every row change of the binlog since an entry is in the history once, if its table was captured, but for groups of which it is
    /// said why rows are missing.
    pub fn compare_history(&self, first: usize, server: &Server, audit: &Audit) -> Result<(), Finding> {
        let mut lines: BTreeMap<(usize, Name), Vec<Change>> = BTreeMap::new();
        for line in &self.history {
            lines.entry((line.entry, line.name)).or_default().push(line.change);
        }
        for entry in first + 1..=server.end() {
            let Some(group) = server.entry(entry).group() else { continue };
            for name in Name::capturable().filter(|name| audit.captured(entry, *name)) {
                let (expected, there) = (group.changes(name), lines.remove(&(entry, name)).unwrap_or_default());
                let is_said = audit.explained.contains(&(entry, name)) || self.left_out.contains(&(entry, name));
                if there != expected && !(is_said && there.is_empty()) {
                    return Err(format!("the history of {name} has {there:?} of entry {entry}, and not {expected:?}"));
                }
            }
        }
        match lines.first_key_value() {
            None => Ok(()),
            Some(((entry, name), there)) => Err(format!("the history of {name} has {there:?} of entry {entry}")),
        }
    }
}

/// How a copy differs from its table.
pub fn difference(table: &Rows, copy: &Rows) -> String {
    let missing: Vec<_> = table.iter().filter(|(row, count)| copy.get(row) != Some(count)).collect();
    let surplus: Vec<_> = copy.iter().filter(|(row, count)| table.get(row) != Some(count)).collect();
    format!("at the source {missing:?}, in the copy {surplus:?}")
}
