//! Rows of which the binlog has some columns only.

use super::Core;
use super::rows::{Bound, Rows};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::model::{Column, Origin};
use crate::source::mysql::binlog::Partial;
use crate::source::mysql::schema::Flavour;

impl<L: Log> Core<L> {
    /// Rows of a captured table of which an event has some columns only. Where it has every column of every row once, in the image before
    /// a change or in the one after it, they are rows as others are. Else nobody knows what they are, and the table is read again.
    ///
    /// # Errors
    /// Fatal, when the table was never mapped, or the log is out of service.
    pub fn partial(&mut self, slot: usize, partial: &Partial<'_>, origin: &Origin) -> Result<(), Failure> {
        let read = u64::from(partial.rows());
        let left_out = Counts { read, left_out: read, ..Counts::default() };
        if self.group.is_dropped() {
            let table = self.slot(slot)?.table;
            self.group.count(table, left_out);
            return Ok(());
        }
        self.rebind(slot, origin)?;
        let there = self.slot(slot)?;
        let table = there.table;
        match &there.bound {
            Bound::NoTable => {}
            Bound::LeftOut => self.group.count(table, left_out),
            Bound::Logged { .. } => {
                if let Some(images) = self.completed(table, partial)? {
                    let (op, rows, columns) = (partial.op(), partial.rows(), partial.columns());
                    return self.rows(slot, Rows { op, rows, columns, images: &images }, origin);
                }
                self.group.count(table, left_out);
                return self.unread_rows(table, partial.why(), origin);
            }
        }
        Ok(())
    }

    /// Whole images, where that is what the rows are. MariaDB may leave out what a generated column has become, so there it takes a
    /// table that is known to have none.
    fn completed(&self, table: usize, partial: &Partial<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let is_plain = |column: &Column| column.attributes.as_ref().is_some_and(|known| known.generated.is_none());
        let current = self.followed(table).current();
        let is_exact = self.facts.flavour == Flavour::MySql
            || current.is_some_and(|current| current.schema.columns.iter().all(is_plain));
        if !is_exact {
            return Ok(None);
        }
        partial.completed().map_err(|error| {
            let name = &self.tables.at(table).name;
            Failure::fatal(format!("rows of '{name}' that were counted cannot be read")).caused_by(error)
        })
    }
}
