//! A row read by `SELECT` and the same row in the binlog are the same: schema, and every byte of the image.
//!
//! The one difference is MySQL's `JSON`, which the snapshot has as text; there the decoded values are compared.

use std::sync::{Arc, Mutex};

use replicator::config::Startup;
use replicator::model::{ColumnDefault, Lacks, TableName, TableSchema, Told};
use replicator::source::mysql::binlog::{BinlogStream, Decoder, Item};
use replicator::source::mysql::snapshot::handoff::Images;
use replicator::source::mysql::{connect, schema, server, start};

use super::fake_loop::{Log, Run, SMALL, decode, decode_cell, plan};
use crate::support::cells::Cell;
use crate::support::server::{Kind, Server, ServerOptions, USER};

/// Every type, with a key that is not its first column.
const COLUMNS: &str = "
    ti TINYINT, tu TINYINT UNSIGNED, si SMALLINT, mi MEDIUMINT, mu MEDIUMINT UNSIGNED, id INT NOT NULL PRIMARY KEY, bi BIGINT,
    bu BIGINT UNSIGNED ZEROFILL, f FLOAT, d DOUBLE, f2 FLOAT(7,3), dec1 DECIMAL(65,30), dec2 DECIMAL(12,2) UNSIGNED, dec0 DECIMAL(9,0),
    y YEAR, da DATE, t0 TIME, t3 TIME(3), t6 TIME(6), dt DATETIME, dt1 DATETIME(1), dt6 DATETIME(6),
    ts TIMESTAMP NULL, ts5 TIMESTAMP(5) NULL, b1 BIT(1), b13 BIT(13), b64 BIT(64),
    c CHAR(10) CHARACTER SET utf8mb4, cl CHAR(10) CHARACTER SET latin1, c255 CHAR(255) CHARACTER SET utf8mb4,
    v VARCHAR(10) CHARACTER SET utf8mb4, v300 VARCHAR(300) CHARACTER SET utf8mb4, vu VARCHAR(20) CHARACTER SET ucs2,
    vs VARCHAR(20) CHARACTER SET sjis, va VARCHAR(5) CHARACTER SET ascii,
    bn BINARY(4), bw BINARY(255), vb VARBINARY(20), vw VARBINARY(300),
    tt TINYTEXT CHARACTER SET latin1, tx TEXT CHARACTER SET utf8mb4, mt MEDIUMTEXT CHARACTER SET utf8mb3, lt LONGTEXT CHARACTER SET utf8mb4,
    tb TINYBLOB, bb BLOB, mb MEDIUMBLOB, lb LONGBLOB,
    e ENUM('z', 'it''s', 'a,b', 'b\\\\s') CHARACTER SET utf8mb4, el ENUM('x', 'y') CHARACTER SET latin1,
    s SET('p', 'q', 'r s') CHARACTER SET utf8mb4, s9 SET('1','2','3','4','5','6','7','8','9'),
    g GEOMETRY, p POINT, gv INT AS (id + 1) VIRTUAL, gs INT AS (id * 2) STORED";

const NAMES: &str = "ti,tu,si,mi,mu,id,bi,bu,f,d,f2,dec1,dec2,dec0,y,da,t0,t3,t6,dt,dt1,dt6,ts,ts5,b1,b13,b64,c,cl,c255,v,v300,vu,vs,va,\
    bn,bw,vb,vw,tt,tx,mt,lt,tb,bb,mb,lb,e,el,s,s9,g,p";

const ROWS: [&str; 4] = [
    "-128,255,-32768,-8388608,16777215,-2147483648,-9223372036854775808,18446744073709551615,3.4028235e38,-1.7976931348623157e308,1234.567,
     99999999999999999999999999999999999.999999999999999999999999999999,9999999999.99,-999999999,1901,'9999-12-31','-838:59:59',
     '838:59:58.999','-00:00:00.000001','1000-01-01 00:00:00','9999-12-31 23:59:59.9','2020-02-29 12:34:56.123456',
     '1970-01-01 00:00:01','2038-01-19 03:14:07.99999',b'1',b'1010101010101',x'FFFFFFFFFFFFFFFF','abc  ','\u{e9}',REPEAT('\u{e9}', 255),
     'tail  ',REPEAT('\u{1f600}', 300),'\u{263a}','\u{3042}','ascii',x'61000000',REPEAT('x', 200),x'00FF00',REPEAT(x'00', 300),
     '\u{e9}','text','\u{263a}',REPEAT('z', 70000),x'00',x'FF',x'5C27',REPEAT(x'AB', 70000),'it''s','y','p,r s','1,9',
     ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0.5)'),ST_GeomFromText('POINT(1 -2)')",
    "127,0,32767,8388607,0,7,9223372036854775807,0,1.1,0.1,-0.001,-0.000000000000000000000000000001,0,1,2155,'0000-00-00','00:00:00',
     '-12:34:56.700','838:59:59.000000','0000-00-00 00:00:00','2020-00-00 00:00:00.5','1000-01-01 00:00:00.000001',
     '0000-00-00 00:00:00','2020-10-25 01:30:00.00001',b'0',b'0',x'01','','','','','','','','',x'','','','','','','','','','','','','','','','',
     ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))'),ST_GeomFromText('POINT(0 0)')",
    "NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,
     NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL",
    "1,1,1,1,1,2147483647,1,1,1e-45,5e-324,0,1.5,1.50,0,0,'2020-01-31','00:00:01','00:00:00.001','00:00:00.100000',
     '2020-01-01 00:00:00','2020-01-01 00:00:00.1','2020-01-01 00:00:00.000010','2020-01-01 00:00:00','2020-01-01 00:00:00.5',
     b'1',b'1',x'8000000000000000',' a','  ',' ',' ',' \t','a','b','c',x'00000001',x'00',x'20',x'20',' ',' ',' ',' ',x'20',x'20',x'20',x'20',
     'a,b','x','q','9',NULL,NULL",
];

/// Where the catalogue tells the default exactly.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Both,
    MariaDb,
    Neither,
}

const DEFAULTS: [(&str, &str, On); 36] = [
    ("i", "INT DEFAULT -3", On::Both),
    ("u", "BIGINT UNSIGNED DEFAULT 18446744073709551615", On::Both),
    ("bo", "BOOL NOT NULL DEFAULT TRUE", On::Both),
    ("n", "INT", On::Both),
    ("nn", "INT NOT NULL", On::Both),
    ("f", "FLOAT DEFAULT 1.1", On::Both),
    ("d", "DOUBLE NOT NULL DEFAULT 1e10", On::Both),
    ("de", "DECIMAL(12,3) DEFAULT 1.5", On::Both),
    ("den", "DECIMAL(12,3) NOT NULL", On::Both),
    ("y", "YEAR DEFAULT 2020", On::Both),
    ("yn", "YEAR NOT NULL", On::Both),
    ("da", "DATE DEFAULT '2020-01-02'", On::Both),
    ("dan", "DATE NOT NULL", On::Both),
    ("ti", "TIME(3) DEFAULT '-10:11:12.5'", On::Both),
    ("dt", "DATETIME(2) DEFAULT '2020-01-01 00:00:00.12'", On::Both),
    ("dtn", "DATETIME NOT NULL", On::Both),
    ("ts", "TIMESTAMP NULL", On::Both),
    ("tc", "TIMESTAMP NOT NULL DEFAULT '2020-10-25 01:30:00'", On::MariaDb),
    ("tz", "TIMESTAMP NOT NULL DEFAULT 0", On::Both),
    ("now", "DATETIME DEFAULT CURRENT_TIMESTAMP", On::Neither),
    ("bi", "BIT(13) DEFAULT b'101'", On::Both),
    ("bin", "BIT(3) NOT NULL", On::Both),
    ("c", "CHAR(10) DEFAULT 'abc'", On::Both),
    ("q", "VARCHAR(30) DEFAULT 'it''s \"q\" \\\\ \u{e9}'", On::Both),
    ("l", "VARCHAR(9) CHARACTER SET latin1 DEFAULT '\u{e9}'", On::Both),
    ("w", "VARCHAR(9) DEFAULT 'NULL'", On::Both),
    ("em", "VARCHAR(9) DEFAULT ''", On::Both),
    ("vn", "VARCHAR(300) NOT NULL", On::Both),
    ("tx", "TEXT NOT NULL", On::Both),
    ("vb", "VARBINARY(20) DEFAULT 'x'", On::MariaDb),
    ("bl", "BLOB NOT NULL", On::Both),
    ("e", "ENUM('a', 'b', '\u{e9}') CHARACTER SET utf8mb4 DEFAULT '\u{e9}'", On::Both),
    ("en", "ENUM('x', 'y') NOT NULL", On::Both),
    ("s", "SET('p', 'q', 'r') DEFAULT 'p,r'", On::Both),
    ("ex", "INT DEFAULT (1 + 1)", On::Neither),
    ("gen", "INT AS (id + 1) STORED", On::Neither),
];

/// The captured table of the binlog since a position: its schema and its inserted rows.
struct Stream {
    stream: BinlogStream,
    decoder: Decoder,
}

impl Stream {
    async fn open(server: &Server) -> Self {
        let plan = plan(server, USER, SMALL);
        let mut connection = connect::connect(&plan).await.unwrap();
        let info = server::ServerInfo::probe(&mut connection).await.unwrap();
        let start = start::resolve(&mut connection, &info, None, &Startup::Initial).await.unwrap();
        let decoder = Decoder::new(&start, plan.filter.clone(), Arc::clone(&info.collations)).unwrap();
        Self { stream: BinlogStream::open(&plan, &start, 77).await.unwrap(), decoder }
    }

    /// Reads on until so many bytes of rows have come; gives the last schema and the images.
    async fn rows_of(&mut self, transactions: usize) -> (Told, Vec<u8>) {
        let (mut schema, mut bytes, mut committed, mut has_rows) = (None, Vec::new(), 0, false);
        while committed < transactions {
            let event = self.stream.next().await.unwrap();
            match self.decoder.decode(&event).unwrap() {
                Item::Schema { told, .. } => schema = Some(Told::clone(&told)),
                Item::Rows { images, .. } => {
                    has_rows = true;
                    bytes.extend_from_slice(&images);
                }
                Item::Commit if has_rows => {
                    committed += 1;
                    has_rows = false;
                }
                _ => {}
            }
        }
        (schema.unwrap(), bytes)
    }
}

async fn snapshot(server: &Server, table: &TableName) -> (TableSchema, Images) {
    let log = Arc::new(Mutex::new(Log::default()));
    let run = Run::start(server, SMALL, log, std::slice::from_ref(table));
    let records = run.settle().await;
    assert!(records.values().all(|record| record.unreadable.is_none()), "{records:?}");
    let log = run.end().await;
    log.lock().unwrap().chunks.pop().unwrap()
}

/// What the catalogue gives as defaults is not in the binlog.
/// What a `TABLE_MAP` says of a schema, too.
fn as_mapped(mut schema: TableSchema) -> TableSchema {
    for column in &mut schema.columns {
        column.default = ColumnDefault::Unknown;
        column.attributes = None;
    }
    schema
}

both_servers! {
    async fn a_row_of_every_type_has_the_same_image_from_both_sides(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d").await;
        let settings = [("FULL", Lacks::NOTHING), ("MINIMAL", Lacks::MINIMAL), ("NO_LOG", Lacks::NO_LOG)];
        for (metadata, lacks) in settings {
            if metadata == "NO_LOG" && kind == Kind::MySql {
                continue;
            }
            server.exec(format!("SET GLOBAL binlog_row_metadata = '{metadata}'; DROP TABLE IF EXISTS d.t")).await;
            let mut stream = Stream::open(&server).await;
            let inserts = ROWS.map(|row| format!("INSERT IGNORE INTO t ({NAMES}) VALUES ({row})")).join("; ");
            server
                .exec(format!(
                    "SET NAMES utf8mb4; SET time_zone = '+00:00'; SET sql_mode = 'ALLOW_INVALID_DATES'; USE d; \
                     CREATE TABLE t ({COLUMNS}); {inserts}"
                ))
                .await;

            let (told, streamed) = stream.rows_of(ROWS.len()).await;
            let (described, read) = snapshot(&server, &TableName::new("d", "t")).await;

            assert_eq!(told.lacks, lacks, "{metadata}");
            assert_eq!(Told::of(&as_mapped(described.clone()), lacks), told, "{metadata}");
            assert_eq!(told.fits(&described, false), Some(0), "{metadata}");
            // The stream has them as inserted, the snapshot by key.
            let mut expected = decode(&described, &streamed);
            expected.sort();
            let mut found = decode(&described, &read.bytes);
            found.sort();
            for (expected, found) in expected.iter().zip(&found) {
                for ((column, expected), found) in described.columns.iter().zip(expected).zip(found) {
                    assert_eq!(expected, found, "{metadata}: {}", column.name);
                }
            }
            assert_eq!(read.rows, 4);
            assert_eq!(split(&described, &streamed), split(&described, &read.bytes));
        }
    }

    async fn a_described_default_is_what_rows_hold_that_were_there_before_the_column(kind: Kind) {
        let server = Server::start(kind).await;
        let columns = DEFAULTS.map(|(name, definition, _)| format!("ADD {name} {definition}")).join(", ");
        server
            .exec(format!(
                "SET NAMES utf8mb4; SET sql_mode = 'ALLOW_INVALID_DATES'; SET time_zone = '+02:00'; CREATE DATABASE d; \
                 CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1); ALTER TABLE d.t {columns}"
            ))
            .await;

        let (described, read) = snapshot(&server, &TableName::new("d", "t")).await;

        let row = decode(&described, &read.bytes).remove(0);
        let column = |name: &str| described.column_index(name).unwrap();
        for (name, _, known) in DEFAULTS {
            let place = column(name);
            let default = match &described.columns[place].default {
                ColumnDefault::Unknown => None,
                ColumnDefault::Null => Some(Cell::Null),
                ColumnDefault::Value(bytes) => Some(decode_cell(&described, place, bytes)),
            };
            let known = known == On::Both || (known == On::MariaDb && kind == Kind::MariaDb);
            assert_eq!(default, known.then(|| row[place].clone()), "{name}");
        }
    }

    async fn a_description_says_what_the_stream_says_whatever_the_keys(kind: Kind) {
        let server = ServerOptions::new(kind).with_row_metadata("FULL").start().await;
        server.exec("CREATE DATABASE d").await;
        let tables = [
            ("a INT, b INT NOT NULL, c INT, PRIMARY KEY (c, b)", "1, 1, 1"),
            ("a INT, b INT NOT NULL, c INT NOT NULL, UNIQUE u (c), UNIQUE v (b)", "1, 1, 1"),
            ("a INT, b INT NOT NULL, UNIQUE n (a), UNIQUE v (b, a)", "1, 1"),
            ("a VARCHAR(20) NOT NULL, b INT NOT NULL, UNIQUE p (a(3)), UNIQUE q (b)", "1, 1"),
            ("a VARCHAR(20) NOT NULL, b INT, UNIQUE p (a(3))", "1, 1"),
            ("a TEXT NOT NULL, PRIMARY KEY (a(10))", "1"),
            ("a INT, b INT", "1, 1"),
        ];
        let mut stream = Stream::open(&server).await;
        for (number, (columns, values)) in tables.iter().enumerate() {
            let name = format!("d.k{number}");
            server.exec(format!("CREATE TABLE {name} ({columns}); INSERT INTO {name} VALUES ({values})")).await;

            let (told, _) = stream.rows_of(1).await;
            let mut connection = connect::connect(&plan(&server, USER, SMALL)).await.unwrap();
            let info = server::ServerInfo::probe(&mut connection).await.unwrap();
            let found = schema::describe(&mut connection, info.flavour, &told.schema.name).await.unwrap().unwrap();

            assert!(found.schema.same_image(&told.schema), "{columns}: described {:?}, told {:?}", found.schema.key, told.schema.key);
        }
    }
}

/// The images one by one, sorted, without the bits of the null bitmap that stand for no column: MariaDB sets them.
fn split(schema: &TableSchema, bytes: &[u8]) -> Vec<Vec<u8>> {
    assert!(!schema.columns.len().is_multiple_of(8));
    let plan = replicator::codec::row_image::Plan::all(schema).unwrap();
    let (mut rest, mut images) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (image, after) = rest.split_at(plan.image_len(rest).unwrap());
        let mut image = image.to_vec();
        let columns = schema.columns.len();
        image[columns / 8] &= u8::MAX >> (8 - columns % 8);
        images.push(image);
        rest = after;
    }
    images.sort();
    images
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_vectors_have_the_same_values_from_both_sides_on_mysql() {
    let server = ServerOptions::new(Kind::MySql).with_row_metadata("FULL").start().await;
    server.exec("CREATE DATABASE d").await;
    let mut stream = Stream::open(&server).await;
    let documents = [
        r#"{"b": [1, 2.5, 1e100, -0.0, true, null], "a": {"\u00e9": "\"\\\n\u0001"}}"#,
        "18446744073709551615",
        "\"\"",
        "null",
        "[]",
        "1.0",
    ];
    let rows: Vec<String> = documents
        .iter()
        .enumerate()
        .map(|(id, json)| {
            format!("({id}, '{}', STRING_TO_VECTOR('[{id}, -1.5]'))", json.replace('\\', "\\\\").replace('\'', "''"))
        })
        .collect();
    server
        .exec(format!(
            "CREATE TABLE d.t (id INT PRIMARY KEY, j JSON, v VECTOR(3)); INSERT INTO d.t VALUES {}; \
             INSERT INTO d.t VALUES (90, JSON_ARRAY(CAST(1.50 AS DECIMAL(9,2)), CAST('2020-01-01 00:00:00.5' AS DATETIME(6)), DATE '2020-01-01', \
             TIME '-01:02:03', CAST(x'00ff' AS BINARY)), NULL)",
            rows.join(", ")
        ))
        .await;

    let (told, streamed) = stream.rows_of(2).await;
    let (described, read) = snapshot(&server, &TableName::new("d", "t")).await;

    assert_eq!(as_mapped(described.clone()), told.schema);
    let (mut expected, mut found) = (decode(&told.schema, &streamed), decode(&described, &read.bytes));
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(found.len(), documents.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uuids_and_addresses_have_the_same_image_from_both_sides_on_mariadb() {
    let server = ServerOptions::new(Kind::MariaDb).with_row_metadata("FULL").start().await;
    server.exec("CREATE DATABASE d").await;
    let mut stream = Stream::open(&server).await;
    server
        .exec(
            "CREATE TABLE d.t (u UUID, a INET6, id INT, b INET4, n BINARY(16), un UUID NOT NULL, PRIMARY KEY (un, id)); \
             INSERT INTO d.t VALUES ('00000000-0000-0000-0000-000000000000', '::', 1, '0.0.0.0', x'00', '00000000-0000-0000-0000-000000000000'), \
             ('12345678-9abc-1ef0-8234-567890ab0000', '1::', 2, '1.0.0.0', x'0100', '12345678-9abc-4ef0-8234-567890abcdef'), \
             ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffff::ffff', 3, '255.255.255.255', NULL, UUID()), (NULL, NULL, 4, NULL, NULL, UUID())",
        )
        .await;

    let (told, streamed) = stream.rows_of(1).await;
    let told = told.schema;
    let (described, read) = snapshot(&server, &TableName::new("d", "t")).await;

    let mut as_told = as_mapped(described.clone());
    for column in &mut as_told.columns {
        column.ty = column.ty.as_told();
    }
    assert_eq!(as_told, told);
    assert_ne!(as_mapped(described.clone()), told);
    assert_eq!(read.rows, 4);
    assert_eq!(split(&told, &streamed), split(&described, &read.bytes));
}
