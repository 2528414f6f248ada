//! The ingest loop: opens the stream, reconnects, and ends.
//!
//! A connection's stream is read by [`super::reading`]; what waits for the log waits in [`super::waits`].

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Appender, Lsn, Reader, Wal};

use super::core::{ChangedLife, Core, Due, Facts, Settings};
use super::ledger::{TooLarge, WalLog};
use super::prepared::{Looks, Wait};
use super::questions::Questions;
use super::reading::Session;
use super::refused::RefusedPosition;
use super::state::stored_position;
use super::waits::Patience;
use crate::backoff::Backoff;
use crate::codec::stored::{SOURCE_REFUSED, encode};
use crate::config::{SourcePlan, Startup};
use crate::error::{ErrorClass, Failure};
use crate::model::{FilePos, ServerIdentity, SourcePosition, Xid};
use crate::source::mysql::binlog::{BinlogStream, Decoder};
use crate::source::mysql::meet::Met;
use crate::source::mysql::names::require_started_with;
use crate::source::mysql::places::binlog_end;
use crate::source::mysql::question;
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::snapshot::Job;
use crate::source::mysql::snapshot::handoff::Request;
use crate::source::mysql::snapshot::spool::Spool;
use crate::source::mysql::start::{self, DumpBy};
use crate::source::mysql::stream_server::StreamServer;
use crate::source::mysql::watch::{Watch, Watched};
use crate::source::mysql::xa;
use crate::telemetry::{Live, SourcePhase, now_micros};

/// Until when the loop runs.
#[derive(Clone, Debug)]
pub enum Until {
    /// Until told to stop.
    Stopped,
    /// Until everything that the server had at the start is in the log, and every read is done that can be.
    CaughtUp {
        /// How many have still to say which tables they want to be read.
        asking: watch::Receiver<usize>,
    },
}

/// The ingest loop and what it owns.
pub struct Ingest {
    pub(super) plan: SourcePlan,
    /// The connection of the first contact, until the stream takes it.
    met: Option<Met>,
    pub(super) wal: Wal,
    pub(super) reader: Reader,
    pub(super) core: Core<WalLog>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Where rows wait for the copy of their table.
    pub(super) spool: Arc<Spool>,
    jobs: mpsc::UnboundedSender<Job>,
    /// Reads that are due, until what made them due is handed over.
    due: Vec<Job>,
    /// Whether they wait for transactions that were prepared before the log began.
    wait: Wait,
    /// Requests that are served later.
    pub(super) held: Vec<Request>,
    started: Instant,
    /// Which server the stream reads, for the connections beside it.
    stream_server: StreamServer,
    /// The server whose stream has ended with an error, until another one is opened.
    ended_at: Option<ServerIdentity>,
    /// Where a server refused to send more, until the position has been checked against it.
    refused_at: Option<SourcePosition>,
    /// When [`Ingest::deciding_beside`] looked last.
    pub(super) looked: tokio::time::Instant,
    pub(super) live: Arc<Live>,
    pub(super) shutdown: CancellationToken,
    pub(super) until: Until,
}

/// What an [`Ingest`] is connected to.
pub struct Wiring {
    /// The connection of the first contact.
    pub met: Met,
    /// The sinks that are configured.
    pub sinks: Vec<String>,
    /// The log's position was taken just now.
    pub is_new: bool,
    /// The log.
    pub wal: Wal,
    /// Its appender.
    pub appender: Appender,
    /// Requests of the snapshot readers.
    pub requests: mpsc::Receiver<Request>,
    /// Where rows wait for the copy of their table.
    pub spool: Arc<Spool>,
    /// Takes the reads that are due.
    pub jobs: mpsc::UnboundedSender<Job>,
    /// Where the state is shown.
    pub live: Arc<Live>,
    /// Which server the stream reads, for the connections beside it.
    pub stream_server: StreamServer,
    /// Told to stop.
    pub shutdown: CancellationToken,
    /// Until when it runs.
    pub until: Until,
}

pub(super) enum Ended {
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
        let settings = Settings {
            filter: plan.filter.clone(),
            initial: plan.startup == Startup::Initial,
            sinks: wiring.sinks,
            describe_wait: u64::try_from(plan.describe_wait.as_millis()).unwrap_or(u64::MAX),
            doubts: plan.doubts.clone(),
            frame_bytes: Settings::FRAME_BYTES,
            xa_bytes: plan.xa_bytes.min(most_xa_bytes(&reader)?),
            xa_piece_bytes: Settings::XA_PIECE_BYTES,
        };
        let log = WalLog::new(wiring.appender, reader.clone());
        let core = Core::load(log, &reader, settings, facts(&wiring.met.server))?;
        let wait = if wiring.is_new { Wait::begin(&core, plan.xa_wait) } else { Wait::none() };
        wiring.live.source.waits_for(wait.names(&core));
        Ok(Self {
            plan,
            met: Some(wiring.met),
            wal: wiring.wal,
            reader,
            core,
            requests: wiring.requests,
            spool: wiring.spool,
            jobs: wiring.jobs,
            due: Vec::new(),
            wait,
            held: Vec::new(),
            started: Instant::now(),
            stream_server: wiring.stream_server,
            ended_at: None,
            refused_at: None,
            looked: tokio::time::Instant::now(),
            live: wiring.live,
            shutdown: wiring.shutdown,
            until: wiring.until,
        })
    }

    /// Runs until told to stop, caught up, or failed. Returns the last LSN of the log.
    ///
    /// # Errors
    /// The failure that stopped the stream. Failures worth a retry are retried without end.
    pub async fn run(mut self) -> Result<Lsn, Failure> {
        let mut backoff = Backoff::default();
        loop {
            let ended = self.session(&mut backoff).await;
            match ended {
                Ok(Ended::CaughtUp | Ended::Stopped) => {
                    self.make_durable(Patience::UntilStopped).await?;
                    self.live.source.phase(SourcePhase::Stopped, None);
                    return Ok(self.reader.positions().durable);
                }
                Err(failure) if failure.class == ErrorClass::Retry => {
                    self.make_durable(Patience::UntilStopped).await?;
                    self.tell_readers();
                    if self.shutdown.is_cancelled() {
                        self.live.source.phase(SourcePhase::Stopped, Some(failure.chain()));
                        return Ok(self.reader.positions().durable);
                    }
                    let wait = backoff.next_wait();
                    warn!(error = %failure.chain(), attempt = backoff.attempts(), ?wait, "source lost, trying again");
                    self.live.source.reconnected();
                    self.live.source.phase(SourcePhase::Reconnecting, Some(failure.chain()));
                    let shutdown = self.shutdown.clone();
                    self.deciding_beside(async move {
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            () = shutdown.cancelled() => {}
                        }
                    })
                    .await?;
                }
                Err(failure) => {
                    // First: a full log may not take what was read before it.
                    error!(error = %failure.chain(), "source stopped");
                    self.live.source.phase(SourcePhase::Failed, Some(failure.chain()));
                    match self.make_durable(Patience::Moment).await {
                        // What does not fit is still there, and was said already.
                        Err(again) if TooLarge::of(&again).is_some() => return Err(failure),
                        made => made?,
                    }
                    if let Err(unstored) = self.note_refusal(&failure).await {
                        error!(error = %unstored.chain(), "the log does not know why the source stopped: start --resync may not help");
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// Takes note of the records of tables that have changed: they are shown once they are durable. Comes before that, so that whoever sees
    /// a position sees what is still to be read.
    pub(super) fn show_lives(&mut self) {
        if !self.core.has_changed_lives() {
            return;
        }
        let lsns = (self.core.ended(), self.reader.positions().durable);
        for ChangedLife { table, record, due } in self.core.changed_lives() {
            let unreadable = record.unreadable.is_some();
            self.live.record_once_durable(&table, record, lsns);
            let read = match due {
                Due::AsBefore => continue,
                Due::Nothing => None,
                Due::Read(read) => Some(*read),
            };
            self.due.push(Job::Read { table, read, unreadable });
        }
    }

    /// Tells the readers which reads are due. Comes after what made them due is handed over: it is in the log once everything that was
    /// appended is durable, and a reader that is ahead of that asks for nothing that a crash would undo.
    pub(super) fn tell_readers(&mut self) {
        self.show_lives();
        let waited = self.wait.waits(&self.core);
        self.live.source.waits_for(self.wait.names(&self.core));
        if waited {
            return;
        }
        for job in self.due.drain(..) {
            if self.jobs.send(job).is_err() {
                // The readers end before this loop only at a shutdown; the record stands in the log for the next start.
                return;
            }
        }
    }

    /// Tells the core what time it is.
    pub(super) fn set_time(&mut self) {
        let now = self.time_of(Instant::now());
        self.core.set_time(now, now_micros());
    }

    /// A time by the core's clock.
    pub(super) fn time_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether every read is done that can be. What cannot be read is not waited for once this run has tried it: the run ends with its
    /// error.
    pub(super) fn reads_are_done(&self) -> bool {
        match &self.until {
            Until::Stopped => false,
            Until::CaughtUp { asking } => *asking.borrow() == 0 && !self.core.awaits() && self.core.reads_were_tried(),
        }
    }

    /// Returns when somebody has said what is to be read; never when that does not matter. What changes between a look at it and this
    /// call counts as well.
    pub(super) async fn asked(until: &mut Until) {
        match until {
            Until::Stopped => std::future::pending().await,
            Until::CaughtUp { asking } => {
                if asking.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Result<Ended, Failure> {
        self.ended_at = None;
        let shutdown = self.shutdown.clone();
        let prepared = self.core.prepared_transactions();
        let asks = !prepared.is_empty();
        let asked_at = self.time_of(Instant::now());
        let opening =
            Box::pin(open(self.plan.clone(), self.met.take(), self.reader.clone(), (Arc::clone(&self.live), asks)));
        let opened = self
            .deciding_beside(async move {
                tokio::select! {
                    opened = opening => Some(opened),
                    () = shutdown.cancelled() => None,
                }
            })
            .await?;
        let Some(opened) = opened.transpose()? else { return Ok(Ended::Stopped) };
        let Opened { server, from, end, listed, mut stream, mut decoder, by_gtid } = opened;
        let target = match self.until {
            Until::Stopped => None,
            Until::CaughtUp { .. } => Some(end.clone()),
        };
        let listed = listed.map(|listed| (listed, end.clone()));
        let end = self.core.needs_end(&server.identity).then_some(end);
        self.live.source.phase(SourcePhase::Streaming, None);
        self.set_time();
        self.core.connected(facts(&server), &from, end.as_ref())?;
        let is_listed = listed.is_some();
        if let Some((listed, end)) = listed {
            self.core.listed(prepared, listed, (end, asked_at))?;
        }
        self.stream_server.set(server.identity.clone());
        let identity = server.identity.clone();
        let watched = Watched { identity: identity.clone(), by_gtid };
        let watch = Watch::start(self.plan.clone(), self.stream_server.clone(), watched);
        let questions = Questions::new(self.plan.clone(), server.clone(), self.stream_server.clone());
        let waits = self.wait.waits(&self.core);
        let looks = Looks::start(self.plan.clone(), server, self.stream_server.clone(), (waits, is_listed));
        let mut session = Session::new(self, (questions, looks), watch, target);
        let ended = session.read(&mut stream, &mut decoder, backoff).await;
        // Whatever ended it: the groups that have ended stay, together with the position after them, and nothing of the open one does.
        session.close().await?;
        let ended = ended.map_err(|failure| if stream.is_refused() { self.check_again(failure) } else { failure });
        if ended.is_err() {
            self.ended_at = Some(identity);
        }
        ended
    }

    /// A start finds good what a stream ended at: it has to know that the stream cannot be read on from there.
    async fn note_refusal(&mut self, failure: &Failure) -> Result<(), Failure> {
        let (Some(server), Some(position)) = (self.ended_at.take(), stored_position(&self.reader)?) else {
            return Ok(());
        };
        let Some(refused) = RefusedPosition::of(failure, position, server) else { return Ok(()) };
        let change = (SOURCE_REFUSED.key().to_vec(), Some(encode(&refused)?));
        self.wal
            .put_state(vec![change])
            .await
            .map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))
    }

    /// A server that refuses to send more says poorly why: a reset of its binlogs, or another `gtid_mode`, is an error of
    /// reading there. The stream is opened again once at each position, which names what is wrong with it, or continues another
    /// way.
    fn check_again(&mut self, failure: Failure) -> Failure {
        let at = self.core.position();
        if failure.class != ErrorClass::Fatal || self.refused_at.as_ref() == Some(&at) {
            return failure;
        }
        self.refused_at = Some(at);
        Failure { class: ErrorClass::Retry, ..failure }
    }
}

/// Connects, checks that the stream can go on from the log's position, and asks for it. `met`: a connection that is there already.
/// `asks`: for the transactions that are prepared there.
async fn open(
    plan: SourcePlan,
    met: Option<Met>,
    reader: Reader,
    (live, asks): (Arc<Live>, bool),
) -> Result<Opened, Failure> {
    let Met { mut conn, server } = match met {
        Some(met) => met,
        None => Met::meet(&plan).await?,
    };
    require_started_with(plan.filter.names(), &server)?;
    live.source.server(server.to_string());
    let stored = stored_position(&reader)?;
    let stored = stored.ok_or_else(|| Failure::fatal("the log has no source position"))?;
    let from = start::resolve(&mut conn, &server, Some(&stored), &plan.startup).await?;
    let listed = if asks { xa::listed(&mut conn, server.flavour).await? } else { None };
    if asks && listed.is_none() {
        warn!(
            "the account may not ask which transactions are prepared at the source ({}): one that ended without a word in the binlog stays \
             in the log",
            xa::GRANT
        );
    }
    let end = binlog_end(&mut conn, &server).await?;
    let by_gtid = matches!(from.by, DumpBy::MySqlGtid(_));
    let collations = Arc::clone(&server.collations);
    let decoder = Decoder::new(&from, plan.filter.clone(), collations)
        .map_err(|error| Failure::fatal("the stored position cannot be read").caused_by(error))?;
    question::close(conn).await;
    let stream = BinlogStream::open(&plan, &from, plan.server_id).await?;
    info!(server = %server, file = %from.position.file, pos = from.position.pos, "reading the binlog");
    Ok(Opened { server, from: from.position, end, listed, stream, decoder, by_gtid })
}

/// A stream that can be read.
struct Opened {
    server: ServerInfo,
    /// Where it continues.
    from: SourcePosition,
    /// The end of the server's binlog before it was asked for.
    end: FilePos,
    /// The transactions that were prepared there before that end; `None`: it was not asked, or did not say.
    listed: Option<Vec<Xid>>,
    stream: BinlogStream,
    decoder: Decoder,
    /// It was asked for by GTIDs of MySQL.
    by_gtid: bool,
}

/// Bytes of rows of prepared transactions for which a log has room beside its largest group.
fn most_xa_bytes(reader: &Reader) -> Result<u64, Failure> {
    let stats = reader.stats().map_err(|error| Failure::fatal("the log cannot be read").caused_by(error))?;
    Ok(stats.max_bytes / 16)
}

fn facts(server: &ServerInfo) -> Facts {
    Facts {
        flavour: server.flavour,
        version: server.version,
        identity: server.identity.clone(),
        tells_names: server.tells_names(),
    }
}
