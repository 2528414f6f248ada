//! Two daemons on one file: a round is stored by the one that opened it last, or not at all.

use rusqlite::Connection;
use wal::{LogId, Lsn};

use crate::codec::frame::RowOp::Insert;
use crate::codec::version::Epoch;
use crate::config::Mode;
use crate::error::{ErrorClass, Failure};
use crate::sink::TargetState;
use crate::sink::claim::Opener;
use crate::sink::sqlite::target::Target;
use crate::sink::sqlite::testing::*;

const OTHER: LogId = LogId::new(78);

/// A rig with an open round of one row, in a table that is committed.
fn writing() -> Rig {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id")], key(&[0])));
    rig.rows(t, Insert, &[&["1"]]);
    rig.commit();
    rig
}

/// Another daemon opens the file.
fn another(rig: &Rig, log: LogId) -> Target {
    Target::open(&rig.path(), &rig.plan, log, &mut Opener::new()).unwrap().0
}

fn refused(rig: &mut Rig) -> Failure {
    let failure = now(rig.target.as_mut().unwrap().commit(Lsn::new(9))).unwrap_err();
    assert_eq!(failure.class, ErrorClass::Fatal);
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("`path`")), "{failure:?}");
    failure
}

#[test]
fn a_daemon_with_a_copy_of_the_log_takes_the_file_and_the_earlier_one_stores_nothing_more() {
    let mut rig = writing();
    let mut copy = another(&rig, LOG);
    rig.rows(crate::model::SchemaId(1), Insert, &[&["2"]]);
    assert!(refused(&mut rig).message.contains("another daemon with a copy of log"));
    rig.target.take().unwrap().rollback().unwrap();
    assert_eq!(rig.read("SELECT id FROM t"), ["1"]);
    now(copy.commit(Lsn::new(7))).unwrap();
    assert_eq!(rig.open().unwrap(), TargetState::At { log: LOG, epoch: Epoch::FIRST, applied: Lsn::new(7) });
    assert!(now(copy.commit(Lsn::new(8))).is_err(), "the next start is a later opening");
}

#[test]
fn of_two_new_logs_the_one_that_came_first_is_refused_before_it_stores_anything() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let mut second = another(&rig, OTHER);
    let t = rig.schema(schema(vec![int("id")], key(&[0])));
    rig.rows(t, Insert, &[&["1"]]);
    let failure = refused(&mut rig);
    assert!(failure.message.contains(&format!("a daemon with log {OTHER}")), "{failure:?}");
    rig.target.take().unwrap().rollback().unwrap();
    now(second.commit(Lsn::new(3))).unwrap();
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE name = 't'"), [""; 0]);
    assert!(matches!(rig.open().unwrap(), TargetState::At { log: OTHER, .. }));
}

#[test]
fn a_target_of_another_log_is_not_claimed_by_looking_at_it_and_is_by_the_first_round() {
    let mut rig = writing();
    let mut other = another(&rig, OTHER);
    rig.commit();
    // Its first round finds what it saw, and takes the file over.
    now(other.commit(Lsn::new(1))).unwrap();
    assert!(refused(&mut rig).message.contains(&OTHER.to_string()));
    let second = Epoch::FIRST.next().unwrap();
    let state = TargetState::At { log: OTHER, epoch: second, applied: Lsn::new(1) };
    assert_eq!(rig.open_for(OTHER).unwrap(), state);
    assert!(now(other.commit(Lsn::new(2))).is_err());
}

#[test]
fn a_daemon_does_not_take_the_file_back_when_it_opens_it_again() {
    let mut rig = writing();
    let mut opener = Opener::new();
    let open = |rig: &Rig, opener: &mut Opener| Target::open(&rig.path(), &rig.plan, LOG, opener).map(drop);
    open(&rig, &mut opener).unwrap();
    open(&rig, &mut opener).unwrap();
    rig.open().unwrap();
    let failure = open(&rig, &mut opener).unwrap_err();
    assert!(failure.message.contains("since this one did"), "{failure:?}");
    rig.commit();
}

#[test]
fn a_file_without_writers_is_opened_and_a_line_that_is_none_is_refused() {
    let mut rig = writing();
    rig.target = None;
    let connection = Connection::open(rig.path()).unwrap();
    connection.execute_batch("DROP TABLE _replicator_writer").unwrap();
    rig.open().unwrap();
    rig.commit();
    connection.execute_batch("UPDATE _replicator_writer SET writer = 'me'").unwrap();
    assert!(rig.open().unwrap_err().message.contains("not readable"));
}
