//! The walk over a section's images, for each form of a copy: a mirror by its key, a mirror by all values, a changelog. What is done with a row is
//! the sink's.
//!
//! Every method is given the bytes from its image on, and says how many of them were its own. `row` is the place of the row change in its section.

use super::lettering::{Lettering, NoLetter};
use crate::codec::frame::RowOp;
use crate::codec::row_image::{ImageError, Plan};

/// Row changes taken out of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sink) struct Taken {
    /// Row changes.
    pub(in crate::sink) rows: u32,
    /// How many of them were written as two rows.
    pub(in crate::sink) split: u32,
    /// How many of them became dead letters.
    pub(in crate::sink) dead: u32,
}

/// Rows of a mirror that are told apart by a key.
pub(in crate::sink) trait Keyed {
    /// Why a row cannot be taken.
    type Error: From<ImageError> + From<NoLetter>;

    /// How whole images are read.
    fn plan(&self) -> &Plan;

    /// Why a row change cannot be written, in words.
    ///
    /// # Errors
    /// The error itself, where it is not about the row.
    fn reason(&self, error: Self::Error) -> Result<String, Self::Error>;

    /// How many changes have found no row, where the target says so.
    fn unmatched(&mut self) -> Option<&mut u64> {
        None
    }

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
    type Error: From<ImageError> + From<NoLetter>;

    /// How images are read.
    fn plan(&self) -> &Plan;

    /// As [`Keyed::reason`].
    fn reason(&self, error: Self::Error) -> Result<String, Self::Error>;

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
pub(in crate::sink) fn by_key<R: Keyed>(
    rows: &mut R,
    op: RowOp,
    body: &[u8],
    dead: &mut Lettering<'_>,
) -> Result<Taken, R::Error> {
    let mut taken = Taken::default();
    let mut rest = body;
    while !rest.is_empty() {
        let row = taken.rows;
        let used = match op {
            RowOp::Insert | RowOp::Snapshot => one(rows, Step::Put, rest, &mut taken, dead)?,
            RowOp::Update => {
                let old = rows.plan().image_len(rest)?;
                let after = rest.get(old..).unwrap_or_default();
                if !rows.plan().same_key(rows.key_places(), rest, after)? {
                    moved(rows, (rest, after), &mut taken, dead)?
                } else if dead.is_on() {
                    let change = Change { images: rest, at: old, step: Step::Update };
                    old + lettered(rows, change, &mut taken, dead)?
                } else {
                    old + rows.update(after, row)?
                }
            }
            RowOp::Delete => one(rows, Step::Delete, rest, &mut taken, dead)?,
            RowOp::DeleteByKey => one(rows, Step::DeleteByKey, rest, &mut taken, dead)?,
        };
        rest = rest.get(used..).unwrap_or_default();
        taken.rows += 1;
    }
    Ok(taken)
}

/// What is done with one image of a row change.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put,
    Update,
    Delete,
    DeleteByKey,
}

impl Step {
    #[inline]
    fn take<R: Keyed>(self, rows: &mut R, image: &[u8], row: u32) -> Result<usize, R::Error> {
        match self {
            Self::Put => rows.put(image, row),
            Self::Update => rows.update(image, row),
            Self::Delete => rows.delete(image, row),
            Self::DeleteByKey => rows.delete_by_key(image, row),
        }
    }
}

/// A row change that is one step: the image of the step is at a place of its images, and is the last of them.
struct Change<'c> {
    images: &'c [u8],
    at: usize,
    step: Step,
}

/// A row change of one image.
#[inline]
fn one<R: Keyed>(
    rows: &mut R,
    step: Step,
    images: &[u8],
    taken: &mut Taken,
    dead: &mut Lettering<'_>,
) -> Result<usize, R::Error> {
    if dead.is_on() {
        lettered(rows, Change { images, at: 0, step }, taken, dead)
    } else {
        step.take(rows, images, taken.rows)
    }
}

/// A row change that may become a letter, or end some. Gives the length of the step's image.
fn lettered<R: Keyed>(
    rows: &mut R,
    Change { images, at, step }: Change<'_>,
    taken: &mut Taken,
    dead: &mut Lettering<'_>,
) -> Result<usize, R::Error> {
    let image = images.get(at..).unwrap_or_default();
    match tried(rows, step, image, taken.rows, dead)? {
        Tried::Written(used) => Ok(used),
        Tried::Refused(Refused { reason, key, used }) => {
            let images = images.get(..at + used).unwrap_or_default();
            dead.add(taken.rows, images, vec![key], reason).map_err(R::Error::from)?;
            taken.dead += 1;
            Ok(used)
        }
    }
}

/// A change of the key: a delete and a new row, of which either may be refused. Gives the length of both images.
fn moved<R: Keyed>(
    rows: &mut R,
    (images, after): (&[u8], &[u8]),
    taken: &mut Taken,
    dead: &mut Lettering<'_>,
) -> Result<usize, R::Error> {
    let row = taken.rows;
    if !dead.is_on() {
        taken.split += 1;
        return Ok(rows.delete(images, row)? + rows.put(after, row)?);
    }
    let gone = tried(rows, Step::Delete, images, row, dead)?;
    let come = tried(rows, Step::Put, after, row, dead)?;
    let used = gone.used() + come.used();
    let images = images.get(..used).unwrap_or_default();
    let (keys, reason) = match (gone, come) {
        (Tried::Written(_), Tried::Written(_)) => (Vec::new(), None),
        (Tried::Refused(one), Tried::Written(_)) | (Tried::Written(_), Tried::Refused(one)) => {
            (vec![one.key], Some(one.reason))
        }
        (Tried::Refused(gone), Tried::Refused(come)) => (vec![gone.key, come.key], Some(come.reason)),
    };
    // One that is not written at all is none of two rows.
    taken.split += u32::from(keys.len() < 2);
    if let Some(reason) = reason {
        dead.add(row, images, keys, reason).map_err(R::Error::from)?;
        taken.dead += 1;
    }
    Ok(used)
}

/// What came of a step.
enum Tried {
    /// The row is current. The image has so many bytes.
    Written(usize),
    /// It is not.
    Refused(Refused),
}

/// A step that the target does not take.
struct Refused {
    reason: String,
    key: u128,
    used: usize,
}

impl Tried {
    fn used(&self) -> usize {
        match self {
            Self::Written(used) => *used,
            Self::Refused(refused) => refused.used,
        }
    }
}

/// Takes a step where the sink takes letters, or the table has some.
fn tried<R: Keyed>(
    rows: &mut R,
    step: Step,
    image: &[u8],
    row: u32,
    dead: &mut Lettering<'_>,
) -> Result<Tried, R::Error> {
    let key = dead.key(rows.plan(), rows.key_places(), image, false)?;
    let is_dead = key.is_some_and(|key| dead.has_key(key));
    let unmatched = rows.unmatched().map(|unmatched| *unmatched);
    let error = match step.take(rows, image, row) {
        Ok(used) => {
            if let Some(key) = key.filter(|_| is_dead) {
                // The letter says why the row is not there.
                if let (Some(now), Some(before)) = (rows.unmatched(), unmatched) {
                    *now = before;
                }
                dead.written(key);
            }
            return Ok(Tried::Written(used));
        }
        Err(error) if dead.takes() => error,
        Err(error) => return Err(error),
    };
    let reason = rows.reason(error)?;
    if let (Some(now), Some(before)) = (rows.unmatched(), unmatched) {
        *now = before;
    }
    let key = dead.key(rows.plan(), rows.key_places(), image, true)?.unwrap_or_default();
    let used = rows.plan().image_len(image)?;
    Ok(Tried::Refused(Refused { reason, key, used }))
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
pub(in crate::sink) fn append<R: Lines>(
    lines: &mut R,
    op: RowOp,
    body: &[u8],
    dead: &mut Lettering<'_>,
) -> Result<Taken, R::Error> {
    let images = match op {
        RowOp::Insert | RowOp::Snapshot => Images::After,
        RowOp::Update => Images::Both,
        RowOp::Delete => Images::Before,
        RowOp::DeleteByKey => Images::KeyBefore,
    };
    let mut taken = Taken::default();
    let mut rest = body;
    while !rest.is_empty() {
        let used = match lines.line(images, rest, taken.rows) {
            Ok(used) => used,
            Err(error) if dead.takes() => {
                let reason = lines.reason(error)?;
                let mut used = lines.plan().image_len(rest)?;
                if images == Images::Both {
                    used += lines.plan().image_len(rest.get(used..).unwrap_or_default())?;
                }
                let change = rest.get(..used).unwrap_or_default();
                dead.add(taken.rows, change, Vec::new(), reason).map_err(R::Error::from)?;
                taken.dead += 1;
                used
            }
            Err(error) => return Err(error),
        };
        rest = rest.get(used..).unwrap_or_default();
        taken.rows += 1;
    }
    Ok(taken)
}
