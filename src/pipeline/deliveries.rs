//! The sinks of a run: a cursor, a supervisor and a thread each. A panic in a sink's thread is a failure of that sink, and of no other.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use wal::Wal;

use super::supervisor::{Orders, Supervisor};
use crate::config::Plan;
use crate::dead::Hub;
use crate::deliver::{Goal, Wish, paused, state_of_new_sink};
use crate::error::Failure;
use crate::ingest;
use crate::telemetry::{Live, SinkLive, SinkPhase};

/// Orders to a sink that wait.
const ORDERS: usize = 8;

/// One sink's end.
pub(super) struct Served {
    name: String,
    ended: JoinHandle<Result<(), Failure>>,
}

/// A delivery on its thread.
pub(super) struct Delivering {
    name: String,
    ended: oneshot::Receiver<Result<(), Failure>>,
}

impl Delivering {
    /// Waits for its end.
    pub(super) async fn end(&mut self) -> Result<(), Failure> {
        match (&mut self.ended).await {
            Ok(result) => result,
            Err(_) => Err(Failure::fatal(format!("the thread of sink '{}' ended without a word", self.name))),
        }
    }
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

/// What every delivery of a run is given.
pub(super) struct Deliveries<'r> {
    pub(super) wal: &'r Wal,
    pub(super) live: &'r Live,
    pub(super) stop: &'r CancellationToken,
    pub(super) goal: &'r watch::Sender<Goal>,
    /// Cancelled by a sink that has failed permanently, or is paused.
    pub(super) failed: &'r CancellationToken,
    pub(super) dead: &'r Arc<Hub>,
    /// Takes what the sinks wish of the source.
    pub(super) wishes: &'r mpsc::UnboundedSender<Wish>,
    /// Counts those who have still to say what they wish.
    pub(super) asking: &'r Arc<watch::Sender<usize>>,
}

/// Begins to serve every sink. Orders reach them from then on.
pub(super) async fn start_deliveries(
    plan: &Plan,
    workers: &Handle,
    run: &Deliveries<'_>,
    orders: &Orders,
) -> Result<Vec<Served>, Failure> {
    let mut served = Vec::new();
    // No reset is stored while it is looked whether one is.
    let mut orders = orders.lock().await;
    for sink_plan in &plan.sinks {
        let shown = run.live.sinks().into_iter().find(|shown| shown.name == sink_plan.name);
        let shown = shown.ok_or_else(|| Failure::fatal(format!("sink '{}' is not in the status", sink_plan.name)))?;
        let (order, ordered) = mpsc::channel(ORDERS);
        let supervisor = Supervisor {
            plan: sink_plan.clone(),
            filter: plan.source.filter.clone(),
            workers: workers.clone(),
            wal: run.wal.clone(),
            shown,
            stop: run.stop.clone(),
            goal: run.goal.subscribe(),
            failed: run.failed.clone(),
            dead: Arc::clone(run.dead),
            wishes: run.wishes.clone(),
            asking: Arc::clone(run.asking),
            orders: ordered,
        };
        let running = match paused(&run.wal.reader(), &sink_plan.name)? {
            Some(pause) => {
                supervisor.show_paused(&pause);
                None
            }
            None => Some(supervisor.start()?),
        };
        orders.insert(sink_plan.name.clone(), order);
        served.push(Served { name: sink_plan.name.clone(), ended: workers.spawn(supervisor.serve(running)) });
    }
    Ok(served)
}

/// Serves a sink on a thread of its own: it may block in its database without holding up the others.
pub(super) fn on_thread(
    serving: impl Future<Output = Result<(), Failure>> + Send + 'static,
    shown: Arc<SinkLive>,
) -> Result<Delivering, Failure> {
    let name = shown.name.clone();
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal("cannot start a sink's runtime").caused_by(error))?;
    std::thread::Builder::new()
        .name(format!("sink-{name}"))
        .spawn(move || {
            // What a panic leaves behind is dropped here, unseen: to the target it looks like a crash.
            let served = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(serving)));
            // With it end the tasks of the delivery: it says nothing more to the log.
            drop(runtime);
            let outcome = served.unwrap_or_else(|panic| {
                let failure = Failure::fatal(format!("its thread panicked: {}", said(&*panic)))
                    .hint("the other sinks continue; report it with the log, and restart the daemon");
                error!(sink = %shown.name, error = %failure.chain(), "sink stopped");
                shown.failed(failure.class);
                shown.phase(SinkPhase::Failed, Some(failure.chain()));
                Err(failure)
            });
            // No one listens only if the daemon itself ends.
            drop(end.send(outcome));
        })
        .map_err(|error| Failure::fatal("cannot start a sink's thread").caused_by(error))?;
    Ok(Delivering { name, ended })
}

/// The message of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}

/// Ends the reading of a run that has to end, once a sink has failed permanently or is paused, and the log is full: nothing would ever empty
/// it. Until then the other sinks get what they can.
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

/// Waits for every sink. The first failure counts when `strict`.
pub(super) async fn join_deliveries(served: Vec<Served>, strict: bool) -> Result<(), Failure> {
    let mut first = Ok(());
    for Served { name, ended } in served {
        let result = match ended.await {
            Ok(result) => result,
            Err(error) => Err(Failure::fatal(format!("the task of sink '{name}' ended badly")).caused_by(error)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_thread_of_a_sink_is_its_failure_and_the_others_go_on() {
        let (bad, good) = (Arc::new(SinkLive::new("bad", "memory")), Arc::new(SinkLive::new("good", "memory")));
        let (go_on, told) = oneshot::channel::<()>();
        let panicking = async { panic!("row {} has no key", 7) };
        let mut panicked = on_thread(panicking, Arc::clone(&bad)).unwrap();
        let waiting = async {
            told.await.map_err(|_| Failure::fatal("the test ended"))?;
            Ok(())
        };
        let mut waits = on_thread(waiting, good).unwrap();
        let ended = panicked.end().await;
        let why = "its thread panicked: row 7 has no key (the other sinks continue; report it with the log, and restart the daemon)";
        assert_eq!(bad.state(), (SinkPhase::Failed, Some(why.to_owned())));
        assert_eq!(bad.errors().all(), 1);
        go_on.send(()).unwrap();
        let served = |name: &str, ended| Served { name: name.into(), ended };
        let good = served("good", tokio::spawn(async move { waits.end().await }));
        let failure =
            join_deliveries(vec![served("bad", tokio::spawn(async { ended })), good], true).await.unwrap_err();
        assert_eq!(failure.message, "sink 'bad' failed");
        assert!(failure.chain().contains("row 7 has no key"), "{}", failure.chain());
    }

    #[tokio::test]
    async fn a_panic_that_says_nothing_is_a_failure_too() {
        let shown = Arc::new(SinkLive::new("bad", "memory"));
        let mute = async { std::panic::panic_any(7_u8) };
        assert!(on_thread(mute, Arc::clone(&shown)).unwrap().end().await.is_err());
        assert!(shown.state().1.unwrap().contains("it did not say why"));
    }
}
