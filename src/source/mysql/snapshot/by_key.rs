//! Conditions that find rows by the values of a key, as row images hold them ([`Fields::key`](crate::codec::row_image::Fields::key)).
//!
//! Values are literals of the column's own kind, so that the server compares them as it compares the key: text in its character set
//! takes the collation of the column that it is compared with. The session's time zone is UTC, and its `sql_mode` refuses no date
//! ([`session`](super::session)).

use super::literal::{KeyValue, hex};
use crate::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, Plan, RowVisitor, Text, Time, Timestamp, Uuid,
};
use crate::model::{ColumnType, TableSchema};
use crate::source::mysql::schema::{KeyClass, identifier};

/// How rows of a table are found by one of its keys.
#[derive(Debug)]
pub struct ByKey {
    plan: Plan,
    key: Box<[u16]>,
    /// Names of the key's columns and the character set of those that are text, in the order of the key.
    columns: Box<[(String, Option<String>)]>,
}

impl ByKey {
    /// By the values of these columns; `None` where the server does not compare one of them exactly with a literal, or there is none.
    pub fn new(schema: &TableSchema, key: &[u16]) -> Option<Self> {
        let mut wanted = vec![false; schema.columns.len()];
        let mut columns = Vec::with_capacity(key.len());
        for place in key.iter().map(|place| usize::from(*place)) {
            let column = schema.columns.get(place).filter(|column| is_exact(&column.ty))?;
            *wanted.get_mut(place)? = true;
            columns.push((identifier(&column.name), column.ty.charset().map(|charset| charset.as_str().to_owned())));
        }
        let plan = Plan::compile(schema, &wanted).ok().filter(|_| !key.is_empty())?;
        Some(Self { plan, key: key.into(), columns: columns.into() })
    }

    /// The condition that a row with these values fulfils; `None` where they are no values of the key that can be written into SQL.
    pub fn condition(&self, fields: &[u8]) -> Option<String> {
        let image = self.plan.key_image(&self.key, fields).ok()?;
        let mut literals = Literals { values: vec![None; self.plan.columns()] };
        self.plan.read(&image, &mut literals).ok()?;
        let mut parts = Vec::with_capacity(self.key.len());
        for (place, (name, charset)) in self.key.iter().zip(&self.columns) {
            let value = literals.values.get_mut(usize::from(*place))?.take()?;
            let introducer = charset.as_ref().map_or_else(String::new, |charset| format!("_{charset} "));
            parts.push(format!("{name} = {introducer}{value}"));
        }
        Some(format!("({})", parts.join(" AND ")))
    }
}

/// Whether a value of this type is found by a literal, and no other value is.
fn is_exact(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Int { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Year
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::DateTime { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Char { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Text { .. }
        | ColumnType::Binary { .. }
        | ColumnType::VarBinary { .. }
        | ColumnType::Blob { .. }
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Uuid
        | ColumnType::Inet6
        | ColumnType::Inet4 => true,
        ColumnType::Float
        | ColumnType::Double
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector
        | ColumnType::Unsupported { .. } => false,
    }
}

/// A value that is not written into SQL.
#[derive(Debug)]
struct NoLiteral;

/// Takes the values of a key as literals, by column.
struct Literals {
    values: Vec<Option<String>>,
}

impl Literals {
    fn put(&mut self, column: usize, literal: String) -> Result<(), NoLiteral> {
        *self.values.get_mut(column).ok_or(NoLiteral)? = Some(literal);
        Ok(())
    }

    fn put_text_of(
        &mut self,
        column: usize,
        class: &KeyClass,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NoLiteral> {
        let mut text = Vec::new();
        write(&mut text);
        let text = std::str::from_utf8(&text).map_err(|_| NoLiteral)?;
        let value = KeyValue::from_text(class, text).ok_or(NoLiteral)?;
        self.put(column, value.literal(class))
    }
}

impl RowVisitor for Literals {
    type Error = NoLiteral;

    /// Every column that is not of the key.
    fn null(&mut self, _: usize) -> Result<(), NoLiteral> {
        Ok(())
    }
    fn int(&mut self, column: usize, value: i64) -> Result<(), NoLiteral> {
        self.put(column, value.to_string())
    }
    fn uint(&mut self, column: usize, value: u64) -> Result<(), NoLiteral> {
        self.put(column, value.to_string())
    }
    fn float(&mut self, _: usize, _: f32) -> Result<(), NoLiteral> {
        Err(NoLiteral)
    }
    fn double(&mut self, _: usize, _: f64) -> Result<(), NoLiteral> {
        Err(NoLiteral)
    }
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Number, |text| value.write_text(text))
    }
    fn year(&mut self, column: usize, value: u16) -> Result<(), NoLiteral> {
        self.put(column, value.to_string())
    }
    fn date(&mut self, column: usize, value: Date) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Temporal, |text| value.write_text(text))
    }
    fn time(&mut self, column: usize, value: Time) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Temporal, |text| value.write_text(text))
    }
    fn datetime(&mut self, column: usize, value: DateTime) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Temporal, |text| value.write_text(text))
    }
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Temporal, |text| value.write_text(text))
    }
    fn bit(&mut self, column: usize, value: u64) -> Result<(), NoLiteral> {
        self.put(column, value.to_string())
    }
    fn text(&mut self, column: usize, value: Text<'_>) -> Result<(), NoLiteral> {
        // The server refuses a literal whose bytes mean nothing in its character set.
        value.as_utf8().map_err(|_| NoLiteral)?;
        self.put(column, format!("x'{}'", hex(value.raw())))
    }
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Result<(), NoLiteral> {
        let mut bytes = Vec::with_capacity(value.len());
        value.write_to(&mut bytes);
        self.put(column, format!("x'{}'", hex(&bytes)))
    }
    fn enumeration(&mut self, column: usize, ordinal: u16, _: &str) -> Result<(), NoLiteral> {
        self.put(column, ordinal.to_string())
    }
    fn set(&mut self, column: usize, mask: u64, _: &[String]) -> Result<(), NoLiteral> {
        self.put(column, mask.to_string())
    }
    fn json(&mut self, _: usize, _: Json<'_>) -> Result<(), NoLiteral> {
        Err(NoLiteral)
    }
    fn geometry(&mut self, _: usize, _: &[u8]) -> Result<(), NoLiteral> {
        Err(NoLiteral)
    }
    fn vector(&mut self, _: usize, _: &[u8]) -> Result<(), NoLiteral> {
        Err(NoLiteral)
    }
    fn uuid(&mut self, column: usize, value: Uuid) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Uuid, |text| value.write_text(text))
    }
    fn inet6(&mut self, column: usize, value: Inet6) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Inet6, |text| value.write_text(text))
    }
    fn inet4(&mut self, column: usize, value: Inet4) -> Result<(), NoLiteral> {
        self.put_text_of(column, &KeyClass::Inet4, |text| value.write_text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::row_image::ImageWriter;
    use crate::model::{Charset, Column, ColumnDefault, IntWidth, TableName};

    fn table(types: &[ColumnType]) -> TableSchema {
        let columns = (0..).zip(types).map(|(place, ty): (usize, _)| Column {
            name: format!("c`{place}"),
            ty: ty.clone(),
            nullable: true,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: None,
        });
        TableSchema { name: TableName::new("d", "t"), columns: columns.collect(), key: None }
    }

    /// The condition for the key of a row that is given as the text protocol would.
    fn condition(types: &[ColumnType], key: &[u16], row: &[&[u8]]) -> Option<String> {
        let schema = table(types);
        let writer = ImageWriter::new(&schema).unwrap();
        let mut image = Vec::new();
        let mut values = writer.row(&mut image);
        for value in row {
            values.text_protocol(value).unwrap();
        }
        values.finish().unwrap();
        let fields = Plan::walker(&schema).unwrap().key_fields(key, &image).unwrap().unwrap();
        ByKey::new(&schema, key)?.condition(&fields)
    }

    fn int() -> ColumnType {
        ColumnType::Int { width: IntWidth::W4, unsigned: false }
    }

    fn varchar(charset: &str) -> ColumnType {
        ColumnType::VarChar { max_bytes: 80, charset: Charset::new(charset) }
    }

    #[test]
    fn a_row_is_found_by_the_columns_of_its_key_in_the_order_of_the_key() {
        let types = [varchar("latin1"), int(), int()];
        let row: [&[u8]; 3] = [b"it's", b"-5", b"7"];
        assert_eq!(condition(&types, &[1, 0], &row).unwrap(), "(`c``1` = -5 AND `c``0` = _latin1 x'69742773')");
        assert_eq!(condition(&types, &[2], &row).unwrap(), "(`c``2` = 7)");
    }

    #[test]
    fn every_literal_is_of_its_columns_kind() {
        let labels = || vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        for (ty, text, literal) in [
            (ColumnType::Decimal { precision: 9, scale: 3 }, &b"-1.500"[..], "-1.500"),
            (ColumnType::Year, b"2001", "2001"),
            (ColumnType::Date, b"2020-02-30", "'2020-02-30'"),
            (ColumnType::Time { fsp: 2 }, b"-838:59:58.99", "'-838:59:58.99'"),
            (ColumnType::DateTime { fsp: 0 }, b"0000-00-00 00:00:00", "'0000-00-00 00:00:00'"),
            (ColumnType::Timestamp { fsp: 3 }, b"1970-01-01 00:00:01.500", "'1970-01-01 00:00:01.500'"),
            (ColumnType::Enum { members: labels() }, b"b", "2"),
            (ColumnType::Set { members: labels() }, b"a,c", "5"),
            (ColumnType::Binary { length: 3 }, b"\x01\0\0", "x'010000'"),
            (ColumnType::VarBinary { max_bytes: 9 }, b"\x01\0", "x'0100'"),
            (ColumnType::Bit { bits: 12 }, b"\x01\x02", "258"),
            (varchar("ucs2"), b"\x26\x3a", "_ucs2 x'263A'"),
            (ColumnType::Inet4, b"1.2.3.4", "CAST('1.2.3.4' AS INET4)"),
        ] {
            let found = condition(std::slice::from_ref(&ty), &[0], &[text]);
            assert_eq!(found.unwrap(), format!("(`c``0` = {literal})"), "{ty:?}");
        }
    }

    #[test]
    fn what_is_not_compared_exactly_gives_no_condition() {
        assert_eq!(condition(&[ColumnType::Double], &[0], &[b"1.5"]), None);
        assert_eq!(condition(&[int(), ColumnType::Float], &[0, 1], &[b"1", b"1.5"]), None);
        assert!(ByKey::new(&table(&[int()]), &[]).is_none());
        assert!(ByKey::new(&table(&[int()]), &[1]).is_none());
        // Bytes that are no text of the character set.
        let by = ByKey::new(&table(&[varchar("utf8mb4")]), &[0]).unwrap();
        assert_eq!(by.condition(b"\x01\xff"), None);
        assert_eq!(by.condition(b"\x01"), None, "cut short");
        assert_eq!(by.condition(b"\x01ab"), None, "more than a key");
        assert_eq!(by.condition(b"\x01a").unwrap(), "(`c``0` = _utf8mb4 x'61')");
    }
}
