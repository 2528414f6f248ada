//! How long the server has refused one table what it takes from others: too many parts, no memory, no space for it. Such a refusal
//! may be gone in a moment, so it is tried again; but nothing behind it is applied meanwhile, and a table that is refused for longer than
//! `stop_refused_after` is stopped, so that the others go on.
//!
//! Each refusal is written into a table of the sink's own. That says how long it lasts, over restarts of the daemon; and it shows that
//! the server takes rows at all: while it does not, no table is to blame, and no time runs out.
//!
//! What counts is the time from one refusal to the next, of which [`LONGEST_GAP`] at most. It does not count from before the daemon began,
//! and not over a time in which the server could not be reached, took no refusal down, or had no memory for anybody ([`Refusals::pause`]).
//!
//! | table `_replicator_refused_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `last_ms`, `lasted_ms` | the last refusal by the server's clock, and how long they have lasted until then |
//! | `refusals`, `reason` | how many there were, the last one's words |
//! | `version`, `is_gone` | number of the line; 1 when the table has been written to since |

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::error::Refused;
use super::names::{REFUSED, literal, quoted};
use super::registry::{append, line};
use crate::model::TableName;

/// Refusals before a table is stopped, however long they last: one long copy that is refused has not been tried often.
const FEWEST: u64 = 5;
/// What counts of the time between two refusals: the longest wait between tries and a try. More would count time in which something
/// else was tried, or nothing.
const LONGEST_GAP: Duration = Duration::from_mins(1);

/// The refusals that last, of all tables.
#[derive(Debug)]
pub(super) struct Refusals {
    lines: BTreeMap<TableName, Line>,
    counting: Counting,
}

/// From when on time counts, by the server's clock. It is kept while a target is opened again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Counting {
    /// From the next refusal on.
    #[default]
    Paused,
    /// In milliseconds.
    From(u64),
}

#[derive(Clone, Debug, Default)]
struct Line {
    version: u64,
    /// `None`: it does not last.
    lasting: Option<Lasting>,
}

/// One table's refusals, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    pub(super) refusals: u64,
    pub(super) time: Duration,
    /// The last one, by the server's clock.
    last_ms: u64,
}

impl Lasting {
    /// With one more, at `now_ms`.
    fn next(before: Option<Self>, now_ms: u64, counts_from_ms: u64) -> Self {
        let Some(before) = before else { return Self { refusals: 1, time: Duration::ZERO, last_ms: now_ms } };
        let gap = Duration::from_millis(now_ms.saturating_sub(before.last_ms.max(counts_from_ms)));
        Self { refusals: before.refusals + 1, time: before.time + gap.min(LONGEST_GAP), last_ms: now_ms }
    }

    /// Whether the table is to stop.
    pub(super) fn is_too_long(self, limit: Duration) -> bool {
        self.refusals >= FEWEST && self.time >= limit
    }
}

impl Refusals {
    /// Reads what the target holds, and makes its table if there is none.
    pub(super) async fn load(client: &Client, sink: &str) -> Result<Self, Refused> {
        let table = quoted(REFUSED);
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {table} (sink String, source_database String, source_table String, last_ms UInt64, \
             lasted_ms UInt64, refusals UInt64, reason String, version UInt64, is_gone UInt8) ENGINE = ReplacingMergeTree(version) \
             ORDER BY (sink, source_database, source_table) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        );
        client.execute(&sql, false).await?;
        let sql = format!(
            "SELECT source_database, source_table, version, last_ms, lasted_ms, refusals, is_gone FROM {table} FINAL WHERE sink = {}",
            literal(sink)
        );
        let mut lines = BTreeMap::new();
        for (database, table, version, last_ms, lasted_ms, refusals, is_gone) in
            client.rows::<(String, String, u64, u64, u64, u64, u8)>(&sql).await?
        {
            let lasting = Lasting { refusals, time: Duration::from_millis(lasted_ms), last_ms };
            let lasting = (is_gone == 0).then_some(lasting);
            lines.insert(TableName::new(database, table), Line { version, lasting });
        }
        Ok(Self { lines, counting: Counting::Paused })
    }

    /// No time counts until the next refusal.
    pub(super) fn pause(&mut self) {
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

    /// Writes one more refusal down.
    ///
    /// # Errors
    /// When the server does not take this line either: then it is not about the table.
    pub(super) async fn note(
        &mut self,
        client: &Client,
        sink: &str,
        table: &TableName,
        reason: &str,
    ) -> Result<Lasting, Refused> {
        let noted = self.try_note(client, sink, table, reason).await;
        if noted.is_err() {
            self.pause();
        }
        noted
    }

    async fn try_note(
        &mut self,
        client: &Client,
        sink: &str,
        table: &TableName,
        reason: &str,
    ) -> Result<Lasting, Refused> {
        let clock: Vec<(u64,)> = client.rows("SELECT toUInt64(toUnixTimestamp64Milli(now64(3)))").await?;
        let Some((now,)) = clock.first().copied() else {
            return Err(Refused::refused_here("the server's clock has no row".to_owned()));
        };
        let from = match self.counting {
            Counting::Paused => now,
            Counting::From(from) => from,
        };
        let old = self.lines.get(table).cloned().unwrap_or_default();
        let lasting = Lasting::next(old.lasting, now, from);
        let new = Line { version: old.version + 1, lasting: Some(lasting) };
        let lasted_ms = u64::try_from(lasting.time.as_millis()).unwrap_or(u64::MAX);
        let row = serde_json::json!({
            "last_ms": now, "lasted_ms": lasted_ms, "refusals": lasting.refusals, "reason": reason, "is_gone": 0
        });
        append(client, REFUSED, &[line(sink, table, new.version, row)]).await?;
        self.lines.insert(table.clone(), new);
        self.counting = Counting::From(from);
        Ok(lasting)
    }

    /// The table was written to, or is stopped, or is no more: the next refusal is its first.
    pub(super) async fn end(&mut self, client: &Client, sink: &str, table: &TableName) -> Result<(), Refused> {
        let Some(Line { version, lasting: Some(_) }) = self.lines.get(table).cloned() else { return Ok(()) };
        let row = serde_json::json!({ "last_ms": 0, "lasted_ms": 0, "refusals": 0, "reason": "", "is_gone": 1 });
        append(client, REFUSED, &[line(sink, table, version + 1, row)]).await?;
        self.lines.insert(table.clone(), Line { version: version + 1, lasting: None });
        Ok(())
    }
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
