//! Rows of a mirror without a key: matched by all their values.
//!
//! The table is a multiset: a delete takes away exactly one of the rows that are equal in every kept column, an update
//! replaces exactly one. `IS` compares NULLs, floats and bytes exactly. Each match scans the table, since nothing but the
//! whole row identifies it; give large tables a key.
//!
//! A row that matches nothing is counted: the target and the source were not equal before it. An update then inserts its new
//! row, as the source has it.

use rusqlite::Connection;

use super::bind::{RowError, Scratch, Slots, bind_image};
use super::layout::{Layout, quoted};
use super::tally::Tally;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Plan, PlanError};
use crate::model::{RowCounts, TableSchema};

/// How rows of one schema are mirrored by their values.
#[derive(Debug)]
pub(super) struct Keyless {
    all: Plan,
    slots: Slots,
    columns: usize,
    insert: String,
    update: String,
    delete: String,
}

impl Keyless {
    /// For a layout without a key. `rowid` is the name of SQLite's row number in it.
    pub(super) fn new(schema: &TableSchema, layout: &Layout, rowid: &str) -> Result<Self, PlanError> {
        let sources: Vec<usize> = layout.columns.iter().map(|column| column.source).collect();
        let target = quoted(&layout.target);
        let names: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
        let numbers = |from: usize| -> Vec<String> { (from..from + names.len()).map(|n| format!("?{n}")).collect() };
        // Compared as one row: a chain of ANDs would be too deep an expression for a thousand columns.
        let mut matches = format!("({}) IS ({})", names.join(", "), numbers(1).join(", "));
        if let Some(soft) = &layout.soft {
            matches.push_str(" AND ");
            matches.push_str(&quoted(soft));
            matches.push_str(" = 0");
        }
        let one = format!("{rowid} = (SELECT {rowid} FROM {target} WHERE {matches} LIMIT 1)");
        let sets: Vec<_> =
            names.iter().zip(numbers(names.len() + 1)).map(|(name, number)| format!("{name} = {number}")).collect();
        Ok(Self {
            all: Plan::compile(schema, &layout.wanted(schema.columns.len()))?,
            slots: Slots::new(schema, &sources),
            columns: names.len(),
            insert: format!("INSERT INTO {target} ({}) VALUES ({})", names.join(", "), numbers(1).join(", ")),
            update: format!("UPDATE {target} SET {} WHERE {one}", sets.join(", ")),
            delete: match &layout.soft {
                Some(soft) => format!("UPDATE {target} SET {} = 1 WHERE {one}", quoted(soft)),
                None => format!("DELETE FROM {target} WHERE {one}"),
            },
        })
    }

    /// Applies a section's body; says what became of its rows.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        op: RowOp,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Result<RowCounts, RowError> {
        let mut statement = connection.prepare_cached(match op {
            RowOp::Insert | RowOp::Snapshot => &self.insert,
            RowOp::Update => &self.update,
            RowOp::Delete | RowOp::DeleteByKey => &self.delete,
        })?;
        let (mut rest, mut tally) = (body, Tally::default());
        while !rest.is_empty() {
            let mut used = bind_image(&mut statement, 1, &self.all, &self.slots, rest, scratch)?;
            let after = rest.get(used..).unwrap_or_default();
            if op == RowOp::Update {
                used += bind_image(&mut statement, 1 + self.columns, &self.all, &self.slots, after, scratch)?;
            }
            tally.take();
            let changed = statement.raw_execute()?;
            match op {
                RowOp::Delete | RowOp::DeleteByKey => tally.deleted(changed),
                RowOp::Update if changed == 0 => {
                    tally.missed();
                    let mut insert = connection.prepare_cached(&self.insert)?;
                    bind_image(&mut insert, 1, &self.all, &self.slots, after, scratch)?;
                    tally.wrote(insert.raw_execute()?);
                }
                RowOp::Insert | RowOp::Snapshot | RowOp::Update => tally.wrote(changed),
            }
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(tally.counts())
    }
}
