//! The walk over a section's images, for each form of a copy: a mirror by its key, a mirror by all values, a changelog. What is done with a row is
//! the sink's.
//!
//! Every method is given the bytes from its image on, and says how many of them were its own. `row` is the place of the row change in its section.

use crate::codec::frame::RowOp;
use crate::codec::row_image::{ImageError, Plan};

/// Row changes taken out of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sink) struct Taken {
    /// Row changes.
    pub(in crate::sink) rows: u32,
    /// How many of them were written as two rows.
    pub(in crate::sink) split: u32,
}

/// Rows of a mirror that are told apart by a key.
pub(in crate::sink) trait Keyed {
    /// Why a row cannot be taken.
    type Error: From<ImageError>;

    /// How whole images are read.
    fn plan(&self) -> &Plan;

    /// The key's places in the schema.
    fn key_places(&self) -> &[u16];

    /// Puts a row in, or in the place of the one that has its key.
    fn put(&mut self, image: &[u8], row: u32) -> Result<usize, Self::Error>;

    /// Makes the row that has the image's key that of the image.
    fn update(&mut self, image: &[u8], row: u32) -> Result<usize, Self::Error> {
        self.put(image, row)
    }

    /// Takes away the row that has the image's key.
    fn delete(&mut self, image: &[u8], row: u32) -> Result<usize, Self::Error>;

    /// As [`Keyed::delete`], by an image of which nothing but the key is known.
    fn delete_by_key(&mut self, image: &[u8], row: u32) -> Result<usize, Self::Error>;
}

/// Rows of a mirror that are told apart by all their values.
pub(in crate::sink) trait Keyless {
    /// Why a row cannot be taken.
    type Error;

    /// Puts a row in.
    fn put(&mut self, image: &[u8]) -> Result<usize, Self::Error>;

    /// Makes one row that is equal to the first of two images equal to the second one.
    fn replace(&mut self, images: &[u8]) -> Result<usize, Self::Error>;

    /// Takes away one row that is equal to the image.
    fn delete(&mut self, image: &[u8]) -> Result<usize, Self::Error>;
}

/// Which images a line of a changelog has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Images {
    /// The one after the change.
    After,
    /// Both.
    Both,
    /// The one before the change.
    Before,
    /// The one before the change, of which nothing but the key is known.
    KeyBefore,
}

/// Lines of a changelog.
pub(in crate::sink) trait Lines {
    /// Why a line cannot be taken.
    type Error;

    /// Appends a line; says how many bytes its images have.
    fn line(&mut self, images: Images, bytes: &[u8], row: u32) -> Result<usize, Self::Error>;
}

/// What a line of a changelog says was done.
pub(in crate::sink) fn op_name(op: RowOp) -> &'static str {
    match op {
        RowOp::Insert => "insert",
        RowOp::Snapshot => "snapshot",
        RowOp::Update => "update",
        RowOp::Delete | RowOp::DeleteByKey => "delete",
    }
}

/// Applies a section to a mirror with a key. The source's collation may hold two spellings for one key, which are two here: an update from one to
/// the other, as any change of the key, is a delete and a new row.
pub(in crate::sink) fn by_key<R: Keyed>(rows: &mut R, op: RowOp, body: &[u8]) -> Result<Taken, R::Error> {
    let mut taken = Taken::default();
    let mut rest = body;
    while !rest.is_empty() {
        let row = taken.rows;
        let used = match op {
            RowOp::Insert | RowOp::Snapshot => rows.put(rest, row)?,
            RowOp::Update => {
                let old = rows.plan().image_len(rest)?;
                let after = rest.get(old..).unwrap_or_default();
                let new = if rows.plan().same_key(rows.key_places(), rest, after)? {
                    rows.update(after, row)?
                } else {
                    taken.split += 1;
                    rows.delete(rest, row)?;
                    rows.put(after, row)?
                };
                old + new
            }
            RowOp::Delete => rows.delete(rest, row)?,
            RowOp::DeleteByKey => rows.delete_by_key(rest, row)?,
        };
        rest = rest.get(used..).unwrap_or_default();
        taken.rows += 1;
    }
    Ok(taken)
}

/// Applies a section to a mirror without a key.
pub(in crate::sink) fn by_values<R: Keyless>(rows: &mut R, op: RowOp, body: &[u8]) -> Result<Taken, R::Error> {
    let mut taken = Taken::default();
    let mut rest = body;
    while !rest.is_empty() {
        let used = match op {
            RowOp::Insert | RowOp::Snapshot => rows.put(rest)?,
            RowOp::Update => rows.replace(rest)?,
            RowOp::Delete | RowOp::DeleteByKey => rows.delete(rest)?,
        };
        rest = rest.get(used..).unwrap_or_default();
        taken.rows += 1;
    }
    Ok(taken)
}

/// Appends a section to a changelog. A change of the key is one line as well.
pub(in crate::sink) fn append<R: Lines>(lines: &mut R, op: RowOp, body: &[u8]) -> Result<Taken, R::Error> {
    let images = match op {
        RowOp::Insert | RowOp::Snapshot => Images::After,
        RowOp::Update => Images::Both,
        RowOp::Delete => Images::Before,
        RowOp::DeleteByKey => Images::KeyBefore,
    };
    let mut taken = Taken::default();
    let mut rest = body;
    while !rest.is_empty() {
        let used = lines.line(images, rest, taken.rows)?;
        rest = rest.get(used..).unwrap_or_default();
        taken.rows += 1;
    }
    Ok(taken)
}
