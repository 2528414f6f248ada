//! What a target applied without the log knowing: the frames between the log's cursor and the target's, after a crash
//! between the two commits. They are counted again from the log, as far as it goes: what the target acknowledged of
//! them is lost.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet};

use wal::{Lsn, Reader};

use super::followed;
use super::tables::Tables;
use super::tally::TableEvent;
use super::walk::walk;
use crate::codec::catalog::{Catalog, Resolved};
use crate::codec::frame::{Frame, FrameHeader};
use crate::dead::{LetterId, Letters};
use crate::error::{ErrorClass, Failure};
use crate::model::{SchemaId, TableName};
use crate::sink::{RowKeys, Sink, StoppedTable};

/// How the rows of a schema are counted.
struct Counted {
    table: TableName,
    left_out: bool,
    /// The sink is configured so that it does not get the table.
    apart: bool,
    /// The sink has left out the table's rows from here on.
    stopped: Option<Lsn>,
}

/// What is known of the frames so far.
#[derive(Default)]
struct Seen {
    schemas: HashMap<SchemaId, Counted>,
    /// By which keys the target has the rows of a schema.
    keys: HashMap<SchemaId, Option<RowKeys>>,
    /// Tables whose records have changed.
    changed: BTreeSet<TableName>,
}

/// Frames between the log's cursor and the target's.
pub(super) struct Gap<'g> {
    pub(super) name: &'g str,
    /// It says which tables reach it, and by which keys it has their rows.
    pub(super) sink: &'g dyn Sink,
    pub(super) tables: &'g mut Tables,
    pub(super) catalog: &'g mut Catalog,
    pub(super) stopped: &'g BTreeMap<TableName, StoppedTable>,
    /// Those that were stored for these frames are there.
    pub(super) letters: &'g Letters,
}

impl Gap<'_> {
    /// Counts the frames in (`after`, `to`]; gives the state to store with the cursor. Where its rounds ended is not
    /// known: rows of a stopped table were applied up to where it stopped.
    pub(super) fn count(
        mut self,
        reader: &Reader,
        (after, to): (Lsn, Lsn),
    ) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
        let mut seen = Seen::default();
        walk(reader, (after, to), |lsn, frame| self.frame(lsn, frame, &mut seen))?;
        let changed = seen.changed;
        self.letters.close(to);
        let mut state = self.tables.state(&changed)?;
        state.extend(self.letters.acknowledge(reader, to)?);
        Ok(state)
    }

    fn frame(
        &mut self,
        lsn: Lsn,
        frame: &Frame<'_>,
        Seen { schemas, keys, changed }: &mut Seen,
    ) -> Result<(), Failure> {
        let ours = frame.header.audience().includes(self.name);
        let mut ordinal = 0_u32;
        for section in frame.described() {
            let first = ordinal;
            ordinal = ordinal.saturating_add(section.rows);
            let counted = match schemas.entry(section.schema) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let resolved = self.catalog.resolve(section.schema)?;
                    let table = resolved.schema().name.clone();
                    changed.insert(table.clone());
                    let stopped = self.stopped.get(&table).map(|stopped| stopped.since);
                    let apart = self.sink.leaves_out(resolved.schema()).is_some();
                    let left_out = matches!(resolved, Resolved::LeftOut { .. });
                    new.insert(Counted { table, left_out, apart, stopped })
                }
            };
            let rows = u64::from(section.rows);
            let counts = &mut self.tables.entry(&counted.table).rows;
            if !ours || counted.apart {
                counts.not_theirs += rows;
            } else if counted.left_out {
                counts.left_out += rows;
            } else {
                counts.delivered += rows;
                counts.sink.taken += rows;
                if counted.stopped.is_some_and(|since| since <= lsn) {
                    counts.sink.skipped += rows;
                } else {
                    let dead = self.letters.of_rows(&counted.table, (lsn, first), section.rows).min(rows);
                    counts.sink.dead_lettered += dead;
                    counts.sink.recovered += rows - dead;
                    continue;
                }
            }
            if ours && !counted.apart {
                changed.extend(self.tables.happened(TableEvent::Lost { table: counted.table.clone() }));
            }
        }
        if !ours {
            return Ok(());
        }
        self.end_letters(lsn, frame, keys)?;
        let event = match &frame.header {
            FrameHeader::Rows(_) | FrameHeader::Check(_) => None,
            FrameHeader::Mark { mark, .. } => Some(TableEvent::of_mark(mark, lsn)),
            FrameHeader::Change { change, .. } => {
                let reaching = followed(change, self.catalog)?;
                if let Some(change) = &reaching {
                    self.letters.follow_again(change, lsn);
                }
                TableEvent::of_change(change, reaching.as_deref())
            }
        };
        // A table that did not reach the sink did not come in unseen.
        let is_apart = |table: &TableName| self.tables.get(table).is_some_and(|at| at.apart.is_some());
        let counts = |event: &TableEvent| self.sink.takes(event.table()) && !is_apart(event.table());
        if let Some(event) = event.filter(counts) {
            changed.extend(self.tables.happened(event));
        }
        Ok(())
    }

    /// Letters of rows that the frame writes, and that are not letters of it themselves, have ended with the round that the log does not know of.
    fn end_letters(
        &mut self,
        lsn: Lsn,
        frame: &Frame<'_>,
        keys: &mut HashMap<SchemaId, Option<RowKeys>>,
    ) -> Result<(), Failure> {
        if self.letters.is_empty() {
            return Ok(());
        }
        for (section, body, first_ordinal) in frame.sections() {
            let Resolved::Known(schema) = self.catalog.resolve(section.schema)? else { continue };
            let mut book = self.letters.open();
            // Of a stopped table no row was written.
            let is_stopped = self.stopped.get(&schema.name).is_some_and(|stopped| stopped.since <= lsn);
            if is_stopped || !book.has(&schema.name) {
                continue;
            }
            let keys = match keys.entry(section.schema) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => match self.sink.row_keys(&schema) {
                    Ok(found) => new.insert(found),
                    // The sink stops the table when it comes to it.
                    Err(failure) if failure.class == ErrorClass::Row => new.insert(None),
                    Err(failure) => return Err(failure),
                },
            };
            let Some(keys) = keys else { continue };
            let mut rest = body;
            let mut images = 0;
            while !rest.is_empty() {
                let (hash, used) = keys.first(rest).map_err(|error| {
                    Failure::fatal(format!("rows of {} in frame {lsn} cannot be read", schema.name)).caused_by(error)
                })?;
                let ordinal = first_ordinal.saturating_add(images / section.op.images_per_row());
                book.written_before(&schema.name, hash, LetterId { lsn, ordinal });
                rest = rest.get(used..).unwrap_or_default();
                images += 1;
            }
        }
        Ok(())
    }
}
