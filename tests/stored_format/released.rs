//! The formats that CHANGELOG.md names: each has a fixture that opens, and nothing is written in a format that it
//! does not name.
//!
//! Every section of the changelog, a release's or that of what is not released yet, has the line
//! `Formats: log <n>, SQLite target <n>, ClickHouse target <n>.`

use std::collections::BTreeSet;
use std::path::Path;

use replicator::codec::stored::LOG_FORMAT;
use replicator::sink::{clickhouse, sqlite};

use super::{fixture, whole};

/// What is stored in a format of its own, and where the fixture of a version is.
const KINDS: [(&str, &str, &str); 3] = [
    ("log", "log/format-", ".redb.gz"),
    ("SQLite target", "sqlite/format-", ".db.gz"),
    ("ClickHouse target", "clickhouse/format-", ".sql"),
];

fn changelog() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).unwrap()
}

/// The formats of each section: its heading, and (kind, format) of each.
fn sections() -> Vec<(String, Vec<(String, u64)>)> {
    let text = changelog();
    let mut sections = Vec::new();
    for section in text.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap().to_owned();
        let line = section.lines().find_map(|line| line.strip_prefix("Formats: "));
        let line = line.unwrap_or_else(|| panic!("\"{heading}\" names no formats")).trim_end_matches('.');
        let format = |named: &str| {
            let (kind, number) = named.rsplit_once(' ').unwrap();
            (kind.to_owned(), number.parse().unwrap_or_else(|_| panic!("\"{heading}\": {named}")))
        };
        let formats = line.split(", ").map(format).collect();
        sections.push((heading, formats));
    }
    assert!(!sections.is_empty(), "CHANGELOG.md has no section");
    sections
}

fn current() -> [(&'static str, u64); 3] {
    [
        ("log", u64::from(LOG_FORMAT)),
        ("SQLite target", sqlite::FORMAT.try_into().unwrap()),
        ("ClickHouse target", clickhouse::FORMAT.into()),
    ]
}

#[test]
fn what_this_version_writes_is_what_the_first_section_names() {
    let (heading, formats) = sections().remove(0);
    let current = current().map(|(kind, format)| (kind.to_owned(), format));
    assert_eq!(formats, current, "the formats of \"{heading}\"");
}

#[test]
fn every_format_that_the_changelog_names_has_a_fixture_and_every_fixture_is_named() {
    let named: BTreeSet<_> = sections().into_iter().flat_map(|(_, formats)| formats).collect();
    for (kind, before, after) in KINDS {
        let formats: BTreeSet<String> = (named.iter())
            .filter(|(named, _)| named == kind)
            .map(|(_, format)| format!("{before}{format}{after}"))
            .collect();
        let (directory, _) = before.split_once('/').unwrap();
        let there: BTreeSet<String> = std::fs::read_dir(fixture(directory))
            .unwrap_or_else(|error| panic!("tests/fixtures/{directory}: {error}"))
            .map(|file| format!("{directory}/{}", file.unwrap().file_name().into_string().unwrap()))
            .filter(|name| name.ends_with(after))
            .collect();
        assert_eq!(there, formats, "fixtures of formats of a {kind}");
    }
    assert!(named.iter().all(|(named, _)| KINDS.iter().any(|(kind, ..)| kind == named)), "{named:?}");
}

#[tokio::test]
async fn every_log_and_sqlite_target_of_a_named_format_opens() {
    let named: BTreeSet<_> = sections().into_iter().flat_map(|(_, formats)| formats).collect();
    for (_, log) in named.iter().filter(|(kind, _)| kind == "log") {
        for (_, target) in named.iter().filter(|(kind, _)| kind == "SQLite target") {
            whole::opens(*log, *target).await;
        }
    }
}
