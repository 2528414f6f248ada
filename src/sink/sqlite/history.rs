//! Rows of a changelog: every change is appended, none is ever altered.
//!
//! A line's primary key is its row's [version](crate::codec::version), so lines are appended in key order and a line
//! written twice is an error. `_lsn` and `_ordinal` say where the row is in its log. Value columns have no declared
//! type: a changelog holds values of every type its columns ever had, each as it was.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

use super::bind::{RowError, Scratch, Slots, bind_image};
use super::layout::{HISTORY_COLUMNS, Layout, REASON, quoted};
use super::tally::Tally;
pub(super) use crate::codec::civil::utc_text;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Plan, PlanError};
use crate::codec::version::{Epoch, FramePlace, row_version};
use crate::model::{RowCounts, TableSchema};
use crate::sink::layout::{after, before};

/// How rows of one schema are appended.
#[derive(Debug)]
pub(super) struct History {
    all: Plan,
    slots: Slots,
    columns: usize,
    /// With both images.
    pair: String,
    /// With the old image.
    gone: String,
    /// With the new image.
    come: String,
}

/// Where and when a frame's rows were changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The target's epoch.
    pub(super) epoch: Epoch,
    /// The frame.
    pub(super) frame: FramePlace,
    /// Ordinal of the next row in it.
    pub(super) ordinal: u32,
    /// When its transaction was committed, as text.
    pub(super) commit_time: &'a str,
}

/// First parameter of the row's values, after [`HISTORY_COLUMNS`].
const VALUES: usize = HISTORY_COLUMNS.len() + 1;

impl History {
    /// For a changelog.
    pub(super) fn new(schema: &TableSchema, layout: &Layout) -> Result<Self, PlanError> {
        let sources: Vec<usize> = layout.columns.iter().map(|column| column.source).collect();
        let named = |name: fn(&str) -> String| layout.columns.iter().map(move |column| quoted(&name(&column.name)));
        Ok(Self {
            all: Plan::compile(schema, &layout.wanted(schema.columns.len()))?,
            slots: Slots::new(schema, &sources),
            columns: sources.len(),
            pair: insert(&layout.target, named(before).chain(named(after))),
            gone: insert(&layout.target, named(before)),
            come: insert(&layout.target, named(after)),
        })
    }

    /// Appends a section's body; says what became of its rows.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        op: RowOp,
        body: &[u8],
        scratch: &mut Scratch,
        place: Place<'_>,
    ) -> Result<RowCounts, RowError> {
        let (sql, name) = match op {
            RowOp::Insert => (&self.come, "insert"),
            RowOp::Snapshot => (&self.come, "snapshot"),
            RowOp::Update => (&self.pair, "update"),
            RowOp::Delete | RowOp::DeleteByKey => (&self.gone, "delete"),
        };
        let mut statement = connection.prepare_cached(sql)?;
        place.bind(&mut statement, name)?;
        let (mut rest, mut row, mut tally) = (body, 0, Tally::default());
        while !rest.is_empty() {
            place.bind_row(&mut statement, row)?;
            let mut used = bind_image(&mut statement, VALUES, &self.all, &self.slots, rest, scratch)?;
            if op == RowOp::Update {
                let after = rest.get(used..).unwrap_or_default();
                used += bind_image(&mut statement, VALUES + self.columns, &self.all, &self.slots, after, scratch)?;
            }
            tally.take();
            tally.wrote(statement.raw_execute()?);
            rest = rest.get(used..).unwrap_or_default();
            row += 1;
        }
        Ok(tally.counts())
    }
}

/// Appends a line that stands for a change of the whole table, with its reason if it has one.
pub(super) fn mark(
    connection: &Connection,
    target: &str,
    op: &str,
    reason: Option<&str>,
    place: Place<'_>,
) -> rusqlite::Result<()> {
    let sql = insert(target, std::iter::once(quoted(REASON)));
    let mut statement = connection.prepare_cached(&sql)?;
    place.bind(&mut statement, op)?;
    place.bind_row(&mut statement, 0)?;
    statement.raw_bind_parameter(VALUES, reason)?;
    statement.raw_execute().map(|_| ())
}

impl Place<'_> {
    /// Binds what the lines of a section have in common.
    fn bind(&self, statement: &mut Statement<'_>, op: &str) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(2, stored(self.frame.lsn.raw())?)?;
        statement.raw_bind_parameter(4, ToSqlOutput::Borrowed(ValueRef::Text(op.as_bytes())))?;
        statement.raw_bind_parameter(5, self.commit_time)
    }

    /// Binds what a line has alone. `row` is its place in the section.
    fn bind_row(&self, statement: &mut Statement<'_>, row: u32) -> rusqlite::Result<()> {
        let ordinal = self.ordinal.saturating_add(row);
        statement.raw_bind_parameter(1, stored(row_version(self.epoch, self.frame, ordinal))?)?;
        statement.raw_bind_parameter(3, ordinal)
    }
}

fn stored(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn insert(target: &str, values: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = HISTORY_COLUMNS.into_iter().map(quoted).chain(values).collect();
    let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", quoted(target), names.join(", "), places.join(", "))
}
