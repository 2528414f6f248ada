//! How long a target has refused one table what it takes from others: too many parts, no memory, no space for it. Such a refusal may be gone
//! in a moment, so it is tried again. But nothing after it is applied meanwhile, and a table that is refused for longer than the
//! [sink allows](Blame::Table) is stopped, so that the others go on.
//!
//! Each refusal is written down at the target. That says how long it lasts, over restarts of the daemon. And it shows that the target takes rows
//! at all: while it does not, no table is to blame, and no time runs out.
//!
//! What counts is the time from one refusal to the next, of which [`LONGEST_GAP`] at most. It does not count from before the daemon began,
//! and not over a time in which the target could not be reached, wrote no refusal down, or had no room for anybody ([`Refusals::pause`]).

use std::collections::BTreeMap;
use std::time::Duration;

use super::definitions::Definitions;
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;

/// Refusals before a table is stopped, however long they last: one long copy that is refused has not been tried often.
const FEWEST: u64 = 5;
/// What counts of the time between two refusals: the longest wait between tries and a try. More would count time in which something
/// else was tried, or nothing.
const LONGEST_GAP: Duration = Duration::from_mins(1);

/// What a failure that may pass is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It may be about one table, which may be refused for so long.
    Table(Duration),
    /// The target has no room for anybody.
    Target,
    /// Neither: it says nothing of one table.
    Unknown,
}

/// The refusals that last, of all tables.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    lines: BTreeMap<TableName, Line>,
    counting: Counting,
}

/// From when on time counts, by the target's clock. It is kept while a target is opened again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Counting {
    /// From the next refusal on.
    #[default]
    Paused,
    /// In milliseconds.
    From(u64),
}

/// What is written down of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of the line: it grows.
    pub(super) version: u64,
    /// `None`: it does not last.
    pub(super) lasting: Option<Lasting>,
}

/// One table's refusals, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    /// How many there were.
    pub(super) refusals: u64,
    /// How long they have lasted.
    pub(super) time: Duration,
    /// The last one, by the target's clock, in milliseconds.
    pub(super) last_ms: u64,
}

impl Lasting {
    /// With one more, at `now_ms`.
    fn next(before: Option<Self>, now_ms: u64, counts_from_ms: u64) -> Self {
        let Some(before) = before else { return Self { refusals: 1, time: Duration::ZERO, last_ms: now_ms } };
        let gap = Duration::from_millis(now_ms.saturating_sub(before.last_ms.max(counts_from_ms)));
        Self { refusals: before.refusals + 1, time: before.time + gap.min(LONGEST_GAP), last_ms: now_ms }
    }

    /// Whether the table is to stop.
    fn is_too_long(self, limit: Duration) -> bool {
        self.refusals >= FEWEST && self.time >= limit
    }
}

impl Refusals {
    /// As they are written down.
    pub(super) fn new(lines: BTreeMap<TableName, Line>) -> Self {
        Self { lines, counting: Counting::Paused }
    }

    /// No time counts until the next refusal.
    fn pause(&mut self) {
        self.counting = Counting::Paused;
    }

    /// Goes on as an earlier target left off.
    pub(super) fn go_on(&mut self, counting: Counting) {
        self.counting = counting;
    }

    /// For [`Refusals::go_on`].
    pub(super) fn counting(&self) -> Counting {
        self.counting
    }

    /// The table's line with one more refusal at `now_ms`, and since when time counts.
    fn next(&self, table: &TableName, now_ms: u64) -> (Line, Lasting, u64) {
        let from = match self.counting {
            Counting::Paused => now_ms,
            Counting::From(from) => from,
        };
        let Line { version, lasting } = self.lines.get(table).copied().unwrap_or_default();
        let lasting = Lasting::next(lasting, now_ms, from);
        (Line { version: version + 1, lasting: Some(lasting) }, lasting, from)
    }
}

/// A failure of one table: of class `Row` if it has lasted for so long that it is about that table.
pub(super) async fn weigh<D: Definitions>(target: &mut D, table: &TableName, failure: Failure) -> Failure {
    let limit = match target.blame(&failure) {
        Blame::Table(limit) => limit,
        Blame::Target => {
            target.followed_mut().refusals.pause();
            return failure;
        }
        Blame::Unknown => return failure,
    };
    match note(target, table, &failure.chain()).await {
        Ok(lasting) if lasting.is_too_long(limit) => {
            let time = humantime::format_duration(Duration::from_secs(lasting.time.as_secs()));
            let why = format!("the target has refused {table} for {time}, in {} tries", lasting.refusals);
            Failure { class: ErrorClass::Row, message: format!("{why}: {}", failure.message), ..failure }
        }
        Ok(_) => failure,
        // It does not take this line either: then it is not about the table.
        Err(other) => {
            target.followed_mut().refusals.pause();
            tracing::debug!(sink = %target.plan().name, %table, error = %other.chain(), "the target takes no other rows either");
            failure
        }
    }
}

/// Writes one more refusal down.
async fn note<D: Definitions>(target: &mut D, table: &TableName, reason: &str) -> Result<Lasting, Failure> {
    let now = target.clock_ms().await?;
    let (line, lasting, from) = target.followed().refusals.next(table, now);
    target.save_refusal(table, &line, reason).await?;
    let refusals = &mut target.followed_mut().refusals;
    refusals.lines.insert(table.clone(), line);
    refusals.counting = Counting::From(from);
    Ok(lasting)
}

/// The table was written to, or is stopped, or is no more: the next refusal is its first.
pub(super) async fn accepted<D: Definitions>(target: &mut D, table: &TableName) -> Result<(), Failure> {
    let Some(Line { version, lasting: Some(_) }) = target.followed().refusals.lines.get(table).copied() else {
        return Ok(());
    };
    let line = Line { version: version + 1, lasting: None };
    target.save_refusal(table, &line, "").await?;
    target.followed_mut().refusals.lines.insert(table.clone(), line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_refused_for_too_long_after_the_limit_and_more_than_a_few_refusals() {
        let limit = Duration::from_mins(10);
        let lasting = |refusals, minutes| Lasting { refusals, time: Duration::from_mins(minutes), last_ms: 0 };
        assert!(!lasting(50, 9).is_too_long(limit));
        assert!(!lasting(2, 600).is_too_long(limit), "it was hardly tried");
        assert!(lasting(5, 10).is_too_long(limit));
    }

    /// Seconds that refusals have lasted at the end; each is at a second, and counts from another.
    fn lasted(refusals: &[(u64, u64)]) -> u64 {
        let mut lasting = None;
        for (at, from) in refusals {
            lasting = Some(Lasting::next(lasting, at * 1000, from * 1000));
        }
        lasting.map_or(0, |lasting| lasting.time.as_secs())
    }

    #[test]
    fn time_counts_from_one_refusal_to_the_next() {
        assert_eq!(lasted(&[(1000, 1000)]), 0);
        assert_eq!(lasted(&[(1000, 1000), (1030, 1000), (1031, 1000), (1060, 1000)]), 60);
        // A clock that was set back.
        assert_eq!(lasted(&[(1000, 1000), (900, 1000), (910, 1000)]), 0);
    }

    #[test]
    fn time_in_which_the_table_was_not_tried_does_not_count() {
        assert_eq!(lasted(&[(1000, 1000), (1010, 1000), (9000, 1000)]), 10 + 60);
        // The server takes rows again, or the daemon has begun, at 9000: that refusal is the first that counts.
        assert_eq!(lasted(&[(1000, 1000), (1010, 1000), (9000, 9000)]), 10);
        // Of another table, too, which has counted since 1000 and is refused next at 9005.
        assert_eq!(lasted(&[(1000, 1000), (1010, 1000), (9005, 9000), (9015, 9000)]), 10 + 5 + 10);
    }
}
