//! What is said over the socket.
//!
//! A connection carries one [`Request`] and any number of [`Reply`]s, each a line of JSON, the last of which is
//! [`Reply::Done`] or [`Reply::Failed`]: an answer that ends without one was cut short.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Failure;
use crate::inspect::{LetterQuery, Query};
use crate::model::TableName;

/// Longest request: a backfill of some ten thousand tables.
pub(super) const MAX_REQUEST: u64 = 4 << 20;

/// What the daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Its state; one item, a [`Status`](crate::telemetry::Status).
    Status,
    /// Tables to read again; one item, a [`BackfillTaken`].
    Backfill {
        /// Which.
        jobs: Vec<BackfillJob>,
    },
    /// Tables to read again in place of what the sinks have; one item, a [`ResyncTaken`].
    Resync {
        /// Which, and for whom.
        resync: Resync,
    },
    /// What the log holds; items as [`crate::inspect`] makes them.
    Inspect {
        /// What of it.
        query: Query,
    },
    /// Forget the cursor of a sink that is no longer configured; no item.
    DropCursor {
        /// Name of the sink.
        name: String,
    },
    /// Give a sink a new copy of every table; no item.
    ResetSink {
        /// Name of the sink.
        name: String,
    },
    /// Stop the delivery of a sink, durably; no item.
    PauseSink {
        /// Name of the sink.
        name: String,
        /// Who asks for it.
        by: String,
        /// Why.
        why: Option<String>,
    },
    /// Let a paused sink continue; no item.
    ResumeSink {
        /// Name of the sink.
        name: String,
    },
    /// Leave a table out from here on; one item, a [`TableTaken`].
    SkipTable {
        /// The table.
        table: TableName,
        /// Who asks for it, and why.
        why: String,
    },
    /// Read a table again that is left out; one item, a [`TableTaken`].
    ResumeTable {
        /// The table.
        table: TableName,
        /// Who asks for it.
        why: String,
    },
    /// Give up the reads of a table that an operator has asked for; one item, a [`TableTaken`].
    CancelReads {
        /// The table.
        table: TableName,
        /// Who asks for it.
        why: String,
    },
    /// What the log holds of one table; one item, a [`TableShown`](crate::inspect::TableShown).
    Table {
        /// The table.
        table: TableName,
    },
    /// Dead letters; items are [`LetterItem`](crate::inspect::LetterItem)s.
    Letters {
        /// Which.
        query: LetterQuery,
    },
    /// Dead letters to try again, or to remove; one item, a [`LettersTaken`].
    Settle {
        /// Which.
        query: LetterQuery,
        /// They are removed; else they are tried again.
        discard: bool,
    },
    /// Whether the log is sound; one item, a [`Verdict`](crate::inspect::Verdict).
    Verify,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A part of it.
    Item(Value),
    /// Its end.
    Done,
    /// Its end, for a reason.
    Failed {
        /// The fact.
        message: String,
        /// What the operator can do.
        hint: Option<String>,
    },
}

impl From<Failure> for Reply {
    fn from(mut failure: Failure) -> Self {
        let hint = failure.hint.take();
        Self::Failed { message: failure.chain(), hint }
    }
}

/// What became of tables that are to be read again. Those that are not named are stored, so that no crash forgets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillTaken {
    /// Tables that wait for a free place, and are not stored before they have one.
    pub queued: Vec<TableName>,
    /// The numbers of the reads that bring the others.
    #[serde(default)]
    pub reads: Vec<(TableName, u32)>,
}

/// What became of what was asked of a table. It is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableTaken {
    /// The number of the read that is wanted for it, or that was cancelled.
    pub read: Option<u32>,
    /// Why the table is left out now; `None`: it is not.
    pub left_out: Option<String>,
}

/// Tables to read again in place of what sinks have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resync {
    /// These tables; every captured one if there is none.
    #[serde(default)]
    pub tables: Vec<TableName>,
    /// For these sinks; for every configured one if there is none.
    #[serde(default)]
    pub sinks: Vec<String>,
}

impl Resync {
    /// Whether it is for this sink.
    pub fn is_for(&self, sink: &str) -> bool {
        self.sinks.is_empty() || self.sinks.iter().any(|name| name == sink)
    }
}

/// How many dead letters were taken. What is asked for is stored, so that no crash forgets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersTaken {
    /// Letters.
    pub letters: usize,
}

/// Every table that is to be read again is stored as such, so that no crash forgets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncTaken {
    /// How many there are.
    pub tables: usize,
    /// Sinks of those that it is for that have failed or were detached: nothing reaches them before they are reset, or start again.
    pub failed_sinks: Vec<String>,
    /// Sinks of those that it is for that are paused: nothing reaches them before they are resumed.
    pub paused_sinks: Vec<String>,
}

/// One table to read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillJob {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Condition in the source's SQL that the rows fulfil; all rows without it.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Rows of a chunk; `source.snapshot.chunk_rows` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<std::num::NonZeroU32>,
    /// Whether the new copy takes the place of the old one, so that rows that the source no longer has go. Not with a condition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

impl BackfillJob {
    /// The table.
    pub fn name(&self) -> TableName {
        TableName::new(&self.database, &self.table)
    }
}
