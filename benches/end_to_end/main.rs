//! The whole program against the limits it is meant to reach, each as a ratio to a reference measured in the same run.
//!
//! usage: `cargo bench --bench end_to_end [-- SCENARIO...]`, with `mysql` or `mariadb` among the words for one server
//! only. Prints a table, and fails when a limit is missed. `REPLICATOR_BENCH_ROWS` (default 1,000,000) scales it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its result"
)]

#[path = "../../tests/support/mod.rs"]
#[macro_use]
mod support;

mod binlog; // source to log: bulk and small transactions
mod clickhouse; // log and binary log to ClickHouse
mod latency; // commit at the source to visible in SQLite
mod load; // what the source holds
mod measure; // time and memory of a process; the table
mod memory; // one transaction of 1 GB
mod snapshot; // tables to log
mod sqlite; // log to SQLite
mod tables; // many small tables to ClickHouse, and to SQLite

use std::env;
use std::process::ExitCode;

use measure::Table;
use support::server::Kind;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // cargo passes --bench; a name that is no scenario is a mistake, not an empty run.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let scenarios = [
        "bulk",
        "small",
        "snapshot",
        "sqlite",
        "latency",
        "memory",
        "small_tables",
        "known_tables",
        "ch_bulk",
        "ch_updates",
        "ch_latency",
        "ch_tables",
    ];
    let kinds = [Kind::MySql, Kind::MariaDb];
    for word in &words {
        if !scenarios.contains(&word.as_str()) && !kinds.iter().any(|kind| kind.to_string() == *word) {
            eprintln!("unknown word '{word}': known are {scenarios:?}, mysql and mariadb");
            return ExitCode::from(2);
        }
    }
    let wanted = |name: &str, among: &[&str]| {
        words.iter().any(|word| word == name) || !words.iter().any(|word| among.contains(&word.as_str()))
    };

    let mut table = Table::default();
    for kind in kinds {
        if !wanted(&kind.to_string(), &["mysql", "mariadb"]) {
            continue;
        }
        for scenario in scenarios {
            if !wanted(scenario, &scenarios) {
                continue;
            }
            eprintln!("{scenario} on {kind} ...");
            match scenario {
                "bulk" => binlog::bulk(kind, &mut table).await,
                "small" => binlog::small(kind, &mut table).await,
                "snapshot" => snapshot::compare(kind, &mut table).await,
                "sqlite" => sqlite::run(kind, &mut table).await,
                "latency" => latency::run(kind, &mut table).await,
                "memory" => memory::run(kind, &mut table).await,
                "ch_bulk" => clickhouse::bulk(kind, &mut table).await,
                "ch_updates" => clickhouse::updates(kind, &mut table).await,
                "small_tables" => tables::dump(kind, &mut table).await,
                "known_tables" => tables::known(kind, &mut table).await,
                "ch_tables" => tables::run(kind, &mut table).await,
                _ => clickhouse::latency(kind, &mut table).await,
            }
        }
    }
    println!("{table}");
    if table.every_limit_is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
