//! What the clients of the server do: transactions with savepoints and rollbacks. Statements about tables are in `statements`.

use std::collections::BTreeSet;
use std::rc::Rc;

use replicator::codec::frame::RowOp;

use super::binlog::{Change, Ending, Event, Group};
use super::habits::Habits;
use super::kinds::NULL;
use super::rng::Rng;
use super::server::{Server, State};
use super::shape::{Def, Shape};
use super::tables::{self, Name, Row, Rows, at};
use super::told::Told;
use super::xa::is_held;

/// A transaction that is being executed.
struct Draft {
    events: Vec<Event>,
    kept: Vec<bool>,
    /// What each event does, also where it does not say so.
    done: Vec<Option<(Name, Vec<Change>)>>,
    state: State,
    undone: BTreeSet<usize>,
    savepoints: Vec<(char, State, usize)>,
}

/// The clients.
#[derive(Debug)]
pub struct Clients {
    pub(super) habits: Habits,
    /// Values are never used twice, so that a stale row is seen.
    last_value: i32,
}

impl Clients {
    pub fn new(habits: Habits) -> Self {
        Self { habits, last_value: 0 }
    }

    /// Executes something, and writes it to the binlog.
    pub fn act(&mut self, server: &mut Server, rng: &mut Rng) {
        if rng.percent(self.habits.locks) {
            Self::lock(server, rng);
        }
        if let Some(name) = server.locked().filter(|_| rng.percent(50)) {
            self.in_lock(name, server, rng);
        } else if self.habits.two_phase > 0 && rng.percent(self.habits.two_phase) {
            self.two_phase(server, rng);
        } else if rng.percent(self.habits.statements) {
            self.statement(server, rng);
        } else {
            let rolls_back = rng.percent(self.habits.rolled_back);
            self.transaction(server, rng, if rolls_back { Ending::Rollback } else { Ending::Commit });
        }
    }

    /// A transaction of tables that are not locked, or a part of it.
    pub fn transaction(&mut self, server: &mut Server, rng: &mut Rng, ending: Ending) {
        let locked = server.locked();
        let is_two_phase = matches!(ending, Ending::Prepare(_) | Ending::OnePhase(_));
        let tables = server.now().tables.iter().filter(|(name, table)| {
            let is_free = locked != Some(**name) && (table.shape.is_keyed() || !server.xa.holds(**name));
            // What an engine does not take back is no part of a two-phase transaction.
            is_free && (!is_two_phase || table.shape.is_transactional)
        });
        let names: Vec<Name> = tables.map(|(name, _)| *name).collect();
        self.transaction_of(&names, server, rng, ending);
    }

    /// A transaction of these tables, or a part of it.
    pub fn transaction_of(&mut self, names: &[Name], server: &mut Server, rng: &mut Rng, ending: Ending) {
        let before = Rc::clone(server.now());
        let mut draft = Draft {
            events: Vec::new(),
            kept: Vec::new(),
            done: Vec::new(),
            state: State::clone(&before),
            undone: BTreeSet::new(),
            savepoints: Vec::new(),
        };
        let with_savepoints = rng.percent(self.habits.savepoints);
        let large = rng.percent(self.habits.large);
        let steps = if large { rng.between(4, 12) } else { rng.between(1, 4) } + if with_savepoints { 4 } else { 0 };
        for _ in 0..steps {
            match rng.below(10) {
                0..=2 if with_savepoints => draft.set_savepoint(rng),
                3..=4 if with_savepoints => draft.roll_back_to(rng),
                _ => self.rows(names, &mut draft, rng, (large, server)),
            }
        }
        if matches!(ending, Ending::Rollback | Ending::CutOff) {
            draft.take_back(&before, 0);
        }
        let Draft { events, kept, done, state, undone, .. } = draft;
        if let Ending::Prepare(number) = ending {
            return Self::prepare(number, (events, kept), done, server);
        }
        server.write(Group { events, kept, ending, undone }, state);
    }

    fn rows(&mut self, names: &[Name], draft: &mut Draft, rng: &mut Rng, (large, server): (bool, &Server)) {
        let flavour = server.flavour();
        let Some(name) = rng.pick(names).copied() else { return };
        let shape = draft.state.tables[&name].shape;
        let most = if large { rng.between(3, 10) } else { 2 };
        let rows = draft.state.rows(name);
        let op = rng.weighted(&[(4, RowOp::Insert), (4, RowOp::Update), (3, RowOp::Delete)]);
        let held = server.xa.held(name);
        let changes = self.changes(op, rows, (shape, &held), rng.between(1, most), rng);
        if changes.is_empty() {
            return;
        }
        let done = changes.clone();
        let event = if rng.percent(self.habits.as_statement) {
            unseen(name, rng)
        } else {
            let told = match () {
                () if rng.percent(self.habits.extra) => Told::Extra,
                () if rng.percent(self.habits.partly) => Told::partly(op, shape, &changes, flavour, rng),
                () => Told::Whole,
            };
            Event::Rows { name, shape, op, changes, told }
        };
        draft.events.push(event);
        draft.kept.push(true);
        draft.done.push(Some((name, done)));
    }

    /// So many changes of a table's rows, or as many as can be made.
    pub(super) fn changes(
        &mut self,
        op: RowOp,
        rows: &mut Rows,
        (shape, held): (Shape, &BTreeSet<Vec<i32>>),
        wanted: usize,
        rng: &mut Rng,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..wanted {
            let change = match op {
                RowOp::Insert => self.insert(rows, shape, rng),
                RowOp::Update => self.update(rows, shape, rng),
                RowOp::Delete | RowOp::DeleteByKey | RowOp::Snapshot => {
                    existing(rows, rng).map(|row| Change { before: Some(row), after: None })
                }
            };
            let Some(change) = change.filter(|change| !is_held(change, &shape.key_places(), held)) else { break };
            if let Some(before) = change.before {
                assert!(tables::take(rows, before), "the model changes a row that it has not");
            }
            if let Some(after) = change.after {
                tables::add(rows, after);
            }
            changes.push(change);
        }
        changes
    }

    fn insert(&mut self, rows: &Rows, shape: Shape, rng: &mut Rng) -> Option<Change> {
        let is_first = |def: &Def| shape.place(def.called) == 0;
        let row = shape.row(|def| {
            if is_first(def) || shape.key.has(def.called) { self.key(rng) } else { self.value(shape, def, rng) }
        });
        is_free(rows, shape, &row).then_some(Change { before: None, after: Some(row) })
    }

    fn update(&mut self, rows: &Rows, shape: Shape, rng: &mut Rng) -> Option<Change> {
        let before = existing(rows, rng)?;
        let moves = rng.percent(15);
        let changed = |clients: &mut Self, is_moved: bool, rng: &mut Rng| {
            shape.row(|def| {
                let value = before[shape.place(def.called)];
                let is_first = shape.place(def.called) == 0;
                match shape.key.has(def.called) || (is_first && !shape.is_keyed()) {
                    true if is_moved => clients.key(rng),
                    false if rng.percent(70) => clients.value(shape, def, rng),
                    true | false => value,
                }
            })
        };
        let mut after = changed(self, moves, rng);
        let places = shape.key_places();
        if at(&after, &places) != at(&before, &places) && !is_free(rows, shape, &after) {
            after = changed(self, false, rng);
        }
        Some(Change { before: Some(before), after: Some(after) })
    }

    fn key(&self, rng: &mut Rng) -> i32 {
        i32::try_from(rng.below(self.habits.keys)).unwrap()
    }

    fn value(&mut self, shape: Shape, def: &Def, rng: &mut Rng) -> i32 {
        if def.nullable && rng.percent(10) {
            return NULL;
        }
        if !shape.is_keyed() {
            // Some rows are the same.
            return i32::try_from(rng.below(3)).unwrap();
        }
        self.fresh()
    }

    /// A value that no row has had.
    pub(super) fn fresh(&mut self) -> i32 {
        self.last_value += 1;
        self.last_value
    }
}

/// Whether no row has the key of this one.
fn is_free(rows: &Rows, shape: Shape, row: &Row) -> bool {
    let places = shape.key_places();
    !shape.is_keyed() || tables::row_of(rows, &places, &at(row, &places)).is_none()
}

/// A statement in place of rows of a table.
fn unseen(name: Name, rng: &mut Rng) -> Event {
    let is_routine = rng.percent(15);
    let sql = if is_routine { "CALL `x`.`p`(1)".to_owned() } else { format!("UPDATE {} SET `v` = 1", name.sql()) };
    Event::Unseen { name, sql, is_routine }
}

fn existing(rows: &Rows, rng: &mut Rng) -> Option<Row> {
    let rows: Vec<Row> = rows.keys().copied().collect();
    rng.pick(&rows).copied()
}

impl Draft {
    /// A savepoint that nothing comes before may be missing in the binlog.
    fn set_savepoint(&mut self, rng: &mut Rng) {
        let name = *rng.pick(&['a', 'b', 'c']).unwrap();
        self.savepoints.retain(|(there, ..)| *there != name);
        self.savepoints.push((name, self.state.clone(), self.events.len()));
        if !self.events.is_empty() || rng.percent(50) {
            let spelt = if rng.percent(20) { name.to_ascii_uppercase() } else { name };
            self.events.push(Event::Statement(format!("SAVEPOINT `{spelt}`")));
            self.kept.push(true);
            self.done.push(None);
        }
    }

    fn roll_back_to(&mut self, rng: &mut Rng) {
        if self.savepoints.is_empty() {
            return;
        }
        let place = rng.below(self.savepoints.len());
        self.savepoints.truncate(place + 1);
        let (name, state, events) = self.savepoints[place].clone();
        self.take_back(&state, events);
        self.events.push(Event::Statement(format!("ROLLBACK TO `{name}`")));
        self.kept.push(true);
        self.done.push(None);
    }

    /// Takes back what came after a place, in the tables whose engine can.
    fn take_back(&mut self, state: &State, events: usize) {
        for (event, kept) in self.events.iter().zip(&mut self.kept).skip(events) {
            if let Event::Rows { name, .. } | Event::Unseen { name, .. } = event {
                *kept = false;
                if !self.state.tables[name].shape.is_transactional {
                    self.undone.insert(self.state.tables[name].number);
                }
            }
        }
        for (name, table) in &mut self.state.tables {
            if table.shape.is_transactional {
                *table = state.tables[name].clone();
            }
        }
    }
}
