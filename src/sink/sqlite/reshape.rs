//! From one shape of a mirror's table to the next: what each column's values come from, and the cheapest way there.
//!
//! Columns are added, dropped and renamed in place. A column whose values or declared type change, or a key that changes,
//! takes a new table into which the rows are copied ([`super::rebuild`]). All of it happens inside the round's transaction.

use std::collections::HashSet;
use std::fmt::Write as _;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::layout::{Layout, TargetColumn, quoted, same_name};
use super::registry::Table;
use super::retype::{Conversion, conversion};

/// Where the values of a column of the new shape come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// From the old column of this name.
    Kept {
        /// The old name in the target.
        name: String,
        /// How.
        conversion: Conversion,
    },
    /// From nowhere: the column is new.
    Added {
        /// What rows that were there before hold.
        default: Value,
    },
}

/// The way from one shape to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reshape {
    /// One for each column of the new shape.
    pub(super) origins: Vec<Origin>,
    /// Old columns, by their names in the target, that are no more.
    pub(super) dropped: Vec<String>,
    /// Rows have to be copied into a new table.
    pub(super) rebuild: bool,
    /// The source says that the rows' keys cannot be told from what the table holds, and reads it again.
    pub(super) keys_lost: bool,
}

impl Reshape {
    /// Compares the table as it is with its next shape. `renamed` are source names, (old, new); `default` tells what older
    /// rows hold in each column of the new schema if it is new, and whether that is known.
    pub(super) fn new(
        (old, new): (&Table, &Table),
        renamed: &[(String, String)],
        defaults: &[Value],
        lost: bool,
    ) -> Self {
        let mut origins = Vec::with_capacity(new.layout.columns.len());
        let mut used = HashSet::new();
        for column in &new.layout.columns {
            let kept = kept_place(old, new, column, renamed).filter(|place| used.insert(*place));
            if let Some(before) = kept.and_then(|place| old.layout.columns.get(place)) {
                origins.push(kept_column(old, before, new, column));
            } else {
                origins.push(Origin::Added { default: defaults.get(column.source).cloned().unwrap_or(Value::Null) });
            }
        }
        let dropped: Vec<_> = (old.layout.columns.iter().enumerate())
            .filter(|(place, _)| !used.contains(place))
            .map(|(_, column)| column.name.clone())
            .collect();
        let same_key = key_comes_from(&origins, &new.layout)
            == old.layout.key_columns().map(|column| Some(column.name.as_str())).collect::<Vec<_>>();
        let altered =
            origins.iter().any(|origin| matches!(origin, Origin::Kept { conversion, .. } if conversion.alters));
        let declared = |layout: &Layout, name: &str| {
            layout.columns.iter().find(|column| same_name(&column.name, name)).map(|column| column.storage)
        };
        let redeclared = origins.iter().zip(&new.layout.columns).any(|(origin, column)| match origin {
            Origin::Kept { name, .. } => declared(&old.layout, name) != Some(column.storage),
            Origin::Added { .. } => false,
        });
        let rebuild = altered
            || redeclared
            || !same_key
            || old.layout.rowid_key() != new.layout.rowid_key()
            || old.layout.soft != new.layout.soft
            || names_collide(&origins, &new.layout);
        Self { origins, dropped, rebuild, keys_lost: lost }
    }

    /// Changes the table in place.
    pub(super) fn alter(&self, connection: &Connection, new: &Layout) -> rusqlite::Result<()> {
        let table = quoted(&new.target);
        for name in &self.dropped {
            connection.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {}", quoted(name)))?;
        }
        for (origin, column) in self.origins.iter().zip(&new.columns) {
            match origin {
                Origin::Kept { name, .. } if *name != column.name => {
                    let (name, to) = (quoted(name), quoted(&column.name));
                    connection.execute_batch(&format!("ALTER TABLE {table} RENAME COLUMN {name} TO {to}"))?;
                }
                Origin::Kept { .. } => {}
                Origin::Added { default } => add(connection, &table, column, default)?,
            }
        }
        Ok(())
    }
}

/// Adds a column. A default that has an exact literal costs nothing, however large the table; any other is written to every
/// row.
fn add(connection: &Connection, table: &str, column: &TargetColumn, default: &Value) -> rusqlite::Result<()> {
    let name = quoted(&column.name);
    let mut sql = format!("ALTER TABLE {table} ADD COLUMN {name} {}", column.storage.declared());
    let literal = literal(default);
    if let Some(literal) = &literal {
        sql.push_str(" DEFAULT ");
        sql.push_str(literal);
    }
    connection.execute_batch(&sql)?;
    if literal.is_none() {
        connection.execute(&format!("UPDATE {table} SET {name} = ?1"), [default])?;
    }
    Ok(())
}

/// A value as SQL, where SQL says it exactly: not floats, and not text with a zero byte.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("NULL".to_owned()),
        // The one integer whose literal SQLite reads as a float.
        Value::Integer(i64::MIN) | Value::Real(_) => None,
        Value::Integer(value) => Some(value.to_string()),
        Value::Text(text) if text.contains('\0') => None,
        Value::Text(text) => Some(format!("'{}'", text.replace('\'', "''"))),
        Value::Blob(bytes) => {
            let mut literal = String::from("x'");
            for byte in bytes {
                write!(literal, "{byte:02x}").expect("writing to a String cannot fail");
            }
            literal.push('\'');
            Some(literal)
        }
    }
}

/// The place in the old layout whose values the column takes over.
fn kept_place(old: &Table, new: &Table, column: &TargetColumn, renamed: &[(String, String)]) -> Option<usize> {
    let name = &new.schema.columns.get(column.source)?.name;
    let before = renamed.iter().find(|(_, now)| same_name(now, name)).map(|(before, _)| before);
    let before = match before {
        Some(before) => before,
        // A name that another column gave up is a new column under that name.
        None if renamed.iter().any(|(gone, _)| same_name(gone, name)) => return None,
        None => name,
    };
    let source = old.schema.column_index(before)?;
    old.layout.columns.iter().position(|column| column.source == source)
}

fn kept_column(old: &Table, before: &TargetColumn, new: &Table, column: &TargetColumn) -> Origin {
    let types = (old.schema.columns.get(before.source), new.schema.columns.get(column.source));
    let conversion = match types {
        (Some(from), Some(to)) => conversion(&before.name, &from.ty, &to.ty),
        // A layout's places are places of its schema.
        _ => Conversion { expression: quoted(&before.name), alters: false },
    };
    Origin::Kept { name: before.name.clone(), conversion }
}

/// The old names of the new key's columns.
fn key_comes_from<'o>(origins: &'o [Origin], new: &Layout) -> Vec<Option<&'o str>> {
    let old_name = |place: &usize| match origins.get(*place) {
        Some(Origin::Kept { name, .. }) => Some(name.as_str()),
        Some(Origin::Added { .. }) | None => None,
    };
    new.key.iter().map(old_name).collect()
}

/// Whether a column's new name is one that another column has until its own turn, as when two columns swap names.
fn names_collide(origins: &[Origin], new: &Layout) -> bool {
    let old_names: Vec<&str> = (origins.iter())
        .filter_map(|origin| match origin {
            Origin::Kept { name, .. } => Some(name.as_str()),
            Origin::Added { .. } => None,
        })
        .collect();
    origins.iter().zip(&new.columns).any(|(origin, column)| {
        let own = match origin {
            Origin::Kept { name, .. } => Some(name.as_str()),
            Origin::Added { .. } => None,
        };
        old_names.iter().any(|name| Some(*name) != own && same_name(name, &column.name))
    })
}
