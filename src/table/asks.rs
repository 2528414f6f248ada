//! How wanted reads of one table join: it is read once for all that wait, never less than each of them needs.

use super::record::{Ask, Reach, Read, Stage, TableRecord};
use crate::codec::frame::Audience;

impl TableRecord {
    /// Wants a read. It joins the one that waits; one that has begun does not bring what is asked for after its beginning, so the
    /// table is read once more after it. One that has failed begins again, as a read that brings both: it may never end.
    pub(super) fn want(&mut self, ask: Ask) {
        let has_begun = self.read.as_ref().is_some_and(|read| !read.is_open());
        let follows = has_begun && self.unreadable.is_none();
        if has_begun && !follows {
            self.begin_again_with_next();
        }
        let place = if follows { &mut self.next } else { &mut self.read };
        let joined = match place.take() {
            None => Read::of(ask),
            Some(waiting) if waiting.serves_for(&ask) => {
                if self.unreadable.is_none() {
                    *place = Some(waiting);
                    return;
                }
                // Who asks again has reason to: it is not left alone until its next try.
                waiting
            }
            Some(waiting) => waiting.join(ask),
        };
        self.reads += 1;
        *place = Some(Read { number: self.reads, ..joined });
    }

    /// The read that has begun is to begin again, and to bring what was wanted after it.
    pub(super) fn begin_again_with_next(&mut self) {
        let Some(read) = self.read.take() else { return };
        let read = match self.next.take() {
            Some(next) => read.join(next.into_ask()),
            None => {
                let audience = read.audience_again();
                Read { audience, stage: Stage::Waiting, rows: 0, replaces: false, ..read }
            }
        };
        self.reads += 1;
        self.read = Some(Read { number: self.reads, ..read });
    }

    /// The read begins, perhaps again, or replaces what the sinks have from here on: the rows that it is going to read are those of a later
    /// place than what is wanted after it was asked for, so that it brings that, too.
    pub(super) fn take_next_along(&mut self) {
        let Some(read) = self.read.take() else { return };
        let is_along = |next: &mut Read| read.is_whole() && next.is_whole() && covers(&read.audience, &next.audience);
        self.read = Some(match self.next.take_if(is_along) {
            None => read,
            Some(next) => {
                let Read { stage, rows, replaces, .. } = read.clone();
                let Read { reach, audience, why, is_doubt, leaves_out, .. } = next;
                let joined = read.join(Ask { reach, audience, chunk_rows: None, why, is_doubt, leaves_out });
                Read { stage, rows, replaces, ..joined }
            }
        });
    }

    /// The read has ended: what is wanted after it takes its place.
    pub(super) fn end_read(&mut self) -> Option<Read> {
        let ended = self.read.take();
        self.read = self.next.take();
        ended
    }
}

impl Read {
    fn of(ask: Ask) -> Self {
        let Ask { reach, audience, chunk_rows, why, is_doubt, leaves_out } = ask;
        let (stage, rows) = (Stage::Waiting, 0);
        Self { number: 0, reach, audience, chunk_rows, why, is_doubt, leaves_out, stage, rows, replaces: false }
    }

    fn into_ask(self) -> Ask {
        let Self { reach, audience, chunk_rows, why, is_doubt, leaves_out, .. } = self;
        Ask { reach, audience, chunk_rows, why, is_doubt, leaves_out }
    }

    /// Whether it brings what is asked for now: it has not begun. The copy of a whole table may be of an earlier place.
    fn is_open(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// Whether this read, which waits, brings what is asked for.
    fn serves_for(&self, ask: &Ask) -> bool {
        let reaches = match (&self.reach, &ask.reach) {
            (Reach::Replace, _) | (Reach::Whole, Reach::Whole | Reach::Part { .. }) => true,
            (Reach::Part { condition }, Reach::Part { condition: asked }) => condition == asked,
            (Reach::Whole | Reach::Part { .. }, _) => false,
        };
        reaches
            && covers(&self.audience, &ask.audience)
            && (self.is_doubt || !ask.is_doubt)
            && (self.leaves_out || !ask.leaves_out)
            && ask.chunk_rows.is_none_or(|rows| self.chunk_rows == Some(rows))
    }

    /// A read that brings what this one, which waits, and the other bring.
    fn join(self, ask: Ask) -> Self {
        let audience = together(self.audience_again(), ask.audience);
        let reach = match (self.reach, ask.reach) {
            (Reach::Replace, _) | (_, Reach::Replace) => Reach::Replace,
            (Reach::Whole, _) | (_, Reach::Whole) => Reach::Whole,
            (Reach::Part { condition: a }, Reach::Part { condition: b }) if a == b => Reach::Part { condition: a },
            (Reach::Part { condition: a }, Reach::Part { condition: b }) => {
                Reach::Part { condition: format!("({a}) OR ({b})") }
            }
        };
        let why = if self.why.contains(&ask.why) { self.why } else { format!("{}; {}", self.why, ask.why) };
        Self {
            reach,
            audience,
            chunk_rows: ask.chunk_rows.or(self.chunk_rows),
            why,
            is_doubt: self.is_doubt || ask.is_doubt,
            leaves_out: self.leaves_out || ask.leaves_out,
            stage: Stage::Waiting,
            number: self.number,
            rows: 0,
            replaces: false,
        }
    }
}

/// Whether everyone of `b` is of `a`.
fn covers(a: &Audience, b: &Audience) -> bool {
    match (a, b) {
        (Audience::All, _) => true,
        (Audience::Sinks(_), Audience::All) => false,
        (Audience::Sinks(ours), Audience::Sinks(asked)) => asked.iter().all(|sink| ours.contains(sink)),
    }
}

/// Everyone of both.
pub(super) fn together(a: Audience, b: Audience) -> Audience {
    match (a, b) {
        (Audience::All, _) | (_, Audience::All) => Audience::All,
        (Audience::Sinks(mut sinks), Audience::Sinks(more)) => {
            sinks.extend(more);
            sinks.sort();
            sinks.dedup();
            Audience::Sinks(sinks)
        }
    }
}
