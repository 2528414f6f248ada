//! When the counts of a round say that a table may not be at the sink what it is at the source.
//!
//! Three things are counted independently of each other: the rows that the sink was handed, from the sections as they
//! are encoded; the rows that it took, while it takes them; and what the target acknowledged. Where they differ, it
//! is not known which row is missing or doubled, so the table is read again with replace.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use wal::{Lsn, Reader};

use super::tables::tables_at;
use super::walk::walk;
use crate::codec::catalog::{Catalog, Resolved};
use crate::codec::frame::{FrameHeader, TableChange};
use crate::error::Failure;
use crate::model::{RowCounts, TableName};
use crate::table::Reach;

/// A table that may not be at a sink what it is at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The sink.
    pub sink: String,
    /// The table.
    pub table: TableName,
    /// The numbers that do not agree, or what the configuration says.
    pub why: String,
    /// The configuration is another one: somebody wants the read.
    pub is_configured: bool,
}

/// What a sink wishes of the source.
#[derive(Debug)]
pub enum Wish {
    /// That a table is read again for it.
    Doubt {
        /// Which, and why.
        doubt: Doubt,
        /// Told once the log holds that wish.
        stored: Option<oneshot::Sender<()>>,
    },
    /// That rows are read again for it, of which it has dead letters.
    Rows {
        /// The sink.
        sink: String,
        /// The table.
        table: TableName,
        /// Which of its rows.
        reach: Reach,
        /// Told once the log holds that wish.
        stored: oneshot::Sender<()>,
    },
    /// That what the log has not for it is read for it.
    NewSink {
        /// The sink.
        sink: String,
        /// In place of what it has.
        replaces: bool,
        /// Tables that it does not get.
        except: Vec<TableName>,
        /// Told once the log holds that wish.
        stored: oneshot::Sender<()>,
    },
}

/// The tables that are in doubt at a sink and that nothing in the log replaces, with the reason; by the names that they
/// have at the end of the log. The sink's cursor and the end of the log are `between`.
///
/// # Errors
/// When the log cannot be read, or a frame or a record is damaged.
pub fn doubts(reader: &Reader, sink: &str, between: (Lsn, Lsn)) -> Result<Vec<(TableName, String)>, Failure> {
    let tables = tables_at(reader, sink)?.into_iter().filter(|(_, at)| at.apart.is_none());
    let doubted = tables.filter_map(|(table, at)| Some((table, at.doubt?)));
    not_replaced(reader, sink, between, doubted.collect(), true)
}

/// Of tables that a sink needs again, those that nothing in the log replaces; by the names that they have at the end of the log.
///
/// A replace that the sink has not reached yet ends the need when it does. Whether the log has one is looked for in the
/// frames that the sink still has to get, and only if there is a need: that is cheaper than to read a table again.
/// `drop_ends` says whether a drop ends it as well: a table that is stopped may stay so over a drop.
///
/// # Errors
/// As [`doubts`].
pub(super) fn not_replaced(
    reader: &Reader,
    sink: &str,
    between: (Lsn, Lsn),
    mut doubted: BTreeMap<TableName, String>,
    drop_ends: bool,
) -> Result<Vec<(TableName, String)>, Failure> {
    if doubted.is_empty() {
        return Ok(Vec::new());
    }
    let mut catalog = Catalog::new(reader.clone());
    walk(reader, between, |_, frame| {
        let FrameHeader::Change { change, audience, .. } = &frame.header else { return Ok(()) };
        if !audience.includes(sink) {
            return Ok(());
        }
        match change {
            // Of a schema that is not decided it is not known whether the replace reaches the sink.
            TableChange::ReplaceBegin { table, schema } if doubted.contains_key(table) => {
                if matches!(catalog.resolve(*schema)?, Resolved::Known(_)) {
                    doubted.remove(table);
                }
            }
            TableChange::Drop { table } if drop_ends => drop(doubted.remove(table)),
            TableChange::Rename { from, to, .. } => {
                doubted.remove(to);
                if let Some(why) = doubted.remove(from) {
                    doubted.insert(to.clone(), why);
                }
            }
            TableChange::ReplaceBegin { .. }
            | TableChange::Drop { .. }
            | TableChange::Schema { .. }
            | TableChange::Truncate { .. }
            | TableChange::ReplaceEnd { .. }
            | TableChange::Gap { .. }
            | TableChange::LeftOut { .. } => {}
        }
        Ok(())
    })?;
    Ok(doubted.into_iter().collect())
}

/// What is wrong with the counts of one table in one round. `delivered` are the rows that the sink was handed;
/// `complete` says whether the sink had every row of the table during the whole round.
pub(super) fn judge(delivered: u64, reported: &RowCounts, complete: bool) -> Option<String> {
    let RowCounts {
        taken,
        acknowledged,
        netted,
        split,
        unmatched,
        skipped,
        recovered,
        ruled_out,
        dead_lettered,
        replaced: _,
        sent: _,
    } = *reported;
    if taken != delivered {
        return Some(format!("{delivered} row changes were delivered and the sink took {taken}"));
    }
    if !reported.balance() {
        return Some(format!(
            "of {taken} row changes taken the target acknowledged {acknowledged}, with {netted} netted, {split} split, {skipped} skipped, {ruled_out} ruled out, {dead_lettered} dead-lettered and {recovered} recovered"
        ));
    }
    if complete && unmatched > 0 {
        return Some(format!("{unmatched} deletes and updates found no row at the target"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_agree_are_no_doubt() {
        let whole = RowCounts { taken: 5, acknowledged: 5, netted: 1, split: 1, ..RowCounts::default() };
        assert_eq!(judge(5, &whole, true), None);
        let skipped = RowCounts { taken: 5, skipped: 5, ..RowCounts::default() };
        assert_eq!(judge(5, &skipped, false), None);
        assert_eq!(judge(0, &RowCounts::default(), true), None);
    }

    #[test]
    fn rows_that_the_sink_did_not_take_or_the_target_did_not_acknowledge_are_a_doubt() {
        let reported = RowCounts { taken: 4, acknowledged: 4, ..RowCounts::default() };
        assert_eq!(judge(5, &reported, false).unwrap(), "5 row changes were delivered and the sink took 4");
        assert_eq!(judge(3, &reported, false).unwrap(), "3 row changes were delivered and the sink took 4");
        let reported = RowCounts { taken: 4, acknowledged: 3, split: 1, ..RowCounts::default() };
        let why = "of 4 row changes taken the target acknowledged 3, with 0 netted, 1 split, 0 skipped, 0 ruled out, 0 dead-lettered and 0 recovered";
        assert_eq!(judge(4, &reported, false).unwrap(), why);
    }

    #[test]
    fn a_change_that_found_no_row_is_a_doubt_only_where_every_row_is_there() {
        let reported = RowCounts { taken: 4, acknowledged: 4, unmatched: 1, ..RowCounts::default() };
        assert_eq!(judge(4, &reported, false), None);
        assert_eq!(judge(4, &reported, true).unwrap(), "1 deletes and updates found no row at the target");
    }
}
