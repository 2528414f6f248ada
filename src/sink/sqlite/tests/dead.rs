//! Rows that cannot be written, and become dead letters.

use super::super::testing::*;
use crate::codec::frame::{RowOp, TableChange};
use crate::config::{Mode, OnRowError, TableOptions};
use crate::model::{SchemaId, TableName};

fn t() -> TableName {
    TableName::new("shop", "t")
}

/// A copy of `t` that takes no row whose `n` is 13, and lets none go whose `n` is 7.
fn rig(options: TableOptions) -> (Rig, SchemaId) {
    let mut rig = Rig::new(options);
    rig.plan.on_row_error = OnRowError::DeadLetter;
    rig.open().unwrap();
    let id = rig.create(schema(vec![int("id"), int("n")], key(&[0])));
    rig.commit();
    let (column, deletes) = match rig.plan.defaults.mode {
        Mode::Mirror => ("n", true),
        Mode::History => ("after_n", false),
    };
    let mut sql = String::new();
    let refuse = |event: &str, name: &str| {
        format!(
            "CREATE TRIGGER {name} BEFORE {event} ON t WHEN new.\"{column}\" = 13 BEGIN SELECT RAISE(ABORT, 'unlucky'); END;"
        )
    };
    for (event, name) in [("INSERT", "a"), ("UPDATE", "b")] {
        sql.push_str(&refuse(event, name));
    }
    if deletes {
        sql += "CREATE TRIGGER c BEFORE DELETE ON t WHEN old.n = 7 BEGIN SELECT RAISE(ABORT, 'kept'); END;";
    }
    rig.target.as_ref().unwrap().connection.execute_batch(&sql).unwrap();
    (rig, id)
}

fn letters(rig: &Rig) -> u64 {
    let sums = rig.target.as_ref().unwrap().followed.letters.sums();
    sums.iter().map(|(_, sum)| sum.count).sum()
}

/// (taken, acknowledged, split, unmatched, dead-lettered) of the round.
fn counts(rig: &mut Rig) -> (u64, u64, u64, u64, u64) {
    let counts = rig.commit();
    (counts.taken, counts.acknowledged, counts.split, counts.unmatched, counts.dead_lettered)
}

#[test]
fn a_row_that_is_refused_becomes_a_letter_and_the_rows_around_it_are_written() {
    let (mut rig, id) = rig(options(Mode::Mirror));
    rig.rows(id, RowOp::Insert, &[&["1", "1"], &["2", "13"], &["3", "3"]]);
    assert_eq!(counts(&mut rig), (3, 2, 0, 0, 1));
    assert_eq!(rig.table("t"), ["1 1", "3 3"]);
    assert_eq!((letters(&rig), rig.stop()), (1, None));
}

#[test]
fn a_letter_ends_when_its_row_is_written_or_is_gone_and_no_change_of_it_is_a_doubt() {
    let (mut rig, id) = rig(options(Mode::Mirror));
    rig.rows(id, RowOp::Insert, &[&["1", "13"], &["2", "13"], &["3", "13"]]);
    assert_eq!(counts(&mut rig), (3, 0, 0, 0, 3));
    rig.rows(id, RowOp::Update, &[&["1", "13"], &["1", "4"]]);
    rig.rows(id, RowOp::Delete, &[&["2", "13"]]);
    rig.rows(id, RowOp::Update, &[&["3", "13"], &["3", "13"]]);
    assert_eq!(counts(&mut rig), (3, 2, 0, 0, 1));
    assert_eq!((rig.table("t"), letters(&rig)), (vec!["1 4".to_owned()], 1));
    // Without a letter it is one.
    rig.rows(id, RowOp::Delete, &[&["2", "13"]]);
    assert_eq!(counts(&mut rig), (1, 1, 0, 1, 0));
}

#[test]
fn of_a_change_of_the_key_that_is_refused_the_old_row_goes_and_the_new_one_is_the_letter() {
    let (mut rig, id) = rig(options(Mode::Mirror));
    rig.rows(id, RowOp::Insert, &[&["1", "1"], &["7", "7"], &["8", "7"]]);
    rig.commit();
    rig.rows(id, RowOp::Update, &[&["1", "1"], &["2", "13"]]);
    assert_eq!(counts(&mut rig), (1, 1, 1, 0, 1));
    assert_eq!((rig.table("t"), letters(&rig)), (vec!["7 7".to_owned(), "8 7".to_owned()], 1));
    // The old row stays, and the new one is there.
    rig.rows(id, RowOp::Update, &[&["7", "7"], &["9", "9"]]);
    assert_eq!(counts(&mut rig), (1, 1, 1, 0, 1));
    assert_eq!(rig.table("t"), ["7 7", "8 7", "9 9"]);
    // Neither is written.
    rig.rows(id, RowOp::Update, &[&["8", "7"], &["10", "13"]]);
    assert_eq!(counts(&mut rig), (1, 0, 0, 0, 1));
    assert_eq!(letters(&rig), 3);
    rig.rows(id, RowOp::Insert, &[&["10", "10"]]);
    rig.commit();
    assert_eq!(letters(&rig), 3, "row 8 is there still");
    rig.rows(id, RowOp::Update, &[&["8", "7"], &["8", "8"]]);
    rig.commit();
    assert_eq!(letters(&rig), 2);
}

#[test]
fn a_line_of_a_history_that_is_refused_becomes_a_letter_that_later_changes_leave() {
    let (mut rig, id) = rig(options(Mode::History));
    rig.rows(id, RowOp::Insert, &[&["1", "1"], &["2", "13"]]);
    rig.rows(id, RowOp::Update, &[&["2", "13"], &["2", "2"]]);
    rig.rows(id, RowOp::Update, &[&["1", "1"], &["1", "13"], &["2", "2"], &["2", "3"]]);
    assert_eq!(counts(&mut rig), (5, 3, 0, 0, 2));
    assert_eq!(letters(&rig), 2);
    assert_eq!(rig.read("SELECT _op, after_n FROM t ORDER BY 1, 2"), ["'insert' 1", "'update' 2", "'update' 3"]);
}

#[test]
fn a_table_without_a_key_stops() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.plan.on_row_error = OnRowError::DeadLetter;
    rig.open().unwrap();
    let id = rig.create(schema(vec![int("id")], None));
    rig.commit();
    let sql = "CREATE TRIGGER a BEFORE INSERT ON t WHEN new.id = 13 BEGIN SELECT RAISE(ABORT, 'no'); END";
    rig.target.as_ref().unwrap().connection.execute_batch(sql).unwrap();
    rig.rows(id, RowOp::Insert, &[&["1"], &["13"]]);
    rig.commit();
    assert!(rig.stop().is_some());
    assert_eq!(letters(&rig), 0);
}

#[test]
fn a_statement_that_takes_back_the_round_stops_the_table() {
    let (mut rig, id) = rig(options(Mode::Mirror));
    let sql = "CREATE TRIGGER d BEFORE INSERT ON t WHEN new.n = 5 BEGIN SELECT RAISE(ROLLBACK, 'all'); END";
    rig.target.as_ref().unwrap().connection.execute_batch(sql).unwrap();
    let failure = rig.try_rows(id, RowOp::Insert, &[&["1", "5"]]).unwrap_err();
    assert!(failure.message.contains("taken back the whole round"), "{failure}");
}

#[test]
fn a_drop_of_the_table_at_the_source_ends_the_letters_of_its_history_where_the_copy_goes() {
    let (mut rig, id) = rig(options(Mode::Mirror));
    rig.rows(id, RowOp::Insert, &[&["1", "13"]]);
    rig.change(&TableChange::Drop { table: t() });
    rig.commit();
    assert_eq!(letters(&rig), 0);
}

#[test]
fn without_the_policy_the_table_stops_as_ever() {
    let (mut rig, id) = rig(options(Mode::Mirror));
    rig.plan.on_row_error = OnRowError::StopTable;
    rig.open().unwrap();
    rig.rows(id, RowOp::Insert, &[&["1", "1"], &["2", "13"]]);
    rig.commit();
    assert!(rig.stop().unwrap().contains("a constraint"), "{:?}", rig.stop());
}
