//! What becomes of values that SQLite does not hold as they are, by the policy of the table, and how each replacement is counted.

use super::super::testing::*;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{ImageWriter, RowBuilder};
use crate::config::{InvalidText, Mode, TableOptions, Unconvertible, ValuePolicy, ZeroDates};
use crate::model::{Charset, ColumnType, ReplacedValues, SchemaId, TableSchema};

const KEEP: ValuePolicy = ValuePolicy::new(ZeroDates::Keep);

fn with(mode: Mode, values: ValuePolicy) -> TableOptions {
    TableOptions { values, ..options(mode) }
}

fn table() -> TableSchema {
    let ucs2 = column("t", ColumnType::VarChar { max_bytes: 40, charset: Charset::new("ucs2") });
    schema(vec![int("id"), column("d", ColumnType::Date), ucs2, column("n", ColumnType::Double)], key(&[0]))
}

/// Images of rows with a zero date, malformed text and no number.
fn images_of(table: &TableSchema, ids: &[i64]) -> Vec<u8> {
    let mut body = Vec::new();
    let writer = ImageWriter::new(table).unwrap();
    for id in ids {
        let mut row = writer.row(&mut body);
        row.int(*id).unwrap();
        row.text_protocol(b"0000-00-00").unwrap();
        row.bytes(b"\0a\xd8\x00").unwrap();
        row.double(0.0).unwrap();
        row.finish().unwrap();
        let at = body.len() - 8;
        body[at..].copy_from_slice(&f64::NAN.to_le_bytes());
    }
    body
}

fn write(rig: &mut Rig, t: SchemaId, table: &TableSchema, op: RowOp, ids: &[i64]) {
    let rows = u32::try_from(ids.len()).unwrap() / op.images_per_row();
    rig.try_images(t, op, rows, images_of(table, ids)).unwrap();
}

#[test]
fn each_policy_writes_its_value_and_counts_it_once_for_each_row_that_is_written() {
    let replacing = ValuePolicy {
        zero_dates: ZeroDates::Epoch,
        invalid_text: InvalidText::Replace,
        unconvertible: Unconvertible::Text,
    };
    let nulling = ValuePolicy {
        zero_dates: ZeroDates::Null,
        invalid_text: InvalidText::Bytes,
        unconvertible: Unconvertible::Null,
    };
    for (values, shown) in [(replacing, "1 '1970-01-01' 'a\u{fffd}' 'NaN'"), (nulling, "1 NULL x'0061d800' NULL")] {
        let mut rig = Rig::new(with(Mode::Mirror, values));
        let table = table();
        let t = rig.create(table.clone());
        write(&mut rig, t, &table, RowOp::Insert, &[1]);
        let each = |count| ReplacedValues { zero_dates: count, invalid_text: count, unconvertible: count };
        assert_eq!(rig.commit().replaced, each(1));
        assert_eq!(rig.table("t"), [shown]);
        write(&mut rig, t, &table, RowOp::Update, &[1, 1]);
        assert_eq!(rig.commit().replaced, each(1), "the new row");
        write(&mut rig, t, &table, RowOp::Update, &[7, 7]);
        assert_eq!(rig.commit().replaced, each(1), "of a row that was not there");
        write(&mut rig, t, &table, RowOp::Delete, &[1]);
        assert_eq!(rig.commit().replaced, each(0), "a delete writes no value");

        let mut rig = Rig::new(with(Mode::History, values));
        let t = rig.create(table.clone());
        write(&mut rig, t, &table, RowOp::Update, &[1, 1]);
        assert_eq!(rig.commit().replaced, each(2), "both sides of a line");

        let mut rig = Rig::new(with(Mode::Mirror, values));
        let keyless = TableSchema { key: None, ..table.clone() };
        let t = rig.create(keyless.clone());
        write(&mut rig, t, &keyless, RowOp::Insert, &[1, 1]);
        write(&mut rig, t, &keyless, RowOp::Update, &[1, 1, 5, 5]);
        write(&mut rig, t, &keyless, RowOp::Delete, &[1]);
        assert_eq!(rig.commit().replaced, each(4));
        assert_eq!(rig.table("t").len(), 2);
    }
}

#[test]
fn a_value_that_no_policy_replaces_stops_its_table_and_names_the_setting() {
    for (values, told) in [
        (ValuePolicy::new(ZeroDates::Stop), "zero_dates"),
        (KEEP, "invalid_text"),
        (ValuePolicy { invalid_text: InvalidText::Bytes, ..KEEP }, "unconvertible"),
    ] {
        let mut rig = Rig::new(with(Mode::Mirror, values));
        let table = table();
        let t = rig.create(table.clone());
        write(&mut rig, t, &table, RowOp::Insert, &[1, 2]);
        let counts = rig.commit();
        let reason = rig.stop().unwrap();
        assert!(reason.contains(&format!("`{told}")), "{reason}");
        assert_eq!((counts.skipped, counts.replaced.any()), (2, false));
        assert_eq!(rig.table("t"), [""; 0]);
    }
}

#[test]
fn a_rule_of_a_table_is_for_that_table_alone_and_its_key_gets_no_null() {
    let dates = schema(vec![column("d", ColumnType::Date), int("v")], key(&[0]));
    let mut rig = Rig::new(with(Mode::Mirror, ValuePolicy::new(ZeroDates::Epoch)));
    let t = rig.create(dates.clone());
    rig.rows(t, RowOp::Insert, &[&["0000-00-00", "1"], &["2024-01-01", "2"]]);
    assert_eq!(rig.table("t"), ["'1970-01-01' 1", "'2024-01-01' 2"]);
    rig.rows(t, RowOp::Delete, &[&["0000-00-00", "1"]]);
    assert_eq!(rig.table("t"), ["'2024-01-01' 2"]);
    rig.rows(t, RowOp::Insert, &[&["1970-01-01", "3"]]);
    assert!(rig.stop().unwrap().contains("would be one with the zero date"));

    let mut rig = Rig::new(with(Mode::Mirror, ValuePolicy::new(ZeroDates::Null)));
    let t = rig.create(dates);
    rig.rows(t, RowOp::Insert, &[&["0000-00-00", "1"]]);
    assert!(rig.stop().unwrap().contains("NULL does not stand in its column"));
}

type Write = fn(&mut RowBuilder<'_>);

#[test]
fn keys_that_would_be_one_are_not_written() {
    let sjis = ColumnType::VarChar { max_bytes: 40, charset: Charset::new("sjis") };
    let labels = ColumnType::Enum { members: vec!["a".into(), String::new()] };
    let cases: [(ColumnType, Write, Write); 2] = [
        (sjis, |row| row.bytes(b"\\").unwrap(), |row| row.bytes(b"\x81\x5f").unwrap()),
        (labels, |row| row.enumeration(2).unwrap(), |row| row.enumeration(0).unwrap()),
    ];
    for (ty, first, second) in cases {
        let table = schema(vec![column("k", ty), int("v")], key(&[0]));
        let mut rig = Rig::new(with(Mode::Mirror, KEEP));
        let t = rig.create(table.clone());
        for write in [first, second] {
            let mut body = Vec::new();
            let writer = ImageWriter::new(&table).unwrap();
            let mut row = writer.row(&mut body);
            write(&mut row);
            row.int(1).unwrap();
            row.finish().unwrap();
            rig.try_images(t, RowOp::Insert, 1, body).unwrap();
        }
        assert_eq!(rig.table("t").len(), 1);
        assert!(rig.stop().unwrap().contains("is part of the key"));
    }
}

#[test]
fn the_default_of_a_new_column_follows_the_policy() {
    for (zero_dates, held) in [(ZeroDates::Keep, "1 '0000-00-00'"), (ZeroDates::Null, "1 NULL")] {
        let mut rig = Rig::new(with(Mode::Mirror, ValuePolicy::new(zero_dates)));
        let before = schema(vec![int("id")], key(&[0]));
        let t = rig.create(before.clone());
        rig.rows(t, RowOp::Insert, &[&["1"]]);
        let mut after = schema(vec![int("id"), column("d", ColumnType::Date)], key(&[0]));
        let cell = ImageWriter::new(&after).unwrap().from_text(1, b"0000-00-00").unwrap();
        after.columns[1].default = crate::model::ColumnDefault::Value(cell);
        rig.alter(t, after, &[]);
        assert_eq!(rig.table("t"), [held]);
    }
}

#[test]
fn another_policy_is_another_configuration_where_rows_are_told_by_what_it_writes() {
    let date = || column("d", ColumnType::Date);
    let dated_key = schema(vec![date(), int("v")], key(&[0]));
    let dated = schema(vec![int("id"), date()], key(&[0]));
    let dated_keyless = TableSchema { key: None, ..dated.clone() };
    let invalid_text = ValuePolicy { invalid_text: InvalidText::Bytes, ..KEEP };
    let texts_keyless = schema(vec![int("id"), text("t")], None);
    let null_to_stop = (ValuePolicy::new(ZeroDates::Null), ValuePolicy::new(ZeroDates::Stop));
    let to_epoch = (KEEP, ValuePolicy::new(ZeroDates::Epoch));
    for (table, (then, now), is_another) in [
        (&dated_key, to_epoch, true),
        (&dated_key, null_to_stop, false),
        (&dated_key, (KEEP, invalid_text), false),
        (&dated, to_epoch, false),
        (&dated_keyless, to_epoch, true),
        (&dated_keyless, null_to_stop, true),
        (&texts_keyless, (KEEP, invalid_text), true),
        (&texts_keyless, to_epoch, false),
    ] {
        let mut rig = Rig::new(with(Mode::Mirror, then));
        rig.create(table.clone());
        rig.commit();
        rig.plan.defaults.values = now;
        rig.open().unwrap();
        let reason = rig.stop().unwrap_or_default();
        assert_eq!(reason.contains("is written with `values:"), is_another, "{table:?} {then} {now}: {reason}");
    }
}
