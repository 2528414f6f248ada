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
use super::tables::{Layout, Name};

/// What the log says of a schema id, and how rows under it are read.
#[derive(Debug)]
pub struct Schema {
    pub record: SchemaRecord,
    pub layout: Layout,
}

/// Schemas read so far. What a durable id stands for changes once at most, when it is decided.
#[derive(Debug, Default)]
pub struct Schemas(HashMap<SchemaId, Rc<Schema>>);

impl Schemas {
    /// What the log says of a schema id.
    pub fn get(&mut self, values: &Values, id: SchemaId) -> Result<Rc<Schema>, Finding> {
        if let Some(schema) = self.0.get(&id) {
            return Ok(Rc::clone(schema));
        }
        let record = stored::get(values, &SCHEMA.of_number(id.0)).map_err(|failure| failure.chain())?;
        let record: SchemaRecord = record.ok_or_else(|| format!("the log holds no schema {id}"))?;
        let layout = Layout::of(record.schema().clone());
        let schema = Rc::new(Schema { record, layout });
        if !matches!(schema.record, SchemaRecord::Pending { .. } | SchemaRecord::Unnamed { .. }) {
            self.0.insert(id, Rc::clone(&schema));
        }
        Ok(schema)
    }
}

impl Schema {
    /// The columns and the key.
    pub fn definition(&self) -> &TableSchema {
        self.record.schema()
    }

    /// The table.
    pub fn name(&self) -> Name {
        Name::of(&self.definition().name)
    }

    /// Places of the columns of its key.
    pub fn key_places(&self) -> Option<Vec<usize>> {
        let key = self.definition().key.as_ref()?;
        Some(key.columns.iter().map(|place| usize::from(*place)).collect())
    }

    /// Whether rows under it wait.
    pub fn is_pending(&self) -> bool {
        matches!(self.record, SchemaRecord::Pending { .. } | SchemaRecord::Unnamed { .. })
    }

    /// Whether it is the schema of every row under it.
    pub fn is_known(&self) -> bool {
        matches!(self.record, SchemaRecord::Known(_))
    }

    /// Whether rows under it are left out.
    pub fn is_left_out(&self) -> bool {
        matches!(self.record, SchemaRecord::LeftOut { .. })
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
pub fn changes(schema: &Schema, op: RowOp, rows: u32, body: &[u8]) -> Result<Vec<Change>, Finding> {
    let mut rest = body;
    let mut changes = Vec::new();
    for _ in 0..rows {
        let mut next = || -> Result<_, Finding> {
            let (row, tail) = schema.layout.read(rest)?;
            rest = tail;
            Ok(Some(row))
        };
        changes.push(match op {
            RowOp::Insert | RowOp::Snapshot => Change { before: None, after: next()? },
            RowOp::Delete | RowOp::DeleteByKey => Change { before: next()?, after: None },
            RowOp::Update => Change { before: next()?, after: next()? },
        });
    }
    if rest.is_empty() {
        Ok(changes)
    } else {
        Err(format!("a section of {} has bytes after its last row", schema.name()))
    }
}
