//! What the snapshot is asked to do.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::model::TableName;

/// A table to be read.
#[derive(Debug)]
pub enum Job {
    /// Read the table whole, unless the stored progress says that this has been done or is being done.
    Initial(TableName),
    /// Read a table, or a part of it, again.
    Backfill {
        /// What to read.
        backfill: Backfill,
        /// Sent once the job is stored, so that it survives a crash; dropped when the job is refused, with the reason in the
        /// table's status.
        stored: Option<oneshot::Sender<()>>,
    },
}

/// A table to be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// The table.
    pub table: TableName,
    /// A condition in the source's SQL that rows must meet; the operator's own text.
    pub where_clause: Option<String>,
    /// Rows a chunk has at most, in place of `source.snapshot.chunk_rows`.
    pub chunk_rows: Option<u32>,
    /// The sinks' rows are replaced as a whole, so that rows that the source no longer has go too. The table is then read at
    /// one position, with the stream standing still there. Not with a condition.
    pub replace: bool,
    /// Nobody asked for the table by name, so it may be gone by its turn: renamed or dropped further on in the stream, which tells
    /// of that. Otherwise a table that does not exist is an error.
    pub may_be_gone: bool,
}

impl Backfill {
    /// The whole table.
    pub fn whole(table: TableName) -> Self {
        Self { table, where_clause: None, chunk_rows: None, replace: false, may_be_gone: false }
    }
}
