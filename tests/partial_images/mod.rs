//! Sessions that write rows events without every column, and servers that write table maps without full metadata: one table's matter,
//! which is read again, while every other table goes on.

mod conditions; // rows are found by the keys that such events have
mod histories; // what changelogs say of it

use serde_json::{Value, json};

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};
use crate::support::status::{read_of, reads_nothing, table_of};

/// A table that a session writes in part: its columns, its rows, and what the session does.
struct Written {
    table: &'static str,
    columns: &'static str,
    rows: &'static str,
    session: &'static str,
    /// The events have the rows whole between their images, so nothing is read again.
    whole: bool,
}

const MINIMAL: &str = "SET SESSION binlog_row_image = 'MINIMAL'";
const NOBLOB: &str = "SET SESSION binlog_row_image = 'NOBLOB'";
const FULL_NODUP: &str = "SET SESSION binlog_row_image = 'FULL_NODUP'";
const PARTIAL_JSON: &str = "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'";

/// What a session writes on each server, `TABLE` being the table.
fn written(kind: Kind, has_nodup: bool) -> Vec<Written> {
    let case = |table, columns, rows, session| Written { table, columns, rows, session, whole: false };
    let plain = ("id INT PRIMARY KEY, a INT, b TEXT", "(1, 1, 'x'), (2, 2, 'y')");
    let document = "(1, '{\"a\": 1, \"b\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}', 1), (2, '[1]', 2)";
    let mut all = vec![
        case(
            "minimal",
            plain.0,
            plain.1,
            "MINIMAL; UPDATE TABLE SET a = 5 WHERE id = 1; INSERT INTO TABLE (id) VALUES (3); DELETE FROM TABLE WHERE id = 2",
        ),
        case("noblob", plain.0, plain.1, "NOBLOB; UPDATE TABLE SET a = 5 WHERE id = 1"),
        case(
            "blob",
            plain.0,
            plain.1,
            "NOBLOB; UPDATE TABLE SET b = 'new' WHERE id = 1; INSERT INTO TABLE (id) VALUES (3)",
        ),
        case(
            "key_changed",
            plain.0,
            plain.1,
            "MINIMAL; UPDATE TABLE SET id = 7 WHERE id = 1; UPDATE TABLE SET id = id + 100",
        ),
        case(
            "own_key",
            "id INT AUTO_INCREMENT PRIMARY KEY, a INT, b INT",
            "(1, 1, 1)",
            "MINIMAL; INSERT INTO TABLE (a) VALUES (7), (8)",
        ),
        case(
            "default_key",
            "k INT NOT NULL DEFAULT 7, a INT, PRIMARY KEY (k)",
            "(1, 1)",
            "MINIMAL; INSERT INTO TABLE (a) VALUES (5)",
        ),
        case(
            "composite",
            "a INT, b VARCHAR(9), c TIMESTAMP(3) NOT NULL DEFAULT '2020-01-01 00:00:00', d INT, PRIMARY KEY (b, c, a)",
            "(1, 'x', '2020-01-02 00:00:00.5', 1), (1, 'y', '2020-01-02 00:00:00.5', 2), (2, 'x', '2020-01-02 00:00:00.5', 3)",
            "MINIMAL; UPDATE TABLE SET d = d + 1 WHERE a = 1; DELETE FROM TABLE WHERE a = 2; INSERT INTO TABLE (a, b) VALUES (5, 'z')",
        ),
        case(
            "float_key",
            "f DOUBLE PRIMARY KEY, a INT",
            "(1.5, 1), (0.1, 2)",
            "MINIMAL; UPDATE TABLE SET a = 5 WHERE a = 2; DELETE FROM TABLE WHERE a = 1",
        ),
        case(
            "generated",
            "id INT PRIMARY KEY, a INT, v INT AS (a + 1) VIRTUAL, s INT AS (a * 2) STORED, UNIQUE (s)",
            "(1, 1, DEFAULT, DEFAULT)",
            "MINIMAL; UPDATE TABLE SET a = 5",
        ),
        Written {
            // MariaDB writes whole images of a table without a key.
            whole: kind == Kind::MariaDb,
            ..case("keyless_insert", "a INT, b INT, c TEXT", "(1, 1, 'x')", "MINIMAL; INSERT INTO TABLE (b) VALUES (5)")
        },
        case(
            "rolled_back",
            plain.0,
            plain.1,
            "MINIMAL; BEGIN; UPDATE TABLE SET a = 5 WHERE id = 1; ROLLBACK; UPDATE TABLE SET a = 6 WHERE id = 2",
        ),
        case(
            "large",
            "id INT PRIMARY KEY, a INT",
            "(0, 0)",
            "MINIMAL; INSERT INTO TABLE WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 900) SELECT k, k FROM n; UPDATE TABLE SET a = a + 1",
        ),
        Written {
            whole: true,
            ..case(
                "keyless_plain",
                "a INT, b INT, c TEXT",
                "(1, 1, 'x'), (2, 2, 'y')",
                "MINIMAL; UPDATE TABLE SET a = 5 WHERE a = 1; DELETE FROM TABLE WHERE a = 2",
            )
        },
        Written {
            // MariaDB 11 leaves generated columns out of what it updates and deletes.
            whole: !has_nodup,
            ..case(
                "keyless",
                "a INT, b INT, c TEXT, v INT AS (a + b) VIRTUAL, s INT AS (a * 2) STORED",
                "(1, 1, 'x', DEFAULT, DEFAULT), (2, 2, 'y', DEFAULT, DEFAULT)",
                "MINIMAL; UPDATE TABLE SET a = 5 WHERE a = 1; DELETE FROM TABLE WHERE a = 2",
            )
        },
        Written {
            whole: true,
            ..case(
                "all_given",
                "id INT PRIMARY KEY, a INT",
                "(1, 1)",
                "MINIMAL; INSERT INTO TABLE VALUES (2, 2); NOBLOB; UPDATE TABLE SET a = 3",
            )
        },
    ];
    if kind == Kind::MySql {
        let columns = "id INT PRIMARY KEY, j JSON, n INT";
        all.extend([
            case("json", columns, document, "PARTIAL_JSON; UPDATE TABLE SET j = JSON_SET(j, '$.a', 2) WHERE id = 1"),
            case(
                "json_minimal",
                columns,
                document,
                "PARTIAL_JSON; MINIMAL; UPDATE TABLE SET j = JSON_SET(j, '$.a', 2), n = 9",
            ),
            Written {
                whole: true,
                ..case(
                    "json_beside",
                    columns,
                    document,
                    "PARTIAL_JSON; UPDATE TABLE SET n = 9; UPDATE TABLE SET j = '[]' WHERE id = 2",
                )
            },
        ]);
    } else {
        all.push(case(
            "hashed",
            "id INT PRIMARY KEY, t TEXT, b INT, UNIQUE (t)",
            "(1, 'a', 1), (2, 'b', 2)",
            "MINIMAL; UPDATE TABLE SET t = CONCAT(t, 'x'); DELETE FROM TABLE WHERE id = 2",
        ));
        all.push(case("compressed", plain.0, plain.1, "SET GLOBAL log_bin_compress = ON; SET GLOBAL log_bin_compress_min_len = 10; MINIMAL; INSERT INTO TABLE (id, b) VALUES (9, REPEAT('c', 300)); SET GLOBAL log_bin_compress = OFF"));
    }
    if has_nodup {
        let columns = "id INT PRIMARY KEY, t TEXT, b INT, UNIQUE (t)";
        all.push(Written { whole: true, ..case("nodup", columns, "(1, 'a', 1), (2, NULL, 2)", "FULL_NODUP; UPDATE TABLE SET b = b + 1; UPDATE TABLE SET id = id + 10, t = NULL; DELETE FROM TABLE WHERE id = 12") });
        all.push(case(
            "nodup_generated",
            "id INT PRIMARY KEY, a INT, v INT AS (a + 1) VIRTUAL",
            "(1, 1, DEFAULT)",
            "FULL_NODUP; UPDATE TABLE SET a = 5",
        ));
    }
    all
}

impl Written {
    async fn create(&self, sandbox: &Sandbox) {
        let Self { table, columns, rows, .. } = self;
        sandbox
            .server
            .exec(format!("USE {DATABASE}; CREATE TABLE `{table}` ({columns}); INSERT INTO `{table}` VALUES {rows}"))
            .await;
    }

    async fn write(&self, sandbox: &Sandbox) {
        let sql = self
            .session
            .replace("FULL_NODUP", FULL_NODUP)
            .replace("MINIMAL", MINIMAL)
            .replace("PARTIAL_JSON", PARTIAL_JSON);
        let sql = sql.replace("NOBLOB", NOBLOB).replace("TABLE", &format!("`{}`", self.table));
        sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
    }

    /// How many reads there were of the table.
    fn reads(&self, status: &Value) -> u64 {
        table_of(status, &format!("{DATABASE}.{}", self.table))["reads"].as_u64().unwrap()
    }
}

/// Whether the server knows `binlog_row_image=FULL_NODUP`.
async fn has_nodup(sandbox: &Sandbox, kind: Kind) -> bool {
    let version: String = sandbox.server.query_one("SELECT VERSION()").await;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    kind == Kind::MariaDb && (numbers.next().unwrap(), numbers.next().unwrap()) >= (11, 4)
}

fn assert_balanced(status: &Value) {
    for table in status["tables"].as_array().unwrap() {
        let count = |name: &str| table[name].as_u64().unwrap();
        assert_eq!(count("read"), count("appended") + count("filtered") + count("left_out"), "{table:#}");
        assert_eq!(table["state"], "complete", "{table:#}");
    }
}

both_servers! {
    async fn whatever_a_session_tells_in_part_the_copy_equals_the_source(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let written = written(kind, has_nodup(&sandbox, kind).await);
        for case in &written {
            case.create(&sandbox).await;
        }
        sandbox.run_once();
        let mut daemon = sandbox.start();
        let before = sandbox.caught_up(&mut daemon).await;
        for case in &written {
            case.write(&sandbox).await;
        }
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored().await;
        assert_balanced(&status);
        for case in &written {
            assert_eq!(case.reads(&status) == case.reads(&before), case.whole, "{}: {}", case.table, daemon.log());
        }
    }

    async fn what_was_told_in_part_while_nobody_read_is_read_again(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let written = written(kind, has_nodup(&sandbox, kind).await);
        for case in &written {
            case.create(&sandbox).await;
        }
        sandbox.run_once();
        for case in &written {
            case.write(&sandbox).await;
        }
        sandbox.run_once();
        // A read that was asked for at the end of the run.
        sandbox.run_once();

        sandbox.assert_mirrored().await;
    }

    async fn a_table_that_is_told_in_part_is_read_and_named_while_the_others_go_on(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, a INT); CREATE TABLE other (id INT PRIMARY KEY, a INT);
             INSERT INTO t WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 300) SELECT k, k FROM n"
        )).await;
        sandbox.run_once();
        // Slow enough to be seen.
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 20, "max_rows_per_second": 100 }));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        sandbox.server.exec(format!(
            "USE {DATABASE}; BEGIN; INSERT INTO other VALUES (1, 1); {MINIMAL}; UPDATE t SET a = 0;
             SET SESSION binlog_row_image = 'FULL'; INSERT INTO other VALUES (2, 2); COMMIT"
        )).await;
        let name = format!("{DATABASE}.t");
        let seen = daemon.wait_until("it is read", |status| !read_of(status, &name).is_null()).await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.other VALUES (3, 3)")).await;
        let others = daemon.wait_until("the other table goes on", |status| {
            table_of(status, &format!("{DATABASE}.other"))["applied"]["local"] == 3
        }).await;

        assert!(read_of(&seen, &name)["why"].as_str().unwrap().contains("binlog_row_image"), "{seen:#}");
        assert_eq!(table_of(&seen, &name)["reach"], "keys", "{seen:#}");
        assert!(!read_of(&others, &name).is_null(), "the read of the table held up the other one: {others:#}");
        assert_eq!(table_of(&others, &format!("{DATABASE}.other"))["state"], "complete", "{others:#}");
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, 303);
    }

    async fn metadata_that_is_missing_for_a_while_and_agrees_with_what_is_known_is_no_doubt(kind: Kind) {
        let mut sandbox = Sandbox::on(ServerOptions::new(kind).with_row_metadata("FULL").start().await).await;
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, a INT); CREATE TABLE other (id INT PRIMARY KEY, a INT);
             INSERT INTO t WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 300) SELECT k, k FROM n"
        )).await;
        sandbox.run_once();
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 20, "max_rows_per_second": 100 }));
        let mut daemon = sandbox.start();
        let before = sandbox.caught_up(&mut daemon).await;

        sandbox.server.exec(format!(
            "USE {DATABASE}; INSERT INTO other VALUES (1, 1); SET GLOBAL binlog_row_metadata = 'MINIMAL'; UPDATE t SET a = 0 WHERE id < 9;
             DELETE FROM t WHERE id > 290; SET GLOBAL binlog_row_metadata = 'FULL'; INSERT INTO other VALUES (2, 2)"
        )).await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(reads_nothing(&status), "{status:#}");
        let reads = |status: &Value, table: &str| table_of(status, &format!("{DATABASE}.{table}"))["reads"].as_u64().unwrap();
        assert_eq!(reads(&status, "other"), reads(&before, "other"), "{status:#}");
        assert_eq!(reads(&status, "t"), reads(&before, "t"), "{status:#}");
        assert_eq!(sandbox.assert_mirrored().await.rows, 292);
    }
}
