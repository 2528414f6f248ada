//! What the server makes of the rows of a table when a column of it is defined otherwise: the copy has it, too.

mod matrix;

use serde_json::json;

use crate::support::cells::open_sqlite;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};

/// A table: its columns, its rows, the statements that define it otherwise, and whether one of them makes the copies wrong.
struct Case {
    table: &'static str,
    columns: &'static str,
    rows: &'static str,
    alters: &'static [&'static str],
    expected: Read,
}

/// What a change of a definition has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// Nothing: the copy is right as it is.
    Not,
    /// The rows are read over what is there.
    Values,
    /// The rows that are read take the place of what is there.
    Replace,
}

const fn case(
    table: &'static str,
    columns: &'static str,
    rows: &'static str,
    alters: &'static [&'static str],
    expected: Read,
) -> Case {
    Case { table, columns, rows, alters, expected }
}

/// What both servers take.
const CASES: &[Case] = &[
    case(
        "g_expression",
        "id INT PRIMARY KEY, a INT, g INT AS (a * 2) STORED",
        "(id, a) VALUES (1, 5), (2, 6)",
        &["MODIFY g INT AS (a * 3) STORED"],
        Read::Values,
    ),
    case(
        "g_virtual",
        "id INT PRIMARY KEY, a INT, g INT AS (a + 1) VIRTUAL",
        "(id, a) VALUES (1, 5), (2, 6)",
        &["MODIFY g INT AS (a + 7) VIRTUAL"],
        Read::Values,
    ),
    case(
        "g_becomes",
        "id INT PRIMARY KEY, a INT, g INT",
        "VALUES (1, 5, 9), (2, 6, 9)",
        &["MODIFY g INT AS (a + 1) STORED"],
        Read::Values,
    ),
    case(
        "g_renamed",
        "id INT PRIMARY KEY, a INT, b INT",
        "VALUES (1, 5, 9), (2, 6, 9)",
        &["MODIFY b INT AS (a) STORED", "CHANGE b bb INT AS (a + 1000) STORED"],
        Read::Values,
    ),
    case(
        "g_stays",
        "id INT PRIMARY KEY, a INT, g INT AS (a * 2) STORED",
        "(id, a) VALUES (1, 5), (2, 6)",
        &["ADD c INT DEFAULT 7", "MODIFY a INT COMMENT 'x'"],
        Read::Not,
    ),
    case(
        "g_back",
        "id INT PRIMARY KEY, a INT, g INT AS (a * 2) STORED",
        "(id, a) VALUES (1, 5), (2, 6)",
        &["MODIFY g INT", "DROP COLUMN a"],
        Read::Values,
    ),
    case(
        "g_keyless",
        "a INT, g INT AS (a * 2) STORED",
        "(a) VALUES (5), (6)",
        &["MODIFY g INT AS (a * 5) STORED"],
        Read::Replace,
    ),
    case(
        "counted",
        "a INT PRIMARY KEY, id INT NOT NULL",
        "VALUES (1, 0)",
        &["MODIFY id INT NOT NULL AUTO_INCREMENT, ADD UNIQUE KEY (id)"],
        Read::Values,
    ),
    case(
        "counted_key",
        "id INT NOT NULL, v INT",
        "VALUES (0, 10), (0, 20), (5, 30)",
        &["MODIFY id INT NOT NULL AUTO_INCREMENT PRIMARY KEY"],
        Read::Replace,
    ),
    case(
        "counted_no_more",
        "id INT AUTO_INCREMENT PRIMARY KEY, v INT",
        "VALUES (1, 10), (2, 20)",
        &["MODIFY id INT NOT NULL"],
        Read::Not,
    ),
    case(
        "counted_again",
        "id INT PRIMARY KEY, v INT",
        "VALUES (0, 10), (2, 20)",
        &["MODIFY id INT NOT NULL AUTO_INCREMENT"],
        Read::Replace,
    ),
    case(
        "rounded",
        "id INT PRIMARY KEY, d DOUBLE, f FLOAT",
        "VALUES (1, 1.23456, 1.23456)",
        &["MODIFY d DOUBLE(10,1)", "MODIFY f FLOAT(7,1)"],
        Read::Values,
    ),
    case(
        "rounded_key",
        "d DOUBLE PRIMARY KEY, v INT",
        "VALUES (1.23456, 1), (2.5, 2)",
        &["MODIFY d DOUBLE(10,1)"],
        Read::Replace,
    ),
    case(
        "no_sign",
        "id INT PRIMARY KEY, d DECIMAL(10,2), e DOUBLE",
        "VALUES (1, -1.5, -1.5)",
        &["MODIFY d DECIMAL(10,2) UNSIGNED", "MODIFY e DOUBLE UNSIGNED"],
        Read::Values,
    ),
    case(
        "spaces",
        "id INT PRIMARY KEY, s VARCHAR(10)",
        "VALUES (1, 'a  '), (2, 'b')",
        &["MODIFY s CHAR(10)"],
        Read::Values,
    ),
    case(
        "spaces_key",
        "s VARCHAR(10) PRIMARY KEY, v INT",
        "VALUES ('a ', 1), ('b', 2)",
        &["MODIFY s CHAR(10)"],
        Read::Replace,
    ),
    case(
        "padded_key",
        "b BINARY(3) PRIMARY KEY, v INT",
        "VALUES ('ab', 1), ('c', 2)",
        &["MODIFY b BINARY(5)"],
        Read::Replace,
    ),
    case("zeros", "id INT PRIMARY KEY, z INT(5) ZEROFILL", "VALUES (1, 7)", &["MODIFY z VARCHAR(40)"], Read::Values),
    case(
        "zeros_key",
        "z INT(5) ZEROFILL PRIMARY KEY, v INT",
        "VALUES (7, 1)",
        &["MODIFY z VARCHAR(40)"],
        Read::Replace,
    ),
    case(
        "moment_key",
        "d DATETIME PRIMARY KEY, v INT",
        "VALUES ('1997-11-30 12:30:45', 1)",
        &["MODIFY d TIMESTAMP(6)"],
        Read::Replace,
    ),
    case(
        "fraction_key",
        "d DATETIME(6) PRIMARY KEY, v INT",
        "VALUES ('2020-01-02 03:04:05.6', 1)",
        &["MODIFY d DATETIME"],
        Read::Replace,
    ),
    case(
        "scale_key",
        "d DECIMAL(10,2) PRIMARY KEY, v INT",
        "VALUES (1.5, 1), (1.25, 2)",
        &["MODIFY d DECIMAL(12,0)"],
        Read::Replace,
    ),
    case(
        "label_key",
        "e ENUM('a', 'b') PRIMARY KEY, v INT",
        "VALUES ('a', 1), ('b', 2)",
        &["MODIFY e ENUM('b', 'a')"],
        Read::Replace,
    ),
    case(
        "collation_key",
        "s VARCHAR(10) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT",
        "VALUES ('a', 1), ('b', 2)",
        &["MODIFY s VARCHAR(10) COLLATE utf8mb4_bin"],
        Read::Replace,
    ),
    case(
        "longer_key",
        "s VARCHAR(10) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT",
        "VALUES ('a', 1), ('b', 2)",
        &["MODIFY s VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL"],
        Read::Not,
    ),
    case("wider_key", "id INT PRIMARY KEY, v INT", "VALUES (1, 1), (2, 2)", &["MODIFY id BIGINT NOT NULL"], Read::Not),
    case(
        "renamed_key",
        "id INT PRIMARY KEY, v INT",
        "VALUES (1, 1), (2, 2)",
        &["CHANGE id no INT NOT NULL"],
        Read::Not,
    ),
    case(
        "default_of_key",
        "id INT PRIMARY KEY, v INT",
        "VALUES (1, 1), (2, 2)",
        &["ALTER id SET DEFAULT 5", "ADD INDEX (v)", "ADD w INT NOT NULL DEFAULT 3"],
        Read::Not,
    ),
    case("null_key", "id INT, v INT", "VALUES (1, 1), (2, 2)", &["ADD PRIMARY KEY (id)"], Read::Replace),
    case(
        "there_and_back",
        "id INT PRIMARY KEY, v INT",
        "VALUES (1, 300), (2, 2)",
        &["MODIFY v TINYINT", "MODIFY v INT"],
        Read::Values,
    ),
];

fn at(sql: &str) -> String {
    // Not strict: what does not fit is cut to what does.
    format!("USE {DATABASE}; SET sql_mode = ''; {sql}")
}

async fn make(sandbox: &Sandbox, suffix: &str) {
    for Case { table, columns, rows, .. } in CASES {
        sandbox.server.exec(at(&format!("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; CREATE TABLE {table}{suffix} ({columns}) CHARSET utf8mb4; INSERT INTO {table}{suffix} {rows}"))).await;
    }
}

async fn alter(sandbox: &Sandbox, suffix: &str) {
    for Case { table, alters, .. } in CASES {
        let alters: Vec<_> = alters.iter().map(|alter| format!("ALTER TABLE {table}{suffix} {alter}")).collect();
        sandbox.server.exec(at(&alters.join("; "))).await;
    }
}

/// How many times the changelog of a table was begun again, and how many rows were read into it.
fn reads(sandbox: &Sandbox, table: &str) -> (u32, u32) {
    let count = |op: &str| {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE _op = '{op}'");
        open_sqlite(&sandbox.changelog()).query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    (count("replace"), count("snapshot"))
}

both_servers! {
    async fn rows_are_read_again_where_the_server_made_something_else_of_them(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        sandbox.with_changelog();
        make(&sandbox, "").await;
        sandbox.run_once();
        let before: Vec<_> = CASES.iter().map(|case| reads(&sandbox, case.table)).collect();
        alter(&sandbox, "").await;
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        for (case, before) in CASES.iter().zip(before) {
            let after = reads(&sandbox, case.table);
            let read = match (after.0 > before.0, after.1 > before.1) {
                (true, _) => Read::Replace,
                (false, true) => Read::Values,
                (false, false) => Read::Not,
            };
            assert_eq!(read, case.expected, "{}: {:?}", case.table, case.alters);
        }

        // While the daemon runs, and with rows behind each statement.
        let mut daemon = sandbox.start();
        make(&sandbox, "_live").await;
        sandbox.caught_up(&mut daemon).await;
        alter(&sandbox, "_live").await;
        for Case { table, .. } in CASES {
            for table in [(*table).to_owned(), format!("{table}_live")] {
                sandbox.server.exec(at(&format!("DELETE FROM {table} LIMIT 1"))).await;
            }
        }
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.assert_mirrored().await;
        assert_eq!(status["health"]["status"], json!("ok"), "{:#}", status["health"]);
        sandbox.run_once();
        sandbox.assert_mirrored().await;
    }
}

both_servers! {
    async fn a_statement_that_is_not_understood_has_the_rows_take_the_place_of_those_that_are_there(kind: Kind) {
        // Without names in the binlog, rows that wait for them may be left out, and the table is read once more.
        let mut sandbox = Sandbox::on(ServerOptions::new(kind).with_row_metadata("FULL").start().await).await;
        sandbox.with_changelog();
        for table in ["t", "u"] {
            sandbox.server.exec(at(&format!("CREATE TABLE {table} (s VARCHAR(10) PRIMARY KEY, v INT); INSERT INTO {table} VALUES ('a ', 1), ('b', 2)"))).await;
        }
        sandbox.run_once();
        // An option of the table without its `=` is not known here.
        let option = match kind {
            Kind::MySql => "AUTOEXTEND_SIZE 4M",
            Kind::MariaDb => "PAGE_CHECKSUM 1",
        };
        sandbox.server.exec(at(&format!("ALTER TABLE t MODIFY s CHAR(10), {option}; UPDATE t SET v = 7 WHERE s = 'a'; ALTER TABLE u {option}"))).await;
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        for table in ["t", "u"] {
            assert_eq!(reads(&sandbox, table), (1, 4), "{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_key_is_computed_from_changes_the_key_on_mysql() {
    let sandbox = Sandbox::with_every_sink_on(ServerOptions::new(Kind::MySql).start().await).await;
    for table in ["g_key", "g_under_key"] {
        sandbox.server.exec(at(&format!("CREATE TABLE {table} (a INT, g INT AS (a * 2) STORED NOT NULL, PRIMARY KEY (g)); INSERT INTO {table} (a) VALUES (300), (301)"))).await;
    }
    sandbox.run_once();
    sandbox.server.exec(at("ALTER TABLE g_key MODIFY g INT AS (a * 5) STORED NOT NULL; DELETE FROM g_key WHERE a = 300; UPDATE g_key SET a = 7")).await;
    sandbox.server.exec(at("DELETE FROM g_under_key WHERE a = 301; ALTER TABLE g_under_key MODIFY a TINYINT; INSERT INTO g_under_key (a) VALUES (1)")).await;
    sandbox.run_once();
    let compared = sandbox.assert_mirrored().await;
    assert_eq!(sandbox.assert_mirrored_to_clickhouse().await, compared);
}
