//! The delivery loop over a real log and a target in memory whose failures are scripted.

mod audience;
mod counts;
mod dead;
mod doubts;
mod durable;
mod memory;
mod new_sink;
mod pending;
mod reset;
mod rounds;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wal::{Appender, GroupEnd, Lsn, Options, Reader, Wal};

use self::memory::{Fault, Memory, Overlapping, Seen, Target};
use super::*;
use crate::codec::catalog::SchemaRecord;
use crate::codec::frame::{Audience, FrameHeader, Mark, RowOp, RowsHeader, Section, TableChange, encode_header};
use crate::codec::stored::{SCHEMA, encode};
use crate::error::Failure;
use crate::model::{BinlogPlace, Gtid, Origin, RowCounts, SchemaId, SinkRows, SourcePlace, TableName, TableSchema};
use crate::sink::{HandOver, RoundLimits};
use crate::telemetry::SinkLive;

fn table() -> TableName {
    TableName::new("d", "t")
}

fn other_table() -> TableName {
    TableName::new("d", "other")
}

fn origin() -> Origin {
    let place = SourcePlace::MySql(BinlogPlace { file_number: 1, pos: 4, gtid: Gtid::Anonymous });
    Origin { commit_micros: 7, place }
}

fn schema_of(table: TableName) -> TableSchema {
    TableSchema { name: table, columns: Vec::new(), key: None }
}

/// The header of a frame with one section per schema, each with so many rows; the bodies have one byte a row.
fn header(audience: Audience, sections: &[(u32, u32)]) -> Vec<u8> {
    let section = |(schema, rows): &(u32, u32)| Section {
        schema: SchemaId(*schema),
        op: RowOp::Insert,
        rows: *rows,
        bytes: *rows,
    };
    let rows = RowsHeader { origin: origin(), audience, sections: sections.iter().map(section).collect() };
    let mut header = Vec::new();
    encode_header(&FrameHeader::Rows(rows), &mut header).unwrap();
    header
}

/// The header of a frame of one row of schema 1.
fn one_row(body: &[u8]) -> Vec<u8> {
    let section = Section { schema: SchemaId(1), op: RowOp::Insert, rows: 1, bytes: body.len().try_into().unwrap() };
    let mut header = Vec::new();
    let rows = RowsHeader { origin: origin(), audience: Audience::All, sections: vec![section] };
    encode_header(&FrameHeader::Rows(rows), &mut header).unwrap();
    header
}

/// Frames being written to a log.
struct Log {
    wal: Wal,
    appender: Appender,
}

impl Log {
    /// A log that knows schema 1 of [`table`] and schema 2 of [`other_table`].
    async fn new(directory: &std::path::Path) -> Self {
        let (wal, appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
        wal.create_cursor("m", Lsn::ZERO).await.unwrap();
        let log = Self { wal, appender };
        log.decide(1, SchemaRecord::Known(schema_of(table()))).await;
        log.decide(2, SchemaRecord::Known(schema_of(other_table()))).await;
        log
    }

    /// Says what a schema id is.
    async fn decide(&self, id: u32, record: SchemaRecord) {
        self.wal.put_state(vec![(SCHEMA.of_number(id), Some(encode(&record).unwrap()))]).await.unwrap();
    }

    fn rows_for(&mut self, audience: Audience, sections: &[(u32, u32)], end: GroupEnd) -> Lsn {
        let rows = sections.iter().map(|(_, rows)| usize::try_from(*rows).unwrap()).sum();
        self.appender.append(&[&header(audience, sections), &vec![b'r'; rows]], end).unwrap()
    }

    /// Rows of a transaction that is one frame: (schema, rows).
    fn rows(&mut self, sections: &[(u32, u32)]) -> Lsn {
        self.rows_for(Audience::All, sections, GroupEnd::Ends)
    }

    fn header(&mut self, header: &FrameHeader) -> Lsn {
        let mut bytes = Vec::new();
        encode_header(header, &mut bytes).unwrap();
        self.appender.append(&[&bytes], GroupEnd::Ends).unwrap()
    }

    fn change_for(&mut self, audience: Audience, change: TableChange) -> Lsn {
        self.header(&FrameHeader::Change { origin: origin(), audience, change })
    }

    fn change(&mut self, change: TableChange) -> Lsn {
        self.change_for(Audience::All, change)
    }

    fn mark(&mut self, mark: Mark) -> Lsn {
        self.header(&FrameHeader::Mark { origin: origin(), audience: Audience::All, mark })
    }

    /// A read of every row of [`table`], of which it appends so many.
    fn read_whole(&mut self, rows: u32) -> Lsn {
        self.mark(Mark::SnapshotBegun { table: table(), whole: true });
        self.rows(&[(1, rows)]);
        self.mark(Mark::SnapshotFinished { table: table(), rows: rows.into() })
    }

    async fn flush(&mut self) {
        self.appender.flush_durable().await.unwrap();
    }

    /// The doubts of a sink that nothing in the log ends.
    fn doubts(&self, sink: &str) -> Vec<(TableName, String)> {
        let cursor = self.wal.cursors().into_iter().find(|cursor| cursor.name == sink).unwrap();
        let durable = self.wal.positions().borrow().durable;
        doubts(&self.wal.reader(), sink, (cursor.lsn, durable)).unwrap()
    }

    /// What the log holds of a table at the sink, once what was acknowledged is durable.
    async fn at_sink(&self, table: &TableName) -> TableAtSink {
        self.wal.put_state(Vec::new()).await.unwrap();
        let stored = tables_at(&self.wal.reader(), "m").unwrap();
        stored.into_iter().find(|(name, _)| name == table).map(|(_, at)| at).unwrap_or_default()
    }
}

/// How a sink is served.
struct Serve {
    faults: Vec<Fault>,
    kind: (HandOver, RoundLimits),
    own: Vec<(TableName, RoundLimits)>,
    shutdown: CancellationToken,
    goal: Goal,
    patience: Option<Duration>,
    target: Arc<Mutex<Target>>,
    live: Arc<SinkLive>,
    is_reset: bool,
}

impl Serve {
    fn until(goal: Lsn) -> Self {
        Self {
            faults: Vec::new(),
            kind: (HandOver::TargetTransaction, RoundLimits::default()),
            own: Vec::new(),
            shutdown: CancellationToken::new(),
            goal: Goal::Reach(goal),
            patience: None,
            target: Arc::default(),
            live: Arc::new(SinkLive::new("m", "memory")),
            is_reset: false,
        }
    }

    fn with(self, faults: Vec<Fault>) -> Self {
        Self { faults, ..self }
    }

    /// Rounds of so many rows to a target without transactions.
    fn in_batches_of(self, rows: u64) -> Self {
        Self { kind: (HandOver::RecordedBatches, rounds_of(rows)), ..self }
    }

    /// Rounds of so many rows to a target with transactions.
    fn in_rounds_of(self, rows: u64) -> Self {
        Self { kind: (HandOver::TargetTransaction, rounds_of(rows)), ..self }
    }

    fn to(self, target: &Arc<Mutex<Target>>) -> Self {
        Self { target: Arc::clone(target), ..self }
    }

    fn memory(&mut self) -> Memory {
        let faults = std::mem::take(&mut self.faults).into_iter().collect::<VecDeque<_>>();
        let mut memory = Memory::new(&self.target, faults, self.kind);
        memory.own.extend(std::mem::take(&mut self.own));
        memory
    }

    async fn run(mut self, wal: &Wal) -> Run {
        let sink = self.memory();
        self.deliver(wal, Box::new(sink)).await
    }

    async fn run_overlapping(mut self, wal: &Wal) -> (Run, Arc<Mutex<Seen>>) {
        let seen = Arc::<Mutex<Seen>>::default();
        let sink = Overlapping::new(self.memory(), &seen);
        (self.deliver(wal, Box::new(sink)).await, seen)
    }

    async fn deliver(self, wal: &Wal, sink: Box<dyn crate::sink::Sink>) -> Run {
        wal.create_cursor("m", Lsn::ZERO).await.unwrap();
        let (_keep, goal) = watch::channel(self.goal);
        let (wishes, mut told) = mpsc::unbounded_channel();
        let live = Arc::clone(&self.live);
        let wiring = Wiring {
            wal: wal.clone(),
            live,
            shutdown: self.shutdown,
            goal,
            dead: crate::dead::Hub::new(wal.clone(), u64::MAX),
            wishes,
            looking: None,
        };
        let mut delivery = Delivery::new(sink, wiring);
        delivery.patience = self.patience.unwrap_or(delivery.patience);
        let result = delivery.run().await;
        // What has been spawned says its wish.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let (mut doubts, mut asked) = (Vec::new(), Vec::new());
        while let Ok(wish) = told.try_recv() {
            match wish {
                Wish::Doubt { doubt, .. } => doubts.push(doubt),
                Wish::Rows { .. } => panic!("there is no dead letter"),
                Wish::NewSink { replaces, stored, .. } => {
                    assert_eq!(replaces, self.is_reset);
                    asked.push(stored);
                }
            }
        }
        Run { target: self.target, live: self.live, result, doubts, asked }
    }
}

/// What became of a delivery.
struct Run {
    target: Arc<Mutex<Target>>,
    live: Arc<SinkLive>,
    result: Result<(), Failure>,
    doubts: Vec<Doubt>,
    /// Who is to be told that the log has the wish for every table, in place of what is there.
    asked: Vec<oneshot::Sender<()>>,
}

/// Rounds of so many rows.
fn rounds_of(rows: u64) -> RoundLimits {
    RoundLimits { rows, ..RoundLimits::default() }
}

/// What a sink reports that took so many rows and applied each with one operation.
fn applied(rows: u64) -> RowCounts {
    RowCounts { taken: rows, acknowledged: rows, ..RowCounts::default() }
}

/// What the log holds of the sink's rows: (table, applied, skipped).
fn applied_and_skipped(reader: &Reader) -> Vec<(TableName, u64, u64)> {
    let counts = |(table, at): (TableName, TableAtSink)| (table, at.rows.sink.applied(), at.rows.sink.skipped);
    tables_at(reader, "m").unwrap().into_iter().map(counts).collect()
}
