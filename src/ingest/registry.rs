//! Which schema each captured table has at this place of the log.
//!
//! In memory it is the state at the end of what has been appended; in the log it is stored with the group that changed it.
//! After a group was forgotten (a cut connection) it is loaded again.

use std::collections::HashMap;
use std::sync::Arc;

use super::lineage::ColumnSteps;
use super::state::{self, Counts, TableRecord};
use super::typed::Typed;
use super::writer::LogWriter;
use crate::codec::catalog::{Catalog, SchemaRecord};
use crate::codec::row_image::Plan;
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::model::{SchemaId, TableName, TableSchema};

/// A schema with what reading its images needs.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) id: SchemaId,
    pub(super) schema: Arc<TableSchema>,
    pub(super) plan: Arc<Plan>,
}

/// One captured table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: TableName,
    pub(super) current: Option<Current>,
    /// What DDL since `current` has done to its columns.
    pub(super) steps: Vec<ColumnSteps>,
    /// Rows of before that DDL have to be read again once the schema is known.
    pub(super) reread: bool,
    /// What DDL since `current` has said of types that the binlog does not tell.
    pub(super) typed: Typed,
    counts: Counts,
    /// Rows of the open group.
    open: Counts,
    /// The counters are ahead of the stored ones.
    dirty: bool,
}

impl Table {
    fn new(name: TableName) -> Self {
        let (counts, open) = (Counts::default(), Counts::default());
        let typed = Typed::default();
        Self { name, current: None, steps: Vec::new(), reread: false, typed, counts, open, dirty: false }
    }

    /// Whether its schema, or a statement about it, is known.
    fn is_met(&self) -> bool {
        self.current.is_some() || !self.steps.is_empty() || self.reread || !self.typed.is_empty()
    }

    /// Counts rows of the open group.
    pub(super) fn count(&mut self, counts: Counts) {
        self.open.add(counts);
    }

    /// Row counters as of the last finished group.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}

/// The captured tables.
#[derive(Debug, Default)]
pub(super) struct Registry {
    tables: Vec<Table>,
    by_name: HashMap<TableName, usize>,
    next_schema: u32,
    dirty: Vec<usize>,
}

/// Compiles the plan of a schema; a column that cannot be read stops the stream by name.
pub(super) fn compile(schema: &TableSchema) -> Result<Plan, Failure> {
    Plan::all(schema).map_err(|error| {
        Failure::fatal(format!("table '{}' cannot be captured", schema.name)).caused_by(error).hint(format!(
            "leave the table out with source.exclude: [\"{}\"], or change the column's type",
            schema.name
        ))
    })
}

impl Registry {
    /// What the log says.
    pub(super) fn load(reader: &wal::Reader) -> Result<Self, Failure> {
        let mut catalog = Catalog::new(reader.clone());
        let last = catalog.all()?.iter().map(|(id, _)| id.0).max().unwrap_or(0);
        let mut registry = Self { next_schema: last + 1, ..Self::default() };
        for (name, record) in state::tables(reader)? {
            let table = registry.entry(&name);
            table.steps = record.steps;
            table.reread = record.reread;
            if let Some(id) = record.schema {
                let schema = catalog.get(id)?;
                let plan = Arc::new(compile(&schema)?);
                table.current = Some(Current { id, schema, plan });
            }
        }
        for (name, typed) in state::typed(reader)? {
            registry.entry(&name).typed = typed;
        }
        for (name, counts) in state::counts(reader)? {
            registry.entry(&name).counts = counts;
        }
        Ok(registry)
    }

    /// Index of a table, made if it is new.
    pub(super) fn index(&mut self, name: &TableName) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.tables.len();
        self.tables.push(Table::new(name.clone()));
        self.by_name.insert(name.clone(), index);
        index
    }

    /// The table of an index given out by [`Registry::index`].
    pub(super) fn at(&mut self, index: usize) -> Option<&mut Table> {
        self.tables.get_mut(index)
    }

    pub(super) fn entry(&mut self, name: &TableName) -> &mut Table {
        let index = self.index(name);
        self.tables.get_mut(index).expect("index() gives places in the vector")
    }

    /// The table, if it has a place here.
    pub(super) fn get(&self, name: &TableName) -> Option<&Table> {
        self.tables.get(*self.by_name.get(name)?)
    }

    /// The table's schema, if it has one.
    pub(super) fn current(&self, name: &TableName) -> Option<&Current> {
        self.get(name)?.current.as_ref()
    }

    /// Whether something is known of the table at this place of the log, if not its schema.
    pub(super) fn has_met(&self, name: &TableName) -> bool {
        self.get(name).is_some_and(Table::is_met)
    }

    /// Tables of a database of which something is known.
    pub(super) fn in_database(&self, database: &str) -> Vec<TableName> {
        let here = |table: &&Table| table.name.database == database && table.is_met();
        self.tables.iter().filter(here).map(|table| table.name.clone()).collect()
    }

    /// All tables.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// Gives the table a new schema, stored with the open group; (old, new).
    pub(super) fn set_schema(
        &mut self,
        schema: Arc<TableSchema>,
        writer: &mut LogWriter,
    ) -> Result<(Option<SchemaId>, SchemaId), Failure> {
        let plan = Arc::new(compile(&schema)?);
        let id = SchemaId(self.next_schema);
        let bytes = encode(&SchemaRecord::Known(TableSchema::clone(&schema)))?;
        self.next_schema += 1;
        writer.put(&SCHEMA.of_number(id.0), &bytes);
        let table = self.entry(&schema.name);
        let before = table.current.as_ref().map(|current| current.id);
        table.current = Some(Current { id, schema, plan });
        table.steps.clear();
        table.reread = false;
        let name = table.name.clone();
        self.store(&name, writer)?;
        self.settle_types(&name, writer)?;
        Ok((before, id))
    }

    /// The table is gone.
    pub(super) fn forget(&mut self, name: &TableName, writer: &mut LogWriter) {
        let table = self.entry(name);
        table.current = None;
        table.steps.clear();
        table.reread = false;
        writer.remove(&state::table_key(name));
        table.typed = Typed::default();
        // Also where nothing is known: a log of before may hold an empty entry.
        writer.remove(&state::typed_key(name));
    }

    /// Notes a DDL whose result is not known yet.
    pub(super) fn pend(
        &mut self,
        name: &TableName,
        steps: impl IntoIterator<Item = ColumnSteps>,
        reread: bool,
        writer: &mut LogWriter,
    ) -> Result<(), Failure> {
        let table = self.entry(name);
        table.steps.extend(steps.into_iter().filter(|steps| !steps.is_empty()));
        table.reread |= reread;
        self.store(name, writer)
    }

    /// What the noted DDL came to is the schema that the table has already.
    pub(super) fn settle(&mut self, name: &TableName, writer: &mut LogWriter) -> Result<(), Failure> {
        self.settle_types(name, writer)?;
        let table = self.entry(name);
        if table.steps.is_empty() {
            return Ok(());
        }
        table.steps.clear();
        self.store(name, writer)
    }

    /// What DDL has said of the table's types.
    pub(super) fn typed(&mut self, name: &TableName) -> &Typed {
        &self.entry(name).typed
    }

    /// Notes what DDL has said of the table's types.
    pub(super) fn set_typed(&mut self, name: &TableName, typed: Typed, writer: &mut LogWriter) -> Result<(), Failure> {
        if self.typed(name) == &typed {
            return Ok(());
        }
        if typed.is_empty() {
            writer.remove(&state::typed_key(name));
        } else {
            writer.put(&state::typed_key(name), &encode(&typed)?);
        }
        self.entry(name).typed = typed;
        Ok(())
    }

    fn settle_types(&mut self, name: &TableName, writer: &mut LogWriter) -> Result<(), Failure> {
        let settled = self.typed(name).settled();
        self.set_typed(name, settled, writer)
    }

    /// Whether DDL of the table was noted whose result is not known yet.
    pub(super) fn has_pending(&self, name: &TableName) -> bool {
        self.get(name).is_some_and(|table| !table.steps.is_empty())
    }

    fn store(&mut self, name: &TableName, writer: &mut LogWriter) -> Result<(), Failure> {
        let table = self.entry(name);
        let schema = table.current.as_ref().map(|current| current.id);
        let record = TableRecord { schema, steps: table.steps.clone(), reread: table.reread };
        writer.put(&state::table_key(name), &encode(&record)?);
        Ok(())
    }

    /// The group ended: its counts stand.
    pub(super) fn end_group(&mut self, touched: &mut Vec<usize>) {
        for index in touched.drain(..) {
            let Some(table) = self.tables.get_mut(index) else { continue };
            table.counts.add(std::mem::take(&mut table.open));
            if !table.dirty {
                table.dirty = true;
                self.dirty.push(index);
            }
        }
    }

    /// The open group never was: its counts do not stand.
    pub(super) fn drop_open(&mut self, touched: &mut Vec<usize>) {
        for index in touched.drain(..) {
            if let Some(table) = self.tables.get_mut(index) {
                table.open = Counts::default();
            }
        }
    }

    /// Stores the counters that have changed since the last checkpoint, with the groups that have ended.
    pub(super) fn checkpoint(&mut self, writer: &mut LogWriter) -> Result<(), Failure> {
        for index in self.dirty.drain(..) {
            let Some(table) = self.tables.get_mut(index) else { continue };
            table.dirty = false;
            let value = encode(&table.counts)?;
            writer.checkpoint(&state::count_key(&table.name), &value);
        }
        Ok(())
    }
}
