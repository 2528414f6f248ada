//! Transactions that were prepared before the log began, and those that end without a word in the binlog.

use std::time::Duration;

use serde_json::json;

use super::{TABLES, end, prepare, run};
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;
use crate::support::status::table_of;

const LIMIT: Duration = Duration::from_mins(4);

/// Lets the account of the product list prepared transactions.
async fn may_list(sandbox: &Sandbox) {
    if sandbox.server.kind() == Kind::MySql {
        sandbox.server.exec("GRANT XA_RECOVER_ADMIN ON *.* TO 'replicator'@'%'").await;
    }
}

both_servers! {
    async fn reads_wait_for_transactions_that_were_prepared_before_the_log_began(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        may_list(&sandbox).await;
        run(&sandbox, TABLES).await;
        prepare(&sandbox, "'early'", "INSERT INTO a VALUES (70, 1)").await;
        // MariaDB takes 32 bits of a format.
        let early_too = if kind == Kind::MySql { "'early too','',4294967303" } else { "'early too'" };
        prepare(&sandbox, early_too, "INSERT INTO b VALUES (70, 'b', 'b')").await;
        let mut daemon = sandbox.start();
        daemon
            .wait_until("status names them", |status| {
                let waits_for = status["source"]["waits_for"].as_array().unwrap();
                status["source"]["state"] == "streaming" && waits_for.len() == 2 && waits_for[0] == "X'6561726c79',X'',1"
            })
            .await;
        prepare(&sandbox, "'later'", "INSERT INTO a VALUES (71, 1)").await;
        end(&sandbox, "COMMIT", "'early'").await;
        end(&sandbox, "ROLLBACK", early_too).await;
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        assert_eq!(daemon.status().unwrap()["source"]["waits_for"], json!([]));
        end(&sandbox, "COMMIT", "'later'").await;
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        daemon.stop();
    }

    async fn reads_wait_for_no_longer_than_the_configuration_says(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        may_list(&sandbox).await;
        sandbox.set("/source/xa_wait", json!("3s"));
        run(&sandbox, TABLES).await;
        prepare(&sandbox, "'early'", "INSERT INTO a VALUES (70, 1); DELETE FROM b").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        daemon.kill();
        // Only a log that has just begun waits.
        sandbox.set("/source/xa_wait", json!("1h"));
        run(&sandbox, "CREATE TABLE c (id INT PRIMARY KEY); INSERT INTO c VALUES (1)").await;
        daemon = sandbox.start();
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        assert_eq!(daemon.status().unwrap()["source"]["waits_for"], json!([]));
        end(&sandbox, "COMMIT", "'early'").await;
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        assert!(daemon.log().contains("which was prepared before the log began, was committed"), "{}", daemon.log());
        daemon.stop();
    }

    async fn a_transaction_that_ends_without_a_word_in_the_binlog_is_given_up(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        may_list(&sandbox).await;
        run(&sandbox, TABLES).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        prepare(&sandbox, "'silent'", "INSERT INTO a VALUES (80, 1)").await;
        prepare(&sandbox, "'stays'", "INSERT INTO b VALUES (80, 'b', 'b')").await;
        sandbox.caught_up(&mut daemon).await;
        run(&sandbox, "SET sql_log_bin = 0; XA COMMIT 'silent'").await;
        daemon.stop();
        daemon = sandbox.start();
        daemon
            .wait_until_within(LIMIT, "its table is read again", |status| {
                status["running"] == true && table_of(status, "shop.a")["reads"].as_u64() >= Some(2)
            })
            .await;
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        assert!(daemon.log().contains("is no longer listed by the source"), "{}", daemon.log());
        end(&sandbox, "COMMIT", "'stays'").await;
        sandbox.caught_up_within(LIMIT, &mut daemon).await;
        sandbox.assert_mirrored().await;
        daemon.stop();
    }
}
