//! A line of a history that is kept as a dead letter, tried again.

use std::sync::Arc;

use super::{Moment, Section, Writes, write_ruled};
use crate::codec::version::FramePlace;
use crate::config::Mode;
use crate::dead::Letters;
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::sink::Line;
use crate::sink::definitions::LayoutOf;
use crate::sink::follow::{Lookup, options_of};
use crate::sink::layout::{Layout, TargetColumn};
use crate::sink::rules::{RowRules, shown_schema};

/// Where a line stands.
pub(in crate::sink) fn moment<D: Writes>(target: &D, line: Line<'_>) -> Moment {
    let frame = FramePlace { lsn: line.id.lsn, position: line.letter.position };
    let (first_ordinal, commit_micros) = (line.id.ordinal, line.letter.commit_micros);
    Moment { epoch: target.epoch(), frame, first_ordinal, commit_micros }
}

/// How lines of an older schema are written into a history as it is by now; `None` where it has not their columns any more.
fn layout_of<D: Writes>(target: &D, schema: &TableSchema, now: &LayoutOf<D>, is_current: bool) -> Option<LayoutOf<D>> {
    if is_current {
        return Some(now.clone());
    }
    let then = Layout::new(target.dialect(), schema, &options_of(target, schema), now.target.clone()).ok()?;
    let is_there =
        |column: &TargetColumn<_>| now.columns.iter().any(|now| now.name == column.name && now.ty == column.ty);
    then.columns.iter().all(is_there).then_some(then)
}

/// Writes a line into a history that has its columns still; says whether it was taken. What is counted of it, and a letter that it would become
/// once more, are dropped: it was counted when it became one.
pub(in crate::sink) fn try_line<D: Writes>(
    target: &mut D,
    line: Line<'_>,
    lookup: &mut Lookup<'_>,
) -> Result<bool, Failure> {
    let Line { letter, images, .. } = line;
    let source = Arc::new(TableSchema { name: letter.table.clone(), ..lookup(letter.schema)?.as_ref().clone() });
    let schema = shown_schema(target.plan(), Arc::clone(&source));
    let followed = target.followed();
    let Some(table) = followed.tables.get(&letter.table) else { return Ok(false) };
    if followed.stops.has(&letter.table) || table.layout.mode != Mode::History {
        return Ok(false);
    }
    let Some(layout) = layout_of(target, &schema, &table.layout, table.schema.same_image(&schema)) else {
        return Ok(false);
    };
    let made = target.rows_of(&schema, &layout).and_then(|rows| Ok((rows, RowRules::of(target.plan(), &source)?)));
    let (mut rows, rules) = match made {
        Ok(made) => made,
        // Its columns are not those that the rules are about, say: the line is kept.
        Err(failure) if failure.class == ErrorClass::Row => return Ok(refused(&letter.table, &failure)),
        Err(failure) => return Err(failure),
    };
    let moment = moment(target, line);
    let (table, schema, op) = (&letter.table, letter.schema, letter.op);
    let section = Section { table, schema, op, rows: 1, body: images, moment, raw: None };
    let aside = Letters::in_memory();
    let letters = std::mem::replace(&mut target.followed_mut().letters, aside.clone());
    let written = match &rules {
        None => target.write_section(&mut rows, section),
        Some(rules) => write_ruled(target, &mut rows, (rules, false), section, &mut 0),
    };
    target.followed_mut().letters = letters;
    match written {
        Ok(_) => Ok(aside.is_empty()),
        Err(failure) if failure.class == ErrorClass::Row => Ok(refused(&source.name, &failure)),
        Err(failure) => Err(failure),
    }
}

/// Says why a line is not taken: its letter keeps the reason that it has.
fn refused(table: &TableName, failure: &Failure) -> bool {
    tracing::warn!(%table, error = %failure.chain(), "the line of a dead letter cannot be written");
    false
}
