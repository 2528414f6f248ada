//! What is written to tables that are not captured, in whatever form, and what is done to tables that no server can open: it ends
//! nothing.

use serde_json::json;

use super::{assert_copied_but, assert_health, assert_stated, is_stated, once, stopped};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};

/// Writes to tables that are not captured: as statements, from a file, and, on MySQL, parts of JSON columns.
async fn write(server: &Server, kind: Kind, id: u32) {
    let file = server.data_directory().join(format!("rows{id}"));
    std::fs::write(&file, format!("{id}0\t{{\"a\": 1}}\n")).unwrap();
    let json = if kind == Kind::MySql {
        let long = "x".repeat(200);
        format!(
            "INSERT INTO other.j VALUES ({id}, '{{\"a\": 1, \"b\": \"{long}\"}}'); SET SESSION binlog_row_value_options = 'PARTIAL_JSON';
             UPDATE other.j SET j = JSON_SET(j, '$.a', 2); SET SESSION binlog_row_value_options = '';"
        )
    } else {
        String::new()
    };
    server
        .exec(format!(
            "USE {DATABASE}; {json} SET SESSION binlog_format = 'STATEMENT';
             INSERT INTO other.t VALUES ({id}, NULL); UPDATE other.t SET j = NULL; REPLACE INTO hidden SELECT id FROM kept;
             INSERT INTO hidden SELECT 100 + {id}; DELETE FROM hidden WHERE id > 90;
             LOAD DATA INFILE '{}' INTO TABLE other.t; USE other; LOAD DATA INFILE '{}' REPLACE INTO TABLE t (id, j);
             SET SESSION binlog_format = 'ROW'; INSERT INTO {DATABASE}.kept VALUES ({id})",
            file.display(),
            file.display()
        ))
        .await;
}

both_servers! {
    async fn writes_to_tables_that_are_not_captured_end_nothing_whatever_their_form(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.set("/source/exclude", json!([format!("{DATABASE}.hidden")]));
        let json = if kind == Kind::MySql { "CREATE TABLE other.j (id INT PRIMARY KEY, j JSON);" } else { "" };
        sandbox.server.exec(format!(
            "CREATE DATABASE other; {json} CREATE TABLE other.t (id INT PRIMARY KEY, j TEXT); USE {DATABASE};
             CREATE TABLE kept (id INT PRIMARY KEY); CREATE TABLE hidden (id INT PRIMARY KEY)"
        )).await;
        write(&sandbox.server, kind, 1).await;
        sandbox.run_once();
        write(&sandbox.server, kind, 2).await;
        sandbox.run_once();
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        write(&sandbox.server, kind, 3).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(status["health"]["status"], json!("ok"), "{:#}", status["health"]);
        sandbox.server.exec(format!("DROP TABLE {DATABASE}.hidden")).await;
        assert_eq!(sandbox.assert_mirrored().await.rows, 3);
    }

    async fn statements_about_tables_that_no_server_can_open_end_nothing(kind: Kind) {
        let sandbox = Sandbox::with_every_sink(kind).await;
        let make = |prefix: &str| format!(
            "USE {DATABASE}; CREATE TABLE {prefix}merged (c INT) ENGINE=MERGE UNION=(nosuch);
             CREATE TABLE {prefix}lost (id INT PRIMARY KEY, v INT); INSERT INTO {prefix}lost VALUES (1, 1);
             ALTER TABLE {prefix}lost DISCARD TABLESPACE; ALTER TABLE {prefix}lost COMMENT 'x'; INSERT INTO kept (v) VALUES (1)"
        );
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.kept (id INT AUTO_INCREMENT PRIMARY KEY, v INT); {}", make("a_"))).await;
        // Of a table that is to be read, that it cannot be is the table's fault.
        once(&sandbox, 1);
        assert_stated(&stopped(&sandbox), "kept", "complete");
        sandbox.server.exec(make("b_")).await;
        once(&sandbox, 1);
        assert_stated(&stopped(&sandbox), "kept", "complete");
        let mut daemon = sandbox.start();
        sandbox.server.exec(make("c_")).await;
        let what = "the tables that cannot be opened are named, and the other one is read";
        let status = daemon
            .wait_until(what, |status| {
                ["a_", "b_", "c_"].iter().all(|prefix| is_stated(status, &format!("{prefix}lost"), "unreadable"))
                    && is_stated(status, "kept", "complete")
            })
            .await;
        for prefix in ["a_", "b_", "c_"] {
            assert!(assert_stated(&status, &format!("{prefix}merged"), "left_out").contains("MERGE"));
        }
        sandbox.server.exec(format!("USE {DATABASE}; DROP TABLE a_lost, b_lost, c_lost; INSERT INTO kept (v) VALUES (2)")).await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_health(&sandbox, &status, "ok").await;
        daemon.stop();
        assert_eq!(assert_copied_but(&sandbox, &["a_merged", "b_merged", "c_merged"]).await.rows, 4);
    }
}
