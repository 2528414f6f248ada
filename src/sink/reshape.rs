//! From a table as it is to the table as the source's new schema wants it: where each column comes from, and the steps, or that it has to be
//! rebuilt, or that it stops. The one lineage of columns; nothing is done here. What becomes of values is [`kept_types`]'s to say: a sink
//! translates it, and judges nothing.
//!
//! A column keeps its name at the target, its type, or its absence where `ddl` says `ignore`: the layout that comes out is what is written from
//! here on, whatever the source's schema says.

use std::collections::HashSet;

use super::columns::NameRule;
use super::layout::{Dialect, Layout, Retype, TargetColumn, TargetType};
use super::registry::Table;
use crate::config::{DdlAction, DdlPolicy, Mode};
use crate::model::{Column, Kept, TableSchema, kept_types, same_column};

#[cfg(test)]
mod tests;

/// One change of one column. In a changelog it stands for both of its sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another name.
    Rename {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// A new column.
    Add {
        /// Its place in the new layout's columns.
        column: usize,
    },
    /// A type that holds every value of the old one.
    Widen {
        /// Its place in the new layout's columns.
        column: usize,
    },
    /// A changelog keeps the old values under another name, and begins a new column.
    SetAside {
        /// Its place in the new layout's columns.
        column: usize,
    },
    /// A column that is no more.
    Drop {
        /// Its name.
        name: String,
    },
}

/// Where the values of a column of a rebuilt table come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The old table's column.
    Kept {
        /// Its place in the old layout's columns.
        place: usize,
        /// What becomes of its values. Those that are not known are not copied: a read brings them.
        kept: Kept,
    },
    /// Nowhere: its default.
    Added,
}

/// The way from one shape to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Steps on the table itself: columns are added before others are dropped, so that it has one at any time.
    Alter(Vec<Step>),
    /// A new table.
    Rebuild {
        /// Where each of its columns comes from.
        origins: Vec<Origin>,
        /// Whether it is filled from the old one. If not, the rows' keys cannot be told from that: the new one begins empty and is filled by
        /// the read that the source begins.
        is_filled: bool,
    },
}

/// A change that the configuration, or sense, forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    pub(super) why: String,
}

fn forbid(what: impl Into<String>, key: &str) -> Forbidden {
    Forbidden { why: format!("{}, and `ddl.{key}` says to stop then", what.into()) }
}

/// What the source says of a change: columns with another name, (old, new), and whether the keys of the rows that are there are lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follows<'f> {
    pub(super) renamed: &'f [(String, String)],
    pub(super) lost: bool,
}

/// The layout from here on, and the way to it. `wanted` is what the new schema would be laid out as from nothing.
pub(super) fn reshape<D: Dialect>(
    dialect: &D,
    old: &Table<D::Type>,
    (schema, wanted): (&TableSchema, &Layout<D::Type>),
    Follows { renamed, lost }: Follows<'_>,
    policy: DdlPolicy,
) -> Result<(Layout<D::Type>, Way), Forbidden> {
    let mode = old.layout.mode;
    let mut columns: Vec<TargetColumn<D::Type>> = Vec::with_capacity(wanted.columns.len());
    let mut origins = Vec::with_capacity(wanted.columns.len());
    let mut steps = Vec::new();
    let mut used = Vec::new();
    let mut rebuild = false;
    for column in &wanted.columns {
        let Some(source) = schema.columns.get(column.source) else { continue };
        let old_place = came_from(&source.name, renamed).and_then(|before| old.schema.column_index(before));
        let old_source = old_place.and_then(|place| old.schema.columns.get(place));
        let kept = old_place.and_then(|at| old.layout.columns.iter().position(|kept| kept.source == at));
        match kept.and_then(|place| Some((place, old.layout.columns.get(place)?, old_source?))) {
            Some((place, kept, before)) => {
                used.push(kept.source);
                let name = rename(kept, column, &source.name, policy.rename, &mut steps)?;
                let (ty, how, values) = retype(dialect, mode, (before, kept), (source, column), policy.retype)?;
                match (how, mode) {
                    (Retype::Nothing, _) => {}
                    (Retype::InPlace, _) => steps.push(Step::Widen { column: columns.len() }),
                    (Retype::Rewrite, Mode::History) => steps.push(Step::SetAside { column: columns.len() }),
                    (Retype::Rewrite, Mode::Mirror) => rebuild = true,
                }
                origins.push(Origin::Kept { place, kept: values });
                columns.push(TargetColumn { source: column.source, name, ty });
            }
            None if old_place.is_some() => uncovered(old, schema, source, renamed)?,
            None => match policy.add {
                DdlAction::Apply => {
                    steps.push(Step::Add { column: columns.len() });
                    origins.push(Origin::Added);
                    columns.push(column.clone());
                }
                DdlAction::Ignore => {}
                DdlAction::Stop => return Err(forbid(format!("column \"{}\" was added", source.name), "add")),
            },
        }
    }
    for gone in old.layout.columns.iter().filter(|column| !used.contains(&column.source)) {
        match (policy.drop, mode) {
            (DdlAction::Stop, _) => return Err(forbid(format!("column \"{}\" was dropped", gone.name), "drop")),
            // A changelog loses nothing.
            (DdlAction::Ignore, _) | (DdlAction::Apply, Mode::History) => {}
            (DdlAction::Apply, Mode::Mirror) => steps.push(Step::Drop { name: gone.name.clone() }),
        }
    }
    let key = places(wanted, &columns).ok_or_else(|| Forbidden {
        why: "a column of its key was added, and `ddl.add: ignore` leaves it out".to_owned(),
    })?;
    let (target, soft) = (old.layout.target.clone(), old.layout.soft.clone());
    let layout = Layout { target, mode, soft, columns, key };
    if let Some(twice) = twice(&layout.columns, D::COLUMNS) {
        return Err(Forbidden {
            why: format!(
                "two columns would be named \"{twice}\", because `ddl` left an older one of that name as it was"
            ),
        });
    }
    let cross = names_cross(&layout, &steps, D::COLUMNS);
    if mode == Mode::History {
        let steps = if cross { set_aside(&layout, steps) } else { steps };
        return Ok((layout, Way::Alter(steps)));
    }
    let key_changed =
        key_shape::<D>(&old.layout) != key_shape::<D>(&layout) || key_moved(&old.layout, &layout, &origins);
    if key_changed && policy.retype != DdlAction::Apply {
        return Err(match policy.retype {
            DdlAction::Stop => forbid("its key changed", "retype"),
            _ => Forbidden { why: "its key changed, which `ddl.retype: ignore` cannot leave undone".to_owned() },
        });
    }
    if rebuild || key_changed || cross {
        let is_filled = !lost && keys_are_known(&layout, &origins);
        return Ok((layout, Way::Rebuild { origins, is_filled }));
    }
    Ok((layout, Way::Alter(steps)))
}

/// What becomes of the values of a column.
fn values(old: &Column, new: &Column) -> Kept {
    if old.nullable && !new.nullable { Kept::Unknown } else { kept_types(&old.ty, &new.ty) }
}

/// Whether each row's new key follows from the old table.
fn keys_are_known<T>(new: &Layout<T>, origins: &[Origin]) -> bool {
    new.key.iter().all(|place| match origins.get(*place) {
        Some(Origin::Kept { kept, .. }) => *kept != Kept::Unknown,
        Some(Origin::Added) | None => true,
    })
}

/// A column that was there before and is not written: an earlier change of it was ignored, or `drop` leaves it out. What `drop` leaves out must
/// not come in under a new name.
fn uncovered<T>(
    old: &Table<T>,
    schema: &TableSchema,
    column: &Column,
    renamed: &[(String, String)],
) -> Result<(), Forbidden> {
    let Some((from, to)) = renamed.iter().find(|(_, to)| same_column(to, &column.name)) else { return Ok(()) };
    if !old.options.drops(from) {
        return Ok(());
    }
    Err(Forbidden {
        why: format!(
            "column \"{from}\", which `drop` leaves out, is now called \"{to}\": add \"{to}\" to `drop` of the rule of {}",
            schema.name
        ),
    })
}

/// A name that two columns have.
fn twice<T>(columns: &[TargetColumn<T>], rule: NameRule) -> Option<&str> {
    let mut seen = HashSet::new();
    columns.iter().map(|column| column.name.as_str()).find(|name| !seen.insert(rule.folded(name)))
}

/// In a changelog, the columns whose names cross begin again, and the old values stay under other names: that can be repeated.
fn set_aside<T>(layout: &Layout<T>, steps: Vec<Step>) -> Vec<Step> {
    let place = |name: &str| layout.columns.iter().position(|column| column.name == name);
    let step = |step| match step {
        Step::Rename { to, .. } => place(&to).map(|column| Step::SetAside { column }),
        Step::Add { column } => Some(Step::SetAside { column }),
        other @ (Step::Widen { .. } | Step::SetAside { .. } | Step::Drop { .. }) => Some(other),
    };
    steps.into_iter().filter_map(step).collect()
}

/// The old name of the column that is called `name` now; `None` if the old column of that name has another name now, so that this one is new.
fn came_from<'n>(name: &'n str, renamed: &'n [(String, String)]) -> Option<&'n str> {
    if let Some((from, _)) = renamed.iter().find(|(_, to)| to.eq_ignore_ascii_case(name)) {
        return Some(from);
    }
    let left = renamed.iter().any(|(from, _)| from.eq_ignore_ascii_case(name));
    (!left).then_some(name)
}

fn rename<T>(
    kept: &TargetColumn<T>,
    wanted: &TargetColumn<T>,
    source: &str,
    policy: DdlAction,
    steps: &mut Vec<Step>,
) -> Result<String, Forbidden> {
    if kept.name == wanted.name {
        return Ok(kept.name.clone());
    }
    match policy {
        DdlAction::Apply => {
            steps.push(Step::Rename { from: kept.name.clone(), to: wanted.name.clone() });
            Ok(wanted.name.clone())
        }
        DdlAction::Ignore => Ok(kept.name.clone()),
        DdlAction::Stop => Err(forbid(format!("column \"{}\" was renamed to \"{source}\"", kept.name), "rename")),
    }
}

/// The type from here on, how the column gets it, and what becomes of its values. `from` and `to` are the columns at the source and at the target.
fn retype<D: Dialect>(
    dialect: &D,
    mode: Mode,
    from: (&Column, &TargetColumn<D::Type>),
    to: (&Column, &TargetColumn<D::Type>),
    policy: DdlAction,
) -> Result<(D::Type, Retype, Kept), Forbidden> {
    let (old, new) = (&from.1.ty, &to.1.ty);
    let how = dialect.retype(mode, (from.0, old), (to.0, new));
    match policy {
        _ if how == Retype::Nothing => Ok((new.clone(), how, values(from.0, to.0))),
        DdlAction::Apply => Ok((new.clone(), how, values(from.0, to.0))),
        DdlAction::Ignore => Ok((old.clone(), Retype::Nothing, Kept::Same)),
        DdlAction::Stop => {
            Err(forbid(format!("column \"{}\" changed from {} to {}", to.0.name, old.text(), new.text()), "retype"))
        }
    }
}

/// The places of the wanted key's columns among `columns`.
fn places<T>(wanted: &Layout<T>, columns: &[TargetColumn<T>]) -> Option<Vec<usize>> {
    wanted
        .key
        .iter()
        .map(|place| {
            let source = wanted.columns.get(*place)?.source;
            columns.iter().position(|column| column.source == source)
        })
        .collect()
}

/// What the target knows of the key: what of it changes takes another table.
fn key_shape<D: Dialect>(layout: &Layout<D::Type>) -> Vec<(Option<&str>, &D::Type)> {
    layout.key_columns().map(|column| ((!D::RENAMES_KEYS).then_some(column.name.as_str()), &column.ty)).collect()
}

/// Whether a column of the key has the place that another one had.
fn key_moved<T>(old: &Layout<T>, new: &Layout<T>, origins: &[Origin]) -> bool {
    old.key.iter().zip(&new.key).any(|(before, after)| match origins.get(*after) {
        Some(Origin::Kept { place, .. }) => place != before,
        Some(Origin::Added) | None => true,
    })
}

/// Whether a step gives a name that another step takes away: done twice, that is not the same as once.
fn names_cross<T>(layout: &Layout<T>, steps: &[Step], rule: NameRule) -> bool {
    let is_left = |to: &str, own: Option<&str>| {
        steps.iter().any(|step| match step {
            Step::Rename { from, .. } => rule.is_one(from, to) && own != Some(from),
            Step::Drop { name } => rule.is_one(name, to),
            Step::Add { .. } | Step::Widen { .. } | Step::SetAside { .. } => false,
        })
    };
    steps.iter().any(|step| match step {
        Step::Rename { from, to } => is_left(to, Some(from)),
        Step::Add { column } => layout.columns.get(*column).is_some_and(|column| is_left(&column.name, None)),
        Step::Widen { .. } | Step::SetAside { .. } | Step::Drop { .. } => false,
    })
}
