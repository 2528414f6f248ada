//! Copies the rows of a table that count into another one, inside the server.
//!
//! First in one statement with FINAL: the fastest way, and one whose memory grows with the table's parts and the width of its rows,
//! because FINAL reads all parts side by side. What is too much for the server (no memory, too long) is copied in slices
//! instead: ranges of the key, one thread, small blocks, and the newest version of each key looked up first. Their memory does not
//! grow with the table; where a slice is too much all the same, it is halved, up to [`MOST_PIECES`] of a range. What else may be gone
//! in a moment (too many parts) is waited for, because all slices before it would have to be copied again.
//!
//! The ranges' bounds are values of keys: no error and no log line has the statement of a slice.
//!
//! Nothing is lost or doubled by a statement that was refused half-way: a row that is copied twice is one row of one key and version.

use std::time::Duration;

use super::client::Client;
use super::error::{Reach, Refused};
use super::layout::{IS_DELETED, Layout, VERSION};
use super::names::{literal, quoted};
use super::types::{Base, Type};

/// Blocks of the server's usual size instead of those of an INSERT of rows, for as long as it takes.
const WHOLE: &str = "SETTINGS max_insert_block_size = 1048449, min_insert_block_size_rows = 1048449, \
     min_insert_block_size_bytes = 268402944, max_execution_time = 0";
/// One block of each column is held at a time, and few rows on their way into a part. 26.9 copied 1 GB from 30 parts so with 60 MB
/// of memory, where [`WHOLE`] took more than 1 GB.
const SLICED: &str = "SETTINGS max_threads = 1, max_insert_threads = 1, max_block_size = 8192, preferred_block_size_bytes = 262144, \
     max_read_buffer_size = 65536, max_insert_block_size = 16384, min_insert_block_size_rows = 16384, \
     min_insert_block_size_bytes = 4194304, max_execution_time = 0";
/// Rows from one bound of a range to the next, superseded ones included: the versions of their keys take some 30 MB.
const RANGE_ROWS: u64 = 250_000;
/// Slices that a range is cut into at most. Less memory than one of these takes is not enough for the table's single rows.
const MOST_PIECES: u32 = 64;
/// Waits between the tries of a slice, half a minute in all: parts are merged meanwhile, and a table that stays refused is soon tried
/// again from the start and counted.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// `SETTING_CONSTRAINT_VIOLATION`.
const NOT_ALLOWED: Option<u32> = Some(452);

/// What is copied where. All of it is SQL.
pub(super) struct Copy<'c> {
    /// The table that is filled, and the columns that are.
    pub(super) into: String,
    pub(super) columns: String,
    /// Their values, over the columns of the other table.
    pub(super) values: String,
    pub(super) from: String,
    /// What the table that is read looks like.
    pub(super) layout: &'c Layout,
    /// Which of the rows that count are left out.
    pub(super) only: Option<String>,
}

impl Copy<'_> {
    /// Copies.
    pub(super) async fn run(&self, client: &Client) -> Result<(), Refused> {
        let sql = self.whole();
        match execute(client, &sql).await {
            Err(refused) if refused.is_too_much() => {
                tracing::warn!(table = %self.from, error = %refused, "the table cannot be copied at once, copying it in slices");
                self.in_slices(client).await
            }
            done => done.map_err(|refused| refused.of_statement(&sql)),
        }
    }

    async fn in_slices(&self, client: &Client) -> Result<(), Refused> {
        let ranges = ranges(&self.bounds(client).await?);
        let mut pieces = 1;
        for (number, range) in ranges.iter().enumerate() {
            // A range is mostly like the one before it; those behind a single hard one are soon whole again.
            pieces = (pieces / 2).max(1);
            let (mut piece, mut tries) = (0, 0);
            while piece < pieces {
                let Err(refused) = execute(client, &self.slice(range, pieces, piece)).await else {
                    (piece, tries) = (piece + 1, 0);
                    continue;
                };
                match next(&refused, pieces, tries) {
                    // Those of this range that are copied are copied again, which changes nothing.
                    Next::Halve => {
                        (pieces, piece, tries) = (pieces * 2, 0, 0);
                        tracing::warn!(table = %self.from, pieces, error = %refused, "a slice is too large");
                    }
                    Next::Wait(pause) => {
                        tries += 1;
                        tracing::warn!(table = %self.from, ?pause, error = %refused, "a slice is refused, trying it again");
                        tokio::time::sleep(pause).await;
                    }
                    Next::GiveUp => {
                        let (number, ranges) = (number + 1, ranges.len());
                        let slice = format!("slice {number} of {ranges}, piece {} of {pieces}", piece + 1);
                        return Err(refused.of_slice(&self.whole(), &slice));
                    }
                }
            }
        }
        Ok(())
    }

    fn whole(&self) -> String {
        let Self { into, columns, values, from, .. } = self;
        let only = self.only.as_ref().map_or(String::new(), |only| format!(" WHERE {only}"));
        format!("INSERT INTO {into} ({columns}) {WHOLE} SELECT {values} FROM {from} FINAL{only}")
    }

    /// Part `piece` of `pieces` of the rows whose keys are in `range`.
    fn slice(&self, range: &[String], pieces: u32, piece: u32) -> String {
        let Self { into, columns, values, from, layout, .. } = self;
        let key = self.key();
        let mut place = range.to_vec();
        if pieces > 1 {
            place.push(format!("cityHash64({key}) % {pieces} = {piece}"));
        }
        let mut counts = place.clone();
        if layout.soft.is_none() {
            counts.push(format!("{} = 0", quoted(IS_DELETED)));
        }
        counts.extend(self.only.clone());
        let version = quoted(VERSION);
        counts.push(format!(
            "({key}, {version}) IN (SELECT {key}, max({version}) FROM {from}{} GROUP BY {key})",
            all(&place)
        ));
        format!("INSERT INTO {into} ({columns}) {SLICED} SELECT {values} FROM {from}{}", all(&counts))
    }

    fn key(&self) -> String {
        self.layout.key_columns().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// Values of the key's first column, in order, with about [`RANGE_ROWS`] rows from one to the next. Whatever they are, the
    /// ranges between them hold every row; a type whose text the server may read as another value has none.
    async fn bounds(&self, client: &Client) -> Result<Vec<String>, Refused> {
        let Some(first) = self.layout.key_columns().next() else { return Ok(Vec::new()) };
        let has_bounds =
            Type::parse(&first.ty).is_some_and(|ty| matches!(ty.base, Base::Int { .. } | Base::String { .. }));
        if !has_bounds {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT hex(toString(bound)) FROM (SELECT DISTINCT {} AS bound FROM {} WHERE rowNumberInAllBlocks() % {RANGE_ROWS} = 0 \
             ORDER BY bound) SETTINGS max_threads = 1, max_block_size = 8192, max_execution_time = 0",
            quoted(&first.name),
            self.from
        );
        let rows: Vec<(String,)> = match client.rows(&sql).await {
            // Pieces of one range take longer, but the copy that was refused is not made again for nothing.
            Err(refused) if refused.is_timeout() || refused.is_too_much() => {
                tracing::warn!(table = %self.from, error = %refused, "the bounds of slices cannot be looked up, the table is one range");
                return Ok(Vec::new());
            }
            rows => rows?,
        };
        let (name, ty) = (quoted(&first.name), literal(&first.ty));
        Ok(rows.into_iter().map(|(bound,)| format!("{name} >= CAST(unhex({}), {ty})", literal(&bound))).collect())
    }
}

/// What follows a slice that was refused.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The range in smaller pieces.
    Halve,
    /// The same piece, after a pause.
    Wait(Duration),
    GiveUp,
}

/// For a piece of a range of `pieces` that has been waited for `tries` times.
fn next(refused: &Refused, pieces: u32, tries: usize) -> Next {
    if refused.is_too_much() {
        return if pieces < MOST_PIECES { Next::Halve } else { Next::GiveUp };
    }
    match PAUSES.get(tries) {
        Some(pause) if refused.is_answer_for_now() => Next::Wait(*pause),
        _ => Next::GiveUp,
    }
}

/// The conditions of each range: below the first bound, from each to the next, from the last on.
fn ranges(bounds: &[String]) -> Vec<Vec<String>> {
    let below = |bound: Option<&String>| bound.map(|bound| format!("NOT ({bound})"));
    let mut ranges = vec![below(bounds.first()).into_iter().collect()];
    for (at, bound) in bounds.iter().enumerate() {
        ranges.push([Some(bound.clone()), below(bounds.get(at + 1))].into_iter().flatten().collect());
    }
    ranges
}

fn all(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

async fn execute(client: &Client, sql: &str) -> Result<(), Refused> {
    client.execute(sql, true).await.map_err(|mut refused| {
        if refused.code == NOT_ALLOWED {
            // The statement's own settings, not those of every request.
            refused.reach = Reach::Table;
        }
        refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::sink::clickhouse::layout::TargetColumn;

    fn layout(soft: Option<&str>) -> Layout {
        let column = |source, name: &str, ty: &str| TargetColumn { source, name: name.into(), ty: ty.into() };
        Layout {
            target: "t".into(),
            mode: Mode::Mirror,
            columns: vec![column(0, "k", "String"), column(1, "l", "Int8")],
            key: vec![0, 1],
            soft: soft.map(str::to_owned),
        }
    }

    fn copy(layout: &Layout) -> Copy<'_> {
        let text = str::to_owned;
        Copy { into: text("u"), columns: text("k"), values: text("k"), from: text("t"), layout, only: None }
    }

    #[test]
    fn ranges_hold_every_key_once() {
        let bounds = ["k >= 1".to_owned(), "k >= 5".to_owned()];
        assert_eq!(
            ranges(&bounds),
            [vec!["NOT (k >= 1)".to_owned()], vec!["k >= 1".into(), "NOT (k >= 5)".into()], vec!["k >= 5".into()]]
        );
        assert_eq!(ranges(&[]), [Vec::<String>::new()]);
    }

    #[test]
    fn a_slice_is_halved_for_memory_and_time_alone_and_waited_for_otherwise() {
        let refused = |text: &str| -> Refused { clickhouse::error::Error::BadResponse(text.to_owned()).into() };
        let memory = refused("Code: 241. DB::Exception: Query memory limit exceeded");
        assert_eq!(next(&memory, MOST_PIECES / 2, 9), Next::Halve);
        assert_eq!(next(&memory, MOST_PIECES, 0), Next::GiveUp);
        assert_eq!(next(&refused("Code: 159. DB::Exception: Timeout exceeded"), 1, 0), Next::Halve);
        let parts = refused("Code: 252. DB::Exception: Too many parts");
        let waits: Vec<_> = (0..PAUSES.len()).map(|tries| next(&parts, 1, tries)).collect();
        assert_eq!(waits, PAUSES.map(Next::Wait));
        assert_eq!(next(&parts, 1, PAUSES.len()), Next::GiveUp);
        assert_eq!(PAUSES.iter().sum::<Duration>(), Duration::from_secs(30));
        assert_eq!(next(&refused("Code: 60. DB::Exception: no such table"), 1, 0), Next::GiveUp);
        assert_eq!(next(&Refused::timed_out(Duration::from_secs(1)), 1, 0), Next::GiveUp);
    }

    #[test]
    fn a_slice_has_the_newest_version_of_its_keys_and_no_tombstone() {
        let hard = layout(None);
        let sql = copy(&hard).slice(&["k >= 1".to_owned()], 4, 3);
        let place = "k >= 1 AND cityHash64(`k`, `l`) % 4 = 3";
        let newest = format!(
            "(`k`, `l`, `_version`) IN (SELECT `k`, `l`, max(`_version`) FROM t WHERE {place} GROUP BY `k`, `l`)"
        );
        assert!(sql.ends_with(&format!("FROM t WHERE {place} AND `_is_deleted` = 0 AND {newest}")), "{sql}");
    }

    #[test]
    fn softly_deleted_rows_are_copied_unless_told_otherwise() {
        let soft = layout(Some("gone"));
        let sql = copy(&soft).slice(&[], 1, 0);
        assert!(sql.contains("SELECT k FROM t WHERE (`k`, `l`, `_version`) IN (SELECT"), "{sql}");
        let sql = Copy { only: Some("`gone` = 0".to_owned()), ..copy(&soft) }.slice(&[], 1, 0);
        assert!(sql.contains("FROM t WHERE `gone` = 0 AND (`k`"), "{sql}");
    }
}
