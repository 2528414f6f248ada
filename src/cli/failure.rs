//! Errors at the edge: the only place that prints one, and that turns one into an exit code.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::apart::Passed;
use super::full_disk;
use crate::config::ConfigError;
use crate::control::ClientError;
use crate::error::{Failure, SameServerId};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It did what it was asked.
    Done,
    /// It did not.
    Failed,
    /// It was asked wrongly.
    Usage,
    /// It was asked for the state of things, and that is failed.
    NeedsOperator,
    /// The source has ended it, because another replica has the same `source.server_id`.
    SameServerId,
    /// As the process ended that did it in its place.
    As(u8),
}

impl Exit {
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NeedsOperator => 3,
            Self::SameServerId => 4,
            Self::As(code) => code,
        })
    }

    pub(super) fn of(error: &anyhow::Error) -> Self {
        let is_usage = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<ConfigError>() || cause.is::<Misuse>() || cause.is::<crate::telemetry::logs::BadFilter>()
        };
        if let Some(Passed(code)) = error.downcast_ref() {
            Self::As(*code)
        } else if error.is::<NeedsOperator>() {
            Self::NeedsOperator
        } else if error.chain().any(<dyn std::error::Error>::is::<SameServerId>) {
            Self::SameServerId
        } else if error.chain().any(is_usage) {
            Self::Usage
        } else {
            Self::Failed
        }
    }
}

/// Arguments that the parser takes and that mean nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Misuse(pub(super) String);

/// A failure that has already been said in full on stdout: only the exit code is left to give.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Said(pub(super) String);

/// The verdict on the daemon is failed; why has been said in full on stdout.
#[derive(Debug, thiserror::Error)]
#[error("an operator has to look: the health is failed")]
pub(super) struct NeedsOperator;

/// Message, causes and hint, each on its line. `config` is the configuration that the program was given.
pub(super) fn print(error: &anyhow::Error, config: &Path) {
    if error.is::<Passed>() {
        return;
    }
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        // A wrapper that only repeats its cause says nothing new.
        text.push_str("  because: ");
        text.push_str(&cause.to_string());
        text.push('\n');
    }
    if let Some(hint) = error.chain().find_map(hint_of).or_else(|| full_disk::hint(error, config)) {
        text.push_str("  hint: ");
        text.push_str(&hint);
        text.push('\n');
    }
    // Without a stderr there is nowhere left to say it.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn hint_of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return failure.hint.clone();
    }
    if let Some(config) = cause.downcast_ref::<ConfigError>() {
        return config.hint();
    }
    match cause.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { hint, .. }) => hint.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_told_from_failure_however_deep_it_lies() {
        let config = crate::config::load(std::path::Path::new("/nonexistent"), &[]).unwrap_err();
        assert_eq!(Exit::of(&anyhow::Error::from(config).context("start")), Exit::Usage);
        assert_eq!(Exit::of(&anyhow::Error::from(Failure::fatal("x"))), Exit::Failed);
        assert_eq!(Exit::of(&anyhow::Error::from(Misuse("x".into()))), Exit::Usage);
        assert_eq!(Exit::of(&NeedsOperator.into()), Exit::NeedsOperator);
        let ended = Failure::fatal("x").caused_by(SameServerId("same server_id".into()));
        assert_eq!(Exit::of(&anyhow::Error::from(ended).context("start")), Exit::SameServerId);
    }

    #[test]
    fn the_hint_of_a_cause_is_found() {
        let error = anyhow::Error::from(Failure::fatal("inner").hint("do this")).context("outer");
        assert_eq!(error.chain().find_map(hint_of).as_deref(), Some("do this"));
    }
}
