//! The life of one sink in a run: its delivery, and what an operator or a full log orders meanwhile.
//!
//! A delivery that has failed permanently is not the end of its sink: until the run ends it may be reset, which begins another delivery.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wal::{Lsn, Reader, Wal};

use super::asking::Asking;
use super::deliveries::{Delivering, on_thread};
use crate::config::{SinkPlan, TableFilter};
use crate::control::{SinkAsk, SinkRequest};
use crate::dead::Hub;
use crate::deliver::{self, Delivery, Goal, PausedSink, Wiring, Wish};
use crate::error::{Failure, sink_reset};
use crate::ingest;
use crate::model::TableName;
use crate::sink;
use crate::telemetry::{SinkLive, SinkPhase, now_micros};

/// What a sink is ordered to do.
#[derive(Debug)]
pub(super) enum Order {
    /// To begin again with every table. The reply says whether the log holds that.
    Reset(oneshot::Sender<Result<(), Failure>>),
    /// To stop at the end of a round, until it is resumed. The reply says whether the log holds that.
    Pause(PausedSink, oneshot::Sender<Result<(), Failure>>),
    /// To continue where it was paused. The reply says whether the log holds that.
    Resume(oneshot::Sender<Result<(), Failure>>),
    /// To leave the log, which is full, to the others. It is done once the sender is dropped.
    Detach(oneshot::Sender<()>),
}

/// What each sink is ordered by, once it is supervised.
pub(super) type Orders = Arc<Mutex<BTreeMap<String, mpsc::Sender<Order>>>>;

/// One sink of a run.
pub(super) struct Supervisor {
    pub(super) plan: SinkPlan,
    pub(super) filter: TableFilter,
    pub(super) workers: Handle,
    pub(super) wal: Wal,
    pub(super) shown: Arc<SinkLive>,
    /// Ends the run.
    pub(super) stop: CancellationToken,
    pub(super) goal: watch::Receiver<Goal>,
    /// Cancelled when the sink has failed permanently, or is paused.
    pub(super) failed: CancellationToken,
    pub(super) dead: Arc<Hub>,
    pub(super) wishes: mpsc::UnboundedSender<Wish>,
    pub(super) asking: Arc<watch::Sender<usize>>,
    pub(super) orders: mpsc::Receiver<Order>,
}

/// A delivery under way.
pub(super) struct Running {
    stop: CancellationToken,
    delivering: Delivering,
}

impl Running {
    /// Ends it early. What it says of its end is in the log and in the status.
    async fn end(mut self) {
        self.stop.cancel();
        drop(self.delivering.end().await);
    }
}

/// How one delivery ended.
enum Ended {
    ByItself(Result<(), Failure>),
    For(Order),
}

impl Supervisor {
    /// Begins a delivery. It opens nothing here: its own thread does, and again when it fails.
    pub(super) fn start(&self) -> Result<Running, Failure> {
        let sink = sink::make(&self.plan, &self.workers)?;
        let (looking, looked) = oneshot::channel::<()>();
        let asking = Asking::one_of(&self.asking);
        self.workers.spawn(async move {
            drop(looked.await);
            drop(asking);
        });
        let stop = self.stop.child_token();
        let wiring = Wiring {
            wal: self.wal.clone(),
            live: Arc::clone(&self.shown),
            shutdown: stop.clone(),
            goal: self.goal.clone(),
            dead: Arc::clone(&self.dead),
            wishes: self.wishes.clone(),
            looking: Some(looking),
        };
        let (filter, plan) = (self.filter.clone(), self.plan.clone());
        let delivery = Delivery::new(sink, wiring)
            .capturing(Box::new(move |table| filter.may_capture(table) && plan.takes(table)))
            .counting(Box::new(appended));
        Ok(Running { stop, delivering: on_thread(delivery.run(), Arc::clone(&self.shown))? })
    }

    /// Serves the sink until the run ends. Without a delivery it is paused.
    ///
    /// # Errors
    /// What its last delivery failed with.
    pub(super) async fn serve(mut self, mut running: Option<Running>) -> Result<(), Failure> {
        loop {
            let mut order = match running {
                None => {
                    // It makes no room in a full log either.
                    self.failed.cancel();
                    match self.order_before_the_end().await {
                        Some(order) => order,
                        None => return Ok(()),
                    }
                }
                Some(running) => match self.watch(running).await {
                    Ended::ByItself(Ok(())) => return Ok(()),
                    Ended::ByItself(Err(failure)) => {
                        self.failed.cancel();
                        match self.order_before_the_end().await {
                            Some(order) => order,
                            None => return Err(failure),
                        }
                    }
                    Ended::For(order) => order,
                },
            };
            running = loop {
                let failure = match self.obey(order).await {
                    Ok(begun) => break begun,
                    Err(failure) => failure,
                };
                match self.order_before_the_end().await {
                    Some(next) => order = next,
                    None => return Err(failure),
                }
            };
        }
    }

    /// Shows that the sink is paused.
    pub(super) fn show_paused(&self, pause: &PausedSink) {
        info!(sink = %self.plan.name, "sink paused: {}", pause.shown());
        self.shown.paused(pause.since_micros, pause.shown());
    }

    /// Waits until a delivery ends, or ends it for an order.
    async fn watch(&mut self, mut running: Running) -> Ended {
        tokio::select! {
            ended = running.delivering.end() => Ended::ByItself(ended),
            Some(order) = next_order(&mut self.orders, &self.wal, &self.plan.name) => {
                if let Order::Detach(_) = order
                    && let Err(error) = self.wal.detach_cursor(&self.plan.name).await
                {
                    // Said again where the order is obeyed.
                    warn!(sink = %self.plan.name, %error, "the cursor cannot be detached");
                }
                // A target that does not answer holds the end up, and not the log.
                running.end().await;
                Ended::For(order)
            }
        }
    }

    /// The next order to a sink that is not served; `None`: the run ends.
    async fn order_before_the_end(&mut self) -> Option<Order> {
        let reached = self.goal.wait_for(|goal| matches!(goal, Goal::Reach(_)));
        tokio::select! {
            () = self.stop.cancelled() => None,
            // The sender is gone with the run.
            _ = reached => None,
            order = next_order(&mut self.orders, &self.wal, &self.plan.name) => order,
        }
    }

    /// Does what is ordered, while no delivery runs; `None`: it is paused. The error says why no delivery begins.
    async fn obey(&self, order: Order) -> Result<Option<Running>, Failure> {
        let begun = || self.start().map(Some).inspect_err(|failure| self.show(SinkPhase::Failed, failure));
        match order {
            Order::Pause(pause, reply) => {
                let stored = deliver::store_pause(&self.wal, &self.plan.name, Some(&pause)).await;
                answer(reply, stored).inspect_err(|failure| self.show(SinkPhase::Failed, failure))?;
                self.show_paused(&pause);
                Ok(None)
            }
            Order::Resume(reply) => {
                let stored = deliver::store_pause(&self.wal, &self.plan.name, None).await;
                answer(reply, stored).inspect_err(|failure| self.show(SinkPhase::Failed, failure))?;
                info!(sink = %self.plan.name, "the sink continues");
                self.shown.phase(SinkPhase::Stopped, None);
                begun()
            }
            Order::Reset(reply) => {
                let stored = deliver::ask_for_reset(&self.wal, &self.plan.name).await;
                let stored = stored.inspect_err(|failure| self.show(SinkPhase::Failed, failure));
                if stored.is_ok() {
                    // Nothing is known to be complete any more.
                    self.shown.load_tables([]);
                    self.shown.phase(SinkPhase::Stopped, None);
                }
                answer(reply, stored)?;
                info!(sink = %self.plan.name, "the sink begins again");
                begun()
            }
            Order::Detach(done) => {
                let name = &self.plan.name;
                // It has lost its place, and comes back by a reset, which is no end of a pause.
                let detached = match self.wal.detach_cursor(name).await {
                    Ok(()) => deliver::store_pause(&self.wal, name, None).await,
                    Err(error) => Err(Failure::fatal("the log cannot be written").caused_by(error)),
                };
                let failure = match detached {
                    Ok(()) => Failure::fatal(format!(
                        "sink '{name}' held the full log for too long (detach_after) and was detached from it"
                    ))
                    .hint(format!(
                        "once it can be written to, run `{}`: every table is read again for it",
                        sink_reset(name)
                    )),
                    Err(failure) => failure,
                };
                self.show(SinkPhase::Detached, &failure);
                drop(done);
                Err(failure)
            }
        }
    }

    fn show(&self, phase: SinkPhase, failure: &Failure) {
        error!(sink = %self.plan.name, error = %failure.chain(), "sink {}", phase.as_str());
        self.shown.failed(failure.class);
        self.shown.phase(phase, Some(failure.chain()));
    }
}

/// The next order that can be obeyed. An order that was obeyed since may rule it out: then it is refused with the reason.
async fn next_order(orders: &mut mpsc::Receiver<Order>, wal: &Wal, sink: &str) -> Option<Order> {
    loop {
        let order = orders.recv().await?;
        let reader = wal.reader();
        let may = match &order {
            Order::Reset(_) => deliver::may_reset(&reader, sink),
            Order::Pause(..) => deliver::may_pause(&reader, sink, true),
            Order::Resume(_) => deliver::may_pause(&reader, sink, false),
            Order::Detach(_) => Ok(()),
        };
        match (may, order) {
            (Err(refused), Order::Reset(reply) | Order::Pause(_, reply) | Order::Resume(reply)) => {
                drop(reply.send(Err(refused)));
            }
            (Ok(()) | Err(_), order) => return Some(order),
        }
    }
}

/// Answers an operator, who may have gone: what is ordered is done all the same.
fn answer(reply: oneshot::Sender<Result<(), Failure>>, stored: Result<(), Failure>) -> Result<(), Failure> {
    let said = match &stored {
        Ok(()) => Ok(()),
        Err(failure) => Err(Failure { hint: failure.hint.clone(), ..Failure::fatal(failure.message.clone()) }),
    };
    drop(reply.send(said));
    stored
}

/// What was ever appended of each table, and up to where.
fn appended(reader: &Reader) -> Result<(Vec<(TableName, u64)>, Lsn), Failure> {
    let (counts, end) = ingest::counts_and_end(reader)?;
    Ok((counts.into_iter().map(|(table, counts)| (table, counts.appended)).collect(), end))
}

/// Hands what is asked of the sinks to them. Before they are supervised, the log takes it.
pub(super) async fn forward_to_sinks(
    mut requests: mpsc::Receiver<SinkRequest>,
    (sinks, orders): (Vec<String>, Orders),
    wal: Wal,
    stop: CancellationToken,
) {
    loop {
        let SinkRequest { name, ask, reply } = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => request,
                None => return,
            },
            () = stop.cancelled() => return,
        };
        if !sinks.contains(&name) {
            let failure = Failure::fatal(format!("the running daemon has no sink \"{name}\""));
            drop(reply.send(Err(failure.hint("restart it with the configuration that has the sink, and ask again"))));
            continue;
        }
        // Held while the log takes it: no delivery begins meanwhile.
        let supervised = orders.lock().await;
        if let Err(refused) = may_be_asked(&wal, &name, &ask) {
            drop(reply.send(Err(refused)));
            continue;
        }
        let pause = |by, why| PausedSink { since_micros: now_micros(), by, why };
        match supervised.get(&name) {
            // A sink that has ended drops it, and with it the sender of the reply.
            Some(order) => drop(order.try_send(match ask {
                SinkAsk::Reset => Order::Reset(reply),
                SinkAsk::Pause { by, why } => Order::Pause(pause(by, why), reply),
                SinkAsk::Resume => Order::Resume(reply),
            })),
            None => {
                let stored = match ask {
                    SinkAsk::Reset => deliver::ask_for_reset(&wal, &name).await,
                    SinkAsk::Pause { by, why } => deliver::store_pause(&wal, &name, Some(&pause(by, why))).await,
                    SinkAsk::Resume => deliver::store_pause(&wal, &name, None).await,
                };
                drop(reply.send(stored));
            }
        }
    }
}

/// Whether that can be asked of a sink: what was asked before may be in the way.
fn may_be_asked(wal: &Wal, name: &str, ask: &SinkAsk) -> Result<(), Failure> {
    let reader = wal.reader();
    match ask {
        SinkAsk::Pause { .. } => deliver::may_pause(&reader, name, true),
        SinkAsk::Resume => deliver::may_pause(&reader, name, false),
        SinkAsk::Reset => deliver::may_reset(&reader, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::Options;

    #[tokio::test]
    async fn an_order_that_an_earlier_one_has_come_in_the_way_of_is_refused_and_the_next_one_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        wal.create_cursor("s", Lsn::ZERO).await.unwrap();
        let (send, mut orders) = mpsc::channel(3);
        let pause = || PausedSink { since_micros: 1, by: "root".into(), why: None };
        // All three were asked for while the first one was being stored.
        let (paused, reset, again, resumed) =
            (oneshot::channel(), oneshot::channel(), oneshot::channel(), oneshot::channel());
        send.send(Order::Pause(pause(), paused.0)).await.unwrap();
        assert!(matches!(next_order(&mut orders, &wal, "s").await, Some(Order::Pause(..))));
        deliver::store_pause(&wal, "s", Some(&pause())).await.unwrap();
        for order in [Order::Reset(reset.0), Order::Pause(pause(), again.0), Order::Resume(resumed.0)] {
            send.send(order).await.unwrap();
        }

        assert!(matches!(next_order(&mut orders, &wal, "s").await, Some(Order::Resume(_))));

        let refused = reset.1.await.unwrap().unwrap_err();
        assert!(refused.message.contains("is paused") && refused.hint.unwrap().contains("sink resume s"));
        assert!(again.1.await.unwrap().unwrap_err().message.contains("is paused already"));
        drop(send);
        assert!(next_order(&mut orders, &wal, "s").await.is_none());
        wal.shutdown().await.unwrap();
    }
}
