//! How two-phase transactions end, alone and among others.

use super::{TABLES, assert_copied, counted, end, prepare, run};
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;

/// What transactions do, and how each ends: `C`ommit, `R`ollback, in one session (`2`), in one phase (`1`), or a rollback before
/// it is prepared (`0`).
const CASES: [(&str, char, &str); 17] = [
    ("'plain'", 'C', "INSERT INTO a VALUES (10, 1)"),
    ("'back'", 'R', "INSERT INTO a VALUES (11, 1); UPDATE a SET v = 99 WHERE id = 1; DELETE FROM loose WHERE v = 2"),
    ("'never'", '0', "INSERT INTO a VALUES (11, 1)"),
    ("'one phase'", '1', "INSERT INTO a VALUES (12, 1); DELETE FROM loose WHERE v = 1 LIMIT 1"),
    (
        "'several','branch',7",
        'C',
        "UPDATE a SET v = v + 10; INSERT INTO b VALUES (2, 'two', REPEAT('y', 5000)); INSERT INTO loose VALUES (3, 'z')",
    ),
    (
        "'keys'",
        'C',
        "UPDATE a SET id = id + 100 WHERE id < 3; DELETE FROM a WHERE id = 3; UPDATE b SET c = 'uno' WHERE id = 1",
    ),
    (
        "'without a key'",
        'C',
        "INSERT INTO loose VALUES (4, 'a'), (4, 'a'); DELETE FROM loose WHERE v = 1 LIMIT 1; UPDATE loose SET w = 'b' WHERE v = 2",
    ),
    ("'not captured'", 'C', "INSERT INTO other.x VALUES (1)"),
    ("'in part'", 'C', "INSERT INTO other.x VALUES (2); INSERT INTO a VALUES (13, 1)"),
    ("'nothing'", '2', "SELECT 1"),
    ("'read'", '2', "SELECT * FROM a"),
    ("X'00ff27',X'0a5c00',2147483647", 'C', "INSERT INTO a VALUES (14, 1)"),
    ("X'00ff27',X'0a5c01',2147483647", 'R', "INSERT INTO a VALUES (15, 1)"),
    ("'wide format','',4294967303", 'C', "INSERT INTO a VALUES (19, 1)"),
    ("'widest format','',9223372036854775807", 'R', "INSERT INTO a VALUES (20, 1)"),
    ("'it''s \\'quoted\\'','\\\\',0", 'C', "INSERT INTO a VALUES (16, 1)"),
    (
        "'cut back'",
        'C',
        "INSERT INTO a VALUES (17, 1); SAVEPOINT s; INSERT INTO a VALUES (18, 1); ROLLBACK TO s; INSERT INTO b VALUES (3, 'x', 'y')",
    ),
];

both_servers! {
    async fn a_two_phase_transaction_is_in_the_copy_after_its_commit_and_not_before(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for (xid, how, statements) in CASES {
            if kind == Kind::MariaDb && xid.contains("format") {
                // It takes 32 bits.
                continue;
            }
            eprintln!("{xid}");
            match how {
                '1' => run(&sandbox, format!("XA START {xid}; {statements}; XA END {xid}; XA COMMIT {xid} ONE PHASE")).await,
                '0' => run(&sandbox, format!("XA START {xid}; {statements}; XA END {xid}; XA ROLLBACK {xid}")).await,
                '2' => run(&sandbox, format!("XA START {xid}; {statements}; XA END {xid}; XA PREPARE {xid}; XA COMMIT {xid}")).await,
                _ => {
                    prepare(&sandbox, xid, statements).await;
                    assert_copied(&sandbox, &mut daemon, &["a", "b", "loose"]).await;
                    end(&sandbox, if how == 'C' { "COMMIT" } else { "ROLLBACK" }, xid).await;
                }
            }
            assert_copied(&sandbox, &mut daemon, &["a", "b", "loose"]).await;
        }
        let (_, left_out) = counted(&daemon);
        daemon.stop();
        assert_eq!(left_out, 0, "nothing was in doubt:\n{}", daemon.log());
    }

    async fn many_two_phase_transactions_at_once_end_in_any_order(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for n in 0..40 {
            let other = if n % 3 == 0 { format!("; INSERT INTO b VALUES ({n}, 'b', 'x')") } else { String::new() };
            let row = 1000 + n;
            prepare(&sandbox, &format!("'many {n}'"), &format!("INSERT INTO a VALUES ({row}, {n}), (-{row}, {n}); INSERT INTO loose VALUES ({n}, 'm'){other}")).await;
            run(&sandbox, format!("INSERT INTO a VALUES ({}, 0)", 2000 + n)).await;
        }
        assert_copied(&sandbox, &mut daemon, &["a", "b", "loose"]).await;
        daemon.stop();
        let mut daemon = sandbox.start();
        // The last first, and every fourth is rolled back.
        for n in (0..40).rev() {
            end(&sandbox, if n % 4 == 0 { "ROLLBACK" } else { "COMMIT" }, &format!("'many {n}'")).await;
            run(&sandbox, format!("UPDATE a SET v = v + 1 WHERE id = {}", 1000 + n)).await;
        }
        assert_copied(&sandbox, &mut daemon, &["a", "b", "loose"]).await;
        assert_eq!(counted(&daemon).1, 0, "nothing was in doubt:\n{}", daemon.log());
        daemon.stop();
    }

    async fn what_happened_while_nobody_read_is_followed(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        run(&sandbox, TABLES).await;
        sandbox.run_once();
        prepare(&sandbox, "'before'", "INSERT INTO a VALUES (20, 1); DELETE FROM loose").await;
        sandbox.run_once();
        prepare(&sandbox, "'second'", "INSERT INTO b VALUES (20, 'c', 'v')").await;
        end(&sandbox, "COMMIT", "'before'").await;
        prepare(&sandbox, "'before'", "INSERT INTO a VALUES (21, 1)").await;
        end(&sandbox, "ROLLBACK", "'before'").await;
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        end(&sandbox, "COMMIT", "'second'").await;
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        for table in ["a", "b", "loose"] {
            sandbox.assert_logged(table).await;
        }
    }
}
