//! What may happen to a table, and what has to be done about it.

use wal::Lsn;

use super::record::{Ask, Stage, TableRecord};
use crate::codec::frame::Audience;
use crate::model::{FilePos, OnDoubt, Rules, ServerIdentity};

/// Where and when something happens, and what the configuration says of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The LSN that the next frame gets.
    pub lsn: Lsn,
    /// Microseconds since the epoch.
    pub micros: i64,
    /// What is done about doubts.
    pub rules: Rules,
}

impl At {
    /// With rules under which no read waits.
    pub const fn new(lsn: Lsn, micros: i64) -> Self {
        Self { lsn, micros, rules: Rules { on_doubt: OnDoubt::Reread, pause: 0 } }
    }
}

/// What happens to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process starts and captures it.
    Started(Start),
    /// A process starts and captures it, and the stream goes on at a place that it has not come to: what happened to the table before
    /// that is not known.
    Skipped {
        /// As at any start.
        start: Start,
        /// Why, for an operator.
        why: String,
    },
    /// A process starts, and its configuration does not capture it.
    Excluded,
    /// The stream has come to the place that is awaited.
    Passed,
    /// The server that is read now is another one, whose binlog ends here: what is awaited is awaited until there.
    Moved(FilePos),
    /// A statement of the stream creates it: every row of it is going to be in the log.
    Created,
    /// A statement of the stream, or a reader, says what it is.
    Nature {
        /// Why it cannot be copied by that; `None`: it can.
        left_out: Option<String>,
    },
    /// The stream has a row or a statement of it, which may be older than everything that is known of it.
    Met {
        /// Whether rows that were there before are to be read (`startup_mode: initial`).
        initial: bool,
    },
    /// A statement of the stream drops it, or gives it a name that is not captured.
    Dropped,
    /// A statement of the stream gives it its name; under the old one it had this record.
    Renamed(Box<TableRecord>),
    /// A read is asked for.
    Asked(Ask),
    /// A sink needs every row: it is new to a log that no longer begins at its start, or was reset.
    SinkAdded {
        /// The sink.
        sink: String,
        /// In place of what it has: it was reset.
        replaces: bool,
    },
    /// A sink is gone with its cursor.
    SinkRemoved(String),
    /// These sinks are configured: a read for others waits until they come back, and keeps nothing else from being read.
    Sinks(Vec<String>),
    /// A reader begins with the read of this number, or begins with it again.
    Begun {
        /// The read.
        number: u32,
        /// It is read whole at one position, and not in ranges.
        at_once: bool,
        /// Its schema is known, so that what replaces the copies can begin. Otherwise that begins with [`Event::Replaced`].
        is_known: bool,
    },
    /// What the read brings comes in place of what the sinks have from here on.
    Replaced {
        /// The read.
        number: u32,
    },
    /// Rows of a read are placed.
    Placed {
        /// The read.
        number: u32,
        /// How far the read is with them.
        stage: Stage,
        /// How many rows it has read in all.
        rows: u64,
    },
    /// Every row of a read is placed.
    Finished {
        /// The read.
        number: u32,
    },
    /// A read cannot go on; it is tried again.
    Failed {
        /// The read.
        number: u32,
        /// Why, for an operator.
        why: String,
    },
    /// Rows of the stream that waited for a read of the whole table are not in the log.
    RowsLost {
        /// Why.
        why: String,
    },
    /// A reader has found no such table.
    Missing {
        /// The read.
        number: u32,
        /// The end of the binlog after that.
        end: FilePos,
        /// Whose binlog.
        server: ServerIdentity,
    },
    /// What a reader has found is of no use; it is to try again.
    Again {
        /// The read.
        number: u32,
    },
    /// The keys of a read cannot be read one by one: the table has another key, or one that no statement can name.
    KeysUnknown {
        /// The read.
        number: u32,
    },
    /// A reader finds that a read which nobody has asked for would be too much.
    TooLarge {
        /// The read.
        number: u32,
        /// Why, for an operator.
        why: String,
    },
    /// The server does not say how the table is defined; it is asked again.
    Silent {
        /// Why, for an operator.
        why: String,
    },
    /// The server has said how the table is defined.
    Answered,
    /// An operator has it left out from here on.
    SkipAsked {
        /// Who, and why.
        why: String,
    },
    /// An operator takes back that it is left out: it is read again in place of what the sinks have.
    ResumeAsked {
        /// Who.
        why: String,
    },
    /// An operator gives up the reads of it that an operator has asked for.
    ReadCancelled {
        /// Who.
        why: String,
    },
    /// The server has no such table any more, and the stream has no statement that dropped it.
    Vanished {
        /// Why that is known, for an operator.
        why: String,
    },
}

/// What a start knows of a captured table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// What the source said of it.
    pub presence: Presence,
    /// The end of the binlog after that.
    pub end: FilePos,
    /// The stream goes on from there: it has nothing more to say about what was there.
    pub is_there: bool,
    /// Whether rows that were there before are to be read (`startup_mode: initial`).
    pub initial: bool,
}

/// What the source says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there, and the account can read it.
    Listed,
    /// It is there, and cannot be copied: its engine or kind.
    ByNature(String),
    /// The account may not read it; the GRANT that it lacks.
    Denied(String),
    /// It is not there.
    Missing,
    /// It was not asked for.
    Unknown,
}

/// What has to be done about an event, in the group that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say that a read begins.
    MarkBegun {
        /// Whether every row is read.
        whole: bool,
        /// Whom it is for.
        audience: Audience,
    },
    /// Say that what the sinks have is replaced from here on.
    ReplaceBegin {
        /// Whom it is for.
        audience: Audience,
    },
    /// Say that the new content is whole.
    ReplaceEnd {
        /// Whom it is for.
        audience: Audience,
    },
    /// Say that every row of the read is in the log.
    MarkFinished {
        /// Rows read.
        rows: u64,
        /// Whom it is for.
        audience: Audience,
    },
    /// Say that what happened to the table's rows is not known from here on, until the read of it.
    Gap {
        /// Why.
        why: String,
    },
    /// Say that the table's rows are not in the log from here on.
    LeaveOut {
        /// Why.
        why: String,
    },
    /// Say that the table is gone.
    Drop,
    /// Chunks of the table that are on their way are worth nothing.
    DiscardWindows,
    /// Tell the operator.
    Tell(String),
}
