//! Renames that change nothing, and definitions that come to the sinks without a row after them.

use super::{assert_mirrors, down_and_live, exec, world};

both_servers! {
    async fn a_table_that_is_renamed_to_its_own_name_stays_as_it_is(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let tables = ["alone", "with_more", "there_and_back", "at_once", "outside"];
        let before = |p: &str| tables.map(|table| format!("CREATE TABLE {p}{table} (a INT PRIMARY KEY, b INT); INSERT INTO {p}{table} VALUES (1, 1);")).concat();
        let later = |p: &str| format!(
            "CREATE DATABASE IF NOT EXISTS other;
             ALTER TABLE {p}alone RENAME TO {p}alone; INSERT INTO {p}alone VALUES (2, 2);
             ALTER TABLE {p}with_more RENAME AS shop.{p}with_more, ADD COLUMN c INT DEFAULT 7, RENAME COLUMN b TO d; INSERT INTO {p}with_more VALUES (2, 2, 2);
             RENAME TABLE {p}there_and_back TO {p}away; RENAME TABLE {p}away TO {p}there_and_back; INSERT INTO {p}there_and_back VALUES (2, 2);
             RENAME TABLE {p}at_once TO {p}away, {p}away TO {p}at_once; INSERT INTO {p}at_once VALUES (2, 2);
             RENAME TABLE {p}outside TO other.{p}outside, other.{p}outside TO {p}outside; INSERT INTO {p}outside VALUES (2, 2)"
        );
        let (_, compared) = down_and_live(&sandbox, before, later, &[]).await;
        assert_eq!(compared.rows, 2 * 2 * tables.len());
        for table in tables {
            let read: i64 = crate::support::cells::open_sqlite(&sandbox.changelog())
                .query_row(&format!("SELECT COUNT(*) FROM b_{table} WHERE _op = 'snapshot'"), [], |row| row.get(0))
                .unwrap();
            assert_eq!(read, 1, "{table} is read once");
        }
    }

    async fn a_definition_reaches_the_sinks_when_no_row_comes_after_it(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let tables = ["a", "b", "c", "d", "e", "f", "g", "g2", "i", "j", "k", "l"];
        let before = |p: &str| tables.map(|table| format!(
            "CREATE TABLE {p}{table} (id INT PRIMARY KEY, v INT, e ENUM('a', 'b'), w VARCHAR(5)); INSERT INTO {p}{table} VALUES (1, 10, 'b', 'p'), (2, 20, 'a', 'q');"
        )).concat();
        let later = |p: &str| format!(
            "ALTER TABLE {p}a ADD COLUMN x INT DEFAULT 5; RENAME TABLE {p}a TO {p}a_new;
             ALTER TABLE {p}b ADD COLUMN x INT DEFAULT 5, RENAME TO {p}b_new;
             ALTER TABLE {p}c MODIFY v VARCHAR(20); RENAME TABLE {p}c TO {p}c_new;
             ALTER TABLE {p}d DROP COLUMN v; ALTER TABLE {p}d RENAME TO {p}d_new;
             ALTER TABLE {p}e MODIFY e ENUM('b', 'a'); RENAME TABLE {p}e TO {p}e_new;
             ALTER TABLE {p}f ADD COLUMN x INT DEFAULT 5; RENAME TABLE {p}f TO {p}f_tmp; RENAME TABLE {p}f_tmp TO {p}f;
             ALTER TABLE {p}g ADD COLUMN x INT DEFAULT 5; RENAME TABLE {p}g TO {p}g_tmp, {p}g2 TO {p}g, {p}g_tmp TO {p}g2;
             ALTER TABLE {p}i CHANGE v vv INT; RENAME TABLE {p}i TO {p}i_new;
             ALTER TABLE {p}j DROP PRIMARY KEY, ADD COLUMN pk INT NOT NULL AUTO_INCREMENT PRIMARY KEY FIRST; RENAME TABLE {p}j TO {p}j_new;
             ALTER TABLE {p}k ADD COLUMN x INT DEFAULT 5; ALTER TABLE {p}k DROP COLUMN x, ADD COLUMN y INT DEFAULT 6;
             ALTER TABLE {p}l ADD COLUMN x INT DEFAULT 5; TRUNCATE TABLE {p}l;
             CREATE TABLE {p}m (id INT PRIMARY KEY); ALTER TABLE {p}m ADD COLUMN x INT; ALTER TABLE {p}m ADD COLUMN y INT FIRST;
             CREATE TABLE {p}n (id INT PRIMARY KEY); RENAME TABLE {p}n TO {p}o"
        );
        let (_, compared) = down_and_live(&sandbox, before, later, &[]).await;
        assert_eq!((compared.tables, compared.rows), (2 * 14, 2 * 22));
    }

    /// Columns, key and kind of a table are described as of one moment: no definition without its key, however fast they change.
    async fn a_table_that_is_altered_while_it_is_described_keeps_its_key(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let make = [0, 1, 2, 3, 4, 5].map(|n| format!("CREATE TABLE t{n} (id0 INT PRIMARY KEY, v INT); INSERT INTO t{n} VALUES (1, 1);")).concat();
        exec(&sandbox, &make).await;
        sandbox.run_once();
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for step in 1..=3 {
            let alter = [0, 1, 2, 3, 4, 5].map(|n| format!(
                "ALTER TABLE t{n} CHANGE id{} id{step} INT; INSERT INTO t{n} VALUES ({}, {step});", step - 1, step + 1
            )).concat();
            exec(&sandbox, &alter).await;
        }
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(status["health"]["status"], "ok", "{:#}", status["health"]);
        assert_eq!(assert_mirrors(&sandbox, &[]).await.rows, 6 * 4);
    }
}
