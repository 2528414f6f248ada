//! Reads of tables while transactions are prepared and end: in chunks, and whole.

use std::time::Duration;

use serde_json::json;

use super::{TABLES, end, prepare, run};
use crate::support::sandbox::Sandbox;

/// Reads on MariaDB may wait for 30 s after a commit.
const LIMIT: Duration = Duration::from_mins(4);

both_servers! {
    async fn transactions_that_end_while_tables_are_read_are_in_the_copy(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 40, "parallel": 2 }));
        run(&sandbox, TABLES).await;
        let rows: Vec<String> = (1_000..3_000).map(|id| format!("({id}, {id})")).collect();
        run(&sandbox, format!("INSERT INTO a VALUES {}", rows.join(","))).await;
        let rows: Vec<String> = (0..30_000).map(|id| format!("({}, 'loose')", id % 5_000)).collect();
        run(&sandbox, format!("INSERT INTO loose VALUES {}", rows.join(","))).await;
        let mut daemon = sandbox.start();
        sandbox.logged_within(LIMIT, &mut daemon).await;

        for round in 0..40 {
            if round == 20 {
                // In place of what is there.
                let output = sandbox.run(&["backfill", "--replace", "--table", "shop.a", "--table", "shop.loose"]);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            let id = 1_000 + 47 * round;
            prepare(
                &sandbox,
                &format!("'w{round}'"),
                &format!(
                    "UPDATE a SET v = -{round} WHERE id BETWEEN {id} AND {}; DELETE FROM a WHERE id = {}; INSERT INTO a VALUES ({}, 1);
                     INSERT INTO loose VALUES ({round}, 'new'), ({round}, 'new')",
                    id + 3,
                    id + 20,
                    5_000 + round
                ),
            )
            .await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            if round > 0 {
                end(&sandbox, if round % 5 == 0 { "ROLLBACK" } else { "COMMIT" }, &format!("'w{}'", round - 1)).await;
            }
        }
        end(&sandbox, "COMMIT", "'w39'").await;
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        daemon.stop();
    }
}
