//! A model sink: applies durable groups one after another, waits at schema ids that are not decided, leaves out the rows of those that
//! never will be, and passes over what is for other sinks.
//!
//! What it says of each table is kept as the delivery keeps it ([`Tables`]). What that comes to is checked in [`super::stated`].

use std::collections::BTreeSet;
use std::rc::Rc;

use replicator::codec::catalog::{Catalog, SchemaRecord};
use replicator::codec::frame::{Frame, FrameHeader, RowOp, TableChange};
use replicator::deliver::{TableAtSink, TableEvent, Tables, followed};
use replicator::ingest::ledger::Log as _;
use replicator::model::{Column, Gtid, Origin, SchemaId, TableName};
use replicator::table;
use wal::Lsn;

use super::copies::{Copies, Copy, Line};
use super::daemon::{Finding, failed};
use super::frames::{self, Schemas};
use super::log::{SimLog, Values};
use super::rng::Rng;
use super::server::Server;
use super::tables::{Name, Row, take};
use super::trace;

#[derive(Debug)]
pub struct Sink {
    pub name: &'static str,
    /// Frames applied.
    applied: usize,
    /// The entry of the last group that was applied.
    place: usize,
    /// The entry after which its history begins.
    pub begun: usize,
    schemas: Schemas,
    /// What became of each table, as the log has it with the cursor.
    pub tables: Tables,
    pub copies: Copies,
    /// Tables whose doubt this process has reported, or found.
    reported: BTreeSet<Name>,
}

impl Sink {
    /// A sink with an empty target, that begins after so many frames of the log, and after an entry.
    pub fn new(name: &'static str, applied: usize, begun: usize) -> Self {
        Self {
            name,
            applied,
            place: begun,
            begun,
            schemas: Schemas::default(),
            tables: Tables::new(name),
            copies: Copies::default(),
            reported: BTreeSet::new(),
        }
    }

    /// Applies the next group. False: there is none, or it waits for a schema.
    pub fn step(&mut self, log: &SimLog, server: &Server) -> Result<bool, Finding> {
        if self.applied < log.trimmed() {
            return Err(format!("frames that sink {} has not applied are trimmed", self.name));
        }
        let group = frames::group(&log.frames()[self.applied..]);
        let decoded: Vec<(Lsn, Frame<'_>)> =
            group.iter().map(|stored| Ok((stored.lsn, frames::decode(stored)?))).collect::<Result<_, Finding>>()?;
        let ours = |frame: &Frame<'_>| frame.header.audience().includes(self.name);
        let ours: Vec<bool> = decoded.iter().map(|(_, frame)| ours(frame)).collect();
        let our_frames = || decoded.iter().zip(&ours).filter(|(_, is_ours)| **is_ours).map(|(frame, _)| frame);
        if decoded.is_empty() || self.waits(our_frames().map(|(_, frame)| frame), log.values())? {
            return Ok(false);
        }
        for (lsn, frame) in our_frames() {
            self.apply(*lsn, frame, log.values(), server)?;
        }
        if let Some((_, frame)) = decoded.last() {
            // Rows that have waited are of an earlier place.
            self.place = self.place.max(place_of(frame.header.origin(), server)?.0);
        }
        self.applied += group.len();
        Ok(true)
    }

    /// How many frames are applied.
    pub fn applied(&self) -> usize {
        self.applied
    }

    /// The last of them.
    pub fn lsn(&self, log: &SimLog) -> Lsn {
        self.applied.checked_sub(1).map_or(Lsn::ZERO, |last| log.frames()[last].lsn)
    }

    /// The entry of the last group that was applied.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Whether everything durable is applied.
    pub fn is_done(&self, log: &SimLog) -> bool {
        self.lsn(log) == log.durable()
    }

    /// Its cursor was dropped, and now it is there again with its target: what the log says of its tables (`deliver/new_sink.rs`).
    pub fn returns(&mut self, log: &SimLog) -> Result<(), Finding> {
        let left: Vec<(TableName, Option<String>)> =
            self.tables.iter().map(|(table, at)| (table.clone(), at.clone().doubt_left())).collect();
        self.tables = Tables::new(self.name);
        for (table, doubt) in left {
            self.tables.entry(&table).doubt = doubt;
        }
        let at = self.lsn(log);
        self.tables.come_back(&table::records(log.values()).map_err(failed)?, at);
        Ok(())
    }

    /// Its target has lost a row of a table, which its counts say.
    pub fn lose_a_row(&mut self, rng: &mut Rng) -> Option<Name> {
        let has_rows = |(name, copy): (&Name, &Copy)| (!copy.rows.is_empty()).then_some(*name);
        let names: Vec<Name> = self.copies.all.iter().filter_map(has_rows).collect();
        let name = *rng.pick(&names)?;
        let at = self.tables.entry(&name.table());
        if at.doubt.is_some() || !self.reported.insert(name) {
            return None;
        }
        trace::note(|| format!("sink {}: a row of {name} is lost", self.name));
        at.doubt = Some("a row is lost".to_owned());
        let copy = self.copies.all.get_mut(&name)?;
        let rows: Vec<Row> = copy.rows.keys().copied().collect();
        take(&mut copy.rows, *rng.pick(&rows)?);
        Some(name)
    }

    /// A process starts. Returns the tables that are in doubt, by the names that they have at the end of the log, and that nothing in the
    /// log replaces.
    pub fn start(&mut self, log: &SimLog) -> Result<BTreeSet<Name>, Finding> {
        let in_doubt = |(table, at): (&TableName, &TableAtSink)| at.doubt.as_ref().map(|_| Name::of(table));
        let mut doubted: BTreeSet<Name> = self.tables.iter().filter_map(in_doubt).collect();
        self.reported.clone_from(&doubted);
        for stored in &log.frames()[self.applied..] {
            let frame = frames::decode(stored)?;
            let FrameHeader::Change { change, audience, .. } = &frame.header else { continue };
            match change {
                _ if !audience.includes(self.name) => {}
                TableChange::ReplaceBegin { table, schema } if doubted.contains(&Name::of(table)) => {
                    if matches!(self.schemas.get(log.values(), *schema)?.record, SchemaRecord::Known(_)) {
                        doubted.remove(&Name::of(table));
                    }
                }
                TableChange::Drop { table } => drop(doubted.remove(&Name::of(table))),
                TableChange::Rename { from, to, .. } => {
                    doubted.remove(&Name::of(to));
                    if doubted.remove(&Name::of(from)) {
                        doubted.insert(Name::of(to));
                    }
                }
                _ => {}
            }
        }
        Ok(doubted)
    }

    /// Whether a table is in doubt here.
    pub fn doubts(&self, name: Name) -> bool {
        self.tables.get(&name.table()).is_some_and(|at| at.doubt.is_some())
    }

    /// Whether a group has to wait for a schema.
    fn waits<'f>(&mut self, group: impl Iterator<Item = &'f Frame<'f>>, values: &Values) -> Result<bool, Finding> {
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
                before = match &self.schemas.get(values, id)?.record {
                    SchemaRecord::LeftOut { before, .. } => *before,
                    SchemaRecord::Known(_) | SchemaRecord::Pending { .. } | SchemaRecord::Unnamed { .. } => None,
                };
            }
            for id in ids {
                if self.schemas.get(values, id)?.is_pending() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn apply(&mut self, lsn: Lsn, frame: &Frame<'_>, values: &Values, server: &Server) -> Result<(), Finding> {
        let (place, is_streamed) = place_of(frame.header.origin(), server)?;
        match &frame.header {
            FrameHeader::Rows(_) => {
                for (section, body, _) in frame.sections() {
                    let schema = self.schemas.get(values, section.schema)?;
                    let name = schema.name();
                    let changes = frames::changes(&schema, section.op, section.rows, body)?;
                    if schema.is_left_out() {
                        trace::note(|| format!("sink {}: rows of {name} are left out", self.name));
                        self.happened(TableEvent::Lost { table: schema.definition().name.clone() });
                        self.copies.left_out.insert((place, name));
                        continue;
                    }
                    let copy = self.copies.all.entry(name).or_default();
                    match &copy.schema {
                        None => copy.define(section.schema, Rc::clone(&schema), &[], place)?,
                        Some((id, _)) if *id == section.schema => {}
                        Some((id, _)) => {
                            return Err(format!(
                                "rows of {name} of entry {place} are under schema {}, and the copy has schema {id}",
                                section.schema
                            ));
                        }
                    }
                    let key = schema.key_places();
                    for change in changes {
                        copy.change(change, section.op, key.as_deref());
                        if is_streamed && section.op != RowOp::Snapshot {
                            self.copies.history.push(Line { entry: place, name, change });
                        }
                    }
                }
            }
            FrameHeader::Change { change, .. } => {
                if !is_streamed {
                    self.is_of_one_moment(change, values, server, place)?;
                }
                self.table_change(change, values, place)?;
            }
            FrameHeader::Mark { mark, .. } => self.happened(TableEvent::of_mark(mark, lsn)),
            FrameHeader::Check(_) => return Err("a check frame, which nothing asks for".to_owned()),
        }
        Ok(())
    }

    /// What an answer of the server has made of a table has the columns and the key of one moment.
    fn is_of_one_moment(
        &mut self,
        change: &TableChange,
        values: &Values,
        server: &Server,
        place: usize,
    ) -> Result<(), Finding> {
        let TableChange::Schema { table, to, .. } = change else { return Ok(()) };
        let schema = self.schemas.get(values, *to)?;
        let Some(there) = server.state(place).tables.get(&Name::of(table)) else { return Ok(()) };
        let (told, had) = (schema.definition(), there.shape.described(Name::of(table)));
        let column = |column: &Column| (column.name.clone(), column.ty.clone(), column.nullable);
        if told.columns.iter().map(column).eq(had.columns.iter().map(column)) && told.key != had.key {
            return Err(format!(
                "{table} has the key {:?} after entry {place}, and is told to have {:?}",
                had.key, told.key
            ));
        }
        Ok(())
    }

    /// Something happens to a table as a whole.
    fn happened(&mut self, event: TableEvent) {
        trace::note(|| format!("sink {}: {event:?}", self.name));
        self.tables.happened(event);
    }

    fn table_change(&mut self, change: &TableChange, values: &Values, place: usize) -> Result<(), Finding> {
        trace::note(|| format!("sink {}: {change:?}, after entry {place}", self.name));
        let mut catalog = Catalog::new(values);
        let reaching = followed(change, &mut catalog).map_err(failed)?;
        let event = TableEvent::of_change(change, reaching.as_deref());
        if let Some(event) = event {
            self.happened(event);
        }
        let copies = &mut self.copies.all;
        match reaching.as_deref() {
            Some(TableChange::Schema { table, to, renamed, lost, .. }) => {
                let schema = self.schemas.get(values, *to)?;
                let copy = copies.entry(Name::of(table)).or_default();
                // Its keys cannot be told: a replace that begins after this brings them, and ends.
                copy.is_beside_old |= *lost;
                copy.lacks_rows |= *lost;
                copy.define(*to, schema, renamed, place)?;
            }
            Some(TableChange::Truncate { table }) => {
                if let Some(copy) = copies.get_mut(&Name::of(table)) {
                    copy.rows.clear();
                }
            }
            Some(TableChange::Drop { table }) => drop(copies.remove(&Name::of(table))),
            Some(TableChange::Rename { from, to, schema }) => {
                let mut copy = copies.remove(&Name::of(from)).unwrap_or_default();
                let defined = copy.defined;
                copy.define(*schema, self.schemas.get(values, *schema)?, &[], defined)?;
                copies.insert(Name::of(to), copy);
            }
            Some(TableChange::ReplaceBegin { table, schema }) => {
                let is_beside_old = copies.contains_key(&Name::of(table));
                let mut copy = Copy { replaced: place, is_beside_old, ..Copy::default() };
                copy.define(*schema, self.schemas.get(values, *schema)?, &[], place)?;
                copies.insert(Name::of(table), copy);
            }
            Some(TableChange::ReplaceEnd { table }) => {
                if let Some(copy) = copies.get_mut(&Name::of(table)).filter(|copy| !copy.lacks_rows) {
                    copy.is_beside_old = false;
                }
            }
            Some(TableChange::LeftOut { .. } | TableChange::Gap { .. }) | None => {}
        }
        Ok(())
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
