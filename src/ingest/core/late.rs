//! What waits for the time, for the stream or for the log, and what is decided when no answer comes in time.

use tracing::{info, warn};

use super::{ANSWER_WAIT, Action, Core};
use crate::codec::catalog::SchemaRecord;
use crate::codec::stored::{ASKED, SCHEMA, TYPES, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{Decided, Early, Shows, Waiter};
use crate::ingest::state::AskedBeside;
use crate::model::{FilePos, TableSchema};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::{Fate, Provenance, Shown};
use crate::source::mysql::schema::Instead;
use crate::table::{Cause, Event};

/// Records to be stored at once.
pub type Records = Vec<(Vec<u8>, Vec<u8>)>;

impl<L: Log> Core<L> {
    /// Looks at what waits for the time, for the stream or for the log. Between groups only; the driver calls it when the stream has
    /// moved, and now and then while rows wait for an answer.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn look(&mut self) -> Result<(), Failure> {
        self.decide_overdue()?;
        self.look_at_answers()?;
        self.look_at_early()?;
        self.look_at_unexplained();
        self.look_at_engines()?;
        self.look_at_merges()?;
        self.look_at_deadlines()?;
        self.look_at_silence();
        self.look_at_definitions();
        self.commit_here()?;
        let log = self.ledger.log();
        let (durable, is_full) = (log.durable(), log.is_full());
        let is_due = |decided: &Decided| decided.lsn <= durable || (is_full && decided.rows <= durable);
        let due: Vec<Decided> = self.waiting.decided.extract_if(.., |decided| is_due(decided)).collect();
        for decided in due {
            // The log is full and takes no frame until delivery goes on, and delivery waits for this record. So the group that asks
            // for the read cannot become durable first, and the read is stored with the record.
            let with_doubt = decided.lsn > durable;
            let records = self.records_of(decided, with_doubt)?;
            self.actions.push(Action::Store(records));
        }
        Ok(())
    }

    /// A decision as it is stored.
    fn records_of(&self, decided: Decided, with_doubt: bool) -> Result<Records, Failure> {
        let Decided { mut records, mut asked, types, .. } = decided;
        if with_doubt {
            records.append(&mut asked);
        }
        if let Some((table, typed)) = types
            && let table = self.tables.at(table)
            && *table.definition.followed.typed() == typed
            && !typed.is_empty()
        {
            records.push((TYPES.of_table(&table.name), encode(&typed)?));
        }
        Ok(records)
    }

    /// What has to be decided while the stream is not at a boundary, or stands still: records to be stored at once, beside the
    /// groups. Delivery may be waiting for them, and a full log for delivery. Also inside a group, of which it changes nothing.
    ///
    /// # Errors
    /// When a record cannot be stored.
    pub fn decide_beside(&mut self) -> Result<Vec<Records>, Failure> {
        let durable = self.ledger.log().durable();
        let mut stores = Vec::new();
        let due: Vec<Decided> = self.waiting.decided.extract_if(.., |decided| decided.rows <= durable).collect();
        for decided in due {
            let with_doubt = decided.lsn > durable;
            stores.push(self.records_of(decided, with_doubt)?);
        }
        let (now, wait) = (self.now, self.settings.describe_wait);
        let is_late = |waiter: &Waiter| now.saturating_sub(waiter.since) >= wait && waiter.lsn <= durable;
        for waiter in self.waiting.pending.extract_if(.., |waiter| is_late(waiter)).collect::<Vec<_>>() {
            let why = no_answer(&waiter, wait);
            let key = SCHEMA.of_number(waiter.pending.id.0);
            if waiter.pending.fate == Fate::Gone {
                let record = if waiter.pending.needs_place() {
                    self.waiting.leave_out(waiter.pending.id, waiter.pending.before.clone());
                    self.left_out_record(&waiter, &why)
                } else {
                    SchemaRecord::Known(TableSchema::clone(&waiter.pending.seen))
                };
                stores.push(vec![(key, encode(&record)?)]);
                continue;
            }
            let record = self.left_out_record(&waiter, &why);
            let asked = ASKED.of_table(&waiter.pending.seen.name);
            stores.push(vec![(key, encode(&record)?), (asked, encode(&AskedBeside { why })?)]);
            self.waiting.overdue.push(waiter);
        }
        Ok(stores)
    }

    /// Adopts descriptions whose place the stream has reached.
    fn look_at_early(&mut self) -> Result<(), Failure> {
        let mut index = 0;
        while let Some(early) = self.waiting.early.get(index) {
            let same = self.definition(early.table).revision == early.revision;
            // Rows that still wait are decided without a key when their time is up.
            let unsettled = self.followed(early.table).is_unsettled() || self.waiting.has_pending(early.table);
            if same && !is_on(Mutant::LaterDescriptionAdopted) && !self.ledger.reaches(&early.end)? {
                self.adopt_confirmed(index)?;
                index += 1;
                continue;
            }
            let Early { table, shows, .. } = self.waiting.early.swap_remove(index);
            if !same {
                if unsettled {
                    self.ask_once(table);
                }
                continue;
            }
            let found = match shows {
                Shows::Table(found) => found,
                Shows::Instead(Instead::Nothing) if self.is_gone_unexplained(table) => {
                    let origin = self.ledger.origin(self.wall);
                    let why = "the source has no such table, and the binlog has no statement that dropped it";
                    warn!(table = %self.tables.at(table).name, "{why}");
                    self.happens(table, Event::Vanished { why: why.to_owned() }, &origin)?;
                    self.commit_here()?;
                    continue;
                }
                Shows::Instead(instead) => {
                    self.is_instead(table, instead)?;
                    continue;
                }
            };
            // Then no statement has said anything of its types either.
            let is_unexplained = self.followed(table).differs_unexplained(&found);
            if is_unexplained || self.followed(table).allows(&found, self.facts.dialect()) {
                let origin = self.ledger.origin(self.wall);
                self.is_a_table(table, &found, &origin)?;
                if is_unexplained && !self.life(table).leaves_out_unknown() {
                    self.is_unexplained(table, &origin)?;
                }
                self.redefine(table).followed.know_key();
                self.adopt(table, found, Provenance::Description, &origin)?;
                self.commit_here()?;
            } else {
                info!(table = %found.name, "the server describes another definition than the stream has come to");
            }
        }
        Ok(())
    }

    /// Whether a table that is gone was known, and no statement has dropped it. What may have been a temporary table was not known.
    fn is_gone_unexplained(&self, table: usize) -> bool {
        let definition = self.definition(table);
        let followed = &definition.followed;
        definition.kin.renamed_from.is_empty()
            && definition.life.is_captured()
            && followed.is_as_described()
            && followed.current().is_some()
    }

    /// Whether the server has not said how some table is defined, and is asked again after a while.
    pub fn is_unanswered(&self) -> bool {
        !self.waiting.silent.is_empty()
    }

    /// Asks again about tables of which the server has not said how they are defined.
    fn look_at_silence(&mut self) {
        let now = self.now;
        let due: Vec<usize> =
            self.waiting.silent.extract_if(|_, again| now >= *again).map(|(table, _)| table).collect();
        for table in due {
            self.ask_once(table);
        }
    }

    /// Rows show that a table is another one than is known, and the server is asked what it is: a read of it begins
    /// after the answer. One that begins earlier goes by the old definition, and the answer would make it be done
    /// again. It waits for no longer than a run that has to end would.
    pub(super) fn read_after_the_answer(&mut self, table: usize) {
        self.waiting.unexplained.entry(table).or_insert(self.now.saturating_add(ANSWER_WAIT));
        self.tables.wait_for_answer(table, true);
    }

    fn look_at_unexplained(&mut self) {
        let (now, waiting) = (self.now, &self.waiting);
        let is_over = |table: usize, until: u64| now >= until || !waiting.is_asked(table);
        let over = waiting.unexplained.iter().filter(|(table, until)| is_over(**table, **until));
        for table in over.map(|(table, _)| *table).collect::<Vec<_>>() {
            self.waiting.unexplained.remove(&table);
            self.tables.wait_for_answer(table, false);
        }
    }

    fn look_at_deadlines(&mut self) -> Result<(), Failure> {
        let (now, wait) = (self.now, self.settings.describe_wait);
        let is_late = |waiter: &Waiter| {
            // What is answered is decided at a boundary, without leaving anything out, before time is up where there is none.
            let is_known = waiter.answer.is_some() && !waiter.pending.needs_place();
            let patience = if is_known { wait / 2 } else { wait };
            now.saturating_sub(waiter.since) >= patience
        };
        for id in self.waiting.ids(is_late) {
            let Some(waiter) = self.waiting.take(id) else { continue };
            if waiter.answer.is_some() && !waiter.pending.needs_place() {
                self.complete_early(waiter)?;
            } else {
                let why = no_answer(&waiter, wait);
                self.unanswered(waiter, &why)?;
            }
        }
        Ok(())
    }

    /// Takes in what was decided beside the groups. Between groups, and before anything that may go by what a table's schema is: a
    /// read that begins would be placed under an id that is left out.
    pub(super) fn decide_overdue(&mut self) -> Result<(), Failure> {
        while !self.waiting.overdue.is_empty() {
            let waiter = self.waiting.overdue.remove(0);
            let why = no_answer(&waiter, self.settings.describe_wait);
            self.unanswered(waiter, &why)?;
        }
        self.commit_here()
    }

    /// Decides a pending id without an answer. Of a table that is gone none can come, and its rows may be in the copy of a table that it
    /// was renamed to: they stay, as the binlog has them.
    pub(super) fn unanswered(&mut self, waiter: Waiter, why: &str) -> Result<(), Failure> {
        if waiter.pending.fate != Fate::Gone || waiter.pending.needs_place() {
            return self.leave_out(waiter, why);
        }
        let at = self.ledger.position();
        self.complete(waiter, Shown::Nothing, None, &FilePos { file: at.file, pos: at.pos })
    }

    /// Decides that a pending id cannot be known: its rows are left out, and the table is read again.
    pub(super) fn leave_out(&mut self, waiter: Waiter, why: &str) -> Result<(), Failure> {
        let record = self.left_out_record(&waiter, why);
        let Waiter { pending, table, lsn, .. } = waiter;
        let name = &pending.seen.name;
        // Where no statement has made it unknown, nobody has defined the table otherwise.
        let cause = if pending.is_first_met() { Cause::Rows } else { Cause::Definition };
        if pending.fate == Fate::Gone {
            // There is no table to read. A table that took its name was read again at the statement that gave it the name.
            warn!(table = %name, %why, "rows of a table that is gone are left out");
            let before = self.waiting.not_left_out(pending.before);
            self.waiting.leave_out(pending.id, before);
            let records = vec![(SCHEMA.of_number(pending.id.0), encode(&record)?)];
            self.waiting.decided.push(Decided { lsn, rows: lsn, records, asked: Vec::new(), types: None });
            return Ok(());
        }
        warn!(table = %name, %why, "rows of a table are left out, and it is read again");
        // Stored once the doubt is durable: a crash between them would leave the rows out, and nothing would bring them again.
        self.group.decided.push((SCHEMA.of_number(pending.id.0), encode(&record)?));
        self.group.decided_rows = self.group.decided_rows.max(lsn);
        let before = pending.before;
        let before = if is_on(Mutant::LeftOutIdCurrentAgain) { before } else { self.waiting.not_left_out(before) };
        self.waiting.leave_out(pending.id, before.clone());
        let followed = &mut self.redefine(table).followed;
        if followed.current().is_some_and(|current| current.id == pending.id) {
            followed.leave_out(before);
        }
        let origin = self.ledger.origin(self.wall);
        let asked = ASKED.of_table(name);
        if self.group.asked_beside.iter().any(|(key, _)| *key == asked) {
            return Ok(());
        }
        self.doubt_because(table, cause, why, &origin)
    }

    fn left_out_record(&self, waiter: &Waiter, why: &str) -> SchemaRecord {
        SchemaRecord::LeftOut {
            seen: TableSchema::clone(&waiter.pending.seen),
            before: self.waiting.not_left_out(waiter.pending.before.clone()).map(|before| before.id),
            reason: why.to_owned(),
        }
    }
}

fn no_answer(waiter: &Waiter, wait: u64) -> String {
    if waiter.answer.is_some() {
        return format!(
            "the binlog does not name its columns, and the stream did not come within {wait} ms (source.describe_wait) to the place at which \
             the server described it; with binlog_row_metadata = FULL it has names"
        );
    }
    format!("the server did not say within {wait} ms how the table is defined (source.describe_wait)")
}
