//! Whether this version reads a log at all.

use std::path::Path;

use wal::{Lsn, Reader};

use crate::codec::stored;
use crate::error::Failure;

/// What an operator does about a damaged log.
pub const DAMAGED: &str = "`replicator wal verify` says what is damaged; put a copy of the log's directory back, or begin again: move the directory \
     away, and run `replicator resync`, which gives every sink a new copy of every table";

/// That a log cannot be opened, with what to do where it is damaged.
pub fn unopened(path: &Path, error: wal::Error) -> Failure {
    let is_damage =
        matches!(error, wal::Error::Storage { .. } | wal::Error::Panicked { .. } | wal::Error::DamagedRecord { .. });
    let failure = Failure::fatal(format!("cannot open the log \"{}\"", path.display())).caused_by(error);
    if is_damage { failure.hint(DAMAGED) } else { failure }
}

/// Refuses a log of another format.
///
/// # Errors
/// Fatal, when the log was written in another format, or cannot be read.
pub fn check_format(reader: &Reader) -> Result<(), Failure> {
    stored::check_format(reader, reader.positions().durable == Lsn::ZERO)
}
