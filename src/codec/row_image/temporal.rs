//! Dates and times as the servers hold them: fields, not instants, because zero dates (`0000-00-00`), zero months and days,
//! and times of up to 838 hours are values. What no server can store (month 13, minute 60) is refused.

use crate::codec::civil::{Civil, SECONDS_A_DAY};

/// A `DATE`. Month and day may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// 0 to 9999.
    pub year: u16,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
}

/// A `TIME`: a signed span of up to 838:59:59.999999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Below zero.
    pub negative: bool,
    /// 0 to 838.
    pub hours: u16,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub micros: u32,
    /// Digits of the fraction that the column holds, 0 to 6.
    pub fsp: u8,
}

/// A `DATETIME`, of no time zone. Month and day may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999,999.
    pub micros: u32,
    /// Digits of the fraction that the column holds, 0 to 6.
    pub fsp: u8,
}

/// A `TIMESTAMP`: an instant. Zero seconds is the value `0000-00-00 00:00:00`, not the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Since 1970-01-01 00:00:00 UTC. Unsigned: MariaDB reaches 2106 since 11.5 (MDEV-32188).
    pub seconds: u32,
    /// 0 to 999,999.
    pub micros: u32,
    /// Digits of the fraction that the column holds, 0 to 6.
    pub fsp: u8,
}

/// What makes a stored value impossible.
pub(super) type Problem = &'static str;

impl Date {
    /// `0000-00-00`.
    pub const ZERO: Self = Self { year: 0, month: 0, day: 0 };

    /// Whether a server can hold it.
    pub(super) fn check(self) -> Result<Self, Problem> {
        if self.year > 9999 {
            Err("a year above 9999")
        } else if self.month > 12 {
            Err("a month above 12")
        } else if self.day > 31 {
            Err("a day above 31")
        } else {
            Ok(self)
        }
    }

    /// Days since 1970-01-01; `None` where month or day are zero, or the month has no such day.
    #[inline]
    pub fn days(self) -> Option<i32> {
        Civil { year: self.year.into(), month: self.month, day: self.day }.days()
    }

    /// Whether it is a day of the calendar: neither month nor day are zero, and the month has such a day.
    #[inline]
    pub fn names_a_day(self) -> bool {
        let is_plain = (1..=12).contains(&self.month) && (1..=28).contains(&self.day);
        is_plain || self.days().is_some()
    }

    /// Appends `YYYY-MM-DD`.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        let [y1, y2] = pair(low_u8(self.year / 100));
        let [y3, y4] = pair(low_u8(self.year % 100));
        let [m1, m2] = pair(self.month);
        let [d1, d2] = pair(self.day);
        out.extend_from_slice(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
    }
}

impl Time {
    pub(super) fn check(self) -> Result<Self, Problem> {
        if self.hours > 838 {
            Err("more than 838 hours")
        } else {
            clock(self.minutes, self.seconds, self.micros)?;
            Ok(self)
        }
    }

    /// Appends `[-]HH:MM:SS[.ffffff]`, with as many digits of fraction as the column has, and a third digit of hours where
    /// it takes one.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        if self.hours > 99 {
            out.push(b'0' + low_u8(self.hours / 100 % 10));
        }
        let [h1, h2] = pair(low_u8(self.hours % 100));
        let [m1, m2] = pair(self.minutes);
        let [s1, s2] = pair(self.seconds);
        out.extend_from_slice(&[h1, h2, b':', m1, m2, b':', s1, s2]);
        write_fraction(out, self.micros, self.fsp);
    }
}

impl DateTime {
    pub(super) fn check(self) -> Result<Self, Problem> {
        self.date.check()?;
        if self.hour > 23 {
            return Err("an hour above 23");
        }
        clock(self.minute, self.second, self.micros)?;
        Ok(self)
    }

    /// Appends `YYYY-MM-DD HH:MM:SS[.ffffff]`, with as many digits of fraction as the column has.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        self.date.write_text(out);
        let [h1, h2] = pair(self.hour);
        let [m1, m2] = pair(self.minute);
        let [s1, s2] = pair(self.second);
        out.extend_from_slice(&[b' ', h1, h2, b':', m1, m2, b':', s1, s2]);
        write_fraction(out, self.micros, self.fsp);
    }

    /// Seconds since the epoch if the fields are UTC; `None` before 1970, after 2106-02-07 06:28:15, or where the fields name
    /// no day.
    pub(super) fn epoch_seconds(self) -> Option<u32> {
        let days = u32::try_from(self.date.days()?).ok()?;
        days.checked_mul(SECONDS_A_DAY)?
            .checked_add(u32::from(self.hour) * 3600 + u32::from(self.minute) * 60 + u32::from(self.second))
    }
}

impl Timestamp {
    pub(super) fn check(self) -> Result<Self, Problem> {
        if self.micros > 999_999 { Err("a fraction of a second or more") } else { Ok(self) }
    }

    /// The instant of fields in UTC; `None` if there is none, or none that the type holds. All zero is the zero timestamp.
    pub(super) fn from_utc(fields: DateTime) -> Option<Self> {
        let fields = fields.check().ok()?;
        let DateTime { micros, fsp, .. } = fields;
        let zero = Self { seconds: 0, micros, fsp };
        if fields == zero.utc() {
            return Some(zero);
        }
        let seconds = fields.epoch_seconds().filter(|seconds| *seconds != 0)?;
        Some(Self { seconds, ..zero })
    }

    /// The fields in UTC.
    pub fn utc(&self) -> DateTime {
        let &Self { seconds, micros, fsp } = self;
        if seconds == 0 {
            return DateTime { date: Date::ZERO, hour: 0, minute: 0, second: 0, micros, fsp };
        }
        let clock = seconds % SECONDS_A_DAY;
        DateTime {
            date: after_epoch(seconds / SECONDS_A_DAY),
            hour: narrow(clock / 3600),
            minute: narrow(clock / 60 % 60),
            second: narrow(clock % 60),
            micros,
            fsp,
        }
    }

    /// Appends `YYYY-MM-DD HH:MM:SS[.ffffff]` in UTC, with as many digits of fraction as the column has.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        self.utc().write_text(out);
    }
}

fn clock(minutes: u8, seconds: u8, micros: u32) -> Result<(), Problem> {
    if minutes > 59 {
        Err("a minute above 59")
    } else if seconds > 59 {
        Err("a second above 59")
    } else if micros > 999_999 {
        Err("a fraction of a second or more")
    } else {
        Ok(())
    }
}

/// The date so many days after 1970-01-01, of which a `TIMESTAMP` has less than 50,000.
fn after_epoch(days: u32) -> Date {
    let day = i32::try_from(days).ok().and_then(Civil::of);
    day.map_or(Date::ZERO, |Civil { year, month, day }| Date {
        year: u16::try_from(year).unwrap_or(u16::MAX),
        month,
        day,
    })
}

/// Appends the point and the first `fsp` digits; nothing for a column without a fraction.
#[inline]
fn write_fraction(out: &mut Vec<u8>, micros: u32, fsp: u8) {
    if fsp == 0 {
        return;
    }
    let mut text = *b".000000";
    let mut rest = micros;
    for place in text.iter_mut().skip(1).rev() {
        *place = b'0' + narrow(rest % 10);
        rest /= 10;
    }
    out.extend_from_slice(text.get(..=usize::from(fsp)).unwrap_or(&text));
}

/// Two digits of a number below 100.
#[inline]
fn pair(value: u8) -> [u8; 2] {
    [b'0' + value / 10 % 10, b'0' + value % 10]
}

/// A number that the caller knows to be below 256.
#[inline]
fn narrow(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// A number that the caller knows to be below 256.
#[inline]
fn low_u8(value: u16) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}
