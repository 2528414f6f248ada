//! Positions in the source, as they are stored beside the rows they belong to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which server a position belongs to. Two positions compare only under one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerIdentity {
    /// MySQL's `server_uuid`.
    MySql {
        /// As the server prints it.
        server_uuid: String,
    },
    /// MariaDB has no uuid: its server id and GTID domain stand in.
    MariaDb {
        /// `@@server_id`.
        server_id: u32,
        /// `@@gtid_domain_id`.
        domain_id: u32,
    },
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql { server_uuid } => write!(f, "mysql {server_uuid}"),
            Self::MariaDb { server_id, domain_id } => write!(f, "mariadb server_id={server_id} domain={domain_id}"),
        }
    }
}

/// A transaction boundary of the source: everything before it is in the log, nothing after it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The server whose file names these are.
    pub server: ServerIdentity,
    /// Binlog file name.
    pub file: String,
    /// Offset of the next event in it.
    pub pos: u64,
    /// Creation time of the file (seconds since the epoch, from its format description event); tells a reset server from the same one. 0: not seen yet.
    pub file_created: u32,
    /// Executed GTID set with its gaps: MySQL's text form, or MariaDB's `domain-server-seq` list. Empty when the server has none.
    pub gtid: String,
}

/// The GTID of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gtid {
    /// The server gives none (`ANONYMOUS_GTID`).
    Anonymous,
    /// MySQL: source uuid, tag (8.3+, else empty) and number.
    MySql {
        /// Source uuid.
        uuid: [u8; 16],
        /// Tag, or empty.
        tag: String,
        /// Transaction number, from 1.
        number: u64,
    },
    /// MariaDB.
    MariaDb {
        /// Domain.
        domain: u32,
        /// Server id.
        server: u32,
        /// Sequence number.
        sequence: u64,
    },
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::MySql { uuid, tag, number } => {
                for (i, byte) in uuid.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                if !tag.is_empty() {
                    write!(f, ":{tag}")?;
                }
                write!(f, ":{number}")
            }
            Self::MariaDb { domain, server, sequence } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

/// Where and when a source transaction was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Commit time in microseconds since the epoch, in UTC. A server that reports only seconds makes it whole seconds.
    pub commit_micros: i64,
    /// The place, by the kind of the source.
    pub place: SourcePlace,
}

impl Origin {
    /// The place in a binlog.
    pub fn binlog(&self) -> &BinlogPlace {
        match &self.place {
            SourcePlace::MySql(place) => place,
        }
    }
}

/// A place in a source, by the kind of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourcePlace {
    /// MySQL or MariaDB.
    MySql(BinlogPlace),
}

/// A place in the binlog of a MySQL or MariaDB server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPlace {
    /// Number at the end of the binlog file's name (`binlog.000003`: 3).
    pub file_number: u64,
    /// End offset of the transaction in that file.
    pub pos: u64,
    /// Its GTID.
    pub gtid: Gtid,
}

/// A place in the binlog; compares only against places of the same server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePos {
    /// Binlog file name.
    pub file: String,
    /// Offset.
    pub pos: u64,
}

impl FilePos {
    /// Number at the end of the file's name; files of one server are ordered by it.
    pub fn file_number(&self) -> Option<u64> {
        self.file.rsplit_once('.')?.1.parse().ok()
    }

    /// Whether `self` is at or after `other`; `None` when a file name has no number.
    pub fn reaches(&self, other: &Self) -> Option<bool> {
        let (mine, its) = (self.file_number()?, other.file_number()?);
        Some((mine, self.pos) >= (its, other.pos))
    }
}
