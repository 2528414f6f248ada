//! Every type of both servers, with the values at its edges: as a column that may be NULL, and as the key; from the snapshot and from
//! the stream, with each `binlog_row_metadata`; in a mirror and in a changelog. One list, below, is for every sink.

use super::target::World;
use crate::support::cells::source_tables;
use crate::support::sandbox::DATABASE;
use crate::support::server::Kind;
use crate::support::status::stopped;

/// Which servers have a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Both,
    Only(Kind),
}

/// A type: its name in the tables' names, its definition, and values as literals.
#[derive(Clone, Copy)]
struct Type {
    name: &'static str,
    definition: &'static str,
    values: &'static [&'static str],
    /// Whether the whole column can be a primary key.
    is_key: bool,
    on: On,
}

const fn keyed(name: &'static str, definition: &'static str, values: &'static [&'static str]) -> Type {
    Type { name, definition, values, is_key: true, on: On::Both }
}

const fn plain(name: &'static str, definition: &'static str, values: &'static [&'static str]) -> Type {
    Type { name, definition, values, is_key: false, on: On::Both }
}

const fn only(kind: Kind, ty: Type) -> Type {
    Type { on: On::Only(kind), ..ty }
}

const TYPES: &[Type] = &[
    keyed("tinyint", "TINYINT", &["-128", "0", "127"]),
    keyed("tinyint_unsigned", "TINYINT UNSIGNED", &["0", "255"]),
    keyed("boolean", "BOOLEAN", &["FALSE", "TRUE"]),
    keyed("smallint", "SMALLINT", &["-32768", "32767"]),
    keyed("smallint_unsigned", "SMALLINT UNSIGNED", &["0", "65535"]),
    keyed("mediumint", "MEDIUMINT", &["-8388608", "-1", "8388607"]),
    keyed("mediumint_unsigned", "MEDIUMINT UNSIGNED", &["0", "16777215"]),
    keyed("int_signed", "INT", &["-2147483648", "2147483647"]),
    keyed("int_unsigned", "INT UNSIGNED", &["0", "4294967295"]),
    keyed("int_zerofill", "INT(5) ZEROFILL", &["7", "4294967295"]),
    keyed("bigint", "BIGINT", &["-9223372036854775808", "9223372036854775807"]),
    keyed(
        "bigint_unsigned",
        "BIGINT UNSIGNED",
        &["0", "9223372036854775807", "9223372036854775808", "18446744073709551615"],
    ),
    keyed("float_4", "FLOAT", &["0.1", "-3.402823466e38", "1.175494351e-38", "16777216", "-0e0"]),
    keyed("float_rounded", "FLOAT(7, 3)", &["-1234.567", "0.001"]),
    keyed("double_8", "DOUBLE", &["0.1", "1.7976931348623157e308", "-2.2250738585072014e-308", "9007199254740993", "-0e0"]),
    keyed("decimal_9", "DECIMAL(9, 2)", &["-9999999.99", "0.01", "0"]),
    keyed("decimal_18", "DECIMAL(18)", &["999999999999999999", "-999999999999999999"]),
    keyed("decimal_38", "DECIMAL(38)", &["-99999999999999999999999999999999999999", "1"]),
    keyed(
        "decimal_65",
        "DECIMAL(65, 30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
        ],
    ),
    keyed("decimal_all_scale", "DECIMAL(30, 30)", &["-0.999999999999999999999999999999", "0"]),
    keyed("bit_1", "BIT", &["b'0'", "b'1'"]),
    keyed("bit_9", "BIT(9)", &["b'111111111'", "b'100000000'"]),
    keyed("bit_64", "BIT(64)", &["0", "9223372036854775808", "~0"]),
    keyed("year", "YEAR", &["0", "1901", "2155"]),
    keyed("date", "DATE", &["'1000-01-01'", "'2024-02-29'", "'9999-12-31'"]),
    keyed("time_0", "TIME", &["'-838:59:59'", "'00:00:00'", "'838:59:59'"]),
    keyed("time_3", "TIME(3)", &["'-838:59:58.999'", "'-00:00:00.001'", "'23:59:59.999'"]),
    keyed("time_6", "TIME(6)", &["'-00:00:00.000001'", "'838:59:58.999999'"]),
    keyed("datetime_0", "DATETIME", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
    keyed("datetime_6", "DATETIME(6)", &["'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"]),
    keyed("timestamp_0", "TIMESTAMP", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"]),
    keyed("timestamp_6", "TIMESTAMP(6)", &["'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'"]),
    keyed("zero_date", "DATE", &["'0000-00-00'"]),
    keyed("zero_datetime", "DATETIME(3)", &["'0000-00-00 00:00:00'"]),
    keyed("zero_timestamp", "TIMESTAMP", &["'0000-00-00 00:00:00'"]),
    keyed("char_255", "CHAR(255)", &["''", "'a'", "REPEAT('\u{1f600}', 255)", "'it''s \\\\ \\0 \\n \\t'"]),
    keyed("char_latin", "CHAR(5) CHARACTER SET latin1", &["'\u{20ac}\u{e9}'", "'b  '"]),
    keyed("varchar_utf8", "VARCHAR(300)", &["''", "REPEAT('\u{4e2d}', 300)", "'\\\\N'", "'a\\0b'", "'NULL'"]),
    keyed("varchar_utf16", "VARCHAR(20) CHARACTER SET utf16", &["'\u{1f600}\u{e9}'", "''"]),
    keyed("varchar_latin", "VARCHAR(20) CHARACTER SET latin1", &["'\u{20ac} 5'", "'\u{fc}'"]),
    keyed("binary_4", "BINARY(4)", &["'q'", "x'00ff0900'", "''", "x'ffffffff'"]),
    keyed("varbinary", "VARBINARY(300)", &["''", "x'00'", "x'0000'", "x'80ff'", "REPEAT(x'ff', 300)"]),
    plain("tinytext", "TINYTEXT", &["''", "REPEAT('x', 255)"]),
    plain("text", "TEXT", &["''", "REPEAT('\u{1f600}', 16383)", "'\\r\\n'"]),
    plain("mediumtext", "MEDIUMTEXT", &["REPEAT('\u{e9}', 100000)"]),
    plain("longtext", "LONGTEXT", &["REPEAT('y', 3000000)", "''"]),
    plain("tinyblob", "TINYBLOB", &["''", "REPEAT(x'00', 255)"]),
    plain("blob", "BLOB", &["x'00'", "REPEAT(x'ff00', 32767)"]),
    plain("mediumblob", "MEDIUMBLOB", &["REPEAT(x'80', 100000)"]),
    plain("longblob", "LONGBLOB", &["REPEAT(x'00ff', 1500000)", "''"]),
    keyed("enum_labels", "ENUM('a', 'it''s', '\u{e9}', 'b c')", &["'a'", "'it''s'", "'\u{e9}'", "4"]),
    plain("enum_invalid", "ENUM('a', 'b')", &["0", "'b'"]),
    keyed("set_labels", "SET('a', 'b c', '\u{e9}')", &["''", "'a'", "'a,b c,\u{e9}'", "4"]),
    keyed(
        "set_of_64",
        "SET('0','1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17','18','19','20','21','22','23','24','25',
         '26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47','48','49','50','51',
         '52','53','54','55','56','57','58','59','60','61','62','63')",
        &["18446744073709551615", "9223372036854775808", "1"],
    ),
    plain(
        "json",
        "JSON",
        &[
            "'{\"a\": [1, null, true, \"\u{e9}\", -0.5, 1e100], \"\": {\"b\": {}}}'",
            "'[]'",
            "'null'",
            "'18446744073709551615'",
            "'\"text\"'",
        ],
    ),
    plain("geometry", "GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(-1e300 0.1)')", "ST_GeomFromText('POINT(10 20)', 4326)"]),
    plain("point", "POINT", &["ST_GeomFromText('POINT(0 -1)')"]),
    plain("linestring", "LINESTRING", &["ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)')"]),
    plain("polygon", "POLYGON", &["ST_GeomFromText('POLYGON((0 0, 4 0, 4 4, 0 0), (1 1, 2 1, 2 2, 1 1))')"]),
    plain("multipoint", "MULTIPOINT", &["ST_GeomFromText('MULTIPOINT((0 0), (1 1))')"]),
    plain("multilinestring", "MULTILINESTRING", &["ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))')"]),
    plain("multipolygon", "MULTIPOLYGON", &["ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))')"]),
    plain(
        "geometrycollection",
        "GEOMETRYCOLLECTION",
        &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))')"],
    ),
    only(Kind::MySql, plain("vector", "VECTOR(3)", &["STRING_TO_VECTOR('[1, -2.5, 0]')", "STRING_TO_VECTOR('[3e38, 1e-30, 0]')"])),
    only(
        Kind::MariaDb,
        keyed(
            "uuid",
            "UUID",
            &[
                "'00000000-0000-0000-0000-000000000000'",
                "'12345678-9ABC-1ef0-8234-567890abcd00'",
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            ],
        ),
    ),
    only(
        Kind::MariaDb,
        keyed("inet6", "INET6", &["'::'", "'::ffff:1.2.3.4'", "'2001:db8::'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'"]),
    ),
    only(Kind::MariaDb, keyed("inet4", "INET4", &["'0.0.0.0'", "'10.0.0.0'", "'255.255.255.255'"])),
];

fn types(kind: Kind) -> impl Iterator<Item = &'static Type> {
    TYPES.iter().filter(move |ty| matches!(ty.on, On::Both) || ty.on == On::Only(kind))
}

/// Every statement in one session, which takes zero dates and whose times are those of the copy.
fn session(statements: impl Iterator<Item = String>) -> String {
    let statements: Vec<String> = statements.collect();
    format!("SET NAMES utf8mb4; SET sql_mode = '', time_zone = '+00:00'; {}", statements.join("; "))
}

fn create(ty: &Type) -> String {
    let Type { name, definition, .. } = ty;
    let value = format!(
        "CREATE TABLE t_{name} (id INT PRIMARY KEY, c {definition} NULL DEFAULT NULL) CHARACTER SET utf8mb4; INSERT INTO t_{name} VALUES (0, NULL)"
    );
    if !ty.is_key {
        return value;
    }
    format!(
        "{value}; CREATE TABLE k_{name} (c {definition} NOT NULL, v INT, PRIMARY KEY (c)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
}

/// Each value, in rows from this number on.
fn insert(ty: &Type, first: usize) -> String {
    let Type { name, values, .. } = ty;
    let rows = values.iter().enumerate().map(|(number, value)| format!("({}, {value})", first + number));
    let value = format!("INSERT INTO t_{name} VALUES {}", rows.collect::<Vec<_>>().join(", "));
    if !ty.is_key {
        return value;
    }
    let rows: Vec<String> = values.iter().map(|value| format!("({value}, {first})")).collect();
    format!("{value}; INSERT INTO k_{name} VALUES {}", rows.join(", "))
}

/// Each value comes, goes and takes the place of NULL and of the others; each key is met, goes and comes back. Once in each round, which
/// are numbered from 1.
fn change(ty: &Type, round: usize) -> String {
    let Type { name, values, .. } = ty;
    let (first, last) = (values[0], values[values.len() - 1]);
    let row = 100 * round;
    let value = format!(
        "{}; UPDATE t_{name} SET c = {first} WHERE id = 0; UPDATE t_{name} SET c = {last} WHERE id IN (1, {row});
         UPDATE t_{name} SET c = NULL WHERE id = {}; DELETE FROM t_{name} WHERE id = {}",
        insert(&Type { is_key: false, ..*ty }, row),
        row + 1,
        values.len()
    );
    if !ty.is_key {
        return value;
    }
    // The round before has deleted it, if a literal finds it.
    let again = if round > 1 { format!("INSERT IGNORE INTO k_{name} VALUES ({first}, 4)") } else { "DO 0".to_owned() };
    format!(
        "{value}; {again}; UPDATE k_{name} SET v = 2; DELETE FROM k_{name} WHERE c = {last}; INSERT INTO k_{name} VALUES ({last}, 3);
         DELETE FROM k_{name} WHERE c = {first}"
    )
}

every_sink! { both_servers:
    async fn every_type_holds_its_values_as_a_column_and_as_a_key<T: Target>(kind: Kind) {
        let world = World::<T>::both(kind).await;
        world.sql(session(types(kind).flat_map(|ty| [create(ty), insert(ty, 1)]))).await;
        let tables = source_tables(&world.server, DATABASE).await;
        let is_held = |table: &&String| !T::NOT_HELD.contains(&&table[2..]);
        let not_held: Vec<&str> = tables.iter().filter(|table| !is_held(table)).map(String::as_str).collect();
        let expected: Vec<String> = not_held.iter().map(|table| format!("{DATABASE}.{table}")).collect();

        let mut daemon = world.start();
        let streamed = if kind == Kind::MariaDb { &["FULL", "MINIMAL", "NO_LOG"][..] } else { &["FULL", "MINIMAL"] };
        for (number, round) in ["snapshot"].iter().chain(streamed).enumerate() {
            if number > 0 {
                world.sql(format!("SET GLOBAL binlog_row_metadata = '{round}'")).await;
                world.sql(session(types(kind).map(|ty| change(ty, number)))).await;
            }
            let status = world.caught_up(&mut daemon).await;
            assert_eq!(stopped(&status), expected, "{round}: {:#}", status["sinks"]);
            world.assert_mirrored_but(&not_held).await;
        }
        daemon.stop();
        for table in tables.iter().filter(is_held) {
            assert!(world.assert_logged(table).await > 1, "{table}");
        }
    }
}
