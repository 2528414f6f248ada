//! The read of one table, from being asked for to its end mark.

use std::collections::VecDeque;

use replicator::source::mysql::snapshot::handoff::{Placed, SnapshotMark};
use replicator::source::mysql::snapshot::{Progress as Read, Range, Ranges, Stage};
use replicator::table::Event;

use super::coordinator::{Ids, Pace, was_placed};
use super::keys::are_readable;
use super::ranges::{after_chunk, make_range};
use super::reader::{Part, Progress, Reader};
use super::requests::{Actor, ExactRead, Reply, Request};
use super::rng::Rng;
use super::server::Server;
use super::tables::{Name, at, bound_of};

/// Whether a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    No,
    Yes,
    /// The table cannot be read, which is said; it is tried again.
    Again,
}

/// What a job is doing.
#[derive(Debug)]
pub(super) enum Doing {
    /// The stage says what is next.
    Nothing,
    /// A mark is on its way; the progress once it is appended.
    Marking(Read),
    /// What became of the table is said.
    Saying(Done),
    /// It is over.
    Over(Done),
    /// The largest key is read.
    Bound {
        reader: Box<Reader>,
        next: Option<Read>,
    },
    Ranges(InRanges),
    /// The table's rows are asked to wait.
    Diverting,
    /// They wait, from after this entry on.
    Diverted(usize),
    /// The copy is read; the progress once it is placed.
    Copying(Box<ExactRead>, Read),
    /// The rows are on their way; the progress once they are placed.
    Whole(Read),
}

#[derive(Debug, Default)]
pub(super) struct InRanges {
    readers: Vec<Reader>,
    waiting: VecDeque<Range>,
    /// The reader whose chunk is on its way, and the progress once it is placed. One at a time.
    placing: Option<(Actor, Read)>,
}

#[derive(Debug)]
pub struct Job {
    actor: Actor,
    pub(super) progress: Read,
    pub(super) doing: Doing,
}

impl Job {
    pub fn new(actor: Actor, progress: Read) -> Self {
        Self { actor, progress, doing: Doing::Nothing }
    }

    pub fn progress(&self) -> &Read {
        &self.progress
    }

    pub fn name(&self) -> Name {
        Name::of(&self.progress.table)
    }

    /// It is no longer wanted: what it has open is closed.
    pub fn stop(&mut self) -> Vec<Request> {
        match &self.doing {
            Doing::Bound { reader, .. } => reader.close().into_iter().collect(),
            Doing::Ranges(ranges) => ranges.readers.iter().filter_map(Reader::close).collect(),
            Doing::Diverting | Doing::Diverted(_) | Doing::Copying(..) | Doing::Whole(_) => {
                vec![Request::EndDiversion { name: self.name(), number: self.progress.number }]
            }
            _ => Vec::new(),
        }
    }

    pub fn has(&self, actor: Actor) -> bool {
        self.actor == actor
            || match &self.doing {
                Doing::Bound { reader, .. } => reader.actor == actor,
                Doing::Ranges(ranges) => ranges.readers.iter().any(|reader| reader.actor == actor),
                _ => false,
            }
    }

    /// Does the next step.
    pub fn step(
        &mut self,
        server: &Server,
        rng: &mut Rng,
        pace: &Pace,
        ids: &mut Ids,
        out: &mut Vec<Request>,
    ) -> Result<Done, String> {
        if self.may_fail() && rng.below(1000) < pace.failing {
            self.failed("the disk is slow today", out);
            return Ok(Done::No);
        }
        match &mut self.doing {
            Doing::Nothing => return Ok(self.next_stage(server, pace, ids, out)),
            Doing::Marking(_) | Doing::Saying(_) | Doing::Diverting | Doing::Whole(_) => {}
            Doing::Over(done) => return Ok(*done),
            Doing::Bound { .. } => self.read_bound(server, rng, ids, out)?,
            Doing::Ranges(_) => self.read_ranges(server, rng, pace, ids, out)?,
            Doing::Diverted(at) => {
                let at = *at;
                self.pin(server, rng, at, out);
            }
            Doing::Copying(..) if rng.percent(70) => {}
            Doing::Copying(..) => {
                if let Doing::Copying(read, next) = std::mem::replace(&mut self.doing, Doing::Nothing) {
                    out.push(Request::PlaceWhole(read));
                    self.doing = Doing::Whole(next);
                }
            }
        }
        Ok(Done::No)
    }

    fn next_stage(&mut self, server: &Server, pace: &Pace, ids: &mut Ids, out: &mut Vec<Request>) -> Done {
        match &self.progress.stage {
            Stage::Waiting => self.begin(server, pace, out),
            Stage::Begun => {
                let reader = Reader::new(ids.actor(), self.name(), Part::Last, None);
                self.doing = Doing::Bound { reader: Box::new(reader), next: None };
            }
            Stage::Ranges(ranges) => {
                let waiting = ranges.pending.iter().cloned().collect();
                self.doing = Doing::Ranges(InRanges { waiting, ..InRanges::default() });
            }
            Stage::Whole if server.visible(self.name()).is_some() => {
                out.push(Request::Divert { name: self.name(), number: self.progress.number, by: self.actor });
                self.doing = Doing::Diverting;
            }
            Stage::Whole => self.unseen(server, out),
            Stage::Placed => {
                let next = Read { stage: Stage::Done, ..self.progress.clone() };
                let mark = SnapshotMark::Finished { table: next.table.clone(), number: next.number };
                self.mark(mark, next, out);
            }
            Stage::Done => return Done::Yes,
        }
        Done::No
    }

    fn mark(&mut self, mark: SnapshotMark, next: Read, out: &mut Vec<Request>) {
        out.push(Request::Mark { mark, by: self.actor });
        self.doing = Doing::Marking(next);
    }

    /// Whether it does something that may fail because of the table.
    fn may_fail(&self) -> bool {
        match &self.doing {
            Doing::Nothing => !matches!(self.progress.stage, Stage::Placed | Stage::Done),
            Doing::Bound { .. } | Doing::Ranges(_) | Doing::Diverted(_) | Doing::Copying(..) => true,
            Doing::Marking(_) | Doing::Saying(_) | Doing::Over(_) | Doing::Diverting | Doing::Whole(_) => false,
        }
    }

    /// The table cannot be read. That is said, and it is tried again from where it is.
    fn failed(&mut self, why: &str, out: &mut Vec<Request>) {
        out.extend(self.stop());
        let event = Event::Failed { number: self.progress.number, why: why.to_owned() };
        out.push(Request::Happened { name: self.name(), event, by: Some(self.actor) });
        self.doing = Doing::Saying(Done::Again);
    }

    /// The server shows no such table. Where there is none, the stream is to say what became of it.
    pub(super) fn unseen(&mut self, server: &Server, out: &mut Vec<Request>) {
        if !server.may_read(self.name()) {
            return self.failed("the account may not read it", out);
        }
        if server.now().tables.contains_key(&self.name()) {
            return self.failed("it is no table that can be described", out);
        }
        out.extend(self.stop());
        let (end, identity) = (server.place(server.end()), server.facts().identity);
        self.ends_with(Event::Missing { number: self.progress.number, end, server: identity }, out);
    }

    /// What is said of the table ends its read.
    fn ends_with(&mut self, event: Event, out: &mut Vec<Request>) {
        out.push(Request::Happened { name: self.name(), event, by: Some(self.actor) });
        self.doing = Doing::Saying(Done::Yes);
    }

    /// Decides how the table is read.
    fn begin(&mut self, server: &Server, pace: &Pace, out: &mut Vec<Request>) {
        let Some(table) = server.visible(self.name()) else { return self.unseen(server, out) };
        let at_once = table.shape.chunk_key().is_none();
        let number = self.progress.number;
        if self.progress.keys().is_some_and(|keys| !are_readable(keys, self.name(), table.shape)) {
            return self.ends_with(Event::KeysUnknown { number }, out);
        }
        let rows: u64 = table.rows.values().map(|count| u64::from(*count)).sum();
        if at_once && self.progress.by_itself && rows > pace.keyless_rows {
            return self.ends_with(Event::TooLarge { number, why: "it is too large".to_owned() }, out);
        }
        let stage = if at_once { Stage::Whole } else { Stage::Begun };
        let next = Read { stage, rows: 0, ..self.progress.clone() };
        let mark = SnapshotMark::Begun { table: next.table.clone(), number: next.number, at_once };
        self.mark(mark, next, out);
    }

    fn read_bound(
        &mut self,
        server: &Server,
        rng: &mut Rng,
        ids: &mut Ids,
        out: &mut Vec<Request>,
    ) -> Result<(), String> {
        let Doing::Bound { reader, next } = &mut self.doing else { return Ok(()) };
        if reader.waits() {
            return Ok(());
        }
        match reader.step(server, rng, &mut ids.windows, out) {
            Progress::Going => {}
            Progress::Ready => {
                let last = reader.read().and_then(|(rows, _)| rows.first().copied());
                let stage = match (last, reader.chunk_key()) {
                    (Some(row), Some(chunk_key)) => {
                        let places: Vec<usize> = chunk_key.parts.iter().map(|part| usize::from(part.column)).collect();
                        let last = bound_of(&at(&row, &places));
                        Stage::Ranges(Ranges { key: chunk_key, last, frontier: None, pending: Vec::new() })
                    }
                    _ => Stage::Placed,
                };
                let after = Read { stage, ..self.progress.clone() };
                let account = after.account().map_err(|failure| failure.chain())?;
                *next = Some(after);
                out.extend(reader.hand_over(account));
            }
            Progress::KeyChanged => {
                out.extend(reader.close());
                self.progress.stage = Stage::Waiting;
                self.doing = Doing::Nothing;
            }
            Progress::Unseen => self.unseen(server, out),
        }
        Ok(())
    }

    fn read_ranges(
        &mut self,
        server: &Server,
        rng: &mut Rng,
        pace: &Pace,
        ids: &mut Ids,
        out: &mut Vec<Request>,
    ) -> Result<(), String> {
        let name = self.name();
        let Doing::Ranges(ranges) = &mut self.doing else { return Ok(()) };
        let planned = match &self.progress.stage {
            Stage::Ranges(stored) => Some(stored.key.clone()),
            _ => None,
        };
        // Ranges are made of the progress, which is not known while a chunk is on its way.
        while ranges.readers.len() < pace.readers && ranges.placing.is_none() {
            let next = ranges.waiting.pop_front().or_else(|| make_range(&mut self.progress, name, server, pace.rows));
            let Some(range) = next else { break };
            let reader = Reader::new(ids.actor(), name, Part::Range(range), planned.clone());
            ranges.readers.push(reader.of_keys(self.progress.keys()));
        }
        if ranges.readers.is_empty() {
            self.progress.stage = Stage::Placed;
            self.doing = Doing::Nothing;
            return Ok(());
        }
        let place = rng.below(ranges.readers.len());
        let Some(reader) = ranges.readers.get_mut(place) else { return Ok(()) };
        if reader.waits() {
            return Ok(());
        }
        match reader.step(server, rng, &mut ids.windows, out) {
            Progress::Going => {}
            Progress::Ready => {
                if ranges.placing.is_none()
                    && let Some((rows, rest)) = reader.read()
                {
                    let next = after_chunk(&self.progress, &reader.part, rows.len(), rest);
                    let account = next.account().map_err(|failure| failure.chain())?;
                    out.extend(reader.hand_over(account));
                    ranges.placing = Some((reader.actor, next));
                }
            }
            Progress::Unseen => self.unseen(server, out),
            Progress::KeyChanged => {
                out.extend(self.stop());
                self.progress.stage = Stage::Waiting;
                self.doing = Doing::Nothing;
            }
        }
        Ok(())
    }

    /// Takes a reply; false if it is for another job.
    pub fn reply(&mut self, to: Actor, reply: Reply) -> bool {
        if !self.has(to) {
            return false;
        }
        match (std::mem::replace(&mut self.doing, Doing::Nothing), reply) {
            (_, Reply::Marked(false) | Reply::Placed(Placed::Unwanted)) => self.doing = Doing::Over(Done::Yes),
            (Doing::Marking(next), Reply::Marked(true)) => self.progress = next,
            (Doing::Saying(done), Reply::Marked(true)) | (Doing::Over(done), _) => self.doing = Doing::Over(done),
            (Doing::Diverting, Reply::Diverted(at)) => self.doing = Doing::Diverted(at),
            (Doing::Whole(next), reply) if was_placed(reply) => self.progress = next,
            // Of an earlier wish, which this one has overtaken.
            (doing @ (Doing::Diverted(_) | Doing::Copying(..) | Doing::Whole(_)), Reply::Busy) => self.doing = doing,
            // Read again.
            (
                Doing::Nothing
                | Doing::Marking(_)
                | Doing::Saying(_)
                | Doing::Diverting
                | Doing::Diverted(_)
                | Doing::Copying(..)
                | Doing::Whole(_),
                _,
            ) => {}
            (Doing::Bound { mut reader, next }, reply) => match (reply, next) {
                (Reply::Opened(at), next) => {
                    reader.opened(at);
                    self.doing = Doing::Bound { reader, next };
                }
                (reply, Some(next)) if was_placed(reply) => self.progress = next,
                _ => {}
            },
            (Doing::Ranges(mut ranges), reply) => {
                self.range_reply(&mut ranges, to, reply);
                self.doing = Doing::Ranges(ranges);
            }
        }
        true
    }

    fn range_reply(&mut self, ranges: &mut InRanges, to: Actor, reply: Reply) {
        let Some(place) = ranges.readers.iter().position(|reader| reader.actor == to) else { return };
        if let Reply::Opened(at) = reply {
            return ranges.readers[place].opened(at);
        }
        let Some((_, next)) = ranges.placing.take_if(|(actor, _)| *actor == to) else { return };
        if !was_placed(reply) {
            return ranges.readers[place].again();
        }
        self.progress = next;
        let reader = ranges.readers.swap_remove(place);
        let Part::Range(range) = &reader.part else { return };
        if let Stage::Ranges(stored) = &self.progress.stage {
            // What did not fit into one buffer.
            let rest = stored.pending.iter().find(|pending| pending.upto == range.upto);
            ranges.waiting.extend(rest.cloned());
        }
    }
}
