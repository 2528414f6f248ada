//! One value into one column: the checks, and the bytes.

use crate::codec::row_image::charset::Encoding;
use crate::codec::row_image::error::{PlanError, WriteError};
use crate::codec::row_image::json::TEXT_MARK;
use crate::codec::row_image::layout::Layout;
use crate::codec::row_image::parse;
use crate::codec::row_image::temporal::{Date, DateTime, Time, Timestamp};
use crate::model::{Column, ColumnType};

use super::packed;

/// A column as the writer needs it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    pub(super) nullable: bool,
    pub(super) layout: Layout,
    /// Of a character column.
    pub(super) encoding: Option<Encoding>,
}

impl Slot {
    pub(super) fn new(column: &Column) -> Result<Self, PlanError> {
        let encoding = match &column.ty {
            ColumnType::Char { charset, .. }
            | ColumnType::VarChar { charset, .. }
            | ColumnType::Text { charset, .. } => Some(Encoding::of(charset).ok_or_else(|| PlanError::Charset {
                column: column.name.clone(),
                charset: charset.as_str().to_owned(),
            })?),
            _ => None,
        };
        Ok(Self {
            name: column.name.clone(),
            column_type: column.ty.clone(),
            nullable: column.nullable,
            layout: Layout::of(column)?,
            encoding,
        })
    }

    pub(super) fn ty(&self) -> &ColumnType {
        &self.column_type
    }

    pub(super) fn kind(&self, given: &'static str) -> WriteError {
        WriteError::Kind { column: self.name.clone(), given }
    }

    pub(super) fn range(&self, problem: &'static str) -> WriteError {
        WriteError::Range { column: self.name.clone(), problem }
    }

    pub(super) fn literal(&self, expected: &'static str) -> WriteError {
        WriteError::Literal { column: self.name.clone(), expected }
    }

    fn too_long(&self, len: usize, max: usize) -> WriteError {
        WriteError::TooLong { column: self.name.clone(), len, max }
    }

    pub(super) fn nullable(&self) -> Result<(), WriteError> {
        if self.nullable { Ok(()) } else { Err(self.range("it does not allow NULL")) }
    }

    /// Takes every `i64` and `u64`.
    pub(super) fn int(&self, out: &mut Vec<u8>, value: i128) -> Result<(), WriteError> {
        let ColumnType::Int { width, unsigned } = self.column_type else {
            return Err(self.kind("an integer"));
        };
        let bits = width.bytes() * 8;
        let (least, most) =
            if unsigned { (0, (1_i128 << bits) - 1) } else { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) };
        if value < least || value > most {
            return Err(self.range("the integer is outside the column's range"));
        }
        let bytes = value.to_le_bytes();
        out.extend_from_slice(bytes.get(..width.bytes()).unwrap_or(&bytes));
        Ok(())
    }

    pub(super) fn float(&self, out: &mut Vec<u8>, value: f32) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Float {
            return Err(self.kind("a float"));
        }
        if !value.is_finite() {
            return Err(self.range("the number is not finite"));
        }
        out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    pub(super) fn double(&self, out: &mut Vec<u8>, value: f64) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Double {
            return Err(self.kind("a double"));
        }
        if !value.is_finite() {
            return Err(self.range("the number is not finite"));
        }
        out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    pub(super) fn decimal(&self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), WriteError> {
        let ColumnType::Decimal { precision, scale } = self.column_type else {
            return Err(self.kind("a decimal"));
        };
        let literal = parse::decimal(text).ok_or_else(|| self.literal("a decimal number"))?;
        packed::decimal(out, &literal, precision, scale)
            .ok_or_else(|| self.range("the decimal has more digits than the column"))
    }

    pub(super) fn year(&self, out: &mut Vec<u8>, value: u16) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Year {
            return Err(self.kind("a year"));
        }
        let byte = match value {
            0 => Some(0),
            _ => value.checked_sub(1900).and_then(|years| u8::try_from(years).ok()).filter(|years| *years > 0),
        };
        out.push(byte.ok_or_else(|| self.range("a year is 0, or 1901 to 2155"))?);
        Ok(())
    }

    pub(super) fn date(&self, out: &mut Vec<u8>, value: Date) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Date {
            return Err(self.kind("a date"));
        }
        packed::date(out, value.check().map_err(|problem| self.range(problem))?);
        Ok(())
    }

    pub(super) fn time(&self, out: &mut Vec<u8>, value: Time) -> Result<(), WriteError> {
        let ColumnType::Time { fsp } = self.column_type else {
            return Err(self.kind("a time"));
        };
        let value = value.check().map_err(|problem| self.range(problem))?;
        self.fraction(value.micros, fsp)?;
        packed::time(out, value, fsp);
        Ok(())
    }

    pub(super) fn datetime(&self, out: &mut Vec<u8>, value: DateTime) -> Result<(), WriteError> {
        let ColumnType::DateTime { fsp } = self.column_type else {
            return Err(self.kind("a datetime"));
        };
        let value = value.check().map_err(|problem| self.range(problem))?;
        self.fraction(value.micros, fsp)?;
        packed::datetime(out, value, fsp);
        Ok(())
    }

    pub(super) fn timestamp(&self, out: &mut Vec<u8>, value: Timestamp) -> Result<(), WriteError> {
        let ColumnType::Timestamp { fsp } = self.column_type else {
            return Err(self.kind("a timestamp"));
        };
        let value = value.check().map_err(|problem| self.range(problem))?;
        self.fraction(value.micros, fsp)?;
        packed::timestamp(out, value, fsp);
        Ok(())
    }

    pub(super) fn timestamp_utc(&self, out: &mut Vec<u8>, value: DateTime) -> Result<(), WriteError> {
        let instant =
            Timestamp::from_utc(value).ok_or_else(|| self.range("the instant is outside 1970-01-01 to 2106-02-07"))?;
        self.timestamp(out, instant)
    }

    fn fraction(&self, micros: u32, fsp: u8) -> Result<(), WriteError> {
        let unit = 10_u32.pow(u32::from(6_u8.saturating_sub(fsp)));
        if micros.is_multiple_of(unit) {
            Ok(())
        } else {
            Err(self.range("the fraction has more digits than the column"))
        }
    }

    pub(super) fn bit(&self, out: &mut Vec<u8>, value: u64) -> Result<(), WriteError> {
        let ColumnType::Bit { bits } = self.column_type else {
            return Err(self.kind("bits"));
        };
        if bits < 64 && value >> bits != 0 {
            return Err(self.range("more bits are set than the column has"));
        }
        let bytes = value.to_be_bytes();
        out.extend_from_slice(bytes.get(8 - usize::from(bits.div_ceil(8))..).unwrap_or(&bytes));
        Ok(())
    }

    pub(super) fn bytes(&self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), WriteError> {
        let (value, max) = match self.column_type {
            ColumnType::Char { max_bytes, .. } => {
                (without_trailing(value, self.encoding.map_or(b" ", Encoding::space)), usize::from(max_bytes))
            }
            ColumnType::Binary { length } => (without_trailing(value, b"\0"), usize::from(length)),
            ColumnType::VarChar { max_bytes, .. } | ColumnType::VarBinary { max_bytes } => {
                (value, usize::from(max_bytes))
            }
            ColumnType::Text { .. } | ColumnType::Blob { .. } => (value, usize::MAX),
            ColumnType::Uuid | ColumnType::Inet6 => (without_trailing(value, b"\0"), 16),
            ColumnType::Inet4 => (without_trailing(value, b"\0"), 4),
            _ => return Err(self.kind("a string")),
        };
        if value.len() > max {
            return Err(self.too_long(value.len(), max));
        }
        self.prefixed(out, &[], value)
    }

    pub(super) fn enumeration(&self, out: &mut Vec<u8>, ordinal: u16) -> Result<(), WriteError> {
        let ColumnType::Enum { members } = &self.column_type else {
            return Err(self.kind("an enum ordinal"));
        };
        if usize::from(ordinal) > members.len() {
            return Err(self.range("the ordinal is above the number of members"));
        }
        self.little_endian(out, ordinal.into());
        Ok(())
    }

    pub(super) fn set(&self, out: &mut Vec<u8>, mask: u64) -> Result<(), WriteError> {
        let ColumnType::Set { members } = &self.column_type else {
            return Err(self.kind("a set's bit mask"));
        };
        if members.len() < 64 && mask >> members.len() != 0 {
            return Err(self.range("a bit is set that has no member"));
        }
        self.little_endian(out, mask);
        Ok(())
    }

    pub(super) fn json(&self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Json {
            return Err(self.kind("json"));
        }
        if std::str::from_utf8(text).is_err() {
            return Err(self.literal("UTF-8"));
        }
        self.prefixed(out, &[TEXT_MARK], text)
    }

    pub(super) fn geometry(&self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Geometry {
            return Err(self.kind("a geometry"));
        }
        self.prefixed(out, &[], value)
    }

    pub(super) fn vector(&self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), WriteError> {
        if self.column_type != ColumnType::Vector {
            return Err(self.kind("a vector"));
        }
        if !value.len().is_multiple_of(4) {
            return Err(self.range("a vector is a whole number of floats"));
        }
        self.prefixed(out, &[], value)
    }

    /// The low bytes of a number that the caller has checked, as many as the column stores.
    fn little_endian(&self, out: &mut Vec<u8>, number: u64) {
        let (Layout::Fixed(len) | Layout::Prefixed(len)) = self.layout;
        let bytes = number.to_le_bytes();
        out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(&bytes));
    }

    /// A length prefix, then the two parts of the value.
    fn prefixed(&self, out: &mut Vec<u8>, mark: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let (Layout::Fixed(prefix) | Layout::Prefixed(prefix)) = self.layout;
        let prefix = usize::from(prefix);
        let len = mark.len().saturating_add(value.len());
        let max = u32::MAX >> (32 - 8 * u32::try_from(prefix).unwrap_or(4).clamp(1, 4));
        let stored = u32::try_from(len)
            .ok()
            .filter(|len| *len <= max)
            .ok_or_else(|| self.too_long(len, usize::try_from(max).unwrap_or(usize::MAX)))?
            .to_le_bytes();
        out.extend_from_slice(stored.get(..prefix).unwrap_or(&stored));
        out.extend_from_slice(mark);
        out.extend_from_slice(value);
        Ok(())
    }
}

/// `value` without the padding at its end.
fn without_trailing<'v>(mut value: &'v [u8], padding: &[u8]) -> &'v [u8] {
    while let Some(shorter) = value.strip_suffix(padding) {
        value = shorter;
    }
    value
}
