//! What a configuration that is read again changes under a running daemon, and what of it needs a restart.
//!
//! The two files are compared value by value, so that each changed setting has its name. [`LIVE`] is the one list of those that a running
//! daemon takes over; `docs/configuration.md` has the same, which a test holds it to.

use std::collections::{BTreeMap, BTreeSet};

use serde_norway::Value;

/// Settings that a running daemon takes over. `[]` stands for any entry of a list.
pub const LIVE: &[&str] = &[
    "log.level",
    "source.password_file",
    "source.describe_wait",
    "source.on_doubt",
    "source.reread_pause",
    "source.reread_keyless_rows",
    "source.snapshot.max_rows_per_second",
    "sinks[].password_file",
    "sinks[].on_full",
    "sinks[].detach_after",
    "tables[].on_doubt",
    "dead_letters.max_bytes",
];

/// A configuration as it is written: what two of them are compared by. It shows nothing of itself.
#[derive(Clone)]
pub struct Tree(Value);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tree")
    }
}

impl Tree {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    /// The settings that differ, by their paths.
    pub fn changed(&self, other: &Self) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        compare("", Some(&self.0), Some(&other.0), &mut changed);
        changed
    }
}

/// What a running daemon has taken over of the files that it has read.
#[derive(Debug)]
pub struct Taken {
    /// The file that was read last.
    last: Tree,
    /// The live settings of it that were refused, each with the file that it still is as in.
    refused: BTreeMap<String, Tree>,
}

impl Taken {
    /// Everything as in this file.
    pub fn all_of(tree: Tree) -> Self {
        Self { last: tree, refused: BTreeMap::new() }
    }

    /// The live settings in which a file differs from what was taken over. One that was refused does so until it is taken over, or taken back.
    pub fn changed(&self, file: &Tree) -> BTreeSet<String> {
        let mut changed = self.last.changed(file);
        changed.retain(|path| is_live(path));
        for (path, taken) in &self.refused {
            if taken.changed(file).contains(path) {
                changed.insert(path.clone());
            } else {
                changed.remove(path);
            }
        }
        changed
    }

    /// A file was taken over, but for these settings of those that have changed.
    pub fn take<'p>(&mut self, file: Tree, refused: impl IntoIterator<Item = &'p String>) {
        let before = std::mem::replace(&mut self.last, file);
        let mut earlier = std::mem::take(&mut self.refused);
        for path in refused {
            let taken = earlier.remove(path).unwrap_or_else(|| before.clone());
            self.refused.insert(path.clone(), taken);
        }
    }
}

/// Whether a running daemon takes a setting over.
pub fn is_live(path: &str) -> bool {
    let mut pattern = String::new();
    let mut is_index = false;
    for letter in path.chars() {
        match letter {
            '[' => {
                is_index = true;
                pattern.push_str("[]");
            }
            ']' => is_index = false,
            _ if is_index => {}
            other => pattern.push(other),
        }
    }
    LIVE.contains(&pattern.as_str())
}

fn compare(path: &str, one: Option<&Value>, other: Option<&Value>, changed: &mut BTreeSet<String>) {
    if one == other {
        return;
    }
    let is_section = |value: Option<&Value>| matches!(value, None | Some(Value::Null | Value::Mapping(_)));
    let keys = |value: Option<&Value>| -> Vec<String> {
        let mapping = value.and_then(Value::as_mapping);
        mapping
            .into_iter()
            .flat_map(serde_norway::Mapping::keys)
            .filter_map(|key| Some(key.as_str()?.to_owned()))
            .collect()
    };
    let names: BTreeSet<String> = keys(one).into_iter().chain(keys(other)).collect();
    // A section that is new or gone differs in its keys, and an entry of a list as a whole.
    let is_entry = path.ends_with(']') && (one.is_none() || other.is_none());
    if is_section(one) && is_section(other) && !names.is_empty() && !is_entry {
        for name in names {
            let of = |value: Option<&'_ Value>| value.and_then(|value| value.get(name.as_str()).cloned());
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            compare(&path, of(one).as_ref(), of(other).as_ref(), changed);
        }
        return;
    }
    let entries = |value: Option<&Value>| value.and_then(Value::as_sequence).cloned();
    let of_sections = |list: &[Value]| list.iter().all(Value::is_mapping);
    if let (Some(one), Some(other)) = (entries(one), entries(other))
        && of_sections(&one)
        && of_sections(&other)
    {
        for place in 0..one.len().max(other.len()) {
            compare(&format!("{path}[{place}]"), one.get(place), other.get(place), changed);
        }
        return;
    }
    changed.insert(path.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::new(serde_norway::from_str(text).unwrap())
    }

    #[test]
    fn each_changed_setting_is_named_whether_it_is_there_changed_or_gone() {
        let before = tree(
            "{ source: { url: a, include: [x] }, sinks: [{ name: one, on_full: wait }, { name: two }], http: { listen: none } }",
        );
        let after = tree(
            "{ source: { url: b, include: [x, y], snapshot: { parallel: 3 } }, sinks: [{ name: one, detach_after: 1min }], log: { level: debug } }",
        );
        let changed = before.changed(&after);
        let expected = [
            "http.listen",
            "log.level",
            "sinks[0].detach_after",
            "sinks[0].on_full",
            "sinks[1]",
            "source.include",
            "source.snapshot.parallel",
            "source.url",
        ];
        assert_eq!(changed.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        let live: Vec<&String> = changed.iter().filter(|path| is_live(path)).collect();
        assert_eq!(live, ["log.level", "sinks[0].detach_after", "sinks[0].on_full"]);
        assert!(before.changed(&before).is_empty());
    }

    #[test]
    fn a_setting_that_was_refused_has_changed_until_it_is_taken_over_or_taken_back() {
        let file = |on_doubt: &str, mode: &str| {
            tree(&format!("{{ tables: [{{ table: a, on_doubt: {on_doubt}, mode: {mode} }}], log: {{ level: info }} }}"))
        };
        let path = "tables[0].on_doubt".to_owned();
        let changed = BTreeSet::from([path.clone()]);
        let mut taken = Taken::all_of(file("reread", "mirror"));
        for again in ["history", "history", "mirror"] {
            let read = file("stop_table", again);
            assert_eq!(taken.changed(&read), changed, "{again}");
            taken.take(read, [&path]);
        }
        assert!(taken.changed(&file("reread", "mirror")).is_empty(), "it is as it was taken over last");
        taken.take(file("stop_table", "mirror"), []);
        assert!(taken.changed(&file("stop_table", "mirror")).is_empty());
        assert_eq!(taken.changed(&file("reread", "mirror")), changed);
    }

    #[test]
    fn the_page_of_the_configuration_says_of_each_key_whether_it_is_live() {
        let page = include_str!("../../docs/configuration.md");
        let (_, section) = page.split_once("## What a running daemon takes over").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let listed: BTreeSet<&str> =
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(key, _)| key).collect();
        assert_eq!(listed, LIVE.iter().copied().collect());
    }
}
