//! How the program ends where it cannot connect, and what it says.

use serde_json::Value;

use crate::support::daemon::LIMIT;
use crate::support::sandbox::Sandbox;

/// Runs a command; gives its exit code and everything it said.
pub fn run(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.run_within(LIMIT, arguments);
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    (output.status.code(), format!("{out}{err}"))
}

/// Asserts that `check` and `start --once` both end with this exit code, and that both say all of this.
pub fn refused(sandbox: &Sandbox, code: i32, words: &[&str]) {
    for arguments in [&["check"][..], &["start", "--once"]] {
        let (found, text) = run(sandbox, arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?} says nothing of '{word}': {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// What `check` finds under a name: status and detail.
pub fn finding(sandbox: &Sandbox, name: &str) -> (String, String) {
    let (_, text) = run(sandbox, &["check", "--json"]);
    let (document, _) = text.rsplit_once(']').expect("a list of findings");
    let findings: Value =
        serde_json::from_str(&format!("{document}]")).unwrap_or_else(|error| panic!("{error}: {text}"));
    let found = findings.as_array().unwrap().iter().find(|finding| finding["name"] == name);
    let found = found.unwrap_or_else(|| panic!("nothing about '{name}': {text}"));
    (found["status"].as_str().unwrap().to_owned(), found["detail"].as_str().unwrap().to_owned())
}
