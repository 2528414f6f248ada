//! The live records of the captured tables, as ingest wrote them down last, and how the readers of tables get on.
//!
//! What a table is, is said by its record alone ([`crate::table`]): nothing here is a second opinion. A reader adds what is
//! not worth storing (its rate, the error that it tries again after).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wal::Lsn;

use super::lock;
use crate::codec::frame::Audience;
use crate::model::TableName;
use crate::table::{Read, State, TableRecord};

/// A record, and since when its table is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLive {
    /// The record.
    pub record: Arc<TableRecord>,
    /// When the table was first seen in this run, or was last seen to be no longer complete; microseconds since the epoch.
    pub incomplete_since: i64,
}

/// How the reader of a table gets on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadLive {
    /// Rows that the server estimates the table to have.
    pub estimated_rows: u64,
    /// Rows that were read and are not in the log yet, of a table that is read whole.
    pub spooled_rows: u64,
    /// Rows read per second, lately.
    pub rows_per_second: Option<f64>,
    /// How long the rest will take at that rate.
    pub eta: Option<Duration>,
    /// The error after which it is tried again.
    pub error: Option<String>,
}

/// A table that is being read, or is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadShown {
    /// The table.
    pub table: TableName,
    /// Its state: reading, or unreadable.
    pub state: State,
    /// The read has begun.
    pub running: bool,
    /// Why it is read.
    pub why: String,
    /// The sinks that it is read for; `None`: all.
    pub sinks: Option<Vec<String>>,
    /// Rows in the log; of a table that is read whole, those that were read, until more of them are in the log.
    pub rows: u64,
    /// How its reader gets on.
    pub reader: ReadLive,
}

/// A record that is shown once the log has everything up to an LSN.
#[derive(Debug)]
struct Coming {
    at: Lsn,
    table: TableName,
    record: TableRecord,
    micros: i64,
}

/// The records of all tables.
#[derive(Debug, Default)]
pub struct RecordsLive {
    tables: Mutex<BTreeMap<TableName, RecordLive>>,
    /// In the order of the log.
    coming: Mutex<VecDeque<Coming>>,
    readers: Mutex<BTreeMap<TableName, ReadLive>>,
}

impl RecordsLive {
    /// Sets the record of a table once the log is durable up to `at`, at a time of ours. Up to `durable` it is.
    pub fn set_once_durable(&self, table: &TableName, record: TableRecord, (at, durable): (Lsn, Lsn), now_micros: i64) {
        lock(&self.coming).push_back(Coming { at, table: table.clone(), record, micros: now_micros });
        self.durable(durable);
    }

    /// The log is durable up to here.
    pub fn durable(&self, lsn: Lsn) {
        // Held until they are set: the order is that of the log.
        let mut coming = lock(&self.coming);
        while let Some(Coming { table, record, micros, .. }) = coming.pop_front_if(|coming| coming.at <= lsn) {
            self.set(&table, record, micros);
        }
    }

    /// Sets the record of a table at a time of ours. One that says nothing removes the table.
    pub fn set(&self, table: &TableName, record: TableRecord, now_micros: i64) {
        let mut tables = lock(&self.tables);
        if !record.is_known() {
            tables.remove(table);
            drop(tables);
            return self.reader(table, None);
        }
        let was_complete = |before: &RecordLive| is_complete(&before.record);
        let incomplete_since = match tables.get(table) {
            Some(before) if !was_complete(before) || is_complete(&record) => before.incomplete_since,
            Some(_) | None => now_micros,
        };
        let is_read = record.read.is_some();
        tables.insert(table.clone(), RecordLive { record: Arc::new(record), incomplete_since });
        drop(tables);
        if !is_read {
            self.reader(table, None);
        }
    }

    /// Sets how the reader of a table gets on; `None`: it has none.
    pub fn reader(&self, table: &TableName, reader: Option<ReadLive>) {
        let mut readers = lock(&self.readers);
        match reader {
            Some(reader) => drop(readers.insert(table.clone(), reader)),
            None => drop(readers.remove(table)),
        }
    }

    /// The records now.
    pub fn tables(&self) -> BTreeMap<TableName, RecordLive> {
        lock(&self.tables).clone()
    }

    /// The tables that are being read or are to be, those that have begun first.
    pub fn reads(&self) -> Vec<ReadShown> {
        let readers = lock(&self.readers).clone();
        let shown = |(table, live): (TableName, RecordLive)| {
            let read = live.record.read.as_ref()?;
            let state = live.record.state(None)?.state;
            let reader = readers.get(&table).cloned().unwrap_or_default();
            Some(shown(table, state, read, reader))
        };
        let mut reads: Vec<ReadShown> = self.tables().into_iter().filter_map(shown).collect();
        reads.sort_by_key(|read| !read.running);
        reads
    }
}

fn is_complete(record: &TableRecord) -> bool {
    record.state(None).is_some_and(|stated| stated.state == State::Complete)
}

fn shown(table: TableName, state: State, read: &Read, reader: ReadLive) -> ReadShown {
    ReadShown {
        table,
        state,
        running: read.has_begun(),
        why: read.why.clone(),
        sinks: match &read.audience {
            Audience::All => None,
            Audience::Sinks(sinks) => Some(sinks.clone()),
        },
        rows: read.rows.max(reader.spooled_rows),
        reader,
    }
}

#[cfg(test)]
mod tests {
    use wal::Lsn;

    use super::*;
    use crate::table::{Ask, At, Event, Reach, step};

    const AT: At = At::new(Lsn::new(5), 0);

    fn met() -> TableRecord {
        step(&TableRecord::default(), Event::Met { initial: true }, AT).0
    }

    fn finished(record: &TableRecord) -> TableRecord {
        let number = record.read.as_ref().unwrap().number;
        let begun = step(record, Event::Begun { number, at_once: false, is_known: true }, AT).0;
        step(&begun, Event::Finished { number }, AT).0
    }

    fn reads(records: &RecordsLive) -> Vec<ReadShown> {
        records.reads()
    }

    fn only(records: &RecordsLive) -> RecordLive {
        records.tables().into_values().next().unwrap()
    }

    #[test]
    fn a_record_that_says_nothing_removes_its_table() {
        let (records, table) = (RecordsLive::default(), TableName::new("shop", "users"));
        records.set(&table, met(), 1);
        records.reader(&table, Some(ReadLive { estimated_rows: 7, ..ReadLive::default() }));
        assert_eq!(reads(&records)[0].reader.estimated_rows, 7);
        let gone = step(&met(), Event::Dropped, AT).0;
        assert_ne!(gone, TableRecord::default(), "it still counts its reads");
        records.set(&table, gone, 2);
        assert!(records.tables().is_empty());
        records.set(&table, met(), 3);
        assert_eq!(reads(&records)[0].reader, ReadLive::default());
    }

    #[test]
    fn what_a_group_makes_of_a_table_is_shown_once_the_group_is_durable() {
        let (records, table) = (RecordsLive::default(), TableName::new("shop", "users"));
        records.set_once_durable(&table, met(), (Lsn::new(5), Lsn::new(5)), 1);
        records.set_once_durable(&table, finished(&met()), (Lsn::new(9), Lsn::new(5)), 2);
        assert_eq!(reads(&records).len(), 1, "its end is not in the log yet");
        records.durable(Lsn::new(8));
        assert_eq!(reads(&records).len(), 1);
        records.durable(Lsn::new(9));
        assert_eq!(reads(&records).len(), 0);
    }

    #[test]
    fn a_table_is_incomplete_since_the_read_was_wanted_and_not_since_it_began() {
        let (records, table) = (RecordsLive::default(), TableName::new("shop", "users"));
        records.set(&table, met(), 10);
        assert_eq!(only(&records).incomplete_since, 10);
        let done = finished(&met());
        records.set(&table, done.clone(), 20);
        assert_eq!(only(&records).incomplete_since, 10, "kept: sinks have yet to apply what was read");
        let wanted = step(&done, Event::Asked(Ask::new(Reach::Replace, "asked")), AT).0;
        records.set(&table, wanted.clone(), 30);
        let number = wanted.read.as_ref().unwrap().number;
        records.set(&table, step(&wanted, Event::Begun { number, at_once: false, is_known: true }, AT).0, 40);
        assert_eq!(only(&records).incomplete_since, 30);
    }
}
