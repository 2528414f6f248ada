//! The receiving end of a read: one method per kind of value, called in column order.

use super::address::{Inet4, Inet6, Uuid};
use super::decimal::Decimal;
use super::json::Json;
use super::temporal::{Date, DateTime, Time, Timestamp};
use super::text::Text;

/// Takes the values of an image, one call per wanted column, in table order. `column` is the place in the schema. Values
/// borrow from the image or the plan and end with the call. The first error ends the read.
///
/// No method has a default: a kind of value that a visitor forgot would be a value lost.
pub trait RowVisitor {
    /// What a visitor may refuse a value with.
    type Error;

    /// NULL, of any type; also in a column that does not allow it, if the image says so.
    fn null(&mut self, column: usize) -> Result<(), Self::Error>;
    /// A signed integer of any width.
    fn int(&mut self, column: usize, value: i64) -> Result<(), Self::Error>;
    /// An unsigned integer of any width.
    fn uint(&mut self, column: usize, value: u64) -> Result<(), Self::Error>;
    /// `FLOAT`.
    fn float(&mut self, column: usize, value: f32) -> Result<(), Self::Error>;
    /// `DOUBLE`.
    fn double(&mut self, column: usize, value: f64) -> Result<(), Self::Error>;
    /// `DECIMAL`.
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Result<(), Self::Error>;
    /// `YEAR`: 0, or 1901 to 2155.
    fn year(&mut self, column: usize, value: u16) -> Result<(), Self::Error>;
    /// `DATE`.
    fn date(&mut self, column: usize, value: Date) -> Result<(), Self::Error>;
    /// `TIME`.
    fn time(&mut self, column: usize, value: Time) -> Result<(), Self::Error>;
    /// `DATETIME`.
    fn datetime(&mut self, column: usize, value: DateTime) -> Result<(), Self::Error>;
    /// `TIMESTAMP`.
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Result<(), Self::Error>;
    /// `BIT(n)`, as a number.
    fn bit(&mut self, column: usize, value: u64) -> Result<(), Self::Error>;
    /// `CHAR`, `VARCHAR` and the `TEXT` family.
    fn text(&mut self, column: usize, value: Text<'_>) -> Result<(), Self::Error>;
    /// `BINARY`, `VARBINARY` and the `BLOB` family.
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Result<(), Self::Error>;
    /// `ENUM`: its 1-based ordinal and its label; 0 and `""` for the value that stands for an invalid one.
    fn enumeration(&mut self, column: usize, ordinal: u16, label: &str) -> Result<(), Self::Error>;
    /// `SET`: bit i stands for `members[i]`.
    fn set(&mut self, column: usize, mask: u64, members: &[String]) -> Result<(), Self::Error>;
    /// MySQL's `JSON`.
    fn json(&mut self, column: usize, value: Json<'_>) -> Result<(), Self::Error>;
    /// A spatial value: SRID (4 bytes, little-endian), then WKB.
    fn geometry(&mut self, column: usize, value: &[u8]) -> Result<(), Self::Error>;
    /// MySQL's `VECTOR`: little-endian `f32`s; a whole number of them.
    fn vector(&mut self, column: usize, value: &[u8]) -> Result<(), Self::Error>;
    /// MariaDB's `UUID`.
    fn uuid(&mut self, column: usize, value: Uuid) -> Result<(), Self::Error>;
    /// MariaDB's `INET6`.
    fn inet6(&mut self, column: usize, value: Inet6) -> Result<(), Self::Error>;
    /// MariaDB's `INET4`.
    fn inet4(&mut self, column: usize, value: Inet4) -> Result<(), Self::Error>;
}

/// A binary value: the bytes the image holds, and the zero bytes a `BINARY(n)` has behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'v> {
    stored: &'v [u8],
    padding: usize,
}

impl<'v> Bytes<'v> {
    pub(super) fn new(stored: &'v [u8], padding: usize) -> Self {
        Self { stored, padding }
    }

    /// A value without padding.
    pub fn whole(bytes: &'v [u8]) -> Self {
        Self::new(bytes, 0)
    }

    /// The bytes in the image. The whole value if [`padding`](Self::padding) is 0, as it is for all but `BINARY`.
    pub fn stored(&self) -> &'v [u8] {
        self.stored
    }

    /// Zero bytes that follow the stored ones.
    pub fn padding(&self) -> usize {
        self.padding
    }

    /// Bytes of the whole value.
    pub fn len(&self) -> usize {
        self.stored.len() + self.padding
    }

    /// Whether the whole value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the whole value.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.stored);
        out.resize(out.len() + self.padding, 0);
    }
}
