//! Text as the server shows it, where bytes of it are no character.
//!
//! Two things are told apart. A code of the character set may have no character: the server stores it in every mode and
//! shows a substitute for it. And bytes may be no code at all: they are malformed, and what becomes of them somebody
//! else decides.

use super::charset::Encoding;
use super::error::ValueError;
use super::text::Text;
use crate::model::Charset;

/// A text in UTF-8, and what of it is not what the source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'t> {
    /// Each code is a character.
    Whole(&'t str),
    /// Codes without a character are what the server shows for them.
    Substituted(&'t str),
    /// Malformed sequences are U+FFFD.
    Replaced(&'t str),
}

impl Text<'_> {
    /// The value as the server shows it: as it is in the image, or decoded into `room`, whose old content goes. Each
    /// malformed sequence is U+FFFD if it is to be replaced.
    ///
    /// # Errors
    /// Where a sequence is malformed and is not to be replaced.
    #[inline]
    pub fn shown<'r>(&'r self, room: &'r mut String, replace: bool) -> Result<Shown<'r>, ValueError> {
        match self.borrowed() {
            Ok(Some(text)) => Ok(Shown::Whole(text)),
            Ok(None) => {
                room.clear();
                match self.encoding.decode(self.bytes, room) {
                    Ok(()) => Ok(Shown::Whole(room)),
                    Err(_) => self.with_substitutes(room, replace),
                }
            }
            Err(_) => self.with_substitutes(room, replace),
        }
    }

    #[cold]
    fn with_substitutes<'r>(&self, room: &'r mut String, replace: bool) -> Result<Shown<'r>, ValueError> {
        room.clear();
        let mut malformed = None;
        self.encoding.decode_around(self.bytes, room, |encoding, at, rest| {
            if let Some(code) = encoding.vacant_code(rest) {
                return code;
            }
            malformed.get_or_insert(at);
            ('\u{fffd}', encoding.malformed_sequence(rest))
        });
        match malformed {
            None => Ok(Shown::Substituted(room)),
            Some(_) if replace => Ok(Shown::Replaced(room)),
            Some(at) => Err(self.malformed(at)),
        }
    }
}

/// Text of the server's own (labels of `ENUM` and `SET`, statements) as UTF-8, as the server shows it: what is not text
/// of its character set is a question mark. `None`: nobody here knows the character set.
///
/// Text that is `binary` is shown as UTF-8.
pub fn shown_text(bytes: &[u8], charset: &Charset) -> Option<String> {
    let encoding = if charset.as_str() == "binary" { Encoding::Utf8 } else { Encoding::of(charset)? };
    let mut text = String::with_capacity(bytes.len());
    encoding.decode_around(bytes, &mut text, |encoding, _, rest| ('?', encoding.malformed_len(rest)));
    Some(text)
}

impl Encoding {
    /// Appends what is text of `bytes`. Where something is none, `gap` is given its offset and the bytes from there on,
    /// and says what stands for it and how many bytes it has.
    fn decode_around(self, bytes: &[u8], out: &mut String, mut gap: impl FnMut(Self, usize, &[u8]) -> (char, usize)) {
        let mut rest = bytes;
        while let Some(at) = self.decode_whole(rest, out) {
            rest = rest.get(at..).unwrap_or_default();
            let (substitute, len) = gap(self, bytes.len() - rest.len(), rest);
            out.push(substitute);
            rest = rest.get(len.max(1)..).unwrap_or_default();
        }
    }

    /// Appends what is text at the start of `bytes`, and says where it ends, if that is before their end.
    fn decode_whole(self, bytes: &[u8], out: &mut String) -> Option<usize> {
        let before = out.len();
        let at = self.decode(bytes, out).err()?;
        out.truncate(before);
        // Less than what has just been read to there.
        let text = bytes.get(..at).unwrap_or_default();
        if self.decode(text, out).is_err() {
            out.truncate(before);
        }
        Some(at)
    }

    /// What the server shows for the code at the start of `bytes`, which has no character, and the bytes of it; `None`
    /// where they are no code.
    fn vacant_code(self, bytes: &[u8]) -> Option<(char, usize)> {
        match self {
            // Every byte is a code of a set of single bytes.
            Self::Single("tis620", _) => Some(('\u{fffd}', 1)),
            Self::Ascii | Self::Single(..) | Self::Swe7 => Some(('?', 1)),
            Self::Multi(set) => set.code_len(bytes).map(|len| (set.substitute(bytes.get(..len)), len)),
            // A surrogate alone is shown as what is no UTF-8 either, or is refused.
            Self::Utf8 | Self::Ucs2 | Self::Utf16Be | Self::Utf16Le | Self::Utf32 => None,
        }
    }

    /// Bytes of the malformed sequence at the start of `bytes`.
    fn malformed_sequence(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            // One character at a server that stores surrogates.
            (Self::Utf8, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]) => 3,
            (Self::Utf8, _) => {
                let error = std::str::from_utf8(bytes).err();
                error.and_then(|error| error.error_len()).unwrap_or(bytes.len())
            }
            (Self::Multi(_), _) => 1,
            _ => self.malformed_len(bytes),
        }
    }

    /// Bytes that stand for one question mark where `bytes` begin with what is no character; at least one.
    fn malformed_len(self, bytes: &[u8]) -> usize {
        match self {
            Self::Utf8 | Self::Ascii | Self::Single(..) | Self::Swe7 => 1,
            Self::Multi(set) => {
                let len = bytes.first().map_or(1, |lead| set.character_len(*lead, bytes.get(1).copied()));
                if len <= bytes.len() { len } else { 1 }
            }
            Self::Ucs2 | Self::Utf16Be | Self::Utf16Le => 2,
            Self::Utf32 => 4,
        }
    }
}
