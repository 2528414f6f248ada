//! What becomes of values that a target does not hold as they are: one rule for every sink.
//!
//! Rules stand between the image and the target's own visitor ([`Ruled`]): what reaches it is text in UTF-8, a date of
//! the calendar (or one that names no day, where the target keeps these), or what a policy has put in the place of a
//! value. What only the target knows, such as the range of a column, it asks for by [`Rules::unconvertible`].
//!
//! The key identifies a row. So no policy replaces a value of a key by one that another row may have: such a row cannot
//! be written. That holds also for values that are different at the source and one in the form in which a
//! target holds them: two codes of one character, the label '' and the invalid value 0 of an `ENUM`.

mod doubles;
mod problem;
mod told;
mod visit;

#[cfg(test)]
mod tests;

pub(super) use self::doubles::Doubles;
pub use self::problem::ValueProblem;
pub(super) use self::told::are_told_otherwise;
pub(super) use self::visit::Ruled;

use crate::codec::row_image::{self, Plan, ReadError, RowVisitor};
use crate::config::{InvalidText, Unconvertible, ValuePolicy, ZeroDates};
use crate::model::{Column, ReplacedValues, TableSchema};

/// Room for values on their way; kept between rows so that it grows only once.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The target's own.
    pub(super) printed: row_image::Scratch,
    /// Decoded text.
    pub(super) text: String,
    /// Values that were replaced in the rows that were read since this was last taken.
    pub(super) replaced: ReplacedValues,
}

/// Above this the room is given back by [`Scratch::trim`]: one huge value must not hold memory permanently.
const SCRATCH_KEPT: usize = 1 << 20;

impl Scratch {
    /// Gives back what a huge value made it grow to.
    pub fn trim(&mut self) {
        self.printed.trim();
        self.text.clear();
        self.text.shrink_to(SCRATCH_KEPT);
    }

    /// What was replaced since the last call.
    pub(super) fn take_replaced(&mut self) -> ReplacedValues {
        std::mem::take(&mut self.replaced)
    }
}

/// What becomes of the values of a table's columns.
#[derive(Debug)]
pub(super) struct Rules {
    policy: ValuePolicy,
    /// One per column of the source.
    columns: Box<[Rule]>,
}

/// What is particular to one column.
#[derive(Debug)]
struct Rule {
    /// Its name in the source.
    name: String,
    is_key: bool,
    /// NULL may stand in it at the target.
    takes_null: bool,
    /// Of a key: the values that are one with others.
    doubles: Option<Doubles>,
}

/// Where a column stands at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// In a mirror's key.
    pub(super) is_key: bool,
    /// Its type there holds NULL.
    pub(super) takes_null: bool,
}

/// What stands in the place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// NULL.
    Null,
    /// Its text.
    Text,
}

/// What stands in the place of a date that names no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    Itself,
    Null,
    Epoch,
}

impl Rules {
    /// Of the columns of a schema, of which `stand` says where each stands at the target.
    pub(super) fn new(schema: &TableSchema, policy: ValuePolicy, stand: impl Fn(usize) -> Stand) -> Self {
        let rule = |(place, column): (usize, &Column)| {
            let Stand { is_key, takes_null } = stand(place);
            Rule {
                name: column.name.clone(),
                is_key,
                takes_null: takes_null && !is_key,
                doubles: if is_key { Doubles::of(&column.ty) } else { None },
            }
        };
        Self { policy, columns: schema.columns.iter().enumerate().map(rule).collect() }
    }

    /// As [`Plan::read`], by the rules.
    #[inline]
    pub(super) fn read<V>(
        &self,
        plan: &Plan,
        bytes: &[u8],
        to: V,
        text: &mut String,
    ) -> Result<(usize, V, ReplacedValues), ReadError<V::Error>>
    where
        V: RowVisitor<Error: From<ValueProblem>>,
    {
        let mut ruled = Ruled::new(self, to, text);
        let used = plan.read(bytes, &mut ruled)?;
        let (to, replaced) = ruled.end();
        Ok((used, to, replaced))
    }

    /// As [`Plan::cell`], by the rules.
    pub(super) fn cell<V>(&self, plan: &Plan, column: usize, cell: &[u8], to: V) -> Result<V, ReadError<V::Error>>
    where
        V: RowVisitor<Error: From<ValueProblem>>,
    {
        let mut text = String::new();
        let mut ruled = Ruled::new(self, to, &mut text);
        plan.cell(column, cell, &mut ruled)?;
        Ok(ruled.end().0)
    }

    /// Whether nothing is done about dates that name no day.
    #[inline]
    fn keeps_dates(&self) -> bool {
        self.policy.zero_dates == ZeroDates::Keep
    }

    /// Whether 1970-01-01 may be what the zero date of a key is.
    #[inline]
    fn epoch_is_taken(&self, column: usize) -> bool {
        self.policy.zero_dates == ZeroDates::Epoch && self.is_key(column)
    }

    #[inline]
    fn is_key(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|rule| rule.is_key)
    }

    /// What is done about a date that names no day.
    #[cold]
    fn no_day(&self, column: usize, is_zero: bool) -> Result<Day, ValueProblem> {
        let (is_key, takes_null) =
            self.columns.get(column).map_or((true, false), |rule| (rule.is_key, rule.takes_null));
        match self.policy.zero_dates {
            ZeroDates::Keep => Ok(Day::Itself),
            ZeroDates::Null if takes_null => Ok(Day::Null),
            ZeroDates::Null => Err(self.problem(
                column,
                "holds a date that names no day, and NULL does not stand in its column",
                "set `zero_dates: epoch` for the sink or the table, or allow NULL in the source's column",
            )),
            // In a key every other date that names no day, and that day itself, would become one key with the zero
            // date.
            ZeroDates::Epoch if is_key && !is_zero => Err(self.epoch_in_key(column)),
            ZeroDates::Epoch => Ok(Day::Epoch),
            ZeroDates::Stop => Err(self.problem(
                column,
                "holds a date that names no day",
                "set `zero_dates` of the sink or the table to `null` or `epoch`",
            )),
        }
    }

    #[cold]
    fn epoch_in_key(&self, column: usize) -> ValueProblem {
        self.problem(
            column,
            "is part of the key and holds a date that would be one with the zero date",
            "use `mode: history` for the table, or another `zero_dates`, or change the row in the source",
        )
    }

    /// The second and every further form of a key.
    #[cold]
    fn twin(&self, column: usize) -> ValueProblem {
        self.problem(
            column,
            "is part of the key and holds a value that is written as another value is",
            "use `mode: history` for the table, or change the row in the source",
        )
    }

    /// What happens to any other value that the target's column does not hold. The caller says what the column holds, and
    /// what else helps.
    ///
    /// # Errors
    /// Where the row cannot be written.
    #[cold]
    pub(super) fn unconvertible(
        &self,
        column: usize,
        takes_text: bool,
        problem: &'static str,
        hint: &'static str,
    ) -> Result<Instead, ValueProblem> {
        let Some(rule) = self.columns.get(column) else { return Err(self.problem(column, problem, hint)) };
        match self.policy.unconvertible {
            Unconvertible::Null if rule.takes_null => Ok(Instead::Null),
            // Of all values without a number, that there is none would be one text.
            Unconvertible::Text if takes_text && !rule.is_key => Ok(Instead::Text),
            Unconvertible::Stop | Unconvertible::Null | Unconvertible::Text => Err(self.problem(column, problem, hint)),
        }
    }

    /// A value that cannot be written.
    #[cold]
    pub(super) fn problem(&self, column: usize, problem: &'static str, hint: &'static str) -> ValueProblem {
        let column = self.columns.get(column).map(|rule| rule.name.clone()).unwrap_or_default();
        ValueProblem::Range { column, problem, hint }
    }

    /// Whether malformed text gets replacements in this column.
    #[inline]
    fn replaces_text(&self, is_key: bool) -> bool {
        self.policy.invalid_text == InvalidText::Replace && !is_key
    }
}
