//! What is wrong with one table is that table's alone: it is named in the status with the way out, and nothing of the
//! others is held back or lost.

use serde_json::json;

use super::watch::{number, stop_of, stopped};
use crate::support::compare::View;
use crate::support::daemon::Daemon;
use crate::support::http::get;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::workload::{Shape, Workload, Writing};

/// A running daemon that mirrors busy tables and one that is about to go bad.
struct Scene {
    sandbox: Sandbox,
    daemon: Daemon,
    writing: Writing,
}

const BAD: &str = "shop.bad";

impl Scene {
    async fn set(kind: Kind, columns: &str, rows: &str) -> Self {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]);
        workload.create(&sandbox.server, 200).await;
        sandbox.server.exec(format!("CREATE TABLE {BAD} ({columns}); INSERT INTO {BAD} VALUES {rows}")).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored_to_clickhouse().await;
        let writing = workload.start(&sandbox.server);
        writing.progressed_by(100).await;
        Self { sandbox, daemon, writing }
    }

    /// Waits until the bad table alone is stopped, lets the writers go on, and asserts that the others have everything.
    /// Gives the reason of the stop.
    async fn others_go_on(mut self) -> (Sandbox, Daemon, String) {
        let reason = stop_of(&mut self.daemon, BAD).await;
        self.writing.progressed_by(100).await;
        self.writing.stop().await;
        let status = self.sandbox.caught_up(&mut self.daemon).await;
        assert_eq!(stopped(&status), [BAD]);
        let view = View { left_out: vec!["bad".to_owned()], ..View::default() };
        assert!(self.sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows > 100);
        (self.sandbox, self.daemon, reason)
    }
}

/// A stop outlives a restart, and `backfill` ends it.
async fn is_ended_by_a_backfill(sandbox: &Sandbox, mut daemon: Daemon) {
    daemon.stop();
    let mut daemon = sandbox.start();
    stop_of(&mut daemon, BAD).await;
    let output = sandbox.run(&["backfill", "--replace", "--table", &format!("{DATABASE}.bad")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon
        .wait_until("no table is stopped", |status| {
            status["sinks"][0]["stopped_tables"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    sandbox.server.exec(format!("INSERT INTO {BAD} (id) VALUES (1000)")).await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored_to_clickhouse().await;
}

both_servers! {
    async fn a_table_changed_by_hand_is_stopped_and_nothing_is_converted(kind: Kind) {
        let scene = Scene::set(kind, "id INT PRIMARY KEY, v BIGINT", "(1, 10), (2, 20)").await;

        scene.sandbox.clickhouse().exec("ALTER TABLE replica.bad MODIFY COLUMN v Nullable(Int32)").await;
        scene.sandbox.server.exec(format!("INSERT INTO {BAD} VALUES (3, 1099511627776)")).await;

        let (sandbox, daemon, reason) = scene.others_go_on().await;
        assert!(reason.contains("bad"), "{reason}");
        assert_eq!(number(&sandbox, "SELECT count() FROM replica.bad FINAL WHERE id = 3").await, 0);
        sandbox.clickhouse().exec("DROP TABLE replica.bad").await;
        is_ended_by_a_backfill(&sandbox, daemon).await;
    }

    async fn a_value_that_the_type_does_not_hold_stops_its_table_without_showing_the_value(kind: Kind) {
        let scene = Scene::set(kind, "id INT PRIMARY KEY, d DATE NOT NULL, v TEXT", "(1, '2001-02-03', 'a')").await;

        scene.sandbox.server.exec(format!(
            "SET SESSION sql_mode = ''; INSERT INTO {BAD} VALUES (2, '2002-03-04', 'b');
             INSERT INTO {BAD} VALUES (3, '0000-00-00', 'a secret')"
        )).await;

        let (sandbox, mut daemon, reason) = scene.others_go_on().await;
        assert!(reason.contains("bad") && reason.contains('d') && reason.contains("zero_dates"), "{reason}");
        assert!(!daemon.log().contains("a secret") && !reason.contains("a secret"));
        assert_eq!(number(&sandbox, "SELECT count() FROM replica.bad FINAL WHERE id = 3").await, 0);
        daemon.stop();
    }

    async fn a_run_to_the_end_fails_and_names_a_stopped_table(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE good (id INT PRIMARY KEY); INSERT INTO good VALUES (1);
             CREATE TABLE loose (id INT); INSERT INTO loose VALUES (1)"
        )).await;

        let output = sandbox.run(&["start", "--once"]);

        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("shop.loose"));
        let view = View { left_out: vec!["loose".to_owned()], ..View::default() };
        assert_eq!(sandbox.assert_mirrored_to_clickhouse_as(&view).await.rows, 1);
    }

    async fn a_stopped_table_is_seen_in_health_and_metrics(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/zero_dates", json!("stop"));
        sandbox.server.exec(format!(
            "SET SESSION sql_mode = ''; CREATE TABLE {BAD} (id INT PRIMARY KEY, d DATE); INSERT INTO {BAD} VALUES (1, '2001-00-00')"
        )).await;
        let mut daemon = sandbox.start();
        stop_of(&mut daemon, BAD).await;

        let health = get(&sandbox.http(), "/health").await;
        let metrics = get(&sandbox.http(), "/metrics").await;
        daemon.stop();

        assert!(health.starts_with("HTTP/1.1 503") && health.contains(BAD), "{health}");
        assert!(metrics.contains("replicator_sink_stopped_tables{sink=\"ch\"} 1"), "{metrics}");
    }
}
