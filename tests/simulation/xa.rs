//! Two-phase transactions: prepared, and ended later or in one phase.
//!
//! A prepared transaction holds the keys that it has changed, and a table without a key as a whole. Nobody changes those, nor the definition
//! of a table of which it holds anything. On MariaDB a view may lack the rows of a commit that its place counts, for a while after it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use replicator::ingest::ledger::Log as _;
use replicator::model::{Origin, Xid};
use replicator::source::mysql::schema::Flavour;

use super::binlog::{Change, Ending, Event, Group};
use super::daemon::{Daemon, Finding, Mode, failed};
use super::rng::Rng;
use super::server::{Server, State};
use super::tables::{Name, add, at, take};
use super::trace;
use super::workload::Clients;

/// Transactions that are prepared at once, at most.
const MOST: usize = 3;
/// For so long a view may lack the rows of a commit, in microseconds.
const UNSEEN: i64 = 29_000_000;

/// The name of a transaction.
pub fn xid(number: u32) -> Xid {
    Xid { format: number.into(), gtrid: vec![0, u8::try_from(number).unwrap()], bqual: b"'".to_vec() }
}

/// A prepared transaction.
#[derive(Clone, Debug)]
pub struct Prepared {
    number: u32,
    /// The entry that prepares it.
    entry: usize,
    events: Vec<Event>,
    kept: Vec<bool>,
    /// What each event does, also where it does not say so.
    done: Vec<Option<(Name, Vec<Change>)>>,
    /// The keys that it holds of each table.
    held: BTreeMap<Name, BTreeSet<Vec<i32>>>,
}

/// The server's.
#[derive(Debug, Default)]
pub struct Xa {
    prepared: Vec<Prepared>,
    /// When each commit was made, by its entry, in microseconds.
    committed: BTreeMap<usize, i64>,
    /// What time it is.
    pub wall: i64,
}

impl Xa {
    /// Whether a prepared transaction holds anything of a table.
    pub fn holds(&self, name: Name) -> bool {
        self.prepared.iter().any(|prepared| prepared.held.contains_key(&name))
    }

    /// The keys that prepared transactions hold of a table.
    pub fn held(&self, name: Name) -> BTreeSet<Vec<i32>> {
        self.prepared.iter().filter_map(|prepared| prepared.held.get(&name)).flatten().cloned().collect()
    }

    /// Whether any is prepared.
    pub fn is_any_prepared(&self) -> bool {
        !self.prepared.is_empty()
    }

    /// Whether any was committed.
    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Names of the prepared transactions.
    pub fn listed(&self) -> Vec<Xid> {
        self.prepared.iter().map(|prepared| xid(prepared.number)).collect()
    }

    /// The entry that has prepared the transaction of this number.
    fn free(&self) -> Option<u32> {
        (1..=4).find(|number| self.prepared.iter().all(|prepared| prepared.number != *number))
    }
}

impl Server {
    /// The place whose state a view shows that is of a place: on MariaDB it may be the one before, if a two-phase transaction was committed
    /// there a short time ago.
    pub fn seen_at(&self, place: usize, rng: &mut Rng) -> usize {
        let committed = self.xa.committed.get(&place);
        let is_new = committed.is_some_and(|at| self.xa.wall - at < UNSEEN);
        if self.flavour() == Flavour::MariaDb && is_new && rng.percent(50) { place - 1 } else { place }
    }
}

impl Clients {
    /// Prepares a transaction, or ends one.
    pub fn two_phase(&mut self, server: &mut Server, rng: &mut Rng) {
        let is_full = server.xa.prepared.len() >= MOST;
        if !server.xa.prepared.is_empty() && (is_full || rng.percent(50)) {
            Self::end_one(server, rng);
        } else if let Some(number) = server.xa.free() {
            let ending = if rng.percent(25) { Ending::OnePhase(number) } else { Ending::Prepare(number) };
            self.transaction(server, rng, ending);
        }
    }

    fn end_one(server: &mut Server, rng: &mut Rng) {
        let Prepared { number, entry, events, kept, done, .. } =
            server.xa.prepared.remove(rng.below(server.xa.prepared.len()));
        let mut state = State::clone(server.now());
        let commits = rng.percent(75);
        if commits {
            let done = done.iter().zip(&kept).filter(|(_, kept)| **kept).filter_map(|(done, _)| done.as_ref());
            for (name, changes) in done {
                for Change { before, after } in changes {
                    let rows = state.rows(*name);
                    assert!(before.is_none_or(|before| take(rows, before)), "a row that is held is gone");
                    if let Some(after) = after {
                        add(rows, *after);
                    }
                }
            }
        }
        let ending = if commits { Ending::XaCommit(number, entry) } else { Ending::XaRollback(number) };
        server.write(Group { events, kept, ending, undone: BTreeSet::new() }, state);
        if commits {
            let wall = server.xa.wall;
            server.xa.committed.insert(server.end(), wall);
        }
    }

    /// Everything that is prepared ends.
    pub fn end_all(server: &mut Server, rng: &mut Rng) {
        while !server.xa.prepared.is_empty() {
            Self::end_one(server, rng);
        }
    }

    /// A transaction is prepared: what it did is not seen.
    pub fn prepare(
        number: u32,
        (events, kept): (Vec<Event>, Vec<bool>),
        done: Vec<Option<(Name, Vec<Change>)>>,
        server: &mut Server,
    ) {
        if events.is_empty() {
            return;
        }
        let state = State::clone(server.now());
        let mut held: BTreeMap<Name, BTreeSet<Vec<i32>>> = BTreeMap::new();
        for (name, changes) in done.iter().flatten() {
            let places = state.tables[name].shape.key_places();
            let rows = changes.iter().flat_map(|change| [change.before, change.after]).flatten();
            held.entry(*name).or_default().extend(rows.map(|row| at(&row, &places)));
        }
        let group = Group {
            events: events.clone(),
            kept: kept.clone(),
            ending: Ending::Prepare(number),
            undone: BTreeSet::new(),
        };
        server.write(group, State::clone(&state));
        let entry = server.end();
        server.xa.prepared.push(Prepared { number, entry, events, kept, done, held });
    }
}

/// Whether a change is of a key that a prepared transaction holds.
pub fn is_held(change: &Change, places: &[usize], held: &BTreeSet<Vec<i32>>) -> bool {
    !held.is_empty() && [change.before, change.after].into_iter().flatten().any(|row| held.contains(&at(&row, places)))
}

impl Daemon {
    /// Gives the rows of a transaction back that has committed, and ends the group.
    pub(super) fn replay(&mut self, server: &Server, boundary: usize, origin: &Origin) -> Result<(), Finding> {
        if self.core.needs_durable() {
            self.seal_and_flush()?;
            if self.log().waiting() > 0 {
                trace::note(|| "daemon: waits for the rows of a prepared transaction".to_owned());
                if let Some(session) = &mut self.session {
                    session.mode = Mode::Replay(Rc::new((boundary, origin.clone())));
                }
                return Ok(());
            }
        }
        while self.core.replay(origin).map_err(failed)? {
            self.spool();
            if self.core.is_fragmented() && self.core.log().pending_bytes() > 200 {
                self.seal_and_flush()?;
            }
        }
        self.end_of_group(server, boundary, origin)
    }
}
