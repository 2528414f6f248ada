//! Statements that change rows or tables in a way that the binlog does not show: the captured tables that they are about are in doubt.

use super::Core;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::ingest::tables::Table;
use crate::model::{Origin, TableName};
use crate::source::mysql::ddl::AlterOps;
use crate::table::{Ask, Cause, Reach};

impl<L: Log> Core<L> {
    /// A statement has changed rows of tables, and stands in the binlog in place of the rows.
    pub(super) fn statement_format(
        &mut self,
        tables: &[TableName],
        opaque: bool,
        origin: &Origin,
    ) -> Result<(), Failure> {
        for table in tables.iter().filter(|table| self.captures(table)).cloned().collect::<Vec<_>>() {
            let why = "rows of it were changed in statement format, which the binlog holds no rows for \
                       (binlog_format=ROW in every session avoids that)";
            self.lose_sight(&table, why, origin)?;
        }
        if opaque {
            // What a routine writes to, its call does not say.
            let captured = |(index, table): (usize, &Table)| self.life(index).is_captured().then(|| table.name.clone());
            let why = "a routine was called in statement format, and may have changed rows of it, which the binlog does not \
                       hold (binlog_format=ROW in every session avoids that)";
            for table in self.tables.iter().filter_map(captured).collect::<Vec<_>>() {
                self.lose_sight(&table, why, origin)?;
            }
        }
        Ok(())
    }

    /// A statement that is not understood.
    pub(super) fn unknown_statement(
        &mut self,
        first_words: &str,
        mentioned: &[TableName],
        origin: &Origin,
    ) -> Result<(), Failure> {
        for table in mentioned.iter().filter(|table| self.captures(table)).cloned().collect::<Vec<_>>() {
            let why = format!("a statement that begins with '{first_words}' mentions it and is not understood");
            self.lose_sight(&table, &why, origin)?;
            let index = self.tables.index(&table);
            if self.life(index).left_out.is_none() {
                // Its definition may be another one.
                self.alter_table(&table, &AlterOps::Unreadable, origin)?;
            }
        }
        Ok(())
    }

    /// What the rows of a table are is not known from here on: they are read again, and chunks that were placed before do not count.
    fn lose_sight(&mut self, name: &TableName, why: &str, origin: &Origin) -> Result<(), Failure> {
        let table = self.tables.index(name);
        // Of a table that cannot be copied the binlog may have statements for its rows, whatever is set.
        if self.life(table).left_out.is_some() {
            return Ok(());
        }
        if self.is_in_xa() {
            self.meet(table, origin)?;
            self.xa_lose(table, 0, why);
            return Ok(());
        }
        // How many rows they are nobody knows; that there are some, a group that is dropped or rolled back has to know.
        self.group.count(table, Counts::default());
        if self.group.is_dropped() {
            return Ok(());
        }
        self.meet(table, origin)?;
        self.want(name, Ask::doubt(Reach::Replace, Cause::Rows, why), origin)
    }
}
