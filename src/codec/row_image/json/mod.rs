//! `JSON` values: MySQL's binary documents, printed as the server prints them.
//!
//! A stored value is one of:
//!
//! | first byte | what follows |
//! |---|---|
//! | none | nothing: the JSON literal `null`, which the server leaves for a column it never wrote |
//! | 0x00 to 0x0f | the type byte of MySQL's binary form and the document, see `document.rs` |
//! | 0xff | the document's text in UTF-8, as a server printed it; ours, for rows that were read by `SELECT` |
//!
//! MySQL uses no type byte above 0x0f, so the two forms cannot be taken for each other.

mod document;
mod print;

use super::error::ValueError;

/// First byte of a value that holds text.
pub(super) const TEXT_MARK: u8 = 0xff;

/// A `JSON` value.
#[derive(Clone, Copy, Debug)]
pub struct Json<'v> {
    bytes: &'v [u8],
    column: &'v str,
}

/// What is wrong with a document, and where.
#[derive(Debug)]
struct Malformed {
    at: usize,
    problem: &'static str,
}

impl<'v> Json<'v> {
    pub(super) fn new(bytes: &'v [u8], column: &'v str) -> Self {
        Self { bytes, column }
    }

    /// Appends the document as the server prints it: `", "` and `": "` between parts, keys in stored order, numbers and escapes
    /// in the server's form. What is appended is UTF-8. `out` keeps its old content on an error.
    pub fn write_text(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let before = out.len();
        let written = match self.bytes.split_first() {
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            Some((&TEXT_MARK, text)) => match std::str::from_utf8(text) {
                Ok(_) => {
                    out.extend_from_slice(text);
                    Ok(())
                }
                Err(error) => Err(Malformed { at: 1 + error.valid_up_to(), problem: "the text is not UTF-8" }),
            },
            Some(_) => document::write(self.bytes, out),
        };
        written.map_err(|Malformed { at, problem }| {
            out.truncate(before);
            ValueError::Json { column: self.column.to_owned(), at, problem }
        })
    }
}
