//! How each column type of the source is kept: the value's storage class and the declared type of its column.
//!
//! | source type | column | value | exact |
//! |---|---|---|---|
//! | `TINYINT` to `BIGINT`, unsigned up to `INT UNSIGNED` | INTEGER | integer | yes |
//! | `BIGINT UNSIGNED` | no type | integer up to 9223372036854775807, above it text digits | yes |
//! | `FLOAT` | REAL | the 4-byte value widened to 8 bytes | yes, but for -0, which SQLite holds as 0 |
//! | `DOUBLE` | REAL | real | as `FLOAT` |
//! | `DECIMAL` | TEXT | as MySQL prints it, all digits of the scale | yes |
//! | `YEAR` | INTEGER | integer, 0 for 0000 | yes |
//! | `DATE`, `TIME`, `DATETIME` | TEXT | as MySQL prints it, zero dates by `zero_dates` | yes |
//! | `TIMESTAMP` | TEXT | as MySQL prints it in UTC | yes |
//! | `CHAR`, `VARCHAR`, `TEXT` family | TEXT | UTF-8; bytes malformed in the column's character set by `invalid_text` | yes |
//! | `BINARY`, `VARBINARY`, `BLOB` family | BLOB | bytes; `BINARY(n)` padded to n | yes |
//! | `ENUM` | TEXT | label, empty for the invalid value 0 | yes, but for 0 and a label that is empty |
//! | `SET` | TEXT | labels joined by commas | yes |
//! | `BIT(1)` to `BIT(63)` | INTEGER | integer | yes |
//! | `BIT(64)` | no type | as `BIGINT UNSIGNED` | yes |
//! | `JSON` of MySQL | TEXT | as the server prints it | yes |
//! | spatial types | BLOB | SRID in 4 bytes, then WKB | yes |
//! | `VECTOR` | BLOB | 4-byte floats, little-endian | yes |
//! | MariaDB's `UUID`, `INET6`, `INET4` | TEXT | as MariaDB prints it, in lower case | yes |
//!
//! The declared types are chosen by SQLite's affinity rules ("Datatypes In SQLite", section 3): each has the affinity of the
//! value it holds, so SQLite never converts one. A declared `JSON`, `DECIMAL` or `DATE` would have numeric affinity and turn
//! text that looks like a number into one.

use crate::model::{ColumnType, IntWidth};

/// How a column is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Storage {
    /// Integers that fit 64 bits with sign.
    Integer,
    /// Integers of 64 bits without sign: integer, or text digits above `i64::MAX`.
    Wide,
    /// Floating point.
    Real,
    /// Text.
    Text,
    /// Bytes.
    Blob,
}

impl Storage {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Integer, Self::Wide, Self::Real, Self::Text, Self::Blob];

    /// As it is written down.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Wide => "wide",
            Self::Real => "real",
            Self::Text => "text",
            Self::Blob => "blob",
        }
    }

    /// Of a source type; `None` for a type that is not supported.
    pub(super) fn of(ty: &ColumnType) -> Option<Self> {
        Some(match ty {
            ColumnType::Int { width: IntWidth::W8, unsigned: true } => Self::Wide,
            ColumnType::Bit { bits } if *bits > 63 => Self::Wide,
            ColumnType::Int { .. } | ColumnType::Year | ColumnType::Bit { .. } => Self::Integer,
            ColumnType::Float | ColumnType::Double => Self::Real,
            ColumnType::Decimal { .. }
            | ColumnType::Date
            | ColumnType::Time { .. }
            | ColumnType::DateTime { .. }
            | ColumnType::Timestamp { .. }
            | ColumnType::Char { .. }
            | ColumnType::VarChar { .. }
            | ColumnType::Text { .. }
            | ColumnType::Enum { .. }
            | ColumnType::Set { .. }
            | ColumnType::Json
            | ColumnType::Uuid
            | ColumnType::Inet6
            | ColumnType::Inet4 => Self::Text,
            ColumnType::Binary { .. }
            | ColumnType::VarBinary { .. }
            | ColumnType::Blob { .. }
            | ColumnType::Geometry
            | ColumnType::Vector => Self::Blob,
            ColumnType::Unsupported { .. } => return None,
        })
    }

    /// The declared type of its column; empty for a column without one.
    pub(super) const fn declared(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Wide => "",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
        }
    }
}
