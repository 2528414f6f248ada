//! What is taken back stays in a table without transactions: it is at the sink in the end, and the stream goes on.

use super::{case, run};
use crate::support::sandbox::Sandbox;
use crate::support::server::ServerOptions;

/// Cases (see [`case`]) of transactions that have begun. `m` and `log` have no transactions, and `mem` is in memory.
const CASES: [(&str, &str); 8] = [
    ("a savepoint", "a+1; SAVEPOINT s; m+1; a+2; SHOWN; ROLLBACK TO s; a+3; COMMIT"),
    ("a rollback", "a+1; m+1; a+2; SHOWN; ROLLBACK"),
    ("the table without transactions first", "m+1; a+1; m+2; SHOWN; ROLLBACK"),
    (
        "changes and deletions",
        "m+1; m+2; m+3; COMMIT; BEGIN; a+1; UPDATE m SET v = 2 WHERE id = #1; SAVEPOINT s; DELETE FROM m WHERE id = #2;
         UPDATE a SET v = 2 WHERE id = #1; SHOWN; ROLLBACK TO s; UPDATE m SET id = #4 WHERE id = #3; COMMIT",
    ),
    (
        "one statement over both",
        "m+1; a+1; COMMIT; BEGIN; a+2; UPDATE a, m SET a.v = 7, m.v = 8 WHERE a.id = #1 AND m.id = #1; SHOWN; ROLLBACK",
    ),
    (
        "a trigger over both",
        "INSERT INTO by_trigger VALUES (#1, 1); SAVEPOINT s; INSERT INTO by_trigger VALUES (#2, 1); SHOWN; ROLLBACK TO s;
         INSERT INTO by_trigger VALUES (#3, 1); COMMIT",
    ),
    ("a trigger over both, rolled back", "INSERT INTO by_trigger VALUES (#1, 1), (#2, 1); SHOWN; ROLLBACK"),
    (
        "a table in memory",
        "a+1; INSERT INTO mem VALUES (#1, 1); SAVEPOINT s; DELETE FROM mem LIMIT 1; a+2; SHOWN; ROLLBACK TO s; COMMIT",
    ),
];

both_servers! {
    async fn what_stays_in_a_table_without_transactions_is_at_the_sink(kind: Kind) {
        let options = ServerOptions::new(kind).without_gtid();
        let mut sandbox = Sandbox::on(options.start().await).await;
        sandbox.with_changelog();
        run(
            &sandbox,
            "CREATE TABLE a (id INT PRIMARY KEY, v INT); CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE = MyISAM;
             CREATE TABLE log (id INT, v INT) ENGINE = MyISAM; CREATE TABLE mem (id INT PRIMARY KEY, v INT) ENGINE = MEMORY;
             CREATE TABLE by_trigger (id INT PRIMARY KEY, v INT)",
        )
        .await;
        run(&sandbox, "CREATE TRIGGER logs AFTER INSERT ON by_trigger FOR EACH ROW INSERT INTO log VALUES (NEW.id, NEW.v)").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for (number, (what, sql)) in CASES.into_iter().enumerate() {
            for direct in ["OFF", "ON"] {
                eprintln!("{kind}: {what}, direct: {direct}");
                let number = if direct == "ON" { 2000 } else { 1000 } + number;
                let direct = format!("SET SESSION binlog_direct_non_transactional_updates = {direct}");
                run(&sandbox, format!("{direct}; BEGIN; {}", case(sql, number))).await;
                sandbox.caught_up(&mut daemon).await;
                sandbox.assert_mirrored().await;
            }
        }
        daemon.stop();

        assert!(sandbox.assert_mirrored().await.rows > 20);
        for table in ["a", "m", "mem", "by_trigger", "log"] {
            sandbox.assert_logged(table).await;
        }
    }
}
