//! The snapshot's coordinator: which tables are read, and how far each is. The real ones are `snapshot/coordinator.rs` and
//! `snapshot/table.rs`, whose stored records it uses.

use std::collections::{BTreeSet, VecDeque};

use replicator::codec::state::State as _;
use replicator::ingest::Reread;
use replicator::source::mysql::snapshot::handoff::{Placed, SnapshotMark};
use replicator::source::mysql::snapshot::{Backfill, STATE_PREFIX, Stage, TableProgress};

use super::job::{Done, Job};
use super::log::Values;
use super::requests::{Actor, Exact, Reply, Request};
use super::rng::Rng;
use super::server::Server;
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
}

#[derive(Debug)]
pub struct Coordinator {
    pace: Pace,
    waiting: VecDeque<TableProgress>,
    running: Vec<Job>,
    known: BTreeSet<Name>,
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
    /// Takes up what is stored.
    pub fn new(pace: Pace, stored: &Values) -> Result<Self, String> {
        let mut coordinator = Self {
            pace,
            waiting: VecDeque::new(),
            running: Vec::new(),
            known: BTreeSet::new(),
            requests: VecDeque::new(),
            ids: Ids::default(),
        };
        for (key, value) in stored.under(STATE_PREFIX).map_err(|error| error.to_string())? {
            let progress = TableProgress::read(&key, &value).map_err(|failure| failure.chain())?;
            coordinator.enqueue(progress);
        }
        Ok(coordinator)
    }

    fn enqueue(&mut self, progress: TableProgress) {
        self.known.insert(Name::of(progress.table()));
        if !progress.stage.is_over() {
            self.waiting.push_back(progress);
        }
    }

    /// A table that the stream wants to be read again.
    pub fn reread(&mut self, reread: Reread) {
        trace::note(|| format!("coordinator: {} is to be read again, replace {}", reread.table, reread.replace));
        let job = Backfill { replace: reread.replace, may_be_gone: true, ..Backfill::whole(reread.table) };
        self.enqueue(TableProgress::new(job));
    }

    /// A table that an operator wants to be read again.
    pub fn backfill(&mut self, name: Name, replace: bool) {
        trace::note(|| format!("operator: {name} is to be read again, replace {replace}"));
        self.enqueue(TableProgress::new(Backfill { replace, ..Backfill::whole(name.table()) }));
    }

    /// Whether every job is done.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.requests.is_empty()
    }

    /// Does something, if anything can be done. What it returns is for the stream that stands still.
    pub fn step(&mut self, server: &Server, rng: &mut Rng) -> Result<Option<Exact>, String> {
        self.start_jobs();
        if self.running.is_empty() {
            return Ok(None);
        }
        let place = rng.below(self.running.len());
        let Some(job) = self.running.get_mut(place) else { return Ok(None) };
        let mut out = Vec::new();
        let (done, exact) = job.step(server, rng, &self.pace, &mut self.ids, &mut out)?;
        self.requests.extend(out);
        if done == Done::Yes {
            let job = self.running.swap_remove(place);
            trace::note(|| format!("coordinator: the read of {} has ended: {:?}", job.name(), job.progress().stage));
        }
        Ok(exact)
    }

    fn start_jobs(&mut self) {
        while self.running.len() < self.pace.tables {
            let is_free =
                |progress: &TableProgress| self.running.iter().all(|job| job.progress().table() != progress.table());
            let Some(place) = self.waiting.iter().position(is_free) else { return };
            let progress = self.waiting.remove(place).unwrap();
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

/// The mark that a table is gone, and the record that is stored with it.
pub fn gone(progress: &TableProgress) -> (SnapshotMark, TableProgress) {
    let next = TableProgress { stage: Stage::Gone, ..progress.clone() };
    let mark = SnapshotMark::Begun { table: next.table().clone(), replaces: true, empties: false, whole: true };
    (mark, next)
}

/// Whether a chunk was placed.
pub fn was_placed(reply: Reply) -> bool {
    matches!(reply, Reply::Placed(Placed::Appended { .. }))
}
