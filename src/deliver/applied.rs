//! What became of each table's rows at a sink, stored with the sink's cursor.
//!
//! They are counted when a round is acknowledged. After a crash between the target's commit and the log's, the rounds in between are
//! counted again from the log, so that the counters stay exact.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wal::{Lsn, Reader};

use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, FrameHeader};
use crate::codec::stored::{self, SINK_ROWS, encode};
use crate::error::Failure;
use crate::model::{RowCounts, SchemaId, TableName};
use crate::sink::StoppedTable;

const READ_BYTES: usize = 1 << 20;

/// What became of the rows of each table at a sink.
///
/// # Errors
/// When the log cannot be read or a counter is damaged.
pub fn sink_rows(reader: &Reader, sink: &str) -> Result<Vec<(TableName, RowCounts)>, Failure> {
    stored::of_sink_tables(reader, sink)
}

/// Rows of one table in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoundRows {
    pub(super) table: TableName,
    pub(super) applied: u64,
    pub(super) skipped: u64,
}

/// The rows of a round, by schema.
#[derive(Debug)]
pub(super) struct Sealed(HashMap<SchemaId, u64>);

/// The counters of one sink.
#[derive(Debug)]
pub(super) struct Applied {
    sink: String,
    totals: HashMap<TableName, RowCounts>,
    /// Rows of the open round, by schema: names are looked up once a round.
    round: HashMap<SchemaId, u64>,
}

impl Applied {
    pub(super) fn load(reader: &Reader, sink: &str) -> Result<Self, Failure> {
        let totals = sink_rows(reader, sink)?.into_iter().collect();
        Ok(Self { sink: sink.to_owned(), totals, round: HashMap::new() })
    }

    /// Rows so far, by table: (applied, skipped).
    pub(super) fn totals(&self) -> HashMap<TableName, (u64, u64)> {
        self.totals.iter().map(|(table, counts)| (table.clone(), (counts.applied(), counts.skipped))).collect()
    }

    /// Counts the rows of a frame.
    pub(super) fn count(&mut self, frame: &Frame<'_>) {
        if let FrameHeader::Rows(rows) = &frame.header {
            for section in &rows.sections {
                *self.round.entry(section.schema).or_default() += u64::from(section.rows);
            }
        }
    }

    /// Ends the counting of a round; the next frames are of the next one.
    pub(super) fn seal(&mut self) -> Sealed {
        Sealed(std::mem::take(&mut self.round))
    }

    /// Adds a round that ends at `end`, where rows of `stopped` tables were left out; gives the rows by table, and the state to store
    /// with the cursor.
    pub(super) fn add(
        &mut self,
        Sealed(round): Sealed,
        end: Lsn,
        catalog: &mut Catalog,
        stopped: &BTreeMap<TableName, StoppedTable>,
    ) -> Result<(Vec<RoundRows>, Vec<(Vec<u8>, Option<Vec<u8>>)>), Failure> {
        let mut rows: HashMap<TableName, u64> = HashMap::new();
        for (schema, count) in round {
            let schema = catalog.get(schema)?;
            *rows.entry(schema.name.clone()).or_default() += count;
        }
        let (mut counts, mut state) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (table, count) in rows {
            let is_left_out = stopped.get(&table).is_some_and(|stopped| stopped.since <= end);
            let (applied, skipped) = if is_left_out { (0, count) } else { (count, 0) };
            let totals = self.totals.entry(table.clone()).or_default();
            totals.add(RowCounts { taken: count, acknowledged: applied, skipped, ..RowCounts::default() });
            state.push((SINK_ROWS.of_sink_table(&self.sink, &table), Some(encode(totals)?)));
            counts.push(RoundRows { table, applied, skipped });
        }
        Ok((counts, state))
    }

    /// Adds the frames in (`after`, `to`] of the log, which the target has applied without the log knowing; gives the state to store
    /// with the cursor. Where its rounds ended is not known: rows of a table in `stopped` were applied up to where that stopped.
    pub(super) fn add_gap(
        &mut self,
        reader: &Reader,
        (after, to): (Lsn, Lsn),
        catalog: &mut Catalog,
        stopped: &BTreeMap<TableName, StoppedTable>,
    ) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
        let stops = stopped.values().map(|stopped| stopped.since).filter(|since| *since > after && *since <= to);
        let ends: BTreeSet<Lsn> = stops.map(Lsn::prev).chain([to]).collect();
        let (mut from, mut totals) = (after, BTreeMap::new());
        for end in ends {
            self.count_gap(reader, from, end)?;
            let rows = self.seal();
            // Of a counter's values the last one is the total.
            totals.extend(self.add(rows, end, catalog, stopped)?.1);
            from = end;
        }
        Ok(totals.into_iter().collect())
    }

    fn count_gap(&mut self, reader: &Reader, after: Lsn, to: Lsn) -> Result<(), Failure> {
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
