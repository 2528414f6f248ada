//! The sinks of a run: a cursor and a thread each.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wal::Wal;

use super::asking::Asking;
use crate::config::{Plan, SinkKind, SinkPlan};
use crate::deliver::{Delivery, Goal, Wiring, Wish, state_of_new_sink};
use crate::error::Failure;
use crate::ingest;
use crate::sink::{Sink, clickhouse, sqlite};
use crate::telemetry::Live;

/// One delivery's end.
pub(super) struct Served {
    name: String,
    ended: oneshot::Receiver<Result<(), Failure>>,
}

/// One cursor per sink. What a new one lacks is known once its target was looked at.
pub(super) async fn create_cursors(plan: &Plan, wal: &Wal) -> Result<(), Failure> {
    let known = wal.cursors();
    let (first, durable) = {
        let positions = wal.positions();
        let positions = positions.borrow();
        (positions.first, positions.durable)
    };
    for sink in &plan.sinks {
        if known.iter().any(|cursor| cursor.name == sink.name) {
            continue;
        }
        let at = first.prev();
        // Before the cursor: once it exists, it is no longer known that the sink is new.
        let appended = ingest::counts(&wal.reader())?.into_iter().map(|(table, counts)| (table, counts.appended));
        let state = state_of_new_sink(&wal.reader(), &sink.name, (at, durable), appended)?;
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

fn open_sink(plan: &SinkPlan, workers: &Handle) -> Result<Box<dyn Sink>, Failure> {
    match &plan.kind {
        SinkKind::Sqlite { .. } => Ok(Box::new(sqlite::SqliteSink::new(plan.clone())?)),
        SinkKind::ClickHouse(_) => Ok(Box::new(clickhouse::ClickHouseSink::new(plan.clone(), workers.clone())?)),
    }
}

/// What every delivery of a run is given.
pub(super) struct Deliveries<'r> {
    pub(super) wal: &'r Wal,
    pub(super) live: &'r Live,
    pub(super) stop: &'r CancellationToken,
    pub(super) goal: &'r watch::Sender<Goal>,
    /// Cancelled by a sink that has failed for good.
    pub(super) failed: &'r CancellationToken,
    /// Takes what the sinks wish of the source.
    pub(super) wishes: &'r mpsc::UnboundedSender<Wish>,
    /// Counts those who have still to say what they wish.
    pub(super) asking: &'r Arc<watch::Sender<usize>>,
}

/// Opens nothing yet: each sink is opened by its own thread, and again when it fails.
pub(super) fn start_deliveries(plan: &Plan, workers: &Handle, run: &Deliveries<'_>) -> Result<Vec<Served>, Failure> {
    let mut served = Vec::new();
    for sink_plan in &plan.sinks {
        let sink = open_sink(sink_plan, workers)?;
        let shown = run.live.sinks().into_iter().find(|shown| shown.name == sink_plan.name);
        let shown = shown.ok_or_else(|| Failure::fatal(format!("sink '{}' is not in the status", sink_plan.name)))?;
        let (looking, looked) = oneshot::channel::<()>();
        let asking = Asking::one_of(run.asking);
        workers.spawn(async move {
            drop(looked.await);
            drop(asking);
        });
        let wiring = Wiring {
            wal: run.wal.clone(),
            live: shown,
            shutdown: run.stop.clone(),
            goal: run.goal.subscribe(),
            wishes: run.wishes.clone(),
            looking: Some(looking),
        };
        let delivery = Delivery::new(sink, wiring);
        let (end, ended) = oneshot::channel();
        let failed = run.failed.clone();
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
                // No one listens only if the daemon itself ends.
                drop(end.send(outcome));
            })
            .map_err(|error| Failure::fatal("cannot start a sink's thread").caused_by(error))?;
        served.push(Served { name: sink_plan.name.clone(), ended });
    }
    Ok(served)
}

/// Ends the reading of a run that has to end, once a sink has failed for good and the log is full: nobody would ever empty it. Until then
/// the other sinks get what they can.
pub(super) async fn give_up_when_full(wal: Wal, failed: CancellationToken, reading: CancellationToken) {
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
pub(super) async fn join_deliveries(served: Vec<Served>, strict: bool) -> Result<(), Failure> {
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
