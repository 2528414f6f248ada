//! Rows that are written through a MERGE table.
//!
//! The binlog has them under the name of the MERGE table, so the copies of the tables that it consists of miss them: these tables are in
//! doubt. Both servers map every table that a statement locks for writing before its rows, and those of a MERGE table are among them
//! (seen on MySQL 9.7 and MariaDB 10.11). So the members are known from the statement itself, captured MERGE table or not. A table that is
//! mapped without rows may have another reason (a trigger that did not write, `LOCK TABLES`), so whether the written table is a MERGE table
//! is asked where it is not known. It was one at the rows if it is one at the answer's end of the binlog, and the stream meets no statement
//! about it up to there; if there is one, or no such table any more, the doubt stands.
//!
//! `TRUNCATE` of a MERGE table empties its members, and maps nothing: they come from the statements that made it, or from the server.

use super::natures::is_merge;
use super::{Action, Core};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::pending::{AskId, MergeAsked};
use crate::model::{FilePos, Origin, TableName};
use crate::source::mysql::ddl::{AlterOp, AlterOps, Statement};
use crate::source::mysql::schema::LeftOutBy;

/// Why the members of a MERGE table are read again.
const THROUGH: &str = "rows were written through a MERGE table, under whose name the binlog has them";

/// What becomes of the members of tables by a statement: what is known of each after it.
pub(super) type Members = Vec<(TableName, Option<Vec<TableName>>)>;

impl<L: Log> Core<L> {
    /// A statement has written rows to a table, and has mapped these captured tables after it, which have as many columns.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn written_beside(
        &mut self,
        written: &TableName,
        beside: &[TableName],
        origin: &Origin,
    ) -> Result<(), Failure> {
        let known = self.find(written).map(|(_, definition)| is_merge(definition) || definition.kin.members.is_some());
        let is_merge = known.unwrap_or(false);
        if !is_merge && self.waiting.plain.contains(written) {
            return Ok(());
        }
        for name in beside {
            let table = self.tables.index(name);
            self.group.written_beside(table);
            if is_merge {
                self.doubt_member(table, origin)?;
            } else if !self.definition(table).kin.through.contains(written) {
                self.keeping_early(table, |core| core.redefine(table).kin.through.push(written.clone()));
            }
        }
        if !is_merge {
            self.ask_merge(written);
        }
        Ok(())
    }

    /// A captured table that is a member of a MERGE table may have other rows than the log. Its doubt joins one that waits.
    fn doubt_member(&mut self, table: usize, origin: &Origin) -> Result<(), Failure> {
        if !self.life(table).is_captured() || self.life(table).waits_for_replacement() {
            return Ok(());
        }
        self.doubt(table, THROUGH, origin)
    }

    fn ask_merge(&mut self, table: &TableName) {
        if self.waiting.merges.contains_key(table) {
            return;
        }
        let id = self.waiting.new_ask();
        self.waiting.merges.insert(table.clone(), MergeAsked { id, since: self.now, answer: None });
        self.actions.push(Action::AskMerge { table: table.clone(), ask: id });
    }

    /// Asks again what was asked for before the stream was opened.
    pub(super) fn ask_merges_of(&mut self, table: usize) {
        for through in self.tables.at(table).definition.kin.through.clone() {
            self.ask_merge(&through);
        }
    }

    /// Takes an answer.
    pub(super) fn merge(&mut self, table: &TableName, ask: AskId, is_merge: Option<bool>, end: FilePos) {
        if let Some(asked) = self.waiting.merges.get_mut(table).filter(|asked| asked.id == ask) {
            asked.answer = Some((is_merge, end));
        }
    }

    /// Believes the answers whose place the stream has reached.
    pub(super) fn look_at_merges(&mut self) -> Result<(), Failure> {
        let mut over = Vec::new();
        for (table, asked) in &self.waiting.merges {
            if let Some((is_merge, end)) = &asked.answer
                && self.ledger.reaches(end)?
            {
                over.push((table.clone(), *is_merge));
            }
        }
        let origin = self.ledger.origin(self.wall);
        for (table, is_merge) in over {
            self.settle_merge(&table, is_merge != Some(false), &origin)?;
            if is_merge == Some(false) {
                self.waiting.plain.insert(table);
            }
        }
        Ok(())
    }

    /// It is known whether a table is, or was, a MERGE table, or nobody can say it any more.
    fn settle_merge(&mut self, written: &TableName, is_doubt: bool, origin: &Origin) -> Result<(), Failure> {
        self.waiting.merges.remove(written);
        let is_through = |index: &usize| self.definition(*index).kin.through.contains(written);
        let members: Vec<usize> = self.tables.iter().map(|(index, _)| index).filter(is_through).collect();
        for table in members {
            self.keeping_early(table, |core| core.redefine(table).kin.through.retain(|through| through != written));
            if is_doubt {
                self.doubt_member(table, origin)?;
            }
        }
        Ok(())
    }

    /// What a statement makes of the members of MERGE tables. Before the statement is followed.
    pub(super) fn members_after(&mut self, statement: &Statement, origin: &Origin) -> Result<Members, Failure> {
        let of = |core: &Self, table: &TableName| core.find(table).and_then(|(_, found)| found.kin.members.clone());
        let is_merge = |engine: &str| LeftOutBy::engine(engine) == Some(LeftOutBy::merge());
        let mut after = Members::new();
        match statement {
            Statement::CreateTable(create) if !create.temporary => {
                let like = create.like.as_ref().and_then(|like| of(self, like));
                let made = create.engine.as_deref().is_some_and(is_merge);
                after.push((create.table.clone(), like.or(made.then(|| create.union.clone().unwrap_or_default()))));
            }
            Statement::AlterTable { table, ops: AlterOps::Known(ops) } => {
                let mut members = of(self, table);
                let mut name = table;
                for op in ops {
                    match op {
                        AlterOp::Engine(engine) if !is_merge(engine) => members = None,
                        AlterOp::Engine(_) => members = Some(members.unwrap_or_default()),
                        AlterOp::RenameTo(to) => name = to,
                        _ => {}
                    }
                }
                for op in ops {
                    if let (AlterOp::Union(tables), Some(members)) = (op, &mut members) {
                        members.clone_from(tables);
                    }
                }
                after.extend((name != table).then(|| (table.clone(), None)));
                after.push((name.clone(), members));
            }
            Statement::RenameTable(pairs) => {
                for (from, to) in pairs {
                    let moved = after.iter().rposition(|(name, _)| name == from).map(|place| after.remove(place).1);
                    after.push((to.clone(), moved.unwrap_or_else(|| of(self, from))));
                    after.push((from.clone(), None));
                }
            }
            Statement::DropTable { tables, temporary: false } => {
                after.extend(tables.iter().map(|table| (table.clone(), None)));
            }
            Statement::CreateSequence { sequence, temporary: false, .. } => after.push((sequence.clone(), None)),
            Statement::DropDatabase(database) | Statement::CreateDatabase { name: database, or_replace: true } => {
                let known = self.tables.iter().map(|(_, table)| &table.name).chain(self.waiting.merges.keys());
                let gone = known.chain(&self.waiting.plain).filter(|table| table.database == *database);
                after.extend(gone.map(|table| (table.clone(), None)));
            }
            Statement::Truncate(table) => self.truncate_members(table, origin)?,
            _ => {}
        }
        for (table, _) in &after {
            self.waiting.plain.remove(table);
            if self.waiting.merges.contains_key(table) {
                self.settle_merge(table, true, origin)?;
            }
        }
        Ok(after)
    }

    /// Takes in what [`Core::members_after`] has found. After the statement is followed.
    pub(super) fn set_members(&mut self, after: Members) {
        for (table, members) in after {
            let known = self.find(&table).map(|(index, definition)| (index, definition.kin.members != members));
            match known {
                Some((index, true)) => self.keeping_early(index, |core| core.redefine(index).kin.members = members),
                None if members.is_some() => {
                    let index = self.tables.index(&table);
                    self.redefine(index).kin.members = members;
                }
                Some((_, false)) | None => {}
            }
        }
    }

    /// A MERGE table is truncated, and its members with it.
    pub(super) fn truncate_members(&mut self, name: &TableName, origin: &Origin) -> Result<(), Failure> {
        let Some((_, definition)) = self.find(name) else { return Ok(()) };
        let members = match &definition.kin.members {
            Some(members) => members.iter().filter_map(|member| self.tables.find(member)).collect(),
            // They are not known: any table of the database may be one.
            None if is_merge(definition) => self
                .tables
                .iter()
                .filter(|(_, table)| table.name.database == name.database)
                .map(|(index, _)| index)
                .collect(),
            None => Vec::new(),
        };
        for table in members {
            self.doubt_member(table, origin)?;
        }
        Ok(())
    }
}
