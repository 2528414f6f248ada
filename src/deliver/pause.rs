//! A sink that an operator has paused: its delivery does not run, also after a restart, and the log keeps everything for it.

use serde::{Deserialize, Serialize};
use wal::{Reader, Wal};

use super::run::unwritable;
use crate::codec::stored::{Entry, Record, SINK_PAUSED, encode, get};
use crate::error::{Failure, sink_reset, sink_resume};
use crate::telemetry::rfc3339;

/// The pause of a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedSink {
    /// Since when, in microseconds since the epoch.
    pub since_micros: i64,
    /// Who has paused it.
    pub by: String,
    /// Why, if the operator has said so.
    pub why: Option<String>,
}

impl Record for PausedSink {
    const ENTRY: &'static Entry = &SINK_PAUSED;
}

impl PausedSink {
    /// In words.
    pub fn shown(&self) -> String {
        let why = self.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        format!("{} paused it at {}{why}; the log keeps everything for it", self.by, rfc3339(self.since_micros))
    }
}

/// The pause of a sink, if it is paused.
///
/// # Errors
/// When the log cannot be read or the record is damaged.
pub fn paused(reader: &Reader, sink: &str) -> Result<Option<PausedSink>, Failure> {
    get(reader, &SINK_PAUSED.of_sink(sink))
}

/// Stores that a sink whose delivery does not run is paused, or no longer.
///
/// # Errors
/// Fatal, when the log has no cursor of it, or is out of service.
pub async fn store_pause(wal: &Wal, sink: &str, pause: Option<&PausedSink>) -> Result<(), Failure> {
    if !wal.cursors().iter().any(|cursor| cursor.name == sink) {
        return Err(Failure::fatal(format!("the log has no cursor of sink \"{sink}\": it was never started"))
            .hint("run `replicator start` once with a configuration that has the sink"));
    }
    wal.put_state(vec![(SINK_PAUSED.of_sink(sink), pause.map(encode).transpose()?)]).await.map_err(unwritable)
}

/// A start ends the pauses of sinks that were detached from the log. Such a sink comes back by a reset, which a pause is in the way of.
///
/// # Errors
/// Fatal, when the log cannot be read, or is out of service.
pub async fn end_pauses_of_detached(wal: &Wal) -> Result<(), Failure> {
    for cursor in wal.cursors().iter().filter(|cursor| cursor.detached) {
        if paused(&wal.reader(), &cursor.name)?.is_some() {
            store_pause(wal, &cursor.name, None).await?;
        }
    }
    Ok(())
}

/// Whether a pause, or its end, can be asked for as a sink is.
///
/// # Errors
/// Fatal, when it is paused already, or is not; or when it is to be paused and was detached from the log, which keeps nothing for it.
pub fn may_pause(reader: &Reader, sink: &str, pauses: bool) -> Result<(), Failure> {
    if pauses && reader.cursors().iter().any(|cursor| cursor.name == sink && cursor.detached) {
        return Err(Failure::fatal(format!(
            "sink \"{sink}\" was detached from the full log: there is nothing to pause"
        ))
        .hint(format!("it comes back by `{}`", sink_reset(sink))));
    }
    match (paused(reader, sink)?, pauses) {
        (Some(pause), true) => Err(Failure::fatal(format!("sink \"{sink}\" is paused already: {}", pause.shown()))),
        (None, false) => {
            Err(Failure::fatal(format!("sink \"{sink}\" is not paused"))
                .hint("replicator sink list says what it is doing"))
        }
        (Some(_), false) | (None, true) => Ok(()),
    }
}

/// Whether a sink can be reset: one that is paused would not begin.
///
/// # Errors
/// Fatal, when it is paused.
pub fn may_reset(reader: &Reader, sink: &str) -> Result<(), Failure> {
    match paused(reader, sink)? {
        None => Ok(()),
        Some(pause) => Err(Failure::fatal(format!("sink \"{sink}\" is paused: {}", pause.shown()))
            .hint(format!("let it continue first: `{}`", sink_resume(sink)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;
    use wal::{Lsn, Options};

    #[tokio::test]
    async fn a_sink_that_was_detached_is_not_paused_and_a_start_ends_a_pause_that_it_had() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let pause = PausedSink { since_micros: 1, by: "root".into(), why: None };
        for sink in ["detached", "paused"] {
            wal.create_cursor(sink, Lsn::ZERO).await.unwrap();
            may_pause(&wal.reader(), sink, true).unwrap();
            store_pause(&wal, sink, Some(&pause)).await.unwrap();
        }
        wal.detach_cursor("detached").await.unwrap();

        end_pauses_of_detached(&wal).await.unwrap();

        let reader = wal.reader();
        assert_eq!((paused(&reader, "detached").unwrap(), paused(&reader, "paused").unwrap()), (None, Some(pause)));
        let refused = may_pause(&reader, "detached", true).unwrap_err();
        assert!(refused.message.contains("detached") && refused.hint.unwrap().contains("sink reset detached"));
        may_reset(&reader, "detached").unwrap();
        wal.shutdown().await.unwrap();
    }

    #[test]
    fn a_pause_is_stored_as_committed() {
        let pause = |why: Option<&str>| PausedSink {
            since_micros: 1_700_000_000_000_000,
            by: "root".into(),
            why: why.map(str::to_owned),
        };
        fixture::check(&[("paused", pause(None)), ("with_reason", pause(Some("maintenance of the target")))]);
    }
}
