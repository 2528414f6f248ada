//! Runs the snapshot jobs: so many tables at once as chunks are read at once, one job per table at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::handoff::Request;
use super::ingest::Ingest;
use super::job::{Job, Stored};
use super::progress::{STATE_PREFIX, TableProgress};
use super::session::Sessions;
use super::status::{SnapshotStatus, TableState, TableStatus};
use super::table;
use crate::codec::state::name_of_key;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::TableName;

/// Runs the snapshot jobs.
#[derive(Debug)]
pub struct Coordinator {
    context: Arc<Context>,
    jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
    waiting: VecDeque<Task>,
    /// Tables that a stored entry or a job has named.
    known: HashSet<TableName>,
    /// Tables whose job failed, and how far it came.
    failed: HashMap<TableName, TableProgress>,
}

#[derive(Debug)]
struct Task {
    progress: TableProgress,
    stored: Option<Stored>,
    /// What was shown of the table before this task.
    before: Option<TableStatus>,
}

struct Ended {
    task: Task,
    result: Result<(), Failure>,
}

impl Coordinator {
    /// Takes up what is stored: `stored` holds the log's state entries under [`STATE_PREFIX`]. Tables that
    /// are not done go on where they were. Jobs that wait in `jobs` already are taken in, so that from here on `status` names every table
    /// that was asked for.
    pub fn new(
        plan: SourcePlan,
        requests: mpsc::Sender<Request>,
        jobs: mpsc::UnboundedReceiver<Job>,
        stored: Vec<(Vec<u8>, Vec<u8>)>,
        status: watch::Sender<SnapshotStatus>,
        stop: CancellationToken,
    ) -> Self {
        let settings = plan.snapshot;
        let context = Context::new(Sessions::new(plan), Ingest::new(requests), &settings, status);
        let mut coordinator = Self {
            context: Arc::new(context),
            jobs,
            stop,
            waiting: VecDeque::new(),
            known: HashSet::new(),
            failed: HashMap::new(),
        };
        for (key, value) in stored {
            match TableProgress::read(&key, &value) {
                Ok(progress) => coordinator.enqueue(progress, None),
                Err(failure) => coordinator.unreadable(&key, &failure),
            }
        }
        while let Ok(job) = coordinator.jobs.try_recv() {
            coordinator.accept(job);
        }
        coordinator
    }

    /// Shows a stored entry that cannot be read as a failed table. The table is known, so that its snapshot is not begun anew in
    /// silence; a backfill of it is.
    fn unreadable(&mut self, key: &[u8], failure: &Failure) {
        let table = name_of_key(STATE_PREFIX, key)
            .unwrap_or_else(|| TableName::new("?", String::from_utf8_lossy(key).into_owned()));
        tracing::error!(%table, error = failure.chain(), "the stored progress of a snapshot cannot be read");
        self.context.show(&table, |entry| {
            entry.state = TableState::Failed;
            entry.error = Some(failure.chain());
        });
        self.known.insert(table);
    }

    /// Runs jobs until the token is cancelled. The end of `jobs` does not end it: the tables in work go on.
    ///
    /// Failures of tables are in the status; after that whatever was in work is taken up at the next start.
    pub async fn run(mut self) {
        let mut tables: JoinSet<Ended> = JoinSet::new();
        let mut busy: HashSet<TableName> = HashSet::new();
        let mut jobs_open = true;
        loop {
            while tables.len() < self.context.parallel
                && let Some(task) = self.next_free(&busy)
            {
                busy.insert(task.progress.table().clone());
                let context = Arc::clone(&self.context);
                tables.spawn(async move {
                    let mut task = task;
                    let result = Box::pin(table::run(&context, &mut task.progress, &mut task.stored)).await;
                    Ended { task, result }
                });
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                job = self.jobs.recv(), if jobs_open => match job {
                    Some(job) => self.accept(job),
                    None => jobs_open = false,
                },
                Some(ended) = tables.join_next() => match ended {
                    Ok(ended) => {
                        busy.remove(ended.task.progress.table());
                        self.ended(ended);
                    }
                    // The task holds no state that others need, but its table is not known here: show it on all that run.
                    Err(error) => self.fault(&mut busy, &error),
                },
            }
        }
        tables.shutdown().await;
    }

    fn accept(&mut self, job: Job) {
        match job {
            Job::Initial(table) => {
                if !self.known.contains(&table) {
                    self.enqueue(TableProgress::initial(table), None);
                }
            }
            Job::Backfill { backfill, stored } => {
                // A job takes the place of one that failed. But a part of a table does not stand for the whole: that is read first.
                if let Some(unfinished) = self.failed.remove(&backfill.table)
                    && backfill.where_clause.is_some()
                    && unfinished.job.where_clause.is_none()
                {
                    self.enqueue(unfinished, None);
                }
                self.enqueue(TableProgress::new(backfill), stored);
            }
        }
    }

    fn enqueue(&mut self, progress: TableProgress, stored: Option<Stored>) {
        let done = progress.stage.is_over();
        let before = self.context.shown(progress.table());
        self.known.insert(progress.table().clone());
        self.context.show(progress.table(), |entry| {
            entry.rows = progress.rows;
            entry.error = None;
            if done {
                entry.state = TableState::Done;
            } else if entry.state != TableState::Running {
                entry.state = TableState::Pending;
            }
        });
        if !done {
            self.waiting.push_back(Task { progress, stored, before });
        }
    }

    /// The first task whose table is not in work.
    fn next_free(&mut self, busy: &HashSet<TableName>) -> Option<Task> {
        let place = self.waiting.iter().position(|task| !busy.contains(task.progress.table()))?;
        self.waiting.remove(place)
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { task: Task { progress, stored, before }, result } = ended;
        let table = progress.table().clone();
        let waits = self.waiting.iter().any(|task| *task.progress.table() == table);
        match result {
            Ok(()) => {
                self.failed.remove(&table);
                if waits {
                    self.context.show(&table, |entry| entry.state = TableState::Pending);
                }
            }
            // Nothing of it was stored, and whoever asked for it is told why: it is as if it had not been asked for.
            Err(failure) if stored.is_some() => {
                tracing::warn!(%table, error = failure.chain(), "a table is not read again");
                let settled = |entry: &TableStatus| matches!(entry.state, TableState::Done | TableState::Failed);
                let before = before.map(|entry| if settled(&entry) { entry } else { entry.done() });
                self.context.restore(&table, before);
                if let Some(Err(_)) = stored.map(|stored| stored.send(Err(failure))) {
                    tracing::debug!(%table, "whoever asked for the snapshot is gone");
                }
                if waits {
                    self.context.show(&table, |entry| entry.state = TableState::Pending);
                }
            }
            Err(failure) => {
                tracing::error!(%table, error = failure.chain(), "the snapshot of a table failed");
                self.context.show(&table, |entry| {
                    entry.state = TableState::Failed;
                    entry.eta_seconds = None;
                    entry.error = Some(failure.chain());
                });
                self.requeue_behind(progress);
            }
        }
    }

    /// Keeps a failed job in mind. Jobs of the same table that wait for a part of it fail with it; one for the whole replaces it.
    fn requeue_behind(&mut self, progress: TableProgress) {
        let table = progress.table().clone();
        self.waiting.retain(|task| *task.progress.table() != table || task.progress.job.where_clause.is_none());
        self.failed.insert(table, progress);
    }

    fn fault(&mut self, busy: &mut HashSet<TableName>, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a snapshot task ended by a fault of its own");
        for table in busy.drain() {
            self.context.show(&table, |entry| {
                entry.state = TableState::Failed;
                entry.error = Some(format!("the snapshot ended by a fault of its own: {error}"));
            });
        }
    }
}
