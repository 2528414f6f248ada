//! Which schema rows are logged under, and how a table's definition changes: what [`crate::source::mysql::follow`] says, done with the
//! open group.

use std::sync::Arc;

use tracing::warn;

use super::rows::Bound;
use super::{Action, Core};
use crate::codec::catalog::SchemaRecord;
use crate::codec::frame::{Audience, TableChange};
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{Asked, Waiter};
use crate::model::{Lacks, Origin, SchemaId, SourcePosition, TableName, TableSchema, Told};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::{
    Adopted, Adopting, Adoption, Copies, Current, Described, Fate, Followed, Mapped, Pending, Provenance, Reread,
    Unnamed,
};
use crate::table::Cause;

impl<L: Log> Core<L> {
    /// What happens to rows whose `TABLE_MAP` says this. A difference from what is known changes the table's definition here.
    pub(super) fn schema_of_rows(&mut self, table: usize, told: &Told, origin: &Origin) -> Result<Bound, Failure> {
        let followed = self.followed(table);
        let is_pending = followed.current().is_some_and(|current| self.is_pending(table, current.id));
        let is_taken_for_old = |followed: &Followed| {
            let fits = |current: &Current| current.is_told_as(told, self.facts.dialect()).is_some();
            !told.is_whole() && followed.current().is_some_and(fits) && is_on(Mutant::UnnamedRowUnderTheOldSchema)
        };
        let mapped = if is_taken_for_old(followed) {
            Mapped::AsKnown
        } else {
            followed.mapped(told, self.facts.dialect(), is_pending)
        };
        match mapped {
            Mapped::AsKnown => {}
            Mapped::Adopt(schema) => {
                self.doubt_unexplained(table, &schema, origin)?;
                self.adopt(table, schema, Provenance::TableMap, origin)?;
            }
            Mapped::Predicted(schema) => {
                let mut done = Ok(());
                self.keeping_early(table, |core| done = core.adopt(table, schema, Provenance::Statement, origin));
                done?;
            }
            Mapped::Ask { .. } | Mapped::AskAll | Mapped::Unexplained if self.life(table).leaves_out_unknown() => {
                self.ask_once(table);
                return Ok(Bound::LeftOut);
            }
            Mapped::Unexplained => {
                self.ask_once(table);
                self.read_after_the_answer(table);
                self.is_unexplained(table, origin)?;
                return Ok(Bound::LeftOut);
            }
            Mapped::AskAll => self.await_names(table, told, origin)?,
            Mapped::Ask { schema, unknown } => {
                self.doubt_unexplained(table, &schema, origin)?;
                self.key_is_asked_for(table);
                self.change_schema(table, schema, Change { unknown: Some(unknown), ..Change::default() }, origin)?;
                self.ask_once(table);
            }
        }
        self.followed(table).current().map(bound_to).ok_or_else(|| {
            Failure::fatal(format!("table '{}' lost its schema while its rows were read", self.tables.at(table).name))
        })
    }

    /// Rows are of a schema that is not the current one. Where no statement has come since, what became of the rows that are there nobody knows.
    fn doubt_unexplained(&mut self, table: usize, found: &TableSchema, origin: &Origin) -> Result<(), Failure> {
        let is_explained = !self.followed(table).has_other_images(found);
        if is_explained || self.life(table).leaves_out_unknown() {
            return Ok(());
        }
        self.is_unexplained(table, origin)
    }

    /// A table was changed without a statement: what its rows became nobody knows.
    pub(super) fn is_unexplained(&mut self, table: usize, origin: &Origin) -> Result<(), Failure> {
        warn!(table = %self.tables.at(table).name, "{UNEXPLAINED}; it is read again");
        self.doubt_because(table, Cause::Definition, UNEXPLAINED, origin)
    }

    /// The key of a chunk's rows would be another one than that of the stream's. The copy of a whole table brings its own.
    fn key_is_asked_for(&mut self, table: usize) {
        let is_brought = self.diversions.has(table) && self.followed(table).current().is_none();
        if !is_brought {
            self.group.discard_windows(table);
        }
    }

    /// Gives rows whose columns have no names a schema id that waits for the server's answer.
    fn await_names(&mut self, table: usize, told: &Told, origin: &Origin) -> Result<(), Failure> {
        self.key_is_asked_for(table);
        let (name, before) = (told.schema.name.clone(), self.followed(table).current().cloned());
        let from = before.as_ref().map(|before| before.id);
        let after = Some(Box::new(self.followed(table).clone()));
        let asks = Asks::All(Unnamed { lacks: told.lacks, after });
        let defining = Defining { asks: Some(asks), provenance: Provenance::TableMap, before };
        let to = self.define(table, told.schema.clone(), defining)?;
        self.change(origin, TableChange::Schema { table: name, from, to, renamed: Vec::new(), lost: false })?;
        self.ask_once(table);
        Ok(())
    }

    /// What is known of a table's definition in the open group.
    pub(super) fn followed(&self, table: usize) -> &Followed {
        &self.definition(table).followed
    }

    /// Whether a schema id of a table waits for an answer.
    pub(super) fn is_pending(&self, table: usize, id: SchemaId) -> bool {
        let waiters = self.waiting.pending.iter().chain(&self.group.pending);
        waiters.into_iter().any(|waiter| waiter.table == table && waiter.pending.id == id)
    }

    /// Makes `found` the table's schema from here on.
    pub(super) fn adopt(
        &mut self,
        table: usize,
        found: TableSchema,
        provenance: Provenance,
        origin: &Origin,
    ) -> Result<(), Failure> {
        self.change_schema(table, found, Change { provenance, ..Change::default() }, origin)
    }

    /// Makes `found` the table's schema from here on.
    pub(super) fn change_schema(
        &mut self,
        table: usize,
        found: TableSchema,
        change: Change,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let name = found.name.clone();
        let Change { unknown, provenance, is_replaced } = change;
        let before = self.followed(table).current().cloned();
        let how = Adopting {
            is_pending: before.as_ref().is_some_and(|before| self.is_pending(table, before.id)),
            asks: unknown.is_some(),
            copies: if is_replaced { Copies::Replaced } else { self.copies(table) },
        };
        let Adoption { schema, renamed, reread, lost } = match self.followed(table).adopt(found, how) {
            Adopted::AsKnown(None) => return Ok(()),
            Adopted::AsKnown(Some(followed)) => {
                if let Some(Current { id, schema, .. }) = followed.current()
                    && before.as_ref().is_some_and(|before| before.schema != *schema)
                {
                    let record = SchemaRecord::Known(TableSchema::clone(schema));
                    self.group.put(SCHEMA.of_number(id.0), Some(encode(&record)?));
                }
                self.redefine(table).followed = followed;
                return Ok(());
            }
            Adopted::Changes(adoption) => *adoption,
        };
        if before.is_some() {
            self.group.discard_windows(table);
        }
        let from = before.as_ref().map(|before| before.id);
        let to = self.define(table, schema, Defining { asks: unknown.map(Asks::Types), provenance, before })?;
        self.change(origin, TableChange::Schema { table: name.clone(), from, to, renamed, lost })?;
        if let Some(Reread { why, replaces }) = reread {
            self.reread(&name, replaces, why, origin)?;
        }
        Ok(())
    }

    /// What the copies of a table have.
    pub(super) fn copies(&self, table: usize) -> Copies {
        match self.life(table) {
            life if life.is_emptied() => Copies::Emptied,
            life if life.is_doubted() => Copies::Doubted,
            _ => Copies::Standing,
        }
    }

    /// Gives the table a schema under a new id, stored with the open group.
    pub(super) fn define(
        &mut self,
        table: usize,
        schema: TableSchema,
        Defining { asks, provenance, before }: Defining,
    ) -> Result<SchemaId, Failure> {
        let id = self.tables.new_schema(table);
        let (seen, before_id) = (schema.clone(), before.as_ref().map(|before| before.id));
        let record = match &asks {
            None => SchemaRecord::Known(seen),
            Some(Asks::Types(unknown)) => SchemaRecord::Pending { seen, unknown: unknown.clone(), before: before_id },
            Some(Asks::All(unnamed)) => SchemaRecord::Unnamed { seen, lacks: unnamed.lacks, before: before_id },
        };
        let lacks = if let Some(Asks::All(unnamed)) = &asks { unnamed.lacks } else { Lacks::NOTHING };
        let current = Current::told(id, Told { schema, lacks })?;
        self.group.put(SCHEMA.of_number(id.0), Some(encode(&record)?));
        // Until the answer, a type that is asked for is not known from this schema.
        let name = |place: &u16| current.schema.columns.get(usize::from(*place)).map(|column| column.name.clone());
        let mut asked_for: Vec<String> = Vec::new();
        if let Some(asks) = asks {
            let seen = Arc::clone(&current.schema);
            let (unknown, unnamed) = match asks {
                Asks::Types(unknown) => (unknown, None),
                Asks::All(unnamed) => (Vec::new(), Some(unnamed)),
            };
            asked_for.extend(unknown.iter().filter_map(name));
            let pending = Pending { id, seen, unknown, before, lost: Vec::new(), fate: Fate::Untouched, unnamed };
            let not_by = self.waiting.asked.get(&table).filter(|asked| asked.stale).map(|asked| asked.id);
            let (since, lsn) = (self.now, wal::Lsn::ZERO);
            self.group.pending.push(Waiter { pending, table, since, lsn, not_by, answer: None });
        }
        self.redefine(table).followed.has(current, provenance, asked_for);
        Ok(id)
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

    /// Marks of descriptions hold for the server that gave them. `at` is where its stream was left; what it has not come to there is
    /// described until `end` of the server that is read now.
    pub(super) fn renew_marks(&mut self, at: &SourcePosition, end: &Described) {
        let marked: Vec<usize> = self
            .tables
            .iter()
            .filter(|(_, table)| table.definition.followed.typed().is_described_by_another(&end.server))
            .map(|(index, _)| index)
            .collect();
        for table in marked {
            let mut typed = self.followed(table).typed().clone();
            let passed = typed.described_until().is_some_and(|mark| mark.is_reached(at));
            typed.describe_until((!passed).then(|| end.clone()));
            if typed != *self.followed(table).typed() {
                self.redefine(table).followed.set_typed(typed);
            }
        }
    }

    /// Appends a change of a table.
    pub(super) fn change(&mut self, origin: &Origin, change: TableChange) -> Result<(), Failure> {
        self.group.changed.push(change.clone());
        self.change_for(origin, Audience::All, change)
    }
}

/// How a table's schema changes.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Places of the columns whose type is asked for; `None`: nothing is asked for.
    pub(super) unknown: Option<Vec<u16>>,
    /// How it is known.
    pub(super) provenance: Provenance,
    /// Every row of the copies comes again after it.
    pub(super) is_replaced: bool,
}

/// What is asked for of a schema.
#[derive(Debug)]
pub(super) enum Asks {
    /// The types of the columns at these places, and its key if it has none.
    Types(Vec<u16>),
    /// All of it.
    All(Unnamed),
}

/// How a schema is defined.
#[derive(Debug)]
pub(super) struct Defining {
    /// What is asked for.
    pub(super) asks: Option<Asks>,
    /// How it is known.
    pub(super) provenance: Provenance,
    /// The schema before it.
    pub(super) before: Option<Current>,
}

fn bound_to(current: &Current) -> Bound {
    Bound::Logged { id: current.id, plan: Arc::clone(&current.plan), key: current.schema.key.clone(), all: None }
}

/// Why a table is read again that was changed without a statement.
const UNEXPLAINED: &str = "its definition is another one, and the binlog has no statement that changed it";

/// Says which columns are carried as the binlog calls them.
pub(super) fn warn_of_guesses(table: &TableName, columns: &[String]) {
    for column in columns {
        warn!(
            %table,
            %column,
            "whether this column is a BINARY, a UUID, an INET6 or an INET4 here cannot be known from the binlog, and the server does \
             not show it any more; it is carried as a BINARY, with the bytes that the binlog holds"
        );
    }
}
