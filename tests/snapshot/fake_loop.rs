//! An ingest loop that stands at the end of the binlog at all times and keeps what it is given in memory.
//!
//! It answers as the real one does, except that no stream runs: its tests have no writers, so nothing is superseded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row};
use replicator::codec::row_image::{
    Bytes, Date, DateTime, Decimal, Inet4, Inet6, Json, Plan, RowVisitor, Text, Time, Timestamp, Uuid, ValueError,
};
use replicator::config::{Secret, SnapshotPlan, SourcePlan, Startup, TableFilter, TlsMode, TlsPlan};
use replicator::model::{ServerIdentity, SourcePosition, TableName, TableSchema};
use replicator::source::mysql::snapshot::handoff::{Images, Paused, Placed, Request, SnapshotMark};
use replicator::source::mysql::snapshot::{Coordinator, Job, SnapshotStatus};
use replicator::source::mysql::stream_server::StreamServer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::support::cells::Cell;
use crate::support::server::{Kind, PASSWORD, Server, USER};

/// What the loop was given.
#[derive(Default)]
pub struct Log {
    pub chunks: Vec<(TableSchema, Images)>,
    /// Whole-table reads: schema, pieces, whether they replace.
    pub whole: Vec<(TableSchema, Vec<Images>, bool)>,
    pub marks: Vec<SnapshotMark>,
    /// Definitions that came as chunks without rows.
    pub announced: Vec<TableSchema>,
    pub state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// So many chunks are to be discarded.
    pub discard: u32,
    /// The loop falls silent, as if killed, after so many chunks.
    pub chunks_to_live: Option<u32>,
}

/// A coordinator with its fake loop.
pub struct Run {
    pub log: Arc<Mutex<Log>>,
    pub jobs: mpsc::UnboundedSender<Job>,
    pub status: watch::Receiver<SnapshotStatus>,
    stop: CancellationToken,
    coordinator: tokio::task::JoinHandle<()>,
    serving: tokio::task::JoinHandle<()>,
}

pub fn plan(server: &Server, user: &str, snapshot: SnapshotPlan) -> SourcePlan {
    SourcePlan {
        describe_wait: std::time::Duration::from_secs(2),
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: user.to_owned(),
        password: Secret::new(PASSWORD),
        server_id: 5400,
        startup: Startup::Initial,
        filter: TableFilter::new(globset::GlobSet::empty(), globset::GlobSet::empty()),
        snapshot,
        tls: TlsPlan { mode: TlsMode::Disabled, ca_file: None },
    }
}

pub const SMALL: SnapshotPlan = SnapshotPlan { chunk_rows: 7, parallel: 2, max_rows_per_second: 0 };

impl Run {
    /// Starts with what `log` holds in its state, and with jobs.
    pub fn start(server: &Server, snapshot: SnapshotPlan, log: Arc<Mutex<Log>>, jobs: Vec<Job>) -> Self {
        Self::start_as(server, USER, snapshot, log, jobs)
    }

    pub fn start_as(
        server: &Server,
        user: &str,
        snapshot: SnapshotPlan,
        log: Arc<Mutex<Log>>,
        initial: Vec<Job>,
    ) -> Self {
        let identity = identity(server);
        let stream = StreamServer::new(identity.clone());
        Self::start_beside(server, user, (stream, identity), snapshot, log, initial)
    }

    /// Beside a stream of which this is said, and whose positions are those of a server of this identity.
    pub fn start_beside(
        server: &Server,
        user: &str,
        (stream, identity): (StreamServer, ServerIdentity),
        snapshot: SnapshotPlan,
        log: Arc<Mutex<Log>>,
        initial: Vec<Job>,
    ) -> Self {
        let (requests, queue) = mpsc::channel(8);
        let (jobs, job_queue) = mpsc::unbounded_channel();
        for job in initial {
            jobs.send(job).unwrap();
        }
        let (status, shown) = watch::channel(SnapshotStatus::default());
        let stop = CancellationToken::new();
        let stored = log.lock().unwrap().state.clone().into_iter().collect();
        let coordinator =
            Coordinator::new(plan(server, user, snapshot), stream, requests, job_queue, stored, status, stop.clone());
        let serving = tokio::spawn(serve(server.root().into(), server.kind(), identity, queue, Arc::clone(&log)));
        Self { log, jobs, status: shown, stop, coordinator: tokio::spawn(coordinator.run()), serving }
    }

    /// Waits until no table waits or runs.
    pub async fn settle(&self) -> SnapshotStatus {
        self.until(SnapshotStatus::is_settled).await
    }

    /// Waits until the status meets a condition.
    pub async fn until(&self, condition: impl FnMut(&SnapshotStatus) -> bool) -> SnapshotStatus {
        let mut status = self.status.clone();
        let met = status.wait_for(condition);
        match tokio::time::timeout(std::time::Duration::from_mins(1), met).await {
            Ok(status) => status.unwrap().clone(),
            Err(tokio::time::error::Elapsed { .. }) => panic!("not within a minute: {:?}", *self.status.borrow()),
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

async fn serve(
    options: Opts,
    kind: Kind,
    identity: ServerIdentity,
    mut requests: mpsc::Receiver<Request>,
    log: Arc<Mutex<Log>>,
) {
    let mut connection = Conn::new(options).await.unwrap();
    while let Some(request) = requests.recv().await {
        match request {
            Request::OpenWindow { reply, .. } => {
                drop(reply.send(position(&mut connection, kind, &identity).await));
            }
            Request::CloseWindow { .. } => {}
            Request::PlaceChunk { schema, images, progress, reply, .. } => {
                let mut log = log.lock().unwrap();
                if images.rows == 0 {
                    log.state.insert(progress.0, progress.1);
                    log.announced.push(TableSchema::clone(&schema));
                    reply.send(Placed::Appended { kept: 0, superseded: 0 }).ok();
                    continue;
                }
                if log.discard > 0 {
                    log.discard -= 1;
                    reply.send(Placed::Discarded).ok();
                    continue;
                }
                if log.chunks_to_live == Some(0) {
                    continue;
                }
                log.chunks_to_live = log.chunks_to_live.map(|left| left - 1);
                let kept = images.rows;
                log.state.insert(progress.0, progress.1);
                log.chunks.push((TableSchema::clone(&schema), images));
                reply.send(Placed::Appended { kept, superseded: 0 }).ok();
            }
            Request::Mark { mark, progress, reply } => {
                let mut log = log.lock().unwrap();
                log.state.insert(progress.0, progress.1);
                log.marks.push(mark);
                reply.send(()).ok();
            }
            Request::Pause { reply } => {
                let at = position(&mut connection, kind, &identity).await;
                let (exact, read) = oneshot::channel();
                drop(reply.send(Paused { at, exact }));
                let Ok(mut read) = read.await else { continue };
                let mut pieces = Vec::new();
                while let Some(Ok(images)) = read.pieces.recv().await {
                    pieces.push(images);
                }
                let mut log = log.lock().unwrap();
                let kept = pieces.iter().map(|piece| piece.rows).sum();
                log.state.insert(read.progress.0, read.progress.1);
                log.whole.push((TableSchema::clone(&read.schema), pieces, read.replace));
                read.reply.send(Placed::Appended { kept, superseded: 0 }).ok();
            }
        }
    }
}

impl Log {
    /// The rows of a table, read out of its images, with the columns in the order asked for.
    pub fn rows(&self, table: &TableName, columns: &[String]) -> Vec<Vec<Cell>> {
        let chunks = self.chunks.iter().map(|(schema, images)| (schema, images));
        let whole = self.whole.iter().flat_map(|(schema, pieces, _)| pieces.iter().map(move |images| (schema, images)));
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
