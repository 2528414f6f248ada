//! An ingest loop that stands at the end of the binlog at all times and keeps what it is given in memory.
//!
//! It answers as the real one does, except that no stream runs: its tests have no writers, so nothing is superseded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row};
use replicator::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, Plan, RowVisitor, Text, Time, Timestamp, Uuid, ValueError,
};
use replicator::config::{Password, SnapshotPlan, SourcePlan, Startup, TableFilter, TlsMode, TlsPlan};
use replicator::model::{ServerIdentity, SourcePosition, TableName, TableSchema};
use replicator::source::mysql::snapshot::handoff::{
    Account, Diverted, Images, PlaceChunk, Placed, Request, SnapshotMark,
};
use replicator::source::mysql::snapshot::spool::Spool;
use replicator::source::mysql::snapshot::{Coordinator, Job, Room};
use replicator::source::mysql::stream_server::StreamServer;
use replicator::table::{At, ByHand, Event, Operated, Stage, TableRecord, step};
use replicator::telemetry::{Live, ReadShown};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wal::Lsn;

use crate::support::cells::Cell;
use crate::support::server::{Kind, PASSWORD, Server, USER};

/// What the loop was given.
#[derive(Default)]
pub struct Log {
    pub chunks: Vec<(TableSchema, Images)>,
    /// Whole-table reads: schema and pieces.
    pub whole: Vec<(TableSchema, Vec<Images>)>,
    pub marks: Vec<SnapshotMark>,
    /// Definitions that came as chunks without rows.
    pub announced: Vec<TableSchema>,
    pub records: BTreeMap<TableName, TableRecord>,
    /// The read of each table that the coordinator was told to do.
    told: BTreeMap<TableName, u32>,
    /// So many chunks are to be discarded.
    pub discard: u32,
    /// The loop falls silent, as if killed, after so many chunks.
    pub chunks_to_live: Option<u32>,
    /// It has no room for reads that nobody has asked for.
    pub is_more_than_half_full: bool,
}

/// A coordinator with its fake loop.
pub struct Run {
    pub log: Arc<Mutex<Log>>,
    pub jobs: mpsc::UnboundedSender<Job>,
    live: Arc<Live>,
    changed: watch::Receiver<u64>,
    stop: CancellationToken,
    coordinator: tokio::task::JoinHandle<()>,
    serving: tokio::task::JoinHandle<()>,
    /// Where whole tables wait.
    _spool: tempfile::TempDir,
}

pub fn plan(server: &Server, user: &str, snapshot: SnapshotPlan) -> SourcePlan {
    let mut captured = globset::GlobSetBuilder::new();
    captured.add(globset::Glob::new("d.*").unwrap());
    SourcePlan {
        name: "source".to_owned(),
        describe_wait: std::time::Duration::from_secs(2),
        doubts: replicator::config::DoubtPlan::default(),
        on_purged: replicator::config::OnPurged::Stop,
        spool_max: 1 << 30,
        xa_bytes: 64 << 20,
        xa_wait: Duration::from_mins(5),
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: user.to_owned(),
        password: Password::fixed(PASSWORD),
        server_id: 5400,
        startup: Startup::Initial,
        filter: TableFilter::new(captured.build().unwrap(), globset::GlobSet::empty()),
        snapshot,
        tls: TlsPlan { mode: TlsMode::Disabled, ca_file: None },
    }
}

pub const SMALL: SnapshotPlan = SnapshotPlan { chunk_rows: 7, parallel: 2, max_rows_per_second: 0 };

impl Run {
    /// Starts with the records that `log` holds, and with tables that are met now.
    pub fn start(server: &Server, snapshot: SnapshotPlan, log: Arc<Mutex<Log>>, met: &[TableName]) -> Self {
        Self::start_as(server, USER, snapshot, log, met)
    }

    pub fn start_as(
        server: &Server,
        user: &str,
        snapshot: SnapshotPlan,
        log: Arc<Mutex<Log>>,
        met: &[TableName],
    ) -> Self {
        let identity = identity(server);
        let stream = StreamServer::new(identity.clone());
        Self::start_beside(server, user, (stream, identity), snapshot, log, met)
    }

    /// Beside a stream of which this is said, and whose positions are those of a server of this identity.
    pub fn start_beside(
        server: &Server,
        user: &str,
        (stream, identity): (StreamServer, ServerIdentity),
        snapshot: SnapshotPlan,
        log: Arc<Mutex<Log>>,
        met: &[TableName],
    ) -> Self {
        let (requests, queue) = mpsc::channel(8);
        let (jobs, job_queue) = mpsc::unbounded_channel();
        let (change, changed) = watch::channel(0);
        let stop = CancellationToken::new();
        let live = Arc::new(Live::default());
        let spool = tempfile::tempdir().unwrap();
        let held = Arc::clone(&log);
        let in_log = Box::new(move || !held.lock().unwrap().is_more_than_half_full);
        let coordinator = Coordinator::new(
            plan(server, user, snapshot),
            stream,
            requests,
            job_queue,
            Arc::clone(&live),
            Room { spool: Spool::open(spool.path(), 1 << 30).unwrap(), in_log },
            stop.clone(),
        );
        let mut serving = Loop { log: Arc::clone(&log), jobs: jobs.clone(), live: Arc::clone(&live), change };
        log.lock().unwrap().told.clear();
        for table in met {
            serving.happens(table, Event::Met { initial: true });
        }
        serving.tell();
        let serving = tokio::spawn(serving.serve(server.root().into(), server.kind(), identity, queue));
        Self { log, jobs, live, changed, stop, coordinator: tokio::spawn(coordinator.run()), serving, _spool: spool }
    }

    /// Waits until every read has ended that can, and gives the records.
    pub async fn settle(&self) -> BTreeMap<TableName, TableRecord> {
        let rests = |record: &TableRecord| record.due(&[]).is_none() || record.unreadable.is_some();
        self.until(|log| log.records.values().all(rests)).await;
        self.log.lock().unwrap().records.clone()
    }

    /// Waits until the readers get on in some way.
    pub async fn until_reads(&self, condition: impl Fn(&[ReadShown]) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !condition(&self.live.reads()) {
            assert!(Instant::now() < deadline, "not within a minute: {:?}", self.live.reads());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until what the loop was given meets a condition.
    pub async fn until(&self, condition: impl Fn(&Log) -> bool) {
        let mut changed = self.changed.clone();
        let met = changed.wait_for(|_| condition(&self.log.lock().unwrap()));
        if let Err(tokio::time::error::Elapsed { .. }) = tokio::time::timeout(Duration::from_mins(1), met).await {
            panic!("not within a minute: {:?}", self.log.lock().unwrap().records);
        }
    }

    /// Ends the coordinator and the loop, wherever they are.
    pub async fn end(self) -> Arc<Mutex<Log>> {
        self.stop.cancel();
        self.coordinator.await.unwrap();
        self.serving.abort();
        drop(self.serving.await);
        self.log
    }
}

/// Whose server it is, as it says itself. A MySQL keeps that in a file.
pub fn identity(server: &Server) -> ServerIdentity {
    match server.kind() {
        Kind::MariaDb => ServerIdentity::MariaDb { server_id: 1, domain_id: 0 },
        Kind::MySql => {
            let text = std::fs::read_to_string(server.data_directory().join("auto.cnf")).unwrap();
            let uuid = text.lines().find_map(|line| line.strip_prefix("server-uuid=")).unwrap();
            ServerIdentity::MySql { server_uuid: uuid.to_owned() }
        }
    }
}

/// Where a stream that has read everything stands.
async fn position(connection: &mut Conn, kind: Kind, identity: &ServerIdentity) -> SourcePosition {
    let (status, gtid) = match kind {
        Kind::MySql => ("SHOW BINARY LOG STATUS", "SELECT @@GLOBAL.gtid_executed"),
        Kind::MariaDb => ("SHOW MASTER STATUS", "SELECT @@GLOBAL.gtid_binlog_pos"),
    };
    let row: Row = connection.query_first(status).await.unwrap().unwrap();
    let gtid: String = connection.query_first(gtid).await.unwrap().unwrap();
    SourcePosition {
        server: identity.clone(),
        file: row.get(0).unwrap(),
        pos: row.get(1).unwrap(),
        file_created: 0,
        gtid: gtid.replace('\n', ""),
    }
}

/// The loop.
struct Loop {
    log: Arc<Mutex<Log>>,
    jobs: mpsc::UnboundedSender<Job>,
    live: Arc<Live>,
    change: watch::Sender<u64>,
}

impl Loop {
    /// Something happens to a table, as its record decides.
    fn happens(&mut self, table: &TableName, event: Event) {
        let mut log = self.log.lock().unwrap();
        let before = log.records.get(table).cloned().unwrap_or_default();
        let (after, _) = step(&before, event, At::new(Lsn::FIRST, 0));
        self.live.record(table, after.clone());
        log.records.insert(table.clone(), after);
    }

    /// Tells the coordinator which reads are due now.
    fn tell(&mut self) {
        let mut log = self.log.lock().unwrap();
        for (table, record) in log.records.clone() {
            let read = record.due(&[]).cloned();
            let number = read.as_ref().map(|read| read.number);
            if log.told.get(&table).copied() != number {
                match number {
                    Some(number) => log.told.insert(table.clone(), number),
                    None => log.told.remove(&table),
                };
                let unreadable = record.unreadable.is_some();
                self.jobs.send(Job::Read { table, read, unreadable }).ok();
            }
        }
        drop(log);
        self.change.send_modify(|changes| *changes += 1);
    }

    fn is_wanted(&self, table: &TableName, number: u32) -> bool {
        let log = self.log.lock().unwrap();
        log.records.get(table).is_some_and(|record| record.current(number).is_some())
    }

    fn placed(&mut self, table: &TableName, account: Account) {
        let Account { number, stage, rows } = account;
        self.happens(table, Event::Placed { number, stage, rows });
    }

    async fn serve(
        mut self,
        options: Opts,
        kind: Kind,
        identity: ServerIdentity,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut connection = Conn::new(options).await.unwrap();
        let mut diverted = BTreeMap::new();
        while let Some(request) = requests.recv().await {
            match request {
                Request::OpenWindow { reply, .. } => {
                    drop(reply.send(position(&mut connection, kind, &identity).await));
                }
                Request::CloseWindow { .. } | Request::Resync { .. } | Request::Rules { .. } => {}
                Request::PlaceChunks { chunks, .. } => {
                    // Only tables that are read together have more than one.
                    let [chunk] = <[PlaceChunk; 1]>::try_from(chunks).unwrap();
                    let PlaceChunk { schema, images, account, reply, .. } = chunk;
                    let name = schema.name.clone();
                    if !self.is_wanted(&name, account.number) {
                        reply.send(Placed::Unwanted).ok();
                        continue;
                    }
                    let placed = {
                        let mut log = self.log.lock().unwrap();
                        if images.rows > 0 && log.discard > 0 {
                            log.discard -= 1;
                            Placed::Discarded
                        } else if images.rows > 0 && log.chunks_to_live == Some(0) {
                            continue;
                        } else {
                            let kept = images.rows;
                            if kept == 0 {
                                log.announced.push(TableSchema::clone(&schema));
                            } else {
                                log.chunks_to_live = log.chunks_to_live.map(|left| left - 1);
                                log.chunks.push((TableSchema::clone(&schema), images));
                            }
                            Placed::Appended { kept, superseded: 0 }
                        }
                    };
                    if placed != Placed::Discarded {
                        self.placed(&name, account);
                    }
                    reply.send(placed).ok();
                }
                Request::Mark { mark, reply } => {
                    let (table, number) = match &mark {
                        SnapshotMark::Begun { table, number, .. } | SnapshotMark::Finished { table, number } => {
                            (table.clone(), *number)
                        }
                    };
                    let is_wanted = self.is_wanted(&table, number);
                    if is_wanted {
                        let event = match mark {
                            SnapshotMark::Begun { at_once, .. } => Event::Begun { number, at_once, is_known: true },
                            SnapshotMark::Finished { .. } => Event::Finished { number },
                        };
                        self.happens(&table, event);
                        self.log.lock().unwrap().marks.push(mark);
                    }
                    reply.send(is_wanted).ok();
                }
                Request::Happened { table, event, reply } => {
                    self.happens(&table, event);
                    if let Some(reply) = reply {
                        reply.send(()).ok();
                    }
                }
                Request::ByHand { table, by_hand, reply } => {
                    if let ByHand::Read(ask) = by_hand {
                        self.happens(&table, Event::Asked(ask));
                    }
                    reply.send(Ok(Operated::default())).ok();
                }
                Request::SinkAdded { .. } => panic!("no sink is added here"),
                Request::OpenWindows { .. } | Request::BeginReads { .. } | Request::EndReads { .. } => {
                    panic!("so few tables are not read together")
                }
                Request::Divert { table, number, reply } => {
                    if !self.is_wanted(&table, number) {
                        reply.send(Diverted::Unwanted).ok();
                        continue;
                    }
                    let at = position(&mut connection, kind, &identity).await;
                    let (tell, placed) = oneshot::channel();
                    diverted.insert(table, tell);
                    drop(reply.send(Diverted::Begun { at, placed }));
                }
                Request::EndDiversion { table, .. } => drop(diverted.remove(&table)),
                Request::PlaceWhole(mut read) => {
                    let Some(tell) = diverted.remove(&read.table) else { continue };
                    let mut pieces = Vec::new();
                    while let Some(images) = read.copy.next().await.unwrap() {
                        pieces.push(images);
                    }
                    let kept: u32 = pieces.iter().map(|piece| piece.rows).sum();
                    assert_eq!(read.copy.rows(), u64::from(kept));
                    let account = Account { number: read.number, stage: Stage::Placed, rows: kept.into() };
                    self.happens(&read.table, Event::Replaced { number: read.number });
                    self.placed(&read.table, account);
                    self.log.lock().unwrap().whole.push((TableSchema::clone(&read.schema), pieces));
                    tell.send(Ok(Placed::Appended { kept, superseded: 0 })).ok();
                }
            }
            self.tell();
        }
    }
}

impl Log {
    /// The rows of a table, read out of its images, with the columns in the order asked for.
    pub fn rows(&self, table: &TableName, columns: &[String]) -> Vec<Vec<Cell>> {
        let chunks = self.chunks.iter().map(|(schema, images)| (schema, images));
        let whole = self.whole.iter().flat_map(|(schema, pieces)| pieces.iter().map(move |images| (schema, images)));
        let mut rows = Vec::new();
        for (schema, images) in chunks.chain(whole).filter(|(schema, _)| schema.name == *table) {
            let order: Vec<usize> = columns.iter().map(|name| schema.column_index(name).unwrap()).collect();
            let decoded = decode(schema, &images.bytes);
            assert_eq!(decoded.len(), usize::try_from(images.rows).unwrap());
            rows.extend(decoded.into_iter().map(|row| order.iter().map(|&place| row[place].clone()).collect()));
        }
        rows
    }
}

pub fn decode(schema: &TableSchema, bytes: &[u8]) -> Vec<Vec<Cell>> {
    let plan = Plan::all(schema).unwrap();
    let (mut rest, mut rows) = (bytes, Vec::new());
    while !rest.is_empty() {
        let mut cells = Cells(Vec::new());
        let len = plan.read(rest, &mut cells).unwrap_or_else(|error| panic!("{}: {error:?}", schema.name));
        rest = &rest[len..];
        rows.push(cells.0);
    }
    rows
}

pub fn decode_cell(schema: &TableSchema, column: usize, bytes: &[u8]) -> Cell {
    let mut cells = Cells(Vec::new());
    Plan::all(schema).unwrap().cell(column, bytes, &mut cells).unwrap();
    cells.0.remove(0)
}

/// Values as the type table of the SQLite sink has them.
struct Cells(Vec<Cell>);

impl Cells {
    #[allow(clippy::unnecessary_wraps, reason = "what a visitor returns")]
    fn push(&mut self, cell: Cell) -> Result<(), ValueError> {
        self.0.push(cell);
        Ok(())
    }

    fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), ValueError> {
        let mut text = Vec::new();
        write(&mut text);
        self.push(Cell::Text(text))
    }
}

impl RowVisitor for Cells {
    type Error = ValueError;

    fn null(&mut self, _: usize) -> Result<(), ValueError> {
        self.push(Cell::Null)
    }
    fn int(&mut self, _: usize, value: i64) -> Result<(), ValueError> {
        self.push(Cell::Integer(value))
    }
    fn uint(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.push(i64::try_from(value).map_or_else(|_| Cell::text(&value.to_string()), Cell::Integer))
    }
    fn float(&mut self, _: usize, value: f32) -> Result<(), ValueError> {
        self.push(Cell::real(value.into()))
    }
    fn double(&mut self, _: usize, value: f64) -> Result<(), ValueError> {
        self.push(Cell::real(value))
    }
    fn decimal(&mut self, _: usize, value: Decimal<'_>) -> Result<(), ValueError> {
        self.written(|out| value.write_text(out))
    }
    fn year(&mut self, _: usize, value: u16) -> Result<(), ValueError> {
        self.push(Cell::Integer(value.into()))
    }
    fn date(&mut self, _: usize, value: Date) -> Result<(), ValueError> {
        self.written(|out| value.write_text(out))
    }
    fn time(&mut self, _: usize, value: Time) -> Result<(), ValueError> {
        self.written(|out| value.write_text(out))
    }
    fn datetime(&mut self, _: usize, value: DateTime) -> Result<(), ValueError> {
        self.written(|out| value.write_text(out))
    }
    fn timestamp(&mut self, _: usize, value: Timestamp) -> Result<(), ValueError> {
        self.written(|out| value.write_text(out))
    }
    fn bit(&mut self, column: usize, value: u64) -> Result<(), ValueError> {
        self.uint(column, value)
    }
    fn text(&mut self, _: usize, value: Text<'_>) -> Result<(), ValueError> {
        let text = value.as_utf8()?;
        self.push(Cell::text(&text))
    }
    fn bytes(&mut self, _: usize, value: Bytes<'_>) -> Result<(), ValueError> {
        let mut bytes = Vec::new();
        value.write_to(&mut bytes);
        self.push(Cell::Blob(bytes))
    }
    fn enumeration(&mut self, _: usize, _: u16, label: &str) -> Result<(), ValueError> {
        self.push(Cell::text(label))
    }
    fn set(&mut self, _: usize, mask: u64, members: &[String]) -> Result<(), ValueError> {
        let labels: Vec<&str> = members
            .iter()
            .enumerate()
            .filter(|(bit, _)| mask >> bit & 1 == 1)
            .map(|(_, label)| label.as_str())
            .collect();
        self.push(Cell::text(&labels.join(",")))
    }
    fn json(&mut self, _: usize, value: Json<'_>) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text)?;
        self.push(Cell::Text(text))
    }
    fn geometry(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.push(Cell::Blob(value.to_vec()))
    }
    fn vector(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.push(Cell::Blob(value.to_vec()))
    }
    fn uuid(&mut self, _: usize, value: Uuid) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text);
        self.push(Cell::Text(text))
    }
    fn inet6(&mut self, _: usize, value: Inet6) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text);
        self.push(Cell::Text(text))
    }
    fn inet4(&mut self, _: usize, value: Inet4) -> Result<(), ValueError> {
        let mut text = Vec::new();
        value.write_text(&mut text);
        self.push(Cell::Text(text))
    }
}
