//! How many rows of a table the server has written, by its own count.
//!
//! What it counts for an INSERT are the rows of the table, and those that materialized views have made of them. So where more was written
//! than was sent, it is asked whether the table feeds any; if it does, its own rows are not told apart, and what is known is that all
//! that was sent was written. A server, or a proxy before it, that says nothing has taken what was sent. In all other cases the
//! count is the server's, whatever was sent.

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

impl Target {
    /// Rows of the table that the server has acknowledged with a batch.
    pub(super) async fn acknowledged(&mut self, table: &TableName, batch: &Stored) -> Result<u64, Failure> {
        let sent = batch.live.rows;
        let Some(written) = batch.written else {
            if !std::mem::replace(&mut self.reports.is_silence_told, true) {
                tracing::warn!(sink = %self.plan.name, "the server does not say how many rows it has written: rows are counted as sent");
            }
            return Ok(sent);
        };
        if written > sent && self.feeds_views(table).await? {
            return Ok(sent);
        }
        if written != sent {
            tracing::error!(sink = %self.plan.name, %table, sent, written, "the server has not written as many rows as were sent");
        }
        Ok(written)
    }

    async fn feeds_views(&mut self, table: &TableName) -> Result<bool, Failure> {
        if self.reports.feeding.contains(table) {
            return Ok(true);
        }
        let Some(registered) = self.tables.get(table) else { return Ok(false) };
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
