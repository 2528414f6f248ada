//! One test's whole world: a server, a configuration, a log directory, a SQLite file or a ClickHouse, and the daemon
//! between them.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::clickhouse::{self, ClickHouse, REPLICA};
use super::compare::{self, Compared, View};
use super::daemon::{self, Daemon, LIMIT};
use super::directory;
use super::history::assert_history;
use super::locks;
use super::process::{POLL, describe};
use super::proxy::Proxy;
use super::server::{self, Kind, Server, free_port};
use super::status::reads_nothing;

/// The database that [`Sandbox`] captures unless told otherwise.
pub const DATABASE: &str = "shop";
/// The database of the changelogs of [`Sandbox::with_every_sink`] in ClickHouse.
pub const CHANGELOG: &str = "changelog";

/// A server with an empty database `shop`, and a configuration that mirrors all of it into one SQLite file, or into the
/// database [`REPLICA`] of a ClickHouse.
pub struct Sandbox {
    pub server: Server,
    clickhouse: Option<ClickHouse>,
    directory: TempDir,
    config: Value,
}

impl Sandbox {
    pub async fn new(kind: Kind) -> Self {
        Self::on(Server::start(kind).await).await
    }

    /// Around a server with options of its own.
    pub async fn on(server: Server) -> Self {
        server.exec(format!("CREATE DATABASE {DATABASE}")).await;
        let directory = directory::fresh("test");
        let config = json!({
            "source": {
                "url": server.url(),
                "server_id": 5400,
                "startup_mode": "initial",
                "include": [format!("{DATABASE}.*")],
                // Tests doubt one table many times in a minute.
                "reread_pause": "0s",
                "tls": { "mode": "disabled" },
            },
            "wal": { "path": directory.path().join("wal"), "max_size": "4GiB" },
            "sinks": [{
                "name": "local",
                "type": "sqlite",
                "path": directory.path().join("replica.db"),
                "table_name": "{table}",
            }],
            "http": { "listen": format!("127.0.0.1:{}", free_port()) },
        });
        Self { server, clickhouse: None, directory, config }
    }

    /// With a ClickHouse in the place of the SQLite file.
    pub async fn with_clickhouse(kind: Kind) -> Self {
        Self::with_clickhouse_on(Server::start(kind).await, ClickHouse::start().await).await
    }

    /// [`Sandbox::with_clickhouse`] around servers with options of their own.
    pub async fn with_clickhouse_on(server: Server, clickhouse: ClickHouse) -> Self {
        let mut sandbox = Self::on(server).await;
        sandbox.attach_clickhouse(clickhouse);
        sandbox
    }

    /// Puts a ClickHouse in the place of the SQLite file.
    pub fn attach_clickhouse(&mut self, clickhouse: ClickHouse) {
        self.set("/sinks/0", clickhouse_sink(&clickhouse, "ch", REPLICA, "mirror"));
        self.clickhouse = Some(clickhouse);
    }

    /// With every kind of copy at once: `local` and `changelog` in SQLite, `ch` and `ch_changelog` in ClickHouse, each pair the state
    /// and the changelog of every table.
    pub async fn with_every_sink(kind: Kind) -> Self {
        Self::with_every_sink_on(Server::start(kind).await).await
    }

    /// [`Sandbox::with_every_sink`] around a server with options of its own.
    pub async fn with_every_sink_on(server: Server) -> Self {
        let mut sandbox = Self::on(server).await;
        sandbox.with_changelog();
        let clickhouse = ClickHouse::start().await;
        clickhouse.exec(format!("CREATE DATABASE {CHANGELOG}")).await;
        let mut sinks = sandbox.config["sinks"].as_array().unwrap().clone();
        sinks.push(clickhouse_sink(&clickhouse, "ch", REPLICA, "mirror"));
        sinks.push(clickhouse_sink(&clickhouse, "ch_changelog", CHANGELOG, "history"));
        sandbox.set("/sinks", json!(sinks));
        sandbox.clickhouse = Some(clickhouse);
        sandbox
    }

    pub fn has_clickhouse(&self) -> bool {
        self.clickhouse.is_some()
    }

    pub fn clickhouse(&self) -> &ClickHouse {
        self.clickhouse.as_ref().expect("the sandbox has a ClickHouse")
    }

    pub fn clickhouse_mut(&mut self) -> &mut ClickHouse {
        self.clickhouse.as_mut().expect("the sandbox has a ClickHouse")
    }

    /// Sets one value of the configuration by its JSON pointer (`/sinks/0/mode`), for the next start. Its parent exists.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let parent = self.config.pointer_mut(parent).unwrap_or_else(|| panic!("the configuration has no {parent}"));
        match parent {
            Value::Object(map) => {
                map.insert(key.to_owned(), value);
            }
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            _ => panic!("{pointer} is inside a plain value"),
        }
        self
    }

    /// Puts a proxy between the daemon and the server, from the next start on.
    pub async fn behind_proxy(&mut self) -> Proxy {
        let proxy = Proxy::to(self.server.port()).await;
        self.set("/source/url", json!(server::url(proxy.port())));
        proxy
    }

    /// Puts a proxy between the daemon and ClickHouse, from the next start on.
    pub async fn clickhouse_behind_proxy(&mut self) -> Proxy {
        let proxy = Proxy::to(self.clickhouse().port()).await;
        self.set("/sinks/0/url", json!(clickhouse::url(proxy.port())));
        proxy
    }

    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The directory of everything that the test has but its servers.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn wal_directory(&self) -> PathBuf {
        self.path("wal")
    }

    pub fn sqlite(&self) -> PathBuf {
        self.path("replica.db")
    }

    /// Address of `/metrics` and `/health`.
    pub fn http(&self) -> String {
        self.config["http"]["listen"].as_str().unwrap().to_owned()
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// Starts the daemon with more arguments (`--resume`).
    pub fn start_with(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(&self.written_config(), arguments, &self.path("replicator.log"))
    }

    /// Runs another command of the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_within(LIMIT, arguments)
    }

    pub fn run_within(&self, limit: Duration, arguments: &[&str]) -> Output {
        daemon::run(&self.written_config(), arguments, limit)
    }

    /// Runs `start --once`: everything up to the source's position of now reaches every sink, and the exit code is 0.
    pub fn run_once(&self) {
        self.run_once_within(2 * LIMIT);
    }

    pub fn run_once_within(&self, limit: Duration) {
        let output = self.run_within(limit, &["start", "--once"]);
        assert!(
            output.status.success(),
            "start --once: {}\n{}{}",
            describe(output.status),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Waits until everything that the server has committed by now is applied by every sink, and returns that status.
    ///
    /// It stands on two facts of `status`: `source.position` is what is durable in the log, filtered transactions
    /// included, and `wal.durable_lsn` is at least as new as that position.
    pub async fn caught_up(&self, daemon: &mut Daemon) -> Value {
        self.caught_up_within(2 * LIMIT, daemon).await
    }

    pub async fn caught_up_within(&self, limit: Duration, daemon: &mut Daemon) -> Value {
        let (file, pos) = self.server.position().await;
        let deadline = Instant::now() + limit;
        let logged = daemon
            .wait_until_within(limit, &format!("the log has {file}:{pos} and no snapshot runs"), |status| {
                has_logged(status, &file, pos) && reads_nothing(status) && asks_nothing(status)
            })
            .await;
        let durable = logged["wal"]["durable_lsn"].as_u64().expect("status has wal.durable_lsn");
        let left = deadline.saturating_duration_since(Instant::now());
        let configured = self.config["sinks"].as_array().expect("the configuration has sinks").len();
        daemon
            .wait_until_within(left, &format!("every sink has applied LSN {durable}"), |status| {
                let sinks = status["sinks"].as_array().expect("status has sinks");
                let served = || sinks.iter().filter(|sink| sink["state"] != "unconfigured");
                assert_eq!(served().count(), configured, "the status has every sink from the start");
                served().all(|sink| sink["applied_lsn"].as_u64().is_some_and(|applied| applied >= durable))
            })
            .await
    }

    /// Waits until everything that the server has committed by now is in the log, whatever the sinks do.
    pub async fn logged_within(&self, limit: Duration, daemon: &mut Daemon) -> Value {
        let (file, pos) = self.server.position().await;
        daemon
            .wait_until_within(limit, &format!("the log has {file}:{pos}"), |status| has_logged(status, &file, pos))
            .await
    }

    /// Waits until a question or a read of the daemon waits for a lock of a table at the server, or until there is none
    /// that it needed: everything that the server has committed by now is in the log.
    pub async fn asking(&self, daemon: &mut Daemon) {
        let (file, pos) = self.server.position().await;
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = daemon.status();
            let runs = status.as_ref().is_ok_and(|status| status["running"] == true);
            if runs && (has_logged(status.as_ref().unwrap(), &file, pos) || locks::waiting(&self.server).await > 0) {
                return;
            }
            if let Some(status) = daemon.poll() {
                panic!("replicator ended with {} before it asked", describe(status));
            }
            assert!(Instant::now() < deadline, "not within {LIMIT:?}: a question waits; the last status:\n{status:#?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Adds a second sink: a SQLite file with the changelog of every table. From the next start on.
    pub fn with_changelog(&mut self) -> &mut Self {
        let sink = json!({
            "name": "changelog",
            "type": "sqlite",
            "path": self.changelog(),
            "table_name": "{table}",
            "mode": "history",
        });
        let first = self.config["sinks"][0].clone();
        self.set("/sinks", json!([first, sink]))
    }

    /// The file of [`Sandbox::with_changelog`].
    pub fn changelog(&self) -> PathBuf {
        self.path("changelog.db")
    }

    /// Asserts that the changelog of a table of `shop` fits and ends in the table as it is; gives the number of entries.
    pub async fn assert_logged(&self, table: &str) -> usize {
        assert_history(&self.server, DATABASE, table, &self.changelog()).await
    }

    /// Asserts that the SQLite file mirrors all of `shop`.
    pub async fn assert_mirrored(&self) -> Compared {
        compare::assert_mirrored(&self.server, DATABASE, &self.sqlite()).await
    }

    /// Asserts that the ClickHouse mirrors all of `shop`.
    pub async fn assert_mirrored_to_clickhouse(&self) -> Compared {
        self.assert_mirrored_to_clickhouse_as(&View::default()).await
    }

    /// Asserts that the ClickHouse mirrors all of `shop` as `view` says.
    pub async fn assert_mirrored_to_clickhouse_as(&self, view: &View) -> Compared {
        compare::assert_mirrored_to_clickhouse(view, &self.server, DATABASE, self.clickhouse()).await
    }

    /// Writes the configuration as it stands, and returns its path.
    pub fn written_config(&self) -> PathBuf {
        let path = self.path("replicator.yaml");
        // JSON is YAML, and it cannot be mis-indented.
        std::fs::write(&path, serde_json::to_string_pretty(&self.config).unwrap()).unwrap();
        path
    }
}

/// The entry of a sink in the configuration.
pub fn clickhouse_sink(clickhouse: &ClickHouse, name: &str, database: &str, mode: &str) -> Value {
    json!({
        "name": name,
        "type": "clickhouse",
        "url": clickhouse.url(),
        "database": database,
        "user": "default",
        "table_prefix": "",
        "batch": { "max_rows": 500_000, "max_bytes": "64MiB", "max_delay": "50ms" },
        "compression": "none",
        "mode": mode,
        "deletion": "hard",
    })
}

/// Whether the log has everything before this place of the binlog, and what the start made of the tables.
fn has_logged(status: &Value, file: &str, pos: u64) -> bool {
    let position = &status["source"]["position"];
    if status["source"]["state"] == "connecting" {
        return false;
    }
    match (position["file"].as_str(), position["pos"].as_u64()) {
        (Some(at_file), Some(at_pos)) => (file_number(at_file), at_pos) >= (file_number(file), pos),
        _ => false,
    }
}

/// Binlog files compare by their number: `binlog.1000000` comes after `binlog.999999`.
fn file_number(file: &str) -> u64 {
    let (_, number) = file.rsplit_once('.').expect("a binlog file's name ends in a number");
    number.parse().expect("a binlog file's name ends in a number")
}

/// Whether the answers about all tables are in the log.
fn asks_nothing(status: &Value) -> bool {
    status["source"]["asking"].as_array().is_some_and(Vec::is_empty)
}
