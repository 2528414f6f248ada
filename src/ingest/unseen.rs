//! What the log still knows of definitions once the stream goes on at a place that it has not come to.
//!
//! Between the two places there may have been any statement. So of every table the schema in the log is that of its earlier rows, and
//! nothing more: its types, its unique key and what it consists of are asked for, and rows that wait for an answer are left out, as no answer
//! is about them any more.

use tracing::warn;

use super::ledger::Changes;
use super::state::{DefinitionRecord, Kin, definitions, typed};
use crate::codec::catalog::{SchemaRecord, all_schemas};
use crate::codec::state::State;
use crate::codec::stored::{DEFINITION, SCHEMA, TYPES, encode};
use crate::error::Failure;
use crate::model::{SchemaId, TableName};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::Typed;

/// A definition that counts for no more than the rows that are in the log.
fn unseen(table: &TableName, mut record: DefinitionRecord, changes: &mut Changes) -> Result<(), Failure> {
    record.since.unsettled = true;
    record.since.key_unknown = true;
    // An engine that did not take rows back, and other names of the table: it is read whole.
    record.cut_back = false;
    record.kin = Kin::default();
    changes.push((DEFINITION.of_table(table), Some(encode(&record)?)));
    changes.push((TYPES.of_table(table), Some(encode(&Typed::unseen())?)));
    Ok(())
}

/// The state changes with which these tables leave: they are not captured any more, so that no statement about them is followed. If one of
/// them comes back, what was known of its definition counts for its earlier rows alone.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn left_definitions(state: &impl State, tables: &[&TableName]) -> Result<Changes, Failure> {
    let mut changes = Changes::new();
    if tables.is_empty() || is_on(Mutant::DefinitionBelievedOverSkip) {
        return Ok(changes);
    }
    for (table, record) in definitions(state)? {
        if tables.contains(&&table) {
            unseen(&table, record, &mut changes)?;
        }
    }
    Ok(changes)
}

/// The state changes after which no definition counts for more than the rows that are in the log.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn unseen_definitions(state: &impl State, why: &str) -> Result<Changes, Failure> {
    let mut changes = Changes::new();
    if is_on(Mutant::DefinitionBelievedOverSkip) {
        return Ok(changes);
    }
    let mut left_out: Vec<SchemaId> = Vec::new();
    for (id, record) in all_schemas(state)? {
        let (SchemaRecord::Pending { seen, before, .. } | SchemaRecord::Unnamed { seen, before, .. }) = record else {
            continue;
        };
        warn!(table = %seen.name, %why, "rows of a table that waited for its definition are left out");
        let record = SchemaRecord::LeftOut { seen, before, reason: why.to_owned() };
        changes.push((SCHEMA.of_number(id.0), Some(encode(&record)?)));
        left_out.push(id);
    }
    for (table, mut record) in definitions(state)? {
        record.since.left_out |= record.schema.is_some_and(|id| left_out.contains(&id));
        unseen(&table, record, &mut changes)?;
    }
    for (table, _) in typed(state)? {
        changes.push((TYPES.of_table(&table), Some(encode(&Typed::unseen())?)));
    }
    Ok(changes)
}
