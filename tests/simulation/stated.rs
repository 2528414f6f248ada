//! What is stated of a table at a sink is true, whenever something becomes durable or is applied.
//!
//! The product says it: the table's record, as the log has it, and what the delivery keeps of the table at the sink, come to the
//! state that `status` shows. Where that is *complete*, the copy is the table at the place that the sink has applied, and readers see it.

use std::collections::{BTreeMap, BTreeSet};

use replicator::codec::state::State as _;
use replicator::codec::stored::{self, TABLE};
use replicator::deliver::TableAtSink;
use replicator::table::{State, TableRecord};
use replicator::telemetry::StateStatus;

use super::captured::Captured;
use super::copies::difference;
use super::daemon::{Finding, failed};
use super::log::SimLog;
use super::server::Server;
use super::sink::Sink;
use super::tables::Name;
use super::trace;

/// The records of the tables, as the log has them.
#[derive(Debug, Default)]
pub struct Stated {
    records: BTreeMap<Name, (Vec<u8>, TableRecord)>,
    /// Tables whose records are others than before, since this was last asked.
    changed: BTreeSet<Name>,
}

impl Stated {
    /// Something has become durable. Returns the tables that are left out by doubt, before or after that.
    pub fn look(&mut self, log: &SimLog) -> Result<BTreeSet<Name>, Finding> {
        let mut left_out: BTreeSet<Name> = self.all_left_out().collect();
        for name in Name::capturable() {
            let bytes = log.values().get(&TABLE.of_table(&name.table())).map_err(|error| error.to_string())?;
            if self.records.get(&name).map(|(bytes, _)| bytes) == bytes.as_ref() {
                continue;
            }
            self.changed.insert(name);
            match bytes {
                None => drop(self.records.remove(&name)),
                Some(bytes) => {
                    let record = stored::decode(&bytes).map_err(failed)?;
                    trace::note(|| format!("record of {name}: {record:?}"));
                    self.records.insert(name, (bytes, record));
                }
            }
        }
        left_out.extend(self.all_left_out());
        Ok(left_out)
    }

    /// Tables whose records are others than before, since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.changed)
    }

    fn all_left_out(&self) -> impl Iterator<Item = Name> {
        let is_left_out = |record: &TableRecord| record.left_out.is_some() && record.nature().is_none();
        self.records.iter().filter(move |(_, (_, record))| is_left_out(record)).map(|(name, _)| *name)
    }

    /// Whether the log has it that a table is captured.
    pub fn is_captured(&self, name: Name) -> bool {
        self.records.get(&name).is_some_and(|(_, record)| record.is_captured())
    }

    /// Whether any table is said to be unreadable.
    pub fn has_unreadable(&self) -> bool {
        self.records.values().any(|(_, record)| record.unreadable.is_some())
    }

    /// Captured tables that there are, and that are left out by doubt.
    pub fn left_out<'s>(&'s self, captured: Captured, server: &'s Server) -> impl Iterator<Item = Name> + use<'s> {
        self.all_left_out().filter(move |name| captured.captures(*name) && server.now().tables.contains_key(name))
    }

    /// What `status` says of a table at a sink.
    fn of(&self, name: Name, sink: &Sink, log: &SimLog) -> StateStatus {
        let record = self.records.get(&name).map(|(_, record)| record);
        let at = sink.tables.get(&name.table()).map(TableAtSink::shown).unwrap_or_default();
        let is_beside_old = sink.copies.all.get(&name).is_some_and(|copy| copy.is_beside_old);
        let stated = StateStatus::at_sink(record, (sink.name, sink.lsn(log)), &at, None);
        stated.behind(is_beside_old.then(|| sink.lsn(log)))
    }

    /// Checks what is stated of a table at a sink.
    pub fn check(&self, name: Name, sink: &Sink, log: &SimLog, server: &Server) -> Result<(), Finding> {
        if self.of(name, sink, log).state != Some(State::Complete) {
            return Ok(());
        }
        let place = sink.place();
        let Some(table) = server.state(place).tables.get(&name) else {
            return Err(format!("{name} is complete at sink {}, and there is none after entry {place}", sink.name));
        };
        let copy = sink.copies.all.get(&name).cloned().unwrap_or_default();
        // What a statement made of the table comes with its next rows, or with an answer.
        let is_same = if copy.defined >= table.reshaped {
            *table.rows == copy.rows
        } else {
            copy.is_unmatched || table.rows.values().sum::<u32>() == copy.rows.values().sum::<u32>()
        };
        // The server kept rows that it took back in the binlog; the doubt about that comes with an answer.
        if is_same || server.has_undone(table.number, copy.replaced, place) {
            return Ok(());
        }
        Err(format!(
            "{name} is said to be complete at sink {} and is not, after entry {place}: {}",
            sink.name,
            difference(&table.rows, &copy.rows)
        ))
    }

    /// At rest, every captured table that there is is complete at a sink.
    pub fn compare(&self, captured: Captured, sink: &Sink, log: &SimLog, server: &Server) -> Result<(), Finding> {
        for name in captured.names().filter(|name| server.now().tables.contains_key(name)) {
            let status = self.of(name, sink, log);
            let record = self.records.get(&name).map(|(_, record)| record);
            if status.state != Some(State::Complete) {
                let at = sink.tables.get(&name.table());
                return Err(format!(
                    "{name} is at rest and not complete at sink {}: {status:?}, {record:?}, {at:?}",
                    sink.name
                ));
            }
        }
        Ok(())
    }
}
