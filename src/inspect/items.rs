//! Items out of what the log holds: schemas, changes, marks, checks.

use std::sync::Arc;

use super::item::{ChangeItem, CheckItem, SchemaItem, SectionItem};
use super::values::{RowReader, column_in_words};
use crate::codec::catalog::SchemaRecord;
use crate::codec::frame::{Audience, CheckHeader, Mark, RowOp, Section, TableChange};
use crate::error::Failure;
use crate::model::{Key, SchemaId, SourcePlace, TableName, TableSchema};

pub(super) fn schema_item(id: SchemaId, record: &SchemaRecord) -> SchemaItem {
    let schema = record.schema();
    let name_of = |column: &u16| schema.columns.get(usize::from(*column)).map(|column| column.name.clone());
    let (state, asked, before, reason) = match record {
        SchemaRecord::Known(_) => ("known", Vec::new(), None, None),
        SchemaRecord::Pending { unknown, before, .. } => {
            ("pending", unknown.iter().filter_map(name_of).collect(), *before, None)
        }
        SchemaRecord::Unnamed { seen, before, .. } => {
            ("pending", seen.columns.iter().map(|column| column.name.clone()).collect(), *before, None)
        }
        SchemaRecord::LeftOut { before, reason, .. } => ("left_out", Vec::new(), *before, Some(reason.clone())),
    };
    SchemaItem {
        id: id.0,
        table: schema.name.to_string(),
        columns: schema.columns.iter().map(column_in_words).collect(),
        key: schema.key.iter().flat_map(|key| &key.columns).filter_map(name_of).collect(),
        state: state.to_owned(),
        asked,
        before: before.map(|id| id.0),
        reason,
    }
}

pub(super) fn section_item(table: &TableName, section: &Section) -> SectionItem {
    SectionItem {
        table: table.to_string(),
        schema: section.schema.0,
        op: op_word(section.op).to_owned(),
        rows: section.rows,
        bytes: section.bytes,
    }
}

pub(super) fn op_word(op: RowOp) -> &'static str {
    match op {
        RowOp::Insert => "insert",
        RowOp::Update => "update",
        RowOp::Delete => "delete",
        RowOp::DeleteByKey => "delete_by_key",
        RowOp::Snapshot => "snapshot",
    }
}

/// The sinks it names.
pub(super) fn audience_item(audience: &Audience) -> Option<Vec<String>> {
    match audience {
        Audience::All => None,
        Audience::Sinks(names) => Some(names.clone()),
    }
}

pub(super) fn source_word(place: &SourcePlace) -> &'static str {
    match place {
        SourcePlace::MySql(_) => "mysql",
    }
}

pub(super) fn change_item(change: &TableChange) -> ChangeItem {
    let (what, detail) = match change {
        TableChange::Schema { from, to, renamed, lost, .. } => {
            let from = from.map_or_else(|| "new table".to_owned(), |from| format!("schema {from}"));
            let renamed: Vec<_> = renamed.iter().map(|(old, new)| format!(", column {old} is now {new}")).collect();
            let lost = if *lost { ", its rows come again" } else { "" };
            ("schema", format!("{from} to schema {to}{}{lost}", renamed.concat()))
        }
        TableChange::Truncate { .. } => ("truncate", String::new()),
        TableChange::Drop { .. } => ("drop", String::new()),
        TableChange::Rename { to, schema, .. } => ("rename", format!("to {to}, schema {schema}")),
        TableChange::ReplaceBegin { schema, .. } => ("replace_begin", format!("schema {schema}")),
        TableChange::ReplaceEnd { .. } => ("replace_end", String::new()),
        TableChange::Gap { reason, .. } => ("gap", reason.clone()),
        TableChange::LeftOut { reason, .. } => ("left_out", reason.clone()),
    };
    ChangeItem { what: what.to_owned(), table: change.table().to_string(), detail }
}

pub(super) fn mark_table(mark: &Mark) -> &TableName {
    match mark {
        Mark::SnapshotBegun { table, .. } | Mark::SnapshotFinished { table, .. } | Mark::Created { table } => table,
    }
}

pub(super) fn mark_item(mark: &Mark) -> ChangeItem {
    let (what, detail) = match mark {
        Mark::SnapshotBegun { whole: true, .. } => ("snapshot_begun", "of every row".to_owned()),
        Mark::SnapshotBegun { whole: false, .. } => ("snapshot_begun", "of a part".to_owned()),
        Mark::SnapshotFinished { rows, .. } => ("snapshot_finished", format!("{rows} rows")),
        Mark::Created { .. } => ("created", "by the stream, without a row".to_owned()),
    };
    ChangeItem { what: what.to_owned(), table: mark_table(mark).to_string(), detail }
}

/// A check; with its keys where rows are asked for.
pub(super) fn check_item(check: &CheckHeader, schema: &TableSchema, keys: bool) -> Result<CheckItem, Failure> {
    let bound = |image: &Option<Vec<u8>>| match image {
        Some(image) if keys => Ok::<_, Failure>(Some(RowReader::new(Arc::new(key_alone(schema)))?.read(image)?.0)),
        _ => Ok(None),
    };
    let hashes = check.left_out.iter().filter(|_| keys).map(|hash| format!("{hash:032x}"));
    Ok(CheckItem {
        table: check.table.to_string(),
        schema: check.schema.0,
        rows: check.rows,
        bytes: check.bytes,
        from_first: check.range.after.is_none(),
        to_last: check.range.upto.is_none(),
        after: bound(&check.range.after)?,
        upto: bound(&check.range.upto)?,
        left_out: u64::try_from(check.left_out.len()).unwrap_or(u64::MAX),
        left_out_hashes: hashes.collect(),
    })
}

/// The schema of a row that has the key's columns only, in key order.
fn key_alone(schema: &TableSchema) -> TableSchema {
    let columns: Vec<_> = schema
        .key
        .iter()
        .flat_map(|key| &key.columns)
        .filter_map(|column| schema.columns.get(usize::from(*column)).cloned())
        .collect();
    let places = (0..).zip(&columns).map(|(place, _)| place).collect();
    let key = schema.key.as_ref().map(|key| Key { kind: key.kind, columns: places });
    TableSchema { name: schema.name.clone(), columns, key }
}
