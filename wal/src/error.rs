//! Every way in which the log refuses or fails, as one type.
//!
//! Promises: a message is a lower-case fact that names the setting, the cursor or the position it is about; the cause
//! is kept as the source and not repeated in the message. Assumes that whoever handles the error prints the chain.

use std::path::PathBuf;
use std::sync::Arc;

use crate::lsn::Lsn;
use crate::record::Damage;

/// What went wrong in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process, or another handle in this one, has the log open.
    #[error("log {} is in use{}", path.display(), holder(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into the lock file, if one did.
        pid: Option<u32>,
    },
    /// A file operation beside the log file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The storage below the log failed.
    #[error("cannot {action}")]
    Storage {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
    /// The file is damaged in a way that the database below the log does not report but panics at.
    #[error("cannot {action}: the database below the log is damaged, and gave up with: {panic}")]
    Panicked {
        /// What was attempted.
        action: &'static str,
        /// What the panic said, and where it was.
        panic: String,
    },
    /// The system refused the writer thread.
    #[error("cannot start the writer thread of the log")]
    Thread(#[source] std::io::Error),
    /// The file is a database, but not a log of this program.
    #[error("the file is not a log: {0}")]
    NotALog(&'static str),
    /// The log was written in a format that this program does not know.
    #[error("the log has format version {found}, this program reads version {supported}")]
    UnknownFormat {
        /// The version in the file.
        found: u32,
        /// The version that this program writes.
        supported: u32,
    },
    /// A block of the log is damaged.
    #[error("the block at lsn {block} is damaged")]
    Damaged {
        /// The key of the block: the LSN that its first frame should have.
        block: Lsn,
        /// What is wrong, with the offset in the block.
        source: Damage,
    },
    /// A record beside the blocks (log, tail, cursor) is damaged.
    #[error("the record \"{key}\" in table \"{table}\" is damaged: {reason}")]
    DamagedRecord {
        /// The table it stands in.
        table: &'static str,
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A frame that must be in the log is not there.
    #[error("lsn {0} is missing from the log")]
    Missing(Lsn),
    /// The frames after the position asked for are no longer all in the log.
    #[error("the log begins at lsn {first}: lsn {wanted} has been trimmed")]
    Trimmed {
        /// The first LSN that the log still holds.
        first: Lsn,
        /// The first LSN that was asked for.
        wanted: Lsn,
    },
    /// `max_size` leaves no room to work in.
    #[error("wal.max_size is {given} bytes, the least is {least}")]
    MaxSizeTooSmall {
        /// The value in the options.
        given: u64,
        /// The least value that works.
        least: u64,
    },
    /// One group (or what was appended between two flushes) exceeds what the log may ever hold.
    #[error(
        "one transaction takes {bytes} bytes, more than the {most} that wal.max_size of {max_size} leaves room for"
    )]
    GroupTooLarge {
        /// Stored bytes of the group so far.
        bytes: u64,
        /// Stored bytes that one group may take.
        most: u64,
        /// The value of `wal.max_size`.
        max_size: u64,
    },
    /// One frame exceeds what a block may hold.
    #[error("one frame has {bytes} bytes, the most is {most}")]
    FrameTooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// The named cursor does not exist.
    #[error("cursor \"{0}\" does not exist")]
    NoSuchCursor(String),
    /// The named cursor has lost its claim on the log.
    #[error("cursor \"{0}\" was detached from the log, which does not keep what follows for it")]
    Detached(String),
    /// A cursor's name is empty or too long.
    #[error("a cursor's name has {bytes} bytes, allowed are 1 to {most}")]
    BadCursorName {
        /// Bytes of the name.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A sink token is too long.
    #[error("the token of cursor \"{cursor}\" has {bytes} bytes, the most is {most}")]
    TokenTooLarge {
        /// The cursor.
        cursor: String,
        /// Bytes of the token.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A cursor only moves forward.
    #[error("cursor \"{cursor}\" is at lsn {at} and cannot go back to {to}")]
    AckBackwards {
        /// The cursor.
        cursor: String,
        /// Where it stands.
        at: Lsn,
        /// Where it was to go.
        to: Lsn,
    },
    /// A cursor stands between groups, never inside one.
    #[error("lsn {0} is not the end of a transaction")]
    NotGroupEnd(Lsn),
    /// A cursor cannot pass what is durable.
    #[error("lsn {lsn} is beyond the durable end of the log at {durable}")]
    BeyondDurable {
        /// The position asked for.
        lsn: Lsn,
        /// The durable end.
        durable: Lsn,
    },
    /// An earlier failure left it unknown what is on disk; nothing works until the log is opened again.
    #[error("the log is out of service after a failed write")]
    Poisoned(#[source] Arc<Error>),
    /// The writer thread panicked.
    #[error("the writer thread of the log panicked: {0}")]
    WriterPanicked(String),
    /// The log was shut down.
    #[error("the log is shut down")]
    Closed,
}

impl Error {
    /// Whether the disk, or the share of it that the user may take, has no room.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Storage { source, .. } => matches!(source.as_ref(), redb::Error::Io(error) if is_full(error)),
            Self::Poisoned(first) => first.is_disk_full(),
            _ => false,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// Turns a failure of redb into [`Error::Storage`], with what was being attempted.
pub(crate) fn storage<E: Into<redb::Error>>(action: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::Storage { action, source: Box::new(source.into()) }
}
