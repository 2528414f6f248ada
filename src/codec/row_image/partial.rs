//! Images of which a rows event has some columns only: `binlog_row_image` MINIMAL, NOBLOB and FULL_NODUP, and MySQL's
//! `PARTIAL_UPDATE_ROWS` (`binlog_row_value_options=PARTIAL_JSON`).
//!
//! | part | bytes | content |
//! |---|---|---|
//! | value options | 1-9 | only of after images in `PARTIAL_UPDATE_ROWS`: length-encoded integer; 1: an image with diffs, 0: without |
//! | diff bitmap | (JSON columns + 7) / 8 | only of images with diffs: a bit for each JSON column of the table; set: its value is a diff |
//! | null bitmap | (columns in the image + 7) / 8 | bit i: the image's column i is NULL and has no bytes below |
//! | values | - | the image's columns that are not NULL, in table order; a diff has its length in front in 4 bytes, as `JSON` has; 0 where the value is as it was |
//!
//! What is not in an after image is as the before image says: a server writes every column that an update has changed. MariaDB
//! leaves generated columns out at times; they are never part of its keys.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::ImageError;
use super::layout::{Layout, bitmap_len};
use super::plan::Plan;
use super::walk::has_plain_filler;

/// Value option of an image with diffs.
const DIFFS: u64 = 1;

/// Which columns images have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    columns: Box<[bool]>,
    count: usize,
}

impl Present {
    /// From an event's bitmap, of a table with so many columns; bits that it does not have are clear.
    pub fn from_bitmap(bitmap: &[u8], columns: usize) -> Self {
        let columns: Box<[bool]> =
            (0..columns).map(|at| bitmap.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)).collect();
        let count = columns.iter().filter(|is_there| **is_there).count();
        Self { columns, count }
    }

    /// Whether images have a column.
    pub fn has(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|is_there| *is_there)
    }
}

/// Which images a row of an event has, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Columns of the image from before the change; `None`: there is no such image.
    pub before: Option<Present>,
    /// Columns of the image from after the change; `None`: there is no such image.
    pub after: Option<Present>,
    /// After images have value options in front, and may have diffs.
    pub may_have_diffs: bool,
}

/// What an image says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field<'a> {
    Absent,
    Null,
    /// With its length prefix.
    Value(&'a [u8]),
    /// What has changed of a value that is not there.
    Diff,
}

/// What is known of one version of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields<'a>(Vec<Field<'a>>);

impl Fields<'_> {
    /// Whether the value of a column is known.
    pub fn has(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Field::Null | Field::Value(_)))
    }

    /// The key columns' values as they stand in an image, one behind the other in the order of the key. `None` where one of them is
    /// not known, or NULL, which is no value of a key.
    pub fn key(&self, key: &[u16]) -> Option<Vec<u8>> {
        let mut fields = Vec::new();
        for column in key {
            match self.0.get(usize::from(*column))? {
                Field::Value(value) => fields.extend_from_slice(value),
                Field::Absent | Field::Null | Field::Diff => return None,
            }
        }
        Some(fields)
    }

    /// The row image, where every column is known.
    pub fn image(&self) -> Option<Vec<u8>> {
        let mut image = Vec::new();
        self.write(&mut image).then_some(image)
    }

    /// Appends the row image; or says that not every column is known.
    fn write(&self, out: &mut Vec<u8>) -> bool {
        if !(0..self.0.len()).all(|column| self.has(column)) {
            return false;
        }
        write_image(out, &self.0);
        true
    }

    /// What is not there is as it was before.
    fn over(mut self, before: &Self) -> Self {
        for (field, before) in self.0.iter_mut().zip(&before.0) {
            if *field == Field::Absent {
                *field = *before;
            }
        }
        self
    }

    fn has_diffs(&self) -> bool {
        self.0.contains(&Field::Diff)
    }
}

/// Appends a row image with these values; what is no value is NULL.
fn write_image(out: &mut Vec<u8>, fields: &[Field<'_>]) {
    let bitmap = out.len();
    out.resize(bitmap + bitmap_len(fields.len()), 0);
    for (column, field) in fields.iter().enumerate() {
        match field {
            Field::Value(value) => out.extend_from_slice(value),
            Field::Absent | Field::Null | Field::Diff => {
                if let Some(byte) = out.get_mut(bitmap + column / 8) {
                    *byte |= 1 << (column % 8);
                }
            }
        }
    }
}

/// What is known of one row from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialRow<'a> {
    /// Before the change; `None` of an insert.
    pub before: Option<Fields<'a>>,
    /// After the change, with what the image from before says of columns that the other one does not have; `None` of a delete.
    pub after: Option<Fields<'a>>,
}

/// The rows of an event that has some of their columns only. They have been walked: whatever bytes an event has, these are rows.
#[derive(Clone, Debug)]
pub struct PartialImages<'a> {
    plan: Arc<Plan>,
    /// How many of the columns, the first ones, are the table's own.
    own: usize,
    shape: Shape,
    bytes: Cow<'a, [u8]>,
    rows: u32,
    has_diffs: bool,
}

impl<'a> PartialImages<'a> {
    /// Walks images of a table with the plan of all its columns, of which the first `own` are given out.
    ///
    /// # Errors
    /// When the bytes are no such images, or a row has no column: nobody knows how many of those there are.
    pub fn new(plan: Arc<Plan>, own: usize, shape: Shape, bytes: Cow<'a, [u8]>) -> Result<Self, ImageError> {
        if !shape.before.iter().chain(&shape.after).any(|present| present.count > 0) {
            return Err(ImageError::NoColumns);
        }
        let (mut rows, mut has_diffs) = (0_u32, false);
        for row in PartialRows::of(&plan, own, &shape, &bytes) {
            has_diffs |= row?.after.is_some_and(|after| after.has_diffs());
            rows = rows.checked_add(1).ok_or(ImageError::TooManyRows)?;
        }
        Ok(Self { plan, own, shape, bytes, rows, has_diffs })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Whether the event has only the diff of some value.
    pub fn has_diffs(&self) -> bool {
        self.has_diffs
    }

    /// How many columns of the table there are to know.
    pub fn columns(&self) -> usize {
        self.own
    }

    /// The same images, where only so many of the columns, the first ones, are the table's own.
    #[must_use]
    pub fn of_first(&self, own: usize) -> Self {
        Self { own: own.min(self.own), ..self.clone() }
    }

    /// Whether each image has every column, so that only columns that are not the table's own are missing, or none.
    pub fn have_every_column(&self) -> bool {
        let mut images = self.shape.before.iter().chain(&self.shape.after);
        !self.has_diffs && images.all(|present| (0..self.own).all(|column| present.has(column)))
    }

    /// Row by row.
    pub fn iter(&self) -> PartialRows<'_> {
        PartialRows::of(&self.plan, self.own, &self.shape, &self.bytes)
    }

    /// Whole row images back to back, pairs for updates, where the images before and after a change have every column between them.
    ///
    /// # Errors
    /// None, as the rows have been walked.
    pub fn completed(&self) -> Result<Option<Vec<u8>>, ImageError> {
        let mut images = Vec::new();
        for row in self {
            let row = row?;
            if !row.before.iter().chain(&row.after).all(|fields| fields.write(&mut images)) {
                return Ok(None);
            }
        }
        Ok(Some(images))
    }
}

impl<'b> IntoIterator for &'b PartialImages<'_> {
    type Item = Result<PartialRow<'b>, ImageError>;
    type IntoIter = PartialRows<'b>;

    fn into_iter(self) -> PartialRows<'b> {
        self.iter()
    }
}

/// Walks rows. Ends after the first error.
#[derive(Clone, Debug)]
pub struct PartialRows<'b> {
    plan: &'b Plan,
    own: usize,
    shape: &'b Shape,
    bytes: &'b [u8],
    at: usize,
}

impl<'b> PartialRows<'b> {
    fn of(plan: &'b Plan, own: usize, shape: &'b Shape, bytes: &'b [u8]) -> Self {
        Self { plan, own, shape, bytes, at: 0 }
    }

    fn row(&mut self) -> Result<PartialRow<'b>, ImageError> {
        let from = self.at;
        let before = self.shape.before.as_ref();
        let before = before.map(|present| self.fields(present, false)).transpose()?;
        let after = self.shape.after.as_ref();
        let after = after.map(|present| self.fields(present, self.shape.may_have_diffs)).transpose()?;
        if self.at == from {
            return Err(ImageError::NoColumns);
        }
        let after = match &before {
            Some(before) => after.map(|after| after.over(before)),
            None => after,
        };
        Ok(PartialRow { before, after })
    }

    /// One image.
    fn fields(&mut self, present: &Present, has_options: bool) -> Result<Fields<'b>, ImageError> {
        let diffs = if has_options { self.diffs()? } else { None };
        let needed = bitmap_len(present.count);
        let nulls = self.take(needed)?;
        if !has_plain_filler(nulls, present.count) {
            return Err(ImageError::NoImage { offset: self.at - needed });
        }
        let mut fields = Vec::with_capacity(self.own);
        let mut bit = 0;
        for (column, layout) in self.plan.layouts.iter().enumerate() {
            let field = if present.has(column) {
                let is_null = nulls.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
                bit += 1;
                if is_null { Field::Null } else { self.value(column, *layout, diffs)? }
            } else {
                Field::Absent
            };
            if column < self.own {
                fields.push(field);
            }
        }
        Ok(Fields(fields))
    }

    fn value(&mut self, column: usize, layout: Layout, diffs: Option<&[u8]>) -> Result<Field<'b>, ImageError> {
        let (prefix, value) = self.plan.value_at(column, layout, self.bytes, self.at)?;
        self.at += value.len();
        let is_diff = diffs.is_some_and(|diffs| {
            let place = self.plan.json.binary_search(&column);
            place.is_ok_and(|bit| diffs.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
        });
        Ok(match (is_diff, value.get(prefix..)) {
            (false, _) => Field::Value(value),
            // Nothing has changed.
            (true, Some([])) => Field::Absent,
            (true, _) => Field::Diff,
        })
    }

    /// The value options of an image, and the bitmap of its diffs if it has any.
    fn diffs(&mut self) -> Result<Option<&'b [u8]>, ImageError> {
        let offset = self.at;
        let options = self.length_encoded().ok_or(ImageError::ValueOptions { offset })?;
        match options {
            0 => Ok(None),
            DIFFS => self.take(bitmap_len(self.plan.json.len())).map(Some),
            _ => Err(ImageError::ValueOptions { offset }),
        }
    }

    fn length_encoded(&mut self) -> Option<u64> {
        let (first, rest) = self.bytes.get(self.at..)?.split_first()?;
        let more = match first {
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            0xfb | 0xff => return None,
            small => {
                self.at += 1;
                return Some(u64::from(*small));
            }
        };
        self.at += 1 + more;
        Some(rest.get(..more)?.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn take(&mut self, needed: usize) -> Result<&'b [u8], ImageError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..needed);
        let taken = taken.ok_or(ImageError::TruncatedBitmap { offset: self.at, needed, left: rest.len() })?;
        self.at += needed;
        Ok(taken)
    }
}

impl<'b> Iterator for PartialRows<'b> {
    type Item = Result<PartialRow<'b>, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let row = self.row();
        if row.is_err() {
            self.at = self.bytes.len();
        }
        Some(row)
    }
}

impl Plan {
    /// What [`Fields::key`] gives, of a whole image.
    ///
    /// # Errors
    /// When the image does not fit the plan, or has no such column.
    pub fn key_fields(&self, key: &[u16], image: &[u8]) -> Result<Option<Vec<u8>>, ImageError> {
        let mut fields = Vec::with_capacity(self.columns());
        let mut at = self.bitmap_len;
        let nulls = image.get(..at);
        let nulls = nulls.ok_or(ImageError::TruncatedBitmap { offset: 0, needed: at, left: image.len() })?;
        for (column, layout) in self.layouts.iter().enumerate() {
            if nulls.get(column / 8).is_some_and(|byte| byte >> (column % 8) & 1 == 1) {
                fields.push(Field::Null);
                continue;
            }
            let (_, value) = self.value_at(column, *layout, image, at)?;
            at += value.len();
            fields.push(Field::Value(value));
        }
        if let Some(column) = key.iter().map(|column| usize::from(*column)).find(|column| *column >= fields.len()) {
            return Err(ImageError::NoColumn { column });
        }
        Ok(Fields(fields).key(key))
    }

    /// A row image that has the values of a key, as [`Fields::key`] gives them, and NULL in every other column, also where a column
    /// forbids it: it says that the value is not known.
    ///
    /// # Errors
    /// When the bytes are not the values of these columns.
    pub fn key_image(&self, key: &[u16], fields: &[u8]) -> Result<Vec<u8>, ImageError> {
        let mut row = vec![Field::Absent; self.columns()];
        let mut at = 0;
        let mut last = 0;
        for column in key.iter().map(|column| usize::from(*column)) {
            let (layout, place) =
                self.layouts.get(column).zip(row.get_mut(column)).ok_or(ImageError::NoColumn { column })?;
            let (_, value) = self.value_at(column, *layout, fields, at)?;
            *place = Field::Value(value);
            at += value.len();
            last = column;
        }
        match fields.len() - at {
            0 => {}
            left => return Err(ImageError::Trailing { column: self.name(last).to_owned(), left }),
        }
        let mut image = Vec::new();
        write_image(&mut image, &row);
        Ok(image)
    }
}
