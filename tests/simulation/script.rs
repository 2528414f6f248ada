//! One history step by step: what the server writes, and what the daemon does, is said by a test.

use std::collections::BTreeSet;
use std::rc::Rc;

use replicator::codec::frame::{FrameHeader, RowOp, TableChange};
use replicator::codec::stored::{self, SOURCE_POSITION, StoredPosition, TABLE, encode};
use replicator::ingest::core::Settings;
use replicator::ingest::ledger::Log as _;
use replicator::model::Lacks;
use replicator::source::mysql::schema::Flavour;
use replicator::table::{self, At, TableRecord};

use super::binlog::{Change, Ending, Event, Group};
use super::captured::Captured;
use super::coordinator::{Coordinator, Pace};
use super::daemon::Daemon;
use super::frames::{Schemas, decode};
use super::kinds::Kind;
use super::log::SimLog;
use super::metadata::Metadata;
use super::rng::Rng;
use super::server::{Server, State, Table};
use super::shape::{Called, Def, K, Keyed, Shape};
use super::tables::{Name, Rows, add};
use super::told::Told;

/// A server, and a daemon that reads it from its beginning.
pub struct Script {
    pub server: Server,
    pub daemon: Daemon,
    rng: Rng,
    pub name: Name,
}

pub fn column(called: Called, kind: Kind) -> Def {
    Def::plain(called, kind, called != K)
}

/// A daemon over a log, that is connected.
fn started(log: SimLog, server: &Server, captured: Captured) -> Daemon {
    let settings = Settings {
        filter: captured.filter(),
        initial: true,
        sinks: Vec::new(),
        describe_wait: 2_000,
        doubts: replicator::config::DoubtPlan { reread_pause: std::time::Duration::ZERO, ..Default::default() },
        frame_bytes: 4_000,
        xa_bytes: 64 << 20,
        xa_piece_bytes: 100,
    };
    let coordinator = Coordinator::new(Pace { tables: 1, readers: 1, rows: 1, failing: 0, keyless_rows: 1_000 });
    let mut daemon = Daemon::start(log, server, (settings, captured), coordinator).unwrap();
    daemon.connect(server).unwrap();
    daemon
}

impl Script {
    pub fn new(flavour: Flavour) -> Self {
        Self::with(flavour, Metadata::Always(Lacks::NOTHING))
    }

    pub fn with(flavour: Flavour, metadata: Metadata) -> Self {
        let server = Server::new(flavour, metadata, State::default());
        let position = encode(&StoredPosition::MySql(server.position(0))).unwrap();
        let log = SimLog::new([(SOURCE_POSITION.key().to_vec(), position)], usize::MAX);
        let daemon = started(log, &server, Captured::all(false));
        Self { server, daemon, rng: Rng::new(1), name: Name::capturable().next().unwrap() }
    }

    /// The daemon starts again, with a configuration that excludes the table.
    pub fn excluded(mut self) -> Self {
        self.changes();
        let record = self.record();
        let mut log = self.daemon.crash();
        let record = table::step(&record, table::Event::Excluded, At::new(log.durable().next(), 0)).0;
        log.change(vec![record.change(&self.name.table()).unwrap()]);
        let daemon = started(log, &self.server, Captured::all(false).with_other(self.name));
        Self { daemon, ..self }
    }

    /// The table's record, as the log has it.
    pub fn record(&mut self) -> TableRecord {
        self.changes();
        stored::get(self.daemon.log().values(), &TABLE.of_table(&self.name.table())).unwrap().unwrap()
    }

    /// A statement that makes the table one of these columns.
    pub fn write(&mut self, sql: &str, columns: &[Def]) {
        let mut state = State::clone(self.server.now());
        let shape = Shape::new(columns, Keyed::Primary(K, None), true);
        let version = self.server.end() + 1;
        let table = Table { shape, rows: Rc::default(), version, reshaped: version, number: 1 };
        state.tables.insert(self.name, table);
        let events = vec![Event::Statement(sql.replace("{}", &self.name.sql()))];
        let group = Group { events, kept: vec![true], ending: Ending::Statement, undone: BTreeSet::new() };
        self.server.write(group, state);
    }

    /// A row comes to the table, which is of this shape.
    pub fn insert(&mut self, shape: Shape) {
        let (name, row) = (self.name, shape.row(|_| 1));
        let mut state = State::clone(self.server.now());
        let mut rows = Rows::new();
        add(&mut rows, row);
        state.tables.insert(name, Table { shape, rows: Rc::new(rows), version: 0, reshaped: 0, number: 1 });
        let changes = vec![Change { before: None, after: Some(row) }];
        let events = vec![Event::Rows { name, shape, op: RowOp::Insert, changes, told: Told::Whole }];
        let group = Group { events, kept: vec![true], ending: Ending::Commit, undone: BTreeSet::new() };
        self.server.write(group, state);
    }

    /// Statements about something else.
    pub fn write_others(&mut self) {
        for _ in 0..100 {
            let state = State::clone(self.server.now());
            let events = vec![Event::Statement("CREATE VIEW x.v AS SELECT 1".to_owned())];
            let group = Group { events, kept: vec![true], ending: Ending::Statement, undone: BTreeSet::new() };
            self.server.write(group, state);
        }
    }

    /// The stream comes to the end of an entry.
    pub fn read_to(&mut self, entry: usize) {
        while self.daemon.session.as_ref().unwrap().stream.boundary() < entry {
            assert!(self.daemon.event(&self.server, &mut self.rng).unwrap());
        }
    }

    /// Whether the server has a question to answer.
    pub fn is_asked(&self) -> bool {
        self.daemon.session.as_ref().is_some_and(|session| !session.questions.is_empty())
    }

    /// The server answers what it was asked.
    pub fn answer(&mut self) {
        self.daemon.ask(&self.server, &mut self.rng, 0);
        assert!(self.daemon.answer(&mut self.rng).unwrap());
    }

    /// The columns of each schema that the log gives to the table, in order.
    pub fn schemas(&mut self) -> Vec<Vec<String>> {
        let (changes, mut schemas) = (self.changes(), Schemas::default());
        let ids = changes.into_iter().filter_map(|change| match change {
            TableChange::Schema { to, .. } => Some(to),
            _ => None,
        });
        let values = self.daemon.log().values();
        let mut columns = |id| schemas.get(values, id).unwrap().definition().columns.clone();
        ids.map(|id| columns(id).into_iter().map(|column| column.name).collect()).collect()
    }

    /// The changes of tables that the log has, in order.
    pub fn changes(&mut self) -> Vec<TableChange> {
        self.daemon.hand_over().unwrap();
        while self.daemon.log().waiting() > 0 {
            self.daemon.sync();
        }
        let changes = self.daemon.log().frames().iter().filter_map(|frame| match decode(frame).unwrap().header {
            FrameHeader::Change { change, .. } => Some(change),
            _ => None,
        });
        changes.collect()
    }
}
