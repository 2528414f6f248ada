//! Values by sink.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values by the names of sinks, in their order; a map in documents. There are as many of these as tables, and few
/// sinks: a tree of each would take ten times the memory of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BySink<T>(Vec<(String, T)>);

impl<T> Default for BySink<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> BySink<T> {
    fn place(&self, sink: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_str().cmp(sink))
    }

    /// Sets the value of a sink.
    pub fn insert(&mut self, sink: String, value: T) {
        match self.place(&sink) {
            Ok(place) => {
                if let Some((_, there)) = self.0.get_mut(place) {
                    *there = value;
                }
            }
            Err(place) => {
                self.0.reserve_exact(1);
                self.0.insert(place, (sink, value));
            }
        }
    }

    /// The value of a sink.
    pub fn get(&self, sink: &str) -> Option<&T> {
        self.0.get(self.place(sink).ok()?).map(|(_, value)| value)
    }

    /// The value of a sink, to be changed.
    pub fn get_mut(&mut self, sink: &str) -> Option<&mut T> {
        let place = self.place(sink).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Every sink with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.0.iter().map(|(sink, value)| (sink, value))
    }

    /// The names of the sinks.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(sink, _)| sink)
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Whether there is no sink.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets every sink.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// For tests alone: the program asks with [`BySink::get`].
#[cfg(test)]
impl<T> std::ops::Index<&str> for BySink<T> {
    type Output = T;

    /// # Panics
    /// Where the sink has no value.
    fn index(&self, sink: &str) -> &T {
        self.get(sink).expect("the caller asks for a sink that has a value")
    }
}

impl<T> FromIterator<(String, T)> for BySink<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(values: I) -> Self {
        Self(BTreeMap::from_iter(values).into_iter().collect())
    }
}

impl<T, const N: usize> From<[(String, T); N]> for BySink<T> {
    fn from(values: [(String, T); N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Serialize> Serialize for BySink<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for BySink<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(|values| values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_a_map_in_the_order_of_the_sinks() {
        let mut values = BySink::default();
        for (sink, value) in [("b", 2), ("a", 1), ("b", 3)] {
            values.insert(sink.to_owned(), value);
        }
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"{"a":1,"b":3}"#);
        assert_eq!(serde_json::from_str::<BySink<i32>>(&text).unwrap(), values);
        assert_eq!((values.get("b"), values.get("c"), values.keys().count()), (Some(&3), None, 2));
    }
}
