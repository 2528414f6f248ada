//! Rows and types in words.
//!
//! Numbers are JSON numbers, binary values are hexadecimal (`0x...`), everything else is the text that MySQL prints.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, Plan, RowVisitor, Text, Time, Timestamp, Uuid, ValueError,
};
use crate::error::Failure;
use crate::model::{Column, ColumnType, IntWidth, TableSchema};

/// Reads the images of one schema.
pub(super) struct RowReader {
    schema: Arc<TableSchema>,
    plan: Plan,
}

impl RowReader {
    pub(super) fn new(schema: Arc<TableSchema>) -> Result<Self, Failure> {
        let plan = Plan::all(&schema).map_err(|error| {
            Failure::fatal(format!("rows of table \"{}\" cannot be read", schema.name)).caused_by(error)
        })?;
        Ok(Self { schema, plan })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The first image in `bytes`: its values by column, and its length.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<(Map<String, Value>, usize), Failure> {
        let mut row = RowValues { columns: &self.schema.columns, values: Map::new() };
        let length = self.plan.read(bytes, &mut row).map_err(|error| {
            Failure::fatal(format!("a row of table \"{}\" in the log is damaged", self.schema.name)).caused_by(error)
        })?;
        Ok((row.values, length))
    }

    /// The same of an image that has the key's columns alone: its others are not shown, because they are not known.
    pub(super) fn read_key(&self, bytes: &[u8]) -> Result<(Map<String, Value>, usize), Failure> {
        let (mut values, length) = self.read(bytes)?;
        let columns = self.schema.key.iter().flat_map(|key| &key.columns);
        let key: Vec<&str> = columns
            .filter_map(|place| self.schema.columns.get(usize::from(*place)))
            .map(|column| column.name.as_str())
            .collect();
        values.retain(|name, _| key.contains(&name.as_str()));
        Ok((values, length))
    }
}

struct RowValues<'s> {
    columns: &'s [Column],
    values: Map<String, Value>,
}

impl RowValues<'_> {
    fn put(&mut self, column: usize, value: impl Into<Value>) {
        // The plan and the columns come from one schema.
        if let Some(column) = self.columns.get(column) {
            self.values.insert(column.name.clone(), value.into());
        }
    }

    fn put_text(&mut self, column: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = Vec::new();
        write(&mut text);
        self.put(column, String::from_utf8_lossy(&text).into_owned());
    }

    fn put_hex(&mut self, column: usize, bytes: &[u8]) {
        const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
        let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        let text: String = "0x".chars().chain(digits).collect();
        self.put(column, text);
    }
}

impl RowVisitor for RowValues<'_> {
    type Error = ValueError;

    fn null(&mut self, column: usize) -> Result<(), ValueError> {
        self.put(column, Value::Null);
        Ok(())
    }
    fn int(&mut self, column: usize, value: i64) -> Result<(), ValueError> {
        self.put(column, value);
        Ok(())
    }
    fn uint(&mut self, column: usize, value: u64) -> Result<(), ValueError> {
        self.put(column, value);
        Ok(())
    }
    fn float(&mut self, column: usize, value: f32) -> Result<(), ValueError> {
        // As text and back, so that 0.1 is shown as 0.1 and not with the digits that an f64 adds.
        self.put(column, value.to_string().parse::<f64>().unwrap_or(f64::from(value)));
        Ok(())
    }
    fn double(&mut self, column: usize, value: f64) -> Result<(), ValueError> {
        self.put(column, value);
        Ok(())
    }
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn year(&mut self, column: usize, value: u16) -> Result<(), ValueError> {
        self.put(column, value);
        Ok(())
    }
    fn date(&mut self, column: usize, value: Date) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn time(&mut self, column: usize, value: Time) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn datetime(&mut self, column: usize, value: DateTime) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn bit(&mut self, column: usize, value: u64) -> Result<(), ValueError> {
        self.put(column, value);
        Ok(())
    }
    fn text(&mut self, column: usize, value: Text<'_>) -> Result<(), ValueError> {
        let text = value.as_utf8()?.into_owned();
        self.put(column, text);
        Ok(())
    }
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Result<(), ValueError> {
        let mut bytes = Vec::new();
        value.write_to(&mut bytes);
        self.put_hex(column, &bytes);
        Ok(())
    }
    fn enumeration(&mut self, column: usize, _ordinal: u16, label: &str) -> Result<(), ValueError> {
        self.put(column, label);
        Ok(())
    }
    fn set(&mut self, column: usize, mask: u64, members: &[String]) -> Result<(), ValueError> {
        let chosen: Vec<&str> = members
            .iter()
            .take(64)
            .enumerate()
            .filter(|(i, _)| mask >> i & 1 == 1)
            .map(|(_, name)| name.as_str())
            .collect();
        self.put(column, chosen.join(","));
        Ok(())
    }
    fn json(&mut self, column: usize, value: Json<'_>) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text)?;
        self.put(column, String::from_utf8_lossy(&text).into_owned());
        Ok(())
    }
    fn geometry(&mut self, column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.put_hex(column, value);
        Ok(())
    }
    fn vector(&mut self, column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.put_hex(column, value);
        Ok(())
    }
    fn uuid(&mut self, column: usize, value: Uuid) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn inet6(&mut self, column: usize, value: Inet6) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
    fn inet4(&mut self, column: usize, value: Inet4) -> Result<(), ValueError> {
        self.put_text(column, |text| value.write_text(text));
        Ok(())
    }
}

/// A column as a `CREATE TABLE` would have it, nearly.
pub(super) fn column_in_words(column: &Column) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    format!("{} {}{null}", column.name, type_in_words(&column.ty))
}

fn type_in_words(ty: &ColumnType) -> String {
    let fraction = |name: &str, fsp: u8| if fsp == 0 { name.to_owned() } else { format!("{name}({fsp})") };
    match ty {
        ColumnType::Int { width, unsigned } => {
            let name = match width {
                IntWidth::W1 => "TINYINT",
                IntWidth::W2 => "SMALLINT",
                IntWidth::W3 => "MEDIUMINT",
                IntWidth::W4 => "INT",
                IntWidth::W8 => "BIGINT",
            };
            format!("{name}{}", if *unsigned { " UNSIGNED" } else { "" })
        }
        ColumnType::Float => "FLOAT".to_owned(),
        ColumnType::Double => "DOUBLE".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
        ColumnType::Year => "YEAR".to_owned(),
        ColumnType::Date => "DATE".to_owned(),
        ColumnType::Time { fsp } => fraction("TIME", *fsp),
        ColumnType::DateTime { fsp } => fraction("DATETIME", *fsp),
        ColumnType::Timestamp { fsp } => fraction("TIMESTAMP", *fsp),
        ColumnType::Bit { bits } => format!("BIT({bits})"),
        ColumnType::Char { max_bytes, charset } => format!("CHAR of {max_bytes} bytes {}", charset.as_str()),
        ColumnType::VarChar { max_bytes, charset } => format!("VARCHAR of {max_bytes} bytes {}", charset.as_str()),
        ColumnType::Text { length_bytes, charset } => format!("{}TEXT {}", size_word(*length_bytes), charset.as_str()),
        ColumnType::Binary { length } => format!("BINARY({length})"),
        ColumnType::VarBinary { max_bytes } => format!("VARBINARY({max_bytes})"),
        ColumnType::Blob { length_bytes } => format!("{}BLOB", size_word(*length_bytes)),
        ColumnType::Enum { members } => format!("ENUM({})", members.join(",")),
        ColumnType::Set { members } => format!("SET({})", members.join(",")),
        ColumnType::Json => "JSON".to_owned(),
        ColumnType::Geometry => "GEOMETRY".to_owned(),
        ColumnType::Vector => "VECTOR".to_owned(),
        ColumnType::Uuid => "UUID".to_owned(),
        ColumnType::Inet6 => "INET6".to_owned(),
        ColumnType::Inet4 => "INET4".to_owned(),
        ColumnType::Unsupported { name, .. } => format!("{name} (unsupported)"),
    }
}

fn size_word(length_bytes: u8) -> &'static str {
    match length_bytes {
        1 => "TINY",
        3 => "MEDIUM",
        4 => "LONG",
        _ => "",
    }
}
