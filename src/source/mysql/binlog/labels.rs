//! Collation ids to character sets, as the server itself lists them, and ENUM and SET labels to text.

use std::collections::HashMap;

use encoding_rs::Encoding;

use crate::model::Charset;

/// Id of the collation `binary`: bytes, not text.
pub(super) const BINARY: u64 = 63;

/// Character sets by collation id.
#[derive(Clone, Debug, Default)]
pub struct Collations {
    charsets: HashMap<u64, Charset>,
}

impl Collations {
    /// From (collation id, character set name) pairs.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (u64, &'a str)>) -> Self {
        Self { charsets: pairs.into_iter().map(|(id, name)| (id, Charset::new(name))).collect() }
    }

    /// The character set of a collation.
    pub fn charset(&self, id: u64) -> Option<&Charset> {
        self.charsets.get(&id)
    }
}

/// Bytes of a character set as UTF-8; `None` when they are not text of it, or nobody here knows it.
pub(super) fn to_utf8(bytes: &[u8], charset: &str) -> Option<String> {
    let wide = |width: usize, unit: fn(&[u8]) -> Option<u32>| -> Option<Vec<u32>> {
        bytes.chunks(width).map(|chunk| if chunk.len() == width { unit(chunk) } else { None }).collect()
    };
    let big_endian = |chunk: &[u8]| Some(chunk.iter().fold(0, |unit, byte| (unit << 8) | u32::from(*byte)));
    let little_endian = |chunk: &[u8]| Some(chunk.iter().rev().fold(0, |unit, byte| (unit << 8) | u32::from(*byte)));
    let utf16 = |units: Vec<u32>| {
        let units: Option<Vec<u16>> = units.into_iter().map(|unit| u16::try_from(unit).ok()).collect();
        String::from_utf16(&units?).ok()
    };
    match charset {
        "utf8mb4" | "utf8mb3" => String::from_utf8(bytes.to_vec()).ok(),
        "ucs2" | "utf16" => utf16(wide(2, big_endian)?),
        "utf16le" => utf16(wide(2, little_endian)?),
        "utf32" => wide(4, big_endian)?.into_iter().map(char::from_u32).collect(),
        _ if bytes.is_ascii() && charset != "swe7" => String::from_utf8(bytes.to_vec()).ok(),
        _ => {
            let encoding = encoding(charset)?;
            encoding.decode_without_bom_handling_and_without_replacement(bytes).map(std::borrow::Cow::into_owned)
        }
    }
}

/// The encoding of a MySQL character set, where the web platform has the same one.
fn encoding(charset: &str) -> Option<&'static Encoding> {
    Some(match charset {
        // MySQL's latin1 is cp1252, with the five unassigned bytes as control characters.
        "latin1" => encoding_rs::WINDOWS_1252,
        "latin2" => encoding_rs::ISO_8859_2,
        "latin5" => encoding_rs::WINDOWS_1254,
        "latin7" => encoding_rs::ISO_8859_13,
        "greek" => encoding_rs::ISO_8859_7,
        "hebrew" => encoding_rs::ISO_8859_8,
        "cp1250" => encoding_rs::WINDOWS_1250,
        "cp1251" => encoding_rs::WINDOWS_1251,
        "cp1256" => encoding_rs::WINDOWS_1256,
        "cp1257" => encoding_rs::WINDOWS_1257,
        "cp866" => encoding_rs::IBM866,
        "koi8r" => encoding_rs::KOI8_R,
        "koi8u" => encoding_rs::KOI8_U,
        "macroman" => encoding_rs::MACINTOSH,
        "tis620" => encoding_rs::WINDOWS_874,
        "sjis" | "cp932" => encoding_rs::SHIFT_JIS,
        "ujis" | "eucjpms" => encoding_rs::EUC_JP,
        "euckr" => encoding_rs::EUC_KR,
        "gb2312" | "gbk" => encoding_rs::GBK,
        "gb18030" => encoding_rs::GB18030,
        "big5" => encoding_rs::BIG5,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_the_text_that_the_server_shows() {
        for (bytes, charset, text) in [
            (&b"caf\xe9 \x80"[..], "latin1", "caf\u{e9} \u{20ac}"),
            (b"\xc3\xa9", "utf8mb4", "\u{e9}"),
            (b"\x00a\x20\xac", "ucs2", "a\u{20ac}"),
            (b"\x00\x01\xf6\x00", "utf32", "\u{1f600}"),
            (b"\xef\xf0", "cp1251", "\u{43f}\u{440}"),
            (b"\x93\xfa\x96\x7b", "sjis", "\u{65e5}\u{672c}"),
            (b"plain", "dec8", "plain"),
        ] {
            assert_eq!(to_utf8(bytes, charset).as_deref(), Some(text), "{charset}");
        }
        for (bytes, charset) in
            [(&b"\xff"[..], "utf8mb4"), (b"\xe9", "dec8"), (b"abc", "ucs2"), (b"\xff\xff\xff\xff", "utf32")]
        {
            assert_eq!(to_utf8(bytes, charset), None, "{charset}");
        }
    }
}
