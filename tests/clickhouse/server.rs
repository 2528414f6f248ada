//! The ClickHouse of the test support: starts, restarts, dies and leaves nothing behind.

use crate::support::clickhouse::{ClickHouse, ClickHouseOptions, REPLICA};

#[tokio::test(flavor = "multi_thread")]
async fn rows_outlive_a_restart_and_a_kill_on_the_same_port() {
    let mut server = ClickHouse::start().await;
    let port = server.port();
    server.exec(format!("CREATE TABLE {REPLICA}.t (a Int32) ENGINE = MergeTree ORDER BY a")).await;
    server.exec(format!("INSERT INTO {REPLICA}.t VALUES (1), (2)")).await;

    server.restart().await;
    server.exec(format!("INSERT INTO {REPLICA}.t VALUES (3)")).await;
    server.kill();
    assert!(server.try_query("SELECT 1").await.is_err(), "a killed server answers");
    server.start_again().await;

    assert_eq!(server.query(format!("SELECT a FROM {REPLICA}.t ORDER BY a")).await, "1\n2\n3\n");
    assert_eq!(server.port(), port);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_have_their_passwords_and_no_other_privileges() {
    let options = ClickHouseOptions::default().user("reader", "sesame", &["SELECT ON replica.*"]);
    let server = options.setting("max_threads", "2").start().await;
    server.exec(format!("CREATE TABLE {REPLICA}.t (a Int32) ENGINE = MergeTree ORDER BY a")).await;

    let read = server.query_as("reader", "sesame", "SELECT count(), getSetting('max_threads') FROM replica.t").await;
    let wrong = server.query_as("reader", "Sesame", "SELECT 1").await;
    let denied = server.query_as("reader", "sesame", "INSERT INTO replica.t VALUES (1)").await;

    assert_eq!(read.as_deref(), Ok("0\t2\n"));
    assert!(wrong.unwrap_err().contains("AUTHENTICATION_FAILED"));
    assert!(denied.unwrap_err().contains("ACCESS_DENIED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_server_leaves_neither_process_nor_files() {
    let server = ClickHouse::start().await;
    let (id, data) = (server.id().unwrap(), server.data_directory());
    assert!(data.is_dir());

    drop(server);

    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    assert!(!data.exists());
}
