//! The tables of a running daemon: counters of both sides, and states by their records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wal::Lsn;

use super::{Live, RecordLive, SinkLive, SinkTableLive, SourceRows, StateStatus, TableStatus};
use crate::model::TableName;
use crate::table::State;

/// The tables at one moment.
pub(super) struct Tables {
    rows: Vec<(TableStatus, i64)>,
}

impl Tables {
    /// With each sink, what it has applied. That is read before what is appended.
    pub(super) fn of(live: &Live, sinks: &[(Arc<SinkLive>, Lsn)]) -> Self {
        let sinks: Vec<AtSink> = sinks.iter().map(|(sink, applied)| AtSink::of(sink, *applied)).collect();
        let mut tables: BTreeMap<TableName, SourceRows> =
            live.tables().into_iter().map(|(name, counts)| (name, counts.get())).collect();
        let records = live.records();
        // A table of which this process has read nothing may still have a state, or rows on their way.
        for name in sinks.iter().flat_map(|at| at.tables.keys()).chain(records.keys()) {
            tables.entry(name.clone()).or_default();
        }
        let cancelled = live.cancelled_reads();
        let row = |(name, counts): (TableName, SourceRows)| {
            let known = records.get(&name);
            let record = known.map(|known| &*known.record);
            let at_sinks = sinks.iter().map(|at| at.table(&name, known));
            let status = TableStatus::new(&name, counts, StateStatus::of(record), at_sinks);
            let reads = record.map_or(0, |record| record.reads);
            let cancelled_read = cancelled.get(&name).copied();
            (TableStatus { reads, cancelled_read, ..status }, known.map_or(0, |known| known.incomplete_since))
        };
        Self { rows: tables.into_iter().map(row).collect() }
    }

    /// How many captured tables are in each state at a sink.
    pub(super) fn counts(&self, sink: &str) -> BTreeMap<State, u64> {
        count_states(self.rows.iter().filter_map(|(table, _)| table.sinks.get(sink)?.stated.state))
    }

    /// Since when the table that has been read for the longest is incomplete at a sink; `None`: no table is being read for
    /// it.
    pub(super) fn incomplete_since(&self, sink: &str) -> Option<i64> {
        let is_read =
            |table: &TableStatus| table.sinks.get(sink).is_some_and(|at| at.stated.state == Some(State::Reading));
        self.rows.iter().filter(|(table, _)| is_read(table)).map(|(_, since)| *since).min()
    }

    pub(super) fn into_rows(self) -> Vec<TableStatus> {
        self.rows.into_iter().map(|(table, _)| table).collect()
    }
}

/// How many there are of each state.
pub(crate) fn count_states(states: impl Iterator<Item = State>) -> BTreeMap<State, u64> {
    let mut counts = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    counts
}

/// The tables of one sink.
struct AtSink {
    name: String,
    applied: Lsn,
    tables: BTreeMap<TableName, SinkTableLive>,
    stopped: HashMap<TableName, (Lsn, String)>,
    old_copies: BTreeMap<TableName, Lsn>,
}

impl AtSink {
    fn of(sink: &SinkLive, applied: Lsn) -> Self {
        let stopped = sink.stopped_tables().into_iter().map(|stop| (stop.table, (stop.since, stop.reason)));
        let (tables, old_copies) = (sink.tables(), sink.old_copies());
        Self { name: sink.name.clone(), applied, tables, stopped: stopped.collect(), old_copies }
    }

    fn table(&self, name: &TableName, known: Option<&RecordLive>) -> (String, SinkTableLive, StateStatus) {
        let live = self.tables.get(name).cloned().unwrap_or_default();
        let stopped = self.stopped.get(name).cloned();
        let record = known.map(|known| &*known.record);
        let stated = StateStatus::at_sink(record, (&self.name, self.applied), &live, stopped);
        let stated = stated.behind(self.old_copies.get(name).copied());
        (self.name.clone(), live, stated)
    }
}
