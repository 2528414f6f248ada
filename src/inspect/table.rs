//! What the log holds of one table, for `table show`.

use serde::{Deserialize, Serialize};
use wal::Reader;

use super::item::SchemaItem;
use super::items::{audience_item, schema_item};
use crate::codec::catalog::SchemaRecord;
use crate::codec::stored::{SCHEMA, TABLE, get, source_names};
use crate::error::Failure;
use crate::ingest;
use crate::model::TableName;
use crate::table::{Asker, By, Capture, Complete, Read, Stage, TableRecord};
use crate::telemetry::rfc3339;

/// What the log holds of a table. Nothing of a table that it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShown {
    /// `database.table`, as the source spells it.
    pub table: String,
    /// Its schema at the end of the log.
    pub schema: Option<SchemaItem>,
    /// How that is known: `table_map` (the binlog names it), `description` (of the server), `statement` (applied to the one before).
    pub schema_known_by: Option<String>,
    /// Its record.
    pub record: Option<RecordShown>,
}

/// The record of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordShown {
    /// Its changes are in the log since this LSN.
    pub captured_since_lsn: Option<u64>,
    /// The configuration leaves it out since this LSN.
    pub excluded_since_lsn: Option<u64>,
    /// Every row, and every change since this LSN, is in the log for every sink.
    pub complete_since_lsn: Option<u64>,
    /// `complete_since_lsn` is of the changes alone: what was there before was never read.
    pub changes_only: bool,
    /// Why it is left out.
    pub left_out: Option<FaultShown>,
    /// Why it cannot be read.
    pub unreadable: Option<FaultShown>,
    /// The reads that are wanted, the one that is done first in front.
    pub reads: Vec<ReadWanted>,
    /// It waits for the stream to come to this place of the binlog.
    pub awaits: Option<String>,
}

/// What is wrong with a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultShown {
    /// `doubt`, `nature` or `operator`.
    pub by: String,
    /// Since this LSN.
    pub since_lsn: u64,
    /// Since this time, in UTC.
    pub since: String,
    /// Why.
    pub why: String,
}

/// A read that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadWanted {
    /// Its number.
    pub number: u32,
    /// `operator` (who may cancel it), `itself` or `configured` (the configuration or a sink).
    pub asked_by: String,
    /// `keys`, `part`, `values` (over what is there) or `rows` (in place of what is there).
    pub reach: String,
    /// The sinks that it is for; `None`: all.
    pub sinks: Option<Vec<String>>,
    /// Why.
    pub why: String,
    /// Since when it is wanted, in UTC.
    pub since: String,
    /// `waiting`, `begun` or `placed`.
    pub stage: String,
    /// Rows placed.
    pub rows: u64,
    /// It does not begin before this time, in UTC.
    pub until: Option<String>,
}

/// What the log holds of a table.
///
/// # Errors
/// Fatal, when the log cannot be read or a record is damaged.
pub fn table_shown(reader: &Reader, table: &TableName) -> Result<TableShown, Failure> {
    let table = source_names(reader)?.table(table.clone());
    let record: Option<TableRecord> = get(reader, &TABLE.of_table(&table))?;
    let known = ingest::known_schema(reader, &table)?;
    let schema = match &known {
        Some((id, _)) => get::<SchemaRecord>(reader, &SCHEMA.of_number(id.0))?.map(|found| schema_item(*id, &found)),
        None => None,
    };
    Ok(TableShown {
        table: table.to_string(),
        schema,
        schema_known_by: known.map(|(_, by)| by.to_owned()),
        record: record.as_ref().map(record_shown),
    })
}

fn record_shown(record: &TableRecord) -> RecordShown {
    let fault = |fault: &crate::table::Fault| FaultShown {
        by: match fault.by {
            By::Doubt => "doubt",
            By::Nature => "nature",
            By::Operator => "operator",
        }
        .to_owned(),
        since_lsn: fault.since.raw(),
        since: rfc3339(fault.since_micros),
        why: fault.why.clone(),
    };
    let (captured, excluded) = match record.capture {
        Capture::Unmet => (None, None),
        Capture::Since(since) => (Some(since.raw()), None),
        Capture::Left(since) => (None, Some(since.raw())),
    };
    let (complete, changes_only) = match record.complete {
        None => (None, false),
        Some(Complete::Whole(since)) => (Some(since.raw()), false),
        Some(Complete::Changes(since)) => (Some(since.raw()), true),
    };
    RecordShown {
        captured_since_lsn: captured,
        excluded_since_lsn: excluded,
        complete_since_lsn: complete,
        changes_only,
        left_out: record.left_out.as_ref().map(fault),
        unreadable: record.unreadable.as_ref().map(fault),
        reads: [&record.read, &record.next].into_iter().flatten().map(read_wanted).collect(),
        awaits: record.awaits.as_ref().map(|awaited| format!("{}:{}", awaited.until.file, awaited.until.pos)),
    }
}

fn read_wanted(read: &Read) -> ReadWanted {
    let asked_by = match read.asker {
        Asker::Configured => "configured",
        Asker::Itself => "itself",
        Asker::Operator => "operator",
    };
    let stage = match read.stage {
        Stage::Waiting => "waiting",
        Stage::Begun | Stage::Ranges(_) | Stage::Whole => "begun",
        Stage::Placed => "placed",
    };
    ReadWanted {
        number: read.number,
        asked_by: asked_by.to_owned(),
        reach: read.reach.as_str().to_owned(),
        sinks: audience_item(&read.audience),
        why: read.why.clone(),
        since: rfc3339(read.since_micros),
        stage: stage.to_owned(),
        rows: read.rows,
        until: read.until.map(rfc3339),
    }
}
