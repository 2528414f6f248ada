//! Rows of which the binlog has no names, once the server has said what their columns are.

use super::Core;
use crate::codec::catalog::SchemaRecord;
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{Decided, Waiter};
use crate::model::TableSchema;
use crate::source::mysql::follow::{Adopted, Adopting, Adoption, Current, Reread, Unnamed};

impl<L: Log> Core<L> {
    /// Decides a pending id of which all was asked for: `found`, a description whose place the stream has come to, holds for its rows.
    ///
    /// The change of the schema is in the log already, and says of no column that it has another name, and of no key that it is lost. So
    /// where that is not so, the rows are left out, and the table is read again.
    pub(super) fn complete_unnamed(&mut self, waiter: Waiter, found: Option<&TableSchema>) -> Result<(), Failure> {
        let (schema, reread) = match self.named(&waiter, found) {
            Ok(named) => named,
            Err(why) => return self.leave_out(waiter, why),
        };
        let Waiter { pending, table, lsn, .. } = waiter;
        let id = pending.id;
        let record = (SCHEMA.of_number(id.0), encode(&SchemaRecord::Known(schema.clone()))?);
        let completed = Current::new(id, schema)?;
        self.waiting.know(&completed);
        if self.followed(table).current().is_some_and(|current| current.id == id) {
            self.keeping_early(table, |core| core.redefine(table).followed.complete(completed, None, Vec::new()));
        }
        let Some(Reread { why, replaces }) = reread else {
            self.waiting.decided.push(Decided {
                lsn,
                rows: lsn,
                records: vec![record],
                asked: Vec::new(),
                types: None,
            });
            return Ok(());
        };
        // Stored once the doubt is durable: a crash between them would take the table for complete.
        self.group.decided.push(record);
        self.group.decided_rows = self.group.decided_rows.max(lsn);
        let origin = self.ledger.origin(self.wall);
        let name = self.tables.at(table).name.clone();
        self.reread(&name, replaces, why, &origin)
    }

    /// The schema of a pending id, and whether the rows that were there before it have to be read again; or why it cannot be said.
    fn named(
        &self,
        waiter: &Waiter,
        found: Option<&TableSchema>,
    ) -> Result<(TableSchema, Option<Reread>), &'static str> {
        let gone = "the server does not show it any more";
        let found = found.ok_or(gone)?;
        let Some(Unnamed { after: Some(after), .. }) = &waiter.pending.unnamed else { return Err(gone) };
        let before = self.waiting.not_left_out(waiter.pending.before.clone());
        let is_known = |before: &Current| before.lacks.is_nothing();
        let is_same = before.as_ref().map(|before| before.id) == after.current().map(|before| before.id);
        if !is_same || !before.as_ref().is_none_or(is_known) {
            return Err("rows of it before these were left out");
        }
        let mut after = (**after).clone();
        after.is_now(before);
        if !after.allows(found, self.facts.dialect()) {
            return Err("the server describes another definition than the statements have made");
        }
        let how = Adopting { is_pending: true, asks: false, copies: self.copies(waiter.table) };
        match after.adopt(found.clone(), how) {
            Adopted::Changes(adoption) => match *adoption {
                Adoption { schema, renamed, reread, lost: false } if renamed.is_empty() => Ok((schema, reread)),
                Adoption { lost: true, .. } => Err("its rows have another key, or other columns in it"),
                Adoption { .. } => Err("columns of it have other names"),
            },
            Adopted::AsKnown(_) => Ok((found.clone(), None)),
        }
    }
}
