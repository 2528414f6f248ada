//! Changes of a table's definition or whole content. The rows before a change are stored when it comes; it is done in a way that can be
//! repeated, because a crash or a refusal may fall between any two requests of it. How far it has come stands in [`super::changes`].
//!
//! - What the table is now is taken from the sink's own registry and from the server, never from the change alone.
//! - What `ddl` says is ignored leaves the table as it is; what it says stops the table, stops it.
//! - A statement that the server refuses stops the table, with the statement and the reason.

use wal::Lsn;

use super::error::Refused;
use super::layout::Layout;
use super::owner::made;
use super::rebuild::{Filling, rebuild};
use super::registry::{self, StoredOptions, Table};
use super::reshape::{Forbidden, Way, reshape};
use super::target::{Lookup, Target};
use crate::codec::frame::TableChange;
use crate::codec::version::FramePlace;
use crate::error::{ErrorClass, Failure};
use crate::model::{Origin, TableName, TableSchema};

/// Where a change stands.
#[derive(Clone, Copy)]
pub(super) struct At<'o> {
    pub(super) lsn: Lsn,
    pub(super) place: FramePlace,
    pub(super) origin: &'o Origin,
}

impl Target {
    /// Applies a change; what is wrong with its table stops that table alone.
    pub(super) async fn change(
        &mut self,
        place: FramePlace,
        origin: &Origin,
        change: &TableChange,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), Failure> {
        let lsn = place.lsn;
        let at = At { lsn, place, origin };
        let table = change.table().clone();
        if self.is_done(lsn, change) {
            return self.end_again(lsn, change).await;
        }
        match change {
            TableChange::ReplaceEnd { .. } => return Ok(()),
            TableChange::Drop { .. } | TableChange::Gap { .. } | TableChange::LeftOut { .. } => {}
            TableChange::Rename { to, .. } => self.is_at_source(to),
            TableChange::Schema { .. } | TableChange::Truncate { .. } | TableChange::ReplaceBegin { .. } => {
                self.is_at_source(&table);
            }
        }
        let is_stopped = self.stopped.contains_key(&table);
        let done = match change {
            TableChange::ReplaceBegin { schema, .. } => {
                let schema = lookup(*schema)?;
                self.replace(at, &schema).await
            }
            TableChange::Rename { from, to, schema } => {
                let schema = lookup(*schema)?;
                // It is the new name that stops when the rename fails, so it weighs its failures itself.
                let renamed = self.rename(at, from, to, &schema).await;
                return self.contain(&table, renamed);
            }
            TableChange::Drop { table } => {
                let dropped =
                    if is_stopped { self.drop_stopped(at, table).await } else { self.drop_table(at, table).await };
                return self.judge_drop(table, dropped).await;
            }
            // It is made anew from a re-read, whatever happens to it until then.
            TableChange::Schema { .. } | TableChange::Truncate { .. } if is_stopped => Ok(()),
            TableChange::Schema { to, renamed, lost, .. } => {
                let schema = lookup(*to)?;
                self.shape(lsn, &schema, renamed, *lost).await
            }
            TableChange::Truncate { table } => self.truncate(at, table).await,
            TableChange::Gap { table, reason } | TableChange::LeftOut { table, reason } => {
                self.gap(at, table, reason).await
            }
            TableChange::ReplaceEnd { .. } => Ok(()),
        };
        self.judge(&table, done).await
    }

    /// Whether a change was done before the log was read again: what it acts on may be another table by now.
    fn is_done(&self, lsn: Lsn, change: &TableChange) -> bool {
        let is_done = |table: &TableName| lsn <= self.changes.done(table);
        is_done(change.table()) || matches!(change, TableChange::Rename { to, .. } if is_done(to))
    }

    /// What comes behind the registration of a change that is done.
    async fn end_again(&mut self, lsn: Lsn, change: &TableChange) -> Result<(), Failure> {
        let table = change.table();
        tracing::info!(sink = %self.plan.name, %table, %lsn, change = change.kind(), "the change is done already");
        // Rows of before it were left out, those behind it are not.
        self.forget_writers(table);
        match change {
            TableChange::Schema { .. }
            | TableChange::Truncate { .. }
            | TableChange::ReplaceEnd { .. }
            | TableChange::Gap { .. }
            | TableChange::LeftOut { .. } => return Ok(()),
            TableChange::ReplaceBegin { .. } | TableChange::Drop { .. } => {}
            TableChange::Rename { to, .. } => self.forget_writers(to),
        }
        if self.changes.was_stopped_before(table, lsn) {
            self.revive(lsn, table).await?;
        }
        Ok(())
    }

    /// Says in the table's line that a change begins, before its first step.
    pub(super) async fn announce(&mut self, lsn: Lsn, name: &TableName) -> Result<(), Failure> {
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        let done = self.changes.done(name);
        registry::begin(&self.client, &self.plan.name, done, table, lsn)
            .await
            .map_err(|error| error.failure("register the begin of a change"))?;
        self.changes.note_begun(name, lsn);
        Ok(())
    }

    /// Brings the table to the shape of `schema`; makes it if there is none. `lost`: its rows come again, and their keys cannot be told
    /// from those that it has.
    pub(super) async fn shape(
        &mut self,
        lsn: Lsn,
        schema: &TableSchema,
        renamed: &[(String, String)],
        lost: bool,
    ) -> Result<(), Failure> {
        let old = self.tables.get(&schema.name).cloned();
        if old.as_ref().is_some_and(|old| !has_shape(old, schema)) {
            self.announce(lsn, &schema.name).await?;
        }
        let table = self.shaped(lsn, old, schema, (renamed, lost)).await?;
        self.register(lsn, table).await
    }

    /// [`Target::shape`] without the registration.
    pub(super) async fn shaped(
        &self,
        lsn: Lsn,
        old: Option<Table>,
        schema: &TableSchema,
        follows: (&[(String, String)], bool),
    ) -> Result<Table, Failure> {
        let name = schema.name.clone();
        let options = StoredOptions::of(&self.plan, &self.clickhouse, &name);
        let target = match &old {
            Some(old) => old.layout.target.clone(),
            None => self.plan.target_name(&name),
        };
        let wanted = Layout::new(schema, &self.plan.options_for(&name), self.clickhouse.types, target)
            .map_err(|failure| Failure { class: ErrorClass::Row, ..failure })?;
        let layout = match &old {
            None => {
                self.create(lsn, &name, &wanted).await?;
                wanted
            }
            Some(old) if has_shape(old, schema) => old.layout.clone(),
            Some(old) => self.reshaped(lsn, old, schema, &wanted, follows).await?,
        };
        self.make_view(&layout).await?;
        Ok(Table { schema: schema.clone(), options, layout })
    }

    async fn reshaped(
        &self,
        lsn: Lsn,
        old: &Table,
        schema: &TableSchema,
        wanted: &Layout,
        follows: (&[(String, String)], bool),
    ) -> Result<Layout, Failure> {
        let name = &schema.name;
        let (layout, way) = reshape(old, schema, wanted, follows, self.clickhouse.ddl)
            .map_err(|Forbidden { why }| Failure::row(format!("the definition of {name} changed: {why}")))?;
        let done = match way {
            Way::Alter(steps) => self.alter(lsn, &layout, schema, &steps).await,
            Way::Rebuild { origins, is_filled } => {
                if !is_filled {
                    tracing::warn!(
                        sink = %self.plan.name, table = %name,
                        "the table's new key cannot be told from its copy: the copy is empty until the source has read it again"
                    );
                }
                self.may_rebuild(&layout.target).await?;
                let comment = made(&self.plan.name, lsn);
                let filling = Filling {
                    old: &old.layout,
                    schema,
                    is_filled,
                    left: self.left_columns(lsn, &old.layout, &layout, &origins).await?,
                    origins,
                };
                rebuild(&self.client, &self.clickhouse, &comment, &layout, &filling).await
            }
        };
        done.map_err(|error| error.failure(&format!("follow the change of {name} in table \"{}\"", layout.target)))?;
        Ok(layout)
    }

    /// Writes the table's line: the last step of a change.
    pub(super) async fn register(&mut self, lsn: Lsn, table: Table) -> Result<(), Failure> {
        registry::save(&self.client, &self.plan.name, lsn, &table)
            .await
            .map_err(|error| error.failure("register a table"))?;
        let name = table.schema.name.clone();
        self.changes.note_done(&name, lsn);
        self.tables.insert(name.clone(), table);
        self.forget_writers(&name);
        Ok(())
    }

    /// Whether the names of these tables are free, or their tables were made by this sink.
    pub(super) async fn can_make(&self, tables: &[TableName]) -> Result<(), Failure> {
        let foreign = self.foreign().await.map_err(|error| error.failure("look for tables"))?;
        for table in tables.iter().filter(|table| !self.tables.contains_key(*table)) {
            let target = self.plan.target_name(table);
            if foreign.contains(&target) {
                return Err(Failure { class: ErrorClass::Fatal, ..self.taken(table, &target) });
            }
        }
        Ok(())
    }

    fn taken(&self, name: &TableName, target: &str) -> Failure {
        Failure::row(format!(
            "database \"{}\" has a table or view \"{target}\" that this sink did not make for {name}, which is not written into it",
            self.clickhouse.database
        ))
        .hint("rename or drop it, or set another `table_prefix` or `database` for the sink")
    }

    /// A table that is there already was made by somebody else, holds another source table, or was made by this sink just before
    /// a crash.
    async fn create(&self, lsn: Lsn, name: &TableName, layout: &Layout) -> Result<(), Failure> {
        let target = &layout.target;
        if let Some(other) = self.tables.values().find(|table| table.layout.target == *target) {
            return Err(Failure::row(format!("{name} would be written to \"{target}\", which holds {}", other.schema.name))
                .hint("set the sink's `table_name` so that every source table has its own, for example \"{database}_{table}\""));
        }
        let failed = |error: Refused| error.failure(&format!("create the table \"{target}\" of {name}"));
        let ours = made(&self.plan.name, lsn);
        if self.find(target).await.map_err(failed)?.is_some_and(|found| found.comment != ours) {
            return Err(self.taken(name, target));
        }
        let sql = layout.create_statement(&self.clickhouse.database, target, &ours);
        self.client.execute(&sql, false).await.map_err(failed)
    }
}

fn has_shape(table: &Table, schema: &TableSchema) -> bool {
    table.schema.same_image(schema) && table.schema.key == schema.key
}
