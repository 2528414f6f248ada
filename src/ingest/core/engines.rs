//! Whether a table's engine took back the rows that a rollback cut off.
//!
//! The server says what the engine is at an end of the binlog. It was the same at the rollback if the stream meets no statement about the
//! table between the two; after a statement nobody can say what it was, and the table is read again. So is a table that the account does
//! not see and whose end the stream does not meet up to there.

use super::{Action, Core};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{AskId, EngineAnswer, EngineAsked};
use crate::model::{FilePos, TableName};
use crate::mutants::{Mutant, is_on};

impl<L: Log> Core<L> {
    /// Asks for the engine of a table. An answer to an earlier question is not taken any more.
    pub(super) fn ask_engine(&mut self, table: usize) {
        let id = self.waiting.new_ask();
        self.waiting.engines.insert(table, EngineAsked { id, since: self.now, answer: None });
        self.actions.push(Action::AskEngine { table: self.tables.at(table).name.clone(), ask: id });
    }

    /// Takes the answer. `None`: the account sees no such table. If it is gone, the stream is still to say so.
    pub(super) fn engine(
        &mut self,
        name: &TableName,
        ask: AskId,
        transactional: Option<bool>,
        end: FilePos,
    ) -> Result<(), Failure> {
        let Some(table) = self.tables.find(name) else { return Ok(()) };
        let Some(asked) = self.waiting.engines.get_mut(&table).filter(|asked| asked.id == ask) else { return Ok(()) };
        match transactional {
            None => asked.answer = Some(EngineAnswer { is_seen: false, end }),
            Some(true) => asked.answer = Some(EngineAnswer { is_seen: true, end }),
            Some(false) => {
                self.waiting.engines.remove(&table);
                if self.definition(table).cut_back {
                    self.redefine(table).cut_back = false;
                    let origin = self.ledger.origin(self.wall);
                    self.doubt(table, "its engine cannot take back rows that a transaction rolled back", &origin)?;
                }
            }
        }
        Ok(())
    }

    /// Believes the answers whose place the stream has reached without a statement about their table.
    pub(super) fn look_at_engines(&mut self) -> Result<(), Failure> {
        let mut over = Vec::new();
        for (table, asked) in &self.waiting.engines {
            let reached = match &asked.answer {
                None => false,
                Some(EngineAnswer { is_seen, end }) => {
                    self.ledger.reaches(end)? || (*is_seen && is_on(Mutant::EngineBelievedAtOnce))
                }
            };
            if reached || !self.tables.at(*table).definition.cut_back {
                over.push(*table);
            }
        }
        // In an order that is the same again.
        over.sort_unstable();
        for table in over {
            let asked = self.waiting.engines.remove(&table);
            if !self.definition(table).cut_back {
                continue;
            }
            self.redefine(table).cut_back = false;
            if asked.and_then(|asked| asked.answer).is_some_and(|answer| !answer.is_seen) {
                let origin = self.ledger.origin(self.wall);
                let why =
                    "the account does not see its engine, which may not have taken back what a transaction rolled back";
                self.doubt(table, why, &origin)?;
            }
        }
        Ok(())
    }
}
