//! The core of ingest: what each event of the stream, each request of a snapshot reader and each answer of the server does to
//! the log. Pure: events in, actions out. It reads no clock and waits for nothing; the driver ([`super::run`]) does the I/O.
//!
//! - One group is open at a time ([`super::group`]). [`Core::commit`] hands all of it to the log as one step, together with the
//!   position after it; [`Core::roll_back`] and [`Core::disconnected`] drop it, and nothing of it stays.
//! - Rows are logged under the schema of their own `TABLE_MAP` ([`schema`](self)). What the binlog does not say is asked as an
//!   [`Action`]; the answer is an event ([`answers`](self)).
//! - Requests of snapshot readers and answers are taken between groups only.

mod answers;
mod by_hand;
mod compare;
mod divert;
mod ending;
mod engines;
mod late;
mod life;
mod merges;
mod natures;
mod outcome;
mod partial;
mod place;
mod predicted;
mod renames;
mod resync;
mod rows;
mod schema;
mod statement;
mod temporary;
mod unnamed;
mod unseen;
mod xa;

use std::sync::Arc;
use std::time::Duration;

use wal::Lsn;

pub use self::answers::Answer;
use self::compare::Comparing;
use self::divert::Diversions;
pub use self::divert::{DivertedRows, Diverting, Spooling};
pub use self::late::Records;
pub use self::place::Chunk;
use self::place::WaitingChunk;
pub use self::resync::Refused;
pub use self::rows::Rows;
use self::rows::Slot;
pub use self::temporary::SessionId;
use super::frames::FRAME_BYTES;
use super::group::OpenGroup;
use super::ledger::{Ledger, Log};
use super::pending::{AskId, Waiter, Waiting};
use super::state::{self, Counts};
pub use super::tables::{ChangedLife, Due};
use super::tables::{Definition, Tables, stored_current};
use super::windows::Windows;
use super::xa::{PIECE_BYTES, XaState};
use crate::codec::frame::TableChange;
use crate::codec::state::State;
use crate::config::{DoubtPlan, TableFilter};
use crate::error::Failure;
use crate::model::{FilePos, ServerIdentity, SourcePosition, TableName};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::{Described, Dialect, Fate, Pending, Unnamed};
use crate::source::mysql::schema::Flavour;
use crate::source::mysql::snapshot::handoff::{Placed, WindowId};
use crate::table::{Stage, TableRecord};

/// What the core is told of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which tables are captured.
    pub filter: TableFilter,
    /// Whether rows that were there before a table is captured are read (`startup_mode: initial`).
    pub initial: bool,
    /// The sinks that are configured.
    pub sinks: Vec<String>,
    /// How long delivery may wait for an answer about a table, in milliseconds (`source.describe_wait`).
    pub describe_wait: u64,
    /// What is done about doubts.
    pub doubts: DoubtPlan,
    /// Row bytes after which a frame is closed; [`Settings::FRAME_BYTES`] but in a simulation.
    pub frame_bytes: usize,
    /// Row bytes of prepared two-phase transactions that are kept at most (`source.xa_bytes`).
    pub xa_bytes: u64,
    /// Row bytes after which a piece of one is stored; [`Settings::XA_PIECE_BYTES`] but in a simulation.
    pub xa_piece_bytes: usize,
}

impl Settings {
    /// What fills a block of the log.
    pub const FRAME_BYTES: usize = FRAME_BYTES;
    /// What one read of the log's state gives back.
    pub const XA_PIECE_BYTES: usize = PIECE_BYTES;
}

/// How long a run that has to end waits for the answer about a statement, in milliseconds: a table may be locked for as long as it likes.
/// What is not answered then is asked again at the next start.
const ANSWER_WAIT: u64 = 10_000;

/// A position that has moved over nothing that the log keeps is stored once in so many milliseconds, in the long run.
/// It is so much of the binlog that a start reads again; a server keeps its files for longer.
const POSITION_WAIT: u64 = 10_000;
/// So many such positions are stored at once, where none was for a while: then the status is current.
const POSITIONS_AHEAD: u64 = 4;

/// What the core is told of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which of the two.
    pub flavour: Flavour,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
    /// What positions belong to.
    pub identity: ServerIdentity,
    /// Its table maps have the names of the columns (`binlog_row_metadata=FULL`), as far as its setting says.
    pub tells_names: bool,
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Action {
    /// Ask the server for the table's definition, and where the binlog ended then. Answered by [`Answer::Described`].
    Describe {
        /// The table.
        table: TableName,
        /// Names the question.
        ask: AskId,
    },
    /// Ask the server whether the table's engine takes changes back, and where the binlog ended then. Answered by
    /// [`Answer::Engine`].
    AskEngine {
        /// The table.
        table: TableName,
        /// Names the question.
        ask: AskId,
    },
    /// Ask the server whether a table, captured or not, is a MERGE table, and where the binlog ended then. Answered by
    /// [`Answer::Merge`].
    AskMerge {
        /// The table.
        table: TableName,
        /// Names the question.
        ask: AskId,
    },
    /// Ask the server how all captured tables are defined. Answered by [`Answer::Compared`].
    Compare,
    /// Tell a snapshot reader what became of its chunk.
    Placed {
        /// The chunk's window.
        window: WindowId,
        /// What became of it.
        placed: Placed,
    },
    /// Store records beside the groups, at once, also while the log is full: delivery waits for them.
    Store(Records),
}

/// The state machine.
#[derive(Debug)]
pub struct Core<L> {
    settings: Settings,
    facts: Facts,
    ledger: Ledger<L>,
    tables: Tables,
    group: OpenGroup,
    windows: Windows,
    diversions: Diversions,
    xa: XaState,
    temporary: temporary::Temporary,
    chunks: Vec<WaitingChunk>,
    waiting: Waiting,
    comparing: Comparing,
    /// By the decoder's slot numbers.
    slots: Vec<Option<Slot>>,
    actions: Vec<Action>,
    /// Changes of tables in groups that have ended, for counting.
    changed: Vec<TableChange>,
    /// Milliseconds of a clock that only goes forward, as the driver said last.
    now: u64,
    /// Microseconds since the epoch, as the driver said last: the time of frames that the core makes itself.
    wall: i64,
    /// Until when the positions that were stored alone are paid for, by the clock of `now`: each costs
    /// [`POSITION_WAIT`].
    paid: u64,
}

impl Facts {
    pub(super) fn dialect(&self) -> Dialect {
        Dialect { flavour: self.flavour, version: self.version }
    }
}

impl<L: Log> Core<L> {
    /// The core over a log, as its state says.
    ///
    /// # Errors
    /// Fatal, when the state cannot be read or has no position.
    pub fn load(log: L, state: &impl State, settings: Settings, facts: Facts) -> Result<Self, Failure> {
        let position = state::stored_position(state)?;
        let position = position.ok_or_else(|| Failure::fatal("the log has no source position"))?;
        let (tables, stored) = Tables::load(state, &settings.sinks)?;
        let ledger = Ledger::new(log, position)?;
        let mut waiting = Waiting::default();
        for pending in stored {
            let table = tables.find(&pending.seen.name).unwrap_or_default();
            let before = pending.before.map(|before| stored_current(state, before)).transpose()?.flatten();
            let mut pending = Pending {
                id: pending.id,
                seen: Arc::new(pending.seen),
                unknown: pending.unknown,
                lost: Vec::new(),
                before,
                fate: Fate::Untouched,
                unnamed: pending.unnamed.map(|lacks| Unnamed { lacks, after: None }),
            };
            pending.reopened(&tables.at(table).definition.followed);
            waiting.pending.push(Waiter { pending, table, since: 0, lsn: Lsn::ZERO, not_by: None, answer: None });
        }
        let xa = XaState::load(state)?;
        let is_read_whole = |life: &TableRecord| life.read.as_ref().is_some_and(|read| read.stage == Stage::Whole);
        let is_unfinished = |definition: &Definition| definition.waits || is_read_whole(&definition.life);
        let unfinished = tables.iter().filter(|(_, table)| is_unfinished(&table.definition)).map(|(index, _)| index);
        Ok(Self {
            diversions: Diversions::after_start(unfinished.collect()),
            xa,
            group: OpenGroup::new(settings.frame_bytes),
            settings,
            facts,
            ledger,
            tables,
            windows: Windows::default(),
            temporary: temporary::Temporary::default(),
            chunks: Vec::new(),
            waiting,
            comparing: Comparing::default(),
            slots: Vec::new(),
            actions: Vec::new(),
            changed: Vec::new(),
            now: 0,
            wall: 0,
            paid: 0,
        })
    }

    /// The configuration was read again: rules from here on.
    pub fn set_rules(&mut self, doubts: DoubtPlan, describe_wait: Duration) {
        self.settings.doubts = doubts;
        self.settings.describe_wait = u64::try_from(describe_wait.as_millis()).unwrap_or(u64::MAX);
    }

    /// What time it is: milliseconds of a clock that only goes forward, and microseconds since the epoch.
    pub fn set_time(&mut self, now: u64, wall: i64) {
        self.now = now;
        self.wall = wall;
    }

    /// A stream has been opened: of this server, from this position, which is where the log ends. `end`: the end of its binlog, where
    /// [`Core::needs_end`] asks for it.
    ///
    /// # Errors
    /// Fatal, when the position cannot be read or a record cannot be stored.
    pub fn connected(&mut self, facts: Facts, from: &SourcePosition, end: Option<&FilePos>) -> Result<(), Failure> {
        let left_at = self.ledger.position();
        self.facts = facts;
        self.comparing.connected(self.now);
        self.ledger.resume(from)?;
        self.remove_orphans();
        let last = self.xa.last.take();
        self.xa.recent.start(last, self.now, self.wall);
        self.lose_unfinished()?;
        if let Some(end) = end {
            let end = Described::at(&self.facts.identity, end)?;
            self.renew_marks(&left_at, &end);
            self.commit_here()?;
        }
        if let Some(end) = end.filter(|_| left_at.server != self.facts.identity) {
            self.move_awaited(end)?;
        }
        let tables: Vec<usize> = self.tables.iter().map(|(index, _)| index).collect();
        for table in tables {
            let definition = &self.tables.at(table).definition;
            let cut_back = definition.cut_back;
            let is_in_question = natures::is_in_question(definition);
            // Whoever was silent before may answer now, and no reader would hear it.
            let was_silent = definition.life.unreadable.is_some() && definition.life.read.is_none();
            // A table that is no longer captured is asked about only for its earlier rows, which wait for the answer.
            let is_open = definition.followed.is_unsettled() || was_silent || is_in_question;
            if self.waiting.has_pending(table) || (is_open && self.captures(&self.tables.at(table).name)) {
                self.ask(table);
            }
            if cut_back {
                self.ask_engine(table);
            }
            self.ask_merges_of(table);
        }
        self.pass_lives()
    }

    /// Whether [`Core::connected`] needs to know where the binlog of this server ends.
    pub fn needs_end(&self, server: &ServerIdentity) -> bool {
        let is_another = self.ledger.position().server != *server;
        (is_another && self.awaits())
            || self.tables.iter().any(|(_, table)| table.definition.followed.typed().is_described_by_another(server))
    }

    /// The stream is gone. What was open is forgotten, in the log and here; every snapshot window is worthless.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn disconnected(&mut self) -> Result<(), Failure> {
        self.abort()?;
        self.comparing.disconnected();
        self.slots.clear();
        self.waiting.asked.clear();
        self.waiting.early.clear();
        self.waiting.engines.clear();
        self.waiting.merges.clear();
        self.waiting.plain.clear();
        self.temporary.forget();
        self.xa.listing = None;
        self.waiting.silent.clear();
        for waiter in &mut self.waiting.pending {
            // Where the next server's binlog ends is another place.
            waiter.answer = None;
            waiter.not_by = None;
        }
        if is_on(Mutant::WindowKeysForgottenAtReconnect) {
            self.windows.forget_keys();
        } else {
            self.windows.discard_all();
        }
        self.lose_every("the stream was opened again while the table was read whole")?;
        self.place_chunks()
    }

    /// What the driver has to do. The caller takes all of it.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is something to do.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Changes of tables in groups that have ended since this was last called.
    pub fn take_changes(&mut self) -> Vec<TableChange> {
        std::mem::take(&mut self.changed)
    }

    /// The log.
    pub fn log_mut(&mut self) -> &mut L {
        self.ledger.log_mut()
    }

    /// The log.
    pub fn log(&self) -> &L {
        self.ledger.log()
    }

    /// The position after the last group.
    pub fn position(&self) -> SourcePosition {
        self.ledger.position()
    }

    /// Whether the last group ended at or after a place.
    ///
    /// # Errors
    /// Fatal, when binlog files cannot be ordered.
    pub fn reaches(&self, place: &FilePos) -> Result<bool, Failure> {
        self.ledger.reaches(place)
    }

    /// Whether the stream's file is known, so that places of other connections can be compared with it.
    pub fn knows_its_file(&self) -> bool {
        self.ledger.knows_its_file()
    }

    /// Whether frames of the open group are on their way to the log.
    pub fn is_fragmented(&self) -> bool {
        self.group.frames.has_left() || self.group.xa.has_left()
    }

    /// Row counters of every table, as of the last group.
    pub fn counts(&self) -> impl Iterator<Item = (&TableName, Counts)> {
        self.tables.iter().map(|(_, table)| (&table.name, table.counts()))
    }

    /// Those of the tables that had rows since [`Core::seal`] was last called.
    pub fn changed_counts(&self) -> impl Iterator<Item = (&TableName, Counts)> {
        self.tables.changed().map(|table| (&table.name, table.counts()))
    }

    /// Whether any chunk waits for the stream to pass it.
    pub fn has_chunks(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Whether an answer is still worth waiting for before the stream counts as read: rows wait for one, or a statement's result is asked
    /// for, and not for longer than [`ANSWER_WAIT`].
    pub fn waits_for_answers(&self) -> bool {
        let waits = |since: u64| self.now.saturating_sub(since) < ANSWER_WAIT;
        !self.waiting.is_empty(self.now)
            || self.comparing.asked().is_some_and(waits)
            || self.waiting.asked.values().any(|asked| waits(asked.since))
            || self.waiting.engines.values().any(|asked| waits(asked.since))
            || self.waiting.merges.values().any(|asked| waits(asked.since))
    }

    /// Tables whose definition is asked for, or whose answer waits for the stream to come to its place.
    pub fn asking(&self) -> Vec<TableName> {
        let waiting = &self.waiting;
        let pending = waiting.pending.iter().map(|waiter| waiter.table);
        let tables = waiting.asked.keys().copied().chain(waiting.early.iter().map(|early| early.table)).chain(pending);
        let tables = tables.map(|table| self.tables.at(table).name.clone());
        let mut tables: Vec<TableName> = tables.chain(waiting.merges.keys().cloned()).collect();
        tables.sort();
        tables.dedup();
        tables
    }

    /// The last frame of the last group.
    pub fn ended(&self) -> Lsn {
        self.ledger.ended()
    }

    /// Whether [`Core::look`] has anything to look at.
    pub fn has_to_look(&self) -> bool {
        !self.waiting.is_empty(self.now) || self.comparing.is_due(self.now)
    }

    pub(super) fn captures(&self, table: &TableName) -> bool {
        self.settings.filter.captures(&table.database, &table.table)
    }

    /// The table's definition in the open group.
    fn definition(&self, table: usize) -> &Definition {
        self.group.definitions.get(&table).unwrap_or_else(|| &self.tables.at(table).definition)
    }

    /// The table's definition, to be changed by the open group.
    fn redefine(&mut self, table: usize) -> &mut Definition {
        let revision = self.tables.new_revision();
        let committed = &self.tables.at(table).definition;
        let definition = self.group.definitions.entry(table).or_insert_with(|| committed.clone());
        definition.revision = revision;
        definition
    }

    /// The table's index and definition, if it has one.
    fn find(&self, table: &TableName) -> Option<(usize, &Definition)> {
        let index = self.tables.find(table)?;
        Some((index, self.definition(index)))
    }

    /// Makes what has ended ready to be handed over: the position and the counters that belong to it. Says whether there is anything
    /// that was not handed over before.
    ///
    /// # Errors
    /// Fatal, when a record cannot be stored.
    pub fn seal(&mut self) -> Result<bool, Failure> {
        let counters = self.tables.changed_counters()?;
        let sealed = self.ledger.seal(&counters)?;
        Ok(sealed || self.ledger.log().pending_bytes() > 0)
    }

    /// As [`Core::seal`]. A position that has moved over nothing that the log keeps is stored alone so often as
    /// [`POSITION_WAIT`] allows, and otherwise waits for that, or for what the log keeps next. A source that writes to
    /// other tables only does not make the log sync each of its transactions; after a crash the stream reads them
    /// again.
    ///
    /// # Errors
    /// As [`Core::seal`].
    pub fn seal_in_time(&mut self) -> Result<bool, Failure> {
        let is_alone = !self.ledger.has_changed() && !self.tables.has_changed_counters();
        if is_alone {
            if !self.ledger.has_moved() || self.paid > self.now.saturating_add(POSITIONS_AHEAD * POSITION_WAIT) {
                return Ok(false);
            }
            self.paid = self.paid.max(self.now).saturating_add(POSITION_WAIT);
        }
        self.seal()
    }
}
