//! The ingest loop: reads the stream, reconnects, and decides when the log's writer gets what has gathered.
//!
//! Steady state: events that are ready are taken without waiting; what they make is handed over when 1 MiB has gathered,
//! when [`FLUSH_EVERY`] has passed, or when the stream runs dry, whichever is first. So a burst shares commits and a single
//! transaction is durable a moment after it was read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Appender, Lsn, Reader, Wal};

use super::place::WaitingChunk;
use super::registry::Registry;
use super::session::Session;
use super::state::{Reread, rereads, stored_position};
use super::windows::Windows;
use super::writer::LogWriter;
use crate::backoff::Backoff;
use crate::config::SourcePlan;
use crate::error::{ErrorClass, Failure};
use crate::model::{Origin, SourcePosition, TableName};
use crate::source::mysql::binlog::{BinlogStream, Decoder, Item, RawEvent, TableSlot, kind};
use crate::source::mysql::ddl::SqlMode;
use crate::source::mysql::server::{ServerInfo, current_position};
use crate::source::mysql::snapshot::handoff::{ExactRead, FilePos, Request};
use crate::source::mysql::snapshot::{SnapshotStatus, is_unfinished, state_key};
use crate::source::mysql::{connect, start};
use crate::telemetry::{Live, SourcePhase, now_micros};

/// Longest time that what was read waits for more, while more keeps coming.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// What a log that is not full takes at most for what was handed over. Behind it a stop does not wait for the log.
const GRACE: Duration = Duration::from_secs(1);
/// A wait on the log that is longer is shown, if the log is full.
const FULL_AFTER: Duration = Duration::from_millis(200);
/// Events between two looks at the clock and at the requests of snapshot readers.
const LOOK_EVERY: u32 = 64;

/// Until when the loop runs.
#[derive(Clone, Debug)]
pub enum Until {
    /// Until told to stop.
    Stopped,
    /// Until everything that the server had at the start is in the log, and the snapshot is done.
    CaughtUp {
        /// How far the snapshots are.
        snapshot: watch::Receiver<SnapshotStatus>,
    },
}

/// The ingest loop and what it owns.
pub struct Ingest {
    pub(super) plan: SourcePlan,
    reader: Reader,
    pub(super) writer: LogWriter,
    pub(super) registry: Registry,
    pub(super) windows: Windows,
    pub(super) waiting: Vec<WaitingChunk>,
    pub(super) exact: Option<ExactRead>,
    requests: mpsc::Receiver<Request>,
    jobs_out: mpsc::UnboundedSender<Reread>,
    /// Re-reads asked for in the open group.
    pub(super) rereads: Vec<Reread>,
    /// Re-reads of finished groups, started once these are durable.
    pub(super) jobs: Vec<Reread>,
    /// Tables to be read again whose snapshot has not begun, and whether the sinks' rows are to be replaced.
    pub(super) outstanding: HashMap<TableName, bool>,
    pub(super) live: Arc<Live>,
    pub(super) shutdown: CancellationToken,
    until: Until,
}

/// What an [`Ingest`] is connected to.
pub struct Wiring {
    /// The log.
    pub wal: Wal,
    /// Its appender.
    pub appender: Appender,
    /// Requests of the snapshot readers.
    pub requests: mpsc::Receiver<Request>,
    /// Tables to read again.
    pub jobs: mpsc::UnboundedSender<Reread>,
    /// Where the state is shown.
    pub live: Arc<Live>,
    /// Told to stop.
    pub shutdown: CancellationToken,
    /// Until when it runs.
    pub until: Until,
}

enum Ended {
    Stopped,
    CaughtUp,
}

/// How long what was read may wait for a log that is full.
#[derive(Clone, Copy)]
enum Patience {
    /// Until told to stop, and [`GRACE`].
    UntilStopped,
    /// [`GRACE`].
    Moment,
}

impl Ingest {
    /// A loop over the log as it stands.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(plan: SourcePlan, wiring: Wiring) -> Result<Self, Failure> {
        let reader = wiring.wal.reader();
        let registry = Registry::load(&reader)?;
        Ok(Self {
            plan,
            writer: LogWriter::new(wiring.appender),
            registry,
            windows: Windows::default(),
            waiting: Vec::new(),
            exact: None,
            requests: wiring.requests,
            jobs_out: wiring.jobs,
            rereads: Vec::new(),
            jobs: Vec::new(),
            outstanding: rereads(&reader)?.into_iter().map(|reread| (reread.table, reread.replace)).collect(),
            live: wiring.live,
            shutdown: wiring.shutdown,
            until: wiring.until,
            reader,
        })
    }

    /// Runs until told to stop, caught up, or failed. Gives the last LSN of the log.
    ///
    /// # Errors
    /// The failure that stopped the stream. Failures worth a retry are retried without end.
    pub async fn run(mut self) -> Result<Lsn, Failure> {
        let mut backoff = Backoff::default();
        loop {
            let ended = self.session(&mut backoff).await;
            match ended {
                Ok(Ended::CaughtUp | Ended::Stopped) => {
                    self.writer.abort().await?;
                    self.make_durable(Patience::UntilStopped).await?;
                    self.live.source.phase(SourcePhase::Stopped, None);
                    return Ok(self.reader.positions().durable);
                }
                Err(failure) if failure.class == ErrorClass::Retry => {
                    self.writer.abort().await?;
                    if self.make_durable(Patience::UntilStopped).await? {
                        self.forget_open_work()?;
                    }
                    if self.shutdown.is_cancelled() {
                        self.live.source.phase(SourcePhase::Stopped, Some(failure.chain()));
                        return Ok(self.reader.positions().durable);
                    }
                    let wait = backoff.next_wait();
                    warn!(error = %failure.chain(), attempt = backoff.attempts(), ?wait, "source lost, trying again");
                    self.live.source.reconnected();
                    self.live.source.phase(SourcePhase::Reconnecting, Some(failure.chain()));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shutdown.cancelled() => {}
                    }
                }
                Err(failure) => {
                    // First: a full log may not take what was read before it.
                    error!(error = %failure.chain(), "source stopped");
                    self.live.source.phase(SourcePhase::Failed, Some(failure.chain()));
                    self.writer.abort().await?;
                    self.make_durable(Patience::Moment).await?;
                    return Err(failure);
                }
            }
        }
    }

    /// Back to the last finished group: what was open is forgotten, in the log and here.
    fn forget_open_work(&mut self) -> Result<(), Failure> {
        self.reload_registry()?;
        self.rereads.clear();
        self.windows.invalidate_all();
        self.exact = None;
        self.start_jobs();
        Ok(())
    }

    /// Hands what has gathered to the log; waits while the log is full.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let stopped = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            done = show_full(&self.live, &self.reader, self.writer.flush()) => done,
            () = stopped => Err(Failure::retry("stopped while the log was full")),
        }
    }

    /// Makes what has gathered durable; false when it gave up. Then it is still at the source, before the position in the log.
    async fn make_durable(&mut self, patience: Patience) -> Result<bool, Failure> {
        let enough = async {
            match patience {
                Patience::UntilStopped => self.shutdown.cancelled().await,
                Patience::Moment => {}
            }
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            done = show_full(&self.live, &self.reader, self.writer.flush_durable()) => done.map(|()| true),
            () = enough => {
                warn!("the log is full, so what was read last is left to the next start");
                Ok(false)
            }
        }
    }

    /// Waits until everything handed over is durable.
    pub(super) async fn durable(&mut self) -> Result<(), Failure> {
        tokio::select! {
            done = self.writer.flush_durable() => done,
            () = self.shutdown.cancelled() => Err(Failure::retry("stopped before the log was durable")),
        }
    }

    pub(super) fn show_outstanding(&self) {
        self.live.snapshot.set_asked(self.outstanding.keys().cloned().collect());
    }

    /// Gives re-reads of finished groups to the snapshot readers.
    pub(super) fn start_jobs(&mut self) {
        for job in self.jobs.drain(..) {
            info!(table = %job.table, why = %job.why, "table is read again");
            if self.jobs_out.send(job).is_err() {
                // The readers end before this loop only at a shutdown; the job stands in the log for the next start.
                return;
            }
        }
    }

    /// What is known of the tables, as of the last durable group.
    pub(super) fn reload_registry(&mut self) -> Result<(), Failure> {
        self.registry = Registry::load(&self.reader)?;
        Ok(())
    }

    /// Whether the table is still to be read, in whole or in part.
    pub(super) fn snapshot_unfinished(&self, table: &TableName) -> Result<bool, Failure> {
        let value = self
            .reader
            .state(&state_key(table))
            .map_err(|error| Failure::fatal("cannot read the snapshot's progress from the log").caused_by(error))?;
        value.map_or(Ok(false), |value| is_unfinished(table, &value))
    }

    /// Whether no table is still to be read. One that cannot be read is not waited for: the run ends with its error.
    fn snapshot_is_done(&self) -> bool {
        match &self.until {
            Until::Stopped => false,
            Until::CaughtUp { snapshot } => {
                let status = snapshot.borrow();
                status.is_settled() && self.outstanding.keys().all(|table| status.has_failed(table))
            }
        }
    }

    /// Returns when the snapshot may have been done; never when that does not matter. What changes between a look at it and this
    /// call counts as well.
    async fn snapshot_changed(until: &mut Until) {
        match until {
            Until::Stopped => std::future::pending().await,
            Until::CaughtUp { snapshot } => {
                if snapshot.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Result<Ended, Failure> {
        let shutdown = self.shutdown.clone();
        let opened = tokio::select! {
            opened = self.open() => opened?,
            () = shutdown.cancelled() => return Ok(Ended::Stopped),
        };
        let Opened { server, mut stream, mut decoder, target } = opened;
        self.live.source.phase(SourcePhase::Streaming, None);
        let mut session = Session::new(self, server);
        let mut reading = Reading { target, slots: Vec::new(), flushed: Instant::now(), dirty: true, ahead: false };
        let ended = session.read(&mut stream, &mut decoder, &mut reading, backoff).await;
        // Whatever ended it: the groups that have ended become durable together with the position behind them, and
        // nothing of the open one does. Where the decoder is ahead of them, their position was saved before.
        session.abort().await?;
        if !reading.ahead {
            session.save_position(&decoder.position())?;
        }
        session.close().await;
        ended
    }

    /// Connects, checks that the stream can go on from the log's position, and asks for it.
    async fn open(&self) -> Result<Opened, Failure> {
        let mut conn = connect::connect(&self.plan).await?;
        let server = ServerInfo::probe(&mut conn).await?;
        server.require_usable()?;
        self.live.source.server(server.to_string());
        let stored = stored_position(&self.reader)?;
        let stored = stored.ok_or_else(|| Failure::fatal("the log has no source position"))?;
        let from = start::resolve(&mut conn, &server, Some(&stored), &self.plan.startup).await?;
        let target = match self.until {
            Until::Stopped => None,
            Until::CaughtUp { .. } => Some(current_position(&mut conn, &server).await?),
        };
        let collations = Arc::clone(&server.collations);
        let decoder = Decoder::new(&from, self.plan.filter.clone(), collations)
            .map_err(|error| Failure::fatal("the stored position cannot be read").caused_by(error))?;
        let stream = BinlogStream::open(conn, &from, self.plan.server_id).await?;
        info!(server = %server, file = %from.position.file, pos = from.position.pos, "reading the binlog");
        Ok(Opened { server, stream, decoder, target })
    }
}

/// A stream that can be read.
struct Opened {
    server: ServerInfo,
    stream: BinlogStream,
    decoder: Decoder,
    /// Where `CaughtUp` ends.
    target: Option<SourcePosition>,
}

/// Waits for the log, and shows it while the log is full.
async fn show_full<T>(live: &Live, reader: &Reader, wait: impl Future<Output = T>) -> T {
    tokio::pin!(wait);
    if let Ok(done) = tokio::time::timeout(FULL_AFTER, &mut wait).await {
        return done;
    }
    if !reader.positions().full {
        return wait.await;
    }
    warn!("the log is full: reading waits until a sink has caught up (wal.max_size)");
    let before = live.source.snapshot();
    live.source.phase(SourcePhase::LogFull, None);
    let done = wait.await;
    live.source.phase(before.phase, before.error);
    done
}

/// What the loop keeps between events.
struct Reading {
    /// Where `CaughtUp` ends.
    target: Option<SourcePosition>,
    /// Registry index of each of the decoder's slots.
    slots: Vec<Option<usize>>,
    /// When it was last handed over.
    flushed: Instant,
    /// Something was read since.
    dirty: bool,
    /// The decoder stands behind a group that has not been ended here.
    ahead: bool,
}

impl Session<'_> {
    async fn read(
        &mut self,
        stream: &mut BinlogStream,
        decoder: &mut Decoder,
        reading: &mut Reading,
        backoff: &mut Backoff,
    ) -> Result<Ended, Failure> {
        let mut since_look = 0_u32;
        let mut filtered = 0_u64;
        let mut events = 0_u64;
        loop {
            let event = match stream.try_next()? {
                Some(event) => event,
                None => {
                    self.ctx.live.source.events(std::mem::take(&mut events), std::mem::take(&mut filtered));
                    if decoder.at_boundary() {
                        if let Some(ended) = self.settle(decoder, reading, true).await? {
                            return Ok(ended);
                        }
                        tokio::select! {
                            event = stream.next() => event?,
                            Some(request) = self.ctx.requests.recv(), if knows_its_file(decoder) => {
                                self.serve_one(request, decoder, reading).await?;
                                continue;
                            }
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                            () = Ingest::snapshot_changed(&mut self.ctx.until) => continue,
                        }
                    } else {
                        tokio::select! {
                            event = stream.next() => event?,
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                        }
                    }
                }
            };
            events += 1;
            since_look += 1;
            reading.dirty = true;
            filtered += u64::from(self.event(&event, decoder, reading).await?);
            if !decoder.at_boundary() {
                // A transaction of tables that are not captured may be long, and never comes to a flush.
                if since_look.is_multiple_of(LOOK_EVERY) && self.ctx.shutdown.is_cancelled() {
                    return Ok(Ended::Stopped);
                }
                continue;
            }
            if since_look >= LOOK_EVERY {
                since_look = 0;
                backoff.reset();
                while knows_its_file(decoder)
                    && let Ok(request) = self.ctx.requests.try_recv()
                {
                    self.serve_one(request, decoder, reading).await?;
                }
                if (reading.flushed.elapsed() >= FLUSH_EVERY || self.ctx.writer.wants_flush())
                    && let Some(ended) = self.settle(decoder, reading, false).await?
                {
                    return Ok(ended);
                }
            }
        }
    }

    /// At a boundary: what was read is handed over; says whether that was all there is to do.
    async fn settle(&mut self, decoder: &Decoder, reading: &mut Reading, dry: bool) -> Result<Option<Ended>, Failure> {
        if reading.dirty {
            self.checkpoint_and_flush(&decoder.position()).await?;
            reading.dirty = false;
            reading.flushed = Instant::now();
        }
        self.ctx.live.source.read(decoder.origin().commit_micros, now_micros());
        if dry {
            self.ctx.live.source.caught_up(now_micros());
        }
        if self.ctx.shutdown.is_cancelled() {
            return Ok(Some(Ended::Stopped));
        }
        let idle = self.ctx.waiting.is_empty() && self.ctx.exact.is_none() && self.ctx.snapshot_is_done();
        if let Some(target) = reading.target.as_ref().filter(|_| idle) {
            let (file, pos) = decoder.boundary();
            let at = FilePos { file: file.to_owned(), pos };
            if at.reaches(&FilePos { file: target.file.clone(), pos: target.pos }) != Some(false) {
                return Ok(Some(Ended::CaughtUp));
            }
        }
        Ok(None)
    }

    async fn serve_one(
        &mut self,
        request: Request,
        decoder: &mut Decoder,
        reading: &mut Reading,
    ) -> Result<(), Failure> {
        self.serve(request, &decoder.position(), &placed(decoder)).await?;
        reading.dirty = true;
        self.tell_forgotten(decoder);
        Ok(())
    }

    /// Takes one event; true if it was rows of a table that is not captured.
    async fn event(
        &mut self,
        event: &RawEvent<'_>,
        decoder: &mut Decoder,
        reading: &mut Reading,
    ) -> Result<bool, Failure> {
        if event.header.kind == kind::QUERY && may_be_a_statement(event.data) && !self.ctx.writer.is_fragmented() {
            // Decoding it may move the decoder's position behind it.
            self.save_position(&decoder.position())?;
        }
        match decoder.decode(event)? {
            Item::Nothing | Item::Begin | Item::Heartbeat => {
                // A position can pass a chunk's without a transaction: rotation, heartbeats.
                if decoder.at_boundary() {
                    self.place(decoder, false).await?;
                }
            }
            Item::Rows { slot, op, images } => {
                let slot_index = usize::try_from(slot.0).unwrap_or(usize::MAX);
                let index = match reading.slots.get(slot_index).copied().flatten() {
                    Some(index) => index,
                    None => self.bind(slot, slot_index, decoder, reading)?,
                };
                if self.must_save_position(images.len()) {
                    self.save_position(&decoder.position())?;
                }
                self.stream_rows(index, op, &images, &decoder.origin()).await?;
            }
            Item::Schema { slot, schema } => {
                if self.must_save_position(usize::MAX / 2) {
                    self.save_position(&decoder.position())?;
                }
                self.schema(&schema, &decoder.origin()).await?;
                let slot_index = usize::try_from(slot.0).unwrap_or(usize::MAX);
                self.bind(slot, slot_index, decoder, reading)?;
            }
            Item::Filtered { .. } => return Ok(true),
            Item::Statement(statement) => {
                reading.ahead = !statement.in_transaction;
                let mode = SqlMode::from_bits(statement.sql_mode);
                let origin = decoder.origin();
                self.statement(&statement.sql, &statement.database, mode, &origin).await?;
                if !statement.in_transaction {
                    self.end_of_group(decoder, reading).await?;
                }
            }
            Item::Commit => self.end_of_group(decoder, reading).await?,
            Item::Rollback => {
                self.roll_back(&decoder.position()).await?;
                reading.slots.clear();
                self.tell_forgotten(decoder);
            }
        }
        Ok(false)
    }

    async fn end_of_group(&mut self, decoder: &mut Decoder, reading: &mut Reading) -> Result<(), Failure> {
        let exact = self.ctx.exact.as_ref().map(|read| read.table.clone());
        let touched = exact.is_some_and(|table| self.touches(&table));
        reading.ahead = true;
        self.end_group(&decoder.origin())?;
        reading.ahead = false;
        if !self.forgotten.is_empty() {
            self.tell_forgotten(decoder);
            reading.slots.clear();
        }
        self.place(decoder, touched).await
    }

    /// Places what waits for the stream to come here.
    async fn place(&mut self, decoder: &mut Decoder, touched: bool) -> Result<(), Failure> {
        if self.ctx.waiting.is_empty() && self.ctx.exact.is_none() {
            return Ok(());
        }
        let (at, origin) = (decoder.position(), placed(decoder));
        self.place_exact(&at, touched, &origin).await?;
        self.place_waiting(&at, &origin).await?;
        self.tell_forgotten(decoder);
        Ok(())
    }

    fn tell_forgotten(&mut self, decoder: &mut Decoder) {
        for table in self.forgotten.drain(..) {
            decoder.forget(&table);
        }
    }

    fn bind(
        &mut self,
        slot: TableSlot,
        slot_index: usize,
        decoder: &Decoder,
        reading: &mut Reading,
    ) -> Result<usize, Failure> {
        let name =
            decoder.table(slot).ok_or_else(|| Failure::fatal("a rows event names a table that was never mapped"))?;
        let index = self.ctx.registry.index(name);
        if reading.slots.len() <= slot_index {
            reading.slots.resize(slot_index + 1, None);
        }
        if let Some(bound) = reading.slots.get_mut(slot_index) {
            *bound = Some(index);
        }
        Ok(index)
    }
}

/// Whether a `QUERY` event can be more than the begin or end of a transaction, which every transaction has.
fn may_be_a_statement(data: &[u8]) -> bool {
    // The statement follows the default database and its terminating zero byte.
    !data.ends_with(b"\0BEGIN") && !data.ends_with(b"\0COMMIT")
}

/// Whether positions of other connections can be compared with the stream's: after a start by GTID the server names its
/// file with the first group or heartbeat.
fn knows_its_file(decoder: &Decoder) -> bool {
    !decoder.boundary().0.is_empty()
}

/// Origin of frames that a snapshot places here: the stream's position, and the time of ours.
fn placed(decoder: &Decoder) -> Origin {
    Origin { commit_micros: now_micros(), ..decoder.origin() }
}
