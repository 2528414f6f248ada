//! What older rows hold in a column that a statement added, by the statement's own word.
//!
//! The catalogue is not asked: it shows the default of now, which may be a later one. What is told as a value is the value
//! that the server stored; wherever it might convert, round, pad or compare by collation in a way that is not
//! repeated here, the answer is [`ColumnDefault::Unknown`], and the table is read again.

use super::defaults;
use crate::codec::row_image::ImageWriter;
use crate::model::{Column, ColumnDefault, ColumnType, TableSchema};
use crate::source::mysql::ddl::{AddedDefault, Literal};

/// The value of column `place` of `schema` in the rows that were there when it was added.
pub fn added_default(schema: &TableSchema, place: usize, added: &AddedDefault) -> ColumnDefault {
    let (Some(column), Ok(writer)) = (schema.columns.get(place), ImageWriter::new(schema)) else {
        return ColumnDefault::Unknown;
    };
    let text = match added {
        AddedDefault::Absent | AddedDefault::Null if column.nullable => return ColumnDefault::Null,
        // MariaDB before 10.10 gives the first TIMESTAMP column the current time (explicit_defaults_for_timestamp).
        AddedDefault::Absent if matches!(column.ty, ColumnType::Timestamp { .. }) => None,
        AddedDefault::Absent => defaults::implicit(&column.ty),
        AddedDefault::Literal(literal) => spelling(literal, column),
        AddedDefault::Null | AddedDefault::Other => None,
    };
    match text.map(|text| writer.from_text(place, text.as_bytes())) {
        Some(Ok(cell)) => ColumnDefault::Value(cell),
        Some(Err(_)) | None => ColumnDefault::Unknown,
    }
}

/// The literal as [`ImageWriter::from_text`] takes it for the column's type; `None` where the server does more than store it.
fn spelling(literal: &Literal, column: &Column) -> Option<String> {
    use ColumnType as T;
    match (literal, &column.ty) {
        (Literal::Number(text) | Literal::Text(text), T::Float) => single(text),
        (Literal::Number(text) | Literal::Text(text), T::Int { .. } | T::Double | T::Decimal { .. })
        | (Literal::Number(text), T::Year)
        | (
            Literal::Text(text),
            T::Date
            | T::Time { .. }
            | T::DateTime { .. }
            | T::Char { .. }
            | T::Text { .. }
            | T::Set { .. }
            // Of their spellings only the usual one is taken; of bytes in hex the server guesses in which order they are.
            | T::Uuid
            | T::Inet6
            | T::Inet4,
        ) => Some(text.clone()),
        (Literal::Number(text), T::Bit { .. }) => Some(format!("b'{:b}'", text.parse::<u64>().ok()?)),
        (Literal::Number(text), T::Char { .. } | T::VarChar { .. } | T::Text { .. }) => {
            is_printed_so(text).then(|| text.clone())
        }
        // Any other is in the time zone of the session that ran the statement.
        (Literal::Text(text), T::Timestamp { .. }) => text.starts_with("0000-00-00").then(|| text.clone()),
        (Literal::Text(text), T::VarChar { max_bytes, .. }) => {
            // The server cuts blanks that are too many; how many characters are too many the type does not tell, but a
            // quarter of the bytes never are.
            let fits = !text.ends_with(' ') || text.chars().count() <= usize::from(*max_bytes) / 4;
            fits.then(|| text.clone())
        }
        // Of another character set than the column's perhaps, but ASCII is the same bytes in all that a client may have.
        (Literal::Text(text), T::Binary { .. } | T::VarBinary { .. } | T::Blob { .. }) => {
            text.is_ascii().then(|| hex(text.as_bytes()))
        }
        (Literal::Text(text), T::Enum { members }) => members.contains(text).then(|| text.clone()),
        (Literal::Hex(bytes), T::Binary { .. } | T::VarBinary { .. } | T::Blob { .. }) => Some(hex(bytes)),
        (Literal::Bits(digits), T::Bit { .. }) => Some(format!("b'{digits}'")),
        (Literal::Bits(digits), T::Int { .. }) => Some(u64::from_str_radix(digits, 2).ok()?.to_string()),
        // Of a type that is new here, too, the server may do more than store it.
        _ => None,
    }
}

/// The server reads a number in double precision first, then rounds it to single.
fn single(text: &str) -> Option<String> {
    let number: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "the rounding of the server, on purpose")]
    let rounded = number as f32;
    Some(rounded.to_string())
}

/// Whether the server, made to print the integer of this literal, prints the literal.
fn is_printed_so(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Charset, IntWidth, TableName};

    fn schema(ty: ColumnType, nullable: bool) -> TableSchema {
        let column = Column {
            name: "c".into(),
            ty,
            nullable,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: None,
        };
        TableSchema { name: TableName::new("d", "t"), columns: vec![column], key: None }
    }

    fn value(literal: Literal, ty: ColumnType) -> Option<Vec<u8>> {
        match added_default(&schema(ty, true), 0, &AddedDefault::Literal(literal)) {
            ColumnDefault::Value(bytes) => Some(bytes),
            ColumnDefault::Unknown => None,
            ColumnDefault::Null => panic!("a literal is no NULL"),
        }
    }

    fn number(text: &str) -> Literal {
        Literal::Number(text.to_owned())
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    fn int() -> ColumnType {
        ColumnType::Int { width: IntWidth::W2, unsigned: false }
    }

    fn varchar(max_bytes: u16, charset: &str) -> ColumnType {
        ColumnType::VarChar { max_bytes, charset: Charset::new(charset) }
    }

    fn members() -> Vec<String> {
        vec!["p".to_owned(), "q".to_owned(), "1".to_owned()]
    }

    #[test]
    fn literals_become_the_bytes_that_the_server_stores() {
        for (literal, ty, expected) in [
            (number("-2"), int(), vec![0xfe, 0xff]),
            (text("7"), int(), vec![7, 0]),
            (Literal::Bits("101".into()), int(), vec![5, 0]),
            (number("1.5"), ColumnType::Decimal { precision: 4, scale: 2 }, vec![0x81, 50]),
            (number("0.1"), ColumnType::Double, 0.1_f64.to_le_bytes().to_vec()),
            (number("0.1"), ColumnType::Float, 0.1_f32.to_le_bytes().to_vec()),
            (number("2020"), ColumnType::Year, vec![120]),
            (number("5"), ColumnType::Bit { bits: 8 }, vec![5]),
            (Literal::Bits("11".into()), ColumnType::Bit { bits: 8 }, vec![3]),
            (number("-12"), varchar(40, "utf8mb4"), b"\x03-12".to_vec()),
            (text("caf\u{e9}"), varchar(40, "latin1"), b"\x04caf\xe9".to_vec()),
            (text("a "), varchar(40, "utf8mb4"), b"\x02a ".to_vec()),
            (text("q"), ColumnType::Enum { members: members() }, vec![2]),
            (text("p,1"), ColumnType::Set { members: members() }, vec![5]),
            (Literal::Hex(vec![0, 0xff]), ColumnType::VarBinary { max_bytes: 8 }, vec![2, 0, 0xff]),
            (text("a?"), ColumnType::VarBinary { max_bytes: 8 }, b"\x02a?".to_vec()),
            (Literal::Hex(vec![1, 0]), ColumnType::Binary { length: 4 }, vec![1, 1]),
            (text("0000-00-00 00:00:00"), ColumnType::Timestamp { fsp: 0 }, vec![0; 4]),
        ] {
            assert_eq!(value(literal.clone(), ty.clone()), Some(expected), "{literal:?} as {ty:?}");
        }
    }

    #[test]
    fn what_the_server_would_convert_is_not_told() {
        for (literal, ty) in [
            (number("1.5"), int()),
            (number("70000"), int()),
            (number("1e3"), ColumnType::Decimal { precision: 8, scale: 2 }),
            (number("1.239"), ColumnType::Decimal { precision: 8, scale: 2 }),
            (number("70"), ColumnType::Year),
            (text("2020"), ColumnType::Year),
            (number("20200101"), ColumnType::Date),
            (text("20-1-1"), ColumnType::Date),
            (text("2020-01-01 00:00:00.6"), ColumnType::DateTime { fsp: 0 }),
            (text("2020-01-01 00:00:00"), ColumnType::Timestamp { fsp: 0 }),
            (number("-1"), ColumnType::Bit { bits: 8 }),
            (text("5"), ColumnType::Bit { bits: 8 }),
            (number("007"), varchar(40, "utf8mb4")),
            (number("1.50"), varchar(40, "utf8mb4")),
            (text("too many blanks  "), varchar(40, "utf8mb4")),
            (text("\u{4e00}"), varchar(40, "latin1")),
            (Literal::Hex(vec![65]), varchar(40, "utf8mb4")),
            (number("1"), ColumnType::Enum { members: members() }),
            (text("Q"), ColumnType::Enum { members: members() }),
            (text(""), ColumnType::Enum { members: members() }),
            (number("1"), ColumnType::Set { members: members() }),
            (text("caf\u{e9}"), ColumnType::VarBinary { max_bytes: 8 }),
            (Literal::Hex(vec![0; 9]), ColumnType::VarBinary { max_bytes: 8 }),
            (number("5"), ColumnType::VarBinary { max_bytes: 8 }),
            (number("1e400"), ColumnType::Double),
            (number("1e40"), ColumnType::Float),
            (text("{}"), ColumnType::Json),
        ] {
            assert_eq!(value(literal.clone(), ty.clone()), None, "{literal:?} as {ty:?}");
        }
    }

    #[test]
    fn without_a_literal_null_comes_first_and_the_types_own_default_second() {
        let of = |ty, nullable, added: &AddedDefault| added_default(&schema(ty, nullable), 0, added);
        let timestamp = ColumnType::Timestamp { fsp: 0 };
        assert_eq!(of(int(), true, &AddedDefault::Absent), ColumnDefault::Null);
        assert_eq!(of(int(), true, &AddedDefault::Null), ColumnDefault::Null);
        assert_eq!(of(int(), false, &AddedDefault::Absent), ColumnDefault::Value(vec![0, 0]));
        assert_eq!(of(int(), false, &AddedDefault::Null), ColumnDefault::Unknown);
        assert_eq!(of(int(), true, &AddedDefault::Other), ColumnDefault::Unknown);
        assert_eq!(of(timestamp.clone(), true, &AddedDefault::Absent), ColumnDefault::Null);
        assert_eq!(of(timestamp, false, &AddedDefault::Absent), ColumnDefault::Unknown);
        assert_eq!(of(ColumnType::Geometry, false, &AddedDefault::Absent), ColumnDefault::Unknown);
        let members = ColumnType::Enum { members: members() };
        assert_eq!(of(members, false, &AddedDefault::Absent), ColumnDefault::Value(vec![1]));
    }

    #[test]
    fn a_column_that_is_not_there_has_no_default() {
        assert_eq!(added_default(&schema(int(), true), 1, &AddedDefault::Null), ColumnDefault::Unknown);
    }
}
