//! Every record of the log's state has committed bytes, and a test that holds them.
//!
//! The bytes are in `tests/fixtures/stored/<record>.v<version>.hex`. The tests that compare them are beside the
//! records, many of which only their own module sees: `codec::stored::fixture::check`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use replicator::codec::stored::{ALL, Entry};

use super::{examples_of, fixture};

/// The file of a version of a record.
fn file(entry: &Entry, version: u8) -> String {
    format!("{}.v{version}.hex", entry.prefix.trim_end_matches('/').replace('/', "-"))
}

/// Adds the text of the files of `src/` whose unit tests hold records against their committed bytes.
fn checked(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            checked(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains("fixture::check(") {
                found.push_str(&text);
            }
        }
    }
}

#[test]
fn every_version_of_every_record_has_committed_bytes() {
    let mut expected = BTreeSet::new();
    for entry in ALL {
        for version in 1..=entry.version {
            let name = file(entry, version);
            let path = fixture("stored").join(&name);
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|_| panic!("{} has no committed bytes: see docs/formats.md", entry.what));
            let examples = examples_of(&text);
            assert!(!examples.is_empty(), "{name} has no example");
            for (example, bytes) in examples {
                assert_eq!(bytes.first(), Some(&version), "{name}, {example}: the version byte");
            }
            expected.insert(name);
        }
    }
    let found: BTreeSet<_> = fs::read_dir(fixture("stored"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("frame."))
        .collect();
    assert_eq!(found, expected, "files of records that there are not");
}

/// The words of a text; `RowCounts` is one, and has no `Counts` in it.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
}

#[test]
fn a_name_is_not_found_in_a_longer_one() {
    let words = words("check(&[(\"new\", RowCounts::default())]); // Counts_of");
    assert!(words.contains("RowCounts") && words.contains("check"));
    assert!(!words.contains("Counts"));
}

#[test]
fn the_bytes_of_every_record_are_held_by_a_test_beside_it() {
    let mut tests = String::new();
    checked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut tests);
    // A name may be in such a file for another reason, so their number has to be right as well.
    assert_eq!(tests.matches("fixture::check(").count(), ALL.len(), "calls of fixture::check, one for each record");
    let words = words(&tests);
    for entry in ALL {
        assert!(words.contains(entry.record), "no test beside {} calls fixture::check", entry.record);
    }
}
