//! What is wrong with one table stops that table alone: its rows are left out from there on, the stop is written down before the round ends, and
//! the other tables go on. It comes back when its content is read again, or when it is no more at the source.
//!
//! A stop is released when the target is opened, if the table is not captured any more, or if the configuration of the table is another one than
//! the one under which it stopped.

use std::collections::{BTreeMap, HashMap, HashSet};

use wal::Lsn;

use super::definitions::{Definitions, Stop};
use super::follow;
use super::follow::replace::given_up;
use super::refusals;
use super::registry::{StoredOptions, not_readable, unfit};
use super::rows;
use super::{Captured, StoppedTable};
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;

/// The stopped tables of a sink.
#[derive(Debug, Default)]
pub(super) struct Stops {
    stopped: BTreeMap<TableName, StoppedTable>,
    /// Those of them that the source does not have any more.
    dropped: HashSet<TableName>,
    /// Stops that are not written down yet.
    unwritten: HashSet<TableName>,
    /// What the configuration said of a table when it stopped, as it was written down.
    stopped_under: HashMap<TableName, StoredOptions>,
    /// Since when tables were stopped whose replace is being tried.
    before: HashMap<TableName, Lsn>,
}

impl Stops {
    /// A stop that is written down at the target.
    pub(super) fn load(
        &mut self,
        table: TableName,
        why: StoppedTable,
        is_dropped: bool,
        options: Option<StoredOptions>,
    ) {
        if is_dropped {
            self.dropped.insert(table.clone());
        }
        if let Some(options) = options {
            self.stopped_under.insert(table.clone(), options);
        }
        self.stopped.insert(table, why);
    }

    /// The tables that are stopped.
    pub(super) fn all(&self) -> &BTreeMap<TableName, StoppedTable> {
        &self.stopped
    }

    /// The tables that are stopped, of a target that is let go of.
    pub(super) fn into_all(self) -> BTreeMap<TableName, StoppedTable> {
        self.stopped
    }

    /// The stop of a table.
    pub(super) fn get(&self, table: &TableName) -> Option<&StoppedTable> {
        self.stopped.get(table)
    }

    /// Whether the table is stopped.
    pub(super) fn has(&self, table: &TableName) -> bool {
        self.stopped.contains_key(table)
    }

    /// Takes a stop away for as long as the table is made again.
    pub(super) fn take(&mut self, table: &TableName) -> Option<StoppedTable> {
        self.stopped.remove(table)
    }

    /// Puts a stop back.
    pub(super) fn put_back(&mut self, table: &TableName, why: StoppedTable) {
        self.stopped.insert(table.clone(), why);
    }

    /// A replace has failed of a table that was stopped since this LSN: its next stop is as old.
    pub(super) fn remember(&mut self, table: &TableName, since: Lsn) {
        self.before.insert(table.clone(), since);
    }

    fn give_reason(&mut self, table: &TableName, reason: String) {
        if let Some(stopped) = self.stopped.get_mut(table)
            && stopped.reason != reason
        {
            stopped.reason = reason;
            self.unwritten.insert(table.clone());
        }
    }

    fn reason(&self, table: &TableName, why: &str) -> String {
        let way = if self.dropped.contains(table) { way_out(table) } else { way_back(table) };
        format!("{why} ({way})")
    }
}

/// What brings a stopped table back, for hints.
pub(super) fn way_back(table: &TableName) -> String {
    format!(
        "fix it, then run `replicator backfill --replace {}`: the copy is made again and its rows are read again",
        table.as_arguments()
    )
}

/// What is left to do about a stopped table that the source does not have any more.
fn way_out(table: &TableName) -> String {
    format!(
        "create it again at the source and run `replicator backfill --replace {}`, which makes a new copy; \
         or drop or rename the copy at the target and start the daemon again",
        table.as_arguments()
    )
}

/// Keeps a failure that is about one table to that table.
pub(super) fn contain<D: Definitions>(
    target: &mut D,
    table: &TableName,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    match done {
        Err(failure) if failure.class == ErrorClass::Row => {
            let since = since(target);
            stop_at(target, table, since, &failure.chain());
            Ok(())
        }
        other => other,
    }
}

/// From where on the rows of a table are left out that stops at the frame at hand. What a transaction of the target holds stays; else the rows of
/// the round go.
fn since<D: Definitions>(target: &D) -> Lsn {
    let followed = target.followed();
    if D::ATOMIC { followed.last } else { followed.began.unwrap_or(followed.last) }
}

/// What came of a request for one table: [`contain`] of a failure, weighed.
pub(super) async fn judge<D: Definitions>(
    target: &mut D,
    table: &TableName,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    match done {
        Ok(()) => refusals::accepted(target, table).await,
        Err(failure) => {
            let failure = refusals::weigh(target, table, failure).await;
            contain(target, table, Err(failure))
        }
    }
}

/// [`judge`] of a drop: no backfill fixes the table, because the source has none.
pub(super) async fn judge_drop<D: Definitions>(
    target: &mut D,
    table: &TableName,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    let Err(failure) = done else { return refusals::accepted(target, table).await };
    let failure = refusals::weigh(target, table, failure).await;
    if failure.class != ErrorClass::Row {
        return Err(failure);
    }
    stop_gone(target, table, &failure.chain());
    Ok(())
}

/// Stops a table. Rows from `since` on are left out.
pub(super) fn stop_at<D: Definitions>(target: &mut D, table: &TableName, since: Lsn, why: &str) {
    let stops = &mut target.followed_mut().stops;
    if let Some(stopped) = stops.stopped.get_mut(table) {
        // The round before it turns out to lack rows as well.
        if since < stopped.since {
            stopped.since = since;
            stops.unwritten.insert(table.clone());
        }
        return;
    }
    let reason = stops.reason(table, why);
    stop_because(target, table, since, &reason);
}

/// Stops a table that is not stopped, for a reason that says what is to be done.
fn stop_because<D: Definitions>(target: &mut D, table: &TableName, since: Lsn, reason: &str) {
    let stops = &mut target.followed_mut().stops;
    let since = stops.before.remove(table).map_or(since, |before| before.min(since));
    stops.stopped.insert(table.clone(), StoppedTable { since, reason: reason.to_owned() });
    stops.unwritten.insert(table.clone());
    tracing::error!(sink = %target.plan().name, %table, error = reason, "table stopped, the others go on");
    let given_up = target.give_up(table);
    let followed = target.followed_mut();
    followed.counts.skip(table, given_up);
    followed.writers.stop(table);
    if !D::ATOMIC {
        // They are left out with the table, and none of them is written.
        followed.letters.take_back(table, since);
    }
}

/// Stops a table because the source dropped it. What is left out of its copy can be read nowhere any more.
pub(super) fn stop_dropped<D: Definitions>(target: &mut D, table: &TableName) {
    let why = format!("{table} was dropped, and `ddl.drop_table` says to stop then");
    stop_gone(target, table, &why);
}

/// Stops a table that the source does not have any more.
pub(super) fn stop_gone<D: Definitions>(target: &mut D, table: &TableName, why: &str) {
    target.followed_mut().stops.dropped.insert(table.clone());
    let since = since(target);
    stop_at(target, table, since, why);
    let stops = &mut target.followed_mut().stops;
    let reason = stops.reason(table, why);
    stops.give_reason(table, reason);
}

/// The source has a table of this name, whatever became of an earlier one.
pub(super) fn is_at_source<D: Definitions>(target: &mut D, table: &TableName) {
    let stops = &mut target.followed_mut().stops;
    if stops.dropped.remove(table) {
        let reason = stops.reason(table, &format!("{table} was dropped, and there is another one at the source"));
        stops.give_reason(table, reason);
    }
}

/// Stops the tables for which a round was given up.
fn stop_doomed<D: Definitions>(target: &mut D, since: Lsn) {
    for (table, why) in std::mem::take(&mut target.followed_mut().doomed) {
        stop_at(target, &table, since, &why);
    }
}

/// What is to be stopped, and what no longer is, once after a target is opened: see [`Sink::review`](super::Sink::review).
pub(super) async fn review<D: Definitions>(
    target: &mut D,
    captured: &Captured,
) -> Result<Vec<(TableName, String)>, Failure> {
    let opened_at = target.followed().opened_at;
    let applied = opened_at.unwrap_or(Lsn::ZERO);
    let_go_of_dropped(target, applied).await?;
    release_left(target, applied, captured).await?;
    let since = opened_at.map_or(Lsn::ZERO, Lsn::next);
    stop_doomed(target, since);
    stop_unfit(target, since, captured).await?;
    let stops = &target.followed().stops;
    let differs = |(table, then): (&TableName, &StoredOptions)| {
        let now = StoredOptions::of(target.plan(), target.type_settings(), target.plan().options_for(table));
        let why = then.difference(&now, None)?;
        Some((table.clone(), format!("it was stopped under {why}")))
    };
    // A copy that no read brings again is not thrown away for a setting: somebody has to say so first.
    let is_kept = |table: &TableName| target.followed().tables.get(table).is_some_and(|table| table.seen().is_kept());
    let can_be_read = |table: &TableName| stops.has(table) && !stops.dropped.contains(table) && !is_kept(table);
    let under_other_options = stops.stopped_under.iter().filter_map(differs);
    // Also after a crash before the source has taken the wish.
    let unfit = unfit::<D::Dialect>(&target.followed().tables, target.plan(), &target.type_settings());
    let wished: BTreeMap<TableName, String> = under_other_options.chain(unfit).collect();
    Ok(wished.into_iter().filter(|(table, _)| can_be_read(table) && captured(table)).collect())
}

/// Ends the stops of tables that are neither at the source any more nor at the target: nothing is left out of anything.
async fn let_go_of_dropped<D: Definitions>(target: &mut D, applied: Lsn) -> Result<(), Failure> {
    for table in target.followed().stops.dropped.clone() {
        let line = target.followed().tables.get(&table).cloned();
        if let Some(line) = line {
            if target.find(&line.seen().target).await?.is_some() {
                continue;
            }
            // What was built beside the copy that somebody has dropped goes as well.
            target.drop_target(&table, &line.layout.target).await?;
        } else if follow::awaits_take_over(target, &table).await? {
            continue;
        }
        let version = next_version(target, applied, &table);
        forget(target, version, &table).await?;
        revive(target, version, &table).await?;
    }
    Ok(())
}

/// Ends the stops of tables that are not captured any more: nothing of them comes. What the target has of them stays.
async fn release_left<D: Definitions>(target: &mut D, applied: Lsn, captured: &Captured) -> Result<(), Failure> {
    let left: Vec<_> = target.followed().stops.all().keys().filter(|table| !captured(table)).cloned().collect();
    for table in left {
        let version = next_version(target, applied, &table);
        revive(target, version, &table).await?;
    }
    // A replace of it has no end.
    let lines = target.followed().tables.iter().filter(|(table, line)| line.old.is_some() && !captured(table));
    for (table, line) in lines.map(|(table, line)| (table.clone(), line.clone())).collect::<Vec<_>>() {
        let version = next_version(target, applied, &table);
        let seen = given_up(target, line).await?;
        follow::register(target, version, seen).await?;
    }
    Ok(())
}

/// Later than whatever is written of a table.
fn next_version<D: Definitions>(target: &D, applied: Lsn, table: &TableName) -> Lsn {
    let changes = &target.followed().changes;
    applied.max(changes.stop(table)).max(changes.done(table))
}

/// Stops captured tables that are not as the sink left them, whose lines are not readable, or whose configuration is another one than they were
/// made under.
async fn stop_unfit<D: Definitions>(target: &mut D, since: Lsn, captured: &Captured) -> Result<(), Failure> {
    let altered = target.altered().await?;
    for (table, why, is_read_again) in unfit_now(target, altered, captured) {
        if is_read_again {
            let why = format!("{why}: it is read again, in place of what is there");
            stop_because(target, &table, since, &why);
        } else {
            stop_at(target, &table, since, &why);
        }
    }
    write_stops(target).await
}

/// The tables that are to stop, why, and whether they are read again by themselves: where the configuration is another one, and a read brings
/// everything that the copy has.
fn unfit_now<D: Definitions>(
    target: &D,
    altered: Vec<(TableName, String)>,
    captured: &Captured,
) -> Vec<(TableName, String, bool)> {
    let followed = target.followed();
    let unreadable = followed.unreadable.iter().map(|name| (name.clone(), not_readable(name)));
    let unfit = unfit::<D::Dialect>(&followed.tables, target.plan(), &target.type_settings());
    let is_kept = |table: &TableName| followed.tables.get(table).is_some_and(|table| table.seen().is_kept());
    (altered.into_iter().chain(unreadable).map(|(table, why)| (table, why, false)))
        .chain(unfit.into_iter().map(|(table, why)| {
            let is_read_again = !is_kept(&table);
            (table, why, is_read_again)
        }))
        .filter(|(table, ..)| !followed.stops.has(table) && captured(table))
        .collect()
}

/// Writes the stops down that are not yet.
pub(super) async fn write_stops<D: Definitions>(target: &mut D) -> Result<(), Failure> {
    for table in std::mem::take(&mut target.followed_mut().stops.unwritten) {
        let Some(why) = target.followed().stops.get(&table).cloned() else { continue };
        // Later than whatever ended an earlier stop.
        let followed = target.followed();
        let version = followed.last.max(why.since).max(followed.changes.done(&table));
        let is_dropped = followed.stops.dropped.contains(&table);
        let options = StoredOptions::of(target.plan(), target.type_settings(), target.plan().options_for(&table));
        target.save_stop(version, &table, &Stop { why: &why, is_dropped, options: &options }).await?;
        if !D::ATOMIC {
            target.followed_mut().changes.note_stop(&table, version);
        }
        refusals::accepted(target, &table).await?;
    }
    Ok(())
}

/// The table is written again from `lsn` on.
pub(super) async fn revive<D: Definitions>(target: &mut D, lsn: Lsn, table: &TableName) -> Result<(), Failure> {
    let stops = &mut target.followed_mut().stops;
    stops.dropped.remove(table);
    if stops.stopped.remove(table).is_some() {
        stops.unwritten.remove(table);
        tracing::info!(sink = %target.plan().name, %table, "table is written again");
        target.end_stop(lsn, table).await?;
        if !D::ATOMIC {
            target.followed_mut().changes.note_stop(table, lsn);
        }
        rows::forget(target, table);
    }
    Ok(())
}

/// Ends a table's line.
pub(super) async fn forget<D: Definitions>(target: &mut D, lsn: Lsn, name: &TableName) -> Result<(), Failure> {
    target.replace_line(lsn, name, None).await?;
    let followed = target.followed_mut();
    if !D::ATOMIC {
        followed.changes.note_done(name, lsn);
    }
    followed.tables.remove(name);
    followed.letters.forget(name);
    rows::forget(target, name);
    Ok(())
}

/// Whether a registered table, or anything in its place, is at the target.
pub(super) async fn is_there<D: Definitions>(target: &mut D, name: &str) -> Result<bool, Failure> {
    Ok(target.find(name).await?.is_some())
}
