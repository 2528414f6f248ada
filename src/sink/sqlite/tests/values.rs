//! Every type: the value SQLite holds, and its storage class.

use crate::codec::frame::RowOp;
use crate::codec::row_image::ImageWriter;
use crate::config::Mode;
use crate::model::{Charset, ColumnType, IntWidth};
use crate::sink::sqlite::testing::*;

fn types() -> Vec<(ColumnType, Vec<(&'static str, &'static str)>)> {
    use ColumnType as T;
    let int = |width, unsigned| T::Int { width, unsigned };
    let members = || vec!["a".to_owned(), "b c".to_owned(), "1".to_owned()];
    let utf8 = || Charset::new("utf8mb4");
    vec![
        (int(IntWidth::W1, false), vec![("-128", "-128"), ("127", "127")]),
        (int(IntWidth::W2, true), vec![("65535", "65535")]),
        (int(IntWidth::W3, false), vec![("-8388608", "-8388608")]),
        (int(IntWidth::W4, true), vec![("4294967295", "4294967295")]),
        (int(IntWidth::W8, false), vec![("-9223372036854775808", "-9223372036854775808")]),
        (
            int(IntWidth::W8, true),
            vec![
                ("9223372036854775807", "9223372036854775807"),
                ("9223372036854775808", "'9223372036854775808'"),
                ("18446744073709551615", "'18446744073709551615'"),
            ],
        ),
        (T::Double, vec![("0.1", "0.1r"), ("1", "1.0r"), ("-0", "0.0r"), ("1e300", "1e300r"), ("5e-324", "5e-324r")]),
        (T::Float, vec![("0.1", "0.10000000149011612r"), ("16777216", "16777216.0r")]),
        (
            T::Decimal { precision: 65, scale: 30 },
            vec![
                ("1", "'1.000000000000000000000000000000'"),
                (
                    "-99999999999999999999999999999999999.999999999999999999999999999999",
                    "'-99999999999999999999999999999999999.999999999999999999999999999999'",
                ),
            ],
        ),
        (T::Decimal { precision: 5, scale: 0 }, vec![("00012", "'12'")]),
        (T::Decimal { precision: 4, scale: 2 }, vec![("-0.5", "'-0.50'")]),
        (T::Year, vec![("2155", "2155"), ("0000", "0")]),
        (T::Date, vec![("2024-02-29", "'2024-02-29'"), ("0000-00-00", "'0000-00-00'"), ("2024-00-00", "'2024-00-00'")]),
        (T::Time { fsp: 0 }, vec![("-838:59:59", "'-838:59:59'"), ("01:02:03", "'01:02:03'")]),
        (T::Time { fsp: 6 }, vec![("-00:00:00.000001", "'-00:00:00.000001'")]),
        (T::DateTime { fsp: 0 }, vec![("9999-12-31 23:59:59", "'9999-12-31 23:59:59'")]),
        (T::DateTime { fsp: 3 }, vec![("2024-01-01 00:00:00.5", "'2024-01-01 00:00:00.500'")]),
        (
            T::Timestamp { fsp: 0 },
            vec![("2038-01-19 03:14:07", "'2038-01-19 03:14:07'"), ("0000-00-00 00:00:00", "'0000-00-00 00:00:00'")],
        ),
        (T::Timestamp { fsp: 6 }, vec![("1970-01-01 00:00:01.000001", "'1970-01-01 00:00:01.000001'")]),
        (T::Char { max_bytes: 80, charset: utf8() }, vec![("12", "'12'"), ("1e5", "'1e5'"), ("", "''")]),
        (varchar(300), vec![("007", "'007'"), ("it's", "'it's'"), ("\u{1f600}", "'\u{1f600}'"), ("a\0b", "'a\0b'")]),
        (T::Text { length_bytes: 3, charset: utf8() }, vec![("9223372036854775808", "'9223372036854775808'")]),
        (T::Binary { length: 4 }, vec![("ab", "x'61620000'"), ("", "x'00000000'")]),
        (T::VarBinary { max_bytes: 20 }, vec![("12", "x'3132'"), ("", "x''")]),
        (T::Blob { length_bytes: 2 }, vec![("5", "x'35'")]),
        (T::Enum { members: members() }, vec![("1", "'1'"), ("b c", "'b c'")]),
        (T::Set { members: members() }, vec![("a,1", "'a,1'"), ("", "''"), ("1", "'1'")]),
        (T::Json, vec![("{\"a\": 1.0}", "'{\"a\": 1.0}'"), ("12", "'12'")]),
    ]
}

#[test]
fn every_type_is_held_exactly_in_the_storage_class_of_the_type_table() {
    for (ty, values) in types() {
        for mode in [Mode::Mirror, Mode::History] {
            let mut rig = Rig::new(options(mode));
            let t = rig.create(schema(vec![int("id"), column("v", ty.clone())], key(&[0])));
            for (value, held) in &values {
                rig.rows(t, RowOp::Insert, &[&["1", value]]);
                rig.rows(t, RowOp::Update, &[&["1", value], &["1", "~"]]);
                rig.rows(t, RowOp::Update, &[&["1", "~"], &["1", value]]);
                rig.commit();
                let sql = match mode {
                    Mode::Mirror => "SELECT v FROM t",
                    Mode::History => "SELECT after_v FROM t ORDER BY _version DESC LIMIT 1",
                };
                // A column declared REAL has no negative zero; a changelog's columns have no declared type.
                let held = if (*value, mode) == ("-0", Mode::History) { "-0.0r" } else { *held };
                assert_eq!(rig.read(sql), [held], "{value} as {ty:?} in {mode:?}");
            }
        }
    }
}

#[test]
fn every_type_can_be_a_key() {
    for (ty, values) in types() {
        if matches!(ty, ColumnType::Json) {
            continue;
        }
        let mut rig = Rig::new(options(Mode::Mirror));
        let t = rig.create(schema(vec![int("v"), column("k", ty.clone())], key(&[1])));
        for (value, _) in &values {
            rig.rows(t, RowOp::Insert, &[&["1", value]]);
            rig.rows(t, RowOp::Update, &[&["1", value], &["2", value]]);
        }
        let mut expected: Vec<_> = values.iter().map(|(_, held)| format!("2 {held}")).collect();
        let mut held = rig.table("t");
        expected.sort();
        held.sort();
        assert_eq!(held, expected, "{ty:?}");
        for (value, _) in &values {
            rig.rows(t, RowOp::Delete, &[&["2", value]]);
        }
        assert_eq!(rig.table("t"), [""; 0], "{ty:?}");
    }
}

#[test]
fn bits_and_bytes_of_no_text_form_are_held_exactly() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let table = schema(
        vec![
            int("id"),
            column("b1", ColumnType::Bit { bits: 1 }),
            column("b63", ColumnType::Bit { bits: 63 }),
            column("b64", ColumnType::Bit { bits: 64 }),
            column("e", ColumnType::Enum { members: vec!["x".into()] }),
            column("g", ColumnType::Geometry),
            column("v", ColumnType::Vector),
            column("u", ColumnType::Uuid),
            column("a6", ColumnType::Inet6),
            column("a4", ColumnType::Inet4),
        ],
        key(&[0]),
    );
    let t = rig.create(table.clone());
    let mut body = Vec::new();
    for (id, high) in [(1, false), (2, true)] {
        let writer = ImageWriter::new(&table).unwrap();
        let mut row = writer.row(&mut body);
        row.int(id).unwrap();
        row.bit(u64::from(high)).unwrap();
        row.bit(u64::from(high) * (u64::MAX >> 1)).unwrap();
        row.bit(u64::from(high) * u64::MAX).unwrap();
        row.enumeration(u16::from(high)).unwrap();
        let mut point = vec![0xe6, 0x10, 0, 0, 1, 1, 0, 0, 0];
        point.extend_from_slice(&1.5_f64.to_le_bytes());
        point.extend_from_slice(&(-2.0_f64).to_le_bytes());
        row.geometry(&point).unwrap();
        row.vector(&1.0_f32.to_le_bytes()).unwrap();
        row.text_protocol(b"00112233-4455-6677-8899-AABBCCDDEE00").unwrap();
        row.text_protocol(b"2001:db8:0:0::").unwrap();
        row.text_protocol(b"10.0.0.0").unwrap();
        row.finish().unwrap();
    }
    rig.try_images(t, RowOp::Insert, 2, body).unwrap();
    let point = "x'e61000000101000000000000000000f83f00000000000000c0'";
    let addresses = "'00112233-4455-6677-8899-aabbccddee00' '2001:db8::' '10.0.0.0'";
    assert_eq!(
        rig.table("t"),
        [
            format!("1 0 0 0 '' {point} x'0000803f' {addresses}"),
            format!("2 1 9223372036854775807 '18446744073709551615' 'x' {point} x'0000803f' {addresses}"),
        ]
    );
}

#[test]
fn text_of_another_character_set_comes_as_utf8_and_malformed_text_stops_its_table_by_column() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let latin1 = column("l", ColumnType::VarChar { max_bytes: 40, charset: Charset::new("latin1") });
    let table = schema(vec![int("id"), latin1, text("u")], key(&[0]));
    let t = rig.create(table.clone());
    let image = |l: &[u8], u: &[u8]| {
        let mut body = Vec::new();
        let writer = ImageWriter::new(&table).unwrap();
        let mut row = writer.row(&mut body);
        row.int(1).unwrap();
        row.bytes(l).unwrap();
        row.bytes(u).unwrap();
        row.finish().unwrap();
        body
    };
    rig.try_images(t, RowOp::Insert, 1, image(b"caf\xe9", "caf\u{e9}".as_bytes())).unwrap();
    assert_eq!(rig.table("t"), ["1 'caf\u{e9}' 'caf\u{e9}'"]);
    rig.try_images(t, RowOp::Insert, 1, image(b"x", b"secret\xff")).unwrap();
    let reason = rig.stop().unwrap();
    assert!(reason.contains("\"u\"") && !reason.contains("secret"), "{reason}");
}

#[test]
fn an_unsupported_type_stops_its_table_by_name() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let odd = column("loc", ColumnType::Unsupported { code: 200, name: "inet6".into() });
    let t = rig.schema(schema(vec![int("id"), odd], key(&[0])));
    let change = crate::codec::frame::TableChange::Schema {
        table: rig.name(t),
        from: None,
        to: t,
        renamed: Vec::new(),
        lost: false,
    };
    rig.change(&change);
    assert!(rig.stop().unwrap().contains("\"loc\" of shop.t"));
}
