//! The steps from one shape of a table to the next, in place. All of it happens inside the round's transaction.

use std::fmt::Write as _;

use rusqlite::Connection;
use rusqlite::types::Value;
use wal::Lsn;

use super::bind::{RowError, Scratch, cell_value};
use super::layout::{Layout, TargetColumn, quoted, same_name};
use super::registry;
use super::target::rules;
use crate::codec::row_image::Plan;
use crate::config::{Mode, ValuePolicy};
use crate::error::Failure;
use crate::model::{ColumnDefault, TableSchema};
use crate::sink::layout::{sides, until};
use crate::sink::reshape::Step;

/// Takes steps on a table. `defaults` are what older rows hold in each column of the schema if it is new.
pub(super) fn take(
    connection: &Connection,
    lsn: Lsn,
    layout: &Layout,
    defaults: &[Value],
    steps: &[Step],
) -> rusqlite::Result<()> {
    let mut altering = Altering {
        connection,
        lsn,
        table: quoted(&layout.target),
        found: registry::columns(connection, &layout.target)?,
    };
    for step in steps {
        for side in sides(layout.mode) {
            altering.step(layout, defaults, step, *side)?;
        }
    }
    Ok(())
}

/// A table that is being altered.
struct Altering<'c> {
    connection: &'c Connection,
    lsn: Lsn,
    /// Its name as SQL.
    table: String,
    /// Its columns.
    found: Vec<String>,
}

impl Altering<'_> {
    fn step(
        &mut self,
        layout: &Layout,
        defaults: &[Value],
        step: &Step,
        side: fn(&str) -> String,
    ) -> rusqlite::Result<()> {
        let column = |place: &usize| layout.columns.get(*place);
        match step {
            Step::Rename { from, to } => {
                let (from, to) = (side(from), side(to));
                if !same_name(&from, &to) {
                    // What `ddl` once left there has this name.
                    self.set_aside(&to)?;
                }
                self.rename(&from, &to)
            }
            Step::Add { column: place } => {
                let Some(column) = column(place) else { return Ok(()) };
                let name = side(&column.name);
                match layout.mode {
                    // A changelog's older lines keep their values.
                    Mode::History if self.has(&name) => Ok(()),
                    Mode::History => self.add(&name, "", None),
                    Mode::Mirror => {
                        self.set_aside(&name)?;
                        self.add(&name, column.ty.declared(), defaults.get(column.source))
                    }
                }
            }
            Step::SetAside { column: place } => {
                let Some(TargetColumn { name, .. }) = column(place) else { return Ok(()) };
                let name = side(name);
                self.set_aside(&name)?;
                self.add(&name, "", None)
            }
            // No column's declared type changes in place.
            Step::Widen { .. } => Ok(()),
            Step::Drop { name } => {
                let name = side(name);
                if self.has(&name) {
                    self.execute(&format!("DROP COLUMN {}", quoted(&name)))?;
                    self.found.retain(|found| !same_name(found, &name));
                }
                Ok(())
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.found.iter().any(|found| same_name(found, name))
    }

    /// Gives a column that is there the name under which its values are kept.
    fn set_aside(&mut self, name: &str) -> rusqlite::Result<()> {
        if self.has(name) {
            self.rename(name, &until(name, self.lsn))?;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> rusqlite::Result<()> {
        self.execute(&format!("RENAME COLUMN {} TO {}", quoted(from), quoted(to)))?;
        self.found.retain(|found| !same_name(found, from));
        self.found.push(to.to_owned());
        Ok(())
    }

    /// Adds a column. A default that has an exact literal costs nothing, however large the table; any other is written to every row.
    fn add(&mut self, column: &str, declared: &str, default: Option<&Value>) -> rusqlite::Result<()> {
        let name = quoted(column);
        let literal = default.map(literal);
        let sql = match &literal {
            Some(Some(literal)) => format!("ADD COLUMN {name} {declared} DEFAULT {literal}"),
            Some(None) | None => format!("ADD COLUMN {name} {declared}"),
        };
        self.execute(&sql)?;
        if let (Some(None), Some(default)) = (literal, default) {
            self.connection.execute(&format!("UPDATE {} SET {name} = ?1", self.table), [default])?;
        }
        self.found.push(column.to_owned());
        Ok(())
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(&format!("ALTER TABLE {} {sql}", self.table))
    }
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

/// What older rows hold in each new column, by its place in the schema; `NULL` in the others, and until they are read
/// again where that is not known.
pub(super) fn defaults(
    (schema, layout): (&TableSchema, &Layout),
    new: &[usize],
    values: ValuePolicy,
    scratch: &mut Scratch,
) -> Result<Vec<Value>, Failure> {
    let unreadable = || Failure::row(format!("a default of {} cannot be read", schema.name));
    let rules = rules(schema, layout, values);
    let plan = Plan::all(schema).map_err(|error| unreadable().caused_by(error))?;
    let mut defaults = Vec::with_capacity(schema.columns.len());
    for (place, column) in schema.columns.iter().enumerate() {
        defaults.push(match &column.default {
            ColumnDefault::Value(cell) if new.contains(&place) => cell_value(&rules, &plan, place, cell, scratch)
                .map_err(|error| match error {
                    RowError::Value(problem) => problem.causes(unreadable()),
                    RowError::Image(error) => unreadable().caused_by(error),
                    RowError::Sqlite(error) => unreadable().caused_by(error),
                    RowError::Full(error) => unreadable().caused_by(error),
                })?,
            ColumnDefault::Value(_) | ColumnDefault::Unknown | ColumnDefault::Null => Value::Null,
        });
    }
    Ok(defaults)
}
