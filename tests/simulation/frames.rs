//! Frames of the log as the checks and the model sink read them.

use std::collections::HashMap;
use std::rc::Rc;

use replicator::codec::catalog::SchemaRecord;
use replicator::codec::frame::{Frame, RowOp};
use replicator::codec::stored::{self, SCHEMA};
use replicator::model::{SchemaId, TableSchema};

use super::binlog::Change;
use super::daemon::Finding;
use super::log::{Stored, Values};
use super::shape::Shape;
use super::tables::{Layout, Name, layout};

/// Schemas read so far. What a durable id stands for changes once at most, when it is decided.
#[derive(Debug, Default)]
pub struct Schemas(HashMap<SchemaId, Rc<SchemaRecord>>);

impl Schemas {
    /// What the log says of a schema id.
    pub fn record(&mut self, values: &Values, id: SchemaId) -> Result<Rc<SchemaRecord>, Finding> {
        if let Some(record) = self.0.get(&id) {
            return Ok(Rc::clone(record));
        }
        let record = stored::get(values, &SCHEMA.of_number(id.0)).map_err(|failure| failure.chain())?;
        let record: Rc<SchemaRecord> = Rc::new(record.ok_or_else(|| format!("the log holds no schema {id}"))?);
        if !matches!(*record, SchemaRecord::Pending { .. }) {
            self.0.insert(id, Rc::clone(&record));
        }
        Ok(record)
    }
}

pub fn decode(stored: &Stored) -> Result<Frame<'_>, Finding> {
    Frame::decode(&stored.payload).map_err(|error| format!("frame {} cannot be read: {error}", stored.lsn))
}

/// The next group of `frames`, and how many frames it has.
pub fn group(frames: &[Stored]) -> &[Stored] {
    let end = frames.iter().position(|frame| frame.ends).map_or(frames.len(), |end| end + 1);
    &frames[..end]
}

/// The row changes of a section.
pub fn changes(schema: &TableSchema, op: RowOp, rows: u32, body: &[u8]) -> Result<Vec<Change>, Finding> {
    let layout = layout(Name::of(&schema.name), Shape::of(schema));
    let mut rest = body;
    let mut changes = Vec::new();
    for _ in 0..rows {
        let mut next = || -> Result<_, Finding> {
            let (row, tail) = Layout::read(&layout, rest)?;
            rest = tail;
            Ok(Some(row))
        };
        changes.push(match op {
            RowOp::Insert | RowOp::Snapshot => Change { before: None, after: next()? },
            RowOp::Delete => Change { before: next()?, after: None },
            RowOp::Update => Change { before: next()?, after: next()? },
        });
    }
    if rest.is_empty() {
        Ok(changes)
    } else {
        Err(format!("a section of {} has bytes after its last row", schema.name))
    }
}
