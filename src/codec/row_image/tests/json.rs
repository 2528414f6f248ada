//! Binary JSON: documents of a real server, documents built by hand from the format, and hostile ones.

use super::super::{ImageError, Plan, ReadError, ValueError};
use super::*;

const MYSQL: &str = include_str!("../golden/json_mysql_9_7.txt");

fn print(document: &[u8]) -> Result<String, ReadError<ValueError>> {
    let plan = Plan::all(&table(vec![ColumnType::Json])).unwrap();
    let mut cell = u32::try_from(document.len()).unwrap().to_le_bytes().to_vec();
    cell.extend_from_slice(document);
    let mut collect = Collect::default();
    plan.cell(0, &cell, &mut collect)?;
    match collect.values.as_slice() {
        [(0, Value::Json(text))] => Ok(text.clone()),
        other => panic!("{other:?}"),
    }
}

fn problem(document: &[u8]) -> &'static str {
    match print(document) {
        Err(ReadError::Visitor(ValueError::Json { column, problem, at })) => {
            assert_eq!(column, "c0");
            assert!(at <= document.len());
            problem
        }
        other => panic!("{other:?}"),
    }
}

/// An array of the large form around one value that does not stand in its entry.
fn nested(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut array = Vec::new();
    array.extend_from_slice(&1_u32.to_le_bytes());
    array.extend_from_slice(&u32::try_from(13 + value.len()).unwrap().to_le_bytes());
    array.push(kind);
    array.extend_from_slice(&13_u32.to_le_bytes());
    array.extend_from_slice(value);
    array
}

#[test]
fn documents_of_a_server_print_as_it_prints_them() {
    let mut seen = 0;
    for line in MYSQL.lines().filter(|line| !line.starts_with('#')) {
        let (document, text) = line.split_once('\t').unwrap();
        let text = match text.strip_prefix("hex:") {
            Some(bytes) => String::from_utf8(hex(bytes)).unwrap(),
            None => text.to_owned(),
        };
        assert_eq!(print(&hex(document)).unwrap(), text, "{document}");
        seen += 1;
    }
    assert_eq!(seen, 110);
}

#[test]
fn an_empty_value_is_the_null_literal() {
    assert_eq!(print(b"").unwrap(), "null");
}

#[test]
fn text_from_a_select_prints_as_it_is() {
    assert_eq!(print(b"\xff{\"a\":  1}").unwrap(), "{\"a\":  1}");
    assert_eq!(problem(b"\xff\"\xc3\""), "the text is not UTF-8");
}

#[test]
fn large_containers_count_in_four_bytes() {
    // {"k": [-5]} with both containers in the large form; the inner number stands in its entry.
    let mut inner = Vec::new();
    inner.extend_from_slice(&1_u32.to_le_bytes());
    inner.extend_from_slice(&13_u32.to_le_bytes());
    inner.push(0x07);
    inner.extend_from_slice(&(-5_i32).to_le_bytes());
    let mut document = vec![0x01];
    document.extend_from_slice(&1_u32.to_le_bytes());
    document.extend_from_slice(&33_u32.to_le_bytes());
    document.extend_from_slice(&19_u32.to_le_bytes());
    document.extend_from_slice(&1_u16.to_le_bytes());
    document.push(0x03);
    document.extend_from_slice(&20_u32.to_le_bytes());
    document.push(b'k');
    document.extend_from_slice(&inner);
    assert_eq!(print(&document).unwrap(), "{\"k\": [-5]}");
}

#[test]
fn control_characters_are_escaped_as_the_server_does() {
    assert_eq!(print(b"\x0c\x09\x00\x08\t\n\x0c\r\x1f\"\\").unwrap(), r#""\u0000\b\t\n\f\r\u001f\"\\""#);
}

#[test]
fn nesting_stops_at_the_servers_limit() {
    let deep = |levels: usize| {
        // The innermost array is empty, in the large form.
        let mut value = vec![0, 0, 0, 0, 8, 0, 0, 0];
        for _ in 1..levels {
            value = nested(0x03, &value);
        }
        let mut document = vec![0x03];
        document.append(&mut value);
        document
    };
    assert_eq!(print(&deep(100)).unwrap(), "[".repeat(100) + &"]".repeat(100));
    assert_eq!(problem(&deep(101)), "it nests deeper than 100 levels");
}

#[test]
fn entries_that_share_one_value_do_not_multiply_the_output() {
    // Each level is an array of 20 entries that all point at the next level: 20 to the 50th values.
    let mut value = vec![0, 0, 0, 0, 8, 0, 0, 0];
    for _ in 0..50 {
        let mut level = Vec::new();
        let header = 8 + 20 * 5;
        level.extend_from_slice(&20_u32.to_le_bytes());
        level.extend_from_slice(&u32::try_from(header + value.len()).unwrap().to_le_bytes());
        for _ in 0..20 {
            level.push(0x03);
            level.extend_from_slice(&u32::try_from(header).unwrap().to_le_bytes());
        }
        level.append(&mut value);
        value = level;
    }
    let mut document = vec![0x03];
    document.append(&mut value);
    assert_eq!(problem(&document), "parts of it are used more than once");
}

#[test]
fn malformed_documents_are_errors() {
    assert_eq!(problem(b"\x04\x07"), "an unknown literal");
    assert_eq!(problem(b"\x04"), "it ends inside a literal");
    assert_eq!(problem(b"\x05\x01"), "it ends inside a number");
    assert_eq!(problem(b"\x0d"), "an unknown type");
    assert_eq!(problem(b"\x0c\x05abc"), "a string reaches past its end");
    assert_eq!(problem(b"\x0c\xff\xff\xff\xff\xff\x01"), "a length without an end");
    assert_eq!(problem(b"\x0c\x01\xff"), "a string that is not UTF-8");
    assert_eq!(problem(b"\x00\x01"), "it ends inside a container's header");
    assert_eq!(problem(b"\x00\xff\xff\x04\x00"), "a container reaches past its end");
    assert_eq!(problem(b"\x02\x01\x00\x07\x00\x0c\x63\x00"), "a value past its container");
    assert_eq!(problem(b"\x0b\x00\x00\x00\x00\x00\x00\xf0\x7f"), "a number that is not finite");
    assert_eq!(problem(b"\x0f\xf6\x02\x42\x01"), "a malformed decimal");
    assert_eq!(problem(b"\x0f\x0a\x01\x00"), "a malformed date");
}

#[test]
fn a_length_that_does_not_fit_the_cell_is_an_error_of_the_image() {
    let plan = Plan::all(&table(vec![ColumnType::Json])).unwrap();
    assert_eq!(
        plan.cell(0, b"\x02\0\0\0\x04", &mut Collect::default()),
        Err(ReadError::Image(ImageError::Truncated { column: "c0".to_owned(), offset: 0, needed: 6, left: 5 }))
    );
}
