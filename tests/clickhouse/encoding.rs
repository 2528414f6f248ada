//! What the encoder writes is what the engine shows, for every type at its extremes: in a table, and in its key.

use std::fmt::Write as _;

use replicator::codec::row_image::ImageWriter;
use replicator::config::{ValuePolicy, ZeroDates};
use replicator::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, Key, KeyKind, TableName, TableSchema};
use replicator::sink::clickhouse::{Encoder, Scratch};

use crate::support::clickhouse::ClickHouse;

const VALUES: ValuePolicy = ValuePolicy::new(ZeroDates::Epoch);

/// Source types, the column's type in ClickHouse, and values as (the source's text, the engine's text in TSV).
fn types() -> Vec<(ColumnType, &'static str, Vec<(&'static str, &'static str)>)> {
    use ColumnType as T;
    let int = |width, unsigned| T::Int { width, unsigned };
    let members = || vec!["a".to_owned(), "b c".to_owned()];
    let same = |values: &[&'static str]| values.iter().map(|value| (*value, *value)).collect::<Vec<_>>();
    let wide = "-99999999999999999999999999999999999.999999999999999999999999999999";
    vec![
        (int(IntWidth::W1, false), "Int8", same(&["-128", "127"])),
        (int(IntWidth::W1, true), "UInt8", same(&["255"])),
        (int(IntWidth::W2, false), "Int16", same(&["-32768"])),
        (int(IntWidth::W3, false), "Int32", same(&["-8388608", "8388607"])),
        (int(IntWidth::W4, true), "UInt32", same(&["4294967295"])),
        (int(IntWidth::W8, false), "Int64", same(&["-9223372036854775808"])),
        (int(IntWidth::W8, true), "UInt64", same(&["18446744073709551615"])),
        (int(IntWidth::W1, false), "Int256", same(&["-128", "127"])),
        (T::Float, "Float32", same(&["0.1", "-16777216"])),
        (T::Double, "Float64", same(&["0.1", "-5e-324", "1.7976931348623157e308"])),
        (T::Decimal { precision: 9, scale: 2 }, "Decimal(9, 2)", same(&["-9999999.99"])),
        (T::Decimal { precision: 18, scale: 0 }, "Decimal(18, 0)", same(&["999999999999999999"])),
        (T::Decimal { precision: 38, scale: 0 }, "Decimal(38, 0)", same(&["-99999999999999999999999999999999999999"])),
        (T::Decimal { precision: 65, scale: 30 }, "Decimal(65, 30)", same(&[wide])),
        (T::Year, "UInt16", vec![("0000", "0"), ("2155", "2155")]),
        (
            T::Date,
            "Date32",
            vec![
                ("0000-01-01", "0000-01-01"),
                ("1000-01-01", "1000-01-01"),
                ("9999-12-31", "9999-12-31"),
                ("0000-00-00", "1970-01-01"),
                ("2024-02-00", "1970-01-01"),
            ],
        ),
        (T::DateTime { fsp: 0 }, "DateTime64(0, 'UTC')", same(&["0001-01-01 00:00:01", "9999-12-31 23:59:59"])),
        (
            T::DateTime { fsp: 6 },
            "DateTime64(6, 'UTC')",
            same(&["1000-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"]),
        ),
        (
            T::Timestamp { fsp: 3 },
            "DateTime64(3, 'UTC')",
            same(&["1970-01-01 00:00:01.001", "2038-01-19 03:14:07.999"]),
        ),
        (T::Time { fsp: 0 }, "Time64(0)", same(&["-838:59:59", "00:00:00"])),
        (T::Time { fsp: 6 }, "Time64(6)", same(&["-00:00:00.000001", "838:59:59.000000"])),
        (
            T::VarChar { max_bytes: 400, charset: Charset::new("utf8mb4") },
            "String",
            vec![("", ""), ("\u{1f600} it's", "\u{1f600} it\\'s"), ("a\0b", "a\\0b")],
        ),
        (T::Binary { length: 3 }, "String", vec![("a", "a\\0\\0")]),
        (T::Enum { members: members() }, "LowCardinality(String)", same(&["b c"])),
        (T::Set { members: members() }, "Array(String)", vec![("a,b c", "['a','b c']"), ("", "[]")]),
        (T::Json, "String", same(&["{\"a\": [1, null]}"])),
        (T::Vector, "Array(Float32)", vec![("\0\0\0?\0\0\0\0", "[0.5,0]")]),
        (
            T::Uuid,
            "UUID",
            same(&[
                "00112233-4455-6677-8899-aabbccddee00",
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ]),
        ),
        (T::Inet6, "IPv6", same(&["2001:db8::ff00", "::", "::ffff:1.2.3.4"])),
        (T::Inet4, "IPv4", same(&["1.2.3.0", "0.0.0.0", "255.255.255.255"])),
        (T::Inet6, "String", same(&["1:2:3:4:5:6::8", "::0.1.0.0"])),
    ]
}

fn column(name: String, ty: ColumnType, nullable: bool) -> Column {
    Column { name, ty, nullable, default: ColumnDefault::Unknown, attributes: None, collation: None }
}

/// Every type twice, not null and nullable, behind a number.
fn wide_table() -> (TableSchema, Vec<String>) {
    let mut columns = vec![column("id".into(), ColumnType::Int { width: IntWidth::W4, unsigned: false }, false)];
    let mut texts = vec!["Int32".to_owned()];
    for (place, (ty, text, _)) in types().into_iter().enumerate() {
        columns.push(column(format!("p{place}"), ty.clone(), false));
        texts.push(text.to_owned());
        // A SET that can be NULL is no array.
        if text.starts_with("Array") {
            continue;
        }
        columns.push(column(format!("n{place}"), ty, true));
        texts.push(match text {
            "LowCardinality(String)" => "LowCardinality(Nullable(String))".to_owned(),
            text => format!("Nullable({text})"),
        });
    }
    let key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
    (TableSchema { name: TableName::new("shop", "wide"), columns, key }, texts)
}

async fn create(server: &ClickHouse, table: &str, schema: &TableSchema, types: &[String], order: &str) {
    let columns: Vec<_> = schema.columns.iter().zip(types).map(|(c, ty)| format!("{} {ty}", c.name)).collect();
    let sql = format!("CREATE TABLE replica.{table} ({}) ENGINE = MergeTree ORDER BY {order}", columns.join(", "));
    server.exec(sql).await;
}

/// Sends rows in RowBinary, through text that the engine turns back into the bytes.
async fn insert(server: &ClickHouse, table: &str, schema: &TableSchema, types: &[String], body: &[u8]) {
    let columns: Vec<_> = schema.columns.iter().zip(types).map(|(c, ty)| format!("{} {ty}", c.name)).collect();
    let structure = columns.join(", ").replace('\'', "\\'");
    let mut hex = String::new();
    for byte in body {
        write!(hex, "{byte:02X}").unwrap();
    }
    let sql = format!("INSERT INTO replica.{table} SELECT * FROM format('RowBinary', '{structure}', unhex('{hex}'))");
    server.exec(sql).await;
}

fn encode(schema: &TableSchema, types: &[String], key: &[usize], rows: &[Vec<Option<&str>>]) -> Vec<u8> {
    let list: Vec<_> = types.iter().enumerate().map(|(place, ty)| (place, ty.as_str())).collect();
    let encoder = Encoder::new(schema, &list, key, VALUES).unwrap();
    let writer = ImageWriter::new(schema).unwrap();
    let mut out = Vec::new();
    for values in rows {
        let mut image = Vec::new();
        let mut row = writer.row(&mut image);
        for value in values {
            match value {
                Some(text) => row.text_protocol(text.as_bytes()).unwrap(),
                None => row.null().unwrap(),
            }
        }
        row.finish().unwrap();
        encoder.encode(&image, &mut out, &mut Scratch::default()).unwrap();
    }
    out
}

#[tokio::test]
async fn the_engine_shows_every_type_as_the_source_has_it() {
    let server = ClickHouse::start().await;
    let (schema, texts) = wide_table();
    create(&server, "wide", &schema, &texts, "id").await;
    let mut rows = Vec::new();
    let mut expected = Vec::new();
    for id in ["1", "2", "3", "4", "5"] {
        let nth = id.parse::<usize>().unwrap() - 1;
        let (mut row, mut shown) = (vec![Some(id)], vec![id]);
        for (_, text, values) in types() {
            let (value, seen) = values[nth % values.len()];
            row.push(Some(value));
            shown.push(seen);
            if !text.starts_with("Array") {
                // The last row has NULL wherever it can.
                row.push((nth < 4).then_some(value));
                shown.push(if nth < 4 { seen } else { "\\N" });
            }
        }
        rows.push(row);
        expected.push(shown.join("\t"));
    }

    insert(&server, "wide", &schema, &texts, &encode(&schema, &texts, &[0], &rows)).await;

    let seen = server.query("SELECT * FROM replica.wide ORDER BY id FORMAT TSV").await;
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(seen, expected);
    let described = server.query("SELECT type FROM system.columns WHERE database = 'replica' AND table = 'wide' ORDER BY position FORMAT TSVRaw").await;
    assert_eq!(described.lines().collect::<Vec<_>>(), texts, "the types are written as the engine names them");
}

#[tokio::test]
async fn every_type_can_be_a_key() {
    let server = ClickHouse::start().await;
    for (place, (ty, text, values)) in types().into_iter().enumerate() {
        // With the zero date its own key, no other date that is shown as 1970-01-01 may stand in a key.
        let values: Vec<_> = values.into_iter().filter(|(value, _)| *value != "2024-02-00").collect();
        let key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
        let schema =
            TableSchema { name: TableName::new("shop", "k"), columns: vec![column("k".into(), ty, false)], key };
        let (table, types) = (format!("k{place}"), vec![text.to_owned()]);
        create(&server, &table, &schema, &types, "(k)").await;
        let rows: Vec<_> = values.iter().map(|(value, _)| vec![Some(*value)]).collect();
        insert(&server, &table, &schema, &types, &encode(&schema, &types, &[0], &rows)).await;
        let seen = server.query(format!("SELECT k FROM replica.{table} FORMAT TSV")).await;
        let mut seen: Vec<_> = seen.lines().collect();
        let mut expected: Vec<_> = values.iter().map(|(_, shown)| *shown).collect();
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected, "{text}");
    }
}
