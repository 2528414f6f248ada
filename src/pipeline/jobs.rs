//! What asks for tables to be read beside the stream: operators and sinks. Each is handed on to where a table's record takes it in.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use wal::{Lsn, Wal};

use super::asking::Asking;
use crate::control::{
    BackfillJob, BackfillRequest, BackfillTaken, Resync, ResyncRequest, TableAsk, TableRequest, TableTaken,
};
use crate::deliver::{self, Doubt, Wish};
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::snapshot::handoff::Request;
use crate::source::mysql::snapshot::{Backfill, Job};
use crate::table::{self, Ask, ByHand, Cause, Event, Operated, Reach};

/// The tables that are in doubt at a sink since an earlier run and that have to be read again for that: the log has no replace of them
/// that the sink has not reached yet.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub(super) fn doubted<'s>(wal: &Wal, sinks: impl Iterator<Item = &'s str>) -> Result<Vec<Doubt>, Failure> {
    let (cursors, positions) = (wal.cursors(), *wal.positions().borrow());
    let records = table::records(&wal.reader())?;
    let mut doubted = Vec::new();
    for sink in sinks {
        if deliver::is_new(&wal.reader(), sink)? {
            // It says what it needs once its target was looked at.
            continue;
        }
        let cursor = cursors.iter().find(|cursor| cursor.name == sink);
        // A cursor that lost its claim may be before everything that the log still has.
        let after = cursor.map_or(Lsn::ZERO, |cursor| cursor.lsn).max(positions.first.prev());
        for (table, why) in deliver::doubts(&wal.reader(), sink, (after, positions.durable))? {
            // Of a table that is no longer captured, or is gone, there is nothing to read.
            if records.iter().any(|(name, record)| *name == table && record.is_captured()) {
                info!(%sink, %table, why, "a table is in doubt since an earlier run, it is read again");
                let is_configured = deliver::is_configured(&why);
                doubted.push(Doubt { sink: sink.to_owned(), table, why, is_configured });
            }
        }
    }
    Ok(doubted)
}

/// A read that the sink of a doubt needs.
fn of_doubt(doubt: &Doubt) -> Event {
    let why = format!("sink \"{}\": {}", doubt.sink, doubt.why);
    let ask =
        if doubt.is_configured { Ask::new(Reach::Replace, why) } else { Ask::doubt(Reach::Replace, Cause::Rows, why) };
    Event::Asked(ask.of_sink(&doubt.sink))
}

/// A table to be read, as the coordinator takes it, and the answer to it.
pub(super) fn backfill_of(job: &BackfillJob) -> (Backfill, oneshot::Receiver<Result<Option<u32>, Failure>>) {
    let (reply, answer) = oneshot::channel();
    let backfill = Backfill {
        table: job.name(),
        condition: job.condition.clone(),
        chunk_rows: job.batch_size.map(NonZeroU32::get),
        replace: job.replace,
        reply,
    };
    (backfill, answer)
}

/// How long whoever asks for a backfill is left waiting until it is stored; the asking side gives up after a minute.
const QUEUED_AFTER: Duration = Duration::from_secs(10);

/// Hands what is asked for through the control socket to the coordinator. Nobody waits for another one's tables.
pub(super) async fn forward_backfills(
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

async fn answer_backfill(request: BackfillRequest, jobs: mpsc::UnboundedSender<Job>) {
    let mut answers = Vec::with_capacity(request.jobs.len());
    for job in &request.jobs {
        let (backfill, stored) = backfill_of(job);
        // A coordinator that is gone drops the job, and with it the sender.
        drop(jobs.send(Job::Backfill(backfill)));
        answers.push((job.name(), stored));
    }
    let deadline = tokio::time::Instant::now() + QUEUED_AFTER;
    let mut outcome = Ok(BackfillTaken::default());
    for (table, stored) in answers {
        let refused = match tokio::time::timeout_at(deadline, stored).await {
            Ok(Ok(Ok(read))) => {
                if let Ok(taken) = &mut outcome {
                    taken.reads.extend(read.map(|read| (table, read)));
                }
                continue;
            }
            Ok(Ok(Err(refused))) => refused,
            Ok(Err(_)) => Failure::fatal("the daemon is stopping"),
            Err(_) => {
                if let Ok(taken) = &mut outcome {
                    taken.queued.push(table);
                }
                continue;
            }
        };
        if outcome.is_ok() {
            outcome = Err(refused_read(&table, refused));
        }
    }
    // Whoever asked may have gone; the jobs are taken all the same.
    drop(request.reply.send(outcome));
}

/// Hands what is asked for through the control socket to the ingest loop, which answers.
pub(super) async fn forward_resyncs(
    mut asked: mpsc::Receiver<ResyncRequest>,
    requests: mpsc::Sender<Request>,
    stop: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            request = asked.recv() => request,
            () = stop.cancelled() => return,
        };
        let Some(ResyncRequest { resync: Resync { tables, sinks }, reply }) = request else { return };
        let sent = tokio::select! {
            sent = requests.send(Request::Resync { tables, sinks, reply }) => sent,
            () = stop.cancelled() => return,
        };
        if sent.is_err() {
            // The sender of the answer went with the request.
            return;
        }
    }
}

/// Hands what operators do to tables to the ingest loop, which answers.
pub(super) async fn forward_tables(
    mut asked: mpsc::Receiver<TableRequest>,
    requests: mpsc::Sender<Request>,
    stop: CancellationToken,
) {
    let mut answering = JoinSet::new();
    loop {
        let TableRequest { table, ask, reply } = tokio::select! {
            request = asked.recv() => match request {
                Some(request) => request,
                None => return,
            },
            Some(_) = answering.join_next() => continue,
            () = stop.cancelled() => return,
        };
        let by_hand = match ask {
            TableAsk::Skip(why) => ByHand::Skip(why),
            TableAsk::Resume(why) => ByHand::Resume(why),
            TableAsk::Cancel(why) => ByHand::Cancel(why),
        };
        let requests = requests.clone();
        answering.spawn(ask_of_table(requests, (table, by_hand), reply));
    }
}

/// Waits for the ingest loop's answer for as long as the caller does: one that has given up was told that nothing is done, and the loop does
/// nothing for a request whose answer is not waited for.
async fn ask_of_table(
    requests: mpsc::Sender<Request>,
    (table, by_hand): (TableName, ByHand),
    mut reply: oneshot::Sender<Result<TableTaken, Failure>>,
) {
    let (stored, answer) = oneshot::channel();
    let operated = async {
        // A loop that is gone drops the request, and with it the sender of the answer.
        drop(requests.send(Request::ByHand { table, by_hand, reply: stored }).await);
        answer.await
    };
    let operated = tokio::select! {
        operated = operated => operated,
        () = reply.closed() => return,
    };
    if let Ok(operated) = operated {
        let taken = operated.map(|Operated { read, left_out }| TableTaken { read, left_out });
        // The caller may have gone in this moment; it is done all the same.
        drop(reply.send(taken));
    }
}

/// The refusal of a read that was asked for.
pub(super) fn refused_read(table: &TableName, refused: Failure) -> Failure {
    let hint = refused.hint.clone();
    let failure = Failure::fatal(format!("table \"{table}\" is not read again")).caused_by(refused);
    Failure { hint, ..failure }
}

/// Hands what the sinks wish to the ingest loop: doubts of an earlier run first, each of them with its token of what `--once` waits for.
pub(super) async fn forward_wishes(
    doubts: Vec<(Doubt, Asking)>,
    mut wishes: mpsc::UnboundedReceiver<Wish>,
    requests: mpsc::Sender<Request>,
) {
    for (doubt, asking) in doubts {
        let (reply, stored) = oneshot::channel();
        let event = of_doubt(&doubt);
        if requests.send(Request::Happened { table: doubt.table, event, reply: Some(reply) }).await.is_err() {
            return;
        }
        // A loop that has lost its stream finds the doubt in the log at the next start.
        drop(stored.await);
        drop(asking);
    }
    while let Some(wish) = wishes.recv().await {
        let request = match wish {
            Wish::Doubt { doubt, stored } => {
                Request::Happened { event: of_doubt(&doubt), table: doubt.table, reply: stored }
            }
            Wish::NewSink { sink, replaces, except, stored } => {
                Request::SinkAdded { sink, replaces, except, reply: stored }
            }
            Wish::Rows { sink, table, reach, stored } => {
                let why = format!("an operator asked for the rows of dead letters of sink \"{sink}\"");
                let event = Event::Asked(Ask::again(reach, why).of_sink(&sink));
                Request::Happened { table, event, reply: Some(stored) }
            }
        };
        if requests.send(request).await.is_err() {
            // Only at a shutdown; what was wished is in the log for the next start.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::{SINK_ROWS, encode};
    use crate::deliver::TableAtSink;
    use crate::table::{Capture, TableRecord};
    use wal::Options;

    fn table(name: &str) -> TableName {
        TableName::new("d", name)
    }

    #[tokio::test]
    async fn what_a_caller_asked_of_a_table_before_it_gave_up_is_answered_to_nobody() {
        let (asked, queue) = mpsc::channel(1);
        let (requests, mut taken) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let forwarding = tokio::spawn(forward_tables(queue, requests, stop.clone()));
        let (reply, caller) = oneshot::channel();
        let ask = TableAsk::Skip("an operator said so".into());
        asked.send(TableRequest { table: table("t"), ask, reply }).await.unwrap();
        let Some(Request::ByHand { mut reply, .. }) = taken.recv().await else { panic!("the loop is asked") };
        assert!(!reply.is_closed());

        drop(caller);

        // This is what the loop looks at before it does anything.
        reply.closed().await;
        stop.cancel();
        forwarding.await.unwrap();
    }

    #[tokio::test]
    async fn captured_tables_in_doubt_are_read_for_each_sink_that_has_the_doubt() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let doubt = TableAtSink { doubt: Some("1 is not 2".into()), ..TableAtSink::default() };
        let mut state = Vec::new();
        for (sink, name) in [("a", "t"), ("b", "t"), ("a", "left"), ("a", "gone")] {
            wal.create_cursor(sink, Lsn::ZERO).await.unwrap();
            state.push((SINK_ROWS.of_sink_table(sink, &table(name)), Some(encode(&doubt).unwrap())));
        }
        for (name, capture) in [("t", Capture::Since(Lsn::ZERO)), ("left", Capture::Left(Lsn::ZERO))] {
            let record = TableRecord { capture, ..TableRecord::default() };
            state.push(record.change(&table(name)).unwrap());
        }
        wal.put_state(state).await.unwrap();

        let doubted = doubted(&wal, ["a", "b"].into_iter()).unwrap();

        let found: Vec<_> = doubted.iter().map(|doubt| (doubt.sink.as_str(), doubt.table.clone())).collect();
        assert_eq!(found, [("a", table("t")), ("b", table("t"))]);
    }
}
