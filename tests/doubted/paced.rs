//! When the reads of doubts begin, and what says so.

use std::time::Duration;

use serde_json::{Value, json};

use super::{AS_ROWS, AS_STATEMENT, copied, exec, of};
use crate::support::sandbox::DATABASE;
use crate::support::status::reads_nothing;

both_servers! {
    async fn a_table_in_doubt_again_waits_for_the_pause_and_says_until_when_and_an_operator_does_not(kind: Kind) {
        let mut sandbox = copied(kind).await;
        sandbox.set("/source/reread_pause", json!("1h"));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let write = |value: u32| format!("{AS_STATEMENT}; UPDATE t SET a = {value} WHERE id = 1; {AS_ROWS}; INSERT INTO other VALUES ({value}, 1)");

        exec(&sandbox, &write(100)).await;
        sandbox.caught_up(&mut daemon).await;
        sandbox.assert_mirrored().await;
        exec(&sandbox, &write(200)).await;

        let status = daemon.wait_until("it waits, and the other goes on", |status| {
            of(status, "t")["waiting_doubt"] == true && of(status, "other")["applied"]["local"] == of(status, "other")["appended"]
        }).await;
        let t = of(&status, "t");
        assert_eq!((t["state"].as_str(), t["reach"].as_str()), (Some("reading"), Some("rows")), "{t:#}");
        let (since, until) = (time(&t["since"]), time(&t["until"]));
        let wait = until.duration_since(since).unwrap();
        assert!(Duration::from_mins(50) < wait && wait <= Duration::from_hours(1), "{t:#}");
        let reason = &status["health"]["reasons"][0];
        assert_eq!((reason["state"].as_str(), reason["status"].as_str()), (Some("in_doubt"), Some("degraded")), "{status:#}");
        let text = String::from_utf8(sandbox.run(&["status"]).stdout).unwrap();
        assert!(text.contains("source.reread_pause") && text.contains(t["until"].as_str().unwrap()), "{text}");

        // A restart keeps the pause, and the command that the status names reads the table now.
        daemon.stop();
        let mut daemon = sandbox.start();
        daemon.wait_until("it waits after a restart", |status| of(status, "t")["until"] == t["until"]).await;
        let remedy = reason["remedy"].as_str().unwrap();
        let words: Vec<&str> = remedy.split(' ').skip(1).collect();
        assert!(sandbox.run(&words).status.success(), "{remedy}");
        daemon.wait_until("it is complete", |status| of(status, "t")["state"] == "complete" && reads_nothing(status)).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.assert_mirrored().await;
    }

    async fn a_run_that_has_to_end_does_not_wait_for_a_pause_and_names_the_table(kind: Kind) {
        let mut sandbox = copied(kind).await;
        sandbox.set("/source/reread_pause", json!("10min"));
        exec(&sandbox, &format!("{AS_STATEMENT}; UPDATE t SET a = 100 WHERE id = 1")).await;
        sandbox.run_once();
        exec(&sandbox, &format!("{AS_STATEMENT}; UPDATE t SET a = 200 WHERE id = 1")).await;

        let output = sandbox.run(&["start", "--once"]);

        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(&format!("table '{DATABASE}.t' is still to be read")), "{said}");
    }

    async fn a_large_table_without_a_key_is_left_out_by_name_where_nobody_asks_for_its_read(kind: Kind) {
        let mut sandbox = copied(kind).await;
        exec(&sandbox, "CREATE TABLE n (a INT); INSERT INTO n SELECT a FROM t; INSERT INTO n SELECT a FROM n; INSERT INTO n SELECT a FROM n; ANALYZE TABLE n").await;
        sandbox.run_once();
        sandbox.set("/source/reread_keyless_rows", json!(5));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        exec(&sandbox, &format!("{AS_STATEMENT}; UPDATE n SET a = 50 WHERE a = 1; {AS_ROWS}; INSERT INTO other VALUES (4, 4)")).await;

        let left_out = |status: &Value| of(status, "n")["state"] == "left_out";
        let status = daemon.wait_until("it is left out", left_out).await;
        let why = of(&status, "n")["why"].as_str().unwrap();
        assert!(why.contains("source.reread_keyless_rows") && why.contains("statement format"), "{why}");
        let remedy = status["health"]["reasons"][0]["remedy"].as_str().unwrap();
        let words: Vec<&str> = remedy.split(' ').skip(1).collect();
        assert!(sandbox.run(&words).status.success(), "{remedy}");
        daemon.wait_until("it is complete", |status| of(status, "n")["state"] == "complete").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.assert_mirrored().await;
    }
}

/// A time of the status.
fn time(value: &Value) -> std::time::SystemTime {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    humantime::parse_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
