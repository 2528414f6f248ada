//! The steps from one shape of a table to the next, one statement each, in a form that can be repeated: each looks first at what is there.

use std::collections::HashSet;

use wal::Lsn;

use super::error::Refused;
use super::layout::{Layout, TargetColumn};
use super::literal::default_literal;
use super::names::{literal, quoted};
use super::rebuild::LeftColumn;
use super::target::Target;
use crate::config::{DdlAction, Mode};
use crate::error::Failure;
use crate::model::TableSchema;
use crate::sink::layout::sides;
use crate::sink::reshape::{Origin, Step};

/// A column as it is at the target.
struct Found {
    ty: String,
    comment: String,
}

impl Target {
    /// Takes the steps.
    pub(super) async fn take_steps(
        &self,
        lsn: Lsn,
        layout: &Layout,
        schema: &TableSchema,
        steps: &[Step],
    ) -> Result<(), Refused> {
        for step in steps {
            for side in sides(layout.mode) {
                for command in self.commands(lsn, layout, schema, step, *side).await? {
                    let sql = format!("ALTER TABLE {} {command}", self.place(&layout.target));
                    tracing::info!(sink = %self.plan.name, %sql, "altering");
                    self.client.execute(&sql, true).await.map_err(|error| error.of_statement(&sql))?;
                }
            }
        }
        Ok(())
    }

    /// What is left to do of a step.
    async fn commands(
        &self,
        lsn: Lsn,
        layout: &Layout,
        schema: &TableSchema,
        step: &Step,
        side: fn(&str) -> String,
    ) -> Result<Vec<String>, Refused> {
        let target = &layout.target;
        let column = |place: &usize| layout.columns.get(*place);
        Ok(match step {
            Step::Rename { from, to } => {
                let (from, to) = (side(from), side(to));
                let rename = format!("RENAME COLUMN {} TO {}", quoted(&from), quoted(&to));
                match (self.column(target, &from).await?, self.column(target, &to).await?) {
                    // Done before a crash.
                    (None, Some(_)) => Vec::new(),
                    // What `ddl` once left there has this name.
                    (Some(_), Some(_)) => vec![set_aside(&to, lsn), rename],
                    (_, None) => vec![rename],
                }
            }
            Step::Add { column: place } => {
                let Some(column) = column(place) else { return Ok(Vec::new()) };
                let name = side(&column.name);
                let add = self.add(lsn, layout.mode, schema, column, &name)?;
                match (self.column(target, &name).await?, layout.mode) {
                    (None, _) => vec![add],
                    (Some(found), _) if found.comment == since(lsn) => Vec::new(),
                    // A changelog's older lines keep their values.
                    (Some(found), Mode::History) if found.ty == column.ty => Vec::new(),
                    // Its values are those of a column that was dropped.
                    (Some(_), _) => vec![set_aside(&name, lsn), add],
                }
            }
            Step::Widen { column: place } => {
                let Some(column) = column(place) else { return Ok(Vec::new()) };
                vec![format!("MODIFY COLUMN {} {}", quoted(&side(&column.name)), column.ty)]
            }
            Step::SetAside { column: place } => {
                let Some(column) = column(place) else { return Ok(Vec::new()) };
                let name = side(&column.name);
                let add = self.add(lsn, layout.mode, schema, column, &name)?;
                match self.column(target, &name).await? {
                    None => vec![add],
                    Some(found) if found.comment == since(lsn) => Vec::new(),
                    Some(_) => vec![set_aside(&name, lsn), add],
                }
            }
            Step::Drop { name } => vec![format!("DROP COLUMN IF EXISTS {}", quoted(&side(name)))],
        })
    }

    /// Adds a column that says at which LSN it was added.
    fn add(
        &self,
        lsn: Lsn,
        mode: Mode,
        schema: &TableSchema,
        column: &TargetColumn,
        name: &str,
    ) -> Result<String, Refused> {
        let default = match (mode, schema.columns.get(column.source)) {
            (Mode::Mirror, Some(source)) => default_literal(&schema.name, source, &column.ty, self.clickhouse.types)
                .map_err(|failure| Refused::refused_here(failure.chain()))?
                .map_or(String::new(), |literal| format!(" DEFAULT {literal}")),
            _ => String::new(),
        };
        let comment = literal(&since(lsn));
        Ok(format!("ADD COLUMN IF NOT EXISTS {} {}{default} COMMENT {comment}", quoted(name), column.ty))
    }

    /// Columns of the table `old` that are written neither from now on nor dropped: what `ddl` left there before, or leaves there now.
    pub(super) async fn left_columns(
        &self,
        lsn: Lsn,
        old: &Layout,
        new: &Layout,
        origins: &[Origin],
    ) -> Result<Vec<LeftColumn>, Failure> {
        let sql = format!(
            "SELECT name, type, default_kind, default_expression FROM system.columns WHERE database = {} AND table = {} \
             AND default_kind IN ('', 'DEFAULT') ORDER BY position",
            literal(&self.clickhouse.database),
            literal(&old.target)
        );
        let found: Vec<(String, String, String, String)> =
            self.client.rows(&sql).await.map_err(|error| error.failure("read the columns of a table"))?;
        let names = |layout: &Layout| layout.insert_columns().into_iter().map(|(name, _)| name).collect::<HashSet<_>>();
        let (mut gone, written) = (names(old), names(new));
        if self.plan.ddl.drop == DdlAction::Ignore {
            let is_kept =
                |at: usize| origins.iter().any(|origin| matches!(origin, Origin::Kept { place, .. } if *place == at));
            for (_, left) in old.columns.iter().enumerate().filter(|(place, _)| !is_kept(*place)) {
                gone.remove(&left.name);
            }
        }
        let left = |(name, ty, kind, default): (String, String, String, String)| LeftColumn {
            new_name: if written.contains(&name) { until(&name, lsn) } else { name.clone() },
            definition: if kind.is_empty() { ty } else { format!("{ty} {kind} {default}") },
            name,
        };
        Ok(found.into_iter().filter(|(name, ..)| !gone.contains(name)).map(left).collect())
    }

    async fn column(&self, table: &str, column: &str) -> Result<Option<Found>, Refused> {
        let sql = format!(
            "SELECT type, comment FROM system.columns WHERE database = {} AND table = {} AND name = {}",
            literal(&self.clickhouse.database),
            literal(table),
            literal(column)
        );
        let rows: Vec<(String, String)> = self.client.rows(&sql).await?;
        Ok(rows.into_iter().next().map(|(ty, comment)| Found { ty, comment }))
    }
}

/// The comment of an added column.
fn since(lsn: Lsn) -> String {
    format!("since lsn {lsn}")
}

/// Gives a column the name under which its values are kept.
fn set_aside(name: &str, lsn: Lsn) -> String {
    format!("RENAME COLUMN {} TO {}", quoted(name), quoted(&until(name, lsn)))
}

fn until(name: &str, lsn: Lsn) -> String {
    format!("{name}_until_{lsn}")
}
