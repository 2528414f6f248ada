//! Rows that are written through a MERGE table are in the tables that it consists of.

use super::{down_and_live, stated, world};
use crate::support::sandbox::{DATABASE, Sandbox};
use serde_json::json;

const MEMBER: &str = "(c INT PRIMARY KEY, v INT) ENGINE=MyISAM";

both_servers! {
    async fn rows_written_through_a_merge_table_reach_the_copies_of_its_members(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let members = ["a", "b", "w", "x", "y", "z"];
        let before = |p: &str| format!(
            "{} CREATE TABLE {p}m (c INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=({p}a, {p}b) INSERT_METHOD=LAST;
             CREATE TABLE {p}n (c INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=({p}y) INSERT_METHOD=FIRST;
             CREATE TABLE {p}innodb (c INT PRIMARY KEY, v INT); INSERT INTO {p}innodb VALUES (1, 1)",
            members.map(|table| format!("CREATE TABLE {p}{table} {MEMBER};")).concat()
        );
        let later = |p: &str| format!(
            "INSERT INTO {p}m VALUES (1, 1), (2, 2); INSERT INTO {p}a VALUES (3, 3); UPDATE {p}m SET v = 30 WHERE c IN (1, 3); DELETE FROM {p}m WHERE c = 2;
             INSERT INTO {p}w VALUES (1, 1), (2, 2); CREATE TABLE {p}late (c INT PRIMARY KEY, v INT) ENGINE=MRG_MyISAM UNION=({p}w) INSERT_METHOD=FIRST;
             INSERT INTO {p}late VALUES (4, 4); DELETE FROM {p}late WHERE c = 1; DROP TABLE {p}late;
             INSERT INTO {p}x VALUES (1, 1); CREATE TABLE {p}emptied (c INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=({p}x); TRUNCATE TABLE {p}emptied;
             INSERT INTO {p}y VALUES (1, 1), (2, 2); TRUNCATE TABLE {p}n; INSERT INTO {p}n VALUES (3, 3);
             ALTER TABLE {p}n UNION=({p}z); INSERT INTO {p}n VALUES (5, 5); ALTER TABLE {p}n RENAME TO {p}o; INSERT INTO {p}o VALUES (6, 6);
             CREATE TABLE {p}unopened (c INT) ENGINE=MERGE UNION=(none); INSERT INTO {p}innodb VALUES (2, 2);
             CREATE TABLE {p}turns LIKE {p}m; ALTER TABLE {p}turns ENGINE=MyISAM UNION=()"
        );
        let left_out = ["m", "n", "o", "late", "emptied", "unopened"];
        let (status, compared) = down_and_live(&sandbox, before, later, &left_out).await;
        for prefix in ["a_", "b_"] {
            assert_eq!(stated(&status, prefix), ["a", "b", "emptied", "innodb", "m", "o", "turns", "unopened", "w", "x", "y", "z"]);
        }
        let turned: usize = sandbox.server.query_one(format!("SELECT COUNT(*) FROM {DATABASE}.a_turns")).await;
        assert_eq!(compared.rows, 2 * (1 + 1 + 2 + 1 + 2 + 2 + turned));
    }

    /// The MERGE table is not captured: its rows are passed over, and its members are captured.
    async fn rows_written_through_a_merge_table_that_is_not_captured_reach_the_copies(kind: Kind) {
        let mut sandbox = Sandbox::with_every_sink(kind).await;
        sandbox.set("/source/exclude", json!([format!("{DATABASE}.*merged"), format!("{DATABASE}.*plain")]));
        let before = |p: &str| format!(
            "CREATE DATABASE IF NOT EXISTS other; CREATE TABLE {p}a {MEMBER}; CREATE TABLE {p}b {MEMBER}; CREATE TABLE {p}quiet (c INT PRIMARY KEY, v INT);
             CREATE TABLE other.{p}out (c INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=({p}a) INSERT_METHOD=LAST;
             CREATE TABLE {p}merged (c INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=({p}b) INSERT_METHOD=LAST;
             CREATE TABLE {p}plain (c INT PRIMARY KEY, v INT);
             CREATE TRIGGER {p}tr AFTER INSERT ON {p}plain FOR EACH ROW INSERT INTO {p}quiet SELECT new.c, new.v FROM DUAL WHERE new.c > 5"
        );
        let later = |p: &str| format!(
            "INSERT INTO other.{p}out VALUES (1, 1); INSERT INTO {p}merged VALUES (1, 1), (2, 2); DELETE FROM {p}merged WHERE c = 1;
             INSERT INTO {p}plain VALUES (1, 1); INSERT INTO {p}plain VALUES (6, 6); DROP TABLE other.{p}out"
        );
        let (status, compared) = down_and_live(&sandbox, before, later, &["merged", "plain"]).await;
        assert_eq!(compared.rows, 2 * (1 + 1 + 1));
        assert_eq!(stated(&status, "b_"), ["a", "b", "quiet"]);
    }
}
