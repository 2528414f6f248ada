//! Columns that the binlog has and the catalogue may hide: a generated key is copied, a server's own hash is not, and no row is read by
//! another plan than its own.

use serde_json::json;

use crate::support::cells::open_sqlite;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

/// Tables of which MySQL generates an invisible key, and MariaDB keeps the hash of a unique key over long columns.
fn tables(kind: Kind) -> [&'static str; 3] {
    match kind {
        Kind::MySql => {
            ["t (v VARCHAR(20), w INT)", "d (v DATE NOT NULL, w INT NOT NULL)", "tiny (w TINYINT, v VARCHAR(3))"]
        }
        Kind::MariaDb => [
            "t (w INT PRIMARY KEY, v TEXT, UNIQUE (v))",
            "d (w TINYINT PRIMARY KEY, v TINYBLOB, x INT NOT NULL DEFAULT 7, UNIQUE (v), UNIQUE (x, v))",
            "tiny (w INT PRIMARY KEY, v VARCHAR(2000) CHARACTER SET utf8mb4, UNIQUE (v))",
        ],
    }
}

async fn world(options: ServerOptions, kind: Kind) -> Sandbox {
    let options = match kind {
        Kind::MySql => options
            .argument("--sql-generate-invisible-primary-key=ON")
            .argument("--show-gipk-in-create-table-and-information-schema=OFF"),
        Kind::MariaDb => options,
    };
    let sandbox = Sandbox::with_every_sink_on(options.start().await).await;
    for table in tables(kind) {
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.{table}")).await;
    }
    write(&sandbox, "2024-01-01", 1).await;
    sandbox
}

async fn write(sandbox: &Sandbox, value: &str, number: u32) {
    for table in ["t", "d", "tiny"] {
        let value = if table == "tiny" { &value[value.len() - 3..] } else { value };
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.{table} (v, w) VALUES ('{value}', {number})")).await;
    }
}

both_servers! {
    async fn what_a_server_hides_of_a_table_is_never_taken_for_a_value_of_a_row(kind: Kind) {
        let options = ServerOptions::new(kind).with_row_metadata("FULL");
        is_hidden(world(options, kind).await, kind, 1).await;
    }

    async fn columns_without_names_that_a_server_hides_are_never_taken_for_a_value_of_a_row(kind: Kind) {
        let options = ServerOptions::new(kind).with_its_own_row_metadata();
        // How many columns are hidden after a key has come nobody knows of rows that the server has not described: they are read.
        let reads = if kind == Kind::MariaDb { 2 } else { 1 };
        is_hidden(world(options, kind).await, kind, reads).await;
    }
}

/// `reads`: how often a row is read again at most.
async fn is_hidden(mut sandbox: Sandbox, kind: Kind, reads: u32) {
    sandbox.run_once();
    write(&sandbox, "2024-01-02", 2).await;
    sandbox.run_once();
    let mut daemon = sandbox.start();
    write(&sandbox, "2024-01-03", 3).await;
    sandbox.caught_up(&mut daemon).await;
    for table in ["t", "d", "tiny"] {
        if kind == Kind::MariaDb {
            // One hidden column more, of the same columns.
            sandbox.server.exec(format!("ALTER TABLE {DATABASE}.{table} ADD UNIQUE again (v, w)")).await;
        }
        sandbox.server.exec(format!("UPDATE {DATABASE}.{table} SET v = REPLACE(v, '0', '1') WHERE w = 2; DELETE FROM {DATABASE}.{table} WHERE w = 1")).await;
    }
    // Read again while it is written, and by the stream after that.
    for (number, table) in (4..).zip(["t", "d", "tiny"]) {
        let asked = sandbox.run(&["backfill", "--database", DATABASE, "--table", table]);
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        write(&sandbox, &format!("2024-02-0{number}"), number).await;
    }
    let status = sandbox.caught_up(&mut daemon).await;
    write(&sandbox, "2024-03-09", 100).await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert_eq!(status["health"]["status"], json!("ok"), "{:#}", status["health"]);
    let compared = sandbox.assert_mirrored().await;
    assert_eq!(sandbox.assert_mirrored_to_clickhouse().await, compared);
    for table in ["t", "d", "tiny"] {
        sandbox.assert_logged(table).await;
        let read =
            format!("SELECT MAX(n) FROM (SELECT COUNT(*) n FROM {table} WHERE _op = 'snapshot' GROUP BY after_w)");
        let times: u32 = open_sqlite(&sandbox.changelog()).query_row(&read, [], |row| row.get(0)).unwrap();
        assert!(
            (1..=reads).contains(&times),
            "{table}: a row is read again {times} times, and only where that was asked for"
        );
    }
    sandbox.set("/source/snapshot", json!({ "chunk_rows": 2 }));
    sandbox.run_once();
    assert_eq!(sandbox.assert_mirrored().await, compared, "a start without changes changes nothing");
}
