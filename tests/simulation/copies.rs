//! What a model sink holds of the tables: copies, and the lines of a history.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use replicator::codec::frame::RowOp;
use replicator::model::{Column, SchemaId};

use super::audit::Audit;
use super::binlog::Change;
use super::captured::Captured;
use super::daemon::Finding;
use super::frames::Schema;
use super::kinds::{Kind, LOST, NULL};
use super::server::{Server, Table};
use super::tables::{Name, Row, Rows, add, at, row_of, take};

/// A copy of a table.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// How it is defined, with the id of that in the log.
    pub schema: Option<(SchemaId, Rc<Schema>)>,
    /// The entry after which it was defined like this.
    pub defined: usize,
    pub rows: Rows,
    /// A change has found no row since then, which the counts of a sink say.
    pub is_unmatched: bool,
    /// The place where it began last, for a read that replaces.
    pub replaced: usize,
    /// Readers see the one before it, until the replace ends.
    pub is_beside_old: bool,
    /// It lacks rows that only another replace brings.
    pub lacks_rows: bool,
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
    pub fn change(&mut self, change: Change, op: RowOp, key: Option<&[usize]>) {
        let Change { before, after } = change;
        if let Some(before) = before {
            let there = key.map_or(Some(before), |key| row_of(&self.rows, key, &at(&before, key)));
            self.is_unmatched |= !there.is_some_and(|row| take(&mut self.rows, row));
        }
        if let Some(after) = after {
            if let Some(there) = key.and_then(|key| row_of(&self.rows, key, &at(&after, key))) {
                take(&mut self.rows, there);
            }
            add(&mut self.rows, after);
        }
        debug_assert!(op != RowOp::Snapshot || before.is_none(), "a snapshot row has no row before it");
    }

    /// Its definition is another one after an entry: columns that have a name of before, or are renamed, keep their values.
    pub fn define(
        &mut self,
        id: SchemaId,
        schema: Rc<Schema>,
        renamed: &[(String, String)],
        entry: usize,
    ) -> Result<(), Finding> {
        if let Some((_, before)) = self.schema.take() {
            self.reshape(&before, &schema, renamed)?;
        }
        self.schema = Some((id, schema));
        self.defined = entry;
        self.is_unmatched = false;
        Ok(())
    }

    fn reshape(&mut self, before: &Schema, after: &Schema, renamed: &[(String, String)]) -> Result<(), Finding> {
        let (before, columns) = (before.definition(), &after.definition().columns);
        let kept = |column: &Column| {
            let old = renamed.iter().find(|(_, now)| *now == column.name).map(|(old, _)| old);
            let is_gone = renamed.iter().any(|(gone, _)| *gone == column.name);
            let old = old.or((!is_gone).then_some(&column.name))?;
            before.columns.iter().position(|there| there.name == *old)
        };
        let of = |row: &Row, column: &Column| {
            let kind = Kind::of(&column.ty);
            let Some(place) = kept(column) else { return kind.default_of(column) };
            let is_known = row[place] == NULL || kind.takes_over(Kind::of(&before.columns[place].ty));
            Ok(if is_known { row[place] } else { LOST })
        };
        let key = after.key_places();
        for (row, count) in std::mem::take(&mut self.rows) {
            let mut now = Row::default();
            for (value, column) in now.iter_mut().zip(columns) {
                *value = of(&row, column)?;
            }
            match &key {
                None => *self.rows.entry(now).or_default() += count,
                // What its key is comes with the read of the table.
                Some(key) if at(&now, key).contains(&LOST) => {}
                Some(key) => {
                    if let Some(there) = row_of(&self.rows, key, &at(&now, key)) {
                        take(&mut self.rows, there);
                    }
                    add(&mut self.rows, now);
                }
            }
        }
        Ok(())
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
                (Some(table), Some(copy)) => compare_schema(name, table, copy)?,
                (None, None) => {}
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
        // Rows that have waited for a copy come later than a sink may begin.
        lines.retain(|(entry, name), _| *entry > first || !audit.is_late(*entry, *name));
        for entry in first + 1..=server.end() {
            let Some(group) = server.entry(entry).group() else { continue };
            for name in Name::capturable().filter(|name| audit.captured(entry, *name)) {
                let (expected, there) = (group.changes(name), lines.remove(&(entry, name)).unwrap_or_default());
                let is_said = audit.explained.contains(&(entry, name)) || self.left_out.contains(&(entry, name));
                let is_rest = there.is_empty() || group.tells(name, &there, (true, true));
                if there != expected && !(is_said && is_rest) {
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

/// Compares the definition of a copy with that of its table.
fn compare_schema(name: Name, table: &Table, copy: &Copy) -> Result<(), Finding> {
    let described = table.shape.described(name);
    let Some((id, schema)) = &copy.schema else { return Err(format!("the copy of {name} has no schema")) };
    let there = schema.definition();
    if there.same_image(&described) && there.key == described.key {
        return Ok(());
    }
    Err(format!("the copy of {name} is defined as schema {id}, {there:?}, and the table is {described:?}"))
}

/// How a copy differs from its table.
pub fn difference(table: &Rows, copy: &Rows) -> String {
    let missing: Vec<_> = table.iter().filter(|(row, count)| copy.get(*row) != Some(count)).collect();
    let surplus: Vec<_> = copy.iter().filter(|(row, count)| table.get(*row) != Some(count)).collect();
    format!("at the source {missing:?}, in the copy {surplus:?}")
}
