//! Every type that a key may have: the condition made of a key that an event has finds the row of that key, and no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use replicator::config::Startup;
use replicator::model::TableName;
use replicator::source::mysql::binlog::{BinlogStream, Decoder, Item};
use replicator::source::mysql::snapshot::ByKey;
use replicator::source::mysql::{connect, schema, server, start};

use crate::snapshot::fake_loop::{SMALL, plan};
use crate::support::server::{Kind, Server, USER};

/// The session in which tables are read.
const SESSION: &str = "SET NAMES utf8mb4; SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'";

/// Key columns `k` (and more), the key, and the values of rows.
fn keys(kind: Kind) -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    let mut keys: Vec<(&str, &str, &[&str])> = vec![
        ("k TINYINT", "k", &["-128", "0", "127"]),
        ("k INT", "k", &["-2147483648", "-1", "0", "2147483647"]),
        ("k MEDIUMINT UNSIGNED", "k", &["0", "16777215"]),
        ("k BIGINT", "k", &["-9223372036854775808", "9223372036854775807"]),
        ("k BIGINT UNSIGNED", "k", &["0", "9223372036854775807", "9223372036854775808", "18446744073709551615"]),
        ("k INT UNSIGNED ZEROFILL", "k", &["0", "7"]),
        (
            "k DECIMAL(65,30)",
            "k",
            &[
                "-0.000000000000000000000000000001",
                "0",
                "99999999999999999999999999999999999.999999999999999999999999999999",
            ],
        ),
        ("k DECIMAL(9,2) UNSIGNED", "k", &["0", "1.5", "1.51"]),
        ("k YEAR", "k", &["0", "1901", "2000", "2155"]),
        ("k DATE", "k", &["'0000-00-00'", "'2020-00-00'", "'2020-02-31'", "'9999-12-31'"]),
        ("k TIME", "k", &["'-838:59:59'", "'-00:00:01'", "'00:00:00'", "'12:34:56'"]),
        ("k TIME(6)", "k", &["'-00:00:00.000001'", "'00:00:00'", "'00:00:00.000001'", "'100:00:00.5'"]),
        ("k DATETIME", "k", &["'0000-00-00 00:00:00'", "'2020-01-01 00:00:00'"]),
        ("k DATETIME(3)", "k", &["'2020-01-01 00:00:00'", "'2020-01-01 00:00:00.001'", "'2020-01-31 23:59:59.999'"]),
        (
            "k TIMESTAMP NOT NULL DEFAULT 0",
            "k",
            &[
                "'0000-00-00 00:00:00'",
                "'1970-01-01 00:00:01'",
                "'2020-10-25 00:30:00'",
                "'2020-10-25 01:30:00'",
                "'2038-01-19 03:14:07'",
            ],
        ),
        ("k TIMESTAMP(6) NOT NULL DEFAULT 0", "k", &["'2020-01-01 00:00:00'", "'2020-01-01 00:00:00.000001'"]),
        ("k BIT(1)", "k", &["b'0'", "b'1'"]),
        ("k BIT(13)", "k", &["0", "1", "4097"]),
        ("k BIT(64)", "k", &["0", "18446744073709551615", "9223372036854775808"]),
        ("k ENUM('b', 'a', '1')", "k", &["'a'", "'b'", "'1'", "0"]),
        ("k SET('b', 'a', '1', 'z')", "k", &["''", "'a'", "'b,1'", "'z'"]),
        ("k CHAR(10) CHARACTER SET latin1", "k", &["''", "'a  '", "'it''s'", "x'E9'"]),
        ("k CHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "k", &["'a'", "'A'", "'\u{e9}'", "'\\\\'"]),
        (
            "k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "k",
            &["''", "'Abc'", "'\u{df}'", "'\u{1f600}'"],
        ),
        ("k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", "k", &["'Abc'", "x'E5'", "'b '"]),
        ("k VARCHAR(20) CHARACTER SET ucs2", "k", &["'a'", "'\u{263a}'"]),
        ("k VARCHAR(20) CHARACTER SET sjis", "k", &["'a'", "x'835C'"]),
        ("k VARCHAR(20) CHARACTER SET utf8mb3", "k", &["'a'", "'\u{3042}'"]),
        ("k VARCHAR(20) CHARACTER SET ascii", "k", &["'a'", "'1'"]),
        ("k TEXT CHARACTER SET utf8mb4", "k(9)", &["'a'", "'b'"]),
        ("k BINARY(4)", "k", &["x'00000000'", "x'01000000'", "x'01000001'", "x'FFFFFFFF'"]),
        ("k VARBINARY(20)", "k", &["x''", "x'00'", "x'0000'", "x'27FF'", "x'61'", "x'41'"]),
        ("k BLOB", "k(9)", &["x'00'", "x'61'"]),
        ("k INT, l VARCHAR(9) CHARACTER SET latin1", "l, k", &["1, 'a'", "1, 'b'", "2, 'a'"]),
        (
            "k DATE, l BINARY(2), m INT",
            "m, k",
            &["'2020-01-01', x'0001', 1", "'2020-01-01', x'0002', 2", "'2020-01-02', x'0001', 1"],
        ),
    ];
    if kind == Kind::MariaDb {
        keys.extend([
            (
                "k UUID",
                "k",
                &[
                    "'00000000-0000-0000-0000-000000000000'",
                    "'12345678-9abc-1ef0-8234-567890ab0000'",
                    "'ffffffff-ffff-4fff-bfff-ffffffffffff'",
                ] as &[&str],
            ),
            ("k INET6", "k", &["'::'", "'1::'", "'::ffff:1.2.3.4'", "'ffff::ffff'"]),
            ("k INET4", "k", &["'0.0.0.0'", "'1.2.3.0'", "'255.255.255.255'"]),
        ]);
    } else {
        keys.push(("k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", "k", &["'a'", "'a '", "'b'"]));
        keys.push(("k CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs", "k", &["'a'", "'A'"]));
    }
    keys
}

async fn numbers(conn: &mut Conn, table: &str, condition: &str) -> Vec<u32> {
    let sql = format!("SELECT n FROM d.{table} WHERE {condition}");
    conn.query(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

both_servers! {
    async fn the_key_that_an_event_has_finds_its_row_and_no_other(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d").await;
        let plan = plan(&server, USER, SMALL);
        let keys = keys(kind);
        for (number, (columns, key, values)) in keys.iter().enumerate() {
            let rows: Vec<String> = (0..).zip(*values).map(|(n, values): (u32, _)| format!("({values}, {n})")).collect();
            server.exec(format!("{SESSION}; CREATE TABLE d.k{number} ({columns}, n INT, PRIMARY KEY ({key})); INSERT IGNORE INTO d.k{number} VALUES {}", rows.join(", "))).await;
        }
        let mut connection = connect::connect(&plan).await.unwrap();
        let info = server::ServerInfo::probe(&mut connection).await.unwrap();
        let point = start::resolve(&mut connection, &info, None, &Startup::Initial).await.unwrap();
        let mut decoder = Decoder::new(&point, plan.filter.clone(), Arc::clone(&info.collations)).unwrap();
        let mut stream = BinlogStream::open(&plan, &point, 77).await.unwrap();
        for number in 0..keys.len() {
            server.exec(format!("SET SESSION binlog_row_image = 'MINIMAL'; UPDATE d.k{number} SET n = n + 100")).await;
        }
        let mut conn = connect::connect(&plan).await.unwrap();
        for statement in SESSION.split(';') {
            conn.query_drop(statement).await.unwrap();
        }

        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        while found.len() < keys.len() {
            let event = stream.next().await.unwrap();
            let Item::Partial { slot, partial } = decoder.decode(&event).unwrap() else { continue };
            let table = decoder.table(slot).unwrap().table.clone();
            let described = schema::describe(&mut conn, info.flavour, &TableName::new("d", &table)).await.unwrap().unwrap();
            let key = described.schema.key.clone().unwrap().columns;
            let by_key = ByKey::new(&described.schema, &key).unwrap();
            let place = described.schema.column_index("n").unwrap();
            for row in &partial {
                let row = row.unwrap();
                let (before, after) = (row.before.unwrap(), row.after.unwrap());
                let key_of_row = before.key(&key).unwrap();
                assert_eq!(after.key(&key).unwrap(), key_of_row);
                let n = after.key(&[u16::try_from(place).unwrap()]).unwrap();
                let n = u32::from_le_bytes(n.try_into().unwrap());
                let condition = by_key.condition(&key_of_row).unwrap();
                assert_eq!(numbers(&mut conn, &table, &condition).await, [n], "{table} {}: {condition}", keys[table[1..].parse::<usize>().unwrap()].0);
                *found.entry(table.clone()).or_default() += 1;
            }
        }
        conn.disconnect().await.unwrap();

        for (number, (columns, _, values)) in keys.iter().enumerate() {
            assert_eq!(usize::try_from(found[&format!("k{number}")]).unwrap(), values.len(), "{columns}");
        }
    }
}
