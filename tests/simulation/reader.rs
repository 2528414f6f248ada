//! One read of a part of a table: a window, a view that is not before it, the rows, the end of the binlog, the chunk.
//!
//! Between any two of these steps anything may happen. The real ones are `snapshot/chunk.rs` and `snapshot/bound.rs`.

use std::rc::Rc;

use replicator::model::FilePos;
use replicator::source::mysql::schema::{ChunkKey, Flavour};
use replicator::source::mysql::snapshot::Range;
use replicator::source::mysql::snapshot::handoff::{Account, WindowId};
use replicator::table::Keys;

use super::keys::have;
use super::requests::{Actor, Request};
use super::rng::Rng;
use super::server::{Server, State};
use super::tables::{Layouts, Name, Row, at, bound_of, key_of, layouts};

/// What is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The largest key.
    Last,
    Range(Range),
}

/// How far it is.
#[derive(Debug)]
enum Step {
    Start,
    Opening,
    Opened {
        at: usize,
    },
    /// `view`: the entry after which it is; of a view that is only opened with the read, `None`.
    Viewed {
        view: Option<usize>,
        version: usize,
    },
    Read {
        rows: Vec<Row>,
    },
    Ready {
        rows: Vec<Row>,
        high: FilePos,
    },
    Placing,
}

/// What a step came to.
#[derive(Debug)]
pub enum Progress {
    /// It waits, or goes on.
    Going,
    /// Its chunk is to be handed over, as soon as no other of the table is.
    Ready,
    /// The table has no such key any more.
    KeyChanged,
    /// The table is gone, or the account may not read it any more.
    Unseen,
}

#[derive(Debug)]
pub struct Reader {
    pub actor: Actor,
    pub part: Part,
    name: Name,
    window: WindowId,
    /// A cut-off read: what is left of the range.
    rest: Option<Range>,
    layouts: Option<Rc<Layouts>>,
    /// The key that its range is of.
    planned: Option<ChunkKey>,
    /// Rows of these keys alone are read.
    keys: Option<Keys>,
    chunk_key: Option<ChunkKey>,
    step: Step,
}

impl Reader {
    pub fn new(actor: Actor, name: Name, part: Part, planned: Option<ChunkKey>) -> Self {
        Self {
            actor,
            part,
            name,
            window: WindowId(0),
            rest: None,
            layouts: None,
            planned,
            keys: None,
            chunk_key: None,
            step: Step::Start,
        }
    }

    /// Rows of these keys alone are read.
    pub fn of_keys(self, keys: Option<&Keys>) -> Self {
        Self { keys: keys.cloned(), ..self }
    }

    /// The key of the table, as it was described in the window.
    pub fn chunk_key(&self) -> Option<ChunkKey> {
        self.chunk_key.clone()
    }

    /// Whether it waits for the driver.
    pub fn waits(&self) -> bool {
        matches!(self.step, Step::Opening | Step::Placing)
    }

    /// The window is open.
    pub fn opened(&mut self, at: usize) {
        self.step = Step::Opened { at };
    }

    /// It is read again.
    pub fn again(&mut self) {
        self.step = Step::Start;
    }

    /// The request that closes its window, if it has one that the driver does not close by itself.
    pub fn close(&self) -> Option<Request> {
        match self.step {
            Step::Start | Step::Placing => None,
            Step::Opening | Step::Opened { .. } | Step::Viewed { .. } | Step::Read { .. } | Step::Ready { .. } => {
                Some(Request::CloseWindow { window: self.window })
            }
        }
    }

    /// Does the next step.
    pub fn step(&mut self, server: &Server, rng: &mut Rng, windows: &mut u64, out: &mut Vec<Request>) -> Progress {
        if !matches!(self.step, Step::Start | Step::Placing) && rng.percent(2) {
            // The connection is lost.
            out.extend(self.close());
            self.again();
            return Progress::Going;
        }
        if matches!(self.step, Step::Opened { .. } | Step::Viewed { .. }) && server.locked() == Some(self.name) {
            return Progress::Going;
        }
        match std::mem::replace(&mut self.step, Step::Start) {
            Step::Start => {
                *windows += 1;
                self.window = WindowId(*windows);
                out.push(Request::OpenWindow { name: self.name, window: self.window, by: self.actor });
                self.step = Step::Opening;
            }
            Step::Opened { at } if server.shown() < at => self.step = Step::Opened { at },
            Step::Opened { at } => return self.view(server, at, rng),
            Step::Viewed { view, version } if !server.may_read(self.name) => {
                self.step = Step::Viewed { view, version };
                return Progress::Unseen;
            }
            Step::Viewed { view, version } => self.select(server, rng, view, version, out),
            Step::Read { rows } => {
                self.step = Step::Ready { rows, high: server.place(server.end()) };
                return Progress::Ready;
            }
            ready @ Step::Ready { .. } => {
                self.step = ready;
                return Progress::Ready;
            }
            waiting @ (Step::Opening | Step::Placing) => self.step = waiting,
        }
        Progress::Going
    }

    fn view(&mut self, server: &Server, at: usize, rng: &mut Rng) -> Progress {
        self.step = Step::Opened { at };
        // MySQL's view is opened with the read.
        let view = (server.flavour() == Flavour::MariaDb).then(|| server.seen_at(server.shown(), rng));
        let Some(table) = server.visible(self.name) else { return Progress::Unseen };
        self.chunk_key = table.shape.chunk_key();
        if self.chunk_key.is_none()
            || self.planned.as_ref().is_some_and(|planned| self.chunk_key.as_ref() != Some(planned))
        {
            return Progress::KeyChanged;
        }
        self.layouts = Some(layouts(self.name, table.shape));
        self.step = Step::Viewed { view, version: table.version };
        Progress::Going
    }

    fn select(&mut self, server: &Server, rng: &mut Rng, view: Option<usize>, version: usize, out: &mut Vec<Request>) {
        let described = |state: &State| state.tables.get(&self.name).filter(|table| table.version == version).cloned();
        let in_view = described(server.state(view.unwrap_or(server.shown())));
        let (Some(now), Some(mut table)) = (described(server.now()), in_view) else {
            // The server says that the table is another one than the view's.
            out.extend(Some(Request::CloseWindow { window: self.window }));
            return self.again();
        };
        if !table.shape.is_transactional {
            table = now;
        }
        self.rest = None;
        let places = table.shape.key_places();
        let mut all: Vec<Row> = table.rows.keys().copied().collect();
        all.sort_by_key(|row| at(row, &places));
        let rows = match &self.part {
            Part::Last => all.last().copied().into_iter().collect(),
            Part::Range(range) => {
                let (after, upto) = (range.after.as_ref().map(key_of), key_of(&range.upto));
                let inside = |key: &Vec<i32>| after.as_ref().is_none_or(|after| key > after) && *key <= upto;
                let is_wanted = |row: &Row| {
                    self.keys.as_ref().is_none_or(|keys| have(keys, self.name, table.shape, row))
                        && inside(&at(row, &places))
                };
                let mut rows: Vec<Row> = all.into_iter().filter(is_wanted).collect();
                if rows.len() > 1 && rng.percent(10) {
                    // The buffer is full before the range is read.
                    rows.truncate(rng.between(1, rows.len() - 1));
                    let last = rows.last().map(|row| bound_of(&at(row, &places)));
                    self.rest = Some(Range { after: last, upto: range.upto.clone() });
                }
                rows
            }
        };
        self.step = Step::Read { rows };
    }

    /// What is read and not handed over: the rows, and what is left of the range.
    pub fn read(&self) -> Option<(&[Row], Option<&Range>)> {
        match &self.step {
            Step::Ready { rows, .. } => Some((rows, self.rest.as_ref())),
            _ => None,
        }
    }

    /// Hands its chunk over, with the account that is true once it is placed.
    pub fn hand_over(&mut self, account: Account) -> Option<Request> {
        let Step::Ready { rows, high } = std::mem::replace(&mut self.step, Step::Placing) else { return None };
        let layouts = Rc::clone(self.layouts.as_ref()?);
        // The last key is announced by a chunk without rows.
        let rows: &[Row] = if self.part == Part::Last { &[] } else { &rows };
        let images = super::requests::images(&layouts.described, rows);
        Some(Request::Place { window: self.window, layouts, images, high, account, by: self.actor })
    }
}
