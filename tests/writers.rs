//! The random writers, tested by themselves: what they leave must be worth comparing.

use std::time::Duration;

use crate::support::cells::{source_rows, source_tables};
use crate::support::server::{Kind, Server};
use crate::support::workload::{Shape, Workload};

both_servers! {
    async fn one_connection_writes_the_same_again_from_the_same_seed(kind: Kind) {
        let server = Server::start(kind).await;
        let workload = Workload::new("d").with_connections(1);
        let mut contents = Vec::new();
        for _ in 0..2 {
            server.exec("DROP DATABASE IF EXISTS d; CREATE DATABASE d").await;
            workload.create(&server, 50).await;

            let tally = workload.run(&server, 300).await;

            let mut content = Vec::new();
            for table in source_tables(&server, "d").await {
                content.push((table.clone(), source_rows(&server, "d", &table, &[]).await.rows));
            }
            assert!(content.iter().all(|(_, rows)| rows.len() > 10), "{tally:?}");
            contents.push((tally, content));
        }
        assert!(contents[0] == contents[1]);
        assert_eq!(contents[0].1.len(), Shape::ALL.len());
    }

    async fn many_connections_and_definition_changes_get_their_work_done(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d").await;
        let workload = Workload::new("d").with_connections(3).with_ddl();
        workload.create(&server, 20).await;

        let tally = workload.run(&server, 1500).await;

        assert!(tally.done >= 1500 && tally.refused < tally.done / 2, "{tally:?}");
        assert!(source_tables(&server, "d").await.len() >= Shape::ALL.len());
    }

    async fn writers_live_through_a_restart_of_the_server(kind: Kind) {
        let mut server = Server::start(kind).await;
        server.exec("CREATE DATABASE d").await;
        let workload = Workload::new("d").with_ddl();
        workload.create(&server, 20).await;

        let writing = workload.start(&server);
        writing.progressed_by(50).await;
        server.kill();
        server.start_again().await;
        writing.progressed_by(50).await;
        server.restart().await;
        writing.progressed_by(50).await;

        let tally = writing.stop().await;
        assert!(tally.reconnected >= 2, "{tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_can_be_given_time_instead_of_a_number_on_mariadb() {
    let server = Server::start(Kind::MariaDb).await;
    server.exec("CREATE DATABASE d").await;
    let workload = Workload::new("d").with_tables(10);
    workload.create(&server, 5).await;

    let tally = workload.run_for(&server, Duration::from_millis(300)).await;

    assert!(tally.done > 20, "{tally:?}");
    assert_eq!(source_tables(&server, "d").await.len(), 10);
}
