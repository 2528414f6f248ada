//! The server: what its tables hold, and its binlog, place by place.
//!
//! Transactions are executed one after another, in the order of the binlog. A transaction may be in the binlog before a view
//! shows it ([`Server::shown`]), as on both servers. Every state is kept, so that a view can be of any place.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use replicator::ingest::core::Facts;
use replicator::model::{BinlogPlace, FilePos, Gtid, Origin, ServerIdentity, SourcePlace, SourcePosition};
use replicator::source::mysql::schema::Flavour;

use super::binlog::{Ending, Entry, Group, Placed};
use super::metadata::Metadata;
use super::shape::Shape;
use super::tables::{Name, Rows};
use super::trace;
use super::xa::Xa;

/// A table at one place.
#[derive(Clone, Debug)]
pub struct Table {
    pub shape: Shape,
    pub rows: Rc<Rows>,
    /// Another one after each statement about the table.
    pub version: usize,
    /// The entry of the last statement after which its columns, or values of its rows, were others.
    pub reshaped: usize,
    /// The same under every name, and no other table's.
    pub number: usize,
}

/// Every table at one place.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub tables: BTreeMap<Name, Table>,
}

impl State {
    pub fn rows(&mut self, name: Name) -> &mut Rows {
        Rc::make_mut(&mut self.tables.get_mut(&name).unwrap().rows)
    }
}

#[derive(Debug)]
pub struct Server {
    flavour: Flavour,
    pub metadata: Metadata,
    binlog: Vec<Placed>,
    /// After each entry of the binlog.
    states: Vec<Rc<State>>,
    /// The last entry that a view shows.
    shown: usize,
    transactions: u64,
    /// The table that a client has locked.
    locked: Option<Name>,
    /// Tables that the daemon's account may not read.
    revoked: BTreeSet<Name>,
    /// Tables that it once could not read.
    once_revoked: BTreeSet<Name>,
    /// Two-phase transactions.
    pub xa: Xa,
}

/// The server's UUID, as text and as bytes.
const UUID: &str = "01010101-0101-0101-0101-010101010101";
const UUID_BYTES: [u8; 16] = [1; 16];
/// Bytes that every event has.
pub const EVENT: u64 = 40;
/// End of a file's format description.
const FILE_START: u64 = 126;

impl Server {
    pub fn new(flavour: Flavour, metadata: Metadata, state: State) -> Self {
        let first = Placed { entry: Entry::File, file: 1, begin: 4, end: FILE_START, gtid: 0 };
        Self {
            flavour,
            metadata,
            binlog: vec![first],
            states: vec![Rc::new(state)],
            shown: 0,
            transactions: 0,
            locked: None,
            revoked: BTreeSet::new(),
            once_revoked: BTreeSet::new(),
            xa: Xa::default(),
        }
    }

    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub fn facts(&self) -> Facts {
        let (version, identity) = match self.flavour {
            Flavour::MySql => ((9, 7, 0), ServerIdentity::MySql { server_uuid: UUID.to_owned() }),
            Flavour::MariaDb => ((10, 11, 0), ServerIdentity::MariaDb { server_id: 1, domain_id: 0 }),
        };
        Facts { flavour: self.flavour, version, identity, tells_names: self.metadata.at(self.end()).is_nothing() }
    }

    /// The last entry of the binlog.
    pub fn end(&self) -> usize {
        self.binlog.len() - 1
    }

    /// The last entry that a view shows.
    pub fn shown(&self) -> usize {
        self.shown
    }

    /// A view shows more of what is in the binlog.
    pub fn show(&mut self, upto: usize) {
        self.shown = self.shown.max(upto.min(self.end()));
    }

    /// The table that a client has locked.
    pub fn locked(&self) -> Option<Name> {
        self.locked
    }

    /// A client locks a table, or none any more.
    pub fn lock(&mut self, name: Option<Name>) {
        self.locked = name;
    }

    /// Whether the daemon's account may read tables of this name.
    pub fn may_read(&self, name: Name) -> bool {
        !self.revoked.contains(&name)
    }

    /// `REVOKE SELECT` and `GRANT SELECT`.
    pub fn let_read(&mut self, name: Name, may_read: bool) {
        let is_new = if may_read { self.revoked.remove(&name) } else { self.revoked.insert(name) };
        self.once_revoked.extend((!may_read).then_some(name));
        if is_new {
            trace::note(|| format!("server: {name} {} be read", if may_read { "may" } else { "may not" }));
        }
    }

    /// Whether there was a time at which it could not.
    pub fn was_hidden(&self, name: Name) -> bool {
        self.once_revoked.contains(&name)
    }

    /// The definition of a table, if it is there and the daemon's account may read it.
    pub fn visible(&self, name: Name) -> Option<&Table> {
        self.now().tables.get(&name).filter(|_| self.may_read(name))
    }

    pub fn entry(&self, place: usize) -> &Placed {
        &self.binlog[place]
    }

    /// The entry after a place, if the binlog has it.
    pub fn entry_at(&self, place: usize) -> Option<&Placed> {
        self.binlog.get(place)
    }

    /// The state after an entry.
    pub fn state(&self, place: usize) -> &Rc<State> {
        &self.states[place]
    }

    /// The current state.
    pub fn now(&self) -> &Rc<State> {
        self.states.last().unwrap()
    }

    /// Writes a group.
    pub fn write(&mut self, group: Group, state: State) {
        let before = self.binlog.last().unwrap();
        let (file, begin) = (before.file, before.end);
        let gtid = self.transactions + 1;
        let is_cut = group.ending == Ending::CutOff;
        let end = if is_cut { begin } else { begin + EVENT * u64::try_from(group.events.len() + 2).unwrap() };
        if !is_cut {
            self.transactions = gtid;
        }
        let placed = Placed { entry: Entry::Group(group), file, begin, end, gtid };
        trace::note(|| format!("server: entry {} {placed}", self.binlog.len()));
        self.binlog.push(placed);
        self.states.push(Rc::new(state));
        if is_cut {
            self.rotate();
            self.show(self.end());
        }
    }

    /// Begins another file.
    pub fn rotate(&mut self) {
        let file = self.binlog.last().unwrap().file + 1;
        trace::note(|| format!("server: entry {} begins file {file}", self.binlog.len()));
        self.binlog.push(Placed { entry: Entry::File, file, begin: 4, end: FILE_START, gtid: 0 });
        self.states.push(Rc::clone(self.states.last().unwrap()));
    }

    /// The boundary after an entry.
    pub fn place(&self, entry: usize) -> FilePos {
        let placed = &self.binlog[entry];
        FilePos { file: file_name(placed.file), pos: placed.end }
    }

    /// Creation time of an entry's file.
    pub fn file_created(file: u64) -> u32 {
        1_000 + u32::try_from(file).unwrap()
    }

    /// The first entry that ends at a boundary.
    pub fn entry_of(&self, file: u64, pos: u64) -> Option<usize> {
        let place = self.binlog.partition_point(|placed| (placed.file, placed.end) < (file, pos));
        self.binlog.get(place).filter(|placed| (placed.file, placed.end) == (file, pos)).map(|_| place)
    }

    /// The entry that an origin of a group is in, the last such.
    pub fn entry_of_origin(&self, origin: &Origin) -> Option<usize> {
        let at = origin.binlog();
        let place = self.binlog.partition_point(|placed| (placed.file, placed.end) < (at.file_number, at.pos));
        let placed = self.binlog.get(place)?;
        (placed.file == at.file_number && placed.begin < at.pos && at.gtid == self.gtid(placed.gtid)).then_some(place)
    }

    /// The number of a transaction as the server gives it.
    pub fn gtid(&self, number: u64) -> Gtid {
        match self.flavour {
            Flavour::MySql => Gtid::MySql { uuid: UUID_BYTES, tag: String::new(), number },
            Flavour::MariaDb => Gtid::MariaDb { domain: 0, server: 1, sequence: number },
        }
    }

    /// Transactions executed up to an entry, as the server's text.
    pub fn executed(&self, entry: usize) -> String {
        let counts = |placed: &&Placed| matches!(&placed.entry, Entry::Group(group) if group.ending != Ending::CutOff);
        let last = self.binlog[..=entry].iter().rev().find(counts).map(|placed| placed.gtid);
        match (self.flavour, last) {
            (_, None) => String::new(),
            (Flavour::MySql, Some(1)) => format!("{UUID}:1"),
            (Flavour::MySql, Some(last)) => format!("{UUID}:1-{last}"),
            (Flavour::MariaDb, Some(last)) => format!("0-1-{last}"),
        }
    }

    /// The position after an entry.
    pub fn position(&self, entry: usize) -> SourcePosition {
        let placed = &self.binlog[entry];
        SourcePosition {
            server: self.facts().identity,
            file: file_name(placed.file),
            pos: placed.end,
            file_created: Self::file_created(placed.file),
            gtid: self.executed(entry),
        }
    }

    /// Where an event of an entry comes from.
    pub fn origin(&self, entry: usize, pos: u64) -> Origin {
        let placed = &self.binlog[entry];
        let place = BinlogPlace { file_number: placed.file, pos, gtid: self.gtid(placed.gtid) };
        let commit_micros = i64::try_from(entry).unwrap() * 1_000_000;
        Origin { commit_micros, place: SourcePlace::MySql(place) }
    }

    /// Whether a group after one entry and up to another was taken back while its rows of a table stayed.
    pub fn has_undone(&self, number: usize, after: usize, upto: usize) -> bool {
        let between = self.binlog.iter().take(upto + 1).skip(after + 1);
        between.filter_map(Placed::group).any(|group| group.undone.contains(&number))
    }
}

/// A binlog file's name.
pub fn file_name(file: u64) -> String {
    format!("binlog.{file:06}")
}
