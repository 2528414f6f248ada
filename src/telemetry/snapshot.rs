//! Live progress of the snapshot.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::{ReadLive, RecordLive, lock};
use crate::codec::frame::Audience;
use crate::model::TableName;
use crate::table::{Capture, Complete, Fault, Reach, Read, Stage, TableRecord};

/// State of one table's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotPhase {
    /// Not begun.
    Pending,
    /// Chunks are read.
    Running,
    /// Every chunk stands in the log.
    Done,
    /// Given up; the error says why.
    Failed,
}

impl SnapshotPhase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Running, Self::Done, Self::Failed];

    /// The word used in `status`, metrics and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Progress of one table's snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotTable {
    /// The table.
    pub table: TableName,
    /// How far it is.
    pub phase: SnapshotPhase,
    /// Rows read.
    pub rows: u64,
    /// Rows the server estimates the table to have.
    pub estimated_rows: u64,
    /// Rows read per second, lately.
    pub rows_per_second: Option<f64>,
    /// How long the rest will take at that rate.
    pub eta: Option<Duration>,
    /// Why it failed, or what is tried again.
    pub error: Option<String>,
}

/// Progress of all tables, in the order in which they are read; empty when there is no snapshot.
#[derive(Debug, Default)]
pub struct SnapshotLive {
    tables: Mutex<Vec<SnapshotTable>>,
    /// Tables that the ingest loop wants read again and whose snapshot has not begun.
    asked: Mutex<Vec<TableName>>,
}

impl SnapshotLive {
    /// Replaces the progress of all tables at once.
    pub fn set(&self, tables: Vec<SnapshotTable>) {
        *lock(&self.tables) = tables;
    }

    /// Replaces the tables that are to be read again and whose snapshot has not begun.
    pub fn set_asked(&self, tables: Vec<TableName>) {
        *lock(&self.asked) = tables;
    }

    /// The progress now. A table that is to be read again is pending, whatever became of it before.
    pub fn tables(&self) -> Vec<SnapshotTable> {
        let asked = lock(&self.asked).clone();
        let mut tables = lock(&self.tables).clone();
        for table in asked {
            match tables.iter_mut().find(|shown| shown.table == table) {
                Some(shown) if shown.phase == SnapshotPhase::Running => {}
                Some(shown) => shown.phase = SnapshotPhase::Pending,
                None => tables.push(SnapshotTable {
                    table,
                    phase: SnapshotPhase::Pending,
                    rows: 0,
                    estimated_rows: 0,
                    rows_per_second: None,
                    eta: None,
                    error: None,
                }),
            }
        }
        tables
    }

    /// What the records of these tables, and of `others` that have counters, would be. Only while no record was set.
    pub(super) fn assumed_records<'t>(
        &self,
        others: impl Iterator<Item = &'t TableName>,
    ) -> BTreeMap<TableName, RecordLive> {
        let live = |record| RecordLive { record: std::sync::Arc::new(record), incomplete_since: 0 };
        let read = TableRecord {
            capture: Capture::Since(Lsn::ZERO),
            complete: Some(Complete::Changes(Lsn::ZERO)),
            ..TableRecord::default()
        };
        let mut records: BTreeMap<TableName, RecordLive> =
            others.map(|table| (table.clone(), live(read.clone()))).collect();
        records.extend(self.tables().into_iter().map(|shown| (shown.table.clone(), live(assumed_record(&shown)))));
        records
    }

    /// How the readers of these tables get on.
    pub(super) fn assumed_readers(&self) -> BTreeMap<TableName, ReadLive> {
        let live = |shown: SnapshotTable| {
            let SnapshotTable { table, estimated_rows, rows_per_second, eta, error, .. } = shown;
            (table, ReadLive { estimated_rows, rows_per_second, eta, error })
        };
        self.tables().into_iter().map(live).collect()
    }
}

fn assumed_record(shown: &SnapshotTable) -> TableRecord {
    let captured = TableRecord { capture: Capture::Since(Lsn::ZERO), ..TableRecord::default() };
    let read = Read {
        number: 1,
        reach: Reach::Whole,
        audience: Audience::All,
        chunk_rows: None,
        why: "it is to be read".to_owned(),
        is_doubt: false,
        stage: if shown.phase == SnapshotPhase::Pending { Stage::Waiting } else { Stage::Begun },
        rows: shown.rows,
        replaces: false,
    };
    let why = shown.error.clone().unwrap_or_default();
    let failed = Fault { since: Lsn::ZERO, since_micros: 0, why, by_nature: false };
    match shown.phase {
        SnapshotPhase::Pending | SnapshotPhase::Running => TableRecord { read: Some(read), ..captured },
        SnapshotPhase::Failed => TableRecord { read: Some(read), unreadable: Some(failed), ..captured },
        SnapshotPhase::Done => TableRecord { complete: Some(Complete::Changes(Lsn::ZERO)), ..captured },
    }
}
