//! What the ingest loop keeps beside the frames in the log's state, and its keys.
//!
//! The table of them is [`crate::codec::stored`].

use serde::{Deserialize, Serialize};

use super::lineage::ColumnSteps;
use super::typed::Typed;
use crate::codec::stored::{self, COUNT, Entry, REREAD, Record, SOURCE_POSITION, StoredPosition, TABLE, TYPES};
use crate::error::Failure;
use crate::model::{SchemaId, SourcePosition, TableName};
use crate::telemetry::SourceRows;

impl Record for Counts {
    const ENTRY: &'static Entry = &COUNT;
}

impl Record for Reread {
    const ENTRY: &'static Entry = &REREAD;
}

impl Record for TableRecord {
    const ENTRY: &'static Entry = &TABLE;
}

impl Record for Typed {
    const ENTRY: &'static Entry = &TYPES;
}

/// Row changes of one table, counted once per source transaction that is in the log.
///
/// `read = appended + filtered`: filtered are snapshot rows that the stream had already replaced when their chunk was placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that came from the source.
    pub read: u64,
    /// Rows that stand in the log.
    pub appended: u64,
    /// Rows left out.
    pub filtered: u64,
}

impl Counts {
    /// As `status` shows them.
    pub fn shown(self) -> SourceRows {
        SourceRows { read: self.read, appended: self.appended, filtered: self.filtered, left_out: 0 }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.read += other.read;
        self.appended += other.appended;
        self.filtered += other.filtered;
    }
}

/// How a table has to be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reread {
    /// The table.
    pub table: TableName,
    /// Whether rows that the source no longer has must go: the sinks' rows are replaced as a whole.
    pub replace: bool,
    /// Why, for the log.
    pub why: String,
}

/// What is known of a table at the end of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableRecord {
    /// Its schema; `None` for a table that exists but whose schema is not known yet.
    pub(super) schema: Option<SchemaId>,
    /// What DDL whose resulting schema could not be read in time did to its columns, in order.
    pub(super) steps: Vec<ColumnSteps>,
    /// A DDL of the table could not be followed exactly: rows of before it are read again once the schema is known.
    pub(super) reread: bool,
}

pub(super) fn table_key(table: &TableName) -> Vec<u8> {
    TABLE.of_table(table)
}

pub(super) fn typed_key(table: &TableName) -> Vec<u8> {
    TYPES.of_table(table)
}

pub(super) fn count_key(table: &TableName) -> Vec<u8> {
    COUNT.of_table(table)
}

pub(super) fn reread_key(table: &TableName) -> Vec<u8> {
    REREAD.of_table(table)
}

/// Tables that have to be read again and whose snapshot has not begun.
///
/// # Errors
/// When the log cannot be read or an entry is damaged.
pub fn rereads(reader: &wal::Reader) -> Result<Vec<Reread>, Failure> {
    Ok(stored::of_tables::<Reread>(reader)?.into_iter().map(|(_, reread)| reread).collect())
}

/// The state entry that asks for a table to be read again.
///
/// # Errors
/// A name beyond any limit.
pub fn asked(reread: &Reread) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    Ok((reread_key(&reread.table), Some(stored::encode(reread)?)))
}

pub(super) fn tables(reader: &wal::Reader) -> Result<Vec<(TableName, TableRecord)>, Failure> {
    stored::of_tables(reader)
}

pub(super) fn typed(reader: &wal::Reader) -> Result<Vec<(TableName, Typed)>, Failure> {
    stored::of_tables(reader)
}

/// Where the source is to go on; `None` in a log that has never had a position.
///
/// # Errors
/// When the log cannot be read or the position is damaged.
pub fn stored_position(reader: &wal::Reader) -> Result<Option<SourcePosition>, Failure> {
    let position = stored::get(reader, SOURCE_POSITION.key())?;
    Ok(position.map(|StoredPosition::MySql(position)| position))
}

/// Tables whose schema the log knows.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn known_tables(reader: &wal::Reader) -> Result<Vec<TableName>, Failure> {
    Ok(tables(reader)?.into_iter().map(|(name, _)| name).collect())
}

/// Row counters of every table the log knows.
///
/// # Errors
/// When the log cannot be read or a counter is damaged.
pub fn counts(reader: &wal::Reader) -> Result<Vec<(TableName, Counts)>, Failure> {
    stored::of_tables(reader)
}
