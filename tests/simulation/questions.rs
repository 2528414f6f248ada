//! Questions about tables that are under way, each on a connection of its own.

use replicator::ingest::AskId;
use replicator::ingest::core::Answer;
use replicator::model::{FilePos, Key, TableName, TableSchema};
use replicator::mutants::{Mutant, is_on};

use super::rng::Rng;
use super::server::Server;
use super::tables::{Name, layouts};
use super::trace;

#[derive(Debug)]
enum Question {
    Describe(AskId, TableName),
    /// A fault: the columns were looked at, and the end of the binlog, and the key is next.
    Columns(AskId, TableName, Option<TableSchema>, FilePos),
    Engine(AskId, TableName),
    Compare,
}

/// The questions of one connection of the stream.
#[derive(Debug, Default)]
pub struct Questions {
    asked: Vec<Question>,
    answered: Vec<Answer>,
}

impl Questions {
    pub fn describe(&mut self, ask: AskId, table: TableName) {
        self.asked.push(Question::Describe(ask, table));
    }

    pub fn engine(&mut self, ask: AskId, table: TableName) {
        self.asked.push(Question::Engine(ask, table));
    }

    pub fn compare(&mut self) {
        self.asked.push(Question::Compare);
    }

    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.answered.is_empty()
    }

    /// The server answers one of the questions, with what is so now. The definition of a table that is locked cannot be read, and
    /// one that the account may not read is not seen. So many of a hundred descriptions are refused.
    pub fn ask(&mut self, server: &Server, rng: &mut Rng, refused: usize) {
        let is_free = |question: &Question| match question {
            Question::Describe(_, table) | Question::Columns(_, table, ..) => {
                server.locked().map(Name::table).as_ref() != Some(table)
            }
            Question::Engine(..) | Question::Compare => true,
        };
        let free: Vec<usize> = (0..self.asked.len()).filter(|place| is_free(&self.asked[*place])).collect();
        let Some(place) = rng.pick(&free) else { return };
        let question = self.asked.swap_remove(*place);
        let there = |table: &TableName| server.visible(Name::of(table)).map(|there| there.shape);
        let described = |table: &TableName| {
            let name = Name::of(table);
            there(table).map(|shape| layouts(name, shape).described.schema.as_ref().clone())
        };
        let answer = match question {
            Question::Engine(ask, table) => {
                let transactional = there(&table).map(|shape| shape.is_transactional);
                Answer::Engine { table, ask, transactional, end: server.place(server.end()) }
            }
            Question::Compare => {
                let all = server.state(server.end()).tables.keys().map(|name| name.table());
                Answer::Compared(Some(all.filter_map(|table| described(&table)).collect()))
            }
            Question::Describe(ask, table) if rng.percent(refused) => {
                Answer::Refused { ask, table, why: "access is denied".to_owned() }
            }
            Question::Describe(ask, table) => {
                let (found, end) = (described(&table), server.place(server.end()));
                if is_on(Mutant::TwoLooksForOneDescription) {
                    return self.asked.push(Question::Columns(ask, table, found, end));
                }
                Answer::Described { ask, table, found, end }
            }
            // Much may come between the two looks.
            Question::Columns(ask, table, columns, end) if rng.percent(80) => {
                return self.asked.push(Question::Columns(ask, table, columns, end));
            }
            Question::Columns(ask, table, columns, end) => {
                let key = described(&table).and_then(|found| found.key);
                let found =
                    columns.map(|columns| TableSchema { key: key.filter(|key| fits(key, &columns)), ..columns });
                Answer::Described { ask, table, found, end }
            }
        };
        trace::note(|| format!("server answers: {}", shown(&answer)));
        self.answered.push(answer);
    }

    /// An answer that has come.
    pub fn answer(&mut self, rng: &mut Rng) -> Option<Answer> {
        if self.answered.is_empty() { None } else { Some(self.answered.swap_remove(rng.below(self.answered.len()))) }
    }
}

/// Whether the columns of a key are among these.
fn fits(key: &Key, columns: &TableSchema) -> bool {
    key.columns.iter().all(|place| usize::from(*place) < columns.columns.len())
}

/// An answer in one line.
pub fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Described { ask, table, found, end } => {
            let key = found.as_ref().map(|found| &found.key);
            format!("{table} (question {}) at {}:{}: key {key:?}", ask.0, end.file, end.pos)
        }
        Answer::Instead { ask, table, instead, .. } => format!("{table} (question {}): {instead:?}", ask.0),
        Answer::Compared(found) => format!("{} definitions", found.iter().flatten().count()),
        Answer::Merge { ask, table, is_merge, .. } => format!("{table} (question {}): merge {is_merge:?}", ask.0),
        Answer::Refused { ask, table, .. } => format!("{table} (question {}): refused", ask.0),
        Answer::Engine { table, ask, transactional, end } => {
            format!("{table} (question {}) at {}:{}: transactional {transactional:?}", ask.0, end.file, end.pos)
        }
    }
}
