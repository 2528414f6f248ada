//! `/metrics` and `/health` over HTTP.
//!
//! Reads only, tells nothing but numbers, states and error messages, and listens on this machine unless told
//! otherwise. `/health` answers with the verdict of the status ([`super::Health`]), as 503 when it is failed: an operator
//! has to look.

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
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Exporter, Reporter};
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
                .hint("set http.listen to an address that nothing else listens on, or to none")
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
    pub async fn serve(self, reporter: Reporter, exporter: Exporter, shutdown: CancellationToken) {
        let state = Arc::new((reporter, exporter));
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
                    async move { Ok::<_, Infallible>(answer(&request, &state.0, state.1)) }
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

fn answer(request: &Request<Incoming>, reporter: &Reporter, exporter: Exporter) -> Response<Full<Bytes>> {
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
            let health = reporter.status().health;
            let code = if health.is_failed() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            match serde_json::to_string(&health) {
                Ok(body) => response(code, "application/json", body + "\n"),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
            }
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

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::telemetry::{Live, SinkLive, SinkPhase, SourcePhase};

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
        let task = tokio::spawn(server.serve(reporter, Exporter::new(true), shutdown.clone()));

        let health = async || {
            let (code, body) = get(address, "/health").await;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let first = &body["reasons"][0];
            (code, body["status"].clone(), first["what"].clone(), first["why"].clone())
        };
        let never = "it was not reached yet";
        assert_eq!(health().await, (200, "degraded".into(), "source".into(), never.into()));
        live.source.phase(SourcePhase::Streaming, None);
        assert_eq!(health().await, (200, "ok".into(), Value::Null, Value::Null));
        sink.phase(SinkPhase::Retrying, Some("disk slow".into()));
        assert_eq!(health().await, (200, "degraded".into(), "sink".into(), "disk slow".into()));
        sink.phase(SinkPhase::Failed, Some("disk gone".into()));
        assert_eq!(health().await, (503, "failed".into(), "sink".into(), "disk gone".into()));
        let (code, text) = get(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(text.contains("replicator_health{status=\"failed\"} 1\n"), "{text}");
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
