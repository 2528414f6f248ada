//! How many bytes a value takes: known from the type, or from a length prefix. Also the one place that checks that a
//! type's parameters are possible.

use crate::model::{Column, ColumnType};

use super::error::PlanError;

/// More columns than either server allows would not fit the `u16` places of a key.
pub(super) const MAX_COLUMNS: usize = 4096;

/// Size of a value in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Always so many bytes, at least one.
    Fixed(u8),
    /// A little-endian length of 1 to 4 bytes, then as many bytes as it says.
    Prefixed(u8),
}

impl Layout {
    /// The layout of a column's values.
    pub(super) fn of(column: &Column) -> Result<Self, PlanError> {
        let shape = |ok: bool, problem: &'static str| {
            if ok { Ok(()) } else { Err(PlanError::Shape { column: column.name.clone(), problem }) }
        };
        let fraction = |fsp: u8| {
            shape(fsp <= 6, "more than 6 digits of a second's fraction")?;
            Ok(fsp.div_ceil(2))
        };
        Ok(match &column.ty {
            ColumnType::Int { width, .. } => Self::Fixed(u8::try_from(width.bytes()).unwrap_or(u8::MAX)),
            ColumnType::Float => Self::Fixed(4),
            ColumnType::Double => Self::Fixed(8),
            ColumnType::Decimal { precision, scale } => {
                shape((1..=65).contains(precision), "a decimal's precision is 1 to 65")?;
                shape(*scale <= 38 && scale <= precision, "a decimal's scale is at most 38 and its precision")?;
                Self::Fixed(super::decimal::packed_len(*precision, *scale))
            }
            ColumnType::Year => Self::Fixed(1),
            ColumnType::Date => Self::Fixed(3),
            ColumnType::Time { fsp } => Self::Fixed(3 + fraction(*fsp)?),
            ColumnType::DateTime { fsp } => Self::Fixed(5 + fraction(*fsp)?),
            ColumnType::Timestamp { fsp } => Self::Fixed(4 + fraction(*fsp)?),
            ColumnType::Bit { bits } => {
                shape((1..=64).contains(bits), "a bit field has 1 to 64 bits")?;
                Self::Fixed(bits.div_ceil(8))
            }
            ColumnType::Char { max_bytes, .. }
            | ColumnType::VarChar { max_bytes, .. }
            | ColumnType::VarBinary { max_bytes }
            | ColumnType::Binary { length: max_bytes } => Self::Prefixed(if *max_bytes > 255 { 2 } else { 1 }),
            ColumnType::Text { length_bytes, .. } | ColumnType::Blob { length_bytes } => {
                shape((1..=4).contains(length_bytes), "a length prefix has 1 to 4 bytes")?;
                Self::Prefixed(*length_bytes)
            }
            ColumnType::Enum { members } => {
                shape((1..=65535).contains(&members.len()), "an enum has 1 to 65535 members")?;
                Self::Fixed(if members.len() > 255 { 2 } else { 1 })
            }
            ColumnType::Set { members } => {
                shape((1..=64).contains(&members.len()), "a set has 1 to 64 members")?;
                Self::Fixed(match members.len().div_ceil(8) {
                    1 => 1,
                    2 => 2,
                    3 => 3,
                    4 => 4,
                    _ => 8,
                })
            }
            ColumnType::Uuid | ColumnType::Inet6 | ColumnType::Inet4 => Self::Prefixed(1),
            ColumnType::Json | ColumnType::Geometry | ColumnType::Vector => Self::Prefixed(4),
            ColumnType::Unsupported { name, .. } => {
                return Err(PlanError::Unsupported { column: column.name.clone(), type_name: name.clone() });
            }
        })
    }
}

/// Bytes of the null bitmap of a table with so many columns.
pub(super) const fn bitmap_len(columns: usize) -> usize {
    columns.div_ceil(8)
}

/// A length read from an image as a size. Where it does not fit, no slice is that long either, and the bounds check that
/// follows fails.
pub(super) fn size(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The null bits of columns `64 * word` and up, as far as `image` reaches. Bits past the bitmap are bytes of values: callers
/// look only at the bits of their columns.
#[inline]
pub(super) fn null_word(image: &[u8], word: usize) -> u64 {
    let tail = image.get(word * 8..).unwrap_or_default();
    match tail.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => tail.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
    }
}
