//! One history: a server with its clients, a daemon that is started, cut off, stopped and killed, an operator, and sinks, in an order
//! that the seed decides. At the end everything comes to rest, and the copies are those of the server.

use replicator::codec::stored::{SOURCE_POSITION, StoredPosition, encode};
use replicator::ingest;
use replicator::ingest::core::Settings;
use replicator::source::mysql::schema::Flavour;
use replicator::table::ByHand;

use super::audit::Audit;
use super::binlog::Ending;
use super::captured::Captured;
use super::clock::Time;
use super::coordinator::Pace;
use super::daemon::{Daemon, Finding, failed};
use super::doubting::doubts;
use super::first::first_state;
use super::habits::Habits;
use super::log::{SimLog, Values};
use super::metadata::Metadata;
use super::rng::Rng;
use super::server::Server;
use super::sinks::Sinks;
use super::stated::Stated;
use super::tables::Name;
use super::trace;
use super::workload::Clients;

/// Milliseconds that delivery may wait for an answer.
const DESCRIBE_WAIT: u64 = 2_000;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Client,
    Show,
    Rotate,
    ServerCrash,
    Event,
    Heartbeat,
    Serve,
    Ask,
    Answer,
    Look,
    HandOver,
    Sync,
    Reader,
    Place,
    Sink,
    Wait,
    Backfill,
    Privilege,
    DropCursor,
    LostRow,
    Disconnect,
    Stop,
    Kill,
}

pub struct World {
    pub(super) rng: Rng,
    pub(super) server: Server,
    clients: Clients,
    /// The daemon, or the log that the last one left.
    pub(super) daemon: Option<Daemon>,
    pub(super) log: Option<SimLog>,
    pub(super) sinks: Sinks,
    pub(super) audit: Audit,
    pub(super) stated: Stated,
    pub(super) settings: Settings,
    /// What the configuration captures.
    pub(super) captured: Captured,
    pub(super) pace: Pace,
    weights: Vec<(usize, Step)>,
    steps: usize,
    /// Of a hundred descriptions: those that are refused.
    pub(super) refused: usize,
    /// Of a hundred starts: those with another configuration.
    pub(super) reconfigured: usize,
    /// Of a hundred starts: those at which the source cannot go on from the log's position, and an operator gives it up.
    pub(super) skipped: usize,
    pub(super) time: Time,
}

/// Why an operator leaves a table out. Its rows are not looked for from then on, as with `on_doubt: stop_table`.
const LEFT_OUT: &str = "an operator has it left out, as stop_table does";

/// What a history came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub groups: usize,
    pub frames: usize,
    pub explained: usize,
}

impl World {
    pub fn new(seed: u64, metadata: Metadata) -> Result<Self, Finding> {
        let mut rng = Rng::new(seed);
        let flavour = if rng.percent(50) { Flavour::MySql } else { Flavour::MariaDb };
        let is_calm = rng.percent(20);
        // Histories without two-phase transactions are what they would be if there were none.
        let mut of_xa = Rng::new(seed ^ (5 << 40));
        let habits = if is_calm { Habits::calm(&mut rng) } else { Habits::any(&mut rng) };
        let two_phase = of_xa.weighted(&[(3, 0), (1, 10), (1, 40)]);
        let habits = Habits { two_phase, ..habits };
        let server = Server::new(flavour, metadata, first_state(flavour, &habits, &mut rng));
        // Half of the other histories have an operator who is never content.
        let is_operated = !is_calm && rng.percent(50);
        let often = |rng: &mut Rng| if is_calm { rng.below(2) } else { rng.weighted(&[(1, 0), (2, 1), (1, 4)]) };
        // Where a few rows change all the time, they are read while they do.
        let quick = if is_calm { 3 } else { 1 };
        // In a fifth of them the stream is far behind the server.
        let is_behind = rng.percent(20);
        let weights = vec![
            (rng.between(4, 40), Step::Client),
            (quick * 20, Step::Show),
            (1, Step::Rotate),
            (often(&mut rng), Step::ServerCrash),
            (if is_behind { rng.between(3, 12) } else { quick * rng.between(40, 150) }, Step::Event),
            (1, Step::Heartbeat),
            (quick * rng.between(15, 60), Step::Serve),
            (rng.between(1, 10), Step::Ask),
            (rng.between(1, 10), Step::Answer),
            (6, Step::Look),
            (quick * rng.between(2, 20), Step::HandOver),
            (quick * rng.between(4, 20), Step::Sync),
            (quick * rng.between(40, 150), Step::Reader),
            (quick * rng.between(5, 60), Step::Place),
            (8, Step::Sink),
            (often(&mut rng), Step::Wait),
            (often(&mut rng) / 2, Step::Backfill),
            (if is_operated { 4 } else { often(&mut rng) / 2 }, Step::Privilege),
            (if is_operated { 3 } else { 0 }, Step::DropCursor),
            (often(&mut rng) / 2, Step::LostRow),
            (quick * often(&mut rng), Step::Disconnect),
            (if is_operated { rng.between(2, 8) } else { often(&mut rng) / 2 }, Step::Stop),
            (often(&mut rng), Step::Kill),
        ];
        let captured = Captured::all(rng.percent(50));
        let mut world = Self {
            server,
            clients: Clients::new(habits),
            daemon: None,
            log: None,
            sinks: Sinks::new(rng.between(1, 3)),
            audit: Audit::new(0, captured),
            stated: Stated::default(),
            captured,
            settings: Settings {
                filter: captured.filter(),
                initial: true,
                sinks: Vec::new(),
                describe_wait: DESCRIBE_WAIT,
                doubts: doubts(&mut rng),
                frame_bytes: rng.weighted(&[(2, 30), (2, 100), (1, 4_000)]),
                xa_bytes: of_xa.weighted(&[(3, 64 << 20), (1, 200)]),
                xa_piece_bytes: of_xa.weighted(&[(2, 20), (1, 100), (1, 10_000)]),
            },
            pace: Pace {
                tables: rng.between(1, 3),
                readers: rng.between(1, 3),
                rows: rng.between(1, 6),
                failing: rng.weighted(&[(2, 0), (1, 10)]),
                keyless_rows: rng.weighted(&[(4, 1_000), (1, 6)]),
            },
            weights,
            steps: rng.between(200, 700) * if is_calm { 2 } else { 1 },
            refused: rng.weighted(&[(1, 0), (1, 20)]),
            reconfigured: if is_operated { rng.between(30, 90) } else { 0 },
            skipped: if is_operated { rng.weighted(&[(2, 0), (1, 15), (1, 50)]) } else { 0 },
            time: Time::BEGIN,
            rng,
        };
        world.first_contact()?;
        Ok(world)
    }

    /// A new log, from the end of the binlog on.
    fn first_contact(&mut self) -> Result<(), Finding> {
        for _ in 0..self.rng.below(6) {
            self.clients.act(&mut self.server, &mut self.rng);
        }
        let end = self.server.end();
        self.server.show(self.rng.below(end + 1));
        let room = self.rng.weighted(&[(3, usize::MAX), (1, 60)]);
        let position = encode(&StoredPosition::MySql(self.server.position(end))).map_err(failed)?;
        let unread = ingest::unread_transactions(&Values::default(), &self.server.xa.listed()).map_err(failed)?;
        let may_be_unseen = self.server.flavour() == Flavour::MariaDb && self.server.xa.has_committed();
        let unseen = may_be_unseen.then(|| ingest::unseen_commits(self.time.wall)).transpose().map_err(failed)?;
        let known = unread.into_iter().chain(unseen).filter_map(|(key, value)| Some((key, value?)));
        let values = known.chain([(SOURCE_POSITION.key().to_vec(), position)]);
        self.log = Some(SimLog::new(values, room));
        self.audit = Audit::new(end, self.captured);
        Ok(())
    }

    /// Runs the history to its end.
    pub fn run(mut self) -> Result<Summary, Finding> {
        for _ in 0..self.steps {
            let step = self.rng.weighted(&self.weights);
            self.step(step)?;
        }
        self.come_to_rest()?;
        self.compare()?;
        let log = self.daemon.as_ref().map(Daemon::log);
        Ok(Summary {
            groups: self.server.end(),
            frames: log.map_or(0, |log| log.frames().len()),
            explained: self.audit.explained.len(),
        })
    }

    fn step(&mut self, step: Step) -> Result<(), Finding> {
        let millis = u64::try_from(self.rng.below(20)).unwrap();
        self.pass_time(millis);
        match step {
            Step::Client => self.clients.act(&mut self.server, &mut self.rng),
            Step::Show => {
                let upto = self.server.shown() + self.rng.between(1, 3);
                self.server.show(upto);
            }
            Step::Rotate => self.server.rotate(),
            Step::ServerCrash => {
                trace::note(|| "server: crashes".to_owned());
                Clients::unlock(&mut self.server);
                if self.rng.percent(70) {
                    self.clients.transaction(&mut self.server, &mut self.rng, Ending::CutOff);
                } else {
                    self.server.rotate();
                }
                if let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.is_reading()) {
                    daemon.disconnect()?;
                }
            }
            Step::Sink => {
                self.apply(60)?;
            }
            Step::Kill => {
                trace::note(|| "daemon: is killed".to_owned());
                self.kill()?;
            }
            Step::Wait => self.pass_time(DESCRIBE_WAIT),
            Step::Privilege => {
                let names: Vec<Name> = Name::all().collect();
                let name = names[self.rng.below(names.len())];
                let may_read = self.rng.percent(60);
                self.server.let_read(name, may_read);
            }
            Step::DropCursor => self.sinks.drop_cursor(&mut self.rng),
            Step::Event
            | Step::Heartbeat
            | Step::Serve
            | Step::Ask
            | Step::Answer
            | Step::Look
            | Step::HandOver
            | Step::Sync
            | Step::Reader
            | Step::Place
            | Step::Backfill
            | Step::LostRow
            | Step::Disconnect
            | Step::Stop => self.daemon_step(step)?,
        }
        Ok(())
    }

    pub(super) fn daemon_step(&mut self, step: Step) -> Result<(), Finding> {
        let Some(daemon) = &mut self.daemon else { return self.start() };
        let (server, rng) = (&self.server, &mut self.rng);
        match step {
            Step::Event if !daemon.is_connected() => daemon.connect(server)?,
            Step::Event => {
                for _ in 0..rng.between(1, 4) {
                    daemon.event(server, rng)?;
                }
            }
            Step::Heartbeat => daemon.heartbeat(server)?,
            Step::Serve => drop(daemon.serve()?),
            Step::Ask => daemon.ask(server, rng, self.refused),
            Step::Answer => drop(daemon.answer(rng)?),
            Step::Look => daemon.look()?,
            Step::HandOver if daemon.is_between_groups() => daemon.hand_over()?,
            Step::Sync => {
                daemon.decide_beside()?;
                return self.sync();
            }
            Step::Reader => {
                let has_room = daemon.log().has_room();
                daemon.coordinator.step(server, (self.time.wall, has_room), rng)?;
                daemon.go_on()?;
                daemon.take_read_for().into_iter().for_each(|sink| self.sinks.are_read_for(sink));
            }
            Step::Place => drop(daemon.place_waiting(rng)?),
            Step::Backfill => {
                let names: Vec<Name> = self.captured.names().filter(|name| server.visible(*name).is_some()).collect();
                if let Some(name) = rng.pick(&names) {
                    match rng.weighted(&[(6, 0), (3, 1), (2, 2), (1, 3)]) {
                        0 => daemon.coordinator.backfill(*name, rng.percent(50)),
                        1 => daemon.coordinator.by_hand(*name, ByHand::Cancel(LEFT_OUT.to_owned())),
                        2 => daemon.coordinator.by_hand(*name, ByHand::Resume("an operator resumed it".to_owned())),
                        _ => daemon.coordinator.by_hand(*name, ByHand::Skip(LEFT_OUT.to_owned())),
                    }
                }
            }
            Step::LostRow => {
                if let Some(wish) = self.sinks.lose_a_row(rng) {
                    daemon.coordinator.wish(wish);
                }
            }
            Step::Disconnect if daemon.is_reading() => daemon.disconnect()?,
            Step::Stop => return self.stop(),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn pass_time(&mut self, millis: u64) {
        self.time.pass(millis);
        self.server.xa.wall = self.time.wall;
        if let Some(daemon) = &mut self.daemon {
            daemon.set_time(self.time);
        }
    }

    pub(super) fn sync(&mut self) -> Result<(), Finding> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if daemon.log().waiting() > 0 {
            daemon.sync();
        }
        // Records that are stored beside the groups make durable what was handed over before them.
        self.audit.look(daemon.log(), &self.server, &mut self.stated)?;
        self.check_records()
    }

    /// What the log says of tables is true.
    pub(super) fn check_records(&mut self) -> Result<(), Finding> {
        let Some(log) = self.daemon.as_ref().map(Daemon::log) else { return Ok(()) };
        self.stated.look(log)?;
        let changed = self.stated.take_changed();
        self.sinks.check(&changed, (log, &self.server, &self.stated))
    }

    /// Sinks apply their next groups, each in so many of a hundred cases. False: there is none, or they wait.
    pub(super) fn apply(&mut self, percent: usize) -> Result<bool, Finding> {
        self.check_records()?;
        let Some(daemon) = &mut self.daemon else { return Ok(false) };
        let applied = self.sinks.step(percent, (daemon.log(), &self.server, &self.stated), &mut self.rng)?;
        daemon.applied(self.sinks.applied(), self.rng.percent(30));
        Ok(applied)
    }
}
