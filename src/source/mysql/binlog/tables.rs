//! Which tables the stream is talking about: table ids to captured tables and their schemas.
//!
//! A `TABLE_MAP` stands before the rows of every statement, nearly always with the same bytes as the last one for its table.
//! So bytes are compared first; only bytes that differ are read, and only a schema that differs is told. A table whose rows cannot be
//! read has none: each of its rows events says so.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::collations::Collations;
use super::error::BinlogError;
use super::table_map::{self, FIXED, Read};
use super::unread::Unread;
use crate::codec::row_image::{ImageError, Plan};
use crate::config::TableFilter;
use crate::model::{TableName, TableSchema, Told};
use crate::source::mysql::schema::own_columns;

/// A captured table, as a small dense number; stable while the decoder lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableSlot(pub u32);

/// Whether two events say the same of the images of a table.
fn is_same(one: &Told, other: &Told) -> bool {
    one.lacks == other.lacks && one.schema.same_image(&other.schema)
}

/// Table ids kept before they are all forgotten. Every DDL gives a new id; a forgotten one costs a comparison of schemas.
const MAX_IDS: usize = 4096;

#[derive(Debug)]
struct Slot {
    name: TableName,
    /// What was told last; `None`: nothing yet.
    told: Option<Arc<Told>>,
    /// Walks images of its last `TABLE_MAP`.
    plan: Option<Arc<Plan>>,
    /// How many of its columns, the last ones, the server keeps for itself.
    hidden: usize,
    /// Why its rows cannot be read, since its last `TABLE_MAP`.
    unread: Option<Unread>,
    /// Counts the schemas told, and the reasons of why there is none.
    generation: u32,
}

/// What a table id stands for.
#[derive(Debug)]
struct Mapped {
    /// The event's bytes behind id and flags.
    bytes: Vec<u8>,
    /// The group that last named it: rows are only good for ids named in their own group.
    group: u64,
    target: Target,
    /// The slot's generation when the bytes were read.
    generation: u32,
}

/// Where rows of a table id go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Captured { slot: TableSlot, columns: usize },
    Unread { slot: TableSlot },
    Filtered,
}

/// A table that a statement has written to, and captured tables that it has mapped after it. A statement maps every table that it locks for
/// writing before its rows: what it maps and does not write to is written by triggers, under other conditions, or is a member of a MERGE
/// table, whose rows have the MERGE table's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The table that has the rows, captured or not.
    pub written: TableName,
    /// The others, which have as many columns.
    pub mapped: Vec<TableName>,
}

#[derive(Debug)]
pub(super) struct Tables {
    filter: TableFilter,
    mariadb: bool,
    collations: Arc<Collations>,
    slots: Vec<Slot>,
    by_name: HashMap<TableName, TableSlot>,
    ids: FxHashMap<u64, Mapped>,
    /// Table ids that the current statement has mapped, in order, and whether it has written to each.
    statement: Vec<(u64, bool)>,
    beside: Vec<Beside>,
}

impl Tables {
    pub(super) fn is_mariadb(&self) -> bool {
        self.mariadb
    }

    pub(super) fn new(filter: TableFilter, mariadb: bool, collations: Arc<Collations>) -> Self {
        let (slots, by_name, ids) = (Vec::new(), HashMap::new(), FxHashMap::default());
        Self { filter, mariadb, collations, slots, by_name, ids, statement: Vec::new(), beside: Vec::new() }
    }

    /// The current statement has rows of a table.
    #[inline]
    pub(super) fn written(&mut self, id: u64) {
        for (_, is_written) in self.statement.iter_mut().filter(|(mapped, _)| *mapped == id) {
            *is_written = true;
        }
    }

    /// The current statement has ended.
    #[inline]
    pub(super) fn end_statement(&mut self) {
        if self.statement.len() > 1 && self.statement.iter().any(|(_, is_written)| !is_written) {
            self.note_beside();
        }
        self.statement.clear();
    }

    /// What the statement has mapped besides what it has written to.
    #[cold]
    fn note_beside(&mut self) {
        let columns = |mapped: &Mapped| table_map::column_count(&mapped.bytes);
        for (place, (id, is_written)) in self.statement.iter().enumerate() {
            let Some(written) = self.ids.get(id).filter(|_| *is_written) else { continue };
            let after = self.statement.iter().skip(place + 1).filter_map(|(id, _)| self.ids.get(id));
            let mapped: Vec<TableName> = after
                .filter(|mapped| columns(mapped) == columns(written))
                .filter_map(|mapped| match mapped.target {
                    Target::Captured { slot, .. } | Target::Unread { slot } => self.name(slot).cloned(),
                    Target::Filtered => None,
                })
                .collect();
            if let Some(written) = table_map::name(&written.bytes).filter(|_| !mapped.is_empty()) {
                self.beside.push(Beside { written: self.filter.names().table(written), mapped });
            }
        }
    }

    /// What statements that have ended have mapped besides what they have written to.
    pub(super) fn take_beside(&mut self) -> Vec<Beside> {
        std::mem::take(&mut self.beside)
    }

    pub(super) fn collations(&self) -> &Collations {
        &self.collations
    }

    pub(super) fn name(&self, slot: TableSlot) -> Option<&TableName> {
        self.slot(slot).map(|slot| &slot.name)
    }

    fn slot(&self, slot: TableSlot) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot.0).ok()?)
    }

    /// Rows of a rows event, counted by walking its images with the schema of the table's own `TABLE_MAP`.
    pub(super) fn count_rows(&self, slot: TableSlot, images: &[u8], per_row: u32) -> Result<u32, ImageError> {
        let plan = self.slot(slot).and_then(|slot| slot.plan.as_ref()).ok_or(ImageError::NoColumn { column: 0 })?;
        plan.count_rows(images, per_row)
    }

    /// Images without what the server keeps for itself, and how many columns each has.
    pub(super) fn own_images<'a>(
        &self,
        slot: TableSlot,
        images: Cow<'a, [u8]>,
    ) -> Result<(usize, Cow<'a, [u8]>), ImageError> {
        let slot = self.slot(slot).and_then(|slot| Some((slot.hidden, slot.plan.as_ref()?, slot.told.as_ref()?)));
        let (hidden, plan, told) = slot.ok_or(ImageError::NoColumn { column: 0 })?;
        let columns = told.schema.columns.len();
        if hidden == 0 {
            return Ok((columns, images));
        }
        Ok((columns, Cow::Owned(plan.first_columns(columns, &images)?)))
    }

    /// What walks images of a table, and how many of their columns, the first ones, are the table's own.
    pub(super) fn plan(&self, slot: TableSlot) -> Result<(Arc<Plan>, usize), ImageError> {
        let known = self.slot(slot).and_then(|slot| Some((Arc::clone(slot.plan.as_ref()?), slot.told.as_ref()?)));
        let (plan, told) = known.ok_or(ImageError::NoColumn { column: 0 })?;
        Ok((plan, told.schema.columns.len()))
    }

    /// Why rows of a table cannot be read.
    pub(super) fn unread(&self, slot: TableSlot) -> Option<Unread> {
        self.slot(slot)?.unread.clone()
    }

    /// Another group: what the last one has mapped is over.
    pub(super) fn start_group(&mut self) {
        self.statement.clear();
        self.beside.clear();
    }

    /// A new file: the server may have been restarted, then ids start again.
    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
        self.statement.clear();
    }

    /// Takes a `TABLE_MAP` in. Gives what is to be told, if it is anything else than before.
    pub(super) fn map(&mut self, data: &[u8], group: u64) -> Result<Option<(TableSlot, Arc<Told>)>, BinlogError> {
        let id = table_map::table_id(data)?;
        self.statement.push((id, false));
        let bytes = data.get(FIXED..).ok_or(BinlogError::Short { part: "table id" })?;
        if let Some(known) = self.ids.get_mut(&id)
            && known.bytes == bytes
        {
            known.group = group;
            let generation = known.generation;
            // Two ids of one table with different schemas: the later event decides.
            let is_current = match known.target {
                Target::Captured { slot, .. } | Target::Unread { slot } => {
                    self.slot(slot).is_some_and(|slot| slot.generation == generation)
                }
                Target::Filtered => true,
            };
            if is_current {
                return Ok(None);
            }
        }
        self.map_new(id, data, bytes, group)
    }

    /// The slow path: bytes that were not seen under this id, or a table whose ids were forgotten.
    #[cold]
    fn map_new(
        &mut self,
        id: u64,
        data: &[u8],
        bytes: &[u8],
        group: u64,
    ) -> Result<Option<(TableSlot, Arc<Told>)>, BinlogError> {
        if self.ids.len() >= MAX_IDS && !self.ids.contains_key(&id) {
            // Ids of this group are still needed for its rows.
            self.ids.retain(|_, mapped| mapped.group == group);
        }
        let named = table_map::names(data)?;
        if !self.filter.captures(named.database, named.table) {
            self.ids.insert(id, Mapped { bytes: bytes.to_vec(), group, target: Target::Filtered, generation: 0 });
            return Ok(None);
        }
        let name = self.filter.names().table(TableName::new(named.database, named.table));
        let mut read = match table_map::schema(named, self.mariadb, &self.collations)? {
            Read::Told(Told { schema, lacks }) => Told { schema: TableSchema { name, ..schema }, lacks },
            Read::Not(by) => {
                return self.cannot_read(id, (bytes, group), &name, Unread::Columns(by.to_string().into()));
            }
        };
        let columns = read.schema.columns.len();
        // A table map that can be read has a plan.
        let walker =
            |schema: &TableSchema| Plan::walker(schema).map_err(|_| BinlogError::Damaged { part: "column types" });
        // Without names, hidden columns cannot be told here. The core cuts them off: it knows how many columns the table has.
        let hidden = if self.mariadb { columns - own_columns(&read.schema) } else { 0 };
        let plan = (hidden > 0).then(|| walker(&read.schema)).transpose()?;
        read.schema.columns.truncate(columns - hidden);
        let slot = self.slot_of(&read.schema.name)?;
        let mut told = None;
        let place = usize::try_from(slot.0).ok().and_then(|at| self.slots.get_mut(at));
        if let Some(place) = place
            && (place.hidden != hidden || !place.told.as_ref().is_some_and(|last| is_same(last, &read)))
        {
            place.plan = Some(Arc::new(plan.map_or_else(|| walker(&read.schema), Ok)?));
            place.hidden = hidden;
            place.unread = None;
            let read = Arc::new(read);
            place.generation = place.generation.wrapping_add(1);
            place.told = Some(Arc::clone(&read));
            told = Some((slot, read));
        }
        let generation = self.slot(slot).map_or(0, |slot| slot.generation);
        let target = Target::Captured { slot, columns };
        self.ids.insert(id, Mapped { bytes: bytes.to_vec(), group, target, generation });
        Ok(told)
    }

    /// Rows of a table cannot be read from this `TABLE_MAP` on.
    fn cannot_read(
        &mut self,
        id: u64,
        (bytes, group): (&[u8], u64),
        name: &TableName,
        why: Unread,
    ) -> Result<Option<(TableSlot, Arc<Told>)>, BinlogError> {
        let slot = self.slot_of(name)?;
        let place = usize::try_from(slot.0).ok().and_then(|at| self.slots.get_mut(at));
        let mut generation = 0;
        if let Some(place) = place {
            if place.unread.as_ref() != Some(&why) {
                place.unread = Some(why);
                place.told = None;
                place.plan = None;
                place.generation = place.generation.wrapping_add(1);
            }
            generation = place.generation;
        }
        let target = Target::Unread { slot };
        self.ids.insert(id, Mapped { bytes: bytes.to_vec(), group, target, generation });
        Ok(None)
    }

    fn slot_of(&mut self, name: &TableName) -> Result<TableSlot, BinlogError> {
        if let Some(slot) = self.by_name.get(name) {
            return Ok(*slot);
        }
        let slot = TableSlot(u32::try_from(self.slots.len()).map_err(|_| BinlogError::Damaged { part: "table name" })?);
        self.slots.push(Slot { name: name.clone(), told: None, plan: None, hidden: 0, unread: None, generation: 0 });
        self.by_name.insert(name.clone(), slot);
        Ok(slot)
    }

    /// Where rows of `id` go, in the group that has named it.
    pub(super) fn target(&self, id: u64, group: u64) -> Result<Target, BinlogError> {
        match self.ids.get(&id) {
            Some(mapped) if mapped.group == group => Ok(mapped.target),
            _ => Err(BinlogError::NotMapped { table_id: id }),
        }
    }
}
