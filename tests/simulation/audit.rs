//! What must hold of the log at every moment, checked each time that something becomes durable.
//!
//! - No frame is from a group that was rolled back, cut off, or is after the stored position.
//! - Every group up to the stored position is in the log, whole, once, and in its order, or it is said why its rows are not: of the
//!   tables that were captured when the stream passed it, and of no other.
//!   Rows that wait for the copy of their table come later, once and whole, or the log says that they do not ([`TableChange::Gap`]).
//! - What a group of the stream brings is for every sink.
//! - The row counters are those of the frames that are there and of the binlog up to the position.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use replicator::codec::frame::{Audience, FrameHeader, Mark, RowOp, TableChange};
use replicator::codec::stored::{self, SOURCE_LSN, SourceLsn};
use replicator::ingest;
use replicator::ingest::ledger::Log as _;
use replicator::model::{Column, FilePos, Lacks, SchemaId, TableSchema, Told};
use wal::Lsn;

use super::binlog::{Change, Ending};
use super::captured::Captured;
use super::daemon::{Finding, failed};
use super::frames::{self, Schema, Schemas};
use super::log::{SimLog, Stored};
use super::server::Server;
use super::sink::place_of;
use super::stated::Stated;
use super::tables::Name;

/// Rows of an entry are under the schema of their own `TABLE_MAP`.
fn look_at_schema(id: SchemaId, schema: &Schema, entry: usize, server: &Server) -> Result<(), Finding> {
    let (name, there) = (schema.name(), schema.definition());
    let shape = server.entry(entry).group().and_then(|group| group.shape(name));
    let shape = shape.ok_or_else(|| format!("entry {entry} has no rows of {name}, and the log has"))?;
    let seen = shape.seen(name);
    let told = |column: &Column| Column { ty: column.ty.as_told(), ..column.clone() };
    let columns = there.columns.iter().map(told).collect();
    let told = TableSchema { columns, ..there.clone() };
    // Of an id that is not decided, or never was, the log has what the binlog says.
    let is_unnamed = |lacks| !schema.is_known() && Told::of(&seen, lacks).schema.same_image(there);
    if told.same_image(&seen) || is_unnamed(Lacks::MINIMAL) || is_unnamed(Lacks::NO_LOG) {
        return Ok(());
    }
    Err(format!("rows of {name} of entry {entry} are logged under schema {id}, {there:?}, and they are of {seen:?}"))
}

/// What is known of a table's rows in the log.
#[derive(Debug)]
pub(super) struct Counted {
    /// Rows of the stream that the core has to have read; a range where it depends on when a group was dropped.
    pub(super) read: RangeInclusive<u64>,
    appended: u64,
    /// Places from one to another at which rows may be left out.
    pub(super) left_out: Vec<(usize, Option<usize>)>,
}

impl Counted {
    /// From a place on, rows are not left out.
    fn end(&mut self, place: usize) {
        for (_, end) in self.left_out.iter_mut().filter(|(_, end)| end.is_none()) {
            *end = Some(place);
        }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self { read: 0..=0, appended: 0, left_out: Vec::new() }
    }
}

/// A group of the stream in the log.
#[derive(Debug, Default)]
pub(super) struct Logged {
    pub(super) changes: BTreeMap<Name, Vec<Change>>,
    /// Tables that the group itself leaves out.
    pub(super) left_out: BTreeSet<Name>,
}

#[derive(Debug)]
pub struct Audit {
    /// Frames looked at.
    seen: usize,
    /// The entry of the stored position.
    position: usize,
    /// What the daemon captures.
    pub(super) captured: Captured,
    /// What it captured when the stream passed an entry, from the first one on that is not in the log.
    passed: Vec<Captured>,
    /// The entry after which the log begins.
    begun: usize,
    /// Groups of the stream in the log: the frame that they begin with, and the entry.
    groups: Vec<(usize, usize)>,
    pub(super) tables: BTreeMap<Name, Counted>,
    schemas: Schemas,
    /// Groups after the position that was looked at last.
    pub(super) logged: BTreeMap<usize, Logged>,
    last_logged: usize,
    /// Groups whose rows of a table are not in the log at their place, because they wait for its copy.
    pub(super) waiting: BTreeSet<(usize, Name)>,
    /// Groups whose rows of a table came later than their place.
    /// Tables that are left out by doubt as their records say, which a rename takes along.
    pub(super) stopped: BTreeSet<Name>,
    pub(super) late: BTreeSet<(usize, Name)>,
    /// The place of the last gap of each table.
    pub(super) gaps: BTreeMap<Name, BTreeSet<usize>>,
    /// Tables that were not captured once.
    pub(super) once_excluded: BTreeSet<Name>,
    /// What is prepared up to this entry is not read.
    pub(super) unread_upto: usize,
    /// Groups of which rows are missing, and it is said why.
    pub explained: BTreeSet<(usize, Name)>,
}

impl Audit {
    /// A log that begins after an entry.
    pub fn new(position: usize, captured: Captured) -> Self {
        Self {
            seen: 0,
            position,
            captured,
            passed: Vec::new(),
            begun: position,
            groups: Vec::new(),
            tables: BTreeMap::new(),
            schemas: Schemas::default(),
            logged: BTreeMap::new(),
            last_logged: position,
            waiting: BTreeSet::new(),
            stopped: BTreeSet::new(),
            late: BTreeSet::new(),
            gaps: BTreeMap::new(),
            once_excluded: BTreeSet::new(),
            unread_upto: position,
            explained: BTreeSet::new(),
        }
    }

    /// The daemon starts with another configuration.
    pub fn reconfigured(&mut self, captured: Captured) {
        for (_, counted) in self.tables.iter_mut().filter(|(name, _)| !captured.captures(**name)) {
            counted.end(self.position);
        }
        let gone = self.waiting.extract_if(.., |(_, name)| !captured.captures(*name));
        self.explained.extend(gone);
        self.once_excluded.extend(Name::capturable().filter(|name| !captured.captures(*name)));
        self.captured = captured;
    }

    /// The daemon goes on at an entry that the stream has not come to: of what is between, the log has nothing.
    pub fn skipped(&mut self, entry: usize) {
        for counted in self.tables.values_mut() {
            counted.end(self.position);
        }
        self.explained.append(&mut self.waiting);
        self.passed.extend((self.position..entry).map(|_| Captured::nothing()));
        self.position = entry;
        self.last_logged = entry;
        self.unread_upto = entry;
    }

    /// Whether rows of a table came later than their place.
    pub fn is_late(&self, entry: usize, name: Name) -> bool {
        self.late.contains(&(entry, name))
    }

    /// Whether a table was captured when the stream passed an entry.
    pub fn captured(&self, entry: usize, name: Name) -> bool {
        let place = entry.checked_sub(self.begun + 1);
        place.and_then(|place| self.passed.get(place)).is_some_and(|captured| captured.captures(name))
    }

    /// The entry of the last group of the stream before a frame.
    pub fn entry_before(&self, frame: usize) -> usize {
        let groups = self.groups.partition_point(|(first, _)| *first < frame);
        groups.checked_sub(1).map_or(self.begun, |last| self.groups[last].1)
    }

    /// The entry of the stored position.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Looks at what has become durable, the records of tables among it.
    pub fn look(&mut self, log: &SimLog, server: &Server, stated: &mut Stated) -> Result<(), Finding> {
        self.stopped = stated.look(log)?;
        while self.seen < log.frames().len() {
            let group = frames::group(&log.frames()[self.seen..]);
            self.group(group, log, server)?;
            self.seen += group.len();
        }
        self.look_at_position(log, server)?;
        self.look_at_counters(log)
    }

    fn group(&mut self, group: &[Stored], log: &SimLog, server: &Server) -> Result<(), Finding> {
        if self.late_group(group, log, server)? {
            return Ok(());
        }
        let mut entry = None;
        for stored in group {
            let frame = frames::decode(stored)?;
            let (place, is_streamed) = place_of(frame.header.origin(), server)?;
            if entry.is_some_and(|entry| entry != (place, is_streamed)) {
                return Err(format!("a group of the log is of two places, {entry:?} and {place}"));
            }
            if entry.is_none() && is_streamed {
                self.begin_group(place, server)?;
            }
            if is_streamed && *frame.header.audience() != Audience::All {
                return Err(format!("frame {} of entry {place} is not for every sink", stored.lsn));
            }
            entry = Some((place, is_streamed));
            for (section, body, _) in frame.sections() {
                if (section.op == RowOp::Snapshot) == is_streamed {
                    return Err(format!("frame {} has {:?} of a place of the other kind", stored.lsn, section.op));
                }
                let schema = self.schemas.get(log.values(), section.schema)?;
                let name = schema.name();
                self.tables.entry(name).or_default().appended += u64::from(section.rows);
                let changes = frames::changes(&schema, section.op, section.rows, body)?;
                if is_streamed {
                    look_at_schema(section.schema, &schema, place, server)?;
                }
                if is_streamed {
                    self.logged.entry(place).or_default().changes.entry(name).or_default().extend(changes);
                }
            }
            let is_of_copy = log.truth().is_of_copy(stored.lsn);
            self.note_left_out(&frame.header, place, (is_streamed, is_of_copy));
        }
        Ok(())
    }

    /// Takes a group whose rows have waited for the copy of their table. False: it is none.
    fn late_group(&mut self, group: &[Stored], log: &SimLog, server: &Server) -> Result<bool, Finding> {
        let mut found: BTreeMap<(usize, Name), Vec<Change>> = BTreeMap::new();
        for stored in group {
            let frame = frames::decode(stored)?;
            let (place, is_streamed) = place_of(frame.header.origin(), server)?;
            let placed = server.entry(place);
            for (section, body, _) in frame.sections() {
                let schema = self.schemas.get(log.values(), section.schema)?;
                let name = schema.name();
                if !is_streamed || !log.truth().was_diverted(name, (placed.file, placed.end)) {
                    return Ok(false);
                }
                look_at_schema(section.schema, &schema, place, server)?;
                let changes = frames::changes(&schema, section.op, section.rows, body)?;
                found.entry((place, name)).or_default().extend(changes);
            }
        }
        let [((entry, name), there)] = &found.into_iter().collect::<Vec<_>>()[..] else { return Ok(false) };
        let group = server.entry(*entry).group();
        let expected = group.map(|group| group.changes(*name)).unwrap_or_default();
        if *there != expected {
            // What cannot be read is left out, and the rest of the group is not.
            if group.is_none_or(|group| group.is_told_whole(*name) || !group.tells(*name, there, (true, true))) {
                return Err(format!(
                    "rows of {name} of entry {entry} that have waited are {there:?}, and not {expected:?}"
                ));
            }
            self.explained.insert((*entry, *name));
        }
        if !self.late.insert((*entry, *name)) {
            return Err(format!("rows of {name} of entry {entry} that have waited come twice"));
        }
        self.waiting.remove(&(*entry, *name));
        self.tables.entry(*name).or_default().appended += u64::try_from(there.len()).unwrap();
        Ok(true)
    }

    fn begin_group(&mut self, place: usize, server: &Server) -> Result<(), Finding> {
        let ending = server.entry(place).group().map(|group| group.ending);
        // What shows how a table is defined is a fact when a transaction is prepared.
        let is_kept = |ending: Ending| ending.commits() || matches!(ending, Ending::Statement | Ending::Prepare(_));
        if !ending.is_some_and(is_kept) {
            return Err(format!("frames of entry {place} are visible, which ended as {ending:?}"));
        }
        if place <= self.last_logged {
            return Err(format!("entry {place} is in the log after entry {}", self.last_logged));
        }
        self.last_logged = place;
        self.groups.push((self.seen, place));
        self.logged.insert(place, Logged::default());
        Ok(())
    }

    fn note_left_out(&mut self, header: &FrameHeader, place: usize, (is_streamed, is_of_copy): (bool, bool)) {
        match header {
            FrameHeader::Change { change: TableChange::LeftOut { table, reason }, .. } => {
                let name = Name::of(table);
                self.stopped.extend(reason.contains("stop_table").then_some(name));
                if is_streamed {
                    self.logged.entry(place).or_default().left_out.insert(name);
                }
                self.tables.entry(name).or_default().left_out.push((place, None));
            }
            FrameHeader::Change { change: TableChange::Gap { table, .. }, .. } => {
                let gone = self.waiting.extract_if(.., |(_, name)| *name == Name::of(table));
                self.explained.extend(gone);
                self.gaps.entry(Name::of(table)).or_default().insert(place);
            }
            // What was left out since the read began, another one brings.
            FrameHeader::Change { change: TableChange::ReplaceBegin { .. }, .. } if is_of_copy => {}
            FrameHeader::Mark { mark: Mark::SnapshotBegun { table, .. }, audience: Audience::All, .. }
            | FrameHeader::Change {
                change: TableChange::ReplaceBegin { table, .. }, audience: Audience::All, ..
            } => self.tables.entry(Name::of(table)).or_default().end(place),
            FrameHeader::Rows(_) | FrameHeader::Change { .. } | FrameHeader::Mark { .. } | FrameHeader::Check(_) => {}
        }
    }

    fn look_at_position(&mut self, log: &SimLog, server: &Server) -> Result<(), Finding> {
        let position = ingest::stored_position(log.values()).map_err(failed)?.ok_or("the log has no position")?;
        let place = FilePos { file: position.file.clone(), pos: position.pos };
        let entry = server.entry_of(place.file_number().unwrap_or(0), place.pos);
        let entry = entry.ok_or_else(|| format!("the stored position {place:?} is no boundary"))?;
        if position != server.position(entry) {
            return Err(format!("the stored position is {position:?}, and not {:?}", server.position(entry)));
        }
        if entry < self.position {
            return Err(format!("the stored position went back from entry {} to entry {entry}", self.position));
        }
        if entry < self.last_logged {
            return Err(format!("entry {} is durable, and the position is after entry {entry}", self.last_logged));
        }
        let lsn = stored::get(log.values(), SOURCE_LSN.key()).map_err(failed)?.map_or(Lsn::ZERO, |SourceLsn(lsn)| lsn);
        if lsn > log.durable() {
            return Err(format!("the last LSN before the position is {lsn}, and {} is durable", log.durable()));
        }
        self.stopped_by_other_names(entry, server);
        for passed in self.position + 1..=entry {
            self.passed.push(self.captured);
            self.entry_passed(passed, log, server)?;
        }
        self.position = entry;
        Ok(())
    }

    fn look_at_counters(&mut self, log: &SimLog) -> Result<(), Finding> {
        let stored = ingest::counts(log.values()).map_err(failed)?;
        let stored: BTreeMap<Name, _> = stored.iter().map(|(table, counts)| (Name::of(table), *counts)).collect();
        for name in Name::capturable() {
            let counts = stored.get(&name).copied().unwrap_or_default();
            let snapshot = log.truth().of(name);
            let counted = self.tables.entry(name).or_default();
            let wrong = |what: &str, is: u64, should: u64| {
                Err(format!("the counters of {name} are {counts:?}: {what} {is} and not {should}"))
            };
            if counts.read != counts.appended + counts.filtered + counts.left_out {
                return wrong("they balance to", counts.appended + counts.filtered + counts.left_out, counts.read);
            }
            if counts.appended != counted.appended {
                return wrong("appended is", counts.appended, counted.appended);
            }
            if counts.filtered != snapshot.filtered {
                return wrong("filtered is", counts.filtered, snapshot.filtered);
            }
            let read = counts.read.checked_sub(snapshot.read);
            let Some(read) = read.filter(|read| counted.read.contains(read)) else {
                return wrong("read is", counts.read, counted.read.end() + snapshot.read);
            };
            counted.read = read..=read;
        }
        Ok(())
    }
}
