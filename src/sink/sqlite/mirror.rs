//! Rows of a mirror that has a key: each change is one statement by key.
//!
//! Inserts and snapshot rows are upserts, so a row that is there already is brought to the same state again. `INSERT
//! .. ON CONFLICT DO UPDATE` costs a new row what a plain `INSERT` costs; `INSERT OR REPLACE` costs an existing row
//! several times as much, since it deletes first, and would delete other rows that a user's own unique index collides
//! with.
//!
//! Updates and deletes are by key and so say whether they found a row. One that found none (the snapshot has not read
//! it yet, or the copy differs from its source) is counted; an update then inserts its row. A delete by the key
//! alone inserts nothing: with soft deletion, it marks the row that is there, which keeps its values.
//!
//! Keys compare as bytes here. The source's collation may be coarser ('a' and 'A' one key), so two keys that differ
//! only in bytes never exist there at once, and an update from one to the other is a delete and an insert.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};

use super::bind::{RowError, Scratch, Slots, bind_image, bind_sought};
use super::error::reason;
use super::layout::{Layout, TargetColumn, quoted};
use super::tally::Tally;
use super::target::Letting;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Plan, PlanError};
use crate::model::{RowCounts, TableName, TableSchema};
use crate::sink::rows::{Keyed, by_key};
use crate::sink::values::Rules;

/// How rows of one schema are mirrored by key.
#[derive(Debug)]
pub(super) struct Mirror {
    all: Plan,
    all_slots: Slots,
    key: Plan,
    key_slots: Slots,
    /// The key's places in the schema.
    key_places: Vec<u16>,
    upsert: String,
    update: String,
    delete: Delete,
}

#[derive(Debug)]
enum Delete {
    /// By key.
    Hard(String),
    /// The row gets the old image and the mark.
    Soft {
        /// Of a live row.
        mark: String,
        /// Where there is none: an upsert with the mark set.
        upsert: String,
        /// Of a live row of which only the key is known.
        mark_key: String,
    },
}

impl Mirror {
    /// For a layout with a key.
    pub(super) fn new(schema: &TableSchema, layout: &Layout, rules: &Arc<Rules>) -> Result<Self, PlanError> {
        let columns = schema.columns.len();
        let sources: Vec<usize> = layout.columns.iter().map(|column| column.source).collect();
        let key_sources: Vec<usize> = layout.key_columns().map(|column| column.source).collect();
        let key_places = key_sources.iter().filter_map(|place| u16::try_from(*place).ok()).collect();
        Ok(Self {
            all: Plan::compile(schema, &layout.wanted(columns))?,
            all_slots: Slots::new(schema, &sources, rules),
            key: Plan::compile(schema, &layout.wanted_key(columns))?,
            key_slots: Slots::new(schema, &key_sources, rules),
            key_places,
            upsert: upsert(layout, 0),
            update: update(layout, 0),
            delete: match &layout.soft {
                Some(soft) => Delete::Soft {
                    mark: update(layout, 1),
                    upsert: upsert(layout, 1),
                    mark_key: mark_key(layout, soft),
                },
                None => Delete::Hard(delete(layout)),
            },
        })
    }

    /// Applies a section's body; says what became of its rows.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        op: RowOp,
        body: &[u8],
        at: &mut Letting<'_>,
    ) -> Result<RowCounts, RowError> {
        let Letting { path, table, scratch, dead } = at;
        let mut writing = Writing {
            mirror: self,
            connection,
            refusal: (path, table),
            scratch,
            tally: Tally::default(),
            put: None,
            update: None,
            delete: None,
        };
        let taken = by_key(&mut writing, op, body, dead)?;
        Ok(writing.tally.counts(taken))
    }
}

/// A section on its way, with its statements once they are needed.
struct Writing<'a> {
    mirror: &'a Mirror,
    connection: &'a Connection,
    /// Of what a refusal speaks.
    refusal: (&'a Path, &'a TableName),
    scratch: &'a mut Scratch,
    tally: Tally,
    put: Option<CachedStatement<'a>>,
    update: Option<CachedStatement<'a>>,
    /// By image, or by key: a section has deletes of one kind.
    delete: Option<CachedStatement<'a>>,
}

/// The statement, prepared at its first use.
fn ready<'s, 'c>(
    place: &'s mut Option<CachedStatement<'c>>,
    connection: &'c Connection,
    sql: &str,
) -> rusqlite::Result<&'s mut CachedStatement<'c>> {
    match place {
        Some(statement) => Ok(statement),
        None => Ok(place.insert(connection.prepare_cached(sql)?)),
    }
}

impl Keyed for Writing<'_> {
    type Error = RowError;

    fn plan(&self) -> &Plan {
        &self.mirror.all
    }

    fn reason(&self, error: RowError) -> Result<String, RowError> {
        reason(self.connection, self.refusal, error)
    }

    fn unmatched(&mut self) -> Option<&mut u64> {
        Some(self.tally.unmatched())
    }

    fn key_places(&self) -> &[u16] {
        &self.mirror.key_places
    }

    fn put(&mut self, image: &[u8], _row: u32) -> Result<usize, RowError> {
        let Self { mirror, connection, scratch, tally, put, .. } = self;
        let put = ready(put, connection, &mirror.upsert)?;
        let used = bind_image(put, 1, &mirror.all, &mirror.all_slots, image, scratch)?;
        tally.wrote(put.raw_execute()?);
        Ok(used)
    }

    /// One that finds no row puts it.
    fn update(&mut self, image: &[u8], row: u32) -> Result<usize, RowError> {
        let Self { mirror, connection, scratch, tally, update, .. } = self;
        let update = ready(update, connection, &mirror.update)?;
        let before = scratch.replaced;
        let used = bind_image(update, 1, &mirror.all, &mirror.all_slots, image, scratch)?;
        match update.raw_execute()? {
            0 => {
                tally.missed();
                // The insert counts them.
                scratch.replaced = before;
                self.put(image, row)
            }
            changed => {
                tally.wrote(changed);
                Ok(used)
            }
        }
    }

    fn delete(&mut self, image: &[u8], _row: u32) -> Result<usize, RowError> {
        let Self { mirror, connection, scratch, tally, delete, .. } = self;
        let delete = ready(delete, connection, mirror.delete.sql())?;
        match &mirror.delete {
            Delete::Hard(_) => {
                let used = bind_sought(delete, 1, &mirror.key, &mirror.key_slots, image, scratch)?;
                tally.deleted(delete.raw_execute()?);
                Ok(used)
            }
            Delete::Soft { upsert, .. } => {
                let used = bind_image(delete, 1, &mirror.all, &mirror.all_slots, image, scratch)?;
                match delete.raw_execute()? {
                    0 => {
                        tally.missed();
                        let mut upsert = connection.prepare_cached(upsert)?;
                        bind_sought(&mut upsert, 1, &mirror.all, &mirror.all_slots, image, scratch)?;
                        tally.wrote(upsert.raw_execute()?);
                    }
                    changed => tally.wrote(changed),
                }
                Ok(used)
            }
        }
    }

    fn delete_by_key(&mut self, image: &[u8], _row: u32) -> Result<usize, RowError> {
        let Self { mirror, connection, scratch, tally, delete, .. } = self;
        let delete = ready(delete, connection, mirror.delete.sql_of_key())?;
        let used = bind_sought(delete, 1, &mirror.key, &mirror.key_slots, image, scratch)?;
        tally.deleted(delete.raw_execute()?);
        Ok(used)
    }
}

impl Delete {
    /// The statement that takes a row away that is there.
    fn sql(&self) -> &str {
        match self {
            Self::Hard(sql) | Self::Soft { mark: sql, .. } => sql,
        }
    }

    /// The same with the key alone.
    fn sql_of_key(&self) -> &str {
        match self {
            Self::Hard(sql) | Self::Soft { mark_key: sql, .. } => sql,
        }
    }
}

fn upsert(layout: &Layout, soft: u8) -> String {
    let mut names: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
    let mut values: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    if let Some(column) = &layout.soft {
        names.push(quoted(column));
        values.push(soft.to_string());
    }
    let key: Vec<_> = layout.key_columns().map(|column| quoted(&column.name)).collect();
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        quoted(&layout.target),
        names.join(", "),
        values.join(", "),
        key.join(", "),
        sets(layout, soft)
    )
}

/// With the parameters of [`upsert`]. Softly deleted rows are not there.
fn update(layout: &Layout, soft: u8) -> String {
    let key = layout.key.iter().filter_map(|place| {
        let column = layout.columns.get(*place)?;
        Some(format!("{} = ?{}", quoted(&column.name), place + 1))
    });
    let live = layout.soft.iter().map(|column| format!("{} = 0", quoted(column)));
    let matches: Vec<_> = key.chain(live).collect();
    format!("UPDATE {} SET {} WHERE {}", quoted(&layout.target), sets(layout, soft), matches.join(" AND "))
}

/// What a row that is there is set to. Where every column is of the key, one of them is set to itself: a statement
/// without a change would not say whether the row is there.
fn sets(layout: &Layout, soft: u8) -> String {
    let set = |(place, column): (usize, &TargetColumn)| format!("{} = ?{}", quoted(&column.name), place + 1);
    let columns = layout.columns.iter().enumerate();
    let mut sets: Vec<_> = columns.clone().filter(|(place, _)| !layout.key.contains(place)).map(set).collect();
    if let Some(column) = &layout.soft {
        sets.push(format!("{} = {soft}", quoted(column)));
    }
    if sets.is_empty() {
        sets.extend(columns.take(1).map(set));
    }
    sets.join(", ")
}

fn delete(layout: &Layout) -> String {
    format!("DELETE FROM {} WHERE {}", quoted(&layout.target), is_of_key(layout))
}

/// Marks a live row as deleted and leaves its values.
fn mark_key(layout: &Layout, soft: &str) -> String {
    let soft = quoted(soft);
    format!("UPDATE {} SET {soft} = 1 WHERE {} AND {soft} = 0", quoted(&layout.target), is_of_key(layout))
}

/// Whether a row has the key that is bound.
fn is_of_key(layout: &Layout) -> String {
    let key: Vec<_> = layout
        .key_columns()
        .enumerate()
        .map(|(place, column)| format!("{} = ?{}", quoted(&column.name), place + 1))
        .collect();
    key.join(" AND ")
}
