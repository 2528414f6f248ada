//! A real ClickHouse of the test's own, on 127.0.0.1, with a data directory that goes away with it.
//!
//! `scripts/clickhouse_server.py` runs it: ready in 0.1 s, 250 MB, and it ends when this process does. The port stays
//! the same over restarts. Requests are HTTP/1.0 with the answer buffered at the server: whatever goes wrong there is
//! in the status line, and the end of the answer is the end of the connection.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::{POLL, Process, describe};
use super::server::{READY, free_port};
use super::{directory, programs};

/// The database that the product writes to.
pub const REPLICA: &str = "replica";

/// A statement that takes longer is taken for hanging.
const ANSWER: Duration = Duration::from_mins(1);

/// How a server is to run.
#[derive(Clone, Default)]
pub struct ClickHouseOptions {
    users: String,
    profile: String,
    server: String,
    data: Option<PathBuf>,
}

impl ClickHouseOptions {
    /// Adds a user with a password and exactly these privileges (`SELECT ON replica.*`).
    #[must_use]
    pub fn user(self, name: &str, password: &str, grants: &[&str]) -> Self {
        self.user_of_profile("default", name, password, grants)
    }

    /// Adds a user whose profile has `readonly = 1`.
    #[must_use]
    pub fn read_only_user(self, name: &str) -> Self {
        self.user_of_profile("reading", name, "", &["ALL ON *.*"])
    }

    fn user_of_profile(mut self, profile: &str, name: &str, password: &str, grants: &[&str]) -> Self {
        let grants: Vec<String> = grants.iter().map(|grant| format!("<query>GRANT {grant}</query>")).collect();
        write!(
            self.users,
            "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>\
             <profile>{profile}</profile><quota>default</quota><grants>{}</grants></{name}>",
            grants.concat()
        )
        .unwrap();
        self
    }

    /// Sets a setting for every user.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        write!(self.profile, "<{name}>{value}</{name}>").unwrap();
        self
    }

    /// Adds XML to the server's own configuration (`<merge_tree>..</merge_tree>`).
    #[must_use]
    pub fn configuration(mut self, xml: &str) -> Self {
        self.server.push_str(xml);
        self
    }

    /// Keeps the data in a directory of the test's (on a file system that is read-only or full, say).
    #[must_use]
    pub fn data_directory(mut self, directory: &Path) -> Self {
        self.data = Some(directory.to_owned());
        self
    }

    pub async fn start(self) -> ClickHouse {
        ClickHouse::start_with(self).await
    }
}

/// A server, from its first start until it is dropped.
pub struct ClickHouse {
    options: ClickHouseOptions,
    directory: TempDir,
    port: u16,
    process: Option<Process>,
}

impl ClickHouse {
    /// Starts a server with an empty database [`REPLICA`]; the user `default` has no password and may do everything.
    pub async fn start() -> Self {
        ClickHouseOptions::default().start().await
    }

    async fn start_with(options: ClickHouseOptions) -> Self {
        let directory = directory::fresh("clickhouse");
        let mut server = Self { options, directory, port: 0, process: None };
        // Between finding a free port and the server's taking it, another process may take it.
        for _ in 0..5 {
            server.port = free_port();
            match server.try_start_again().await {
                Ok(()) => {
                    server.exec(format!("CREATE DATABASE IF NOT EXISTS {REPLICA}")).await;
                    return server;
                }
                Err(failure) if failure.contains("Address already in use") => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        panic!("every free port was taken before ClickHouse could bind it");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for the product's configuration.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The running server's process id.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    pub fn data_directory(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.directory.path().join("data"))
    }

    /// Runs one statement as the user `default` and returns its output: tab-separated unless it names a format.
    pub async fn query(&self, sql: impl AsRef<str>) -> String {
        let sql = sql.as_ref();
        self.try_query(sql).await.unwrap_or_else(|refusal| panic!("clickhouse: {refusal}\n{sql}"))
    }

    /// [`ClickHouse::query`] of a statement that may be refused.
    ///
    /// # Errors
    /// What the server answers, or why there is no answer.
    pub async fn try_query(&self, sql: &str) -> Result<String, String> {
        self.query_as("default", "", sql).await
    }

    /// [`ClickHouse::try_query`] as another user.
    ///
    /// # Errors
    /// What the server answers, or why there is no answer.
    pub async fn query_as(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let head = format!(
            "POST /?wait_end_of_query=1 HTTP/1.0\r\nHost: 127.0.0.1\r\nX-ClickHouse-User: {user}\r\n\
             X-ClickHouse-Key: {password}\r\nContent-Length: {}\r\n\r\n",
            sql.len()
        );
        exchange(self.port, &head, sql).await
    }

    /// Runs one statement without output.
    pub async fn exec(&self, sql: impl AsRef<str>) {
        let sql = sql.as_ref();
        let output = self.query(sql).await;
        assert_eq!(output, "", "the output of {sql}");
    }

    /// Shuts the server down in good order.
    pub fn stop(&mut self) {
        let process = self.process.as_mut().expect("the server runs");
        process.signal(Signal::TERM);
        let status = process.wait(Duration::from_mins(1));
        assert!(status.success(), "ClickHouse ended with {}:\n{}", describe(status), process.log_end(40));
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

    /// Stops, changes the options, and starts again.
    pub async fn restart_with(&mut self, change: impl FnOnce(ClickHouseOptions) -> ClickHouseOptions) {
        self.stop();
        self.options = change(self.options.clone());
        self.start_again().await;
    }

    /// Everything that all starts of the server wrote to stdout and stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    async fn try_start_again(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "the server runs already");
        let mut command = programs::clickhouse_server();
        command
            .arg("--path")
            .arg(self.data_directory())
            .arg("--http-port")
            .arg(self.port.to_string())
            .arg("--config-file")
            .arg(self.written_configuration());
        let log = self.directory.path().join("log");
        let mut process = Process::spawn_with_open_stdin("clickhouse", &mut command, &log);
        answers_when_ready(self.port, &mut process).await?;
        self.process = Some(process);
        Ok(())
    }

    fn written_configuration(&self) -> PathBuf {
        let users = self.directory.path().join("users.xml");
        let accounts = format!(
            "<clickhouse><profiles><default>{}</default><reading><readonly>1</readonly></reading></profiles><quotas><default/></quotas><users>\
             <default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>\
             <quota>default</quota><access_management>1</access_management></default>{}</users></clickhouse>",
            self.options.profile, self.options.users
        );
        fs::write(&users, accounts).unwrap();
        let server = self.directory.path().join("server.xml");
        let configuration = format!(
            // Caches for small data: the machine runs several servers.
            "<clickhouse><users_config>{}</users_config><mark_cache_size>16777216</mark_cache_size>\
             <uncompressed_cache_size>0</uncompressed_cache_size>{}</clickhouse>",
            users.display(),
            self.options.server
        );
        fs::write(&server, configuration).unwrap();
        server
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        let log = self.log();
        if thread::panicking() && !log.is_empty() {
            eprintln!("--- ClickHouse's log\n{log}");
        }
    }
}

/// The address of a server, or of a proxy before it, for the product's configuration.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Waits until the server that is starting answers `/ping`.
async fn answers_when_ready(port: u16, process: &mut Process) -> Result<(), String> {
    let deadline = Instant::now() + READY;
    loop {
        let refusal = match exchange(port, "GET /ping HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", "").await {
            Ok(answer) if answer == "Ok.\n" => return Ok(()),
            Ok(other) => format!("an unexpected answer: {other}"),
            Err(refusal) => refusal,
        };
        let state = match process.poll() {
            Some(status) => format!("ended with {}", describe(status)),
            None if Instant::now() >= deadline => format!("has not answered within {READY:?}"),
            None => {
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        let log = process.log_end(40);
        return Err(format!("the starting ClickHouse {state}; the last try: {refusal}; its log ends:\n{log}"));
    }
}

/// Sends one request and returns the body of the answer, or as the error that of an answer other than 200.
async fn exchange(port: u16, head: &str, body: &str) -> Result<String, String> {
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(ANSWER, talk)
        .await
        .map_err(|_| format!("no answer within {ANSWER:?}"))?
        .map_err(|error| error.to_string())?;
    let answer = String::from_utf8(answer).map_err(|_| "the answer is not UTF-8: ask for hex".to_owned())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("an answer without a head: {answer:?}"))?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(body.to_owned()) }
}
