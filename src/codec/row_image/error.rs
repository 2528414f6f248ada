//! What can be wrong with a plan, an image, a value, or a value to be written. Every error of a column names it.

use thiserror::Error;

/// A schema that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The column's type is not one this version reads.
    #[error("column \"{column}\" has type {type_name}, which is not supported")]
    Unsupported {
        /// The column.
        column: String,
        /// What the source calls the type.
        type_name: String,
    },
    /// The column's character set is not one this version can turn into UTF-8.
    #[error("column \"{column}\" has character set {charset}, which is not supported")]
    Charset {
        /// The column.
        column: String,
        /// The character set.
        charset: String,
    },
    /// The type's parameters are outside what MySQL and MariaDB allow.
    #[error("column \"{column}\" has an impossible type: {problem}")]
    Shape {
        /// The column.
        column: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No table has so few or so many columns.
    #[error("a table of {columns} columns has no row image")]
    Columns {
        /// Columns in the schema.
        columns: usize,
    },
    /// The list of wanted columns is not of the schema's length.
    #[error("{given} columns are marked wanted or not, the schema has {columns}")]
    Wanted {
        /// Marks given.
        given: usize,
        /// Columns in the schema.
        columns: usize,
    },
}

/// An image that does not fit its schema. Offsets count from the start of the bytes handed in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The bytes end before the null bitmap does.
    #[error("the row image at offset {offset} ends inside its null bitmap of {needed} bytes, {left} are left")]
    TruncatedBitmap {
        /// Where the image begins.
        offset: usize,
        /// Bytes of the bitmap.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// The bytes are no image that a server wrote.
    #[error("the bytes at offset {offset} are no row image: their null bitmap is none")]
    NoImage {
        /// Where they begin.
        offset: usize,
    },
    /// An image whose value options are cut short or mean nothing.
    #[error("the row image at offset {offset} has value options that mean nothing")]
    ValueOptions {
        /// Where the image begins.
        offset: usize,
    },
    /// Rows without any column take no bytes: nobody can count them.
    #[error("the rows have no column")]
    NoColumns,
    /// The bytes end inside a value.
    #[error("the row image ends inside column \"{column}\": {needed} bytes at offset {offset}, {left} are left")]
    Truncated {
        /// The column.
        column: String,
        /// Where the value begins.
        offset: usize,
        /// Bytes it takes, with its length prefix.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// The value's bytes mean nothing in the column's type.
    #[error("column \"{column}\" holds a malformed value at offset {offset}: {problem}")]
    Malformed {
        /// The column.
        column: String,
        /// Where the value begins.
        offset: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The bytes of one value are followed by more.
    #[error("the value of column \"{column}\" is followed by {left} more bytes")]
    Trailing {
        /// The column.
        column: String,
        /// Bytes left over.
        left: usize,
    },
    /// A body of before and after images holds an odd number of them.
    #[error("{images} row images are not a whole number of rows of {images_per_row}")]
    HalfRow {
        /// Images found.
        images: u64,
        /// Images a row has.
        images_per_row: u32,
    },
    /// More rows than a count can hold.
    #[error("the body holds more rows than {}", u32::MAX)]
    TooManyRows,
    /// The column is not in the schema, or not among those the plan reads.
    #[error("the plan does not read column {column}")]
    NoColumn {
        /// Its place.
        column: usize,
    },
}

/// Reading stopped: at the image, or because the visitor said so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError<E> {
    /// The image is malformed.
    #[error(transparent)]
    Image(ImageError),
    /// The visitor's own error.
    #[error(transparent)]
    Visitor(E),
}

impl<E> From<ImageError> for ReadError<E> {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

/// A value that is whole in the image, but whose content cannot be turned into text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Bytes that mean nothing in the column's character set.
    #[error("column \"{column}\" holds bytes that are not {charset} at byte {at} of the value")]
    Text {
        /// The column.
        column: String,
        /// Its character set.
        charset: &'static str,
        /// Offset of the first such byte.
        at: usize,
    },
    /// A binary JSON document that does not follow its format.
    #[error("column \"{column}\" holds a malformed json document at byte {at} of the value: {problem}")]
    Json {
        /// The column.
        column: String,
        /// Offset at which it was noticed.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A value that does not fit its column, or a row that is not whole. What was written of the row is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The value is of another kind than the column.
    #[error("column \"{column}\" does not take {given}")]
    Kind {
        /// The column.
        column: String,
        /// The kind given.
        given: &'static str,
    },
    /// The value is outside the column's range.
    #[error("column \"{column}\": {problem}")]
    Range {
        /// The column.
        column: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The value is longer than the column allows.
    #[error("column \"{column}\": a value of {len} bytes, at most {max} fit")]
    TooLong {
        /// The column.
        column: String,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The text is not a literal of the column's type.
    #[error("column \"{column}\": the text is not {expected}")]
    Literal {
        /// The column.
        column: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The row has too few or too many values.
    #[error("a row of {given} values, the table has {columns} columns")]
    Count {
        /// Values given.
        given: usize,
        /// Columns of the table.
        columns: usize,
    },
}
