//! The snapshot's coordinator: which reads are due, and how far each is. The real ones are `snapshot/coordinator.rs` and
//! `snapshot/table.rs`.

use std::collections::{BTreeMap, VecDeque};

use replicator::model::TableName;
use replicator::source::mysql::snapshot::handoff::Placed;
use replicator::source::mysql::snapshot::{Progress, Stage};
use replicator::table::{Ask, ByHand, Cause, Event, Reach, Read};

use super::job::{Done, Job};
use super::requests::{Actor, Reply, Request};
use super::rng::Rng;
use super::server::Server;
use super::sinks::Wish;
use super::tables::Name;
use super::trace;

/// How a history's snapshots are.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Tables at once.
    pub tables: usize,
    /// Readers of a table at once.
    pub readers: usize,
    /// Rows of a chunk.
    pub rows: usize,
    /// Of a thousand steps, those that fail.
    pub failing: usize,
    /// A table without a key for chunks that has more rows is not read by itself.
    pub keyless_rows: u64,
}

#[derive(Debug)]
pub struct Coordinator {
    pace: Pace,
    due: BTreeMap<Name, Progress>,
    waiting: VecDeque<Name>,
    /// Reads that nobody has asked for, and that do not begin before this time.
    until: BTreeMap<Name, i64>,
    /// Tables whose read has failed, and its number: it is tried again after a pause.
    paused: Vec<(Name, u32)>,
    running: Vec<Job>,
    /// What the driver has not taken yet.
    pub requests: VecDeque<Request>,
    ids: Ids,
}

/// Numbers that are never used twice.
#[derive(Debug, Default)]
pub struct Ids {
    pub windows: u64,
    actors: u64,
}

impl Ids {
    pub fn actor(&mut self) -> Actor {
        self.actors += 1;
        Actor(self.actors)
    }
}

impl Coordinator {
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            due: BTreeMap::new(),
            waiting: VecDeque::new(),
            until: BTreeMap::new(),
            paused: Vec::new(),
            running: Vec::new(),
            requests: VecDeque::new(),
            ids: Ids::default(),
        }
    }

    /// The read of a table that is due now.
    pub fn told(&mut self, table: &TableName, read: Option<Read>) -> Result<(), String> {
        trace::note(|| format!("coordinator: of {table}, {read:?} is due"));
        let name = Name::of(table);
        let number = read.as_ref().map(|read| read.number);
        for job in &mut self.running {
            if job.name() == name && Some(job.progress().number) != number {
                self.requests.extend(job.stop());
            }
        }
        self.running.retain(|job| job.name() != name || Some(job.progress().number) == number);
        self.waiting.retain(|waiting| *waiting != name);
        self.until.remove(&name);
        match read {
            None => drop(self.due.remove(&name)),
            Some(read) => {
                let progress = Progress::of(table.clone(), &read).map_err(|failure| failure.chain())?;
                self.until.extend(read.until.filter(|_| !read.has_begun()).map(|until| (name, until)));
                self.due.insert(name, progress);
                self.waiting.push_back(name);
            }
        }
        Ok(())
    }

    /// An operator wants a table to be read again.
    pub fn backfill(&mut self, name: Name, replace: bool) {
        trace::note(|| format!("operator: {name} is to be read again, replace {replace}"));
        let reach = if replace { Reach::Replace } else { Reach::Whole };
        self.by_hand(name, ByHand::Read(Ask::by_hand(reach, "an operator asked for it")));
    }

    /// An operator does something to a table.
    pub fn by_hand(&mut self, name: Name, by_hand: ByHand) {
        trace::note(|| format!("operator: {name}: {by_hand:?}"));
        self.requests.push_back(Request::ByHand { name, by_hand });
    }

    /// A sink wishes that tables are read for it.
    pub fn wish(&mut self, wish: Wish) {
        self.requests.push_back(match wish {
            Wish::EveryTable(sink) => Request::SinkAdded { sink },
            Wish::Table(name, sink) => {
                let ask = Ask::doubt(Reach::Replace, Cause::Rows, format!("counts of sink {sink} do not agree"))
                    .of_sink(sink);
                Request::Happened { name, event: Event::Asked(ask), by: None }
            }
        });
    }

    /// No read fails any more.
    pub fn succeed(&mut self) {
        self.pace.failing = 0;
    }

    /// Whether every job is done.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.running.is_empty() && self.requests.is_empty()
    }

    /// If nothing is left but reads that may not begin yet: when the first of them may.
    pub fn waits_until(&self, wall: i64) -> Option<i64> {
        if !self.running.is_empty() || !self.requests.is_empty() {
            return None;
        }
        let until: Option<Vec<i64>> = self.due.keys().map(|name| self.until.get(name).copied()).collect();
        until?.into_iter().min().filter(|until| *until > wall)
    }

    /// Does something, if anything can be done. `wall`: what time it is; `has_room`: the log has room for what nobody has asked for.
    pub fn step(&mut self, server: &Server, (wall, has_room): (i64, bool), rng: &mut Rng) -> Result<(), String> {
        self.end_pause(rng);
        self.start_jobs(wall, has_room);
        if self.running.is_empty() {
            return Ok(());
        }
        let place = rng.below(self.running.len());
        let Some(job) = self.running.get_mut(place) else { return Ok(()) };
        let mut out = Vec::new();
        let done = job.step(server, rng, &self.pace, &mut self.ids, &mut out)?;
        self.requests.extend(out);
        if done != Done::No {
            let job = self.running.swap_remove(place);
            let (name, progress) = (job.name(), job.progress().clone());
            trace::note(|| format!("coordinator: the read of {name} has ended: {done:?}"));
            let is_due = self.due.get(&name).is_some_and(|due| due.number == progress.number);
            match done {
                Done::Again if is_due => {
                    self.paused.push((name, progress.number));
                    self.due.insert(name, progress);
                }
                _ if is_due => drop(self.due.remove(&name)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The pause of a read that has failed may be over.
    fn end_pause(&mut self, rng: &mut Rng) {
        if self.paused.is_empty() || !rng.percent(30) {
            return;
        }
        let (name, number) = self.paused.swap_remove(rng.below(self.paused.len()));
        if self.due.get(&name).is_some_and(|due| due.number == number) && !self.waiting.contains(&name) {
            self.waiting.push_back(name);
        }
    }

    fn start_jobs(&mut self, wall: i64, has_room: bool) {
        while self.running.len() < self.pace.tables {
            let is_free = |name: &Name| self.running.iter().all(|job| job.name() != *name);
            let needs_room = |due: &Progress| due.by_itself && due.stage == Stage::Waiting;
            let may_begin = |name: &Name| {
                is_free(name)
                    && self.until.get(name).is_none_or(|until| *until <= wall)
                    && (has_room || !self.due.get(name).is_some_and(needs_room))
            };
            let Some(place) = self.waiting.iter().position(may_begin) else { return };
            let name = self.waiting.remove(place).unwrap();
            let Some(progress) = self.due.get(&name).cloned() else { continue };
            let actor = self.ids.actor();
            self.running.push(Job::new(actor, progress));
        }
    }

    /// The driver replies to an actor, which may be gone.
    pub fn reply(&mut self, to: Actor, reply: Reply) {
        for job in &mut self.running {
            if job.reply(to, reply) {
                return;
            }
        }
        trace::note(|| format!("coordinator: nobody takes {reply:?}"));
    }

    /// Whether anybody waits for this reply.
    pub fn has(&self, actor: Actor) -> bool {
        self.running.iter().any(|job| job.has(actor))
    }
}

/// Whether a chunk was placed.
pub fn was_placed(reply: Reply) -> bool {
    matches!(reply, Reply::Placed(Placed::Appended { .. }))
}
