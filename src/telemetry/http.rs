//! `/metrics` and `/health` over HTTP.
//!
//! Reads only, tells nothing but numbers, states and error messages, and listens on this machine unless told
//! otherwise. `/health` answers 503 when something has stopped permanently and an operator has to look; what is retried
//! is degraded, not failed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Exporter, Reporter, SinkPhase, SnapshotPhase, SourcePhase, Status};
use crate::error::Failure;

/// Requests come from machines: one that takes longer for its headers holds a connection for nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once. A scraper needs one.
const MAX_CONNECTIONS: usize = 64;

/// An open listener.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    /// Takes the address.
    ///
    /// # Errors
    /// Fatal, when it cannot be had; names `http.listen`.
    pub async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            Failure::fatal(format!("cannot listen on {address} (http.listen)"))
                .caused_by(error)
                .hint("choose another address in http.listen, or none")
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that the system chose if it was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until told to stop.
    pub async fn serve(self, reporter: Reporter, shutdown: CancellationToken) {
        let state = Arc::new((reporter, Exporter::new()));
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: waiting is all that helps, and scrapers come again.
                    warn!(error = %error, "cannot accept a connection on http.listen");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let state = Arc::clone(&state);
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&request, &state.0, &state.1)) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    served = connection => if let Err(error) = served {
                        debug!(error = %error, "a connection on http.listen ended early");
                    },
                    () = shutdown.cancelled() => {}
                }
                drop(place);
            });
        }
    }
}

fn answer(request: &Request<Incoming>, reporter: &Reporter, exporter: &Exporter) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let text = exporter.render(&reporter.status());
            response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/health" => {
            let health = Health::of(&reporter.status());
            let code = if health.failed() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            let body = json!({ "status": health.word(), "reasons": health.reasons() });
            response(code, "application/json", format!("{body}\n"))
        }
        _ => response(StatusCode::NOT_FOUND, "text/plain", "there are /metrics and /health\n".to_owned()),
    }
}

fn response(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What a status means to whoever has to act.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Health {
    stopped: Vec<String>,
    retrying: Vec<String>,
}

impl Health {
    /// Of a status.
    pub fn of(status: &Status) -> Self {
        let mut health = Self::default();
        let because = |error: &Option<String>| error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        if let Some(error) = &status.wal.error {
            health.stopped.push(format!("the log is out of service: {error}"));
        }
        let source = &status.source;
        match source.state {
            SourcePhase::Stopped | SourcePhase::Failed => {
                health.stopped.push(format!("source {}{}", source.state.as_str(), because(&source.error)));
            }
            SourcePhase::Reconnecting | SourcePhase::LogFull => {
                health.retrying.push(format!("source {}{}", source.state.as_str(), because(&source.error)));
            }
            SourcePhase::Connecting | SourcePhase::Streaming | SourcePhase::ReadingTable => {}
        }
        for table in &status.snapshot.tables {
            if table.state == SnapshotPhase::Failed {
                health.stopped.push(format!("snapshot of {} failed{}", table.table, because(&table.error)));
            }
        }
        for sink in &status.sinks {
            let reason = format!("sink {} {}{}", sink.name, sink.state.as_str(), because(&sink.error));
            match sink.state {
                SinkPhase::Stopped | SinkPhase::Failed | SinkPhase::Detached => health.stopped.push(reason),
                SinkPhase::Retrying => health.retrying.push(reason),
                SinkPhase::Opening | SinkPhase::Running => {}
            }
            for table in &sink.stopped_tables {
                health.stopped.push(format!("sink {}: table {} is stopped: {}", sink.name, table.table, table.reason));
            }
        }
        for table in &status.tables {
            for (sink, rows) in &table.sinks {
                if let Some(why) = &rows.doubt {
                    health.retrying.push(format!("sink {sink}: table {} is in doubt: {why}", table.table));
                }
            }
        }
        health
    }

    /// Something has stopped permanently.
    pub fn failed(&self) -> bool {
        !self.stopped.is_empty()
    }

    /// `ok`, `degraded` or `failed`.
    pub fn word(&self) -> &'static str {
        match (self.stopped.is_empty(), self.retrying.is_empty()) {
            (false, _) => "failed",
            (true, false) => "degraded",
            (true, true) => "ok",
        }
    }

    /// Why it is not ok.
    pub fn reasons(&self) -> Vec<String> {
        self.stopped.iter().chain(&self.retrying).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::telemetry::{Live, SinkLive};

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    #[tokio::test]
    async fn health_and_metrics_are_answered_and_tell_of_a_stopped_sink() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = wal::Wal::open(directory.path(), wal::Options::new(64 << 20)).unwrap();
        let live = Arc::new(Live::default());
        let sink = Arc::new(SinkLive::new("local", "sqlite"));
        live.add_sink(Arc::clone(&sink));
        let server = HttpServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let shutdown = CancellationToken::new();
        let reporter = Reporter::new(Arc::clone(&live), wal.clone(), directory.path());
        let task = tokio::spawn(server.serve(reporter, shutdown.clone()));

        assert_eq!(get(address, "/health").await, (200, "{\"status\":\"ok\",\"reasons\":[]}\n".to_owned()));
        sink.phase(SinkPhase::Retrying, Some("disk slow".into()));
        let degraded = "{\"status\":\"degraded\",\"reasons\":[\"sink local retrying: disk slow\"]}\n".to_owned();
        assert_eq!(get(address, "/health").await, (200, degraded));
        sink.phase(SinkPhase::Failed, Some("disk gone".into()));
        let failed = "{\"status\":\"failed\",\"reasons\":[\"sink local failed: disk gone\"]}\n".to_owned();
        assert_eq!(get(address, "/health").await, (503, failed));
        let (code, text) = get(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(text.contains("replicator_sink_state{sink=\"local\",state=\"failed\"} 1\n"), "{text}");
        assert_eq!(get(address, "/").await.0, 404);

        shutdown.cancel();
        task.await.unwrap();
        wal.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_that_names_the_setting() {
        let first = HttpServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = HttpServer::bind(first.address()).await.unwrap_err();
        assert!(error.message.contains("http.listen") && error.message.contains(&first.address().to_string()));
    }
}
