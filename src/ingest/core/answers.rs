//! Answers of the server about tables, and what is decided when none comes in time.
//!
//! A description is the table's definition at the end of the binlog at which it was given, since its metadata lock was held
//! then. So it is adopted where the stream has come to that end, if it has met no statement about the table since the question.
//! For a pending schema id it counts at once where it is the same image: then the binlog itself says that it is this definition.

use std::sync::Arc;

use tracing::{info, warn};

use super::schema::kept_key;
use super::types::{take_described, warn_of_guesses};
use super::{Action, Core};
use crate::codec::catalog::SchemaRecord;
use crate::codec::stored::{REREAD, SCHEMA, TYPES, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{AskId, Decided, Early, Fate, Pending};
use crate::ingest::state::Reread;
use crate::ingest::typed::Described;
use crate::model::{FilePos, KeyKind, TableName, TableSchema};

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
        /// Whether it does.
        transactional: Option<bool>,
    },
}

impl<L: Log> Core<L> {
    /// Takes an answer. Between groups only.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn answer(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Described { ask, table, found, end } => {
                let Some(table) = self.asked(ask, &table) else { return Ok(()) };
                self.described(table, found, end)?;
            }
            Answer::Refused { ask, table, why } => {
                let Some((table, _)) = self.asked(ask, &table) else { return Ok(()) };
                let pending: Vec<Pending> = self.take_pending(table);
                for pending in pending {
                    self.unanswered(pending, &why)?;
                }
            }
            Answer::Engine { table, transactional } => self.engine(&table, transactional)?,
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

    fn take_pending(&mut self, table: usize) -> Vec<Pending> {
        self.waiting.pending.extract_if(.., |pending| pending.table == table).collect()
    }

    fn described(
        &mut self,
        (table, stale): (usize, bool),
        found: Option<TableSchema>,
        end: FilePos,
    ) -> Result<(), Failure> {
        let mut again = stale;
        for pending in self.take_pending(table) {
            match pending.fate {
                Fate::Retyped => {
                    self.leave_out(pending, "a statement changed a column before the server was asked for its type")?;
                }
                Fate::Gone => self.complete(pending, false, None, &end)?,
                Fate::Untouched | Fate::Altered => {
                    let fits = pending.fate == Fate::Untouched
                        && found.as_ref().is_some_and(|found| {
                            let mut seen = TableSchema::clone(&pending.seen);
                            take_described(&mut seen, &pending.unknown, Some(found));
                            seen.same_image(found)
                        });
                    self.complete(pending, fits, found.as_ref(), &end)?;
                }
            }
        }
        if let Some(found) = found
            && !stale
        {
            let revision = self.definition(table).revision;
            self.waiting.early.retain(|early| early.table != table);
            self.waiting.early.push(Early { table, revision, found, end });
        } else if self.definition(table).is_met() && stale {
            again = true;
        }
        if again {
            self.ask(table);
        }
        Ok(())
    }

    /// Decides a pending id: what the binlog does not say comes from `found`; what that does not show either stays as the binlog has it.
    fn complete(
        &mut self,
        pending: Pending,
        fits: bool,
        found: Option<&TableSchema>,
        end: &FilePos,
    ) -> Result<(), Failure> {
        let Pending { id, table, seen, unknown, lost, before, lsn, fate, .. } = pending;
        let mut schema = TableSchema::clone(&seen);
        let (lost, asked_for): (Vec<u16>, Vec<u16>) = unknown.iter().partition(|place| lost.contains(place));
        let mut guessed = take_described(&mut schema, &asked_for, found);
        // A column of its name that is there now is another one.
        guessed.extend(take_described(&mut schema, &lost, None));
        let name = schema.name.clone();
        let is_named = schema.key.as_ref().is_some_and(|key| key.kind == KeyKind::Primary);
        if is_named {
            // The binlog names it.
        } else if fits {
            schema.key = found.and_then(|found| found.key.clone());
        } else {
            // Without a key rows are told apart by all their values, which is right whatever keys there are.
            let kept = before.filter(|_| fate == Fate::Untouched && !self.definition(table).key_unknown);
            schema.key = kept.and_then(|before| kept_key(&before.schema, &schema));
        }
        let mut records = vec![(SCHEMA.of_number(id.0), encode(&SchemaRecord::Known(TableSchema::clone(&schema)))?)];
        let is_current = self.definition(table).current.as_ref().is_some_and(|current| current.id == id);
        if is_current {
            warn_of_guesses(&name, &guessed);
            let mut typed = self.definition(table).typed.clone();
            if guessed.len() < unknown.len() {
                typed.describe_until(Some(Described::at(&self.facts.identity, end)?));
            }
            typed.guess(guessed);
            if !typed.is_empty() {
                // With the decision: the mark must not be missing where the type is believed.
                records.push((TYPES.of_table(&name), encode(&typed)?));
            }
            self.tables.complete(table, id, &Arc::new(schema))?;
            self.redefine(table).key_unknown = false;
            self.set_typed(table, typed);
        }
        self.waiting.decided.push(Decided { lsn, rows: lsn, records, rereads: Vec::new() });
        Ok(())
    }

    /// Decides a pending id without an answer. Of a table that is gone none can come, and its rows may be in the copy of a table that it
    /// was renamed to: they stay, as the binlog has them.
    fn unanswered(&mut self, pending: Pending, why: &str) -> Result<(), Failure> {
        if pending.fate != Fate::Gone {
            return self.leave_out(pending, why);
        }
        let at = self.ledger.position();
        self.complete(pending, false, None, &FilePos { file: at.file, pos: at.pos })
    }

    /// Decides that a pending id cannot be known: its rows are left out, and the table is read again.
    fn leave_out(&mut self, pending: Pending, why: &str) -> Result<(), Failure> {
        let record = left_out_record(&pending, why);
        let Pending { id, table, seen, before, lsn, .. } = pending;
        warn!(table = %seen.name, %why, "rows of a table are left out, and it is read again");
        // Stored once the doubt is durable: a crash between them would leave the rows out, and nothing would bring them again.
        self.group.decided.push((SCHEMA.of_number(id.0), encode(&record)?));
        self.group.decided_rows = self.group.decided_rows.max(lsn);
        let definition = self.redefine(table);
        if definition.current.as_ref().is_some_and(|current| current.id == id) {
            definition.current = before;
            definition.steps.clear();
            definition.reread = true;
        }
        definition.left_out = true;
        let origin = self.ledger.origin(self.wall);
        if !self.group.rereads.iter().any(|reread| reread.table == seen.name) {
            self.doubt(table, why, &origin)?;
        }
        Ok(())
    }

    fn engine(&mut self, name: &TableName, transactional: Option<bool>) -> Result<(), Failure> {
        let Some((table, definition)) = self.find(name) else { return Ok(()) };
        // Of a table that is gone or has another name now the stream is still to tell: it stays to be asked about.
        let Some(transactional) = transactional.filter(|_| definition.cut_back) else { return Ok(()) };
        self.redefine(table).cut_back = false;
        if !transactional {
            let origin = self.ledger.origin(self.wall);
            self.doubt(table, "its engine cannot take back rows that a transaction rolled back", &origin)?;
        }
        Ok(())
    }

    /// Looks at what waits for the time, for the stream or for the log. Between groups only; the driver calls it when the stream has
    /// moved, and now and then while rows wait for an answer.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn look(&mut self) -> Result<(), Failure> {
        self.look_at_early()?;
        self.look_at_deadlines()?;
        self.commit_here()?;
        let log = self.ledger.log();
        let (durable, is_full) = (log.durable(), log.is_full());
        let is_due = |decided: &Decided| decided.lsn <= durable || (is_full && decided.rows <= durable);
        for mut decided in self.waiting.decided.extract_if(.., |decided| is_due(decided)) {
            if decided.lsn > durable {
                // The log takes no frame before delivery goes on, and delivery waits for this. So the re-read goes with it.
                decided.records.append(&mut decided.rereads);
            }
            self.actions.push(Action::Store(decided.records));
        }
        Ok(())
    }

    /// What has to be decided while the log takes no frame: records to be stored at once, beside the groups. Delivery may be waiting for
    /// them, and the log for delivery. Also inside a group, of which it changes nothing.
    ///
    /// # Errors
    /// When a record cannot be stored.
    pub fn decide_beside(&mut self) -> Result<Vec<Vec<(Vec<u8>, Vec<u8>)>>, Failure> {
        let log = self.ledger.log();
        if !log.is_full() {
            return Ok(Vec::new());
        }
        let durable = log.durable();
        let mut stores = Vec::new();
        for mut decided in self.waiting.decided.extract_if(.., |decided| decided.rows <= durable) {
            decided.records.append(&mut decided.rereads);
            stores.push(decided.records);
        }
        let (now, wait) = (self.now, self.settings.describe_wait);
        let is_late = |pending: &Pending| now.saturating_sub(pending.since) >= wait && pending.lsn <= durable;
        for pending in self.waiting.pending.extract_if(.., |pending| is_late(pending)).collect::<Vec<_>>() {
            let why = no_answer(wait);
            if pending.fate == Fate::Gone {
                let record = SchemaRecord::Known(TableSchema::clone(&pending.seen));
                stores.push(vec![(SCHEMA.of_number(pending.id.0), encode(&record)?)]);
                continue;
            }
            let record = left_out_record(&pending, &why);
            let reread = Reread { table: pending.seen.name.clone(), replace: true, why };
            stores.push(vec![
                (SCHEMA.of_number(pending.id.0), encode(&record)?),
                (REREAD.of_table(&reread.table), encode(&reread)?),
            ]);
            self.waiting.overdue.push(pending);
        }
        Ok(stores)
    }

    /// Adopts descriptions whose place the stream has reached.
    fn look_at_early(&mut self) -> Result<(), Failure> {
        let mut index = 0;
        while let Some(early) = self.waiting.early.get(index) {
            let same = self.definition(early.table).revision == early.revision;
            let unsettled = self.definition(early.table).is_unsettled();
            if same && !self.ledger.reaches(&early.end)? {
                index += 1;
                continue;
            }
            let Early { table, found, .. } = self.waiting.early.swap_remove(index);
            if !same {
                if unsettled {
                    self.ask(table);
                }
                continue;
            }
            if self.allows(table, &found) {
                let origin = self.ledger.origin(self.wall);
                self.redefine(table).key_unknown = false;
                self.adopt(table, found, &origin)?;
                self.commit_here()?;
            } else {
                info!(table = %found.name, "the server describes another definition than the stream has come to");
            }
        }
        Ok(())
    }

    fn look_at_deadlines(&mut self) -> Result<(), Failure> {
        let (now, wait) = (self.now, self.settings.describe_wait);
        let is_late = |pending: &Pending| now.saturating_sub(pending.since) >= wait;
        let mut late = std::mem::take(&mut self.waiting.overdue);
        late.extend(self.waiting.pending.extract_if(.., |pending| is_late(pending)));
        for pending in late {
            self.unanswered(pending, &no_answer(wait))?;
        }
        Ok(())
    }
}

fn no_answer(wait: u64) -> String {
    format!("the server did not say within {wait} ms how the table is defined (source.describe_wait)")
}

fn left_out_record(pending: &Pending, why: &str) -> SchemaRecord {
    SchemaRecord::LeftOut {
        seen: TableSchema::clone(&pending.seen),
        before: pending.before.as_ref().map(|before| before.id),
        reason: why.to_owned(),
    }
}
