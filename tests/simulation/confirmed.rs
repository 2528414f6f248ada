//! A description that the server gives far ahead of the stream: it holds at once where it shows what the statements up to there have
//! made of the table, and nowhere before its place otherwise. One history, step by step.

use std::collections::BTreeSet;
use std::rc::Rc;

use replicator::codec::frame::{FrameHeader, TableChange};
use replicator::codec::stored::{SOURCE_POSITION, StoredPosition, encode};
use replicator::ingest::core::Settings;
use replicator::source::mysql::schema::Flavour;

use super::binlog::{Ending, Event, Group};
use super::captured::Captured;
use super::coordinator::{Coordinator, Pace};
use super::daemon::Daemon;
use super::frames::{Schemas, decode};
use super::kinds::Kind;
use super::log::SimLog;
use super::rng::Rng;
use super::server::{Server, State, Table};
use super::shape::{Called, Def, K, Keyed, Shape, V};
use super::tables::Name;

/// A server, and a daemon that reads it from its beginning.
struct Script {
    server: Server,
    daemon: Daemon,
    rng: Rng,
    name: Name,
}

fn column(called: Called, kind: Kind) -> Def {
    Def::plain(called, kind, called != K)
}

impl Script {
    fn new(flavour: Flavour) -> Self {
        let server = Server::new(flavour, State::default());
        let position = encode(&StoredPosition::MySql(server.position(0))).unwrap();
        let log = SimLog::new([(SOURCE_POSITION.key().to_vec(), position)], usize::MAX);
        let captured = Captured::all(false);
        let settings = Settings {
            filter: captured.filter(),
            initial: true,
            sinks: Vec::new(),
            describe_wait: 2_000,
            doubts: replicator::config::DoubtPlan { reread_pause: std::time::Duration::ZERO, ..Default::default() },
            frame_bytes: 4_000,
        };
        let coordinator = Coordinator::new(Pace { tables: 1, readers: 1, rows: 1, failing: 0 });
        let mut daemon = Daemon::start(log, &server, (settings, captured), coordinator).unwrap();
        daemon.connect(&server).unwrap();
        Self { server, daemon, rng: Rng::new(1), name: Name::capturable().next().unwrap() }
    }

    /// A statement that makes the table one of these columns.
    fn write(&mut self, sql: &str, columns: &[Def]) {
        let mut state = State::clone(self.server.now());
        let shape = Shape::new(columns, Keyed::Primary(K, None), true);
        let version = self.server.end() + 1;
        let table = Table { shape, rows: Rc::default(), version, reshaped: version, number: 1 };
        state.tables.insert(self.name, table);
        let events = vec![Event::Statement(sql.replace("{}", &self.name.sql()))];
        let group = Group { events, kept: vec![true], ending: Ending::Statement, undone: BTreeSet::new() };
        self.server.write(group, state);
    }

    /// Statements about something else.
    fn write_others(&mut self) {
        for _ in 0..100 {
            let state = State::clone(self.server.now());
            let events = vec![Event::Statement("CREATE VIEW x.v AS SELECT 1".to_owned())];
            let group = Group { events, kept: vec![true], ending: Ending::Statement, undone: BTreeSet::new() };
            self.server.write(group, state);
        }
    }

    /// The stream comes to the end of an entry.
    fn read_to(&mut self, entry: usize) {
        while self.daemon.session.as_ref().unwrap().stream.boundary() < entry {
            assert!(self.daemon.event(&self.server, &mut self.rng).unwrap());
        }
    }

    /// The server answers what it was asked.
    fn answer(&mut self) {
        self.daemon.ask(&self.server, &mut self.rng, 0);
        assert!(self.daemon.answer(&mut self.rng, 0).unwrap());
    }

    /// The columns of each schema that the log gives to the table, in order.
    fn schemas(&mut self) -> Vec<Vec<String>> {
        self.daemon.hand_over().unwrap();
        while self.daemon.log().waiting() > 0 {
            self.daemon.sync();
        }
        let (log, mut schemas) = (self.daemon.log(), Schemas::default());
        let changes = log.frames().iter().filter_map(|frame| match decode(frame).unwrap().header {
            FrameHeader::Change { change: TableChange::Schema { to, .. }, .. } => Some(to),
            _ => None,
        });
        let changes: Vec<_> = changes.collect();
        let mut columns = |id| schemas.get(log.values(), id).unwrap().definition().columns.clone();
        changes.into_iter().map(|id| columns(id).into_iter().map(|column| column.name).collect()).collect()
    }
}

const CREATE: &str = "CREATE TABLE {} (`k` INT NOT NULL PRIMARY KEY, `v` VARBINARY(300))";

#[test]
fn a_description_that_shows_what_the_statements_have_made_is_adopted_before_its_place() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        let mut script = Script::new(flavour);
        let (k, v) = (column(K, Kind::Int), column(V, Kind::Text));
        script.write(CREATE, &[k, v]);
        script.write_others();
        script.read_to(1);
        script.answer();
        assert_eq!(script.schemas(), [["k", "v"]], "{flavour:?}: the stream is 100 entries before the description");

        let altered = script.server.end() + 1;
        script.write("ALTER TABLE {} MODIFY `v` BIGINT FIRST", &[column(V, Kind::Big), k]);
        script.write_others();
        script.read_to(altered);
        script.answer();
        let expected = [["k", "v"], ["v", "k"]];
        assert_eq!(script.schemas(), expected, "{flavour:?}");

        // At its place it says nothing else.
        script.read_to(script.server.end());
        assert_eq!(script.schemas(), expected, "{flavour:?}");
    }
}

#[test]
fn a_description_of_a_later_state_waits_and_is_dropped() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        let mut script = Script::new(flavour);
        let (k, v) = (column(K, Kind::Int), column(V, Kind::Text));
        script.write(CREATE, &[k, v]);
        script.write_others();
        script.write("ALTER TABLE {} MODIFY `v` BIGINT", &[k, column(V, Kind::Big)]);
        script.read_to(1);
        script.answer();
        assert!(script.schemas().is_empty(), "{flavour:?}: the type of `v` is a later one");

        script.read_to(script.server.end());
        assert!(script.schemas().is_empty(), "{flavour:?}: a statement came before the place of the description");
        script.answer();
        assert_eq!(script.schemas(), [["k", "v"]], "{flavour:?}");
    }
}
