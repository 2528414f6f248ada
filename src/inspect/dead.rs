//! The dead letters of a log, as an operator reads them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wal::Reader;

use super::items::op_word;
use super::values::RowReader;
use crate::codec::catalog::Catalog;
use crate::codec::frame::RowOp;
use crate::codec::stored::source_names;
use crate::config::SinkPlan;
use crate::dead::{DeadLetter, LetterId, images_of, letters_of, wanted_of};
use crate::error::Failure;
use crate::model::{SchemaId, TableName, same_column};
use crate::telemetry::rfc3339;

/// Which letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterQuery {
    /// Of this sink; of all without it.
    #[serde(default)]
    pub sink: Option<String>,
    /// Of this table: (database, table).
    #[serde(default)]
    pub table: Option<(String, String)>,
    /// Whose reason has this text.
    #[serde(default)]
    pub reason: Option<String>,
    /// With the values of their rows.
    #[serde(default)]
    pub rows: bool,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LetterItem {
    /// The sink.
    pub sink: String,
    /// Database of its table.
    pub database: String,
    /// Its table.
    pub table: String,
    /// The frame.
    pub lsn: u64,
    /// Place of the row change in the frame.
    pub ordinal: u32,
    /// `insert`, `update`, `delete` or `snapshot`.
    pub op: String,
    /// Why it could not be written.
    pub reason: String,
    /// When the row was changed at the source, in UTC.
    pub changed_at: String,
    /// When it could not be written, in UTC.
    pub refused_at: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// It is to be tried again.
    pub retry: bool,
    /// The values of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Map<String, Value>>,
    /// Values before the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Value>>,
    /// Values after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
}

/// The letters of one sink that were matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The sink.
    pub sink: String,
    /// The letters.
    pub ids: BTreeSet<LetterId>,
}

impl LetterItem {
    /// As the sink would have the row: without the columns that it leaves out, by its names, and no value that it hashes.
    pub fn as_at(&mut self, plan: &SinkPlan) {
        let options = plan.options_for(&TableName::new(&self.database, &self.table));
        let is = |names: &[String], column: &str| names.iter().any(|name| same_column(name, column));
        for values in [&mut self.key, &mut self.before, &mut self.after].into_iter().flatten() {
            let shown = std::mem::take(values).into_iter().filter(|(column, _)| !is(&options.drop, column));
            *values = shown
                .map(|(column, value)| {
                    let value = if is(&options.hash, &column) && !value.is_null() { "(hashed)".into() } else { value };
                    let renamed = options.rename.iter().find(|(from, _)| same_column(from, &column));
                    (renamed.map_or(column, |(_, to)| to.clone()), value)
                })
                .collect();
        }
    }
}

impl LetterItem {
    /// Without the values of its row: which of them the sink hides is not known.
    pub fn hide_values(&mut self) {
        (self.key, self.before, self.after) = (None, None, None);
    }
}

impl LetterQuery {
    fn matches(&self, table: Option<&TableName>, letter: &DeadLetter) -> bool {
        table.is_none_or(|table| *table == letter.table)
            && self.reason.as_ref().is_none_or(|text| letter.reason.contains(text.as_str()))
    }
}

/// The letters that a query asks for, by sink.
///
/// # Errors
/// Fatal, when the log cannot be read or a record is damaged.
pub fn matched(reader: &Reader, query: &LetterQuery) -> Result<Vec<Matched>, Failure> {
    let mut all = Vec::new();
    each(reader, query, &mut |sink, letters| {
        let ids: BTreeSet<_> = letters.into_iter().map(|(id, _)| id).collect();
        if !ids.is_empty() {
            all.push(Matched { sink: sink.to_owned(), ids });
        }
        Ok(true)
    })?;
    Ok(all)
}

/// Gives the letters that a query asks for to `take`, until it says `false`.
///
/// # Errors
/// As [`matched`], and when images cannot be read.
pub fn letters(reader: &Reader, query: &LetterQuery, take: &mut dyn FnMut(&LetterItem) -> bool) -> Result<(), Failure> {
    let mut catalog = Catalog::new(reader.clone());
    let mut readers: HashMap<SchemaId, RowReader> = HashMap::new();
    each(reader, query, &mut |sink, letters| {
        let wanted: BTreeSet<_> = wanted_of(reader, sink)?.into_iter().collect();
        for (id, letter) in letters {
            let mut item = item(sink, id, &letter, wanted.contains(&id));
            if query.rows {
                let rows = match readers.entry(letter.schema) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(RowReader::new(catalog.get(letter.schema)?)?),
                };
                let Some(images) = images_of(reader, sink, id)? else { continue };
                read(&mut item, rows, letter.op, &images)?;
            }
            if !take(&item) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn each(
    reader: &Reader,
    query: &LetterQuery,
    take: &mut dyn FnMut(&str, Vec<(LetterId, DeadLetter)>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let names = source_names(reader)?;
    let table = query.table.as_ref().map(|(database, table)| names.table(TableName::new(database, table)));
    for cursor in reader.cursors() {
        if query.sink.as_ref().is_some_and(|sink| *sink != cursor.name) {
            continue;
        }
        let mut letters = letters_of(reader, &cursor.name)?;
        letters.retain(|(_, letter)| query.matches(table.as_ref(), letter));
        if !take(&cursor.name, letters)? {
            return Ok(());
        }
    }
    Ok(())
}

fn item(sink: &str, id: LetterId, letter: &DeadLetter, retry: bool) -> LetterItem {
    LetterItem {
        sink: sink.to_owned(),
        database: letter.table.database.clone(),
        table: letter.table.table.clone(),
        lsn: id.lsn.raw(),
        ordinal: id.ordinal,
        op: op_word(letter.op).to_owned(),
        reason: letter.reason.clone(),
        changed_at: rfc3339(letter.commit_micros),
        refused_at: rfc3339(letter.at_micros),
        bytes: letter.bytes(),
        retry,
        key: None,
        before: None,
        after: None,
    }
}

/// The values of the row.
fn read(item: &mut LetterItem, rows: &RowReader, op: RowOp, images: &[u8]) -> Result<(), Failure> {
    let last = match op {
        RowOp::Insert | RowOp::Snapshot => {
            item.after = Some(rows.read(images)?.0);
            images
        }
        RowOp::Update => {
            let (before, used) = rows.read(images)?;
            item.before = Some(before);
            let after = images.get(used..).unwrap_or_default();
            item.after = Some(rows.read(after)?.0);
            after
        }
        RowOp::Delete => {
            item.before = Some(rows.read(images)?.0);
            images
        }
        RowOp::DeleteByKey => {
            item.before = Some(rows.read_key(images)?.0);
            images
        }
    };
    item.key = Some(rows.read_key(last)?.0).filter(|key| !key.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Mode, TableOptions};
    use crate::sink::sqlite::SqlitePlan;

    #[test]
    fn a_letter_is_shown_as_its_sink_would_have_the_row() {
        let letter = DeadLetter {
            table: TableName::new("shop", "t"),
            schema: SchemaId(1),
            op: RowOp::Insert,
            position: 0,
            commit_micros: 0,
            at_micros: 0,
            reason: "no".into(),
            keys: Vec::new(),
            image_bytes: 0,
        };
        let mut item = item("local", LetterId { lsn: wal::Lsn::new(9), ordinal: 1 }, &letter, false);
        let values = json!({ "id": 1, "Email": "a@b", "phone": null, "secret": 7, "n": 2 });
        item.after = values.as_object().cloned();
        item.key = json!({ "id": 1 }).as_object().cloned();
        let options = TableOptions {
            drop: vec!["SECRET".into()],
            hash: vec!["email".into(), "phone".into()],
            rename: vec![("N".into(), "number".into()), ("email".into(), "mail".into())],
            ..TableOptions::new(Mode::Mirror)
        };
        let settings = std::sync::Arc::new(SqlitePlan { path: "x".into() });

        item.as_at(&SinkPlan::new("local", options, SqlitePlan::BATCH, settings));

        let shown = json!({ "id": 1, "mail": "(hashed)", "phone": null, "number": 2 });
        assert_eq!(Value::Object(item.after.unwrap()), shown);
        assert_eq!(Value::Object(item.key.unwrap()), json!({ "id": 1 }));
    }
}
