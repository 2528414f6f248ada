//! What the driver does of tables that are read whole beside the stream: rows that wait, and copies that are placed. The real one is
//! `ingest/diverting.rs`, with files in the place of memory.

use std::collections::VecDeque;

use replicator::ingest::core::{DivertedRows, Diverting, Spooling};
use replicator::ingest::ledger::Log as _;
use replicator::model::{FilePos, TableName};
use replicator::source::mysql::snapshot::handoff::Placed;

use super::daemon::{Daemon, Finding, failed};
use super::requests::{Actor, ExactRead, Reply, images};
use super::rng::Rng;
use super::tables::Name;
use super::trace;
use super::truth::SnapshotRows;

/// A group that waits.
#[derive(Debug)]
struct Group {
    from: FilePos,
    end: FilePos,
    rows: Vec<DivertedRows>,
}

/// A table whose rows wait.
#[derive(Debug)]
pub struct Waiting {
    number: u32,
    by: Actor,
    groups: VecDeque<Group>,
    open: Vec<DivertedRows>,
    stage: Stage,
    /// The reader has heard what became of its copy.
    is_answered: bool,
}

#[derive(Debug)]
enum Stage {
    Reading,
    Before(ExactRead),
    Copy(ExactRead, usize),
    After,
    GivenBack,
}

impl Daemon {
    pub(super) fn divert(&mut self, name: Name, number: u32, by: Actor) -> Result<(), Finding> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let here = session.stream.boundary();
        let reply = match self.core.divert(&name.table(), number).map_err(failed)? {
            Diverting::Begun(_) => {
                trace::note(|| format!("serve: rows of {name} wait from after entry {here}"));
                let (groups, open) = (VecDeque::new(), Vec::new());
                let waiting = Waiting { number, by, groups, open, stage: Stage::Reading, is_answered: false };
                session.tails.insert(name, waiting);
                Reply::Diverted(here)
            }
            Diverting::Busy | Diverting::Unseen => Reply::Busy,
            Diverting::Unwanted => Reply::Placed(Placed::Unwanted),
        };
        if self.coordinator.has(by) {
            self.coordinator.reply(by, reply);
        } else if matches!(reply, Reply::Diverted(_)) {
            self.end_diversion(name, number);
        }
        Ok(())
    }

    pub(super) fn place_whole(&mut self, read: ExactRead) {
        let waiting = self.session.as_mut().and_then(|session| session.tails.get_mut(&read.name));
        if let Some(waiting) = waiting.filter(|waiting| waiting.number == read.number)
            && matches!(waiting.stage, Stage::Reading)
        {
            waiting.stage = Stage::Before(read);
        }
    }

    pub(super) fn end_diversion(&mut self, name: Name, number: u32) {
        let waiting = self.session.as_mut().and_then(|session| session.tails.get_mut(&name));
        if let Some(waiting) = waiting.filter(|waiting| waiting.number == number) {
            trace::note(|| format!("serve: the read of {name} has ended without a copy"));
            self.core.give_back(&name.table());
            waiting.stage = Stage::GivenBack;
        }
    }

    /// What the core says of rows that wait.
    pub(super) fn spool(&mut self) {
        for spooling in self.core.take_spooling() {
            let (Spooling::Rows { table, .. }
            | Spooling::CutBack { table, .. }
            | Spooling::Committed { table, .. }
            | Spooling::CutOff { table }
            | Spooling::Unwanted { table }
            | Spooling::Lost { table }) = &spooling;
            let name = Name::of(table);
            trace::note(|| format!("core: {spooling:?}"));
            let Some(session) = &mut self.session else { continue };
            let Some(waiting) = session.tails.get_mut(&name) else { continue };
            match spooling {
                Spooling::Rows { rows, .. } => waiting.open.push(rows),
                Spooling::CutBack { events, .. } => waiting.open.truncate(usize::try_from(events).unwrap()),
                Spooling::CutOff { .. } => waiting.open.clear(),
                Spooling::Committed { from, end, .. } => {
                    let rows = std::mem::take(&mut waiting.open);
                    if !rows.is_empty() {
                        self.truth.diverted(name, &end);
                        waiting.groups.push_back(Group { from, end, rows });
                    }
                }
                Spooling::Unwanted { .. } => {
                    waiting.stage = Stage::GivenBack;
                    self.answer_whole(name, Placed::Unwanted);
                }
                Spooling::Lost { .. } => {
                    self.answer_whole(name, Placed::Discarded);
                    if let Some(session) = &mut self.session {
                        session.tails.remove(&name);
                    }
                }
            }
        }
    }

    fn answer_whole(&mut self, name: Name, placed: Placed) {
        let Some(waiting) = self.session.as_mut().and_then(|session| session.tails.get_mut(&name)) else { return };
        if !std::mem::replace(&mut waiting.is_answered, true) {
            let by = waiting.by;
            trace::note(|| format!("serve: of the copy of {name}: {placed:?}"));
            self.coordinator.reply(by, Reply::Placed(placed));
        }
    }

    /// Places a piece of what waits of some table, between groups. False: there is nothing to place.
    pub fn place_waiting(&mut self, rng: &mut Rng) -> Result<bool, Finding> {
        if !self.is_between_groups() {
            return Ok(false);
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        let names: Vec<Name> = session.tails.keys().copied().collect();
        let Some(name) = rng.pick(&names).copied() else { return Ok(false) };
        if rng.below(200) == 0 {
            trace::note(|| format!("stream: the disk is full where rows of {name} wait"));
            self.core.lose_here(&name.table(), "the disk is full").map_err(failed)?;
            self.spool();
            return self.act().map(|()| true);
        }
        let placed = self.place_piece(name)?;
        self.spool();
        self.act()?;
        Ok(placed)
    }

    fn place_piece(&mut self, name: Name) -> Result<bool, Finding> {
        let table = name.table();
        let Some(waiting) = self.session.as_mut().and_then(|session| session.tails.get_mut(&name)) else {
            return Ok(false);
        };
        match std::mem::replace(&mut waiting.stage, Stage::GivenBack) {
            Stage::Reading => {
                waiting.stage = Stage::Reading;
                return Ok(false);
            }
            Stage::Before(read) => {
                if !self.core.reaches(&read.at).map_err(failed)? {
                    waiting.stage = Stage::Before(read);
                    return Ok(false);
                }
                let next = waiting.groups.front();
                let is_at_or_before = |place: &FilePos| read.at.reaches(place) == Some(true);
                if next.is_some_and(|group| is_at_or_before(&group.end)) {
                    let group = waiting.groups.pop_front();
                    waiting.stage = Stage::Before(read);
                    return self.place_group(name, &table, group);
                }
                if next.is_some_and(|group| !group.from.reaches(&read.at).unwrap_or(false)) {
                    return Err(format!("the copy of {name} is of the middle of a group"));
                }
                if self.core.may_lack_rows(&table, &read.at) {
                    trace::note(|| format!("stream: the copy of {name} may lack rows"));
                    self.core.give_back(&table);
                    self.answer_whole(name, Placed::Discarded);
                    return Ok(true);
                }
                trace::note(|| format!("stream: the copy of {name} is placed"));
                let from = self.core.log().next_lsn();
                let is_wanted =
                    self.core.begin_whole(&read.layouts.described.schema, read.number, &read.at).map_err(failed)?;
                self.truth.copy(from..self.core.log().next_lsn());
                if is_wanted {
                    waiting.stage = Stage::Copy(read, 0);
                } else {
                    self.core.give_back(&table);
                    self.answer_whole(name, Placed::Unwanted);
                }
            }
            Stage::Copy(read, piece) => {
                let Some(rows) = read.pieces.get(piece) else {
                    waiting.stage = Stage::After;
                    return Ok(true);
                };
                let images = images(&read.layouts.described, rows);
                if self.core.whole_rows(&table, read.number, &images, &read.at).map_err(failed)? {
                    waiting.stage = Stage::Copy(read, piece + 1);
                    self.truth.placed(name, SnapshotRows { read: u64::from(images.rows), filtered: 0 });
                } else {
                    self.core.give_back(&table);
                    self.answer_whole(name, Placed::Unwanted);
                }
            }
            after @ (Stage::After | Stage::GivenBack) => {
                let is_after = matches!(after, Stage::After);
                waiting.stage = after;
                if let Some(group) = waiting.groups.pop_front() {
                    return self.place_group(name, &table, Some(group));
                }
                let number = waiting.number;
                trace::note(|| format!("stream: no row of {name} waits any more"));
                if is_after && self.core.end_whole(&table, number).map_err(failed)? {
                    self.answer_whole(name, Placed::Appended { kept: 0, superseded: 0 });
                } else {
                    self.core.end_giving_back(&table).map_err(failed)?;
                    self.answer_whole(name, Placed::Discarded);
                }
                self.session.as_mut().and_then(|session| session.tails.remove(&name));
            }
        }
        Ok(true)
    }

    fn place_group(&mut self, name: Name, table: &TableName, group: Option<Group>) -> Result<bool, Finding> {
        let Some(group) = group else { return Ok(false) };
        trace::note(|| format!("stream: the rows of {name} until {:?} are placed", group.end));
        let mut count = 0;
        for rows in &group.rows {
            if !self.core.diverted(table, rows).map_err(failed)? {
                return Ok(true);
            }
            count += u64::from(rows.rows);
        }
        if let Some(rows) = group.rows.last() {
            self.core.end_diverted(&rows.origin).map_err(failed)?;
            self.truth.placed(name, SnapshotRows { read: count, filtered: 0 });
        }
        Ok(true)
    }
}
