//! Answers of the server about tables.
//!
//! A description is the table's definition at the end of the binlog at which it was given, since its metadata lock was held
//! then. So it is adopted where the stream has come to that end, if it has met no statement about the table since the question.
//! For a pending schema id the same holds of a key: the image of a row does not show it, so a later definition may look the same. A type
//! that is asked for counts at once; what may come to light of it later is followed by its mark ([`super::types`]).

use std::sync::Arc;

use tracing::warn;

use super::Core;
use super::schema::kept_key;
use super::types::{take_described, warn_of_guesses};
use crate::codec::catalog::SchemaRecord;
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{AskId, Decided, Description, Early, Fate, Pending};
use crate::ingest::tables::{Current, compile};
use crate::ingest::typed::Described;
use crate::model::{FilePos, TableName, TableSchema};
use crate::mutants::{Mutant, is_on};
use crate::table::Event;

/// What the server said.
#[derive(Debug)]
pub enum Answer {
    /// A table's definition.
    Described {
        /// The question.
        ask: AskId,
        /// The table.
        table: TableName,
        /// Its definition; `None`: the account sees no such table.
        found: Option<TableSchema>,
        /// Where the binlog ended while the table's metadata lock was held.
        end: FilePos,
    },
    /// The question cannot be answered, whatever is tried.
    Refused {
        /// The question.
        ask: AskId,
        /// The table.
        table: TableName,
        /// Why, for an operator.
        why: String,
    },
    /// Whether the engine of a table takes changes back; `None`: there is no such table any more.
    Engine {
        /// The table.
        table: TableName,
        /// The question.
        ask: AskId,
        /// Whether it does.
        transactional: Option<bool>,
        /// Where the binlog ended after that.
        end: FilePos,
    },
}

impl<L: Log> Core<L> {
    /// Takes an answer. Between groups only.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn answer(&mut self, answer: Answer) -> Result<(), Failure> {
        // What an answer does goes by what a table's schema is.
        self.decide_overdue()?;
        match answer {
            Answer::Described { ask, table, found, end } => {
                let Some((table, stale)) = self.asked(ask, &table) else { return Ok(()) };
                if self.life(table).unreadable.is_some() {
                    let origin = self.ledger.origin(self.wall);
                    self.happens(table, Event::Answered, &origin)?;
                }
                self.described((table, ask, stale), found, end)?;
            }
            Answer::Refused { ask, table, why } => {
                let Some((index, stale)) = self.asked(ask, &table) else { return Ok(()) };
                warn!(%table, %why, "the server does not say how a table is defined");
                for id in self.waiting.ids(|pending| pending.table == index && pending.not_by != Some(ask)) {
                    let Some(pending) = self.waiting.take(id) else { continue };
                    self.unanswered(pending, &why)?;
                }
                if stale {
                    self.ask_once(index);
                }
            }
            Answer::Engine { table, ask, transactional, end } => self.engine(&table, ask, transactional, end)?,
        }
        self.commit_here()?;
        self.look()
    }

    /// The table of a question that is still under way, and whether its answer may be of an earlier definition.
    fn asked(&mut self, ask: AskId, table: &TableName) -> Option<(usize, bool)> {
        let table = self.tables.find(table)?;
        let asked = self.waiting.asked.remove(&table)?;
        if asked.id == ask {
            return Some((table, asked.stale));
        }
        self.waiting.asked.insert(table, asked);
        None
    }

    fn described(
        &mut self,
        (table, ask, stale): (usize, AskId, bool),
        found: Option<TableSchema>,
        end: FilePos,
    ) -> Result<(), Failure> {
        self.waiting.attach(table, ask, &Description { found: found.clone(), end: end.clone() });
        self.look_at_answers()?;
        if let Some(found) = found
            && !stale
        {
            let revision = self.definition(table).revision;
            self.waiting.early.retain(|early| early.table != table);
            self.waiting.early.push(Early { table, revision, found, end });
        }
        if stale {
            self.ask_once(table);
        }
        Ok(())
    }

    /// Decides the pending ids that were answered, where the answer holds for their rows.
    pub(super) fn look_at_answers(&mut self) -> Result<(), Failure> {
        for id in self.waiting.ids(|pending| pending.answer.is_some()) {
            let Some(mut pending) = self.waiting.take(id) else { continue };
            let Some(Description { found, end }) = pending.answer.take() else { continue };
            let fits = |found: &TableSchema| {
                let mut seen = TableSchema::clone(&pending.seen);
                take_described(&mut seen, &pending.unknown, Some(found));
                seen.same_image(found)
            };
            match pending.fate {
                Fate::Retyped => {
                    self.leave_out(pending, "a statement changed a column before the server was asked for its type")?;
                }
                Fate::Gone => self.complete(pending, None, None, &end)?,
                Fate::Untouched if !pending.is_keyed() && found.as_ref().is_some_and(fits) => {
                    if self.ledger.reaches(&end)? || is_on(Mutant::KeyBelievedAtOnce) {
                        self.complete(pending, found.as_ref(), found.as_ref(), &end)?;
                    } else {
                        // A statement that the stream has not come to may have made the key.
                        pending.answer = Some(Description { found, end });
                        self.waiting.pending.push(pending);
                    }
                }
                Fate::Untouched | Fate::Altered => self.complete(pending, None, found.as_ref(), &end)?,
            }
        }
        Ok(())
    }

    /// Decides an id whose answer came, but not the place of the stream at which it is certain. Its rows have no key then, unless one was
    /// known before: rows are told apart by all their values, which is right whatever keys there are. The key comes with the
    /// description, where the stream comes to it.
    pub(super) fn complete_early(&mut self, pending: Pending) -> Result<(), Failure> {
        let Some(Description { found, end }) = pending.answer.clone() else { return Ok(()) };
        let (table, id) = (pending.table, pending.id);
        self.complete(pending, None, found.as_ref(), &end)?;
        if self.definition(table).current.as_ref().is_some_and(|current| current.id == id) {
            // Also after a restart.
            self.keeping_early(table, |core| core.redefine(table).unsettled = true);
        }
        Ok(())
    }

    /// A change of the definition after which a description that waits for its place is still of this table's last statement.
    pub(super) fn keeping_early(&mut self, table: usize, change: impl FnOnce(&mut Self)) {
        let before = self.definition(table).revision;
        change(self);
        let after = self.definition(table).revision;
        for early in self.waiting.early.iter_mut().filter(|early| early.table == table && early.revision == before) {
            early.revision = after;
        }
    }

    /// Decides a pending id: types that the binlog does not say come from `found`, and its key from `keyed`; what these do not show
    /// stays as the binlog has it.
    pub(super) fn complete(
        &mut self,
        pending: Pending,
        keyed: Option<&TableSchema>,
        found: Option<&TableSchema>,
        end: &FilePos,
    ) -> Result<(), Failure> {
        let is_keyed = pending.is_keyed();
        let Pending { id, table, seen, unknown, lost, before, lsn, fate, .. } = pending;
        let mut schema = TableSchema::clone(&seen);
        let (lost, asked_for): (Vec<u16>, Vec<u16>) = unknown.iter().partition(|place| lost.contains(place));
        let mut guessed = take_described(&mut schema, &asked_for, found);
        // A column of its name that is there now is another one.
        guessed.extend(take_described(&mut schema, &lost, None));
        let name = schema.name.clone();
        if let Some(keyed) = keyed {
            schema.key.clone_from(&keyed.key);
        } else if !is_keyed {
            let before = self.waiting.not_left_out(before);
            let kept = before.filter(|_| fate == Fate::Untouched && !self.definition(table).key_unknown);
            schema.key = kept.and_then(|before| kept_key(&before.schema, &schema));
        }
        let records = vec![(SCHEMA.of_number(id.0), encode(&SchemaRecord::Known(TableSchema::clone(&schema)))?)];
        let mut types = None;
        let completed = Current { id, plan: Arc::new(compile(&schema)?), schema: Arc::new(schema) };
        self.waiting.know(&completed);
        let is_current = self.definition(table).current.as_ref().is_some_and(|current| current.id == id);
        if is_current {
            warn_of_guesses(&name, &guessed);
            let mut typed = self.definition(table).typed.clone();
            if guessed.len() < unknown.len() {
                typed.describe_until(Some(Described::at(&self.facts.identity, end)?));
            }
            typed.guess(guessed);
            types = Some((table, typed.clone()));
            self.keeping_early(table, |core| {
                let definition = core.redefine(table);
                definition.current = Some(completed);
                definition.key_unknown = false;
                core.set_typed(table, typed);
            });
        }
        self.waiting.decided.push(Decided { lsn, rows: lsn, records, asked: Vec::new(), types });
        Ok(())
    }
}
