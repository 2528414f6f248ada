//! What becomes of the row changes of a section that cannot be written, and of the letters of rows that are.

use super::Section;
use crate::codec::row_image::{ImageError, Plan};
use crate::dead::{DeadLetter, Full, LetterId, MAKE_ROOM, Open};
use crate::error::Failure;
use crate::model::TableName;
use crate::telemetry::now_micros;

/// The letters at hand while a section is written. Where there is nothing to do about any, rows cost nothing more.
#[derive(Debug)]
pub(in crate::sink) struct Lettering<'l>(Option<At<'l>>);

#[derive(Debug)]
struct At<'l> {
    book: Open<'l>,
    section: Section<'l>,
    /// A row change that cannot be written becomes a letter.
    takes: bool,
    /// The table has letters.
    has: bool,
}

impl<'l> Lettering<'l> {
    /// Nothing becomes a letter, and there is none.
    pub(in crate::sink) fn none() -> Self {
        Self(None)
    }

    /// Of a section; `takes` says whether a row change that cannot be written becomes a letter.
    pub(in crate::sink) fn of(book: Open<'l>, section: Section<'l>, takes: bool) -> Self {
        let has = book.has(section.table);
        if takes || has { Self(Some(At { book, section, takes, has })) } else { Self(None) }
    }

    /// Whether anything is to be done about letters.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a row change that cannot be written becomes a letter.
    pub(super) fn takes(&self) -> bool {
        self.0.as_ref().is_some_and(|at| at.takes)
    }

    /// The key of the first image, where the table has letters, or for one.
    pub(super) fn key(
        &self,
        plan: &Plan,
        places: &[u16],
        image: &[u8],
        for_one: bool,
    ) -> Result<Option<u128>, ImageError> {
        let is_needed = for_one || self.0.as_ref().is_some_and(|at| at.has);
        if is_needed { plan.key_hash(places, image).map(Some) } else { Ok(None) }
    }

    /// Whether the row of a key is not current because of a letter.
    pub(super) fn has_key(&self, key: u128) -> bool {
        self.0.as_ref().is_some_and(|at| at.book.has_key(at.section.table, key))
    }

    /// The row of a key is current.
    pub(super) fn written(&mut self, key: u128) {
        if let Some(At { book, section, .. }) = &mut self.0 {
            book.written(section.table, key);
        }
    }

    /// The change of row `row` of the section, with these images, becomes a letter.
    pub(super) fn add(&mut self, row: u32, images: &[u8], keys: Vec<u128>, reason: String) -> Result<(), NoLetter> {
        let Some(At { book, section, has, .. }) = &mut self.0 else { return Ok(()) };
        let Section { table, schema, op, moment, raw, .. } = *section;
        let ordinal = moment.ordinal(row)?;
        let (op, images) = match raw {
            Some(raw) => raw.row(ordinal)?,
            None => (op, images),
        };
        let letter = DeadLetter {
            table: table.clone(),
            schema,
            op,
            position: moment.frame.position,
            commit_micros: moment.commit_micros,
            at_micros: now_micros(),
            reason,
            keys,
            image_bytes: u32::try_from(images.len()).unwrap_or(u32::MAX),
        };
        let id = LetterId { lsn: moment.frame.lsn, ordinal };
        book.add(id, letter, images)?;
        *has = true;
        Ok(())
    }

    /// Nothing of the section is written: nor has it letters.
    pub(in crate::sink) fn take_back(&mut self) {
        if let Some(At { book, section, .. }) = &mut self.0 {
            let from = LetterId { lsn: section.moment.frame.lsn, ordinal: section.moment.first_ordinal };
            book.take_back(section.table, from);
        }
    }
}

/// A row change that cannot be written, and of which there is no room for a letter: the table stops.
pub(in crate::sink) fn no_room(table: &TableName, full: Full) -> Failure {
    Failure::row(format!("a row of {table} cannot be written, and there is no room for its dead letter"))
        .caused_by(full)
        .hint(MAKE_ROOM)
}

/// Why a row change does not become a letter.
#[derive(Debug, thiserror::Error)]
pub(in crate::sink) enum NoLetter {
    /// Its place cannot be told.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is no room for it.
    #[error(transparent)]
    Full(#[from] Full),
}
