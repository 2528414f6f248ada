//! A table's whole content comes again. Readers do not see that: the new copy is built beside the old one, takes the changes meanwhile, and takes
//! the place of the old one where the replace ends. Until then the old copy stays as it was where the replace began.
//!
//! - A changelog loses nothing and gets a line: it stays where it is.
//! - The new copy has what somebody has added to the definition of the old one, unless somebody has altered that so that the sink cannot write it: then
//!   it is made as the configuration says.
//! - A new copy that a change of the key has emptied lacks rows, and waits for the replace that brings them.
//! - A mirror with soft deletion begins with the rows of the old copy, all of them marked as deleted. Without a key, a row that comes again cannot
//!   be told to be the one that was deleted: then only those that were deleted before.
//! - What no read brings again is not thrown away: where the configuration of a changelog or of a mirror with soft deletion has changed, the old
//!   copy stays at the target under another name.
//! - A replace that has no end (another one begins, the table goes) leaves nothing of its copy.

use wal::Lsn;

use super::rename::NOTHING_LOST;
use super::shared;
use super::{adopts, announce, is_free, may_hold, options_of, register, shape, shaped, stored_options, taken};
use crate::config::{DdlAction, Mode};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::sink::TakeOver;
use crate::sink::adopt::adopt;
use crate::sink::definitions::{At, Definitions, FREE_ROOM, Fate, Swap, TypeOf};
use crate::sink::layout::{Dialect, Layout, TargetType, beside, until};
use crate::sink::registry::{OldCopy, Table};
use crate::sink::rules::hides_on;
use crate::sink::stops::{is_there, revive, stop_gone, write_stops};

/// The name of the change, for a changelog's line and for messages.
const REPLACE: &str = "replace";

/// How the new content comes to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is no copy: a new one is made in its place.
    Alone,
    /// Into the changelog that is there.
    Append,
    /// Into a copy that is defined as the one that is there.
    Alike,
    /// Into a copy that is made as the configuration says.
    FromConfiguration,
}

/// What a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The rows that there are.
    Rows,
    /// Those that were deleted as well.
    WithDeleted,
    /// The changes.
    Changelog,
}

impl Form {
    fn of<T>(layout: &Layout<T>) -> Self {
        match (layout.mode, &layout.soft) {
            (Mode::History, _) => Self::Changelog,
            (Mode::Mirror, Some(_)) => Self::WithDeleted,
            (Mode::Mirror, None) => Self::Rows,
        }
    }
}

/// What is known of the copy that readers see.
#[derive(Clone, Copy, Debug)]
struct Seen {
    is_there: bool,
    /// The configuration is the one that it was made under.
    fits: bool,
    /// Somebody has changed it so that the sink cannot write it.
    is_altered: bool,
    form: Form,
}

fn way(seen: Seen) -> Way {
    match seen {
        Seen { is_there: false, .. } => Way::Alone,
        Seen { fits: true, form: Form::Changelog, .. } => Way::Append,
        // Of one that is altered, what no read brings again is tried to be kept.
        Seen { fits: true, is_altered: false, .. } | Seen { fits: true, form: Form::WithDeleted, .. } => Way::Alike,
        Seen { .. } => Way::FromConfiguration,
    }
}

/// The replace begins: also the way in which a stopped table comes back.
pub(super) async fn begin<D: Definitions>(target: &mut D, at: At<'_>, schema: &TableSchema) -> Result<(), Failure> {
    let name = &schema.name;
    let why = target.followed_mut().stops.take(name);
    let done = build(target, at, schema, why.is_some()).await;
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

async fn build<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    schema: &TableSchema,
    was_stopped: bool,
) -> Result<(), Failure> {
    let (name, lsn) = (&schema.name, at.lsn());
    let Some(line) = target.followed().tables.get(name).cloned() else {
        let at_target = target.plan().target_name(name);
        if adopts(target, &at_target).await? {
            return take_over_empty(target, lsn, schema, at_target).await;
        }
        return shape(target, lsn, schema, NOTHING_LOST).await;
    };
    hides_on(target.plan(), (&line.schema, schema), None)?;
    // Asked before the change is announced, from where on a table is expected to be in between.
    let is_altered = was_stopped && target.altered().await?.iter().any(|(table, _)| table == name);
    announce(target, lsn, name).await?;
    let copy = given_up(target, line).await?;
    target.followed_mut().tables.insert(name.clone(), copy.clone());
    let seen = Seen {
        is_there: !was_stopped || is_there(target, &copy.layout.target).await?,
        fits: copy.options.difference(&stored_options(target, schema), Some(&copy.schema)).is_none(),
        is_altered,
        form: Form::of(&copy.layout),
    };
    let way = way(seen);
    let is_in_place = matches!(way, Way::Alike | Way::FromConfiguration);
    if let Some(tag) = target.plan().source_tag.clone().filter(|_| is_in_place && copy.old.is_none()) {
        return shared::replace(target, at, (schema, copy), &tag).await;
    }
    if matches!(way, Way::Alike | Way::FromConfiguration) {
        has_room(target, name, &copy.layout.target).await?;
    }
    match way {
        Way::Alone => {
            target.drop_target(name, &copy.layout.target).await?;
            // Its line stays until the new one's is written.
            target.followed_mut().tables.remove(name);
            shape(target, lsn, schema, NOTHING_LOST).await
        }
        Way::Append => {
            target.append_mark(at, &copy.layout, REPLACE, None).await?;
            shape(target, lsn, schema, NOTHING_LOST).await
        }
        Way::Alike => {
            let new = match name_in_its_place(target, &copy) {
                // A rename that was not followed has left it under a name that is another table's.
                Some(moved) => {
                    is_free(target, lsn, name, &moved).await?;
                    // Of a try of this change before a crash.
                    target.drop_target(name, &moved).await?;
                    moved
                }
                None => beside(&copy.layout.target),
            };
            target.copy_beside(at, &copy.layout, &new).await?;
            let layout = Layout { target: new, ..copy.layout.clone() };
            let (schema_there, options) = (copy.schema.clone(), copy.options.clone());
            let old = Some(copy.into_old(lsn, true));
            let building = Table { old, ..Table::new(schema_there, options, layout) };
            let mut building = shaped(target, lsn, Some(building), schema, NOTHING_LOST).await?;
            if let Some(old) = &mut building.old {
                // Whatever is not in it comes now.
                old.lacks_rows = false;
            }
            register(target, lsn, building).await
        }
        Way::FromConfiguration => from_configuration(target, lsn, schema, copy).await,
    }
}

/// The name of the new copy where that is another one than the old copy has.
fn name_in_its_place<D: Definitions>(target: &D, copy: &Table<TypeOf<D>>) -> Option<String> {
    if target.policy().rename == DdlAction::Ignore {
        return None;
    }
    let at_target = target.plan().target_name(&copy.schema.name);
    let is_there = <D::Dialect as Dialect>::TABLES.is_one(&at_target, &copy.layout.target);
    (!is_there).then_some(at_target)
}

/// Makes the new copy as if there was no other one.
async fn from_configuration<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    schema: &TableSchema,
    copy: Table<TypeOf<D>>,
) -> Result<(), Failure> {
    let name = &schema.name;
    let options = options_of(target, schema);
    let at_target = target.plan().target_name(name);
    let is_beside = <D::Dialect as Dialect>::TABLES.is_one(&at_target, &copy.layout.target);
    let mut layout = Layout::new(target.dialect(), schema, &options, at_target)?;
    if is_beside {
        layout.target = beside(&copy.layout.target);
    }
    shared::make(target, lsn, schema, &layout).await?;
    let old = Some(copy.into_old(lsn, false));
    register(target, lsn, Table { old, ..Table::new(schema.clone(), stored_options(target, schema), layout) }).await
}

/// Takes a table over that no sink of replicator made, and whose rows come again: those that it has go. What no read brings
/// again is not thrown away, so that one with soft deletion is refused.
async fn take_over_empty<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    schema: &TableSchema,
    at_target: String,
) -> Result<(), Failure> {
    let name = &schema.name;
    may_hold(target, name, &at_target)?;
    let layout = Layout::new(target.dialect(), schema, &options_of(target, schema), at_target)?;
    if layout.is_kept() {
        return Err(taken(target, name, &layout.target, None));
    }
    adopt(target, lsn, schema, (&layout, false)).await?;
    target.make_views(&layout).await?;
    register(target, lsn, Table::new(schema.clone(), stored_options(target, schema), layout)).await
}

/// Makes an empty copy of this layout beside the one that has its name. The replace that fills it comes.
pub(super) async fn begin_empty<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    name: &TableName,
    layout: &mut Layout<TypeOf<D>>,
) -> Result<(), Failure> {
    layout.target = beside(&layout.target);
    target.drop_target(name, &layout.target).await?;
    target.create(lsn, name, layout).await
}

/// Refuses to build a second copy where there is no room for it: what a target does that is full concerns every table of it.
async fn has_room<D: Definitions>(target: &mut D, name: &TableName, at_target: &str) -> Result<(), Failure> {
    let Some(room) = target.room_beside(at_target).await? else { return Ok(()) };
    match room.lack(at_target, &target.location()) {
        None => Ok(()),
        Some(lack) => Err(Failure::row(format!("{name} is not replaced: {lack}")).hint(FREE_ROOM)),
    }
}

/// The replace ends: the new copy takes the place of the old one.
pub(super) async fn end<D: Definitions>(target: &mut D, lsn: Lsn, name: &TableName) -> Result<(), Failure> {
    let is_whole = |line: &&Table<TypeOf<D>>| line.old.as_ref().is_some_and(|old| !old.lacks_rows);
    let Some(line) = target.followed().tables.get(name).filter(is_whole).cloned() else { return Ok(()) };
    announce(target, lsn, name).await?;
    let table = swapped(target, line).await?;
    register(target, lsn, table).await
}

/// The target is taken over: what comes between there and what the new copies have is in no log, so each waits for another replace. What it has
/// of tables that the log does not capture stops: they may be gone, and another table of the name is not to be mixed with their rows.
pub(in crate::sink) async fn after_take_over<D: Definitions>(
    target: &mut D,
    taking: TakeOver<'_>,
) -> Result<(), Failure> {
    let TakeOver { at, captured, .. } = taking;
    for mut line in target.followed().tables.values().cloned().collect::<Vec<_>>() {
        let name = &line.schema.name;
        if !captured.contains(name) && !target.followed().stops.has(name) {
            stop_gone(target, name, &format!("{name} was no table of the log that took this target over"));
        }
        if let Some(old) = &mut line.old {
            old.lacks_rows = true;
            register(target, at, line).await?;
        }
    }
    write_stops(target).await
}

/// Puts the new copy in the place of the old one, if there is one. The line is the caller's to write.
pub(super) async fn swapped<D: Definitions>(
    target: &mut D,
    line: Table<TypeOf<D>>,
) -> Result<Table<TypeOf<D>>, Failure> {
    let Some(old) = &line.old else { return Ok(line) };
    if is_beside(&line.layout, old) {
        target.swap(swap(&line, old)).await?;
    } else if aside(&line, old).is_none() {
        target.drop_target(&line.schema.name, &old.layout.target).await?;
    }
    let Table { schema, options, mut layout, old } = line;
    if let Some(old) = old.filter(|old| is_beside(&layout, old)) {
        layout.target = old.layout.target;
    }
    target.make_views(&layout).await?;
    Ok(Table::new(schema, options, layout))
}

fn swap<'s, T: TargetType>(line: &'s Table<T>, old: &'s OldCopy<T>) -> Swap<'s> {
    let fate = match aside(line, old) {
        Some(aside) => Fate::SetAside(aside),
        None => Fate::Drop { is_alike: old.is_alike },
    };
    Swap { name: &line.schema.name, new: &line.layout.target, at_target: &old.layout.target, begun: old.since, fate }
}

/// Whether the new copy has a name of its own until the end of the replace. Else it has its name from the start: `table_name` has changed.
pub(super) fn is_beside<T>(layout: &Layout<T>, old: &OldCopy<T>) -> bool {
    layout.target == beside(&old.layout.target)
}

/// The name that the old copy keeps at the target, if it is not thrown away: what no read brings again, of another configuration.
fn aside<T: TargetType>(line: &Table<T>, old: &OldCopy<T>) -> Option<String> {
    let is_other = old.options.difference(&line.options, Some(&old.schema)).is_some();
    (is_other && old.layout.is_kept()).then(|| until(&old.layout.target, old.since))
}

/// Throws the new copy away: the replace has no end. Says what readers see then; the line is the caller's to write.
///
/// Where the end of the replace was cut off after the new copy had got its place, that is what they see, and the end is brought to its end.
pub(in crate::sink) async fn given_up<D: Definitions>(
    target: &mut D,
    line: Table<TypeOf<D>>,
) -> Result<Table<TypeOf<D>>, Failure> {
    let name = line.schema.name.clone();
    match &line.old {
        Some(old) if is_beside(&line.layout, old) && target.is_swapped(&swap(&line, old)).await? => {
            return swapped(target, line).await;
        }
        Some(_) => target.drop_target(&name, &line.layout.target).await?,
        // A begin that was refused half-way has left it, where nothing is taken back.
        None if D::ATOMIC => {}
        None => target.drop_target(&name, &beside(&line.layout.target)).await?,
    }
    Ok(line.shown())
}

/// The table is gone with all its copies, but for what no read brings again of another configuration.
pub(super) async fn drop_all<D: Definitions>(target: &mut D, line: Table<TypeOf<D>>) -> Result<(), Failure> {
    let name = line.schema.name.clone();
    let kept = line.old.as_ref().and_then(|old| aside(&line, old));
    let seen = given_up(target, line).await?;
    match kept {
        // Unless that was done already, and what is seen is the new one.
        Some(aside) if seen.layout.is_kept() => target.rename_target(&name, &seen.layout.target, &aside).await,
        Some(_) | None => target.drop_target(&name, &seen.layout.target).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::definitions::Room;

    #[test]
    fn a_copy_that_has_no_room_beside_it_says_what_it_lacks() {
        let room = |needed, free| Room { needed, free }.lack("t", "database \"x\"");
        assert_eq!(room(1 << 30, 1 << 30), None);
        let lack = room(3 << 30, 1 << 20).unwrap();
        assert!(
            lack.contains("\"t\"") && lack.contains("3.0 GiB") && lack.contains("1.0 MiB are free in database \"x\""),
            "{lack}"
        );
    }

    #[test]
    fn a_copy_is_built_beside_the_one_that_readers_see_and_a_changelog_goes_on() {
        let seen = Seen { is_there: true, fits: true, is_altered: false, form: Form::Rows };
        assert_eq!(way(seen), Way::Alike);
        assert_eq!(way(Seen { form: Form::Changelog, is_altered: true, ..seen }), Way::Append);
        assert_eq!(way(Seen { is_altered: true, ..seen }), Way::FromConfiguration);
        assert_eq!(
            way(Seen { is_altered: true, form: Form::WithDeleted, ..seen }),
            Way::Alike,
            "deleted rows are kept"
        );
        for form in [Form::Rows, Form::WithDeleted, Form::Changelog] {
            assert_eq!(way(Seen { fits: false, form, ..seen }), Way::FromConfiguration);
            assert_eq!(way(Seen { is_there: false, form, ..seen }), Way::Alone);
        }
    }
}
