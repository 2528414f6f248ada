//! How each column type of the source is kept: the types of ClickHouse that this sink knows, and which one a column gets.
//!
//! | source type | type | exact |
//! |---|---|---|
//! | `TINYINT` to `BIGINT` | `Int8` to `Int64`, unsigned `UInt8` to `UInt64`; `MEDIUMINT` in 32 bits | yes |
//! | `FLOAT`, `DOUBLE` | `Float32`, `Float64` | yes |
//! | `DECIMAL(p, s)` | `Decimal(p, s)` | yes |
//! | `YEAR` | `UInt16`, 0 for 0000 | yes |
//! | `DATE` | `Date32` | yes; dates that name no day by `zero_dates` |
//! | `DATETIME(f)`, `TIMESTAMP(f)` | `DateTime64(f, 'UTC')` | as `DATE` |
//! | `TIME(f)` | `Time64(f)` | yes |
//! | `CHAR`, `VARCHAR`, `TEXT` family | `String`, UTF-8 | yes |
//! | `BINARY`, `VARBINARY`, `BLOB` family | `String`; `BINARY(n)` padded to n | yes |
//! | `ENUM` | `LowCardinality(String)`, the label, empty for the invalid value 0 | yes, but for 0 and a label that is empty |
//! | `SET` | `String`, labels joined by commas; by `sets: array` `Array(String)` where the column is not nullable | yes |
//! | `BIT(n)` | `UInt64` | yes |
//! | `JSON` of MySQL | `String`, as the server prints it; by `json: json` ClickHouse's `JSON` | as text; `JSON` takes objects only and drops nulls |
//! | spatial types | `String`, SRID in 4 bytes, then WKB | yes |
//! | `VECTOR` | `Array(Float32)`, empty for NULL | yes: MySQL has no empty vector |
//! | MariaDB's `UUID`, `INET6`, `INET4` | `UUID`, `IPv6`, `IPv4` | yes |
//!
//! A type is `Nullable` where the source's column is, never in the key, and always in a changelog, whose rows lack one side.
//! An `Array` cannot be: an empty one stands for NULL, so a nullable `SET`, which has an empty value of its own, stays a
//! string. Spatial values keep their SRID in front, as the source stores them: WKB alone has no place for it.

use std::fmt;

use crate::error::Failure;
use crate::model::{Column, ColumnType, IntWidth, TableName};
use crate::sink::clickhouse::{ClickHouseTypes, JsonType, SetType};
use crate::sink::layout::Place;

/// A type of ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Type {
    /// Whether it holds NULL.
    pub(super) nullable: bool,
    /// What it holds besides.
    pub(super) base: Base,
}

/// A type of ClickHouse, nullable or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// `Int8` to `UInt256`.
    Int {
        /// 1 to 32.
        bytes: u8,
        /// `Int`, not `UInt`.
        signed: bool,
    },
    /// `Float32`.
    Float32,
    /// `Float64`.
    Float64,
    /// `Decimal(precision, scale)`.
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `Date32`.
    Date32,
    /// `DateTime64(precision, 'zone')`.
    DateTime64 {
        /// Digits of the fraction, 0 to 9.
        precision: u8,
        /// The zone it is shown in; without one the server's.
        zone: Option<String>,
    },
    /// `Time64(precision)`.
    Time64 {
        /// Digits of the fraction, 0 to 9.
        precision: u8,
    },
    /// `String`, perhaps in `LowCardinality`, which has the same bytes in RowBinary.
    String {
        /// `LowCardinality`.
        low_cardinality: bool,
    },
    /// `JSON`.
    Json,
    /// `Array(Float32)`.
    Floats,
    /// `Array(String)`.
    Strings,
    /// `UUID`.
    Uuid,
    /// `IPv6`.
    Ipv6,
    /// `IPv4`.
    Ipv4,
}

/// The type of a column as `DESCRIBE TABLE` prints it.
///
/// # Errors
/// A type that is not supported, by name.
pub(super) fn target_type(
    table: &TableName,
    column: &Column,
    options: ClickHouseTypes,
    place: Place,
) -> Result<String, Failure> {
    Ok(Type::of(table, column, options, place)?.to_string())
}

impl Type {
    /// The type a column gets.
    pub(super) fn of(
        table: &TableName,
        column: &Column,
        options: ClickHouseTypes,
        place: Place,
    ) -> Result<Self, Failure> {
        let base = match &column.ty {
            ColumnType::Int { width, unsigned } => Base::Int {
                bytes: match width {
                    IntWidth::W1 => 1,
                    IntWidth::W2 => 2,
                    IntWidth::W3 | IntWidth::W4 => 4,
                    IntWidth::W8 => 8,
                },
                signed: !unsigned,
            },
            ColumnType::Bit { .. } => Base::Int { bytes: 8, signed: false },
            ColumnType::Year => Base::Int { bytes: 2, signed: false },
            ColumnType::Float => Base::Float32,
            ColumnType::Double => Base::Float64,
            ColumnType::Decimal { precision, scale } if (1..=65).contains(precision) && scale <= precision => {
                Base::Decimal { precision: *precision, scale: *scale }
            }
            ColumnType::Decimal { precision, scale } => {
                return Err(unsupported(table, column, &format!("DECIMAL({precision},{scale})")));
            }
            ColumnType::Date => Base::Date32,
            ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } => {
                Base::DateTime64 { precision: *fsp, zone: Some("UTC".to_owned()) }
            }
            ColumnType::Time { fsp } => Base::Time64 { precision: *fsp },
            ColumnType::Enum { .. } => Base::String { low_cardinality: true },
            ColumnType::Set { .. } if options.sets == SetType::Array && !column.nullable => Base::Strings,
            ColumnType::Json if options.json == JsonType::Json => Base::Json,
            ColumnType::Vector => Base::Floats,
            ColumnType::Uuid => Base::Uuid,
            ColumnType::Inet6 => Base::Ipv6,
            ColumnType::Inet4 => Base::Ipv4,
            ColumnType::Char { .. }
            | ColumnType::VarChar { .. }
            | ColumnType::Text { .. }
            | ColumnType::Binary { .. }
            | ColumnType::VarBinary { .. }
            | ColumnType::Blob { .. }
            | ColumnType::Set { .. }
            | ColumnType::Json
            | ColumnType::Geometry => Base::String { low_cardinality: false },
            ColumnType::Unsupported { name, .. } => return Err(unsupported(table, column, name)),
        };
        let nullable = match place {
            Place::Key => false,
            Place::Plain => column.nullable,
            Place::HistorySide => true,
        };
        Ok(Self { nullable: nullable && !base.is_array(), base })
    }

    /// Reads the type's canonical text; `None` for a type this sink does not write.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, low_cardinality) = match inside(text, "LowCardinality(") {
            Some(inner) => (inner, true),
            None => (text, false),
        };
        let (text, nullable) = match inside(text, "Nullable(") {
            Some(inner) => (inner, true),
            None => (text, false),
        };
        let base = match (Base::parse(text)?, low_cardinality) {
            (Base::String { .. }, low_cardinality) => Base::String { low_cardinality },
            (_, true) => return None,
            (base, false) => base,
        };
        Some(Self { nullable, base })
    }

    /// Appends the RowBinary form of NULL, and of the type's empty value where it has no NULL.
    pub(super) fn write_absent(&self, out: &mut Vec<u8>) {
        if self.nullable {
            out.push(1);
            return;
        }
        let zeros = match &self.base {
            Base::Int { bytes, .. } => usize::from(*bytes),
            Base::Float32 | Base::Date32 | Base::Ipv4 => 4,
            Base::Uuid | Base::Ipv6 => 16,
            Base::Float64 | Base::DateTime64 { .. } | Base::Time64 { .. } => 8,
            Base::Decimal { precision, .. } => decimal_bytes(*precision),
            Base::String { .. } | Base::Floats | Base::Strings => 1,
            Base::Json => {
                out.extend_from_slice(b"\x02{}");
                return;
            }
        };
        out.resize(out.len() + zeros, 0);
    }
}

impl Base {
    /// Whether it is an array, which holds no NULL.
    pub(super) const fn is_array(&self) -> bool {
        matches!(self, Self::Floats | Self::Strings)
    }

    fn parse(text: &str) -> Option<Self> {
        let int = |bits: &str, signed| {
            let bytes = match bits {
                "8" => 1,
                "16" => 2,
                "32" => 4,
                "64" => 8,
                "128" => 16,
                "256" => 32,
                _ => return None,
            };
            Some(Self::Int { bytes, signed })
        };
        if let Some(bits) = text.strip_prefix("UInt") {
            return int(bits, false);
        }
        if let Some(bits) = text.strip_prefix("Int") {
            return int(bits, true);
        }
        if let Some(arguments) = inside(text, "Decimal(") {
            let (precision, scale) = arguments.split_once(", ")?;
            return Some(Self::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? });
        }
        if let Some(arguments) = inside(text, "DateTime64(") {
            let (precision, zone) = match arguments.split_once(", ") {
                Some((precision, zone)) => (precision, Some(zone.strip_prefix('\'')?.strip_suffix('\'')?.to_owned())),
                None => (arguments, None),
            };
            return Some(Self::DateTime64 { precision: fraction(precision)?, zone });
        }
        if let Some(precision) = inside(text, "Time64(") {
            return Some(Self::Time64 { precision: fraction(precision)? });
        }
        Some(match text {
            "Float32" => Self::Float32,
            "Float64" => Self::Float64,
            "Date32" => Self::Date32,
            "String" => Self::String { low_cardinality: false },
            "JSON" => Self::Json,
            "Array(Float32)" => Self::Floats,
            "Array(String)" => Self::Strings,
            "UUID" => Self::Uuid,
            "IPv6" => Self::Ipv6,
            "IPv4" => Self::Ipv4,
            _ if inside(text, "JSON(").is_some() => Self::Json,
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.nullable { ("Nullable(", ")") } else { ("", "") };
        match &self.base {
            Base::String { low_cardinality: true } => write!(f, "LowCardinality({open}String{close})"),
            base => write!(f, "{open}{base}{close}"),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { bytes, signed } => {
                write!(f, "{}Int{}", if *signed { "" } else { "U" }, u16::from(*bytes) * 8)
            }
            Self::Float32 => f.write_str("Float32"),
            Self::Float64 => f.write_str("Float64"),
            Self::Decimal { precision, scale } => write!(f, "Decimal({precision}, {scale})"),
            Self::Date32 => f.write_str("Date32"),
            Self::DateTime64 { precision, zone: Some(zone) } => write!(f, "DateTime64({precision}, '{zone}')"),
            Self::DateTime64 { precision, zone: None } => write!(f, "DateTime64({precision})"),
            Self::Time64 { precision } => write!(f, "Time64({precision})"),
            Self::String { .. } => f.write_str("String"),
            Self::Json => f.write_str("JSON"),
            Self::Floats => f.write_str("Array(Float32)"),
            Self::Strings => f.write_str("Array(String)"),
            Self::Uuid => f.write_str("UUID"),
            Self::Ipv6 => f.write_str("IPv6"),
            Self::Ipv4 => f.write_str("IPv4"),
        }
    }
}

/// Bytes of a `Decimal` of so many digits: the smallest of 4, 8, 16 and 32 that holds them.
pub(super) const fn decimal_bytes(precision: u8) -> usize {
    match precision {
        0..=9 => 4,
        10..=18 => 8,
        19..=38 => 16,
        _ => 32,
    }
}

/// What stands between `open` and the closing parenthesis at the text's end.
fn inside<'t>(text: &'t str, open: &str) -> Option<&'t str> {
    text.strip_prefix(open)?.strip_suffix(')')
}

fn fraction(text: &str) -> Option<u8> {
    text.parse().ok().filter(|digits| *digits <= 9)
}

fn unsupported(table: &TableName, column: &Column, ty: &str) -> Failure {
    Failure::row(format!("column \"{}\" of {table} has type {ty}, which is not supported", column.name))
        .hint("leave the column out with `drop`, or the table with `source.exclude`")
}

/// Whether every value of `old` is the same value in `new`, and the server converts it in place.
pub(super) fn widens(old: &str, new: &str) -> bool {
    let (Some(old), Some(new)) = (Type::parse(old), Type::parse(new)) else { return false };
    if old.nullable && !new.nullable {
        return false;
    }
    match (&old.base, &new.base) {
        (Base::Int { bytes: a, signed: x }, Base::Int { bytes: b, signed: y }) => x == y && a <= b,
        (Base::Decimal { precision: a, scale: x }, Base::Decimal { precision: b, scale: y }) => x == y && a <= b,
        (Base::DateTime64 { precision: a, zone: x }, Base::DateTime64 { precision: b, zone: y }) => x == y && a <= b,
        (Base::Time64 { precision: a }, Base::Time64 { precision: b }) => a <= b,
        (Base::String { .. }, Base::String { .. }) => true,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Charset, ColumnDefault};

    const TEXT: ClickHouseTypes = ClickHouseTypes { json: JsonType::String, sets: SetType::String };
    const NATIVE: ClickHouseTypes = ClickHouseTypes { json: JsonType::Json, sets: SetType::Array };

    fn column(ty: ColumnType, nullable: bool) -> Column {
        Column { name: "c".into(), ty, nullable, default: ColumnDefault::Unknown, attributes: None, collation: None }
    }

    fn all(ty: &ColumnType, options: ClickHouseTypes) -> [String; 4] {
        let table = TableName::new("shop", "t");
        let of = |nullable, place| target_type(&table, &column(ty.clone(), nullable), options, place).unwrap();
        [of(false, Place::Key), of(false, Place::Plain), of(true, Place::Plain), of(false, Place::HistorySide)]
    }

    #[test]
    fn a_type_is_nullable_where_its_column_is_never_in_the_key_and_always_beside_a_change() {
        let int = |width, unsigned| ColumnType::Int { width, unsigned };
        for (ty, name) in [
            (int(IntWidth::W1, false), "Int8"),
            (int(IntWidth::W2, true), "UInt16"),
            (int(IntWidth::W3, false), "Int32"),
            (int(IntWidth::W3, true), "UInt32"),
            (int(IntWidth::W8, true), "UInt64"),
            (ColumnType::Bit { bits: 1 }, "UInt64"),
            (ColumnType::Year, "UInt16"),
            (ColumnType::Float, "Float32"),
            (ColumnType::Double, "Float64"),
            (ColumnType::Decimal { precision: 65, scale: 30 }, "Decimal(65, 30)"),
            (ColumnType::Date, "Date32"),
            (ColumnType::DateTime { fsp: 0 }, "DateTime64(0, 'UTC')"),
            (ColumnType::Timestamp { fsp: 6 }, "DateTime64(6, 'UTC')"),
            (ColumnType::Time { fsp: 3 }, "Time64(3)"),
            (ColumnType::Text { length_bytes: 4, charset: Charset::new("latin1") }, "String"),
            (ColumnType::Blob { length_bytes: 4 }, "String"),
            (ColumnType::Geometry, "String"),
            (ColumnType::Set { members: Vec::new() }, "String"),
            (ColumnType::Json, "String"),
            (ColumnType::Uuid, "UUID"),
            (ColumnType::Inet6, "IPv6"),
            (ColumnType::Inet4, "IPv4"),
        ] {
            let nullable = format!("Nullable({name})");
            assert_eq!(all(&ty, TEXT), [name, name, &nullable, &nullable]);
        }
    }

    #[test]
    fn labels_documents_and_arrays_have_forms_of_their_own() {
        let labels = "LowCardinality(String)";
        let nullable = "LowCardinality(Nullable(String))";
        assert_eq!(all(&ColumnType::Enum { members: Vec::new() }, TEXT), [labels, labels, nullable, nullable]);
        assert_eq!(all(&ColumnType::Json, NATIVE), ["JSON", "JSON", "Nullable(JSON)", "Nullable(JSON)"]);
        let set = all(&ColumnType::Set { members: Vec::new() }, NATIVE);
        assert_eq!(set, ["Array(String)", "Array(String)", "Nullable(String)", "Array(String)"]);
        assert_eq!(all(&ColumnType::Vector, TEXT), ["Array(Float32)"; 4]);
    }

    #[test]
    fn a_printed_type_is_read_back() {
        for text in [
            "Int8",
            "UInt256",
            "Nullable(Int128)",
            "Float32",
            "Nullable(Float64)",
            "Decimal(65, 30)",
            "Nullable(Decimal(1, 0))",
            "Date32",
            "DateTime64(6, 'UTC')",
            "Nullable(DateTime64(0, 'UTC'))",
            "DateTime64(9)",
            "Time64(6)",
            "String",
            "LowCardinality(String)",
            "LowCardinality(Nullable(String))",
            "Nullable(JSON)",
            "Array(Float32)",
            "Array(String)",
            "UUID",
            "Nullable(IPv6)",
            "IPv4",
        ] {
            assert_eq!(Type::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["Bool", "Int24", "Date", "Enum8('a' = 1)", "LowCardinality(Int8)", "Array(Int8)", "Tuple(Int8)", ""]
        {
            assert_eq!(Type::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_type_that_is_not_supported_is_refused_by_name() {
        let table = TableName::new("shop", "t");
        for (ty, name) in [
            (ColumnType::Unsupported { code: 200, name: "XMLTYPE".into() }, "XMLTYPE"),
            (ColumnType::Decimal { precision: 66, scale: 0 }, "DECIMAL(66,0)"),
            (ColumnType::Decimal { precision: 0, scale: 0 }, "DECIMAL(0,0)"),
        ] {
            let failure = target_type(&table, &column(ty, true), TEXT, Place::Plain).unwrap_err();
            assert_eq!(failure.message, format!("column \"c\" of shop.t has type {name}, which is not supported"));
        }
    }

    #[test]
    fn only_a_type_that_holds_every_value_in_the_same_form_is_wider() {
        for (old, new, wider) in [
            ("Int8", "Int32", true),
            ("Int32", "Int8", false),
            ("UInt8", "Int32", false),
            ("Int32", "Nullable(Int64)", true),
            ("Nullable(Int32)", "Int64", false),
            ("Decimal(8, 2)", "Decimal(12, 2)", true),
            ("Decimal(8, 2)", "Decimal(12, 4)", false),
            ("DateTime64(0, 'UTC')", "DateTime64(6, 'UTC')", true),
            ("String", "LowCardinality(String)", true),
            ("Int32", "String", false),
        ] {
            assert_eq!(widens(old, new), wider, "{old} to {new}");
        }
    }
}
