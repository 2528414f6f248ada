//! MySQL's character sets: which ones are read, and how each turns into UTF-8 and back.
//!
//! Bytes convert as the servers convert them. Single-byte sets go through tables taken from a server. Multi-byte sets go
//! through the WHATWG decoders of `encoding_rs`, except for the codes that the servers convert differently
//! (`sjis` has the wave dash where Windows has the full-width tilde, and so on) or have no character for, which stand in lists of
//! their own; and the user-defined rows of the two `EUC-JP` sets, which the servers map to the private use area. Some of the WHATWG
//! decoders read bytes that are no code at all at the servers, which never store those.

use encoding_rs::{BIG5, DecoderResult, EUC_JP, EUC_KR, EncoderResult, GB18030, GBK, SHIFT_JIS};

use crate::model::Charset;

use super::charset_tables as tables;
use super::codes::FirstCodes;

/// How the bytes of a character column become UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    /// `utf8mb4`, `utf8mb3`.
    Utf8,
    Ascii,
    /// ASCII below 0x80, a table above.
    Single(&'static str, &'static [u16; 128]),
    /// Seven bits, ten of ASCII's characters replaced.
    Swe7,
    Multi(&'static Multi),
    /// Two bytes a character, big-endian; no surrogates.
    Ucs2,
    Utf16Be,
    Utf16Le,
    /// Four bytes a character, big-endian.
    Utf32,
}

/// A multi-byte set that extends ASCII.
#[derive(Debug)]
pub(super) struct Multi {
    pub(super) name: &'static str,
    pub(super) whatwg: &'static encoding_rs::Encoding,
    /// Codes that the servers convert otherwise, sorted.
    changes: &'static [(u32, u16)],
    /// Codes that have no character, as ranges, sorted; those that the decoder has none for may be missing.
    vacant: &'static [(u32, u32)],
    /// Rows 0xf5 to 0xfe of both planes are the private use area.
    euc_user_rows: bool,
    pub(super) firsts: FirstCodes,
}

static BIG5_SET: Multi = multi("big5", BIG5, &tables::BIG5_CHANGES, &tables::BIG5_VACANT);
static CP932_SET: Multi = multi("cp932", SHIFT_JIS, &[], &[]);
static EUCKR_SET: Multi = multi("euckr", EUC_KR, &[], &[]);
static GB18030_SET: Multi = multi("gb18030", GB18030, &tables::GB18030_CHANGES, &[]);
static GB2312_SET: Multi = multi("gb2312", GBK, &tables::GB2312_CHANGES, &tables::GB2312_VACANT);
static GBK_SET: Multi = multi("gbk", GBK, &[], &tables::GBK_VACANT);
static SJIS_SET: Multi = multi("sjis", SHIFT_JIS, &tables::SJIS_CHANGES, &tables::SJIS_VACANT);
static EUCJPMS_SET: Multi = multi("eucjpms", EUC_JP, &tables::EUCJPMS_CHANGES, &[]);
static UJIS_SET: Multi = multi("ujis", EUC_JP, &tables::UJIS_CHANGES, &tables::UJIS_VACANT);

const fn multi(
    name: &'static str,
    whatwg: &'static encoding_rs::Encoding,
    changes: &'static [(u32, u16)],
    vacant: &'static [(u32, u32)],
) -> Multi {
    // Of the sets here, those with rows of the user's own are the ones whose names are of EUC-JP.
    let euc_user_rows = matches!(name.as_bytes(), b"eucjpms" | b"ujis");
    Multi { name, whatwg, changes, vacant, euc_user_rows, firsts: FirstCodes::new() }
}

/// What `swe7` has in place of ASCII's character. Its 0x7f stands for nothing.
const SWE7: [(u8, char); 10] = [
    (0x40, '\u{c9}'),
    (0x5b, '\u{c4}'),
    (0x5c, '\u{d6}'),
    (0x5d, '\u{c5}'),
    (0x5e, '\u{dc}'),
    (0x60, '\u{e9}'),
    (0x7b, '\u{e4}'),
    (0x7c, '\u{f6}'),
    (0x7d, '\u{e5}'),
    (0x7e, '\u{fc}'),
];

impl Encoding {
    /// The encoding of a character set; `None` for `binary` and for names that are not known.
    pub(super) fn of(charset: &Charset) -> Option<Self> {
        let single = |name, table| Self::Single(name, table);
        Some(match charset.as_str() {
            "utf8mb4" | "utf8mb3" => Self::Utf8,
            "ascii" => Self::Ascii,
            "swe7" => Self::Swe7,
            "ucs2" => Self::Ucs2,
            "utf16" => Self::Utf16Be,
            "utf16le" => Self::Utf16Le,
            "utf32" => Self::Utf32,
            "big5" => Self::Multi(&BIG5_SET),
            "cp932" => Self::Multi(&CP932_SET),
            "eucjpms" => Self::Multi(&EUCJPMS_SET),
            "euckr" => Self::Multi(&EUCKR_SET),
            "gb18030" => Self::Multi(&GB18030_SET),
            "gb2312" => Self::Multi(&GB2312_SET),
            "gbk" => Self::Multi(&GBK_SET),
            "sjis" => Self::Multi(&SJIS_SET),
            "ujis" => Self::Multi(&UJIS_SET),
            "armscii8" => single("armscii8", &tables::ARMSCII8),
            "cp1250" => single("cp1250", &tables::CP1250),
            "cp1251" => single("cp1251", &tables::CP1251),
            "cp1256" => single("cp1256", &tables::CP1256),
            "cp1257" => single("cp1257", &tables::CP1257),
            "cp850" => single("cp850", &tables::CP850),
            "cp852" => single("cp852", &tables::CP852),
            "cp866" => single("cp866", &tables::CP866),
            "dec8" => single("dec8", &tables::DEC8),
            "geostd8" => single("geostd8", &tables::GEOSTD8),
            "greek" => single("greek", &tables::GREEK),
            "hebrew" => single("hebrew", &tables::HEBREW),
            "hp8" => single("hp8", &tables::HP8),
            "keybcs2" => single("keybcs2", &tables::KEYBCS2),
            "koi8r" => single("koi8r", &tables::KOI8R),
            "koi8u" => single("koi8u", &tables::KOI8U),
            "latin1" => single("latin1", &tables::LATIN1),
            "latin2" => single("latin2", &tables::LATIN2),
            "latin5" => single("latin5", &tables::LATIN5),
            "latin7" => single("latin7", &tables::LATIN7),
            "macce" => single("macce", &tables::MACCE),
            "macroman" => single("macroman", &tables::MACROMAN),
            "tis620" => single("tis620", &tables::TIS620),
            _ => return None,
        })
    }

    /// The name for an error message.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Ascii => "ascii",
            Self::Single(name, _) => name,
            Self::Swe7 => "swe7",
            Self::Multi(set) => set.name,
            Self::Ucs2 => "ucs2",
            Self::Utf16Be => "utf16",
            Self::Utf16Le => "utf16le",
            Self::Utf32 => "utf32",
        }
    }

    /// Whether bytes below 0x80 that follow one another are those characters of ASCII.
    pub(super) fn extends_ascii(self) -> bool {
        match self {
            Self::Utf8 | Self::Ascii | Self::Single(..) | Self::Multi(_) => true,
            Self::Swe7 | Self::Ucs2 | Self::Utf16Be | Self::Utf16Le | Self::Utf32 => false,
        }
    }

    /// A space as the set has it: what `CHAR` is padded with.
    pub(super) fn space(self) -> &'static [u8] {
        match self {
            Self::Utf8 | Self::Ascii | Self::Single(..) | Self::Swe7 | Self::Multi(_) => b" ",
            Self::Ucs2 | Self::Utf16Be => b"\0 ",
            Self::Utf16Le => b" \0",
            Self::Utf32 => b"\0\0\0 ",
        }
    }

    /// Appends the bytes as UTF-8, or returns the offset of the first that mean nothing, with `out` in part written.
    pub(super) fn decode(self, bytes: &[u8], out: &mut String) -> Result<(), usize> {
        match self {
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => out.push_str(text),
                Err(error) => return Err(error.valid_up_to()),
            },
            Self::Ascii => {
                for (at, byte) in bytes.iter().enumerate() {
                    out.push(ascii(*byte).ok_or(at)?);
                }
            }
            Self::Single(_, table) => {
                for (at, byte) in bytes.iter().enumerate() {
                    out.push(single(*byte, table).ok_or(at)?);
                }
            }
            Self::Swe7 => {
                for (at, byte) in bytes.iter().enumerate() {
                    out.push(swe7(*byte).ok_or(at)?);
                }
            }
            Self::Multi(set) => return set.decode(bytes, out),
            Self::Ucs2 => {
                for (index, unit) in bytes.chunks(2).enumerate() {
                    let unit = <[u8; 2]>::try_from(unit).map(u16::from_be_bytes).ok();
                    let character = unit.and_then(|unit| char::from_u32(unit.into()));
                    out.push(character.ok_or(index * 2)?);
                }
            }
            Self::Utf16Be => return utf16(bytes, u16::from_be_bytes, out),
            Self::Utf16Le => return utf16(bytes, u16::from_le_bytes, out),
            Self::Utf32 => {
                for (index, unit) in bytes.chunks(4).enumerate() {
                    let unit = <[u8; 4]>::try_from(unit).map(u32::from_be_bytes).ok();
                    out.push(unit.and_then(char::from_u32).ok_or(index * 4)?);
                }
            }
        }
        Ok(())
    }

    /// The bytes of a text in this set; `None` if a character is not in it.
    pub(super) fn encode(self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            let code = u32::from(character);
            match self {
                Self::Utf8 => {
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Self::Ascii => bytes.push(u8::try_from(code).ok().filter(u8::is_ascii)?),
                Self::Single(_, table) => {
                    bytes.push((0..=u8::MAX).find(|byte| single(*byte, table) == Some(character))?);
                }
                Self::Swe7 => {
                    bytes.push((0..=u8::MAX).find(|byte| swe7(*byte) == Some(character))?);
                }
                Self::Multi(set) => set.encode(character, &mut bytes)?,
                Self::Ucs2 => bytes.extend_from_slice(&u16::try_from(code).ok()?.to_be_bytes()),
                Self::Utf16Be => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        bytes.extend_from_slice(&unit.to_be_bytes());
                    }
                }
                Self::Utf16Le => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        bytes.extend_from_slice(&unit.to_le_bytes());
                    }
                }
                Self::Utf32 => bytes.extend_from_slice(&code.to_be_bytes()),
            }
        }
        Some(bytes)
    }
}

/// Whether the decoder may see a code.
enum Special {
    /// It may.
    No,
    /// It must not: this is the character.
    Character(char),
    /// It must not: the code stands for nothing.
    Nothing,
}

impl Special {
    fn of(code: u32) -> Self {
        match char::from_u32(code) {
            None | Some('\0') => Self::Nothing,
            Some(character) => Self::Character(character),
        }
    }
}

impl Multi {
    pub(super) fn decode(&self, bytes: &[u8], out: &mut String) -> Result<(), usize> {
        // Stretches without a special code go through the decoder whole: most texts are one stretch.
        let mut stretch = 0;
        let mut at = 0;
        if !self.changes.is_empty() || !self.vacant.is_empty() {
            while let Some(lead) = bytes.get(at) {
                let len = self.character_len(*lead, bytes.get(at + 1).copied());
                let code = bytes.get(at..at + len).filter(|code| code.len() > 1);
                match code.map(|code| self.special(code)) {
                    None | Some(Special::No) => {}
                    Some(Special::Character(character)) => {
                        self.decode_stretch(bytes, stretch, at, out)?;
                        out.push(character);
                        stretch = at + len;
                    }
                    Some(Special::Nothing) => return Err(at),
                }
                at += len;
            }
        }
        self.decode_stretch(bytes, stretch, bytes.len(), out)
    }

    /// Bytes of the character that begins with `lead`. Only has to be right for well-formed text: the decoder finds the rest.
    pub(super) fn character_len(&self, lead: u8, second: Option<u8>) -> usize {
        let kana = self.whatwg == SHIFT_JIS && (0xa0..=0xdf).contains(&lead);
        if lead < 0x80 || kana {
            1
        } else if self.whatwg == EUC_JP && lead == 0x8f {
            3
        } else if self.whatwg == GB18030 && second.is_some_and(|byte| byte.is_ascii_digit()) {
            4
        } else {
            2
        }
    }

    fn special(&self, code: &[u8]) -> Special {
        let user_area = match code {
            [0x8f, row, cell] => Some((0xe3ac, *row, *cell)),
            [row, cell] => Some((0xe000, *row, *cell)),
            _ => None,
        };
        if self.euc_user_rows
            && let Some((first, row @ 0xf5..=0xfe, cell @ 0xa1..=0xfe)) = user_area
        {
            let offset = u32::from(row - 0xf5) * 94 + u32::from(cell - 0xa1);
            return Special::of(first + offset);
        }
        if code.len() > 3 {
            return Special::No;
        }
        let code = code.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
        let change = self.changes.binary_search_by_key(&code, |(code, _)| *code);
        match change.ok().and_then(|index| self.changes.get(index)) {
            Some((_, character)) => Special::of(u32::from(*character)),
            None => {
                let after = self.vacant.partition_point(|(from, _)| *from <= code);
                let range = after.checked_sub(1).and_then(|at| self.vacant.get(at));
                if range.is_some_and(|(_, to)| code <= *to) { Special::Nothing } else { Special::No }
            }
        }
    }

    /// Decodes `bytes[from..to]`, which begin and end between characters if the text is well-formed.
    fn decode_stretch(&self, bytes: &[u8], from: usize, to: usize, out: &mut String) -> Result<(), usize> {
        let stretch = bytes.get(from..to).unwrap_or_default();
        if stretch.is_empty() {
            return Ok(());
        }
        let mut decoder = self.whatwg.new_decoder_without_bom_handling();
        let room = decoder.max_utf8_buffer_length_without_replacement(stretch.len()).ok_or(from)?;
        out.reserve(room);
        match decoder.decode_to_string_without_replacement(stretch, out, true) {
            (DecoderResult::InputEmpty, _) => Ok(()),
            (DecoderResult::Malformed(len, behind), read) => {
                Err(from + read.saturating_sub(usize::from(len) + usize::from(behind)))
            }
            // The room asked for is enough for any text of that length.
            (DecoderResult::OutputFull, read) => Err(from + read),
        }
    }

    fn encode(&self, character: char, out: &mut Vec<u8>) -> Option<()> {
        if character.is_ascii() {
            out.push(u8::try_from(u32::from(character)).ok()?);
            return Some(());
        }
        let start = out.len();
        self.encode_code(character, out)?;
        // The decoder has the last word: a code that would come back as another character is not this character's code.
        let mut back = String::new();
        self.decode(out.get(start..)?, &mut back).ok()?;
        (back.chars().eq([character])).then_some(())
    }

    fn encode_code(&self, character: char, out: &mut Vec<u8>) -> Option<()> {
        let code = u32::from(character);
        if self.euc_user_rows && (0xe000..0xe000 + 1880).contains(&code) {
            let place = code - 0xe000;
            if place >= 940 {
                out.push(0x8f);
            }
            out.push(u8::try_from(0xf5 + place % 940 / 94).ok()?);
            out.push(u8::try_from(0xa1 + place % 94).ok()?);
            return Some(());
        }
        let changed = self.changes.iter().find(|(_, to)| u32::from(*to) == code).map(|(from, _)| *from);
        if let Some(changed) = changed {
            out.extend(changed.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
            return Some(());
        }
        let mut bytes = [0; 16];
        let (result, _, written) = self.whatwg.new_encoder().encode_from_utf8_without_replacement(
            character.encode_utf8(&mut [0; 4]),
            &mut bytes,
            true,
        );
        if result != EncoderResult::InputEmpty {
            return None;
        }
        out.extend_from_slice(bytes.get(..written)?);
        Some(())
    }
}

fn ascii(byte: u8) -> Option<char> {
    byte.is_ascii().then_some(char::from(byte))
}

pub(super) fn single(byte: u8, table: &[u16; 128]) -> Option<char> {
    match byte.checked_sub(0x80) {
        None => Some(char::from(byte)),
        Some(high) => {
            table.get(usize::from(high)).filter(|code| **code != 0).and_then(|code| char::from_u32(u32::from(*code)))
        }
    }
}

fn swe7(byte: u8) -> Option<char> {
    match SWE7.iter().find(|(code, _)| *code == byte) {
        Some((_, character)) => Some(*character),
        None => ascii(byte).filter(|character| *character != '\u{7f}'),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, out: &mut String) -> Result<(), usize> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut at = 0;
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| at)?;
        at += 2 * character.len_utf16();
        out.push(character);
    }
    if odd.is_empty() { Ok(()) } else { Err(at) }
}
