//! What an inspection gives: items, in the order log, position, cursors, tables, schemas, frames.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::telemetry::{Position, TableStatus};

/// Which part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// First LSN of the frames; the log's first without it.
    #[serde(default)]
    pub from: Option<u64>,
    /// Last LSN of the frames; the log's last without it.
    #[serde(default)]
    pub to: Option<u64>,
    /// Only schemas, counters and frames of this table: (database, table).
    #[serde(default)]
    pub table: Option<(String, String)>,
    /// The rows of each frame, with their values.
    #[serde(default)]
    pub rows: bool,
}

/// One thing in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// The log as a whole.
    Log {
        /// Its identity.
        id: String,
        /// Its format; absent in a log that no source has written to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<u32>,
        /// First frame it holds.
        first_lsn: u64,
        /// Last frame that is durable.
        durable_lsn: u64,
        /// Bytes the frames take.
        bytes: u64,
        /// What the file takes on disk.
        disk_bytes: u64,
    },
    /// Where the source continues.
    Position {
        /// The server it belongs to.
        server: String,
        /// File, offset and executed GTID set.
        #[serde(flatten)]
        at: Position,
    },
    /// How far a sink is.
    Cursor {
        /// Name of the sink.
        name: String,
        /// Last frame it has applied.
        lsn: u64,
        /// Bytes it has not applied.
        backlog_bytes: u64,
        /// Transactions it has not applied.
        backlog_transactions: u64,
        /// It lost its claim on the log.
        detached: bool,
    },
    /// Row counters of a table.
    Table(TableStatus),
    /// One version of a table's schema.
    Schema(SchemaItem),
    /// A frame.
    Frame(FrameItem),
    /// A row of the frame before it.
    Row(RowItem),
}

/// One version of a table's schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaItem {
    /// Its number.
    pub id: u32,
    /// `database.table`.
    pub table: String,
    /// Columns in order: name, type, and `NOT NULL`.
    pub columns: Vec<String>,
    /// Columns of the key; empty without one.
    pub key: Vec<String>,
    /// `known`, `pending` (the source is still asked for it) or `left_out` (it could not be known).
    pub state: String,
    /// Columns whose type is asked for; only of a pending one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
    /// Number of the table's schema before it; only of one that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u32>,
    /// Why it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameItem {
    /// Its place.
    pub lsn: u64,
    /// Frame bytes in the log before it, since the log's creation: what the versions of its rows begin with.
    pub position: u64,
    /// The sinks it is for; absent if it is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<String>>,
    /// Kind of the source: `mysql`.
    pub source: String,
    /// When the source committed it, in UTC.
    pub committed: String,
    /// GTID of the transaction.
    pub gtid: String,
    /// Number of the binlog file.
    pub file_number: u64,
    /// End offset of the transaction in it.
    pub pos: u64,
    /// Whether a transaction ends with it.
    pub ends_transaction: bool,
    /// Bytes of its payload.
    pub bytes: u64,
    /// Runs of rows; empty for a change or a mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<SectionItem>,
    /// A change of a table, or a mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeItem>,
    /// Rows for a sink to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<CheckItem>>,
}

/// A run of rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionItem {
    /// `database.table`.
    pub table: String,
    /// Number of the schema.
    pub schema: u32,
    /// `insert`, `update`, `delete` or `snapshot`.
    pub op: String,
    /// Row changes.
    pub rows: u32,
    /// Bytes of their images.
    pub bytes: u32,
}

/// A change of a table, or a mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeItem {
    /// `schema`, `truncate`, `drop`, `rename`, `replace_begin`, `replace_end`, `gap`, `left_out`, `snapshot_begun`,
    /// `snapshot_finished`.
    pub what: String,
    /// `database.table`.
    pub table: String,
    /// More about it, for an operator.
    pub detail: String,
}

/// Rows that a sink compares with its own. Keys are shown only where rows are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckItem {
    /// `database.table`.
    pub table: String,
    /// Number of the schema.
    pub schema: u32,
    /// Rows.
    pub rows: u32,
    /// Bytes of their images.
    pub bytes: u32,
    /// Whether the range of keys begins with the first there is.
    pub from_first: bool,
    /// Whether the range of keys ends with the last there is.
    pub to_last: bool,
    /// The range is of keys after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
    /// The range is of keys up to and including this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<Map<String, Value>>,
    /// Keys in the range that are not compared because the stream changed them meanwhile.
    pub left_out: u64,
    /// Hashes of those keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out_hashes: Vec<String>,
}

/// A row change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowItem {
    /// The frame.
    pub lsn: u64,
    /// Place of the row in the frame.
    pub ordinal: u32,
    /// The frame's position plus the ordinal: the row's version at a target, without the target's epoch.
    pub version: u64,
    /// `database.table`.
    pub table: String,
    /// `insert`, `update`, `delete`, `snapshot` or `check`.
    pub op: String,
    /// Values before, for an update and a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Value>>,
    /// Values after, for an insert, an update, a snapshot row and a row to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
}
