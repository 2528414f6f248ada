//! Batches that wait for more rows, and tables that do not let them wait.

use serde_json::json;

use super::target::World;
use crate::support::sandbox::DATABASE;

every_sink! { mysql_first:
    async fn a_table_with_limits_of_its_own_ends_a_batch_that_would_wait_for_an_hour<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        world
            .sql("CREATE TABLE slow (id INT PRIMARY KEY); CREATE TABLE urgent (id INT PRIMARY KEY); CREATE TABLE few (id INT PRIMARY KEY)")
            .await;
        world.run_once();
        let rule = |table: &str, batch| json!({ "database": DATABASE, "table": table, "batch": batch });
        world.set("/sinks/0/batch", json!({ "max_delay": "1h" }));
        world.set("/tables", json!([rule("urgent", json!({ "max_delay": "0s" })), rule("few", json!({ "max_rows": 2 }))]));
        let mut daemon = world.start();

        world.sql("INSERT INTO slow VALUES (1); INSERT INTO urgent VALUES (1)").await;
        world.caught_up(&mut daemon).await;
        world.assert_mirrored().await;

        // The second row of the one table ends it, whatever the other one has.
        world.sql("INSERT INTO few VALUES (1); INSERT INTO slow VALUES (2), (3), (4); INSERT INTO few VALUES (2)").await;
        world.caught_up(&mut daemon).await;
        assert_eq!(world.assert_mirrored().await.rows, 7);
        daemon.stop();
    }
}
