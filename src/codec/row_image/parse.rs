//! Literals to values: what `information_schema.COLUMN_DEFAULT` and the text protocol write.
//!
//! Strict: the whole text must be the literal, and nothing is rounded. `None` means that it is not one.

use super::temporal::{Date, DateTime, Time};

/// A decimal literal taken apart: digits without leading zeros, fraction without trailing ones.
pub(super) struct DecimalLiteral<'t> {
    pub(super) negative: bool,
    pub(super) whole: &'t [u8],
    pub(super) fraction: &'t [u8],
}

/// `[+-]digits[.digits]`, with a digit somewhere.
pub(super) fn decimal(text: &[u8]) -> Option<DecimalLiteral<'_>> {
    let (negative, text) = sign(text);
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (text.get(..point)?, text.get(point + 1..)?),
        None => (text, &[][..]),
    };
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let leading = whole.iter().take_while(|byte| **byte == b'0').count();
    let trailing = fraction.iter().rev().take_while(|byte| **byte == b'0').count();
    Some(DecimalLiteral {
        negative,
        whole: whole.get(leading..)?,
        fraction: fraction.get(..fraction.len() - trailing)?,
    })
}

/// `[+-]digits`.
pub(super) fn signed(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[+]digits`.
pub(super) fn unsigned(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A finite number in any of the usual forms.
pub(super) fn double(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// A finite number in any of the usual forms.
pub(super) fn float(text: &[u8]) -> Option<f32> {
    let number: f32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// `YYYY`.
pub(super) fn year(text: &[u8]) -> Option<u16> {
    u16::try_from(digits(text, 4, 4)?).ok()
}

/// `YYYY-MM-DD`.
pub(super) fn date(text: &[u8]) -> Option<Date> {
    let mut parts = text.split(|byte| *byte == b'-');
    let date = Date {
        year: u16::try_from(digits(parts.next()?, 4, 4)?).ok()?,
        month: small(parts.next()?)?,
        day: small(parts.next()?)?,
    };
    parts.next().is_none().then_some(date)
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`, or a date alone, which is midnight.
pub(super) fn datetime(text: &[u8], fsp: u8) -> Option<DateTime> {
    let (day, clock) = match text.split_at_checked(10)? {
        (day, []) => (day, &b"00:00:00"[..]),
        (day, [b' ', clock @ ..]) => (day, clock),
        _ => return None,
    };
    let (clock, micros) = fraction(clock)?;
    let mut parts = clock.split(|byte| *byte == b':');
    let datetime = DateTime {
        date: date(day)?,
        hour: small(parts.next()?)?,
        minute: small(parts.next()?)?,
        second: small(parts.next()?)?,
        micros,
        fsp,
    };
    parts.next().is_none().then_some(datetime)
}

/// `[-]HHH:MM:SS[.ffffff]`, of two or three digits of hours.
pub(super) fn time(text: &[u8], fsp: u8) -> Option<Time> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let (clock, micros) = fraction(text)?;
    let mut parts = clock.split(|byte| *byte == b':');
    let time = Time {
        negative,
        hours: u16::try_from(digits(parts.next()?, 2, 3)?).ok()?,
        minutes: small(parts.next()?)?,
        seconds: small(parts.next()?)?,
        micros,
        fsp,
    };
    parts.next().is_none().then_some(time)
}

/// `b'101'`.
pub(super) fn bits(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"b'")?.strip_suffix(b"'")?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 2).ok()
}

/// `0x` and pairs of hex digits.
pub(super) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, odd) = text.strip_prefix(b"0x")?.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    }
}

/// Two digits.
fn small(text: &[u8]) -> Option<u8> {
    u8::try_from(digits(text, 2, 2)?).ok()
}

/// A number of `least` to `most` digits and nothing else.
fn digits(text: &[u8], least: usize, most: usize) -> Option<u32> {
    if text.len() < least || text.len() > most {
        return None;
    }
    text.iter().try_fold(0_u32, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Splits off `.f` to `.ffffff`, as microseconds.
fn fraction(text: &[u8]) -> Option<(&[u8], u32)> {
    let Some(point) = text.iter().position(|byte| *byte == b'.') else {
        return Some((text, 0));
    };
    let fraction = text.get(point + 1..)?;
    let places = u32::try_from(fraction.len()).ok()?;
    let micros = digits(fraction, 1, 6)? * 10_u32.pow(6 - places);
    Some((text.get(..point)?, micros))
}
