//! Client and server over a real socket.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use wal::{Appender, Wal};

use super::*;
use crate::codec::stored::{SINK_ROUND, SINK_ROWS, SINK_START, encode};
use crate::error::Failure;
use crate::inspect::TableAtSink;
use crate::inspect::tests::shop_log;
use crate::inspect::{Query, Verdict};
use crate::model::TableName;
use crate::telemetry::{Live, Reporter, SinkLive, Status};

/// A log with a control socket beside it.
struct Running {
    directory: PathBuf,
    wal: Wal,
    _appender: Appender,
    backfills: mpsc::Receiver<BackfillRequest>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(directory: &Path) -> Self {
        let (wal, appender) = shop_log(directory).await;
        let live = Arc::new(Live::default());
        live.add_sink(Arc::new(SinkLive::new("local", "sqlite")));
        let (backfills, queue) = mpsc::channel(1);
        let reporter = Reporter::new(live, wal.clone(), directory);
        let daemon = Daemon {
            reporter,
            wal: wal.clone(),
            dead: crate::dead::Hub::new(wal.clone(), u64::MAX),
            backfills,
            sinks: mpsc::channel(1).0,
            tables: mpsc::channel(1).0,
            resyncs: mpsc::channel(1).0,
        };
        let shutdown = CancellationToken::new();
        let server = ControlServer::bind(directory).unwrap();
        let task = tokio::spawn(server.serve(daemon, shutdown.clone()));
        Self { directory: directory.to_owned(), wal, _appender: appender, backfills: queue, shutdown, task }
    }

    async fn ask(&self, request: Request) -> (Vec<Value>, Result<(), ClientError>) {
        let directory = self.directory.clone();
        spawn_blocking(move || {
            let mut items = Vec::new();
            let result = Client::connect(&directory).and_then(|client| {
                client.ask(&request, |item| {
                    items.push(item);
                    true
                })
            });
            (items, result)
        })
        .await
        .unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.wal.shutdown().await.unwrap();
    }
}

fn job(table: &str) -> BackfillJob {
    BackfillJob {
        database: "shop".into(),
        table: table.into(),
        condition: Some("id > 1".into()),
        batch_size: None,
        replace: false,
    }
}

#[tokio::test]
async fn a_daemon_tells_its_status_and_what_its_log_holds() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path()).await;
    let (items, result) = running.ask(Request::Status).await;
    result.unwrap();
    let status: Status = serde_json::from_value(items[0].clone()).unwrap();
    assert_eq!((items.len(), status.running, status.wal.durable_lsn), (1, true, 5));

    let (items, result) = running.ask(Request::Inspect { query: Query { rows: true, ..Query::default() } }).await;
    result.unwrap();
    let kinds: Vec<_> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "frame").count(), 5);
    assert_eq!(kinds.iter().filter(|kind| **kind == "row").count(), 4);

    let (items, result) = running.ask(Request::Verify).await;
    result.unwrap();
    let verdict: Verdict = serde_json::from_value(items[0].clone()).unwrap();
    assert_eq!((verdict.frames, verdict.findings.len()), (5, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_backfill_reaches_the_daemon_and_its_answer_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path()).await;
    for outcome in [
        Ok(BackfillTaken { queued: vec![job("orders").name()], reads: Vec::new() }),
        Err(Failure::fatal("no such table").hint("look again")),
    ] {
        let refused = outcome.is_err();
        let asked = running.directory.clone();
        let asking = spawn_blocking(move || {
            Client::connect(&asked).unwrap().ask_one(&Request::Backfill { jobs: vec![job("users")] })
        });
        let request = running.backfills.recv().await.unwrap();
        assert_eq!(request.jobs, [job("users")]);
        request.reply.send(outcome).unwrap();
        match asking.await.unwrap() {
            Ok(BackfillTaken { queued, .. }) => assert!(!refused && queued == [job("orders").name()]),
            Err(ClientError::Refused { message, hint }) => {
                assert!(refused);
                assert_eq!((message.as_str(), hint.as_deref()), ("no such table", Some("look again")));
            }
            Err(other) => panic!("{other}"),
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn only_cursors_of_sinks_that_do_not_run_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path()).await;
    running.wal.create_cursor("gone", wal::Lsn::ZERO).await.unwrap();
    let rows = |sink| SINK_ROWS.of_sink_table(sink, &TableName::new("d", "t"));
    let keys = [rows("gone"), SINK_START.of_sink("gone"), SINK_ROUND.of_sink("gone"), rows("gone2")];
    let whole = TableAtSink { whole_since: Some(wal::Lsn::FIRST), ..TableAtSink::default() };
    let whole = encode(&whole).unwrap();
    running.wal.put_state(keys.clone().map(|key| (key, Some(whole.clone()))).into()).await.unwrap();
    let names = |wal: &Wal| wal.cursors().into_iter().map(|cursor| cursor.name).collect::<Vec<_>>();
    let (_, refused) = running.ask(Request::DropCursor { name: "local".into() }).await;
    assert!(matches!(refused, Err(ClientError::Refused { .. })), "{refused:?}");
    assert_eq!(names(&running.wal), ["gone", "local"]);
    running.ask(Request::DropCursor { name: "gone".into() }).await.1.unwrap();
    assert_eq!(names(&running.wal), ["local"]);
    let left = keys.map(|key| running.wal.reader().state(&key).unwrap().is_some());
    assert_eq!(left, [false, false, false, true], "what is stored of the sink goes with its cursor");
    running.stop().await;
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_and_the_daemon_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path()).await;
    let socket = directory.path().join(SOCKET_FILE);
    let answer = spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.write_all(b"{\"verb\":\"dance\"}\n").unwrap();
        std::io::read_to_string(stream).unwrap()
    });
    let reply: Reply = serde_json::from_str(&answer.await.unwrap()).unwrap();
    assert!(matches!(reply, Reply::Failed { .. }), "{reply:?}");
    running.ask(Request::Status).await.1.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_reader_that_has_had_enough_stops_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path()).await;
    let asked = running.directory.clone();
    let taken = spawn_blocking(move || {
        let mut taken = 0;
        let client = Client::connect(&asked).unwrap();
        client.ask(&Request::Inspect { query: Query::default() }, |_| {
            taken += 1;
            taken < 2
        })?;
        Ok::<_, ClientError>(taken)
    });
    assert_eq!(taken.await.unwrap().unwrap(), 2);
    running.ask(Request::Status).await.1.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_socket_left_behind_is_taken_over_and_means_no_daemon_until_then() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join(SOCKET_FILE);
    assert!(matches!(Client::connect(directory.path()), Err(ClientError::NotRunning)));
    assert!(matches!(Client::connect(&directory.path().join("nowhere")), Err(ClientError::NotRunning)));
    // As a kill leaves it: the file is there and nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    assert!(matches!(Client::connect(directory.path()), Err(ClientError::NotRunning)));
    let running = Running::start(directory.path()).await;
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    running.ask(Request::Status).await.1.unwrap();
    running.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_log_whose_path_is_too_long_for_a_socket_has_its_socket_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let running = Running::start(&deep).await;
    assert!(deep.join(SOCKET_FILE).exists());
    running.ask(Request::Status).await.1.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(directory.path().join(SOCKET_FILE)).unwrap();
    let server = spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line).unwrap();
        stream.write_all(b"{\"item\":1}\n").unwrap();
        line
    });
    let asked = directory.path().to_owned();
    let answer = spawn_blocking(move || Client::connect(&asked).unwrap().ask(&Request::Status, |_| true));
    assert!(matches!(answer.await.unwrap(), Err(ClientError::CutShort)));
    assert_eq!(server.await.unwrap(), "{\"verb\":\"status\"}\n");
}
