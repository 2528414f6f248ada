//! Descriptions whose place the stream has not come to, of what the statements up to here have made of a table.

use super::Core;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{Early, Shows};
use crate::model::TableSchema;
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::Provenance;

impl<L: Log> Core<L> {
    /// Adopts what statements have made of a table where the description at `index`, which waits for its place, shows the same. The
    /// description waits on: what else it says holds at its place.
    pub(super) fn adopt_confirmed(&mut self, index: usize) -> Result<(), Failure> {
        let Some((table, schema)) = self.waiting.early.get(index).and_then(|early| self.confirmed(early)) else {
            return Ok(());
        };
        let origin = self.ledger.origin(self.wall);
        let mut done = Ok(());
        self.keeping_early(table, |core| done = core.adopt(table, schema, Provenance::Statement, &origin));
        done?;
        self.commit_here()
    }

    /// The schema that a description confirms, of a table whose rows do not wait for an answer and that is nothing but a table.
    fn confirmed(&self, early: &Early) -> Option<(usize, TableSchema)> {
        let Shows::Table(found) = &early.shows else { return None };
        let definition = self.definition(early.table);
        let is_in_question = !definition.kin.renamed_from.is_empty()
            || definition.life.left_out.is_some()
            || !definition.life.is_captured()
            || self.waiting.has_pending(early.table);
        let followed = &definition.followed;
        let schema = if is_on(Mutant::PredictionNotCompared) {
            followed.is_predicted().then(|| found.clone())
        } else {
            followed.confirmed(found)
        };
        schema.filter(|_| !is_in_question).map(|schema| (early.table, schema))
    }
}
