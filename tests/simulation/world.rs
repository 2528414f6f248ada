//! One history: a server with its clients, a daemon that is started, cut off, stopped and killed, and a sink, in an order that the
//! seed decides. At the end everything comes to rest, and the copies are those of the server.

use std::collections::BTreeMap;

use globset::{Glob, GlobSet, GlobSetBuilder};
use replicator::codec::stored::{SOURCE_POSITION, StoredPosition, encode};
use replicator::config::TableFilter;
use replicator::ingest;
use replicator::ingest::core::Settings;
use replicator::ingest::ledger::Log as _;
use replicator::model::TableName;
use replicator::source::mysql::schema::Flavour;
use replicator::table::{self, At, Presence, Started, Starting};

use super::audit::Audit;
use super::binlog::Ending;
use super::coordinator::{Coordinator, Pace};
use super::daemon::{Daemon, Finding, failed};
use super::first::first_state;
use super::log::{SimLog, Values};
use super::rng::Rng;
use super::server::Server;
use super::sink::Sink;
use super::tables::{CAPTURED, Name};
use super::trace;
use super::workload::{Clients, Habits};

/// Milliseconds that delivery may wait for an answer.
const DESCRIBE_WAIT: u64 = 2_000;
/// Steps after which a history that nothing disturbs any more has to be at rest.
const REST: usize = 4_000;
/// Milliseconds of such a step. A log that is full may have to wait for one answer after another.
const REST_STEP: u64 = 10;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
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
    Sink,
    Wait,
    Backfill,
    Disconnect,
    Stop,
    Kill,
}

pub struct World {
    rng: Rng,
    server: Server,
    clients: Clients,
    /// The daemon, or the log that the last one left.
    daemon: Option<Daemon>,
    log: Option<SimLog>,
    sink: Sink,
    audit: Audit,
    settings: Settings,
    pace: Pace,
    weights: Vec<(usize, Step)>,
    steps: usize,
    refused: usize,
    /// Of this process, in milliseconds.
    now: u64,
    /// The entry after which the log begins.
    begun: usize,
}

/// What a history came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub groups: usize,
    pub frames: usize,
    pub explained: usize,
}

thread_local! {
    static FILTER: TableFilter = {
        let include = Glob::new(&format!("{CAPTURED}.*")).and_then(|glob| GlobSetBuilder::new().add(glob).build());
        TableFilter::new(include.unwrap(), GlobSet::empty())
    };
}

impl World {
    pub fn new(seed: u64) -> Result<Self, Finding> {
        let mut rng = Rng::new(seed);
        let flavour = if rng.percent(50) { Flavour::MySql } else { Flavour::MariaDb };
        let habits = Habits {
            keys: rng.between(4, 30),
            large: rng.weighted(&[(2, 0), (2, 15), (1, 50)]),
            rolled_back: rng.weighted(&[(2, 0), (2, 10), (1, 40)]),
            savepoints: rng.weighted(&[(2, 0), (2, 20), (1, 60)]),
            statements: rng.weighted(&[(4, 0), (2, 5), (2, 15)]),
            locks: rng.weighted(&[(4, 0), (1, 2), (1, 6)]),
        };
        let server = Server::new(flavour, first_state(flavour, &habits, &mut rng));
        let often = |rng: &mut Rng| rng.weighted(&[(1, 0), (2, 1), (1, 4)]);
        let weights = vec![
            (rng.between(4, 40), Step::Client),
            (20, Step::Show),
            (1, Step::Rotate),
            (often(&mut rng), Step::ServerCrash),
            (rng.between(40, 150), Step::Event),
            (1, Step::Heartbeat),
            (rng.between(15, 60), Step::Serve),
            (rng.between(1, 10), Step::Ask),
            (rng.between(1, 10), Step::Answer),
            (6, Step::Look),
            (rng.between(2, 20), Step::HandOver),
            (rng.between(4, 20), Step::Sync),
            (rng.between(40, 150), Step::Reader),
            (8, Step::Sink),
            (often(&mut rng), Step::Wait),
            (often(&mut rng) / 2, Step::Backfill),
            (often(&mut rng), Step::Disconnect),
            (often(&mut rng) / 2, Step::Stop),
            (often(&mut rng), Step::Kill),
        ];
        let mut world = Self {
            server,
            clients: Clients::new(habits),
            daemon: None,
            log: None,
            sink: Sink::default(),
            audit: Audit::default(),
            settings: Settings {
                filter: FILTER.with(TableFilter::clone),
                initial: true,
                sinks: Vec::new(),
                describe_wait: DESCRIBE_WAIT,
                frame_bytes: rng.weighted(&[(2, 30), (2, 100), (1, 4_000)]),
            },
            pace: Pace { tables: rng.between(1, 3), readers: rng.between(1, 3), rows: rng.between(1, 6) },
            weights,
            steps: rng.between(200, 700),
            refused: rng.weighted(&[(2, 0), (1, 20)]),
            now: 0,
            begun: 0,
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
        self.log = Some(SimLog::new([(SOURCE_POSITION.key().to_vec(), position)], room));
        self.audit = Audit::new(end);
        self.begun = end;
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

    fn start(&mut self) -> Result<(), Finding> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
        trace::note(|| "daemon: starts".to_owned());
        let stored = log.values().clone();
        self.meet(&stored, &mut log)?;
        let coordinator = Coordinator::new(self.pace.clone());
        self.now = 0;
        self.daemon = Some(Daemon::start(log, &self.server, self.settings.clone(), coordinator)?);
        Ok(())
    }

    /// What the real start does in `first_contact`.
    fn meet(&mut self, stored: &Values, log: &mut SimLog) -> Result<(), Finding> {
        let there = self.server.now().tables.keys().filter(|name| name.is_captured());
        let found: BTreeMap<TableName, Presence> = there.map(|name| (name.table(), Presence::Listed)).collect();
        let end = self.server.place(self.server.end());
        let position = ingest::stored_position(stored).map_err(failed)?.ok_or("the log has no position")?;
        let is_there = end.file == position.file && end.pos == position.pos;
        let asked = ingest::asked_beside(stored).map_err(failed)?;
        let forgotten: Vec<_> = asked.iter().map(|(table, _)| ingest::forget_beside(table)).collect();
        let starting = Starting {
            records: table::records(stored).map_err(failed)?,
            asked,
            found: &found,
            end,
            is_there,
            configured: &[],
            captures: |table: &TableName| Name::of(table).is_captured(),
            sinks: &[],
            initial: true,
        };
        let at = At { lsn: log.durable().next(), micros: 0 };
        let Started { changed, .. } = table::start(starting, at);
        for (table, record) in changed {
            log.change(vec![record.change(&table).map_err(failed)?]);
        }
        log.change(forgotten);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.log = Some(daemon.crash());
        }
    }

    fn step(&mut self, step: Step) -> Result<(), Finding> {
        self.now += u64::try_from(self.rng.below(20)).unwrap();
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
                self.apply()?;
            }
            Step::Kill => {
                trace::note(|| "daemon: is killed".to_owned());
                self.kill();
            }
            Step::Wait => self.now += DESCRIBE_WAIT,
            Step::Event
            | Step::Heartbeat
            | Step::Serve
            | Step::Ask
            | Step::Answer
            | Step::Look
            | Step::HandOver
            | Step::Sync
            | Step::Reader
            | Step::Backfill
            | Step::Disconnect
            | Step::Stop => self.daemon_step(step)?,
        }
        Ok(())
    }

    fn daemon_step(&mut self, step: Step) -> Result<(), Finding> {
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
            Step::Answer => drop(daemon.answer(rng, self.now)?),
            Step::Look => daemon.look(self.now)?,
            Step::HandOver if daemon.is_between_groups() => daemon.hand_over()?,
            Step::Sync => {
                daemon.decide_beside(self.now)?;
                return self.sync();
            }
            Step::Reader => {
                let exact = daemon.coordinator.step(server, rng)?;
                daemon.go_on(exact, rng)?;
            }
            Step::Backfill => {
                let names: Vec<Name> = server.now().tables.keys().copied().filter(|name| name.is_captured()).collect();
                if let Some(name) = rng.pick(&names) {
                    daemon.coordinator.backfill(*name, rng.percent(50));
                }
            }
            Step::Disconnect if daemon.is_reading() => daemon.disconnect()?,
            Step::Stop => {
                trace::note(|| "daemon: is told to stop".to_owned());
                daemon.disconnect()?;
                while daemon.log().waiting() > 0 && !daemon.log().is_full() && self.rng.percent(90) {
                    daemon.sync();
                    self.audit.look(daemon.log(), &self.server)?;
                }
                self.kill();
            }
            _ => {}
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Finding> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if daemon.log().waiting() > 0 {
            daemon.sync();
        }
        // Records that are stored beside the groups make durable what was handed over before them.
        self.audit.look(daemon.log(), &self.server)
    }

    /// The sink applies the next group. False: there is none, or it waits.
    fn apply(&mut self) -> Result<bool, Finding> {
        let Some(daemon) = &mut self.daemon else { return Ok(false) };
        let applied = self.sink.step(daemon.log(), &self.server)?;
        daemon.trim(self.sink.applied());
        Ok(applied)
    }

    /// Nothing disturbs any more: everything that waits gets its turn until nothing is left to do.
    fn come_to_rest(&mut self) -> Result<(), Finding> {
        trace::note(|| "everything comes to rest".to_owned());
        Clients::unlock(&mut self.server);
        self.server.show(self.server.end());
        self.refused = 0;
        let mut left = None;
        for _ in 0..REST {
            self.now += REST_STEP;
            if self.daemon.is_none() {
                self.start()?;
            }
            for step in [Step::Ask, Step::Answer, Step::Look, Step::HandOver] {
                self.daemon_step(step)?;
            }
            for _ in 0..5 {
                self.daemon_step(Step::Reader)?;
                self.daemon_step(Step::Serve)?;
            }
            self.daemon_step(Step::Event)?;
            if let Some(daemon) = &mut self.daemon {
                daemon.decide_beside(self.now)?;
            }
            loop {
                let waiting = self.daemon.as_ref().map(|daemon| daemon.log().waiting());
                self.sync()?;
                let is_applied = self.apply()?;
                let is_stored = self.daemon.as_ref().map(|daemon| daemon.log().waiting()) != waiting;
                if !is_applied && !is_stored {
                    break;
                }
            }
            let Some(daemon) = &mut self.daemon else { continue };
            let waits = !self.sink.is_done(daemon.log());
            let moves = self.audit.position() != self.server.end();
            left = daemon.unrest(&self.server);
            left = left.or(waits.then_some("the sink waits for a schema"));
            left = left.or(moves.then_some("the position is not the end of the binlog"));
            if left.is_none() {
                return Ok(());
            }
        }
        trace::note(|| format!("at the end: {:?}", self.daemon.as_ref().map(|daemon| &daemon.coordinator)));
        trace::note(|| format!("log: {:?}", self.daemon.as_ref().map(|daemon| daemon.log().shape())));
        Err(format!("it does not come to rest: {}", left.unwrap_or("the daemon is down")))
    }

    fn compare(&self) -> Result<(), Finding> {
        self.sink.compare(&self.server)?;
        self.sink.compare_history(self.begun, &self.server, &self.audit.explained)
    }
}
