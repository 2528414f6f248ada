//! How a daemon starts and ends, and what an operator changes in between: which tables are captured, and which sinks there are.

use std::collections::BTreeMap;

use replicator::codec::stored::{SOURCE_POSITION, StoredPosition, encode};
use replicator::ingest;
use replicator::ingest::ledger::Log as _;
use replicator::model::TableName;
use replicator::source::mysql::schema::Flavour;
use replicator::table::{self, Presence, Started, Starting};

use super::coordinator::Coordinator;
use super::daemon::{Daemon, Finding, failed};
use super::doubting::doubts;
use super::log::{SimLog, Values};
use super::sinks::Wish;
use super::tables::Name;
use super::trace;
use super::world::World;

impl World {
    /// The daemon starts, with the configuration that there is now.
    pub(super) fn start(&mut self) -> Result<(), Finding> {
        if self.rng.percent(self.reconfigured) {
            self.reconfigure();
        }
        self.start_as_configured()
    }

    pub(super) fn start_as_configured(&mut self) -> Result<(), Finding> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
        trace::note(|| "daemon: starts".to_owned());
        self.audit.reconfigured(self.captured);
        let stored = log.values().clone();
        self.meet(&stored, &mut log)?;
        self.settings.filter = self.captured.filter();
        self.settings.sinks = self.sinks.configured();
        let mut coordinator = Coordinator::new(self.pace.clone());
        self.stated.look(&log)?;
        for wish in self.sinks.start(&log, &self.audit, &mut self.rng)? {
            match wish {
                Wish::Table(name, _) if !self.stated.is_captured(name) => {}
                wish => coordinator.wish(wish),
            }
        }
        self.time.start();
        let configured = (self.settings.clone(), self.captured);
        let daemon = self.daemon.insert(Daemon::start(log, &self.server, configured, coordinator)?);
        daemon.set_time(self.time);
        let names = Name::capturable().collect();
        self.sinks.check(&names, (daemon.log(), &self.server, &self.stated))
    }

    /// An operator changes the configuration.
    fn reconfigure(&mut self) {
        if self.rng.percent(50) {
            self.sinks.reconfigure(&mut self.rng);
        }
        let (names, others): (Vec<Name>, Vec<Name>) =
            Name::capturable().partition(|name| self.captured.captures(*name));
        if self.rng.percent(20) {
            self.settings.doubts = doubts(&mut self.rng);
            trace::note(|| format!("operator: of doubts, {:?}", self.settings.doubts));
        }
        let any = self.rng.weighted(&[(2, 0), (3, 1), (1, 2)]);
        for _ in 0..any {
            let of = if self.rng.percent(50) { &names } else { &others };
            let Some(name) = self.rng.pick(of).copied() else { continue };
            let captured = self.captured.with_other(name);
            let verb = if captured.captures(name) { "is captured again" } else { "is excluded" };
            trace::note(|| format!("operator: {name} {verb}"));
            self.captured = captured;
        }
    }

    /// What the real start does in `first_contact`.
    fn meet(&mut self, stored: &Values, log: &mut SimLog) -> Result<(), Finding> {
        let records = table::records(stored).map_err(failed)?;
        let skipped = self.rng.percent(self.skipped).then_some("the binlogs were purged");
        let found = self.found(&records, skipped.is_some());
        let end = self.server.place(self.server.end());
        let mut position = ingest::stored_position(stored).map_err(failed)?.ok_or("the log has no position")?;
        if let Some(why) = skipped {
            let entry = self.server.end();
            trace::note(|| format!("start: goes on after entry {entry}, because {why}"));
            position = self.server.position(entry);
            let moved = encode(&StoredPosition::MySql(position.clone())).map_err(failed)?;
            log.change(vec![(SOURCE_POSITION.key().to_vec(), Some(moved))]);
            log.change(ingest::unseen_definitions(stored, why).map_err(failed)?);
            log.change(ingest::unread_transactions(stored, &self.server.xa.listed()).map_err(failed)?);
            if self.server.flavour() == Flavour::MariaDb && self.server.xa.has_committed() {
                log.change(vec![ingest::unseen_commits(self.time.wall).map_err(failed)?]);
            }
            self.audit.skipped(entry);
        }
        let is_there = end.file == position.file && end.pos == position.pos;
        let asked = ingest::asked_beside(stored).map_err(failed)?;
        let forgotten: Vec<_> = asked.iter().map(|(table, _)| ingest::forget_beside(table)).collect();
        let awaited = records.iter().filter(|(_, record)| record.awaits.is_some());
        let awaited: Vec<TableName> = awaited.map(|(table, _)| table.clone()).collect();
        let starting = Starting {
            records,
            asked,
            found: &found,
            end,
            is_there,
            captures: |table: &TableName| self.captured.captures(Name::of(table)),
            rules: |table: &TableName| self.settings.doubts.rules_for(table, self.settings.filter.names()),
            sinks: &self.sinks.with_cursor(),
            configured: &self.sinks.configured(),
            initial: self.settings.initial,
            skipped,
        };
        let Started { changed, told } = table::start(starting, (log.durable().next(), self.time.wall));
        for (table, what) in told {
            trace::note(|| format!("start: of {table}: {what}"));
        }
        let is_left = |record: &table::TableRecord| matches!(record.capture, table::Capture::Left(_));
        let left: Vec<&TableName> =
            changed.iter().filter(|(_, record)| is_left(record)).map(|(table, _)| table).collect();
        if skipped.is_none() {
            log.change(ingest::left_definitions(stored, &left).map_err(failed)?);
        }
        let next = log.durable().next();
        let captured =
            changed.iter().filter(|(table, record)| record.is_captured_from(next) && !awaited.contains(table));
        let captured: Vec<TableName> = captured.map(|(table, _)| table.clone()).collect();
        let prepared = ingest::captured_from_here(log.values(), &captured).map_err(failed)?;
        log.change(prepared);
        for (table, record) in changed {
            log.change(vec![record.change(&table).map_err(failed)?]);
        }
        log.change(forgotten);
        Ok(())
    }

    /// What the source says of the tables.
    fn found(&self, records: &[(TableName, table::TableRecord)], is_skipped: bool) -> BTreeMap<TableName, Presence> {
        let denied = || Presence::Denied("the account may not read it".to_owned());
        let mut found = BTreeMap::new();
        for name in self.captured.names() {
            let is_back = || {
                let record = records.iter().find(|(table, _)| *table == name.table());
                let is_back = |record: &table::TableRecord| matches!(record.capture, table::Capture::Left(_));
                let is_out = |record: &table::TableRecord| record.is_captured() && record.left_out.is_some();
                record.is_some_and(|(_, record)| {
                    is_back(record) || is_out(record) || (is_skipped && record.is_captured())
                })
            };
            // A table that the account may not read is not listed, and it is denied that there is one.
            let presence = match (self.server.may_read(name), self.server.now().tables.contains_key(&name)) {
                (true, true) => Presence::Listed,
                (false, _) if self.captured.is_named || is_back() => denied(),
                (true, false) if is_back() => Presence::Missing,
                (false, _) | (true, false) => continue,
            };
            found.insert(name.table(), presence);
        }
        found
    }

    /// The daemon is killed. What it has made durable was looked at before.
    pub(super) fn kill(&mut self) -> Result<(), Finding> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        self.audit.look(daemon.log(), &self.server, &mut self.stated)?;
        self.log = Some(daemon.crash());
        Ok(())
    }

    /// The daemon is told to stop, and has not all the time it needs.
    pub(super) fn stop(&mut self) -> Result<(), Finding> {
        if let Some(daemon) = &mut self.daemon {
            trace::note(|| "daemon: is told to stop".to_owned());
            daemon.disconnect()?;
            while daemon.log().waiting() > 0 && !daemon.log().is_full() && self.rng.percent(90) {
                daemon.sync();
                self.audit.look(daemon.log(), &self.server, &mut self.stated)?;
            }
        }
        self.kill()
    }
}
