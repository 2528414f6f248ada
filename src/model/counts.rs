//! What became of a table's row changes at a sink, counted on both sides of the hand-over.

use serde::{Deserialize, Serialize};

/// Row changes of one table at one sink. `taken` and the others are counted independently: `taken` while rows are
/// taken from the log, `acknowledged` from what the target reports.
///
/// They balance: `taken = acknowledged + netted - split + skipped + recovered + ruled_out + dead_lettered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Row changes taken from the log; an update counts once.
    pub taken: u64,
    /// Operations that the target acknowledged. Those that found no row are counted here too.
    pub acknowledged: u64,
    /// Row changes that a later change of the same round made needless, so that they were never sent.
    pub netted: u64,
    /// Operations beyond one for a row change: an update that changes the key is a delete and an insert.
    pub split: u64,
    /// Deletes and updates among `acknowledged` that found no row.
    pub unmatched: u64,
    /// Row changes left out because the sink has stopped the table.
    pub skipped: u64,
    /// Row changes that the target had applied before a crash, as its cursor says; their acknowledgements are lost.
    pub recovered: u64,
    /// Row changes that the table's `rows` leave out.
    pub ruled_out: u64,
    /// Row changes that could not be written, and became dead letters.
    pub dead_lettered: u64,
    /// Values that were replaced by what a policy says.
    pub replaced: ReplacedValues,
    /// Operations among `acknowledged` of which the target gave no count of its own: as many as were sent. Of these,
    /// both sides of the balance have one origin.
    pub sent: u64,
}

impl RowCounts {
    /// Adds the counts of another round.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.acknowledged += other.acknowledged;
        self.netted += other.netted;
        self.split += other.split;
        self.unmatched += other.unmatched;
        self.skipped += other.skipped;
        self.recovered += other.recovered;
        self.ruled_out += other.ruled_out;
        self.dead_lettered += other.dead_lettered;
        self.replaced.add(other.replaced);
        self.sent += other.sent;
    }

    /// Row changes that are applied at the target, by what the target acknowledged.
    pub fn applied(&self) -> u64 {
        (self.acknowledged + self.netted + self.recovered).saturating_sub(self.split)
    }

    /// Whether every row change taken is accounted for.
    pub fn balance(&self) -> bool {
        let written = self.acknowledged + self.netted;
        let left_out = self.skipped + self.ruled_out + self.dead_lettered;
        self.taken + self.split == written + left_out + self.recovered
    }
}

/// Values that were replaced, by the policy that says by what. They are part of no balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedValues {
    /// Dates that name no day (`zero_dates`).
    pub zero_dates: u64,
    /// Malformed text (`invalid_text`).
    pub invalid_text: u64,
    /// Values that the target's column does not hold (`unconvertible`).
    pub unconvertible: u64,
}

impl ReplacedValues {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.zero_dates += other.zero_dates;
        self.invalid_text += other.invalid_text;
        self.unconvertible += other.unconvertible;
    }

    /// Whether there is one.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// Row changes of one table at one sink, from the log to the target. What is not in `sink` is counted by the delivery
/// loop, from the sections as they are encoded.
///
/// They balance: `appended = before + applied + skipped + ruled_out + dead_lettered + left_out + not_theirs + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRows {
    /// Row changes handed to the sink: what it has to have taken.
    pub delivered: u64,
    /// Row changes in frames that are for other sinks.
    pub not_theirs: u64,
    /// Row changes under a schema that could not be known.
    pub left_out: u64,
    /// What the sink and its target report.
    pub sink: RowCounts,
    /// Row changes that were trimmed from the log before the sink was new to it.
    pub before: u64,
}

impl SinkRows {
    /// Row changes, of `appended` in the log, that are still on their way, or of which the target has acknowledged
    /// nothing.
    pub fn pending(&self, appended: u64) -> u64 {
        let not_written = self.sink.skipped + self.sink.ruled_out + self.sink.dead_lettered;
        appended.saturating_sub(self.before + self.sink.applied() + not_written + self.left_out + self.not_theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_its_way_is_applied_or_has_a_reason() {
        let sink = RowCounts { taken: 6, acknowledged: 7, netted: 1, split: 3, skipped: 1, ..RowCounts::default() };
        let rows = SinkRows { delivered: 6, not_theirs: 20, left_out: 30, sink, before: 100 };
        assert!(sink.balance());
        assert_eq!(rows.pending(160), 4);
    }

    #[test]
    fn an_update_of_a_key_is_two_operations_and_one_applied_change() {
        let counts = RowCounts { taken: 1, acknowledged: 2, split: 1, ..RowCounts::default() };
        assert!(counts.balance());
        assert_eq!(counts.applied(), 1);
    }

    #[test]
    fn a_change_without_an_acknowledgement_does_not_balance() {
        assert!(!RowCounts { taken: 1, ..RowCounts::default() }.balance());
        assert!(RowCounts { taken: 1, skipped: 1, ..RowCounts::default() }.balance());
    }
}
