//! Columns that the binlog calls `BINARY` and of which nobody tells any more whether they are MariaDB's `UUID`, `INET6` or `INET4`: the
//! stream goes on with their bytes, and the copies come to equal the source.

use serde_json::json;

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

async fn run(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// A log that begins behind `before` and has no table in it; `hidden` is not captured.
async fn latest(before: &str) -> Sandbox {
    latest_on(ServerOptions::new(Kind::MariaDb), before).await
}

async fn latest_on(options: ServerOptions, before: &str) -> Sandbox {
    let mut sandbox = Sandbox::on(options.start().await).await;
    sandbox.set("/source/startup_mode", json!("latest"));
    sandbox.set("/source/exclude", json!([format!("{DATABASE}.hidden")]));
    run(&sandbox, before).await;
    sandbox.run_once();
    sandbox
}

const VALUE: &str = "x'123456789abc1ef08234567890abcd01'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_the_server_shows_no_more_stops_nothing_on_mariadb() {
    for ty in ["UUID", "BINARY(16)"] {
        let table = format!("CREATE TABLE t (id INT PRIMARY KEY, odd {ty}, x INT)");
        let hidden = format!("CREATE TABLE hidden (id INT PRIMARY KEY, odd {ty}, x INT)");
        for (before, while_nobody_read, rows) in [
            (&table, "INSERT INTO t VALUES (1, ?, 1); RENAME TABLE t TO later", 1),
            (&table, "INSERT INTO t VALUES (1, ?, 1); ALTER TABLE t ADD y INT, RENAME TO later", 1),
            (&table, "INSERT INTO t VALUES (1, ?, 1); RENAME TABLE t TO later; INSERT INTO later VALUES (2, ?, 1)", 2),
            (&table, "INSERT INTO t VALUES (1, ?, 1); ALTER TABLE t DROP odd", 1),
            (&table, "INSERT INTO t VALUES (1, ?, 1); ALTER TABLE t RENAME COLUMN odd TO even", 1),
            (&table, "INSERT INTO t VALUES (1, ?, 1); ALTER TABLE t MODIFY odd VARBINARY(40)", 1),
            (&table, "INSERT INTO t VALUES (1, ?, 1); ALTER TABLE t MODIFY odd CHAR(36) CHARACTER SET binary", 1),
            (&table, "INSERT INTO t VALUES (1, ?, 1); DROP TABLE t", 0),
            (&table, "INSERT INTO t VALUES (1, ?, 1); ALTER TABLE t RENAME COLUMN odd TO a; INSERT INTO t VALUES (2, ?, 1);
                      ALTER TABLE t MODIFY a BINARY(16); INSERT INTO t VALUES (3, ?, 1); ALTER TABLE t RENAME COLUMN a TO b", 3),
            (&hidden, "CREATE TABLE alike LIKE hidden; INSERT INTO alike VALUES (1, ?, 1); RENAME TABLE alike TO other", 1),
            (&hidden, "CREATE TABLE alike LIKE hidden; INSERT INTO alike VALUES (1, ?, 1); DROP TABLE alike", 0),
            (&hidden, "RENAME TABLE hidden TO shown; INSERT INTO shown VALUES (1, ?, 1); RENAME TABLE shown TO other", 1),
            (&hidden, "RENAME TABLE hidden TO shown; INSERT INTO shown VALUES (1, ?, 1); ALTER TABLE shown DROP odd", 1),
        ] {
            let sandbox = latest(before).await;
            run(&sandbox, "CREATE TABLE beside (id INT PRIMARY KEY); INSERT INTO beside VALUES (7)").await;
            run(&sandbox, &while_nobody_read.replace('?', VALUE)).await;
            run(&sandbox, "DROP TABLE IF EXISTS hidden").await;
            sandbox.run_once();
            // A read that was asked for at the end of the run.
            sandbox.run_once();

            assert_eq!(sandbox.assert_mirrored().await.rows, 1 + rows, "{ty}: {while_nobody_read}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_column_that_changed_beyond_telling_stops_nothing_on_mariadb() {
    for change in [
        // Columns that take each other's names.
        "ALTER TABLE t RENAME COLUMN odd TO other, RENAME COLUMN other TO odd; INSERT INTO t VALUES (2, ?, ?, 'b');
         ALTER TABLE t DROP odd",
        "ALTER TABLE t CONVERT TO CHARACTER SET binary; INSERT INTO t VALUES (2, ?, ?, 'b'); ALTER TABLE t DROP c",
    ] {
        let sandbox = latest("CREATE TABLE t (id INT PRIMARY KEY, odd UUID, other BINARY(16), c CHAR(16))").await;
        run(&sandbox, &format!("INSERT INTO t VALUES (1, {VALUE}, {VALUE}, 'a')")).await;
        sandbox.run_once();
        run(&sandbox, &change.replace('?', VALUE)).await;
        sandbox.run_once();
        sandbox.run_once();

        assert_eq!(sandbox.assert_mirrored().await.rows, 2, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_holds_the_bytes_of_a_column_that_nobody_tells_on_mariadb() {
    // Without the names of the columns nobody knows what the row has.
    let named = ServerOptions::new(Kind::MariaDb).with_row_metadata("FULL");
    let mut sandbox = latest_on(named, "CREATE TABLE t (id INT PRIMARY KEY, odd BINARY(16))").await;
    sandbox.set("/sinks/0/mode", json!("history"));
    run(&sandbox, &format!("INSERT INTO t VALUES (1, {VALUE}); ALTER TABLE t DROP odd")).await;
    sandbox.run_once();

    let log = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    let held = "SELECT quote(after_odd) FROM t WHERE _op = 'insert'";
    let held: String = log.query_row(held, [], |row| row.get(0)).unwrap();
    assert_eq!(held.to_lowercase(), VALUE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_binary_that_was_met_first_and_altered_then_stops_nothing_on_mariadb() {
    for change in [
        "ALTER TABLE t MODIFY odd BINARY(16) NOT NULL",
        "ALTER TABLE t MODIFY odd BINARY(16) COMMENT 'the same'",
        "ALTER TABLE t ADD y INT; DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, odd BINARY(16), x INT)",
        "ALTER TABLE t CHANGE odd even BINARY(16); ALTER TABLE t CHANGE even odd BINARY(16)",
        "RENAME TABLE t TO later; RENAME TABLE later TO t",
    ] {
        let sandbox = latest("CREATE TABLE t (id INT PRIMARY KEY, odd BINARY(16), x INT)").await;
        run(
            &sandbox,
            &format!("INSERT INTO t VALUES (1, {VALUE}, 1); {change}; REPLACE INTO t (id, odd) VALUES (2, {VALUE})"),
        )
        .await;
        sandbox.run_once();
        sandbox.run_once();

        assert!(sandbox.assert_mirrored().await.rows > 0, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_rows_may_have_been_read_as_another_type_is_read_again_on_mariadb() {
    for ty in ["UUID", "BINARY(16)"] {
        for change in [
            "ALTER TABLE t MODIFY odd UUID COMMENT 'perhaps it was none'",
            "ALTER TABLE t ADD y INT; DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, odd UUID, x INT)",
        ] {
            let sandbox = latest(&format!("CREATE TABLE t (id INT PRIMARY KEY, odd {ty}, x INT)")).await;
            run(&sandbox, &format!("INSERT INTO t VALUES (1, {VALUE}, 1); {change}")).await;

            if change.contains("DROP TABLE") {
                sandbox.run_once();
                sandbox.assert_mirrored().await;
            } else {
                assert_reads_again(&sandbox).await;
            }
        }
    }
    // Names that were changed with each other and back: the server shows the types of the end under the same names.
    let sandbox = latest("CREATE TABLE t (id INT PRIMARY KEY, odd UUID, other BINARY(16))").await;
    run(&sandbox, &format!("INSERT INTO t VALUES (1, {VALUE}, {VALUE})")).await;
    sandbox.run_once();
    let swap = "ALTER TABLE t RENAME COLUMN odd TO other, RENAME COLUMN other TO odd";
    run(&sandbox, &format!("{swap}; INSERT INTO t VALUES (2, {VALUE}, {VALUE}); {swap}")).await;
    assert_reads_again(&sandbox).await;
}

async fn assert_reads_again(sandbox: &Sandbox) {
    let output = sandbox.run(&["start", "--once"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("a table is read"), "{said}");
    sandbox.assert_mirrored().await;
}
