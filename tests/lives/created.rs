//! Tables whose whole life is in the stream: each row is in the log once, and nothing is read.

use std::collections::BTreeMap;

use super::{assert_copied_but, assert_lines, assert_stated, once, operations, stopped};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::table_of;

const WHOLE: [&str; 4] = ["t", "later", "twice", "alike"];

/// Every way to come into being that the stream shows from its first row.
async fn create(sandbox: &Sandbox) {
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30); UPDATE t SET v = 21 WHERE id = 2;
             CREATE TABLE soon (id INT PRIMARY KEY, v INT); INSERT INTO soon VALUES (1, 10); RENAME TABLE soon TO later; INSERT INTO later VALUES (2, 20);
             CREATE TABLE twice (id INT); INSERT INTO twice VALUES (7); DROP TABLE twice; CREATE TABLE twice (id INT PRIMARY KEY, v INT);
             INSERT INTO twice VALUES (1, 10); CREATE TABLE alike LIKE t; INSERT INTO alike SELECT * FROM t WHERE id < 3"
        ))
        .await;
}

async fn assert_each_row_once(sandbox: &Sandbox) {
    let counts = |counts: &[(&str, i64)]| {
        counts.iter().map(|(op, count)| ((*op).to_owned(), *count)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(operations(sandbox, "t").await, counts(&[("insert", 3), ("update", 1)]));
    assert_eq!(operations(sandbox, "alike").await, counts(&[("insert", 2)]));
    for table in WHOLE {
        assert!(!operations(sandbox, table).await.contains_key("snapshot"), "{table}");
    }
    assert_lines(sandbox, "t").await;
    assert_lines(sandbox, "alike").await;
    assert_eq!(assert_copied_but(sandbox, &[]).await.rows, 3 + 2 + 1 + 2 + 1);
}

both_servers! {
    async fn a_table_that_was_created_while_nobody_read_the_stream_is_complete_without_being_read(kind: Kind) {
        let sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.old (id INT PRIMARY KEY); INSERT INTO {DATABASE}.old VALUES (1)")).await;
        once(&sandbox, 0);
        create(&sandbox).await;

        let said = once(&sandbox, 0);

        assert!(!said.contains("a table was read"), "{said}");
        let status = stopped(&sandbox);
        for table in WHOLE {
            assert_stated(&status, table, "complete");
            assert_eq!(table_of(&status, &format!("{DATABASE}.{table}"))["reads"], 0, "{table}: {status:#}");
        }
        assert_each_row_once(&sandbox).await;
    }

    async fn a_table_that_is_created_while_the_stream_is_read_is_complete_without_being_read(kind: Kind) {
        let sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.old (id INT PRIMARY KEY); INSERT INTO {DATABASE}.old VALUES (1)")).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        create(&sandbox).await;

        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        for table in WHOLE {
            assert_stated(&status, table, "complete");
            assert_eq!(table_of(&status, &format!("{DATABASE}.{table}"))["reads"], 0, "{table}: {status:#}");
        }
        assert_each_row_once(&sandbox).await;
    }

    /// MySQL logs the statement also where it did nothing: the stream alone does not say whether it created the table.
    async fn a_table_that_may_have_been_there_before_its_statement_is_copied_whole(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE old (id INT PRIMARY KEY); INSERT INTO old VALUES (1)")).await;
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE away (id INT PRIMARY KEY); INSERT INTO away VALUES (1), (2)")).await;
        sandbox.set("/source/exclude", serde_json::json!([format!("{DATABASE}.away")]));
        once(&sandbox, 0);
        let create = |table: &str| format!("CREATE TABLE IF NOT EXISTS {DATABASE}.{table} (id INT PRIMARY KEY)");
        for table in ["old", "away", "new"] {
            sandbox.server.exec(format!("{}; INSERT INTO {DATABASE}.{table} VALUES (9)", create(table))).await;
        }
        sandbox.set("/source/exclude", serde_json::json!([]));

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for table in ["old", "away", "new", "newer"] {
            sandbox.server.exec(format!("{}; INSERT INTO {DATABASE}.{table} VALUES (10)", create(table))).await;
        }

        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        for table in ["old", "away", "new", "newer"] {
            assert_stated(&status, table, "complete");
            assert_lines(&sandbox, table).await;
        }
        if kind == Kind::MariaDb {
            assert!(!operations(&sandbox, "newer").await.contains_key("snapshot"));
        }
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 3 + 4 + 2 + 1);
    }
}
