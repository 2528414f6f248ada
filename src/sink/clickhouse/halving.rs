//! The rows of an INSERT that the server refuses because of some of them, found by halving: one request a level, at most [`MOST`] in all. Rows
//! that are sent twice are harmless, by their versions.

use std::sync::Arc;

use bytes::Bytes;

use super::chunks::Chunks;
use super::encode::RowError;
use super::error::Refused;
use super::hunt::{Hunt, MOST};
use super::target::Target;
use super::writer::{Form, Opening};
use crate::codec::frame::RowOp;
use crate::codec::row_image::{ImageError, Plan};
use crate::dead::{DeadLetter, LetterId};
use crate::error::Failure;
use crate::model::{RowCounts, SchemaId, TableName};
use crate::sink::rows::{Lettering, Moment, Section, first_change, no_room};
use crate::telemetry::now_micros;

/// The row changes of a section, kept until they are stored.
#[derive(Debug)]
pub(super) struct Kept {
    schema: SchemaId,
    op: RowOp,
    moment: Moment,
    body: Box<[u8]>,
    /// The changes as the source made them, where rules have made something else of them.
    raw: Option<(RowOp, Box<[u8]>)>,
}

impl Kept {
    /// Of a section.
    pub(super) fn of(section: Section<'_>) -> Self {
        let Section { schema, op, moment, body, raw, .. } = section;
        Self { schema, op, moment, body: body.into(), raw: raw.map(|raw| (raw.op, raw.body.into())) }
    }

    fn begin(&self) -> LetterId {
        LetterId { lsn: self.moment.frame.lsn, ordinal: self.moment.first_ordinal }
    }
}

/// An INSERT that the server has refused because of some of its rows.
pub(super) struct Halved {
    pub(super) table: TableName,
    /// As far as it is known without the server.
    pub(super) taken: RowCounts,
    pub(super) kept: Vec<Kept>,
    pub(super) opening: Arc<Opening>,
    /// What the server said of all of them.
    pub(super) error: Refused,
}

impl Halved {
    /// Where its first row change is.
    pub(super) fn begin(&self) -> Option<LetterId> {
        self.kept.first().map(Kept::begin)
    }
}

/// A row as it is sent.
#[derive(Debug)]
struct Row {
    /// Its row change: the place in the list of these.
    change: usize,
    key: Option<u128>,
    bytes: Bytes,
}

/// A row change, as the source made it.
#[derive(Debug)]
struct Change {
    id: LetterId,
    schema: SchemaId,
    op: RowOp,
    moment: Moment,
    images: Box<[u8]>,
    /// How many rows are sent of it.
    rows: u32,
}

impl Target {
    /// Stores the rows of a refused INSERT that can be stored, and makes letters of the others. The inner error is about the table.
    /// `others` are the row changes of the round's other INSERT into the table, which is stored.
    pub(super) async fn halve(
        &mut self,
        refused: Halved,
        others: &[Kept],
    ) -> Result<Result<RowCounts, Failure>, Failure> {
        let Halved { table, taken, kept, opening, error } = refused;
        let what = format!("insert into the table of {table}");
        let Some((changes, rows)) = self.rows_again(kept)? else { return Ok(Err(error.failure(&what))) };
        if rows.is_empty() {
            return Ok(Err(error.failure(&what)));
        }
        let mut hunt = Hunt::new(rows.len(), error.to_string());
        let mut counts = taken;
        let mut requests = 0;
        while let Some(next) = hunt.next() {
            if requests == MOST {
                let failure = error.failure(&what);
                let message = format!("{}; which rows it refuses was not found in {MOST} requests", failure.message);
                return Ok(Err(Failure { message, ..failure }));
            }
            requests += 1;
            match self.send_rows(&opening, &rows, next).await {
                Ok(Stored { rows, sent }) => {
                    counts.acknowledged += rows;
                    counts.sent += sent;
                    hunt.answer(None);
                }
                Err(refused) if refused.is_of_rows() => hunt.answer(Some(refused.to_string())),
                Err(refused) => return Err(refused.failure(&what)),
            }
        }
        let counted = self.letters_of(&table, (changes, rows), hunt.into_bad(), counts);
        self.end_by_others(&table, others)?;
        Ok(counted)
    }

    /// Rows of the other INSERT and of the next round were taken while it was not known which rows of this one are letters: they end earlier ones that
    /// are about the same keys.
    fn end_by_others(&self, table: &TableName, others: &[Kept]) -> Result<(), Failure> {
        let (mut changes, mut rows) = (Vec::new(), Vec::new());
        for section in others.iter().chain(self.rows.kept(table)) {
            if let Some(writer) = self.followed.writers.get(section.schema) {
                let walker = self.followed.writers.walker(section.schema);
                each(section, (&writer.form, walker), &mut changes, &mut rows).map_err(unreadable)?;
            }
        }
        let mut book = self.followed.letters.open();
        for row in rows {
            if let (Some(key), Some(change)) = (row.key, changes.get(row.change)) {
                book.written_before(table, key, change.id);
            }
        }
        Ok(())
    }

    /// The rows of what was kept, without those that are letters already; `None` where it is not known any more how they are written.
    fn rows_again(&self, kept: Vec<Kept>) -> Result<Option<(Vec<Change>, Vec<Row>)>, Failure> {
        let (mut changes, mut rows) = (Vec::new(), Vec::new());
        for section in kept {
            let Some(writer) = self.followed.writers.get(section.schema) else { return Ok(None) };
            let walker = self.followed.writers.walker(section.schema);
            each(&section, (&writer.form, walker), &mut changes, &mut rows).map_err(unreadable)?;
        }
        Ok(Some((changes, rows)))
    }

    async fn send_rows(&self, opening: &Opening, rows: &[Row], which: &[usize]) -> Result<Stored, Refused> {
        let turn = self.client.turn().await?;
        let insert = self.client.begin_insert(&opening.sql);
        insert.send(opening.header.clone());
        for row in which.iter().filter_map(|place| rows.get(*place)) {
            insert.send(row.bytes.clone());
        }
        let written = insert.end().await?.rows;
        drop(turn);
        let sent = u64::try_from(which.len()).unwrap_or(u64::MAX);
        // Where views write as well, the table's own rows are not told apart.
        Ok(Stored { rows: sent, sent: if written == Some(sent) { 0 } else { sent } })
    }

    /// Makes letters of the row changes whose rows are refused. In the order of the rows: a later row of the same key ends a letter.
    fn letters_of(
        &mut self,
        table: &TableName,
        (changes, rows): (Vec<Change>, Vec<Row>),
        mut bad: Vec<(usize, String)>,
        mut counts: RowCounts,
    ) -> Result<RowCounts, Failure> {
        bad.sort_by_key(|(row, _)| *row);
        let mut bad = bad.into_iter().peekable();
        let mut book = self.followed.letters.open();
        let mut rows = rows.into_iter().enumerate().peekable();
        for (place, change) in changes.into_iter().enumerate() {
            let (mut keys, mut reason, mut refused) = (Vec::new(), None, 0);
            while let Some((at, row)) = rows.next_if(|(_, row)| row.change == place) {
                match bad.next_if(|(bad, _)| *bad == at) {
                    Some((_, why)) => {
                        reason = Some(why);
                        refused += 1;
                        keys.extend(row.key);
                    }
                    None => {
                        if let Some(key) = row.key {
                            book.written_before(table, key, change.id);
                        }
                    }
                }
            }
            let Some(reason) = reason else { continue };
            counts.dead_lettered += 1;
            if refused == change.rows && change.rows > 1 {
                // One that is not written at all is none of two rows.
                counts.split = counts.split.saturating_sub(1);
            }
            let letter = DeadLetter {
                table: table.clone(),
                schema: change.schema,
                op: change.op,
                position: change.moment.frame.position,
                commit_micros: change.moment.commit_micros,
                at_micros: now_micros(),
                reason,
                keys,
                image_bytes: u32::try_from(change.images.len()).unwrap_or(u32::MAX),
            };
            book.add_late(change.id, letter, &change.images).map_err(|full| no_room(table, full))?;
        }
        Ok(counts)
    }
}

fn unreadable(error: RowError) -> Failure {
    Failure::fatal("rows that were taken cannot be read again").caused_by(error)
}

/// What the server has stored.
struct Stored {
    rows: u64,
    /// Of these, without a count of its own.
    sent: u64,
}

/// Adds the row changes of a section, and the rows that are sent of each. The walker is of the changes as the source made them.
fn each(
    section: &Kept,
    (form, walker): (&Form, Option<&Plan>),
    changes: &mut Vec<Change>,
    rows: &mut Vec<Row>,
) -> Result<(), RowError> {
    let mut rest: &[u8] = &section.body;
    let mut raw = section.raw.as_ref().zip(walker).map(|((op, body), walker)| (*op, &**body, walker));
    let mut row = 0;
    while !rest.is_empty() {
        let plan = form.plan();
        let first = plan.image_len(rest)?;
        let all = if section.op == RowOp::Update {
            first + plan.image_len(rest.get(first..).unwrap_or_default())?
        } else {
            first
        };
        let (images, tail) = rest.split_at_checked(all).unwrap_or((rest, &[]));
        let (before, after) = images.split_at_checked(first).unwrap_or((images, &[]));
        let as_made = match &mut raw {
            Some((op, body, walker)) => {
                let (images, tail) = first_change(walker, *op, body)?;
                *body = tail;
                (*op, images)
            }
            None => (section.op, images),
        };
        let moment = Moment { first_ordinal: section.moment.ordinal(row)?, ..section.moment };
        let place = changes.len();
        let mut of_change = Vec::new();
        for (op, images, keyed) in steps(form, section.op, (images, before, after))? {
            let mut chunks = Chunks::new();
            let applied = match form {
                Form::Mirror(mirror) => mirror.apply(op, images, moment, &mut chunks, &mut Lettering::none()),
                Form::History(history) => history.apply(op, images, moment, &mut chunks, &mut Lettering::none()),
            };
            match applied {
                Ok(_) => {
                    chunks.finish();
                    let bytes: Vec<Bytes> = chunks.take_full().collect();
                    let key = keyed.map(|image| form.key(image)).transpose()?.flatten();
                    of_change.push(Row { change: place, key, bytes: bytes.concat().into() });
                }
                Err(RowError::Image(error)) => return Err(error.into()),
                // It is a letter already.
                Err(RowError::Value(_) | RowError::Full(_)) => {}
            }
        }
        if !of_change.is_empty() {
            let id = LetterId { lsn: moment.frame.lsn, ordinal: moment.first_ordinal };
            let count = u32::try_from(of_change.len()).unwrap_or(u32::MAX);
            let (op, images) = (as_made.0, as_made.1.into());
            changes.push(Change { id, schema: section.schema, op, moment, images, rows: count });
            rows.extend(of_change);
        }
        rest = tail;
        row += 1;
    }
    Ok(())
}

/// A step of a row change: what is sent for it, of which images, and the image that has the row's key.
type Step<'i> = (RowOp, &'i [u8], Option<&'i [u8]>);

/// The rows that are sent of a row change, each as a change of its own.
fn steps<'i>(
    form: &Form,
    op: RowOp,
    (images, before, after): (&'i [u8], &'i [u8], &'i [u8]),
) -> Result<Vec<Step<'i>>, ImageError> {
    Ok(match (form, op) {
        (Form::Mirror(mirror), RowOp::Update) if !mirror.is_same_key(before, after)? => {
            vec![(RowOp::Delete, before, Some(before)), (RowOp::Insert, after, Some(after))]
        }
        (Form::Mirror(_), RowOp::Update) => vec![(op, images, Some(after))],
        (Form::Mirror(_), _) => vec![(op, images, Some(images))],
        (Form::History(_), _) => vec![(op, images, None)],
    })
}

impl Form {
    fn plan(&self) -> &Plan {
        match self {
            Self::Mirror(mirror) => mirror.reader(),
            Self::History(history) => history.reader(),
        }
    }

    fn key(&self, image: &[u8]) -> Result<Option<u128>, ImageError> {
        match self {
            Self::Mirror(mirror) => mirror.key_hash(image).map(Some),
            Self::History(_) => Ok(None),
        }
    }
}
