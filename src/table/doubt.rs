//! Doubts: when it is not known what a table's rows are, and when the read that settles that may begin.
//!
//! A doubt is a read of the table that begins by itself. So that what writes past the copies all the time does not make the source be
//! read all the time, such reads are paced: [`Rest`] says when the next one may begin, from when the last ones began.

use serde::{Deserialize, Serialize};

use super::event::At;
use crate::model::Rules;

/// Why a read is asked for, as far as that decides when it may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The configuration or a sink asks for it: it begins as soon as it can.
    Asked,
    /// A statement has defined the table otherwise. It begins by itself.
    Definition,
    /// The log does not have what happened to its rows. It begins by itself.
    Rows,
    /// An operator asks for it, by name: it begins as soon as it can, and may be cancelled.
    ByHand,
}

impl Cause {
    /// Whether nobody has asked for the read.
    pub fn is_by_itself(self) -> bool {
        match self {
            Self::Asked | Self::ByHand => false,
            Self::Definition | Self::Rows => true,
        }
    }
}

/// When a table was read by itself lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// When the last such read of the table began, in microseconds since the epoch.
    began: i64,
    /// When the last such read of keys began.
    keys_began: i64,
    /// How many began since the table was last left alone for as long as the pause.
    reads: u32,
    /// How many of them had to wait. The pause doubles with each.
    waits: u32,
}

/// The longest pause: a day.
const LONGEST: i64 = 24 * 3_600 * 1_000_000;
/// So many reads begin without a pause while a statement or a change overtakes the one before.
const OVERTAKEN: u32 = 3;
/// The pause between two reads of keys. They cost as much as the changes that they bring, and wait so that they gather.
const KEYS_PAUSE: i64 = 1_000_000;

impl Rest {
    /// Until when a read waits that is asked for now, in microseconds since the epoch; `None`: it may begin. `overtakes`: the doubt
    /// arose while the table was being read.
    pub(super) fn until(&self, cause: Cause, overtakes: bool, at: At) -> Option<i64> {
        let pause = self.pause(at.rules)?;
        if self.is_over(at, pause) {
            return None;
        }
        let begins = match cause {
            Cause::Asked | Cause::ByHand => true,
            // A definition is changed by somebody, and not by a job that does so all the time.
            Cause::Definition => self.reads < OVERTAKEN,
            Cause::Rows => overtakes && self.reads < OVERTAKEN,
        };
        (!begins).then(|| self.began.saturating_add(pause))
    }

    /// The same of a read of keys.
    pub(super) fn until_keys(&self, at: At) -> Option<i64> {
        let until = self.keys_began.saturating_add(KEYS_PAUSE.min(at.rules.pause));
        (self.keys_began <= at.micros && at.micros < until).then_some(until)
    }

    /// A read of the table begins by itself. `waited`: it had to wait.
    pub(super) fn begins(&mut self, waited: bool, at: At) {
        if self.pause(at.rules).is_none_or(|pause| self.is_over(at, pause) && !waited) {
            self.reads = 0;
            self.waits = 0;
        }
        self.began = at.micros;
        self.reads = self.reads.saturating_add(1);
        self.waits = self.waits.saturating_add(u32::from(waited));
    }

    /// A read of keys begins by itself.
    pub(super) fn begins_keys(&mut self, at: At) {
        self.keys_began = at.micros;
    }

    /// The pause from the last read on.
    fn pause(&self, rules: Rules) -> Option<i64> {
        let factor = 1_i64.checked_shl(self.waits.min(40)).unwrap_or(i64::MAX);
        Some(rules.pause.saturating_mul(factor).min(LONGEST)).filter(|pause| *pause > 0)
    }

    /// Whether the table has been left alone for long enough. A clock that was set back does not make it wait for longer than the pause.
    fn is_over(&self, at: At, pause: i64) -> bool {
        self.reads == 0 || at.micros < self.began || at.micros - self.began >= pause
    }
}

#[cfg(test)]
mod tests {
    use wal::Lsn;

    use super::*;
    use crate::model::OnDoubt;

    const MINUTE: i64 = 60_000_000;
    const RULES: Rules = Rules { on_doubt: OnDoubt::Reread, pause: 10 * MINUTE };

    fn at(minutes: i64) -> At {
        At { lsn: Lsn::new(1), micros: 1_000 * MINUTE + minutes * MINUTE, rules: RULES }
    }

    fn minutes(until: Option<i64>) -> Option<i64> {
        until.map(|until| until / MINUTE - 1_000)
    }

    #[test]
    fn a_table_that_was_read_less_than_the_pause_ago_waits_and_the_pause_doubles_up_to_a_day() {
        let mut rest = Rest::default();
        assert_eq!(rest.until(Cause::Rows, false, at(0)), None);
        rest.begins(false, at(0));
        assert_eq!(minutes(rest.until(Cause::Rows, false, at(1))), Some(10));
        rest.begins(true, at(10));
        assert_eq!(minutes(rest.until(Cause::Rows, false, at(11))), Some(30));
        rest.begins(true, at(30));
        assert_eq!(minutes(rest.until(Cause::Rows, false, at(31))), Some(70));
        let mut now = 70;
        for _ in 0..40 {
            rest.begins(true, at(now));
            let until = minutes(rest.until(Cause::Rows, false, at(now + 1))).unwrap();
            assert!(until - now <= 24 * 60, "{until}");
            now = until;
        }
        assert_eq!(minutes(rest.until(Cause::Rows, false, at(now))), None, "the day is over");
        rest.begins(false, at(now));
        assert_eq!(minutes(rest.until(Cause::Rows, false, at(now + 1))), Some(now + 10), "left alone for so long");
    }

    #[test]
    fn a_read_that_is_overtaken_begins_again_three_times_before_it_waits() {
        let mut rest = Rest::default();
        for _ in 0..3 {
            assert_eq!(rest.until(Cause::Rows, true, at(0)), None);
            rest.begins(false, at(0));
        }
        assert_eq!(minutes(rest.until(Cause::Rows, true, at(0))), Some(10));
        assert_eq!(minutes(rest.until(Cause::Definition, false, at(0))), Some(10));
        assert_eq!(rest.until(Cause::Asked, false, at(0)), None, "who asks does not wait");
    }

    #[test]
    fn a_clock_that_is_set_back_and_no_pause_make_nothing_wait() {
        let mut rest = Rest::default();
        rest.begins(false, at(5));
        assert_eq!(rest.until(Cause::Rows, false, at(4)), None);
        assert_eq!(rest.until(Cause::Rows, false, At { rules: Rules::default(), ..at(5) }), None);
    }

    #[test]
    fn keys_gather_for_a_second() {
        let mut rest = Rest::default();
        assert_eq!(rest.until_keys(at(0)), None);
        rest.begins_keys(at(0));
        assert_eq!(rest.until_keys(at(0)), Some(at(0).micros + 1_000_000));
        assert_eq!(rest.until_keys(At { rules: Rules::default(), ..at(0) }), None);
        assert_eq!(rest.until_keys(at(1)), None);
        assert_eq!(rest.until(Cause::Rows, false, at(0)), None, "keys are no read of the table");
    }
}
