//! Values of any type, owned: what a read found, and what a write is given.

use std::fmt::Write;

use super::super::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, RowBuilder, RowVisitor, Text, Time, Timestamp, Uuid,
    ValueError, WriteError,
};

/// One value. Numbers with fractions are compared by their bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Uint(u64),
    Float(u32),
    Double(u64),
    Decimal(String),
    Year(u16),
    Date(Date),
    Time(Time),
    DateTime(DateTime),
    Timestamp(Timestamp),
    Bit(u64),
    /// In UTF-8, then as stored.
    Text(String, Vec<u8>),
    /// With its padding.
    Bytes(Vec<u8>),
    Enum(u16, String),
    Set(u64),
    Json(String),
    Geometry(Vec<u8>),
    Vector(Vec<u8>),
    /// A UUID or an address.
    Address(Vec<u8>),
}

impl Value {
    pub(super) fn write(&self, row: &mut RowBuilder<'_>) -> Result<(), WriteError> {
        match self {
            Self::Null => row.null(),
            Self::Int(value) => row.int(*value),
            Self::Uint(value) => row.uint(*value),
            Self::Float(bits) => row.float(f32::from_bits(*bits)),
            Self::Double(bits) => row.double(f64::from_bits(*bits)),
            Self::Decimal(text) => row.decimal(text.as_bytes()),
            Self::Year(value) => row.year(*value),
            Self::Date(value) => row.date(*value),
            Self::Time(value) => row.time(*value),
            Self::DateTime(value) => row.datetime(*value),
            Self::Timestamp(value) => row.timestamp(*value),
            Self::Bit(value) => row.bit(*value),
            Self::Text(_, stored) => row.bytes(stored),
            Self::Bytes(value) | Self::Address(value) => row.bytes(value),
            Self::Enum(ordinal, _) => row.enumeration(*ordinal),
            Self::Set(mask) => row.set(*mask),
            Self::Json(text) => row.json(text.as_bytes()),
            Self::Geometry(value) => row.geometry(value),
            Self::Vector(value) => row.vector(value),
        }
    }

    /// As the server prints it; text and bytes in hex.
    pub(super) fn printed(&self) -> String {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Uint(value) | Self::Bit(value) | Self::Set(value) => value.to_string(),
            Self::Float(bits) => double(f32::from_bits(*bits).into()),
            Self::Double(bits) => double(f64::from_bits(*bits)),
            Self::Decimal(value) | Self::Json(value) => value.clone(),
            Self::Year(value) => format!("{value:04}"),
            Self::Date(value) => text(&|out| value.write_text(out)),
            Self::Time(value) => text(&|out| value.write_text(out)),
            Self::DateTime(value) => text(&|out| value.write_text(out)),
            Self::Timestamp(value) => text(&|out| value.write_text(out)),
            Self::Text(value, _) => upper_hex(value.as_bytes()),
            Self::Bytes(value) | Self::Geometry(value) | Self::Vector(value) | Self::Address(value) => upper_hex(value),
            Self::Enum(ordinal, _) => ordinal.to_string(),
        }
    }
}

fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").unwrap();
        text
    })
}

fn double(value: f64) -> String {
    let exponent = format!("{value:e}");
    let plain = value.to_string();
    if plain.len() > 25 { exponent } else { plain }
}

/// Takes every value with the column it came with.
#[derive(Debug, Default)]
pub(super) struct Collect {
    pub(super) values: Vec<(usize, Value)>,
}

impl Collect {
    fn push(&mut self, column: usize, value: Value) {
        self.values.push((column, value));
    }

    /// The values, checked to be of columns 0, 1, 2 and so on.
    pub(super) fn in_order(self) -> Vec<Value> {
        for (index, (column, _)) in self.values.iter().enumerate() {
            assert_eq!(index, *column);
        }
        self.values.into_iter().map(|(_, value)| value).collect()
    }
}

impl RowVisitor for Collect {
    type Error = ValueError;

    fn null(&mut self, column: usize) -> Result<(), ValueError> {
        self.push(column, Value::Null);
        Ok(())
    }
    fn int(&mut self, column: usize, value: i64) -> Result<(), ValueError> {
        self.push(column, Value::Int(value));
        Ok(())
    }
    fn uint(&mut self, column: usize, value: u64) -> Result<(), ValueError> {
        self.push(column, Value::Uint(value));
        Ok(())
    }
    fn float(&mut self, column: usize, value: f32) -> Result<(), ValueError> {
        self.push(column, Value::Float(value.to_bits()));
        Ok(())
    }
    fn double(&mut self, column: usize, value: f64) -> Result<(), ValueError> {
        self.push(column, Value::Double(value.to_bits()));
        Ok(())
    }
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text);
        self.push(column, Value::Decimal(String::from_utf8(text).unwrap()));
        Ok(())
    }
    fn year(&mut self, column: usize, value: u16) -> Result<(), ValueError> {
        self.push(column, Value::Year(value));
        Ok(())
    }
    fn date(&mut self, column: usize, value: Date) -> Result<(), ValueError> {
        self.push(column, Value::Date(value));
        Ok(())
    }
    fn time(&mut self, column: usize, value: Time) -> Result<(), ValueError> {
        self.push(column, Value::Time(value));
        Ok(())
    }
    fn datetime(&mut self, column: usize, value: DateTime) -> Result<(), ValueError> {
        self.push(column, Value::DateTime(value));
        Ok(())
    }
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Result<(), ValueError> {
        self.push(column, Value::Timestamp(value));
        Ok(())
    }
    fn bit(&mut self, column: usize, value: u64) -> Result<(), ValueError> {
        self.push(column, Value::Bit(value));
        Ok(())
    }
    fn text(&mut self, column: usize, value: Text<'_>) -> Result<(), ValueError> {
        let text = value.as_utf8()?.into_owned();
        let mut again = String::from("before ");
        value.write_utf8(&mut again)?;
        assert_eq!(again, format!("before {text}"));
        self.push(column, Value::Text(text, value.raw().to_vec()));
        Ok(())
    }
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Result<(), ValueError> {
        let mut bytes = Vec::new();
        value.write_to(&mut bytes);
        assert_eq!(bytes.len(), value.len());
        self.push(column, Value::Bytes(bytes));
        Ok(())
    }
    fn enumeration(&mut self, column: usize, ordinal: u16, label: &str) -> Result<(), ValueError> {
        self.push(column, Value::Enum(ordinal, label.to_owned()));
        Ok(())
    }
    fn set(&mut self, column: usize, mask: u64, _: &[String]) -> Result<(), ValueError> {
        self.push(column, Value::Set(mask));
        Ok(())
    }
    fn json(&mut self, column: usize, value: Json<'_>) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text)?;
        self.push(column, Value::Json(String::from_utf8(text).unwrap()));
        Ok(())
    }
    fn geometry(&mut self, column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.push(column, Value::Geometry(value.to_vec()));
        Ok(())
    }
    fn vector(&mut self, column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.push(column, Value::Vector(value.to_vec()));
        Ok(())
    }
    fn uuid(&mut self, column: usize, value: Uuid) -> Result<(), ValueError> {
        self.push(column, Value::Address(value.0.to_vec()));
        Ok(())
    }
    fn inet6(&mut self, column: usize, value: Inet6) -> Result<(), ValueError> {
        self.push(column, Value::Address(value.0.to_vec()));
        Ok(())
    }
    fn inet4(&mut self, column: usize, value: Inet4) -> Result<(), ValueError> {
        self.push(column, Value::Address(value.0.to_vec()));
        Ok(())
    }
}
