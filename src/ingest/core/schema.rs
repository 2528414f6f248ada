//! Which schema rows are logged under, and how a table's definition changes.

use std::sync::Arc;

use super::Core;
use super::rows::Bound;
use crate::codec::catalog::SchemaRecord;
use crate::codec::frame::{Audience, TableChange};
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::lineage::Lineage;
use crate::ingest::older_rows::{renames, reread_reason, set_defaults};
use crate::ingest::pending::{Asked, Fate, Pending};
use crate::ingest::tables::{Current, Definition, compile};
use crate::model::{ColumnDefault, Key, KeyKind, Origin, SchemaId, TableSchema};

use super::Action;

impl<L: Log> Core<L> {
    /// What happens to rows whose `TABLE_MAP` says `seen`. A difference from what is known changes the table's definition here.
    pub(super) fn schema_of_rows(
        &mut self,
        table: usize,
        seen: &TableSchema,
        origin: &Origin,
    ) -> Result<Bound, Failure> {
        let (mut schema, unknown) = self.resolve_types(table, seen);
        let definition = self.definition(table);
        let is_guess = |place: &u16| {
            seen.columns.get(usize::from(*place)).is_some_and(|column| definition.typed.is_guess(&column.name))
        };
        if let Some(current) = &definition.current
            // A column whose type cannot be known is carried as the binlog calls it, until a statement is about it.
            && unknown.iter().all(is_guess)
            && current.schema.same_image(&schema)
            && !(definition.key_unknown && schema.key.is_none())
            // A column may have gone and come again, and look the same.
            && definition.steps.is_empty()
        {
            return Ok(bound_to(current));
        }
        // The same image again, while what it does not say is asked for.
        if let Some(current) = &definition.current
            && definition.steps.is_empty()
            && self.is_pending(table, current.id)
            && current.schema.same_image(&schema)
        {
            return Ok(bound_to(current));
        }
        if unknown.is_empty() && schema.key.is_some() {
            self.adopt(table, schema, origin)?;
            return self.bound(table);
        }
        if definition.life.leaves_out_unknown() {
            self.ask_once(table);
            return Ok(Bound::LeftOut);
        }
        if schema.key.is_none() {
            // Until the server has said which unique key there is.
            let kept = definition.current.as_ref().filter(|_| !definition.key_unknown);
            schema.key = kept.and_then(|current| kept_key(&current.schema, &schema));
        }
        self.adopt_pending(table, schema, unknown, origin)?;
        self.bound(table)
    }

    fn bound(&self, table: usize) -> Result<Bound, Failure> {
        self.definition(table).current.as_ref().map(bound_to).ok_or_else(|| {
            Failure::fatal(format!("table '{}' lost its schema while its rows were read", self.tables.at(table).name))
        })
    }

    /// Whether a schema id of a table waits for an answer.
    pub(super) fn is_pending(&self, table: usize, id: SchemaId) -> bool {
        self.waiting.pending.iter().chain(&self.group.pending).any(|pending| pending.table == table && pending.id == id)
    }

    /// Makes `found` the table's schema from here on.
    pub(super) fn adopt(&mut self, table: usize, found: TableSchema, origin: &Origin) -> Result<(), Failure> {
        self.change_schema(table, found, None, false, origin)
    }

    /// Makes `found` the table's schema from here on. `replaced`: every row of the copies comes again after it.
    pub(super) fn adopt_over(
        &mut self,
        table: usize,
        found: TableSchema,
        replaced: bool,
        origin: &Origin,
    ) -> Result<(), Failure> {
        self.change_schema(table, found, None, replaced, origin)
    }

    /// Makes `seen` the table's schema from here on, and asks the server for what it does not say.
    fn adopt_pending(
        &mut self,
        table: usize,
        seen: TableSchema,
        unknown: Vec<u16>,
        origin: &Origin,
    ) -> Result<(), Failure> {
        // The key of a chunk's rows would be another one than that of the stream's.
        self.group.discard_windows(table);
        self.change_schema(table, seen, Some(unknown), false, origin)?;
        self.ask_once(table);
        Ok(())
    }

    /// `unknown`: places of the columns whose type is asked for; `None` where nothing is asked for.
    fn change_schema(
        &mut self,
        table: usize,
        mut found: TableSchema,
        unknown: Option<Vec<u16>>,
        replaced: bool,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let name = found.name.clone();
        let definition = self.definition(table);
        let (mut renamed, mut why) = (Vec::new(), None);
        let before = definition.current.clone();
        if let Some(Current { id, schema: before, .. }) = &before {
            let lineage = lineage_of(definition, before);
            set_defaults(before, &mut found, &lineage);
            renamed = renames(before, &found, &lineage);
            why = if definition.reread {
                Some("a DDL statement of it could not be read")
            } else {
                reread_reason(before, &found, &lineage)
            };
            let unreadable = definition.reread;
            if replaced || definition.life.is_emptied() {
                why = None;
            }
            // Rows under an id that is not decided may yet be left out; what is known needs an id of its own.
            let is_decided = !self.is_pending(table, *id);
            let same = before.same_image(&found) && before.key == found.key && renamed.is_empty();
            if same && is_decided && unknown.is_none() && (why.is_none() || unreadable) {
                self.settle(table);
                return Ok(());
            }
            self.group.discard_windows(table);
        } else {
            // No existing rows: no default is ever needed.
            for column in &mut found.columns {
                column.default = ColumnDefault::Unknown;
            }
        }
        let from = before.as_ref().map(|before| before.id);
        let to = self.define(table, found, unknown, before)?;
        self.change(origin, TableChange::Schema { table: name.clone(), from, to, renamed })?;
        if let Some(why) = why {
            self.reread(&name, false, why, origin)?;
        }
        Ok(())
    }

    /// Gives the table a schema under a new id, stored with the open group.
    pub(super) fn define(
        &mut self,
        table: usize,
        schema: TableSchema,
        unknown: Option<Vec<u16>>,
        before: Option<Current>,
    ) -> Result<SchemaId, Failure> {
        let plan = Arc::new(compile(&schema)?);
        let id = self.tables.new_schema(table);
        let schema = Arc::new(schema);
        let record = match &unknown {
            None => SchemaRecord::Known(TableSchema::clone(&schema)),
            Some(unknown) => SchemaRecord::Pending {
                seen: TableSchema::clone(&schema),
                unknown: unknown.clone(),
                before: before.as_ref().map(|before| before.id),
            },
        };
        self.group.put(SCHEMA.of_number(id.0), Some(encode(&record)?));
        // Until the answer, a type that is asked for is not known from this schema.
        let name = |place: &u16| schema.columns.get(usize::from(*place)).map(|column| column.name.clone());
        let asked_for: Vec<String> = unknown.iter().flatten().filter_map(name).collect();
        if let Some(unknown) = unknown {
            let seen = Arc::clone(&schema);
            let (since, lsn) = (self.now, wal::Lsn::ZERO);
            let fate = Fate::Untouched;
            let not_by = self.waiting.asked.get(&table).filter(|asked| asked.stale).map(|asked| asked.id);
            let (lost, answer) = (Vec::new(), None);
            let pending = Pending { id, table, seen, unknown, before, lost, fate, since, lsn, not_by, answer };
            self.group.pending.push(pending);
        }
        let definition = self.redefine(table);
        definition.current = Some(Current { id, schema, plan });
        definition.steps.clear();
        definition.reread = false;
        definition.unsettled = false;
        definition.typed = definition.typed.settled();
        definition.typed.guess(asked_for);
        Ok(id)
    }

    /// What the statements came to is the schema that the table has already.
    fn settle(&mut self, table: usize) {
        let definition = self.definition(table);
        if definition.steps.is_empty() && !definition.unsettled && definition.typed == definition.typed.settled() {
            return;
        }
        let definition = self.redefine(table);
        definition.unsettled = false;
        definition.typed = definition.typed.settled();
        definition.steps.clear();
    }

    /// A statement about the table was read: the answer to a question that is under way may be of an earlier definition.
    pub(super) fn outdate_question(&mut self, table: usize) {
        if let Some(asked) = self.waiting.asked.get_mut(&table) {
            asked.stale = true;
        }
    }

    /// After a statement: asks the server for the table's definition. One question at a time: what is asked while one is under way
    /// is asked again after its answer.
    pub(super) fn ask(&mut self, table: usize) {
        self.outdate_question(table);
        self.ask_once(table);
    }

    /// Asks the server for the table's definition, unless that is under way.
    pub(super) fn ask_once(&mut self, table: usize) {
        if self.waiting.asked.contains_key(&table) {
            return;
        }
        let id = self.waiting.new_ask();
        self.waiting.asked.insert(table, Asked { id, since: self.now, stale: false });
        self.actions.push(Action::Describe { table: self.tables.at(table).name.clone(), ask: id });
    }

    /// Appends a change of a table.
    pub(super) fn change(&mut self, origin: &Origin, change: TableChange) -> Result<(), Failure> {
        self.group.changed.push(change.clone());
        self.change_for(origin, Audience::All, change)
    }
}

fn bound_to(current: &Current) -> Bound {
    Bound::Logged { id: current.id, plan: Arc::clone(&current.plan), key: current.schema.key.clone() }
}

/// Where the columns come from that the table has now, by the statements since its schema.
pub(super) fn lineage_of(definition: &Definition, before: &TableSchema) -> Lineage {
    Lineage::follow(before.columns.iter().map(|column| column.name.as_str()), &definition.steps)
}

/// The old schema's unique key under the new one, if all its columns are still there and not null.
pub(super) fn kept_key(old: &TableSchema, new: &TableSchema) -> Option<Key> {
    // A primary key that is gone from the TABLE_MAP is gone; only a unique key over prefixes is not named there.
    let key = old.key.as_ref().filter(|key| key.kind == KeyKind::Unique)?;
    let columns = key
        .columns
        .iter()
        .map(|index| {
            let name = &old.columns.get(usize::from(*index))?.name;
            let index = new.column_index(name)?;
            let kept = new.columns.get(index).is_some_and(|column| !column.nullable);
            if kept { u16::try_from(index).ok() } else { None }
        })
        .collect::<Option<Vec<u16>>>()?;
    Some(Key { kind: key.kind, columns })
}
