//! A table that one sink doubts is read for that sink alone.

use rusqlite::Connection;

use super::{assert_copied_but, assert_lines, assert_stated, once, operations};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::status::{read_of, reads_nothing, table_of};

both_servers! {
    async fn what_one_sink_doubts_is_read_for_that_sink_alone(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v INT);
                 INSERT INTO t WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 300) SELECT k, k FROM n"
            ))
            .await;
        once(&sandbox, 0);
        let before = operations(&sandbox, "t").await;
        Connection::open(sandbox.sqlite()).unwrap().execute("DELETE FROM t WHERE id < 3", []).unwrap();
        // Slow enough to be seen.
        sandbox.set("/source/snapshot", serde_json::json!({ "chunk_rows": 20, "max_rows_per_second": 300 }));
        let mut daemon = sandbox.start();
        daemon.wait_until("the daemon runs", |status| status["sinks"][0]["state"] == "running").await;

        sandbox.server.exec(format!("DELETE FROM {DATABASE}.t WHERE id = 1")).await;

        let name = format!("{DATABASE}.t");
        let seen = daemon.wait_until("it is read", |status| !read_of(status, &name).is_null()).await;
        assert_eq!(read_of(&seen, &name)["sinks"], serde_json::json!(["local"]), "{seen:#}");
        let states: Vec<_> = ["local", "changelog", "ch", "ch_changelog"]
            .map(|sink| table_of(&seen, &name)["sinks"][sink]["state"].as_str().unwrap().to_owned())
            .into();
        assert_eq!(states, ["reading", "complete", "complete", "complete"], "{seen:#}");
        daemon
            .wait_until("it was read", |status| {
                reads_nothing(status) && table_of(status, &name)["sinks"]["local"]["doubt"].is_null()
            })
            .await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_stated(&status, "t", "complete");
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 299);
        let mut after = before;
        after.insert("delete".to_owned(), 1);
        assert_eq!(operations(&sandbox, "t").await, after, "the changelogs have no line of the read");
        assert_lines(&sandbox, "t").await;
    }
}
