//! The values of an image in six kinds, for targets that take text, bound parameters or JSON.
//!
//! [`RowVisitor`] has a method for each type of the source. Most targets know few kinds of values; what the others become is the
//! same for all of them, and is decided here:
//!
//! | kind | values |
//! |---|---|
//! | `null` | NULL |
//! | `int` | signed integers, `YEAR` |
//! | `uint` | unsigned integers, `BIT(n)` |
//! | `real` | `FLOAT`, widened, and `DOUBLE` |
//! | `text` | text in UTF-8; `DECIMAL`, dates and times as the server prints them, `TIMESTAMP` in UTC; labels of `ENUM`, of `SET` with commas between; `JSON`; MariaDB's `UUID`, `INET6`, `INET4` |
//! | `bytes` | `BINARY` (padded), `VARBINARY`, `BLOB`, spatial values, `VECTOR` |
//!
//! Nothing is allocated for a value: what is not in the image as it is wanted is written into a [`Scratch`], which is kept
//! from row to row.

use super::address::{Inet4, Inet6, Uuid};
use super::decimal::Decimal;
use super::error::{ReadError, ValueError};
use super::json::Json;
use super::labels::write_labels;
use super::plan::Plan;
use super::temporal::{Date, DateTime, Time, Timestamp};
use super::text::Text;
use super::visitor::{Bytes, RowVisitor};

/// Takes the values of an image in six kinds, one call per wanted column, in table order. `column` is the place in the schema.
/// Values borrow and end with the call. The first error ends the read.
pub trait PlainVisitor {
    /// What a value may be refused with; a malformed one is an error without a question to the visitor.
    type Error: From<ValueError>;

    /// NULL, of any type.
    fn null(&mut self, column: usize) -> Result<(), Self::Error>;
    /// An integer that may be below zero.
    fn int(&mut self, column: usize, value: i64) -> Result<(), Self::Error>;
    /// An integer of a type without sign.
    fn uint(&mut self, column: usize, value: u64) -> Result<(), Self::Error>;
    /// A floating point number. That of a `FLOAT` is exactly an `f32`.
    fn real(&mut self, column: usize, value: f64) -> Result<(), Self::Error>;
    /// Text in UTF-8.
    fn text(&mut self, column: usize, value: &[u8]) -> Result<(), Self::Error>;
    /// Bytes that are not text.
    fn bytes(&mut self, column: usize, value: &[u8]) -> Result<(), Self::Error>;
}

/// Room for one value that is not in the image as it is wanted; kept between rows so that it grows only once.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    text: String,
}

/// Above this the room is given back by [`Scratch::trim`]: one huge value must not hold memory permanently.
const SCRATCH_KEPT: usize = 1 << 20;

impl Scratch {
    /// Gives back what a huge value made it grow to.
    pub fn trim(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SCRATCH_KEPT);
        self.text.clear();
        self.text.shrink_to(SCRATCH_KEPT);
    }

    /// Text in UTF-8: as it is in the image, or decoded here.
    #[inline]
    pub fn utf8<'r>(&'r mut self, value: &'r Text<'_>) -> Result<&'r str, ValueError> {
        if let Some(text) = value.borrowed_utf8()? {
            return Ok(text);
        }
        self.text.clear();
        value.write_utf8(&mut self.text)?;
        Ok(&self.text)
    }

    /// What `write` writes.
    #[inline]
    pub fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.bytes.clear();
        write(&mut self.bytes);
        &self.bytes
    }

    /// The text of a document.
    pub fn document(&mut self, value: Json<'_>) -> Result<&[u8], ValueError> {
        self.bytes.clear();
        value.write_text(&mut self.bytes)?;
        Ok(&self.bytes)
    }
}

impl Plan {
    /// As [`Plan::read`], in six kinds.
    pub fn read_plain<V: PlainVisitor>(
        &self,
        bytes: &[u8],
        visitor: &mut V,
        scratch: &mut Scratch,
    ) -> Result<usize, ReadError<V::Error>> {
        self.read(bytes, &mut Plain { to: visitor, scratch })
    }

    /// As [`Plan::cell`], in six kinds.
    pub fn cell_plain<V: PlainVisitor>(
        &self,
        column: usize,
        cell: &[u8],
        visitor: &mut V,
        scratch: &mut Scratch,
    ) -> Result<(), ReadError<V::Error>> {
        self.cell(column, cell, &mut Plain { to: visitor, scratch })
    }
}

/// Narrows the values for a visitor.
#[derive(Debug)]
pub struct Plain<'v, V> {
    to: &'v mut V,
    scratch: &'v mut Scratch,
}

impl<'v, V: PlainVisitor> Plain<'v, V> {
    /// For a visitor.
    pub fn new(to: &'v mut V, scratch: &'v mut Scratch) -> Self {
        Self { to, scratch }
    }

    #[inline]
    fn printed(&mut self, column: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), V::Error> {
        self.to.text(column, self.scratch.written(write))
    }
}

impl<V: PlainVisitor> RowVisitor for Plain<'_, V> {
    type Error = V::Error;

    #[inline]
    fn null(&mut self, column: usize) -> Result<(), V::Error> {
        self.to.null(column)
    }

    #[inline]
    fn int(&mut self, column: usize, value: i64) -> Result<(), V::Error> {
        self.to.int(column, value)
    }

    #[inline]
    fn uint(&mut self, column: usize, value: u64) -> Result<(), V::Error> {
        self.to.uint(column, value)
    }

    #[inline]
    fn float(&mut self, column: usize, value: f32) -> Result<(), V::Error> {
        self.to.real(column, f64::from(value))
    }

    #[inline]
    fn double(&mut self, column: usize, value: f64) -> Result<(), V::Error> {
        self.to.real(column, value)
    }

    #[inline]
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    fn year(&mut self, column: usize, value: u16) -> Result<(), V::Error> {
        self.to.int(column, value.into())
    }

    #[inline]
    fn date(&mut self, column: usize, value: Date) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    #[inline]
    fn time(&mut self, column: usize, value: Time) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    #[inline]
    fn datetime(&mut self, column: usize, value: DateTime) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    #[inline]
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    fn bit(&mut self, column: usize, value: u64) -> Result<(), V::Error> {
        self.to.uint(column, value)
    }

    #[inline]
    fn text(&mut self, column: usize, value: Text<'_>) -> Result<(), V::Error> {
        self.to.text(column, self.scratch.utf8(&value)?.as_bytes())
    }

    #[inline]
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Result<(), V::Error> {
        if value.padding() == 0 {
            return self.to.bytes(column, value.stored());
        }
        self.to.bytes(column, self.scratch.written(|out| value.write_to(out)))
    }

    #[inline]
    fn enumeration(&mut self, column: usize, _ordinal: u16, label: &str) -> Result<(), V::Error> {
        self.to.text(column, label.as_bytes())
    }

    fn set(&mut self, column: usize, mask: u64, members: &[String]) -> Result<(), V::Error> {
        self.printed(column, |out| write_labels(mask, members, out))
    }

    fn json(&mut self, column: usize, value: Json<'_>) -> Result<(), V::Error> {
        self.to.text(column, self.scratch.document(value)?)
    }

    fn geometry(&mut self, column: usize, value: &[u8]) -> Result<(), V::Error> {
        self.to.bytes(column, value)
    }

    fn vector(&mut self, column: usize, value: &[u8]) -> Result<(), V::Error> {
        self.to.bytes(column, value)
    }

    #[inline]
    fn uuid(&mut self, column: usize, value: Uuid) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    fn inet6(&mut self, column: usize, value: Inet6) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }

    fn inet4(&mut self, column: usize, value: Inet4) -> Result<(), V::Error> {
        self.printed(column, |out| value.write_text(out))
    }
}
