//! Catching up into SQLite, against the time SQLite itself takes for the same upserts from memory.

use rusqlite::{Connection, params_from_iter, types::Value};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

use crate::binlog::{forget, next_file, once};
use crate::load;
use crate::measure::{Table, best};
use crate::support::cells::{Cell, Content, source_rows};
use crate::support::sandbox::DATABASE;
use crate::support::server::Kind;

const RUNS: u32 = 3;

pub async fn run(kind: Kind, table: &mut Table) {
    let mut sandbox = load::sandbox(kind).await;
    let start = next_file(&sandbox.server).await;
    load::bulk(&sandbox.server).await;

    let content = source_rows(&sandbox.server, DATABASE, "orders", &[]).await;
    // From the binlog through the log into SQLite: more work than the reference, and the limit is the same.
    sandbox.set("/source/startup_mode", json!("specific")).set("/source/specific", json!({ "file": start, "pos": 4 }));
    let mut ours = Vec::new();
    let mut reference = f64::MAX;
    // In turns: the machine's own speed moves while this runs.
    for _ in 0..RUNS {
        reference = reference.min(upsert_from_memory(&content, &sandbox.path("reference.db")));
        forget(&sandbox);
        ours.push(once(&sandbox));
    }
    let ours = best(ours.into_iter());
    table.ratio(&format!("binlog to SQLite, {kind}"), ours.seconds, ("SQLite's upserts from memory", reference), 1.5);
    table.value(&format!("binlog to SQLite, {kind}: peak memory"), ours.peak_mb, "MB", 150.0);
}

/// Rows of a transaction: what a round of the delivery loop holds of this table (8 MiB of the log, about 120 bytes a row).
const ROUND: usize = 70_000;

/// The same rows in transactions of the same size, with the pragmas of the sink (docs/sqlite.md).
fn upsert_from_memory(content: &Content, path: &Path) -> f64 {
    drop(std::fs::remove_file(path));
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384")
        .unwrap();
    connection
        .execute_batch(
            "CREATE TABLE orders (id NONE PRIMARY KEY NOT NULL, customer_id INTEGER, status TEXT, email TEXT, note TEXT, amount TEXT,
             qty INTEGER, is_gift INTEGER, created_at TEXT, updated_at TEXT, score REAL) WITHOUT ROWID",
        )
        .unwrap();
    let assignments: Vec<String> =
        content.columns[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let sql = format!(
        "INSERT INTO orders ({}) VALUES (?{}) ON CONFLICT (id) DO UPDATE SET {}",
        content.columns.join(", "),
        ", ?".repeat(content.columns.len() - 1),
        assignments.join(", ")
    );
    let rows: Vec<Vec<Value>> = content.rows.iter().map(|row| row.iter().map(to_value).collect()).collect();

    let start = Instant::now();
    for transaction in rows.chunks(ROUND) {
        connection.execute_batch("BEGIN").unwrap();
        let mut statement = connection.prepare_cached(&sql).unwrap();
        for row in transaction {
            statement.execute(params_from_iter(row)).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    start.elapsed().as_secs_f64()
}

fn to_value(cell: &Cell) -> Value {
    match cell.clone() {
        Cell::Null => Value::Null,
        Cell::Integer(value) => Value::Integer(value),
        Cell::Real(bits) => Value::Real(f64::from_bits(bits)),
        Cell::Text(bytes) => Value::Text(String::from_utf8(bytes).unwrap()),
        Cell::Blob(bytes) => Value::Blob(bytes),
    }
}
