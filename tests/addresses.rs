//! MariaDB's `UUID`, `INET6` and `INET4`: every value in both sinks, from the snapshot and from the stream, though the binlog
//! calls their columns `BINARY`.

use serde_json::json;

use crate::support::compare::Compared;
use crate::support::history::{assert_history, assert_history_in_clickhouse};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::workload::Workload;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Sqlite,
    ClickHouse,
}

const SINKS: [Sink; 2] = [Sink::Sqlite, Sink::ClickHouse];

async fn sandbox(sink: Sink) -> Sandbox {
    match sink {
        Sink::Sqlite => Sandbox::new(Kind::MariaDb).await,
        Sink::ClickHouse => Sandbox::with_clickhouse(Kind::MariaDb).await,
    }
}

async fn assert_mirrored(sandbox: &Sandbox, sink: Sink) -> Compared {
    match sink {
        Sink::Sqlite => sandbox.assert_mirrored().await,
        Sink::ClickHouse => sandbox.assert_mirrored_to_clickhouse().await,
    }
}

async fn run(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// One row of each kind: nothing but zeros, zeros at the end, the largest, a form of the text that is MariaDB's own, NULL.
const VALUES: [(&str, &str, &str); 12] = [
    ("'00000000-0000-0000-0000-000000000000'", "'::'", "'0.0.0.0'"),
    ("'12345678-9abc-1ef0-8234-567890abcd00'", "'2001:db8::'", "'10.0.0.0'"),
    ("'12345678-9ABC-4000-8000-000000000000'", "'1::'", "'1.2.3.0'"),
    ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'255.255.255.255'"),
    ("'00000000-0000-1000-8000-000000000001'", "'::1'", "'0.0.0.1'"),
    ("NULL", "NULL", "NULL"),
    ("UUID()", "'::ffff:1.2.3.4'", "'1.2.3.4'"),
    ("UUID()", "'::1.2.3.0'", "NULL"),
    ("NULL", "'::0.1.0.0'", "'0.1.0.0'"),
    ("'0f0f0f0f-0f0f-7f0f-8f0f-0f0f0f0f0f00'", "'1:2:3:4:5:6:0:8'", "'0.0.1.0'"),
    ("UUID()", "'1:0:0:2:0:0:0:3'", "'127.0.0.1'"),
    ("UUID()", "'::ffff:0:0'", "'192.0.2.0'"),
];

async fn fill(sandbox: &Sandbox, from: usize) {
    let rows: Vec<String> = (VALUES.iter().enumerate())
        .map(|(number, (u, a, b))| format!("({}, {u}, {a}, {b}, x'{number:02x}00', x'00')", from + number))
        .collect();
    run(sandbox, &format!("INSERT INTO plain VALUES {}", rows.join(", "))).await;
}

const PLAIN: &str =
    "CREATE TABLE plain (id INT PRIMARY KEY, u UUID, a INET6, b INET4, bytes BINARY(16), short BINARY(4))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_is_the_servers_own_from_the_snapshot_and_from_the_stream_on_mariadb() {
    for sink in SINKS {
        let mut sandbox = sandbox(sink).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 3 }));
        run(&sandbox, PLAIN).await;
        fill(&sandbox, 0).await;
        if sink == Sink::Sqlite {
            run(&sandbox, "CREATE TABLE loose (u UUID, a INET6, b INET4)").await;
            run(&sandbox, "INSERT INTO loose SELECT u, a, b FROM plain UNION ALL SELECT u, a, b FROM plain").await;
        }
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        assert_mirrored(&sandbox, sink).await;
        daemon.stop();

        fill(&sandbox, 100).await;
        run(&sandbox, "UPDATE plain SET u = NULL, a = '::', b = '9.0.0.0' WHERE id IN (1, 2, 101)").await;
        run(&sandbox, "UPDATE plain SET u = '00000000-0000-0000-0000-000000000000', b = NULL WHERE id = 3").await;
        run(&sandbox, "DELETE FROM plain WHERE id IN (4, 104)").await;
        if sink == Sink::Sqlite {
            run(
                &sandbox,
                "DELETE FROM loose WHERE a = '::' LIMIT 1; UPDATE loose SET u = NULL WHERE a = '2001:db8::' LIMIT 1",
            )
            .await;
        }
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let expected = 2 * VALUES.len() - 2 + if sink == Sink::Sqlite { 2 * VALUES.len() - 1 } else { 0 };
        assert_eq!(assert_mirrored(&sandbox, sink).await.rows, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_by_uuid_and_address_are_read_in_chunks_while_they_are_written_on_mariadb() {
    for sink in SINKS {
        let mut sandbox = sandbox(sink).await;
        let workload = Workload::new(DATABASE).of_mariadb().with_connections(3);
        workload.create(&sandbox.server, 600).await;
        sandbox.set("/source/snapshot", json!({ "chunk_rows": 25, "parallel": 2 }));

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        for _ in 0..3 {
            writing.progressed_by(150).await;
            daemon.kill();
            daemon = sandbox.start();
        }
        writing.progressed_by(300).await;
        writing.stop().await;
        let status = sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let compared = assert_mirrored(&sandbox, sink).await;
        assert!(compared.tables == 2 && compared.rows > 200, "{compared:?} {status:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_has_both_sides_of_every_change_on_mariadb() {
    for sink in SINKS {
        let mut sandbox = sandbox(sink).await;
        sandbox.set("/sinks/0/mode", json!("history"));
        run(&sandbox, PLAIN).await;
        run(&sandbox, "CREATE TABLE by_uuid (u UUID PRIMARY KEY, a INET6, b INET4)").await;
        fill(&sandbox, 0).await;
        run(&sandbox, "INSERT INTO by_uuid SELECT u, a, b FROM plain WHERE u IS NOT NULL").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        run(&sandbox, "UPDATE plain SET u = UUID(), a = '1::', b = '1.0.0.0'; DELETE FROM plain WHERE id < 3").await;
        run(&sandbox, "UPDATE by_uuid SET u = '12345678-9abc-7ef0-8234-000000000000' WHERE b = '0.0.0.0'").await;
        run(&sandbox, "DELETE FROM by_uuid WHERE a = '::1'; INSERT INTO by_uuid VALUES (UUID(), NULL, NULL)").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        for (table, least) in [("plain", 2 * VALUES.len() + 3), ("by_uuid", VALUES.len())] {
            let entries = match sink {
                Sink::Sqlite => assert_history(&sandbox.server, DATABASE, table, &sandbox.sqlite()).await,
                Sink::ClickHouse => {
                    assert_history_in_clickhouse(&sandbox.server, DATABASE, table, sandbox.clickhouse()).await
                }
            };
            assert!(entries >= least, "{table}: {entries}");
        }
    }
}

/// Each step leaves a type that the binlog calls as the one before, or gives it back.
const STEPS: [&str; 11] = [
    "ALTER TABLE t ADD u UUID NOT NULL DEFAULT '12345678-9ABC-1ef0-8234-567890abcd00', ADD a INET6 DEFAULT '::FFFF:1.2.0.0',
     ADD b INET4 NOT NULL, ADD n UUID, ADD z INET6 NOT NULL",
    "ALTER TABLE t ADD r UUID DEFAULT uuid()",
    "ALTER TABLE t MODIFY u BINARY(16)",
    "ALTER TABLE t MODIFY a VARCHAR(50), MODIFY b BINARY(4)",
    "ALTER TABLE t MODIFY a INET6, CHANGE b b4 INET4",
    "ALTER TABLE t RENAME COLUMN u TO bytes, ADD u UUID AFTER id",
    "ALTER TABLE t MODIFY n CHAR(36), MODIFY bytes UUID",
    "ALTER TABLE t MODIFY n UUID, DROP COLUMN bytes, ADD bytes BINARY(16) DEFAULT 'x'",
    "ALTER TABLE t COMMENT = 'the same'",
    "RENAME TABLE t TO moved; RENAME TABLE moved TO t",
    "ALTER TABLE t DROP r, DROP z, ADD s INET6 FIRST",
];

/// Rows after each step, by columns that are there all the time.
async fn step(sandbox: &Sandbox, number: usize) {
    run(sandbox, STEPS[number]).await;
    run(sandbox, &format!("INSERT IGNORE INTO t (id, u2) VALUES ({}, UUID()), ({}, NULL)", 100 + number, 200 + number))
        .await;
    run(sandbox, &format!("UPDATE t SET u2 = '12345678-9abc-4ef0-8234-00000000{number:02}00' WHERE id = 1")).await;
}

const ALTERED: &str = "CREATE TABLE t (id INT PRIMARY KEY, u2 UUID); INSERT INTO t VALUES (1, UUID()), (2, NULL)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_come_and_change_are_followed_while_the_stream_is_read_on_mariadb() {
    for sink in SINKS {
        let sandbox = sandbox(sink).await;
        run(&sandbox, ALTERED).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for number in 0..STEPS.len() {
            step(&sandbox, number).await;
            sandbox.caught_up(&mut daemon).await;
            assert_mirrored(&sandbox, sink).await;
            if number % 3 == 0 {
                daemon.stop();
                daemon = sandbox.start();
            }
        }
        daemon.stop();
        assert_eq!(assert_mirrored(&sandbox, sink).await.rows, 2 + 2 * STEPS.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_changed_while_nobody_was_reading_are_followed_statement_by_statement_on_mariadb() {
    for sink in SINKS {
        let sandbox = sandbox(sink).await;
        run(&sandbox, ALTERED).await;
        run(
            &sandbox,
            "CREATE TABLE twice (id INT PRIMARY KEY, u UUID, b BINARY(16)); INSERT INTO twice VALUES (1, UUID(), 'x')",
        )
        .await;
        sandbox.run_once();
        for number in 0..STEPS.len() {
            step(&sandbox, number).await;
        }
        // A table that came, was altered and has another type now.
        run(
            &sandbox,
            "CREATE TABLE made (id INT PRIMARY KEY, u UUID, b BINARY(16)); INSERT INTO made VALUES (1, UUID(), 'x')",
        )
        .await;
        run(
            &sandbox,
            "ALTER TABLE made MODIFY u BINARY(16), MODIFY b VARCHAR(20); INSERT INTO made VALUES (2, 'y', 'z')",
        )
        .await;
        run(
            &sandbox,
            "CREATE TABLE alike LIKE made; INSERT INTO alike VALUES (1, 'a', 'b'); ALTER TABLE alike MODIFY u UUID",
        )
        .await;
        run(&sandbox, "ALTER TABLE twice ADD x INT; INSERT INTO twice VALUES (2, UUID(), 'y', 1)").await;
        run(&sandbox, "ALTER TABLE twice MODIFY u VARCHAR(36); INSERT INTO twice VALUES (3, 'text', 'y', 1)").await;
        run(&sandbox, "UPDATE twice SET u = UUID() WHERE id = 3; ALTER TABLE twice MODIFY u UUID, DROP b").await;
        run(&sandbox, "INSERT INTO twice VALUES (4, UUID(), 1)").await;
        sandbox.run_once();

        assert_eq!(assert_mirrored(&sandbox, sink).await.rows, 2 + 2 * STEPS.len() + 3 + 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_changes_of_definitions_are_followed_through_kills_on_mariadb() {
    for sink in SINKS {
        let sandbox = sandbox(sink).await;
        let workload = Workload::new(DATABASE).of_mariadb().with_ddl();
        workload.create(&sandbox.server, 100).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let writing = workload.start(&sandbox.server);
        for _ in 0..4 {
            writing.progressed_by(120).await;
            daemon.kill();
            // What it comes back to is behind it, definitions included.
            writing.progressed_by(120).await;
            daemon = sandbox.start();
        }
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(assert_mirrored(&sandbox, sink).await.rows > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_holds_what_a_column_was_when_the_change_was_made_on_mariadb() {
    let mut sandbox = sandbox(Sink::Sqlite).await;
    sandbox.set("/sinks/0/mode", json!("history"));
    run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY, c UUID)").await;
    sandbox.run_once();
    // While nobody is reading; the server shows the last type alone.
    run(&sandbox, "INSERT INTO t VALUES (1, '12345678-9abc-4ef0-8234-567890abcd00')").await;
    run(&sandbox, "ALTER TABLE t MODIFY c BINARY(16); INSERT INTO t VALUES (2, x'00ff')").await;
    run(&sandbox, "ALTER TABLE t MODIFY c INET6; INSERT INTO t VALUES (3, '::1:0')").await;
    run(&sandbox, "ALTER TABLE t DROP c, ADD c BINARY(16); INSERT INTO t VALUES (4, 'end')").await;
    sandbox.run_once();

    let log = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    let names: Vec<String> = log
        .prepare("SELECT name FROM pragma_table_info('t') WHERE name LIKE 'after_c%' ORDER BY cid")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let shown = names.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || ' ' || ");
    let rows: Vec<String> = log
        .prepare(&format!("SELECT after_id || ' ' || {shown} FROM t WHERE _op = 'insert' ORDER BY after_id"))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let all = rows.join("\n");
    assert_eq!(rows.len(), 4, "{all}");
    assert!(rows[0].contains("12345678-9abc-4ef0-8234-567890abcd00"), "{all}");
    assert!(rows[1].contains("00FF0000000000000000000000000000"), "{all}");
    assert!(rows[2].contains("::0.1.0.0"), "{all}");
    assert!(rows[3].contains("656E6400000000000000000000000000"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_table_is_read_again_by_a_condition_on_a_uuid_on_mariadb() {
    let mut sandbox = sandbox(Sink::Sqlite).await;
    sandbox.set("/source/snapshot", json!({ "chunk_rows": 7 }));
    let workload = Workload::new(DATABASE).of_mariadb();
    workload.create(&sandbox.server, 200).await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let copy = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    copy.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    let gone = copy.execute("DELETE FROM by_uuid WHERE id LIKE '%-4000-%'", []).unwrap();
    assert!(gone > 50, "{gone}");

    let condition = "CAST(id AS CHAR) LIKE '%-4000-%' AND id <> '00000000-0000-0000-0000-000000000000'";
    let output = sandbox.run(&["backfill", "--database", DATABASE, "--table", "by_uuid", "--where", condition]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    assert_eq!(sandbox.assert_mirrored().await.rows, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_becomes_a_uuid_or_stops_being_one_keeps_its_rows_on_mariadb() {
    for sink in SINKS {
        let sandbox = sandbox(sink).await;
        run(&sandbox, "CREATE TABLE t (id BINARY(16) PRIMARY KEY, v INT)").await;
        run(
            &sandbox,
            "INSERT INTO t VALUES ('0123456789abcdef', 1), ('abcdefghijklmnop', 2), (x'123456789abc10008000', 3)",
        )
        .await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for change in [
            "ALTER TABLE t MODIFY id UUID NOT NULL",
            "INSERT INTO t VALUES (UUID(), 4); UPDATE t SET id = UUID() WHERE v = 2",
            "ALTER TABLE t MODIFY id VARCHAR(40) NOT NULL; INSERT INTO t VALUES ('::1', 5); DELETE FROM t WHERE v <> 5",
            "ALTER TABLE t MODIFY id INET6 NOT NULL; INSERT INTO t VALUES ('::2:0', 6)",
            "ALTER TABLE t MODIFY id BINARY(16) NOT NULL; INSERT INTO t VALUES ('bytes', 7); DELETE FROM t WHERE v = 5",
        ] {
            run(&sandbox, change).await;
            sandbox.caught_up(&mut daemon).await;
            assert_mirrored(&sandbox, sink).await;
        }
        daemon.stop();
        assert_eq!(assert_mirrored(&sandbox, sink).await.rows, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_met_for_the_first_time_has_the_types_that_the_server_describes_on_mariadb() {
    for sink in SINKS {
        let mut sandbox = sandbox(sink).await;
        sandbox.set("/source/startup_mode", json!("latest"));
        run(&sandbox, PLAIN).await;
        sandbox.run_once();
        fill(&sandbox, 0).await;
        // It does not touch the columns in doubt.
        run(&sandbox, "ALTER TABLE plain ADD v INT").await;
        sandbox.run_once();
        assert_eq!(assert_mirrored(&sandbox, sink).await.rows, VALUES.len());

        // By now the server's word was of this state, so that later changes are no doubt.
        run(&sandbox, "ALTER TABLE plain DROP v").await;
        fill(&sandbox, 50).await;
        run(&sandbox, "ALTER TABLE plain MODIFY u BINARY(16), MODIFY short INET4").await;
        sandbox.run_once();
        assert_eq!(assert_mirrored(&sandbox, sink).await.rows, 2 * VALUES.len());
    }
}
