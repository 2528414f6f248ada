//! Which columns of a source table reach a target, under which names, and which of them are its key: what every sink
//! decides alike.
//!
//! Column names of the source are compared without case, as MySQL compares them. Whether two names of a target are one is
//! the target's own rule ([`NameRule`]). What the configuration makes ambiguous is refused by name.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::config::TableOptions;
use crate::error::Failure;
use crate::model::{Column, TableName, TableSchema, same_column};

/// When a target takes two names for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRule {
    /// When they differ in the case of ASCII letters only.
    AsciiCaseFolds,
    /// When they are equal.
    CaseTells,
}

impl NameRule {
    /// Whether two names are one.
    pub(super) fn is_one(self, a: &str, b: &str) -> bool {
        match self {
            Self::AsciiCaseFolds => a.eq_ignore_ascii_case(b),
            Self::CaseTells => a == b,
        }
    }

    /// What two names have in common that are one.
    pub(super) fn folded(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::AsciiCaseFolds => Cow::Owned(name.to_ascii_lowercase()),
            Self::CaseTells => Cow::Borrowed(name),
        }
    }
}

/// A column that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept<'s> {
    /// Its place in the source's schema.
    pub(super) source: usize,
    /// The column there.
    pub(super) column: &'s Column,
    /// Its name in the target.
    pub(super) name: String,
}

/// The columns that are kept, in the source's order.
pub(super) fn kept<'s>(schema: &'s TableSchema, options: &TableOptions) -> Vec<Kept<'s>> {
    let named = |given: &str, column: &Column| same_column(given, &column.name);
    let mut kept = Vec::with_capacity(schema.columns.len());
    for (source, column) in schema.columns.iter().enumerate() {
        if options.drop.iter().any(|name| named(name, column)) {
            continue;
        }
        let renamed = options.rename.iter().find(|(name, _)| named(name, column));
        let name = renamed.map_or(&column.name, |(_, new)| new).clone();
        kept.push(Kept { source, column, name });
    }
    kept
}

/// Refuses names that are empty, that clash with each other, or that clash with the soft-delete column.
pub(super) fn check_names<'n>(
    table: &TableName,
    names: impl IntoIterator<Item = &'n str>,
    soft: Option<&str>,
    rule: NameRule,
) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || name.contains('\0') {
            return Err(Failure::row(format!("a column of {table} would have no name in the target"))
                .hint("correct `rename` of the table's rule"));
        }
        if !seen.insert(rule.folded(name)) {
            let message = format!("two columns of {table} would be named \"{name}\" in the target");
            return Err(Failure::row(message).hint(match rule {
                NameRule::AsciiCaseFolds => {
                    "give one of them another name with `rename`; case does not tell names apart"
                }
                NameRule::CaseTells => "give one of them another name with `rename`",
            }));
        }
    }
    if seen.is_empty() {
        return Err(Failure::row(format!("`drop` leaves no column of {table}"))
            .hint("leave the table out with `source.exclude` instead"));
    }
    match soft {
        Some(soft) if seen.contains(&rule.folded(soft)) => {
            Err(Failure::row(format!("{table} has a column named \"{soft}\", as the soft-delete column"))
                .hint("set another `soft_delete_column`, or rename the table's column with `rename`"))
        }
        _ => Ok(()),
    }
}

/// The key as places among the kept columns, whose places in the source are `sources`; empty for a table without a key. A
/// mirror without a part of its key could not tell rows apart.
pub(super) fn key_of(schema: &TableSchema, sources: &[usize]) -> Result<Vec<usize>, Failure> {
    let Some(key) = &schema.key else { return Ok(Vec::new()) };
    let mut places = Vec::with_capacity(key.columns.len());
    for source in &key.columns {
        let source = usize::from(*source);
        let Some(place) = sources.iter().position(|kept| *kept == source) else {
            let name = schema.columns.get(source).map_or("", |column| column.name.as_str());
            return Err(Failure::row(format!("`drop` names \"{name}\", which is part of the key of {}", schema.name))
                .hint("keep the key's columns in a mirror, or use `mode: history` for the table"));
        };
        places.push(place);
    }
    Ok(places)
}

/// Marks the columns of the source at `sources`, as [`Plan::compile`](crate::codec::row_image::Plan::compile) takes them.
pub(super) fn marks(sources: impl IntoIterator<Item = usize>, source_columns: usize) -> Vec<bool> {
    let mut wanted = vec![false; source_columns];
    for source in sources {
        if let Some(mark) = wanted.get_mut(source) {
            *mark = true;
        }
    }
    wanted
}
