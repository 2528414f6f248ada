//! Rows of which an event has some columns only.

use std::borrow::Cow;
use std::sync::Arc;

use crate::codec::frame::RowOp;
use crate::codec::row_image::{ImageError, PartialImages, PartialRows, Plan, Shape};

/// Rows of a captured table of which an event has some columns only: what the rows are now is the server's to say.
#[derive(Clone, Debug)]
pub struct Partial<'a> {
    op: RowOp,
    images: PartialImages<'a>,
}

impl<'a> Partial<'a> {
    /// Walks the event's images with the plan of all columns of its `TABLE_MAP`, of which the first `own` are the table's.
    ///
    /// # Errors
    /// When the bytes are no such images.
    pub fn new(op: RowOp, plan: Arc<Plan>, own: usize, shape: Shape, bytes: Cow<'a, [u8]>) -> Result<Self, ImageError> {
        Ok(Self { op, images: PartialImages::new(plan, own, shape, bytes)? })
    }

    /// The same rows, where only so many of the columns, the first ones, are the table's own.
    #[must_use]
    pub fn of_first(&self, own: usize) -> Self {
        Self { op: self.op, images: self.images.of_first(own) }
    }

    /// What happened to the rows.
    pub fn op(&self) -> RowOp {
        self.op
    }

    /// How many there are, counted by walking the images.
    pub fn rows(&self) -> u32 {
        self.images.rows()
    }

    /// What is known of each row.
    pub fn iter(&self) -> PartialRows<'_> {
        self.images.iter()
    }

    /// How many columns the table has.
    pub fn columns(&self) -> usize {
        self.images.columns()
    }

    /// Whether each image has every column of the table.
    pub(super) fn have_every_column(&self) -> bool {
        self.images.have_every_column()
    }

    /// Whole images, where those before and after a change have every column between them: what an update does not tell is as it was.
    /// But for generated columns of MariaDB, which it may leave out although they have changed.
    ///
    /// # Errors
    /// None, as the images have been walked.
    pub fn completed(&self) -> Result<Option<Vec<u8>>, ImageError> {
        self.images.completed()
    }

    /// Why they are told in part: the setting that makes it so, and the one that does not.
    pub fn why(&self) -> &'static str {
        if self.images.has_diffs() {
            "a rows event has parts of JSON values, because a session writes with binlog_row_value_options = 'PARTIAL_JSON'; \
             with '' it has whole values"
        } else {
            "a rows event has some columns only, because a session writes with another binlog_row_image than FULL; with FULL it has all"
        }
    }
}

impl<'b> IntoIterator for &'b Partial<'_> {
    type Item = <PartialRows<'b> as Iterator>::Item;
    type IntoIter = PartialRows<'b>;

    fn into_iter(self) -> PartialRows<'b> {
        self.iter()
    }
}
