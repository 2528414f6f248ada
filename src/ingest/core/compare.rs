//! Definitions that changed without a statement in the binlog: `sql_log_bin=0`, or a server that took over and is another one.
//!
//! With the names of the columns in every `TABLE_MAP` such a change shows with the table's next rows. Without them a column may have
//! another name, or stand for another one of its type, and nothing in the stream says so. So after every connect, and every ten minutes,
//! the server is asked how all captured tables are defined. That is cheap, and holds for no place of the stream. So it only says of which
//! tables the definition is asked for in the usual way: a difference counts where the stream has come to that answer's place, and has
//! met no statement that explains it.

use super::{Action, Core};
use crate::ingest::ledger::Log;
use crate::model::{TableName, TableSchema};
use crate::source::mysql::follow::Followed;

/// Milliseconds between two comparisons.
const EVERY: u64 = 600_000;
/// Milliseconds between two comparisons at least, however often the stream is opened again.
const PAUSE: u64 = 60_000;

/// When definitions are compared.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// When it is next; `None`: no server is read.
    due: Option<u64>,
    /// When the last answer came.
    last: Option<u64>,
    /// Since when the answer is awaited.
    asked: Option<u64>,
    /// A `TABLE_MAP` of this process had no names.
    is_needed: bool,
}

impl Comparing {
    /// A server is read from here on.
    pub(super) fn connected(&mut self, now: u64) {
        let soonest = self.last.map_or(now, |last| last.saturating_add(PAUSE).max(now));
        (self.due, self.asked) = (Some(soonest), None);
    }

    /// No server is read.
    pub(super) fn disconnected(&mut self) {
        (self.due, self.asked) = (None, None);
    }

    /// A `TABLE_MAP` had no names.
    pub(super) fn met_unnamed(&mut self) {
        self.is_needed = true;
    }

    /// Since when an answer is awaited.
    pub(super) fn asked(&self) -> Option<u64> {
        self.asked
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.asked.is_none() && self.due.is_some_and(|due| now >= due)
    }
}

impl<L: Log> Core<L> {
    /// Asks for all definitions, where it is time to.
    pub(super) fn look_at_definitions(&mut self) {
        if !self.comparing.is_due(self.now) {
            return;
        }
        let is_needed = self.comparing.is_needed || !self.facts.tells_names;
        let has_any = self.tables.iter().any(|(_, table)| table.definition.followed.current().is_some());
        if is_needed && has_any {
            self.comparing.asked = Some(self.now);
            self.actions.push(Action::Compare);
        } else {
            self.comparing.due = Some(self.now.saturating_add(EVERY));
        }
    }

    /// The server has said how tables are defined; `None`: it did not answer. Of those that are known otherwise, the definition is asked
    /// for.
    pub(super) fn compared(&mut self, found: Option<Vec<TableSchema>>) {
        self.comparing.asked = None;
        self.comparing.due = Some(self.now.saturating_add(EVERY));
        self.comparing.last = Some(self.now);
        let Some(mut found) = found else { return };
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let is_other = |name: &TableName, followed: &Followed| {
            match found.binary_search_by(|found| found.name.cmp(name)).ok().and_then(|at| found.get(at)) {
                Some(found) => followed.differs_unexplained(found),
                // It is gone, or the account may not read it any more.
                None => followed.is_as_described() && followed.current().is_some(),
            }
        };
        let others: Vec<usize> = self
            .tables
            .iter()
            .filter(|(_, table)| table.definition.life.is_captured() && table.definition.life.left_out.is_none())
            .filter(|(_, table)| is_other(&table.name, &table.definition.followed))
            .map(|(index, _)| index)
            .collect();
        for table in others {
            if !self.waiting.has_pending(table) {
                self.ask_once(table);
            }
        }
    }
}
