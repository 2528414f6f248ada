//! What an inspection gives: items, in the order log, position, cursors, tables, schemas, frames.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::telemetry::Position;

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
        /// First frame it holds.
        first_lsn: u64,
        /// Last frame that is durable.
        durable_lsn: u64,
        /// Bytes the frames take.
        bytes: u64,
        /// What the file takes on disk.
        disk_bytes: u64,
    },
    /// Where the source goes on.
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
    Table(TableItem),
    /// One version of a table's schema.
    Schema(SchemaItem),
    /// A frame.
    Frame(FrameItem),
    /// A row of the frame before it.
    Row(RowItem),
}

/// Row counters of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableItem {
    /// `database.table`.
    pub table: String,
    /// Rows that came from the source.
    pub read: u64,
    /// Rows that went into the log.
    pub appended: u64,
    /// Rows left out.
    pub filtered: u64,
    /// Rows applied, by sink.
    pub applied: BTreeMap<String, u64>,
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
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameItem {
    /// Its place.
    pub lsn: u64,
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
    /// `schema`, `truncate`, `drop`, `rename`, `replace`, `heartbeat`, `snapshot_begun`, `snapshot_finished`.
    pub what: String,
    /// `database.table`; empty for a heartbeat.
    pub table: String,
    /// More about it, for people.
    pub detail: String,
}

/// A row change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowItem {
    /// The frame.
    pub lsn: u64,
    /// Place of the row in the frame; with the LSN it makes the row's version.
    pub ordinal: u32,
    /// `database.table`.
    pub table: String,
    /// `insert`, `update`, `delete` or `snapshot`.
    pub op: String,
    /// Values before, for an update and a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Value>>,
    /// Values after, for an insert, an update and a snapshot row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
}
