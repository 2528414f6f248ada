//! What the driver does for snapshot readers: requests between groups, and whole-table reads at their place.

use replicator::ingest::core::Chunk;
use replicator::source::mysql::snapshot::handoff::Placed;

use super::daemon::{Daemon, Finding, Mode, Whom, failed};
use super::requests::{Exact, ExactRead, Reply, Request, images};
use super::rng::Rng;
use super::trace;
use super::truth::SnapshotRows;

impl Daemon {
    /// Serves the next request, between groups.
    pub fn serve(&mut self) -> Result<bool, Finding> {
        if !self.is_between_groups() {
            return Ok(false);
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        let Some(request) = self.coordinator.requests.pop_front() else { return Ok(false) };
        let here = session.stream.boundary();
        match request {
            Request::OpenWindow { name, window, by } => {
                trace::note(|| format!("serve: window {} of {name} opens after entry {here}", window.0));
                self.core.open_window(window, &name.table());
                self.windows.insert(window, name);
                if self.coordinator.has(by) {
                    self.coordinator.reply(by, Reply::Opened(here));
                } else {
                    self.core.close_window(window);
                }
            }
            Request::CloseWindow { window } => {
                trace::note(|| format!("serve: window {} closes", window.0));
                self.core.close_window(window);
            }
            Request::Place { window, layouts, images, high, account, by } => {
                trace::note(|| {
                    format!("serve: {} rows of window {}, high {}:{}", images.rows, window.0, high.file, high.pos)
                });
                session.readers.insert(window, by);
                let schema = layouts.described.schema.clone();
                self.core.chunk(Chunk { window, schema, images, high, account }).map_err(failed)?;
            }
            Request::Pause { by } => {
                trace::note(|| format!("serve: the stream stands still after entry {here}"));
                if self.coordinator.has(by) {
                    session.mode = Mode::Paused(by);
                    self.hand_over()?;
                    self.coordinator.reply(by, Reply::Paused(here));
                }
            }
            Request::Mark { mark, by } => {
                trace::note(|| format!("serve: {mark:?}"));
                let is_wanted = self.core.mark(&mark).map_err(failed)?;
                self.wait_until_durable(Whom::Reader(by), is_wanted)?;
            }
            Request::Happened { name, event, by } => {
                trace::note(|| format!("serve: {name}: {event:?}"));
                self.core.happened(&name.table(), event).map_err(failed)?;
                if let Some(by) = by {
                    self.wait_until_durable(Whom::Reader(by), true)?;
                }
            }
            Request::SinkAdded { sink } => {
                trace::note(|| format!("serve: sink {sink} is new"));
                self.core.sink_added(sink).map_err(failed)?;
                self.wait_until_durable(Whom::Sink(sink), true)?;
            }
        }
        self.act()?;
        Ok(true)
    }

    fn wait_until_durable(&mut self, by: Whom, is_wanted: bool) -> Result<(), Finding> {
        if let Some(session) = &mut self.session {
            session.mode = Mode::Durable(by, is_wanted);
        }
        self.hand_over()
    }

    /// Goes on with what the loop waits for, if it is there.
    pub fn go_on(&mut self, exact: Option<Exact>, rng: &mut Rng) -> Result<(), Finding> {
        let waits = self.waits_for_log();
        let Some(session) = &mut self.session else { return Ok(()) };
        match (std::mem::replace(&mut session.mode, Mode::Reading), exact) {
            (Mode::Placing(read, placed), _) if waits => {
                session.mode = Mode::Placing(read, placed);
                Ok(())
            }
            (Mode::Reading, None) | (Mode::Paused(_), Some(Exact::GivenUp)) => Ok(()),
            // A reader that was stopped lets the stream go on.
            (Mode::Paused(actor), None) if !self.coordinator.has(actor) => Ok(()),
            (Mode::Paused(actor), None) => {
                session.mode = Mode::Paused(actor);
                Ok(())
            }
            (Mode::Paused(_), Some(Exact::Read(read))) => {
                trace::note(|| {
                    format!("stream: goes to {}:{} for a whole read of {}", read.at.file, read.at.pos, read.name)
                });
                if let Some(other) = session.exact.replace(read) {
                    // A read of another table that waits for its place is given up for this one.
                    self.coordinator.reply(other.by, Reply::Lost);
                }
                self.passed(false)
            }
            (Mode::Durable(whom, is_wanted), _) if self.core.log().waiting() > 0 => {
                session.mode = Mode::Durable(whom, is_wanted);
                Ok(())
            }
            (Mode::Durable(whom, is_wanted), _) => {
                match whom {
                    Whom::Reader(actor) => self.coordinator.reply(actor, Reply::Marked(is_wanted)),
                    Whom::Sink(sink) => self.read_for.push(sink),
                }
                self.act()
            }
            (Mode::Placing(read, placed), _) => self.place_piece(read, placed, rng),
            (Mode::Reading, Some(exact)) => Err(format!("a reader says {exact:?} to a stream that goes on")),
        }
    }

    /// Begins to place the whole-table read if the stream is at its position.
    pub(super) fn place_exact(&mut self, touched: bool) -> Result<(), Finding> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let Some(read) = session.exact.take() else { return Ok(()) };
        if !self.core.reaches(&read.at).map_err(failed)? {
            session.exact = Some(read);
            return Ok(());
        }
        if touched && !self.core.is_at(&read.at) {
            self.coordinator.reply(read.by, Reply::Placed(Placed::Discarded));
            return Ok(());
        }
        trace::note(|| format!("stream: whole read of {} begins", read.name));
        if self.core.begin_whole(&read.layouts.described.schema, read.number).map_err(failed)? {
            session.mode = Mode::Placing(read, 0);
        } else {
            self.coordinator.reply(read.by, Reply::Placed(Placed::Unwanted));
        }
        Ok(())
    }

    fn place_piece(&mut self, read: ExactRead, placed: usize, rng: &mut Rng) -> Result<(), Finding> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if rng.percent(3) {
            trace::note(|| "stream: the whole read breaks off".to_owned());
            self.coordinator.reply(read.by, Reply::Placed(Placed::Discarded));
            self.act()?;
            return Ok(());
        }
        let Some(piece) = read.pieces.get(placed) else {
            trace::note(|| "stream: the whole read ends".to_owned());
            let is_wanted = self.core.end_whole(&read.name.table(), read.number).map_err(failed)?;
            let placed = if is_wanted { Placed::Appended { kept: 0, superseded: 0 } } else { Placed::Unwanted };
            self.coordinator.reply(read.by, Reply::Placed(placed));
            self.act()?;
            return Ok(());
        };
        let images = images(&read.layouts.described, piece);
        if !self.core.whole_rows(&read.name.table(), read.number, &images).map_err(failed)? {
            self.coordinator.reply(read.by, Reply::Placed(Placed::Unwanted));
            return self.act();
        }
        self.truth.placed(read.name, SnapshotRows { read: u64::from(images.rows), filtered: 0 });
        session.mode = Mode::Placing(read, placed + 1);
        self.hand_over()
    }
}
