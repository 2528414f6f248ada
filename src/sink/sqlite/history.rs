//! Rows of a changelog: every change is appended, none is ever altered.
//!
//! A line's primary key is its row's [version](crate::codec::version), so lines are appended in key order and a line
//! written twice is an error. `_lsn` and `_ordinal` say where the row is in its log. Value columns have no declared
//! type: a changelog holds values of every type its columns ever had, each as it was.

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Statement};

use super::bind::{RowError, Scratch, Slots, bind_image};
use super::error::reason;
use super::layout::{HISTORY_COLUMNS, Layout, REASON, quoted};
use super::tally::Tally;
use super::target::Letting;
use crate::codec::civil::utc_text;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Plan, PlanError};
use crate::model::{RowCounts, TableName, TableSchema};
use crate::sink::layout::{after, before};
use crate::sink::rows::{Images, Lines, Moment, append, op_name};
use crate::sink::values::Rules;

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

/// First parameter of the row's values, after [`HISTORY_COLUMNS`].
const VALUES: usize = HISTORY_COLUMNS.len() + 1;

impl History {
    /// For a changelog.
    pub(super) fn new(schema: &TableSchema, layout: &Layout, rules: &Arc<Rules>) -> Result<Self, PlanError> {
        let sources: Vec<usize> = layout.columns.iter().map(|column| column.source).collect();
        let named = |name: fn(&str) -> String| layout.columns.iter().map(move |column| quoted(&name(&column.name)));
        Ok(Self {
            all: Plan::compile(schema, &layout.wanted(schema.columns.len()))?,
            slots: Slots::new(schema, &sources, rules),
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
        letting: &mut Letting<'_>,
        at: Moment,
    ) -> Result<RowCounts, RowError> {
        let Letting { path, table, scratch, dead } = letting;
        let sql = match op {
            RowOp::Insert | RowOp::Snapshot => &self.come,
            RowOp::Update => &self.pair,
            RowOp::Delete | RowOp::DeleteByKey => &self.gone,
        };
        let mut statement = connection.prepare_cached(sql)?;
        bind_all(&mut statement, at, op_name(op))?;
        let refusal = (*path, *table);
        let mut writing =
            Writing { history: self, connection, refusal, statement, scratch, at, tally: Tally::default() };
        let taken = append(&mut writing, op, body, dead)?;
        Ok(writing.tally.counts(taken))
    }
}

/// A section on its way.
struct Writing<'a> {
    history: &'a History,
    connection: &'a Connection,
    /// Of what a refusal speaks.
    refusal: (&'a Path, &'a TableName),
    statement: CachedStatement<'a>,
    scratch: &'a mut Scratch,
    at: Moment,
    tally: Tally,
}

impl Lines for Writing<'_> {
    type Error = RowError;

    fn plan(&self) -> &Plan {
        &self.history.all
    }

    fn reason(&self, error: RowError) -> Result<String, RowError> {
        reason(self.connection, self.refusal, error)
    }

    fn line(&mut self, images: Images, bytes: &[u8], row: u32) -> Result<usize, RowError> {
        let Self { history: History { all, slots, columns, .. }, statement, scratch, at, tally, .. } = self;
        bind_line(statement, *at, at.ordinal(row)?)?;
        let mut used = bind_image(statement, VALUES, all, slots, bytes, scratch)?;
        if images == Images::Both {
            let after = bytes.get(used..).unwrap_or_default();
            used += bind_image(statement, VALUES + columns, all, slots, after, scratch)?;
        }
        tally.wrote(statement.raw_execute()?);
        Ok(used)
    }
}

/// Appends a line that stands for a change of the whole table, with its reason if it has one.
pub(super) fn mark(
    connection: &Connection,
    target: &str,
    op: &str,
    why: Option<&str>,
    at: Moment,
) -> rusqlite::Result<()> {
    let sql = insert(target, std::iter::once(quoted(REASON)));
    let mut statement = connection.prepare_cached(&sql)?;
    bind_all(&mut statement, at, op)?;
    bind_line(&mut statement, at, at.first_ordinal)?;
    statement.raw_bind_parameter(VALUES, why)?;
    statement.raw_execute().map(|_| ())
}

/// Binds what the lines of a section have in common.
fn bind_all(statement: &mut Statement<'_>, at: Moment, op: &str) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(2, stored(at.frame.lsn.raw())?)?;
    statement.raw_bind_parameter(4, ToSqlOutput::Borrowed(ValueRef::Text(op.as_bytes())))?;
    statement.raw_bind_parameter(5, utc_text(at.commit_micros))
}

/// Binds what a line has alone.
fn bind_line(statement: &mut Statement<'_>, at: Moment, ordinal: u32) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, stored(at.version(ordinal))?)?;
    statement.raw_bind_parameter(3, ordinal)
}

fn stored(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn insert(target: &str, values: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = HISTORY_COLUMNS.into_iter().map(quoted).chain(values).collect();
    let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", quoted(target), names.join(", "), places.join(", "))
}
