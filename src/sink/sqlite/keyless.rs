//! Rows of a mirror without a key: matched by all their values.
//!
//! The table is a multiset: a delete takes away exactly one of the rows that are equal in every kept column, an update
//! replaces exactly one. `IS` compares NULLs, floats and bytes exactly. Nothing but the whole row identifies it, so a match
//! scans the table. That costs nothing else as long as few rows change; once the scans have cost as much as a
//! [`Lookup`] does, one is made, and each further match takes the same time however large the table is.
//!
//! A row that matches nothing is counted: the target and the source were not equal before it. An update then inserts its new
//! row, as the source has it.

use std::cell::Cell;
use std::sync::Arc;

use rusqlite::{Connection, Statement, StatementStatus};

use super::bind::{RowError, Scratch, Slots, bind_hashed, bind_image, bind_sought};
use super::layout::{Layout, quoted};
use super::lookup::{Lookup, Subject, forget};
use super::row_hash::RowHash;
use super::tally::Tally;
use super::types::Storage;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Plan, PlanError};
use crate::model::{RowCounts, TableSchema};
use crate::sink::rows::{Keyless as Values, by_values};
use crate::sink::values::Rules;

/// Steps of SQLite's machine that are spent on scans before a lookup is thought of: some milliseconds.
const LEAST_STEPS: u64 = 1 << 20;

/// Steps that a lookup costs for each row of the table, in the time that they take.
const STEPS_A_ROW: u64 = 128;

/// A lookup is dropped when this many rows came in since a row was last looked for, and they are half of the table.
const LEAST_IDLE: u64 = 1 << 16;

/// How rows of one schema are mirrored by their values.
#[derive(Debug)]
pub(super) struct Keyless {
    all: Plan,
    slots: Slots,
    columns: usize,
    subject: Subject,
    /// Whether each value is stored as it is bound. One that SQLite converts has another hash in the table than in its row.
    is_exact: bool,
    target: String,
    insert: String,
    update: String,
    delete: String,
    /// By the row number, behind the other parameters.
    update_row: String,
    delete_row: String,
    /// Steps that scans have taken since the last lookup was made.
    spent: Cell<u64>,
    /// What they come to when a lookup is worth its cost.
    due: Cell<u64>,
    /// Rows that came in since the lookup was last used.
    idle: Cell<u64>,
}

/// What a section is written with.
struct Writing<'a> {
    keyless: &'a Keyless,
    connection: &'a Connection,
    scratch: &'a mut Scratch,
    tally: Tally,
    hash: RowHash,
    lookup: Option<Lookup>,
}

impl Keyless {
    /// For a layout without a key. `rowid` is the name of SQLite's row number in it.
    pub(super) fn new(
        schema: &TableSchema,
        layout: &Layout,
        rowid: &'static str,
        rules: &Arc<Rules>,
    ) -> Result<Self, PlanError> {
        let sources: Vec<usize> = layout.columns.iter().map(|column| column.source).collect();
        let target = quoted(&layout.target);
        let names: Vec<_> = layout.columns.iter().map(|column| quoted(&column.name)).collect();
        let numbers = |from: usize| -> Vec<String> { (from..from + names.len()).map(|n| format!("?{n}")).collect() };
        let sets = |from: usize| -> String {
            let sets: Vec<_> =
                names.iter().zip(numbers(from)).map(|(name, number)| format!("{name} = {number}")).collect();
            sets.join(", ")
        };
        // Compared as one row: a chain of ANDs would be too deep an expression for a thousand columns.
        let mut matches = format!("({}) IS ({})", names.join(", "), numbers(1).join(", "));
        if let Some(soft) = &layout.soft {
            matches.push_str(" AND ");
            matches.push_str(&quoted(soft));
            matches.push_str(" = 0");
        }
        let one = format!("{rowid} = (SELECT {rowid} FROM {target} WHERE {matches} LIMIT 1)");
        let delete = |which: &str| match &layout.soft {
            Some(soft) => format!("UPDATE {target} SET {} = 1 WHERE {which}", quoted(soft)),
            None => format!("DELETE FROM {target} WHERE {which}"),
        };
        Ok(Self {
            all: Plan::compile(schema, &layout.wanted(schema.columns.len()))?,
            slots: Slots::new(schema, &sources, rules),
            columns: names.len(),
            subject: Subject::new(layout, rowid),
            is_exact: layout.columns.iter().all(|column| {
                schema.columns.get(column.source).is_some_and(|source| Storage::of(&source.ty) == Some(column.ty))
            }),
            insert: format!("INSERT INTO {target} ({}) VALUES ({})", names.join(", "), numbers(1).join(", ")),
            update: format!("UPDATE {target} SET {} WHERE {one}", sets(names.len() + 1)),
            delete: delete(&one),
            update_row: format!("UPDATE {target} SET {} WHERE {rowid} = ?{}", sets(1), names.len() + 1),
            delete_row: delete(&format!("{rowid} = ?1")),
            target: layout.target.clone(),
            spent: Cell::new(0),
            due: Cell::new(LEAST_STEPS),
            idle: Cell::new(0),
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
        let lookup = if self.is_exact { Lookup::of(connection, &self.subject)? } else { None };
        let mut writing =
            Writing { keyless: self, connection, scratch, tally: Tally::default(), hash: RowHash::new(), lookup };
        let taken = by_values(&mut writing, op, body)?;
        if writing.lookup.is_some() {
            self.drop_idle(connection)?;
        }
        Ok(writing.tally.counts(taken))
    }
}

impl Values for Writing<'_> {
    type Error = RowError;

    fn put(&mut self, image: &[u8]) -> Result<usize, RowError> {
        let Self { keyless, connection, scratch, tally, hash, lookup } = self;
        let Keyless { all, slots, .. } = keyless;
        let mut insert = connection.prepare_cached(&keyless.insert)?;
        let Some(lookup) = lookup else {
            let used = bind_image(&mut insert, 1, all, slots, image, scratch)?;
            tally.wrote(insert.raw_execute()?);
            return Ok(used);
        };
        let (used, hash) = bind_hashed(&mut insert, 1, all, slots, image, scratch, hash)?;
        tally.wrote(insert.raw_execute()?);
        lookup.put(connection, connection.last_insert_rowid(), hash)?;
        keyless.idle.set(keyless.idle.get() + 1);
        Ok(used)
    }

    fn replace(&mut self, images: &[u8]) -> Result<usize, RowError> {
        self.change(images, true)
    }

    fn delete(&mut self, image: &[u8]) -> Result<usize, RowError> {
        self.change(image, false)
    }
}

impl Writing<'_> {
    /// Takes the row of the first image away, or makes it that of the second; says how many bytes both have.
    fn change(&mut self, bytes: &[u8], update: bool) -> Result<usize, RowError> {
        let keyless = self.keyless;
        if self.lookup.is_none() && keyless.spent.get() >= keyless.due.get() {
            self.lookup = keyless.worthwhile(self.connection)?;
        }
        match self.lookup.take() {
            Some(lookup) => {
                keyless.idle.set(0);
                let used = self.change_found(&lookup, bytes, update);
                self.lookup = Some(lookup);
                used
            }
            None => self.change_scanned(bytes, update),
        }
    }

    fn change_scanned(&mut self, bytes: &[u8], update: bool) -> Result<usize, RowError> {
        let Self { keyless, connection, scratch, tally, .. } = self;
        let Keyless { all, slots, .. } = keyless;
        let mut statement = connection.prepare_cached(if update { &keyless.update } else { &keyless.delete })?;
        let used = bind_sought(&mut statement, 1, all, slots, bytes, scratch)?;
        if !update {
            let changed = statement.raw_execute()?;
            keyless.spend(&statement);
            tally.deleted(changed);
            return Ok(used);
        }
        let after = bytes.get(used..).unwrap_or_default();
        let before = scratch.replaced;
        let more = bind_image(&mut statement, 1 + keyless.columns, all, slots, after, scratch)?;
        let changed = statement.raw_execute()?;
        keyless.spend(&statement);
        if changed == 0 {
            tally.missed();
            // The insert counts them.
            scratch.replaced = before;
            self.put(after)?;
        } else {
            tally.wrote(changed);
        }
        Ok(used + more)
    }

    fn change_found(&mut self, lookup: &Lookup, bytes: &[u8], update: bool) -> Result<usize, RowError> {
        let Self { keyless, connection, scratch, tally, hash, .. } = self;
        let Keyless { all, slots, .. } = keyless;
        let behind = 1 + keyless.columns;
        let mut find = connection.prepare_cached(lookup.find())?;
        let before = scratch.replaced;
        let (used, wanted) = bind_hashed(&mut find, 1, all, slots, bytes, scratch, hash)?;
        // It is looked for, and not written.
        scratch.replaced = before;
        find.raw_bind_parameter(behind, wanted)?;
        let row: Option<i64> = match find.raw_query().next()? {
            Some(row) => Some(row.get(0)?),
            None => None,
        };
        if !update {
            let mut changed = 0;
            if let Some(row) = row {
                changed = connection.prepare_cached(&keyless.delete_row)?.execute([row])?;
                lookup.remove(connection, row)?;
            }
            tally.deleted(changed);
            return Ok(used);
        }
        let after = bytes.get(used..).unwrap_or_default();
        let (more, hash, row) = if let Some(row) = row {
            let mut update = connection.prepare_cached(&keyless.update_row)?;
            let (more, hash) = bind_hashed(&mut update, 1, all, slots, after, scratch, hash)?;
            update.raw_bind_parameter(behind, row)?;
            tally.wrote(update.raw_execute()?);
            (more, hash, row)
        } else {
            tally.missed();
            let mut insert = connection.prepare_cached(&keyless.insert)?;
            let (more, hash) = bind_hashed(&mut insert, 1, all, slots, after, scratch, hash)?;
            tally.wrote(insert.raw_execute()?);
            (more, hash, connection.last_insert_rowid())
        };
        lookup.put(connection, row, hash)?;
        Ok(used + more)
    }
}

impl Keyless {
    /// Counts what a scan took.
    fn spend(&self, scan: &Statement<'_>) {
        // SQLite counts in 32 bits without sign.
        let steps = scan.reset_status(StatementStatus::VmStep).cast_unsigned();
        self.spent.set(self.spent.get().saturating_add(steps.into()));
    }

    /// Makes a lookup if the scans have cost as much as it will.
    fn worthwhile(&self, connection: &Connection) -> Result<Option<Lookup>, RowError> {
        if !self.is_exact {
            self.due.set(u64::MAX);
            return Ok(None);
        }
        let cost = self.subject.extent(connection)?.saturating_mul(STEPS_A_ROW);
        if self.spent.get() < cost {
            self.due.set(cost);
            return Ok(None);
        }
        let made = Lookup::make(connection, &self.subject);
        self.spent.set(0);
        self.due.set(LEAST_STEPS);
        match made {
            Ok(Some(lookup)) => return Ok(Some(lookup)),
            Ok(None) => {}
            // SQLite has taken back the round: that is not for a scan to put right.
            Err(error) if connection.is_autocommit() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(table = %self.target, %error, "rows without a key are found by scans, as there is no room to note where they are");
            }
        }
        self.due.set(u64::MAX);
        Ok(None)
    }

    /// Rows that only come in pay for a lookup that nobody uses.
    fn drop_idle(&self, connection: &Connection) -> Result<(), RowError> {
        let idle = self.idle.get();
        if idle >= LEAST_IDLE && idle >= self.subject.extent(connection)? / 2 {
            forget(connection, &self.target)?;
            self.idle.set(0);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Keyless {
    /// Makes a lookup at the first change, or never.
    pub(super) fn force(&self, lookup: bool) {
        self.spent.set(u64::MAX);
        self.due.set(if lookup { 0 } else { u64::MAX });
    }

    /// Steps that scans have taken since the last lookup was made.
    pub(super) fn spent(&self) -> u64 {
        self.spent.get()
    }
}
