//! What waits for an answer of the server: rows whose schema id is pending ([`Pending`]), and the questions about tables that are under
//! way.

use std::collections::{BTreeMap, HashMap, HashSet};

use wal::Lsn;

use crate::model::{FilePos, SchemaId, TableName, TableSchema};
use crate::source::mysql::follow::{Current, Description, Pending, Typed};
use crate::source::mysql::schema::Instead;

/// Names a question, so that a late answer to an earlier one is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Rows that wait for an answer: their schema id is pending.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) pending: Pending,
    pub(super) table: usize,
    /// When delivery began to wait for it, in milliseconds.
    pub(super) since: u64,
    /// The last frame of the group that brought it. The decision is stored once this is durable.
    pub(super) lsn: Lsn,
    /// A question that was asked before a statement that its rows come after: its answer is not about them.
    pub(super) not_by: Option<AskId>,
    /// What the server has said, where it is not known yet whether that holds for its rows.
    pub(super) answer: Option<Description>,
}

/// A question about a table's engine.
#[derive(Debug)]
pub(super) struct EngineAsked {
    pub(super) id: AskId,
    /// When it was asked, in milliseconds.
    pub(super) since: u64,
    /// What the server has said, where the stream has not come to the place of the answer.
    pub(super) answer: Option<EngineAnswer>,
}

/// What the server has said of a table's engine, and where its binlog ended then. It was so before, too, if the stream meets no
/// statement about the table until it comes there.
#[derive(Debug)]
pub(super) struct EngineAnswer {
    /// The engine takes changes back. Otherwise the account sees no such table.
    pub(super) is_seen: bool,
    pub(super) end: FilePos,
}

/// A question about a table that is under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: AskId,
    /// When it was asked, in milliseconds.
    pub(super) since: u64,
    /// A statement about the table was read since: the answer may be of an earlier definition.
    pub(super) stale: bool,
}

/// What the server shows under a table's name.
#[derive(Debug)]
pub(super) enum Shows {
    /// A table of this definition.
    Table(TableSchema),
    /// Something else, or nothing.
    Instead(Instead),
}

/// A question whether a table is a MERGE table.
#[derive(Debug)]
pub(super) struct MergeAsked {
    pub(super) id: AskId,
    /// When it was asked, in milliseconds.
    pub(super) since: u64,
    /// What the server has said (`None`: there is no such table), and where its binlog ended then.
    pub(super) answer: Option<(Option<bool>, FilePos)>,
}

/// A description that holds from a later place of the stream on.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) table: usize,
    /// The table's revision when it was asked.
    pub(super) revision: u64,
    pub(super) shows: Shows,
    pub(super) end: FilePos,
}

/// A decision that is not stored yet.
#[derive(Debug)]
pub(super) struct Decided {
    /// Stored once this is durable.
    pub(super) lsn: Lsn,
    /// The last frame of the rows that it is about.
    pub(super) rows: Lsn,
    /// Keys and values.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Doubts that are stored with them if the group that has the doubts is not durable.
    pub(super) asked: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is known of the types of a table once a type of the decision is believed: that must not be missing where the decision is
    /// durable. It is stored with it while it is the last that is known.
    pub(super) types: Option<(usize, Typed)>,
}

/// Everything that waits for an answer or for its group.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) pending: Vec<Waiter>,
    pub(super) decided: Vec<Decided>,
    /// Ids that were decided beside the groups, while the log was full: the doubt is still to be logged.
    pub(super) overdue: Vec<Waiter>,
    pub(super) early: Vec<Early>,
    pub(super) asked: HashMap<usize, Asked>,
    /// Tables of which a rollback cut rows off, and whose engine is asked for.
    pub(super) engines: HashMap<usize, EngineAsked>,
    /// Tables, captured or not, through which rows of others may have been written.
    pub(super) merges: BTreeMap<TableName, MergeAsked>,
    /// Tables that are no MERGE tables, as the server has said since a statement about them.
    pub(super) plain: HashSet<TableName>,
    /// Tables of which the server has not said how they are defined, and when it is asked again, in milliseconds.
    pub(super) silent: HashMap<usize, u64>,
    /// Tables that differ from what is known without a statement, whose reads wait for the answer: until when, in
    /// milliseconds.
    pub(super) unexplained: HashMap<usize, u64>,
    /// Ids that were left out in this run, and what was known before each.
    left_out: HashMap<SchemaId, Option<Current>>,
    last_ask: u64,
}

impl Waiting {
    /// An id for a question.
    pub(super) fn new_ask(&mut self) -> AskId {
        self.last_ask += 1;
        AskId(self.last_ask)
    }

    /// Whether a table has an id that is not decided.
    pub(super) fn has_pending(&self, table: usize) -> bool {
        self.pending.iter().any(|waiter| waiter.table == table)
    }

    /// Whether a table is asked about, or the stream has not come to the place of the answer.
    pub(super) fn is_asked(&self, table: usize) -> bool {
        self.asked.contains_key(&table) || self.early.iter().any(|early| early.table == table)
    }

    /// Whether there is anything to look at when time passes or the stream moves.
    pub(super) fn is_empty(&self, now: u64) -> bool {
        self.silent.values().all(|again| now < *again)
            && self.pending.is_empty()
            && self.decided.is_empty()
            && self.overdue.is_empty()
            && self.early.is_empty()
            && self.unexplained.is_empty()
            && self.engines.values().all(|asked| asked.answer.is_none())
            && self.merges.values().all(|asked| asked.answer.is_none())
    }

    /// The rows under an id are left out.
    pub(super) fn leave_out(&mut self, id: SchemaId, before: Option<Current>) {
        self.left_out.insert(id, before);
    }

    /// Ids that are not decided, in their order, of those that `which` wants.
    pub(super) fn ids(&self, which: impl Fn(&Waiter) -> bool) -> Vec<SchemaId> {
        self.pending.iter().filter(|waiter| which(waiter)).map(|waiter| waiter.pending.id).collect()
    }

    /// Takes an id out, to be decided. One at a time: deciding one changes what others know of it.
    pub(super) fn take(&mut self, id: SchemaId) -> Option<Waiter> {
        let place = self.pending.iter().position(|waiter| waiter.pending.id == id)?;
        Some(self.pending.remove(place))
    }

    /// The server has answered about a table.
    pub(super) fn attach(&mut self, table: usize, ask: AskId, answer: &Description) {
        for waiter in self.pending.iter_mut().filter(|waiter| waiter.table == table) {
            if waiter.not_by != Some(ask) {
                waiter.answer = Some(answer.clone());
            }
        }
    }

    /// A schema id is known: what comes after it goes by what it is now.
    pub(super) fn know(&mut self, known: &Current) {
        let pending = self.pending.iter_mut().chain(&mut self.overdue).map(|waiter| &mut waiter.pending.before);
        for before in pending.chain(self.left_out.values_mut()).flatten().filter(|before| before.id == known.id) {
            before.clone_from(known);
        }
    }

    /// The schema itself, or the last one before it that is not left out.
    pub(super) fn not_left_out(&self, mut schema: Option<Current>) -> Option<Current> {
        while let Some(before) = schema.as_ref().and_then(|schema| self.left_out.get(&schema.id)) {
            schema.clone_from(before);
        }
        schema
    }
}
