//! Copies that are not what the counts say: found, and read again.

use rusqlite::Connection;

use crate::support::cells::{open_sqlite, sqlite_rows};
use crate::support::sandbox::Sandbox;
use crate::support::status::reads_nothing;

both_servers! {
    async fn a_row_that_the_copy_has_lost_is_found_by_its_next_change_and_the_table_is_read_again(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        sandbox.server.exec("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)").await;
        sandbox.server.exec("INSERT INTO shop.t VALUES (1, 10), (2, 20), (3, 30)").await;
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        // Of the two rows that are lost, a change meets one.
        Connection::open(sandbox.sqlite()).unwrap().execute("DELETE FROM t WHERE id < 3", []).unwrap();
        let mut daemon = sandbox.start();
        daemon.wait_until("the daemon runs", |status| status["sinks"][0]["state"] == "running").await;

        sandbox.server.exec("DELETE FROM shop.t WHERE id = 1").await;

        let doubt = |status: &serde_json::Value| status["tables"][0]["sinks"]["local"]["doubt"].clone();
        let healed = daemon
            .wait_until("the table was read again", |status| {
                let unmatched = status["tables"][0]["sinks"]["local"]["unmatched"].as_u64();
                unmatched == Some(1)
                    && doubt(status).is_null()
                    && reads_nothing(status)
                    && status["tables"][0]["sinks"]["local"]["state"] == "complete"
            })
            .await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert!(daemon.log().contains("a table is in doubt"), "{}", daemon.log());
        assert_eq!(healed["tables"][0]["table"], "shop.t", "{healed}");
        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }

    async fn a_table_that_the_stream_created_is_held_to_be_complete_from_its_first_row(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.server.exec("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)").await;
        sandbox.server.exec("INSERT INTO shop.t VALUES (1, 10), (2, 20), (3, 30)").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        Connection::open(sandbox.sqlite()).unwrap().execute("DELETE FROM t WHERE id < 3", []).unwrap();
        let mut daemon = sandbox.start();
        daemon.wait_until("the daemon runs", |status| status["sinks"][0]["state"] == "running").await;

        sandbox.server.exec("UPDATE shop.t SET v = 11 WHERE id = 1").await;

        let copied = || sqlite_rows(&open_sqlite(&sandbox.sqlite()), "t", &["id".to_owned()], "1").len();
        daemon.wait_until("the table was read again", |_| copied() == 3).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, 3);
    }

    async fn a_statement_that_created_nothing_makes_no_copy_complete(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let create = "CREATE TABLE IF NOT EXISTS shop.t (id INT PRIMARY KEY, v INT)";
        sandbox.server.exec(create).await;
        sandbox.server.exec("INSERT INTO shop.t VALUES (1, 10), (2, 20)").await;
        sandbox.set("/source/startup_mode", serde_json::json!("latest"));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        // The copy has neither row, and is not to have them.
        sandbox.server.exec(create).await;
        sandbox.server.exec("DELETE FROM shop.t WHERE id = 1").await;

        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        let local = &status["tables"][0]["sinks"]["local"];
        assert_eq!((local["unmatched"].as_u64(), local["doubt"].is_null()), (Some(1), true), "{status:#}");
        assert!(!daemon.log().contains("a table is in doubt"), "{}", daemon.log());
    }

    async fn a_doubt_at_the_end_of_a_run_fails_it_and_the_next_run_reads_the_table_again(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        sandbox.server.exec("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)").await;
        sandbox.server.exec("INSERT INTO shop.t VALUES (1, 10), (2, 20), (3, 30)").await;
        sandbox.run_once();
        Connection::open(sandbox.sqlite()).unwrap().execute("DELETE FROM t WHERE id < 3", []).unwrap();
        sandbox.server.exec("DELETE FROM shop.t WHERE id = 1").await;

        let first = sandbox.run(&["start", "--once"]);
        if !first.status.success() {
            // The source had ended before the sink met the change.
            let said = String::from_utf8_lossy(&first.stderr);
            assert!(said.contains("table 'shop.t' is still to be read"), "{said}");
            sandbox.run_once();
        }

        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }
}
