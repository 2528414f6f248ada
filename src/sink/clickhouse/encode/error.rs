//! Why a row or a table cannot be encoded. Messages name columns and types, never a value.

use crate::codec::row_image::{ImageError, ReadError};
use crate::dead::Full;
use crate::error::Failure;
use crate::model::{Column, ColumnType, TableName};
use crate::sink::rows::{NoLetter, no_room};
use crate::sink::values::ValueProblem;

/// A row that cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The image is malformed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// One of its values cannot be held by the target.
    #[error(transparent)]
    Value(#[from] Box<ValueProblem>),
    /// It cannot be written, and there is no room for its dead letter.
    #[error(transparent)]
    Full(#[from] Full),
}

impl From<NoLetter> for RowError {
    fn from(error: NoLetter) -> Self {
        match error {
            NoLetter::Image(error) => Self::Image(error),
            NoLetter::Full(error) => Self::Full(error),
        }
    }
}

impl From<ReadError<Box<ValueProblem>>> for RowError {
    fn from(error: ReadError<Box<ValueProblem>>) -> Self {
        match error {
            ReadError::Image(error) => Self::Image(error),
            ReadError::Visitor(problem) => Self::Value(problem),
        }
    }
}

impl RowError {
    /// The same for the loops: a damaged image stops the sink, a value stops its table.
    pub fn failure(self, table: &TableName) -> Failure {
        match self {
            Self::Image(error) => Failure::fatal(format!("a row image of {table} is damaged")).caused_by(error),
            Self::Value(problem) => {
                problem.causes(Failure::row(format!("a value of {table} cannot be written to ClickHouse")))
            }
            Self::Full(error) => no_room(table, error),
        }
    }

    /// Why a row change becomes a dead letter.
    ///
    /// # Errors
    /// The error itself, where it is not about the row.
    pub(in crate::sink) fn reason(self, table: &TableName) -> Result<String, Self> {
        match self {
            Self::Image(_) | Self::Full(_) => Err(self),
            Self::Value(_) => Ok(self.failure(table).fact()),
        }
    }
}

/// A column of the target cannot hold what its source column does.
#[cold]
pub(super) fn refused(table: &TableName, column: &Column, target: &str) -> Failure {
    Failure::row(format!(
        "column \"{}\" of {table} is {}, which its column of type {target} in ClickHouse cannot hold",
        column.name,
        words(&column.ty)
    ))
    .hint("alter the column in ClickHouse, leave it out with `drop`, or have the table copied again")
}

/// A type in the source's own words.
fn words(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Int { width, unsigned } => {
            format!("an integer of {} bytes{}", width.bytes(), if *unsigned { " without sign" } else { "" })
        }
        ColumnType::Float => "FLOAT".to_owned(),
        ColumnType::Double => "DOUBLE".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
        ColumnType::Year => "YEAR".to_owned(),
        ColumnType::Date => "DATE".to_owned(),
        ColumnType::Time { fsp } => format!("TIME({fsp})"),
        ColumnType::DateTime { fsp } => format!("DATETIME({fsp})"),
        ColumnType::Timestamp { fsp } => format!("TIMESTAMP({fsp})"),
        ColumnType::Bit { bits } => format!("BIT({bits})"),
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Text { .. } => "text".to_owned(),
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob { .. } => "bytes".to_owned(),
        ColumnType::Enum { .. } => "ENUM".to_owned(),
        ColumnType::Set { .. } => "SET".to_owned(),
        ColumnType::Json => "JSON".to_owned(),
        ColumnType::Geometry => "a spatial value".to_owned(),
        ColumnType::Vector => "VECTOR".to_owned(),
        ColumnType::Uuid => "UUID".to_owned(),
        ColumnType::Inet6 => "INET6".to_owned(),
        ColumnType::Inet4 => "INET4".to_owned(),
        ColumnType::Unsupported { name, .. } => name.clone(),
    }
}
