//! Rows events: the part before the images, and which columns those have.
//!
//! | bytes | field |
//! |---|---|
//! | 6 | table id |
//! | 2 | flags |
//! | 2 + n | version 2 only: extra data behind its length, which counts itself |
//! | 1-9 | number of columns, length-encoded |
//! | n | bitmap of the columns in the images; in updates two, of before and after |
//! | rest | the images; compressed in MariaDB's compressed events |

use std::borrow::Cow;

use super::compressed::decompress;
use super::cursor::Cursor;
use super::error::BinlogError;
use super::kind;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{Present, Shape};

/// How one rows event type is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) op: RowOp,
    extra_data: bool,
    compressed: bool,
    may_have_diffs: bool,
}

/// The layout of a rows event type; `None` for any other type.
pub(super) fn layout(kind: u8) -> Option<Layout> {
    let (op, extra_data, compressed) = match kind {
        kind::WRITE_ROWS => (RowOp::Insert, true, false),
        kind::UPDATE_ROWS | kind::PARTIAL_UPDATE_ROWS => (RowOp::Update, true, false),
        kind::DELETE_ROWS => (RowOp::Delete, true, false),
        kind::WRITE_ROWS_V1 => (RowOp::Insert, false, false),
        kind::UPDATE_ROWS_V1 => (RowOp::Update, false, false),
        kind::DELETE_ROWS_V1 => (RowOp::Delete, false, false),
        kind::WRITE_ROWS_COMPRESSED_V1 => (RowOp::Insert, false, true),
        kind::UPDATE_ROWS_COMPRESSED_V1 => (RowOp::Update, false, true),
        kind::DELETE_ROWS_COMPRESSED_V1 => (RowOp::Delete, false, true),
        kind::WRITE_ROWS_COMPRESSED => (RowOp::Insert, true, true),
        kind::UPDATE_ROWS_COMPRESSED => (RowOp::Update, true, true),
        kind::DELETE_ROWS_COMPRESSED => (RowOp::Delete, true, true),
        _ => return None,
    };
    Some(Layout { op, extra_data, compressed, may_have_diffs: kind == kind::PARTIAL_UPDATE_ROWS })
}

/// The table id of a rows event, and what follows its fixed part.
pub(super) fn table_id(data: &[u8], layout: Layout) -> Result<(u64, &[u8]), BinlogError> {
    let mut cursor = Cursor::new(data);
    let id = cursor.u48("table id")?;
    cursor.u16("flags")?;
    if layout.extra_data {
        let part = "extra data";
        let len = usize::from(cursor.u16(part)?);
        cursor.take(len.checked_sub(2).ok_or(BinlogError::Damaged { part })?, part)?;
    }
    Ok((id, cursor.rest()))
}

/// Whether a rows event is the last of its statement (`STMT_END_F`).
pub(super) fn ends_statement(data: &[u8]) -> bool {
    data.get(6).is_some_and(|flags| flags & 1 != 0)
}

/// What a rows event has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Images<'a> {
    /// Images with every column of the table.
    Whole(Cow<'a, [u8]>),
    /// Images without some of them, or with parts of values.
    Partial {
        /// Which they have.
        shape: Shape,
        /// Their bytes.
        bytes: Cow<'a, [u8]>,
    },
    /// Images of a table that has another number of columns.
    OfOthers {
        /// The number that the event states.
        stated: usize,
    },
}

/// The images of a rows event of a table with so many columns.
pub(super) fn images(body: &[u8], layout: Layout, columns: usize) -> Result<Images<'_>, BinlogError> {
    let mut cursor = Cursor::new(body);
    let stated = cursor.len("number of columns")?;
    if stated != columns {
        return Ok(Images::OfOthers { stated });
    }
    let bitmap_len = columns.div_ceil(8);
    let first = cursor.take(bitmap_len, "column bitmap")?;
    let second = match layout.op {
        RowOp::Update => Some(cursor.take(bitmap_len, "column bitmap")?),
        _ => None,
    };
    let images = cursor.rest();
    let bytes = if layout.compressed { Cow::Owned(decompress(images, "rows")?) } else { Cow::Borrowed(images) };
    let is_whole = all_set(first, columns) && second.is_none_or(|second| all_set(second, columns));
    if is_whole && !layout.may_have_diffs {
        return Ok(Images::Whole(bytes));
    }
    let first = Some(Present::from_bitmap(first, columns));
    let (before, after) = match layout.op {
        RowOp::Update => (first, second.map(|second| Present::from_bitmap(second, columns))),
        RowOp::Delete | RowOp::DeleteByKey => (first, None),
        _ => (None, first),
    };
    Ok(Images::Partial { shape: Shape { before, after, may_have_diffs: layout.may_have_diffs }, bytes })
}

fn all_set(bitmap: &[u8], columns: usize) -> bool {
    let (whole, rest) = (columns / 8, columns % 8);
    bitmap.iter().take(whole).all(|byte| *byte == 0xff)
        && (rest == 0 || bitmap.get(whole).is_some_and(|byte| byte.trailing_ones() >= u32::try_from(rest).unwrap_or(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_out_only_when_every_column_is_present() {
        let layout = layout(kind::UPDATE_ROWS).unwrap();
        let body = [9, 0xff, 0x01, 0xff, 0xff, 1, 2, 3];
        assert_eq!(images(&body, layout, 9).unwrap(), Images::Whole(Cow::Borrowed(&[1, 2, 3])));
        for body in [[9, 0xff, 0x01, 0xfe, 0x01, 1], [9, 0xff, 0x00, 0xff, 0x01, 1]] {
            let found = images(&body, layout, 9).unwrap();
            let Images::Partial { shape, bytes } = found else { panic!("{found:?}") };
            assert_eq!(shape.before, Some(Present::from_bitmap(&body[1..3], 9)));
            assert_eq!(shape.after, Some(Present::from_bitmap(&body[3..5], 9)));
            assert_eq!((&*bytes, shape.may_have_diffs), (&[1][..], false));
        }
        assert_eq!(images(&body, layout, 10).unwrap(), Images::OfOthers { stated: 9 });
        assert!(images(&body[..4], layout, 9).is_err());
    }

    #[test]
    fn the_extra_data_of_version_two_is_stepped_over() {
        let data = [5, 0, 0, 0, 0, 1, 1, 0, 5, 0, 7, 7, 7, 42];
        let (id, rest) = table_id(&data, layout(kind::WRITE_ROWS).unwrap()).unwrap();
        assert_eq!((id, rest), ((1 << 40) | 5, &[42][..]));
        let (_, rest) = table_id(&data, layout(kind::WRITE_ROWS_V1).unwrap()).unwrap();
        assert_eq!(rest, &[5, 0, 7, 7, 7, 42]);
        assert!(table_id(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0], layout(kind::WRITE_ROWS).unwrap()).is_err());
    }
}
