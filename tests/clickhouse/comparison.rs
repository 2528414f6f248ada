//! The comparison with a ClickHouse, tested by itself: it must see every difference, or no other test means anything.

use crate::support::clickhouse::ClickHouse;
use crate::support::compare::{Compared, View, compare_with_clickhouse};
use crate::support::history::assert_history_in_clickhouse;
use crate::support::server::{Kind, Server};

/// A table with every type that the sink has, and one row of it at the edge of the types.
const SOURCE: &str = "
    CREATE DATABASE d;
    CREATE TABLE d.kinds (
        id BIGINT UNSIGNED PRIMARY KEY, i TINYINT, y YEAR, b BIT(64), n DECIMAL(65, 30), f FLOAT, g DOUBLE,
        c CHAR(5), v VARCHAR(20) CHARACTER SET latin1, t TEXT, bin BINARY(4), bl BLOB,
        da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP(2) NULL, e ENUM('a', 'b'), s SET('x', 'y'));
    SET time_zone = '+00:00';
    INSERT INTO d.kinds VALUES (18446744073709551615, -128, 2155, ~0,
        -99999999999999999999999999999999999.999999999999999999999999999990, 0.1, 1e-300,
        'ab', _utf8mb4'\u{e9}', '\\\\N', 'q', x'00ff09', '1000-01-01', '-838:59:58.120', '9999-12-31 23:59:59.999999',
        '2038-01-19 03:14:07.90', 'b', 'x,y');
    INSERT INTO d.kinds (id) VALUES (1)";

const TARGET: &str = "CREATE TABLE replica.kinds (
    id UInt64, i Nullable(Int8), y Nullable(UInt16), b Nullable(UInt64), n Nullable(Decimal(65, 30)), f Nullable(Float32),
    g Nullable(Float64), c Nullable(String), v Nullable(String), t Nullable(String), bin Nullable(String), bl Nullable(String),
    da Nullable(Date32), ti Nullable(Time64(3)), dt Nullable(DateTime64(6, 'UTC')), ts Nullable(DateTime64(2, 'UTC')),
    e LowCardinality(Nullable(String)), s Nullable(String), _version UInt64, _is_deleted UInt8)
    ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id";

const ROW: &str = "INSERT INTO replica.kinds SELECT 18446744073709551615, -128, 2155, 18446744073709551615,
    '-99999999999999999999999999999999999.999999999999999999999999999990', 0.1, 1e-300,
    'ab', '\u{e9}', '\\\\N', 'q\\0\\0\\0', unhex('00ff09'), '1000-01-01', '-838:59:58.12', '9999-12-31 23:59:59.999999',
    '2038-01-19 03:14:07.9', 'b', 'x,y'";

/// What makes another value of each column.
const DAMAGE: [(&str, &str); 17] = [
    ("i", "127"),
    ("y", "2154"),
    ("b", "18446744073709551614"),
    (
        "n",
        "'-99999999999999999999999999999999999.99999999999999999999999999999'::Decimal(65, 30) + '0.000000000000000000000000000001'::Decimal(65, 30)",
    ),
    ("f", "0.10000001"),
    ("g", "1.0000000000000002e-300"),
    ("c", "'ab '"),
    ("v", "'e'"),
    ("t", "NULL"),
    ("bin", "'q'"),
    ("bl", "unhex('00ff0900')"),
    ("da", "toDate32('1000-01-02')"),
    ("ti", "'-838:59:58.121'::Time64(3)"),
    ("dt", "toDateTime64('9999-12-31 23:59:59.999998', 6, 'UTC')"),
    ("ts", "NULL"),
    ("e", "''"),
    ("s", "'y,x'"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_every_type_counts_on_mariadb() {
    let source = Server::start(Kind::MariaDb).await;
    source.exec(SOURCE).await;
    let target = ClickHouse::start().await;
    target.exec(TARGET).await;
    target.exec(format!("{ROW}, 7, 0")).await;
    target.exec("INSERT INTO replica.kinds (id, _version, _is_deleted) VALUES (1, 8, 0), (2, 8, 0), (2, 9, 1)").await;
    let compare = || async { compare_with_clickhouse(&View::default(), &source, "d", &target).await };

    assert_eq!(compare().await, Ok(Compared { tables: 1, rows: 2 }));

    for (version, (column, value)) in DAMAGE.iter().enumerate() {
        let version = 100 + 2 * version;
        let damaged =
            format!("INSERT INTO replica.kinds SELECT * REPLACE ({value} AS {column}, {version} AS _version)");
        target.exec(format!("{damaged} FROM replica.kinds FINAL WHERE id = 18446744073709551615")).await;
        let report = compare().await.expect_err(column);
        assert!(report.contains(&format!("{column}: source")) && report.lines().count() == 2, "{column}: {report}");
        target.exec(format!("{ROW}, {}, 0", version + 1)).await;
    }
    assert_eq!(compare().await, Ok(Compared { tables: 1, rows: 2 }));

    target.exec("INSERT INTO replica.kinds (id, _version, _is_deleted) VALUES (1, 9, 1)").await;
    assert!(compare().await.unwrap_err().contains("missing at the sink"));
    target.exec("INSERT INTO replica.kinds (id, _version, _is_deleted) VALUES (1, 10, 0), (3, 10, 0)").await;
    assert!(compare().await.unwrap_err().contains("only at the sink"));
    target.exec("CREATE TABLE replica.more (a Int8) ENGINE = MergeTree ORDER BY a").await;
    assert!(compare().await.unwrap_err().contains("tables at the sink"));
}

async fn history(lines: &[&str]) -> usize {
    let source = Server::start(Kind::MariaDb).await;
    source
        .exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); INSERT INTO d.t VALUES (1, 20)")
        .await;
    let target = ClickHouse::start().await;
    target
        .exec(
            "CREATE TABLE replica.t (_version UInt64, _op LowCardinality(String), _commit_time DateTime64(6, 'UTC'),
             _lsn UInt64, _ordinal UInt32, before_id Nullable(Int32), before_v Nullable(Int32),
             after_id Nullable(Int32), after_v Nullable(Int32)) ENGINE = ReplacingMergeTree ORDER BY (_lsn, _ordinal)",
        )
        .await;
    for line in lines {
        target.exec(format!("INSERT INTO replica.t SELECT 1, {line}")).await;
    }
    assert_history_in_clickhouse(&source, "d", "t", &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_changelog_is_accepted_though_a_line_was_sent_twice_on_mariadb() {
    let insert = "'insert', now64(6), 1, 0, NULL, NULL, 1, 10";
    let update = "'update', now64(6), 2, 0, 1, 10, 1, 20";
    assert_eq!(history(&[insert, update, insert]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "no such row before it")]
async fn a_gap_in_a_changelog_is_seen_on_mariadb() {
    history(&["'insert', now64(6), 1, 0, NULL, NULL, 1, 10", "'update', now64(6), 3, 0, 1, 15, 1, 20"]).await;
}
