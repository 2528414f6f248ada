//! The driver: what `ingest/run.rs` and `ingest/reading.rs` do around the core, step by step. Any step may be the last one before a
//! crash.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use replicator::error::Failure;
use replicator::ingest;
use replicator::ingest::core::{Action, ChangedLife, Core, Due, Rows, Settings};
use replicator::ingest::ledger::{Boundary, Log as _};
use replicator::model::{FilePos, Gtid, Origin};
use replicator::source::mysql::ddl::SqlMode;
use replicator::source::mysql::snapshot::handoff::{Placed, WindowId};

use super::binlog::{Item, Stream};
use super::captured::Captured;
use super::clock::Time;
use super::coordinator::Coordinator;
use super::log::SimLog;
use super::questions::{Questions, shown};
use super::requests::{Actor, Reply};
use super::rng::Rng;
use super::server::{Server, file_name};
use super::tables::Name;
use super::tails::Waiting;
use super::trace;
use super::truth::{SnapshotRows, Truth};

/// Steps that may be handed over and not durable before the loop waits for a log that is full.
const QUEUE: usize = 5;

/// What goes wrong in the simulated world.
pub type Finding = String;

/// A process, from its start to its end.
pub struct Daemon {
    pub(super) core: Core<SimLog>,
    pub coordinator: Coordinator,
    pub(super) session: Option<Session>,
    pub(super) truth: Truth,
    pub(super) windows: HashMap<WindowId, Name>,
    captured: Captured,
    /// Sinks for which the log has it that every table is read.
    pub(super) read_for: Vec<&'static str>,
    /// A window has to wait for the time.
    pub(super) has_held: bool,
}

/// One connection's worth of reading.
pub(super) struct Session {
    pub(super) stream: Stream,
    pub(super) questions: Questions,
    pub(super) readers: HashMap<WindowId, Actor>,
    /// Tables whose rows wait for their copy.
    pub(super) tails: BTreeMap<Name, Waiting>,
    pub(super) mode: Mode,
}

/// What the loop is doing.
pub(super) enum Mode {
    Reading,
    /// What was said has to be durable before it is answered, and whether what is read is wanted.
    Durable(Whom, bool),
    /// Rows of a prepared transaction have to be durable before they are given back: the entry that commits it, and its origin.
    Replay(Rc<(usize, Origin)>),
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    Reader(Actor),
    Sink(&'static str),
}

/// A failure of the core.
#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
pub fn failed(failure: Failure) -> Finding {
    format!("the core failed: {}", failure.chain())
}

impl Daemon {
    /// Starts over a log, as it is stored.
    pub fn start(
        log: SimLog,
        server: &Server,
        (settings, captured): (Settings, Captured),
        coordinator: Coordinator,
    ) -> Result<Self, Finding> {
        let stored = log.values().clone();
        let truth = log.truth().clone();
        let core = Core::load(log, &stored, settings, server.facts()).map_err(failed)?;
        let (windows, read_for) = (HashMap::new(), Vec::new());
        Ok(Self { core, coordinator, session: None, truth, windows, captured, read_for, has_held: false })
    }

    pub fn log(&self) -> &SimLog {
        self.core.log()
    }

    pub fn set_time(&mut self, time: Time) {
        self.core.set_time(time.now, time.wall);
    }

    /// Every sink has applied so many frames.
    pub fn applied(&mut self, applied: usize, is_trimmed: bool) {
        self.core.log_mut().applied(applied, is_trimmed);
    }

    /// Sinks for which the log has it, since this was last called, that every table is read.
    pub fn take_read_for(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.read_for)
    }

    /// What a crash leaves.
    pub fn crash(mut self) -> SimLog {
        let mut log = std::mem::replace(self.core.log_mut(), SimLog::new([], 0));
        log.crash();
        log
    }

    /// The next step becomes durable.
    pub fn sync(&mut self) {
        self.core.log_mut().sync();
    }

    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Whether it reads its stream, and a group is not open.
    pub fn is_between_groups(&self) -> bool {
        self.is_reading() && self.session.as_ref().is_some_and(|session| session.stream.at_boundary())
    }

    /// Whether it reads its stream, and would notice that it is lost.
    pub fn is_reading(&self) -> bool {
        !self.waits_for_log() && self.session.as_ref().is_some_and(|session| matches!(session.mode, Mode::Reading))
    }

    /// Whether the loop waits for the log: until it takes what is handed over, or has it.
    pub fn waits_for_log(&self) -> bool {
        let waiting = self.log().waiting();
        match self.session.as_ref().map(|session| &session.mode) {
            // Before it connects again, everything is durable.
            None => waiting > 0,
            Some(Mode::Durable(..) | Mode::Replay(_)) => true,
            Some(Mode::Reading) => self.log().is_full() && waiting > QUEUE,
        }
    }

    /// What rows wait for is decided also inside a group, and while the loop waits for the log.
    pub fn decide_beside(&mut self) -> Result<(), Finding> {
        for records in self.core.decide_beside().map_err(failed)? {
            trace::note(|| "daemon: decides beside the groups".to_owned());
            self.store(records)?;
        }
        Ok(())
    }

    /// Stores records after what has ended, unless the log is full.
    fn store(&mut self, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Finding> {
        if !self.core.log_mut().is_full() {
            self.seal_and_flush()?;
        }
        self.core.log_mut().store(records);
        Ok(())
    }

    /// Opens the stream where the log ends.
    pub fn connect(&mut self, server: &Server) -> Result<(), Finding> {
        if self.is_connected() || self.log().waiting() > 0 {
            return Ok(());
        }
        let stored = ingest::stored_position(self.log().values()).map_err(failed)?;
        let from = stored.ok_or("the log has no position")?;
        let file = FilePos { file: from.file.clone(), pos: from.pos };
        let entry = server
            .entry_of(file.file_number().unwrap_or(0), file.pos)
            .ok_or_else(|| format!("{file:?} is no boundary of the binlog"))?;
        trace::note(|| format!("daemon: connects after entry {entry}"));
        if self.core.needs_end(&server.facts().identity) {
            return Err("the same server is taken for another one".to_owned());
        }
        let prepared = self.core.prepared_transactions();
        self.core.connected(server.facts(), &from, None).map_err(failed)?;
        if !prepared.is_empty() {
            let place = server.place(server.end());
            self.core.listed(prepared, server.xa.listed(), (place, 0)).map_err(failed)?;
        }
        self.session = Some(Session {
            stream: Stream::new(entry, self.captured),
            questions: Questions::default(),
            readers: HashMap::new(),
            tails: BTreeMap::new(),
            mode: Mode::Reading,
        });
        self.act()?;
        Ok(())
    }

    /// The stream is lost, or the daemon is told to stop.
    pub fn disconnect(&mut self) -> Result<(), Finding> {
        let Some(session) = &mut self.session else { return Ok(()) };
        trace::note(|| "daemon: the stream ends".to_owned());
        session.mode = Mode::Reading;
        self.core.disconnected().map_err(failed)?;
        self.act()?;
        if let Some(session) = self.session.take() {
            for actor in session.readers.into_values() {
                self.coordinator.reply(actor, Reply::Lost);
            }
        }
        self.seal_and_flush()?;
        self.tell_readers()
    }

    pub(super) fn seal_and_flush(&mut self) -> Result<(), Finding> {
        if self.core.seal().map_err(failed)? {
            self.core.log_mut().flush(&self.truth);
        }
        Ok(())
    }

    fn tell_readers(&mut self) -> Result<(), Finding> {
        for ChangedLife { table, due, .. } in self.core.changed_lives() {
            match due {
                Due::AsBefore => {}
                Due::Nothing => self.coordinator.told(&table, None)?,
                Due::Read(read) => self.coordinator.told(&table, Some(*read))?,
            }
        }
        Ok(())
    }

    /// Hands over what has ended, with its position.
    pub fn hand_over(&mut self) -> Result<(), Finding> {
        self.seal_and_flush()?;
        self.tell_readers()
    }

    /// Takes the next event. False: there is none, or the stream stands still.
    pub fn event(&mut self, server: &Server, rng: &mut Rng) -> Result<bool, Finding> {
        if let Some(Mode::Replay(at)) = self.session.as_ref().map(|session| &session.mode)
            && self.log().waiting() == 0
        {
            let at = Rc::clone(at);
            if let Some(session) = &mut self.session {
                session.mode = Mode::Reading;
            }
            self.replay(server, at.0, &at.1)?;
            return Ok(true);
        }
        if !self.is_reading() {
            return Ok(false);
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        let Some(item) = session.stream.next(server) else { return Ok(false) };
        let is_between = session.stream.at_boundary();
        let boundary = session.stream.boundary();
        trace::note(|| format!("stream: {}, after entry {boundary}", described(&item)));
        let core = &mut self.core;
        match item {
            Item::Nothing => {
                if is_between {
                    at(server, boundary, |place| core.pass(place)).map_err(failed)?;
                    self.passed()?;
                }
            }
            Item::Schema { slot, told, origin } => core.table_map(slot, &told, &origin).map_err(failed)?,
            Item::Rows { slot, op, rows, columns, images, origin } => {
                core.rows(slot, Rows { op, rows, columns, images: &images }, &origin).map_err(failed)?;
                if core.is_fragmented() && rng.percent(50) {
                    self.seal_and_flush()?;
                }
            }
            Item::Partial { slot, partial, origin } => core.partial(slot, &partial, &origin).map_err(failed)?,
            Item::Statement { sql, origin, ends } => {
                core.statement(&sql, "", SqlMode::from_bits(0), &origin).map_err(failed)?;
                if ends {
                    self.end_of_group(server, boundary, &origin)?;
                }
            }
            Item::BeginXa { xid, origin } => core.begin_xa(xid, &origin).map_err(failed)?,
            Item::Prepare { one_phase, origin } => {
                core.prepare(one_phase).map_err(failed)?;
                self.replay(server, boundary, &origin)?;
            }
            Item::Outcome { xid, commits, origin } => {
                core.outcome(&xid, commits, &origin).map_err(failed)?;
                self.replay(server, boundary, &origin)?;
            }
            Item::Commit { origin } => self.end_of_group(server, boundary, &origin)?,
            Item::Rollback { origin } => {
                let gtid = origin.binlog().gtid.clone();
                at(server, boundary, |place| core.roll_back(place, &origin, Some(&gtid))).map_err(failed)?;
                self.passed()?;
            }
            Item::CutOff { origin } => {
                at(server, boundary, |place| core.roll_back(place, &origin, None)).map_err(failed)?;
                self.passed()?;
            }
        }
        self.spool();
        Ok(true)
    }

    pub(super) fn end_of_group(&mut self, server: &Server, boundary: usize, origin: &Origin) -> Result<(), Finding> {
        let gtid: Gtid = origin.binlog().gtid.clone();
        at(server, boundary, |place| self.core.commit(place, origin, &gtid)).map_err(failed)?;
        self.passed()
    }

    /// The server has nothing more to send.
    pub fn heartbeat(&mut self, server: &Server) -> Result<(), Finding> {
        if !self.is_between_groups() {
            return Ok(());
        }
        let Some(session) = &self.session else { return Ok(()) };
        let boundary = session.stream.boundary();
        at(server, boundary, |place| self.core.pass(place)).map_err(failed)?;
        self.passed()
    }

    pub(super) fn passed(&mut self) -> Result<(), Finding> {
        self.act()
    }

    /// Does what the core asks for.
    pub(super) fn act(&mut self) -> Result<(), Finding> {
        for action in self.core.take_actions() {
            trace::note(|| format!("core: {action:?}"));
            match action {
                Action::Describe { table, ask } => {
                    if let Some(session) = &mut self.session {
                        session.questions.describe(ask, table);
                    }
                }
                Action::Compare => {
                    if let Some(session) = &mut self.session {
                        session.questions.compare();
                    }
                }
                Action::AskEngine { table, ask } => {
                    if let Some(session) = &mut self.session {
                        session.questions.engine(ask, table);
                    }
                }
                // The model of the server has no MERGE tables, and a statement maps nothing that it does not write to.
                Action::AskMerge { .. } => {}
                Action::Placed { window, placed } => self.placed(window, placed),
                Action::Store(records) => self.store(records)?,
            }
        }
        self.spool();
        Ok(())
    }

    pub(super) fn placed(&mut self, window: WindowId, placed: Placed) {
        if let (Placed::Appended { kept, superseded }, Some(name)) = (placed, self.windows.remove(&window)) {
            let rows = SnapshotRows { read: u64::from(kept + superseded), filtered: u64::from(superseded) };
            self.truth.placed(name, rows);
        }
        let reader = self.session.as_mut().and_then(|session| session.readers.remove(&window));
        if let Some(actor) = reader {
            self.coordinator.reply(actor, Reply::Placed(placed));
        }
    }

    /// The server answers a question.
    pub fn ask(&mut self, server: &Server, rng: &mut Rng, refused: usize) {
        if let Some(session) = &mut self.session {
            session.questions.ask(server, rng, refused);
        }
    }

    /// Takes an answer, between groups.
    pub fn answer(&mut self, rng: &mut Rng) -> Result<bool, Finding> {
        if !self.is_between_groups() {
            return Ok(false);
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        let Some(answer) = session.questions.answer(rng) else { return Ok(false) };
        trace::note(|| format!("answer: {}", shown(&answer)));
        self.core.answer(answer).map_err(failed)?;
        self.act()?;
        Ok(true)
    }

    /// Looks at what waits for the time, for the stream or for the log.
    pub fn look(&mut self) -> Result<(), Finding> {
        if !self.is_between_groups() {
            return Ok(());
        }
        if self.core.has_to_look() {
            self.core.look().map_err(failed)?;
        }
        self.act()?;
        Ok(())
    }
}

fn at<T>(server: &Server, entry: usize, with: impl FnOnce(Boundary<'_>) -> T) -> T {
    let placed = server.entry(entry);
    let file = file_name(placed.file);
    with(Boundary { file: &file, file_created: Server::file_created(placed.file), pos: placed.end })
}

fn described(item: &Item) -> String {
    match item {
        Item::Nothing => "nothing".to_owned(),
        Item::Schema { told, .. } => format!("schema of {}, without {:?}", told.schema.name, told.lacks),
        Item::Rows { op, rows, .. } => format!("{rows} rows, {op:?}"),
        Item::Partial { partial, .. } => format!("{} rows in part, {:?}", partial.rows(), partial.op()),
        Item::Statement { sql, .. } => sql.clone(),
        Item::Commit { .. } => "commit".to_owned(),
        Item::BeginXa { xid, .. } => format!("two-phase transaction {xid}"),
        Item::Prepare { one_phase, .. } => format!("prepare, in one phase {one_phase}"),
        Item::Outcome { xid, commits, .. } => format!("outcome of {xid}, commits {commits}"),
        Item::Rollback { .. } => "rollback".to_owned(),
        Item::CutOff { .. } => "cut off".to_owned(),
    }
}
