//! What the snapshot is asked to do.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::error::Failure;
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
        /// Who wants to know that the job is stored, or why it is refused.
        stored: Option<Stored>,
    },
}

/// Told once a job is stored, so that it survives a crash, or why it is refused. A refused job leaves nothing behind.
pub type Stored = oneshot::Sender<Result<(), Failure>>;

/// A table to be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// The table.
    pub table: TableName,
    /// A condition in the source's SQL that rows must meet; the operator's own text.
    pub where_clause: Option<String>,
    /// Rows a chunk has at most, in place of `source.snapshot.chunk_rows`.
    pub chunk_rows: Option<u32>,
    /// The sinks' rows are emptied first, so that rows that the source no longer has go too. Not with a condition.
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
