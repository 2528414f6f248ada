//! A change of a definition is cut off after each of its requests in turn: the server has done what the request says, and the
//! daemon does not know it and begins again from its log.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::json;

use super::watch::stopped;
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
            assert!(n > 4, "{what} took only {n} requests");
            self.sandbox.assert_mirrored_to_clickhouse_as(view).await;
        }
    }
}

both_servers! {
    async fn a_mirror_is_equal_wherever_a_change_was_cut_off(kind: Kind) {
        let mut run = Run::begin(kind, &[]).await;

        run.cut_everywhere(&CHANGES, &View::default()).await;

        run.daemon.stop();
    }
}
