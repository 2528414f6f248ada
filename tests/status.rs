//! `status`, `/health` and the metrics of one daemon, which have to say the same. No database server: what the loops
//! would say is fed to the live state.

use std::sync::Arc;

use replicator::control::{ControlServer, Daemon};
use replicator::table::{At, Event, TableRecord, step};
use replicator::telemetry::http::HttpServer;
use replicator::telemetry::{Exporter, Live, Reporter, SinkLive, SinkPhase, SourcePhase};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wal::{Lsn, Wal};

use crate::cli::{Shell, make_log};
use crate::support::daemon::Daemon as Runs;
use replicator::model::TableName;

const AT: At = At::new(Lsn::new(1), 1_767_225_600_000_000);

fn users() -> TableName {
    TableName::new("shop", "users")
}

/// A captured table that cannot be read.
fn unreadable() -> TableRecord {
    let met = step(&TableRecord::default(), Event::Met { initial: true }, AT).0;
    step(&met, Event::Failed { number: 1, why: "SELECT denied (GRANT SELECT ON shop.users)".into() }, AT).0
}

/// What a daemon serves, without its loops.
struct Served {
    shell: Shell,
    live: Arc<Live>,
    sink: Arc<SinkLive>,
    wal: Wal,
    http: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Served {
    /// A daemon that streams into a sink that runs.
    async fn new() -> Self {
        let shell = Shell::new();
        let directory = shell.path("log");
        let wal = make_log(&directory, b"frame").await;
        let live = Arc::new(Live::default());
        let sink = Arc::new(SinkLive::new("local", "sqlite"));
        sink.phase(SinkPhase::Running, None);
        live.add_sink(Arc::clone(&sink));
        live.source.phase(SourcePhase::Streaming, None);
        let reporter = Reporter::new(Arc::clone(&live), wal.clone(), &directory);
        let stop = CancellationToken::new();
        let (backfills, _) = tokio::sync::mpsc::channel(1);
        let daemon = Daemon {
            dead: replicator::dead::Hub::new(wal.clone(), u64::MAX),
            reporter: reporter.clone(),
            wal: wal.clone(),
            backfills,
            sinks: tokio::sync::mpsc::channel(1).0,
            tables: tokio::sync::mpsc::channel(1).0,
            resyncs: tokio::sync::mpsc::channel(1).0,
        };
        let control = ControlServer::bind(&directory).unwrap();
        let http = HttpServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = http.address();
        let tasks = vec![
            tokio::spawn(control.serve(daemon, stop.clone())),
            tokio::spawn(http.serve(reporter, Exporter::new(true), stop.clone())),
        ];
        Self { shell, live, sink, wal, http: address, stop, tasks }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = tokio::net::TcpStream::connect(self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Exit code and stdout of `replicator status` with more arguments.
    fn status(&self, more: &[&str]) -> (i32, String) {
        let (code, text, _) = tokio::task::block_in_place(|| self.shell.run(&[&["status"], more].concat()));
        (code, text)
    }

    /// Asserts that everything that has a verdict has this one.
    async fn assert_verdict(&self, what: &str, exit: i32, http: u16, word: &str) {
        let (code, text) = self.status(&[]);
        assert_eq!(code, exit, "{what}: {text}");
        assert!(text.lines().any(|line| line == format!("health   {word}")), "{what}: {text}");
        let (code, json) = self.status(&["--json"]);
        let status: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((code, &status["health"]["status"]), (exit, &word.into()), "{what}");
        let (code, body) = self.get("/health").await;
        let health: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, &health), (http, &status["health"]), "{what}");
        let (_, metrics) = self.get("/metrics").await;
        for known in ["ok", "degraded", "failed"] {
            let line = format!("replicator_health{{status=\"{known}\"}} {}", u8::from(known == word));
            assert!(metrics.lines().any(|found| found == line), "{what}: {line} is not in\n{metrics}");
        }
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.wal.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_health_and_metrics_have_one_verdict() {
    let served = Served::new().await;
    served.assert_verdict("all is well", 0, 200, "ok").await;
    served.live.source.phase(SourcePhase::Reconnecting, Some("refused".into()));
    served.assert_verdict("the source is lost", 0, 200, "degraded").await;
    served.live.source.phase(SourcePhase::Streaming, None);
    served.wal.create_cursor("old", Lsn::ZERO).await.unwrap();
    served.assert_verdict("a cursor is left over", 0, 200, "degraded").await;
    served.live.record(&users(), unreadable());
    served.assert_verdict("a table cannot be read", 3, 503, "failed").await;
    served.live.record(&users(), step(&unreadable(), Event::Excluded, AT).0);
    served.sink.stopped([(users(), Lsn::new(1), "it was altered".to_owned())]);
    served.assert_verdict("a table that is no longer captured is stopped", 0, 200, "degraded").await;
    served.sink.phase(SinkPhase::Failed, Some("its thread panicked: boom".into()));
    served.assert_verdict("a sink has failed", 3, 503, "failed").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_selected_on_the_command_line() {
    let served = Served::new().await;
    served.live.record(&users(), unreadable());
    for number in 0..50 {
        served.live.record(
            &TableName::new("shop", format!("t{number:02}")),
            step(&TableRecord::default(), Event::Created, AT).0,
        );
    }
    let names = |arguments: &[&str]| {
        let (code, json) = served.status(&[&["--json"], arguments].concat());
        assert_eq!(code, 3, "{json}");
        let status: Value = serde_json::from_str(&json).unwrap();
        let tables = status["tables"].as_array().unwrap().clone();
        tables.iter().map(|table| table["table"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]).len(), 51);
    assert_eq!(names(&["--table", "shop.t0*", "--table", "shop.t10"]).len(), 11);
    assert_eq!(names(&["--state", "unreadable", "--state", "stopped"]), ["shop.users"]);
    assert_eq!(names(&["--state", "unreadable", "--table", "shop.t*"]), Vec::<String>::new());
    let (_, text) = served.status(&[]);
    assert!(text.contains("and 31 more: replicator status --table GLOB"), "{text}");
    let (_, text) = served.status(&["--table", "*.*"]);
    assert!(text.contains("shop.t49") && !text.contains(" more: "), "{text}");
    for wrong in [["--state", "broken"], ["--table", "users"]] {
        assert_eq!(served.status(&wrong).0, 2, "{wrong:?}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_stopped_daemon_says_which_tables_failed_and_which_sinks_have_not_run() {
    let shell = Shell::new();
    shell.write(
        "replicator.yaml",
        "source: { url: 'mysql://nobody@127.0.0.1:1', server_id: 1, include: ['shop.*'] }\n\
         wal: { path: ./log, max_size: 64MiB }\n\
         sinks: [{ name: local, type: sqlite, path: ./replica.db }, { name: new, type: sqlite, path: ./new.db }]\n\
         http: { listen: none }\n",
    );
    let wal = make_log(&shell.path("log"), b"frame").await;
    wal.create_cursor("old", Lsn::ZERO).await.unwrap();
    wal.put_state(vec![unreadable().change(&users()).unwrap()]).await.unwrap();
    wal.shutdown().await.unwrap();

    let (code, json, _) = tokio::task::block_in_place(|| shell.run(&["status", "--json"]));
    let (_, text, _) = tokio::task::block_in_place(|| shell.run(&["status"]));

    let status: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 1, "no daemon runs");
    let sinks: Vec<_> = status["sinks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sink| json!([sink["name"], sink["type"], sink["state"]]))
        .collect();
    assert_eq!(
        sinks,
        [
            json!(["local", "sqlite", "stopped"]),
            json!(["new", "sqlite", "not_started"]),
            json!(["old", null, "unconfigured"])
        ]
    );
    let table = &status["tables"][0];
    assert_eq!((&table["state"], &table["since"]), (&json!("unreadable"), &json!("2026-01-01T00:00:00.000Z")));
    assert_eq!(table["sinks"]["local"]["state"], "unreadable");
    assert_eq!(status["snapshot"]["tables"][0]["state"], "unreadable");
    for line in [
        "         table shop.users: unreadable since 2026-01-01T00:00:00.000Z (lsn 1): SELECT denied (GRANT SELECT ON shop.users)",
        "sink new is configured and has not run yet",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("(remedy: replicator wal drop-cursor old)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_never_reached_is_no_healthy_one() {
    let shell = Shell::new();
    let (log, copy) = (shell.path("log"), shell.path("replica.db"));
    let config = json!({
        "source": { "url": "mysql://nobody@127.0.0.1:1", "server_id": 1, "include": ["shop.*"] },
        "wal": { "path": log, "max_size": "64MiB" },
        "sinks": [{ "name": "local", "type": "sqlite", "path": copy }],
        "http": { "listen": "none" },
    });
    shell.write("replicator.yaml", &config.to_string());
    let mut daemon = Runs::start(&shell.path("replicator.yaml"), &[], &shell.path("daemon.log"));

    let status = daemon.wait_until("a connection was refused", |status| status["source"]["error"].is_string()).await;

    let reason = &status["health"]["reasons"][0];
    assert_eq!((&status["health"]["status"], &reason["what"]), (&json!("degraded"), &json!("source")), "{status:#}");
    assert_eq!((&reason["state"], &reason["why"]), (&json!("connecting"), &status["source"]["error"]), "{status:#}");
    let errors = status["errors"].as_array().unwrap();
    let retried = errors.iter().find(|errors| errors["type"] == "source" && errors["class"] == "retry").unwrap();
    assert!(retried["count"].as_u64() > Some(0), "{status:#}");
    daemon.stop();
}
