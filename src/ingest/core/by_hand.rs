//! What an operator does to one table, by hand: a read, its end, leaving the table out, and taking that back.

use super::Core;
use super::resync::Refused;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::model::TableName;
use crate::table::{ByHand, Event, Operated};

impl<L: Log> Core<L> {
    /// Does to a table what an operator says. Between groups only.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn operate(&mut self, table: &TableName, by_hand: ByHand) -> Result<Result<Operated, Refused>, Failure> {
        self.decide_overdue()?;
        let table = self.settings.filter.names().table(table.clone());
        if !self.captures(&table) {
            return Ok(Err(Refused::Excluded(table)));
        }
        if let Err(refused) = self.may_be_done(&table, &by_hand) {
            return Ok(Err(refused));
        }
        let index = self.tables.index(&table);
        let read_of = |core: &Self| {
            let life = core.life(index);
            life.next.as_ref().or(life.read.as_ref()).map(|read| read.number)
        };
        // A cancel ends this read; one that follows it is not touched.
        let cancelled = matches!(by_hand, ByHand::Cancel(_)).then(|| self.life(index).cancellable());
        let event = match by_hand {
            ByHand::Read(ask) => Event::Asked(ask),
            ByHand::Cancel(why) => Event::ReadCancelled { why },
            ByHand::Skip(why) => Event::SkipAsked { why },
            ByHand::Resume(why) => Event::ResumeAsked { why },
        };
        let origin = self.ledger.origin(self.wall);
        self.happens(index, event, &origin)?;
        self.commit_here()?;
        self.pass_lives()?;
        let read = cancelled.unwrap_or_else(|| read_of(self));
        Ok(Ok(Operated { read, left_out: self.life(index).left_out.as_ref().map(|fault| fault.why.clone()) }))
    }

    fn may_be_done(&self, table: &TableName, by_hand: &ByHand) -> Result<(), Refused> {
        let life = self.tables.find(table).map(|index| self.life(index));
        let life = life.filter(|life| life.is_captured() || life.awaits.is_some() || life.read.is_some());
        let Some(life) = life else {
            // A read that is asked for finds out itself whether there is such a table.
            return if matches!(by_hand, ByHand::Read(_)) { Ok(()) } else { Err(Refused::Unknown(table.clone())) };
        };
        if let (Some(fault), false) = (life.nature(), matches!(by_hand, ByHand::Cancel(_))) {
            return Err(Refused::ByNature(table.clone(), fault.why.clone()));
        }
        match by_hand {
            ByHand::Read(_) | ByHand::Skip(_) if life.by_operator().is_some() => Err(Refused::Skipped(table.clone())),
            ByHand::Cancel(_) => life.may_cancel().map_err(|why| Refused::NotCancelled(table.clone(), why)),
            ByHand::Skip(_) if !life.is_captured() => Err(Refused::Unknown(table.clone())),
            ByHand::Resume(_) if life.left_out.is_none() => Err(Refused::NotLeftOut(table.clone())),
            ByHand::Read(_) | ByHand::Skip(_) | ByHand::Resume(_) => Ok(()),
        }
    }
}
