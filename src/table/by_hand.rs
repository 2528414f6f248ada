//! What operators do to a table: they leave it out, take that back, and cancel the reads that they have asked for.

use super::doubt::Cause;
use super::event::{Action, At};
use super::record::{Ask, Asker, By, Reach, Read, TableRecord};
use crate::codec::frame::Audience;

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// Asks for a read.
    Read(Ask),
    /// Gives up the reads that an operator has asked for. Who.
    Cancel(String),
    /// Has the table left out. Who, and why.
    Skip(String),
    /// Takes that back: it is read again in place of what the sinks have. Who.
    Resume(String),
}

/// What has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operated {
    /// The number of the read that is wanted for it, or that was cancelled.
    pub read: Option<u32>,
    /// Why the table is left out now.
    pub left_out: Option<String>,
}

/// What is in the way of cancelling the reads of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCancelled {
    /// None is wanted.
    NoRead,
    /// It is not for an operator alone: why it is read.
    NotByHand(String),
    /// It replaces the copy at these sinks, and nothing but its end makes that one current.
    Replaces(Vec<String>),
}

impl TableRecord {
    /// Whether its reads can be cancelled.
    ///
    /// # Errors
    /// What is in the way.
    pub fn may_cancel(&self) -> Result<(), NotCancelled> {
        let wanted = || [&self.read, &self.next].into_iter().flatten();
        let Some(read) = wanted().find(|read| read.asker == Asker::Operator) else {
            return Err(wanted().next().map_or(NotCancelled::NoRead, |read| NotCancelled::NotByHand(read.why.clone())));
        };
        match &read.audience {
            Audience::Sinks(sinks) if read.replaces || read.holds_rows() => Err(NotCancelled::Replaces(sinks.clone())),
            Audience::Sinks(_) | Audience::All => Ok(()),
        }
    }

    /// The number of the last read that a cancel ends.
    pub fn cancellable(&self) -> Option<u32> {
        let mut wanted = [&self.next, &self.read].into_iter().flatten();
        wanted.find(|read| read.asker == Asker::Operator).map(|read| read.number)
    }

    /// Whether an operator has left it out.
    pub(super) fn is_skipped(&self) -> bool {
        self.by_operator().is_some()
    }

    /// It is left out from here on.
    pub(super) fn skip(&mut self, why: &str, at: At, actions: &mut Vec<Action>) {
        self.captured(at);
        actions.push(Action::Tell(format!("it is left out: {why}")));
        self.leave_out(why.to_owned(), By::Operator, at);
        actions.push(Action::DiscardWindows);
        actions.push(Action::LeaveOut { why: why.to_owned() });
    }

    /// What was left out, by an operator or by a doubt, is read again.
    pub(super) fn resume(&mut self, why: &str, at: At, actions: &mut Vec<Action>) {
        if self.left_out.take_if(|fault| fault.by != By::Nature).is_some() {
            self.ask(Ask { cause: Cause::ByHand, ..Ask::again(Reach::Replace, why) }, at, actions);
        }
    }

    /// Reads that are for an operator alone end. A table whose rows are not known without such a read is left out from here on.
    pub(super) fn cancel_reads(&mut self, why: &str, at: At, actions: &mut Vec<Action>) {
        if self.may_cancel().is_err() {
            return;
        }
        let is_by_hand = |read: &mut Read| read.asker == Asker::Operator;
        let next = self.next.take_if(is_by_hand);
        let mut is_known = self.complete.is_some();
        if let Some(read) = self.read.take_if(is_by_hand) {
            self.read = self.next.take();
            self.unreadable = None;
            is_known &= !read.replaces && !read.holds_rows();
            if read.has_begun() {
                actions.push(Action::DiscardWindows);
            }
            if read.has_begun() && is_known {
                // A read of a part of the rows ends for the sinks without making anything complete.
                let audience = read.audience.clone();
                actions.push(Action::MarkBegun { whole: false, audience: audience.clone() });
                actions.push(Action::MarkFinished { rows: read.rows, audience });
            }
        } else if next.is_none_or(|next| !next.is_doubt) {
            // What goes on brings what there was to be known.
            return;
        }
        let brings_all = |read: &Read| read.reach == Reach::Replace && read.audience == Audience::All;
        let is_brought = [&self.read, &self.next].into_iter().flatten().any(brings_all);
        if !is_known && !is_brought {
            self.skip(why, at, actions);
        }
    }
}
