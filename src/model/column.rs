//! Column types as the log stores them: what the row image's bits mean, no more.
//!
//! A [`ColumnType`] says everything that is needed to read one value out of a row image and to name its exact range at
//! a sink. It comes from a `TABLE_MAP` event with full metadata (WL#4618) or from `information_schema`; both must give
//! equal values for the same table, so nothing stands here that only one of them knows; but for MariaDB's `UUID`, `INET6` and
//! `INET4`, which `TABLE_MAP` calls `BINARY` ([`ColumnType::as_told`]).

use serde::{Deserialize, Serialize};

/// Stored width of an integer column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IntWidth {
    /// `TINYINT`, 1 byte.
    W1,
    /// `SMALLINT`, 2 bytes.
    W2,
    /// `MEDIUMINT`, 3 bytes.
    W3,
    /// `INT`, 4 bytes.
    W4,
    /// `BIGINT`, 8 bytes.
    W8,
}

impl IntWidth {
    /// Bytes a value takes in a row image.
    pub const fn bytes(self) -> usize {
        match self {
            Self::W1 => 1,
            Self::W2 => 2,
            Self::W3 => 3,
            Self::W4 => 4,
            Self::W8 => 8,
        }
    }
}

/// A character set by MySQL's own name, in lower case (`utf8mb4`, `latin1`), never an alias.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Charset(String);

impl Charset {
    /// Takes a name as the server spells it; `utf8` becomes `utf8mb3`.
    pub fn new(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        Self(if name == "utf8" { "utf8mb3".to_owned() } else { name })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The type of a column, with what is needed to read its row-image bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ColumnType {
    /// `TINYINT` to `BIGINT`; little-endian.
    Int {
        /// Stored width.
        width: IntWidth,
        /// `UNSIGNED`.
        unsigned: bool,
    },
    /// `FLOAT`, 4 bytes little-endian.
    Float,
    /// `DOUBLE`, 8 bytes little-endian.
    Double,
    /// `DECIMAL(precision, scale)`, MySQL's packed decimal.
    Decimal {
        /// Digits in all, 1 to 65.
        precision: u8,
        /// Digits after the point, 0 to 38.
        scale: u8,
    },
    /// `YEAR`, one byte: 0 is 0000, else 1900 + n.
    Year,
    /// `DATE`, 3 bytes.
    Date,
    /// `TIME(fsp)`, `TIME2` encoding.
    Time {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// `DATETIME(fsp)`, `DATETIME2` encoding.
    DateTime {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// `TIMESTAMP(fsp)`, `TIMESTAMP2` encoding, seconds since the epoch in UTC.
    Timestamp {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// `BIT(bits)`, big-endian.
    Bit {
        /// 1 to 64.
        bits: u8,
    },
    /// `CHAR`; the image holds it without its trailing spaces.
    Char {
        /// Longest value in bytes; above 255 the length prefix has two bytes.
        max_bytes: u16,
        /// Character set of the bytes.
        charset: Charset,
    },
    /// `VARCHAR`.
    VarChar {
        /// Longest value in bytes; above 255 the length prefix has two bytes.
        max_bytes: u16,
        /// Character set of the bytes.
        charset: Charset,
    },
    /// `TINYTEXT` to `LONGTEXT`, and MariaDB's `JSON`.
    Text {
        /// Bytes of the length prefix, 1 to 4.
        length_bytes: u8,
        /// Character set of the bytes.
        charset: Charset,
    },
    /// `BINARY(length)`; the image holds it without its trailing zero bytes, readers put them back.
    Binary {
        /// Bytes of every value.
        length: u16,
    },
    /// `VARBINARY`.
    VarBinary {
        /// Longest value in bytes; above 255 the length prefix has two bytes.
        max_bytes: u16,
    },
    /// `TINYBLOB` to `LONGBLOB`.
    Blob {
        /// Bytes of the length prefix, 1 to 4.
        length_bytes: u8,
    },
    /// `ENUM`: an ordinal, 1-based, one byte up to 255 members, else two; 0 is the invalid value `''`.
    Enum {
        /// The labels in order.
        members: Vec<String>,
    },
    /// `SET`: a bit mask of `(members + 7) / 8` bytes, of which 5, 6 and 7 are stored as 8.
    Set {
        /// The labels in order.
        members: Vec<String>,
    },
    /// MySQL's `JSON`, its binary form with a 4-byte length prefix.
    Json,
    /// Every spatial type: SRID (4 bytes) and WKB, with a 4-byte length prefix.
    Geometry,
    /// MySQL's `VECTOR`: little-endian `f32`s, with a 4-byte length prefix.
    Vector,
    /// A type this version does not read. A captured table that has one stops the stream by name.
    Unsupported {
        /// The type code of the protocol (`enum_field_types`).
        code: u8,
        /// What it is, for the error.
        name: String,
    },
    // Behind the others, because the log stores a type by its place here.
    /// MariaDB's `UUID`: 16 bytes in the order of its text. As [`ColumnType::Binary`] in the image.
    Uuid,
    /// MariaDB's `INET6`: 16 bytes in network order. As [`ColumnType::Binary`] in the image.
    Inet6,
    /// MariaDB's `INET4`: 4 bytes in network order. As [`ColumnType::Binary`] in the image.
    Inet4,
}

impl ColumnType {
    /// Length of the `BINARY` that a `TABLE_MAP` calls a column of this type; `None` of a type that is called what it is.
    pub const fn told_as_binary(&self) -> Option<u16> {
        match self {
            Self::Uuid | Self::Inet6 => Some(16),
            Self::Inet4 => Some(4),
            _ => None,
        }
    }

    /// The character set of a text.
    pub const fn charset(&self) -> Option<&Charset> {
        match self {
            Self::Char { charset, .. } | Self::VarChar { charset, .. } | Self::Text { charset, .. } => Some(charset),
            _ => None,
        }
    }

    /// The type as a `TABLE_MAP` tells it.
    #[must_use]
    pub fn as_told(&self) -> Self {
        self.told_as_binary().map_or_else(|| self.clone(), |length| Self::Binary { length })
    }
}

/// What rows that were there before the column was added hold in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ColumnDefault {
    /// Not known (the schema came from a `TABLE_MAP` alone), or not a constant (an expression, `AUTO_INCREMENT`, a generated column).
    Unknown,
    /// `NULL`.
    Null,
    /// One value, in row-image bytes of the column's type.
    Value(Vec<u8>),
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Name as the source spells it.
    pub name: String,
    /// Type, with what the row image needs.
    pub ty: ColumnType,
    /// Whether `NULL` is allowed.
    pub nullable: bool,
    /// Only meaningful for a column that a schema change adds.
    pub default: ColumnDefault,
    /// What its definition says beside the type; `None`: not known, as a `TABLE_MAP` does not say it.
    pub attributes: Option<Attributes>,
    /// The server's number of a text's collation; `None`: it has none, or it is not known.
    pub collation: Option<u16>,
}

/// What a column's definition says beside its type, as far as it decides what the server makes of the values that are there when the
/// definition changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// The server computes the value: the expression, as the statement or the catalogue spells it.
    pub generated: Option<String>,
    /// `AUTO_INCREMENT`.
    pub auto_increment: bool,
    /// `(M, D)` of a `FLOAT` or `DOUBLE`: it is rounded to D digits.
    pub digits: Option<(u8, u8)>,
    /// `UNSIGNED`; of an integer its type says it, too.
    pub unsigned: bool,
    /// `ZEROFILL`: as a text, the number has leading zeros.
    pub zerofill: bool,
}
