//! One row after another, value by value.

use crate::model::{ColumnType, TableSchema};

use super::value::Slot;
use crate::codec::row_image::error::{PlanError, WriteError};
use crate::codec::row_image::layout::{MAX_COLUMNS, bitmap_len};
use crate::codec::row_image::temporal::{Date, DateTime, Time, Timestamp};

/// How to write the row images of one schema.
#[derive(Debug)]
pub struct ImageWriter {
    slots: Box<[Slot]>,
}

/// A row being written: one call per column, in table order, then [`finish`](Self::finish). A row that is dropped unfinished
/// leaves nothing behind.
#[derive(Debug)]
pub struct RowBuilder<'w> {
    slots: &'w [Slot],
    out: &'w mut Vec<u8>,
    /// Where the row begins in `out`; its null bitmap is here.
    start: usize,
    /// Values given so far.
    column: usize,
    finished: bool,
}

impl ImageWriter {
    /// A writer for the whole row of a table.
    pub fn new(schema: &TableSchema) -> Result<Self, PlanError> {
        let columns = schema.columns.len();
        if columns == 0 || columns > MAX_COLUMNS {
            return Err(PlanError::Columns { columns });
        }
        let slots = schema.columns.iter().map(Slot::new);
        Ok(Self { slots: slots.collect::<Result<_, _>>()? })
    }

    /// Begins a row at the end of `out`.
    pub fn row<'w>(&'w self, out: &'w mut Vec<u8>) -> RowBuilder<'w> {
        let start = out.len();
        out.resize(start + bitmap_len(self.slots.len()), 0);
        RowBuilder { slots: &self.slots, out, start, column: 0, finished: false }
    }

    /// The bytes of a column's value for its literal in `information_schema.COLUMN_DEFAULT`: `5`, `1.50`, `2020-01-01 00:00:00`
    /// (of a `TIMESTAMP`: in UTC), a label or labels, `b'101'`, and for character columns the text itself in UTF-8. Of a binary
    /// column, `0x` and hex digits, as MySQL writes it. MariaDB writes string literals in quotes: the caller takes them off, and
    /// writes those of binary columns in hex.
    pub fn from_text(&self, column: usize, text: &[u8]) -> Result<Vec<u8>, WriteError> {
        let slot = self.slots.get(column).ok_or(WriteError::Count { given: column + 1, columns: self.slots.len() })?;
        let mut cell = Vec::new();
        slot.default_literal(&mut cell, text)?;
        Ok(cell)
    }
}

impl RowBuilder<'_> {
    fn with(&mut self, write: impl FnOnce(&Slot, &mut Vec<u8>) -> Result<(), WriteError>) -> Result<(), WriteError> {
        let slot = self.slots.get(self.column).ok_or_else(|| self.count(self.column + 1))?;
        write(slot, self.out)?;
        self.column += 1;
        Ok(())
    }

    fn count(&self, given: usize) -> WriteError {
        WriteError::Count { given, columns: self.slots.len() }
    }

    /// The type of the column that is next; `None` behind the last.
    pub fn next_type(&self) -> Option<&ColumnType> {
        self.slots.get(self.column).map(Slot::ty)
    }

    /// NULL; the column must allow it.
    pub fn null(&mut self) -> Result<(), WriteError> {
        let (at, bit) = (self.start + self.column / 8, self.column % 8);
        self.with(|slot, out| {
            slot.nullable()?;
            if let Some(byte) = out.get_mut(at) {
                *byte |= 1 << bit;
            }
            Ok(())
        })
    }

    /// An integer, into an integer column of either sign.
    pub fn int(&mut self, value: i64) -> Result<(), WriteError> {
        self.with(|slot, out| slot.int(out, value.into()))
    }

    /// An integer, into an integer column of either sign.
    pub fn uint(&mut self, value: u64) -> Result<(), WriteError> {
        self.with(|slot, out| slot.int(out, value.into()))
    }

    /// `FLOAT`; a finite number.
    pub fn float(&mut self, value: f32) -> Result<(), WriteError> {
        self.with(|slot, out| slot.float(out, value))
    }

    /// `DOUBLE`; a finite number.
    pub fn double(&mut self, value: f64) -> Result<(), WriteError> {
        self.with(|slot, out| slot.double(out, value))
    }

    /// `DECIMAL`, as ASCII: `[+-]digits[.digits]`, with no more digits than the column holds.
    pub fn decimal(&mut self, text: &[u8]) -> Result<(), WriteError> {
        self.with(|slot, out| slot.decimal(out, text))
    }

    /// `YEAR`: 0, or 1901 to 2155.
    pub fn year(&mut self, value: u16) -> Result<(), WriteError> {
        self.with(|slot, out| slot.year(out, value))
    }

    /// `DATE`.
    pub fn date(&mut self, value: Date) -> Result<(), WriteError> {
        self.with(|slot, out| slot.date(out, value))
    }

    /// `TIME`. The value's own `fsp` means nothing here; its microseconds must fit the column's.
    pub fn time(&mut self, value: Time) -> Result<(), WriteError> {
        self.with(|slot, out| slot.time(out, value))
    }

    /// `DATETIME`. The value's own `fsp` means nothing here; its microseconds must fit the column's.
    pub fn datetime(&mut self, value: DateTime) -> Result<(), WriteError> {
        self.with(|slot, out| slot.datetime(out, value))
    }

    /// `TIMESTAMP`. The value's own `fsp` means nothing here; its microseconds must fit the column's.
    pub fn timestamp(&mut self, value: Timestamp) -> Result<(), WriteError> {
        self.with(|slot, out| slot.timestamp(out, value))
    }

    /// `TIMESTAMP` from fields in UTC; all zero is the zero timestamp.
    pub fn timestamp_utc(&mut self, value: DateTime) -> Result<(), WriteError> {
        self.with(|slot, out| slot.timestamp_utc(out, value))
    }

    /// `BIT(n)`, as a number.
    pub fn bit(&mut self, value: u64) -> Result<(), WriteError> {
        self.with(|slot, out| slot.bit(out, value))
    }

    /// `CHAR`, `VARCHAR`, `TEXT` in the column's own character set, `BINARY`, `VARBINARY`, `BLOB`. The padding of `CHAR` and
    /// `BINARY` is taken off, as the server does.
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), WriteError> {
        self.with(|slot, out| slot.bytes(out, value))
    }

    /// `ENUM`, by its 1-based ordinal; 0 is the value that stands for an invalid one.
    pub fn enumeration(&mut self, ordinal: u16) -> Result<(), WriteError> {
        self.with(|slot, out| slot.enumeration(out, ordinal))
    }

    /// `SET`: bit i is member i.
    pub fn set(&mut self, mask: u64) -> Result<(), WriteError> {
        self.with(|slot, out| slot.set(out, mask))
    }

    /// `JSON`, as the text the server printed.
    pub fn json(&mut self, text: &[u8]) -> Result<(), WriteError> {
        self.with(|slot, out| slot.json(out, text))
    }

    /// A spatial value as the server stores it: SRID (4 bytes), then WKB.
    pub fn geometry(&mut self, value: &[u8]) -> Result<(), WriteError> {
        self.with(|slot, out| slot.geometry(out, value))
    }

    /// `VECTOR`: little-endian `f32`s.
    pub fn vector(&mut self, value: &[u8]) -> Result<(), WriteError> {
        self.with(|slot, out| slot.vector(out, value))
    }

    /// A value of any type but NULL as the text protocol sends it, with the session's `time_zone` at `+00:00` and its
    /// `character_set_results` at NULL, so that strings are in their own character set. `ENUM` and `SET` come as labels in UTF-8; where
    /// their character set is another, or a label is not unique, select the column plus 0 and call [`enumeration`](Self::enumeration)
    /// or [`set`](Self::set). `FLOAT` comes with six digits, which is not all of it: select it as a `DOUBLE`, or use the binary protocol.
    pub fn text_protocol(&mut self, value: &[u8]) -> Result<(), WriteError> {
        self.with(|slot, out| slot.text_protocol(out, value))
    }

    /// Ends the row; returns its length. A row that is short of values is taken back.
    pub fn finish(mut self) -> Result<usize, WriteError> {
        if self.column != self.slots.len() {
            return Err(self.count(self.column));
        }
        self.finished = true;
        Ok(self.out.len() - self.start)
    }
}

impl Drop for RowBuilder<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}
