//! What the writer refuses, and the literals of column defaults.

use super::super::{DateTime, ImageWriter, Plan, RowBuilder, Timestamp, WriteError};
use super::*;

/// What one value gives as an image behind its null bitmap, or the error.
fn write(
    ty: ColumnType,
    give: impl FnOnce(&mut RowBuilder<'_>) -> Result<(), WriteError>,
) -> Result<Vec<u8>, WriteError> {
    let writer = ImageWriter::new(&table(vec![ty])).unwrap();
    let mut image = b"before".to_vec();
    let mut row = writer.row(&mut image);
    let given = give(&mut row).and_then(|()| row.finish());
    if given.is_err() {
        assert_eq!(image, b"before");
    }
    given.map(|_| image[7..].to_vec())
}

fn refused(ty: ColumnType, give: impl FnOnce(&mut RowBuilder<'_>) -> Result<(), WriteError>) -> String {
    write(ty, give).unwrap_err().to_string()
}

fn default(ty: ColumnType, text: &str) -> Result<Vec<u8>, WriteError> {
    ImageWriter::new(&table(vec![ty])).unwrap().from_text(0, text.as_bytes())
}

fn decimal(precision: u8, scale: u8) -> ColumnType {
    ColumnType::Decimal { precision, scale }
}

#[test]
fn integers_keep_to_their_columns_range() {
    for (width, least, most) in [
        (IntWidth::W1, -128, 127),
        (IntWidth::W2, -32768, 32767),
        (IntWidth::W3, -8_388_608, 8_388_607),
        (IntWidth::W4, -2_147_483_648, 2_147_483_647),
        (IntWidth::W8, i64::MIN, i64::MAX),
    ] {
        for value in [least, most] {
            let bytes = write(int(width), |row| row.int(value)).unwrap();
            assert_eq!(bytes, value.to_le_bytes()[..width.bytes()]);
        }
        if width != IntWidth::W8 {
            for value in [least - 1, most + 1] {
                assert_eq!(
                    refused(int(width), |row| row.int(value)),
                    "column \"c0\": the integer is outside the column's range"
                );
            }
        }
    }
    let unsigned = ColumnType::Int { width: IntWidth::W8, unsigned: true };
    assert_eq!(write(unsigned.clone(), |row| row.uint(u64::MAX)).unwrap(), [0xff; 8]);
    assert_eq!(refused(unsigned, |row| row.int(-1)), "column \"c0\": the integer is outside the column's range");
}

#[test]
fn decimals_are_never_rounded() {
    let give = |text: &'static str| move |row: &mut RowBuilder<'_>| row.decimal(text.as_bytes());
    assert_eq!(write(decimal(4, 2), give("1.5")).unwrap(), [0x81, 50]);
    assert_eq!(write(decimal(4, 2), give("-1.50")).unwrap(), [0x7e, 205]);
    assert_eq!(write(decimal(4, 2), give("-0.00")).unwrap(), [0x80, 0]);
    assert_eq!(write(decimal(4, 2), give("0012.340")).unwrap(), [0x8c, 34]);
    // The manual's example: 1234567890.1234 in DECIMAL(14,4), both ways.
    assert_eq!(write(decimal(14, 4), give("1234567890.1234")).unwrap(), hex("810dfb38d204d2"));
    assert_eq!(write(decimal(14, 4), give("-1234567890.1234")).unwrap(), hex("7ef204c72dfb2d"));
    for text in ["100", "1.234"] {
        assert_eq!(refused(decimal(4, 2), give(text)), "column \"c0\": the decimal has more digits than the column");
    }
    for text in ["", ".", "-", "1e3", "1.2.3", " 1", "0x10"] {
        assert_eq!(refused(decimal(4, 2), give(text)), "column \"c0\": the text is not a decimal number");
    }
}

#[test]
fn strings_keep_to_their_columns_length() {
    assert_eq!(
        refused(varchar(3, "latin1"), |row| row.bytes(b"abcd")),
        "column \"c0\": a value of 4 bytes, at most 3 fit"
    );
    let tiny = ColumnType::Blob { length_bytes: 1 };
    assert_eq!(
        refused(tiny.clone(), |row| row.bytes(&[0; 256])),
        "column \"c0\": a value of 256 bytes, at most 255 fit"
    );
    assert_eq!(write(tiny, |row| row.bytes(&[7; 255])).unwrap()[0], 255);
    assert_eq!(write(varchar(256, "latin1"), |row| row.bytes(b"a ")).unwrap(), b"\x02\0a ");
    let ucs2 = ColumnType::Char { max_bytes: 8, charset: Charset::new("ucs2") };
    assert_eq!(write(ucs2, |row| row.bytes(b"\x20\0\0\x20\0\x20")).unwrap(), b"\x02\x20\0");
}

#[test]
fn a_value_of_another_kind_is_refused() {
    assert_eq!(refused(ColumnType::Date, |row| row.int(5)), "column \"c0\" does not take an integer");
    assert_eq!(refused(int(IntWidth::W1), |row| row.bytes(b"5")), "column \"c0\" does not take a string");
}

#[test]
fn null_needs_a_column_that_allows_it() {
    let mut schema = table(vec![ColumnType::Date]);
    schema.columns[0].nullable = false;
    let writer = ImageWriter::new(&schema).unwrap();
    let mut image = Vec::new();
    let error = writer.row(&mut image).null().unwrap_err();
    assert_eq!(error.to_string(), "column \"c0\": it does not allow NULL");
}

#[test]
fn a_row_has_as_many_values_as_the_table_has_columns() {
    let writer = ImageWriter::new(&table(vec![int(IntWidth::W1); 2])).unwrap();
    let mut image = Vec::new();
    let mut row = writer.row(&mut image);
    row.int(1).unwrap();
    assert_eq!(row.finish(), Err(WriteError::Count { given: 1, columns: 2 }));
    let mut row = writer.row(&mut image);
    row.int(1).unwrap();
    row.int(2).unwrap();
    assert_eq!(row.int(3), Err(WriteError::Count { given: 3, columns: 2 }));
    assert_eq!(row.finish(), Ok(3));
    assert_eq!(image, [0, 1, 2]);
}

#[test]
fn a_fraction_of_more_digits_than_the_column_is_refused() {
    let half = Timestamp { seconds: 1, micros: 510_000, fsp: 6 };
    assert_eq!(write(ColumnType::Timestamp { fsp: 2 }, |row| row.timestamp(half)).unwrap(), [0, 0, 0, 1, 51]);
    assert_eq!(
        refused(ColumnType::Timestamp { fsp: 1 }, |row| row.timestamp(half)),
        "column \"c0\": the fraction has more digits than the column"
    );
}

#[test]
fn instants_outside_the_types_range_are_refused() {
    let stamp = ColumnType::Timestamp { fsp: 0 };
    for text in [
        "1969-12-31 23:59:59",
        "1970-01-01 00:00:00",
        "2106-02-07 06:28:16",
        "2023-02-29 00:00:00",
        "2023-00-00 00:00:00",
    ] {
        assert_eq!(
            refused(stamp.clone(), |row| row.text_protocol(text.as_bytes())),
            "column \"c0\": the instant is outside 1970-01-01 to 2106-02-07"
        );
    }
    let last = write(stamp.clone(), |row| row.text_protocol(b"2106-02-07 06:28:15"));
    assert_eq!(last.unwrap(), [0xff; 4]);
    let zero = write(stamp, |row| row.text_protocol(b"0000-00-00 00:00:00"));
    assert_eq!(zero.unwrap(), [0; 4]);
}

#[test]
fn every_day_until_2106_has_one_timestamp() {
    let plan = Plan::all(&table(vec![ColumnType::Timestamp { fsp: 0 }])).unwrap();
    let writer = ImageWriter::new(&table(vec![ColumnType::Timestamp { fsp: 0 }])).unwrap();
    let mut before: Option<DateTime> = None;
    for day in 0..=u32::MAX / 86_400 {
        let stamp = Timestamp { seconds: day * 86_400 + 1, micros: 0, fsp: 0 };
        let fields = stamp.utc();
        let mut image = Vec::new();
        let mut row = writer.row(&mut image);
        row.timestamp_utc(fields).unwrap();
        row.finish().unwrap();
        assert_eq!(read_all(&plan, &image), [Value::Timestamp(stamp)]);
        let order = |fields: &DateTime| (fields.date.year, fields.date.month, fields.date.day);
        assert!(before.is_none_or(|before| order(&before) < order(&fields)));
        before = Some(fields);
    }
}

#[test]
fn defaults_of_information_schema_become_cells() {
    let text = |charset: &str| varchar(20, charset);
    let labels = members(&["a", "b"]);
    let cells: [(ColumnType, &str, &[u8]); 17] = [
        (int(IntWidth::W2), "-5", b"\xfb\xff"),
        (decimal(5, 2), "1.50", b"\x80\x01\x32"),
        (ColumnType::Double, "0.5", b"\0\0\0\0\0\0\xe0\x3f"),
        (ColumnType::Float, "1.5", b"\0\0\xc0\x3f"),
        (ColumnType::Year, "2020", b"\x78"),
        (ColumnType::Date, "2020-01-31", b"\x3f\xc8\x0f"),
        (ColumnType::Date, "0000-00-00", b"\0\0\0"),
        (ColumnType::Time { fsp: 0 }, "-838:59:59", b"\x4b\x91\x05"),
        (ColumnType::DateTime { fsp: 0 }, "2020-01-01 00:00:00", b"\x99\xa5\x42\0\0"),
        (ColumnType::Timestamp { fsp: 2 }, "1970-01-01 00:00:01.50", b"\0\0\0\x01\x32"),
        (ColumnType::Bit { bits: 10 }, "b'101'", b"\0\x05"),
        (text("latin1"), "\u{e9}", b"\x01\xe9"),
        (text("utf8mb4"), "", b"\0"),
        (ColumnType::VarBinary { max_bytes: 8 }, "0x6162", b"\x02ab"),
        (ColumnType::Binary { length: 4 }, "0x61620000", b"\x02ab"),
        (ColumnType::Enum { members: labels.clone() }, "b", b"\x02"),
        (ColumnType::Set { members: labels.clone() }, "a,b", b"\x03"),
    ];
    for (ty, text, cell) in cells {
        assert_eq!(default(ty.clone(), text).unwrap(), cell, "{ty:?} {text}");
    }
    let refused = [
        (int(IntWidth::W1), "128"),
        (int(IntWidth::W1), "uuid()"),
        (ColumnType::Date, "2020-13-01"),
        (ColumnType::Date, "2020-1-1"),
        (ColumnType::DateTime { fsp: 0 }, "CURRENT_TIMESTAMP"),
        (ColumnType::Time { fsp: 0 }, "839:00:00"),
        (ColumnType::Year, "1900"),
        (ColumnType::Bit { bits: 2 }, "b'101'"),
        (ColumnType::Bit { bits: 2 }, "1"),
        (text("latin1"), "\u{65e5}"),
        (ColumnType::VarBinary { max_bytes: 8 }, "ab"),
        (ColumnType::Enum { members: labels.clone() }, "c"),
        (ColumnType::Set { members: labels }, "a,c"),
    ];
    for (ty, text) in refused {
        let error = default(ty.clone(), text).unwrap_err().to_string();
        assert!(error.starts_with("column \"c0\""), "{ty:?} {text}: {error}");
    }
}
