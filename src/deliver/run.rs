//! The delivery loop of one sink.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Lsn, Reader, Wal};

use super::applied::{Applied, Sealed, damaged_frame};
use super::resume::{LogView, resume};
use super::round::Round;
use crate::backoff::Backoff;
use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, FrameHeader};
use crate::codec::stored::{Entry, Record, SINK_ROUND, SINK_START, encode, get};
use crate::codec::version::FramePlace;
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;
use crate::sink::{HandOver, Schemas, Sink, StoppedTable};
use crate::telemetry::{SinkLive, SinkPhase};

/// Bytes of the log read at once.
const READ_BYTES: usize = 2 << 20;
/// How long a shutdown waits for what is already in the log to reach the sink.
const DRAIN: Duration = Duration::from_secs(5);
/// How long it waits for a target that does not answer. The whole daemon has ten seconds.
const CUT_OFF: Duration = Duration::from_secs(7);

/// Until when a sink is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Until told to stop.
    Forever,
    /// Until everything up to this LSN is applied.
    Reach(Lsn),
}

/// One sink and what serving it needs.
pub struct Delivery {
    name: String,
    sink: Box<dyn Sink>,
    wal: Wal,
    live: Arc<SinkLive>,
    shutdown: CancellationToken,
    goal: watch::Receiver<Goal>,
    /// The round that was sent and has not settled.
    sent: Option<Sent>,
    /// End of the last round: where the next one begins.
    round_start: Lsn,
    /// A round has settled.
    progressed: bool,
    /// Where the log's cursor is. A target restored from an older copy is behind it for a while; a cursor never goes back.
    acknowledged: Lsn,
}

/// A round on its way.
struct Sent {
    end: Lsn,
    commit_micros: i64,
    rows: Sealed,
}

enum Served {
    /// The goal is reached, or the shutdown is over.
    Done,
    /// The target did not answer in the time that a shutdown has.
    CutOff,
}

impl Delivery {
    /// A loop for `sink`, whose cursor has the name in `live` and exists. When `shutdown` is told, what is in the log by
    /// then is still applied if that takes only a moment. `goal` becomes [`Goal::Reach`] once the source has ended.
    pub fn new(
        sink: Box<dyn Sink>,
        wal: Wal,
        live: Arc<SinkLive>,
        shutdown: CancellationToken,
        goal: watch::Receiver<Goal>,
    ) -> Self {
        Self {
            name: live.name.clone(),
            sink,
            wal,
            live,
            shutdown,
            goal,
            sent: None,
            round_start: Lsn::ZERO,
            progressed: false,
            acknowledged: Lsn::ZERO,
        }
    }

    /// Serves the sink until its goal is reached, it is told to stop, or it fails for good.
    ///
    /// # Errors
    /// The failure that stopped the sink. Failures worth a retry are retried without end.
    pub async fn run(mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            self.live.phase(SinkPhase::Opening, None);
            let cut_off = cut_off(self.shutdown.clone());
            let served = tokio::select! {
                served = self.serve(&mut backoff) => served,
                () = cut_off => Ok(Served::CutOff),
            };
            let failure = match served {
                Ok(Served::Done) => {
                    self.live.phase(SinkPhase::Stopped, None);
                    return self.sink.close().await;
                }
                Ok(Served::CutOff) => {
                    // To the target it looks like a crash, which the next start mends.
                    warn!(sink = %self.name, "the target does not answer: its round is left, and sent again at the next start");
                    self.sink.rollback().await;
                    self.live
                        .phase(SinkPhase::Stopped, Some("the target did not answer when it was stopped".to_owned()));
                    return Ok(());
                }
                Err(failure) => failure,
            };
            self.sink.rollback().await;
            self.live.failed();
            if failure.class != ErrorClass::Retry {
                error!(sink = %self.name, error = %failure.chain(), "sink stopped");
                self.live.phase(SinkPhase::Failed, Some(failure.chain()));
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
        self.sent = None;
        let reader = self.wal.reader();
        let target = self.sink.open(self.wal.id()).await?;
        let mut applied = Applied::load(&reader, &self.name)?;
        let mut catalog = Catalog::new(reader.clone());
        let mut at = self.resume_at(&reader, target, &mut applied, &mut catalog).await?;
        info!(sink = %self.name, lsn = %at, "sink opened");
        self.live.applied(at, None);
        self.live.phase(SinkPhase::Running, None);

        let mut durable = self.wal.positions();
        self.live.load_rows(applied.totals());
        self.show_stopped();
        let limits = self.sink.limits();
        let mut round = Round::new(limits);
        if self.sink.hand_over() == HandOver::RecordedBatches {
            // A target that was restored from an older copy is not where that round began.
            let bounds = self.recorded_bounds(&reader)?;
            round.ends_at(bounds.filter(|(start, end)| *start == at && *end > at).map(|(_, end)| end));
        }
        self.round_start = at;
        let mut stopping: Option<tokio::time::Instant> = None;
        loop {
            // Marked as seen before the read, so that what becomes durable during it wakes the wait below.
            durable.borrow_and_update();
            let blocks = reader.read(at, READ_BYTES).map_err(unreadable)?;
            let drained = blocks.is_empty();
            for block in &blocks {
                for frame in block.frames() {
                    let frame =
                        frame.map_err(|source| unreadable(wal::Error::Damaged { block: block.first_lsn(), source }))?;
                    if frame.lsn <= at {
                        continue;
                    }
                    self.take(&frame, &mut round, &mut applied, &mut catalog).await?;
                    at = frame.lsn;
                    let full = round.is_full() || self.sink.pending_bytes() >= limits.bytes;
                    if full && round.end().is_some() {
                        self.commit(&mut round, &mut applied, &mut catalog).await?;
                    }
                }
            }
            let lingers = if self.is_ending(at) { None } else { round.lingers_until() };
            if round.end().is_some() && lingers.is_none() && (drained || nothing_more(&durable, at)) {
                self.commit(&mut round, &mut applied, &mut catalog).await?;
            }
            if drained || self.is_ending(at) {
                self.settle(&mut applied, &mut catalog).await?;
            }
            if std::mem::take(&mut self.progressed) {
                backoff.reset();
            }
            if let Goal::Reach(end) = *self.goal.borrow()
                && at >= end
                && round.end().is_none()
                && self.sent.is_none()
            {
                return self.stopped_tables().map(|()| Served::Done);
            }
            if self.shutdown.is_cancelled() {
                let until = *stopping.get_or_insert_with(|| tokio::time::Instant::now() + DRAIN);
                if drained || tokio::time::Instant::now() >= until {
                    return Ok(Served::Done);
                }
            }
            if drained {
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
                    () = self.shutdown.cancelled(), if stopping.is_none() => {}
                    () = sleep_until(lingers) => {}
                }
            }
        }
    }

    /// Shows the tables that the sink leaves out.
    fn show_stopped(&self) {
        let shown = |(table, why): (&TableName, &StoppedTable)| (table.clone(), why.since, why.reason.clone());
        self.live.stopped(self.sink.stopped().iter().map(shown));
    }

    /// A run that was to bring everything has not, if tables are left out.
    fn stopped_tables(&self) -> Result<(), Failure> {
        let stopped = self.sink.stopped();
        let Some((table, why)) = stopped.first_key_value() else { return Ok(()) };
        let others = match stopped.len() {
            1 => String::new(),
            count => format!(", and {} more tables", count - 1),
        };
        Err(Failure::fatal(format!("table '{table}' is not written: {}{others}", why.reason)))
    }

    /// Whether nothing will come that would be worth waiting for.
    fn is_ending(&self, at: Lsn) -> bool {
        self.shutdown.is_cancelled() || matches!(*self.goal.borrow(), Goal::Reach(end) if at >= end)
    }

    /// Finds where to go on, and counts what the target applied without the log knowing.
    async fn resume_at(
        &mut self,
        reader: &Reader,
        target: crate::sink::TargetState,
        applied: &mut Applied,
        catalog: &mut Catalog,
    ) -> Result<Lsn, Failure> {
        let cursor = self
            .wal
            .cursors()
            .into_iter()
            .find(|cursor| cursor.name == self.name)
            .ok_or_else(|| Failure::fatal(format!("the log has no cursor for sink '{}'", self.name)))?;
        let positions = *self.wal.positions().borrow();
        let start = get(reader, &SINK_START.of_sink(&self.name))?.map_or(Lsn::ZERO, |CursorStart(start)| start);
        let view = LogView {
            id: self.wal.id(),
            first: positions.first,
            durable: positions.durable,
            cursor: cursor.lsn,
            start,
        };
        let at = resume(&self.name, target, view)?;
        self.acknowledged = at.max(cursor.lsn);
        if at > cursor.lsn {
            let state = applied.add_gap(reader, (cursor.lsn, at), catalog, self.sink.stopped())?;
            self.wal.ack(&self.name, at, &[], state).await.map_err(unwritable)?;
        } else if at < cursor.lsn {
            warn!(sink = %self.name, target = %at, cursor = %cursor.lsn, "target is older than the cursor, applying again from it");
        }
        Ok(at)
    }

    /// Gives one frame to the sink.
    async fn take(
        &mut self,
        frame: &wal::FrameRef<'_>,
        round: &mut Round,
        applied: &mut Applied,
        catalog: &mut Catalog,
    ) -> Result<(), Failure> {
        let decoded = Frame::decode(frame.payload).map_err(|error| damaged_frame(frame.lsn, error))?;
        let place = FramePlace { lsn: frame.lsn, position: frame.position };
        let (mut rows, mut is_barrier) = (0, false);
        match &decoded.header {
            FrameHeader::Rows(header) => {
                rows = header.sections.iter().map(|section| u64::from(section.rows)).sum();
                for section in &header.sections {
                    if !self.sink.knows(section.schema) {
                        self.sink.learn(frame.lsn, section.schema, &mut Schemas::new(catalog)).await?;
                    }
                }
                self.sink.write(place, &decoded, &mut Schemas::new(catalog))?;
                // Behind the cursor they were counted before the target was restored from an older copy.
                if frame.lsn > self.acknowledged {
                    applied.count(&decoded);
                }
                // At the end of a transaction the round is committed instead.
                if !frame.end_of_group && self.sink.pending_bytes() > self.sink.limits().spill_bytes {
                    self.settle(applied, catalog).await?;
                    self.sink.spill().await?;
                }
            }
            FrameHeader::Change { origin, change, .. } => {
                let barrier = self.sink.hand_over() == HandOver::RecordedBatches;
                if barrier && round.end().is_some() {
                    self.commit(round, applied, catalog).await?;
                }
                self.settle(applied, catalog).await?;
                self.sink.change(place, origin, change, &mut Schemas::new(catalog)).await?;
                is_barrier = barrier;
            }
            FrameHeader::Mark { .. } | FrameHeader::Check(_) => {}
        }
        round.add(frame.lsn, frame.payload.len(), rows, frame.end_of_group, decoded.header.origin().commit_micros);
        self.live.delivered(frame.lsn);
        if is_barrier && round.end().is_some() {
            self.commit(round, applied, catalog).await?;
            self.settle(applied, catalog).await?;
        }
        Ok(())
    }

    /// Commits the round, or sends it on its way if the sink overlaps. The round before it has settled then.
    async fn commit(&mut self, round: &mut Round, applied: &mut Applied, catalog: &mut Catalog) -> Result<(), Failure> {
        let Some((end, commit_micros)) = round.end() else { return Ok(()) };
        self.settle(applied, catalog).await?;
        if self.sink.hand_over() == HandOver::RecordedBatches {
            self.record_bounds(end).await?;
        }
        self.sink.send(end).await?;
        self.sent = Some(Sent { end, commit_micros, rows: applied.seal() });
        self.round_start = end;
        round.clear();
        if !self.sink.overlaps() {
            self.settle(applied, catalog).await?;
        }
        Ok(())
    }

    /// Waits for the round that was sent, and acknowledges it.
    async fn settle(&mut self, applied: &mut Applied, catalog: &mut Catalog) -> Result<(), Failure> {
        let Some(Sent { end, commit_micros, rows }) = self.sent.take() else { return Ok(()) };
        self.sink.settle().await?;
        self.progressed = true;
        let (rows, state) = applied.add(rows, end, catalog, self.sink.stopped())?;
        if end > self.acknowledged {
            self.wal.ack_lazily(&self.name, end, &[], state).map_err(unwritable)?;
            self.acknowledged = end;
        }
        for round in rows {
            self.live.rows(&round.table, round.applied, round.skipped);
        }
        for sent in self.sink.take_sent() {
            self.live.sent(&sent.table, sent.batch);
        }
        self.show_stopped();
        self.live.applied(end, Some(commit_micros));
        Ok(())
    }

    /// Where the round begins (the LSN before its first) and ends that may have been sent before a crash.
    fn recorded_bounds(&self, reader: &Reader) -> Result<Option<(Lsn, Lsn)>, Failure> {
        let bounds = get(reader, &SINK_ROUND.of_sink(&self.name))?;
        Ok(bounds.map(|RoundBounds { start, end }| (start, end)))
    }

    /// Writes down where the round ends before it is sent.
    async fn record_bounds(&self, end: Lsn) -> Result<(), Failure> {
        let value = encode(&RoundBounds { start: self.round_start, end })?;
        self.wal.put_state(vec![(SINK_ROUND.of_sink(&self.name), Some(value))]).await.map_err(unwritable)
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

/// The LSN at which a sink's cursor was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorStart(pub Lsn);

impl Record for CursorStart {
    const ENTRY: &'static Entry = &SINK_START;
}

/// The round that a sink was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundBounds {
    /// The LSN before its first.
    pub start: Lsn,
    /// Its last LSN.
    pub end: Lsn,
}

impl Record for RoundBounds {
    const ENTRY: &'static Entry = &SINK_ROUND;
}

fn unreadable(error: wal::Error) -> Failure {
    Failure::fatal("cannot read the log").caused_by(error)
}

fn unwritable(error: wal::Error) -> Failure {
    Failure::fatal("the log cannot be written").caused_by(error)
}
