//! Reads of a whole table at one position. While such a read goes on, the table's rows wait for it. They are in the log for no sink, even if
//! the read is for one sink only.

use super::event::At;
use super::record::{Ask, Asker, Reach, Read, Stage, TableRecord};
use crate::codec::frame::Audience;

impl TableRecord {
    /// Rows that waited are not in the log: the read begins again, for every sink, in place of what they have.
    pub(super) fn rows_lost(&mut self, why: String, at: At) {
        if !self.is_captured() || self.left_out.is_some() {
            return;
        }
        self.complete = None;
        match self.read.take() {
            None => self.want(Ask::again(Reach::Replace, why), at),
            Some(read) => {
                self.reads += 1;
                let read = read.for_every_sink();
                // The log says so already.
                let is_told = true;
                self.read =
                    Some(Read { number: self.reads, is_told, stage: Stage::Waiting, rows: 0, replaces: false, ..read });
            }
        }
    }

    /// Whether a sink may have noted something of it that has to end with it: that it is read, or, at a sink that comes back, that its
    /// copy is not the table that is captured.
    pub fn may_be_noted(&self) -> bool {
        self.is_captured() || self.read.is_some()
    }

    /// A process starts: rows that waited in the one before it are lost.
    pub(super) fn started_again(&mut self) {
        if let Some(read) = self.read.take_if(|read| read.holds_rows()) {
            self.complete = None;
            self.read = Some(read.for_every_sink());
        }
    }
}

impl Read {
    /// Whether the table's rows may be waiting for it.
    pub fn holds_rows(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// Whom it is for once it begins again: rows that waited for it may be missing everywhere.
    pub(super) fn audience_again(&self) -> Audience {
        if self.holds_rows() { Audience::All } else { self.audience.clone() }
    }

    fn for_every_sink(self) -> Self {
        // What a part of them was read for is read with the rest; and so is what nobody has asked for.
        Self { reach: Reach::Replace, audience: Audience::All, asker: Asker::Configured, until: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use wal::Lsn;

    use super::super::{Action, Capture, Complete, Event, Presence, Start, State, TableRecord, step};
    use super::*;
    use crate::model::FilePos;

    fn next(record: &TableRecord, event: Event) -> (TableRecord, Vec<Action>) {
        step(record, event, At::new(Lsn::new(9), 1_000))
    }

    /// A complete table that is read whole for one sink, and whose rows wait for that.
    fn waiting() -> TableRecord {
        let since = Lsn::new(1);
        let complete = TableRecord {
            capture: Capture::Since(since),
            complete: Some(Complete::Whole(since)),
            ..TableRecord::default()
        };
        let asked = next(&complete, Event::Asked(Ask::new(Reach::Whole, "it is new").of_sink("a"))).0;
        let begun = next(&asked, Event::Begun { number: 1, at_once: true, is_known: true }).0;
        assert!(begun.read.as_ref().is_some_and(Read::holds_rows));
        begun
    }

    #[test]
    fn a_table_whose_rows_wait_is_complete_at_no_sink_whomever_the_read_is_for() {
        let record = waiting();
        for sink in [Some("a"), Some("b"), None] {
            assert_eq!(record.state(sink).unwrap().state, State::Reading, "{sink:?}");
        }
        let placed = next(&record, Event::Placed { number: 1, stage: Stage::Placed, rows: 5 }).0;
        let stated = placed.state(Some("b")).unwrap();
        assert_eq!(
            (stated.state, stated.since),
            (State::Complete, Some(Lsn::new(9))),
            "once what has waited is applied"
        );
    }

    #[test]
    fn a_table_whose_waiting_rows_are_lost_is_read_again_for_every_sink_in_place_of_what_they_have() {
        let start = Start {
            presence: Presence::Listed,
            end: FilePos { file: "b.000001".into(), pos: 9 },
            is_there: true,
            initial: true,
        };
        let killed = next(&waiting(), Event::Started(start)).0;
        let lost = next(&killed, Event::RowsLost { why: "the daemon ended".into() }).0;
        for record in [next(&waiting(), Event::RowsLost { why: "an ALTER".into() }).0, lost] {
            let read = record.read.as_ref().unwrap();
            assert_eq!((&read.reach, &read.audience, &read.stage), (&Reach::Replace, &Audience::All, &Stage::Waiting));
            assert_eq!((read.number, record.complete), (2, None), "whoever reads it now is stopped");
            assert_eq!(record.state(Some("b")).unwrap().state, State::Reading);
        }
    }

    #[test]
    fn a_read_that_rows_wait_for_keeps_every_sink_waiting_when_it_begins_again() {
        let ask = Ask::new(Reach::Replace, "an operator asked for it").of_sink("a");
        let failed = next(&waiting(), Event::Failed { number: 1, why: "the disk is full".into() }).0;
        let again = next(&failed, Event::Asked(ask)).0;
        assert_eq!(again.read.as_ref().map(|read| read.audience.clone()), Some(Audience::All));
        let without = next(&waiting(), Event::SinkRemoved("a".into())).0;
        assert_eq!(without.read.map(|read| read.audience), Some(Audience::All), "the others lack its rows");
    }
}
