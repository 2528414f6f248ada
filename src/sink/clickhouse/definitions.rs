//! What the server does to the sink's tables: [`Definitions`] in ClickHouse's statements. It has no transactions, so each can be repeated.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use wal::Lsn;

use super::copy::Copy;
use super::error::Refused;
use super::layout::{ClickHouse, Layout};
use super::names::{literal, quoted};
use super::registry::{self, Table};
use super::target::Target;
use super::writer::Rows;
use super::{adopt, beside, open, rebuild, refusals};
use crate::codec::version::row_version;
use crate::config::{DdlPolicy, SinkPlan};
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::adopt::{OurTable, TheirTable, Under};
use crate::sink::clickhouse::{ClickHousePlan, JsonType, SetType};
use crate::sink::definitions::{At, Definitions, Followed, Found, Rebuild, Room, Share, Stop, Swap};
use crate::sink::refusals::{Blame, Line};
use crate::sink::reshape::Step;

#[async_trait]
impl Definitions for Target {
    type Dialect = ClickHouse;
    type Rows = Rows;

    const ATOMIC: bool = false;

    fn dialect(&self) -> &ClickHouse {
        &self.dialect
    }

    fn plan(&self) -> &SinkPlan {
        &self.plan
    }

    fn policy(&self) -> DdlPolicy {
        self.plan.ddl
    }

    fn type_settings(&self) -> BTreeMap<String, String> {
        type_settings(&self.clickhouse)
    }

    fn followed(&self) -> &Followed<String, Rows> {
        &self.followed
    }

    fn followed_mut(&mut self) -> &mut Followed<String, Rows> {
        &mut self.followed
    }

    fn location(&self) -> String {
        format!("database \"{}\"", self.clickhouse.database)
    }

    async fn find(&mut self, target: &str) -> Result<Option<Found>, Failure> {
        let found = self.under_name(target).await;
        let found = found.map_err(|error| error.failure(&format!("look for the table \"{target}\"")))?;
        Ok(found.map(|found| {
            if found.is_own_table() {
                Found::Ours { made: found.since }
            } else {
                Found::Foreign { maker: found.maker(&self.plan.name).map(str::to_owned) }
            }
        }))
    }

    async fn foreign_of(&mut self, targets: BTreeSet<String>) -> Result<Option<String>, Failure> {
        let foreign = self.foreign().await.map_err(|error| error.failure("look for tables"))?;
        Ok(targets.into_iter().find(|target| foreign.contains(target)))
    }

    async fn altered(&mut self) -> Result<Vec<(TableName, String)>, Failure> {
        open::altered(self).await
    }

    async fn create(&mut self, lsn: Lsn, name: &TableName, layout: &Layout) -> Result<(), Failure> {
        let target = &layout.target;
        let sql = layout.create_statement(&self.clickhouse.database, target, &self.made(lsn));
        let failed = |error: Refused| error.failure(&format!("create the table \"{target}\" of {name}"));
        self.client.execute(&sql, false).await.map_err(failed)
    }

    fn our_table(&self, layout: &Layout, _schema: &TableSchema) -> OurTable {
        adopt::ours(layout, &self.clickhouse.database)
    }

    async fn their_table(&mut self, layout: &Layout) -> Result<Option<TheirTable>, Failure> {
        let found = adopt::under(&self.client, (&self.clickhouse.database, &self.plan.name), layout).await;
        match found.map_err(|error| error.failure("read the definition of a table"))? {
            Under::Theirs(theirs) => Ok(Some(theirs)),
            Under::Nothing | Under::Made => Ok(None),
        }
    }

    /// The last step says whose it is: a change that was cut short before that is made again from its beginning.
    async fn take_in(
        &mut self,
        lsn: Lsn,
        name: &TableName,
        (layout, keeps_rows): (&Layout, bool),
    ) -> Result<(), Failure> {
        let place = self.place(&layout.target);
        let failed = |error: Refused| error.failure(&format!("take the table \"{}\" over for {name}", layout.target));
        adopt::make_durable(&self.client, &place).await.map_err(failed)?;
        if keeps_rows {
            adopt::mark(&self.client, &place, &self.made(lsn)).await.map_err(failed)
        } else {
            self.empty(lsn, layout, "replace", None).await
        }
    }

    async fn alter(&mut self, lsn: Lsn, layout: &Layout, schema: &TableSchema, steps: &[Step]) -> Result<(), Failure> {
        self.take_steps(lsn, layout, schema, steps).await.map_err(|error| follows(&schema.name, layout, error))
    }

    async fn found_columns(&mut self, target: &str) -> Result<Vec<(String, String)>, Failure> {
        self.stored_columns(target).await.map_err(|error| error.failure("read the columns of a table"))
    }

    async fn rebuild(&mut self, lsn: Lsn, rebuild: Rebuild<'_, String>) -> Result<(), Failure> {
        let Rebuild { schema, layout, .. } = &rebuild;
        self.may_rebuild(&layout.target).await?;
        let values = self.plan.options_for(&schema.name).values;
        let comment = self.made(lsn);
        rebuild::rebuild(&self.client, &self.clickhouse, (&comment, values), &rebuild)
            .await
            .map_err(|error| follows(&schema.name, layout, error))
    }

    async fn copy_beside(&mut self, at: At<'_>, layout: &Layout, new: &str) -> Result<(), Failure> {
        let what = format!("build a second copy beside \"{}\"", layout.target);
        self.make_copy(at, layout, new).await.map_err(|error| error.failure(&what))
    }

    async fn swap(&mut self, swap: Swap<'_>) -> Result<(), Failure> {
        self.put_in_place(&swap).await
    }

    async fn is_swapped(&mut self, swap: &Swap<'_>) -> Result<bool, Failure> {
        self.is_in_place(swap).await.map_err(|error| error.failure("look for the copies of a table"))
    }

    /// A server that does not tell refuses rows when it is full, which is tried again.
    async fn room_beside(&mut self, target: &str) -> Result<Option<Room>, Failure> {
        Ok(beside::room(&self.client, &self.clickhouse.database, target).await.unwrap_or_else(|refused| {
            tracing::warn!(sink = %self.plan.name, table = target, error = %refused, "the server does not tell how much room it has");
            None
        }))
    }

    async fn rename_target(&mut self, _name: &TableName, from: &str, to: &str) -> Result<(), Failure> {
        let failed = |error: Refused| error.failure(&format!("rename the table \"{from}\""));
        self.drop_view(from).await.map_err(failed)?;
        // Done before a crash.
        let is_gone = self.under_name(from).await.map_err(failed)?.is_none();
        if is_gone && self.has_own_table(to).await.map_err(failed)? {
            return Ok(());
        }
        let sql = format!("RENAME TABLE {} TO {}", self.place(from), self.place(to));
        self.client.execute(&sql, false).await.map_err(|error| failed(error.of_statement(&sql)))
    }

    async fn drop_target(&mut self, name: &TableName, target: &str) -> Result<(), Failure> {
        let failed = |error: Refused| error.failure(&format!("drop the table \"{target}\" of {name}"));
        self.drop_view(target).await.map_err(failed)?;
        if !self.has_own_table(target).await.map_err(failed)? {
            return Ok(());
        }
        let sql = format!("DROP TABLE IF EXISTS {} SYNC SETTINGS max_table_size_to_drop = 0", self.place(target));
        self.client.execute(&sql, false).await.map_err(|error| failed(error.of_statement(&sql)))
    }

    async fn empty(&mut self, lsn: Lsn, layout: &Layout, op: &str, share: Option<&Share>) -> Result<(), Failure> {
        if let Some(Share { column, tag }) = share {
            let place = self.place(&layout.target);
            let condition = format!("{} = {}", quoted(column), literal(tag));
            let sql = format!("ALTER TABLE {place} DELETE WHERE {condition} SETTINGS mutations_sync = 2");
            let done = self.client.execute(&sql, false).await;
            return done.map_err(|error| cannot_empty(layout, op, error.of_statement(&sql)));
        }
        self.may_rebuild(&layout.target).await?;
        let comment = self.emptied(lsn);
        rebuild::empty(&self.client, &self.clickhouse, &comment, &layout.target)
            .await
            .map_err(|error| cannot_empty(layout, op, error))
    }

    async fn mark_deleted(
        &mut self,
        at: At<'_>,
        layout: &Layout,
        op: &str,
        share: Option<&Share>,
    ) -> Result<(), Failure> {
        let of_share = share
            .map_or_else(String::new, |Share { column, tag }| format!(" AND {} = {}", quoted(column), literal(tag)));
        let Some(soft) = &layout.soft else { return Ok(()) };
        let place = self.place(&layout.target);
        let columns: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
        let (columns, soft) = (columns.join(", "), quoted(soft));
        let marked = Copy {
            into: place.clone(),
            values: format!("{columns}, 1, {}", row_version(self.owner.epoch, at.place, 0)),
            columns: format!("{columns}, {soft}, _version"),
            from: place,
            layout,
            only: Some(format!("{soft} = 0{of_share}")),
        };
        marked.run(&self.client).await.map_err(|error| cannot_empty(layout, op, error))
    }

    async fn append_mark(
        &mut self,
        at: At<'_>,
        layout: &Layout,
        op: &str,
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        let sql = format!(
            "INSERT INTO {} (_version, _lsn, _ordinal, _op, _commit_time, _reason) \
             SELECT {}, {}, 0, {}, fromUnixTimestamp64Micro({}, 'UTC'), {}",
            self.place(&layout.target),
            row_version(self.owner.epoch, at.place, 0),
            at.lsn().raw(),
            literal(op),
            at.origin.commit_micros,
            reason.map_or_else(|| "NULL".to_owned(), literal)
        );
        self.client.execute(&sql, false).await.map_err(|error| {
            error.of_statement(&sql).failure(&format!("append to the changelog \"{}\"", layout.target))
        })
    }

    async fn make_views(&mut self, layout: &Layout) -> Result<(), Failure> {
        self.make_view(layout).await
    }

    async fn announce(&mut self, version: Lsn, table: &Table, lsn: Lsn) -> Result<(), Failure> {
        registry::begin(&self.client, &self.plan.name, self.version(version), table, lsn)
            .await
            .map_err(|error| error.failure("register the begin of a change"))
    }

    async fn save(&mut self, lsn: Lsn, table: &Table) -> Result<(), Failure> {
        registry::save(&self.client, &self.plan.name, self.version(lsn), table)
            .await
            .map_err(|error| error.failure("register a table"))
    }

    async fn replace_line(&mut self, lsn: Lsn, table: &TableName, now: Option<&Table>) -> Result<(), Failure> {
        registry::replace_line(&self.client, &self.plan.name, self.version(lsn), table, now)
            .await
            .map_err(|error| error.failure("end a table's registration"))
    }

    async fn save_stop(&mut self, version: Lsn, table: &TableName, stop: &Stop<'_>) -> Result<(), Failure> {
        registry::stop(&self.client, &self.plan.name, self.version(version), table, stop)
            .await
            .map_err(|error| error.failure("write down that a table is stopped"))
    }

    async fn end_stop(&mut self, version: Lsn, table: &TableName) -> Result<(), Failure> {
        registry::revive(&self.client, &self.plan.name, self.version(version), table)
            .await
            .map_err(|error| error.failure("write down that a table is written again"))
    }

    fn blame(&self, failure: &Failure) -> Blame {
        match Refused::of(failure) {
            Some(refused) if refused.is_of_whole_server() => Blame::Target,
            Some(refused) if refused.is_of_one_table() => Blame::Table(self.clickhouse.stop_refused_after),
            Some(_) | None => Blame::Unknown,
        }
    }

    async fn clock_ms(&mut self) -> Result<u64, Failure> {
        refusals::clock_ms(&self.client).await.map_err(|error| error.failure("read the server's clock"))
    }

    async fn save_refusal(&mut self, table: &TableName, line: &Line, reason: &str) -> Result<(), Failure> {
        refusals::save(&self.client, &self.plan.name, table, line, reason)
            .await
            .map_err(|error| error.failure("write down for how long a table is refused, or that it is not any more"))
    }

    /// Its rows of the round are dropped with the INSERT, of which nothing is stored yet.
    fn give_up(&mut self, table: &TableName) -> u64 {
        self.rows.drop_table(table)
    }
}

/// Settings that decide types, by their keys.
pub(super) fn type_settings(plan: &ClickHousePlan) -> BTreeMap<String, String> {
    let json = if plan.types.json == JsonType::Json { "json" } else { "string" };
    let sets = if plan.types.sets == SetType::Array { "array" } else { "string" };
    [("json", json), ("sets", sets)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn follows(name: &TableName, layout: &Layout, error: Refused) -> Failure {
    error.failure(&format!("follow the change of {name} in table \"{}\"", layout.target))
}

fn cannot_empty(layout: &Layout, op: &str, error: Refused) -> Failure {
    error.failure(&format!("empty the table \"{}\" ({op})", layout.target))
}
