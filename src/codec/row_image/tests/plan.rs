//! Compiling, skipping, counting, and single cells.

use super::super::{ImageError, Plan, PlanError, ReadError};
use super::*;

#[test]
fn a_skipped_column_is_not_visited_and_the_others_keep_their_places() {
    let schema = table(vec![int(IntWidth::W2), varchar(300, "latin1"), int(IntWidth::W1)]);
    let plan = Plan::compile(&schema, &[false, false, true]).unwrap();
    let mut collect = Collect::default();
    let image = b"\0\x01\x02\x02\0ab\x05";
    assert_eq!(plan.read(image, &mut collect), Ok(image.len()));
    assert_eq!(collect.values, [(2, Value::Int(5))]);
    let mut collect = Collect::default();
    assert_eq!(plan.read(b"\x03\x05", &mut collect), Ok(2));
    assert_eq!(collect.values, [(2, Value::Int(5))]);
}

#[test]
fn nulls_of_every_combination_take_no_bytes() {
    let types = vec![
        int(IntWidth::W1),
        int(IntWidth::W4),
        varchar(10, "latin1"),
        int(IntWidth::W2),
        ColumnType::Date,
        varchar(10, "latin1"),
        int(IntWidth::W8),
    ];
    let sizes = [1, 4, 3, 2, 3, 3, 8];
    let plan = Plan::all(&table(types)).unwrap();
    for nulls in 0..128_u8 {
        let mut image = vec![nulls];
        for (column, size) in sizes.iter().enumerate() {
            if nulls >> column & 1 == 0 {
                // Two bytes behind the length of a string, zeros elsewhere.
                image.push(if *size == 3 && column != 4 { 2 } else { 0 });
                image.resize(image.len() + size - 1, 0);
            }
        }
        assert_eq!(plan.image_len(&image), Ok(image.len()), "{nulls:07b}");
        let values = read_all(&plan, &image);
        for (column, value) in values.iter().enumerate() {
            assert_eq!(*value == Value::Null, nulls >> column & 1 == 1);
        }
        for short in 0..image.len() {
            assert!(plan.image_len(&image[..short]).is_err());
            assert!(plan.read(&image[..short], &mut Collect::default()).is_err());
        }
    }
}

#[test]
fn more_than_64_columns_use_more_than_one_word_of_nulls() {
    let plan = Plan::all(&table(vec![int(IntWidth::W1); 130])).unwrap();
    let mut image = vec![0; 17];
    image[0] = 0b1;
    image[8] = 0b10;
    image[16] = 0b10;
    image.extend((0..127).map(|value: u8| value));
    let values = read_all(&plan, &image);
    let null: Vec<_> = (0..130).filter(|at| values[*at] == Value::Null).collect();
    assert_eq!(null, [0, 65, 129]);
    assert_eq!(values[128], Value::Int(126));
    assert_eq!(plan.image_len(&image), Ok(17 + 127));
}

#[test]
fn bits_past_the_last_column_mean_nothing() {
    let plan = Plan::all(&table(vec![int(IntWidth::W1)])).unwrap();
    assert_eq!(plan.image_len(b"\xfe\x07"), Ok(2));
    assert_eq!(read_all(&plan, b"\xfe\x07"), [Value::Int(7)]);
}

#[test]
fn a_body_must_end_where_its_last_row_ends() {
    let plan = Plan::all(&table(vec![varchar(10, "latin1")])).unwrap();
    assert_eq!(plan.count_rows(b"", 1), Ok(0));
    assert_eq!(plan.count_rows(b"\0\x01a\x01\0\0", 1), Ok(3));
    assert_eq!(plan.count_rows(b"\0\x01a\x01", 2), Ok(1));
    assert_eq!(plan.count_rows(b"\0\x01a\x01\0\0", 2), Err(ImageError::HalfRow { images: 3, images_per_row: 2 }));
    assert_eq!(
        plan.count_rows(b"\0\x01a\0\x05ab", 1),
        Err(ImageError::Truncated { column: "c0".to_owned(), offset: 4, needed: 6, left: 3 })
    );
}

#[test]
fn a_cell_is_exactly_one_value() {
    let schema = table(vec![int(IntWidth::W1), varchar(10, "latin1")]);
    let plan = Plan::compile(&schema, &[false, true]).unwrap();
    let mut collect = Collect::default();
    assert_eq!(plan.cell(1, b"\x02ab", &mut collect), Ok(()));
    let text = Value::Text("ab".to_owned(), b"ab".to_vec());
    assert_eq!(collect.values, [(1, text)]);
    let error = |column, cell: &[u8]| {
        let mut collect = Collect::default();
        let error = plan.cell(column, cell, &mut collect).unwrap_err();
        assert_eq!(collect.values, []);
        error
    };
    assert_eq!(error(1, b"\x02abc"), ReadError::Image(ImageError::Trailing { column: "c1".to_owned(), left: 1 }));
    assert_eq!(
        error(1, b"\x02a"),
        ReadError::Image(ImageError::Truncated { column: "c1".to_owned(), offset: 0, needed: 3, left: 2 })
    );
    assert_eq!(error(0, b"\x02"), ReadError::Image(ImageError::NoColumn { column: 0 }));
    assert_eq!(error(2, b"\x02"), ReadError::Image(ImageError::NoColumn { column: 2 }));
}

#[test]
fn impossible_schemas_are_refused() {
    let refused = |ty| Plan::all(&table(vec![ty])).unwrap_err();
    assert_eq!(Plan::all(&table(vec![])).unwrap_err(), PlanError::Columns { columns: 0 });
    assert_eq!(
        Plan::compile(&table(vec![ColumnType::Year]), &[]).unwrap_err(),
        PlanError::Wanted { given: 0, columns: 1 }
    );
    assert_eq!(
        refused(ColumnType::Unsupported { code: 200, name: "inet6".to_owned() }),
        PlanError::Unsupported { column: "c0".to_owned(), type_name: "inet6".to_owned() }
    );
    let impossible = [
        ColumnType::Decimal { precision: 66, scale: 0 },
        ColumnType::Decimal { precision: 5, scale: 6 },
        ColumnType::Time { fsp: 7 },
        ColumnType::Bit { bits: 0 },
        ColumnType::Blob { length_bytes: 5 },
        ColumnType::Enum { members: vec![] },
        ColumnType::Set { members: vec![String::new(); 65] },
    ];
    for ty in impossible {
        assert!(matches!(refused(ty), PlanError::Shape { column, .. } if column == "c0"));
    }
}

#[test]
fn values_that_no_server_stores_are_refused_with_their_column() {
    let cases: [(ColumnType, &[u8], &str); 12] = [
        (ColumnType::Date, b"\xa0\x01\0", "a month above 12"),
        (ColumnType::Time { fsp: 0 }, b"\xff\xff\xff", "more than 838 hours"),
        (ColumnType::Time { fsp: 0 }, b"\x80\x0f\0", "a minute above 59"),
        (ColumnType::Time { fsp: 6 }, b"\x80\0\0\xff\xff\xff", "a fraction of a second or more"),
        (ColumnType::DateTime { fsp: 0 }, b"\0\0\0\0\0", "a date below zero"),
        (ColumnType::DateTime { fsp: 0 }, b"\xff\xff\xff\xff\xff", "a year above 9999"),
        (ColumnType::Timestamp { fsp: 2 }, b"\0\0\0\x01\x64", "a fraction of a second or more"),
        (ColumnType::Bit { bits: 3 }, b"\x08", "more bits are set than the column has"),
        (ColumnType::Decimal { precision: 2, scale: 0 }, b"\xff", "its groups are not decimal digits"),
        (ColumnType::Enum { members: members(&["a"]) }, b"\x02", "its ordinal is above the number of members"),
        (ColumnType::Set { members: members(&["a"]) }, b"\x02", "a bit is set that has no member"),
        (ColumnType::Binary { length: 1 }, b"\x02ab", "it is longer than its column"),
    ];
    for (ty, value, expected) in cases {
        let plan = Plan::all(&table(vec![int(IntWidth::W1), ty])).unwrap();
        let mut image = vec![0, 5];
        image.extend_from_slice(value);
        assert_eq!(
            plan.read(&image, &mut Collect::default()),
            Err(ReadError::Image(ImageError::Malformed { column: "c1".to_owned(), offset: 2, problem: expected }))
        );
    }
}

#[test]
fn bytes_that_are_left_over_are_no_row() {
    let plan = Plan::walker(&table(vec![int(IntWidth::W1), int(IntWidth::W1)])).unwrap();
    // MySQL has the bits past the last column clear, MariaDB has them set; of the last image every column is NULL.
    for (body, rows) in [(&[0, 1, 2][..], Some(1)), (&[0xfc, 1, 2, 0xfd, 3, 0xff], Some(3)), (&[0, 1, 2, 0x2b], None)] {
        assert_eq!(plan.count_rows(body, 1).ok(), rows, "{body:?}");
    }
    assert_eq!(plan.count_rows(&[0, 1, 2, 0x2b], 1), Err(ImageError::NoImage { offset: 3 }));
}
