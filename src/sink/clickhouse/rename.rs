//! Tables that get another name. The lines of both names change at once, and last.
//!
//! Where a rename is not followed, what is registered of the table goes to the new name, which is stopped: the old name is free for
//! another table, whose rows are never mixed with those that are there.

use super::content::is_kept;
use super::ddl::At;
use super::error::Refused;
use super::registry::{self, StoredOptions, Table};
use super::target::Target;
use crate::config::{DdlAction, Mode};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};

impl Target {
    pub(super) async fn rename(
        &mut self,
        at: At<'_>,
        from: &TableName,
        to: &TableName,
        schema: &TableSchema,
    ) -> Result<(), Failure> {
        if let Some(why) = self.stopped.get(from) {
            let reason = format!("it was stopped under its old name {from}: {}", why.reason);
            return self.carry_stopped(at, from, to, &reason).await;
        }
        let Err(failure) = self.follow_rename(at, from, to, schema).await else { return self.accepted(from).await };
        let failure = self.weighed(from, failure).await;
        match failure.class {
            ErrorClass::Row => self.carry_stopped(at, from, to, &failure.chain()).await,
            ErrorClass::Retry | ErrorClass::Fatal => Err(failure),
        }
    }

    async fn follow_rename(
        &mut self,
        at: At<'_>,
        from: &TableName,
        to: &TableName,
        schema: &TableSchema,
    ) -> Result<(), Failure> {
        let Some(old) = self.tables.get(from).cloned() else { return self.shape(at.lsn, schema, &[], false).await };
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
        if let Some(kept) = self.tables.get(to) {
            return Err(Failure::row(format!(
                "{from} was renamed to {to}, and what is left of an older {to} is still in \"{}\"",
                kept.layout.target
            )));
        }
        self.announce(at.lsn, from).await?;
        let mut now = Table { options, ..old.clone() };
        now.schema.name = to.clone();
        if policy == DdlAction::Apply {
            now.layout.target = self.plan.target_name(to);
        }
        let failed = |error: Refused| error.failure(&format!("rename the table \"{}\"", old.layout.target));
        self.rename_target(&old.layout.target, &now.layout.target).await.map_err(failed)?;
        if old.layout.mode == Mode::History {
            self.mark(&now.layout, at, "rename", None).await.map_err(failed)?;
        }
        let now = self.shaped(at.lsn, Some(now), schema, (&[], false)).await?;
        self.move_line(at, from, Some(now)).await
    }

    /// The new name is stopped, with what there is of the table.
    async fn carry_stopped(
        &mut self,
        at: At<'_>,
        from: &TableName,
        to: &TableName,
        reason: &str,
    ) -> Result<(), Failure> {
        let line = match self.tables.get(from).cloned() {
            None => None,
            Some(old) => {
                let options = StoredOptions::of(&self.plan, &self.clickhouse, to);
                let is_same = old.options.difference(&options).is_none();
                if is_same && !self.tables.contains_key(to) {
                    let mut now = old.clone();
                    now.schema.name = to.clone();
                    now.layout.target = self.carried_target(&old.layout.target, to).await?;
                    Some(now)
                } else {
                    if !is_kept(&old) {
                        self.drop_target(from, &old).await?;
                    }
                    None
                }
            }
        };
        self.stop_at(to, at.lsn, reason);
        self.write_stops().await?;
        self.move_line(at, from, line).await?;
        self.accepted(from).await?;
        self.revive(at.lsn, from).await
    }

    /// Where a table that is not followed any more is after its rename: under its new name where that is free, so that the old one is too.
    async fn carried_target(&self, old: &str, to: &TableName) -> Result<String, Failure> {
        let new = self.plan.target_name(to);
        let failed = |error: Refused| error.failure(&format!("rename the table \"{old}\""));
        if self.clickhouse.ddl.rename != DdlAction::Apply || new == old {
            return Ok(old.to_owned());
        }
        let is_there = self.has_own_table(old).await.map_err(failed)?;
        let found = self.find(&new).await.map_err(failed)?;
        if is_there && found.is_none() {
            self.rename_target(old, &new).await.map_err(failed)?;
            return Ok(new);
        }
        // Done before a crash, or nothing of it is there.
        let is_renamed = !is_there && self.has_own_table(&new).await.map_err(failed)?;
        Ok(if is_renamed { new } else { old.to_owned() })
    }

    /// Ends the line of the old name and writes the one of the new name, if there is anything to say of it.
    async fn move_line(&mut self, at: At<'_>, from: &TableName, table: Option<Table>) -> Result<(), Failure> {
        let (sink, lsn) = (&self.plan.name, at.lsn);
        let moved = match &table {
            Some(table) => registry::replace_line(&self.client, sink, lsn, from, table).await,
            None => registry::forget(&self.client, sink, lsn, from).await,
        };
        moved.map_err(|error| error.failure("register a table under its new name"))?;
        self.changes.note_done(from, lsn);
        self.tables.remove(from);
        self.forget_writers(from);
        if let Some(table) = table {
            self.changes.note_done(&table.schema.name, lsn);
            self.forget_writers(&table.schema.name);
            self.tables.insert(table.schema.name.clone(), table);
        }
        Ok(())
    }

    async fn rename_target(&self, from: &str, to: &str) -> Result<(), Refused> {
        if from == to {
            return Ok(());
        }
        self.drop_view(from).await?;
        // Done before a crash.
        if self.find(from).await?.is_none() && self.has_own_table(to).await? {
            return Ok(());
        }
        let sql = format!("RENAME TABLE {} TO {}", self.place(from), self.place(to));
        self.client.execute(&sql, false).await.map_err(|error| error.of_statement(&sql))
    }
}
