//! Ranges of a key, and the conditions that select them.
//!
//! A comparison of several columns is written in its OR form, with the leading column bounded once more in front: the
//! optimizers of both servers make an index range of that, and of a row comparison `(a, b) > (1, 2)` they do not.

use serde::{Deserialize, Serialize};

use super::literal::{self, KeyValue};
use crate::source::mysql::schema::{ChunkKey, identifier};

/// A value of the whole key, part by part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound(pub Vec<KeyValue>);

/// The rows after one bound, up to and including another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// `None`: from the first row.
    pub after: Option<Bound>,
    /// The last row.
    pub upto: Bound,
}

#[derive(Clone, Copy)]
enum Side {
    After,
    Upto,
}

/// `key > bound`.
pub(super) fn after(key: &ChunkKey, bound: &Bound) -> String {
    compare(key, bound, Side::After)
}

/// `key <= bound`.
pub(super) fn upto(key: &ChunkKey, bound: &Bound) -> String {
    compare(key, bound, Side::Upto)
}

fn compare(key: &ChunkKey, bound: &Bound, side: Side) -> String {
    let (strict, last, lead) = match side {
        Side::After => (">", ">", ">="),
        Side::Upto => ("<", "<=", "<="),
    };
    let parts: Vec<(String, String)> = key
        .parts
        .iter()
        .zip(&bound.0)
        .map(|(part, value)| (identifier(&part.name), value.literal(&part.class)))
        .collect();
    let mut condition = String::new();
    for (place, (name, value)) in parts.iter().enumerate().rev() {
        condition = if condition.is_empty() {
            format!("{name} {last} {value}")
        } else {
            let lead = if place == 0 { format!("{name} {lead} {value} AND ") } else { String::new() };
            format!("{lead}({name} {strict} {value} OR ({name} = {value} AND {condition}))")
        };
    }
    condition
}

impl Range {
    /// The condition of the range.
    pub(super) fn condition(&self, key: &ChunkKey) -> String {
        let upto = upto(key, &self.upto);
        match &self.after {
            None => upto,
            Some(bound) => format!("{} AND {upto}", after(key, bound)),
        }
    }
}

/// `a, b` in the order of the key.
pub(super) fn order(key: &ChunkKey, direction: &str) -> String {
    let names: Vec<String> = key.parts.iter().map(|part| format!("{} {direction}", identifier(&part.name))).collect();
    names.join(", ")
}

/// The expressions that a [`Bound`] is read from.
pub(super) fn select(key: &ChunkKey) -> String {
    let parts: Vec<String> = key.parts.iter().map(literal::select).collect();
    parts.join(", ")
}

impl Bound {
    /// From the texts of [`select`].
    pub(super) fn from_texts(key: &ChunkKey, texts: &[String]) -> Option<Self> {
        if texts.len() != key.parts.len() {
            return None;
        }
        key.parts
            .iter()
            .zip(texts)
            .map(|(part, text)| KeyValue::from_text(&part.class, text))
            .collect::<Option<_>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::schema::{KeyClass, KeyPart};

    fn key(names: &[&str]) -> ChunkKey {
        let parts = names.iter().map(|name| KeyPart { column: 0, name: (*name).to_owned(), class: KeyClass::Number });
        ChunkKey { index: "PRIMARY".into(), parts: parts.collect() }
    }

    fn bound(values: &[&str]) -> Bound {
        Bound(values.iter().map(|value| KeyValue::Number((*value).to_owned())).collect())
    }

    #[test]
    fn one_column_is_compared_plainly() {
        let range = Range { after: Some(bound(&["5"])), upto: bound(&["9"]) };
        assert_eq!(range.condition(&key(&["id"])), "`id` > 5 AND `id` <= 9");
        assert_eq!(Range { after: None, ..range }.condition(&key(&["id"])), "`id` <= 9");
    }

    #[test]
    fn several_columns_are_compared_in_or_form() {
        let key = key(&["a", "b", "c"]);
        assert_eq!(
            after(&key, &bound(&["1", "2", "3"])),
            "`a` >= 1 AND (`a` > 1 OR (`a` = 1 AND (`b` > 2 OR (`b` = 2 AND `c` > 3))))"
        );
        assert_eq!(
            upto(&key, &bound(&["1", "2", "3"])),
            "`a` <= 1 AND (`a` < 1 OR (`a` = 1 AND (`b` < 2 OR (`b` = 2 AND `c` <= 3))))"
        );
        assert_eq!(order(&key, "DESC"), "`a` DESC, `b` DESC, `c` DESC");
    }

    /// Evaluates a generated condition over small numbers, so that the OR form is held against the order of tuples.
    #[test]
    fn the_or_form_is_the_order_of_tuples() {
        let key = key(&["a", "b"]);
        let values = || (0..4).flat_map(|a| (0..4).map(move |b| (a, b)));
        for (x, y) in values() {
            let at = bound(&[&x.to_string(), &y.to_string()]);
            for row in values() {
                assert_eq!(evaluate(&after(&key, &at), row), row > (x, y), "{row:?} > {x},{y}");
                assert_eq!(evaluate(&upto(&key, &at), row), row <= (x, y), "{row:?} <= {x},{y}");
            }
        }
    }

    fn evaluate(condition: &str, (a, b): (i32, i32)) -> bool {
        let text = condition.replace("`a`", &a.to_string()).replace("`b`", &b.to_string());
        let sql = rusqlite::Connection::open_in_memory().unwrap();
        sql.query_row(&format!("SELECT {text}"), [], |row| row.get(0)).unwrap()
    }
}
