//! Writes the fixtures of the formats that this version writes: a small log as a daemon leaves it that was stopped in
//! the middle of a delivery, and the SQLite target of that delivery. A fixture is written once: one that is there
//! already stays.
//!
//! `cargo run --example write_fixtures`; `docs/formats.md` says when. `tests/stored_format` opens what it writes. What is
//! delivered before the stop is the same in the fixtures of every format: a target of one format is continued from the log
//! of another.
//!
//! The sinks of the log: `local`, whose target is the second fixture; `fresh`, which nothing was delivered to;
//! `other`, which has a token and a round under way; and `gone`, whose cursor is detached.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for maintainers: it stops at the first thing that is wrong, with its place"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use replicator::codec::catalog::SchemaRecord;
use replicator::codec::frame::{
    Audience, CheckHeader, FrameHeader, KeyRange, Mark, RowOp, RowsHeader, Section, TableChange, encode_header,
};
use replicator::codec::row_image::ImageWriter;
use replicator::codec::stored::{self, Entry, LOG_FORMAT};
use replicator::config::{Deletion, Mode, SinkKind, SinkPlan, TableOptions, TableRule};
use replicator::deliver::{Delivery, Goal, Wiring};
use replicator::model::{
    BinlogPlace, Charset, Column, ColumnDefault, ColumnType, Gtid, IntWidth, Key, KeyKind, Origin, SchemaId,
    SourcePlace, TableName, TableSchema,
};
use replicator::sink::sqlite::{self, SqliteSink};
use replicator::telemetry::SinkLive;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wal::{Appender, GroupEnd, Lsn, Options, Wal};

/// The least that a log may have.
const MAX_SIZE: u64 = 16 << 20;

/// The schemas of the log.
mod schema {
    pub(super) const USERS: u32 = 1;
    pub(super) const ITEMS: u32 = 2;
    pub(super) const ITEMS_WIDER: u32 = 3;
    pub(super) const EVENTS: u32 = 4;
    pub(super) const DRAFTS: u32 = 5;
    pub(super) const NOTES: u32 = 6;
    pub(super) const LEFT_OUT: u32 = 7;
    pub(super) const PENDING: u32 = 8;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(write());
}

async fn write() {
    let log_to = fixtures().join(format!("log/format-{LOG_FORMAT}.redb.gz"));
    let target_to = fixtures().join(format!("sqlite/format-{}.db.gz", sqlite::FORMAT));
    assert!(
        !log_to.exists() || !target_to.exists(),
        "the fixtures of these formats are there, and are never written again"
    );
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let target = directory.path().join("target.db");
    fill(&log, &target).await;
    for (from, to) in [(log.join("log.redb"), log_to), (target, target_to)] {
        if !to.exists() {
            compress(&from, &to);
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn compress(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut encoder = GzEncoder::new(File::create_new(to).unwrap(), Compression::best());
    std::io::copy(&mut File::open(from).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
    println!("{}: {} bytes", to.display(), fs::metadata(to).unwrap().len());
}

fn table(name: &str) -> TableName {
    TableName::new("shop", name)
}

/// A table of `id` and texts.
fn table_of(name: &str, texts: &[&str], keyed: bool) -> TableSchema {
    let column = |name: &str, ty, nullable| Column { name: name.into(), ty, nullable, default: ColumnDefault::Unknown };
    let mut columns = vec![column("id", ColumnType::Int { width: IntWidth::W4, unsigned: true }, !keyed)];
    let text = || ColumnType::VarChar { max_bytes: 400, charset: Charset::new("utf8mb4") };
    columns.extend(texts.iter().map(|name| column(name, text(), true)));
    let key = keyed.then(|| Key { kind: KeyKind::Primary, columns: vec![0] });
    TableSchema { name: table(name), columns, key }
}

fn schemas() -> Vec<(u32, SchemaRecord)> {
    let known = |name, texts: &[&str], keyed| SchemaRecord::Known(table_of(name, texts, keyed));
    let seen = |name| table_of(name, &["text"], true);
    let left_out = SchemaRecord::LeftOut { seen: seen("lost"), before: None, reason: "no answer within 2s".into() };
    let pending = SchemaRecord::Pending { seen: seen("orders"), unknown: vec![1], before: None };
    vec![
        (schema::USERS, known("users", &["name"], true)),
        (schema::ITEMS, known("items", &["label"], true)),
        (schema::ITEMS_WIDER, known("items", &["title", "note"], true)),
        (schema::EVENTS, known("events", &["what"], false)),
        (schema::DRAFTS, known("drafts", &["text"], true)),
        (schema::NOTES, known("notes", &["text"], true)),
        (schema::LEFT_OUT, left_out),
        (schema::PENDING, pending),
    ]
}

/// The log under way: frames of every kind, one transaction after another.
struct Frames {
    appender: Appender,
    committed: u64,
}

impl Frames {
    fn origin(&self) -> Origin {
        let number = self.committed;
        let gtid = match number % 3 {
            0 => Gtid::Anonymous,
            1 => {
                Gtid::MySql { uuid: [0x3e; 16], tag: if number > 9 { "nightly".into() } else { String::new() }, number }
            }
            _ => Gtid::MariaDb { domain: 3, server: 70_000, sequence: number },
        };
        let place = SourcePlace::MySql(BinlogPlace { file_number: 3, pos: 1000 + number, gtid });
        Origin { commit_micros: 1_795_251_600_000_000 + i64::try_from(number).unwrap(), place }
    }

    fn append(&mut self, header: &FrameHeader, body: &[u8], end: GroupEnd) {
        let mut bytes = Vec::new();
        encode_header(header, &mut bytes).unwrap();
        self.appender.append(&[&bytes, body], end).unwrap();
        self.committed += u64::from(end == GroupEnd::Ends);
    }

    fn change(&mut self, audience: Audience, change: TableChange) {
        let header = FrameHeader::Change { origin: self.origin(), audience, change };
        self.append(&header, &[], GroupEnd::Ends);
    }

    fn create(&mut self, name: &str, id: u32) {
        let to = SchemaId(id);
        self.change(Audience::All, TableChange::Schema { table: table(name), from: None, to, renamed: Vec::new() });
    }

    fn mark(&mut self, mark: Mark) {
        let header = FrameHeader::Mark { origin: self.origin(), audience: Audience::All, mark };
        self.append(&header, &[], GroupEnd::Ends);
    }

    fn rows(&mut self, audience: Audience, sections: &[(u32, RowOp, &[&[&str]])], end: GroupEnd) {
        let (mut headers, mut body) = (Vec::new(), Vec::new());
        for (id, op, rows) in sections {
            let images = images(*id, rows);
            let bytes = images.len().try_into().unwrap();
            let changes = u32::try_from(rows.len()).unwrap() / op.images_per_row();
            headers.push(Section { schema: SchemaId(*id), op: *op, rows: changes, bytes });
            body.extend(images);
        }
        let header = FrameHeader::Rows(RowsHeader { origin: self.origin(), audience, sections: headers });
        self.append(&header, &body, end);
    }
}

/// The images of rows in text; `~` is NULL.
fn images(id: u32, rows: &[&[&str]]) -> Vec<u8> {
    let (_, record) = schemas().into_iter().find(|(other, _)| *other == id).unwrap();
    let writer = ImageWriter::new(record.schema()).unwrap();
    let mut body = Vec::new();
    for row in rows {
        let mut builder = writer.row(&mut body);
        for value in *row {
            if *value == "~" { builder.null() } else { builder.text_protocol(value.as_bytes()) }.unwrap();
        }
        builder.finish().unwrap();
    }
    body
}

/// Fills a new log, and delivers the first part of it.
async fn fill(directory: &Path, target: &Path) {
    let (wal, appender) = Wal::open(directory, Options::new(MAX_SIZE)).unwrap();
    wal.put_state(state()).await.unwrap();
    for cursor in ["local", "fresh", "other", "gone"] {
        wal.create_cursor(cursor, Lsn::ZERO).await.unwrap();
    }
    let mut log = Frames { appender, committed: 1 };
    rows_and_definitions(&mut log);
    log.appender.flush_durable().await.unwrap();
    deliver(&wal, target).await;
    frames_for_some_and_for_all(&mut log);
    log.appender.flush_durable().await.unwrap();

    let bounds = record(&stored::SINK_ROUND, "round");
    let state = vec![(stored::SINK_ROUND.of_sink("other"), Some(bounds))];
    wal.ack("other", Lsn::new(5), b"a token", state).await.unwrap();
    wal.detach_cursor("gone").await.unwrap();
    wal.shutdown().await.unwrap();
}

/// Rows of every kind, and every change of a definition.
fn rows_and_definitions(log: &mut Frames) {
    use RowOp::{Delete, Insert, Snapshot, Update};
    use schema::{DRAFTS, EVENTS, ITEMS, ITEMS_WIDER, NOTES, USERS};

    let all = || Audience::All;
    let ends = GroupEnd::Ends;
    log.create("users", USERS);
    log.mark(Mark::SnapshotBegun { table: table("users"), whole: true });
    log.rows(all(), &[(USERS, Snapshot, &[&["1", "ann"], &["2", "~"], &["3", "eve"]])], ends);
    log.mark(Mark::SnapshotFinished { table: table("users"), rows: 3 });
    log.create("items", ITEMS);
    log.rows(all(), &[(ITEMS, Insert, &[&["1", "pen"], &["2", "cup"]])], GroupEnd::More);
    let sections: [(u32, RowOp, &[&[&str]]); 2] =
        [(USERS, Update, &[&["2", "~"], &["2", "bob"]]), (ITEMS, Delete, &[&["2", "cup"]])];
    log.rows(all(), &sections, ends);
    let renamed = vec![("label".into(), "title".into())];
    let (from, to) = (Some(SchemaId(ITEMS)), SchemaId(ITEMS_WIDER));
    log.change(all(), TableChange::Schema { table: table("items"), from, to, renamed });
    log.rows(all(), &[(ITEMS_WIDER, Insert, &[&["3", "hat", "blue"]])], ends);
    log.create("events", EVENTS);
    log.rows(all(), &[(EVENTS, Insert, &[&["7", "old"]])], ends);
    log.change(all(), TableChange::Truncate { table: table("events") });
    log.rows(all(), &[(EVENTS, Insert, &[&["7", "new"], &["7", "new"]])], ends);
    log.create("drafts", DRAFTS);
    log.rows(all(), &[(DRAFTS, Insert, &[&["1", "a draft"]])], ends);
    let (from, to) = (table("drafts"), table("notes"));
    log.change(all(), TableChange::Rename { from, to, schema: SchemaId(NOTES) });
    log.rows(all(), &[(NOTES, Update, &[&["1", "a draft"], &["10", "a note"]])], ends);
    log.create("drafts", DRAFTS);
    log.change(all(), TableChange::Drop { table: table("drafts") });
}

/// A read of a table for one sink and another for all, what is said of tables, and rows that are not delivered.
fn frames_for_some_and_for_all(log: &mut Frames) {
    use RowOp::{Delete, Insert, Snapshot};
    use schema::{EVENTS, LEFT_OUT, PENDING, USERS};

    let all = || Audience::All;
    let other = || Audience::Sinks(vec!["other".into()]);
    let ends = GroupEnd::Ends;
    for audience in [other(), all()] {
        let (begun, ended) = (table("users"), table("users"));
        log.change(audience.clone(), TableChange::ReplaceBegin { table: begun, schema: SchemaId(USERS) });
        log.rows(audience.clone(), &[(USERS, Snapshot, &[&["1", "ann"], &["4", "dan"]])], ends);
        log.change(audience, TableChange::ReplaceEnd { table: ended });
    }
    let body = images(USERS, &[&["1", "ann"]]);
    let check = CheckHeader {
        origin: log.origin(),
        audience: other(),
        table: table("users"),
        schema: SchemaId(USERS),
        range: KeyRange { after: None, upto: Some(vec![0, 4, 0, 0, 0]) },
        left_out: vec![1 << 100],
        rows: 1,
        bytes: body.len().try_into().unwrap(),
    };
    log.append(&FrameHeader::Check(check), &body, ends);
    log.change(all(), TableChange::Gap { table: table("items"), reason: "a statement was not understood".into() });
    log.change(all(), TableChange::LeftOut { table: table("lost"), reason: "no answer within 2s".into() });
    let sections: [(u32, RowOp, &[&[&str]]); 3] = [
        (LEFT_OUT, Insert, &[&["1", "not copied"]]),
        (USERS, Delete, &[&["4", "dan"]]),
        (EVENTS, Delete, &[&["7", "new"]]),
    ];
    log.rows(all(), &sections, ends);
    // Delivery waits here, until the log says what the id is.
    log.rows(all(), &[(PENDING, Insert, &[&["1", "waits"]])], ends);
}

/// What is stored beside the frames.
fn state() -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let users = table("users");
    let mut state = vec![
        (stored::FORMAT.key().to_vec(), record(&stored::FORMAT, &LOG_FORMAT.to_string())),
        (stored::SOURCE_POSITION.key().to_vec(), record(&stored::SOURCE_POSITION, "mysql")),
        (stored::SOURCE_LSN.key().to_vec(), record(&stored::SOURCE_LSN, "small")),
        (stored::TABLE.of_table(&users), record(&stored::TABLE, "known")),
        (stored::TABLE.of_table(&table("orders")), record(&stored::TABLE, "not_known")),
        (stored::TYPES.of_table(&users), record(&stored::TYPES, "described")),
        (stored::COUNT.of_table(&users), record(&stored::COUNT, "counted")),
        (stored::COUNT.of_table(&table("items")), record(&stored::COUNT, "new")),
        (stored::REREAD.of_table(&users), record(&stored::REREAD, "replaces")),
        (stored::SNAPSHOT.of_table(&users), record(&stored::SNAPSHOT, "done")),
        (stored::SINK_START.of_sink("local"), record(&stored::SINK_START, "first")),
        (stored::SINK_START.of_sink("fresh"), record(&stored::SINK_START, "first")),
        (stored::SINK_START.of_sink("other"), record(&stored::SINK_START, "first")),
        (stored::SINK_ROWS.of_sink_table("other", &users), record(&stored::SINK_ROWS, "whole")),
    ];
    for (id, record) in schemas() {
        state.push((stored::SCHEMA.of_number(id), stored::encode(&record).unwrap()));
    }
    state.into_iter().map(|(key, value)| (key, Some(value))).collect()
}

/// The committed bytes of a record's example, from the file that the record's own test holds.
fn record(entry: &Entry, example: &str) -> Vec<u8> {
    let name = entry.prefix.trim_end_matches('/').replace('/', "-");
    let path = fixtures().join(format!("stored/{name}.v{}.hex", entry.version));
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(example)?.strip_prefix(' '));
    let digits = line.unwrap_or_else(|| panic!("{} has no example {example}", path.display()));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Delivers what is in the log to a new target: mirrors, and a changelog of `users`.
async fn deliver(wal: &Wal, target: &Path) {
    let defaults = TableOptions {
        mode: Mode::Mirror,
        deletion: Deletion::Hard,
        soft_delete_column: "is_deleted".into(),
        rename: Vec::new(),
        drop: Vec::new(),
    };
    let changelog = TableRule {
        table: table("users"),
        mode: Some(Mode::History),
        deletion: None,
        rename: Vec::new(),
        drop: Vec::new(),
    };
    let plan = SinkPlan {
        name: "local".into(),
        table_name: "{table}".into(),
        defaults,
        rules: vec![changelog],
        kind: SinkKind::Sqlite { path: target.to_owned() },
    };
    let end = wal.positions().borrow().durable;
    let (_goal, goal) = watch::channel(Goal::Reach(end));
    let (doubts, _doubts) = mpsc::unbounded_channel();
    let live = Arc::new(SinkLive::new("local", "sqlite"));
    let wiring = Wiring { wal: wal.clone(), live, shutdown: CancellationToken::new(), goal, doubts };
    Delivery::new(Box::new(SqliteSink::new(plan).unwrap()), wiring).run().await.unwrap();
}
