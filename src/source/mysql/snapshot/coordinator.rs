//! Runs the reads that the tables' records want: so many readers at once as chunks are read at once. One has one table,
//! or many small ones ([`super::together`]).
//!
//! It decides nothing about a table. The ingest loop says which read is due, by its number; a reader whose number is another one is
//! stopped. What becomes of a read goes back to the loop as an event of its table.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::asking::{self, Backfill};
use super::context::Context;
use super::handoff::Request;
use super::ingest::Ingest;
use super::progress::{Progress, Stage};
use super::session::Sessions;
use super::spool::Spool;
use super::table::{self, End};
use super::together::{self, Became};
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::stream_server::StreamServer;
use crate::table::{Event, Reach, Read};
use crate::telemetry::{Live, now_micros};

/// How long a table that cannot be read is left alone before it is tried again.
const AGAIN: Duration = Duration::from_mins(1);
/// Pause between two looks at a log that has no room for a read that nobody has asked for.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
/// Pause before something is said again to a loop that has lost its stream.
const SAY_AGAIN: Duration = Duration::from_millis(200);

/// What the coordinator is told.
#[derive(Debug)]
pub enum Job {
    /// The read of a table that is due; `None`: none is.
    Read {
        /// The table.
        table: TableName,
        /// The read.
        read: Option<Read>,
        /// The table could not be read before.
        unreadable: bool,
    },
    /// The configuration was read again: limits of the reads from here on.
    Limits {
        /// Rows read per second over all tables; 0: no limit.
        max_rows_per_second: u64,
        /// A table without a key for chunks that has more rows is not read by itself.
        reread_keyless_rows: u64,
    },
    /// An operator asks for a table to be read. What cannot be read is refused before it is asked of the loop.
    Backfill(Backfill),
}

/// Runs the reads.
#[derive(Debug)]
pub struct Coordinator {
    context: Arc<Context>,
    jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
    /// The read of each table that is due, and how far it came in this process.
    due: HashMap<TableName, Progress>,
    /// Tables whose turn has not come.
    waiting: Waiting,
    /// Tables whose read is not done together with others: it was tried.
    alone: HashSet<TableName>,
    /// The room on disk that reads have.
    room: Room,
}

/// Tables that wait for their turn, each once.
#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<TableName>,
    known: HashSet<TableName>,
}

impl Waiting {
    fn push(&mut self, table: TableName) {
        if self.known.insert(table.clone()) {
            self.order.push_back(table);
        }
    }

    fn remove(&mut self, table: &TableName) {
        if self.known.remove(table) {
            self.order.retain(|waiting| waiting != table);
        }
    }

    /// Takes out the first tables, so many at most, for which this holds.
    fn take(&mut self, most: usize, mut can_start: impl FnMut(&TableName) -> bool) -> Vec<TableName> {
        let mut taken = Vec::new();
        let mut left = VecDeque::with_capacity(self.order.len());
        while let Some(table) = self.order.pop_front() {
            if taken.len() == most {
                left.push_back(table);
                left.append(&mut self.order);
            } else if can_start(&table) {
                self.known.remove(&table);
                taken.push(table);
            } else {
                left.push_back(table);
            }
        }
        self.order = left;
        taken
    }
}

/// The room on disk that reads have.
pub struct Room {
    /// Where whole tables wait.
    pub spool: Arc<Spool>,
    /// Says whether the log has room for reads that nobody has asked for: it is not more than half full.
    pub in_log: Box<dyn Fn() -> bool + Send>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("spool", &self.spool).finish_non_exhaustive()
    }
}

/// A reader at work.
enum Reader {
    /// Of one table.
    One {
        table: TableName,
        number: u32,
        handle: AbortHandle,
        /// It has nothing left to do but to hear that its end is in the log.
        is_ending: Arc<AtomicBool>,
    },
    /// Of many small ones. It is done in a moment, and the loop takes nothing of a read that is no longer wanted.
    Together(HashMap<TableName, u32>),
}

impl Reader {
    fn has(&self, of: &TableName) -> bool {
        match self {
            Self::One { table, .. } => table == of,
            Self::Together(tables) => tables.contains_key(of),
        }
    }
}

/// A reader that has ended, or a pause that is over.
enum Ended {
    Read(Box<Progress>, Result<End, Failure>),
    Together(Vec<(Progress, Became)>),
    Paused { table: TableName, number: u32 },
}

impl Coordinator {
    /// Without any work. `requests` go to the ingest loop; `live` shows how the readers get on.
    pub fn new(
        plan: SourcePlan,
        stream_server: StreamServer,
        requests: mpsc::Sender<Request>,
        jobs: mpsc::UnboundedReceiver<Job>,
        live: Arc<Live>,
        room: Room,
        stop: CancellationToken,
    ) -> Self {
        let settings = plan.snapshot;
        let keyless = plan.doubts.reread_keyless_rows;
        let (sessions, ingest) = (Sessions::new(plan, stream_server), Ingest::new(requests));
        let context = Context::new(sessions, ingest, Arc::clone(&room.spool), &settings, keyless, live);
        Self {
            context: Arc::new(context),
            jobs,
            stop,
            due: HashMap::new(),
            waiting: Waiting::default(),
            alone: HashSet::new(),
            room,
        }
    }

    /// Runs reads until the token is cancelled. Whatever was in work then is taken up at the next start.
    pub async fn run(mut self) {
        let mut tasks: JoinSet<Ended> = JoinSet::new();
        let mut readers: HashMap<Id, Reader> = HashMap::new();
        let mut asking: JoinSet<()> = JoinSet::new();
        let mut is_open = true;
        loop {
            let waits_for_room = self.start_readers(&mut tasks, &mut readers);
            tokio::select! {
                () = tokio::time::sleep(LOOK_FOR_ROOM), if waits_for_room => {}
                () = self.stop.cancelled() => break,
                job = self.jobs.recv(), if is_open => match job {
                    Some(Job::Read { table, read, unreadable }) => self.told(table, (read, unreadable), &mut tasks, &readers),
                    Some(Job::Limits { max_rows_per_second, reread_keyless_rows }) => {
                        self.context.limit(max_rows_per_second, reread_keyless_rows);
                    }
                    Some(Job::Backfill(backfill)) => drop(asking.spawn(asking::ask(Arc::clone(&self.context), backfill))),
                    None => is_open = false,
                },
                Some(ended) = tasks.join_next_with_id() => self.ended(ended, &mut tasks, &mut readers),
                Some(asked) = asking.join_next() => if let Err(error) = asked {
                    tracing::error!(%error, "a request for a read ended by a fault of its own");
                },
            }
        }
        tasks.shutdown().await;
        asking.shutdown().await;
    }

    /// Takes in which read of a table is due, and stops a reader that does another one.
    fn told(
        &mut self,
        table: TableName,
        (read, unreadable): (Option<Read>, bool),
        tasks: &mut JoinSet<Ended>,
        readers: &HashMap<Id, Reader>,
    ) {
        let number = read.as_ref().map(|read| read.number);
        for reader in readers.values() {
            if let Reader::One { table: of, number: does, handle, is_ending } = reader
                && *of == table
                && Some(*does) != number
                && !is_ending.load(Ordering::Relaxed)
            {
                tracing::info!(%table, "the read of a table is stopped: it is no longer wanted");
                handle.abort();
            }
        }
        self.alone.remove(&table);
        let Some(read) = read else {
            self.due.remove(&table);
            self.waiting.remove(&table);
            self.context.hide(&table);
            return;
        };
        let progress = Progress::of(table.clone(), &read).unwrap_or_else(|failure| {
            tracing::warn!(%table, error = failure.chain(), "how far a read is cannot be told, it begins again");
            Progress {
                table: table.clone(),
                number: read.number,
                reach: read.reach.clone(),
                chunk_rows: read.chunk_rows,
                keys: None,
                by_itself: read.by_itself(),
                stage: Stage::Waiting,
                rows: 0,
            }
        });
        self.context.show(&table, |entry| entry.error = None);
        if read.reach == Reach::Whole && !read.is_doubt {
            // The first read of a table: that it was read is said at its end.
            tracing::debug!(%table, why = %read.why, "a table is read");
        } else {
            tracing::info!(%table, why = %read.why, "a table is read");
        }
        let number = progress.number;
        self.due.insert(table.clone(), progress);
        if self.context.was_missing(&table) && unreadable {
            // Nothing says that it is there now.
            self.pause(table, number, AGAIN, tasks);
        } else if let Some(pause) = pause(&read) {
            self.pause(table, number, pause, tasks);
        } else {
            self.waiting.push(table);
        }
    }

    /// Leaves a table alone for a while.
    fn pause(&mut self, table: TableName, number: u32, pause: Duration, tasks: &mut JoinSet<Ended>) {
        self.waiting.remove(&table);
        tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            Ended::Paused { table, number }
        });
    }

    /// Starts what can be started; says whether anything waits for room in the log.
    fn start_readers(&mut self, tasks: &mut JoinSet<Ended>, readers: &mut HashMap<Id, Reader>) -> bool {
        let needs_room = |due: &Progress| due.by_itself && due.stage == Stage::Waiting;
        let mut has_room = None;
        while readers.len() < self.context.parallel {
            let mut can_start = |table: &TableName| {
                readers.values().all(|reader| !reader.has(table))
                    && (!self.due.get(table).is_some_and(needs_room)
                        || *has_room.get_or_insert_with(|| (self.room.in_log)()))
            };
            let may_be_together = |table: &TableName| {
                !self.alone.contains(table) && self.due.get(table).is_some_and(together::may_be_together)
            };
            let many = self.waiting.order.iter().filter(|table| may_be_together(table) && can_start(table)).count();
            let tables = if many >= together::FEWEST {
                // Each reader gets its share.
                let most = many.div_ceil(self.context.parallel).clamp(together::FEWEST, together::MOST);
                self.waiting.take(most, |table| may_be_together(table) && can_start(table))
            } else {
                self.waiting.take(1, can_start)
            };
            if tables.is_empty() {
                break;
            }
            let mut reads: Vec<Progress> = tables.iter().filter_map(|table| self.due.get(table).cloned()).collect();
            let context = Arc::clone(&self.context);
            if many >= together::FEWEST {
                let numbers = reads.iter().map(|progress| (progress.table.clone(), progress.number)).collect();
                let handle = tasks.spawn(async move { Ended::Together(together::read(&context, reads).await) });
                readers.insert(handle.id(), Reader::Together(numbers));
            } else if let Some(progress) = reads.pop() {
                let (table, number) = (progress.table.clone(), progress.number);
                let is_ending = Arc::new(AtomicBool::new(false));
                let ending = Arc::clone(&is_ending);
                let handle = tasks.spawn(async move { read(context, progress, &ending).await });
                readers.insert(handle.id(), Reader::One { table, number, handle, is_ending });
            }
        }
        has_room == Some(false)
    }

    /// Tables that were read together: those that were not are read one by one.
    fn ended_together(&mut self, tables: Vec<(Progress, Became)>) {
        for (progress, became) in tables {
            let table = progress.table.clone();
            let Some(due) = self.due.get_mut(&table).filter(|due| due.number == progress.number) else { continue };
            match became {
                // The loop says which read is due next.
                Became::Done | Became::Unwanted => {
                    self.due.remove(&table);
                    self.context.hide(&table);
                }
                Became::Alone => {
                    *due = progress;
                    self.alone.insert(table.clone());
                    self.waiting.push(table);
                }
            }
        }
    }

    fn ended(
        &mut self,
        ended: Result<(Id, Ended), JoinError>,
        tasks: &mut JoinSet<Ended>,
        readers: &mut HashMap<Id, Reader>,
    ) {
        let (table, number, failed) = match ended {
            Ok((id, Ended::Read(progress, result))) => {
                readers.remove(&id);
                let (table, number) = (progress.table.clone(), progress.number);
                let failed = result.as_ref().err().map(Failure::chain);
                if let Some(due) = self.due.get_mut(&table).filter(|due| due.number == number) {
                    *due = *progress;
                }
                (table, number, failed)
            }
            Ok((id, Ended::Together(tables))) => {
                readers.remove(&id);
                return self.ended_together(tables);
            }
            Ok((_, Ended::Paused { table, number })) => {
                if self.is_due(&table, number) {
                    self.waiting.push(table);
                }
                return;
            }
            Err(error) => {
                let Some(reader) = readers.remove(&error.id()) else { return };
                if error.is_cancelled() {
                    return;
                }
                let (table, number) = match reader {
                    Reader::One { table, number, .. } => (table, number),
                    Reader::Together(tables) => {
                        tracing::error!(%error, "a reader of many tables ended by a fault of its own, they are read one by one");
                        let due = tables.into_iter().filter(|(table, number)| self.is_due(table, *number));
                        for (table, _) in due.collect::<Vec<_>>() {
                            self.alone.insert(table.clone());
                            self.waiting.push(table);
                        }
                        return;
                    }
                };
                tracing::error!(%table, %error, "the read of a table ended by a fault of its own");
                (table, number, Some(format!("the read ended by a fault of its own: {error}")))
            }
        };
        if !self.is_due(&table, number) {
            return;
        }
        match failed {
            Some(why) => {
                self.context.show(&table, |entry| {
                    entry.eta_seconds = None;
                    entry.error = Some(why.clone());
                });
                let context = Arc::clone(&self.context);
                tasks.spawn(async move {
                    // What has panicked could not say so itself.
                    say(&context, &table, Event::Failed { number, why }).await;
                    tokio::time::sleep(AGAIN).await;
                    Ended::Paused { table, number }
                });
            }
            // The loop says which read is due next.
            None => {
                self.due.remove(&table);
                self.context.hide(&table);
            }
        }
    }

    fn is_due(&self, table: &TableName, number: u32) -> bool {
        self.due.get(table).is_some_and(|due| due.number == number)
    }
}

/// How long a read has still to wait that nobody has asked for.
fn pause(read: &Read) -> Option<Duration> {
    let until = read.until.filter(|_| !read.has_begun())?;
    let left = until.saturating_sub(now_micros());
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_micros)
}

/// One reader's work, to its end or to what has to be said of the table.
async fn read(context: Arc<Context>, mut progress: Progress, ending: &AtomicBool) -> Ended {
    let started = Instant::now();
    let result = Box::pin(table::run(&context, &mut progress, ending)).await;
    let (table, number) = (&progress.table, progress.number);
    match &result {
        Ok(End::Done) => progress.say_it_was_read(started),
        Ok(End::Unwanted) => tracing::info!(%table, "the read of a table is no longer wanted"),
        Ok(End::Missing(end, server)) => {
            tracing::info!(%table, "the source has no such table, the stream is to say what became of it");
            context.is_missing(table);
            say(&context, table, Event::Missing { number, end: end.clone(), server: server.clone() }).await;
        }
        Err(failure) => tracing::error!(%table, error = failure.chain(), "a table cannot be read, it is tried again"),
    }
    Ended::Read(Box::new(progress), result)
}

/// Says what has happened to a table until the loop has taken it.
async fn say(context: &Context, table: &TableName, event: Event) {
    while context.ingest.happened(table.clone(), event.clone()).await.is_err() {
        tokio::time::sleep(SAY_AGAIN).await;
    }
}
