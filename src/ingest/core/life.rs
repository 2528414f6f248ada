//! The lives of tables: events in, records and frames out. What an event makes of a table is [`crate::table::step`]'s; here it becomes
//! a part of the open group.

use tracing::{debug, info, warn};

use super::Core;
use crate::codec::frame::{Audience, FrameHeader, Mark, TableChange};
use crate::codec::stored::{ASKED, encode};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::AskedBeside;
use crate::ingest::tables::{ChangedLife, Table};
use crate::model::{FilePos, Origin, TableName};
use crate::table::{self, Action as TableAction, Ask, At, Cause, Event, Reach, Read, TableRecord};

/// A read that begins later than this from now is not waited for by a run that has to end, in microseconds.
const LONG: i64 = 10_000_000;

impl<L: Log> Core<L> {
    /// The life of a table in the open group.
    pub(super) fn life(&self, table: usize) -> &TableRecord {
        &self.definition(table).life
    }

    /// Something happens to a table, in the open group.
    pub(super) fn happens(&mut self, table: usize, event: Event, origin: &Origin) -> Result<(), Failure> {
        let rules = self.settings.doubts.rules_for(&self.tables.at(table).name, self.settings.filter.names());
        let at = At { lsn: self.ledger.log().next_lsn(), micros: self.wall, rules };
        let before = self.life(table);
        // A reader says so, or the stream of what a reader did not find.
        let is_of_reader = matches!(event, Event::Failed { .. } | Event::Passed);
        let (after, actions) = table::step(before, event, at);
        let tried = after.read.as_ref().filter(|_| is_of_reader && after.unreadable.is_some()).map(|read| read.number);
        if after != *before {
            let committed = &self.tables.at(table).definition;
            let definition = self.group.definitions.entry(table).or_insert_with(|| committed.clone());
            let leaves_out =
                |life: &TableRecord| (life.left_out.is_some(), life.leaves_out_unknown(), life.is_captured());
            let is_same = leaves_out(&definition.life) == leaves_out(&after);
            definition.life = after;
            if !is_same {
                // What happens to its rows is derived again.
                self.keeping_early(table, |core| {
                    core.redefine(table);
                });
            }
        }
        if tried.is_some() {
            self.tables.tried(table, tried);
        }
        actions.into_iter().try_for_each(|action| self.act(table, action, origin))
    }

    fn act(&mut self, index: usize, action: TableAction, origin: &Origin) -> Result<(), Failure> {
        let table = self.tables.at(index).name.clone();
        match action {
            TableAction::MarkBegun { whole, audience } => {
                self.mark_frame(origin, audience, Mark::SnapshotBegun { table, whole })
            }
            TableAction::MarkFinished { rows, audience } => {
                self.mark_frame(origin, audience, Mark::SnapshotFinished { table, rows })
            }
            TableAction::ReplaceBegin { audience } => {
                self.xa.recent.begin_read(index);
                let schema = self.current(index)?.id;
                self.change_for(origin, audience, TableChange::ReplaceBegin { table, schema })
            }
            TableAction::ReplaceEnd { audience } => {
                self.change_for(origin, audience, TableChange::ReplaceEnd { table })
            }
            TableAction::Gap { why } => self.change(origin, TableChange::Gap { table, reason: why }),
            TableAction::LeaveOut { why } => self.change(origin, TableChange::LeftOut { table, reason: why }),
            TableAction::Drop => {
                let renamed_from = self.definition(index).kin.renamed_from.clone();
                self.redefine(index).forget();
                // Also where no schema of it was known: a sink may doubt a copy of it, and a doubt ends with its table.
                self.change(origin, TableChange::Drop { table })?;
                self.read_again_as(renamed_from, origin)
            }
            TableAction::DiscardWindows => {
                self.group.discard_windows(index);
                Ok(())
            }
            TableAction::Tell(what) => {
                warn!(%table, "{what}");
                Ok(())
            }
        }
    }

    fn mark_frame(&mut self, origin: &Origin, audience: Audience, mark: Mark) -> Result<(), Failure> {
        self.single(FrameHeader::Mark { origin: origin.clone(), audience, mark })
    }

    /// Appends a change of a table that is for some sinks.
    pub(super) fn change_for(
        &mut self,
        origin: &Origin,
        audience: Audience,
        change: TableChange,
    ) -> Result<(), Failure> {
        let (table, kind) = (change.table(), change.kind());
        if self.is_announced(&change) {
            debug!(%table, "the definition of a table that is read is in the log");
        } else {
            info!(%table, change = kind, "table changed");
        }
        self.single(FrameHeader::Change { origin: origin.clone(), audience, change })
    }

    /// Whether a change only says how a table is defined that is being read: nothing has changed at the source.
    fn is_announced(&self, change: &TableChange) -> bool {
        let TableChange::Schema { table, from, to, .. } = change else { return false };
        let is_read = || {
            let read = self.find(table).and_then(|(_, definition)| definition.life.read.as_ref());
            read.is_some_and(Read::has_begun)
        };
        from.is_none_or(|from| from == *to) && is_read()
    }

    /// Takes what an operator, a sink or a reader says of a table. Between groups only.
    ///
    /// # Errors
    /// When a record cannot be stored or the log is out of service.
    pub fn happened(&mut self, name: &TableName, event: Event) -> Result<(), Failure> {
        self.decide_overdue()?;
        if matches!(event, Event::Asked(_)) && !self.captures(name) {
            // A doubt about a table that is no longer captured.
            return Ok(());
        }
        let event = match event {
            // The place of another server's binlog is none of this one's.
            Event::Missing { number, server, .. } if server != self.facts.identity => Event::Again { number },
            event => event,
        };
        let origin = self.ledger.origin(self.wall);
        let table = self.tables.index(name);
        self.happens(table, event, &origin)?;
        self.commit_here()?;
        self.pass_lives()
    }

    /// A sink is new to a log that no longer begins at its start, or was reset: each table is read for it, in place of what it has where it
    /// `replaces`, but for the tables that it does not get.
    ///
    /// # Errors
    /// As [`Core::happened`].
    pub fn sink_added(&mut self, sink: &str, replaces: bool, except: &[TableName]) -> Result<(), Failure> {
        self.decide_overdue()?;
        let origin = self.ledger.origin(self.wall);
        let is_wanted = |life: &TableRecord| life.is_captured() || (replaces && life.awaits.is_some());
        let wanted = |(index, table): (usize, &Table)| {
            (is_wanted(&table.definition.life) && !except.contains(&table.name)).then_some(index)
        };
        let tables: Vec<usize> = self.tables.iter().filter_map(wanted).collect();
        for table in tables {
            self.happens(table, Event::SinkAdded { sink: sink.to_owned(), replaces }, &origin)?;
        }
        self.commit_here()
    }

    /// A row or a statement of a table that is not known to be captured.
    pub(super) fn meet(&mut self, table: usize, origin: &Origin) -> Result<(), Failure> {
        if self.life(table).is_captured() {
            return Ok(());
        }
        let initial = self.settings.initial;
        self.happens(table, Event::Met { initial }, origin)?;
        // What was derived from the table without its life is derived again if the group is dropped.
        self.redefine(table);
        Ok(())
    }

    /// Wants a read of a table whose rows are not known any more, with the open group.
    pub(super) fn reread(
        &mut self,
        table: &TableName,
        replace: bool,
        why: &str,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let reach = if replace { Reach::Replace } else { Reach::Whole };
        self.want(table, Ask::doubt(reach, Cause::Definition, why), origin)
    }

    /// Wants a read, with the open group. Where records of the group are stored beside it, so is the wish.
    pub(super) fn want(&mut self, table: &TableName, ask: Ask, origin: &Origin) -> Result<(), Failure> {
        let index = self.tables.index(table);
        if !self.group.decided.is_empty() {
            let asked = AskedBeside { why: ask.why.clone() };
            self.group.asked_beside.push((ASKED.of_table(table), encode(&asked)?));
            self.group.put(ASKED.of_table(table), None);
        }
        self.happens(index, Event::Asked(ask), origin)
    }

    /// The stream has come to another place: what waits for it.
    pub(super) fn pass_lives(&mut self) -> Result<(), Failure> {
        let mut passed = Vec::new();
        for table in self.tables.awaiting() {
            let Some(awaited) = &self.tables.at(table).definition.life.awaits else { break };
            if !self.ledger.reaches(&awaited.until)? {
                break;
            }
            passed.push(table);
        }
        if passed.is_empty() {
            return Ok(());
        }
        let origin = self.ledger.origin(self.wall);
        for table in passed {
            self.happens(table, Event::Passed, &origin)?;
        }
        self.commit_here()
    }

    /// What is awaited is awaited until the end of the binlog of the server that is read now.
    pub(super) fn move_awaited(&mut self, end: &FilePos) -> Result<(), Failure> {
        let origin = self.ledger.origin(self.wall);
        for table in self.tables.awaiting().collect::<Vec<_>>() {
            self.happens(table, Event::Moved(end.clone()), &origin)?;
        }
        self.commit_here()
    }

    /// The read of a table that a reader does, if it is still the one that is wanted.
    pub(super) fn wanted(&self, table: usize, number: u32) -> Option<&Read> {
        self.life(table).current(number)
    }

    /// Tables whose life has changed since this was last called, with what readers have to do of each.
    pub fn changed_lives(&mut self) -> Vec<ChangedLife> {
        self.tables.changed_lives()
    }

    /// Whether [`Core::changed_lives`] has anything to say.
    pub fn has_changed_lives(&self) -> bool {
        self.tables.has_changed_lives()
    }

    /// Tables of which a read is due or under way, with their records.
    pub fn reading(&self) -> impl Iterator<Item = (&TableName, &TableRecord)> {
        self.tables.reading().map(|table| (&table.name, &table.definition.life))
    }

    /// Whether each read that is due was tried in vain, by this process, or has to wait for longer than a run that has to end would.
    pub fn reads_were_tried(&self) -> bool {
        let waits_long = |table: &Table| {
            let until =
                table.definition.life.read.as_ref().filter(|read| !read.has_begun()).and_then(|read| read.until);
            until.is_some_and(|until| until > self.wall.saturating_add(LONG))
        };
        self.tables.reading().all(|table| table.was_tried() || waits_long(table))
    }

    /// Whether any table waits for the stream to come to a place.
    pub fn awaits(&self) -> bool {
        self.tables.awaiting().next().is_some()
    }
}
