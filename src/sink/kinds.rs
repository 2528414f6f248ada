//! The kinds of sinks, one line each. Nothing outside the module of a kind names it.

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::checking::{Against, Checked};
use super::columns::NameRule;
use super::{Sink, clickhouse, sqlite};
use crate::config::{SinkPlan, SinkType};
use crate::error::Failure;
use crate::model::CheckItem;

#[cfg(test)]
mod tests;

static KINDS: &[&Kind] = &[
    &sqlite::KIND,     // one file
    &clickhouse::KIND, // one database of a server
];

/// What a kind of sink brings.
pub(super) struct Kind {
    /// Its name, and how its section of the configuration is read.
    pub(super) config: SinkType,
    /// What `check` finds of its target. It changes nothing.
    pub(super) check: for<'a> fn(&'a SinkPlan, Against<'a>) -> BoxFuture<'a, Result<Checked, Failure>>,
    /// The sink of a plan, whose requests run on the runtime. Nothing is opened yet.
    pub(super) make: fn(&SinkPlan, &Handle) -> Result<Box<dyn Sink>, Failure>,
    /// When its target takes two names of tables for one.
    pub(super) table_names: NameRule,
}

/// The types of sinks that a configuration may have.
pub fn types() -> Vec<&'static SinkType> {
    KINDS.iter().map(|kind| &kind.config).collect()
}

/// The sink of a plan, whose requests run on `runtime`. Nothing is opened yet.
///
/// # Errors
/// When no kind of sink has the plan's settings.
pub fn make(plan: &SinkPlan, runtime: &Handle) -> Result<Box<dyn Sink>, Failure> {
    (kind_of(plan)?.make)(plan, runtime)
}

/// What `check` finds of a sink's target. It changes nothing.
pub async fn check(plan: &SinkPlan, against: Against<'_>) -> Checked {
    let found = match kind_of(plan) {
        Ok(kind) => (kind.check)(plan, against).await,
        Err(failure) => Err(failure),
    };
    found.unwrap_or_else(|failure| {
        let items = vec![CheckItem::fail(format!("sink {}", plan.name), failure.chain(), None)];
        Checked { items, state: None }
    })
}

/// The kind of a plan's settings.
pub(super) fn kind_of(plan: &SinkPlan) -> Result<&'static Kind, Failure> {
    let name = plan.settings.type_name();
    let kind = KINDS.iter().find(|kind| kind.config.name == name);
    kind.copied().ok_or_else(|| Failure::fatal(format!("sink \"{}\" is of the unknown type {name}", plan.name)))
}
