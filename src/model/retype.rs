//! What the server makes of a column's values when its definition changes: the one table of conversions.
//!
//! Everybody who has to know asks here: the source, whether rows are read again, and the sinks, how old values are brought near the new
//! ones until they are. Nothing is called the same that is not provably so under every `sql_mode`, time zone and character set.

use super::{Attributes, Charset, Column, ColumnType, IntWidth};

/// What becomes of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Each is the same value under the new definition, for every sink.
    Same,
    /// Each has one new form that follows from the old one, as long as nothing but the types decides it.
    Convert(Conversion),
    /// What the server makes of them is not known here.
    Unknown,
}

/// How an old value becomes the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// The same number, text or bytes under another type.
    Retype,
    /// An integer gets a fraction of this many zeros.
    ToDecimal {
        /// Digits after the point.
        scale: u8,
    },
    /// A number is written as a text.
    ToText,
    /// An integer becomes a floating-point number.
    ToDouble,
    /// A decimal number or a time gets more digits after its point, all of them zero.
    MoreDigits {
        /// It had none, and gets the point, too.
        point: bool,
        /// How many more.
        more: u8,
    },
    /// A date becomes its first moment.
    ToMidnight {
        /// Digits of the fraction of the seconds.
        fsp: u8,
    },
}

/// What becomes of the values of the column `old` when its definition becomes `new`. Attributes that are not known of either may be
/// any: a caller who knows that no statement has touched the column says so by giving both the same.
pub fn kept(old: &Column, new: &Column) -> Kept {
    let (Some(before), Some(after)) = (&old.attributes, &new.attributes) else {
        return Kept::Unknown;
    };
    if old.nullable && !new.nullable || !attributes_keep((&old.ty, before), (&new.ty, after)) {
        return Kept::Unknown;
    }
    kept_types(&old.ty, &new.ty)
}

/// What becomes of the values of a column that no statement has touched, whose attributes are therefore those that it had: nobody need
/// know them.
pub fn kept_untouched(old: &Column, new: &Column) -> Kept {
    if old.nullable && !new.nullable {
        return Kept::Unknown;
    }
    kept_types(&old.ty, &new.ty)
}

/// Whether the attributes alone leave every value what it is.
fn attributes_keep((old_ty, old): (&ColumnType, &Attributes), (new_ty, new): (&ColumnType, &Attributes)) -> bool {
    // The server numbers rows that have 0 or NULL when a column becomes AUTO_INCREMENT.
    old.generated == new.generated
        && (old.auto_increment || !new.auto_increment)
        && (new.digits.is_none() || old.digits == new.digits)
        // What is below zero is cut off, or refused.
        && (!is_number(old_ty) || old.unsigned || !new.unsigned)
        // A number has zeros before it only as a text.
        && (!old.zerofill || is_number(new_ty))
}

fn is_number(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::Int { .. } | ColumnType::Float | ColumnType::Double | ColumnType::Decimal { .. })
}

/// What becomes of values as far as the types decide it.
pub fn kept_types(old: &ColumnType, new: &ColumnType) -> Kept {
    use ColumnType as T;
    let same_if = |same: bool, otherwise: Kept| if same { Kept::Same } else { otherwise };
    let convert_if = |is: bool, how: Conversion| if is { Kept::Convert(how) } else { Kept::Unknown };
    match (old, new) {
        (a, b) if a == b => Kept::Same,
        (T::Int { width: a, unsigned: x }, T::Int { width: b, unsigned: y }) => {
            // A wider signed integer holds every unsigned one; never the other way round.
            let fits = *x && !*y && a.bytes() < b.bytes();
            same_if(x == y && a.bytes() <= b.bytes(), convert_if(fits, Conversion::Retype))
        }
        (T::Int { width, .. }, T::Decimal { precision, scale }) => {
            let fits = precision.saturating_sub(*scale) >= digits(*width);
            convert_if(fits, Conversion::ToDecimal { scale: *scale })
        }
        (T::Int { width, .. }, T::Double) => convert_if(width.bytes() <= 4, Conversion::ToDouble),
        (T::Int { .. }, T::VarChar { max_bytes, .. }) => convert_if(*max_bytes >= 80, Conversion::ToText),
        (T::Int { .. }, T::Text { .. }) => Kept::Convert(Conversion::ToText),
        (T::Float, T::Double) => Kept::Convert(Conversion::Retype),
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision: q, scale: t }) => {
            let fits = t >= s && q.saturating_sub(*t) >= p.saturating_sub(*s);
            let more = Conversion::MoreDigits { point: *s == 0, more: t.saturating_sub(*s) };
            same_if(fits && s == t, convert_if(fits, more))
        }
        (T::Time { fsp: a }, T::Time { fsp: b })
        | (T::DateTime { fsp: a }, T::DateTime { fsp: b })
        | (T::Timestamp { fsp: a }, T::Timestamp { fsp: b }) => {
            convert_if(b > a, Conversion::MoreDigits { point: *a == 0, more: b.saturating_sub(*a) })
        }
        (T::Date, T::DateTime { fsp }) => Kept::Convert(Conversion::ToMidnight { fsp: *fsp }),
        // A CHAR has no spaces at its end; what becomes one loses them.
        (
            T::Char { charset: a, .. },
            T::Char { charset: b, .. } | T::VarChar { charset: b, .. } | T::Text { charset: b, .. },
        )
        | (T::VarChar { charset: a, .. }, T::VarChar { charset: b, .. } | T::Text { charset: b, .. })
        | (T::Text { charset: a, .. }, T::Text { charset: b, .. }) => {
            let fits = longest(new) >= longest(old);
            same_if(fits && a == b, convert_if(fits && holds(b, a), Conversion::Retype))
        }
        (T::VarBinary { .. } | T::Blob { .. }, T::VarBinary { .. } | T::Blob { .. }) => {
            same_if(longest(new) >= longest(old), Kept::Unknown)
        }
        (T::Binary { .. }, T::VarBinary { .. } | T::Blob { .. }) => {
            convert_if(longest(new) >= longest(old), Conversion::Retype)
        }
        (T::Enum { members: a }, T::Enum { members: b }) | (T::Set { members: a }, T::Set { members: b }) => {
            same_if(b.starts_with(a), Kept::Unknown)
        }
        (T::Bit { bits: a }, T::Bit { bits: b }) => convert_if(b >= a, Conversion::Retype),
        // A pair that is not listed, of a type that is new here, too.
        _ => Kept::Unknown,
    }
}

/// Digits the integers of a width have at most.
fn digits(width: IntWidth) -> u8 {
    match width {
        IntWidth::W1 => 3,
        IntWidth::W2 => 5,
        IntWidth::W3 => 8,
        IntWidth::W4 => 10,
        IntWidth::W8 => 20,
    }
}

/// Whether every character of `small` is in `large`.
fn holds(large: &Charset, small: &Charset) -> bool {
    large == small || large.as_str() == "utf8mb4" || small.as_str() == "ascii" && large.as_str() == "utf8mb3"
}

/// Longest value in bytes of the column's own character set.
fn longest(ty: &ColumnType) -> u64 {
    match ty {
        ColumnType::Char { max_bytes, .. }
        | ColumnType::VarChar { max_bytes, .. }
        | ColumnType::VarBinary { max_bytes }
        | ColumnType::Binary { length: max_bytes } => u64::from(*max_bytes),
        ColumnType::Text { length_bytes, .. } | ColumnType::Blob { length_bytes } => {
            (1_u64 << (8 * u32::from(*length_bytes).min(4))) - 1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
