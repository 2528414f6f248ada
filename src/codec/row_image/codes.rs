//! The codes of the multi-byte sets: which bytes are one, and which of them stand for the same character.

use std::sync::OnceLock;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, GB18030, GBK, SHIFT_JIS};

use super::charset::{Encoding, Multi, single};
use super::text::Text;

/// The first code of each character that a code of at most three bytes stands for, sorted by character.
pub(super) type FirstCodes = OnceLock<Box<[(char, u32)]>>;

impl Multi {
    /// Bytes of the code that begins `bytes`, as the servers cut text into codes, whether or not it has a character.
    /// `None`: they are no code.
    pub(super) fn code_len(&self, bytes: &[u8]) -> Option<usize> {
        let whatwg = self.whatwg;
        match *bytes {
            [0..=0x7f, ..] => Some(1),
            [0xa1..=0xdf, ..] if whatwg == SHIFT_JIS => Some(1),
            [0x81..=0x9f | 0xe0..=0xfc, 0x40..=0x7e | 0x80..=0xfc, ..] if whatwg == SHIFT_JIS => Some(2),
            [0xa1..=0xf9, 0x40..=0x7e | 0xa1..=0xfe, ..] if whatwg == BIG5 => Some(2),
            [0x8f, 0xa1..=0xfe, 0xa1..=0xfe, ..] if whatwg == EUC_JP => Some(3),
            [0x8e, 0xa1..=0xdf, ..] | [0xa1..=0xfe, 0xa1..=0xfe, ..] if whatwg == EUC_JP => Some(2),
            [0x81..=0xfe, 0x41..=0x5a | 0x61..=0x7a | 0x81..=0xfe, ..] if whatwg == EUC_KR => Some(2),
            [0xa1..=0xf7, 0xa1..=0xfe, ..] if self.name == "gb2312" => Some(2),
            [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]
                if (whatwg == GBK || whatwg == GB18030) && self.name != "gb2312" =>
            {
                Some(2)
            }
            [0x81..=0xfe, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39, ..] if whatwg == GB18030 => Some(4),
            _ => None,
        }
    }

    /// What the servers show for a code without a character.
    pub(super) fn substitute(&self, code: Option<&[u8]>) -> char {
        // These are codes of characters that Unicode has under another code of the set.
        let is_twin = matches!(code, Some([0xa1, 0x5a | 0xc3 | 0xc5 | 0xfe] | [0xa2, 0x40 | 0xcc | 0xce]));
        if self.whatwg == BIG5 && is_twin { '\u{fffd}' } else { '?' }
    }

    /// Whether each code of a text is the first one that stands for its character.
    fn has_first_codes(&self, mut bytes: &[u8], text: &str) -> bool {
        let firsts = self.firsts.get_or_init(|| self.first_codes());
        for character in text.chars() {
            let Some((code, rest)) = self.code_len(bytes).and_then(|len| bytes.split_at_checked(len)) else {
                return false;
            };
            let first = firsts.binary_search_by_key(&character, |(character, _)| *character).ok();
            let is_first = match first.and_then(|at| firsts.get(at)) {
                Some((_, first)) => *first == number(code),
                // Codes of four bytes follow from their character.
                None => code.len() == 4 && self.is_code_of(code, character),
            };
            if !is_first {
                return false;
            }
            bytes = rest;
        }
        bytes.is_empty()
    }

    fn is_code_of(&self, code: &[u8], character: char) -> bool {
        let mut bytes = [0; 16];
        let (_, _, written) = self.whatwg.new_encoder().encode_from_utf8_without_replacement(
            character.encode_utf8(&mut [0; 4]),
            &mut bytes,
            true,
        );
        bytes.get(..written) == Some(code)
    }

    fn first_codes(&self) -> Box<[(char, u32)]> {
        let mut codes = Vec::new();
        let mut text = String::new();
        let mut take = |code: &[u8]| {
            text.clear();
            if self.code_len(code) == Some(code.len()) && self.decode(code, &mut text).is_ok() {
                codes.extend(text.chars().map(|character| (character, number(code))));
            }
        };
        for first in 0..=u8::MAX {
            take(&[first]);
            for second in 0x40..=u8::MAX {
                take(&[first, second]);
            }
        }
        for second in 0xa1..=0xfe {
            for third in 0xa1..=0xfe {
                take(&[0x8f, second, third]);
            }
        }
        codes.sort_unstable();
        codes.dedup_by_key(|(character, _)| *character);
        codes.into()
    }
}

fn number(code: &[u8]) -> u32 {
    code.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

impl Text<'_> {
    /// Whether no other bytes are kept as `shown`, which is what this value is in UTF-8. Of the codes that stand for
    /// one character, the first one counts as the character's.
    pub fn is_only_form_of(&self, shown: &str) -> bool {
        match self.encoding {
            Encoding::Single(_, table) => self.bytes.iter().all(|byte| {
                let character = single(*byte, table);
                byte.is_ascii() || (0..*byte).all(|other| single(other, table) != character)
            }),
            Encoding::Multi(set) => self.bytes.is_ascii() || set.has_first_codes(self.bytes, shown),
            Encoding::Utf8
            | Encoding::Ascii
            | Encoding::Swe7
            | Encoding::Ucs2
            | Encoding::Utf16Be
            | Encoding::Utf16Le
            | Encoding::Utf32 => true,
        }
    }
}
