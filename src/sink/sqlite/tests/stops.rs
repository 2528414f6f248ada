//! What is wrong with one table stops that table, and leaves of it what was there before.

use rusqlite::Connection;

use crate::codec::frame::RowOp::{Delete, Insert, Snapshot, Update};
use crate::codec::frame::{Frame, TableChange};
use crate::config::{DdlAction, DdlPolicy, Mode};
use crate::error::ErrorClass;
use crate::model::{ColumnType, RowCounts, SchemaId, TableName};
use crate::sink::sqlite::testing::*;

fn t() -> TableName {
    TableName::new("shop", "t")
}

fn u() -> TableName {
    TableName::new("shop", "u")
}

fn execute(rig: &Rig, sql: &str) {
    Connection::open(rig.path()).unwrap().execute_batch(sql).unwrap();
}

/// `shop.t` and `shop.u` of (id, a), with a row each.
fn two_tables() -> (Rig, SchemaId, SchemaId) {
    let mut rig = Rig::new(options(Mode::Mirror));
    let columns = || vec![int("id"), text("a")];
    let first = rig.create(schema(columns(), key(&[0])));
    let mut other = schema(columns(), key(&[0]));
    other.name = u();
    let second = rig.create(other);
    rig.rows(first, Insert, &[&["1", "x"]]);
    rig.rows(second, Insert, &[&["1", "x"]]);
    rig.commit();
    (rig, first, second)
}

#[test]
fn a_row_that_is_refused_stops_its_table_without_the_rows_before_it_in_its_section() {
    let (mut rig, first, second) = two_tables();
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    rig.rows(first, Insert, &[&["2", "y"], &["3", "x"], &["4", "z"]]);
    rig.rows(second, Insert, &[&["2", "y"]]);
    let reason = rig.stop().unwrap();
    assert!(reason.contains("a constraint of a table") && reason.contains("backfill --replace"), "{reason}");
    assert_eq!(rig.commit(), RowCounts { taken: 3, skipped: 3, ..RowCounts::default() });
    assert_eq!(rig.read("SELECT * FROM t"), ["1 'x'"]);
    assert_eq!(rig.read("SELECT * FROM u"), ["1 'x'", "2 'y'"]);
    rig.rows(first, Delete, &[&["1", "x"]]);
    assert_eq!(rig.table("t"), ["1 'x'"], "a stopped table is left as it is");
    // It is written down with the rows that it left out, and is known after a restart.
    rig.open().unwrap();
    assert_eq!(rig.stop().as_ref(), Some(&reason));
    assert_eq!(rig.stop_of(&u()), None);
    // The way back, walked.
    execute(&rig, "DROP INDEX mine");
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["2", "y"], &["3", "x"]]);
    rig.replaced(first);
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["2 'y'".to_owned(), "3 'x'".to_owned()]));
}

#[test]
fn a_refused_section_leaves_out_the_later_ones_of_its_table_in_its_frame_and_no_other() {
    let (mut rig, first, second) = two_tables();
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    // Rows of the same table under another schema of the same shape.
    let again = rig.schema(schema(vec![int("id"), text("a")], key(&[0])));
    let columns = schema(vec![int("id"), text("a")], key(&[0]));
    let section = |id, op, rows: &[&[&str]]| (id, op, u32::try_from(rows.len()).unwrap(), images(&columns, rows));
    let payload = rows_frame(&[
        section(first, Insert, &[&["2", "y"]]),
        section(first, Insert, &[&["3", "z"], &["4", "x"]]),
        section(second, Insert, &[&["2", "y"]]),
        section(first, Delete, &[&["1", "x"]]),
        section(again, Insert, &[&["5", "v"]]),
        section(second, Insert, &[&["3", "z"]]),
    ]);

    rig.frame(&Frame::decode(&payload).unwrap()).unwrap();

    assert!(rig.stop().unwrap().contains("a constraint of a table"));
    let counts = RowCounts { taken: 5, acknowledged: 1, skipped: 4, ..RowCounts::default() };
    assert_eq!(rig.commit(), counts);
    assert_eq!(rig.read("SELECT * FROM t ORDER BY id"), ["1 'x'", "2 'y'"]);
    assert_eq!(rig.read("SELECT * FROM u ORDER BY id"), ["1 'x'", "2 'y'", "3 'z'"]);
}

#[test]
fn a_stop_of_a_round_that_is_rolled_back_is_none() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    rig.rows(first, Insert, &[&["2", "x"]]);
    assert!(rig.stop().is_some());
    rig.open().unwrap();
    assert_eq!(rig.stop(), None);
}

#[test]
fn a_table_that_somebody_drops_in_the_midst_is_stopped_and_the_others_go_on() {
    let (mut rig, first, second) = two_tables();
    execute(&rig, "DROP TABLE t");
    rig.rows(first, Update, &[&["1", "x"], &["1", "y"]]);
    rig.rows(second, Update, &[&["1", "x"], &["1", "y"]]);
    rig.commit();
    assert!(rig.stop().unwrap().contains("no such table"));
    assert_eq!(rig.read("SELECT * FROM u"), ["1 'y'"]);
}

#[test]
fn a_stopped_table_that_the_source_drops_or_renames_is_done_with() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    rig.rows(first, Insert, &[&["2", "x"]]);
    let mut renamed = schema(vec![int("id"), text("a")], key(&[0]));
    renamed.name = TableName::new("shop", "v");
    let to = rig.schema(renamed);
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "v"), schema: to });
    assert_eq!(rig.stop(), None);
    let reason = rig.stop_of(&TableName::new("shop", "v")).unwrap();
    assert!(reason.contains("it was stopped under its old name shop.t"), "{reason}");
    rig.change(&TableChange::Drop { table: TableName::new("shop", "v") });
    assert_eq!(rig.stop_of(&TableName::new("shop", "v")), None);
    rig.commit();
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE name IN ('t', 'v')"), [""; 0]);
    assert_eq!(rig.read("SELECT count(*) FROM _replicator_stopped_tables"), ["0"]);
}

#[test]
fn the_only_column_of_a_table_may_be_replaced_by_another_one() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![int("a")], None));
    rig.rows(first, Insert, &[&["1"]]);
    rig.alter(first, schema(vec![int("b")], None), &[]);
    rig.commit();
    assert_eq!((rig.stop(), rig.read("SELECT b FROM t")), (None, vec!["NULL".to_owned()]));
}

#[test]
fn a_view_on_a_table_that_is_gone_hinders_no_change_of_another_one() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "CREATE VIEW v AS SELECT * FROM u; CREATE VIEW w AS SELECT id FROM t");
    rig.change(&TableChange::Drop { table: u() });
    let second = rig.alter(first, schema(vec![int("id"), text("b")], key(&[0])), &[("a", "b")]);
    let third = rig.alter(second, schema(vec![int("id"), text("b"), int("c")], key(&[0])), &[]);
    let fourth = rig.alter(third, schema(vec![int("id"), int("c")], key(&[0])), &[]);
    let mut renamed = schema(vec![int("id"), int("c")], key(&[0]));
    renamed.name = TableName::new("shop", "s");
    let to = rig.schema(renamed);
    rig.rows(fourth, Insert, &[&["2", "7"]]);
    assert_eq!((rig.stop(), rig.table("t")), (None, vec!["1 NULL".to_owned(), "2 7".to_owned()]));
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "s"), schema: to });
    assert_eq!((rig.stop_of(&TableName::new("shop", "s")), rig.table("s").len()), (None, 2));
    let views = rig.read("SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY name");
    assert_eq!(views, ["'v' 'CREATE VIEW v AS SELECT * FROM u'", "'w' 'CREATE VIEW w AS SELECT id FROM \"s\"'"]);
    // A broken view does not hide what else hinders a change.
    execute(&rig, "CREATE INDEX by_c ON s (c)");
    let mut narrow = schema(vec![int("id")], key(&[0]));
    narrow.name = TableName::new("shop", "s");
    rig.alter(to, narrow, &[]);
    let reason = rig.stop_of(&TableName::new("shop", "s")).unwrap();
    assert!(reason.contains("by_c"), "{reason}");
}

#[test]
fn a_column_that_somebody_added_survives_a_rebuild() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "ALTER TABLE t ADD COLUMN mine TEXT DEFAULT 'm'");
    rig.open().unwrap();
    let big = column("id", ColumnType::Decimal { precision: 30, scale: 0 });
    let second = rig.alter(first, schema(vec![big, text("a")], key(&[0])), &[]);
    rig.rows(second, Insert, &[&["2", "y"]]);
    rig.commit();
    assert_eq!(rig.stop(), None);
    assert_eq!(rig.read("SELECT id, a, mine FROM t ORDER BY 1"), ["'1' 'x' 'm'", "'2' 'y' 'm'"]);
}

#[test]
fn what_ddl_says_to_ignore_leaves_the_table_as_it_was_and_what_it_says_to_stop_stops_it() {
    let with = |action: DdlAction| {
        let policy = DdlPolicy {
            add: action,
            drop: action,
            rename: action,
            retype: action,
            truncate: action,
            drop_table: action,
        };
        let mut rig = Rig::new(options(Mode::Mirror));
        rig.plan.ddl = policy;
        rig.open().unwrap();
        let first = rig.create(schema(vec![int("id"), text("a")], key(&[0])));
        rig.rows(first, Insert, &[&["1", "x"]]);
        (rig, first)
    };
    let (mut rig, first) = with(DdlAction::Ignore);
    let second = rig.alter(first, schema(vec![int("id"), text("b"), int("c")], key(&[0])), &[("a", "b")]);
    rig.rows(second, Insert, &[&["2", "y", "7"]]);
    let third = rig.alter(second, schema(vec![int("id"), int("c")], key(&[0])), &[]);
    rig.rows(third, Insert, &[&["3", "8"]]);
    rig.change(&TableChange::Truncate { table: t() });
    rig.change(&TableChange::Drop { table: t() });
    assert_eq!((rig.stop(), rig.table("t")), (None, ["1 'x'", "2 'y'", "3 NULL"].map(str::to_owned).to_vec()));
    rig.open().unwrap();
    assert_eq!(rig.stop(), None, "a column that `ddl` left there is no surprise");

    let added = schema(vec![int("id"), text("a"), int("c")], key(&[0]));
    let (mut rig, first) = with(DdlAction::Stop);
    rig.alter(first, added, &[]);
    assert!(rig.stop().unwrap().contains("column \"c\" was added, and `ddl.add` says to stop then"));
    for (change, says) in [
        (TableChange::Truncate { table: t() }, "`ddl.truncate` says to stop then"),
        (TableChange::Drop { table: t() }, "`ddl.drop_table` says to stop then"),
    ] {
        let (mut rig, _) = with(DdlAction::Stop);
        rig.change(&change);
        assert!(rig.stop().unwrap().contains(says));
        assert_eq!(rig.table("t"), ["1 'x'"]);
    }
}

#[test]
fn a_stop_ends_with_its_reason_in_the_configuration_and_with_the_capture_of_its_table() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    rig.rows(first, Insert, &[&["2", "x"]]);
    rig.commit();
    rig.open().unwrap();
    assert!(rig.stop().is_some() && rig.released.is_empty(), "{:?}", rig.released);
    // Under another configuration it is to be read again, and stays stopped until then.
    rig.plan.defaults.mode = Mode::History;
    rig.open().unwrap();
    assert!(rig.stop().is_some());
    let why = |table: &str| format!("{table} is written with `mode: mirror`, and the configuration now says `history`");
    assert_eq!(rig.released, [(t(), why("shop.t")), (u(), why("shop.u"))]);
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["1", "x"], &["2", "x"]]);
    assert_eq!(rig.table("t"), ["1 'x'"], "until the new copy is whole");
    rig.replaced(first);
    rig.commit();
    assert_eq!(
        (rig.stop(), rig.read("SELECT after_id FROM t ORDER BY _version")),
        (None, vec!["1".into(), "2".into()])
    );
    // `shop.u` has stopped for the other mode.
    assert!(rig.stop_of(&u()).unwrap().contains("shop.u is written with `mode: mirror`"));
    rig.captured.retain(|table| *table != u());
    rig.open().unwrap();
    assert_eq!((rig.stop_of(&u()), rig.released.len()), (None, 0));
    assert_eq!(rig.read("SELECT source_table FROM _replicator_stopped_tables"), [""; 0]);
    assert_eq!(rig.read("SELECT * FROM u"), ["1 'x'"], "what the target has of it stays");
}

#[test]
fn a_trigger_that_takes_the_whole_round_back_stops_its_table_before_the_round_comes_again() {
    let (mut rig, first, second) = two_tables();
    let trigger =
        "CREATE TRIGGER mine BEFORE INSERT ON t WHEN new.id = 7 BEGIN SELECT RAISE(ROLLBACK, 'not here'); END";
    execute(&rig, trigger);
    for rows in [&[&["7", "y"][..]][..], &[&["6", "x"], &["7", "y"]]] {
        rig.open().unwrap();
        rig.rows(second, Insert, &[&["2", "y"]]);
        let failure = rig.try_rows(first, Insert, rows).unwrap_err();
        assert_eq!(failure.class, ErrorClass::Retry, "{}", failure.chain());
        assert_eq!(rig.read("SELECT * FROM u"), ["1 'x'"], "a part of the round was kept");
        // The loop drops the round, opens the target and brings it again.
        rig.open().unwrap();
        assert!(rig.stop().unwrap().contains("not here"), "{:?}", rig.stop());
        rig.rows(second, Insert, &[&["2", "y"]]);
        rig.rows(first, Insert, rows);
        rig.target.as_ref().unwrap().rollback().unwrap();
        rig.target = None;
        execute(&rig, "DELETE FROM _replicator_stopped_tables");
    }
}

#[test]
fn a_table_that_somebody_put_in_the_place_of_the_copy_is_left_alone() {
    let (mut rig, _, _) = two_tables();
    execute(&rig, "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (99, 'mine')");
    rig.open().unwrap();
    rig.change(&TableChange::Drop { table: t() });
    rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    assert!(rig.stop().unwrap().contains("that this sink did not make"));
    assert_eq!(rig.table("t"), ["99 'mine'"]);
}

#[test]
fn a_table_that_cannot_be_made_does_not_hinder_the_other_one_of_its_frame() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "CREATE TABLE v (not_ours)");
    let columns = schema(vec![int("id"), text("a")], key(&[0]));
    let mut other = columns.clone();
    other.name = TableName::new("shop", "v");
    let other = rig.schema(other);
    let body = |rows: &[&[&str]]| images(&columns, rows);
    let payload = rows_frame(&[
        (first, Insert, 1, body(&[&["2", "y"]])),
        (other, Insert, 1, body(&[&["1", "x"]])),
        (first, Insert, 1, body(&[&["3", "z"]])),
    ]);
    rig.rows(first, Insert, &[&["9", "known"]]);
    rig.frame(&Frame::decode(&payload).unwrap()).unwrap();
    assert!(rig.stop_of(&TableName::new("shop", "v")).is_some());
    assert_eq!(rig.table("t"), ["1 'x'", "2 'y'", "3 'z'", "9 'known'"]);
}

#[test]
fn a_rename_that_sqlite_refuses_stops_the_new_name_and_leaves_the_copy_under_the_old_one() {
    let (mut rig, _, _) = two_tables();
    // A trigger that names a table that is gone hinders every rename in the file.
    execute(
        &rig,
        "CREATE TABLE x (i); CREATE TABLE y (i); CREATE TRIGGER broken AFTER INSERT ON x BEGIN DELETE FROM y; END; DROP TABLE y",
    );
    let mut renamed = schema(vec![int("id"), text("a")], key(&[0]));
    renamed.name = TableName::new("shop", "v");
    let to = rig.schema(renamed);
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "v"), schema: to });
    assert_eq!(rig.stop(), None);
    assert!(
        rig.stop_of(&TableName::new("shop", "v")).unwrap().contains("broken"),
        "{:?}",
        rig.stop_of(&TableName::new("shop", "v"))
    );
    rig.rows(to, Insert, &[&["2", "y"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t"), ["1 'x'"]);
    assert_eq!(
        rig.read("SELECT name FROM sqlite_schema WHERE name = 'v'"),
        [""; 0],
        "a table was made beside the copy"
    );
}

#[test]
fn a_table_whose_replace_fails_is_stopped_since_its_first_stop() {
    let (mut rig, first, _) = two_tables();
    execute(&rig, "CREATE UNIQUE INDEX mine ON t (a)");
    rig.rows(first, Insert, &[&["2", "x"]]);
    let since = |rig: &Rig| rig.target.as_ref().unwrap().followed.stops.get(&t()).unwrap().since;
    let before = since(&rig);
    let odd = column("loc", ColumnType::Unsupported { code: 200, name: "odd".into() });
    let refused = rig.schema(schema(vec![int("id"), odd], key(&[0])));
    rig.change(&TableChange::ReplaceBegin { table: t(), schema: refused });
    assert!(rig.stop().unwrap().contains("\"loc\""));
    assert_eq!(since(&rig), before);
}
