//! A database as a version of the sink left it, in statements that make it again:
//! `tests/fixtures/clickhouse/format-<n>.sql`. A delivery continues on it, from the log of `tests/fixtures/log`.
//!
//! The fixture of a new format is written by this test where there is none and `WRITE_FIXTURES` is set, and never
//! again.

use std::fmt::Write as _;

use replicator::config::{Mode, SinkPlan, TableRule};
use replicator::model::TableName;
use replicator::sink::Sink;
use replicator::sink::clickhouse::{ClickHouseSink, FORMAT};
use serde_json::json;
use tokio::runtime::Handle;

use super::rig::plan;
use crate::stored_format::whole::{Log, decide_pending, deliver};
use crate::stored_format::{WRITE, fixture};
use crate::support::clickhouse::{ClickHouse, REPLICA};

/// A sink of the log that nothing was delivered to.
const SINK: &str = "fresh";

/// In the place of the log's identity: the fixtures of logs have different ones.
const LOG: &str = "{log}";

/// Ends a statement.
const END: &str = "\n;\n";

/// Mirrors, and a changelog of the table without a key.
fn fixture_plan(url: &str) -> SinkPlan {
    let mut plan = plan(url, &json!({ "name": SINK }));
    plan.rules.push(TableRule { mode: Some(Mode::History), ..TableRule::new(TableName::new("shop", "events")) });
    plan
}

fn sink(server: &ClickHouse) -> Box<dyn Sink> {
    Box::new(ClickHouseSink::new(fixture_plan(&server.url()), Handle::current()).unwrap())
}

/// The database in statements: its tables with their rows as they are stored, then its views.
async fn dump(server: &ClickHouse) -> String {
    let tables = server
        .query(format!(
            "SELECT name, engine = 'View' AS is_view FROM system.tables WHERE database = '{REPLICA}' ORDER BY is_view, name"
        ))
        .await;
    let mut text = String::new();
    for line in tables.lines() {
        let (name, is_view) = line.split_once('\t').unwrap();
        let create = server.query(format!("SHOW CREATE TABLE {REPLICA}.`{name}` FORMAT TSVRaw")).await;
        write!(text, "{}{END}", create.trim_end()).unwrap();
        if is_view == "0" {
            let rows = server.query(format!("SELECT * FROM {REPLICA}.`{name}` ORDER BY ALL FORMAT JSONEachRow")).await;
            if !rows.is_empty() {
                write!(text, "INSERT INTO {REPLICA}.`{name}` FORMAT JSONEachRow\n{}{END}", rows.trim_end()).unwrap();
            }
        }
    }
    text
}

/// Writes the fixture: everything is delivered but the rows whose schema is pending.
async fn write() {
    let server = ClickHouse::start().await;
    let log = Log::current();
    let (wal, _appender) = log.open();
    let end = wal.reader().positions().durable.prev();
    deliver(&wal, SINK, sink(&server), end).await;
    let path = fixture(&format!("clickhouse/format-{FORMAT}.sql"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, dump(&server).await.replace(&wal.id().to_string(), LOG)).unwrap();
    wal.shutdown().await.unwrap();
}

async fn rows(server: &ClickHouse, sql: &str) -> Vec<String> {
    server.query(sql).await.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_every_format_is_continued() {
    let current = fixture(&format!("clickhouse/format-{FORMAT}.sql"));
    if !current.exists() && std::env::var_os(WRITE).is_some() {
        write().await;
    }
    for format in 4..=FORMAT {
        let path = fixture(&format!("clickhouse/format-{format}.sql"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let log = Log::current();
        let (wal, _appender) = log.open();
        let server = ClickHouse::start().await;
        for statement in text.replace(LOG, &wal.id().to_string()).split_terminator(END) {
            server.exec(statement).await;
        }
        let durable = wal.reader().positions().durable;
        let lsn =
            rows(&server, &format!("SELECT max(lsn) FROM {REPLICA}._replicator_cursors WHERE sink = '{SINK}'")).await;
        assert_eq!(lsn, [durable.prev().to_string()], "where the target of format {format} is");

        decide_pending(&wal).await;
        deliver(&wal, SINK, sink(&server), durable).await;

        for (table, expected) in [
            ("users", &["1\tann"][..]),
            ("items", &["1\tpen\t\\N", "3\that\tblue"]),
            ("notes", &["10\ta note"]),
            ("orders", &["1\twaits"]),
        ] {
            let columns = if table == "items" { "id, title, note" } else { "* EXCEPT (_version, _is_deleted)" };
            let sql = format!("SELECT {columns} FROM {REPLICA}.{table} FINAL ORDER BY id");
            assert_eq!(rows(&server, &sql).await, expected, "{table}, format {format}");
        }
        let events = format!("SELECT _op, before_what, after_what FROM {REPLICA}.events FINAL ORDER BY _version");
        let expected =
            ["insert\t\\N\told", "truncate\t\\N\t\\N", "insert\t\\N\tnew", "insert\t\\N\tnew", "delete\tnew\t\\N"];
        assert_eq!(rows(&server, &events).await, expected, "format {format}");
        wal.shutdown().await.unwrap();
    }
}
