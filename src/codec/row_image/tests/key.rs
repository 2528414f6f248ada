//! Keys by hash and by comparison.

use super::super::{ImageError, ImageWriter, Plan};
use super::*;

fn image(writer: &ImageWriter, values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut image = Vec::new();
    let mut row = writer.row(&mut image);
    for value in values {
        match value {
            Some(value) => row.bytes(value).unwrap(),
            None => row.null().unwrap(),
        }
    }
    row.finish().unwrap();
    image
}

#[test]
fn the_borders_between_key_columns_count() {
    let schema = table(vec![varchar(600, "latin1"), varchar(600, "latin1")]);
    let plan = Plan::all(&schema).unwrap();
    let writer = ImageWriter::new(&schema).unwrap();
    let long = [b'x'; 500];
    let rows: [[Option<&[u8]>; 2]; 7] = [
        [Some(b"a"), Some(b"bc")],
        [Some(b"ab"), Some(b"c")],
        [Some(b"ab"), None],
        [None, Some(b"ab")],
        [Some(b"ab"), Some(b"")],
        [Some(&long), Some(b"")],
        [Some(b""), Some(&long)],
    ];
    let images: Vec<_> = rows.iter().map(|row| image(&writer, row)).collect();
    for (a, left) in images.iter().enumerate() {
        for (b, right) in images.iter().enumerate() {
            let hashes_agree = plan.key_hash(&[0, 1], left).unwrap() == plan.key_hash(&[0, 1], right).unwrap();
            assert_eq!(hashes_agree, a == b, "{a} {b}");
            assert_eq!(plan.same_key(&[0, 1], left, right).unwrap(), a == b);
        }
    }
    assert_ne!(plan.key_hash(&[0, 1], &images[0]).unwrap(), plan.key_hash(&[1, 0], &images[0]).unwrap());
}

#[test]
fn columns_outside_the_key_do_not_count() {
    let schema = table(vec![varchar(5, "latin1"), varchar(5, "latin1")]);
    let plan = Plan::all(&schema).unwrap();
    let writer = ImageWriter::new(&schema).unwrap();
    let before = image(&writer, &[Some(b"x"), Some(b"k")]);
    let after = image(&writer, &[None, Some(b"k")]);
    assert!(plan.same_key(&[1], &before, &after).unwrap());
    assert_eq!(plan.key_hash(&[1], &before).unwrap(), plan.key_hash(&[1], &after).unwrap());
    assert!(!plan.same_key(&[0], &before, &after).unwrap());
}

#[test]
fn a_key_longer_than_the_stack_buffer_hashes_the_same_bytes() {
    let schema = table(vec![varchar(1000, "latin1")]);
    let plan = Plan::all(&schema).unwrap();
    let writer = ImageWriter::new(&schema).unwrap();
    for len in [0, 1, 247, 248, 249, 1000] {
        let value = vec![b'k'; len];
        let mut framed = u64::try_from(len).unwrap().to_le_bytes().to_vec();
        framed.extend_from_slice(&value);
        assert_eq!(
            plan.key_hash(&[0], &image(&writer, &[Some(&value)])).unwrap(),
            xxhash_rust::xxh3::xxh3_128(&framed)
        );
    }
}

#[test]
fn a_padded_key_from_a_select_is_the_key_in_the_binlog() {
    let char_type = ColumnType::Char { max_bytes: 10, charset: Charset::new("latin1") };
    let schema = table(vec![char_type, ColumnType::Binary { length: 4 }]);
    let plan = Plan::all(&schema).unwrap();
    let writer = ImageWriter::new(&schema).unwrap();
    let selected = image(&writer, &[Some(b"ab   "), Some(b"k\0\0\0")]);
    assert_eq!(selected, b"\0\x02ab\x01k");
    assert!(plan.same_key(&[0, 1], &selected, b"\xfc\x02ab\x01k").unwrap());
}

#[test]
fn a_key_column_that_is_not_there_is_an_error() {
    let plan = Plan::all(&table(vec![int(IntWidth::W1)])).unwrap();
    let missing = ImageError::NoColumn { column: 1 };
    assert_eq!(plan.key_hash(&[1], b"\0\x01"), Err(missing.clone()));
    assert_eq!(plan.same_key(&[1], b"\0\x01", b"\0\x01"), Err(missing));
    assert!(plan.key_hash(&[0], b"\0").is_err());
    assert!(plan.key_hash(&[0], b"").is_err());
}
