//! While a daemon runs: the sink begins again, and the others go on.

use serde_json::Value;

use super::{DATABASE, NEW, SINKS, TABLES, assert_whole, change, copied, empty_targets, files, reset};
use crate::support::daemon::Daemon;
use crate::support::sandbox::Sandbox;
use crate::support::status::table_of;

fn state<'s>(status: &'s Value, sink: &str) -> &'s str {
    let sinks = status["sinks"].as_array().unwrap();
    sinks.iter().find(|shown| shown["name"] == sink).unwrap()["state"].as_str().unwrap()
}

/// Whether every table is complete at every sink.
fn is_whole(status: &Value) -> bool {
    TABLES.iter().all(|table| {
        let row = table_of(status, &format!("{DATABASE}.{table}"));
        SINKS.iter().all(|sink| row["sinks"][sink]["state"] == "complete")
    })
}

async fn whole(sandbox: &Sandbox, daemon: &mut Daemon) -> Value {
    sandbox.caught_up(daemon).await;
    daemon.wait_until("every sink has every table", is_whole).await;
    sandbox.caught_up(daemon).await
}

both_servers! {
    async fn sinks_that_have_failed_begin_again_without_a_restart(kind: Kind) {
        let sandbox = copied(kind).await;
        empty_targets(&sandbox).await;
        let mut daemon = sandbox.start();
        daemon.wait_until("every sink has failed", |status| SINKS.iter().all(|sink| state(status, sink) == "failed")).await;
        change(&sandbox, "second", 100).await;

        for sink in SINKS {
            let said = reset(&sandbox, sink);
            assert!(said.contains("every table is read again for it"), "{said}");
        }

        let status = whole(&sandbox, &mut daemon).await;
        assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
        let balances = |row: &Value| {
            let had = |at: &Value| ["before", "delivered", "left_out", "not_theirs"].map(|count| at[count].as_u64().unwrap());
            row["sinks"].as_object().unwrap().values().all(|at| had(at).iter().sum::<u64>() == row["appended"].as_u64().unwrap())
        };
        assert!(status["tables"].as_array().unwrap().iter().all(balances), "{:#}", status["tables"]);
        daemon.stop();
        assert_whole(&sandbox, NEW).await;
    }

    async fn a_sink_that_runs_is_reset_under_load_and_killed_and_the_others_go_on(kind: Kind) {
        let sandbox = copied(kind).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for round in 0..6 {
            for sink in ["local", "ch", "changelog", "ch_changelog"] {
                change(&sandbox, &format!("round {round}"), 1000 + 10 * round).await;
                reset(&sandbox, sink);
                sandbox.server.exec(format!("DELETE FROM {DATABASE}.t WHERE id > 999; DELETE FROM {DATABASE}.u WHERE id > 999")).await;
            }
            if round % 2 == 1 {
                daemon.kill();
                daemon = sandbox.start();
                daemon.wait_until("it answers", |status| status["running"] == true).await;
            }
        }
        whole(&sandbox, &mut daemon).await;
        daemon.stop();
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_file_that_was_removed_under_the_daemon_is_made_again(kind: Kind) {
        let sandbox = copied(kind).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for file in files(&sandbox).iter().filter(|file| file.exists()) {
            std::fs::remove_file(file).unwrap();
        }
        daemon.wait_until("both sinks have failed", |status| {
            state(status, "local") == "failed" && state(status, "changelog") == "failed" && state(status, "ch") == "running"
        }).await;
        change(&sandbox, "second", 100).await;

        // As the hint says: nothing is left of the three files.
        for sink in ["local", "changelog"] {
            reset(&sandbox, sink);
        }
        reset(&sandbox, "ch_changelog");

        whole(&sandbox, &mut daemon).await;
        daemon.stop();
        assert_whole(&sandbox, (false, true)).await;
    }
}
