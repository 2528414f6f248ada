//! What is stored of a table's life.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::doubt::{Cause, Rest};
use crate::codec::frame::Audience;
use crate::codec::state::State;
use crate::codec::stored::{self, Entry, Record, TABLE};
use crate::error::Failure;
use crate::model::{FilePos, TableName};

/// The life of a table, as of the last group that is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Whether its changes are in the log, and since when.
    pub capture: Capture,
    /// Since when every change is in the log, if that is so for every sink. A read that is wanted is beside it.
    pub complete: Option<Complete>,
    /// The read that is wanted, or has begun.
    pub read: Option<Read>,
    /// The read that is wanted once [`TableRecord::read`], which has begun, has ended.
    pub next: Option<Read>,
    /// Why it is left out, where no read of it is wanted that would change that.
    pub left_out: Option<Fault>,
    /// Why it cannot be read, since the last try.
    pub unreadable: Option<Fault>,
    /// What the stream is waited for to settle.
    pub awaits: Option<Awaited>,
    /// The number of the last read.
    pub reads: u32,
    /// When it was read by itself lately.
    pub rest: Rest,
}

/// Whether a table's changes are in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capture {
    /// Nothing is known of it.
    #[default]
    Unmet,
    /// They are, from this LSN on.
    Since(Lsn),
    /// They were, until the configuration left it out at this LSN.
    Left(Lsn),
}

/// How much of a table the log has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Complete {
    /// Every row, and every change since this LSN.
    Whole(Lsn),
    /// Every change since this LSN. What was there before was never read: `startup_mode` is not `initial`.
    Changes(Lsn),
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Since this LSN.
    pub since: Lsn,
    /// Since this time, in microseconds since the epoch.
    pub since_micros: i64,
    /// Why, and the remedy, for an operator.
    pub why: String,
    /// What makes it so.
    pub by: By,
}

/// What makes a table be left out. Stored: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// A fault: it is not known what its rows are, or it cannot be read.
    Doubt,
    /// What the table is (its engine, its kind), and no fault of the copy.
    Nature,
    /// An operator, until an operator takes it back.
    Operator,
}

/// Who asks for a read. Stored: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asker {
    /// The configuration or a sink, or several together.
    Configured,
    /// No one: it begins by itself.
    Itself,
    /// An operator alone, who may cancel it.
    Operator,
}

impl Asker {
    /// Of a read that has this cause.
    pub(super) fn of(cause: Cause) -> Self {
        match cause {
            Cause::Asked => Self::Configured,
            Cause::Definition | Cause::Rows => Self::Itself,
            Cause::ByHand => Self::Operator,
        }
    }

    /// Of a read that is for both.
    pub(super) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Configured }
    }
}

/// What the stream is waited for to settle: until it has read to a place, a statement may still say what became of the
/// table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The end of the binlog at which the source was asked.
    pub until: FilePos,
    /// Whether the table existed there.
    pub exists: bool,
}

/// How much of a table is read. Later ones bring what earlier ones bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The rows of some keys, over what the sinks have.
    Keys(Keys),
    /// The rows that meet a condition in the source's SQL, over what the sinks have.
    Part {
        /// The operator's own text.
        condition: String,
    },
    /// Every row, over what the sinks have.
    Whole,
    /// Every row, in place of what the sinks have.
    Replace,
}

/// Keys of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The names of the key's columns, in the key's order.
    pub columns: Vec<String>,
    /// Of each key the bytes that a row image has of these columns, in this order.
    pub keys: BTreeSet<Vec<u8>>,
}

impl Keys {
    /// So many are read by key; of more the whole table is read.
    pub const MOST: usize = 1_000;
    /// Bytes that they have together at most. They are a part of a record that is stored with each group that adds to it.
    pub const MOST_BYTES: usize = 32 << 10;

    /// Whether they are few enough to be read by key.
    pub fn are_few(&self) -> bool {
        self.keys.len() <= Self::MOST && self.keys.iter().map(Vec::len).sum::<usize>() <= Self::MOST_BYTES
    }
}

/// A read that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How much is read.
    pub reach: Reach,
    /// For which sinks.
    pub audience: Audience,
    /// Rows a chunk has at most, in place of `source.snapshot.chunk_rows`.
    pub chunk_rows: Option<u32>,
    /// Why, for an operator.
    pub why: String,
    /// The copies may differ from the source until it is done.
    pub is_doubt: bool,
    /// Rows are left out until it begins.
    pub leaves_out: bool,
    /// What made it be asked for.
    pub cause: Cause,
}

impl Ask {
    /// A read for every sink.
    pub fn new(reach: Reach, why: impl Into<String>) -> Self {
        let (is_doubt, leaves_out) = (false, false);
        Self {
            reach,
            audience: Audience::All,
            chunk_rows: None,
            why: why.into(),
            is_doubt,
            leaves_out,
            cause: Cause::Asked,
        }
    }

    /// A read that somebody asks for because the copies may differ from the source.
    pub fn again(reach: Reach, why: impl Into<String>) -> Self {
        Self { is_doubt: true, ..Self::new(reach, why) }
    }

    /// A read that an operator asks for.
    pub fn by_hand(reach: Reach, why: impl Into<String>) -> Self {
        Self { cause: Cause::ByHand, ..Self::new(reach, why) }
    }

    /// A read because it is not known what the table's rows are.
    pub fn doubt(reach: Reach, cause: Cause, why: impl Into<String>) -> Self {
        Self { is_doubt: true, cause, ..Self::new(reach, why) }
    }

    /// For one sink alone.
    #[must_use]
    pub fn of_sink(mut self, sink: &str) -> Self {
        self.audience = Audience::Sinks(vec![sink.to_owned()]);
        self
    }
}

/// A read that is wanted, or has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold with any other")]
pub struct Read {
    /// Tells it from every other read of the table: a reader says it with all that it hands over.
    pub number: u32,
    /// How much is read.
    pub reach: Reach,
    /// For which sinks.
    pub audience: Audience,
    /// Rows a chunk has at most, in place of `source.snapshot.chunk_rows`.
    pub chunk_rows: Option<u32>,
    /// Why, for an operator.
    pub why: String,
    /// Since when it is wanted.
    pub since: Lsn,
    /// Since this time, in microseconds since the epoch.
    pub since_micros: i64,
    /// The copies may differ from the source until it is done.
    pub is_doubt: bool,
    /// Rows are left out until it begins.
    pub leaves_out: bool,
    /// Every sink was told, where the doubt arose, that what happened to the rows since then is not known.
    pub is_told: bool,
    /// Who asks for it.
    pub asker: Asker,
    /// It does not begin before this time, in microseconds since the epoch.
    pub until: Option<i64>,
    /// How far it is.
    pub stage: Stage,
    /// Rows placed.
    pub rows: u64,
    /// The sinks were told that it replaces what they have, and not that it is done.
    pub replaces: bool,
}

/// How far a read is. Every stage is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It waits for its turn. A restart starts it.
    #[default]
    Waiting,
    /// Begun; its last key is not known yet. A restart takes that.
    Begun,
    /// Read in ranges: the source's own account of them. A restart goes on with those that are left.
    Ranges(Vec<u8>),
    /// To be read whole at one position. A restart reads it from its start.
    Whole,
    /// Every row is placed, and only the end is missing. A restart writes that.
    Placed,
}

impl Record for TableRecord {
    const ENTRY: &'static Entry = &TABLE;
}

impl TableRecord {
    /// Whether its changes are in the log.
    pub fn is_captured(&self) -> bool {
        matches!(self.capture, Capture::Since(_))
    }

    /// Whether a start makes it one that is captured, or is to be: `next` is the LSN that comes next in the log.
    pub fn is_captured_from(&self, next: Lsn) -> bool {
        matches!(self.capture, Capture::Since(since) if since >= next) || self.awaits.is_some()
    }

    /// The read of this number, while it is the one that is wanted.
    pub fn current(&self, number: u32) -> Option<&Read> {
        self.read.as_ref().filter(|read| read.number == number)
    }

    /// The read that a reader is to do. `sinks`: those that there are. A read for other sinks waits for them to come back.
    pub fn due(&self, sinks: &[String]) -> Option<&Read> {
        let is_due = !matches!(self.capture, Capture::Left(_)) && self.left_out.is_none() && self.awaits.is_none();
        self.read.as_ref().filter(|read| is_due && read.is_for_any(sinks))
    }

    /// Whether rows are left out whose schema is not known: a read that replaces every copy is going to bring them.
    pub fn leaves_out_unknown(&self) -> bool {
        let waits = |read: &Read| read.leaves_out && read.stage == Stage::Waiting;
        self.read.as_ref().is_some_and(waits) || self.next.as_ref().is_some_and(waits)
    }

    /// Whether a read of it that replaces every copy waits for its turn: a doubt joins it.
    pub fn waits_for_replacement(&self) -> bool {
        let waits = |read: &Read| {
            read.stage == Stage::Waiting
                && read.reach == Reach::Replace
                && read.audience == Audience::All
                && read.is_doubt
        };
        self.read.as_ref().is_some_and(waits) || self.next.as_ref().is_some_and(waits)
    }

    /// Whether the copies were emptied for the read that has begun, and its last key is not taken: every row that is there comes again.
    pub fn is_emptied(&self) -> bool {
        let read = self.read.as_ref().filter(|read| read.replaces && read.audience == Audience::All);
        // Once its last key is taken, rows beyond it come with the stream alone.
        read.is_some_and(|read| read.stage == Stage::Begun)
    }

    /// Whether a read is to bring rows that the copies may have otherwise.
    pub fn is_doubted(&self) -> bool {
        self.read.iter().chain(&self.next).any(|read| read.is_doubt)
    }

    /// As a state change; a table of which nothing is known has no record.
    ///
    /// # Errors
    /// A name beyond any server's limit.
    pub fn change(&self, table: &TableName) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        Ok((TABLE.of_table(table), if self.is_known() { Some(stored::encode(self)?) } else { None }))
    }

    /// Why it is left out, where an operator has said so.
    pub fn by_operator(&self) -> Option<&Fault> {
        self.left_out.as_ref().filter(|fault| fault.by == By::Operator)
    }

    /// Why it is left out, where that is because of what it is.
    pub fn nature(&self) -> Option<&Fault> {
        self.left_out.as_ref().filter(|fault| fault.by == By::Nature)
    }

    /// Whether it says anything of the table.
    pub fn is_known(&self) -> bool {
        Self { reads: 0, rest: Rest::default(), ..self.clone() } != Self::default()
    }
}

impl Read {
    /// Whether no one has asked for it.
    pub fn by_itself(&self) -> bool {
        self.asker == Asker::Itself
    }

    /// Whether it has begun: the sinks have been told.
    pub fn has_begun(&self) -> bool {
        self.stage != Stage::Waiting
    }

    /// Whether any of these sinks is to get it. Without a sink, the log keeps it for those that come.
    pub fn is_for_any(&self, sinks: &[String]) -> bool {
        sinks.is_empty() || self.audience == Audience::All || sinks.iter().any(|sink| self.audience.includes(sink))
    }

    /// Whether every row of the table is read.
    pub fn is_whole(&self) -> bool {
        matches!(self.reach, Reach::Whole | Reach::Replace)
    }
}

impl Reach {
    /// The word used in `status` and docs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Keys(_) => "keys",
            Self::Part { .. } => "part",
            Self::Whole => "values",
            Self::Replace => "rows",
        }
    }
}

/// Every table that the log knows.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn records(state: &impl State) -> Result<Vec<(TableName, TableRecord)>, Failure> {
    stored::of_tables(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;

    #[test]
    fn a_table_record_is_stored_as_committed() {
        let since = Lsn::new(70_000);
        let captured = TableRecord { capture: Capture::Since(since), reads: 300, ..TableRecord::default() };
        let fault = |by| Fault { since, since_micros: 1_700_000_000_000_000, why: "denied".into(), by };
        let read = |reach, stage| Read {
            number: 300,
            reach,
            audience: Audience::All,
            chunk_rows: None,
            why: "it was never read".into(),
            since,
            since_micros: 1_700_000_000_000_000,
            is_doubt: false,
            leaves_out: false,
            is_told: false,
            asker: Asker::Configured,
            until: None,
            stage,
            rows: 0,
            replaces: false,
        };
        let reading = |read| TableRecord { read: Some(read), ..captured.clone() };
        let part = Reach::Part { condition: "id > 5".into() };
        let for_one = Read {
            audience: Audience::Sinks(vec!["ch".into()]),
            chunk_rows: Some(700),
            is_doubt: true,
            leaves_out: true,
            is_told: true,
            asker: Asker::Itself,
            until: Some(1_700_000_600_000_000),
            rows: 1 << 40,
            replaces: true,
            ..read(Reach::Replace, Stage::Ranges(vec![0, 255]))
        };
        let keys = Keys { columns: vec!["id".into()], keys: [vec![7, 0, 0, 0], vec![9, 0, 0, 0]].into() };
        let awaits = |exists| Awaited { until: FilePos { file: "binlog.000002".into(), pos: 4 }, exists };
        fixture::check(&[
            ("unmet", TableRecord::default()),
            ("captured", captured.clone()),
            ("left", TableRecord { capture: Capture::Left(since), ..captured.clone() }),
            ("whole", TableRecord { complete: Some(Complete::Whole(since)), ..captured.clone() }),
            ("changes", TableRecord { complete: Some(Complete::Changes(since)), ..captured.clone() }),
            ("left_out", TableRecord { left_out: Some(fault(By::Nature)), ..captured.clone() }),
            ("skipped", TableRecord { left_out: Some(fault(By::Operator)), ..captured.clone() }),
            ("unreadable", TableRecord { unreadable: Some(fault(By::Doubt)), ..captured.clone() }),
            ("awaits_its_creation", TableRecord { awaits: Some(awaits(true)), ..TableRecord::default() }),
            ("awaits_its_end", TableRecord { awaits: Some(awaits(false)), ..captured.clone() }),
            ("waiting", reading(read(part, Stage::Waiting))),
            ("by_hand", reading(Read { asker: Asker::Operator, ..read(Reach::Whole, Stage::Waiting) })),
            ("keys", reading(read(Reach::Keys(keys), Stage::Waiting))),
            ("begun", reading(read(Reach::Whole, Stage::Begun))),
            ("at_once", reading(read(Reach::Replace, Stage::Whole))),
            ("placed", reading(read(Reach::Whole, Stage::Placed))),
            ("for_one_sink", reading(for_one.clone())),
            ("two_reads", TableRecord { next: Some(read(Reach::Replace, Stage::Waiting)), ..reading(for_one) }),
        ]);
    }
}
