//! Walks a YAML tree, and notes what is wrong instead of stopping at it.
//!
//! A [`Section`] knows which keys were asked for, so what is left over is unknown by construction: there is no second
//! list of keys to keep true. A getter answers `None` both for an absent key and for one whose value is wrong; the
//! latter has then been noted, so a default that the caller puts in its place never gets out.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_norway::{Mapping, Value};

use super::problem::Problems;

/// A mapping of the file.
pub struct Section<'a> {
    path: String,
    entries: Option<&'a Mapping>,
    asked: RefCell<Vec<&'static str>>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// The file's top level.
    pub(super) fn root(value: &'a Value, problems: &'a Problems) -> Self {
        Node { path: String::new(), value: Some(value), problems }.section()
    }

    /// The value of a key.
    pub fn key(&self, name: &'static str) -> Node<'a> {
        self.asked.borrow_mut().push(name);
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Node { path, value: self.entries.and_then(|entries| entries.get(name)), problems: self.problems }
    }

    /// Notes every key that nobody asked for; `advice` may say more about one than its nearest name.
    pub fn finish_with(self, advice: impl Fn(&str) -> Option<&'static str>) {
        let asked = self.asked.into_inner();
        for key in self.entries.into_iter().flat_map(Mapping::keys) {
            let Value::String(key) = key else {
                self.problems.add(self.path.clone(), format!("keys are names, found {}", kind(key)));
                continue;
            };
            if asked.iter().any(|known| known == key) {
                continue;
            }
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let message = match (advice(key), nearest(key, asked.iter().copied())) {
                (Some(advice), _) => format!("unknown key; {advice}"),
                (None, Some(name)) => format!("unknown key; did you mean \"{name}\"?"),
                (None, None) => format!("unknown key; the keys here are {}", asked.join(", ")),
            };
            self.problems.add(path, message);
        }
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self) {
        self.finish_with(|_| None);
    }
}

/// A value of the file, or its absence.
pub struct Node<'a> {
    path: String,
    value: Option<&'a Value>,
    problems: &'a Problems,
}

impl<'a> Node<'a> {
    /// Notes something about this value.
    pub fn problem(&self, message: impl Into<String>) {
        self.problems.add(self.path.clone(), message);
    }

    /// Whether it is not written.
    pub fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    /// Whether it is written as `null`, or as a key with nothing after it.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Some(Value::Null))
    }

    /// Notes its absence.
    #[must_use]
    pub fn required(self, advice: &str) -> Self {
        if self.is_absent() {
            self.problem(format!("required; {advice}"));
        }
        self
    }

    /// A mapping; absent and empty ones have no keys.
    pub fn section(self) -> Section<'a> {
        let entries = match self.value {
            None | Some(Value::Null) => None,
            Some(Value::Mapping(entries)) => Some(entries),
            Some(other) => {
                self.problem(format!("expected a section of keys, found {}", kind(other)));
                None
            }
        };
        Section { path: self.path, entries, asked: RefCell::default(), problems: self.problems }
    }

    /// A mapping from names to names, in the order of the file.
    pub fn names(&self) -> Vec<(String, String)> {
        let entries = match self.value {
            None => return Vec::new(),
            Some(Value::Mapping(entries)) => entries,
            Some(other) => {
                self.problem(format!("expected a mapping of names, found {}", kind(other)));
                return Vec::new();
            }
        };
        let mut names = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match (key, value) {
                (Value::String(key), Value::String(value)) => names.push((key.clone(), value.clone())),
                (Value::String(key), other) => {
                    self.problems
                        .add(format!("{}.{key}", self.path), format!("expected a name, found {}", kind(other)));
                }
                (other, _) => self.problem(format!("keys are names, found {}", kind(other))),
            }
        }
        names
    }

    /// A mapping from names to text, numbers, or true and false, as text, in the order of the file.
    pub fn scalars(&self) -> Vec<(String, String)> {
        let Some(value) = self.value else { return Vec::new() };
        let Value::Mapping(entries) = value else {
            self.problem(format!("expected a mapping of names to values, found {}", kind(value)));
            return Vec::new();
        };
        let mut scalars = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Value::String(key) = key else {
                self.problem(format!("keys are names, found {}", kind(key)));
                continue;
            };
            match value {
                Value::String(text) => scalars.push((key.clone(), text.clone())),
                Value::Number(number) => scalars.push((key.clone(), number.to_string())),
                Value::Bool(value) => scalars.push((key.clone(), u8::from(*value).to_string())),
                other => self
                    .problems
                    .add(format!("{}.{key}", self.path), format!("expected one value, found {}", kind(other))),
            }
        }
        scalars
    }

    /// A value as text: text, a number, or true and false as 1 and 0; inner `None` for `null`.
    pub fn scalar(&self) -> Option<Option<String>> {
        match self.value? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text.clone())),
            Value::Number(number) => Some(Some(number.to_string())),
            Value::Bool(value) => Some(Some(u8::from(*value).to_string())),
            other => {
                self.problem(format!("expected one value, found {}", kind(other)));
                None
            }
        }
    }

    /// Text that is not empty, in a list; `None`: the list is not written, or wrong.
    pub fn name_list(&self) -> Option<Vec<String>> {
        if self.is_absent() {
            return None;
        }
        self.list()?.iter().map(|item| item.name().map(str::to_owned)).collect()
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// True or false.
    pub fn boolean(&self) -> Option<bool> {
        match self.value? {
            Value::Bool(value) => Some(*value),
            other => {
                self.problem(format!("expected true or false, found {}", kind(other)));
                None
            }
        }
    }

    /// A list's items; none when absent.
    pub fn list(&self) -> Option<Vec<Node<'a>>> {
        let items = match self.value {
            None => return Some(Vec::new()),
            Some(Value::Sequence(items)) => items,
            Some(other) => {
                self.problem(format!("expected a list, found {}", kind(other)));
                return None;
            }
        };
        let item =
            |(i, value)| Node { path: format!("{}[{i}]", self.path), value: Some(value), problems: self.problems };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Text.
    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.problem(format!("expected text, found {}", kind(other)));
                None
            }
        }
    }

    /// Text that is not empty.
    pub fn name(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.problem("must not be empty");
            return None;
        }
        Some(text)
    }

    /// A whole number in a range.
    pub fn integer<N>(&self, range: RangeInclusive<N>) -> Option<N>
    where
        N: TryFrom<u64> + PartialOrd + Display + Copy,
    {
        let value = match self.value? {
            Value::Number(number) => number.as_u64().and_then(|number| N::try_from(number).ok()),
            other => {
                self.problem(format!("expected a whole number, found {}", kind(other)));
                return None;
            }
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.problem(format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        value
    }

    /// One of a list of words.
    pub fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let hint =
            nearest(text, words.iter().copied()).map_or(String::new(), |word| format!("; did you mean \"{word}\"?"));
        self.problem(format!("\"{text}\" is not one of {}{hint}", words.join(", ")));
        None
    }

    /// Text or a number that `parse` takes.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.value? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => {
                self.problem(format!("expected text, found {}", kind(other)));
                return None;
            }
        };
        parse(&text).map_err(|message| self.problem(message)).ok()
    }
}

/// What a value is, for messages; never what it holds.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a section of keys",
        Value::Tagged(_) => "a YAML tag",
    }
}

/// The candidate that was probably meant.
pub(super) fn nearest<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Below this a suggestion is a guess: "url" and "user" score 0.58, "sever_id" and "server_id" 0.97.
    const LIKELY: f64 = 0.8;
    candidates
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), candidate), candidate))
        .filter(|(score, _)| *score >= LIKELY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
