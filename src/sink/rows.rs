//! Rows on their way into a target: the writer of each schema, and the loop over the sections of a frame.
//!
//! A sink brings how rows of one schema are written ([`Writes`]), over the drivers of [`drive`]. What is the same at every target is here: rows
//! that a target has already, rows of stopped tables, rows that a table cannot take, and what becomes of each.

mod drive;
mod lettering;
mod line;
mod moment;

use std::collections::HashMap;
use std::sync::Arc;

use wal::Lsn;

pub(super) use self::drive::{Images, Keyed, Keyless, Lines, Taken, append, by_key, by_values, op_name};
pub(super) use self::lettering::{Lettering, NoLetter, no_room};
pub(super) use self::line::{moment, try_line};
pub(super) use self::moment::Moment;
use super::definitions::{Definitions, LayoutOf};
use super::follow::{self, Lookup};
use super::rules::{Cut, Kind, RowRules, shown_schema};
use super::stops::contain;
use crate::codec::frame::{Frame, RowOp};
use crate::codec::row_image::{ImageError, Plan};
use crate::codec::version::{Epoch, FramePlace};
use crate::error::Failure;
use crate::model::{SchemaId, TableName, TableSchema};

/// How the rows of one schema are written.
#[derive(Debug)]
pub(super) struct Writer<R> {
    table: TableName,
    /// Rows before it are stored already: they are older than a change that has begun.
    stored_before: Lsn,
    way: Way<R>,
    /// What the rules make of its rows before the target sees them.
    rules: Option<RowRules>,
}

#[derive(Debug)]
enum Way<R> {
    /// They are written so.
    Open(R),
    /// They are left out: the table is stopped.
    Stopped,
    /// The table has another shape by now, so all of them must be stored.
    Older,
}

/// The writers of the schemas that rows came of.
#[derive(Debug)]
pub(super) struct Writers<R>(HashMap<SchemaId, Writer<R>>);

impl<R> Default for Writers<R> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<R> Writers<R> {
    /// Whether rows of a schema can be taken at once.
    pub(super) fn has(&self, schema: SchemaId) -> bool {
        self.0.contains_key(&schema)
    }

    /// How rows of a schema are written.
    pub(super) fn get(&self, schema: SchemaId) -> Option<&R> {
        match &self.0.get(&schema)?.way {
            Way::Open(rows) => Some(rows),
            Way::Stopped | Way::Older => None,
        }
    }

    /// Finds where images of a schema end in the log, where rules make something else of its rows.
    pub(super) fn walker(&self, schema: SchemaId) -> Option<&Plan> {
        self.0.get(&schema)?.rules.as_ref().map(RowRules::walker)
    }

    fn forget(&mut self, table: &TableName) {
        self.0.retain(|_, writer| writer.table != *table);
    }

    /// The table is stopped: no more of its rows are taken, also of the frame at hand.
    pub(super) fn stop(&mut self, table: &TableName) {
        for writer in self.0.values_mut().filter(|writer| writer.table == *table) {
            writer.way = Way::Stopped;
        }
    }
}

/// The rows of one section of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'s> {
    /// Their table.
    pub(super) table: &'s TableName,
    /// Their schema.
    pub(super) schema: SchemaId,
    /// What was done to them.
    pub(super) op: RowOp,
    /// Row changes in it, as its header says.
    pub(super) rows: u32,
    /// Their images, one after the other; of an update the one before it and the one after it.
    pub(super) body: &'s [u8],
    /// Where and when they were changed.
    pub(super) moment: Moment,
    /// The row changes as the source made them, where rules have made something else of them; `None`: they are these.
    pub(super) raw: Option<Raw<'s>>,
}

/// The row changes of a section as they lie in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'s> {
    walker: &'s Plan,
    /// What was done to the rows.
    pub(super) op: RowOp,
    /// Their images.
    pub(super) body: &'s [u8],
    first_ordinal: u32,
}

impl<'s> Raw<'s> {
    /// What was done to the row with this ordinal, and its images.
    fn row(self, ordinal: u32) -> Result<(RowOp, &'s [u8]), ImageError> {
        let mut rest = self.body;
        let mut row = self.first_ordinal;
        loop {
            let (images, tail) = first_change(self.walker, self.op, rest)?;
            if row == ordinal {
                return Ok((self.op, images));
            }
            (rest, row) = (tail, row.saturating_add(1));
        }
    }
}

/// The images of the first row change of a body, and the rest.
pub(super) fn first_change<'b>(walker: &Plan, op: RowOp, body: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), ImageError> {
    let mut len = 0;
    for _ in 0..op.images_per_row() {
        len += walker.image_len(body.get(len..).unwrap_or_default())?;
    }
    Ok(body.split_at_checked(len).unwrap_or((body, &[])))
}

/// How a target takes rows.
pub(super) trait Writes: Definitions {
    /// The epoch of the versions of the rows that are written.
    fn epoch(&self) -> Epoch;

    /// How rows of a schema are written into a table of this layout, which is of the same shape.
    ///
    /// # Errors
    /// Of class `Row` where the table cannot take them.
    fn rows_of(&self, schema: &TableSchema, layout: &LayoutOf<Self>) -> Result<Self::Rows, Failure>;

    /// Writes a section; says how many row changes were in it, and counts what becomes of them, now or when the target has answered.
    ///
    /// # Errors
    /// Of class `Row` where the table cannot take them. Nothing of the section is written then, or what is written is given up with the table's
    /// other rows of the round ([`Definitions::give_up`]).
    fn write_section(&mut self, rows: &mut Self::Rows, section: Section<'_>) -> Result<u64, Failure>;
}

/// A table has another shape: how its rows were written is forgotten.
pub(super) fn forget<D: Definitions>(target: &mut D, table: &TableName) {
    target.followed_mut().writers.forget(table);
    target.forget_statements();
}

/// Makes ready for rows of a schema; makes its table if there is none.
pub(super) async fn prepare<D: Writes>(target: &mut D, id: SchemaId, lookup: &mut Lookup<'_>) -> Result<(), Failure> {
    let source = lookup(id)?;
    let table = source.name.clone();
    let schema = shown_schema(target.plan(), Arc::clone(&source));
    follow::make(target, &schema).await?;
    let mut stored_before = target.followed().changes.stored_before(&table);
    let (way, rules) = if target.followed().stops.has(&table) {
        (Way::Stopped, None)
    } else {
        let way = way(target, &schema, stored_before);
        match way.and_then(|way| Ok((way, RowRules::of(target.plan(), &source)?))) {
            Ok(found) => found,
            Err(failure) => {
                contain(target, &table, Err(failure))?;
                (Way::Stopped, None)
            }
        }
    };
    if matches!(way, Way::Stopped) {
        // Left out before a change as well as after it.
        stored_before = Lsn::ZERO;
    }
    target.followed_mut().writers.0.insert(id, Writer { table, stored_before, way, rules });
    Ok(())
}

fn way<D: Writes>(target: &D, schema: &TableSchema, stored_before: Lsn) -> Result<Way<D::Rows>, Failure> {
    let (name, followed) = (&schema.name, target.followed());
    let Some(table) = followed.tables.get(name) else {
        return Err(Failure::row(format!("{name} has no table at the target")));
    };
    if table.schema.same_image(schema) {
        return target.rows_of(schema, &table.layout).map(Way::Open);
    }
    if followed.last < stored_before { Ok(Way::Older) } else { Err(other_shape(name)) }
}

fn other_shape(table: &TableName) -> Failure {
    Failure::row(format!("rows of {table} have another shape than its table at the target"))
}

/// Takes the rows of a frame, whose schemas are all prepared.
pub(super) fn write<D: Writes>(target: &mut D, place: FramePlace, frame: &Frame<'_>) -> Result<(), Failure> {
    target.followed_mut().begin(place.lsn);
    // Out of the target while it is written to.
    let mut writers = std::mem::take(&mut target.followed_mut().writers);
    let written = write_sections(target, &mut writers, place, frame);
    target.followed_mut().writers = writers;
    written
}

fn write_sections<D: Writes>(
    target: &mut D,
    writers: &mut Writers<D::Rows>,
    frame: FramePlace,
    decoded: &Frame<'_>,
) -> Result<(), Failure> {
    let commit_micros = decoded.header.origin().commit_micros;
    let (lsn, epoch) = (frame.lsn, target.epoch());
    for (section, body, first_ordinal) in decoded.sections() {
        let Some(Writer { table, stored_before, way, rules }) = writers.0.get_mut(&section.schema) else {
            return Err(Failure::fatal(format!("schema {} of frame {lsn} was not prepared", section.schema)));
        };
        let rows = u64::from(section.rows);
        if lsn < *stored_before {
            target.followed().letters.keep((lsn, first_ordinal), section.rows);
            target.followed_mut().counts.recover(table, rows);
            continue;
        }
        // Row changes that were taken before one of the section failed.
        let mut done = 0;
        let written = match way {
            Way::Stopped => {
                target.followed_mut().counts.skip(table, rows);
                continue;
            }
            Way::Older => Err(other_shape(table)),
            Way::Open(way) => {
                let moment = Moment { epoch, frame, first_ordinal, commit_micros };
                let (schema, op, rows) = (section.schema, section.op, section.rows);
                let whole = Section { table, schema, op, rows, body, moment, raw: None };
                match rules {
                    None => target.write_section(way, whole),
                    Some(rules) => {
                        let is_filled = decoded.is_filled(section.schema);
                        write_ruled(target, way, (rules, is_filled), whole, &mut done)
                    }
                }
            }
        };
        match written {
            Ok(taken) if taken == rows => {}
            // A frame's header and its body were written together.
            Ok(taken) => {
                return Err(Failure::fatal(format!(
                    "a section of {table} in frame {lsn} has {taken} rows, its header says {rows}"
                )));
            }
            Err(failure) => {
                let table = table.clone();
                target.followed_mut().counts.skip(&table, rows.saturating_sub(done));
                contain(target, &table, Err(failure))?;
                writers.stop(&table);
            }
        }
    }
    Ok(())
}

/// Writes what the rules leave of a section; says how many row changes it had. `done` are those that were taken when one fails.
fn write_ruled<D: Writes>(
    target: &mut D,
    way: &mut D::Rows,
    (rules, is_filled): (&RowRules, bool),
    section: Section<'_>,
    done: &mut u64,
) -> Result<u64, Failure> {
    let Section { table, op, body, moment, .. } = section;
    let layout = target.followed().tables.get(table).map(|table| &table.layout);
    let has_key = layout.is_some_and(|layout| !layout.key.is_empty());
    let kind = if has_key { Kind::Keyed { is_filled } } else { Kind::Other };
    let mut scratch = std::mem::take(&mut target.followed_mut().rule_scratch);
    let cut = rules.cut(op, body, kind, &mut scratch);
    target.followed_mut().rule_scratch = scratch;
    let Cut { pieces, ruled_out, made } = cut.map_err(|error| damaged(table, error))?;
    target.followed_mut().counts.rule_out(table, ruled_out.into());
    *done = ruled_out.into();
    for piece in pieces {
        let body = made.as_deref().unwrap_or(body).get(piece.images).unwrap_or_default();
        let first = moment.first_ordinal.saturating_add(piece.first);
        let moment = Moment { first_ordinal: first, ..moment };
        let unmatched = target.followed().counts.of(table).unmatched;
        let raw = section.body.get(piece.raw).unwrap_or_default();
        let raw = Raw { walker: rules.walker(), op, body: raw, first_ordinal: first };
        let piece_of = Section { op: piece.op, rows: piece.rows, body, moment, raw: Some(raw), ..section };
        let taken = target.write_section(way, piece_of)?;
        if piece.is_quiet {
            target.followed_mut().counts.forgive(table, unmatched);
        }
        *done += taken;
    }
    Ok(*done)
}

fn damaged(table: &TableName, error: ImageError) -> Failure {
    Failure::fatal(format!("a row image of {table} is damaged")).caused_by(error)
}
