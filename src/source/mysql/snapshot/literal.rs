//! Key values as SQL literals that the server compares exactly as it orders the index.
//!
//! Values are never bound as parameters: a parameter has the connection's character set and collation, so the server
//! would compare in another order than the index has, or not use the index. Text goes as hex with its character set and
//! collation named, so it is the same bytes whatever the connection speaks.

use mysql_async::Value;
use serde::{Deserialize, Serialize};

use crate::source::mysql::schema::{KeyClass, KeyPart, identifier};

/// A key column's value, checked to be safe inside SQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyValue {
    /// Digits with sign and point.
    Number(String),
    /// Bytes, in hex.
    Hex(String),
    /// A date or time as the server prints it.
    Temporal(String),
    /// A UUID or an address as the server prints it.
    Address(String),
}

/// The expression whose text [`KeyValue::from_text`] takes.
pub(super) fn select(part: &KeyPart) -> String {
    let name = identifier(&part.name);
    match part.class {
        KeyClass::Number => name,
        KeyClass::Ordinal => format!("CAST({name} AS UNSIGNED)"),
        KeyClass::Text { .. } | KeyClass::Binary => format!("HEX({name})"),
        KeyClass::Temporal | KeyClass::Uuid | KeyClass::Inet6 | KeyClass::Inet4 => format!("CAST({name} AS CHAR)"),
    }
}

impl KeyValue {
    /// From the text of [`select`]; `None` when it is not what the class allows.
    pub(super) fn from_text(class: &KeyClass, text: &str) -> Option<Self> {
        let all = |allowed: fn(char) -> bool| text.chars().all(allowed);
        match class {
            KeyClass::Number | KeyClass::Ordinal => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let valid = digits.starts_with(|c: char| c.is_ascii_digit())
                    && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
                valid.then(|| Self::Number(text.to_owned()))
            }
            KeyClass::Text { .. } | KeyClass::Binary => {
                (text.len().is_multiple_of(2) && all(|c| c.is_ascii_hexdigit())).then(|| Self::Hex(text.to_owned()))
            }
            KeyClass::Temporal => (!text.is_empty()
                && all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | ' ' | '.')))
            .then(|| Self::Temporal(text.to_owned())),
            KeyClass::Uuid | KeyClass::Inet6 | KeyClass::Inet4 => (!text.is_empty()
                && all(|c| c.is_ascii_hexdigit() || matches!(c, '-' | ':' | '.')))
            .then(|| Self::Address(text.to_owned())),
        }
    }

    /// From the value of a row that was read in the binary protocol with its strings in their own character set.
    pub(super) fn from_value(class: &KeyClass, value: &Value) -> Option<Self> {
        match (class, value) {
            (KeyClass::Number | KeyClass::Ordinal, Value::Int(number)) => Some(Self::Number(number.to_string())),
            (KeyClass::Number | KeyClass::Ordinal, Value::UInt(number)) => Some(Self::Number(number.to_string())),
            (KeyClass::Number | KeyClass::Uuid | KeyClass::Inet6 | KeyClass::Inet4, Value::Bytes(text)) => {
                Self::from_text(class, std::str::from_utf8(text).ok()?)
            }
            (KeyClass::Text { .. } | KeyClass::Binary, Value::Bytes(bytes)) => Some(Self::Hex(hex(bytes))),
            (KeyClass::Temporal, Value::Date(year, month, day, hour, minute, second, micros)) => Some(Self::Temporal(
                format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}"),
            )),
            (KeyClass::Temporal, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
                let sign = if *negative { "-" } else { "" };
                let hours = days.checked_mul(24)?.checked_add(u32::from(*hours))?;
                Some(Self::Temporal(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}")))
            }
            _ => None,
        }
    }

    /// The literal.
    pub(super) fn literal(&self, class: &KeyClass) -> String {
        match (self, class) {
            (Self::Number(digits), _) => digits.clone(),
            (Self::Hex(hex), KeyClass::Text { charset, collation }) => {
                // The names are the server's own and hold letters, digits and underscores only.
                format!("_{} x'{hex}' COLLATE {collation}", charset.as_str())
            }
            (Self::Hex(hex), _) => format!("x'{hex}'"),
            // Compared as the column's own type: a bare text would be compared as text by servers that see no type in it, and
            // bytes would have to be in the order in which the server keeps them.
            (Self::Address(text), KeyClass::Uuid) => format!("CAST('{text}' AS UUID)"),
            (Self::Address(text), KeyClass::Inet6) => format!("CAST('{text}' AS INET6)"),
            (Self::Address(text), KeyClass::Inet4) => format!("CAST('{text}' AS INET4)"),
            (Self::Temporal(text) | Self::Address(text), _) => format!("'{text}'"),
        }
    }
}

/// In upper case, as `HEX` writes it.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Charset;

    fn latin1() -> KeyClass {
        KeyClass::Text { charset: Charset::new("latin1"), collation: "latin1_swedish_ci".into() }
    }

    #[test]
    fn text_keeps_its_bytes_character_set_and_collation() {
        let value = KeyValue::from_value(&latin1(), &Value::Bytes(vec![0xe9, b'\''])).unwrap();
        assert_eq!(value.literal(&latin1()), "_latin1 x'E927' COLLATE latin1_swedish_ci");
        assert_eq!(KeyValue::from_text(&latin1(), "E927").unwrap(), value);
        assert_eq!(KeyValue::Hex(String::new()).literal(&KeyClass::Binary), "x''");
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(
            KeyValue::from_value(&KeyClass::Number, &Value::UInt(u64::MAX)).unwrap().literal(&KeyClass::Number),
            "18446744073709551615"
        );
        assert_eq!(KeyValue::from_text(&KeyClass::Number, "-12.50").unwrap().literal(&KeyClass::Number), "-12.50");
        for bad in ["", "-", "1 OR 1", "1e5", "x'00'", ".5"] {
            assert_eq!(KeyValue::from_text(&KeyClass::Number, bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_and_times_are_quoted_whole() {
        let date = Value::Date(2020, 0, 31, 1, 2, 3, 40);
        assert_eq!(
            KeyValue::from_value(&KeyClass::Temporal, &date).unwrap().literal(&KeyClass::Temporal),
            "'2020-00-31 01:02:03.000040'"
        );
        let time = Value::Time(true, 34, 22, 59, 59, 1);
        assert_eq!(
            KeyValue::from_value(&KeyClass::Temporal, &time).unwrap().literal(&KeyClass::Temporal),
            "'-838:59:59.000001'"
        );
        assert_eq!(KeyValue::from_text(&KeyClass::Temporal, "2020-01-01' OR '1"), None);
    }

    #[test]
    fn addresses_are_compared_as_their_own_type() {
        for (class, text, literal) in [
            (
                KeyClass::Uuid,
                "12345678-9abc-1ef0-8234-567890abcd00",
                "CAST('12345678-9abc-1ef0-8234-567890abcd00' AS UUID)",
            ),
            (KeyClass::Inet6, "::ffff:1.2.3.4", "CAST('::ffff:1.2.3.4' AS INET6)"),
            (KeyClass::Inet4, "1.2.3.4", "CAST('1.2.3.4' AS INET4)"),
        ] {
            let value = KeyValue::from_value(&class, &Value::Bytes(text.into())).unwrap();
            assert_eq!(KeyValue::from_text(&class, text).unwrap(), value);
            assert_eq!(value.literal(&class), literal);
            for bad in ["", "1' OR '1", "::1 ", "x"] {
                assert_eq!(KeyValue::from_text(&class, bad), None, "{bad}");
            }
        }
    }

    #[test]
    fn null_is_no_key_value() {
        for class in [KeyClass::Number, KeyClass::Ordinal, KeyClass::Binary, KeyClass::Temporal, latin1()] {
            assert_eq!(KeyValue::from_value(&class, &Value::NULL), None);
        }
    }
}
