//! The sink: [`crate::sink::Sink`] over one database of a server.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::runtime::Handle;
use wal::{LogId, Lsn};

use super::ClickHousePlan;
use super::layout::ClickHouse;
use super::target::Target;
use crate::codec::frame::{Frame, TableChange};
use crate::codec::version::FramePlace;
use crate::config::{BatchPlan, SinkPlan};
use crate::dead::Letters;
use crate::error::Failure;
use crate::model::{Origin, RowCounts, SchemaId, TableName, TableSchema};
use crate::sink::batches::TableLimits;
use crate::sink::claim::Opener;
use crate::sink::definitions::At;
use crate::sink::follow;
use crate::sink::follow::replace::after_take_over;
use crate::sink::refusals::Counting;
use crate::sink::registry;
use crate::sink::rows;
use crate::sink::rules::{RowKeys, distrusts, leaves_out};
use crate::sink::stops;
use crate::sink::{
    Captured, HandOver, Line, RoundLimits, Schemas, SentBatch, Settled, Sink, StoppedTable, TakeOver, TargetState,
};

/// Writes into one database of one server.
pub struct ClickHouseSink {
    plan: SinkPlan,
    table_limits: TableLimits,
    clickhouse: ClickHousePlan,
    /// Where requests run: not on the thread that encodes.
    runtime: Handle,
    opener: Opener,
    target: Option<Target>,
    /// Of the last target: they stay stopped while it is opened again.
    stopped: BTreeMap<TableName, StoppedTable>,
    /// Of the last target, unless the server could not be reached since.
    counting: Counting,
    letters: Letters,
}

impl ClickHouseSink {
    /// A sink with the plan's name, server, tables and options, whose requests run on `runtime`. Nothing is connected yet.
    ///
    /// # Errors
    /// When the plan is of another type of sink.
    pub fn new(plan: SinkPlan, runtime: Handle) -> Result<Self, Failure> {
        let clickhouse = plan.settings::<ClickHousePlan>()?.clone();
        Ok(Self {
            table_limits: TableLimits::of(&plan, limits_of),
            plan,
            clickhouse,
            runtime,
            opener: Opener::new(),
            target: None,
            stopped: BTreeMap::new(),
            counting: Counting::Paused,
            letters: Letters::in_memory(),
        })
    }

    fn opened(&mut self) -> Result<&mut Target, Failure> {
        let url = &self.clickhouse.url;
        self.target.as_mut().ok_or_else(|| Failure::fatal(format!("the sink's server at {url} is not connected")))
    }
}

fn limits_of(batch: BatchPlan) -> RoundLimits {
    let bytes = usize::try_from(batch.max_bytes).unwrap_or(usize::MAX);
    RoundLimits {
        bytes,
        rows: u64::from(batch.max_rows),
        age: batch.max_delay,
        linger: batch.max_delay,
        // A transaction that only ends behind the limit is better sent whole.
        spill_bytes: bytes.saturating_add(bytes / 4),
    }
}

impl std::fmt::Debug for ClickHouseSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouseSink")
            .field("name", &self.plan.name)
            .field("url", &self.clickhouse.url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Sink for ClickHouseSink {
    fn hand_over(&self) -> HandOver {
        HandOver::RecordedBatches
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
        leaves_out::<ClickHouse>(&self.plan, schema)
    }

    fn holds(&self, table: &TableName) -> bool {
        let followed = self.target.as_ref().map(|target| &target.followed);
        followed.is_none_or(|followed| followed.tables.contains_key(table) || followed.stops.has(table))
    }

    fn distrusts(&self, before: &TableSchema, after: &TableSchema) -> Option<String> {
        distrusts::<ClickHouse>(&self.plan, before, after)
    }

    async fn let_go(&mut self, lsn: Lsn, table: &TableName) -> Result<(), Failure> {
        let target = self.opened()?;
        if !target.followed.stops.has(table) {
            return Ok(());
        }
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

    fn take_counts(&mut self) -> Vec<(TableName, RowCounts)> {
        self.target.as_mut().map_or_else(Vec::new, Target::take_counts)
    }

    fn take_sent(&mut self) -> Vec<SentBatch> {
        self.target.as_mut().map_or_else(Vec::new, Target::take_sent)
    }

    fn overlaps(&self) -> bool {
        true
    }

    fn keep_letters(&mut self, letters: Letters) {
        self.letters = letters;
    }

    async fn open(&mut self, log: LogId) -> Result<TargetState, Failure> {
        self.rollback().await;
        // While it cannot be opened, no time of a refusal counts.
        let counting = std::mem::take(&mut self.counting);
        let (mut target, state) =
            Target::open(&self.plan, &self.clickhouse, self.runtime.clone(), log, &mut self.opener).await?;
        target.followed.refusals.go_on(counting);
        target.followed.letters = self.letters.clone();
        self.target = Some(target);
        Ok(state)
    }

    async fn take_over(&mut self, taking: TakeOver<'_>) -> Result<(), Failure> {
        self.rollback().await;
        let (plan, clickhouse) = (&self.plan, &self.clickhouse);
        let (mut target, _) =
            Target::take_over(plan, clickhouse, self.runtime.clone(), taking, &mut self.opener).await?;
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
        target.followed.begin(lsn);
        rows::prepare(target, schema, &mut |id| schemas.get(id)).await
    }

    fn write(&mut self, place: FramePlace, frame: &Frame<'_>, _schemas: &mut Schemas<'_>) -> Result<(), Failure> {
        rows::write(self.opened()?, place, frame)
    }

    fn pending_bytes(&self) -> usize {
        self.target.as_ref().map_or(0, Target::round_bytes).saturating_add(self.letters.waiting_bytes())
    }

    async fn spill(&mut self) -> Result<(), Failure> {
        self.opened()?.flush().await
    }

    fn is_barrier(&self, lsn: Lsn, change: &TableChange) -> bool {
        !self.target.as_ref().is_some_and(|target| target.creates(lsn, change))
    }

    async fn change(
        &mut self,
        place: FramePlace,
        origin: &Origin,
        change: &TableChange,
        schemas: &mut Schemas<'_>,
    ) -> Result<(), Failure> {
        let target = self.opened()?;
        if let TableChange::Gap { table, .. } | TableChange::LeftOut { table, .. } = change
            && !follow::notes_gaps(target, table)
        {
            // No reason to store a source transaction in parts.
            return Ok(());
        }
        if let TableChange::ReplaceEnd { table } = change
            && !registry::is_replaced(&target.followed.tables, table)
        {
            return Ok(());
        }
        target.followed.begin(place.lsn);
        if target.creates(place.lsn, change) {
            return target.begin_creation(place.lsn, change, &mut |id| schemas.get(id));
        }
        // Rows before the change go before it, also inside one source transaction.
        target.flush().await?;
        follow::change(target, At { place, origin }, change, &mut |id| schemas.get(id)).await
    }

    async fn try_line(&mut self, line: Line<'_>, schemas: &mut Schemas<'_>) -> Result<bool, Failure> {
        self.opened()?.try_line(line, &mut |id| schemas.get(id)).await
    }

    async fn store(&mut self, end: Lsn) -> Result<(), Failure> {
        self.opened()?.send(end).await
    }

    /// An INSERT is synced before it is answered, and so is the cursor's.
    async fn settle(&mut self) -> Result<Settled, Failure> {
        let target = self.opened()?;
        target.settle().await?;
        Ok(Settled::both(target.followed.applied))
    }

    /// Dropping the target gives up its INSERTs, of which nothing is stored yet.
    async fn rollback(&mut self) {
        if let Some(target) = self.target.take() {
            self.counting = target.followed.refusals.counting();
            self.stopped = target.followed.stops.into_all();
        }
    }

    async fn close(&mut self) -> Result<(), Failure> {
        self.rollback().await;
        Ok(())
    }
}
