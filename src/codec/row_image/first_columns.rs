//! Images without their last columns.

use super::error::ImageError;
use super::layout::bitmap_len;
use super::plan::Plan;

impl Plan {
    /// Images back to back, each with its first `kept` columns only: what is behind them is a matter of the server alone.
    ///
    /// # Errors
    /// When an image does not fit the plan.
    pub fn first_columns(&self, kept: usize, images: &[u8]) -> Result<Vec<u8>, ImageError> {
        let mut out = Vec::with_capacity(images.len());
        let mut rest = images;
        while !rest.is_empty() {
            let len = self.image_len(rest)?;
            let (image, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            let mut places = self.places(image);
            for _ in 0..kept {
                if let Some(place) = places.next() {
                    place?;
                }
            }
            out.extend_from_slice(image.get(..bitmap_len(kept)).unwrap_or_default());
            if let Some(last) = out.last_mut().filter(|_| !kept.is_multiple_of(8)) {
                // Bits past the last column are clear.
                *last &= u8::MAX >> (8 - kept % 8);
            }
            out.extend_from_slice(image.get(self.bitmap_len..places.end()).unwrap_or_default());
            rest = tail;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, TableName, TableSchema};

    fn plan(columns: usize) -> Plan {
        let long = |place: usize| {
            let text = ColumnType::VarChar { max_bytes: 20, charset: Charset::new("utf8mb4") };
            let int = ColumnType::Int { width: IntWidth::W8, unsigned: true };
            let ty = if place.is_multiple_of(2) { text } else { int };
            Column {
                name: format!("c{place}"),
                ty,
                nullable: true,
                default: ColumnDefault::Unknown,
                attributes: None,
                collation: None,
            }
        };
        let columns = (0..columns).map(long).collect();
        Plan::all(&TableSchema { name: TableName::new("d", "t"), columns, key: None }).unwrap()
    }

    /// An image in which the columns of `nulls` are NULL.
    fn image(columns: usize, nulls: &[usize]) -> Vec<u8> {
        let mut image = vec![0xff; columns.div_ceil(8)];
        let mut values = Vec::new();
        for place in 0..columns {
            if nulls.contains(&place) {
                continue;
            }
            image[place / 8] &= !(1 << (place % 8));
            let byte = u8::try_from(place).unwrap();
            if place.is_multiple_of(2) {
                values.extend([2, byte, byte]);
            } else {
                values.extend([byte; 8]);
            }
        }
        image.extend(values);
        image
    }

    #[test]
    fn what_is_cut_off_leaves_the_images_that_a_table_of_the_first_columns_has() {
        for (columns, kept) in [(3, 1), (3, 2), (3, 3), (9, 8), (10, 8), (17, 9), (70, 64)] {
            for nulls in [&[][..], &[0], &[columns - 1], &[0, kept - 1, columns - 1]] {
                let images = [image(columns, nulls), image(columns, &[])].concat();
                let cut = plan(columns).first_columns(kept, &images).unwrap();
                let kept_nulls: Vec<usize> = nulls.iter().copied().filter(|place| *place < kept).collect();
                let plan = plan(kept);
                assert_eq!(plan.count_rows(&cut, 1).unwrap(), 2, "{kept} of {columns}");
                let expected = [image(kept, &kept_nulls), image(kept, &[])].concat();
                let (mut cut, mut expected) = (cut.as_slice(), expected.as_slice());
                for _ in 0..2 {
                    let hash = |bytes: &[u8]| {
                        let all: Vec<u16> = (0..u16::try_from(kept).unwrap()).collect();
                        plan.key_hash(&all, bytes).unwrap()
                    };
                    assert_eq!(hash(cut), hash(expected), "{kept} of {columns}");
                    cut = &cut[plan.image_len(cut).unwrap()..];
                    expected = &expected[plan.image_len(expected).unwrap()..];
                }
            }
        }
    }

    #[test]
    fn an_image_that_does_not_fit_is_an_error() {
        let image = image(3, &[]);
        assert!(plan(3).first_columns(2, &image[..image.len() - 1]).is_err());
    }
}
