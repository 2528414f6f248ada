//! Where log lines go: to stderr, as text or JSON.
//!
//! Assumes that whoever logs leaves row values and secrets out: levels mean error = an operator must act, warn = odd but safe,
//! info = a state changed.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::log_filter;

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Environment variable that sets the level where the command line does not.
pub const LEVEL_VARIABLE: &str = "REPLICATOR_LOG";

/// A filter such as `info` or `info,replicator::source=debug`.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a log level such as info, or a filter such as info,replicator::source=debug")]
pub struct BadFilter(String);

/// Sets the filter of a process that logs.
type SetFilter = dyn Fn(EnvFilter) -> bool + Send + Sync;

static FILTER: OnceLock<Box<SetFilter>> = OnceLock::new();

/// Sets the level, or the filter, of the log lines that come from here on.
///
/// # Errors
/// [`BadFilter`], also where logging was not started.
pub fn set_level(filter: &str) -> Result<(), BadFilter> {
    let parsed = parse_filter(filter)?;
    if FILTER.get().is_some_and(|set| set(parsed)) { Ok(()) } else { Err(BadFilter(filter.to_owned())) }
}

/// Starts logging; once per process. Lines give way to `progress` bars on a terminal.
///
/// # Errors
/// [`BadFilter`].
pub fn start(format: LogFormat, filter: &str, progress: Option<MultiProgress>) -> Result<(), BadFilter> {
    let filter = parse_filter(filter)?;
    let color = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Stderr { progress });
    let started = match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(color).with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            FILTER.get_or_init(|| Box::new(move |filter| handle.reload(filter).is_ok()));
            builder.try_init()
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(true).with_filter_reloading();
            let handle = builder.reload_handle();
            FILTER.get_or_init(|| Box::new(move |filter| handle.reload(filter).is_ok()));
            builder.try_init()
        }
    };
    // It fails only where logging was started before, which a process does once.
    if let Err(error) = started {
        tracing::debug!(error = %error, "logging was already started");
    }
    Ok(())
}

/// The parser takes any word for the name of a module, so that a misspelt level would silence everything: words are checked here.
fn parse_filter(filter: &str) -> Result<EnvFilter, BadFilter> {
    let bad = || BadFilter(filter.to_owned());
    log_filter(filter).map_err(|_| bad())?;
    EnvFilter::try_new(filter).map_err(|_| bad())
}

struct Stderr {
    progress: Option<MultiProgress>,
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { progress: self.progress.as_ref() }
    }
}

/// Writes one line, with the bars out of the way.
struct Line<'a> {
    progress: Option<&'a MultiProgress>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.progress {
            Some(progress) => progress.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Lets a repeated warning through once an interval, and counts the ones in between so that they are not lost without trace.
#[derive(Debug)]
pub struct Seldom {
    interval: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// Once every `interval`.
    pub fn every(interval: Duration) -> Self {
        Self { interval, state: Mutex::new((None, 0)) }
    }

    /// Whether to say it now; then with how many times it was held back since the last time.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = super::lock(&self.state);
        if state.0.is_some_and(|last| now.duration_since(last) < self.interval) {
            state.1 += 1;
            return None;
        }
        let held_back = std::mem::take(&mut state.1);
        state.0 = Some(now);
        Some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_warning_comes_once_an_interval_with_the_number_held_back() {
        let seldom = Seldom::every(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| seldom.due_at(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(9), at(10), at(11), at(20)], [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn a_level_that_is_none_is_refused_and_not_taken_for_a_module() {
        for good in ["info", "WARN", "info,replicator::source=debug", "off"] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "inof,replicator=debug", "replicator=", "info,"] {
            assert!(parse_filter(bad).is_err(), "{bad}");
        }
    }
}
