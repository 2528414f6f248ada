//! Changes of a table's whole content: truncated, dropped.
//!
//! A changelog gets a line and loses nothing, also of what happened that nobody knows: a gap, with its reason. Rows of a mirror with soft
//! deletion are marked.

use super::replace::{drop_all, given_up, swapped};
use super::shared::{drop_copy, share_of, take_out};
use super::{announce, awaits_take_over, notes_gaps, outlived, register};
use crate::config::{DdlAction, Mode};
use crate::error::Failure;
use crate::model::TableName;
use crate::sink::definitions::{At, Definitions, TypeOf};
use crate::sink::registry::Table;
use crate::sink::stops::{forget, is_there, revive, stop_dropped};

pub(super) async fn truncate<D: Definitions>(target: &mut D, at: At<'_>, name: &TableName) -> Result<(), Failure> {
    match target.policy().truncate {
        DdlAction::Apply => {}
        DdlAction::Ignore => return Ok(()),
        DdlAction::Stop => {
            return Err(Failure::row(format!("{name} was truncated, and `ddl.truncate` says to stop then")));
        }
    }
    let Some(table) = target.followed().tables.get(name).cloned() else {
        return if awaits_take_over(target, name).await? { Err(outlived(name, "truncated")) } else { Ok(()) };
    };
    announce(target, at.lsn(), name).await?;
    empty(target, at, &table, "truncate").await?;
    register(target, at.lsn(), table).await
}

/// Hides or removes the rows that are there; `op` says why, for a changelog.
async fn empty<D: Definitions>(target: &mut D, at: At<'_>, table: &Table<TypeOf<D>>, op: &str) -> Result<(), Failure> {
    let share = share_of(target, &table.schema.name, &table.layout.target);
    take_out(target, at, &table.layout, (op, share.as_ref())).await
}

/// From here on a changelog may not have every change. Its line has the version of its place, so that a line that is written again is the same
/// one: how far it has come need not be registered.
pub(super) async fn gap<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    name: &TableName,
    reason: &str,
) -> Result<(), Failure> {
    if !notes_gaps(target, name) {
        return Ok(());
    }
    let Some(layout) = target.followed().tables.get(name).map(|table| table.layout.clone()) else { return Ok(()) };
    target.append_mark(at, &layout, "gap", Some(reason)).await
}

/// One that is being replaced goes with both of its copies. Where rows that it deleted are kept, those of the new copy are all there are.
pub(super) async fn drop_table<D: Definitions>(target: &mut D, at: At<'_>, name: &TableName) -> Result<(), Failure> {
    let Some(table) = target.followed().tables.get(name).cloned() else {
        let is_left = target.policy().drop_table != DdlAction::Ignore && awaits_take_over(target, name).await?;
        return if is_left { Err(outlived(name, "dropped")) } else { Ok(()) };
    };
    match target.policy().drop_table {
        DdlAction::Apply => {}
        DdlAction::Ignore if table.old.is_none() => return Ok(()),
        DdlAction::Ignore => {
            announce(target, at.lsn(), name).await?;
            let left = given_up(target, table).await?;
            return register(target, at.lsn(), left).await;
        }
        DdlAction::Stop => {
            stop_dropped(target, name);
            return Ok(());
        }
    }
    announce(target, at.lsn(), name).await?;
    if table.layout.is_kept() {
        // Without a key, the new copy has not the rows that have yet to come: they were never marked.
        let is_told_apart = table.layout.mode == Mode::History || !table.layout.key.is_empty();
        let table = if is_told_apart { swapped(target, table).await? } else { given_up(target, table).await? };
        empty(target, at, &table, "drop").await?;
        return register(target, at.lsn(), table).await;
    }
    if share_of(target, name, &table.layout.target).is_some() {
        drop_copy(target, at.lsn(), name, &table.layout).await?;
        return forget(target, at.lsn(), name).await;
    }
    drop_all(target, table).await?;
    forget(target, at.lsn(), name).await
}

/// A stopped table that is no more at the source: nothing of it will ever be left out again, or read again.
pub(super) async fn drop_stopped<D: Definitions>(target: &mut D, at: At<'_>, name: &TableName) -> Result<(), Failure> {
    if target.policy().drop_table == DdlAction::Stop {
        stop_dropped(target, name);
        return Ok(());
    }
    if awaits_take_over(target, name).await? {
        return Err(outlived(name, "dropped"));
    }
    // What was built beside the copy when it stopped has not all of its rows.
    let table = match target.followed().tables.get(name).cloned() {
        Some(line) => Some(given_up(target, line).await?),
        None => None,
    };
    let is_there = match &table {
        Some(table) => is_there(target, &table.layout.target).await?,
        None => false,
    };
    match (target.policy().drop_table, table) {
        (DdlAction::Ignore, Some(table)) if is_there => {
            tracing::warn!(
                sink = %target.plan().name, table = %name, target = table.layout.target,
                "a stopped table was dropped at the source: the copy stays as it was when it stopped"
            );
            register(target, at.lsn(), table).await?;
        }
        (DdlAction::Apply, Some(table)) if table.layout.is_kept() && is_there => {
            empty(target, at, &table, "drop").await?;
            register(target, at.lsn(), table).await?;
        }
        (DdlAction::Apply, Some(table)) => {
            drop_copy(target, at.lsn(), name, &table.layout).await?;
            forget(target, at.lsn(), name).await?;
        }
        (DdlAction::Ignore | DdlAction::Apply | DdlAction::Stop, _) => forget(target, at.lsn(), name).await?,
    }
    revive(target, at.lsn(), name).await
}
