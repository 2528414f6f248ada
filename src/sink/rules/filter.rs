//! Which rows reach a sink: those that fulfil every condition of the table's `rows`.
//!
//! There is one comparison, here, for rows of the stream and of a read. A value that is listed is brought into the form that it has in a row
//! image, and compared with that byte by byte; so text is compared exactly, whatever the column's collation. Ends of ranges are compared in the order
//! of the type: numbers, dates and times by their value, text by the bytes of its UTF-8, binary values by their bytes.

use std::cmp::Ordering;

use crate::codec::row_image::{ImageError, ImageWriter, PlainVisitor, Plan, ReadError, Scratch, ValueError};
use crate::config::{RangeEnd, RowCondition, RowTest};
use crate::error::Failure;
use crate::model::{Column, ColumnType, IntWidth, TableSchema};

/// The conditions on the rows of a schema.
#[derive(Debug)]
pub(super) struct Filter {
    /// Reads the columns of which text is compared.
    plan: Plan,
    conditions: Box<[Condition]>,
}

#[derive(Debug)]
struct Condition {
    column: u16,
    test: Test,
}

#[derive(Debug)]
enum Test {
    /// Values without their length; `None` is NULL.
    In {
        values: Box<[Option<Box<[u8]>>]>,
        is_listed: bool,
        is_real: bool,
    },
    Range {
        order: Order,
        low: Option<End>,
        high: Option<End>,
    },
}

#[derive(Debug)]
struct End {
    value: Box<[u8]>,
    is_included: bool,
}

/// How values of a type are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Integers, little-endian.
    Int { is_signed: bool },
    /// Floating point numbers, little-endian.
    Float,
    /// By their bytes: what the servers store in an order that bytes have.
    Bytes,
    /// Text, by the bytes of its UTF-8.
    Text,
}

impl Filter {
    /// Of these conditions; `None`: there is none.
    ///
    /// # Errors
    /// Of class `Row`, where a condition means nothing for the table: its rows cannot be told apart then.
    pub(super) fn new(schema: &TableSchema, conditions: &[RowCondition]) -> Result<Option<Self>, Failure> {
        if conditions.is_empty() {
            return Ok(None);
        }
        let refused = |condition: &RowCondition, why: String| {
            Failure::row(format!("`rows` of {} cannot be followed: {condition}: {why}", schema.name))
                .hint("correct `rows` of the table's rule, then start again")
        };
        let mut compiled = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let place = schema.column_index(&condition.column);
            let Some((place, column)) = place.and_then(|place| Some((place, schema.columns.get(place)?))) else {
                return Err(refused(condition, "the table has no such column".to_owned()));
            };
            let test = Test::new(schema, (place, column), &condition.test).map_err(|why| refused(condition, why))?;
            let Ok(column) = u16::try_from(place) else {
                return Err(refused(condition, "the table has too many columns".to_owned()));
            };
            compiled.push(Condition { column, test });
        }
        let is_text = |place: usize| {
            compiled.iter().any(|condition| {
                usize::from(condition.column) == place
                    && matches!(condition.test, Test::Range { order: Order::Text, .. })
            })
        };
        let wanted: Vec<bool> = (0..schema.columns.len()).map(is_text).collect();
        let plan = Plan::compile(schema, &wanted).map_err(|error| super::unreadable(&schema.name, error))?;
        Ok(Some(Self { plan, conditions: compiled.into() }))
    }

    /// The places of the columns that it looks at.
    pub(super) fn columns(&self) -> impl Iterator<Item = u16> {
        self.conditions.iter().map(|condition| condition.column)
    }

    /// Whether the first image of `bytes` fulfils every condition.
    pub(super) fn takes(&self, image: &[u8], room: &mut RuleScratch) -> Result<bool, ImageError> {
        for Condition { column, test } in &self.conditions {
            let value = self.plan.value(*column, image)?;
            let is_met = match (test, value) {
                (Test::In { values, is_listed, is_real: false }, value) => {
                    values.iter().any(|listed| listed.as_deref() == value) == *is_listed
                }
                (Test::In { values, is_listed, is_real: true }, value) => {
                    values.iter().any(|listed| listed.as_deref().map(real) == value.map(real)) == *is_listed
                }
                (Test::Range { .. }, None) => false,
                (Test::Range { order: Order::Text, low, high }, Some(value)) => {
                    let text = self.text_of(usize::from(*column), (image, value), room)?;
                    is_within(Order::Text, text, (low.as_ref(), high.as_ref()))
                }
                (Test::Range { order, low, high }, Some(value)) => {
                    is_within(*order, value, (low.as_ref(), high.as_ref()))
                }
            };
            if !is_met {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A text as UTF-8. One that is malformed is compared by its bytes.
    fn text_of<'r>(
        &self,
        column: usize,
        (image, value): (&[u8], &'r [u8]),
        room: &'r mut RuleScratch,
    ) -> Result<&'r [u8], ImageError> {
        let RuleScratch { scratch, text } = room;
        text.clear();
        let cell = self.plan.cell_of(column, image)?.unwrap_or_default();
        match self.plan.cell_plain(column, cell, &mut Utf8(text), scratch) {
            Ok(()) => Ok(text),
            Err(ReadError::Image(error)) => Err(error),
            Err(ReadError::Visitor(_)) => Ok(value),
        }
    }
}

/// RuleScratch for one value that is not in the image as it is compared; kept between rows.
#[derive(Debug, Default)]
pub(in crate::sink) struct RuleScratch {
    pub(super) scratch: Scratch,
    text: Vec<u8>,
}

fn is_within(order: Order, value: &[u8], (low, high): (Option<&End>, Option<&End>)) -> bool {
    let beyond = |end: &End, outside: Ordering| match order.compare(value, &end.value) {
        Ordering::Equal => !end.is_included,
        found => found == outside,
    };
    !low.is_some_and(|low| beyond(low, Ordering::Less)) && !high.is_some_and(|high| beyond(high, Ordering::Greater))
}

impl Order {
    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Self::Int { is_signed } => integer(a, is_signed).cmp(&integer(b, is_signed)),
            Self::Float => real(a).total_cmp(&real(b)),
            Self::Bytes | Self::Text => a.cmp(b),
        }
    }

    /// `None`: values of the type have no order that an operator could mean.
    fn of(ty: &ColumnType) -> Option<Self> {
        Some(match ty {
            ColumnType::Int { unsigned, .. } => Self::Int { is_signed: !unsigned },
            // Day, month and year, lowest first.
            ColumnType::Date => Self::Int { is_signed: false },
            ColumnType::Float | ColumnType::Double => Self::Float,
            ColumnType::Decimal { .. }
            | ColumnType::Year
            | ColumnType::Time { .. }
            | ColumnType::DateTime { .. }
            | ColumnType::Timestamp { .. }
            | ColumnType::Bit { .. }
            | ColumnType::Binary { .. }
            | ColumnType::VarBinary { .. }
            | ColumnType::Blob { .. }
            | ColumnType::Uuid
            | ColumnType::Inet6
            | ColumnType::Inet4 => Self::Bytes,
            ColumnType::Char { charset, .. }
            | ColumnType::VarChar { charset, .. }
            | ColumnType::Text { charset, .. } => {
                if matches!(charset.as_str(), "utf8mb4" | "utf8mb3" | "ascii") {
                    Self::Bytes
                } else {
                    Self::Text
                }
            }
            ColumnType::Enum { .. }
            | ColumnType::Set { .. }
            | ColumnType::Json
            | ColumnType::Geometry
            | ColumnType::Vector
            | ColumnType::Unsupported { .. } => return None,
        })
    }
}

fn integer(bytes: &[u8], is_signed: bool) -> i128 {
    let is_negative = is_signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut number = [if is_negative { 0xff } else { 0 }; 16];
    for (digit, byte) in number.iter_mut().zip(bytes) {
        *digit = *byte;
    }
    i128::from_le_bytes(number)
}

fn real(bytes: &[u8]) -> f64 {
    // Zero has two forms, and one value.
    let value = match (<[u8; 4]>::try_from(bytes), <[u8; 8]>::try_from(bytes)) {
        (Ok(four), _) => f64::from(f32::from_le_bytes(four)),
        (_, Ok(eight)) => f64::from_le_bytes(eight),
        _ => f64::NAN,
    };
    if value == 0.0 { 0.0 } else { value }
}

impl Test {
    fn new(schema: &TableSchema, (place, column): (usize, &Column), test: &RowTest) -> Result<Self, String> {
        let value = |text: &str| constant(schema, (place, column), text);
        let is_real = matches!(column.ty, ColumnType::Float | ColumnType::Double);
        let listed = |values: &[Option<String>]| {
            let values = values.iter().map(|text| text.as_deref().map(value).transpose());
            values.collect::<Result<Box<[_]>, String>>()
        };
        Ok(match test {
            RowTest::In(values) => Self::In { values: listed(values)?, is_listed: true, is_real },
            RowTest::NotIn(values) => Self::In { values: listed(values)?, is_listed: false, is_real },
            RowTest::Range { low, high } => {
                let order = Order::of(&column.ty).ok_or("values of the column's type have no order")?;
                let end = |end: &Option<RangeEnd>| -> Result<Option<End>, String> {
                    let Some(RangeEnd { value: text, is_included }) = end else { return Ok(None) };
                    let is_text = column.ty.charset().is_some();
                    let value = if is_text { text.as_bytes().into() } else { value(text)? };
                    Ok(Some(End { value, is_included: *is_included }))
                };
                Self::Range { order, low: end(low)?, high: end(high)? }
            }
        })
    }
}

/// A value of a column as it stands in an image, without its length.
fn constant(schema: &TableSchema, (place, column): (usize, &Column), text: &str) -> Result<Box<[u8]>, String> {
    if matches!(column.ty, ColumnType::Json | ColumnType::Geometry | ColumnType::Vector) {
        return Err("values of the column's type are not compared".to_owned());
    }
    let text = spelled(&column.ty, text)?;
    let alone = TableSchema { name: schema.name.clone(), columns: vec![column.clone()], key: None };
    let cannot = |error: &dyn std::fmt::Display| format!("\"{text}\" is no value of the column: {error}");
    let writer = ImageWriter::new(&alone).map_err(|error| cannot(&error))?;
    let cell = writer.from_text(0, text.as_bytes()).map_err(|error| cannot(&error))?;
    // As an image of that column alone.
    let image = [&[0][..], &cell].concat();
    let plan = Plan::walker(&alone).map_err(|error| cannot(&error))?;
    let value = plan.value(0, &image).map_err(|error| cannot(&error))?;
    debug_assert!(place < schema.columns.len());
    Ok(value.unwrap_or_default().into())
}

/// A value in the spelling of a literal of its type.
fn spelled(ty: &ColumnType, text: &str) -> Result<String, String> {
    Ok(match ty {
        ColumnType::Bit { .. } => {
            let number: u64 = text.parse().map_err(|_| format!("\"{text}\" is no number of bits"))?;
            format!("b'{number:b}'")
        }
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob { .. }
            if !text.starts_with("0x") =>
        {
            let digits = text.bytes().map(|byte| format!("{byte:02x}"));
            std::iter::once("0x".to_owned()).chain(digits).collect()
        }
        // A day stands for its beginning.
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } if text.len() == 10 => format!("{text} 00:00:00"),
        ColumnType::Int { width: IntWidth::W1, .. } if text == "true" => "1".to_owned(),
        ColumnType::Int { width: IntWidth::W1, .. } if text == "false" => "0".to_owned(),
        _ => text.to_owned(),
    })
}

/// Keeps a text.
struct Utf8<'r>(&'r mut Vec<u8>);

impl PlainVisitor for Utf8<'_> {
    type Error = ValueError;

    fn null(&mut self, _column: usize) -> Result<(), ValueError> {
        Ok(())
    }

    fn int(&mut self, _column: usize, _value: i64) -> Result<(), ValueError> {
        Ok(())
    }

    fn uint(&mut self, _column: usize, _value: u64) -> Result<(), ValueError> {
        Ok(())
    }

    fn real(&mut self, _column: usize, _value: f64) -> Result<(), ValueError> {
        Ok(())
    }

    fn text(&mut self, _column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.0.extend_from_slice(value);
        Ok(())
    }

    fn bytes(&mut self, _column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.0.extend_from_slice(value);
        Ok(())
    }
}
