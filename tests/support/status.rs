//! What the tests read of the status document.

use serde_json::Value;

use super::daemon::Daemon;

/// Whether no table is being read, or is to be.
pub fn reads_nothing(status: &Value) -> bool {
    status["snapshot"]["tables"].as_array().is_some_and(Vec::is_empty)
}

/// The read of a table (`database.table`) that is wanted or has begun; null without one.
pub fn read_of<'s>(status: &'s Value, table: &str) -> &'s Value {
    named(&status["snapshot"]["tables"], table)
}

/// The row of a table (`database.table`); null without one.
pub fn table_of<'s>(status: &'s Value, table: &str) -> &'s Value {
    named(&status["tables"], table)
}

/// How many tables are complete, as far as source and log go; `None` if another one is not.
pub fn all_complete(status: &Value) -> Option<usize> {
    let tables = status["tables"].as_array()?;
    tables.iter().all(|table| table["state"] == "complete").then_some(tables.len())
}

/// The reason why a table is stopped at the first sink, if it is.
pub fn stop_reason<'s>(status: &'s Value, table: &str) -> Option<&'s str> {
    let stopped = status["sinks"][0]["stopped_tables"].as_array()?;
    stopped.iter().find(|stopped| stopped["table"] == table)?["reason"].as_str()
}

/// The names of the tables that are stopped at the first sink, in order.
pub fn stopped(status: &Value) -> Vec<String> {
    let stopped = status["sinks"][0]["stopped_tables"].as_array().expect("the status has stopped_tables");
    stopped.iter().map(|stopped| stopped["table"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the first sink's error has these words in it, and returns it.
pub async fn error_with(daemon: &mut Daemon, words: &str) -> String {
    let status = daemon
        .wait_until(&format!("the sink's error has '{words}' in it"), |status| {
            status["sinks"][0]["error"].as_str().is_some_and(|error| error.contains(words))
        })
        .await;
    status["sinks"][0]["error"].as_str().unwrap().to_owned()
}

/// Waits until the table is stopped at the first sink, and returns why.
pub async fn stop_of(daemon: &mut Daemon, table: &str) -> String {
    let status = daemon.wait_until(&format!("{table} is stopped"), |status| stop_reason(status, table).is_some()).await;
    stop_reason(&status, table).unwrap().to_owned()
}

fn named<'s>(rows: &'s Value, table: &str) -> &'s Value {
    let mut rows = rows.as_array().into_iter().flatten();
    rows.find(|row| row["table"] == table).unwrap_or(&Value::Null)
}
