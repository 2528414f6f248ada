//! What operators do by hand while the daemon runs, and what is left of it after a restart.

mod passwords; // a password that is changed at the server and in its file
mod reads; // backfill --wait and --cancel
mod reload; // a configuration that is read again while the daemon runs
mod sinks; // sink list, pause and resume
mod tables; // table list, show, skip and resume

use std::process::Output;

use serde_json::Value;

use crate::support::sandbox::Sandbox;

/// Runs a command that has to do what it is asked.
fn well(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.run(arguments);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
    stdout
}

/// The document that a command prints.
fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    serde_json::from_str(&well(sandbox, arguments)).unwrap()
}

/// Runs a command that is refused, with this exit code; what it says of it.
fn refused(sandbox: &Sandbox, code: i32, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = sandbox.run(arguments);
    let said = format!("{}{}", text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the verdict of a status has a reason of this state about something whose name is `about`, and its remedy.
fn remedy_of<'s>(status: &'s Value, state: &str, about: &str) -> Option<&'s str> {
    let reasons = status["health"]["reasons"].as_array()?;
    let is_it = |reason: &&Value| reason["state"] == state && (reason["table"] == about || reason["sink"] == about);
    reasons.iter().find(is_it)?["remedy"].as_str()
}
