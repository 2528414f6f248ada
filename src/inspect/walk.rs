//! Walks a log and gives its items one by one; memory stays at one read of the log, however long the log is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use wal::{FrameRef, Lsn, Reader};

use super::item::{FrameItem, Item, Query, RowItem};
use super::items::{
    audience_item, change_item, check_item, mark_item, mark_table, op_word, schema_item, section_item, source_word,
};
use super::stopped::tables;
use super::values::RowReader;
use crate::codec::catalog::{Catalog, Resolved};
use crate::codec::frame::{Frame, FrameHeader, RowOp, TableChange};
use crate::codec::stored::{FORMAT, LogFormat, get, source_names};
use crate::error::Failure;
use crate::ingest::stored_position;
use crate::model::{SchemaId, TableName};
use crate::table;

/// Bytes of the log read at once.
const READ_BYTES: usize = 1 << 20;

/// Gives the items of a log that `query` asks for to `take`, until it says `false`.
///
/// # Errors
/// Fatal, when the log cannot be read or is damaged where it is read.
pub fn inspect(reader: &Reader, query: &Query, take: &mut dyn FnMut(&Item) -> bool) -> Result<(), Failure> {
    let names = source_names(reader)?;
    let table = query.table.as_ref().map(|(database, table)| names.table(TableName::new(database, table)));
    let table = table.as_ref();
    let wanted = |name: &TableName| table.is_none_or(|table| table == name);
    for item in heads(reader, &wanted)? {
        if !take(&item) {
            return Ok(());
        }
    }
    let catalog = Catalog::new(reader.clone());
    for (id, schema) in catalog.all()? {
        if wanted(&schema.schema().name) && !take(&Item::Schema(schema_item(id, &schema))) {
            return Ok(());
        }
    }
    Frames { catalog, readers: HashMap::new(), table, rows: query.rows, take }.run(reader, query)
}

/// The log, its position, cursors, and the tables' counters.
fn heads(reader: &Reader, wanted: &dyn Fn(&TableName) -> bool) -> Result<Vec<Item>, Failure> {
    let stats = reader.stats().map_err(unreadable)?;
    let mut items = vec![Item::Log {
        id: reader.id().to_string(),
        format: get(reader, FORMAT.key())?.map(|LogFormat(format)| format),
        first_lsn: stats.first_lsn.raw(),
        durable_lsn: stats.durable_lsn.raw(),
        bytes: stats.live_bytes,
        disk_bytes: stats.disk_bytes,
    }];
    if let Some(at) = stored_position(reader)? {
        items.push(Item::Position { server: at.server.to_string(), at: at.into() });
    }
    let cursors = reader.cursors();
    for cursor in &cursors {
        items.push(Item::Cursor {
            name: cursor.name.clone(),
            lsn: cursor.lsn.raw(),
            backlog_bytes: cursor.backlog_bytes,
            backlog_transactions: cursor.backlog_groups,
            detached: cursor.detached,
        });
    }
    let records = table::records(reader)?.into_iter().collect();
    let sinks = cursors.into_iter().map(|cursor| (cursor.name, cursor.lsn));
    let tables = tables(reader, sinks, &records)?.into_iter().filter(|(name, _)| wanted(name));
    items.extend(tables.map(|(_, table)| Item::Table(table)));
    Ok(items)
}

/// The frames of an inspection.
struct Frames<'q> {
    catalog: Catalog,
    readers: HashMap<SchemaId, RowReader>,
    table: Option<&'q TableName>,
    rows: bool,
    take: &'q mut dyn FnMut(&Item) -> bool,
}

impl Frames<'_> {
    fn run(&mut self, reader: &Reader, query: &Query) -> Result<(), Failure> {
        let positions = reader.positions();
        let to = query.to.map_or(positions.durable, Lsn::new);
        // What is trimmed is gone; an inspection starts at what there is.
        let from = Lsn::new(query.from.unwrap_or(0)).max(positions.first);
        let mut at = Lsn::new(from.raw().saturating_sub(1));
        while at < to {
            let blocks = match reader.read(at, READ_BYTES) {
                Ok(blocks) => blocks,
                // A running daemon trims while we look.
                Err(wal::Error::Trimmed { first, .. }) => {
                    at = Lsn::new(first.raw().saturating_sub(1));
                    continue;
                }
                Err(error) => return Err(unreadable(error)),
            };
            if blocks.is_empty() {
                return Ok(());
            }
            for block in &blocks {
                for frame in block.frames() {
                    let frame = frame.map_err(unreadable)?;
                    if frame.lsn <= at {
                        continue;
                    }
                    if frame.lsn > to {
                        return Ok(());
                    }
                    at = frame.lsn;
                    if !self.frame(&frame)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// False when no more is wanted.
    fn frame(&mut self, frame: &FrameRef<'_>) -> Result<bool, Failure> {
        let decoded = Frame::decode(frame.payload).map_err(|error| damaged(frame.lsn, error))?;
        let (mut sections, mut change, mut check) = (Vec::new(), None, None);
        match &decoded.header {
            FrameHeader::Rows(rows) => {
                for section in &rows.sections {
                    let resolved = self.catalog.resolve(section.schema)?;
                    let table = &resolved.schema().name;
                    if self.wants(table) {
                        sections.push(section_item(table, section));
                    }
                }
                if sections.is_empty() && self.table.is_some() {
                    return Ok(true);
                }
            }
            FrameHeader::Change { change: what, .. } => {
                if !self.wants(what.table()) && !matches!(what, TableChange::Rename { to, .. } if self.wants(to)) {
                    return Ok(true);
                }
                change = Some(change_item(what));
            }
            FrameHeader::Mark { mark, .. } => {
                if !self.wants(mark_table(mark)) {
                    return Ok(true);
                }
                change = Some(mark_item(mark));
            }
            FrameHeader::Check(header) => {
                if !self.wants(&header.table) {
                    return Ok(true);
                }
                let resolved = self.catalog.resolve(header.schema)?;
                check = Some(Box::new(check_item(header, resolved.schema(), self.rows)?));
            }
        }
        let origin = decoded.header.origin();
        let place = origin.binlog();
        let item = FrameItem {
            lsn: frame.lsn.raw(),
            position: frame.position,
            audience: audience_item(decoded.header.audience()),
            source: source_word(&origin.place).to_owned(),
            committed: moment(origin.commit_micros),
            gtid: place.gtid.to_string(),
            file_number: place.file_number,
            pos: place.pos,
            ends_transaction: frame.end_of_group,
            bytes: u64::try_from(frame.payload.len()).unwrap_or(u64::MAX),
            sections,
            change,
            check,
        };
        if !(self.take)(&Item::Frame(item)) {
            return Ok(false);
        }
        if self.rows { self.frame_rows(frame, &decoded) } else { Ok(true) }
    }

    fn frame_rows(&mut self, frame: &FrameRef<'_>, decoded: &Frame<'_>) -> Result<bool, Failure> {
        for (section, body, first) in decoded.sections() {
            let rows = Rows { schema: section.schema, op: Some(section.op), count: section.rows, first };
            if !self.images(frame, &rows, body)? {
                return Ok(false);
            }
        }
        let Some((check, body)) = decoded.check() else { return Ok(true) };
        self.images(frame, &Rows { schema: check.schema, op: None, count: check.rows, first: 0 }, body)
    }

    /// The rows of a run, as far as their schema is known.
    fn images(&mut self, frame: &FrameRef<'_>, rows: &Rows, body: &[u8]) -> Result<bool, Failure> {
        let Resolved::Known(schema) = self.catalog.resolve(rows.schema)? else { return Ok(true) };
        if !self.wants(&schema.name) {
            return Ok(true);
        }
        let reader = match self.readers.entry(rows.schema) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(RowReader::new(Arc::clone(&schema))?),
        };
        let mut rest = body;
        let mut image = || -> Result<_, Failure> {
            let (values, length) = match rows.op {
                Some(RowOp::DeleteByKey) => reader.read_key(rest)?,
                _ => reader.read(rest)?,
            };
            rest = rest.get(length..).unwrap_or_default();
            Ok(Some(values))
        };
        for ordinal in rows.first..rows.first.saturating_add(rows.count) {
            let (before, after) = match rows.op {
                None | Some(RowOp::Insert | RowOp::Snapshot) => (None, image()?),
                Some(RowOp::Delete | RowOp::DeleteByKey) => (image()?, None),
                Some(RowOp::Update) => (image()?, image()?),
            };
            let item = RowItem {
                lsn: frame.lsn.raw(),
                ordinal,
                version: frame.position.saturating_add(u64::from(ordinal)),
                table: schema.name.to_string(),
                op: rows.op.map_or("check", op_word).to_owned(),
                before,
                after,
            };
            if !(self.take)(&Item::Row(item)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wants(&self, name: &TableName) -> bool {
        self.table.is_none_or(|table| table == name)
    }
}

/// A run of rows of one schema.
struct Rows {
    schema: SchemaId,
    /// What happened to them; `None` for rows to compare.
    op: Option<RowOp>,
    count: u32,
    /// Ordinal of the first.
    first: u32,
}

/// Microseconds since the epoch as a moment in UTC.
fn moment(micros: i64) -> String {
    let since = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + since).to_string()
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::fatal("cannot read the log").caused_by(error).hint("see replicator wal verify")
}

pub(super) fn damaged(lsn: Lsn, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::fatal(format!("frame {lsn} of the log is damaged")).caused_by(error).hint("see replicator wal verify")
}
