//! What can be wrong with an event, and what is done about each: one table from error to class and way out.

use crate::error::{Failure, Unusable};
use crate::source::mysql::start::RESYNC;

/// A fault found in the binlog.
#[derive(Debug, thiserror::Error)]
pub enum BinlogError {
    /// Cut short, or a length in it is wrong.
    #[error("the event ends inside its {part}")]
    Short {
        /// What is cut.
        part: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("the event has a {part} that cannot be")]
    Damaged {
        /// Which field.
        part: &'static str,
    },
    /// The checksum does not match.
    #[error("the event's checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// As sent.
        found: u32,
        /// Of what was received.
        computed: u32,
    },
    /// An event type nobody knows.
    #[error("event type {code} is not known to this version")]
    UnknownKind {
        /// The type's code.
        code: u8,
    },
    /// An event type that is known and not read.
    #[error("{name} events are not supported")]
    RefusedKind {
        /// Its name.
        name: &'static str,
        /// What the operator can do.
        way_out: &'static str,
    },
    /// An event where none of its kind can be.
    #[error("a {name} event stands {place}")]
    OutOfPlace {
        /// Its name.
        name: &'static str,
        /// Where it stands.
        place: &'static str,
    },
    /// Rows of a table that the transaction has not named.
    #[error("rows of table id {table_id} come without their TABLE_MAP event")]
    NotMapped {
        /// The table's number in the binlog.
        table_id: u64,
    },
    /// Compressed bytes that do not decompress.
    #[error("the event's compressed {part} cannot be decompressed")]
    Decompress {
        /// What is compressed.
        part: &'static str,
        /// Why.
        #[source]
        source: Option<std::io::Error>,
    },
    /// A compressed transaction whose events did not all come out of it.
    #[error("a compressed transaction could not be unpacked whole")]
    PayloadCut,
    /// The file is another one than the one that was read before.
    #[error(
        "binlog file \"{file}\" was created at {found}, the file read before under this name at {expected} (seconds since 1970)"
    )]
    FileReplaced {
        /// The file.
        file: String,
        /// Creation time now.
        found: u32,
        /// Creation time stored.
        expected: u32,
    },
    /// The dump went on to another file, and the one that it left had not ended.
    #[error(
        "the dump left binlog file \"{left}\" before its end and went on in \"{next}\": the binlogs were reset in between"
    )]
    FileGone {
        /// The file that was read.
        left: String,
        /// The one that follows.
        next: String,
    },
    /// Another binlog format.
    #[error("the binlog has format version {found}")]
    Format {
        /// As found.
        found: u16,
    },
    /// File names that are not text.
    #[error("the binlog's file name is not readable text")]
    FileName,
}

impl BinlogError {
    /// The error as the loops see it, with the place in the binlog.
    pub(super) fn at(self, event: &str, file: &str, pos: u64) -> Failure {
        let message = format!("cannot read the {event} event that ends at {file}:{pos}: {self}");
        let fatal = |hint: String| Failure::fatal(message.clone()).hint(hint).unusable(Unusable::Otherwise);
        let failure = match &self {
            // Reading again cures damage on the way; damage in the file stays, and stays visible as this error.
            Self::Checksum { .. } => Failure::retry(message).hint(
                "damage on the network goes away by itself; if this stays, the binlog file on the source is damaged: check it with mysqlbinlog --verify-binlog-checksum",
            ),
            Self::Short { .. } | Self::Damaged { .. } | Self::UnknownKind { .. } => fatal(format!(
                "the binlog holds what this version of replicator cannot read: check it with mysqlbinlog, and check whether the server is newer than the versions replicator supports; {RESYNC}, after what cannot be read"
            )),
            Self::Format { .. } | Self::FileName => Failure::fatal(message).hint(
                "the binlog holds what this version of replicator cannot read: check it with mysqlbinlog, and check whether the server is newer than the versions replicator supports",
            ),
            Self::RefusedKind { way_out, .. } => fatal((*way_out).to_owned()),
            Self::OutOfPlace { .. } | Self::NotMapped { .. } => fatal(format!(
                "if source.specific gives the position, let it be the start of a transaction; else {RESYNC}"
            )),
            Self::Decompress { .. } | Self::PayloadCut => fatal(format!(
                "check the file with mysqlbinlog; SET GLOBAL binlog_transaction_compression = OFF (MySQL) or log_bin_compress = OFF (MariaDB) avoids compressed events from then on, and {RESYNC}, after them"
            )),
            Self::FileReplaced { .. } | Self::FileGone { .. } => fatal(format!(
                "the source's binlogs were reset or the server was replaced, and the log's position means nothing there any more: restore the server that the log was reading; or, {RESYNC}"
            )),
        };
        match self {
            Self::Decompress { source: Some(source), .. } => failure.caused_by(source),
            _ => failure,
        }
    }
}
