//! What becomes of the values a target table holds when their column's type changes: an SQL expression over the old column.
//!
//! What the source makes of the values is [`kept`](crate::model::kept)'s to say; here it is translated.

use super::layout::quoted;
use super::types::Storage;
use crate::model::{Conversion as Meant, Kept};

/// How a column's old values become its new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    /// Over the old column; the column itself if nothing changes.
    pub(super) expression: String,
    /// The expression changes a value.
    pub(super) alters: bool,
}

/// The conversion of the old column named `column`; `None` where a read brings the values.
pub(super) fn conversion(column: &str, kept: Kept) -> Option<Conversion> {
    let column = quoted(column);
    let expression = match kept {
        Kept::Same => column.clone(),
        Kept::Convert(meant) => translated(&column, meant),
        Kept::Unknown => return None,
    };
    Some(Conversion { alters: expression != column, expression })
}

/// The old values as the new type holds what is nearest to them: what a softly deleted row, which no read brings, is left with.
pub(super) fn near(column: &str, from: Storage, to: Storage) -> String {
    let column = quoted(column);
    match to {
        new if new == from => column,
        Storage::Integer | Storage::Wide => format!("CAST({column} AS INTEGER)"),
        Storage::Real => format!("CAST({column} AS REAL)"),
        Storage::Blob => format!("CAST({column} AS BLOB)"),
        Storage::Text => format!("CAST({column} AS TEXT)"),
    }
}

fn translated(column: &str, meant: Meant) -> String {
    match meant {
        Meant::Retype => column.to_owned(),
        Meant::ToText | Meant::ToDecimal { scale: 0 } => format!("CAST({column} AS TEXT)"),
        Meant::ToDecimal { scale } => format!("CAST({column} AS TEXT) || '.{}'", zeros(scale)),
        Meant::ToDouble => format!("CAST({column} AS REAL)"),
        Meant::MoreDigits { point, more } => {
            format!("{column} || '{}{}'", if point { "." } else { "" }, zeros(more))
        }
        Meant::ToMidnight { fsp: 0 } => format!("{column} || ' 00:00:00'"),
        Meant::ToMidnight { fsp } => format!("{column} || ' 00:00:00.{}'", zeros(fsp)),
    }
}

fn zeros(count: u8) -> String {
    "0".repeat(usize::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Charset, ColumnType, IntWidth, kept_types};
    use rusqlite::types::Value;

    fn converted(value: Value, from: &ColumnType, to: &ColumnType) -> Value {
        let conversion = conversion("c", kept_types(from, to)).unwrap();
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let declared = |ty| Storage::of(ty).unwrap().declared();
        connection
            .execute_batch(&format!("CREATE TABLE o (c {}); CREATE TABLE n (c {})", declared(from), declared(to)))
            .unwrap();
        connection.execute("INSERT INTO o VALUES (?1)", [value]).unwrap();
        connection.execute(&format!("INSERT INTO n SELECT {} FROM o", conversion.expression), []).unwrap();
        connection.query_row("SELECT c FROM n", [], |row| row.get(0)).unwrap()
    }

    fn int(width: IntWidth, unsigned: bool) -> ColumnType {
        ColumnType::Int { width, unsigned }
    }

    #[test]
    fn conversions_give_what_the_source_gives() {
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        let text = ColumnType::Text { length_bytes: 2, charset: Charset::new("utf8mb4") };
        let datetime = |fsp| ColumnType::DateTime { fsp };
        let s = |text: &str| Value::Text(text.to_owned());
        for (value, from, to, expected) in [
            (Value::Integer(-5), int(IntWidth::W4, false), int(IntWidth::W8, false), Value::Integer(-5)),
            (Value::Integer(5), int(IntWidth::W4, true), int(IntWidth::W8, false), Value::Integer(5)),
            (Value::Integer(5), int(IntWidth::W4, true), int(IntWidth::W8, true), Value::Integer(5)),
            (Value::Integer(-5), int(IntWidth::W4, false), decimal(30, 3), s("-5.000")),
            (s("18446744073709551615"), int(IntWidth::W8, true), decimal(20, 0), s("18446744073709551615")),
            (Value::Integer(12), int(IntWidth::W8, true), text.clone(), s("12")),
            (Value::Integer(12), int(IntWidth::W4, false), ColumnType::Double, Value::Real(12.0)),
            (s("-0.50"), decimal(4, 2), decimal(6, 4), s("-0.5000")),
            (s("7"), decimal(4, 0), decimal(6, 2), s("7.00")),
            (s("2020-02-29"), ColumnType::Date, datetime(0), s("2020-02-29 00:00:00")),
            (s("2020-02-29"), ColumnType::Date, datetime(2), s("2020-02-29 00:00:00.00")),
            (s("2020-02-29 01:02:03"), datetime(0), datetime(3), s("2020-02-29 01:02:03.000")),
            (s("2020-02-29 01:02:03.5"), datetime(1), datetime(3), s("2020-02-29 01:02:03.500")),
            (Value::Null, datetime(1), datetime(3), Value::Null),
            (
                Value::Blob(vec![0, 1]),
                ColumnType::Binary { length: 2 },
                ColumnType::Blob { length_bytes: 1 },
                Value::Blob(vec![0, 1]),
            ),
        ] {
            assert_eq!(converted(value, &from, &to), expected, "{from:?} to {to:?}");
        }
    }
}
