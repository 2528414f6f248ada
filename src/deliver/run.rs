//! The delivery loop of one sink.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Block, Lsn, Wal};

use super::doubt::Wish;
use super::open::Open;
use super::pending::{AFTER_THE_END, first_undecided_of_group};
use super::reset::Appended;
use super::settle::{Applied, Sent};
use crate::backoff::Backoff;
use crate::dead::{Hub, Letters};
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;
use crate::sink::{Captured, Notes, Sink, StoppedTable};
use crate::telemetry::{SinkLive, SinkPhase};

/// Bytes of the log read at once.
const READ_BYTES: usize = 2 << 20;
/// How long a shutdown waits for what is already in the log to reach the sink.
const DRAIN: Duration = Duration::from_secs(5);
/// How long it waits for a target that does not answer. The whole daemon has ten seconds.
const CUT_OFF: Duration = Duration::from_secs(7);

/// Why a sink is stopped whose target was cut off.
const NO_ANSWER: &str = "the target did not answer when it was stopped";

/// How often a sink with nothing to write is asked whether its target is still there.
pub(super) const PROBE: Duration = Duration::from_secs(1);

/// Until when a sink is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Until told to stop.
    Forever,
    /// Until everything up to this LSN is applied.
    Reach(Lsn),
}

/// What a delivery is connected to.
#[derive(Debug)]
pub struct Wiring {
    /// The log.
    pub wal: Wal,
    /// Where it shows what it does. The sink's cursor has this name, and exists.
    pub live: Arc<SinkLive>,
    /// Ends the delivery. What is in the log by then is still applied if that takes only a moment.
    pub shutdown: CancellationToken,
    /// Becomes [`Goal::Reach`] once the source has ended.
    pub goal: watch::Receiver<Goal>,
    /// The dead letters of all sinks.
    pub dead: Arc<Hub>,
    /// Takes what the sink wishes of the source: each table that may differ from it once in a run.
    pub wishes: mpsc::UnboundedSender<Wish>,
    /// Dropped once the sink has said what it wishes from the start.
    pub looking: Option<oneshot::Sender<()>>,
}

/// One sink and what serving it needs.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold with any other")]
pub struct Delivery {
    pub(super) name: String,
    pub(super) sink: Box<dyn Sink>,
    pub(super) wal: Wal,
    pub(super) live: Arc<SinkLive>,
    pub(super) shutdown: CancellationToken,
    pub(super) goal: watch::Receiver<Goal>,
    pub(super) wishes: mpsc::UnboundedSender<Wish>,
    pub(super) looking: Option<oneshot::Sender<()>>,
    /// Wishes from the start that the log may not hold yet.
    pub(super) saying: Vec<oneshot::Receiver<()>>,
    /// It is saying that it needs every table.
    pub(super) wishes_for_tables: bool,
    /// Those of the sink.
    pub(super) letters: Letters,
    /// Tables whose doubt this run has reported, or found in the log at its start.
    pub(super) doubted: HashSet<TableName>,
    /// The round that was sent and has not settled.
    pub(super) sent: Option<Sent>,
    /// Rounds that are applied and not durable, in their order.
    pub(super) applied: VecDeque<Applied>,
    /// End of the last round: where the next one begins.
    pub(super) round_start: Lsn,
    /// A round has settled.
    pub(super) progressed: bool,
    /// How long a schema may stay undecided after the source has ended.
    pub(super) patience: Duration,
    /// Where the log's cursor is. A target that was restored from an older copy is before it for a while; a cursor
    /// never goes back.
    pub(super) acknowledged: Lsn,
    /// Which tables are captured.
    pub(super) captured: Box<Captured>,
    /// What was appended of each table.
    pub(super) appended: Box<Appended>,
    /// This run has reset the sink; the log may not have its wishes yet.
    pub(super) has_reset: bool,
    /// A change of a table since its old copies were shown: rows make none.
    pub(super) has_changed: bool,
}

enum Served {
    /// The goal is reached, or the shutdown is over.
    Done,
    /// The target did not answer in the time that a shutdown has.
    CutOff,
}

impl Delivery {
    /// A loop for `sink`.
    pub fn new(sink: Box<dyn Sink>, wiring: Wiring) -> Self {
        let Wiring { wal, live, shutdown, goal, dead, wishes, looking } = wiring;
        let name = live.name.clone();
        let mut sink = sink;
        sink.keep_notes(Notes::new(wal.clone(), name.clone()));
        let letters = dead.of(&name);
        sink.keep_letters(letters.clone());
        live.show_letters(letters.clone());
        Self {
            name,
            sink,
            wal,
            live,
            shutdown,
            goal,
            wishes,
            looking,
            saying: Vec::new(),
            wishes_for_tables: false,
            letters,
            doubted: HashSet::new(),
            sent: None,
            applied: VecDeque::new(),
            round_start: Lsn::ZERO,
            progressed: false,
            patience: AFTER_THE_END,
            acknowledged: Lsn::ZERO,
            captured: Box::new(|_| true),
            appended: Box::new(|reader| Ok((Vec::new(), reader.positions().durable))),
            has_reset: false,
            has_changed: false,
        }
    }

    /// Where the log says what was appended of each table: what a sink that is reset does not get.
    #[must_use]
    pub fn counting(mut self, appended: Box<Appended>) -> Self {
        self.appended = appended;
        self
    }

    /// Of tables that are not captured, no stop lasts.
    #[must_use]
    pub fn capturing(mut self, captured: Box<Captured>) -> Self {
        self.captured = captured;
        self
    }

    /// Serves the sink until its goal is reached, a stop ends it, or it fails permanently.
    ///
    /// # Errors
    /// The failure that stopped the sink. Failures worth a retry are retried without end.
    pub async fn run(mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            self.live.phase(SinkPhase::Opening, None);
            let ending = cut_off(self.shutdown.clone());
            let served = tokio::select! {
                served = self.serve(&mut backoff) => served,
                () = ending => Ok(Served::CutOff),
            };
            let failure = match served {
                Ok(Served::Done) => {
                    let ending = cut_off(self.shutdown.clone());
                    let closed = tokio::select! {
                        closed = self.close() => Some(closed),
                        () = ending => None,
                    };
                    let (phase, why) = match &closed {
                        Some(Ok(())) => (SinkPhase::Stopped, None),
                        Some(Err(failure)) => (SinkPhase::Failed, Some(failure.chain())),
                        None => {
                            // What is not acknowledged comes again at the next start.
                            warn!(sink = %self.name, "the target does not answer: it is not closed");
                            (SinkPhase::Stopped, Some(NO_ANSWER.to_owned()))
                        }
                    };
                    self.live.phase(phase, why);
                    return closed.unwrap_or(Ok(()));
                }
                Ok(Served::CutOff) => {
                    // To the target it looks like a crash, which the next start puts right.
                    warn!(sink = %self.name, "the target does not answer: its round is left, and sent again at the next start");
                    self.sink.rollback().await;
                    self.live.phase(SinkPhase::Stopped, Some(NO_ANSWER.to_owned()));
                    return Ok(());
                }
                Err(failure) => failure,
            };
            self.sink.rollback().await;
            self.live.failed(failure.class);
            if failure.class != ErrorClass::Retry {
                error!(sink = %self.name, error = %failure.chain(), "sink stopped");
                // One that is detached while it writes finds out when it moves its cursor.
                let is_detached = self.cursor().is_ok_and(|cursor| cursor.detached);
                let phase = if is_detached { SinkPhase::Detached } else { SinkPhase::Failed };
                self.live.phase(phase, Some(failure.chain()));
                return Err(failure);
            }
            let wait = backoff.next_wait();
            warn!(sink = %self.name, error = %failure.chain(), attempt = backoff.attempts(), ?wait, "sink failed, trying again");
            self.live.phase(SinkPhase::Retrying, Some(failure.chain()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shutdown.cancelled() => {
                    self.live.phase(SinkPhase::Stopped, Some(failure.chain()));
                    return Err(failure);
                }
            }
        }
    }

    async fn serve(&mut self, backoff: &mut Backoff) -> Result<Served, Failure> {
        let mut open = self.open().await?;
        info!(sink = %self.name, lsn = %open.at, "sink opened");
        self.show_opened(&open);

        let mut durable = self.wal.positions();
        let mut stopping: Option<tokio::time::Instant> = None;
        let mut probe_at = tokio::time::Instant::now() + PROBE;
        loop {
            // Marked as seen before the read, so that what becomes durable during it wakes the wait below.
            durable.borrow_and_update();
            let blocks = open.reader.read(open.at, READ_BYTES).map_err(unreadable)?;
            let drained = blocks.is_empty();
            if !self.take_all(&blocks, &mut open).await? {
                return Ok(Served::Done);
            }
            let lingers = if self.is_ending(open.at) { None } else { open.round.lingers_until() };
            if lingers.is_none() && (drained || nothing_more(&durable, open.at)) {
                self.commit(&mut open).await?;
            }
            if drained || self.is_ending(open.at) {
                self.settle(&mut open).await?;
            }
            self.try_again(&mut open).await?;
            let has_progressed = std::mem::take(&mut self.progressed);
            if has_progressed {
                backoff.reset();
            }
            // Opening a target may succeed where writing to it does not.
            if has_progressed || (drained && open.round.end().is_none() && self.sent.is_none()) {
                self.live.recovered();
            }
            if self.has_reached(open.at) && open.round.end().is_none() && self.sent.is_none() {
                return Ok(Served::Done);
            }
            if self.shutdown.is_cancelled() {
                let until = *stopping.get_or_insert_with(|| tokio::time::Instant::now() + DRAIN);
                if drained || tokio::time::Instant::now() >= until {
                    return Ok(Served::Done);
                }
            }
            if drained {
                if lingers.is_none() && tokio::time::Instant::now() >= probe_at {
                    self.look_for_durable().await?;
                    self.sink.probe().await?;
                    probe_at = tokio::time::Instant::now() + PROBE;
                }
                tokio::select! {
                    changed = durable.changed() => {
                        // The log's writer is gone only after a shutdown or a poisoned log.
                        if changed.is_err() {
                            return Err(Failure::fatal("the log was closed"));
                        }
                    }
                    changed = self.goal.changed() => {
                        if changed.is_err() { self.shutdown.cancelled().await; }
                    }
                    () = self.letters.are_wanted() => {}
                    () = self.shutdown.cancelled(), if stopping.is_none() => {}
                    () = sleep_until(lingers) => {}
                    () = tokio::time::sleep_until(probe_at), if lingers.is_none() => {}
                }
            }
        }
    }

    /// Takes the frames of what was read of the log, and commits where a round is full; false if the delivery ends
    /// before a schema in them is decided.
    async fn take_all(&mut self, blocks: &[Block], open: &mut Open) -> Result<bool, Failure> {
        for (place, block) in blocks.iter().enumerate() {
            let mut frames = block.frames();
            while let Some(frame) = frames.next() {
                let frame =
                    frame.map_err(|source| unreadable(wal::Error::Damaged { block: block.first_lsn(), source }))?;
                if frame.lsn <= open.at {
                    continue;
                }
                // A group that has to wait waits before its first frame, so that nothing that was read before it
                // waits with it.
                if open.between_groups && !frame.end_of_group {
                    let later = blocks.iter().skip(place + 1).flat_map(Block::frames);
                    let group = std::iter::once(Ok(frame)).chain(frames.clone()).chain(later);
                    if let Some(undecided) = first_undecided_of_group(group, &self.name, &mut open.catalog)?
                        && !self.wait_for(undecided, open).await?
                    {
                        return Ok(false);
                    }
                }
                if !self.take(&frame, open).await? {
                    return Ok(false);
                }
                // A round ends at the cursor, so that none is counted in part.
                let is_full = open.round.is_full()
                    || self.sink.pending_bytes() >= open.limits.bytes
                    || frame.lsn == self.acknowledged;
                if is_full {
                    self.commit(open).await?;
                }
            }
        }
        Ok(true)
    }

    fn show_opened(&mut self, open: &Open) {
        self.live.applied(open.at, None);
        if self.live.state().0 != SinkPhase::Retrying {
            self.live.phase(SinkPhase::Running, None);
        }
        self.live.load_tables(open.tables.iter().map(|(table, at)| (table.clone(), at.shown())));
        let in_doubt = open.tables.iter().filter(|(_, at)| at.doubt.is_some());
        self.doubted.extend(in_doubt.map(|(table, _)| table.clone()));
        self.has_changed = true;
        self.show_copies();
    }

    /// Shows the tables that the sink leaves out, and those of which readers see an old copy.
    pub(super) fn show_copies(&mut self) {
        let shown = |(table, why): (&TableName, &StoppedTable)| (table.clone(), why.since, why.reason.clone());
        self.live.stopped(self.sink.stopped().iter().map(shown));
        if std::mem::take(&mut self.has_changed) {
            self.live.show_old_copies(self.sink.old_copies());
        }
    }

    /// Whether everything that there will be has been taken.
    fn has_reached(&self, at: Lsn) -> bool {
        matches!(*self.goal.borrow(), Goal::Reach(end) if at >= end)
    }

    /// Whether nothing will come that would be worth waiting for.
    fn is_ending(&self, at: Lsn) -> bool {
        self.shutdown.is_cancelled() || self.has_reached(at)
    }
}

/// Ends when a shutdown has no more time for a target.
async fn cut_off(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(CUT_OFF).await;
}

async fn sleep_until(moment: Option<std::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn nothing_more(durable: &watch::Receiver<wal::Positions>, at: Lsn) -> bool {
    durable.borrow().durable <= at
}

pub(super) fn unreadable(error: wal::Error) -> Failure {
    Failure::fatal("cannot read the log").caused_by(error)
}

pub(super) fn unwritable(error: wal::Error) -> Failure {
    Failure::fatal("the log cannot be written").caused_by(error)
}
