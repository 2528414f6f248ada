//! The servers of the test support, tested by themselves: whoever builds on them may take this for granted.

use std::path::Path;

use mysql_async::prelude::Queryable as _;

use crate::support::server::{Kind, Server, ServerOptions};

both_servers! {
    async fn a_new_server_is_empty_and_logs_rows_in_full(kind: Kind) {
        let server = Server::start(kind).await;

        let databases: Vec<String> = server.query("SHOW DATABASES").await;
        let settings: (String, String) = server.query_one("SELECT @@binlog_format, @@binlog_row_image").await;

        assert_eq!(databases, ["information_schema", "mysql", "performance_schema", "sys"]);
        assert_eq!(settings, ("ROW".into(), "FULL".into()));
    }

    async fn a_script_runs_every_statement_and_rows_survive_a_restart(kind: Kind) {
        let mut server = Server::start(kind).await;
        let port = server.port();
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v TEXT); INSERT INTO d.t VALUES (1, 'a'), (2, NULL)").await;

        server.restart().await;

        let rows: Vec<(i64, Option<String>)> = server.query("SELECT id, v FROM d.t ORDER BY id").await;
        assert_eq!(rows, [(1, Some("a".to_owned())), (2, None)]);
        assert_eq!(server.port(), port);
    }

    async fn a_killed_server_recovers_what_it_committed(kind: Kind) {
        let mut server = Server::start(kind).await;
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (7)").await;

        server.kill();
        server.start_again().await;

        assert_eq!(server.query::<i64>("SELECT id FROM d.t").await, [7]);
    }

    async fn a_dropped_server_leaves_no_process_and_no_files(kind: Kind) {
        let server = Server::start(kind).await;
        let process = format!("/proc/{}", server.id().unwrap());
        let directory = server.data_directory();
        assert!(Path::new(&process).exists() && directory.exists());

        drop(server);

        assert!(!Path::new(&process).exists() && !directory.exists());
    }

    async fn writing_moves_the_position_and_the_gtid(kind: Kind) {
        let server = Server::start(kind).await;
        let before = (server.position().await, server.gtid().await);

        server.exec("CREATE DATABASE d").await;

        let after = (server.position().await, server.gtid().await);
        assert!(after.0 > before.0, "{before:?} then {after:?}");
        assert_ne!(after.1, before.1);
    }

    async fn the_products_account_reads_but_cannot_write(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").await;
        let mut connection = mysql_async::Conn::new(server.replicator()).await.unwrap();

        let rows: Vec<i64> = connection.query("SELECT id FROM d.t").await.unwrap();
        let refusal = connection.query_drop("INSERT INTO d.t VALUES (1)").await.unwrap_err();

        assert!(rows.is_empty());
        assert!(refusal.to_string().contains("denied"), "{refusal}");
    }
}

#[tokio::test]
async fn two_servers_of_one_template_have_different_identities_on_mysql() {
    let (one, other) = tokio::join!(Server::start(Kind::MySql), Server::start(Kind::MySql));

    let identity = "SELECT @@server_uuid";
    assert_ne!(one.query_one::<String>(identity).await, other.query_one::<String>(identity).await);
}

#[tokio::test]
async fn gtids_can_be_turned_off_and_metadata_be_as_a_test_says_on_mysql() {
    let server = ServerOptions::new(Kind::MySql)
        .without_gtid()
        .with_row_metadata("FULL")
        .argument("--max-binlog-size=4096")
        .start()
        .await;

    let settings: (String, String, u64) =
        server.query_one("SELECT @@gtid_mode, @@binlog_row_metadata, @@max_binlog_size").await;

    assert_eq!(settings, ("OFF".into(), "FULL".into(), 4096));
}

#[tokio::test]
#[should_panic(expected = "unknown variable 'no-such-option=1'")]
async fn a_server_that_cannot_start_fails_the_test_with_its_own_log_on_mariadb() {
    ServerOptions::new(Kind::MariaDb).argument("--no-such-option=1").start().await;
}
