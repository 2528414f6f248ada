//! The answering side of the socket.
//!
//! Assumes that the caller holds the log's lock, so that a socket file found is one that a killed daemon left behind.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::protocol::{
    BackfillJob, BackfillTaken, LettersTaken, MAX_REQUEST, Reply, Request, Resync, ResyncTaken, TableTaken,
};
use super::socket::{SOCKET_FILE, SocketPath};
use crate::dead::Hub;
use crate::error::Failure;
use crate::inspect::{self, LetterQuery, Matched};
use crate::model::TableName;
use crate::telemetry::{Reporter, SinkPhase, SinkStatus};

/// Items of an answer that wait for a slow reader.
const QUEUE: usize = 64;

/// Tables that somebody wants read again, and whom to tell whether that will be done.
#[derive(Debug)]
pub struct BackfillRequest {
    /// The tables; at least one.
    pub jobs: Vec<BackfillJob>,
    /// Told once the jobs are taken, or why not; not when they are done.
    pub reply: oneshot::Sender<Result<BackfillTaken, Failure>>,
}

/// What an operator asks of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkAsk {
    /// To begin again with every table.
    Reset,
    /// To stop.
    Pause {
        /// Who asks for it.
        by: String,
        /// Why.
        why: Option<String>,
    },
    /// To continue where it has stopped.
    Resume,
}

/// What an operator asks of a sink, and where the answer goes.
#[derive(Debug)]
pub struct SinkRequest {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub ask: SinkAsk,
    /// Sent once the log holds it, or why not; not when a reset sink has every table again.
    pub reply: oneshot::Sender<Result<(), Failure>>,
}

/// What an operator asks of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableAsk {
    /// To be left out. Who, and why.
    Skip(String),
    /// To be read again, and no longer left out. Who.
    Resume(String),
    /// To give up the reads that an operator has asked for. Who.
    Cancel(String),
}

/// What an operator asks of a table, and where the answer goes.
#[derive(Debug)]
pub struct TableRequest {
    /// The table, as the operator spells it.
    pub table: TableName,
    /// What is asked.
    pub ask: TableAsk,
    /// Sent once it is stored, or why it is refused. Nothing is done for a caller that has gone before.
    pub reply: oneshot::Sender<Result<TableTaken, Failure>>,
}

/// Tables that somebody wants read again in place of what sinks have.
#[derive(Debug)]
pub struct ResyncRequest {
    /// Which, and for whom.
    pub resync: Resync,
    /// Sent once all of them are stored, or why none is. Nothing is done for a caller that has gone before.
    pub reply: oneshot::Sender<Result<usize, Failure>>,
}

/// What the server answers from.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The state.
    pub reporter: Reporter,
    /// The log.
    pub wal: wal::Wal,
    /// The dead letters of all sinks.
    pub dead: Arc<Hub>,
    /// Where backfills go.
    pub backfills: mpsc::Sender<BackfillRequest>,
    /// Where what is asked of sinks goes.
    pub sinks: mpsc::Sender<SinkRequest>,
    /// Where what is asked of tables goes.
    pub tables: mpsc::Sender<TableRequest>,
    /// Where resyncs go.
    pub resyncs: mpsc::Sender<ResyncRequest>,
}

/// The open socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    file: PathBuf,
}

impl ControlServer {
    /// Opens the socket beside the log in `directory`, whose lock the caller holds.
    ///
    /// # Errors
    /// Fatal, when it cannot be made.
    pub fn bind(directory: &Path) -> Result<Self, Failure> {
        let file = directory.join(SOCKET_FILE);
        let failed = |error: io::Error| {
            Failure::fatal(format!("cannot open the control socket \"{}\"", file.display())).caused_by(error)
        };
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let path = SocketPath::of_log(directory).map_err(failed)?;
        let listener = UnixListener::bind(path.as_path()).map_err(failed)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, file })
    }

    /// Answers until told to stop.
    pub async fn serve(self, daemon: Daemon, shutdown: CancellationToken) {
        let daemon = Arc::new(daemon);
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        warn!(error = %error, "cannot accept a connection on the control socket");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                },
                () = shutdown.cancelled() => return,
            };
            if !is_allowed(&stream) {
                warn!("refused a connection of another user on the control socket");
                continue;
            }
            let daemon = Arc::clone(&daemon);
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                tokio::select! {
                    answered = answer(stream, &daemon) => if let Err(error) = answered {
                        // Whoever asked has gone, as `inspect | head` does.
                        debug!(error = %error, "a connection on the control socket ended early");
                    },
                    () = shutdown.cancelled() => {}
                }
            });
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // The next start removes it as well; this only spares commands the attempt to connect.
        if let Err(error) = fs::remove_file(&self.file) {
            debug!(error = %error, "cannot remove the control socket");
        }
    }
}

/// The file's mode is set after it is made; a connection from in between is told apart by its user.
fn is_allowed(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw() || peer.uid() == 0)
}

async fn answer(stream: UnixStream, daemon: &Daemon) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_REQUEST)).read_line(&mut line).await?;
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let failed = Failure::fatal("the daemon does not understand the request").caused_by(error);
            let failed = failed.hint("use the replicator of the same version as the daemon");
            return send(&mut write, &failed.into()).await;
        }
    };
    match request {
        Request::Status => one(&mut write, &daemon.reporter.status()).await,
        Request::Backfill { jobs } => match hand_over(daemon, jobs).await {
            Ok(taken) => one(&mut write, &taken).await,
            Err(failure) => send(&mut write, &failure.into()).await,
        },
        Request::Resync { resync } => match take_resync(daemon, resync.clone()).await {
            Ok(tables) => {
                let sinks = daemon.reporter.status().sinks;
                let failed_sinks = sinks_in(&[SinkPhase::Failed, SinkPhase::Detached], &sinks, &resync);
                let paused_sinks = sinks_in(&[SinkPhase::Paused], &sinks, &resync);
                one(&mut write, &ResyncTaken { tables, failed_sinks, paused_sinks }).await
            }
            Err(failure) => send(&mut write, &failure.into()).await,
        },
        Request::DropCursor { name } => {
            let dropped = drop_cursor(daemon, &name).await;
            send(&mut write, &dropped.map_or_else(Reply::from, |()| Reply::Done)).await
        }
        Request::ResetSink { name } => {
            let reset = ask_sink(daemon, name, SinkAsk::Reset).await;
            send(&mut write, &reset.map_or_else(Reply::from, |()| Reply::Done)).await
        }
        Request::PauseSink { name, by, why } => {
            let paused = ask_sink(daemon, name, SinkAsk::Pause { by, why }).await;
            send(&mut write, &paused.map_or_else(Reply::from, |()| Reply::Done)).await
        }
        Request::ResumeSink { name } => {
            let resumed = ask_sink(daemon, name, SinkAsk::Resume).await;
            send(&mut write, &resumed.map_or_else(Reply::from, |()| Reply::Done)).await
        }
        Request::SkipTable { table, why } => table_answer(&mut write, daemon, table, TableAsk::Skip(why)).await,
        Request::ResumeTable { table, why } => table_answer(&mut write, daemon, table, TableAsk::Resume(why)).await,
        Request::CancelReads { table, why } => table_answer(&mut write, daemon, table, TableAsk::Cancel(why)).await,
        Request::Table { table } => match inspect::table_shown(&daemon.wal.reader(), &table) {
            Ok(shown) => one(&mut write, &shown).await,
            Err(failure) => send(&mut write, &failure.into()).await,
        },
        Request::Inspect { query } => {
            let reader = daemon.wal.reader();
            stream_items(&mut write, move |take| inspect::inspect(&reader, &query, take)).await
        }
        Request::Letters { query } => {
            if let Err(failure) = acknowledgements(&daemon.wal).await {
                return send(&mut write, &failure.into()).await;
            }
            let reader = daemon.wal.reader();
            stream_items(&mut write, move |take| inspect::letters(&reader, &query, take)).await
        }
        Request::Settle { query, discard } => {
            let settled = settle_letters((&daemon.wal, &daemon.dead), query, discard).await;
            match settled {
                Ok(taken) => one(&mut write, &taken).await,
                Err(failure) => send(&mut write, &failure.into()).await,
            }
        }
        Request::Verify => {
            let reader = daemon.wal.reader();
            let verify = move |take: &mut dyn FnMut(&inspect::Verdict) -> bool| {
                let verdict = inspect::verify(&reader)?;
                take(&verdict);
                Ok(())
            };
            stream_items(&mut write, verify).await
        }
    }
}

/// The cursors of the daemon's own sinks stay: it holds the log for them.
async fn drop_cursor(daemon: &Daemon, name: &str) -> Result<(), Failure> {
    let is_running = |sink: &SinkStatus| sink.name == name && sink.state != SinkPhase::Unconfigured;
    if daemon.reporter.status().sinks.iter().any(is_running) {
        return Err(Failure::fatal(format!("sink \"{name}\" is running: its cursor is in use"))
            .hint("take the sink out of the configuration and restart the daemon first"));
    }
    forget_sink(&daemon.wal, name).await?;
    daemon.dead.of(name).load(&daemon.wal.reader(), wal::Lsn::ZERO)
}

/// Removes the cursor of a sink, and what is stored of the sink. A crash between the two leaves records of a sink without
/// a cursor; they are removed when a sink of that name gets one.
///
/// # Errors
/// Fatal, when the log has no such cursor, or is out of service.
pub async fn forget_sink(wal: &wal::Wal, name: &str) -> Result<(), Failure> {
    let failed = |error| Failure::fatal(format!("cannot drop cursor \"{name}\"")).caused_by(error);
    wal.drop_cursor(name).await.map_err(failed)?;
    wal.put_state(inspect::state_of_dropped_sink(&wal.reader(), name)?).await.map_err(failed)
}

/// Acknowledgements ride with a later commit; after this the log has what there was.
async fn acknowledgements(wal: &wal::Wal) -> Result<(), Failure> {
    wal.put_state(Vec::new()).await.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))
}

/// Removes dead letters, or has them tried again by the sinks' deliveries.
///
/// # Errors
/// Fatal, when the log cannot be read, or is out of service.
pub async fn settle_letters(
    (wal, dead): (&wal::Wal, &Arc<Hub>),
    query: LetterQuery,
    discard: bool,
) -> Result<LettersTaken, Failure> {
    acknowledgements(wal).await?;
    let reader = wal.reader();
    let matched = tokio::task::spawn_blocking(move || inspect::matched(&reader, &query)).await;
    let matched = matched.unwrap_or_else(|_| Err(Failure::fatal("reading the log failed unexpectedly")))?;
    let mut taken = LettersTaken::default();
    for Matched { sink, ids } in matched {
        let letters = dead.of(&sink);
        taken.letters += ids.len();
        let state = if discard { letters.discard(&ids) } else { letters.want(&ids)? };
        let stored = wal.put_state(state).await;
        stored.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))?;
        letters.wake();
    }
    Ok(taken)
}

async fn hand_over(daemon: &Daemon, jobs: Vec<BackfillJob>) -> Result<BackfillTaken, Failure> {
    let gone = || Failure::fatal("the daemon is stopping and takes no backfills");
    let (reply, answer) = oneshot::channel();
    daemon.backfills.send(BackfillRequest { jobs, reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

async fn ask_sink(daemon: &Daemon, name: String, ask: SinkAsk) -> Result<(), Failure> {
    let gone = || Failure::fatal("the daemon is stopping, and does nothing to its sinks any more");
    let (reply, answer) = oneshot::channel();
    daemon.sinks.send(SinkRequest { name, ask, reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

async fn table_answer(write: &mut OwnedWriteHalf, daemon: &Daemon, table: TableName, ask: TableAsk) -> io::Result<()> {
    let gone = || Failure::fatal("the daemon is stopping, or its stream was opened again; ask again");
    let (reply, answer) = oneshot::channel();
    let asked = async {
        daemon.tables.send(TableRequest { table, ask, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    };
    match stored_in_time(asked).await {
        Ok(taken) => one(write, &taken).await,
        Err(failure) => send(write, &failure.into()).await,
    }
}

/// The sinks of a resync that are in one of these states: they take nothing.
fn sinks_in(states: &[SinkPhase], sinks: &[SinkStatus], resync: &Resync) -> Vec<String> {
    let is_in = |sink: &&SinkStatus| states.contains(&sink.state) && resync.is_for(&sink.name);
    sinks.iter().filter(is_in).map(|sink| sink.name.clone()).collect()
}

/// How long what is asked of tables may take to be stored; the asking side gives up after a minute.
const STORED_WITHIN: Duration = Duration::from_secs(30);

async fn take_resync(daemon: &Daemon, resync: Resync) -> Result<usize, Failure> {
    let gone = || Failure::fatal("the daemon is stopping and takes no resync");
    let (reply, answer) = oneshot::channel();
    let asked = async {
        daemon.resyncs.send(ResyncRequest { resync, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    };
    stored_in_time(asked).await
}

/// Waits until the loop has stored what is asked for; a loop whose source is away, or whose log is full, does so later.
async fn stored_in_time<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(STORED_WITHIN, asked).await.unwrap_or_else(|_| {
        let seconds = STORED_WITHIN.as_secs();
        Err(Failure::fatal(format!("the daemon has not stored within {seconds} s what it was asked for"))
            .hint("replicator status says whether the source is away or the log is full, and which tables are being read; then ask again"))
    })
}

/// Runs `produce` on a thread of its own, because the log is read there, and sends on what it gives.
async fn stream_items<T: Serialize + 'static>(
    write: &mut OwnedWriteHalf,
    produce: impl FnOnce(&mut dyn FnMut(&T) -> bool) -> Result<(), Failure> + Send + 'static,
) -> io::Result<()> {
    let (sender, mut items) = mpsc::channel(QUEUE);
    let producer = tokio::task::spawn_blocking(move || {
        let mut unwritable = None;
        let mut take = |item: &T| match serde_json::to_value(item) {
            // A send fails only when whoever asked has gone.
            Ok(item) => sender.blocking_send(Reply::Item(item)).is_ok(),
            Err(error) => {
                unwritable = Some(Failure::fatal("an item cannot be written as JSON").caused_by(error));
                false
            }
        };
        produce(&mut take)?;
        unwritable.map_or(Ok(()), Err)
    });
    while let Some(item) = items.recv().await {
        send(write, &item).await?;
    }
    let ended = producer.await.unwrap_or_else(|_| Err(Failure::fatal("reading the log failed unexpectedly")));
    send(write, &ended.map_or_else(Reply::from, |()| Reply::Done)).await
}

/// [`Reply::Item`], as its parts are: those of many tables take less memory than a tree of values.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Sent<'i, T> {
    Item(&'i T),
}

async fn one(write: &mut OwnedWriteHalf, item: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Sent::Item(item)).map_err(io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    send(write, &Reply::Done).await
}

async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await
}
