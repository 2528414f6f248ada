//! Frames to SQLite through the sink, against the same upserts of values that lie in memory: same table, pragmas, statement
//! and transaction size. The ratio of the two is what opening frames and decoding rows costs; `make bench` wants at most 1.5.
//!
//! `catch_up` is 200,000 new rows of the benchmark table in 1,000-row frames, committed every 100,000 rows as the delivery
//! loop does; `update` brings the same rows to another state.
//!
//! `keyless` is an UPDATE of every row of a table without a key: five times the rows must take about five times as long.

mod orders;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orders::LABELS;
use replicator::codec::catalog::{Catalog, SchemaRecord};
use replicator::codec::frame::{Audience, Frame, FrameHeader, RowOp, RowsHeader, Section, encode_header};
use replicator::codec::row_image::{Date, DateTime, ImageWriter, Timestamp};
use replicator::codec::stored;
use replicator::codec::version::FramePlace;
use replicator::config::{Mode, SinkPlan, TableOptions};
use replicator::model::{
    BinlogPlace, Charset, Column, ColumnDefault, ColumnType, Gtid, IntWidth, Origin, SchemaId, SourcePlace, TableName,
    TableSchema,
};
use replicator::sink::sqlite::{SqlitePlan, SqliteSink};
use replicator::sink::{Schemas, Sink};
use rusqlite::{Connection, params};
use wal::{Lsn, Options, Wal};

const ROWS: u32 = 200_000;
const FRAME_ROWS: u32 = 1_000;
const ROUND_ROWS: u32 = 100_000;

/// One row's values as SQLite takes them.
struct Row {
    id: u32,
    spread: u32,
    status: usize,
    email: String,
    note: Option<String>,
    amount: String,
    qty: u32,
    score: f64,
}

fn rows(salt: u32) -> Vec<Row> {
    let row = |id: u32| {
        let spread = id.wrapping_add(salt).wrapping_mul(2_654_435_761);
        Row {
            id,
            spread: spread % 1_000_000,
            status: usize::try_from(spread % 4).expect("small"),
            email: format!("{spread:032x}@example.com"),
            note: (spread % 10 >= 3).then(|| "x".repeat(usize::try_from(spread / 16 % 80).expect("small"))),
            amount: format!("{}.{:02}", spread % 10_000, spread % 100),
            qty: spread % 100,
            score: f64::from(spread) / 7.0,
        }
    };
    (1..=ROWS).map(row).collect()
}

/// The rows as payloads of frames.
fn frames(schema: &TableSchema, rows: &[Row], op: RowOp, before: Option<&[Row]>) -> Vec<Vec<u8>> {
    let writer = ImageWriter::new(schema).expect("a schema of this bench");
    let size = usize::try_from(FRAME_ROWS).expect("small");
    let mut payloads = Vec::new();
    for (place, chunk) in rows.chunks(size).enumerate() {
        let mut body = Vec::new();
        for (at, row) in chunk.iter().enumerate() {
            if let Some(before) = before.and_then(|before| before.get(place * size + at)) {
                image(&writer, before, &mut body);
            }
            image(&writer, row, &mut body);
        }
        payloads.push(payload(op, u32::try_from(chunk.len()).expect("small"), &body));
    }
    payloads
}

/// A frame of one section.
fn payload(op: RowOp, rows: u32, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(body.len()).expect("small");
    let section = Section { schema: SchemaId(1), op, rows, bytes };
    let place = SourcePlace::MySql(BinlogPlace { file_number: 1, pos: 4, gtid: Gtid::Anonymous });
    let origin = Origin { commit_micros: 1, place };
    let mut payload = Vec::new();
    let header = FrameHeader::Rows(RowsHeader { origin, audience: Audience::All, sections: vec![section] });
    encode_header(&header, &mut payload).expect("a small header");
    payload.extend_from_slice(body);
    payload
}

fn image(writer: &ImageWriter, row: &Row, body: &mut Vec<u8>) {
    let mut out = writer.row(body);
    let created = DateTime {
        date: Date { year: 2026, month: 11, day: 21 },
        hour: 9,
        minute: 0,
        second: 0,
        micros: row.spread,
        fsp: 6,
    };
    let updated = Timestamp { seconds: 1_795_251_600, micros: 123_000, fsp: 3 };
    let written = out
        .uint(row.id.into())
        .and_then(|()| out.int(row.spread.into()))
        .and_then(|()| out.enumeration(u16::try_from(row.status + 1).expect("small")))
        .and_then(|()| out.bytes(row.email.as_bytes()))
        .and_then(|()| match &row.note {
            Some(note) => out.bytes(note.as_bytes()),
            None => out.null(),
        })
        .and_then(|()| out.decimal(row.amount.as_bytes()))
        .and_then(|()| out.int(row.qty.into()))
        .and_then(|()| out.int(0))
        .and_then(|()| out.datetime(created))
        .and_then(|()| out.timestamp(updated))
        .and_then(|()| out.double(row.score));
    written.expect("values that fit");
    out.finish().expect("a whole row");
}

fn plan(path: &Path) -> SinkPlan {
    let settings = Arc::new(SqlitePlan { path: path.to_owned() });
    SinkPlan::new("bench", TableOptions::new(Mode::Mirror), SqlitePlan::BATCH, settings)
}

/// The log that holds the schema.
struct Log {
    _directory: tempfile::TempDir,
    wal: Wal,
    _appender: wal::Appender,
    runtime: tokio::runtime::Runtime,
}

impl Log {
    fn new(schema: &TableSchema) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (wal, appender) = Wal::open(directory.path(), Options::new(64 << 20)).expect("a log");
        let value = stored::encode(&SchemaRecord::Known(schema.clone())).expect("a small schema");
        runtime.block_on(wal.put_state(vec![(stored::SCHEMA.of_number(1), Some(value))])).expect("a log");
        Self { _directory: directory, wal, _appender: appender, runtime }
    }
}

/// Writes one frame, as the delivery loop does.
async fn write(sink: &mut SqliteSink, place: FramePlace, payload: &[u8], catalog: &mut Catalog) {
    let frame = Frame::decode(payload).expect("a frame of this bench");
    let schemas = &mut Schemas::new(catalog);
    if !sink.is_prepared(SchemaId(1)) {
        sink.prepare(place.lsn, SchemaId(1), schemas).await.expect("a schema that fits");
    }
    sink.write(place, &frame, schemas).expect("rows that fit");
}

/// Applies frames through the sink; the time without opening and closing.
fn through_sink(log: &Log, path: &Path, payloads: &[Vec<u8>]) -> Duration {
    let mut sink = SqliteSink::new(plan(path)).expect("an sqlite plan");
    let mut catalog = Catalog::new(log.wal.reader());
    let frames_a_round = usize::try_from(ROUND_ROWS / FRAME_ROWS).expect("small");
    log.runtime.block_on(async {
        sink.open(log.wal.id()).await.expect("a new file");
        let start = Instant::now();
        let (mut lsn, mut position) = (Lsn::ZERO, 0);
        for round in payloads.chunks(frames_a_round) {
            for payload in round {
                lsn = lsn.next();
                write(&mut sink, FramePlace { lsn, position }, payload, &mut catalog).await;
                position += u64::try_from(payload.len()).expect("small");
            }
            sink.store(lsn).await.expect("a commit");
        }
        let elapsed = start.elapsed();
        sink.close().await.expect("a close");
        elapsed
    })
}

const CREATE: &str =
    "CREATE TABLE orders (id NOT NULL, customer_id INTEGER, status TEXT, email TEXT, note TEXT, amount TEXT,
    qty INTEGER, is_gift INTEGER, created_at TEXT, updated_at TEXT, score REAL, PRIMARY KEY (id)) WITHOUT ROWID";
const UPSERT: &str =
    "INSERT INTO orders VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO UPDATE SET
    customer_id = excluded.customer_id, status = excluded.status, email = excluded.email, note = excluded.note,
    amount = excluded.amount, qty = excluded.qty, is_gift = excluded.is_gift, created_at = excluded.created_at,
    updated_at = excluded.updated_at, score = excluded.score";

/// The same upserts of values in memory.
fn from_memory(path: &Path, rows: &[Row]) -> Duration {
    let connection = Connection::open(path).expect("a new file");
    connection
        .execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -24576;
             PRAGMA wal_autocheckpoint = 4096; PRAGMA foreign_keys = OFF",
        )
        .expect("pragmas");
    if !connection.table_exists(None, "orders").expect("a lookup") {
        connection.execute_batch(CREATE).expect("a new table");
    }
    let start = Instant::now();
    for round in rows.chunks(usize::try_from(ROUND_ROWS).expect("small")) {
        connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        {
            let mut upsert = connection.prepare_cached(UPSERT).expect("a statement");
            for row in round {
                let status = LABELS.get(row.status).copied();
                upsert
                    .execute(params![
                        row.id,
                        row.spread,
                        status,
                        row.email,
                        row.note,
                        row.amount,
                        row.qty,
                        0,
                        "2026-11-21 09:00:00.123456",
                        "2026-11-21 09:00:00.123",
                        row.score
                    ])
                    .expect("a row");
            }
        }
        connection.execute_batch("COMMIT").expect("a commit");
    }
    start.elapsed()
}

/// A table of two columns and no key, and an INSERT and an UPDATE of so many rows.
fn keyless(count: u32) -> (TableSchema, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let column = |name: &str, ty| Column {
        name: name.into(),
        ty,
        nullable: false,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    let number = column("a", ColumnType::Int { width: IntWidth::W4, unsigned: false });
    let text = column("b", ColumnType::VarChar { max_bytes: 80, charset: Charset::new("utf8mb4") });
    let schema = TableSchema { name: TableName::new("bench", "keyless"), columns: vec![number, text], key: None };
    let writer = ImageWriter::new(&schema).expect("a schema of this bench");
    let image = |number: u32, tail: &str, body: &mut Vec<u8>| {
        let mut out = writer.row(body);
        let text = format!("row{number}{tail}");
        out.int(number.into()).and_then(|()| out.bytes(text.as_bytes())).expect("values that fit");
        out.finish().expect("a whole row");
    };
    let (mut inserts, mut updates) = (Vec::new(), Vec::new());
    for first in (0..count).step_by(usize::try_from(FRAME_ROWS).expect("small")) {
        let rows = FRAME_ROWS.min(count - first);
        let (mut inserted, mut updated) = (Vec::new(), Vec::new());
        for number in first..first + rows {
            image(number, "", &mut inserted);
            image(number, "", &mut updated);
            image(number, "x", &mut updated);
        }
        inserts.push(payload(RowOp::Insert, rows, &inserted));
        updates.push(payload(RowOp::Update, rows, &updated));
    }
    (schema, inserts, updates)
}

/// The time that the UPDATE takes through the sink.
fn update_keyless(log: &Log, path: &Path, inserts: &[Vec<u8>], updates: &[Vec<u8>]) -> Duration {
    let mut sink = SqliteSink::new(plan(path)).expect("an sqlite plan");
    let mut catalog = Catalog::new(log.wal.reader());
    log.runtime.block_on(async {
        sink.open(log.wal.id()).await.expect("a new file");
        let (mut lsn, mut position, mut elapsed) = (Lsn::ZERO, 0, Duration::ZERO);
        for payloads in [inserts, updates] {
            let start = Instant::now();
            for payload in payloads {
                lsn = lsn.next();
                write(&mut sink, FramePlace { lsn, position }, payload, &mut catalog).await;
                position += u64::try_from(payload.len()).expect("small");
            }
            sink.store(lsn).await.expect("a commit");
            elapsed = start.elapsed();
        }
        sink.close().await.expect("a close");
        elapsed
    })
}

fn apply(criterion: &mut Criterion) {
    let schema = orders::schema();
    let log = Log::new(&schema);
    let (old, new) = (rows(0), rows(77));
    let inserts = frames(&schema, &old, RowOp::Insert, None);
    let updates = frames(&schema, &new, RowOp::Update, Some(&old));
    let fresh = |run: &dyn Fn(&Path) -> Duration| {
        let directory = tempfile::tempdir().expect("a directory");
        run(&directory.path().join("bench.db"))
    };
    let mut group = criterion.benchmark_group("sqlite_apply");
    group.throughput(Throughput::Elements(ROWS.into())).sample_size(10);
    let mut measure = |name: &str, run: &dyn Fn(&Path) -> Duration| {
        group.bench_function(name, |bencher| bencher.iter_custom(|times| (0..times).map(|_| fresh(run)).sum()));
    };
    measure("catch_up/memory", &|path| from_memory(path, &old));
    measure("catch_up/sink", &|path| through_sink(&log, path, &inserts));
    measure("update/memory", &|path| {
        from_memory(path, &old);
        from_memory(path, &new)
    });
    measure("update/sink", &|path| {
        through_sink(&log, path, &inserts);
        through_sink(&log, path, &updates)
    });
    for count in [20_000, 100_000] {
        let (schema, inserts, updates) = keyless(count);
        let log = Log::new(&schema);
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(format!("keyless/{count}"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times).map(|_| fresh(&|path| update_keyless(&log, path, &inserts, &updates))).sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
