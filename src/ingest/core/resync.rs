//! A resync: an operator asks for tables to be read again in place of what the sinks have.

use super::Core;
use crate::codec::frame::Audience;
use crate::error::{Failure, table_resume};
use crate::ingest::ledger::Log;
use crate::ingest::tables::Table;
use crate::model::{TableName, as_word};
use crate::table::{Ask, Event, NotCancelled, Reach, TableRecord};

/// Why what an operator asks for is refused. Then nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No such sink is configured.
    Sink(String),
    /// The configuration leaves the table out.
    Excluded(TableName),
    /// The log knows no such table.
    Unknown(TableName),
    /// The table cannot be copied, and why.
    ByNature(TableName, String),
    /// An operator has left it out.
    Skipped(TableName),
    /// It is not left out.
    NotLeftOut(TableName),
    /// Its reads cannot be cancelled, and why.
    NotCancelled(TableName, NotCancelled),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Sink(sink) => Self::fatal(format!("the running daemon has no sink \"{sink}\""))
                .hint("replicator status lists its sinks; restart it after a change of sinks"),
            Refused::Excluded(table) => Self::fatal(format!("the running daemon does not capture table \"{table}\""))
                .hint("restart it after a change of source.include and source.exclude; it reads a table that it captures since by itself"),
            Refused::Unknown(table) => Self::fatal(format!("the log knows no table \"{table}\""))
                .hint("replicator status lists the captured tables"),
            Refused::ByNature(table, why) => Self::fatal(format!("table \"{table}\" cannot be copied: {why}")),
            Refused::Skipped(table) => Self::fatal(format!("table \"{table}\" is skipped by an operator"))
                .hint(format!("`{}` reads it again", table_resume(&as_word(&table.to_string())))),
            Refused::NotLeftOut(table) => Self::fatal(format!("table \"{table}\" is not left out: there is nothing to resume"))
                .hint(format!("`replicator table show {}` says what it is", as_word(&table.to_string()))),
            Refused::NotCancelled(table, NotCancelled::NoRead) => {
                Self::fatal(format!("no read of table \"{table}\" is wanted: there is nothing to cancel"))
            }
            Refused::NotCancelled(table, NotCancelled::NotByHand(why)) => {
                Self::fatal(format!("the read of table \"{table}\" is not an operator's alone, and is not cancelled: {why}"))
                    .hint(format!("`replicator table skip {}` leaves the table out", as_word(&table.to_string())))
            }
            Refused::NotCancelled(table, NotCancelled::Replaces(sinks)) => {
                let sinks = sinks.join(", ");
                Self::fatal(format!(
                    "the read of table \"{table}\" has begun to replace what {sinks} has, and only its end makes that current"
                ))
                .hint(format!("wait for its end, or leave the table out: `replicator table skip {}`", as_word(&table.to_string())))
            }
        }
    }
}

impl<L: Log> Core<L> {
    /// Wants every captured table, or these, to be read again in place of what the sinks have: every configured one, or these. All of
    /// it is one group, so that a crash forgets all or nothing. Returns how many tables there are. Between groups only.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn resync(&mut self, tables: &[TableName], sinks: &[String]) -> Result<Result<usize, Refused>, Failure> {
        self.decide_overdue()?;
        let wanted = match self.wanted_by_resync(tables, sinks) {
            Ok(wanted) => wanted,
            Err(refused) => return Ok(Err(refused)),
        };
        let audience = if sinks.is_empty() { Audience::All } else { Audience::Sinks(sinks.to_vec()) };
        let origin = self.ledger.origin(self.wall);
        for table in &wanted {
            let ask =
                Ask { audience: audience.clone(), ..Ask::by_hand(Reach::Replace, "an operator asked for a resync") };
            self.happens(*table, Event::Asked(ask), &origin)?;
        }
        self.commit_here()?;
        self.pass_lives()?;
        Ok(Ok(wanted.len()))
    }

    fn wanted_by_resync(&self, tables: &[TableName], sinks: &[String]) -> Result<Vec<usize>, Refused> {
        if let Some(sink) = sinks.iter().find(|sink| !self.settings.sinks.contains(sink)) {
            return Err(Refused::Sink(sink.clone()));
        }
        if tables.is_empty() {
            let is_wanted = |table: &Table| {
                let life = &table.definition.life;
                (life.is_captured() || life.awaits.is_some()) && nature(life).is_none() && life.by_operator().is_none()
            };
            return Ok(self.tables.iter().filter(|(_, table)| is_wanted(table)).map(|(index, _)| index).collect());
        }
        let mut wanted = Vec::with_capacity(tables.len());
        for table in tables {
            let table = self.settings.filter.names().table(table.clone());
            if !self.captures(&table) {
                return Err(Refused::Excluded(table));
            }
            let known = self.tables.find(&table).filter(|index| {
                let life = self.life(*index);
                life.is_captured() || life.awaits.is_some()
            });
            let Some(index) = known else { return Err(Refused::Unknown(table)) };
            if let Some(why) = nature(self.life(index)) {
                return Err(Refused::ByNature(table, why.to_owned()));
            }
            if self.life(index).by_operator().is_some() {
                return Err(Refused::Skipped(table));
            }
            if !wanted.contains(&index) {
                wanted.push(index);
            }
        }
        Ok(wanted)
    }
}

/// Why a table cannot be copied by what it is.
fn nature(life: &TableRecord) -> Option<&str> {
    life.nature().map(|fault| fault.why.as_str())
}
