//! Images that real servers wrote, with what the same servers print for every value. The files hold, per row, the image in
//! hex and a line per column; text and binary values are in hex (text in UTF-8), `ENUM`, `SET` and `BIT` as numbers.

use super::super::{ImageWriter, Plan};
use super::*;

const MYSQL: &str = include_str!("../golden/mysql_9_7.txt");
const MARIADB: &str = include_str!("../golden/mariadb_10_11.txt");

fn schema() -> TableSchema {
    let ints = [IntWidth::W1, IntWidth::W2, IntWidth::W3, IntWidth::W4, IntWidth::W8];
    let mut columns = vec![("id".to_owned(), int(IntWidth::W4))];
    for width in ints {
        for (letter, unsigned) in [('i', false), ('u', true)] {
            let name = format!("{letter}{}", width.bytes());
            columns.push((name, ColumnType::Int { width, unsigned }));
        }
    }
    let mut add = |name: &str, ty: ColumnType| columns.push((name.to_owned(), ty));
    let char_of = |max_bytes, charset| ColumnType::Char { max_bytes, charset: Charset::new(charset) };
    let text = |length_bytes, charset| ColumnType::Text { length_bytes, charset: Charset::new(charset) };
    add("f", ColumnType::Float);
    add("d", ColumnType::Double);
    let decimals = [(12, 2), (65, 30), (9, 9), (10, 0), (38, 10), (1, 1)];
    for (index, (precision, scale)) in decimals.into_iter().enumerate() {
        add(&format!("n{}", index + 1), ColumnType::Decimal { precision, scale });
    }
    add("y", ColumnType::Year);
    add("da", ColumnType::Date);
    for fsp in 0..=6 {
        add(&format!("t{fsp}"), ColumnType::Time { fsp });
    }
    for fsp in [0, 1, 3, 6] {
        add(&format!("dt{fsp}"), ColumnType::DateTime { fsp });
    }
    for fsp in [0, 1, 4, 6] {
        add(&format!("ts{fsp}"), ColumnType::Timestamp { fsp });
    }
    for bits in [1, 9, 64] {
        add(&format!("b{bits}"), ColumnType::Bit { bits });
    }
    add("c1", char_of(40, "utf8mb4"));
    add("c2", char_of(1020, "utf8mb4"));
    add("c3", char_of(5, "latin1"));
    add("c4", char_of(6, "ucs2"));
    add("v1", varchar(50, "latin1"));
    add("v2", varchar(1200, "utf8mb4"));
    add("x1", text(1, "utf8mb4"));
    add("x2", text(2, "cp1251"));
    add("x3", text(3, "utf8mb4"));
    add("x4", text(4, "utf8mb4"));
    add("bi1", ColumnType::Binary { length: 4 });
    add("bi2", ColumnType::Binary { length: 255 });
    add("vb1", ColumnType::VarBinary { max_bytes: 10 });
    add("vb2", ColumnType::VarBinary { max_bytes: 400 });
    for length_bytes in 1..=4 {
        add(&format!("bl{length_bytes}"), ColumnType::Blob { length_bytes });
    }
    let numbered = |count: u8| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>();
    add("e1", ColumnType::Enum { members: numbered(3) });
    for (name, count) in [("s1", 3), ("s9", 9), ("s40", 40)] {
        add(name, ColumnType::Set { members: numbered(count) });
    }
    add("g", ColumnType::Geometry);
    named(columns)
}

/// The images of a file, each with its columns' names and printed values.
fn rows(file: &str) -> Vec<(Vec<u8>, Vec<(String, String)>)> {
    let mut rows: Vec<(Vec<u8>, Vec<(String, String)>)> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('\t').unwrap();
        if name == "image" {
            rows.push((hex(value), Vec::new()));
        } else {
            let row = rows.last_mut().unwrap();
            row.1.push((name.to_owned(), value.to_owned()));
        }
    }
    rows
}

fn reads_as_printed(file: &str) {
    let schema = schema();
    let plan = Plan::all(&schema).unwrap();
    let rows = rows(file);
    assert_eq!(rows.len(), 4);
    let mut body = Vec::new();
    for (image, expected) in &rows {
        let values = read_all(&plan, image);
        let printed: Vec<_> =
            schema.columns.iter().zip(&values).map(|(column, value)| (column.name.clone(), value.printed())).collect();
        assert_eq!(&printed, expected);
        assert_eq!(plan.image_len(image), Ok(image.len()));
        body.extend_from_slice(image);
    }
    assert_eq!(plan.count_rows(&body, 1), Ok(4));
    assert_eq!(plan.count_rows(&body, 2), Ok(2));
}

fn writes_the_same_bytes(file: &str) {
    let schema = schema();
    let plan = Plan::all(&schema).unwrap();
    let writer = ImageWriter::new(&schema).unwrap();
    let bitmap = schema.columns.len().div_ceil(8);
    for (image, _) in rows(file) {
        let mut written = Vec::new();
        let mut row = writer.row(&mut written);
        for value in read_all(&plan, &image) {
            value.write(&mut row).unwrap();
        }
        row.finish().unwrap();
        assert_eq!(written[bitmap..], image[bitmap..]);
        // Servers differ in the bits past the last column.
        let unused = 0xff << (schema.columns.len() % 8);
        assert_eq!(written[..bitmap - 1], image[..bitmap - 1]);
        assert_eq!(written[bitmap - 1] | unused, image[bitmap - 1] | unused);
    }
}

/// What the text protocol would have sent: the printed value, with hex undone where the column is a string.
fn writes_the_same_bytes_from_text(file: &str) {
    let schema = schema();
    let writer = ImageWriter::new(&schema).unwrap();
    let plan = Plan::all(&schema).unwrap();
    for (image, printed) in rows(file) {
        let stored = read_all(&plan, &image);
        let mut written = Vec::new();
        let mut row = writer.row(&mut written);
        for ((_, text), value) in printed.iter().zip(&stored) {
            match value {
                Value::Null => row.null(),
                Value::Text(_, bytes) | Value::Bytes(bytes) | Value::Geometry(bytes) => row.text_protocol(bytes),
                Value::Bit(bits) => row.text_protocol(&bits.to_be_bytes()),
                Value::Enum(_, label) => row.text_protocol(label.as_bytes()),
                Value::Set(mask) => row.set(*mask),
                _ => row.text_protocol(text.as_bytes()),
            }
            .unwrap();
        }
        row.finish().unwrap();
        let bitmap = schema.columns.len().div_ceil(8);
        assert_eq!(written[bitmap..], image[bitmap..]);
    }
}

#[test]
fn every_type_of_mysql_reads_as_the_server_prints_it() {
    reads_as_printed(MYSQL);
}

#[test]
fn every_type_of_mariadb_reads_as_the_server_prints_it() {
    reads_as_printed(MARIADB);
}

#[test]
fn values_written_back_give_the_servers_bytes() {
    writes_the_same_bytes(MYSQL);
    writes_the_same_bytes(MARIADB);
}

#[test]
fn values_given_as_text_give_the_servers_bytes() {
    writes_the_same_bytes_from_text(MYSQL);
    writes_the_same_bytes_from_text(MARIADB);
}
