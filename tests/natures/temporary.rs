//! Temporary tables that have the name of a captured table, or a name that is captured.

use super::{down_and_live, world};
use crate::support::server::Kind;

both_servers! {
    async fn statements_about_temporary_tables_change_no_table_of_their_names(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let tables = ["b", "c", "d"];
        let before = |p: &str| tables.map(|table| format!("CREATE TABLE {p}{table} (id INT PRIMARY KEY, v INT); INSERT INTO {p}{table} VALUES (1, 1), (2, 2);")).concat();
        // MySQL writes nothing of them in MIXED.
        let formats = if kind == Kind::MariaDb { ["ROW", "MIXED"] } else { ["ROW", "STATEMENT"] };
        let later = |p: &str| formats.map(|format| {
            let mut sql = format!(
                "SET SESSION binlog_format = {format};
                 CREATE TEMPORARY TABLE {p}b (x INT); ALTER TABLE {p}b ADD y INT; CREATE INDEX i ON {p}b (x); DROP INDEX i ON {p}b;
                 INSERT INTO {p}b VALUES (1, 1); UPDATE {p}b SET x = 5; ALTER TABLE {p}b RENAME TO {p}b2; ALTER TABLE {p}b2 RENAME TO {p}b; TRUNCATE TABLE {p}b; DROP TABLE {p}b;
                 CREATE TEMPORARY TABLE {p}alone (x INT); INSERT INTO {p}alone VALUES (1); ALTER TABLE {p}alone ADD y INT; ALTER TABLE {p}alone RENAME TO {p}alone2; DELETE FROM {p}alone2; TRUNCATE {p}alone2; DROP TABLE {p}alone2;
                 CREATE TEMPORARY TABLE {p}c LIKE {p}d; ALTER TABLE {p}c DROP COLUMN v; CREATE TABLE {p}like_{format} LIKE {p}c; DROP TEMPORARY TABLE {p}c;
                 CREATE TEMPORARY TABLE {p}d (x INT);"
            );
            if kind == Kind::MariaDb {
                // Written as that of a table, in row format too.
                let renamed = format!(
                    "RENAME TABLE {p}d TO {p}d2; RENAME TABLE {p}d2 TO {p}d; RENAME TABLE {p}d TO {p}d3; DROP TABLE {p}d3; CREATE TEMPORARY TABLE {p}d (x INT);
                     CREATE TEMPORARY TABLE {p}only (x INT); RENAME TABLE {p}only TO {p}only2; DROP TABLE {p}only2;"
                );
                sql.push_str(&renamed);
            }
            let end = format!("DROP TEMPORARY TABLE {p}d; SET SESSION binlog_format = ROW; INSERT INTO {p}b VALUES ({n}, 3); INSERT INTO {p}d VALUES ({n}, 3);", n = 10 + format.len());
            sql.push_str(&end);
            sql
        }).concat();
        let (_, compared) = down_and_live(&sandbox, before, later, &[]).await;
        assert_eq!((compared.tables, compared.rows), (2 * 5, 2 * (4 + 2 + 4)));
    }

    /// Every later statement of the procedure is flagged, though it is about a table.
    async fn statements_of_a_procedure_that_used_a_temporary_table_are_followed(kind: Kind) {
        let sandbox = world(kind, &[]).await;
        let before = |p: &str| format!(
            "CREATE TABLE {p}t (a INT PRIMARY KEY, b INT); INSERT INTO {p}t VALUES (1, 1); CREATE TABLE {p}u (a INT PRIMARY KEY); INSERT INTO {p}u VALUES (1), (2);
             CREATE TABLE {p}w (a INT PRIMARY KEY); INSERT INTO {p}w VALUES (1);
             CREATE PROCEDURE {p}p() BEGIN CREATE TEMPORARY TABLE {p}x (a INT); INSERT INTO {p}x VALUES (1);
                 ALTER TABLE {p}t ADD COLUMN c INT DEFAULT 5, CHANGE b d INT; TRUNCATE TABLE {p}u; INSERT INTO {p}u SELECT * FROM {p}x;
                 RENAME TABLE {p}w TO {p}w2; ALTER TABLE {p}w2 RENAME TO {p}w3; DROP TEMPORARY TABLE {p}x; END"
        );
        let later = |p: &str| format!("CALL {p}p(); INSERT INTO {p}u VALUES (9); INSERT INTO {p}w3 VALUES (2)");
        let (_, compared) = down_and_live(&sandbox, before, later, &[]).await;
        assert_eq!((compared.tables, compared.rows), (2 * 3, 2 * (1 + 2 + 2)));
    }
}
