//! What a round holds of each table, as the headers of its frames say.
//!
//! Rows are counted by schema, one look-up for a section; names are looked up once a round.

use std::collections::HashMap;

use wal::Lsn;

use super::own_limits::OwnPlace;
use super::tables::Apart;
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
    /// The sink is configured so that they do not reach it.
    pub(super) apart: bool,
    /// Where the round counts them besides, if their table has limits of its own.
    pub(super) own: Option<OwnPlace>,
}

/// What happened to a table as a whole, as far as it says whether the sink has every row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableEvent {
    /// A read of it begins, of all its rows or of a part.
    ReadBegun {
        /// The table.
        table: TableName,
        /// Whether every row is read.
        whole: bool,
    },
    /// Every row of that read is in the log before `lsn`.
    ReadFinished {
        /// The table.
        table: TableName,
        /// Where the read ended.
        lsn: Lsn,
    },
    /// It was created at `lsn`, without a row.
    Created {
        /// The table.
        table: TableName,
        /// Where it was created.
        lsn: Lsn,
    },
    /// A read takes the place of everything that the sink has of it.
    Replaced {
        /// The table.
        table: TableName,
    },
    /// What happened to some rows of it is not known, until a read of it begins.
    Doubted {
        /// The table.
        table: TableName,
    },
    /// It does not reach the sink from here on.
    Apart {
        /// The table.
        table: TableName,
        /// Why.
        apart: Apart,
    },
    /// It reaches the sink from here on, and did not before.
    Back {
        /// The table.
        table: TableName,
    },
    /// A rule of the sink means something else for its rows from here on.
    Distrusted {
        /// The table.
        table: TableName,
        /// Why.
        why: String,
    },
    /// Rows of it are not in the log, or not in a form that the sink can take.
    Lost {
        /// The table.
        table: TableName,
    },
    /// It is gone.
    Gone {
        /// The table.
        table: TableName,
    },
    /// It has another name.
    Renamed {
        /// Its old name.
        from: TableName,
        /// Its new name.
        to: TableName,
    },
}

impl TableEvent {
    /// What a mark says.
    pub fn of_mark(mark: &Mark, lsn: Lsn) -> Self {
        match mark.clone() {
            Mark::SnapshotBegun { table, whole } => Self::ReadBegun { table, whole },
            Mark::SnapshotFinished { table, .. } => Self::ReadFinished { table, lsn },
            Mark::Created { table } => Self::Created { table, lsn },
        }
    }

    /// What a change says as it reaches the sink: `None` for it if it leads to a schema that is left out. No event
    /// where the sink has every row after it if it had every row before.
    pub fn of_change(original: &TableChange, followed: Option<&TableChange>) -> Option<Self> {
        let Some(change) = followed else { return Some(Self::Lost { table: original.table().clone() }) };
        match change.clone() {
            TableChange::ReplaceBegin { table, .. } => Some(Self::Replaced { table }),
            TableChange::Gap { table, .. } => Some(Self::Doubted { table }),
            TableChange::LeftOut { table, .. } | TableChange::Schema { table, lost: true, .. } => {
                Some(Self::Lost { table })
            }
            TableChange::Drop { table } => Some(Self::Gone { table }),
            TableChange::Rename { from, to, .. } => Some(Self::Renamed { from, to }),
            TableChange::Schema { lost: false, .. } | TableChange::Truncate { .. } | TableChange::ReplaceEnd { .. } => {
                None
            }
        }
    }

    /// The table it is about; for a rename, the old name.
    pub fn table(&self) -> &TableName {
        match self {
            Self::ReadBegun { table, .. }
            | Self::ReadFinished { table, .. }
            | Self::Created { table, .. }
            | Self::Replaced { table }
            | Self::Doubted { table }
            | Self::Lost { table }
            | Self::Apart { table, .. }
            | Self::Back { table }
            | Self::Distrusted { table, .. }
            | Self::Gone { table } => table,
            Self::Renamed { from, .. } => from,
        }
    }
}

impl TableEvent {
    /// Whether it is about a table, under its old name or its new one.
    pub(super) fn is_about(&self, name: &TableName) -> bool {
        match self {
            Self::Renamed { from, to } => from == name || to == name,
            other => other.table() == name,
        }
    }
}

impl Tally {
    /// Rows of a table are left out, at this place of the log: a read that ends later in the round brings them.
    pub(super) fn lose(&mut self, table: &TableName) {
        let is_known = |event: &TableEvent| matches!(event, TableEvent::Lost { table: lost } if lost == table);
        if !self.events.last().is_some_and(is_known) {
            self.events.push(TableEvent::Lost { table: table.clone() });
        }
    }

    /// Counts rows of a frame that is for other sinks.
    pub(super) fn pass_over(&mut self, frame: &Frame<'_>) {
        for section in frame.described() {
            *self.not_theirs.entry(section.schema).or_default() += u64::from(section.rows);
        }
    }
}
