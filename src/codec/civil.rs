//! Days since 1970-01-01 and civil dates: the Gregorian calendar, counted back before its beginning.
//!
//! The years of the arithmetic begin in March, so that the leap day is their last day and months have a regular length of 153
//! days in five.

/// Seconds of a day.
pub const SECONDS_A_DAY: u32 = 86_400;

/// Microseconds of a day.
const MICROS_A_DAY: i64 = 86_400_000_000;

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u32 = 146_097;

/// Times 400 years that are added, so that no number below is negative. All instants of 64 bits of microseconds are covered,
/// which end in the years -290,308 and 294,247.
const ERAS: u32 = 750;

/// The first year that a date may have.
pub const FIRST_YEAR: i32 = -299_999;

/// The last year that a date may have.
pub const LAST_YEAR: i32 = 299_999;

/// Years that are added.
const SHIFT_YEARS: u32 = ERAS * 400;

/// Days from 1 March of the year that [`SHIFT_YEARS`] makes zero to 1970-01-01.
const SHIFT_DAYS: u32 = 719_468 + ERAS * ERA_DAYS;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// [`FIRST_YEAR`] to [`LAST_YEAR`]; 0 is the year before 1.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Civil {
    /// Days since 1970-01-01; `None` where month or day are zero, the month has no such day, or the year is out of range.
    #[inline]
    pub fn days(self) -> Option<i32> {
        let Self { year, month, day } = self;
        if month == 0 || month > 12 || day == 0 || day > 28 && day > days_of(year, month) {
            return None;
        }
        if !(FIRST_YEAR..=LAST_YEAR).contains(&year) {
            return None;
        }
        let early = u32::from(month < 3);
        let year = SHIFT_YEARS.wrapping_add_signed(year) - early;
        let from_march = u32::from(month) + 12 * early - 3;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + u32::from(day) - 1;
        // Both are below 2^31.
        Some(days.wrapping_sub(SHIFT_DAYS).cast_signed())
    }

    /// The day so many days after 1970-01-01; `None` if its year is out of range.
    #[inline]
    pub fn of(days: i32) -> Option<Self> {
        let days = SHIFT_DAYS.checked_add_signed(days)?;
        let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day + 2) / 153;
        let day = day - (153 * from_march + 2) / 5 + 1;
        let early = u32::from(from_march >= 10);
        let month = from_march + 3 - 12 * early;
        let year = i32::try_from(era * 400 + year + early).ok()?.checked_sub_unsigned(SHIFT_YEARS)?;
        if !(FIRST_YEAR..=LAST_YEAR).contains(&year) {
            return None;
        }
        Some(Self { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? })
    }
}

/// Days of a month.
#[inline]
pub fn days_of(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            28 + u8::from(leap)
        }
        _ => 31,
    }
}

/// Microseconds since 1970 as `YYYY-MM-DD HH:MM:SS.ffffff` in UTC.
pub fn utc_text(micros: i64) -> String {
    let (days, time) = (micros.div_euclid(MICROS_A_DAY), micros.rem_euclid(MICROS_A_DAY));
    // Every count of microseconds in 64 bits lies in the range, see ERAS.
    let date = i32::try_from(days).ok().and_then(Civil::of).unwrap_or(Civil { year: 0, month: 0, day: 0 });
    let Civil { year, month, day } = date;
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{fraction:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(year: i32, month: u8, day: u8) -> Civil {
        Civil { year, month, day }
    }

    #[test]
    fn every_day_of_the_range_has_the_number_after_the_day_before() {
        // The years that servers hold day by day, with 800 below zero; beyond them each year's ends and leap day.
        let mut next = civil(FIRST_YEAR, 1, 1).days().unwrap();
        let check = |date: Civil, days| {
            assert_eq!((date.days(), Civil::of(days)), (Some(days), Some(date)), "{date:?} {days}");
        };
        for year in FIRST_YEAR..=LAST_YEAR {
            for month in 1..=12 {
                let last = days_of(year, month);
                if (-800..=9_999).contains(&year) {
                    for day in 1..=last {
                        check(civil(year, month, day), next + i32::from(day) - 1);
                    }
                } else if matches!(month, 1..=3 | 12) {
                    check(civil(year, month, 1), next);
                    check(civil(year, month, last), next + i32::from(last) - 1);
                }
                next += i32::from(last);
            }
        }
        assert_eq!(next, civil(LAST_YEAR, 12, 31).days().unwrap() + 1);
    }

    #[test]
    fn days_that_are_known_have_their_numbers() {
        for (date, days) in [
            (civil(1970, 1, 1), 0),
            (civil(1969, 12, 31), -1),
            (civil(1900, 3, 1), -25_508),
            (civil(1900, 2, 28), -25_509),
            (civil(2000, 2, 29), 11_016),
            (civil(2100, 3, 1), 47_541),
            (civil(1000, 1, 1), -354_285),
            (civil(0, 3, 1), -719_468),
            (civil(0, 2, 29), -719_469),
            (civil(0, 1, 1), -719_528),
            (civil(-1, 12, 31), -719_529),
            (civil(-1, 3, 1), -719_834),
            (civil(-4, 2, 29), -720_930),
            (civil(-100, 2, 28), -755_994),
            (civil(-400, 2, 29), -865_566),
            (civil(9999, 12, 31), 2_932_896),
        ] {
            assert_eq!((date.days(), Civil::of(days)), (Some(days), Some(date)), "{date:?}");
        }
    }

    #[test]
    fn what_is_no_day_has_no_number() {
        for date in [
            civil(0, 0, 0),
            civil(2000, 0, 1),
            civil(2000, 1, 0),
            civil(2000, 13, 1),
            civil(2000, 4, 31),
            civil(1900, 2, 29),
            civil(-100, 2, 29),
            civil(2001, 2, 29),
            civil(2000, 2, 30),
            civil(2000, 1, 32),
            civil(LAST_YEAR + 1, 1, 1),
            civil(FIRST_YEAR - 1, 12, 31),
            civil(i32::MAX, 1, 1),
            civil(i32::MIN, 1, 1),
        ] {
            assert_eq!(date.days(), None, "{date:?}");
        }
        assert_eq!((Civil::of(i32::MIN), Civil::of(i32::MAX)), (None, None));
    }

    #[test]
    fn instants_print_in_utc_with_microseconds() {
        for (micros, text) in [
            (0, "1970-01-01 00:00:00.000000"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000000"),
            (951_868_799_999_999, "2000-02-29 23:59:59.999999"),
            (1_709_251_199_000_001, "2024-02-29 23:59:59.000001"),
            (4_102_444_800_000_000, "2100-01-01 00:00:00.000000"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00.000000"),
            (-1, "1969-12-31 23:59:59.999999"),
            (i64::MIN, "-290308-12-21 19:59:05.224192"),
            (i64::MAX, "294247-01-10 04:00:54.775807"),
        ] {
            assert_eq!(utc_text(micros), text);
        }
    }
}
