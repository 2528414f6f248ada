//! Character sets against a real server's conversions.

use std::collections::BTreeMap;

use super::super::charset::Encoding;
use super::super::{ImageWriter, Plan, PlanError, ReadError, ValueError};
use super::super::{Shown, Text, shown_text};
use super::*;

/// What the servers show for codes without a character.
const SUBSTITUTES: &str = include_str!("../golden/charsets_substitutes.txt");

const MYSQL: &str = include_str!("../golden/charsets_mysql_9_7.txt");

fn decode(charset: &str, bytes: &[u8]) -> Result<String, ReadError<ValueError>> {
    let plan = Plan::all(&table(vec![varchar(u16::MAX, charset)])).unwrap();
    let mut cell = u16::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
    cell.extend_from_slice(bytes);
    let mut collect = Collect::default();
    plan.cell(0, &cell, &mut collect)?;
    match collect.values.as_slice() {
        [(0, Value::Text(text, _))] => Ok(text.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_character_set_converts_as_the_server_does() {
    let mut seen = 0;
    for line in MYSQL.lines().filter(|line| !line.starts_with('#')) {
        let [charset, bytes, text] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let text = String::from_utf8(hex(text)).unwrap();
        assert_eq!(decode(charset, &hex(bytes)).unwrap(), text, "{charset}");
        assert_eq!(shown_text(&hex(bytes), &Charset::new(charset)).unwrap(), text, "{charset}");
        seen += 1;
    }
    assert_eq!(seen, 38);
}

#[test]
fn text_encodes_back_to_a_code_of_the_same_character() {
    for line in MYSQL.lines().filter(|line| !line.starts_with('#')) {
        let (charset, rest) = line.split_once('\t').unwrap();
        let text = String::from_utf8(hex(rest.split_once('\t').unwrap().1)).unwrap();
        let encoding = Encoding::of(&Charset::new(charset)).unwrap();
        for character in text.chars() {
            let character = character.to_string();
            // Some characters of the wider sets have a code that only the decoder knows; those are refused, never changed.
            if let Some(bytes) = encoding.encode(&character) {
                assert_eq!(decode(charset, &bytes).unwrap(), character, "{charset}");
            } else {
                assert!(matches!(encoding, Encoding::Multi(_)), "{charset} {character}");
            }
        }
    }
}

#[test]
fn malformed_bytes_are_an_error_with_the_column_and_never_replaced() {
    let malformed: [(&str, &[u8], usize); 12] = [
        ("utf8mb4", b"ab\xff", 2),
        ("utf8mb3", b"\xed\xa0\x80", 0),
        ("ascii", b"a\x80", 1),
        ("swe7", b"a\x80", 1),
        ("cp1250", b"a\x81", 1),
        ("sjis", b"ab\x81", 2),
        ("ujis", b"\xa4\xa2\xa4", 2),
        ("big5", b"a\xa1\x5a", 1),
        ("gb18030", b"\x81\x30\x81", 0),
        ("ucs2", b"\0a\xd8\x00", 2),
        ("utf16", b"\0a\0", 2),
        ("utf32", b"\0\0\0a\0\x11\0\0", 4),
    ];
    for (charset, bytes, expected) in malformed {
        match decode(charset, bytes) {
            Err(ReadError::Visitor(ValueError::Text { column, at, .. })) => {
                assert_eq!((column.as_str(), at), ("c0", expected), "{charset}");
            }
            other => panic!("{charset}: {other:?}"),
        }
    }
}

#[test]
fn text_of_the_servers_own_has_question_marks_for_what_is_no_text() {
    let shown: [(&str, &[u8], &str); 12] = [
        ("binary", b"caf\xc3\xa9 \xe9\xe8", "caf\u{e9} ??"),
        ("utf8mb4", b"ab\xffc", "ab?c"),
        ("ascii", b"a\x80b", "a?b"),
        ("swe7", b"a\x80@", "a?\u{c9}"),
        ("cp1251", b"\xef\x98\xf0", "\u{43f}?\u{440}"),
        ("sjis", b"\x93\xfa\x81", "\u{65e5}?"),
        ("ujis", b"\xa4\xa2\xa4", "\u{3042}?"),
        ("ucs2", b"\0a\xd8\x00\0b", "a?b"),
        ("ucs2", b"\0a\0", "a?"),
        ("utf32", b"\0\0\0a\0\x11\0\0", "a?"),
        ("latin1", b"caf\xe9 \x80", "caf\u{e9} \u{20ac}"),
        ("cp850", b"\x82", "\u{e9}"),
    ];
    for (charset, bytes, text) in shown {
        assert_eq!(shown_text(bytes, &Charset::new(charset)).as_deref(), Some(text), "{charset}");
    }
    assert_eq!(shown_text(b"x", &Charset::new("klingon")), None);
}

#[test]
fn an_unknown_character_set_is_refused_with_its_column() {
    let schema = table(vec![int(IntWidth::W1), varchar(10, "klingon")]);
    let refused = PlanError::Charset { column: "c1".to_owned(), charset: "klingon".to_owned() };
    assert_eq!(Plan::all(&schema).unwrap_err(), refused);
    assert_eq!(ImageWriter::new(&schema).unwrap_err(), refused);
    // A column that is not read may have any.
    let plan = Plan::compile(&schema, &[true, false]).unwrap();
    assert_eq!(read_all(&plan, b"\0\x07\x01x"), [Value::Int(7)]);
}

/// What a text is shown as; `None` where it is malformed.
fn shown(charset: &str, bytes: &[u8]) -> Option<String> {
    let encoding = Encoding::of(&Charset::new(charset)).unwrap();
    match Text::new(bytes, encoding, "c").shown(&mut String::new(), false) {
        Ok(Shown::Whole(text) | Shown::Substituted(text)) => Some(text.to_owned()),
        Ok(Shown::Replaced(_)) | Err(_) => None,
    }
}

#[test]
fn a_code_without_a_character_is_what_the_servers_show_for_it() {
    let mut codes: Vec<Vec<u8>> = (0x80..=0xff).map(|byte| vec![byte]).collect();
    codes.extend((0x81..=0xfe).flat_map(|lead| (0x40..=0xfe).map(move |trail| vec![lead, trail])));
    let kanji = (0xa1..=0xfe).flat_map(|lead| (0xa1..=0xfe).map(move |trail| vec![0x8f, lead, trail]));
    let longer: Vec<Vec<u8>> = codes.iter().cloned().chain(kanji).collect();
    let number = |code: &[u8]| code.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    for line in SUBSTITUTES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let (charset, stored) = (fields[0], fields[1].parse::<usize>().unwrap());
        let mut expected = BTreeMap::new();
        for pair in fields[2..].chunks(2) {
            let text = String::from_utf8(hex(pair[0])).unwrap();
            for range in pair[1].split(',') {
                let number = |text| u32::from_str_radix(text, 16).unwrap();
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                expected.extend((number(from)..=number(to)).map(|code| (code, text.clone())));
            }
        }
        let is_one = |code: &&Vec<u8>| match Encoding::of(&Charset::new(charset)).unwrap() {
            Encoding::Multi(set) => set.code_len(code) == Some(code.len()),
            _ => code.len() == 1,
        };
        let codes = if charset.starts_with('u') || charset == "eucjpms" { &longer } else { &codes };
        let shown: Vec<_> =
            codes.iter().filter(is_one).map(|code| (number(code), shown(charset, code).unwrap())).collect();
        assert_eq!(shown.len(), stored, "{charset}");
        let substitutes = shown.into_iter().filter(|(_, text)| matches!(text.as_str(), "?" | "\u{fffd}"));
        assert_eq!(substitutes.collect::<BTreeMap<_, _>>(), expected, "{charset}");
    }
}

#[test]
fn of_two_codes_of_one_character_the_first_is_the_only_one() {
    let is_only = |charset: &str, bytes: &[u8]| {
        let text = Text::new(bytes, Encoding::of(&Charset::new(charset)).unwrap(), "c");
        text.is_only_form_of(&text.as_utf8().unwrap())
    };
    for (charset, bytes, expected) in [
        ("sjis", &b"\\"[..], true),
        ("sjis", b"a\x81\x5f", false),
        ("cp932", b"\x81\xca", true),
        ("cp932", b"\xee\xf9", false),
        ("cp932", b"\xfa\x54", false),
        ("gbk", b"\xc4\xe3\xba\xc3", true),
        ("ujis", b"\x8f\xb0\xa1a", true),
        ("gb18030", b"\x81\x30\x81\x30", true),
        ("armscii8", b"\xa4", false),
        ("armscii8", b")", true),
        ("latin1", b"caf\xe9", true),
        ("utf8mb4", "\u{e9}".as_bytes(), true),
        ("utf16", b"\xd8\x3d\xde\x00", true),
    ] {
        assert_eq!(is_only(charset, bytes), expected, "{charset} {bytes:x?}");
    }
}

#[test]
fn malformed_text_is_an_error_or_has_a_replacement_for_each_sequence() {
    for (charset, bytes, at, text) in [
        ("utf8mb4", &b"a\xed\xa0\x80b"[..], 1, "a\u{fffd}b"),
        ("utf8mb4", b"\xe6\x97a\xff", 0, "\u{fffd}a\u{fffd}"),
        ("utf8mb3", b"ab\xe6\x97", 2, "ab\u{fffd}"),
        ("ucs2", b"\xd8\x00\0a\0", 0, "\u{fffd}a\u{fffd}"),
        ("utf16", b"\0a\xdc\x00", 2, "a\u{fffd}"),
        ("utf32", b"\0\0\xd8\x00\0\0\0a", 0, "\u{fffd}a"),
        ("ujis", b"\x8f\xa1\xa1\xa4", 3, "?\u{fffd}"),
        ("cp932", b"\xfda", 0, "\u{fffd}a"),
    ] {
        let value = Text::new(bytes, Encoding::of(&Charset::new(charset)).unwrap(), "c");
        let mut room = "left over".to_owned();
        assert_eq!(value.shown(&mut room, true), Ok(Shown::Replaced(text)), "{charset}");
        match value.shown(&mut room, false) {
            Err(ValueError::Text { at: found, .. }) => assert_eq!(found, at, "{charset}"),
            other => panic!("{charset}: {other:?}"),
        }
    }
}
