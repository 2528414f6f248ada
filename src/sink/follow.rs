//! What a change of a table's definition or whole content means, decided once for every sink; the target does it through its
//! [`Definitions`].
//!
//! - What the table is now is taken from the sink's own registry and from the target, never from the change alone.
//! - What `ddl` says is ignored leaves the table as it is; what it says stops the table, stops it.
//! - What the target refuses stops the table, with the statement and the reason; the others go on.
//!
//! `content` is about whole contents, `replace` about those that come again, `rename` about names, `shared` about tables that share a target.

mod content;
mod rename;
pub(super) mod replace;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::Lsn;

use super::adopt::{adopt, read_over};
use super::columns::NameRule;
use super::definitions::{At, Definitions, Found, Rebuild, TypeOf};
use super::layout::{self, Dialect, Layout};
use super::left::{Before, LeftColumn, left};
use super::registry::{OldCopy, StoredOptions, Table};
use super::reshape::{Follows, Forbidden, Origin, Way, reshape};
use super::rows;
use super::rules::{hides_on, missing_columns, shown_schema};
use super::stops::{self, contain, judge, judge_drop};
use crate::codec::frame::TableChange;
use crate::config::{DdlAction, Mode, TableOptions};
use crate::error::{ErrorClass, Failure};
use crate::model::{SchemaId, TableName, TableSchema};

/// Finds the schema of an id.
pub(super) type Lookup<'a> = dyn FnMut(SchemaId) -> Result<Arc<TableSchema>, Failure> + Send + 'a;

/// Applies a change; what is wrong with its table stops that table alone.
pub(super) async fn change<D: Definitions>(
    target: &mut D,
    at: At<'_>,
    change: &TableChange,
    lookup: &mut Lookup<'_>,
) -> Result<(), Failure> {
    let lsn = at.lsn();
    let table = change.table().clone();
    if is_done(target, lsn, change) {
        return end_again(target, lsn, change).await;
    }
    match change {
        TableChange::Drop { .. }
        | TableChange::Gap { .. }
        | TableChange::LeftOut { .. }
        | TableChange::ReplaceEnd { .. } => {}
        TableChange::Rename { to, .. } => stops::is_at_source(target, to),
        TableChange::Schema { .. } | TableChange::Truncate { .. } | TableChange::ReplaceBegin { .. } => {
            stops::is_at_source(target, &table);
        }
    }
    if let TableChange::Rename { from, to, schema } = change {
        let schema = shown_schema(target.plan(), lookup(*schema)?);
        // It is the new name that stops when the rename fails, so it weighs its failures itself. What cannot be carried over stops both
        // names: rows of either must not meet the other's.
        return match rename::rename(target, at, (from, to), &schema).await {
            Err(failure) if failure.class == ErrorClass::Row => {
                let why = failure.chain();
                contain(target, to, Err(Failure::row(why)))?;
                contain(target, &table, Err(failure))
            }
            other => other,
        };
    }
    let is_stopped = target.followed().stops.has(&table);
    target.attempt().await?;
    let done = match change {
        TableChange::ReplaceBegin { schema, .. } => match lookup(*schema) {
            Ok(schema) => replace::begin(target, at, &shown_schema(target.plan(), schema)).await,
            Err(failure) => Err(failure),
        },
        TableChange::Drop { table } if is_stopped => content::drop_stopped(target, at, table).await,
        TableChange::Drop { table } => content::drop_table(target, at, table).await,
        // It is made again from a read, whatever happens to it until then.
        TableChange::Schema { .. } | TableChange::Truncate { .. } | TableChange::ReplaceEnd { .. } if is_stopped => {
            Ok(())
        }
        TableChange::Schema { to, renamed, lost, .. } => match lookup(*to) {
            Ok(schema) => {
                shape(target, lsn, &shown_schema(target.plan(), schema), Follows { renamed, lost: *lost }).await
            }
            Err(failure) => Err(failure),
        },
        TableChange::Truncate { table } => content::truncate(target, at, table).await,
        TableChange::Gap { table, reason } | TableChange::LeftOut { table, reason } => {
            content::gap(target, at, table, reason).await
        }
        TableChange::ReplaceEnd { table } => replace::end(target, lsn, table).await,
        TableChange::Rename { .. } => Ok(()),
    };
    let done = ended(target, &table, done).await?;
    match change {
        TableChange::Drop { .. } => judge_drop(target, &table, done).await,
        _ => judge(target, &table, done).await,
    }
}

/// Keeps what was attempted for a table, or takes it back. What is not about the table alone ends the round, and all of it is taken back.
async fn ended<D: Definitions>(
    target: &mut D,
    table: &TableName,
    done: Result<(), Failure>,
) -> Result<Result<(), Failure>, Failure> {
    match &done {
        Ok(()) => target.keep().await?,
        Err(failure) if failure.class == ErrorClass::Row => target.undo(table, failure).await?,
        Err(_) => {}
    }
    Ok(done)
}

/// Whether a change was done before the log was read again: what it acts on may be another table by now.
fn is_done<D: Definitions>(target: &D, lsn: Lsn, change: &TableChange) -> bool {
    let changes = &target.followed().changes;
    let is_done = |table: &TableName| lsn <= changes.done(table);
    is_done(change.table()) || matches!(change, TableChange::Rename { to, .. } if is_done(to))
}

/// What comes after the registration of a change that is done.
async fn end_again<D: Definitions>(target: &mut D, lsn: Lsn, change: &TableChange) -> Result<(), Failure> {
    let table = change.table();
    tracing::info!(sink = %target.plan().name, %table, %lsn, change = change.kind(), "the change is done already");
    // Rows from before it were left out, those after it are not.
    rows::forget(target, table);
    match change {
        TableChange::Schema { .. }
        | TableChange::Truncate { .. }
        | TableChange::ReplaceEnd { .. }
        | TableChange::Gap { .. }
        | TableChange::LeftOut { .. } => return Ok(()),
        TableChange::ReplaceBegin { .. } | TableChange::Drop { .. } => {}
        TableChange::Rename { to, .. } => rows::forget(target, to),
    }
    if target.followed().changes.was_stopped_before(table, lsn) {
        stops::revive(target, lsn, table).await?;
    }
    Ok(())
}

/// Whether a gap in what the log has of a table is written anywhere: in a changelog that is not stopped.
pub(super) fn notes_gaps<D: Definitions>(target: &D, name: &TableName) -> bool {
    let followed = target.followed();
    !followed.stops.has(name) && followed.tables.get(name).is_some_and(|table| table.layout.mode == Mode::History)
}

/// Makes the table of a schema whose rows come before a change that makes it: a sink that joins a log later sees them so.
pub(super) async fn make<D: Definitions>(target: &mut D, schema: &TableSchema) -> Result<(), Failure> {
    let table = &schema.name;
    if target.followed().tables.contains_key(table) || target.followed().stops.has(table) {
        return Ok(());
    }
    target.attempt().await?;
    let lsn = target.followed().last;
    let made = shape(target, lsn, schema, Follows { renamed: &[], lost: false }).await;
    let made = ended(target, table, made).await?;
    judge(target, table, made).await
}

/// Says in the table's line that a change begins, before its first step.
async fn announce<D: Definitions>(target: &mut D, lsn: Lsn, name: &TableName) -> Result<(), Failure> {
    if D::ATOMIC {
        return Ok(());
    }
    let Some(table) = target.followed().tables.get(name).cloned() else { return Ok(()) };
    if target.followed().changes.has_begun(name, lsn) {
        return Ok(());
    }
    let done = target.followed().changes.done(name);
    target.announce(done, &table, lsn).await?;
    target.followed_mut().changes.note_begun(name, lsn);
    Ok(())
}

/// Brings the table to the shape of `schema`; makes it if there is none.
async fn shape<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    schema: &TableSchema,
    follows: Follows<'_>,
) -> Result<(), Failure> {
    let old = target.followed().tables.get(&schema.name).cloned();
    if old.as_ref().is_some_and(|old| !old.has_shape(schema)) {
        announce(target, lsn, &schema.name).await?;
    }
    let table = shaped(target, lsn, old, schema, follows).await?;
    register(target, lsn, table).await
}

/// [`shape`] without the registration.
async fn shaped<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    old: Option<Table<TypeOf<D>>>,
    schema: &TableSchema,
    follows: Follows<'_>,
) -> Result<Table<TypeOf<D>>, Failure> {
    let name = &schema.name;
    let options = options_of(target, schema);
    let stored = StoredOptions::of(target.plan(), target.type_settings(), options.clone());
    if let Some(old) = &old {
        fits(target, old)?;
    }
    let at_target = match &old {
        Some(Table { old: Some(seen), .. }) => seen.layout.target.clone(),
        Some(old) => old.layout.target.clone(),
        None => target.plan().target_name(name),
    };
    let mut wanted = Layout::new(target.dialect(), schema, &options, at_target)?;
    if let Some(old) = &old {
        wanted.target.clone_from(&old.layout.target);
    }
    if let Some(old) = &old
        && wanted.mode != old.layout.mode
    {
        return Err(Failure::row(format!("the key of {name} has changed, and `keyless` keeps it in another mode"))
            .hint("have the table read again"));
    }
    let (layout, seen) = match &old {
        None => {
            shared::make(target, lsn, schema, &wanted).await?;
            (wanted, None)
        }
        Some(old) if old.has_shape(schema) => (old.layout.clone(), old.old.clone()),
        Some(old) => reshaped(target, lsn, old, (schema, &wanted), follows).await?,
    };
    // What readers are shown beside a table follows the old copy until the new one is in its place.
    if seen.as_ref().is_none_or(|seen| !replace::is_beside(&layout, seen)) {
        target.make_views(&layout).await?;
    }
    Ok(Table { old: seen, ..Table::new(schema.clone(), stored, layout) })
}

/// What the configuration says of a table of this schema.
pub(super) fn options_of<D: Definitions>(target: &D, schema: &TableSchema) -> TableOptions {
    layout::options_for::<D::Dialect>(target.plan(), &schema.name, Some(schema))
}

/// The same as it is written down.
pub(super) fn stored_options<D: Definitions>(target: &D, schema: &TableSchema) -> StoredOptions {
    StoredOptions::of(target.plan(), target.type_settings(), options_of(target, schema))
}

/// As [`stored_options`], of a table of this shape under another name.
fn stored_options_as<D: Definitions>(target: &D, name: &TableName, schema: &TableSchema) -> StoredOptions {
    let options = layout::options_for::<D::Dialect>(target.plan(), name, Some(schema));
    StoredOptions::of(target.plan(), target.type_settings(), options)
}

/// How the configuration differs from the one that a table was made under, in words.
fn difference<D: Definitions>(target: &D, table: &Table<TypeOf<D>>) -> Option<String> {
    let now = stored_options(target, &table.schema);
    table.options.difference(&now, Some(&table.schema))
}

/// Refuses a table that was made under another configuration.
fn fits<D: Definitions>(target: &D, table: &Table<TypeOf<D>>) -> Result<(), Failure> {
    match difference(target, table) {
        None => Ok(()),
        Some(difference) => Err(Failure::row(format!("{} is written with {difference}", table.schema.name))
            .hint("set the configuration back, or have the table read again")),
    }
}

async fn reshaped<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    old: &Table<TypeOf<D>>,
    (schema, wanted): (&TableSchema, &Layout<TypeOf<D>>),
    follows: Follows<'_>,
) -> Result<(Layout<TypeOf<D>>, Option<Box<OldCopy<TypeOf<D>>>>), Failure> {
    let name = &schema.name;
    hides_on(target.plan(), (&old.schema, schema), Some(follows.renamed))?;
    if shared::is_changed_already(target, old, (schema, wanted))? {
        return Ok((wanted.clone(), None));
    }
    let (mut layout, way) = reshape(target.dialect(), old, (schema, wanted), follows, target.policy())
        .map_err(|Forbidden { why }| Failure::row(format!("the definition of {name} changed: {why}")))?;
    shared::may_change(target, name, wanted, &way)?;
    match way {
        Way::Alter(steps) => target.alter(lsn, &layout, schema, &steps).await?,
        Way::Rebuild { is_filled: false, .. } if old.old.is_none() => {
            tracing::warn!(
                sink = %target.plan().name, table = %name,
                "the table's new key cannot be told from its copy: the copy stays as it is until the source has read the table again"
            );
            replace::begin_empty(target, lsn, name, &mut layout).await?;
            let mut seen = old.clone().into_old(lsn, true);
            seen.lacks_rows = true;
            return Ok((layout, Some(seen)));
        }
        Way::Rebuild { origins, is_filled } => {
            let left = left_columns(target, lsn, (old, &layout), &origins).await?;
            let rebuild = Rebuild { old, schema, layout: &layout, origins: &origins, is_filled, left };
            target.rebuild(lsn, rebuild).await?;
            let mut seen = old.old.clone();
            if let Some(seen) = &mut seen {
                seen.lacks_rows |= !is_filled;
            }
            return Ok((layout, seen));
        }
    }
    Ok((layout, old.old.clone()))
}

/// Columns of the copy that it keeps without being written.
async fn left_columns<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    (old, layout): (&Table<TypeOf<D>>, &Layout<TypeOf<D>>),
    origins: &[Origin],
) -> Result<Vec<LeftColumn>, Failure> {
    let found = target.found_columns(&old.layout.target).await?;
    let dialect = target.dialect();
    let columns: Vec<_> = old.layout.columns.iter().map(|column| column.name.as_str()).collect();
    let before = Before {
        written: &dialect.column_names(&old.layout),
        columns: &columns,
        origins,
        keeps_dropped: target.policy().drop == DdlAction::Ignore,
    };
    Ok(left(lsn, D::Dialect::COLUMNS, &before, &dialect.column_names(layout), found))
}

/// Writes the table's line: the last step of a change.
pub(super) async fn register<D: Definitions>(target: &mut D, lsn: Lsn, table: Table<TypeOf<D>>) -> Result<(), Failure> {
    target.save(lsn, &table).await?;
    let name = table.schema.name.clone();
    let followed = target.followed_mut();
    if !D::ATOMIC {
        followed.changes.note_done(&name, lsn);
    }
    followed.tables.insert(name.clone(), table);
    rows::forget(target, &name);
    Ok(())
}

/// A table that is there already was made by somebody else, holds another source table, or was made by this sink just before a crash.
async fn create<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    schema: &TableSchema,
    layout: &Layout<TypeOf<D>>,
) -> Result<(), Failure> {
    let name = &schema.name;
    if adopts(target, &layout.target).await? {
        may_hold(target, name, &layout.target)?;
        warn_of_rule(target, schema);
        return adopt(target, lsn, schema, (layout, true)).await;
    }
    is_free(target, lsn, name, &layout.target).await?;
    warn_of_rule(target, schema);
    target.create(lsn, name, layout).await
}

/// Whether the table under a name is one that may be taken over: none of replicator made it.
async fn adopts<D: Definitions>(target: &mut D, at_target: &str) -> Result<bool, Failure> {
    let adopts = target.plan().adopt;
    Ok(adopts && matches!(target.find(at_target).await?, Some(Found::Foreign { maker: None })))
}

/// Whether the target has rows of a table that the sink would take over with the table's next definition, and has not yet. What happens to the
/// table until then cannot be done to them.
pub(super) async fn awaits_take_over<D: Definitions>(target: &mut D, name: &TableName) -> Result<bool, Failure> {
    if target.followed().tables.contains_key(name) || !target.plan().takes(name) {
        return Ok(false);
    }
    let at_target = target.plan().target_name(name);
    adopts(target, &at_target).await
}

/// Why a table stops whose rows at the target would outlive what happened to it.
fn outlived(name: &TableName, what: &str) -> Failure {
    Failure::row(format!(
        "{name} was {what} before it was taken over: the rows that the target has of it are not the source's any more"
    ))
}

/// Refuses a name at the target under which there is anything that the change at `lsn` did not make.
async fn is_free<D: Definitions>(target: &mut D, lsn: Lsn, name: &TableName, at_target: &str) -> Result<(), Failure> {
    may_hold(target, name, at_target)?;
    match target.find(at_target).await? {
        None => Ok(()),
        Some(Found::Ours { made }) if made == Some(lsn) && !D::ATOMIC => Ok(()),
        Some(Found::Foreign { maker }) => Err(taken(target, name, at_target, maker)),
        Some(Found::Ours { .. }) => Err(Failure::row(format!(
            "{} has a table \"{at_target}\" of this sink's that is left of an earlier one, {name} is not written into it",
            target.location()
        ))
        .hint("rename or drop it")),
    }
}

/// Says which columns the table's rule names that it does not have.
pub(super) fn warn_of_rule<D: Definitions>(target: &D, schema: &TableSchema) {
    for (key, column) in missing_columns(target.plan(), schema) {
        tracing::warn!(
            sink = %target.plan().name, table = %schema.name, %column,
            "`{key}` of the table's rule names a column that the table does not have"
        );
    }
}

/// Refuses the name of a table that holds another source table.
pub(super) fn may_hold<D: Definitions>(target: &D, name: &TableName, at_target: &str) -> Result<(), Failure> {
    let rule: NameRule = <D::Dialect as Dialect>::TABLES;
    let mut tables = target.followed().tables.values();
    let holds = |table: &&Table<TypeOf<D>>| table.targets().any(|held| rule.is_one(held, at_target));
    let Some(other) = tables.find(holds) else { return Ok(()) };
    let other = &other.schema.name;
    Err(Failure::row(format!("{name} would be written to \"{at_target}\", which holds {other}"))
        .hint("set the sink's `table_name` so that every source table has its own, for example \"{database}_{table}\""))
}

/// What frees the name of a table at the target.
const FREE: &str =
    "rename or drop it, or set another `table_name` for the sink; another target needs `replicator sink reset NAME`";
/// What else there is for one who has not set it.
const ADOPT: &str = "; `adopt: true` of the sink takes a table over whose rows are the source's where the log begins";

/// What is under the name of a table was not made by this sink.
pub(super) fn taken<D: Definitions>(target: &D, name: &TableName, at_target: &str, maker: Option<String>) -> Failure {
    let by = maker.map_or_else(String::new, |log| format!(" (log {log} did, through a sink of this name)"));
    Failure::row(format!(
        "{} has a table or view \"{at_target}\" that this sink did not make for {name}, which is not written into it{by}",
        target.location()
    ))
    .hint(format!("{FREE}{}", if target.plan().adopt { "" } else { ADOPT }))
}

/// Whether the names of these tables are free, or their tables were made by this sink. Asked before everything is read for the sink: no table is
/// taken over then.
pub(super) async fn can_make<D: Definitions>(target: &mut D, tables: &[TableName]) -> Result<(), Failure> {
    let known = &target.followed().tables;
    let wanted: BTreeMap<String, &TableName> = (tables.iter().filter(|table| !known.contains_key(*table)))
        .map(|table| (target.plan().target_name(table), table))
        .collect();
    let foreign = target.foreign_of(wanted.keys().cloned().collect()).await?;
    match foreign.and_then(|name| wanted.get_key_value(&name)) {
        None => Ok(()),
        Some((name, table)) => {
            let failure = if target.plan().adopt { read_over(table, name) } else { taken(target, table, name, None) };
            Err(Failure { class: ErrorClass::Fatal, ..failure })
        }
    }
}
