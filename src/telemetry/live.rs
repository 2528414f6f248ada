//! The live state: written by the loops once per batch, read by `status`, the metrics sampler and `/health`.
//!
//! Nothing here decides anything; what must survive a restart is in the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wal::Lsn;

use super::{Errors, ReadLive, ReadShown, RecordLive, RecordsLive, SchemaChange, SchemaChanges, SinkLive, SourceLive};
use crate::codec::frame::TableChange;
use crate::error::ErrorClass;
use crate::model::TableName;
use crate::table::TableRecord;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not take the status down with it; every value is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds from one time in microseconds to another, never negative: clocks of two machines may disagree.
pub(super) fn seconds_between(from_micros: i64, to_micros: i64) -> f64 {
    let micros = u64::try_from(to_micros.saturating_sub(from_micros)).unwrap_or(0);
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// Row changes of one captured table on the side of the source: `read = appended + filtered + left_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceRows {
    /// Row changes that came from the source.
    pub read: u64,
    /// Row changes that are in the log.
    pub appended: u64,
    /// Snapshot rows that are not in the log because the stream had a newer state.
    pub filtered: u64,
    /// Row changes that are not in the log because their table is left out.
    pub left_out: u64,
}

/// The live row counters of one captured table.
#[derive(Debug, Default)]
pub struct TableLive(Mutex<SourceRows>);

impl TableLive {
    /// Sets the counters as of the last finished source transaction.
    pub fn set(&self, rows: SourceRows) {
        *lock(&self.0) = rows;
    }

    /// The counters, all as of one transaction.
    pub fn get(&self) -> SourceRows {
        *lock(&self.0)
    }
}

/// The whole live state of a daemon.
#[derive(Debug, Default)]
pub struct Live {
    /// The source.
    pub source: SourceLive,
    records: RecordsLive,
    schema_changes: SchemaChanges,
    read_errors: Errors,
    sinks: Mutex<Vec<Arc<SinkLive>>>,
    tables: Mutex<BTreeMap<TableName, Arc<TableLive>>>,
    cancelled: Mutex<BTreeMap<TableName, u32>>,
}

impl Live {
    /// Adds a sink.
    pub fn add_sink(&self, sink: Arc<SinkLive>) {
        lock(&self.sinks).push(sink);
    }

    /// The sinks in the order of the configuration.
    pub fn sinks(&self) -> Vec<Arc<SinkLive>> {
        lock(&self.sinks).clone()
    }

    /// Sets the record of a table. One that says nothing removes the table.
    pub fn record(&self, table: &TableName, record: TableRecord) {
        self.record_at(table, record, now_micros());
    }

    /// Sets the record of a table at a time of ours.
    pub(super) fn record_at(&self, table: &TableName, record: TableRecord, now_micros: i64) {
        self.records.set(table, record, now_micros);
    }

    /// Sets the record of a table as the group that ends at the first LSN makes it: it is shown once that is durable. Up to the second
    /// LSN the log is.
    pub fn record_once_durable(&self, table: &TableName, record: TableRecord, lsns: (Lsn, Lsn)) {
        self.records.set_once_durable(table, record, lsns, now_micros());
    }

    /// The log is durable up to here: what was made of tables up to there is shown.
    pub fn durable(&self, lsn: Lsn) {
        self.records.durable(lsn);
    }

    /// The records of all tables.
    pub fn records(&self) -> BTreeMap<TableName, RecordLive> {
        self.records.tables()
    }

    /// Sets how the reader of a table gets on; `None`: it has none. The end of the read removes it.
    pub fn reader(&self, table: &TableName, reader: Option<ReadLive>) {
        self.records.reader(table, reader);
    }

    /// The tables that are being read or are to be, those that have begun first.
    pub fn reads(&self) -> Vec<ReadShown> {
        self.records.reads()
    }

    /// A read of a table failed, and is tried again or not.
    pub fn read_failed(&self, class: ErrorClass) {
        self.read_errors.count(class);
    }

    /// Reads that failed.
    pub fn read_errors(&self) -> &Errors {
        &self.read_errors
    }

    /// The stream logged a change of a table. Marks that replicator itself makes do not count.
    pub fn schema_changed(&self, change: &TableChange) {
        if let Some(kind) = SchemaChange::of(change) {
            self.schema_changes.count(kind);
        }
    }

    /// Changes of definitions that the stream logged.
    pub fn schema_changes(&self) -> &SchemaChanges {
        &self.schema_changes
    }

    /// An operator has cancelled the read of this number.
    pub fn cancelled(&self, table: &TableName, read: u32) {
        lock(&self.cancelled).insert(table.clone(), read);
    }

    /// The number of the last read of each table that was cancelled.
    pub fn cancelled_reads(&self) -> BTreeMap<TableName, u32> {
        lock(&self.cancelled).clone()
    }

    /// The counters of a table, made if it is new.
    pub fn table(&self, name: &TableName) -> Arc<TableLive> {
        Arc::clone(lock(&self.tables).entry(name.clone()).or_default())
    }

    /// All tables.
    pub fn tables(&self) -> Vec<(TableName, Arc<TableLive>)> {
        lock(&self.tables).iter().map(|(name, table)| (name.clone(), Arc::clone(table))).collect()
    }
}

/// Microseconds since the epoch, now.
pub fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A moment as it is shown.
pub(crate) fn rfc3339(micros: i64) -> String {
    let since = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}
