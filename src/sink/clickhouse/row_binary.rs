//! A reader of RowBinary for the tests of this module, and what they share: schemas in one line, rows in text.
//!
//! Written from the format's description and not from the encoder: a value is shown as its type says.

use super::chunks::Chunks;
use super::layout::Layout;
use super::types::{Base, Type, decimal_bytes};
use crate::config::{ValuePolicy, ZeroDates};
use crate::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth};
use crate::sink::clickhouse::{ClickHouseTypes, JsonType, SetType};
pub(super) use crate::sink::testing::{images, key, options, schema, soft};

pub(super) const TYPES: ClickHouseTypes = ClickHouseTypes { json: JsonType::String, sets: SetType::String };

/// What becomes of values unless told otherwise.
pub(super) const VALUES: ValuePolicy = ValuePolicy::new(ZeroDates::Null);

pub(super) fn column(name: &str, ty: ColumnType, nullable: bool) -> Column {
    Column { name: name.into(), ty, nullable, default: ColumnDefault::Unknown, attributes: None, collation: None }
}

pub(super) fn varchar(charset: &str) -> ColumnType {
    ColumnType::VarChar { max_bytes: 200, charset: Charset::new(charset) }
}

pub(super) fn int(name: &str) -> Column {
    column(name, ColumnType::Int { width: IntWidth::W4, unsigned: false }, false)
}

pub(super) fn text(name: &str) -> Column {
    column(name, varchar("utf8mb4"), false)
}

pub(super) fn nullable_text(name: &str) -> Column {
    column(name, varchar("utf8mb4"), true)
}

/// The rows of chunks made for a layout, in text.
pub(super) fn rows_of(layout: &Layout, mut chunks: Chunks) -> Vec<String> {
    chunks.finish();
    let bytes: Vec<u8> = chunks.take_full().flatten().collect();
    let types: Vec<_> = layout.insert_columns().into_iter().map(|(_, ty)| ty).collect();
    let rows = read_rows(&types, &bytes);
    assert_eq!(chunks.rows(), u64::try_from(rows.len()).unwrap());
    assert_eq!(chunks.bytes(), u64::try_from(bytes.len()).unwrap());
    rows
}

/// Rows of columns of the types given: values in text, with `;` between them.
pub(super) fn read_rows<T: AsRef<str>>(types: &[T], mut bytes: &[u8]) -> Vec<String> {
    let types: Vec<_> = types.iter().map(|text| Type::parse(text.as_ref()).unwrap()).collect();
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let values: Vec<_> = types.iter().map(|ty| read_value(ty, &mut bytes)).collect();
        rows.push(values.join(";"));
    }
    rows
}

/// One value in text: strings in quotes, dates as days, times as ticks.
pub(super) fn read_value(ty: &Type, bytes: &mut &[u8]) -> String {
    if ty.nullable {
        match take(bytes, 1) {
            [0] => {}
            [1] => return "NULL".to_owned(),
            other => panic!("{other:?} before a nullable value"),
        }
    }
    match &ty.base {
        Base::Int { bytes: width, signed } => {
            let mut number = take(bytes, usize::from(*width)).to_vec();
            let sign = if *signed && number.last().unwrap() & 0x80 != 0 { 0xff } else { 0 };
            let tail = number.split_off(number.len().min(16));
            assert!(tail.iter().all(|byte| *byte == sign), "a number beyond 128 bits");
            number.resize(16, sign);
            i128::from_le_bytes(number.try_into().unwrap()).to_string()
        }
        Base::Float32 => format!("{:?}", f32::from_le_bytes(take(bytes, 4).try_into().unwrap())),
        Base::Float64 => format!("{:?}", f64::from_le_bytes(take(bytes, 8).try_into().unwrap())),
        Base::Date32 => i32::from_le_bytes(take(bytes, 4).try_into().unwrap()).to_string(),
        Base::DateTime64 { .. } | Base::Time64 { .. } => {
            i64::from_le_bytes(take(bytes, 8).try_into().unwrap()).to_string()
        }
        Base::Decimal { precision, scale } => decimal(take(bytes, decimal_bytes(*precision)), *scale),
        Base::String { .. } | Base::Json => string(bytes),
        Base::Strings => {
            let count = length(bytes);
            let labels: Vec<_> = (0..count).map(|_| string(bytes)).collect();
            format!("[{}]", labels.join(","))
        }
        Base::Uuid | Base::Ipv6 => {
            let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            format!("{} {}", hex(take(bytes, 8)), hex(take(bytes, 8)))
        }
        Base::Ipv4 => u32::from_le_bytes(take(bytes, 4).try_into().unwrap()).to_string(),
        Base::Floats => {
            let count = length(bytes);
            let float = |bytes: &mut &[u8]| format!("{:?}", f32::from_le_bytes(take(bytes, 4).try_into().unwrap()));
            let floats: Vec<_> = (0..count).map(|_| float(bytes)).collect();
            format!("[{}]", floats.join(","))
        }
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at_checked(count).expect("the row ends inside a value");
    *bytes = rest;
    taken
}

fn length(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    for group in 0.. {
        let byte = take(bytes, 1)[0];
        value |= usize::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn string(bytes: &mut &[u8]) -> String {
    let count = length(bytes);
    let value = take(bytes, count);
    match std::str::from_utf8(value) {
        Ok(text) => format!("'{text}'"),
        Err(_) => value.iter().fold("x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}

/// A little-endian number, by schoolbook division by ten, and its point.
fn decimal(bytes: &[u8], scale: u8) -> String {
    let negative = bytes.last().unwrap() & 0x80 != 0;
    let mut number = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut number {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) || digits.len() <= usize::from(scale) {
        let mut rest = 0_u16;
        for byte in number.iter_mut().rev() {
            rest = rest << 8 | u16::from(*byte);
            *byte = u8::try_from(rest / 10).unwrap();
            rest %= 10;
        }
        digits.push(char::from(b'0' + u8::try_from(rest).unwrap()));
        if digits.len() == usize::from(scale) && scale > 0 {
            digits.push('.');
        }
    }
    // The point counts as a digit above; a number with a scale has one digit before it.
    if scale > 0 && digits.last() == Some(&'.') {
        digits.push('0');
    }
    if negative {
        digits.push('-');
    }
    digits.into_iter().rev().collect()
}
