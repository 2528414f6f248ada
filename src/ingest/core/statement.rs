//! What a statement of the binlog changes.
//!
//! The text says which table, and which columns came (with which default), went or changed their names. What the table is after
//! it comes with its next rows, whose `TABLE_MAP` is exact, or with the server's answer, whichever is first. An answer holds at
//! the end of the binlog at which it was given, and is adopted when the stream has come there ([`super::answers`]).
//!
//! Whenever existing rows may not be derivable from what the sinks hold (a default that is no constant, a change of type, partitions
//! exchanged), the table is read again in chunks, beside the stream.

use super::Core;
use super::renames::without_returns;
use super::schema::{Asks, Defining};
use crate::codec::frame::{Audience, FrameHeader, Mark, TableChange};
use crate::error::{Failure, Unusable};
use crate::ingest::ledger::Log;
use crate::model::{Origin, TableName, TableSchema};
use crate::source::mysql::ddl::{self, AlterOp, AlterOps, CreateTable, SqlMode, Statement};
use crate::source::mysql::follow::{Altered, Fate, FateChange, Pending, Provenance};
use crate::source::mysql::schema::Flavour;
use crate::source::mysql::start::RESYNC;
use crate::table::Event;

/// Why rows of a prepared transaction are of no use.
const ALTERED: &str = "it was altered while a transaction was prepared that had changed it";

impl<L: Log> Core<L> {
    /// Follows a statement that is in the binlog as a text. What it does is part of the open group.
    ///
    /// # Errors
    /// Fatal, for a statement that changes captured rows in a way that cannot be followed.
    pub fn statement(&mut self, sql: &str, database: &str, mode: SqlMode, origin: &Origin) -> Result<(), Failure> {
        self.follow_all(ddl::parse_under(self.settings.filter.names(), sql, database, mode), origin)
    }

    /// Follows a statement that is read, with what it makes of other tables.
    pub(super) fn follow_all(&mut self, statement: Statement, origin: &Origin) -> Result<(), Failure> {
        if self.group.is_empty() {
            // What the statement does to a table goes by what its schema is.
            self.decide_overdue()?;
        }
        let members = self.members_after(&statement, origin)?;
        self.follow(statement, origin)?;
        self.set_members(members);
        Ok(())
    }

    fn follow(&mut self, statement: Statement, origin: &Origin) -> Result<(), Failure> {
        match statement {
            Statement::CreateTable(create) if create.is_sequence && !create.temporary => {
                self.create_sequence(&create.table, origin)
            }
            Statement::CreateTable(create) if !create.temporary => self.create_table(create, origin),
            Statement::AlterTable { table, ops } => self.alter_table(&table, &ops, origin),
            Statement::CreateSequence { sequence, temporary: false, .. } => self.create_sequence(&sequence, origin),
            Statement::AboutSequences { sequences, temporary: false } => {
                self.about_sequences(&sequences);
                Ok(())
            }
            Statement::RenameTable(pairs) => {
                for (from, to) in without_returns(&pairs) {
                    self.rename_table(&from, &to, origin)?;
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
                for table in self.in_database(&name) {
                    self.drop_table(&table, origin)?;
                }
                Ok(())
            }
            Statement::Truncate(table) if self.captures(&table) => {
                let index = self.tables.index(&table);
                self.group.discard_windows(index);
                self.xa_touch(&table, "it was truncated while a transaction was prepared that had changed it");
                self.change(origin, TableChange::Truncate { table })
            }
            Statement::IndexChange { table } if self.captures(&table) => {
                self.alter_table(&table, &AlterOps::Known(vec![AlterOp::IndexChanged]), origin)
            }
            Statement::Dml { tables, opaque } => self.statement_format(&tables, opaque, origin),
            Statement::Unknown { first_words, mentioned } => self.unknown_statement(&first_words, &mentioned, origin),
            Statement::Xa { xid, .. } => Err(Failure::fatal(format!(
                "the binlog holds a step of the two-phase transaction {xid} where none can be"
            ))
            .unusable(Unusable::Otherwise)
            .hint(RESYNC)),
            Statement::Savepoint(name) => {
                self.set_savepoint(&name);
                Ok(())
            }
            Statement::RollbackToSavepoint(name) => self.roll_back_to(&name),
            Statement::Begin
            | Statement::Commit
            | Statement::Rollback
            // What was done since stays, and so does its name: it may be that of another savepoint.
            | Statement::ReleaseSavepoint(_)
            | Statement::CreateTable(_)
            | Statement::CreateSequence { .. }
            | Statement::AboutSequences { .. }
            | Statement::DropTable { .. }
            | Statement::CreateDatabase { .. }
            | Statement::Truncate(_)
            | Statement::IndexChange { .. }
            | Statement::Irrelevant => Ok(()),
        }
    }

    /// Tables of a database of which something is known.
    fn in_database(&self, database: &str) -> Vec<TableName> {
        self.tables
            .iter()
            .filter(|(index, table)| table.name.database == database && self.definition(*index).is_known())
            .map(|(_, table)| table.name.clone())
            .collect()
    }

    fn create_table(&mut self, create: CreateTable, origin: &Origin) -> Result<(), Failure> {
        let name = create.table.clone();
        if !self.captures(&name) {
            return Ok(());
        }
        let table = self.tables.index(&name);
        let may_do_nothing = create.if_not_exists && !create.or_replace;
        if may_do_nothing && (self.followed(table).is_met() || self.life(table).is_captured()) {
            return Ok(());
        }
        if self.followed(table).is_met() {
            self.drop_table(&name, origin)?;
        }
        if !may_do_nothing || self.facts.flavour == Flavour::MariaDb {
            // MySQL's binlog has IF NOT EXISTS also where it did nothing.
            let mark = Mark::Created { table: name.clone() };
            self.single(FrameHeader::Mark { origin: origin.clone(), audience: Audience::All, mark })?;
            self.happens(table, Event::Created, origin)?;
        } else {
            self.meet(table, origin)?;
        }
        let nature = self.nature_of_created(&create);
        if nature.is_some() {
            // No copy is made of it, so its definition does not matter.
            return self.happens(table, Event::Nature { left_out: nature }, origin);
        }
        let definitions = match create.like.as_ref().and_then(|like| self.find(like)) {
            Some((_, other)) => other.followed.definitions(),
            // MySQL's may have made no table.
            None if may_do_nothing && self.facts.flavour == Flavour::MySql => Vec::new(),
            None => create.definitions,
        };
        let columns = create.columns.or_else(|| self.find(create.like.as_ref()?)?.1.followed.columns());
        // Types matter on MariaDB alone, whose binlog in row format has IF NOT EXISTS only where it made the table.
        let dialect = self.facts.dialect();
        let followed = &mut self.redefine(table).followed;
        followed.created(columns.as_deref(), &definitions, dialect);
        followed.predict_created(&name, create.stated.as_ref(), &definitions, dialect);
        self.ask(table);
        Ok(())
    }

    pub(super) fn alter_table(&mut self, name: &TableName, ops: &AlterOps, origin: &Origin) -> Result<(), Failure> {
        let list: &[AlterOp] = match ops {
            AlterOps::Known(list) => list,
            AlterOps::Unreadable => &[],
        };
        for op in list {
            if let AlterOp::RowsChangedUnseen { other: Some(other), .. } = op
                && self.captures(other)
            {
                let index = self.tables.index(other);
                self.group.discard_windows(index);
                self.xa_touch(other, ALTERED);
                self.reread(other, true, "its rows were exchanged without row events", origin)?;
            }
        }
        if self.captures(name) {
            self.alter_captured(name, ops, list, origin)?;
        }
        for op in list {
            match op {
                AlterOp::RenameTo(to) if to != name => self.rename_table(name, to, origin)?,
                // What was a sequence is a table, or the other way round.
                AlterOp::Sequence(true) => self.create_sequence(name, origin)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn alter_captured(
        &mut self,
        name: &TableName,
        ops: &AlterOps,
        list: &[AlterOp],
        origin: &Origin,
    ) -> Result<(), Failure> {
        let table = self.tables.index(name);
        let was_sequence = list.contains(&AlterOp::Sequence(false));
        if self.is_stranger(table) && !was_sequence {
            self.ask(table);
            return Ok(());
        }
        self.meet(table, origin)?;
        self.group.discard_windows(table);
        self.xa_touch(name, ALTERED);
        if was_sequence {
            self.reread(name, true, "it was a sequence, whose rows are not in the binlog", origin)?;
        }
        if list.iter().any(|op| matches!(op, AlterOp::RowsChangedUnseen { .. })) {
            self.reread(name, true, "its rows were changed without row events", origin)?;
        }
        if *ops == AlterOps::Unreadable {
            // Also if the table looks the same after it.
            self.reread(name, true, "a DDL statement of it could not be read", origin)?;
        }
        for op in list {
            self.alter_nature(table, op, origin)?;
        }
        let Altered { followed, doubt } = self.followed(table).altered(ops, origin.binlog(), self.facts.dialect());
        self.redefine(table).followed = followed;
        if let Some(why) = doubt {
            self.reread(name, true, why, origin)?;
        }
        self.meet_pending(table, |pending| pending.altered(ops));
        if self.definition(table).cut_back {
            // The statement may have changed the engine: which one it was at the rollback nobody can say after it.
            self.redefine(table).cut_back = false;
            self.doubt(
                table,
                "a statement changed it after a rollback that its engine may not have taken back",
                origin,
            )?;
        }
        self.ask(table);
        Ok(())
    }

    pub(super) fn rename_table(&mut self, from: &TableName, to: &TableName, origin: &Origin) -> Result<(), Failure> {
        let (from_captured, to_captured) = (self.captures(from), self.captures(to));
        for name in [from, to] {
            if self.captures(name) {
                let index = self.tables.index(name);
                self.group.discard_windows(index);
            }
        }
        if to_captured {
            self.xa_rename(from, to);
        }
        match (from_captured, to_captured) {
            (false, false) => Ok(()),
            (true, false) => self.drop_table(from, origin),
            (false, true) => {
                let index = self.tables.index(to);
                self.happens(index, Event::Dropped, origin)?;
                self.reread(to, true, "it was renamed from a table that is not captured", origin)
            }
            (true, true) => self.rename_captured(from, to, origin),
        }
    }

    fn rename_captured(&mut self, from: &TableName, to: &TableName, origin: &Origin) -> Result<(), Failure> {
        let (old, new) = (self.tables.index(from), self.tables.index(to));
        if self.followed(new).is_met() {
            // No table takes the name of another: one of the two is not what it is taken for.
            let why = "a statement gave the name of a table that was known to another one";
            for table in [old, new] {
                self.meet_pending(table, |_| (Fate::Gone, Vec::new()));
                self.redefine(table).followed.unsettle();
                self.ask(table);
            }
            self.reread(from, true, why, origin)?;
            return self.reread(to, true, why, origin);
        }
        if self.is_stranger(old) {
            self.ask(new);
            return Ok(());
        }
        // MariaDB logs RENAME TABLE of a temporary table as that of a table, in every format.
        let is_ambiguous = self.facts.flavour == Flavour::MariaDb && self.definition(old).is_known();
        self.meet(old, origin)?;
        self.leave(old, origin)?;
        let mut moved = self.definition(old).clone();
        if is_ambiguous && !moved.kin.renamed_from.contains(from) {
            moved.kin.renamed_from.push(from.clone());
        }
        self.outdate_question(old);
        self.redefine(old).forget();
        self.happens(old, Event::Dropped, origin)?;
        self.happens(new, Event::Renamed(Box::new(moved.life)), origin)?;
        self.meet_pending(old, |_| (Fate::Gone, Vec::new()));
        let Some(current) = moved.followed.current().filter(|current| !current.lacks.names).cloned() else {
            // What the sinks may have of it is of no use to a read under the new name, and what they have noted ends with the old one.
            self.change(origin, TableChange::Drop { table: from.clone() })?;
            let definition = self.redefine(new);
            definition.followed.set_typed(moved.followed.typed().clone());
            definition.kin = moved.kin;
            if is_ambiguous {
                self.ask(new);
            }
            return self.reread(to, true, "it was renamed before its schema was known", origin);
        };
        let schema = TableSchema { name: to.clone(), ..TableSchema::clone(&current.schema) };
        // What is asked for under the old name is asked for under the new one.
        let asked_for = self.waiting.pending.iter().chain(&self.group.pending);
        let unknown = asked_for
            .filter(|waiter| waiter.pending.id == current.id)
            .map(|waiter| waiter.pending.unknown.clone())
            .next();
        if unknown.as_ref().is_some_and(|unknown| !unknown.is_empty()) {
            self.reread(to, true, "it was renamed before the types of its columns were known", origin)?;
        }
        self.outdate_question(new);
        let defining = Defining { asks: unknown.map(Asks::Types), provenance: Provenance::Statement, before: None };
        let id = self.define(new, schema, defining)?;
        let definition = self.redefine(new);
        let renamed = definition.followed.current().cloned();
        definition.followed = moved.followed;
        definition.followed.is_now(renamed);
        definition.cut_back = moved.cut_back;
        definition.kin = moved.kin;
        if moved.cut_back {
            // Under the old name there is no such table any more.
            self.ask_engine(new);
        }
        self.change(origin, TableChange::Rename { from: from.clone(), to: to.clone(), schema: id })?;
        // Whoever was silent about the old name may answer about the new one.
        let was_silent = self.life(new).unreadable.is_some();
        if self.is_pending(new, id) || self.followed(new).is_unsettled() || is_ambiguous || was_silent {
            self.ask(new);
        }
        Ok(())
    }

    /// A table goes, or goes on under another name.
    fn leave(&mut self, table: usize, origin: &Origin) -> Result<(), Failure> {
        let mut followed = self.followed(table).clone();
        let doubt = followed.moved(origin.binlog(), self.facts.dialect());
        if followed.typed() != self.followed(table).typed() {
            self.redefine(table).followed = followed;
        }
        let Some(why) = doubt else { return Ok(()) };
        let name = self.tables.at(table).name.clone();
        self.reread(&name, true, why, origin)
    }

    /// What a statement does to the pending ids of a table. To those of earlier groups it does so once its own group commits.
    pub(super) fn meet_pending(&mut self, table: usize, met: impl Fn(&Pending) -> (Fate, Vec<u16>)) {
        for waiter in self.group.pending.iter_mut().filter(|waiter| waiter.table == table) {
            let (fate, lost) = met(&waiter.pending);
            waiter.pending.meet(fate, &lost);
        }
        let earlier = self.waiting.pending.iter().filter(|waiter| waiter.table == table);
        self.group.fates.extend(earlier.map(|waiter| {
            let (fate, lost) = met(&waiter.pending);
            FateChange { id: waiter.pending.id, fate, lost }
        }));
    }

    pub(super) fn drop_table(&mut self, name: &TableName, origin: &Origin) -> Result<(), Failure> {
        if !self.captures(name) {
            return Ok(());
        }
        let table = self.tables.index(name);
        self.group.discard_windows(table);
        self.xa_touch(name, "it was dropped while a transaction was prepared that had changed it");
        self.leave(table, origin)?;
        self.meet_pending(table, |_| (Fate::Gone, Vec::new()));
        // A table whose first schema was left out may have come to the sinks by a rename.
        let known = self.followed(table).may_be_copied() || self.life(table).may_be_noted();
        self.outdate_question(table);
        self.redefine(table).forget();
        self.happens(table, Event::Dropped, origin)?;
        if known { self.change(origin, TableChange::Drop { table: name.clone() }) } else { Ok(()) }
    }
}
