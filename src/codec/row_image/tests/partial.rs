//! Images with some of the columns only. What real servers write of them is in the binlog's own tests.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::{ImageError, PartialImages, Plan, Present, Shape};
use super::*;

/// `INT`, text, `INT`, `JSON`, `TINYINT`: the last one a column of the server's own.
fn plan() -> Arc<Plan> {
    let types = vec![int(IntWidth::W4), varchar(20, "latin1"), int(IntWidth::W4), ColumnType::Json, int(IntWidth::W1)];
    Arc::new(Plan::walker(&table(types)).unwrap())
}

const OWN: usize = 4;

fn present(columns: &[usize]) -> Present {
    let bits = columns.iter().fold(0, |bits, column| bits | 1 << column);
    Present::from_bitmap(&[bits], 5)
}

fn images(shape: Shape, bytes: &[u8]) -> Result<PartialImages<'_>, ImageError> {
    PartialImages::new(plan(), OWN, shape, Cow::Borrowed(bytes))
}

fn update(before: &[usize], after: &[usize]) -> Shape {
    Shape { before: Some(present(before)), after: Some(present(after)), may_have_diffs: false }
}

#[test]
fn null_bits_count_the_columns_of_the_image_alone() {
    // Columns 1, 2, 4: the second is NULL. Filler set, as MariaDB has it, then clear.
    let rows = [&[0xfa][..], b"\x02ab", &[9], &[0x02], b"\x00", &[7]].concat();
    let found = images(Shape { before: None, after: Some(present(&[1, 2, 4])), may_have_diffs: false }, &rows).unwrap();
    assert_eq!((found.rows(), found.columns()), (2, 4));
    let after = |row: usize| found.iter().nth(row).unwrap().unwrap().after.unwrap();
    assert_eq!(after(0).key(&[1]).unwrap(), b"\x02ab");
    assert_eq!(after(1).key(&[1]).unwrap(), b"\x00");
    assert!(after(0).has(2) && !after(0).has(0) && !after(0).has(4), "a column that is kept by the server is not told");
    for unknown in [[0], [2], [3], [4], [9]] {
        assert_eq!(after(0).key(&unknown), None, "{unknown:?}");
    }
    assert_eq!((found.completed(), after(0).image()), (Ok(None), None));
}

#[test]
fn what_an_update_does_not_tell_is_as_it_was() {
    let before = b"\x08\x01\0\0\0\x01x\x05\0\0\0";
    let rows = [&before[..], b"\xfe\x02\0\0\0", &before[..], b"\xfd\x09\0\0\0"].concat();
    let found = images(update(&[0, 1, 2, 3], &[0]), &rows[..16]).unwrap();
    assert_eq!(found.completed().unwrap().unwrap(), b"\x08\x01\0\0\0\x01x\x05\0\0\0\x08\x02\0\0\0\x01x\x05\0\0\0");
    let row = found.iter().next().unwrap().unwrap();
    assert_eq!(row.before.unwrap().key(&[1, 0]).unwrap(), b"\x01x\x01\0\0\0");
    assert_eq!(row.after.unwrap().key(&[1, 0]).unwrap(), b"\x01x\x02\0\0\0");
    assert!(!found.have_every_column());
    // A column that is NULL now, and was not.
    let found = images(update(&[0, 1, 2, 3], &[0, 1]), b"\x08\x01\0\0\0\x01x\x05\0\0\0\x02\x03\0\0\0").unwrap();
    assert_eq!(found.completed().unwrap().unwrap(), b"\x08\x01\0\0\0\x01x\x05\0\0\0\x0a\x03\0\0\0\x05\0\0\0");
}

#[test]
fn a_diff_is_no_value_but_one_of_no_bytes_leaves_what_was() {
    let shape =
        |after: &[usize]| Shape { before: Some(present(&[0, 3])), after: Some(present(after)), may_have_diffs: true };
    let before = b"\0\x01\0\0\0\x02\0\0\0{}";
    let row = |after: &[u8]| [&before[..], after].concat();

    let diff = row(b"\x01\x01\0\x03\0\0\0xyz");
    let found = images(shape(&[3]), &diff).unwrap();
    let after = found.iter().next().unwrap().unwrap().after.unwrap();
    assert!(found.has_diffs() && after.has(0) && !after.has(3));
    assert_eq!((after.key(&[3]), after.key(&[0]).unwrap()), (None, b"\x01\0\0\0".to_vec()));

    for unchanged in [&b"\x01\x01\0\0\0\0\0"[..], b"\x00\0\x02\0\0\0{}"] {
        let bytes = row(unchanged);
        let found = images(shape(&[3]), &bytes).unwrap();
        let after = found.iter().next().unwrap().unwrap().after.unwrap();
        assert!(!found.has_diffs());
        assert_eq!(after.key(&[3]).unwrap(), b"\x02\0\0\0{}");
    }
    for options in [&b"\x02\0\0\0\0\0"[..], b"\xfb\0", b"\xff", b"\xfc\x01"] {
        let bytes = row(options);
        assert_eq!(images(shape(&[3]), &bytes).unwrap_err(), ImageError::ValueOptions { offset: before.len() });
    }
    // The option in its longest form.
    let long = row(b"\xfe\x01\0\0\0\0\0\0\0\x01\0\x01\0\0\0x");
    assert!(images(shape(&[3]), &long).unwrap().has_diffs());
}

#[test]
fn images_that_miss_a_column_of_the_servers_own_have_every_column() {
    let found = images(update(&[0, 1, 2, 3], &[0, 1, 2, 3, 4]), b"\x0f\x0f\x07").unwrap();
    assert!(found.have_every_column());
    assert_eq!(found.completed().unwrap().unwrap(), b"\x0f\x0f");
}

#[test]
fn rows_without_a_column_cannot_be_counted() {
    assert_eq!(images(update(&[], &[]), b"").unwrap_err(), ImageError::NoColumns);
    assert_eq!(images(update(&[], &[]), b"x").unwrap_err(), ImageError::NoColumns);
    assert_eq!(images(update(&[0], &[]), b"\0\x01\0\0\0\0\x02\0\0\0").unwrap().rows(), 2);
}

#[test]
fn bytes_that_are_cut_or_left_over_are_an_error() {
    let rows = b"\x00\x01\0\0\0\x02ab\x00\x05\0\0\0";
    let shape = update(&[0, 1], &[2]);
    assert_eq!(images(shape.clone(), rows).unwrap().rows(), 1);
    for cut in 1..rows.len() {
        assert!(images(shape.clone(), &rows[..cut]).is_err(), "cut at {cut}");
    }
    assert!(images(shape.clone(), &[&rows[..], b"\x00"].concat()).is_err());
    let filler = [b"\x20", &rows[1..]].concat();
    assert_eq!(images(shape, &filler).unwrap_err(), ImageError::NoImage { offset: 0 });
}

#[test]
fn a_key_becomes_an_image_that_knows_nothing_else_and_the_key_comes_out_of_it_again() {
    let plan = plan();
    for (key, fields) in [(&[1, 0][..], &b"\x02ab\x07\0\0\0"[..]), (&[0], b"\x07\0\0\0"), (&[4, 2], b"\x01\x02\0\0\0")]
    {
        let image = plan.key_image(key, fields).unwrap();
        assert_eq!(plan.image_len(&image), Ok(image.len()));
        assert_eq!(plan.key_fields(key, &image).unwrap().unwrap(), fields);
        for column in (0..5).filter(|column| !key.contains(column)) {
            assert_eq!(plan.value(column, &image), Ok(None), "{column}");
            assert_eq!(plan.key_fields(&[column], &image), Ok(None), "{column}");
        }
    }
    assert_eq!(plan.key_image(&[5], b""), Err(ImageError::NoColumn { column: 5 }));
    assert!(plan.key_image(&[0], b"\x07\0\0").is_err());
    assert_eq!(plan.key_image(&[0], b"\x07\0\0\0\0"), Err(ImageError::Trailing { column: "c0".into(), left: 1 }));
    assert_eq!(plan.key_fields(&[5], b"\x1f"), Err(ImageError::NoColumn { column: 5 }));
    assert!(plan.key_fields(&[0], b"\x1e").is_err() && plan.key_fields(&[0], b"").is_err());
}
