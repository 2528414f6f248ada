//! Rows of the stream into the open group, under the schema of their own `TABLE_MAP`.

use std::sync::Arc;

use tracing::warn;

use super::Core;
use crate::codec::frame::RowOp;
use crate::codec::row_image::Plan;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::model::{Key, Origin, SchemaId, TableName, Told};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::binlog::Unread;
use crate::table::Event;

/// What is known of one of the decoder's table slots.
#[derive(Debug)]
pub(super) struct Slot {
    /// What the last `TABLE_MAP` says.
    told: Arc<Told>,
    pub(super) table: usize,
    /// What was derived from it holds for this revision of the table's definition.
    revision: u64,
    pub(super) bound: Bound,
}

/// What happens to rows of a slot.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    /// They are logged under this id. `all`: what walks their images, where the last columns of these are not the table's own.
    Logged { id: SchemaId, plan: Arc<Plan>, key: Option<Key>, all: Option<Arc<Plan>> },
    /// They are left out: the table is, or their schema could not be asked for in time.
    LeftOut,
    /// They are no rows of a table, and not counted.
    NoTable,
}

/// Rows of one event.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// What happened to them.
    pub op: RowOp,
    /// How many, counted by walking the event.
    pub rows: u32,
    /// How many columns the event says that each image has.
    pub columns: usize,
    /// Their images back to back; pairs for updates.
    pub images: &'a [u8],
}

impl<L: Log> Core<L> {
    /// A `TABLE_MAP` that says something else than the last one of its slot.
    ///
    /// # Errors
    /// Fatal, by table and column, when the images cannot be read.
    pub fn table_map(&mut self, slot: usize, told: &Arc<Told>, origin: &Origin) -> Result<(), Failure> {
        let table = self.tables.index(&told.schema.name);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Slot { told: Arc::clone(told), table, revision: 0, bound: Bound::LeftOut });
        }
        if told.lacks.names {
            self.comparing.met_unnamed();
        }
        if self.group.is_dropped() {
            return Ok(());
        }
        self.bind(slot, origin)
    }

    /// Derives what happens to a slot's rows from its `TABLE_MAP` and the table's definition.
    fn bind(&mut self, slot: usize, origin: &Origin) -> Result<(), Failure> {
        let Some(Some(there)) = self.slots.get(slot) else {
            return Err(Failure::fatal("a rows event names a table that was never mapped"));
        };
        let (table, told) = (there.table, Arc::clone(&there.told));
        let bound = if self.is_sequence(table, &told) {
            if told.lacks.names {
                // What looks like one may be a table that was made past the binlog.
                self.ask_once(table);
            }
            Bound::NoTable
        } else {
            self.meet(table, origin)?;
            match self.life(table).left_out {
                Some(_) => Bound::LeftOut,
                None => self.told_schema_of_rows(table, &told, origin)?,
            }
        };
        let revision = self.definition(table).revision;
        if let Some(Some(there)) = self.slots.get_mut(slot) {
            there.revision = revision;
            there.bound = bound;
        }
        Ok(())
    }

    /// What is known of a slot.
    pub(super) fn slot(&self, slot: usize) -> Result<&Slot, Failure> {
        let there = self.slots.get(slot).and_then(Option::as_ref);
        there.ok_or_else(|| Failure::fatal("a rows event names a table that was never mapped"))
    }

    /// Derives what happens to a slot's rows again, where the table's definition has changed since.
    pub(super) fn rebind(&mut self, slot: usize, origin: &Origin) -> Result<(), Failure> {
        let there = self.slot(slot)?;
        if there.revision == self.definition(there.table).revision { Ok(()) } else { self.bind(slot, origin) }
    }

    /// What happens to rows whose `TABLE_MAP` says this. They are never decoded with another schema than that.
    fn told_schema_of_rows(&mut self, table: usize, told: &Told, origin: &Origin) -> Result<Bound, Failure> {
        let bound = self.schema_of_rows(table, told, origin)?;
        let Bound::Logged { id, plan, key, .. } = bound else { return Ok(bound) };
        let dialect = self.facts.dialect();
        let current = self.followed(table).current();
        let Some(hidden) = current.and_then(|current| current.is_told_as(told, dialect)) else {
            self.unread_rows(table, "its schema is not that of its TABLE_MAP event", origin)?;
            return Ok(Bound::LeftOut);
        };
        let damaged = |error| Failure::fatal(format!("rows of '{}' cannot be read", told.schema.name)).caused_by(error);
        let all = (hidden > 0).then(|| Plan::walker(&told.schema).map(Arc::new)).transpose().map_err(damaged)?;
        Ok(Bound::Logged { id, plan, key, all })
    }

    /// Rows of a captured table.
    ///
    /// # Errors
    /// Fatal, when they do not fit their table's schema, or the log is out of service.
    pub fn rows(&mut self, slot: usize, rows: Rows<'_>, origin: &Origin) -> Result<(), Failure> {
        let Some(Some(there)) = self.slots.get(slot) else {
            return Err(Failure::fatal("a rows event names a table that was never mapped"));
        };
        let table = there.table;
        let read = u64::from(rows.rows);
        if self.group.is_dropped() {
            self.group.count(table, Counts { read, left_out: read, ..Counts::default() });
            return Ok(());
        }
        if there.revision != self.definition(table).revision && !is_on(Mutant::RowUnderTheOldSchema) {
            self.bind(slot, origin)?;
        }
        let Some(Some(Slot { bound, .. })) = self.slots.get(slot) else {
            return Err(Failure::fatal("a table lost its slot while its rows were read"));
        };
        let own = match bound {
            Bound::Logged { plan, all: Some(all), .. } if all.columns() == rows.columns => {
                let damaged = |error| {
                    let name = &self.tables.at(table).name;
                    Failure::fatal(format!("rows of '{name}' that were counted cannot be read")).caused_by(error)
                };
                Some((plan.columns(), all.first_columns(plan.columns(), rows.images).map_err(damaged)?))
            }
            _ => None,
        };
        let rows = match &own {
            Some((columns, images)) => Rows { columns: *columns, images, ..rows },
            None => rows,
        };
        if let Bound::Logged { plan, .. } = bound
            && plan.columns() != rows.columns
            && !is_on(Mutant::ColumnCountNotCompared)
        {
            let why = format!("a rows event has {} columns, and the table's schema {}", rows.columns, plan.columns());
            if self.is_in_xa() {
                self.xa_lose(table, read, &why);
                return Ok(());
            }
            self.group.count(table, Counts { read, left_out: read, ..Counts::default() });
            return self.unread_rows(table, &why, origin);
        }
        if self.is_in_xa() {
            return self.xa_rows(slot, rows);
        }
        match bound {
            Bound::NoTable => {}
            Bound::LeftOut => self.group.count(table, Counts { read, left_out: read, ..Counts::default() }),
            Bound::Logged { id, .. } if self.diversions.has(table) => {
                let id = *id;
                self.divert_rows(table, id, rows, origin);
            }
            Bound::Logged { id, plan, key, .. } => {
                self.group.count(table, Counts { read, ..Counts::default() });
                if self.windows.watches(table)
                    && let Some(key) = key
                {
                    let at_once = is_on(Mutant::KeysNotedAtOnce);
                    let damaged = |error| {
                        let name = &self.tables.at(table).name;
                        Failure::fatal(format!("a key of '{name}' cannot be read from a rows event")).caused_by(error)
                    };
                    let mut rest = rows.images;
                    while !rest.is_empty() {
                        let len = plan.image_len(rest).map_err(damaged)?;
                        let (image, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                        let hash = plan.key_hash(&key.columns, image).map_err(damaged)?;
                        if at_once {
                            self.windows.note(table, hash);
                        } else {
                            self.group.note_key(table, hash);
                        }
                        rest = tail;
                    }
                }
                self.group.frames.rows(&mut self.ledger, (*id, rows.op, rows.rows), rows.images, origin)?;
            }
        }
        Ok(())
    }

    /// Rows of a captured table that cannot be read.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn unread(&mut self, name: &TableName, why: &Unread, origin: &Origin) -> Result<(), Failure> {
        let table = self.tables.index(name);
        if self.is_in_xa()
            && let Unread::Rows(why) = why
        {
            self.meet(table, origin)?;
            self.xa_lose(table, 0, why);
            return Ok(());
        }
        // How many they are nobody knows; that there are some, whoever reads the table meanwhile has to know.
        self.group.count(table, Counts::default());
        if self.group.is_dropped() {
            return Ok(());
        }
        match why {
            Unread::Columns(why) => {
                // What it is left out by already says more.
                if self.life(table).nature().is_some() {
                    return Ok(());
                }
                self.happens(table, Event::Nature { left_out: Some(why.to_string()) }, origin)
            }
            Unread::Rows(why) => {
                self.meet(table, origin)?;
                self.unread_rows(table, why, origin)
            }
        }
    }

    /// Rows of an event are not in the log, because nobody knows what they are: the table is read again.
    pub(super) fn unread_rows(&mut self, table: usize, why: &str, origin: &Origin) -> Result<(), Failure> {
        let life = self.life(table);
        // The read that brings them has not begun.
        if life.left_out.is_some() || life.leaves_out_unknown() {
            return Ok(());
        }
        warn!(table = %self.tables.at(table).name, %why, "rows of a table are left out, and it is read again");
        self.doubt(table, why, origin)
    }
}
