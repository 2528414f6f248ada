//! Seeded random writers: tables of every kind of key, and connections that insert, update, delete, move keys, roll
//! back, and (when asked) change the tables' definitions, all at once.
//!
//! The seed is printed, and `REPLICATOR_SEED` replays the same statements per connection; how connections interleave is
//! the server's choice. A statement that the server refuses for a reason that concurrency explains (a duplicate key, a
//! deadlock, a column that was just dropped) is counted, any other refusal fails the test. Writers live through a
//! server's restart by connecting again.

mod ddl;
mod statements;
mod tables;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use super::process::POLL;
use super::server::Server;
pub use tables::{Shape, Table};

/// What the writers are to do.
#[derive(Clone)]
pub struct Workload {
    seed: u64,
    database: String,
    tables: Vec<Table>,
    connections: u64,
    ddl: bool,
    mariadb: bool,
}

/// What the writers did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Statements that changed data or definitions, whether committed or rolled back later.
    pub done: u64,
    /// Statements refused because of what another connection did.
    pub refused: u64,
    /// Times a connection was lost and made again.
    pub reconnected: u64,
}

impl Workload {
    /// Two connections writing to one table of every shape, without DDL.
    pub fn new(database: &str) -> Self {
        let seed = env::var("REPLICATOR_SEED")
            .map_or_else(|_| rand::random(), |text| text.parse().expect("REPLICATOR_SEED is a number"));
        eprintln!("workload: REPLICATOR_SEED={seed}");
        Self {
            seed,
            database: database.to_owned(),
            tables: Shape::ALL.iter().map(|&shape| Table::new(shape, 0)).collect(),
            connections: 2,
            ddl: false,
            mariadb: false,
        }
    }

    /// With `count` tables, the shapes in turn.
    #[must_use]
    pub fn with_tables(mut self, count: usize) -> Self {
        let shapes = Shape::ALL.iter().cycle().take(count);
        self.tables =
            shapes.enumerate().map(|(position, &shape)| Table::new(shape, position / Shape::ALL.len())).collect();
        self
    }

    /// With tables of these shapes only.
    #[must_use]
    pub fn with_shapes(mut self, shapes: &[Shape]) -> Self {
        self.tables = shapes.iter().map(|&shape| Table::new(shape, 0)).collect();
        self
    }

    #[must_use]
    pub fn with_connections(mut self, connections: u64) -> Self {
        self.connections = connections;
        self
    }

    /// With one more connection that changes definitions: add, drop, rename and retype columns, truncate, rename,
    /// drop and create tables.
    #[must_use]
    pub fn with_ddl(mut self) -> Self {
        self.ddl = true;
        self
    }

    /// With tables by MariaDB's own types only, and (with DDL) columns of those.
    #[must_use]
    pub fn of_mariadb(self) -> Self {
        Self { mariadb: true, ..self.with_shapes(&Shape::OF_MARIADB) }
    }

    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Creates the tables with up to `rows` rows each. The database exists.
    pub async fn create(&self, server: &Server, rows: u32) {
        let mut rng = self.rng(u64::MAX);
        for table in &self.tables {
            server.exec(table.create(&self.database)).await;
            for start in (0..rows).step_by(500) {
                let numbers = start..rows.min(start + 500);
                server.exec(statements::fill(&self.database, table, numbers, &mut rng)).await;
            }
        }
    }

    /// Starts the writers; they write until they are stopped.
    pub fn start(&self, server: &Server) -> Writing {
        self.start_limited(server, u64::MAX)
    }

    /// Writes for at least `time` and returns what was done.
    pub async fn run_for(&self, server: &Server, time: Duration) -> Tally {
        let writing = self.start(server);
        tokio::time::sleep(time).await;
        writing.stop().await
    }

    /// Writes about `statements` statements and returns what was done.
    pub async fn run(&self, server: &Server, statements: u64) -> Tally {
        self.start_limited(server, statements).finish().await
    }

    fn start_limited(&self, server: &Server, statements: u64) -> Writing {
        let progress = Arc::new(Progress { stop: AtomicBool::new(false), done: AtomicU64::new(0), limit: statements });
        let writers = (0..self.connections).map(|number| {
            let writer = Writer::new(self, number, server, &progress);
            tokio::spawn(writer.write(self.tables.clone()))
        });
        let mut tasks: Vec<JoinHandle<Tally>> = writers.collect();
        if self.ddl {
            let writer = Writer::new(self, self.connections, server, &progress);
            tasks.push(tokio::spawn(ddl::change_definitions(writer, self.tables.clone())));
        }
        Writing { progress, tasks }
    }

    fn rng(&self, stream: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// What all writers of one run share.
struct Progress {
    stop: AtomicBool,
    done: AtomicU64,
    limit: u64,
}

/// Running writers.
pub struct Writing {
    progress: Arc<Progress>,
    tasks: Vec<JoinHandle<Tally>>,
}

impl Writing {
    /// Statements done so far.
    pub fn done(&self) -> u64 {
        self.progress.done.load(Ordering::Relaxed)
    }

    /// Waits until `statements` more statements are done than now.
    pub async fn progressed_by(&self, statements: u64) {
        let goal = self.done() + statements;
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.done() < goal {
            assert!(Instant::now() < deadline, "writers did {} of {goal} statements in a minute", self.done());
            assert!(self.tasks.iter().any(|task| !task.is_finished()), "every writer has ended");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets every writer end its transaction, and returns what they did.
    pub async fn stop(self) -> Tally {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    async fn finish(self) -> Tally {
        let mut total = Tally::default();
        for task in self.tasks {
            let tally = task.await.expect("a writer failed");
            total.done += tally.done;
            total.refused += tally.refused;
            total.reconnected += tally.reconnected;
        }
        // Writers whose every statement is refused would make any comparison after them an empty one.
        assert!(total.done > total.refused, "most statements were refused: {total:?}");
        total
    }
}

/// One connection and its source of chance.
struct Writer {
    database: String,
    rng: StdRng,
    options: Opts,
    connection: Option<Conn>,
    progress: Arc<Progress>,
    tally: Tally,
    /// Columns of MariaDB's own types are added, too.
    mariadb: bool,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Refused; a transaction that it was in is to be rolled back.
    Refused,
    /// The connection is gone, and with it the transaction.
    Lost,
}

impl Writer {
    fn new(workload: &Workload, number: u64, server: &Server, progress: &Arc<Progress>) -> Self {
        // A row lock and a table's definition lock can wait for each other, which neither server sees as a deadlock.
        let patience = "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1";
        let options = server.root().db_name(Some(workload.database.clone())).setup(vec![patience]);
        Self {
            database: workload.database.clone(),
            rng: workload.rng(number),
            options: options.into(),
            connection: None,
            progress: Arc::clone(progress),
            tally: Tally::default(),
            mariadb: workload.mariadb,
        }
    }

    async fn write(mut self, tables: Vec<Table>) -> Tally {
        while self.goes_on() {
            let unit = statements::unit(&tables, &mut self.rng);
            self.run_unit(&unit).await;
        }
        self.tally
    }

    fn goes_on(&self) -> bool {
        !self.progress.stop.load(Ordering::Relaxed) && self.progress.done.load(Ordering::Relaxed) < self.progress.limit
    }

    /// Runs statements in turn. After a refusal the rest is left out, and a transaction is rolled back.
    async fn run_unit(&mut self, unit: &[String]) {
        for statement in unit {
            match self.run(statement).await {
                Outcome::Done => {}
                Outcome::Refused => {
                    self.run("ROLLBACK").await;
                    return;
                }
                Outcome::Lost => return,
            }
        }
    }

    async fn run(&mut self, statement: &str) -> Outcome {
        let Some(mut connection) = self.take_connection().await else {
            return Outcome::Lost;
        };
        let outcome = match connection.query_drop(statement).await {
            Ok(()) => Outcome::Done,
            Err(Error::Server(error)) if is_explained(error.code) => Outcome::Refused,
            Err(Error::Server(error)) if is_shutting_down(error.code) => Outcome::Lost,
            Err(Error::Io(_) | Error::Driver(_)) => Outcome::Lost,
            Err(error) => panic!("{error}\n{statement}"),
        };
        match outcome {
            Outcome::Done => {
                self.tally.done += 1;
                self.progress.done.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Refused => self.tally.refused += 1,
            Outcome::Lost => {
                self.tally.reconnected += 1;
                return outcome;
            }
        }
        self.connection = Some(connection);
        outcome
    }

    /// The connection, made again if it was lost; `None` when the writers are stopped before the server is back.
    async fn take_connection(&mut self) -> Option<Conn> {
        if let Some(connection) = self.connection.take() {
            return Some(connection);
        }
        loop {
            match Conn::new(self.options.clone()).await {
                Ok(connection) => return Some(connection),
                Err(_) if !self.goes_on() => return None,
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }
}

/// Server errors that other connections' work explains.
fn is_explained(code: u16) -> bool {
    matches!(
        code,
        1020    // MariaDB: record has changed since last read
        | 1050  // table exists
        | 1051  // unknown table
        | 1054  // unknown column
        | 1060  // duplicate column
        | 1062  // duplicate entry
        | 1091  // no such column to drop
        | 1146  // no such table
        | 1205  // lock wait timeout
        | 1213  // deadlock
        | 1305  // the savepoint went away with its transaction
        | 1412 // table definition has changed
    )
}

/// Server errors that a shutdown explains.
fn is_shutting_down(code: u16) -> bool {
    matches!(
        code,
        1053    // server shutdown in progress
        | 1152  // aborted connection
        | 1317  // query interrupted
        | 1927  // MariaDB: connection was killed
        | 3169 // MySQL: session was killed
    )
}
