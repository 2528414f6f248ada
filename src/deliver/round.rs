//! What is written between two commits of a sink.

use std::time::Instant;

use wal::Lsn;

use super::own_limits::OwnLimits;
use crate::sink::RoundLimits;

/// The open round.
#[derive(Debug)]
pub(super) struct Round {
    limits: RoundLimits,
    bytes: usize,
    rows: u64,
    began: Option<Instant>,
    /// End of the last whole transaction in it.
    end: Option<Lsn>,
    /// Commit time of that transaction.
    commit_micros: i64,
    /// The round was sent before, with this end: it must have the same end again.
    fixed: Option<Lsn>,
    /// Tables that end it earlier.
    pub(super) own: OwnLimits,
}

impl Round {
    pub(super) fn new(limits: RoundLimits) -> Self {
        let own = OwnLimits::default();
        Self { limits, bytes: 0, rows: 0, began: None, end: None, commit_micros: 0, fixed: None, own }
    }

    /// A frame went in.
    pub(super) fn add(&mut self, lsn: Lsn, bytes: usize, rows: u64, ends_group: bool, commit_micros: i64) {
        self.bytes += bytes;
        self.rows += rows;
        self.began.get_or_insert_with(Instant::now);
        if ends_group {
            self.end = Some(lsn);
            self.commit_micros = commit_micros;
        } else {
            self.end = None;
        }
    }

    /// The end to commit at, if the round stands at the end of a transaction.
    pub(super) fn end(&self) -> Option<(Lsn, i64)> {
        self.end.filter(|end| self.fixed.is_none_or(|fixed| fixed == *end)).map(|end| (end, self.commit_micros))
    }

    /// The round has to end here and nowhere else.
    pub(super) fn ends_at(&mut self, end: Option<Lsn>) {
        self.fixed = end;
    }

    /// Whether it is due before more is read.
    pub(super) fn is_full(&self) -> bool {
        self.fixed.is_some()
            || self.bytes >= self.limits.bytes
            || self.rows >= self.limits.rows
            || self.began.is_some_and(|began| began.elapsed() >= self.limits.age)
            || self.own.are_reached()
    }

    /// When a round with nothing more to read is closed; `None`: at once.
    pub(super) fn lingers_until(&self) -> Option<Instant> {
        if self.fixed.is_some() || self.limits.linger.is_zero() {
            return None;
        }
        self.began.map(|began| self.own.cut(began + self.limits.linger)).filter(|until| *until > Instant::now())
    }

    /// Whether it has no frame.
    pub(super) fn is_empty(&self) -> bool {
        self.began.is_none()
    }

    /// A new round begins.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::TableName;

    fn limits(bytes: usize) -> RoundLimits {
        RoundLimits { bytes, rows: 100, age: Duration::from_mins(1), ..RoundLimits::default() }
    }

    #[test]
    fn a_round_can_end_only_where_a_transaction_ends() {
        let mut round = Round::new(limits(10));
        round.add(Lsn::new(1), 4, 1, true, 5);
        assert_eq!((round.end(), round.is_full()), (Some((Lsn::new(1), 5)), false));
        round.add(Lsn::new(2), 7, 1, false, 6);
        assert_eq!((round.end(), round.is_full()), (None, true));
        round.add(Lsn::new(3), 1, 1, true, 6);
        assert_eq!(round.end(), Some((Lsn::new(3), 6)));
        round.clear();
        assert_eq!((round.end(), round.is_full()), (None, false));
    }

    #[test]
    fn a_round_that_was_sent_before_has_the_same_end_again() {
        let mut round = Round::new(limits(1));
        round.ends_at(Some(Lsn::new(2)));
        round.add(Lsn::new(1), 4, 1, true, 5);
        assert_eq!(round.end(), None);
        round.add(Lsn::new(2), 4, 1, true, 6);
        assert_eq!(round.end(), Some((Lsn::new(2), 6)));
    }

    #[test]
    fn a_table_with_limits_of_its_own_ends_the_round_and_none_after_it() {
        let linger = Duration::from_mins(1);
        let mut round = Round::new(RoundLimits { linger, ..limits(1000) });
        let own = RoundLimits { rows: 2, linger: Duration::ZERO, ..limits(1000) };
        let place = round.own.enter(&TableName::new("shop", "t"), own, Instant::now());
        round.own.add(place, 1, 10);
        round.add(Lsn::new(1), 10, 5, true, 5);
        assert!(!round.is_full());
        assert_eq!(round.lingers_until(), None);
        round.own.add(place, 1, 10);
        assert!(round.is_full());
        round.clear();
        round.add(Lsn::new(2), 10, 5, true, 5);
        assert!(!round.is_full());
        assert!(round.lingers_until().is_some());
    }

    #[test]
    fn a_round_waits_for_more_as_long_as_its_sink_wants_but_not_when_it_was_sent_before() {
        let mut round = Round::new(limits(10));
        round.add(Lsn::new(1), 4, 1, true, 5);
        assert_eq!(round.lingers_until(), None);
        let mut round = Round::new(RoundLimits { linger: Duration::from_mins(1), ..limits(10) });
        assert_eq!(round.lingers_until(), None);
        round.add(Lsn::new(1), 4, 1, true, 5);
        assert!(round.lingers_until().is_some());
        round.ends_at(Some(Lsn::new(1)));
        assert_eq!(round.lingers_until(), None);
    }
}
