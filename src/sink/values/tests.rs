//! The rules, through a visitor that shows what reaches a target.

use super::*;
use crate::codec::row_image::{ImageWriter, Plain, PlainVisitor, RowBuilder, ValueError, WriteError};
use crate::model::{Charset, Column, ColumnDefault, ColumnType};
use crate::sink::testing::{key, schema};

/// Shows what a target gets.
#[derive(Default)]
struct Show(Vec<String>);

#[derive(Debug)]
struct Stop(ValueProblem);

impl From<ValueProblem> for Stop {
    fn from(problem: ValueProblem) -> Self {
        Self(problem)
    }
}

impl From<ValueError> for Stop {
    fn from(error: ValueError) -> Self {
        Self(error.into())
    }
}

impl PlainVisitor for Show {
    type Error = Stop;

    fn null(&mut self, _: usize) -> Result<(), Stop> {
        self.0.push("NULL".to_owned());
        Ok(())
    }

    fn int(&mut self, _: usize, value: i64) -> Result<(), Stop> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn uint(&mut self, _: usize, value: u64) -> Result<(), Stop> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn real(&mut self, _: usize, value: f64) -> Result<(), Stop> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn text(&mut self, _: usize, value: &[u8]) -> Result<(), Stop> {
        self.0.push(format!("'{}'", std::str::from_utf8(value).unwrap()));
        Ok(())
    }

    fn bytes(&mut self, _: usize, value: &[u8]) -> Result<(), Stop> {
        let digits: Vec<_> = value.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.push(format!("x'{}'", digits.concat()));
        Ok(())
    }
}

const POLICY: ValuePolicy = ValuePolicy::new(ZeroDates::Keep);
const KEY: Stand = Stand { is_key: true, takes_null: true };
const PLAIN: Stand = Stand { is_key: false, takes_null: true };
const FULL: Stand = Stand { is_key: false, takes_null: false };

/// What a target gets of one value, and what was replaced; or why the row cannot be written, with the hint.
fn written(
    ty: &ColumnType,
    stand: Stand,
    policy: ValuePolicy,
    write: impl FnOnce(&mut RowBuilder<'_>) -> Result<(), WriteError>,
) -> Result<(String, ReplacedValues), String> {
    let column = Column {
        name: "v".into(),
        ty: ty.clone(),
        nullable: true,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    let table = schema(vec![column], key(&[0]));
    let writer = ImageWriter::new(&table).unwrap();
    let mut image = Vec::new();
    let mut row = writer.row(&mut image);
    write(&mut row).unwrap();
    row.finish().unwrap();
    let rules = Rules::new(&table, policy, |_| stand);
    let (mut show, mut scratch) = (Show::default(), Scratch::default());
    let plain = Plain::new(&mut show, &mut scratch.printed);
    match rules.read(&Plan::all(&table).unwrap(), &image, plain, &mut scratch.text) {
        Ok((used, _, replaced)) => {
            assert_eq!(used, image.len());
            Ok((show.0.concat(), replaced))
        }
        Err(ReadError::Image(error)) => panic!("{error}"),
        Err(ReadError::Visitor(Stop(problem))) => {
            let failure = problem.causes(crate::error::Failure::row("not written"));
            assert!(failure.hint.is_some(), "{failure}");
            Err(failure.chain())
        }
    }
}

fn text(charset: &str, bytes: &[u8], stand: Stand, invalid_text: InvalidText) -> Result<(String, u64), String> {
    let ty = ColumnType::VarChar { max_bytes: 200, charset: Charset::new(charset) };
    let written = written(&ty, stand, ValuePolicy { invalid_text, ..POLICY }, |row| row.bytes(bytes));
    written.map(|(text, replaced)| (text, replaced.invalid_text))
}

#[test]
fn malformed_text_follows_its_policy_in_every_character_set() {
    for (charset, bytes, replaced, raw) in [
        ("utf8mb4", &b"a\xed\xa0\x80b"[..], "'a\u{fffd}b'", "x'61eda08062'"),
        ("utf8mb3", b"\xff\xfe", "'\u{fffd}\u{fffd}'", "x'fffe'"),
        ("ucs2", b"\xd8\x00\0a", "'\u{fffd}a'", "x'd8000061'"),
        ("ujis", b"\xa4\xa2\xa4", "'\u{3042}\u{fffd}'", "x'a4a2a4'"),
    ] {
        for stand in [PLAIN, FULL] {
            let with = |policy| text(charset, bytes, stand, policy);
            assert_eq!(with(InvalidText::Replace), Ok((replaced.to_owned(), 1)), "{charset}");
            assert_eq!(with(InvalidText::Bytes), Ok((raw.to_owned(), 1)), "{charset}");
            let error = with(InvalidText::Stop).unwrap_err();
            assert!(error.contains("\"v\" holds bytes that are not") && error.contains("`invalid_text`"), "{error}");
        }
    }
}

#[test]
fn a_code_that_the_server_shows_as_a_question_mark_is_one_under_every_policy() {
    for policy in [InvalidText::Stop, InvalidText::Replace, InvalidText::Bytes] {
        assert_eq!(text("ujis", b"\x8f\xa1\xa1a", PLAIN, policy), Ok(("'?a'".to_owned(), 1)));
        assert_eq!(text("cp1250", b"a\x81", PLAIN, policy), Ok(("'a?'".to_owned(), 1)));
        assert_eq!(text("tis620", b"\xdb", PLAIN, policy), Ok(("'\u{fffd}'".to_owned(), 1)));
        assert_eq!(text("latin1", b"\xe9?", PLAIN, policy), Ok(("'\u{e9}?'".to_owned(), 0)));
        let error = text("ujis", b"\x8f\xa1\xa1", KEY, policy).unwrap_err();
        assert!(error.contains("is part of the key and holds a value that is written as another value is"), "{error}");
    }
}

#[test]
fn text_of_a_key_is_never_that_of_another_key() {
    let in_key = |charset, bytes, policy| text(charset, bytes, KEY, policy);
    let shown = |text: &str| Ok((text.to_owned(), 0));
    assert_eq!(in_key("cp932", b"\x81\xca", InvalidText::Stop), shown("'\u{ffe2}'"));
    for (charset, twin) in [("cp932", &b"\xfa\x54"[..]), ("sjis", b"\x81\x5f"), ("armscii8", b"\xa4")] {
        assert!(
            in_key(charset, twin, InvalidText::Stop).unwrap_err().contains("written as another value"),
            "{charset}"
        );
        assert!(text(charset, twin, PLAIN, InvalidText::Stop).is_ok(), "{charset}");
    }
    assert!(in_key("utf8mb4", b"\xff", InvalidText::Stop).unwrap_err().contains("invalid_text"));
    assert!(in_key("utf8mb4", b"\xff", InvalidText::Replace).unwrap_err().contains("set `invalid_text: bytes`"));
    assert_eq!(in_key("utf8mb4", b"\xff", InvalidText::Bytes), Ok(("x'ff'".to_owned(), 1)));
    // Bytes of another set that are UTF-8 are the text of another key.
    assert!(in_key("utf16", b"a", InvalidText::Bytes).unwrap_err().contains("written as another value"));
}

#[test]
fn dates_that_name_no_day_follow_their_policy() {
    let dates = [
        (ColumnType::Date, "0000-00-00", "1970-01-01"),
        (ColumnType::Date, "2023-02-31", "1970-01-01"),
        (ColumnType::DateTime { fsp: 3 }, "2024-00-10 10:00:00.000", "1970-01-01 00:00:00.000"),
        (ColumnType::DateTime { fsp: 0 }, "0000-00-00 10:00:00", "1970-01-01 00:00:00"),
        (ColumnType::Timestamp { fsp: 2 }, "0000-00-00 00:00:00.00", "1970-01-01 00:00:00.00"),
    ];
    for (ty, value, epoch) in dates {
        let with = |stand, zero_dates| {
            let written =
                written(&ty, stand, ValuePolicy { zero_dates, ..POLICY }, |row| row.text_protocol(value.as_bytes()));
            written.map(|(text, replaced)| (text, replaced.zero_dates))
        };
        assert_eq!(with(FULL, ZeroDates::Keep), Ok((format!("'{value}'"), 0)));
        assert_eq!(with(PLAIN, ZeroDates::Null), Ok(("NULL".to_owned(), 1)));
        assert_eq!(with(FULL, ZeroDates::Epoch), Ok((format!("'{epoch}'"), 1)));
        for (refused, told) in [
            (with(FULL, ZeroDates::Null), "NULL does not stand in its column"),
            (with(KEY, ZeroDates::Null), "NULL does not stand in its column"),
            (with(PLAIN, ZeroDates::Stop), "holds a date that names no day (set `zero_dates`"),
        ] {
            let error = refused.unwrap_err();
            assert!(error.contains(told) && error.contains("\"v\""), "{error}");
        }
        let is_zero = value.bytes().all(|byte| !(b'1'..=b'9').contains(&byte));
        assert_eq!(with(KEY, ZeroDates::Epoch).is_ok(), is_zero, "{value}");
        assert_eq!(with(KEY, ZeroDates::Keep), Ok((format!("'{value}'"), 0)));
    }
    let in_key = |zero_dates| {
        written(&ColumnType::Date, KEY, ValuePolicy { zero_dates, ..POLICY }, |row| row.text_protocol(b"1970-01-01"))
    };
    assert!(in_key(ZeroDates::Epoch).unwrap_err().contains("would be one with the zero date"));
    assert!(in_key(ZeroDates::Keep).is_ok() && in_key(ZeroDates::Null).is_ok());
}

#[test]
fn labels_of_a_key_are_never_those_of_another_key() {
    let members = || vec!["a".to_owned(), String::new()];
    let refused = "written as another value";
    let ty = ColumnType::Enum { members: members() };
    assert!(written(&ty, KEY, POLICY, |row| row.enumeration(0)).unwrap_err().contains(refused));
    assert_eq!(written(&ty, KEY, POLICY, |row| row.enumeration(2)).unwrap().0, "''");
    assert_eq!(written(&ty, PLAIN, POLICY, |row| row.enumeration(0)).unwrap().0, "''");
    let ty = ColumnType::Enum { members: vec!["a".into()] };
    assert_eq!(written(&ty, KEY, POLICY, |row| row.enumeration(0)).unwrap().0, "''");
    let ty = ColumnType::Set { members: members() };
    assert!(written(&ty, KEY, POLICY, |row| row.set(0b10)).unwrap_err().contains(refused));
    assert_eq!(written(&ty, KEY, POLICY, |row| row.set(0)).unwrap().0, "''");
    assert_eq!(written(&ty, KEY, POLICY, |row| row.set(0b11)).unwrap().0, "'a,'");
}

#[test]
fn what_a_column_does_not_hold_is_null_or_text_where_both_can_stand_and_stops_elsewhere() {
    let table = schema(Vec::new(), None);
    let mut columns = table.clone();
    columns.columns.push(Column {
        name: "v".into(),
        ty: ColumnType::Double,
        nullable: true,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    });
    let of = |unconvertible, stand, takes_text| {
        let rules = Rules::new(&columns, ValuePolicy { unconvertible, ..POLICY }, |_| stand);
        rules.unconvertible(0, takes_text, "is wide", "set `unconvertible`").map_err(|problem| problem.to_string())
    };
    let refused = || Err("column \"v\" is wide".to_owned());
    assert_eq!(of(Unconvertible::Null, PLAIN, false), Ok(Instead::Null));
    assert_eq!(of(Unconvertible::Text, FULL, true), Ok(Instead::Text));
    assert_eq!(of(Unconvertible::Null, FULL, true), refused());
    assert_eq!(of(Unconvertible::Text, PLAIN, false), refused());
    for unconvertible in [Unconvertible::Stop, Unconvertible::Null, Unconvertible::Text] {
        assert_eq!(of(unconvertible, KEY, true), refused());
    }
    assert_eq!(of(Unconvertible::Stop, PLAIN, true), refused());
}
