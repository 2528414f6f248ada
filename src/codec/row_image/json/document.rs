//! Walks MySQL's binary JSON (`sql-common/json_binary.h` of the server describes it).
//!
//! | part | bytes | content |
//! |---|---|---|
//! | type | 1 | one of the `TYPE_` constants below |
//! | object, array | 2 + 2 or 4 + 4 | count of members; bytes of the container from here on |
//! | - key entries | 4 or 6 each | objects only: offset of the key from the container's start, its length in 2 bytes |
//! | - value entries | 3 or 5 each | type; the value itself if it fits, else its offset from the container's start |
//! | - keys and values | - | |
//! | string | 1 to 5 + n | length in groups of 7 bits, lowest first; UTF-8 |
//! | opaque | 1 + 1 to 5 + n | column type code of the value; length as in a string; the value |
//!
//! Small containers count in 2 bytes, large ones in 4; all numbers are little-endian.
//!
//! A hostile document may nest without end, or point many entries at one value, so that a few bytes print gigabytes.
//! Nesting stops at the server's own limit. And since an honest document has bytes of its own for everything it prints,
//! every value visited and every string byte printed is taken off a budget of the document's length.

use super::Malformed;
use super::print::{literal_double, opaque, quoted};
use crate::codec::row_image::layout::size;

const TYPE_SMALL_OBJECT: u8 = 0x00;
const TYPE_LARGE_OBJECT: u8 = 0x01;
const TYPE_SMALL_ARRAY: u8 = 0x02;
const TYPE_LARGE_ARRAY: u8 = 0x03;
const TYPE_LITERAL: u8 = 0x04;
const TYPE_INT16: u8 = 0x05;
const TYPE_UINT16: u8 = 0x06;
const TYPE_INT32: u8 = 0x07;
const TYPE_UINT32: u8 = 0x08;
const TYPE_INT64: u8 = 0x09;
const TYPE_UINT64: u8 = 0x0a;
const TYPE_DOUBLE: u8 = 0x0b;
const TYPE_STRING: u8 = 0x0c;
const TYPE_OPAQUE: u8 = 0x0f;

/// Containers within containers that the server allows.
const MAX_DEPTH: u32 = 100;

/// Appends the document; on an error `out` is in part written.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (kind, rest) = bytes.split_first().ok_or(Malformed { at: 0, problem: "it is empty" })?;
    Walk { whole: bytes, budget: bytes.len(), out }.value(*kind, rest, 0)
}

struct Walk<'v, 'o> {
    /// The whole value, against which offsets in errors are measured.
    whole: &'v [u8],
    budget: usize,
    out: &'o mut Vec<u8>,
}

/// A container's number formats.
#[derive(Clone, Copy)]
struct Sizes {
    large: bool,
}

impl Sizes {
    fn number(self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn key_entry(self) -> usize {
        self.number() + 2
    }

    fn value_entry(self) -> usize {
        self.number() + 1
    }

    fn read(self, bytes: &[u8]) -> Option<usize> {
        if self.large {
            bytes.first_chunk().map(|bytes| size(u32::from_le_bytes(*bytes)))
        } else {
            bytes.first_chunk().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
        }
    }

    /// Whether a value of that type stands in its entry.
    fn inline(self, kind: u8) -> bool {
        match kind {
            TYPE_LITERAL | TYPE_INT16 | TYPE_UINT16 => true,
            TYPE_INT32 | TYPE_UINT32 => self.large,
            _ => false,
        }
    }
}

impl<'v> Walk<'v, '_> {
    fn malformed(&self, here: &[u8], problem: &'static str) -> Malformed {
        // `here` is a tail or a part of the whole; where it begins tells the offset as nearly as an error needs.
        let at = here.as_ptr().addr().saturating_sub(self.whole.as_ptr().addr()).min(self.whole.len());
        Malformed { at, problem }
    }

    fn spend(&mut self, amount: usize, here: &[u8]) -> Result<(), Malformed> {
        match self.budget.checked_sub(amount) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(self.malformed(here, "parts of it are used more than once")),
        }
    }

    fn value(&mut self, kind: u8, bytes: &'v [u8], depth: u32) -> Result<(), Malformed> {
        self.spend(1, bytes)?;
        match kind {
            TYPE_SMALL_OBJECT => self.container(bytes, Sizes { large: false }, true, depth),
            TYPE_LARGE_OBJECT => self.container(bytes, Sizes { large: true }, true, depth),
            TYPE_SMALL_ARRAY => self.container(bytes, Sizes { large: false }, false, depth),
            TYPE_LARGE_ARRAY => self.container(bytes, Sizes { large: true }, false, depth),
            TYPE_LITERAL => {
                let text: &[u8] = match bytes.first() {
                    Some(0) => b"null",
                    Some(1) => b"true",
                    Some(2) => b"false",
                    Some(_) => return Err(self.malformed(bytes, "an unknown literal")),
                    None => return Err(self.malformed(bytes, "it ends inside a literal")),
                };
                self.out.extend_from_slice(text);
                Ok(())
            }
            TYPE_INT16 => self.number(bytes, i16::from_le_bytes),
            TYPE_UINT16 => self.number(bytes, u16::from_le_bytes),
            TYPE_INT32 => self.number(bytes, i32::from_le_bytes),
            TYPE_UINT32 => self.number(bytes, u32::from_le_bytes),
            TYPE_INT64 => self.number(bytes, i64::from_le_bytes),
            TYPE_UINT64 => self.number(bytes, u64::from_le_bytes),
            TYPE_DOUBLE => match bytes.first_chunk() {
                Some(double) => literal_double(self.out, f64::from_le_bytes(*double))
                    .map_err(|problem| self.malformed(bytes, problem)),
                None => Err(self.malformed(bytes, "it ends inside a number")),
            },
            TYPE_STRING => {
                let text = self.sized(bytes)?;
                self.string(text)
            }
            TYPE_OPAQUE => {
                let (code, rest) =
                    bytes.split_first().ok_or_else(|| self.malformed(bytes, "it ends inside an opaque value"))?;
                let value = self.sized(rest)?;
                self.spend(value.len(), value)?;
                opaque(self.out, *code, value).map_err(|problem| self.malformed(value, problem))
            }
            _ => Err(self.malformed(bytes, "an unknown type")),
        }
    }

    fn number<const N: usize, T: std::fmt::Display>(
        &mut self,
        bytes: &[u8],
        decode: fn([u8; N]) -> T,
    ) -> Result<(), Malformed> {
        let Some(number) = bytes.first_chunk() else {
            return Err(self.malformed(bytes, "it ends inside a number"));
        };
        super::print::display(self.out, &decode(*number));
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), Malformed> {
        self.spend(text.len(), text)?;
        match std::str::from_utf8(text) {
            Ok(text) => {
                quoted(self.out, text);
                Ok(())
            }
            Err(_) => Err(self.malformed(text, "a string that is not UTF-8")),
        }
    }

    /// The bytes behind a length in groups of seven bits.
    fn sized(&self, bytes: &'v [u8]) -> Result<&'v [u8], Malformed> {
        let mut len = 0_u64;
        for (index, byte) in bytes.iter().take(5).enumerate() {
            len |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let from = index + 1;
                return usize::try_from(len)
                    .ok()
                    .and_then(|len| bytes.get(from..)?.get(..len))
                    .ok_or_else(|| self.malformed(bytes, "a string reaches past its end"));
            }
        }
        Err(self.malformed(bytes, "a length without an end"))
    }

    fn container(&mut self, bytes: &'v [u8], sizes: Sizes, object: bool, depth: u32) -> Result<(), Malformed> {
        if depth >= MAX_DEPTH {
            return Err(self.malformed(bytes, "it nests deeper than 100 levels"));
        }
        let short = "a container reaches past its end";
        let count = sizes.read(bytes);
        let len = bytes.get(sizes.number()..).and_then(|bytes| sizes.read(bytes));
        let (Some(count), Some(len)) = (count, len) else {
            return Err(self.malformed(bytes, "it ends inside a container's header"));
        };
        let Some(body) = bytes.get(..len) else {
            return Err(self.malformed(bytes, short));
        };
        let key_bytes = if object { sizes.key_entry() } else { 0 };
        let entries =
            body.get(2 * sizes.number()..).and_then(|entries| entries.split_at_checked(count.checked_mul(key_bytes)?));
        let Some((mut keys, values)) = entries else {
            return Err(self.malformed(bytes, short));
        };
        let Some(values) = count.checked_mul(sizes.value_entry()).and_then(|len| values.get(..len)) else {
            return Err(self.malformed(bytes, short));
        };
        self.out.push(if object { b'{' } else { b'[' });
        for (index, entry) in values.chunks_exact(sizes.value_entry()).enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if object && let Some((key, rest)) = keys.split_at_checked(key_bytes) {
                keys = rest;
                self.key(body, key, sizes)?;
                self.out.extend_from_slice(b": ");
            }
            let Some((kind, inline)) = entry.split_first() else {
                return Err(self.malformed(bytes, short));
            };
            let value = if sizes.inline(*kind) {
                inline
            } else {
                sizes
                    .read(inline)
                    .and_then(|offset| body.get(offset..))
                    .ok_or_else(|| self.malformed(entry, "a value past its container"))?
            };
            self.value(*kind, value, depth + 1)?;
        }
        self.out.push(if object { b'}' } else { b']' });
        Ok(())
    }

    fn key(&mut self, body: &'v [u8], entry: &[u8], sizes: Sizes) -> Result<(), Malformed> {
        let key = sizes.read(entry).and_then(|offset| {
            let len = entry.get(sizes.number()..)?.first_chunk()?;
            body.get(offset..)?.get(..usize::from(u16::from_le_bytes(*len)))
        });
        match key {
            Some(key) => self.string(key),
            None => Err(self.malformed(entry, "a key past its container")),
        }
    }
}
