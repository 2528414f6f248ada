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

mod asking;
mod deliveries;
mod detach;
mod jobs;
mod reload;
mod supervisor;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;
use wal::{Options, Wal};

use self::asking::Asking;
use self::deliveries::{Deliveries, create_cursors, give_up_when_full, join_deliveries, start_deliveries};
use self::detach::detach_from_full_log;
use self::jobs::{
    backfill_of, doubted, forward_backfills, forward_resyncs, forward_tables, forward_wishes, refused_read,
};
pub use self::reload::Reload;
use self::reload::{Reloading, on_fulls};
use self::supervisor::{Orders, forward_to_sinks};
use crate::config::Plan;
use crate::control::{BackfillJob, ControlServer, Daemon, Resync};
use crate::dead::Hub;
use crate::deliver::{Goal, allow_take_over, end_pauses_of_detached, forbid_take_over, paused, tables_at};
use crate::error::Failure;
use crate::first_contact;
use crate::ingest::{self, Ingest, Until, Wiring};
use crate::inspect;
use crate::source::mysql::snapshot::handoff::Request;
use crate::source::mysql::snapshot::spool::Spool;
use crate::source::mysql::snapshot::{Coordinator, Job, Room};
use crate::source::mysql::stream_server::StreamServer;
use crate::table;
use crate::telemetry::http::HttpServer;
use crate::telemetry::{Exporter, Live, Reporter, SinkLive};

/// How the daemon is started.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Where the loops show what they do; progress bars read it.
    pub live: Arc<Live>,
    /// A log without a position is an error.
    pub resume: bool,
    /// Go to the source's position as of the start, drain every sink, and return.
    pub once: bool,
    /// Where the source cannot go on from the log's position, its current one is taken, and every table is read again.
    pub new_position: bool,
    /// Tables to read again.
    pub backfills: Vec<BackfillJob>,
    /// Tables to read again in place of what sinks have.
    pub resync: Option<AskedResync>,
    /// The configuration is read again when that is asked for.
    pub reload: Option<Reload>,
}

/// A resync that a start does.
#[derive(Clone, Debug)]
pub struct AskedResync {
    /// Which tables, and for whom.
    pub resync: Resync,
    /// Says how many tables it is, once they are stored as wanted.
    pub taken: Arc<OnceLock<usize>>,
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
    let outcome = Box::pin(run_on(&plan, options, &shutdown, workers, &wal, appender)).await;
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
            return Err(inspect::unopened(&plan.wal.path, error));
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
    // What ends by itself is not scraped, and may run beside a daemon that has the address.
    let http = match plan.http.listen.filter(|_| !options.once) {
        Some(address) => Some(bound(workers.spawn(HttpServer::bind(address)).await)?),
        None => None,
    };
    for (table, counts) in ingest::counts(&wal.reader())? {
        live.table(&table).set(counts.shown());
    }

    for (table, record) in table::records(&wal.reader())? {
        live.record(&table, record);
    }
    let dead = Hub::new(wal.clone(), plan.dead_letters.max_bytes);
    for cursor in wal.cursors() {
        // All of them count, also of sinks that are not configured.
        dead.of(&cursor.name).load(&wal.reader(), cursor.lsn)?;
    }
    end_pauses_of_detached(wal).await?;
    // From the first status on, every sink is there.
    for sink in &plan.sinks {
        let shown = SinkLive::new(&sink.name, sink.settings.type_name());
        // What the log says holds until the sink is opened, which may take long.
        shown.load_tables(tables_at(&wal.reader(), &sink.name)?.into_iter().map(|(table, at)| (table, at.shown())));
        shown.show_letters(dead.of(&sink.name));
        if let Some(pause) = paused(&wal.reader(), &sink.name)? {
            shown.paused(pause.since_micros, pause.shown());
        }
        live.add_sink(Arc::new(shown));
    }

    // Everything below ends when this token is told, which a failed source does too.
    let stop = shutdown.child_token();
    let (jobs, job_queue) = mpsc::unbounded_channel();
    let (backfills, backfill_queue) = mpsc::channel(REQUESTS);
    let (sink_requests, sink_queue) = mpsc::channel(REQUESTS);
    let (table_requests, table_queue) = mpsc::channel(REQUESTS);
    let (resyncs, resync_queue) = mpsc::channel(REQUESTS);
    let daemon = Daemon {
        reporter: reporter.clone(),
        wal: wal.clone(),
        dead: Arc::clone(&dead),
        backfills,
        sinks: sink_requests,
        tables: table_requests,
        resyncs,
    };
    // Bound where it is served, so that it answers while the stream keeps its own thread busy.
    let listening = {
        let _workers = workers.enter();
        ControlServer::bind(&plan.wal.path)?
    };
    let control = workers.spawn(listening.serve(daemon, stop.clone()));
    let backfilling = workers.spawn(forward_backfills(backfill_queue, jobs.clone(), stop.clone()));
    let orders = Orders::default();
    let configured = plan.sinks.iter().map(|sink| sink.name.clone()).collect();
    let ordering =
        workers.spawn(forward_to_sinks(sink_queue, (configured, Arc::clone(&orders)), wal.clone(), stop.clone()));
    let http = http.map(|server| {
        let exporter = Exporter::new(plan.http.table_metrics);
        workers.spawn(server.serve(reporter.clone(), exporter, stop.clone()))
    });

    let (requests, request_queue) = mpsc::channel(REQUESTS);
    let (on_full, on_fulls) = watch::channel(on_fulls(&plan.sinks));
    let reloading = options.reload.clone().map(|reload| {
        let (requests, jobs, dead) = (requests.clone(), jobs.clone(), Arc::clone(&dead));
        let reloading = Reloading { reload, plan: plan.clone(), requests, jobs, on_full, dead };
        workers.spawn(reloading.run(stop.clone()))
    });
    let Some(contact) = first_contact::make(plan, &options, wal, &live, &stop).await? else { return Ok(()) };
    let plan = &contact.plan;
    create_cursors(plan, wal).await?;
    forbid_take_over(wal).await?;
    if let Some(AskedResync { resync, .. }) = options.resync.as_ref().filter(|asked| asked.resync.tables.is_empty()) {
        // Whoever has every table read again says by it that a target may be of a log that was lost, or be restored.
        for sink in plan.sinks.iter().map(|sink| &sink.name).filter(|sink| resync.is_for(sink)) {
            allow_take_over(wal, sink).await?;
        }
    }
    let sinks: Vec<String> = plan.sinks.iter().map(|sink| sink.name.clone()).collect();
    let (asking, still_asking) = Asking::nobody();
    let doubts = doubted(wal, sinks.iter().map(String::as_str))?;
    let doubts = doubts.into_iter().map(|doubt| (doubt, Asking::one_of(&asking))).collect();
    let refusals = ask_for_backfills(&options, &jobs, &asking, workers);
    let (goal, _) = watch::channel(Goal::Forever);
    let reading = stop.child_token();
    let given_up = reading.clone();
    let sink_failed = stop.child_token();
    let (wishes, wish_queue) = mpsc::unbounded_channel();
    let deliveries = Deliveries {
        wal,
        live: &live,
        stop: &stop,
        goal: &goal,
        failed: &sink_failed,
        dead: &dead,
        wishes: &wishes,
        asking: &asking,
    };
    let served = start_deliveries(plan, workers, &deliveries, &orders).await?;
    workers.spawn(detach_from_full_log(wal.clone(), on_fulls, orders, stop.clone()));
    // The deliveries hold it: it ends with the last of them.
    drop(wishes);
    if options.once {
        workers.spawn(give_up_when_full(wal.clone(), sink_failed, reading.clone()));
    }

    let wishing = workers.spawn(forward_wishes(doubts, wish_queue, requests.clone()));
    let resyncing = workers.spawn(forward_resyncs(resync_queue, requests.clone(), stop.clone()));
    let operating = workers.spawn(forward_tables(table_queue, requests.clone(), stop.clone()));
    let refused_resync = ask_for_resync(options.resync.as_ref(), &requests, &asking, workers);
    let stream_server = StreamServer::new(contact.met.server.identity.clone());
    let spool = Spool::open(&plan.wal.path, plan.source.spool_max)?;
    let coordinator = Coordinator::new(
        plan.source.clone(),
        stream_server.clone(),
        requests,
        job_queue,
        Arc::clone(&live),
        room(&spool, wal.clone()),
        stop.clone(),
    );
    let coordinator = workers.spawn(coordinator.run());

    let until = if options.once { Until::CaughtUp { asking: still_asking } } else { Until::Stopped };
    let wiring = Wiring {
        met: contact.met,
        is_new: contact.is_new,
        sinks,
        wal: wal.clone(),
        appender,
        requests: request_queue,
        spool,
        jobs,
        live: Arc::clone(&live),
        stream_server,
        shutdown: reading,
        until,
    };
    let read = Ingest::new(plan.source.clone(), wiring)?.run().await;

    // Before everything is asked to end.
    let has_given_up = given_up.is_cancelled();
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
    join("snapshot coordinator", coordinator).await;
    join("forwarder of wishes", wishing).await;
    join("backfill forwarder", backfilling).await;
    join("forwarder to sinks", ordering).await;
    join("forwarder to tables", operating).await;
    join("resync forwarder", resyncing).await;
    join("control socket", control).await;
    if let Some(reloading) = reloading {
        join("reader of the configuration", reloading).await;
    }
    if let Some(http) = http {
        join("http listener", http).await;
    }
    outcome?;
    if !options.once || shutdown.is_cancelled() {
        return Ok(());
    }
    if let Some(refused) = refusals.await.into_iter().flatten().next() {
        return Err(refused);
    }
    if let Some(refused) = refused_resync.await.ok().flatten() {
        return Err(refused);
    }
    let status = reporter.status();
    status.has_brought_everything()?;
    if has_given_up {
        // A sink that has failed is a reason of a failed verdict; one that is paused is not.
        return Err(Failure::fatal("the log is full, so that not everything was copied").hint(
            "replicator sink list names the sink that is paused: let it continue with `replicator sink resume`",
        ));
    }
    Ok(())
}

/// Asks for the tables of a start's command line. The refusals are there once each of them is asked for or refused.
fn ask_for_backfills(
    options: &StartOptions,
    jobs: &mpsc::UnboundedSender<Job>,
    asking: &Arc<watch::Sender<usize>>,
    workers: &Handle,
) -> tokio::task::JoinHandle<Vec<Failure>> {
    let mut answers = Vec::new();
    for job in &options.backfills {
        let (backfill, answer) = backfill_of(job);
        drop(jobs.send(Job::Backfill(backfill)));
        answers.push((job.name(), answer, Asking::one_of(asking)));
    }
    workers.spawn(async move {
        let mut refusals = Vec::new();
        for (table, answer, asking) in answers {
            if let Ok(Err(refused)) = answer.await {
                error!(%table, error = %refused.chain(), "a table is not read");
                refusals.push(refused_read(&table, refused));
            }
            drop(asking);
        }
        refusals
    })
}

/// Asks for the resync of a start's command line. Ends with the refusal, if it is refused.
fn ask_for_resync(
    asked: Option<&AskedResync>,
    requests: &mpsc::Sender<Request>,
    asking: &Arc<watch::Sender<usize>>,
    workers: &Handle,
) -> tokio::task::JoinHandle<Option<Failure>> {
    // Counted before the loop begins, which ends once nobody is to ask.
    let asked = asked.cloned().map(|asked| (asked, Asking::one_of(asking)));
    let requests = requests.clone();
    workers.spawn(async move {
        let (AskedResync { resync: Resync { tables, sinks }, taken }, asking) = asked?;
        let (reply, answer) = oneshot::channel();
        // A loop that is gone drops the request, and with it the sender of the answer.
        drop(requests.send(Request::Resync { tables, sinks, reply }).await);
        let refused = match answer.await {
            Ok(Ok(tables)) => {
                taken.get_or_init(|| tables);
                None
            }
            Ok(Err(refused)) => {
                error!(error = %refused.chain(), "nothing is read again");
                Some(refused)
            }
            // The loop says why it has ended.
            Err(_) => None,
        };
        drop(asking);
        refused
    })
}

/// The room on disk that reads have.
fn room(spool: &Arc<Spool>, wal: Wal) -> Room {
    // A log of which that cannot be said is out of service, which its own error says.
    let in_log = Box::new(move || wal.stats().is_ok_and(|stats| !stats.is_more_than_half_full()));
    Room { spool: Arc::clone(spool), in_log }
}

fn bound<T>(ended: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    ended.unwrap_or_else(|error| Err(Failure::fatal("the http listener could not be made").caused_by(error)))
}

async fn join(name: &str, task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        error!(task = name, %error, "a task ended badly");
    }
}
