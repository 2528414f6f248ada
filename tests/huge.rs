//! Sizes: what one huge row takes of memory, in the stream and in the snapshot, and what a compressed transaction takes; and what is said of
//! a transaction that is too large for the log.

use std::fs;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use rusqlite::Connection;
use sha2::Digest as _;

use crate::large::{connect, fast_server, peak_memory_mb};
use crate::support::cells::open_sqlite;
use crate::support::clickhouse::{ClickHouse, REPLICA};
use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// A bound, and no measure.
const LIMIT: Duration = Duration::from_mins(5);

/// Bytes of the huge row, in MB: enough for the rest not to matter. `REPLICATOR_HUGE_ROW` is another size, to be measured.
fn row_mb() -> u64 {
    std::env::var("REPLICATOR_HUGE_ROW").map_or(64, |text| text.parse().unwrap())
}

/// An expression for the content of the row with this id.
fn content(id: u32) -> String {
    format!("REPEAT(UNHEX(SHA2({id}, 256)), {})", row_mb() * 1_000_000 / 32)
}

/// The copy's rows of `huge`: id, length and SHA-256 in hexadecimal, as the source says them.
async fn same_rows(sandbox: &Sandbox, ids: &[u32]) {
    let rows: Vec<(u32, u64, String)> = sandbox
        .server
        .query(format!("SELECT id, LENGTH(content), LOWER(SHA2(content, 256)) FROM {DATABASE}.huge ORDER BY id"))
        .await;
    assert_eq!(rows.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), ids);
    if sandbox.has_clickhouse() {
        let table = format!("{REPLICA}.huge");
        let sql = format!(
            "SELECT id, length(content), lower(hex(SHA256(content))) FROM {table} FINAL ORDER BY id FORMAT TSV"
        );
        let expected: Vec<String> = rows.iter().map(|(id, length, hash)| format!("{id}\t{length}\t{hash}")).collect();
        assert_eq!(sandbox.clickhouse().query(sql).await.lines().collect::<Vec<_>>(), expected);
        return;
    }
    let copy: Connection = open_sqlite(&sandbox.sqlite());
    let mut statement = copy.prepare("SELECT id, content FROM huge ORDER BY id").unwrap();
    let found: Vec<(u32, u64, String)> = statement
        .query_map([], |row| {
            let bytes = row.get_ref(1)?.as_blob()?;
            let hash: Vec<String> = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            Ok((row.get(0)?, u64::try_from(bytes.len()).unwrap(), hash.concat()))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(found == rows, "the copy has other rows");
}

/// The peak of the memory of a daemon that has copied one huge row, beyond what it takes without one.
fn beyond(daemon: &Daemon, idle: u64, tenths: u64, what: &str) {
    let peak = peak_memory_mb(daemon);
    let row = row_mb() * 1_000_000 / (1 << 20);
    eprintln!("{what}: peak {peak} MiB, {idle} MiB without the row of {row} MiB");
    assert!(
        peak < idle + CACHES_MB + row * tenths / 10,
        "{what}: peak {peak} MiB, {idle} MiB without the row of {row} MiB"
    );
}

/// What the caches of the log (16 MiB) and of a SQLite file (24 MiB) take once there is something in them, and buffers beside them.
const CACHES_MB: u64 = 56;

/// `tenths`: what a huge row takes at most, in tenths of its size.
async fn a_huge_row(mut sandbox: Sandbox, tenths: u64) {
    sandbox.set("/wal/max_size", serde_json::json!("4GiB"));
    let mut connection = connect(&sandbox.server).await;
    connection.query_drop("CREATE TABLE huge (id INT PRIMARY KEY, content LONGBLOB NOT NULL)").await.unwrap();

    let mut daemon = sandbox.start();
    sandbox.caught_up_within(LIMIT, &mut daemon).await;
    let idle = peak_memory_mb(&daemon);
    connection.query_drop(format!("INSERT INTO huge SELECT 1, {}", content(1))).await.unwrap();
    sandbox.caught_up_within(LIMIT, &mut daemon).await;
    beyond(&daemon, idle, tenths, "stream");
    daemon.stop();
    same_rows(&sandbox, &[1]).await;

    fs::remove_dir_all(sandbox.wal_directory()).unwrap();
    if sandbox.has_clickhouse() {
        sandbox.clickhouse().exec(format!("DROP DATABASE {REPLICA}")).await;
        sandbox.clickhouse().exec(format!("CREATE DATABASE {REPLICA}")).await;
    } else {
        fs::remove_file(sandbox.sqlite()).unwrap();
    }
    let mut daemon = sandbox.start();
    sandbox.caught_up_within(LIMIT, &mut daemon).await;
    beyond(&daemon, idle, tenths, "snapshot");
    daemon.stop();
    same_rows(&sandbox, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_row_takes_a_bounded_multiple_of_itself_into_sqlite_on_mysql() {
    // As the log has it, and twice in SQLite: the value that is bound, and the record that is made of it.
    a_huge_row(Sandbox::on(fast_server(Kind::MySql).await).await, 31).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_row_takes_a_bounded_multiple_of_itself_into_clickhouse_on_mariadb() {
    let server = fast_server(Kind::MariaDb).await;
    // As the log has it, and as it is sent.
    a_huge_row(Sandbox::with_clickhouse_on(server, ClickHouse::start().await).await, 21).await;
}

/// Rows of 100 KB in the compressed transaction.
const ROWS: u32 = 3000;
/// The process's memory at its peak stays below this, whatever a compressed transaction unpacks to.
const MEMORY_MB: u64 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_transaction_is_never_unpacked_as_a_whole_on_mysql() {
    let sandbox = Sandbox::on(fast_server(Kind::MySql).await).await;
    let mut connection = connect(&sandbox.server).await;
    connection.query_drop("CREATE TABLE huge (id INT PRIMARY KEY, content LONGBLOB NOT NULL)").await.unwrap();
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    let rows: u32 = std::env::var("REPLICATOR_HUGE_ROW").map_or(ROWS, |text| 10 * text.parse::<u32>().unwrap());
    connection.query_drop("SET SESSION binlog_transaction_compression = ON").await.unwrap();
    connection
        .query_drop(format!(
            "INSERT INTO huge WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {rows})
             SELECT k, REPEAT(UNHEX(SHA2(k, 256)), 3125) FROM n"
        ))
        .await
        .unwrap();
    let (_, end) = sandbox.server.position().await;
    assert!(end < u64::from(rows) * 100_000 / 10, "the transaction takes {end} bytes: it was not compressed");
    sandbox.caught_up_within(LIMIT, &mut daemon).await;
    let peak = peak_memory_mb(&daemon);
    daemon.stop();
    let ids: Vec<u32> = (1..=rows).collect();
    same_rows(&sandbox, &ids).await;
    eprintln!("{rows} rows of 100 KB, compressed: peak {peak} MiB");
    assert!(peak < MEMORY_MB, "peak {peak} MiB");
}

/// Starts on a log that is too small, and again with the value that the message names; returns the message.
fn follow_the_hint(sandbox: &mut Sandbox) -> String {
    let output = sandbox.run_within(LIMIT, &["start", "--once"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let error = said.lines().skip_while(|line| !line.starts_with("error: ")).collect::<Vec<_>>().join("\n");
    assert!(error.contains(&format!("a transaction with rows of \"{DATABASE}.wide\" takes ")), "{said}");
    let value = error.split_once("set wal.max_size to ").and_then(|(_, rest)| rest.split(' ').next());
    let value = value.unwrap_or_else(|| panic!("no value is named: {said}")).to_owned();
    sandbox.set("/wal/max_size", serde_json::json!(value));
    sandbox.run_once_within(LIMIT);
    value
}

both_servers! {
    async fn the_value_that_is_named_for_a_transaction_that_is_too_large_is_enough(kind: Kind) {
        let mut sandbox = Sandbox::on(fast_server(kind).await).await;
        sandbox.set("/wal/max_size", serde_json::json!("64MiB"));
        let mut connection = connect(&sandbox.server).await;
        connection.query_drop("CREATE TABLE wide (id INT PRIMARY KEY, content LONGBLOB NOT NULL)").await.unwrap();
        sandbox.run_once();

        // 600 rows, of which the log takes 300 before it is full; their frames waste much.
        let rows = "WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 600) \
                    SELECT k, REPEAT(UNHEX(SHA2(k, 256)), 2100) FROM n";
        connection.query_drop(format!("INSERT INTO wide {rows}")).await.unwrap();
        let value = follow_the_hint(&mut sandbox);
        assert!(["192MiB", "256MiB"].contains(&value.as_str()), "{value}");
        assert_eq!(sandbox.assert_mirrored().await.rows, 600);

        // One row, in the stream and in a snapshot.
        sandbox.set("/wal/max_size", serde_json::json!("64MiB"));
        connection.query_drop("TRUNCATE TABLE wide").await.unwrap();
        connection.query_drop("INSERT INTO wide SELECT 1, REPEAT(UNHEX(SHA2(1, 256)), 1000000)").await.unwrap();
        assert_eq!(follow_the_hint(&mut sandbox), "128MiB");
        assert_eq!(sandbox.assert_mirrored().await.rows, 1);
        fs::remove_dir_all(sandbox.wal_directory()).unwrap();
        fs::remove_file(sandbox.sqlite()).unwrap();
        sandbox.set("/wal/max_size", serde_json::json!("64MiB"));
        assert_eq!(follow_the_hint(&mut sandbox), "128MiB");
        assert_eq!(sandbox.assert_mirrored().await.rows, 1);
    }
}
