//! Tables with a column that cannot be read: left out by name with what makes them readable, wherever the column comes from, and
//! read once it is gone.

use serde_json::{Value, json};

use super::{assert_copied_but, assert_health, assert_stated, once, said, stopped};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::table_of;

/// Tables with the columns that the binlog of MariaDB has and nobody reads: the name, how it is made, the column, what makes the table
/// readable.
const UNREAD: [(&str, &str, &str, &str); 3] = [
    (
        "packed",
        "(id INT PRIMARY KEY, a VARCHAR(90) COMPRESSED, b TEXT COMPRESSED)",
        "\"a\" is COMPRESSED",
        "MODIFY a VARCHAR(90), MODIFY b TEXT",
    ),
    (
        "old",
        "(id INT PRIMARY KEY, a TIME, b DATETIME(3))",
        "\"a\" is a TIME in the format of before MySQL 5.6",
        "FORCE",
    ),
    (
        "named",
        "(id INT PRIMARY KEY, a TEXT, b TEXT, UNIQUE (a), DB_ROW_HASH_1 BIGINT UNSIGNED)",
        "\"DB_ROW_HASH_1\" has a name that the server gives",
        "RENAME COLUMN DB_ROW_HASH_1 TO hash",
    ),
];

fn make(prefix: &str) -> String {
    let tables = UNREAD.map(|(name, columns, ..)| {
        let create = format!("CREATE TABLE {prefix}{name} {columns}");
        if name == "old" {
            format!("SET GLOBAL mysql56_temporal_format = OFF; {create}; SET GLOBAL mysql56_temporal_format = ON")
        } else {
            create
        }
    });
    format!("USE {DATABASE}; {}", tables.join("; "))
}

fn write(prefix: &str, id: u32) -> String {
    let rows = UNREAD.map(|(name, ..)| {
        let b = if name == "old" { "2024-01-02 03:04:05.006" } else { "text" };
        format!("INSERT INTO {prefix}{name} (id, a, b) VALUES ({id}, '-01:02:0{id}', '{b}')")
    });
    format!("USE {DATABASE}; {}; INSERT INTO kept VALUES ({id})", rows.join("; "))
}

fn remedy(prefix: &str) -> String {
    let alters = UNREAD.map(|(name, .., remedy)| format!("ALTER TABLE {prefix}{name} {remedy}"));
    format!("USE {DATABASE}; {}", alters.join("; "))
}

fn assert_left_out(status: &Value, prefixes: &[&str]) {
    for prefix in prefixes {
        for (name, _, column, _) in UNREAD {
            let table = format!("{prefix}{name}");
            let why = assert_stated(status, &table, "left_out");
            assert!(why.contains(column), "{table}: {why}");
            assert!(why.contains("it is read after ALTER TABLE .. "), "{table}: {why}");
            assert_eq!(table_of(status, &format!("{DATABASE}.{table}"))["by_nature"], json!(true), "{status:#}");
        }
    }
    assert_stated(status, "kept", "complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_a_column_that_cannot_be_read_is_left_out_until_the_column_can_on_mariadb() {
    let sandbox = Sandbox::with_every_sink(Kind::MariaDb).await;
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE kept (id INT PRIMARY KEY);
             CREATE TABLE looks (id INT PRIMARY KEY, e ENUM('COMPRESSED'), DB_ROW_HASH_1 INT, c TEXT COMMENT 'mariadb-5.3', UNIQUE (c));
             INSERT INTO looks VALUES (1, 'COMPRESSED', 7, 'x');
             CREATE TABLE becomes (id INT PRIMARY KEY, v VARCHAR(900)); INSERT INTO becomes VALUES (1, 'x');
             CREATE TABLE quiet (id INT PRIMARY KEY); INSERT INTO quiet VALUES (1);
             {}; {}",
            make("a_"),
            write("a_", 1)
        ))
        .await;
    let checked = said(&sandbox.run(&["check"]));
    for (name, _, column, _) in UNREAD {
        assert!(checked.contains(&format!("a_{name}")) && checked.contains(column), "{checked}");
    }
    // There at the first start; made and written while nobody reads.
    once(&sandbox, 0);
    assert_left_out(&stopped(&sandbox), &["a_"]);
    sandbox.server.exec(format!("{}; {}; {}", make("b_"), write("b_", 2), write("a_", 3))).await;
    once(&sandbox, 0);
    assert_left_out(&stopped(&sandbox), &["a_", "b_"]);
    // Readable while nobody reads.
    sandbox.server.exec(format!("{}; {}", remedy("b_"), write("b_", 4))).await;
    once(&sandbox, 0);
    for (name, ..) in UNREAD {
        assert_stated(&stopped(&sandbox), &format!("b_{name}"), "complete");
    }

    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    sandbox
        .server
        .exec(format!(
            "{}; {}; {}; USE {DATABASE}; ALTER TABLE becomes ADD w VARCHAR(900) COMPRESSED; INSERT INTO becomes VALUES (2, 'y', 'z');
             ALTER TABLE quiet ADD w BLOB COMPRESSED; {}",
            make("c_"),
            write("c_", 5),
            write("a_", 6),
            // Of these nobody writes a row.
            make("d_")
        ))
        .await;
    let status = sandbox.caught_up(&mut daemon).await;
    assert_left_out(&status, &["a_", "c_", "d_"]);
    for table in ["becomes", "quiet"] {
        let why = assert_stated(&status, table, "left_out");
        assert!(why.contains("\"w\" is COMPRESSED") && why.contains("MODIFY w .. without COMPRESSED"), "{why}");
    }
    assert_stated(&status, "looks", "complete");
    assert_health(&sandbox, &status, "ok").await;
    let refused = sandbox.run(&["backfill", "--database", DATABASE, "--table", "a_packed"]);
    assert!(!refused.status.success() && said(&refused).contains("\"a\" is COMPRESSED"), "{}", said(&refused));
    let left_out: Vec<String> =
        ["a_", "c_", "d_"].iter().flat_map(|prefix| UNREAD.map(|(name, ..)| format!("{prefix}{name}"))).collect();
    let left_out: Vec<&str> = left_out.iter().map(String::as_str).chain(["becomes", "quiet"]).collect();
    assert_copied_but(&sandbox, &left_out).await;

    sandbox
        .server
        .exec(format!(
            "{}; {}; {}; {}; USE {DATABASE}; ALTER TABLE becomes MODIFY w VARCHAR(900); ALTER TABLE quiet DROP w;
             UPDATE looks SET DB_ROW_HASH_1 = 8; INSERT INTO becomes VALUES (3, 'y', 'z')",
            remedy("a_"),
            remedy("c_"),
            write("c_", 7),
            remedy("d_")
        ))
        .await;
    let status = sandbox.caught_up(&mut daemon).await;
    for table in &left_out {
        assert_stated(&status, table, "complete");
    }
    sandbox.server.exec(format!("{}; {}", write("a_", 8), write("d_", 9))).await;
    let status = sandbox.caught_up(&mut daemon).await;
    assert_health(&sandbox, &status, "ok").await;
    daemon.stop();
    assert_copied_but(&sandbox, &[]).await;
    once(&sandbox, 0);
    assert_copied_but(&sandbox, &[]).await;
}
