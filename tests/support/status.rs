//! What the tests read of the status document.

use serde_json::Value;

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

fn named<'s>(rows: &'s Value, table: &str) -> &'s Value {
    let mut rows = rows.as_array().into_iter().flatten();
    rows.find(|row| row["table"] == table).unwrap_or(&Value::Null)
}
