//! Character sets against a real server's conversions.

use super::super::charset::Encoding;
use super::super::shown_text;
use super::super::{ImageWriter, Plan, PlanError, ReadError, ValueError};
use super::*;

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
