//! The four states that a table may be in, and what they come to at a sink.

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::record::{By, Capture, Complete, Fault, Read, TableRecord};

/// What can be said of a captured table, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Every row and every change of it, or, where it was never read, every change of it since.
    Complete,
    /// A read of it is wanted or under way.
    Reading,
    /// Its changes do not reach the copy.
    LeftOut,
    /// A read of it is wanted, and cannot be done.
    Unreadable,
    /// The sink has stopped it.
    Stopped,
}

impl State {
    /// Every state, mildest first.
    pub const ALL: [Self; 5] = [Self::Complete, Self::Reading, Self::LeftOut, Self::Unreadable, Self::Stopped];

    /// The word used in `status`, metrics, commands and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Reading => "reading",
            Self::LeftOut => "left_out",
            Self::Unreadable => "unreadable",
            Self::Stopped => "stopped",
        }
    }
}

/// A state, since when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold with any other")]
pub struct Stated {
    /// The state.
    pub state: State,
    /// Complete: every change since this LSN. Left out, unreadable, stopped: since this LSN.
    pub since: Option<Lsn>,
    /// Since when it is wrong, in microseconds since the epoch.
    pub since_micros: Option<i64>,
    /// Why; of a complete table, what it lacks.
    pub why: Option<String>,
    /// It is left out because of what it is, or because the configuration says so: no fault of the copy.
    pub by_nature: bool,
    /// It is left out because an operator has said so, until one takes that back.
    pub skipped: bool,
    /// The read is wanted because it is not known what the table's rows are, and has not begun.
    pub waiting_doubt: bool,
    /// Nobody has asked for that read: it waits for room in the log.
    pub by_itself: bool,
    /// That read does not begin before this time, in microseconds since the epoch.
    pub until: Option<i64>,
    /// How much of a table in doubt is read: `keys`, `part`, `values` or `rows`.
    pub reach: Option<&'static str>,
}

/// What is known of a table at one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtSink {
    /// Where the read ended after which the sink has every row.
    pub whole_since: Option<Lsn>,
    /// A read that the sink has seen begin and not end.
    pub is_reading: bool,
    /// The sink leaves the table out since this LSN, and why.
    pub stopped: Option<(Lsn, String)>,
    /// Why the table does not reach the sink, which is configured so.
    pub apart: Option<String>,
}

impl TableRecord {
    /// The table's state for a sink, as far as the source and the log go; without a sink, for all of them. `None`: it is not captured.
    pub fn state(&self, sink: Option<&str>) -> Option<Stated> {
        let captured = match self.capture {
            Capture::Since(captured) => captured,
            Capture::Unmet if self.read.is_some() => Lsn::ZERO,
            Capture::Unmet | Capture::Left(_) => {
                let why = "it is not known yet what the stream says of it";
                return self.awaits.as_ref().map(|_| Stated::reading(why));
            }
        };
        if let Some(fault) = &self.left_out {
            return Some(Stated::fault(State::LeftOut, fault));
        }
        // Rows that wait for a read are at no sink.
        let is_heard = |read: &&Read| read.holds_rows() || sink.is_none_or(|sink| read.audience.includes(sink));
        let wanted = self.read.as_ref().filter(is_heard).or(self.next.as_ref().filter(is_heard));
        if let Some(fault) = self.unreadable.as_ref().filter(|_| wanted.is_some() || self.complete.is_none()) {
            return Some(Stated::fault(State::Unreadable, fault));
        }
        if let Some(read) = wanted {
            return Some(Stated::of_read(read));
        }
        Some(match self.complete {
            Some(Complete::Whole(since)) => Stated::complete(since, None),
            Some(Complete::Changes(since)) => {
                Stated::complete(since, Some("what was there before was never read (source.startup_mode)"))
            }
            // Every way to lose a read leaves another fact behind; if one did not, this says so.
            None => Stated {
                since: Some(captured),
                why: Some("no read of it is wanted, and it was never read whole".to_owned()),
                ..Stated::reading("")
            },
        })
    }
}

impl Stated {
    fn complete(since: Lsn, why: Option<&str>) -> Self {
        Self {
            state: State::Complete,
            since: Some(since),
            since_micros: None,
            why: why.map(str::to_owned),
            by_nature: false,
            skipped: false,
            waiting_doubt: false,
            by_itself: false,
            until: None,
            reach: None,
        }
    }

    fn reading(why: &str) -> Self {
        Self { state: State::Reading, since: None, why: Some(why.to_owned()), ..Self::complete(Lsn::ZERO, None) }
    }

    fn of_read(read: &Read) -> Self {
        let reading = Self::reading(&read.why);
        if !read.is_doubt {
            return reading;
        }
        let waiting_doubt = !read.has_begun();
        Self {
            since: Some(read.since),
            since_micros: Some(read.since_micros),
            waiting_doubt,
            by_itself: read.by_itself(),
            until: read.until.filter(|_| waiting_doubt),
            reach: Some(read.reach.as_str()),
            ..reading
        }
    }

    fn fault(state: State, fault: &Fault) -> Self {
        let Fault { since, since_micros, why, by } = fault;
        let (by_nature, skipped) = (*by == By::Nature, *by == By::Operator);
        Self { state, since_micros: Some(*since_micros), by_nature, skipped, ..Self::complete(*since, Some(why)) }
    }

    /// What it comes to at a sink, which may be worse.
    #[must_use]
    pub fn at_sink(self, at: &AtSink) -> Self {
        if let Some(why) = &at.apart {
            return Self {
                state: State::LeftOut,
                since: None,
                by_nature: true,
                ..Self::complete(Lsn::ZERO, Some(why))
            };
        }
        if let Some((since, why)) = &at.stopped {
            return Self { state: State::Stopped, ..Self::complete(*since, Some(why)) };
        }
        // A table of which only the changes are wanted is as complete as it gets.
        if self.state != State::Complete || self.why.is_some() {
            return self;
        }
        match at.whole_since.filter(|_| !at.is_reading) {
            Some(since) => Self { since: Some(since), ..self },
            None => Self::reading("the log has every row of it, and the sink has not applied them all"),
        }
    }

    /// Whether the table is not what it should be, so that an operator has to look.
    pub fn is_failed(&self) -> bool {
        match self.state {
            State::Complete | State::Reading => false,
            State::LeftOut => !self.by_nature && !self.skipped,
            State::Unreadable | State::Stopped => true,
        }
    }
}
