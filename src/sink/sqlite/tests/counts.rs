//! What became of the rows, on both sides: those taken from the log, and what SQLite reported.

use rusqlite::Connection;
use wal::Lsn;

use crate::codec::frame::RowOp::{Delete, Insert, Snapshot, Update};
use crate::codec::frame::{Frame, TableChange};
use crate::config::{Mode, TableOptions};
use crate::model::{RowCounts, SchemaId, TableName};
use crate::sink::sqlite::testing::*;

/// A table of (id, name) with the rows 1, 2 and 3, whose counts are taken off.
fn started(options: TableOptions) -> (Rig, SchemaId) {
    let mut rig = Rig::new(options);
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"], &["2", "b"], &["3", "c"]]);
    assert_eq!(rig.commit(), RowCounts { taken: 3, acknowledged: 3, ..RowCounts::default() });
    (rig, t)
}

#[test]
fn each_change_of_a_mirror_is_acknowledged_once_and_a_change_of_a_key_twice() {
    for options in [options(Mode::Mirror), soft()] {
        let (mut rig, t) = started(options);
        rig.rows(t, Snapshot, &[&["3", "c"], &["4", "d"]]);
        rig.rows(t, Update, &[&["1", "a"], &["1", "A"], &["2", "b"], &["20", "b"]]);
        rig.rows(t, Delete, &[&["3", "c"]]);
        assert_eq!(rig.commit(), RowCounts { taken: 5, acknowledged: 6, split: 1, ..RowCounts::default() });
    }
}

#[test]
fn a_delete_and_an_update_of_a_row_that_is_not_there_are_unmatched() {
    for options in [options(Mode::Mirror), soft()] {
        let (mut rig, t) = started(options);
        rig.rows(t, Delete, &[&["9", "x"], &["1", "a"]]);
        rig.rows(t, Update, &[&["8", "y"], &["8", "z"], &["2", "b"], &["2", "B"]]);
        let counts = RowCounts { taken: 4, acknowledged: 4, unmatched: 2, ..RowCounts::default() };
        assert_eq!(rig.commit(), counts);
        // The key of the row that moves is not there either.
        rig.rows(t, Update, &[&["7", "u"], &["70", "u"]]);
        let counts = RowCounts { taken: 1, acknowledged: 2, split: 1, unmatched: 1, ..RowCounts::default() };
        assert_eq!(rig.commit(), counts);
    }
}

#[test]
fn a_change_of_a_softly_deleted_row_is_unmatched() {
    let (mut rig, t) = started(soft());
    rig.rows(t, Delete, &[&["1", "a"], &["2", "b"]]);
    rig.rows(t, Delete, &[&["1", "a"]]);
    rig.rows(t, Update, &[&["2", "b"], &["2", "B"]]);
    let counts = RowCounts { taken: 4, acknowledged: 4, unmatched: 2, ..RowCounts::default() };
    assert_eq!(rig.commit(), counts);
    assert_eq!(rig.read("SELECT * FROM t ORDER BY id"), ["1 'a' 1", "2 'B' 0", "3 'c' 0"]);
}

#[test]
fn a_row_of_key_columns_only_that_is_there_already_is_acknowledged() {
    for options in [options(Mode::Mirror), soft()] {
        let mut rig = Rig::new(options);
        let t = rig.create(schema(vec![int("a"), text("b")], key(&[1, 0])));
        rig.rows(t, Insert, &[&["1", "x"]]);
        rig.rows(t, Snapshot, &[&["1", "x"]]);
        rig.rows(t, Update, &[&["1", "x"], &["1", "x"], &["2", "y"], &["2", "y"]]);
        let counts = RowCounts { taken: 4, acknowledged: 4, unmatched: 1, ..RowCounts::default() };
        assert_eq!(rig.commit(), counts);
    }
}

#[test]
fn a_table_without_a_key_counts_the_changes_that_found_no_equal_row() {
    for options in [options(Mode::Mirror), soft()] {
        let mut rig = Rig::new(options);
        let t = rig.create(schema(vec![int("id"), text("name")], None));
        rig.rows(t, Insert, &[&["1", "a"], &["1", "a"]]);
        rig.rows(t, Update, &[&["1", "a"], &["2", "b"]]);
        rig.rows(t, Delete, &[&["2", "b"], &["1", "A"]]);
        rig.rows(t, Update, &[&["5", "e"], &["6", "f"]]);
        let counts = RowCounts { taken: 6, acknowledged: 6, unmatched: 2, ..RowCounts::default() };
        assert_eq!(rig.commit(), counts);
    }
}

#[test]
fn a_changelog_acknowledges_every_row_change_and_no_mark() {
    let (mut rig, t) = started(options(Mode::History));
    rig.rows(t, Update, &[&["1", "a"], &["10", "a"]]);
    rig.rows(t, Delete, &[&["99", "never seen"]]);
    rig.change(&TableChange::Truncate { table: TableName::new("shop", "t") });
    assert_eq!(rig.commit(), RowCounts { taken: 2, acknowledged: 2, ..RowCounts::default() });
}

#[test]
fn a_row_that_a_trigger_on_the_copy_keeps_out_is_not_acknowledged() {
    let (mut rig, t) = started(options(Mode::Mirror));
    let trigger = "CREATE TRIGGER mine BEFORE INSERT ON t WHEN new.id = 5 BEGIN SELECT RAISE(IGNORE); END";
    Connection::open(rig.path()).unwrap().execute_batch(trigger).unwrap();
    rig.rows(t, Insert, &[&["4", "d"], &["5", "e"]]);
    let counts = now(rig.target.as_mut().unwrap().commit(Lsn::new(9))).unwrap();
    let counts = counts.of(&TableName::new("shop", "t"));
    assert_eq!(counts, RowCounts { taken: 2, acknowledged: 1, ..RowCounts::default() });
    assert!(!counts.balance());
}

#[test]
fn a_round_that_is_rolled_back_counts_nothing() {
    let (mut rig, t) = started(options(Mode::Mirror));
    rig.rows(t, Insert, &[&["4", "d"]]);
    rig.open().unwrap();
    rig.rows(t, Insert, &[&["5", "e"], &["6", "f"]]);
    assert_eq!(rig.commit().taken, 2);
}

#[test]
fn the_sections_of_a_frame_are_counted_for_their_own_tables() {
    let (mut rig, t) = started(options(Mode::Mirror));
    let mut other = schema(vec![int("id")], key(&[0]));
    other.name = TableName::new("shop", "u");
    let u = rig.create(other.clone());
    let (name, table) = (other.name.clone(), schema(vec![int("id"), text("name")], key(&[0])));
    let payload = rows_frame(&[
        (t, Insert, 1, images(&table, &[&["4", "d"]])),
        (u, Insert, 2, images(&other, &[&["1"], &["2"]])),
        (t, Delete, 1, images(&table, &[&["4", "d"]])),
    ]);
    rig.frame(&Frame::decode(&payload).unwrap()).unwrap();
    let counts = now(rig.target.as_mut().unwrap().commit(Lsn::new(9))).unwrap();
    assert_eq!(counts.iter().count(), 2);
    assert_eq!((counts.of(&table.name).taken, counts.of(&name).taken), (2, 2));
}
