//! Rows of a mirror that has a key: each change is one statement by key.
//!
//! Inserts, snapshot rows and new images are upserts, so a row that is there already is brought to the same state again.
//! `INSERT .. ON CONFLICT DO UPDATE` costs a new row what a plain `INSERT` costs; `INSERT OR REPLACE` costs an existing row
//! several times as much, since it deletes first, and would delete other rows that a user's own unique index collides with.
//!
//! Keys compare as bytes here. The source's collation may be coarser ('a' and 'A' one key), so two keys that differ only in
//! bytes never exist there at once, and an update from one to the other is a delete and an insert.

use rusqlite::{Connection, Statement};

use super::bind::{RowError, Scratch, Slots, bind_image};
use super::layout::{Layout, quoted};
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Plan, PlanError};
use crate::model::TableSchema;

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
    delete: Delete,
}

#[derive(Debug)]
enum Delete {
    /// By key.
    Hard(String),
    /// An upsert of the old image with the mark set.
    Soft(String),
}

impl Mirror {
    /// For a layout with a key.
    pub(super) fn new(schema: &TableSchema, layout: &Layout) -> Result<Self, PlanError> {
        let columns = schema.columns.len();
        let sources: Vec<usize> = layout.columns.iter().map(|column| column.source).collect();
        let key_sources: Vec<usize> = layout.key_columns().map(|column| column.source).collect();
        let key_places = key_sources.iter().filter_map(|place| u16::try_from(*place).ok()).collect();
        Ok(Self {
            all: Plan::compile(schema, &layout.wanted(columns))?,
            all_slots: Slots::new(schema, &sources),
            key: Plan::compile(schema, &layout.wanted_key(columns))?,
            key_slots: Slots::new(schema, &key_sources),
            key_places,
            upsert: upsert(layout, 0),
            delete: match layout.soft {
                Some(_) => Delete::Soft(upsert(layout, 1)),
                None => Delete::Hard(delete(layout)),
            },
        })
    }

    /// Applies a section's body; says how many rows it had.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        op: RowOp,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Result<u32, RowError> {
        match op {
            RowOp::Insert | RowOp::Snapshot => self.upsert_all(connection, body, scratch),
            RowOp::Update => self.update_all(connection, body, scratch),
            RowOp::Delete => self.delete_all(connection, body, scratch),
        }
    }

    fn upsert_all(&self, connection: &Connection, body: &[u8], scratch: &mut Scratch) -> Result<u32, RowError> {
        let mut upsert = connection.prepare_cached(&self.upsert)?;
        let (mut rest, mut rows) = (body, 0);
        while !rest.is_empty() {
            let used = bind_image(&mut upsert, 1, &self.all, &self.all_slots, rest, scratch)?;
            upsert.raw_execute()?;
            rest = rest.get(used..).unwrap_or_default();
            rows += 1;
        }
        Ok(rows)
    }

    fn update_all(&self, connection: &Connection, body: &[u8], scratch: &mut Scratch) -> Result<u32, RowError> {
        let mut upsert = connection.prepare_cached(&self.upsert)?;
        let (mut rest, mut rows) = (body, 0);
        while !rest.is_empty() {
            let before = rest;
            let after = rest.get(self.all.image_len(before)?..).unwrap_or_default();
            if !self.all.same_key(&self.key_places, before, after)? {
                let mut delete = connection.prepare_cached(self.delete.sql())?;
                self.delete_first(&mut delete, before, scratch)?;
            }
            let used = bind_image(&mut upsert, 1, &self.all, &self.all_slots, after, scratch)?;
            upsert.raw_execute()?;
            rest = after.get(used..).unwrap_or_default();
            rows += 1;
        }
        Ok(rows)
    }

    fn delete_all(&self, connection: &Connection, body: &[u8], scratch: &mut Scratch) -> Result<u32, RowError> {
        let mut delete = connection.prepare_cached(self.delete.sql())?;
        let (mut rest, mut rows) = (body, 0);
        while !rest.is_empty() {
            let used = self.delete_first(&mut delete, rest, scratch)?;
            rest = rest.get(used..).unwrap_or_default();
            rows += 1;
        }
        Ok(rows)
    }

    /// Deletes the row of the first image. A row that is not there (not yet read by the snapshot) is no error.
    fn delete_first(
        &self,
        statement: &mut Statement<'_>,
        bytes: &[u8],
        scratch: &mut Scratch,
    ) -> Result<usize, RowError> {
        let (plan, slots) = match &self.delete {
            Delete::Hard(_) => (&self.key, &self.key_slots),
            Delete::Soft(_) => (&self.all, &self.all_slots),
        };
        let used = bind_image(statement, 1, plan, slots, bytes, scratch)?;
        statement.raw_execute()?;
        Ok(used)
    }
}

impl Delete {
    fn sql(&self) -> &str {
        match self {
            Self::Hard(sql) | Self::Soft(sql) => sql,
        }
    }
}

fn upsert(layout: &Layout, soft: u8) -> String {
    let mut names: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
    let mut values: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let mut sets = Vec::new();
    for (place, column) in layout.columns.iter().enumerate() {
        if !layout.key.contains(&place) {
            let name = quoted(&column.name);
            sets.push(format!("{name} = excluded.{name}"));
        }
    }
    if let Some(column) = &layout.soft {
        names.push(quoted(column));
        values.push(soft.to_string());
        sets.push(format!("{} = {soft}", quoted(column)));
    }
    let key: Vec<_> = layout.key_columns().map(|column| quoted(&column.name)).collect();
    let action = if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {action}",
        quoted(&layout.target),
        names.join(", "),
        values.join(", "),
        key.join(", ")
    )
}

fn delete(layout: &Layout) -> String {
    let key: Vec<_> = layout
        .key_columns()
        .enumerate()
        .map(|(place, column)| format!("{} = ?{}", quoted(&column.name), place + 1))
        .collect();
    format!("DELETE FROM {} WHERE {}", quoted(&layout.target), key.join(" AND "))
}
