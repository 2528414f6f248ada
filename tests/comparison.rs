//! The comparison of both sides, tested by itself: it must see every difference, or no other test means anything.

use std::path::Path;

use rusqlite::{Connection, params_from_iter, types::Value};
use tempfile::TempDir;

use crate::support::cells::{Cell, source_rows, source_tables};
use crate::support::compare::{Compared, View, compare};
use crate::support::history::assert_history;
use crate::support::server::{Kind, Server};

/// Two tables, one with every type that both servers have.
const TABLES: &str = "
    CREATE DATABASE d;
    CREATE TABLE d.kinds (
        id BIGINT UNSIGNED PRIMARY KEY, i TINYINT, y YEAR, b BIT(64), n DECIMAL(30, 10), f FLOAT, g DOUBLE,
        c CHAR(5), v VARCHAR(20) CHARACTER SET latin1, t TEXT, bin BINARY(4), vb VARBINARY(8), bl BLOB,
        da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP(2) NULL, e ENUM('a', 'b'), s SET('x', 'y'), j JSON, p POINT);
    SET time_zone = '+00:00';
    INSERT INTO d.kinds VALUES (18446744073709551615, -128, 2155, ~0, -12345678901234567890.0123456789, 0.1, 1e-300,
        'ab', _utf8mb4'\u{e9}', 'x', 'q', x'00ff', x'', '2026-02-03', '-838:59:58.123', '1000-01-01 00:00:00.000001',
        '2038-01-19 03:14:07.99', 'b', 'x,y', '{\"k\": [1, 2]}', ST_GeomFromText('POINT(1 2)'));
    INSERT INTO d.kinds (id) VALUES (1);
    CREATE TABLE d.loose (v INT);
    INSERT INTO d.loose VALUES (1), (1), (2)";

fn to_sqlite(cell: &Cell) -> Value {
    match cell.clone() {
        Cell::Null => Value::Null,
        Cell::Integer(value) => Value::Integer(value),
        Cell::Real(bits) => Value::Real(f64::from_bits(bits)),
        Cell::Text(bytes) => Value::Text(String::from_utf8(bytes).unwrap()),
        Cell::Blob(bytes) => Value::Blob(bytes),
    }
}

/// Copies a database by the comparison's own reading of it.
async fn copied(server: &Server, path: &Path) -> Connection {
    let copy = Connection::open(path).unwrap();
    copy.execute_batch("CREATE TABLE _replicator_cursor (sink)").unwrap();
    for table in source_tables(server, "d").await {
        let content = source_rows(server, "d", &table, &[]).await;
        copy.execute_batch(&format!("CREATE TABLE {table} ({})", content.columns.join(", "))).unwrap();
        let places = vec!["?"; content.columns.len()].join(", ");
        for row in &content.rows {
            copy.execute(
                &format!("INSERT INTO {table} VALUES ({places})"),
                params_from_iter(row.iter().map(to_sqlite)),
            )
            .unwrap();
        }
    }
    copy
}

both_servers! {
    async fn values_are_read_in_the_storage_class_of_the_type_table(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec(TABLES).await;

        let content = source_rows(&server, "d", "kinds", &[]).await;

        let full = content.rows.iter().find(|row| row[0] != Cell::Integer(1)).unwrap();
        let text = Cell::text;
        let expected = [
            text("18446744073709551615"), Cell::Integer(-128), Cell::Integer(2155), text("18446744073709551615"),
            text("-12345678901234567890.0123456789"), Cell::real(f64::from(0.1_f32)), Cell::real(1e-300),
            text("ab"), text("\u{e9}"), text("x"), Cell::Blob(b"q\0\0\0".to_vec()), Cell::Blob(vec![0, 255]),
            Cell::Blob(Vec::new()), text("2026-02-03"), text("-838:59:58.123"), text("1000-01-01 00:00:00.000001"),
            text("2038-01-19 03:14:07.99"), text("b"), text("x,y"), text("{\"k\": [1, 2]}"),
            Cell::Blob([[0, 0, 0, 0, 1, 1, 0, 0, 0].as_slice(), &1_f64.to_le_bytes(), &2_f64.to_le_bytes()].concat()),
        ];
        assert_eq!(full, &expected);
    }

    async fn a_copy_is_equal_and_every_kind_of_difference_is_named(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec(TABLES).await;
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("copy.db");
        drop(copied(&server, &path).await);
        let view = View::default();
        assert_eq!(compare(&view, &server, "d", &path).await, Ok(Compared { tables: 2, rows: 5 }));

        let broken = [
            ("UPDATE kinds SET i = 5 WHERE id = 1", "row [1]: i: source NULL, sink 5"),
            ("UPDATE kinds SET t = CAST(t AS BLOB) WHERE t = 'x'", "t: source \"x\", sink x'78'"),
            ("DELETE FROM kinds WHERE id = 1", "missing at the sink: [1, NULL"),
            ("INSERT INTO kinds (id) VALUES (2)", "only at the sink:    [2, NULL"),
            ("INSERT INTO kinds (id) VALUES (1)", "only at the sink:    [1, NULL"),
            ("DELETE FROM loose WHERE rowid = 1", "missing at the sink: [1]"),
            ("UPDATE loose SET v = 2 WHERE rowid = 1", "only at the sink:    [2]"),
            ("ALTER TABLE loose ADD w", "columns at the sink: [\"v\", \"w\"]"),
            ("CREATE TABLE more (v)", "tables at the sink:   [\"kinds\", \"loose\", \"more\"]"),
            ("DROP TABLE loose", "tables at the sink:   [\"kinds\"]"),
        ];
        for (damage, message) in broken {
            let damaged = directory.path().join("damaged.db");
            std::fs::copy(&path, &damaged).unwrap();
            Connection::open(&damaged).unwrap().execute_batch(damage).unwrap();

            let report = compare(&view, &server, "d", &damaged).await.unwrap_err();

            assert!(report.contains(message), "{damage}: {report}");
        }
    }

    async fn a_view_says_what_is_meant_to_differ(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a INT, b INT); INSERT INTO d.t VALUES (1, 2, 3);
            CREATE TABLE d.other (id INT)").await;
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("copy.db");
        Connection::open(&path).unwrap().execute_batch(
            "CREATE TABLE t (id, aa, gone); INSERT INTO t VALUES (1, 2, 0), (9, 9, 1); CREATE TABLE past (x)").unwrap();
        let name = str::to_owned;

        let view = View {
            renamed: vec![(name("t"), name("a"), name("aa"))],
            dropped: vec![(name("t"), name("b"))],
            soft_deleted: vec![(name("t"), name("gone"))],
            left_out: vec![name("other")],
            additional: vec![name("past")],
        };

        assert_eq!(compare(&view, &server, "d", &path).await, Ok(Compared { tables: 1, rows: 1 }));
    }
}

/// A changelog whose last entry is the given one; the source table holds the row (1, 'b').
async fn history_ending_in(entry: &str) -> usize {
    let server = Server::start(Kind::MariaDb).await;
    server
        .exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v TEXT); INSERT INTO d.t VALUES (1, 'b')")
        .await;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("copy.db");
    let entries = format!(
        "CREATE TABLE t (_op, _lsn, _ordinal, _commit_time, before_id, before_v, after_id, after_v);
         INSERT INTO t VALUES ('update', 2, 0, 'T', 5, 'x', 5, 'y'), ('snapshot', 3, 0, 'T', NULL, NULL, 5, 'y'),
             ('snapshot', 3, 1, 'T', NULL, NULL, 1, 'a'), ('delete', 4, 0, 'T', 5, 'y', NULL, NULL);
         INSERT INTO t VALUES {entry}"
    );
    Connection::open(&path).unwrap().execute_batch(&entries).unwrap();
    assert_history(&server, "d", "t", &path).await
}

#[tokio::test]
async fn a_changelog_that_folds_to_the_source_is_accepted_on_mariadb() {
    assert_eq!(history_ending_in("('update', 4, 1, 'T', 1, 'a', 1, 'b')").await, 5);
}

#[tokio::test]
#[should_panic(expected = "t at (5, 0) (update): no such row before it")]
async fn a_gap_in_a_changelog_is_seen_on_mariadb() {
    history_ending_in("('update', 5, 0, 'T', 1, 'c', 1, 'b')").await;
}

#[tokio::test]
#[should_panic(expected = "t at (4, 0) (update): not after Some((4, 0))")]
async fn two_entries_of_one_place_in_a_changelog_are_seen_on_mariadb() {
    history_ending_in("('update', 4, 0, 'T', 1, 'a', 1, 'b')").await;
}

#[tokio::test]
#[should_panic(expected = "does not end in the source's state")]
async fn a_changelog_that_ends_too_early_is_seen_on_mariadb() {
    history_ending_in("('insert', 5, 0, 'T', NULL, NULL, 7, 'a')").await;
}
