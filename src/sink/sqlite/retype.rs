//! What becomes of the values a target table holds when their column's type changes: an SQL expression over the old column.
//!
//! [`Conversion::exact`] says that the expression gives, for every value, what the source holds after its own conversion. The
//! values of any other change are brought near (a cast), and the source reads the table again; the rows then overwrite
//! these by key.

use super::layout::quoted;
use super::types::Storage;
use crate::model::{Charset, ColumnType, IntWidth};

/// How a column's old values become its new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    /// Over the old column; the column itself if nothing changes.
    pub(super) expression: String,
    /// The expression changes a value.
    pub(super) alters: bool,
    /// It gives what the source has.
    pub(super) exact: bool,
}

/// The conversion of the old column named `column`.
pub(super) fn conversion(column: &str, from: &ColumnType, to: &ColumnType) -> Conversion {
    let column = quoted(column);
    if let Some(expression) = exact(&column, from, to) {
        let alters = expression != column;
        return Conversion { expression, alters, exact: true };
    }
    let kept = Storage::of(from) == Storage::of(to);
    let expression = match Storage::of(to) {
        _ if kept => column.clone(),
        Some(Storage::Integer | Storage::Wide) => format!("CAST({column} AS INTEGER)"),
        Some(Storage::Real) => format!("CAST({column} AS REAL)"),
        Some(Storage::Blob) => format!("CAST({column} AS BLOB)"),
        Some(Storage::Text) | None => format!("CAST({column} AS TEXT)"),
    };
    Conversion { alters: !kept, expression, exact: false }
}

/// The expression for a change that keeps every value's meaning.
fn exact(column: &str, from: &ColumnType, to: &ColumnType) -> Option<String> {
    use ColumnType as T;
    let same = || Some(column.to_owned());
    let as_text = || Some(format!("CAST({column} AS TEXT)"));
    match (from, to) {
        _ if from == to => same(),
        (T::Int { width: a, unsigned: x }, T::Int { width: b, unsigned: y }) => {
            // A wider signed integer holds every unsigned one; never the other way round.
            let fits = if x == y { a.bytes() <= b.bytes() } else { *x && a.bytes() < b.bytes() };
            if fits { same() } else { None }
        }
        (T::Int { width, .. }, T::Decimal { precision, scale })
            if precision.saturating_sub(*scale) >= digits(*width) =>
        {
            Some(match scale {
                0 => format!("CAST({column} AS TEXT)"),
                _ => format!("CAST({column} AS TEXT) || '.{}'", zeros(*scale)),
            })
        }
        (T::Int { width, .. }, T::Double) if width.bytes() <= 4 => Some(format!("CAST({column} AS REAL)")),
        (T::Int { .. }, T::VarChar { max_bytes, .. }) if *max_bytes >= 80 => as_text(),
        (T::Int { .. }, T::Text { .. }) => as_text(),
        (T::Float, T::Double) => same(),
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision: q, scale: t })
            if t >= s && q.saturating_sub(*t) >= p.saturating_sub(*s) =>
        {
            Some(match (s, t.saturating_sub(*s)) {
                (_, 0) => column.to_owned(),
                (0, more) => format!("{column} || '.{}'", zeros(more)),
                (_, more) => format!("{column} || '{}'", zeros(more)),
            })
        }
        (T::Time { fsp: a }, T::Time { fsp: b })
        | (T::DateTime { fsp: a }, T::DateTime { fsp: b })
        | (T::Timestamp { fsp: a }, T::Timestamp { fsp: b })
            if b > a =>
        {
            let point = if *a == 0 { "." } else { "" };
            Some(format!("{column} || '{point}{}'", zeros(b.saturating_sub(*a))))
        }
        (T::Date, T::DateTime { fsp: 0 }) => Some(format!("{column} || ' 00:00:00'")),
        (T::Date, T::DateTime { fsp }) => Some(format!("{column} || ' 00:00:00.{}'", zeros(*fsp))),
        (
            T::Char { charset: a, .. } | T::VarChar { charset: a, .. },
            T::VarChar { charset: b, .. } | T::Text { charset: b, .. },
        )
        | (T::Char { charset: a, .. }, T::Char { charset: b, .. })
        | (T::Text { charset: a, .. }, T::Text { charset: b, .. })
            if holds(b, a) && longest(to) >= longest(from) =>
        {
            same()
        }
        (T::VarBinary { .. } | T::Blob { .. } | T::Binary { .. }, T::VarBinary { .. } | T::Blob { .. })
            if longest(to) >= longest(from) =>
        {
            same()
        }
        (T::Enum { members: a }, T::Enum { members: b }) | (T::Set { members: a }, T::Set { members: b })
            if b.starts_with(a) =>
        {
            same()
        }
        (T::Bit { bits: a }, T::Bit { bits: b }) if b >= a => same(),
        _ => None,
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

fn zeros(count: u8) -> String {
    "0".repeat(usize::from(count))
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
mod tests {
    use super::*;
    use rusqlite::types::Value;

    fn converted(value: Value, from: &ColumnType, to: &ColumnType) -> Value {
        let conversion = conversion("c", from, to);
        assert!(conversion.exact, "{from:?} to {to:?}");
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
    fn exact_conversions_give_what_the_source_gives() {
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

    #[test]
    fn changes_that_can_alter_a_value_are_not_exact() {
        let text = |charset: &str| ColumnType::VarChar { max_bytes: 40, charset: Charset::new(charset) };
        for (from, to) in [
            (int(IntWidth::W8, false), int(IntWidth::W4, false)),
            (int(IntWidth::W4, false), int(IntWidth::W8, true)),
            (int(IntWidth::W4, true), int(IntWidth::W4, false)),
            (int(IntWidth::W8, false), ColumnType::Double),
            (ColumnType::Decimal { precision: 6, scale: 4 }, ColumnType::Decimal { precision: 6, scale: 2 }),
            (ColumnType::Decimal { precision: 6, scale: 2 }, ColumnType::Decimal { precision: 6, scale: 4 }),
            (text("utf8mb4"), text("latin1")),
            (text("utf8mb4"), int(IntWidth::W4, false)),
            (ColumnType::Timestamp { fsp: 0 }, ColumnType::DateTime { fsp: 0 }),
            (
                ColumnType::Enum { members: vec!["a".into()] },
                ColumnType::Enum { members: vec!["b".into(), "a".into()] },
            ),
            (ColumnType::Double, ColumnType::Float),
            (ColumnType::Json, text("utf8mb4")),
        ] {
            assert!(!conversion("c", &from, &to).exact, "{from:?} to {to:?}");
        }
    }
}
