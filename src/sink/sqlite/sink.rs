//! The sink: [`crate::sink::Sink`] over one database file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use wal::{LogId, Lsn};

use super::SqlitePlan;
use super::layout::Sqlite;
use super::target::Target;
use crate::codec::frame::{Frame, TableChange};
use crate::codec::version::FramePlace;
use crate::config::{BatchPlan, SinkPlan};
use crate::dead::Letters;
use crate::error::Failure;
use crate::model::{Origin, RowCounts, SchemaId, TableName, TableSchema};
use crate::sink::batches::TableLimits;
use crate::sink::claim::Opener;
use crate::sink::counts::Counts;
use crate::sink::definitions::At;
use crate::sink::follow;
use crate::sink::follow::replace::after_take_over;
use crate::sink::registry;
use crate::sink::rows;
use crate::sink::rules::{RowKeys, distrusts, leaves_out};
use crate::sink::stops;
use crate::sink::{Captured, HandOver, Line, RoundLimits, Schemas, Settled, Sink, StoppedTable, TakeOver, TargetState};

/// Writes into one SQLite file. Its calls block on the disk, so it wants a thread of its own.
pub struct SqliteSink {
    plan: SinkPlan,
    table_limits: TableLimits,
    path: PathBuf,
    opener: Opener,
    target: Option<Target>,
    /// Of the last target: they stay stopped while it is opened again.
    stopped: BTreeMap<TableName, StoppedTable>,
    /// Tables for which the last round was given up, and why.
    doomed: BTreeMap<TableName, String>,
    /// Of rounds that are committed, since they were asked for.
    counts: Counts,
    letters: Letters,
}

impl SqliteSink {
    /// A sink with the plan's name, file, tables and options. Nothing is opened yet.
    ///
    /// # Errors
    /// When the plan is of another type of sink.
    pub fn new(plan: SinkPlan) -> Result<Self, Failure> {
        let path = plan.settings::<SqlitePlan>()?.path.clone();
        Ok(Self {
            table_limits: TableLimits::of(&plan, limits_of),
            plan,
            path,
            opener: Opener::new(),
            target: None,
            stopped: BTreeMap::new(),
            doomed: BTreeMap::new(),
            counts: Counts::default(),
            letters: Letters::in_memory(),
        })
    }

    fn opened(&mut self) -> Result<&mut Target, Failure> {
        let path = self.path.display();
        self.target.as_mut().ok_or_else(|| Failure::fatal(format!("the sink's file \"{path}\" is not open")))
    }
}

/// With `max_delay: 0s` a round ends when the log has nothing more, or at the usual age.
fn limits_of(batch: BatchPlan) -> RoundLimits {
    let usual = RoundLimits::default();
    RoundLimits {
        bytes: usize::try_from(batch.max_bytes).unwrap_or(usize::MAX),
        rows: u64::from(batch.max_rows),
        age: if batch.max_delay.is_zero() { usual.age } else { batch.max_delay },
        linger: batch.max_delay,
        spill_bytes: usual.spill_bytes,
    }
}

impl std::fmt::Debug for SqliteSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteSink").field("name", &self.plan.name).field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Sink for SqliteSink {
    fn hand_over(&self) -> HandOver {
        HandOver::TargetTransaction
    }

    fn limits(&self) -> RoundLimits {
        limits_of(self.plan.batch)
    }

    fn limits_for(&self, table: &TableName) -> Option<RoundLimits> {
        self.table_limits.get(table)
    }

    fn takes(&self, table: &TableName) -> bool {
        self.plan.takes(table)
    }

    fn row_keys(&self, schema: &TableSchema) -> Result<Option<RowKeys>, Failure> {
        RowKeys::of(&self.plan, schema)
    }

    fn leaves_out(&self, schema: &TableSchema) -> Option<&'static str> {
        leaves_out::<Sqlite>(&self.plan, schema)
    }

    fn holds(&self, table: &TableName) -> bool {
        let followed = self.target.as_ref().map(|target| &target.followed);
        followed.is_none_or(|followed| followed.tables.contains_key(table) || followed.stops.has(table))
    }

    fn distrusts(&self, before: &TableSchema, after: &TableSchema) -> Option<String> {
        distrusts::<Sqlite>(&self.plan, before, after)
    }

    async fn let_go(&mut self, lsn: Lsn, table: &TableName) -> Result<(), Failure> {
        let target = self.opened()?;
        if !target.followed.stops.has(table) {
            return Ok(());
        }
        target.begin()?;
        stops::revive(target, lsn, table).await
    }

    fn rules_rows_out(&self, table: &TableName) -> bool {
        !self.plan.options_for(table).rows.is_empty()
    }

    fn stopped(&self) -> &BTreeMap<TableName, StoppedTable> {
        self.target.as_ref().map_or(&self.stopped, |target| target.followed.stops.all())
    }

    fn old_copies(&self) -> Vec<(TableName, Lsn)> {
        self.target.as_ref().map_or_else(Vec::new, |target| registry::old_copies(&target.followed.tables))
    }

    fn keep_letters(&mut self, letters: Letters) {
        self.letters = letters;
    }

    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure> {
        // What an earlier error left is dropped like after a crash: its open transaction never was.
        drop(self.target.take());
        let (mut target, state) = Target::open(&self.path, &self.plan, log, &mut self.opener)?;
        target.followed.doomed = std::mem::take(&mut self.doomed);
        target.followed.letters = self.letters.clone();
        self.target = Some(target);
        Ok(state)
    }

    async fn take_over(&mut self, taking: TakeOver<'_>) -> Result<(), Failure> {
        drop(self.target.take());
        let (mut target, _) = Target::take_over(&self.path, &self.plan, taking, &mut self.opener)?;
        target.followed.letters = self.letters.clone();
        after_take_over(self.target.insert(target), taking).await
    }

    async fn review(&mut self, captured: &Captured) -> Result<Vec<(TableName, String)>, Failure> {
        stops::review(self.opened()?, captured).await
    }

    async fn can_make(&mut self, tables: &[TableName]) -> Result<(), Failure> {
        follow::can_make(self.opened()?, tables).await
    }

    fn is_prepared(&self, schema: SchemaId) -> bool {
        self.target.as_ref().is_some_and(|target| target.followed.writers.has(schema))
    }

    async fn prepare(&mut self, lsn: Lsn, schema: SchemaId, schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        let target = self.opened()?;
        target.begin()?;
        target.followed.begin(lsn);
        rows::prepare(target, schema, &mut |id| schemas.get(id)).await
    }

    fn write(&mut self, place: FramePlace, frame: &Frame<'_>, _schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        let target = self.opened()?;
        target.begin()?;
        rows::write(target, place, frame)
    }

    /// SQLite holds the round, and spills by itself. Dead letters wait for the log.
    fn pending_bytes(&self) -> usize {
        self.letters.waiting_bytes()
    }

    async fn spill(&mut self) -> Result<(), Failure> {
        self.letters.store_early().await
    }

    /// Definitions change inside a transaction. Dead letters from before a rename are stored under the name from before it.
    fn is_barrier(&self, _lsn: Lsn, change: &TableChange) -> bool {
        matches!(change, TableChange::Rename { .. }) && !self.letters.is_empty()
    }

    async fn change(
        &mut self,
        place: FramePlace,
        origin: &Origin,
        change: &TableChange,
        schemas: &mut Schemas<'_>,
    ) -> Result<(), Failure> {
        let target = self.opened()?;
        target.begin()?;
        target.followed.begin(place.lsn);
        follow::change(target, At { place, origin }, change, &mut |id| schemas.get(id)).await
    }

    async fn try_line(&mut self, line: Line<'_>, schemas: &mut Schemas<'_>) -> Result<bool, Failure> {
        self.opened()?.try_line(line, &mut |id| schemas.get(id)).await
    }

    async fn store(&mut self, end: Lsn) -> Result<(), Failure> {
        let counts = self.opened()?.commit(end).await?;
        self.counts.append(counts);
        Ok(())
    }

    /// The commit of SQLite syncs, and was the store.
    async fn settle(&mut self) -> Result<Settled, Failure> {
        Ok(Settled::both(self.opened()?.followed.applied))
    }

    async fn probe(&mut self) -> Result<(), Failure> {
        self.opened()?.check_files()
    }

    fn take_counts(&mut self) -> Vec<(TableName, RowCounts)> {
        self.counts.take()
    }

    /// Closes the file as well: what was known of its tables may be of the round that is taken back.
    async fn rollback(&mut self) {
        if let Some(target) = self.target.take() {
            if let Err(failure) = target.rollback() {
                tracing::warn!(sink = %self.plan.name, error = %failure.chain(), "round not rolled back, it ends with the connection");
            }
            self.doomed = target.followed.doomed;
            self.stopped = target.followed.stops.into_all();
        }
    }

    async fn close(&mut self) -> Result<(), Failure> {
        match self.target.take() {
            Some(target) => target.close(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_round_is_as_every_sinks_unless_told_otherwise() {
        assert_eq!(limits_of(SqlitePlan::BATCH), RoundLimits::default());
        let max_delay = Duration::from_millis(20);
        let told = limits_of(BatchPlan { max_rows: 7, max_bytes: 1 << 16, max_delay });
        assert_eq!((told.rows, told.bytes, told.age, told.linger), (7, 1 << 16, max_delay, max_delay));
    }
}
