//! Sinks that come, go and come back, and the cursors that they leave.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    SINKS, assert_copied_but, assert_health, assert_lines, assert_stated, is_stated, once, remedies, replicator, said,
    stopped,
};
use crate::support::cells::open_sqlite;
use crate::support::http::get;
use crate::support::sandbox::{CHANGELOG, DATABASE, Sandbox};
use crate::support::status::table_of;

const TABLES: [&str; 2] = ["t", "u"];
const ROWS: u32 = 100;

/// Every sink, and two tables; the configuration of each sink by its name.
async fn world(kind: crate::support::server::Kind) -> (Sandbox, BTreeMap<String, Value>) {
    let sandbox = Sandbox::with_every_sink(kind).await;
    for (table, key) in TABLES.iter().zip(["PRIMARY KEY", "NOT NULL UNIQUE"]) {
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE {table} (id INT {key}, v INT);
                 INSERT INTO {table} WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {ROWS}) SELECT k, k FROM n"
            ))
            .await;
    }
    let sinks = sandbox.config()["sinks"].as_array().unwrap().clone();
    let sinks = sinks.into_iter().map(|sink| (sink["name"].as_str().unwrap().to_owned(), sink)).collect();
    (sandbox, sinks)
}

fn with(sandbox: &mut Sandbox, sinks: &BTreeMap<String, Value>, names: &[&str]) {
    let chosen: Vec<&Value> = names.iter().map(|name| &sinks[*name]).collect();
    let chosen = json!(chosen);
    sandbox.set("/sinks", chosen);
}

/// How many lines a changelog has, of any table.
async fn lines(sandbox: &Sandbox, sink: &str) -> u64 {
    let tables = TABLES.map(|table| format!("SELECT COUNT(*) AS n FROM {table}"));
    match sink {
        "changelog" => {
            let sql = format!("SELECT SUM(n) FROM ({})", tables.join(" UNION ALL "));
            open_sqlite(&sandbox.changelog())
                .query_row(&sql, [], |row| row.get::<_, i64>(0))
                .unwrap()
                .try_into()
                .unwrap()
        }
        _ => {
            let tables = TABLES.map(|table| format!("SELECT COUNT(*) AS n FROM {CHANGELOG}.{table}"));
            let sql = format!("SELECT SUM(n) FROM ({})", tables.join(" UNION ALL "));
            sandbox.clickhouse().query(sql).await.trim().parse().unwrap()
        }
    }
}

async fn write(sandbox: &Sandbox, id: u32) {
    for table in TABLES {
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.{table} VALUES ({id}, {id})")).await;
    }
}

/// How many reads of a table were wanted so far.
fn reads(status: &Value) -> Vec<u64> {
    TABLES.iter().map(|table| table_of(status, &format!("{DATABASE}.{table}"))["reads"].as_u64().unwrap()).collect()
}

fn drop_cursor(sandbox: &Sandbox, name: &str) {
    let output = sandbox.run(&["wal", "drop-cursor", name]);
    assert!(output.status.success(), "{}", said(&output));
}

both_servers! {
    async fn what_was_trimmed_is_read_for_the_sink_that_is_new_and_for_no_other(kind: Kind) {
        let (mut sandbox, sinks) = world(kind).await;
        with(&mut sandbox, &sinks, &["changelog", "ch"]);
        once(&sandbox, 0);
        let before = lines(&sandbox, "changelog").await;
        assert!(stopped(&sandbox)["wal"]["first_lsn"].as_u64() > Some(1), "nothing was trimmed");

        with(&mut sandbox, &sinks, &["changelog", "ch", "local", "ch_changelog"]);
        let mut daemon = sandbox.start();
        write(&sandbox, 1000).await;
        // A sink that is slow to open says late what it lacks.
        daemon.wait_until("every sink has every table", |status| TABLES.iter().all(|table| is_stated(status, table, "complete"))).await;
        let status = sandbox.caught_up(&mut daemon).await;

        for table in TABLES {
            assert_stated(&status, table, "complete");
            let row = table_of(&status, &format!("{DATABASE}.{table}"));
            assert!(row["sinks"]["changelog"]["not_theirs"].as_u64() >= Some(u64::from(ROWS)), "{row:#}");
        }
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        assert_eq!(lines(&sandbox, "changelog").await, before + 2, "the changelog that was there has its two new rows");
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 2 * usize::try_from(ROWS + 1).unwrap());
    }

    async fn a_sink_that_comes_back_while_the_log_has_what_it_lacks_goes_on_without_a_read(kind: Kind) {
        let (mut sandbox, sinks) = world(kind).await;
        once(&sandbox, 0);
        let before = reads(&stopped(&sandbox));
        for (away, others) in [("local", ["changelog", "ch", "ch_changelog"]), ("ch", ["local", "changelog", "ch_changelog"])] {
            with(&mut sandbox, &sinks, &others);
            let mut daemon = sandbox.start();
            sandbox.caught_up(&mut daemon).await;
            // One that is stuck keeps in the log what comes from here on.
            let stuck = Connection::open(sandbox.changelog()).unwrap();
            stuck.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
            stuck.execute_batch("BEGIN IMMEDIATE").unwrap();
            drop_cursor(&sandbox, away);
            write(&sandbox, if away == "ch" { 2000 } else { 1000 }).await;
            sandbox.logged_within(crate::support::daemon::LIMIT, &mut daemon).await;
            daemon.stop();

            with(&mut sandbox, &sinks, &SINKS);
            let mut daemon = sandbox.start();
            daemon.wait_until("the sink has opened", |status| status["sinks"].as_array().unwrap().iter().any(|sink| sink["name"] == away && sink["state"] == "running")).await;
            drop(stuck);
            let status = sandbox.caught_up(&mut daemon).await;

            assert_eq!(reads(&status), before, "{status:#}");
            for table in TABLES {
                assert_stated(&status, table, "complete");
            }
            assert_health(&sandbox, &status, "ok").await;
            daemon.stop();
        }
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 2 * usize::try_from(ROWS + 2).unwrap());
        assert_lines(&sandbox, "t").await;
    }

    async fn a_target_that_is_too_old_or_not_of_the_sink_is_refused_before_anything_is_read(kind: Kind) {
        let (mut sandbox, sinks) = world(kind).await;
        once(&sandbox, 0);
        for (away, others) in [("local", ["changelog", "ch", "ch_changelog"]), ("ch", ["local", "changelog", "ch_changelog"])] {
            with(&mut sandbox, &sinks, &others);
            drop_cursor(&sandbox, away);
            write(&sandbox, if away == "ch" { 2000 } else { 1000 }).await;
            once(&sandbox, 0);
            let before = (reads(&stopped(&sandbox)), lines(&sandbox, "changelog").await, lines(&sandbox, "ch_changelog").await);

            with(&mut sandbox, &sinks, &SINKS);
            let said = once(&sandbox, 1);
            assert!(said.contains(&format!("the target of sink '{away}' has applied lsn")), "{said}");
            assert!(said.contains("trimmed from the log while the sink had no cursor"), "{said}");
            let reset = format!("replicator sink reset {away}");
            assert!(said.contains(&reset), "{said}");
            let after = (reads(&stopped(&sandbox)), lines(&sandbox, "changelog").await, lines(&sandbox, "ch_changelog").await);
            assert_eq!(after, before, "nothing was read for a sink that cannot have it");

            // As the hint says.
            let output = replicator(&sandbox, &reset);
            assert!(output.status.success(), "{}", super::said(&output));
            once(&sandbox, 0);
            for table in TABLES {
                assert_stated(&stopped(&sandbox), table, "complete");
            }
            assert_eq!((lines(&sandbox, "changelog").await, lines(&sandbox, "ch_changelog").await), (before.1, before.2));
        }
        assert_eq!(assert_copied_but(&sandbox, &[]).await.rows, 2 * usize::try_from(ROWS + 2).unwrap());
    }

    async fn a_sink_on_the_file_of_another_is_refused_before_anything_is_read(kind: Kind) {
        let (mut sandbox, mut sinks) = world(kind).await;
        once(&sandbox, 0);
        let before = (reads(&stopped(&sandbox)), lines(&sandbox, "changelog").await);
        for (name, other) in [("local", "renamed"), ("ch", "renamed_ch")] {
            let renamed = Value::Object(sinks[name].as_object().unwrap().clone());
            sinks.insert(other.to_owned(), renamed);
            sinks.get_mut(other).unwrap()["name"] = json!(other);
        }
        with(&mut sandbox, &sinks, &["renamed", "renamed_ch", "changelog"]);

        let said = once(&sandbox, 1);

        assert!(said.contains("sink 'renamed' failed") && said.contains("that this sink did not make"), "{said}");
        assert!(!said.contains("a table was read"), "{said}");
        let status = stopped(&sandbox);
        assert_eq!((reads(&status), lines(&sandbox, "changelog").await), before, "{said}");
        for table in TABLES {
            assert_eq!(table_of(&status, &format!("{DATABASE}.{table}"))["state"], "complete", "{status:#}");
        }
    }

    async fn the_cursor_of_a_sink_that_is_gone_is_named_where_the_log_fills(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        sandbox.set("/wal/max_size", json!("64MiB"));
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT NOT NULL)")).await;
        once(&sandbox, 0);
        let changelog = sandbox.config()["sinks"][1].clone();
        sandbox.set("/sinks", json!([changelog]));

        let mut daemon = sandbox.start();
        let status = sandbox.caught_up(&mut daemon).await;
        assert_left_over(&sandbox, &status).await;
        for _ in 0..480 {
            sandbox.server.exec(format!("INSERT INTO {DATABASE}.t (v) VALUES (REPEAT(SHA2(UUID(), 256), 1600))")).await;
        }
        let status = daemon.wait_until("the log is full", |status| status["source"]["state"] == "log_full").await;
        let cursor = assert_left_over(&sandbox, &status).await;
        assert!(cursor["backlog_bytes"].as_u64() > Some(10 << 20), "{cursor:#}");
        let full = status["health"]["reasons"].as_array().unwrap().iter().find(|reason| reason["state"] == "full").unwrap();
        assert!(full["why"].as_str().unwrap().contains("cursor local of a sink that is not configured"), "{full:#}");
        let text = said(&sandbox.run(&["status"]));
        assert!(text.contains("cursor local of a sink that is not configured"), "{text}");

        let remedy = remedies(&status).into_iter().find(|remedy| remedy.contains("drop-cursor")).unwrap();
        let output = replicator(&sandbox, &remedy);
        assert!(output.status.success(), "{}", said(&output));

        let status = sandbox.caught_up(&mut daemon).await;
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        sandbox.assert_logged("t").await;
    }
}

/// Asserts that the cursor is a row of the status, a reason of the verdict and a metric; returns the row.
async fn assert_left_over(sandbox: &Sandbox, status: &Value) -> Value {
    let rows = status["sinks"].as_array().unwrap();
    let row = rows.iter().find(|sink| sink["name"] == "local").unwrap();
    assert_eq!((&row["state"], &row["type"]), (&json!("unconfigured"), &Value::Null), "{row:#}");
    assert_health(sandbox, status, "degraded").await;
    let reasons = status["health"]["reasons"].as_array().unwrap();
    assert!(
        reasons.iter().any(|reason| reason["sink"] == "local" && reason["state"] == "unconfigured"),
        "{reasons:#?}"
    );
    let metrics = get(&sandbox.http(), "/metrics").await;
    let backlog = metrics.lines().find(|line| line.contains("backlog_bytes") && line.contains("sink=\"local\""));
    assert!(backlog.is_some(), "{metrics}");
    row.clone()
}
