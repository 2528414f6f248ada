//! What the driver does for snapshot readers: requests between groups.

use replicator::ingest::core::Chunk;

use super::daemon::{Daemon, Finding, Mode, Whom, failed};
use super::requests::{Reply, Request};
use super::trace;

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
            // It opens later.
            Request::OpenWindow { name, window, by } if self.core.window_waits(&name.table()) => {
                self.coordinator.requests.push_back(Request::OpenWindow { name, window, by });
                self.has_held = true;
                return Ok(false);
            }
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
            Request::Divert { name, number, by } => self.divert(name, number, by)?,
            Request::PlaceWhole(read) => {
                trace::note(|| format!("serve: the copy of {} is of {}:{}", read.name, read.at.file, read.at.pos));
                self.place_whole(*read);
            }
            Request::EndDiversion { name, number } => self.end_diversion(name, number),
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
            Request::ByHand { name, by_hand } => {
                trace::note(|| format!("serve: {name}: {by_hand:?}"));
                let operated = self.core.operate(&name.table(), by_hand).map_err(failed)?;
                trace::note(|| format!("of {name}: {operated:?}"));
            }
            Request::SinkAdded { sink } => {
                trace::note(|| format!("serve: sink {sink} is new"));
                self.core.sink_added(sink, false, &[]).map_err(failed)?;
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
    pub fn go_on(&mut self) -> Result<(), Finding> {
        let is_stored = self.core.log().waiting() == 0;
        let Some(session) = &mut self.session else { return Ok(()) };
        match std::mem::replace(&mut session.mode, Mode::Reading) {
            Mode::Reading => Ok(()),
            replay @ Mode::Replay(_) => {
                session.mode = replay;
                Ok(())
            }
            Mode::Durable(whom, is_wanted) if !is_stored => {
                session.mode = Mode::Durable(whom, is_wanted);
                Ok(())
            }
            Mode::Durable(whom, is_wanted) => {
                match whom {
                    Whom::Reader(actor) => self.coordinator.reply(actor, Reply::Marked(is_wanted)),
                    Whom::Sink(sink) => self.read_for.push(sink),
                }
                self.act()
            }
        }
    }
}
