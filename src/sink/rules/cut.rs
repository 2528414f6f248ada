//! A section of a frame, cut into the pieces that reach the target.

use std::ops::Range;

use super::RowRules;
use super::filter::RuleScratch;
use crate::codec::frame::RowOp;
use crate::codec::row_image::ImageError;

/// How a target keeps the rows: it decides which pieces the target gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Kind {
    /// A mirror whose rows have a key. `is_filled`: its copy is filled from nothing by a read, so that a row which the read leaves out is not there.
    Keyed {
        /// See above.
        is_filled: bool,
    },
    /// A mirror whose rows are told apart by all their values, or a changelog.
    Other,
}

/// Rows of a section that reach the target alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Piece {
    /// What is done to them, which may be something else than in the log.
    pub(in crate::sink) op: RowOp,
    /// Place of the first of them in the section.
    pub(in crate::sink) first: u32,
    /// Row changes.
    pub(in crate::sink) rows: u32,
    /// Their images, in the section's body or in the one that was made of it.
    pub(in crate::sink) images: Range<usize>,
    /// The row changes they are of, in the section's body.
    pub(in crate::sink) raw: Range<usize>,
    /// Rows that are taken away where they are there, and may not be.
    pub(in crate::sink) is_quiet: bool,
}

/// What becomes of a section.
#[derive(Debug, Default)]
pub(in crate::sink) struct Cut {
    /// What reaches the target, in order.
    pub(in crate::sink) pieces: Vec<Piece>,
    /// Row changes that the rules leave out.
    pub(in crate::sink) ruled_out: u32,
    /// The body that was made, if the images are not those of the log.
    pub(in crate::sink) made: Option<Vec<u8>>,
}

/// What becomes of a row change: what is done, and which of its images say so.
struct Taken {
    op: RowOp,
    images: Range<usize>,
    is_quiet: bool,
}

impl RowRules {
    /// Cuts a section.
    ///
    /// # Errors
    /// When an image is damaged.
    pub(in crate::sink) fn cut(
        &self,
        op: RowOp,
        body: &[u8],
        kind: Kind,
        room: &mut RuleScratch,
    ) -> Result<Cut, ImageError> {
        let mut cut = Cut { made: self.rewrite.as_ref().map(|_| Vec::with_capacity(body.len())), ..Cut::default() };
        let (mut at, mut row) = (0, 0);
        while at < body.len() {
            let first_end = at + self.walker.image_len(body.get(at..).unwrap_or_default())?;
            let end = match op {
                RowOp::Update => first_end + self.walker.image_len(body.get(first_end..).unwrap_or_default())?,
                RowOp::Insert | RowOp::Delete | RowOp::DeleteByKey | RowOp::Snapshot => first_end,
            };
            match self.taken(op, body, (at, first_end, end), kind, room)? {
                None => cut.ruled_out += 1,
                Some(taken) => self.add(&mut cut, taken, (body, at..end), row, room)?,
            }
            (at, row) = (end, row + 1);
        }
        Ok(cut)
    }

    /// What becomes of the row change whose images are in `at..first_end` and, of an update, in `first_end..end`.
    fn taken(
        &self,
        op: RowOp,
        body: &[u8],
        (at, first_end, end): (usize, usize, usize),
        kind: Kind,
        room: &mut RuleScratch,
    ) -> Result<Option<Taken>, ImageError> {
        let as_is = Some(Taken { op, images: at..end, is_quiet: false });
        let Some(filter) = &self.filter else { return Ok(as_is) };
        let mut takes = |from: usize| filter.takes(body.get(from..).unwrap_or_default(), room);
        Ok(match op {
            RowOp::Insert | RowOp::Delete => {
                if takes(at)? {
                    as_is
                } else {
                    None
                }
            }
            RowOp::Snapshot => match (takes(at)?, kind) {
                (true, _) => as_is,
                // It may have been there until the source was read.
                (false, Kind::Keyed { is_filled: false }) => {
                    Some(Taken { op: RowOp::DeleteByKey, images: at..end, is_quiet: true })
                }
                (false, Kind::Keyed { is_filled: true } | Kind::Other) => None,
            },
            RowOp::Update => match (takes(at)?, takes(first_end)?) {
                (true, true) => as_is,
                (true, false) => Some(Taken { op: RowOp::Delete, images: at..first_end, is_quiet: false }),
                (false, true) => Some(Taken { op: RowOp::Insert, images: first_end..end, is_quiet: false }),
                (false, false) => None,
            },
            // Nothing but the key is known of the row.
            RowOp::DeleteByKey if self.filters_by_key => {
                if takes(at)? {
                    as_is
                } else {
                    None
                }
            }
            RowOp::DeleteByKey => Some(Taken { op, images: at..end, is_quiet: true }),
        })
    }

    /// Adds a row change to the last piece, if it is of its kind and follows it, or to a piece of its own.
    fn add(
        &self,
        cut: &mut Cut,
        Taken { op, images, is_quiet }: Taken,
        (body, raw): (&[u8], Range<usize>),
        row: u32,
        room: &mut RuleScratch,
    ) -> Result<(), ImageError> {
        let images = match (&self.rewrite, &mut cut.made) {
            (Some(rewrite), Some(made)) => {
                let begin = made.len();
                let mut at = images.start;
                while at < images.end {
                    let image = body.get(at..images.end).unwrap_or_default();
                    at += rewrite.image(image, &mut room.scratch, made)?;
                }
                begin..made.len()
            }
            _ => images,
        };
        match cut.pieces.last_mut() {
            Some(last)
                if last.op == op
                    && last.is_quiet == is_quiet
                    && last.first + last.rows == row
                    && last.images.end == images.start =>
            {
                last.rows += 1;
                last.images.end = images.end;
                last.raw.end = raw.end;
            }
            _ => cut.pieces.push(Piece { op, first: row, rows: 1, images, raw, is_quiet }),
        }
        Ok(())
    }
}
