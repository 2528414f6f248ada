//! The binlog: groups of events, and the stream of them that a connection reads.
//!
//! A [`Stream`] says what the decoder says: a schema where it differs from the last one of its table on this connection, rows, and the
//! boundary, which never goes past an event of a group that is not complete.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use replicator::codec::frame::RowOp;
use replicator::model::{Lacks, Origin, SourcePlace, TableSchema, Told as Mapped, Xid};
use replicator::source::mysql::binlog::Partial;

use super::captured::Captured;
use super::server::{EVENT, Server};
use super::shape::Shape;
use super::tables::{Name, Row, layouts};
use super::told::{Told, partial};
use super::xa::xid;

/// One row change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// Something inside a group.
#[derive(Clone, Debug)]
pub enum Event {
    Rows {
        name: Name,
        shape: Shape,
        op: RowOp,
        changes: Vec<Change>,
        told: Told,
    },
    Statement(String),
    /// A statement in place of the rows that it has changed, of one table. `is_routine`: its text does not say of which.
    Unseen {
        name: Name,
        sql: String,
        is_routine: bool,
    },
}

/// How a group ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Commit,
    Rollback,
    /// The server went down while it wrote the group.
    CutOff,
    /// It is one statement, which is its own group.
    Statement,
    /// It is a two-phase transaction of this number, and prepared.
    Prepare(u32),
    /// It is a two-phase transaction, and committed in one phase.
    OnePhase(u32),
    /// It commits what a group before has prepared, at an entry: its events are those of that group, and not in the binlog again.
    XaCommit(u32, usize),
    /// It takes back what a group before has prepared.
    XaRollback(u32),
}

impl Ending {
    /// Whether what its events did is so after it.
    pub fn commits(self) -> bool {
        matches!(self, Self::Commit | Self::OnePhase(_) | Self::XaCommit(..))
    }
}

/// A transaction, or a statement by itself.
#[derive(Clone, Debug)]
pub struct Group {
    pub events: Vec<Event>,
    /// Which of the events no rollback to a savepoint took back.
    pub kept: Vec<bool>,
    pub ending: Ending,
    /// Tables whose rows stayed although the group took them back, by the number that they have for life.
    pub undone: BTreeSet<usize>,
}

impl Group {
    /// Its row changes of a table, as a reader of the binlog has to see them.
    pub fn changes(&self, of: Name) -> Vec<Change> {
        if !self.ending.commits() {
            return Vec::new();
        }
        let kept = self.events.iter().zip(&self.kept).filter(|(_, kept)| **kept);
        kept.filter_map(|(event, _)| event.rows_of(of)).flatten().copied().collect()
    }

    /// All rows of a table that its events hold.
    pub fn rows(&self, of: Name) -> u64 {
        let changes = self.events.iter().filter_map(|event| event.rows_of(of)).flatten();
        u64::try_from(changes.count()).unwrap()
    }

    /// Whether it has a statement in place of rows that are, or may be, of a table.
    pub fn may_have_unseen(&self, of: Name) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Unseen { name, is_routine, .. } if *is_routine || *name == of))
    }

    /// How a table was defined whose rows its events hold.
    pub fn shape(&self, of: Name) -> Option<Shape> {
        self.events.iter().find_map(|event| match event {
            Event::Rows { name, shape, .. } if *name == of => Some(*shape),
            _ => None,
        })
    }

    /// Whether it rolls back to a savepoint.
    pub fn rolls_back_to_savepoint(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Statement(sql) if sql.starts_with("ROLLBACK TO")))
    }
}

impl Event {
    fn rows_of(&self, of: Name) -> Option<&[Change]> {
        match self {
            Self::Rows { name, changes, .. } if *name == of => Some(changes),
            _ => None,
        }
    }
}

/// Something in the binlog.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file begins.
    File,
    Group(Group),
}

/// Something in the binlog, and where it is.
#[derive(Clone, Debug)]
pub struct Placed {
    pub entry: Entry,
    pub file: u64,
    pub begin: u64,
    /// The boundary after it; of a group that was cut off, the one before it.
    pub end: u64,
    /// Number of the transaction.
    pub gtid: u64,
}

impl Placed {
    pub fn group(&self) -> Option<&Group> {
        match &self.entry {
            Entry::File => None,
            Entry::Group(group) => Some(group),
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:{}..{}]", self.file, self.begin, self.end)?;
        let Entry::Group(group) = &self.entry else { return f.write_str(" file") };
        for (event, kept) in group.events.iter().zip(&group.kept) {
            f.write_str(if *kept { " " } else { " (cut) " })?;
            match event {
                Event::Statement(sql) | Event::Unseen { sql, .. } => write!(f, "{sql};")?,
                Event::Rows { name, op, changes, told, .. } => {
                    write!(f, "{op:?} {name}")?;
                    if *told != Told::Whole {
                        write!(f, " ({told:?})")?;
                    }
                    for Change { before, after } in changes {
                        match (before, after) {
                            (Some(before), Some(after)) => write!(f, " {before:?}->{after:?}")?,
                            (one, other) => write!(f, " {:?}", one.or(*other).unwrap_or_default())?,
                        }
                    }
                    f.write_str(";")?;
                }
            }
        }
        write!(f, " {:?}", group.ending)
    }
}

/// What the decoder makes of the next event.
#[derive(Debug)]
pub enum Item {
    /// Nothing. At a boundary, the position may have moved.
    Nothing,
    Schema {
        slot: usize,
        told: Arc<Mapped>,
        origin: Origin,
    },
    Rows {
        slot: usize,
        op: RowOp,
        rows: u32,
        columns: usize,
        images: Vec<u8>,
        origin: Origin,
    },
    Partial {
        slot: usize,
        partial: Partial<'static>,
        origin: Origin,
    },
    /// `ends`: it is its own group.
    Statement {
        sql: String,
        origin: Origin,
        ends: bool,
    },
    Commit {
        origin: Origin,
    },
    BeginXa {
        xid: Xid,
        origin: Origin,
    },
    Prepare {
        one_phase: bool,
        origin: Origin,
    },
    Outcome {
        xid: Xid,
        commits: bool,
        origin: Origin,
    },
    Rollback {
        origin: Origin,
    },
    CutOff {
        origin: Origin,
    },
}

/// One connection's stream.
#[derive(Debug)]
pub struct Stream {
    /// The entry that is read, or read next.
    entry: usize,
    /// Events of it that were read.
    step: usize,
    /// A group is open.
    open: bool,
    /// The entry whose end is the last boundary.
    boundary: usize,
    /// Rows of other tables are not decoded.
    captured: Captured,
    /// The slot of each table, and the schema that it was given last.
    slots: HashMap<Name, (usize, Option<(Arc<TableSchema>, Lacks)>)>,
}

impl Stream {
    /// From the boundary after an entry.
    pub fn new(after: usize, captured: Captured) -> Self {
        Self { entry: after + 1, step: 0, open: false, boundary: after, captured, slots: HashMap::new() }
    }

    pub fn boundary(&self) -> usize {
        self.boundary
    }

    pub fn at_boundary(&self) -> bool {
        !self.open
    }

    pub fn is_dry(&self, server: &Server) -> bool {
        self.entry > server.end()
    }

    /// The next item; `None` where the server has no more.
    pub fn next(&mut self, server: &Server) -> Option<Item> {
        let placed = server.entry_at(self.entry)?;
        let step = self.step;
        let Entry::Group(group) = &placed.entry else { return Some(self.file(server)) };
        self.step += 1;
        let origin = server.origin(self.entry, placed.begin + EVENT * u64::try_from(step + 1).unwrap());
        if step == 0 {
            self.open = true;
            return Some(match group.ending {
                Ending::OnePhase(number) | Ending::Prepare(number) => Item::BeginXa { xid: xid(number), origin },
                _ => Item::Nothing,
            });
        }
        if let Ending::XaCommit(number, _) | Ending::XaRollback(number) = group.ending {
            self.ended();
            let commits = group.ending.commits();
            return Some(Item::Outcome { xid: xid(number), commits, origin });
        }
        match group.events.get(step - 1) {
            Some(Event::Statement(sql) | Event::Unseen { sql, .. }) => {
                let ends = group.ending == Ending::Statement;
                if ends {
                    self.ended();
                }
                Some(Item::Statement { sql: sql.clone(), origin, ends })
            }
            Some(Event::Rows { name, .. }) if !self.captured.captures(*name) => Some(Item::Nothing),
            Some(Event::Rows { name, shape, op, changes, told }) => {
                let lacks = server.metadata.at(self.entry);
                Some(self.rows((*name, *shape, lacks), *op, (changes, *told), origin))
            }
            None => match group.ending {
                Ending::Commit | Ending::Statement => {
                    self.ended();
                    Some(Item::Commit { origin })
                }
                Ending::Prepare(_) | Ending::OnePhase(_) | Ending::XaCommit(..) | Ending::XaRollback(_) => {
                    self.ended();
                    Some(Item::Prepare { one_phase: group.ending.commits(), origin })
                }
                Ending::Rollback => {
                    self.ended();
                    Some(Item::Rollback { origin })
                }
                Ending::CutOff => {
                    // What ends it is the next file.
                    self.entry += 1;
                    self.step = 0;
                    Some(self.file(server))
                }
            },
        }
    }

    fn ended(&mut self) {
        self.boundary = self.entry;
        self.entry += 1;
        self.step = 0;
        self.open = false;
    }

    /// A file begins: a rotation, which moves no boundary, and then a format description.
    fn file(&mut self, server: &Server) -> Item {
        self.step += 1;
        if self.step == 2 {
            self.ended();
            return Item::Nothing;
        }
        if !std::mem::take(&mut self.open) {
            return Item::Nothing;
        }
        let mut origin = server.origin(self.entry - 1, 4);
        let SourcePlace::MySql(place) = &mut origin.place;
        place.file_number += 1;
        Item::CutOff { origin }
    }

    fn rows(
        &mut self,
        (name, shape, lacks): (Name, Shape, Lacks),
        op: RowOp,
        (changes, told): (&[Change], Told),
        origin: Origin,
    ) -> Item {
        let layouts = layouts(name, shape);
        let layout = &layouts.seen;
        let slots = self.slots.len();
        let (slot, known) = self.slots.entry(name).or_insert((slots, None));
        if known.as_ref().is_none_or(|(schema, lacked)| *schema != layout.schema || *lacked != lacks) {
            *known = Some((Arc::clone(&layout.schema), lacks));
            // The rows come next.
            self.step -= 1;
            let mapped = Arc::new(Mapped::of(&layout.schema, lacks));
            return Item::Schema { slot: *slot, told: mapped, origin };
        }
        if let Told::Partly(before, after) = told {
            let partial = partial(layout, op, changes, (before, after));
            return Item::Partial { slot: *slot, partial, origin };
        }
        let with_extra = (told == Told::Extra).then(|| layout.with_extra());
        let layout = with_extra.as_ref().unwrap_or(layout);
        let mut images = Vec::new();
        for row in changes.iter().flat_map(|change| [change.before, change.after]).flatten() {
            layout.write(&row, &mut images);
        }
        let rows = u32::try_from(changes.len()).unwrap();
        Item::Rows { slot: *slot, op, rows, columns: layout.schema.columns.len(), images, origin }
    }
}
