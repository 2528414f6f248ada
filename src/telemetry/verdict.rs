//! The one verdict on a status: what it means to an operator who has to act.
//!
//! `status`, `/health`, the metrics and the exit codes all come from it, so that no two of them can disagree. Pure.
//!
//! | verdict | what is so |
//! |---|---|
//! | ok | tables that are complete or being read, or left out by nature; a source, a log and sinks at work |
//! | degraded | what is tried again or passes by itself: a sink or the source retried, a source never reached or not confirmed, a full log, a doubt that waits; a table that is skipped and a sink that is paused by an operator, who resumes it; and a cursor of a sink that is not configured, and dead letters, which a command settles |
//! | failed | what an operator has to look at: a table left out by doubt, unreadable or stopped; a sink or the source that has failed; a log out of service; no daemon |
//!
//! Tables that are not captured have no state, so they never count.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SinkPhase, SinkStatus, SourcePhase, StateStatus, Status, TableStatus};
use crate::error::{Failure, sink_reset, table_resume};
use crate::model::as_word;
use crate::table::State;

/// Tables named one by one in the reasons, for each state at each sink; the others are counted.
const NAMED: usize = 10;

/// What a status comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to do.
    #[default]
    Ok,
    /// It passes by itself, or it costs something meanwhile.
    Degraded,
    /// An operator has to look.
    Failed,
}

impl Verdict {
    /// Every verdict, the best first.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Degraded, Self::Failed];

    /// The word used in `status`, metrics and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The daemon itself.
    Daemon,
    /// The source.
    Source,
    /// The log.
    Log,
    /// A sink, or a cursor that is left over of one.
    Sink,
    /// A table, at a sink or at all of them.
    Table,
    /// More tables of the kind that the reasons before it name.
    Tables,
}

/// Why a status is not ok.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it makes of the whole.
    pub status: Verdict,
    /// What it is about.
    pub what: What,
    /// The sink; `None` of a table: all of them.
    pub sink: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The word for what is so.
    pub state: String,
    /// Since when, in UTC.
    pub since: Option<String>,
    /// Since which LSN.
    pub since_lsn: Option<u64>,
    /// Why.
    pub why: Option<String>,
    /// Until when it stays so, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The command that settles it, or shows more.
    pub remedy: Option<String>,
}

/// The verdict with its reasons, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: Verdict,
    /// Why it is not ok.
    pub reasons: Vec<Reason>,
}

impl Health {
    /// Of a status.
    pub fn of(status: &Status) -> Self {
        let mut reasons = Vec::new();
        if !status.running {
            let why = Some("no daemon is running on this log".to_owned());
            reasons.push(Reason { why, ..Reason::new(Verdict::Failed, What::Daemon, "not_running") });
        }
        reasons.extend(of_log(status));
        reasons.extend(of_source(status));
        reasons.extend(status.sinks.iter().filter_map(of_sink));
        reasons.extend(status.sinks.iter().filter_map(of_letters));
        of_tables(status, &mut reasons);
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status));
        Self { status: reasons.iter().map(|reason| reason.status).max().unwrap_or_default(), reasons }
    }

    /// Whether an operator has to look: `/health` answers 503, `status` exits with 3.
    pub fn is_failed(&self) -> bool {
        self.status == Verdict::Failed
    }
}

impl Status {
    /// Whether a run that was to bring everything has brought it. For its end, when nothing is on its way any more.
    ///
    /// # Errors
    /// The first reason of a verdict that is failed, or a table that is still to be read.
    pub fn has_brought_everything(&self) -> Result<(), Failure> {
        let mut failed = self.health.reasons.iter().filter(|reason| reason.status == Verdict::Failed);
        if let Some(first) = failed.next() {
            let more = match failed.count() {
                0 => String::new(),
                more => format!(", and {more} more reasons: see replicator status"),
            };
            return Err(Failure::fatal(format!("{first}{more}")));
        }
        let is_paused = |sink: &SinkStatus| sink.state == SinkPhase::Paused;
        let paused: Vec<&String> = self.sinks.iter().filter(|sink| is_paused(sink)).map(|sink| &sink.name).collect();
        for table in &self.tables {
            // A paused sink is passed over. Where no other one takes the table, the log has to have all of it.
            let mut states: Vec<&StateStatus> =
                table.sinks.iter().filter(|(sink, _)| !paused.contains(sink)).map(|(_, at)| &at.stated).collect();
            if states.is_empty() {
                states.push(&table.stated);
            }
            if states.iter().any(|stated| stated.state == Some(State::Reading)) {
                let why = states.iter().find_map(|stated| stated.why.as_deref()).unwrap_or("it is not complete");
                return Err(Failure::fatal(format!("table '{}' is still to be read: {why}", table.table)));
            }
        }
        Ok(())
    }

    /// The sink, or the cursor that is left over of one, for which the log keeps most.
    pub fn slowest(&self) -> Option<&SinkStatus> {
        let claims = |sink: &&SinkStatus| sink.state != SinkPhase::Detached && sink.backlog_bytes > 0;
        self.sinks.iter().filter(claims).max_by_key(|sink| sink.backlog_bytes)
    }
}

impl Reason {
    fn new(status: Verdict, what: What, state: &str) -> Self {
        Self {
            status,
            what,
            sink: None,
            table: None,
            state: state.to_owned(),
            since: None,
            since_lsn: None,
            why: None,
            until: None,
            remedy: None,
        }
    }
}

impl fmt::Display for Reason {
    /// On one line: `table shop.users at sink ch: stopped since lsn 9: why (remedy: command)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.what, &self.table, &self.sink) {
            (What::Daemon, ..) => f.write_str("daemon")?,
            (What::Source, ..) => f.write_str("source")?,
            (What::Log, ..) => f.write_str("log")?,
            (What::Tables, _, None) => f.write_str("more tables")?,
            (What::Tables, _, Some(sink)) => write!(f, "more tables at sink {sink}")?,
            (What::Table, Some(table), None) => write!(f, "table {table}")?,
            (What::Table, Some(table), Some(sink)) => write!(f, "table {table} at sink {sink}")?,
            (What::Sink | What::Table, _, sink) => write!(f, "sink {}", sink.as_deref().unwrap_or_default())?,
        }
        write!(f, ": {}", self.state)?;
        match (&self.since, self.since_lsn) {
            (Some(since), Some(lsn)) => write!(f, " since {since} (lsn {lsn})")?,
            (Some(since), None) => write!(f, " since {since}")?,
            (None, Some(lsn)) => write!(f, " since lsn {lsn}")?,
            (None, None) => {}
        }
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        if let Some(until) = &self.until {
            write!(f, "; it is read at {until} (source.reread_pause)")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, " (remedy: {remedy})"),
            None => Ok(()),
        }
    }
}

fn of_log(status: &Status) -> Option<Reason> {
    if let Some(error) = &status.wal.error {
        let why = Some(error.clone());
        return Some(Reason { why, ..Reason::new(Verdict::Failed, What::Log, "out_of_service") });
    }
    if !status.wal.full && status.source.state != SourcePhase::LogFull {
        return None;
    }
    let slowest = status.slowest();
    let why = match slowest {
        Some(sink) if sink.state == SinkPhase::Unconfigured => {
            format!("the source waits for room, and cursor {} of a sink that is not configured holds most", sink.name)
        }
        Some(sink) if sink.state == SinkPhase::Failed => {
            let error = sink.error.as_deref().unwrap_or("see its error");
            format!("the source waits for room, and sink {}, which has failed, holds most: {error}", sink.name)
        }
        Some(sink) if sink.state == SinkPhase::Paused => {
            format!("the source waits for room, and sink {}, which is paused, holds most", sink.name)
        }
        Some(sink) => format!("the source waits for room, and sink {} is the slowest", sink.name),
        None => "the source waits for room".to_owned(),
    };
    Some(Reason {
        since: status.source.since.clone().filter(|_| status.source.state == SourcePhase::LogFull),
        why: Some(why),
        remedy: slowest
            .and_then(|sink| if sink.state == SinkPhase::Failed { Some(ways_out(sink)) } else { sink.remedy.clone() }),
        ..Reason::new(Verdict::Degraded, What::Log, "full")
    })
}

/// What ends a full log that a failed sink holds.
fn ways_out(sink: &SinkStatus) -> String {
    format!(
        "fix it and restart the daemon: nothing is lost; or {}, which gives up what the log keeps for the sink and reads its tables again",
        sink_reset(&sink.name)
    )
}

fn of_source(status: &Status) -> Option<Reason> {
    let source = &status.source;
    let verdict = match source.state {
        // Not before the first word from the server is it known that anything is copied.
        SourcePhase::Connecting | SourcePhase::Reconnecting => Verdict::Degraded,
        SourcePhase::Failed => Verdict::Failed,
        // A stream with an error is read, and nothing confirms that it is current.
        SourcePhase::Stopped | SourcePhase::Streaming if source.error.is_some() => Verdict::Degraded,
        // A full log is the log's reason.
        SourcePhase::Stopped | SourcePhase::Streaming | SourcePhase::LogFull => return None,
    };
    let never = || (source.state == SourcePhase::Connecting).then(|| "it was not reached yet".to_owned());
    Some(Reason {
        since: source.since.clone(),
        why: source.error.clone().or_else(never),
        ..Reason::new(verdict, What::Source, source.state.as_str())
    })
}

fn of_sink(sink: &SinkStatus) -> Option<Reason> {
    let verdict = match sink.state {
        SinkPhase::Retrying | SinkPhase::Unconfigured | SinkPhase::Paused => Verdict::Degraded,
        SinkPhase::Failed | SinkPhase::Detached => Verdict::Failed,
        SinkPhase::Stopped if sink.error.is_some() => Verdict::Degraded,
        SinkPhase::Opening | SinkPhase::Running | SinkPhase::Stopped | SinkPhase::NotStarted => return None,
    };
    Some(Reason {
        sink: Some(sink.name.clone()),
        since: sink.since.clone(),
        why: sink.error.clone(),
        remedy: sink.remedy.clone(),
        ..Reason::new(verdict, What::Sink, sink.state.as_str())
    })
}

/// Rows that are missing at a sink, until somebody settles that.
fn of_letters(sink: &SinkStatus) -> Option<Reason> {
    let why = match sink.dead_letters.count {
        0 => return None,
        1 => "1 row change could not be written".to_owned(),
        count => format!("{count} row changes could not be written"),
    };
    Some(Reason {
        sink: Some(sink.name.clone()),
        why: Some(why),
        remedy: Some(format!("replicator dlq list --sink {}", as_word(&sink.name))),
        ..Reason::new(Verdict::Degraded, What::Sink, "dead_letters")
    })
}

/// What is wrong with tables: once for a table where it is the same at all sinks, else once for each sink.
fn of_tables(status: &Status, reasons: &mut Vec<Reason>) {
    let has_room = status.wal.bytes <= status.wal.capacity_bytes / 2;
    let of_state = |stated: &StateStatus, sink, table| of_state(stated, sink, table, has_room);
    let mut named: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
    for table in &status.tables {
        let everywhere = of_state(&table.stated, None, table);
        let at_sinks: Vec<Option<Reason>> =
            table.sinks.iter().map(|(sink, at)| of_state(&at.stated, Some(sink), table)).collect();
        let is_same =
            |at: &Option<Reason>| at.as_ref().map(|reason| Reason { sink: None, ..reason.clone() }) == everywhere;
        let all = if at_sinks.iter().all(is_same) { vec![everywhere] } else { at_sinks };
        for reason in all.into_iter().flatten() {
            let sink = reason.sink.clone();
            let count = named.entry((reason.state.clone(), sink)).or_default();
            *count += 1;
            if *count <= NAMED {
                reasons.push(reason);
            }
        }
    }
    for ((state, sink), count) in named {
        if let Some(more) = count.checked_sub(NAMED).filter(|more| *more > 0) {
            let (status, filter) = match state.as_str() {
                IN_DOUBT => (Verdict::Degraded, State::Reading.as_str()),
                SKIPPED => (Verdict::Degraded, State::LeftOut.as_str()),
                other => (Verdict::Failed, other),
            };
            reasons.push(Reason {
                sink,
                why: Some(format!("{more} more tables")),
                remedy: Some(format!("replicator status --state {filter}")),
                ..Reason::new(status, What::Tables, &state)
            });
        }
    }
}

/// The word for a table that waits to be read because it is not known what its rows are.
const IN_DOUBT: &str = "in_doubt";

/// The word for a table that an operator has left out.
const SKIPPED: &str = "skipped";

fn of_state(stated: &StateStatus, sink: Option<&String>, table: &TableStatus, has_room: bool) -> Option<Reason> {
    let state = stated.state?;
    let (verdict, word) = if stated.is_failed() {
        (Verdict::Failed, state.as_str())
    } else if stated.by_operator {
        (Verdict::Degraded, SKIPPED)
    } else if stated.waiting_doubt || (!stated.by_nature && sink.is_some_and(|sink| is_doubted(table, sink))) {
        (Verdict::Degraded, IN_DOUBT)
    } else {
        return None;
    };
    let doubt = sink.and_then(|sink| table.sinks.get(sink)?.doubt.clone());
    let mut why = if word == IN_DOUBT { doubt.or_else(|| stated.why.clone()) } else { stated.why.clone() };
    if let Some(why) = why.as_mut().filter(|_| stated.by_itself && !has_room) {
        why.push_str("; it is read by itself once the log is no more than half full");
    }
    let waits = stated.by_itself && (stated.until.is_some() || !has_room);
    Some(Reason {
        sink: sink.cloned(),
        table: Some(table.table.clone()),
        since: stated.since.clone(),
        since_lsn: stated.since_lsn,
        why,
        until: stated.until.clone(),
        remedy: remedy_of(stated, &table.table).or_else(|| waits.then(|| read_again(&table.table))),
        ..Reason::new(verdict, What::Table, word)
    })
}

fn is_doubted(table: &TableStatus, sink: &str) -> bool {
    table.sinks.get(sink).is_some_and(|at| at.doubt.is_some())
}

/// The command that settles the state of a table, if there is one.
pub fn remedy_of(stated: &StateStatus, table: &str) -> Option<String> {
    match stated.state? {
        State::LeftOut if stated.by_nature => None,
        State::LeftOut if stated.by_operator => Some(table_resume(&as_word(table))),
        State::LeftOut | State::Stopped => Some(read_again(table)),
        State::Complete | State::Reading | State::Unreadable => None,
    }
}

/// The command that reads a table again in place of what the sinks have.
fn read_again(table: &str) -> String {
    format!("replicator backfill --replace --table {}", as_word(table))
}

#[cfg(test)]
pub(super) mod tests;
