//! Initialised data directories, made once per server version and copied by every test.
//!
//! Making one takes seconds, copying one a tenth of a second. A template holds the accounts that tests use, has been
//! shut down cleanly, has no binary log, and has no identity: a MySQL copy makes up its own `server_uuid` at its start.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rustc_hash::FxHasher;
use rustix::process::Signal;
use std::hash::{Hash, Hasher};
use tempfile::TempDir;

use super::process::Process;
use super::programs;
use super::server::{Kind, PASSWORD, READY, as_root_argument, connect_when_ready};

/// The accounts of every test server. `replicator` holds what the product documents as its least privileges and
/// nothing else, so that a test that needs more fails.
fn accounts() -> String {
    format!(
        "CREATE USER 'root'@'%' IDENTIFIED BY '';
         GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
         CREATE USER 'replicator'@'%' IDENTIFIED BY '{PASSWORD}';
         GRANT SELECT, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'replicator'@'%'"
    )
}

/// Copies the template of `kind` to the new directory `to`, after making the template if there is none yet. `arguments`: options that a
/// server of this kind has for life.
pub async fn copy(kind: Kind, arguments: &[&str], to: &Path) {
    let template = find_or_make(kind, arguments).await;
    // cp, because it keeps holes: MariaDB's redo log is 96 MB of them.
    run(Command::new("cp").args(["-R", "--sparse=always"]).arg(&template).arg(to));
}

async fn find_or_make(kind: Kind, arguments: &[&str]) -> PathBuf {
    let templates = programs::cache_directory().join("templates");
    fs::create_dir_all(&templates).unwrap();
    let template = templates.join(key(kind, arguments));
    if template.is_dir() {
        return template;
    }
    // Every test is a process of its own: the first makes the template, the others wait here for it.
    let turn = File::create(templates.join("making.lock")).unwrap();
    turn.lock().unwrap();
    if !template.is_dir() {
        let making = tempfile::Builder::new().prefix("making.").tempdir_in(&templates).unwrap();
        let directory = make(kind, arguments, &making).await;
        fs::rename(directory, &template).unwrap();
    }
    template
}

/// Names a template by everything that its contents depend on.
fn key(kind: Kind, arguments: &[&str]) -> String {
    let version = run(Command::new(programs::server(kind)).args(["--no-defaults", "--version"]));
    let mut hasher = FxHasher::default();
    (version, accounts()).hash(&mut hasher);
    for argument in arguments {
        argument.hash(&mut hasher);
    }
    format!("{kind}-{:016x}", hasher.finish())
}

async fn make(kind: Kind, arguments: &[&str], within: &TempDir) -> PathBuf {
    let directory = within.path().join("data");
    match kind {
        Kind::MySql => run(Command::new(programs::server(kind))
            .args(["--no-defaults", "--initialize-insecure"])
            .args(arguments)
            .arg(format!("--datadir={}", directory.display()))
            .args(as_root_argument())),
        Kind::MariaDb => run(Command::new(programs::mariadb_install_db())
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", directory.display()))
            .args(as_root_argument())),
    };

    // Fresh accounts exist for the socket only, and what is done now belongs into no binary log.
    let socket = within.path().join("socket");
    let mut command = Command::new(programs::server(kind));
    command
        .args(["--no-defaults", "--skip-networking", "--skip-log-bin"])
        .args(arguments)
        .arg(format!("--datadir={}", directory.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--pid-file={}", within.path().join("pid").display()))
        .args(kind.own_arguments())
        .args(as_root_argument());
    let mut process = Process::spawn(&kind.to_string(), &mut command, &within.path().join("log"));
    let options = OptsBuilder::default().user(Some("root")).socket(Some(socket.to_str().unwrap()));
    let mut connection: Conn =
        connect_when_ready(&options.into(), &mut process, READY).await.unwrap_or_else(|failure| panic!("{failure}"));
    connection.query_drop(accounts()).await.unwrap();
    connection.disconnect().await.unwrap();
    process.signal(Signal::TERM);
    let status = process.wait(Duration::from_mins(1));
    assert!(status.success(), "{kind} did not shut down cleanly:\n{}", process.log_end(40));

    let identity = directory.join("auto.cnf");
    if identity.exists() {
        fs::remove_file(identity).unwrap();
    }
    directory
}

/// Runs a command to its end and returns its stdout; failing fails the test with its output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
