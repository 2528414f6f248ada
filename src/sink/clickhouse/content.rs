//! Changes of a table's whole content: truncated, dropped, replaced.
//!
//! A changelog gets a line and loses nothing, also of what happened that nobody knows: a gap, with its reason. Rows of a mirror with
//! soft deletion are marked.

use wal::Lsn;

use super::copy::Copy;
use super::ddl::At;
use super::error::Refused;
use super::layout::Layout;
use super::names::{literal, quoted};
use super::owner::emptied;
use super::rebuild;
use super::registry::{self, Table};
use super::target::Target;
use crate::codec::version::row_version;
use crate::config::{DdlAction, Mode};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};

impl Target {
    pub(super) async fn truncate(&mut self, at: At<'_>, name: &TableName) -> Result<(), Failure> {
        match self.clickhouse.ddl.truncate {
            DdlAction::Apply => {}
            DdlAction::Ignore => return Ok(()),
            DdlAction::Stop => {
                return Err(Failure::row(format!("{name} was truncated, and `ddl.truncate` says to stop then")));
            }
        }
        let Some(table) = self.tables.get(name).cloned() else { return Ok(()) };
        self.announce(at.lsn, name).await?;
        self.empty(at, &table.layout, "truncate").await?;
        self.register(at.lsn, table).await
    }

    /// Hides or removes the rows that are there; `op` says why, for a changelog.
    async fn empty(&self, at: At<'_>, layout: &Layout, op: &str) -> Result<(), Failure> {
        let failed = |error: Refused| error.failure(&format!("empty the table \"{}\" ({op})", layout.target));
        match (layout.mode, &layout.soft) {
            (Mode::History, _) => self.mark(layout, at, op, None).await.map_err(failed),
            (Mode::Mirror, None) => {
                self.may_rebuild(&layout.target).await?;
                let comment = emptied(&self.plan.name, at.lsn);
                rebuild::empty(&self.client, &self.clickhouse, &comment, &layout.target).await.map_err(failed)
            }
            // Rows that come again overwrite the mark.
            (Mode::Mirror, Some(soft)) => {
                let place = self.place(&layout.target);
                let columns: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
                let (columns, soft) = (columns.join(", "), quoted(soft));
                let marked = Copy {
                    into: place.clone(),
                    values: format!("{columns}, 1, {}", row_version(self.owner.epoch, at.place, 0)),
                    columns: format!("{columns}, {soft}, _version"),
                    from: place,
                    layout,
                    only: Some(format!("{soft} = 0")),
                };
                marked.run(&self.client).await.map_err(failed)
            }
        }
    }

    /// Whether a gap in what the log has of a table is written anywhere: in a changelog that is not stopped.
    pub(super) fn notes_gaps(&self, name: &TableName) -> bool {
        !self.stopped.contains_key(name)
            && self.tables.get(name).is_some_and(|table| table.layout.mode == Mode::History)
    }

    /// From here on a changelog may not have every change. Its line has the version of its place, so that a line that is written again
    /// is the same one: how far it has come need not be registered.
    pub(super) async fn gap(&self, at: At<'_>, name: &TableName, reason: &str) -> Result<(), Failure> {
        let Some(Table { layout, .. }) = self.tables.get(name).filter(|_| self.notes_gaps(name)) else { return Ok(()) };
        let failed = |error: Refused| error.failure(&format!("append to the changelog of {name}"));
        self.mark(layout, at, "gap", Some(reason)).await.map_err(failed)
    }

    /// Writes a changelog's line for a change of the whole table, with its reason if it has one.
    pub(super) async fn mark(
        &self,
        layout: &Layout,
        at: At<'_>,
        op: &str,
        reason: Option<&str>,
    ) -> Result<(), Refused> {
        let sql = format!(
            "INSERT INTO {} (_version, _lsn, _ordinal, _op, _commit_time, _reason) \
             SELECT {}, {}, 0, {}, fromUnixTimestamp64Micro({}, 'UTC'), {}",
            self.place(&layout.target),
            row_version(self.owner.epoch, at.place, 0),
            at.lsn.raw(),
            literal(op),
            at.origin.commit_micros,
            reason.map_or_else(|| "NULL".to_owned(), literal)
        );
        self.client.execute(&sql, false).await.map_err(|error| error.of_statement(&sql))
    }

    pub(super) async fn drop_table(&mut self, at: At<'_>, name: &TableName) -> Result<(), Failure> {
        let Some(table) = self.tables.get(name).cloned() else { return Ok(()) };
        match self.clickhouse.ddl.drop_table {
            DdlAction::Apply => {}
            DdlAction::Ignore => return Ok(()),
            DdlAction::Stop => {
                self.stop_dropped(name);
                return Ok(());
            }
        }
        self.announce(at.lsn, name).await?;
        if is_kept(&table) {
            self.empty(at, &table.layout, "drop").await?;
            return self.register(at.lsn, table).await;
        }
        self.drop_target(name, &table).await?;
        self.forget(at.lsn, name).await
    }

    /// A stopped table that is no more at the source: nothing of it will ever be left out again, or read again.
    pub(super) async fn drop_stopped(&mut self, at: At<'_>, name: &TableName) -> Result<(), Failure> {
        let table = self.tables.get(name).cloned();
        match (self.clickhouse.ddl.drop_table, table) {
            (DdlAction::Stop, _) => {
                self.stop_dropped(name);
                return Ok(());
            }
            (DdlAction::Ignore, Some(table)) if self.is_there(&table).await? => {
                tracing::warn!(
                    sink = %self.plan.name, table = %name, target = table.layout.target,
                    "a stopped table was dropped at the source: the copy stays as it was when it stopped"
                );
                self.register(at.lsn, table).await?;
            }
            (DdlAction::Apply, Some(table)) if is_kept(&table) && self.is_there(&table).await? => {
                self.empty(at, &table.layout, "drop").await?;
                self.register(at.lsn, table).await?;
            }
            (DdlAction::Apply, Some(table)) => {
                self.drop_target(name, &table).await?;
                self.forget(at.lsn, name).await?;
            }
            (DdlAction::Ignore | DdlAction::Apply, _) => self.forget(at.lsn, name).await?,
        }
        self.revive(at.lsn, name).await
    }

    /// Drops a table and its view. What somebody else has put in its place stays.
    pub(super) async fn drop_target(&self, name: &TableName, table: &Table) -> Result<(), Failure> {
        let target = &table.layout.target;
        let failed = |error: Refused| error.failure(&format!("drop the table \"{target}\" of {name}"));
        self.drop_view(target).await.map_err(failed)?;
        if !self.has_own_table(target).await.map_err(failed)? {
            return Ok(());
        }
        let sql = format!("DROP TABLE IF EXISTS {} SYNC SETTINGS max_table_size_to_drop = 0", self.place(target));
        self.client.execute(&sql, false).await.map_err(|error| failed(error.of_statement(&sql)))
    }

    /// Ends a table's line.
    pub(super) async fn forget(&mut self, lsn: Lsn, name: &TableName) -> Result<(), Failure> {
        registry::forget(&self.client, &self.plan.name, lsn, name)
            .await
            .map_err(|error| error.failure("end a table's registration"))?;
        self.changes.note_done(name, lsn);
        self.tables.remove(name);
        self.forget_writers(name);
        Ok(())
    }

    /// The table's whole content comes again: also the way in which a stopped table comes back.
    pub(super) async fn replace(&mut self, at: At<'_>, schema: &TableSchema) -> Result<(), Failure> {
        let name = &schema.name;
        let why = self.stopped.remove(name);
        let done = self.replace_content(at, schema, why.is_some()).await;
        match (why, &done) {
            (None, _) => {}
            (Some(why), Ok(())) => {
                self.stopped.insert(name.clone(), why);
                self.revive(at.lsn, name).await?;
            }
            // It is stopped anew, for this reason.
            (Some(_), Err(failure)) if failure.class == ErrorClass::Row => {}
            (Some(why), Err(_)) => {
                self.stopped.insert(name.clone(), why);
            }
        }
        done
    }

    async fn replace_content(&mut self, at: At<'_>, schema: &TableSchema, was_stopped: bool) -> Result<(), Failure> {
        let name = &schema.name;
        if let Some(table) = self.tables.get(name).cloned() {
            if was_stopped && (!is_kept(&table) || !self.is_there(&table).await?) {
                // It is made anew, whatever became of it. Its line stays until the new one's is written.
                self.drop_target(name, &table).await?;
                self.tables.remove(name);
            } else {
                self.announce(at.lsn, name).await?;
                self.empty(at, &table.layout, "replace").await?;
            }
        }
        self.shape(at.lsn, schema, &[], true).await
    }

    /// Whether a registered table is at the target.
    pub(super) async fn is_there(&self, table: &Table) -> Result<bool, Failure> {
        let target = &table.layout.target;
        let found = self.find(target).await;
        Ok(found.map_err(|error| error.failure(&format!("look for the table \"{target}\"")))?.is_some())
    }
}

/// Whether the table holds what no read of the source brings again.
pub(super) fn is_kept(table: &Table) -> bool {
    table.layout.mode == Mode::History || table.layout.soft.is_some()
}
