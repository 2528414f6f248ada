//! Images in another form: with columns in front of their own, and with other values in some of them.

use super::error::ImageError;
use super::layout::bitmap_len;
use super::plan::Plan;

impl Plan {
    /// The bytes of one column's value with their length in front, where the type has one; `None` if it is NULL.
    ///
    /// # Errors
    /// When the image does not fit the plan.
    pub fn cell_of<'a>(&self, column: usize, image: &'a [u8]) -> Result<Option<&'a [u8]>, ImageError> {
        let mut places = self.places(image);
        for _ in 0..column {
            if let Some(place) = places.next() {
                place?;
            }
        }
        let at = places.end();
        let is_null = places.next().ok_or(ImageError::NoColumn { column })??.is_none();
        Ok((!is_null).then(|| image.get(at..places.end()).unwrap_or_default()))
    }

    /// Appends the first image of `bytes` to `out`: `front` columns before its own, none of them NULL, whose values `front_bytes` are, and of each
    /// column that is not NULL what `value` appends for it, or its own bytes where that says `false`. The bytes of a value have their length in
    /// front, where the type has one. Says how many bytes the image has that was read. After an error `out` ends with part of an image.
    ///
    /// # Errors
    /// When the image does not fit the plan, or `value` refuses one.
    pub fn rewrite<E: From<ImageError>>(
        &self,
        bytes: &[u8],
        (front, front_bytes): (usize, &[u8]),
        out: &mut Vec<u8>,
        mut value: impl FnMut(usize, &[u8], &mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<usize, E> {
        let columns = self.columns();
        let begin = out.len();
        out.resize(begin + bitmap_len(front + columns), 0);
        out.extend_from_slice(front_bytes);
        let mut places = self.places(bytes);
        for column in 0..columns {
            let at = places.end();
            match places.next() {
                None => break,
                Some(place) => match place? {
                    None => {
                        let place = front + column;
                        if let Some(byte) = out.get_mut(begin + place / 8) {
                            *byte |= 1 << (place % 8);
                        }
                    }
                    Some(_) => {
                        let cell = bytes.get(at..places.end()).unwrap_or_default();
                        if !value(column, cell, out)? {
                            out.extend_from_slice(cell);
                        }
                    }
                },
            }
        }
        Ok(places.end())
    }
}
