//! What becomes of values that a target does not hold as they are. The words are the same at every sink.

use super::SinkType;
use super::tree::{Node, Section};

/// What becomes of `0000-00-00`, and of dates that name no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroDates {
    /// They are written as they are. Only where the target can hold them.
    Keep,
    /// NULL.
    Null,
    /// 1970-01-01.
    Epoch,
    /// The row cannot be written.
    Stop,
}

/// What becomes of text whose bytes are malformed in its character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidText {
    /// The row cannot be written.
    Stop,
    /// Each malformed sequence becomes U+FFFD.
    Replace,
    /// The bytes are written as the source has them.
    Bytes,
}

/// What becomes of other values that the target's column does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// The row cannot be written.
    Stop,
    /// NULL.
    Null,
    /// The value's text, where the target's column takes text.
    Text,
}

/// What becomes of values that a target does not hold as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuePolicy {
    /// Dates that name no day.
    pub zero_dates: ZeroDates,
    /// Malformed text.
    pub invalid_text: InvalidText,
    /// Everything else.
    pub unconvertible: Unconvertible,
}

impl std::fmt::Display for ValuePolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let zero_dates = match self.zero_dates {
            ZeroDates::Keep => "keep",
            ZeroDates::Null => "null",
            ZeroDates::Epoch => "epoch",
            ZeroDates::Stop => "stop",
        };
        let invalid_text = match self.invalid_text {
            InvalidText::Stop => "stop",
            InvalidText::Replace => "replace",
            InvalidText::Bytes => "bytes",
        };
        let unconvertible = match self.unconvertible {
            Unconvertible::Stop => "stop",
            Unconvertible::Null => "null",
            Unconvertible::Text => "text",
        };
        write!(f, "zero_dates: {zero_dates}, invalid_text: {invalid_text}, unconvertible: {unconvertible}")
    }
}

impl ValuePolicy {
    /// Of a sink that says nothing, where a target does this with zero dates.
    pub const fn new(zero_dates: ZeroDates) -> Self {
        Self { zero_dates, invalid_text: InvalidText::Stop, unconvertible: Unconvertible::Stop }
    }

    /// With what one table sets.
    #[must_use]
    pub(super) fn with(self, table: TableValues) -> Self {
        Self {
            zero_dates: table.zero_dates.unwrap_or(self.zero_dates),
            invalid_text: table.invalid_text.unwrap_or(self.invalid_text),
            unconvertible: table.unconvertible.unwrap_or(self.unconvertible),
        }
    }
}

/// What a table sets of a [`ValuePolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableValues {
    /// Dates that name no day.
    pub zero_dates: Option<ZeroDates>,
    /// Malformed text.
    pub invalid_text: Option<InvalidText>,
    /// Everything else.
    pub unconvertible: Option<Unconvertible>,
}

/// Reads the three keys of a section.
pub(super) fn read(section: &Section<'_>) -> TableValues {
    let zero_dates =
        [("keep", ZeroDates::Keep), ("null", ZeroDates::Null), ("epoch", ZeroDates::Epoch), ("stop", ZeroDates::Stop)];
    let invalid_text = [("stop", InvalidText::Stop), ("replace", InvalidText::Replace), ("bytes", InvalidText::Bytes)];
    let unconvertible = [("stop", Unconvertible::Stop), ("null", Unconvertible::Null), ("text", Unconvertible::Text)];
    TableValues {
        zero_dates: or_null(&section.key("zero_dates"), &zero_dates, ZeroDates::Null),
        invalid_text: section.key("invalid_text").choice(&invalid_text),
        unconvertible: or_null(&section.key("unconvertible"), &unconvertible, Unconvertible::Null),
    }
}

/// YAML reads a bare `null` as no value at all; here it is a word.
fn or_null<T: Copy>(key: &Node<'_>, words: &[(&'static str, T)], null: T) -> Option<T> {
    if key.is_null() { Some(null) } else { key.choice(words) }
}

/// What is wrong with `zero_dates` at a sink of this type.
pub(super) fn check_zero_dates(values: TableValues, sink_type: &SinkType) -> Option<String> {
    let is_wrong = values.zero_dates == Some(ZeroDates::Keep) && sink_type.zero_dates != ZeroDates::Keep;
    is_wrong.then(|| {
        format!("\"keep\" needs a target that holds such dates, {} does not: null, epoch or stop", sink_type.name)
    })
}
