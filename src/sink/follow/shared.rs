//! Several tables of the source in one table of the target: the tag of the source (`source_tag`) tells their rows apart, so what happens to one of
//! them happens to its rows alone. So a replace of a table with a tag is not built beside: its rows go, and come again.
//!
//! They are of one shape. What changes the shape for all is done once the last of them changes so: until then a table that changes alone stops, but
//! for a column that is added, which the others leave empty.

use super::{create, difference, options_of, register, shape, stored_options};
use crate::config::{Mode, SourceTag};
use crate::error::Failure;
use crate::model::{ColumnDefault, TableName, TableSchema};
use crate::sink::columns::NameRule;
use crate::sink::definitions::{At, Definitions, LayoutOf, Share, TypeOf};
use crate::sink::follow::rename::NOTHING_LOST;
use crate::sink::layout::{Dialect, Layout, until};
use crate::sink::registry::Table;
use crate::sink::reshape::{Step, Way};
use crate::sink::rules::tag_of;

/// The other tables of the source whose rows are under this name at the target.
fn others<'t, D: Definitions>(
    target: &'t D,
    name: &'t TableName,
    at_target: &'t str,
) -> impl Iterator<Item = &'t Table<TypeOf<D>>> {
    let rule: NameRule = <D::Dialect as Dialect>::TABLES;
    let tables = if target.plan().source_tag.is_some() { Some(&target.followed().tables) } else { None };
    let others = tables.into_iter().flatten().filter(move |(other, _)| *other != name).map(|(_, table)| table);
    others.filter(move |table| table.targets().any(|held| rule.is_one(held, at_target)))
}

/// The same without those that are stopped.
fn written<'t, D: Definitions>(
    target: &'t D,
    name: &'t TableName,
    at_target: &'t str,
) -> impl Iterator<Item = &'t Table<TypeOf<D>>> {
    others(target, name, at_target).filter(|table| !target.followed().stops.has(&table.schema.name))
}

/// Which rows of a target are those of a table, where others have rows in it as well.
pub(in crate::sink) fn share_of<D: Definitions>(target: &D, name: &TableName, at_target: &str) -> Option<Share> {
    let tag = target.plan().source_tag.as_ref()?;
    others(target, name, at_target).next()?;
    Some(Share { column: tag.column.clone(), tag: tag_of(tag, name) })
}

/// Whether a new table is to have its rows in a target that another one made: they have one shape. `None`: no other one has rows there.
pub(super) fn joins<D: Definitions>(target: &D, name: &TableName, layout: &LayoutOf<D>) -> Option<Result<(), Failure>> {
    let other = others(target, name, &layout.target).next()?;
    let is_written_there = <D::Dialect as Dialect>::TABLES.is_one(&other.layout.target, &layout.target);
    if is_written_there && is_alike(&other.layout, layout) {
        return Some(Ok(()));
    }
    Some(Err(another_shape(name, layout, &other.schema.name)))
}

fn is_alike<T: PartialEq>(one: &Layout<T>, other: &Layout<T>) -> bool {
    let columns = |layout: &Layout<T>| layout.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let have_types = one.columns.iter().zip(&other.columns).all(|(one, other)| one.ty == other.ty);
    columns(one) == columns(other)
        && have_types
        && one.key == other.key
        && one.mode == other.mode
        && one.soft == other.soft
}

fn another_shape<T>(name: &TableName, layout: &Layout<T>, other: &TableName) -> Failure {
    Failure::row(format!("{name} would share \"{}\" with {other}, and is of another shape", layout.target)).hint(
        "give both one definition, or keep them apart with {database} in the sink's `table_name`; then have the table read again",
    )
}

/// Whether another one of those that share a target has changed its shape so before: nothing is left to do then.
///
/// # Errors
/// Of class `Row`, where columns that came with that may have other values in the rows of this table.
pub(super) fn is_changed_already<D: Definitions>(
    target: &D,
    old: &Table<TypeOf<D>>,
    (schema, wanted): (&TableSchema, &LayoutOf<D>),
) -> Result<bool, Failure> {
    let name = &schema.name;
    let Some(other) = written(target, name, &wanted.target).find(|other| is_alike(&other.layout, wanted)) else {
        return Ok(false);
    };
    let defaults = |of: &TableSchema, name: &str| Some(of.columns.get(of.column_index(name)?)?.default.clone());
    for column in schema.columns.iter().filter(|column| old.schema.column_index(&column.name).is_none()) {
        let there = defaults(&other.schema, &column.name).filter(|default| *default != ColumnDefault::Unknown);
        if there.as_ref() != Some(&column.default) {
            return Err(Failure::row(format!(
                "column \"{}\" of {name} was added to \"{}\" with {}, and what older rows have in it may be something else",
                column.name, wanted.target, other.schema.name
            ))
            .hint("have the table read again"));
        }
    }
    Ok(true)
}

/// Refuses a change of the shape that those who share the target do not make as well.
pub(super) fn may_change<D: Definitions>(
    target: &D,
    name: &TableName,
    wanted: &LayoutOf<D>,
    way: &Way,
) -> Result<(), Failure> {
    let Some(other) = written(target, name, &wanted.target).next() else { return Ok(()) };
    match way {
        Way::Alter(steps) if steps.iter().all(|step| matches!(step, Step::Add { .. })) => Ok(()),
        _ => Err(another_shape(name, wanted, &other.schema.name)),
    }
}

/// A replace of a table whose rows have a tag: its own rows go, and come again in the same target. Readers see those of the others all the time.
pub(super) async fn replace<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    (schema, copy): (&TableSchema, Table<TypeOf<D>>),
    tag: &SourceTag,
) -> Result<(), Failure> {
    let (name, lsn) = (&schema.name, at.lsn());
    let stored = stored_options(target, schema);
    if copy.options.difference(&stored, Some(&copy.schema)).is_none() {
        let share = Share { column: tag.column.clone(), tag: tag_of(tag, name) };
        take_out(target, at, &copy.layout, ("replace", Some(&share))).await?;
        return shape(target, lsn, schema, NOTHING_LOST).await;
    }
    let at_target = copy.layout.target.clone();
    let wanted = Layout::new(target.dialect(), schema, &options_of(target, schema), target.plan().target_name(name))?;
    let is_same_target = <D::Dialect as Dialect>::TABLES.is_one(&wanted.target, &at_target);
    // One of those that share the target has come again under this configuration, and has made it as that says.
    let is_made = written(target, name, &wanted.target)
        .any(|other| difference(target, other).is_none() && is_alike(&other.layout, &wanted));
    let is_tag_the_same = copy.options.tag().as_ref() == Some(tag);
    if is_same_target && is_tag_the_same && is_alike(&copy.layout, &wanted) && !wanted.is_kept() {
        // The rule is about its rows alone, such as `rows` and the key of hashes.
        let share = Share { column: tag.column.clone(), tag: tag_of(tag, name) };
        take_out(target, at, &copy.layout, ("replace", Some(&share))).await?;
    } else if !is_made {
        if let Some(other) = written(target, name, &wanted.target).next() {
            return Err(another_shape(name, &wanted, &other.schema.name));
        }
        if is_same_target {
            make_room(target, lsn, name, (&at_target, copy.layout.is_kept())).await?;
        } else {
            super::is_free(target, lsn, name, &wanted.target).await?;
        }
        target.create(lsn, name, &wanted).await?;
    }
    register(target, lsn, Table::new(schema.clone(), stored, wanted)).await?;
    if !is_same_target && !copy.layout.is_kept() && others(target, name, &at_target).next().is_none() {
        // The last one that had rows there.
        target.drop_target(name, &at_target).await?;
    }
    Ok(())
}

/// Takes the rows of a table out of its target, or marks them. `share`: others have rows there.
pub(super) async fn take_out<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    layout: &LayoutOf<D>,
    (op, share): (&str, Option<&Share>),
) -> Result<(), Failure> {
    match (layout.mode, &layout.soft) {
        (Mode::History, _) => target.append_mark(at, layout, op, None).await,
        (Mode::Mirror, None) => target.empty(at.lsn(), layout, op, share).await,
        (Mode::Mirror, Some(_)) => target.mark_deleted(at, layout, op, share).await,
    }
}

/// The copy of a table goes: with its target, unless others have rows in it.
pub(super) async fn drop_copy<D: Definitions>(
    target: &mut D,
    lsn: wal::Lsn,
    name: &TableName,
    layout: &LayoutOf<D>,
) -> Result<(), Failure> {
    match share_of(target, name, &layout.target) {
        Some(share) => target.empty(lsn, layout, "drop", Some(&share)).await,
        None => target.drop_target(name, &layout.target).await,
    }
}

/// Refuses another name for a table whose target others share, and for one whose rows have another tag under it.
pub(super) fn may_be_renamed<D: Definitions>(
    target: &D,
    (from, to): (&TableName, &TableName),
    at_target: &str,
) -> Result<(), Failure> {
    let Some(tag) = &target.plan().source_tag else { return Ok(()) };
    let hint = "have the table read again under its new name";
    if let Some(other) = others(target, from, at_target).next() {
        let other = &other.schema.name;
        let why = format!("{from} was renamed to {to}, and shares \"{at_target}\" with {other}");
        return Err(Failure::row(why).hint(hint));
    }
    if tag_of(tag, from) != tag_of(tag, to) {
        let why = format!("{from} was renamed to {to}, and its rows have the tag of its old database");
        return Err(Failure::row(why).hint(hint));
    }
    Ok(())
}

/// Makes a table, or joins those that have its target.
pub(super) async fn make<D: Definitions>(
    target: &mut D,
    lsn: wal::Lsn,
    schema: &TableSchema,
    layout: &LayoutOf<D>,
) -> Result<(), Failure> {
    match joins(target, &schema.name, layout) {
        Some(Err(_)) if is_to_be_made_again(target, &schema.name, &layout.target) => {
            let is_kept = others(target, &schema.name, &layout.target).any(|other| other.layout.is_kept());
            make_room(target, lsn, &schema.name, (&layout.target, is_kept)).await?;
            target.create(lsn, &schema.name, layout).await
        }
        Some(joined) => joined,
        None => create(target, lsn, schema, layout).await,
    }
}

/// Whether all that have rows in a target come again, under another configuration than it was made under.
fn is_to_be_made_again<D: Definitions>(target: &D, name: &TableName, at_target: &str) -> bool {
    written(target, name, at_target).next().is_none()
        && others(target, name, at_target).all(|other| difference(target, other).is_some())
}

/// Takes a target out of the way of the one that is made in its place. One that has what no read brings again is kept under another name.
async fn make_room<D: Definitions>(
    target: &mut D,
    lsn: wal::Lsn,
    name: &TableName,
    (at_target, is_kept): (&str, bool),
) -> Result<(), Failure> {
    if is_kept {
        return target.rename_target(name, at_target, &until(at_target, lsn)).await;
    }
    target.drop_target(name, at_target).await
}
