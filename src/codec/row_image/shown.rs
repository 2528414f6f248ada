//! Text that the server itself keeps in some character set, as it shows it.

use super::charset::Encoding;
use crate::model::Charset;

/// Text of the server's own (labels of `ENUM` and `SET`, statements) as UTF-8, as the server shows it: what is not text of its
/// character set is a question mark. `None`: nobody here knows the character set.
///
/// Text that is `binary` is shown as UTF-8.
pub fn shown_text(bytes: &[u8], charset: &Charset) -> Option<String> {
    let encoding = if charset.as_str() == "binary" { Encoding::Utf8 } else { Encoding::of(charset)? };
    let (mut text, mut rest) = (String::with_capacity(bytes.len()), bytes);
    while let Some(at) = encoding.decode_whole(rest, &mut text) {
        text.push('?');
        rest = rest.get(at..).unwrap_or_default();
        rest = rest.get(encoding.malformed_len(rest)..).unwrap_or_default();
    }
    Some(text)
}

impl Encoding {
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
