//! Values of every type in the encoder's bytes, as the reader in `row_binary.rs` shows them.

use super::{Encoder, RowError, Scratch};
use crate::codec::row_image::ImageWriter;
use crate::config::{InvalidText, Unconvertible, ValuePolicy, ZeroDates};
use crate::model::{Charset, ColumnType, IntWidth, ReplacedValues, TableName, TableSchema};
use crate::sink::clickhouse::row_binary::{TYPES, VALUES, column, images, int, key, read_rows, schema, varchar};
use crate::sink::clickhouse::types::target_type;
use crate::sink::clickhouse::{ClickHouseTypes, JsonType, SetType};
use crate::sink::layout::Place;

const INT: fn(IntWidth, bool) -> ColumnType = |width, unsigned| ColumnType::Int { width, unsigned };

/// A table of one column, and the type it gets.
fn one(ty: &ColumnType, nullable: bool, options: ClickHouseTypes) -> (TableSchema, String) {
    let table = schema(vec![column("v", ty.clone(), nullable)], None);
    let text = target_type(&table.name, &table.columns[0], options, Place::Plain).unwrap();
    (table, text)
}

/// Encodes one value into a column of type `target`, then reads it.
fn held(table: &TableSchema, target: &str, value: &str, values: ValuePolicy) -> Result<String, RowError> {
    let encoder = Encoder::new(table, &[(0, target)], &[], values).unwrap();
    let image = images(table, &[&[value]]);
    let mut out = Vec::new();
    assert_eq!(encoder.encode(&image, &mut out, &mut Scratch::default())?, image.len());
    let mut rows = read_rows(&[target], &out);
    assert_eq!(rows.len(), 1);
    Ok(rows.remove(0))
}

fn types() -> Vec<(ColumnType, Vec<(&'static str, &'static str)>)> {
    use ColumnType as T;
    let members = || vec!["a".to_owned(), "b c".to_owned(), "1".to_owned()];
    let utf8 = || Charset::new("utf8mb4");
    vec![
        (INT(IntWidth::W1, false), vec![("-128", "-128"), ("127", "127")]),
        (INT(IntWidth::W1, true), vec![("0", "0"), ("255", "255")]),
        (INT(IntWidth::W2, false), vec![("-32768", "-32768"), ("32767", "32767")]),
        (INT(IntWidth::W2, true), vec![("65535", "65535")]),
        (INT(IntWidth::W3, false), vec![("-8388608", "-8388608"), ("8388607", "8388607")]),
        (INT(IntWidth::W3, true), vec![("16777215", "16777215")]),
        (INT(IntWidth::W4, false), vec![("-2147483648", "-2147483648")]),
        (INT(IntWidth::W4, true), vec![("4294967295", "4294967295")]),
        (INT(IntWidth::W8, false), vec![("-9223372036854775808", "-9223372036854775808")]),
        (INT(IntWidth::W8, true), vec![("18446744073709551615", "18446744073709551615")]),
        (T::Double, vec![("0.1", "0.1"), ("-0", "-0.0"), ("1e300", "1e300"), ("5e-324", "5e-324")]),
        (T::Float, vec![("0.1", "0.1"), ("16777216", "16777216.0")]),
        (T::Decimal { precision: 9, scale: 2 }, vec![("-9999999.99", "-9999999.99"), ("0.01", "0.01")]),
        (T::Decimal { precision: 12, scale: 2 }, vec![("-9999999999.99", "-9999999999.99"), ("0", "0.00")]),
        (T::Decimal { precision: 18, scale: 0 }, vec![("999999999999999999", "999999999999999999")]),
        (
            T::Decimal { precision: 38, scale: 38 },
            vec![("-0.99999999999999999999999999999999999999", "-0.99999999999999999999999999999999999999")],
        ),
        (
            T::Decimal { precision: 65, scale: 30 },
            vec![
                ("1", "1.000000000000000000000000000000"),
                (
                    "-99999999999999999999999999999999999.999999999999999999999999999999",
                    "-99999999999999999999999999999999999.999999999999999999999999999999",
                ),
                (
                    "99999999999999999999999999999999999.999999999999999999999999999999",
                    "99999999999999999999999999999999999.999999999999999999999999999999",
                ),
            ],
        ),
        (T::Year, vec![("2155", "2155"), ("0000", "0")]),
        (
            T::Date,
            vec![("0000-01-01", "-719528"), ("1000-01-01", "-354285"), ("1969-12-31", "-1"), ("9999-12-31", "2932896")],
        ),
        (T::Time { fsp: 0 }, vec![("-838:59:59", "-3020399"), ("01:02:03", "3723")]),
        (T::Time { fsp: 6 }, vec![("-00:00:00.000001", "-1"), ("838:59:59.000000", "3020399000000")]),
        (
            T::DateTime { fsp: 0 },
            vec![("9999-12-31 23:59:59", "253402300799"), ("1000-01-01 00:00:00", "-30610224000")],
        ),
        (T::DateTime { fsp: 3 }, vec![("1969-12-31 23:59:59.5", "-500"), ("1970-01-01 00:00:00", "0")]),
        (T::DateTime { fsp: 6 }, vec![("9999-12-31 23:59:59.999999", "253402300799999999")]),
        (T::Timestamp { fsp: 0 }, vec![("2038-01-19 03:14:07", "2147483647")]),
        (T::Timestamp { fsp: 5 }, vec![("1970-01-01 00:00:01.00001", "100001")]),
        (T::Char { max_bytes: 80, charset: utf8() }, vec![("12", "'12'"), ("", "''")]),
        (varchar("utf8mb4"), vec![("\u{1f600}", "'\u{1f600}'"), ("a\0b", "'a\0b'")]),
        (T::Text { length_bytes: 3, charset: utf8() }, vec![("x", "'x'")]),
        (T::Binary { length: 4 }, vec![("ab", "'ab\0\0'"), ("", "'\0\0\0\0'")]),
        (T::VarBinary { max_bytes: 20 }, vec![("12", "'12'"), ("", "''")]),
        (T::Blob { length_bytes: 2 }, vec![("5", "'5'")]),
        (T::Enum { members: members() }, vec![("1", "'1'"), ("b c", "'b c'")]),
        (T::Set { members: members() }, vec![("a,1", "'a,1'"), ("", "''"), ("a,b c,1", "'a,b c,1'")]),
        (T::Json, vec![("{\"a\": 1.0}", "'{\"a\": 1.0}'"), ("12", "'12'")]),
        (T::Geometry, vec![("\0\0\0\0wkb", "'\0\0\0\0wkb'")]),
        (T::Vector, vec![("\0\0\u{0}?\0\0\0\0", "[0.5,0.0]")]),
        (
            T::Uuid,
            vec![
                ("00112233-4455-6677-8899-aabbccddee00", "7766554433221100 00eeddccbbaa9988"),
                ("00000000-0000-0000-0000-000000000000", "0000000000000000 0000000000000000"),
            ],
        ),
        (T::Inet6, vec![("2001:db8::ff00", "20010db800000000 000000000000ff00")]),
        (T::Inet4, vec![("1.2.3.0", "16909056"), ("255.255.255.255", "4294967295")]),
    ]
}

#[test]
fn every_type_has_its_value_in_the_bytes_nullable_or_not() {
    for (ty, values) in types() {
        for nullable in [false, true] {
            let (table, target) = one(&ty, nullable, TYPES);
            for (value, shown) in &values {
                assert_eq!(held(&table, &target, value, VALUES).unwrap(), *shown, "{value} as {target}");
            }
            if nullable {
                let null = if target == "Array(Float32)" { "[]" } else { "NULL" };
                assert_eq!(held(&table, &target, "~", VALUES).unwrap(), null, "NULL as {target}");
            }
        }
    }
}

#[test]
fn bits_and_labels_of_no_text_form_are_held() {
    let members = vec!["x".to_owned()];
    let table = schema(
        vec![
            column("b1", ColumnType::Bit { bits: 1 }, false),
            column("b64", ColumnType::Bit { bits: 64 }, true),
            column("e", ColumnType::Enum { members: members.clone() }, false),
            column("inf", ColumnType::Double, false),
        ],
        None,
    );
    let writer = ImageWriter::new(&table).unwrap();
    let mut body = Vec::new();
    for high in [false, true] {
        let mut row = writer.row(&mut body);
        row.bit(u64::from(high)).unwrap();
        row.bit(u64::from(high) * u64::MAX).unwrap();
        row.enumeration(u16::from(high)).unwrap();
        row.double(1.5).unwrap();
        row.finish().unwrap();
    }
    // The servers store no infinity; bytes that say one pass as they are.
    let at = body.len() - 8;
    body[at..].copy_from_slice(&f64::NEG_INFINITY.to_le_bytes());
    let columns = [(0, "UInt64"), (1, "Nullable(UInt64)"), (2, "LowCardinality(String)"), (3, "Float64")];
    let encoder = Encoder::new(&table, &columns, &[], VALUES).unwrap();
    let mut out = Vec::new();
    let used = encoder.encode(&body, &mut out, &mut Scratch::default()).unwrap();
    encoder.encode(&body[used..], &mut out, &mut Scratch::default()).unwrap();
    let types = columns.map(|(_, ty)| ty);
    assert_eq!(read_rows(&types, &out), ["0;0;'';1.5", "1;18446744073709551615;'x';-inf"]);
}

#[test]
fn text_of_every_character_set_becomes_utf8() {
    let (table, target) = one(&varchar("latin1"), false, TYPES);
    let writer = ImageWriter::new(&table).unwrap();
    let encoder = Encoder::new(&table, &[(0, &target)], &[], VALUES).unwrap();
    for (bytes, text) in [(&b"caf\xe9"[..], "'caf\u{e9}'"), (b"plain", "'plain'"), (&[0xe9; 70], "")] {
        let mut image = Vec::new();
        let mut row = writer.row(&mut image);
        row.bytes(bytes).unwrap();
        row.finish().unwrap();
        let mut out = Vec::new();
        encoder.encode(&image, &mut out, &mut Scratch::default()).unwrap();
        // 70 letters of two bytes have a length of two bytes.
        let text = if text.is_empty() { format!("'{}'", "\u{e9}".repeat(70)) } else { text.to_owned() };
        assert_eq!(read_rows(&[&target], &out), [text]);
    }
}

#[test]
fn lengths_of_all_sizes_are_written_whole() {
    let (table, target) = one(&ColumnType::Blob { length_bytes: 4 }, false, TYPES);
    for len in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        let value = "x".repeat(len);
        assert_eq!(held(&table, &target, &value, VALUES).unwrap(), format!("'{value}'"), "{len}");
    }
}

#[test]
fn sets_and_documents_have_their_own_types_by_option() {
    let native = ClickHouseTypes { json: JsonType::Json, sets: SetType::Array };
    let set = ColumnType::Set { members: vec!["a".into(), "b c".into()] };
    let (table, target) = one(&set, false, native);
    assert_eq!(target, "Array(String)");
    assert_eq!(held(&table, &target, "a,b c", VALUES).unwrap(), "['a','b c']");
    assert_eq!(held(&table, &target, "", VALUES).unwrap(), "[]");
    let (table, target) = one(&ColumnType::Json, true, native);
    assert_eq!(target, "Nullable(JSON)");
    assert_eq!(held(&table, &target, "{\"a\": [1]}", VALUES).unwrap(), "'{\"a\": [1]}'");
    for document in ["[1]", "1", "null", "\"{}\""] {
        let error = held(&table, &target, document, VALUES).unwrap_err().to_string();
        assert_eq!(
            error,
            "column \"v\" holds a document that is not an object, which ClickHouse's JSON type does not take"
        );
    }
}

#[test]
fn dates_that_name_no_day_follow_the_policy() {
    let kinds = [
        (ColumnType::Date, "0000-00-00", "2024-00-10"),
        (ColumnType::DateTime { fsp: 3 }, "0000-00-00 00:00:00", "2024-02-00 10:00:00"),
        (ColumnType::Timestamp { fsp: 0 }, "0000-00-00 00:00:00", "0000-00-00 00:00:00"),
    ];
    for (ty, zero, partial) in kinds {
        for value in [zero, partial] {
            let with = |nullable, zero_dates| {
                let values = ValuePolicy { zero_dates, ..VALUES };
                let (table, target) = one(&ty, nullable, TYPES);
                held(&table, &target, value, values)
                    .map_err(|error| error.failure(&TableName::new("shop", "t")).chain())
            };
            assert_eq!(with(true, ZeroDates::Null), Ok("NULL".to_owned()));
            assert_eq!(with(true, ZeroDates::Epoch), Ok("0".to_owned()));
            assert_eq!(with(false, ZeroDates::Epoch), Ok("0".to_owned()));
            for (result, told) in [
                (with(false, ZeroDates::Null), "NULL does not stand in its column (set `zero_dates: epoch`"),
                (with(true, ZeroDates::Stop), "holds a date that names no day (set `zero_dates` of the sink"),
            ] {
                let told_in_full = result.unwrap_err();
                assert!(told_in_full.contains(told) && told_in_full.contains("\"v\""), "{told_in_full}");
            }
        }
    }
}

#[test]
fn the_zero_date_of_a_key_never_becomes_one_with_another_key() {
    let values = ValuePolicy::new(ZeroDates::Epoch);
    let table = schema(
        vec![column("d", ColumnType::Date, false), column("t", ColumnType::DateTime { fsp: 0 }, false)],
        key(&[0, 1]),
    );
    let columns = [(0, "Date32"), (1, "DateTime64(0, 'UTC')")];
    let encoder = Encoder::new(&table, &columns, &[0, 1], values).unwrap();
    let encode = |day: &str, time: &str| {
        let mut out = Vec::new();
        encoder.encode(&images(&table, &[&[day, time]]), &mut out, &mut Scratch::default())?;
        Ok::<_, RowError>(read_rows(&["Date32", "DateTime64(0, 'UTC')"], &out))
    };
    assert_eq!(encode("0000-00-00", "0000-00-00 00:00:00").unwrap(), ["0;0"]);
    assert_eq!(encode("1970-01-02", "1970-01-01 00:00:01").unwrap(), ["1;1"]);
    let clash = "is part of the key and holds a date that would be one with the zero date";
    for (day, time, column) in [
        ("1970-01-01", "1970-01-01 00:00:01", "d"),
        ("2024-00-00", "1970-01-01 00:00:01", "d"),
        ("1970-01-02", "1970-01-01 00:00:00", "t"),
        ("1970-01-02", "2024-00-00 00:00:00", "t"),
    ] {
        assert_eq!(encode(day, time).unwrap_err().to_string(), format!("column \"{column}\" {clash}"));
    }
}

#[test]
fn an_integer_goes_into_any_integer_type_that_holds_its_value() {
    let tiny = schema(vec![column("v", INT(IntWidth::W1, false), true)], None);
    let big = schema(vec![column("v", INT(IntWidth::W8, true), true)], None);
    for target in ["Int8", "Int16", "Int32", "Int64", "Int128", "Int256", "Nullable(Int32)"] {
        assert_eq!(held(&tiny, target, "-128", VALUES).unwrap(), "-128", "{target}");
    }
    for (target, value, fits) in [
        ("Int8", "127", true),
        ("Int8", "128", false),
        ("UInt8", "255", true),
        ("UInt8", "256", false),
        ("UInt32", "4294967296", false),
        ("Int64", "9223372036854775807", true),
        ("Int64", "9223372036854775808", false),
        ("UInt128", "18446744073709551615", true),
        ("Int256", "18446744073709551615", true),
    ] {
        let result = held(&big, target, value, VALUES).map_err(|error| error.to_string());
        let refused = "column \"v\" holds a value outside the range of its column in ClickHouse";
        assert_eq!(result, if fits { Ok(value.to_owned()) } else { Err(refused.to_owned()) }, "{value} in {target}");
    }
    for target in ["UInt8", "UInt64", "UInt128", "UInt256"] {
        assert!(held(&tiny, target, "-1", VALUES).is_err(), "{target}");
        assert_eq!(held(&tiny, target, "127", VALUES).unwrap(), "127", "{target}");
    }
}

#[test]
fn a_null_in_a_column_that_holds_none_is_an_error() {
    let (table, _) = one(&INT(IntWidth::W4, false), true, TYPES);
    let error = held(&table, "Int32", "~", VALUES).unwrap_err().to_string();
    assert_eq!(error, "column \"v\" is NULL, which its column in ClickHouse does not hold");
    let set = schema(vec![column("v", ColumnType::Set { members: vec!["a".into()] }, true)], None);
    assert!(held(&set, "Array(String)", "~", VALUES).is_err(), "the empty set is a value of its own");
}

#[test]
fn wider_types_of_a_table_are_taken_and_others_refused_by_name() {
    let decimal = ColumnType::Decimal { precision: 12, scale: 2 };
    let exact = [
        (decimal.clone(), "Decimal(12, 2)", "1.5", "1.50"),
        (decimal.clone(), "Decimal(76, 2)", "-1.5", "-1.50"),
        (ColumnType::Float, "Float64", "0.5", "0.5"),
        (ColumnType::DateTime { fsp: 0 }, "DateTime64(6, 'UTC')", "1970-01-01 00:00:01", "1000000"),
        (ColumnType::Timestamp { fsp: 0 }, "DateTime64(9, 'Asia/Tokyo')", "1970-01-01 00:00:01", "1000000000"),
        (ColumnType::Time { fsp: 0 }, "Time64(3)", "00:00:01", "1000"),
        (ColumnType::Enum { members: vec!["a".into()] }, "String", "a", "'a'"),
    ];
    for (ty, target, value, shown) in exact {
        let (table, _) = one(&ty, false, TYPES);
        assert_eq!(held(&table, target, value, VALUES).unwrap(), shown, "{target}");
    }
    let refused = [
        (decimal.clone(), "Decimal(11, 2)"),
        (decimal.clone(), "Decimal(12, 3)"),
        (decimal, "Float64"),
        (ColumnType::Double, "Float32"),
        (ColumnType::DateTime { fsp: 6 }, "DateTime64(3, 'UTC')"),
        (ColumnType::DateTime { fsp: 0 }, "DateTime64(0, 'Asia/Tokyo')"),
        (ColumnType::DateTime { fsp: 0 }, "DateTime64(0)"),
        (ColumnType::Date, "Date"),
        (INT(IntWidth::W4, false), "String"),
        (INT(IntWidth::W1, false), "Bool"),
        (ColumnType::Enum { members: Vec::new() }, "Enum8('a' = 1)"),
        (varchar("utf8mb4"), "FixedString(3)"),
        (ColumnType::Json, "Array(String)"),
    ];
    for (ty, target) in refused {
        let (table, _) = one(&ty, false, TYPES);
        let message = Encoder::new(&table, &[(0, target)], &[], VALUES).unwrap_err().message;
        assert!(message.starts_with("column \"v\" of shop.t is "), "{message}");
        assert!(message.ends_with(&format!("its column of type {target} in ClickHouse cannot hold")), "{message}");
    }
}

#[test]
fn columns_are_written_in_the_sources_order_and_those_left_out_are_not() {
    let table = schema(vec![int("a"), int("b"), int("c"), int("d")], key(&[3, 1]));
    // The list's order says nothing; the key is given by places in the list.
    let columns = [(3, "Int16"), (0, "Int32"), (1, "Int64")];
    let encoder = Encoder::new(&table, &columns, &[0, 2], VALUES).unwrap();
    let image = images(&table, &[&["1", "2", "3", "4"]]);
    let types = ["Int32", "Int64", "Int16"];
    let mut out = Vec::new();
    encoder.encode(&image, &mut out, &mut Scratch::default()).unwrap();
    assert_eq!(read_rows(&types, &out), ["1;2;4"]);
    out.clear();
    assert_eq!(encoder.encode_key(&image, &mut out, &mut Scratch::default()).unwrap(), image.len());
    assert_eq!(read_rows(&types, &out), ["0;2;4"]);
    assert_eq!(read_rows(&types, encoder.absent()), ["0;0;0"]);
}

#[test]
fn a_tombstone_has_an_empty_value_of_every_type() {
    let mut columns = vec![int("id")];
    for (place, (ty, _)) in types().into_iter().enumerate() {
        columns.push(column(&format!("p{place}"), ty.clone(), false));
        columns.push(column(&format!("n{place}"), ty, true));
    }
    columns.push(int("last"));
    let table = schema(columns, key(&[0]));
    let last = table.columns.len() - 1;
    let texts: Vec<_> = table
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let place = if place == 0 || place == last { Place::Key } else { Place::Plain };
            target_type(&table.name, column, TYPES, place).unwrap()
        })
        .collect();
    let list: Vec<_> = texts.iter().enumerate().map(|(place, ty)| (place, ty.as_str())).collect();
    let encoder = Encoder::new(&table, &list, &[0, last], VALUES).unwrap();
    let values: Vec<&str> = std::iter::once("7")
        .chain(types().iter().flat_map(|(_, values)| [values[0].0, "~"]))
        .chain(std::iter::once("9"))
        .collect();
    let mut out = Vec::new();
    encoder.encode_key(&images(&table, &[&values]), &mut out, &mut Scratch::default()).unwrap();
    let rows = read_rows(&texts, &out);
    assert_eq!(rows.len(), 1);
    let shown: Vec<_> = rows[0].split(';').collect();
    assert_eq!((shown[0], shown[last]), ("7", "9"));
    for (place, value) in shown.iter().enumerate().take(last).skip(1) {
        let empty = match texts[place].as_str() {
            nullable if nullable.contains("Nullable") => "NULL",
            arrays if arrays.starts_with("Array") => "[]",
            strings if strings.contains("String") => "''",
            floats if floats.starts_with("Float") => "0.0",
            decimals if decimals.starts_with("Decimal") => value,
            "UUID" | "IPv6" => "0000000000000000 0000000000000000",
            _ => "0",
        };
        assert_eq!(*value, empty, "{}", texts[place]);
        assert!(value.chars().all(|c| "0.NUL[]' ".contains(c)), "{value} as {}", texts[place]);
    }
}

#[test]
fn encoding_every_type_allocates_nothing() {
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for (place, (ty, texts)) in types().into_iter().enumerate() {
        columns.push(column(&format!("c{place}"), ty, place % 2 == 0));
        values.push(texts[0].0);
    }
    for (name, text) in [("foreign", "abc"), ("kanji", "\u{65e5}\u{672c}")] {
        columns.push(column(name, varchar("sjis"), false));
        values.push(text);
    }
    let last = u16::try_from(columns.len() - 1).unwrap();
    let table = schema(columns, key(&[0, 3, last]));
    let texts: Vec<_> =
        table.columns.iter().map(|c| target_type(&table.name, c, TYPES, Place::Plain).unwrap()).collect();
    let list: Vec<_> = texts.iter().enumerate().map(|(place, ty)| (place, ty.as_str())).collect();
    let encoder = Encoder::new(&table, &list, &[0, 3, last.into()], VALUES).unwrap();
    let image = images(&table, &[&values]);
    let mut out = Vec::with_capacity(1 << 20);
    let mut scratch = Scratch::default();
    encoder.encode(&image, &mut out, &mut scratch).unwrap();
    let first = out.len();
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            encoder.encode(&image, &mut out, &mut scratch).unwrap();
            encoder.encode_key(&image, &mut out, &mut scratch).unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(out.len() > first * 100);
}

/// Encodes an image into one column, and says what was replaced.
fn encoded(table: &TableSchema, target: &str, image: &[u8], values: ValuePolicy) -> Result<(String, [u64; 3]), String> {
    let encoder = Encoder::new(table, &[(0, target)], &[], values).unwrap();
    let (mut out, mut scratch) = (Vec::new(), Scratch::default());
    let used = encoder.encode(image, &mut out, &mut scratch);
    used.map_err(|error| error.failure(&table.name).chain())?;
    let ReplacedValues { zero_dates, invalid_text, unconvertible } = scratch.take_replaced();
    Ok((read_rows(&[target], &out).remove(0), [zero_dates, invalid_text, unconvertible]))
}

#[test]
fn malformed_text_of_every_character_set_follows_the_policy() {
    for (charset, bytes, replaced, raw) in [
        ("utf8mb4", &b"a\xed\xa0\x80"[..], "'a\u{fffd}'", "x61eda080"),
        ("utf8mb3", b"\xff", "'\u{fffd}'", "xff"),
        ("ucs2", b"\xd8\x00", "'\u{fffd}'", "xd800"),
    ] {
        let (table, target) = one(&varchar(charset), false, TYPES);
        let mut image = Vec::new();
        let writer = ImageWriter::new(&table).unwrap();
        let mut row = writer.row(&mut image);
        row.bytes(bytes).unwrap();
        row.finish().unwrap();
        let with = |invalid_text| encoded(&table, &target, &image, ValuePolicy { invalid_text, ..VALUES });
        assert_eq!(with(InvalidText::Replace), Ok((replaced.to_owned(), [0, 1, 0])));
        assert_eq!(with(InvalidText::Bytes), Ok((raw.to_owned(), [0, 1, 0])));
        let error = with(InvalidText::Stop).unwrap_err();
        assert!(error.contains("\"v\" holds bytes that are not") && error.contains("`invalid_text`"), "{error}");
    }
}

#[test]
fn what_a_column_does_not_hold_is_null_where_the_policy_says_so_and_the_column_takes_it() {
    let native = ClickHouseTypes { json: JsonType::Json, sets: SetType::Array };
    let (documents, json) = one(&ColumnType::Json, true, native);
    let (integers, _) = one(&INT(IntWidth::W4, false), true, TYPES);
    for (table, target, value) in [(&documents, json.as_str(), "[1]"), (&integers, "Nullable(Int8)", "300")] {
        let image = images(table, &[&[value]]);
        let with = |unconvertible| encoded(table, target, &image, ValuePolicy { unconvertible, ..VALUES });
        assert_eq!(with(Unconvertible::Null), Ok(("NULL".to_owned(), [0, 0, 1])));
        for refused in [with(Unconvertible::Stop), with(Unconvertible::Text)] {
            let error = refused.unwrap_err();
            assert!(error.contains("`unconvertible: null`"), "{error}");
        }
    }
    let values = ValuePolicy { unconvertible: Unconvertible::Null, ..VALUES };
    let image = images(&integers, &[&["300"]]);
    assert!(encoded(&integers, "Int8", &image, values).is_err(), "no NULL stands there");
    let encoder = Encoder::new(&integers, &[(0, "Nullable(Int8)")], &[0], values).unwrap();
    assert!(encoder.encode(&image, &mut Vec::new(), &mut Scratch::default()).is_err(), "nor in a key");
}

#[test]
fn keys_that_would_be_one_are_not_encoded_alone_or_with_their_row() {
    let (table, target) = one(&varchar("sjis"), false, TYPES);
    let encoder = Encoder::new(&table, &[(0, &target)], &[0], VALUES).unwrap();
    let writer = ImageWriter::new(&table).unwrap();
    for (bytes, is_written) in [(&b"\\"[..], true), (b"\x81\x5f", false), (b"\x85\x40", false)] {
        let mut image = Vec::new();
        let mut row = writer.row(&mut image);
        row.bytes(bytes).unwrap();
        row.finish().unwrap();
        let (mut out, mut scratch) = (Vec::new(), Scratch::default());
        assert_eq!(encoder.encode(&image, &mut out, &mut scratch).is_ok(), is_written, "{bytes:x?}");
        assert_eq!(encoder.encode_key(&image, &mut out, &mut scratch).is_ok(), is_written, "{bytes:x?}");
    }
}
