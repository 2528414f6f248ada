//! What becomes of the row changes of a round, table by table.
//!
//! `taken` is counted while rows are made of the images in a frame's body, and `acknowledged` is what the target says it has written: a
//! change of key is two rows there, one of them `split`. A row that no image is read for is counted by its section's header, because
//! it is on both sides of the balance: left out with its table (`skipped`), or stored before a crash (`recovered`). What the target says is
//! counted by each sink. At ClickHouse nothing is `netted`, as every change is sent, and `unmatched` is not known, as the server does not look
//! for older rows.
//!
//! Counts of a round that is given up are dropped with it; when its rows are sent again, they are counted again.

use std::collections::BTreeMap;

use crate::model::{RowCounts, TableName};

/// Counts by table.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<TableName, RowCounts>);

impl Counts {
    /// Row changes that are left out, because their table is stopped.
    pub(super) fn skip(&mut self, table: &TableName, rows: u64) {
        self.add(table, RowCounts { taken: rows, skipped: rows, ..RowCounts::default() });
    }

    /// Row changes that were stored before a crash.
    pub(super) fn recover(&mut self, table: &TableName, rows: u64) {
        self.add(table, RowCounts { taken: rows, recovered: rows, ..RowCounts::default() });
    }

    /// Row changes that the table's rule for rows leaves out.
    pub(super) fn rule_out(&mut self, table: &TableName, rows: u64) {
        self.add(table, RowCounts { taken: rows, ruled_out: rows, ..RowCounts::default() });
    }

    /// Rows that were not found need not have been there: as many count as not found as before.
    pub(super) fn forgive(&mut self, table: &TableName, unmatched: u64) {
        if let Some(counts) = self.0.get_mut(table) {
            counts.unmatched = unmatched;
        }
    }

    /// Adds counts of a table.
    pub(super) fn add(&mut self, table: &TableName, counts: RowCounts) {
        if counts == RowCounts::default() {
            return;
        }
        match self.0.get_mut(table) {
            Some(sum) => sum.add(counts),
            None => drop(self.0.insert(table.clone(), counts)),
        }
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TableName, &RowCounts)> {
        self.0.iter()
    }

    /// Those of a table.
    pub(super) fn of(&self, table: &TableName) -> RowCounts {
        self.0.get(table).copied().unwrap_or_default()
    }

    /// Adds those of another round.
    pub(super) fn append(&mut self, other: Self) {
        for (table, counts) in other.0 {
            self.add(&table, counts);
        }
    }

    /// Takes all, in order.
    pub(super) fn take(&mut self) -> Vec<(TableName, RowCounts)> {
        std::mem::take(&mut self.0).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_or_was_stored_before_balances_and_adds_up_over_rounds() {
        let (a, b) = (TableName::new("shop", "a"), TableName::new("shop", "b"));
        let mut first = Counts::default();
        first.skip(&a, 3);
        first.recover(&b, 4);
        first.skip(&b, 0);
        let mut second = Counts::default();
        second.add(&a, RowCounts { taken: 5, acknowledged: 6, split: 1, ..RowCounts::default() });
        second.add(&TableName::new("shop", "c"), RowCounts::default());
        first.append(second);

        let counts = first.take();
        assert!(counts.iter().all(|(_, counts)| counts.balance()), "{counts:?}");
        let sums: Vec<_> =
            counts.iter().map(|(table, sum)| (table.table.as_str(), sum.taken, sum.skipped, sum.recovered)).collect();
        assert_eq!(sums, [("a", 8, 3, 0), ("b", 4, 0, 4)]);
        assert!(first.take().is_empty());
    }
}
