//! The steps from one shape of a table to the next, in a form that can be repeated: what is there is looked at once, and a step whose
//! effect is there already is left out.

use wal::Lsn;

use super::commands::{Columns, Found};
use super::error::Refused;
use super::layout::{Layout, TargetColumn};
use super::literal::default_literal;
use super::names::{literal, shown};
use super::target::Target;
use crate::config::Mode;
use crate::model::TableSchema;
use crate::sink::layout::{sides, until};
use crate::sink::reshape::Step;

impl Target {
    /// Takes the steps.
    pub(super) async fn take_steps(
        &self,
        lsn: Lsn,
        layout: &Layout,
        schema: &TableSchema,
        steps: &[Step],
    ) -> Result<(), Refused> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut columns = self.columns(&layout.target).await?;
        for step in steps {
            for side in sides(layout.mode) {
                self.plan_step(lsn, layout, schema, (step, *side), &mut columns)?;
            }
        }
        for sql in columns.statements(&self.place(&layout.target)) {
            tracing::info!(sink = %self.plan.name, sql = %shown(&sql), "altering");
            self.client.execute(&sql, true).await.map_err(|error| error.of_statement(&sql))?;
        }
        Ok(())
    }

    /// What is left to do of a step.
    fn plan_step(
        &self,
        lsn: Lsn,
        layout: &Layout,
        schema: &TableSchema,
        (step, side): (&Step, fn(&str) -> String),
        columns: &mut Columns,
    ) -> Result<(), Refused> {
        let column = |place: &usize| layout.columns.get(*place);
        match step {
            Step::Rename { from, to } => {
                let (from, to) = (side(from), side(to));
                match (columns.get(&from), columns.get(&to)) {
                    // Done before a crash.
                    (None, Some(_)) => {}
                    // What `ddl` once left there has this name.
                    (Some(_), Some(_)) => {
                        columns.rename(&to, &until(&to, lsn));
                        columns.rename(&from, &to);
                    }
                    (_, None) => columns.rename(&from, &to),
                }
            }
            Step::Add { column: place } => {
                let Some(column) = column(place) else { return Ok(()) };
                let name = side(&column.name);
                match (columns.get(&name), layout.mode) {
                    (None, _) => {}
                    (Some(found), _) if found.comment == since(lsn) => return Ok(()),
                    // A changelog's older lines keep their values.
                    (Some(found), Mode::History) if found.ty == column.ty => return Ok(()),
                    // Its values are those of a column that was dropped.
                    (Some(_), _) => columns.rename(&name, &until(&name, lsn)),
                }
                self.add(lsn, layout.mode, schema, (column, &name), columns)?;
            }
            Step::Widen { column: place } => {
                let Some(column) = column(place) else { return Ok(()) };
                columns.modify(&side(&column.name), &column.ty);
            }
            Step::SetAside { column: place } => {
                let Some(column) = column(place) else { return Ok(()) };
                let name = side(&column.name);
                match columns.get(&name) {
                    None => {}
                    Some(found) if found.comment == since(lsn) => return Ok(()),
                    Some(_) => columns.rename(&name, &until(&name, lsn)),
                }
                self.add(lsn, layout.mode, schema, (column, &name), columns)?;
            }
            Step::Drop { name } => columns.drop(&side(name)),
        }
        Ok(())
    }

    /// Adds a column that says at which LSN it was added.
    fn add(
        &self,
        lsn: Lsn,
        mode: Mode,
        schema: &TableSchema,
        (column, name): (&TargetColumn, &str),
        columns: &mut Columns,
    ) -> Result<(), Refused> {
        let default = match (mode, schema.columns.get(column.source)) {
            (Mode::Mirror, Some(source)) => {
                default_literal(&schema.name, source, &column.ty, self.plan.options_for(&schema.name).values)
                    .map_err(|failure| Refused::refused_here(failure.chain()))?
                    // What a column without one has. The server weighs each default that it knows for each column that is dropped.
                    .filter(|literal| literal != "NULL")
                    .map_or(String::new(), |literal| format!(" DEFAULT {literal}"))
            }
            _ => String::new(),
        };
        let comment = since(lsn);
        let definition = format!("{}{default} COMMENT {}", column.ty, literal(&comment));
        columns.add(name, &definition, Found { ty: column.ty.clone(), comment });
        Ok(())
    }

    /// The columns of a table that hold values, with their types and defaults.
    pub(super) async fn stored_columns(&self, table: &str) -> Result<Vec<(String, String)>, Refused> {
        let sql = format!(
            "SELECT name, type, default_kind, default_expression FROM system.columns WHERE database = {} AND table = {} \
             AND default_kind IN ('', 'DEFAULT') ORDER BY position",
            literal(&self.clickhouse.database),
            literal(table)
        );
        let found: Vec<(String, String, String, String)> = self.client.rows(&sql).await?;
        let defined = |(name, ty, kind, default): (String, String, String, String)| {
            (name, if kind.is_empty() { ty } else { format!("{ty} {kind} {default}") })
        };
        Ok(found.into_iter().map(defined).collect())
    }

    /// The columns of a table, and how long a statement may be.
    async fn columns(&self, table: &str) -> Result<Columns, Refused> {
        let sql = format!(
            "SELECT name, type, comment, toUInt64(getSetting('max_query_size')) FROM system.columns WHERE database = {} AND table = {}",
            literal(&self.clickhouse.database),
            literal(table)
        );
        self.client.rows(&sql).await.map(Columns::new)
    }
}

/// The comment of an added column.
fn since(lsn: Lsn) -> String {
    format!("since lsn {lsn}")
}
