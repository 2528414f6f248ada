//! The wiring: opens the log, starts the loops, and brings them down in order. No rule of behaviour is made here.
//!
//! ```text
//!  ingest (one task) --appender--> wal --reader--> deliver (one thread per sink)
//!     ^ requests, ^ jobs                              |
//!  snapshot coordinator (one task)       goal, shutdown
//! ```
//!
//! Shutdown: the token is told; ingest makes durable what it has read; deliveries apply what is in the log if that takes only
//! a moment; the log's writer is drained last.

mod deliveries;
mod jobs;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;
use wal::{Options, Wal};

use self::deliveries::{Deliveries, create_cursors, give_up_when_full, join_deliveries, start_deliveries};
use self::jobs::{forward_backfills, forward_doubts, forward_rereads, queue_jobs};
use self::shown::{show_snapshot, show_tables};
use crate::config::Plan;
use crate::control::{BackfillJob, ControlServer, Daemon};
use crate::deliver::Goal;
use crate::error::Failure;
use crate::first_contact;
use crate::ingest::{self, Ingest, Until, Wiring};
use crate::inspect;
use crate::source::mysql::snapshot::{Coordinator, SnapshotStatus};
use crate::source::mysql::stream_server::StreamServer;
use crate::telemetry::http::HttpServer;
use crate::telemetry::{Live, Reporter, SinkLive};

/// How the daemon is started.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Where the loops show what they do; progress bars read it.
    pub live: Arc<Live>,
    /// A log without a position is an error.
    pub resume: bool,
    /// Go to the source's position as of the start, drain every sink, and return.
    pub once: bool,
    /// Tables to read again.
    pub backfills: Vec<BackfillJob>,
}

/// Requests of snapshot readers that may wait: each is a chunk of a few megabytes at most.
const REQUESTS: usize = 8;

/// Runs the daemon until it is told to stop, is done (`once`), or the source fails. The stream is read where this is awaited, best on a
/// thread that waits for its socket itself; everything else is a task of `workers`, or has a thread of its own.
///
/// # Errors
/// What stopped the source; with `once`, also what stopped a sink or a table's snapshot.
pub async fn run(
    plan: Plan,
    options: StartOptions,
    shutdown: CancellationToken,
    workers: &Handle,
) -> Result<(), Failure> {
    let (wal, appender) = open_log(&plan).await?;
    let outcome = run_on(&plan, options, &shutdown, workers, &wal, appender).await;
    let closed = wal.shutdown().await.map_err(|error| Failure::fatal("the log could not be closed").caused_by(error));
    outcome.and(closed)
}

/// How long a start waits for the log's lock: a `status` of the stopped daemon may be reading the log at this moment.
const LOCK_WAIT: Duration = Duration::from_secs(2);

async fn open_log(plan: &Plan) -> Result<(Wal, wal::Appender), Failure> {
    let deadline = tokio::time::Instant::now() + LOCK_WAIT;
    loop {
        let error = match Wal::open(&plan.wal.path, Options::new(plan.wal.max_size)) {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        if !matches!(error, wal::Error::Locked { .. }) {
            let place = plan.wal.path.display();
            return Err(Failure::fatal(format!("cannot open the log in '{place}'")).caused_by(error));
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Failure::fatal(format!("another process uses the log in '{}'", plan.wal.path.display()))
                .caused_by(error)
                .hint("stop it, or point wal.path to another directory"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn run_on(
    plan: &Plan,
    options: StartOptions,
    shutdown: &CancellationToken,
    workers: &Handle,
    wal: &Wal,
    appender: wal::Appender,
) -> Result<(), Failure> {
    inspect::check_format(&wal.reader())?;
    let live = Arc::clone(&options.live);
    let reporter = Reporter::new(Arc::clone(&live), wal.clone(), &plan.wal.path);
    let http = match plan.http.listen {
        Some(address) => Some(bound(workers.spawn(HttpServer::bind(address)).await)?),
        None => None,
    };
    for (table, counts) in ingest::counts(&wal.reader())? {
        live.table(&table).set(counts.shown());
    }

    live.snapshot.set_asked(first_contact::unfinished(&wal.reader())?);
    // From the first status on, every sink is there.
    for sink in &plan.sinks {
        live.add_sink(Arc::new(SinkLive::new(&sink.name, sink.kind.type_name())));
    }

    // Everything below ends when this token is told, which a failed source does too.
    let stop = shutdown.child_token();
    let (jobs, job_queue) = mpsc::unbounded_channel();
    let (backfills, backfill_queue) = mpsc::channel(REQUESTS);
    let daemon = Daemon { reporter: reporter.clone(), wal: wal.clone(), backfills };
    // Bound where it is served, so that it answers while the stream keeps its own thread busy.
    let listening = {
        let _workers = workers.enter();
        ControlServer::bind(&plan.wal.path)?
    };
    let control = workers.spawn(listening.serve(daemon, stop.clone()));
    let backfilling = workers.spawn(forward_backfills(backfill_queue, jobs.clone(), stop.clone()));
    let http = http.map(|server| workers.spawn(server.serve(reporter.clone(), stop.clone())));

    let Some(contact) = first_contact::make(plan, &options, wal, &live, &stop).await? else { return Ok(()) };
    create_cursors(plan, wal, &contact.tables).await?;
    queue_jobs(plan, &options, &contact, wal, &jobs)?;
    let (goal, _) = watch::channel(Goal::Forever);
    let reading = stop.child_token();
    let sink_failed = stop.child_token();
    let (doubts, doubt_queue) = mpsc::unbounded_channel();
    let deliveries = Deliveries { wal, live: &live, stop: &stop, goal: &goal, failed: &sink_failed, doubts: &doubts };
    let served = start_deliveries(plan, workers, &deliveries)?;
    // The deliveries hold it: it ends with the last of them.
    drop(doubts);
    let doubting = workers.spawn(forward_doubts(doubt_queue, jobs.clone()));
    if options.once {
        workers.spawn(give_up_when_full(wal.clone(), sink_failed, reading.clone()));
    }

    let (requests, request_queue) = mpsc::channel(REQUESTS);
    let (status, status_shown) = watch::channel(SnapshotStatus::default());
    let stream_server = StreamServer::new(contact.met.server.identity.clone());
    let coordinator = Coordinator::new(
        plan.source.clone(),
        stream_server.clone(),
        requests,
        job_queue,
        contact.progress,
        status,
        stop.clone(),
    );
    show_tables(&status_shown.borrow(), &live);
    live.snapshot.set_asked(ingest::rereads(&wal.reader())?.into_iter().map(|reread| reread.table).collect());
    let coordinator = workers.spawn(coordinator.run());
    let shown = workers.spawn(show_snapshot(status_shown.clone(), Arc::clone(&live)));

    let (rereads, reread_queue) = mpsc::unbounded_channel();
    let forwarding = workers.spawn(forward_rereads(reread_queue, jobs.clone()));
    let until = if options.once { Until::CaughtUp { snapshot: status_shown.clone() } } else { Until::Stopped };
    let wiring = Wiring {
        met: contact.met,
        wal: wal.clone(),
        appender,
        requests: request_queue,
        jobs: rereads,
        live: Arc::clone(&live),
        stream_server,
        shutdown: reading,
        until,
    };
    let read = Ingest::new(plan.source.clone(), wiring)?.run().await;

    let outcome = match read {
        Ok(end) if !shutdown.is_cancelled() => {
            goal.send_replace(Goal::Reach(end));
            join_deliveries(served, options.once).await
        }
        other => {
            stop.cancel();
            let sinks = join_deliveries(served, options.once).await;
            other.map(drop).and(if options.once { sinks } else { Ok(()) })
        }
    };
    stop.cancel();
    let failed_table = status_shown.borrow().first_failed().map(|table| (table.table.clone(), table.error.clone()));
    join("snapshot coordinator", coordinator).await;
    join("snapshot status", shown).await;
    join("re-read forwarder", forwarding).await;
    join("doubt forwarder", doubting).await;
    join("backfill forwarder", backfilling).await;
    join("control socket", control).await;
    if let Some(http) = http {
        join("http listener", http).await;
    }
    outcome?;
    if !options.once || shutdown.is_cancelled() {
        return Ok(());
    }
    if let Some((table, why)) = failed_table {
        let why = why.unwrap_or_default();
        return Err(Failure::fatal(format!("the snapshot of table '{table}' failed: {why}")));
    }
    match ingest::rereads(&wal.reader())?.into_iter().next() {
        Some(ingest::Reread { table, why, .. }) => {
            Err(Failure::fatal(format!("table '{table}' was to be read again, because {why}, and could not be")))
        }
        None => Ok(()),
    }
}

fn bound<T>(ended: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    ended.unwrap_or_else(|error| Err(Failure::fatal("the http listener could not be made").caused_by(error)))
}

async fn join(name: &str, task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        error!(task = name, %error, "a task ended badly");
    }
}
