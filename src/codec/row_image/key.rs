//! Single columns of an image by their place, and what identifies a row.
//!
//! Two images hold the same key when the bytes of the key columns are equal. That is finer than the server's collation (two
//! spellings that it calls equal differ here), never coarser, and it is the same for a row written by the server and by
//! [`ImageWriter`](super::ImageWriter), because both strip padding alike.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::error::ImageError;
use super::layout::{Layout, null_word, size};
use super::plan::Plan;
use super::walk::prefix_at;

/// Keys up to this many bytes are hashed from the stack in one go; a longer one goes through the slower streaming hash,
/// which gives the same result. Covers integer, UUID and usual string keys.
const SHORT_KEY: usize = 256;

/// Written before a key column that is NULL, where others have their length: no value is so long.
const NULL_LENGTH: u64 = u64::MAX;

/// Walks an image column by column: `None` for NULL, else the value's bytes without their length prefix.
pub(super) struct Places<'p, 'a> {
    plan: &'p Plan,
    image: &'a [u8],
    at: usize,
    column: usize,
    nulls: u64,
}

impl Plan {
    pub(super) fn places<'p, 'a>(&'p self, image: &'a [u8]) -> Places<'p, 'a> {
        Places { plan: self, image, at: self.bitmap_len, column: 0, nulls: 0 }
    }

    /// The bytes of one column's value, without their length prefix; `None` if it is NULL.
    pub fn value<'a>(&self, column: u16, image: &'a [u8]) -> Result<Option<&'a [u8]>, ImageError> {
        let column = usize::from(column);
        match self.places(image).nth_place(column) {
            Some(place) => place,
            None => Err(ImageError::NoColumn { column }),
        }
    }

    /// The bytes of a value that begins at a place of an image, with its length prefix in front, and how long that is.
    #[inline]
    pub(super) fn value_at<'a>(
        &self,
        column: usize,
        layout: Layout,
        image: &'a [u8],
        at: usize,
    ) -> Result<(usize, &'a [u8]), ImageError> {
        let tail = image.get(at..).unwrap_or_default();
        let (prefix, len) = match layout {
            Layout::Fixed(len) => (0, usize::from(len)),
            Layout::Prefixed(prefix) => match prefix_at(tail, prefix) {
                Some(len) => (usize::from(prefix), size(len)),
                None => (usize::from(prefix), 0),
            },
        };
        let needed = prefix.saturating_add(len);
        let value = tail.get(..needed).ok_or_else(|| ImageError::Truncated {
            column: self.name(column).to_owned(),
            offset: at,
            needed,
            left: tail.len(),
        })?;
        Ok((prefix, value))
    }

    /// A hash of the key columns' values, each behind its length, so that `("a", "bc")` and `("ab", "c")` differ.
    pub fn key_hash(&self, key_columns: &[u16], image: &[u8]) -> Result<u128, ImageError> {
        let mut buffer = [0; SHORT_KEY];
        let mut used = 0;
        for column in key_columns {
            let value = self.value(*column, image)?;
            let (length, bytes) = framed(value);
            let Some(room) = buffer.get_mut(used..used + 8 + bytes.len()) else {
                return self.long_key_hash(key_columns, image);
            };
            let (front, back) = room.split_at_mut(8);
            front.copy_from_slice(&length);
            back.copy_from_slice(bytes);
            used += 8 + bytes.len();
        }
        Ok(xxh3_128(buffer.get(..used).unwrap_or_default()))
    }

    /// [`Plan::key_hash`] of images that stand back to back.
    pub fn key_hashes(&self, key_columns: &[u16], images: &[u8]) -> Result<Vec<u128>, ImageError> {
        let mut hashes = Vec::new();
        let mut rest = images;
        while !rest.is_empty() {
            let len = self.image_len(rest)?;
            let (image, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            hashes.push(self.key_hash(key_columns, image)?);
            rest = tail;
        }
        Ok(hashes)
    }

    fn long_key_hash(&self, key_columns: &[u16], image: &[u8]) -> Result<u128, ImageError> {
        let mut hash = Xxh3::new();
        for column in key_columns {
            let value = self.value(*column, image)?;
            let (length, bytes) = framed(value);
            hash.update(&length);
            hash.update(bytes);
        }
        Ok(hash.digest128())
    }

    /// Whether two images hold the same key, byte for byte.
    pub fn same_key(&self, key_columns: &[u16], before: &[u8], after: &[u8]) -> Result<bool, ImageError> {
        for column in key_columns {
            if self.value(*column, before)? != self.value(*column, after)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What is hashed of a value.
fn framed(value: Option<&[u8]>) -> ([u8; 8], &[u8]) {
    match value {
        None => (NULL_LENGTH.to_le_bytes(), &[]),
        Some(bytes) => (u64::try_from(bytes.len()).unwrap_or(NULL_LENGTH - 1).to_le_bytes(), bytes),
    }
}

impl<'a> Places<'_, 'a> {
    /// Where the values of the columns so far end.
    pub(super) fn end(&self) -> usize {
        self.at
    }

    /// The place `skipped` columns on.
    fn nth_place(&mut self, skipped: usize) -> Option<Result<Option<&'a [u8]>, ImageError>> {
        for _ in 0..skipped {
            if let Err(error) = self.next()? {
                return Some(Err(error));
            }
        }
        self.next()
    }

    fn take(&mut self, layout: Layout) -> Result<&'a [u8], ImageError> {
        let (prefix, value) = self.plan.value_at(self.column, layout, self.image, self.at)?;
        self.at += value.len();
        Ok(value.get(prefix..).unwrap_or_default())
    }
}

impl<'a> Iterator for Places<'_, 'a> {
    type Item = Result<Option<&'a [u8]>, ImageError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let layout = *self.plan.layouts.get(self.column)?;
        let bit = self.column % 64;
        if bit == 0 {
            if self.column == 0 && self.image.len() < self.plan.bitmap_len {
                return Some(Err(ImageError::TruncatedBitmap {
                    offset: 0,
                    needed: self.plan.bitmap_len,
                    left: self.image.len(),
                }));
            }
            self.nulls = null_word(self.image, self.column / 64);
        }
        let place = if self.nulls >> bit & 1 == 1 { Ok(None) } else { self.take(layout).map(Some) };
        self.column += 1;
        Some(place)
    }
}
