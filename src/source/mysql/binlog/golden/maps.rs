//! `TABLE_MAP` events of real servers that the golden files do not have, without their headers.

use super::super::table_map::{Read, names, schema};
use super::*;
use crate::model::{Charset, ColumnType};

fn read(event: &str, mariadb: bool) -> Read {
    let bytes: Vec<u8> =
        (0..event.len()).step_by(2).map(|at| u8::from_str_radix(&event[at..at + 2], 16).unwrap()).collect();
    let collations = Collations::new([(8, "latin1"), (35, "ucs2"), (63, "binary"), (255, "utf8mb4"), (4, "cp850")]);
    schema(names(&bytes).unwrap(), mariadb, &collations).unwrap()
}

/// The types that an event tells, without the first column, which is `id INT`.
fn types(event: &str, mariadb: bool) -> Vec<ColumnType> {
    let Read::Told(told) = read(event, mariadb) else { panic!("{event}") };
    told.schema.columns.into_iter().skip(1).map(|column| column.ty).collect()
}

/// Why rows behind an event of MariaDB 10.11 cannot be read.
fn unread(event: &str) -> String {
    match read(event, true) {
        Read::Not(by) => by.to_string(),
        other @ Read::Told(_) => panic!("{other:?}"),
    }
}

fn text(charset: &str, length_bytes: u8) -> ColumnType {
    ColumnType::Text { length_bytes, charset: Charset::new(charset) }
}

#[test]
fn a_vector_counts_as_a_column_with_a_character_set() {
    let utf8 = |max_bytes| ColumnType::VarChar { max_bytes, charset: Charset::new("utf8mb4") };
    // CREATE TABLE w (id INT PRIMARY KEY, v VECTOR(3), a VARCHAR(10)) CHARSET utf8mb4
    let w =
        "9f000000000001000473686f70000177000303f20f030428000601010003043ffcff000d01030407026964017601610801000c01e0";
    assert_eq!(types(w, false), [ColumnType::Vector, utf8(40)]);

    // CREATE TABLE v (id INT PRIMARY KEY, v VECTOR(3), a VARCHAR(10), b TEXT CHARACTER SET latin1, g GEOMETRY, j JSON,
    //   e ENUM(x'82') CHARACTER SET cp850, c CHAR(3) CHARACTER SET ucs2, n INT UNSIGNED, y BLOB, w VECTOR(2))
    let v = "9d000000000001000473686f70000176000b03f20ffcfff5fefe03fcf20c042800020404f701fe060204fe0701014003083ffcff0008\
             233f3f0701000d02030204170269640176016101620167016a01650163016e017901770a010406030101820801000c02ffe0";
    assert_eq!(
        types(v, false),
        [
            ColumnType::Vector,
            utf8(40),
            text("latin1", 2),
            ColumnType::Geometry,
            ColumnType::Json,
            ColumnType::Enum { members: vec!["\u{e9}".into()] },
            ColumnType::Char { max_bytes: 6, charset: Charset::new("ucs2") },
            ColumnType::Int { width: crate::model::IntWidth::W4, unsigned: true },
            ColumnType::Blob { length_bytes: 2 },
            ColumnType::Vector,
        ]
    );
}

#[test]
fn labels_are_the_text_that_the_server_shows() {
    // CREATE TABLE l (id INT PRIMARY KEY, e ENUM('plain', x'c3a9', x'e9e8') CHARACTER SET binary)
    let l = "35000000000001000473686f7000016c000203fe02f70102010100040502696401650a013f060d0305706c61696e02c3a902e9e8080100";
    assert_eq!(types(l, true), [ColumnType::Enum { members: vec!["plain".into(), "\u{e9}".into(), "??".into()] }]);
}

#[test]
fn a_column_that_cannot_be_read_is_named_with_what_makes_it_one_that_can() {
    // CREATE TABLE c (id INT PRIMARY KEY, a BLOB COMPRESSED, c VARCHAR(500) COMPRESSED)
    let compressed = "32000000000001000473686f700001630003038c8d0302f5010601010003023f08040702696401610163080100";
    assert_eq!(
        unread(compressed),
        "its column \"a\" is COMPRESSED, which is not supported; it is read after ALTER TABLE .. MODIFY a .. without COMPRESSED"
    );
    // With mysql56_temporal_format=OFF: CREATE TABLE o (id INT PRIMARY KEY, t TIME(3), d DATETIME, ts TIMESTAMP NULL)
    let old = "33000000000001000473686f7000016f0004030b0c07000e010100040a02696401740164027473080100";
    assert_eq!(
        unread(old),
        "its column \"t\" is a TIME in the format of before MySQL 5.6, which is not supported; it is read after \
         ALTER TABLE .. FORCE, while mysql56_temporal_format is ON"
    );
    // A collation that the server does not list, in the place of that of `VARCHAR(10)`.
    let collation =
        "9f000000000001000473686f70000177000303f20f030428000601010003043ffcfe000d01030407026964017601610801000c01e0";
    match read(collation, false) {
        Read::Not(by) => assert!(
            by.to_string().contains("column \"a\" has the collation 254, which the server does not list"),
            "{by}"
        ),
        other @ Read::Told(_) => panic!("{other:?}"),
    }
    // The first of them with the code 200 in the place of its third column's, of which nobody knows the metadata.
    let unknown = compressed.replacen("038c8d03", "038cc803", 1);
    assert_eq!(
        unread(&unknown),
        "its column \"c\" has the type code 200, which is not supported; it is read after a change of the column's type"
    );
}
