//! Reading values: from a whole image, or from one value's bytes.

use crate::model::IntWidth;

use super::address::{Inet4, Inet6, Uuid};
use super::cell;
use super::decimal::Decimal;
use super::error::{ImageError, ReadError};
use super::json::Json;
use super::layout::{Layout, null_word, size};
use super::plan::{Op, Plan};
use super::temporal::Problem;
use super::text::Text;
use super::visitor::{Bytes, RowVisitor};
use super::walk::prefix_at;

/// Why a value could not be handed over; the column and the offset are added on the cold path.
enum Stop<E> {
    Short,
    Bad(Problem),
    Visitor(E),
}

impl<E> From<Problem> for Stop<E> {
    fn from(problem: Problem) -> Self {
        Self::Bad(problem)
    }
}

impl Plan {
    /// Visits the wanted columns of the first image in `bytes`; returns the image's length.
    #[inline]
    pub fn read<V: RowVisitor>(&self, bytes: &[u8], visitor: &mut V) -> Result<usize, ReadError<V::Error>> {
        let Some(mut rest) = bytes.get(self.bitmap_len..) else {
            return Err(ImageError::TruncatedBitmap { offset: 0, needed: self.bitmap_len, left: bytes.len() }.into());
        };
        for (word, ops) in self.ops.chunks(64).enumerate() {
            let mut nulls = null_word(bytes, word);
            for (bit, op) in ops.iter().enumerate() {
                let column = word * 64 + bit;
                let null = nulls & 1 == 1;
                nulls >>= 1;
                let before = rest;
                let visited = match (op, null) {
                    (Op::Skip, true) => continue,
                    (Op::Skip, false) => self.skip_one(column, &mut rest).ok_or(Stop::Short),
                    (_, true) => visitor.null(column).map_err(Stop::Visitor),
                    (op, false) => self.visit(column, op, &mut rest, visitor),
                };
                if let Err(stop) = visited {
                    return Err(self.stopped(column, bytes.len() - before.len(), before, stop));
                }
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Visits one value, given as its bytes in an image: a [`ColumnDefault::Value`](crate::model::ColumnDefault::Value).
    pub fn cell<V: RowVisitor>(&self, column: usize, cell: &[u8], visitor: &mut V) -> Result<(), ReadError<V::Error>> {
        let op = match self.ops.get(column) {
            None | Some(Op::Skip) => return Err(ImageError::NoColumn { column }.into()),
            Some(op) => op,
        };
        // Measured before it is visited, so that the visitor is not called for a value that turns out to have a tail.
        let mut after = cell;
        if self.skip_one(column, &mut after).is_some() && !after.is_empty() {
            return Err(ImageError::Trailing { column: self.name(column).to_owned(), left: after.len() }.into());
        }
        let mut rest = cell;
        self.visit(column, op, &mut rest, visitor).map_err(|stop| self.stopped(column, 0, cell, stop))
    }

    #[inline]
    fn visit<V: RowVisitor>(
        &self,
        column: usize,
        op: &Op,
        rest: &mut &[u8],
        visitor: &mut V,
    ) -> Result<(), Stop<V::Error>> {
        match op {
            Op::Skip => return self.skip_one(column, rest).ok_or(Stop::Short),
            Op::Int { width, unsigned } => {
                return if *unsigned {
                    let value = unsigned_int(rest, *width)?;
                    visitor.uint(column, value)
                } else {
                    let value = signed_int(rest, *width)?;
                    visitor.int(column, value)
                }
                .map_err(Stop::Visitor);
            }
            Op::Float => visitor.float(column, f32::from_le_bytes(array(rest)?)),
            Op::Double => visitor.double(column, f64::from_le_bytes(array(rest)?)),
            Op::Decimal { precision, scale, len } => {
                let value =
                    Decimal::new(fixed(rest, *len)?, *precision, *scale).ok_or("its groups are not decimal digits")?;
                visitor.decimal(column, value)
            }
            Op::Year => {
                let [byte] = array(rest)?;
                visitor.year(column, cell::year(byte))
            }
            Op::Date => visitor.date(column, cell::date(fixed(rest, 3)?)?),
            Op::Time { fsp } => {
                let bytes = fixed(rest, 3 + fsp.div_ceil(2))?;
                visitor.time(column, cell::time(bytes, *fsp)?)
            }
            Op::DateTime { fsp } => {
                let bytes = fixed(rest, 5 + fsp.div_ceil(2))?;
                visitor.datetime(column, cell::datetime(bytes, *fsp)?)
            }
            Op::Timestamp { fsp } => {
                let bytes = fixed(rest, 4 + fsp.div_ceil(2))?;
                visitor.timestamp(column, cell::timestamp(bytes, *fsp)?)
            }
            Op::Bit { bits, len } => {
                let value = cell::big_endian(fixed(rest, *len)?);
                if *bits < 64 && value >> *bits != 0 {
                    return Err(Stop::Bad("more bits are set than the column has"));
                }
                visitor.bit(column, value)
            }
            Op::Text { prefix, encoding } => {
                let bytes = prefixed(rest, *prefix)?;
                visitor.text(column, Text::new(bytes, *encoding, self.name(column)))
            }
            Op::Binary { prefix, length } => {
                let bytes = prefixed(rest, *prefix)?;
                let padding = usize::from(*length).checked_sub(bytes.len()).ok_or("it is longer than its column")?;
                visitor.bytes(column, Bytes::new(bytes, padding))
            }
            Op::Bytes { prefix } => visitor.bytes(column, Bytes::new(prefixed(rest, *prefix)?, 0)),
            Op::Enum { len, members } => {
                let ordinal = u16::try_from(cell::little_endian(fixed(rest, *len)?))
                    .map_err(|_| "its ordinal is above the number of members")?;
                let label = match ordinal.checked_sub(1) {
                    None => "",
                    Some(index) => {
                        members.get(usize::from(index)).ok_or("its ordinal is above the number of members")?
                    }
                };
                visitor.enumeration(column, ordinal, label)
            }
            Op::Set { len, members } => {
                let mask = cell::little_endian(fixed(rest, *len)?);
                if members.len() < 64 && mask >> members.len() != 0 {
                    return Err(Stop::Bad("a bit is set that has no member"));
                }
                visitor.set(column, mask, members)
            }
            Op::Json => {
                let bytes = prefixed(rest, 4)?;
                visitor.json(column, Json::new(bytes, self.name(column)))
            }
            Op::Geometry => visitor.geometry(column, prefixed(rest, 4)?),
            Op::Vector => {
                let bytes = prefixed(rest, 4)?;
                if !bytes.len().is_multiple_of(4) {
                    return Err(Stop::Bad("a vector is a whole number of floats"));
                }
                visitor.vector(column, bytes)
            }
            Op::Uuid => visitor.uuid(column, Uuid(padded(rest)?)),
            Op::Inet6 => visitor.inet6(column, Inet6(padded(rest)?)),
            Op::Inet4 => visitor.inet4(column, Inet4(padded(rest)?)),
        }
        .map_err(Stop::Visitor)
    }

    /// Steps over one value; `None` if it does not end within `rest`.
    #[inline]
    fn skip_one(&self, column: usize, rest: &mut &[u8]) -> Option<()> {
        let len = match *self.layouts.get(column)? {
            Layout::Fixed(len) => usize::from(len),
            Layout::Prefixed(prefix) => usize::from(prefix).checked_add(size(prefix_at(rest, prefix)?))?,
        };
        *rest = rest.get(len..)?;
        Some(())
    }

    #[cold]
    fn stopped<E>(&self, column: usize, offset: usize, rest: &[u8], stop: Stop<E>) -> ReadError<E> {
        let name = self.name(column).to_owned();
        ReadError::Image(match stop {
            Stop::Visitor(error) => return ReadError::Visitor(error),
            Stop::Bad(problem) => ImageError::Malformed { column: name, offset, problem },
            Stop::Short => ImageError::Truncated {
                column: name,
                offset,
                needed: match self.layouts.get(column) {
                    Some(Layout::Prefixed(prefix)) => {
                        usize::from(*prefix).saturating_add(size(prefix_at(rest, *prefix).unwrap_or_default()))
                    }
                    Some(Layout::Fixed(len)) => usize::from(*len),
                    None => 0,
                },
                left: rest.len(),
            },
        })
    }
}

/// The next `N` bytes.
#[inline]
fn array<const N: usize, E>(rest: &mut &[u8]) -> Result<[u8; N], Stop<E>> {
    let (bytes, tail) = rest.split_first_chunk().ok_or(Stop::Short)?;
    *rest = tail;
    Ok(*bytes)
}

/// The next `len` bytes.
#[inline]
fn fixed<'a, E>(rest: &mut &'a [u8], len: u8) -> Result<&'a [u8], Stop<E>> {
    let (bytes, tail) = rest.split_at_checked(usize::from(len)).ok_or(Stop::Short)?;
    *rest = tail;
    Ok(bytes)
}

/// The bytes behind the next length prefix.
#[inline]
fn prefixed<'a, E>(rest: &mut &'a [u8], prefix: u8) -> Result<&'a [u8], Stop<E>> {
    let len = prefix_at(rest, prefix).ok_or(Stop::Short)?;
    let tail = rest.get(usize::from(prefix)..).ok_or(Stop::Short)?;
    let (bytes, tail) = tail.split_at_checked(size(len)).ok_or(Stop::Short)?;
    *rest = tail;
    Ok(bytes)
}

/// The bytes behind the next length prefix, which has one byte, with the zero bytes behind them that the image leaves out.
// Not inlined: its buffers would make the frame of every other type's reader larger.
#[inline(never)]
fn padded<const N: usize, E>(rest: &mut &[u8]) -> Result<[u8; N], Stop<E>> {
    let stored = prefixed(rest, 1)?;
    let mut value = [0; N];
    value.get_mut(..stored.len()).ok_or("it is longer than its column")?.copy_from_slice(stored);
    Ok(value)
}

#[inline]
fn signed_int<E>(rest: &mut &[u8], width: IntWidth) -> Result<i64, Stop<E>> {
    Ok(match width {
        IntWidth::W1 => i64::from(i8::from_le_bytes(array(rest)?)),
        IntWidth::W2 => i64::from(i16::from_le_bytes(array(rest)?)),
        IntWidth::W3 => {
            // Placed in the high bytes, so that the shift back carries the sign.
            let [a, b, c] = array(rest)?;
            i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)
        }
        IntWidth::W4 => i64::from(i32::from_le_bytes(array(rest)?)),
        IntWidth::W8 => i64::from_le_bytes(array(rest)?),
    })
}

#[inline]
fn unsigned_int<E>(rest: &mut &[u8], width: IntWidth) -> Result<u64, Stop<E>> {
    Ok(match width {
        IntWidth::W1 => u64::from(u8::from_le_bytes(array(rest)?)),
        IntWidth::W2 => u64::from(u16::from_le_bytes(array(rest)?)),
        IntWidth::W3 => {
            let [a, b, c] = array(rest)?;
            u64::from(u32::from_le_bytes([a, b, c, 0]))
        }
        IntWidth::W4 => u64::from(u32::from_le_bytes(array(rest)?)),
        IntWidth::W8 => u64::from_le_bytes(array(rest)?),
    })
}
