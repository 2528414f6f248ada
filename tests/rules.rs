//! What the configuration of each sink says of its tables: which ones it gets, under which settings, which rows and which columns of them in
//! which form. The same at a SQLite file and a ClickHouse that are fed by one log.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::{stopped, table_of};

/// A SQLite file `local` and a ClickHouse `ch`.
async fn world(kind: crate::support::server::Kind) -> Sandbox {
    let mut sandbox = Sandbox::with_every_sink(kind).await;
    let sinks = sandbox.config()["sinks"].as_array().unwrap();
    let two = json!([sinks[0], sinks[2]]);
    sandbox.set("/sinks", two);
    sandbox
}

async fn run(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// Rows of the SQLite file, each as its values with `|` between them.
fn local(sandbox: &Sandbox, sql: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let value = |place| {
            Ok(match row.get_ref(place)? {
                rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => number.to_string(),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                rusqlite::types::ValueRef::Blob(bytes) => format!("{bytes:?}"),
            })
        };
        (0..columns).map(value).collect::<rusqlite::Result<Vec<_>>>().map(|values| values.join("|"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Rows of the ClickHouse; NULL is `NULL`.
async fn remote(sandbox: &Sandbox, columns: &str, rest: &str) -> Vec<String> {
    let text = format!("concat_ws('|', {columns})");
    let text = text.replace("concat_ws", "concatWithSeparator");
    let sql = format!("SELECT {text} FROM replica.{rest}");
    sandbox.clickhouse().query(sql).await.lines().map(str::to_owned).collect()
}

/// Both copies of a table that has `id` and `v`.
async fn both(sandbox: &Sandbox, table: &str, columns: &[&str]) -> Vec<String> {
    let list = columns.join(", ");
    let here = local(sandbox, &format!("SELECT {list} FROM {table} ORDER BY id"));
    let texts: Vec<_> = columns.iter().map(|column| format!("ifNull(toString({column}), 'NULL')")).collect();
    let there = remote(sandbox, &texts.join(", "), &format!("{table} FINAL ORDER BY id")).await;
    assert_eq!(here, there, "{table}");
    here
}

async fn caught_up(sandbox: &Sandbox, daemon: &mut Daemon) -> Value {
    sandbox.caught_up(daemon).await
}

both_servers! {
    async fn rows_that_a_rule_leaves_out_are_not_there_and_come_and_go_with_updates(kind: Kind) {
        let mut sandbox = world(kind).await;
        run(&sandbox,
            "CREATE TABLE t (id INT PRIMARY KEY, country VARCHAR(9), amount DECIMAL(9,2), at DATETIME, v INT) CHARSET latin1;
             INSERT INTO t VALUES (1, 'DE', 5, '2024-01-01', 1), (2, 'de', 5, '2024-01-01', 1), (3, 'AT', 50, '2024-01-01', 1),
                (4, 'FR', 5, '2024-01-01', 1), (5, NULL, 5, '2024-01-01', 1), (6, 'AT', 5, '2023-12-31 23:59:59', 1)").await;
        let rows = json!([
            { "column": "Country", "in": ["DE", "AT"] },
            { "column": "amount", "from": "1.5", "below": 50 },
            { "column": "at", "from": "2024-01-01" },
        ]);
        sandbox.set("/tables", json!([{ "database": DATABASE, "table": "t", "rows": rows }]));
        let mut daemon = sandbox.start();
        caught_up(&sandbox, &mut daemon).await;
        assert_eq!(both(&sandbox, "t", &["id", "country"]).await, ["1|DE"]);

        for (sql, expected) in [
            ("UPDATE t SET v = 2", vec!["1|DE|2"]),
            ("UPDATE t SET country = 'AT' WHERE id = 4", vec!["1|DE|2", "4|AT|2"]),
            ("UPDATE t SET country = 'FR' WHERE id = 1", vec!["4|AT|2"]),
            ("UPDATE t SET amount = 49.99 WHERE id = 3", vec!["3|AT|2", "4|AT|2"]),
            ("DELETE FROM t WHERE id IN (1, 2, 4)", vec!["3|AT|2"]),
            ("UPDATE t SET id = 30 WHERE id = 3; UPDATE t SET id = 60 WHERE id = 6", vec!["30|AT|2"]),
            ("UPDATE t SET id = 31, country = 'x' WHERE id = 30; UPDATE t SET id = 61, at = '2025-01-01' WHERE id = 60", vec!["61|AT|2"]),
            ("INSERT INTO t VALUES (7, 'DE', 1.49, '2024-01-01', 1), (8, 'DE', 1.5, '2024-01-01', 1)", vec!["8|DE|1", "61|AT|2"]),
        ] {
            run(&sandbox, sql).await;
            let status = caught_up(&sandbox, &mut daemon).await;
            assert_eq!(both(&sandbox, "t", &["id", "country", "v"]).await, expected, "{sql}");
            for sink in ["local", "ch"] {
                let at = &table_of(&status, "shop.t")["sinks"][sink];
                assert_eq!((at["state"].as_str(), at["doubt"].as_str()), (Some("complete"), None), "{sql}: {at:#}");
            }
        }
        // A read over what is there takes away what the rule leaves out.
        let output = sandbox.run(&["backfill", "--table", "shop.t"]);
        assert!(output.status.success(), "{output:?}");
        let status = caught_up(&sandbox, &mut daemon).await;
        assert_eq!(both(&sandbox, "t", &["id"]).await, ["8", "61"]);
        let at = &table_of(&status, "shop.t")["sinks"]["local"];
        assert!(at["ruled_out"].as_u64().unwrap() > 5, "{at:#}");
        daemon.stop();
    }

    async fn a_hashed_column_is_the_hmac_of_its_text_also_in_a_key_and_null_stays_null(kind: Kind) {
        let mut sandbox = world(kind).await;
        run(&sandbox,
            "CREATE TABLE t (id INT PRIMARY KEY, email VARCHAR(99) CHARACTER SET latin1, number INT);
             CREATE TABLE k (email VARCHAR(50) PRIMARY KEY, id INT);
             INSERT INTO t VALUES (1, 'what do ya want for nothing?', 7), (2, NULL, NULL);
             INSERT INTO k VALUES ('a', 1), ('b', 2)").await;
        let key = sandbox.path("hash.key");
        std::fs::write(&key, "Jefe\n").unwrap();
        sandbox.set("/hash_key_file", json!(key));
        sandbox.set("/tables", json!([
            { "database": DATABASE, "table": "t", "hash": ["EMAIL", "number"] },
            { "database": DATABASE, "table": "k", "hash": ["email"] },
        ]));
        let mut daemon = sandbox.start();
        caught_up(&sandbox, &mut daemon).await;
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let rows = both(&sandbox, "t", &["id", "email", "number"]).await;
        assert!(rows[0].starts_with(&format!("1|{known}|")), "{rows:?}");
        assert_eq!(rows[1], "2|NULL|NULL");
        run(&sandbox, "UPDATE k SET email = 'c' WHERE id = 1; DELETE FROM k WHERE id = 2; UPDATE t SET number = 8; UPDATE t SET email = 'x' WHERE id = 2").await;
        let status = caught_up(&sandbox, &mut daemon).await;
        assert_eq!(stopped(&status), [""; 0]);
        let rows = both(&sandbox, "k", &["id", "length(email)"]).await;
        assert_eq!(rows, ["1|64"]);
        assert_eq!(both(&sandbox, "t", &["id", "length(number)"]).await, ["1|64", "2|64"]);
        daemon.stop();

        // Another key: every table with a hash is read again, in place of what is there.
        let before = both(&sandbox, "k", &["email", "id"]).await;
        std::fs::write(&key, "another key").unwrap();
        let check = sandbox.run(&["check"]);
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(said.contains("the next start reads again") && said.contains("the hash key"), "{said}");
        sandbox.run_once();
        sandbox.run_once();
        let after = both(&sandbox, "k", &["email", "id"]).await;
        assert_ne!(before, after);
        assert_eq!(both(&sandbox, "k", &["id", "length(email)"]).await, ["1|64"]);
        let check = sandbox.run(&["check"]);
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(!said.contains("reads again"), "{said}");
    }

    async fn each_sink_has_its_own_tables_and_its_own_rules_over_those_of_all(kind: Kind) {
        let mut sandbox = world(kind).await;
        run(&sandbox,
            "CREATE TABLE a (id INT PRIMARY KEY, x INT, y INT); CREATE TABLE b (id INT PRIMARY KEY, x INT); CREATE TABLE c (id INT PRIMARY KEY, x INT);
             INSERT INTO a VALUES (1, 2, 3); INSERT INTO b VALUES (1, 2); INSERT INTO c VALUES (1, 2)").await;
        sandbox.set("/tables", json!([{ "database": DATABASE, "table": "a", "drop": ["x"], "rename": { "y": "z" } }]));
        sandbox.set("/sinks/0/exclude", json!(["shop.b"]));
        sandbox.set("/sinks/0/tables", json!([{ "database": DATABASE, "table": "a", "drop": [] }]));
        sandbox.set("/sinks/1/include", json!(["shop.a", "shop.b"]));
        let mut daemon = sandbox.start();
        let status = caught_up(&sandbox, &mut daemon).await;
        assert_eq!(local(&sandbox, "SELECT id, x, z FROM a"), ["1|2|3"]);
        assert_eq!(remote(&sandbox, "toString(id), toString(z)", "a FINAL").await, ["1|3"]);
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name";
        assert_eq!(local(&sandbox, tables), ["a", "c"]);
        let there = sandbox.clickhouse().query("SELECT name FROM system.tables WHERE database = 'replica' AND NOT startsWith(name, '_') ORDER BY name").await;
        assert_eq!(there.lines().collect::<Vec<_>>(), ["a", "b"]);
        for (table, sink, state) in [("shop.b", "local", "left_out"), ("shop.b", "ch", "complete"), ("shop.c", "ch", "left_out")] {
            assert_eq!(table_of(&status, table)["sinks"][sink]["state"], state, "{table} {sink}: {status:#}");
        }
        assert_eq!(status["health"]["status"], "ok", "{status:#}");
        run(&sandbox, "UPDATE b SET x = 5; UPDATE c SET x = 5; INSERT INTO b VALUES (2, 2)").await;
        caught_up(&sandbox, &mut daemon).await;
        daemon.stop();

        // It comes in: it is read for that sink alone.
        sandbox.set("/sinks/0/exclude", json!([]));
        let check = sandbox.run(&["check"]);
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(said.contains("reads again") && said.contains("shop.b"), "{said}");
        sandbox.run_once();
        sandbox.run_once();
        assert_eq!(local(&sandbox, "SELECT id, x FROM b ORDER BY id"), ["1|5", "2|2"]);
        // It leaves: its copy stays as it is.
        sandbox.set("/sinks/0/exclude", json!(["shop.b"]));
        run(&sandbox, "DELETE FROM b").await;
        sandbox.run_once();
        assert_eq!(local(&sandbox, "SELECT id, x FROM b ORDER BY id"), ["1|5", "2|2"]);
        assert_eq!(remote(&sandbox, "toString(id)", "b FINAL").await, [""; 0]);
    }

    async fn a_table_without_a_key_is_kept_as_a_history_or_skipped_where_it_cannot_be_mirrored(kind: Kind) {
        let mut sandbox = world(kind).await;
        run(&sandbox, "CREATE TABLE loose (a INT); INSERT INTO loose VALUES (1), (1); CREATE TABLE kept (a INT); INSERT INTO kept VALUES (1)").await;
        sandbox.set("/sinks/1/keyless", json!("skip"));
        sandbox.set("/sinks/1/tables", json!([{ "database": DATABASE, "table": "kept", "keyless": "history" }]));
        let mut daemon = sandbox.start();
        caught_up(&sandbox, &mut daemon).await;
        run(&sandbox, "UPDATE loose SET a = 2 LIMIT 1; DELETE FROM kept").await;
        let status = caught_up(&sandbox, &mut daemon).await;
        assert_eq!(local(&sandbox, "SELECT a FROM loose ORDER BY a"), ["1", "2"]);
        let at = &table_of(&status, "shop.loose")["sinks"]["ch"];
        assert_eq!(at["state"], "left_out", "{at:#}");
        assert!(at["why"].as_str().unwrap().contains("keyless: skip"), "{at:#}");
        assert_eq!((&status["health"]["status"], stopped(&status)), (&json!("ok"), vec![]), "{status:#}");
        let ops = "_op";
        let mut lines = remote(&sandbox, ops, "kept FINAL ORDER BY _version").await;
        lines.retain(|line| line != "replace");
        assert_eq!(lines, ["snapshot", "delete"]);
        // A mirror that loses its key becomes a history, and the other way round.
        run(&sandbox, "CREATE TABLE turned (a INT PRIMARY KEY, b INT); INSERT INTO turned VALUES (1, 1), (2, 2)").await;
        daemon.stop();
        sandbox.set("/sinks/1/tables", json!([
            { "database": DATABASE, "table": "kept", "keyless": "history" },
            { "database": DATABASE, "table": "turned", "keyless": "history" },
        ]));
        let mut daemon = sandbox.start();
        caught_up(&sandbox, &mut daemon).await;
        assert_eq!(remote(&sandbox, "toString(a)", "turned FINAL ORDER BY a").await, ["1", "2"]);
        for (sql, table) in [("ALTER TABLE turned DROP PRIMARY KEY", "shop.turned"), ("ALTER TABLE kept ADD PRIMARY KEY (a)", "shop.kept")] {
            let before = table_of(&daemon.status().unwrap(), table)["reads"].as_u64().unwrap();
            run(&sandbox, &format!("{sql}; INSERT INTO {table} (a) VALUES (7)")).await;
            daemon
                .wait_until("the table is read again and whole", |status| {
                    let at = table_of(status, table);
                    at["reads"].as_u64().unwrap() > before && at["sinks"]["ch"]["state"] == "complete"
                })
                .await;
            let status = caught_up(&sandbox, &mut daemon).await;
            assert_eq!(stopped(&status), [""; 0], "{sql}: {status:#}");
        }
        let mut turned = remote(&sandbox, "_op, ifNull(toString(after_a), '-')", "turned FINAL ORDER BY _version").await;
        turned.retain(|line| line.starts_with("snapshot") || line.starts_with("insert"));
        turned.sort();
        assert_eq!(turned, ["snapshot|1", "snapshot|2", "snapshot|7"]);
        assert_eq!(remote(&sandbox, "toString(a)", "kept FINAL ORDER BY a").await, ["7"]);
        // With a key it comes.
        run(&sandbox, "ALTER TABLE loose ADD id INT AUTO_INCREMENT PRIMARY KEY").await;
        daemon
            .wait_until("the table has a key and is whole", |status| {
                table_of(status, "shop.loose")["sinks"]["ch"]["state"] == "complete"
            })
            .await;
        caught_up(&sandbox, &mut daemon).await;
        daemon.stop();
        assert_eq!(both(&sandbox, "loose", &["id"]).await, ["1", "2"]);
    }

    async fn names_in_rules_match_as_the_server_compares_them_and_unknown_ones_are_said(kind: Kind) {
        let mut sandbox = world(kind).await;
        run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY, `\u{c4}` INT, x INT); INSERT INTO t VALUES (1, 2, 3)").await;
        sandbox.set("/tables", json!([{ "database": DATABASE, "table": "t", "drop": ["\u{e4}"] }]));
        sandbox.run_once();
        assert_eq!(local(&sandbox, "SELECT * FROM t"), ["1|3"]);
        let check = sandbox.run(&["check"]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));

        sandbox.set("/tables", json!([
            { "database": DATABASE, "table": "t", "drop": ["\u{e4}", "gone"], "hash": [] },
            { "database": DATABASE, "table": "nowhere", "drop": ["a"] },
        ]));
        let check = sandbox.run(&["check"]);
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert_eq!(check.status.code(), Some(1), "{said}");
        assert!(said.contains("names column \"gone\"") && said.contains("\"shop.nowhere\""), "{said}");
        let output = sandbox.run(&["start", "--once"]);
        let warned = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{warned}");
        assert!(warned.contains("names column \"gone\"") && warned.contains("\"shop.nowhere\""), "{warned}");
        assert_eq!(local(&sandbox, "SELECT * FROM t"), ["1|3"]);
    }

    async fn tables_of_several_databases_share_one_table_and_each_row_says_where_it_is_from(kind: Kind) {
        let mut sandbox = world(kind).await;
        sandbox.set("/source/name", json!("main"));
        sandbox.set("/source/include", json!(["shop.*", "shop2.*"]));
        for sink in [0, 1] {
            sandbox.set(&format!("/sinks/{sink}/source_tag"), json!("_source"));
        }
        sandbox.server.exec(
            "CREATE DATABASE shop2; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT); CREATE TABLE shop2.t (id INT PRIMARY KEY, v INT);
             CREATE TABLE shop2.odd (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1, 10), (2, 20); INSERT INTO shop2.t VALUES (1, 11), (3, 30)").await;
        let check = sandbox.run(&["check"]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        let mut daemon = sandbox.start();
        caught_up(&sandbox, &mut daemon).await;
        let rows = async |sandbox: &Sandbox, columns: &str| {
            let here = local(sandbox, &format!("SELECT {columns} FROM t ORDER BY _source, id"));
            let texts: Vec<_> = columns.split(", ").map(|column| format!("ifNull(toString({column}), 'NULL')")).collect();
            let there = remote(sandbox, &texts.join(", "), "t FINAL ORDER BY _source, id").await;
            assert_eq!(here, there);
            here
        };
        assert_eq!(rows(&sandbox, "_source, id, v").await, ["main.shop|1|10", "main.shop|2|20", "main.shop2|1|11", "main.shop2|3|30"]);
        for (sql, expected) in [
            ("UPDATE shop2.t SET v = 12 WHERE id = 1; DELETE FROM shop.t WHERE id = 2", vec!["main.shop|1|10", "main.shop2|1|12", "main.shop2|3|30"]),
            ("TRUNCATE TABLE shop2.t; INSERT INTO shop2.t VALUES (5, 50)", vec!["main.shop|1|10", "main.shop2|5|50"]),
        ] {
            sandbox.server.exec(sql).await;
            let status = caught_up(&sandbox, &mut daemon).await;
            assert_eq!(stopped(&status), [""; 0], "{sql}");
            assert_eq!(rows(&sandbox, "_source, id, v").await, expected, "{sql}");
        }
        // A replace takes the rows of its own table alone.
        let output = sandbox.run(&["backfill", "--replace", "--table", "shop.t"]);
        assert!(output.status.success(), "{output:?}");
        caught_up(&sandbox, &mut daemon).await;
        assert_eq!(rows(&sandbox, "_source, id, v").await, ["main.shop|1|10", "main.shop2|5|50"]);
        // A column comes to both, one after the other.
        sandbox.server.exec("ALTER TABLE shop.t ADD w INT DEFAULT 7; INSERT INTO shop2.t VALUES (6, 60)").await;
        caught_up(&sandbox, &mut daemon).await;
        sandbox.server.exec("ALTER TABLE shop2.t ADD w INT DEFAULT 7; INSERT INTO shop2.t VALUES (7, 70, 8)").await;
        let status = caught_up(&sandbox, &mut daemon).await;
        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        daemon
            .wait_until("nothing is read any more", |status| {
                ["shop.t", "shop2.t"].iter().all(|table| table_of(status, table)["state"] == "complete")
            })
            .await;
        caught_up(&sandbox, &mut daemon).await;
        assert_eq!(rows(&sandbox, "_source, id, w").await, ["main.shop|1|7", "main.shop2|5|7", "main.shop2|6|7", "main.shop2|7|8"]);
        sandbox.server.exec("DROP TABLE shop.t").await;
        caught_up(&sandbox, &mut daemon).await;
        assert_eq!(rows(&sandbox, "_source, id").await, ["main.shop2|5", "main.shop2|6", "main.shop2|7"]);
        daemon.stop();
        sandbox.run_once();
        assert_eq!(rows(&sandbox, "_source, id").await, ["main.shop2|5", "main.shop2|6", "main.shop2|7"]);
    }
}
