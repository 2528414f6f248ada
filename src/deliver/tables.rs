//! What became of each table at a sink, stored with the sink's cursor.
//!
//! The rows of a round are counted twice, on both sides of the hand-over: by the delivery loop from the headers of
//! the frames, and by the sink from what it took and what its target acknowledged. Where the two differ the table is
//! in doubt ([`super::doubt`]). A doubt is durable in the log before it is reported, and stays there until the table
//! is replaced: no crash forgets a doubt that was reported.
//!
//! The target commits before the log does. A crash between the two loses what the target reported of that round, and
//! with it a doubt that would have come of it: its rows are counted from the log as *recovered* and are not judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use wal::{Lsn, Reader};

use super::doubt::judge;
use super::tally::{Ours, TableEvent, Tally};
use crate::codec::catalog::Catalog;
use crate::codec::stored::{self, Entry, Record, SINK_ROWS, encode};
use crate::error::Failure;
use crate::model::{RowCounts, SchemaId, SinkRows, TableName};
use crate::sink::StoppedTable;
use crate::table::{Complete, Read, TableRecord};
use crate::telemetry::SinkTableLive;

/// Why a copy is read again that was not whole when its sink's cursor was dropped.
const NOT_WHOLE: &str = "the copy was not whole when the sink's cursor was dropped";

/// What the reason of a doubt about a table begins with that the configuration kept from the sink.
const CAME_IN: &str = "the sink did not get it until here: ";

/// Whether a doubt is because somebody has configured the sink otherwise.
pub fn is_configured(doubt: &str) -> bool {
    doubt.starts_with(CAME_IN)
}

/// A read of a table that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// Of every row.
    Whole,
    /// Of a part of the rows, or of every row without the sink getting all of them.
    Part,
}

/// One table at one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableAtSink {
    /// Its rows.
    pub rows: SinkRows,
    /// Where the read ended after which the sink has every row; `None` while that is not known.
    pub whole_since: Option<Lsn>,
    /// The read that has begun and not ended.
    pub reading: Option<Reading>,
    /// Why the table may not be here what it is at the source; until it is replaced.
    pub doubt: Option<String>,
    /// What happened to some of its rows is not known, and the read that brings them has not begun.
    pub in_gap: bool,
    /// It does not reach the sink, which is configured so.
    pub apart: Option<Apart>,
}

/// A table that does not reach a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// Why.
    pub why: String,
    /// The schema because of which that is so; `None`: it is so because of its name.
    pub schema: Option<SchemaId>,
}

impl Apart {
    /// Whether it is so because of the table's name.
    pub fn is_by_name(&self) -> bool {
        self.schema.is_none()
    }
}

impl Record for TableAtSink {
    const ENTRY: &'static Entry = &SINK_ROWS;
}

impl TableAtSink {
    /// Whether the sink has every row that the source has, as far as the log says.
    fn is_complete(&self) -> bool {
        self.whole_since.is_some() && self.reading.is_none() && !self.in_gap
    }

    /// The sink's cursor goes: why the copy that it leaves may not be what the table was up to there.
    pub fn doubt_left(self) -> Option<String> {
        let is_complete = self.is_complete();
        self.doubt.or_else(|| (!is_complete).then(|| NOT_WHOLE.to_owned()))
    }

    /// The sink is there again with its target, which has what the log had of it up to `at`. `record`: what the log knows of the table.
    fn come_back(&mut self, record: &TableRecord, sink: &str, at: Lsn) {
        if self.apart.is_some() {
            // It does not reach the sink.
            self.doubt = None;
            return;
        }
        self.whole_since = match record.complete {
            Some(Complete::Whole(since)) if since <= at && self.doubt.is_none() => Some(since),
            _ => None,
        };
        let is_read = |read: &&Read| read.has_begun() && read.is_whole() && read.audience.includes(sink);
        self.reading = record.read.as_ref().filter(is_read).map(|_| Reading::Whole);
        let is_known = self.whole_since.is_some() || self.reading.is_some() || self.doubt.is_some();
        if !is_known && matches!(record.complete, Some(Complete::Whole(_))) {
            // It was made whole further on than the sink is, by a read whose beginning the sink may not have had.
            self.doubt = Some(NOT_WHOLE.to_owned());
        }
    }

    /// As the status has it.
    pub fn shown(&self) -> SinkTableLive {
        SinkTableLive {
            rows: self.rows,
            doubt: self.doubt.clone(),
            whole_since: self.whole_since,
            is_reading: self.reading.is_some() || self.in_gap,
            apart: self.apart.as_ref().map(|apart| apart.why.clone()),
        }
    }

    /// It reaches the sink from here on: what came of it before is not there.
    fn come_in(&mut self) {
        if let Some(Apart { why, schema: _ }) = self.apart.take() {
            self.doubt = Some(format!("{CAME_IN}{why}"));
            self.whole_since = None;
        }
    }

    /// Rows of it did not reach the target.
    fn lose(&mut self) {
        self.whole_since = None;
        self.reading = self.reading.map(|_| Reading::Part);
    }
}

/// Every table that a sink has a record of.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn tables_at(reader: &Reader, sink: &str) -> Result<Vec<(TableName, TableAtSink)>, Failure> {
    stored::of_sink_tables(reader, sink)
}

/// The tables of one sink.
#[derive(Debug)]
pub struct Tables {
    sink: String,
    all: HashMap<TableName, TableAtSink>,
}

/// What a round has changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// The tables.
    pub(super) tables: BTreeSet<TableName>,
    /// Tables that came into doubt, with the reason.
    pub(super) doubts: Vec<(TableName, String)>,
}

/// What a round has of one table.
#[derive(Debug, Default)]
struct InRound {
    delivered: u64,
    not_theirs: u64,
    left_out: u64,
    reported: RowCounts,
    has_event: bool,
    is_replaced: bool,
}

impl Tables {
    pub(super) fn load(reader: &Reader, sink: &str) -> Result<Self, Failure> {
        Ok(Self { sink: sink.to_owned(), all: tables_at(reader, sink)?.into_iter().collect() })
    }

    /// Every table with its record.
    pub fn iter(&self) -> impl Iterator<Item = (&TableName, &TableAtSink)> {
        self.all.iter()
    }

    /// A sink that has no record of any table.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned(), all: HashMap::new() }
    }

    /// The record of a table.
    pub fn get(&self, table: &TableName) -> Option<&TableAtSink> {
        self.all.get(table)
    }

    /// Whether the copy of a table is filled from nothing by a read that has begun, after the `events` of a round that has not settled.
    pub(super) fn is_filled<'e>(&self, table: &TableName, events: impl Iterator<Item = &'e TableEvent>) -> bool {
        let mut alone = Self::new(&self.sink);
        if let Some(at) = self.get(table) {
            alone.all.insert(table.clone(), at.clone());
        }
        for event in events.filter(|event| event.is_about(table)) {
            alone.happened(event.clone());
        }
        alone.get(table).is_some_and(|at| {
            at.reading == Some(Reading::Whole) && at.whole_since.is_none() && at.doubt.is_none() && !at.in_gap
        })
    }

    /// The record of a table, made if it is new.
    pub fn entry(&mut self, table: &TableName) -> &mut TableAtSink {
        self.all.entry(table.clone()).or_default()
    }

    /// The sink is there again with its target, which has the log up to `at`. `records`: what the log knows of tables.
    pub fn come_back(&mut self, records: &[(TableName, TableRecord)], at: Lsn) {
        let captured: BTreeSet<&TableName> =
            records.iter().filter(|(_, record)| record.is_captured()).map(|(table, _)| table).collect();
        for (table, copy) in &mut self.all {
            if !captured.contains(table) {
                // It is gone, or is read by itself when it is captured again.
                copy.doubt = None;
            }
        }
        for (table, record) in records {
            self.all.entry(table.clone()).or_default().come_back(record, &self.sink, at);
        }
    }

    /// Adds a round that has settled: what its frames held, and what the sink `reported` of it. Tables in `stopped`
    /// are not judged: they are known to differ from their source.
    pub(super) fn settle(
        &mut self,
        tally: Tally,
        reported: Vec<(TableName, RowCounts)>,
        catalog: &mut Catalog,
        stopped: &BTreeMap<TableName, StoppedTable>,
    ) -> Result<Changed, Failure> {
        let mut round: BTreeMap<TableName, InRound> = BTreeMap::new();
        for (id, ours) in tally.ours {
            let in_round = round.entry(catalog.resolve(id)?.schema().name.clone()).or_default();
            let counter = match ours {
                Ours { apart: true, .. } => &mut in_round.not_theirs,
                Ours { left_out: true, .. } => &mut in_round.left_out,
                _ => &mut in_round.delivered,
            };
            *counter += ours.rows;
        }
        for (id, rows) in tally.not_theirs {
            round.entry(catalog.resolve(id)?.schema().name.clone()).or_default().not_theirs += rows;
        }
        for (table, counts) in reported {
            round.entry(table).or_default().reported.add(counts);
        }
        let mut changed = Changed::default();
        for event in &tally.events {
            let in_round = round.entry(event.table().clone()).or_default();
            in_round.has_event = true;
            in_round.is_replaced |=
                matches!(event, TableEvent::Replaced { .. } | TableEvent::Created { .. } | TableEvent::Gone { .. });
        }
        let was_complete: BTreeSet<TableName> = round
            .iter()
            .filter(|(table, in_round)| {
                !in_round.has_event && self.all.get(*table).is_some_and(TableAtSink::is_complete)
            })
            .map(|(table, _)| table.clone())
            .collect();
        for event in tally.events {
            let table = event.table().clone();
            let doubt = |tables: &Self| tables.get(&table).and_then(|at| at.doubt.clone());
            let before = doubt(self);
            changed.tables.extend(self.happened(event));
            if let (None, Some(why)) = (before, doubt(self)) {
                changed.doubts.push((table, why));
            }
        }
        for (table, InRound { delivered, not_theirs, left_out, reported, is_replaced, .. }) in round {
            let at = self.entry(&table);
            at.rows.delivered += delivered;
            at.rows.not_theirs += not_theirs;
            at.rows.left_out += left_out;
            at.rows.sink.add(reported);
            let is_stopped = stopped.contains_key(&table);
            // A replace releases what was stopped: what was skipped before it in the round, it brings. Of a table that is gone, nothing is missing.
            if reported.skipped > 0 && (is_stopped || !is_replaced) {
                at.lose();
            }
            if !is_stopped
                && at.doubt.is_none()
                && let Some(why) = judge(delivered, &reported, was_complete.contains(&table))
            {
                at.doubt = Some(why.clone());
                changed.doubts.push((table.clone(), why));
            }
            changed.tables.insert(table);
        }
        Ok(changed)
    }

    /// Takes in what happened to a table; returns the names whose records it changed.
    pub fn happened(&mut self, event: TableEvent) -> Vec<TableName> {
        match event {
            TableEvent::ReadBegun { table, whole } => {
                let at = self.entry(&table);
                at.reading = Some(if whole { Reading::Whole } else { Reading::Part });
                at.in_gap = false;
                vec![table]
            }
            TableEvent::ReadFinished { table, lsn } => {
                let at = self.entry(&table);
                if at.reading.take() == Some(Reading::Whole) {
                    at.whole_since = Some(lsn);
                }
                vec![table]
            }
            TableEvent::Created { table, lsn } => {
                let at = self.entry(&table);
                if at.apart.is_some() {
                    // What the sink has under the name is of another table, and was not followed.
                    at.reading = None;
                    at.come_in();
                    return vec![table];
                }
                at.whole_since = Some(lsn);
                // A read of it that was under way has ended with what was there before.
                at.reading = None;
                at.in_gap = false;
                vec![table]
            }
            TableEvent::Replaced { table } => {
                let at = self.entry(&table);
                at.whole_since = None;
                at.doubt = None;
                at.in_gap = false;
                at.apart = None;
                // What was lost since the read began comes with what replaces it; a new sink may not have seen it begin.
                at.reading = Some(Reading::Whole);
                vec![table]
            }
            TableEvent::Doubted { table } => {
                self.entry(&table).in_gap = true;
                vec![table]
            }
            TableEvent::Apart { table, apart } => {
                let at = self.entry(&table);
                *at = TableAtSink { rows: at.rows, apart: Some(apart), ..TableAtSink::default() };
                vec![table]
            }
            TableEvent::Back { table } => {
                self.entry(&table).come_in();
                vec![table]
            }
            TableEvent::Distrusted { table, why } => {
                let at = self.entry(&table);
                at.doubt.get_or_insert(why);
                vec![table]
            }
            TableEvent::Lost { table } => {
                self.entry(&table).lose();
                vec![table]
            }
            TableEvent::Gone { table } => {
                let at = self.entry(&table);
                *at = TableAtSink { rows: at.rows, ..TableAtSink::default() };
                vec![table]
            }
            TableEvent::Renamed { from, to } => {
                let old = self.entry(&from);
                let moved = TableAtSink { rows: SinkRows::default(), ..old.clone() };
                *old = TableAtSink { rows: old.rows, ..TableAtSink::default() };
                // Row counters belong to a name, as those of the source do.
                let new = self.entry(&to);
                *new = TableAtSink { rows: new.rows, ..moved };
                vec![from, to]
            }
        }
    }

    /// The state entries of tables, to be stored with the cursor.
    pub(super) fn state<'t>(
        &self,
        tables: impl IntoIterator<Item = &'t TableName>,
    ) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
        let mut state = Vec::new();
        for table in tables {
            if let Some(at) = self.all.get(table) {
                state.push((SINK_ROWS.of_sink_table(&self.sink, table), Some(encode(at)?)));
            }
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;
    use crate::model::ReplacedValues;

    #[test]
    fn what_became_of_a_table_at_a_sink_is_stored_as_committed() {
        let sink = RowCounts {
            taken: 10,
            acknowledged: 11,
            netted: 2,
            split: 3,
            unmatched: 4,
            skipped: 5,
            recovered: 70_000,
            ruled_out: 12,
            dead_lettered: 13,
            replaced: ReplacedValues { zero_dates: 14, invalid_text: 15, unconvertible: 16 },
            sent: 8,
        };
        let rows = SinkRows { delivered: 20, not_theirs: 300, left_out: 6, sink, before: 1000 };
        let whole = TableAtSink { rows, whole_since: Some(Lsn::new(9)), ..TableAtSink::default() };
        let reading = |reading| TableAtSink { reading: Some(reading), ..TableAtSink::default() };
        let doubt = Some("a delete found no row".to_owned());
        fixture::check(&[
            ("new", TableAtSink::default()),
            ("whole", whole),
            ("reading_whole", reading(Reading::Whole)),
            ("reading_part", reading(Reading::Part)),
            ("in_a_gap", TableAtSink { in_gap: true, ..TableAtSink::default() }),
            (
                "apart",
                TableAtSink {
                    apart: Some(Apart { why: "no key".to_owned(), schema: Some(SchemaId(7)) }),
                    ..TableAtSink::default()
                },
            ),
            ("in_doubt", TableAtSink { doubt, ..TableAtSink::default() }),
        ]);
    }

    #[test]
    fn a_copy_in_a_gap_is_not_shown_as_complete_until_the_read_of_it_has_ended() {
        let table = TableName::new("d", "t");
        let mut tables = Tables::new("s");
        *tables.entry(&table) = TableAtSink { whole_since: Some(Lsn::new(1)), ..TableAtSink::default() };
        let mut shown = |event| {
            tables.happened(event);
            tables.entry(&table).shown().is_reading
        };
        assert!(shown(TableEvent::Doubted { table: table.clone() }), "some keys are not known, and not read yet");
        assert!(shown(TableEvent::ReadBegun { table: table.clone(), whole: false }));
        assert!(!shown(TableEvent::ReadFinished { table: table.clone(), lsn: Lsn::new(9) }));
    }

    #[test]
    fn a_copy_that_was_made_whole_further_on_than_its_sink_is_when_that_comes_back_is_read_again() {
        let record = |since| TableRecord { complete: Some(Complete::Whole(Lsn::new(since))), ..TableRecord::default() };
        let back = |mut copy: TableAtSink, record: &TableRecord| {
            copy.come_back(record, "s", Lsn::new(10));
            copy
        };
        let before = back(TableAtSink::default(), &record(10));
        assert_eq!((before.whole_since, before.doubt), (Some(Lsn::new(10)), None));
        let further_on = back(TableAtSink::default(), &record(11));
        assert_eq!((further_on.whole_since, further_on.doubt.as_deref()), (None, Some(NOT_WHOLE)));

        let cut_short = TableAtSink { reading: Some(Reading::Whole), ..TableAtSink::default() };
        let left = TableAtSink { doubt: cut_short.doubt_left(), ..TableAtSink::default() };
        assert_eq!(back(left, &record(10)).whole_since, None, "the log was whole, the copy was not");
        let latest = TableRecord { complete: Some(Complete::Changes(Lsn::new(1))), ..TableRecord::default() };
        assert_eq!(back(TableAtSink::default(), &latest).doubt, None, "what was there before is read nowhere");
    }
}
