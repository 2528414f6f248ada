//! Two-phase transactions of many pieces, and those of which nothing is kept but the names of their tables.

use serde_json::json;

use super::{TABLES, assert_copied, counted, end, prepare, run};
use crate::support::sandbox::Sandbox;

/// Rows of 1,000 bytes from a number on.
fn rows(from: usize, many: usize) -> String {
    let rows: Vec<String> =
        (from..from + many).map(|id| format!("({id}, 'large', REPEAT('{}', 1000))", id % 10)).collect();
    format!("INSERT INTO b VALUES {}", rows.join(","))
}

both_servers! {
    async fn a_large_two_phase_transaction_is_appended_whole(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        prepare(&sandbox, "'large'", &format!("{}; INSERT INTO a VALUES (50, 1); {}", rows(1_000, 3_000), rows(10_000, 3_000))).await;
        assert_copied(&sandbox, &mut daemon, &["a", "b"]).await;
        run(&sandbox, format!("XA START 'one'; {}; XA END 'one'; XA COMMIT 'one' ONE PHASE", rows(20_000, 3_000))).await;
        assert_copied(&sandbox, &mut daemon, &["a", "b"]).await;
        daemon.kill();
        daemon = sandbox.start();
        end(&sandbox, "COMMIT", "'large'").await;
        assert_copied(&sandbox, &mut daemon, &["a", "b"]).await;
        assert_eq!(counted(&daemon).1, 0, "nothing was in doubt:\n{}", daemon.log());
        daemon.stop();
    }

    async fn the_tables_of_a_transaction_that_is_too_large_are_read_again(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/source/xa_bytes", json!("1MiB"));
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        prepare(&sandbox, "'fits'", &rows(1_000, 400)).await;
        // The two together do not.
        prepare(&sandbox, "'too large'", &format!("INSERT INTO a VALUES (60, 1); {}", rows(2_000, 900))).await;
        prepare(&sandbox, "'small'", "INSERT INTO a VALUES (61, 1)").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        assert_eq!(counted(&daemon).1, 0);
        end(&sandbox, "COMMIT", "'fits'").await;
        end(&sandbox, "COMMIT", "'small'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        assert_eq!(counted(&daemon).1, 0);

        end(&sandbox, "COMMIT", "'too large'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        assert_eq!(counted(&daemon).1, 901);
        assert!(daemon.log().contains("source.xa_bytes"), "{}", daemon.log());

        // One that is rolled back costs nothing.
        prepare(&sandbox, "'too large'", &format!("INSERT INTO loose VALUES (60, 'x'); {}", rows(5_000, 1_200))).await;
        end(&sandbox, "ROLLBACK", "'too large'").await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        assert_eq!(counted(&daemon).1, 901);
        daemon.stop();
    }

    async fn a_name_may_be_used_again_after_an_end_that_nobody_saw(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for (round, restarts) in [false, true].into_iter().enumerate() {
            let from = 10_000 * (round + 1);
            prepare(&sandbox, "'again'", &rows(from, 900)).await;
            sandbox.caught_up(&mut daemon).await;
            run(&sandbox, "SET sql_log_bin = 0; XA COMMIT 'again'").await;
            if restarts {
                daemon.kill();
            }
            prepare(&sandbox, "'again'", &format!("INSERT INTO a VALUES ({from}, 1); {}", rows(from + 5_000, 900))).await;
            if restarts {
                daemon = sandbox.start();
            }
            sandbox.caught_up(&mut daemon).await;
            sandbox.assert_mirrored().await;
            assert!(daemon.log().contains("another transaction has its name"), "{}", daemon.log());
            let before = counted(&daemon);
            end(&sandbox, "COMMIT", "'again'").await;
            sandbox.caught_up(&mut daemon).await;
            sandbox.assert_mirrored().await;
            assert_eq!(counted(&daemon), (before.0 + 901, before.1), "its rows came from the log:\n{}", daemon.log());
        }
        daemon.stop();
    }
}
