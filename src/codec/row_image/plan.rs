//! The compiled form of a schema: one small op per column for reading, and segments for skipping.

use crate::model::{ColumnType, IntWidth, TableSchema};

use super::charset::Encoding;
use super::error::PlanError;
use super::layout::{Layout, MAX_COLUMNS, bitmap_len};
use super::walk::Segment;

/// How to read the row images of one schema. Compiled once, immutable, shared between threads.
#[derive(Debug)]
pub struct Plan {
    pub(super) bitmap_len: usize,
    /// One per column, in order.
    pub(super) ops: Box<[Op]>,
    /// One per column, in order.
    pub(super) layouts: Box<[Layout]>,
    /// One per column, in order; read for errors and handed on inside values that can turn out malformed later.
    pub(super) names: Box<[String]>,
    pub(super) segments: Box<[Segment]>,
    /// Places of MySQL's `JSON` columns.
    pub(super) json: Box<[usize]>,
}

/// What reading one column's value means.
#[derive(Debug)]
pub(super) enum Op {
    Skip,
    Int { width: IntWidth, unsigned: bool },
    Float,
    Double,
    Decimal { precision: u8, scale: u8, len: u8 },
    Year,
    Date,
    Time { fsp: u8 },
    DateTime { fsp: u8 },
    Timestamp { fsp: u8 },
    Bit { bits: u8, len: u8 },
    Text { prefix: u8, encoding: Encoding },
    Binary { prefix: u8, length: u16 },
    Bytes { prefix: u8 },
    Enum { len: u8, members: Box<[String]> },
    Set { len: u8, members: Box<[String]> },
    Json,
    Geometry,
    Vector,
    Uuid,
    Inet6,
    Inet4,
}

impl Plan {
    /// A plan that reads the columns marked in `wanted` and steps over the others.
    pub fn compile(schema: &TableSchema, wanted: &[bool]) -> Result<Self, PlanError> {
        let columns = schema.columns.len();
        if columns == 0 || columns > MAX_COLUMNS {
            return Err(PlanError::Columns { columns });
        }
        if wanted.len() != columns {
            return Err(PlanError::Wanted { given: wanted.len(), columns });
        }
        let mut ops = Vec::with_capacity(columns);
        let mut layouts = Vec::with_capacity(columns);
        for (column, wanted) in schema.columns.iter().zip(wanted) {
            let layout = Layout::of(column)?;
            layouts.push(layout);
            ops.push(if *wanted { Op::of(&column.name, &column.ty, layout)? } else { Op::Skip });
        }
        Ok(Self {
            bitmap_len: bitmap_len(columns),
            segments: Segment::split(&layouts),
            ops: ops.into(),
            layouts: layouts.into(),
            names: schema.columns.iter().map(|c| c.name.clone()).collect(),
            json: (0..).zip(&schema.columns).filter(|(_, c)| c.ty == ColumnType::Json).map(|(at, _)| at).collect(),
        })
    }

    /// A plan that only walks over images, to find where each ends and what its key is.
    pub fn walker(schema: &TableSchema) -> Result<Self, PlanError> {
        Self::compile(schema, &vec![false; schema.columns.len()])
    }

    /// A plan that reads every column.
    pub fn all(schema: &TableSchema) -> Result<Self, PlanError> {
        Self::compile(schema, &vec![true; schema.columns.len()])
    }

    /// Columns of an image.
    pub fn columns(&self) -> usize {
        self.names.len()
    }

    /// Name of a column for an error message.
    pub(super) fn name(&self, column: usize) -> &str {
        self.names.get(column).map_or("", String::as_str)
    }
}

impl Op {
    fn of(column: &str, ty: &ColumnType, layout: Layout) -> Result<Self, PlanError> {
        let (Layout::Fixed(len) | Layout::Prefixed(len)) = layout;
        Ok(match ty {
            ColumnType::Int { width, unsigned } => Self::Int { width: *width, unsigned: *unsigned },
            ColumnType::Float => Self::Float,
            ColumnType::Double => Self::Double,
            ColumnType::Decimal { precision, scale } => Self::Decimal { precision: *precision, scale: *scale, len },
            ColumnType::Year => Self::Year,
            ColumnType::Date => Self::Date,
            ColumnType::Time { fsp } => Self::Time { fsp: *fsp },
            ColumnType::DateTime { fsp } => Self::DateTime { fsp: *fsp },
            ColumnType::Timestamp { fsp } => Self::Timestamp { fsp: *fsp },
            ColumnType::Bit { bits } => Self::Bit { bits: *bits, len },
            ColumnType::Char { charset, .. }
            | ColumnType::VarChar { charset, .. }
            | ColumnType::Text { charset, .. } => Self::Text {
                prefix: len,
                encoding: Encoding::of(charset).ok_or_else(|| PlanError::Charset {
                    column: column.to_owned(),
                    charset: charset.as_str().to_owned(),
                })?,
            },
            ColumnType::Binary { length } => Self::Binary { prefix: len, length: *length },
            ColumnType::VarBinary { .. } | ColumnType::Blob { .. } => Self::Bytes { prefix: len },
            ColumnType::Enum { members } => Self::Enum { len, members: members.clone().into() },
            ColumnType::Set { members } => Self::Set { len, members: members.clone().into() },
            ColumnType::Json => Self::Json,
            ColumnType::Geometry => Self::Geometry,
            ColumnType::Vector => Self::Vector,
            ColumnType::Uuid => Self::Uuid,
            ColumnType::Inet6 => Self::Inet6,
            ColumnType::Inet4 => Self::Inet4,
            ColumnType::Unsupported { name, .. } => {
                return Err(PlanError::Unsupported { column: column.to_owned(), type_name: name.clone() });
            }
        })
    }
}
