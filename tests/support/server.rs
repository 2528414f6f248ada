//! A real MySQL or MariaDB of the test's own, on 127.0.0.1, with a data directory that goes away with it.
//!
//! Binary logging is the server's own (ROW, MySQL with GTIDs) unless the test's options say otherwise. What table maps say of columns is the
//! server's own default, too, or what `REPLICATOR_ROW_METADATA` names: `default`, `full`, `minimal` or `no_log` (MySQL has none, and takes
//! its own). The port stays the same over restarts, so that clients can connect again.

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::certificates::Identity;
use super::process::{POLL, Process, describe};
use super::{directory, programs, template};

/// The account of the product on every test server, and its password.
pub const USER: &str = "replicator";
pub const PASSWORD: &str = "not-a-secret";

/// Starting takes about 1 s alone; the limit allows for a machine busy with other tests and for crash recovery.
pub const READY: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MySql,
    MariaDb,
}

impl Kind {
    /// What this kind needs besides what both need, to be small and alone on the machine.
    pub fn own_arguments(self) -> &'static [&'static str] {
        match self {
            // No X protocol port; any file may be loaded.
            Kind::MySql => &["--mysqlx=OFF", "--secure-file-priv="],
            Kind::MariaDb => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        })
    }
}

const NAMES_IN_LOWER_CASE: &str = "--lower-case-table-names=1";

/// How a server is to run.
#[derive(Clone)]
pub struct ServerOptions {
    kind: Kind,
    gtid: bool,
    /// `None`: the server's own.
    row_metadata: Option<&'static str>,
    names_in_lower_case: bool,
    arguments: Vec<String>,
}

/// What `REPLICATOR_ROW_METADATA` says.
fn row_metadata_of_environment(kind: Kind) -> Option<&'static str> {
    match std::env::var("REPLICATOR_ROW_METADATA").as_deref() {
        Err(_) | Ok("default") => None,
        Ok("full") => Some("FULL"),
        Ok("minimal") => Some("MINIMAL"),
        Ok("no_log") => (kind == Kind::MariaDb).then_some("NO_LOG"),
        Ok(other) => panic!("REPLICATOR_ROW_METADATA is \"{other}\", and none of default, full, minimal, no_log"),
    }
}

impl ServerOptions {
    pub fn new(kind: Kind) -> Self {
        let row_metadata = row_metadata_of_environment(kind);
        Self { kind, gtid: true, row_metadata, names_in_lower_case: false, arguments: Vec::new() }
    }

    /// Turns GTIDs off. MariaDB cannot: there it changes nothing.
    #[must_use]
    pub fn without_gtid(mut self) -> Self {
        self.gtid = false;
        self
    }

    /// Leaves `binlog_row_metadata` at the server's own default.
    #[must_use]
    pub fn with_its_own_row_metadata(mut self) -> Self {
        self.row_metadata = None;
        self
    }

    /// With this `binlog_row_metadata`.
    #[must_use]
    pub fn with_row_metadata(mut self, metadata: &'static str) -> Self {
        self.row_metadata = Some(metadata);
        self
    }

    /// Stores names of databases and tables in lower case, and compares them so (`lower_case_table_names=1`).
    #[must_use]
    pub fn with_names_in_lower_case(mut self) -> Self {
        self.names_in_lower_case = true;
        self
    }

    /// Options that a server has from the making of its data directory on. MariaDB has none of them for life.
    fn for_life(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::MySql if self.names_in_lower_case => &[NAMES_IN_LOWER_CASE],
            Kind::MySql | Kind::MariaDb => &[],
        }
    }

    /// Adds a server option; a later one wins over an earlier one and over the defaults here.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Serves TLS with this certificate. Without one a MariaDB has no TLS, and a MySQL makes a certificate of its own.
    #[must_use]
    pub fn certificate(self, identity: &Identity) -> Self {
        let file = |name: &str, path: &Path| format!("--{name}={}", path.display());
        self.argument(&file("ssl-cert", &identity.certificate)).argument(&file("ssl-key", &identity.key))
    }

    /// Offers no TLS.
    #[must_use]
    pub fn without_tls(self) -> Self {
        match self.kind {
            Kind::MySql => self.argument("--tls-version="),
            Kind::MariaDb => self.argument("--skip-ssl"),
        }
    }

    pub async fn start(self) -> Server {
        Server::start_with(self).await
    }
}

/// A server, from its first start until it is dropped.
pub struct Server {
    options: ServerOptions,
    directory: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Server {
    /// Starts a server with the options that the product wants.
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(ServerOptions::new(kind)).await
    }

    async fn start_with(options: ServerOptions) -> Self {
        let directory = directory::fresh("server");
        template::copy(options.kind, options.for_life(), &directory.path().join("data")).await;
        let mut server = Self { options, directory, port: 0, process: None };
        // Between finding a free port and the server's taking it, another process may take it.
        for _ in 0..5 {
            server.port = free_port();
            match server.try_start_again().await {
                Ok(()) => return server,
                Err(failure) if failure.contains("Address already in use") => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        panic!("every free port was taken before {} could bind it", server.kind());
    }

    pub fn kind(&self) -> Kind {
        self.options.kind
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The running server's process id.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The address for the product's configuration, without the password.
    pub fn url(&self) -> String {
        url(self.port)
    }

    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Connection options of the all-powerful account, over TCP, without TLS.
    pub fn root(&self) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some("root"))
            // The tests see every column, also on a server that hides generated keys.
            .init(vec!["SET NAMES utf8mb4 /*!80030 , SESSION show_gipk_in_create_table_and_information_schema = ON */"])
    }

    /// Connection options of the product's own account.
    pub fn replicator(&self) -> OptsBuilder {
        self.root().user(Some(USER)).pass(Some(PASSWORD))
    }

    pub async fn connect(&self) -> Conn {
        Conn::new(self.root()).await.unwrap()
    }

    /// Runs SQL, which may be several statements, each of which must succeed.
    pub async fn exec(&self, sql: impl AsRef<str>) {
        let sql = sql.as_ref();
        let mut connection = self.connect().await;
        connection.query_drop(sql).await.unwrap_or_else(|error| panic!("{}: {error}\n{sql}", self.kind()));
        connection.disconnect().await.unwrap();
    }

    /// The rows of one query.
    pub async fn query<T: FromRow + Send + 'static>(&self, sql: impl AsRef<str>) -> Vec<T> {
        let sql = sql.as_ref();
        let mut connection = self.connect().await;
        let rows = connection.query(sql).await.unwrap_or_else(|error| panic!("{}: {error}\n{sql}", self.kind()));
        connection.disconnect().await.unwrap();
        rows
    }

    /// The one row of a query that has exactly one.
    pub async fn query_one<T: FromRow + Send + 'static>(&self, sql: impl AsRef<str>) -> T {
        let sql = sql.as_ref();
        let mut rows = self.query(sql).await;
        assert_eq!(rows.len(), 1, "rows of {sql}");
        rows.remove(0)
    }

    /// The end of the binary log: file and position.
    pub async fn position(&self) -> (String, u64) {
        let statement = match self.kind() {
            Kind::MySql => "SHOW BINARY LOG STATUS",
            Kind::MariaDb => "SHOW MASTER STATUS",
        };
        let row: mysql_async::Row = self.query_one(statement).await;
        (row.get(0).unwrap(), row.get(1).unwrap())
    }

    /// Everything in the binary log, as this kind of server writes it.
    pub async fn gtid(&self) -> String {
        let text: String = self
            .query_one(match self.kind() {
                Kind::MySql => "SELECT @@GLOBAL.gtid_executed",
                Kind::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
            })
            .await;
        text.replace('\n', "")
    }

    /// Removes the binlogs up to the current file.
    pub async fn purge_binlogs(&self) {
        for _ in 0..100 {
            // With the next event, a server notices that the reader of an older file has gone.
            self.exec("FLUSH BINARY LOGS").await;
            let (file, _) = self.position().await;
            self.exec(format!("PURGE BINARY LOGS TO '{file}'")).await;
            let files: Vec<mysql_async::Row> = self.query("SHOW BINARY LOGS").await;
            if files.len() == 1 {
                return;
            }
            // MariaDB keeps files that its recovery could need until a later checkpoint.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the binlogs are not purged");
    }

    /// Shuts the server down in good order.
    pub fn stop(&mut self) {
        let process = self.process.as_mut().expect("the server runs");
        process.signal(Signal::TERM);
        let status = process.wait(Duration::from_mins(1));
        assert!(status.success(), "{} did not shut down cleanly:\n{}", self.options.kind, process.log_end(40));
        self.process = None;
    }

    /// Ends the server with signal 9, like a crash of its process.
    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Starts a stopped or killed server on its data directory and its port.
    pub async fn start_again(&mut self) {
        if let Err(failure) = self.try_start_again().await {
            panic!("{failure}");
        }
    }

    /// Stops and starts again.
    pub async fn restart(&mut self) {
        self.stop();
        self.start_again().await;
    }

    /// Stops and starts again with one more server option.
    pub async fn restart_with(&mut self, argument: &str) {
        self.options.arguments.push(argument.to_owned());
        self.restart().await;
    }

    /// The server's own log of all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    async fn try_start_again(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "the server runs already");
        let mut process = Process::spawn(&self.kind().to_string(), &mut self.command(), &self.log_file());
        let connection = connect_when_ready(&self.root().into(), &mut process, READY).await?;
        connection.disconnect().await.map_err(|error| error.to_string())?;
        self.process = Some(process);
        Ok(())
    }

    fn command(&self) -> Command {
        let directory = self.directory.path();
        let mut command = Command::new(programs::server(self.kind()));
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--server-id=1"])
            .args(["--log-bin=binlog", "--binlog-format=ROW"])
            .args(["--innodb-buffer-pool-size=128M", "--skip-name-resolve"])
            .arg(format!("--port={}", self.port))
            .arg(path_argument("--datadir", &self.data_directory()))
            // A MariaDB that starts removes the temporary tables of every other one in the same directory.
            .arg(path_argument("--tmpdir", &self.data_directory()))
            .arg(path_argument("--socket", &directory.join("socket")))
            .arg(path_argument("--pid-file", &directory.join("pid")))
            .args(self.kind().own_arguments())
            .args(as_root_argument());
        if self.options.names_in_lower_case {
            command.arg(NAMES_IN_LOWER_CASE);
        }
        if let Some(metadata) = self.options.row_metadata {
            command.arg(format!("--binlog-row-metadata={metadata}"));
        }
        if self.kind() == Kind::MySql {
            let gtid = if self.options.gtid { "ON" } else { "OFF" };
            command.arg(format!("--gtid-mode={gtid}")).arg(format!("--enforce-gtid-consistency={gtid}"));
        }
        command.args(&self.options.arguments);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test wants to see what the server complained about, not how it started.
        let log = self.log();
        let complaints = log.rsplit_once("ready for connections").map_or("", |(_, after)| after);
        if thread::panicking() && complaints.lines().count() > 3 {
            eprintln!("--- {}'s log since it was ready{complaints}", self.kind());
        }
    }
}

/// Connects as soon as the server that is starting in `process` lets us in.
///
/// # Errors
/// The server ended, or `limit` passed: with the end of the server's log and the last refusal.
pub async fn connect_when_ready(options: &Opts, process: &mut Process, limit: Duration) -> Result<Conn, String> {
    let deadline = Instant::now() + limit;
    loop {
        let refusal = match Conn::new(options.clone()).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let state = match process.poll() {
            Some(status) => format!("ended with {}", describe(status)),
            None if Instant::now() >= deadline => format!("has not let us in within {limit:?}"),
            None => {
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        return Err(format!(
            "the starting server {state}; the last try to connect: {refusal}; its log ends:\n{}",
            process.log_end(40)
        ));
    }
}

/// The address of a server, or of a proxy before it, for the product's configuration; without the password.
pub fn url(port: u16) -> String {
    format!("mysql://{USER}@127.0.0.1:{port}")
}

/// A TCP port of 127.0.0.1 that nobody listens on at this moment.
///
/// It is below those that the system gives to outgoing connections: none of them takes it while who has it starts again.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Both servers refuse to run as root unless told so.
pub fn as_root_argument() -> Option<&'static str> {
    geteuid().is_root().then_some("--user=root")
}

fn path_argument(name: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(name);
    argument.push("=");
    argument.push(path);
    argument
}
