//! Dates and times as ClickHouse counts them: days, or fractions of a second, from 1970-01-01 in UTC.
//!
//! The 26.9 server holds and shows every day from 0000-01-01 to 9999-12-31 exactly, which is all that the source has; its
//! manual promises 1900 to 2299, and servers up to 26.3 show no more than that, although they store it.

use crate::codec::civil::SECONDS_A_DAY;
use crate::codec::row_image::{DateTime, Time, Timestamp};

/// Seconds since the epoch of fields in UTC; `None` where they name no day.
#[inline]
pub(super) fn seconds(value: DateTime) -> Option<i64> {
    let clock = u32::from(value.hour) * 3600 + u32::from(value.minute) * 60 + u32::from(value.second);
    Some(i64::from(value.date.days()?) * i64::from(SECONDS_A_DAY) + i64::from(clock))
}

/// Seconds since the epoch of an instant. Second zero is the zero timestamp.
#[inline]
pub(super) fn timestamp(value: Timestamp) -> Option<i64> {
    (value.seconds != 0).then(|| value.seconds.into())
}

/// The unit of a type that counts fractions of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    a_second: i64,
    /// Microseconds a tick; 1 for ticks shorter than that.
    micros: u32,
    /// Ticks a microsecond; 1 for longer ticks.
    a_micro: u32,
}

impl Ticks {
    /// Ticks of a type with so many digits of fraction.
    pub(super) fn of(precision: u8) -> Option<Self> {
        let precision = u32::from(precision);
        Some(Self {
            a_second: 10_i64.checked_pow(precision)?,
            micros: 10_u32.pow(6_u32.saturating_sub(precision)),
            a_micro: 10_u32.checked_pow(precision.saturating_sub(6))?,
        })
    }

    /// The ticks of seconds and microseconds; `None` where they are beyond the type, or the fraction is finer than a tick.
    #[inline]
    pub(super) fn count(self, seconds: i64, micros: u32) -> Option<i64> {
        let fraction = if self.micros == 1 {
            i64::from(micros) * i64::from(self.a_micro)
        } else {
            let ticks = micros / self.micros;
            if ticks * self.micros != micros {
                return None;
            }
            ticks.into()
        };
        seconds.checked_mul(self.a_second)?.checked_add(fraction)
    }

    /// The ticks of a span.
    #[inline]
    pub(super) fn span(self, value: Time) -> Option<i64> {
        let seconds = u32::from(value.hours) * 3600 + u32::from(value.minutes) * 60 + u32::from(value.seconds);
        let ticks = self.count(seconds.into(), value.micros)?;
        Some(if value.negative { -ticks } else { ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::row_image::Date;

    fn date(year: u16, month: u8, day: u8) -> Date {
        Date { year, month, day }
    }

    #[test]
    fn seconds_count_from_1970_in_every_year_that_a_date_has() {
        let at = |date| seconds(DateTime { date, hour: 23, minute: 59, second: 58, micros: 0, fsp: 0 });
        assert_eq!(at(date(0, 1, 1)), Some(-719_528 * 86_400 + 86_398));
        assert_eq!(at(date(1969, 12, 31)), Some(-2));
        assert_eq!(at(date(9999, 12, 31)), Some(253_402_300_798));
    }

    #[test]
    fn what_names_no_day_has_no_number() {
        let at = |date| seconds(DateTime { date, hour: 0, minute: 0, second: 0, micros: 0, fsp: 0 });
        for partial in
            [(0, 0, 0), (2024, 0, 0), (2024, 1, 0), (2024, 0, 1), (2023, 2, 29), (1900, 2, 29), (2024, 4, 31)]
        {
            let date = date(partial.0, partial.1, partial.2);
            assert_eq!((at(date), date.names_a_day()), (None, false), "{partial:?}");
        }
        assert!(date(2024, 2, 29).names_a_day() && date(2024, 4, 30).names_a_day() && date(0, 1, 28).names_a_day());
        assert_eq!(timestamp(Timestamp { seconds: 0, micros: 0, fsp: 0 }), None);
    }

    #[test]
    fn ticks_are_exact_or_refused() {
        let count = |precision, seconds, micros| Ticks::of(precision).unwrap().count(seconds, micros);
        assert_eq!(count(0, -5, 0), Some(-5));
        assert_eq!(count(3, 1, 234_000), Some(1234));
        assert_eq!(count(3, 1, 234_500), None);
        assert_eq!(count(6, -1, 999_999), Some(-1));
        assert_eq!(count(9, 1, 1), Some(1_000_001_000));
        assert_eq!(count(9, 253_402_300_799, 0), None);
        let span = Time { negative: true, hours: 838, minutes: 59, seconds: 59, micros: 0, fsp: 6 };
        assert_eq!(Ticks::of(6).unwrap().span(span), Some(-3_020_399_000_000));
    }
}
