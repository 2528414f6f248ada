//! Walks a log and gives its items one by one; memory stays at one read of the log, however long the log is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use wal::{FrameRef, Lsn, Reader};

use super::item::{ChangeItem, FrameItem, Item, Query, RowItem, SchemaItem, SectionItem, TableItem};
use super::values::{RowReader, column_in_words};
use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, FrameHeader, Mark, RowOp, TableChange};
use crate::deliver::sink_rows;
use crate::error::Failure;
use crate::ingest::{counts, stored_position};
use crate::model::{SchemaId, TableName, TableSchema};

/// Bytes of the log read at once.
const READ_BYTES: usize = 1 << 20;

/// Gives the items of a log that `query` asks for to `take`, until it says `false`.
///
/// # Errors
/// Fatal, when the log cannot be read or is damaged where it is read.
pub fn inspect(reader: &Reader, query: &Query, take: &mut dyn FnMut(&Item) -> bool) -> Result<(), Failure> {
    let table = query.table.as_ref().map(|(database, table)| TableName::new(database, table));
    let table = table.as_ref();
    let wanted = |name: &TableName| table.is_none_or(|table| table == name);
    for item in heads(reader, &wanted)? {
        if !take(&item) {
            return Ok(());
        }
    }
    let catalog = Catalog::new(reader.clone());
    for (id, schema) in catalog.all()? {
        if wanted(&schema.schema().name) && !take(&Item::Schema(schema_item(id, schema.schema()))) {
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
    let mut applied = Vec::with_capacity(cursors.len());
    for cursor in cursors {
        let rows: HashMap<TableName, u64> =
            sink_rows(reader, &cursor.name)?.into_iter().map(|(table, counts)| (table, counts.applied())).collect();
        applied.push((cursor.name, rows));
    }
    for (name, counts) in counts(reader)?.into_iter().filter(|(name, _)| wanted(name)) {
        let rows_at =
            |(sink, rows): &(String, HashMap<TableName, u64>)| (sink.clone(), rows.get(&name).copied().unwrap_or(0));
        items.push(Item::Table(TableItem {
            table: name.to_string(),
            read: counts.read,
            appended: counts.appended,
            filtered: counts.filtered,
            applied: applied.iter().map(rows_at).collect(),
        }));
    }
    Ok(items)
}

fn schema_item(id: SchemaId, schema: &TableSchema) -> SchemaItem {
    let key = schema.key.iter().flat_map(|key| &key.columns);
    SchemaItem {
        id: id.0,
        table: schema.name.to_string(),
        columns: schema.columns.iter().map(column_in_words).collect(),
        key: key.filter_map(|column| Some(schema.columns.get(usize::from(*column))?.name.clone())).collect(),
    }
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
        let mut sections = Vec::new();
        let mut change = None;
        match &decoded.header {
            FrameHeader::Rows(rows) => {
                for section in &rows.sections {
                    let schema = self.schema(section.schema)?;
                    if self.wants(&schema.name) {
                        sections.push(SectionItem {
                            table: schema.name.to_string(),
                            schema: section.schema.0,
                            op: op_word(section.op).to_owned(),
                            rows: section.rows,
                            bytes: section.bytes,
                        });
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
                let table = match mark {
                    Mark::SnapshotBegun { table } | Mark::SnapshotFinished { table, .. } => table,
                };
                if self.table.is_some() && self.table != Some(table) {
                    return Ok(true);
                }
                change = Some(mark_item(mark));
            }
            FrameHeader::Check(check) => {
                if !self.wants(&check.table) {
                    return Ok(true);
                }
                let detail = format!("{} rows of schema {}", check.rows, check.schema);
                change = Some(ChangeItem { what: "check".to_owned(), table: check.table.to_string(), detail });
            }
        }
        let origin = decoded.header.origin();
        let item = FrameItem {
            lsn: frame.lsn.raw(),
            committed: moment(origin.commit_micros),
            gtid: origin.binlog().gtid.to_string(),
            file_number: origin.binlog().file_number,
            pos: origin.binlog().pos,
            ends_transaction: frame.end_of_group,
            bytes: u64::try_from(frame.payload.len()).unwrap_or(u64::MAX),
            sections,
            change,
        };
        if !(self.take)(&Item::Frame(item)) {
            return Ok(false);
        }
        if self.rows { self.frame_rows(frame.lsn, &decoded) } else { Ok(true) }
    }

    fn frame_rows(&mut self, lsn: Lsn, frame: &Frame<'_>) -> Result<bool, Failure> {
        for (section, body, first) in frame.sections() {
            let schema = self.schema(section.schema)?;
            if !self.wants(&schema.name) {
                continue;
            }
            let reader = match self.readers.entry(section.schema) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(RowReader::new(Arc::clone(&schema))?),
            };
            let mut rest = body;
            let mut image = || -> Result<_, Failure> {
                let (values, length) = reader.read(rest)?;
                rest = rest.get(length..).unwrap_or_default();
                Ok(Some(values))
            };
            for ordinal in first..first.saturating_add(section.rows) {
                let (before, after) = match section.op {
                    RowOp::Insert | RowOp::Snapshot => (None, image()?),
                    RowOp::Delete => (image()?, None),
                    RowOp::Update => (image()?, image()?),
                };
                let table = schema.name.to_string();
                let op = op_word(section.op).to_owned();
                if !(self.take)(&Item::Row(RowItem { lsn: lsn.raw(), ordinal, table, op, before, after })) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn schema(&mut self, id: SchemaId) -> Result<Arc<TableSchema>, Failure> {
        self.catalog.get(id)
    }

    fn wants(&self, name: &TableName) -> bool {
        self.table.is_none_or(|table| table == name)
    }
}

fn op_word(op: RowOp) -> &'static str {
    match op {
        RowOp::Insert => "insert",
        RowOp::Update => "update",
        RowOp::Delete => "delete",
        RowOp::Snapshot => "snapshot",
    }
}

fn change_item(change: &TableChange) -> ChangeItem {
    let (what, detail) = match change {
        TableChange::Schema { from, to, renamed, .. } => {
            let from = from.map_or_else(|| "new table".to_owned(), |from| format!("schema {from}"));
            let renamed: Vec<_> = renamed.iter().map(|(old, new)| format!(", column {old} is now {new}")).collect();
            ("schema", format!("{from} to schema {to}{}", renamed.concat()))
        }
        TableChange::Truncate { .. } => ("truncate", String::new()),
        TableChange::Drop { .. } => ("drop", String::new()),
        TableChange::Rename { to, schema, .. } => ("rename", format!("to {to}, schema {schema}")),
        TableChange::ReplaceBegin { schema, .. } => ("replace_begin", format!("schema {schema}")),
        TableChange::ReplaceEnd { .. } => ("replace_end", String::new()),
        TableChange::Gap { reason, .. } => ("gap", reason.clone()),
        TableChange::LeftOut { reason, .. } => ("left_out", reason.clone()),
    };
    ChangeItem { what: what.to_owned(), table: change.table().to_string(), detail }
}

fn mark_item(mark: &Mark) -> ChangeItem {
    let (what, table, detail) = match mark {
        Mark::SnapshotBegun { table } => ("snapshot_begun", table.to_string(), String::new()),
        Mark::SnapshotFinished { table, rows } => ("snapshot_finished", table.to_string(), format!("{rows} rows")),
    };
    ChangeItem { what: what.to_owned(), table, detail }
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
