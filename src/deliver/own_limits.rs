//! The open round's tables that have limits of their own.
//!
//! A round ends by the sink's limits, and before that by those of any table that it has rows of.

use std::time::Instant;

use crate::model::TableName;
use crate::sink::RoundLimits;

/// Tables of the open round that have limits of their own.
#[derive(Debug, Default)]
pub(super) struct OwnLimits {
    tables: Vec<OwnTable>,
    /// A table has reached its rows or its bytes.
    reached: bool,
    /// The first moment at which the age of a table's rows ends the round.
    ends_at: Option<Instant>,
    /// The first moment up to which a table's rows wait for others.
    lingers_until: Option<Instant>,
}

#[derive(Debug)]
struct OwnTable {
    table: TableName,
    limits: RoundLimits,
    rows: u64,
    bytes: usize,
}

/// A table's place in the open round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnPlace(usize);

impl OwnLimits {
    /// The first rows of one of a table's schemas come at `now`.
    pub(super) fn enter(&mut self, table: &TableName, limits: RoundLimits, now: Instant) -> OwnPlace {
        // Two schemas of a table in one round are one table.
        if let Some(place) = self.tables.iter().position(|own| own.table == *table) {
            return OwnPlace(place);
        }
        let earlier = |known: Option<Instant>, own: Instant| Some(known.map_or(own, |known| known.min(own)));
        self.ends_at = earlier(self.ends_at, now + limits.age);
        self.lingers_until = earlier(self.lingers_until, now + limits.linger);
        self.tables.push(OwnTable { table: table.clone(), limits, rows: 0, bytes: 0 });
        OwnPlace(self.tables.len() - 1)
    }

    /// Rows of a table went in.
    pub(super) fn add(&mut self, place: OwnPlace, rows: u64, bytes: usize) {
        let Some(own) = self.tables.get_mut(place.0) else { return };
        own.rows += rows;
        own.bytes = own.bytes.saturating_add(bytes);
        self.reached |= own.rows >= own.limits.rows || own.bytes >= own.limits.bytes;
    }

    /// Whether the round is due before more is read.
    pub(super) fn are_reached(&self) -> bool {
        self.reached || self.ends_at.is_some_and(|at| at <= Instant::now())
    }

    /// Until when a round waits for more that would wait until `until` without these tables.
    pub(super) fn cut(&self, until: Instant) -> Instant {
        self.lingers_until.map_or(until, |own| own.min(until))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn limits(rows: u64, bytes: usize) -> RoundLimits {
        RoundLimits { rows, bytes, age: HOUR, linger: HOUR, ..RoundLimits::default() }
    }

    fn table(name: &str) -> TableName {
        TableName::new("shop", name)
    }

    #[test]
    fn each_table_counts_its_own_rows_and_bytes() {
        let now = Instant::now();
        let mut own = OwnLimits::default();
        let few = own.enter(&table("few"), limits(3, 1000), now);
        let small = own.enter(&table("small"), limits(1000, 10), now);
        own.add(few, 2, 500);
        own.add(small, 500, 9);
        assert!(!own.are_reached());
        own.add(few, 1, 1);
        assert!(own.are_reached());

        let mut own = OwnLimits::default();
        let small = own.enter(&table("small"), limits(1000, 10), now);
        own.add(small, 1, 10);
        assert!(own.are_reached());
    }

    #[test]
    fn two_schemas_of_a_table_are_one_table() {
        let now = Instant::now();
        let mut own = OwnLimits::default();
        let before = own.enter(&table("t"), limits(4, 1000), now);
        let after = own.enter(&table("t"), limits(4, 1000), now);
        own.add(before, 2, 1);
        own.add(after, 2, 1);
        assert!(own.are_reached());
    }

    #[test]
    fn the_round_waits_as_long_as_the_least_patient_of_them() {
        let now = Instant::now();
        let mut own = OwnLimits::default();
        assert_eq!(own.cut(now + HOUR), now + HOUR);
        let patient = RoundLimits { linger: 2 * HOUR, ..limits(9, 9) };
        own.enter(&table("patient"), patient, now);
        assert_eq!(own.cut(now + HOUR), now + HOUR);
        let hasty = RoundLimits { linger: HOUR / 4, ..limits(9, 9) };
        own.enter(&table("hasty"), hasty, now + HOUR / 4);
        assert_eq!(own.cut(now + HOUR), now + HOUR / 2);
        assert!(!own.are_reached());
    }

    #[test]
    fn a_round_that_is_as_old_as_a_table_allows_is_due() {
        let mut own = OwnLimits::default();
        let long_ago = Instant::now().checked_sub(Duration::from_millis(5)).unwrap();
        own.enter(&table("t"), RoundLimits { age: Duration::from_millis(5), ..limits(9, 9) }, long_ago);
        assert!(own.are_reached());
    }
}
