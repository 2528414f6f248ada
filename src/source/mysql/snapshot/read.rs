//! Rows of a `SELECT` as row images.
//!
//! The statement runs in the binary protocol, so that `FLOAT` keeps its bits and integers need no parsing, and values go from the
//! client library's row straight into the image. Nothing is converted: strings come in their columns' own character sets,
//! times in UTC, `ENUM` and `SET` by number.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};

use super::handoff::Images;
use super::literal::KeyValue;
use super::range::{self, Bound, Range};
use super::rate::Rate;
use super::spool::WholeCopy;
use crate::codec::row_image::{Date, DateTime, ImageWriter, RowBuilder, Time, WriteError};
use crate::error::Failure;
use crate::model::{ColumnType, TableName};
use crate::source::mysql::schema::{ChunkKey, Described, identifier, query_failure, table_identifier};

/// Rows between two looks at the rate limit: often enough for a smooth rate, seldom enough to cost nothing.
const RATE_STEP: u32 = 256;

/// How to read a table: compiled once per description.
#[derive(Debug)]
pub(super) struct TableReader {
    table: TableName,
    types: Vec<ColumnType>,
    select: String,
    writer: ImageWriter,
}

/// How a chunk's read ended.
#[derive(Debug)]
pub(super) struct ChunkRead {
    pub(super) images: Images,
    /// The last row, where the buffer was full before the range was; the reader then has rows pending.
    pub(super) cut: Option<Bound>,
}

impl TableReader {
    /// # Errors
    /// Names the column whose type is not supported.
    pub(super) fn new(described: &Described) -> Result<Self, Failure> {
        let schema = &described.schema;
        let writer = ImageWriter::new(schema).map_err(|error| {
            Failure::row(format!("table \"{}\" cannot be read", schema.name))
                .caused_by(error)
                .hint("leave the table out by source.exclude")
        })?;
        let columns: Vec<&str> = described.columns.iter().map(|column| column.select.as_str()).collect();
        Ok(Self {
            table: schema.name.clone(),
            types: schema.columns.iter().map(|column| column.ty.clone()).collect(),
            select: columns.join(", "),
            writer,
        })
    }

    /// The statement that reads a range of the table, in the order of the key.
    pub(super) fn chunk_statement(&self, key: &ChunkKey, range: &Range, filter: Option<&str>) -> String {
        format!(
            "SELECT {} FROM {} FORCE INDEX ({}) WHERE {}{} ORDER BY {}",
            self.select,
            table_identifier(&self.table),
            identifier(&key.index),
            range.condition(key),
            filter.map(|filter| format!(" AND ({filter})")).unwrap_or_default(),
            range::order(key, "ASC")
        )
    }

    /// The statement that reads the whole table.
    pub(super) fn whole_statement(&self, filter: Option<&str>) -> String {
        let table = table_identifier(&self.table);
        let filter = filter.map(|filter| format!(" WHERE ({filter})")).unwrap_or_default();
        format!("SELECT {} FROM {table}{filter}", self.select)
    }

    /// Reads a table that is expected to have few rows, whole and into one buffer; `None` if it has more than `most`,
    /// or more bytes than `budget`. The reader has rows pending then.
    pub(super) async fn read_few(
        &self,
        conn: &mut Conn,
        (most, budget): (u32, usize),
        rate: &Rate,
    ) -> Result<Option<Images>, Failure> {
        let sql = format!("{} LIMIT {}", self.whole_statement(None), u64::from(most) + 1);
        let statement = conn.prep(sql).await.map_err(|error| self.failure(error))?;
        let mut images = Images::default();
        let mut result = conn.exec_iter(&statement, ()).await.map_err(|error| self.failure(error))?;
        while let Some(row) = result.next().await.map_err(|error| self.failure(error))? {
            if images.rows == most || images.bytes.len() >= budget {
                return Ok(None);
            }
            self.write(&row, &mut images)?;
        }
        drop(result);
        rate.take(images.rows.into()).await;
        conn.close(statement).await.map_err(|error| self.failure(error))?;
        Ok(Some(images))
    }

    /// Reads a range into one buffer of about `budget` bytes; one row may be larger than that. Cuts the range when the buffer is full.
    pub(super) async fn read_chunk(
        &self,
        conn: &mut Conn,
        sql: &str,
        key: &ChunkKey,
        budget: usize,
        expected: usize,
        rate: &Rate,
    ) -> Result<ChunkRead, Failure> {
        let statement = conn.prep(sql).await.map_err(|error| self.failure(error))?;
        let mut images = Images { bytes: Vec::with_capacity(expected.min(budget)), rows: 0 };
        let mut cut = None;
        let mut result = conn.exec_iter(&statement, ()).await.map_err(|error| self.failure(error))?;
        while let Some(row) = result.next().await.map_err(|error| self.failure(error))? {
            self.write(&row, &mut images)?;
            if images.bytes.len() >= budget {
                cut = Some(self.bound_of(key, &row)?);
                break;
            }
            if images.rows.is_multiple_of(RATE_STEP) {
                rate.take(RATE_STEP.into()).await;
            }
        }
        drop(result);
        rate.take((images.rows % RATE_STEP).into()).await;
        if cut.is_none() {
            conn.close(statement).await.map_err(|error| self.failure(error))?;
        }
        Ok(ChunkRead { images, cut })
    }

    /// Reads a statement to its end into a copy, in pieces of about `piece` bytes. Calls `shown` with the rows so far after each
    /// piece.
    pub(super) async fn read_whole(
        &self,
        conn: &mut Conn,
        (sql, piece): (&str, usize),
        rate: &Rate,
        copy: &mut WholeCopy,
        shown: impl Fn(u64),
    ) -> Result<(), Failure> {
        let statement = conn.prep(sql).await.map_err(|error| self.failure(error))?;
        let mut result = conn.exec_iter(&statement, ()).await.map_err(|error| self.failure(error))?;
        let mut images = Images::default();
        while let Some(row) = result.next().await.map_err(|error| self.failure(error))? {
            self.write(&row, &mut images)?;
            if images.rows.is_multiple_of(RATE_STEP) {
                rate.take(RATE_STEP.into()).await;
                shown(copy.rows() + u64::from(images.rows));
            }
            if images.bytes.len() >= piece {
                rate.take((images.rows % RATE_STEP).into()).await;
                copy.push(&images).await?;
                images.bytes.clear();
                images.rows = 0;
            }
        }
        drop(result);
        if images.rows > 0 {
            copy.push(&images).await?;
        }
        shown(copy.rows());
        conn.close(statement).await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: mysql_async::Error) -> Failure {
        query_failure(&format!("read table \"{}\"", self.table), error)
    }

    fn unreadable(&self) -> Failure {
        Failure::fatal(format!("a row of table \"{}\" came in another shape than it was asked for", self.table))
    }

    fn write(&self, row: &Row, images: &mut Images) -> Result<(), Failure> {
        let mut builder = self.writer.row(&mut images.bytes);
        for (place, ty) in self.types.iter().enumerate() {
            let value = row.as_ref(place).ok_or_else(|| self.unreadable())?;
            match write_value(&mut builder, ty, value) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(self.refused(error)),
                None => return Err(self.unreadable()),
            }
        }
        builder.finish().map_err(|error| self.refused(error))?;
        images.rows = images
            .rows
            .checked_add(1)
            .ok_or_else(|| Failure::fatal(format!("a chunk of table \"{}\" has too many rows", self.table)))?;
        Ok(())
    }

    /// A value that does not fit its column as described: the table was altered in between, so that the next description
    /// fits, or the server sent what it should not.
    fn refused(&self, error: WriteError) -> Failure {
        Failure::retry(format!("a row of table \"{}\" does not fit the table's description", self.table))
            .caused_by(error)
    }

    fn bound_of(&self, key: &ChunkKey, row: &Row) -> Result<Bound, Failure> {
        key.parts
            .iter()
            .map(|part| KeyValue::from_value(&part.class, row.as_ref(usize::from(part.column))?))
            .collect::<Option<_>>()
            .map(Bound)
            .ok_or_else(|| self.unreadable())
    }
}

/// `None`: the value is not of the kind that the column's expression gives.
fn write_value(row: &mut RowBuilder<'_>, ty: &ColumnType, value: &Value) -> Option<Result<(), WriteError>> {
    Some(match (ty, value) {
        (_, Value::NULL) => row.null(),
        (ColumnType::Int { .. }, Value::Int(number)) => row.int(*number),
        (ColumnType::Int { .. }, Value::UInt(number)) => row.uint(*number),
        (
            ColumnType::Char { .. }
            | ColumnType::VarChar { .. }
            | ColumnType::Text { .. }
            | ColumnType::Binary { .. }
            | ColumnType::VarBinary { .. }
            | ColumnType::Blob { .. },
            Value::Bytes(bytes),
        ) => row.bytes(bytes),
        (ColumnType::Decimal { .. }, Value::Bytes(text)) => row.decimal(text),
        (ColumnType::Float, Value::Float(number)) => row.float(*number),
        (ColumnType::Double, Value::Double(number)) => row.double(*number),
        (ColumnType::Enum { .. }, number) => row.enumeration(u16::try_from(unsigned(number)?).ok()?),
        (ColumnType::Set { .. }, number) => row.set(unsigned(number)?),
        (ColumnType::Year, number) => row.year(u16::try_from(unsigned(number)?).ok()?),
        (ColumnType::Date, Value::Date(year, month, day, ..)) => {
            row.date(Date { year: *year, month: *month, day: *day })
        }
        (ColumnType::DateTime { fsp }, value) => row.datetime(datetime(value, *fsp)?),
        (ColumnType::Timestamp { fsp }, value) => row.timestamp_utc(datetime(value, *fsp)?),
        (ColumnType::Time { fsp }, Value::Time(negative, days, hours, minutes, seconds, micros)) => row.time(Time {
            negative: *negative,
            hours: u16::try_from(days.checked_mul(24)?.checked_add(u32::from(*hours))?).ok()?,
            minutes: *minutes,
            seconds: *seconds,
            micros: *micros,
            fsp: *fsp,
        }),
        (ColumnType::Bit { .. }, Value::Bytes(bytes)) => {
            row.bit(bytes.iter().try_fold(0_u64, |bits, byte| Some(bits.checked_mul(256)? | u64::from(*byte)))?)
        }
        (ColumnType::Json, Value::Bytes(text)) => row.json(text),
        (ColumnType::Geometry, Value::Bytes(bytes)) => row.geometry(bytes),
        (ColumnType::Vector, Value::Bytes(bytes)) => row.vector(bytes),
        (ColumnType::Uuid | ColumnType::Inet6 | ColumnType::Inet4, Value::Bytes(text)) => row.text_protocol(text),
        _ => return None,
    })
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::UInt(number) => Some(*number),
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn datetime(value: &Value, fsp: u8) -> Option<DateTime> {
    match *value {
        Value::Date(year, month, day, hour, minute, second, micros) => {
            Some(DateTime { date: Date { year, month, day }, hour, minute, second, micros, fsp })
        }
        _ => None,
    }
}
