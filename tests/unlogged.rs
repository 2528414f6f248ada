//! Definitions that change without a statement in the binlog: the table is in doubt, whatever table maps say of its columns, and no row is
//! under a wrong name in the end.

use serde_json::Value;

use crate::failover::{promote, replica_of};
use crate::support::daemon::Daemon;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::ServerOptions;
use crate::support::status::table_of;

/// Why a table is read again.
const UNEXPLAINED: &str = "the binlog has no statement that changed it";

/// Statements that the binlog does not have.
async fn past_the_binlog(sandbox: &Sandbox, sql: &str) {
    sandbox
        .server
        .exec(format!("SET SESSION sql_log_bin = 0; USE {DATABASE}; {sql}; SET SESSION sql_log_bin = 1"))
        .await;
}

async fn world(options: ServerOptions) -> Sandbox {
    let sandbox = Sandbox::on(options.start().await).await;
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT); CREATE TABLE other (id INT PRIMARY KEY, a INT, b INT);
             INSERT INTO t VALUES (1, 10, 20), (2, 11, 21); INSERT INTO other SELECT * FROM t"
        ))
        .await;
    sandbox
}

/// Ends the connections that read the binlog.
async fn end_dumps(sandbox: &Sandbox) {
    let dumps: Vec<u64> =
        sandbox.server.query("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'").await;
    assert_eq!(dumps.len(), 1, "{dumps:?}");
    for dump in dumps {
        sandbox.server.exec(format!("KILL {dump}")).await;
    }
}

fn reads(status: &Value, table: &str) -> u64 {
    table_of(status, &format!("{DATABASE}.{table}"))["reads"].as_u64().unwrap()
}

/// Waits until the table that was changed is read for the second time.
async fn read_again(daemon: &mut Daemon) {
    let name = format!("{DATABASE}.t");
    daemon.wait_until("the table is read again", |status| table_of(status, &name)["reads"].as_u64() == Some(2)).await;
}

/// Two columns of one type change their names with each other: nothing but the names says so.
const SWAP: &str =
    "ALTER TABLE t RENAME COLUMN a TO c; ALTER TABLE t RENAME COLUMN b TO a; ALTER TABLE t RENAME COLUMN c TO b";

both_servers! {
    async fn columns_that_changed_their_names_while_the_daemon_was_away_are_found_when_it_connects(kind: Kind) {
        let sandbox = world(ServerOptions::new(kind).with_its_own_row_metadata()).await;
        sandbox.run_once();
        past_the_binlog(&sandbox, SWAP).await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t (id, a, b) VALUES (3, 1, 2); INSERT INTO {DATABASE}.other VALUES (3, 1, 2)")).await;
        let mut daemon = sandbox.start();
        read_again(&mut daemon).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(reads(&status, "t"), 2, "{status:#}");
        assert_eq!(reads(&status, "other"), 1, "{status:#}");
        assert!(daemon.log().contains(UNEXPLAINED), "{}", daemon.log());
        assert_eq!(sandbox.assert_mirrored().await.rows, 6);
    }

    async fn columns_that_changed_their_names_are_found_when_the_stream_is_opened_again(kind: Kind) {
        let sandbox = world(ServerOptions::new(kind).with_its_own_row_metadata()).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        past_the_binlog(&sandbox, SWAP).await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t (id, a, b) VALUES (3, 1, 2)")).await;
        end_dumps(&sandbox).await;
        read_again(&mut daemon).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored().await.rows, 5);
    }

    async fn a_type_that_changed_shows_with_the_next_rows_without_names_too(kind: Kind) {
        let sandbox = world(ServerOptions::new(kind).with_its_own_row_metadata()).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        past_the_binlog(&sandbox, "ALTER TABLE t MODIFY a VARCHAR(20), ADD COLUMN n INT NOT NULL DEFAULT 5 FIRST").await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (6, 3, 'x', 2); UPDATE {DATABASE}.other SET a = 9")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        // The rows show it first. The read of the table waits for its description.
        assert_eq!((reads(&status, "t"), reads(&status, "other")), (2, 1), "{status:#}");
        assert_eq!(sandbox.assert_mirrored().await.rows, 5);
    }

    async fn with_full_metadata_a_column_of_another_name_shows_with_the_next_rows(kind: Kind) {
        let sandbox = world(ServerOptions::new(kind).with_row_metadata("FULL")).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        past_the_binlog(&sandbox, SWAP).await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t (id, a, b) VALUES (3, 1, 2)")).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored().await.rows, 5);
    }

    async fn a_server_that_takes_over_with_another_definition_is_found_out(kind: Kind) {
        let mut sandbox = world(ServerOptions::new(kind).with_its_own_row_metadata()).await;
        let replica = replica_of(&sandbox.server, kind).await;
        sandbox.run_once();
        promote(&replica, &sandbox.server).await;
        sandbox.server.kill();
        sandbox.server = replica;
        sandbox.set("/source/url", serde_json::json!(sandbox.server.url()));
        past_the_binlog(&sandbox, SWAP).await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t (id, a, b) VALUES (3, 1, 2)")).await;
        let mut daemon = sandbox.start();
        read_again(&mut daemon).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!((reads(&status, "t"), reads(&status, "other")), (2, 1), "{status:#}");
        assert_eq!(sandbox.assert_mirrored().await.rows, 5);
    }

    async fn a_table_that_is_gone_without_a_statement_says_so_and_its_copy_stays(kind: Kind) {
        let sandbox = world(ServerOptions::new(kind).with_its_own_row_metadata()).await;
        sandbox.run_once();
        past_the_binlog(&sandbox, "DROP TABLE t").await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.other VALUES (3, 1, 2)")).await;
        let mut daemon = sandbox.start();
        let name = format!("{DATABASE}.t");
        let status = daemon
            .wait_until("the table says that it is gone", |status| table_of(status, &name)["state"] != "complete")
            .await;
        daemon.stop();

        let table = table_of(&status, &name);
        assert_eq!(table["state"], "left_out", "{table:#}");
        assert!(table.to_string().contains("no statement that dropped it"), "{table:#}");
        let copy = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
        let rows: i64 = copy.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2, "its copy stays");
    }
}
