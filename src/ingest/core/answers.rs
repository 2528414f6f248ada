//! Answers of the server about tables.
//!
//! A description is the table's definition at the end of the binlog at which it was given, since its metadata lock was held
//! then. So it is adopted where the stream has come to that end, if it has met no statement about the table since the question.
//! What it decides about rows that wait for it is [`Pending`](crate::source::mysql::follow::Pending)'s.

use tracing::warn;

use super::Core;
use super::schema::warn_of_guesses;
use crate::codec::catalog::SchemaRecord;
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{AskId, Decided, Early, Shows, Waiter};
use crate::model::{FilePos, TableName, TableSchema};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::{Completed, Current, Decision, Described, Description, Fate, Shown};
use crate::source::mysql::schema::Instead;
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
    /// There is no table that can be copied under the name.
    Instead {
        /// The question.
        ask: AskId,
        /// The table.
        table: TableName,
        /// What there is.
        instead: Instead,
        /// Where the binlog ended then.
        end: FilePos,
    },
    /// Whether a table is a MERGE table; `None`: there is no such table.
    Merge {
        /// The table.
        table: TableName,
        /// The question.
        ask: AskId,
        /// Whether it is.
        is_merge: Option<bool>,
        /// Where the binlog ended after that.
        end: FilePos,
    },
    /// How all captured tables are defined; `None`: the server does not say.
    Compared(Option<Vec<TableSchema>>),
    /// The question was not answered, whatever was tried. It is asked again after a minute.
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

/// Milliseconds until a question is asked again that was refused.
const ASK_AGAIN: u64 = 60_000;

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
                let shows = found.map(Shows::Table);
                self.answered((&table, ask), shows, end)?;
            }
            Answer::Instead { ask, table, instead, end } => {
                self.answered((&table, ask), Some(Shows::Instead(instead)), end)?;
            }
            Answer::Compared(found) => self.compared(found),
            Answer::Merge { table, ask, is_merge, end } => self.merge(&table, ask, is_merge, end),
            Answer::Refused { ask, table, why } => {
                let Some((index, stale)) = self.asked(ask, &table) else { return Ok(()) };
                warn!(%table, %why, "the server does not say how a table is defined");
                let origin = self.ledger.origin(self.wall);
                self.happens(index, Event::Silent { why: why.clone() }, &origin)?;
                self.waiting.silent.insert(index, self.now + ASK_AGAIN);
                for id in self.waiting.ids(|waiter| waiter.table == index && waiter.not_by != Some(ask)) {
                    let Some(waiter) = self.waiting.take(id) else { continue };
                    self.unanswered(waiter, &why)?;
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

    /// `shows`: what the server shows under the name; `None`: nothing that the account may see.
    fn answered(
        &mut self,
        (table, ask): (&TableName, AskId),
        shows: Option<Shows>,
        end: FilePos,
    ) -> Result<(), Failure> {
        let Some((table, stale)) = self.asked(ask, table) else { return Ok(()) };
        if self.life(table).unreadable.is_some() {
            let origin = self.ledger.origin(self.wall);
            self.happens(table, Event::Answered, &origin)?;
        }
        let (found, is_no_table) = match &shows {
            Some(Shows::Table(found)) => (Some(found.clone()), false),
            Some(Shows::Instead(instead)) => (None, *instead != Instead::Nothing),
            None => (None, false),
        };
        self.waiting.attach(table, ask, &Description { found, is_no_table, end: end.clone() });
        self.look_at_answers()?;
        if shows.is_none() && self.life(table).is_captured() && self.followed(table).is_unsettled() {
            // The account may come to see it, and nothing in the stream would say so.
            self.waiting.silent.insert(table, self.now + ASK_AGAIN);
        }
        if let Some(shows) = shows
            && !stale
            && self.captures(&self.tables.at(table).name)
        {
            let revision = self.definition(table).revision;
            self.waiting.early.retain(|early| early.table != table);
            self.waiting.early.push(Early { table, revision, shows, end });
        }
        if stale {
            self.ask_once(table);
        }
        Ok(())
    }

    /// Decides the pending ids that were answered, where the answer holds for their rows.
    pub(super) fn look_at_answers(&mut self) -> Result<(), Failure> {
        for id in self.waiting.ids(|waiter| waiter.answer.is_some()) {
            let Some(mut waiter) = self.waiting.take(id) else { continue };
            let Some(Description { found, is_no_table, end }) = waiter.answer.take() else { continue };
            let is_reached = self.ledger.reaches(&end)? || is_on(Mutant::KeyBelievedAtOnce);
            let decision = match waiter.pending.fate {
                Fate::Untouched if is_no_table && is_reached => {
                    Decision::LeaveOut("they are no rows of a table that can be copied")
                }
                Fate::Untouched if is_no_table => Decision::Wait,
                _ => waiter.pending.decide(found.as_ref(), is_reached),
            };
            match decision {
                Decision::LeaveOut(why) => self.leave_out(waiter, why)?,
                Decision::Complete(shown) => self.complete(waiter, shown, found.as_ref(), &end)?,
                Decision::Wait => {
                    waiter.answer = Some(Description { found, is_no_table, end });
                    self.waiting.pending.push(waiter);
                }
            }
        }
        Ok(())
    }

    /// Decides an id whose answer came, but not the place of the stream at which it is certain. Its rows have no key then, unless one was
    /// known before: rows are told apart by all their values, which is right whatever keys there are. The key comes with the
    /// description, where the stream comes to it.
    pub(super) fn complete_early(&mut self, waiter: Waiter) -> Result<(), Failure> {
        let Some(Description { found, end, .. }) = waiter.answer.clone() else { return Ok(()) };
        let (table, id) = (waiter.table, waiter.pending.id);
        self.complete(waiter, Shown::Types, found.as_ref(), &end)?;
        if self.followed(table).current().is_some_and(|current| current.id == id) {
            // Also after a restart.
            self.keeping_early(table, |core| core.redefine(table).followed.unsettle());
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

    /// Decides a pending id. `shown`: what of `found`, a description at `end`, holds for its rows.
    pub(super) fn complete(
        &mut self,
        waiter: Waiter,
        shown: Shown,
        found: Option<&TableSchema>,
        end: &FilePos,
    ) -> Result<(), Failure> {
        if waiter.pending.needs_place() {
            return self.complete_unnamed(waiter, found);
        }
        let Waiter { mut pending, table, lsn, .. } = waiter;
        let id = pending.id;
        let before = self.waiting.not_left_out(pending.before.take());
        let before = before.filter(|_| !self.followed(table).is_key_unknown());
        let Completed { schema, guessed } = pending.completed(shown, found, before.as_ref());
        let records = vec![(SCHEMA.of_number(id.0), encode(&SchemaRecord::Known(schema.clone()))?)];
        let completed = Current::new(id, schema)?;
        self.waiting.know(&completed);
        let mut types = None;
        if self.followed(table).current().is_some_and(|current| current.id == id) {
            warn_of_guesses(&self.tables.at(table).name, &guessed);
            let described = (guessed.len() < pending.unknown.len())
                .then(|| Described::at(&self.facts.identity, end))
                .transpose()?;
            // The server may have shown another table, or none: which key there is has to be asked again, under another name perhaps.
            let is_key_known = shown == Shown::TypesAndKey || completed.schema.key.is_some();
            self.keeping_early(table, |core| {
                let followed = &mut core.redefine(table).followed;
                followed.complete(completed, described, guessed);
                if !is_key_known {
                    followed.unsettle();
                }
            });
            types = Some((table, self.followed(table).typed().clone()));
        }
        self.waiting.decided.push(Decided { lsn, rows: lsn, records, asked: Vec::new(), types });
        Ok(())
    }
}
