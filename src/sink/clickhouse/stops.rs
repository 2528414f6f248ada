//! What is wrong with one table stops that table alone: its rows of the round are dropped, the stop is written down before the round
//! ends, and the others go on. It comes back when its content is read again, or when it is no more at the source.
//!
//! What is wrong for the moment is about no table, until it has lasted for as long as [`super::refusals`] says.

use std::time::Duration;

use wal::Lsn;

use super::error::Refused;
use super::names::{way_back, way_out};
use super::registry;
use super::target::Target;
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;
use crate::sink::StoppedTable;

impl Target {
    /// Keeps a failure that is about one table to that table.
    pub(super) fn contain(&mut self, table: &TableName, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(failure) if failure.class == ErrorClass::Row => {
                let since = self.began.unwrap_or(Lsn::ZERO);
                self.stop_at(table, since, &failure.chain());
                Ok(())
            }
            other => other,
        }
    }

    /// What came of a request for one table: [`Target::contain`] of a failure, weighed.
    pub(super) async fn judge(&mut self, table: &TableName, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Ok(()) => self.accepted(table).await,
            Err(failure) => {
                let failure = self.weighed(table, failure).await;
                self.contain(table, Err(failure))
            }
        }
    }

    /// [`Target::judge`] of a drop: no backfill mends the table, because the source has none.
    pub(super) async fn judge_drop(&mut self, table: &TableName, done: Result<(), Failure>) -> Result<(), Failure> {
        let Err(failure) = done else { return self.accepted(table).await };
        let failure = self.weighed(table, failure).await;
        if failure.class != ErrorClass::Row {
            return Err(failure);
        }
        self.stop_gone(table, &failure.chain());
        Ok(())
    }

    /// A refusal that may be gone in a moment and has lasted for too long is about its table.
    pub(super) async fn weighed(&mut self, table: &TableName, failure: Failure) -> Failure {
        let Some(refused) = Refused::of(&failure) else { return failure };
        if refused.is_of_whole_server() {
            self.refusals.pause();
        }
        if !refused.is_of_one_table() {
            return failure;
        }
        match self.refusals.note(&self.client, &self.plan.name, table, &failure.chain()).await {
            Ok(lasting) if lasting.is_too_long(self.clickhouse.stop_refused_after) => {
                let time = humantime::format_duration(Duration::from_secs(lasting.time.as_secs()));
                let why = format!("the server has refused {table} for {time}, in {} tries", lasting.refusals);
                Failure { class: ErrorClass::Row, message: format!("{why}: {}", failure.message), ..failure }
            }
            Ok(_) => failure,
            Err(other) => {
                tracing::debug!(sink = %self.plan.name, %table, error = %other, "the server takes no other rows either");
                failure
            }
        }
    }

    /// What the table needed was done.
    pub(super) async fn accepted(&mut self, table: &TableName) -> Result<(), Failure> {
        self.refusals
            .end(&self.client, &self.plan.name, table)
            .await
            .map_err(|error| error.failure("write down that a table is not refused any more"))
    }

    pub(super) fn stop_at(&mut self, table: &TableName, since: Lsn, why: &str) {
        if let Some(stopped) = self.stopped.get_mut(table) {
            // The round before it turns out to lack rows as well.
            if since < stopped.since {
                stopped.since = since;
                self.unwritten_stops.insert(table.clone());
            }
            return;
        }
        let reason = self.reason(table, why);
        tracing::error!(sink = %self.plan.name, %table, error = %reason, "table stopped, the others go on");
        self.stopped.insert(table.clone(), StoppedTable { since, reason });
        self.unwritten_stops.insert(table.clone());
        // Its rows of the round are dropped with the INSERT, of which nothing is stored yet.
        let dropped = self.rows.drop_table(table);
        self.counts.skip(table, dropped);
        // The frame at hand may have more of its rows.
        for writer in self.writers.values_mut().filter(|writer| writer.table == *table) {
            writer.rows = None;
        }
    }

    fn reason(&self, table: &TableName, why: &str) -> String {
        let way = if self.dropped.contains(table) { way_out(table) } else { way_back(table) };
        format!("{why} ({way})")
    }

    /// Stops a table because the source dropped it. What is left out of its copy can be read nowhere any more.
    pub(super) fn stop_dropped(&mut self, table: &TableName) {
        let why = format!("{table} was dropped, and `ddl.drop_table` says to stop then");
        self.stop_gone(table, &why);
    }

    /// Stops a table that the source does not have any more.
    fn stop_gone(&mut self, table: &TableName, why: &str) {
        self.dropped.insert(table.clone());
        self.stop_at(table, self.began.unwrap_or(self.last), why);
        self.give_reason(table, why);
    }

    /// The source has a table of this name, whatever became of an earlier one.
    pub(super) fn is_at_source(&mut self, table: &TableName) {
        if self.dropped.remove(table) {
            self.give_reason(table, &format!("{table} was dropped, and there is another one at the source"));
        }
    }

    fn give_reason(&mut self, table: &TableName, why: &str) {
        let reason = self.reason(table, why);
        if let Some(stopped) = self.stopped.get_mut(table)
            && stopped.reason != reason
        {
            stopped.reason = reason;
            self.unwritten_stops.insert(table.clone());
        }
    }

    /// Ends the stops of tables that are neither at the source any more nor at the target: nothing is left out of anything.
    pub(super) async fn let_go_of_dropped(&mut self, applied: Lsn) -> Result<(), Failure> {
        for table in self.dropped.clone() {
            if let Some(registered) = self.tables.get(&table).cloned()
                && self.is_there(&registered).await?
            {
                continue;
            }
            let version = applied.max(self.changes.stop(&table)).max(self.changes.done(&table));
            self.forget(version, &table).await?;
            self.revive(version, &table).await?;
        }
        Ok(())
    }

    pub(super) async fn write_stops(&mut self) -> Result<(), Failure> {
        for table in std::mem::take(&mut self.unwritten_stops) {
            let Some(why) = self.stopped.get(&table) else { continue };
            // Later than whatever ended an earlier stop.
            let version = self.last.max(why.since).max(self.changes.done(&table));
            registry::stop(&self.client, &self.plan.name, version, &table, why, self.dropped.contains(&table))
                .await
                .map_err(|error| error.failure("write down that a table is stopped"))?;
            self.changes.note_stop(&table, version);
            self.accepted(&table).await?;
        }
        Ok(())
    }

    /// The table is written again from `lsn` on.
    pub(super) async fn revive(&mut self, lsn: Lsn, table: &TableName) -> Result<(), Failure> {
        self.dropped.remove(table);
        if self.stopped.remove(table).is_some() {
            tracing::info!(sink = %self.plan.name, %table, "table is written again");
            self.unwritten_stops.remove(table);
            registry::revive(&self.client, &self.plan.name, lsn, table)
                .await
                .map_err(|error| error.failure("write down that a table is written again"))?;
            self.changes.note_stop(table, lsn);
            self.forget_writers(table);
        }
        Ok(())
    }
}
