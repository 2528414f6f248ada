//! Row images to rows of ClickHouse's RowBinary, through a form compiled once per schema.
//!
//! RowBinary has no separators: a row is its columns' values in the order of the INSERT's column list ("RowBinary", ClickHouse
//! documentation, Formats). A value of a `Nullable` type has a byte before it, 1 for NULL, which ends it, else 0. Numbers are
//! little-endian; strings and arrays have their length before them as LEB128.
//!
//! Columns are written in the source's order, whatever the order of the list given, because an image is read in that
//! order: the INSERT names them so. Nothing is allocated per value, and bytes that are UTF-8 already are checked and
//! copied as they lie.
//!
//! What a column of the target cannot hold is refused: by its types when the encoder is made, by the value when a row is
//! encoded. There the table's policy may put something else in its place. Nothing is clamped, rounded or cut. Decimals
//! need no check: an image holds as many digits as its column has ([`Decimal`](crate::codec::row_image::Decimal)), and a
//! target is taken only with the same scale and no fewer digits.
//!
//! Assumed: `JSON` columns take text (`input_format_binary_read_json_as_string`).

mod error;
mod form;
mod instant;
mod visit;

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

use crate::codec::row_image::{Plan, RowVisitor};
use crate::config::{ValuePolicy, ZeroDates};
use crate::error::Failure;
use crate::model::TableSchema;
use crate::sink::columns::marks;
use crate::sink::values::{Rules, Stand};

use super::types::Type;
use form::{Form, Slot};
use visit::Write;

pub use crate::sink::values::{Scratch, ValueProblem};
pub use error::RowError;

/// How rows of one schema are encoded for one table.
#[derive(Debug)]
pub struct Encoder {
    /// Reads the columns that are kept.
    all: Plan,
    /// Reads the key's columns alone.
    key: Plan,
    /// One per column of the source.
    slots: Box<[Slot]>,
    /// What becomes of values that the target does not hold.
    rules: Rules,
    /// For each column of the key, by place in the source: the empty values of the kept columns since the key column before.
    gaps: Box<[Box<[u8]>]>,
    /// The empty values behind the last column of the key.
    tail: Box<[u8]>,
    /// NULL, or an empty array, in every column.
    absent: Box<[u8]>,
}

impl Encoder {
    /// For the columns given as (place in the schema, type of the target's column), of which those at the places `key` of the
    /// list make the key.
    ///
    /// # Errors
    /// Names the column whose values its target column cannot hold.
    pub fn new(
        schema: &TableSchema,
        columns: &[(usize, &str)],
        key: &[usize],
        values: ValuePolicy,
    ) -> Result<Self, Failure> {
        let count = schema.columns.len();
        // A configuration that keeps them is refused for this sink.
        let zero_dates = if values.zero_dates == ZeroDates::Keep { ZeroDates::Null } else { values.zero_dates };
        let values = ValuePolicy { zero_dates, ..values };
        let key_sources: Vec<usize> =
            key.iter().filter_map(|place| columns.get(*place)).map(|(source, _)| *source).collect();
        let mut slots = vec![Slot { form: Form::None, nullable: false }; count];
        let mut gaps = vec![Box::default(); count];
        let (mut gap, mut absent) = (Vec::new(), Vec::new());
        for (source, column) in schema.columns.iter().enumerate() {
            let Some((_, text)) = columns.iter().find(|(kept, _)| *kept == source) else { continue };
            let in_key = key_sources.contains(&source);
            let refused = || error::refused(&schema.name, column, text);
            let ty = Type::parse(text).ok_or_else(refused)?;
            let form = Form::of(&column.ty, &ty.base).ok_or_else(refused)?;
            if let Some(slot) = slots.get_mut(source) {
                *slot = Slot { form, nullable: ty.nullable };
            }
            ty.write_absent(&mut absent);
            if !in_key {
                ty.write_absent(&mut gap);
            } else if let Some(before) = gaps.get_mut(source) {
                *before = std::mem::take(&mut gap).into_boxed_slice();
            }
        }
        let plan = |sources: Vec<usize>| {
            Plan::compile(schema, &marks(sources, count)).map_err(|error| {
                Failure::row(format!("rows of {} cannot be read", schema.name))
                    .hint("leave the table out with `source.exclude`")
                    .caused_by(error)
            })
        };
        Ok(Self {
            all: plan(columns.iter().map(|(source, _)| *source).collect())?,
            key: plan(key_sources.clone())?,
            rules: Rules::new(schema, values, |place| Stand {
                is_key: key_sources.contains(&place),
                takes_null: slots.get(place).is_some_and(|slot| slot.nullable),
            }),
            slots: slots.into(),
            gaps: gaps.into(),
            tail: gap.into(),
            absent: absent.into(),
        })
    }

    /// Appends the first image of `bytes`; says how many bytes the image has. After an error `out` ends with part of the row.
    #[inline]
    pub fn encode(&self, bytes: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Result<usize, RowError> {
        self.write::<false>(&self.all, bytes, false, out, scratch)
    }

    /// As [`Encoder::encode`], of an image of which the key's columns alone are known: NULL in a column that does not hold it is the
    /// empty array.
    pub(super) fn encode_known(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<usize, RowError> {
        self.write::<false>(&self.all, bytes, true, out, scratch)
    }

    /// Appends the key of the first image of `bytes`, and the empty value of every other column; says how many bytes the image
    /// has. After an error `out` ends with part of the row.
    #[inline]
    pub fn encode_key(&self, bytes: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Result<usize, RowError> {
        let used = self.write::<true>(&self.key, bytes, false, out, scratch)?;
        out.extend_from_slice(&self.tail);
        Ok(used)
    }

    /// Replacements are counted where a row is written, and not where one is looked for by its key.
    #[inline]
    fn write<const KEY: bool>(
        &self,
        plan: &Plan,
        bytes: &[u8],
        key_alone: bool,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<usize, RowError> {
        let Scratch { printed, text, replaced } = scratch;
        let to = Write::<KEY> { encoder: self, out, scratch: printed, key_alone, unconvertible: 0 };
        let (used, to, mut row) = self.rules.read(plan, bytes, to, text)?;
        if !KEY {
            row.unconvertible += to.unconvertible;
            replaced.add(row);
        }
        Ok(used)
    }

    /// Appends the value of one column alone, given as its bytes in an image.
    pub(super) fn encode_cell(&self, column: usize, cell: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        let scratch = &mut Scratch::default().printed;
        let to = Write::<false> { encoder: self, out, scratch, key_alone: false, unconvertible: 0 };
        self.rules.cell(&self.all, column, cell, to)?;
        Ok(())
    }

    /// Visits the value of one column, given as its bytes in an image, as it is written.
    pub(super) fn visit_cell<V>(&self, column: usize, cell: &[u8], to: V) -> Result<V, RowError>
    where
        V: RowVisitor<Error = Box<ValueProblem>>,
    {
        Ok(self.rules.cell(&self.all, column, cell, to)?)
    }

    /// A row of which nothing is known: NULL in every column, the empty array or value in a column without NULL.
    pub fn absent(&self) -> &[u8] {
        &self.absent
    }

    /// Reads images of the schema.
    pub(super) fn plan(&self) -> &Plan {
        &self.all
    }
}
