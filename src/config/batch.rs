//! The `batch` section of a sink: how much goes to it at once.

use std::time::Duration;

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

/// Reads the section; what it leaves out is as in `defaults`.
pub(super) fn read(section: Section<'_>, defaults: BatchPlan) -> BatchPlan {
    let bytes = section.key("max_bytes");
    let plan = BatchPlan {
        max_rows: section.key("max_rows").integer(1..=MAX_ROWS).unwrap_or(defaults.max_rows),
        max_bytes: bytes.parsed(units::size).unwrap_or(defaults.max_bytes),
        max_delay: units::duration_between(&section.key("max_delay"), defaults.max_delay, Duration::ZERO, MAX_DELAY),
    };
    if !(MIN_BYTES..=MAX_BYTES).contains(&plan.max_bytes) {
        let (least, most) = (units::show_size(MIN_BYTES), units::show_size(MAX_BYTES));
        bytes.problem(format!("must be from {least} to {most}"));
    }
    section.finish();
    plan
}
