//! What is known of each captured table at the end of the last group.
//!
//! A [`Definition`] is a value. An open group works on a copy of its own ([`super::group`]); the copy takes the place of the
//! committed one when the group commits, and is dropped with it otherwise.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ledger::Changes;
use super::state::{self, Counts, DefinitionRecord, Kin, Waits};
use crate::codec::catalog::{SchemaRecord, all_schemas};
use crate::codec::state::State;
use crate::codec::stored::{self, COUNT, DEFINITION, SCHEMA, TYPES, WAITS, encode};
use crate::error::Failure;
use crate::model::{Lacks, SchemaId, TableName, TableSchema, Told};
use crate::source::mysql::follow::{Current, Followed, compile};
use crate::table::{self, Read, TableRecord};

/// What is known of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Definition {
    /// Grows with every change; never used twice. What was derived from a definition holds while this is the same.
    pub(super) revision: u64,
    /// Which schema its rows have.
    pub(super) followed: Followed,
    /// Rows of it were cut off by a rollback; whether its engine took them back has to be asked.
    pub(super) cut_back: bool,
    /// Which other names have to do with its rows.
    pub(super) kin: Kin,
    /// Row changes of it may wait for its copy.
    pub(super) waits: bool,
    /// Since when it is captured, and what is wanted of it. A change of it alone leaves the revision as it is.
    pub(super) life: TableRecord,
}

impl Definition {
    /// Whether anything is known of the table, or wanted of it.
    pub(super) fn is_known(&self) -> bool {
        self.followed.is_met() || self.life.is_captured() || self.life.read.is_some() || self.life.awaits.is_some()
    }

    /// The read that a reader is to do. While it is not known what a statement has made of the table, its read waits for that: one that
    /// had begun before would have to be done again.
    fn due(&self, sinks: &[String]) -> Option<&Read> {
        self.life.due(sinks).filter(|_| !self.followed.is_unread())
    }

    /// The table is gone.
    pub(super) fn forget(&mut self) {
        let Self { revision, waits, .. } = *self;
        *self = Self { revision, waits, life: std::mem::take(&mut self.life), ..Self::default() };
    }

    /// Its records in the log's state.
    pub(super) fn records(&self, name: &TableName, changes: &mut Changes) -> Result<(), Failure> {
        let record = DefinitionRecord {
            schema: self.followed.current().map(|current| current.id),
            since: self.followed.since().clone(),
            cut_back: self.cut_back,
            kin: self.kin.clone(),
        };
        let record = if record == DefinitionRecord::default() { None } else { Some(encode(&record)?) };
        changes.push((DEFINITION.of_table(name), record));
        changes.push(self.life.change(name)?);
        let waits = self.waits.then_some(&Waits).map(encode).transpose()?;
        changes.push((WAITS.of_table(name), waits));
        let typed = self.followed.typed();
        let typed = if typed.is_empty() { None } else { Some(encode(typed)?) };
        changes.push((TYPES.of_table(name), typed));
        Ok(())
    }
}

/// One captured table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: TableName,
    pub(super) definition: Definition,
    counts: Counts,
    /// The counters are ahead of the stored ones.
    dirty: bool,
    /// The number of the read that the readers were told to do.
    told: Option<u32>,
    /// Its place in [`Tables::awaiting`].
    awaits: Option<(u64, u64)>,
    /// The number of the read that readers have tried in vain, in this process.
    tried: Option<u32>,
    /// A read that has not begun waits for the server's answer about the table.
    waits_for_answer: bool,
}

impl Table {
    /// Whether the read that is wanted was tried in vain, and has not begun since.
    pub(super) fn was_tried(&self) -> bool {
        let Definition { life, .. } = &self.definition;
        life.unreadable.is_some() && life.read.as_ref().map(|read| read.number) == self.tried
    }

    /// The read that a reader is to do now.
    fn due(&self, sinks: &[String]) -> Option<&Read> {
        self.definition.due(sinks).filter(|read| read.has_begun() || !self.waits_for_answer)
    }

    /// Row counters as of the last group.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}

/// A table whose life has changed.
#[derive(Clone, Debug)]
pub struct ChangedLife {
    /// The table.
    pub table: TableName,
    /// Its record.
    pub record: TableRecord,
    /// What readers have to do.
    pub due: Due,
}

/// What readers have to do of a table.
#[derive(Clone, Debug)]
pub enum Due {
    /// What they were told before.
    AsBefore,
    /// Nothing: what they do ends.
    Nothing,
    /// This read.
    Read(Box<Read>),
}

/// A schema id that waits for an answer, as it is stored.
#[derive(Debug)]
pub(super) struct StoredPending {
    pub(super) id: SchemaId,
    pub(super) seen: TableSchema,
    pub(super) unknown: Vec<u16>,
    pub(super) before: Option<SchemaId>,
    /// All of it is asked for, and this is what the binlog does not say.
    pub(super) unnamed: Option<Lacks>,
}

/// The captured tables, by a dense index that lasts as long as the process.
#[derive(Debug, Default)]
pub(super) struct Tables {
    all: Vec<Table>,
    by_name: HashMap<TableName, usize>,
    /// The table of each schema id, for counting.
    of_schema: HashMap<SchemaId, usize>,
    next_schema: u32,
    next_revision: u64,
    dirty: Vec<usize>,
    /// Tables whose life has changed since it was last shown.
    lives: Vec<usize>,
    /// Tables that wait for the stream to come to a place, the nearest first: number of the file, offset, table.
    awaiting: BTreeSet<(u64, u64, usize)>,
    /// Tables of which a read is due.
    reading: BTreeSet<usize>,
    /// The sinks that there are.
    sinks: Vec<String>,
}

/// The schema of an id, or the last one before it that is not left out, with what reading its images needs.
pub(super) fn stored_current(state: &impl State, mut id: SchemaId) -> Result<Option<Current>, Failure> {
    let record = loop {
        let record: Option<SchemaRecord> = stored::get(state, &SCHEMA.of_number(id.0))?;
        match record {
            None | Some(SchemaRecord::LeftOut { before: None, .. }) => return Ok(None),
            Some(SchemaRecord::LeftOut { before: Some(before), .. }) => id = before,
            Some(record) => break record,
        }
    };
    let lacks = if let SchemaRecord::Unnamed { lacks, .. } = record { lacks } else { Lacks::NOTHING };
    Current::told(id, Told { schema: record.schema().clone(), lacks }).map(Some)
}

fn keep(set: &mut BTreeSet<usize>, index: usize, is_in: bool) {
    if is_in {
        set.insert(index);
    } else {
        set.remove(&index);
    }
}

impl Tables {
    /// What the log says, and the schema ids that still wait for an answer.
    pub(super) fn load(state: &impl State, sinks: &[String]) -> Result<(Self, Vec<StoredPending>), Failure> {
        let mut tables = Self { next_revision: 1, sinks: sinks.to_vec(), ..Self::default() };
        let mut schemas: HashMap<SchemaId, Arc<TableSchema>> = HashMap::new();
        let mut pending = Vec::new();
        let mut left_out: HashMap<SchemaId, Option<SchemaId>> = HashMap::new();
        let mut unnamed: HashMap<SchemaId, Lacks> = HashMap::new();
        let definitions = state::definitions(state)?;
        // There may be ten thousand: no room is taken beyond theirs.
        tables.all.reserve_exact(definitions.len());
        for (id, record) in all_schemas(state)? {
            tables.next_schema = tables.next_schema.max(id.0);
            let schema = Arc::new(record.schema().clone());
            let index = tables.index(&schema.name);
            tables.of_schema.insert(id, index);
            schemas.insert(id, schema);
            match record {
                SchemaRecord::Known(_) => {}
                SchemaRecord::Pending { seen, unknown, before } => {
                    pending.push(StoredPending { id, seen, unknown, before, unnamed: None });
                }
                SchemaRecord::Unnamed { seen, lacks, before } => {
                    unnamed.insert(id, lacks);
                    pending.push(StoredPending { id, seen, unknown: Vec::new(), before, unnamed: Some(lacks) });
                }
                SchemaRecord::LeftOut { before, .. } => {
                    left_out.insert(id, before);
                }
            }
        }
        tables.next_schema += 1;
        for (name, record) in definitions {
            // A table record may be older than the decision that rows under its schema are left out.
            let mut schema = record.schema;
            while let Some(before) = schema.and_then(|id| left_out.get(&id)) {
                schema = *before;
            }
            let current = match schema {
                None => None,
                Some(id) => {
                    let schema = schemas
                        .get(&id)
                        .ok_or_else(|| Failure::fatal(format!("the log holds no schema {id} of table '{name}'")))?;
                    let lacks = unnamed.get(&id).copied().unwrap_or_default();
                    Some(Current { id, schema: Arc::clone(schema), plan: Arc::new(compile(schema)?), lacks })
                }
            };
            tables.entry(&name).definition = Definition {
                revision: 1,
                followed: Followed::stored(current, record.since),
                cut_back: record.cut_back,
                kin: record.kin,
                ..Definition::default()
            };
        }
        for (name, life) in table::records(state)? {
            let index = tables.index(&name);
            tables.live(index, life);
        }
        for (name, typed) in state::typed(state)? {
            tables.entry(&name).definition.followed.set_typed(typed);
        }
        for (name, Waits) in stored::of_tables(state)? {
            tables.entry(&name).definition.waits = true;
        }
        for (name, counts) in state::counts(state)? {
            tables.entry(&name).counts = counts;
        }
        Ok((tables, pending))
    }

    /// Index of a table, made if it is new.
    pub(super) fn index(&mut self, name: &TableName) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.all.len();
        let definition = Definition { revision: 1, ..Definition::default() };
        self.all.push(Table {
            name: name.clone(),
            definition,
            counts: Counts::default(),
            dirty: false,
            told: None,
            awaits: None,
            tried: None,
            waits_for_answer: false,
        });
        self.by_name.insert(name.clone(), index);
        index
    }

    fn entry(&mut self, name: &TableName) -> &mut Table {
        let index = self.index(name);
        self.all.get_mut(index).expect("index() returns places in the vector")
    }

    /// Index of a table, if it has one.
    pub(super) fn find(&self, name: &TableName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The table of an index given out by [`Tables::index`].
    pub(super) fn at(&self, index: usize) -> &Table {
        self.all.get(index).expect("indexes are given out by index() and never taken back")
    }

    /// Every table with its index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Table)> {
        self.all.iter().enumerate()
    }

    /// A schema id that was never given out.
    pub(super) fn new_schema(&mut self, table: usize) -> SchemaId {
        let id = SchemaId(self.next_schema);
        self.next_schema += 1;
        self.of_schema.insert(id, table);
        id
    }

    /// A revision that was never given out.
    pub(super) fn new_revision(&mut self) -> u64 {
        self.next_revision += 1;
        self.next_revision
    }

    /// The table that a schema id belongs to.
    pub(super) fn of_schema(&self, id: SchemaId) -> Option<usize> {
        self.of_schema.get(&id).copied()
    }

    /// A group has committed: this is the table's definition.
    pub(super) fn define(&mut self, index: usize, definition: Definition) {
        let Some(table) = self.all.get_mut(index) else { return };
        let is_unread = |definition: &Definition| definition.followed.is_unread();
        let is_same =
            table.definition.life == definition.life && is_unread(&table.definition) == is_unread(&definition);
        table.definition = definition;
        if !is_same {
            self.index_life(index);
        }
    }

    fn live(&mut self, index: usize, life: TableRecord) {
        if let Some(table) = self.all.get_mut(index) {
            table.definition.life = life;
        }
        self.index_life(index);
    }

    fn index_life(&mut self, index: usize) {
        let Some(table) = self.all.get_mut(index) else { return };
        let life = &table.definition.life;
        if let Some((file, pos)) = table.awaits.take() {
            self.awaiting.remove(&(file, pos, index));
        }
        if let Some(awaited) = &life.awaits {
            // A name without a number is looked at at once, and is an error there.
            let (file, pos) = (awaited.until.file_number().unwrap_or(0), awaited.until.pos);
            self.awaiting.insert((file, pos, index));
            table.awaits = Some((file, pos));
        }
        // Also while it waits for an answer: it is going to be due.
        keep(&mut self.reading, index, table.definition.due(&self.sinks).is_some());
        self.lives.push(index);
    }

    /// Tables that wait for the stream to come to a place, the nearest first.
    pub(super) fn awaiting(&self) -> impl Iterator<Item = usize> {
        self.awaiting.iter().map(|(.., table)| *table)
    }

    /// Whether a read of the table that has not begun waits for the server's answer about it.
    pub(super) fn wait_for_answer(&mut self, index: usize, waits: bool) {
        if let Some(table) = self.all.get_mut(index).filter(|table| table.waits_for_answer != waits) {
            table.waits_for_answer = waits;
            self.lives.push(index);
        }
    }

    /// The read of this number was tried in vain.
    pub(super) fn tried(&mut self, index: usize, read: Option<u32>) {
        if let Some(table) = self.all.get_mut(index) {
            table.tried = read;
        }
    }

    /// Tables of which a read is due.
    pub(super) fn reading(&self) -> impl Iterator<Item = &Table> {
        self.reading.iter().filter_map(|index| self.all.get(*index))
    }

    /// Whether a table's life has changed since [`Tables::changed_lives`] was last called.
    pub(super) fn has_changed_lives(&self) -> bool {
        !self.lives.is_empty()
    }

    /// Tables whose life has changed since this was last called, and what readers have to do of each.
    pub(super) fn changed_lives(&mut self) -> Vec<ChangedLife> {
        let mut indexes = std::mem::take(&mut self.lives);
        indexes.sort_unstable();
        indexes.dedup();
        let mut changed = Vec::with_capacity(indexes.len());
        for index in indexes {
            let Some(table) = self.all.get_mut(index) else { continue };
            let life = &table.definition.life;
            let due = table.due(&self.sinks).cloned();
            let number = due.as_ref().map(|read| read.number);
            let due = match due {
                _ if table.told == number => Due::AsBefore,
                None => Due::Nothing,
                Some(read) => Due::Read(Box::new(read)),
            };
            table.told = number;
            changed.push(ChangedLife { table: table.name.clone(), record: life.clone(), due });
        }
        changed
    }

    /// A group has committed: its row counts count.
    pub(super) fn count(&mut self, index: usize, counts: Counts) {
        let Some(table) = self.all.get_mut(index) else { return };
        table.counts.add(counts);
        if !table.dirty {
            table.dirty = true;
            self.dirty.push(index);
        }
    }

    /// The tables whose counters have changed since [`Tables::changed_counters`] was last called.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Table> {
        self.dirty.iter().filter_map(|index| self.all.get(*index))
    }

    /// Whether [`Tables::changed_counters`] has any.
    pub(super) fn has_changed_counters(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The counters that have changed since this was last called, as records.
    pub(super) fn changed_counters(&mut self) -> Result<Changes, Failure> {
        let mut changes = Changes::with_capacity(self.dirty.len());
        for index in self.dirty.drain(..) {
            let Some(table) = self.all.get_mut(index) else { continue };
            table.dirty = false;
            changes.push((COUNT.of_table(&table.name), Some(encode(&table.counts)?)));
        }
        Ok(changes)
    }
}
