//! The kinds of sinks: what each brings, in one place. Its keys are read in [`crate::config`].

use tokio::runtime::Handle;

use super::columns::NameRule;
use super::{Sink, clickhouse, sqlite};
use crate::config::{SinkKind, SinkPlan};
use crate::error::Failure;
use crate::model::CheckItem;

/// The sink of a plan, whose requests run on `runtime`. Nothing is opened yet.
///
/// # Errors
/// When the plan is of another kind than it says.
pub fn make(plan: &SinkPlan, runtime: &Handle) -> Result<Box<dyn Sink>, Failure> {
    match &plan.kind {
        SinkKind::Sqlite { .. } => Ok(Box::new(sqlite::SqliteSink::new(plan.clone())?)),
        SinkKind::ClickHouse(_) => Ok(Box::new(clickhouse::ClickHouseSink::new(plan.clone(), runtime.clone())?)),
    }
}

/// What `check` finds of a sink's target. It changes nothing.
pub async fn check(plan: &SinkPlan) -> Vec<CheckItem> {
    match &plan.kind {
        SinkKind::Sqlite { path } => sqlite::preflight(plan, path),
        SinkKind::ClickHouse(_) => clickhouse::preflight(plan).await,
    }
}

/// When a target takes two names of tables for one.
pub(super) fn table_names(kind: &SinkKind) -> NameRule {
    match kind {
        SinkKind::Sqlite { .. } => sqlite::TABLE_NAMES,
        SinkKind::ClickHouse(_) => clickhouse::TABLE_NAMES,
    }
}
