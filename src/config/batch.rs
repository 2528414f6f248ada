//! The `batch` sections: how much goes to a sink at once, and how much while rows of one table are in it.

use std::cmp::Reverse;
use std::time::Duration;

use super::TableRule;
use super::problem::Problems;
use super::tree::Section;
use super::units;

/// A target may store so many rows in one piece; the least that one takes is 1,048,449, and the rest is distance.
const MAX_ROWS: u32 = 1_000_000;
/// Two batches may be in memory at once: one on its way, one being written.
const MAX_BYTES: u64 = 1 << 30;
const MIN_BYTES: u64 = 64 << 10;
/// Beyond this the copy is not worth the name of one.
const MAX_DELAY: Duration = Duration::from_hours(1);

/// How much goes to a sink at once. A batch has whole source transactions, so a larger one exceeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Row changes.
    pub max_rows: u32,
    /// Bytes of all tables together: as the log has them, and as the sink holds them.
    pub max_bytes: u64,
    /// How long a row waits for others; zero: it does not.
    pub max_delay: Duration,
}

impl BatchPlan {
    /// With what one table sets: the smaller of the two, each.
    #[must_use]
    pub fn within(self, table: TableBatch) -> Self {
        Self {
            max_rows: table.max_rows.map_or(self.max_rows, |rows| rows.min(self.max_rows)),
            max_bytes: table.max_bytes.map_or(self.max_bytes, |bytes| bytes.min(self.max_bytes)),
            max_delay: table.max_delay.map_or(self.max_delay, |delay| delay.min(self.max_delay)),
        }
    }
}

/// What a table sets for the batches that have rows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableBatch {
    /// Row changes of it.
    pub max_rows: Option<u32>,
    /// Bytes of its rows in the log.
    pub max_bytes: Option<u64>,
    /// How long a row of it waits for others.
    pub max_delay: Option<Duration>,
}

impl TableBatch {
    /// With another one that goes before it, key by key.
    #[must_use]
    pub(super) fn or(self, own: Self) -> Self {
        Self {
            max_rows: own.max_rows.or(self.max_rows),
            max_bytes: own.max_bytes.or(self.max_bytes),
            max_delay: own.max_delay.or(self.max_delay),
        }
    }
}

/// Reads the section of a table.
pub(super) fn read_of_table(section: Section<'_>) -> TableBatch {
    let (rows, bytes) = (section.key("max_rows"), section.key("max_bytes"));
    let batch = TableBatch {
        max_rows: rows.integer(1..=MAX_ROWS),
        max_bytes: bytes.parsed(units::size),
        max_delay: units::duration_within(&section.key("max_delay"), Duration::ZERO, MAX_DELAY),
    };
    if batch.max_bytes.is_some_and(|size| !(MIN_BYTES..=MAX_BYTES).contains(&size)) {
        let (least, most) = (units::show_size(MIN_BYTES), units::show_size(MAX_BYTES));
        bytes.problem(format!("must be from {least} to {most}"));
    }
    section.finish();
    batch
}

/// Reads the section of a sink; what it leaves out is as in `defaults`.
pub(super) fn read(section: Section<'_>, defaults: BatchPlan) -> BatchPlan {
    let batch = read_of_table(section);
    BatchPlan {
        max_rows: batch.max_rows.unwrap_or(defaults.max_rows),
        max_bytes: batch.max_bytes.unwrap_or(defaults.max_bytes),
        max_delay: batch.max_delay.unwrap_or(defaults.max_delay),
    }
}

/// Notes what a table sets that is larger than what every one of these sinks has: it would never be reached. `paths` are those of the rules, and
/// of the sinks.
pub(super) fn check(rules: (&str, &[Option<TableRule>]), sinks: &[(usize, BatchPlan)], problems: &Problems) {
    let (path, rules) = rules;
    let show_delay = |delay: Duration| humantime::format_duration(delay).to_string();
    for (at, rule) in rules.iter().enumerate() {
        let Some(TableBatch { max_rows, max_bytes, max_delay }) = rule.as_ref().map(|rule| rule.batch) else {
            continue;
        };
        let place = |key| (format!("{path}[{at}].batch.{key}"), key, problems);
        note_beyond(place("max_rows"), max_rows, sinks, |batch| batch.max_rows, |rows| rows.to_string());
        note_beyond(place("max_bytes"), max_bytes, sinks, |batch| batch.max_bytes, units::show_size);
        note_beyond(place("max_delay"), max_delay, sinks, |batch| batch.max_delay, show_delay);
    }
}

fn note_beyond<T: Ord + Copy>(
    (path, key, problems): (String, &str, &Problems),
    of_table: Option<T>,
    sinks: &[(usize, BatchPlan)],
    of_sink: impl Fn(&BatchPlan) -> T,
    show: impl Fn(T) -> String,
) {
    // The first of equal ones.
    let most =
        sinks.iter().map(|(sink, batch)| (*sink, of_sink(batch))).max_by_key(|(sink, value)| (*value, Reverse(*sink)));
    if let (Some(of_table), Some((sink, most))) = (of_table, most)
        && of_table > most
    {
        let (of_table, most) = (show(of_table), show(most));
        let message = format!("{of_table} has no effect: no sink has more than {most}, in sinks[{sink}].batch.{key}");
        problems.add(path, message);
    }
}
