//! The ingest loop: reads the stream, reconnects, and decides when the log's writer gets what has gathered.
//!
//! Steady state: events that are ready are taken without waiting; what they make is handed over when 1 MiB has gathered,
//! when [`FLUSH_EVERY`] has passed, or when the stream runs dry, whichever is first. So a burst shares commits and a single
//! transaction is durable a moment after it was read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Appender, Lsn, Reader, Wal};

use super::place::WaitingChunk;
use super::registry::Registry;
use super::session::Session;
use super::state::{Reread, stored_position};
use super::windows::Windows;
use super::writer::LogWriter;
use crate::config::SourcePlan;
use crate::deliver::Backoff;
use crate::error::{ErrorClass, Failure};
use crate::model::SourcePosition;
use crate::source::mysql::binlog::{BinlogStream, Decoder, Item};
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::snapshot::handoff::{ExactRead, FilePos, Request};
use crate::source::mysql::{connect, start};
use crate::telemetry::{Live, SourcePhase, now_micros};

/// Longest time that what was read waits for more, while more keeps coming.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// Events between two looks at the clock and at the requests of snapshot readers.
const LOOK_EVERY: u32 = 64;

/// Until when the loop runs.
#[derive(Clone, Debug)]
pub enum Until {
    /// Until told to stop.
    Stopped,
    /// Until everything that the server had at the start is in the log, and the snapshot is done.
    CaughtUp {
        /// Whether every snapshot is done.
        snapshot_done: watch::Receiver<bool>,
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
                    self.writer.flush_durable().await?;
                    self.live.source.phase(SourcePhase::Stopped, None);
                    return Ok(self.reader.positions().durable);
                }
                Err(failure) if failure.class == ErrorClass::Retry => {
                    self.forget_open_work().await?;
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
                    self.forget_open_work().await?;
                    error!(error = %failure.chain(), "source stopped");
                    self.live.source.phase(SourcePhase::Failed, Some(failure.chain()));
                    return Err(failure);
                }
            }
        }
    }

    /// Back to the last finished group: what was open is forgotten, in the log and here.
    async fn forget_open_work(&mut self) -> Result<(), Failure> {
        self.writer.abort().await?;
        self.writer.flush_durable().await?;
        self.registry = Registry::load(&self.reader)?;
        self.rereads.clear();
        self.windows.invalidate_all();
        self.exact = None;
        self.start_jobs();
        Ok(())
    }

    /// Hands what has gathered to the log, and shows it while the log is full.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let flush = self.writer.flush();
        tokio::pin!(flush);
        let soon = tokio::time::timeout(Duration::from_millis(200), &mut flush).await;
        if let Ok(done) = soon {
            return done;
        }
        if self.reader.positions().full {
            warn!("the log is full: reading waits until a sink has caught up (wal.max_size)");
            self.live.source.phase(SourcePhase::LogFull, None);
        }
        tokio::select! {
            done = &mut flush => done?,
            () = self.shutdown.cancelled() => {
                return Err(Failure::retry("stopped while the log was full"));
            }
        }
        self.live.source.phase(SourcePhase::Streaming, None);
        Ok(())
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

    async fn session(&mut self, backoff: &mut Backoff) -> Result<Ended, Failure> {
        let mut conn = connect::connect(&self.plan).await?;
        let server = ServerInfo::probe(&mut conn).await?;
        server.require_usable()?;
        self.live.source.server(server.to_string());
        let stored = stored_position(&self.reader)?;
        let from = start::start_point(&mut conn, &server, &self.plan, stored.as_ref()).await?;
        let target = match self.until {
            Until::Stopped => None,
            Until::CaughtUp { .. } => Some(server.current_position(&mut conn).await?),
        };
        if stored.is_none() {
            // The first position becomes durable before anything is read, so that a crash cannot move the start.
            self.store_first(from.position()).await?;
        }
        drop(conn.disconnect().await);
        let mut decoder = Decoder::new(&server, &self.plan, &from);
        let mut stream = BinlogStream::open(&self.plan, &server, &from).await?;
        info!(server = %server, position = %from, "reading the binlog");
        self.live.source.phase(SourcePhase::Streaming, None);
        let mut session = Session::new(self, server);
        let ended = session.read(&mut stream, &mut decoder, target, backoff).await;
        session.close().await;
        ended
    }

    async fn store_first(&mut self, position: &SourcePosition) -> Result<(), Failure> {
        let value = crate::codec::state::encode("the source position", position)?;
        self.writer.checkpoint(super::state::POSITION, &value);
        self.writer.flush_durable().await
    }
}

impl Session<'_> {
    async fn read(
        &mut self,
        stream: &mut BinlogStream,
        decoder: &mut Decoder,
        target: Option<SourcePosition>,
        backoff: &mut Backoff,
    ) -> Result<Ended, Failure> {
        let mut slots: Vec<usize> = Vec::new();
        let mut since_look = 0_u32;
        let mut flushed = Instant::now();
        let mut dirty = true;
        loop {
            let event = match stream.try_next()? {
                Some(event) => event,
                None => {
                    // Dry: everything read becomes durable, then whoever speaks first is heard.
                    if decoder.at_boundary() {
                        if dirty {
                            self.checkpoint_and_flush(&decoder.position()).await?;
                            dirty = false;
                            flushed = Instant::now();
                        }
                        self.ctx.live.source.caught_up(now_micros());
                        if self.is_done(decoder, target.as_ref()) {
                            return Ok(Ended::CaughtUp);
                        }
                        if self.ctx.shutdown.is_cancelled() {
                            return Ok(Ended::Stopped);
                        }
                        tokio::select! {
                            event = stream.next() => event?,
                            Some(request) = self.ctx.requests.recv() => {
                                self.serve(request, &decoder.position(), &decoder.origin()).await?;
                                dirty = true;
                                self.tell_forgotten(decoder);
                                continue;
                            }
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                            () = self.ctx.snapshot_done() => continue,
                        }
                    } else {
                        tokio::select! {
                            event = stream.next() => event?,
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                        }
                    }
                }
            };
            backoff.reset();
            since_look += 1;
            let boundary = self.event(&event, decoder, &mut slots).await?;
            dirty = true;
            if boundary {
                self.tell_forgotten(decoder);
                if !self.ctx.waiting.is_empty() || self.ctx.exact.is_some() {
                    self.place(decoder).await?;
                }
                if since_look >= LOOK_EVERY {
                    since_look = 0;
                    while let Ok(request) = self.ctx.requests.try_recv() {
                        self.serve(request, &decoder.position(), &decoder.origin()).await?;
                        self.tell_forgotten(decoder);
                    }
                    if flushed.elapsed() >= FLUSH_EVERY || self.ctx.writer.wants_flush() {
                        self.checkpoint_and_flush(&decoder.position()).await?;
                        flushed = Instant::now();
                        dirty = false;
                        self.ctx.live.source.read(decoder.origin().commit_micros, now_micros());
                        if self.is_done(decoder, target.as_ref()) {
                            return Ok(Ended::CaughtUp);
                        }
                    }
                    if self.ctx.shutdown.is_cancelled() {
                        return Ok(Ended::Stopped);
                    }
                }
            }
        }
    }
}
