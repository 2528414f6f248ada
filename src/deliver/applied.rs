//! Rows applied per table and sink, stored with the sink's cursor: state key `applied/<sink>\0<database>\0<table>`.
//!
//! They are counted from frame headers when a round is acknowledged. After a crash between the target's commit and the
//! log's, the rounds in between are counted again from the log, so that the counters stay exact.

use std::collections::HashMap;

use wal::{Lsn, Reader};

use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, FrameHeader};
use crate::codec::state::{encode, name_key, named};
use crate::error::Failure;
use crate::model::{SchemaId, TableName};

const READ_BYTES: usize = 1 << 20;

fn prefix(sink: &str) -> Vec<u8> {
    [b"applied/", sink.as_bytes(), &[0]].concat()
}

/// Rows applied to a sink, by table.
///
/// # Errors
/// When the log cannot be read or a counter is damaged.
pub fn applied_rows(reader: &Reader, sink: &str) -> Result<Vec<(TableName, u64)>, Failure> {
    named(reader, &prefix(sink), "an applied counter")
}

/// The counters of one sink.
#[derive(Debug)]
pub(super) struct Applied {
    prefix: Vec<u8>,
    totals: HashMap<TableName, u64>,
    /// Rows of the open round, by schema: names are looked up once a round.
    round: HashMap<SchemaId, u64>,
}

impl Applied {
    pub(super) fn load(reader: &Reader, sink: &str) -> Result<Self, Failure> {
        let totals = applied_rows(reader, sink)?.into_iter().collect();
        Ok(Self { prefix: prefix(sink), totals, round: HashMap::new() })
    }

    /// Rows applied so far, by table.
    pub(super) fn totals(&self) -> HashMap<TableName, u64> {
        self.totals.clone()
    }

    /// Counts the rows of a frame.
    pub(super) fn count(&mut self, frame: &Frame<'_>) {
        if let FrameHeader::Rows(rows) = &frame.header {
            for section in &rows.sections {
                *self.round.entry(section.schema).or_default() += u64::from(section.rows);
            }
        }
    }

    /// Adds the round; gives the rows by table, and the state to store with the cursor.
    pub(super) fn end_round(
        &mut self,
        catalog: &mut Catalog,
    ) -> Result<(Vec<(TableName, u64)>, Vec<(Vec<u8>, Option<Vec<u8>>)>), Failure> {
        let mut rows: HashMap<TableName, u64> = HashMap::new();
        for (schema, count) in self.round.drain() {
            let schema = catalog
                .get(schema)
                .map_err(|error| Failure::fatal("a schema of an applied frame is not in the log").caused_by(error))?;
            *rows.entry(schema.name.clone()).or_default() += count;
        }
        let mut state = Vec::with_capacity(rows.len());
        for (table, count) in &rows {
            let total = self.totals.entry(table.clone()).or_default();
            *total += count;
            state.push((name_key(&self.prefix, table), Some(encode("an applied counter", total)?)));
        }
        Ok((rows.into_iter().collect(), state))
    }

    /// Counts the frames in (`after`, `to`] of the log: what the target has applied without the log knowing.
    pub(super) fn count_gap(&mut self, reader: &Reader, after: Lsn, to: Lsn) -> Result<(), Failure> {
        let damaged = |error| Failure::fatal("cannot read the log").caused_by(error);
        let mut at = after;
        while at < to {
            let blocks = reader.read(at, READ_BYTES).map_err(damaged)?;
            if blocks.is_empty() {
                return Err(Failure::fatal(format!("the log ends at {at}, before lsn {to} that a sink has applied")));
            }
            for block in &blocks {
                for frame in block.frames() {
                    let frame =
                        frame.map_err(|source| damaged(wal::Error::Damaged { block: block.first_lsn(), source }))?;
                    if frame.lsn > at && frame.lsn <= to {
                        let decoded = Frame::decode(frame.payload).map_err(|error| damaged_frame(frame.lsn, error))?;
                        self.count(&decoded);
                        at = frame.lsn;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A frame that cannot be decoded stops the sink.
pub(super) fn damaged_frame(lsn: Lsn, error: crate::codec::frame::FrameError) -> Failure {
    Failure::fatal(format!("frame {lsn} of the log is damaged")).caused_by(error).hint("see replicator wal verify")
}
