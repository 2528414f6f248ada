//! What a change of a column's type does to the values that are there.

use super::{Charset, ColumnType};

/// Whether every value of `old` is the same value under `new`, for every sink.
pub fn keeps_values(old: &ColumnType, new: &ColumnType) -> bool {
    use ColumnType as T;
    match (old, new) {
        (T::Int { width: a, unsigned: false }, T::Int { width: b, unsigned: false })
        | (T::Int { width: a, unsigned: true }, T::Int { width: b, unsigned: true }) => a.bytes() <= b.bytes(),
        (T::Char { .. } | T::VarChar { .. }, T::VarChar { .. } | T::Text { .. })
        | (T::VarChar { .. } | T::Char { .. }, T::Char { .. })
        | (T::Text { .. }, T::Text { .. }) => charset(old) == charset(new) && longest(old) <= longest(new),
        (T::VarBinary { .. } | T::Blob { .. }, T::VarBinary { .. } | T::Blob { .. }) => longest(old) <= longest(new),
        (T::Enum { members: a }, T::Enum { members: b }) | (T::Set { members: a }, T::Set { members: b }) => {
            b.len() >= a.len() && a.iter().zip(b).all(|(a, b)| a == b)
        }
        (a, b) => a == b,
    }
}

fn charset(ty: &ColumnType) -> Option<&Charset> {
    match ty {
        ColumnType::Char { charset, .. } | ColumnType::VarChar { charset, .. } | ColumnType::Text { charset, .. } => {
            Some(charset)
        }
        _ => None,
    }
}

fn longest(ty: &ColumnType) -> u64 {
    match ty {
        ColumnType::Char { max_bytes, .. }
        | ColumnType::VarChar { max_bytes, .. }
        | ColumnType::VarBinary { max_bytes } => u64::from(*max_bytes),
        ColumnType::Text { length_bytes, .. } | ColumnType::Blob { length_bytes } => {
            (1_u64 << (8 * u32::from(*length_bytes).min(4))) - 1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_values_only_when_it_grows_in_the_same_charset() {
        let text = |max_bytes, charset: &str| ColumnType::VarChar { max_bytes, charset: Charset::new(charset) };
        assert!(keeps_values(&text(10, "utf8mb4"), &text(20, "utf8mb4")));
        assert!(!keeps_values(&text(20, "utf8mb4"), &text(10, "utf8mb4")));
        assert!(!keeps_values(&text(10, "latin1"), &text(40, "utf8mb4")));
    }
}
