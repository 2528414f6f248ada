//! Changes of a table's whole content: truncated, dropped, replaced.
//!
//! A changelog gets a line and loses nothing, also of what happened that nobody knows: a gap, with its reason. Rows of a mirror with soft
//! deletion are marked.

use super::{announce, fits, notes_gaps, register, shape};
use crate::config::{DdlAction, Mode};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::sink::definitions::{At, Definitions, TypeOf};
use crate::sink::layout::Layout;
use crate::sink::reshape::Follows;
use crate::sink::stops::{forget, is_there, revive, stop_dropped};

pub(super) async fn truncate<D: Definitions>(target: &mut D, at: At<'_>, name: &TableName) -> Result<(), Failure> {
    match target.policy().truncate {
        DdlAction::Apply => {}
        DdlAction::Ignore => return Ok(()),
        DdlAction::Stop => {
            return Err(Failure::row(format!("{name} was truncated, and `ddl.truncate` says to stop then")));
        }
    }
    let Some(table) = target.followed().tables.get(name).cloned() else { return Ok(()) };
    announce(target, at.lsn(), name).await?;
    empty(target, at, &table.layout, "truncate").await?;
    register(target, at.lsn(), table).await
}

/// Hides or removes the rows that are there; `op` says why, for a changelog.
async fn empty<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    layout: &Layout<TypeOf<D>>,
    op: &str,
) -> Result<(), Failure> {
    match (layout.mode, &layout.soft) {
        (Mode::History, _) => target.append_mark(at, layout, op, None).await,
        (Mode::Mirror, None) => target.empty(at.lsn(), layout, op).await,
        (Mode::Mirror, Some(_)) => target.mark_deleted(at, layout, op, op == REPLACE).await,
    }
}

/// Why a table is emptied whose rows come again.
const REPLACE: &str = "replace";

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

pub(super) async fn drop_table<D: Definitions>(target: &mut D, at: At<'_>, name: &TableName) -> Result<(), Failure> {
    let Some(table) = target.followed().tables.get(name).cloned() else { return Ok(()) };
    match target.policy().drop_table {
        DdlAction::Apply => {}
        DdlAction::Ignore => return Ok(()),
        DdlAction::Stop => {
            stop_dropped(target, name);
            return Ok(());
        }
    }
    announce(target, at.lsn(), name).await?;
    if table.layout.is_kept() {
        empty(target, at, &table.layout, "drop").await?;
        return register(target, at.lsn(), table).await;
    }
    target.drop_target(name, &table.layout.target).await?;
    forget(target, at.lsn(), name).await
}

/// A stopped table that is no more at the source: nothing of it will ever be left out again, or read again.
pub(super) async fn drop_stopped<D: Definitions>(target: &mut D, at: At<'_>, name: &TableName) -> Result<(), Failure> {
    let table = target.followed().tables.get(name).cloned();
    let is_there = match &table {
        Some(table) => is_there(target, &table.layout.target).await?,
        None => false,
    };
    match (target.policy().drop_table, table) {
        (DdlAction::Stop, _) => {
            stop_dropped(target, name);
            return Ok(());
        }
        (DdlAction::Ignore, Some(table)) if is_there => {
            tracing::warn!(
                sink = %target.plan().name, table = %name, target = table.layout.target,
                "a stopped table was dropped at the source: the copy stays as it was when it stopped"
            );
            register(target, at.lsn(), table).await?;
        }
        (DdlAction::Apply, Some(table)) if table.layout.is_kept() && is_there => {
            empty(target, at, &table.layout, "drop").await?;
            register(target, at.lsn(), table).await?;
        }
        (DdlAction::Apply, Some(table)) => {
            target.drop_target(name, &table.layout.target).await?;
            forget(target, at.lsn(), name).await?;
        }
        (DdlAction::Ignore | DdlAction::Apply, _) => forget(target, at.lsn(), name).await?,
    }
    revive(target, at.lsn(), name).await
}

/// The table's whole content comes again: also the way in which a stopped table comes back.
pub(super) async fn replace<D: Definitions>(target: &mut D, at: At<'_>, schema: &TableSchema) -> Result<(), Failure> {
    let name = &schema.name;
    let why = target.followed_mut().stops.take(name);
    let done = replace_content(target, at, schema, why.is_some()).await;
    match (why, &done) {
        (None, _) => {}
        (Some(why), Ok(())) => {
            target.followed_mut().stops.put_back(name, why);
            revive(target, at.lsn(), name).await?;
        }
        // It is stopped again, for this reason, and since then.
        (Some(why), Err(failure)) if failure.class == ErrorClass::Row => {
            target.followed_mut().stops.remember(name, why.since);
        }
        (Some(why), Err(_)) => target.followed_mut().stops.put_back(name, why),
    }
    done
}

async fn replace_content<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    schema: &TableSchema,
    was_stopped: bool,
) -> Result<(), Failure> {
    let name = &schema.name;
    if let Some(table) = target.followed().tables.get(name).cloned() {
        let is_lost = was_stopped && (!table.layout.is_kept() || !is_there(target, &table.layout.target).await?);
        if is_lost {
            // It is made again, whatever became of it. Its line stays until the new one's is written.
            target.drop_target(name, &table.layout.target).await?;
            target.followed_mut().tables.remove(name);
        } else {
            fits(target, &table)?;
            announce(target, at.lsn(), name).await?;
            empty(target, at, &table.layout, REPLACE).await?;
        }
    }
    shape(target, at.lsn(), schema, Follows { renamed: &[], lost: true }).await
}
