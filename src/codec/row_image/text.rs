//! Character values: the bytes as the column holds them, and their UTF-8 on demand.

use std::borrow::Cow;

use super::charset::Encoding;
use super::error::ValueError;

/// A character value in its column's character set.
#[derive(Clone, Copy, Debug)]
pub struct Text<'v> {
    pub(super) bytes: &'v [u8],
    pub(super) encoding: Encoding,
    column: &'v str,
    /// The value in UTF-8, where somebody has it already.
    known: Option<&'v str>,
}

impl<'v> Text<'v> {
    pub(super) fn new(bytes: &'v [u8], encoding: Encoding, column: &'v str) -> Self {
        Self { bytes, encoding, column, known: None }
    }

    /// The same value with what it is in UTF-8, so that nobody decodes it again.
    #[must_use]
    pub fn known_as(self, utf8: &'v str) -> Self {
        Self { bytes: utf8.as_bytes(), encoding: Encoding::Utf8, known: Some(utf8), ..self }
    }

    /// The bytes in the column's own character set.
    pub fn raw(&self) -> &'v [u8] {
        self.bytes
    }

    /// The value in UTF-8; borrowed where the bytes are UTF-8 already. Bytes that mean nothing in the character set are an
    /// error, never replaced.
    #[inline]
    pub fn as_utf8(&self) -> Result<Cow<'v, str>, ValueError> {
        match self.borrowed() {
            Ok(Some(text)) => Ok(Cow::Borrowed(text)),
            Ok(None) => {
                let mut out = String::with_capacity(self.bytes.len());
                self.encoding.decode(self.bytes, &mut out).map_err(|at| self.malformed(at))?;
                Ok(Cow::Owned(out))
            }
            Err(at) => Err(self.malformed(at)),
        }
    }

    /// The value in UTF-8 if its bytes are that already; `None` if they have to be decoded.
    #[inline]
    pub(super) fn borrowed_utf8(&self) -> Result<Option<&'v str>, ValueError> {
        self.borrowed().map_err(|at| self.malformed(at))
    }

    /// Appends the value in UTF-8. Allocates only what `out` needs to grow. `out` keeps its old content on an error.
    pub fn write_utf8(&self, out: &mut String) -> Result<(), ValueError> {
        match self.borrowed() {
            Ok(Some(text)) => {
                out.push_str(text);
                Ok(())
            }
            Ok(None) => {
                let before = out.len();
                self.encoding.decode(self.bytes, out).map_err(|at| {
                    out.truncate(before);
                    self.malformed(at)
                })
            }
            Err(at) => Err(self.malformed(at)),
        }
    }

    /// The bytes as they are, if they are the value's UTF-8; otherwise the offset of the first malformed byte, or `None` if they
    /// have to be decoded.
    #[inline]
    pub(super) fn borrowed(&self) -> Result<Option<&'v str>, usize> {
        if self.known.is_some() {
            return Ok(self.known);
        }
        if matches!(self.encoding, Encoding::Utf8) {
            return match std::str::from_utf8(self.bytes) {
                Ok(text) => Ok(Some(text)),
                Err(error) => Err(error.valid_up_to()),
            };
        }
        if self.encoding.extends_ascii() && self.bytes.is_ascii() {
            return Ok(std::str::from_utf8(self.bytes).ok());
        }
        Ok(None)
    }

    #[cold]
    pub(super) fn malformed(&self, at: usize) -> ValueError {
        ValueError::Text { column: self.column.to_owned(), charset: self.encoding.name(), at }
    }
}
