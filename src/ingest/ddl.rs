//! What a statement of the binlog changes, and how its resulting schema is found.
//!
//! The text tells which table, which columns came (with which default), went or changed their names; the exact schema comes from the server's
//! `information_schema`, if that already, and still, shows the state right behind the statement. While the stream is
//! behind, it shows a later state: then the statement is remembered ([`Registry::pend`]), and the schema comes with the next
//! `TABLE_MAP` of the table, or with the last of its DDL statements, whichever is first.
//!
//! Whenever rows of before the statement may not be derivable from what the sinks hold (a default that is no constant, a
//! change of type, partitions exchanged), the table is read again in chunks, beside the stream.

use std::sync::Arc;

use tracing::{info, warn};

use super::disguise::Fit;
use super::lineage::{ColumnSteps, Lineage};
use super::older_rows::{renames, reread_reason, set_defaults};
use super::registry::Registry;
use super::session::Session;
use super::state::Reread;
use super::typed::Touched;
use crate::codec::frame::{Audience, FrameHeader, TableChange};
use crate::error::Failure;
use crate::model::{ColumnDefault, Origin, TableName, TableSchema};
use crate::source::mysql::ddl::{self, AlterOp, AlterOps, CreateTable, SqlMode, Statement};

impl Session<'_> {
    /// Follows a statement that stands in the binlog as a text. Frames it needs are put into the open group.
    pub(super) async fn statement(
        &mut self,
        sql: &str,
        database: &str,
        mode: SqlMode,
        origin: &Origin,
    ) -> Result<(), Failure> {
        match ddl::parse(sql, database, mode) {
            Statement::CreateTable(create) if !create.temporary => self.create_table(create, origin).await,
            Statement::AlterTable { table, ops } => self.alter_table(table, ops, origin).await,
            Statement::RenameTable(pairs) => {
                for (from, to) in pairs {
                    self.rename_table(&from, &to, origin).await?;
                }
                Ok(())
            }
            Statement::DropTable { tables, temporary: false } => {
                for table in tables {
                    self.drop_table(&table, origin)?;
                }
                Ok(())
            }
            Statement::DropDatabase(name) | Statement::CreateDatabase { name, or_replace: true } => {
                for table in self.ctx.registry.in_database(&name) {
                    self.drop_table(&table, origin)?;
                }
                Ok(())
            }
            Statement::Truncate(table) if self.captures(&table) => {
                self.ctx.windows.invalidate(&table);
                self.change(origin, TableChange::Truncate { table })
            }
            Statement::IndexChange { table } if self.captures(&table) => {
                self.alter_table(table, AlterOps::Known(vec![AlterOp::IndexChanged]), origin).await
            }
            Statement::Dml { tables, opaque } => self.statement_format(tables, opaque),
            Statement::Unknown { first_words, mentioned } => match mentioned.into_iter().find(|table| self.captures(table)) {
                Some(table) => Err(Failure::fatal(format!(
                    "a statement that begins with '{first_words}' mentions captured table '{table}' and is not understood"
                ))
                .hint("leave the table out with source.exclude, or start behind the statement with startup_mode: specific and a new log")),
                None => Ok(()),
            },
            Statement::Xa { .. } => Err(Failure::fatal(
                "the binlog holds a distributed transaction (XA), whose rows become true only with a later XA COMMIT",
            )
            .hint("distributed transactions on captured tables are not supported")),
            Statement::RollbackToSavepoint(_) if self.group_has_rows() => Err(Failure::fatal(
                "the binlog rolls back to a savepoint inside a transaction that changed captured rows; only tables without transactions are written so",
            )
            .hint("use ENGINE=InnoDB for the captured tables")),
            Statement::Begin
            | Statement::Commit
            | Statement::Rollback
            | Statement::Savepoint(_)
            | Statement::ReleaseSavepoint(_)
            | Statement::RollbackToSavepoint(_)
            | Statement::CreateTable(_)
            | Statement::DropTable { .. }
            | Statement::CreateDatabase { .. }
            | Statement::Truncate(_)
            | Statement::IndexChange { .. }
            | Statement::Irrelevant => Ok(()),
        }
    }

    fn statement_format(&self, tables: Vec<TableName>, opaque: bool) -> Result<(), Failure> {
        let Some(table) = tables.into_iter().find(|table| self.captures(table)) else {
            if opaque {
                warn!(
                    "the binlog holds a routine call in statement format; rows it changed in captured tables would be unseen"
                );
            }
            return Ok(());
        };
        Err(Failure::fatal(format!("rows of captured table '{table}' were changed in statement format: the binlog holds no rows for it"))
            .hint("set binlog_format=ROW for every session that writes to captured tables, then read the table again with a new log"))
    }

    async fn create_table(&mut self, create: CreateTable, origin: &Origin) -> Result<(), Failure> {
        let table = create.table;
        if !self.captures(&table) {
            return Ok(());
        }
        let may_do_nothing = create.if_not_exists && !create.or_replace;
        if may_do_nothing && self.ctx.registry.has_met(&table) {
            return Ok(());
        }
        if self.ctx.registry.current(&table).is_some() {
            self.drop_table(&table, origin)?;
        }
        self.forget(&table);
        let columns = create.columns.or_else(|| self.ctx.registry.columns_of(create.like.as_ref()?));
        self.create_types(&table, columns.as_deref())?;
        let Some(found) = self.describe(&table).await? else { return Ok(()) };
        let Some(columns) = columns else {
            self.adopt(found, None, origin)?;
            return self.described_now(&table).await;
        };
        let names: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
        let fit = self.fit(&found, &ColumnSteps::default());
        if fit == Fit::Agrees && same_names(&names, &column_names(&found)) {
            return self.adopt(found, None, origin);
        }
        // Altered since: the schema of here comes with its first rows, or with the last ALTER. The types are those of the statement also
        // behind IF NOT EXISTS: in row format the binlog has such a statement only where it made the table.
        Ok(())
    }

    async fn alter_table(&mut self, table: TableName, ops: AlterOps, origin: &Origin) -> Result<(), Failure> {
        let ops_list = match &ops {
            AlterOps::Known(list) => list.clone(),
            AlterOps::Unreadable => Vec::new(),
        };
        for op in &ops_list {
            if let AlterOp::RowsChangedUnseen { other: Some(other), .. } = op
                && self.captures(other)
            {
                self.ctx.windows.invalidate(other);
                self.reread(other, true, "its rows were exchanged without row events");
            }
        }
        if self.captures(&table) {
            self.alter_captured(&table, &ops, &ops_list, origin).await?;
        }
        for op in &ops_list {
            if let AlterOp::RenameTo(to) = op {
                self.rename_table(&table, to, origin).await?;
            }
        }
        Ok(())
    }

    async fn alter_captured(
        &mut self,
        table: &TableName,
        ops: &AlterOps,
        list: &[AlterOp],
        origin: &Origin,
    ) -> Result<(), Failure> {
        self.ctx.windows.invalidate(table);
        self.forget(table);
        if list.iter().any(|op| matches!(op, AlterOp::RowsChangedUnseen { .. })) {
            self.reread(table, true, "its rows were changed without row events");
        }
        let steps = ColumnSteps::of(list);
        self.alter_types(table, ops, origin)?;
        // After RENAME TO in the same statement the server knows the table by its new name.
        let asked = list.iter().rev().find_map(|op| match op {
            AlterOp::RenameTo(to) => Some(to.clone()),
            _ => None,
        });
        let found = self
            .describe(asked.as_ref().unwrap_or(table))
            .await?
            .map(|found| TableSchema { name: table.clone(), ..found });
        let before = self.ctx.registry.current(table).map(|current| Arc::clone(&current.schema));
        let (Some(found), Some(before)) = (found, before) else {
            return self.ctx.registry.pend(table, [steps], *ops == AlterOps::Unreadable, &mut self.ctx.writer);
        };
        let (mut statements, unreadable) = self.ctx.registry.pending(table);
        let foretold = !unreadable && ops.column_names_after(&column_names(&before)).is_some();
        statements.push(steps.clone());
        let names = before.columns.iter().map(|column| column.name.as_str());
        let expected = Lineage::follow(names, &statements).names();
        let is_of_here = foretold && same_names(&expected, &column_names(&found));
        let fit = self.fit(&found, &steps);
        // What is told only now is asked for again behind a change of the table's name, which belongs to the same statement.
        if is_of_here && (fit == Fit::Agrees || (fit == Fit::Tells && asked.is_none())) {
            self.adopt(found, Some(steps), origin)?;
            return if fit == Fit::Tells { self.described_now(table).await } else { Ok(()) };
        }
        info!(%table, "the server already shows a later schema, or one that could not be foretold; it follows with the next rows");
        self.ctx.registry.pend(table, [steps], *ops == AlterOps::Unreadable, &mut self.ctx.writer)
    }

    async fn rename_table(&mut self, from: &TableName, to: &TableName, origin: &Origin) -> Result<(), Failure> {
        let (from_captured, to_captured) = (self.captures(from), self.captures(to));
        self.ctx.windows.invalidate(from);
        self.ctx.windows.invalidate(to);
        self.forget(from);
        self.forget(to);
        match (from_captured, to_captured) {
            (false, false) => Ok(()),
            (true, false) => self.drop_table(from, origin),
            (false, true) => {
                if let Some(found) = self.describe(to).await? {
                    self.adopt(found, None, origin)?;
                    self.described_now(to).await?;
                }
                self.reread(to, true, "it was renamed from a table that is not captured");
                Ok(())
            }
            (true, true) => {
                self.check_description(from, origin, |_| Touched::Moved)?;
                let typed = self.ctx.registry.typed(from).clone();
                let Some(schema) = self.ctx.registry.current(from).map(|current| Arc::clone(&current.schema)) else {
                    self.ctx.registry.forget(from, &mut self.ctx.writer);
                    self.ctx.registry.set_typed(to, typed, &mut self.ctx.writer)?;
                    self.reread(to, true, "it was renamed before its schema was known");
                    return Ok(());
                };
                let (steps, reread) = self.ctx.registry.pending(from);
                self.ctx.registry.forget(from, &mut self.ctx.writer);
                let schema = Arc::new(TableSchema { name: to.clone(), ..TableSchema::clone(&schema) });
                let (_, id) = self.ctx.registry.set_schema(schema, &mut self.ctx.writer)?;
                self.ctx.registry.pend(to, steps, reread, &mut self.ctx.writer)?;
                self.ctx.registry.set_typed(to, typed, &mut self.ctx.writer)?;
                if self.ctx.snapshot_unfinished(from)? || self.is_asked(from) {
                    self.reread(to, true, "it was renamed while its snapshot was being taken");
                }
                self.change(origin, TableChange::Rename { from: from.clone(), to: to.clone(), schema: id })?;
                self.describe_guesses(to, origin).await
            }
        }
    }

    /// Asks the server again, under the table's new name, for types that it did not show before.
    async fn describe_guesses(&mut self, table: &TableName, origin: &Origin) -> Result<(), Failure> {
        if !self.ctx.registry.typed(table).has_guesses() {
            return Ok(());
        }
        let Some(found) = self.describe(table).await? else { return Ok(()) };
        let Some(before) = self.ctx.registry.current(table).map(|current| Arc::clone(&current.schema)) else {
            return Ok(());
        };
        let (statements, unreadable) = self.ctx.registry.pending(table);
        let names = before.columns.iter().map(|column| column.name.as_str());
        let expected = Lineage::follow(names, &statements).names();
        let is_of_here = !unreadable && same_names(&expected, &column_names(&found));
        if !is_of_here || self.fit(&found, &ColumnSteps::default()) == Fit::Contradicts {
            return Ok(());
        }
        self.adopt(found, None, origin)?;
        self.described_now(table).await
    }

    fn drop_table(&mut self, table: &TableName, origin: &Origin) -> Result<(), Failure> {
        if !self.captures(table) {
            return Ok(());
        }
        self.ctx.windows.invalidate(table);
        self.forget(table);
        self.check_description(table, origin, |_| Touched::Moved)?;
        let known = self.ctx.registry.current(table).is_some();
        self.ctx.registry.forget(table, &mut self.ctx.writer);
        if known { self.change(origin, TableChange::Drop { table: table.clone() }) } else { Ok(()) }
    }

    /// Makes `found` the table's schema from here on. `steps` are those of the statement at hand.
    pub(super) fn adopt(
        &mut self,
        mut found: TableSchema,
        steps: Option<ColumnSteps>,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let table = found.name.clone();
        let (mut renamed, mut why) = (Vec::new(), None);
        if let Some(before) = self.ctx.registry.current(&table).map(|current| Arc::clone(&current.schema)) {
            let (mut pending, unreadable) = self.ctx.registry.pending(&table);
            pending.extend(steps);
            let names = before.columns.iter().map(|column| column.name.as_str());
            let lineage = Lineage::follow(names, &pending);
            set_defaults(&before, &mut found, &lineage);
            renamed = renames(&before, &found, &lineage);
            why = if unreadable {
                Some("a DDL statement of it could not be read")
            } else {
                reread_reason(&before, &found, &lineage)
            };
            let same = before.same_image(&found) && before.key == found.key && renamed.is_empty();
            if same && (why.is_none() || unreadable) {
                return self.ctx.registry.settle(&table, &mut self.ctx.writer);
            }
        } else {
            // No rows of before: no default is ever needed.
            for column in &mut found.columns {
                column.default = ColumnDefault::Unknown;
            }
        }
        if self.ctx.registry.current(&table).is_some() {
            self.ctx.windows.invalidate(&table);
        }
        let (from, to) = self.ctx.registry.set_schema(Arc::new(found), &mut self.ctx.writer)?;
        self.change(origin, TableChange::Schema { table: table.clone(), from, to, renamed })?;
        if let Some(why) = why {
            self.reread(&table, false, why);
        }
        Ok(())
    }

    fn change(&mut self, origin: &Origin, change: TableChange) -> Result<(), Failure> {
        info!(table = %change.table(), change = change.kind(), "table changed");
        self.single(FrameHeader::Change { origin: origin.clone(), audience: Audience::All, change })
    }

    pub(super) fn reread(&mut self, table: &TableName, replace: bool, why: &str) {
        self.ctx.rereads.push(Reread { table: table.clone(), replace, why: why.to_owned() });
    }
}

fn column_names(schema: &TableSchema) -> Vec<String> {
    schema.columns.iter().map(|column| column.name.clone()).collect()
}

fn same_names(a: &[String], b: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        names.sort();
        names
    };
    sorted(a) == sorted(b)
}

impl Registry {
    /// Steps and doubts of DDL whose schema has not been seen yet.
    fn pending(&mut self, table: &TableName) -> (Vec<ColumnSteps>, bool) {
        let table = self.entry(table);
        (table.steps.clone(), table.reread)
    }
}
