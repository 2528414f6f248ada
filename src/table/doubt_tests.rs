//! The rules of doubts, each by its name.

use wal::Lsn;

use super::*;
use crate::model::{OnDoubt, Rules};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const RULES: Rules = Rules { on_doubt: OnDoubt::Reread, pause: 10 * MINUTE };
const STOP: Rules = Rules { on_doubt: OnDoubt::StopTable, ..RULES };

/// A table, and a clock.
#[derive(Clone, Debug)]
struct Life {
    record: TableRecord,
    at: At,
    actions: Vec<Action>,
}

impl Life {
    fn complete() -> Self {
        let at = At { lsn: Lsn::new(1), micros: 1_000 * MINUTE, rules: RULES };
        Self { record: TableRecord::default(), at, actions: Vec::new() }.event(Event::Created)
    }

    fn event(mut self, event: Event) -> Self {
        self.at.lsn = self.at.lsn.next();
        (self.record, self.actions) = step(&self.record, event, self.at);
        self
    }

    fn under(mut self, rules: Rules) -> Self {
        self.at.rules = rules;
        self
    }

    fn after(mut self, micros: i64) -> Self {
        self.at.micros += micros;
        self
    }

    fn doubt(self, reach: Reach, cause: Cause) -> Self {
        self.event(Event::Asked(Ask::doubt(reach, cause, "a doubt")))
    }

    fn rows(self) -> Self {
        self.doubt(Reach::Replace, Cause::Rows)
    }

    fn keys(self, keys: &[u8]) -> Self {
        self.doubt(Reach::Keys(keys_of(keys)), Cause::Rows)
    }

    fn asked(self, reach: Reach) -> Self {
        self.event(Event::Asked(Ask::new(reach, "an operator asked for it")))
    }

    fn number(&self) -> u32 {
        self.record.read.as_ref().unwrap().number
    }

    fn begin(self) -> Self {
        let number = self.number();
        self.event(Event::Begun { number, at_once: false, is_known: true })
    }

    fn finish(self) -> Self {
        let number = self.number();
        self.event(Event::Finished { number })
    }

    fn state(&self) -> State {
        self.record.state(None).unwrap().state
    }

    /// Seconds that the read which is wanted has still to wait.
    fn waits(&self) -> Option<i64> {
        let read = self.record.next.as_ref().or(self.record.read.as_ref()).unwrap();
        read.until.map(|until| (until - self.at.micros) / SECOND)
    }

    fn reach(&self) -> &Reach {
        &self.record.next.as_ref().or(self.record.read.as_ref()).unwrap().reach
    }
}

fn keys_of(keys: &[u8]) -> Keys {
    Keys { columns: vec!["id".to_owned()], keys: keys.iter().map(|key| vec![*key]).collect() }
}

fn many() -> Keys {
    let keys = (0..=u32::try_from(Keys::MOST).unwrap()).map(|key| key.to_le_bytes().to_vec()).collect();
    Keys { keys, ..keys_of(&[]) }
}

#[test]
fn a_table_that_is_stopped_by_the_first_word_of_it_is_captured_and_not_read_because_it_never_was() {
    let life = Life { record: TableRecord::default(), ..Life::complete() }.under(STOP);
    let stopped = life.doubt(Reach::Replace, Cause::Definition);
    assert_eq!(stopped.state(), State::LeftOut);

    let met = stopped.event(Event::Met { initial: true });

    assert_eq!((met.state(), met.record.read.clone()), (State::LeftOut, None));
    assert!(met.asked(Reach::Whole).record.read.is_some(), "an operator has it read");
}

#[test]
fn a_doubt_is_a_read_of_the_table_that_is_told_once_where_it_arises() {
    let doubted = Life::complete().rows();
    assert_eq!((doubted.state(), doubted.record.complete, doubted.waits()), (State::Reading, None, None));
    assert!(matches!(&doubted.actions[..], [Action::Gap { why }] if why == "a doubt"), "{:?}", doubted.actions);
    let stated = doubted.record.state(None).unwrap();
    assert_eq!(
        (stated.reach, stated.since, stated.since_micros),
        (Some("rows"), Some(Lsn::new(3)), Some(doubted.at.micros))
    );
    let again = doubted.after(MINUTE).rows();
    assert!(again.actions.is_empty(), "{:?}", again.actions);
    assert_eq!(again.record.state(None).unwrap().since, Some(Lsn::new(3)), "it is in doubt since the first");
    let told = |actions: &[Action]| actions.iter().filter(|action| matches!(action, Action::Gap { .. })).count();
    let begun = again.begin();
    assert_eq!(told(&begun.actions), 0);
    let overtaken = begun.rows();
    assert_eq!(told(&overtaken.actions), 1, "after the read has begun it is another gap");
}

#[test]
fn a_doubt_while_a_read_runs_is_read_after_it() {
    let overtaken = Life::complete().rows().begin().rows();
    assert_eq!(overtaken.record.next.as_ref().map(|next| &next.reach), Some(&Reach::Replace));
    let once_more = overtaken.finish();
    assert_eq!((once_more.state(), once_more.record.complete), (State::Reading, None));
    let done = once_more.begin().finish();
    assert_eq!((done.state(), done.record.read), (State::Complete, None));
}

#[test]
fn a_table_whose_reads_are_overtaken_three_times_waits() {
    let mut life = Life::complete().rows();
    for _ in 0..2 {
        life = life.begin().rows();
        assert_eq!(life.waits(), None);
        life = life.finish();
    }
    let waiting = life.begin().rows();
    assert_eq!(waiting.waits(), Some(600));
    let waiting = waiting.finish();
    assert_eq!(waiting.waits(), Some(600), "also once it is its turn");
    let stated = waiting.record.state(None).unwrap();
    assert_eq!(
        (stated.waiting_doubt, stated.by_itself, stated.until),
        (true, true, Some(waiting.at.micros + 10 * MINUTE))
    );
    let begun = waiting.after(10 * MINUTE).begin();
    assert_eq!(begun.record.state(None).unwrap().until, None, "it has begun");
    assert_eq!(begun.finish().after(MINUTE).rows().waits(), Some(19 * 60), "and the pause has doubled");
}

#[test]
fn a_table_that_was_read_less_than_the_pause_ago_waits_for_the_rest_of_it() {
    let read = Life::complete().rows().begin().finish();
    assert_eq!(read.clone().after(4 * MINUTE).rows().waits(), Some(6 * 60));
    assert_eq!(read.clone().after(10 * MINUTE).rows().waits(), None);
    assert_eq!(
        read.clone().after(MINUTE).doubt(Reach::Whole, Cause::Definition).waits(),
        None,
        "a statement is no storm"
    );
    assert_eq!(
        read.after(MINUTE).rows().asked(Reach::Part { condition: "id > 5".into() }).waits(),
        None,
        "nor is an operator"
    );
}

#[test]
fn keys_are_read_alone_and_the_table_stays_complete_but_for_them() {
    let life = Life::complete().keys(&[1]).keys(&[2]);
    assert_eq!(life.reach(), &Reach::Keys(keys_of(&[1, 2])));
    assert_eq!((life.state(), life.record.complete), (State::Reading, Some(Complete::Whole(Lsn::new(2)))));
    assert!(life.record.next.is_none());
    let done = life.begin().finish();
    assert_eq!((done.state(), &done.record.read), (State::Complete, &None));
    assert_eq!(done.clone().keys(&[3]).waits(), Some(1), "they gather for a second");
    assert_eq!(done.after(SECOND).keys(&[3]).waits(), None);
}

#[test]
fn keys_that_change_while_the_table_is_read_are_read_after_it_and_the_table_is_not_read_once_more() {
    let first = Life { record: TableRecord::default(), ..Life::complete() }.event(Event::Met { initial: true });
    for reading in [first.begin(), Life::complete().rows().begin()] {
        let read = reading.keys(&[1]).finish();
        assert_eq!((read.state(), read.reach()), (State::Reading, &Reach::Keys(keys_of(&[1]))));
        assert!(matches!(read.record.complete, Some(Complete::Whole(_))), "but for these");
        let done = read.begin().finish();
        assert_eq!((done.state(), &done.record.read), (State::Complete, &None));
    }
}

#[test]
fn keys_that_are_too_many_are_a_read_of_the_table_which_waits_like_one() {
    let read = Life::complete().rows().begin().finish();
    let one = read.after(MINUTE).keys(&[200]);
    assert_eq!(one.waits(), None);
    let many = one.doubt(Reach::Keys(many()), Cause::Rows);
    assert_eq!((many.reach(), many.waits()), (&Reach::Whole, Some(9 * 60)));
}

#[test]
fn a_read_of_the_table_brings_the_keys_as_well_and_one_of_keys_no_more_than_these() {
    let life = Life::complete().rows().keys(&[1]);
    assert_eq!((life.reach(), life.record.reads), (&Reach::Replace, 1));
    assert_eq!(Life::complete().keys(&[1]).rows().reach(), &Reach::Replace);
    let values = Life::complete().doubt(Reach::Whole, Cause::Definition);
    assert_eq!(values.keys(&[1]).reach(), &Reach::Whole);
    let part = Life::complete().asked(Reach::Part { condition: "id > 5".into() });
    assert_eq!(part.keys(&[1]).reach(), &Reach::Whole, "nothing narrower brings both");
    let other = Keys { columns: vec!["other".to_owned()], ..keys_of(&[1]) };
    assert_eq!(Life::complete().keys(&[1]).doubt(Reach::Keys(other), Cause::Rows).reach(), &Reach::Whole);
    // A read of the table that has to wait does not hold up the keys of a table that is read now.
    let running = Life::complete().rows().begin().keys(&[1]);
    assert_eq!((running.record.next.as_ref().map(|next| next.reach.as_str()), running.waits()), (Some("keys"), None));
}

#[test]
fn keys_that_cannot_be_read_one_by_one_are_a_read_of_the_table() {
    let life = Life::complete().keys(&[1]);
    let number = life.number();
    let whole = life.event(Event::KeysUnknown { number });
    assert_eq!((whole.reach(), whole.number() > number), (&Reach::Whole, true));
    assert_eq!(whole.clone().event(Event::KeysUnknown { number }).record, whole.record, "of an old read");
}

#[test]
fn a_table_is_left_out_by_name_with_the_command_where_it_is_not_to_be_read_by_itself() {
    let changes = Life::complete().event(Event::Dropped).event(Event::Met { initial: false });
    let begun = Life::complete().rows();
    let number = begun.number();
    let too_large = Event::TooLarge { number, why: "it has too many rows".to_owned() };
    for (life, word) in [
        (Life::complete().under(STOP).rows(), "on_doubt"),
        (Life::complete().under(STOP).keys(&[1]), "on_doubt"),
        (changes.clone().rows(), "startup_mode"),
        (begun.event(too_large), "too many rows"),
    ] {
        let stated = life.record.state(None).unwrap();
        assert!(stated.is_failed() && stated.state == State::LeftOut, "{word}: {stated:?}");
        let why = stated.why.unwrap();
        assert!(
            why.contains("a doubt") && why.contains(word) && why.contains("replicator backfill --replace"),
            "{why}"
        );
        assert!(life.actions.iter().any(|action| matches!(action, Action::LeaveOut { .. })), "the sinks are told");
        let again = life.clone().rows();
        assert_eq!(again.record, life.record, "once");
        let asked = life.asked(Reach::Replace).begin().finish();
        assert_eq!(asked.state(), State::Complete, "the command works");
    }
    assert_eq!(changes.keys(&[1]).state(), State::Reading, "a few rows are what the stream would have brought");
}

#[test]
fn a_doubt_about_one_sink_leaves_the_table_to_the_others() {
    let ask = Ask::doubt(Reach::Replace, Cause::Rows, "counts differ").of_sink("b");
    let life = Life::complete().under(STOP).event(Event::Asked(ask));
    let state = |sink| life.record.state(Some(sink)).unwrap().state;
    assert_eq!((state("a"), state("b")), (State::Complete, State::Reading));
    assert!(life.actions.is_empty(), "it is none of the others' business: {:?}", life.actions);
}

#[test]
fn a_read_that_somebody_asked_for_is_not_too_large() {
    let asked = Life::complete().rows().asked(Reach::Replace);
    let number = asked.number();
    let same = asked.clone().event(Event::TooLarge { number, why: "it has too many rows".to_owned() });
    assert_eq!(same.record, asked.record);
}
