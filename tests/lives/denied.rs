//! Tables that are captured and that the account may not read.

use serde_json::json;

use super::{
    assert_copied_but, assert_health, assert_lines, assert_stated, grant, is_stated, limited_to, once, seen, stopped,
};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::table_of;

both_servers! {
    async fn a_table_that_may_not_be_read_is_stated_with_its_grant_and_read_at_the_start_after_it(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1);
                 CREATE TABLE b (id INT PRIMARY KEY, v INT); INSERT INTO b VALUES (1, 1), (2, 2), (3, 3);
                 CREATE TABLE hidden (id INT PRIMARY KEY, v INT); INSERT INTO hidden VALUES (1, 1), (2, 2);
                 CREATE TABLE seen (id INT PRIMARY KEY); INSERT INTO seen VALUES (1)"
            ))
            .await;
        // Of a glob, what the account has any right on is listed. What it has none on shows with its first row.
        limited_to(&sandbox.server, &format!("{}; {}", grant("a"), seen("seen"))).await;
        sandbox.set("/source/include", json!(["shop.a", "shop.b", "shop.h*", "shop.s*"]));

        let said = once(&sandbox, 1);

        let named = said.lines().find(|line| line.contains("WARN") && line.contains("source.include names it"));
        assert!(named.is_some_and(|line| line.contains("shop.b") && line.contains(&grant("b"))), "{said}");
        let status = stopped(&sandbox);
        assert_stated(&status, "a", "complete");
        for table in ["b", "seen"] {
            let why = assert_stated(&status, table, "unreadable");
            assert!(why.contains(&grant(table)), "{table}: {why}");
        }

        // What comes meanwhile is in the log, of tables that are met now too.
        sandbox.server.exec(format!("USE {DATABASE}; UPDATE b SET v = 20 WHERE id = 2; INSERT INTO hidden VALUES (3, 3)")).await;
        once(&sandbox, 1);
        let status = stopped(&sandbox);
        for table in ["b", "hidden"] {
            let why = assert_stated(&status, table, "unreadable");
            assert!(why.contains(&grant(table)), "{table}: {why}");
            let row = table_of(&status, &format!("{DATABASE}.{table}"));
            assert_eq!((&row["read"], &row["appended"], &row["left_out"]), (&json!(1), &json!(1), &json!(0)), "{row:#}");
        }

        let mut daemon = sandbox.start();
        let status = daemon.wait_until("the tables cannot be read", |status| {
            ["b", "hidden", "seen"].iter().all(|table| is_stated(status, table, "unreadable"))
        }).await;
        assert_health(&sandbox, &status, "failed").await;
        daemon.stop();

        for table in ["b", "hidden", "seen"] {
            sandbox.server.exec(grant(table)).await;
        }
        once(&sandbox, 0);
        let status = stopped(&sandbox);
        for table in ["a", "b", "hidden", "seen"] {
            assert_stated(&status, table, "complete");
        }
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 8);
        for table in ["a", "b", "hidden", "seen"] {
            assert_lines(&sandbox, table).await;
        }
    }
}
