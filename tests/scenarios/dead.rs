//! Rows that a target refuses, and that become dead letters: kept until they are current again, and settled by an operator.

use std::process::Output;

use serde_json::{Value, json};

use super::target::{Mode, Target, World};
use crate::support::cells::Cell;
use crate::support::copies::Copied;
use crate::support::daemon::Daemon;
use crate::support::server::Kind;
use crate::support::status::stopped;

/// A table of which the target takes no row whose `n` is 13.
async fn world<T: Target>(kind: Kind, mode: Mode) -> (World<T>, Daemon) {
    let mut world = World::<T>::on(crate::support::server::Server::start(kind).await, &[mode]).await;
    world.set("/sinks/0/on_row_error", json!("dead_letter"));
    world.sql("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    let mut daemon = world.start();
    world.caught_up(&mut daemon).await;
    world.target.refuse(mode, "t", column(mode)).await;
    (world, daemon)
}

fn column(mode: Mode) -> &'static str {
    match mode {
        Mode::Mirror => "n",
        Mode::History => "after_n",
    }
}

fn dlq<T: Target>(world: &World<T>, arguments: &[&str]) -> Output {
    world.run(&[&["dlq"], arguments].concat())
}

/// What `dlq show --json` says, of each letter: its operation, and its values after the change.
fn letters<T: Target>(world: &World<T>) -> Vec<(String, Value)> {
    let output = dlq(world, &["show", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let items = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    items.map(|item| (item["op"].as_str().unwrap().to_owned(), item["after"].clone())).collect()
}

fn letter(op: &str, id: i64) -> (String, Value) {
    (op.to_owned(), json!({ "id": id, "n": 13 }))
}

/// The rows of the mirror.
async fn rows<T: Target>(world: &World<T>, table: &str) -> Vec<(i64, i64)> {
    let names = ["id".to_owned(), "n".to_owned()];
    let mut rows: Vec<(i64, i64)> = (world.target.copy(Mode::Mirror).rows(table, &names).await.into_iter())
        .map(|row| match row.as_slice() {
            [Cell::Integer(id), Cell::Integer(n)] => (*id, *n),
            other => panic!("{other:?}"),
        })
        .collect();
    rows.sort_unstable();
    rows
}

fn number(status: &Value) -> u64 {
    status["sinks"][0]["dead_letters"]["count"].as_u64().unwrap()
}

every_sink! { mysql_first:
    async fn a_row_that_is_refused_is_kept_and_the_others_go_on<T: Target>(kind: Kind) {
        let (world, mut daemon) = world::<T>(kind, Mode::Mirror).await;
        world.sql(
            "BEGIN; INSERT INTO t VALUES (4, 13), (5, 5), (6, 13); UPDATE t SET n = 13 WHERE id = 1; UPDATE t SET id = 7, n = 13 WHERE id = 2; COMMIT;
             INSERT INTO t VALUES (8, 8)"
        ).await;
        let status = world.caught_up(&mut daemon).await;
        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        assert_eq!(letters(&world), [letter("insert", 4), letter("insert", 6), letter("update", 1), letter("update", 7)]);
        assert_eq!(rows(&world, "t").await, [(1, 1), (3, 3), (5, 5), (8, 8)]);
        assert_eq!(number(&status), 4);
        assert_eq!(status["health"]["status"], "degraded");
        assert!(status["health"]["reasons"][0]["remedy"].as_str().unwrap().contains("replicator dlq list"));
        let table = status["tables"].as_array().unwrap().iter().find(|table| table["table"] == "shop.t").unwrap();
        assert_eq!(table["sinks"][status["sinks"][0]["name"].as_str().unwrap()]["dead_letters"], 4);

        // What is written later, or is gone, is current, over a restart as well.
        daemon.stop();
        let mut daemon = world.start();
        world.sql("UPDATE t SET n = 4 WHERE id = 4; DELETE FROM t WHERE id = 6; UPDATE t SET n = 14 WHERE id = 1").await;
        let status = world.caught_up(&mut daemon).await;
        assert_eq!(letters(&world), [letter("update", 7)]);
        assert_eq!(number(&status), 1);
        assert_eq!(rows(&world, "t").await, [(1, 14), (3, 3), (4, 4), (5, 5), (8, 8)]);

        // A retry while the cause is there keeps the letter; afterwards it brings the row as it is by then.
        assert!(dlq(&world, &["retry"]).status.success());
        world.sql("INSERT INTO t VALUES (9, 9)").await;
        world.caught_up(&mut daemon).await;
        world.target.take_all(Mode::Mirror, "t").await;
        assert!(dlq(&world, &["retry", "--table", "shop.t"]).status.success());
        let status = daemon.wait_until("the letter is gone", |status| number(status) == 0).await;
        assert_eq!(stopped(&status), [""; 0]);
        daemon.stop();
        world.assert_mirrored().await;
    }

    async fn a_letter_of_a_row_that_rules_rewrite_is_the_row_of_the_source<T: Target>(kind: Kind) {
        let mut world = World::<T>::on(crate::support::server::Server::start(kind).await, &[Mode::Mirror]).await;
        let key = world.path("hash.key");
        std::fs::write(&key, "a key\n").unwrap();
        world.set("/hash_key_file", json!(key));
        world.set("/tables", json!([{ "database": "shop", "table": "t", "hash": ["secret"] }]));
        world.set("/sinks/0/source_tag", json!("src"));
        world.set("/sinks/0/on_row_error", json!("dead_letter"));
        world.sql("CREATE TABLE t (id INT PRIMARY KEY, secret VARCHAR(30), n INT NOT NULL); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)").await;
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;
        world.target.refuse(Mode::Mirror, "t", "n").await;
        world.sql("INSERT INTO t VALUES (3, 'c', 3), (4, 'd', 13), (5, 'e', 5); UPDATE t SET n = 13 WHERE id = 1; DELETE FROM t WHERE id = 2").await;
        world.caught_up(&mut daemon).await;
        let hashed = |op: &str, id| (op.to_owned(), json!({ "id": id, "secret": "(hashed)", "n": 13 }));
        assert_eq!(letters(&world), [hashed("insert", 4), hashed("update", 1)]);
        assert_eq!(rows(&world, "t").await, [(1, 1), (3, 3), (5, 5)]);

        world.target.take_all(Mode::Mirror, "t").await;
        assert!(dlq(&world, &["retry"]).status.success());
        daemon.wait_until("the letters are gone", |status| number(status) == 0).await;
        let status = world.caught_up(&mut daemon).await;
        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        assert_eq!(rows(&world, "t").await, [(1, 13), (3, 3), (4, 13), (5, 5)]);
        let table = status["tables"].as_array().unwrap().iter().find(|table| table["table"] == "shop.t").unwrap();
        assert_eq!(table["read"], 2 + 5 + 2, "the two rows were read, and not their table: {table:#}");
        daemon.stop();
    }

    async fn a_line_of_a_history_is_tried_again<T: Target>(kind: Kind) {
        let (world, mut daemon) = world::<T>(kind, Mode::History).await;
        world.sql("INSERT INTO t VALUES (4, 13); UPDATE t SET n = 4 WHERE id = 4; UPDATE t SET n = 13 WHERE id = 1").await;
        world.caught_up(&mut daemon).await;
        assert_eq!(letters(&world), [letter("insert", 4), letter("update", 1)]);
        // A line is written into what the history has become by then.
        world.sql("ALTER TABLE t ADD COLUMN w INT").await;
        assert!(dlq(&world, &["retry"]).status.success());
        world.sql("INSERT INTO t VALUES (9, 9, 9)").await;
        let status = world.caught_up(&mut daemon).await;
        assert_eq!((number(&status), stopped(&status)), (2, Vec::<String>::new()), "{status:#}");
        daemon.stop();

        // Asked for while nothing runs, it is done at the next start.
        world.target.take_all(Mode::History, "t").await;
        assert!(dlq(&world, &["retry"]).status.success());
        let mut daemon = world.start();
        daemon.wait_until("the letters are gone", |status| number(status) == 0).await;
        world.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(world.assert_logged("t").await, 3 + 4);
    }

    async fn letters_end_and_move_with_their_table<T: Target>(kind: Kind) {
        let (world, mut daemon) = world::<T>(kind, Mode::Mirror).await;
        world.sql("INSERT INTO t VALUES (4, 13); RENAME TABLE t TO u").await;
        world.caught_up(&mut daemon).await;
        assert!(!dlq(&world, &["discard", "--table", "shop.t"]).status.success());
        let listed = dlq(&world, &["list", "--table", "shop.u", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!((&listed[0]["letters"], &listed[0]["table"]), (&json!(1), &json!("shop.u")));
        world.sql("TRUNCATE TABLE u; INSERT INTO u VALUES (5, 13)").await;
        world.caught_up(&mut daemon).await;
        assert_eq!(letters(&world), [letter("insert", 5)]);
        // A copy that is made again is made without what somebody has put on the old one, or with it: either way each row is there or a letter.
        let output = world.run(&["backfill", "--replace", "--table", "shop.u"]);
        assert!(output.status.success());
        let status = daemon.wait_until("it is read", |status| {
            status["tables"].as_array().unwrap().iter().all(|table| table["table"] != "shop.u" || table["state"] == "complete")
        }).await;
        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        world.caught_up(&mut daemon).await;
        assert_eq!(letters(&world).len() + rows(&world, "u").await.len(), 1);
        world.sql("DROP TABLE u").await;
        world.caught_up(&mut daemon).await;
        assert_eq!(letters(&world), []);
        daemon.stop();
    }

    async fn letters_are_discarded_and_leave_the_rows_as_they_are<T: Target>(kind: Kind) {
        let (world, mut daemon) = world::<T>(kind, Mode::Mirror).await;
        world.sql("INSERT INTO t VALUES (4, 13), (5, 13)").await;
        world.caught_up(&mut daemon).await;
        assert_eq!(dlq(&world, &["discard"]).status.code(), Some(2));
        assert_eq!(dlq(&world, &["discard", "--reason", "no such reason"]).status.code(), Some(1));
        assert_eq!(letters(&world).len(), 2);
        assert!(dlq(&world, &["discard", "--all"]).status.success());
        assert_eq!(letters(&world), []);
        // Of a row without a letter nothing says why it is not there.
        let status = world.caught_up(&mut daemon).await;
        assert_eq!(number(&status), 0);
        daemon.stop();
        let mut daemon = world.start();
        assert_eq!(number(&world.caught_up(&mut daemon).await), 0);
        daemon.stop();
        assert_eq!(rows(&world, "t").await, [(1, 1), (2, 2), (3, 3)]);
    }

    async fn the_table_stops_where_the_letters_have_no_room<T: Target>(kind: Kind) {
        let (mut world, mut daemon) = world::<T>(kind, Mode::Mirror).await;
        daemon.stop();
        world.set("/dead_letters", json!({ "max_bytes": "1KiB" }));
        let mut daemon = world.start();
        world.sql("INSERT INTO t VALUES (4, 13), (5, 13), (6, 13), (7, 13), (8, 13), (9, 13), (10, 13), (11, 13)").await;
        let reason = crate::support::status::stop_of(&mut daemon, "shop.t").await;
        assert!(reason.contains("dead_letters.max_bytes"), "{reason}");
        daemon.stop();
    }
}
