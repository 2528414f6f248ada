//! What comes of an event: the next record of the table, and what has to be done.

use super::asks::together;
use super::doubt::Cause;
use super::event::{Action, At, Event, Presence, Start};
use super::record::{Ask, Awaited, By, Capture, Complete, Fault, Reach, Read, Stage, TableRecord};
use crate::codec::frame::Audience;
use crate::model::OnDoubt;
use crate::mutants::{Mutant, is_on};

/// The record after an event, and what has to be done with it, in order.
///
/// An event of a read that is no longer wanted changes nothing: whoever did the read is told by [`TableRecord::current`].
pub fn step(record: &TableRecord, event: Event, at: At) -> (TableRecord, Vec<Action>) {
    let mut next = record.clone();
    let mut actions = Vec::new();
    next.take(event, at, &mut actions);
    next.lack_nothing(at);
    (next, actions)
}

impl TableRecord {
    fn take(&mut self, event: Event, at: At, actions: &mut Vec<Action>) {
        match event {
            // When it is captured again, it is read whole, whatever was wanted of it.
            Event::Asked(ask) if matches!(self.capture, Capture::Left(_)) => {
                if ask.leaves_out {
                    actions.push(Action::LeaveOut { why: ask.why });
                }
            }
            // What is not captured, or is gone, needs no answer.
            Event::Silent { .. } | Event::Vanished { .. } if !self.is_captured() => {}
            // What an operator has left out stays so, whatever else keeps it from being copied: that is found when it is resumed.
            Event::Nature { .. }
            | Event::Vanished { .. }
            | Event::Skipped { .. }
            | Event::Started(Start { presence: Presence::ByNature(_) | Presence::Missing, .. })
                if self.is_skipped() => {}
            Event::Started(start) => self.started(start, None, at, actions),
            Event::Skipped { start, why } => self.skipped(start, &why, at, actions),
            Event::Excluded if is_on(Mutant::CaptureNotRecorded) => {}
            Event::Excluded => self.excluded(at, actions),
            Event::Passed => self.passed(at, actions),
            Event::Moved(end) => {
                if let Some(awaited) = &mut self.awaits {
                    awaited.until = end;
                }
            }
            Event::Created => {
                self.forget();
                self.capture = Capture::Since(at.lsn);
                self.complete = Some(Complete::Whole(at.lsn));
            }
            Event::Nature { left_out: Some(why) } => {
                self.captured(at);
                self.cannot_be_copied(why, at, actions);
                actions.push(Action::DiscardWindows);
            }
            Event::Nature { left_out: None } => self.can_be_copied(at, actions),
            Event::Met { initial } => self.met(initial, at, actions),
            Event::Dropped => {
                self.forget();
                actions.push(Action::DiscardWindows);
            }
            Event::Renamed(from) => self.renamed(*from, at, actions),
            Event::Asked(ask) => self.asked(ask, at, actions),
            Event::SinkAdded { sink, replaces: false } => {
                let why = format!("sink \"{sink}\" is new");
                // After a crash the sink may say so once more.
                let is_known = self.read.as_ref().is_some_and(|read| read.why == why);
                if self.is_captured() && self.left_out.is_none() && !is_known {
                    self.ask(Ask::new(Reach::Whole, why).of_sink(&sink), at, actions);
                }
            }
            // What has begun by now began before the place from which the sink gets the log.
            Event::SinkAdded { sink, replaces: true } => {
                // Also one that the stream is about to meet: the sink may have a copy of it.
                let is_awaited = self.awaits.as_ref().is_some_and(|awaited| awaited.exists);
                if (self.is_captured() || is_awaited) && self.left_out.is_none() {
                    let why = format!("sink \"{sink}\" was reset");
                    self.ask(Ask::new(Reach::Replace, why).of_sink(&sink), at, actions);
                }
            }
            Event::SinkRemoved(sink) => self.without_sink(&sink),
            Event::Sinks(configured) => {
                let waits_for_none = |read: &Read| !read.is_for_any(&configured);
                if self.read.as_ref().is_some_and(waits_for_none) && self.next.is_some() {
                    self.begin_again_with_next();
                }
            }
            Event::Begun { number, at_once, is_known } => self.begun(number, (at_once, is_known), at, actions),
            Event::Replaced { number } => self.replaced(number, actions),
            Event::Placed { number, stage, rows } => {
                if let Some(read) = self.read.as_mut().filter(|read| read.number == number) {
                    let came = read.holds_rows() && stage == Stage::Placed;
                    if let Some(Complete::Whole(since)) = self.complete.as_mut().filter(|_| came) {
                        // Rows that have waited are in the log after later ones of other tables.
                        *since = at.lsn;
                    }
                    read.stage = stage;
                    read.rows = rows;
                    // What kept it from being read is over.
                    self.unreadable = None;
                }
            }
            Event::Finished { number } => self.finished(number, at, actions),
            Event::Failed { number, why } => {
                if self.current(number).is_some() {
                    self.cannot_be_read(why, at);
                }
            }
            Event::RowsLost { why } => self.rows_lost(why, at),
            Event::Missing { number, end, .. } => {
                if self.current(number).is_some() {
                    self.awaits = Some(Awaited { until: end, exists: false });
                }
            }
            Event::Again { number } => {
                if self.current(number).is_some() {
                    self.renumber();
                }
            }
            Event::KeysUnknown { number } => {
                if self.current(number).is_some() {
                    self.read_whole_in_place_of_keys(at);
                }
            }
            Event::TooLarge { number, why } => {
                if let Some(read) = self.current(number).filter(|read| read.by_itself()) {
                    let why = format!("{}; {why}", read.why);
                    self.leave_out_in_doubt(&why, at, actions);
                }
            }
            Event::SkipAsked { why } => self.skip(&why, at, actions),
            Event::ResumeAsked { why } => self.resume(&why, at, actions),
            Event::ReadCancelled { why } => self.cancel_reads(&why, at, actions),
            Event::Silent { why } => self.cannot_be_read(why, at),
            // What its rows are is known nowhere. A table that comes back without a statement is read when somebody asks for it.
            Event::Vanished { why } => self.leave_out_in_doubt(&why, at, actions),
            Event::Answered => {
                if self.read.is_none() {
                    self.unreadable = None;
                }
            }
        }
    }

    /// Whether a reader has seen it at the source since it is captured.
    fn was_seen(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.stage != Stage::Waiting)
    }

    /// A captured table that is complete nowhere is read whole for every sink, whatever else is wanted of it.
    fn lack_nothing(&mut self, at: At) {
        let is_lacking = self.is_captured() && self.complete.is_none() && self.left_out.is_none();
        let brings_all = |read: &Read| read.is_whole() && read.audience == Audience::All;
        if is_lacking && ![&self.read, &self.next].into_iter().flatten().any(brings_all) {
            self.want(Ask::new(Reach::Whole, "it was never read whole"), at);
        }
    }

    /// Nothing is known of the table any more.
    fn forget(&mut self) {
        *self = Self { reads: self.reads, ..Self::default() };
    }

    pub(super) fn captured(&mut self, at: At) {
        if !self.is_captured() {
            self.capture = Capture::Since(at.lsn);
        }
    }

    /// Wants a read. While the copies of every sink may differ from the source, the table is complete nowhere; while some keys may, it
    /// is but for these.
    pub(super) fn ask(&mut self, ask: Ask, at: At, actions: &mut Vec<Action>) {
        let is_doubt = ask.is_doubt && ask.audience == Audience::All;
        if is_doubt && !matches!(ask.reach, Reach::Keys(_)) {
            self.complete = None;
        }
        let leaves_out = ask.leaves_out;
        let why = self.with_untold(&ask.why);
        self.want(ask, at);
        if !is_doubt {
            return;
        }
        let waiting = [&mut self.next, &mut self.read].into_iter().flatten().find(|read| !read.has_begun());
        let was_told = waiting.is_some_and(|read| std::mem::replace(&mut read.is_told, true));
        if leaves_out {
            actions.push(Action::LeaveOut { why });
        } else if !was_told {
            actions.push(Action::Gap { why });
        }
    }

    /// Why the sinks are told of a doubt: with the reason of a doubt of which they were not told when it arose.
    fn with_untold(&self, why: &str) -> String {
        let is_untold =
            |read: &&Read| read.is_doubt && !read.is_told && !read.has_begun() && read.audience == Audience::All;
        match [&self.next, &self.read].into_iter().flatten().find(is_untold) {
            Some(read) if !read.why.contains(why) => format!("{}; {why}", read.why),
            Some(read) => read.why.clone(),
            None => why.to_owned(),
        }
    }

    fn asked(&mut self, ask: Ask, at: At, actions: &mut Vec<Action>) {
        match self.left_out.take() {
            // Nothing that is read would make it a table that can be copied. And what an operator has left out, an operator resumes.
            Some(fault) if fault.by != By::Doubt => self.left_out = Some(fault),
            // Nor is it read by itself.
            Some(fault) if ask.cause.is_by_itself() => self.left_out = Some(fault),
            Some(_) => {
                let cause = ask.cause;
                self.ask(Ask { cause, ..Ask::again(Reach::Replace, ask.why) }, at, actions);
            }
            None if ask.cause.is_by_itself() && ask.audience == Audience::All => self.doubted(ask, at, actions),
            // Whether there is such a table is seen when the read begins.
            None => self.ask(ask, at, actions),
        }
    }

    /// It is not known what its rows are, and a read of nobody's asking would settle that.
    fn doubted(&mut self, ask: Ask, at: At, actions: &mut Vec<Action>) {
        let is_of_keys = matches!(ask.reach, Reach::Keys(_));
        if at.rules.on_doubt == OnDoubt::StopTable {
            let why = format!("{}, and source.on_doubt or tables[].on_doubt is stop_table", ask.why);
            self.leave_out_in_doubt(&why, at, actions);
        } else if matches!(self.complete, Some(Complete::Changes(_))) && !is_of_keys && ask.cause == Cause::Rows {
            let why = format!("{}, and it was never copied whole (source.startup_mode)", ask.why);
            self.leave_out_in_doubt(&why, at, actions);
        } else {
            self.ask(ask, at, actions);
        }
    }

    /// It is not read by itself, and left out until somebody asks for that.
    fn leave_out_in_doubt(&mut self, why: &str, at: At, actions: &mut Vec<Action>) {
        // Also a table of which the stream says this first: what it says next is not that it was never read.
        self.captured(at);
        let why = format!("{why}; replicator backfill --replace reads it again");
        actions.push(Action::Tell(format!("it is left out: {why}")));
        self.leave_out(why.clone(), By::Doubt, at);
        actions.push(Action::DiscardWindows);
        actions.push(Action::LeaveOut { why });
    }

    /// The keys of the read that is due say nothing of the table as it is.
    fn read_whole_in_place_of_keys(&mut self, at: At) {
        let Some(read) = self.read.as_mut().filter(|read| matches!(read.reach, Reach::Keys(_))) else { return };
        read.reach = Reach::Whole;
        read.stage = Stage::Waiting;
        read.rows = 0;
        read.until = if read.by_itself() { self.rest.until(Cause::Rows, false, at) } else { None };
        self.renumber();
    }

    /// The sinks were not told of a doubt: they are when its read begins.
    pub(super) fn is_not_told(&mut self) {
        for read in [&mut self.read, &mut self.next].into_iter().flatten() {
            read.is_told = false;
        }
    }

    /// The reader that did not find the table has ended; another one is to try.
    fn renumber(&mut self) {
        if let Some(read) = &mut self.read {
            self.reads += 1;
            read.number = self.reads;
        }
    }

    fn cannot_be_read(&mut self, why: String, at: At) {
        let before = self.unreadable.take();
        let (since, since_micros) = before.map_or((at.lsn, at.micros), |before| (before.since, before.since_micros));
        self.unreadable = Some(Fault { since, since_micros, why, by: By::Doubt });
    }

    pub(super) fn leave_out(&mut self, why: String, by: By, at: At) {
        let before = self.left_out.take().filter(|before| before.by == by);
        let (since, since_micros) = before.map_or((at.lsn, at.micros), |before| (before.since, before.since_micros));
        self.left_out = Some(Fault { since, since_micros, why, by });
        self.complete = None;
        self.read = None;
        self.next = None;
        self.unreadable = None;
        self.awaits = None;
    }

    /// It is left out by what it is, which is said once.
    fn cannot_be_copied(&mut self, why: String, at: At, actions: &mut Vec<Action>) {
        if self.left_out.as_ref().is_none_or(|fault| fault.why != why) {
            actions.push(Action::Tell(format!("it is left out: {why}")));
        }
        self.leave_out(why, By::Nature, at);
    }

    /// It is no longer what kept it from being copied.
    fn can_be_copied(&mut self, at: At, actions: &mut Vec<Action>) {
        if self.left_out.take_if(|fault| fault.by == By::Nature).is_some() {
            let why = "it could not be copied before, because of its engine or kind";
            self.ask(Ask::again(Reach::Replace, why), at, actions);
        }
    }

    fn excluded(&mut self, at: At, actions: &mut Vec<Action>) {
        let is_known = self.is_captured();
        let left = if is_known { Capture::Left(at.lsn) } else { self.capture };
        if is_known {
            actions
                .push(Action::Tell("it is no longer captured; its changes are not in the log from here on".to_owned()));
        }
        let outlives = self.read.take().filter(|_| is_on(Mutant::ReadOutlivesItsTable));
        self.forget();
        self.capture = left;
        self.read = outlives;
    }

    /// As a table that was not captured between the two places, and comes back. It is read whatever the mode of the start, because it is
    /// asked for.
    fn skipped(&mut self, start: Start, why: &str, at: At, actions: &mut Vec<Action>) {
        if is_on(Mutant::SkippedTableKept) && matches!(self.complete, Some(Complete::Whole(_))) {
            return;
        }
        let capture = if self.is_captured() { Capture::Left(at.lsn) } else { self.capture };
        self.forget();
        self.capture = capture;
        self.started(Start { initial: true, ..start }, Some(why), at, actions);
    }

    /// `missed`: why it was not captured until now, where the configuration is not the reason.
    fn started(&mut self, start: Start, missed: Option<&str>, at: At, actions: &mut Vec<Action>) {
        let Start { presence, end, is_there, initial } = start;
        if let Presence::ByNature(why) = presence {
            self.captured(at);
            self.cannot_be_copied(why, at, actions);
            return;
        }
        self.started_again();
        if self.nature().is_some() && presence == Presence::Listed {
            self.can_be_copied(at, actions);
            return;
        }
        match (self.capture, presence) {
            // No reader looks for what is left out, and it may be the name of no table since it was met.
            (Capture::Since(_), Presence::Missing) if self.left_out.is_some() && self.complete.is_none() => {
                self.awaits = Some(Awaited { until: end, exists: false });
            }
            // The stream says what becomes of it.
            (Capture::Since(_), _)
            | (Capture::Unmet, Presence::Missing | Presence::Unknown | Presence::ByNature(_)) => {}
            // A table that is created further on in the stream is in the log from its first row.
            (Capture::Unmet, Presence::Listed) if initial && !is_there => {
                self.awaits = Some(Awaited { until: end, exists: true });
            }
            (Capture::Unmet, Presence::Listed) => self.met(initial, at, actions),
            (Capture::Unmet, Presence::Denied(grant)) => {
                self.met(initial, at, actions);
                self.cannot_be_read(grant, at);
            }
            (Capture::Left(_), Presence::Missing) => {
                self.awaits = Some(Awaited { until: end, exists: false });
            }
            (Capture::Left(_), Presence::Listed | Presence::Denied(_) | Presence::Unknown | Presence::ByNature(_)) => {
                self.comes_back(initial, missed, at, actions);
            }
        }
    }

    /// It is captured again after it was not, because of the configuration or of what it missed.
    fn comes_back(&mut self, initial: bool, missed: Option<&str>, at: At, actions: &mut Vec<Action>) {
        let Capture::Left(left) = self.capture else { return };
        let outlives = self.read.take().filter(|_| is_on(Mutant::ReadOutlivesItsTable));
        self.forget();
        self.capture = Capture::Since(at.lsn);
        if outlives.is_some() {
            self.read = outlives;
            return;
        }
        let why = missed.map_or_else(|| format!("it was not captured from LSN {left} to {}", at.lsn), str::to_owned);
        if initial {
            actions.push(Action::Tell(format!("{why}, so it is read again in place of what the sinks have")));
            self.ask(Ask::again(Reach::Replace, why), at, actions);
        } else {
            let hint = "replicator backfill --replace reads it whole; startup_mode is not initial, so that is not done by itself";
            self.leave_out(format!("{why} ({hint})"), By::Doubt, at);
        }
    }

    fn met(&mut self, initial: bool, at: At, actions: &mut Vec<Action>) {
        match self.capture {
            Capture::Since(_) => {}
            Capture::Left(_) => self.comes_back(initial, None, at, actions),
            Capture::Unmet => {
                if self.awaits.take().is_some() {
                    self.renumber();
                }
                self.capture = Capture::Since(at.lsn);
                if initial {
                    self.ask(Ask::new(Reach::Whole, "it was never read"), at, actions);
                } else {
                    self.complete = Some(Complete::Changes(at.lsn));
                }
            }
        }
    }

    fn passed(&mut self, at: At, actions: &mut Vec<Action>) {
        let Some(awaited) = self.awaits.take() else { return };
        match (self.capture, awaited.exists) {
            (Capture::Unmet, true) => self.met(true, at, actions),
            (Capture::Left(_), false) => {
                self.forget();
                actions.push(Action::Drop);
            }
            (Capture::Since(_), false) if self.complete.is_none() && !self.was_seen() => {
                // Its end was not in the stream since it is captured, so it came before that, or there never was one.
                self.forget();
                actions.push(Action::Drop);
                actions.push(Action::Tell("it is not read: there is no such table any more".to_owned()));
            }
            (Capture::Since(_), false) => {
                self.cannot_be_read(
                    "the source has no such table, and its binlog does not say what became of it".to_owned(),
                    at,
                );
                self.renumber();
            }
            (Capture::Unmet, false) => {
                self.forget();
                actions.push(Action::Tell("it is not read: there is no such table any more".to_owned()));
            }
            (Capture::Left(_) | Capture::Since(_), true) => {}
        }
    }

    fn renamed(&mut self, from: Self, at: At, actions: &mut Vec<Action>) {
        let wanted = [from.read.as_ref(), from.next.as_ref()].into_iter().flatten();
        let audience = wanted.clone().map(Read::audience_again).reduce(together);
        let is_doubt = wanted.clone().any(|read| read.is_doubt);
        let reads = self.reads.max(from.reads);
        *self = Self { read: None, next: None, awaits: None, reads, ..from };
        self.captured(at);
        if let Some(audience) = audience {
            let ask = Ask::new(Reach::Replace, "it was renamed while it was to be read");
            self.ask(Ask { audience, is_doubt, ..ask }, at, actions);
        }
        actions.push(Action::DiscardWindows);
    }

    fn without_sink(&mut self, sink: &str) {
        for place in [&mut self.read, &mut self.next] {
            let Some(read) = place else { continue };
            let holds_rows = read.holds_rows();
            let Audience::Sinks(sinks) = &mut read.audience else { continue };
            sinks.retain(|name| name != sink);
            if sinks.is_empty() && holds_rows {
                // What waits for it is missing at the other sinks.
                read.audience = Audience::All;
            } else if sinks.is_empty() {
                *place = None;
            }
        }
        if self.read.is_none() {
            self.read = self.next.take();
        }
    }
}
