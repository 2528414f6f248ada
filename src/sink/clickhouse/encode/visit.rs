//! Values of an image to bytes of a row.

use super::Encoder;
use super::form::{Form, Slot};
use super::instant;
use crate::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, RowVisitor, Scratch, Text, Time, Timestamp, Uuid, chosen,
    write_labels,
};
use crate::sink::clickhouse::length::{put_length, put_string};
use crate::sink::values::ValueProblem;

/// Writes a row; with `KEY` the key's columns only are visited, and the others are filled in between.
pub(super) struct Write<'e, 'o, const KEY: bool> {
    pub(super) encoder: &'e Encoder,
    pub(super) out: &'o mut Vec<u8>,
    pub(super) scratch: &'o mut Scratch,
    /// The image has NULL where it is not known what the row has.
    pub(super) key_alone: bool,
    /// Values in whose place NULL was written, as the target's column does not hold them.
    pub(super) unconvertible: u64,
}

type Written = Result<(), Box<ValueProblem>>;

impl<const KEY: bool> Write<'_, '_, KEY> {
    /// How the column is written; writes what stands before its value.
    #[inline]
    fn begin(&mut self, column: usize) -> Form {
        let slot = self.slot(column);
        if slot.nullable {
            self.out.push(0);
        }
        slot.form
    }

    #[inline]
    fn slot(&mut self, column: usize) -> Slot {
        if KEY && let Some(gap) = self.encoder.gaps.get(column) {
            self.out.extend_from_slice(gap);
        }
        self.encoder.slots.get(column).copied().unwrap_or(Slot { form: Form::None, nullable: false })
    }

    #[cold]
    fn problem(&self, column: usize, problem: &'static str, hint: &'static str) -> Written {
        Err(self.encoder.rules.problem(column, problem, hint).into())
    }

    /// The plan and the slots come from one schema, so this is never seen; still an error and not a lost value.
    #[cold]
    fn mismatch(&self, column: usize) -> Written {
        self.problem(column, "holds a value of another kind than its type", "report this as a defect")
    }

    /// What is done about a value that its column does not hold: NULL takes its place, or the row cannot be written. Of
    /// the value nothing is written yet but that there is one. Columns that take text hold every text, so none is
    /// written in the place of another value.
    #[cold]
    fn unfit(&mut self, column: usize, problem: &'static str, hint: &'static str) -> Written {
        self.encoder.rules.unconvertible(column, false, problem, hint)?;
        if let Some(mark) = self.out.last_mut() {
            *mark = 1;
        }
        self.unconvertible += 1;
        Ok(())
    }

    #[cold]
    fn out_of_range(&mut self, column: usize) -> Written {
        self.unfit(
            column,
            "holds a value outside the range of its column in ClickHouse",
            "give the column in ClickHouse a wider type, set `unconvertible: null`, or leave it out with `drop`",
        )
    }

    /// Writes text, with its length.
    #[inline]
    fn printed(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        put_string(self.scratch.written(write), self.out);
    }

    /// Writes a number into a type that may be too narrow for it.
    fn checked(&mut self, column: usize, value: i128, bytes: u8, signed: bool) -> Written {
        let bits = u32::from(bytes) * 8;
        let fits = match (signed, bits) {
            (false, 128..) => value >= 0,
            (true, 128..) => true,
            (false, bits) => value >= 0 && value >> bits == 0,
            (true, bits) => matches!(value >> (bits - 1), 0 | -1),
        };
        if !fits {
            return self.out_of_range(column);
        }
        let number = value.to_le_bytes();
        let width = usize::from(bytes);
        self.out.extend_from_slice(number.get(..width).unwrap_or(&number));
        let sign = if value < 0 { 0xff } else { 0 };
        self.out.resize(self.out.len() + width.saturating_sub(number.len()), sign);
        Ok(())
    }

    #[inline]
    fn number(&mut self, column: usize, bytes: [u8; 8], value: impl FnOnce() -> i128) -> Written {
        let [a, b, c, d, ..] = bytes;
        match self.begin(column) {
            Form::Int1 => self.out.push(a),
            Form::Int2 => self.out.extend_from_slice(&[a, b]),
            Form::Int4 => self.out.extend_from_slice(&[a, b, c, d]),
            Form::Int8 => self.out.extend_from_slice(&bytes),
            Form::IntChecked { bytes, signed } => return self.checked(column, value(), bytes, signed),
            _ => return self.mismatch(column),
        }
        Ok(())
    }

    /// Writes a count of seconds and microseconds.
    #[inline]
    fn instant(&mut self, column: usize, seconds: Option<i64>, micros: u32) -> Written {
        let Form::Instant(ticks) = self.begin(column) else { return self.mismatch(column) };
        let Some(count) = seconds.and_then(|seconds| ticks.count(seconds, micros)) else {
            return self.out_of_range(column);
        };
        self.out.extend_from_slice(&count.to_le_bytes());
        Ok(())
    }
}

impl<const KEY: bool> RowVisitor for Write<'_, '_, KEY> {
    type Error = Box<ValueProblem>;

    #[inline]
    fn null(&mut self, column: usize) -> Written {
        let slot = self.slot(column);
        if slot.nullable {
            self.out.push(1);
            return Ok(());
        }
        match slot.form {
            // MySQL has no empty vector, and a SET that can be NULL is never an array: the empty one says NULL.
            Form::Floats => self.out.push(0),
            Form::Labels if self.key_alone => self.out.push(0),
            _ => {
                return self.problem(
                    column,
                    "is NULL, which its column in ClickHouse does not hold",
                    "make the column in ClickHouse Nullable",
                );
            }
        }
        Ok(())
    }

    #[inline]
    fn int(&mut self, column: usize, value: i64) -> Written {
        self.number(column, value.to_le_bytes(), || value.into())
    }

    #[inline]
    fn uint(&mut self, column: usize, value: u64) -> Written {
        self.number(column, value.to_le_bytes(), || value.into())
    }

    #[inline]
    fn float(&mut self, column: usize, value: f32) -> Written {
        match self.begin(column) {
            Form::Float32 => self.out.extend_from_slice(&value.to_le_bytes()),
            Form::Float64 => self.out.extend_from_slice(&f64::from(value).to_le_bytes()),
            _ => return self.mismatch(column),
        }
        Ok(())
    }

    #[inline]
    fn double(&mut self, column: usize, value: f64) -> Written {
        match self.begin(column) {
            Form::Float64 => self.out.extend_from_slice(&value.to_le_bytes()),
            _ => return self.mismatch(column),
        }
        Ok(())
    }

    #[inline]
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Written {
        let bytes = match self.begin(column) {
            Form::Decimal8 => 8,
            Form::DecimalOther { bytes } => bytes,
            _ => return self.mismatch(column),
        };
        if let Some(number) = value.unscaled_i128() {
            let number = number.to_le_bytes();
            match bytes {
                4 => self.out.extend_from_slice(number.first_chunk::<4>().unwrap_or(&[0; 4])),
                8 => self.out.extend_from_slice(number.first_chunk::<8>().unwrap_or(&[0; 8])),
                16 => self.out.extend_from_slice(&number),
                _ => self.out.extend_from_slice(&value.unscaled_le_bytes()),
            }
        } else {
            self.out.extend_from_slice(&value.unscaled_le_bytes());
        }
        Ok(())
    }

    fn year(&mut self, column: usize, value: u16) -> Written {
        self.uint(column, value.into())
    }

    #[inline]
    fn date(&mut self, column: usize, value: Date) -> Written {
        let Form::Date = self.begin(column) else { return self.mismatch(column) };
        let Some(day) = value.days() else { return self.out_of_range(column) };
        self.out.extend_from_slice(&day.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn time(&mut self, column: usize, value: Time) -> Written {
        let Form::Span(ticks) = self.begin(column) else { return self.mismatch(column) };
        let Some(count) = ticks.span(value) else { return self.out_of_range(column) };
        self.out.extend_from_slice(&count.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn datetime(&mut self, column: usize, value: DateTime) -> Written {
        self.instant(column, instant::seconds(value), value.micros)
    }

    #[inline]
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Written {
        self.instant(column, instant::timestamp(value), value.micros)
    }

    fn bit(&mut self, column: usize, value: u64) -> Written {
        self.uint(column, value)
    }

    #[inline]
    fn text(&mut self, column: usize, value: Text<'_>) -> Written {
        match self.begin(column) {
            Form::Raw => {
                // The rules have made it UTF-8.
                put_string(value.raw(), self.out);
                Ok(())
            }
            _ => self.mismatch(column),
        }
    }

    #[inline]
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Written {
        match self.begin(column) {
            Form::Raw => {
                put_length(value.len(), self.out);
                value.write_to(self.out);
                Ok(())
            }
            _ => self.mismatch(column),
        }
    }

    #[inline]
    fn enumeration(&mut self, column: usize, _ordinal: u16, label: &str) -> Written {
        match self.begin(column) {
            Form::Raw => {
                put_string(label.as_bytes(), self.out);
                Ok(())
            }
            _ => self.mismatch(column),
        }
    }

    fn set(&mut self, column: usize, mask: u64, members: &[String]) -> Written {
        match self.begin(column) {
            Form::Joined => self.printed(|out| write_labels(mask, members, out)),
            Form::Labels => {
                put_length(chosen(mask, members).count(), self.out);
                for label in chosen(mask, members) {
                    put_string(label.as_bytes(), self.out);
                }
            }
            _ => return self.mismatch(column),
        }
        Ok(())
    }

    fn json(&mut self, column: usize, value: Json<'_>) -> Written {
        let form = self.begin(column);
        if !matches!(form, Form::Document | Form::Object) {
            return self.mismatch(column);
        }
        let text = self.scratch.document(value)?;
        if form == Form::Object && !text.starts_with(b"{") {
            return self.unfit(
                column,
                "holds a document that is not an object, which ClickHouse's JSON type does not take",
                "set `json: string` for the sink, or `unconvertible: null`",
            );
        }
        put_string(text, self.out);
        Ok(())
    }

    fn geometry(&mut self, column: usize, value: &[u8]) -> Written {
        match self.begin(column) {
            Form::Raw => {
                put_string(value, self.out);
                Ok(())
            }
            _ => self.mismatch(column),
        }
    }

    fn vector(&mut self, column: usize, value: &[u8]) -> Written {
        match self.begin(column) {
            // The number of floats, then the floats as they lie.
            Form::Floats => {
                put_length(value.len() / 4, self.out);
                self.out.extend_from_slice(value);
                Ok(())
            }
            _ => self.mismatch(column),
        }
    }

    #[inline]
    fn uuid(&mut self, column: usize, value: Uuid) -> Written {
        match self.begin(column) {
            Form::Uuid => {
                let number = u128::from_be_bytes(value.0);
                // As one number it would have its halves the other way round.
                self.out.extend_from_slice(&number.rotate_left(64).to_le_bytes());
            }
            Form::Printed => self.printed(|out| value.write_text(out)),
            _ => return self.mismatch(column),
        }
        Ok(())
    }

    #[inline]
    fn inet6(&mut self, column: usize, value: Inet6) -> Written {
        match self.begin(column) {
            Form::Ipv6 => self.out.extend_from_slice(&value.0),
            Form::Printed => self.printed(|out| value.write_text(out)),
            _ => return self.mismatch(column),
        }
        Ok(())
    }

    #[inline]
    fn inet4(&mut self, column: usize, value: Inet4) -> Written {
        match self.begin(column) {
            Form::Ipv4 => self.out.extend_from_slice(&u32::from_be_bytes(value.0).to_le_bytes()),
            Form::Printed => self.printed(|out| value.write_text(out)),
            _ => return self.mismatch(column),
        }
        Ok(())
    }
}
