//! Getting at a log: through the daemon that has it open, or directly when there is none.

use std::path::{Path, PathBuf};

use anyhow::Context;
use wal::Reader;

use super::load;
use crate::control::{Client, ClientError};
use crate::error::Failure;
use crate::inspect;

/// A log, one way or the other.
pub(super) enum LogAccess {
    /// A daemon has it open.
    Daemon(Client),
    /// Nobody has.
    Direct(Reader),
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
        Err(ClientError::NotRunning) => Ok(LogAccess::Direct(open_stopped(path)?)),
        Err(error) => Err(error.into()),
    }
}

/// The log of a stopped daemon, or a copy.
pub(super) fn open_stopped(path: &Path) -> anyhow::Result<Reader> {
    if !path.exists() {
        return Err(Failure::fatal(format!("there is no log in \"{}\"", path.display()))
            .hint("wal.path or --path names the directory of a log; replicator start makes one")
            .into());
    }
    let reader = Reader::open_read_only(path).map_err(|error| match error {
        wal::Error::Locked { .. } => Failure::fatal("the log is in use by a process that does not answer")
            .caused_by(error)
            .hint("a daemon that is starting or stopping does not answer; try again in a moment")
            .into(),
        error => anyhow::Error::from(error).context(format!("cannot open the log \"{}\"", path.display())),
    })?;
    inspect::check_format(&reader).with_context(|| format!("cannot open the log \"{}\"", path.display()))?;
    Ok(reader)
}

/// Asks the daemon of the log in `directory`; `None` when there is none.
pub(super) fn daemon(directory: &Path) -> anyhow::Result<Option<Client>> {
    match Client::connect(directory) {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning) => Ok(None),
        Err(error) => Err(error).context("cannot reach the daemon"),
    }
}
