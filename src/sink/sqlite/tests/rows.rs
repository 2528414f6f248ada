//! Every kind of row change, in every mode, under every kind of key.

use crate::codec::frame::RowOp::{Delete, DeleteByKey, Insert, Snapshot, Update};
use crate::config::Mode;
use crate::error::ErrorClass;
use crate::model::{Column, RowCounts, TableSchema};
use crate::sink::sqlite::testing::*;

#[test]
fn a_mirror_by_integer_key_is_the_source_table() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"], &["2", "b"], &["3", "c"]]);
    rig.rows(t, Update, &[&["1", "a"], &["1", "A"], &["2", "b"], &["20", "b"]]);
    rig.rows(t, Delete, &[&["3", "c"], &["99", "never seen"]]);
    rig.rows(t, Snapshot, &[&["1", "A"], &["4", "~"]]);
    assert_eq!(rig.table("t"), ["1 'A'", "4 NULL", "20 'b'"]);
}

#[test]
fn a_mirror_by_composite_key_compares_bytes() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![text("v"), text("k"), bigint_unsigned("n")], key(&[1, 2])));
    rig.rows(t, Insert, &[&["1", "abc", "7"], &["2", "abd", "18446744073709551615"]]);
    // One key to the source's collation, two to bytes: the old spelling must not stay.
    rig.rows(t, Update, &[&["1", "abc", "7"], &["1", "ABC", "7"]]);
    rig.rows(t, Update, &[&["2", "abd", "18446744073709551615"], &["3", "abd", "18446744073709551615"]]);
    assert_eq!(rig.table("t"), ["'1' 'ABC' 7", "'3' 'abd' '18446744073709551615'"]);
    rig.rows(t, Delete, &[&["1", "ABC", "7"], &["3", "abd", "18446744073709551615"]]);
    assert_eq!(rig.table("t"), [""; 0]);
}

#[test]
fn keys_that_shift_in_one_statement_end_where_the_source_ends() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"], &["2", "b"]]);
    // UPDATE t SET id = id + 1 ORDER BY id DESC
    rig.rows(t, Update, &[&["2", "b"], &["3", "b"], &["1", "a"], &["2", "a"]]);
    assert_eq!(rig.table("t"), ["2 'a'", "3 'b'"]);
}

#[test]
fn a_table_of_key_columns_only_is_mirrored() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("a"), int("b")], key(&[0, 1])));
    rig.rows(t, Insert, &[&["1", "1"]]);
    rig.rows(t, Snapshot, &[&["1", "1"], &["1", "2"]]);
    rig.rows(t, Update, &[&["1", "2"], &["1", "2"], &["1", "1"], &["5", "1"]]);
    assert_eq!(rig.table("t"), ["1 2", "5 1"]);
}

#[test]
fn a_softly_deleted_row_keeps_its_values_and_lives_again_when_it_is_inserted_again() {
    let mut rig = Rig::new(soft());
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"], &["2", "b"], &["3", "c"]]);
    rig.rows(t, Delete, &[&["1", "a"], &["2", "b"]]);
    assert_eq!(rig.table("t"), ["1 'a' 1", "2 'b' 1", "3 'c' 0"]);
    rig.rows(t, Insert, &[&["2", "again"]]);
    rig.rows(t, Update, &[&["3", "c"], &["30", "c"]]);
    assert_eq!(rig.table("t"), ["1 'a' 1", "2 'again' 0", "3 'c' 1", "30 'c' 0"]);
}

/// (name NOT NULL, id, k NOT NULL) with the key (k, id): NULL in `name` is what no row of it has.
fn keyed() -> TableSchema {
    let required = |name| Column { nullable: false, ..text(name) };
    schema(vec![required("name"), int("id"), required("k")], key(&[2, 1]))
}

#[test]
fn a_row_that_is_gone_by_its_key_leaves_a_mirror() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(keyed());
    rig.rows(t, Insert, &[&["a", "1", "x"], &["b", "2", "x"]]);
    rig.rows(t, DeleteByKey, &[&["~", "1", "x"], &["~", "1", "y"]]);
    let counts = RowCounts { taken: 4, acknowledged: 4, unmatched: 1, ..RowCounts::default() };
    assert_eq!(rig.commit(), counts);
    assert_eq!(rig.table("t"), ["'b' 2 'x'"]);
}

#[test]
fn a_row_that_is_gone_by_its_key_keeps_its_values_under_soft_deletion_and_no_row_is_made_of_a_key() {
    let mut rig = Rig::new(soft());
    let t = rig.create(keyed());
    rig.rows(t, Insert, &[&["a", "1", "x"], &["b", "2", "x"], &["c", "3", "x"]]);
    rig.rows(t, Delete, &[&["c", "3", "x"]]);
    // One that is there, one that is deleted already, one that never was.
    rig.rows(t, DeleteByKey, &[&["~", "1", "x"], &["~", "3", "x"], &["~", "1", "y"]]);
    let counts = RowCounts { taken: 7, acknowledged: 7, unmatched: 2, ..RowCounts::default() };
    assert_eq!(rig.commit(), counts);
    assert_eq!(rig.table("t"), ["'a' 1 'x' 1", "'b' 2 'x' 0", "'c' 3 'x' 1"]);
}

#[test]
fn a_row_that_is_gone_by_its_key_finds_no_row_of_a_copy_without_a_key_and_is_counted() {
    for options in [options(Mode::Mirror), soft()] {
        let mut rig = Rig::new(options);
        let t = rig.create(schema(vec![int("id"), text("name")], None));
        rig.rows(t, Insert, &[&["1", "a"]]);
        rig.rows(t, DeleteByKey, &[&["1", "~"]]);
        let counts = RowCounts { taken: 2, acknowledged: 2, unmatched: 1, ..RowCounts::default() };
        assert_eq!(rig.commit(), counts);
        assert_eq!(rig.read("SELECT id, name FROM t"), ["1 'a'"]);
    }
}

#[test]
fn a_row_that_is_gone_by_its_key_is_a_delete_of_a_changelog_that_has_the_key_alone() {
    let mut rig = Rig::new(options(Mode::History));
    let t = rig.create(keyed());
    rig.rows(t, DeleteByKey, &[&["~", "1", "x"]]);
    assert_eq!(rig.commit(), RowCounts { taken: 1, acknowledged: 1, ..RowCounts::default() });
    let sql = "SELECT _op, before_name, before_id, before_k, after_name, after_id, after_k, _reason FROM t";
    assert_eq!(rig.read(sql), ["'delete' NULL 1 'x' NULL NULL NULL NULL"]);
}

#[test]
fn a_table_without_a_key_is_a_multiset() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let float = column("f", crate::model::ColumnType::Float);
    let t = rig.create(schema(vec![int("a"), text("b"), float], None));
    rig.rows(t, Insert, &[&["1", "x", "0.1"], &["1", "x", "0.1"], &["1", "x", "0.1"], &["1", "~", "~"]]);
    rig.rows(t, Delete, &[&["1", "x", "0.1"]]);
    rig.rows(t, Update, &[&["1", "x", "0.1"], &["2", "~", "0.1"], &["1", "~", "~"], &["1", "y", "~"]]);
    let tenth = f64::from(0.1_f32);
    assert_eq!(rig.table("t"), [format!("1 'x' {tenth:?}r"), "1 'y' NULL".into(), format!("2 NULL {tenth:?}r")]);
    assert_eq!(rig.counts().unmatched, 0);
}

#[test]
fn a_table_without_a_key_may_be_as_wide_as_the_source_allows() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let columns: Vec<_> = (0..1017).map(|place| int(&format!("column_{place}"))).collect();
    let t = rig.create(schema(columns, None));
    let (ones, twos) = (vec!["1"; 1017], vec!["2"; 1017]);
    rig.rows(t, Insert, &[&ones, &ones]);
    rig.rows(t, Update, &[&ones, &twos]);
    rig.rows(t, Delete, &[&ones]);
    assert_eq!(rig.commit().unmatched, 0);
    assert_eq!(rig.read("SELECT count(*), sum(column_1016) FROM t"), ["1 2"]);
}

#[test]
fn a_change_that_matches_no_row_of_a_table_without_a_key_is_counted() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("a"), text("b")], None));
    rig.rows(t, Delete, &[&["1", "x"]]);
    rig.rows(t, Update, &[&["1", "x"], &["2", "y"]]);
    assert_eq!(rig.table("t"), ["2 'y'"]);
    assert_eq!(rig.counts().unmatched, 2);
}

#[test]
fn soft_deletion_without_a_key_marks_one_of_the_equal_rows() {
    let mut rig = Rig::new(soft());
    let t = rig.create(schema(vec![int("a"), int("rowid"), int("oid")], None));
    rig.rows(t, Insert, &[&["1", "5", "5"], &["1", "5", "5"]]);
    rig.rows(t, Delete, &[&["1", "5", "5"]]);
    rig.rows(t, Update, &[&["1", "5", "5"], &["2", "5", "5"]]);
    assert_eq!(rig.table("t"), ["1 5 5 1", "2 5 5 0"]);
}

#[test]
fn a_changelog_has_one_line_for_every_change_in_order() {
    let mut rig = Rig::new(options(Mode::History));
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Snapshot, &[&["1", "a"]]);
    rig.rows(t, Insert, &[&["2", "b"], &["3", "~"]]);
    rig.rows(t, Update, &[&["2", "b"], &["20", "b"]]);
    rig.rows(t, Delete, &[&["3", "~"]]);
    rig.commit();
    let lines = rig.read("SELECT _lsn, _ordinal, _op, _commit_time, before_id, before_name, after_id, after_name FROM t ORDER BY _version");
    let time = "'2026-11-21 09:00:00.000001'";
    assert_eq!(
        lines,
        [
            format!("2 0 'snapshot' {time} NULL NULL 1 'a'"),
            format!("3 0 'insert' {time} NULL NULL 2 'b'"),
            format!("3 1 'insert' {time} NULL NULL 3 NULL"),
            format!("4 0 'update' {time} 2 'b' 20 'b'"),
            format!("5 0 'delete' {time} 3 NULL NULL NULL"),
        ]
    );
}

#[test]
fn ordinals_count_through_the_sections_of_a_frame() {
    let mut rig = Rig::new(options(Mode::History));
    let schema = schema(vec![int("id")], key(&[0]));
    let t = rig.create(schema.clone());
    let payload =
        rows_frame(&[(t, Insert, 2, images(&schema, &[&["1"], &["2"]])), (t, Delete, 1, images(&schema, &[&["1"]]))]);
    let frame = crate::codec::frame::Frame::decode(&payload).unwrap();
    rig.frame_at(9, &frame).unwrap();
    rig.commit();
    assert_eq!(
        rig.read("SELECT _version, _lsn, _ordinal, _op FROM t ORDER BY 1"),
        ["72057594037936936 9 0 'insert'", "72057594037936937 9 1 'insert'", "72057594037936938 9 2 'delete'"]
    );
}

#[test]
fn renamed_and_dropped_columns_are_so_in_every_mode() {
    for mode in [Mode::Mirror, Mode::History] {
        let mut rig = Rig::new(options(mode));
        rig.plan.defaults.rename = vec![("created_at".into(), "createdAt".into())];
        rig.plan.defaults.drop = vec!["internal".into()];
        rig.open().unwrap();
        let t = rig.create(schema(vec![int("id"), text("internal"), text("created_at")], key(&[0])));
        rig.rows(t, Insert, &[&["1", "secret", "now"]]);
        rig.rows(t, Update, &[&["1", "secret", "now"], &["1", "other", "then"]]);
        rig.commit();
        match mode {
            Mode::Mirror => assert_eq!(rig.read("SELECT id, createdAt FROM t"), ["1 'then'"]),
            Mode::History => assert_eq!(
                rig.read("SELECT before_id, before_createdAt, after_id, after_createdAt FROM t"),
                ["NULL NULL 1 'now'", "1 'now' 1 'then'"]
            ),
        }
    }
}

#[test]
fn a_damaged_image_is_an_error_that_names_the_table_and_no_value() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let table = schema(vec![int("id"), text("name")], key(&[0]));
    let t = rig.create(table.clone());
    let mut body = images(&table, &[&["1", "secret"]]);
    body.truncate(body.len() - 1);
    let failure = rig.try_images(t, Insert, 1, body).unwrap_err();
    assert_eq!(failure.class, ErrorClass::Fatal);
    assert!(failure.message.contains("shop.t") && !failure.chain().contains("secret"), "{}", failure.chain());
    let failure = rig.try_images(t, Insert, 2, images(&table, &[&["1", "a"]])).unwrap_err();
    assert!(failure.message.contains("has 1 rows, its header says 2"), "{}", failure.message);
}
