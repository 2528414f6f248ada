//! How wanted reads of one table join: it is read once for all that wait, never less than each of them needs.

use super::doubt::Cause;
use super::event::At;
use super::record::{Ask, Asker, Keys, Reach, Read, Stage, TableRecord};
use crate::codec::frame::Audience;
use crate::mutants::{Mutant, is_on};

impl TableRecord {
    /// Wants a read. It joins the one that waits; one that has begun does not bring what is asked for after its beginning, so the
    /// table is read once more after it. One that has failed begins again, as a read that brings both: it may never end.
    ///
    /// A read of nobody's asking begins when its time has come; one that joins somebody's begins with that.
    pub(super) fn want(&mut self, ask: Ask, at: At) {
        let has_begun = self.read.as_ref().is_some_and(|read| !read.is_open());
        if has_begun && ask.cause.is_by_itself() && is_on(Mutant::DoubtDroppedWhileRead) {
            return;
        }
        let until_rows = self.rest.until(Cause::Rows, has_begun, at);
        let until = match &ask.reach {
            Reach::Keys(_) => self.rest.until_keys(at),
            Reach::Part { .. } | Reach::Whole | Reach::Replace => self.rest.until(ask.cause, has_begun, at),
        };
        let until = until.filter(|_| ask.cause.is_by_itself());
        let follows = has_begun && self.unreadable.is_none();
        if has_begun && !follows {
            self.begin_again_with_next();
        }
        let place = if follows { &mut self.next } else { &mut self.read };
        let asked = |ask| Read { until, ..Read::of(ask, at) };
        let joined = match place.take() {
            None => asked(ask),
            Some(waiting) if waiting.serves_for(&ask) => {
                if self.unreadable.is_none() {
                    *place = Some(waiting);
                    return;
                }
                // Who asks again has reason to: it is not left alone until its next try.
                waiting
            }
            Some(waiting) => {
                let are_keys = waiting.is_of_keys() && matches!(ask.reach, Reach::Keys(_));
                let joined = waiting.join(asked(ask));
                let are_too_many = are_keys && !joined.is_of_keys() && joined.by_itself();
                Read { until: if are_too_many { until_rows } else { joined.until }, ..joined }
            }
        };
        self.reads += 1;
        *place = Some(Read { number: self.reads, ..joined });
    }

    /// The read that has begun is to begin again, and to bring what was wanted after it.
    pub(super) fn begin_again_with_next(&mut self) {
        let Some(read) = self.read.take() else { return };
        let read = match self.next.take() {
            Some(next) => read.join(next),
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
                let Read { chunk_rows, stage, rows, replaces, .. } = read.clone();
                Read { chunk_rows, stage, rows, replaces, ..read.join(next) }
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
    fn of(ask: Ask, at: At) -> Self {
        let Ask { reach, audience, chunk_rows, why, is_doubt, leaves_out, cause } = ask;
        Self {
            number: 0,
            reach,
            audience,
            chunk_rows,
            why,
            since: at.lsn,
            since_micros: at.micros,
            is_doubt,
            leaves_out,
            is_told: false,
            asker: Asker::of(cause),
            until: None,
            stage: Stage::Waiting,
            rows: 0,
            replaces: false,
        }
    }

    fn is_of_keys(&self) -> bool {
        matches!(self.reach, Reach::Keys(_))
    }

    /// Whether it brings what is asked for now: it has not begun.
    fn is_open(&self) -> bool {
        self.stage == Stage::Waiting || is_on(Mutant::DoubtJoinsBegunRead)
    }

    /// Whether this read, which waits, brings what is asked for.
    fn serves_for(&self, ask: &Ask) -> bool {
        let reaches = match (&self.reach, &ask.reach) {
            (Reach::Replace, _) | (Reach::Whole, Reach::Whole | Reach::Part { .. } | Reach::Keys(_)) => true,
            (Reach::Part { condition }, Reach::Part { condition: asked }) => condition == asked,
            (Reach::Keys(ours), Reach::Keys(asked)) => {
                ours.columns == asked.columns && ours.keys.is_superset(&asked.keys)
            }
            (Reach::Whole | Reach::Part { .. } | Reach::Keys(_), _) => false,
        };
        reaches
            && covers(&self.audience, &ask.audience)
            && (self.is_doubt || !ask.is_doubt)
            && (self.leaves_out || !ask.leaves_out)
            && (!self.by_itself() || ask.cause.is_by_itself())
            // What is cancelled is nothing that others wait for.
            && (self.asker != Asker::Operator || ask.cause == Cause::ByHand)
            && ask.chunk_rows.is_none_or(|rows| self.chunk_rows == Some(rows))
    }

    /// A read that brings what this one, which waits, and the other bring. It is wanted since the earlier of them was. It begins
    /// when either may: a read of the table that is due brings the keys of the other as well, but not the other way round.
    fn join(self, other: Self) -> Self {
        let asker = self.asker.and(other.asker);
        let until = match (self.is_of_keys(), other.is_of_keys()) {
            (false, true) => self.until,
            (true, false) => other.until,
            (true, true) | (false, false) => self.until.min(other.until),
        };
        let audience = together(self.audience_again(), other.audience);
        let why = if self.why.contains(&other.why) { self.why } else { format!("{}; {}", self.why, other.why) };
        Self {
            reach: self.reach.join(other.reach),
            audience,
            chunk_rows: other.chunk_rows.or(self.chunk_rows),
            why: shortened(why),
            since: self.since.min(other.since),
            since_micros: self.since_micros.min(other.since_micros),
            is_doubt: self.is_doubt || other.is_doubt,
            leaves_out: self.leaves_out || other.leaves_out,
            is_told: self.is_told || other.is_told,
            asker,
            until: until.filter(|_| asker == Asker::Itself),
            stage: Stage::Waiting,
            number: self.number,
            rows: 0,
            replaces: false,
        }
    }
}

impl Reach {
    /// What brings what both bring.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Replace, _) | (_, Self::Replace) => Self::Replace,
            (Self::Part { condition: a }, Self::Part { condition: b }) if a == b => Self::Part { condition: a },
            (Self::Part { condition: a }, Self::Part { condition: b }) => {
                Self::Part { condition: format!("({a}) OR ({b})") }
            }
            (Self::Keys(Keys { columns, mut keys }), Self::Keys(more)) if columns == more.columns => {
                keys.extend(more.keys);
                Self::of_keys(Keys { columns, keys })
            }
            (Self::Whole | Self::Part { .. } | Self::Keys(_), Self::Whole | Self::Part { .. } | Self::Keys(_)) => {
                Self::Whole
            }
        }
    }

    /// Of these keys, or of every row if they are too many.
    pub fn of_keys(keys: Keys) -> Self {
        if keys.are_few() { Self::Keys(keys) } else { Self::Whole }
    }
}

/// Bytes of the reasons of reads that have joined, at most.
const WHY: usize = 1_000;

/// Reasons that join again and again are cut.
fn shortened(why: String) -> String {
    if why.len() <= WHY {
        return why;
    }
    let end = (0..=WHY).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    format!("{} ..", why.get(..end).unwrap_or_default().trim_end_matches(" .."))
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
