//! What the status says about the one sink of a sandbox.

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::sandbox::Sandbox;
use crate::support::workload::Shape;

/// The shapes that a mirror takes: every one with a key.
pub fn keyed() -> Vec<Shape> {
    Shape::ALL.iter().copied().filter(|shape| *shape != Shape::Keyless).collect()
}

/// The reason why a table is stopped, if it is.
pub fn stop_reason<'s>(status: &'s Value, table: &str) -> Option<&'s str> {
    let stopped = status["sinks"][0]["stopped_tables"].as_array()?;
    stopped.iter().find(|stopped| stopped["table"] == table)?["reason"].as_str()
}

/// The names of the stopped tables, in order.
pub fn stopped(status: &Value) -> Vec<String> {
    let stopped = status["sinks"][0]["stopped_tables"].as_array().expect("the status has stopped_tables");
    stopped.iter().map(|stopped| stopped["table"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the sink's error has these words in it, and returns it.
pub async fn error_with(daemon: &mut Daemon, words: &str) -> String {
    let status = daemon
        .wait_until(&format!("the sink's error has '{words}' in it"), |status| {
            status["sinks"][0]["error"].as_str().is_some_and(|error| error.contains(words))
        })
        .await;
    status["sinks"][0]["error"].as_str().unwrap().to_owned()
}

/// Waits until the table is stopped, and returns why.
pub async fn stop_of(daemon: &mut Daemon, table: &str) -> String {
    let status = daemon.wait_until(&format!("{table} is stopped"), |status| stop_reason(status, table).is_some()).await;
    stop_reason(&status, table).unwrap().to_owned()
}

/// One value that ClickHouse gives.
pub async fn number(sandbox: &Sandbox, sql: &str) -> u64 {
    let text = sandbox.clickhouse().query(sql).await;
    text.trim().parse().unwrap_or_else(|_| panic!("no number from {sql}: {text:?}"))
}
