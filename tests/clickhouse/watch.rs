//! What the tests of the ClickHouse sink ask again and again.

pub use crate::support::status::{error_with, stop_of, stop_reason, stopped};

use crate::support::sandbox::Sandbox;
use crate::support::workload::Shape;

/// The shapes that a mirror takes: every one with a key.
pub fn keyed() -> Vec<Shape> {
    Shape::ALL.iter().copied().filter(|shape| *shape != Shape::Keyless).collect()
}

/// One value that ClickHouse gives.
pub async fn number(sandbox: &Sandbox, sql: &str) -> u64 {
    let text = sandbox.clickhouse().query(sql).await;
    text.trim().parse().unwrap_or_else(|_| panic!("no number from {sql}: {text:?}"))
}
