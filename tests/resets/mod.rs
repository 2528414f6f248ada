//! `replicator sink reset`: where log and target do not fit any more, the command that the message names brings every table back, into the
//! same target and under the same name of the sink.

mod detached; // a sink that a full log is taken from
mod running; // with a daemon
mod stopped; // between two starts

use std::path::Path;
use std::process::{Command, Output};

use crate::support::cells::open_sqlite;
use crate::support::sandbox::{CHANGELOG, DATABASE, Sandbox};
use crate::support::server::Kind;

/// The sinks of [`Sandbox::with_every_sink`].
const SINKS: [&str; 4] = ["local", "changelog", "ch", "ch_changelog"];
/// What [`assert_whole`] finds of replaces.
const NEW: (bool, bool) = (false, false);
const REPLACED: (bool, bool) = (true, true);
const TABLES: [&str; 2] = ["t", "u"];

/// Every kind of copy of two tables, of a log that was trimmed.
async fn copied(kind: Kind) -> Sandbox {
    let sandbox = Sandbox::with_every_sink(kind).await;
    for (table, key) in TABLES.iter().zip(["PRIMARY KEY", "NOT NULL UNIQUE"]) {
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE {table} (id INT {key}, v VARCHAR(40));
                 INSERT INTO {table} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 50) SELECT k, 'first' FROM n"
            ))
            .await;
    }
    sandbox.run_once();
    assert_whole(&sandbox, NEW).await;
    sandbox
}

/// Rows that are changed, added and gone.
async fn change(sandbox: &Sandbox, word: &str, id: u32) {
    for table in TABLES {
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; UPDATE {table} SET v = '{word}' WHERE id % 3 = 0; DELETE FROM {table} WHERE id % 10 = 1;
                 INSERT INTO {table} VALUES ({id}, '{word}')"
            ))
            .await;
    }
}

/// Runs to the end, which is refused for every sink with this message and the command that resets it.
fn assert_refused(sandbox: &Sandbox, message: &str) {
    let output = sandbox.run(&["start", "--once"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for sink in SINKS {
        let names = |line: &str| {
            line.contains(&format!("'{sink}'")) && line.contains(message) && line.contains(&reset_of(sink))
        };
        assert!(said.lines().any(names), "'{message}' of sink {sink} in:\n{said}");
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn reset_of(sink: &str) -> String {
    format!("replicator sink reset {sink}")
}

/// As the hint says.
fn reset(sandbox: &Sandbox, sink: &str) -> String {
    let output = sandbox.run(&["sink", "reset", sink]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// Asserts that every copy is what the source is: the mirrors, and each changelog since its last replace. `is_replaced`: whether it has one,
/// in SQLite and in ClickHouse; a table that is made for it has none.
async fn assert_whole(sandbox: &Sandbox, is_replaced: (bool, bool)) {
    let compared = sandbox.assert_mirrored().await;
    assert_eq!(sandbox.assert_mirrored_to_clickhouse().await, compared);
    for table in TABLES {
        let source: Vec<(i64, String)> =
            sandbox.server.query(format!("SELECT id, v FROM {DATABASE}.{table} ORDER BY id")).await;
        let since = |changelog: &str| {
            format!(
                "FROM {changelog} WHERE _version > (SELECT coalesce(max(_version), 0) FROM {changelog} WHERE _op = 'replace')"
            )
        };
        let replaced = |changelog: &str| format!("SELECT count(*) FROM {changelog} WHERE _op = 'replace'");
        let connection = open_sqlite(&sandbox.changelog());
        let replaces: i64 = connection.query_row(&replaced(table), [], |row| row.get(0)).unwrap();
        let ch = format!("{CHANGELOG}.{table}");
        let ch_replaces: i64 = sandbox.clickhouse().query(replaced(&ch)).await.trim().parse().unwrap();
        assert_eq!((replaces > 0, ch_replaces > 0), is_replaced, "{table}");
        let sql = format!("SELECT after_id, after_v {} ORDER BY 1", since(table));
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let rows: Vec<(i64, String)> = rows.map(Result::unwrap).collect();
        let sql = format!("SELECT after_id, after_v {} ORDER BY 1", since(&ch));
        let lines = sandbox.clickhouse().query(sql).await;
        let row = |line: &str| {
            let (id, v) = line.split_once('\t').unwrap();
            (id.parse().unwrap(), v.to_owned())
        };
        let ch_rows: Vec<(i64, String)> = lines.lines().map(row).collect();
        assert_eq!(rows, source, "{table} in SQLite");
        assert_eq!(ch_rows, source, "{table} in ClickHouse");
    }
}

/// Copies a directory, or what is in a file.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// The files of the copies in SQLite.
fn files(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let with =
        |path: std::path::PathBuf| ["", "-wal", "-shm"].map(|suffix| format!("{}{suffix}", path.display()).into());
    [sandbox.sqlite(), sandbox.changelog()].into_iter().flat_map(with).collect()
}

/// Empties every target.
async fn empty_targets(sandbox: &Sandbox) {
    for file in files(sandbox).iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).unwrap();
    }
    for database in ["replica", CHANGELOG] {
        sandbox.clickhouse().exec(format!("DROP DATABASE {database} SYNC")).await;
        sandbox.clickhouse().exec(format!("CREATE DATABASE {database}")).await;
    }
}
