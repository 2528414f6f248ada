//! Random statements over the tables' fixed columns: single ones, and transactions with savepoints and rollbacks.

use std::ops::Range;

use rand::RngExt;
use rand::rngs::StdRng;

use super::tables::{KEYS, Table, Value};

/// One autocommitted statement, or a whole transaction.
pub(super) fn unit(tables: &[Table], rng: &mut StdRng) -> Vec<String> {
    if rng.random_bool(0.5) {
        return vec![statement(tables, rng)];
    }
    let mut unit = vec!["BEGIN".to_owned()];
    let mut savepoints = 0;
    for _ in 0..rng.random_range(1..=12) {
        match rng.random_range(0..10) {
            0 => {
                savepoints += 1;
                unit.push(format!("SAVEPOINT s{savepoints}"));
            }
            1 if savepoints > 0 => {
                // Rolling back to a savepoint forgets the later ones.
                savepoints = rng.random_range(1..=savepoints);
                unit.push(format!("ROLLBACK TO SAVEPOINT s{savepoints}"));
            }
            _ => unit.push(statement(tables, rng)),
        }
    }
    unit.push(if rng.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" }.to_owned());
    unit
}

/// One statement over one of the tables.
pub(super) fn statement(tables: &[Table], rng: &mut StdRng) -> String {
    let table = &tables[rng.random_range(0..tables.len())];
    let name = &table.name;
    let number = rng.random_range(0..KEYS);
    let key = table.key_columns().join(", ");
    match rng.random_range(0..100) {
        0..30 => {
            let rows = if rng.random_bool(0.1) { 80 } else { rng.random_range(1..=4) };
            let numbers: Vec<u32> = (0..rows).map(|_| rng.random_range(0..KEYS)).collect();
            insert(&format!("INSERT IGNORE INTO {name}"), table, &numbers, rng)
        }
        30..36 => insert(&format!("REPLACE INTO {name}"), table, &[number], rng),
        36..42 => {
            format!(
                "{} ON DUPLICATE KEY UPDATE {}",
                insert(&format!("INSERT INTO {name}"), table, &[number], rng),
                assignment(rng)
            )
        }
        42..62 => format!("UPDATE {name} SET {} WHERE {}", assignment(rng), table.has_key(number, rng)),
        62..72 => {
            // Ordered, so that two connections take their locks in one order and seldom deadlock.
            let condition = format!("a_int > {}", rng.random_range(-1_000_000..1_000_000));
            format!(
                "UPDATE {name} SET {}, a_int = a_int - 1 WHERE {condition} ORDER BY {key} LIMIT 25",
                assignment(rng)
            )
        }
        72..80 => {
            let new = table.key(rng.random_range(0..KEYS), rng);
            let moved: Vec<String> =
                table.key_columns().iter().zip(new).map(|(column, value)| format!("{column} = {value}")).collect();
            format!("UPDATE IGNORE {name} SET {} WHERE {}", moved.join(", "), table.has_key(number, rng))
        }
        80..92 => format!("DELETE FROM {name} WHERE {}", table.has_key(number, rng)),
        92..96 => format!("DELETE FROM {name} WHERE a_tiny = {} ORDER BY {key} LIMIT 10", rng.random_range(0..=255)),
        // Changes nothing: an update to the same values, and a delete of nothing.
        96..98 => format!("UPDATE {name} SET a_int = a_int WHERE {}", table.has_key(number, rng)),
        _ => format!("DELETE FROM {name} WHERE 1 = 0"),
    }
}

/// One insert of the rows with these numbers, which do not exist yet.
pub(super) fn fill(database: &str, table: &Table, numbers: Range<u32>, rng: &mut StdRng) -> String {
    let numbers: Vec<u32> = numbers.collect();
    insert(&format!("INSERT INTO {database}.{}", table.name), table, &numbers, rng)
}

fn insert(into: &str, table: &Table, numbers: &[u32], rng: &mut StdRng) -> String {
    let columns: Vec<String> = Value::ALL.iter().map(Value::to_string).collect();
    let rows: Vec<String> = numbers
        .iter()
        .map(|&number| {
            let mut literals = table.key(number, rng);
            literals.extend(Value::ALL.iter().map(|value| value.literal(rng)));
            format!("({})", literals.join(", "))
        })
        .collect();
    format!("{into} ({}, {}) VALUES {}", table.key_columns().join(", "), columns.join(", "), rows.join(", "))
}

/// One to three columns set to new values.
pub(super) fn assignment(rng: &mut StdRng) -> String {
    let set: Vec<String> = (0..rng.random_range(1..=3))
        .map(|_| {
            let value = Value::ALL[rng.random_range(0..Value::ALL.len())];
            format!("{value} = {}", value.literal(rng))
        })
        .collect();
    set.join(", ")
}
