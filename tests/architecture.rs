//! The import rules between the modules of `src/`: arrows point one way, and source and sink never meet.
//!
//! The rules are read off the text: every `crate::module` outside comments and `#[cfg(test)] mod`. Cargo itself holds
//! the rest: the log is a crate of its own that names none of ours.
//!
//! A kind of sink is named in its own module and in the list of kinds, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import besides itself. `error`, `backoff` and `telemetry` (names and counters) are open to
/// everything that does I/O; `wal` is the log's crate.
const ALLOWED: [(&str, &[&str]); 22] = [
    ("model", &[]),
    ("error", &[]),
    // What a `tls` section asks for, and the client that does it.
    ("tls", &["error"]),
    ("backoff", &[]),
    // Switches for known faults, which the simulator has to find.
    ("mutants", &[]),
    ("config", &["model", "error", "tls"]),
    ("codec", &["model", "error", "wal"]),
    // The life of a table, which its readers, its sinks and its status go by.
    ("table", &["model", "error", "mutants", "codec", "wal"]),
    // Row changes that a sink could not write: its rounds go by them, and what shows and settles them.
    ("dead", &["model", "error", "codec", "wal"]),
    ("telemetry", &["model", "error", "table", "codec", "config", "dead", "wal"]),
    ("source", &["model", "error", "backoff", "tls", "table", "telemetry", "codec", "config"]),
    ("sink", &["model", "error", "backoff", "tls", "telemetry", "codec", "config", "dead", "wal"]),
    ("ingest", &["model", "error", "backoff", "mutants", "table", "telemetry", "codec", "config", "source", "wal"]),
    ("deliver", &["model", "error", "backoff", "table", "telemetry", "codec", "config", "dead", "sink", "wal"]),
    // Reads what both ends of the log wrote into it, and neither a source nor a sink.
    ("inspect", &["model", "error", "table", "telemetry", "codec", "config", "dead", "ingest", "deliver", "wal"]),
    ("verify", &["model", "error", "backoff", "telemetry", "codec", "config", "source", "sink", "wal"]),
    ("control", &["model", "error", "backoff", "telemetry", "codec", "config", "dead", "inspect", "wal"]),
    // What `check` looks at: both ends, before either is started.
    (
        "preflight",
        &[
            "model",
            "error",
            "backoff",
            "telemetry",
            "table",
            "codec",
            "config",
            "source",
            "sink",
            "control",
            "ingest",
            "deliver",
            "rule_names",
            "wal",
        ],
    ),
    // Compares what rules name with what a source has.
    ("rule_names", &["model", "error", "config", "source", "sink"]),
    // The first half of a start, and the wiring it is a part of.
    (
        "first_contact",
        &[
            "model",
            "error",
            "backoff",
            "table",
            "telemetry",
            "codec",
            "config",
            "source",
            "ingest",
            "pipeline",
            "rule_names",
            "wal",
        ],
    ),
    (
        "pipeline",
        &[
            "model",
            "error",
            "backoff",
            "table",
            "telemetry",
            "codec",
            "config",
            "source",
            "dead",
            "sink",
            "ingest",
            "deliver",
            "control",
            "inspect",
            "verify",
            "first_contact",
            "wal",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "error",
            "telemetry",
            "config",
            "table",
            "dead",
            "sink",
            "control",
            "inspect",
            "preflight",
            "verify",
            "pipeline",
            "wal",
        ],
    ),
];

#[test]
fn modules_import_only_what_the_rules_allow() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = BTreeSet::new();
    let mut violations = Vec::new();
    for file in rust_files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue; // They name every module: that is what they are for.
        }
        let Some(rules) = allowed.get(module) else {
            violations.push(format!("src/{module} has no rule: give it one in tests/architecture.rs"));
            continue;
        };
        checked.insert(module.to_owned());
        let text = fs::read_to_string(&file).unwrap();
        for (line, imported) in imports(&text) {
            if imported != module && !rules.contains(&imported.as_str()) {
                violations.push(format!("src/{}:{line}: '{module}' must not import '{imported}'", path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(checked.contains("source") && checked.contains("sink"), "only these were found: {checked:?}");
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let text = "\
//! See [`crate::cli`].
use crate::{model::Table, error::{Failure, crate_name}};
use crate::{
    codec::frame,
    sink::Sink,
};
pub(crate) use crate::source::mysql; // crate::cli
fn f() { wal::Lsn::ZERO; crate::ingest::run(); let wall = firewal::x; }
#[cfg(test)]
mod tests {
    use crate::deliver;
}
";

    let found: Vec<(usize, String)> = imports(text);

    let expected = [(2, "model"), (2, "error"), (3, "codec"), (3, "sink"), (7, "source"), (8, "ingest"), (8, "wal")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
}

#[test]
fn a_kind_of_sink_is_named_by_itself_and_by_the_list_of_kinds_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let list = fs::read_to_string(source.join("sink/kinds.rs")).unwrap();
    let kinds = listed_kinds(&list);
    assert!(kinds.contains(&"sqlite") && kinds.contains(&"clickhouse"), "only these were found: {kinds:?}");
    let mut violations = Vec::new();
    let mut declared = 0;
    for file in rust_files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let is_of_a_kind = kinds.iter().any(|kind| path.starts_with(Path::new("sink").join(kind)));
        let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs");
        if is_of_a_kind || is_test || path == Path::new("sink/kinds.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (line, kind, code) in kinds_named(&text, &kinds) {
            if path == Path::new("sink/mod.rs") && code.trim() == format!("pub mod {kind};") {
                declared += 1;
                continue;
            }
            violations.push(format!("src/{}:{line}: names the sink '{kind}'; only its own module may", path.display()));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert_eq!(declared, kinds.len(), "every kind is a module of the sinks");
}

#[test]
fn the_reader_of_kinds_sees_every_form() {
    let list = "static KINDS: &[&Kind] = &[\n    &sqlite::KIND,     // one file\n    &clickhouse::KIND,\n];\n";
    assert_eq!(listed_kinds(list), ["sqlite", "clickhouse"]);
    let text = "\
//! As SQLite does.
use crate::sink::sqlite::SqlitePlan; // of sqlite
#[cfg(test)]
mod testing;
fn f() { match kind { \"clickhouse\" => 1, ClickHouse => 2 } }
const URL: &str = \"http://clickhouse.example\";
#[cfg(test)]
mod tests {
    use crate::sink::sqlite;
}
";
    let found: Vec<_> =
        kinds_named(text, &["sqlite", "clickhouse"]).into_iter().map(|(line, kind, _)| (line, kind)).collect();
    assert_eq!(found, [(2, "sqlite"), (5, "clickhouse"), (6, "clickhouse")]);
}

#[test]
fn every_direct_dependency_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let explained = fs::read_to_string(root.join("docs/dependencies.md")).unwrap();
    let mut checked = 0;
    for manifest in ["Cargo.toml", "wal/Cargo.toml"] {
        let text = fs::read_to_string(root.join(manifest)).unwrap();
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = matches!(line, "[dependencies]" | "[dev-dependencies]");
            } else if in_dependencies && let Some((key, _)) = line.split_once('=') {
                let crate_name = key.trim().trim_end_matches(".workspace");
                assert!(
                    explained.contains(&format!("| {crate_name} | ")),
                    "docs/dependencies.md does not say why {manifest} has {crate_name}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "only {checked} dependencies were found");
}

/// `.config/nextest.toml` goes by the names: so many servers run at once, and `make quick` runs none.
#[test]
fn tests_that_start_a_server_are_named_after_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let unnamed: Vec<String> = rust_files(&tests)
        .into_iter()
        .filter(|path| !path.starts_with(tests.join("clickhouse")))
        .flat_map(|path| unnamed_server_tests(&fs::read_to_string(path).unwrap()))
        .collect();
    assert!(
        unnamed.is_empty(),
        "these start a server, so their names end with `_on_mysql` or `_on_mariadb`: {unnamed:?}"
    );
}

#[test]
fn the_reader_of_tests_sees_which_start_a_server() {
    let test = |name: &str, body: &str| format!("#[tokio::test]\nasync fn {name}() {{\n{body}\n}}\n");
    let server = "    let sandbox = Sandbox::new(Kind::MySql).await;";
    let text = [test("one", server), test("two_on_mysql", server), test("three", "    let four = 4;")].concat();
    assert_eq!(unnamed_server_tests(&text), ["one"]);
    assert!(unnamed_server_tests(&test("one", "").replace('}', "}\nasync fn two(kind: Kind) {}\n")).is_empty());
}

#[test]
fn sources_are_ascii_and_no_file_is_named_after_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        ["src", "wal/src", "tests"].iter().flat_map(|part| rust_files(&root.join(part))).collect();
    files.push(root.join("Makefile"));
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let foreign = text.lines().position(|line| !line.is_ascii());
        assert_eq!(foreign.map(|line| line + 1), None, "a line that is not ASCII in {}", file.display());
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let empty = ["util", "utils", "common", "core", "base", "manager", "helper", "helpers", "misc"];
        assert!(!empty.contains(&stem), "{}: a name that says nothing of what is in it", file.display());
    }
    assert!(files.len() > 20);
}

/// The modules named after `crate::`, and the log's crate, each with its line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code = code_of(text).join("\n");
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let line = code[..start].matches('\n').count() + 1;
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push((line, name(rest).to_owned())),
            Some(list) => found.extend(top_level_names(list).into_iter().map(|name| (line, name))),
        }
    }
    for (start, _) in code.match_indices("wal::") {
        let before = code[..start].chars().next_back();
        if !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
            found.push((code[..start].matches('\n').count() + 1, "wal".to_owned()));
        }
    }
    found.sort_by_key(|(line, _)| *line);
    found
}

/// The lines of a file without its comments and without its `#[cfg(test)] mod`.
fn code_of(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().map(without_comment).collect();
    let is_begin = |two: &[&str]| {
        two[0].trim() == "#[cfg(test)]" && two[1].trim_start().starts_with("mod ") && two[1].trim_end().ends_with('{')
    };
    if let Some(tests) = lines.windows(2).position(is_begin) {
        lines.truncate(tests);
    }
    lines
}

/// A line up to its comment; the slashes of a URL begin none.
fn without_comment(line: &str) -> &str {
    let is_comment = |at: &usize| !line[..*at].ends_with(':');
    let start = line.match_indices("//").map(|(at, _)| at).find(is_comment);
    &line[..start.unwrap_or(line.len())]
}

/// The modules in the list of kinds of sinks.
fn listed_kinds(list: &str) -> Vec<&str> {
    code_of(list).into_iter().filter_map(|line| line.trim().strip_prefix('&')?.strip_suffix("::KIND,")).collect()
}

/// Where code names a kind of sink, in whatever case and within whatever word: (line, kind, text of the line).
fn kinds_named<'k, 't>(text: &'t str, kinds: &[&'k str]) -> Vec<(usize, &'k str, &'t str)> {
    let mut found = Vec::new();
    for (at, line) in code_of(text).into_iter().enumerate() {
        let lower = line.to_ascii_lowercase();
        found.extend(kinds.iter().filter(|kind| lower.contains(**kind)).map(|kind| (at + 1, *kind, line)));
    }
    found
}

/// The identifier at the start of a text.
fn name(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    &text[..end]
}

/// The first identifiers of a use list's entries, up to its closing brace.
fn top_level_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut at_entry) = (0, true);
    for (position, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_entry = true,
            _ if at_entry && !letter.is_whitespace() => {
                names.push(name(&list[position..]).to_owned());
                at_entry = false;
            }
            _ => {}
        }
    }
    names
}

/// The tests of a file that are asynchronous, name a kind of server in their body, and have none in their name.
fn unnamed_server_tests(text: &str) -> Vec<String> {
    let mut unnamed = Vec::new();
    for test in text.split("#[tokio::test").skip(1) {
        // A body ends with the first brace at the indentation of its test.
        let Some((head, rest)) = test.split_once("async fn ") else { continue };
        let indent = head.rsplit('\n').next().unwrap_or_default();
        let body = rest.split(&format!("\n{indent}}}")).next().unwrap_or_default();
        let name = name(body);
        // A macro that makes two of one has them in a module with the name, or the name as its own variable.
        let is_named = name.is_empty() || name.ends_with("on_mysql") || name.ends_with("on_mariadb");
        if !is_named && ["Kind::MySql", "Kind::MariaDb"].iter().any(|kind| body.contains(kind)) {
            unnamed.push(name.to_owned());
        }
    }
    unnamed
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
