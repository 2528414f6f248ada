//! What the status says of a table's life: the record's own words, and what they come to at a sink.

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::SinkTableLive;
use super::live::rfc3339;
use crate::table::{AtSink, State, Stated, TableRecord};

/// A table's state, as the status has it. What does not apply is left out of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold with any other")]
pub struct StateStatus {
    /// The state; `None`: the table is not captured.
    pub state: Option<State>,
    /// Complete: every change since this LSN. Left out, unreadable, stopped: since this LSN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_lsn: Option<u64>,
    /// Since when it is wrong, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why, and the remedy; of a complete table, what it lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// It is left out because of what it is, or because the configuration says so: no fault of the copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_nature: bool,
    /// It is left out because an operator has said so (`table skip`), until one takes that back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_operator: bool,
    /// It is not known what its rows are, and the read that settles that has not begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting_doubt: bool,
    /// Nobody has asked for that read: it waits while the log is more than half full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_itself: bool,
    /// That read does not begin before this time, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How much of a table in doubt is read: `keys`, `part`, `values` (over what is there) or `rows` (in place of what is there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<String>,
    /// At a sink: readers see the copy as it was before this LSN. A new one is built beside it, and takes its place once it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_copy_lsn: Option<u64>,
}

impl From<Stated> for StateStatus {
    fn from(stated: Stated) -> Self {
        let Stated {
            state,
            since,
            since_micros,
            why,
            by_nature,
            skipped: by_operator,
            waiting_doubt,
            by_itself,
            until,
            reach,
        } = stated;
        Self {
            state: Some(state),
            since_lsn: since.map(Lsn::raw),
            since: since_micros.map(rfc3339),
            why: why.filter(|why| !why.is_empty()),
            by_nature,
            by_operator,
            waiting_doubt,
            by_itself,
            until: until.map(rfc3339),
            reach: reach.map(str::to_owned),
            old_copy_lsn: None,
        }
    }
}

impl StateStatus {
    /// Of a table; `None` where nothing is known of it, or it is not captured.
    pub(crate) fn of(record: Option<&TableRecord>) -> Self {
        record.and_then(|record| record.state(None)).map(Self::from).unwrap_or_default()
    }

    /// Of a table at a sink that has applied everything up to `applied`. A table that is not captured has no state
    /// there either, whatever the sink has stopped.
    pub fn at_sink(
        record: Option<&TableRecord>,
        sink: (&str, Lsn),
        live: &SinkTableLive,
        stopped: Option<(Lsn, String)>,
    ) -> Self {
        let (sink, applied) = sink;
        let Some(stated) = record.and_then(|record| record.state(Some(sink))) else { return Self::default() };
        // What makes it complete is in the log before it is here: the end of a read, or its creation.
        let is_ahead = stated.why.is_none() && stated.since.is_some_and(|since| applied < since);
        let whole_since = live.whole_since.filter(|_| !is_ahead);
        let apart = live.apart.clone();
        let at = stated.at_sink(&AtSink { whole_since, is_reading: live.is_reading, stopped, apart });
        match &live.doubt {
            Some(why) if at.state == State::Complete => Self {
                state: Some(State::Reading),
                since_lsn: None,
                why: Some(why.clone()),
                waiting_doubt: true,
                ..Self::from(at)
            },
            Some(_) | None => Self::from(at),
        }
    }

    /// The state of a table of which readers see an old copy since this LSN, if they do: it is complete once they see the new one.
    #[must_use]
    pub fn behind(self, old_copy: Option<Lsn>) -> Self {
        let Some(old_copy) = old_copy.filter(|_| self.state.is_some()) else { return self };
        let old_copy_lsn = Some(old_copy.raw());
        if self.state == Some(State::Complete) {
            return Self { state: Some(State::Reading), since_lsn: None, old_copy_lsn, ..self };
        }
        Self { old_copy_lsn, ..self }
    }

    /// Whether the table is not what it should be, so that an operator has to look.
    pub fn is_failed(&self) -> bool {
        match self.state {
            None | Some(State::Complete | State::Reading) => false,
            Some(State::LeftOut) => !self.by_nature && !self.by_operator,
            Some(State::Unreadable | State::Stopped) => true,
        }
    }

    /// How much it needs an operator's look: tables are listed by it, the worst first.
    pub fn severity(&self) -> (bool, bool, Option<State>) {
        (self.is_failed(), self.waiting_doubt || self.by_operator, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Ask, At, Cause, Event, Reach, step};

    fn after(events: impl IntoIterator<Item = (u64, Event)>) -> TableRecord {
        let mut record = TableRecord::default();
        for (lsn, event) in events {
            record = step(&record, event, At::new(Lsn::new(lsn), 0)).0;
        }
        record
    }

    fn at(record: &TableRecord, applied: u64, live: &SinkTableLive, stopped: Option<(Lsn, String)>) -> Option<State> {
        StateStatus::at_sink(Some(record), ("local", Lsn::new(applied)), live, stopped).state
    }

    #[test]
    fn a_table_is_complete_at_a_sink_once_the_sink_has_applied_what_made_it_complete() {
        let created = after([(7, Event::Created)]);
        let nothing = SinkTableLive::default();
        assert_eq!(at(&created, 5, &nothing, None), Some(State::Reading));
        let whole = SinkTableLive { whole_since: Some(Lsn::new(7)), ..SinkTableLive::default() };
        let of_another = SinkTableLive { whole_since: Some(Lsn::new(3)), ..SinkTableLive::default() };
        assert_eq!(at(&created, 6, &of_another, None), Some(State::Reading), "of a table that had the name before");
        assert_eq!(at(&created, 7, &whole, None), Some(State::Complete));
        let reading = SinkTableLive { is_reading: true, ..whole.clone() };
        assert_eq!(at(&created, 9, &reading, None), Some(State::Reading));
        // The log has it again since 20, and the sink still has what it had before.
        let doubt = Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "why"));
        let number = 1;
        let again = after([
            (7, Event::Created),
            (9, doubt),
            (9, Event::Begun { number, at_once: false, is_known: true }),
            (20, Event::Finished { number }),
        ]);
        assert_eq!(at(&again, 8, &whole, None), Some(State::Reading));
    }

    #[test]
    fn a_table_of_which_only_changes_are_wanted_is_complete_before_its_first_change() {
        let met = after([(7, Event::Met { initial: false })]);
        assert_eq!(at(&met, 6, &SinkTableLive::default(), None), Some(State::Complete));
    }

    #[test]
    fn counts_that_do_not_agree_are_a_doubt_and_no_completeness() {
        let created = after([(7, Event::Created)]);
        let doubt = Some("1 is not 2".to_owned());
        let live = SinkTableLive { whole_since: Some(Lsn::new(7)), doubt, ..SinkTableLive::default() };
        let stated = StateStatus::at_sink(Some(&created), ("local", Lsn::new(9)), &live, None);
        assert_eq!((stated.state, stated.waiting_doubt), (Some(State::Reading), true));
        assert_eq!((stated.since_lsn, stated.why.as_deref()), (None, Some("1 is not 2")));
    }

    #[test]
    fn a_table_of_which_readers_see_an_old_copy_is_not_complete_and_says_since_when() {
        let created = after([(7, Event::Created)]);
        let whole = SinkTableLive { whole_since: Some(Lsn::new(7)), ..SinkTableLive::default() };
        let behind = |stopped| {
            let stated = StateStatus::at_sink(Some(&created), ("local", Lsn::new(9)), &whole, stopped);
            let stated = stated.behind(Some(Lsn::new(8)));
            (stated.state, stated.since_lsn, stated.old_copy_lsn)
        };
        assert_eq!(behind(None), (Some(State::Reading), None, Some(8)));
        let stopped = Some((Lsn::new(9), "a row was refused".to_owned()));
        assert_eq!(behind(stopped), (Some(State::Stopped), Some(9), Some(8)));
        assert_eq!(StateStatus::default().behind(Some(Lsn::new(8))), StateStatus::default(), "it is not captured");
    }

    #[test]
    fn a_stop_of_a_table_that_is_not_captured_is_no_state() {
        let stopped = Some((Lsn::new(3), "it was altered".to_owned()));
        let created = after([(1, Event::Created)]);
        assert_eq!(at(&created, 9, &SinkTableLive::default(), stopped.clone()), Some(State::Stopped));
        let left = after([(1, Event::Created), (5, Event::Excluded)]);
        assert_eq!(at(&left, 9, &SinkTableLive::default(), stopped.clone()), None);
        let unmet = TableRecord::default();
        assert_eq!(at(&unmet, 9, &SinkTableLive::default(), stopped), None);
        assert_eq!(StateStatus::of(Some(&left)), StateStatus::default());
    }
}
