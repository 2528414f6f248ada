//! Questions about tables, asked on connections of their own while the stream goes on.
//!
//! Each question is a task. What may pass is tried again with growing pauses: the core decides how long it waits for the answer. What
//! is about the table and does not pass within a minute is an answer too: the core asks again later. Tasks end with the connection of
//! the stream, because their answers are about its server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::core::Answer;
use super::pending::AskId;
use crate::backoff::Backoff;
use crate::config::SourcePlan;
use crate::error::{ErrorClass, Failure};
use crate::model::{FilePos, TableName, TableSchema};
use crate::source::mysql::connect::is_about_the_server;
use crate::source::mysql::question::{self, Shown};
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::stream_server::StreamServer;

/// First tries at once. Each holds a connection for [`FIRST_TRY`] at most.
const AT_ONCE: usize = 8;
/// A first try that takes longer is given up with its connection, so that locked tables, however many, keep no other from being
/// asked about.
const FIRST_TRY: Duration = Duration::from_millis(100);
/// Further tries at once, of tables that were locked or slow. Each holds a connection for a second at most while its table is
/// locked.
const SLOW_AT_ONCE: usize = 8;
/// How long a question fails because of its table before that is its answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two tries at a table that another session has locked.
const LOCKED_PAUSE: Duration = Duration::from_millis(50);

/// The questions that are under way.
pub(super) struct Questions {
    shared: Arc<Shared>,
    tasks: JoinSet<Answer>,
}

struct Shared {
    plan: SourcePlan,
    server: ServerInfo,
    stream_server: StreamServer,
    first: Semaphore,
    slow: Semaphore,
    idle: Mutex<Vec<Conn>>,
}

impl Questions {
    /// For a stream of this server.
    pub(super) fn new(plan: SourcePlan, server: ServerInfo, stream_server: StreamServer) -> Self {
        let (first, slow) = (Semaphore::new(AT_ONCE), Semaphore::new(SLOW_AT_ONCE));
        let shared = Shared { plan, server, stream_server, first, slow, idle: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared), tasks: JoinSet::new() }
    }

    /// Asks for a table's definition.
    pub(super) fn describe(&mut self, ask: AskId, table: TableName) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { shared.describe(ask, table).await });
    }

    /// Asks whether a table's engine takes changes back.
    pub(super) fn engine(&mut self, ask: AskId, table: TableName) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { shared.engine(ask, table).await });
    }

    /// Asks whether a table is a MERGE table.
    pub(super) fn merge(&mut self, ask: AskId, table: TableName) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { shared.merge(ask, table).await });
    }

    /// Asks how all captured tables are defined.
    pub(super) fn compare(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { Answer::Compared(shared.compare().await) });
    }

    /// The next answer; never while nothing is asked. A call that is dropped loses none.
    pub(super) async fn answer(&mut self) -> Answer {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(answer)) => return answer,
                Some(Err(error)) => warn!(%error, "a question about a table ended by itself"),
                None => std::future::pending().await,
            }
        }
    }

    /// An answer that is there already.
    pub(super) fn try_answer(&mut self) -> Option<Answer> {
        loop {
            match self.tasks.try_join_next()? {
                Ok(answer) => return Some(answer),
                Err(error) => warn!(%error, "a question about a table ended by itself"),
            }
        }
    }

    /// Ends every question and its connection.
    pub(super) async fn close(mut self) {
        self.tasks.shutdown().await;
        for conn in self.shared.idle.lock().await.drain(..) {
            question::close(conn).await;
        }
    }
}

impl Shared {
    async fn describe(&self, ask: AskId, table: TableName) -> Answer {
        let mut backoff = Backoff::default();
        let mut is_first = true;
        let mut failing_since: Option<Instant> = None;
        loop {
            let asked =
                if std::mem::take(&mut is_first) { self.ask_first(&table).await } else { self.ask_again(&table).await };
            match asked {
                Ok(Some(question::Definition { shown, end })) => {
                    return match shown {
                        Shown::Table(found) => Answer::Described { ask, table, found: Some(found), end },
                        Shown::Hidden => Answer::Described { ask, table, found: None, end },
                        Shown::Instead(instead) => Answer::Instead { ask, table, instead, end },
                    };
                }
                Ok(None) => {
                    debug!(%table, "the table is locked, it is asked about again");
                    tokio::time::sleep(LOCKED_PAUSE).await;
                }
                Err(failure) => {
                    if is_about_the_server(&failure) {
                        failing_since = None;
                    } else if failure.class == ErrorClass::Fatal
                        || failing_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
                    {
                        return Answer::Refused { ask, table, why: failure.chain() };
                    }
                    let wait = backoff.next_wait();
                    debug!(%table, error = %failure.chain(), ?wait, "a question about a table is asked again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn ask_first(&self, table: &TableName) -> Result<Option<question::Definition>, Failure> {
        let _permit = self.first.acquire().await;
        match tokio::time::timeout(FIRST_TRY, self.ask_once(table)).await {
            Ok(asked) => asked,
            Err(_) => Ok(None),
        }
    }

    async fn ask_again(&self, table: &TableName) -> Result<Option<question::Definition>, Failure> {
        let _permit = self.slow.acquire().await;
        self.ask_once(table).await
    }

    async fn ask_once(&self, table: &TableName) -> Result<Option<question::Definition>, Failure> {
        let mut conn = self.connection().await?;
        let definition = question::definition(&mut conn, &self.server, table).await;
        if definition.is_ok() {
            self.idle.lock().await.push(conn);
        } else {
            // It may still hold the table's metadata lock.
            drop(conn);
        }
        definition
    }

    async fn engine(&self, ask: AskId, table: TableName) -> Answer {
        let mut backoff = Backoff::default();
        loop {
            match self.engine_once(&table).await {
                Ok((transactional, end)) => return Answer::Engine { table, ask, transactional, end },
                Err(failure) => {
                    let wait = backoff.next_wait();
                    debug!(%table, error = %failure.chain(), ?wait, "the engine of a table is asked for again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn engine_once(&self, table: &TableName) -> Result<(Option<bool>, FilePos), Failure> {
        let _permit = self.slow.acquire().await;
        let mut conn = self.connection().await?;
        let answer = question::is_transactional(&mut conn, &self.server, table).await;
        if answer.is_ok() {
            self.idle.lock().await.push(conn);
        }
        answer
    }

    /// `None`: the server did not say it within a minute.
    async fn compare(&self) -> Option<Vec<TableSchema>> {
        let (mut backoff, begun) = (Backoff::default(), Instant::now());
        loop {
            let failure = match self.compare_once().await {
                Ok(found) => return Some(found),
                Err(failure) => failure,
            };
            if begun.elapsed() >= PATIENCE {
                warn!(
                    error = %failure.chain(),
                    "definitions of tables could not be compared with those of the server; this is tried again in ten minutes"
                );
                return None;
            }
            let wait = backoff.next_wait();
            debug!(error = %failure.chain(), ?wait, "definitions of tables are compared again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn compare_once(&self) -> Result<Vec<TableSchema>, Failure> {
        let _permit = self.slow.acquire().await;
        let mut conn = self.connection().await?;
        let found = question::all(&mut conn, &self.server, &self.plan.filter).await;
        if found.is_ok() {
            self.idle.lock().await.push(conn);
        }
        found
    }

    async fn merge(&self, ask: AskId, table: TableName) -> Answer {
        let mut backoff = Backoff::default();
        loop {
            match self.merge_once(&table).await {
                Ok((is_merge, end)) => return Answer::Merge { table, ask, is_merge, end },
                Err(failure) => {
                    let wait = backoff.next_wait();
                    debug!(%table, error = %failure.chain(), ?wait, "the engine of a table is asked for again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn merge_once(&self, table: &TableName) -> Result<(Option<bool>, FilePos), Failure> {
        let _permit = self.slow.acquire().await;
        let mut conn = self.connection().await?;
        let answer = question::is_merge(&mut conn, &self.server, table).await;
        if answer.is_ok() {
            self.idle.lock().await.push(conn);
        }
        answer
    }

    async fn connection(&self) -> Result<Conn, Failure> {
        let idle = self.idle.lock().await.pop();
        match idle {
            Some(conn) => Ok(conn),
            None => question::open(&self.plan, &self.stream_server).await,
        }
    }
}
