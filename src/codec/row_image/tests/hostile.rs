//! Bytes from anywhere: errors, never a panic, and the two walks agree.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Plan, ReadError};
use super::*;

/// One column of each kind, so that any bytes reach every op.
fn every_type() -> TableSchema {
    let charset = || Charset::new("utf8mb4");
    let mut types = vec![
        int(IntWidth::W1),
        int(IntWidth::W3),
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Decimal { precision: 20, scale: 5 },
        ColumnType::Year,
        ColumnType::Date,
        ColumnType::Bit { bits: 11 },
        ColumnType::Char { max_bytes: 40, charset: charset() },
        varchar(300, "sjis"),
        varchar(30, "utf16"),
        varchar(30, "ujis"),
        varchar(30, "gb18030"),
        ColumnType::Text { length_bytes: 3, charset: charset() },
        ColumnType::Binary { length: 10 },
        ColumnType::Blob { length_bytes: 4 },
        ColumnType::Enum { members: members(&["a", "b"]) },
        ColumnType::Set { members: members(&["a", "b", "c"]) },
        ColumnType::Json,
        ColumnType::Geometry,
        ColumnType::Vector,
        ColumnType::Uuid,
        ColumnType::Inet6,
        ColumnType::Inet4,
    ];
    for fsp in 0..=6 {
        types.push(ColumnType::Time { fsp });
        types.push(ColumnType::DateTime { fsp });
        types.push(ColumnType::Timestamp { fsp });
    }
    table(types)
}

fn check(plan: &Plan, bytes: &[u8]) {
    let len = plan.image_len(bytes);
    match plan.read(bytes, &mut Collect::default()) {
        Ok(consumed) => assert_eq!(len, Ok(consumed)),
        // A malformed value has a length all the same.
        Err(ReadError::Image(_) | ReadError::Visitor(_)) => {}
    }
    if let Ok(len) = len {
        assert!(len <= bytes.len());
    }
    let _counted = plan.count_rows(bytes, 2);
    let _hashed = plan.key_hash(&[0, 9, 20], bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_an_image_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
        check(&Plan::all(&every_type()).unwrap(), &bytes);
    }

    #[test]
    fn any_single_value_is_read_or_refused(column in 0..42_usize, bytes in vec(any::<u8>(), 0..64)) {
        let plan = Plan::all(&every_type()).unwrap();
        let _read = plan.cell(column, &bytes, &mut Collect::default());
    }

    #[test]
    fn any_json_document_is_printed_or_refused(
        kind in 0..16_u8,
        bytes in vec(prop_oneof![0..8_u8, any::<u8>()], 0..200),
    ) {
        let plan = Plan::all(&table(vec![ColumnType::Json])).unwrap();
        let mut image = vec![0];
        image.extend_from_slice(&u32::try_from(1 + bytes.len()).unwrap().to_le_bytes());
        image.push(kind);
        image.extend_from_slice(&bytes);
        check(&plan, &image);
    }
}
