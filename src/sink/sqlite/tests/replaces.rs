//! A replace builds the new copy beside the old one, which stays as it was until the new one takes its place; and whatever overtakes it.

use crate::codec::frame::RowOp::{Delete, Insert, Snapshot, Update};
use crate::codec::frame::TableChange;
use crate::config::{DdlAction, Mode};
use crate::model::{SchemaId, TableName};
use crate::sink::claim::Opener;
use crate::sink::follow::replace::after_take_over;
use crate::sink::sqlite::beside;
use crate::sink::sqlite::target::Target;
use crate::sink::sqlite::testing::*;
use rusqlite::Connection;

fn t() -> TableName {
    TableName::new("shop", "t")
}

/// A table of (id, a) with two rows, of which a replace has begun and brought one with another value.
fn replacing(options: crate::config::TableOptions) -> (Rig, SchemaId) {
    let mut rig = Rig::new(options);
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x"], &["2", "y"]]);
    rig.commit();
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "new"]]);
    rig.commit();
    (rig, first)
}

/// Tables and views at the target that are not the sink's own; a copy that is being built is one of them.
fn tables(rig: &Rig) -> Vec<String> {
    let own = "'_replicator_cursor', '_replicator_tables', '_replicator_stopped_tables', '_replicator_writer'";
    rig.read(&format!(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT IN ({own}) AND name NOT LIKE 'sqlite%' ORDER BY 1"
    ))
}

fn old_copies(rig: &Rig) -> Vec<(TableName, u64)> {
    let tables = &rig.target.as_ref().unwrap().followed.tables;
    crate::sink::registry::old_copies(tables).into_iter().map(|(table, since)| (table, since.raw())).collect()
}

fn execute(rig: &Rig, sql: &str) {
    Connection::open(rig.path()).unwrap().execute_batch(sql).unwrap();
}

const OLD: [&str; 2] = ["1 'x'", "2 'y'"];

#[test]
fn the_old_copy_stays_as_it_was_until_the_new_one_is_whole_over_restarts_as_well() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    rig.rows(first, Update, &[&["1", "new"], &["1", "newer"]]);
    rig.rows(first, Insert, &[&["3", "z"]]);
    rig.commit();
    assert_eq!(rig.table("t"), OLD);
    assert_eq!(old_copies(&rig), [(t(), 3)]);
    rig.open().unwrap();
    assert_eq!((rig.stop(), old_copies(&rig)), (None, vec![(t(), 3)]));
    rig.rows(first, Delete, &[&["3", "z"]]);
    rig.replaced(first);
    assert_eq!(rig.table("t"), ["1 'newer'"]);
    rig.commit();
    assert_eq!((tables(&rig), old_copies(&rig)), (vec!["'t'".to_owned()], Vec::new()));
    rig.open().unwrap();
    rig.rows(first, Insert, &[&["4", "q"]]);
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["1 'newer'".to_owned(), "4 'q'".to_owned()]));
}

#[test]
fn a_crash_in_the_round_of_the_end_leaves_the_old_copy_and_the_end_comes_again() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    rig.replaced(first);
    rig.open().unwrap();
    assert_eq!((rig.table("t"), old_copies(&rig)), (OLD.map(str::to_owned).to_vec(), vec![(t(), 3)]));
    rig.replaced(first);
    rig.commit();
    assert_eq!(rig.table("t"), ["1 'new'"]);
}

#[test]
fn what_a_user_has_put_on_the_copy_is_on_the_new_one() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x"]]);
    rig.commit();
    execute(
        &rig,
        "ALTER TABLE t ADD COLUMN mine TEXT DEFAULT 'm'; CREATE INDEX by_a ON t (a, mine); CREATE VIEW v AS SELECT a, mine FROM t;
         CREATE TABLE seen (id INTEGER);
         CREATE TRIGGER watch AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (new.id); END",
    );
    rig.open().unwrap();
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "new"], &["2", "y"]]);
    assert_eq!(rig.read("SELECT * FROM v"), ["'x' 'm'"]);
    rig.replaced(first);
    rig.rows(first, Insert, &[&["3", "z"]]);
    rig.commit();
    assert_eq!(rig.stop(), None);
    assert_eq!(rig.read("SELECT * FROM v ORDER BY 1"), ["'new' 'm'", "'y' 'm'", "'z' 'm'"]);
    assert_eq!(rig.read("SELECT * FROM t INDEXED BY by_a WHERE a = 'y'"), ["2 'y' 'm'"]);
    assert_eq!(rig.read("SELECT * FROM seen"), ["3"], "the rows of a read are not changes of rows");
}

#[test]
fn an_index_of_a_user_that_the_new_copy_cannot_have_stops_the_table_and_the_old_copy_stays() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    rig.rows(first, Insert, &[&["3", "new"]]);
    rig.replaced(first);
    rig.commit();
    let reason = rig.stop().unwrap();
    assert!(
        reason.contains("put the new copy of shop.t in the place of \"t\"") && reason.contains("index"),
        "{reason}"
    );
    assert_eq!(rig.table("t"), OLD);
    // The way back, walked.
    execute(&rig, "DROP INDEX mine");
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "new"], &["3", "new"]]);
    rig.replaced(first);
    rig.commit();
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["1 'new'".to_owned(), "3 'new'".to_owned()]));
    assert_eq!(tables(&rig), ["'t'"]);
}

#[test]
fn a_change_of_the_definition_is_followed_in_the_new_copy_and_the_old_one_keeps_its_shape() {
    for at_the_begin in [false, true] {
        let (mut rig, first) = replacing(options(Mode::Mirror));
        let wider = schema(vec![int("id"), text("b"), int("n")], key(&[0]));
        let second = if at_the_begin {
            let second = rig.schema(wider);
            rig.replace(second);
            second
        } else {
            rig.alter(first, wider, &[("a", "b")])
        };
        rig.rows(second, Snapshot, &[&["2", "y2", "7"]]);
        rig.commit();
        assert_eq!(rig.read("SELECT id, a FROM t ORDER BY id"), OLD);
        rig.open().unwrap();
        rig.replaced(second);
        rig.rows(second, Insert, &[&["3", "z", "8"]]);
        rig.commit();
        let mut rows = vec!["2 'y2' 7".to_owned(), "3 'z' 8".to_owned()];
        if !at_the_begin {
            rows.insert(0, "1 'new' NULL".to_owned());
        }
        assert_eq!((rig.stop(), rig.read("SELECT id, b, n FROM t ORDER BY id")), (None, rows), "{at_the_begin}");
    }
}

#[test]
fn another_replace_begins_again_and_a_truncate_empties_what_is_built() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    rig.replace(first);
    assert_eq!((rig.table("t"), old_copies(&rig)), (OLD.map(str::to_owned).to_vec(), vec![(t(), 5)]));
    rig.rows(first, Snapshot, &[&["5", "five"]]);
    rig.change(&TableChange::Truncate { table: t() });
    rig.rows(first, Insert, &[&["6", "six"]]);
    assert_eq!(rig.table("t"), OLD);
    rig.replaced(first);
    rig.commit();
    assert_eq!((rig.table("t"), tables(&rig)), (vec!["6 'six'".to_owned()], vec!["'t'".to_owned()]));
}

#[test]
fn a_table_that_is_dropped_while_it_is_replaced_leaves_what_its_policy_says() {
    for (policy, left) in [(DdlAction::Apply, &[][..]), (DdlAction::Ignore, &OLD[..])] {
        let (mut rig, _) = replacing(options(Mode::Mirror));
        rig.plan.ddl.drop_table = policy;
        rig.open().unwrap();
        rig.change(&TableChange::Drop { table: t() });
        rig.commit();
        assert_eq!(old_copies(&rig), []);
        if left.is_empty() {
            assert_eq!(tables(&rig), [""; 0]);
        } else {
            assert_eq!(
                (tables(&rig), rig.table("t")),
                (vec!["'t'".to_owned()], left.iter().map(|row| (*row).to_owned()).collect())
            );
        }
        // Another table of the name.
        let again = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
        rig.rows(again, Insert, &[&["9", "again"]]);
        rig.commit();
        assert!(rig.table("t").contains(&"9 'again'".to_owned()));
    }
    let (mut rig, _) = replacing(options(Mode::Mirror));
    rig.plan.ddl.drop_table = DdlAction::Stop;
    rig.open().unwrap();
    rig.change(&TableChange::Drop { table: t() });
    rig.commit();
    assert_eq!(rig.table("t"), OLD);
    assert!(rig.stop().unwrap().contains("`ddl.drop_table` says to stop then"));
    // The way out, walked: nothing of it stays.
    execute(&rig, "DROP TABLE t");
    rig.open().unwrap();
    rig.commit();
    assert_eq!((rig.stop(), tables(&rig)), (None, Vec::new()));
}

#[test]
fn a_table_that_is_renamed_while_it_is_replaced_goes_on_under_its_new_name() {
    let (mut rig, _) = replacing(options(Mode::Mirror));
    let mut renamed = schema(vec![int("id"), text("a")], key(&[0]));
    renamed.name = TableName::new("shop", "u");
    let u = rig.schema(renamed);
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "u"), schema: u });
    rig.rows(u, Insert, &[&["3", "z"]]);
    rig.commit();
    assert_eq!(
        (tables(&rig), rig.table("u")),
        (vec!["'_replicator_new_u'".to_owned(), "'u'".to_owned()], OLD.map(str::to_owned).to_vec())
    );
    rig.replaced(u);
    rig.commit();
    assert_eq!(
        (tables(&rig), rig.table("u")),
        (vec!["'u'".to_owned()], vec!["1 'new'".to_owned(), "3 'z'".to_owned()])
    );
}

#[test]
fn rows_that_were_softly_deleted_stay_and_those_that_do_not_come_again_are_marked_at_the_end() {
    let mut rig = Rig::new(soft());
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x"], &["2", "y"], &["3", "z"]]);
    rig.rows(first, Delete, &[&["3", "z"]]);
    rig.commit();
    let before = ["1 'x' 0", "2 'y' 0", "3 'z' 1"];
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "x"]]);
    rig.rows(first, Insert, &[&["4", "q"]]);
    rig.rows(first, Delete, &[&["4", "q"]]);
    rig.commit();
    assert_eq!(rig.table("t"), before);
    rig.replaced(first);
    rig.commit();
    assert_eq!(rig.table("t"), ["1 'x' 0", "2 'y' 1", "3 'z' 1", "4 'q' 1"]);
    // It goes while it is replaced: all of them are marked, those of the new copy as well.
    rig.replace(first);
    rig.rows(first, Insert, &[&["5", "r"]]);
    rig.change(&TableChange::Drop { table: t() });
    rig.commit();
    assert_eq!(rig.table("t"), ["1 'x' 1", "2 'y' 1", "3 'z' 1", "4 'q' 1", "5 'r' 1"]);
    assert_eq!(tables(&rig), ["'t'"]);
}

#[test]
fn a_replace_under_another_configuration_keeps_what_no_read_brings_again_under_another_name() {
    for (before, after) in [(options(Mode::History), options(Mode::Mirror)), (soft(), options(Mode::Mirror))] {
        let mut rig = Rig::new(before);
        let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
        rig.rows(first, Insert, &[&["1", "x"]]);
        rig.rows(first, Delete, &[&["1", "x"]]);
        rig.commit();
        let kept = rig.read("SELECT * FROM t");
        rig.plan.defaults = after;
        rig.open().unwrap();
        let reason = rig.stop().unwrap();
        assert!(reason.contains("keeps the copy that is there under another name"), "{reason}");
        assert_eq!(rig.released, [], "an operator has to say so first");
        rig.replace(first);
        rig.rows(first, Snapshot, &[&["2", "y"]]);
        assert_eq!(rig.read("SELECT * FROM t"), kept);
        rig.replaced(first);
        rig.commit();
        assert_eq!((rig.stop(), rig.table("t")), (None, vec!["2 'y'".to_owned()]));
        assert_eq!(tables(&rig), ["'t'", "'t_until_4'"]);
        assert_eq!(rig.read("SELECT * FROM t_until_4"), kept);
        rig.open().unwrap();
        assert_eq!(rig.stop(), None);
    }
}

#[test]
fn a_replace_under_another_table_name_drops_the_old_copy_at_its_end() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x"]]);
    rig.commit();
    rig.plan.table_name = "copy_{table}".into();
    rig.open().unwrap();
    assert!(rig.stop().is_some());
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["2", "y"]]);
    rig.commit();
    assert_eq!(tables(&rig), ["'copy_t'", "'t'"]);
    rig.replaced(first);
    rig.commit();
    assert_eq!((tables(&rig), rig.table("copy_t")), (vec!["'copy_t'".to_owned()], vec!["2 'y'".to_owned()]));
}

#[test]
fn a_table_that_stops_while_it_is_replaced_keeps_its_old_copy() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    execute(&rig, "CREATE UNIQUE INDEX mine ON _replicator_new_t (a)");
    rig.rows(first, Insert, &[&["3", "new"]]);
    rig.commit();
    assert!(rig.stop().is_some());
    rig.replaced(first);
    rig.commit();
    assert_eq!((rig.table("t"), old_copies(&rig)), (OLD.map(str::to_owned).to_vec(), vec![(t(), 3)]));
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "a"], &["2", "a"]]);
    rig.replaced(first);
    rig.commit();
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["1 'a'".to_owned(), "2 'a'".to_owned()]));
}

#[test]
fn a_table_that_is_dropped_under_its_new_name_while_it_is_replaced_leaves_nothing_of_its_old_one() {
    let (mut rig, _) = replacing(options(Mode::Mirror));
    rig.plan.ddl.drop_table = DdlAction::Ignore;
    rig.open().unwrap();
    let mut renamed = schema(vec![int("id"), text("a")], key(&[0]));
    renamed.name = TableName::new("shop", "u");
    let u = rig.schema(renamed);
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "u"), schema: u });
    // Another table has taken its name.
    let again = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.change(&TableChange::Drop { table: TableName::new("shop", "u") });
    rig.rows(again, Insert, &[&["9", "again"]]);
    rig.commit();
    rig.open().unwrap();
    assert_eq!((rig.stop(), rig.stop_of(&TableName::new("shop", "u"))), (None, None));
    assert_eq!((rig.table("t"), rig.table("u")), (vec!["9 'again'".to_owned()], OLD.map(str::to_owned).to_vec()));
    assert_eq!(rig.read("SELECT source_table, target FROM _replicator_tables ORDER BY 1"), ["'t' 't'", "'u' 'u'"]);
}

#[test]
fn a_key_that_cannot_be_told_while_a_replace_is_under_way_waits_for_the_next_one() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    let second = rig.lose(first, schema(vec![int("id"), text("a"), int("n")], key(&[2])));
    rig.rows(second, Snapshot, &[&["2", "y", "7"]]);
    // The end of the replace that the change has overtaken.
    rig.replaced(second);
    rig.commit();
    rig.open().unwrap();
    assert_eq!((rig.table("t"), old_copies(&rig)), (OLD.map(str::to_owned).to_vec(), vec![(t(), 3)]));
    rig.replace(second);
    rig.rows(second, Snapshot, &[&["1", "x", "6"], &["2", "y", "7"]]);
    rig.replaced(second);
    rig.commit();
    assert_eq!(rig.table("t"), ["1 'x' 6", "2 'y' 7"]);
}

#[test]
fn softly_deleted_rows_outlive_a_replace_that_brings_another_type_and_a_drop_without_a_key() {
    let mut rig = Rig::new(soft());
    let first = rig.create(schema(vec![int("id"), int("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "10"], &["2", "20"]]);
    rig.rows(first, Delete, &[&["2", "20"]]);
    let second = rig.schema(schema(vec![int("id"), text("a")], key(&[0])));
    rig.replace(second);
    rig.rows(second, Snapshot, &[&["1", "ten"]]);
    rig.replaced(second);
    rig.commit();
    assert_eq!(rig.table("t"), ["1 'ten' 0", "2 '20' 1"]);

    let mut rig = Rig::new(soft());
    let loose = rig.create(schema(vec![text("a")], None));
    rig.rows(loose, Insert, &[&["x"], &["y"]]);
    rig.commit();
    rig.replace(loose);
    rig.rows(loose, Snapshot, &[&["x"]]);
    rig.change(&TableChange::Drop { table: t() });
    rig.commit();
    assert_eq!(rig.table("t"), ["'x' 1", "'y' 1"], "the row that had not come again was there until the drop");
    assert_eq!(tables(&rig), ["'t'"]);
}

#[test]
fn the_columns_of_a_user_are_on_the_new_copy_as_they_were_defined_over_a_stop_as_well() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x"]]);
    rig.commit();
    execute(
        &rig,
        "ALTER TABLE t ADD COLUMN twice AS (a || a); ALTER TABLE t ADD COLUMN note TEXT NOT NULL DEFAULT 'n' COLLATE NOCASE;
         CREATE INDEX by_note ON t (note, twice); CREATE UNIQUE INDEX mine ON t (a)",
    );
    rig.open().unwrap();
    rig.rows(first, Insert, &[&["2", "x"]]);
    assert!(rig.stop().is_some());
    rig.commit();
    execute(&rig, "DROP INDEX mine");
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "x"], &["2", "x"]]);
    rig.replaced(first);
    rig.commit();
    assert_eq!(
        (rig.stop(), rig.read("SELECT id, twice, note FROM t INDEXED BY by_note WHERE note = 'N' ORDER BY id")),
        (None, vec!["1 'xx' 'n'".to_owned(), "2 'xx' 'n'".to_owned()])
    );
}

#[test]
fn a_table_that_is_no_longer_captured_keeps_the_copy_that_readers_see_and_nothing_else() {
    let (mut rig, _) = replacing(options(Mode::Mirror));
    rig.captured.retain(|table| *table != t());
    rig.open().unwrap();
    assert_eq!((tables(&rig), old_copies(&rig)), (vec!["'t'".to_owned()], Vec::new()));
    rig.open().unwrap();
    assert_eq!((rig.table("t"), rig.stop()), (OLD.map(str::to_owned).to_vec(), None));
}

#[test]
fn a_table_name_that_differs_in_case_only_is_replaced() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.commit();
    rig.plan.table_name = "T".into();
    rig.open().unwrap();
    assert!(rig.stop().is_some());
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "x"]]);
    rig.replaced(first);
    rig.commit();
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["1 'x'".to_owned()]));
}

fn take_over(rig: &Rig) {
    let taking = rig.taking(LOG, 9);
    let (mut target, _) = Target::take_over(&rig.path(), &rig.plan, taking, &mut Opener::new()).unwrap();
    now(after_take_over(&mut target, taking)).unwrap();
}

#[test]
fn what_a_target_has_of_tables_that_its_new_log_does_not_capture_stops_and_is_mixed_with_nothing() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "gone"]]);
    rig.commit();
    let captured = std::mem::take(&mut rig.captured);
    take_over(&rig);
    rig.captured = captured;
    rig.open().unwrap();
    assert!(rig.stop().unwrap().contains("no table of the log that took this target over"));
    // Another table of the name.
    let again = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(again, Insert, &[&["2", "new"]]);
    rig.commit();
    assert!(rig.stop().is_some());
    assert_eq!(rig.table("t"), ["1 'gone'"]);
    // The way back, walked.
    rig.replace(again);
    rig.rows(again, Snapshot, &[&["2", "new"]]);
    rig.replaced(again);
    rig.commit();
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["2 'new'".to_owned()]));
}

#[test]
fn a_replace_that_is_under_way_when_the_target_is_taken_over_waits_for_another_one() {
    let (mut rig, first) = replacing(options(Mode::Mirror));
    take_over(&rig);
    rig.open().unwrap();
    rig.replaced(first);
    rig.commit();
    assert_eq!(rig.table("t"), OLD, "rows between the two are nowhere");
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "whole"]]);
    rig.replaced(first);
    rig.commit();
    assert_eq!((rig.table("t"), tables(&rig)), (vec!["1 'whole'".to_owned()], vec!["'t'".to_owned()]));
}

#[test]
fn a_table_whose_rename_was_not_followed_leaves_its_old_name_with_the_end_of_its_replace() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.plan.ddl.rename = DdlAction::Stop;
    rig.open().unwrap();
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x"]]);
    let mut renamed = schema(vec![int("id"), text("a")], key(&[0]));
    renamed.name = TableName::new("shop", "u");
    let u = rig.schema(renamed);
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "u"), schema: u });
    rig.commit();
    assert!(rig.stop_of(&TableName::new("shop", "u")).is_some());
    rig.replace(u);
    rig.rows(u, Snapshot, &[&["2", "y"]]);
    rig.commit();
    assert_eq!((tables(&rig), rig.table("t")), (vec!["'t'".to_owned(), "'u'".to_owned()], vec!["1 'x'".to_owned()]));
    rig.replaced(u);
    rig.commit();
    assert_eq!((tables(&rig), rig.table("u")), (vec!["'u'".to_owned()], vec!["2 'y'".to_owned()]));
    let again = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(again, Insert, &[&["3", "z"]]);
    rig.commit();
    assert_eq!(rig.table("t"), ["3 'z'"]);
}

#[test]
fn the_room_of_a_second_copy_is_what_the_table_and_its_indexes_take() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    let mut other = schema(vec![int("id")], key(&[0]));
    other.name = TableName::new("shop", "u");
    rig.create(other);
    let rows: Vec<[String; 2]> = (0..2000).map(|id| [id.to_string(), format!("{id:0>100}")]).collect();
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    rig.rows(first, Insert, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    rig.commit();
    let connection = Connection::open(rig.path()).unwrap();
    let table = beside::size(&connection, "t").unwrap();
    assert!((200_000..400_000).contains(&table), "{table}");
    connection.execute_batch("CREATE INDEX by_a ON t (a)").unwrap();
    let with_index = beside::size(&connection, "T").unwrap();
    assert!(with_index > table + 200_000, "{with_index}");
    assert!(beside::size(&connection, "u").unwrap() <= 8192);
    let room = beside::room(&connection, &rig.path(), "t").unwrap().unwrap();
    assert!(room.needed >= with_index && room.free > 0, "{room:?}");
}
