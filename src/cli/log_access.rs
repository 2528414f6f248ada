//! Getting at a log: through the daemon that has it open, or directly when there is none.

use std::path::{Path, PathBuf};

use anyhow::Context;
use wal::{Appender, Options, Reader, Wal};

use super::apart::{self, Ended, Passed};
use super::load;
use crate::config::Plan;
use crate::control::{Client, ClientError};
use crate::error::Failure;
use crate::inspect;

/// A log, one way or the other.
pub(super) enum LogAccess {
    /// A daemon has it open.
    Daemon(Client),
    /// Nobody has: it is at this path, and this process may look into it.
    Stopped(PathBuf),
    /// Nobody has, and it is too damaged for a look into it: this is why.
    Unreadable(String),
}

/// The log at `path`, or that of the configuration.
pub(super) fn open(config: &Path, path: Option<&PathBuf>) -> anyhow::Result<LogAccess> {
    match path {
        Some(path) => open_at(path),
        None => open_at(&load(config)?.wal.path),
    }
}

fn open_at(path: &Path) -> anyhow::Result<LogAccess> {
    match Client::connect(path) {
        Ok(client) => Ok(LogAccess::Daemon(client)),
        Err(ClientError::NotRunning) => stopped(path),
        Err(error) => Err(error.into()),
    }
}

/// A stopped log is looked into by a child. What the child has done is done: the error is its exit code.
fn stopped(path: &Path) -> anyhow::Result<LogAccess> {
    if !path.exists() {
        return Err(no_log(path));
    }
    if apart::is_child() {
        apart::bound(path)?;
        return Ok(LogAccess::Stopped(path.to_owned()));
    }
    match apart::run()? {
        Ended::Code(code) => Err(Passed(code).into()),
        Ended::Damage(why) => Ok(LogAccess::Unreadable(why)),
    }
}

fn no_log(path: &Path) -> anyhow::Error {
    Failure::fatal(format!("there is no log in \"{}\"", path.display()))
        .hint("wal.path or --path names the directory of a log; replicator start makes one")
        .into()
}

/// What a command says of a log that is too damaged for it.
pub(super) fn unreadable(why: &str) -> anyhow::Error {
    Failure::fatal(format!("the database below the log is damaged: {why}")).hint(inspect::DAMAGED).into()
}

/// The log of a stopped daemon, or a copy.
pub(super) fn open_stopped(path: &Path) -> anyhow::Result<Reader> {
    if !path.exists() {
        return Err(no_log(path));
    }
    let reader = Reader::open_read_only(path).map_err(|error| match error {
        wal::Error::Locked { .. } => Failure::fatal("the log is in use by a process that does not answer")
            .caused_by(error)
            .hint("a daemon that is starting or stopping does not answer; try again in a moment"),
        error => inspect::unopened(path, error),
    })?;
    inspect::check_format(&reader).with_context(|| format!("cannot open the log \"{}\"", path.display()))?;
    Ok(reader)
}

/// The log of a stopped daemon, to change it.
pub(super) fn open_to_write(plan: &Plan) -> anyhow::Result<(Wal, Appender)> {
    let opened = Wal::open(&plan.wal.path, Options::new(plan.wal.max_size));
    opened.map_err(|error| inspect::unopened(&plan.wal.path, error).into())
}

/// The log in `directory`, for a look at what it says.
pub(super) fn look(directory: &Path) -> anyhow::Result<LogAccess> {
    match daemon(directory)? {
        Some(client) => Ok(LogAccess::Daemon(client)),
        None => stopped(directory),
    }
}

/// Asks the daemon of the log in `directory`; `None` when there is none.
pub(super) fn daemon(directory: &Path) -> anyhow::Result<Option<Client>> {
    match Client::connect(directory) {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning) => Ok(None),
        Err(error) => Err(error).context("cannot reach the daemon"),
    }
}
