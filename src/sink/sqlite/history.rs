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

/// Microseconds since the epoch as `YYYY-MM-DD HH:MM:SS.ffffff` in UTC.
pub(super) fn utc_text(micros: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    let (days, time) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{fraction:06}")
}

/// Year, month and day of a number of days since the epoch, in the Gregorian calendar. Years are counted from March,
/// so that the leap day is the last of its year and months have a regular length of 153 days in five.
fn civil(days: i64) -> (i64, i64, i64) {
    const FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    const CENTURIES_4: i64 = 146_097;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let (era, day) = (days.div_euclid(CENTURIES_4), days.rem_euclid(CENTURIES_4));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_times_print_in_utc_with_microseconds() {
        for (micros, text) in [
            (0, "1970-01-01 00:00:00.000000"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000000"),
            (951_868_799_999_999, "2000-02-29 23:59:59.999999"),
            (1_709_251_199_000_001, "2024-02-29 23:59:59.000001"),
            (4_102_444_800_000_000, "2100-01-01 00:00:00.000000"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00.000000"),
            (-1, "1969-12-31 23:59:59.999999"),
        ] {
            assert_eq!(utc_text(micros), text);
        }
    }
}
