//! Changes of a table's definition or whole content. The rows before a change are stored when it comes; it is done in a way that can be
//! repeated, because a crash may fall between it and the cursor.
//!
//! - What the table is now is taken from the sink's own registry and from the server, never from the change alone.
//! - What `ddl` says is ignored leaves the table as it is; what it says stops the table, stops it.
//! - A statement that the server refuses stops the table, with the statement and the reason.
//! - A changelog gets a line for each change of the whole table and loses nothing.

use wal::Lsn;

use super::error::Refused;
use super::layout::{Layout, after, before};
use super::literal::default_literal;
use super::names::{literal, quoted};
use super::rebuild::{comment, rebuild};
use super::registry::{self, StoredOptions, Table};
use super::reshape::{Forbidden, Step, Way, reshape};
use super::target::{Lookup, Target};
use crate::codec::frame::{TableChange, row_version};
use crate::config::{DdlAction, Mode};
use crate::error::{ErrorClass, Failure};
use crate::model::{Origin, TableName, TableSchema};

/// What empties a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emptied {
    /// Its rows are gone at the source.
    Gone,
    /// Its rows come again.
    Replaced,
}

/// Where a change stands.
#[derive(Clone, Copy)]
struct At<'o> {
    lsn: Lsn,
    origin: &'o Origin,
}

impl Target {
    /// Applies a change; what is wrong with its table stops that table alone.
    pub(super) async fn change(
        &mut self,
        lsn: Lsn,
        origin: &Origin,
        change: &TableChange,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), Failure> {
        let at = At { lsn, origin };
        let table = change.table().clone();
        let done = match change {
            TableChange::Replace { schema, .. } => {
                let schema = lookup(*schema)?;
                self.replace(at, &schema).await
            }
            TableChange::Rename { from, to, .. } if self.stopped.contains_key(from) => {
                self.rename_stopped(at, from, to).await
            }
            // It is made anew from a re-read, whatever happens to it until then.
            _ if self.stopped.contains_key(&table) => Ok(()),
            TableChange::Schema { to, renamed, .. } => {
                let schema = lookup(*to)?;
                self.shape(lsn, &schema, renamed).await
            }
            TableChange::Truncate { table } => self.truncate(at, table).await,
            TableChange::Drop { table } => self.drop_table(at, table).await,
            TableChange::Rename { from, to, schema } => {
                let schema = lookup(*schema)?;
                let done = self.rename_table(at, from, to, &schema).await;
                self.contain(to, done)?;
                Ok(())
            }
        };
        self.contain(&table, done)
    }

    /// Brings the table to the shape of `schema`; makes it if there is none.
    pub(super) async fn shape(
        &mut self,
        lsn: Lsn,
        schema: &TableSchema,
        renamed: &[(String, String)],
    ) -> Result<(), Failure> {
        let name = schema.name.clone();
        let options = StoredOptions::of(&self.plan, &self.clickhouse, &name);
        let target = match self.tables.get(&name) {
            Some(old) => old.layout.target.clone(),
            None => self.plan.target_name(&name),
        };
        let wanted = Layout::new(schema, &self.plan.options_for(&name), self.clickhouse.types, target)
            .map_err(|failure| Failure { class: ErrorClass::Row, ..failure })?;
        let layout = match self.tables.get(&name) {
            None => {
                self.create(lsn, &name, &wanted).await?;
                wanted
            }
            Some(old) if old.schema.same_image(schema) && old.schema.key == schema.key => old.layout.clone(),
            Some(old) => {
                let (layout, way) = reshape(old, schema, &wanted, renamed, self.clickhouse.ddl)
                    .map_err(|Forbidden { why }| Failure::row(format!("the definition of {name} changed: {why}")))?;
                let done = match way {
                    Way::Alter(steps) => self.alter(lsn, &layout, schema, &steps).await,
                    Way::Rebuild(origins) => {
                        if origins.is_none() {
                            tracing::warn!(
                                sink = %self.plan.name, table = %name,
                                "the table's new key cannot be told from its copy: the copy is empty until the source has read it again"
                            );
                        }
                        let place = (self.plan.name.as_str(), lsn);
                        rebuild(&self.client, &self.clickhouse, place, &layout, schema, origins.as_deref()).await
                    }
                };
                done.map_err(|error| {
                    error.failure(&format!("follow the change of {name} in table \"{}\"", layout.target))
                })?;
                layout
            }
        };
        self.make_view(&layout).await?;
        self.register(lsn, Table { schema: schema.clone(), options, layout }).await
    }

    async fn register(&mut self, lsn: Lsn, table: Table) -> Result<(), Failure> {
        registry::save(&self.client, &self.plan.name, lsn, &table)
            .await
            .map_err(|error| error.failure("register a table"))?;
        let name = table.schema.name.clone();
        self.tables.insert(name.clone(), table);
        self.forget_writers(&name);
        Ok(())
    }

    /// A table that is there already was made by somebody else, holds another source table, or was made by this sink just before
    /// a crash.
    async fn create(&self, lsn: Lsn, name: &TableName, layout: &Layout) -> Result<(), Failure> {
        let target = &layout.target;
        if let Some(other) = self.tables.values().find(|table| table.layout.target == *target) {
            return Err(Failure::row(format!("{name} would be written to \"{target}\", which holds {}", other.schema.name))
                .hint("set the sink's `table_name` so that every source table has its own, for example \"{database}_{table}\""));
        }
        let sql = format!(
            "SELECT comment FROM system.tables WHERE database = {} AND name = {}",
            literal(&self.clickhouse.database),
            literal(target)
        );
        let failed = |error: Refused| error.failure(&format!("create the table \"{target}\" of {name}"));
        let found: Vec<(String,)> = self.client.rows(&sql).await.map_err(failed)?;
        let ours = comment(&self.plan.name, lsn);
        if found.iter().any(|(comment,)| *comment != ours) {
            return Err(Failure::row(format!(
                "database \"{}\" has a table or view \"{target}\" that this sink did not make, {name} is not written into it",
                self.clickhouse.database
            ))
            .hint("rename or drop it, or set another `table_prefix` or `database` for the sink"));
        }
        let sql = layout.create_statement(&self.clickhouse.database, target, &ours);
        self.client.execute(&sql, false).await.map_err(failed)
    }

    /// Each mirror's view hides what FINAL hides.
    async fn make_view(&self, layout: &Layout) -> Result<(), Failure> {
        if !self.clickhouse.create_views || layout.mode == Mode::History {
            return Ok(());
        }
        let names: Vec<_> =
            layout.columns.iter().map(|column| &column.name).chain(&layout.soft).map(|name| quoted(name)).collect();
        let sql = format!(
            "CREATE OR REPLACE VIEW {} AS SELECT {} FROM {} FINAL",
            self.place(&view(&layout.target)),
            names.join(", "),
            self.place(&layout.target)
        );
        let failed = |error: Refused| error.failure(&format!("make the view \"{}\"", view(&layout.target)));
        self.client.execute(&sql, false).await.map_err(failed)
    }

    async fn drop_view(&self, target: &str) -> Result<(), Refused> {
        if self.clickhouse.create_views {
            self.client.execute(&format!("DROP VIEW IF EXISTS {} SYNC", self.place(&view(target))), false).await?;
        }
        Ok(())
    }

    async fn alter(&self, lsn: Lsn, layout: &Layout, schema: &TableSchema, steps: &[Step]) -> Result<(), Refused> {
        let table = self.place(&layout.target);
        for step in steps {
            for (side, prefix) in sides(layout.mode) {
                let named = |name: &str| side(name);
                let commands = match step {
                    Step::Rename { from, to } => {
                        let (from, to) = (named(from), named(to));
                        match (self.type_of(&layout.target, &from).await?, self.type_of(&layout.target, &to).await?) {
                            // Done before a crash.
                            (None, Some(_)) => Vec::new(),
                            _ => vec![format!("RENAME COLUMN {} TO {}", quoted(&from), quoted(&to))],
                        }
                    }
                    Step::Add { column } => {
                        let Some(column) = layout.columns.get(*column) else { continue };
                        let name = named(&column.name);
                        let mut commands = Vec::new();
                        // A changelog may still have one of this name.
                        if let Some(is) = self.type_of(&layout.target, &name).await?
                            && is != column.ty
                        {
                            commands.push(set_aside(&name, lsn));
                        }
                        let default = match (layout.mode, schema.columns.get(column.source)) {
                            (Mode::Mirror, Some(source)) => {
                                default_literal(&schema.name, source, &column.ty, self.clickhouse.types)
                                    .map_err(|failure| Refused::refused_here(failure.chain()))?
                                    .map_or(String::new(), |literal| format!(" DEFAULT {literal}"))
                            }
                            _ => String::new(),
                        };
                        commands.push(format!("ADD COLUMN IF NOT EXISTS {} {}{default}", quoted(&name), column.ty));
                        commands
                    }
                    Step::Widen { column } => {
                        let Some(column) = layout.columns.get(*column) else { continue };
                        vec![format!("MODIFY COLUMN {} {}", quoted(&named(&column.name)), column.ty)]
                    }
                    Step::SetAside { column } => {
                        let Some(column) = layout.columns.get(*column) else { continue };
                        let name = named(&column.name);
                        let mut commands = Vec::new();
                        if self.type_of(&layout.target, &aside(&name, lsn)).await?.is_none() {
                            commands.push(set_aside(&name, lsn));
                        }
                        commands.push(format!("ADD COLUMN IF NOT EXISTS {} {}", quoted(&name), column.ty));
                        commands
                    }
                    Step::Drop { name } => vec![format!("DROP COLUMN IF EXISTS {}", quoted(&named(name)))],
                };
                for command in commands {
                    let sql = format!("ALTER TABLE {table} {command}");
                    tracing::info!(sink = %self.plan.name, %sql, side = prefix, "altering");
                    self.client.execute(&sql, true).await.map_err(|error| error.of_statement(&sql))?;
                }
            }
        }
        Ok(())
    }

    /// The type of a column as it is at the target.
    async fn type_of(&self, table: &str, column: &str) -> Result<Option<String>, Refused> {
        let sql = format!(
            "SELECT type FROM system.columns WHERE database = {} AND table = {} AND name = {}",
            literal(&self.clickhouse.database),
            literal(table),
            literal(column)
        );
        let rows: Vec<(String,)> = self.client.rows(&sql).await?;
        Ok(rows.into_iter().next().map(|(ty,)| ty))
    }

    async fn truncate(&mut self, at: At<'_>, name: &TableName) -> Result<(), Failure> {
        match self.clickhouse.ddl.truncate {
            DdlAction::Apply => self.empty(at, name, Emptied::Gone, "truncate").await,
            DdlAction::Ignore => Ok(()),
            DdlAction::Stop => Err(Failure::row(format!("{name} was truncated, and `ddl.truncate` says to stop then"))),
        }
    }

    async fn empty(&mut self, at: At<'_>, name: &TableName, why: Emptied, op: &str) -> Result<(), Failure> {
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        let layout = &table.layout;
        let place = self.place(&layout.target);
        let sql = match (layout.mode, &layout.soft) {
            (Mode::History, _) => self.mark(layout, at, op),
            (Mode::Mirror, None) => {
                format!("TRUNCATE TABLE IF EXISTS {place} SYNC SETTINGS max_table_size_to_drop = 0")
            }
            // Rows that come again overwrite the mark.
            (Mode::Mirror, Some(soft)) => {
                let version = row_version(at.lsn, 0);
                let values: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
                let soft = quoted(soft);
                format!(
                    "INSERT INTO {place} ({0}, {soft}, _version) SELECT {0}, 1, {version} FROM {place} FINAL WHERE {soft} = 0",
                    values.join(", ")
                )
            }
        };
        let word = if why == Emptied::Gone { "empty" } else { "empty for a re-read" };
        let failed =
            |error: Refused| error.of_statement(&sql).failure(&format!("{word} the table \"{}\"", layout.target));
        self.client.execute(&sql, true).await.map_err(failed)
    }

    /// A line of a changelog that stands for a change of the whole table.
    fn mark(&self, layout: &Layout, at: At<'_>, op: &str) -> String {
        format!(
            "INSERT INTO {} (_version, _lsn, _ordinal, _op, _commit_time) SELECT {}, {}, 0, {}, fromUnixTimestamp64Micro({}, 'UTC')",
            self.place(&layout.target),
            row_version(at.lsn, 0),
            at.lsn.raw(),
            literal(op),
            at.origin.commit_micros
        )
    }

    async fn drop_table(&mut self, at: At<'_>, name: &TableName) -> Result<(), Failure> {
        match self.clickhouse.ddl.drop_table {
            DdlAction::Apply => {}
            DdlAction::Ignore => return Ok(()),
            DdlAction::Stop => {
                return Err(Failure::row(format!("{name} was dropped, and `ddl.drop_table` says to stop then")));
            }
        }
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        if table.layout.mode == Mode::History || table.layout.soft.is_some() {
            return self.empty(at, name, Emptied::Gone, "drop").await;
        }
        self.remove(at.lsn, name).await
    }

    /// Drops a mirror's table and forgets it.
    async fn remove(&mut self, lsn: Lsn, name: &TableName) -> Result<(), Failure> {
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        let target = table.layout.target.clone();
        let sql = format!("DROP TABLE IF EXISTS {} SYNC SETTINGS max_table_size_to_drop = 0", self.place(&target));
        let failed = |error: Refused| error.failure(&format!("drop the table \"{target}\" of {name}"));
        self.drop_view(&target).await.map_err(failed)?;
        self.client.execute(&sql, false).await.map_err(|error| failed(error.of_statement(&sql)))?;
        registry::forget(&self.client, &self.plan.name, lsn, name).await.map_err(failed)?;
        self.tables.remove(name);
        self.forget_writers(name);
        Ok(())
    }

    /// The table's whole content comes again: also the way in which a stopped table comes back.
    async fn replace(&mut self, at: At<'_>, schema: &TableSchema) -> Result<(), Failure> {
        let name = schema.name.clone();
        let was_stopped = self.stopped.contains_key(&name);
        let is_mirror = self.tables.get(&name).is_none_or(|table| table.layout.mode == Mode::Mirror);
        let options = StoredOptions::of(&self.plan, &self.clickhouse, &name);
        let is_other = self.tables.get(&name).is_some_and(|table| table.options.difference(&options).is_some());
        if was_stopped && is_mirror && !is_other {
            self.remove(at.lsn, &name).await?;
        }
        // A stopped table's own refusals come again if nothing has changed.
        self.revive(at.lsn, &name).await?;
        if !self.tables.contains_key(&name) {
            return self.shape(at.lsn, schema, &[]).await;
        }
        self.empty(at, &name, Emptied::Replaced, "replace").await?;
        self.shape(at.lsn, schema, &[]).await
    }

    async fn rename_stopped(&mut self, at: At<'_>, from: &TableName, to: &TableName) -> Result<(), Failure> {
        let Some(why) = self.stopped.get(from).cloned() else { return Ok(()) };
        self.remove(at.lsn, from).await?;
        self.revive(at.lsn, from).await?;
        Err(Failure::row(format!("it was stopped under its old name {from}: {}", why.reason)))
            .or_else(|failure| self.contain(to, Err(failure)))
    }

    async fn rename_table(
        &mut self,
        at: At<'_>,
        from: &TableName,
        to: &TableName,
        schema: &TableSchema,
    ) -> Result<(), Failure> {
        let Some(old) = self.tables.get(from).cloned() else { return self.shape(at.lsn, schema, &[]).await };
        let policy = self.clickhouse.ddl.rename;
        if policy == DdlAction::Stop {
            return Err(Failure::row(format!("{from} was renamed to {to}, and `ddl.rename` says to stop then")));
        }
        let options = StoredOptions::of(&self.plan, &self.clickhouse, to);
        if let Some(difference) = old.options.difference(&options) {
            return Err(Failure::row(format!(
                "{from} was renamed to {to}, and {from} is written with {difference} for {to}"
            ))
            .hint(format!("give {to} a rule in `tables` with the settings that {from} has")));
        }
        let failed = |error: Refused| error.failure(&format!("rename the table \"{}\"", old.layout.target));
        if old.layout.mode == Mode::History {
            let sql = self.mark(&old.layout, at, "rename");
            self.client.execute(&sql, false).await.map_err(failed)?;
        }
        if let Some(kept) = self.tables.get(to) {
            return Err(Failure::row(format!(
                "{from} was renamed to {to}, and what is left of an older {to} is still in \"{}\"",
                kept.layout.target
            )));
        }
        let mut layout = old.layout.clone();
        if policy == DdlAction::Apply {
            layout.target = self.plan.target_name(to);
        }
        if layout.target != old.layout.target {
            self.rename_target(&old.layout.target, &layout.target).await.map_err(failed)?;
        }
        let mut now = Table { schema: old.schema.clone(), options, layout };
        now.schema.name = to.clone();
        self.register(at.lsn, now).await?;
        registry::forget(&self.client, &self.plan.name, at.lsn, from).await.map_err(failed)?;
        self.tables.remove(from);
        self.forget_writers(from);
        self.shape(at.lsn, schema, &[]).await
    }

    async fn rename_target(&self, from: &str, to: &str) -> Result<(), Refused> {
        let sql = format!(
            "SELECT countIf(name = {}), countIf(name = {}) FROM system.tables WHERE database = {}",
            literal(from),
            literal(to),
            literal(&self.clickhouse.database)
        );
        let found: Vec<(u64, u64)> = self.client.rows(&sql).await?;
        self.drop_view(from).await?;
        // Done before a crash.
        if found.first().is_some_and(|(old, new)| *old == 0 && *new == 1) {
            return Ok(());
        }
        let sql = format!("RENAME TABLE {} TO {}", self.place(from), self.place(to));
        self.client.execute(&sql, false).await.map_err(|error| error.of_statement(&sql))
    }

    /// A table's full name.
    fn place(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.clickhouse.database), quoted(table))
    }
}

fn view(target: &str) -> String {
    format!("{target}_current")
}

/// The columns that one column of the source has: itself, or its two sides.
fn sides(mode: Mode) -> Vec<(fn(&str) -> String, &'static str)> {
    match mode {
        Mode::Mirror => vec![(str::to_owned, "")],
        Mode::History => vec![(before, "before"), (after, "after")],
    }
}

/// The name under which a changelog keeps a column of an older type.
fn aside(name: &str, lsn: Lsn) -> String {
    format!("{name}_until_{lsn}")
}

fn set_aside(name: &str, lsn: Lsn) -> String {
    format!("RENAME COLUMN IF EXISTS {} TO {}", quoted(name), quoted(&aside(name, lsn)))
}
