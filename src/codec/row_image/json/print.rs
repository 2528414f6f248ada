//! The server's spelling of JSON's parts: strings, numbers, and values that JSON has no type for.

use std::io::Write;

use crate::codec::row_image::decimal::Decimal;
use crate::codec::row_image::temporal::{Date, DateTime, Time};

/// Column type codes (`enum_field_types`) of opaque values that print as more than base64.
const CODE_TIMESTAMP: u8 = 7;
const CODE_DATE: u8 = 10;
const CODE_TIME: u8 = 11;
const CODE_DATETIME: u8 = 12;
const CODE_DECIMAL: u8 = 246;

/// Digits the server's decimal buffer holds: nine groups. The precision that stands before a decimal counts whole groups, so
/// it can be above the 65 digits of a column.
const MAX_DECIMAL_DIGITS: u8 = 81;

/// Decimal point positions up to which the server prints a double without an exponent: `DBL_DIG`.
const MAX_PLAIN_POINT: i32 = 15;

/// Bytes of base64 after which the server breaks the line; the break is escaped in the string.
const BASE64_LINE: usize = 76;

/// Appends a number's decimal digits.
pub(super) fn display(out: &mut Vec<u8>, number: &impl std::fmt::Display) {
    write!(out, "{number}").expect("writing to memory does not fail");
}

/// Appends a string in quotes.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|byte| escape(*byte).is_some()) {
        let (before, after) = rest.split_at(plain);
        out.extend_from_slice(before);
        if let Some((byte, after)) = after.split_first() {
            match escape(*byte) {
                Some(b'u') => {
                    out.extend_from_slice(b"\\u00");
                    out.push(b'0' + (byte >> 4));
                    out.push(hex(byte & 0x0f));
                }
                Some(letter) => out.extend_from_slice(&[b'\\', letter]),
                None => out.push(*byte),
            }
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// What follows the backslash for a byte that is escaped.
fn escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        0x08 => Some(b'b'),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        0x0c => Some(b'f'),
        b'\r' => Some(b'r'),
        0..=0x1f => Some(b'u'),
        _ => None,
    }
}

fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Appends a double: the fewest digits that read back as the same number; plain where the point falls within 15 places of the
/// first digit, with an exponent elsewhere; `.0` behind what would look like an integer.
pub(super) fn literal_double(out: &mut Vec<u8>, value: f64) -> Result<(), &'static str> {
    if !value.is_finite() {
        return Err("a number that is not finite");
    }
    // Rust's exponent form has the same shortest digits: "-1.25e-10", on the stack.
    let mut buffer = [0; 32];
    let mut cursor = std::io::Cursor::new(buffer.as_mut_slice());
    write!(cursor, "{value:e}").map_err(|_| "a number with too many digits")?;
    let len = usize::try_from(cursor.position()).unwrap_or_default();
    let text = buffer.get(..len).unwrap_or_default();
    let (sign, text) = match text.split_first() {
        Some((b'-', text)) => (true, text),
        _ => (false, text),
    };
    let mut parts = text.split(|byte| *byte == b'e');
    let mantissa = parts.next().unwrap_or_default();
    let exponent = parts
        .next()
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse::<i32>().ok())
        .ok_or("a number without an exponent")?;
    let mut halves = mantissa.split(|byte| *byte == b'.');
    let first = halves.next().unwrap_or_default();
    let fraction = halves.next().unwrap_or_default();
    // The point's place counted from before the first digit, as the server counts it.
    let point = exponent + 1;
    if sign {
        out.push(b'-');
    }
    if value == 0.0 {
        out.extend_from_slice(b"0.0");
    } else if point > MAX_PLAIN_POINT || point <= -MAX_PLAIN_POINT {
        out.extend_from_slice(mantissa);
        out.push(b'e');
        display(out, &exponent);
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + zeros(-point), b'0');
        out.extend_from_slice(first);
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(first);
        let whole = zeros(point - 1);
        match fraction.split_at_checked(whole) {
            Some((whole, fraction)) if !fraction.is_empty() => {
                out.extend_from_slice(whole);
                out.push(b'.');
                out.extend_from_slice(fraction);
            }
            _ => {
                out.extend_from_slice(fraction);
                out.resize(out.len() + whole - fraction.len(), b'0');
                out.extend_from_slice(b".0");
            }
        }
    }
    Ok(())
}

/// A count that is known not to be negative.
fn zeros(count: i32) -> usize {
    usize::try_from(count).unwrap_or_default()
}

/// Appends a value of an SQL type that JSON does not have.
pub(super) fn opaque(out: &mut Vec<u8>, code: u8, value: &[u8]) -> Result<(), &'static str> {
    match code {
        CODE_DECIMAL => {
            let problem = "a malformed decimal";
            let (&[precision, scale], digits) = value.split_first_chunk().ok_or(problem)?;
            if precision > MAX_DECIMAL_DIGITS || scale > precision {
                return Err(problem);
            }
            Decimal::new(digits, precision, scale).ok_or(problem)?.write_text(out);
        }
        CODE_DATE | CODE_DATETIME | CODE_TIMESTAMP => {
            let packed = packed(value).ok_or("a malformed date")?;
            let packed = u64::try_from(packed).map_err(|_| "a date below zero")?;
            let datetime = datetime(packed)?;
            out.push(b'"');
            if code == CODE_DATE {
                datetime.date.write_text(out);
            } else {
                datetime.write_text(out);
            }
            out.push(b'"');
        }
        CODE_TIME => {
            let packed = packed(value).ok_or("a malformed time")?;
            let time = time(packed)?;
            out.push(b'"');
            time.write_text(out);
            out.push(b'"');
        }
        _ => {
            out.extend_from_slice(b"\"base64:type");
            display(out, &code);
            out.push(b':');
            base64(out, value);
            out.push(b'"');
        }
    }
    Ok(())
}

/// The server's in-memory form of dates and times.
fn packed(value: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(<[u8; 8]>::try_from(value).ok()?))
}

/// The bits of a packed value from `from` on, `count` (at most 16) of them.
fn bits(packed: u64, from: u32, count: u32) -> u16 {
    u16::try_from(packed >> from & ((1 << count) - 1)).unwrap_or(u16::MAX)
}

fn byte(packed: u64, from: u32, count: u32) -> u8 {
    u8::try_from(bits(packed, from, count)).unwrap_or(u8::MAX)
}

fn micros(packed: u64) -> u32 {
    u32::try_from(packed & 0xff_ffff).unwrap_or(u32::MAX)
}

/// Year * 13 + month 17 bits, day 5, hour 5, minute 6, second 6, microseconds 24.
fn datetime(packed: u64) -> Result<DateTime, &'static str> {
    let months = packed >> 46;
    DateTime {
        date: Date {
            year: u16::try_from(months / 13).map_err(|_| "a year above 9999")?,
            month: u8::try_from(months % 13).unwrap_or(u8::MAX),
            day: byte(packed, 41, 5),
        },
        hour: byte(packed, 36, 5),
        minute: byte(packed, 30, 6),
        second: byte(packed, 24, 6),
        micros: micros(packed),
        fsp: 6,
    }
    .check()
}

/// Hours 10 bits, minutes 6, seconds 6, microseconds 24; the whole is negated below zero.
fn time(packed: i64) -> Result<Time, &'static str> {
    let magnitude = packed.unsigned_abs();
    if magnitude >> 46 != 0 {
        return Err("more than 838 hours");
    }
    Time {
        negative: packed < 0,
        hours: bits(magnitude, 36, 10),
        minutes: byte(magnitude, 30, 6),
        seconds: byte(magnitude, 24, 6),
        micros: micros(magnitude),
        fsp: 6,
    }
    .check()
}

/// Appends base64 as the server has it: a line break, escaped as in any string, between lines of 76.
fn base64(out: &mut Vec<u8>, value: &[u8]) {
    for (index, group) in value.chunks(3).enumerate() {
        if index > 0 && index % (BASE64_LINE / 4) == 0 {
            out.extend_from_slice(b"\\n");
        }
        let mut padded = [0; 4];
        if let Some(room) = padded.get_mut(1..=group.len()) {
            room.copy_from_slice(group);
        }
        let bits = u32::from_be_bytes(padded);
        for (place, shift) in [18_u32, 12, 6, 0].into_iter().enumerate() {
            out.push(if place > group.len() { b'=' } else { base64_digit(bits >> shift & 0x3f) });
        }
    }
}

fn base64_digit(six_bits: u32) -> u8 {
    let digit = u8::try_from(six_bits).unwrap_or_default();
    match digit {
        0..26 => b'A' + digit,
        26..52 => b'a' + digit - 26,
        52..62 => b'0' + digit - 52,
        62 => b'+',
        _ => b'/',
    }
}
