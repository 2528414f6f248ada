//! What statements make of a table by their text alone is what the servers make of it.

use std::path::Path;

use replicator::config::{self, SourcePlan};
use replicator::model::{BinlogPlace, Gtid, SchemaId, TableName, TableSchema};
use replicator::source::mysql::connect;
use replicator::source::mysql::ddl::{self, SqlMode, Statement};
use replicator::source::mysql::follow::{Current, Dialect, Followed, Since};
use replicator::source::mysql::schema::{Flavour, describe};

use crate::support::server::{Kind, PASSWORD, Server};

fn plan(server: &Server) -> SourcePlan {
    let text = format!(
        "{{ source: {{ url: '{}', server_id: 5401, include: ['d.*'], tls: {{ mode: disabled }} }}, sinks: [] }}",
        server.url()
    );
    let password = |name: &str| Ok((name == config::PASSWORD_VARIABLE).then(|| PASSWORD.to_owned()));
    config::parse(Path::new("replicator.yaml"), &text, &password, &[]).unwrap().source
}

fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::MySql => Dialect { flavour: Flavour::MySql, version: (9, 7, 0) },
        Kind::MariaDb => Dialect { flavour: Flavour::MariaDb, version: (10, 11, 0) },
    }
}

/// Definitions of columns whose text decides what they are, on both servers.
const DEFINITIONS: [&str; 62] = [
    "INT",
    "INTEGER(11) UNSIGNED ZEROFILL NOT NULL DEFAULT 5",
    "TINYINT(1)",
    "BOOL NOT NULL",
    "BOOLEAN DEFAULT TRUE",
    "INT1 UNSIGNED",
    "SMALLINT",
    "INT2",
    "MEDIUMINT UNSIGNED",
    "MIDDLEINT",
    "INT3",
    "INT4 SIGNED",
    "BIGINT UNSIGNED",
    "INT8 DEFAULT -7",
    "FLOAT",
    "FLOAT UNSIGNED",
    "FLOAT(24)",
    "FLOAT(25)",
    "FLOAT(10,2)",
    "FLOAT4",
    "FLOAT8",
    "DOUBLE",
    "DOUBLE PRECISION DEFAULT 1.5",
    "DOUBLE(12,3) UNSIGNED",
    "DECIMAL",
    "DECIMAL(7)",
    "DEC(10,2) ZEROFILL",
    "NUMERIC(65,30) NOT NULL DEFAULT 0",
    "FIXED(5,5)",
    "BIT",
    "BIT(64) DEFAULT b'101'",
    "YEAR",
    "YEAR(4) DEFAULT 2000",
    "DATE DEFAULT '2020-01-01'",
    "TIME",
    "TIME(3)",
    "DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
    "DATETIME NOT NULL DEFAULT NOW()",
    "TIMESTAMP NULL",
    "TIMESTAMP(2) NOT NULL DEFAULT CURRENT_TIMESTAMP(2) ON UPDATE CURRENT_TIMESTAMP(2)",
    "BINARY",
    "BINARY(16) DEFAULT x'41'",
    "VARBINARY(300)",
    "TINYBLOB",
    "BLOB",
    "MEDIUMBLOB NOT NULL",
    "LONGBLOB",
    "CHAR CHARACTER SET latin1",
    "CHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CHAR(255) CHARSET utf16",
    "VARCHAR(10) CHARACTER SET utf8mb3",
    "VARCHAR(0) CHARACTER SET ascii",
    "VARCHAR(64) CHARACTER SET ucs2 NOT NULL DEFAULT 'x'",
    "VARCHAR(20) CHARACTER SET gbk",
    "VARCHAR(20) CHARACTER SET ujis",
    "VARCHAR(20) CHARACTER SET utf32",
    "TINYTEXT CHARACTER SET utf8mb4",
    "TEXT CHARACTER SET latin2",
    "LONGTEXT CHARACTER SET utf8mb4 COMMENT 'NOT NULL, UNSIGNED'",
    "ENUM('a', 'b c', '', 'UNSIGNED') CHARACTER SET latin1 DEFAULT 'a'",
    "ENUM('x', 'y')",
    "SET('p', 'zerofill', 'r') NOT NULL",
];

/// Definitions that only one of the servers knows.
fn others(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::MySql => &["JSON", "INT DEFAULT (1 + 1) INVISIBLE", "VARCHAR(20) CHARACTER SET gb18030"],
        Kind::MariaDb => &["UUID", "INET6 NOT NULL", "INET4", "INT INVISIBLE DEFAULT 7"],
    }
}

/// Statements about a table with the columns `id`, `a`, `b` and `c`, one after another.
const STATEMENTS: [&str; 20] = [
    "ADD COLUMN d INT",
    "ADD e BIGINT NOT NULL DEFAULT 5 FIRST, ADD f INT AFTER a",
    "ADD (g INT, h DATE), ADD INDEX (g)",
    "ADD i INT AFTER b, ADD j INT AFTER i, ADD k INT FIRST, ADD l INT FIRST",
    "MODIFY a BIGINT",
    "MODIFY a BIGINT NOT NULL AFTER c",
    "MODIFY id BIGINT NOT NULL",
    "CHANGE b B INT UNSIGNED FIRST",
    "CHANGE id ID BIGINT NOT NULL AUTO_INCREMENT",
    "RENAME COLUMN c TO m",
    "RENAME COLUMN f TO g, RENAME COLUMN g TO f",
    "MODIFY e INT AFTER h, MODIFY h DATE FIRST, ADD n INT AFTER e",
    "MODIFY e INT AFTER g, ADD r INT AFTER i, MODIFY h DATE FIRST",
    "MODIFY h DATE, CHANGE r s INT AFTER i, RENAME COLUMN n TO r",
    "CHANGE d o VARCHAR(5) CHARACTER SET utf8mb4 FIRST, CHANGE k d INT",
    "DROP COLUMN a",
    "DROP i, ADD i DATETIME(3)",
    "DROP j, ADD p INT AFTER l, MODIFY l BIGINT NULL AFTER p",
    "ALTER COLUMN m SET DEFAULT 9, COMMENT = 'x', ADD CHECK (m > 0)",
    "ADD UNIQUE INDEX u (m), ADD q INT",
];

async fn described(server: &Server, kind: Kind, table: &str) -> TableSchema {
    let mut conn = connect::connect(&plan(server)).await.unwrap();
    let found = describe(&mut conn, dialect(kind).flavour, &TableName::new("d", table)).await.unwrap().unwrap();
    conn.disconnect().await.unwrap();
    found.schema
}

fn created(sql: &str, kind: Kind) -> Followed {
    let Statement::CreateTable(create) = ddl::parse(sql, "d", SqlMode::default()) else { panic!("{sql}") };
    let mut followed = Followed::default();
    followed.created(create.columns.as_deref(), &create.definitions, dialect(kind));
    followed.predict_created(&create.table, create.stated.as_ref(), &create.definitions, dialect(kind));
    followed
}

fn altered(before: TableSchema, what: &str, kind: Kind) -> Followed {
    let sql = format!("ALTER TABLE t {what}");
    let Statement::AlterTable { ops, .. } = ddl::parse(&sql, "d", SqlMode::default()) else { panic!("{sql}") };
    let place = BinlogPlace { file_number: 1, pos: 4, gtid: Gtid::Anonymous };
    let known = Followed::stored(Some(Current::new(SchemaId(1), before).unwrap()), Since::default());
    known.altered(&ops, &place, dialect(kind)).followed
}

both_servers! {
    async fn what_a_definition_makes_of_a_column_is_what_the_server_makes_of_it(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d").await;
        for (place, definition) in DEFINITIONS.iter().chain(others(kind)).enumerate() {
            let sql = format!("CREATE TABLE d.t{place} (id INT, c {definition}, PRIMARY KEY (id))");
            server.exec(&sql).await;
            let found = described(&server, kind, &format!("t{place}")).await;
            assert!(created(&sql, kind).confirmed(&found).is_some(), "{definition}: {found:?}");

            server.exec(format!("CREATE TABLE d.u{place} (id INT PRIMARY KEY)")).await;
            let before = described(&server, kind, &format!("u{place}")).await;
            server.exec(format!("ALTER TABLE d.u{place} ADD c {definition}")).await;
            let found = described(&server, kind, &format!("u{place}")).await;
            let before = TableSchema { name: TableName::new("d", "t"), ..before };
            let found = TableSchema { name: TableName::new("d", "t"), ..found };
            let followed = altered(before, &format!("ADD c {definition}"), kind);
            assert!(followed.confirmed(&found).is_some(), "{definition}: {found:?}");
        }
    }

    async fn what_a_statement_makes_of_a_table_is_what_the_server_makes_of_it(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a INT, b INT, c INT)").await;
        let mut before = described(&server, kind, "t").await;
        for what in STATEMENTS {
            server.exec(format!("ALTER TABLE d.t {what}")).await;
            let found = described(&server, kind, "t").await;
            let confirmed = altered(before.clone(), what, kind).confirmed(&found);
            // Which unique index there is, and what stands behind a column that moves, is not followed.
            let is_open = |part: &str| what.contains(part);
            let is_predicted = !["UNIQUE", "MODIFY e INT AFTER h", "AFTER l"].into_iter().any(is_open);
            let names = |schema: &TableSchema| schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
            assert_eq!(confirmed.is_some(), is_predicted, "{what}: {:?}, {:?}", names(&before), names(&found));
            if !before.same_image(&found) {
                // What it was before is never what it is.
                assert_eq!(altered(before.clone(), what, kind).confirmed(&before), None, "{what}");
            }
            before = found;
        }
    }
}
