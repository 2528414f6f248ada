//! Size: one transaction of 1 GB in bounded memory, and a log whose file stays within what it held at its fullest.

use std::fs;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use rusqlite::Connection;
use serde_json::json;

use crate::support::cells::open_sqlite;
use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions};

/// Rows of the large transaction: with 100 KB each, more than 1 GB.
const ROWS: u32 = 10_700;
/// The process's resident memory at its peak stays below this, whatever the size of a transaction.
const MEMORY_MB: u64 = 150;
/// Rounds of the steady load. In every third of them the sink is stuck until the log holds all of the round.
const ROUNDS: usize = 12;

/// Nothing waits for the server's disk: writing there is not what is tested.
pub(crate) async fn fast_server(kind: Kind) -> Server {
    let redo = match kind {
        Kind::MySql => "--innodb-redo-log-capacity=4294967296",
        Kind::MariaDb => "--innodb-log-file-size=4294967296",
    };
    ServerOptions::new(kind)
        .argument("--innodb-flush-log-at-trx-commit=0")
        .argument("--innodb-doublewrite=OFF")
        .argument("--innodb-buffer-pool-size=512M")
        .argument(redo)
        .argument("--sync-binlog=0")
        .argument("--max-allowed-packet=1073741824")
        .argument("--max-binlog-size=1073741824")
        .start()
        .await
}

pub(crate) async fn connect(server: &Server) -> Conn {
    let mut connection = Conn::new(server.root().db_name(Some(DATABASE))).await.unwrap();
    let limit = match server.kind() {
        Kind::MySql => "cte_max_recursion_depth",
        Kind::MariaDb => "max_recursive_iterations",
    };
    connection.query_drop(format!("SET SESSION {limit} = 10000000")).await.unwrap();
    connection
}

/// The peak of a process's resident memory, as the kernel counts it (`VmHWM` in proc(5)).
pub(crate) fn peak_memory_mb(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Compares `wide` row by row, each side streaming in the order of its key; gives rows and bytes.
async fn same_content(server: &Server, copy: &Connection) -> (u32, usize) {
    let mut connection = connect(server).await;
    let mut source = connection.query_iter("SELECT id, content FROM wide ORDER BY id").await.unwrap();
    let mut statement = copy.prepare("SELECT id, content FROM wide ORDER BY id").unwrap();
    let mut target = statement.query([]).unwrap();
    let (mut rows, mut bytes) = (0, 0);
    while let Some(row) = source.next().await.unwrap() {
        let row: Row = row;
        let (id, content): (u32, Vec<u8>) = mysql_async::from_row(row);
        let found = target.next().unwrap().unwrap_or_else(|| panic!("row {id} is missing at the sink"));
        assert_eq!(found.get::<_, u32>(0).unwrap(), id);
        // A difference is not printed: it would be a hundred thousand bytes.
        assert!(found.get_ref(1).unwrap().as_blob().unwrap() == content, "row {id} has another content at the sink");
        rows += 1;
        bytes += content.len();
    }
    assert!(target.next().unwrap().is_none(), "the sink has more rows than the source");
    (rows, bytes)
}

/// Two large transactions among many small ones, 10 MB in all.
async fn steady_round(connection: &mut Conn, round: usize) {
    for rows in [5000, 1, 1, 7, 100, 3000, 1, 20] {
        connection
            .query_drop(format!(
                "INSERT INTO steady (round, v) WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {rows})
                 SELECT {round}, REPEAT(SHA2(UUID(), 256), 15) FROM n"
            ))
            .await
            .unwrap();
        connection.query_drop(format!("UPDATE steady SET round = -1 WHERE round = {round} LIMIT 50")).await.unwrap();
    }
    connection.query_drop("DELETE FROM steady WHERE round = -1").await.unwrap();
}

/// Holds the copy's write lock until it is dropped: the sink tries again and again.
fn stuck(sandbox: &Sandbox) -> Connection {
    let lock = Connection::open(sandbox.sqlite()).unwrap();
    lock.busy_timeout(Duration::from_secs(30)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    lock
}

both_servers! {
    async fn a_transaction_of_a_gigabyte_is_copied_whole_in_bounded_memory(kind: Kind) {
        let sandbox = Sandbox::on(fast_server(kind).await).await;
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.wide (id INT PRIMARY KEY, content LONGBLOB NOT NULL)")).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let mut connection = connect(&sandbox.server).await;
        connection.query_drop("START TRANSACTION").await.unwrap();
        connection
            .query_drop(format!(
                "INSERT INTO wide WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
                 SELECT k, REPEAT(UNHEX(SHA2(k, 256)), 3125 + k % 7) FROM n"
            ))
            .await
            .unwrap();
        // All kinds of changes are in it, of rows that it made itself.
        connection.query_drop("UPDATE wide SET content = CONCAT('changed', id) WHERE id % 100 = 0").await.unwrap();
        connection.query_drop("DELETE FROM wide WHERE id % 100 = 1").await.unwrap();
        connection.query_drop("COMMIT").await.unwrap();
        sandbox.caught_up_within(Duration::from_mins(5), &mut daemon).await;
        let peak = peak_memory_mb(&daemon);
        daemon.stop();

        let (rows, bytes) = same_content(&sandbox.server, &open_sqlite(&sandbox.sqlite())).await;
        assert_eq!(rows, ROWS - ROWS / 100);
        assert!(bytes > 1_000_000_000, "{bytes} bytes");
        eprintln!("{kind}: {bytes} bytes in one transaction, peak memory {peak} MB");
        assert!(peak < MEMORY_MB, "peak memory of {peak} MB");
    }

    async fn the_logs_file_takes_at_most_twice_what_the_log_held_under_a_steady_load(kind: Kind) {
        let mut sandbox = Sandbox::on(fast_server(kind).await).await;
        sandbox.set("/wal/max_size", json!("256MiB"));
        sandbox
            .server
            .exec(format!("CREATE TABLE {DATABASE}.steady (id INT AUTO_INCREMENT PRIMARY KEY, round INT NOT NULL, v VARCHAR(1000) NOT NULL)"))
            .await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let mut connection = connect(&sandbox.server).await;
        let (mut held, mut disk) = (0, Vec::new());
        for round in 0..ROUNDS {
            // While the sink cannot write, nothing is trimmed: what the log holds then is all that it can hold in a
            // round.
            let stuck = (round % 3 == 0).then(|| stuck(&sandbox));
            steady_round(&mut connection, round).await;
            if let Some(lock) = stuck {
                let (file, end) = sandbox.server.position().await;
                let status = daemon
                    .wait_until("the log holds the round", |status| {
                        let position = &status["source"]["position"];
                        position["file"] == json!(file) && position["pos"].as_u64().is_some_and(|pos| pos >= end)
                    })
                    .await;
                held = held.max(status["wal"]["bytes"].as_u64().unwrap());
                disk.push(status["wal"]["disk_bytes"].as_u64().unwrap());
                drop(lock);
            }
            let status = sandbox.caught_up(&mut daemon).await;
            disk.push(status["wal"]["disk_bytes"].as_u64().unwrap());
        }
        daemon.stop();

        let most = wal::most_on_disk(held);
        eprintln!("{kind}: the log held {held}, so its file takes at most {most}; it took {disk:?}");
        let (_, binlog) = sandbox.server.position().await;
        assert!(binlog > 3 * most, "{binlog} bytes went through a file of at most {most}: too little to make it grow");
        assert!(disk.iter().all(|disk| *disk <= most), "more than {most}: {disk:?}");
        assert!(sandbox.assert_mirrored().await.rows > 80_000);
    }
}
