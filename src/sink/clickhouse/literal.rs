//! Defaults of added columns as SQL, so that the rows that are there already show what the source's show.
//!
//! The value is encoded first, as a row's would be: what a row may not hold is no default either, and the same policy
//! decides about dates that name no day. Then it is written in the form that ClickHouse reads without loss: numbers as they
//! are (its parser of SQL rounds to the nearest float), decimals and times from text of their own type, bytes that
//! are not plain text in hex.

use std::fmt::Display;

use super::encode::{Encoder, ValueProblem};
use super::names::literal;
use super::types::{Base, Type};
use crate::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, RowVisitor, Text, Time, Timestamp, Uuid, chosen, write_labels,
};
use crate::config::ValuePolicy;
use crate::error::Failure;
use crate::model::{Column, ColumnDefault, TableName, TableSchema};

/// What stands behind `DEFAULT` for a column that was added, whose target has type `ty`; `None` where the source has no
/// constant, or none that the type holds.
///
/// # Errors
/// A default that a row could not hold either.
pub(super) fn default_literal(
    table: &TableName,
    column: &Column,
    ty: &str,
    values: ValuePolicy,
) -> Result<Option<String>, Failure> {
    let Some(target) = Type::parse(ty) else { return Ok(None) };
    let cell = match &column.default {
        ColumnDefault::Null if target.nullable => return Ok(Some("NULL".to_owned())),
        ColumnDefault::Null if target.base == Base::Floats => return Ok(Some("[]".to_owned())),
        ColumnDefault::Null | ColumnDefault::Unknown => return Ok(None),
        ColumnDefault::Value(cell) => cell,
    };
    // The column as a table of its own.
    let alone = TableSchema { name: table.clone(), columns: vec![column.clone()], key: None };
    let encoder = Encoder::new(&alone, &[(0, ty)], &[], values)?;
    let mut bytes = Vec::new();
    encoder.encode_cell(0, cell, &mut bytes).map_err(|error| error.failure(table))?;
    if target.nullable && bytes == [1] {
        return Ok(Some("NULL".to_owned()));
    }
    let literal = Literal { ty: &target, sql: String::new() };
    let written = encoder.visit_cell(0, cell, literal).map_err(|error| error.failure(table))?;
    Ok(Some(written.sql))
}

/// Writes one value as SQL.
struct Literal<'t> {
    ty: &'t Type,
    sql: String,
}

type Written = Result<(), Box<ValueProblem>>;

impl Literal<'_> {
    fn number(&mut self, number: impl Display) {
        self.sql.push_str(&number.to_string());
    }

    /// Text of ASCII letters as a value of a type that is made from text.
    fn call(&mut self, function: &str, text: &[u8], rest: &str) {
        let text = String::from_utf8_lossy(text);
        for part in [function, "('", &text, "'", rest, ")"] {
            self.sql.push_str(part);
        }
    }

    /// A value of its own type, or its text where the column is one of text.
    fn address(&mut self, function: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = Vec::new();
        write(&mut text);
        match self.ty.base {
            Base::String { .. } => self.string(&text),
            _ => self.call(function, &text, ""),
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains(char::is_control) => self.sql.push_str(&literal(text)),
            _ => {
                let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                self.call("unhex", digits.concat().as_bytes(), "");
            }
        }
    }

    fn instant(&mut self, value: DateTime) {
        let mut text = Vec::new();
        value.write_text(&mut text);
        if let Base::DateTime64 { precision, .. } = &self.ty.base {
            self.call("toDateTime64", &text, &format!(", {precision}, 'UTC'"));
        }
    }

    fn list(&mut self, items: impl Iterator<Item = String>) {
        let items: Vec<_> = items.collect();
        for part in ["[", &items.join(", "), "]"] {
            self.sql.push_str(part);
        }
    }
}

impl RowVisitor for Literal<'_> {
    type Error = Box<ValueProblem>;

    fn null(&mut self, _column: usize) -> Written {
        self.number("NULL");
        Ok(())
    }

    fn int(&mut self, _column: usize, value: i64) -> Written {
        self.number(value);
        Ok(())
    }

    fn uint(&mut self, _column: usize, value: u64) -> Written {
        self.number(value);
        Ok(())
    }

    fn float(&mut self, column: usize, value: f32) -> Written {
        // Through its exact double: the shortest digits of a FLOAT are not the number.
        self.double(column, value.into())
    }

    fn double(&mut self, _column: usize, value: f64) -> Written {
        self.number(format_args!("{value:?}"));
        Ok(())
    }

    fn decimal(&mut self, _column: usize, value: Decimal<'_>) -> Written {
        let mut text = Vec::new();
        value.write_text(&mut text);
        let rest = format!(", '{}'", self.ty.base);
        self.call("CAST", &text, &rest);
        Ok(())
    }

    fn year(&mut self, _column: usize, value: u16) -> Written {
        self.number(value);
        Ok(())
    }

    fn date(&mut self, _column: usize, value: Date) -> Written {
        let mut text = Vec::new();
        value.write_text(&mut text);
        self.call("toDate32", &text, "");
        Ok(())
    }

    fn time(&mut self, _column: usize, value: Time) -> Written {
        let mut text = Vec::new();
        value.write_text(&mut text);
        if let Base::Time64 { precision } = &self.ty.base {
            let rest = format!(", {precision}");
            self.call("toTime64", &text, &rest);
        }
        Ok(())
    }

    fn datetime(&mut self, _column: usize, value: DateTime) -> Written {
        self.instant(value);
        Ok(())
    }

    fn timestamp(&mut self, _column: usize, value: Timestamp) -> Written {
        self.instant(value.utc());
        Ok(())
    }

    fn bit(&mut self, _column: usize, value: u64) -> Written {
        self.number(value);
        Ok(())
    }

    fn text(&mut self, _column: usize, value: Text<'_>) -> Written {
        self.string(value.raw());
        Ok(())
    }

    fn bytes(&mut self, _column: usize, value: Bytes<'_>) -> Written {
        let mut bytes = Vec::with_capacity(value.len());
        value.write_to(&mut bytes);
        self.string(&bytes);
        Ok(())
    }

    fn enumeration(&mut self, _column: usize, _ordinal: u16, label: &str) -> Written {
        self.string(label.as_bytes());
        Ok(())
    }

    fn set(&mut self, _column: usize, mask: u64, members: &[String]) -> Written {
        if self.ty.base == Base::Strings {
            self.list(chosen(mask, members).map(literal));
            return Ok(());
        }
        let mut text = Vec::new();
        write_labels(mask, members, &mut text);
        self.string(&text);
        Ok(())
    }

    fn json(&mut self, _column: usize, value: Json<'_>) -> Written {
        let mut text = Vec::new();
        value.write_text(&mut text)?;
        self.string(&text);
        Ok(())
    }

    fn geometry(&mut self, _column: usize, value: &[u8]) -> Written {
        self.string(value);
        Ok(())
    }

    fn vector(&mut self, _column: usize, value: &[u8]) -> Written {
        let floats = value.chunks_exact(4).filter_map(|bytes| bytes.first_chunk().copied());
        self.list(floats.map(|bytes| format!("{:?}", f64::from(f32::from_le_bytes(bytes)))));
        Ok(())
    }

    fn uuid(&mut self, _column: usize, value: Uuid) -> Written {
        self.address("toUUID", |text| value.write_text(text));
        Ok(())
    }

    fn inet6(&mut self, _column: usize, value: Inet6) -> Written {
        self.address("toIPv6", |text| value.write_text(text));
        Ok(())
    }

    fn inet4(&mut self, _column: usize, value: Inet4) -> Written {
        self.address("toIPv4", |text| value.write_text(text));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::row_image::ImageWriter;
    use crate::config::ZeroDates;
    use crate::model::{Charset, ColumnType, IntWidth};
    use crate::sink::clickhouse::row_binary::{VALUES, column, schema, varchar};

    fn written(ty: &ColumnType, text: &str, target: &str, values: ValuePolicy) -> Result<String, String> {
        let mut table = schema(vec![column("v", ty.clone(), true)], None);
        let cell = ImageWriter::new(&table).unwrap().from_text(0, text.as_bytes()).unwrap();
        table.columns[0].default = ColumnDefault::Value(cell);
        default_literal(&table.name, &table.columns[0], target, values)
            .map(Option::unwrap)
            .map_err(|failure| failure.chain())
    }

    #[test]
    fn a_default_is_written_so_that_clickhouse_reads_the_same_value() {
        use ColumnType as T;
        let utf8 = varchar("utf8mb4");
        let members = || vec!["a".to_owned(), "b'c".to_owned()];
        for (ty, text, target, sql) in [
            (T::Int { width: IntWidth::W8, unsigned: true }, "18446744073709551615", "UInt64", "18446744073709551615"),
            (T::Int { width: IntWidth::W1, unsigned: false }, "-5", "Nullable(Int8)", "-5"),
            (T::Float, "0.1", "Float32", "0.10000000149011612"),
            (T::Double, "1e300", "Float64", "1e300"),
            (
                T::Decimal { precision: 12, scale: 2 },
                "-1.5",
                "Nullable(Decimal(12, 2))",
                "CAST('-1.50', 'Decimal(12, 2)')",
            ),
            (T::Year, "2024", "UInt16", "2024"),
            (T::Date, "1000-01-01", "Date32", "toDate32('1000-01-01')"),
            (
                T::DateTime { fsp: 3 },
                "2024-02-29 01:02:03.5",
                "DateTime64(3, 'UTC')",
                "toDateTime64('2024-02-29 01:02:03.500', 3, 'UTC')",
            ),
            (
                T::Timestamp { fsp: 0 },
                "2024-02-29 01:02:03",
                "DateTime64(0, 'UTC')",
                "toDateTime64('2024-02-29 01:02:03', 0, 'UTC')",
            ),
            (T::Time { fsp: 6 }, "-838:59:59", "Time64(6)", "toTime64('-838:59:59.000000', 6)"),
            (T::Bit { bits: 3 }, "b'101'", "UInt64", "5"),
            (utf8.clone(), "it's \\ \u{e9}", "String", "'it\\'s \\\\ \u{e9}'"),
            (utf8, "a\nb\0", "String", "unhex('610A6200')"),
            (T::Binary { length: 3 }, "0xff", "String", "unhex('FF0000')"),
            (T::VarChar { max_bytes: 20, charset: Charset::new("latin1") }, "\u{e9}", "String", "'\u{e9}'"),
            (T::Enum { members: members() }, "b'c", "LowCardinality(String)", "'b\\'c'"),
            (T::Set { members: members() }, "a,b'c", "String", "'a,b\\'c'"),
            (T::Set { members: members() }, "a,b'c", "Array(String)", "['a', 'b\\'c']"),
            (
                T::Uuid,
                "12345678-9abc-1ef0-8234-567890abcd00",
                "Nullable(UUID)",
                "toUUID('12345678-9abc-1ef0-8234-567890abcd00')",
            ),
            (T::Inet6, "::ffff:1.2.3.4", "IPv6", "toIPv6('::ffff:1.2.3.4')"),
            (T::Inet4, "1.2.3.0", "IPv4", "toIPv4('1.2.3.0')"),
            (T::Inet6, "::", "String", "'::'"),
        ] {
            assert_eq!(written(&ty, text, target, VALUES).unwrap(), sql);
        }
    }

    #[test]
    fn a_default_follows_the_policy_of_dates_that_name_no_day() {
        let with = |zero_dates, target| {
            let values = ValuePolicy { zero_dates, ..VALUES };
            written(&ColumnType::DateTime { fsp: 0 }, "0000-00-00 00:00:00", target, values)
        };
        let (plain, nullable) = ("DateTime64(0, 'UTC')", "Nullable(DateTime64(0, 'UTC'))");
        assert_eq!(with(ZeroDates::Null, nullable), Ok("NULL".to_owned()));
        let epoch = "toDateTime64('1970-01-01 00:00:00', 0, 'UTC')";
        assert_eq!(with(ZeroDates::Epoch, plain), Ok(epoch.to_owned()));
        assert!(with(ZeroDates::Null, plain).unwrap_err().contains("zero_dates: epoch"));
        assert!(with(ZeroDates::Stop, nullable).is_err());
    }

    #[test]
    fn a_null_or_unknown_default_is_written_where_the_type_has_it() {
        let mut table = schema(vec![column("v", ColumnType::Vector, true)], None);
        let of = |table: &TableSchema, ty| default_literal(&table.name, &table.columns[0], ty, VALUES).unwrap();
        assert_eq!(of(&table, "Array(Float32)"), None);
        table.columns[0].default = ColumnDefault::Null;
        assert_eq!(of(&table, "Array(Float32)").as_deref(), Some("[]"));
        assert_eq!(of(&table, "Nullable(String)").as_deref(), Some("NULL"));
        assert_eq!(of(&table, "String"), None);
    }
}
