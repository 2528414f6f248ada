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

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Lsn, Options, Wal};

use crate::codec::state::encode;
use crate::config::{Plan, SinkKind, SinkPlan};
use crate::control::{BackfillJob, BackfillRequest, BackfillTaken, ControlServer, Daemon};
use crate::deliver::{Delivery, Goal, start_key};
use crate::error::Failure;
use crate::first_contact::{self, Contact};
use crate::ingest::{self, Ingest, Until, Wiring};
use crate::model::TableName;
use crate::sink::{Sink, clickhouse, sqlite};
use crate::source::mysql::snapshot::{Backfill, Coordinator, Job, SnapshotStatus};
use crate::telemetry::http::HttpServer;
use crate::telemetry::{Live, Reporter, SinkLive, SnapshotPhase, SnapshotTable};

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

/// One delivery's end.
struct Served {
    name: String,
    ended: oneshot::Receiver<Result<(), Failure>>,
}

/// Runs the daemon until it is told to stop, is done (`once`), or the source fails.
///
/// # Errors
/// What stopped the source; with `once`, also what stopped a sink or a table's snapshot.
pub async fn run(plan: Plan, options: StartOptions, shutdown: CancellationToken) -> Result<(), Failure> {
    let (wal, appender) = open_log(&plan).await?;
    let outcome = run_on(&plan, options, &shutdown, &wal, appender).await;
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
    wal: &Wal,
    appender: wal::Appender,
) -> Result<(), Failure> {
    let live = Arc::clone(&options.live);
    let reporter = Reporter::new(Arc::clone(&live), wal.clone(), &plan.wal.path);
    let http = match plan.http.listen {
        Some(address) => Some(HttpServer::bind(address).await?),
        None => None,
    };
    for (table, counts) in ingest::counts(&wal.reader())? {
        live.table(&table).set(counts.read, counts.appended, counts.filtered);
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
    let control = tokio::spawn(ControlServer::bind(&plan.wal.path)?.serve(daemon, stop.clone()));
    let backfilling = tokio::spawn(forward_backfills(backfill_queue, jobs.clone(), stop.clone()));
    let http = http.map(|server| tokio::spawn(server.serve(reporter.clone(), stop.clone())));

    let Some(contact) = first_contact::make(plan, &options, wal, &live, &stop).await? else { return Ok(()) };
    create_cursors(plan, wal, &contact.tables).await?;
    queue_jobs(&options, &contact, wal, &jobs)?;
    let (goal, _) = watch::channel(Goal::Forever);
    let reading = stop.child_token();
    let sink_failed = stop.child_token();
    let served = start_deliveries(plan, wal, &live, &stop, &goal, &sink_failed)?;
    if options.once {
        tokio::spawn(give_up_when_full(wal.clone(), sink_failed, reading.clone()));
    }

    let (requests, request_queue) = mpsc::channel(REQUESTS);
    let (status, status_shown) = watch::channel(SnapshotStatus::default());
    let coordinator =
        Coordinator::new(plan.source.clone(), requests, job_queue, contact.progress, status, stop.clone());
    show_tables(&status_shown.borrow(), &live);
    live.snapshot.set_asked(ingest::rereads(&wal.reader())?.into_iter().map(|reread| reread.table).collect());
    let coordinator = tokio::spawn(coordinator.run());
    let shown = tokio::spawn(show_snapshot(status_shown.clone(), Arc::clone(&live)));

    let (rereads, reread_queue) = mpsc::unbounded_channel();
    let forwarding = tokio::spawn(forward_rereads(reread_queue, jobs.clone()));
    let until = if options.once { Until::CaughtUp { snapshot: status_shown.clone() } } else { Until::Stopped };
    let wiring = Wiring {
        met: contact.met,
        wal: wal.clone(),
        appender,
        requests: request_queue,
        jobs: rereads,
        live: Arc::clone(&live),
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

async fn join(name: &str, task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        error!(task = name, %error, "a task ended badly");
    }
}

/// One cursor per sink. For a sink that is new to a log that no longer begins at its start, every table is asked for again.
async fn create_cursors(plan: &Plan, wal: &Wal, tables: &[TableName]) -> Result<(), Failure> {
    let known = wal.cursors();
    let first = wal.positions().borrow().first;
    for sink in &plan.sinks {
        if known.iter().any(|cursor| cursor.name == sink.name) {
            continue;
        }
        let at = first.prev();
        // Before the cursor: once it exists, nobody would know that the sink is new.
        let mut state = vec![(start_key(&sink.name), Some(encode("a cursor's start", &at)?))];
        if at > Lsn::ZERO {
            info!(sink = %sink.name, "a new sink on a log that was trimmed: every table is read again for it");
            for table in tables {
                let why = format!("sink '{}' is new", sink.name);
                state.push(ingest::asked(&ingest::Reread { table: table.clone(), replace: false, why })?);
            }
        }
        wal.put_state(state).await.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))?;
        wal.create_cursor(&sink.name, at).await.map_err(|error| {
            Failure::fatal(format!("cannot create the cursor of sink '{}'", sink.name)).caused_by(error)
        })?;
    }
    for cursor in known.iter().filter(|cursor| !plan.sinks.iter().any(|sink| sink.name == cursor.name)) {
        warn!(
            cursor = %cursor.name, lsn = %cursor.lsn,
            "the log has a cursor of a sink that is not configured: it keeps the log from being trimmed (replicator wal drop-cursor)"
        );
    }
    Ok(())
}

fn queue_jobs(
    options: &StartOptions,
    contact: &Contact,
    wal: &Wal,
    jobs: &mpsc::UnboundedSender<Job>,
) -> Result<(), Failure> {
    let send = |job| jobs.send(job).map_err(|_| Failure::fatal("the snapshot coordinator is gone"));
    for table in &contact.initial {
        send(Job::Initial(table.clone()))?;
    }
    for reread in ingest::rereads(&wal.reader())? {
        send(Job::Backfill { backfill: reread_job(reread), stored: None })?;
    }
    for backfill in &options.backfills {
        send(Job::Backfill { backfill: backfill_of(backfill), stored: None })?;
    }
    Ok(())
}

fn backfill_of(job: &BackfillJob) -> Backfill {
    Backfill {
        where_clause: job.condition.clone(),
        chunk_rows: job.batch_size.map(NonZeroU32::get),
        replace: job.replace,
        ..Backfill::whole(job.name())
    }
}

/// How long whoever asks for a backfill is left waiting for a free place; the asking side gives up after a minute.
const QUEUED_AFTER: Duration = Duration::from_secs(10);

/// Hands what is asked for through the control socket to the coordinator. Nobody waits for another one's tables.
async fn forward_backfills(
    mut requests: mpsc::Receiver<BackfillRequest>,
    jobs: mpsc::UnboundedSender<Job>,
    stop: CancellationToken,
) {
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => drop(answering.spawn(answer_backfill(request, jobs.clone()))),
                None => return,
            },
            Some(answered) = answering.join_next() => if let Err(error) = answered {
                error!(%error, "a request for a backfill ended badly");
            },
            () = stop.cancelled() => return,
        }
    }
}

/// A table is confirmed once its job is stored; one that has no place yet is told as queued.
async fn answer_backfill(request: BackfillRequest, jobs: mpsc::UnboundedSender<Job>) {
    let mut answers = Vec::with_capacity(request.jobs.len());
    for job in &request.jobs {
        let (stored, is_stored) = oneshot::channel();
        // A coordinator that is gone drops the job, and with it the sender.
        drop(jobs.send(Job::Backfill { backfill: backfill_of(job), stored: Some(stored) }));
        answers.push((job.name(), is_stored));
    }
    let deadline = tokio::time::Instant::now() + QUEUED_AFTER;
    let mut outcome = Ok(BackfillTaken { queued: Vec::new() });
    for (table, is_stored) in answers {
        let refused = match tokio::time::timeout_at(deadline, is_stored).await {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(refused))) => refused,
            Ok(Err(_)) => Failure::fatal("another job of the table failed, or the daemon is stopping"),
            Err(_) => {
                if let Ok(taken) = &mut outcome {
                    taken.queued.push(table);
                }
                continue;
            }
        };
        if outcome.is_ok() {
            let hint = refused.hint.clone();
            let failure = Failure::fatal(format!("table \"{table}\" is not read again")).caused_by(refused);
            outcome = Err(Failure { hint, ..failure });
        }
    }
    // Whoever asked may have gone; the jobs are taken all the same.
    drop(request.reply.send(outcome));
}

fn reread_job(reread: ingest::Reread) -> Backfill {
    Backfill { replace: reread.replace, may_be_gone: true, ..Backfill::whole(reread.table) }
}

async fn forward_rereads(mut rereads: mpsc::UnboundedReceiver<ingest::Reread>, jobs: mpsc::UnboundedSender<Job>) {
    while let Some(reread) = rereads.recv().await {
        let job = Job::Backfill { backfill: reread_job(reread), stored: None };
        if jobs.send(job).is_err() {
            // Only at a shutdown; the re-read stands in the log for the next start.
            return;
        }
    }
}

fn show_tables(status: &SnapshotStatus, live: &Live) {
    live.snapshot.set(status.tables.iter().map(shown_table).collect());
}

async fn show_snapshot(mut status: watch::Receiver<SnapshotStatus>, live: Arc<Live>) {
    loop {
        {
            show_tables(&status.borrow_and_update(), &live);
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn shown_table(table: &crate::source::mysql::snapshot::TableStatus) -> SnapshotTable {
    use crate::source::mysql::snapshot::TableState;
    SnapshotTable {
        table: table.table.clone(),
        phase: match table.state {
            TableState::Pending => SnapshotPhase::Pending,
            TableState::Running => SnapshotPhase::Running,
            TableState::Done => SnapshotPhase::Done,
            TableState::Failed => SnapshotPhase::Failed,
        },
        rows: table.rows,
        estimated_rows: table.estimated_rows,
        rows_per_second: (table.rate > 0.0).then_some(table.rate),
        eta: table.eta_seconds.map(Duration::from_secs),
        error: table.error.clone(),
    }
}

fn open_sink(plan: &SinkPlan) -> Result<Box<dyn Sink>, Failure> {
    match &plan.kind {
        SinkKind::Sqlite { .. } => Ok(Box::new(sqlite::SqliteSink::new(plan.clone())?)),
        SinkKind::ClickHouse(_) => Ok(Box::new(clickhouse::ClickHouseSink::new(plan.clone())?)),
    }
}

fn start_deliveries(
    plan: &Plan,
    wal: &Wal,
    live: &Arc<Live>,
    stop: &CancellationToken,
    goal: &watch::Sender<Goal>,
    failed: &CancellationToken,
) -> Result<Vec<Served>, Failure> {
    let mut served = Vec::new();
    for sink_plan in &plan.sinks {
        let sink = open_sink(sink_plan)?;
        let shown = live.sinks().into_iter().find(|shown| shown.name == sink_plan.name);
        let shown = shown.ok_or_else(|| Failure::fatal(format!("sink '{}' is not in the status", sink_plan.name)))?;
        let delivery = Delivery::new(sink, wal.clone(), shown, stop.clone(), goal.subscribe());
        let (end, ended) = oneshot::channel();
        let failed = failed.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::fatal("cannot start a sink's runtime").caused_by(error))?;
        // A thread of its own: a sink may block in its database without holding up the others.
        std::thread::Builder::new()
            .name(format!("sink-{}", sink_plan.name))
            .spawn(move || {
                let outcome = runtime.block_on(delivery.run());
                if outcome.is_err() {
                    failed.cancel();
                }
                // Nobody listens any more only if the daemon itself is on its way out.
                drop(end.send(outcome));
            })
            .map_err(|error| Failure::fatal("cannot start a sink's thread").caused_by(error))?;
        served.push(Served { name: sink_plan.name.clone(), ended });
    }
    Ok(served)
}

/// Ends the reading of a run that has to end, once a sink has failed for good and the log is full: nobody would ever empty it. Until then
/// the other sinks get what they can.
async fn give_up_when_full(wal: Wal, failed: CancellationToken, reading: CancellationToken) {
    let mut positions = wal.positions();
    tokio::select! {
        () = failed.cancelled() => {}
        () = reading.cancelled() => return,
    }
    loop {
        if positions.borrow_and_update().full {
            reading.cancel();
            return;
        }
        tokio::select! {
            changed = positions.changed() => if changed.is_err() { return },
            () = reading.cancelled() => return,
        }
    }
}

/// Waits for every delivery. The first failure counts when `strict`.
async fn join_deliveries(served: Vec<Served>, strict: bool) -> Result<(), Failure> {
    let mut first = Ok(());
    for Served { name, ended } in served {
        let result = match ended.await {
            Ok(result) => result,
            Err(_) => Err(Failure::fatal(format!("the thread of sink '{name}' ended without a word"))),
        };
        if let Err(failure) = result
            && first.is_ok()
            && strict
        {
            first = Err(Failure::fatal(format!("sink '{name}' failed")).caused_by(failure));
        }
    }
    first
}
