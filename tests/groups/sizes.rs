//! Transactions of which parts have left for the log before their end is known.

use std::time::Duration;

use rusqlite::Connection;

use super::{on_mariadb, run};
use crate::large::peak_memory_mb;
use crate::support::daemon::LIMIT;

/// Rows of 4 KB each that go in before the savepoint, are taken back, and come after that.
const SIZES: [(u32, u32, u32); 9] = [
    (1, 300, 1),
    (300, 1, 1),
    (300, 300, 300),
    (1, 30, 300),
    (30, 30, 1),
    (1, 1500, 1),
    (1500, 1, 30),
    (0, 600, 0),
    (600, 30, 600),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_in_a_transaction_of_any_size_does_not_stop_the_stream_on_mariadb() {
    let mut sandbox = on_mariadb().await;
    sandbox.with_changelog();
    run(
        &sandbox,
        "CREATE TABLE wide (id INT PRIMARY KEY AUTO_INCREMENT, c TEXT NOT NULL);
         CREATE TABLE a (id INT PRIMARY KEY, v INT); CREATE TABLE quiet (id INT PRIMARY KEY);
         INSERT INTO a VALUES (1, 0), (2, 0); INSERT INTO quiet VALUES (1)",
    )
    .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    for (number, (before, taken_back, after)) in SIZES.into_iter().enumerate() {
        let wide = |rows| match rows {
            0 => "SELECT 1".to_owned(),
            rows => format!("INSERT INTO wide (c) SELECT REPEAT(CHAR(65 + seq % 26), 4000) FROM seq_1_to_{rows}"),
        };
        let (before, taken_back, after) = (wide(before), wide(taken_back), wide(after));
        run(
            &sandbox,
            format!(
                "BEGIN; UPDATE a SET v = {number} WHERE id = 1; {before}; SAVEPOINT s;
                 {taken_back}; UPDATE a SET v = -1; SHOWN; ROLLBACK TO s; {after};
                 INSERT INTO a VALUES (100 + {number}, {number}); COMMIT; INSERT INTO quiet VALUES (10 + {number})"
            ),
        )
        .await;
        sandbox.caught_up(&mut daemon).await;
    }
    let status = sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert!(sandbox.assert_mirrored().await.rows > 3000, "{status:#}");
    for table in ["wide", "a"] {
        sandbox.assert_logged(table).await;
    }
    // What had no part in it was not touched.
    assert_eq!(sandbox.assert_logged("quiet").await, 1 + SIZES.len());
}

/// Rows of the first, short alternating transaction, and of the long one.
const SHORT: u32 = 60_000;
const LONG: u32 = 400_000;
/// What the peak of the memory may grow by between the two. A word for each change makes it 7 MB or more; what the
/// frames of single rows take, which does not grow with their number, is 2 to 3 MB.
const GROWTH_MB: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_goes_from_table_to_table_takes_no_memory_for_each_row_on_mariadb() {
    let sandbox = on_mariadb().await;
    run(&sandbox, "CREATE TABLE a (id INT PRIMARY KEY, v INT); CREATE TABLE log (id INT PRIMARY KEY, v INT)").await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    // What the sink takes is not measured, and a million rows are not waited for: it stands still until the end.
    let copy = Connection::open(sandbox.sqlite()).unwrap();
    copy.busy_timeout(LIMIT).unwrap();
    copy.execute_batch("BEGIN IMMEDIATE").unwrap();

    // As many bytes in one piece: caches take what they ever will.
    run(
        &sandbox,
        "BEGIN; INSERT INTO a SELECT -seq, 0 FROM seq_1_to_1200000; INSERT INTO log SELECT * FROM a; COMMIT;
         CREATE TRIGGER logs AFTER INSERT ON a FOR EACH ROW INSERT INTO log VALUES (NEW.id, NEW.v)",
    )
    .await;
    sandbox.logged_within(Duration::from_mins(2), &mut daemon).await;
    run(&sandbox, format!("INSERT INTO a SELECT seq, 1 FROM seq_1_to_{SHORT}")).await;
    sandbox.logged_within(Duration::from_mins(2), &mut daemon).await;
    let short = peak_memory_mb(&daemon);
    run(&sandbox, format!("INSERT INTO a SELECT {SHORT} + seq, 1 FROM seq_1_to_{LONG}")).await;
    sandbox.logged_within(Duration::from_mins(2), &mut daemon).await;
    let long = peak_memory_mb(&daemon);
    daemon.kill();

    eprintln!("peak memory of {short} MB, then of {long} MB");
    assert!(long <= short + GROWTH_MB, "the peak of the memory grew from {short} MB to {long} MB");
}
