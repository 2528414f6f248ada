//! Labels that are one with others: `ENUM` and `SET` have their values as numbers at the source, and as labels at a
//! target.

use crate::model::ColumnType;

/// Values of a column that are written as others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Doubles {
    /// Of an `ENUM`, sorted.
    ordinals: Box<[u16]>,
    /// Of a `SET`: the bit of the label '', which nothing is written for where it comes first.
    empty: u64,
    /// Of a `SET`: bits of labels that are equal to an earlier one.
    repeated: u64,
}

impl Doubles {
    /// Of a type; `None` where every value is written differently.
    pub(in crate::sink) fn of(ty: &ColumnType) -> Option<Self> {
        let mut doubles = Self { ordinals: Box::default(), empty: 0, repeated: 0 };
        match ty {
            ColumnType::Enum { members } => {
                // The invalid value 0 is written as ''. Of two equal labels, the first one is the label.
                let zero = members.iter().any(String::is_empty).then_some(0);
                let repeated =
                    (1..).zip(members).enumerate().filter(|(at, (_, label))| is_repeated(members, *at, label));
                doubles.ordinals = zero.into_iter().chain(repeated.map(|(_, (ordinal, _))| ordinal)).collect();
            }
            ColumnType::Set { members } => {
                for (bit, label) in members.iter().enumerate().take(64) {
                    doubles.empty |= u64::from(label.is_empty()) << bit;
                    doubles.repeated |= u64::from(is_repeated(members, bit, label)) << bit;
                }
            }
            _ => {}
        }
        let is_any = !doubles.ordinals.is_empty() || doubles.empty | doubles.repeated != 0;
        is_any.then_some(doubles)
    }

    /// Whether an ordinal is one of them.
    pub(in crate::sink) fn has_ordinal(&self, ordinal: u16) -> bool {
        self.ordinals.binary_search(&ordinal).is_ok()
    }

    /// Whether a set of labels is one of them.
    pub(in crate::sink) fn has_mask(&self, mask: u64) -> bool {
        let lowest = mask & mask.wrapping_neg();
        lowest & self.empty != 0 || mask & self.repeated != 0
    }
}

fn is_repeated(members: &[String], at: usize, label: &String) -> bool {
    members.iter().take(at).any(|earlier| earlier == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn an_enum_has_doubles_where_a_label_is_empty_or_comes_twice() {
        let doubles = |labels: &[&str]| Doubles::of(&ColumnType::Enum { members: members(labels) });
        assert_eq!(doubles(&["a", "b"]), None);
        let found = doubles(&["a", "", "?", "?"]).unwrap();
        let refused: Vec<_> = (0..=4).filter(|ordinal| found.has_ordinal(*ordinal)).collect();
        assert_eq!(refused, [0, 4]);
    }

    #[test]
    fn a_set_has_doubles_where_its_text_is_that_of_another() {
        let doubles = |labels: &[&str]| Doubles::of(&ColumnType::Set { members: members(labels) });
        assert_eq!(doubles(&["a", "b"]), None);
        for labels in [&["a", "", "b"], &["", "a", "b"], &["a", "b", "a"]] {
            let (found, members) = (doubles(labels).unwrap(), members(labels));
            let mut seen = std::collections::BTreeSet::new();
            for mask in (0..8).filter(|mask| !found.has_mask(*mask)) {
                let mut text = Vec::new();
                crate::codec::row_image::write_labels(mask, &members, &mut text);
                assert!(seen.insert(text), "{labels:?} {mask:b}");
            }
            assert!(!found.has_mask(0));
        }
    }
}
