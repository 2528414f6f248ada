//! Tables that are read again on request: what differs at the copy goes, whatever happens meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::compare::{View, compare};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::read_of;
use crate::support::workload::Workload;

const ROWS: u32 = 600;

/// Two tables of the same rows: one is read in chunks, the other whole.
async fn tables(sandbox: &Sandbox) {
    for (table, key) in [("keyed", "PRIMARY KEY"), ("loose", "NOT NULL")] {
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE {table} (id INT {key}, v VARCHAR(20));
                 INSERT INTO {table} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS})
                 SELECT k, CONCAT('v', k) FROM n"
            ))
            .await;
    }
}

/// Rows go, come and change at the copy alone.
fn damage(sandbox: &Sandbox) {
    let copy = Connection::open(sandbox.sqlite()).unwrap();
    copy.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    for table in ["keyed", "loose"] {
        let gone = copy.execute(&format!("DELETE FROM {table} WHERE id % 3 = 0"), []).unwrap();
        let changed = copy.execute(&format!("UPDATE {table} SET v = 'other' WHERE id % 5 = 0"), []).unwrap();
        copy.execute(&format!("INSERT INTO {table} VALUES (-5, 'extra'), (1000000, 'extra')"), []).unwrap();
        assert!(gone >= 100 && changed >= 50, "{table}: {gone} rows gone, {changed} changed");
    }
}

fn backfill(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let verb = ["backfill", "--database", DATABASE];
    sandbox.run(&[&verb[..], arguments].concat())
}

fn backfill_well(sandbox: &Sandbox, arguments: &[&str]) {
    let output = backfill(sandbox, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The status code of `/health`, and what it says.
fn health(sandbox: &Sandbox) -> (u16, String) {
    let mut stream = TcpStream::connect(sandbox.http()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// The read of a table of `shop`.
fn table<'s>(status: &'s Value, name: &str) -> &'s Value {
    read_of(status, &format!("{DATABASE}.{name}"))
}

both_servers! {
    async fn a_backfill_that_replaces_makes_a_damaged_copy_equal_while_rows_are_written(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 40, "parallel": 2 }));
        tables(&sandbox).await;
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 50).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        damage(&sandbox);
        assert!(compare(&View::default(), &sandbox.server, DATABASE, &sandbox.sqlite()).await.is_err());

        let writing = workload.start(&sandbox.server);
        for name in ["keyed", "loose"] {
            backfill_well(&sandbox, &["--table", name, "--replace"]);
            for change in 0..30 {
                let id = change * 19 % ROWS;
                sandbox
                    .server
                    .exec(format!(
                        "USE {DATABASE}; UPDATE {name} SET v = 'changed' WHERE id = {id}; DELETE FROM {name} WHERE id = {id} + 7;
                         INSERT INTO {name} VALUES ({ROWS} + 1 + {change}, 'new'); UPDATE {name} SET id = 2000 + {id} WHERE id = {id} + 3"
                    ))
                    .await;
            }
        }
        let shape = workload.tables()[0].name.clone();
        backfill_well(&sandbox, &["--table", &shape, "--replace"]);
        writing.progressed_by(100).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(sandbox.assert_mirrored().await.rows > 1000);
    }

    async fn a_backfill_that_replaces_survives_a_kill_in_the_middle_of_it(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        tables(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        damage(&sandbox);
        daemon.stop();
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 20, "parallel": 1, "max_rows_per_second": 300 }));
        let mut daemon = sandbox.start();
        // Only a daemon that answers takes tables.
        sandbox.caught_up(&mut daemon).await;

        backfill_well(&sandbox, &["--table", "keyed", "--replace"]);
        let mut seen = 0;
        for least in [1, 200] {
            let status = daemon
                .wait_until(&format!("{least} rows are read"), |status| table(status, "keyed")["rows"].as_u64() >= Some(least))
                .await;
            assert_eq!(table(&status, "keyed")["running"], true, "the kill is in the middle");
            let rows = table(&status, "keyed")["rows"].as_u64().unwrap();
            assert!(rows >= seen, "{rows} rows after {seen}: it began anew");
            seen = rows;
            daemon.kill();
            daemon = sandbox.start();
        }
        sandbox.caught_up(&mut daemon).await;
        backfill_well(&sandbox, &["--table", "loose", "--replace"]);
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored().await.rows, 2 * usize::try_from(ROWS).unwrap());
    }

    async fn a_file_of_tables_replaces_them_without_a_daemon(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        tables(&sandbox).await;
        sandbox.run_once();
        damage(&sandbox);
        let list = sandbox.path("backfill.yaml");
        let entry = |name: &str| json!({ "database": DATABASE, "table": name, "replace": true });
        std::fs::write(&list, json!([entry("keyed"), entry("loose")]).to_string()).unwrap();

        let output = sandbox.run(&["backfill", "--tables", list.to_str().unwrap()]);

        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(sandbox.assert_mirrored().await.rows, 2 * usize::try_from(ROWS).unwrap());
    }

    async fn a_refused_backfill_leaves_nothing(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        tables(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        assert_eq!(health(&sandbox).0, 200);

        for (name, more, reason) in [
            ("missing", &[][..], "does not exist at the source"),
            ("keyed", &["--where", "no_such_column = 1"], "no_such_column"),
            ("loose", &["--where", "id < 10"], "would stand twice"),
        ] {
            let refused = backfill(&sandbox, &[&["--table", name], more].concat());
            assert_eq!(refused.status.code(), Some(1));
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(said.contains(reason), "{said}");
            let status = daemon.status().unwrap();
            assert_eq!(status["snapshot"]["tables"], json!([]), "{status:#}");
            let (code, said) = health(&sandbox);
            assert!(code == 200 && said.contains("\"status\":\"ok\""), "{code} {said}");
        }

        backfill_well(&sandbox, &["--table", "keyed", "--where", "id < 10"]);
        sandbox.caught_up(&mut daemon).await;
        assert_eq!(health(&sandbox).0, 200);
        daemon.stop();
        sandbox.assert_mirrored().await;
    }
}
