//! Which position the stream continues from, and when the log gets a new one.
//!
//! A position that the source refuses ends the start with the reason. It is given up only where an operator says so, or, for binlogs that
//! were purged, where the configuration does: then the source's current position takes its place, and what happened to the tables between
//! the two is not known.

use mysql_async::Conn;
use tracing::warn;
use wal::Reader;

use crate::config::{OnPurged, Plan};
use crate::error::{Failure, Unusable};
use crate::ingest;
use crate::model::{Names, SourcePosition, TableName};
use crate::source::mysql::names::require_same_names;
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::start::{self, StartPoint};

/// Who may give a position up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// An operator says so, with this start.
    pub(super) operator: bool,
    /// The configuration says so of purged binlogs.
    pub(super) on_purged: OnPurged,
}

impl Leave {
    /// Whether a position that is unusable for this reason is given up.
    fn covers(self, unusable: Option<Unusable>) -> bool {
        match unusable {
            None => false,
            Some(Unusable::Purged) => self.operator || self.on_purged == OnPurged::Resync,
            Some(Unusable::Otherwise) => self.operator,
        }
    }
}

/// Where the stream continues.
#[derive(Debug)]
pub(super) struct Continues {
    /// The place.
    pub(super) from: StartPoint,
    /// Why it is not the log's; `None`: it is, or the log has none.
    pub(super) skipped: Option<String>,
}

/// What the log says of its position.
#[derive(Debug)]
pub(super) struct InLog<'a> {
    /// The position.
    pub(super) stored: Option<&'a SourcePosition>,
    /// The rule by which its names are spelled.
    pub(super) names: Names,
    /// The tables that it knows.
    pub(super) known: Vec<&'a TableName>,
}

/// Where the stream continues, checked against the server.
///
/// # Errors
/// Fatal, when the log's position cannot be used on this server and is not given up; classified, when the server cannot be asked.
pub(super) async fn continues(
    conn: &mut Conn,
    server: &ServerInfo,
    (plan, leave): (&Plan, Leave),
    log: InLog<'_>,
    reader: &Reader,
) -> Result<Continues, Failure> {
    let Some(stored) = log.stored else {
        let from = start::resolve(conn, server, None, &plan.source.startup).await?;
        return Ok(Continues { from, skipped: None });
    };
    let resolved = start::resolve(conn, server, Some(stored), &plan.source.startup).await;
    let same_names = require_same_names(log.names, server, log.known);
    let met = match ingest::refused_position(reader)? {
        Some(refused) if refused.is_about(stored, &server.identity) => Some(refused.failure()),
        _ => None,
    };
    match judge(resolved, same_names, met, leave)? {
        Judged::Good(from) => Ok(Continues { from, skipped: None }),
        Judged::GivenUp(why) => {
            let from = start::current(conn, server).await?;
            let why =
                format!("{}, so it was not captured from {} to {}", why.fact(), shown(stored), shown(&from.position));
            warn!(%why, "the log's position is given up, and the source's current one is taken");
            Ok(Continues { from, skipped: Some(why) })
        }
    }
}

/// What becomes of the log's position.
#[derive(Debug)]
enum Judged<T> {
    /// It is used.
    Good(T),
    /// It is given up, for this reason.
    GivenUp(Failure),
}

/// Judges a position: by what the server has of it, by the names in the log, and by what an earlier stream has met there.
fn judge<T>(
    resolved: Result<T, Failure>,
    same_names: Result<(), Failure>,
    met: Option<Failure>,
    leave: Leave,
) -> Result<Judged<T>, Failure> {
    let is_given_up = |failure: &Failure| leave.covers(failure.unusable);
    let given_up = match resolved {
        Err(failure) if !is_given_up(&failure) => return Err(failure),
        Err(failure) => Err(failure),
        Ok(from) => Ok(from),
    };
    match same_names {
        // Also at a new position: names in a log never change.
        Err(failure) if !is_given_up(&failure) => return Err(failure),
        Err(failure) if given_up.is_ok() => return Ok(Judged::GivenUp(failure)),
        Err(_) | Ok(()) => {}
    }
    match (given_up, met.filter(is_given_up)) {
        (Err(failure), _) | (Ok(_), Some(failure)) => Ok(Judged::GivenUp(failure)),
        (Ok(from), None) => Ok(Judged::Good(from)),
    }
}

/// A position, for an operator.
fn shown(position: &SourcePosition) -> String {
    if position.file.is_empty() {
        format!("GTIDs {}", position.gtid)
    } else {
        format!("{}:{}", position.file, position.pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(operator: bool, on_purged: OnPurged) -> Leave {
        Leave { operator, on_purged }
    }

    fn failure(what: &str, unusable: Option<Unusable>) -> Failure {
        Failure { unusable, ..Failure::fatal(what) }
    }

    /// The message of what it is given up for; `None`: it is used.
    fn judged(
        resolved: Option<Failure>,
        names: Option<Failure>,
        met: Option<Failure>,
        leave: Leave,
    ) -> Result<Option<String>, String> {
        let judged = judge(resolved.map_or(Ok(()), Err), names.map_or(Ok(()), Err), met, leave);
        match judged {
            Ok(Judged::Good(())) => Ok(None),
            Ok(Judged::GivenUp(failure)) => Ok(Some(failure.message)),
            Err(failure) => Err(failure.message),
        }
    }

    #[test]
    fn a_position_is_given_up_only_where_an_operator_or_for_purged_binlogs_the_configuration_says_so() {
        for (operator, on_purged, purged, otherwise) in [
            (false, OnPurged::Stop, false, false),
            (false, OnPurged::Resync, true, false),
            (true, OnPurged::Stop, true, true),
            (true, OnPurged::Resync, true, true),
        ] {
            let leave = leave(operator, on_purged);
            for (unusable, given_up) in
                [(Some(Unusable::Purged), purged), (Some(Unusable::Otherwise), otherwise), (None, false)]
            {
                let it = || Some(failure("it", unusable));
                let expected = if given_up { Ok(Some("it".to_owned())) } else { Err("it".to_owned()) };
                assert_eq!(judged(it(), None, None, leave), expected, "{leave:?} {unusable:?}");
                assert_eq!(judged(None, it(), None, leave), expected, "names: {leave:?} {unusable:?}");
                // What a stream met is met again, unless it is given up.
                let expected = if given_up { Ok(Some("it".to_owned())) } else { Ok(None) };
                assert_eq!(judged(None, None, it(), leave), expected, "met: {leave:?} {unusable:?}");
            }
        }
    }

    #[test]
    fn a_good_position_is_used_whoever_would_give_it_up() {
        for operator in [false, true] {
            assert_eq!(judged(None, None, None, leave(operator, OnPurged::Resync)), Ok(None));
        }
    }

    #[test]
    fn names_that_become_others_are_refused_at_a_new_position_too() {
        let gone = || Some(failure("gone", Some(Unusable::Otherwise)));
        let asked = leave(true, OnPurged::Stop);
        assert_eq!(judged(gone(), Some(failure("names", None)), None, asked), Err("names".to_owned()));
        assert_eq!(
            judged(gone(), Some(failure("case", Some(Unusable::Otherwise))), None, asked),
            Ok(Some("gone".to_owned()))
        );
    }
}
