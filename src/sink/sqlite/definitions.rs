//! What SQLite does to the sink's tables: [`Definitions`] in its statements. DDL is transactional here, so a round with changes in its midst is
//! visible as a whole or not at all, and what one table cannot do is taken back to a savepoint.

use async_trait::async_trait;
use rusqlite::Connection;
use rusqlite::types::Value;
use wal::Lsn;

use super::adopt;
use super::alter::{self, defaults};
use super::beside;
use super::error::of_table;
use super::history;
use super::layout::{Layout, Sqlite, mark, quoted, same_name};
use super::rebuild;
use super::registry::{self, Table};
use super::target::{Rows, Savepoint, Target};
use super::types::Storage;
use super::views;
use crate::config::{DdlPolicy, Mode, SinkPlan};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::sink::adopt::{OurTable, TheirTable, Under};
use crate::sink::definitions::{At, Definitions, Followed, Found, Rebuild, Room, Share, Stop, Swap};
use crate::sink::follow;
use crate::sink::refusals::{Blame, Line};
use crate::sink::reshape::{Origin, Step};
use crate::sink::rows::{self, Moment};

/// The name a table has between two that differ in case only: SQLite takes both for one and finds it taken.
const BETWEEN: &str = "_replicator_rename";

#[async_trait]
impl Definitions for Target {
    type Dialect = Sqlite;

    type Rows = Rows;

    const ATOMIC: bool = true;

    fn dialect(&self) -> &Sqlite {
        &Sqlite
    }

    fn plan(&self) -> &SinkPlan {
        &self.plan
    }

    fn policy(&self) -> DdlPolicy {
        self.plan.ddl
    }

    fn followed(&self) -> &Followed<Storage, Rows> {
        &self.followed
    }

    fn followed_mut(&mut self) -> &mut Followed<Storage, Rows> {
        &mut self.followed
    }

    fn location(&self) -> String {
        format!("\"{}\"", self.path.display())
    }

    async fn find(&mut self, target: &str) -> Result<Option<Found>, Failure> {
        let found = registry::under_name(&self.connection, target);
        let found = found.map_err(|error| self.fail("look for a table", error))?;
        let is_ours = |sql: &str| sql.contains(&mark(&self.plan.name));
        Ok(found.map(|(kind, sql)| {
            if kind == "table" && is_ours(&sql) { Found::Ours { made: None } } else { Found::Foreign { maker: None } }
        }))
    }

    async fn altered(&mut self) -> Result<Vec<(TableName, String)>, Failure> {
        registry::altered(&self.connection, &self.followed.tables)
            .map_err(|error| self.fail("read the tables' columns", error))
    }

    async fn create(&mut self, _lsn: Lsn, name: &TableName, layout: &Layout) -> Result<(), Failure> {
        let target = &layout.target;
        self.connection
            .execute_batch(&layout.create_statement(target, &self.plan.name))
            .map_err(|error| self.refused(&format!("create the table \"{target}\" of {name}"), error))
    }

    fn our_table(&self, layout: &Layout, schema: &TableSchema) -> OurTable {
        adopt::ours(layout, Some(schema))
    }

    async fn their_table(&mut self, layout: &Layout) -> Result<Option<TheirTable>, Failure> {
        let found = adopt::under(&self.connection, &layout.target, &self.plan.name);
        match found.map_err(|error| self.fail("read the definition of a table", error))? {
            Under::Theirs(theirs) => Ok(Some(theirs)),
            Under::Nothing | Under::Made => Ok(None),
        }
    }

    async fn take_in(
        &mut self,
        lsn: Lsn,
        name: &TableName,
        (layout, keeps_rows): (&Layout, bool),
    ) -> Result<(), Failure> {
        if !keeps_rows {
            self.empty(lsn, layout, "replace", None).await?;
        }
        adopt::take_in(&self.connection, &layout.target, &self.plan.name)
            .map_err(|error| self.refused(&format!("take the table \"{}\" over for {name}", layout.target), error))
    }

    async fn alter(&mut self, lsn: Lsn, layout: &Layout, schema: &TableSchema, steps: &[Step]) -> Result<(), Failure> {
        let added = steps.iter().filter_map(|step| match step {
            Step::Add { column } => layout.columns.get(*column).map(|column| column.source),
            _ => None,
        });
        let defaults = self.defaults(schema, layout, &added.collect::<Vec<_>>())?;
        let take = |connection: &Connection| alter::take(connection, lsn, layout, &defaults, steps);
        views::aside(&self.connection, take).map_err(|error| self.cannot_follow(&schema.name, layout, error))
    }

    async fn found_columns(&mut self, target: &str) -> Result<Vec<(String, String)>, Failure> {
        rebuild::columns(&self.connection, target).map_err(|error| self.fail("read the columns of a table", error))
    }

    async fn rebuild(&mut self, _lsn: Lsn, rebuild: Rebuild<'_, Storage>) -> Result<(), Failure> {
        let origins = rebuild.layout.columns.iter().zip(rebuild.origins);
        let added = origins.filter(|(_, origin)| matches!(origin, Origin::Added)).map(|(column, _)| column.source);
        let defaults = self.defaults(rebuild.schema, rebuild.layout, &added.collect::<Vec<_>>())?;
        rebuild::rebuild(&self.connection, &rebuild, &defaults, &self.plan.name)
            .map_err(|error| self.cannot_follow(&rebuild.schema.name, rebuild.layout, error))
    }

    async fn copy_beside(&mut self, _at: At<'_>, layout: &Layout, new: &str) -> Result<(), Failure> {
        beside::copy(&self.connection, layout, new, &self.plan.name)
            .map_err(|error| self.refused(&format!("build a second copy beside \"{}\"", layout.target), error))
    }

    async fn swap(&mut self, swap: Swap<'_>) -> Result<(), Failure> {
        self.connection.flush_prepared_statement_cache();
        let (name, at_target) = (swap.name, swap.at_target);
        match self.find(at_target).await? {
            Some(Found::Foreign { maker }) => return Err(follow::taken(self, name, at_target, maker)),
            Some(Found::Ours { .. }) | None => {}
        }
        beside::swap(&self.connection, &swap).map_err(|error| {
            let failure = self.refused(&format!("put the new copy of {name} in the place of \"{at_target}\""), error);
            match failure.class {
                ErrorClass::Row => failure.hint("if an index or a trigger on the table hinders it, drop that"),
                ErrorClass::Retry | ErrorClass::Fatal => failure,
            }
        })
    }

    async fn room_beside(&mut self, target: &str) -> Result<Option<Room>, Failure> {
        beside::room(&self.connection, &self.path, target)
            .map_err(|error| self.fail("look how large a table is", error))
    }

    async fn rename_target(&mut self, _name: &TableName, from: &str, to: &str) -> Result<(), Failure> {
        self.connection.flush_prepared_statement_cache();
        let rename = |connection: &Connection, from: &str, to: &str| {
            connection.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(to)))
        };
        let renamed = views::aside(&self.connection, |connection| {
            if same_name(from, to) {
                rename(connection, from, BETWEEN)?;
                rename(connection, BETWEEN, to)
            } else {
                rename(connection, from, to)
            }
        });
        renamed.map_err(|error| self.refused(&format!("rename the table \"{from}\" to \"{to}\""), error))
    }

    async fn drop_target(&mut self, name: &TableName, target: &str) -> Result<(), Failure> {
        self.connection.flush_prepared_statement_cache();
        let what = format!("drop the table \"{target}\" of {name}");
        if !matches!(self.find(target).await?, Some(Found::Ours { .. })) {
            return Ok(());
        }
        self.connection
            .execute_batch(&format!("DROP TABLE {}", quoted(target)))
            .map_err(|error| self.refused(&what, error))
    }

    async fn empty(&mut self, _lsn: Lsn, layout: &Layout, op: &str, share: Option<&Share>) -> Result<(), Failure> {
        let sql = format!("DELETE FROM {}", quoted(&layout.target));
        let done = match share {
            None => self.connection.execute(&sql, []),
            Some(Share { column, tag }) => {
                self.connection.execute(&format!("{sql} WHERE {} = ?1", quoted(column)), [tag])
            }
        };
        done.map(drop).map_err(|error| self.cannot_empty(layout, op, error))
    }

    async fn mark_deleted(
        &mut self,
        _at: At<'_>,
        layout: &Layout,
        op: &str,
        share: Option<&Share>,
    ) -> Result<(), Failure> {
        let Some(soft) = layout.soft.as_deref().map(quoted) else { return Ok(()) };
        let sql = format!("UPDATE {} SET {soft} = 1 WHERE {soft} = 0", quoted(&layout.target));
        let done = match share {
            None => self.connection.execute(&sql, []),
            Some(Share { column, tag }) => {
                self.connection.execute(&format!("{sql} AND {} = ?1", quoted(column)), [tag])
            }
        };
        done.map(drop).map_err(|error| self.cannot_empty(layout, op, error))
    }

    async fn append_mark(
        &mut self,
        at: At<'_>,
        layout: &Layout,
        op: &str,
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        let commit_micros = at.origin.commit_micros;
        let moment = Moment { epoch: self.epoch, frame: at.place, first_ordinal: 0, commit_micros };
        history::mark(&self.connection, &layout.target, op, reason, moment)
            .map_err(|error| self.refused(&format!("append to the changelog \"{}\"", layout.target), error))
    }

    async fn announce(&mut self, _version: Lsn, _table: &Table, _lsn: Lsn) -> Result<(), Failure> {
        Ok(())
    }

    async fn save(&mut self, _lsn: Lsn, table: &Table) -> Result<(), Failure> {
        registry::save(&self.connection, &self.plan.name, table).map_err(|error| self.fail("register a table", error))
    }

    async fn replace_line(&mut self, _lsn: Lsn, table: &TableName, now: Option<&Table>) -> Result<(), Failure> {
        let sink = &self.plan.name;
        registry::forget(&self.connection, sink, table)
            .and_then(|()| now.map_or(Ok(()), |now| registry::save(&self.connection, sink, now)))
            .map_err(|error| self.fail("end a table's registration", error))
    }

    async fn save_stop(&mut self, _version: Lsn, table: &TableName, stop: &Stop<'_>) -> Result<(), Failure> {
        registry::stop(&self.connection, &self.plan.name, table, stop)
            .map_err(|error| self.fail("write down that a table is stopped", error))
    }

    async fn end_stop(&mut self, _version: Lsn, table: &TableName) -> Result<(), Failure> {
        registry::revive(&self.connection, &self.plan.name, table)
            .map_err(|error| self.fail("write down that a table is written again", error))
    }

    async fn attempt(&mut self) -> Result<(), Failure> {
        self.savepoint(Savepoint::Begin)
    }

    async fn keep(&mut self) -> Result<(), Failure> {
        self.savepoint(Savepoint::Keep)
    }

    /// What is known of the tables is read again.
    async fn undo(&mut self, table: &TableName, failed: &Failure) -> Result<(), Failure> {
        self.alone(table, Failure::row(failed.chain()))?;
        self.savepoint(Savepoint::Undo)?;
        let (tables, _) = registry::load(&self.connection, &self.plan.name)
            .map_err(|error| self.fail("read the sink's own tables", error))?;
        self.followed.tables = tables;
        rows::forget(self, table);
        Ok(())
    }

    /// SQLite refuses no table for a while that it takes others for.
    fn blame(&self, _failure: &Failure) -> Blame {
        Blame::Unknown
    }

    async fn save_refusal(&mut self, table: &TableName, _line: &Line, _reason: &str) -> Result<(), Failure> {
        Err(Failure::fatal(format!("a refusal of {table} was to be written down, and this sink knows of none")))
    }

    fn forget_statements(&mut self) {
        self.connection.flush_prepared_statement_cache();
    }
}

impl Target {
    /// What SQLite refuses of one table.
    fn refused(&self, what: &str, error: rusqlite::Error) -> Failure {
        of_table(&self.path, what, error)
    }

    /// What older rows hold in the columns that come from these places of the schema and are new. A changelog's older lines keep their values.
    fn defaults(&mut self, schema: &TableSchema, layout: &Layout, new: &[usize]) -> Result<Vec<Value>, Failure> {
        let new = if layout.mode == Mode::Mirror { new } else { &[] };
        let values = self.plan.options_for(&schema.name).values;
        defaults((schema, layout), new, values, &mut self.scratch)
    }

    fn cannot_follow(&self, name: &TableName, layout: &Layout, error: rusqlite::Error) -> Failure {
        let failure = self.refused(&format!("follow the change of {name} in table \"{}\"", layout.target), error);
        match failure.class {
            ErrorClass::Row => failure.hint("if an index, a trigger or a view on the table hinders it, drop that"),
            ErrorClass::Retry | ErrorClass::Fatal => failure,
        }
    }

    fn cannot_empty(&self, layout: &Layout, op: &str, error: rusqlite::Error) -> Failure {
        self.refused(&format!("empty the table \"{}\" ({op})", layout.target), error)
    }
}
