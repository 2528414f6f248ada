//! Tables that get another name. The lines of both names change at once, and last.
//!
//! Where a rename is not followed, what is registered of the table goes to the new name, which is stopped: the old name is free for another
//! table, whose rows are never mixed with those that are there.

use super::replace::{given_up, is_beside};
use super::shared::{drop_copy, may_be_renamed, share_of};
use super::{announce, awaits_take_over, ended, outlived, shape, shaped, stored_options_as};
use crate::config::{DdlAction, Mode};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::sink::definitions::{At, Definitions, Found, TypeOf};
use crate::sink::layout::{TargetType, beside};
use crate::sink::refusals;
use crate::sink::registry::Table;
use crate::sink::reshape::Follows;
use crate::sink::rows;
use crate::sink::stops::{revive, stop_at, stop_gone, write_stops};

pub(super) const NOTHING_LOST: Follows<'static> = Follows { renamed: &[], lost: false };

pub(super) async fn rename<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    (from, to): (&TableName, &TableName),
    schema: &TableSchema,
) -> Result<(), Failure> {
    if awaits_take_over(target, from).await? {
        // The old name as well: another table that gets it would meet these rows.
        let failure = outlived(from, &format!("renamed to {to}"));
        stop_gone(target, from, &failure.chain());
        return Err(failure);
    }
    if let Some(why) = target.followed().stops.get(from) {
        let reason = format!("it was stopped under its old name {from}: {}", why.reason);
        return carry_stopped(target, at, (from, to), &reason).await;
    }
    target.attempt().await?;
    let followed = follow_rename(target, at, (from, to), schema).await;
    let Err(failure) = ended(target, from, followed).await? else { return refusals::accepted(target, from).await };
    let failure = refusals::weigh(target, from, failure).await;
    match failure.class {
        ErrorClass::Row => carry_stopped(target, at, (from, to), &failure.chain()).await,
        ErrorClass::Retry | ErrorClass::Fatal => Err(failure),
    }
}

async fn follow_rename<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    (from, to): (&TableName, &TableName),
    schema: &TableSchema,
) -> Result<(), Failure> {
    let Some(old) = target.followed().tables.get(from).cloned() else {
        return shape(target, at.lsn(), schema, NOTHING_LOST).await;
    };
    may_be_renamed(target, (from, to), &old.layout.target)?;
    let policy = target.policy().rename;
    if policy == DdlAction::Stop {
        return Err(Failure::row(format!("{from} was renamed to {to}, and `ddl.rename` says to stop then")));
    }
    let options = stored_options_as(target, to, &old.schema);
    if let Some(difference) = old.options.difference(&options, Some(&old.schema)) {
        return Err(Failure::row(format!(
            "{from} was renamed to {to}, and {from} is written with {difference} for {to}"
        ))
        .hint(format!("give {to} a rule in `tables` with the settings that {from} has")));
    }
    if let Some(kept) = target.followed().tables.get(to) {
        return Err(Failure::row(format!(
            "{from} was renamed to {to}, and what is left of an older {to} is still in \"{}\"",
            kept.layout.target
        )));
    }
    announce(target, at.lsn(), from).await?;
    let mut now = Table { options, ..old.clone() };
    now.schema.name = to.clone();
    if let Some(old) = &mut now.old {
        old.schema.name = to.clone();
    }
    if policy == DdlAction::Apply {
        take_name(&mut now, target.plan().target_name(to));
    }
    // What readers see first: its new name may be taken.
    let names: Vec<_> = old.targets().zip(now.targets()).filter(|(before, after)| before != after).collect();
    for (before, after) in names.into_iter().rev() {
        target.rename_target(to, before, after).await?;
    }
    if old.layout.mode == Mode::History {
        target.append_mark(at, &now.layout, "rename", None).await?;
    }
    let now = shaped(target, at.lsn(), Some(now), schema, NOTHING_LOST).await?;
    if now.old.is_some() {
        target.make_views(now.seen()).await?;
    }
    move_line(target, at, from, Some(now)).await
}

/// The table is under this name at the target. One that is being replaced has two copies there, the new one perhaps beside the old one.
fn take_name<T: TargetType>(table: &mut Table<T>, at_target: String) {
    let Table { layout, old, .. } = table;
    match old {
        Some(old) if is_beside(layout, old) => {
            layout.target = beside(&at_target);
            old.layout.target = at_target;
        }
        // Under another `table_name`, the old copy has no name to get.
        Some(_) | None => layout.target = at_target,
    }
}

/// The new name is stopped, with what there is of the table. What was built beside it goes.
async fn carry_stopped<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    (from, to): (&TableName, &TableName),
    reason: &str,
) -> Result<(), Failure> {
    let line = match target.followed().tables.get(from).cloned() {
        None => None,
        Some(line) => {
            let old = given_up(target, line).await?;
            let options = stored_options_as(target, to, &old.schema);
            let is_shared = share_of(target, from, &old.layout.target).is_some();
            let is_same = !is_shared && old.options.difference(&options, Some(&old.schema)).is_none();
            if is_same && !target.followed().tables.contains_key(to) {
                let mut now = old.clone();
                now.schema.name = to.clone();
                now.layout.target = carried_target(target, &old.layout.target, to).await?;
                Some(now)
            } else {
                if !old.layout.is_kept() {
                    drop_copy(target, at.lsn(), from, &old.layout).await?;
                }
                None
            }
        }
    };
    stop_at(target, to, at.lsn(), reason);
    write_stops(target).await?;
    move_line(target, at, from, line).await?;
    refusals::accepted(target, from).await?;
    revive(target, at.lsn(), from).await
}

/// Where a table that is not followed any more is after its rename: under its new name where that is free, so that the old one is too.
async fn carried_target<D: Definitions>(target: &mut D, old: &str, to: &TableName) -> Result<String, Failure> {
    let new = target.plan().target_name(to);
    if target.policy().rename != DdlAction::Apply || new == old {
        return Ok(old.to_owned());
    }
    let is_ours = |found: Option<Found>| matches!(found, Some(Found::Ours { .. }));
    let is_there = is_ours(target.find(old).await?);
    let found = target.find(&new).await?;
    if is_there && found.is_none() {
        return match target.rename_target(to, old, &new).await {
            Ok(()) => Ok(new),
            // It stays under the old name.
            Err(failure) if failure.class == ErrorClass::Row => Ok(old.to_owned()),
            Err(failure) => Err(failure),
        };
    }
    // Done before a crash, or nothing of it is there.
    Ok(if !is_there && is_ours(found) { new } else { old.to_owned() })
}

/// Ends the line of the old name and writes the one of the new name, if there is anything to say of it.
async fn move_line<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    from: &TableName,
    table: Option<Table<TypeOf<D>>>,
) -> Result<(), Failure> {
    target.replace_line(at.lsn(), from, table.as_ref()).await?;
    let followed = target.followed_mut();
    if !D::ATOMIC {
        followed.changes.note_done(from, at.lsn());
        if let Some(table) = &table {
            followed.changes.note_done(&table.schema.name, at.lsn());
        }
    }
    followed.tables.remove(from);
    let name = table.as_ref().map(|table| table.schema.name.clone());
    if let Some(table) = table {
        followed.tables.insert(table.schema.name.clone(), table);
    }
    rows::forget(target, from);
    if let Some(name) = name {
        rows::forget(target, &name);
    }
    Ok(())
}
