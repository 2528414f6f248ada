//! What a round holds of each table, as the headers of its frames say.
//!
//! Rows are counted by schema, one look-up for a section; names are looked up once a round.

use std::collections::HashMap;

use wal::Lsn;

use crate::codec::frame::{Frame, Mark, TableChange};
use crate::model::{SchemaId, TableName};

/// What a round holds of each table.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of frames that are for this sink.
    pub(super) ours: HashMap<SchemaId, Ours>,
    /// Rows in frames that are for other sinks.
    pub(super) not_theirs: HashMap<SchemaId, u64>,
    /// What happened to tables as a whole, in the order of the log.
    pub(super) events: Vec<TableEvent>,
}

/// Rows of one schema that are for this sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ours {
    /// Rows.
    pub(super) rows: u64,
    /// The schema could not be known: they are left out.
    pub(super) left_out: bool,
}

/// What happened to a table as a whole, as far as it says whether the sink has every row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TableEvent {
    /// A read of it begins, of all its rows or of a part.
    ReadBegun { table: TableName, whole: bool },
    /// Every row of that read is in the log before `lsn`.
    ReadFinished { table: TableName, lsn: Lsn },
    /// A read takes the place of everything that the sink has of it.
    Replaced { table: TableName },
    /// Rows of it are not in the log, or not in a form that the sink can take.
    Lost { table: TableName },
    /// It is gone.
    Gone { table: TableName },
    /// It has another name.
    Renamed { from: TableName, to: TableName },
}

impl TableEvent {
    /// What a mark says.
    pub(super) fn of_mark(mark: &Mark, lsn: Lsn) -> Self {
        match mark.clone() {
            Mark::SnapshotBegun { table, whole } => Self::ReadBegun { table, whole },
            Mark::SnapshotFinished { table, .. } => Self::ReadFinished { table, lsn },
        }
    }

    /// What a change says as it reaches the sink: `None` for it if it leads to a schema that is left out. No event
    /// where the sink has every row after it if it had every row before.
    pub(super) fn of_change(original: &TableChange, followed: Option<&TableChange>) -> Option<Self> {
        let Some(change) = followed else { return Some(Self::Lost { table: original.table().clone() }) };
        match change.clone() {
            TableChange::ReplaceBegin { table, .. } => Some(Self::Replaced { table }),
            TableChange::Gap { table, .. } | TableChange::LeftOut { table, .. } => Some(Self::Lost { table }),
            TableChange::Drop { table } => Some(Self::Gone { table }),
            TableChange::Rename { from, to, .. } => Some(Self::Renamed { from, to }),
            TableChange::Schema { .. } | TableChange::Truncate { .. } | TableChange::ReplaceEnd { .. } => None,
        }
    }

    /// The table it is about; for a rename, the old name.
    pub(super) fn table(&self) -> &TableName {
        match self {
            Self::ReadBegun { table, .. }
            | Self::ReadFinished { table, .. }
            | Self::Replaced { table }
            | Self::Lost { table }
            | Self::Gone { table } => table,
            Self::Renamed { from, .. } => from,
        }
    }
}

impl Tally {
    /// Counts rows of a frame that is for other sinks.
    pub(super) fn pass_over(&mut self, frame: &Frame<'_>) {
        for section in frame.described() {
            *self.not_theirs.entry(section.schema).or_default() += u64::from(section.rows);
        }
    }
}
