//! One transaction of 1 GB of binlog, through the log into SQLite.

use serde_json::json;

use crate::binlog::{next_file, once};
use crate::load;
use crate::measure::Table;
use crate::support::sandbox::DATABASE;
use crate::support::server::Kind;

pub async fn run(kind: Kind, table: &mut Table) {
    let mut sandbox = load::sandbox(kind).await;
    sandbox
        .server
        .exec(format!("CREATE TABLE {DATABASE}.wide (id INT PRIMARY KEY, content VARCHAR(8000) NOT NULL)"))
        .await;
    let start = next_file(&sandbox.server).await;
    load::call(
        &sandbox.server,
        "INSERT INTO wide WITH RECURSIVE numbers (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM numbers WHERE k < 135000)
         SELECT k, REPEAT(CHAR(97 + k % 26), 8000) FROM numbers",
    )
    .await;
    // The server begins a new file after a transaction of this size.
    let files: Vec<mysql_async::Row> = sandbox.server.query("SHOW BINARY LOGS").await;
    let file = files.into_iter().find(|row| row.get::<String, _>(0).as_ref() == Some(&start)).unwrap();
    let bytes: u64 = file.get(1).unwrap();
    assert!(bytes > 1_000_000_000, "the transaction has {bytes} bytes");

    sandbox.set("/source/startup_mode", json!("specific")).set("/source/specific", json!({ "file": start, "pos": 4 }));
    let run = once(&sandbox);
    table.value(&format!("one transaction of 1 GB to SQLite, {kind}: peak memory"), run.peak_mb, "MB", 150.0);
    table.value(&format!("one transaction of 1 GB to SQLite, {kind}: time"), run.seconds, "s", 120.0);
}
