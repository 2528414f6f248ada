//! The sinks: those that are configured, those whose cursor is left over, and the targets of those whose cursor was dropped.
//!
//! The real ones are `pipeline/deliveries.rs` and `deliver/new_sink.rs`. The log is trimmed up to the slowest cursor, also that of
//! a sink that is not configured.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::Audit;
use super::captured::Captured;
use super::daemon::Finding;
use super::log::SimLog;
use super::rng::Rng;
use super::server::Server;
use super::sink::Sink;
use super::stated::Stated;
use super::tables::Name;
use super::trace;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Whether what the log had before a sink was there has to be read for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Its target is empty and the log was trimmed. That is said until the log has it.
    EveryTable,
}

/// What a sink wishes of the source.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// It is new, and needs every table.
    EveryTable(&'static str),
    /// Its counts of a table do not agree.
    Table(Name, &'static str),
}

#[derive(Debug)]
struct WithCursor {
    sink: Sink,
    needs: Needs,
}

#[derive(Debug)]
pub struct Sinks {
    configured: BTreeSet<&'static str>,
    all: BTreeMap<&'static str, WithCursor>,
    /// Targets of sinks whose cursor was dropped.
    targets: BTreeMap<&'static str, Sink>,
}

impl Sinks {
    /// So many sinks are configured.
    pub fn new(configured: usize) -> Self {
        Self {
            configured: NAMES.into_iter().take(configured).collect(),
            all: BTreeMap::new(),
            targets: BTreeMap::new(),
        }
    }

    /// Those that are configured.
    pub fn configured(&self) -> Vec<String> {
        self.configured.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Those that have a cursor.
    pub fn with_cursor(&self) -> Vec<String> {
        self.all.keys().map(|name| (*name).to_owned()).collect()
    }

    /// An operator takes a sink out of the configuration, or puts one in. One is always left.
    pub fn reconfigure(&mut self, rng: &mut Rng) {
        let name = NAMES[rng.below(NAMES.len())];
        if !self.configured.contains(name) {
            trace::note(|| format!("operator: sink {name} is configured"));
            self.configured.insert(name);
        } else if self.configured.len() > 1 {
            trace::note(|| format!("operator: sink {name} is not configured any more"));
            self.configured.remove(name);
        }
    }

    /// An operator configures every sink that has a cursor.
    pub fn configure_all(&mut self) {
        self.configured.extend(self.all.keys());
    }

    /// Whether every sink that has a cursor is configured.
    pub fn are_all_configured(&self) -> bool {
        self.all.keys().all(|name| self.configured.contains(name))
    }

    /// An operator drops the cursor of a sink that is not configured.
    pub fn drop_cursor(&mut self, rng: &mut Rng) {
        let left: Vec<&'static str> =
            self.all.keys().filter(|name| !self.configured.contains(*name)).copied().collect();
        if let Some(name) = rng.pick(&left) {
            trace::note(|| format!("operator: the cursor of sink {name} is dropped"));
            let dropped = self.all.remove(name).map(|with| (*name, with.sink));
            self.targets.extend(dropped);
        }
    }

    /// The daemon starts: every configured sink has a cursor. Returns what they wish.
    pub fn start(&mut self, log: &SimLog, audit: &Audit, rng: &mut Rng) -> Result<Vec<Wish>, Finding> {
        let trimmed = log.trimmed();
        for name in &self.configured {
            if self.all.contains_key(name) {
                continue;
            }
            // Its target may be there as it was, or be empty.
            let old = self.targets.remove(name).filter(|old| old.applied() >= trimmed && rng.percent(50));
            let with = if let Some(mut sink) = old {
                trace::note(|| format!("sink {name}: is there again, after {} frames", sink.applied()));
                sink.returns(log)?;
                WithCursor { sink, needs: Needs::Nothing }
            } else {
                trace::note(|| format!("sink {name}: is new, after {trimmed} frames"));
                let needs = if trimmed > 0 { Needs::EveryTable } else { Needs::Nothing };
                WithCursor { sink: Sink::new(name, trimmed, audit.entry_before(trimmed)), needs }
            };
            self.all.insert(name, with);
        }
        let mut wishes = Vec::new();
        for (name, WithCursor { sink, needs }) in
            self.all.iter_mut().filter(|(name, _)| self.configured.contains(*name))
        {
            if *needs == Needs::EveryTable {
                wishes.push(Wish::EveryTable(name));
            }
            wishes.extend(sink.start(log)?.into_iter().map(|table| Wish::Table(table, name)));
        }
        Ok(wishes)
    }

    /// The target of a sink has lost a row.
    pub fn lose_a_row(&mut self, rng: &mut Rng) -> Option<Wish> {
        let served: Vec<&mut Sink> = self.served().collect();
        let place = rng.below(served.len());
        let sink = served.into_iter().nth(place)?;
        Some(Wish::Table(sink.lose_a_row(rng)?, sink.name))
    }

    /// Whether a captured table is in doubt at any sink.
    pub fn have_doubts(&self, captured: Captured) -> bool {
        self.all.values().any(|with| captured.names().any(|name| with.sink.doubts(name)))
    }

    /// The log has it that every table is read for a sink.
    pub fn are_read_for(&mut self, name: &str) {
        if let Some(with) = self.all.get_mut(name) {
            with.needs = Needs::Nothing;
        }
    }

    fn served(&mut self) -> impl Iterator<Item = &mut Sink> {
        let configured = &self.configured;
        self.all.iter_mut().filter(|(name, _)| configured.contains(*name)).map(|(_, with)| &mut with.sink)
    }

    /// Sinks apply their next groups: each of them does so in so many of a hundred cases. False: none has.
    pub fn step(&mut self, percent: usize, world: (&SimLog, &Server, &Stated), rng: &mut Rng) -> Result<bool, Finding> {
        let (log, server, stated) = world;
        let mut have_applied = false;
        for sink in self.served() {
            if rng.percent(percent) && sink.step(log, server)? {
                have_applied = true;
                for name in Name::capturable() {
                    stated.check(name, sink, log, server)?;
                }
            }
        }
        Ok(have_applied)
    }

    /// Records of tables have changed in the log.
    pub fn check(&mut self, changed: &BTreeSet<Name>, world: (&SimLog, &Server, &Stated)) -> Result<(), Finding> {
        let (log, server, stated) = world;
        for sink in self.served() {
            changed.iter().try_for_each(|name| stated.check(*name, sink, log, server))?;
        }
        Ok(())
    }

    /// How many frames every sink has applied.
    pub fn applied(&self) -> usize {
        self.all.values().map(|with| with.sink.applied()).min().unwrap_or_default()
    }

    /// Whether the configured ones have applied everything durable, and need nothing.
    pub fn are_done(&self, log: &SimLog) -> bool {
        self.all.values().all(|with| with.needs == Needs::Nothing && with.sink.is_done(log))
    }

    /// At the end: every sink has every captured table, and the whole history since it was there.
    pub fn compare(
        &self,
        captured: Captured,
        world: (&SimLog, &Server, &Stated),
        audit: &Audit,
    ) -> Result<(), Finding> {
        let (log, server, stated) = world;
        for WithCursor { sink, .. } in self.all.values() {
            let of_sink = |finding: Finding| format!("sink {}: {finding}", sink.name);
            stated.compare(captured, sink, log, server)?;
            sink.copies.compare(captured, server).map_err(of_sink)?;
            sink.copies.compare_history(sink.begun, server, audit).map_err(of_sink)?;
        }
        Ok(())
    }
}
