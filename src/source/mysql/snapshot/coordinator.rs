//! Runs the snapshot jobs: so many tables at once as chunks are read at once, one job per table at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::handoff::Request;
use super::ingest::Ingest;
use super::job::{Backfill, Job, Stored};
use super::progress::{STATE_PREFIX, Stage, TableProgress};
use super::session::Sessions;
use super::status::{SnapshotStatus, TableState, TableStatus};
use super::table;
use crate::codec::stored::table_of_key;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::stream_server::StreamServer;

/// Runs the snapshot jobs.
#[derive(Debug)]
pub struct Coordinator {
    context: Arc<Context>,
    jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
    waiting: VecDeque<Task>,
    /// Tables that a stored entry or a job has named.
    known: HashSet<TableName>,
    /// Tables whose job failed.
    failed: HashMap<TableName, FailedJob>,
}

/// A job that failed.
#[derive(Debug)]
struct FailedJob {
    /// How far it came.
    progress: TableProgress,
    /// What is shown of it.
    shown: Option<TableStatus>,
}

#[derive(Debug)]
struct Task {
    progress: TableProgress,
    stored: Option<Stored>,
    /// What was shown of the table before this task.
    before: Option<TableStatus>,
    /// The failed job whose place this one takes; it comes back if this one is refused.
    replaced: Option<FailedJob>,
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
        stream_server: StreamServer,
        requests: mpsc::Sender<Request>,
        jobs: mpsc::UnboundedReceiver<Job>,
        stored: Vec<(Vec<u8>, Vec<u8>)>,
        status: watch::Sender<SnapshotStatus>,
        stop: CancellationToken,
    ) -> Self {
        let settings = plan.snapshot;
        let context = Context::new(Sessions::new(plan, stream_server), Ingest::new(requests), &settings, status);
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
                Ok(progress) => coordinator.enqueue(progress, None, None),
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
        let table = table_of_key(STATE_PREFIX, key)
            .unwrap_or_else(|| TableName::new("?", String::from_utf8_lossy(key).into_owned()));
        tracing::error!(%table, error = failure.chain(), "the stored progress of a snapshot cannot be read");
        self.context.show(&table, |entry| {
            entry.state = TableState::Failed;
            entry.error = Some(failure.chain());
        });
        self.known.insert(table.clone());
        // It is not known what is missing, so a part of the table does not mend it.
        self.keep_failed(TableProgress::initial(table));
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
                    self.enqueue(TableProgress::initial(table), None, None);
                }
            }
            Job::Backfill { backfill, stored } => {
                if stored.is_none() && self.joins(&backfill) {
                    tracing::info!(table = %backfill.table, "a read of the table that waits serves for another one too");
                    return;
                }
                // A job takes the place of one that failed. But a part of a table does not stand for the whole: that is read first.
                let failed = self.failed.remove(&backfill.table);
                let whole_first =
                    |failed: &FailedJob| backfill.where_clause.is_some() && failed.progress.job.where_clause.is_none();
                let replaced = match failed {
                    Some(failed) if whole_first(&failed) => {
                        self.enqueue(failed.progress, None, None);
                        None
                    }
                    failed => failed,
                };
                self.enqueue(TableProgress::new(backfill), stored, replaced);
            }
        }
    }

    /// Whether a read of the whole table waits that serves for this one too; it replaces the sinks' rows if either does.
    /// A read stays apart if an operator waits to hear that it is stored, or if it reads other rows.
    fn joins(&mut self, backfill: &Backfill) -> bool {
        if backfill.where_clause.is_some() {
            return false;
        }
        let waiting = self.waiting.iter_mut().find(|Task { progress, stored, .. }| {
            let job = &progress.job;
            job.table == backfill.table
                && job.where_clause.is_none()
                && progress.stage == Stage::Pending
                && !progress.initial
                && stored.is_none()
                && backfill.chunk_rows.is_none_or(|rows| job.chunk_rows == Some(rows))
        });
        let Some(Task { progress: TableProgress { job, .. }, .. }) = waiting else { return false };
        job.replace |= backfill.replace;
        job.may_be_gone &= backfill.may_be_gone;
        true
    }

    fn enqueue(&mut self, progress: TableProgress, stored: Option<Stored>, replaced: Option<FailedJob>) {
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
            self.waiting.push_back(Task { progress, stored, before, replaced });
        }
    }

    /// The first task whose table is not in work.
    fn next_free(&mut self, busy: &HashSet<TableName>) -> Option<Task> {
        let place = self.waiting.iter().position(|task| !busy.contains(task.progress.table()))?;
        self.waiting.remove(place)
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { task: Task { progress, stored, before, replaced }, result } = ended;
        let table = progress.table().clone();
        match result {
            Ok(()) => {
                self.failed.remove(&table);
                if self.waits(&table) {
                    self.context.show(&table, |entry| entry.state = TableState::Pending);
                }
            }
            // Nothing of it was stored, and whoever asked for it is told why: it is as if it had not been asked for.
            Err(failure) if stored.is_some() => {
                tracing::warn!(%table, error = failure.chain(), "a table is not read again");
                if let Some(failed) = replaced {
                    self.fail_with(failed);
                }
                let settled = |entry: &TableStatus| matches!(entry.state, TableState::Done | TableState::Failed);
                // A job that ran when this one was asked for may have failed since.
                let before = match self.failed.get(&table) {
                    Some(failed) => failed.shown.clone(),
                    None => before.map(|entry| if settled(&entry) { entry } else { entry.done() }),
                };
                self.context.restore(&table, before);
                if let Some(Err(_)) = stored.map(|stored| stored.send(Err(failure))) {
                    tracing::debug!(%table, "whoever asked for the snapshot is gone");
                }
                if self.waits(&table) {
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
                self.keep_failed(progress);
            }
        }
    }

    fn waits(&self, table: &TableName) -> bool {
        self.waiting.iter().any(|task| task.progress.table() == table)
    }

    /// Keeps a job in mind that has just failed, and what is shown of it.
    fn keep_failed(&mut self, progress: TableProgress) {
        let shown = self.context.shown(progress.table());
        self.fail_with(FailedJob { progress, shown });
    }

    /// Keeps a failed job in mind. Jobs of the same table that wait for a part of it fail with it; one for the whole replaces it.
    fn fail_with(&mut self, failed: FailedJob) {
        let table = failed.progress.table().clone();
        self.waiting.retain(|task| *task.progress.table() != table || task.progress.job.where_clause.is_none());
        self.failed.insert(table, failed);
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::{Secret, SnapshotPlan, Startup, TableFilter, TlsMode, TlsPlan};
    use crate::model::ServerIdentity;

    struct Rig {
        coordinator: Coordinator,
        status: watch::Receiver<SnapshotStatus>,
    }

    fn table() -> TableName {
        TableName::new("d", "t")
    }

    fn part(condition: &str) -> Backfill {
        Backfill { where_clause: Some(condition.to_owned()), ..Backfill::whole(table()) }
    }

    impl Rig {
        fn new(stored: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
            let plan = SourcePlan {
                host: "127.0.0.1".to_owned(),
                port: 1,
                user: "nobody".to_owned(),
                password: Secret::new(""),
                server_id: 1,
                startup: Startup::Initial,
                filter: TableFilter::new(globset::GlobSet::empty(), globset::GlobSet::empty()),
                describe_wait: std::time::Duration::from_secs(2),
                snapshot: SnapshotPlan { chunk_rows: 1, parallel: 1, max_rows_per_second: 0 },
                tls: TlsPlan { mode: TlsMode::Disabled, ca_file: None },
            };
            let (sender, status) = watch::channel(SnapshotStatus::default());
            let (requests, _) = mpsc::channel(1);
            let (_, jobs) = mpsc::unbounded_channel();
            Self {
                coordinator: Coordinator::new(
                    plan,
                    StreamServer::new(ServerIdentity::MariaDb { server_id: 1, domain_id: 0 }),
                    requests,
                    jobs,
                    stored,
                    sender,
                    CancellationToken::new(),
                ),
                status,
            }
        }

        fn ask(&mut self, backfill: Backfill) -> oneshot::Receiver<Result<(), Failure>> {
            let (stored, told) = oneshot::channel();
            self.coordinator.accept(Job::Backfill { backfill, stored: Some(stored) });
            told
        }

        /// Takes the next task, as a free slot does.
        fn next(&mut self) -> Task {
            self.coordinator.next_free(&HashSet::new()).unwrap()
        }

        fn end(&mut self, mut task: Task, error: Option<&'static str>) {
            if error.is_none() {
                drop(task.stored.take());
            }
            let result = error.map_or(Ok(()), |error| Err(Failure::fatal(error)));
            self.coordinator.ended(Ended { task, result });
        }

        /// The conditions of the jobs that wait, in their order.
        fn waiting(&self) -> Vec<Option<&str>> {
            self.coordinator.waiting.iter().map(|task| task.progress.job.where_clause.as_deref()).collect()
        }

        fn shown(&self) -> (TableState, Option<String>) {
            let status = self.status.borrow();
            let [entry] = &status.tables[..] else { panic!("one table is shown, not {status:?}") };
            (entry.state, entry.error.clone())
        }
    }

    #[test]
    fn a_refused_job_leaves_the_failed_one_whose_place_it_was_to_take() {
        let mut rig = Rig::new(Vec::new());
        rig.coordinator.accept(Job::Initial(table()));
        let initial = rig.next();
        rig.end(initial, Some("no such type"));

        let mut told = rig.ask(Backfill::whole(table()));
        let mut part_told = rig.ask(part("id > 1"));
        let refused = rig.next();
        rig.end(refused, Some("refused"));

        assert_eq!(told.try_recv().unwrap().unwrap_err().message, "refused");
        assert!(part_told.try_recv().is_err(), "a part that waited fails with the whole");
        assert_eq!(rig.shown(), (TableState::Failed, Some("no such type".to_owned())));
        let _told = rig.ask(part("id > 5"));
        assert_eq!(rig.waiting(), [None, Some("id > 5")], "the whole is read first");
    }

    #[test]
    fn a_refused_job_does_not_show_as_done_what_failed_while_it_waited() {
        let mut rig = Rig::new(Vec::new());
        rig.coordinator.accept(Job::Initial(table()));
        let initial = rig.next();
        rig.coordinator.context.show(&table(), |entry| entry.state = TableState::Running);
        let _told = rig.ask(Backfill::whole(table()));
        rig.end(initial, Some("no such type"));

        let refused = rig.next();
        rig.end(refused, Some("refused"));

        assert_eq!(rig.shown(), (TableState::Failed, Some("no such type".to_owned())));
        let _told = rig.ask(part("id > 5"));
        assert_eq!(rig.waiting(), [None, Some("id > 5")], "the whole is read first");
    }

    #[test]
    fn a_part_does_not_stand_for_a_whole_whose_progress_cannot_be_read() {
        let (key, _) = TableProgress::initial(table()).entry().unwrap();
        let mut rig = Rig::new(vec![(key, vec![0xff])]);
        assert_eq!(rig.shown().0, TableState::Failed);

        let _told = rig.ask(part("id > 5"));

        assert_eq!(rig.waiting(), [None, Some("id > 5")]);
    }

    #[test]
    fn a_job_that_succeeds_clears_the_failed_one() {
        let mut rig = Rig::new(Vec::new());
        rig.coordinator.accept(Job::Initial(table()));
        let initial = rig.next();
        rig.end(initial, Some("no such type"));
        let _told = rig.ask(Backfill::whole(table()));
        let whole = rig.next();
        rig.end(whole, None);

        let _told = rig.ask(part("id > 5"));

        assert_eq!(rig.waiting(), [Some("id > 5")]);
    }

    #[test]
    fn reads_of_the_whole_table_that_nobody_waits_for_join_the_one_that_waits() {
        let mut rig = Rig::new(Vec::new());
        let doubt = Backfill { replace: true, may_be_gone: true, ..Backfill::whole(table()) };
        let accept = |rig: &mut Rig, backfill| rig.coordinator.accept(Job::Backfill { backfill, stored: None });
        accept(&mut rig, Backfill { replace: false, ..doubt.clone() });

        accept(&mut rig, doubt.clone());
        accept(&mut rig, doubt.clone());
        accept(&mut rig, Backfill { table: TableName::new("d", "other"), ..doubt.clone() });
        accept(&mut rig, part("id > 5"));
        let _told = rig.ask(doubt.clone());

        let waiting =
            |rig: &Rig| rig.coordinator.waiting.iter().map(|task| task.progress.job.clone()).collect::<Vec<_>>();
        let other = Backfill { table: TableName::new("d", "other"), ..doubt.clone() };
        assert_eq!(waiting(&rig), [doubt.clone(), other, part("id > 5"), doubt.clone()]);
        // One that runs has begun perhaps: a new doubt is not part of it.
        let _running = rig.next();
        accept(&mut rig, doubt.clone());
        assert_eq!(waiting(&rig).last(), Some(&doubt));
        assert_eq!(waiting(&rig).len(), 4);
    }
}
