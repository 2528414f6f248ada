//! What asks for tables to be read, and how it comes to the snapshot's coordinator: the first start, re-reads that a change of a
//! definition needs, and backfills that somebody asks for.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use wal::{Lsn, Wal};

use super::StartOptions;
use crate::config::Plan;
use crate::control::{BackfillJob, BackfillRequest, BackfillTaken};
use crate::deliver::{self, Doubt};
use crate::error::Failure;
use crate::first_contact::Contact;
use crate::ingest;
use crate::model::TableName;
use crate::source::mysql::snapshot::{Backfill, Job, TableProgress};

/// Everything that is to be read from the start on.
pub(super) fn queue_jobs(
    plan: &Plan,
    options: &StartOptions,
    contact: &Contact,
    wal: &Wal,
    jobs: &mpsc::UnboundedSender<Job>,
) -> Result<(), Failure> {
    let send = |job| jobs.send(job).map_err(|_| Failure::fatal("the snapshot coordinator is gone"));
    for table in &contact.initial {
        send(Job::Initial(table.clone()))?;
    }
    let rereads = ingest::rereads(&wal.reader())?;
    let replaced = rereads.iter().filter(|reread| reread.replace).map(|reread| reread.table.clone());
    let replaced = replaced.chain(to_be_replaced(&contact.progress)).collect();
    for reread in rereads {
        send(Job::Backfill { backfill: reread_job(reread), stored: None })?;
    }
    let sinks = plan.sinks.iter().map(|sink| sink.name.as_str());
    for table in doubted(wal, sinks, &contact.tables, replaced)? {
        send(Job::Backfill { backfill: replacing(table), stored: None })?;
    }
    for backfill in &options.backfills {
        send(Job::Backfill { backfill: backfill_of(backfill), stored: None })?;
    }
    Ok(())
}

/// The captured tables that are in doubt at a sink since an earlier run and that have to be read again for that, each
/// once: neither the log nor a read that is still to come, of a table in `replaced`, replaces them.
fn doubted<'s>(
    wal: &Wal,
    sinks: impl Iterator<Item = &'s str>,
    captured: &[TableName],
    mut replaced: HashSet<TableName>,
) -> Result<Vec<TableName>, Failure> {
    let (cursors, positions) = (wal.cursors(), *wal.positions().borrow());
    let mut doubted = Vec::new();
    for sink in sinks {
        let cursor = cursors.iter().find(|cursor| cursor.name == sink);
        // A cursor that lost its claim may be before everything that the log still has.
        let after = cursor.map_or(Lsn::ZERO, |cursor| cursor.lsn).max(positions.first.prev());
        for (table, why) in deliver::doubts(&wal.reader(), sink, (after, positions.durable))? {
            // Of a table that is no longer captured, or is gone, there is nothing to read.
            if captured.contains(&table) && replaced.insert(table.clone()) {
                info!(%sink, %table, why, "a table is in doubt since an earlier run, it is read again");
                doubted.push(table);
            }
        }
    }
    Ok(doubted)
}

/// Tables of whose reads the sinks get a replace that is not in the log yet.
fn to_be_replaced(progress: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = TableName> {
    // What cannot be read is shown by the coordinator, as a failed table.
    let stored = progress.iter().filter_map(|(key, value)| TableProgress::read(key, value).ok());
    stored.filter(TableProgress::will_replace).map(|progress| progress.job.table)
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
    Backfill { replace: reread.replace, ..replacing(reread.table) }
}

/// A read that takes the place of what the sinks have of a table.
fn replacing(table: TableName) -> Backfill {
    Backfill { replace: true, may_be_gone: true, ..Backfill::whole(table) }
}

/// Hands tables that may differ from their source to the coordinator, to be read again.
pub(super) async fn forward_doubts(mut doubts: mpsc::UnboundedReceiver<Doubt>, jobs: mpsc::UnboundedSender<Job>) {
    while let Some(Doubt { table, .. }) = doubts.recv().await {
        if jobs.send(Job::Backfill { backfill: replacing(table), stored: None }).is_err() {
            // Only at a shutdown; the doubt is in the log for the next start.
            return;
        }
    }
}

/// Hands what the stream asks for to the coordinator.
pub(super) async fn forward_rereads(
    mut rereads: mpsc::UnboundedReceiver<ingest::Reread>,
    jobs: mpsc::UnboundedSender<Job>,
) {
    while let Some(reread) = rereads.recv().await {
        let job = Job::Backfill { backfill: reread_job(reread), stored: None };
        if jobs.send(job).is_err() {
            // Only at a shutdown; the re-read stands in the log for the next start.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::{SINK_ROWS, encode};
    use crate::deliver::TableAtSink;
    use crate::source::mysql::snapshot::Stage;
    use wal::Options;

    fn table(name: &str) -> TableName {
        TableName::new("d", name)
    }

    #[tokio::test]
    async fn tables_in_doubt_are_read_once_unless_a_read_that_replaces_them_is_still_to_come() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let doubt = TableAtSink { doubt: Some("1 is not 2".into()), ..TableAtSink::default() };
        let mut state = Vec::new();
        for (sink, name) in [("a", "t"), ("b", "t"), ("a", "reread"), ("b", "waits"), ("b", "begun"), ("a", "gone")] {
            wal.create_cursor(sink, Lsn::ZERO).await.unwrap();
            state.push((SINK_ROWS.of_sink_table(sink, &table(name)), Some(encode(&doubt).unwrap())));
        }
        wal.put_state(state).await.unwrap();
        let captured = ["t", "reread", "waits", "begun"].map(table);
        let at = |name, stage| TableProgress { stage, ..TableProgress::new(replacing(table(name))) }.entry().unwrap();
        let progress = [at("waits", Stage::Pending), at("begun", Stage::Begun), at("t", Stage::Done)];
        let replaced: HashSet<_> = to_be_replaced(&progress).chain([table("reread")]).collect();

        let doubted = doubted(&wal, ["a", "b"].into_iter(), &captured, replaced).unwrap();

        // The replace of a read that has begun was in the log before the doubt, or the log would have ended it.
        assert_eq!(doubted, [table("t"), table("begun")]);
    }
}
