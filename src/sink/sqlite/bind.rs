//! From the values of a row image to the parameters of a prepared statement, without an allocation per value.
//!
//! [`Convert`] turns each value into the form of the type table ([`super::types`]) and hands it to a [`Receive`]: the
//! statement of the hot path, or the one value of a column's default.

use std::io::Write as _;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Statement, ToSql};

use crate::codec::row_image::{
    Bytes, Date, DateTime, Decimal, ImageError, Inet4, Inet6, Json, Plan, ReadError, RowVisitor, Text, Time, Timestamp,
    Uuid, ValueError,
};
use crate::model::{ColumnType, TableSchema};

/// Room for one value's text; kept between rows so that it grows only once.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    text: String,
}

/// Above this the room is given back between rounds: one huge value must not hold memory for good.
const SCRATCH_KEPT: usize = 1 << 20;

impl Scratch {
    /// Gives back what a huge value made it grow to.
    pub(super) fn trim(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SCRATCH_KEPT);
        self.text.clear();
        self.text.shrink_to(SCRATCH_KEPT);
    }
}

/// A row that cannot be bound or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The image is malformed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// One of its values is.
    #[error(transparent)]
    Value(#[from] ValueProblem),
}

impl From<ReadError<Stop>> for RowError {
    fn from(error: ReadError<Stop>) -> Self {
        match error {
            ReadError::Image(error) => Self::Image(error),
            ReadError::Visitor(Stop::Sqlite(error)) => Self::Sqlite(error),
            ReadError::Visitor(Stop::Value(problem)) => Self::Value(problem),
        }
    }
}

/// A value that SQLite cannot hold as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueProblem {
    /// Its content is malformed.
    #[error(transparent)]
    Content(#[from] ValueError),
    /// SQLite would turn it into NULL; MySQL never stores one.
    #[error("column {column} holds a floating point value that is not a number")]
    NotANumber {
        /// Place in the schema, from 1.
        column: usize,
    },
}

/// Why the visitor stops.
#[derive(Debug)]
enum Stop {
    Sqlite(rusqlite::Error),
    Value(ValueProblem),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<ValueError> for Stop {
    fn from(error: ValueError) -> Self {
        Self::Value(error.into())
    }
}

/// Which parameter each column of the schema is bound to.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// From 0 among the parameters of one image.
    parameter: usize,
    /// Its bytes are UTF-8, so they are bound where they lie.
    utf8: bool,
}

impl Slots {
    /// For the columns at `sources` (places in the schema), in the order of their parameters.
    pub(super) fn new(schema: &TableSchema, sources: &[usize]) -> Self {
        let slots = schema.columns.iter().enumerate().map(|(place, column)| Slot {
            parameter: sources.iter().position(|source| *source == place).unwrap_or_default(),
            utf8: match &column.ty {
                ColumnType::Char { charset, .. }
                | ColumnType::VarChar { charset, .. }
                | ColumnType::Text { charset, .. } => matches!(charset.as_str(), "utf8mb4" | "utf8mb3" | "ascii"),
                _ => false,
            },
        });
        Self { slots: slots.collect() }
    }

    fn get(&self, column: usize) -> Slot {
        // The plan visits columns of this schema only.
        self.slots.get(column).copied().unwrap_or(Slot { parameter: column, utf8: false })
    }
}

/// Binds the columns that `plan` wants from the first image of `bytes` to the parameters from `first` (counted from 1) on.
/// Says how many bytes the image has.
pub(super) fn bind_image(
    statement: &mut Statement<'_>,
    first: usize,
    plan: &Plan,
    slots: &Slots,
    bytes: &[u8],
    scratch: &mut Scratch,
) -> Result<usize, RowError> {
    let mut visitor = Convert { to: Parameters { statement, first, slots }, scratch };
    Ok(plan.read(bytes, &mut visitor)?)
}

/// The value of one column's bytes alone, as SQLite will hold it.
pub(super) fn cell_value(plan: &Plan, column: usize, cell: &[u8], scratch: &mut Scratch) -> Result<Value, RowError> {
    let mut visitor = Convert { to: One(Value::Null), scratch };
    plan.cell(column, cell, &mut visitor)?;
    Ok(visitor.to.0)
}

/// Takes values in SQLite's form.
trait Receive {
    fn receive(&mut self, column: usize, value: ValueRef<'_>) -> Result<(), rusqlite::Error>;
    /// Whether text of the column can be taken as its bytes are.
    fn is_utf8(&self, column: usize) -> bool;
}

/// Binds a borrowed value as it is.
struct Borrowed<'v>(ValueRef<'v>);

impl ToSql for Borrowed<'_> {
    #[inline]
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

struct Parameters<'s, 'c> {
    statement: &'s mut Statement<'c>,
    first: usize,
    slots: &'s Slots,
}

impl Receive for Parameters<'_, '_> {
    #[inline]
    fn receive(&mut self, column: usize, value: ValueRef<'_>) -> Result<(), rusqlite::Error> {
        self.statement.raw_bind_parameter(self.first + self.slots.get(column).parameter, Borrowed(value))
    }

    #[inline]
    fn is_utf8(&self, column: usize) -> bool {
        self.slots.get(column).utf8
    }
}

struct One(Value);

impl Receive for One {
    fn receive(&mut self, _column: usize, value: ValueRef<'_>) -> Result<(), rusqlite::Error> {
        self.0 = value.try_into().map_err(rusqlite::Error::from)?;
        Ok(())
    }

    fn is_utf8(&self, _column: usize) -> bool {
        false
    }
}

/// Turns the values of an image into SQLite's.
struct Convert<'s, R> {
    to: R,
    scratch: &'s mut Scratch,
}

impl<R: Receive> Convert<'_, R> {
    fn put(&mut self, column: usize, value: ValueRef<'_>) -> Result<(), Stop> {
        Ok(self.to.receive(column, value)?)
    }

    /// Writes text into the scratch room and hands it on.
    #[inline]
    fn put_text(&mut self, column: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Stop> {
        self.scratch.bytes.clear();
        write(&mut self.scratch.bytes);
        Ok(self.to.receive(column, ValueRef::Text(&self.scratch.bytes))?)
    }
}

impl<R: Receive> RowVisitor for Convert<'_, R> {
    type Error = Stop;

    #[inline]
    fn null(&mut self, column: usize) -> Result<(), Stop> {
        self.put(column, ValueRef::Null)
    }

    #[inline]
    fn int(&mut self, column: usize, value: i64) -> Result<(), Stop> {
        self.put(column, ValueRef::Integer(value))
    }

    #[inline]
    fn uint(&mut self, column: usize, value: u64) -> Result<(), Stop> {
        match i64::try_from(value) {
            Ok(value) => self.put(column, ValueRef::Integer(value)),
            Err(_) => self.put_text(column, |out| {
                write!(out, "{value}").expect("writing to a Vec cannot fail");
            }),
        }
    }

    fn float(&mut self, column: usize, value: f32) -> Result<(), Stop> {
        self.double(column, f64::from(value))
    }

    #[inline]
    fn double(&mut self, column: usize, value: f64) -> Result<(), Stop> {
        if value.is_nan() {
            return Err(Stop::Value(ValueProblem::NotANumber { column: column + 1 }));
        }
        self.put(column, ValueRef::Real(value))
    }

    #[inline]
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn year(&mut self, column: usize, value: u16) -> Result<(), Stop> {
        self.put(column, ValueRef::Integer(i64::from(value)))
    }

    fn date(&mut self, column: usize, value: Date) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn time(&mut self, column: usize, value: Time) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn datetime(&mut self, column: usize, value: DateTime) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn timestamp(&mut self, column: usize, value: Timestamp) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn bit(&mut self, column: usize, value: u64) -> Result<(), Stop> {
        self.uint(column, value)
    }

    #[inline]
    fn text(&mut self, column: usize, value: Text<'_>) -> Result<(), Stop> {
        if self.to.is_utf8(column) {
            let text = value.as_utf8()?;
            return self.put(column, ValueRef::Text(text.as_bytes()));
        }
        self.scratch.text.clear();
        value.write_utf8(&mut self.scratch.text)?;
        Ok(self.to.receive(column, ValueRef::Text(self.scratch.text.as_bytes()))?)
    }

    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Result<(), Stop> {
        if value.padding() == 0 {
            return self.put(column, ValueRef::Blob(value.stored()));
        }
        self.scratch.bytes.clear();
        value.write_to(&mut self.scratch.bytes);
        Ok(self.to.receive(column, ValueRef::Blob(&self.scratch.bytes))?)
    }

    fn enumeration(&mut self, column: usize, _ordinal: u16, label: &str) -> Result<(), Stop> {
        self.put(column, ValueRef::Text(label.as_bytes()))
    }

    fn set(&mut self, column: usize, mask: u64, members: &[String]) -> Result<(), Stop> {
        self.put_text(column, |out| {
            for (bit, member) in members.iter().enumerate() {
                if mask >> bit & 1 == 1 {
                    if !out.is_empty() {
                        out.push(b',');
                    }
                    out.extend_from_slice(member.as_bytes());
                }
            }
        })
    }

    fn json(&mut self, column: usize, value: Json<'_>) -> Result<(), Stop> {
        self.scratch.bytes.clear();
        value.write_text(&mut self.scratch.bytes)?;
        Ok(self.to.receive(column, ValueRef::Text(&self.scratch.bytes))?)
    }

    fn geometry(&mut self, column: usize, value: &[u8]) -> Result<(), Stop> {
        self.put(column, ValueRef::Blob(value))
    }

    fn vector(&mut self, column: usize, value: &[u8]) -> Result<(), Stop> {
        self.put(column, ValueRef::Blob(value))
    }

    #[inline]
    fn uuid(&mut self, column: usize, value: Uuid) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn inet6(&mut self, column: usize, value: Inet6) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }

    fn inet4(&mut self, column: usize, value: Inet4) -> Result<(), Stop> {
        self.put_text(column, |out| value.write_text(out))
    }
}
