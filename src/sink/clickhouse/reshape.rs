//! From the table as it is to the table as the source's new schema wants it: the steps, or that it has to be rebuilt, or that the
//! table stops. Nothing is done here.
//!
//! A column keeps its name at the target, its type, or its absence where `ddl` says `ignore`: the layout that comes out is what is
//! written from now on, whatever the source's schema says.

use std::collections::HashSet;

use super::layout::{Layout, TargetColumn};
use super::registry::Table;
use super::types::{Base, Type};
use crate::config::{DdlAction, DdlPolicy, Mode};
use crate::model::TableSchema;

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
        /// Its name.
        name: String,
        /// Its type.
        ty: String,
    },
    /// Nowhere: its default.
    Added,
}

/// The way from one shape to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Steps on the table itself.
    Alter(Vec<Step>),
    /// A new table.
    Rebuild {
        /// Where each of its columns comes from.
        origins: Vec<Origin>,
        /// Whether it is filled from the old one. If not, the rows' keys cannot be told from that: the new one begins empty and is filled
        /// by the re-read that the source starts.
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

/// The layout from now on, and the way to it. `wanted` is what the new schema would be laid out as from nothing; `lost`: the source says
/// that the rows' keys cannot be told from what the table holds.
pub(super) fn reshape(
    old: &Table,
    schema: &TableSchema,
    wanted: &Layout,
    (renamed, lost): (&[(String, String)], bool),
    policy: DdlPolicy,
) -> Result<(Layout, Way), Forbidden> {
    let mut columns: Vec<TargetColumn> = Vec::with_capacity(wanted.columns.len());
    let mut origins = Vec::with_capacity(wanted.columns.len());
    let mut steps = Vec::new();
    let mut used = Vec::new();
    let mut rebuild = false;
    for column in &wanted.columns {
        let Some(source) = schema.columns.get(column.source) else { continue };
        let old_place = came_from(&source.name, renamed).and_then(|before| old.schema.column_index(before));
        let kept = old_place.and_then(|place| old.layout.columns.iter().find(|kept| kept.source == place));
        match kept {
            Some(kept) => {
                used.push(kept.source);
                let name = rename(kept, column, &source.name, policy.rename, &mut steps)?;
                let ty = retype(kept, column, &source.name, policy.retype)?;
                if ty != kept.ty {
                    let place = columns.len();
                    match (widens(&kept.ty, &ty), old.layout.mode) {
                        (true, _) => steps.push(Step::Widen { column: place }),
                        (false, Mode::History) => steps.push(Step::SetAside { column: place }),
                        (false, Mode::Mirror) => rebuild = true,
                    }
                }
                origins.push(Origin::Kept { name: kept.name.clone(), ty: kept.ty.clone() });
                columns.push(TargetColumn { source: column.source, name, ty });
            }
            // It was there before and is not written: an earlier change of it was ignored.
            None if old_place.is_some() => {}
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
        match (policy.drop, old.layout.mode) {
            (DdlAction::Stop, _) => return Err(forbid(format!("column \"{}\" was dropped", gone.name), "drop")),
            // A changelog loses nothing.
            (DdlAction::Ignore, _) | (DdlAction::Apply, Mode::History) => {}
            (DdlAction::Apply, Mode::Mirror) => steps.push(Step::Drop { name: gone.name.clone() }),
        }
    }
    let key = places(wanted, &columns).ok_or_else(|| Forbidden {
        why: "a column of its key was added, and `ddl.add: ignore` leaves it out".to_owned(),
    })?;
    let layout = Layout {
        target: old.layout.target.clone(),
        mode: old.layout.mode,
        columns,
        key,
        soft: old.layout.soft.clone(),
    };
    if let Some(twice) = twice(&layout.columns) {
        return Err(Forbidden {
            why: format!(
                "two columns would be named \"{twice}\", because `ddl` left an older one of that name as it was"
            ),
        });
    }
    if layout.mode == Mode::History {
        let steps = if names_cross(&layout, &steps) { set_aside(&layout, steps) } else { steps };
        return Ok((layout, Way::Alter(steps)));
    }
    let key_changed = key_shape(&old.layout) != key_shape(&layout) || key_moved(&old.layout, &layout, &origins);
    if key_changed && policy.retype != DdlAction::Apply {
        return Err(match policy.retype {
            DdlAction::Stop => forbid("its key changed", "retype"),
            _ => Forbidden { why: "its key changed, which `ddl.retype: ignore` cannot leave undone".to_owned() },
        });
    }
    if rebuild || key_changed || names_cross(&layout, &steps) {
        return Ok((layout, Way::Rebuild { origins, is_filled: !lost }));
    }
    Ok((layout, Way::Alter(steps)))
}

/// A name that two columns have.
fn twice(columns: &[TargetColumn]) -> Option<&str> {
    let mut seen = HashSet::new();
    columns.iter().map(|column| column.name.as_str()).find(|name| !seen.insert(*name))
}

/// In a changelog, the columns whose names cross begin anew, and the old values stay under other names: that can be repeated.
fn set_aside(layout: &Layout, steps: Vec<Step>) -> Vec<Step> {
    let place = |name: &str| layout.columns.iter().position(|column| column.name == name);
    let step = |step| match step {
        Step::Rename { to, .. } => place(&to).map(|column| Step::SetAside { column }),
        Step::Add { column } => Some(Step::SetAside { column }),
        other @ (Step::Widen { .. } | Step::SetAside { .. } | Step::Drop { .. }) => Some(other),
    };
    steps.into_iter().filter_map(step).collect()
}

/// The old name of the column that is called `name` now; `None` if the old column of that name has another name now, so that this one
/// is new.
fn came_from<'n>(name: &'n str, renamed: &'n [(String, String)]) -> Option<&'n str> {
    if let Some((from, _)) = renamed.iter().find(|(_, to)| to.eq_ignore_ascii_case(name)) {
        return Some(from);
    }
    let left = renamed.iter().any(|(from, _)| from.eq_ignore_ascii_case(name));
    (!left).then_some(name)
}

fn rename(
    kept: &TargetColumn,
    wanted: &TargetColumn,
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

fn retype(kept: &TargetColumn, wanted: &TargetColumn, source: &str, policy: DdlAction) -> Result<String, Forbidden> {
    if kept.ty == wanted.ty {
        return Ok(kept.ty.clone());
    }
    match policy {
        DdlAction::Apply => Ok(wanted.ty.clone()),
        DdlAction::Ignore => Ok(kept.ty.clone()),
        DdlAction::Stop => {
            Err(forbid(format!("column \"{source}\" changed from {} to {}", kept.ty, wanted.ty), "retype"))
        }
    }
}

/// The places of the wanted key's columns among `columns`.
fn places(wanted: &Layout, columns: &[TargetColumn]) -> Option<Vec<usize>> {
    wanted
        .key
        .iter()
        .map(|place| {
            let source = wanted.columns.get(*place)?.source;
            columns.iter().position(|column| column.source == source)
        })
        .collect()
}

/// What the server knows of the key: it refuses to alter any of it.
fn key_shape(layout: &Layout) -> Vec<(&str, &str)> {
    let column = |place: &usize| layout.columns.get(*place).map(|column| (column.name.as_str(), column.ty.as_str()));
    layout.key.iter().filter_map(column).collect()
}

/// Whether a column of the key has the name that another one had.
fn key_moved(old: &Layout, new: &Layout, origins: &[Origin]) -> bool {
    old.key.iter().zip(&new.key).any(|(before, after)| {
        let before = old.columns.get(*before).map(|column| column.name.as_str());
        let after = origins.get(*after).and_then(|origin| match origin {
            Origin::Kept { name, .. } => Some(name.as_str()),
            Origin::Added => None,
        });
        before != after
    })
}

/// Whether a step gives a name that another step takes away: done twice, that is not the same as once.
fn names_cross(layout: &Layout, steps: &[Step]) -> bool {
    let is_left = |name: &str| {
        steps.iter().any(|step| match step {
            Step::Rename { from, .. } => from == name,
            Step::Drop { name: dropped } => dropped == name,
            Step::Add { .. } | Step::Widen { .. } | Step::SetAside { .. } => false,
        })
    };
    steps.iter().any(|step| match step {
        Step::Rename { to, .. } => is_left(to),
        Step::Add { column } => layout.columns.get(*column).is_some_and(|column| is_left(&column.name)),
        Step::Widen { .. } | Step::SetAside { .. } | Step::Drop { .. } => false,
    })
}

/// Whether every value of `old` is the same value in `new`, and the server converts it in place.
fn widens(old: &str, new: &str) -> bool {
    let (Some(old), Some(new)) = (Type::parse(old), Type::parse(new)) else { return false };
    if old.nullable && !new.nullable {
        return false;
    }
    match (&old.base, &new.base) {
        (Base::Int { bytes: a, signed: x }, Base::Int { bytes: b, signed: y }) => x == y && a <= b,
        (Base::Decimal { precision: a, scale: x }, Base::Decimal { precision: b, scale: y }) => x == y && a <= b,
        (Base::DateTime64 { precision: a, zone: x }, Base::DateTime64 { precision: b, zone: y }) => x == y && a <= b,
        (Base::Time64 { precision: a }, Base::Time64 { precision: b }) => a <= b,
        (Base::String { .. }, Base::String { .. }) => true,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_renamed_column_left_is_a_new_column() {
        let renamed = [("w".to_owned(), "v".to_owned())];
        assert_eq!(came_from("v", &renamed), Some("w"));
        assert_eq!(came_from("W", &renamed), None);
        assert_eq!(came_from("x", &renamed), Some("x"));
        let swapped = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())];
        assert_eq!((came_from("a", &swapped), came_from("b", &swapped)), (Some("b"), Some("a")));
    }

    #[test]
    fn only_a_type_that_holds_every_value_in_the_same_form_is_wider() {
        for (old, new, wider) in [
            ("Int8", "Int32", true),
            ("Int32", "Int8", false),
            ("UInt8", "Int32", false),
            ("Int32", "Nullable(Int64)", true),
            ("Nullable(Int32)", "Int64", false),
            ("Decimal(8, 2)", "Decimal(12, 2)", true),
            ("Decimal(8, 2)", "Decimal(12, 4)", false),
            ("DateTime64(0, 'UTC')", "DateTime64(6, 'UTC')", true),
            ("String", "LowCardinality(String)", true),
            ("Int32", "String", false),
        ] {
            assert_eq!(widens(old, new), wider, "{old} to {new}");
        }
    }
}
