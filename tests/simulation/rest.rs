//! The end of a history: everything comes to rest, and then the copies are the tables, and every table is said to be complete.

use replicator::ingest::ledger::Log as _;
use replicator::table::ByHand;

use super::daemon::{Daemon, Finding};
use super::server::Server;
use super::tables::Name;
use super::trace;
use super::workload::Clients;
use super::world::{Step, World};

/// Steps after which a history that nothing disturbs any more has to be at rest.
const REST: usize = 4_000;
/// Milliseconds of such a step. A log that is full may have to wait for one answer after another.
const REST_STEP: u64 = 10;
/// Milliseconds for which a read may have to wait for what a view may lack.
const HELD: u64 = 30_000;
/// Milliseconds after which the daemon asks again about a table of which the server is silent.
const ASK_AGAIN: u64 = 60_000;

impl World {
    /// Nothing disturbs any more: everything that waits gets its turn until nothing is left to do.
    pub(super) fn come_to_rest(&mut self) -> Result<(), Finding> {
        trace::note(|| "everything comes to rest".to_owned());
        Clients::unlock(&mut self.server);
        if self.server.xa.is_any_prepared() && self.rng.percent(80) {
            Clients::end_all(&mut self.server, &mut self.rng);
        }
        Name::all().for_each(|name| self.server.let_read(name, true));
        self.server.show(self.server.end());
        self.refused = 0;
        self.pace.failing = 0;
        if let Some(daemon) = &mut self.daemon {
            daemon.coordinator.succeed();
        }
        if !self.sinks.are_all_configured() {
            self.stop()?;
            self.sinks.configure_all();
        }
        let mut left = None;
        for _ in 0..REST {
            self.pass_time(REST_STEP);
            if self.daemon.is_none() {
                self.start_as_configured()?;
            }
            for step in [Step::Ask, Step::Answer, Step::Look, Step::HandOver] {
                self.daemon_step(step)?;
            }
            for _ in 0..5 {
                self.daemon_step(Step::Reader)?;
                self.daemon_step(Step::Serve)?;
                self.daemon_step(Step::Place)?;
            }
            self.daemon_step(Step::Event)?;
            if let Some(daemon) = &mut self.daemon {
                daemon.decide_beside()?;
            }
            loop {
                let waiting = self.daemon.as_ref().map(|daemon| daemon.log().waiting());
                self.sync()?;
                let is_applied = self.apply(100)?;
                let is_stored = self.daemon.as_ref().map(|daemon| daemon.log().waiting()) != waiting;
                if !is_applied && !is_stored {
                    break;
                }
            }
            let Some(daemon) = &mut self.daemon else { continue };
            let waits = !self.sinks.are_done(daemon.log());
            let moves = self.audit.position() != self.server.end();
            left = daemon.unrest(&self.server);
            if left.is_some() && std::mem::take(&mut daemon.has_held) {
                self.pass_time(HELD);
                continue;
            }
            left = left.or(waits.then_some("a sink waits"));
            left = left.or(moves.then_some("the position is not the end of the binlog"));
            if left.is_some() {
                // Of reads that wait for their time only: it comes.
                if let Some(until) = daemon.coordinator.waits_until(self.time.wall) {
                    let millis = (until - self.time.wall) / 1_000 + 1;
                    self.pass_time(u64::try_from(millis).unwrap());
                }
                continue;
            }
            let left_out: Vec<Name> = self.stated.left_out(self.captured, &self.server).collect();
            if self.stated.has_unreadable() || daemon.core.is_unanswered() {
                left = Some("a table is said to be unreadable, or the server has not said how one is defined");
                // The server is asked again.
                self.pass_time(ASK_AGAIN);
            } else if !left_out.is_empty() {
                left = Some("a table is left out by doubt");
                // An operator has it read.
                for name in left_out {
                    daemon.coordinator.by_hand(name, ByHand::Resume("an operator resumed it".to_owned()));
                }
            } else if self.is_any_unknown() {
                left = Some("a table is not known");
                // What could not be listed at a start, and is not in the stream, is listed at the next.
                self.stop()?;
            } else if self.sinks.have_doubts(self.captured) {
                left = Some("a sink is in doubt");
                // A doubt is reported once in a run, by the name that the table had; the next start reports it again.
                self.stop()?;
            } else {
                return Ok(());
            }
        }
        trace::note(|| format!("at the end: {:?}", self.daemon.as_ref().map(|daemon| &daemon.coordinator)));
        trace::note(|| format!("log: {:?}", self.daemon.as_ref().map(|daemon| daemon.log().shape())));
        Err(format!("it does not come to rest: {}", left.unwrap_or("the daemon is down")))
    }

    /// Whether a captured table is not known because the account could not read it.
    fn is_any_unknown(&self) -> bool {
        let is_unknown = |name: Name| {
            self.server.was_hidden(name) && !self.stated.is_captured(name) && self.server.visible(name).is_some()
        };
        self.captured.names().any(is_unknown)
    }

    pub(super) fn compare(&self) -> Result<(), Finding> {
        let Some(log) = self.daemon.as_ref().map(Daemon::log) else { return Ok(()) };
        self.sinks.compare(self.captured, (log, &self.server, &self.stated), &self.audit)
    }
}

impl Daemon {
    /// What is left to do, if anything.
    pub fn unrest(&self, server: &Server) -> Option<&'static str> {
        let Some(session) = &self.session else { return Some("the stream is not open") };
        let left = [
            (!self.is_between_groups(), "the stream is in a group"),
            (!session.stream.is_dry(server), "the stream has more"),
            (!session.questions.is_empty(), "a question is under way"),
            (!session.tails.is_empty(), "rows of a table wait for its copy"),
            (self.core.has_changed_lives(), "a read was not given to the coordinator"),
            (!self.coordinator.is_idle(), "a table is read"),
            (self.core.has_chunks(), "a chunk waits for its place"),
            (self.core.has_to_look(), "the core waits for an answer"),
            (self.core.reading().next().is_some(), "a read that is due has not ended"),
            (self.core.awaits(), "a table waits for a place of the stream"),
            (self.log().waiting() > 0, "the log has not stored what was handed over"),
            (self.log().pending_bytes() > 0, "what was appended was not handed over"),
        ];
        left.into_iter().find_map(|(is_left, what)| is_left.then_some(what))
    }
}
