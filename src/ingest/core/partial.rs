//! Rows of which the binlog has some columns only.

use std::collections::BTreeSet;

use super::Core;
use super::rows::{Bound, Rows, Slot};
use super::xa::LEFT_OUT;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Fields, PartialRow};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::model::{Column, Origin};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::binlog::Partial;
use crate::source::mysql::schema::Flavour;
use crate::source::mysql::snapshot;
use crate::table::{Ask, Cause, Keys, Reach};

/// What an event that has some columns only says of the keys of its rows.
#[derive(Debug, Default)]
struct ByKey {
    /// Images of rows that are gone: the key, and nothing else.
    gone: Vec<u8>,
    gone_rows: u32,
    /// Keys of rows that are there, and not known.
    come: BTreeSet<Vec<u8>>,
    /// Hashes of all of them.
    hashes: Vec<u128>,
    /// There are new rows whose key is not known.
    has_unknown: bool,
}

impl<L: Log> Core<L> {
    /// Rows of a captured table of which an event has some columns only. Where it has every column of every row once, in the image before
    /// a change or in the one after it, they are rows as others are. Else nobody knows what they are, and the table is read again.
    ///
    /// # Errors
    /// Fatal, when the table was never mapped, or the log is out of service.
    pub fn partial(&mut self, slot: usize, partial: &Partial<'_>, origin: &Origin) -> Result<(), Failure> {
        let read = u64::from(partial.rows());
        let left_out = Counts { read, left_out: read, ..Counts::default() };
        if self.group.is_dropped() {
            let table = self.slot(slot)?.table;
            self.group.count(table, left_out);
            return Ok(());
        }
        self.rebind(slot, origin)?;
        let there = self.slot(slot)?;
        let table = there.table;
        match &there.bound {
            Bound::NoTable => {}
            Bound::LeftOut if self.is_in_xa() => self.xa_lose(table, read, LEFT_OUT),
            Bound::LeftOut => self.group.count(table, left_out),
            // The last columns of the event are not the table's own, which no name has said before.
            Bound::Logged { plan, all: Some(_), .. } if plan.columns() < partial.columns() => {
                let own = partial.of_first(plan.columns());
                return self.partial(slot, &own, origin);
            }
            Bound::Logged { .. } => {
                if let Some(images) = self.completed(table, partial)? {
                    let (op, rows, columns) = (partial.op(), partial.rows(), partial.columns());
                    return self.rows(slot, Rows { op, rows, columns, images: &images }, origin);
                }
                if self.is_in_xa() {
                    self.xa_lose(table, read, partial.why());
                    return Ok(());
                }
                if let Some(by_key) = self.by_key(slot, partial)? {
                    return self.read_by_key(slot, partial, by_key, origin);
                }
                self.group.count(table, left_out);
                return self.unread_rows(table, partial.why(), origin);
            }
        }
        Ok(())
    }

    /// What the event says of its rows' keys; `None`: not of each of them what has to be known, or the key itself is not known yet.
    fn by_key(&self, slot: usize, partial: &Partial<'_>) -> Result<Option<ByKey>, Failure> {
        let Slot { table, bound: Bound::Logged { id, plan, key: Some(key), .. }, .. } = self.slot(slot)? else {
            return Ok(None);
        };
        // Rows of a table that is read whole wait for its copy, and those that are not known cannot.
        if self.is_pending(*table, *id) || self.diversions.has(*table) {
            return Ok(None);
        }
        let damaged = |error| {
            let name = &self.tables.at(*table).name;
            Failure::fatal(format!("rows of '{name}' that were counted cannot be read")).caused_by(error)
        };
        let mut known = ByKey::default();
        for row in partial {
            let PartialRow { before, after } = row.map_err(damaged)?;
            let of = |fields: Option<Fields<'_>>| fields.map(|fields| fields.key(&key.columns));
            let (gone, come) = match (of(before), of(after)) {
                (Some(Some(gone)), None) => (Some(gone), None),
                (None, Some(Some(come))) => (None, Some(come)),
                // Which row it is nobody knows. The rows that are there are as they were.
                (None, Some(None)) => {
                    known.has_unknown = true;
                    (None, None)
                }
                (Some(Some(before)), Some(Some(after))) if before == after => (None, Some(after)),
                (Some(Some(before)), Some(Some(after))) => (Some(before), Some(after)),
                (None, None) | (Some(_), _) => return Ok(None),
            };
            for fields in [&gone, &come].into_iter().flatten() {
                let image = plan.key_image(&key.columns, fields).map_err(damaged)?;
                known.hashes.push(plan.key_hash(&key.columns, &image).map_err(damaged)?);
                if gone.as_ref() == Some(fields) {
                    known.gone.extend_from_slice(&image);
                    known.gone_rows += 1;
                }
            }
            known.come.extend(come);
        }
        Ok(Some(known))
    }

    /// Rows whose keys are known: those that are gone go to the log, and the others are read.
    fn read_by_key(
        &mut self,
        slot: usize,
        partial: &Partial<'_>,
        by_key: ByKey,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let Slot { table, bound: Bound::Logged { id, key: Some(key), .. }, .. } = self.slot(slot)? else {
            return Ok(());
        };
        let (table, id, key) = (*table, *id, key.clone());
        let ByKey { gone, gone_rows, come, hashes, has_unknown } = by_key;
        let read = u64::from(partial.rows());
        let left_out = read - u64::from(gone_rows);
        self.group.count(table, Counts { read, left_out, ..Counts::default() });
        if self.windows.watches(table) && !is_on(Mutant::ChunkFromBeforeDoubtKept) {
            for hash in hashes {
                self.group.note_key(table, hash);
            }
        }
        if gone_rows > 0 {
            self.group.frames.rows(&mut self.ledger, (id, RowOp::DeleteByKey, gone_rows), &gone, origin)?;
        }
        if come.is_empty() && !has_unknown {
            return Ok(());
        }
        let schema = self.current(table)?.schema;
        let are_readable = snapshot::ByKey::new(&schema, &key.columns).is_some();
        let reach = if has_unknown || !are_readable {
            Reach::Whole
        } else {
            let name = |place: &u16| schema.columns.get(usize::from(*place)).map(|column| column.name.clone());
            Reach::of_keys(Keys { columns: key.columns.iter().filter_map(name).collect(), keys: come })
        };
        self.want(&schema.name, Ask::doubt(reach, Cause::Rows, partial.why()), origin)
    }

    /// Whole images, where that is what the rows are. MariaDB may leave out what a generated column has become, so there it takes a
    /// table that is known to have none.
    fn completed(&self, table: usize, partial: &Partial<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let is_plain = |column: &Column| column.attributes.as_ref().is_some_and(|known| known.generated.is_none());
        let current = self.followed(table).current();
        let is_exact = self.facts.flavour == Flavour::MySql
            || current.is_some_and(|current| current.schema.columns.iter().all(is_plain));
        if !is_exact {
            return Ok(None);
        }
        partial.completed().map_err(|error| {
            let name = &self.tables.at(table).name;
            Failure::fatal(format!("rows of '{name}' that were counted cannot be read")).caused_by(error)
        })
    }
}
