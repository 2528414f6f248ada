//! Kills between prepare and commit: of the daemon, of the server, of both.

use super::{TABLES, assert_copied, counted, end, listed, prepare, run};
use crate::support::sandbox::Sandbox;

/// What is killed while transactions are prepared.
#[derive(Clone, Copy, Debug)]
enum Killed {
    Daemon,
    Server,
    Both,
}

both_servers! {
    async fn a_kill_between_prepare_and_commit_changes_nothing(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for (round, killed) in [Killed::Daemon, Killed::Server, Killed::Both, Killed::Daemon].into_iter().enumerate() {
            eprintln!("{killed:?}");
            let n = 100 * (round + 1);
            prepare(&sandbox, "'commits'", &format!("INSERT INTO a VALUES ({n}, 1); INSERT INTO loose VALUES ({n}, 'c'), ({n}, 'c')")).await;
            prepare(&sandbox, "'is rolled back'", &format!("INSERT INTO a VALUES ({}, 1); INSERT INTO b VALUES ({n}, 'r', 'r')", n + 1)).await;
            prepare(&sandbox, "'later'", &format!("UPDATE b SET v = '{n}' WHERE id = 1")).await;
            if round != 3 {
                sandbox.caught_up(&mut daemon).await;
            }
            if matches!(killed, Killed::Daemon | Killed::Both) {
                daemon.kill();
            }
            if matches!(killed, Killed::Server | Killed::Both) {
                sandbox.server.kill();
                sandbox.server.start_again().await;
            }
            if matches!(killed, Killed::Daemon | Killed::Both) {
                daemon = sandbox.start();
            }
            assert_eq!(listed(&sandbox).await, 3);
            run(&sandbox, format!("INSERT INTO a VALUES ({}, 1)", n + 2)).await;
            end(&sandbox, "COMMIT", "'commits'").await;
            end(&sandbox, "ROLLBACK", "'is rolled back'").await;
            assert_copied(&sandbox, &mut daemon, &["a", "b", "loose"]).await;
            // Ends while nobody reads.
            daemon.kill();
            end(&sandbox, "COMMIT", "'later'").await;
            daemon = sandbox.start();
            assert_copied(&sandbox, &mut daemon, &["a", "b", "loose"]).await;
        }
        assert_eq!(counted(&daemon).1, 0, "nothing was in doubt:\n{}", daemon.log());
        daemon.stop();
    }

    async fn kills_at_any_moment_lose_no_prepared_transaction(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for round in 0..12 {
            for n in 0..8 {
                let id = 10_000 + 100 * round + n;
                // Some of more than one piece.
                let rows = if n == 3 { 1_500 } else { 3 };
                let rows: Vec<String> = (0..rows).map(|row| format!("({id}, '{row}', REPEAT('x', 500))")).collect();
                prepare(&sandbox, &format!("'r{n}'"), &format!("INSERT INTO a VALUES ({id}, 1); INSERT INTO b VALUES {}", rows.join(","))).await;
                if n % 2 == 0 {
                    end(&sandbox, "COMMIT", &format!("'r{n}'")).await;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(7 * round)).await;
            daemon.kill();
            for n in [7, 5, 3, 1] {
                end(&sandbox, if n == 5 { "ROLLBACK" } else { "COMMIT" }, &format!("'r{n}'")).await;
            }
            daemon = sandbox.start();
            if round % 3 == 0 {
                assert_copied(&sandbox, &mut daemon, &["a"]).await;
            }
        }
        assert_copied(&sandbox, &mut daemon, &["a", "b"]).await;
        assert_eq!(counted(&daemon).1, 0, "nothing was in doubt:\n{}", daemon.log());
        daemon.stop();
    }
}
