//! Views and sequences are no tables, by whatever way they come.

use super::{down_and_live, exec, refused, stated, world};
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;

const COLUMNS: &str =
    "next_not_cached_value BIGINT NOT NULL, minimum_value BIGINT NOT NULL, maximum_value BIGINT NOT NULL,
    start_value BIGINT NOT NULL, increment BIGINT NOT NULL, cache_size BIGINT UNSIGNED NOT NULL,
    cycle_option TINYINT UNSIGNED NOT NULL, cycle_count BIGINT NOT NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_reach_no_sink_and_take_no_table_with_them_on_mariadb() {
    let sandbox = world(Kind::MariaDb, &[]).await;
    let before = |p: &str| {
        format!(
            "CREATE SEQUENCE {p}s0 START WITH 5; CREATE TABLE {p}t0 (id INT PRIMARY KEY, v INT); INSERT INTO {p}t0 VALUES (1, 1);
             CREATE TABLE {p}t3 (a INT PRIMARY KEY); INSERT INTO {p}t3 VALUES (1), (2);
             CREATE TABLE {p}was_table (a INT PRIMARY KEY); INSERT INTO {p}was_table VALUES (1)"
        )
    };
    let later = |p: &str| {
        format!(
            "INSERT INTO {p}t0 VALUES (2, NEXT VALUE FOR {p}s0), (3, NEXT VALUE FOR {p}s0); DO SETVAL({p}s0, 5000);
             INSERT INTO {p}t0 VALUES (4, NEXT VALUE FOR {p}s0);
             DROP SEQUENCE IF EXISTS {p}t3; DROP SEQUENCE IF EXISTS {p}none; INSERT INTO {p}t3 VALUES (3);
             CREATE OR REPLACE SEQUENCE {p}was_table; DO NEXTVAL({p}was_table);
             CREATE SEQUENCE {p}s1; ALTER SEQUENCE {p}s1 RESTART 100; DO NEXTVAL({p}s1); ALTER TABLE {p}s1 ENGINE=MyISAM;
             INSERT INTO {p}s1 VALUES (1, 1, 9223372036854775806, 1, 1, 1000, 0, 0); ALTER TABLE {p}s1 COMMENT 'x';
             RENAME TABLE {p}s1 TO {p}s2; ALTER TABLE {p}s2 RENAME TO {p}s3; DO NEXTVAL({p}s3); CREATE OR REPLACE SEQUENCE {p}s3;
             CREATE TABLE {p}s4 ({COLUMNS}) SEQUENCE=1; DO NEXTVAL({p}s4); CREATE TABLE {p}s5 LIKE {p}s3; DO NEXTVAL({p}s5);
             CREATE SEQUENCE {p}s6; DROP TABLE {p}s6; CREATE TABLE {p}s6 (a INT PRIMARY KEY); INSERT INTO {p}s6 VALUES (6);
             CREATE SEQUENCE {p}s7; DO NEXTVAL({p}s7); DROP SEQUENCE {p}s7; CREATE TABLE {p}s7 (a INT PRIMARY KEY); INSERT INTO {p}s7 VALUES (7);
             CREATE TEMPORARY SEQUENCE {p}t3; DROP SEQUENCE {p}t3; CREATE OR REPLACE TEMPORARY SEQUENCE {p}t0; DROP TEMPORARY SEQUENCE {p}t0"
        )
    };
    let (status, compared) = down_and_live(&sandbox, before, later, &[]).await;
    for prefix in ["a_", "b_"] {
        assert_eq!(stated(&status, prefix), ["s6", "s7", "t0", "t3"]);
    }
    assert_eq!(compared.rows, 2 * (1 + 1 + 4 + 3));
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let why = refused(&sandbox, "a_s0");
    assert!(why.contains("is a sequence"), "{why}");
    daemon.stop();
}

/// A table with the columns of a sequence, which is one all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_looks_like_a_sequence_is_copied_on_mariadb() {
    let sandbox = Sandbox::new(Kind::MariaDb).await;
    let before = |p: &str| {
        format!(
            "CREATE SEQUENCE {p}s; CREATE TABLE {p}shaped ({COLUMNS}); INSERT INTO {p}shaped VALUES (1, 1, 9, 1, 1, 1, 0, 0)"
        )
    };
    let later = |p: &str| {
        format!(
            "CREATE TABLE {p}becomes LIKE {p}s; ALTER TABLE {p}becomes SEQUENCE=0; INSERT INTO {p}becomes VALUES (7, 1, 9, 1, 1, 1, 0, 0);
             CREATE TABLE {p}copied SELECT * FROM {p}s; INSERT INTO {p}shaped VALUES (2, 1, 9, 1, 1, 1, 0, 0)"
        )
    };
    let (status, compared) = down_and_live(&sandbox, before, later, &[]).await;
    for prefix in ["a_", "b_"] {
        assert_eq!(stated(&status, prefix), ["becomes", "copied", "shaped"]);
    }
    assert_eq!(compared.rows, 2 * (2 + 1 + 2));
}

both_servers! {
    async fn views_reach_no_sink_whatever_their_names_become(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let before = |p: &str| format!(
            "CREATE TABLE {p}t (a INT PRIMARY KEY); INSERT INTO {p}t VALUES (1), (2); CREATE VIEW {p}v1 AS SELECT * FROM {p}t;
             CREATE TABLE {p}gone (a INT PRIMARY KEY); CREATE VIEW {p}broken AS SELECT * FROM {p}gone; DROP TABLE {p}gone;
             CREATE TABLE {p}turns (a INT PRIMARY KEY); INSERT INTO {p}turns VALUES (1);
             CREATE TABLE {p}moves (a INT PRIMARY KEY); INSERT INTO {p}moves VALUES (5)"
        );
        let later = |p: &str| format!(
            "RENAME TABLE {p}v1 TO {p}v2; CREATE OR REPLACE VIEW {p}v2 AS SELECT a FROM {p}t; RENAME TABLE {p}broken TO {p}broken2;
             INSERT INTO {p}t VALUES (3); DROP VIEW IF EXISTS {p}none;
             DROP TABLE {p}turns; CREATE VIEW {p}turns AS SELECT * FROM {p}t; INSERT INTO {p}t VALUES (4);
             DROP VIEW {p}turns; CREATE TABLE {p}turns (a INT PRIMARY KEY, b INT); INSERT INTO {p}turns VALUES (2, 2);
             CREATE VIEW {p}x AS SELECT * FROM {p}t; RENAME TABLE {p}x TO {p}y, {p}moves TO {p}x; RENAME TABLE {p}y TO {p}moves;
             INSERT INTO {p}x VALUES (6); CREATE TABLE IF NOT EXISTS {p}moves (z INT)"
        );
        let (status, compared) = down_and_live(&sandbox, before, later, &[]).await;
        for prefix in ["a_", "b_"] {
            assert_eq!(stated(&status, prefix), ["t", "turns", "x"]);
        }
        assert_eq!(compared.rows, 2 * (4 + 1 + 2));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        exec(&sandbox, "RENAME TABLE a_broken2 TO a_broken3").await;
        sandbox.caught_up(&mut daemon).await;
        for view in ["a_v2", "a_broken3"] {
            let why = refused(&sandbox, view);
            assert!(why.contains("is a view"), "{why}");
        }
        daemon.stop();
    }
}
