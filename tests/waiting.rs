//! One table that cannot be asked about holds up no other: the stream goes on, and the table is whole in the end,
//! whatever became of it meanwhile.
//!
//! What a table is after a statement, and which unique key it has, may stand nowhere but in the server's catalogue. The
//! question about it waits while somebody holds the table's lock. A table that is made like one that is not captured
//! has to be asked about in any case: no statement tells its columns, and its rows do not tell a unique key over a
//! prefix.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::support::cells::{open_sqlite, sqlite_rows};
use crate::support::daemon::{Daemon, LIMIT};
use crate::support::locks::{self, Locks};
use crate::support::proxy::Proxy;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::status::{read_of, table_of};

/// Runs a script in one session, inside `shop`.
async fn run(sandbox: &Sandbox, sql: impl AsRef<str>) {
    sandbox.server.exec(format!("USE {DATABASE}; {}", sql.as_ref())).await;
}

/// A mirror and a changelog of a source behind a proxy, with tables that nobody locks.
async fn sandbox(kind: Kind) -> (Sandbox, Proxy) {
    let mut sandbox = Sandbox::new(kind).await;
    sandbox.with_changelog();
    let proxy = sandbox.behind_proxy().await;
    run(
        &sandbox,
        "CREATE DATABASE other; CREATE TABLE other.template (c VARCHAR(40) NOT NULL, v INT, UNIQUE (c(10)));
         CREATE TABLE free (id INT PRIMARY KEY AUTO_INCREMENT, v INT); CREATE TABLE loose (v INT)",
    )
    .await;
    (sandbox, proxy)
}

/// Rows of a table of the mirror.
fn copied(sandbox: &Sandbox, table: &str) -> usize {
    sqlite_rows(&open_sqlite(&sandbox.sqlite()), table, &["v".to_owned()], "1").len()
}

/// Inserts 20 rows into the tables that nobody locks, and waits until the mirror has them.
async fn others_go_on(sandbox: &Sandbox, daemon: &mut Daemon) {
    for number in 0..10 {
        run(sandbox, format!("INSERT INTO free (v) VALUES ({number}); INSERT INTO loose VALUES ({number})")).await;
    }
    for table in ["free", "loose"] {
        let rows: usize = sandbox.server.query_one(format!("SELECT COUNT(*) FROM {DATABASE}.{table}")).await;
        daemon.wait_until(&format!("{rows} rows of {table} are copied"), |_| copied(sandbox, table) == rows).await;
    }
}

/// Whether the status says that a table of `shop` is still to be read.
fn is_to_be_read(status: &Value, table: &str) -> bool {
    read_of(status, &format!("{DATABASE}.{table}")).is_object()
}

/// Compares everything: the mirror, and the changelog of the tables that nobody changed.
async fn assert_whole(sandbox: &Sandbox, tables: usize) {
    assert_eq!(sandbox.assert_mirrored().await.tables, tables);
    for table in ["free", "loose"] {
        sandbox.assert_logged(table).await;
    }
}

/// Tables of `shop` (name, definition) and what changes each while the daemon hears nothing. Each is locked after that.
const CHANGED: [(&str, &str, &str); 10] = [
    ("added", "id INT PRIMARY KEY, v INT", "ALTER TABLE added ADD w VARCHAR(10) NOT NULL DEFAULT 'w'"),
    ("widened", "id INT PRIMARY KEY, v INT", "ALTER TABLE widened MODIFY v BIGINT"),
    ("retyped", "id INT PRIMARY KEY, v INT", "ALTER TABLE retyped MODIFY v VARCHAR(20)"),
    ("renamed", "id INT PRIMARY KEY, v INT", "ALTER TABLE renamed RENAME COLUMN v TO w"),
    ("keyed", "id INT NOT NULL, v INT", "ALTER TABLE keyed ADD PRIMARY KEY (id)"),
    ("rekeyed", "id INT PRIMARY KEY, v INT NOT NULL", "ALTER TABLE rekeyed DROP PRIMARY KEY, ADD PRIMARY KEY (v)"),
    (
        "moved",
        "id INT PRIMARY KEY, v INT",
        "RENAME TABLE moved TO elsewhere; RENAME TABLE elsewhere TO moved; ALTER TABLE moved ADD w INT",
    ),
    (
        "made_again",
        "id INT PRIMARY KEY, v INT",
        "DROP TABLE made_again; CREATE TABLE made_again (id VARCHAR(9) PRIMARY KEY, w DATE)",
    ),
    ("alike", "", "CREATE TABLE alike LIKE other.template; INSERT INTO alike VALUES ('0123456789 one', 1)"),
    (
        "alike_too",
        "",
        "CREATE TABLE alike_too LIKE other.template;
         BEGIN; INSERT INTO free (v) VALUES (-1); INSERT INTO alike_too VALUES ('0123456789 one', 1); INSERT INTO free (v) VALUES (-2); COMMIT",
    ),
];

/// Creates the tables of [`CHANGED`] that have a definition, with three rows each.
async fn create(sandbox: &Sandbox) {
    for (table, definition, _) in CHANGED {
        if !definition.is_empty() {
            run(
                sandbox,
                format!("CREATE TABLE {table} ({definition}); INSERT INTO {table} VALUES (1, 10), (2, 20), (3, 30)"),
            )
            .await;
        }
    }
}

/// Changes the tables and locks them, and only then lets the daemon know.
async fn change_and_lock(sandbox: &Sandbox, proxy: &Proxy, changed: &[(&str, &str, &str)]) -> Locks {
    proxy.hold();
    for (_, _, change) in changed {
        run(sandbox, change).await;
    }
    let tables: Vec<&str> = changed.iter().map(|(table, ..)| *table).collect();
    let locks = Locks::write(&sandbox.server, DATABASE, &tables).await;
    proxy.release();
    locks
}

/// What the holder of the locks writes, under definitions that nobody else can ask about.
fn under_locks(number: u32) -> String {
    format!(
        "INSERT INTO added VALUES (1{number}, 40, 'x'); INSERT INTO widened VALUES (1{number}, 4000000000);
         UPDATE retyped SET v = 'text {number}' WHERE id = 2; UPDATE renamed SET w = {number} WHERE id = 1; UPDATE keyed SET v = {number} WHERE id = 2;
         UPDATE rekeyed SET id = 1{number} WHERE v = 20; INSERT INTO moved VALUES (1{number}, 5, 5);
         INSERT INTO made_again VALUES ('{number}', '2024-01-01');
         INSERT INTO alike VALUES ('{number}', 2); UPDATE alike SET v = v + 1; INSERT INTO alike_too VALUES ('a{number}', 2), ('b{number}', 3);
         DELETE FROM alike_too WHERE v = 2"
    )
}

both_servers! {
    async fn tables_that_are_locked_after_a_change_hold_up_no_other(kind: Kind) {
        let (sandbox, proxy) = sandbox(kind).await;
        create(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let mut locks = change_and_lock(&sandbox, &proxy, &CHANGED).await;
        locks.exec(under_locks(1)).await;
        others_go_on(&sandbox, &mut daemon).await;
        // The lock lasts longer than rows wait for the definition of their table: then the table is to be read again,
        // and the status says so.
        for table in ["alike", "alike_too"] {
            daemon.wait_until(&format!("the status says that {table} is to be read"), |status| is_to_be_read(status, table)).await;
        }
        locks.exec(under_locks(2)).await;
        others_go_on(&sandbox, &mut daemon).await;
        locks.release().await;
        others_go_on(&sandbox, &mut daemon).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 2 + CHANGED.len()).await;
        for table in ["alike", "alike_too"] {
            sandbox.assert_logged(table).await;
        }
    }

    async fn thirty_changes_of_a_locked_table_in_a_row_hold_up_no_other(kind: Kind) {
        let (sandbox, _proxy) = sandbox(kind).await;
        run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT); INSERT INTO t (v) VALUES (1), (2), (3)").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let mut locks = Locks::write(&sandbox.server, DATABASE, &["t"]).await;
        for number in 0..30 {
            let change = match number % 3 {
                0 => format!("ALTER TABLE t ADD c{number} INT NOT NULL DEFAULT {number}"),
                1 => format!("ALTER TABLE t MODIFY c{} VARCHAR(10)", number - 1),
                _ => format!("ALTER TABLE t RENAME COLUMN c{} TO c{number}, COMMENT = 'change {number}'", number - 2),
            };
            locks.exec(format!("{change}; INSERT INTO t (v) VALUES ({number}); UPDATE t SET v = v + 1 WHERE id = 1")).await;
        }
        others_go_on(&sandbox, &mut daemon).await;
        locks.release().await;
        run(&sandbox, "INSERT INTO t (v) VALUES (100); DELETE FROM t WHERE id = 2").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 3).await;
    }

    async fn rows_after_two_definitions_that_were_left_out_are_copied(kind: Kind) {
        let (sandbox, _proxy) = sandbox(kind).await;
        run(&sandbox, "CREATE TABLE t (v INT); INSERT INTO t VALUES (1), (2), (2)").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let mut locks = Locks::write(&sandbox.server, DATABASE, &["t"]).await;
        locks.exec("ALTER TABLE t ADD b VARCHAR(9); INSERT INTO t VALUES (3, 3)").await;
        locks.exec("ALTER TABLE t ADD c VARCHAR(9); INSERT INTO t VALUES (4, 4, 4)").await;
        daemon.wait_until("the status says that t is to be read", |status| is_to_be_read(status, "t")).await;
        // As after the first of the two.
        locks.exec("ALTER TABLE t DROP c; INSERT INTO t VALUES (5, 5)").await;
        others_go_on(&sandbox, &mut daemon).await;
        locks.release().await;
        run(&sandbox, "INSERT INTO t VALUES (6, 6); UPDATE t SET b = 7 WHERE v = 2; DELETE FROM t WHERE v = 4").await;
        sandbox.caught_up(&mut daemon).await;
        run(&sandbox, "INSERT INTO t VALUES (8, 8)").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 3).await;
    }

    async fn changes_that_wait_for_readers_of_their_tables_hold_up_no_other(kind: Kind) {
        let (sandbox, proxy) = sandbox(kind).await;
        create(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        // Whoever waits to change a table keeps out everybody who comes after.
        proxy.hold();
        let (mut readers, mut changes) = (Vec::new(), Vec::new());
        for (table, _, change) in CHANGED {
            run(&sandbox, change).await;
            let mut reader = sandbox.server.connect().await;
            reader.query_drop(format!("BEGIN; SELECT * FROM {DATABASE}.{table}")).await.unwrap();
            readers.push(reader);
            let mut changing = sandbox.server.connect().await;
            let sql = format!("ALTER TABLE {DATABASE}.{table} ADD later INT NOT NULL DEFAULT 7");
            changes.push(tokio::spawn(async move { changing.query_drop(sql).await.unwrap() }));
        }
        locks::until_others_wait(&sandbox.server, CHANGED.len()).await;
        proxy.release();
        others_go_on(&sandbox, &mut daemon).await;
        for mut reader in readers {
            reader.query_drop("COMMIT").await.unwrap();
        }
        for change in changes {
            change.await.unwrap();
        }
        // A table that is made and changed, and has no row, is met with its first row.
        run(&sandbox, "INSERT INTO made_again (id) VALUES ('first')").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 2 + CHANGED.len()).await;
    }
}

/// What becomes of a table `#` while it is asked about: what the holder of its lock does, and what comes after that.
const FOLLOWING: [(&str, &str, &str); 7] = [
    ("unlocked", "INSERT INTO # (c, v) VALUES ('last', 1)", "DELETE FROM # WHERE v = 3"),
    ("dropped", "INSERT INTO # (c, v) VALUES ('last', 1); DROP TABLE #", "SELECT 1"),
    (
        "emptied",
        "TRUNCATE TABLE #; INSERT INTO # (c, v) VALUES ('last', 1)",
        "INSERT INTO # (c, v) VALUES ('and after it', 2)",
    ),
    (
        "changed",
        "ALTER TABLE # ADD later INT NOT NULL DEFAULT 5; UPDATE # SET v = 9 WHERE v = 1",
        "INSERT INTO # (c, v, later) VALUES ('last', 1, 1)",
    ),
    ("moved", "ALTER TABLE # RENAME TO #_away", "INSERT INTO #_away (c, v) VALUES ('last', 1)"),
    (
        "made_again",
        "DROP TABLE #",
        "CREATE TABLE # (id INT PRIMARY KEY, d DATE); INSERT INTO # VALUES (1, '2024-01-01'), (2, NULL)",
    ),
    (
        "replaced",
        "ALTER TABLE # RENAME TO #_old",
        "CREATE TABLE # LIKE other.template; INSERT INTO # VALUES ('new', 1); DELETE FROM #_old WHERE v = 2",
    ),
];

both_servers! {
    async fn a_table_that_changes_again_or_goes_while_it_is_asked_about_is_followed(kind: Kind) {
        let (sandbox, proxy) = sandbox(kind).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        // While the question waits, and when it has waited for too long.
        for (round, for_long) in [("soon", false), ("late", true)] {
            let named = |name: &str| ["known", "alike"].map(|kind| format!("{name}_{kind}_{round}"));
            let tables: Vec<[String; 2]> = FOLLOWING.iter().map(|(name, ..)| named(name)).collect();
            for [known, _] in &tables {
                run(&sandbox, format!("CREATE TABLE {known} (c VARCHAR(40) PRIMARY KEY, v INT)")).await;
            }
            sandbox.caught_up(&mut daemon).await;
            proxy.hold();
            for [known, alike] in &tables {
                run(&sandbox, format!("ALTER TABLE {known} MODIFY v BIGINT; CREATE TABLE {alike} LIKE other.template")).await;
                for table in [known, alike] {
                    let rows = "VALUES ('one', 1), ('two', 2), ('three', 3)";
                    run(&sandbox, format!("INSERT INTO {table} {rows}; UPDATE {table} SET v = 4 WHERE v = 3")).await;
                }
            }
            let names: Vec<&str> = tables.iter().flatten().map(String::as_str).collect();
            let mut locks = Locks::write(&sandbox.server, DATABASE, &names).await;
            proxy.release();
            sandbox.asking(&mut daemon).await;
            if for_long {
                others_go_on(&sandbox, &mut daemon).await;
            }
            for ((_, following, _), tables) in FOLLOWING.iter().zip(&tables) {
                for table in tables {
                    locks.exec(following.replace('#', table)).await;
                }
            }
            locks.release().await;
            for ((_, _, after), tables) in FOLLOWING.iter().zip(&tables) {
                for table in tables {
                    run(&sandbox, after.replace('#', table)).await;
                }
            }
            others_go_on(&sandbox, &mut daemon).await;
            sandbox.caught_up(&mut daemon).await;
            // "dropped" leaves two tables fewer, "replaced" two more.
            let rounds = if for_long { 2 } else { 1 };
            assert_whole(&sandbox, 2 + rounds * 2 * FOLLOWING.len()).await;
        }
        daemon.stop();
    }

    async fn a_server_that_goes_while_a_table_is_asked_about_leaves_no_trace(kind: Kind) {
        let (mut sandbox, proxy) = sandbox(kind).await;
        create(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let (first, second) = CHANGED.split_at(CHANGED.len() / 2);
        let locks = change_and_lock(&sandbox, &proxy, first).await;
        sandbox.asking(&mut daemon).await;
        sandbox.server.restart().await;
        drop(locks);
        others_go_on(&sandbox, &mut daemon).await;
        sandbox.caught_up(&mut daemon).await;
        // Those of which there is nothing but the change have not come yet.
        assert_whole(&sandbox, 2 + CHANGED.len() - 2).await;

        let locks = change_and_lock(&sandbox, &proxy, second).await;
        sandbox.asking(&mut daemon).await;
        others_go_on(&sandbox, &mut daemon).await;
        sandbox.server.kill();
        sandbox.server.start_again().await;
        drop(locks);
        others_go_on(&sandbox, &mut daemon).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 2 + CHANGED.len()).await;
        for table in ["alike", "alike_too"] {
            sandbox.assert_logged(table).await;
        }
    }

    async fn rows_that_wait_for_a_definition_live_through_kills_and_stops(kind: Kind) {
        let (sandbox, proxy) = sandbox(kind).await;
        create(&sandbox).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let mut locks = change_and_lock(&sandbox, &proxy, &CHANGED).await;
        locks.exec(under_locks(1)).await;
        for round in 0..6 {
            sandbox.asking(&mut daemon).await;
            if round == 3 {
                others_go_on(&sandbox, &mut daemon).await;
            }
            if round % 3 == 2 {
                daemon.stop();
            } else {
                daemon.kill();
            }
            locks::end_waiting(&sandbox.server).await;
            locks.exec(under_locks(2 + round)).await;
            daemon = sandbox.start();
        }
        sandbox.asking(&mut daemon).await;
        locks.release().await;
        others_go_on(&sandbox, &mut daemon).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 2 + CHANGED.len()).await;
        for table in ["alike", "alike_too"] {
            sandbox.assert_logged(table).await;
        }
    }

    async fn rows_that_may_wait_for_long_are_not_read_again(kind: Kind) {
        let (mut sandbox, proxy) = sandbox(kind).await;
        sandbox.set("/source/describe_wait", json!("10m"));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let changed: Vec<_> = CHANGED.into_iter().filter(|(table, ..)| table.starts_with("alike")).collect();
        let mut locks = change_and_lock(&sandbox, &proxy, &changed).await;
        sandbox.asking(&mut daemon).await;
        locks.exec("INSERT INTO alike VALUES ('two', 2); UPDATE alike SET v = 3 WHERE v = 1; DELETE FROM alike_too").await;
        // A table that the log does not know yet is read at the next start.
        sandbox.logged_within(LIMIT, &mut daemon).await;
        daemon.kill();
        locks::end_waiting(&sandbox.server).await;
        daemon = sandbox.start();
        sandbox.asking(&mut daemon).await;
        locks.release().await;
        run(&sandbox, "INSERT INTO alike VALUES ('three', 3); INSERT INTO alike_too VALUES ('three', 3)").await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_whole(&sandbox, 4).await;
        for table in ["shop.alike", "shop.alike_too"] {
            assert_eq!(table_of(&status, table)["reads"], 0, "{table} was read again: {status:#}");
        }
        assert_eq!((sandbox.assert_logged("alike").await, sandbox.assert_logged("alike_too").await), (4, 3));
    }
}
