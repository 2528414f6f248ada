//! Whether a start would go well, as far as the server is concerned.

use super::client::Client;
use super::open;
use crate::config::{SinkKind, SinkPlan};
use crate::model::CheckItem;

/// Checks whether the server answers, and knows the user and the database.
pub async fn preflight(plan: &SinkPlan) -> Vec<CheckItem> {
    let named = |what: &str| format!("sink {}: {what}", plan.name);
    let SinkKind::ClickHouse(clickhouse) = &plan.kind else { return Vec::new() };
    let reached = match Client::new(clickhouse) {
        Ok(client) => open::reach(&client, clickhouse).await,
        Err(failure) => Err(failure),
    };
    vec![match reached {
        Ok(()) => CheckItem::ok(named("server"), format!("{} answers", clickhouse.url)),
        Err(failure) => CheckItem::fail(named("server"), failure.chain(), failure.hint.clone()),
    }]
}
