//! How many rows of a table the server has written, by its own count.
//!
//! What it counts for an INSERT are the rows of the table, and those that materialized views have made of them. So where more was written
//! than was sent, it is asked whether the table feeds any; if it does, its own rows are not told apart, and what is known is that all
//! that was sent was written. A server, or a proxy before it, that says nothing has taken what was sent. In both cases the rows are
//! counted as sent, and the counts say so ([`Acknowledged::sent`]). In all other cases the count is the server's, whatever was sent.

use std::collections::HashSet;

use super::batch::Stored;
use super::names::literal;
use super::target::Target;
use crate::error::Failure;
use crate::model::TableName;

/// What is known of the server's counts.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Tables that feed materialized views.
    feeding: HashSet<TableName>,
    /// It was said that there are none.
    is_silence_told: bool,
}

/// What the server has acknowledged with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// Rows of the table.
    pub(super) rows: u64,
    /// Those of them that the server has not counted for the table.
    pub(super) sent: u64,
}

/// Of a batch of `sent` rows, of which the server says that it has written `written`, those of views included if the
/// table `feeds` any.
fn weigh(sent: u64, written: Option<u64>, feeds: bool) -> Acknowledged {
    match written {
        None => Acknowledged { rows: sent, sent },
        Some(written) if feeds && written >= sent => Acknowledged { rows: sent, sent },
        Some(written) => Acknowledged { rows: written, sent: 0 },
    }
}

impl Target {
    /// Rows of the table that the server has acknowledged with a batch.
    pub(super) async fn acknowledged(&mut self, table: &TableName, batch: &Stored) -> Result<Acknowledged, Failure> {
        let sent = batch.live.rows;
        let feeds = match batch.written {
            Some(written) if written > sent => self.feeds_views(table).await?,
            _ => self.reports.feeding.contains(table),
        };
        let acknowledged = weigh(sent, batch.written, feeds);
        if batch.written.is_none() && !std::mem::replace(&mut self.reports.is_silence_told, true) {
            tracing::warn!(sink = %self.plan.name, "the server does not say how many rows it has written: rows are counted as sent");
        }
        if acknowledged.rows != sent {
            let written = acknowledged.rows;
            tracing::error!(sink = %self.plan.name, %table, sent, written, "the server has not written as many rows as were sent");
        }
        Ok(acknowledged)
    }

    async fn feeds_views(&mut self, table: &TableName) -> Result<bool, Failure> {
        if self.reports.feeding.contains(table) {
            return Ok(true);
        }
        let Some(registered) = self.followed.tables.get(table) else { return Ok(false) };
        let sql = format!(
            "SELECT count() FROM system.tables WHERE database = {} AND name = {} AND notEmpty(dependencies_table)",
            literal(&self.clickhouse.database),
            literal(&registered.layout.target)
        );
        let feeding: Vec<(u64,)> =
            self.client.rows(&sql).await.map_err(|error| error.failure("look for materialized views"))?;
        let feeds = feeding.first().is_some_and(|(count,)| *count > 0);
        if feeds {
            self.reports.feeding.insert(table.clone());
        }
        Ok(feeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_the_server_does_not_count_for_the_table_are_counted_as_sent_and_say_so() {
        for (sent, written, feeds, rows, as_sent) in [
            (5, Some(5), false, 5, 0),
            (5, Some(4), false, 4, 0),
            (5, Some(6), false, 6, 0),
            (5, None, false, 5, 5),
            (5, None, true, 5, 5),
            (5, Some(15), true, 5, 5),
            (5, Some(5), true, 5, 5),
            // Fewer than were sent, those of views included: some are missing.
            (5, Some(4), true, 4, 0),
        ] {
            let expected = Acknowledged { rows, sent: as_sent };
            assert_eq!(weigh(sent, written, feeds), expected, "{sent} {written:?} {feeds}");
        }
    }
}
