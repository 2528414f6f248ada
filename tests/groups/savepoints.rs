//! What a savepoint took back is nowhere, what came before and after it is, and the stream goes on.

use super::{case, on_mariadb, run};

/// Cases (see [`case`]) of transactions that have begun, and of which a savepoint takes something back.
const CASES: [(&str, &str); 24] = [
    ("one", "a+1; SAVEPOINT s; a+2; SHOWN; ROLLBACK TO s; a+3; COMMIT"),
    ("nothing after it", "a+1; SAVEPOINT s; a+2; SHOWN; ROLLBACK TO s; COMMIT"),
    ("nothing but the temporary table taken back", "a+1; SAVEPOINT s; SHOWN; ROLLBACK TO s; a+2; COMMIT"),
    ("the temporary table first", "SHOWN; a+1; SAVEPOINT s; a+2; DROP TEMPORARY TABLE scratch; ROLLBACK TO s; a+3; COMMIT"),
    ("nested, the inner one", "a+1; SAVEPOINT s; a+2; SAVEPOINT t; a+3; SHOWN; ROLLBACK TO t; a+4; COMMIT"),
    (
        "nested, the inner one and then the outer one",
        "a+1; SAVEPOINT s; a+2; SAVEPOINT t; a+3; SHOWN; ROLLBACK TO t; a+4; ROLLBACK TO s; a+5; COMMIT",
    ),
    (
        "the first of several",
        "a+1; SAVEPOINT s; a+2; SAVEPOINT t; a+3; SAVEPOINT u; a+4; SHOWN; ROLLBACK TO s; a+5; SAVEPOINT t; a+6; ROLLBACK TO t; COMMIT",
    ),
    ("the same one twice", "a+1; SAVEPOINT s; a+2; SHOWN; ROLLBACK TO s; a+3; ROLLBACK TO s; a+4; COMMIT"),
    ("a name that is set again", "a+1; SAVEPOINT s; a+2; SAVEPOINT s; a+3; SHOWN; ROLLBACK TO s; a+4; COMMIT"),
    (
        "a name that is set again over another",
        "a+1; SAVEPOINT s; a+2; SAVEPOINT t; a+3; SAVEPOINT s; a+4; SHOWN; ROLLBACK TO t; a+5; COMMIT",
    ),
    (
        "an inner one is released",
        "a+1; SAVEPOINT s; a+2; SAVEPOINT t; a+3; RELEASE SAVEPOINT t; a+4; SHOWN; ROLLBACK TO s; a+5; COMMIT",
    ),
    ("released, nothing is taken back", "a+1; SAVEPOINT s; a+2; SHOWN; RELEASE SAVEPOINT s; COMMIT"),
    ("set before the first row", "SAVEPOINT s; a+1; SHOWN; ROLLBACK TO s; a+2; COMMIT"),
    (
        "set before the first row, and another after it",
        "SAVEPOINT s; a+1; SAVEPOINT t; a+2; SHOWN; ROLLBACK TO t; a+3; ROLLBACK TO s; a+4; COMMIT",
    ),
    (
        "changes and deletions",
        "a+1; a+2; a+3; a+4; SAVEPOINT s; UPDATE a SET v = 9 WHERE id IN (#1, 1); DELETE FROM a WHERE id IN (#2, 2); SHOWN; ROLLBACK TO s;
         UPDATE a SET v = 8 WHERE id IN (#3, 3); DELETE FROM a WHERE id IN (#4, 4); INSERT INTO a VALUES (4, 44); COMMIT",
    ),
    (
        "keys that move",
        "a+1; UPDATE a SET id = #2 WHERE id = #1; SAVEPOINT s; UPDATE a SET id = #3 WHERE id = #2; a+2; SHOWN; ROLLBACK TO s;
         UPDATE a SET id = #4 WHERE id = #2; COMMIT",
    ),
    (
        "several tables, with and without a key",
        "a+1; INSERT INTO loose VALUES (#1), (#1); SAVEPOINT s; INSERT INTO b VALUES (#1, 'b'); DELETE FROM loose WHERE v = #1 LIMIT 1;
         SHOWN; ROLLBACK TO s; INSERT INTO loose VALUES (#1), (#2); INSERT INTO b VALUES (#2, 'b'); COMMIT",
    ),
    (
        "a table that is not captured",
        "INSERT INTO other.x VALUES (#1); SAVEPOINT s; a+1; INSERT INTO other.x VALUES (#2); SHOWN; ROLLBACK TO s; a+2; COMMIT",
    ),
    (
        "a quoted name in another case",
        "a+1; SAVEPOINT `a ``Name`; a+2; SHOWN; ROLLBACK WORK TO SAVEPOINT `A ``nAME`; a+3; COMMIT",
    ),
    (
        "a name that equals another by the server's collation",
        "a+1; SAVEPOINT `\u{e9}t\u{e9}`; a+2; SAVEPOINT t; a+3; SHOWN; ROLLBACK TO `Ete`; a+4; COMMIT",
    ),
    ("the words in the name", "a+1; SAVEPOINT `to savepoint`; a+2; SHOWN; ROLLBACK TO `to savepoint`; a+3; COMMIT"),
    (
        "statements in the binlog",
        "COMMIT; SET binlog_format = MIXED; BEGIN; INSERT INTO b VALUES (#1, UUID()); SAVEPOINT s; SHOWN; INSERT INTO b VALUES (#2, UUID());
         DROP TEMPORARY TABLE scratch; ROLLBACK TO s; INSERT INTO b VALUES (#3, UUID()); COMMIT",
    ),
    ("a rollback of all in the end", "a+1; SAVEPOINT s; a+2; SHOWN; ROLLBACK TO s; a+3; ROLLBACK; a+4"),
    (
        "a new table's first rows",
        "COMMIT; CREATE TABLE new_# (id INT PRIMARY KEY, c VARCHAR(10)); BEGIN; a+1; SAVEPOINT s; INSERT INTO new_# VALUES (1, 'gone');
         SHOWN; ROLLBACK TO s; a+2; COMMIT; INSERT INTO new_# VALUES (2, 'stays')",
    ),
];

/// The tables of the cases.
const TABLES: &str = "CREATE DATABASE other; CREATE TABLE other.x (id INT PRIMARY KEY); CREATE TABLE a (id INT PRIMARY KEY, v INT);
     INSERT INTO a VALUES (1, 1), (2, 2), (3, 3), (4, 4); CREATE TABLE b (id INT PRIMARY KEY, c VARCHAR(40)); CREATE TABLE loose (v INT)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_savepoint_took_back_is_nowhere_and_the_stream_goes_on_on_mariadb() {
    let mut sandbox = on_mariadb().await;
    sandbox.with_changelog();
    run(&sandbox, TABLES).await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    for (number, (what, sql)) in CASES.into_iter().enumerate() {
        eprintln!("{what}");
        run(&sandbox, format!("BEGIN; {}", case(sql, 1000 + number))).await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
    }
    daemon.stop();
    // The same, while nobody is reading.
    for (number, (_, sql)) in CASES.into_iter().enumerate() {
        run(&sandbox, format!("BEGIN; {}", case(sql, 2000 + number))).await;
    }
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert!(sandbox.assert_mirrored().await.rows > 100);
    for table in ["a", "b", "loose"] {
        sandbox.assert_logged(table).await;
    }
}

/// A trigger has savepoints of its own, of which the binlog has the names alone. At the source the name means the outer
/// one again after the trigger; in the binlog it looks like one that was set again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_a_trigger_set_again_is_taken_as_the_source_took_it_on_mariadb() {
    let mut sandbox = on_mariadb().await;
    sandbox.with_changelog();
    run(&sandbox, TABLES).await;
    run(
        &sandbox,
        "CREATE TRIGGER sets AFTER INSERT ON b FOR EACH ROW BEGIN SAVEPOINT s; INSERT INTO loose VALUES (NEW.id); END",
    )
    .await;
    run(
        &sandbox,
        "CREATE TABLE c (id INT PRIMARY KEY);
         CREATE TRIGGER takes AFTER INSERT ON c FOR EACH ROW BEGIN SAVEPOINT s; INSERT INTO loose VALUES (NEW.id); ROLLBACK TO s; END",
    )
    .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    let cases = [
        "a+1; SAVEPOINT s; SHOWN; a+2; INSERT INTO b VALUES (1, 'b'); a+3; ROLLBACK TO s; a+4; COMMIT",
        "a+1; SHOWN; INSERT INTO c VALUES (1); a+2; COMMIT",
        "a+1; SAVEPOINT s; a+2; SHOWN; INSERT INTO c VALUES (2); a+3; ROLLBACK TO s; COMMIT",
    ];
    for (number, sql) in cases.into_iter().enumerate() {
        eprintln!("{sql}");
        run(&sandbox, format!("BEGIN; {}", case(sql, 1000 + number))).await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
    }
    daemon.stop();

    for table in ["a", "b", "c", "loose"] {
        sandbox.assert_logged(table).await;
    }
}
