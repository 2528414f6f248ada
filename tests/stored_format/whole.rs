//! A small log with everything in it and the target of one of its sinks, from the middle of a delivery: the readers of
//! this version see what is in them, and ingest, snapshots and deliveries continue.
//!
//! `examples/write_fixtures.rs` says what is in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use replicator::codec::catalog::SchemaRecord;
use replicator::codec::stored::{self, LOG_FORMAT};
use replicator::config::{Mode, SinkPlan, TableOptions, TableRule};
use replicator::deliver::{Delivery, Goal, Wiring};
use replicator::ingest;
use replicator::model::{SchemaId, TableName};
use replicator::sink::Sink;
use replicator::sink::sqlite::{self, SqlitePlan, SqliteSink};
use replicator::table::{self, Stage};
use replicator::telemetry::SinkLive;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wal::{Appender, Lsn, Options, Reader, Wal};

use super::{committed, continued, unpack};
use crate::support::daemon::{program, run_to_end};

/// The log's limit when it was written.
const MAX_SIZE: u64 = 16 << 20;

/// Nothing here waits for anything but itself.
const LIMIT: Duration = Duration::from_mins(1);

/// The schema that is pending when the log ends, of the rows of its last frame.
const PENDING: SchemaId = SchemaId(8);

/// What the copies hold when everything but the pending rows is delivered.
const ROWS: [(&str, &[&str]); 4] = [
    ("SELECT id, title, note FROM items ORDER BY id", &["1 'pen' NULL", "3 'hat' 'blue'"]),
    ("SELECT id, what FROM events", &["7 'new'"]),
    ("SELECT id, text FROM notes", &["10 'a note'"]),
    ("SELECT count(*) FROM sqlite_schema WHERE name IN ('drafts', 'lost', 'orders')", &["0"]),
];

/// A log, unpacked, and a place for a target.
pub struct Log {
    directory: TempDir,
}

impl Log {
    /// The log of the last format.
    pub fn current() -> Self {
        Self::of_format(u64::from(LOG_FORMAT))
    }

    fn of_format(format: u64) -> Self {
        let log = Self { directory: tempfile::tempdir().unwrap() };
        unpack(&format!("log/format-{format}.redb.gz"), &log.path().join("log.redb"));
        log
    }

    /// Opens it as a daemon does.
    pub fn open(&self) -> (Wal, Appender) {
        Wal::open(&self.path(), Options::new(MAX_SIZE)).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("target.db")
    }

    /// Delivers to an SQLite sink up to an LSN.
    async fn deliver(&self, wal: &Wal, sink: &str, end: Lsn) {
        deliver(wal, sink, Box::new(SqliteSink::new(plan(sink, &self.target())).unwrap()), end).await;
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.target(), sql)
    }
}

/// Delivers to a sink up to an LSN.
pub async fn deliver(wal: &Wal, name: &str, sink: Box<dyn Sink>, end: Lsn) {
    let (_goal, goal) = watch::channel(Goal::Reach(end));
    let (wishes, _wishes) = mpsc::unbounded_channel();
    let live = Arc::new(SinkLive::new(name, "fixture"));
    let wiring = Wiring {
        wal: wal.clone(),
        live,
        shutdown: CancellationToken::new(),
        goal,
        dead: replicator::dead::Hub::new(wal.clone(), u64::MAX),
        wishes,
        looking: None,
    };
    Delivery::new(sink, wiring).run().await.unwrap();
}

/// Says in the log what the pending schema is, as ingest does once the source has answered.
pub async fn decide_pending(wal: &Wal) {
    let key = stored::SCHEMA.of_number(PENDING.0);
    let record: SchemaRecord = stored::get(&wal.reader(), &key).unwrap().unwrap();
    let known = stored::encode(&SchemaRecord::Known(record.schema().clone())).unwrap();
    wal.put_state(vec![(key, Some(known))]).await.unwrap();
}

/// Mirrors, and a changelog of `users`.
fn plan(sink: &str, path: &Path) -> SinkPlan {
    let changelog = TableRule { mode: Some(Mode::History), ..TableRule::new(TableName::new("shop", "users")) };
    let settings = Arc::new(SqlitePlan { path: path.to_owned() });
    SinkPlan {
        rules: vec![changelog],
        ..SinkPlan::new(sink, TableOptions::new(Mode::Mirror), SqlitePlan::BATCH, settings)
    }
}

fn rows(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<_> = (0..columns)
            .map(|place| match row.get_ref(place).unwrap() {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Text(text) => format!("'{}'", std::str::from_utf8(text).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        lines.push(values.join(" "));
    }
    lines
}

/// A log and a target of these formats open, ingest logs what comes next, and what the target lacks is delivered to it:
/// the version that reads them may write another format from there on. The fixtures are of different logs with the same
/// beginning.
pub async fn opens(log_format: u64, target_format: u64) {
    let log = Log::of_format(log_format);
    unpack(&format!("sqlite/format-{target_format}.db.gz"), &log.target());
    let (wal, appender) = log.open();
    let reader = wal.reader();
    let durable = reader.positions().durable;
    stored::check_format(&reader, false).unwrap();
    assert_eq!(ingest::stored_position(&reader).unwrap().unwrap().file, "binlog.000003");

    continued::lives_are_known(&reader);
    continued::logs_a_transaction(&wal, appender).await;

    let connection = Connection::open(log.target()).unwrap();
    connection.execute("UPDATE _replicator_cursor SET log_id = ?1", [wal.id().to_string()]).unwrap();
    drop(connection);

    let before = log.rows("SELECT lsn FROM _replicator_cursor");
    assert_ne!(before, [durable.raw().to_string()], "the target has everything, so that nothing is shown");
    log.deliver(&wal, "local", durable.prev()).await;
    for (sql, expected) in ROWS {
        assert_eq!(log.rows(sql), expected, "{sql}");
    }
    let changes = "SELECT _op, before_id, after_id FROM users ORDER BY _version";
    let mut expected = vec![
        "'snapshot' NULL 1",
        "'snapshot' NULL 2",
        "'snapshot' NULL 3",
        "'update' 2 2",
        "'replace' NULL NULL",
        "'snapshot' NULL 1",
        "'snapshot' NULL 4",
        "'delete' 4 NULL",
    ];
    assert_eq!(log.rows(changes), expected);

    decide_pending(&wal).await;
    log.deliver(&wal, "local", reader.positions().durable).await;
    assert_eq!(log.rows("SELECT id, text FROM orders"), ["1 'waits'"]);
    expected.push("'insert' NULL 9");
    assert_eq!(log.rows(changes), expected);
    wal.shutdown().await.unwrap();
}

#[test]
fn an_inspection_of_the_log_shows_what_it_showed() {
    let log = Log::current();
    let arguments = ["wal", "inspect", "--json", "--rows", "--path"];
    let output = run_to_end(program().args(arguments).arg(log.path()), LIMIT);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    // What the file takes on disk is redb's, and its own tests'.
    let line = |line: &str| {
        let mut item: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(item) = item.as_object_mut() {
            item.remove("disk_bytes");
        }
        format!("{item}\n")
    };
    let shown: String = text.lines().map(line).collect();
    let expected = committed(&format!("log/format-{LOG_FORMAT}.inspected.jsonl"), &shown);
    for (place, (shown, expected)) in shown.lines().zip(expected.lines()).enumerate() {
        assert_eq!(
            shown, expected,
            "line {place}; if only the words changed, remove the file and run with WRITE_FIXTURES=1"
        );
    }
    assert_eq!(shown.lines().count(), expected.lines().count());
}

#[test]
fn an_inspection_in_words_shows_of_each_frame_what_json_shows() {
    let log = Log::current();
    let inspected = |more: &[&str]| {
        let mut command = program();
        let output = run_to_end(command.args(["wal", "inspect"]).args(more).arg("--path").arg(log.path()), LIMIT);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (json, in_lines, in_tables) = (inspected(&["--json"]), inspected(&["--rows"]), inspected(&[]));
    let items = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let frames: Vec<_> = items.filter(|item| item["kind"] == "frame").collect();
    assert_eq!(frames.len(), 31);
    for frame in &frames {
        let text = |key: &str| frame[key].as_str().unwrap().to_owned();
        let place = format!("{} {}:{}", text("source"), frame["file_number"], frame["pos"]);
        let size = format!("{} B", frame["bytes"]);
        let begins = format!("lsn {}  ", frame["lsn"]);
        let line = in_lines.lines().find(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("no {begins}"));
        let position = format!("position {}", frame["position"]);
        let fields: Vec<&str> = line.split("  ").collect();
        for shown in [text("committed"), text("gtid"), place.clone(), position, size.clone()] {
            assert!(fields.contains(&shown.as_str()), "{shown} in {line}");
        }
        assert_eq!(line.ends_with("  (continues)"), frame["ends_transaction"] == false, "{line}");
        let lsn = frame["lsn"].to_string();
        let is_row = |row: &&str| row.contains(&place) && row.split_whitespace().next() == Some(lsn.as_str());
        let row = in_tables.lines().find(is_row).unwrap_or_else(|| panic!("no row of {lsn}"));
        for shown in [text("gtid"), frame["position"].to_string(), size] {
            assert!(row.contains(&shown), "{shown} in {row}");
        }
    }
}

#[test]
fn a_verification_of_the_log_finds_nothing() {
    let log = Log::current();
    let output = run_to_end(program().args(["wal", "verify", "--path"]).arg(log.path()), LIMIT);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("sound"), "{text}");
}

#[test]
fn every_entry_of_the_logs_state_is_of_a_record_that_there_is() {
    let log = Log::current();
    let reader = Reader::open_read_only(&log.path()).unwrap();
    let state = reader.state_prefix(b"").unwrap();
    for (key, value) in &state {
        let entry = stored::ALL.iter().find(|entry| key.starts_with(entry.key()));
        let entry = entry.unwrap_or_else(|| panic!("no record has the key {}", String::from_utf8_lossy(key)));
        assert_eq!(value.first(), Some(&entry.version), "{}", entry.what);
    }
    let reads = table::records(&reader).unwrap().into_iter().filter_map(|(_, record)| record.read);
    let has_ranges = reads.filter(|read| matches!(read.stage, Stage::Ranges(_))).count() > 0;
    for entry in stored::ALL {
        // The ranges of a read are inside the record of its table.
        let is_there =
            (*entry == &stored::RANGES && has_ranges) || state.iter().any(|(key, _)| key.starts_with(entry.key()));
        assert!(is_there, "the log has no {}", entry.what);
    }
}

#[tokio::test]
async fn a_new_target_gets_everything_and_rows_that_waited_once_their_schema_is_known() {
    let log = Log::current();
    let (wal, _appender) = log.open();
    let durable = wal.reader().positions().durable;
    log.deliver(&wal, "fresh", durable.prev()).await;
    for (sql, expected) in ROWS {
        assert_eq!(log.rows(sql), expected, "{sql}");
    }
    decide_pending(&wal).await;
    log.deliver(&wal, "fresh", durable).await;
    assert_eq!(log.rows("SELECT id, text FROM orders"), ["1 'waits'"]);
    wal.shutdown().await.unwrap();
}

#[test]
fn the_fixture_of_the_target_says_its_format() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target.db");
    unpack(&format!("sqlite/format-{}.db.gz", sqlite::FORMAT), &target);
    assert_eq!(
        rows(&target, "SELECT sink, format, epoch FROM _replicator_cursor"),
        [format!("'local' {} 1", sqlite::FORMAT)]
    );
}
