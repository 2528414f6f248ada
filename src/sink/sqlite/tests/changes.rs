//! Changes of definition and of whole content, in every mode.

use rusqlite::Connection;

use crate::codec::frame::RowOp::{Delete, Insert, Snapshot, Update};
use crate::codec::frame::TableChange;
use crate::codec::row_image::ImageWriter;
use crate::config::{Mode, TableRule};
use crate::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, RowCounts, SchemaId, TableName};
use crate::sink::sqlite::testing::*;

fn with_default(column: Column, literal: &str) -> Column {
    let schema = schema(vec![column.clone()], None);
    let cell = ImageWriter::new(&schema).unwrap().from_text(0, literal.as_bytes()).unwrap();
    Column { default: ColumnDefault::Value(cell), ..column }
}

fn t() -> TableName {
    TableName::new("shop", "t")
}

/// A table of (id, a, b) with one row.
fn started(options: crate::config::TableOptions) -> (Rig, SchemaId) {
    let mut rig = Rig::new(options);
    let first = rig.create(schema(vec![int("id"), text("a"), int("b")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x", "10"]]);
    (rig, first)
}

#[test]
fn an_added_column_holds_its_default_in_older_rows_whatever_the_type() {
    let (mut rig, first) = started(options(Mode::Mirror));
    let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
    let columns = vec![
        int("id"),
        with_default(text("quoted"), "it's"),
        text("a"),
        int("b"),
        with_default(bigint_unsigned("wide"), "18446744073709551615"),
        with_default(column("small", ColumnType::Int { width: IntWidth::W8, unsigned: false }), "-9223372036854775808"),
        with_default(column("real", ColumnType::Double), "0.1"),
        with_default(column("money", decimal), "1.5"),
        with_default(column("bytes", ColumnType::Binary { length: 3 }), "0x41"),
        Column { default: ColumnDefault::Null, ..text("empty") },
        text("unknown"),
    ];
    let second = rig.alter(first, schema(columns, key(&[0])), &[]);
    rig.rows(second, Insert, &[&["2", "q", "y", "20", "1", "2", "3", "4", "z", "n", "u"]]);
    rig.rows(
        second,
        Update,
        &[
            &["1", "it's", "x", "10", "18446744073709551615", "-9223372036854775808", "0.1", "1.5", "A", "~", "~"],
            &["1", "it's", "x", "11", "18446744073709551615", "-9223372036854775808", "0.1", "1.5", "A", "~", "~"],
        ],
    );
    rig.commit();
    assert_eq!(
        rig.read("SELECT id, quoted, a, b, wide, small, \"real\", money, bytes, empty, unknown FROM t ORDER BY id"),
        [
            "1 'it's' 'x' 11 '18446744073709551615' -9223372036854775808 0.1r '1.50' x'410000' NULL NULL",
            "2 'q' 'y' 20 1 2 3.0r '4.00' x'7a0000' 'n' 'u'",
        ]
    );
}

#[test]
fn columns_are_dropped_and_renamed_in_place_and_may_swap_their_names() {
    let (mut rig, first) = started(options(Mode::Mirror));
    let second = rig.alter(first, schema(vec![int("id"), int("a"), text("b")], key(&[0])), &[("a", "b"), ("b", "a")]);
    assert_eq!(rig.table("t"), ["1 10 'x'"]);
    let third = rig.alter(second, schema(vec![int("id"), text("B2")], key(&[0])), &[("b", "B2")]);
    rig.rows(third, Insert, &[&["2", "y"]]);
    assert_eq!(rig.table("t"), ["1 'x'", "2 'y'"]);
    let fourth = rig.alter(third, schema(vec![int("id"), text("b2")], key(&[0])), &[("B2", "b2")]);
    rig.rows(fourth, Delete, &[&["1", "x"]]);
    assert_eq!(rig.table("t"), ["2 'y'"]);
    assert_eq!(rig.read("SELECT name FROM pragma_table_info('t')"), ["'id'", "'b2'"]);
}

#[test]
fn a_column_takes_the_name_that_another_gave_up() {
    let (mut rig, first) = started(options(Mode::Mirror));
    let columns = vec![int("id"), with_default(text("a"), "new"), text("old_a"), int("b")];
    rig.alter(first, schema(columns, key(&[0])), &[("a", "old_a")]);
    rig.commit();
    assert_eq!(rig.read("SELECT id, a, old_a, b FROM t"), ["1 'new' 'x' 10"]);
}

#[test]
fn a_retyped_column_is_converted_and_takes_its_new_storage() {
    let (mut rig, first) = started(options(Mode::Mirror));
    let columns =
        vec![int("id"), text("a"), column("b", ColumnType::Text { length_bytes: 2, charset: Charset::new("utf8mb4") })];
    let second = rig.alter(first, schema(columns, key(&[0])), &[]);
    rig.rows(second, Insert, &[&["2", "y", "007"]]);
    assert_eq!(rig.table("t"), ["1 'x' '10'", "2 'y' '007'"]);
    // What the source makes of these values, a read of it brings: they are not copied.
    let third = rig.alter(second, schema(vec![int("id"), text("a"), int("b")], key(&[0])), &[]);
    assert_eq!(rig.table("t"), ["1 'x' NULL", "2 'y' NULL"]);
    rig.rows(third, Snapshot, &[&["1", "x", "10"], &["2", "y", "7"]]);
    let fourth = rig.alter(
        third,
        schema(vec![int("id"), text("a"), column("b", ColumnType::Decimal { precision: 12, scale: 2 })], key(&[0])),
        &[],
    );
    rig.rows(fourth, Delete, &[&["2", "y", "7"]]);
    assert_eq!(rig.table("t"), ["1 'x' '10.00'"]);
}

#[test]
fn a_new_key_takes_the_rows_along() {
    let (mut rig, first) = started(options(Mode::Mirror));
    let second = rig.alter(first, schema(vec![int("id"), text("a"), int("b")], key(&[1, 0])), &[]);
    rig.rows(second, Update, &[&["1", "x", "10"], &["1", "y", "10"]]);
    let third = rig.alter(second, schema(vec![int("id"), text("a"), int("b")], None), &[]);
    rig.rows(third, Insert, &[&["1", "y", "10"]]);
    rig.rows(third, Delete, &[&["1", "y", "10"]]);
    let fourth = rig.alter(third, schema(vec![int("id"), text("a"), int("b")], key(&[2])), &[]);
    rig.rows(fourth, Snapshot, &[&["5", "z", "10"]]);
    assert_eq!(rig.table("t"), ["5 'z' 10"]);
    // A key column of another width keeps its values, and so does the key.
    let wide = column("b", ColumnType::Int { width: IntWidth::W8, unsigned: false });
    rig.alter(fourth, schema(vec![int("id"), text("a"), wide], key(&[2])), &[]);
    assert_eq!(rig.table("t"), ["5 'z' 10"]);
}

#[test]
fn a_key_whose_values_only_the_source_knows_leaves_the_copy_as_it_is_until_its_rows_have_come_again() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let first = rig.create(schema(vec![text("a")], None));
    rig.rows(first, Insert, &[&["x"], &["x"]]);
    // ALTER TABLE t ADD id INT AUTO_INCREMENT PRIMARY KEY
    let second = rig.lose(first, schema(vec![text("a"), int("id")], key(&[1])));
    rig.rows(second, Insert, &[&["y", "3"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t"), ["'x'", "'x'"]);
    // The source knows that it has to bring them.
    rig.replace(second);
    rig.rows(second, Snapshot, &[&["x", "1"], &["x", "2"], &["y", "3"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t"), ["'x'", "'x'"]);
    rig.replaced(second);
    assert_eq!(rig.table("t"), ["'x' 1", "'x' 2", "'y' 3"]);
}

#[test]
fn a_rebuilt_table_keeps_softly_deleted_rows_and_what_users_put_on_it() {
    let (mut rig, first) = started(soft());
    rig.rows(first, Insert, &[&["2", "y", "20"]]);
    rig.rows(first, Delete, &[&["2", "y", "20"]]);
    rig.commit();
    Connection::open(rig.path())
        .unwrap()
        .execute_batch("CREATE INDEX by_b ON t (b); CREATE VIEW v AS SELECT count(*) AS n FROM t")
        .unwrap();
    rig.open().unwrap();
    let second = rig.alter(first, schema(vec![int("id"), text("a"), bigint_unsigned("b")], key(&[1])), &[]);
    rig.rows(second, Insert, &[&["3", "z", "30"]]);
    assert_eq!(rig.table("t"), ["1 'x' 10 0", "2 'y' 20 1", "3 'z' 30 0"]);
    assert_eq!(rig.read("SELECT n FROM v"), ["3"]);
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"), ["'by_b'"]);
    rig.open().unwrap();
}

#[test]
fn a_deleted_row_gives_way_to_a_live_one_under_a_new_key() {
    let (mut rig, first) = started(soft());
    rig.rows(first, Insert, &[&["2", "x", "20"], &["3", "~", "30"]]);
    rig.rows(first, Delete, &[&["2", "x", "20"], &["3", "~", "30"]]);
    rig.alter(first, schema(vec![int("id"), text("a"), int("b")], key(&[1])), &[]);
    assert_eq!(rig.table("t"), ["1 'x' 10 0"]);
}

#[test]
fn an_index_that_a_dropped_column_stands_in_stops_its_table_with_a_hint() {
    let (mut rig, first) = started(options(Mode::Mirror));
    rig.commit();
    Connection::open(rig.path()).unwrap().execute_batch("CREATE INDEX by_b ON t (b)").unwrap();
    rig.alter(first, schema(vec![int("id"), text("a")], key(&[0])), &[]);
    let reason = rig.stop().unwrap();
    assert!(reason.contains("by_b") && reason.contains("if an index, a trigger"), "{reason}");
    assert_eq!(rig.table("t"), ["1 'x' 10"], "a part of the change stayed");
}

#[test]
fn truncate_empties_a_mirror_and_a_replace_puts_another_content_in_its_place() {
    let (mut rig, first) = started(options(Mode::Mirror));
    rig.change(&TableChange::Truncate { table: t() });
    assert_eq!(rig.table("t"), [""; 0]);
    rig.rows(first, Insert, &[&["1", "x", "10"]]);
    // The replacement may bring another shape.
    let second = rig.schema(schema(vec![int("id"), text("c")], key(&[1])));
    rig.replace(second);
    rig.rows(second, Snapshot, &[&["7", "z"]]);
    assert_eq!(rig.table("t"), ["1 'x' 10"]);
    rig.replaced(second);
    assert_eq!(rig.table("t"), ["7 'z'"]);
}

#[test]
fn truncate_marks_softly_and_a_replacement_brings_rows_back_to_life() {
    let (mut rig, first) = started(soft());
    rig.rows(first, Insert, &[&["2", "y", "20"]]);
    rig.change(&TableChange::Truncate { table: t() });
    assert_eq!(rig.table("t"), ["1 'x' 10 1", "2 'y' 20 1"]);
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["2", "new", "20"]]);
    assert_eq!(rig.table("t"), ["1 'x' 10 1", "2 'y' 20 1"]);
    rig.replaced(first);
    assert_eq!(rig.table("t"), ["1 'x' 10 1", "2 'new' 20 0"]);
}

#[test]
fn a_replacement_of_a_softly_deleting_table_without_a_key_leaves_no_doubles() {
    let mut rig = Rig::new(soft());
    let first = rig.create(schema(vec![text("a")], None));
    rig.rows(first, Insert, &[&["x"], &["y"]]);
    rig.rows(first, Delete, &[&["y"]]);
    rig.replace(first);
    rig.rows(first, Snapshot, &[&["x"]]);
    rig.replaced(first);
    assert_eq!(rig.table("t"), ["'x' 0", "'y' 1"]);
}

#[test]
fn a_dropped_table_goes_and_may_come_again_in_another_shape() {
    let (mut rig, _) = started(options(Mode::Mirror));
    rig.change(&TableChange::Drop { table: t() });
    rig.commit();
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE name = 't'"), [""; 0]);
    rig.open().unwrap();
    let second = rig.create(schema(vec![text("other")], key(&[0])));
    rig.rows(second, Insert, &[&["q"]]);
    assert_eq!(rig.read("SELECT count(*) FROM _replicator_tables"), ["0"]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t"), ["'q'"]);

    let (mut rig, _) = started(soft());
    rig.change(&TableChange::Drop { table: t() });
    let second = rig.create(schema(vec![int("id"), text("a"), int("c")], key(&[0])));
    rig.rows(second, Insert, &[&["2", "y", "5"]]);
    assert_eq!(rig.table("t"), ["1 'x' 1 NULL", "2 'y' 0 5"]);
}

#[test]
fn a_renamed_table_takes_its_rows_along_and_tables_may_swap_their_names() {
    let (mut rig, first) = started(options(Mode::Mirror));
    let mut other = schema(vec![int("id")], key(&[0]));
    other.name = TableName::new("shop", "u");
    let u = rig.create(other.clone());
    rig.rows(u, Insert, &[&["5"]]);
    let mut rename = |from: &str, to: &str, like: SchemaId| {
        let mut schema =
            if like == first { schema(vec![int("id"), text("a"), int("b")], key(&[0])) } else { other.clone() };
        schema.name = TableName::new("shop", to);
        let id = rig.schema(schema);
        rig.change(&TableChange::Rename {
            from: TableName::new("shop", from),
            to: TableName::new("shop", to),
            schema: id,
        });
        id
    };
    rename("t", "tmp", first);
    let now_t = rename("u", "t", u);
    let now_u = rename("tmp", "U", first);
    rig.rows(now_t, Insert, &[&["6"]]);
    rig.rows(now_u, Update, &[&["1", "x", "10"], &["1", "y", "10"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t ORDER BY 1"), ["5", "6"]);
    assert_eq!(rig.read("SELECT * FROM u"), ["1 'y' 10"]);
    rig.open().unwrap();
    let lower = rig.schema(crate::model::TableSchema {
        name: TableName::new("shop", "u"),
        ..schema(vec![int("id"), text("a"), int("b")], key(&[0]))
    });
    rig.change(&TableChange::Rename {
        from: TableName::new("shop", "U"),
        to: TableName::new("shop", "u"),
        schema: lower,
    });
    rig.rows(lower, Delete, &[&["1", "y", "10"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'u'"), ["'u'"]);
    assert_eq!(rig.read("SELECT count(*) FROM u"), ["0"]);
}

#[test]
fn a_rename_to_a_name_with_other_options_stops_the_new_name() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.plan.rules = vec![TableRule { rename: Some(vec![("a".into(), "alpha".into())]), ..TableRule::new(t()) }];
    rig.open().unwrap();
    rig.create(schema(vec![int("id"), text("a")], key(&[0])));
    let mut renamed = schema(vec![int("id"), text("a")], key(&[0]));
    renamed.name = TableName::new("shop", "v");
    let to = rig.schema(renamed);
    let change = TableChange::Rename { from: t(), to: TableName::new("shop", "v"), schema: to };
    rig.change(&change);
    assert_eq!(rig.stop(), None);
    let reason = rig.stop_of(&TableName::new("shop", "v")).unwrap();
    assert!(reason.contains("shop.t was renamed to shop.v") && reason.contains("give shop.v a rule"), "{reason}");
}

#[test]
fn options_of_columns_hold_through_changes() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.plan.defaults.rename = vec![("a".into(), "alpha".into()), ("a2".into(), "omega".into())];
    rig.plan.defaults.drop = vec!["secret".into()];
    rig.open().unwrap();
    let first = rig.create(schema(vec![int("id"), text("a"), text("secret")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "x", "s"]]);
    let second = rig.alter(first, schema(vec![int("id"), text("a2"), text("secret")], key(&[0])), &[("a", "a2")]);
    rig.rows(second, Insert, &[&["2", "y", "s"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT id, omega FROM t ORDER BY 1"), ["1 'x'", "2 'y'"]);
    let uncovered = schema(vec![int("id"), text("a2"), text("open")], key(&[0]));
    rig.alter(second, uncovered.clone(), &[("secret", "open")]);
    let reason = rig.stop().unwrap();
    assert!(
        reason.contains("\"secret\", which `drop` leaves out, is now called \"open\": add \"open\" to `drop`"),
        "{reason}"
    );
    rig.plan.defaults.drop.push("open".into());
    rig.open().unwrap();
    assert_eq!(rig.stop(), None, "the stop was of a round that was taken back");
    let third = rig.alter(second, uncovered, &[("secret", "open")]);
    rig.rows(third, Insert, &[&["3", "z", "s"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t ORDER BY 1"), ["1 'x'", "2 'y'", "3 'z'"]);
}

#[test]
fn a_changelog_follows_columns_and_forgets_nothing() {
    let (mut rig, first) = started(options(Mode::History));
    let second = rig.alter(first, schema(vec![int("id"), text("a2"), text("c")], key(&[0])), &[("a", "a2")]);
    rig.rows(second, Update, &[&["1", "x", "~"], &["1", "x", "new"]]);
    // b comes back with another type, beside its former values.
    let third = rig.alter(second, schema(vec![int("id"), text("a2"), text("c"), text("b")], key(&[0])), &[]);
    rig.rows(third, Update, &[&["1", "x", "new", "~"], &["1", "x", "new", "12"]]);
    rig.alter(third, schema(vec![int("id"), text("c"), text("a2"), text("b")], key(&[1])), &[("a2", "c"), ("c", "a2")]);
    rig.commit();
    rig.open().unwrap();
    assert_eq!(
        rig.read(
            "SELECT _op, after_id, after_a2_until_7, after_c_until_7, after_b, before_b, after_a2, after_c FROM t ORDER BY _version"
        ),
        [
            "'insert' 1 'x' NULL 10 NULL NULL NULL",
            "'update' 1 'x' 'new' NULL NULL NULL NULL",
            "'update' 1 'x' 'new' '12' NULL NULL NULL"
        ]
    );
}

#[test]
fn a_changelog_marks_what_happens_to_the_whole_table() {
    let (mut rig, first) = started(options(Mode::History));
    rig.change(&TableChange::Truncate { table: t() });
    rig.change(&TableChange::ReplaceBegin { table: t(), schema: first });
    rig.change(&TableChange::Drop { table: t() });
    rig.create(schema(vec![int("id"), text("a"), int("b")], key(&[0])));
    let mut renamed = schema(vec![int("id"), text("a"), int("b")], key(&[0]));
    renamed.name = TableName::new("shop", "u");
    let u = rig.schema(renamed);
    rig.change(&TableChange::Rename { from: t(), to: TableName::new("shop", "u"), schema: u });
    rig.rows(u, Insert, &[&["2", "y", "20"]]);
    rig.commit();
    assert_eq!(
        rig.read("SELECT _lsn, _op, after_id FROM u ORDER BY _version"),
        ["2 'insert' 1", "3 'truncate' NULL", "4 'replace' NULL", "5 'drop' NULL", "7 'rename' NULL", "8 'insert' 2"]
    );
}

#[test]
fn a_gap_and_a_table_left_out_are_lines_of_a_changelog_with_their_reasons() {
    let (mut rig, first) = started(options(Mode::History));
    rig.change(&TableChange::Gap { table: t(), reason: "binlog_row_image is MINIMAL".into() });
    rig.rows(first, Snapshot, &[&["1", "y", "11"]]);
    rig.change(&TableChange::LeftOut { table: t(), reason: "it cannot be read".into() });
    rig.change(&TableChange::ReplaceEnd { table: t() });
    rig.change(&TableChange::Truncate { table: t() });
    rig.commit();
    let lines = [
        "2 0 'insert' NULL NULL 'x'",
        "3 0 'gap' 'binlog_row_image is MINIMAL' NULL NULL",
        "4 0 'snapshot' NULL NULL 'y'",
        "5 0 'gap' 'it cannot be read' NULL NULL",
        "7 0 'truncate' NULL NULL NULL",
    ];
    let sql = "SELECT _lsn, _ordinal, _op, _reason, before_a, after_a FROM t ORDER BY _version";
    assert_eq!(rig.read(sql), lines);
    assert_eq!(
        rig.read("SELECT _version - (1 << 56), _commit_time FROM t WHERE _op = 'gap' ORDER BY _version"),
        ["3000 '2026-11-21 09:00:00.000001'", "5000 '2026-11-21 09:00:00.000001'"]
    );
}

#[test]
fn a_column_that_is_named_as_the_reason_of_a_gap_is_a_column_like_others() {
    let mut rig = Rig::new(options(Mode::History));
    let first = rig.create(schema(vec![int("id"), text("_reason")], key(&[0])));
    rig.rows(first, Insert, &[&["1", "mine"]]);
    rig.change(&TableChange::Gap { table: t(), reason: "why".into() });
    rig.commit();
    assert_eq!(rig.read("SELECT _reason, after__reason FROM t ORDER BY _version"), ["NULL 'mine'", "'why' NULL"]);
}

#[test]
fn the_end_of_a_replacement_changes_nothing_nor_does_a_gap_of_a_mirror_or_of_a_table_never_seen() {
    for options in [options(Mode::Mirror), soft(), options(Mode::History)] {
        let is_history = options.mode == Mode::History;
        let (mut rig, _) = started(options);
        rig.commit();
        let (before, tables) = (rig.read("SELECT * FROM t"), "SELECT name, sql FROM sqlite_schema ORDER BY name");
        let made = rig.read(tables);
        for table in [t(), TableName::new("shop", "never_seen")] {
            let reason = String::from("a statement was not understood");
            rig.change(&TableChange::ReplaceEnd { table: table.clone() });
            if is_history && table == t() {
                continue;
            }
            rig.change(&TableChange::Gap { table: table.clone(), reason: reason.clone() });
            rig.change(&TableChange::LeftOut { table, reason });
        }
        rig.commit();
        assert_eq!((rig.read("SELECT * FROM t"), rig.read(tables)), (before, made));
    }
}

#[test]
fn changes_of_tables_never_seen_are_no_error() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.change(&TableChange::Truncate { table: t() });
    rig.change(&TableChange::Drop { table: t() });
    let first = rig.schema(schema(vec![int("id")], key(&[0])));
    rig.change(&TableChange::Rename { from: TableName::new("shop", "before"), to: t(), schema: first });
    rig.rows(first, Insert, &[&["1"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT * FROM t"), ["1"]);
}

#[test]
fn rows_of_a_shape_the_table_does_not_have_stop_it() {
    let (mut rig, _) = started(options(Mode::Mirror));
    let other = rig.schema(schema(vec![int("id"), text("a")], key(&[0])));
    rig.rows(other, Insert, &[&["9", "z"]]);
    let reason = rig.stop().unwrap();
    assert!(reason.contains("rows of shop.t have another shape than its table at the target"), "{reason}");
    assert!(reason.contains("replicator backfill --replace --table shop.t"), "{reason}");
    assert_eq!(rig.commit(), RowCounts { taken: 2, acknowledged: 1, skipped: 1, ..RowCounts::default() });
}
