//! Rows that are told by values which a policy writes: under another policy they would not be found.

use crate::model::{ColumnType, Key, TableSchema};

/// Whether the rows of a mirror are told by values that one policy writes otherwise than another: those of a key, or all of
/// them where there is none. The policies are in words, as they are stored.
pub(in crate::sink) fn are_told_otherwise(
    schema: &TableSchema,
    is_kept: impl Fn(&str) -> bool,
    (then, now): (&str, &str),
) -> bool {
    let key = schema.key.as_ref();
    let differs = |policy: &str| word(then, policy).zip(word(now, policy)).is_some_and(|(then, now)| then != now);
    // In a key there is no NULL: `null` and `stop` refuse the same rows.
    let is_refused = |policies: &str| matches!(word(policies, "zero_dates"), Some("null" | "stop"));
    let dates = differs("zero_dates") && (key.is_none() || !(is_refused(then) && is_refused(now)));
    // A key has the bytes of malformed text, or its row is refused.
    let texts = differs("invalid_text") && key.is_none();
    let numbers = differs("unconvertible") && key.is_none();
    let is_told_by = |place: usize| {
        let is_in = |key: &Key| key.columns.iter().any(|column| usize::from(*column) == place);
        key.is_none_or(is_in)
    };
    schema.columns.iter().enumerate().any(|(place, column)| {
        let is_written_otherwise = match &column.ty {
            ColumnType::Date | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => dates,
            ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Text { .. } => texts,
            ColumnType::Float | ColumnType::Double => numbers,
            _ => false,
        };
        is_written_otherwise && is_told_by(place) && is_kept(&column.name)
    })
}

/// What policies in words say of one of them.
fn word<'p>(policies: &'p str, policy: &str) -> Option<&'p str> {
    policies.split(", ").find_map(|part| part.strip_prefix(policy)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ValuePolicy, ZeroDates};

    #[test]
    fn each_word_of_a_policy_is_found_in_its_words() {
        let words = ValuePolicy::new(ZeroDates::Epoch).to_string();
        let found = ["zero_dates", "invalid_text", "unconvertible", "dates"].map(|policy| word(&words, policy));
        assert_eq!(found, [Some("epoch"), Some("stop"), Some("stop"), None]);
    }
}
