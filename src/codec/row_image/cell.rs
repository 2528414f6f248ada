//! Bytes of one value to a typed value, for the types whose bytes are packed. Each takes exactly the bytes of its type.

use super::temporal::{Date, DateTime, Problem, Time, Timestamp};

/// What a value that is too short for its type would be called; the reader has measured it before.
pub(super) const SHORT: Problem = "it is shorter than its type";

/// A big-endian number of at most eight bytes.
#[inline]
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A little-endian number of at most eight bytes.
#[inline]
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The lowest `bits` (at most 16) of a number.
#[inline]
fn low_bits(number: u64, bits: u32) -> u16 {
    u16::try_from(number & ((1 << bits) - 1)).unwrap_or(u16::MAX)
}

/// The lowest `bits` (at most 8) of a number.
#[inline]
fn low_byte(number: u64, bits: u32) -> u8 {
    u8::try_from(number & ((1 << bits) - 1)).unwrap_or(u8::MAX)
}

/// Microseconds in the fraction's bytes: hundredths, ten-thousandths or millionths of a second in 1, 2 or 3 bytes.
#[inline]
fn micros(fraction: &[u8]) -> u32 {
    let units = u32::try_from(big_endian(fraction)).unwrap_or(u32::MAX);
    units.saturating_mul(match fraction.len() {
        1 => 10_000,
        2 => 100,
        _ => 1,
    })
}

/// One byte: 0, or the year less 1900.
pub(super) fn year(byte: u8) -> u16 {
    if byte == 0 { 0 } else { 1900 + u16::from(byte) }
}

#[inline]
pub(super) fn date(bytes: &[u8]) -> Result<Date, Problem> {
    let packed = little_endian(bytes);
    Date { year: low_bits(packed >> 9, 15), month: low_byte(packed >> 5, 4), day: low_byte(packed, 5) }.check()
}

/// Sign 1 bit, unused 1, hours 10, minutes 6, seconds 6, then the fraction; below zero the whole is the complement.
#[inline]
pub(super) fn time(bytes: &[u8], fsp: u8) -> Result<Time, Problem> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if !(3..=6).contains(&len) {
        return Err(SHORT);
    }
    let whole = big_endian(bytes);
    let zero = 0x80_0000_u64 << (8 * (len - 3));
    let negative = whole < zero;
    let magnitude = whole.abs_diff(zero).to_be_bytes();
    let (clock, fraction) =
        magnitude.get(8 - bytes.len()..).and_then(|bytes| bytes.split_at_checked(3)).ok_or(SHORT)?;
    let clock = big_endian(clock);
    if clock >> 22 != 0 {
        return Err("more than 838 hours");
    }
    Time {
        negative,
        hours: low_bits(clock >> 12, 10),
        minutes: low_byte(clock >> 6, 6),
        seconds: low_byte(clock, 6),
        micros: micros(fraction),
        fsp,
    }
    .check()
}

/// Sign 1 bit, always set; year and month as year * 13 + month 17, day 5, hour 5, minute 6, second 6; then the fraction.
#[inline]
pub(super) fn datetime(bytes: &[u8], fsp: u8) -> Result<DateTime, Problem> {
    let (packed, fraction) = bytes.split_at_checked(5).ok_or(SHORT)?;
    let packed = big_endian(packed).checked_sub(1 << 39).ok_or("a date below zero")?;
    let months = packed >> 22;
    DateTime {
        date: Date { year: low_bits(months / 13, 16), month: low_byte(months % 13, 8), day: low_byte(packed >> 17, 5) },
        hour: low_byte(packed >> 12, 5),
        minute: low_byte(packed >> 6, 6),
        second: low_byte(packed, 6),
        micros: micros(fraction),
        fsp,
    }
    .check()
}

#[inline]
pub(super) fn timestamp(bytes: &[u8], fsp: u8) -> Result<Timestamp, Problem> {
    let (seconds, fraction) = bytes.split_first_chunk().ok_or(SHORT)?;
    Timestamp { seconds: u32::from_be_bytes(*seconds), micros: micros(fraction), fsp }.check()
}
