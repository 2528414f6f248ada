//! A change of a definition is cut off after each of its requests in turn: the server has done what the request says, and the
//! daemon does not know it and begins again from its log.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::json;

use super::watch::{number, stop_of, stopped};
use crate::support::compare::View;
use crate::support::daemon::Daemon;
use crate::support::proxy::Proxy;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// More requests than any change takes, with the rows behind it.
const MOST: u64 = 40;

/// What is done in the `n`th run, 1 and up, to tables that [`scene`] makes, with rows behind it.
type Change = fn(u64) -> String;

const CHANGES: [(&str, Change); 11] = [
    ("create", |n| format!("CREATE TABLE made_{n} (id INT PRIMARY KEY, v INT); INSERT INTO made_{n} VALUES (1, 1)")),
    ("add", |n| {
        format!("ALTER TABLE added ADD COLUMN c{n} INT DEFAULT {n}; INSERT INTO added (id, v) VALUES ({n} + 10, 1)")
    }),
    ("drop", |n| format!("ALTER TABLE dropped DROP COLUMN c{n}; INSERT INTO dropped (id) VALUES ({n} + 10)")),
    ("rename", |n| {
        format!("ALTER TABLE renamed CHANGE c{} c{n} INT; INSERT INTO renamed VALUES ({n} + 10, {n})", n - 1)
    }),
    ("swap columns", |n| {
        format!(
            "ALTER TABLE swapped RENAME COLUMN a TO b, RENAME COLUMN b TO a; INSERT INTO swapped (id, a) VALUES ({n} + 10, {n})"
        )
    }),
    ("retype", |n| {
        let ty = if n % 2 == 1 { "BIGINT" } else { "INT" };
        format!("ALTER TABLE retyped MODIFY v {ty}; INSERT INTO retyped VALUES ({n} + 10, {n})")
    }),
    ("key", |n| {
        let key = if n % 2 == 1 { "b" } else { "a" };
        format!(
            "ALTER TABLE keyed DROP PRIMARY KEY, ADD PRIMARY KEY ({key}); INSERT INTO keyed VALUES ({n} + 10, {n} + 10, {n})"
        )
    }),
    ("rename table", |n| {
        format!("RENAME TABLE name_{} TO name_{n}; INSERT INTO name_{n} VALUES ({n} + 10, {n})", n - 1)
    }),
    ("swap tables", |n| {
        format!(
            "RENAME TABLE x TO tmp, y TO x, tmp TO y; INSERT INTO x VALUES ({n} + 10, {n}); INSERT INTO y VALUES ({n} + 100, {n})"
        )
    }),
    ("truncate", |n| format!("TRUNCATE TABLE emptied; INSERT INTO emptied VALUES ({n}, {n}), (1000, {n})")),
    ("drop table", |n| format!("DROP TABLE gone_{n}; INSERT INTO other VALUES ({n})")),
];

async fn scene(sandbox: &Sandbox) {
    let mut sql = format!("USE {DATABASE}; CREATE TABLE other (id INT PRIMARY KEY);");
    let columns: Vec<String> = (1..=MOST).map(|n| format!("c{n} INT DEFAULT {n}")).collect();
    let mut tables = vec![
        ("added".to_owned(), "v INT".to_owned()),
        ("dropped".to_owned(), columns.join(", ")),
        ("renamed".to_owned(), "c0 INT".to_owned()),
        ("swapped".to_owned(), "a INT, b INT DEFAULT 7".to_owned()),
        ("retyped".to_owned(), "v INT".to_owned()),
        ("name_0".to_owned(), "v INT".to_owned()),
        ("x".to_owned(), "v INT".to_owned()),
        ("y".to_owned(), "v INT".to_owned()),
        ("emptied".to_owned(), "v INT".to_owned()),
        ("replaced".to_owned(), "v INT".to_owned()),
    ];
    tables.extend((1..=MOST / 2).map(|n| (format!("gone_{n}"), "v INT".to_owned())));
    for (name, columns) in tables {
        write!(
            sql,
            "CREATE TABLE {name} (id INT PRIMARY KEY, {columns}); INSERT INTO {name} (id) VALUES (1), (2), (3);"
        )
        .unwrap();
    }
    sql.push_str("CREATE TABLE keyed (a INT NOT NULL, b INT NOT NULL, v INT, PRIMARY KEY (a)); INSERT INTO keyed VALUES (1, 2, 3), (2, 3, 4);");
    sql.push_str("UPDATE x SET v = 1; UPDATE y SET v = 2;");
    sandbox.server.exec(sql).await;
}

/// Has a table read again in whole.
fn backfill(sandbox: &Sandbox, table: &str) {
    let output = sandbox.run(&["backfill", "--replace", "--database", DATABASE, "--table", table]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A daemon that mirrors the scene through a proxy.
struct Run {
    sandbox: Sandbox,
    proxy: Proxy,
    daemon: Daemon,
}

impl Run {
    async fn begin(kind: Kind, settings: &[(&str, serde_json::Value)]) -> Self {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        for (pointer, value) in settings {
            sandbox.set(pointer, value.clone());
        }
        sandbox.set("/sinks/0/batch", json!({ "max_rows": 500_000, "max_bytes": "64MiB", "max_delay": "1ms" }));
        let proxy = sandbox.clickhouse_behind_proxy().await;
        scene(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        Self { sandbox, proxy, daemon }
    }

    /// Loses the answer to the `n`th request that follows, makes the change, and waits for it. Whether an answer was lost.
    async fn cut(&mut self, what: &str, n: u64, change: impl AsyncFnOnce(&Sandbox)) -> bool {
        self.proxy.lose_answer(n);
        change(&self.sandbox).await;
        let status = self.sandbox.caught_up(&mut self.daemon).await;
        let lost = !self.proxy.loss_is_waiting();
        self.proxy.lose_answer(0);
        assert_eq!(stopped(&status), [""; 0], "{what}, cut after request {n}: {status:#}");
        lost
    }

    /// Makes each change again and again, cut after its first request, its second, and so on, until it is not cut any more.
    async fn cut_everywhere(&mut self, changes: &[(&str, Change)], view: &View) {
        for (what, change) in changes {
            let began = Instant::now();
            let mut n = 1;
            while self
                .cut(what, n, async |sandbox| {
                    sandbox.server.exec(format!("USE {DATABASE}; {}", change(n))).await;
                })
                .await
            {
                n += 1;
                assert!(n < MOST, "{what} has no end");
            }
            eprintln!("{what}: {} requests, {:?}", n - 1, began.elapsed());
            assert!(n > 3, "{what} took only {n} requests");
            self.sandbox.assert_mirrored_to_clickhouse_as(view).await;
        }
    }
}

both_servers! {
    async fn a_mirror_is_equal_wherever_a_change_was_cut_off(kind: Kind) {
        let mut run = Run::begin(kind, &[]).await;

        run.cut_everywhere(&CHANGES, &View::default()).await;

        let mut n = 1;
        while run.cut("replace", n, async |sandbox| backfill(sandbox, "replaced")).await {
            n += 1;
        }
        assert!(n > 8, "replace took only {n} requests");
        run.sandbox.assert_mirrored_to_clickhouse().await;
        run.daemon.stop();
    }

    async fn a_changelog_has_each_change_once_wherever_it_was_cut_off(kind: Kind) {
        let mut run = Run::begin(kind, &[("/sinks/0/mode", json!("history"))]).await;
        let changes: [(&str, Change); 3] = [
            ("truncate", |n| format!("TRUNCATE TABLE emptied; INSERT INTO emptied VALUES ({n}, {n})")),
            ("rename table", |n| format!("RENAME TABLE name_{} TO name_{n}; INSERT INTO name_{n} VALUES ({n} + 10, {n})", n - 1)),
            ("swap columns", |n| {
                format!("ALTER TABLE swapped RENAME COLUMN a TO b, RENAME COLUMN b TO a; INSERT INTO swapped (id, a) VALUES ({n} + 10, {n})")
            }),
        ];
        let mut runs = [0; 3];

        for ((what, change), n) in changes.into_iter().zip(&mut runs) {
            loop {
                *n += 1;
                let change = format!("USE {DATABASE}; {}", change(*n));
                if !run.cut(what, *n, async |sandbox| sandbox.server.exec(change).await).await {
                    break;
                }
            }
            assert!(*n > 3, "{what} took only {n} requests");
        }
        run.daemon.stop();

        let [emptied, named, swapped] = runs;
        let sandbox = &run.sandbox;
        let count = async |table: &str, op: &str| {
            number(sandbox, &format!("SELECT count() FROM replica.{table} FINAL WHERE _op = '{op}'")).await
        };
        assert_eq!([count("emptied", "truncate").await, count("emptied", "insert").await], [emptied, emptied]);
        let name = format!("name_{named}");
        assert_eq!([count(&name, "rename").await, count(&name, "insert").await], [named, named]);
        assert_eq!(count("swapped", "insert").await, swapped);
        // The source reads the table again after such a swap, which adds lines of its own.
        let last = format!("SELECT after_a FROM replica.swapped FINAL WHERE after_id = {swapped} + 10 AND _op = 'insert'");
        assert_eq!(number(sandbox, &last).await, swapped);
    }

    async fn a_stopped_table_stays_stopped_under_its_new_name_wherever_the_rename_was_cut_off(kind: Kind) {
        let mut run = Run::begin(kind, &[("/sinks/0/zero_dates", json!("stop"))]).await;
        run.sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE bad_0 (id INT PRIMARY KEY, d DATE); INSERT INTO bad_0 VALUES (1, '2001-02-03')"
        )).await;
        run.sandbox.caught_up(&mut run.daemon).await;
        let bad = "SET SESSION sql_mode = ''; INSERT INTO shop.bad_";
        run.sandbox.server.exec(format!("{bad}0 VALUES (2, '2001-00-00')")).await;
        stop_of(&mut run.daemon, "shop.bad_0").await;

        let mut n = 1;
        loop {
            run.proxy.lose_answer(n);
            run.sandbox.server.exec(format!(
                "USE {DATABASE}; RENAME TABLE bad_{} TO bad_{n}; INSERT INTO bad_{n} VALUES ({n} + 10, '2001-02-03')", n - 1
            )).await;
            let status = run.sandbox.caught_up(&mut run.daemon).await;
            assert_eq!(stopped(&status), [format!("shop.bad_{n}")], "cut after request {n}");
            if run.proxy.loss_is_waiting() {
                break;
            }
            n += 1;
        }
        run.proxy.lose_answer(0);
        assert!(n > 3, "the rename took only {n} requests");
        assert_eq!(number(&run.sandbox, &format!("SELECT count() FROM replica.bad_{n} FINAL")).await, 1);

        run.sandbox.server.exec(format!("DELETE FROM {DATABASE}.bad_{n} WHERE id = 2")).await;
        backfill(&run.sandbox, &format!("bad_{n}"));
        run.daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
        run.sandbox.caught_up(&mut run.daemon).await;
        run.sandbox.assert_mirrored_to_clickhouse().await;

        run.sandbox.server.exec(format!("{bad}{n} VALUES (2, '2001-00-00')")).await;
        stop_of(&mut run.daemon, &format!("shop.bad_{n}")).await;
        run.sandbox.server.exec(format!("DROP TABLE {DATABASE}.bad_{n}")).await;
        run.daemon.wait_until("a table that is gone is not stopped", |status| stopped(status).is_empty()).await;
        run.sandbox.assert_mirrored_to_clickhouse().await;
        run.daemon.stop();
    }

    async fn a_new_table_gets_nothing_of_one_whose_rename_was_refused(kind: Kind) {
        let mut run = Run::begin(kind, &[("/sinks/0/ddl", json!({ "rename": "stop" }))]).await;

        run.sandbox.server.exec(format!(
            "USE {DATABASE}; RENAME TABLE x TO old_x; CREATE TABLE x (id INT PRIMARY KEY, v INT); INSERT INTO x VALUES (50, 50)"
        )).await;
        let reason = stop_of(&mut run.daemon, "shop.old_x").await;
        let status = run.sandbox.caught_up(&mut run.daemon).await;

        assert!(reason.contains("`ddl.rename` says to stop"), "{reason}");
        assert_eq!(stopped(&status), ["shop.old_x", "shop.x"], "{status:#}");
        assert_eq!(number(&run.sandbox, "SELECT sum(id) FROM replica.x FINAL").await, 6);
        for table in ["old_x", "x"] {
            backfill(&run.sandbox, table);
            let name = format!("shop.{table}");
            run.daemon.wait_until("the table is written again", |status| !stopped(status).contains(&name)).await;
            // Its old copy holds the name of the other one until the new one is whole.
            run.sandbox.caught_up(&mut run.daemon).await;
        }
        run.sandbox.caught_up(&mut run.daemon).await;
        run.sandbox.assert_mirrored_to_clickhouse().await;
        run.daemon.stop();
    }

    async fn a_table_and_a_view_of_somebody_else_are_not_taken_for_the_sinks(kind: Kind) {
        let mut run = Run::begin(kind, &[("/sinks/0/create_views", json!(true))]).await;
        let clickhouse = run.sandbox.clickhouse();
        clickhouse.exec("CREATE TABLE replica.keyed__rebuild (a Int32) ENGINE = MergeTree ORDER BY a").await;
        clickhouse.exec("CREATE VIEW replica.mine_current AS SELECT 5 AS v").await;

        run.sandbox.server.exec(format!(
            "USE {DATABASE}; ALTER TABLE keyed DROP PRIMARY KEY, ADD PRIMARY KEY (b); CREATE TABLE mine (id INT PRIMARY KEY);
             INSERT INTO mine VALUES (1); DROP TABLE x"
        )).await;
        let reason = stop_of(&mut run.daemon, "shop.mine").await;
        let status = run.sandbox.caught_up(&mut run.daemon).await;
        run.daemon.stop();

        assert_eq!(stopped(&status), ["shop.keyed", "shop.mine"], "{status:#}");
        assert!(reason.contains("mine_current"), "{reason}");
        assert_eq!(number(&run.sandbox, "SELECT count() FROM replica.keyed__rebuild").await, 0);
        assert_eq!(number(&run.sandbox, "SELECT v FROM replica.mine_current").await, 5);
        assert_eq!(number(&run.sandbox, "SELECT count() FROM system.tables WHERE name IN ('x', 'x_current')").await, 0);
        assert_eq!(number(&run.sandbox, "SELECT count() FROM replica.y_current").await, 3);
    }
}
