//! Names of databases and tables, in whatever case a server, a statement, the configuration or an operator writes them.

use replicator::model::Names;
use serde_json::json;

use crate::support::cells::{open_sqlite, sqlite_tables};
use crate::support::daemon::LIMIT;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions};
use crate::support::status::table_of;

/// What the statements of [`changes`] change, by the number of the round.
fn tables(round: u32) -> String {
    let parts =
        "PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN MAXVALUE)";
    let two = "(id INT PRIMARY KEY, v INT)";
    let plain = ["Orders", "Added", "Gone", "OldName", "SwapA", "SwapB", "Keyed", "\u{c4}\u{d6}\u{130}", "Hidden"].map(
        |table| format!("CREATE TABLE `{table}{round}` {two}; INSERT INTO `{table}{round}` VALUES (1, 1), (2, 2);"),
    );
    format!(
        "USE Shop; {}
         CREATE TABLE Col{round} (id INT PRIMARY KEY, v INT, w INT); INSERT INTO Col{round} VALUES (1, 1, 5), (2, 2, 6);
         CREATE TABLE Parts{round} {two} {parts}; INSERT INTO Parts{round} VALUES (1, 1), (11, 11);
         CREATE TABLE Parted{round} {two} {parts}; INSERT INTO Parted{round} VALUES (1, 1), (11, 11);
         CREATE TABLE Exchanged{round} {two}; INSERT INTO Exchanged{round} VALUES (3, 3);
         CREATE DATABASE Depot{round}; CREATE TABLE Depot{round}.Stock{round} {two}; INSERT INTO Depot{round}.Stock{round} VALUES (1, 1)",
        plain.concat()
    )
}

/// Every statement that names a table, each in another case than the table was made in.
fn changes(round: u32) -> String {
    format!(
        "USE SHOP;
         TRUNCATE TABLE ORDERS{round}; INSERT INTO orders{round} VALUES (9, 9);
         ALTER TABLE cOL{round} CHANGE v w INT, CHANGE w v INT; INSERT INTO COL{round} (id, v, w) VALUES (3, 7, 8);
         ALTER TABLE sHop.ADDED{round} ADD COLUMN d INT NOT NULL DEFAULT 7; INSERT INTO added{round} (id, v) VALUES (3, 3);
         DROP TABLE IF EXISTS GONE{round};
         RENAME TABLE OLDNAME{round} TO sHOP.NewName{round}; INSERT INTO NEWNAME{round} VALUES (3, 3);
         RENAME TABLE SWAPA{round} TO Tmp{round}, SWAPB{round} TO swapa{round}, TMP{round} TO SwapB{round};
         INSERT INTO SWAPa{round} VALUES (3, 30); DELETE FROM SWAPb{round} WHERE id = 1;
         CREATE UNIQUE INDEX i ON KEYED{round} (v); INSERT INTO keyed{round} VALUES (3, 3);
         CREATE TABLE Made{round} (id INT PRIMARY KEY, v INT); INSERT INTO MADE{round} VALUES (1, 1);
         CREATE TABLE Alike{round} LIKE SHOP.NEWNAME{round}; INSERT INTO ALIKE{round} SELECT * FROM NewNAME{round};
         CREATE TABLE Filled{round} (PRIMARY KEY (id)) AS SELECT id, v FROM ORDERS{round}; INSERT INTO FILLED{round} VALUES (5, 5);
         ALTER TABLE Made{round} RENAME TO MOVED{round}; INSERT INTO Moved{round} VALUES (2, 2);
         ALTER TABLE PARTS{round} TRUNCATE PARTITION low; INSERT INTO parts{round} VALUES (2, 2);
         ALTER TABLE PARTED{round} EXCHANGE PARTITION low WITH TABLE EXCHANGED{round}; INSERT INTO exchanged{round} VALUES (4, 4);
         TRUNCATE `\u{e4}\u{d6}i{round}`; INSERT INTO `\u{c4}\u{f6}\u{130}{round}` VALUES (8, 8);
         CREATE TEMPORARY TABLE Orders{round} (x INT); DROP TEMPORARY TABLE oRDERS{round};
         TRUNCATE HIDDEN{round};
         DROP DATABASE DEPOT{round}"
    )
}

/// Asserts that every sink has what the source has, and no table besides.
async fn assert_equal(sandbox: &Sandbox, rounds: &[u32]) {
    let hidden: Vec<String> = rounds.iter().map(|round| format!("hidden{round}")).collect();
    let view = crate::support::compare::View { left_out: hidden, ..Default::default() };
    let compared =
        crate::support::compare::assert_mirrored_as(&view, &sandbox.server, DATABASE, &sandbox.sqlite()).await;
    assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await, compared);
    for round in rounds {
        for table in ["orders", "keyed", "parts", "alike"] {
            sandbox.assert_logged(&format!("{table}{round}")).await;
        }
    }
}

/// Asserts that the servers' lower case of every character that a name can have is ours.
async fn assert_folded_alike(server: &Server) {
    let names = ('\u{20}'..='\u{ffff}').filter(|c| !matches!(c, '\'' | '\\')).collect::<String>();
    let sql = format!("SELECT LOWER(CONVERT(_utf8mb4'{names}' USING utf8mb3) COLLATE utf8mb3_general_ci)");
    let lowered: String = server.query_one(sql).await;
    for (name, lower) in names.chars().zip(lowered.chars()) {
        assert_eq!(Names::Folded.fold(&name.to_string()), lower.to_string(), "U+{:04X}", u32::from(name));
    }
}

both_servers! {
    async fn a_server_that_keeps_names_in_lower_case_is_copied_whatever_case_statements_have(kind: Kind) {
        let server = ServerOptions::new(kind).with_names_in_lower_case().start().await;
        let mut sandbox = Sandbox::with_every_sink_on(server).await;
        assert_folded_alike(&sandbox.server).await;
        let sinks = sandbox.config()["sinks"].as_array().unwrap()[..3].to_vec();
        sandbox.set("/sinks", json!(sinks));
        sandbox.set("/source/include", json!(["SHOP.*", "Depot?.*", "Shop.ORDERS1"]));
        sandbox.set("/source/exclude", json!(["shop.HIDDEN*"]));
        sandbox.set("/tables", json!([{ "database": "sHOP", "table": "Ruled", "drop": ["secret"] }]));
        sandbox.server.exec(tables(1)).await;
        sandbox.server.exec(tables(2)).await;
        sandbox.server.exec("CREATE TABLE SHOP.RULED (id INT PRIMARY KEY, secret INT)").await;
        let checked = sandbox.run(&["check", "--json"]);
        let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(!checked.contains("\"fail\"") && checked.contains("compare without case"), "{checked}");

        // While nobody reads, and while the daemon runs.
        sandbox.run_once();
        sandbox.server.exec(changes(1)).await;
        sandbox.run_once();
        let dropped: i64 = open_sqlite(&sandbox.sqlite())
            .query_row("SELECT COUNT(*) FROM pragma_table_info('ruled') WHERE name = 'secret'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(dropped, 0, "the rule is for the table whatever its case");
        sandbox.server.exec("DROP TABLE shop.Ruled").await;
        let mut daemon = sandbox.start();
        sandbox.server.exec(changes(2)).await;
        sandbox.caught_up(&mut daemon).await;
        assert_equal(&sandbox, &[1, 2]).await;
        for table in sqlite_tables(&open_sqlite(&sandbox.sqlite())) {
            assert!(!table.starts_with("stock"), "{table} went with its database");
        }

        // An operator spells names in another case, too.
        let asked = sandbox.run(&["backfill", "--database", "sHop", "--table", "ORDERS1", "--replace"]);
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        let status = sandbox.caught_up(&mut daemon).await;
        assert!(table_of(&status, "shop.orders1")["reads"].as_u64() > Some(1), "{status:#}");
        assert_eq!(status["source"]["names"], "folded");
        let shown = sandbox.run(&["status", "--json", "--table", "SHOP.Orders?"]);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["tables"].as_array().unwrap().len(), 2, "{shown:#}");
        let inspected = sandbox.run(&["wal", "inspect", "--json", "--table", "Shop.Orders1"]);
        assert!(String::from_utf8_lossy(&inspected.stdout).contains("\"schema\""), "{inspected:?}");
        assert_equal(&sandbox, &[1, 2]).await;

        // Rows that nobody sees.
        sandbox.server.exec("SET SESSION binlog_format = 'STATEMENT'; INSERT INTO SHOP.ORDERS1 VALUES (77, 77)").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        let log = daemon.log();
        let is_read = |line: &str| line.contains("table=shop.orders1 ") && line.contains("statement format");
        assert!(log.lines().any(is_read), "{log}");
        assert_equal(&sandbox, &[1, 2]).await;
    }

    async fn two_tables_of_a_server_that_keeps_case_are_two(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.set("/source/include", json!(["shop.T", "shop.Other"]));
        let two = "(id INT PRIMARY KEY, v INT)";
        sandbox
            .server
            .exec(format!(
                "USE shop; CREATE TABLE T {two}; INSERT INTO T VALUES (1, 1), (2, 2); CREATE TABLE t {two}; INSERT INTO t VALUES (5, 5);
                 CREATE TABLE Other {two}; CREATE DATABASE SHOP; CREATE TABLE SHOP.T {two}"
            ))
            .await;
        sandbox.run_once();
        let mut daemon = sandbox.start();
        sandbox
            .server
            .exec(
                "USE shop; TRUNCATE t; INSERT INTO t VALUES (6, 6); ALTER TABLE t CHANGE v w INT; RENAME TABLE t TO other, other TO u;
                 INSERT INTO T VALUES (3, 3); INSERT INTO SHOP.T VALUES (9, 9); TRUNCATE SHOP.T;
                 SET SESSION binlog_format = 'STATEMENT'; INSERT INTO u VALUES (7, 7); SET SESSION binlog_format = 'ROW';
                 DROP TABLE u; DROP DATABASE SHOP",
            )
            .await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(status["source"]["names"], "exact");
        let compared = sandbox.assert_mirrored().await;
        assert_eq!((compared.rows, sandbox.assert_mirrored_to_clickhouse().await), (3, compared));
        sandbox.assert_logged("T").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_changes_its_rule_for_names_is_followed_where_no_name_is_another_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox
        .server
        .exec("USE shop; CREATE TABLE orders (id INT PRIMARY KEY, v INT); INSERT INTO orders VALUES (1, 1), (2, 2)")
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    sandbox.server.restart_with("--lower-case-table-names=1").await;

    let code = daemon.wait(LIMIT);
    let log = daemon.log();
    assert_eq!(code, 1, "{log}");
    assert!(
        log.contains("the source has lower_case_table_names=1 now") && log.contains("start the daemon again"),
        "{log}"
    );
    sandbox.server.exec("USE shop; TRUNCATE Orders; INSERT INTO ORDERS VALUES (9, 9)").await;
    sandbox.run_once();
    assert_eq!(sandbox.assert_mirrored().await.rows, 1);

    sandbox.server.restart_with("--lower-case-table-names=0").await;
    let refused = sandbox.run(&["start", "--once"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("lower_case_table_names=0") && said.contains("in lower case"),
        "{said}"
    );
    assert!(said.contains("`replicator start --resync`"), "{said}");
    sandbox.server.exec("USE shop; UPDATE orders SET v = 8; CREATE TABLE Orders (id INT PRIMARY KEY); INSERT INTO Orders VALUES (5)").await;
    sandbox.set("/sinks/0/table_name", json!("{table}")).set("/source/exclude", json!(["shop.Orders"]));
    let output = sandbox.run(&["start", "--once", "--resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    sandbox.server.exec("USE shop; DROP TABLE Orders; INSERT INTO orders VALUES (3, 3)").await;
    sandbox.run_once();
    assert_eq!(sandbox.assert_mirrored().await.rows, 2);

    // A table whose name is another under the new rule.
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox
        .server
        .exec("CREATE TABLE shop.Big (id INT PRIMARY KEY); CREATE TABLE shop.small (id INT PRIMARY KEY)")
        .await;
    sandbox.run_once();
    sandbox.server.restart_with("--lower-case-table-names=1").await;
    let refused = sandbox.run(&["start", "--once"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("table \"shop.Big\" of the log is \"shop.big\" there"),
        "{said}"
    );
    // Names in the log never change, so a new position is of no help, and is not named.
    let again = sandbox.run(&["start", "--once", "--resync"]);
    assert!(!again.status.success() && !said.contains("--resync") && said.contains("wal.path"), "{said}");
}
