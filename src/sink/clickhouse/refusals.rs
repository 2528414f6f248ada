//! How long the server has refused one table what it takes from others: too many parts, no memory, no space for it. Such a refusal
//! may be gone in a moment, so it is tried again; but nothing behind it is applied meanwhile, and a table that is refused for longer than
//! `stop_refused_after` is stopped, so that the others go on.
//!
//! Each refusal is written into a table of the sink's own. That says since when it lasts, over restarts of the daemon; and it shows that
//! the server takes rows at all: while it does not, no table is to blame, and no time runs out.
//!
//! | table `_replicator_refused_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `since_ms`, `refusals`, `reason` | the first refusal by the server's clock, how many there were, the last one's words |
//! | `version`, `is_gone` | number of the line; 1 when the table has been written to since |

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::error::Refused;
use super::names::{REFUSED, literal, quoted};
use super::registry::{append, line};
use crate::model::TableName;

/// Refusals before a table is stopped, however long they last: a daemon that was down in between has not tried.
const FEWEST: u64 = 5;

/// The refusals that last, of all tables.
#[derive(Debug)]
pub(super) struct Refusals {
    lines: BTreeMap<TableName, Line>,
}

#[derive(Clone, Debug, Default)]
struct Line {
    version: u64,
    /// First refusal and count; `None`: it does not last.
    lasting: Option<(u64, u64)>,
}

/// One table's refusals, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    pub(super) refusals: u64,
    pub(super) time: Duration,
}

impl Lasting {
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
            "CREATE TABLE IF NOT EXISTS {table} (sink String, source_database String, source_table String, since_ms UInt64, \
             refusals UInt64, reason String, version UInt64, is_gone UInt8) ENGINE = ReplacingMergeTree(version) \
             ORDER BY (sink, source_database, source_table) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        );
        client.execute(&sql, false).await?;
        let sql = format!(
            "SELECT source_database, source_table, version, since_ms, refusals, is_gone FROM {table} FINAL WHERE sink = {}",
            literal(sink)
        );
        let mut lines = BTreeMap::new();
        for (database, table, version, since_ms, refusals, is_gone) in
            client.rows::<(String, String, u64, u64, u64, u8)>(&sql).await?
        {
            let lasting = (is_gone == 0).then_some((since_ms, refusals));
            lines.insert(TableName::new(database, table), Line { version, lasting });
        }
        Ok(Self { lines })
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
        let clock: Vec<(u64,)> = client.rows("SELECT toUInt64(toUnixTimestamp64Milli(now64(3)))").await?;
        let old = self.lines.get(table).cloned().unwrap_or_default();
        let now = clock.first().map_or(0, |(now,)| *now);
        let (since_ms, before) = old.lasting.unwrap_or((now, 0));
        let new = Line { version: old.version + 1, lasting: Some((since_ms, before + 1)) };
        let row = serde_json::json!({ "since_ms": since_ms, "refusals": before + 1, "reason": reason, "is_gone": 0 });
        append(client, REFUSED, &[line(sink, table, new.version, row)]).await?;
        self.lines.insert(table.clone(), new);
        Ok(Lasting { refusals: before + 1, time: Duration::from_millis(now.saturating_sub(since_ms)) })
    }

    /// The table was written to, or is stopped, or is no more: the next refusal is its first.
    pub(super) async fn end(&mut self, client: &Client, sink: &str, table: &TableName) -> Result<(), Refused> {
        let Some(Line { version, lasting: Some(_) }) = self.lines.get(table).cloned() else { return Ok(()) };
        let row = serde_json::json!({ "since_ms": 0, "refusals": 0, "reason": "", "is_gone": 1 });
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
        let lasting = |refusals, minutes| Lasting { refusals, time: Duration::from_mins(minutes) };
        assert!(!lasting(50, 9).is_too_long(limit));
        assert!(!lasting(2, 600).is_too_long(limit), "the daemon was down in between");
        assert!(lasting(5, 10).is_too_long(limit));
    }
}
