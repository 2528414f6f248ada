//! Stepping over whole images without looking at values.
//!
//! The columns are cut into segments: a run of fixed-size columns, then at most one column with a length prefix. Where no
//! column of the run is NULL its size is one addition; each NULL takes its column's size back off. Bounds are checked only
//! where a length prefix is read and at the end, since the offset only grows.

use super::error::ImageError;
use super::layout::{Layout, null_word, size};
use super::plan::Plan;

/// A run of fixed-size columns and the prefixed column behind it. Never crosses a 64-column word of the null bitmap.
#[derive(Debug)]
pub(super) struct Segment {
    /// Which word of the null bitmap has this segment's bits.
    word: usize,
    /// Bits of the run's columns in that word.
    fixed_bits: u64,
    /// Bytes of the run when none of it is NULL.
    fixed_len: usize,
    /// Bit of the prefixed column; 0 if the segment ends without one.
    prefix_bit: u64,
    /// Bytes of its length prefix.
    prefix: u8,
}

impl Segment {
    pub(super) fn split(layouts: &[Layout]) -> Box<[Self]> {
        let mut segments = Vec::new();
        for (word, layouts) in layouts.chunks(64).enumerate() {
            let empty = || Self { word, fixed_bits: 0, fixed_len: 0, prefix_bit: 0, prefix: 0 };
            let mut segment = empty();
            for (bit, layout) in layouts.iter().enumerate() {
                match *layout {
                    Layout::Fixed(len) => {
                        segment.fixed_bits |= 1 << bit;
                        segment.fixed_len += usize::from(len);
                    }
                    Layout::Prefixed(prefix) => {
                        segment.prefix_bit = 1 << bit;
                        segment.prefix = prefix;
                        segments.push(std::mem::replace(&mut segment, empty()));
                    }
                }
            }
            if segment.fixed_bits != 0 {
                segments.push(segment);
            }
        }
        segments.into()
    }
}

impl Plan {
    /// Length of the first image in `bytes`.
    #[inline]
    pub fn image_len(&self, bytes: &[u8]) -> Result<usize, ImageError> {
        match self.skip(bytes) {
            Some(len) => Ok(len),
            None => Err(self.explain(bytes)),
        }
    }

    /// Rows in a body of images back to back as a server wrote it, `images_per_row` of them to a row. The body must end where the last
    /// row ends: bytes that are left over are no row, even where they have the length of one.
    pub fn count_rows(&self, body: &[u8], images_per_row: u32) -> Result<u32, ImageError> {
        let mut images = 0_u64;
        let mut rest = body;
        while !rest.is_empty() {
            let Some(after) = self.skip(rest).and_then(|len| rest.get(len..)) else {
                return Err(self.explain(rest).shifted(body.len() - rest.len()));
            };
            if !self.has_plain_filler(rest) {
                return Err(ImageError::NoImage { offset: body.len() - rest.len() });
            }
            rest = after;
            images += 1;
        }
        let per_row = u64::from(images_per_row.max(1));
        if !images.is_multiple_of(per_row) {
            return Err(ImageError::HalfRow { images, images_per_row });
        }
        u32::try_from(images / per_row).map_err(|_| ImageError::TooManyRows)
    }

    /// Whether the bits past the last column in the null bitmap are as a server writes them: MySQL has them clear, MariaDB and older
    /// servers set.
    #[inline]
    fn has_plain_filler(&self, bytes: &[u8]) -> bool {
        has_plain_filler(bytes, self.columns())
    }

    /// `None` if the image is longer than `bytes`.
    #[inline]
    fn skip(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = self.bitmap_len;
        let mut word = 0;
        let mut nulls = null_word(bytes, 0);
        for segment in &self.segments {
            if segment.word != word {
                word = segment.word;
                nulls = null_word(bytes, word);
            }
            at += segment.fixed_len;
            let mut null_fixed = nulls & segment.fixed_bits;
            while null_fixed != 0 {
                at -= self.fixed_len(word, null_fixed.trailing_zeros());
                null_fixed &= null_fixed - 1;
            }
            if segment.prefix_bit & !nulls != 0 {
                let tail = bytes.get(at..)?;
                let len = prefix_at(tail, segment.prefix)?;
                at = (at + usize::from(segment.prefix)).checked_add(size(len))?;
            }
        }
        (at <= bytes.len()).then_some(at)
    }

    fn fixed_len(&self, word: usize, bit: u32) -> usize {
        match self.layouts.get(word * 64 + size(bit)) {
            Some(Layout::Fixed(len)) => usize::from(*len),
            Some(Layout::Prefixed(_)) | None => 0,
        }
    }

    /// Walks again, column by column, to name the one that does not fit.
    #[cold]
    fn explain(&self, bytes: &[u8]) -> ImageError {
        let mut places = self.places(bytes);
        loop {
            match places.next() {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                // Unreachable while both walks agree; still an error and not a panic.
                None => {
                    return ImageError::TruncatedBitmap { offset: 0, needed: self.bitmap_len, left: bytes.len() };
                }
            }
        }
    }
}

/// Whether the bits past the last column in a null bitmap of so many columns are all clear or all set.
#[inline]
pub(super) fn has_plain_filler(bitmap: &[u8], columns: usize) -> bool {
    let used = columns % 8;
    if used == 0 {
        return true;
    }
    let filler = bitmap.get(columns / 8).map_or(0, |byte| byte >> used);
    filler == 0 || filler == u8::MAX >> used
}

/// A little-endian length of `prefix` bytes at the start of `bytes`.
#[inline]
pub(super) fn prefix_at(bytes: &[u8], prefix: u8) -> Option<u32> {
    match prefix {
        1 => bytes.first().map(|byte| u32::from(*byte)),
        2 => bytes.first_chunk().map(|bytes| u32::from(u16::from_le_bytes(*bytes))),
        3 => bytes.first_chunk::<3>().map(|[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0])),
        _ => bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)),
    }
}

impl ImageError {
    /// The same error of an image that begins `by` bytes into what the caller handed in.
    pub(super) fn shifted(mut self, by: usize) -> Self {
        match &mut self {
            Self::TruncatedBitmap { offset, .. }
            | Self::NoImage { offset }
            | Self::ValueOptions { offset }
            | Self::Truncated { offset, .. }
            | Self::Malformed { offset, .. } => {
                *offset += by;
            }
            Self::Trailing { .. }
            | Self::HalfRow { .. }
            | Self::TooManyRows
            | Self::NoColumn { .. }
            | Self::NoColumns => {}
        }
        self
    }
}
