//! What a full log must not hold up: a stop, an error of the source, the end of a run that has to end.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::cells::{open_sqlite, sqlite_rows};
use crate::support::daemon::LIMIT;
use crate::support::locks::Locks;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::workload::{Shape, Workload};

/// The log is full at 48 MiB, which is 384 rows in a block each, and up to 4 MiB more are on the way to it.
async fn small_log(kind: crate::support::server::Kind) -> Sandbox {
    let mut sandbox = Sandbox::new(kind).await;
    sandbox.set("/wal/max_size", json!("64MiB"));
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT NOT NULL)"))
        .await;
    sandbox
}

/// Transactions of so many rows of 100 KB each.
async fn write(sandbox: &Sandbox, transactions: u32, rows: u32) {
    for _ in 0..transactions {
        sandbox
            .server
            .exec(format!(
                "INSERT INTO {DATABASE}.t (v) WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {rows})
                 SELECT REPEAT(SHA2(UUID(), 256), 1600) FROM n"
            ))
            .await;
    }
}

/// Holds the copy's write lock until it is dropped: the sink tries again and again.
fn stuck(sandbox: &Sandbox) -> Connection {
    let lock = Connection::open(sandbox.sqlite()).unwrap();
    lock.busy_timeout(Duration::from_secs(30)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    lock
}

/// Makes the event of a binlog file that has these words one of an unknown type.
fn make_unreadable(file: &Path, words: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    // After the magic: of each event, the type is the fifth byte, and its size begins at the tenth.
    let mut at = 4;
    loop {
        let size = u32::from_le_bytes(bytes[at + 9..at + 13].try_into().unwrap());
        let end = at + usize::try_from(size).unwrap();
        if bytes[at..end].windows(words.len()).any(|there| there == words) {
            bytes[at + 4] = 99;
            return std::fs::write(file, bytes).unwrap();
        }
        at = end;
    }
}

fn is_full(status: &Value) -> bool {
    status["source"]["state"] == "log_full"
}

both_servers! {
    async fn a_stop_is_in_order_while_the_sink_is_stuck_and_the_log_full(kind: Kind) {
        for (transactions, rows) in [(480, 1), (8, 70)] {
            let sandbox = small_log(kind).await;
            let mut daemon = sandbox.start();
            sandbox.caught_up(&mut daemon).await;
            let lock = stuck(&sandbox);
            write(&sandbox, transactions, rows).await;
            daemon.wait_until("the log is full", is_full).await;

            daemon.terminate();
            assert_eq!(daemon.wait(Duration::from_secs(9)), 0, "exit code, with {rows} rows a transaction");
            let log = daemon.log();
            assert!(log.lines().last().is_some_and(|line| line.contains("stopped")), "{log}");
            drop(lock);

            let mut daemon = sandbox.start();
            sandbox.caught_up(&mut daemon).await;
            daemon.stop();
            let written = usize::try_from(transactions * rows).unwrap();
            assert_eq!(sandbox.assert_mirrored().await.rows, written);
        }
    }

    async fn an_error_of_the_source_ends_the_daemon_while_the_log_is_full(kind: Kind) {
        let sandbox = small_log(kind).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        let _lock = stuck(&sandbox);
        sandbox.server.exec("SET GLOBAL binlog_checksum = NONE").await;
        // More than the log takes, and less than waits on the way to it.
        write(&sandbox, 405, 1).await;
        let (file, _) = sandbox.server.position().await;
        sandbox.server.exec("CREATE DATABASE unreadable; FLUSH BINARY LOGS").await;
        make_unreadable(&sandbox.server.data_directory().join(file), b"CREATE DATABASE unreadable");
        let mut daemon = sandbox.start();

        assert_eq!(daemon.wait(LIMIT), 1);
        let log = daemon.log();
        assert!(log.contains("event type 99 is not known"), "{log}");
        let status: Value = serde_json::from_slice(&sandbox.run(&["status", "--json"]).stdout).unwrap();
        let appended = status["tables"][0]["appended"].as_u64().unwrap();
        assert!((100..405).contains(&appended), "the log was not full: {status}");
    }

    async fn a_run_to_the_end_ends_when_a_sink_has_failed_and_the_log_is_full(kind: Kind) {
        let mut sandbox = small_log(kind).await;
        write(&sandbox, 480, 1).await;
        let good = sandbox.config()["sinks"][0].clone();
        let bad = json!({ "name": "bad", "type": "sqlite", "path": "/proc/no/such.db", "table_name": "{table}" });
        sandbox.set("/sinks", json!([good, bad]));

        let output = sandbox.run_within(LIMIT, &["start", "--once"]);

        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("sink 'bad' failed"), "{said}");
    }

    async fn a_run_to_the_end_brings_the_other_sinks_all_there_is_when_one_has_failed(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 200).await;
        let good = sandbox.config()["sinks"][0].clone();
        let bad = json!({ "name": "bad", "type": "sqlite", "path": "/proc/no/such.db", "table_name": "{table}" });
        sandbox.set("/sinks", json!([good, bad]));

        let output = sandbox.run_within(LIMIT, &["start", "--once"]);

        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("sink 'bad' failed"), "{said}");
        assert_eq!(sandbox.assert_mirrored().await.rows, 200 * Shape::ALL.len());
    }
}

both_servers! {
    /// Delivery waits at rows whose table cannot be asked about, and the log fills up after them.
    async fn rows_that_wait_for_an_answer_do_not_keep_a_full_log_full(kind: Kind) {
        let mut sandbox = small_log(kind).await;
        // Longer than it takes to fill the log.
        sandbox.set("/source/describe_wait", json!("15s"));
        let proxy = sandbox.behind_proxy().await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        proxy.hold();
        sandbox
            .server
            .exec(format!(
                "CREATE DATABASE other; CREATE TABLE other.template (c VARCHAR(40) NOT NULL, UNIQUE (c(10))); USE {DATABASE};
                 CREATE TABLE asked LIKE other.template; INSERT INTO asked VALUES ('0123456789 one')"
            ))
            .await;
        let locks = Locks::write(&sandbox.server, DATABASE, &["asked"]).await;
        write(&sandbox, 700, 1).await;
        proxy.release();

        daemon.wait_until("the log is full", is_full).await;
        let copied = || sqlite_rows(&open_sqlite(&sandbox.sqlite()), "t", &["id".to_owned()], "1").len();
        daemon.wait_until("the rows of the other table are copied", |_| copied() == 700).await;
        locks.release().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored().await.rows, 701);
    }
}
