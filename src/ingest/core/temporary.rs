//! Statements about temporary tables.
//!
//! In row format the servers log none, but MariaDB's `RENAME TABLE` of one, which is not flagged ([`super::natures`]). In the other formats the statements that
//! make, change and fill a temporary table are in the binlog like those about tables, and a temporary table may have the name of a
//! captured one. Every statement that opens one is flagged, and so is every later one of the same stored procedure, which may be about
//! a table.
//!
//! So the temporary tables of each session are followed. A flagged statement about one of them changes nothing. A flagged statement about
//! a captured table that is known may be about a temporary table from before the stream was opened: the table is read again. One about a
//! name that is not known is about a temporary table.

use std::collections::{BTreeMap, BTreeSet};

use super::Core;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::model::{Origin, TableName};
use crate::source::mysql::ddl::{self, AlterOp, AlterOps, SqlMode, Statement};

/// Temporary tables that are followed at most, of all sessions. Beyond, all are forgotten.
const MOST: usize = 10_000;

/// Why a table is read again after a statement that may have been about a temporary one.
const MAYBE: &str = "a statement of its name may have been about a temporary table";

/// A session of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    /// The server that wrote the statement first.
    pub server: u32,
    /// The connection there.
    pub connection: u32,
}

/// The temporary tables that statements have made.
#[derive(Debug, Default)]
pub(super) struct Temporary {
    tables: BTreeMap<SessionId, BTreeSet<TableName>>,
    /// The file of the binlog that they were made in: a server that starts has none, and another file.
    file: u64,
}

impl Temporary {
    fn sets(&mut self, session: SessionId) -> &mut BTreeSet<TableName> {
        if self.tables.values().map(BTreeSet::len).sum::<usize>() >= MOST {
            self.tables.clear();
        }
        self.tables.entry(session).or_default()
    }

    fn has(&self, session: SessionId, table: &TableName) -> bool {
        self.tables.get(&session).is_some_and(|tables| tables.contains(table))
    }

    fn made(&mut self, session: SessionId, table: TableName) {
        self.sets(session).insert(table);
    }

    fn dropped(&mut self, session: SessionId, table: &TableName) {
        // One that is not known has had another name, by a statement that was not logged: none of the session's is certain.
        if !self.sets(session).remove(table) || self.tables.get(&session).is_some_and(BTreeSet::is_empty) {
            self.tables.remove(&session);
        }
    }

    /// Forgets all of them.
    pub(super) fn forget(&mut self) {
        self.tables.clear();
    }
}

impl<L: Log> Core<L> {
    /// Follows a statement of a session. `is_flagged`: it may be about temporary tables.
    ///
    /// # Errors
    /// As [`Core::statement`].
    pub fn statement_of(
        &mut self,
        (sql, database, mode): (&str, &str, SqlMode),
        (session, is_flagged): (SessionId, bool),
        origin: &Origin,
    ) -> Result<(), Failure> {
        if !is_flagged && !self.temporary.tables.contains_key(&session) {
            return self.statement(sql, database, mode, origin);
        }
        let file = origin.binlog().file_number;
        if self.temporary.file != file {
            self.temporary.forget();
            self.temporary.file = file;
        }
        if self.group.is_empty() {
            self.decide_overdue()?;
        }
        match ddl::parse_under(self.settings.filter.names(), sql, database, mode) {
            Statement::CreateTable(create) if create.temporary => {
                self.temporary.made(session, create.table);
                Ok(())
            }
            Statement::CreateSequence { sequence, temporary: true, .. } => {
                self.temporary.made(session, sequence);
                Ok(())
            }
            Statement::DropTable { tables, temporary: true }
            | Statement::AboutSequences { sequences: tables, temporary: true } => {
                for table in &tables {
                    self.temporary.dropped(session, table);
                }
                Ok(())
            }
            Statement::RenameTable(pairs) => {
                let mut kept = Vec::with_capacity(pairs.len());
                for (from, to) in pairs {
                    if self.temporary.has(session, &from) {
                        self.temporary.dropped(session, &from);
                        self.temporary.made(session, to);
                    } else {
                        kept.push((from, to));
                    }
                }
                self.follow_all(Statement::RenameTable(kept), origin)
            }
            statement if !is_flagged => self.follow_all(statement, origin),
            Statement::AlterTable { table, ops } => self.altered_temporary(session, &table, &ops, origin),
            Statement::Truncate(table) => {
                if !self.temporary.has(session, &table) {
                    self.truncate_members(&table, origin)?;
                }
                self.altered_temporary(session, &table, &AlterOps::Known(Vec::new()), origin)
            }
            Statement::IndexChange { table } => {
                self.altered_temporary(session, &table, &AlterOps::Known(Vec::new()), origin)
            }
            Statement::Dml { tables, opaque } => {
                let is_table = |table: &TableName| {
                    !self.temporary.has(session, table) && self.find(table).is_some_and(|(_, known)| known.is_known())
                };
                let tables: Vec<TableName> = tables.into_iter().filter(is_table).collect();
                self.statement_format(&tables, opaque, origin)
            }
            Statement::CreateTable(mut create) => {
                if create.like.as_ref().is_some_and(|like| self.temporary.has(session, like)) {
                    // Not like the table of that name.
                    create.like = None;
                }
                self.follow_all(Statement::CreateTable(create), origin)
            }
            statement => self.follow_all(statement, origin),
        }
    }

    /// `ALTER TABLE` and its kin, of a temporary table or not.
    fn altered_temporary(
        &mut self,
        session: SessionId,
        name: &TableName,
        ops: &AlterOps,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let list: &[AlterOp] = match ops {
            AlterOps::Known(list) => list,
            AlterOps::Unreadable => &[],
        };
        let to = list.iter().find_map(|op| if let AlterOp::RenameTo(to) = op { Some(to) } else { None });
        if self.temporary.has(session, name) {
            if let Some(to) = to.filter(|to| *to != name) {
                self.temporary.dropped(session, name);
                self.temporary.made(session, to.clone());
            }
            return Ok(());
        }
        let known = self.find(name).filter(|(_, known)| known.is_known() && self.captures(name));
        if let Some((table, _)) = known {
            self.doubt(table, MAYBE, origin)?;
            self.meet_pending(table, |pending| pending.altered(ops));
            let definition = self.redefine(table);
            definition.followed.unsettle();
            definition.kin.members = None;
            self.ask(table);
        }
        let others = list.iter().filter_map(|op| match op {
            AlterOp::RenameTo(other) | AlterOp::RowsChangedUnseen { other: Some(other), .. } => Some(other),
            _ => None,
        });
        for other in others.filter(|other| *other != name) {
            if self.captures(other) {
                self.reread(other, true, MAYBE, origin)?;
            }
        }
        Ok(())
    }
}
