//! A table that is created and dropped again and again may be gone whenever it is asked about: that holds up nothing.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use replicator::model::TableName;
use replicator::source::mysql::schema::{Flavour, describe, describe_visible};

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};

/// Times that the table is created, written and dropped.
const ROUNDS: u32 = 200;

/// Enough that the table vanishes between two questions of a description many times.
const DESCRIPTIONS: u32 = 400;

both_servers! {
    async fn a_table_that_vanishes_while_it_is_described_is_one_that_does_not_exist(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec(format!("CREATE DATABASE {DATABASE}")).await;
        let flavour = match kind {
            Kind::MySql => Flavour::MySql,
            Kind::MariaDb => Flavour::MariaDb,
        };
        let table = TableName::new(DATABASE, "t");
        let mut writer = server.connect().await;
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let churning = tokio::spawn(async move {
            while stopped.try_recv().is_err() {
                writer.query_drop(format!("CREATE TABLE {DATABASE}.t (a INT PRIMARY KEY, b INT, KEY (b))")).await.unwrap();
                for _ in 0..4 {
                    writer.query_drop(format!("INSERT IGNORE INTO {DATABASE}.t VALUES (1, 1)")).await.unwrap();
                }
                writer.query_drop(format!("DROP TABLE {DATABASE}.t")).await.unwrap();
            }
        });
        let mut conn = Conn::new(server.replicator()).await.unwrap();
        let (mut there, mut absent) = (0, 0);
        for _ in 0..DESCRIPTIONS {
            let found = [
                describe(&mut conn, flavour, &table).await.unwrap(),
                describe_visible(&mut conn, flavour, &table).await.unwrap(),
            ];
            for found in found {
                match found {
                    Some(found) => {
                        assert_eq!((found.schema.columns.len(), found.chunk_key.is_some()), (2, true));
                        there += 1;
                    }
                    None => absent += 1,
                }
            }
        }
        assert!(there > 0 && absent > 0, "{there} times there, {absent} times absent");
        stop.send(()).unwrap();
        churning.await.unwrap();
        conn.disconnect().await.unwrap();
    }

    async fn a_table_that_is_created_and_dropped_again_and_again_costs_no_connection(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        // The key of `asked` is in no event: the server is asked for it.
        sandbox
            .server
            .exec(format!(
                "USE {DATABASE}; CREATE TABLE kept (a INT PRIMARY KEY);
                 CREATE PROCEDURE churn(n INT) BEGIN
                   WHILE n > 0 DO
                     CREATE TABLE t1 (a INT PRIMARY KEY, b INT, KEY (b));
                     INSERT INTO t1 VALUES (n, n);
                     DROP TABLE t1;
                     IF n % 2 = 0 THEN
                       CREATE TABLE asked (a VARCHAR(40) NOT NULL, UNIQUE (a(10)));
                       INSERT INTO asked VALUES (n);
                       DROP TABLE asked;
                     END IF;
                     INSERT INTO kept VALUES (n);
                     SET n = n - 1;
                   END WHILE;
                 END"
            ))
            .await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        sandbox.server.exec(format!("USE {DATABASE}; CALL churn({ROUNDS}); CREATE TABLE t1 (a INT PRIMARY KEY, c INT); INSERT INTO t1 VALUES (1, 2)")).await;

        let status = sandbox.caught_up(&mut daemon).await;
        assert_eq!(status["source"]["reconnects"], 0, "{}", daemon.log());
        let log = daemon.log();
        assert!(!log.contains("trying again"), "{log}");
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, usize::try_from(ROUNDS).unwrap() + 1);
    }
}
