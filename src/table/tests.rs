//! The rules of [`super::step`], each by its name.

use wal::Lsn;

use super::*;
use crate::codec::frame::Audience;
use crate::model::{FilePos, ServerIdentity};

fn at(lsn: u64) -> At {
    At::new(Lsn::new(lsn), 1_000)
}

fn end() -> FilePos {
    FilePos { file: "binlog.000001".into(), pos: 900 }
}

fn server() -> ServerIdentity {
    ServerIdentity::MariaDb { server_id: 1, domain_id: 0 }
}

/// A table and the events that happened to it, the first of them at LSN 1.
#[derive(Clone, Debug, Default)]
struct Life {
    record: TableRecord,
    lsn: u64,
    actions: Vec<Action>,
}

impl Life {
    fn event(mut self, event: Event) -> Self {
        self.lsn += 1;
        (self.record, self.actions) = step(&self.record, event, at(self.lsn));
        self
    }

    fn start(self, presence: Presence) -> Self {
        self.event(Event::Started(Start { presence, end: end(), is_there: false, initial: true }))
    }

    fn ask(self, reach: Reach) -> Self {
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

    fn read(self) -> Self {
        self.begin().finish()
    }

    fn state(&self) -> State {
        self.record.state(None).unwrap().state
    }
}

/// A table that was read whole.
fn complete() -> Life {
    Life::default().event(Event::Met { initial: true }).read()
}

#[test]
fn a_table_of_a_new_log_is_read_and_complete_once_that_is_done() {
    let new = Start { presence: Presence::Listed, end: end(), is_there: true, initial: true };
    let life = Life::default().event(Event::Started(new));
    assert_eq!(life.state(), State::Reading);
    let life = life.read();
    assert_eq!((life.state(), life.record.complete), (State::Complete, Some(Complete::Whole(Lsn::new(3)))));
}

#[test]
fn a_table_of_which_rows_come_before_it_was_read_is_read() {
    let life = Life::default().event(Event::Met { initial: true });
    assert_eq!(life.record.read.as_ref().unwrap().reach, Reach::Whole);
    assert_eq!(life.clone().event(Event::Met { initial: true }).record, life.record, "once");
    let changes = Life::default().event(Event::Met { initial: false });
    assert_eq!((changes.state(), changes.record.read), (State::Complete, None));
}

#[test]
fn a_table_that_is_there_at_a_start_is_read_unless_the_stream_creates_it() {
    let there = Life::default().start(Presence::Listed);
    assert_eq!((there.state(), &there.record.read), (State::Reading, &None));
    let created = there.clone().event(Event::Created).event(Event::Passed);
    assert_eq!((created.state(), &created.record.read), (State::Complete, &None));
    let old = there.clone().event(Event::Passed);
    assert_eq!(old.record.read.unwrap().reach, Reach::Whole);
    let met = there.event(Event::Met { initial: true }).event(Event::Passed);
    assert_eq!((met.record.reads, met.record.read.unwrap().reach), (1, Reach::Whole));
}

#[test]
fn a_table_that_leaves_the_configuration_is_forgotten_but_for_that() {
    for life in [complete(), complete().ask(Reach::Whole).begin(), complete().event(Event::Silent { why: "x".into() })]
    {
        let left = life.event(Event::Excluded);
        assert_eq!(
            left.record,
            TableRecord {
                capture: Capture::Left(Lsn::new(left.lsn)),
                reads: left.record.reads,
                ..TableRecord::default()
            }
        );
        assert_eq!(left.record.state(None), None);
        let again = left.clone().event(Event::Excluded);
        assert_eq!(again.record, left.record, "where it left stays");
    }
}

#[test]
fn a_table_that_comes_back_is_read_again_with_replace_and_that_is_said() {
    let back = complete().event(Event::Excluded).start(Presence::Listed);
    assert_eq!(back.state(), State::Reading);
    let read = back.record.read.as_ref().unwrap();
    assert_eq!((&read.reach, &read.audience, read.is_doubt), (&Reach::Replace, &Audience::All, true));
    assert!(read.why.contains("not captured from LSN 4 to 5"), "{}", read.why);
    assert!(matches!(&back.actions[..], [Action::Tell(_), Action::Gap { .. }]));
}

#[test]
fn a_table_that_comes_back_where_no_rows_are_read_is_left_out_with_the_command_that_reads_it() {
    let start = Start { presence: Presence::Listed, end: end(), is_there: false, initial: false };
    let back = complete().event(Event::Excluded).event(Event::Started(start));
    let stated = back.record.state(None).unwrap();
    assert!(stated.is_failed() && stated.why.unwrap().contains("replicator backfill --replace"));
    let asked = back.ask(Reach::Replace);
    assert_eq!(asked.state(), State::Reading, "the command works");
}

#[test]
fn the_copy_of_a_table_that_was_dropped_while_it_was_not_captured_is_dropped_where_the_stream_has_passed() {
    let gone = complete().event(Event::Excluded).start(Presence::Missing);
    let passed = gone.clone().event(Event::Passed);
    assert_eq!(passed.actions, [Action::Drop]);
    assert_eq!(passed.record.capture, Capture::Unmet);
    let start = Start { presence: Presence::Missing, end: end(), is_there: true, initial: true };
    let there = complete().event(Event::Excluded).event(Event::Started(start));
    assert_eq!(there.event(Event::Passed).actions, [Action::Drop], "the stream is there already");
    let rows = gone.event(Event::Met { initial: true });
    assert_eq!(rows.record.read.unwrap().reach, Reach::Replace, "the stream has rows of it before its end");
    let denied = complete().event(Event::Excluded).start(Presence::Denied("GRANT".into()));
    assert!(denied.record.read.is_some(), "what cannot be seen is not gone");
}

#[test]
fn a_table_that_may_not_be_read_says_so_until_a_read_of_it_begins() {
    let denied = Life::default().start(Presence::Denied("GRANT SELECT".into()));
    assert_eq!(denied.state(), State::Unreadable);
    let number = denied.number();
    let again = denied.event(Event::Failed { number, why: "still denied".into() });
    let fault = again.record.unreadable.clone().unwrap();
    assert_eq!((fault.since, fault.why.as_str()), (Lsn::new(1), "still denied"), "since the first try");
    let begun = again.begin();
    assert_eq!((begun.state(), begun.record.unreadable.clone()), (State::Reading, None));
    assert_eq!(begun.finish().state(), State::Complete);
}

#[test]
fn a_read_that_failed_half_way_and_continues_leaves_no_fault() {
    let begun = complete().ask(Reach::Whole).begin();
    let number = begun.number();
    let failed = begun.event(Event::Failed { number, why: "denied".into() });
    assert_eq!(failed.state(), State::Unreadable);
    let placed = failed.clone().event(Event::Placed { number, stage: Stage::Ranges(vec![1]), rows: 5 });
    assert_eq!((placed.state(), &placed.record.unreadable), (State::Reading, &None));
    assert_eq!(failed.event(Event::Finished { number }).record.unreadable, None);
}

#[test]
fn what_is_asked_for_does_not_wait_for_a_read_that_fails() {
    let part = complete().ask(Reach::Part { condition: "no_such_column".into() }).begin();
    let number = part.number();
    let failed = part.event(Event::Failed { number, why: "no such column".into() });
    let asked = failed.ask(Reach::Whole);
    let read = asked.record.read.clone().unwrap();
    assert_eq!((&read.reach, &read.stage), (&Reach::Whole, &Stage::Waiting));
    assert!(read.number > number && asked.record.next.is_none());
    assert_eq!(asked.read().state(), State::Complete);
    let two = complete().ask(Reach::Whole).begin().ask(Reach::Replace);
    let number = two.number();
    let asked = two.event(Event::Failed { number, why: "denied".into() }).ask(Reach::Whole);
    assert_eq!((asked.record.read.clone().unwrap().reach, asked.record.next.clone()), (Reach::Replace, None));
}

#[test]
fn who_asks_for_a_read_that_failed_has_it_tried_at_once() {
    let asked = complete().ask(Reach::Whole);
    let number = asked.number();
    let again = asked.event(Event::Failed { number, why: "denied".into() }).ask(Reach::Whole);
    assert!(again.number() > number, "readers do what has another number than they were told");
    assert_eq!(again.record.read.unwrap().reach, Reach::Whole);
}

#[test]
fn a_complete_table_that_the_server_does_not_describe_stays_complete() {
    let silent = complete().event(Event::Silent { why: "no answer".into() });
    assert_eq!(silent.state(), State::Complete);
    assert_eq!(silent.event(Event::Answered).record.unreadable, None);
}

#[test]
fn a_table_that_is_gone_without_a_statement_is_left_out_by_name_until_it_is_made_again_or_asked_for() {
    let why = "the source has no such table";
    let gone = || complete().event(Event::Vanished { why: why.into() });
    assert_eq!(gone().state(), State::LeftOut);
    assert!(gone().record.left_out.unwrap().why.starts_with(why));
    assert_eq!(gone().event(Event::Created).state(), State::Complete);
    assert_eq!(gone().event(Event::Dropped).record.state(None), None);
    assert_eq!(gone().ask(Reach::Replace).begin().state(), State::Reading);
}

#[test]
fn reads_end_with_their_table() {
    for life in [
        complete().ask(Reach::Replace),
        complete().ask(Reach::Replace).begin(),
        complete().ask(Reach::Whole).begin().ask(Reach::Replace),
    ] {
        let number = life.number();
        let dropped = life.event(Event::Dropped);
        assert_eq!(dropped.record.current(number), None);
        assert_eq!(dropped.record.state(None), None);
        let created = dropped.event(Event::Created);
        assert_eq!(created.state(), State::Complete);
        for late in [
            Event::Finished { number },
            Event::Begun { number, at_once: false, is_known: true },
            Event::Failed { number, why: "x".into() },
        ] {
            let after = created.clone().event(late);
            assert_eq!(
                (after.record, after.actions),
                (created.record.clone(), vec![]),
                "a reader of before is not heard"
            );
        }
    }
}

#[test]
fn a_read_of_before_has_a_number_that_no_later_one_has() {
    let first = complete().ask(Reach::Whole);
    let later = first.clone().event(Event::Dropped).event(Event::Created).ask(Reach::Whole);
    assert!(later.number() > first.number());
    let excluded = first.clone().event(Event::Excluded).start(Presence::Listed);
    assert!(excluded.number() > first.number());
}

#[test]
fn a_table_that_is_renamed_while_it_is_to_be_read_is_read_in_place_of_what_came_of_it() {
    for life in [
        complete().ask(Reach::Whole),
        complete().ask(Reach::Whole).begin(),
        complete().ask(Reach::Whole).begin().ask(Reach::Whole),
    ] {
        let renamed = Life::default().event(Event::Renamed(Box::new(life.record)));
        assert_eq!(renamed.record.next, None);
        let read = renamed.record.read.unwrap();
        assert_eq!((read.reach, read.stage), (Reach::Replace, Stage::Waiting));
    }
    let moved = Life::default().event(Event::Renamed(Box::new(complete().record)));
    assert_eq!((moved.state(), moved.record.read), (State::Complete, None));
}

#[test]
fn a_table_that_a_reader_does_not_find_waits_for_the_stream_to_say_what_became_of_it() {
    let life = complete().ask(Reach::Whole);
    let number = life.number();
    let missing = life.event(Event::Missing { number, end: end(), server: server() });
    assert_eq!(missing.record.due(&[]), None);
    assert_eq!(missing.clone().event(Event::Dropped).record.read, None);
    let passed = missing.event(Event::Passed);
    assert_eq!(passed.state(), State::Unreadable);
    assert!(passed.record.due(&[]).is_some(), "it is tried again");
}

#[test]
fn a_table_that_was_never_complete_and_that_a_reader_does_not_find_is_gone_where_the_stream_has_passed() {
    let denied = Presence::Denied("GRANT".into());
    let named = Life::default().start(denied.clone());
    let back = complete().event(Event::Excluded).start(denied);
    for life in [named, back] {
        let number = life.number();
        let passed = life.event(Event::Missing { number, end: end(), server: server() }).event(Event::Passed);
        assert_eq!(passed.record.state(None), None);
        assert_eq!(passed.actions[0], Action::Drop);
    }
}

#[test]
fn a_table_that_a_reader_has_seen_and_no_statement_has_ended_cannot_be_read() {
    let life = Life::default().start(Presence::Denied("GRANT".into())).begin();
    let number = life.number();
    let passed = life.event(Event::Missing { number, end: end(), server: server() }).event(Event::Passed);
    assert_eq!(passed.state(), State::Unreadable);
    assert!(passed.record.due(&[]).is_some(), "it is tried again");
}

#[test]
fn of_a_table_that_is_not_captured_any_more_nothing_is_wanted_and_nothing_is_wrong() {
    let left = complete().event(Event::Excluded);
    for event in
        [Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a doubt")), Event::Silent { why: "denied".into() }]
    {
        assert_eq!(left.clone().event(event).record, left.record);
    }
}

#[test]
fn a_read_that_begins_again_brings_what_was_wanted_after_it() {
    let begun = complete().ask(Reach::Whole).begin();
    let number = begun.number();
    let doubted =
        begun.event(Event::Asked(Ask { leaves_out: true, ..Ask::doubt(Reach::Replace, Cause::Rows, "a doubt") }));
    assert!(doubted.record.next.is_some() && doubted.record.leaves_out_unknown());
    for event in [Event::Begun { number, at_once: false, is_known: true }, Event::Replaced { number }] {
        let again = doubted.clone().event(event);
        assert!(again.actions.contains(&Action::ReplaceBegin { audience: Audience::All }));
        assert_eq!((again.record.leaves_out_unknown(), &again.record.next), (false, &None));
        assert!(again.number() == number && again.record.read.unwrap().is_doubt);
    }
    let of_one = complete().event(Event::Asked(Ask::new(Reach::Replace, "it is new").of_sink("a"))).begin();
    let number = of_one.number();
    let doubted = of_one.event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a doubt")));
    let again = doubted.event(Event::Begun { number, at_once: false, is_known: true });
    assert!(again.record.next.is_some(), "the others do not get it");
}

#[test]
fn reads_that_wait_join_and_bring_what_each_of_them_needs() {
    let part = |condition: &str| Reach::Part { condition: condition.into() };
    for (first, second, joined) in [
        (Reach::Whole, Reach::Whole, Reach::Whole),
        (Reach::Whole, Reach::Replace, Reach::Replace),
        (Reach::Replace, Reach::Whole, Reach::Replace),
        (part("a"), Reach::Whole, Reach::Whole),
        (Reach::Whole, part("a"), Reach::Whole),
        (part("a"), part("a"), part("a")),
        (part("a"), part("b"), Reach::Part { condition: "(a) OR (b)".into() }),
    ] {
        let life = complete().ask(first.clone()).ask(second.clone());
        assert_eq!(life.record.read.unwrap().reach, joined, "{first:?}, {second:?}");
        assert_eq!(life.record.next, None);
    }
}

#[test]
fn a_read_for_one_sink_and_one_for_another_are_one_for_both() {
    let ask = |sink: &str| Event::Asked(Ask::new(Reach::Replace, "counts differ").of_sink(sink));
    let both = complete().event(ask("b")).event(ask("a"));
    let audience = Audience::Sinks(vec!["a".into(), "b".into()]);
    assert_eq!(both.record.read.as_ref().unwrap().audience, audience);
    let same = both.clone().event(ask("a"));
    assert_eq!(same.record, both.record, "a read that serves already stays what it is");
    let all = both.ask(Reach::Whole);
    let read = all.record.read.unwrap();
    assert_eq!((read.reach, read.audience), (Reach::Replace, Audience::All));
}

#[test]
fn a_read_that_is_asked_for_after_another_has_begun_follows_it() {
    let begun = complete().ask(Reach::Whole).begin();
    let both = begun.ask(Reach::Whole);
    assert!(both.record.next.is_some());
    let ended = both.finish();
    assert_eq!((ended.state(), &ended.record.next), (State::Reading, &None));
    assert_eq!(ended.read().state(), State::Complete);
}

#[test]
fn a_read_of_one_sink_says_nothing_of_the_others() {
    let new = Life::default().event(Event::Met { initial: true });
    let begun = new.begin().event(sink_added());
    assert_eq!(begun.record.next.as_ref().unwrap().audience, Audience::Sinks(vec!["b".into()]));
    let read = begun.finish();
    let state = |life: &Life, sink| life.record.state(Some(sink)).unwrap().state;
    assert_eq!((state(&read, "a"), state(&read, "b")), (State::Complete, State::Reading));
    assert_eq!(state(&read.read(), "b"), State::Complete);

    let doubt = complete().event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "counts differ").of_sink("b")));
    assert_eq!((state(&doubt, "a"), state(&doubt, "b")), (State::Complete, State::Reading));
    let whole = complete()
        .event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "rolled back in part")))
        .event(sink_added());
    assert_eq!(whole.record.complete, None);
}

#[test]
fn a_read_of_a_sink_that_is_gone_ends_with_it_and_one_of_a_sink_that_is_away_waits() {
    let added = complete().event(sink_added());
    assert_eq!(added.record.due(&["a".into()]), None, "away");
    assert!(added.record.due(&["a".into(), "b".into()]).is_some());
    let removed = added.event(Event::SinkRemoved("b".into()));
    assert_eq!((removed.record.read.clone(), removed.state()), (None, State::Complete));
}

#[test]
fn what_replaces_says_where_it_begins_and_where_it_ends() {
    let begun = complete().ask(Reach::Replace).begin();
    let all = || Audience::All;
    let expected = [
        Action::DiscardWindows,
        Action::ReplaceBegin { audience: all() },
        Action::MarkBegun { whole: true, audience: all() },
    ];
    assert_eq!(begun.actions, expected);
    assert!(begun.record.is_emptied());
    let number = begun.number();
    let last = begun.clone().event(Event::Placed { number, stage: Stage::Ranges(vec![1]), rows: 0 });
    assert!(!last.record.is_emptied(), "rows beyond the last key come with the stream alone");
    let placed = begun.event(Event::Placed { number, stage: Stage::Placed, rows: 5 });
    let ended = placed.finish();
    let expected = [Action::ReplaceEnd { audience: all() }, Action::MarkFinished { rows: 5, audience: all() }];
    assert_eq!(ended.actions, expected);
    let over = complete().ask(Reach::Whole).read();
    assert_eq!(over.actions, [Action::MarkFinished { rows: 0, audience: all() }]);
}

#[test]
fn a_table_that_is_read_at_one_position_replaces_whatever_was_asked() {
    let life = complete().ask(Reach::Whole);
    let number = life.number();
    let begun = life.event(Event::Begun { number, at_once: true, is_known: true });
    assert!(!begun.actions.iter().any(|action| matches!(action, Action::ReplaceBegin { .. })));
    let placing = begun.event(Event::Replaced { number });
    assert_eq!(placing.actions, [Action::ReplaceBegin { audience: Audience::All }]);
    assert!(placing.finish().actions.contains(&Action::ReplaceEnd { audience: Audience::All }));
}

#[test]
fn a_table_that_cannot_be_copied_is_left_out_by_nature_and_read_when_that_changes() {
    let engine = || Presence::ByNature("its engine is BLACKHOLE".into());
    for life in [Life::default(), complete(), complete().ask(Reach::Whole).begin()] {
        let left_out = life.start(engine());
        let stated = left_out.record.state(None).unwrap();
        assert_eq!((stated.state, stated.is_failed()), (State::LeftOut, false));
        assert_eq!(left_out.record.due(&[]), None);
        for copied in [left_out.clone().start(Presence::Listed), left_out.event(Event::Nature { left_out: None })] {
            assert_eq!(copied.record.read.unwrap().reach, Reach::Replace);
        }
    }
    let created = Life::default().event(Event::Created);
    assert_eq!(created.clone().event(Event::Nature { left_out: None }).record, created.record);
    let versioned = created.event(Event::Nature { left_out: Some("it is system-versioned".into()) });
    assert_eq!((versioned.state(), versioned.record.complete), (State::LeftOut, None));
}

#[test]
fn what_awaits_the_end_of_one_server_awaits_that_of_the_next() {
    let there = Life::default().start(Presence::Listed);
    let other = FilePos { file: "mysql-bin.000007".into(), pos: 4 };
    let moved = there.event(Event::Moved(other.clone()));
    assert_eq!(moved.record.awaits.unwrap().until, other);
}

#[test]
fn at_a_sink_a_table_is_complete_since_the_sink_has_every_row() {
    let stated = || complete().record.state(Some("a")).unwrap();
    let whole = AtSink { whole_since: Some(Lsn::new(9)), ..AtSink::default() };
    let there = stated().at_sink(&whole);
    assert_eq!((there.state, there.since), (State::Complete, Some(Lsn::new(9))));
    for at in [AtSink::default(), AtSink { is_reading: true, ..whole.clone() }] {
        assert_eq!(stated().at_sink(&at).state, State::Reading);
    }
    let stopped = AtSink { stopped: Some((Lsn::new(4), "no room".into())), ..whole };
    let stopped = stated().at_sink(&stopped);
    assert_eq!((stopped.state, stopped.since, stopped.is_failed()), (State::Stopped, Some(Lsn::new(4)), true));
    let changes = Life::default().event(Event::Met { initial: false }).record.state(Some("a")).unwrap();
    assert_eq!(changes.at_sink(&AtSink::default()).state, State::Complete);
}

#[test]
fn a_read_that_has_begun_for_a_sink_that_is_away_keeps_nothing_else_from_being_read() {
    let begun = complete().event(sink_added()).begin();
    let doubt = Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "rolled back in part"));
    let both = begun.event(doubt);
    assert_eq!(both.record.due(&["a".into()]), None);
    let away = both.clone().event(Event::Sinks(vec!["a".into()]));
    let read = away.record.due(&["a".into()]).unwrap();
    assert_eq!((&read.reach, &read.audience, &read.stage), (&Reach::Replace, &Audience::All, &Stage::Waiting));
    let there = both.clone().event(Event::Sinks(vec!["a".into(), "b".into()]));
    assert_eq!(there.record, both.record);
}

#[test]
fn a_table_that_is_left_out_is_not_read_by_itself_because_of_a_doubt() {
    let start = Start { presence: Presence::Listed, end: end(), is_there: false, initial: false };
    let left_out = complete().event(Event::Excluded).event(Event::Started(start));
    let doubt = left_out.clone().event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "rolled back in part")));
    assert_eq!(doubt.record, left_out.record);
}

#[test]
fn a_copy_that_was_left_out_is_replaced_under_the_name_that_its_table_came_back_with() {
    let left = complete().event(Event::Excluded).event(Event::Met { initial: true });
    let renamed = Life::default().event(Event::Renamed(Box::new(left.record)));
    assert_eq!(renamed.record.read.unwrap().reach, Reach::Replace);
}

#[test]
fn a_table_that_a_reader_did_not_find_is_tried_by_another_reader() {
    let life = complete().ask(Reach::Whole);
    let number = life.number();
    let missing = life.clone().event(Event::Missing { number, end: end(), server: server() });
    assert!(missing.event(Event::Passed).number() > number);
    assert!(life.event(Event::Again { number }).number() > number);
}

/// Every order of a few events, in which readers go on with what is wanted: the record never says less than is true.
#[test]
fn whatever_happens_a_captured_table_is_complete_or_its_record_says_what_is_missing() {
    let events = [
        Event::Met { initial: true },
        Event::Created,
        Event::Dropped,
        Event::Excluded,
        Event::Started(Start { presence: Presence::Listed, end: end(), is_there: false, initial: true }),
        Event::Passed,
        sink_added(),
        Event::SinkRemoved("b".into()),
        Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a doubt")),
        Event::Asked(Ask::new(Reach::Part { condition: "a".into() }, "a part")),
    ];
    let mut lives = vec![Life::default()];
    for _ in 0..4 {
        let mut after = Vec::new();
        for life in &lives {
            after.extend(events.iter().map(|event| life.clone().event(event.clone())));
            if life.record.read.is_some() {
                after.push(life.clone().begin());
                after.push(life.clone().finish());
                let number = life.number();
                after.push(life.clone().event(Event::Failed { number, why: "denied".into() }));
            }
        }
        lives = after;
    }
    for Life { record, .. } in lives {
        let Some(stated) = record.state(None) else { continue };
        if record.is_captured() && record.complete.is_none() {
            assert!(record.read.is_some() || record.left_out.is_some(), "nothing would ever complete it: {record:?}");
        }
        if stated.state == State::Complete {
            assert!(record.read.is_none() && record.next.is_none(), "{record:?}");
        }
        assert!(record.next.is_none() || record.read.as_ref().is_some_and(Read::has_begun), "{record:?}");
    }
}

fn sink_added() -> Event {
    Event::SinkAdded { sink: "b".into(), replaces: false }
}

#[test]
fn a_sink_that_is_reset_has_every_table_replaced_for_it_alone_also_after_a_read_that_has_begun() {
    let reset = || Event::SinkAdded { sink: "b".into(), replaces: true };
    let audience = Audience::Sinks(vec!["b".into()]);
    let asked = complete().event(reset());
    let read = asked.record.read.clone().unwrap();
    assert_eq!(
        (read.reach, read.audience, read.why.as_str()),
        (Reach::Replace, audience.clone(), "sink \"b\" was reset")
    );
    let again = asked.clone().event(reset());
    assert_eq!(again.record, asked.record, "one that waits brings it");
    // It may have begun before the place from which the sink gets the log.
    let begun = asked.begin().event(reset());
    let next = begun.record.next.clone().unwrap();
    assert_eq!((next.reach, next.audience), (Reach::Replace, audience));
    let new = complete().event(sink_added()).begin().event(reset());
    assert_eq!(new.record.next.unwrap().reach, Reach::Replace);
}

#[test]
fn a_table_that_missed_a_part_of_the_stream_is_read_again_whatever_was_known_of_it_and_whatever_the_mode() {
    let start = |presence| Start { presence, end: end(), is_there: true, initial: false };
    let skipped = |life: Life, presence| {
        life.event(Event::Skipped { start: start(presence), why: "the binlogs were purged".into() })
    };
    let complete = Life::default().event(Event::Met { initial: true }).read();
    let doubted = Life::default().event(Event::Met { initial: false }).event(Event::Asked(Ask::doubt(
        Reach::Replace,
        Cause::Rows,
        "statement format",
    )));
    assert!(doubted.record.left_out.is_some(), "it was never copied whole");
    let nature = Life::default().event(Event::Nature { left_out: Some("its engine is MERGE".into()) });
    for before in [complete.clone(), complete.clone().ask(Reach::Whole).begin(), doubted, nature] {
        let after = skipped(before, Presence::Listed);
        let read = after.record.read.as_ref().unwrap();
        assert_eq!((&read.reach, &read.audience, &read.stage), (&Reach::Replace, &Audience::All, &Stage::Waiting));
        assert_eq!((read.why.as_str(), read.is_doubt), ("the binlogs were purged", true));
        let TableRecord { complete, next, left_out, unreadable, awaits, .. } = &after.record;
        assert_eq!((complete, next, left_out, unreadable, awaits), (&None, &None, &None, &None, &None));
        assert!(matches!(after.record.capture, Capture::Since(_)));
        assert!(
            after
                .actions
                .iter()
                .any(|action| matches!(action, Action::Gap { why } if why == "the binlogs were purged"))
        );
    }
    // The numbers of reads go on, so that no reader of before is taken for one of now.
    let number = complete.clone().ask(Reach::Whole).number();
    assert!(skipped(complete.clone().ask(Reach::Whole), Presence::Listed).number() > number);

    let gone = skipped(complete.clone(), Presence::Missing).event(Event::Passed);
    assert_eq!((gone.record.is_known(), gone.actions), (false, vec![Action::Drop]));
    let left_out = skipped(complete.clone(), Presence::ByNature("its engine is MERGE".into()));
    assert!(left_out.record.nature().is_some());
    let new = skipped(Life::default(), Presence::Listed);
    assert_eq!(new.record.read.map(|read| read.reach), Some(Reach::Whole), "it was made meanwhile");
    let excluded = complete.event(Event::Excluded);
    assert!(matches!(excluded.record.capture, Capture::Left(_)));
}

#[test]
fn a_gap_says_every_reason_that_the_sinks_were_not_told() {
    let complete = Life::default().event(Event::Met { initial: true }).read();
    let start = Start { presence: Presence::Listed, end: end(), is_there: true, initial: true };
    let mut skipped = complete.event(Event::Skipped { start, why: "the binlogs were purged".into() });
    skipped.record.is_not_told();
    let told = skipped.event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "statement format")));
    let why = "the binlogs were purged; statement format";
    assert_eq!(told.actions, [Action::Gap { why: why.into() }]);
    let again = told.event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "statement format")));
    assert_eq!(again.actions, [], "once");
}

fn by_hand(reach: Reach) -> Event {
    Event::Asked(Ask::by_hand(reach, "an operator asked for it"))
}

fn skip() -> Event {
    Event::SkipAsked { why: "root skipped it".into() }
}

fn cancel() -> Event {
    Event::ReadCancelled { why: "root cancelled a read of it".into() }
}

fn stated(life: &Life) -> Stated {
    life.record.state(None).unwrap()
}

#[test]
fn a_table_that_an_operator_has_left_out_stays_so_until_an_operator_takes_that_back() {
    let skipped = complete().event(skip());
    assert!(skipped.actions.contains(&Action::LeaveOut { why: "root skipped it".into() }), "{:?}", skipped.actions);
    let is_out = |life: &Life| (stated(life).state, stated(life).skipped, stated(life).is_failed());
    assert_eq!(is_out(&skipped), (State::LeftOut, true, false));
    let start = |presence| Start { presence, end: end(), is_there: true, initial: true };
    for event in [
        Event::Started(start(Presence::Listed)),
        Event::Started(start(Presence::Missing)),
        Event::Started(start(Presence::ByNature("a MERGE table".into()))),
        Event::Skipped { start: start(Presence::Listed), why: "purged".into() },
        Event::Nature { left_out: Some("a MERGE table".into()) },
        Event::Nature { left_out: None },
        Event::Vanished { why: "it is gone".into() },
        Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a doubt")),
        by_hand(Reach::Replace),
        Event::RowsLost { why: "an ALTER".into() },
        sink_added(),
        Event::Met { initial: true },
        Event::Passed,
        cancel(),
    ] {
        let after = skipped.clone().event(event.clone());
        assert_eq!(is_out(&after), (State::LeftOut, true, false), "{event:?}");
        assert_eq!(after.record.read, None, "{event:?}");
    }
    let resumed = skipped.clone().event(Event::ResumeAsked { why: "root resumed it".into() });
    assert_eq!(resumed.record.read.as_ref().map(|read| &read.reach), Some(&Reach::Replace));
    assert_eq!(stated(&resumed.read()).state, State::Complete);
    assert_eq!(stated(&skipped.event(Event::Dropped).event(Event::Created)).state, State::Complete, "another table");
}

#[test]
fn a_cancelled_read_leaves_the_table_as_complete_as_it_was_or_says_that_it_is_not_known() {
    let part = Reach::Part { condition: "id > 5".into() };
    for reach in [part, Reach::Whole] {
        let waiting = complete().event(by_hand(reach.clone()));
        let begun = waiting.clone().begin();
        for (life, marks) in [(waiting, 0), (begun, 2)] {
            let after = life.event(cancel());
            assert_eq!((stated(&after).state, &after.record.read), (State::Complete, &None), "{reach:?}");
            let is_mark = |action: &&Action| {
                matches!(action, Action::MarkBegun { whole: false, .. } | Action::MarkFinished { .. })
            };
            assert_eq!(after.actions.iter().filter(is_mark).count(), marks, "{reach:?}: {:?}", after.actions);
        }
    }
    let waiting = complete().event(by_hand(Reach::Replace));
    assert_eq!(stated(&waiting.clone().event(cancel())).state, State::Complete, "nothing has begun to replace it");
    let at_once = |life: Life| {
        let number = life.number();
        life.event(Event::Begun { number, at_once: true, is_known: true })
    };
    for begun in [waiting.clone().begin(), at_once(waiting.clone())] {
        let after = begun.clone().event(cancel());
        assert_eq!((stated(&after).state, stated(&after).skipped), (State::LeftOut, true), "{:?}", after.record);
        // A doubt that came meanwhile is read, which brings everything.
        let number = begun.number();
        let doubted = begun.event(Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a doubt")));
        assert_eq!(doubted.record.cancellable(), Some(number), "{:?}", doubted.record);
        assert_eq!(stated(&doubted.event(cancel())).state, State::Reading);
    }
}

#[test]
fn a_read_that_is_for_others_too_is_not_cancelled() {
    let waiting = complete().event(by_hand(Reach::Whole)).event(sink_added());
    let begun = complete().event(sink_added()).begin();
    for life in [waiting, begun] {
        assert!(matches!(life.record.may_cancel(), Err(NotCancelled::NotByHand(_))), "{:?}", life.record);
        assert_eq!(life.clone().event(cancel()).record, life.record);
    }
    assert_eq!(complete().record.may_cancel(), Err(NotCancelled::NoRead));
    let for_one = Event::Asked(Ask::by_hand(Reach::Replace, "an operator asked for it").of_sink("b"));
    let replacing = complete().event(for_one).begin();
    assert_eq!(replacing.record.may_cancel(), Err(NotCancelled::Replaces(vec!["b".into()])));
}
