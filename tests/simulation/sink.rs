//! The model sink: applies durable groups one after another, waits at schema ids that are not decided, and leaves out the rows of
//! those that never will be.
//!
//! It knows of each table whether its copy is complete: a read of it has ended, and no doubt is open. The rows of a complete copy
//! must be those of the server at the same place, after every group.

use std::collections::{BTreeMap, BTreeSet};

use replicator::codec::catalog::{Catalog, SchemaRecord};
use replicator::codec::frame::{Frame, FrameHeader, Mark, RowOp, TableChange};
use replicator::deliver::followed;
use replicator::model::{Gtid, Origin, SchemaId};

use super::binlog::Change;
use super::daemon::{Finding, failed};
use super::frames::{self, Schemas};
use super::log::{SimLog, Values};
use super::server::Server;
use super::tables::{Name, Rows, add, row_of, take};
use super::trace;

/// A copy of a table.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub rows: Rows,
    /// Every row of the table is here.
    pub is_complete: bool,
    /// The place where it was emptied last for a read that replaces.
    replaced: usize,
}

/// One row change of the stream, as a history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub entry: usize,
    pub name: Name,
    pub change: Change,
}

#[derive(Debug, Default)]
pub struct Sink {
    /// Frames applied.
    applied: usize,
    schemas: Schemas,
    pub copies: BTreeMap<Name, Copy>,
    /// Tables of which rows were left out since the last read that replaces.
    doubted: BTreeSet<Name>,
    /// Tables of which a read has begun and not ended.
    read: BTreeSet<Name>,
    pub history: Vec<Line>,
    /// Groups of which rows were left out.
    pub left_out: BTreeSet<(usize, Name)>,
}

impl Sink {
    /// Applies the next group. False: there is none, or it waits for a schema.
    pub fn step(&mut self, log: &SimLog, server: &Server) -> Result<bool, Finding> {
        let group = frames::group(&log.frames()[self.applied..]);
        let decoded: Vec<Frame<'_>> = group.iter().map(frames::decode).collect::<Result<_, _>>()?;
        if decoded.is_empty() || self.waits(&decoded, log.values())? {
            return Ok(false);
        }
        let mut touched = BTreeSet::new();
        let mut place = 0;
        for frame in &decoded {
            place = self.apply(frame, log.values(), server, &mut touched)?;
        }
        self.applied += group.len();
        for name in touched {
            self.check(name, place, server)?;
        }
        Ok(true)
    }

    /// How many frames are applied.
    pub fn applied(&self) -> usize {
        self.applied
    }

    /// Whether everything durable is applied.
    pub fn is_done(&self, log: &SimLog) -> bool {
        self.applied == log.frames().len()
    }

    /// Whether a group has to wait for a schema.
    fn waits(&mut self, group: &[Frame<'_>], values: &Values) -> Result<bool, Finding> {
        for frame in group {
            let mut ids: Vec<SchemaId> = frame.described().iter().map(|section| section.schema).collect();
            let mut before = None;
            if let FrameHeader::Change { change, .. } = &frame.header {
                match change {
                    TableChange::Schema { from, to, .. } => {
                        ids.push(*to);
                        before = *from;
                    }
                    TableChange::Rename { schema, .. } | TableChange::ReplaceBegin { schema, .. } => ids.push(*schema),
                    TableChange::Truncate { .. }
                    | TableChange::Drop { .. }
                    | TableChange::ReplaceEnd { .. }
                    | TableChange::Gap { .. }
                    | TableChange::LeftOut { .. } => {}
                }
            }
            // What comes from a schema that is left out comes from the one before it.
            while let Some(id) = before {
                ids.push(id);
                before = match &*self.schemas.record(values, id)? {
                    SchemaRecord::LeftOut { before, .. } => *before,
                    SchemaRecord::Known(_) | SchemaRecord::Pending { .. } => None,
                };
            }
            for id in ids {
                if matches!(*self.schemas.record(values, id)?, SchemaRecord::Pending { .. }) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn apply(
        &mut self,
        frame: &Frame<'_>,
        values: &Values,
        server: &Server,
        touched: &mut BTreeSet<Name>,
    ) -> Result<usize, Finding> {
        let (place, is_streamed) = place_of(frame.header.origin(), server)?;
        match &frame.header {
            FrameHeader::Rows(_) => {
                for (section, body, _) in frame.sections() {
                    let record = self.schemas.record(values, section.schema)?;
                    let schema = record.schema();
                    let name = Name::of(&schema.name);
                    let changes = frames::changes(schema, section.op, section.rows, body)?;
                    touched.insert(name);
                    if matches!(*record, SchemaRecord::LeftOut { .. }) {
                        trace::note(|| format!("sink: rows of {name} are left out"));
                        self.doubt(name);
                        self.left_out.insert((place, name));
                        continue;
                    }
                    let copy = self.copies.entry(name).or_default();
                    for change in changes {
                        copy.change(change, section.op, schema.key.is_some());
                        if is_streamed {
                            self.history.push(Line { entry: place, name, change });
                        }
                    }
                }
            }
            FrameHeader::Change { change, .. } => {
                touched.insert(Name::of(change.table()));
                self.table_change(change, values, place)?;
            }
            FrameHeader::Mark { mark, .. } => self.mark(mark, touched),
            FrameHeader::Check(_) => return Err("a check frame, which nothing asks for".to_owned()),
        }
        Ok(place)
    }

    fn table_change(&mut self, change: &TableChange, values: &Values, place: usize) -> Result<(), Finding> {
        trace::note(|| format!("sink: {change:?}, after entry {place}"));
        let Some(reaching) = followed(change, &mut Catalog::new(values)).map_err(failed)? else {
            trace::note(|| "sink: that does not reach it".to_owned());
            return Ok(());
        };
        match reaching.as_ref() {
            TableChange::Schema { table, .. } => {
                self.copies.entry(Name::of(table)).or_default();
            }
            TableChange::Truncate { table } => {
                if let Some(copy) = self.copies.get_mut(&Name::of(table)) {
                    copy.rows.clear();
                }
            }
            TableChange::Drop { table } => {
                self.copies.remove(&Name::of(table));
                self.doubted.remove(&Name::of(table));
                self.read.remove(&Name::of(table));
            }
            TableChange::Rename { from, to, .. } => {
                let (from, to) = (Name::of(from), Name::of(to));
                let copy = self.copies.remove(&from).unwrap_or_default();
                self.copies.insert(to, copy);
                for names in [&mut self.doubted, &mut self.read] {
                    names.remove(&to);
                    if names.remove(&from) {
                        names.insert(to);
                    }
                }
            }
            TableChange::ReplaceBegin { table, .. } => {
                self.doubted.remove(&Name::of(table));
                let fresh = Copy { replaced: place, ..Copy::default() };
                self.copies.insert(Name::of(table), fresh);
            }
            TableChange::LeftOut { table, .. } | TableChange::Gap { table, .. } => self.doubt(Name::of(table)),
            TableChange::ReplaceEnd { .. } => {}
        }
        Ok(())
    }

    fn doubt(&mut self, name: Name) {
        self.doubted.insert(name);
        if let Some(copy) = self.copies.get_mut(&name) {
            copy.is_complete = false;
        }
    }

    fn mark(&mut self, mark: &Mark, touched: &mut BTreeSet<Name>) {
        trace::note(|| format!("sink: {mark:?}"));
        match mark {
            // A copy is complete from its first schema on, if nothing is left out of it.
            Mark::Created { .. } => {}
            Mark::SnapshotBegun { table, .. } => {
                let name = Name::of(table);
                self.read.insert(name);
                if !self.copies.contains_key(&name) {
                    // Nothing to replace.
                    self.doubted.remove(&name);
                }
            }
            Mark::SnapshotFinished { table, .. } => {
                let name = Name::of(table);
                touched.insert(name);
                // A read that has ended under another name, or of another table of this name, says nothing of this one.
                let is_read = self.read.remove(&name);
                if let Some(copy) = self.copies.get_mut(&name).filter(|_| is_read) {
                    copy.is_complete = !self.doubted.contains(&name);
                }
            }
        }
    }

    /// Compares a complete copy with the table at the same place.
    fn check(&self, name: Name, place: usize, server: &Server) -> Result<(), Finding> {
        let Some(copy) = self.copies.get(&name).filter(|copy| copy.is_complete) else { return Ok(()) };
        match server.state(place).tables.get(&name) {
            // The server kept rows that it took back in the binlog; the doubt about that comes with an answer.
            Some(table) if server.has_undone(table.number, copy.replaced, place) => Ok(()),
            Some(table) if *table.rows == copy.rows => Ok(()),
            Some(table) => Err(format!(
                "the copy of {name} is said to be complete and is not, after entry {place}: {}",
                difference(&table.rows, &copy.rows)
            )),
            None => Err(format!("there is a complete copy of {name}, which is gone after entry {place}")),
        }
    }

    /// Compares every copy with its table at the end of the binlog.
    pub fn compare(&self, server: &Server) -> Result<(), Finding> {
        for name in Name::captured() {
            let (table, copy) = (server.now().tables.get(&name), self.copies.get(&name));
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

    /// Every row change of the binlog is in the history once, but for groups of which it is said why rows are missing.
    pub fn compare_history(
        &self,
        first: usize,
        server: &Server,
        explained: &BTreeSet<(usize, Name)>,
    ) -> Result<(), Finding> {
        let mut lines: BTreeMap<(usize, Name), Vec<Change>> = BTreeMap::new();
        for line in &self.history {
            lines.entry((line.entry, line.name)).or_default().push(line.change);
        }
        for entry in first + 1..=server.end() {
            let Some(group) = server.entry(entry).group() else { continue };
            for name in Name::captured() {
                let (expected, there) = (group.changes(name), lines.remove(&(entry, name)).unwrap_or_default());
                let is_said = explained.contains(&(entry, name)) || self.left_out.contains(&(entry, name));
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

impl Copy {
    fn change(&mut self, change: Change, op: RowOp, is_keyed: bool) {
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

/// Where a frame belongs: the entry, and whether it comes from a group of the stream.
pub fn place_of(origin: &Origin, server: &Server) -> Result<(usize, bool), Finding> {
    let at = origin.binlog();
    if at.gtid == Gtid::Anonymous {
        let place = server.entry_of(at.file_number, at.pos);
        return place
            .map(|place| (place, false))
            .ok_or_else(|| format!("a frame is from {at:?}, which is no boundary"));
    }
    let place = server.entry_of_origin(origin);
    place.map(|place| (place, true)).ok_or_else(|| format!("a frame is from {at:?}, which is in no group"))
}

fn difference(table: &Rows, copy: &Rows) -> String {
    let missing: Vec<_> = table.iter().filter(|(row, count)| copy.get(row) != Some(count)).collect();
    let surplus: Vec<_> = copy.iter().filter(|(row, count)| table.get(row) != Some(count)).collect();
    format!("at the source {missing:?}, in the copy {surplus:?}")
}
