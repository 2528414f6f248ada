//! The visitor between an image and a target's own.

use super::{Day, Rules, ValueProblem};
use crate::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, RowVisitor, Shown, Text, Time, Timestamp, Uuid, ValueError,
};
use crate::config::InvalidText;
use crate::model::ReplacedValues;

const EPOCH: Date = Date { year: 1970, month: 1, day: 1 };

/// Hands values on by the rules: each to one method of the target's visitor, which need not be that of its type.
pub(in crate::sink) struct Ruled<'r, V> {
    rules: &'r Rules,
    to: V,
    room: &'r mut String,
    replaced: ReplacedValues,
}

impl<'r, V: RowVisitor<Error: From<ValueProblem>>> Ruled<'r, V> {
    /// Hands them on to `to`.
    #[inline]
    pub(super) fn new(rules: &'r Rules, to: V, room: &'r mut String) -> Self {
        Self { rules, to, room, replaced: ReplacedValues::default() }
    }

    /// The target's visitor, and what was replaced.
    #[inline]
    pub(super) fn end(self) -> (V, ReplacedValues) {
        (self.to, self.replaced)
    }

    /// What is done about a date that names no day; what is no longer to be written as it is has been written.
    #[cold]
    fn no_day(
        &mut self,
        column: usize,
        is_zero: bool,
        epoch: impl FnOnce(&mut V) -> Written<V>,
    ) -> Result<bool, V::Error> {
        match self.rules.no_day(column, is_zero)? {
            Day::Itself => return Ok(true),
            Day::Null => self.to.null(column)?,
            Day::Epoch => epoch(&mut self.to)?,
        }
        self.replaced.zero_dates += 1;
        Ok(false)
    }

    /// What is done about malformed text that is not replaced.
    #[cold]
    fn malformed(&mut self, column: usize, value: Text<'_>, error: ValueError) -> Written<V> {
        let is_key = self.rules.is_key(column);
        match self.rules.policy.invalid_text {
            // The bytes of a text are never those of another text, unless they are UTF-8 themselves.
            InvalidText::Bytes if is_key && std::str::from_utf8(value.raw()).is_ok() => {
                Err(self.rules.twin(column).into())
            }
            InvalidText::Bytes => {
                self.to.bytes(column, Bytes::whole(value.raw()))?;
                self.replaced.invalid_text += 1;
                Ok(())
            }
            InvalidText::Replace if is_key => Err(self
                .rules
                .problem(
                    column,
                    "is part of the key and holds malformed text, and replaced it may be one with another key",
                    "set `invalid_text: bytes` for the sink or the table, or use `mode: history` for the table",
                )
                .into()),
            InvalidText::Stop | InvalidText::Replace => Err(ValueProblem::from(error).into()),
        }
    }
}

type Written<V> = Result<(), <V as RowVisitor>::Error>;

fn midnight(date: Date, fsp: u8) -> DateTime {
    DateTime { date, hour: 0, minute: 0, second: 0, micros: 0, fsp }
}

impl<V: RowVisitor<Error: From<ValueProblem>>> RowVisitor for Ruled<'_, V> {
    type Error = V::Error;

    #[inline]
    fn date(&mut self, column: usize, value: Date) -> Written<V> {
        if !value.names_a_day() {
            let is_kept =
                self.rules.keeps_dates() || self.no_day(column, value == Date::ZERO, |to| to.date(column, EPOCH))?;
            return if is_kept { self.to.date(column, value) } else { Ok(()) };
        }
        if value == EPOCH && self.rules.epoch_is_taken(column) {
            return Err(self.rules.epoch_in_key(column).into());
        }
        self.to.date(column, value)
    }

    #[inline]
    fn datetime(&mut self, column: usize, value: DateTime) -> Written<V> {
        if !value.date.names_a_day() {
            let is_zero = value == midnight(Date::ZERO, value.fsp);
            let is_kept = self.rules.keeps_dates()
                || self.no_day(column, is_zero, |to| to.datetime(column, midnight(EPOCH, value.fsp)))?;
            return if is_kept { self.to.datetime(column, value) } else { Ok(()) };
        }
        if value == midnight(EPOCH, value.fsp) && self.rules.epoch_is_taken(column) {
            return Err(self.rules.epoch_in_key(column).into());
        }
        self.to.datetime(column, value)
    }

    #[inline]
    fn timestamp(&mut self, column: usize, value: Timestamp) -> Written<V> {
        // Second zero is the zero timestamp, and no other instant is the epoch.
        if value.seconds == 0 {
            let is_kept = self.rules.keeps_dates()
                || self.no_day(column, value.micros == 0, |to| to.datetime(column, midnight(EPOCH, value.fsp)))?;
            return if is_kept { self.to.timestamp(column, value) } else { Ok(()) };
        }
        self.to.timestamp(column, value)
    }

    #[inline]
    fn text(&mut self, column: usize, value: Text<'_>) -> Written<V> {
        let is_key = self.rules.is_key(column);
        let text = match value.shown(self.room, self.rules.replaces_text(is_key)) {
            Ok(Shown::Whole(text)) => {
                if is_key && !value.is_only_form_of(text) {
                    return Err(self.rules.twin(column).into());
                }
                return self.to.text(column, value.known_as(text));
            }
            // The substitute is a character itself, and stands for other codes as well.
            Ok(Shown::Substituted(_)) if is_key => return Err(self.rules.twin(column).into()),
            Ok(Shown::Substituted(text) | Shown::Replaced(text)) => text,
            Err(error) => return self.malformed(column, value, error),
        };
        self.to.text(column, value.known_as(text))?;
        self.replaced.invalid_text += 1;
        Ok(())
    }

    #[inline]
    fn enumeration(&mut self, column: usize, ordinal: u16, label: &str) -> Written<V> {
        let doubles = self.rules.columns.get(column).and_then(|rule| rule.doubles.as_ref());
        if doubles.is_some_and(|doubles| doubles.has_ordinal(ordinal)) {
            return Err(self.rules.twin(column).into());
        }
        self.to.enumeration(column, ordinal, label)
    }

    fn set(&mut self, column: usize, mask: u64, members: &[String]) -> Written<V> {
        let doubles = self.rules.columns.get(column).and_then(|rule| rule.doubles.as_ref());
        if doubles.is_some_and(|doubles| doubles.has_mask(mask)) {
            return Err(self.rules.twin(column).into());
        }
        self.to.set(column, mask, members)
    }

    // Every other value is what it is.

    #[inline]
    fn null(&mut self, column: usize) -> Written<V> {
        self.to.null(column)
    }

    #[inline]
    fn int(&mut self, column: usize, value: i64) -> Written<V> {
        self.to.int(column, value)
    }

    #[inline]
    fn uint(&mut self, column: usize, value: u64) -> Written<V> {
        self.to.uint(column, value)
    }

    #[inline]
    fn float(&mut self, column: usize, value: f32) -> Written<V> {
        self.to.float(column, value)
    }

    #[inline]
    fn double(&mut self, column: usize, value: f64) -> Written<V> {
        self.to.double(column, value)
    }

    #[inline]
    fn decimal(&mut self, column: usize, value: Decimal<'_>) -> Written<V> {
        self.to.decimal(column, value)
    }

    fn year(&mut self, column: usize, value: u16) -> Written<V> {
        self.to.year(column, value)
    }

    #[inline]
    fn time(&mut self, column: usize, value: Time) -> Written<V> {
        self.to.time(column, value)
    }

    fn bit(&mut self, column: usize, value: u64) -> Written<V> {
        self.to.bit(column, value)
    }

    #[inline]
    fn bytes(&mut self, column: usize, value: Bytes<'_>) -> Written<V> {
        self.to.bytes(column, value)
    }

    fn json(&mut self, column: usize, value: Json<'_>) -> Written<V> {
        self.to.json(column, value)
    }

    fn geometry(&mut self, column: usize, value: &[u8]) -> Written<V> {
        self.to.geometry(column, value)
    }

    fn vector(&mut self, column: usize, value: &[u8]) -> Written<V> {
        self.to.vector(column, value)
    }

    #[inline]
    fn uuid(&mut self, column: usize, value: Uuid) -> Written<V> {
        self.to.uuid(column, value)
    }

    #[inline]
    fn inet6(&mut self, column: usize, value: Inet6) -> Written<V> {
        self.to.inet6(column, value)
    }

    #[inline]
    fn inet4(&mut self, column: usize, value: Inet4) -> Written<V> {
        self.to.inet4(column, value)
    }
}
