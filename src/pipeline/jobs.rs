//! What asks for tables to be read, and how it comes to the snapshot's coordinator: the first start, re-reads that a change of a
//! definition needs, and backfills that somebody asks for.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use wal::Wal;

use super::StartOptions;
use crate::config::Plan;
use crate::control::{BackfillJob, BackfillRequest, BackfillTaken};
use crate::deliver::{self, Doubt};
use crate::error::Failure;
use crate::first_contact::Contact;
use crate::ingest;
use crate::model::TableName;
use crate::source::mysql::snapshot::{Backfill, Job};

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
    for reread in ingest::rereads(&wal.reader())? {
        send(Job::Backfill { backfill: reread_job(reread), stored: None })?;
    }
    for sink in &plan.sinks {
        for (table, why) in deliver::doubts(&wal.reader(), &sink.name)? {
            // Of a table that is no longer captured, or is gone, there is nothing to read.
            if contact.tables.contains(&table) {
                info!(sink = %sink.name, %table, why, "a table is in doubt since an earlier run, it is read again");
                send(Job::Backfill { backfill: replacing(table), stored: None })?;
            }
        }
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
