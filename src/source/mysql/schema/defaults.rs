//! What rows that were there before a column was added hold in it.
//!
//! `COLUMN_DEFAULT` is spelt differently: MySQL writes a constant bare (binary ones as `0x..`) and marks expressions in
//! `EXTRA`; MariaDB (10.2.7 and later) writes the expression, so strings stand in quotes, the word `NULL` is the null
//! value, and whatever is neither a quoted string nor a number nor a bit literal is an expression.

use super::columns::RawColumn;
use super::flavour::Flavour;
use super::labels;
use crate::codec::row_image::ImageWriter;
use crate::model::{ColumnDefault, ColumnType};

/// The default of a column at `place`, as far as it is one value; [`ColumnDefault::Unknown`] otherwise.
pub(super) fn default(
    raw: &RawColumn,
    ty: &ColumnType,
    flavour: Flavour,
    writer: &ImageWriter,
    place: usize,
) -> ColumnDefault {
    if raw.is_generated() || raw.extra.contains("AUTO_INCREMENT") {
        return ColumnDefault::Unknown;
    }
    let text = match (&raw.default, flavour) {
        (None, _) if raw.nullable => return ColumnDefault::Null,
        (None, _) => implicit(ty),
        (Some(_), Flavour::MySql) if raw.extra.contains("DEFAULT_GENERATED") => None,
        // MySQL cuts the hex of a binary default at its first zero byte, so it cannot be trusted.
        (Some(_), Flavour::MySql) if matches!(ty, ColumnType::Binary { .. } | ColumnType::VarBinary { .. }) => None,
        // MySQL prints it as it was written, in the time zone of that session, which nobody knows any more.
        (Some(text), Flavour::MySql)
            if matches!(ty, ColumnType::Timestamp { .. }) && !text.starts_with("0000-00-00") =>
        {
            None
        }
        (Some(text), Flavour::MySql) => Some(text.clone()),
        (Some(text), Flavour::MariaDb) if text == "NULL" => return ColumnDefault::Null,
        (Some(text), Flavour::MariaDb) => constant(text, ty),
    };
    match text.map(|text| writer.from_text(place, text.as_bytes())) {
        Some(Ok(cell)) => ColumnDefault::Value(cell),
        // A text that is no constant of the type is an expression that nobody marked as one.
        Some(Err(_)) | None => ColumnDefault::Unknown,
    }
}

/// What the server fills in where a NOT NULL column has no default; `None` where it refuses.
pub(super) fn implicit(ty: &ColumnType) -> Option<String> {
    let text = match ty {
        ColumnType::Int { .. } | ColumnType::Float | ColumnType::Double | ColumnType::Decimal { .. } => "0",
        ColumnType::Year => "0000",
        ColumnType::Date => "0000-00-00",
        ColumnType::Time { .. } => "00:00:00",
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => "0000-00-00 00:00:00",
        ColumnType::Bit { .. } => "b'0'",
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Text { .. } | ColumnType::Set { .. } => "",
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob { .. } => "0x",
        ColumnType::Enum { members } => members.first()?,
        ColumnType::Json => "null",
        ColumnType::Uuid => "00000000-0000-0000-0000-000000000000",
        ColumnType::Inet6 => "::",
        ColumnType::Inet4 => "0.0.0.0",
        ColumnType::Geometry | ColumnType::Vector | ColumnType::Unsupported { .. } => return None,
    };
    Some(text.to_owned())
}

/// A constant as MariaDB spells it, in the writer's spelling; `None` for an expression.
fn constant(text: &str, ty: &ColumnType) -> Option<String> {
    // MariaDB 11 and later (seen on 11.8; 10.11 writes the bytes as text) gives binary constants in hex.
    if let Some(hex) = text.strip_prefix("x'").and_then(|rest| rest.strip_suffix('\'')) {
        return is_binary(ty).then(|| format!("0x{hex}"));
    }
    let Some(inside) = text.strip_prefix('\'') else {
        // Numbers and b'..' go as they are; of anything else the writer finds that it is none.
        return Some(text.to_owned());
    };
    let (value, rest) = labels::quoted(inside.chars())?;
    if !rest.as_str().is_empty() {
        return None;
    }
    if !is_binary(ty) {
        return Some(value);
    }
    // The catalogue speaks UTF-8, so bytes that are none have been replaced by question marks.
    let exact = value.is_ascii() && !value.contains('?');
    exact.then(|| value.bytes().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")))
}

fn is_binary(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob { .. })
}

#[cfg(test)]
mod tests {
    use super::super::columns::raw;
    use super::*;
    use crate::model::{Charset, Column, IntWidth, TableName, TableSchema};

    fn of(raw: &RawColumn, ty: &ColumnType, flavour: Flavour) -> ColumnDefault {
        let column = Column {
            name: raw.name.clone(),
            ty: ty.clone(),
            nullable: raw.nullable,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: None,
        };
        let schema = TableSchema { name: TableName::new("d", "t"), columns: vec![column], key: None };
        default(raw, ty, flavour, &ImageWriter::new(&schema).unwrap(), 0)
    }

    fn with(default: &str) -> RawColumn {
        RawColumn { default: Some(default.to_owned()), ..raw("c", "", "") }
    }

    fn text() -> ColumnType {
        ColumnType::VarChar { max_bytes: 40, charset: Charset::new("utf8mb4") }
    }

    fn int() -> ColumnType {
        ColumnType::Int { width: IntWidth::W2, unsigned: false }
    }

    fn value(bytes: &[u8]) -> ColumnDefault {
        ColumnDefault::Value(bytes.to_vec())
    }

    #[test]
    fn the_word_null_is_a_text_on_mysql_and_the_null_value_on_mariadb() {
        assert_eq!(of(&with("NULL"), &text(), Flavour::MySql), value(b"\x04NULL"));
        assert_eq!(of(&with("NULL"), &text(), Flavour::MariaDb), ColumnDefault::Null);
        assert_eq!(of(&with("'NULL'"), &text(), Flavour::MariaDb), value(b"\x04NULL"));
        assert_eq!(of(&raw("c", "", ""), &text(), Flavour::MySql), ColumnDefault::Null);
    }

    #[test]
    fn quotes_and_escapes_of_mariadb_are_taken_off() {
        assert_eq!(of(&with(r"'it''s \\ x'"), &text(), Flavour::MariaDb), value(b"\x08it's \\ x"));
        assert_eq!(of(&with(r"'x\0y'"), &ColumnType::VarBinary { max_bytes: 9 }, Flavour::MariaDb), value(b"\x03x\0y"));
        assert_eq!(
            of(&with("x'00ff'"), &ColumnType::VarBinary { max_bytes: 9 }, Flavour::MariaDb),
            value(b"\x02\0\xff")
        );
        assert_eq!(of(&with("x'78'"), &text(), Flavour::MariaDb), ColumnDefault::Unknown);
        assert_eq!(of(&with("-3"), &int(), Flavour::MariaDb), value(&[0xfd, 0xff]));
    }

    #[test]
    fn a_binary_default_that_may_have_lost_bytes_is_not_a_value() {
        let binary = ColumnType::VarBinary { max_bytes: 9 };
        for text in [r"'\0?'", "'?'", "'caf\u{e9}'"] {
            assert_eq!(of(&with(text), &binary, Flavour::MariaDb), ColumnDefault::Unknown, "{text}");
        }
        assert_eq!(of(&with("0x6162"), &binary, Flavour::MySql), ColumnDefault::Unknown);
    }

    #[test]
    fn expressions_are_not_values() {
        for expression in ["(1 + 1)", "current_timestamp()", "uuid()", "'a' 'b'", "concat('a','b')"] {
            assert_eq!(of(&with(expression), &int(), Flavour::MariaDb), ColumnDefault::Unknown, "{expression}");
        }
        let generated = RawColumn { extra: "DEFAULT_GENERATED".into(), ..with("5") };
        assert_eq!(of(&generated, &int(), Flavour::MySql), ColumnDefault::Unknown);
        let counted = RawColumn { extra: "AUTO_INCREMENT".into(), nullable: false, ..raw("c", "", "") };
        assert_eq!(of(&counted, &int(), Flavour::MySql), ColumnDefault::Unknown);
    }

    #[test]
    fn a_column_that_is_not_null_and_has_no_default_gets_the_servers_own() {
        let bare = RawColumn { nullable: false, ..raw("c", "", "") };
        assert_eq!(of(&bare, &int(), Flavour::MySql), value(&[0, 0]));
        assert_eq!(of(&bare, &text(), Flavour::MySql), value(&[0]));
        let members = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(of(&bare, &ColumnType::Enum { members }, Flavour::MariaDb), value(&[1]));
        assert_eq!(of(&bare, &ColumnType::Timestamp { fsp: 0 }, Flavour::MariaDb), value(&[0, 0, 0, 0]));
    }
}
