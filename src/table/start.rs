//! What a start makes of the tables: those that the log knows, and those that the source has.

use std::collections::{BTreeMap, BTreeSet};

use wal::Lsn;

use super::doubt::Cause;
use super::event::{Action, At, Event, Presence, Start};
use super::record::{Ask, Reach, Read, TableRecord};
use super::step::step;
use crate::codec::frame::Audience;
use crate::model::{FilePos, Rules, TableName};

/// What is known at a start.
#[derive(Debug)]
pub struct Starting<'a, F, R> {
    /// What the log knows.
    pub records: Vec<(TableName, TableRecord)>,
    /// Doubts that were stored beside the groups, and why.
    pub asked: Vec<(TableName, String)>,
    /// What the source says of tables.
    pub found: &'a BTreeMap<TableName, Presence>,
    /// The end of the binlog after that.
    pub end: FilePos,
    /// The stream goes on from there.
    pub is_there: bool,
    /// Sinks that are configured.
    pub configured: &'a [String],
    /// Whether the configuration captures a table.
    pub captures: F,
    /// What it says of doubts about a table.
    pub rules: R,
    /// Sinks that have a cursor.
    pub sinks: &'a [String],
    /// Whether rows that were there before are read (`startup_mode: initial`).
    pub initial: bool,
    /// The stream goes on at a place that it has not come to, and why.
    pub skipped: Option<&'a str>,
}

/// What a start comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The records that have changed.
    pub changed: Vec<(TableName, TableRecord)>,
    /// What an operator is told of tables.
    pub told: Vec<(TableName, String)>,
}

/// The records after a start.
pub fn start<F, R>(starting: Starting<'_, F, R>, (lsn, micros): (Lsn, i64)) -> Started
where
    F: Fn(&TableName) -> bool,
    R: Fn(&TableName) -> Rules,
{
    let Starting { records, asked, found, end, is_there, captures, rules, sinks, configured, initial, skipped } =
        starting;
    let records: BTreeMap<TableName, TableRecord> = records.into_iter().collect();
    let asked: BTreeMap<TableName, String> = asked.into_iter().collect();
    let names: BTreeSet<&TableName> = records.keys().chain(found.keys()).chain(asked.keys()).collect();
    let mut started = Started::default();
    for name in names {
        let before = records.get(name).cloned().unwrap_or_default();
        let mut after = before.clone();
        let at = At { lsn, micros, rules: rules(name) };
        let mut take = |after: &mut TableRecord, event| {
            let (next, actions) = step(after, event, at);
            *after = next;
            for action in actions {
                match action {
                    Action::Tell(what) => started.told.push((name.clone(), what)),
                    // Nothing goes to the log here: it is said when the read begins.
                    Action::Gap { .. } => after.is_not_told(),
                    _ => {}
                }
            }
        };
        if captures(name) {
            if let Some(why) = asked.get(name).filter(|_| skipped.is_none()) {
                take(&mut after, Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, why)));
            }
            let presence = found.get(name).cloned().unwrap_or(Presence::Unknown);
            let start = Start { presence, end: end.clone(), is_there, initial };
            take(
                &mut after,
                match skipped {
                    None => Event::Started(start),
                    Some(why) => Event::Skipped { start, why: why.to_owned() },
                },
            );
        } else {
            take(&mut after, Event::Excluded);
        }
        for sink in gone(&after, sinks) {
            take(&mut after, Event::SinkRemoved(sink));
        }
        take(&mut after, Event::Sinks(configured.to_vec()));
        if after != before {
            started.changed.push((name.clone(), after));
        }
    }
    started
}

/// Sinks for which a read is wanted and that have no cursor any more.
fn gone(record: &TableRecord, sinks: &[String]) -> Vec<String> {
    let named = |read: &Read| match &read.audience {
        Audience::All => Vec::new(),
        Audience::Sinks(named) => named.clone(),
    };
    let wanted = [&record.read, &record.next].into_iter().flatten().flat_map(named);
    wanted.filter(|sink| !sinks.contains(sink)).collect()
}
