//! Writes the fixtures of the formats that this version writes: a small log in which a delivery was stopped in the
//! middle, and the SQLite target of that delivery. A fixture is written once: one that is there already stays.
//!
//! No daemon wrote the log: it has every kind of frame, of both kinds of server. Its state fits the frames, so that a
//! daemon continues from it: the position is after the last of them, the counters are their rows, and each table has
//! the schema of its last ones.
//!
//! `cargo run --example write_fixtures`; `docs/formats.md` says when. `tests/stored_format` opens what it writes. What is
//! delivered before the stop is the same in the fixtures of every format: a target of one format is continued from the log
//! of another.
//!
//! The sinks of the log: `local`, whose target is the second fixture; `fresh`, which nothing was delivered to;
//! `other`, which has a token, a note and a round under way; and `gone`, whose cursor is detached.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for maintainers: it stops at the first thing that is wrong, with its place"
)]

use std::collections::BTreeMap;
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
use replicator::codec::stored::{self, Entry, LOG_FORMAT, LogFormat, SourceLsn, StoredPosition};
use replicator::config::{Mode, SinkPlan, TableOptions, TableRule};
use replicator::dead::{Hub, LetterId};
use replicator::deliver::{Delivery, Goal, RoundBounds, TableAtSink, Wiring};
use replicator::ingest::Counts;
use replicator::model::{
    BinlogPlace, Charset, Column, ColumnDefault, ColumnType, Gtid, IntWidth, Key, KeyKind, Origin, RowCounts, SchemaId,
    SinkRows, SourcePlace, TableName, TableSchema, Xid,
};
use replicator::sink::Note;
use replicator::sink::sqlite::{self, SqlitePlan, SqliteSink};
use replicator::table::{Asker, Capture, Complete, Reach, Read, Stage, TableRecord};
use replicator::telemetry::SinkLive;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wal::{Appender, GroupEnd, Lsn, Options, Wal};

/// The least that a log may have.
const MAX_SIZE: u64 = 16 << 20;
/// Rows of the first read of `users`.
const SNAPSHOT_ROWS: u64 = 3;
/// The LSN of the mark that ends it.
const SNAPSHOT_END: u64 = 4;
/// The last LSN that `other` has: with it, the end of a group.
const TO_OTHER: u64 = 5;

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
    let column = |name: &str, ty, nullable| Column {
        name: name.into(),
        ty,
        nullable,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
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

fn schema_of(id: u32) -> TableSchema {
    let (_, record) = schemas().into_iter().find(|(other, _)| *other == id).unwrap();
    record.schema().clone()
}

/// The log under way: frames of every kind, one transaction after another.
struct Frames {
    appender: Appender,
    committed: u64,
    /// Row changes of each table.
    rows: BTreeMap<TableName, u64>,
}

/// The offset in the binlog after a transaction.
fn offset(number: u64) -> u64 {
    1000 + number
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
        let place = SourcePlace::MySql(BinlogPlace { file_number: 3, pos: offset(number), gtid });
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
        self.change(
            Audience::All,
            TableChange::Schema { table: table(name), from: None, to, renamed: Vec::new(), lost: false },
        );
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
            *self.rows.entry(schema_of(*id).name).or_default() += u64::from(changes);
            headers.push(Section { schema: SchemaId(*id), op: *op, rows: changes, bytes });
            body.extend(images);
        }
        let header = FrameHeader::Rows(RowsHeader { origin: self.origin(), audience, sections: headers });
        self.append(&header, &body, end);
    }
}

/// The images of rows in text; `~` is NULL.
fn images(id: u32, rows: &[&[&str]]) -> Vec<u8> {
    let writer = ImageWriter::new(&schema_of(id)).unwrap();
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
    let mut log = Frames { appender, committed: 1, rows: BTreeMap::new() };
    rows_and_definitions(&mut log);
    log.appender.flush_durable().await.unwrap();
    deliver(&wal, target).await;
    frames_for_some_and_for_all(&mut log);
    log.appender.flush_durable().await.unwrap();
    wal.put_state(state_of_the_end(&log)).await.unwrap();
    wal.ack("other", Lsn::new(TO_OTHER), b"a token", state_of_other()).await.unwrap();
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
    log.mark(Mark::SnapshotFinished { table: table("users"), rows: SNAPSHOT_ROWS });
    log.mark(Mark::Created { table: table("items") });
    log.create("items", ITEMS);
    log.rows(all(), &[(ITEMS, Insert, &[&["1", "pen"], &["2", "cup"]])], GroupEnd::More);
    let sections: [(u32, RowOp, &[&[&str]]); 2] =
        [(USERS, Update, &[&["2", "~"], &["2", "bob"]]), (ITEMS, Delete, &[&["2", "cup"]])];
    log.rows(all(), &sections, ends);
    let renamed = vec![("label".into(), "title".into())];
    let (from, to) = (Some(SchemaId(ITEMS)), SchemaId(ITEMS_WIDER));
    log.change(all(), TableChange::Schema { table: table("items"), from, to, renamed, lost: false });
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

/// The key of the prepared transaction: its name.
fn prepared() -> Vec<u8> {
    Xid { format: 2_147_483_647, gtrid: vec![0, 0xff, 0x27], bqual: b"b".to_vec() }.bytes()
}

/// The key of a piece of its rows.
fn piece(number: u32) -> Vec<u8> {
    stored::XA_ROWS.of_bytes(&[&prepared()[..], &number.to_be_bytes()].concat())
}

type State = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What is stored beside the frames, before them.
fn state() -> State {
    let users = table("users");

    let mut state = vec![
        (stored::FORMAT.key().to_vec(), Some(encoded(&LogFormat(LOG_FORMAT)))),
        (stored::SOURCE_NAMES.key().to_vec(), Some(record(&stored::SOURCE_NAMES, "exact"))),
        (stored::SOURCE_REFUSED.key().to_vec(), Some(record(&stored::SOURCE_REFUSED, "otherwise"))),
        (stored::SOURCE_XA.key().to_vec(), Some(record(&stored::SOURCE_XA, "late"))),
        (stored::XA.of_bytes(&prepared()), Some(record(&stored::XA, "every_field"))),
        (piece(0), Some(record(&stored::XA_ROWS, "two_sections"))),
        (piece(1), Some(record(&stored::XA_ROWS, "empty"))),
        (stored::TYPES.of_table(&users), Some(record(&stored::TYPES, "described"))),
        (stored::ASKED.of_table(&users), Some(record(&stored::ASKED, "asked"))),
        (stored::WAITS.of_table(&table("items")), Some(record(&stored::WAITS, "waits"))),
    ];
    for sink in ["local", "fresh", "other"] {
        state.push((stored::SINK_START.of_sink(sink), Some(record(&stored::SINK_START, "first"))));
    }
    for (id, record) in schemas() {
        state.push((stored::SCHEMA.of_number(id), Some(encoded(&record))));
    }
    state
}

/// What is stored with the last frame.
fn state_of_the_end(log: &Frames) -> State {
    let StoredPosition::MySql(mut position) = stored::decode(&record(&stored::SOURCE_POSITION, "mysql")).unwrap();
    position.pos = offset(log.committed);
    let ended = log.appender.next_lsn().prev();
    let mut state = vec![
        (stored::SOURCE_POSITION.key().to_vec(), Some(encoded(&StoredPosition::MySql(position)))),
        (stored::SOURCE_LSN.key().to_vec(), Some(encoded(&SourceLsn(ended)))),
    ];
    for (table, appended) in &log.rows {
        // A row of the snapshot that the stream had replaced.
        let filtered = u64::from(table.table == "users");
        let counts = Counts { read: appended + filtered, appended: *appended, filtered, left_out: 0 };
        state.push((stored::COUNT.of_table(table), Some(encoded(&counts))));
    }
    for id in [schema::USERS, schema::ITEMS_WIDER, schema::EVENTS, schema::NOTES, schema::PENDING] {
        let name = schema_of(id).name;
        state.push((stored::DEFINITION.of_table(&name), Some(definition(id))));
        state.push(life(&name).change(&name).unwrap());
    }
    state
}

/// The life of a table: `users` was read and is being read again, and the others were never read.
fn life(name: &TableName) -> TableRecord {
    let captured = TableRecord { capture: Capture::Since(Lsn::FIRST), ..TableRecord::default() };
    if *name != table("users") {
        return TableRecord { complete: Some(Complete::Changes(Lsn::FIRST)), ..captured };
    }
    let read = Read {
        number: 2,
        reach: Reach::Replace,
        audience: Audience::All,
        chunk_rows: None,
        why: "an operator asked for it".into(),
        since: Lsn::new(SNAPSHOT_END),
        since_micros: 1_795_251_600_000_000,
        is_told: false,
        asker: Asker::Configured,
        until: None,
        is_doubt: false,
        leaves_out: false,
        stage: Stage::Ranges(record(&stored::RANGES, "in_ranges")),
        rows: 2,
        replaces: true,
    };
    TableRecord { complete: Some(Complete::Whole(Lsn::new(SNAPSHOT_END))), read: Some(read), reads: 2, ..captured }
}

/// What is stored with the cursor of `other`, which has the rows of the snapshot.
fn state_of_other() -> State {
    let sink = RowCounts { taken: SNAPSHOT_ROWS, acknowledged: SNAPSHOT_ROWS, ..RowCounts::default() };
    let rows = SinkRows { delivered: SNAPSHOT_ROWS, sink, ..SinkRows::default() };
    let users = TableAtSink { rows, whole_since: Some(Lsn::new(SNAPSHOT_END)), ..TableAtSink::default() };
    let letter = LetterId { lsn: Lsn::new(TO_OTHER), ordinal: 1 };
    let round = RoundBounds { start: Lsn::new(TO_OTHER), end: Lsn::new(TO_OTHER + 2) };
    vec![
        (stored::SINK_ROWS.of_sink_table("other", &table("users")), Some(encoded(&users))),
        (stored::SINK_ROUND.of_sink("other"), Some(encoded(&round))),
        (stored::SINK_PAUSED.of_sink("other"), Some(record(&stored::SINK_PAUSED, "with_reason"))),
        ([stored::SINK_NOTE.of_sink_tables("other"), b"offset".to_vec()].concat(), Some(encoded(&Note(b"7".to_vec())))),
        (letter.key(&stored::DEAD, "other"), Some(record(&stored::DEAD, "update"))),
        (letter.key(&stored::DEAD_AGAIN, "other"), Some(record(&stored::DEAD_AGAIN, "again"))),
        (letter.key(&stored::DEAD_ROWS, "other"), Some(record(&stored::DEAD_ROWS, "row"))),
    ]
}

fn encoded<T: stored::Record>(record: &T) -> Vec<u8> {
    stored::encode(record).unwrap()
}

/// The definition of a table that has a schema and no more to say: the committed example, with the schema's id. Its type is
/// known to `ingest` alone.
fn definition(id: u32) -> Vec<u8> {
    let mut bytes = record(&stored::DEFINITION, "known");
    assert_eq!(
        bytes.get(..3),
        Some(&[stored::DEFINITION.version, 1, 1][..]),
        "the schema's id is elsewhere in this version"
    );
    bytes[2] = id.try_into().unwrap();
    bytes
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
    let settings = Arc::new(SqlitePlan { path: target.to_owned() });
    let changelog = TableRule { mode: Some(Mode::History), ..TableRule::new(table("users")) };
    let plan = SinkPlan {
        rules: vec![changelog],
        ..SinkPlan::new("local", TableOptions::new(Mode::Mirror), SqlitePlan::BATCH, settings)
    };
    let end = wal.positions().borrow().durable;
    let (_goal, goal) = watch::channel(Goal::Reach(end));
    let (wishes, _wishes) = mpsc::unbounded_channel();
    let live = Arc::new(SinkLive::new("local", "sqlite"));
    let wiring = Wiring {
        wal: wal.clone(),
        live,
        shutdown: CancellationToken::new(),
        goal,
        dead: Hub::new(wal.clone(), u64::MAX),
        wishes,
        looking: None,
    };
    Delivery::new(Box::new(SqliteSink::new(plan).unwrap()), wiring).run().await.unwrap();
}
