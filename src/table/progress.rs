//! How a read comes along: it begins, it replaces, it ends.

use super::event::{Action, At};
use super::record::{Complete, Reach, Read, Stage, TableRecord};
use crate::codec::frame::Audience;
use crate::mutants::{Mutant, is_on};

impl TableRecord {
    /// A read begins.
    pub(super) fn begun(&mut self, number: u32, (at_once, is_known): (bool, bool), at: At, actions: &mut Vec<Action>) {
        if self.current(number).is_none() {
            return;
        }
        self.captured(at);
        self.take_next_along();
        let Some(read) = &mut self.read else { return };
        if read.by_itself() && !read.has_begun() {
            match read.reach {
                Reach::Keys(_) => self.rest.begins_keys(at),
                Reach::Part { .. } | Reach::Whole | Reach::Replace => self.rest.begins(read.until.is_some(), at),
            }
        }
        if read.is_doubt && !std::mem::replace(&mut read.is_told, true) && read.audience == Audience::All {
            // It was not in the stream that the doubt arose.
            actions.push(Action::Gap { why: read.why.clone() });
        }
        read.stage = if at_once { Stage::Whole } else { Stage::Begun };
        read.rows = 0;
        read.replaces = false;
        read.leaves_out = false;
        let (whole, audience) = (read.is_whole(), read.audience.clone());
        self.unreadable = None;
        // What is still noted, or waits, is of a read that has ended.
        if !is_on(Mutant::ChunkFromBeforeDoubtKept) {
            actions.push(Action::DiscardWindows);
        }
        if !at_once && is_known {
            self.replaced_if_wanted(actions);
        }
        actions.push(Action::MarkBegun { whole, audience });
    }

    fn replaced_if_wanted(&mut self, actions: &mut Vec<Action>) {
        let Some(read) = self.read.as_mut().filter(|read| read.reach == Reach::Replace) else { return };
        read.replaces = true;
        actions.push(Action::ReplaceBegin { audience: read.audience.clone() });
    }

    /// The rows that come from here on take the place of what the sinks have.
    pub(super) fn replaced(&mut self, number: u32, actions: &mut Vec<Action>) {
        if self.current(number).is_none() {
            return;
        }
        // A table that is read whole at one position was read before this place.
        if !self.read.as_ref().is_some_and(Read::holds_rows) {
            self.take_next_along();
        }
        let Some(read) = &mut self.read else { return };
        read.replaces = true;
        read.leaves_out = false;
        read.rows = 0;
        actions.push(Action::ReplaceBegin { audience: read.audience.clone() });
    }

    /// Every row of a read is in the log.
    pub(super) fn finished(&mut self, number: u32, at: At, actions: &mut Vec<Action>) {
        if self.current(number).is_none() {
            return;
        }
        let Some(read) = self.end_read() else { return };
        self.unreadable = None;
        let counts_for_all = is_on(Mutant::ReadOfOneSinkCountsForAll);
        let audience = if counts_for_all { Audience::All } else { read.audience.clone() };
        let rows = read.rows;
        if read.replaces {
            actions.push(Action::ReplaceEnd { audience: audience.clone() });
        }
        if read.is_whole() && audience == Audience::All {
            // What was complete before stays complete since then, but for what was in doubt.
            match self.complete {
                Some(Complete::Whole(_)) => {}
                Some(Complete::Changes(_)) | None => self.complete = Some(Complete::Whole(at.lsn)),
            }
            if counts_for_all {
                self.read = None;
            }
        }
        if self.next_is_doubt_for_all() {
            self.complete = None;
        }
        actions.push(Action::MarkFinished { rows, audience });
    }

    /// Whether what is wanted now is wanted because every copy is in doubt. Where that is about some keys, the rest of it is known.
    fn next_is_doubt_for_all(&self) -> bool {
        let is_of_all = |read: &Read| !matches!(read.reach, Reach::Keys(_)) && read.audience == Audience::All;
        self.read.as_ref().is_some_and(|read| read.is_doubt && is_of_all(read))
    }
}
