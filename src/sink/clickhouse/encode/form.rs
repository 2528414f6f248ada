//! What writing one column's value means: decided once, from the source's type and the target's.

use crate::model::ColumnType;
use crate::sink::clickhouse::types::{Base, decimal_bytes};

use super::instant::Ticks;

/// How one column is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) form: Form,
    /// The target's type is `Nullable`.
    pub(super) nullable: bool,
}

/// The bytes of one column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The column is not written.
    None,
    /// An integer that fits for sure.
    Int1,
    Int2,
    Int4,
    Int8,
    /// An integer in a type that the source's does not fit into, or wider than 8 bytes.
    IntChecked {
        bytes: u8,
        signed: bool,
    },
    Float32,
    Float64,
    /// The first so many bytes of the unscaled number.
    Decimal8,
    DecimalOther {
        bytes: u8,
    },
    Date,
    /// Ticks since the epoch.
    Instant(Ticks),
    /// Ticks of a span.
    Span(Ticks),
    /// Length and bytes.
    Raw,
    /// Length and the text that the server prints.
    Printed,
    /// Labels joined by commas.
    Joined,
    /// Labels as an array.
    Labels,
    /// Text of a document.
    Document,
    /// Text of a document that must be an object.
    Object,
    Floats,
    /// Two halves of 8 bytes, each little-endian.
    Uuid,
    /// 16 bytes in network order.
    Ipv6,
    /// 4 bytes, little-endian.
    Ipv4,
}

impl Form {
    /// `None` where the target cannot hold every kind of value that the source's type has.
    pub(super) fn of(source: &ColumnType, target: &Base) -> Option<Self> {
        Some(match (source, target) {
            (ColumnType::Int { width, unsigned }, Base::Int { bytes, signed }) => {
                Self::int(u8::try_from(width.bytes()).ok()?, !unsigned, *bytes, *signed)
            }
            (ColumnType::Bit { bits }, Base::Int { bytes, signed }) => {
                Self::int(bits.div_ceil(8), false, *bytes, *signed)
            }
            (ColumnType::Year, Base::Int { bytes, signed }) => Self::int(2, false, *bytes, *signed),
            (ColumnType::Float, Base::Float32) => Self::Float32,
            (ColumnType::Float | ColumnType::Double, Base::Float64) => Self::Float64,
            (ColumnType::Decimal { precision, scale }, Base::Decimal { precision: digits, scale: target_scale })
                if scale == target_scale && precision <= digits =>
            {
                match decimal_bytes(*digits) {
                    8 => Self::Decimal8,
                    bytes => Self::DecimalOther { bytes: u8::try_from(bytes).ok()? },
                }
            }
            (ColumnType::Date, Base::Date32) => Self::Date,
            // The zone says how an instant is shown. A DATETIME has none of its own and is shown as it is in UTC alone.
            (ColumnType::DateTime { fsp }, Base::DateTime64 { precision, zone: Some(zone) })
                if fsp <= precision && zone == "UTC" =>
            {
                Self::Instant(Ticks::of(*precision)?)
            }
            (ColumnType::Timestamp { fsp }, Base::DateTime64 { precision, .. }) if fsp <= precision => {
                Self::Instant(Ticks::of(*precision)?)
            }
            (ColumnType::Time { fsp }, Base::Time64 { precision }) if fsp <= precision => {
                Self::Span(Ticks::of(*precision)?)
            }
            (
                ColumnType::Char { .. }
                | ColumnType::VarChar { .. }
                | ColumnType::Text { .. }
                | ColumnType::Binary { .. }
                | ColumnType::VarBinary { .. }
                | ColumnType::Blob { .. }
                | ColumnType::Enum { .. }
                | ColumnType::Geometry,
                Base::String { .. },
            ) => Self::Raw,
            (ColumnType::Set { .. }, Base::String { .. }) => Self::Joined,
            (ColumnType::Set { .. }, Base::Strings) => Self::Labels,
            (ColumnType::Json, Base::String { .. }) => Self::Document,
            (ColumnType::Json, Base::Json) => Self::Object,
            (ColumnType::Vector, Base::Floats) => Self::Floats,
            (ColumnType::Uuid, Base::Uuid) => Self::Uuid,
            (ColumnType::Inet6, Base::Ipv6) => Self::Ipv6,
            (ColumnType::Inet4, Base::Ipv4) => Self::Ipv4,
            (ColumnType::Uuid | ColumnType::Inet6 | ColumnType::Inet4, Base::String { .. }) => Self::Printed,
            _ => return None,
        })
    }

    fn int(width: u8, signed: bool, bytes: u8, target_signed: bool) -> Self {
        // A sign needs a bit that a type without one may use for its numbers.
        let fits = match (signed, target_signed) {
            (true, true) | (false, false) => width <= bytes,
            (false, true) => width < bytes,
            (true, false) => false,
        };
        match (fits, bytes) {
            (true, 1) => Self::Int1,
            (true, 2) => Self::Int2,
            (true, 4) => Self::Int4,
            (true, 8) => Self::Int8,
            _ => Self::IntChecked { bytes, signed: target_signed },
        }
    }
}
