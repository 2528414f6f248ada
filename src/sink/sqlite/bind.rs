//! From the values of a row image to the parameters of a prepared statement, without an allocation per value.
//!
//! What the source's types become is decided by [`crate::codec::row_image::PlainVisitor`]; here it is bound, in the form of the
//! type table ([`super::types`]).

use std::io::Write as _;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Statement, ToSql};

use crate::codec::row_image::{ImageError, Plain, PlainVisitor, Plan, ReadError, ValueError};
use crate::dead::Full;
use crate::model::TableSchema;
use crate::sink::rows::NoLetter;
use crate::sink::values::{Instead, Rules, ValueProblem};

pub(super) use crate::sink::values::Scratch;

use super::row_hash::RowHash;

/// A row that cannot be bound or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The image is malformed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// One of its values cannot be written.
    #[error(transparent)]
    Value(#[from] Box<ValueProblem>),
    /// It cannot be written, and there is no room for its dead letter.
    #[error(transparent)]
    Full(#[from] Full),
}

impl From<NoLetter> for RowError {
    fn from(error: NoLetter) -> Self {
        match error {
            NoLetter::Image(error) => Self::Image(error),
            NoLetter::Full(error) => Self::Full(error),
        }
    }
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

/// Why the visitor stops.
#[derive(Debug)]
enum Stop {
    Sqlite(rusqlite::Error),
    Value(Box<ValueProblem>),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<ValueProblem> for Stop {
    fn from(problem: ValueProblem) -> Self {
        Self::Value(problem.into())
    }
}

impl From<ValueError> for Stop {
    fn from(error: ValueError) -> Self {
        Self::Value(error.into())
    }
}

/// Which parameter of one image each column of the schema is bound to, counted from 0, and what becomes of values that
/// SQLite does not hold.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<usize>,
    rules: Arc<Rules>,
}

impl Slots {
    /// For the columns at `sources` (places in the schema), in the order of their parameters.
    pub(super) fn new(schema: &TableSchema, sources: &[usize], rules: &Arc<Rules>) -> Self {
        let slot = |place| sources.iter().position(|source| *source == place).unwrap_or_default();
        Self { slots: (0..schema.columns.len()).map(slot).collect(), rules: Arc::clone(rules) }
    }

    fn get(&self, column: usize) -> usize {
        // The plan visits columns of this schema only.
        self.slots.get(column).copied().unwrap_or(column)
    }
}

/// Binds the columns that `plan` wants from the first image of `bytes` to the parameters from `first` (counted from 1) on.
/// They are written: what is replaced of them is counted. Says how many bytes the image has.
pub(super) fn bind_image(
    statement: &mut Statement<'_>,
    first: usize,
    plan: &Plan,
    slots: &Slots,
    bytes: &[u8],
    scratch: &mut Scratch,
) -> Result<usize, RowError> {
    Ok(read(&slots.rules, plan, bytes, Parameters { statement, first, slots }, scratch)?.0)
}

/// As [`bind_image`], of a row that is looked for: nothing is counted.
pub(super) fn bind_sought(
    statement: &mut Statement<'_>,
    first: usize,
    plan: &Plan,
    slots: &Slots,
    bytes: &[u8],
    scratch: &mut Scratch,
) -> Result<usize, RowError> {
    let before = scratch.replaced;
    let used = bind_image(statement, first, plan, slots, bytes, scratch);
    scratch.replaced = before;
    used
}

/// As [`bind_image`], and gives the hash of what is bound.
pub(super) fn bind_hashed(
    statement: &mut Statement<'_>,
    first: usize,
    plan: &Plan,
    slots: &Slots,
    bytes: &[u8],
    scratch: &mut Scratch,
    hash: &mut RowHash,
) -> Result<(usize, i64), RowError> {
    let to = Hashed { to: Parameters { statement, first, slots }, hash };
    let (used, Hashed { hash, .. }) = read(&slots.rules, plan, bytes, to, scratch)?;
    Ok((used, hash.finish()))
}

fn read<R: Receive>(
    rules: &Rules,
    plan: &Plan,
    bytes: &[u8],
    to: R,
    scratch: &mut Scratch,
) -> Result<(usize, R), RowError> {
    let Scratch { printed, text, replaced } = scratch;
    let mut convert = Convert { to, rules, unconvertible: 0 };
    let (used, _, mut row) = rules.read(plan, bytes, Plain::new(&mut convert, printed), text)?;
    row.unconvertible += convert.unconvertible;
    replaced.add(row);
    Ok((used, convert.to))
}

/// The value of one column's bytes alone, as SQLite will hold it.
pub(super) fn cell_value(
    rules: &Rules,
    plan: &Plan,
    column: usize,
    cell: &[u8],
    scratch: &mut Scratch,
) -> Result<Value, RowError> {
    let mut convert = Convert { to: One(Value::Null), rules, unconvertible: 0 };
    rules.cell(plan, column, cell, Plain::new(&mut convert, &mut scratch.printed))?;
    Ok(convert.to.0)
}

/// Takes values in SQLite's form.
trait Receive {
    fn receive(&mut self, column: usize, value: ValueRef<'_>) -> Result<(), rusqlite::Error>;
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
        self.statement.raw_bind_parameter(self.first + self.slots.get(column), Borrowed(value))
    }
}

/// Takes a hash of the values as well.
struct Hashed<'h, R> {
    to: R,
    hash: &'h mut RowHash,
}

impl<R: Receive> Receive for Hashed<'_, R> {
    #[inline]
    fn receive(&mut self, column: usize, value: ValueRef<'_>) -> Result<(), rusqlite::Error> {
        self.hash.value(value);
        self.to.receive(column, value)
    }
}

struct One(Value);

impl Receive for One {
    fn receive(&mut self, _column: usize, value: ValueRef<'_>) -> Result<(), rusqlite::Error> {
        self.0 = value.try_into().map_err(rusqlite::Error::from)?;
        Ok(())
    }
}

/// Brings values into SQLite's form.
struct Convert<'r, R> {
    to: R,
    rules: &'r Rules,
    /// Values in whose place something else is written, as SQLite does not hold them.
    unconvertible: u64,
}

impl<R: Receive> Convert<'_, R> {
    #[inline]
    fn put(&mut self, column: usize, value: ValueRef<'_>) -> Result<(), Stop> {
        Ok(self.to.receive(column, value)?)
    }

    /// A number that SQLite's integers do not reach, as text.
    #[cold]
    fn beyond(&mut self, column: usize, value: u64) -> Result<(), Stop> {
        let mut digits = [0; 20];
        let mut rest = digits.as_mut_slice();
        write!(rest, "{value}").expect("a number of 64 bits has 20 digits at most");
        let left = rest.len();
        let digits = digits.get(..digits.len() - left).unwrap_or_default();
        self.put(column, ValueRef::Text(digits))
    }

    /// SQLite would turn it into NULL. MySQL never stores one.
    #[cold]
    fn not_a_number(&mut self, column: usize) -> Result<(), Stop> {
        let instead = self.rules.unconvertible(
            column,
            true,
            "holds a floating point value that is not a number, which SQLite does not hold",
            "set `unconvertible` of the sink or the table to `null` or `text`",
        )?;
        self.unconvertible += 1;
        self.put(
            column,
            match instead {
                Instead::Null => ValueRef::Null,
                Instead::Text => ValueRef::Text(b"NaN"),
            },
        )
    }
}

impl<R: Receive> PlainVisitor for Convert<'_, R> {
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
            Err(_) => self.beyond(column, value),
        }
    }

    #[inline]
    fn real(&mut self, column: usize, value: f64) -> Result<(), Stop> {
        if value.is_nan() {
            return self.not_a_number(column);
        }
        self.put(column, ValueRef::Real(value))
    }

    #[inline]
    fn text(&mut self, column: usize, value: &[u8]) -> Result<(), Stop> {
        self.put(column, ValueRef::Text(value))
    }

    #[inline]
    fn bytes(&mut self, column: usize, value: &[u8]) -> Result<(), Stop> {
        self.put(column, ValueRef::Blob(value))
    }
}
