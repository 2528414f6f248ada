//! Checked values to packed bytes: the counterpart of `cell.rs` and `decimal.rs`.

use crate::codec::row_image::decimal::{GROUP_DIGITS, outer_group_bytes};
use crate::codec::row_image::parse::DecimalLiteral;
use crate::codec::row_image::temporal::{Date, DateTime, Time, Timestamp};

/// `None` if the literal has more digits on a side of the point than the column.
pub(super) fn decimal(out: &mut Vec<u8>, literal: &DecimalLiteral<'_>, precision: u8, scale: u8) -> Option<()> {
    let whole = usize::from(precision.checked_sub(scale)?);
    let missing = whole.checked_sub(literal.whole.len())?;
    let short = usize::from(scale).checked_sub(literal.fraction.len())?;
    // Zero has no sign, as in the server.
    let negative = literal.negative && literal.whole.len() + literal.fraction.len() > 0;
    let inverted = if negative { 0xff } else { 0 };
    let start = out.len();
    let mut digits = std::iter::repeat_n(&b'0', missing)
        .chain(literal.whole)
        .chain(literal.fraction)
        .chain(std::iter::repeat_n(&b'0', short));
    let mut group = |count: u8| {
        let value = (0..count).fold(0_u32, |value, _| {
            let digit = digits.next().map_or(0, |digit| u32::from(digit - b'0'));
            value * 10 + digit
        });
        let len = match count {
            GROUP_DIGITS => 4,
            outer => usize::from(outer_group_bytes(outer)),
        };
        let bytes = value.to_be_bytes();
        out.extend(bytes.iter().skip(4 - len).map(|byte| byte ^ inverted));
    };
    let whole = precision - scale;
    group(whole % GROUP_DIGITS);
    (0..whole / GROUP_DIGITS).for_each(|_| group(GROUP_DIGITS));
    (0..scale / GROUP_DIGITS).for_each(|_| group(GROUP_DIGITS));
    group(scale % GROUP_DIGITS);
    *out.get_mut(start)? ^= 0x80;
    Some(())
}

pub(super) fn date(out: &mut Vec<u8>, value: Date) {
    let packed = u32::from(value.year) << 9 | u32::from(value.month) << 5 | u32::from(value.day);
    let [a, b, c, _] = packed.to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

pub(super) fn time(out: &mut Vec<u8>, value: Time, fsp: u8) {
    let clock = u64::from(value.hours) << 12 | u64::from(value.minutes) << 6 | u64::from(value.seconds);
    let (units, len) = units(value.micros, fsp);
    let magnitude = clock << (8 * len) | units;
    let zero = 0x80_0000 << (8 * len);
    let biased = if value.negative { zero - magnitude } else { zero + magnitude };
    push_big_endian(out, biased, 3 + len);
}

pub(super) fn datetime(out: &mut Vec<u8>, value: DateTime, fsp: u8) {
    let months = u64::from(value.date.year) * 13 + u64::from(value.date.month);
    let days = months << 5 | u64::from(value.date.day);
    let clock = u64::from(value.hour) << 12 | u64::from(value.minute) << 6 | u64::from(value.second);
    push_big_endian(out, 1 << 39 | days << 17 | clock, 5);
    let (units, len) = units(value.micros, fsp);
    push_big_endian(out, units, len);
}

pub(super) fn timestamp(out: &mut Vec<u8>, value: Timestamp, fsp: u8) {
    out.extend_from_slice(&value.seconds.to_be_bytes());
    let (units, len) = units(value.micros, fsp);
    push_big_endian(out, units, len);
}

/// The fraction in the unit that is stored, and the bytes it takes.
fn units(micros: u32, fsp: u8) -> (u64, usize) {
    match fsp {
        0 => (0, 0),
        1 | 2 => ((micros / 10_000).into(), 1),
        3 | 4 => ((micros / 100).into(), 2),
        _ => (micros.into(), 3),
    }
}

/// The lowest `len` bytes of a number.
fn push_big_endian(out: &mut Vec<u8>, number: u64, len: usize) {
    let bytes = number.to_be_bytes();
    out.extend_from_slice(bytes.get(8 - len..).unwrap_or(&bytes));
}
