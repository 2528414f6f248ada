//! What is this sink's alone in a mirror: names of tables, views, counts of batches. The rest is in `tests/scenarios/`.

use serde_json::json;

use super::watch::{keyed, number};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::workload::Workload;

both_servers! {
    async fn renamed_and_dropped_columns_and_prefixed_tables_are_as_configured(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/table_prefix", json!("p_"));
        sandbox.set("/tables", json!([{
            "database": DATABASE, "table": "t", "rename": { "v": "value `of` v" }, "drop": ["secret"],
        }]));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT, secret TEXT); INSERT INTO t VALUES (1, 'a', 's')"
        )).await;

        sandbox.run_once();

        let all = sandbox.clickhouse().query("SELECT * EXCEPT (_version) FROM replica.p_t FINAL FORMAT TSVWithNames").await;
        assert_eq!(all, "id\tvalue `of` v\t_is_deleted\n1\ta\t0\n");
    }

    async fn a_view_shows_the_current_rows(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/create_views", json!(true));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')"
        )).await;

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; UPDATE t SET v = 'B' WHERE id = 2; DELETE FROM t WHERE id = 3; ALTER TABLE t ADD w INT DEFAULT 5;
             INSERT INTO t VALUES (4, 'd', 6)"
        )).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let rows = sandbox.clickhouse().query("SELECT id, v, w FROM replica.t_current ORDER BY id").await;
        assert_eq!(rows, "1\ta\t5\n2\tB\t5\n4\td\t6\n");
    }

    async fn counters_balance_and_batches_are_counted_by_table(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 300).await;
        let mut daemon = sandbox.start();
        workload.run(&sandbox.server, 300).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let tables = status["tables"].as_array().unwrap();
        assert_eq!(tables.len(), keyed().len());
        let batches = status["sinks"][0]["batches"].as_array().unwrap();
        assert_eq!(batches.len(), keyed().len());
        for (table, batch) in tables.iter().zip(batches) {
            let appended = table["appended"].as_u64().unwrap();
            assert!(appended >= 100, "{table}");
            assert_eq!(table["applied"]["ch"].as_u64(), Some(appended), "{table}");
            assert_eq!(batch["table"], table["table"]);
            assert!(batch["rows"].as_u64().unwrap() >= appended && batch["batches"].as_u64().unwrap() > 0, "{batch}");
        }
        assert_eq!(number(&sandbox, "SELECT count() FROM system.mutations WHERE database = 'replica' AND NOT is_done").await, 0);
    }
}
